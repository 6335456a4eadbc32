/* Log lines to standard error.
 *
 * A line is built on the stack and leaves with one write(2): lines of several threads never mix, nothing is buffered
 * when the process dies, and no lock is held while a slow terminal drains. A line that a full pipe refuses is lost
 * rather than waited for. Text from outside (topic names, server errors) is escaped: it can neither forge a second line
 * nor drive a terminal. Any thread; level and format are relaxed atomics. */
#include "uptake/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "uptake/time.h"
#include "utf8.h"

#define MESSAGE_MAX 2048U
#define COMPONENT_MAX 32U

static _Atomic int current_level = UPT_LOG_INFO;
static _Atomic int current_json = -1;

void
upt_log_set_level(upt_log_level level)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

void
upt_log_set_json(int json)
{
    atomic_store_explicit(&current_json, json, memory_order_relaxed);
}

bool
upt_log_enabled(upt_log_level level)
{
    return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

/* The longest prefix of at most max bytes that does not split a character. */
static size_t
cut(const char *p, size_t len, size_t max)
{
    if (len <= max) {
        return len;
    }
    size_t n = max;
    while (n > 0 && max - n < 3 && ((unsigned char)p[n] & 0xC0U) == 0x80U) {
        n--;
    }
    return n;
}

static size_t
put(char *out, size_t at, const char *cstr)
{
    size_t len = strlen(cstr);
    memcpy(out + at, cstr, len);
    return at + len;
}

static size_t
format_line(upt_log_level level, const char *component, const char *msg, size_t len, char *out)
{
    static const char *const text_names[] = {"ERROR", "WARNING", "INFO", "DEBUG"};
    static const char *const json_names[] = {"error", "warning", "info", "debug"};
    static const char ellipsis[] = "\xE2\x80\xA6";
    int json = atomic_load_explicit(&current_json, memory_order_relaxed);
    bool as_json = json > 0 || (json < 0 && isatty(STDERR_FILENO) == 0);
    size_t unit = level > UPT_LOG_DEBUG ? UPT_LOG_DEBUG : level;
    char time[32];
    upt_format_time(upt_wall_ms(), time);

    size_t at = as_json ? put(out, 0, "{\"ts\":\"") : 0;
    at = put(out, at, time);
    at = put(out, at, as_json ? "\",\"level\":\"" : " ");
    at = put(out, at, as_json ? json_names[unit] : text_names[unit]);
    at = put(out, at, as_json ? "\",\"component\":\"" : " ");
    at += upt_utf8_escape(component, cut(component, strlen(component), COMPONENT_MAX), as_json, out + at);
    at = put(out, at, as_json ? "\",\"msg\":\"" : " ");
    size_t kept = cut(msg, len, MESSAGE_MAX);
    at += upt_utf8_escape(msg, kept, as_json, out + at);
    if (kept < len) {
        at = put(out, at, ellipsis);
    }
    return put(out, at, as_json ? "\"}\n" : "\n");
}

void
upt_log(upt_log_level level, const char *component, const char *fmt, ...)
{
    if (!upt_log_enabled(level)) {
        return;
    }
    int saved_errno = errno;
    /* Room for a character more than is kept, so that a cut shows. */
    char msg[MESSAGE_MAX + 8];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(msg, sizeof(msg), fmt, args);
    va_end(args);
    if (n >= 0) {
        size_t len = (size_t)n < sizeof(msg) ? (size_t)n : sizeof(msg) - 1;
        char line[UPT_ESCAPE_MAX * (MESSAGE_MAX + COMPONENT_MAX) + 128];
        size_t line_len = format_line(level, component, msg, len, line);
        while (write(STDERR_FILENO, line, line_len) < 0 && errno == EINTR) {
        }
    }
    errno = saved_errno;
}

bool
upt_log_site_pass(struct upt_log_site *site, unsigned long long *ret_suppressed)
{
    long long now = (long long)upt_mono_ms() + 1; /* 0 is kept for "never" */
    long long last = atomic_load_explicit(&site->last_ms, memory_order_relaxed);
    bool due = last == 0 || now - last >= 1000;
    if (!due || !atomic_compare_exchange_strong_explicit(&site->last_ms, &last, now, memory_order_relaxed,
                                                         memory_order_relaxed)) {
        atomic_fetch_add_explicit(&site->suppressed, 1, memory_order_relaxed);
        return false;
    }
    *ret_suppressed = atomic_exchange_explicit(&site->suppressed, 0, memory_order_relaxed);
    return true;
}

upt_log_level
upt_log_level_of(const char *name)
{
    return strcmp(name, "error") == 0     ? UPT_LOG_ERROR
           : strcmp(name, "warning") == 0 ? UPT_LOG_WARNING
           : strcmp(name, "debug") == 0   ? UPT_LOG_DEBUG
                                          : UPT_LOG_INFO;
}
