/* A lane: one member of the consumer group, with everything that counts for the partitions it is given.
 *
 * Threads of a lane: the lane itself (polls Kafka, owns the states, decides), two publishers (outputs, checkpoints), a
 * restorer, and the view (Redis). They share bounded rings and small mailboxes, nothing else. Lanes share nothing but
 * the registry's cache, the model and rules (read-only), the ends of the log and the board. */
#ifndef UPT_LANE_H
#define UPT_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "aggregate/score/score.h"
#include "ingest/avro/registry.h"
#include "ingest/kafka/ends.h"
#include "uptake/board.h"
#include "uptake/config.h"
#include "uptake/status.h"

#define UPT_LATER_LEAST 25000 /* later_least, but in simulations: a quarter of a second of Redis */

/* What lanes share; owned by the pipeline. */
struct upt_shared {
    const struct upt_config *config;
    const char *instance; /* "{group}-{instance}" begins every transactional.id */
    struct upt_board *board;
    struct upt_registry *registry; /* NULL: bare Avro */
    struct upt_str input_schema;   /* writer schema for bare Avro */
    struct upt_ends *ends;
    int32_t partitions;
    int64_t batch_bytes, letter_bytes;         /* as topics.h has them */
    int32_t health_schema_id, alert_schema_id; /* −1: bare Avro */
    bool until_end;
    size_t later_least;      /* rows that only a window moved, of a partition, that leave with a flush at least */
    int64_t publish_from_ms; /* UPT_NO_CLOCK: everything */
    int lanes;
    atomic_ullong state_bytes; /* of all lanes */
    /* Scoring files; replaced by a reload, the old ones are kept until the end. */
    _Atomic(struct upt_scoring *) scoring;
};

struct upt_scoring {
    struct upt_model *model;
    struct upt_rules *rules;
    char config_hash[17];
    struct upt_scoring *older;
};

struct upt_lane;

/* How the consumer of a lane with that many partitions is configured; `check` tries it. */
UPT_NODISCARD upt_status upt_lane_consumer_conf(const struct upt_config *config, const char *instance_id,
                                                int partitions, rd_kafka_conf_t **ret, struct upt_error *reterr);

UPT_NODISCARD upt_status upt_lane_start(struct upt_shared *shared, int index, struct upt_lane **ret,
                                        struct upt_error *reterr);
/* Asks it to drain: flush rows, checkpoint, publish, leave. */
void upt_lane_stop(struct upt_lane *lane);
/* True when the thread has ended; *reterr has a code other than UPT_OK if it failed. */
bool upt_lane_ended(struct upt_lane *lane, struct upt_error *reterr);
/* Waits for the thread and the view's last words. Kafka's client, which may never end, is left to upt_lane_destroy. */
void upt_lane_end_view(struct upt_lane *lane);
void upt_lane_destroy(struct upt_lane **lane_p);

/* Whether the partitions that this lane has, if it was assigned any, are shown up to that end by this process: of a run
 * to the end. Any thread. */
bool upt_lane_at_end(struct upt_lane *lane);
/* Whether every partition of the topic is read to the end it had when this process started, checkpointed and published,
 * whoever owns it: by the group's committed offsets and what goes with them. Any thread. */
bool upt_lane_group_done(struct upt_lane *lane);

/* Partitions of the topic that no member of the group has; -1: not known now. Any thread. See lane_cover.c. */
int upt_lane_uncovered(struct upt_lane *lane);
void upt_lane_join_again(struct upt_lane *lane);

#endif
