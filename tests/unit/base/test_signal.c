/* Signals packed and unpacked: every value comes back to the millionth, damage is told, and the usual one is small. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "uptake/signal.h"

static void
nothing(double values[UPT_SIGNALS])
{
    for (unsigned i = 0; i < UPT_SIGNALS; i++) {
        values[i] = NAN;
    }
}

static struct upt_str
packed_of(const double values[UPT_SIGNALS], char *buf)
{
    size_t len = upt_signal_pack(values, buf);
    return (struct upt_str){.p = len > 0 ? buf : NULL, .len = (uint32_t)len};
}

static void
there_and_back(void **state)
{
    (void)state;
    static const struct {
        double v;
        int64_t whole, millionths;
    } some[] = {{0, 0, 0},
                {-0.0, 0, 0},
                {1, 1, 0},
                {-7, -7, 0},
                {0.25, 0, 250000},
                {1e-6, 0, 1},
                {-1e-6, 0, -1},
                {12345.678901, 12345, 678901},
                {3999999999.999999, 3999999999, 999999},
                {1e15, 1000000000000000, 0},
                {4e9 + 0.5, 4000000000, 0}, /* ties to even */
                {1e18, 1000000000000000000, 0},
                {1e300, 1000000000000000000, 0},
                {-INFINITY, -1000000000000000000, 0}};
    double values[UPT_SIGNALS];
    char buf[UPT_SIGNALS_PACKED_MAX];
    struct upt_signal_values back;
    nothing(values);
    assert_int_equal(upt_signal_pack(values, buf), 0);
    assert_true(upt_signal_unpack(UPT_STR_NULL, &back) && back.known == 0);
    for (size_t k = 0; k < sizeof(some) / sizeof(some[0]); k++) {
        nothing(values);
        values[k] = some[k].v;
        values[UPT_SIGNALS - 1] = some[k].v;
        assert_true(upt_signal_unpack(packed_of(values, buf), &back));
        for (unsigned i = 0; i < UPT_SIGNALS; i++) {
            assert_int_equal(upt_signal_known(&back, i), !isnan(values[i]));
            assert_true(isnan(values[i]) || back.micro[i] == (upt_i128)some[k].whole * UPT_MICRO + some[k].millionths);
        }
        assert_false(upt_signal_all_known(&back));
    }
    for (unsigned i = 0; i < UPT_SIGNALS; i++) {
        values[i] = 1e18;
    }
    assert_true(upt_signal_unpack(packed_of(values, buf), &back) && upt_signal_all_known(&back));
}

/* An account of a year: sixteen whole numbers, eight shares. */
static void
small(void **state)
{
    (void)state;
    double values[UPT_SIGNALS];
    char buf[UPT_SIGNALS_PACKED_MAX];
    nothing(values);
    for (unsigned i = 0; i < 24; i++) {
        values[i] = i < 16 ? 20 + i : 0.123456;
    }
    assert_true(upt_signal_pack(values, buf) <= 64);
}

static void
damage(void **state)
{
    (void)state;
    double values[UPT_SIGNALS];
    char buf[UPT_SIGNALS_PACKED_MAX + 1];
    struct upt_signal_values back;
    nothing(values);
    values[3] = 0.123456;
    values[UPT_SIGNALS - 1] = 5;
    struct upt_str whole = packed_of(values, buf);
    for (uint32_t len = 0; len < whole.len; len++) {
        char *copy = malloc(len + 1); /* exact, so that the sanitizer sees a read beyond */
        assert_non_null(copy);
        memcpy(copy, buf, len);
        assert_false(upt_signal_unpack((struct upt_str){.p = copy, .len = len}, &back));
        free(copy);
    }
    buf[whole.len] = 0;
    assert_false(upt_signal_unpack((struct upt_str){.p = buf, .len = whole.len + 1}, &back));
    assert_false(upt_signal_unpack(UPT_STR("\0"), &back));               /* none known has no bytes */
    static const char beyond[] = "\x80\x80\x80\x80\x80\x80\x80\x80\x40"; /* bit 62 */
    assert_false(upt_signal_unpack((struct upt_str){.p = beyond, .len = 9}, &back));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(there_and_back), cmocka_unit_test(small),
                                       cmocka_unit_test(damage)};
    return cmocka_run_group_tests_name("base_signal", tests, NULL, NULL);
}
