/* Names against the schemas: every enum's symbols, in the order of ours. */
#include "testing.h"

#include "uptake/board.h"
#include "uptake/event.h"
#include "uptake/output.h"
#include "uptake/row.h"
#include "uptake/str.h"

/* The text of a schema, ended with NUL. */
static struct upt_buf
read_schema(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", UPT_SCHEMAS, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    struct upt_buf text = {0};
    for (;;) {
        size_t n = fread(upt_buf_reserve(&text, 4096), 1, 4096, file);
        if (n == 0) {
            break;
        }
        text.len += n;
    }
    (void)fclose(file);
    upt_buf_put(&text, "", 1);
    return text;
}

/* The symbols of the enum called name are exactly names, in this order. */
static void
check_enum(const char *schema, const char *name, const char *const *names, size_t n)
{
    struct upt_buf text = read_schema(schema);
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "\"name\": \"%s\"", name);
    const char *at = strstr(text.p, wanted);
    assert_non_null(at);
    const char *open = strchr(strstr(at, "\"symbols\""), '[');
    const char *close = strchr(open, ']');
    size_t count = 0;
    for (const char *c = open; c < close; c++) {
        if (*c != '"') {
            continue;
        }
        const char *end = strchr(c + 1, '"');
        size_t len = (size_t)(end - c - 1);
        if (count >= n || strlen(names[count]) != len || memcmp(names[count], c + 1, len) != 0) {
            fail_msg("%s: %s: %.*s is not ours or not in place", schema, name, (int)len, c + 1);
        }
        count++;
        c = end;
    }
    assert_int_equal(count, n);
    upt_buf_fini(&text);
}

static void
enums_match_the_schemas(void **state)
{
    (void)state;
    check_enum("uptake.v1.UsageEvent.avsc", "Kind", upt_kind_names, UPT_KIND_COUNT);
    check_enum("uptake.v1.UsageBatch.avsc", "Kind", upt_kind_names, UPT_KIND_COUNT);
    check_enum("uptake.v1.AccountHealth.avsc", "Band", upt_band_names, 5);
    check_enum("uptake.v1.AccountHealth.avsc", "DataStatus", upt_data_status_names, 4);
    check_enum("uptake.v1.ChurnAlert.avsc", "Severity", upt_severity_names, 4);
    check_enum("uptake.v1.ChurnAlert.avsc", "Action", upt_action_names, 6);
}

static void
reasons_match_their_metrics(void **state)
{
    (void)state;
    assert_string_equal(upt_reason_names[UPT_REASON_BAD_KEY], "bad_key");
    assert_string_equal(upt_reason_names[UPT_REASON_IN_FUTURE], "in_future");
    for (int reason = UPT_REASON_BAD_KEY; reason < UPT_REASON_COUNT; reason++) {
        struct upt_metrics set = {0};
        struct upt_metrics *sets[] = {&set};
        upt_metric_add(&set, upt_metric_dead((upt_reason)reason), 77);
        struct upt_buf page = {0};
        upt_metrics_prometheus(sets, 1, &page);
        upt_buf_put(&page, "", 1);
        char line[128];
        snprintf(line, sizeof(line), "\nuptake_dead_letters_total{reason=\"%s\"} 77\n", upt_reason_names[reason]);
        assert_non_null(strstr(page.p, line));
        upt_buf_fini(&page);
    }
}

static void
no_name_is_missing(void **state)
{
    (void)state;
    assert_string_equal(upt_window_names[UPT_W_1H], "1h");
    assert_string_equal(upt_window_names[UPT_W_30D], "30d");
    assert_string_equal(upt_data_status_names[UPT_NOT_APPLICABLE], "NOT_APPLICABLE");
    assert_string_equal(upt_part_phase_names[UPT_PART_BLOCKED], "blocked");
    assert_string_equal(upt_kind_names[UPT_KIND_OTHER], "OTHER");
    assert_string_equal(upt_phase_names[UPT_PHASE_CHURNED], "CHURNED");
    assert_string_equal(upt_band_names[UPT_BAND_HEALTHY], "HEALTHY");
    assert_string_equal(upt_action_names[UPT_EXPIRE], "EXPIRE");
    assert_string_equal(upt_severity_names[UPT_CRITICAL], "CRITICAL");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enums_match_the_schemas),
        cmocka_unit_test(reasons_match_their_metrics),
        cmocka_unit_test(no_name_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
