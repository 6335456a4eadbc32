/* USAGE_DROP: against the account's own weekday profile, with numbers that can be checked by hand. */
#include "harness.h"

static bool
workday(int d)
{
    return (d + 2) % 7 < 5; /* DAY0 is a Wednesday */
}

/* Twenty events each workday, none at weekends, for 60 days; then 6. */
static void
falls_and_recovers(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    for (int d = 0; d < 110; d++) {
        if (workday(d)) {
            world_use(w, "a", d, "f", d < 61 || d >= 80 ? 20 : 6);
        }
        world_to(w, d + 1, 0, 59);
        assert_int_equal(d < 61 ? world_count(w, "a", "USAGE_DROP", -1) : 0, 0); /* weekends are no drop */
    }
    const struct kept_alert *open = world_alert(w, "a", "USAGE_DROP", 0);
    assert_int_equal(open->a.action, UPT_OPEN);
    double day = world_day(open->a.changed_at);
    assert_true(day > 61 && day < 69);
    /* Monday day 61 is 2025-03-03; expected 20 for each workday since the evidence began. */
    int n = 0;
    for (int d = (int)world_day(open->a.condition_since); d < (int)day; d++) {
        n += workday(d) ? 1 : 0;
    }
    assert_true(fabs(open->a.observed - 6.0 * n) < 1e-6);
    assert_true(fabs(open->a.expected - 20.0 * n) < 0.01);
    assert_true(open->a.expected_low > open->a.observed && open->a.expected_low < open->a.expected);
    assert_true(open->a.p_value < 0.01);
    assert_true(open->a.window_ms == ((int64_t)day - (int64_t)world_day(open->a.condition_since)) * UPT_DAY_MS);
    assert_true(upt_str_eq(open->a.unit, UPT_STR("usage events")));
    /* Back on day 82 (Monday): the third full workday is seen on the morning after. */
    const struct kept_alert *last = NULL;
    for (int i = 0; i < w->alerts_n; i++) {
        last = strcmp(w->alert[i].rule, "USAGE_DROP") == 0 ? &w->alert[i] : last;
    }
    assert_int_equal(last->a.action, UPT_RESOLVE);
    int back = 0;
    int d = 80;
    for (; back < 3; d++) {
        back += workday(d) ? 1 : 0;
    }
    assert_int_equal((int)world_day(last->a.changed_at), d);
    assert_int_equal(world_count(w, "a", "USAGE_DROP", UPT_OPEN), 1);
    world_free(w);
}

/* Two of three days back, then none: weekends do not count for either side, and nothing heard does not close it. */
static void
silence_does_not_close(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    for (int d = 0; d < 61; d++) {
        if (workday(d)) {
            world_use(w, "a", d, "f", 20);
        }
    }
    world_to(w, 75, 1, 0);
    assert_int_equal(world_count(w, "a", "USAGE_DROP", UPT_OPEN), 1);
    world_use(w, "a", 75, "f", 20);
    world_use(w, "a", 76, "f", 20);
    world_to(w, 300, 1, 0);
    assert_int_equal(world_count(w, "a", "USAGE_DROP", UPT_RESOLVE), 0);
    assert_int_equal(world_count(w, "a", "USAGE_DROP", UPT_ESCALATE), 1);
    assert_true(fabs((double)world_ext(w, "a")->drop.profile[0] - 20) < 1e-4); /* the drop did not become the usual */
    world_free(w);
}

/* Little is expected at weekends: that it comes is no recovery. */
static void
quiet_days_do_not_count(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    for (int d = 0; d < 83; d++) {
        world_use(w, "a", d, "f", !workday(d) ? 1 : d < 61 || d > 79 ? 20 : 4);
    }
    assert_int_equal(world_count(w, "a", "USAGE_DROP", UPT_OPEN), 1);
    world_to(w, 83, 0, 59); /* Saturday, Sunday and one Monday were as expected */
    assert_int_equal(world_count(w, "a", "USAGE_DROP", UPT_RESOLVE), 0);
    world_use(w, "a", 83, "f", 20);
    world_use(w, "a", 84, "f", 20);
    world_to(w, 85, 0, 59);
    assert_int_equal(world_count(w, "a", "USAGE_DROP", UPT_RESOLVE), 1);
    world_free(w);
}

/* The evidence of one day by hand: mean 20, dispersion 0.1 (its floor, for a profile without noise), nothing seen. */
static void
evidence_by_hand(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    for (int d = 0; d < 100; d++) {
        world_use(w, "a", d, "f", 20);
    }
    world_to(w, 101, 0, 59); /* day 100 was empty */
    const struct upt_drop *drop = &world_ext(w, "a")->drop;
    assert_true(fabs((double)drop->dispersion - 0.1) < 1e-6 && fabs((double)drop->profile[0] - 20) < 1e-4);
    assert_true(fabs(drop->cusum - upt_round6(10 * log(30.0 / 20))) < 2e-6); /* size·log((μ + size)/(μ/2 + size)) */
    assert_true(fabs((double)drop->expected - 20) < 1e-4 && drop->observed <= 0);
    world_to(w, 102, 0, 59);
    assert_int_equal(world_count(w, "a", "USAGE_DROP", UPT_OPEN), 1); /* 8.1 is above 5 */
    const struct kept_alert *open = world_alert(w, "a", "USAGE_DROP", 0);
    assert_int_equal(open->a.severity, UPT_WARNING);
    /* P(0 of 40): negative binomial with size 20: (20 / 60)^20 */
    assert_true(fabs(open->a.p_value - upt_round6(pow(1.0 / 3, 20))) < 1e-6);
    world_free(w);
}

/* A weekly account is compared week by week, and one with too little history not at all. */
static void
own_period(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    for (int week = 0; week < 30; week++) {
        if (week < 20) {
            world_use(w, "weekly", week * 7 + 1, "f", 12);
        }
        if (week == 0) {
            for (int d = 2; d < 8; d++) {
                world_use(w, "young", d, "f", 12);
            }
        }
        world_to(w, week * 7 + 9, 0, 59);
        if (week < 20) {
            assert_int_equal(world_count(w, "weekly", "USAGE_DROP", -1), 0);
        }
    }
    assert_int_equal(world_ext(w, "weekly")->drop.cadence, UPT_WEEKLY);
    assert_int_equal(world_count(w, "weekly", "USAGE_DROP", UPT_OPEN), 1);
    assert_true(fabs(world_alert(w, "weekly", "USAGE_DROP", 0)->a.expected - 24) < 1.5); /* two weeks of twelve */
    assert_int_equal(world_count(w, "young", "USAGE_DROP", -1), 0);
    world_free(w);
}

/* A slow fade: no single day is low, the sum is. */
static void
fade(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    for (int d = 0; d < 140; d++) {
        int n = d < 60 ? 20 : d < 120 ? 20 - (d - 60) / 4 : 5;
        world_use(w, "a", d, "f", n);
        world_to(w, d + 1, 0, 59);
    }
    assert_int_equal(world_count(w, "a", "USAGE_DROP", UPT_OPEN), 1);
    double day = world_day(world_alert(w, "a", "USAGE_DROP", 0)->a.changed_at);
    assert_true(day > 75 && day < 115);
    assert_int_equal(world_count(w, "a", "SILENCE", -1), 0);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(falls_and_recovers),
        cmocka_unit_test(silence_does_not_close),
        cmocka_unit_test(quiet_days_do_not_count),
        cmocka_unit_test(evidence_by_hand),
        cmocka_unit_test(own_period),
        cmocka_unit_test(fade),
    };
    return cmocka_run_group_tests_name("score_drop", tests, NULL, NULL);
}
