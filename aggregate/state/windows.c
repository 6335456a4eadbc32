/* Bucket rings and last-day histograms.
 *
 * Rings hold only buckets with something in them, in one small sorted vector for each owner: most accounts touch a few
 * minutes and hours, so dense rings of 114 buckets (2.7 KB) would be nearly empty. There are no running sums: a row
 * adds up at most 60 + 24 + 30 buckets, which costs less than keeping eight sums right for every event, and cannot
 * drift.
 *
 * A bucket's number is kept modulo 65,536. That is exact because the ticks prune every ring in the very minute in
 * which a bucket leaves its window, so that an older one never meets its double; sums look at the age all the same.
 *
 * @locality: the thread that owns the state. */
#include "aggregate/state/windows.h"

#include <string.h>

#include "uptake/assert.h"

_Static_assert(sizeof(struct upt_bucket) == 24, "the layout that the memory budget counts on");

const int64_t upt_ring_ms[UPT_R_COUNT] = {UPT_DAY_MS, UPT_HOUR_MS, UPT_MINUTE_MS};
const uint16_t upt_ring_len[UPT_R_COUNT] = {UPT_WINDOW_DAYS, 24, 60};

#define WEEK 7
#define GROW_BY 4 /* buckets; with at most 114 of them growth in small steps is cheap and wastes little */

/* Index of the first bucket of ring r. */
static unsigned
start_of(const struct upt_rings *rings, int r)
{
    unsigned start = 0;
    for (int i = 0; i < r; i++) {
        start += rings->n[i];
    }
    return start;
}

static void
resize(struct upt_mem *mem, struct upt_rings *rings, unsigned cap)
{
    upt_assert(cap <= UINT8_MAX);
    rings->v = upt_mem_resize(mem, rings->v, rings->cap * sizeof(*rings->v), cap * sizeof(*rings->v));
    rings->cap = (uint8_t)cap;
}

/* Makes room at index i for one more bucket of ring r. */
static struct upt_bucket *
open_gap(struct upt_mem *mem, struct upt_rings *rings, int r, unsigned i)
{
    unsigned n = start_of(rings, UPT_R_COUNT);
    if (n == rings->cap) {
        resize(mem, rings, n + GROW_BY);
    }
    memmove(&rings->v[i + 1], &rings->v[i], (n - i) * sizeof(*rings->v));
    rings->v[i] = (struct upt_bucket){0};
    rings->n[r]++;
    return &rings->v[i];
}

/* The bucket `age` before now in ring r, which begins at index start: not the newest, or not there yet. */
static struct upt_bucket *
find_or_open(struct upt_mem *mem, struct upt_rings *rings, int r, const struct upt_now *now, uint16_t age)
{
    unsigned start = start_of(rings, r);
    unsigned i = start + rings->n[r];
    for (; i > start; i--) {
        uint16_t there = upt_bucket_age(&rings->v[i - 1], r, now);
        if (there == age) {
            return &rings->v[i - 1];
        }
        if (there > age) {
            break;
        }
    }
    struct upt_bucket *bucket = open_gap(mem, rings, r, i);
    bucket->number = (uint16_t)(now->b[r] - age);
    return bucket;
}

void
upt_rings_add_any(struct upt_mem *mem, struct upt_rings *rings, const struct upt_now *now, const struct upt_now *at,
                  struct upt_sample sample)
{
    unsigned end = 0;
    for (int r = 0; r < UPT_R_COUNT; r++) {
        int64_t age = now->b[r] - at->b[r];
        end += rings->n[r];
        if (age >= upt_ring_len[r]) {
            continue;
        }
        uint8_t before = rings->n[r];
        if (before > 0 && rings->v[end - 1].number == (uint16_t)at->b[r]) { /* the newest */
            upt_bucket_add(&rings->v[end - 1], sample);
        } else {
            upt_bucket_add(find_or_open(mem, rings, r, now, (uint16_t)age), sample);
            end += rings->n[r] - before;
        }
    }
}

void
upt_rings_append(struct upt_mem *mem, struct upt_rings *rings, int r, const struct upt_bucket *bucket)
{
    *open_gap(mem, rings, r, start_of(rings, r + 1)) = *bucket;
}

void
upt_rings_prune(struct upt_mem *mem, struct upt_rings *rings, const struct upt_now *now)
{
    unsigned from = 0;
    unsigned to = 0;
    for (int r = 0; r < UPT_R_COUNT; r++) {
        unsigned end = from + rings->n[r];
        while (from < end && upt_bucket_age(&rings->v[from], r, now) >= upt_ring_len[r]) {
            from++;
        }
        unsigned keep = end - from;
        if (from != to && keep > 0) {
            memmove(&rings->v[to], &rings->v[from], keep * sizeof(*rings->v));
        }
        rings->n[r] = (uint8_t)keep;
        to += keep;
        from = end;
    }
    if (to == 0) {
        resize(mem, rings, 0);
    } else if (rings->cap > 2 * to + 2 * GROW_BY) { /* with a margin: an account that comes and goes must not thrash */
        resize(mem, rings, to + GROW_BY);
    }
}

struct upt_usage
upt_bucket_usage(const struct upt_bucket *bucket)
{
    return (struct upt_usage){
        .events = (uint64_t)bucket->events_hi << 32 | bucket->events_lo,
        .micro_units = (upt_i128)bucket->units_hi << 64 | bucket->units_lo,
        .logins = (uint64_t)bucket->logins_hi << 32 | bucket->logins_lo,
    };
}

static void
sum(struct upt_usage *total, const struct upt_bucket *bucket)
{
    struct upt_usage usage = upt_bucket_usage(bucket);
    total->events += usage.events;
    total->micro_units += usage.micro_units;
    total->logins += usage.logins;
}

void
upt_rings_sum(const struct upt_rings *rings, const struct upt_now *now, struct upt_usage ret[UPT_WINDOWS])
{
    memset(ret, 0, UPT_WINDOWS * sizeof(*ret));
    const struct upt_bucket *bucket = rings->v;
    for (int r = 0; r < UPT_R_COUNT; r++) {
        for (unsigned i = 0; i < rings->n[r]; i++, bucket++) {
            uint16_t age = upt_bucket_age(bucket, r, now);
            if (age >= upt_ring_len[r]) {
                continue;
            }
            if (r == UPT_R_DAY) {
                sum(&ret[UPT_W_30D], bucket);
                if (age < WEEK) {
                    sum(&ret[UPT_W_7D], bucket);
                }
            } else {
                sum(&ret[r == UPT_R_HOUR ? UPT_W_24H : UPT_W_1H], bucket);
            }
        }
    }
}

/* When the bucket that is `age` behind now leaves a window of n. */
static int64_t
leaves(const struct upt_now *now, int r, uint16_t age, int64_t n)
{
    return (now->b[r] - age + n) * upt_ring_ms[r];
}

int64_t
upt_rings_next(const struct upt_rings *rings, const struct upt_now *now)
{
    int64_t next = UPT_NEVER;
    const struct upt_bucket *bucket = rings->v;
    for (int r = 0; r < UPT_R_COUNT; r++) {
        for (unsigned i = 0; i < rings->n[r]; i++) {
            uint16_t age = upt_bucket_age(&bucket[i], r, now);
            if (age >= upt_ring_len[r]) {
                continue;
            }
            int64_t edge = leaves(now, r, age, r == UPT_R_DAY && age < WEEK ? WEEK : upt_ring_len[r]);
            next = edge < next ? edge : next;
            if (r != UPT_R_DAY || age < WEEK) {
                break; /* what is newer leaves later */
            }
        }
        bucket += rings->n[r];
    }
    return next;
}

struct upt_usage
upt_rings_day(const struct upt_rings *rings, int64_t today, int64_t day)
{
    if (day <= today && today - day < UPT_WINDOW_DAYS) {
        for (unsigned i = 0; i < rings->n[UPT_R_DAY]; i++) {
            if (rings->v[i].number == (uint16_t)day) {
                return upt_bucket_usage(&rings->v[i]);
            }
        }
    }
    return (struct upt_usage){0};
}

void
upt_rings_fini(struct upt_mem *mem, struct upt_rings *rings)
{
    resize(mem, rings, 0);
    *rings = (struct upt_rings){0};
}

int64_t
upt_next_edge(const struct upt_now *now, const struct upt_now *at)
{
    if (now->b[UPT_R_MINUTE] - at->b[UPT_R_MINUTE] < upt_ring_len[UPT_R_MINUTE]) {
        return at->b[UPT_R_MINUTE] + upt_ring_len[UPT_R_MINUTE];
    }
    if (now->b[UPT_R_HOUR] - at->b[UPT_R_HOUR] < upt_ring_len[UPT_R_HOUR]) {
        return (at->b[UPT_R_HOUR] + upt_ring_len[UPT_R_HOUR]) * UPT_HOUR_MINUTES;
    }
    int64_t days = now->b[UPT_R_DAY] - at->b[UPT_R_DAY] < WEEK ? WEEK : UPT_WINDOW_DAYS;
    return (at->b[UPT_R_DAY] + days) * UPT_DAY_MINUTES;
}

/* ---- histograms ---- */

static uint32_t *
cell(struct upt_hist *hist, int64_t day)
{
    return &hist->v[(uint64_t)day & 31];
}

void
upt_hist_init(struct upt_hist *hist, int64_t today)
{
    *hist = (struct upt_hist){.day = today};
}

void
upt_hist_move(struct upt_hist *hist, int64_t today, int from, int to)
{
    if (today > hist->day) { /* cells of days that have begun since are 32 days old */
        int64_t stale = today - hist->day < 32 ? today - hist->day : 32;
        for (int64_t i = 0; i < stale; i++) {
            *cell(hist, today - i) = 0;
        }
        hist->day = today;
    }
    if (from >= 0) {
        uint32_t *count = cell(hist, today - from);
        upt_assert(*count > 0);
        --*count;
    }
    if (to >= 0) {
        ++*cell(hist, today - to);
    }
}

uint64_t
upt_hist_sum(const struct upt_hist *hist, int64_t today)
{
    uint64_t total = 0;
    for (int64_t i = today - hist->day; i < UPT_WINDOW_DAYS; i++) {
        total += hist->v[(uint64_t)(today - i) & 31];
    }
    return total;
}
