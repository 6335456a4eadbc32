/* Records, ticks, verdicts. See state.h.
 *
 * Ticks at which nothing is due are skipped: the heap says when the next one is, and between two of them nothing of the
 * state depends on the minute. Within a tick the heap's order decides, which is a function of the state alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

#define CLOCK_MAX (INT64_C(100000000) * UPT_MINUTE_MS) /* the year 2160; minutes and pairs are narrow numbers */
#define CLOCK_MIN (-CLOCK_MAX)

upt_status
upt_state_create(const struct upt_state_config *config, struct upt_state **ret, struct upt_error *reterr)
{
    struct upt_state *st = calloc(1, sizeof(*st));
    if (st == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    st->config = *config;
    st->clock = UPT_NO_CLOCK;
    st->pos = UPT_POS_NONE;
    st->active_accounts.today = st->active_users.today = UPT_NO_DAY;
    st->totals_heap_at = UPT_NOT_IN_HEAP;
    *ret = st;
    return UPT_OK;
}

void
upt_state_destroy(struct upt_state **st_p)
{
    struct upt_state *st = *st_p;
    if (st == NULL) {
        return;
    }
    for (uint32_t i = 0; i < st->accounts.n; i++) {
        upt_account_free(st, st->accounts.v[i]);
    }
    free(st->accounts.v);
    free(st->accounts.slots);
    for (uint32_t i = 0; i < st->features_n; i++) {
        upt_rings_fini(&st->features[i]->rings);
        free(st->features[i]);
    }
    free(st->features);
    upt_intern_fini(&st->feature_names);
    upt_intern_fini(&st->strings);
    upt_rings_fini(&st->rings);
    free(st->heap.v);
    upt_list_fini(&st->dirty);
    upt_list_fini(&st->dirty_features);
    for (char *text; (text = upt_list_take(&st->forgotten)) != NULL;) {
        free(text);
    }
    upt_list_fini(&st->forgotten);
    free(st->forgotten_last);
    upt_snapshot_fini(st);
    free(st);
    *st_p = NULL;
}

int32_t
upt_state_partition(const struct upt_state *st)
{
    return st->config.partition;
}

int64_t
upt_state_clock(const struct upt_state *st)
{
    return st->clock;
}

struct upt_pos
upt_state_pos(const struct upt_state *st)
{
    return st->pos;
}

/* ---- due times ---- */

static int64_t
to_minute(int64_t ms) /* up */
{
    return -upt_floor_div(-ms, UPT_MINUTE_MS) * UPT_MINUTE_MS;
}

static int64_t
next_daily(const struct upt_account *acct, int64_t clock)
{
    int64_t at = (int64_t)(acct->hash % 60) * UPT_MINUTE_MS;
    int64_t day = upt_floor_div(clock, UPT_DAY_MS) * UPT_DAY_MS + at;
    return day > clock ? day : day + UPT_DAY_MS;
}

void
upt_state_schedule(struct upt_state *st, struct upt_account *acct)
{
    int64_t due = to_minute(acct->last_clock + st->config.retention_ms);
    due = acct->daily < due ? acct->daily : due;
    due = acct->change < due ? acct->change : due;
    due = acct->timer != UPT_NO_CLOCK && acct->timer < due ? acct->timer : due;
    if (acct->heap_at != UPT_NOT_IN_HEAP && st->heap.v[acct->heap_at].due == due) {
        return;
    }
    upt_heap_set(&st->heap,
                 (struct upt_timer){
                     .due = due, .what = acct, .order = acct->hash, .at = &acct->heap_at, .kind = UPT_TIMER_ACCOUNT});
}

static int64_t
hist_next(struct upt_hist *h, int64_t clock)
{
    int32_t oldest = upt_hist_oldest(h, upt_day_of(clock));
    return oldest == UPT_NO_DAY ? INT64_MAX : ((int64_t)oldest + UPT_DAYS) * UPT_DAY_MS;
}

static void
set_due(struct upt_state *st, int64_t due, void *what, uint64_t order, uint32_t *at, uint8_t kind)
{
    if (due == INT64_MAX) {
        upt_heap_remove(&st->heap, *at);
    } else if (*at == UPT_NOT_IN_HEAP || st->heap.v[*at].due != due) {
        upt_heap_set(&st->heap, (struct upt_timer){.due = due, .what = what, .order = order, .at = at, .kind = kind});
    }
}

static int64_t
min3(int64_t a, int64_t b, int64_t c)
{
    int64_t least = a < b ? a : b;
    return least < c ? least : c;
}

void
upt_state_schedule_feature(struct upt_state *st, struct upt_feature *f)
{
    int64_t due =
        min3(upt_rings_next(&f->rings, st->clock), hist_next(&f->accounts, st->clock), hist_next(&f->pairs, st->clock));
    set_due(st, due, f, f->index, &f->heap_at, UPT_TIMER_FEATURE);
}

void
upt_state_schedule_totals(struct upt_state *st)
{
    int64_t due = min3(upt_rings_next(&st->rings, st->clock), hist_next(&st->active_accounts, st->clock),
                       hist_next(&st->active_users, st->clock));
    set_due(st, due, st, 0, &st->totals_heap_at, UPT_TIMER_TOTALS);
}

/* ---- forget ---- */

static void
take_out_distinct(struct upt_state *st, struct upt_account *acct)
{
    int32_t today = upt_day_of(st->clock);
    for (uint32_t i = 0; i < acct->pairs_cap; i++) {
        const struct upt_pair *pair = &acct->pairs[i];
        if (pair->user != 0) {
            struct upt_feature *f = st->features[acct->features[pair->feature].feature];
            upt_mark_feature(st, f);
            upt_hist_move(&f->pairs, today, pair->day + UPT_PAIR_EPOCH, UPT_NO_DAY);
        }
    }
    for (uint32_t i = 0; i < acct->features_n; i++) {
        struct upt_feature *f = st->features[acct->features[i].feature];
        upt_mark_feature(st, f);
        upt_hist_move(&f->accounts, today, acct->features[i].day, UPT_NO_DAY);
        upt_state_schedule_feature(st, f);
    }
    for (uint32_t i = 0; i < acct->users.n; i++) {
        int32_t hour = acct->users.v[i].hour;
        if (hour != UPT_NO_DAY) {
            upt_hist_move(&st->active_users, today, (int32_t)upt_floor_div(hour, 24), UPT_NO_DAY);
        }
    }
    upt_hist_move(&st->active_accounts, today, acct->active_day, UPT_NO_DAY);
    st->users_total -= acct->users_total;
    st->open_alerts -= acct->open_alerts;
}

static void
forget(struct upt_state *st, struct upt_account *acct)
{
    if (st->config.observer != NULL && st->config.observer->on_forget != NULL) {
        st->config.observer->on_forget(st->config.observer_ctx, st, acct);
    }
    upt_mark_account(st, acct);
    upt_mark_totals(st);
    take_out_distinct(st, acct);
    upt_snapshot_gone(st, acct);
    upt_list_put(&st->forgotten, upt_text_copy(upt_account_id(acct)));
    upt_heap_remove(&st->heap, acct->heap_at);
    upt_accounts_remove(&st->accounts, acct);
    upt_account_free(st, acct);
    upt_state_schedule_totals(st);
    upt_metric_add(st->config.metrics, UPT_M_FORGOTTEN, 1);
}

void
upt_state_forget(struct upt_state *st, struct upt_str key)
{
    struct upt_account *acct = upt_accounts_find(&st->accounts, key, upt_hash(key.p, key.len));
    if (acct != NULL) {
        forget(st, acct);
    }
}

/* ---- ticks ---- */

static void
account_due(struct upt_state *st, struct upt_account *acct, int64_t k)
{
    const struct upt_observer *observer = st->config.observer;
    if (k >= to_minute(acct->last_clock + st->config.retention_ms)) {
        forget(st, acct);
        return;
    }
    if (acct->timer != UPT_NO_CLOCK && acct->timer <= k) {
        upt_mark_account(st, acct);
        acct->timer = UPT_NO_CLOCK;
        if (observer != NULL && observer->on_timer != NULL) {
            observer->on_timer(st->config.observer_ctx, st, acct, k);
        }
    }
    if (acct->daily <= k) {
        acct->daily = next_daily(acct, k);
        if (observer != NULL && observer->on_daily != NULL) {
            upt_mark_account(st, acct);
            observer->on_daily(st->config.observer_ctx, st, acct, k);
        }
    }
    if (acct->change <= k) {
        upt_show_account(st, acct);
        acct->change = upt_account_next_change(st, acct);
    }
    upt_state_schedule(st, acct);
}

static void
tick(struct upt_state *st, int64_t k)
{
    st->clock = k;
    st->pos.tick = k;
    while (upt_heap_next(&st->heap) <= k) {
        struct upt_timer timer = st->heap.v[0];
        if (timer.kind == UPT_TIMER_ACCOUNT) {
            account_due(st, timer.what, k);
        } else if (timer.kind == UPT_TIMER_FEATURE) {
            upt_show_feature(st, timer.what);
            upt_state_schedule_feature(st, timer.what);
        } else {
            st->totals_dirty = true;
            upt_state_schedule_totals(st);
        }
    }
}

/* Every whole minute after the clock up to `to`, those without anything due in one step. */
static void
run_ticks(struct upt_state *st, int64_t to)
{
    int64_t last = upt_floor_div(to, UPT_MINUTE_MS) * UPT_MINUTE_MS;
    int64_t first = (upt_floor_div(st->clock, UPT_MINUTE_MS) + 1) * UPT_MINUTE_MS;
    if (first > last) {
        return;
    }
    upt_metric_add(st->config.metrics, UPT_M_TICKS, (uint64_t)((last - first) / UPT_MINUTE_MS + 1));
    for (;;) {
        int64_t due = upt_heap_next(&st->heap);
        if (due > last) {
            break;
        }
        tick(st, due > first ? due : first);
    }
    tick(st, last);
}

static int64_t
clamp(int64_t ms)
{
    return ms > CLOCK_MAX ? CLOCK_MAX : ms < CLOCK_MIN ? CLOCK_MIN : ms;
}

void
upt_state_begin(struct upt_state *st, int64_t offset, int64_t ts)
{
    ts = clamp(ts);
    if (st->clock != UPT_NO_CLOCK && ts > st->clock) {
        run_ticks(st, ts);
    }
    st->clock = st->clock == UPT_NO_CLOCK || ts > st->clock ? ts : st->clock;
    st->pos.offset = offset;
}

void
upt_state_wall_tick(struct upt_state *st, int64_t k)
{
    k = clamp(k);
    if (st->clock == UPT_NO_CLOCK) {
        st->clock = k;
        st->pos.tick = k;
    } else if (k > st->clock) {
        run_ticks(st, k);
    }
}

/* ---- verdicts ---- */

upt_reason
upt_state_judge(const struct upt_state *st, const struct upt_event *ev, int64_t ts)
{
    bool usage = ev->kind == UPT_KIND_USAGE;
    if (usage && ev->feature.p != NULL &&
        (ev->feature.len == 0 || ev->feature.len > UPT_FEATURE_MAX || ev->feature.p[0] == '_')) {
        return UPT_REASON_BAD_FEATURE;
    }
    if (!isfinite(ev->quantity) ||
        ((usage || ev->kind == UPT_KIND_VALUE) && (ev->quantity < 0.0 || ev->quantity > 1e9))) {
        return UPT_REASON_BAD_QUANTITY;
    }
    if (upt_floor_div(ev->occurred_at, UPT_DAY_MS) <= upt_floor_div(st->clock, UPT_DAY_MS) - UPT_DAYS) {
        return UPT_REASON_TOO_LATE;
    }
    if (ev->occurred_at > clamp(ts) + st->config.max_future_ms) {
        return UPT_REASON_IN_FUTURE;
    }
    return UPT_REASON_NONE;
}

/* ---- counting ---- */

struct upt_feature *
upt_state_feature(struct upt_state *st, struct upt_str name)
{
    uint32_t index = upt_intern_put(&st->feature_names, name);
    if (index < st->features_n) {
        return st->features[index];
    }
    if (st->features_n == st->features_cap) {
        st->features_cap = st->features_cap == 0 ? 16 : st->features_cap * 2;
        struct upt_feature **grown = realloc(st->features, st->features_cap * sizeof(struct upt_feature *));
        upt_assert(grown != NULL);
        st->features = grown;
    }
    struct upt_feature *f = calloc(1, sizeof(*f) + name.len);
    upt_assert(f != NULL);
    f->index = index;
    f->heap_at = UPT_NOT_IN_HEAP;
    f->accounts.today = f->pairs.today = UPT_NO_DAY;
    f->len = name.len;
    memcpy(f->name, name.p, name.len);
    st->features[st->features_n++] = f;
    return f;
}

static void
count_usage(struct upt_state *st, struct upt_account *acct, const struct upt_event *ev, int64_t at, uint32_t user)
{
    uint64_t micro = (uint64_t)upt_micro_from_double(ev->quantity);
    int32_t today = upt_day_of(st->clock), day = upt_day_of(at), old;
    upt_rings_add(&acct->rings, st->clock, at, 1, 0, micro);
    upt_rings_add(&st->rings, st->clock, at, 1, 0, micro);
    if (ev->feature.p == NULL) {
        return;
    }
    struct upt_feature *f = upt_state_feature(st, ev->feature);
    upt_mark_feature(st, f);
    upt_rings_add(&f->rings, st->clock, at, 1, 0, micro);
    uint32_t slot = upt_account_feature_slot(acct, f->index);
    struct upt_feature_use *use = &acct->features[slot];
    if (use->day == UPT_NO_DAY || day > use->day) {
        upt_hist_move(&f->accounts, today, use->day, day);
    }
    upt_use_mark(use, day);
    if (user != UPT_NO_INDEX && upt_pair_touch(acct, user, slot, day, &old)) {
        upt_hist_move(&f->pairs, today, old, day);
    }
    upt_state_schedule_feature(st, f);
}

/* The user named, in users_total from now on; UPT_NO_INDEX: none. */
static uint32_t
count_user(struct upt_state *st, struct upt_account *acct, const struct upt_event *ev, int64_t at)
{
    if (ev->user_id.p == NULL) {
        return UPT_NO_INDEX;
    }
    bool removed = ev->kind == UPT_KIND_USER_REMOVED;
    struct upt_user *user = upt_users_get(&acct->users, upt_hash(ev->user_id.p, ev->user_id.len), !removed);
    if (user == NULL) {
        return UPT_NO_INDEX;
    }
    if (user->counted == removed) {
        user->counted = !removed;
        acct->users_total = removed ? acct->users_total - 1 : acct->users_total + 1;
        st->users_total = removed ? st->users_total - 1 : st->users_total + 1;
    }
    bool key = ev->kind == UPT_KIND_USAGE || ev->kind == UPT_KIND_VALUE;
    if (key || ev->kind == UPT_KIND_LOGIN) {
        int32_t hour = upt_hour_of(at);
        int32_t day = upt_day_of(at);
        int32_t old = user->hour == UPT_NO_DAY ? UPT_NO_DAY : (int32_t)upt_floor_div(user->hour, 24);
        if (old == UPT_NO_DAY || day > old) {
            upt_hist_move(&st->active_users, upt_day_of(st->clock), old, day);
        }
        user->hour = user->hour == UPT_NO_DAY || hour > user->hour ? hour : user->hour;
        if (key) {
            upt_adopt_mark(user, day);
        }
    }
    return (uint32_t)(user - acct->users.v);
}

static void
count(struct upt_state *st, struct upt_account *acct, const struct upt_event *ev, int64_t at)
{
    uint32_t user = count_user(st, acct, ev, at);
    if (ev->kind == UPT_KIND_USAGE || ev->kind == UPT_KIND_LOGIN || ev->kind == UPT_KIND_VALUE) {
        int32_t day = upt_day_of(at);
        if (acct->active_day == UPT_NO_DAY || day > acct->active_day) {
            upt_hist_move(&st->active_accounts, upt_day_of(st->clock), acct->active_day, day);
            acct->active_day = day;
        }
    }
    if (ev->kind == UPT_KIND_USAGE) {
        count_usage(st, acct, ev, at, user);
    } else if (ev->kind == UPT_KIND_LOGIN) {
        upt_rings_add(&acct->rings, st->clock, at, 0, 1, 0);
        upt_rings_add(&st->rings, st->clock, at, 0, 1, 0);
    } else if (ev->kind == UPT_KIND_SEATS || ev->kind == UPT_KIND_PROFILE) {
        upt_profile_apply(st, acct, ev);
    }
}

bool
upt_state_apply(struct upt_state *st, struct upt_str key, const struct upt_event *ev)
{
    uint64_t hash = upt_hash(key.p, key.len);
    int64_t after = st->clock - st->config.dedup_window_ms;
    int64_t at = ev->occurred_at < st->clock ? ev->occurred_at : st->clock;
    struct upt_account *acct = upt_accounts_find(&st->accounts, key, hash);
    uint64_t id = ev->event_id.len > 0 ? upt_hash(ev->event_id.p, ev->event_id.len) : 0;
    if (acct != NULL && ev->event_id.len > 0 && upt_ids_has(&acct->ids, id, after)) {
        return false;
    }
    if (acct == NULL) {
        acct = upt_account_create(st, key, hash);
        acct->first_seen = acct->last_seen = at;
        acct->daily = next_daily(acct, st->clock);
    }
    upt_mark_account(st, acct);
    upt_mark_totals(st);
    if (ev->event_id.len > 0 && upt_ids_put(&acct->ids, id, st->clock, after)) {
        upt_metric_add(st->config.metrics, UPT_M_DEDUP_EVICTED, 1);
    }
    acct->first_seen = at < acct->first_seen ? at : acct->first_seen;
    acct->last_seen = at > acct->last_seen ? at : acct->last_seen;
    acct->last_clock = st->clock;
    count(st, acct, ev, at);
    if (st->config.observer != NULL && st->config.observer->on_event != NULL) {
        st->config.observer->on_event(st->config.observer_ctx, st, acct, ev, at);
    }
    acct->change = upt_account_next_change(st, acct);
    upt_state_schedule(st, acct);
    upt_state_schedule_totals(st);
    return true;
}
