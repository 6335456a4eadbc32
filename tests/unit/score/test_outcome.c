/* Outcomes of risks on the metrics: who left, who stayed, when they are counted, and what a restart keeps. */
#include "harness.h"

static struct upt_outcome_figures
all(const struct world *w)
{
    struct upt_outcome_figures f = {0};
    (void)upt_outcomes_figures(w->metrics->outcomes, UPT_OUTCOME_ALL, &f);
    return f;
}

static uint64_t
left(const struct world *w)
{
    return all(w).left;
}

static uint64_t
stayed(const struct world *w)
{
    return all(w).n - all(w).left;
}

/* Both are noted on the morning of day 1, about day 0. One uses the product until day 20, the other on day 31 again. */
static void
left_and_stayed(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_use(w, "left", 0, "f", 1);
    world_use(w, "stayed", 0, "f", 1);
    world_to(w, 1, 0, 59);
    uint16_t risk = world_ext(w, "left")->foretold.risk_e4;
    assert_int_equal(world_ext(w, "left")->foretold.day, DAY0);
    assert_true(risk > 5000 && risk < 10000);
    world_use(w, "left", 20, "f", 1);
    world_use(w, "stayed", 31, "f", 1);
    world_restart(w);
    world_to(w, 90, 0, 59);
    assert_int_equal(all(w).n, 0); /* the 60 days are not over */
    world_to(w, 91, 0, 59);
    assert_int_equal(left(w), 1);
    assert_int_equal(stayed(w), 1);
    assert_true(fabs(all(w).predicted - risk / 1e4) < 1e-9);
    assert_int_equal(all(w).leads, risk >= 7500 ? 1 : 0);
    assert_true(risk < 7500 || fabs(all(w).lead_days - 20) < 1e-9);
    assert_int_equal(world_ext(w, "left")->foretold.day, DAY0 + 90); /* the next one */
    world_to(w, 400, 0, 59);
    assert_int_equal(left(w), 3); /* each once more, silent for 70 and 59 days then; not for ever */
    assert_int_equal(world_ext(w, "left")->foretold.risk_e4, UPT_NULL_U16);
    world_use(w, "left", 401, "f", 1);
    world_to(w, 402, 0, 59);
    assert_int_equal(world_ext(w, "left")->foretold.day, DAY0 + 401);
    world_free(w);
}

/* CHURNED tells although the product is used on; a later RENEWED takes that back. */
static void
told_by_events(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d < 92; d += 3) {
        world_use(w, "churned", d, "f", 1);
        world_use(w, "renewed", d, "f", 1);
        if (d == 12) {
            int64_t at = (DAY0 + d) * UPT_DAY_MS + 13 * UPT_HOUR_MS;
            world_event(w, "churned", UPT_KIND_CHURNED, NULL, 1, at);
            world_event(w, "renewed", UPT_KIND_CHURNED, NULL, 1, at);
            world_event(w, "renewed", UPT_KIND_RENEWED, NULL, 1, at + UPT_HOUR_MS);
        }
    }
    world_to(w, 92, 0, 59);
    assert_int_equal(left(w), 1);
    assert_int_equal(stayed(w), 1);
    for (int d = 93; d < 400; d += 3) {
        world_use(w, "churned", d, "f", 1);
        world_use(w, "renewed", d, "f", 1);
    }
    world_to(w, 400, 0, 59);
    assert_int_equal(left(w), 1); /* of a customer who is gone by contract nothing is foretold */
    world_free(w);
}

/* An outcome is counted under the segment that the account is in when it has come. */
static void
by_segment(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct upt_outcome_figures f;
    world_use(w, "a", 0, "f", 1);
    world_use(w, "b", 0, "f", 1);
    world_profile(w, "a", 0, "segment", "courses");
    world_profile(w, "b", 0, "segment", "trial");
    world_to(w, 1, 0, 59);
    world_profile(w, "b", 40, "segment", "courses");
    world_to(w, 91, 0, 59);
    assert_true(upt_outcomes_figures(w->metrics->outcomes, 1, &f));
    assert_string_equal(f.segment, "courses");
    assert_int_equal(f.n, 2);
    assert_false(upt_outcomes_figures(w->metrics->outcomes, 2, &f));
    assert_false(upt_outcomes_figures(w->metrics->outcomes, 0, &f)); /* without a segment */
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(left_and_stayed),
        cmocka_unit_test(told_by_events),
        cmocka_unit_test(by_segment),
    };
    return cmocka_run_group_tests_name("score_outcome", tests, NULL, NULL);
}
