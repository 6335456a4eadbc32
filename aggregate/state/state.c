/* The state machine: records, verdicts, and counting an event.
 *
 * Everything that an event changes, it changes here and at once: the account's rings, user, feature and pair, the
 * feature's and the partition's rings and histograms. Nothing is derived later from something that could have changed
 * in between, so state is a function of the log, the ticks in their places and the configuration.
 *
 * All distinct counts are last-seen histograms: a member remembers its own last day, and a later one moves it from one
 * day's count to another's. Exact, O(1), and it expires by itself.
 *
 * Memory that runs out ends the process (mem.c): a record half counted could not be taken back.
 *
 * @locality: one thread, that of the lane which owns the partition. */
#include "aggregate/state/state.h"

#include <math.h>
#include <stdlib.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

#define QUANTITY_MAX 1e9
#define TOO_LATE_DAYS 30
/* Clocks beyond 36 million years count as this, so that sums of times cannot overflow. */
#define CLOCK_LIMIT (INT64_C(1) << 60)

upt_status
upt_state_create(const struct upt_state_config *config, struct upt_state **ret, struct upt_error *reterr)
{
    if (config->max_future_ms < 0 || config->dedup_window_ms < 0 || config->retention_ms < 0) {
        return upt_fail(reterr, UPT_EINVAL, "max_future, dedup_window and retention cannot be negative");
    }
    if (config->dedup_window_ms > UPT_DEDUP_WINDOW_MAX_MS) {
        return upt_fail(reterr, UPT_EINVAL, "dedup_window is longer than 49 days");
    }
    if (config->observer != NULL && config->observer->ext_size > UINT16_MAX - 7) {
        return upt_fail(reterr, UPT_EINVAL, "the observer wants more than 64 KiB with each account");
    }
    struct upt_state *st = calloc(1, sizeof(*st));
    if (st == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    upt_assert(config->metrics != NULL);
    st->config = *config;
    if (config->observer != NULL) {
        st->observer = *config->observer;
    }
    st->dedup_minutes = config->dedup_window_ms / UPT_MINUTE_MS;
    st->mem.bytes = sizeof(*st);
    st->pos = UPT_POS_NONE;
    st->totals.item.kind = UPT_ITEM_TOTALS;
    st->snapshot.generation = 1;
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
    struct upt_item *item;
    for (size_t cursor = 0; (item = upt_state_next_item(st, &cursor)) != NULL;) {
        if (upt_item_is_packed(item)) {
            upt_packed_free(st, (struct upt_packed *)(void *)item);
        } else {
            upt_account_free(st, (struct upt_account *)(void *)item);
        }
    }
    upt_table_fini(&st->mem, &st->accounts);
    upt_table_fini(&st->mem, &st->strings);
    upt_features_fini(&st->mem, &st->features);
    upt_rings_fini(&st->mem, &st->totals.rings);
    upt_deque_fini(&st->mem, &st->dirty_accounts);
    upt_deque_fini(&st->mem, &st->later_accounts);
    upt_deque_fini(&st->mem, &st->dirty_features);
    upt_deque_fini(&st->mem, &st->snapshot.changed);
    upt_deque_fini(&st->mem, &st->snapshot.pending);
    upt_buf_fini(&st->forgotten.buf);
    upt_buf_fini(&st->snapshot.queue.buf);
    upt_buf_fini(&st->snapshot.gone.buf);
    upt_buf_fini(&st->snapshot.deleted.buf);
    upt_buf_fini(&st->snapshot.scratch);
    upt_buf_fini(&st->snapshot.scratch_key);
    upt_buf_fini(&st->codec);
    upt_buf_fini(&st->ext);
    (void)upt_mem_resize(&st->mem, st->due, st->due_cap * sizeof(struct upt_account *), 0);
    upt_pages_destroy(st);
    free(st);
    *st_p = NULL;
}

/* ---- records ---- */

int32_t
upt_state_partition(const struct upt_state *st)
{
    return st->config.partition;
}

struct upt_metrics *
upt_state_metrics(const struct upt_state *st)
{
    return st->config.metrics;
}

int64_t
upt_state_clock(const struct upt_state *st)
{
    return st->has_clock ? st->now.ms : UPT_NO_CLOCK;
}

struct upt_pos
upt_state_pos(const struct upt_state *st)
{
    return st->pos;
}

void
upt_state_begin(struct upt_state *st, int64_t offset, int64_t ts)
{
    upt_assert(offset > st->pos.offset);
    int64_t clock = ts < -CLOCK_LIMIT ? -CLOCK_LIMIT : (ts > CLOCK_LIMIT ? CLOCK_LIMIT : ts);
    if (!st->has_clock) {
        upt_state_set_clock(st, clock);
    } else if (clock > st->now.ms) {
        upt_state_run_ticks(st, clock);
        upt_state_set_clock(st, clock);
    }
    st->pos.offset = offset;
}

void
upt_state_wall_tick(struct upt_state *st, int64_t k)
{
    upt_assert(k % UPT_MINUTE_MS == 0 && k >= -CLOCK_LIMIT && k <= CLOCK_LIMIT);
    if (!st->has_clock) {
        upt_state_set_clock(st, k);
        st->pos.tick = k;
    } else if (k > st->now.ms) {
        upt_state_run_ticks(st, k);
        upt_state_set_clock(st, k);
    }
}

upt_reason
upt_state_judge(const struct upt_state *st, const struct upt_event *ev, int64_t ts)
{
    bool usage = ev->kind == UPT_KIND_USAGE;
    if (usage && ev->feature.p != NULL &&
        (ev->feature.len == 0 || ev->feature.len > UPT_FEATURE_MAX || ev->feature.p[0] == '_')) {
        return UPT_REASON_BAD_FEATURE;
    }
    if (!isfinite(ev->quantity) ||
        ((usage || ev->kind == UPT_KIND_VALUE) && (ev->quantity < 0 || ev->quantity > QUANTITY_MAX))) {
        return UPT_REASON_BAD_QUANTITY;
    }
    upt_assert(st->has_clock);
    if (upt_floor_div(ev->occurred_at, UPT_DAY_MS) <= st->now.b[UPT_R_DAY] - TOO_LATE_DAYS) {
        return UPT_REASON_TOO_LATE;
    }
    int64_t latest = ts > INT64_MAX - st->config.max_future_ms ? INT64_MAX : ts + st->config.max_future_ms;
    return ev->occurred_at > latest ? UPT_REASON_IN_FUTURE : UPT_REASON_NONE;
}

void
upt_state_forget(struct upt_state *st, struct upt_str key)
{
    struct upt_account *acct = upt_state_find(st, key);
    if (acct != NULL) {
        upt_account_remove(st, acct);
        return;
    }
    /* No row is deleted: it could be another partition's. Those of nobody are found by the walk over the keys. */
    if (st->observer.on_stranger != NULL) {
        st->observer.on_stranger(st->config.observer_ctx, st, key);
    }
}

/* ---- counting ---- */

/* An event on its way: where and what it adds. */
struct adding {
    struct upt_account *acct;
    const struct upt_hint *hint;
    struct upt_now at; /* event time */
    int age;           /* days between it and the clock: 0..29 */
    struct upt_sample sample;
    uint32_t user; /* position; NO_USER: nobody named */
    int64_t edge;  /* the minute at which it first leaves a window */
};

#define NO_USER UINT32_MAX

static bool
counts_in_windows(upt_kind kind)
{
    return kind == UPT_KIND_USAGE || kind == UPT_KIND_LOGIN;
}

static bool
counts_as_active(upt_kind kind)
{
    return counts_in_windows(kind) || kind == UPT_KIND_VALUE;
}

/* A member was seen `age` days ago, before that `before` days ago (−1: never in the window). */
static void
see(struct upt_hist *hist, int64_t today, int before, int age)
{
    if (before < 0 || age < before) {
        upt_hist_move(hist, today, before, age);
    }
}

static void
add_user(struct upt_state *st, struct adding *add, const struct upt_event *ev)
{
    struct upt_account *acct = add->acct;
    uint64_t hash = add->hint->user;
    bool fresh = false;
    struct upt_user *user = NULL;
    if (ev->kind == UPT_KIND_USER_REMOVED) {
        user = upt_users_find(&acct->users, hash);
        if (user != NULL && (user->bits & UPT_USER_REMOVED) == 0) {
            user->bits |= UPT_USER_REMOVED;
            acct->users.total--;
            st->totals.users_total--;
        }
        return;
    }
    uint32_t user_at = add->hint->user_at;
    if (user_at < acct->users.n && acct->users.v[user_at].hash == hash) {
        user = &acct->users.v[user_at];
    } else {
        user = upt_users_get(&st->mem, &acct->users, hash, &fresh);
    }
    add->user = (uint32_t)(user - acct->users.v);
    if (fresh || (user->bits & UPT_USER_REMOVED) != 0) {
        user->bits &= ~UPT_USER_REMOVED;
        acct->users.total++;
        st->totals.users_total++;
    }
    if (!counts_as_active(ev->kind)) {
        user->bits |= ev->kind == UPT_KIND_TRAINING          ? UPT_USER_TRAINED
                      : ev->kind == UPT_KIND_ONBOARDING_STEP ? UPT_USER_ONBOARDED
                                                             : 0;
        return;
    }
    if ((user->bits & UPT_USER_ACTIVE) == 0 || user->hour != (uint32_t)add->at.b[UPT_R_HOUR]) { /* another hour */
        see(&st->totals.users, st->now.b[UPT_R_DAY], upt_user_age(user, &st->now), add->age);
        uint32_t hours = (uint32_t)(st->now.b[UPT_R_HOUR] - add->at.b[UPT_R_HOUR]);
        if ((user->bits & UPT_USER_ACTIVE) == 0 || hours < upt_user_hours(user, &st->now)) {
            user->hour = (uint32_t)add->at.b[UPT_R_HOUR];
            user->bits |= UPT_USER_ACTIVE;
        }
    }
    if (ev->kind != UPT_KIND_LOGIN && add->age < UPT_ADOPTION_DAYS) {
        user->bits |= UINT32_C(1) << add->age;
    }
}

/* Of a name that was not there when the hint was taken. */
static struct upt_feature *
new_feature(struct upt_state *st, struct upt_str name)
{
    struct upt_feature *feature = upt_features_find(&st->features, name, upt_hash(name.p, name.len));
    if (feature == NULL) {
        feature = upt_features_create(&st->mem, &st->features, name, st->features.n, st->now.b[UPT_R_DAY]);
    }
    return feature;
}

static void
add_feature(struct upt_state *st, const struct adding *add, const struct upt_event *ev)
{
    struct upt_account *acct = add->acct;
    int64_t today = st->now.b[UPT_R_DAY];
    struct upt_feature *feature = add->hint->feature;
    if (feature == NULL) {
        feature = new_feature(st, ev->feature);
    }
    upt_item_touch(st, &feature->item);
    upt_rings_add(&st->mem, &feature->rings, &st->now, &add->at, add->sample);
    upt_state_arm(st, &feature->item, add->edge);

    struct upt_used *used = NULL;
    uint32_t used_at = add->hint->used_at;
    if (used_at < acct->uses.n && acct->uses.v[used_at].feature == feature->id) {
        used = &acct->uses.v[used_at];
    } else {
        bool fresh = false;
        used = upt_uses_get(&st->mem, &acct->uses, feature->id, &fresh);
    }
    see(&feature->accounts, today, upt_used_age(used), add->age);
    uint32_t day = UINT32_C(1) << add->age;
    used->bits |= (used->bits & day) == 0 ? day | UPT_USED_NEWS : 0;
    if (add->user != NO_USER) {
        struct upt_pair pair = {.user = add->user, .feature = (uint32_t)(used - acct->uses.v), .age = add->age};
        see(&feature->pairs, today, upt_pairs_see(&st->mem, &acct->pairs, today, &pair), add->age);
    }
}

/* USAGE, LOGIN or VALUE: the account was active at that day. */
static void
add_activity(struct upt_state *st, struct adding *add)
{
    struct upt_account *acct = add->acct;
    if (acct->active_day != add->at.b[UPT_R_DAY]) {
        see(&st->totals.accounts, st->now.b[UPT_R_DAY], upt_account_age(acct, &st->now), add->age);
        if (acct->active_day == UPT_NO_CLOCK || add->at.b[UPT_R_DAY] > acct->active_day) {
            acct->active_day = add->at.b[UPT_R_DAY];
        }
    }
    add->edge = upt_next_edge(&st->now, &add->at);
    int64_t midnight = (st->now.b[UPT_R_DAY] + 1) * UPT_DAY_MINUTES; /* VALUE leaves then, and is in no ring */
    upt_state_arm(st, &st->totals.item, add->edge < midnight ? add->edge : midnight);
}

/* Whatever the event brings in, it leaves again at add->edge; who becomes adopted by it, or is back, may bring in an
 * old day that leaves at the next midnight; and its id is dropped when the window for duplicates ends. */
static void
arm_account(struct upt_state *st, const struct adding *add, const struct upt_event *ev)
{
    int64_t due = add->edge;
    int64_t midnight = (st->now.b[UPT_R_DAY] + 1) * UPT_DAY_MINUTES;
    if (ev->user_id.len > 0 && midnight < due) {
        due = midnight;
    }
    if (ev->event_id.len > 0) {
        int64_t soonest = st->now.b[UPT_R_MINUTE] + st->dedup_minutes;
        if (soonest <= due && !upt_wheel_is_later(&add->acct->item, soonest)) {
            return; /* armed for then or before: nearly always */
        }
        int64_t ends = upt_minute_at(st->now.ms + st->config.dedup_window_ms);
        due = ends < due ? ends : due;
    }
    upt_state_arm(st, &add->acct->item, due);
}

static void
add_profile(struct upt_state *st, struct upt_account *acct, const struct upt_event *ev)
{
    if (ev->kind == UPT_KIND_SEATS) {
        if (!upt_profile_set_seats(&st->mem, &acct->profile, ev->quantity)) {
            upt_metric_add(st->config.metrics, UPT_M_BAD_SEATS, 1);
        }
        return;
    }
    struct upt_str name;
    struct upt_str value;
    for (struct upt_props_cur cur = upt_props_begin(ev->properties); upt_props_next(&cur, &name, &value);) {
        if (!upt_profile_set(&st->mem, &st->strings, &acct->profile, name, value)) {
            upt_metric_add(st->config.metrics, UPT_M_BAD_SEATS, 1);
        }
    }
}

static void
count(struct upt_state *st, struct upt_account *acct, const struct upt_event *ev, const struct upt_hint *hint)
{
    int64_t at = ev->occurred_at < st->now.ms ? ev->occurred_at : st->now.ms;
    struct adding add = {.acct = acct, .hint = hint, .user = NO_USER, .edge = UPT_NEVER};
    for (int r = 0; r < UPT_R_COUNT; r++) {
        add.at.b[r] = st->now.b[r];
    }
    upt_now_move(&add.at, at);
    add.age = (int)(st->now.b[UPT_R_DAY] - add.at.b[UPT_R_DAY]);
    upt_assert(add.age < UPT_WINDOW_DAYS); /* or it would have been too_late */
    acct->accepted = st->now.ms;
    acct->first_seen = at < acct->first_seen ? at : acct->first_seen;
    acct->last_seen = at > acct->last_seen ? at : acct->last_seen;
    if (counts_in_windows(ev->kind)) {
        bool usage = ev->kind == UPT_KIND_USAGE;
        add.sample = (struct upt_sample){
            .login = !usage,
            .micro_units = usage ? (uint64_t)upt_micro_from_double(ev->quantity) : 0,
        };
        upt_rings_add(&st->mem, &acct->rings, &st->now, &add.at, add.sample);
        upt_rings_add(&st->mem, &st->totals.rings, &st->now, &add.at, add.sample);
    }
    if (counts_as_active(ev->kind)) {
        add_activity(st, &add);
    }
    if (ev->user_id.len > 0) {
        add_user(st, &add, ev);
    }
    if (ev->kind == UPT_KIND_USAGE && ev->feature.p != NULL) {
        add_feature(st, &add, ev);
    }
    if (ev->kind == UPT_KIND_PROFILE || ev->kind == UPT_KIND_SEATS) {
        add_profile(st, acct, ev);
    }
    arm_account(st, &add, ev);
    if (st->observer.on_event != NULL) {
        st->observer.on_event(st->config.observer_ctx, st, acct, ev, at);
    }
}

void
upt_hint_complete(const struct upt_state *st, struct upt_hint *hint, const struct upt_event *ev)
{
    if (ev->event_id.len > 0) {
        hint->id = upt_hash(ev->event_id.p, ev->event_id.len);
    }
    if (ev->user_id.len > 0) {
        hint->user = upt_hash(ev->user_id.p, ev->user_id.len);
    }
    if (ev->kind == UPT_KIND_USAGE && ev->feature.p != NULL) {
        hint->feature = upt_features_find(&st->features, ev->feature, upt_hash(ev->feature.p, ev->feature.len));
    }
}

bool
upt_state_apply(struct upt_state *st, struct upt_str key, const struct upt_event *ev)
{
    struct upt_hint hint = {.key = upt_hash(key.p, key.len), .user_at = UINT32_MAX, .used_at = UINT32_MAX};
    upt_hint_complete(st, &hint, ev);
    return upt_state_apply_hinted(st, key, ev, &hint);
}

bool
upt_state_apply_hinted(struct upt_state *st, struct upt_str key, const struct upt_event *ev,
                       const struct upt_hint *hint)
{
    upt_assert(st->has_clock);
    struct upt_account *acct = hint->acct;
    if (acct == NULL || hint->removed != st->removed || !upt_account_is(acct, key)) {
        acct = upt_account_lookup(st, key, hint->key);
    }
    int64_t after = st->now.ms - st->config.dedup_window_ms;
    if (ev->event_id.len > 0) {
        if (acct != NULL && upt_dedup_has(acct->dedup, hint->id, after)) {
            return false;
        }
    }
    if (acct == NULL) {
        acct = upt_account_birth(st, key, hint->key);
        upt_account_rearm(st, acct);
    }
    upt_item_touch(st, &acct->item);
    upt_item_touch(st, &st->totals.item);
    upt_account_roll(st, acct);
    if (ev->event_id.len > 0) {
        if (upt_dedup_add(&st->mem, &acct->dedup, hint->id, st->now.ms, after)) {
            upt_metric_add(st->config.metrics, UPT_M_DEDUP_EVICTED, 1);
        }
    }
    count(st, acct, ev, hint);
    return true;
}

size_t
upt_state_accounts_n(const struct upt_state *st)
{
    return st->accounts.n;
}

size_t
upt_state_bytes(const struct upt_state *st)
{
    return st->mem.bytes + st->forgotten.buf.cap + st->snapshot.queue.buf.cap + st->snapshot.gone.buf.cap +
           st->snapshot.deleted.buf.cap + st->codec.cap + st->ext.cap;
}
