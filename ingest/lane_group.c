/* The group member: assignments taken and given back, partitions restored, faults turned into restores.
 *
 * The rebalance callback runs on the lane's thread, inside the poll. An assignment is taken at once, paused, and
 * restored by another thread; a revocation publishes what there is for at most half a session time-out and drops the
 * states. The group metadata is captured when the assignment is made and never refreshed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/kafka/client.h"
#include "ingest/lane_internal.h"
#include "uptake/assert.h"
#include "uptake/crash.h"
#include "uptake/log.h"
#include "uptake/time.h"

#define QUEUES_BYTES ((int64_t)64 << 20)
#define QUEUE_BYTES_MIN ((int64_t)256 << 10)
#define QUEUE_BYTES_MAX ((int64_t)1 << 20)

/* ---- states ---- */

upt_status
upt_lane_make_state(void *ctx, int32_t partition, void **ret_user, struct upt_state **ret, struct upt_error *reterr)
{
    struct upt_lane *lane = ctx;
    const struct upt_config *config = lane->config;
    struct upt_scoring *scoring = atomic_load(&lane->shared->scoring);
    struct upt_score *score = NULL;
    upt_status status =
        upt_score_create(scoring->model, scoring->rules, scoring->config_hash, &lane->sink, &score, reterr);
    if (status != UPT_OK) {
        return status;
    }
    upt_score_add_up(score, lane->metrics->outcomes);
    const struct upt_state_config state_config = {.partition = partition,
                                                  .max_future_ms = config->max_future_ms,
                                                  .dedup_window_ms = config->dedup_window_ms,
                                                  .retention_ms = config->retention_ms,
                                                  .pack_after_ms = UPT_DAY_MS,
                                                  .adopted_days = (unsigned)config->adopted_days,
                                                  .observer = &upt_score_observer,
                                                  .observer_ctx = score,
                                                  .metrics = lane->metrics};
    status = upt_state_create(&state_config, ret, reterr);
    if (status != UPT_OK) {
        upt_score_destroy(&score);
        return status;
    }
    *ret_user = score;
    return UPT_OK;
}

void
upt_lane_drop_state(void *ctx, void *user, struct upt_state *st)
{
    (void)ctx;
    struct upt_score *score = user;
    upt_state_destroy(&st);
    upt_score_destroy(&score);
}

/* Whether memory may be left to the end of the process: leak detectors would find it. */
#ifdef __SANITIZE_ADDRESS__
#define LEAVES_MEMORY false
#else
#define LEAVES_MEMORY true
#endif

static void
drop_part_state(struct upt_part *part)
{
    if (part->lane->snapshotting == part) {
        part->lane->snapshotting = NULL;
    }
    if (part->st != NULL) {
        if (!part->lane->ending || !LEAVES_MEMORY) { /* some 500 ns an account, for which the group would wait */
            upt_lane_drop_state(part->lane, part->score, part->st);
        }
        part->st = NULL;
        part->score = NULL;
    }
    upt_progress_fini(&part->progress);
    upt_intake_destroy(part);
    upt_buf_fini(&part->forgotten);
}

void
upt_part_destroy(struct upt_part **part_p)
{
    struct upt_part *part = *part_p;
    if (part == NULL) {
        return;
    }
    drop_part_state(part);
    if (part->queue != NULL) {
        rd_kafka_queue_destroy(part->queue);
    }
    free(part);
    *part_p = NULL;
}

void
upt_lane_drop_parts(struct upt_lane *lane)
{
    if (lane->restorer != NULL) { /* NULL while the lane is taken down */
        upt_restorer_cancel_below(lane->restorer, lane->next_ticket);
    }
    for (int32_t p = 0; p < lane->parts_n; p++) {
        if (lane->parts[p] == NULL) {
            continue;
        }
        if (lane->parts[p]->viewed) {
            upt_view_disown(lane->view, p);
        }
        upt_board_drop_partition(lane->shared->board, p);
        upt_part_destroy(&lane->parts[p]);
    }
    lane->current = NULL;
}

static void
ask_restore(struct upt_part *part)
{
    part->restoring = true;
    part->ticket = part->lane->next_ticket++;
    upt_restorer_ask(part->lane->restorer, part->id, part->ticket);
}

/* ---- rebalances ---- */

/* The metadata of a member that is in no group: the broker would accept a commit with it, unfenced. */
static bool
metadata_is_valid(const rd_kafka_consumer_group_metadata_t *metadata)
{
    void *bytes = NULL;
    size_t len = 0;
    rd_kafka_error_t *error = rd_kafka_consumer_group_metadata_write(metadata, &bytes, &len);
    if (error != NULL) {
        rd_kafka_error_destroy(error);
        return false;
    }
    /* "CGMDv2:", int32 generation in host order, then NUL-terminated group, member, instance. */
    static const char magic[] = "CGMDv2:";
    bool valid = true;
    if (len > sizeof(magic) - 1 + 4 && memcmp(bytes, magic, sizeof(magic) - 1) == 0) {
        const char *p = (const char *)bytes + sizeof(magic) - 1;
        const char *end = (const char *)bytes + len;
        int32_t generation;
        memcpy(&generation, p, sizeof(generation));
        p += sizeof(generation);
        const char *member = memchr(p, '\0', (size_t)(end - p));
        valid = generation >= 0 && member != NULL && member + 1 < end && member[1] != '\0';
    }
    rd_kafka_mem_free(NULL, bytes);
    return valid;
}

/* Before they are assigned: where the log begins later, a fetch that slipped in at offset 0 would fail, and librdkafka
 * seeks a partition no more that failed so. Only what the client knows can be paused; asking for its queue makes it
 * known. */
static void
pause_first(struct upt_lane *lane, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_queue_t *queue =
            rd_kafka_queue_get_partition(lane->rk, list->elems[i].topic, list->elems[i].partition);
        if (queue != NULL) {
            rd_kafka_queue_destroy(queue);
        }
    }
    (void)rd_kafka_pause_partitions(lane->rk, list);
}

static void
give_up_all(struct upt_lane *lane)
{
    upt_lane_drop_parts(lane);
    lane->seq++;
    lane->checkpoint_seq++;
    upt_publisher_restart(lane->outputs, lane->seq);
    upt_publisher_restart(lane->checkpoints, lane->checkpoint_seq);
    lane->assignment = NULL;
    lane->discarding = false;
    lane->lost = false;
}

static void
on_assign(struct upt_lane *lane, rd_kafka_topic_partition_list_t *list)
{
    if (lane->assignment != NULL) {
        /* librdkafka can go from one assignment to the next without taking the first away (seen when a topic grew just
         * after a join). Others may have had the partitions meanwhile: as if they had been lost. */
        upt_log(UPT_LOG_WARNING, "lane", "%s: assigned anew without a revocation; restoring", lane->id);
        give_up_all(lane);
    }
    struct upt_assignment *assignment = calloc(1, sizeof(*assignment));
    upt_assert(assignment != NULL);
    assignment->metadata = rd_kafka_consumer_group_metadata(lane->rk);
    if (assignment->metadata == NULL || !metadata_is_valid(assignment->metadata)) {
        upt_log(UPT_LOG_WARNING, "lane", "%s: an assignment without a member id; waiting for the next", lane->id);
        if (assignment->metadata != NULL) {
            rd_kafka_consumer_group_metadata_destroy(assignment->metadata);
        }
        free(assignment);
        (void)rd_kafka_assign(lane->rk, NULL); /* nothing is held that could be taken away */
        return;
    }
    assignment->id = lane->assignments != NULL ? lane->assignments->id + 1 : 1;
    assignment->next = lane->assignments;
    lane->assignments = lane->assignment = assignment;
    lane->lost = false;
    pause_first(lane, list);
    for (int i = 0; i < list->cnt; i++) {
        list->elems[i].offset = 0; /* nothing is read before it is sought */
    }
    (void)rd_kafka_assign(lane->rk, list);
    for (int i = 0; i < list->cnt; i++) {
        int32_t p = list->elems[i].partition;
        if (p >= lane->parts_n) {
            upt_log(UPT_LOG_ERROR, "lane", "%s [%d] was added after the start: give %s as many partitions and restart",
                    lane->config->input_topic, p, lane->config->state_topic);
            continue;
        }
        struct upt_part *part = calloc(1, sizeof(*part));
        upt_assert(part != NULL && lane->parts[p] == NULL);
        part->lane = lane;
        part->id = p;
        lane->parts[p] = part;
        ask_restore(part);
    }
}

static void
on_revoke(struct upt_lane *lane, rd_kafka_t *rk, bool lost)
{
    if (!lost && lane->restorer != NULL) { /* NULL: the consumer is being closed, and what there was is drained */
        upt_lane_drain(lane, lane->session_ms / 2);
    }
    give_up_all(lane);
    (void)rd_kafka_assign(rk, NULL);
}

static void
on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct upt_lane *lane = opaque;
    upt_metric_add(lane->metrics, UPT_M_REBALANCES, 1);
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        if (lane->restorer == NULL) { /* it came while the consumer is closed: nobody is left to take it */
            (void)rd_kafka_assign(rk, NULL);
            return;
        }
        upt_log(UPT_LOG_INFO, "lane", "%s: %d partitions assigned", lane->id, list->cnt);
        on_assign(lane, list);
        return;
    }
    bool lost = rd_kafka_assignment_lost(rk) != 0;
    upt_log(UPT_LOG_INFO, "lane", "%s: %d partitions %s", lane->id, list != NULL ? list->cnt : 0,
            lost ? "lost" : "taken away");
    on_revoke(lane, rk, lost);
}

/* Prefetched for each partition: what a lane takes in some 20 ms. Records take three times that in memory. A long queue
 * costs memory; that a short one does not leave the lane waiting is the waker's task. */
static int64_t
queue_bytes(int32_t partitions)
{
    int64_t share = QUEUES_BYTES / partitions;
    return share < QUEUE_BYTES_MIN ? QUEUE_BYTES_MIN : share > QUEUE_BYTES_MAX ? QUEUE_BYTES_MAX : share;
}

static int64_t
session_ms(const struct upt_config *config)
{
    return strtoll(upt_client_value(config, UPT_KAFKA_INPUT, "session.timeout.ms"), NULL, 10);
}

upt_status
upt_lane_consumer_conf(const struct upt_config *config, const char *instance_id, int partitions, rd_kafka_conf_t **ret,
                       struct upt_error *reterr)
{
    char heartbeat[24];
    snprintf(heartbeat, sizeof(heartbeat), "%lld", (long long)(session_ms(config) / 4));
    char queued[24];
    snprintf(queued, sizeof(queued), "%lld", (long long)(queue_bytes(partitions) / 1024));
    const struct upt_prop_set props[] = {
        {"group.id", config->group},
        {"group.instance.id", instance_id},
        {"heartbeat.interval.ms", upt_client_prop(config, "heartbeat.interval.ms", heartbeat)},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "error"},
        {"isolation.level", "read_committed"},
        {"enable.partition.eof", "true"},
        {"partition.assignment.strategy", "range"}, /* cooperative-sticky loops in librdkafka before 2.6.1 */
        {"queued.max.messages.kbytes", upt_client_prop(config, "queued.max.messages.kbytes", queued)},
    };
    upt_status status = upt_client_conf(config, UPT_KAFKA_INPUT, props, sizeof(props) / sizeof(props[0]), ret, reterr);
    if (status == UPT_OK && !upt_waker_needed()) {
        char said[256];
        const char *name = "fetch.queue.backoff.ms";
        (void)rd_kafka_conf_set(*ret, name, upt_client_prop(config, name, "10"), said, sizeof(said));
    }
    return status;
}

static upt_status
open_consumer(struct upt_lane *lane, struct upt_error *reterr)
{
    const struct upt_config *config = lane->config;
    lane->session_ms = session_ms(config);
    rd_kafka_conf_t *conf;
    upt_status status = upt_lane_consumer_conf(config, lane->id, lane->parts_n, &conf, reterr);
    if (status != UPT_OK) {
        return status;
    }
    rd_kafka_conf_set_opaque(conf, lane);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_t *rk = NULL;
    status = upt_client_new(RD_KAFKA_CONSUMER, conf, &rk, reterr);
    if (status != UPT_OK) {
        return status;
    }
    rd_kafka_poll_set_consumer(rk);
    pthread_mutex_lock(&lane->rk_lock);
    lane->rk = rk;
    pthread_mutex_unlock(&lane->rk_lock);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(rk);
    rd_kafka_queue_io_event_enable(queue, lane->wake, &(uint64_t){1}, sizeof(uint64_t));
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, config->input_topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return upt_fail(reterr, UPT_EUNAVAIL, "cannot subscribe to %s: %s", config->input_topic, rd_kafka_err2str(err));
    }
    return upt_waker_needed() ? upt_waker_create(rk, config->input_topic, &lane->waker, reterr) : UPT_OK;
}

void
upt_lane_close_consumer(struct upt_lane *lane)
{
    upt_waker_destroy(&lane->waker);
    pthread_mutex_lock(&lane->rk_lock);
    rd_kafka_t *rk = lane->rk;
    lane->rk = NULL;
    pthread_mutex_unlock(&lane->rk_lock);
    if (rk != NULL) {
        /* Static members do not leave the group here: a restart within the session time-out moves nothing. */
        (void)rd_kafka_consumer_close(rk);
        rd_kafka_destroy(rk);
    }
}

upt_status
upt_lane_join(struct upt_lane *lane, struct upt_error *reterr)
{
    upt_status status = open_consumer(lane, reterr);
    if (status != UPT_OK) {
        return status;
    }
    const struct upt_restorer_config restorer = {.config = lane->config,
                                                 .consumer = lane->rk,
                                                 .own_ids = {lane->id, lane->checkpoint_id},
                                                 .metrics = lane->restore_metrics,
                                                 .make_state = upt_lane_make_state,
                                                 .drop_state = upt_lane_drop_state,
                                                 .ctx = lane};
    return upt_restorer_create(&restorer, &lane->restorer, reterr);
}

upt_status
upt_lane_rejoin(struct upt_lane *lane, struct upt_error *reterr)
{
    upt_log(UPT_LOG_WARNING, "lane", "%s: out of the group; joining it again", lane->id);
    give_up_all(lane);
    upt_restorer_destroy(&lane->restorer);
    upt_waker_destroy(&lane->waker);
    pthread_mutex_lock(&lane->rk_lock);
    rd_kafka_t *rk = lane->rk;
    lane->rk = NULL;
    pthread_mutex_unlock(&lane->rk_lock);
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); /* it is in no group any more */
    return upt_lane_join(lane, reterr);
}

/* ---- restores ---- */

static bool
seek(struct upt_lane *lane, int32_t partition, int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, lane->config->input_topic, partition)->offset = offset;
    rd_kafka_error_t *error = rd_kafka_seek_partitions(lane->rk, list, 1000);
    rd_kafka_resp_err_t err = error != NULL ? rd_kafka_error_code(error) : list->elems[0].err;
    if (error != NULL) {
        rd_kafka_error_destroy(error);
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        upt_log(UPT_LOG_DEBUG, "lane", "seek [%d]: %s", partition, rd_kafka_err2str(err));
    }
    return err == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Own queue for the partition: order, fairness, and a held record stops only this one. */
static void
take_queue(struct upt_part *part)
{
    struct upt_lane *lane = part->lane;
    if (part->queue != NULL) {
        rd_kafka_queue_destroy(part->queue);
    }
    part->queue = rd_kafka_queue_get_partition(lane->rk, lane->config->input_topic, part->id);
    upt_assert(part->queue != NULL);
    rd_kafka_queue_forward(part->queue, NULL);
    rd_kafka_queue_io_event_enable(part->queue, lane->wake, &(uint64_t){1}, sizeof(uint64_t));
}

static void
resume(struct upt_lane *lane, int32_t partition)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, lane->config->input_topic, partition);
    (void)rd_kafka_resume_partitions(lane->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
}

static void
adopt(struct upt_part *part, struct upt_restored *got)
{
    struct upt_lane *lane = part->lane;
    int64_t now = upt_mono_ms();
    part->st = got->state;
    part->score = got->user;
    /* The restorer may have taken them before a reload. */
    upt_score_map_segments(part->score, part->st, lane->scoring->rules);
    upt_score_set(part->score, lane->scoring->model, lane->scoring->rules, lane->scoring->config_hash);
    part->next_offset = got->seek_to;
    part->published = got->progress.pos;
    part->progress = got->progress;
    /* A state that begins anew is above any before it, whose rows and markers Redis may still have. */
    part->progress.epoch = part->progress.epoch == 0 ? upt_wall_ms() : part->progress.epoch + 1;
    part->place_i = 0;
    part->stored = got->checkpoint;
    part->stored_next = got->has_checkpoint ? got->checkpoint.pos.offset + 1 : 0;
    part->stored_wall_ms = got->has_checkpoint ? got->checkpoint_ms : 0;
    int64_t age = part->stored_wall_ms > 0 ? upt_wall_ms() - part->stored_wall_ms : 0;
    part->unstored_ms = now - (age > 0 ? age : 0);
    /* Staggered over partitions; without a checkpoint at once, since `start` may mean another place tomorrow. */
    int64_t interval = lane->config->checkpoint_interval_ms;
    part->checkpoint_due_ms = got->has_checkpoint ? now + interval * (part->id % 16 + 1) / 16 : now;
    part->start_open = !got->has_checkpoint && strcmp(lane->config->start, "earliest") != 0 && upt_part_replayed(part);
    part->sent = part->flushed = UPT_POS_NONE;
    part->sent_next = -1;
    part->flushed_next = part->flushed_end = -1;
    part->commit_wanted = true; /* the claim */
    part->swept_ms = now;
    part->restoring = false;
    part->active = true;
    upt_intake_create(part);
    if (got->lost > 0) {
        upt_metric_add(lane->metrics, UPT_M_LOST_RECORDS, (uint64_t)got->lost);
        upt_log(UPT_LOG_WARNING, "lane",
                "%s [%d]: %lld offsets are gone from the log and were not counted (on_gap: continue)",
                lane->config->input_topic, part->id, (long long)got->lost);
    }
    upt_log(UPT_LOG_INFO, "lane",
            "%s [%d]: restored at offset %lld with %zu accounts, published up to %lld, epoch %lld",
            lane->config->input_topic, part->id, (long long)part->stored.pos.offset, upt_state_accounts_n(part->st),
            (long long)part->published.offset, (long long)part->progress.epoch);
}

/* Until the consumer stands there. False: the lane is to stop first; then nothing of the partition may be read. */
static bool
seek_surely(struct upt_lane *lane, int32_t partition, int64_t offset)
{
    while (!seek(lane, partition, offset)) {
        if (atomic_load(&lane->stop)) {
            return false;
        }
        upt_sleep_ms(20);
    }
    return true;
}

void
upt_lane_take_restored(struct upt_lane *lane)
{
    struct upt_restored got;
    while (upt_restorer_take(lane->restorer, &got)) {
        struct upt_part *part = lane->parts[got.partition];
        bool wanted = part != NULL && part->restoring && part->ticket == got.ticket;
        if (got.status != UPT_OK) { /* there is no state */
            if (wanted && got.status != UPT_EAGAIN) {
                upt_lane_fail(lane, &got.err);
            }
            continue;
        }
        if (!wanted || !seek_surely(lane, got.partition, got.seek_to)) {
            upt_lane_drop_state(lane, got.user, got.state);
            upt_progress_fini(&got.progress);
            continue;
        }
        upt_crash_point("restore.seek.after");
        adopt(part, &got);
        take_queue(part);
        resume(lane, got.partition);
    }
}

/* Everything of this assignment anew, from the checkpoints, as after a crash. */
static void
restore_all(struct upt_lane *lane)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(lane->parts_n);
    for (int32_t p = 0; p < lane->parts_n; p++) {
        if (lane->parts[p] != NULL) {
            rd_kafka_topic_partition_list_add(list, lane->config->input_topic, p);
        }
    }
    (void)rd_kafka_pause_partitions(lane->rk, list);
    upt_lane_drop_parts(lane);
    lane->seq++;
    lane->checkpoint_seq++;
    upt_publisher_restart(lane->outputs, lane->seq);
    upt_publisher_restart(lane->checkpoints, lane->checkpoint_seq);
    lane->discarding = false;
    for (int i = 0; i < list->cnt; i++) {
        struct upt_part *part = calloc(1, sizeof(*part));
        upt_assert(part != NULL);
        part->lane = lane;
        part->id = list->elems[i].partition;
        lane->parts[part->id] = part;
        ask_restore(part);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

void
upt_lane_check_publishers(struct upt_lane *lane)
{
    upt_failure outputs = upt_publisher_failure(lane->outputs);
    upt_failure checkpoints = upt_publisher_failure(lane->checkpoints);
    if (outputs == UPT_FAILURE_FATAL || checkpoints == UPT_FAILURE_FATAL) {
        struct upt_error err;
        upt_publisher_error(outputs == UPT_FAILURE_FATAL ? lane->outputs : lane->checkpoints, &err);
        upt_lane_fail(lane, &err);
        return;
    }
    if (outputs == UPT_FAILURE_LOST || checkpoints == UPT_FAILURE_LOST) {
        if (!lane->lost) {
            lane->lost = true;
            lane->lost_ms = upt_mono_ms();
            lane->discarding = true;
        }
    } else if (outputs == UPT_FAILURE_RESET) {
        /* Without a producer a replay would fill the ring and wait there, deaf to the group and to a stop. */
        lane->discarding = true;
        if (upt_publisher_ready(lane->outputs)) {
            restore_all(lane);
        }
        return;
    } else if (checkpoints == UPT_FAILURE_RESET) {
        lane->checkpoint_seq++;
        upt_publisher_restart(lane->checkpoints, lane->checkpoint_seq);
        if (lane->snapshotting != NULL) {
            upt_part_checkpoint_failed(lane->snapshotting);
        }
    }
}

/* Publishes and checkpoints what there is, and says that the partitions are given up. Bounded by patience_ms. */
void
upt_lane_drain(struct upt_lane *lane, int64_t patience_ms)
{
    int64_t until = upt_mono_ms() + patience_ms;
    bool again = true;
    while (again && upt_mono_ms() < until && !lane->discarding) {
        again = false;
        for (int32_t p = 0; p < lane->parts_n; p++) {
            struct upt_part *part = lane->parts[p];
            if (part == NULL || !part->active || !part->claimed) {
                continue;
            }
            int64_t now = upt_mono_ms();
            upt_part_commit_if_due(part, now);
            part->checkpoint_due_ms = 0;
            upt_part_checkpoint(part, now);
            part->flush_due_ms = upt_part_flushed(part) ? now + 1000 : 0;
            upt_part_rows(part, now);
            bool stored = !part->snapshot_on && part->stored_next >= part->next_offset;
            bool rows = upt_part_flushed(part) || !upt_view_connected(lane->view);
            again = again || !stored || !rows;
        }
        upt_lane_check_publishers(lane);
        if (again) {
            upt_sleep_ms(2);
        }
    }
    for (int32_t p = 0; p < lane->parts_n; p++) {
        if (lane->parts[p] != NULL && lane->parts[p]->active && !lane->discarding) {
            upt_part_commit(lane->parts[p], true);
        }
    }
    for (int32_t p = 0; p < lane->parts_n; p++) {
        struct upt_part *part = lane->parts[p];
        struct upt_pos committed;
        uint64_t serial;
        while (part != NULL && part->active && !lane->discarding && upt_mono_ms() < until + 500 &&
               upt_publisher_failure(lane->outputs) == UPT_FAILURE_NONE &&
               !(upt_publisher_committed(lane->outputs, p, &committed, &serial) && serial >= part->sent_serial)) {
            upt_sleep_ms(2);
        }
    }
}
