/* One line per event to standard error: text on a terminal, JSON otherwise (or as configured).
 *
 * Any thread. A line is formatted into a local buffer and written with one write(2). upt_log_limited drops repeats of
 * the same site within a second and says how many when the next one passes. Values of secrets must never be passed. */
#ifndef UPT_LOG_H
#define UPT_LOG_H

#include <stdatomic.h>
#include <stdbool.h>

#include "uptake/status.h"

typedef enum upt_log_level { UPT_LOG_ERROR, UPT_LOG_WARNING, UPT_LOG_INFO, UPT_LOG_DEBUG } upt_log_level;

void upt_log_set_level(upt_log_level level);
upt_log_level upt_log_level_of(const char *name); /* "error", "warning", "info", "debug"; anything else: info */
void upt_log_set_json(int json);                  /* 1 JSON, 0 text, −1 by terminal */
bool upt_log_enabled(upt_log_level level);

/* component: "consumer", "view", …; fmt: the message, a sentence without secrets. */
void upt_log(upt_log_level level, const char *component, const char *fmt, ...) UPT_PRINTF(3, 4);

struct upt_log_site {
    _Atomic long long last_ms;
    _Atomic unsigned long long suppressed;
};
bool upt_log_site_pass(struct upt_log_site *site, unsigned long long *ret_suppressed);

#define upt_log_limited(level, component, ...)                                                              \
    do {                                                                                                    \
        static struct upt_log_site upt_site_;                                                               \
        unsigned long long upt_suppressed_ = 0;                                                             \
        if (upt_log_site_pass(&upt_site_, &upt_suppressed_)) {                                              \
            if (upt_suppressed_ > 0) {                                                                      \
                upt_log(level, component, "%llu more like the next line were not logged", upt_suppressed_); \
            }                                                                                               \
            upt_log(level, component, __VA_ARGS__);                                                         \
        }                                                                                                   \
    } while (0)

#endif
