/* The publisher: decisions, progress and checkpoints to Kafka, in transactions.
 *
 * One thread and one transactional producer each. A lane has two: one for outputs with the progress record (C), one for
 * checkpoints (R), so that a large checkpoint does not make an alert late. The lane pushes frames into a bounded ring:
 *
 *   record frames   one output or state record
 *   commit frames   everything of this partition pushed before may now be committed, at this position
 *
 * A transaction is: the records up to a commit frame, the newest state record ("c" or "r") of each partition in it, and
 * the consumer offsets with the group metadata that was captured when the partition was assigned (never refreshed: the
 * broker then refuses what a stale process sends). Records are flushed and every delivery report is checked before the
 * offsets are sent; a flush can succeed although messages failed.
 *
 * After any unclear outcome the producer is destroyed and made anew with the same transactional.id (a new epoch), and
 * the lane restores its partitions as after a crash: the one path for all faults. The same after a commit or abort for
 * which more than one EndTxn was sent, although it reported success, but then without a restore: librdkafka repeats an
 * EndTxn by itself, and the late one would end the next transaction of the same epoch. */
#ifndef UPT_PUBLISHER_H
#define UPT_PUBLISHER_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "uptake/config.h"
#include "uptake/metrics.h"
#include "uptake/position.h"
#include "uptake/status.h"
#include "uptake/str.h"

/* An assignment of the group to this member; lives as long as the lane. */
struct upt_assignment {
    uint64_t id;
    rd_kafka_consumer_group_metadata_t *metadata;
    struct upt_assignment *next;
};

typedef enum upt_topic {
    UPT_TOPIC_ALERTS,
    UPT_TOPIC_HEALTH,
    UPT_TOPIC_DEAD,
    UPT_TOPIC_STATE,
    UPT_TOPIC_COUNT
} upt_topic;

typedef enum upt_failure {
    UPT_FAILURE_NONE,
    UPT_FAILURE_RESET, /* outcome unknown, or no producer to be had: restore all partitions once it is ready */
    UPT_FAILURE_LOST,  /* the group refused us: give up the whole assignment */
    UPT_FAILURE_FATAL  /* cannot go on: see upt_publisher_error */
} upt_failure;

struct upt_publisher;

struct upt_publisher_config {
    const struct upt_config *config; /* borrowed */
    const char *transactional_id;
    const char *offsets_topic;     /* the input topic */
    struct upt_publisher *outputs; /* for a publisher of checkpoints: the one of outputs; else NULL */
    struct upt_metrics *metrics;   /* its own set */
    int64_t batch_bytes;           /* the most that all topics take at once; 0: not known */
    int64_t letter_bytes;          /* the most that a dead letter may have as it is; 0: not known */
    size_t ring_bytes;
};

/* How its producer is configured; `check` tries it. */
UPT_NODISCARD upt_status upt_publisher_conf(const struct upt_config *config, const char *transactional_id,
                                            size_t batch_bytes, rd_kafka_conf_t **ret, struct upt_error *reterr);

UPT_NODISCARD upt_status upt_publisher_create(const struct upt_publisher_config *config, struct upt_publisher **ret,
                                              struct upt_error *reterr);
/* Aborts what is open, ends the thread. */
void upt_publisher_destroy(struct upt_publisher **pub_p);

struct upt_record {
    upt_topic topic;
    int32_t partition;         /* of the topic; −1: by key */
    struct upt_str key, value; /* null: null */
    /* n headers */
    const struct upt_header *headers;
    size_t headers_n;
};
struct upt_header {
    struct upt_str name, value;
};

struct upt_commit {
    int32_t partition;
    const struct upt_assignment *assignment;
    uint64_t serial; /* grows with every commit frame of the partition */
    struct upt_pos pos;
    int64_t next_offset;       /* committed for the group */
    const char *metadata;      /* goes with the offset, ≤ 4096 bytes */
    struct upt_str key, value; /* the state record that says so */
};

/* @locality lane. False: the ring is full, or the publisher has failed. */
bool upt_publisher_push(struct upt_publisher *pub, uint32_t seq, const struct upt_record *record);
bool upt_publisher_commit(struct upt_publisher *pub, uint32_t seq, const struct upt_commit *commit);
/* @locality lane. Whether a record can be published at all, as far as is known: a large one may be refused once. */
bool upt_publisher_takes(struct upt_publisher *pub, const struct upt_record *record);
/* @locality lane. Whether a frame of len bytes fits now. */
bool upt_publisher_has_room(struct upt_publisher *pub, size_t len);
/* @locality lane. Wakes the publisher; call once after pushing. */
void upt_publisher_kick(struct upt_publisher *pub);
/* @locality lane. Frames of an older seq are dropped from now on, an open transaction with them is aborted; clears
 * failures. */
void upt_publisher_restart(struct upt_publisher *pub, uint32_t seq);

/* Any thread. */
upt_failure upt_publisher_failure(struct upt_publisher *pub);
void upt_publisher_error(struct upt_publisher *pub, struct upt_error *ret);
/* The last position of this partition committed under the present seq, and its commit frame's serial (may be NULL);
 * false: none. */
bool upt_publisher_committed(struct upt_publisher *pub, int32_t partition, struct upt_pos *ret, uint64_t *ret_serial);
/* It has a producer: init_transactions has succeeded, and what this id had left open is ended. */
bool upt_publisher_ready(struct upt_publisher *pub);

/* Ends the open transaction of a dead owner by taking its transactional.id once. Blocks for at most timeout_ms. */
UPT_NODISCARD upt_status upt_publisher_fence(const struct upt_config *config, const char *transactional_id,
                                             int timeout_ms, struct upt_error *reterr);

#endif
