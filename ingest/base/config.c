/* The configuration: the table as data, defaults, setting one key, loading a file.
 *
 * Every way in (default, file, command line) goes through upt_config_put with text, so that a value means the same
 * wherever it comes from. Values of single keys are judged there; what depends on several keys is in config_check.c.
 * One thread; afterwards read-only. */
#include "uptake/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_table.h"
#include "uptake/assert.h"

#define FILE_MAX ((size_t)256 * 1024)
#define KAFKA_MAX ((size_t)512)

#define MS_SECOND INT64_C(1000)
#define MS_MINUTE (60 * MS_SECOND)
#define MS_HOUR (60 * MS_MINUTE)
#define MS_DAY (24 * MS_HOUR)

/* Least and greatest values. A number without a line here would be unbounded: the unit test asserts there is none. */
struct range {
    const char *name;
    int64_t min, max;
};
static const struct range ranges[] = {
    {"topics.replication_factor", -1, 100},
    {"publish_interval", 1, MS_MINUTE},
    {"max_record_bytes", 64, 1000000000},
    {"max_batch_events", 1, 1000000},
    {"max_depth", 1, 64},
    {"flush_interval", 10, MS_HOUR},
    {"checkpoint_interval", 100, MS_HOUR},
    {"tick_grace", 0, MS_HOUR},
    {"max_future", 0, 30 * MS_DAY},
    {"dedup_window", 0, 49 * MS_DAY}, /* ids have their times in 32 bits */
    {"memory_limit", INT64_C(16) << 20, INT64_C(1) << 46},
    {"repair_interval", MS_SECOND, MS_DAY},
    {"retention", MS_MINUTE, 36500 * MS_DAY},
    {"adopted.days", 1, 28},
    {"threads", 0, 64},
    {"redis.timeout", 10, 5 * MS_MINUTE},
    {"registry.timeout", 10, 5 * MS_MINUTE},
    {"registry.negative_ttl", 100, MS_DAY},
};

static const struct range *
range_of(const char *name)
{
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (strcmp(ranges[i].name, name) == 0) {
            return &ranges[i];
        }
    }
    return NULL;
}

static const struct upt_key table[] = {
#define UPT_KEY_ROW(type_, field_, name_, default_, secret_, what_) \
    {.name = (name_),                                               \
     .fallback = (default_),                                        \
     .what = (what_),                                               \
     .offset = offsetof(struct upt_config, field_),                 \
     .type = UPT_KEY_##type_,                                       \
     .secret = (secret_) != 0},
    UPT_CONFIG(UPT_KEY_ROW)
#undef UPT_KEY_ROW
};
const struct upt_key *const upt_keys = table;
const size_t upt_keys_n = sizeof(table) / sizeof(table[0]);

bool
upt_key_range(const struct upt_key *key, int64_t *ret_min, int64_t *ret_max)
{
    const struct range *range = range_of(key->name);
    if (range == NULL) {
        return false;
    }
    *ret_min = range->min;
    *ret_max = range->max;
    return true;
}

const struct upt_key *
upt_key_find(const char *name)
{
    for (size_t i = 0; i < upt_keys_n; i++) {
        if (strcmp(upt_keys[i].name, name) == 0) {
            return &upt_keys[i];
        }
    }
    return NULL;
}

bool
upt_key_is_section(const char *name)
{
    size_t len = strlen(name);
    if (strcmp(name, "kafka") == 0) {
        return true;
    }
    for (size_t i = 0; i < upt_keys_n; i++) {
        if (strncmp(upt_keys[i].name, name, len) == 0 && upt_keys[i].name[len] == '.') {
            return true;
        }
    }
    return false;
}

const char *
upt_key_text(const struct upt_config *config, const struct upt_key *key)
{
    const void *field = (const char *)config + key->offset;
    return *(char *const *)field;
}

int64_t
upt_key_number(const struct upt_config *config, const struct upt_key *key)
{
    const void *field = (const char *)config + key->offset;
    return *(const int64_t *)field;
}

bool
upt_key_flag(const struct upt_config *config, const struct upt_key *key)
{
    const void *field = (const char *)config + key->offset;
    return *(const bool *)field;
}

void
upt_key_format(const struct upt_key *key, int64_t v, char *buf)
{
    if (key->type == UPT_KEY_DURATION) {
        upt_format_duration(v, buf);
    } else if (key->type == UPT_KEY_SIZE) {
        upt_format_size(v, buf);
    } else {
        snprintf(buf, 32, "%lld", (long long)v);
    }
}

bool
upt_key_enum_has(const char *values, const char *value)
{
    size_t len = strlen(value);
    for (const char *at = values; at != NULL; at = strchr(at, '|')) {
        at += at == values ? 0 : 1;
        if (strcspn(at, "|") == len && strncmp(at, value, len) == 0) {
            return true;
        }
    }
    return false;
}

upt_status
upt_config_fail(const struct upt_config *config, int line, const char *key, struct upt_error *reterr, const char *fmt,
                ...)
{
    char what[sizeof(((struct upt_error *)0)->msg)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    const char *colon = key[0] == '\0' ? "" : ": ";
    if (line > 0 && config->path != NULL) {
        return upt_fail(reterr, UPT_EINVAL, "%s:%d: %s%s%s", config->path, line, key, colon, what);
    }
    bool file = config->path != NULL;
    return upt_fail(reterr, UPT_EINVAL, "%s%s%s%s%s", file ? config->path : "", file ? ": " : "", key, colon, what);
}

static void *
field_of(struct upt_config *config, const struct upt_key *key)
{
    return (char *)config + key->offset;
}

static bool
replace_text(char **field, const char *value)
{
    char *copy = strdup(value);
    if (copy == NULL) {
        return false;
    }
    free(*field);
    *field = copy;
    return true;
}

/* A whole number in decimal. */
static bool
parse_int(const char *text, int64_t *ret)
{
    char *end = NULL;
    const char *digits = text + (text[0] == '-' ? 1 : 0);
    if (digits[0] == '\0' || strspn(digits, "0123456789") != strlen(digits)) {
        return false;
    }
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0') {
        return false;
    }
    *ret = v;
    return true;
}

static upt_status
put_number(struct upt_config *config, const struct upt_key *key, const char *value, int line, struct upt_error *reterr)
{
    static const char *const forms[] = {
        [UPT_KEY_DURATION] = "a duration, such as 500ms, 10s, 5m, 2h or 30d",
        [UPT_KEY_SIZE] = "a size in bytes, such as 512, 64KiB, 1MiB or 4GiB",
        [UPT_KEY_INT] = "a whole number",
    };
    int64_t v = 0;
    bool ok = key->type == UPT_KEY_DURATION ? upt_parse_duration(value, &v)
              : key->type == UPT_KEY_SIZE   ? upt_parse_size(value, &v)
                                            : parse_int(value, &v);
    if (!ok) {
        return upt_config_fail(config, line, key->name, reterr, "\"%.60s\" is not %s", value, forms[key->type]);
    }
    int64_t min = INT64_MIN;
    int64_t max = INT64_MAX;
    (void)upt_key_range(key, &min, &max);
    if (v < min || v > max) {
        char low[32];
        char high[32];
        upt_key_format(key, min, low);
        upt_key_format(key, max, high);
        return upt_config_fail(config, line, key->name, reterr, "%.60s is out of range; allowed are %s to %s", value,
                               low, high);
    }
    *(int64_t *)field_of(config, key) = v;
    return UPT_OK;
}

static upt_status
put_key(struct upt_config *config, const struct upt_key *key, const char *value, int line, struct upt_error *reterr)
{
    if (key->type == UPT_KEY_BOOL) {
        bool yes = strcmp(value, "true") == 0;
        if (!yes && strcmp(value, "false") != 0) {
            return upt_config_fail(config, line, key->name, reterr, "\"%.60s\" is neither true nor false", value);
        }
        *(bool *)field_of(config, key) = yes;
        return UPT_OK;
    }
    if (key->type != UPT_KEY_STR && key->type != UPT_KEY_ENUM) {
        return put_number(config, key, value, line, reterr);
    }
    if (key->type == UPT_KEY_ENUM && !upt_key_enum_has(key->fallback, value)) {
        return upt_config_fail(config, line, key->name, reterr, "\"%.60s\" is not one of %s", value, key->fallback);
    }
    for (const char *c = value; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7F) {
            return upt_config_fail(config, line, key->name, reterr,
                                   "holds a control character; one line of text is allowed");
        }
    }
    if (!replace_text(field_of(config, key), value)) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for the configuration");
    }
    return UPT_OK;
}

static upt_status
put_kafka(struct upt_config *config, const char *name, const char *value, int line, struct upt_error *reterr)
{
    char full[160];
    snprintf(full, sizeof(full), "%s%.120s", UPT_KAFKA_PREFIX, name);
    const char *why = upt_kafka_owned(name, line > 0);
    if (why != NULL) {
        return upt_config_fail(config, line, full, reterr, "uptake owns this property: %s", why);
    }
    struct upt_kv *kv = NULL;
    for (size_t i = 0; i < config->kafka_n; i++) {
        if (strcmp(config->kafka[i].name, name) == 0) {
            kv = &config->kafka[i];
        }
    }
    if (kv == NULL) {
        if (config->kafka_n == KAFKA_MAX) {
            return upt_config_fail(config, line, full, reterr, "there are more than %zu properties", KAFKA_MAX);
        }
        struct upt_kv *grown = realloc(config->kafka, (config->kafka_n + 1) * sizeof(*grown));
        if (grown == NULL) {
            return upt_fail(reterr, UPT_ENOMEM, "out of memory for the configuration");
        }
        config->kafka = grown;
        kv = &grown[config->kafka_n];
        *kv = (struct upt_kv){.name = strdup(name)};
        if (kv->name == NULL) {
            return upt_fail(reterr, UPT_ENOMEM, "out of memory for the configuration");
        }
        config->kafka_n++;
    }
    if (!replace_text(&kv->value, value)) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for the configuration");
    }
    kv->line = line;
    return UPT_OK;
}

static upt_status
unknown_key(const struct upt_config *config, const char *name, int line, struct upt_error *reterr)
{
    if (upt_key_is_section(name)) {
        return upt_config_fail(config, line, name, reterr, "is a section: it needs keys under it, not a value");
    }
    const char *guess = upt_key_guess(name);
    if (guess != NULL) {
        return upt_config_fail(config, line, name, reterr, "there is no such key; did you mean %s?", guess);
    }
    return upt_config_fail(config, line, name, reterr, "there is no such key; the reference lists all of them");
}

static bool
ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);
    return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

/* Whether a secret's text, as it stands in the file, tells it: no reference, no name of a file, no URL without one. */
static bool
tells(const char *name, const char *raw)
{
    if (raw[0] == '\0' || ends_with(name, ".location")) {
        return false;
    }
    for (const char *at = raw; (at = strstr(at, "${")) != NULL; at++) {
        if (at == raw || at[-1] != '$') {
            return false;
        }
    }
    if (!ends_with(name, ".url")) {
        return true;
    }
    struct upt_buf masked = {0};
    upt_url_masked(raw, &masked);
    bool differ = !upt_str_eq((struct upt_str){.p = masked.p, .len = (uint32_t)masked.len}, upt_str_of(raw));
    upt_buf_fini(&masked);
    return differ;
}

/* The first secret that others may use: it stands in the file, or in one of its own (why, or ""). */
static void
warn_of(struct upt_config *config, const char *name, const char *raw, int line, const char *why)
{
    struct upt_buf text = {0};
    if (line <= 0 || config->path == NULL || config->warning != NULL) {
        return;
    }
    if (why[0] != '\0') {
        upt_buf_printf(&text, "%s:%d: %s: %s", config->path, line, name, why);
    } else if (config->shared != NULL && tells(name, raw)) {
        upt_buf_printf(&text, "%s:%d: %s: %s, or give it as ${file:PATH}", config->path, line, name, config->shared);
    }
    config->warning = text.p;
}

upt_status
upt_config_put(struct upt_config *config, const char *name, const char *raw, int line, struct upt_error *reterr)
{
    bool is_kafka = strncmp(name, UPT_KAFKA_PREFIX, strlen(UPT_KAFKA_PREFIX)) == 0;
    const char *property = is_kafka ? name + strlen(UPT_KAFKA_PREFIX) : "";
    const struct upt_key *key = is_kafka ? NULL : upt_key_find(name);
    if (key == NULL && property[0] == '\0') {
        return unknown_key(config, name, line, reterr);
    }
    bool secret = is_kafka ? upt_kafka_secret(property) : key->secret;
    struct upt_buf value = {0};
    char why[320];
    upt_status status = UPT_OK;
    if (!upt_value_substitute(raw, secret, &value, why, sizeof(why))) {
        status = upt_config_fail(config, line, name, reterr, "%s", why);
    } else if (is_kafka) {
        status = put_kafka(config, property, value.p, line, reterr);
    } else {
        status = put_key(config, key, value.p, line, reterr);
        if (status == UPT_OK) {
            config->lines[key - upt_keys] = line;
        }
    }
    if (status == UPT_OK && secret) {
        warn_of(config, name, raw, line, why);
    }
    upt_buf_fini(&value);
    return status;
}

upt_status
upt_config_set(struct upt_config *config, const char *key, const char *value, struct upt_error *reterr)
{
    return upt_config_put(config, key, value, 0, reterr);
}

upt_status
upt_config_default(struct upt_config **ret, struct upt_error *reterr)
{
    struct upt_config *config = calloc(1, sizeof(*config));
    upt_status status = UPT_OK;
    if (config != NULL) {
        config->lines = calloc(upt_keys_n, sizeof(*config->lines));
    }
    if (config == NULL || config->lines == NULL) {
        status = upt_fail(reterr, UPT_ENOMEM, "out of memory for the configuration");
        goto fail;
    }
    for (size_t i = 0; i < upt_keys_n; i++) {
        char value[128];
        size_t len =
            upt_keys[i].type == UPT_KEY_ENUM ? strcspn(upt_keys[i].fallback, "|") : strlen(upt_keys[i].fallback);
        snprintf(value, sizeof(value), "%.*s", (int)len, upt_keys[i].fallback);
        status = upt_config_put(config, upt_keys[i].name, value, 0, reterr);
        if (status != UPT_OK) {
            goto fail;
        }
    }
    *ret = config;
    return UPT_OK;
fail:
    upt_config_destroy(&config);
    return status;
}

void
upt_config_destroy(struct upt_config **config_p)
{
    struct upt_config *config = *config_p;
    if (config == NULL) {
        return;
    }
    for (size_t i = 0; i < upt_keys_n; i++) {
        if (upt_keys[i].type == UPT_KEY_STR || upt_keys[i].type == UPT_KEY_ENUM) {
            char **field = field_of(config, &upt_keys[i]);
            free(*field);
        }
    }
    for (size_t i = 0; i < config->kafka_n; i++) {
        free(config->kafka[i].name);
        free(config->kafka[i].value);
    }
    free(config->kafka);
    free(config->lines);
    free(config->path);
    free(config->shared);
    free(config->warning);
    free(config);
    *config_p = NULL;
}

/* The file's bytes, at most FILE_MAX. *ret_shared: why it should hold no secret, or NULL. */
static upt_status
read_file(const char *path, struct upt_buf *out, char **ret_shared, struct upt_error *reterr)
{
    char why[320];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return upt_fail(reterr, UPT_EINVAL, "%s: cannot be opened: %s", path, strerror(errno));
    }
    upt_status status = UPT_OK;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && !upt_secret_rights_ok(&st, path, why, sizeof(why))) {
        *ret_shared = strdup(why);
    }
    for (;;) {
        ssize_t n = read(fd, upt_buf_reserve(out, 16384), 16384);
        if (n == 0) {
            break;
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            status = upt_fail(reterr, UPT_EINVAL, "%s: cannot be read: %s", path, strerror(errno));
            break;
        }
        out->len += (size_t)n;
        if (out->len > FILE_MAX) {
            status = upt_fail(reterr, UPT_EINVAL, "%s: is longer than the %zu KiB allowed", path, FILE_MAX / 1024);
            break;
        }
    }
    close(fd);
    return status;
}

upt_status
upt_config_load(const char *path, struct upt_config **ret, struct upt_error *reterr)
{
    struct upt_config *config = NULL;
    struct upt_buf text = {0};
    upt_status status = upt_config_default(&config, reterr);
    if (status != UPT_OK) {
        goto fail;
    }
    upt_assert(config != NULL);
    config->path = strdup(path);
    if (config->path == NULL) {
        status = upt_fail(reterr, UPT_ENOMEM, "out of memory for the configuration");
        goto fail;
    }
    status = read_file(path, &text, &config->shared, reterr);
    if (status == UPT_OK) {
        status = upt_config_parse(config, text.p, text.len, reterr);
    }
    if (status == UPT_OK) {
        status = upt_config_validate(config, reterr);
    }
    if (status != UPT_OK) {
        goto fail;
    }
    upt_buf_fini(&text);
    *ret = config;
    return UPT_OK;
fail:
    upt_buf_fini(&text);
    upt_config_destroy(&config);
    return status;
}
