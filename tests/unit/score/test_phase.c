/* Lifecycle phases, from the events and profile values that make them. */
#include "harness.h"

static upt_phase
phase(struct world *w, int day)
{
    world_to(w, day, 0, 59);
    assert_int_equal(world_ext(w, "a")->phase, world_eval(w, "a").phase);
    return world_eval(w, "a").phase;
}

static int64_t
at(int day)
{
    return (DAY0 + day) * UPT_DAY_MS + 12 * UPT_HOUR_MS;
}

static void
user_use(struct world *w, int day, const char *user)
{
    struct upt_event ev = {.event_id = UPT_STR(""),
                           .account_id = UPT_STR("a"),
                           .user_id = upt_str_of(user),
                           .feature = UPT_STR("f"),
                           .occurred_at = at(day),
                           .quantity = 1,
                           .kind = UPT_KIND_USAGE};
    upt_state_begin(w->st, w->offset++, at(day));
    assert_true(upt_state_apply(w->st, ev.account_id, &ev));
}

static void
a_life(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_profile(w, "a", 0, "plan", "Trial");
    assert_int_equal(phase(w, 1), UPT_PHASE_TRIAL);
    world_profile(w, "a", 1, "plan", "pro");
    world_profile(w, "a", 1, "onboarding_steps", "import, invite,first report");
    world_event(w, "a", UPT_KIND_ONBOARDING_STEP, "import", 1, at(1));
    world_event(w, "a", UPT_KIND_ONBOARDING_STEP, "invite", 1, at(1));
    assert_int_equal(phase(w, 2), UPT_PHASE_ONBOARDING);
    world_event(w, "a", UPT_KIND_ONBOARDING_STEP, "first report", 1, at(2));
    world_event(w, "a", UPT_KIND_ONBOARDING_STEP, "first report", 1, at(2));
    user_use(w, 2, "ann");
    user_use(w, 2, "bob");
    user_use(w, 2, "cid");
    assert_int_equal(phase(w, 3), UPT_PHASE_ADOPTION); /* 0 of 3 users adopted */
    for (int d = 3; d < 5; d++) {
        user_use(w, d, "ann");
        user_use(w, d, "bob");
    }
    assert_int_equal(phase(w, 5), UPT_PHASE_USAGE); /* 2 of 3 */
    world_event(w, "a", UPT_KIND_VALUE, "saved", 1, at(5));
    assert_int_equal(phase(w, 6), UPT_PHASE_VALUE);
    world_event(w, "a", UPT_KIND_SURVEY, "csat", 10, at(6));
    assert_int_equal(phase(w, 7), UPT_PHASE_VALUE);
    world_event(w, "a", UPT_KIND_SURVEY, "nps", 9, at(7));
    assert_int_equal(phase(w, 8), UPT_PHASE_ADVOCACY);
    world_event(w, "a", UPT_KIND_SURVEY, "nps", 8, at(8));
    assert_int_equal(phase(w, 9), UPT_PHASE_VALUE);
    assert_int_equal(phase(w, 34), UPT_PHASE_VALUE);
    assert_int_equal(phase(w, 37), UPT_PHASE_DORMANT); /* 30 whole days without use */
    world_event(w, "a", UPT_KIND_CHURNED, NULL, 1, at(38));
    assert_int_equal(phase(w, 39), UPT_PHASE_CHURNED);
    user_use(w, 39, "ann");
    assert_int_equal(phase(w, 40), UPT_PHASE_CHURNED);
    world_event(w, "a", UPT_KIND_RENEWED, NULL, 1, at(40));
    assert_int_equal(phase(w, 41), UPT_PHASE_VALUE);
    world_free(w);
}

static void
without_a_list(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_use(w, "a", 0, "f", 1);
    world_use(w, "a", 1, "f", 1);
    assert_int_equal(phase(w, 2), UPT_PHASE_ONBOARDING);
    world_use(w, "a", 2, "f", 1);
    assert_true(phase(w, 3) == UPT_PHASE_ADOPTION || phase(w, 3) == UPT_PHASE_USAGE);
    world_profile(w, "a", 3, "contract_start", "2025-02-01");
    assert_int_equal(phase(w, 4), UPT_PHASE_TRIAL);
    world_use(w, "a", 31, "f", 1);
    assert_int_not_equal(phase(w, 32), UPT_PHASE_TRIAL); /* 2025-02-02 */
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_life), cmocka_unit_test(without_a_list)};
    return cmocka_run_group_tests_name("score_phase", tests, NULL, NULL);
}
