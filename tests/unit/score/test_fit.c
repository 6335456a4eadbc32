/* The fit: coefficients that are known are found again, signs hold, segments shrink, figures by hand, the file. */
#include <stdlib.h>
#include <unistd.h>

#include "aggregate/score/fit.h"
#include "harness.h"

#define N 40000

static uint64_t seed;

static double
chance(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(seed >> 11) / 9007199254740992.0;
}

static const double truth_weight[3] = {0.8, -0.6, 0.9}; /* silence, volume, and one whose sign is forbidden */
static const int truth_feature[3] = {UPT_R_SILENCE, UPT_R_VOLUME, UPT_R_BREADTH};
static const double truth_shift[4] = {0.6, -0.6, 0.2, -0.2};

/* Samples of accounts in 4 segments whose outcome follows a logistic model; of other features nothing varies. */
static struct upt_fit_sample *
simulate(size_t n, double forbidden)
{
    struct upt_fit_sample *v = calloc(n, sizeof(*v));
    assert_non_null(v);
    seed = 7;
    for (size_t i = 0; i < n; i++) {
        double logit = 0.3;
        for (int k = 0; k < UPT_R_FITTED; k++) {
            v[i].x[k] = 1;
        }
        for (int k = 0; k < 3; k++) {
            double x = chance() * 4;
            v[i].x[truth_feature[k]] = (float)x;
            logit += (k == 2 ? forbidden : truth_weight[k]) * (x - 2);
        }
        v[i].segment = (uint16_t)(i % 4);
        logit += truth_shift[i % 4];
        v[i].account = (uint32_t)i;
        v[i].weight = 1;
        v[i].outcome[0] = chance() < 1 / (1 + exp(-logit)) ? UPT_LEFT : UPT_STAYED;
        v[i].outcome[1] = chance() < 1 / (1 + exp(-logit - 0.5)) ? UPT_LEFT : UPT_STAYED;
        v[i].outcome[2] = UPT_UNKNOWN;
    }
    return v;
}

static const char names[4][UPT_MODEL_NAME_MAX + 1] = {"a", "b", "c", "d"};

static struct upt_model *
base(void)
{
    struct upt_error err = {0};
    struct upt_model *model = NULL;
    assert_int_equal(upt_model_load(NULL, &model, &err), UPT_OK);
    return model;
}

static struct upt_fit_options
options(void)
{
    return (struct upt_fit_options){.ridge = 1e-6, .segments_least = 30, .version = "test"};
}

static void
found_again(void **state)
{
    (void)state;
    struct upt_fit_sample *v = simulate(N, 0);
    struct upt_model *model = base();
    struct upt_fit_options o = options();
    struct upt_error err = {0};
    double kept = model->risk[UPT_R_GAP_MEAN].weight;
    assert_int_equal(upt_fit(v, N, NULL, names, 4, &o, model, &err), UPT_OK);
    assert_true(fabs(model->risk[UPT_R_SILENCE].weight - 0.8) < 0.06);
    assert_true(fabs(model->risk[UPT_R_VOLUME].weight + 0.6) < 0.06);
    assert_true(fabs(model->risk[UPT_R_BREADTH].weight) < 0.03);
    assert_true(fabs(model->risk[UPT_R_GAP_MEAN].weight - kept) <= 0); /* does not vary */
    assert_true(fabs(model->intercept[1] - model->intercept[0] - 0.5) < 0.06);
    assert_true(fabs(model->intercept[2] - model->intercept[1]) <= 0); /* nothing known of it */
    assert_int_equal(model->segments_n, 4);
    for (int i = 0; i < 4; i++) {
        assert_true(fabs(model->segment[i].shift - truth_shift[i]) < 0.1);
        assert_true(model->segment[i].sd > 0.01 && model->segment[i].sd < 0.05);
    }
    assert_true(model->segment_sd > 0.3 && model->segment_sd < 0.6);
    double predicted = 0;
    double left = 0;
    for (size_t i = 0; i < N; i++) {
        predicted += 1 / (1 + exp(-upt_fit_logit(model, &v[i], 0, NULL)));
        left += v[i].outcome[0] == UPT_LEFT ? 1 : 0;
    }
    assert_true(fabs(predicted - left) / N < 1e-3);
    assert_string_equal(model->version, "test");
    upt_model_destroy(&model);
    free(v);
}

/* More breadth raises the risk in this data: the file does not allow that, so it has no say; weights to be kept are. */
static void
signs_and_kept(void **state)
{
    (void)state;
    struct upt_fit_sample *v = simulate(N, truth_weight[2]);
    struct upt_model *model = base();
    struct upt_fit_options o = options();
    struct upt_error err = {0};
    o.keep[UPT_R_SILENCE] = true;
    for (size_t i = 0; i < N; i++) {
        v[i].x[UPT_R_SEAT_USE] = NAN;
    }
    model->risk[UPT_R_SILENCE].weight = 0.25;
    assert_int_equal(upt_fit(v, N, NULL, names, 4, &o, model, &err), UPT_OK);
    assert_true(fabs(model->risk[UPT_R_BREADTH].weight) <= 0);
    assert_true(fabs(model->risk[UPT_R_SILENCE].weight - 0.25) <= 0);
    assert_int_equal(model->risk[UPT_R_SILENCE].origin, UPT_GIVEN);
    assert_int_equal(model->risk[UPT_R_VOLUME].origin, UPT_FITTED);
    assert_int_equal(model->risk[UPT_R_BREADTH].origin, UPT_FITTED); /* the data spoke, and was not believed */
    assert_int_equal(model->risk[UPT_R_GAP_MEAN].origin, UPT_GIVEN); /* does not vary */
    assert_int_equal(model->risk[UPT_R_SEAT_USE].origin, UPT_UNSEEN);
    assert_true(fabs(model->risk[UPT_R_SEAT_USE].mean - 0.5) <= 0); /* the base's */
    assert_true(model->risk[UPT_R_VOLUME].weight < -0.4);
    upt_model_destroy(&model);
    free(v);
}

/* A feature of which little makes much: its weight stays at the largest that the file has, and the others are fitted
 * beside that. */
static void
weight_at_its_limit(void **state)
{
    (void)state;
    struct upt_fit_sample *v = simulate(N, 0);
    struct upt_model *model = base();
    struct upt_fit_options o = options();
    struct upt_error err = {0};
    for (size_t i = 0; i < N; i++) {
        v[i].x[UPT_R_VOLUME] /= 20; /* a weight of -12 */
    }
    assert_int_equal(upt_fit(v, N, NULL, names, 4, &o, model, &err), UPT_OK);
    assert_true(fabs(model->risk[UPT_R_VOLUME].weight + 10) <= 0);
    assert_true(fabs(model->risk[UPT_R_SILENCE].weight - 0.8) < 0.06);
    double predicted = 0;
    double left = 0;
    for (size_t i = 0; i < N; i++) {
        predicted += 1 / (1 + exp(-upt_fit_logit(model, &v[i], 0, NULL)));
        left += v[i].outcome[0] == UPT_LEFT ? 1 : 0;
    }
    assert_true(fabs(predicted - left) / N < 1e-3);
    upt_model_destroy(&model);
    free(v);
}

/* A segment of few accounts is drawn to 0, one below the least is not listed, samples of one account count as one. */
static void
shrinkage(void **state)
{
    (void)state;
    size_t n = 8000;
    struct upt_fit_sample *v = simulate(n, 0);
    struct upt_model *model = base();
    struct upt_fit_options o = options();
    struct upt_error err = {0};
    double sd[2];
    for (size_t i = 0; i < n; i++) {
        v[i].segment = (uint16_t)(i < 40 ? 2 : i < 60 ? 3 : i % 2);
        v[i].outcome[0] = i < 60 ? UPT_LEFT : v[i].outcome[0];
    }
    assert_int_equal(upt_fit(v, n, NULL, names, 4, &o, model, &err), UPT_OK);
    assert_int_equal(model->segments_n, 3);
    assert_string_equal(model->segment[2].name, "c");
    /* All 40 left: without the prior it would go without end. */
    assert_true(model->segment[2].shift > 0 && model->segment[2].shift < 8 &&
                model->segment[2].sd > 3 * model->segment[0].sd);
    sd[0] = model->segment[0].sd;
    for (size_t i = 0; i < n; i++) {
        v[i].account = (uint32_t)(i < 60 ? i : 60 + (i - 60) / 8); /* eight samples an account */
    }
    assert_int_equal(upt_fit(v, n, NULL, names, 4, &o, model, &err), UPT_OK);
    sd[1] = model->segment[0].sd;
    assert_true(sd[1] > 1.5 * sd[0]);
    upt_model_destroy(&model);
    free(v);
}

static void
refused(void **state)
{
    (void)state;
    struct upt_fit_sample *v = simulate(500, 0);
    struct upt_model *model = base();
    struct upt_fit_options o = options();
    struct upt_error err = {0};
    for (size_t i = 0; i < 500; i++) {
        v[i].outcome[0] = i < 19 ? UPT_LEFT : UPT_STAYED;
    }
    assert_int_equal(upt_fit(v, 500, NULL, names, 4, &o, model, &err), UPT_EDATA);
    assert_non_null(strstr(err.msg, "481 samples of accounts that stayed and 19 of accounts that left"));
    uint8_t use[500] = {0};
    assert_int_equal(upt_fit(v, 500, use, names, 4, &o, model, &err), UPT_EDATA);
    upt_model_destroy(&model);
    free(v);
}

/* Without a ridge nothing holds the weight of a feature that tells all, nor shares it between two that are one: said,
 * and soon; with a ridge both are fitted. */
static void
ridge_of_nothing(void **state)
{
    (void)state;
    size_t n = 2000;
    struct upt_fit_options o = options();
    struct upt_error err = {0};
    for (int which = 0; which < 2; which++) {
        struct upt_fit_sample *v = simulate(n, 0);
        struct upt_model *model = base();
        for (size_t i = 0; i < n && which == 0; i++) {
            v[i].outcome[0] = v[i].x[UPT_R_SILENCE] > 2 ? UPT_LEFT : UPT_STAYED;
        }
        for (size_t i = 0; i < n && which == 1; i++) {
            v[i].x[UPT_R_OWN_SILENCE] = v[i].x[UPT_R_SILENCE];
        }
        o.ridge = 0;
        assert_int_equal(upt_fit(v, n, NULL, names, 4, &o, model, &err), UPT_EDATA);
        assert_non_null(strstr(err.msg, "the fit does not converge"));
        assert_non_null(strstr(err.msg, "a higher --ridge helps"));
        assert_null(strchr(err.msg, '\n'));
        o.ridge = 1e-3;
        assert_int_equal(upt_fit(v, n, NULL, names, 4, &o, model, &err), UPT_OK);
        for (int i = 0; i < UPT_R_FITTED; i++) {
            assert_true(isfinite(model->risk[i].weight));
        }
        upt_model_destroy(&model);
        free(v);
    }
}

static void
figures_by_hand(void **state)
{
    (void)state;
    /* Of 2 · 2 pairs .8 > .3, .8 = .8 by half, .3 < .8, .3 = .3 by half: (1 + .5 + 0 + .5) / 4 */
    const double p[4] = {0.8, 0.3, 0.8, 0.3};
    const uint8_t y[4] = {1, 1, 0, 0};
    struct upt_fit_quality q;
    struct upt_error err;
    assert_int_equal(upt_fit_measure(p, y, 4, &q, &err), UPT_OK);
    assert_true(fabs(q.auc - 0.5) < 1e-12);
    assert_true(fabs(q.brier - (0.04 + 0.49 + 0.64 + 0.09) / 4) < 1e-12);
    double many[1000];
    uint8_t left[1000];
    for (int i = 0; i < 1000; i++) {
        many[i] = i / 1000.0;
        left[i] = i >= 900 ? 1 : 0;
    }
    assert_int_equal(upt_fit_measure(many, left, 1000, &q, &err), UPT_OK);
    assert_true(fabs(q.auc - 1) < 1e-12 && fabs(q.lift - 10) < 1e-12);
    assert_int_equal(q.tenth[9].n, 100);
    assert_true(fabs(q.tenth[9].observed - 1) < 1e-12 && fabs(q.tenth[0].predicted - 0.0495) < 1e-9);
    double ece = 0;
    for (int i = 0; i < 10; i++) {
        ece += fabs(0.0495 + 0.1 * i - (i == 9)) / 10;
    }
    assert_true(fabs(q.ece - ece) < 1e-9);
    assert_int_equal(upt_fit_measure(many, left, 0, &q, &err), UPT_OK);
    assert_true(isnan(q.auc));
}

static void
names_as_words(void **state)
{
    (void)state;
    const char *const in[] = {"plain-1_2.x", "two words", "100%", "#1", "\xc3\xa9", "[risk]"};
    const char *const out[] = {"plain-1_2.x", "two%20words", "100%25", "%231", "%C3%A9", "%5Brisk%5D"};
    for (int i = 0; i < 6; i++) {
        char word[3 * UPT_MODEL_NAME_MAX + 1];
        char back[UPT_MODEL_NAME_MAX + 1];
        upt_model_escape(in[i], word);
        assert_string_equal(word, out[i]);
        assert_true(upt_model_unescape(word, back));
        assert_string_equal(back, in[i]);
    }
    char name[UPT_MODEL_NAME_MAX + 1];
    char longest[UPT_MODEL_NAME_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_false(upt_model_unescape(longest, name) || upt_model_unescape("a%", name) ||
                 upt_model_unescape("a%4", name) || upt_model_unescape("%00", name) ||
                 upt_model_unescape("%+1", name) || upt_model_unescape("", name));
    longest[UPT_MODEL_NAME_MAX] = '\0';
    assert_true(upt_model_unescape(longest, name));
}

static struct upt_model *
reload(const struct upt_buf *text)
{
    char path[] = "/tmp/upt-fit-XXXXXX";
    int fd = mkstemp(path);
    struct upt_error err = {0};
    struct upt_model *model = NULL;
    assert_true(fd >= 0 && write(fd, text->p, text->len) == (ssize_t)text->len);
    (void)close(fd);
    if (upt_model_load(path, &model, &err) != UPT_OK) {
        fail_msg("%s", err.msg);
    }
    (void)unlink(path);
    return model;
}

/* What is written is what was fitted; the rest of the file is byte for byte the base's; writing it again with itself as
 * the base changes nothing. */
static void
written(void **state)
{
    (void)state;
    struct upt_fit_sample *v = simulate(4000, 0);
    struct upt_model *model = base();
    struct upt_fit_options o = options();
    struct upt_error err = {0};
    struct upt_buf once = {0};
    struct upt_buf twice = {0};
    assert_int_equal(upt_fit(v, 4000, NULL, names, 4, &o, model, &err), UPT_OK);
    memcpy(model->segment[3].name, "two words", 10);
    upt_model_rewrite(upt_model_shipped(), model, "# note\n", &once);
    struct upt_model *back = reload(&once);
    assert_memory_equal(back->risk, model->risk, sizeof(back->risk));
    assert_memory_equal(back->intercept, model->intercept, sizeof(back->intercept));
    assert_int_equal(back->segments_n, 4);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(back->segment[i].name, model->segment[i].name);
        assert_true(fabs(back->segment[i].shift - model->segment[i].shift) < 1e-9);
    }
    assert_memory_equal(back->quantile, model->quantile, sizeof(back->quantile));
    assert_memory_equal(&back->silence, &model->silence, sizeof(back->silence));
    upt_model_rewrite((struct upt_str){once.p, (uint32_t)once.len}, back, "# note\n", &twice);
    assert_int_equal(once.len, twice.len);
    assert_memory_equal(once.p, twice.p, once.len);
    /* Shipped into itself: every line of other sections is there. */
    struct upt_str shipped = upt_model_shipped();
    const char *cohort = strstr(shipped.p, "# Percentiles among");
    size_t len = (size_t)(strstr(cohort, "\n\n") - cohort);
    upt_buf_put(&once, "", 1);
    char *there = strstr(once.p, "# Percentiles among");
    assert_non_null(there);
    assert_memory_equal(there, cohort, len);
    assert_non_null(strstr(once.p, "\nversion test\n"));
    upt_buf_fini(&once);
    upt_buf_fini(&twice);
    upt_model_destroy(&back);
    upt_model_destroy(&model);
    free(v);
}

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-9)

/* Rows of shares of .05, between values in proportion; written and read again as it was, also from a base that has it;
 * without it nothing is written. */
static void
renewed(void **state)
{
    (void)state;
    struct upt_model *model = base();
    struct upt_buf once = {0};
    struct upt_buf twice = {0};
    double frequency[] = {4, 1, 3, 2, 0.1234567};
    double breadth[] = {1, 1};
    upt_model_rewrite(upt_model_shipped(), model, "# note\n", &once);
    upt_buf_put(&once, "", 1);
    assert_null(strstr(once.p, "renewed"));
    upt_buf_fini(&once);
    upt_fit_renewed(frequency, 5, breadth, 2, &model->renewed[1]);
    assert_int_equal(model->renewed[1].rows_n, 21);
    NEAR(model->renewed[1].share_of[1], 0.05);
    NEAR(model->renewed[1].quantile[0][0], 0.123457);
    NEAR(model->renewed[1].quantile[6][0], 1.2); /* place 1.2 of 0 to 4 */
    NEAR(model->renewed[1].quantile[20][0], 4);
    NEAR(model->renewed[1].quantile[13][1], 1);
    frequency[0] = 7;
    upt_fit_renewed(frequency, 1, NULL, 0, &model->renewed[3]);
    assert_false(model->renewed[3].has_breadth);
    NEAR(model->renewed[3].quantile[20][0], 7);
    model->has_renewed = true;
    upt_model_rewrite(upt_model_shipped(), model, "# note\n", &once);
    struct upt_model *back = reload(&once);
    assert_memory_equal(back->renewed, model->renewed, sizeof(back->renewed));
    upt_model_rewrite((struct upt_str){once.p, (uint32_t)once.len}, back, "# note\n", &twice);
    assert_int_equal(once.len, twice.len);
    assert_memory_equal(once.p, twice.p, once.len);
    upt_buf_fini(&once);
    upt_buf_fini(&twice);
    upt_model_destroy(&back);
    upt_model_destroy(&model);
}

/* Text that is put in the place of some of the shipped file's. */
static void
put_in(struct upt_buf *text, const char *from, const char *to)
{
    struct upt_buf old = *text;
    *text = (struct upt_buf){0};
    upt_buf_put(&old, "", 1);
    const char *at = strstr(old.p, from);
    assert_non_null(at);
    upt_buf_put(text, old.p, (size_t)(at - old.p));
    upt_buf_puts(text, to);
    upt_buf_puts(text, at + strlen(from));
    upt_buf_fini(&old);
}

/* A base with other blanks than the shipped file has, which the loader takes: the fit is not lost in it. */
static void
base_with_other_blanks(void **state)
{
    (void)state;
    struct upt_model *model = base();
    struct upt_buf text = {0};
    struct upt_buf out = {0};
    upt_buf_put(&text, upt_model_shipped().p, upt_model_shipped().len);
    put_in(&text, "\nversion courses-2\n", "\n\t version\tcourses-2 # as shipped\n");
    put_in(&text, "\n[risk]\n", "\n\t # ours\n \t[risk] # fitted\n");
    put_in(&text, "\n[silence]\n", "\n  [segments]\n[risk] 1 1\nold 1 1\n\t# of silence\n [silence]\n");
    upt_model_destroy(&model);
    model = reload(&text);
    assert_int_equal(model->segments_n, 2);
    memcpy(model->version, "anew", 5);
    model->risk[UPT_R_SILENCE].weight = 1.25;
    model->segments_n = 1;
    upt_model_rewrite((struct upt_str){text.p, (uint32_t)text.len}, model, "# note\n", &out);
    struct upt_model *back = reload(&out);
    assert_string_equal(back->version, "anew");
    assert_true(fabs(back->risk[UPT_R_SILENCE].weight - 1.25) <= 0);
    assert_int_equal(back->segments_n, 1);
    upt_buf_put(&out, "", 1);
    assert_null(strstr(out.p, "# ours"));
    assert_non_null(strstr(out.p, "\t# of silence\n [silence]\n"));
    upt_buf_fini(&text);
    upt_buf_fini(&out);
    upt_model_destroy(&back);
    upt_model_destroy(&model);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_again),
        cmocka_unit_test(signs_and_kept),
        cmocka_unit_test(weight_at_its_limit),
        cmocka_unit_test(shrinkage),
        cmocka_unit_test(refused),
        cmocka_unit_test(ridge_of_nothing),
        cmocka_unit_test(figures_by_hand),
        cmocka_unit_test(names_as_words),
        cmocka_unit_test(written),
        cmocka_unit_test(renewed),
        cmocka_unit_test(base_with_other_blanks),
    };
    return cmocka_run_group_tests_name("score_fit", tests, NULL, NULL);
}
