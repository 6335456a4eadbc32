/* Millionths, shares and rounding. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "uptake/units.h"

static void
rounds_ties_to_even(void **state)
{
    (void)state;
    static const struct {
        double q;
        int64_t micro;
    } cases[] = {
        {0.0, 0},
        {-0.0, 0},
        {1.0, 1000000},
        {12.5, 12500000},
        {0.0000005, 0},
        {0.0000015, 2},
        {0.0000025, 2},
        {-0.0000015, -2},
        {-0.0000025, -2},
        {0.1, 100000},
        {0.29, 290000},
        {1e9, 1000000000000000},
        {1e12, 1000000000000000000},
        {-1e12, -1000000000000000000},
        {1e-300, 0},
        {0.4999999999e-6, 0},
        {0.5000000001e-6, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(upt_micro_from_double(cases[i].q), cases[i].micro);
    }
}

static void
agrees_with_libm(void **state)
{
    (void)state;
    uint64_t seed = 42;
    for (int i = 0; i < 2000000; i++) {
        /* Spread over magnitudes from 1e-9 to 1e12; every fourth lies on a half of a millionth. */
        double q = (double)(upt_test_random(&seed) >> 11) / 9007199254740992.0;
        q *= pow(10, (double)(upt_test_random(&seed) % 22) - 9);
        if (i % 4 == 0) {
            q = (floor(q * 1e6) + 0.5) / 1e6;
        }
        q = i % 3 == 0 ? -q : q;
        if (fabs(q) <= 1e12) {
            assert_int_equal(upt_micro_from_double(q), llrint(q * 1e6));
        }
    }
}

static void
no_number(void *arg)
{
    (void)upt_micro_from_double(*(double *)arg);
}

static void
nan_round(void *arg)
{
    (void)upt_round6(*(double *)arg);
}

static void
refuses_what_is_no_number(void **state)
{
    (void)state;
    double bad[] = {NAN, INFINITY, -INFINITY, 1.1e12};
    for (size_t i = 0; i < 4; i++) {
        assert_true(upt_test_aborts(no_number, &bad[i]));
    }
    assert_true(upt_test_aborts(nan_round, &bad[0]));
}

static void
formats_plainly(void **state)
{
    (void)state;
    static const struct {
        int64_t micro;
        const char *text;
    } cases[] = {
        {0, "0"},
        {1, "0.000001"},
        {-1, "-0.000001"},
        {12500000, "12.5"},
        {-3000000, "-3"},
        {100, "0.0001"},
        {999999, "0.999999"},
        {10000000, "10"},
        {INT64_MAX, "9223372036854.775807"},
        {INT64_MIN, "-9223372036854.775808"},
    };
    char buf[48];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(upt_micro_format(cases[i].micro, buf), strlen(cases[i].text));
        assert_string_equal(buf, cases[i].text);
    }
    upt_i128 max = (upt_i128)(((upt_u128)1 << 127) - 1);
    upt_micro_format(max, buf);
    assert_string_equal(buf, "170141183460469231731687303715884.105727");
    upt_micro_format(-max - 1, buf);
    assert_string_equal(buf, "-170141183460469231731687303715884.105728");
}

static void
decimals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0}, {"-12.5", -12.5}, {"+.5", .5}, {"3.", 3}, {"12.5e3", 12500}, {"1E-2", .01}, {"5e+1", 50}};
    static const char *const bad[] = {"",   ".",    "e5",  "+-1", "1e",  "1.2.3", " 7",
                                      "7 ", "0x10", "inf", "nan", "1,5", "7\n"};
    char text[65];
    double got = 0;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(upt_parse_decimal(upt_str_of(good[i].text), &got));
        assert_true(got == good[i].value);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(upt_parse_decimal(upt_str_of(bad[i]), &got));
    }
    memset(text, '0', sizeof(text));
    assert_true(upt_parse_decimal((struct upt_str){.p = text, .len = 63}, &got));
    assert_false(upt_parse_decimal((struct upt_str){.p = text, .len = 64}, &got));
    assert_false(upt_parse_decimal((struct upt_str){.p = "7\0", .len = 2}, &got));
    assert_false(upt_parse_decimal(UPT_STR_NULL, &got));
}

static void
shares(void **state)
{
    (void)state;
    assert_int_equal(upt_share(0, 1), 0);
    assert_int_equal(upt_share(1, 3), 333333);
    assert_int_equal(upt_share(2, 3), 666667);
    assert_int_equal(upt_share(1, 128), 7812); /* .0078125: to even */
    assert_int_equal(upt_share(5, 128), 39062);
    assert_int_equal(upt_share(3, 128), 23438);
    assert_int_equal(upt_share(1999999, 2000000), 1000000);
    assert_int_equal(upt_share(5, 4), 1000000);
    assert_int_equal(upt_share(1, 1e18), 0);
    for (int den = 1; den < 3000; den++) {
        for (int num = 0; num < den; num += 1 + den / 700) {
            char text[16];
            snprintf(text, sizeof(text), "%.6f", (double)num / den);
            assert_int_equal(upt_share(num, den), strtol(text, NULL, 10) * 1000000 + strtol(text + 2, NULL, 10));
        }
    }
}

static void
rounds_to_a_millionth(void **state)
{
    (void)state;
    assert_true(upt_round6(0.1234565) == rint(0.1234565 * 1e6) / 1e6);
    assert_true(upt_round6(0.30000000000000004) == 0.3);
    assert_true(upt_round6(-2.0000004) == -2.0);
    assert_true(signbit(upt_round6(-0.0000001)) == 0);
    assert_true(upt_round6(1e300) == 1e300);
    assert_true(upt_round6(-1e15) == -1e15);
    assert_true(upt_round6(INFINITY) == INFINITY);
    uint64_t seed = 7;
    for (int i = 0; i < 100000; i++) {
        double v = ((double)(upt_test_random(&seed) >> 11) / 9007199254740992.0 - 0.5) * 1e4;
        assert_true(upt_round6(upt_round6(v)) == upt_round6(v));
        assert_true(fabs(upt_round6(v) - v) <= 5.1e-7);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_ties_to_even),
        cmocka_unit_test(agrees_with_libm),
        cmocka_unit_test(refuses_what_is_no_number),
        cmocka_unit_test(formats_plainly),
        cmocka_unit_test(decimals),
        cmocka_unit_test(shares),
        cmocka_unit_test(rounds_to_a_millionth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
