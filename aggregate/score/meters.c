/* The meters of an account: features whose units have a price, each with the units that the account is entitled to in
 * 30 UTC days (trait `entitlements`, schemas/README.md).
 *
 * The state knows of a feature only on which days an account used it, so a meter counts from the PROFILE on that lists
 * it: an account without the trait keeps nothing and pays a test of a flag for an event. A ring of days for each, 256
 * bytes. Sums are whole millionths, each day's bounded by itself, so that their order does not matter. What is listed
 * and what is counted are the same at any time, since only a PROFILE changes the list. The lane's thread. */
#include <math.h>
#include <string.h>

#include "codec.h"
#include "decide.h"
#include "uptake/time.h"
#include "uptake/units.h"

/* NAME=UNITS; false: it is no such thing. */
static bool
read_entry(struct upt_str text, struct upt_str *ret_name, double *ret_entitled)
{
    struct upt_str units;
    if (!upt_name_cut(text, '=', ret_name, &units)) {
        return false;
    }
    *ret_entitled = upt_number_of(units);
    return *ret_entitled > 0;
}

/* The meter of that name, or NULL. */
static struct upt_meter *
find(struct upt_meter *v, int n, uint64_t name)
{
    for (int i = 0; i < n; i++) {
        if (v[i].name == name) {
            return &v[i];
        }
    }
    return NULL;
}

static size_t
slot_of(int64_t day)
{
    return (size_t)(day - upt_floor_div(day, UPT_METER_DAYS) * UPT_METER_DAYS);
}

/* ---- counting ---- */

void
upt_meters_follow(struct upt_decision *d)
{
    struct upt_relation *r = d->ext->signals.relation;
    struct upt_str list = upt_account_trait(d->acct, UPT_STR("entitlements"));
    struct upt_str text, name;
    struct upt_meter v[UPT_METERS_MAX];
    int32_t today = (int32_t)upt_floor_div(d->now, UPT_DAY_MS);
    int had_n = r == NULL ? 0 : r->meters_n;
    int n = 0;
    double entitled = 0;
    for (uint32_t at = 0; list.p != NULL && n < UPT_METERS_MAX && upt_name_next(list, &at, &text);) {
        if (!read_entry(text, &name, &entitled)) {
            continue;
        }
        uint64_t hash = upt_hash(name.p, name.len);
        if (find(v, n, hash) == NULL) {
            const struct upt_meter *had = had_n > 0 ? find(r->meters, had_n, hash) : NULL;
            v[n++] = had != NULL ? *had : (struct upt_meter){.name = hash, .since = today, .day = today};
        }
    }
    if (n == 0 && had_n == 0) {
        return;
    }
    r = upt_relation_of(d->st, &d->ext->signals);
    r->meters = upt_state_resize(d->st, r->meters, (size_t)had_n * sizeof(v[0]), (size_t)n * sizeof(v[0]));
    r->meters_n = (uint8_t)n;
    if (n > 0) {
        memcpy(r->meters, v, (size_t)n * sizeof(v[0]));
    }
    d->ext->metered = n > 0;
}

void
upt_meters_count(struct upt_relation *r, const struct upt_event *ev, int64_t at)
{
    struct upt_meter *meter = find(r->meters, r->meters_n, upt_hash(ev->feature.p, ev->feature.len));
    if (meter == NULL) {
        return;
    }
    int64_t day = upt_floor_div(at, UPT_DAY_MS);
    if (day - meter->day >= UPT_METER_DAYS) {
        memset(meter->units, 0, sizeof(meter->units));
    } else {
        for (int64_t next = meter->day + INT64_C(1); next <= day; next++) {
            meter->units[slot_of(next)] = 0;
        }
    }
    meter->day = day > meter->day ? (int32_t)day : meter->day;
    uint64_t most = (uint64_t)(UPT_METER_UNITS_MAX * UPT_MICRO);
    uint64_t *units = &meter->units[slot_of(day)];
    uint64_t sum = *units + (uint64_t)upt_micro_from_double(ev->quantity);
    *units = sum < most ? sum : most;
}

/* ---- reading ---- */

/* Of the days up to today, in millionths. */
static upt_u128
sum_of(const struct upt_meter *meter, int64_t today)
{
    upt_u128 sum = 0;
    size_t newest = slot_of(meter->day);
    for (size_t age = 0; age < UPT_METER_DAYS; age++) {
        bool within = today - meter->day + (int64_t)age < UPT_METER_DAYS;
        sum += within ? meter->units[(newest + UPT_METER_DAYS - age) % UPT_METER_DAYS] : 0;
    }
    return sum;
}

bool
upt_meter_next(const struct upt_decision *d, uint32_t *at, int *n, struct upt_meter_use *ret)
{
    const struct upt_relation *r = d->ext->signals.relation;
    struct upt_str list = d->ext->metered ? upt_account_trait(d->acct, UPT_STR("entitlements")) : UPT_STR_NULL;
    struct upt_str text;
    while (list.p != NULL && *n < r->meters_n && upt_name_next(list, at, &text)) {
        const struct upt_meter *meter = &r->meters[*n];
        if (read_entry(text, &ret->name, &ret->entitled) && upt_hash(ret->name.p, ret->name.len) == meter->name) {
            ret->units = (double)sum_of(meter, d->eval->today) / UPT_MICRO;
            ret->share = upt_round6(ret->units / ret->entitled);
            ret->since = meter->since;
            (*n)++;
            return true;
        }
    }
    return false;
}

void
upt_meters_read(const struct upt_decision *d, struct upt_meters *ret)
{
    struct upt_meter_use meter;
    *ret = (struct upt_meters){.most.share = (double)NAN};
    for (uint32_t at = 0; upt_meter_next(d, &at, &ret->n, &meter);) {
        ret->over += meter.share >= 1;
        if (ret->n == 1 || meter.share > ret->most.share) {
            ret->most = meter;
        }
    }
}

/* ---- checkpoint ---- */

void
upt_meters_fields(struct upt_codec *codec, struct upt_relation *r)
{
    for (int i = 0; i < r->meters_n; i++) {
        struct upt_meter *meter = &r->meters[i];
        UPT_INT(meter->name, uint64_t, 8);
        UPT_INT(meter->since, int32_t, 4);
        UPT_INT(meter->day, int32_t, 4);
        for (int k = 0; k < UPT_METER_DAYS; k++) {
            UPT_INT(meter->units[k], uint64_t, 8);
        }
    }
}
