/* Creation and check of topics, through the Admin API. See topics.h.
 *
 * The state topic is compacted in small steps (segments of 64 MiB, a tenth dirty is enough), since a restore reads it
 * from the beginning: what is not yet compacted away is read for nothing. Alerts and dead letters are kept for good:
 * the commands know open alerts from their topic alone, and what was not counted must not disappear. */
#include "ingest/kafka/topics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/kafka/client.h"
#include "uptake/log.h"
#include "uptake/time.h"

#define TIMEOUT_MS 15000

struct topic_setting {
    const char *name, *value;
};

static const struct topic_setting state_settings[] = {{"cleanup.policy", "compact"},
                                                      {"segment.bytes", "67108864"},
                                                      {"segment.ms", "600000"},
                                                      {"min.cleanable.dirty.ratio", "0.1"},
                                                      {"message.timestamp.type", "CreateTime"},
                                                      {"max.message.bytes", "8388608"},
                                                      {NULL, NULL}};
static const struct topic_setting health_settings[] = {{"cleanup.policy", "compact"}, {NULL, NULL}};
/* Of alerts and dead letters; also what is looked for where such a topic is there. */
static const struct topic_setting kept_settings[] = {
    {"cleanup.policy", "delete"}, {"retention.ms", "-1"}, {"retention.bytes", "-1"}, {NULL, NULL}};

/* A topic other than the input. */
struct other {
    const char *name;
    const struct topic_setting *settings;
    const char *loss;     /* what happens where it is not kept for good; NULL: compacted */
    long long record_max; /* of dead letters; 0: of another topic, or not known */
};

static void
note(struct upt_buf *notes, const char *text)
{
    if (notes == NULL) {
        upt_log(UPT_LOG_WARNING, "topics", "%s", text);
        return;
    }
    upt_buf_puts(notes, text);
    upt_buf_puts(notes, "\n");
}

/* Waits for one answer of the Admin API; the caller destroys the event. */
static rd_kafka_event_t *
wait_event(rd_kafka_queue_t *queue)
{
    return rd_kafka_queue_poll(queue, TIMEOUT_MS + 2000);
}

static upt_status
create_topic(rd_kafka_t *rk, const struct upt_config *config, const char *name, int32_t partitions,
             const struct topic_setting *settings, struct upt_error *reterr)
{
    char errstr[256];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(name, partitions, (int)config->replication_factor, errstr, sizeof(errstr));
    if (topic == NULL) {
        return upt_fail(reterr, UPT_EINVAL, "cannot create topic %s: %s", name, errstr);
    }
    for (; settings->name != NULL; settings++) {
        (void)rd_kafka_NewTopic_set_config(topic, settings->name, settings->value);
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, TIMEOUT_MS, NULL, 0);
    (void)rd_kafka_AdminOptions_set_operation_timeout(options, TIMEOUT_MS, NULL, 0);
    rd_kafka_CreateTopics(rk, &topic, 1, options, queue);
    rd_kafka_event_t *event = wait_event(queue);
    upt_status status = UPT_OK;
    size_t n = 0;
    const rd_kafka_topic_result_t **results = NULL;
    if (event == NULL || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        status = upt_fail(reterr, UPT_EUNAVAIL, "cannot create topic %s: %s", name,
                          event == NULL ? "no answer" : rd_kafka_event_error_string(event));
    } else {
        results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    }
    if (n == 1 && rd_kafka_topic_result_error(results[0]) != RD_KAFKA_RESP_ERR_NO_ERROR &&
        rd_kafka_topic_result_error(results[0]) != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
        status = upt_fail(reterr, UPT_EINVAL, "cannot create topic %s: %s", name,
                          rd_kafka_topic_result_error_string(results[0]));
    }
    if (status == UPT_OK) {
        upt_log(UPT_LOG_INFO, "topics", "created topic %s with %d partitions", name, partitions);
    }
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(topic);
    return status;
}

/* A topic's settings by name; values copied into buf as "name\0value\0…". False: not to be had. */
static bool
describe_topic(rd_kafka_t *rk, const char *name, struct upt_buf *buf)
{
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, TIMEOUT_MS, NULL, 0);
    rd_kafka_DescribeConfigs(rk, &resource, 1, options, queue);
    rd_kafka_event_t *event = wait_event(queue);
    bool ok = event != NULL && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (ok) {
        size_t n = 0;
        const rd_kafka_ConfigResource_t **got =
            rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &n);
        ok = n == 1 && rd_kafka_ConfigResource_error(got[0]) == RD_KAFKA_RESP_ERR_NO_ERROR;
        size_t entries = 0;
        const rd_kafka_ConfigEntry_t **entry = ok ? rd_kafka_ConfigResource_configs(got[0], &entries) : NULL;
        for (size_t i = 0; i < entries; i++) {
            const char *value = rd_kafka_ConfigEntry_value(entry[i]);
            upt_buf_puts(buf, rd_kafka_ConfigEntry_name(entry[i]));
            upt_buf_put(buf, "", 1);
            upt_buf_puts(buf, value != NULL ? value : "");
            upt_buf_put(buf, "", 1);
        }
    }
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy(resource);
    return ok;
}

static const char *
lookup(const struct upt_buf *settings, const char *name)
{
    const char *p = settings->p;
    const char *end = settings->p + settings->len;
    while (p != NULL && p < end) {
        const char *value = p + strlen(p) + 1;
        if (strcmp(p, name) == 0) {
            return value;
        }
        p = value + strlen(value) + 1;
    }
    return NULL;
}

#define DEAD_HEADROOM 65536 /* headers of a dead letter beside the record as it came */

/* Timestamps bounded, and the log kept longer than a checkpoint can be old. */
static upt_status
check_input(rd_kafka_t *rk, const struct upt_config *config, struct upt_buf *notes, long long *ret_record_max,
            struct upt_error *reterr)
{
    struct upt_buf settings = {0};
    char text[700];
    upt_status status = UPT_OK;
    if (!describe_topic(rk, config->input_topic, &settings)) {
        snprintf(text, sizeof(text),
                 "the settings of topic %s cannot be read (no right to describe it?); its timestamps are not checked",
                 config->input_topic);
        note(notes, text);
        goto out;
    }
    const char *record_max = lookup(&settings, "max.message.bytes");
    *ret_record_max = record_max != NULL ? strtoll(record_max, NULL, 10) : 0;
    const char *type = lookup(&settings, "message.timestamp.type");
    const char *limit = "message.timestamp.after.max.ms";
    const char *bound = lookup(&settings, limit);
    if (bound == NULL) { /* brokers before 3.6 */
        limit = "message.timestamp.difference.max.ms";
        bound = lookup(&settings, limit);
    }
    if (type != NULL && strcmp(type, "CreateTime") == 0 && !config->trust_timestamps && bound != NULL &&
        strtoll(bound, NULL, 10) > UPT_DAY_MS) {
        status = upt_fail(
            reterr, UPT_EINVAL,
            "topic %s takes timestamps up to %s ms ahead of the broker's clock: one wrong producer clock would "
            "make all that follows too late. Mend it with: kafka-configs.sh --bootstrap-server %s --alter "
            "--entity-type topics --entity-name %s --add-config %s=3600000 (or set trust_timestamps: true)",
            config->input_topic, bound, upt_client_prop(config, "bootstrap.servers", "HOST:PORT"), config->input_topic,
            limit);
        goto out;
    }
    const char *retention = lookup(&settings, "retention.ms");
    int64_t needed = 10 * config->checkpoint_interval_ms + config->dedup_window_ms;
    if (retention != NULL && strtoll(retention, NULL, 10) >= 0 && strtoll(retention, NULL, 10) < needed) {
        snprintf(text, sizeof(text),
                 "topic %s keeps records for %s ms, less than ten checkpoint intervals and the dedup window (%lld ms): "
                 "after "
                 "an outage of that length records would be lost before they are counted",
                 config->input_topic, retention, (long long)needed);
        note(notes, text);
    }
out:
    upt_buf_fini(&settings);
    return status;
}

static void
check_kept(const struct other *other, const struct upt_buf *settings, struct upt_buf *notes)
{
    char text[500];
    for (const struct topic_setting *wanted = kept_settings; wanted->name != NULL; wanted++) {
        const char *value = lookup(settings, wanted->name);
        if (value != NULL && strcmp(value, wanted->value) != 0) {
            snprintf(text, sizeof(text), "topic %s has %s=%s: %s; set it to %s", other->name, wanted->name, value,
                     other->loss, wanted->value);
            note(notes, text);
        }
    }
}

static upt_status
check_other(rd_kafka_t *rk, const struct other *other, struct upt_topics *topics, struct upt_buf *notes,
            struct upt_error *reterr)
{
    const char *name = other->name;
    long long record_max = other->record_max;
    struct upt_buf settings = {0};
    upt_status status = UPT_OK;
    char text[500];
    if (describe_topic(rk, name, &settings)) {
        const char *policy = lookup(&settings, "cleanup.policy");
        bool is = policy != NULL && strcmp(policy, "compact") == 0;
        const char *bytes = lookup(&settings, "max.message.bytes");
        long long takes = bytes != NULL ? strtoll(bytes, NULL, 10) : 0;
        if (takes > 0 && (topics->batch_bytes == 0 || takes < topics->batch_bytes)) {
            topics->batch_bytes = takes;
        }
        if (record_max > 0) { /* the dead letters' */
            topics->letter_bytes = takes > 0 && takes < record_max ? takes : record_max;
        }
        if (takes > 0 && takes < record_max - DEAD_HEADROOM) {
            snprintf(text, sizeof(text),
                     "topic %s takes records of %s bytes, but a dead letter may have %lld: one that does not fit goes "
                     "without its value; set its max.message.bytes to at least that",
                     name, bytes, record_max);
            note(notes, text);
        }
        if (other->loss != NULL) {
            check_kept(other, &settings, notes);
        } else if (!is && other->settings == state_settings) {
            status = upt_fail(reterr, UPT_EINVAL,
                              "topic %s has cleanup.policy=%s and would lose checkpoints; it must be compact", name,
                              policy != NULL ? policy : "?");
        } else if (!is) {
            snprintf(text, sizeof(text),
                     "topic %s is not compacted (cleanup.policy=%s): it grows without bound or loses "
                     "the newest value",
                     name, policy != NULL ? policy : "?");
            note(notes, text);
        }
    }
    upt_buf_fini(&settings);
    return status;
}

static upt_status
prepare_other(rd_kafka_t *rk, const struct upt_config *config, bool create, const struct other *other,
              struct upt_topics *topics, struct upt_buf *notes, struct upt_error *reterr)
{
    const char *name = other->name;
    int32_t partitions = topics->partitions;
    int32_t got = 0;
    char text[500];
    upt_status status = upt_client_partitions(rk, name, TIMEOUT_MS, &got, reterr);
    if (status == UPT_ENOTFOUND && config->create_topics) {
        if (!create) {
            snprintf(text, sizeof(text), "topic %s does not exist; `uptake run` will create it", name);
            note(notes, text);
            return UPT_OK;
        }
        return create_topic(rk, config, name, partitions, other->settings, reterr);
    }
    if (status != UPT_OK) {
        return status;
    }
    if (other->settings == state_settings && got != partitions) {
        return upt_fail(reterr, UPT_EINVAL, "topic %s has %d partitions, the input %s has %d: they must be as many",
                        name, got, config->input_topic, partitions);
    }
    return check_other(rk, other, topics, notes, reterr);
}

/* All of the others. Those that are missing and may not be made are told together. */
static upt_status
prepare_others(rd_kafka_t *rk, const struct upt_config *config, bool create, const struct other *others, size_t n,
               struct upt_topics *topics, struct upt_buf *notes, struct upt_error *reterr)
{
    struct upt_buf missing = {0};
    upt_status status = UPT_OK;
    for (size_t i = 0; i < n && status == UPT_OK; i++) {
        status = prepare_other(rk, config, create, &others[i], topics, notes, reterr);
        if (status == UPT_ENOTFOUND && !config->create_topics) {
            upt_buf_printf(&missing, "%s%s", missing.len > 0 ? ", " : "", others[i].name);
            status = UPT_OK;
        }
    }
    if (status == UPT_OK && missing.len > 0) {
        status = upt_fail(reterr, UPT_ENOTFOUND,
                          "topics.create is false and there is no topic %.*s; create it with %d partitions, or set "
                          "topics.create: true",
                          (int)missing.len, missing.p, (int)topics->partitions);
    }
    upt_buf_fini(&missing);
    return status;
}

upt_status
upt_topics_prepare(const struct upt_config *config, bool create, struct upt_buf *notes, struct upt_topics *ret,
                   struct upt_error *reterr)
{
    rd_kafka_t *rk = NULL;
    struct upt_topics topics = {0};
    upt_status status = upt_client_producer(config, &rk, reterr);
    if (status != UPT_OK) {
        return status;
    }
    status = upt_client_partitions(rk, config->input_topic, TIMEOUT_MS, &topics.partitions, reterr);
    long long record_max = 0;
    bool embedded = config->embedded_broker;
    if (status == UPT_OK && !embedded) {
        status = check_input(rk, config, notes, &record_max, reterr);
    }
    char dead_max[32];
    record_max = record_max > 0 ? record_max + DEAD_HEADROOM : 0;
    snprintf(dead_max, sizeof(dead_max), "%lld", record_max);
    const struct topic_setting dead_settings[] = {kept_settings[0],
                                                  kept_settings[1],
                                                  kept_settings[2],
                                                  {record_max > 0 ? "max.message.bytes" : NULL, dead_max},
                                                  {NULL, NULL}};
    const struct other others[] = {
        {config->state_topic, state_settings, NULL, 0},
        {config->health_topic, health_settings, NULL, 0},
        {config->alerts_topic, kept_settings, "`uptake alerts` and `show` no longer know open alerts that it lost", 0},
        {config->dead_topic, dead_settings, "dead letters get lost", record_max}};
    if (status == UPT_OK && !embedded) {
        status = prepare_others(rk, config, create, others, sizeof(others) / sizeof(others[0]), &topics, notes, reterr);
    }
    if (status == UPT_OK) {
        topics.letter_bytes = topics.letter_bytes > 0 ? topics.letter_bytes : record_max; /* the topic was made so */
        *ret = topics;
    }
    upt_client_destroy(&rk);
    return status;
}

static void
note_backfill(const struct upt_config *config, const struct upt_buf *settings, int64_t age_ms, struct upt_buf *notes)
{
    char mend[400], text[800];
    const char *type = lookup(settings, "message.timestamp.type");
    const char *policy = lookup(settings, "cleanup.policy");
    const char *retention = lookup(settings, "retention.ms");
    long long kept = retention != NULL ? strtoll(retention, NULL, 10) : -1;
    snprintf(mend, sizeof(mend),
             "kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config ",
             upt_client_prop(config, "bootstrap.servers", "HOST:PORT"), config->input_topic);
    if (type != NULL && strcmp(type, "LogAppendTime") == 0 && age_ms > UPT_DAY_MS) {
        snprintf(
            text, sizeof(text),
            "topic %s has LogAppendTime, and a backfill needs CreateTime: the clock is that of sending, and events "
            "of 30 days ago and more become dead letters (too_late). Mend it with: "
            "%smessage.timestamp.type=CreateTime,retention.ms=-1",
            config->input_topic, mend);
        note(notes, text);
    } else if (kept >= 0 && kept < age_ms && (policy == NULL || strstr(policy, "delete") != NULL)) {
        snprintf(
            text, sizeof(text),
            "topic %s keeps records for %lld hours (retention.ms=%s), these are of up to %lld days ago: the broker "
            "deletes them, perhaps before they are counted. Mend it with: %sretention.ms=-1",
            config->input_topic, kept / UPT_HOUR_MS, retention, (long long)(age_ms / UPT_DAY_MS), mend);
        note(notes, text);
    }
}

upt_status
upt_topics_backfill(const struct upt_config *config, int64_t age_ms, struct upt_buf *notes, struct upt_error *reterr)
{
    rd_kafka_t *rk = NULL;
    struct upt_buf settings = {0};
    int32_t partitions = 0;
    upt_status status = upt_client_producer(config, &rk, reterr);
    if (status != UPT_OK) {
        return status;
    }
    status = upt_client_partitions(rk, config->input_topic, TIMEOUT_MS, &partitions, reterr);
    if (status == UPT_ENOTFOUND) {
        status = upt_fail(reterr, UPT_ENOTFOUND,
                          "there is no topic %s. Make it with: kafka-topics.sh --bootstrap-server %s --create --topic "
                          "%s --partitions 4 --config message.timestamp.type=CreateTime --config retention.ms=-1",
                          config->input_topic, upt_client_prop(config, "bootstrap.servers", "HOST:PORT"),
                          config->input_topic);
    } else if (status == UPT_OK && describe_topic(rk, config->input_topic, &settings)) {
        note_backfill(config, &settings, age_ms, notes);
    }
    upt_buf_fini(&settings);
    upt_client_destroy(&rk);
    return status;
}
