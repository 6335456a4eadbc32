/* Clocks and calendar dates.
 *
 * Dates are computed (days-from-civil over 400-year eras), not taken from the C library: that needs no time zone, no
 * static buffer and no 64-bit time_t, and is the same on every machine. All days are UTC days. Any thread. */
#include "uptake/time.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY_FIRST INT64_C(-719528) /* 0000-01-01 */
#define DAY_LAST INT64_C(2932896)  /* 9999-12-31 */

static int64_t
clock_us(clockid_t id)
{
    struct timespec now = {0};
    (void)clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t
upt_wall_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000;
}

int64_t
upt_mono_ms(void)
{
    return clock_us(CLOCK_MONOTONIC) / 1000;
}

int64_t
upt_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

void
upt_sleep_ms(int64_t ms)
{
    if (ms <= 0) {
        return;
    }
    struct timespec rest = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}

/* Howard Hinnant's algorithm: years begin in March, so that the leap day is the last of its year. */
static int64_t
day_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = upt_floor_div(y, 400);
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void
civil_of(int64_t day, int *ret_year, int *ret_month, int *ret_day)
{
    int64_t z = day + 719468;
    int64_t era = upt_floor_div(z, 146097);
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t mp = (5 * day_of_year + 2) / 153;
    *ret_day = (int)(day_of_year - (153 * mp + 2) / 5 + 1);
    *ret_month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *ret_year = (int)(year_of_era + era * 400 + (*ret_month <= 2 ? 1 : 0));
}

/* n decimal digits at p, or −1. */
static int64_t
digits(const char *p, int n)
{
    int64_t v = 0;
    for (int i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return -1;
        }
        v = v * 10 + (p[i] - '0');
    }
    return v;
}

bool
upt_parse_day(const char *p, uint32_t len, int64_t *ret_day)
{
    static const int month_days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (len != 10 || p[4] != '-' || p[7] != '-') {
        return false;
    }
    int64_t year = digits(p, 4);
    int64_t month = digits(p + 5, 2);
    int64_t day = digits(p + 8, 2);
    if (year < 0 || month < 1 || month > 12 || day < 1) {
        return false;
    }
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day > month_days[month - 1] + (month == 2 && leap ? 1 : 0)) {
        return false;
    }
    *ret_day = day_of(year, month, day);
    return true;
}

bool
upt_parse_time(const char *p, uint32_t len, int64_t *ret_ms)
{
    int64_t day = 0;
    if (len < 10 || !upt_parse_day(p, 10, &day)) {
        return false;
    }
    if (len == 10) {
        *ret_ms = day * UPT_DAY_MS;
        return true;
    }
    bool with_ms = len == 24 && p[19] == '.';
    if ((len != 20 && !with_ms) || p[10] != 'T' || p[13] != ':' || p[16] != ':' || p[len - 1] != 'Z') {
        return false;
    }
    int64_t hour = digits(p + 11, 2);
    int64_t minute = digits(p + 14, 2);
    int64_t second = digits(p + 17, 2);
    int64_t ms = with_ms ? digits(p + 20, 3) : 0;
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 || ms < 0) {
        return false;
    }
    *ret_ms = day * UPT_DAY_MS + hour * UPT_HOUR_MS + minute * UPT_MINUTE_MS + second * UPT_SECOND_MS + ms;
    return true;
}

/* value in n decimal digits. */
static char *
put_digits(char *at, int64_t value, int n)
{
    for (int i = n - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + n;
}

static char *
put_day(char *at, int64_t day)
{
    int year = 0;
    int month = 0;
    int mday = 0;
    civil_of(day, &year, &month, &mday);
    at = put_digits(at, year, 4);
    *at++ = '-';
    at = put_digits(at, month, 2);
    *at++ = '-';
    return put_digits(at, mday, 2);
}

static int64_t
clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

void
upt_format_day(int64_t day, char *buf)
{
    *put_day(buf, clamp(day, DAY_FIRST, DAY_LAST)) = '\0';
}

void
upt_format_time(int64_t ms, char *buf)
{
    int64_t t = clamp(ms, DAY_FIRST * UPT_DAY_MS, (DAY_LAST + 1) * UPT_DAY_MS - 1);
    int64_t day = upt_floor_div(t, UPT_DAY_MS);
    int64_t rest = t - day * UPT_DAY_MS;
    char *at = put_day(buf, day);
    *at++ = 'T';
    at = put_digits(at, rest / UPT_HOUR_MS, 2);
    *at++ = ':';
    at = put_digits(at, rest / UPT_MINUTE_MS % 60, 2);
    *at++ = ':';
    at = put_digits(at, rest / UPT_SECOND_MS % 60, 2);
    *at++ = '.';
    at = put_digits(at, rest % 1000, 3);
    *at++ = 'Z';
    *at = '\0';
}
