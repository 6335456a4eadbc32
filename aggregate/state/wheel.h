/* What accounts, features and the totals have in common, and the timer wheel. Private to aggregate/state. */
#ifndef UPT_STATE_WHEEL_H
#define UPT_STATE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

enum { UPT_ITEM_ACCOUNT, UPT_ITEM_FEATURE, UPT_ITEM_TOTALS };

#define UPT_ITEM_ARMED 1U   /* in the wheel */
#define UPT_ITEM_DIRTY 2U   /* row changed since it was last taken; `dirty` is the ticket */
#define UPT_ITEM_QUEUED 4U  /* waits for a checkpoint; `queue` is the ticket */
#define UPT_ITEM_UNSEEN 8U  /* account: what Redis holds of its features is not known */
#define UPT_ITEM_PACKED 16U /* account: it is an upt_packed */
#define UPT_ITEM_LATER 32U  /* account: DIRTY, but in the queue of rows that may wait */

struct upt_item {
    struct upt_item *prev, *next; /* of the same minute in the wheel */
    uint32_t due;                 /* minute, modulo 2^32 */
    uint8_t kind;
    uint8_t flags;
    uint16_t pages; /* records of it in the checkpoint, at most */
    uint32_t dirty, queue;
    uint32_t changed; /* the snapshot generation in which it was last queued */
    uint32_t saved;   /* the one whose snapshot it was last written to */
};

static inline bool
upt_item_is_packed(const struct upt_item *item)
{
    return (item->flags & UPT_ITEM_PACKED) != 0;
}

#define UPT_WHEEL_SLOTS 2048U
/* Nothing may be due later than this after the wheel's minute: enough, as every account has a daily minute; who has
 * nothing to do at that time is simply armed again. */
#define UPT_WHEEL_REACH 1440

struct upt_wheel {
    struct upt_item *slot[UPT_WHEEL_SLOTS];
    uint64_t used[UPT_WHEEL_SLOTS / 64];
};

/* Arms the item for the minute, in place of what it was armed for. The minute is after now, within the reach. */
void upt_wheel_arm(struct upt_wheel *wheel, struct upt_item *item, int64_t minute);
void upt_wheel_disarm(struct upt_wheel *wheel, struct upt_item *item);
/* Is the item unarmed, or armed for a later minute? */
static inline bool
upt_wheel_is_later(const struct upt_item *item, int64_t minute)
{
    return (item->flags & UPT_ITEM_ARMED) == 0 || (int32_t)(item->due - (uint32_t)minute) > 0;
}
/* The first minute after now, up to last, at which something is due. False: none. */
bool upt_wheel_next(const struct upt_wheel *wheel, int64_t now, int64_t last, int64_t *ret);
/* Takes all items that are due at the minute: a list linked by next, disarmed. */
struct upt_item *upt_wheel_take(struct upt_wheel *wheel, int64_t minute);

#endif
