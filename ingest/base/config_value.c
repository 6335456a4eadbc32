/* Values as text: durations, sizes, ${…}.
 *
 * Substitution happens in values only and once: what a variable holds is taken as it is, so a password with a "$" in it
 * cannot pull in another file. A secret's file that others may read is told, not refused: orchestrators hand secrets
 * over with mode 0644. A file of root's may be readable by its group without a word.
 * Any thread, given that nobody changes the environment. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_table.h"

#define TEXT_MAX ((size_t)64 * 1024)
#define TOKEN_MAX ((size_t)4096) /* with room beside it in the admin port's 16 KiB of headers */

struct unit {
    const char *name;
    int64_t factor;
};
/* From small to large: formatting takes the last that divides. */
static const struct unit duration_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
static const struct unit size_units[] = {
    {"", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"TiB", INT64_C(1099511627776)}};

static bool
parse_with_unit(const char *text, const struct unit *units, size_t n, int64_t *ret)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18) {
        return false;
    }
    int64_t v = 0;
    for (size_t i = 0; i < digits; i++) {
        v = v * 10 + (text[i] - '0');
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(text + digits, units[i].name) == 0) {
            if (v > INT64_MAX / units[i].factor) {
                return false;
            }
            *ret = v * units[i].factor;
            return true;
        }
    }
    return false;
}

static void
format_with_unit(int64_t v, const struct unit *units, size_t n, char *buf)
{
    size_t unit = 0;
    for (size_t i = 0; i < n && v != 0; i++) {
        unit = v % units[i].factor == 0 ? i : unit;
    }
    snprintf(buf, 32, "%lld%s", (long long)(v / units[unit].factor), units[unit].name);
}

bool
upt_parse_duration(const char *text, int64_t *ret_ms)
{
    return parse_with_unit(text, duration_units, sizeof(duration_units) / sizeof(duration_units[0]), ret_ms);
}

bool
upt_parse_size(const char *text, int64_t *ret_bytes)
{
    return parse_with_unit(text, size_units, sizeof(size_units) / sizeof(size_units[0]), ret_bytes);
}

void
upt_format_duration(int64_t ms, char *buf)
{
    format_with_unit(ms, duration_units, sizeof(duration_units) / sizeof(duration_units[0]), buf);
}

void
upt_format_size(int64_t bytes, char *buf)
{
    format_with_unit(bytes, size_units, sizeof(size_units) / sizeof(size_units[0]), buf);
}

/* Where a reason for refusing goes. */
struct why {
    char *text;
    size_t cap;
};

static bool refuse(struct why why, const char *fmt, ...) UPT_PRINTF(2, 3);
static bool
refuse(struct why why, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(why.text, why.cap, fmt, args);
    va_end(args);
    return false;
}

bool
upt_secret_rights_ok(const struct stat *st, const char *path, char *ret_why, size_t why_cap)
{
    struct why why = {.text = ret_why, .cap = why_cap};
    mode_t mode = st->st_mode & 0777U;
    if (st->st_uid == 0 && geteuid() != 0) {
        if ((mode & (S_IWGRP | S_IRWXO)) != 0) {
            return refuse(why, "%.120s holds a secret, and others may use it (mode %03o); run: chmod 640 %.120s", path,
                          (unsigned)mode, path);
        }
        return true;
    }
    if ((mode & (S_IRWXG | S_IRWXO)) != 0) {
        return refuse(why, "%.120s holds a secret, and group or others may use it (mode %03o); run: chmod 600 %.120s",
                      path, (unsigned)mode, path);
    }
    return true;
}

static bool
read_first_line(int fd, const char *path, struct upt_buf *out, struct why why)
{
    size_t begin = out->len;
    const char *newline = NULL;
    while (newline == NULL) {
        ssize_t n = read(fd, upt_buf_reserve(out, 4096), 4096);
        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            return refuse(why, "%.120s cannot be read: %s", path, strerror(errno));
        }
        if (n > 0) {
            newline = memchr(out->p + out->len, '\n', (size_t)n);
            out->len = newline != NULL ? (size_t)(newline - out->p) : out->len + (size_t)n;
        }
        if (out->len - begin > TEXT_MAX) {
            return refuse(why, "the first line of %.120s is longer than 64 KiB", path);
        }
    }
    if (out->len > begin && out->p[out->len - 1] == '\r') {
        out->len--;
    }
    if (out->len == begin) {
        return refuse(why, "the first line of %.120s is empty", path);
    }
    return true;
}

/* All of it but one newline at its end, which editors put there: the lines of a PEM are all wanted. */
static bool
read_text(int fd, const char *path, struct upt_buf *out, struct why why)
{
    size_t begin = out->len;
    for (;;) {
        ssize_t n = read(fd, upt_buf_reserve(out, 4096), 4096);
        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            return refuse(why, "%.120s cannot be read: %s", path, strerror(errno));
        }
        out->len += n > 0 ? (size_t)n : 0;
        if (out->len - begin > TEXT_MAX) {
            return refuse(why, "%.120s is longer than 64 KiB", path);
        }
    }
    bool line = out->len > begin && out->p[out->len - 1] == '\n';
    out->len -= line ? 1 : 0;
    out->len -= line && out->len > begin && out->p[out->len - 1] == '\r' ? 1 : 0;
    return out->len > begin || refuse(why, "%.120s is empty", path);
}

/* why without the file being refused: others may use the secret in it; of several the first is told. */
static bool
put_file(const char *path, bool secret, struct upt_buf *out, struct why why)
{
    /* O_NONBLOCK: a FIFO is refused below, opening it must not wait. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return refuse(why, "%.120s cannot be opened: %s", path, strerror(errno));
    }
    struct stat st;
    bool ok = false;
    if (fstat(fd, &st) != 0) {
        ok = refuse(why, "%.120s cannot be read: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        ok = refuse(why, "%.120s is not a plain file", path);
    } else {
        ok = read_text(fd, path, out, why);
        if (ok && secret && why.text[0] == '\0') {
            (void)upt_secret_rights_ok(&st, path, why.text, why.cap);
        }
    }
    close(fd);
    return ok;
}

static bool
put_variable(const char *name, struct upt_buf *out, struct why why)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    if (name[0] == '\0' || strspn(name, letters) != strlen(name) || (name[0] >= '0' && name[0] <= '9')) {
        return refuse(why, "${%.60s} is neither ${NAME} of a variable nor ${file:PATH}; write $${ for a plain ${",
                      name);
    }
    const char *value = getenv(name);
    if (value == NULL) {
        return refuse(why, "the environment variable %.60s is not set", name);
    }
    upt_buf_puts(out, value);
    return true;
}

/* The part between "${" and "}". */
static bool
put_reference(const char *name, bool secret, struct upt_buf *out, struct why why)
{
    static const char file[] = "file:";
    if (strncmp(name, file, sizeof(file) - 1) == 0) {
        return put_file(name + sizeof(file) - 1, secret, out, why);
    }
    return put_variable(name, out, why);
}

bool
upt_value_substitute(const char *raw, bool secret, struct upt_buf *ret, char *ret_why, size_t why_cap)
{
    struct why why = {.text = ret_why, .cap = why_cap};
    const char *at = raw;
    ret_why[0] = '\0';
    for (const char *dollar = strchr(at, '$'); dollar != NULL; dollar = strchr(dollar, '$')) {
        if (strncmp(dollar, "$${", 3) == 0) {
            upt_buf_put(ret, at, (size_t)(dollar - at));
            upt_buf_puts(ret, "${");
            at = dollar + 3;
            dollar = at;
        } else if (dollar[1] == '{') {
            const char *close_at = strchr(dollar, '}');
            char name[1024];
            if (close_at == NULL || (size_t)(close_at - dollar - 2) >= sizeof(name)) {
                return refuse(why, "${ without a } after it; write $${ for a plain ${");
            }
            upt_buf_put(ret, at, (size_t)(dollar - at));
            snprintf(name, sizeof(name), "%.*s", (int)(close_at - dollar - 2), dollar + 2);
            if (!put_reference(name, secret, ret, why)) {
                return false;
            }
            at = close_at + 1;
            dollar = at;
        } else {
            dollar++;
        }
    }
    upt_buf_puts(ret, at);
    if (ret->len > 0 && (memchr(ret->p, '\0', ret->len) != NULL || !upt_utf8_valid(ret->p, ret->len))) {
        return refuse(why, "the value is not text (UTF-8)");
    }
    upt_buf_put(ret, "", 1); /* ends the string; not counted */
    ret->len--;
    return true;
}

/* Blanks around the token are none of it: HTTP would not keep them. */
static void
strip(struct upt_buf *line)
{
    size_t first = 0;
    while (line->len > 0 && strchr(" \t\r", line->p[line->len - 1]) != NULL) {
        line->len--;
    }
    while (first < line->len && strchr(" \t", line->p[first]) != NULL) {
        first++;
    }
    if (first > 0) {
        memmove(line->p, line->p + first, line->len - first);
        line->len -= first;
    }
}

upt_status
upt_config_token(const struct upt_config *config, struct upt_buf *ret, char *ret_warning, size_t cap,
                 struct upt_error *reterr)
{
    const char *path = config->admin_token_file;
    char text[320] = "";
    struct why why = {.text = text, .cap = sizeof(text)};
    struct stat st;
    ret_warning[0] = '\0';
    upt_buf_clear(ret);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    bool ok = fd >= 0 ? read_first_line(fd, path, ret, why)
                      : refuse(why, "%.120s cannot be opened: %s", path, strerror(errno));
    if (ok) {
        strip(ret);
        ok = ret->len > 0 || refuse(why, "the first line of %.120s is empty", path);
    }
    if (ok && (ret->len > TOKEN_MAX || memchr(ret->p, '\0', ret->len) != NULL || !upt_utf8_valid(ret->p, ret->len))) {
        ok = refuse(why, "the first line of %.120s is no token: text of at most %zu bytes is wanted", path, TOKEN_MAX);
    }
    if (ok && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        (void)upt_secret_rights_ok(&st, path, ret_warning, cap);
    }
    if (fd >= 0) {
        close(fd);
    }
    upt_buf_put(ret, "", 1); /* ends the string; not counted */
    ret->len--;
    return ok ? UPT_OK : upt_fail(reterr, UPT_EINVAL, "admin.token_file: %s", text);
}
