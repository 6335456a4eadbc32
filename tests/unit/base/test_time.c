/* Dates, times and clocks. */
#include "testing.h"

#include <time.h>

#include "uptake/time.h"

static void
every_day_round_trips(void **state)
{
    (void)state;
    /* Walks 9999 years by the calendar's own rule and compares. */
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t day = -719528; /* 0000-01-01 */
    for (int year = 0; year <= 9999; year++) {
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for (int month = 1; month <= 12; month++) {
            for (int mday = 1; mday <= lengths[month - 1] + (month == 2 && leap ? 1 : 0); mday++, day++) {
                if (mday > 2 && mday < 27 && year % 100 != 0) {
                    continue;
                }
                char expected[40];
                char got[16];
                int64_t parsed = 0;
                snprintf(expected, sizeof(expected), "%04d-%02d-%02d", year, month, mday);
                upt_format_day(day, got);
                assert_string_equal(got, expected);
                assert_true(upt_parse_day(expected, 10, &parsed));
                assert_int_equal(parsed, day);
            }
        }
    }
    assert_int_equal(day, 2932897);
}

static void
bad_days(void **state)
{
    (void)state;
    static const char *const bad[] = {"2026-02-29", "2024-02-30", "1900-02-29", "2026-13-01", "2026-00-01",
                                      "2026-01-00", "2026-04-31", "2026-1-01",  "2026/01/01", "20260101",
                                      " 2026-01-1", "2026-01-1x", "+026-01-01", "-001-01-01", ""};
    int64_t day = 7;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(upt_parse_day(bad[i], (uint32_t)strlen(bad[i]), &day));
    }
    assert_int_equal(day, 7);
    assert_true(upt_parse_day("2024-02-29", 10, &day));
    assert_true(upt_parse_day("2000-02-29", 10, &day));
}

static void
times_round_trip(void **state)
{
    (void)state;
    static const int64_t times[] = {0, -1, 1, 1769860800123, -62167219200000, 253402300799999, 951782400000};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        char text[32];
        int64_t ms = 0;
        upt_format_time(times[i], text);
        assert_true(upt_parse_time(text, (uint32_t)strlen(text), &ms));
        assert_int_equal(ms, times[i]);
    }
    char text[32];
    upt_format_time(1769860800123, text);
    assert_string_equal(text, "2026-01-31T12:00:00.123Z");
    int64_t ms = 0;
    assert_true(upt_parse_time("2026-01-31T12:00:00Z", 20, &ms) && ms == 1769860800000);
    assert_true(upt_parse_time("2026-01-31", 10, &ms) && ms == 1769817600000);
}

static void
bad_times(void **state)
{
    (void)state;
    static const char *const bad[] = {"2026-01-31T12:00:00",
                                      "2026-01-31 12:00:00Z",
                                      "2026-01-31T24:00:00Z",
                                      "2026-01-31T12:60:00Z",
                                      "2026-01-31T12:00:60Z",
                                      "2026-01-31T12:00:00.1Z",
                                      "2026-01-31T12:00:00.1234Z",
                                      "2026-02-30T12:00:00Z",
                                      "2026-01-31T12:00:00.000+",
                                      "1769860800123",
                                      "now",
                                      "2026-01-31T"};
    int64_t ms = 0;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(upt_parse_time(bad[i], (uint32_t)strlen(bad[i]), &ms));
    }
}

static void
far_times_are_clamped(void **state)
{
    (void)state;
    char text[32];
    upt_format_time(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    upt_format_time(INT64_MIN, text);
    assert_string_equal(text, "0000-01-01T00:00:00.000Z");
    char day[16];
    upt_format_day(INT64_MAX, day);
    assert_string_equal(day, "9999-12-31");
    upt_format_day(INT64_MIN, day);
    assert_string_equal(day, "0000-01-01");
}

static void
floor_division(void **state)
{
    (void)state;
    assert_int_equal(upt_floor_div(-1, UPT_DAY_MS), -1);
    assert_int_equal(upt_floor_div(-UPT_DAY_MS, UPT_DAY_MS), -1);
    assert_int_equal(upt_floor_div(UPT_DAY_MS - 1, UPT_DAY_MS), 0);
    assert_int_equal(upt_floor_div(INT64_MIN, UPT_DAY_MS), -106751991168);
}

static void
clocks_run(void **state)
{
    (void)state;
    int64_t begin = upt_mono_us();
    int64_t wall = upt_wall_ms();
    assert_in_range((uint64_t)(wall - (int64_t)time(NULL) * 1000 + 5000), 0, 10000);
    upt_sleep_ms(3);
    upt_sleep_ms(0);
    upt_sleep_ms(-5);
    assert_true(upt_mono_us() - begin >= 3000);
    assert_true(upt_mono_ms() >= begin / 1000 + 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_day_round_trips),
        cmocka_unit_test(bad_days),
        cmocka_unit_test(times_round_trip),
        cmocka_unit_test(bad_times),
        cmocka_unit_test(far_times_are_clamped),
        cmocka_unit_test(floor_division),
        cmocka_unit_test(clocks_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
