/* The churn hazard: what it is made of, what is not known, limits, segments, intervals. That factors and base add up to
 * the log-odds is checked by the harness in every evaluation of every test. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/score/hazard.h"
#include "harness.h"

static void
near(double a, double b)
{
    assert_true(fabs(a - b) < 2e-6);
}

/* Used on days 0, 1 and 4, looked at on the morning of day 7: every feature worked out here. */
static void
features_by_hand(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    const int days[] = {0, 1, 4};
    const int uses[] = {3, 1, 2};
    for (int i = 0; i < 3; i++) {
        world_use(w, "a", days[i], "f", uses[i]);
    }
    world_to(w, 7, 0, 59);
    struct upt_eval eval = world_eval(w, "a");
    double a[3] = {0}, volume[2] = {0};
    const double half[3] = {2, 10, 21};
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 3; k++) {
            a[k] += exp2(-(6 - days[i]) / half[k]);
        }
        volume[0] += uses[i] * exp2(-(6 - days[i]) / 2.0);
        volume[1] += uses[i] * exp2(-(6 - days[i]) / 21.0);
    }
    double m = eval.act.gap_mean, gone_odds;
    upt_bgbb_gone_odds(&w->model->bgbb[UPT_DAILY], &eval.act, &(int){30}, 1, &gone_odds);
    const double want[UPT_R_FITTED] = {
        [UPT_R_GONE_ODDS] = gone_odds,
        [UPT_R_SILENCE] = log1p(2),
        [UPT_R_OWN_SILENCE] = upt_own_silence(&eval.act, 2),
        [UPT_R_SILENCE_X_GAP] = log1p(2) * m,
        [UPT_R_GAP_MEAN] = m,
        [UPT_R_GAP_SPREAD] = eval.act.gap_sd,
        [UPT_R_TENURE_DAYS] = 1.9, /* the limit; log 7 is above it */
        [UPT_R_TENURE_WEEKS] = log(7),
        [UPT_R_ACTIVE_2D] = log(0.1 + a[0]),
        [UPT_R_FREQUENCY] = log(0.1 + a[1]),
        [UPT_R_FREQUENCY_21D] = log(0.1 + a[2]),
        [UPT_R_ACTIVE_WEEKS] = 1,
        [UPT_R_ACTIVE_DAYS] = log(3),
        [UPT_R_VOLUME_2D] = log1p(volume[0]),
        [UPT_R_VOLUME] = log1p(volume[1]),
        [UPT_R_DAY_VOLUME] = log1p(volume[1] / a[2]),
        [UPT_R_BREADTH] = eval.value[UPT_C_BREADTH],
        [UPT_R_SEAT_USE] = w->model->risk[UPT_R_SEAT_USE].mean, /* not known */
    };
    assert_int_equal(eval.act.cadence, UPT_DAILY);
    double logit = w->model->intercept[0];
    for (int i = 0; i < UPT_R_FITTED; i++) {
        near(eval.risk_value[i], want[i]);
        assert_int_equal(eval.risk_known[i], i != UPT_R_SEAT_USE);
        logit += w->model->risk[i].weight * eval.risk_value[i];
    }
    near(eval.logit[0], logit);
    near(eval.risk_micro[0] / 1e6, 1 / (1 + exp(-logit)));
    assert_true(eval.risk_micro[0] <= eval.risk_micro[1] && eval.risk_micro[1] <= eval.risk_micro[2]);
    world_free(w);
}

/* At noon of a day with events that day is the reference; two of the five weeks; both volumes count today. */
static void
today_counts(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_use(w, "a", 0, "f", 3);
    world_use(w, "a", 9, "f", 5);
    struct upt_eval eval = world_eval(w, "a");
    near(eval.risk_value[UPT_R_VOLUME_2D], log1p(5 + 3 * exp2(-4.5)));
    near(eval.risk_value[UPT_R_VOLUME], log1p(5 + 3 * exp2(-9.0 / 21)));
    near(eval.risk_value[UPT_R_ACTIVE_WEEKS], 2);
    near(eval.risk_value[UPT_R_SILENCE], 0);
    /* VALUE events are key events that the state does not count by day: nothing is known of volume_2d. */
    world_event(w, "v", UPT_KIND_VALUE, "goal", 1, (DAY0 + 9) * UPT_DAY_MS + 13 * UPT_HOUR_MS);
    world_to(w, 10, 0, 59);
    assert_false(world_eval(w, "v").risk_known[UPT_R_VOLUME_2D]);
    assert_true(world_eval(w, "v").risk_known[UPT_R_VOLUME]);
    assert_true(world_eval(w, "a").risk_known[UPT_R_VOLUME_2D]);
    /* Nor is it unknown of who has been silent for longer than the state looks back. */
    world_to(w, 60, 0, 59);
    near(world_eval(w, "a").risk_value[UPT_R_VOLUME_2D], 0);
    assert_true(world_eval(w, "a").risk_known[UPT_R_VOLUME_2D]);
    world_free(w);
}

/* One day of use is too little for a band, and enough for a score and a risk with little confidence. */
static void
risk_without_band(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_use(w, "a", 0, "f", 5);
    world_event(w, "b", UPT_KIND_LOGIN, NULL, 1, DAY0 * UPT_DAY_MS + 13 * UPT_HOUR_MS);
    world_to(w, 1, 0, 59);
    struct upt_score_ext *ext = world_ext(w, "a");
    assert_true(ext->score != UPT_NULL_U32 && ext->band == UPT_BAND_UNKNOWN);
    assert_true(ext->risk[0] != UPT_NULL_U32 && ext->risk[2] != UPT_NULL_U32);
    assert_true(ext->confidence > 0 && ext->confidence < 350000);
    struct upt_health health;
    upt_score_explain(w->score, w->st, world_account(w, "a"), &health);
    assert_true(!isnan(health.score));
    assert_int_equal(health.risks_n, 3);
    assert_true(health.risks[0].low < health.risks[0].probability);
    assert_true(health.risks[0].high > health.risks[0].probability);
    struct upt_row row;
    upt_state_row(w->st, world_account(w, "a"), &row);
    assert_true(!isnan(row.health) && !isnan(row.risk[0]));
    /* Logins alone: nothing is known. */
    upt_score_explain(w->score, w->st, world_account(w, "b"), &health);
    assert_int_equal(health.risks_n, 0);
    assert_true(world_ext(w, "b")->risk[0] == UPT_NULL_U32);
    world_free(w);
}

static void
set_segments(struct upt_model *model)
{
    model->segments_n = 3;
    model->segment[0] = (struct upt_segment_shift){"a", -1, 0.1};
    model->segment[1] = (struct upt_segment_shift){"big", 0.7, 0.2};
    model->segment[2] = (struct upt_segment_shift){"c", 1, 0.3};
}

/* A segment of the file shifts every horizon and is known better than one that is not listed. */
static void
segments(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    set_segments(w->model);
    const char *const names[] = {"none", "big", "bigger", "a", "c"};
    struct upt_eval eval[5];
    for (int i = 0; i < 5; i++) {
        if (i > 0) {
            world_profile(w, names[i], 0, "segment", names[i]);
        }
        for (int d = 0; d < 4; d++) {
            world_use(w, names[i], 0, "f", 2);
        }
    }
    world_to(w, 1, 0, 59);
    for (int i = 0; i < 5; i++) {
        eval[i] = world_eval(w, names[i]);
    }
    for (int h = 0; h < 3; h++) {
        near(eval[1].logit[h] - eval[0].logit[h], 0.7);
        near(eval[3].logit[h] - eval[0].logit[h], -1);
        near(eval[4].logit[h] - eval[0].logit[h], 1);
        assert_true(eval[2].risk_micro[h] == eval[0].risk_micro[h]);
        near(eval[0].low_micro[h] / 1e6, 1 / (1 + exp(1.645 * w->model->segment_sd - eval[0].logit[h])));
        near(eval[1].high_micro[h] / 1e6, 1 / (1 + exp(-1.645 * 0.2 - eval[1].logit[h])));
    }
    assert_true(eval[1].risk_known[UPT_R_SEGMENT] && !eval[2].risk_known[UPT_R_SEGMENT]);
    assert_true(upt_hazard_segment(w->model, UPT_STR_NULL) == NULL);
    assert_true(upt_hazard_segment(w->model, UPT_STR("")) == NULL);
    world_free(w);
}

/* Beyond the limits a feature counts as at the limit: silent for 300 or 390 days. */
static void
limits(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d < 30; d++) {
        world_use(w, "a", d, "f", 2000);
    }
    world_to(w, 30, 0, 59);
    struct upt_eval eval = world_eval(w, "a");
    for (int i = 0; i < UPT_R_COUNT; i++) {
        assert_true(eval.risk_value[i] >= w->model->risk[i].least && eval.risk_value[i] <= w->model->risk[i].most);
    }
    near(eval.risk_value[UPT_R_VOLUME], w->model->risk[UPT_R_VOLUME].most);
    double risk = eval.risk_micro[0] / 1e6;
    world_to(w, 60, 0, 59);
    assert_true(world_eval(w, "a").risk_micro[0] / 1e6 > risk);
    world_free(w);
}

/* Seats: users of 30 days over seats. Nothing is known without seats, and that adds nothing. */
static void
seats(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_use(w, "a", 0, "f", 3);
    world_event(w, "a", UPT_KIND_SEATS, NULL, 10, DAY0 * UPT_DAY_MS + 13 * UPT_HOUR_MS);
    world_use(w, "b", 0, "f", 3);
    world_to(w, 1, 0, 59);
    struct upt_eval a = world_eval(w, "a");
    struct upt_eval b = world_eval(w, "b");
    assert_true(a.risk_known[UPT_R_SEAT_USE] && !b.risk_known[UPT_R_SEAT_USE]);
    near(a.risk_value[UPT_R_SEAT_USE], 0);
    assert_true(fabs(b.factor[0][UPT_R_SEAT_USE]) <= 0);
    near(a.logit[0] - b.logit[0], -w->model->risk[UPT_R_SEAT_USE].weight * w->model->risk[UPT_R_SEAT_USE].mean);
    world_free(w);
}

/* The same to the bit after a restart, at any day of a life with gaps, and in the words of every factor. */
static void
restored(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d < 70; d++) {
        if (d % 5 < 3 && d < 50) {
            world_use(w, "a", d, d % 2 == 0 ? "f" : "g", 1 + d % 7);
        }
        world_to(w, d + 1, 0, 59);
        struct upt_eval before = world_eval(w, "a");
        if (d % 9 == 0) {
            world_restart(w);
        }
        struct upt_eval after = world_eval(w, "a");
        assert_memory_equal(before.risk_value, after.risk_value, sizeof(before.risk_value));
        assert_memory_equal(before.risk_micro, after.risk_micro, sizeof(before.risk_micro));
        for (int i = 0; i < UPT_R_COUNT; i++) {
            char text[200] = "";
            upt_hazard_say(w->model, &after, i, text, sizeof(text));
            assert_true(strlen(text) > 10 && text[strlen(text) - 1] == '.');
        }
    }
    world_free(w);
}

/* Who comes every week and who comes every day are safer than their like that stopped. */
static void
regular_and_stopped(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d < 200; d++) {
        if (d % 7 == 2) {
            world_use(w, "payroll", d, "f", 6);
        }
        if (d % 7 < 5) {
            world_use(w, "daily", d, "f", 20);
        }
    }
    world_to(w, 200, 0, 59);
    double payroll = world_eval(w, "payroll").risk_micro[0] / 1e6;
    double daily = world_eval(w, "daily").risk_micro[0] / 1e6;
    print_message("payroll administrator %.3f, daily user %.3f\n", payroll, daily);
    world_to(w, 240, 0, 59);
    assert_true(world_eval(w, "payroll").risk_micro[0] / 1e6 > payroll);
    assert_true(world_eval(w, "daily").risk_micro[0] / 1e6 > daily + 0.3);
    print_message("40 days later %.3f, %.3f\n", world_eval(w, "payroll").risk_micro[0] / 1e6,
                  world_eval(w, "daily").risk_micro[0] / 1e6);
    assert_true(daily < payroll && daily < 0.2);
    world_free(w);
}

/* "3.5", "2 to 1" (3.5, 2), "1 to 40" (1 / 40), "more than 1,000 to 1"; *text moves behind it. */
static double
number_in(const char **text)
{
    const char *at = *text + strcspn(*text, "0123456789");
    char *end = NULL;
    double v = strtod(at, &end);
    if (strncmp(end, ",000", 4) == 0) {
        v *= 1000;
        end += 4;
    }
    if (strncmp(end, " to ", 4) == 0 && strtod(end + 4, &end) > 1) {
        const char *below = strstr(at, " to ") + 4 + strcspn(strstr(at, " to ") + 4, "0123456789");
        v = 1 / (strtod(below, &end) * (strncmp(end, ",000", 4) == 0 ? 1000 : 1));
    }
    *text = end;
    return v;
}

/* The number told of the account and that of the cohort stand to each other as the sign of the factor says: more of
 * what raises the risk. false: the sentence compares nothing. */
static bool
agrees(const struct world *w, const struct upt_eval *eval, int i)
{
    char text[200];
    const char *at = text;
    upt_hazard_say(w->model, eval, i, text, sizeof(text));
    const char *cohort = strstr(text, "(cohort");
    if (!eval->risk_known[i] || cohort == NULL) {
        return false;
    }
    double shown = strncmp(text, "It used the product ", 20) == 0 ? 0 : number_in(&at);
    double mean = number_in(&cohort);
    double more = (shown - mean) * (i == UPT_R_OWN_SILENCE ? -1 : 1); /* fewer longer gaps: more silence */
    double rises = eval->factor[0][i] * (w->model->risk[i].weight > 0 ? 1 : -1);
    if (more * rises < 0) {
        fail_msg("%s %+.3f: %s", upt_risk_names[i], eval->factor[0][i], text);
    }
    return true;
}

/* Accounts of every cadence, coming and gone, of few uses and many: sentence and sign agree. */
static void
words_agree(void **state)
{
    (void)state;
    static const int every[] = {1, 7, 28, 3, 14, 30};
    struct world *w = world_new(NULL);
    int compared[UPT_CADENCES] = {0};
    for (int day = 0; day < 300; day++) {
        for (int a = 0; a < 18; a++) {
            char account[16];
            (void)snprintf(account, sizeof(account), "a%d", a);
            if (day % every[a % 6] == 0 && day < 200 + 20 * (a % 5)) {
                world_use(w, account, day, day % 2 == 0 ? "f" : "g", a < 6 ? 1 : a < 12 ? 20 : 900);
            }
        }
        for (int a = 0; day % 9 == 5 && day > 30 && a < 18; a++) {
            char account[16];
            (void)snprintf(account, sizeof(account), "a%d", a);
            struct upt_eval eval = world_eval(w, account);
            for (int i = 0; i < UPT_R_COUNT; i++) {
                compared[eval.act.cadence] += agrees(w, &eval, i);
            }
        }
    }
    assert_true(compared[UPT_DAILY] > 1000 && compared[UPT_WEEKLY] > 1000 && compared[UPT_MONTHLY] > 1000);
    world_free(w);
}

/* What is told is what was seen, also beyond the limits of the model, and in the periods that count. */
static void
words_by_hand(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    char text[200];
    for (int d = 0; d < 224; d++) {
        world_use(w, "daily", d, "f", 100);
        if (d % 28 == 0) {
            world_use(w, "monthly", d, "f", 7);
        }
    }
    world_to(w, 224, 1, 0);
    struct upt_eval daily = world_eval(w, "daily");
    struct upt_eval monthly = world_eval(w, "monthly");
    static const struct {
        bool months;
        int factor;
        const char *text;
    } want[] = {
        {false, UPT_R_SILENCE, "It used the product yesterday (cohort: not for 6.9 days)."},
        {false, UPT_R_GAP_MEAN, "It typically comes every 1.0 days (cohort 2.3)."},
        {false, UPT_R_ACTIVE_WEEKS, "It was active in 5 of the last 5 weeks (cohort 1.4)."},
        {false, UPT_R_VOLUME, "Its uses of the last weeks, the newest counting most, come to 3078 (cohort 11)."},
        {true, UPT_R_SILENCE, "It used the product in its last period of four weeks (cohort: not for 6.9 days)."},
        {true, UPT_R_GAP_MEAN, "It typically comes every 0.7 periods of four weeks (cohort 2.3 days)."},
        {true, UPT_R_ACTIVE_WEEKS, "It was active in 5 of its last 5 periods of four weeks (cohort 1.4 weeks)."},
        {false, UPT_R_TENURE_WEEKS, "It has been there for 224 days (cohort 13.7)."},
        {true, UPT_R_TENURE_WEEKS, "It has been there for 8 periods of four weeks (cohort 13.7 days)."},
        {true, UPT_R_ACTIVE_DAYS, "It was active in 8 periods of four weeks (cohort: on 1.6 days)."},
    };
    assert_int_equal(monthly.act.cadence, UPT_MONTHLY);
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        upt_hazard_say(w->model, want[i].months ? &monthly : &daily, want[i].factor, text, sizeof(text));
        assert_string_equal(text, want[i].text);
    }
    world_to(w, 300, 1, 0);
    daily = world_eval(w, "daily");
    upt_hazard_say(w->model, &daily, UPT_R_GONE_ODDS, text, sizeof(text));
    assert_string_equal(text, "By its record of daily activity alone the odds are more than 1,000 to 1 that it is gone "
                              "within 30 days (cohort 2.1 to 1).");
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_by_hand),
        cmocka_unit_test(today_counts),
        cmocka_unit_test(risk_without_band),
        cmocka_unit_test(segments),
        cmocka_unit_test(limits),
        cmocka_unit_test(seats),
        cmocka_unit_test(restored),
        cmocka_unit_test(regular_and_stopped),
        cmocka_unit_test(words_agree),
        cmocka_unit_test(words_by_hand),
    };
    return cmocka_run_group_tests_name("score_hazard", tests, NULL, NULL);
}
