/* Ticks: what happens by itself when a minute passes.
 *
 * Each item is armed for the first minute at which something of it may be due, never later, often earlier: an event
 * only ever brings that minute forward, and what is armed too early looks again and goes back to sleep. So the hot path
 * computes no exact time; that is done when the minute comes, and exactly, since next_change is public.
 *
 * Minutes at which nothing is armed are passed over. That is the same as running them, because everything that depends
 * on the minute arms itself for it.
 *
 * Accounts that have a decision due at a minute (forgetting, the observer's timer, the daily evaluation) run in the
 * order of their hashes, then ids, so that a restored process decides in the same order; those of which merely a window
 * moves run first, in any order, for nothing is decided there.
 *
 * @locality: the thread that owns the state. */
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/internal.h"

#define DAILY_SPREAD 60 /* contract: minute xxh3_64(account) mod 60 */

/* ---- when ---- */

static int64_t
saturating_add(int64_t ms, int64_t more)
{
    return ms > 0 && more > INT64_MAX - ms ? INT64_MAX : ms + more;
}

int64_t
upt_minute_at(int64_t ms)
{
    int64_t minute = upt_floor_div(ms, UPT_MINUTE_MS);
    return minute + (ms > minute * UPT_MINUTE_MS);
}

static void
sooner(int64_t *inout, int64_t ms)
{
    *inout = ms < *inout ? ms : *inout;
}

/* When the user leaves a window, or ceases to be adopted. */
static void
user_next(const struct upt_state *st, const struct upt_user *user, int64_t later, const struct upt_now *now,
          int64_t *inout)
{
    int age = upt_user_age(user, now);
    int64_t today = now->b[UPT_R_DAY];
    if (age >= 0) {
        uint32_t hours = upt_user_hours(user, now);
        if (hours < 24) {
            sooner(inout, (now->b[UPT_R_HOUR] - hours + 24) * UPT_HOUR_MS);
        } else {
            sooner(inout, (today - age + (age < 7 ? 7 : UPT_WINDOW_DAYS)) * UPT_DAY_MS);
        }
    }
    uint32_t days = upt_user_days(user, later);
    unsigned need = st->config.adopted_days;
    if (need > 0 && (user->bits & UPT_USER_REMOVED) == 0 && upt_count_bits(days) >= need) {
        for (; need > 1; need--) {
            days &= days - 1; /* the newest are the lowest bits */
        }
        sooner(inout, (today - upt_lowest_bit(days) + UPT_ADOPTION_DAYS) * UPT_DAY_MS);
    }
}

int64_t
upt_account_next_change(const struct upt_state *st, const struct upt_account *acct, const struct upt_now *now)
{
    /* Features need no look: whenever a day of USAGE leaves, so does that day's bucket. */
    int64_t next = upt_rings_next(&acct->rings, now);
    for (uint32_t i = 0; i < acct->users.n; i++) {
        user_next(st, &acct->users.v[i], now->b[UPT_R_DAY] - acct->day, now, &next);
    }
    return next;
}

static int64_t
retention_ends(const struct upt_state *st, const struct upt_account *acct)
{
    return saturating_add(acct->accepted, st->config.retention_ms);
}

bool
upt_is_daily(const struct upt_state *st, uint64_t hash)
{
    return st->now.b[UPT_R_MINUTE] - st->now.b[UPT_R_DAY] * UPT_DAY_MINUTES == (int64_t)(hash % DAILY_SPREAD);
}

int64_t
upt_daily_after(const struct upt_state *st, uint64_t hash)
{
    int64_t daily = (st->now.b[UPT_R_DAY] * UPT_DAY_MINUTES + (int64_t)(hash % DAILY_SPREAD)) * UPT_MINUTE_MS;
    return daily > st->now.ms ? daily : daily + UPT_DAY_MS;
}

int64_t
upt_account_next_decision(const struct upt_state *st, const struct upt_account *acct)
{
    int64_t next = retention_ends(st, acct);
    if (acct->timer != UPT_NO_CLOCK) {
        sooner(&next, acct->timer);
    }
    return next;
}

void
upt_account_rearm(struct upt_state *st, struct upt_account *acct)
{
    int64_t due = upt_daily_after(st, acct->hash);
    sooner(&due, upt_account_next_change(st, acct, &st->now));
    sooner(&due, upt_account_next_decision(st, acct));
    if (acct->dedup != NULL) {
        sooner(&due, upt_dedup_newest(acct->dedup) + st->config.dedup_window_ms);
    }
    upt_wheel_arm(&st->wheel, &acct->item, upt_within_reach(st, upt_minute_at(due)));
}

void
upt_feature_rearm(struct upt_state *st, struct upt_feature *feature)
{
    int64_t due = upt_rings_next(&feature->rings, &st->now);
    if (due != UPT_NEVER) {
        upt_wheel_arm(&st->wheel, &feature->item, upt_within_reach(st, upt_minute_at(due)));
    }
}

void
upt_totals_rearm(struct upt_state *st)
{
    int64_t due = upt_rings_next(&st->totals.rings, &st->now);
    if (upt_hist_sum(&st->totals.accounts, st->now.b[UPT_R_DAY]) > 0) {
        sooner(&due, (st->now.b[UPT_R_DAY] + 1) * UPT_DAY_MS); /* VALUE is in no ring */
    }
    if (due != UPT_NEVER) {
        upt_wheel_arm(&st->wheel, &st->totals.item, upt_within_reach(st, upt_minute_at(due)));
    }
}

/* ---- what ---- */

static void
decide(struct upt_state *st, struct upt_account *acct)
{
    int64_t tick = st->now.ms;
    if (acct->timer != UPT_NO_CLOCK && acct->timer <= tick) {
        upt_item_changed(st, &acct->item);
        acct->timer = UPT_NO_CLOCK;
        if (st->observer.on_timer != NULL) {
            st->observer.on_timer(st->config.observer_ctx, st, acct, tick);
        }
    }
    if (upt_is_daily(st, acct->hash)) {
        if (upt_users_compact(&st->mem, &acct->users, &acct->pairs, acct->day)) {
            upt_item_changed(st, &acct->item);
        }
        if (st->observer.on_daily != NULL) {
            upt_item_changed(st, &acct->item);
            st->observer.on_daily(st->config.observer_ctx, st, acct, tick);
        }
    }
}

static void
account_due(struct upt_state *st, struct upt_account *acct)
{
    if (retention_ends(st, acct) <= st->now.ms) {
        upt_account_remove(st, acct);
        return;
    }
    upt_item_before(st, &acct->item); /* what is cut off here is still true for a snapshot under way */
    struct upt_now before = upt_now_at(st->now.ms - 1);
    if ((acct->item.flags & UPT_ITEM_DIRTY) == 0 && upt_account_next_change(st, acct, &before) <= st->now.ms) {
        upt_item_later(st, &acct->item);
    }
    upt_account_roll(st, acct);
    upt_rings_prune(&st->mem, &acct->rings, &st->now);
    upt_dedup_trim(&st->mem, &acct->dedup, st->now.ms - st->config.dedup_window_ms);
    decide(st, acct);
    upt_account_rearm(st, acct);
}

static void
feature_due(struct upt_state *st, struct upt_feature *feature)
{
    struct upt_now before = upt_now_at(st->now.ms - 1);
    upt_item_before(st, &feature->item);
    if (upt_rings_next(&feature->rings, &before) <= st->now.ms) {
        upt_item_dirty(st, &feature->item);
    }
    upt_rings_prune(&st->mem, &feature->rings, &st->now);
    upt_feature_rearm(st, feature);
}

static void
totals_due(struct upt_state *st)
{
    struct upt_sums *totals = &st->totals;
    struct upt_now before = upt_now_at(st->now.ms - 1);
    upt_item_before(st, &totals->item);
    int64_t day = before.b[UPT_R_DAY];
    int64_t today = st->now.b[UPT_R_DAY];
    if (upt_rings_next(&totals->rings, &before) <= st->now.ms ||
        upt_hist_sum(&totals->accounts, day) != upt_hist_sum(&totals->accounts, today) ||
        upt_hist_sum(&totals->users, day) != upt_hist_sum(&totals->users, today)) {
        upt_item_dirty(st, &totals->item);
    }
    upt_rings_prune(&st->mem, &totals->rings, &st->now);
    upt_totals_rearm(st);
}

static bool
has_decision(const struct upt_state *st, const struct upt_account *acct)
{
    return upt_account_next_decision(st, acct) <= st->now.ms || upt_is_daily(st, acct->hash);
}

static int
by_hash_and_id(const void *a, const void *b)
{
    const struct upt_account *x = *(struct upt_account *const *)a;
    const struct upt_account *y = *(struct upt_account *const *)b;
    if (x->hash != y->hash) {
        return x->hash < y->hash ? -1 : 1;
    }
    struct upt_str p = upt_account_id(x);
    struct upt_str q = upt_account_id(y);
    int order = memcmp(p.p, q.p, p.len < q.len ? p.len : q.len);
    return order != 0 ? order : (p.len > q.len) - (p.len < q.len);
}

static void
put_due(struct upt_state *st, struct upt_account *acct)
{
    if (st->due_n == st->due_cap) {
        size_t cap = st->due_cap == 0 ? 64 : st->due_cap * 2;
        st->due = upt_mem_resize(&st->mem, st->due, st->due_cap * sizeof(struct upt_account *),
                                 cap * sizeof(struct upt_account *));
        st->due_cap = cap;
    }
    st->due[st->due_n++] = acct;
}

static void
look_at(struct upt_state *st, struct upt_item *item)
{
    struct upt_account *acct = (struct upt_account *)(void *)item;
    if (upt_item_is_packed(item)) {
        acct = upt_packed_due(st, item);
    }
    if (acct != NULL && has_decision(st, acct)) {
        put_due(st, acct);
    } else if (acct != NULL) {
        account_due(st, acct);
    }
}

static void
run_minute(struct upt_state *st, int64_t minute)
{
    upt_state_set_clock(st, minute * UPT_MINUTE_MS);
    st->pos.tick = st->now.ms;
    st->due_n = 0;
    struct upt_item *next = NULL;
    for (struct upt_item *item = upt_wheel_take(&st->wheel, minute); item != NULL; item = next) {
        next = item->next;
        item->prev = item->next = NULL;
        if (item->kind == UPT_ITEM_FEATURE) {
            feature_due(st, (struct upt_feature *)(void *)item);
        } else if (item->kind == UPT_ITEM_TOTALS) {
            totals_due(st);
        } else {
            look_at(st, item);
        }
    }
    if (st->due_n > 1) {
        qsort(st->due, st->due_n, sizeof(struct upt_account *), by_hash_and_id);
    }
    for (size_t i = 0; i < st->due_n; i++) {
        account_due(st, st->due[i]);
    }
}

void
upt_state_set_clock(struct upt_state *st, int64_t clock)
{
    if (!st->has_clock) {
        int64_t today = upt_floor_div(clock, UPT_DAY_MS);
        upt_hist_init(&st->totals.accounts, today);
        upt_hist_init(&st->totals.users, today);
        st->has_clock = true;
    }
    upt_now_move(&st->now, clock);
    upt_item_dirty(st, &st->totals.item); /* their as_of says how far the log is, whatever is counted */
}

void
upt_state_run_ticks(struct upt_state *st, int64_t upto)
{
    int64_t before = st->now.b[UPT_R_MINUTE];
    if (upto - before * UPT_MINUTE_MS < UPT_MINUTE_MS) { /* still the same minute */
        return;
    }
    int64_t last = upt_floor_div(upto, UPT_MINUTE_MS);
    for (int64_t minute = before; upt_wheel_next(&st->wheel, minute, last, &minute);) {
        run_minute(st, minute);
    }
    st->pos.tick = last * UPT_MINUTE_MS;
    upt_metric_add(st->config.metrics, UPT_M_TICKS, (uint64_t)(last - before));
}
