/* The model file: what is shipped loads; what is wrong is refused with file, line and what is allowed. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness.h"

extern const unsigned char upt_default_model[];
extern const size_t upt_default_model_len;

static char *
shipped(void)
{
    char *text = malloc(upt_default_model_len + 2000);
    assert_non_null(text);
    memcpy(text, upt_default_model, upt_default_model_len);
    text[upt_default_model_len] = '\0';
    return text;
}

static void
replace(char *text, const char *from, const char *to)
{
    char *at = strstr(text, from);
    assert_non_null(at);
    memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
    memcpy(at, to, strlen(to));
}

static upt_status
load(const char *text, struct upt_error *err)
{
    char path[] = "/tmp/upt-model-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    (void)close(fd);
    struct upt_model *model = NULL;
    upt_status status = upt_model_load(path, &model, err);
    (void)unlink(path);
    upt_model_destroy(&model);
    return status;
}

static void
refused(const char *from, const char *to, const char *line, const char *says)
{
    char *text = shipped();
    struct upt_error err = {0};
    replace(text, from, to);
    assert_int_equal(load(text, &err), UPT_EINVAL);
    if (strstr(err.msg, says) == NULL || strstr(err.msg, line) == NULL) {
        fail_msg("said: %s", err.msg);
    }
    free(text);
}

static void
shipped_loads(void **state)
{
    (void)state;
    struct upt_error err = {0};
    struct upt_model *model = NULL;
    assert_int_equal(upt_model_load("", &model, &err), UPT_OK);
    assert_int_not_equal(strlen(upt_model_version(model)), 0);
    int32_t weights = 0;
    for (int i = 0; i < UPT_C_COUNT; i++) {
        weights += model->weight_milli[i];
    }
    assert_int_equal(weights, 1000);
    assert_int_equal(model->weight_milli[UPT_C_RETURN], 300);
    assert_int_equal(model->risk[UPT_R_GONE_ODDS].origin, UPT_GIVEN);
    assert_int_equal(model->risk[UPT_R_SEAT_USE].origin, UPT_UNSEEN);
    assert_int_equal(model->risk[UPT_R_SILENCE].origin, UPT_FITTED);
    upt_model_destroy(&model);
    char *text = shipped();
    assert_int_equal(load(text, &err), UPT_OK);
    free(text);
}

static void
refusals(void **state)
{
    (void)state;
    refused("uptake-model 1", "uptake-model 2", ":1: ", "allowed: uptake-model 1");
    refused("version courses-2\n", "\n", ": ", "version: missing");
    refused("version courses-2\n", "version courses-2\nversion b\n", ":3: ", "once");
    refused("version courses-2\n", "version a\xc3\n", ":2: ", "bytes of UTF-8");
    refused("[bands]", "[bonds]", ": ", "[bonds]: unknown section; allowed: [bgbb]");
    refused("critical_below 30", "critical_belo 30", ": ",
            "critical_belo: unknown in [bands]; allowed: critical_below");
    refused("critical_below 30", "critical_below 30\ncritical_below 30", ": ", "critical_below: a second time");
    refused("critical_below 30\n", "\n", ": ", "[bands] critical_below: missing");
    refused("critical_below 30", "critical_below 300", ": ", "allowed: 0 to 100");
    refused("critical_below 30", "critical_below 60", ": ", "critical_below < at_risk_below");
    refused("confidence_floor   0.15", "confidence_floor   0.36", ": ", "confidence_floor at most confidence_band");
    refused("critical_below 30", "critical_below 30 1", ": ", "2 values; allowed: value");
    refused("critical_below 30", "critical_below given", ": ", "given: not a decimal number");
    refused("0 1 unseen", "0 1 chosen", ": ", "5 values; allowed: weight mean least most, then given or unseen");
    refused("critical_below 30", "critical_below 3o", ": ", "3o: not a decimal number");
    refused("critical_below 30", "critical_below 0x1E", ": ", "not a decimal number");
    refused("critical_below 30", "critical_below nan", ": ", "not a decimal number");
    refused("frequency_10d      0.200", "frequency_10d      0.201", ": ", "add up to 1.001");
    refused("frequency_10d      0.200", "frequency_10d      0.2001", ": ", "a weight of 3 decimals");
    refused("intercept_60d", "intercept_60d -49 # ", ": ", "do not fall");
    refused("0.025 ", "0.000 ", ": ", "share 0.000");
    refused("1.000 ", "0.999 ", ": ", "the last with share 1");
    refused("breadth       -0.", "breadth       0.", ": ", "allowed: -10 to 0");
    refused("days_silent   0.", "days_silent   -0.", ": ", "allowed: 0 to 10");
    refused("segment_sd 0.", "segment_sd -0.", ": ", "allowed: 0 to 10");
    refused("[silence]", "[segments]\na 0.1\n[silence]", ": ", "2 values; allowed: name shift sd");
    refused("[silence]", "[segments]\na 0.1 x\n[silence]", ": ", "x: not a decimal number");
    refused("[silence]", "[segments]\na 11 0.1\n[silence]", ": ", "a shift of -10 to 10");
    refused("[silence]", "[segments]\nb 1 0.1\na 1 0.1\n[silence]", ": ", "ascending order, each once");
    refused("[silence]", "[segments]\na%0 1 0.1\n[silence]", ": ", "others than letters as %XX");
    refused("[silence]", "[segments]\na%C3 1 0.1\n[silence]", ": ", "bytes of UTF-8");
}

#define RENEWED(rows) "[renewed]\n" rows "[silence]"
#define TWO "30 0 1 2\n30 1 3 4\n"

/* Those that renewed: what is not there is not known, what is there is whole. */
static void
renewed(void **state)
{
    (void)state;
    char *text = shipped();
    char path[] = "/tmp/upt-model-XXXXXX";
    struct upt_error err = {0};
    struct upt_model *model = NULL;
    replace(text, "[silence]", RENEWED(TWO "90 0 0.5\n90 0.25 1.5\n90 1 1.5\n"));
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    (void)close(fd);
    assert_int_equal(upt_model_load(path, &model, &err), UPT_OK);
    (void)unlink(path);
    free(text);
    assert_true(model->has_renewed);
    static const size_t rows[] = {2, 0, 3, 0};
    for (int i = 0; i < UPT_RENEWED_TABLES; i++) {
        assert_int_equal(model->renewed[i].rows_n, rows[i]);
    }
    assert_true(model->renewed[0].has_breadth && !model->renewed[2].has_breadth);
    assert_true(fabs(upt_percentile_renewed(&model->renewed[0], 0, 2.5) - 0.75) < 1e-12);
    assert_true(fabs(upt_percentile_renewed(&model->renewed[0], 1, 2.5) - 0.25) < 1e-12);
    assert_true(fabs(upt_percentile_renewed(&model->renewed[2], 0, 1.5) - 0.625) < 1e-12);
    upt_model_destroy(&model);
    static const int days[] = {-1, 0, 30, 31, 60, 61, 90, 91, 180, 181};
    static const int range[] = {-1, 0, 0, 1, 1, 2, 2, 3, 3, -1};
    for (int i = 0; i < 10; i++) {
        assert_int_equal(upt_renewed_of(days[i]), range[i]);
    }
    refused("[silence]", RENEWED("30 0\n"), ": ", "2 values; allowed: days share frequency_21d, then perhaps breadth");
    refused("[silence]", RENEWED("30 0 1 2 3\n"), ": ", "5 values; allowed: days share frequency_21d");
    refused("[silence]", RENEWED("45 0 1 2\n"), ": ", "45 days; allowed: 30, 60, 90, 180, in this order");
    refused("[silence]", RENEWED("60 0 1\n60 1 2\n" TWO), ": ", "30 days; allowed: 30, 60, 90, 180, in this order");
    refused("[silence]", RENEWED("30 0 1 2\n30 1 3\n"), ": ", "3 values; allowed: as many as in the row before");
    refused("[silence]", RENEWED("30 0.1 1 2\n"), ": ", "share 0.1; allowed: from 0 to 1, rising");
    refused("[silence]", RENEWED("30 0 1 2\n30 0 3 4\n"), ": ", "share 0; allowed: from 0 to 1, rising");
    refused("[silence]", RENEWED("30 0 1 2\n30 1 0.5 4\n"), ": ", "column 3 falls; allowed: not below the row before");
    refused("[silence]", RENEWED("30 0 1 2\n30 1 3 1\n"), ": ", "column 4 falls; allowed: not below the row before");
    refused("[silence]", RENEWED("30 0 1 x\n"), ": ", "x: not a decimal number");
    refused("[silence]", RENEWED("30 0 1 2\n30 0.9 3 4\n60 0 1 2\n"), ": ",
            "[renewed] 30: allowed: at least two rows, the last with share 1");
    refused("[silence]", RENEWED(TWO "60 0 1 2\n"), ": ", "[renewed] 60: allowed: at least two rows");
}

static void
line_is_named(void **state)
{
    (void)state;
    struct upt_error err = {0};
    assert_int_equal(load("uptake-model 1\nversion x\n\n# note\nrubbish 1\n", &err), UPT_EINVAL);
    assert_non_null(strstr(err.msg, ":5: rubbish"));
    assert_int_equal(load("", &err), UPT_EINVAL);
    struct upt_model *model = NULL;
    assert_int_equal(upt_model_load("/nonexistent/model", &model, &err), UPT_EINVAL);
    assert_non_null(strstr(err.msg, "/nonexistent/model"));
    assert_null(model);
}

/* Ties by half, in proportion between rows, 0 and 1 outside. */
static void
percentiles(void **state)
{
    (void)state;
    static struct upt_model model = {
        .quantiles_n = 5,
        .share_of = {0, 0.25, 0.5, 0.75, 1},
        .quantile = {{1}, {2}, {2}, {4}, {8}},
    };
    const double in[] = {0.5, 1, 1.5, 2, 3, 4, 7, 8, 9};
    const double out[] = {0, 0, 0.125, 0.375, 0.625, 0.75, 0.9375, 1, 1};
    for (int i = 0; i < 9; i++) {
        assert_true(fabs(upt_percentile(&model, 0, in[i]) - out[i]) < 1e-12);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shipped_loads), cmocka_unit_test(refusals),    cmocka_unit_test(renewed),
        cmocka_unit_test(line_is_named), cmocka_unit_test(percentiles),
    };
    return cmocka_run_group_tests_name("score_model", tests, NULL, NULL);
}
