/* The score by hand, missing parts, confidence, bands, history. The harness checks the sums in every evaluation. */
#include "harness.h"

/* One account, three days of use of one feature, evaluated on the morning after: every number worked out here. */
static void
score_by_hand(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d < 3; d++) {
        world_use(w, "a", d, "f", 2);
    }
    world_to(w, 3, 0, 59);
    struct upt_eval eval = world_eval(w, "a");
    double a10 = 1 + exp2(-0.1) + exp2(-0.2);
    double a21 = 1 + exp2(-1.0 / 21) + exp2(-2.0 / 21);
    double use = a21 * (1 - exp2(-1.0 / 21));
    assert_true(fabs(eval.value[UPT_C_FREQUENCY_10D] - a10) < 1e-6);
    assert_true(fabs(eval.value[UPT_C_FREQUENCY_21D] - a21) < 1e-6);
    assert_true(fabs(eval.value[UPT_C_VOLUME_21D] - log1p(2 * a21)) < 1e-6);
    assert_true(fabs(eval.value[UPT_C_BREADTH] - (1 + use / 2)) < 1e-6);
    assert_true(fabs(eval.value[UPT_C_FEATURES_EVER] - 1) < 1e-9);
    struct upt_activity act = {.x = 2, .tx = 2, .n = 2};
    double none = upt_bgbb_none(&w->model->bgbb[UPT_DAILY], &act, 10);
    assert_true(fabs(eval.value[UPT_C_RETURN] - (1 - none)) < 2e-6);
    double score = 0;
    static const double weight[UPT_C_COUNT] = {0.2, 0.1, 0.2, 0.15, 0.05, 0.3};
    for (int i = 0; i < UPT_C_COUNT; i++) {
        double share = i < UPT_C_PEERS ? upt_percentile(w->model, i, eval.value[i]) : eval.value[i];
        assert_true(fabs(eval.sub_e5[i] / 1e5 - share) <= 0.5e-5 + 1e-9);
        score += weight[i] * share * 100;
    }
    assert_true(fabs((double)eval.score_micro / 1e6 - score) < 1e-3);
    assert_true(fabs(eval.confidence_micro / 1e6 - 3.0 / 7) < 1e-6); /* three days known */
    assert_true(eval.has_score);
    assert_true(fabs(w->health.score - (double)eval.score_micro / 1e6) < 1e-9);
    assert_int_equal(w->health.as_of % UPT_MINUTE_MS, 0);
    assert_int_equal(w->health.risks_n, 3);
    world_free(w);
}

/* No feature named: two parts are missing, their weight goes to the others in proportion, and it is no zero. */
static void
missing_parts(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d < 6; d++) {
        world_event(w, "a", UPT_KIND_VALUE, "goal", 1, (DAY0 + d) * UPT_DAY_MS + UPT_HOUR_MS * 12);
        world_use(w, "b", d, "f", 1);
    }
    world_to(w, 6, 0, 59);
    struct upt_eval a = world_eval(w, "a");
    assert_true(isnan(a.value[UPT_C_BREADTH]) && isnan(a.value[UPT_C_FEATURES_EVER]));
    /* .2 .1 .2 .3 of .8: 250, 125, 250, 375 thousandths */
    assert_int_equal(a.weight_milli[UPT_C_FREQUENCY_10D], 250);
    assert_int_equal(a.weight_milli[UPT_C_FREQUENCY_21D], 125);
    assert_int_equal(a.weight_milli[UPT_C_VOLUME_21D], 250);
    assert_int_equal(a.weight_milli[UPT_C_RETURN], 375);
    assert_int_equal(a.weight_milli[UPT_C_BREADTH], 0);
    assert_true(fabs(a.confidence_micro / 1e6 - 0.8 * 6 / 10) < 1e-6);
    assert_true(fabs(a.factor[0][UPT_R_BREADTH]) < 1e-12); /* the cohort's mean */
    struct upt_eval b = world_eval(w, "b");
    assert_int_equal(b.weight_milli[UPT_C_BREADTH], 150);
    assert_true(a.score_micro > b.score_micro); /* one feature is worse than not knowing */
    world_free(w);
}

/* Thousandths that rounding leaves over go to the largest remainders: 201 100 200 300 of 801 are 250.9 124.8 249.7
 * 374.5. */
static void
weights_add_up(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    static const int32_t weights[UPT_C_COUNT] = {201, 100, 200, 150, 49, 300};
    memcpy(w->model->weight_milli, weights, sizeof(weights));
    world_event(w, "a", UPT_KIND_VALUE, "goal", 1, DAY0 * UPT_DAY_MS);
    struct upt_eval eval = world_eval(w, "a");
    static const int32_t want[UPT_C_COUNT] = {251, 125, 250, 0, 0, 374};
    assert_memory_equal(eval.weight_milli, want, sizeof(want));
    world_free(w);
}

/* Logins are no use: nothing is known, the score is null and the band UNKNOWN, never 0. */
static void
unknown(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d < 20; d++) {
        world_event(w, "a", UPT_KIND_LOGIN, NULL, 1, (DAY0 + d) * UPT_DAY_MS);
    }
    world_to(w, 20, 0, 59);
    struct upt_score_ext *ext = world_ext(w, "a");
    assert_true(ext->evaluated && ext->score == UPT_NULL_U32 && ext->risk[0] == UPT_NULL_U32);
    assert_int_equal(ext->band, UPT_BAND_UNKNOWN);
    assert_int_equal(w->health_n, 1); /* the first evaluation tells, then nothing changes */
    assert_true(isnan(w->health.score) && w->health.risks_n == 0);
    assert_int_equal(w->alerts_n, 0);
    /* The first two days of use are too few for a band, not for a score with little confidence. */
    world_use(w, "b", 21, "f", 5);
    world_to(w, 22, 0, 59);
    assert_true(world_ext(w, "b")->score != UPT_NULL_U32);
    assert_true(world_ext(w, "b")->confidence < 350000);
    assert_int_equal(world_ext(w, "b")->band, UPT_BAND_UNKNOWN);
    world_to(w, 24, 0, 59);
    assert_true(world_ext(w, "b")->confidence >= 350000);
    assert_true(world_ext(w, "b")->band != UPT_BAND_UNKNOWN);
    world_free(w);
}

static void
feed(const struct upt_model *model, struct upt_score_ext *ext, int day, double score)
{
    struct upt_eval eval = {
        .today = day, .has_score = score >= 0, .confident = score >= 0, .score_micro = (int64_t)(score * 1e6)};
    upt_history_put(ext, &eval);
    ext->evaluated = true;
    ext->evaluated_day = day;
    upt_band_step(model, ext, &eval);
}

static void
band_hysteresis(void **state)
{
    (void)state;
    struct upt_error err;
    struct upt_model *model = NULL;
    assert_int_equal(upt_model_load(NULL, &model, &err), UPT_OK);
    struct upt_score_ext ext;
    upt_ext_init(&ext);
    feed(model, &ext, 0, 71);
    assert_int_equal(ext.band, UPT_BAND_HEALTHY);
    for (int d = 1; d < 40; d++) { /* flaps around the edge within the margin */
        feed(model, &ext, d, d % 2 == 0 ? 74.9 : 65);
        assert_int_equal(ext.band, UPT_BAND_HEALTHY);
    }
    for (int d = 40; d < 60; d++) { /* beyond it, but never twice in a row */
        feed(model, &ext, d, d % 2 == 0 ? 64 : 66);
        assert_int_equal(ext.band, UPT_BAND_HEALTHY);
    }
    feed(model, &ext, 60, 64.9);
    assert_int_equal(ext.band, UPT_BAND_HEALTHY);
    feed(model, &ext, 61, 64.9);
    assert_int_equal(ext.band, UPT_BAND_WATCH);
    feed(model, &ext, 62, 20); /* three days after the last change, not before */
    feed(model, &ext, 63, 20);
    assert_int_equal(ext.band, UPT_BAND_WATCH);
    feed(model, &ext, 64, 20);
    assert_int_equal(ext.band, UPT_BAND_CRITICAL); /* straight to where the score is */
    for (int d = 65; d < 70; d++) {
        feed(model, &ext, d, 34.9);
        assert_int_equal(ext.band, UPT_BAND_CRITICAL);
    }
    feed(model, &ext, 70, 35);
    feed(model, &ext, 71, 35);
    assert_int_equal(ext.band, UPT_BAND_AT_RISK);
    feed(model, &ext, 72, -1);
    assert_int_equal(ext.band, UPT_BAND_UNKNOWN);
    feed(model, &ext, 73, 80);
    assert_int_equal(ext.band, UPT_BAND_HEALTHY);
    upt_model_destroy(&model);
}

static void
history(void **state)
{
    (void)state;
    struct upt_error err;
    struct upt_model *model = NULL;
    assert_int_equal(upt_model_load(NULL, &model, &err), UPT_OK);
    struct upt_score_ext ext;
    upt_ext_init(&ext);
    for (int d = 0; d <= 5; d++) {
        feed(model, &ext, d, 10 + d);
    }
    assert_true(isnan(upt_history_slope(&ext, 5)) && isnan(upt_history_ago(&ext, 5, 7)));
    for (int d = 6; d <= 40; d++) {
        feed(model, &ext, d, 10 + d);
    }
    assert_true(fabs(upt_history_ago(&ext, 40, 7) - 43) < 1e-9);
    assert_true(fabs(upt_history_ago(&ext, 40, 28) - 22) < 1e-9);
    assert_true(isnan(upt_history_ago(&ext, 40, 29)));
    assert_true(fabs(upt_history_slope(&ext, 40) - 7) < 1e-9); /* a point a day */
    assert_true(fabs(upt_history_mean(&ext, 40) - (22 + 49) / 2.0) < 1e-9);
    feed(model, &ext, 43, 20.004); /* two days without an evaluation; hundredths */
    assert_true(isnan(upt_history_ago(&ext, 43, 1)) && fabs(upt_history_ago(&ext, 43, 3) - 50) < 1e-9);
    assert_true(fabs(upt_history_ago(&ext, 43, 0) - 20) < 1e-9);
    feed(model, &ext, 100, 1);
    assert_true(isnan(upt_history_ago(&ext, 100, 28)) && isnan(upt_history_slope(&ext, 100)));
    upt_model_destroy(&model);
}

/* Heavy until the last day, against less use spread evenly: volume alone does not buy the better score. */
static void
heavy_until_the_end(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d < 60; d++) {
        world_use(w, "steady", d, "f", 4);
        world_use(w, "steady", d, "g", 4);
        if (d < 2 || d > 57) {
            world_use(w, "burst", d, "f", d > 57 ? 150 : 4);
            world_use(w, "burst", d, "g", d > 57 ? 150 : 4);
        }
    }
    world_to(w, 60, 0, 59);
    struct upt_eval steady = world_eval(w, "steady");
    struct upt_eval burst = world_eval(w, "burst");
    assert_true(burst.volume > steady.volume);
    assert_true(burst.score_micro + 15000000 < steady.score_micro);
    assert_true(burst.risk_micro[0] > steady.risk_micro[0]);
    /* Then both stop: the score falls day by day. */
    int64_t before = steady.score_micro;
    for (int d = 61; d < 90; d++) {
        world_to(w, d, 0, 59);
        struct upt_eval now = world_eval(w, "steady");
        assert_true(now.score_micro <= before);
        before = now.score_micro;
    }
    assert_in_range(world_ext(w, "steady")->band, UPT_BAND_CRITICAL, UPT_BAND_AT_RISK);
    world_free(w);
}

/* Written when something moved by its step, and only then; rows show the last evaluation. */
static void
publishing(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", "publish: {score: 100, risk: 1}");
    for (int d = 0; d < 100; d++) {
        world_use(w, "a", d, "f", 3);
        world_to(w, d + 1, 0, 59);
    }
    int n = w->health_n;
    struct upt_row row;
    upt_state_row(w->st, world_account(w, "a"), &row);
    assert_true(row.has_scores && row.scores_changed && row.open_alerts == 0);
    assert_true(fabs(row.health - world_ext(w, "a")->score / 1e6) < 1e-9);
    upt_state_row(w->st, world_account(w, "a"), &row);
    assert_false(row.scores_changed);
    assert_in_range(n, 2, 8); /* bands and phases only */
    world_free(w);
    w = world_new("publish: {score: 0, risk: 0}");
    for (int d = 0; d < 100; d++) {
        world_use(w, "a", d, "f", 3);
        world_to(w, d + 1, 0, 59);
    }
    assert_true(w->health_n > 90);
    world_free(w);
}

static void
explained(void **state)
{
    (void)state;
    struct world *w = world_new("publish: {score: 0, risk: 0}");
    for (int d = 0; d < 40; d++) {
        world_use(w, "a", d, "f", 3);
        world_to(w, d + 1, 0, 59);
    }
    struct upt_health health;
    upt_score_explain(w->score, w->st, world_account(w, "a"), &health);
    assert_true(fabs(health.score - w->health.score) < 1e-9);
    assert_int_equal(health.band, w->health.band);
    assert_true(fabs(health.score_28d_ago - w->health.score_28d_ago) < 1e-9);
    assert_true(fabs(health.slope_per_week - w->health.slope_per_week) < 1e-9);
    assert_true(upt_str_eq(health.config_hash, UPT_STR("00112233aabbccdd")));
    assert_int_equal(health.partition, 3);
    assert_true(health.components_n > UPT_PARTS && health.components_n <= UPT_COMPONENTS_MAX);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(score_by_hand),       cmocka_unit_test(missing_parts),
        cmocka_unit_test(weights_add_up),      cmocka_unit_test(unknown),
        cmocka_unit_test(band_hysteresis),     cmocka_unit_test(history),
        cmocka_unit_test(heavy_until_the_end), cmocka_unit_test(publishing),
        cmocka_unit_test(explained),
    };
    return cmocka_run_group_tests_name("score_health", tests, NULL, NULL);
}
