/* Public rows, what changed, and what observers read. Values are computed from buckets and users when asked for. */
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/internal.h"

/* ---- marks ---- */

void
upt_show_account(struct upt_state *st, struct upt_account *acct)
{
    if (!acct->dirty) {
        acct->dirty = true;
        upt_list_put(&st->dirty, acct);
    }
}

void
upt_mark_account(struct upt_state *st, struct upt_account *acct)
{
    upt_snapshot_before(st, acct);
    upt_show_account(st, acct);
    if (!acct->changed) {
        acct->changed = true;
        upt_list_put(&st->changed, acct);
    }
}

void
upt_show_feature(struct upt_state *st, struct upt_feature *f)
{
    if (!f->dirty) {
        f->dirty = true;
        upt_list_put(&st->dirty_features, f);
    }
}

void
upt_mark_feature(struct upt_state *st, struct upt_feature *f)
{
    upt_snapshot_before_feature(st, f);
    upt_show_feature(st, f);
    if (!f->changed) {
        f->changed = true;
        upt_list_put(&st->changed_features, f);
    }
}

void
upt_mark_totals(struct upt_state *st)
{
    upt_snapshot_before_totals(st);
    st->totals_dirty = st->totals_changed = true;
}

void
upt_account_touch(struct upt_state *st, struct upt_account *acct, int32_t open_alerts_delta)
{
    upt_mark_account(st, acct);
    if (open_alerts_delta != 0) {
        upt_mark_totals(st);
        acct->open_alerts = (uint32_t)((int64_t)acct->open_alerts + open_alerts_delta);
        st->open_alerts = (uint64_t)((int64_t)st->open_alerts + open_alerts_delta);
    }
}

void
upt_account_set_timer(struct upt_state *st, struct upt_account *acct, int64_t tick)
{
    acct->timer = tick;
    upt_state_schedule(st, acct);
}

int64_t
upt_account_timer(const struct upt_account *acct)
{
    return acct->timer;
}

/* ---- accounts, read ---- */

struct upt_account *
upt_state_find(struct upt_state *st, struct upt_str key)
{
    return upt_accounts_find(&st->accounts, key, upt_hash(key.p, key.len));
}

struct upt_account *
upt_state_next(struct upt_state *st, size_t *cursor)
{
    return *cursor < st->accounts.n ? st->accounts.v[(*cursor)++] : NULL;
}

struct upt_str
upt_account_id(const struct upt_account *acct)
{
    return (struct upt_str){.p = acct->id, .len = acct->id_len};
}

void *
upt_account_ext(struct upt_account *acct)
{
    return (char *)acct + acct->ext_at;
}

int64_t
upt_account_first_seen(const struct upt_account *acct)
{
    return acct->first_seen;
}

int64_t
upt_account_last_seen(const struct upt_account *acct)
{
    return acct->last_seen;
}

struct upt_usage
upt_account_day(const struct upt_account *acct, int64_t day)
{
    struct upt_usage sum = {0};
    upt_buckets_sum(&acct->rings.days, (int32_t)day, (int32_t)day, &sum);
    return sum;
}

size_t
upt_account_features_n(const struct upt_account *acct)
{
    return acct->features_n;
}

void
upt_account_feature(const struct upt_state *st, const struct upt_account *acct, size_t i, struct upt_str *ret_name,
                    uint32_t *ret_days)
{
    const struct upt_feature *f = st->features[acct->features[i].feature];
    *ret_name = (struct upt_str){.p = f->name, .len = f->len};
    *ret_days = upt_use_days(&acct->features[i], upt_day_of(st->clock));
}

struct upt_account_users
upt_account_users(const struct upt_state *st, const struct upt_account *acct)
{
    struct upt_account_users got = {.total = acct->users_total};
    int32_t hour = upt_hour_of(st->clock), today = upt_day_of(st->clock);
    for (uint32_t i = 0; i < acct->users.n; i++) {
        const struct upt_user *user = &acct->users.v[i];
        if (user->hour != UPT_NO_DAY) {
            int32_t day = (int32_t)upt_floor_div(user->hour, 24);
            got.d1 += user->hour > hour - 24;
            got.d7 += day > today - 7;
            got.d30 += day > today - UPT_DAYS;
        }
        got.adopted += user->counted && upt_adopt_count(user, today) >= st->config.adopted_days;
    }
    return got;
}

/* ---- the next change by itself ---- */

static void
least(int64_t *inout, int64_t at)
{
    *inout = at < *inout ? at : *inout;
}

/* The day on which an adopted user stops to be one. */
static void
least_adoption(const struct upt_state *st, const struct upt_user *user, int32_t today, int64_t *inout)
{
    if (!user->counted || upt_adopt_count(user, today) < st->config.adopted_days) {
        return;
    }
    for (int32_t later = 1; later <= UPT_ADOPT_DAYS; later++) {
        if (user->adopt_day != UPT_NO_DAY && upt_adopt_count(user, today + later) < st->config.adopted_days) {
            least(inout, ((int64_t)today + later) * UPT_DAY_MS);
            return;
        }
    }
}

int64_t
upt_account_next_change(struct upt_state *st, struct upt_account *acct)
{
    int64_t clock = st->clock;
    int32_t today = upt_day_of(clock);
    int64_t next = upt_rings_next(&acct->rings, clock);
    for (uint32_t i = 0; i < acct->users.n; i++) {
        const struct upt_user *user = &acct->users.v[i];
        if (user->hour != UPT_NO_DAY) {
            int32_t day = (int32_t)upt_floor_div(user->hour, 24);
            if (user->hour > upt_hour_of(clock) - 24) {
                least(&next, ((int64_t)user->hour + 24) * UPT_HOUR_MS);
            }
            if (day > today - 7) {
                least(&next, ((int64_t)day + 7) * UPT_DAY_MS);
            }
            if (day > today - UPT_DAYS) {
                least(&next, ((int64_t)day + UPT_DAYS) * UPT_DAY_MS);
            }
        }
        least_adoption(st, user, today, &next);
    }
    for (uint32_t i = 0; i < acct->features_n; i++) {
        uint32_t days = upt_use_days(&acct->features[i], today);
        if (days != 0) { /* its count of days falls when the oldest leaves */
            int32_t oldest = today - (31 - __builtin_clz(days));
            least(&next, ((int64_t)oldest + UPT_DAYS) * UPT_DAY_MS);
        }
    }
    return next;
}

/* ---- rows ---- */

bool
upt_state_next_dirty(struct upt_state *st, struct upt_account **ret)
{
    struct upt_account *acct = upt_list_take(&st->dirty);
    if (acct == NULL) {
        return false;
    }
    acct->dirty = false;
    *ret = acct;
    return true;
}

void
upt_state_row(struct upt_state *st, struct upt_account *acct, struct upt_row *ret)
{
    struct upt_account_users users = upt_account_users(st, acct);
    int32_t today = upt_day_of(st->clock);
    memset(ret, 0, sizeof(*ret));
    ret->account = upt_account_id(acct);
    ret->partition = st->config.partition;
    ret->pos = st->pos;
    ret->as_of = st->clock;
    int64_t next = upt_account_next_change(st, acct);
    ret->next_change = next == INT64_MAX ? UPT_NO_CLOCK : next;
    upt_rings_sum(&acct->rings, st->clock, ret->usage);
    ret->users_24h = users.d1;
    ret->users_7d = users.d7;
    ret->users_30d = users.d30;
    ret->users_total = users.total;
    for (uint32_t i = 0; i < acct->features_n; i++) {
        ret->features_30d += upt_use_days(&acct->features[i], today) != 0;
    }
    ret->first_seen = acct->first_seen;
    ret->last_seen = acct->last_seen;
    ret->segment = upt_account_trait(acct, UPT_STR("segment"));
    ret->tier = upt_account_trait(acct, UPT_STR("tier"));
    ret->has_seats = acct->has_seats;
    ret->micro_seats = acct->micro_seats;
    ret->renewal_date = upt_account_trait(acct, UPT_STR("renewal_date"));
    ret->seat_utilisation = UPT_SHARE_ABSENT;
    if (acct->has_seats && acct->micro_seats > 0) {
        upt_u128 share = ((upt_u128)users.d30 * UPT_MICRO * UPT_MICRO * 2 + (uint64_t)acct->micro_seats) /
                         ((upt_u128)(uint64_t)acct->micro_seats * 2);
        ret->seat_utilisation = share > UPT_MICRO ? UPT_MICRO : (uint32_t)share;
    }
    ret->adoption_rate = users.total > 0 ? upt_share(users.adopted, users.total) : UPT_SHARE_ABSENT;
    ret->open_alerts = acct->open_alerts;
    ret->replace_features = acct->unseen;
    if (st->config.observer != NULL && st->config.observer->fill_row != NULL) {
        st->config.observer->fill_row(st->config.observer_ctx, st, acct, ret);
    }
}

size_t
upt_state_row_features(struct upt_state *st, struct upt_account *acct, struct upt_feature_days *ret, size_t cap)
{
    size_t n = 0;
    for (uint32_t i = 0; i < acct->features_n; i++) {
        struct upt_feature_use *use = &acct->features[i];
        uint32_t days = (uint32_t)__builtin_popcount(upt_use_days(use, upt_day_of(st->clock)));
        if (days == 0 && !use->shown) {
            continue;
        }
        if (n < cap) {
            const struct upt_feature *f = st->features[use->feature];
            ret[n] = (struct upt_feature_days){.feature = {.p = f->name, .len = f->len}, .days = days};
            use->shown = days > 0;
        }
        n++;
    }
    acct->unseen = acct->unseen && n > cap;
    return n;
}

bool
upt_state_next_forgotten(struct upt_state *st, struct upt_str *ret_account)
{
    free(st->forgotten_last);
    st->forgotten_last = upt_list_take(&st->forgotten);
    if (st->forgotten_last == NULL) {
        return false;
    }
    *ret_account = upt_text_of(st->forgotten_last);
    return true;
}

bool
upt_state_next_dirty_feature(struct upt_state *st, struct upt_feature_row *ret)
{
    struct upt_feature *f = upt_list_take(&st->dirty_features);
    if (f == NULL) {
        return false;
    }
    f->dirty = false;
    memset(ret, 0, sizeof(*ret));
    ret->feature = (struct upt_str){.p = f->name, .len = f->len};
    ret->partition = st->config.partition;
    ret->pos = st->pos;
    ret->as_of = st->clock;
    upt_rings_sum(&f->rings, st->clock, ret->usage);
    ret->accounts_30d = upt_hist_sum(&f->accounts, upt_day_of(st->clock), UPT_DAYS);
    ret->users_30d = upt_hist_sum(&f->pairs, upt_day_of(st->clock), UPT_DAYS);
    return true;
}

bool
upt_state_dirty_totals(struct upt_state *st, struct upt_totals_row *ret)
{
    if (!st->totals_dirty || st->clock == UPT_NO_CLOCK) {
        return false;
    }
    st->totals_dirty = false;
    memset(ret, 0, sizeof(*ret));
    ret->partition = st->config.partition;
    ret->pos = st->pos;
    ret->as_of = st->clock;
    upt_rings_sum(&st->rings, st->clock, ret->usage);
    ret->accounts_30d = upt_hist_sum(&st->active_accounts, upt_day_of(st->clock), UPT_DAYS);
    ret->users_30d = upt_hist_sum(&st->active_users, upt_day_of(st->clock), UPT_DAYS);
    ret->users_total = st->users_total;
    ret->accounts_total = st->accounts.n;
    ret->open_alerts = st->open_alerts;
    return true;
}

void
upt_state_mark_totals_dirty(struct upt_state *st)
{
    st->totals_dirty = true;
}

void
upt_state_mark_dirty(struct upt_state *st, struct upt_account *acct)
{
    acct->unseen = true;
    upt_show_account(st, acct);
}

void
upt_state_mark_all_dirty(struct upt_state *st)
{
    for (uint32_t i = 0; i < st->accounts.n; i++) {
        upt_state_mark_dirty(st, st->accounts.v[i]);
    }
    for (uint32_t i = 0; i < st->features_n; i++) {
        upt_show_feature(st, st->features[i]);
    }
    st->totals_dirty = true;
}

size_t
upt_state_dirty_count(const struct upt_state *st)
{
    return st->dirty.n - st->dirty.head + st->dirty_features.n - st->dirty_features.head + (st->totals_dirty ? 1 : 0);
}

size_t
upt_state_accounts_n(const struct upt_state *st)
{
    return st->accounts.n;
}
