/* Exact quantities: millionths in integers, so that sums do not depend on their order.
 *
 * Rounding adds and takes away 2^52, which makes the addition round to the nearest integer, ties to even, in two
 * instructions; rint() is a call without SSE4.1 and follows the rounding mode. Needs doubles that are computed as
 * doubles and a compiler that does not reorder them: both asserted. Any thread; no state. */
#include "uptake/units.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "uptake/assert.h"

_Static_assert(FLT_EVAL_METHOD == 0, "doubles are computed with double precision");
#ifdef __FAST_MATH__
#error "units.c needs IEEE arithmetic"
#endif

#define NUMBER_MAX 63 /* characters */
#define TWO52 4503599627370496.0

static double
round_even(double v)
{
    if (v >= 0) {
        return v < TWO52 ? (v + TWO52) - TWO52 : v;
    }
    return v > -TWO52 ? (v - TWO52) + TWO52 : v;
}

int64_t
upt_micro_from_double(double q)
{
    upt_assert(q >= -1e12 && q <= 1e12);
    return (int64_t)round_even(q * 1e6);
}

bool
upt_parse_decimal(struct upt_str s, double *ret)
{
    char text[NUMBER_MAX + 1];
    if (s.len == 0 || s.len > NUMBER_MAX) {
        return false;
    }
    memcpy(text, s.p, s.len);
    text[s.len] = '\0';
    const char *p = text + strspn(text, "+-");
    size_t whole = strspn(p, "0123456789");
    size_t digits = whole;
    const char *q = p + whole;
    if (*q == '.') {
        size_t fraction = strspn(q + 1, "0123456789");
        digits += fraction;
        q += 1 + fraction;
    }
    if (p - text > 1 || digits == 0) {
        return false;
    }
    if (*q == 'e' || *q == 'E') {
        q++;
        q += *q == '+' || *q == '-';
        size_t exponent = strspn(q, "0123456789");
        if (exponent == 0) {
            return false;
        }
        q += exponent;
    }
    *ret = strtod(text, NULL);
    return q == text + s.len; /* a NUL within the value ends text early */
}

size_t
upt_micro_format(upt_i128 micro, char *buf)
{
    char digits[48];
    size_t at = sizeof(digits);
    upt_u128 left = micro < 0 ? 0 - (upt_u128)micro : (upt_u128)micro;
    uint32_t fraction = (uint32_t)(left % UPT_MICRO);
    left /= UPT_MICRO;
    if (fraction != 0) {
        int places = 6;
        for (; fraction % 10 == 0; fraction /= 10) {
            places--;
        }
        for (; places > 0; places--, fraction /= 10) {
            digits[--at] = (char)('0' + fraction % 10);
        }
        digits[--at] = '.';
    }
    do {
        digits[--at] = (char)('0' + (int)(left % 10));
        left /= 10;
    } while (left != 0);
    if (micro < 0) {
        digits[--at] = '-';
    }
    size_t len = sizeof(digits) - at;
    for (size_t i = 0; i < len; i++) {
        buf[i] = digits[at + i];
    }
    buf[len] = '\0';
    return len;
}

/* Every other share (Lua, verify) is printed from the quotient, so this one is rounded as printf does it: the double's
 * exact value to the nearest, ties to even. */
uint32_t
upt_share(double num, double den)
{
    upt_assert(num >= 0 && den > 0);
    if (num >= den) {
        return UPT_MICRO;
    }
    int exponent;
    upt_u128 scaled = (upt_u128)(uint64_t)ldexp(frexp(num / den, &exponent), 53) * UPT_MICRO;
    int shift = 53 - exponent; /* the share is scaled / 2^shift millionths, and scaled < 2^73 */
    if (shift > 80) {
        return 0;
    }
    upt_u128 half = (upt_u128)1 << (shift - 1);
    upt_u128 whole = scaled >> shift;
    upt_u128 rest = scaled - (whole << shift);
    return (uint32_t)whole + (rest > half || (rest == half && whole % 2 == 1));
}

double
upt_round6(double v)
{
    upt_assert(!isnan(v));
    double scaled = v * 1e6;
    if (!(scaled < TWO52 && scaled > -TWO52)) {
        return v; /* neighbouring doubles lie further apart than a millionth */
    }
    return round_even(scaled) / 1e6 + 0.0; /* + 0.0 makes −0 plain 0 */
}
