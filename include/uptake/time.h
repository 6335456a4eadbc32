/* Units of event time (Unix ms, UTC) and the process's clocks. */
#ifndef UPT_TIME_H
#define UPT_TIME_H

#include <stdbool.h>
#include <stdint.h>

#define UPT_SECOND_MS INT64_C(1000)
#define UPT_MINUTE_MS INT64_C(60000)
#define UPT_HOUR_MS INT64_C(3600000)
#define UPT_DAY_MS INT64_C(86400000)

/* floor(a / b) for b > 0, also for negative a. */
static inline int64_t
upt_floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q * b > a ? q - 1 : q;
}

int64_t upt_wall_ms(void);
int64_t upt_mono_ms(void);
int64_t upt_mono_us(void);
void upt_sleep_ms(int64_t ms); /* goes on after signals */

/* "2026-01-31" to the UTC day number; false if it is no date. */
bool upt_parse_day(const char *p, uint32_t len, int64_t *ret_day);
/* "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z" or "2026-01-31" to Unix ms; false if it is none of them. */
bool upt_parse_time(const char *p, uint32_t len, int64_t *ret_ms);
/* UTC day number to "2026-01-31"; buf ≥ 16. Outside the years 0 to 9999: the nearest day of these. */
void upt_format_day(int64_t day, char *buf);
/* Unix ms to "2026-01-31T12:00:00.000Z"; buf ≥ 32. Outside the years 0 to 9999: the nearest time of these. */
void upt_format_time(int64_t ms, char *buf);

#endif
