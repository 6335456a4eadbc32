/* The configuration as output: the effective one, its hash, and the reference document.
 *
 * What is printed can be read again (secrets aside): every text is quoted the JSON way, which YAML contains, and "${"
 * is written "$${". The hash is over the same text forms as a file has, so it does not depend on the machine. One
 * thread; reads only. */
#include "config_table.h"

static const char masked[] = "***";

/* Text in quotes, so that it reads back as itself. */
static void
put_quoted(struct upt_buf *out, const char *text)
{
    struct upt_buf escaped = {0};
    for (const char *at = text; *at != '\0'; at++) {
        upt_buf_puts(&escaped, at[0] == '$' && at[1] == '{' ? "$" : "");
        upt_buf_put(&escaped, at, 1);
    }
    upt_buf_put_json(out, escaped.len == 0 ? "" : escaped.p, escaped.len);
    upt_buf_fini(&escaped);
}

/* One URL, from text up to end. */
static void
put_url_masked(struct upt_buf *out, const char *text, const char *end)
{
    const char *host = NULL;
    const char *colon = NULL;
    const char *scheme_end = strstr(text, "://");
    const char *user = scheme_end == NULL || scheme_end > end ? text : scheme_end + 3;
    for (const char *c = user; c < end; c++) {
        host = *c == '@' ? c : host;
    }
    for (const char *c = user; host != NULL && c < host && colon == NULL; c++) {
        colon = *c == ':' ? c : NULL;
    }
    if (colon == NULL) {
        upt_buf_put(out, text, (size_t)(end - text));
        return;
    }
    upt_buf_put(out, text, (size_t)(colon + 1 - text));
    upt_buf_puts(out, masked);
    upt_buf_put(out, host, (size_t)(end - host));
}

void
upt_url_masked(const char *urls, struct upt_buf *out)
{
    for (const char *at = urls;;) {
        const char *end = at + strcspn(at, ",");
        put_url_masked(out, at, end);
        if (*end == '\0') {
            break;
        }
        upt_buf_put(out, ",", 1);
        at = end + 1;
    }
}

static bool
is_url(const struct upt_key *key)
{
    size_t len = strlen(key->name);
    return len > 4 && strcmp(key->name + len - 4, ".url") == 0;
}

static void
put_secret(struct upt_buf *out, const struct upt_key *key, const char *value)
{
    struct upt_buf shown = {0};
    if (is_url(key)) {
        upt_url_masked(value, &shown);
    } else if (value[0] != '\0') {
        upt_buf_puts(&shown, masked);
    }
    upt_buf_put(&shown, "", 1);
    put_quoted(out, shown.p);
    upt_buf_fini(&shown);
}

/* The key's value as a file would have it. */
static void
put_value(struct upt_buf *out, const struct upt_config *config, const struct upt_key *key)
{
    char number[32];
    switch (key->type) {
    case UPT_KEY_STR:
        if (key->secret) {
            put_secret(out, key, upt_key_text(config, key));
        } else {
            put_quoted(out, upt_key_text(config, key));
        }
        break;
    case UPT_KEY_ENUM:
        upt_buf_puts(out, upt_key_text(config, key));
        break;
    case UPT_KEY_BOOL:
        upt_buf_puts(out, upt_key_flag(config, key) ? "true" : "false");
        break;
    case UPT_KEY_DURATION:
    case UPT_KEY_SIZE:
    case UPT_KEY_INT:
        upt_key_format(key, upt_key_number(config, key), number);
        upt_buf_puts(out, number);
        break;
    }
}

void
upt_config_print(const struct upt_config *config, struct upt_buf *out)
{
    for (size_t i = 0; i < upt_keys_n; i++) {
        upt_buf_printf(out, "%s: ", upt_keys[i].name);
        put_value(out, config, &upt_keys[i]);
        upt_buf_puts(out, "\n");
    }
    upt_buf_puts(out, config->kafka_n == 0 ? "kafka: {}\n" : "kafka:\n");
    for (size_t i = 0; i < config->kafka_n; i++) {
        const struct upt_kv *kv = &config->kafka[i];
        upt_buf_printf(out, "  %s: ", kv->name);
        put_quoted(out, upt_kafka_secret(kv->name) && kv->value[0] != '\0' ? masked : kv->value);
        upt_buf_puts(out, "\n");
    }
}

/* What decides an output. Not the names of topics; nor tick_grace: places of wall ticks are recorded, a replay takes
 * them from there. Rules and model have versions of their own. */
static const char *const deciding[] = {
    "input.framing", "max_record_bytes", "max_batch_events", "max_depth",    "clock",
    "max_future",    "dedup_window",     "retention",        "adopted.days",
};

void
upt_config_hash(const struct upt_config *config, char ret_hex[17])
{
    static const char hex[] = "0123456789abcdef";
    struct upt_buf text = {0};
    for (size_t i = 0; i < sizeof(deciding) / sizeof(deciding[0]); i++) {
        upt_buf_printf(&text, "%s: ", deciding[i]);
        put_value(&text, config, upt_key_find(deciding[i]));
        upt_buf_puts(&text, "\n");
    }
    uint64_t hash = upt_hash(text.p, text.len);
    for (size_t i = 0; i < 16; i++) {
        ret_hex[i] = hex[(hash >> (60 - 4 * i)) & 15U];
    }
    ret_hex[16] = '\0';
    upt_buf_fini(&text);
}

/* Taken in without a restart. */
static bool
reloaded(const char *name)
{
    return strcmp(name, "rules_file") == 0 || strcmp(name, "model_file") == 0 || strcmp(name, "log.level") == 0;
}

static bool
same_value(const struct upt_config *a, const struct upt_config *b, const struct upt_key *key)
{
    switch (key->type) {
    case UPT_KEY_STR:
    case UPT_KEY_ENUM:
        return strcmp(upt_key_text(a, key), upt_key_text(b, key)) == 0;
    case UPT_KEY_BOOL:
        return upt_key_flag(a, key) == upt_key_flag(b, key);
    case UPT_KEY_DURATION:
    case UPT_KEY_SIZE:
    case UPT_KEY_INT:
        break;
    }
    return upt_key_number(a, key) == upt_key_number(b, key);
}

static const char *
property(const struct upt_config *config, const char *name)
{
    for (size_t i = 0; i < config->kafka_n; i++) {
        if (strcmp(config->kafka[i].name, name) == 0) {
            return config->kafka[i].value;
        }
    }
    return NULL;
}

void
upt_config_differences(const struct upt_config *a, const struct upt_config *b, struct upt_buf *out)
{
    for (size_t i = 0; i < upt_keys_n; i++) {
        const struct upt_key *key = &upt_keys[i];
        if (!reloaded(key->name) && !same_value(a, b, key)) {
            upt_buf_printf(out, "%s%s", out->len > 0 ? ", " : "", key->name);
        }
    }
    for (size_t i = 0; i < a->kafka_n; i++) {
        const char *other = property(b, a->kafka[i].name);
        if (other == NULL || strcmp(other, a->kafka[i].value) != 0) {
            upt_buf_printf(out, "%s" UPT_KAFKA_PREFIX "%s", out->len > 0 ? ", " : "", a->kafka[i].name);
        }
    }
    for (size_t i = 0; i < b->kafka_n; i++) {
        if (property(a, b->kafka[i].name) == NULL) {
            upt_buf_printf(out, "%s" UPT_KAFKA_PREFIX "%s", out->len > 0 ? ", " : "", b->kafka[i].name);
        }
    }
}

static void
put_type(struct upt_buf *out, const struct upt_key *key)
{
    static const char *const names[] = {
        [UPT_KEY_STR] = "text",          [UPT_KEY_ENUM] = "",
        [UPT_KEY_DURATION] = "duration", [UPT_KEY_SIZE] = "size",
        [UPT_KEY_INT] = "whole number",  [UPT_KEY_BOOL] = "true or false",
    };
    upt_buf_puts(out, key->secret && !is_url(key) ? "secret" : names[key->type]);
    int64_t min = 0;
    int64_t max = 0;
    if (upt_key_range(key, &min, &max)) {
        char low[32];
        char high[32];
        upt_key_format(key, min, low);
        upt_key_format(key, max, high);
        upt_buf_printf(out, ", %s to %s", low, high);
    }
    for (const char *at = key->fallback; key->type == UPT_KEY_ENUM;) {
        size_t len = strcspn(at, "|");
        upt_buf_printf(out, "`%.*s`", (int)len, at);
        if (at[len] == '\0') {
            break;
        }
        upt_buf_puts(out, " or ");
        at += len + 1;
    }
}

void
upt_config_markdown(struct upt_buf *out)
{
    upt_buf_puts(
        out,
        "# Configuration\n\nGenerated from the table in `include/uptake/config.h`; do not edit.\n\n"
        "A YAML file of keys and values, nested or dotted alike: `redis: {url: …}` is `redis.url: …`. An unknown or\n"
        "repeated key is an error with its line. `${NAME}` anywhere in a value takes an environment variable,\n"
        "`${file:PATH}` a file, of at most 64 KiB, without the newline at its end; `$${` is a plain `${`. A file that\n"
        "holds a secret should not be readable by others; where this one or such a file does and is, `uptake check`\n"
        "and `uptake run` warn. Durations are `500ms`, `10s`, `5m`, `2h`, `30d`; sizes `512`, `64KiB`, `1MiB`, "
        "`4GiB`.\n\n"
        "| key | type | default | what |\n|---|---|---|---|\n");
    for (size_t i = 0; i < upt_keys_n; i++) {
        const struct upt_key *key = &upt_keys[i];
        upt_buf_printf(out, "| `%s` | ", key->name);
        put_type(out, key);
        size_t len = key->type == UPT_KEY_ENUM ? strcspn(key->fallback, "|") : strlen(key->fallback);
        if (len > 0) {
            upt_buf_printf(out, " | `%.*s` | %s |\n", (int)len, key->fallback, key->what);
        } else {
            upt_buf_printf(out, " | | %s |\n", key->what);
        }
    }
    upt_buf_puts(out,
                 "\n## Kafka\n\nKeys under `kafka:` are librdkafka's properties and pass through as they are; one of\n"
                 "`bootstrap.servers` and `metadata.broker.list` is needed. These are refused, since uptake sets them "
                 "itself:\n\n"
                 "| property | why |\n|---|---|\n");
    upt_kafka_owned_markdown(out);
    upt_buf_puts(out,
                 "\nThese have a default of uptake's own; one that is given counts for all clients that know it:\n\n"
                 "| property | default | of the clients of |\n|---|---|---|\n");
    upt_kafka_defaults_markdown(out);
}
