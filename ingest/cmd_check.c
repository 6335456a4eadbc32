/* uptake check: what is wrong with a configuration and with what it points at.
 *
 * Every check is made even if one before it failed, so that one run shows all there is to mend. Nothing is created or
 * written anywhere. Findings go to standard output, as they are what was asked for; exit code 78 (EX_CONFIG) if any
 * error is the configuration's, else 69 (EX_UNAVAILABLE) if something is away. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <hiredis/hiredis.h>

#include "aggregate/score/score.h"
#include "ingest/avro/decoder.h"
#include "ingest/command.h"
#include "ingest/input.h"
#include "ingest/kafka/client.h"
#include "ingest/kafka/publisher.h"
#include "ingest/kafka/topics.h"
#include "ingest/lane.h"
#include "ingest/pipeline.h"
#include "ingest/topic_read.h"
#include "uptake/time.h"

#define FILE_MAX ((size_t)1 << 20)
#define OLDEST_REDIS 7
#define BATCH_BYTES 1000000 /* librdkafka's default */

struct check {
    const struct upt_config *config;
    struct upt_buf out; /* JSON findings, or nothing */
    bool json, config_error, away;
    size_t errors, notes;
};

UPT_PRINTF(4, 5)
static void
finding(struct check *check, const char *level, const char *what, const char *fmt, ...)
{
    struct upt_buf text = {0};
    va_list args;
    va_start(args, fmt);
    char *room = upt_buf_reserve(&text, 2048);
    int n = vsnprintf(room, 2048, fmt, args);
    va_end(args);
    text.len = n < 0 ? 0 : n < 2048 ? (size_t)n : 2047;
    if (check->json) {
        upt_buf_printf(&check->out, "%s{\"level\":\"%s\",\"about\":\"%s\",\"text\":", check->out.len > 0 ? "," : "",
                       level, what);
        upt_buf_put_json(&check->out, text.p, text.len);
        upt_buf_puts(&check->out, "}");
    } else {
        printf("%-5s %-13s %.*s\n", level, what, (int)text.len, text.p);
        fflush(stdout); /* the next check may take its time-out */
    }
    check->errors += strcmp(level, "error") == 0;
    check->notes += strcmp(level, "note") == 0;
    upt_buf_fini(&text);
}

static void
fault(struct check *check, const char *what, const struct upt_error *err)
{
    finding(check, "error", what, "%s", err->msg);
    if (err->code == UPT_EINVAL) {
        check->config_error = true;
    } else {
        check->away = true;
    }
}

/* ---- what needs no network ---- */

static void
check_scoring(struct check *check)
{
    struct upt_scoring *scoring = NULL;
    struct upt_error err;
    if (upt_scoring_load(check->config, &scoring, &err) != UPT_OK) {
        err.code = UPT_EINVAL; /* the files are the configuration's */
        fault(check, "scoring", &err);
        return;
    }
    finding(check, "ok", "scoring", "rules %s, segments %zu, model %s, configuration hash %s",
            check->config->rules_file[0] != '\0' ? check->config->rules_file : "as shipped",
            upt_rules_segments_n(scoring->rules),
            check->config->model_file[0] != '\0' ? check->config->model_file : "as shipped", scoring->config_hash);
    upt_scoring_destroy(&scoring);
}

/* The clients of a lane, without a broker. */
static upt_status
try_clients(const struct upt_config *config, struct upt_error *reterr)
{
    rd_kafka_conf_t *conf = NULL;
    upt_status status = upt_lane_consumer_conf(config, "check", 1, &conf, reterr);
    if (status == UPT_OK) {
        status = upt_client_try(RD_KAFKA_CONSUMER, conf, reterr);
    }
    if (status == UPT_OK) {
        status = upt_publisher_conf(config, "check", BATCH_BYTES, &conf, reterr);
    }
    if (status == UPT_OK) {
        status = upt_client_try(RD_KAFKA_PRODUCER, conf, reterr);
    }
    return status;
}

/* False: no client can be made. */
static bool
check_properties(struct check *check)
{
    const struct upt_config *config = check->config;
    struct upt_error err;
    if (try_clients(config, &err) != UPT_OK) {
        if (config->path != NULL && strncmp(err.msg, "kafka: ", 7) == 0) { /* of no one line */
            (void)upt_fail(&err, err.code, "%.200s: %s", config->path, err.msg);
        }
        fault(check, "kafka", &err);
        return false;
    }
    finding(check, "ok", "kafka", "librdkafka %s takes the %zu properties", rd_kafka_version_str(), config->kafka_n);
    return true;
}

/* The writer schema of bare records. */
static void
check_schema_file(struct check *check)
{
    const struct upt_config *config = check->config;
    struct upt_buf schema = {0};
    struct upt_decoder *decoder = NULL;
    struct upt_error err;
    upt_status status = upt_read_file(config->input_schema_file, FILE_MAX, &schema, &err);
    if (status == UPT_OK) {
        struct upt_str text = {.p = schema.p, .len = (uint32_t)schema.len};
        status = upt_input_decoder_of(config, text, NULL, &decoder, &err);
    }
    if (status != UPT_OK) {
        fault(check, "schema", &err);
    } else {
        finding(check, "ok", "schema", "%s can be read as usage events", config->input_schema_file);
    }
    upt_decoder_destroy(&decoder);
    upt_buf_fini(&schema);
}

static void
check_token(struct check *check)
{
    struct upt_buf token = {0};
    struct upt_error err;
    char warning[320];
    if (upt_config_token(check->config, &token, warning, sizeof(warning), &err) != UPT_OK) {
        fault(check, "admin", &err);
    } else if (warning[0] != '\0') {
        finding(check, "note", "admin", "admin.token_file: %s", warning);
    }
    upt_buf_fini(&token);
}

/* False: no client of Kafka can be made. */
static bool
check_offline(struct check *check)
{
    const struct upt_config *config = check->config;
    struct upt_error err;
    if (upt_config_validate(config, &err) != UPT_OK) {
        fault(check, "configuration", &err);
    } else {
        finding(check, "ok", "configuration", "%s", config->path != NULL ? config->path : "defaults");
    }
    if (config->warning != NULL) {
        finding(check, "note", "configuration", "%s", config->warning);
    }
    check_scoring(check);
    bool clients = check_properties(check);
    if (strcmp(config->input_framing, "none") == 0) {
        check_schema_file(check);
    }
    char warning[320];
    upt_config_exposed(config, warning, sizeof(warning));
    if (warning[0] != '\0') {
        finding(check, "note", "admin", "%s", warning);
    }
    if (config->admin_token_file[0] != '\0') {
        check_token(check);
    }
    return clients;
}

/* ---- what it points at ---- */

static void
check_topics(struct check *check)
{
    struct upt_buf notes = {0};
    struct upt_error err;
    struct upt_topics topics = {0};
    upt_status status = upt_topics_prepare(check->config, false, &notes, &topics, &err);
    const char *line = notes.p;
    for (size_t left = notes.len; left > 0;) {
        const char *end = memchr(line, '\n', left);
        size_t len = end != NULL ? (size_t)(end - line) : left;
        finding(check, "note", "topics", "%.*s", (int)len, line);
        left -= end != NULL ? len + 1 : len;
        line += len + 1;
    }
    if (status != UPT_OK) {
        fault(check, "topics", &err);
    } else {
        finding(check, "ok", "topics", "%s has %d partitions", check->config->input_topic, (int)topics.partitions);
    }
    upt_buf_fini(&notes);
}

/* The value of "name:value" in INFO's answer; "" if it is not there. */
static void
info_value(const char *info, const char *name, char *buf, size_t cap)
{
    const char *at = strstr(info, name);
    size_t len = at != NULL ? strcspn(at + strlen(name), "\r\n") : 0;
    len = len < cap ? len : cap - 1;
    memcpy(buf, at != NULL ? at + strlen(name) : "", len);
    buf[len] = '\0';
    for (char *p = buf; *p != '\0'; p++) {
        *p = (char)(*p < 0x20 || *p == 0x7F ? '?' : *p); /* no word of a server steers the terminal */
    }
}

static void
check_redis_info(struct check *check, redisContext *redis)
{
    char version[64], policy[64], role[16], read_only[16];
    struct upt_error err;
    redisReply *info = redisCommand(redis, "INFO");
    if (info == NULL || info->type != REDIS_REPLY_STRING) {
        finding(check, "note", "redis", "answers, but not to INFO: version and eviction are not checked");
    } else {
        info_value(info->str, "redis_version:", version, sizeof(version));
        info_value(info->str, "maxmemory_policy:", policy, sizeof(policy));
        info_value(info->str, "\nrole:", role, sizeof(role));
        info_value(info->str, "slave_read_only:", read_only, sizeof(read_only));
        finding(check, "ok", "redis", "answers, version %s", version);
        if (strcmp(role, "slave") == 0 && strcmp(read_only, "1") == 0) {
            (void)upt_fail(&err, UPT_EINVAL, "is a replica, which refuses writes: redis.url must name its primary");
            fault(check, "redis", &err);
        }
        if (strtol(version, NULL, 10) < OLDEST_REDIS) {
            finding(check, "note", "redis", "version %s is older than the 7.0 that uptake is made for", version);
        }
        if (policy[0] != '\0' && strcmp(policy, "noeviction") != 0 && strncmp(policy, "volatile-", 9) != 0) {
            finding(check, "note", "redis", "maxmemory-policy is %s: rows can be evicted; noeviction is better",
                    policy);
        }
    }
    if (info != NULL) {
        freeReplyObject(info);
    }
}

static void
check_redis(struct check *check)
{
    redisContext *redis = NULL;
    struct upt_error err;
    if (upt_read_redis(check->config, &redis, &err) != UPT_OK) {
        fault(check, "redis", &err);
        return;
    }
    redisReply *pong = redisCommand(redis, "PING");
    if (pong == NULL || pong->type == REDIS_REPLY_ERROR) {
        (void)upt_fail(&err, UPT_EUNAVAIL, "PING: %s", pong != NULL ? pong->str : redis->errstr);
        fault(check, "redis", &err);
    } else {
        check_redis_info(check, redis);
    }
    if (pong != NULL) {
        freeReplyObject(pong);
    }
    redisFree(redis);
}

/* Asks for schema 1: a schema and "there is none" are both answers. */
static void
check_registry(struct check *check)
{
    const struct upt_config *config = check->config;
    const struct upt_registry_config settings = {.urls = config->registry_url,
                                                 .user = config->registry_user,
                                                 .password = config->registry_password,
                                                 .token = config->registry_token,
                                                 .ca_file = config->registry_ca_file,
                                                 .timeout_ms = config->registry_timeout_ms,
                                                 .negative_ttl_ms = config->registry_negative_ttl_ms};
    struct upt_registry *registry = NULL;
    struct upt_str schema;
    struct upt_error err;
    upt_status status = upt_registry_create(&settings, &registry, &err);
    if (status != UPT_OK) {
        fault(check, "registry", &err);
        return;
    }
    int64_t deadline_ms = upt_mono_ms() + config->registry_timeout_ms + UPT_SECOND_MS;
    (void)upt_fail(&err, UPT_EUNAVAIL, "no registry has answered in time");
    do {
        status = upt_registry_get(registry, 1, &schema, &err);
        upt_sleep_ms(status == UPT_EAGAIN || status == UPT_EUNAVAIL ? 20 : 0);
    } while ((status == UPT_EAGAIN || status == UPT_EUNAVAIL) && upt_mono_ms() < deadline_ms);
    if (status == UPT_OK || status == UPT_ENOTFOUND) {
        finding(check, "ok", "registry", "answers");
    } else {
        fault(check, "registry", &err);
    }
    upt_registry_destroy(&registry);
}

/* ---- the command ---- */

static void
print_end(struct check *check)
{
    struct upt_buf yaml = {0};
    struct upt_buf text = {0};
    if (check->config != NULL) {
        upt_config_print(check->config, &yaml);
        upt_buf_put_json(&text, yaml.p, yaml.len);
    } else {
        upt_buf_puts(&text, "null");
    }
    if (check->json) {
        printf("{\"ok\":%s,\"errors\":%zu,\"notes\":%zu,\"findings\":[%.*s],\"configuration\":%.*s}\n",
               check->errors == 0 ? "true" : "false", check->errors, check->notes, (int)check->out.len,
               check->out.len > 0 ? check->out.p : "", (int)text.len, text.p);
    } else {
        printf("\n# The effective configuration\n%.*s", (int)yaml.len, yaml.p);
    }
    upt_buf_fini(&text);
    upt_buf_fini(&yaml);
}

/* A configuration that cannot be read, as --json says it. */
static void
print_unreadable(const struct upt_error *err)
{
    struct check check = {.json = true};
    fault(&check, "configuration", err);
    print_end(&check);
    upt_buf_fini(&check.out);
}

static int
run(int argc, char **argv)
{
    struct upt_option options[] = {{.name = "c", .takes_value = true}, {.name = "offline"}, {.name = "json"}};
    const size_t n = sizeof(options) / sizeof(options[0]);
    struct upt_config *config = NULL;
    int rc = upt_options_parse(&upt_cmd_check, argc, argv, options, n, NULL, 0, NULL);
    if (rc != 0) {
        return rc < 0 ? EX_OK : rc;
    }
    bool json = upt_option(options, n, "json") != NULL;
    struct upt_error err;
    rc = upt_command_load(options, n, true, &config, &err);
    if (rc != 0 && json && rc != EX_USAGE) {
        print_unreadable(&err);
    } else if (rc != 0) {
        fprintf(stderr, "uptake: %s\n", err.msg);
    }
    if (rc != 0) {
        return rc;
    }
    struct check check = {.config = config, .json = json};
    bool clients = check_offline(&check);
    if (upt_option(options, n, "offline") == NULL) {
        if (clients) {
            check_topics(&check);
        }
        check_redis(&check);
        if (config->registry_url[0] != '\0') {
            check_registry(&check);
        }
    }
    print_end(&check);
    upt_buf_fini(&check.out);
    upt_config_destroy(&config);
    return check.config_error ? EX_CONFIG : check.away ? EX_UNAVAILABLE : EX_OK;
}

const struct upt_command upt_cmd_check = {
    .name = "check",
    .usage = "-c FILE [--offline] [--json]",
    .summary = "What is wrong with a configuration and with what it points at.",
    .help = "  -c FILE    configuration\n"
            "  --offline  only what can be checked without Kafka, Redis and the registry\n"
            "  --json     findings and the effective configuration (null if it cannot be read) as one JSON object\n"
            "\n"
            "Creates and writes nothing. Ends with the effective configuration, secrets masked. Exit code 78 if the\n"
            "configuration is wrong, 69 if something that it points at is away.\n",
    .run = run,
};
