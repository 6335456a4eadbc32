/* The bitmap, own cadence, gaps, frequency, and the minute at which silence becomes an alarm. */
#include "harness.h"

static struct upt_model *model;

static int
setup(void **state)
{
    (void)state;
    struct upt_error err;
    return upt_model_load(NULL, &model, &err) == UPT_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    upt_model_destroy(&model);
    return 0;
}

static struct upt_activity
every(int gap, int times, int silent)
{
    struct upt_score_ext ext;
    struct upt_activity act;
    upt_ext_init(&ext);
    for (int i = 0; i < times; i++) {
        (void)upt_activity_mark(&ext, DAY0 + i * gap);
    }
    upt_activity_read(model, &ext, DAY0 + (times - 1) * gap + silent + 1, &act);
    return act;
}

static void
bitmap(void **state)
{
    (void)state;
    struct upt_score_ext ext;
    upt_ext_init(&ext);
    assert_true(upt_activity_mark(&ext, 1000));
    assert_false(upt_activity_mark(&ext, 1000));
    assert_true(upt_activity_mark(&ext, 970)); /* late */
    assert_int_equal(ext.first_day, 970);
    assert_true(upt_activity_mark(&ext, 1255)); /* 1000 is 255 days back: kept; 970 is not */
    assert_true(upt_activity_on(&ext, 1000) && !upt_activity_on(&ext, 970) && !upt_activity_on(&ext, 1256));
    assert_false(upt_activity_mark(&ext, 999));
    assert_true(upt_activity_mark(&ext, 1256)); /* takes the bit of 1000 */
    assert_true(!upt_activity_on(&ext, 1000) && upt_activity_on(&ext, 1255) && upt_activity_on(&ext, 1256));
    assert_true(upt_activity_mark(&ext, 9999));
    for (int d = 9744; d < 9999; d++) {
        assert_false(upt_activity_on(&ext, d));
    }
}

/* Any order of arrival gives the same numbers. */
static void
order_free(void **state)
{
    (void)state;
    static const int days[] = {0, 3, 4, 9, 17, 18, 26, 29};
    static const int orders[3][8] = {{0, 1, 2, 3, 4, 5, 6, 7}, {7, 6, 5, 4, 3, 2, 1, 0}, {4, 0, 7, 2, 6, 1, 5, 3}};
    struct upt_activity got[3];
    for (int k = 0; k < 3; k++) {
        struct upt_score_ext ext;
        upt_ext_init(&ext);
        for (int i = 0; i < 8; i++) {
            (void)upt_activity_mark(&ext, DAY0 + days[orders[k][i]]);
        }
        upt_activity_read(model, &ext, DAY0 + 40, &got[k]);
    }
    assert_memory_equal(&got[0], &got[1], sizeof(got[0]));
    assert_memory_equal(&got[0], &got[2], sizeof(got[0]));
    assert_int_equal(got[0].days_n, 8);
    assert_int_equal(got[0].day, DAY0 + 39); /* day 40 is not over */
    assert_int_equal(got[0].cadence, UPT_WEEKLY);
    assert_int_equal(got[0].x, 4); /* weeks 0 (three days), 1, 2 (two), 3, 4 */
    assert_int_equal(got[0].tx, 4);
    assert_int_equal(got[0].n, 4); /* the sixth week is not over */
}

static void
cadence(void **state)
{
    (void)state;
    assert_int_equal(every(1, 30, 0).cadence, UPT_DAILY);
    assert_int_equal(every(7, 8, 0).cadence, UPT_WEEKLY);
    assert_int_equal(every(7, 8, 60).cadence, UPT_WEEKLY); /* silence does not change what it was */
    assert_int_equal(every(7, 3, 0).cadence, UPT_WEEKLY);
    assert_int_equal(every(7, 2, 0).cadence, UPT_DAILY); /* not known yet */
    assert_int_equal(every(30, 7, 0).cadence, UPT_MONTHLY);
    struct upt_activity weekly = every(7, 8, 3);
    assert_int_equal(weekly.x, 7);
    assert_int_equal(weekly.tx, 7);
    assert_int_equal(weekly.n, 7); /* the running week is not over */
    assert_int_equal(every(7, 8, 14).n, 8);
    /* Monday to Friday is daily. DAY0 is a Wednesday. */
    struct upt_score_ext ext;
    struct upt_activity act;
    upt_ext_init(&ext);
    for (int d = 0; d < 30; d++) {
        if ((d + 2) % 7 < 5) {
            (void)upt_activity_mark(&ext, DAY0 + d);
        }
    }
    upt_activity_read(model, &ext, DAY0 + 30, &act);
    assert_int_equal(act.cadence, UPT_DAILY);
}

static void
gaps_and_frequency_by_hand(void **state)
{
    (void)state;
    struct upt_score_ext ext;
    struct upt_activity act;
    upt_ext_init(&ext);
    (void)upt_activity_mark(&ext, DAY0);
    (void)upt_activity_mark(&ext, DAY0 + 2);
    (void)upt_activity_mark(&ext, DAY0 + 6);
    upt_activity_read(model, &ext, DAY0 + 9, &act); /* reference: day 8 */
    double d = model->silence.gap_decay;
    double k = model->silence.gap_weight;
    double w = 1 * d + 1;
    double sum = log(2) * d + log(4);
    double m = (sum + k * model->silence.gap_mean) / (w + k);
    double v = (d * pow(log(2) - m, 2) + pow(log(4) - m, 2) + k * model->silence.gap_variance) / (w + k);
    assert_true(fabs(act.gap_mean - m) < 1e-6);
    assert_true(fabs(act.gap_sd - sqrt(v)) < 1e-6);
    assert_true(fabs(act.gap_own - exp(sum / w)) < 1e-6);
    assert_true(fabs(act.frequency_10 - (exp2(-0.2) + exp2(-0.6) + exp2(-0.8))) < 1e-6);
    assert_true(fabs(act.frequency_21 - (exp2(-2.0 / 21) + exp2(-6.0 / 21) + exp2(-8.0 / 21))) < 1e-6);
    /* log-logistic: at the typical gap log 2, and 99% of gaps below p99 */
    assert_true(fabs(upt_own_silence(&act, exp(act.gap_mean)) - log(2)) < 1e-9);
    assert_true(fabs(upt_own_silence(&act, upt_gap_p99(&act)) - log(100)) < 1e-4);
}

/* A regular weekly account: each week counts as scale_weekly days, one day late is not late. */
static void
weekly_frequency(void **state)
{
    (void)state;
    struct upt_activity act = every(7, 4, 7);
    double weeks = 1 + exp2(-0.7) + exp2(-1.4) + exp2(-2.1) + exp2(-2.8); /* ages 7, 14, 21, 28; the last by slack */
    assert_true(fabs(act.frequency_10 - model->scale[UPT_WEEKLY] * weeks) < 1e-6);
    assert_true(every(7, 4, 8).frequency_10 < act.frequency_10 - 1);
}

static void
silence_deadline(void **state)
{
    (void)state;
    const struct upt_activity acts[] = {every(1, 40, 0), every(7, 20, 0), every(30, 6, 0), every(3, 10, 0)};
    for (size_t i = 0; i < 4; i++) {
        double before = 0;
        for (int64_t minutes = 1; minutes < 400 * 1440; minutes = minutes * 11 / 10 + 1) {
            double p = upt_silence_risk(model, &acts[i], minutes);
            assert_true(p >= before);
            before = p;
        }
        int64_t previous = 0;
        const double levels[] = {0.2, 0.4, 0.5};
        for (int k = 0; k < 3; k++) {
            int64_t at = upt_silence_minutes(model, &acts[i], levels[k]);
            assert_true(at >= previous);
            assert_true(upt_silence_risk(model, &acts[i], at) >= levels[k]);
            bool floor_binds = at == (int64_t)ceil(upt_round6(acts[i].gap_own * model->silence.gaps_least * 1440));
            assert_true(floor_binds || upt_silence_risk(model, &acts[i], at - 1) < levels[k]);
            previous = at;
        }
    }
    int64_t daily = upt_silence_minutes(model, &acts[0], 0.2);
    int64_t weekly = upt_silence_minutes(model, &acts[1], 0.2);
    int64_t monthly = upt_silence_minutes(model, &acts[2], 0.2);
    assert_in_range(daily, 2 * 1440, 5 * 1440);
    assert_in_range(weekly, 9 * 1440, 21 * 1440);
    assert_true(monthly > 36 * 1440);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bitmap),           cmocka_unit_test(order_free),
        cmocka_unit_test(cadence),          cmocka_unit_test(gaps_and_frequency_by_hand),
        cmocka_unit_test(weekly_frequency), cmocka_unit_test(silence_deadline),
    };
    return cmocka_run_group_tests_name("score_activity", tests, setup, teardown);
}
