/* Inside the publisher: shared by publisher.c (thread, ring, transactions) and producer.c (the librdkafka handle). */
#ifndef UPT_PUBLISHER_INTERNAL_H
#define UPT_PUBLISHER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "ingest/kafka/publisher.h"
#include "uptake/ring.h"

/* The newest commit frame of one partition in the open transaction. */
struct upt_pending {
    int32_t partition;
    struct upt_pos pos;
    uint64_t serial;
    int64_t next_offset;
    struct upt_buf metadata, key, value;
    bool set;
};

/* What is committed of one partition, read by the lane and by the publisher of checkpoints. */
struct upt_committed {
    int32_t partition;
    struct upt_pos pos;
    uint64_t serial;
    int64_t next_offset;
    struct upt_buf metadata;
};

struct upt_producer {
    rd_kafka_t *rk;
    rd_kafka_topic_t *letters; /* compressed; NULL: none */
    atomic_uint endtxn_sent;   /* EndTxn requests since begin */
    atomic_uint deliveries_failed;
    char delivery_error[256];               /* of the first; written before the count is raised */
    bool told_too_large;                    /* since it was opened */
    atomic_uint too_large;                  /* how often since the start a topic took less than was thought */
    long long batch_bytes, batch_records;   /* what librdkafka sends of a partition at once */
    long long handed_bytes, handed_records; /* to librdkafka since nothing waited there; counted for checkpoints only */
};

struct upt_publisher {
    struct upt_publisher_config config;
    char transactional_id[340];
    const char *topics[UPT_TOPIC_COUNT];
    struct upt_ring *ring;
    int doorbell;
    pthread_t thread;
    bool started;
    atomic_bool stop;
    atomic_bool ready;
    atomic_uint min_seq;
    atomic_int failure;

    /* @locality publisher thread */
    struct upt_producer producer;
    bool in_txn;
    bool uncovered; /* records since the last commit frame */
    uint32_t txn_seq;
    const struct upt_assignment *assignment;
    struct upt_pending *pending;
    size_t pending_n, pending_cap;
    int64_t last_commit_ms; /* when the last commit was begun */
    uint64_t txn_bytes;

    pthread_mutex_t lock; /* guards what follows */
    struct upt_error error;
    struct upt_committed *committed;
    size_t committed_n, committed_cap;
};

/* producer.c. @locality publisher thread. */
#define UPT_BATCH_BYTES 1000000 /* librdkafka's default */
UPT_NODISCARD upt_status upt_producer_open(struct upt_producer *producer, const struct upt_config *config,
                                           const char *transactional_id, size_t batch_bytes, struct upt_error *reterr);
/* Records of this topic are compressed from now on. */
void upt_producer_compress(struct upt_producer *producer, const char *topic);
void upt_producer_close(struct upt_producer *producer);

#endif
