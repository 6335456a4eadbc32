/* Log lines as they reach standard error. */
#include "testing.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "uptake/log.h"
#include "uptake/str.h"

static char captured[65536];
static int saved_stderr = -1;
static FILE *capture_file;

static void
capture_begin(void)
{
    capture_file = tmpfile();
    assert_non_null(capture_file);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(dup2(fileno(capture_file), STDERR_FILENO) >= 0);
}

/* What was written since, ended with NUL. */
static const char *
capture_end(void)
{
    assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
    (void)close(saved_stderr);
    rewind(capture_file);
    size_t n = fread(captured, 1, sizeof(captured) - 1, capture_file);
    captured[n] = '\0';
    (void)fclose(capture_file);
    return captured;
}

static void
text_lines(void **state)
{
    (void)state;
    upt_log_set_json(0);
    capture_begin();
    errno = 42;
    upt_log(UPT_LOG_WARNING, "view", "redis %s: lost %d\nrows \x1b[31m\xff", "10.0.0.1", 3);
    assert_int_equal(errno, 42);
    const char *line = capture_end();
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[23], 'Z');
    assert_string_equal(line + 24, " WARNING view redis 10.0.0.1: lost 3\\nrows \\x1b[31m\xef\xbf\xbd\n");
}

static void
nothing_to_write_to(void **state)
{
    (void)state;
    int kept = dup(STDERR_FILENO);
    (void)close(STDERR_FILENO);
    errno = 42;
    upt_log(UPT_LOG_ERROR, "main", "lost");
    int after = errno;
    (void)dup2(kept, STDERR_FILENO);
    (void)close(kept);
    assert_int_equal(after, 42);
}

static void
json_lines(void **state)
{
    (void)state;
    upt_log_set_json(1);
    capture_begin();
    upt_log(UPT_LOG_INFO, "lane\"0", "a \"b\" \\ \t\x02");
    const char *line = capture_end();
    assert_memory_equal(line, "{\"ts\":\"2", 8);
    assert_string_equal(line + 31,
                        "\",\"level\":\"info\",\"component\":\"lane\\\"0\",\"msg\":\"a \\\"b\\\" \\\\ \\t\\u0002\"}\n");
}

static void
json_where_no_terminal_is(void **state)
{
    (void)state;
    upt_log_set_json(-1);
    capture_begin();
    upt_log(UPT_LOG_ERROR, "main", "x");
    assert_int_equal(capture_end()[0], '{');
}

static void
levels(void **state)
{
    (void)state;
    upt_log_set_json(0);
    upt_log_set_level(UPT_LOG_WARNING);
    assert_true(upt_log_enabled(UPT_LOG_ERROR));
    assert_false(upt_log_enabled(UPT_LOG_INFO));
    capture_begin();
    upt_log(UPT_LOG_INFO, "main", "not seen");
    assert_string_equal(capture_end(), "");
    upt_log_set_level(UPT_LOG_INFO);
}

static void
long_messages_are_cut_between_characters(void **state)
{
    (void)state;
    upt_log_set_json(1);
    for (size_t shift = 0; shift < 4; shift++) {
        char text[5000];
        memset(text, 'a', sizeof(text));
        for (size_t i = shift; i + 4 <= sizeof(text) - 1; i += 4) {
            memcpy(text + i, "\xf0\x9f\x98\x80", 4);
        }
        text[sizeof(text) - 1] = '\0';
        capture_begin();
        upt_log(UPT_LOG_INFO, "main", "%s", text);
        const char *line = capture_end();
        size_t len = strlen(line);
        assert_true(upt_utf8_valid(line, len));
        assert_null(strstr(line, "\xef\xbf\xbd"));
        assert_string_equal(line + len - 6, "\xe2\x80\xa6\"}\n");
        assert_in_range(len, 2048, 2048 + 128);
    }
    /* Each byte six times as long: the line's room suffices. */
    char controls[4000];
    memset(controls, 1, sizeof(controls));
    controls[sizeof(controls) - 1] = '\0';
    capture_begin();
    upt_log(UPT_LOG_INFO, controls, "%s", controls);
    assert_in_range(strlen(capture_end()), 6 * 2048, 6 * 2100 + 128);
}

static void
repeats_are_counted(void **state)
{
    (void)state;
    struct upt_log_site site = {0};
    unsigned long long suppressed = 9;
    assert_true(upt_log_site_pass(&site, &suppressed));
    assert_int_equal(suppressed, 0);
    for (int i = 0; i < 5; i++) {
        assert_false(upt_log_site_pass(&site, &suppressed));
    }
    site.last_ms -= 1000; /* a second passes */
    assert_true(upt_log_site_pass(&site, &suppressed));
    assert_int_equal(suppressed, 5);

    upt_log_set_json(0);
    capture_begin();
    for (int i = 0; i < 10; i++) {
        upt_log_limited(UPT_LOG_INFO, "main", "number %d", i);
    }
    const char *lines = capture_end();
    assert_non_null(strstr(lines, "number 0\n"));
    assert_null(strstr(lines, "number 1\n"));
}

static void *
log_many(void *arg)
{
    for (int i = 0; i < 200; i++) {
        upt_log(UPT_LOG_INFO, arg, "0123456789012345678901234567890123456789");
    }
    return NULL;
}

static void
lines_do_not_mix(void **state)
{
    (void)state;
    upt_log_set_json(0);
    char a[] = "aaaa";
    char b[] = "bbbb";
    pthread_t threads[2];
    capture_begin();
    int err = pthread_create(&threads[0], NULL, log_many, a);
    err |= pthread_create(&threads[1], NULL, log_many, b);
    err |= pthread_join(threads[0], NULL);
    err |= pthread_join(threads[1], NULL);
    char *line = (char *)(uintptr_t)capture_end();
    assert_int_equal(err, 0);
    int n = 0;
    for (char *rest = NULL, *at = strtok_r(line, "\n", &rest); at != NULL; at = strtok_r(NULL, "\n", &rest), n++) {
        assert_int_equal(strlen(at), 75);
        assert_true(strncmp(at + 30, "aaaa 0", 6) == 0 || strncmp(at + 30, "bbbb 0", 6) == 0);
    }
    assert_int_equal(n, 400);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines),
        cmocka_unit_test(nothing_to_write_to),
        cmocka_unit_test(json_lines),
        cmocka_unit_test(json_where_no_terminal_is),
        cmocka_unit_test(levels),
        cmocka_unit_test(long_messages_are_cut_between_characters),
        cmocka_unit_test(repeats_are_counted),
        cmocka_unit_test(lines_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
