/* Ids for deduplication: a ring, first in, first out, of at most 4,096 ids of an account.
 *
 * An id is held as 64 bits of hash and 32 bits of time. Two ids of one window share a hash with odds below
 * 4,096² / 2^65, 1 in 2 · 10^12 for a full ring; the ids themselves would be three to five times as large.
 *
 * One block, of which the last part is there only beyond 16 ids (fewer are found by looking at all):
 *
 *     header | hash[cap] | at[cap] | index[2 × cap]
 *
 * index is open addressing over words of 20 bits of hash and 12 of slot, in which a word's bits of hash tell its place,
 * too: so an id that is given up is taken out of it, and those behind it move up, without looking at any other hash.
 * The index never is more than half full. Nearly every id is new, and then its 20 bits are found nowhere: one cache
 * line is read, no hash.
 *
 * @locality: the thread that owns the state. */
#include "aggregate/state/dedup.h"

#include <string.h>

#include "uptake/assert.h"

#define SCAN_MAX 16
#define MIN_CAP 4

struct upt_dedup {
    int64_t base; /* what at[] is relative to */
    uint16_t head, n, cap;
    uint16_t shift; /* of a word of the index to its place; only beyond SCAN_MAX */
    uint64_t hash[];
};

_Static_assert(UPT_DEDUP_MAX == 1 << 12, "a slot has 12 bits in the index");

static size_t
byte_size(uint32_t cap)
{
    size_t index = cap > SCAN_MAX ? 2 * sizeof(uint32_t) : 0;
    return sizeof(struct upt_dedup) + cap * (sizeof(uint64_t) + sizeof(uint32_t) + index);
}

static uint32_t *
at_of(struct upt_dedup *dedup)
{
    return (uint32_t *)(void *)(dedup->hash + dedup->cap);
}

static const uint32_t *
at_const(const struct upt_dedup *dedup)
{
    return (const uint32_t *)(const void *)(dedup->hash + dedup->cap);
}

static uint32_t *
index_of(const struct upt_dedup *dedup)
{
    return (uint32_t *)(uintptr_t)(at_const(dedup) + dedup->cap);
}

/* Never 0, which is a free word. */
static uint32_t
word_of(uint64_t hash, uint16_t slot)
{
    return (uint32_t)(hash >> 44 | 1) << 12 | slot;
}

/* The slot of the i-th oldest id. */
static uint16_t
slot_of(const struct upt_dedup *dedup, uint32_t i)
{
    return (uint16_t)((dedup->head + i) & (dedup->cap - 1U));
}

static int64_t
clock_of(const struct upt_dedup *dedup, uint16_t slot)
{
    return dedup->base + at_const(dedup)[slot];
}

static bool
find_by_index(const struct upt_dedup *dedup, uint64_t hash, int64_t after)
{
    const uint32_t *index = index_of(dedup);
    uint32_t mask = 2U * dedup->cap - 1;
    uint32_t tag = word_of(hash, 0);
    for (uint32_t i = tag >> dedup->shift; index[i] != 0; i = (i + 1) & mask) {
        uint16_t slot = index[i] & (UPT_DEDUP_MAX - 1);
        if ((index[i] ^ tag) < UPT_DEDUP_MAX && dedup->hash[slot] == hash && clock_of(dedup, slot) > after) {
            return true;
        }
    }
    return false;
}

void
upt_dedup_prefetch(const struct upt_dedup *dedup)
{
    for (size_t at = 0; dedup != NULL && at < byte_size(SCAN_MAX); at += 64) {
        __builtin_prefetch((const char *)dedup + at);
    }
}

void
upt_dedup_prefetch_id(const struct upt_dedup *dedup, uint64_t hash)
{
    if (dedup != NULL && dedup->cap > SCAN_MAX) {
        uint16_t slot = slot_of(dedup, dedup->n);
        __builtin_prefetch(&index_of(dedup)[word_of(hash, 0) >> dedup->shift]);
        __builtin_prefetch(&dedup->hash[slot]);
        __builtin_prefetch(&at_const(dedup)[slot]);
        __builtin_prefetch(&at_const(dedup)[dedup->head]);
    }
}

bool
upt_dedup_has(const struct upt_dedup *dedup, uint64_t hash, int64_t after)
{
    if (dedup == NULL) {
        return false;
    }
    if (dedup->cap > SCAN_MAX) {
        return find_by_index(dedup, hash, after);
    }
    for (uint16_t slot = 0; slot < dedup->cap; slot++) {
        if (dedup->hash[slot] == hash && (((uint32_t)slot - dedup->head) & (dedup->cap - 1U)) < dedup->n &&
            clock_of(dedup, slot) > after) {
            return true;
        }
    }
    return false;
}

static void
put_index(struct upt_dedup *dedup, uint16_t slot)
{
    uint32_t *index = index_of(dedup);
    uint32_t mask = 2U * dedup->cap - 1;
    uint32_t word = word_of(dedup->hash[slot], slot);
    uint32_t i = word >> dedup->shift;
    while (index[i] != 0) {
        i = (i + 1) & mask;
    }
    index[i] = word;
}

static void
take_from_index(struct upt_dedup *dedup, uint16_t slot)
{
    uint32_t *index = index_of(dedup);
    uint32_t mask = 2U * dedup->cap - 1;
    uint32_t word = word_of(dedup->hash[slot], slot);
    uint32_t hole = word >> dedup->shift;
    while (index[hole] != word) {
        hole = (hole + 1) & mask;
    }
    /* Move back what stands behind the hole, unless that would put it before its own place. */
    for (uint32_t i = (hole + 1) & mask; index[i] != 0; i = (i + 1) & mask) {
        uint32_t home = index[i] >> dedup->shift;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            index[hole] = index[i];
            hole = i;
        }
    }
    index[hole] = 0;
}

/* Appends; there is room. */
static void
append(struct upt_dedup *dedup, uint64_t hash, int64_t clock)
{
    uint16_t slot = slot_of(dedup, dedup->n);
    if (dedup->n == 0) {
        dedup->base = clock;
    }
    dedup->hash[slot] = hash;
    at_of(dedup)[slot] = (uint32_t)(clock - dedup->base);
    dedup->n++;
    if (dedup->cap > SCAN_MAX) {
        put_index(dedup, slot);
    }
}

/* Gives up the oldest. */
static void
drop(struct upt_dedup *dedup)
{
    bool indexed = dedup->cap > SCAN_MAX;
    if (indexed) {
        take_from_index(dedup, dedup->head);
    }
    dedup->head = slot_of(dedup, 1);
    dedup->n--;
    if (indexed && dedup->n > 0) { /* the next to go, at the account's next event */
        __builtin_prefetch(&index_of(dedup)[word_of(dedup->hash[dedup->head], 0) >> dedup->shift]);
    }
}

static void
resize(struct upt_mem *mem, struct upt_dedup **dedup_p, uint32_t cap)
{
    struct upt_dedup *old = *dedup_p;
    struct upt_dedup *fresh = upt_mem_resize(mem, NULL, 0, byte_size(cap));
    fresh->cap = (uint16_t)cap;
    fresh->shift = (uint16_t)(31 - upt_lowest_bit(cap)); /* a place in 2 × cap words */
    for (uint32_t i = 0; old != NULL && i < old->n; i++) {
        uint16_t slot = slot_of(old, i);
        append(fresh, old->hash[slot], clock_of(old, slot));
    }
    upt_dedup_destroy(mem, dedup_p);
    *dedup_p = fresh;
}

static void
drop_expired(struct upt_dedup *dedup, int64_t after)
{
    while (dedup->n > 0 && clock_of(dedup, dedup->head) <= after) {
        drop(dedup);
    }
}

/* Brings base up to the oldest id, when a time would not fit otherwise. */
static void
rebase(struct upt_dedup *dedup)
{
    uint32_t *at = at_of(dedup);
    uint32_t shift = at[dedup->head];
    for (uint32_t i = 0; i < dedup->n; i++) {
        at[slot_of(dedup, i)] -= shift;
    }
    dedup->base += shift;
}

bool
upt_dedup_add(struct upt_mem *mem, struct upt_dedup **dedup_p, uint64_t hash, int64_t clock, int64_t after)
{
    if (*dedup_p == NULL) {
        resize(mem, dedup_p, MIN_CAP);
    }
    struct upt_dedup *dedup = *dedup_p;
    bool evicted = false;
    drop_expired(dedup, after);
    if (dedup->n == dedup->cap) {
        if (dedup->cap < UPT_DEDUP_MAX) {
            resize(mem, dedup_p, dedup->cap * 2U);
            dedup = *dedup_p;
        } else {
            drop(dedup);
            evicted = true;
        }
    }
    if (dedup->n > 0 && clock - dedup->base > UPT_DEDUP_WINDOW_MAX_MS) {
        rebase(dedup);
    }
    append(dedup, hash, clock);
    return evicted;
}

void
upt_dedup_trim(struct upt_mem *mem, struct upt_dedup **dedup_p, int64_t after)
{
    if (*dedup_p == NULL) {
        return;
    }
    drop_expired(*dedup_p, after);
    uint32_t n = (*dedup_p)->n;
    uint32_t cap = (*dedup_p)->cap;
    while (cap > MIN_CAP && n <= cap / 4) {
        cap /= 2;
    }
    if (n == 0) {
        upt_dedup_destroy(mem, dedup_p);
    } else if (cap < (*dedup_p)->cap) {
        resize(mem, dedup_p, cap);
    }
}

int64_t
upt_dedup_newest(const struct upt_dedup *dedup)
{
    upt_assert(dedup->n > 0);
    return clock_of(dedup, slot_of(dedup, dedup->n - 1U));
}

bool
upt_dedup_next(const struct upt_dedup *dedup, int64_t after, uint32_t *cursor, uint64_t *ret_hash, int64_t *ret_clock)
{
    for (uint32_t i = *cursor; dedup != NULL && i < dedup->n; i++) {
        uint16_t slot = slot_of(dedup, i);
        if (clock_of(dedup, slot) > after) {
            *ret_hash = dedup->hash[slot];
            *ret_clock = clock_of(dedup, slot);
            *cursor = i + 1;
            return true;
        }
    }
    return false;
}

void
upt_dedup_destroy(struct upt_mem *mem, struct upt_dedup **dedup_p)
{
    if (*dedup_p != NULL) {
        (void)upt_mem_resize(mem, *dedup_p, byte_size((*dedup_p)->cap), 0);
        *dedup_p = NULL;
    }
}
