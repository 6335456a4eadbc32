/* What commands read and write by hand: a topic to its end, a few records that must arrive, the rows in Redis. */
#ifndef UPT_TOPIC_READ_H
#define UPT_TOPIC_READ_H

#include <librdkafka/rdkafka.h>

#include "uptake/config.h"
#include "uptake/status.h"
#include "uptake/str.h"

/* One record, borrowed for the call. False: enough, the reading ends with UPT_OK. */
typedef bool (*upt_topic_read_fn)(void *ctx, const rd_kafka_message_t *msg);

/* Calls fn for every record from the beginning of all partitions to the ends they have now. Records of a partition come
 * in their order, partitions in any. read_committed. UPT_ENOTFOUND: there is no such topic. */
UPT_NODISCARD upt_status upt_topic_read(const struct upt_config *config, const char *topic, upt_topic_read_fn fn,
                                        void *ctx, struct upt_error *reterr);

/* The same, one partition after the other. */
UPT_NODISCARD upt_status upt_topic_read_sorted(const struct upt_config *config, const char *topic, upt_topic_read_fn fn,
                                               void *ctx, struct upt_error *reterr);

/* The same of one partition from an offset on; −1: from its beginning. */
UPT_NODISCARD upt_status upt_topic_read_partition(const struct upt_config *config, const char *topic, int32_t partition,
                                                  int64_t from, upt_topic_read_fn fn, void *ctx,
                                                  struct upt_error *reterr);

/* Where the partitions of a topic begin and end now; *ret has *ret_n and is the caller's to free. */
struct upt_topic_span {
    int64_t low, high;
};
UPT_NODISCARD upt_status upt_topic_spans(const struct upt_config *config, const char *topic,
                                         struct upt_topic_span **ret, int32_t *ret_n, struct upt_error *reterr);
/* Waits, up to 10 s, until nothing that is in the topic now can still become committed: a transaction's end reaches one
 * partition after the other, so a reader may see what one of them says and not yet what another does. */
UPT_NODISCARD upt_status upt_topic_settle(const struct upt_config *config, const char *topic, struct upt_error *reterr);

/* The value of a record of ours, after the Confluent header if it has one: bare ones begin with a text's length, which
 * is never 0. */
struct upt_str upt_topic_body(const rd_kafka_message_t *msg);
/* Key and value as borrowed bytes; null stays null. */
struct upt_str upt_topic_key(const rd_kafka_message_t *msg);
struct upt_str upt_topic_value(const rd_kafka_message_t *msg);
/* The last header of this name; false: there is none, or its value is null. */
bool upt_topic_header(const rd_kafka_message_t *msg, const char *name, struct upt_str *ret);

struct upt_topic_writer;

struct upt_topic_record {
    const char *topic;
    int32_t partition;           /* −1: by the key, as Java clients do */
    struct upt_str key, value;   /* null: null */
    int64_t timestamp_ms;        /* 0: now */
    rd_kafka_headers_t *headers; /* copied; NULL: none */
};

UPT_NODISCARD upt_status upt_topic_writer_create(const struct upt_config *config, struct upt_topic_writer **ret,
                                                 struct upt_error *reterr);
/* Queues the record; its bytes are copied. Waits while the queue is full. */
UPT_NODISCARD upt_status upt_topic_writer_put(struct upt_topic_writer *writer, const struct upt_topic_record *record,
                                              struct upt_error *reterr);
/* Waits until the broker has taken all that was put. On failure *ret_delivered says how many it has taken for sure. */
UPT_NODISCARD upt_status upt_topic_writer_finish(struct upt_topic_writer *writer, uint64_t *ret_delivered,
                                                 struct upt_error *reterr);
rd_kafka_t *upt_topic_writer_client(struct upt_topic_writer *writer); /* for queries */
void upt_topic_writer_destroy(struct upt_topic_writer **writer_p);

struct redisContext;
/* A connection to the configured Redis; the caller frees it with redisFree. */
UPT_NODISCARD upt_status upt_read_redis(const struct upt_config *config, struct redisContext **ret,
                                        struct upt_error *reterr);
/* The text of a member, which may hold a NUL; null if it is none. */
struct json_t;
struct upt_str upt_json_text(const struct json_t *object, const char *name);

#endif
