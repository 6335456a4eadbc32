/* What the contract promises of counters, verdicts, ticks and rows, one promise a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <math.h>

#include <cmocka.h>

#include "tests/unit/state/support.h"

static void
windows_move_with_the_clock(void **unused)
{
    (void)unused;
    struct fixture fx;
    fixture_init(&fx, NULL, NULL);
    put(&fx, T0 + 30 * UPT_SECOND_MS, "a", usage("u", "f", 1.5));
    struct upt_row row = row_of(&fx, "a");
    for (int w = 0; w < UPT_WINDOWS; w++) {
        assert_int_equal(row.usage[w].events, 1);
        assert_int_equal((int64_t)row.usage[w].micro_units, 1500000);
    }
    assert_int_equal(row.next_change, T0 + 60 * UPT_MINUTE_MS);
    move(&fx, T0 + 60 * UPT_MINUTE_MS - 1);
    assert_int_equal(row_of(&fx, "a").usage[UPT_W_1H].events, 1);
    move(&fx, T0 + 60 * UPT_MINUTE_MS);
    row = row_of(&fx, "a");
    assert_int_equal(row.usage[UPT_W_1H].events, 0);
    assert_int_equal(row.usage[UPT_W_24H].events, 1);
    assert_int_equal(row.next_change, T0 + UPT_DAY_MS);
    move(&fx, T0 + UPT_DAY_MS);
    assert_int_equal(row_of(&fx, "a").usage[UPT_W_24H].events, 0);
    assert_int_equal(row_of(&fx, "a").next_change, T0 + 7 * UPT_DAY_MS);
    move(&fx, T0 + 7 * UPT_DAY_MS);
    assert_int_equal(row_of(&fx, "a").usage[UPT_W_7D].events, 0);
    assert_int_equal(row_of(&fx, "a").next_change, T0 + 30 * UPT_DAY_MS);
    move(&fx, T0 + 30 * UPT_DAY_MS);
    row = row_of(&fx, "a");
    assert_int_equal(row.usage[UPT_W_30D].events, 0);
    assert_int_equal(row.users_30d, 0);
    assert_int_equal(row.users_total, 1);
    assert_true(row.next_change == UPT_NO_CLOCK);
    assert_int_equal(feature_row(&fx, "f").users_30d, 0);
    assert_int_equal(totals(&fx).accounts_30d, 0);
    assert_int_equal(totals(&fx).accounts_total, 1);
    fixture_fini(&fx);
}

static void
a_late_event_counts_where_it_happened(void **unused)
{
    (void)unused;
    struct fixture fx;
    fixture_init(&fx, NULL, NULL);
    int64_t now = T0 + 40 * UPT_DAY_MS + 5 * UPT_HOUR_MS;
    put(&fx, now, "a", usage(NULL, NULL, 1));
    put_at(&fx, now, now - 2 * UPT_HOUR_MS, "a", usage(NULL, NULL, 1));
    put_at(&fx, now, now - 29 * UPT_DAY_MS, "a", usage("u", "f", 1));
    put_at(&fx, now, now + UPT_MINUTE_MS, "a", event(UPT_KIND_LOGIN, NULL)); /* its time is the clock */
    struct upt_row row = row_of(&fx, "a");
    assert_int_equal(row.usage[UPT_W_1H].events, 1);
    assert_int_equal(row.usage[UPT_W_24H].events, 2);
    assert_int_equal(row.usage[UPT_W_7D].events, 2);
    assert_int_equal(row.usage[UPT_W_30D].events, 3);
    assert_int_equal(row.usage[UPT_W_1H].logins, 1);
    assert_int_equal(row.users_7d, 0);
    assert_int_equal(row.users_30d, 1);
    assert_int_equal(row.first_seen, now - 29 * UPT_DAY_MS);
    assert_int_equal(row.last_seen, now);
    assert_int_equal(days_of(&fx, "a", "f"), 1);
    assert_int_equal(row.next_change, now + UPT_HOUR_MS);
    move(&fx, T0 + 41 * UPT_DAY_MS);
    assert_int_equal(row_of(&fx, "a").usage[UPT_W_30D].events, 2);
    assert_int_equal(days_of(&fx, "a", "f"), 0); /* to be removed, said once */
    assert_int_equal(days_of(&fx, "a", "f"), UINT32_MAX);
    fixture_fini(&fx);
}

static void
a_late_event_shows_when_it_leaves(void **unused)
{
    (void)unused;
    struct fixture fx;
    fixture_init(&fx, NULL, NULL);
    int64_t now = T0 + 40 * UPT_DAY_MS + 5 * UPT_HOUR_MS;
    put_at(&fx, now, now - 29 * UPT_DAY_MS, "a", usage(NULL, NULL, 1)); /* before the next daily minute */
    drain(&fx);
    move(&fx, T0 + 41 * UPT_DAY_MS - 1);
    assert_clean(&fx);
    move(&fx, T0 + 41 * UPT_DAY_MS);
    assert_int_equal(upt_state_later_accounts(fx.st), 1);
    fixture_fini(&fx);
}

static upt_reason
verdict(struct fixture *fx, upt_kind kind, const char *feature, double quantity, int64_t at, int64_t ts)
{
    struct upt_event ev = {.kind = kind, .feature = upt_str_of(feature), .quantity = quantity, .occurred_at = at};
    return upt_state_judge(fx->st, &ev, ts);
}

static void
verdicts_in_their_order(void **unused)
{
    (void)unused;
    struct fixture fx;
    char longest[UPT_FEATURE_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[UPT_FEATURE_MAX + 1] = '\0';
    fixture_init(&fx, NULL, NULL);
    int64_t now = T0 + 40 * UPT_DAY_MS + UPT_HOUR_MS;
    move(&fx, now);
    assert_int_equal(verdict(&fx, UPT_KIND_USAGE, "", NAN, 0, now), UPT_REASON_BAD_FEATURE);
    assert_int_equal(verdict(&fx, UPT_KIND_USAGE, "_x", 1, now, now), UPT_REASON_BAD_FEATURE);
    assert_int_equal(verdict(&fx, UPT_KIND_USAGE, longest, 1, now, now), UPT_REASON_BAD_FEATURE);
    assert_int_equal(verdict(&fx, UPT_KIND_USAGE, longest + 1, 1, now, now), UPT_REASON_NONE);
    assert_int_equal(verdict(&fx, UPT_KIND_USAGE, NULL, 1, now, now), UPT_REASON_NONE);
    assert_int_equal(verdict(&fx, UPT_KIND_RELEASE, "_x", 1, now, now), UPT_REASON_NONE);
    assert_int_equal(verdict(&fx, UPT_KIND_USAGE, "f", -1e-300, 0, now), UPT_REASON_BAD_QUANTITY);
    assert_int_equal(verdict(&fx, UPT_KIND_USAGE, "f", -0.0, now, now), UPT_REASON_NONE);
    assert_int_equal(verdict(&fx, UPT_KIND_VALUE, NULL, nextafter(1e9, 2e9), now, now), UPT_REASON_BAD_QUANTITY);
    assert_int_equal(verdict(&fx, UPT_KIND_VALUE, NULL, 1e9, now, now), UPT_REASON_NONE);
    assert_int_equal(verdict(&fx, UPT_KIND_SURVEY, "nps", -1, now, now), UPT_REASON_NONE);
    assert_int_equal(verdict(&fx, UPT_KIND_OTHER, NULL, INFINITY, 0, now), UPT_REASON_BAD_QUANTITY);
    int64_t first = T0 + 11 * UPT_DAY_MS;
    assert_int_equal(verdict(&fx, UPT_KIND_LOGIN, NULL, 1, first, now), UPT_REASON_NONE);
    assert_int_equal(verdict(&fx, UPT_KIND_LOGIN, NULL, 1, first - 1, now), UPT_REASON_TOO_LATE);
    int64_t latest = now + 5 * UPT_MINUTE_MS;
    assert_int_equal(verdict(&fx, UPT_KIND_LOGIN, NULL, 1, latest, now), UPT_REASON_NONE);
    assert_int_equal(verdict(&fx, UPT_KIND_LOGIN, NULL, 1, latest + 1, now), UPT_REASON_IN_FUTURE);
    assert_int_equal(verdict(&fx, UPT_KIND_LOGIN, NULL, 1, INT64_MIN, now), UPT_REASON_TOO_LATE);
    assert_int_equal(verdict(&fx, UPT_KIND_LOGIN, NULL, 1, INT64_MAX, now), UPT_REASON_IN_FUTURE);
    /* An old record is measured by its own timestamp for the future, and by the clock for lateness. */
    assert_int_equal(verdict(&fx, UPT_KIND_LOGIN, NULL, 1, now, now - UPT_DAY_MS), UPT_REASON_IN_FUTURE);
    assert_int_equal(verdict(&fx, UPT_KIND_LOGIN, NULL, 1, first - 1, now - UPT_DAY_MS), UPT_REASON_TOO_LATE);
    fixture_fini(&fx);
}

static void
days_before_1970_are_days(void **unused)
{
    (void)unused;
    struct fixture fx;
    fixture_init(&fx, NULL, NULL);
    put(&fx, -1, "a", usage("u", "f", 1));
    put_at(&fx, -1, -30 * UPT_DAY_MS, "a", usage("u", "f", 1)); /* day −30; the clock's is −1 */
    struct upt_event old = usage("u", "f", 1);
    old.occurred_at = -30 * UPT_DAY_MS - 1;
    assert_int_equal(upt_state_judge(fx.st, &old, -1), UPT_REASON_TOO_LATE);
    assert_int_equal(days_of(&fx, "a", "f"), 2);
    move(&fx, 0);
    assert_int_equal(days_of(&fx, "a", "f"), 1);
    assert_int_equal(feature_row(&fx, "f").users_30d, 1);
    move(&fx, 29 * UPT_DAY_MS);
    assert_int_equal(row_of(&fx, "a").users_30d, 0);
    assert_int_equal(feature_row(&fx, "f").users_30d, 0);
    assert_int_equal(totals(&fx).users_30d, 0);
    fixture_fini(&fx);
}

static bool
put_id(struct fixture *fx, int64_t ts, const char *id)
{
    struct upt_event ev = usage("u", "f", 1);
    ev.event_id = upt_str_of(id);
    return put(fx, ts, "a", ev);
}

static void
a_duplicate_does_not_refresh(void **unused)
{
    (void)unused;
    struct fixture fx;
    fixture_init(&fx, NULL, NULL);
    assert_true(put_id(&fx, T0, "x"));
    assert_false(put_id(&fx, T0, "x"));
    assert_false(put_id(&fx, T0 + 10 * UPT_MINUTE_MS - 1, "x"));
    assert_true(put_id(&fx, T0 + 10 * UPT_MINUTE_MS, "x")); /* accepted at the clock less the window: no longer */
    assert_int_equal(row_of(&fx, "a").usage[UPT_W_1H].events, 2);
    assert_true(put_id(&fx, T0 + 10 * UPT_MINUTE_MS, ""));
    assert_true(put_id(&fx, T0 + 10 * UPT_MINUTE_MS, ""));
    fixture_fini(&fx);
}

static void
the_last_4096_ids_are_known(void **unused)
{
    (void)unused;
    struct fixture fx;
    char id[24];
    fixture_init(&fx, NULL, NULL);
    for (int i = 0; i <= 4096; i++) {
        (void)snprintf(id, sizeof(id), "id-%d", i);
        assert_true(put_id(&fx, T0 + i, id));
    }
    assert_int_equal(atomic_load(&fx.metrics.v[UPT_M_DEDUP_EVICTED]), 1);
    assert_false(put_id(&fx, T0 + 5000, "id-1"));
    assert_false(put_id(&fx, T0 + 5000, "id-4096"));
    assert_true(put_id(&fx, T0 + 5000, "id-0")); /* was pushed out */
    move(&fx, T0 + 20 * UPT_MINUTE_MS);
    for (int i = 0; i < 3; i++) {
        (void)snprintf(id, sizeof(id), "new-%d", i);
        assert_true(put_id(&fx, T0 + 20 * UPT_MINUTE_MS, id));
    }
    assert_int_equal(atomic_load(&fx.metrics.v[UPT_M_DEDUP_EVICTED]), 2); /* those expired were not pushed out */
    fixture_fini(&fx);
}

static void
many_ids_leave_at_their_own_time(void **unused)
{
    (void)unused;
    struct fixture fx;
    char id[24];
    fixture_init(&fx, NULL, NULL);
    for (int i = 0; i < 40; i++) {
        (void)snprintf(id, sizeof(id), "id-%d", i);
        assert_true(put_id(&fx, T0 + 30 * UPT_SECOND_MS + i, id)); /* not at a minute, at which all would be dropped */
    }
    int64_t ends = T0 + 30 * UPT_SECOND_MS + 10 * UPT_MINUTE_MS;
    assert_false(put_id(&fx, ends - 1, "id-0"));
    assert_true(put_id(&fx, ends, "id-0"));
    assert_false(put_id(&fx, ends, "id-1"));
    assert_true(put_id(&fx, ends + 39, "id-39"));
    fixture_fini(&fx);
}

static void
ids_come_and_go_for_long(void **unused)
{
    (void)unused;
    struct fixture fx;
    char id[24];
    fixture_init(&fx, NULL, NULL);
    for (int i = 0; i < 40000; i++) { /* about 2,000 in the window at any time */
        (void)snprintf(id, sizeof(id), "id-%d", i);
        assert_true(put_id(&fx, T0 + i * INT64_C(300), id));
        (void)snprintf(id, sizeof(id), "id-%d", i < 1900 ? 0 : i - 1900);
        assert_false(put_id(&fx, T0 + i * INT64_C(300), id));
    }
    assert_int_equal(atomic_load(&fx.metrics.v[UPT_M_DEDUP_EVICTED]), 0);
    fixture_fini(&fx);
}

static void
users_come_leave_and_return(void **unused)
{
    (void)unused;
    struct fixture fx;
    fixture_init(&fx, NULL, NULL);
    put(&fx, T0, "a", event(UPT_KIND_SIGNUP, "u1"));
    put(&fx, T0, "a", event(UPT_KIND_LOGIN, "u2"));
    put(&fx, T0, "a", event(UPT_KIND_USER_REMOVED, "nobody"));
    assert_int_equal(row_of(&fx, "a").users_total, 2);
    assert_int_equal(row_of(&fx, "a").users_24h, 1);
    put(&fx, T0, "a", event(UPT_KIND_USER_REMOVED, "u2"));
    put(&fx, T0, "a", event(UPT_KIND_USER_REMOVED, "u2"));
    assert_int_equal(row_of(&fx, "a").users_total, 1);
    assert_int_equal(row_of(&fx, "a").users_24h, 1);
    assert_int_equal(totals(&fx).users_total, 1);
    move(&fx, T0 + 35 * UPT_DAY_MS); /* long enough for all that is known of u2 to be dropped */
    assert_int_equal(row_of(&fx, "a").users_total, 1);
    put(&fx, T0 + 35 * UPT_DAY_MS, "a", event(UPT_KIND_PROFILE, "u2"));
    assert_int_equal(row_of(&fx, "a").users_total, 2);
    assert_int_equal(totals(&fx).users_total, 2);
    assert_int_equal(row_of(&fx, "a").users_30d, 0);
    fixture_fini(&fx);
}

static void
adoption_is_three_days_of_28(void **unused)
{
    (void)unused;
    struct fixture fx;
    fixture_init(&fx, NULL, NULL);
    put(&fx, T0, "a", usage("u", NULL, 1));
    put(&fx, T0 + 10 * UPT_DAY_MS, "a", event(UPT_KIND_VALUE, "u"));
    put(&fx, T0 + 11 * UPT_DAY_MS, "a", event(UPT_KIND_LOGIN, "u")); /* no use */
    put(&fx, T0 + 11 * UPT_DAY_MS, "a", event(UPT_KIND_SIGNUP, "v"));
    assert_int_equal(row_of(&fx, "a").adoption_rate, 0);
    put(&fx, T0 + 27 * UPT_DAY_MS + 23 * UPT_HOUR_MS + 30 * UPT_MINUTE_MS, "a", event(UPT_KIND_VALUE, "u"));
    assert_int_equal(row_of(&fx, "a").adoption_rate, 500000);
    assert_int_equal(row_of(&fx, "a").next_change, T0 + 28 * UPT_DAY_MS); /* the first day leaves in half an hour */
    drain(&fx);
    move(&fx, T0 + 28 * UPT_DAY_MS);
    assert_int_equal(row_of(&fx, "a").adoption_rate, 0);
    assert_int_equal(upt_state_later_accounts(fx.st), 1);
    fixture_fini(&fx);
}

static void
a_hint_outlives_its_account(void **unused)
{
    (void)unused;
    struct fixture fx;
    struct upt_hint hint;
    struct upt_event ev = usage("u", "f", 2);
    fixture_init(&fx, NULL, NULL);
    put(&fx, T0, "a", ev);
    upt_state_prefetch_account(fx.st, upt_hash("a", 1), &hint);
    upt_state_prefetch_parts(fx.st, &hint, &ev);
    upt_state_prefetch_event(&hint, &ev);
    ev.occurred_at = T0;
    assert_true(upt_state_apply_hinted(fx.st, UPT_STR("a"), &ev, &hint));
    assert_int_equal(row_of(&fx, "a").usage[UPT_W_1H].events, 2);
    forget(&fx, T0, "a");
    assert_true(upt_state_apply_hinted(fx.st, UPT_STR("a"), &ev, &hint));
    assert_int_equal(upt_state_accounts_n(fx.st), 1);
    assert_int_equal(row_of(&fx, "a").usage[UPT_W_1H].events, 1);
    fixture_fini(&fx);
}

static void
forgetting_drops_distinct_counts_at_once(void **unused)
{
    (void)unused;
    struct fixture fx;
    fixture_init(&fx, NULL, NULL);
    put(&fx, T0, "a", usage("u", "f", 2));
    put(&fx, T0, "b", usage("u", "f", 3));
    put(&fx, T0 + UPT_DAY_MS, "a", usage("u", "f", 2));
    assert_int_equal(feature_row(&fx, "f").accounts_30d, 2);
    drain(&fx);
    forget(&fx, T0 + UPT_DAY_MS, "a");
    forget(&fx, T0 + UPT_DAY_MS, "unknown");
    struct upt_str id;
    assert_true(upt_state_next_forgotten(fx.st, &id));
    assert_true(upt_str_eq(id, UPT_STR("a")));
    assert_false(upt_state_next_forgotten(fx.st, &id)); /* a row of it would be another partition's */
    assert_null(upt_state_find(fx.st, UPT_STR("a")));
    struct upt_feature_row f = feature_row(&fx, "f");
    assert_int_equal(f.accounts_30d, 1);
    assert_int_equal(f.users_30d, 1);
    assert_int_equal(f.usage[UPT_W_30D].events, 3);
    assert_int_equal((int64_t)f.usage[UPT_W_30D].micro_units, 7000000);
    struct upt_totals_row t = totals(&fx);
    assert_int_equal(t.accounts_total, 1);
    assert_int_equal(t.accounts_30d, 1);
    assert_int_equal(t.users_30d, 1);
    assert_int_equal(t.users_total, 1);
    assert_int_equal(t.usage[UPT_W_30D].events, 3);
    put(&fx, T0 + UPT_DAY_MS, "a", usage("w", "g", 1)); /* begins anew */
    assert_int_equal(row_of(&fx, "a").usage[UPT_W_30D].events, 1);
    assert_int_equal(row_of(&fx, "a").first_seen, T0 + UPT_DAY_MS);
    assert_int_equal(days_of(&fx, "a", "f"), UINT32_MAX);
    fixture_fini(&fx);
}

static void
retention_counts_from_the_last_accepted_event(void **unused)
{
    (void)unused;
    struct fixture fx;
    fixture_init(&fx, NULL, NULL);
    assert_true(put_id(&fx, T0 + 1, "x"));
    assert_false(put_id(&fx, T0 + 9 * UPT_MINUTE_MS, "x")); /* does not count */
    move(&fx, T0 + 60 * UPT_DAY_MS);
    assert_non_null(upt_state_find(fx.st, UPT_STR("a")));
    move(&fx, T0 + 60 * UPT_DAY_MS + UPT_MINUTE_MS - 1);
    assert_non_null(upt_state_find(fx.st, UPT_STR("a"))); /* no tick since */
    move(&fx, T0 + 60 * UPT_DAY_MS + UPT_MINUTE_MS);
    assert_null(upt_state_find(fx.st, UPT_STR("a")));
    assert_int_equal(totals(&fx).accounts_total, 0);
    assert_int_equal(atomic_load(&fx.metrics.v[UPT_M_FORGOTTEN]), 1);
    int64_t again = T0 + 70 * UPT_DAY_MS;
    put(&fx, again, "b", event(UPT_KIND_OTHER, NULL));
    move(&fx, again + 60 * UPT_DAY_MS - 1);
    assert_non_null(upt_state_find(fx.st, UPT_STR("b")));
    move(&fx, again + 60 * UPT_DAY_MS); /* a whole minute: the first tick there is */
    assert_null(upt_state_find(fx.st, UPT_STR("b")));
    fixture_fini(&fx);
}

static void
seats_and_shares(void **unused)
{
    (void)unused;
    struct fixture fx;
    fixture_init(&fx, NULL, NULL);
    struct upt_event seats = event(UPT_KIND_SEATS, NULL);
    put(&fx, T0, "a", usage("u", NULL, 1));
    assert_int_equal(row_of(&fx, "a").seat_utilisation, UPT_SHARE_ABSENT);
    seats.quantity = 3;
    put(&fx, T0, "a", seats);
    assert_int_equal(row_of(&fx, "a").seat_utilisation, 333333);
    seats.quantity = 0.5;
    put(&fx, T0, "a", seats);
    assert_int_equal(row_of(&fx, "a").seat_utilisation, 1000000);
    seats.quantity = 1e300;
    put(&fx, T0, "a", seats);
    assert_int_equal(row_of(&fx, "a").micro_seats, 500000);
    assert_int_equal(atomic_load(&fx.metrics.v[UPT_M_BAD_SEATS]), 1);
    seats.quantity = 0;
    put(&fx, T0, "a", seats);
    assert_int_equal(row_of(&fx, "a").seat_utilisation, UPT_SHARE_ABSENT);
    fixture_fini(&fx);
}

static void
the_first_record_runs_no_tick(void **unused)
{
    (void)unused;
    struct fixture fx;
    fixture_init(&fx, NULL, NULL);
    assert_true(upt_state_clock(fx.st) == UPT_NO_CLOCK);
    move(&fx, T0 + 90001);
    assert_true(upt_state_pos(fx.st).tick == UPT_NO_CLOCK);
    move(&fx, T0 + 90000); /* behind: the clock stands */
    assert_int_equal(upt_state_clock(fx.st), T0 + 90001);
    move(&fx, T0 + 2 * UPT_MINUTE_MS);
    assert_int_equal(upt_state_pos(fx.st).tick, T0 + 2 * UPT_MINUTE_MS);
    upt_state_wall_tick(fx.st, T0 + UPT_MINUTE_MS); /* in the past: nothing */
    assert_int_equal(upt_state_clock(fx.st), T0 + 2 * UPT_MINUTE_MS);
    upt_state_wall_tick(fx.st, T0 + 5 * UPT_MINUTE_MS);
    assert_int_equal(upt_state_clock(fx.st), T0 + 5 * UPT_MINUTE_MS);
    assert_int_equal(upt_state_pos(fx.st).offset, 2);
    fixture_fini(&fx);
}

static void
rows_are_dirty_only_when_something_changed(void **unused)
{
    (void)unused;
    struct fixture fx;
    struct upt_account *acct;
    fixture_init(&fx, NULL, NULL);
    put(&fx, T0, "a", usage("u", "f", 1));
    put(&fx, T0, "b", event(UPT_KIND_SIGNUP, NULL));
    drain(&fx);
    move(&fx, T0 + 59 * UPT_MINUTE_MS);
    assert_clean(&fx);
    move(&fx, T0 + 60 * UPT_MINUTE_MS);
    assert_false(upt_state_next_dirty(fx.st, &acct)); /* not before it is due */
    assert_int_equal(upt_state_later_accounts(fx.st), 1);
    upt_state_rows_due(fx.st, 1);
    assert_true(upt_state_next_dirty(fx.st, &acct));
    assert_true(upt_str_eq(upt_account_id(acct), UPT_STR("a")));
    assert_false(upt_state_next_dirty(fx.st, &acct));
    assert_int_equal(upt_state_later_accounts(fx.st), 0);
    struct upt_feature_row f;
    assert_true(upt_state_next_dirty_feature(fx.st, &f));
    drain(&fx);
    move(&fx, T0 + 23 * UPT_HOUR_MS + 59 * UPT_MINUTE_MS); /* the daily minutes of both have passed */
    assert_clean(&fx);
    move(&fx, T0 + UPT_DAY_MS);
    assert_int_equal(upt_state_later_accounts(fx.st), 1);
    fixture_fini(&fx);
}

static void
rows_of_moved_windows_let_others_pass(void **unused)
{
    (void)unused;
    struct fixture fx;
    struct upt_account *acct;
    fixture_init(&fx, NULL, NULL);
    for (int i = 0; i < 4; i++) {
        put(&fx, T0 + i, (const char *[]){"a", "b", "c", "d"}[i], usage("u", NULL, 1));
    }
    drain(&fx);
    move(&fx, T0 + UPT_HOUR_MS);
    assert_int_equal(upt_state_later_accounts(fx.st), 4);
    put(&fx, T0 + UPT_HOUR_MS, "c", usage("u", NULL, 1));
    upt_state_forget(fx.st, UPT_STR("b"));
    assert_int_equal(upt_state_later_accounts(fx.st), 2);
    upt_state_rows_due(fx.st, 1);
    for (int i = 0; i < 2; i++) {
        assert_true(upt_state_next_dirty(fx.st, &acct));
        assert_int_equal(upt_str_eq(upt_account_id(acct), UPT_STR("c")), i == 0);
    }
    assert_false(upt_state_next_dirty(fx.st, &acct));
    upt_state_mark_all_dirty(fx.st); /* a repair waits for nothing */
    assert_int_equal(upt_state_later_accounts(fx.st), 0);
    assert_int_equal(upt_state_dirty_accounts(fx.st), 3);
    fixture_fini(&fx);
}

/* ---- observers ---- */

struct seen {
    char text[4096];
    size_t n;
};

static void
note(struct seen *seen, const char *what, const struct upt_account *acct, int64_t at)
{
    struct upt_str id = upt_account_id(acct);
    int n = snprintf(seen->text + seen->n, sizeof(seen->text) - seen->n, "%s %.*s %lld;", what, (int)id.len, id.p,
                     (long long)((at - T0) / UPT_MINUTE_MS));
    seen->n += (size_t)n;
    assert_true(seen->n < sizeof(seen->text));
}

static void
on_daily(void *ctx, struct upt_state *st, struct upt_account *acct, int64_t tick)
{
    assert_int_equal(upt_state_clock(st), tick);
    note(ctx, "daily", acct, tick);
}

static void
on_timer(void *ctx, struct upt_state *st, struct upt_account *acct, int64_t tick)
{
    assert_true(upt_account_timer(acct) == UPT_NO_CLOCK);
    note(ctx, "timer", acct, tick);
    if (tick < T0 + 3 * UPT_MINUTE_MS) {
        upt_account_set_timer(st, acct, tick + 2 * UPT_MINUTE_MS);
    }
}

static void
on_event(void *ctx, struct upt_state *st, struct upt_account *acct, const struct upt_event *ev, int64_t at)
{
    note(ctx, "event", acct, at);
    if (ev->kind == UPT_KIND_RENEWED) {
        upt_account_set_timer(st, acct, T0 + UPT_MINUTE_MS);
        upt_account_touch(st, acct, 2);
    }
}

static void
on_forget(void *ctx, struct upt_state *st, struct upt_account *acct)
{
    note(ctx, "forget", acct, upt_state_clock(st));
}

static const struct upt_observer observer = {
    .ext_size = 12, .on_event = on_event, .on_daily = on_daily, .on_timer = on_timer, .on_forget = on_forget};

static void
observers_are_called_in_order(void **unused)
{
    (void)unused;
    struct fixture fx;
    struct seen seen = {.n = 0};
    char want[256];
    long daily = (long)(upt_hash("a", 1) % 60);
    fixture_init(&fx, &observer, &seen);
    put(&fx, T0, "a", event(UPT_KIND_RENEWED, NULL));
    assert_int_equal(totals(&fx).open_alerts, 2);
    assert_int_equal(row_of(&fx, "a").open_alerts, 2);
    move(&fx, T0 + UPT_DAY_MS - 1);
    if (daily > 3) {
        (void)snprintf(want, sizeof(want), "event a 0;timer a 1;timer a 3;daily a %ld;", daily);
        assert_string_equal(seen.text, want);
    }
    seen.n = 0;
    move(&fx, T0 + 3 * UPT_DAY_MS - 1);
    (void)snprintf(want, sizeof(want), "daily a %ld;daily a %ld;", 1440 + daily, 2880 + daily);
    assert_string_equal(seen.text, want);
    seen.n = 0;
    forget(&fx, T0 + 3 * UPT_DAY_MS - 1, "a");
    assert_string_equal(seen.text, "forget a 4319;");
    assert_int_equal(totals(&fx).open_alerts, 0);
    fixture_fini(&fx);
}

/* A jump passes over empty minutes, and still runs every one in which something is due. */
static void
a_jump_runs_what_every_minute_would(void **unused)
{
    (void)unused;
    struct fixture one;
    struct fixture many;
    struct seen seen_one = {.n = 0};
    struct seen seen_many = {.n = 0};
    fixture_init(&one, &observer, &seen_one);
    fixture_init(&many, &observer, &seen_many);
    const char *const names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++) {
        put(&one, T0 + i, names[i], event(UPT_KIND_RENEWED, "u"));
        put(&many, T0 + i, names[i], event(UPT_KIND_RENEWED, "u"));
    }
    int64_t end = T0 + 10 * UPT_DAY_MS;
    move(&one, end);
    for (int64_t k = T0 + UPT_MINUTE_MS; k <= end; k += UPT_MINUTE_MS) {
        upt_state_wall_tick(many.st, k);
    }
    assert_string_equal(seen_one.text, seen_many.text);
    fixture_fini(&one);
    fixture_fini(&many);
}

static void
many_users_and_features(void **unused)
{
    (void)unused;
    struct fixture fx;
    char user[24];
    char feature[24];
    fixture_init(&fx, NULL, NULL);
    for (int i = 0; i < 9000; i++) {
        (void)snprintf(user, sizeof(user), "u%d", i);
        (void)snprintf(feature, sizeof(feature), "f%d", i % 9);
        put(&fx, T0, "a", usage(user, feature, 1));
        put(&fx, T0, "a", usage(user, "all", 1));
    }
    assert_int_equal(row_of(&fx, "a").users_24h, 9000);
    assert_int_equal(row_of(&fx, "a").features_30d, 10);
    assert_int_equal(feature_row(&fx, "all").users_30d, 9000);
    assert_int_equal(feature_row(&fx, "f4").users_30d, 1000);
    assert_int_equal(totals(&fx).users_30d, 9000);
    fixture_fini(&fx);
}

/* One account that makes up feature names. */
static void
more_features_than_16_bits_can_number(void **unused)
{
    (void)unused;
    struct fixture fx;
    char feature[24];
    fixture_init(&fx, NULL, NULL);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 66000; i++) {
            (void)snprintf(feature, sizeof(feature), "f%d", i);
            put(&fx, T0, "a", usage("u", feature, 1));
        }
    }
    assert_int_equal(row_of(&fx, "a").features_30d, 66000);
    assert_int_equal(feature_row(&fx, "f65999").users_30d, 1);
    assert_int_equal(feature_row(&fx, "f65999").accounts_30d, 1);
    assert_int_equal(feature_row(&fx, "f3").users_30d, 1);
    fixture_fini(&fx);
}

/* ---- groups of a row ---- */

/* What a reader of Redis has, who is given only the groups that changed. */
static void
take_groups(struct upt_row *mine, const struct upt_row *row, unsigned changed)
{
    struct upt_row was = *mine;
    *mine = *row;
    for (int w = 0; w < UPT_WINDOWS && (changed & UPT_ROW_LOGINS) == 0; w++) {
        mine->usage[w].logins = was.usage[w].logins;
    }
    if ((changed & UPT_ROW_USERS) == 0) {
        mine->users_24h = was.users_24h, mine->users_7d = was.users_7d, mine->users_30d = was.users_30d;
        mine->users_total = was.users_total, mine->features_30d = was.features_30d;
        mine->seat_utilisation = was.seat_utilisation, mine->adoption_rate = was.adoption_rate;
    }
    if ((changed & UPT_ROW_REST) == 0) {
        mine->first_seen = was.first_seen, mine->has_seats = was.has_seats, mine->micro_seats = was.micro_seats;
        mine->segment = was.segment, mine->tier = was.tier, mine->renewal_date = was.renewal_date;
    }
}

static void
assert_same_row(const struct upt_row *mine, const struct upt_row *row)
{
    for (int w = 0; w < UPT_WINDOWS; w++) {
        assert_int_equal(mine->usage[w].events, row->usage[w].events);
        assert_int_equal(mine->usage[w].logins, row->usage[w].logins);
    }
    assert_int_equal(mine->users_24h, row->users_24h);
    assert_int_equal(mine->users_7d, row->users_7d);
    assert_int_equal(mine->users_30d, row->users_30d);
    assert_int_equal(mine->users_total, row->users_total);
    assert_int_equal(mine->features_30d, row->features_30d);
    assert_int_equal(mine->seat_utilisation, row->seat_utilisation);
    assert_int_equal(mine->adoption_rate, row->adoption_rate);
    assert_int_equal(mine->first_seen, row->first_seen);
    assert_int_equal(mine->micro_seats, row->micro_seats);
    assert_true(upt_str_eq(mine->segment, row->segment));
}

static void
test_groups_that_changed(void **state)
{
    (void)state;
    struct fixture fx;
    struct upt_row mine = {0};
    struct upt_feature_days days[8];
    unsigned seen[UPT_ROW_ALL + 1] = {0};
    uint32_t shown[2] = {0};
    uint64_t rng = 7;
    fixture_init(&fx, NULL, NULL);
    for (int64_t i = 0, ts = T0; i < 4000; i++) {
        rng = rng * UINT64_C(6364136223846793005) + 1442695040888963407U;
        unsigned r = (unsigned)(rng >> 33);
        static const char *const users[] = {"u", "v", "w"};
        static const upt_kind kinds[] = {UPT_KIND_USAGE, UPT_KIND_USAGE, UPT_KIND_LOGIN, UPT_KIND_SEATS,
                                         UPT_KIND_OTHER};
        struct upt_event ev = event(kinds[r % 5], users[r / 8 % 3]);
        ev.feature = upt_str_of(r / 32 % 4 == 0 ? "export" : "search");
        ev.quantity = 1 + r / 128 % 3;
        ts += r % 37 == 0 ? 9 * UPT_HOUR_MS : UPT_SECOND_MS;
        (void)put(&fx, ts, "acme", ev);
        struct upt_account *acct = upt_state_find(fx.st, UPT_STR("acme"));
        if (i % 1000 == 999) {
            upt_state_mark_dirty(fx.st, acct); /* the reader lost it */
            mine = (struct upt_row){0};
            memset(shown, 0, sizeof(shown));
        }
        struct upt_row row = row_of(&fx, "acme");
        size_t n = upt_state_row_features(fx.st, acct, days, 8);
        unsigned changed = upt_state_row_changed(acct, &row, n);
        take_groups(&mine, &row, changed);
        assert_same_row(&mine, &row);
        assert_int_equal((changed & UPT_ROW_FEATURES) != 0, n > 0 || row.whole);
        for (size_t f = 0; f < n; f++) {
            shown[days[f].feature.p[0] == 'e'] = days[f].days;
        }
        for (size_t f = 0; f < upt_account_features_n(acct); f++) {
            struct upt_str name;
            uint32_t used;
            upt_account_feature(fx.st, acct, f, &name, &used);
            assert_int_equal(shown[name.p[0] == 'e'], __builtin_popcount(used));
        }
        seen[changed]++;
    }
    assert_true(seen[0] > 1000);         /* most rows are short */
    assert_true(seen[UPT_ROW_ALL] >= 5); /* the first, and those after a loss */
    fixture_fini(&fx);
}

/* 30,000 times the largest quantity is more millionths than 64 bits hold, in one bucket. */
static void
units_do_not_overflow(void **unused)
{
    (void)unused;
    struct fixture fx;
    fixture_init(&fx, NULL, NULL);
    for (int i = 0; i < 30000; i++) {
        put(&fx, T0, "a", usage(NULL, "f", 1e9));
    }
    upt_i128 all = (upt_i128)30000 * 1000000000 * UPT_MICRO;
    struct upt_row row = row_of(&fx, "a");
    assert_true(row.usage[UPT_W_1H].micro_units == all && row.usage[UPT_W_30D].micro_units == all);
    struct topic topic = {0};
    topic_take(&topic, &fx, true);
    struct upt_pos pos = upt_state_pos(fx.st);
    fixture_reset(&fx, NULL, NULL);
    assert_int_equal(topic_load(&topic, &fx, pos, T0), UPT_OK);
    row = row_of(&fx, "a");
    assert_true(row.usage[UPT_W_1H].micro_units == all && row.usage[UPT_W_30D].micro_units == all);
    assert_true(feature_row(&fx, "f").usage[UPT_W_7D].micro_units == all);
    assert_true(totals(&fx).usage[UPT_W_24H].micro_units == all);
    topic_fini(&topic);
    fixture_fini(&fx);
}

/* Records that count nothing and ticks move the clock: the totals say so, also when they are zeros. */
static void
totals_of_nothing(void **state)
{
    (void)state;
    struct fixture fx;
    struct upt_totals_row row;
    fixture_init(&fx, NULL, NULL);
    assert_clean(&fx);
    move(&fx, T0);
    assert_true(upt_state_dirty_totals(fx.st, &row));
    assert_int_equal(row.accounts_total, 0);
    assert_clean(&fx);
    move(&fx, T0 + 1);
    assert_true(upt_state_dirty_totals(fx.st, &row));
    assert_int_equal(row.as_of, T0 + 1);
    upt_state_wall_tick(fx.st, T0 + UPT_MINUTE_MS);
    assert_true(upt_state_dirty_totals(fx.st, &row));
    assert_int_equal(row.as_of, T0 + UPT_MINUTE_MS);
    fixture_fini(&fx);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_do_not_overflow),
        cmocka_unit_test(windows_move_with_the_clock),
        cmocka_unit_test(a_late_event_counts_where_it_happened),
        cmocka_unit_test(a_late_event_shows_when_it_leaves),
        cmocka_unit_test(verdicts_in_their_order),
        cmocka_unit_test(days_before_1970_are_days),
        cmocka_unit_test(a_duplicate_does_not_refresh),
        cmocka_unit_test(the_last_4096_ids_are_known),
        cmocka_unit_test(many_ids_leave_at_their_own_time),
        cmocka_unit_test(ids_come_and_go_for_long),
        cmocka_unit_test(users_come_leave_and_return),
        cmocka_unit_test(adoption_is_three_days_of_28),
        cmocka_unit_test(a_hint_outlives_its_account),
        cmocka_unit_test(forgetting_drops_distinct_counts_at_once),
        cmocka_unit_test(retention_counts_from_the_last_accepted_event),
        cmocka_unit_test(seats_and_shares),
        cmocka_unit_test(the_first_record_runs_no_tick),
        cmocka_unit_test(rows_are_dirty_only_when_something_changed),
        cmocka_unit_test(observers_are_called_in_order),
        cmocka_unit_test(a_jump_runs_what_every_minute_would),
        cmocka_unit_test(rows_of_moved_windows_let_others_pass),
        cmocka_unit_test(many_users_and_features),
        cmocka_unit_test(more_features_than_16_bits_can_number),
        cmocka_unit_test(test_groups_that_changed),
        cmocka_unit_test(totals_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
