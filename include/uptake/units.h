/* Exact decimal quantities: integers of a millionth, 128 bits wide (contract §3). */
#ifndef UPT_UNITS_H
#define UPT_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uptake/str.h"

__extension__ typedef __int128 upt_i128;
__extension__ typedef unsigned __int128 upt_u128;

#define UPT_MICRO 1000000

/* The IEEE product q × 1e6 rounded to the nearest integer, ties to even. q must be finite and |q| ≤ 1e12. */
int64_t upt_micro_from_double(double q);

/* "12.5", "0", "-3": millionths as a plain decimal without trailing zeros. buf ≥ 48 bytes. Returns the length. */
size_t upt_micro_format(upt_i128 micro, char *buf);

/* A number as traits have it: [+-] digits [. digits] [e [+-] digits], at least one digit before the exponent, at most
 * 63 characters. No blanks, hex, inf or nan. May be beyond any range, also infinite. */
bool upt_parse_decimal(struct upt_str s, double *ret);

/* The IEEE quotient num / den, at most 1, in the millionths that printf's %.6f shows; num >= 0, den > 0. */
uint32_t upt_share(double num, double den);

/* Rounds to a multiple of 1e-6, so that decisions do not hang on the last bits of libm. Keeps NaN out: asserts. */
double upt_round6(double v);

#endif
