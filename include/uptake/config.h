/* The configuration: one table of keys drives parsing, checking, `check`'s printout and deploy/CONFIGURATION.md.
 *
 * YAML, nested or dotted keys alike ("redis: {url: …}" = "redis.url: …"). Unknown key: an error with its line.
 * ${NAME} takes an environment variable, ${file:PATH} a secret's file, $${ is a plain ${. Durations
 * "500ms 1s 10m 2h 30d", sizes "512 64KiB 1MiB 4GiB". Secrets are masked wherever a configuration is printed. */
#ifndef UPT_CONFIG_H
#define UPT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uptake/status.h"
#include "uptake/str.h"

struct upt_kv {
    char *name;
    char *value;
    int line;
};

/* C(type, field, "key", "default", secret, "what it does"). Types: STR, DURATION (int64_t ms), SIZE (int64_t bytes),
 * INT (int64_t), BOOL, and ENUM: a STR whose allowed values are listed in the default, the first being the default. */
#define UPT_CONFIG(C)                                                                                                  \
    C(STR, group, "group", "uptake", 0, "Consumer group; also the first part of every transactional.id")               \
    C(STR, instance, "instance", "", 0,                                                                                \
      "This process in the group. Empty: host name and the first number free on that host")                            \
    C(STR, input_topic, "input.topic", "usage-events", 0, "Input topic")                                               \
    C(ENUM, input_framing, "input.framing", "confluent|none", 0, "confluent: header and registry; none: bare Avro")    \
    C(STR, input_schema_file, "input.schema_file", "", 0, "Writer schema for framing none")                            \
    C(STR, health_topic, "output.health_topic", "account-health", 0, "Health records")                                 \
    C(STR, alerts_topic, "output.alerts_topic", "churn-alerts", 0,                                                     \
      "Alert transitions; a topic that keeps them for good")                                                           \
    C(STR, dead_topic, "output.dead_topic", "usage-events-dead", 0,                                                    \
      "Records that cannot be counted; a topic that keeps them for good")                                              \
    C(STR, state_topic, "state_topic", "uptake-state", 0, "The process's own checkpoints")                             \
    C(INT, replication_factor, "topics.replication_factor", "-1", 0,                                                   \
      "Replication of topics that are created; -1: the broker's default")                                              \
    C(BOOL, create_topics, "topics.create", "true", 0, "Create the output and state topics that are missing")          \
    C(DURATION, publish_interval_ms, "publish_interval", "50ms", 0,                                                    \
      "At most one transaction for outputs in this time")                                                              \
    C(SIZE, max_record_bytes, "max_record_bytes", "1MiB", 0, "Longest value of a record")                              \
    C(INT, max_batch_events, "max_batch_events", "10000", 0, "Most events in one batch record")                        \
    C(INT, max_depth, "max_depth", "32", 0, "Deepest nesting of records, arrays and maps")                             \
    C(BOOL, trust_timestamps, "trust_timestamps", "false", 0,                                                          \
      "Accept an input topic with CreateTime and no bound on timestamps after the broker's clock")                     \
    C(STR, rules_file, "rules_file", "", 0, "Alert rules and segments; empty: the shipped ones")                       \
    C(STR, model_file, "model_file", "", 0, "Score model; empty: the shipped one")                                     \
    C(STR, start, "start", "earliest", 0, "Where to begin without a checkpoint: earliest, latest, or a time")          \
    C(STR, publish_from, "publish_from", "start", 0,                                                                   \
      "start, or a time (2026-01-31T00:00:00Z): outputs decided before it are not published")                          \
    C(DURATION, flush_interval_ms, "flush_interval", "1s", 0, "Rows are written at most this long after a change")     \
    C(DURATION, checkpoint_interval_ms, "checkpoint_interval", "30s", 0, "Between two checkpoints of a partition")     \
    C(ENUM, clock, "clock", "wall|log", 0, "wall: minutes also pass at the end of the log; log: only the log counts")  \
    C(DURATION, tick_grace_ms, "tick_grace", "5s", 0, "Wall time after a minute before it runs at the end of the log") \
    C(DURATION, max_future_ms, "max_future", "5m", 0, "An event further ahead of its record's timestamp is in_future") \
    C(DURATION, dedup_window_ms, "dedup_window", "10m", 0,                                                             \
      "How long an event_id is remembered, of an account the last 4,096")                                              \
    C(SIZE, memory_limit, "memory_limit", "4GiB", 0, "Fetching stops when the state needs more")                       \
    C(DURATION, repair_interval_ms, "repair_interval", "10m", 0, "Each row is asserted again in this time")            \
    C(DURATION, retention_ms, "retention", "400d", 0, "An account without accepted events is forgotten after this")    \
    C(INT, adopted_days, "adopted.days", "3", 0, "A user with this many active days of the last 28 has adopted")       \
    C(ENUM, on_gap, "on_gap", "stop|continue", 0,                                                                      \
      "Input older than the log's start is lost: stop, or count and go on")                                            \
    C(INT, threads, "threads", "0", 0, "Lanes, each a member of the group with its own threads; 0: one for each core") \
    C(STR, redis_url, "redis.url", "redis://127.0.0.1:6379", 1, "redis://[user:password@]host:port[/db]")              \
    C(STR, redis_user, "redis.user", "", 0, "ACL user; overrides the URL's")                                           \
    C(STR, redis_password, "redis.password", "", 1, "Overrides the URL's")                                             \
    C(STR, redis_prefix, "redis.prefix", "uptake:", 0, "Begins every key")                                             \
    C(DURATION, redis_timeout_ms, "redis.timeout", "2s", 0, "For connecting and for each reply")                       \
    C(STR, registry_url, "registry.url", "", 1, "Schema registry; several comma-separated are tried in turn")          \
    C(STR, registry_user, "registry.user", "", 0, "Basic auth")                                                        \
    C(STR, registry_password, "registry.password", "", 1, "Basic auth")                                                \
    C(STR, registry_token, "registry.token", "", 1, "Bearer token")                                                    \
    C(STR, registry_ca_file, "registry.ca_file", "", 0, "CA certificates (PEM) for https")                             \
    C(DURATION, registry_timeout_ms, "registry.timeout", "5s", 0, "For one request")                                   \
    C(DURATION, registry_negative_ttl_ms, "registry.negative_ttl", "1s", 0,                                            \
      "How long the answer that there is no such schema is believed")                                                  \
    C(STR, admin_listen, "admin.listen", "127.0.0.1:8088", 0,                                                          \
      "Address of the admin port; in use: the first free of the next 15 (logged); port 0: any; off: none")             \
    C(STR, admin_token_file, "admin.token_file", "", 0,                                                                \
      "File whose first line is a bearer token that the admin port then asks for")                                     \
    C(ENUM, log_level, "log.level", "info|error|warning|debug", 0, "Least important level that is logged")             \
    C(ENUM, log_format, "log.format", "auto|text|json", 0, "auto: text on a terminal, JSON otherwise")

struct upt_config {
#define UPT_CONFIG_T_STR char *
#define UPT_CONFIG_T_ENUM char *
#define UPT_CONFIG_T_DURATION int64_t
#define UPT_CONFIG_T_SIZE int64_t
#define UPT_CONFIG_T_INT int64_t
#define UPT_CONFIG_T_BOOL bool
#define UPT_CONFIG_FIELD(type, field, ...) UPT_CONFIG_T_##type field;
    UPT_CONFIG(UPT_CONFIG_FIELD)
#undef UPT_CONFIG_FIELD
    struct upt_kv *kafka; /* librdkafka's properties as given, in order */
    size_t kafka_n;
    char *path;           /* of the file, for messages; NULL: there is none */
    char *shared;         /* why no secret should stand in the file; NULL: one may */
    char *warning;        /* others may use a secret: where, and what to do; NULL: they may not */
    int *lines;           /* of each key in the table's order; 0: the default, or set by upt_config_set */
    bool embedded_broker; /* demo: a broker without the Admin API; never from a file */
};

/* What a client of Kafka is for, and so which properties it has unless the file says otherwise. */
typedef enum upt_kafka_role {
    UPT_KAFKA_ANY,
    UPT_KAFKA_INPUT,
    UPT_KAFKA_READER,
    UPT_KAFKA_OUTPUT,
    UPT_KAFKA_WRITER,
    UPT_KAFKA_GENERATOR
} upt_kafka_role;

struct upt_kafka_default {
    upt_kafka_role role;
    const char *name;
    const char *value; /* NULL: the client finds it, and `what` says how */
    const char *what;
};
extern const struct upt_kafka_default *const upt_kafka_defaults;
extern const size_t upt_kafka_defaults_n;

/* Reads and checks a file. On failure reterr->msg has file and line. Owned properties under kafka: are refused. */
UPT_NODISCARD upt_status upt_config_load(const char *path, struct upt_config **ret, struct upt_error *reterr);
/* All defaults, for commands that need no file. */
UPT_NODISCARD upt_status upt_config_default(struct upt_config **ret, struct upt_error *reterr);
/* Sets one key as if it stood in the file (line 0), whatever the file says. Also "kafka.NAME", then test.mock.* too. */
UPT_NODISCARD upt_status upt_config_set(struct upt_config *config, const char *key, const char *value,
                                        struct upt_error *reterr);
/* Cross-field checks, to be called after upt_config_set calls too. */
UPT_NODISCARD upt_status upt_config_validate(const struct upt_config *config, struct upt_error *reterr);
void upt_config_destroy(struct upt_config **config_p);

/* The effective configuration as YAML, secrets as "***". */
void upt_config_print(const struct upt_config *config, struct upt_buf *out);
/* 64-bit hash, as 16 hex digits, of what decides an output: framing, limits, windows, clock; no names or addresses. */
void upt_config_hash(const struct upt_config *config, char ret_hex[17]);
/* The names of keys and properties that differ and need a restart, with commas between them; no values. */
void upt_config_differences(const struct upt_config *a, const struct upt_config *b, struct upt_buf *out);
/* The token that admin.token_file holds: its first line, blanks around it left out; ends in a NUL that is not counted.
 * *ret_warning: who else may use the file and what to do, or "". */
UPT_NODISCARD upt_status upt_config_token(const struct upt_config *config, struct upt_buf *ret, char *ret_warning,
                                          size_t cap, struct upt_error *reterr);
/* That the admin port answers other machines without a token, and what to do; or "". */
void upt_config_exposed(const struct upt_config *config, char *ret_warning, size_t cap);
/* deploy/CONFIGURATION.md. */
void upt_config_markdown(struct upt_buf *out);
/* "500ms", "30d"; "1MiB": false if malformed or out of range. */
bool upt_parse_duration(const char *text, int64_t *ret_ms);
bool upt_parse_size(const char *text, int64_t *ret_bytes);
/* The inverse, in the largest unit that needs no fraction; buf ≥ 32. */
void upt_format_duration(int64_t ms, char *buf);
void upt_format_size(int64_t bytes, char *buf);
/* A URL (or several, comma-separated) with the password, if any, as "***": for messages and printouts. */
void upt_url_masked(const char *urls, struct upt_buf *out);

#endif
