/* What no single value shows: forms of text values, and keys that depend on each other.
 *
 * The first fault is reported with the line of its key; a fault that is somewhere else's to find (whether a broker
 * answers, a schema parses, librdkafka takes a value) is not looked for. Values of secrets are never in a message. */
#include <stdio.h>
#include <stdlib.h>

#include "config_table.h"
#include "uptake/time.h"

/* Fails at the line of the named key. */
#define AT(config, name, reterr, ...) \
    upt_config_fail((config), (config)->lines[upt_key_find(name) - upt_keys], (name), (reterr), __VA_ARGS__)

static bool
printable_to(const char *text, const char *end)
{
    for (const char *c = text; c < end; c++) {
        if (*c <= 0x20 || *c >= 0x7F) {
            return false;
        }
    }
    return true;
}

static bool
printable(const char *text)
{
    return printable_to(text, text + strlen(text));
}

static upt_status
check_names(const struct upt_config *config, struct upt_error *reterr)
{
    if (config->group[0] == '\0' || strlen(config->group) > 128 || !printable(config->group)) {
        return AT(config, "group", reterr, "must be 1 to 128 printable ASCII characters without blanks");
    }
    if (strlen(config->instance) > 64 || !printable(config->instance)) {
        return AT(config, "instance", reterr, "must be at most 64 printable ASCII characters without blanks");
    }
    const char *prefix = config->redis_prefix;
    if (prefix[0] == '\0' || strlen(prefix) > 64 || !printable(prefix) || strpbrk(prefix, "{}") != NULL) {
        return AT(config, "redis.prefix", reterr,
                  "must be 1 to 64 printable ASCII characters without blanks and braces");
    }
    return UPT_OK;
}

static upt_status
check_topics(const struct upt_config *config, struct upt_error *reterr)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const struct {
        const char *key, *topic;
    } topics[] = {{"input.topic", config->input_topic},
                  {"output.health_topic", config->health_topic},
                  {"output.alerts_topic", config->alerts_topic},
                  {"output.dead_topic", config->dead_topic},
                  {"state_topic", config->state_topic}};
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        const char *topic = topics[i].topic;
        size_t len = strlen(topic);
        if (len == 0 || len > 249 || strspn(topic, letters) != len || strcmp(topic, ".") == 0 ||
            strcmp(topic, "..") == 0) {
            return AT(config, topics[i].key, reterr, "is no topic name; allowed are 1 to 249 of A-Z a-z 0-9 . _ -");
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(topic, topics[j].topic) == 0) {
                return AT(config, topics[i].key, reterr, "is the same topic as %s; they must differ", topics[j].key);
            }
        }
    }
    return UPT_OK;
}

static upt_status
check_times(const struct upt_config *config, struct upt_error *reterr)
{
    int64_t ms = 0;
    const char *start = config->start;
    if (strcmp(start, "earliest") != 0 && strcmp(start, "latest") != 0 &&
        !upt_parse_time(start, (uint32_t)strlen(start), &ms)) {
        return AT(config, "start", reterr, "must be earliest, latest or a UTC time such as 2026-01-31T00:00:00Z");
    }
    const char *from = config->publish_from;
    if (strcmp(from, "start") != 0 && !upt_parse_time(from, (uint32_t)strlen(from), &ms)) {
        return AT(config, "publish_from", reterr, "must be start or a UTC time such as 2026-01-31T00:00:00Z");
    }
    return UPT_OK;
}

/* A port in decimal, from text up to end. */
static bool
port_ok(const char *text, const char *end, long min)
{
    size_t len = (size_t)(end - text);
    if (len == 0 || len > 5 || strspn(text, "0123456789") < len) {
        return false;
    }
    long port = strtol(text, NULL, 10);
    return port >= min && port <= 65535;
}

/* HOST[:PORT] or [IPv6][:PORT], from text up to end. */
static bool
authority_ok(const char *text, const char *end, bool need_port, long min)
{
    const char *host_end = text;
    if (text < end && *text == '[') {
        while (host_end < end && *host_end != ']') {
            host_end++;
        }
        if (host_end == end || host_end - text < 3) {
            return false;
        }
        host_end++;
    } else {
        while (host_end < end && *host_end != ':') {
            host_end++;
        }
    }
    if (host_end == text) {
        return false;
    }
    return host_end == end ? !need_port : *host_end == ':' && port_ok(host_end + 1, end, min);
}

/* One URL of either of two schemes, from text up to end. Its path is left to whoever uses it. */
static bool
url_ok(const char *text, const char *end, const char *scheme, const char *scheme_tls)
{
    size_t plain = strlen(scheme);
    size_t tls = strlen(scheme_tls);
    if (strncmp(text, scheme, plain) == 0) {
        text += plain;
    } else if (strncmp(text, scheme_tls, tls) == 0) {
        text += tls;
    } else {
        return false;
    }
    const char *host = text;
    const char *host_end = end;
    for (const char *c = text; c < end; c++) {
        host = *c == '@' ? c + 1 : host;
    }
    for (const char *c = end; c > host; c--) {
        host_end = c[-1] == '/' || c[-1] == '?' ? c - 1 : host_end;
    }
    return authority_ok(host, host_end, false, 1);
}

/* Several, comma-separated, with blanks around them or not. */
static bool
urls_ok(const char *urls, const char *scheme, const char *scheme_tls)
{
    for (const char *at = urls;; at++) {
        at += strspn(at, " ");
        const char *end = at + strcspn(at, ",");
        const char *last = end;
        while (last > at && last[-1] == ' ') {
            last--;
        }
        if (!printable_to(at, last) || !url_ok(at, last, scheme, scheme_tls)) {
            return false;
        }
        if (*end == '\0') {
            return true;
        }
        at = end;
    }
}

static upt_status
check_addresses(const struct upt_config *config, struct upt_error *reterr)
{
    const char *redis = config->redis_url;
    if (strncmp(redis, "rediss://", 9) == 0) {
        return AT(config, "redis.url", reterr, "rediss://: there is no TLS to Redis in this version");
    }
    if (strchr(redis, ',') != NULL) {
        return AT(config, "redis.url", reterr,
                  "names several nodes: there is no Redis Cluster in this version (a comma in a password is %%2C)");
    }
    if (!printable(redis) || !url_ok(redis, redis + strlen(redis), "redis://", "redis://")) {
        return AT(config, "redis.url", reterr, "is no address; expected redis://[user:password@]host:port[/db]");
    }
    const char *host = strrchr(redis, '@') != NULL ? strrchr(redis, '@') : redis + strlen("redis://");
    if (strchr(host, '?') != NULL) {
        return AT(config, "redis.url", reterr,
                  "has parameters after a \"?\", none of which is known; expected redis://host:port[/db]");
    }
    const char *path = strchr(host, '/');
    if (path != NULL && (strspn(path + 1, "0123456789") != strlen(path + 1) || strlen(path + 1) > 5)) {
        return AT(config, "redis.url", reterr, "ends in no number of a database; expected redis://host:port[/db]");
    }
    if (config->registry_url[0] != '\0' && !urls_ok(config->registry_url, "http://", "https://")) {
        return AT(config, "registry.url", reterr,
                  "is no address; expected http://host:port or https://, several comma-separated");
    }
    if (config->registry_token[0] != '\0' && config->registry_user[0] != '\0') {
        return AT(config, "registry.token", reterr, "excludes registry.user; give one of them");
    }
    if (config->registry_password[0] != '\0' && config->registry_user[0] == '\0') {
        return AT(config, "registry.password", reterr, "needs registry.user");
    }
    if (config->redis_user[0] != '\0' && config->redis_password[0] == '\0') {
        return AT(config, "redis.user", reterr, "needs redis.password");
    }
    const char *listen = config->admin_listen;
    if (strcmp(listen, "off") != 0 && !authority_ok(listen, listen + strlen(listen), true, 0)) {
        return AT(config, "admin.listen", reterr, "must be HOST:PORT, such as 127.0.0.1:8088, or off");
    }
    return UPT_OK;
}

static upt_status
check_framing(const struct upt_config *config, struct upt_error *reterr)
{
    if (strcmp(config->input_framing, "none") == 0) {
        if (config->input_schema_file[0] == '\0') {
            return AT(config, "input.framing", reterr,
                      "none needs input.schema_file, the schema the records are written in");
        }
        return UPT_OK;
    }
    if (config->registry_url[0] == '\0') {
        return AT(config, "registry.url", reterr,
                  "is needed with input.framing confluent, such as http://127.0.0.1:8081");
    }
    return UPT_OK;
}

static upt_status
check_kafka(const struct upt_config *config, struct upt_error *reterr)
{
    const struct upt_kv *servers = NULL;
    bool embedded = config->embedded_broker;
    for (size_t i = 0; i < config->kafka_n; i++) {
        const struct upt_kv *kv = &config->kafka[i];
        embedded = embedded || strcmp(kv->name, "test.mock.num.brokers") == 0;
        if (strcmp(kv->name, "bootstrap.servers") != 0 && strcmp(kv->name, "metadata.broker.list") != 0) {
            continue;
        }
        if (servers != NULL) {
            return upt_config_fail(config, kv->line, "kafka.metadata.broker.list", reterr,
                                   "is another name of kafka.bootstrap.servers; give one of them");
        }
        servers = kv;
    }
    if (!embedded && (servers == NULL || servers->value[0] == '\0')) {
        return upt_config_fail(config, servers == NULL ? 0 : servers->line, "kafka.bootstrap.servers", reterr,
                               "is needed, such as 127.0.0.1:9092; several are comma-separated");
    }
    return UPT_OK;
}

upt_status
upt_config_validate(const struct upt_config *config, struct upt_error *reterr)
{
    static upt_status (*const checks[])(const struct upt_config *, struct upt_error *) = {
        check_kafka, check_names, check_topics, check_times, check_addresses, check_framing,
    };
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        upt_status status = checks[i](config, reterr);
        if (status != UPT_OK) {
            return status;
        }
    }
    return UPT_OK;
}

void
upt_config_exposed(const struct upt_config *config, char *ret_warning, size_t cap)
{
    static const char *const closed[] = {"127.", "localhost:", "[::1]:"};
    const char *listen = config->admin_listen;
    bool open = config->admin_token_file[0] == '\0' && strcmp(listen, "off") != 0;
    for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
        open = open && strncmp(listen, closed[i], strlen(closed[i])) != 0;
    }
    ret_warning[0] = '\0';
    if (open) {
        (void)snprintf(ret_warning, cap,
                       "admin.listen: %.100s answers other machines without a token, about accounts too; "
                       "set admin.token_file, or listen on 127.0.0.1",
                       listen);
    }
}
