/* The parts of the score beside use: missing is not zero, weights by phase and segment, words cannot cancel behaviour.
 * The harness checks for every evaluation that points add up to the score. */
#include <string.h>

#include "harness.h"

static int64_t
at(int day)
{
    return (DAY0 + day) * UPT_DAY_MS + 12 * UPT_HOUR_MS;
}

static void
user_use(struct world *w, int day, const char *user, const char *feature)
{
    struct upt_event ev = {.event_id = UPT_STR(""),
                           .account_id = UPT_STR("a"),
                           .user_id = upt_str_of(user),
                           .feature = upt_str_of(feature),
                           .occurred_at = at(day),
                           .quantity = 1,
                           .kind = UPT_KIND_USAGE};
    upt_state_begin(w->st, w->offset++, at(day));
    assert_true(upt_state_apply(w->st, ev.account_id, &ev));
}

/* Only use is known: the model's score, to the last millionth, in every phase. */
static void
use_alone(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d < 60; d++) {
        world_use(w, "a", d, d % 2 == 0 ? "f" : "g", 3);
        world_to(w, d + 1, 0, 59);
        struct upt_account *acct = world_account(w, "a");
        struct upt_eval eval = world_eval(w, "a");
        struct upt_eval alone;
        upt_evaluate(w->model, w->st, acct, upt_account_ext(acct), &alone);
        assert_true(eval.score_micro == alone.score_micro && eval.mean_micro == alone.mean_micro);
        assert_memory_equal(eval.weight_milli, alone.weight_milli, sizeof(eval.weight_milli));
        for (int i = UPT_C_COUNT; i < UPT_PARTS; i++) {
            assert_true(isnan(eval.value[i]) && eval.weight_milli[i] == 0);
        }
    }
    world_free(w);
}

/* No ticket, no survey, no training is missing, not perfect and not zero; each comes with its first datum. */
static void
missing_is_missing(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d < 40; d++) {
        user_use(w, d, "ann", "f");
        user_use(w, d, "bob", d % 2 == 0 ? "f" : "g");
    }
    world_to(w, 40, 0, 59);
    struct upt_eval eval = world_eval(w, "a");
    assert_true(!isnan(eval.value[UPT_PART_PEOPLE]));
    for (int i = UPT_PART_ONBOARDING; i < UPT_PARTS; i++) {
        assert_true(isnan(eval.value[i]) && eval.weight_milli[i] == 0);
    }
    int32_t support = eval.weight_milli[UPT_PART_SUPPORT];
    int64_t before = eval.score_micro;
    for (int i = 0; i < 6; i++) {
        world_event(w, "a", UPT_KIND_TICKET_OPENED, NULL, 1, at(40));
    }
    eval = world_eval(w, "a");
    assert_true(eval.weight_milli[UPT_PART_SUPPORT] > support && eval.sub_e5[UPT_PART_SUPPORT] < 20000);
    assert_true(eval.score_micro < before);
    world_to(w, 150, 0, 59);
    assert_int_equal(world_eval(w, "a").weight_milli[UPT_PART_SUPPORT], 0); /* long ago: missing again */
    world_free(w);
}

/* One of two equal accounts opens tickets, from none to far too many, of a small or large account, well or silent: the
 * other's score is never below its, nor different once there are no more tickets than usual. */
static void
tickets_lift_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {"ann", "bob", "cho", "dan"};
    bool lowered = false;
    for (int tickets = 0; tickets < 6; tickets++) {
        for (int users = 1; users <= 4; users += 3) {
            struct world *w = world_new(NULL);
            int64_t before[80];
            for (int with = 0; with < 2; with++) {
                for (int d = 0; d < 40; d++) {
                    for (int u = 0; u < users; u++) {
                        user_use(w, d, names[u], "f");
                    }
                    for (int i = 0; with == 1 && d == 22 && i < tickets; i++) {
                        world_event(w, "a", UPT_KIND_TICKET_OPENED, NULL, 1, at(d));
                        world_event(w, "a", UPT_KIND_TICKET_CLOSED, NULL, 1, at(d));
                    }
                }
                for (int d = 40; d < 80; d++) {
                    world_to(w, d, 0, 59);
                    struct upt_eval eval = world_eval(w, "a");
                    bool many = d < 57 && tickets > 0.3 * users; /* the week of day 22 and the four after it */
                    assert_true(with == 0 || many == !isnan(eval.value[UPT_PART_SUPPORT]));
                    assert_true(with == 0 || eval.score_micro <= before[d] + 100000); /* weights are thousandths */
                    assert_true(with == 0 || many || eval.score_micro == before[d]);
                    lowered = lowered || (with == 1 && eval.score_micro < before[d] - 1000000);
                    before[d] = eval.score_micro;
                }
                world_free(w);
                w = with == 0 ? world_new(NULL) : NULL;
            }
        }
    }
    assert_true(lowered);
}

/* However good the answers: five points at most over what the rest says. */
static void
words_lift_little(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d < 60; d += 5) {
        world_use(w, "a", d, "f", 1);
    }
    world_to(w, 62, 0, 59);
    struct upt_eval before = world_eval(w, "a");
    for (int i = 0; i < 200; i++) {
        world_event(w, "a", UPT_KIND_SURVEY, "nps", 10, at(62));
    }
    struct upt_eval after = world_eval(w, "a");
    assert_true(after.weight_milli[UPT_PART_SENTIMENT] > 0);
    assert_true(after.score_micro > before.score_micro && after.score_micro <= before.score_micro + 5000000);
    world_free(w);
}

/* The most there is of good words, weighed as heavily as the rules allow: still five points. */
static void
words_lift_little_at_any_weight(void **state)
{
    (void)state;
    struct world *w =
        world_new("health: {all: {USAGE: {usage: 400, people: 0, support: 0, sentiment: 600, education: 0, "
                  "outcomes: 0}, ADOPTION: {usage: 400, people: 0, onboarding: 0, support: 0, sentiment: "
                  "600, education: 0, outcomes: 0}, ONBOARDING: {usage: 400, people: 0, onboarding: 0, "
                  "support: 0, sentiment: 600, education: 0, outcomes: 0}}}");
    for (int d = 0; d < 60; d += 5) {
        world_use(w, "a", d, "f", 1);
    }
    world_to(w, 62, 0, 59);
    struct upt_eval before = world_eval(w, "a");
    for (int i = 0; i < 200; i++) {
        world_event(w, "a", UPT_KIND_SURVEY, "nps", 10, at(62));
    }
    struct upt_eval after = world_eval(w, "a");
    assert_true(after.score_micro > before.score_micro + 4900000 && after.score_micro <= before.score_micro + 5000000);
    world_free(w);
}

/* Fewer people than 90 days ago lowers the part; more of them does not raise it. */
static void
fewer_people(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    struct world *w = world_new(NULL);
    for (int d = 0; d < 150; d++) {
        for (int u = 0; u < (d < 100 ? 8 : 2); u++) {
            user_use(w, d, names[u], "f");
        }
    }
    world_to(w, 99, 0, 59);
    world_to(w, 150, 0, 59);
    struct upt_eval eval = world_eval(w, "a");
    double share = eval.value[UPT_PART_PEOPLE]; /* (2 / 2 + 2 / 8) / 2 */
    assert_true(fabs(share - 0.625) < 1e-6);
    assert_int_equal(eval.sub_e5[UPT_PART_PEOPLE], 15625); /* × 2 / 8 */
    world_free(w);
}

static void
by_phase_and_segment(void **state)
{
    (void)state;
    struct world *w = world_new("health: {set_1: {segments: \"smb, startup\", ONBOARDING: {usage: 900, people: 0, "
                                "onboarding: 100, support: 0, sentiment: 0}}}");
    world_profile(w, "a", 0, "onboarding_steps", "x,y,z,w");
    world_event(w, "a", UPT_KIND_ONBOARDING_STEP, "x", 1, at(0));
    for (int d = 0; d < 10; d++) {
        world_use(w, "a", d, "f", 1);
    }
    world_to(w, 10, 0, 59);
    struct upt_eval eval = world_eval(w, "a");
    assert_int_equal(eval.phase, UPT_PHASE_ONBOARDING);
    assert_int_equal(eval.weight_milli[UPT_PART_ONBOARDING], 533); /* 400 of 350 + 400 */
    assert_true(fabs(eval.value[UPT_PART_ONBOARDING] - 0.25) < 1e-6);
    /* 1 of 4 done, 10 of 45 days gone: .25 + .75 · 35 / 45 */
    assert_int_equal(eval.sub_e5[UPT_PART_ONBOARDING], 83333);
    world_profile(w, "a", 10, "segment", "Startup");
    assert_int_equal(world_eval(w, "a").weight_milli[UPT_PART_ONBOARDING], 100);
    world_profile(w, "a", 10, "onboarding_steps", "x");
    eval = world_eval(w, "a");
    assert_true(eval.phase != UPT_PHASE_ONBOARDING && eval.weight_milli[UPT_PART_ONBOARDING] < 100);
    world_profile(w, "a", 10, "segment", "");
    world_profile(w, "a", 10, "plan", "trial");
    assert_int_equal(world_eval(w, "a").weight_milli[UPT_PART_ONBOARDING],
                     466); /* 350 of 400 + 350, what is left goes to parts of use */
    world_profile(w, "a", 10, "plan", "poc");
    assert_int_equal(world_eval(w, "a").weight_milli[UPT_PART_ONBOARDING], 417); /* 250 of 350 + 250 */
    world_free(w);
}

static void
says(struct world *w, const struct upt_eval *eval, int part, const char *want)
{
    char text[120];
    upt_part_say(w->model, eval, part, text, sizeof(text));
    assert_string_equal(text, want);
}

/* As a person counts: percent of shares, uses instead of their logarithm; in the account's own periods what counts
 * them. */
static void
words(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct upt_eval eval = {.has_key = true};
    for (int i = 0; i < UPT_PARTS; i++) {
        char text[120];
        eval.value[i] = 0.25;
        upt_part_say(w->model, &eval, i, text, sizeof(text));
        assert_true(strlen(text) > 10 && strlen(text) < sizeof(text) - 20);
    }
    eval.value[UPT_C_VOLUME_21D] = log(1 + 13);
    says(w, &eval, UPT_C_VOLUME_21D, "Uses of the last weeks, the newest counting most: 13");
    eval.value[UPT_PART_SUPPORT] = 3;
    says(w, &eval, UPT_PART_SUPPORT, "Tickets opened in the last four to five weeks: 3");
    eval.value[UPT_PART_OUTCOMES] = 0.5;
    says(w, &eval, UPT_PART_OUTCOMES, "Goals reached: 50%");
    eval.value[UPT_C_RETURN] = 0.1;
    eval.value[UPT_C_FREQUENCY_10D] = eval.act.decayed_10 = 2.5;
    says(w, &eval, UPT_C_RETURN, "Chance that it uses the product within 10 days: 10%");
    says(w, &eval, UPT_C_FREQUENCY_10D, "Active days of late, the newest counting most: 2.5");
    eval.act.cadence = UPT_WEEKLY;
    says(w, &eval, UPT_C_RETURN, "Chance that it uses the product within 7 days: 10%");
    says(w, &eval, UPT_C_FREQUENCY_10D, "Active days of late, the newest counting most: 2.5");
    eval.value[UPT_C_FREQUENCY_10D] = 9;
    says(w, &eval, UPT_C_FREQUENCY_10D,
         "Active weeks of late, the newest counting most, on the scale of daily use: 9.0");
    eval.act.cadence = UPT_MONTHLY;
    says(w, &eval, UPT_C_RETURN, "Chance that it uses the product within 28 days: 10%");
    says(w, &eval, UPT_C_FREQUENCY_10D,
         "Active periods of four weeks of late, the newest counting most, on the scale of daily use: 9.0");
    world_free(w);
}

/* Signals likewise; every one that is published has its sentence, with the unit in it and the value at its end. */
static void
signals_in_words(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double value;
        const char *text;
    } said[] = {
        {"days_since_contact", 12, "Days since a person was in touch with them: 12"},
        {"onboarding_completion", 0.25, "Steps of onboarding done: 25%"},
        {"onboarding_in_time", 0, "Onboarding was done in time: no"},
        {"onboarding_in_time", 1, "Onboarding was done in time: yes"},
        {"natural_gap_spread", 0, "Factor by which these gaps differ: 1.0"},
        {"usage_trend", -0.2, "Use from one week to the next, over four weeks: -20%"},
        {"users_change_90d", 0.5, "Users, against 90 days ago: +50%"},
    };
    char text[120];
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        assert_true(upt_signal_say(said[i].name, UPT_STR_NULL, said[i].value, text, sizeof(text)));
        assert_string_equal(text, said[i].text);
    }
    assert_false(upt_signal_say("no_such_signal", UPT_STR_NULL, 1, text, sizeof(text)));
    struct world *w = world_new(NULL);
    struct upt_health health;
    world_profile(w, "a", 0, "onboarding_steps", "x,y");
    for (int d = 0; d < 40; d++) {
        world_use(w, "a", d, "f", 2);
    }
    upt_score_explain(w->score, w->st, world_account(w, "a"), &health);
    assert_true(health.components_n > UPT_PARTS + 8);
    for (int i = UPT_PARTS; i < health.components_n; i++) {
        assert_true(upt_signal_say(health.components[i].name.p, health.components[i].unit, health.components[i].value,
                                   text, sizeof(text)));
        assert_null(strchr(text, '_'));
        assert_non_null(strstr(text, ": "));
    }
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(use_alone),
        cmocka_unit_test(missing_is_missing),
        cmocka_unit_test(tickets_lift_nothing),
        cmocka_unit_test(words_lift_little),
        cmocka_unit_test(words_lift_little_at_any_weight),
        cmocka_unit_test(fewer_people),
        cmocka_unit_test(by_phase_and_segment),
        cmocka_unit_test(words),
        cmocka_unit_test(signals_in_words),
    };
    return cmocka_run_group_tests_name("score_parts", tests, NULL, NULL);
}
