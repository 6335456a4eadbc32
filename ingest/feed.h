/* Generated events onto the input topic; shared by `generate` and `demo`. */
#ifndef UPT_FEED_H
#define UPT_FEED_H

#include <librdkafka/rdkafka.h>

#include "ingest/generate/generate.h"
#include "uptake/config.h"

struct upt_feed {
    rd_kafka_t *rk;
    const char *topic;
    int32_t event_id, batch_id; /* schema ids; −1: bare Avro */
    int batch;                  /* events of one account in a row that go into one record; 1: none */
    struct upt_buf value, bodies, key;
    int pending;
    int64_t pending_ts;
    uint64_t events, records, failed;
};

/* The id under which our event schema is registered as {input topic}-NAME-value; −1: framing none. */
UPT_NODISCARD upt_status upt_feed_event_schema(const struct upt_config *config, const char *name, int32_t *ret_id,
                                               struct upt_error *reterr);
/* Producer, and the schemas registered when there is a registry. */
UPT_NODISCARD upt_status upt_feed_open(struct upt_feed *feed, const struct upt_config *config, int batch,
                                       struct upt_error *reterr);
UPT_NODISCARD upt_status upt_feed_put(struct upt_feed *feed, const struct upt_generated *generated,
                                      struct upt_error *reterr);
/* Sends what is pending and waits until all is delivered. */
UPT_NODISCARD upt_status upt_feed_flush(struct upt_feed *feed, struct upt_error *reterr);
void upt_feed_close(struct upt_feed *feed);

#endif
