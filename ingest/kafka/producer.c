/* The transactional producer handle, and the count of EndTxn requests.
 *
 * librdkafka repeats an EndTxn by itself after a lost connection and then reports success; there is no API that says
 * so. The on_request_sent interceptor is the one place where the repetition can be seen (measured: without this count a
 * proxy that delivers the first EndTxn late made one output vanish with the first seed and doubled some with the
 * second). */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/kafka/client.h"
#include "ingest/kafka/publisher_internal.h"
#include "uptake/assert.h"

#define API_KEY_END_TXN 26

static rd_kafka_resp_err_t
on_request_sent(rd_kafka_t *rk, int sockfd, const char *brokername, int32_t brokerid, int16_t api_key,
                int16_t api_version, int32_t corrid, size_t size, void *opaque)
{
    (void)rk, (void)sockfd, (void)brokername, (void)brokerid, (void)api_version, (void)corrid, (void)size;
    struct upt_producer *producer = opaque;
    if (api_key == API_KEY_END_TXN) {
        atomic_fetch_add(&producer->endtxn_sent, 1);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t
on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *errstr, size_t errstr_size)
{
    (void)conf, (void)errstr, (void)errstr_size;
    return rd_kafka_interceptor_add_on_request_sent(rk, "uptake", on_request_sent, opaque);
}

static void
on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *opaque)
{
    (void)rk;
    struct upt_producer *producer = opaque;
    if (msg->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        bool too_large = msg->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
                         msg->err == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE; /* than a segment */
        if (too_large && !producer->told_too_large) {
            producer->told_too_large = true; /* once, however many were in that batch */
            atomic_fetch_add(&producer->too_large, 1);
        }
        if (atomic_load(&producer->deliveries_failed) == 0) {
            snprintf(producer->delivery_error, sizeof(producer->delivery_error), "%s [%d]: %s",
                     msg->rkt != NULL ? rd_kafka_topic_name(msg->rkt) : "?", msg->partition,
                     rd_kafka_err2str(msg->err));
        }
        atomic_fetch_add(&producer->deliveries_failed, 1);
    }
}

upt_status
upt_publisher_conf(const struct upt_config *config, const char *transactional_id, size_t batch_bytes,
                   rd_kafka_conf_t **ret, struct upt_error *reterr)
{
    char batch[24];
    long long wanted = strtoll(upt_client_prop(config, "batch.size", "1000000"), NULL, 10);
    snprintf(batch, sizeof(batch), "%lld", wanted < (long long)batch_bytes ? wanted : (long long)batch_bytes);
    const struct upt_prop_set props[] = {
        {"transactional.id", transactional_id},
        {"transaction.timeout.ms", "60000"},
        {"enable.idempotence", "true"},
        {"partitioner", "murmur2_random"},
        {"batch.size", batch},               /* a topic takes or refuses a batch as a whole */
        {"message.max.bytes", "1000000000"}, /* a dead letter is as large as what came; the topic decides */
    };
    return upt_client_conf(config, UPT_KAFKA_OUTPUT, props, sizeof(props) / sizeof(props[0]), ret, reterr);
}

static long long
number_of(const rd_kafka_conf_t *conf, const char *name)
{
    char text[24] = "";
    size_t size = sizeof(text);
    upt_assert(rd_kafka_conf_get(conf, name, text, &size) == RD_KAFKA_CONF_OK);
    return strtoll(text, NULL, 10);
}

upt_status
upt_producer_open(struct upt_producer *producer, const struct upt_config *config, const char *transactional_id,
                  size_t batch_bytes, struct upt_error *reterr)
{
    rd_kafka_conf_t *conf;
    upt_status status = upt_publisher_conf(config, transactional_id, batch_bytes, &conf, reterr);
    if (status != UPT_OK) {
        return status;
    }
    rd_kafka_conf_set_opaque(conf, producer);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_interceptor_add_on_new(conf, "uptake", on_new, producer);
    atomic_store(&producer->endtxn_sent, 0);
    atomic_store(&producer->deliveries_failed, 0);
    producer->told_too_large = false;
    producer->batch_bytes = number_of(conf, "batch.size");
    producer->batch_records = number_of(conf, "batch.num.messages");
    producer->handed_bytes = producer->handed_records = 0;
    return upt_client_new(RD_KAFKA_PRODUCER, conf, &producer->rk, reterr);
}

void
upt_producer_compress(struct upt_producer *producer, const char *topic)
{
    char said[256];
    rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(producer->rk);
    /* Where librdkafka was built without it, they go as they are. */
    (void)rd_kafka_topic_conf_set(conf, "compression.codec", "zstd", said, sizeof(said));
    producer->letters = rd_kafka_topic_new(producer->rk, topic, conf);
}

void
upt_producer_close(struct upt_producer *producer)
{
    if (producer->rk == NULL) {
        return;
    }
    (void)rd_kafka_purge(producer->rk,
                         RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    if (producer->letters != NULL) {
        rd_kafka_topic_destroy(producer->letters);
        producer->letters = NULL;
    }
    rd_kafka_destroy(producer->rk);
    producer->rk = NULL;
}

upt_status
upt_publisher_fence(const struct upt_config *config, const char *transactional_id, int timeout_ms,
                    struct upt_error *reterr)
{
    struct upt_producer producer = {0};
    upt_status status = upt_producer_open(&producer, config, transactional_id, UPT_BATCH_BYTES, reterr);
    if (status != UPT_OK) {
        return status;
    }
    rd_kafka_error_t *error = rd_kafka_init_transactions(producer.rk, timeout_ms);
    if (error != NULL) {
        status =
            upt_fail(reterr, UPT_EUNAVAIL, "cannot take over %s: %s", transactional_id, rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
    }
    upt_producer_close(&producer);
    return status;
}
