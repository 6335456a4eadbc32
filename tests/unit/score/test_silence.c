/* SILENCE: with no event arriving, in each account's own cadence, at the minute worked out ahead; ends at the next use.
 */
#include "harness.h"

/* A daily and a weekly account in the same log; both stop. */
static void
own_cadence(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    for (int d = 0; d < 84; d++) {
        if (d < 60) {
            world_use(w, "daily", d, "f", 3);
        }
        if (d % 7 == 0 && d < 78) {
            world_use(w, "weekly", d, "f", 3);
        }
        world_to(w, d, 23, 0);
        assert_int_equal(world_count(w, "weekly", "SILENCE", -1),
                         0); /* also in the week in which the daily one fires */
    }
    const struct kept_alert *open = world_alert(w, "daily", "SILENCE", 0);
    double silent = world_day(open->a.changed_at) - 59.5;
    assert_int_equal(open->a.action, UPT_OPEN);
    assert_int_equal(open->a.severity, UPT_WARNING);
    assert_true(silent > 1.5 && silent < 5);
    assert_int_equal(open->a.changed_at % UPT_MINUTE_MS, 0);
    assert_true(open->a.condition_since == open->a.changed_at && open->a.opened_at == open->a.changed_at);
    assert_true(open->a.pos.tick == open->a.changed_at);
    assert_true(fabs(open->a.observed - silent) < 1e-6);
    assert_non_null(strstr(open->counterfactual, "unusual for them"));
    assert_int_equal(open->a.factors_n, 6);
    /* Exactly the minute: the probability reaches the level there, and not a minute before. */
    struct upt_eval eval = world_eval(w, "daily");
    int64_t minutes = (open->a.changed_at - ((DAY0 + 59) * UPT_DAY_MS + 12 * UPT_HOUR_MS)) / UPT_MINUTE_MS;
    assert_true(upt_silence_risk(w->model, &eval.act, minutes) >= 0.2);
    assert_true(upt_silence_risk(w->model, &eval.act, minutes - 1) < 0.2);
    assert_int_equal(world_count(w, "daily", "SILENCE", UPT_ESCALATE), 2); /* HIGH, CRITICAL */
    assert_int_equal(world_alert(w, "daily", "SILENCE", 0)->a.severity, UPT_WARNING);
    world_to(w, 120, 23, 0);
    assert_int_equal(world_count(w, "weekly", "SILENCE", UPT_OPEN), 1);
    double weekly = world_day(world_alert(w, "weekly", "SILENCE", 0)->a.changed_at) - 77.5;
    assert_true(weekly > 9 && weekly < 25);
    assert_int_equal(world_count(w, NULL, "SILENCE", UPT_RESOLVE), 0); /* nothing heard is no recovery */
    world_free(w);
}

/* Eight active days in two years, at odd times: such accounts are the ones that leave, and are judged although most of
 * those days are no longer kept. Five are too few. A restart does not forget how many there were. */
static void
rare_and_irregular(void **state)
{
    (void)state;
    static const int days[] = {0, 3, 90, 95, 280, 400, 404, 600};
    struct world *w = world_new(NULL);
    for (int i = 0; i < 8; i++) {
        world_use(w, "rare", days[i], "f", 1);
        if (i >= 3) {
            world_use(w, "rarer", days[i], "f", 1);
        }
        if (i == 4) {
            world_restart(w);
        }
    }
    assert_int_equal(world_ext(w, "rare")->days_ever, 8);
    world_restart(w);
    world_to(w, 640, 23, 0);
    const struct kept_alert *last = NULL;
    for (int i = 0; i < world_count(w, "rare", "SILENCE", -1); i++) {
        last = world_alert(w, "rare", "SILENCE", i);
    }
    assert_non_null(last);
    double silent = world_day(last->a.opened_at) - 600.5;
    assert_true(silent > 0.5 && silent <= 5); /* not 1.25 typical gaps, which is months */
    assert_int_equal(world_count(w, "rarer", "SILENCE", -1), 0);
    world_free(w);
}

/* Two of six days are kept, 150 days apart: one gap makes no habit, so it is not waited for 1.25 of it. */
static void
two_days_are_no_habit(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d <= 750; d += 150) {
        world_use(w, "a", d, "f", 1);
    }
    world_to(w, 790, 23, 0);
    int n = world_count(w, "a", "SILENCE", UPT_OPEN);
    assert_int_equal(n, 1); /* from the sixth day on */
    double silent = world_day(world_alert(w, "a", "SILENCE", 0)->a.opened_at) - 750.5;
    assert_true(silent > 0 && silent <= 5);
    world_free(w);
}

/* Weekly with a day more or less, for a year: never. */
static void
weekly_with_jitter(void **state)
{
    (void)state;
    static const int jitter[] = {0, 1, 0, -1, 0, 1, 1, 0, -1, -1, 0, 1};
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    for (int week = 0; week < 52; week++) {
        world_use(w, "a", week * 7 + 2 + jitter[week % 12], "f", 3);
    }
    assert_int_equal(world_count(w, NULL, "SILENCE", -1), 0);
    world_free(w);
}

static void
ends_at_the_next_use(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    for (int d = 0; d < 30; d++) {
        world_use(w, "a", d, "f", 3);
    }
    world_to(w, 34, 6, 0);
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_OPEN), 1);
    assert_int_equal(upt_open_alerts(world_ext(w, "a")), world_count(w, "a", NULL, UPT_OPEN));
    int64_t at = (DAY0 + 34) * UPT_DAY_MS + 7 * UPT_HOUR_MS + 12345;
    world_event(w, "a", UPT_KIND_LOGIN, NULL, 1, at); /* looking in is no use */
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_RESOLVE), 0);
    /* A late event of before the silence is none either. */
    world_event(w, "a", UPT_KIND_USAGE, "f", 1, (DAY0 + 28) * UPT_DAY_MS);
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_RESOLVE), 0);
    world_restart(w);
    world_event(w, "a", UPT_KIND_VALUE, "goal", 1, at + 1000);
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_RESOLVE), 1);
    const struct kept_alert *end = &w->alert[w->alerts_n - 1];
    assert_true(end->a.changed_at == at + 1000); /* decided at the record */
    assert_true(end->a.opened_at == world_alert(w, "a", "SILENCE", 0)->a.changed_at);
    assert_true(end->a.pos.offset == w->offset - 1);
    assert_true(fabs(end->a.observed - (double)(at + 1000 - (DAY0 + 29) * UPT_DAY_MS - 12 * UPT_HOUR_MS) / 86400e3) <
                1e-6);
    world_free(w);
}

/* After an alert ended none of the rule opens for the cool-down; then a new one, with a new id and revision 0. */
static void
cool_down(void **state)
{
    (void)state;
    struct world *w =
        world_only("HEALTH_BAND USAGE_DROP SILENCE{cool_down: 10d, levels: {HIGH: off, CRITICAL: off}};", NULL);
    for (int d = 0; d < 30; d++) {
        world_use(w, "a", d, "f", 3);
    }
    world_use(w, "a", 36, "f", 3); /* resolves on day 36.5 */
    world_to(w, 46, 11, 59);
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_OPEN), 1);
    world_to(w, 46, 12, 0);
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_OPEN), 2);
    const struct kept_alert *first = world_alert(w, "a", "SILENCE", 0);
    const struct kept_alert *second = NULL;
    for (int i = 0; i < w->alerts_n; i++) {
        if (strcmp(w->alert[i].rule, "SILENCE") == 0 && w->alert[i].a.action == UPT_OPEN) {
            second = &w->alert[i];
        }
    }
    assert_string_not_equal(first->id, second->id);
    assert_int_equal(second->a.revision, 0);
    assert_true(second->a.condition_since < second->a.opened_at); /* it held before, while cooling down */
    assert_true(fabs(world_day(second->a.opened_at) - 46.5) < 1e-9);
    world_free(w);
}

/* It counts from the moment in which the alert ended, not from the beginning of that minute. */
static void
cool_down_of_seconds(void **state)
{
    (void)state;
    struct world *w =
        world_only("HEALTH_BAND USAGE_DROP SILENCE{cool_down: 10d, levels: {HIGH: off, CRITICAL: off}};", NULL);
    for (int d = 0; d < 30; d++) {
        world_use(w, "a", d, "f", 3);
    }
    world_to(w, 36, 12, 0);
    world_event(w, "a", UPT_KIND_USAGE, "f", 3, (DAY0 + 36) * UPT_DAY_MS + 12 * UPT_HOUR_MS + 30 * UPT_SECOND_MS);
    world_to(w, 46, 12, 0);
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_OPEN), 1);
    world_to(w, 46, 12, 1);
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_OPEN), 2);
    world_free(w);
}

/* Too little known of its cadence: quiet. */
static void
young(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    for (int d = 0; d < 5; d++) {
        world_use(w, "a", d, "f", 3);
    }
    world_to(w, 60, 0, 0);
    assert_int_equal(world_count(w, "a", "SILENCE", -1), 0);
    world_free(w);
}

/* Use every day at changing hours: the timer never fires, and the deadline follows the last use, not the first of the
 * day. */
static void
deadline_follows(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    for (int d = 0; d < 40; d++) {
        world_event(w, "a", UPT_KIND_USAGE, "f", 1, (DAY0 + d) * UPT_DAY_MS + 8 * UPT_HOUR_MS);
        world_event(w, "a", UPT_KIND_USAGE, "f", 1, (DAY0 + d) * UPT_DAY_MS + 20 * UPT_HOUR_MS + 30);
    }
    world_to(w, 50, 0, 0);
    const struct kept_alert *open = world_alert(w, "a", "SILENCE", 0);
    struct upt_eval eval = world_eval(w, "a");
    int64_t minutes = upt_silence_minutes(w->model, &eval.act, 0.2);
    int64_t last = (DAY0 + 39) * UPT_DAY_MS + 20 * UPT_HOUR_MS + UPT_MINUTE_MS; /* rounded up to a minute */
    assert_true(open->a.changed_at == last + minutes * UPT_MINUTE_MS);
    world_free(w);
}

/* CHURNED by the CRM: no alarm, and what is open expires; RENEWED: it is watched again. */
static void
churned(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    for (int d = 0; d < 30; d++) {
        world_use(w, "a", d, "f", 3);
        world_use(w, "b", d, "f", 3);
    }
    world_event(w, "a", UPT_KIND_CHURNED, NULL, 1, (DAY0 + 30) * UPT_DAY_MS);
    world_to(w, 50, 0, 0);
    assert_int_equal(world_count(w, "a", NULL, -1), 0);
    assert_int_equal(world_count(w, "b", "SILENCE", UPT_OPEN), 1);
    world_event(w, "a", UPT_KIND_RENEWED, NULL, 1, (DAY0 + 50) * UPT_DAY_MS + 1);
    world_event(w, "b", UPT_KIND_CHURNED, NULL, 1, (DAY0 + 50) * UPT_DAY_MS + 1);
    world_to(w, 51, 1, 0);
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_OPEN), 1);
    assert_int_equal(world_count(w, "b", NULL, UPT_OPEN), world_count(w, "b", NULL, UPT_EXPIRE));
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_cadence),          cmocka_unit_test(weekly_with_jitter),
        cmocka_unit_test(rare_and_irregular),   cmocka_unit_test(two_days_are_no_habit),
        cmocka_unit_test(ends_at_the_next_use), cmocka_unit_test(cool_down),
        cmocka_unit_test(cool_down_of_seconds), cmocka_unit_test(young),
        cmocka_unit_test(deadline_follows),     cmocka_unit_test(churned),
    };
    return cmocka_run_group_tests_name("score_silence", tests, NULL, NULL);
}
