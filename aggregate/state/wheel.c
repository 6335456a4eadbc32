/* Timer wheel: one slot for each minute of the next 34 hours, each a list through the items, and a bit for each slot.
 *
 * One flat wheel is enough, since nothing is ever due more than a day ahead (see UPT_WHEEL_REACH). Arming and disarming
 * touch two neighbours; a jump of the clock finds the next minute with something in it by looking at 32 words. A binary
 * heap would need log n moves for each of an account's minutes, and its order would still have to be sorted out within
 * a minute.
 *
 * @locality: the thread that owns the state. */
#include "aggregate/state/wheel.h"

#include <stddef.h>

#include "aggregate/state/mem.h"
#include "uptake/assert.h"

#define MASK (UPT_WHEEL_SLOTS - 1)

void
upt_wheel_arm(struct upt_wheel *wheel, struct upt_item *item, int64_t minute)
{
    upt_wheel_disarm(wheel, item);
    uint32_t slot = (uint32_t)minute & MASK;
    item->due = (uint32_t)minute;
    item->flags |= UPT_ITEM_ARMED;
    item->prev = NULL;
    item->next = wheel->slot[slot];
    if (item->next != NULL) {
        item->next->prev = item;
    }
    wheel->slot[slot] = item;
    wheel->used[slot / 64] |= UINT64_C(1) << (slot % 64);
}

void
upt_wheel_disarm(struct upt_wheel *wheel, struct upt_item *item)
{
    if ((item->flags & UPT_ITEM_ARMED) == 0) {
        return;
    }
    uint32_t slot = item->due & MASK;
    if (item->prev != NULL) {
        item->prev->next = item->next;
    } else {
        wheel->slot[slot] = item->next;
        if (item->next == NULL) {
            wheel->used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
        }
    }
    if (item->next != NULL) {
        item->next->prev = item->prev;
    }
    item->prev = item->next = NULL;
    item->flags &= (uint8_t)~UPT_ITEM_ARMED;
}

bool
upt_wheel_next(const struct upt_wheel *wheel, int64_t now, int64_t last, int64_t *ret)
{
    int64_t end = last - now > UPT_WHEEL_REACH ? now + UPT_WHEEL_REACH : last;
    for (int64_t minute = now + 1; minute <= end;) {
        uint32_t slot = (uint32_t)minute & MASK;
        uint64_t word = wheel->used[slot / 64] >> (slot % 64);
        if (word != 0) {
            *ret = minute + upt_lowest_bit(word);
            return *ret <= end;
        }
        minute += 64 - slot % 64;
    }
    return false;
}

struct upt_item *
upt_wheel_take(struct upt_wheel *wheel, int64_t minute)
{
    uint32_t slot = (uint32_t)minute & MASK;
    struct upt_item *list = wheel->slot[slot];
    for (struct upt_item *item = list; item != NULL; item = item->next) {
        upt_assert(item->due == (uint32_t)minute);
        item->flags &= (uint8_t)~UPT_ITEM_ARMED;
    }
    wheel->slot[slot] = NULL;
    wheel->used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    return list;
}
