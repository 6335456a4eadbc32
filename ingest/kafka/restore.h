/* Recovery of partitions from the state topic, on a thread of its own, one partition after the other, so that a stalled
 * restore holds up no rebalance and no other partition.
 *
 * For one partition: end the open transaction of a dead owner; wait for the stable committed offset; take the high
 * watermark of its state partition; wait until the last stable offset reaches it; read. The state is then at R,
 * published is C. If C lies behind the committed offset the read was stale or the state topic lost data: read again,
 * then refuse. */
#ifndef UPT_RESTORE_H
#define UPT_RESTORE_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "aggregate/state/state.h"
#include "ingest/kafka/progress.h"
#include "uptake/config.h"
#include "uptake/metrics.h"

struct upt_restorer;

struct upt_restorer_config {
    const struct upt_config *config;
    rd_kafka_t *consumer;        /* the lane's group member: for committed offsets */
    const char *own_ids[2];      /* transactional ids never to be fenced */
    struct upt_metrics *metrics; /* its own set */
    /* A new empty state for a partition, with its observer; called on the restorer's thread. */
    upt_status (*make_state)(void *ctx, int32_t partition, void **ret_user, struct upt_state **ret,
                             struct upt_error *reterr);
    void (*drop_state)(void *ctx, void *user, struct upt_state *st);
    void *ctx;
};

struct upt_restored {
    int32_t partition;
    uint64_t ticket;
    upt_status status; /* not UPT_OK: err says why the partition cannot be run */
    struct upt_error err;
    struct upt_state *state;      /* owned by the receiver */
    void *user;                   /* what make_state gave */
    struct upt_progress progress; /* places owned by the receiver; epoch 0: there was none */
    struct upt_checkpoint checkpoint;
    bool has_checkpoint;
    int64_t checkpoint_ms; /* wall time at which it was written */
    int64_t seek_to;       /* the first record to read */
    int64_t lost;          /* records that the log no longer holds (on_gap: continue) */
};

UPT_NODISCARD upt_status upt_restorer_create(const struct upt_restorer_config *config, struct upt_restorer **ret,
                                             struct upt_error *reterr);
void upt_restorer_destroy(struct upt_restorer **res_p);

/* @locality lane. Queues a restore; ticket comes back with the result. */
void upt_restorer_ask(struct upt_restorer *res, int32_t partition, uint64_t ticket);
/* @locality lane. Gives up everything asked with a ticket below this one. */
void upt_restorer_cancel_below(struct upt_restorer *res, uint64_t ticket);
/* @locality lane. The next result; false: none. */
bool upt_restorer_take(struct upt_restorer *res, struct upt_restored *ret);
/* Any thread. Share of the records read of the restore under way, 0..1, of which partition (−1: none). */
double upt_restorer_progress(struct upt_restorer *res, int32_t *ret_partition);

#endif
