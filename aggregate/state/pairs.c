/* The last day on which each user of an account used each of its features: what makes a feature's users_30d exact.
 *
 * One open-addressing table of words for an account, because it is bounded by the pairs that occurred: a matrix of
 * users × features is smaller for tiny accounts, but a producer that makes up feature names would blow it up.
 *
 *     word   feature | user + 1 | day mod 32 | live        16 bits:  5 +  5 + 5 + 1
 *                                                          32 bits: 13 + 13 + 5 + 1, once a position needs it
 *                                                          64 bits: 29 + 29 + 5 + 1, likewise
 *
 * A pair that expires keeps its word, so that probing goes on past it, until the table is built anew: when it
 * is full, or on the day on which most of it has expired.
 *
 * @locality: the thread that owns the state. */
#include "aggregate/state/users.h"
#include "uptake/assert.h"

#define LIVE UINT64_C(1)
#define DAY_SHIFT 1
#define DAY_MASK (UINT64_C(31) << DAY_SHIFT)
#define USER_SHIFT 6
#define MIN_LOG2 3

static uint32_t
capacity(const struct upt_pairs *pairs)
{
    return pairs->log2_cap == 0 ? 0 : UINT32_C(1) << pairs->log2_cap;
}

static size_t
byte_size(const struct upt_pairs *pairs)
{
    return (size_t)capacity(pairs) << (pairs->width + 1);
}

static inline uint64_t
load_as(const struct upt_pairs *pairs, uint32_t i, unsigned width)
{
    switch (width) {
    case 0:
        return ((const uint16_t *)pairs->v)[i];
    case 1:
        return ((const uint32_t *)pairs->v)[i];
    default:
        return ((const uint64_t *)pairs->v)[i];
    }
}

static uint64_t
load(const struct upt_pairs *pairs, uint32_t i)
{
    return load_as(pairs, i, pairs->width);
}

static void
store(struct upt_pairs *pairs, uint32_t i, uint64_t word)
{
    switch (pairs->width) {
    case 0:
        ((uint16_t *)pairs->v)[i] = (uint16_t)word;
        break;
    case 1:
        ((uint32_t *)pairs->v)[i] = (uint32_t)word;
        break;
    default:
        ((uint64_t *)pairs->v)[i] = word;
        break;
    }
}

/* Of a position. */
static unsigned
bits_of(const struct upt_pairs *pairs)
{
    static const uint8_t bits[] = {5, 13, 29};
    return bits[pairs->width];
}

static unsigned
feature_shift(const struct upt_pairs *pairs)
{
    return USER_SHIFT + bits_of(pairs);
}

static uint64_t
word_of(const struct upt_pairs *pairs, int64_t today, const struct upt_pair *pair)
{
    uint64_t day = (uint64_t)(today - pair->age) & 31;
    return (uint64_t)pair->feature << feature_shift(pairs) | ((uint64_t)pair->user + 1) << USER_SHIFT |
           day << DAY_SHIFT | LIVE;
}

static int
age_of(uint64_t word, int64_t today)
{
    uint64_t age = ((uint64_t)today - ((word & DAY_MASK) >> DAY_SHIFT)) & 31;
    return (word & LIVE) != 0 && age < UPT_WINDOW_DAYS ? (int)age : -1;
}

static inline uint32_t
first_place(const struct upt_pairs *pairs, uint64_t key)
{
    return (uint32_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - pairs->log2_cap));
}

static inline uint32_t
place_as(const struct upt_pairs *pairs, uint64_t key, unsigned width)
{
    uint32_t mask = (UINT32_C(1) << pairs->log2_cap) - 1;
    uint32_t i = first_place(pairs, key);
    for (;; i = (i + 1) & mask) {
        uint64_t there = load_as(pairs, i, width);
        if (there == 0 || there >> USER_SHIFT == key) {
            return i;
        }
    }
}

/* Where the word's pair stands, or the free place where it would. */
static inline uint32_t
place_of(const struct upt_pairs *pairs, uint64_t word)
{
    uint64_t key = word >> USER_SHIFT;
    switch (pairs->width) { /* one loop each */
    case 0:
        return place_as(pairs, key, 0);
    case 1:
        return place_as(pairs, key, 1);
    default:
        return place_as(pairs, key, 2);
    }
}

/* Builds the table anew with the live pairs and room for one more. */
static void
rebuild(struct upt_mem *mem, struct upt_pairs *pairs, int64_t today, uint8_t width)
{
    uint32_t live = 0;
    struct upt_pair pair;
    for (uint32_t cursor = 0; upt_pairs_next(pairs, today, &cursor, &pair);) {
        live++;
    }
    struct upt_pairs fresh = {.log2_cap = MIN_LOG2, .width = width, .used = live};
    while ((live + 1) * UINT64_C(8) > capacity(&fresh) * UINT64_C(7)) {
        fresh.log2_cap++;
    }
    fresh.v = upt_mem_resize(mem, NULL, 0, byte_size(&fresh));
    for (uint32_t cursor = 0; upt_pairs_next(pairs, today, &cursor, &pair);) {
        uint64_t word = word_of(&fresh, today, &pair);
        store(&fresh, place_of(&fresh, word), word);
    }
    upt_pairs_fini(mem, pairs);
    *pairs = fresh;
}

void
upt_pairs_prefetch(const struct upt_pairs *pairs, uint32_t user, uint32_t feature)
{
    if (pairs->v != NULL) {
        const struct upt_pair pair = {.user = user, .feature = feature};
        uint32_t i = first_place(pairs, word_of(pairs, 0, &pair) >> USER_SHIFT);
        upt_prefetch_line((const char *)pairs->v + ((size_t)i << (pairs->width + 1)));
    }
}

int
upt_pairs_see(struct upt_mem *mem, struct upt_pairs *pairs, int64_t today, const struct upt_pair *seen)
{
    while (pairs->v == NULL || (seen->user + 1) >> bits_of(pairs) != 0 || seen->feature >> bits_of(pairs) != 0) {
        rebuild(mem, pairs, today, pairs->v == NULL ? 0 : (uint8_t)(pairs->width + 1));
    }
    uint64_t word = word_of(pairs, today, seen);
    uint32_t i = place_of(pairs, word);
    uint64_t there = load(pairs, i);
    if (there == word) {
        return seen->age;
    }
    if (there == 0 && (pairs->used + 1) * UINT64_C(8) > capacity(pairs) * UINT64_C(7)) {
        rebuild(mem, pairs, today, pairs->width);
        i = place_of(pairs, word);
    }
    int before = age_of(there, today);
    if (before < 0 || seen->age < before) {
        store(pairs, i, word);
        pairs->used += there == 0;
    }
    return before;
}

void
upt_pairs_roll(struct upt_mem *mem, struct upt_pairs *pairs, int64_t from, int64_t today)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < capacity(pairs); i++) {
        uint64_t word = load(pairs, i);
        int age = age_of(word, from);
        if (age >= 0 && today - from < UPT_WINDOW_DAYS - age) {
            live++;
        } else if (word != 0) {
            store(pairs, i, word & ~LIVE);
        }
    }
    if (live == 0) {
        upt_pairs_fini(mem, pairs);
    } else if (pairs->log2_cap > MIN_LOG2 && live < capacity(pairs) / 4) {
        rebuild(mem, pairs, today, pairs->width);
    }
}

bool
upt_pairs_next(const struct upt_pairs *pairs, int64_t today, uint32_t *cursor, struct upt_pair *ret)
{
    if (pairs->v == NULL) {
        return false;
    }
    uint64_t user_mask = (UINT64_C(1) << bits_of(pairs)) - 1;
    for (uint32_t i = *cursor; i < capacity(pairs); i++) {
        uint64_t word = load(pairs, i);
        int age = age_of(word, today);
        if (age >= 0) {
            *ret = (struct upt_pair){
                .user = (uint32_t)((word >> USER_SHIFT & user_mask) - 1),
                .feature = (uint32_t)(word >> feature_shift(pairs)),
                .age = age,
            };
            *cursor = i + 1;
            return true;
        }
    }
    return false;
}

void
upt_pairs_fini(struct upt_mem *mem, struct upt_pairs *pairs)
{
    (void)upt_mem_resize(mem, pairs->v, byte_size(pairs), 0);
    *pairs = (struct upt_pairs){0};
}
