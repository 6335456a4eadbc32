/* Generated events onto the input topic. See feed.h. The record's timestamp is the event's time: it is a backfill. */
#include "ingest/feed.h"

#include <stdio.h>
#include <string.h>

#include "ingest/avro/encoder.h"
#include "ingest/avro/registry.h"
#include "ingest/kafka/client.h"

static struct upt_metrics registry_metrics;

static void
on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *opaque)
{
    (void)rk;
    struct upt_feed *feed = opaque;
    feed->failed += msg->err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

static upt_status
open_registry(const struct upt_config *config, struct upt_registry **ret, struct upt_error *reterr)
{
    const struct upt_registry_config to = {.urls = config->registry_url,
                                           .user = config->registry_user,
                                           .password = config->registry_password,
                                           .token = config->registry_token,
                                           .ca_file = config->registry_ca_file,
                                           .timeout_ms = config->registry_timeout_ms,
                                           .negative_ttl_ms = config->registry_negative_ttl_ms,
                                           .metrics = &registry_metrics};
    return upt_registry_create(&to, ret, reterr);
}

upt_status
upt_feed_event_schema(const struct upt_config *config, const char *name, int32_t *ret_id, struct upt_error *reterr)
{
    struct upt_registry *registry = NULL;
    char subject[300];
    *ret_id = -1;
    if (strcmp(config->input_framing, "confluent") != 0) {
        return UPT_OK;
    }
    upt_status status = open_registry(config, &registry, reterr);
    snprintf(subject, sizeof(subject), "%s-%s-value", config->input_topic, name);
    if (status == UPT_OK) {
        status = upt_registry_register(registry, subject, upt_schema_usage_event, ret_id, reterr);
    }
    upt_registry_destroy(&registry);
    return status;
}

static upt_status
register_schemas(struct upt_feed *feed, const struct upt_config *config, struct upt_error *reterr)
{
    struct upt_registry *registry = NULL;
    char subject[300];
    upt_status status = open_registry(config, &registry, reterr);
    snprintf(subject, sizeof(subject), "%s-value", config->input_topic);
    if (status == UPT_OK) {
        status = upt_registry_register(registry, subject, upt_schema_usage_event, &feed->event_id, reterr);
    }
    snprintf(subject, sizeof(subject), "%s-batch-value", config->input_topic);
    if (status == UPT_OK && feed->batch > 1) {
        status = upt_registry_register(registry, subject, upt_schema_usage_batch, &feed->batch_id, reterr);
    }
    upt_registry_destroy(&registry);
    return status;
}

upt_status
upt_feed_open(struct upt_feed *feed, const struct upt_config *config, int batch, struct upt_error *reterr)
{
    memset(feed, 0, sizeof(*feed));
    feed->topic = config->input_topic;
    feed->batch = batch;
    feed->event_id = feed->batch_id = -1;
    upt_status status = UPT_OK;
    if (strcmp(config->input_framing, "confluent") == 0) {
        status = register_schemas(feed, config, reterr);
    }
    if (status != UPT_OK) {
        return status;
    }
    const struct upt_prop_set props[] = {{"enable.idempotence", "true"}, {"partitioner", "murmur2_random"}};
    rd_kafka_conf_t *conf;
    status = upt_client_conf(config, UPT_KAFKA_GENERATOR, props, sizeof(props) / sizeof(props[0]), &conf, reterr);
    if (status != UPT_OK) {
        return status;
    }
    rd_kafka_conf_set_opaque(conf, feed);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    return upt_client_new(RD_KAFKA_PRODUCER, conf, &feed->rk, reterr);
}

static upt_status
produce(struct upt_feed *feed, const char *key, size_t key_len, const struct upt_buf *value, int64_t ts,
        struct upt_error *reterr)
{
    const rd_kafka_vu_t vus[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = feed->topic},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)key, key_len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {value->p, value->len}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = ts},
    };
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_produceva(feed->rk, vus, sizeof(vus) / sizeof(vus[0]));
        rd_kafka_resp_err_t err = rd_kafka_error_code(error);
        rd_kafka_error_destroy(error);
        if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            rd_kafka_poll(feed->rk, 50);
            continue;
        }
        feed->records++;
        if (feed->records % 1024 == 0) {
            rd_kafka_poll(feed->rk, 0);
        }
        return err == RD_KAFKA_RESP_ERR_NO_ERROR
                   ? UPT_OK
                   : upt_fail(reterr, UPT_EUNAVAIL, "cannot produce to %s: %s", feed->topic, rd_kafka_err2str(err));
    }
}

/* The batch under way as one record. */
static upt_status
send_batch(struct upt_feed *feed, struct upt_error *reterr)
{
    if (feed->pending == 0) {
        return UPT_OK;
    }
    upt_buf_clear(&feed->value);
    upt_encode_batch_begin(&feed->value, feed->batch_id, (size_t)feed->pending);
    upt_buf_put(&feed->value, feed->bodies.p, feed->bodies.len);
    upt_encode_batch_end(&feed->value);
    feed->pending = 0;
    return produce(feed, feed->key.p, feed->key.len, &feed->value, feed->pending_ts, reterr);
}

upt_status
upt_feed_put(struct upt_feed *feed, const struct upt_generated *generated, struct upt_error *reterr)
{
    const struct upt_event *ev = &generated->event;
    feed->events++;
    if (feed->batch <= 1) {
        upt_buf_clear(&feed->value);
        upt_encode_event(&feed->value, feed->event_id, ev, generated->props, generated->props_n);
        return produce(feed, ev->account_id.p, ev->account_id.len, &feed->value, ev->occurred_at, reterr);
    }
    bool same = feed->pending > 0 && feed->key.len == ev->account_id.len &&
                memcmp(feed->key.p, ev->account_id.p, feed->key.len) == 0;
    upt_status status = UPT_OK;
    if (!same || feed->pending == feed->batch) {
        status = send_batch(feed, reterr);
        upt_buf_clear(&feed->bodies);
        upt_buf_clear(&feed->key);
        upt_buf_put(&feed->key, ev->account_id.p, ev->account_id.len);
    }
    upt_encode_event(&feed->bodies, -1, ev, generated->props, generated->props_n);
    feed->pending++;
    feed->pending_ts = ev->occurred_at;
    return status;
}

upt_status
upt_feed_flush(struct upt_feed *feed, struct upt_error *reterr)
{
    upt_status status = send_batch(feed, reterr);
    if (status != UPT_OK) {
        return status;
    }
    rd_kafka_resp_err_t err = rd_kafka_flush(feed->rk, 60000);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return upt_fail(reterr, UPT_EUNAVAIL, "%d records were not delivered to %s yet, %llu never will: %s",
                        rd_kafka_outq_len(feed->rk), feed->topic, (unsigned long long)feed->failed,
                        rd_kafka_err2str(err));
    }
    if (feed->failed > 0) {
        return upt_fail(reterr, UPT_EUNAVAIL, "%llu records were not delivered to %s", (unsigned long long)feed->failed,
                        feed->topic);
    }
    return UPT_OK;
}

void
upt_feed_close(struct upt_feed *feed)
{
    if (feed->rk != NULL) {
        rd_kafka_destroy(feed->rk);
        feed->rk = NULL;
    }
    upt_buf_fini(&feed->value);
    upt_buf_fini(&feed->bodies);
    upt_buf_fini(&feed->key);
}
