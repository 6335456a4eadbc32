/* What is said of topics and which settings they are made with. topics.c is real; its clients and the Admin API are
 * those below, with topics of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/kafka/client.h"
#include "ingest/kafka/topics.h"
#include "uptake/time.h"

#define TOPICS_MAX 8
#define SETTINGS_MAX 8

struct rd_kafka_ConfigEntry_s {
    const char *name, *value;
};

struct rd_kafka_ConfigResource_s {
    const char *topic;
    rd_kafka_ConfigEntry_t settings[SETTINGS_MAX];
    const rd_kafka_ConfigEntry_t *entries[SETTINGS_MAX];
    size_t n;
};

/* Any other topic is missing, and made when asked for. */
static struct {
    struct upt_config *config;
    rd_kafka_ConfigResource_t topics[TOPICS_MAX];
    size_t n, asked; /* the one whose settings are asked for */
    struct upt_buf made;
} world;

static char handle; /* what all of them point at */

/* ---- clients ---- */

upt_status
upt_client_producer(const struct upt_config *config, rd_kafka_t **ret, struct upt_error *reterr)
{
    (void)config, (void)reterr;
    *ret = (rd_kafka_t *)&handle;
    return UPT_OK;
}

void
upt_client_destroy(rd_kafka_t **rk_p)
{
    *rk_p = NULL;
}

const char *
upt_client_prop(const struct upt_config *config, const char *name, const char *fallback)
{
    (void)config, (void)name;
    return fallback;
}

static size_t
find(const char *topic)
{
    size_t i = 0;
    while (i < world.n && strcmp(world.topics[i].topic, topic) != 0) {
        i++;
    }
    return i;
}

upt_status
upt_client_partitions(rd_kafka_t *rk, const char *topic, int timeout_ms, int32_t *ret, struct upt_error *reterr)
{
    (void)rk, (void)timeout_ms;
    *ret = 1;
    return find(topic) < world.n ? UPT_OK : upt_fail(reterr, UPT_ENOTFOUND, "there is none");
}

/* ---- the Admin API ---- */

rd_kafka_queue_t *
rd_kafka_queue_new(rd_kafka_t *rk)
{
    (void)rk;
    return (rd_kafka_queue_t *)&handle;
}

void
rd_kafka_queue_destroy(rd_kafka_queue_t *queue)
{
    (void)queue;
}

rd_kafka_event_t *
rd_kafka_queue_poll(rd_kafka_queue_t *queue, int timeout_ms)
{
    (void)queue, (void)timeout_ms;
    return (rd_kafka_event_t *)&handle;
}

rd_kafka_resp_err_t
rd_kafka_event_error(rd_kafka_event_t *event)
{
    (void)event;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

void
rd_kafka_event_destroy(rd_kafka_event_t *event)
{
    (void)event;
}

rd_kafka_AdminOptions_t *
rd_kafka_AdminOptions_new(rd_kafka_t *rk, rd_kafka_admin_op_t op)
{
    (void)rk, (void)op;
    return (rd_kafka_AdminOptions_t *)&handle;
}

void
rd_kafka_AdminOptions_destroy(rd_kafka_AdminOptions_t *options)
{
    (void)options;
}

rd_kafka_resp_err_t
rd_kafka_AdminOptions_set_request_timeout(rd_kafka_AdminOptions_t *options, int timeout_ms, char *errstr, size_t cap)
{
    (void)options, (void)timeout_ms, (void)errstr, (void)cap;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t
rd_kafka_AdminOptions_set_operation_timeout(rd_kafka_AdminOptions_t *options, int timeout_ms, char *errstr, size_t cap)
{
    (void)options, (void)timeout_ms, (void)errstr, (void)cap;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_ConfigResource_t *
rd_kafka_ConfigResource_new(rd_kafka_ResourceType_t type, const char *name)
{
    assert_int_equal(type, RD_KAFKA_RESOURCE_TOPIC);
    world.asked = find(name);
    return &world.topics[world.asked];
}

void
rd_kafka_ConfigResource_destroy(rd_kafka_ConfigResource_t *resource)
{
    (void)resource;
}

void
rd_kafka_DescribeConfigs(rd_kafka_t *rk, rd_kafka_ConfigResource_t **resources, size_t n,
                         const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue)
{
    (void)rk, (void)resources, (void)n, (void)options, (void)queue;
}

const rd_kafka_DescribeConfigs_result_t *
rd_kafka_event_DescribeConfigs_result(rd_kafka_event_t *event)
{
    return (const rd_kafka_DescribeConfigs_result_t *)event;
}

const rd_kafka_ConfigResource_t **
rd_kafka_DescribeConfigs_result_resources(const rd_kafka_DescribeConfigs_result_t *result, size_t *ret_n)
{
    static const rd_kafka_ConfigResource_t *resource;
    (void)result;
    resource = &world.topics[world.asked];
    *ret_n = 1;
    return &resource;
}

rd_kafka_resp_err_t
rd_kafka_ConfigResource_error(const rd_kafka_ConfigResource_t *resource)
{
    (void)resource;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

const rd_kafka_ConfigEntry_t **
rd_kafka_ConfigResource_configs(const rd_kafka_ConfigResource_t *resource, size_t *ret_n)
{
    rd_kafka_ConfigResource_t *topic = &world.topics[world.asked];
    assert_ptr_equal(resource, topic);
    for (size_t i = 0; i < topic->n; i++) {
        topic->entries[i] = &topic->settings[i];
    }
    *ret_n = topic->n;
    return topic->entries;
}

const char *
rd_kafka_ConfigEntry_name(const rd_kafka_ConfigEntry_t *entry)
{
    return entry->name;
}

const char *
rd_kafka_ConfigEntry_value(const rd_kafka_ConfigEntry_t *entry)
{
    return entry->value;
}

rd_kafka_NewTopic_t *
rd_kafka_NewTopic_new(const char *topic, int partitions, int replication, char *errstr, size_t cap)
{
    (void)partitions, (void)replication, (void)errstr, (void)cap;
    upt_buf_printf(&world.made, "%s:", topic);
    return (rd_kafka_NewTopic_t *)&handle;
}

rd_kafka_resp_err_t
rd_kafka_NewTopic_set_config(rd_kafka_NewTopic_t *topic, const char *name, const char *value)
{
    (void)topic;
    upt_buf_printf(&world.made, " %s=%s", name, value);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

void
rd_kafka_NewTopic_destroy(rd_kafka_NewTopic_t *topic)
{
    (void)topic;
    upt_buf_puts(&world.made, "\n");
}

void
rd_kafka_CreateTopics(rd_kafka_t *rk, rd_kafka_NewTopic_t **topics, size_t n, const rd_kafka_AdminOptions_t *options,
                      rd_kafka_queue_t *queue)
{
    (void)rk, (void)topics, (void)n, (void)options, (void)queue;
}

const rd_kafka_CreateTopics_result_t *
rd_kafka_event_CreateTopics_result(rd_kafka_event_t *event)
{
    return (const rd_kafka_CreateTopics_result_t *)event;
}

const rd_kafka_topic_result_t **
rd_kafka_CreateTopics_result_topics(const rd_kafka_CreateTopics_result_t *result, size_t *ret_n)
{
    static const rd_kafka_topic_result_t *topic = (const rd_kafka_topic_result_t *)&handle;
    (void)result;
    *ret_n = 1;
    return &topic;
}

rd_kafka_resp_err_t
rd_kafka_topic_result_error(const rd_kafka_topic_result_t *topic)
{
    (void)topic;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* ---- tests ---- */

/* A topic with pairs of a setting and its value, up to NULL. */
static void
there_is(const char *topic, ...)
{
    rd_kafka_ConfigResource_t *to = &world.topics[world.n++];
    va_list args;
    memset(to, 0, sizeof(*to));
    to->topic = topic;
    va_start(args, topic);
    for (const char *name; (name = va_arg(args, const char *)) != NULL; to->n++) {
        to->settings[to->n] = (rd_kafka_ConfigEntry_t){.name = name, .value = va_arg(args, const char *)};
    }
    va_end(args);
}

static upt_status
prepare(bool create, struct upt_buf *notes, struct upt_error *reterr)
{
    struct upt_topics topics;
    upt_buf_clear(&world.made);
    upt_status status = upt_topics_prepare(world.config, create, notes, &topics, reterr);
    upt_buf_put(notes, "", 1);
    upt_buf_put(&world.made, "", 1);
    return status;
}

static void
names_the_setting_to_mend(void **state)
{
    (void)state;
    static const char *const limits[] = {"message.timestamp.after.max.ms", "message.timestamp.difference.max.ms"};
    for (size_t i = 0; i < 2; i++) {
        struct upt_buf notes = {0};
        struct upt_error err;
        char mend[128];
        world.n = 0;
        there_is("usage-events", "message.timestamp.type", "CreateTime", limits[i], "86400001", NULL);
        assert_int_equal(prepare(false, &notes, &err), UPT_EINVAL);
        snprintf(mend, sizeof(mend), "--entity-name usage-events --add-config %s=3600000 ", limits[i]);
        assert_non_null(strstr(err.msg, mend));
        upt_buf_fini(&notes);
    }
}

static void
keeps_alerts_and_dead_letters(void **state)
{
    (void)state;
    struct upt_buf notes = {0};
    struct upt_error err;
    world.n = 0;
    there_is("usage-events", "max.message.bytes", "1000", NULL);
    assert_int_equal(prepare(true, &notes, &err), UPT_OK);
    assert_non_null(strstr(world.made.p, "churn-alerts: cleanup.policy=delete retention.ms=-1 retention.bytes=-1\n"));
    assert_non_null(strstr(world.made.p, "usage-events-dead: cleanup.policy=delete retention.ms=-1 retention.bytes=-1 "
                                         "max.message.bytes=66536\n"));
    assert_string_equal(notes.p, "");
    upt_buf_fini(&notes);
}

static void
tells_what_is_not_kept(void **state)
{
    (void)state;
    struct upt_buf notes = {0};
    struct upt_error err;
    world.n = 0;
    there_is("usage-events", NULL);
    there_is("uptake-state", "cleanup.policy", "compact", NULL);
    there_is("account-health", "cleanup.policy", "compact", "retention.ms", "604800000", NULL);
    there_is("churn-alerts", "cleanup.policy", "delete", "retention.ms", "604800000", "retention.bytes", "-1", NULL);
    there_is("usage-events-dead", "cleanup.policy", "compact", "retention.ms", "-1", "retention.bytes", "9", NULL);
    assert_int_equal(prepare(false, &notes, &err), UPT_OK);
    assert_string_equal(notes.p,
                        "topic churn-alerts has retention.ms=604800000: `uptake alerts` and `show` no longer "
                        "know open alerts that it lost; set it to -1\n"
                        "topic usage-events-dead has cleanup.policy=compact: dead letters get lost; set it to "
                        "delete\n"
                        "topic usage-events-dead has retention.bytes=9: dead letters get lost; set it to -1\n");
    upt_buf_fini(&notes);
}

/* The notes on events of 90 days ago, for a topic with these settings; freed by the caller. */
static char *
backfill_into(const char *type, const char *retention, const char *policy)
{
    struct upt_buf notes = {0};
    struct upt_error err;
    world.n = 0;
    there_is("usage-events", "message.timestamp.type", type, "retention.ms", retention, "cleanup.policy", policy, NULL);
    assert_int_equal(upt_topics_backfill(world.config, 90 * UPT_DAY_MS, &notes, &err), UPT_OK);
    upt_buf_put(&notes, "", 1);
    return notes.p;
}

static void
tells_what_a_backfill_meets(void **state)
{
    (void)state;
    static const struct {
        const char *type, *retention, *policy, *wanted; /* NULL: nothing */
    } cases[] = {
        {"CreateTime", "-1", "delete", NULL},
        {"CreateTime", "7776000000", "delete", NULL},
        {"CreateTime", "7775999999", "delete",
         "keeps records for 2159 hours (retention.ms=7775999999), these are of up "
         "to 90 days ago"},
        {"CreateTime", "604800000", "compact,delete", "--entity-name usage-events --add-config retention.ms=-1\n"},
        {"CreateTime", "604800000", "compact", NULL},
        {"LogAppendTime", "604800000", "delete", "become dead letters (too_late)"},
        {"LogAppendTime", "-1", "delete", "--add-config message.timestamp.type=CreateTime,retention.ms=-1\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *notes = backfill_into(cases[i].type, cases[i].retention, cases[i].policy);
        if (cases[i].wanted == NULL) {
            assert_string_equal(notes, "");
        } else {
            assert_non_null(strstr(notes, cases[i].wanted));
            assert_ptr_equal(strchr(notes, '\n'), notes + strlen(notes) - 1); /* one line */
        }
        free(notes);
    }
}

static void
names_the_command_that_makes_the_input(void **state)
{
    (void)state;
    struct upt_buf notes = {0};
    struct upt_error err;
    world.n = 0;
    assert_int_equal(upt_topics_backfill(world.config, 90 * UPT_DAY_MS, &notes, &err), UPT_ENOTFOUND);
    assert_non_null(strstr(err.msg, "there is no topic usage-events. Make it with: kafka-topics.sh "));
    assert_non_null(strstr(err.msg, "--create --topic usage-events --partitions 4 --config message.timestamp.type="));
    assert_int_equal(notes.len, 0);
}

static void
missing_ones_are_told(void **state)
{
    (void)state;
    world.n = 0;
    there_is("usage-events", NULL);
    there_is("account-health", "cleanup.policy", "compact", NULL);
    for (int create = 0; create < 2; create++) {
        struct upt_buf notes = {0};
        struct upt_error err;
        assert_int_equal(upt_config_set(world.config, "topics.create", "true", NULL), UPT_OK);
        assert_int_equal(prepare(create, &notes, &err), UPT_OK);
        assert_int_equal(strstr(notes.p, "topic uptake-state does not exist; `uptake run` will create it\n") != NULL,
                         !create);
        assert_int_equal(world.made.len > 1, create);
        upt_buf_clear(&notes);
        assert_int_equal(upt_config_set(world.config, "topics.create", "false", NULL), UPT_OK);
        assert_int_equal(prepare(create, &notes, &err), UPT_ENOTFOUND);
        assert_non_null(strstr(err.msg, "no topic uptake-state, churn-alerts, usage-events-dead; create it with 1 "));
        assert_string_equal(notes.p, "");
        assert_string_equal(world.made.p, "");
        upt_buf_fini(&notes);
    }
}

static int
set_up(void **state)
{
    (void)state;
    return upt_config_default(&world.config, NULL) == UPT_OK ? 0 : 1;
}

static int
tear_down(void **state)
{
    (void)state;
    upt_buf_fini(&world.made);
    upt_config_destroy(&world.config);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_the_setting_to_mend),
        cmocka_unit_test(keeps_alerts_and_dead_letters),
        cmocka_unit_test(tells_what_is_not_kept),
        cmocka_unit_test(tells_what_a_backfill_meets),
        cmocka_unit_test(names_the_command_that_makes_the_input),
        cmocka_unit_test(missing_ones_are_told),
    };
    return cmocka_run_group_tests_name("topics", tests, set_up, tear_down);
}
