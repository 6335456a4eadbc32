/* Inside a lane. lane.c: thread and loop; lane_group.c: rebalances and restores; lane_intake.c: records from
 * the queue; lane_apply.c: records and decisions; lane_commit.c: progress, checkpoints, wall ticks; lane_rows.c: what
 * goes to the view. All @locality lane. */
#ifndef UPT_LANE_INTERNAL_H
#define UPT_LANE_INTERNAL_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "aggregate/view/view.h"
#include "ingest/avro/decoder.h"
#include "ingest/kafka/progress.h"
#include "ingest/kafka/publisher.h"
#include "ingest/kafka/restore.h"
#include "ingest/kafka/waker.h"
#include "ingest/lane.h"

/* A record of the input. */
struct upt_input {
    rd_kafka_message_t *msg;
    int64_t offset, ts;
    struct upt_str key, value; /* borrow msg; null: null */
};

/* What decoding ahead gave: of a record with one event, nothing of which is in the decoder's own memory. */
struct upt_ahead {
    bool ready, has_schema_id;
    int32_t schema_id;
    struct upt_event event; /* slices borrow the record */
    struct upt_hint hint;   /* complete if ready */
};

#define UPT_INTAKE_RECORDS 32

/* Records, and ends of the log between them, to be applied together. Those before `at` have been. */
struct upt_intake {
    struct upt_staged {
        struct upt_input in;
        uint64_t hash; /* of the key */
        struct upt_ahead ahead;
    } v[UPT_INTAKE_RECORDS];
    unsigned n, at;
    bool held;        /* the schema of the one at `at` is not known yet */
    int64_t retry_ms; /* then: when to try again */
};

struct upt_part {
    struct upt_lane *lane;
    int32_t id;
    uint64_t ticket; /* of the restore under way */
    bool restoring;  /* no state yet */
    bool active;     /* records are taken */
    struct upt_state *st;
    struct upt_score *score;
    rd_kafka_queue_t *queue;

    int64_t next_offset;       /* the consumer's position: the next record has this offset or a higher one */
    struct upt_pos published;  /* decisions at or before it are left out: they are committed */
    struct upt_intake *intake; /* while active */
    bool poisoned;             /* a gap or damage was met: no record is taken any more */
    int64_t told_ms;           /* when it was last told that the partition waits, … */
    int64_t told_offset;       /* … and of which record */

    struct upt_progress progress; /* epoch, places of wall ticks after R */
    size_t place_i;               /* the next place to be replayed */
    bool end_set;                 /* an end of the log at which a wall tick is to run */
    int64_t end_offset, end_tick;

    struct upt_checkpoint stored; /* R */
    int64_t stored_next;          /* consumer's position at R */
    bool start_open;              /* where `start` is today is not yet stored: nothing is taken before it is */
    bool snapshot_on, snapshot_sealed, snapshot_waits; /* the last: the publisher's ring was full */
    struct upt_checkpoint snapshot;
    int64_t snapshot_next;
    int64_t checkpoint_due_ms;
    int64_t stored_wall_ms;                 /* wall time of R, 0: there is none */
    int64_t snapshot_began_ms, unstored_ms; /* monotonic; all that had changed by unstored_ms is in R */

    bool outputs_open;   /* outputs pushed after the last commit frame */
    bool commit_wanted;  /* push a commit frame soon, whether or not the position moved */
    struct upt_pos sent; /* of the last commit frame */
    int64_t sent_next, sent_published, sent_ms;
    uint64_t sent_serial;

    bool claimed;          /* own epoch is committed */
    int64_t floor_seen_ms; /* wall time; 0: the position is not below the floor */
    bool viewed;           /* the view was told */
    bool wall_open;        /* rows wait until wall_pos is committed */
    struct upt_pos wall_pos;
    int64_t flush_due_ms;
    bool flushing;     /* not all of it is pushed */
    bool flush_open;   /* nor in Redis */
    size_t later_most; /* rows that a moved window changed: so many waited since there were none */
    size_t flush_left; /* accounts that had changed when it began, and are still to be pushed */
    int64_t flush_began_ms, flush_late_ms, flush_took_ms;
    struct upt_pos flush_pos; /* where it began: all that had changed by then is in it */
    int64_t flush_next, flush_clock;
    struct upt_pos flushed; /* flush_pos of the last flush frame */
    int64_t flushed_next, flushed_end, published_next, flush_sent_ms;
    uint64_t flush_number, watched; /* of the last flush frame; of the one that published_next waits for, 0: none */
    int64_t watched_next;
    bool is_shown;            /* a flush of this ownership is in Redis */
    struct upt_buf forgotten; /* pushed when the ring has room */
    bool forgotten_set;
    struct upt_feature_row feature;
    bool feature_set;
    size_t sweep_cursor;
    int64_t swept_ms;  /* monotonic, of the last step of the slow sweep */
    int64_t packed_ms; /* likewise, of packing */

    uint64_t rate_records; /* since the last post to the board */
    int64_t clean_ms;      /* all that had changed by then is in Redis */
};

struct upt_lane {
    struct upt_shared *shared;
    const struct upt_config *config;
    int index;
    char id[320]; /* transactional.id and group.instance.id */
    char checkpoint_id[340];
    pthread_t thread;
    bool started;
    atomic_bool stop, ended, at_end;
    struct upt_error error; /* written before ended */

    rd_kafka_t *rk;
    struct upt_waker *waker; /* NULL: not needed */
    pthread_mutex_t rk_lock; /* guards rk against upt_lane_group_done */
    int wake;                /* eventfd: queues and mailboxes */
    struct upt_publisher *outputs, *checkpoints;
    struct upt_restorer *restorer;
    struct upt_view *view;
    struct upt_decoder *decoder;
    struct upt_metrics *metrics, *restore_metrics, *output_metrics, *checkpoint_metrics, *view_metrics;
    struct upt_scoring *scoring;
    uint64_t question; /* of the board, seen last */
    struct upt_sink sink;

    struct upt_assignment *assignment, *assignments;
    uint32_t seq, checkpoint_seq;  /* of frames; grow when the lane gives up what it pushed */
    struct upt_part *snapshotting; /* whose checkpoint is on its way */
    uint64_t next_ticket;
    int64_t session_ms;
    bool lost;   /* the group refused us: wait for it to take the partitions away */
    bool ending; /* with the process, which gives all memory back at once */
    int64_t lost_ms;
    unsigned fenced; /* times in a row */
    int64_t fenced_ms;
    bool discarding; /* a publisher failed: decisions go nowhere until the reset */
    bool failed;

    struct upt_part **parts; /* by partition number, NULL: not assigned */
    int32_t parts_n;
    struct upt_part *current; /* whose record or tick is being applied */
    struct upt_buf scratch, key, value;
    struct upt_feature_days *days; /* scratch */
    size_t days_cap;
    int64_t board_ms;
    uint64_t posted_bytes;
};

/* lane.c */
void upt_lane_fail(struct upt_lane *lane, const struct upt_error *err);
void upt_lane_post(struct upt_lane *lane, int64_t now_ms); /* to the board */
/* lane_group.c */
/* Becomes a member of the group; again, with a new consumer, when the old one was fenced. */
UPT_NODISCARD upt_status upt_lane_join(struct upt_lane *lane, struct upt_error *reterr);
UPT_NODISCARD upt_status upt_lane_rejoin(struct upt_lane *lane, struct upt_error *reterr);
void upt_lane_close_consumer(struct upt_lane *lane);
void upt_lane_take_restored(struct upt_lane *lane);
void upt_lane_check_publishers(struct upt_lane *lane);
void upt_lane_drain(struct upt_lane *lane, int64_t patience_ms);
void upt_part_destroy(struct upt_part **part_p);
void upt_lane_drop_parts(struct upt_lane *lane);
upt_status upt_lane_make_state(void *ctx, int32_t partition, void **ret_user, struct upt_state **ret,
                               struct upt_error *reterr);
void upt_lane_drop_state(void *ctx, void *user, struct upt_state *st);
/* lane_apply.c */
void upt_lane_init_sink(struct upt_lane *lane);
void upt_part_look_ahead(struct upt_part *part, const struct upt_input *rec, struct upt_ahead *ret);
/* False: its schema is not known yet, nothing happened. */
bool upt_part_apply(struct upt_part *part, const struct upt_input *rec, const struct upt_ahead *ahead);
bool upt_part_replayed(const struct upt_part *part);
/* lane_intake.c */
void upt_intake_create(struct upt_part *part);
void upt_intake_destroy(struct upt_part *part);
bool upt_part_serve(struct upt_part *part); /* true: something was done */
/* lane_commit.c */
void upt_part_commit(struct upt_part *part, bool released);
void upt_part_commit_if_due(struct upt_part *part, int64_t now_ms);
void upt_part_run_places(struct upt_part *part);
void upt_part_run_pending_tick(struct upt_part *part, int64_t reached);
void upt_part_wall(struct upt_part *part);
void upt_part_checkpoint(struct upt_part *part, int64_t now_ms);
void upt_part_checkpoint_failed(struct upt_part *part);
/* Age of the oldest change that is in no checkpoint; 0: there is none. Looked at about once a second. */
int64_t upt_part_unstored(struct upt_part *part, int64_t now_ms);
/* lane_rows.c */
/* How many rows that only a moved window changed are due with the flush that begins, if so many wait. */
size_t upt_part_rows_due(struct upt_part *part, size_t waiting);
/* The next account whose row is to be deleted; false: none. Valid until the next call into the state. */
bool upt_part_next_forgotten(struct upt_part *part, struct upt_str *ret);
void upt_part_rows(struct upt_part *part, int64_t now_ms);
/* Whether Redis has been given all up to the end that the log had at the start, by this process. */
bool upt_part_is_shown(const struct upt_part *part);
bool upt_part_flushed(struct upt_part *part);

#endif
