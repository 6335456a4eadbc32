/* Topics and rows by hand. See topic_read.h.
 *
 * A reading ends where the partitions ended when it began, so that a topic that is written all the time is read to an
 * end too. The last offsets of a partition can be transaction markers, which no consumer sees: there the end-of-
 * partition event says that it is read.
 *
 * The writer is a producer of its own configuration and not upt_client_producer's, since whether a record arrived is
 * told to a callback that must be set before the client exists. One thread: the command's. */
#include "ingest/topic_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "aggregate/view/view.h"
#include "ingest/kafka/client.h"
#include "uptake/time.h"

#define SETTLE_MS (10 * 1000)
#define QUERY_MS 15000
#define STALL_MS 30000 /* without a record and without an end */
#define FLUSH_MS 60000
#define HEADER_BYTES 5

/* ---- reading ---- */

struct reading {
    rd_kafka_t *rk;
    const char *topic;
    int32_t only; /* the partition to read; −1: all */
    int64_t from; /* −1: the beginning */
    int32_t partitions, left;
    int64_t *ends; /* of each partition; −1: read */
    bool sorted;   /* one partition after the other */
    int32_t now;   /* then: the one that is read; −1: none yet */
};

struct upt_str
upt_topic_key(const rd_kafka_message_t *msg)
{
    return msg->key == NULL ? UPT_STR_NULL : (struct upt_str){.p = msg->key, .len = (uint32_t)msg->key_len};
}

struct upt_str
upt_topic_value(const rd_kafka_message_t *msg)
{
    return msg->payload == NULL ? UPT_STR_NULL : (struct upt_str){.p = msg->payload, .len = (uint32_t)msg->len};
}

struct upt_str
upt_topic_body(const rd_kafka_message_t *msg)
{
    struct upt_str value = upt_topic_value(msg);
    if (value.len > HEADER_BYTES && value.p[0] == 0) {
        value.p += HEADER_BYTES;
        value.len -= HEADER_BYTES;
    }
    return value;
}

bool
upt_topic_header(const rd_kafka_message_t *msg, const char *name, struct upt_str *ret)
{
    rd_kafka_headers_t *headers = NULL;
    const void *value = NULL;
    size_t len = 0;
    if (rd_kafka_message_headers(msg, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_header_get_last(headers, name, &value, &len) != RD_KAFKA_RESP_ERR_NO_ERROR || value == NULL) {
        return false;
    }
    *ret = (struct upt_str){.p = value, .len = (uint32_t)len};
    return true;
}

static void
ended(struct reading *reading, int32_t partition)
{
    if (reading->ends[partition] >= 0) {
        reading->ends[partition] = -1;
        reading->left--;
    }
}

/* Fetches the ends and assigns every partition wanted that is not empty. */
static upt_status
begin(struct reading *reading, struct upt_error *reterr)
{
    upt_status status = upt_client_partitions(reading->rk, reading->topic, QUERY_MS, &reading->partitions, reterr);
    if (status != UPT_OK) {
        return status;
    }
    reading->ends = calloc((size_t)reading->partitions + 1, sizeof(*reading->ends));
    if (reading->ends == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    reading->left = reading->partitions;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(reading->partitions);
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int32_t i = 0; i < reading->partitions && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        int64_t low = 0, high = 0;
        if (reading->only >= 0 && i != reading->only) {
            ended(reading, i);
            continue;
        }
        err = rd_kafka_query_watermark_offsets(reading->rk, reading->topic, i, &low, &high, QUERY_MS);
        reading->ends[i] = high;
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR && (low >= high || reading->from >= high)) {
            ended(reading, i);
        } else if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_topic_partition_list_add(list, reading->topic, i)->offset =
                reading->from >= 0 ? reading->from : RD_KAFKA_OFFSET_BEGINNING;
        }
    }
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR && list->cnt > 0 && !reading->sorted) {
        err = rd_kafka_assign(reading->rk, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return upt_fail(reterr, UPT_EUNAVAIL, "kafka: topic %s: %s", reading->topic, rd_kafka_err2str(err));
    }
    return UPT_OK;
}

/* Assigns the next partition once the one before is read; there is one left. */
static upt_status
turn_to_next(struct reading *reading, struct upt_error *reterr)
{
    if (reading->now >= 0 && reading->ends[reading->now] >= 0) {
        return UPT_OK;
    }
    do {
        reading->now++;
    } while (reading->ends[reading->now] < 0);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, reading->topic, reading->now)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_resp_err_t err = rd_kafka_assign(reading->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return err == RD_KAFKA_RESP_ERR_NO_ERROR
               ? UPT_OK
               : upt_fail(reterr, UPT_EUNAVAIL, "kafka: topic %s: %s", reading->topic, rd_kafka_err2str(err));
}

/* One message or event; false in *inout_go: fn has enough. */
static upt_status
take(struct reading *reading, const rd_kafka_message_t *msg, upt_topic_read_fn fn, void *ctx, bool *inout_go,
     struct upt_error *reterr)
{
    bool known = msg->partition >= 0 && msg->partition < reading->partitions;
    if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (known) {
            ended(reading, msg->partition);
        }
        return UPT_OK;
    }
    if (msg->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return upt_fail(reterr, UPT_EUNAVAIL, "kafka: topic %s: %s", reading->topic, rd_kafka_message_errstr(msg));
    }
    if (!known || reading->ends[msg->partition] < 0) {
        return UPT_OK; /* came after the end */
    }
    int64_t end = reading->ends[msg->partition];
    if (msg->offset < end) {
        *inout_go = fn(ctx, msg);
    }
    if (msg->offset + 1 >= end) {
        ended(reading, msg->partition);
    }
    return UPT_OK;
}

static upt_status
read_all(struct reading *reading, const struct upt_config *config, upt_topic_read_fn fn, void *ctx,
         struct upt_error *reterr)
{
    bool go = true;
    upt_status status = upt_client_reader(config, true, &reading->rk, reterr);
    if (status == UPT_OK) {
        status = begin(reading, reterr);
    }
    int64_t last_ms = upt_mono_ms();
    while (status == UPT_OK && go && reading->left > 0) {
        if (reading->sorted) {
            status = turn_to_next(reading, reterr);
        }
        rd_kafka_message_t *msg = status == UPT_OK ? rd_kafka_consumer_poll(reading->rk, 200) : NULL;
        if (msg != NULL) {
            last_ms = upt_mono_ms();
            status = take(reading, msg, fn, ctx, &go, reterr);
            rd_kafka_message_destroy(msg);
        } else if (status == UPT_OK && upt_mono_ms() - last_ms > STALL_MS) {
            status = upt_fail(reterr, UPT_EUNAVAIL, "kafka: topic %s: no record for %d s, %d partitions are not read",
                              reading->topic, STALL_MS / 1000, (int)reading->left);
        }
    }
    upt_client_destroy(&reading->rk);
    free(reading->ends);
    return status;
}

upt_status
upt_topic_read(const struct upt_config *config, const char *topic, upt_topic_read_fn fn, void *ctx,
               struct upt_error *reterr)
{
    return upt_topic_read_partition(config, topic, -1, -1, fn, ctx, reterr);
}

upt_status
upt_topic_read_sorted(const struct upt_config *config, const char *topic, upt_topic_read_fn fn, void *ctx,
                      struct upt_error *reterr)
{
    struct reading reading = {.topic = topic, .only = -1, .from = -1, .sorted = true, .now = -1};
    return read_all(&reading, config, fn, ctx, reterr);
}

upt_status
upt_topic_read_partition(const struct upt_config *config, const char *topic, int32_t partition, int64_t from,
                         upt_topic_read_fn fn, void *ctx, struct upt_error *reterr)
{
    struct reading reading = {.topic = topic, .only = partition, .from = from};
    return read_all(&reading, config, fn, ctx, reterr);
}

static upt_status
spans_of(const struct upt_config *config, const char *topic, bool committed_only, struct upt_topic_span **ret,
         int32_t *ret_n, struct upt_error *reterr)
{
    rd_kafka_t *rk = NULL;
    struct upt_topic_span *spans = NULL;
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
    upt_status status = upt_client_reader(config, committed_only, &rk, reterr);
    if (status == UPT_OK) {
        status = upt_client_partitions(rk, topic, QUERY_MS, ret_n, reterr);
    }
    if (status == UPT_OK) {
        spans = calloc((size_t)*ret_n + 1, sizeof(*spans));
        status = spans != NULL ? UPT_OK : upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    for (int32_t i = 0; status == UPT_OK && i < *ret_n; i++) {
        err = rd_kafka_query_watermark_offsets(rk, topic, i, &spans[i].low, &spans[i].high, QUERY_MS);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            status = upt_fail(reterr, UPT_EUNAVAIL, "kafka: topic %s: %s", topic, rd_kafka_err2str(err));
        }
    }
    upt_client_destroy(&rk);
    if (status != UPT_OK) {
        free(spans);
        return status;
    }
    *ret = spans;
    return UPT_OK;
}

upt_status
upt_topic_spans(const struct upt_config *config, const char *topic, struct upt_topic_span **ret, int32_t *ret_n,
                struct upt_error *reterr)
{
    return spans_of(config, topic, true, ret, ret_n, reterr);
}

upt_status
upt_topic_settle(const struct upt_config *config, const char *topic, struct upt_error *reterr)
{
    struct upt_topic_span *written = NULL;
    int32_t n = 0;
    int64_t begun = upt_mono_ms();
    upt_status status = spans_of(config, topic, false, &written, &n, reterr);
    for (bool settled = false; status == UPT_OK && !settled && upt_mono_ms() - begun < SETTLE_MS;) {
        struct upt_topic_span *stable = NULL;
        int32_t stable_n = 0;
        status = spans_of(config, topic, true, &stable, &stable_n, reterr);
        settled = status == UPT_OK;
        for (int32_t i = 0; settled && i < n && i < stable_n; i++) {
            settled = stable[i].high >= written[i].high;
        }
        free(stable);
        upt_sleep_ms(settled ? 0 : 50);
    }
    free(written);
    return status;
}

/* ---- writing ---- */

struct upt_topic_writer {
    rd_kafka_t *rk;
    uint64_t delivered, failed;
    char why[256]; /* of the first failure */
};

static void
on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *opaque)
{
    struct upt_topic_writer *writer = opaque;
    (void)rk;
    if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        writer->delivered++;
        return;
    }
    if (writer->failed++ == 0) {
        /* Not rd_kafka_message_errstr: of a record that was written it gives the value. */
        snprintf(writer->why, sizeof(writer->why), "%s", rd_kafka_err2str(msg->err));
    }
}

upt_status
upt_topic_writer_create(const struct upt_config *config, struct upt_topic_writer **ret, struct upt_error *reterr)
{
    const struct upt_prop_set props[] = {
        {"enable.idempotence", "true"},
        {"partitioner", "murmur2_random"},
        {"message.max.bytes", "1000000000"}, /* a letter goes back as large as it came; the topic decides */
    };
    rd_kafka_conf_t *conf = NULL;
    struct upt_topic_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    upt_status status =
        upt_client_conf(config, UPT_KAFKA_WRITER, props, sizeof(props) / sizeof(props[0]), &conf, reterr);
    if (status == UPT_OK) {
        char said[256]; /* it may have come compressed; where librdkafka was built without zstd it goes as it is */
        (void)rd_kafka_conf_set(conf, "compression.codec", "zstd", said, sizeof(said));
        rd_kafka_conf_set_opaque(conf, writer);
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        status = upt_client_new(RD_KAFKA_PRODUCER, conf, &writer->rk, reterr);
    }
    if (status != UPT_OK) {
        upt_topic_writer_destroy(&writer);
        return status;
    }
    *ret = writer;
    return UPT_OK;
}

rd_kafka_t *
upt_topic_writer_client(struct upt_topic_writer *writer)
{
    return writer->rk;
}

/* librdkafka takes bytes that it copies as void *. */
static void *
bytes_of(struct upt_str text)
{
    union {
        const char *in;
        void *out;
    } u = {.in = text.p};
    return u.out;
}

static rd_kafka_error_t *
produce(struct upt_topic_writer *writer, const struct upt_topic_record *record, rd_kafka_headers_t *headers)
{
    rd_kafka_vu_t vus[8];
    size_t n = 0;
    vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = record->topic};
    vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_PARTITION,
                               .u.i32 = record->partition < 0 ? RD_KAFKA_PARTITION_UA : record->partition};
    vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {bytes_of(record->key), record->key.len}};
    vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {bytes_of(record->value), record->value.len}};
    vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY};
    if (record->timestamp_ms > 0) {
        vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = record->timestamp_ms};
    }
    if (headers != NULL) {
        vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers};
    }
    return rd_kafka_produceva(writer->rk, vus, n);
}

upt_status
upt_topic_writer_put(struct upt_topic_writer *writer, const struct upt_topic_record *record, struct upt_error *reterr)
{
    int64_t start_ms = upt_mono_ms();
    for (;;) {
        rd_kafka_headers_t *headers = record->headers != NULL ? rd_kafka_headers_copy(record->headers) : NULL;
        rd_kafka_error_t *error = produce(writer, record, headers);
        if (error == NULL) {
            return UPT_OK; /* the headers are librdkafka's now */
        }
        if (headers != NULL) {
            rd_kafka_headers_destroy(headers);
        }
        bool full = rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL;
        if (!full || upt_mono_ms() - start_ms > FLUSH_MS) {
            upt_status status = upt_fail(reterr, full ? UPT_EUNAVAIL : UPT_EINVAL, "kafka: topic %s: %s", record->topic,
                                         rd_kafka_error_string(error));
            rd_kafka_error_destroy(error);
            return status;
        }
        rd_kafka_error_destroy(error);
        rd_kafka_poll(writer->rk, 100);
    }
}

upt_status
upt_topic_writer_finish(struct upt_topic_writer *writer, uint64_t *ret_delivered, struct upt_error *reterr)
{
    rd_kafka_resp_err_t err = rd_kafka_flush(writer->rk, FLUSH_MS);
    *ret_delivered = writer->delivered;
    if (writer->failed > 0) {
        return upt_fail(reterr, UPT_EUNAVAIL, "kafka: %llu records were not delivered: %s",
                        (unsigned long long)writer->failed, writer->why);
    }
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return upt_fail(reterr, UPT_EUNAVAIL, "kafka: no answer in %d s; %d records may or may not have been delivered",
                        FLUSH_MS / 1000, rd_kafka_outq_len(writer->rk));
    }
    return UPT_OK;
}

void
upt_topic_writer_destroy(struct upt_topic_writer **writer_p)
{
    if (*writer_p != NULL) {
        if ((*writer_p)->rk != NULL) {
            (void)rd_kafka_purge((*writer_p)->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
            rd_kafka_destroy((*writer_p)->rk);
        }
        free(*writer_p);
        *writer_p = NULL;
    }
}

/* ---- rows and text ---- */

upt_status
upt_read_redis(const struct upt_config *config, struct redisContext **ret, struct upt_error *reterr)
{
    const struct upt_view_config view = {.url = config->redis_url,
                                         .user = config->redis_user,
                                         .password = config->redis_password,
                                         .prefix = config->redis_prefix,
                                         .timeout_ms = config->redis_timeout_ms};
    return upt_redis_connect(&view, ret, reterr);
}

struct upt_str
upt_json_text(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);
    return text == NULL ? UPT_STR_NULL : (struct upt_str){text, (uint32_t)json_string_length(value)};
}
