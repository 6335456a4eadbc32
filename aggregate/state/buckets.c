/* Sparse bucket rings. A window is summed when a row is written, over at most 60 + 24 + 30 buckets; there are no
 * running sums to keep right when a window moves, and an account that does little holds little. */
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

void
upt_buckets_fini(struct upt_buckets *b)
{
    free(b->v);
    memset(b, 0, sizeof(*b));
}

static void
drop_before(struct upt_buckets *b, int32_t first)
{
    uint16_t n = 0;
    while (n < b->n && b->v[n].at < first) {
        n++;
    }
    if (n > 0) {
        memmove(b->v, b->v + n, (size_t)(b->n - n) * sizeof(*b->v));
        b->n = (uint16_t)(b->n - n);
    }
}

static struct upt_bucket *
insert_at(struct upt_buckets *b, uint16_t i, int32_t at)
{
    if (b->n == b->cap) {
        uint16_t cap = (uint16_t)(b->cap < 2 ? b->cap + 1 : b->cap + b->cap / 2);
        struct upt_bucket *grown = realloc(b->v, cap * sizeof(*grown));
        upt_assert(grown != NULL);
        b->v = grown;
        b->cap = cap;
    }
    memmove(b->v + i + 1, b->v + i, (size_t)(b->n - i) * sizeof(*b->v));
    b->n++;
    b->v[i] = (struct upt_bucket){.at = at};
    return &b->v[i];
}

void
upt_buckets_add(struct upt_buckets *b, int32_t at, int32_t first, uint32_t events, uint32_t logins, uint64_t micro)
{
    if (b->n > 0 && b->v[0].at < first) {
        drop_before(b, first);
    }
    if (at < first) {
        return;
    }
    uint16_t i = b->n;
    while (i > 0 && b->v[i - 1].at > at) { /* nearly always the last one */
        i--;
    }
    struct upt_bucket *bucket = i > 0 && b->v[i - 1].at == at ? &b->v[i - 1] : insert_at(b, i, at);
    bucket->events += events;
    bucket->logins += logins;
    bucket->units_lo += micro;
    bucket->units_hi += bucket->units_lo < micro ? 1 : 0;
}

void
upt_buckets_sum(const struct upt_buckets *b, int32_t first, int32_t last, struct upt_usage *sum)
{
    for (uint16_t i = 0; i < b->n; i++) {
        const struct upt_bucket *bucket = &b->v[i];
        if (bucket->at >= first && bucket->at <= last) {
            sum->events += bucket->events;
            sum->logins += bucket->logins;
            sum->micro_units += (upt_i128)(((upt_u128)bucket->units_hi << 64) | bucket->units_lo);
        }
    }
}

int32_t
upt_buckets_oldest(const struct upt_buckets *b, int32_t first)
{
    for (uint16_t i = 0; i < b->n; i++) {
        if (b->v[i].at >= first) {
            return b->v[i].at;
        }
    }
    return UPT_NO_DAY;
}

void
upt_rings_fini(struct upt_rings *r)
{
    upt_buckets_fini(&r->minutes);
    upt_buckets_fini(&r->hours);
    upt_buckets_fini(&r->days);
}

void
upt_rings_add(struct upt_rings *r, int64_t clock, int64_t at, uint32_t events, uint32_t logins, uint64_t micro)
{
    upt_buckets_add(&r->minutes, upt_minute_of(at), upt_minute_of(clock) - 59, events, logins, micro);
    upt_buckets_add(&r->hours, upt_hour_of(at), upt_hour_of(clock) - 23, events, logins, micro);
    upt_buckets_add(&r->days, upt_day_of(at), upt_day_of(clock) - (UPT_DAYS - 1), events, logins, micro);
}

void
upt_rings_sum(const struct upt_rings *r, int64_t clock, struct upt_usage ret[UPT_WINDOWS])
{
    int32_t minute = upt_minute_of(clock), hour = upt_hour_of(clock), day = upt_day_of(clock);
    memset(ret, 0, UPT_WINDOWS * sizeof(*ret));
    upt_buckets_sum(&r->minutes, minute - 59, minute, &ret[UPT_W_1H]);
    upt_buckets_sum(&r->hours, hour - 23, hour, &ret[UPT_W_24H]);
    upt_buckets_sum(&r->days, day - 6, day, &ret[UPT_W_7D]);
    upt_buckets_sum(&r->days, day - (UPT_DAYS - 1), day, &ret[UPT_W_30D]);
}

static void
least(int64_t *inout, int32_t oldest, int32_t window, int64_t unit_ms)
{
    if (oldest != UPT_NO_DAY) {
        int64_t leaves = ((int64_t)oldest + window) * unit_ms;
        *inout = leaves < *inout ? leaves : *inout;
    }
}

int64_t
upt_rings_next(const struct upt_rings *r, int64_t clock)
{
    int64_t next = INT64_MAX;
    int32_t day = upt_day_of(clock);
    least(&next, upt_buckets_oldest(&r->minutes, upt_minute_of(clock) - 59), 60, UPT_MINUTE_MS);
    least(&next, upt_buckets_oldest(&r->hours, upt_hour_of(clock) - 23), 24, UPT_HOUR_MS);
    least(&next, upt_buckets_oldest(&r->days, day - 6), 7, UPT_DAY_MS);
    least(&next, upt_buckets_oldest(&r->days, day - (UPT_DAYS - 1)), UPT_DAYS, UPT_DAY_MS);
    return next;
}

size_t
upt_rings_bytes(const struct upt_rings *r)
{
    return ((size_t)r->minutes.cap + r->hours.cap + r->days.cap) * sizeof(struct upt_bucket);
}
