/* The metrics page: sums, maxima, and what Prometheus' own linter asks for. */
#include "testing.h"

#include <stdlib.h>

#include "uptake/metrics.h"

static struct upt_buf
page_of(struct upt_metrics *const *sets, size_t n)
{
    struct upt_buf page = {0};
    upt_metrics_prometheus(sets, n, &page);
    upt_buf_put(&page, "", 1);
    return page;
}

static void
sums_and_maxima(void **state)
{
    (void)state;
    static struct upt_metrics a;
    static struct upt_metrics b;
    struct upt_metrics *sets[] = {&a, &b};
    upt_metric_add(&a, UPT_M_EVENTS, 40);
    upt_metric_add(&b, UPT_M_EVENTS, 1);
    upt_metric_add(&b, UPT_M_EVENTS, 1);
    upt_metric_set(&a, UPT_M_ACCOUNTS, 5);
    upt_metric_set(&b, UPT_M_ACCOUNTS, 7);
    upt_metric_set(&a, UPT_M_LAG_SECONDS, 1500);
    upt_metric_set(&b, UPT_M_LAG_SECONDS, 90);
    assert_int_equal(upt_metrics_total(sets, 2, UPT_M_EVENTS), 42);
    assert_int_equal(upt_metrics_total(sets, 2, UPT_M_LAG_SECONDS), 1500);
    assert_int_equal(upt_metrics_total(sets, 0, UPT_M_EVENTS), 0);
    struct upt_buf page = page_of(sets, 2);
    assert_non_null(strstr(page.p, "# TYPE uptake_events_total counter\nuptake_events_total 42\n"));
    assert_non_null(strstr(page.p, "# TYPE uptake_accounts gauge\nuptake_accounts 12\n"));
    assert_non_null(strstr(page.p, "\nuptake_lag_seconds 1.500\n"));
    upt_buf_fini(&page);
}

/* A gauge of which the least counts is that of the sets that have one. */
static void
least_of_those_that_have_it(void **state)
{
    (void)state;
    static struct upt_metrics lane;
    static struct upt_metrics a;
    static struct upt_metrics b;
    struct upt_metrics *sets[] = {&lane, &a, &b};
    for (size_t i = 0; i < 3; i++) {
        upt_metrics_init(sets[i]);
    }
    assert_int_equal(upt_metrics_total(sets, 3, UPT_M_REDIS_UP), 0);
    upt_metric_set(&a, UPT_M_REDIS_UP, 1);
    upt_metric_set(&b, UPT_M_REDIS_UP, 1);
    assert_int_equal(upt_metrics_total(sets, 3, UPT_M_REDIS_UP), 1);
    upt_metric_set(&a, UPT_M_REDIS_UP, 0);
    assert_int_equal(upt_metrics_total(sets, 3, UPT_M_REDIS_UP), 0);
}

/* One line of the page; seen holds all names that had a HELP so far. */
static void
check_line(char *line, struct upt_buf *seen, char *current, bool *is_counter)
{
    char name[128];
    char rest[512];
    if (sscanf(line, "# HELP %127s %511[^\n]", name, rest) == 2) {
        upt_buf_put(seen, "", 1);
        seen->len--;
        char wanted[140];
        snprintf(wanted, sizeof(wanted), " %s ", name);
        assert_true(seen->len == 0 || strstr(seen->p, wanted) == NULL); /* once for each name */
        upt_buf_puts(seen, wanted);
        snprintf(current, 128, "%s", name);
        assert_null(strchr(rest, '\\'));
        assert_true(strlen(rest) > 5);
        return;
    }
    if (sscanf(line, "# TYPE %127s %511s", name, rest) == 2) {
        assert_string_equal(name, current);
        *is_counter = strcmp(rest, "counter") == 0;
        size_t len = strlen(name);
        bool ends_total = len > 6 && strcmp(name + len - 6, "_total") == 0;
        assert_int_equal(ends_total, *is_counter);
        assert_true(*is_counter || strcmp(rest, "gauge") == 0);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), len);
        assert_null(strstr(name, "_ms"));
        assert_null(strstr(name, "_info"));
        return;
    }
    size_t len = strlen(current);
    assert_memory_equal(line, current, len);
    assert_true(line[len] == ' ' || (line[len] == '{' && strstr(line, "\"} ") != NULL));
    char *end = NULL;
    assert_true(strtod(strrchr(line, ' '), &end) >= 0);
    assert_int_equal(*end, '\0');
}

static void
page_passes_the_lint(void **state)
{
    (void)state;
    static struct upt_metrics set;
    struct upt_metrics *sets[] = {&set};
    struct upt_buf page = page_of(sets, 1);
    struct upt_buf seen = {0};
    char current[128] = "";
    bool is_counter = false;
    assert_int_equal(page.p[page.len - 2], '\n');
    int lines = 0;
    for (char *rest = NULL, *at = strtok_r(page.p, "\n", &rest); at != NULL; at = strtok_r(NULL, "\n", &rest)) {
        check_line(at, &seen, current, &is_counter);
        lines++;
    }
    assert_true(lines > UPT_M_COUNT);
    upt_buf_fini(&seen);
    upt_buf_fini(&page);
}

static void
reference_has_every_metric(void **state)
{
    (void)state;
    static struct upt_metrics set;
    struct upt_metrics *sets[] = {&set};
    struct upt_buf page = page_of(sets, 1);
    struct upt_buf doc = {0};
    upt_metrics_markdown(&doc);
    upt_buf_put(&doc, "", 1);
    size_t rows = 0;
    for (char *rest = NULL, *at = strtok_r(page.p, "\n", &rest); at != NULL; at = strtok_r(NULL, "\n", &rest)) {
        char name[128];
        if (sscanf(at, "# TYPE %127s", name) == 1) {
            char row[140];
            snprintf(row, sizeof(row), "\n| `%s` | ", name);
            assert_non_null(strstr(doc.p, row));
            rows++;
        }
    }
    assert_true(rows > 30);
    assert_non_null(strstr(doc.p, "`reason=\"bad_key\"` `reason=\"too_large\"`"));
    upt_buf_fini(&doc);
    upt_buf_fini(&page);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_maxima),
        cmocka_unit_test(least_of_those_that_have_it),
        cmocka_unit_test(page_passes_the_lint),
        cmocka_unit_test(reference_has_every_metric),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
