/* Windows: three sparse bucket rings (days, hours, minutes), and last-day histograms. Private to aggregate/state. */
#ifndef UPT_STATE_WINDOWS_H
#define UPT_STATE_WINDOWS_H

#include <stdbool.h>
#include <stdint.h>

#include "aggregate/state/mem.h"
#include "uptake/row.h"
#include "uptake/time.h"

enum { UPT_R_DAY, UPT_R_HOUR, UPT_R_MINUTE, UPT_R_COUNT };

#define UPT_NEVER INT64_MAX /* a time that does not come */
#define UPT_HOUR_MINUTES 60
#define UPT_DAY_MINUTES 1440
#define UPT_WINDOW_DAYS 30 /* the longest window */

/* A time and the buckets that it falls into. */
struct upt_now {
    int64_t ms;
    int64_t b[UPT_R_COUNT];
};

static inline struct upt_now
upt_now_at(int64_t ms)
{
    return (struct upt_now){
        .ms = ms,
        .b = {upt_floor_div(ms, UPT_DAY_MS), upt_floor_div(ms, UPT_HOUR_MS), upt_floor_div(ms, UPT_MINUTE_MS)},
    };
}

/* Moves *now on to ms: within a minute, the usual case, without a division. */
static inline void
upt_now_move(struct upt_now *now, int64_t ms)
{
    int64_t into = ms - now->b[UPT_R_MINUTE] * UPT_MINUTE_MS;
    if (into >= 0 && into < UPT_MINUTE_MS) {
        now->ms = ms;
    } else {
        *now = upt_now_at(ms);
    }
}

/* 24 bytes: a bucket number modulo 65,536, events and logins of 40 bits, units of 96. */
struct upt_bucket {
    uint64_t units_lo;
    uint32_t units_hi;
    uint32_t events_lo, logins_lo;
    uint8_t events_hi, logins_hi;
    uint16_t number;
};

/* v: days, then hours, then minutes, each from old to new; only buckets that hold something. */
struct upt_rings {
    struct upt_bucket *v;
    uint8_t n[UPT_R_COUNT];
    uint8_t cap;
};

/* One event, or one login. */
struct upt_sample {
    bool login;
    uint64_t micro_units; /* of an event */
};

/* The general case of upt_rings_add. */
void upt_rings_add_any(struct upt_mem *mem, struct upt_rings *rings, const struct upt_now *now,
                       const struct upt_now *at, struct upt_sample sample);
/* Drops what has left its window. Must run at every tick at which something does: bucket numbers are short. */
void upt_rings_prune(struct upt_mem *mem, struct upt_rings *rings, const struct upt_now *now);
void upt_rings_sum(const struct upt_rings *rings, const struct upt_now *now, struct upt_usage ret[UPT_WINDOWS]);
/* The first time after now at which a window of these rings changes by itself; UPT_NEVER: none. */
int64_t upt_rings_next(const struct upt_rings *rings, const struct upt_now *now);
struct upt_usage upt_rings_day(const struct upt_rings *rings, int64_t today, int64_t day);
void upt_rings_fini(struct upt_mem *mem, struct upt_rings *rings);
/* For the codec: puts a bucket of ring r at its end; it must be newer than those there. */
void upt_rings_append(struct upt_mem *mem, struct upt_rings *rings, int r, const struct upt_bucket *bucket);

extern const int64_t upt_ring_ms[UPT_R_COUNT];
extern const uint16_t upt_ring_len[UPT_R_COUNT];

/* Buckets between bucket and now; less than upt_ring_len inside the window. */
static inline uint16_t
upt_bucket_age(const struct upt_bucket *bucket, int r, const struct upt_now *now)
{
    return (uint16_t)((uint64_t)now->b[r] - bucket->number);
}

struct upt_usage upt_bucket_usage(const struct upt_bucket *bucket);

static inline void
upt_bucket_add(struct upt_bucket *bucket, struct upt_sample sample)
{
    if (sample.login) {
        if (++bucket->logins_lo == 0) {
            bucket->logins_hi++;
        }
        return;
    }
    bucket->units_lo += sample.micro_units;
    if (bucket->units_lo < sample.micro_units) {
        bucket->units_hi++;
    }
    if (++bucket->events_lo == 0) {
        bucket->events_hi++;
    }
}

/* Adds at `at` ≤ now to each ring whose window still holds that bucket. Nearly always these are the newest three. */
static inline void
upt_rings_add(struct upt_mem *mem, struct upt_rings *rings, const struct upt_now *now, const struct upt_now *at,
              struct upt_sample sample)
{
    unsigned days = rings->n[UPT_R_DAY];
    unsigned hours = rings->n[UPT_R_HOUR];
    unsigned minutes = rings->n[UPT_R_MINUTE];
    struct upt_bucket *v = rings->v;
    if (days > 0 && hours > 0 && minutes > 0 && v[days - 1].number == (uint16_t)at->b[UPT_R_DAY] &&
        v[days + hours - 1].number == (uint16_t)at->b[UPT_R_HOUR] &&
        v[days + hours + minutes - 1].number == (uint16_t)at->b[UPT_R_MINUTE] &&
        now->b[UPT_R_MINUTE] - at->b[UPT_R_MINUTE] < UPT_HOUR_MINUTES) {
        upt_bucket_add(&v[days - 1], sample);
        upt_bucket_add(&v[days + hours - 1], sample);
        upt_bucket_add(&v[days + hours + minutes - 1], sample);
    } else {
        upt_rings_add_any(mem, rings, now, at, sample);
    }
}

/* The first minute after now at which an event at `at` leaves a window: the finest that still holds it moves first. */
int64_t upt_next_edge(const struct upt_now *now, const struct upt_now *at);

/* How many members were last seen on a day. A member remembers its last day; a later one moves it. So the members of
 * the last 30 days are counted exactly and leave by themselves. */
struct upt_hist {
    int64_t day; /* the newest covered */
    uint32_t v[32];
};

void upt_hist_init(struct upt_hist *hist, int64_t today);
/* Moves a member from last seen `from` days ago to `to` days ago (0..29); −1: not in the window. */
void upt_hist_move(struct upt_hist *hist, int64_t today, int from, int to);
uint64_t upt_hist_sum(const struct upt_hist *hist, int64_t today);

#endif
