/* Ids for deduplication: a ring, first in, first out, of at most 4,096 ids of an account.
 *
 * An id is held as 64 bits of hash and 32 bits of time. Two ids of one window share a hash with odds below
 * 4,096² / 2^65, 1 in 2 · 10^12 for a full ring; the ids themselves would be three to five times as large.
 *
 * One block, of which the last part is there only beyond 16 ids (fewer are found by looking at all):
 *
 *     header | id[cap] | index[2 × cap]
 *
 * index is open addressing over words of 20 bits of hash and 12 of slot. Nearly every id is new, and then its 20 bits
 * are found nowhere: one cache line is read, no hash. Words of ids given up stay, and are told by their slot, which is
 * free or holds another hash; when three quarters are taken the index is built anew.
 *
 * Ids whose window has ended are given up when the ring is full, not before: looking for an id looks at its time, too.
 * So an event touches a line of the header, one of the index and one of the ring.
 *
 * @locality: the thread that owns the state. */
#include "aggregate/state/dedup.h"

#include <string.h>

#include "uptake/assert.h"

#define SCAN_MAX 16
#define MIN_CAP 4

struct id {
    uint32_t hash_lo, hash_hi;
    uint32_t at; /* relative to base */
};

struct upt_dedup {
    int64_t base;
    uint16_t head, n, cap;
    uint16_t indexed; /* words of the index that are taken */
    struct id id[];
};

_Static_assert(sizeof(struct id) == 12, "the layout that the memory budget counts on");

_Static_assert(UPT_DEDUP_MAX == 1 << 12, "a slot has 12 bits in the index");

static size_t
byte_size(uint32_t cap)
{
    size_t index = cap > SCAN_MAX ? 2 * sizeof(uint32_t) : 0;
    return sizeof(struct upt_dedup) + cap * (sizeof(struct id) + index);
}

static uint32_t *
index_of(struct upt_dedup *dedup)
{
    return (uint32_t *)(void *)(dedup->id + dedup->cap);
}

static const uint32_t *
index_const(const struct upt_dedup *dedup)
{
    return (const uint32_t *)(const void *)(dedup->id + dedup->cap);
}

static uint64_t
hash_of(const struct upt_dedup *dedup, uint16_t slot)
{
    return (uint64_t)dedup->id[slot].hash_hi << 32 | dedup->id[slot].hash_lo;
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
    return dedup->base + dedup->id[slot].at;
}

static bool
is_live(const struct upt_dedup *dedup, uint16_t slot)
{
    return (((uint32_t)slot - dedup->head) & (dedup->cap - 1U)) < dedup->n;
}

static bool
find_by_index(const struct upt_dedup *dedup, uint64_t hash, int64_t after)
{
    const uint32_t *index = index_const(dedup);
    uint32_t mask = 2U * dedup->cap - 1;
    uint32_t tag = word_of(hash, 0);
    for (uint32_t i = (uint32_t)hash & mask; index[i] != 0; i = (i + 1) & mask) {
        uint16_t slot = index[i] & (UPT_DEDUP_MAX - 1);
        if ((index[i] ^ tag) < UPT_DEDUP_MAX && hash_of(dedup, slot) == hash && is_live(dedup, slot) &&
            clock_of(dedup, slot) > after) {
            return true;
        }
    }
    return false;
}

void
upt_dedup_prefetch(const struct upt_dedup *dedup)
{
    upt_prefetch_line(dedup);
}

void
upt_dedup_prefetch_id(const struct upt_dedup *dedup, uint64_t hash)
{
    if (dedup->cap > SCAN_MAX) {
        upt_prefetch_line(&index_const(dedup)[(uint32_t)hash & (2U * dedup->cap - 1)]);
        upt_prefetch_line(&dedup->id[slot_of(dedup, dedup->n)]);
        return;
    }
    upt_prefetch((const char *)dedup + UPT_LINE, byte_size(dedup->cap) - UPT_LINE);
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
        if (hash_of(dedup, slot) == hash && is_live(dedup, slot) && clock_of(dedup, slot) > after) {
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
    uint32_t i = dedup->id[slot].hash_lo & mask;
    while (index[i] != 0) {
        i = (i + 1) & mask;
    }
    index[i] = word_of(hash_of(dedup, slot), slot);
    dedup->indexed++;
}

static void
build_index(struct upt_dedup *dedup)
{
    memset(index_of(dedup), 0, 2 * sizeof(uint32_t) * dedup->cap);
    dedup->indexed = 0;
    for (uint32_t i = 0; i < dedup->n; i++) {
        put_index(dedup, slot_of(dedup, i));
    }
}

/* Appends; there is room. */
static void
append(struct upt_dedup *dedup, uint64_t hash, int64_t clock)
{
    uint16_t slot = slot_of(dedup, dedup->n);
    if (dedup->n == 0) {
        dedup->base = clock;
    }
    dedup->id[slot] = (struct id){
        .hash_lo = (uint32_t)hash, .hash_hi = (uint32_t)(hash >> 32), .at = (uint32_t)(clock - dedup->base)};
    dedup->n++;
    if (dedup->cap <= SCAN_MAX) {
        return;
    }
    if (2 * (dedup->indexed + 1U) > 3U * dedup->cap) { /* three quarters of 2 × cap */
        build_index(dedup);
    } else {
        put_index(dedup, slot);
    }
}

static void
resize(struct upt_mem *mem, struct upt_dedup **dedup_p, uint32_t cap)
{
    struct upt_dedup *old = *dedup_p;
    struct upt_dedup *fresh = upt_mem_resize(mem, NULL, 0, byte_size(cap));
    fresh->cap = (uint16_t)cap;
    for (uint32_t i = 0; old != NULL && i < old->n; i++) {
        uint16_t slot = slot_of(old, i);
        append(fresh, hash_of(old, slot), clock_of(old, slot));
    }
    upt_dedup_destroy(mem, dedup_p);
    *dedup_p = fresh;
}

static void
drop_expired(struct upt_dedup *dedup, int64_t after)
{
    while (dedup->n > 0 && clock_of(dedup, dedup->head) <= after) {
        dedup->head = slot_of(dedup, 1);
        dedup->n--;
    }
}

/* Brings base up to the oldest id, when a time would not fit otherwise. */
static void
rebase(struct upt_dedup *dedup)
{
    uint32_t shift = dedup->id[dedup->head].at;
    for (uint32_t i = 0; i < dedup->n; i++) {
        dedup->id[slot_of(dedup, i)].at -= shift;
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
    if (dedup->n > 0 && (dedup->n == dedup->cap || clock - dedup->base > UPT_DEDUP_WINDOW_MAX_MS)) {
        drop_expired(dedup, after);
    }
    if (dedup->n == dedup->cap) {
        if (dedup->cap < UPT_DEDUP_MAX) {
            resize(mem, dedup_p, dedup->cap * 2U);
            dedup = *dedup_p;
        } else {
            dedup->head = slot_of(dedup, 1);
            dedup->n--;
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

uint32_t
upt_dedup_live(const struct upt_dedup *dedup, int64_t after)
{
    uint32_t i = 0;
    while (dedup != NULL && i < dedup->n && clock_of(dedup, slot_of(dedup, i)) <= after) {
        i++;
    }
    return dedup == NULL ? 0 : dedup->n - i;
}

bool
upt_dedup_next(const struct upt_dedup *dedup, int64_t after, uint32_t *cursor, uint64_t *ret_hash, int64_t *ret_clock)
{
    for (uint32_t i = *cursor; dedup != NULL && i < dedup->n; i++) {
        uint16_t slot = slot_of(dedup, i);
        if (clock_of(dedup, slot) > after) {
            *ret_hash = hash_of(dedup, slot);
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
