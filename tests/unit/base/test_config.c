/* Values, defaults, checks across keys, printing, hashing: all of the configuration but the file's syntax. */
#include "testing.h"

#include "uptake/config.h"
#include "uptake/str.h"

/* Defaults with what has none. */
static struct upt_config *
make(void)
{
    struct upt_config *config = NULL;
    assert_int_equal(upt_config_default(&config, NULL), UPT_OK);
    assert_int_equal(upt_config_set(config, "kafka.bootstrap.servers", "127.0.0.1:9092", NULL), UPT_OK);
    assert_int_equal(upt_config_set(config, "registry.url", "http://127.0.0.1:8081", NULL), UPT_OK);
    return config;
}

static void
durations_and_sizes(void **state)
{
    (void)state;
    int64_t v = -1;
    assert_true(upt_parse_duration("500ms", &v) && v == 500);
    assert_true(upt_parse_duration("0s", &v) && v == 0);
    assert_true(upt_parse_duration("90m", &v) && v == 5400000);
    assert_true(upt_parse_duration("2h", &v) && v == 7200000);
    assert_true(upt_parse_duration("400d", &v) && v == INT64_C(34560000000));
    assert_true(upt_parse_size("0", &v) && v == 0);
    assert_true(upt_parse_size("64KiB", &v) && v == 65536);
    assert_true(upt_parse_size("1MiB", &v) && v == 1048576);
    assert_true(upt_parse_size("4GiB", &v) && v == INT64_C(4294967296));
    assert_true(upt_parse_size("2TiB", &v) && v == INT64_C(2199023255552));
    static const char *const bad_durations[] = {"",      "5",     "ms",   "-1s",  "1.5s",  "1 s",
                                                "1S",    "1week", "1ms ", " 1ms", "1h30m", "999999999999999999d",
                                                "0x10s", "+1s"};
    static const char *const bad_sizes[] = {
        "", "KiB", "1KB", "1k", "1 KiB", "-1", "1.5MiB", "9999999999999TiB", "1MiB ", "1mib", "99999999999999999999"};
    v = 77;
    for (size_t i = 0; i < sizeof(bad_durations) / sizeof(bad_durations[0]); i++) {
        assert_false(upt_parse_duration(bad_durations[i], &v));
    }
    for (size_t i = 0; i < sizeof(bad_sizes) / sizeof(bad_sizes[0]); i++) {
        assert_false(upt_parse_size(bad_sizes[i], &v));
    }
    assert_int_equal(v, 77);
}

static void
formats_in_the_largest_unit(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{0, "0ms"},    {1, "1ms"},      {1000, "1s"},    {90000, "90s"},
                 {60000, "1m"}, {7200000, "2h"}, {86400000, "1d"}};
    char buf[32];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t back = -1;
        upt_format_duration(cases[i].ms, buf);
        assert_string_equal(buf, cases[i].text);
        assert_true(upt_parse_duration(buf, &back) && back == cases[i].ms);
    }
    upt_format_size(4096, buf);
    assert_string_equal(buf, "4KiB");
    upt_format_size(1000, buf);
    assert_string_equal(buf, "1000");
}

static void
defaults_are_the_contract(void **state)
{
    (void)state;
    struct upt_config *config = make();
    assert_string_equal(config->group, "uptake");
    assert_string_equal(config->instance, "");
    assert_string_equal(config->input_topic, "usage-events");
    assert_string_equal(config->input_framing, "confluent");
    assert_string_equal(config->health_topic, "account-health");
    assert_string_equal(config->alerts_topic, "churn-alerts");
    assert_string_equal(config->dead_topic, "usage-events-dead");
    assert_string_equal(config->state_topic, "uptake-state");
    assert_int_equal(config->publish_interval_ms, 50);
    assert_int_equal(config->max_record_bytes, 1048576);
    assert_int_equal(config->max_batch_events, 10000);
    assert_int_equal(config->max_depth, 32);
    assert_false(config->trust_timestamps);
    assert_string_equal(config->start, "earliest");
    assert_string_equal(config->publish_from, "start");
    assert_int_equal(config->flush_interval_ms, 1000);
    assert_int_equal(config->checkpoint_interval_ms, 30000);
    assert_string_equal(config->clock, "wall");
    assert_int_equal(config->tick_grace_ms, 5000);
    assert_int_equal(config->max_future_ms, 300000);
    assert_int_equal(config->dedup_window_ms, 600000);
    assert_int_equal(config->memory_limit, INT64_C(4) << 30);
    assert_int_equal(config->repair_interval_ms, 600000);
    assert_int_equal(config->retention_ms, INT64_C(400) * 86400000);
    assert_int_equal(config->adopted_days, 3);
    assert_string_equal(config->on_gap, "stop");
    assert_int_equal(config->threads, 0);
    assert_string_equal(config->redis_prefix, "uptake:");
    assert_int_equal(config->registry_negative_ttl_ms, 1000);
    assert_string_equal(config->admin_listen, "127.0.0.1:8088");
    assert_int_equal(upt_config_validate(config, NULL), UPT_OK);
    upt_config_destroy(&config);
    assert_null(config);
}

static void
values_are_judged(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *part;
    } cases[] = {
        {"flush_interval", "5ms", "flush_interval: 5ms is out of range; allowed are 10ms to 1h"},
        {"flush_interval", "1", "flush_interval: \"1\" is not a duration, such as"},
        {"dedup_window", "50d", "allowed are 0ms to 49d"},
        {"retention", "59s", "allowed are 1m to 36500d"},
        {"threads", "65", "allowed are 0 to 64"},
        {"threads", "-1", "allowed are 0 to 64"},
        {"threads", "two", "\"two\" is not a whole number"},
        {"threads", "", "\"\" is not a whole number"},
        {"threads", "99999999999999999999", "is not a whole number"},
        {"max_depth", "0", "allowed are 1 to 64"},
        {"max_batch_events", "1000001", "allowed are 1 to 1000000"},
        {"max_record_bytes", "1MB", "\"1MB\" is not a size in bytes, such as"},
        {"adopted.days", "29", "allowed are 1 to 28"},
        {"clock", "atomic", "clock: \"atomic\" is not one of wall|log"},
        {"clock", "wal", "is not one of"},
        {"clock", "", "is not one of"},
        {"clock", "wall|log", "is not one of"},
        {"trust_timestamps", "yes", "\"yes\" is neither true nor false"},
        {"group", "a\nb", "group: holds a control character"},
        {"kafka.group.id", "x", "kafka.group.id: uptake owns this property: set `group`"},
        {"nonsense", "x", "nonsense: there is no such key"},
        {"redis.ulr", "x", "redis.ulr: there is no such key; did you mean redis.url?"},
        {"flush-interval", "1s", "did you mean flush_interval?"},
        {"redis.uri", "x", "did you mean redis.url?"},
        {"bootstrap.servers", "x", "did you mean kafka.bootstrap.servers?"},
        {"health_topic", "x", "did you mean output.health_topic?"},
        {"redis", "x", "redis: is a section"},
        {"kafka.", "x", "there is no such key"},
        {"group", "${UPT_TEST_UNSET}", "group: the environment variable UPT_TEST_UNSET is not set"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct upt_config *config = make();
        struct upt_error err = {0};
        assert_int_equal(upt_config_set(config, cases[i].key, cases[i].value, &err), UPT_EINVAL);
        if (strstr(err.msg, cases[i].part) == NULL) {
            fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].key, err.msg, cases[i].part);
        }
        upt_config_destroy(&config);
    }
}

static void
every_number_has_a_range(void **state)
{
    (void)state;
    static const struct {
        const char *name, *type;
    } keys[] = {
#define UPT_TEST_KEY(type_, field_, name_, ...) {name_, #type_},
        UPT_CONFIG(UPT_TEST_KEY)
#undef UPT_TEST_KEY
    };
    struct upt_config *config = make();
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        bool is_number = strcmp(keys[i].type, "INT") == 0;
        bool is_size = strcmp(keys[i].type, "SIZE") == 0;
        bool is_duration = strcmp(keys[i].type, "DURATION") == 0;
        if (is_number || is_size || is_duration) {
            struct upt_error err = {0};
            const char *huge = is_duration ? "100000000d" : is_size ? "1000000TiB" : "1000000000000000000";
            assert_int_equal(upt_config_set(config, keys[i].name, huge, &err), UPT_EINVAL);
            assert_non_null(strstr(err.msg, "is out of range"));
        }
    }
    upt_config_destroy(&config);
}

static void
keys_are_judged_together(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *part;
    } cases[] = {
        {"registry.url", "", "registry.url: is needed with input.framing confluent"},
        {"input.framing", "none", "input.framing: none needs input.schema_file"},
        {"registry.url", "ftp://x", "registry.url: is no address"},
        {"registry.url", "http://a:1,,http://b:2", "registry.url: is no address"},
        {"registry.url", "http://", "registry.url: is no address"},
        {"registry.url", "http://a:1, ", "registry.url: is no address"},
        {"registry.url", "http://a:1, http://b c", "registry.url: is no address"},
        {"registry.url", "http://a:99999", "registry.url: is no address"},
        {"redis.url", "127.0.0.1:6379", "redis.url: is no address"},
        {"redis.url", "redis://user:secretpw@:6379", "redis.url: is no address"},
        {"redis.url", "redis://a:0", "redis.url: is no address"},
        {"redis.url", "redis://a:1/prod", "redis.url: ends in no number of a database"},
        {"redis.url", "redis://u:p%2F@a:1/1x", "redis.url: ends in no number of a database"},
        {"redis.url", "redis://a b", "redis.url: is no address"},
        {"redis.url", "redis://u:p%3F@a:1?db=1", "redis.url: has parameters after a \"?\""},
        {"redis.url", "redis://a:1/1?x=1", "redis.url: has parameters after a \"?\""},
        {"redis.url", "http://a:1", "redis.url: is no address"},
        {"redis.url", "rediss://user:secretpw@a:1", "redis.url: rediss://: there is no TLS to Redis"},
        {"redis.url", "redis://a:1,redis://:secretpw@a:1", "redis.url: names several nodes: there is no Redis Cluster"},
        {"redis.prefix", "", "redis.prefix: must be"},
        {"redis.prefix", "a{b", "redis.prefix: must be"},
        {"redis.prefix", "0123456789012345678901234567890123456789012345678901234567890123:", "redis.prefix: must be"},
        {"group", "", "group: must be"},
        {"group", "a b", "group: must be"},
        {"state_topic", "usage-events", "state_topic: is the same topic as input.topic"},
        {"output.dead_topic", "churn-alerts", "output.dead_topic: is the same topic as output.alerts_topic"},
        {"input.topic", "a/b", "input.topic: is no topic name"},
        {"input.topic", "", "input.topic: is no topic name"},
        {"input.topic", "..", "input.topic: is no topic name"},
        {"start", "yesterday", "start: must be earliest, latest or a UTC time"},
        {"publish_from", "2026-02-30T00:00:00Z", "publish_from: must be start or a UTC time"},
        {"admin.listen", "8088", "admin.listen: must be HOST:PORT"},
        {"admin.listen", "127.0.0.1:70000", "admin.listen: must be HOST:PORT"},
        {"registry.password", "x", "registry.password: needs registry.user"},
        {"redis.user", "x", "redis.user: needs redis.password"},
        {"kafka.bootstrap.servers", "", "kafka.bootstrap.servers: is needed"},
        {"kafka.metadata.broker.list", "a:1", "is another name of kafka.bootstrap.servers"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct upt_config *config = make();
        struct upt_error err = {0};
        assert_int_equal(upt_config_set(config, cases[i].key, cases[i].value, NULL), UPT_OK);
        assert_int_equal(upt_config_validate(config, &err), UPT_EINVAL);
        if (strstr(err.msg, cases[i].part) == NULL || strstr(err.msg, "secretpw") != NULL) {
            fail_msg("%s=%s: \"%s\" lacks \"%s\"", cases[i].key, cases[i].value, err.msg, cases[i].part);
        }
        upt_config_destroy(&config);
    }
}

static void
good_values_pass(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
    } cases[] = {
        {"redis.url", "redis://localhost"},
        {"redis.url", "redis://u:p@a:1/15"},
        {"redis.url", "redis://user:p:w@d@[::1]:6380/3"},
        {"redis.url", "redis://user:p%2Cw@a:1"},
        {"registry.url", "https://a.example/path/to?x=y,http://b:8081"},
        {"registry.url", " http://a:1 ,  http://b:2 "},
        {"redis.url", "redis://u:what?@a:1/1"},
        {"admin.listen", "off"},
        {"admin.listen", "[::1]:0"},
        {"admin.listen", "0.0.0.0:8088"},
        {"start", "latest"},
        {"start", "2026-01-31T00:00:00Z"},
        {"start", "2026-01-31"},
        {"publish_from", "2026-01-31T00:00:00.500Z"},
        {"dedup_window", "49d"},
        {"retention", "1m"},
        {"tick_grace", "0s"},
        {"topics.replication_factor", "-1"},
        {"kafka.session.timeout.ms", "6000"},
        {"kafka.client.id", "x"},
        {"kafka.linger.ms", "5"},
        {"kafka.anything.unknown", "left to librdkafka"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct upt_config *config = make();
        struct upt_error err = {0};
        if (upt_config_set(config, cases[i].key, cases[i].value, &err) != UPT_OK ||
            upt_config_validate(config, &err) != UPT_OK) {
            fail_msg("%s=%s: %s", cases[i].key, cases[i].value, err.msg);
        }
        upt_config_destroy(&config);
    }
}

static void
open_admin_ports_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *listen;
        bool told;
    } cases[] = {
        {"127.0.0.1:8088", false},
        {"127.8.8.8:1", false},
        {"localhost:0", false},
        {"[::1]:8088", false},
        {"off", false},
        {"0.0.0.0:8088", true},
        {"[::]:8088", true},
        {"*:8088", true},
        {"10.0.0.1:8088", true},
        {"host:8088", true},
        {"localhost.lan:1", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct upt_config *config = make();
        char warning[320], begin[64];
        snprintf(begin, sizeof(begin), "admin.listen: %s answers other machines without a token", cases[i].listen);
        assert_int_equal(upt_config_set(config, "admin.listen", cases[i].listen, NULL), UPT_OK);
        upt_config_exposed(config, warning, sizeof(warning));
        assert_int_equal(strncmp(warning, begin, strlen(begin)) == 0, cases[i].told);
        assert_int_equal(warning[0] != '\0', cases[i].told);
        assert_int_equal(upt_config_set(config, "admin.token_file", "/token", NULL), UPT_OK);
        upt_config_exposed(config, warning, sizeof(warning));
        assert_string_equal(warning, "");
        upt_config_destroy(&config);
    }
}

static void
kafka_properties_pass_through(void **state)
{
    (void)state;
    struct upt_config *config = make();
    assert_int_equal(upt_config_set(config, "kafka.debug", "broker", NULL), UPT_OK);
    assert_int_equal(upt_config_set(config, "kafka.debug", "cgrp", NULL),
                     UPT_OK); /* set again: replaced, no second entry */
    assert_int_equal(upt_config_set(config, "kafka.test.mock.num.brokers", "3", NULL), UPT_OK);
    assert_int_equal(config->kafka_n, 3);
    assert_string_equal(config->kafka[0].name, "bootstrap.servers");
    assert_string_equal(config->kafka[1].name, "debug");
    assert_string_equal(config->kafka[1].value, "cgrp");
    assert_int_equal(config->kafka[1].line, 0);
    upt_config_destroy(&config);
}

static void
owned_properties_are_refused(void **state)
{
    (void)state;
    static const char *const owned[] = {
        "group.id",
        "group.instance.id",
        "transactional.id",
        "transaction.timeout.ms",
        "enable.auto.commit",
        "auto.commit.enable",
        "auto.commit.interval.ms",
        "enable.auto.offset.store",
        "isolation.level",
        "auto.offset.reset",
        "enable.idempotence",
        "enable.partition.eof",
        "partition.assignment.strategy",
        "group.protocol",
        "group.remote.assignor",
        "offset.store.method",
        "offset.store.path",
        "offset.store.sync.interval.ms",
        "rebalance_cb",
        "dr_msg_cb",
        "oauthbearer_token_refresh_cb",
        "acks",
        "request.required.acks",
        "topic.acks",
        "topic.topic.acks",
        "max.in.flight",
        "max.in.flight.requests.per.connection",
        "message.send.max.retries",
        "retries",
        "message.max.bytes",
        "plugin.library.paths",
        "enable.gapless.guarantee",
        "partitioner",
        "interceptors",
        "delivery.report.only.error",
    };
    struct upt_config *config = make();
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
        char key[96];
        struct upt_error err = {0};
        snprintf(key, sizeof(key), "kafka.%s", owned[i]);
        if (upt_config_set(config, key, "1", &err) != UPT_EINVAL ||
            strstr(err.msg, ": uptake owns this property: ") == NULL) {
            fail_msg("%s: %s", owned[i], err.msg);
        }
    }
    assert_int_equal(config->kafka_n, 1);
    upt_config_destroy(&config);
}

/* The printout, ended with NUL. */
static struct upt_buf
print(const struct upt_config *config)
{
    struct upt_buf out = {0};
    upt_config_print(config, &out);
    upt_buf_put(&out, "", 1);
    return out;
}

static void
secrets_are_masked(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
    } secrets[] = {
        {"redis.url", "redis://alice:hunter2@r1:6379/0,redis://bob:hunter2@x@r2:6379"},
        {"redis.password", "hunter2"},
        {"registry.url", "https://carol:hunter2@reg:443/p"},
        {"registry.user", "dave"},
        {"registry.password", "hunter2"},
        {"kafka.sasl.password", "hunter2"},
        {"kafka.ssl.key.password", "hunter2"},
        {"kafka.ssl.keystore.password", "hunter2"},
        {"kafka.ssl.key.pem", "hunter2"},
        {"kafka.sasl.oauthbearer.client.secret", "hunter2"},
        {"kafka.sasl.oauthbearer.config", "secret=hunter2"},
        {"kafka.sasl.oauthbearer.assertion.private.key.passphrase", "hunter2"},
        {"kafka.sasl.jaas.config", "hunter2"},
    };
    struct upt_config *config = make();
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        assert_int_equal(upt_config_set(config, secrets[i].key, secrets[i].value, NULL), UPT_OK);
    }
    assert_int_equal(upt_config_set(config, "kafka.sasl.username", "erin", NULL), UPT_OK);
    struct upt_buf out = print(config);
    assert_null(strstr(out.p, "hunter2"));
    assert_non_null(strstr(out.p, "\nredis.url: \"redis://alice:***@r1:6379/0,redis://bob:***@r2:6379\"\n"));
    assert_non_null(strstr(out.p, "\nregistry.url: \"https://carol:***@reg:443/p\"\n"));
    assert_non_null(strstr(out.p, "\nredis.password: \"***\"\n"));
    assert_non_null(strstr(out.p, "\nregistry.token: \"\"\n"));
    assert_non_null(strstr(out.p, "\n  sasl.password: \"***\"\n"));
    assert_non_null(strstr(out.p, "\n  sasl.username: \"erin\"\n"));
    upt_buf_fini(&out);
    upt_config_destroy(&config);
}

static void
hash_covers_decisions_only(void **state)
{
    (void)state;
    struct upt_config *config = make();
    char first[17];
    char now[17];
    upt_config_hash(config, first);
    assert_int_equal(strspn(first, "0123456789abcdef"), 16);
    static const char *const without[][2] = {{"redis.url", "redis://other:1"},
                                             {"threads", "7"},
                                             {"flush_interval", "2s"},
                                             {"group", "g2"},
                                             {"tick_grace", "9s"},
                                             {"input.topic", "other"},
                                             {"output.alerts_topic", "other"},
                                             {"state_topic", "other"},
                                             {"kafka.debug", "all"}};
    for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
        assert_int_equal(upt_config_set(config, without[i][0], without[i][1], NULL), UPT_OK);
        upt_config_hash(config, now);
        assert_string_equal(now, first);
    }
    static const char *const with[][2] = {
        {"input.framing", "none"}, {"max_record_bytes", "2MiB"}, {"max_batch_events", "5"}, {"max_depth", "9"},
        {"clock", "log"},          {"max_future", "1m"},         {"dedup_window", "11m"},   {"retention", "40d"},
        {"adopted.days", "4"}};
    for (size_t i = 0; i < sizeof(with) / sizeof(with[0]); i++) {
        upt_config_hash(config, first);
        assert_int_equal(upt_config_set(config, with[i][0], with[i][1], NULL), UPT_OK);
        upt_config_hash(config, now);
        assert_string_not_equal(now, first);
    }
    /* The text, not the bytes, counts: the same duration written differently is the same. */
    upt_config_hash(config, first);
    assert_int_equal(upt_config_set(config, "dedup_window", "660s", NULL), UPT_OK);
    upt_config_hash(config, now);
    assert_string_equal(now, first);
    upt_config_destroy(&config);
}

static void
differences_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
        bool told;
    } cases[] = {
        {"group", "other", true},
        {"start", "latest", true},
        {"threads", "7", true},
        {"memory_limit", "1GiB", true},
        {"flush_interval", "3s", true},
        {"redis.timeout", "7s", true},
        {"redis.password", "hunter2", true},
        {"trust_timestamps", "true", true},
        {"clock", "log", true},
        {"max_future", "1m", true},
        {"kafka.linger.ms", "9", true},
        {"kafka.bootstrap.servers", "other:1", true},
        {"rules_file", "/rules", false},
        {"model_file", "/model", false},
        {"log.level", "debug", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct upt_config *a = make();
        struct upt_config *b = make();
        struct upt_buf names[3] = {0};
        upt_config_differences(a, b, &names[0]);
        assert_int_equal(names[0].len, 0);
        assert_int_equal(upt_config_set(b, cases[i].key, cases[i].value, NULL), UPT_OK);
        upt_config_differences(a, b, &names[1]);
        upt_config_differences(b, a, &names[2]);
        for (size_t way = 1; way < 3; way++) {
            upt_buf_put(&names[way], "", 1);
            assert_string_equal(names[way].p, cases[i].told ? cases[i].key : "");
            upt_buf_fini(&names[way]);
        }
        upt_config_destroy(&a);
        upt_config_destroy(&b);
    }
}

static void
reference_has_every_key(void **state)
{
    (void)state;
    static const char *const keys[] = {
#define UPT_TEST_NAME(type_, field_, name_, ...) name_,
        UPT_CONFIG(UPT_TEST_NAME)
#undef UPT_TEST_NAME
    };
    struct upt_buf doc = {0};
    upt_config_markdown(&doc);
    upt_buf_put(&doc, "", 1);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char row[80];
        snprintf(row, sizeof(row), "\n| `%s` | ", keys[i]);
        assert_non_null(strstr(doc.p, row));
    }
    assert_non_null(strstr(doc.p, "\n| `clock` | `wall` or `log` | `wall` | "));
    assert_non_null(strstr(doc.p, "\n| `flush_interval` | duration, 10ms to 1h | `1s` | "));
    assert_non_null(strstr(doc.p, "\n| `redis.password` | secret | | "));
    assert_non_null(strstr(doc.p, "\n| `group.id` | set `group` |\n"));
    upt_buf_fini(&doc);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_and_sizes),
        cmocka_unit_test(formats_in_the_largest_unit),
        cmocka_unit_test(defaults_are_the_contract),
        cmocka_unit_test(values_are_judged),
        cmocka_unit_test(every_number_has_a_range),
        cmocka_unit_test(keys_are_judged_together),
        cmocka_unit_test(good_values_pass),
        cmocka_unit_test(open_admin_ports_are_told),
        cmocka_unit_test(kafka_properties_pass_through),
        cmocka_unit_test(owned_properties_are_refused),
        cmocka_unit_test(secrets_are_masked),
        cmocka_unit_test(hash_covers_decisions_only),
        cmocka_unit_test(differences_are_named),
        cmocka_unit_test(reference_has_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
