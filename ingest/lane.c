/* A lane's thread: the loop over Kafka, partitions, publishers and the board. See lane.h.
 *
 * Each partition has its own queue, so that one that waits (for a schema, say) stops only itself; rebalances come
 * through the consumer's main queue. An idle lane sleeps on one eventfd that librdkafka's queues write to. */
#include "ingest/lane.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ingest/kafka/client.h"
#include "ingest/lane_internal.h"
#include "uptake/log.h"
#include "uptake/thread.h"
#include "uptake/time.h"

#define IDLE_MS 10
#define BOARD_INTERVAL_MS 1000
#define OUTPUT_RING_BYTES ((size_t)32 << 20)
#define CHECKPOINT_RING_BYTES ((size_t)32 << 20)
#define DRAIN_MARGIN_MS 1000
#define FENCED_MAX 2
#define FENCED_WINDOW_MS (5 * UPT_MINUTE_MS)

void
upt_lane_fail(struct upt_lane *lane, const struct upt_error *err)
{
    if (!lane->failed) {
        lane->failed = true;
        lane->error = *err;
        upt_log(UPT_LOG_ERROR, "lane", "%s: %s", lane->id, err->msg);
    }
}

/* ---- the board ---- */

static void
post_partition(struct upt_lane *lane, struct upt_part *part, double seconds, int64_t *lag, int64_t *lag_ms)
{
    struct upt_board_partition post = {.partition = part->id, .offset = -1, .end_offset = -1, .clock = UPT_NO_CLOCK};
    int64_t end, wall_ms;
    if (upt_ends_get(lane->shared->ends, part->id, &end, &wall_ms)) {
        post.end_offset = end;
    }
    if (part->restoring) {
        int32_t which;
        double share = upt_restorer_progress(lane->restorer, &which);
        post.phase = UPT_PART_RESTORING;
        post.progress = which == part->id ? share : 0.0;
    } else if (part->active) {
        post.phase = part->intake->held        ? UPT_PART_BLOCKED
                     : upt_part_replayed(part) ? UPT_PART_RUNNING
                                               : UPT_PART_REPLAYING;
        post.offset = upt_state_pos(part->st).offset;
        post.clock = upt_state_clock(part->st);
        post.checkpoint_ms = part->stored_wall_ms;
        post.accounts = upt_state_accounts_n(part->st);
        post.rate = seconds > 0 ? (double)part->rate_records / seconds : 0;
        post.progress = post.end_offset > 0 ? (double)part->next_offset / (double)post.end_offset : 1.0;
        post.progress = post.progress > 1.0 ? 1.0 : post.progress;
        if (part->intake->held) {
            snprintf(post.note, sizeof(post.note), "waits at offset %lld for its schema",
                     (long long)part->intake->v[part->intake->at].in.offset);
        }
        if (post.end_offset > part->next_offset) {
            *lag += post.end_offset - part->next_offset;
            int64_t behind = post.clock == UPT_NO_CLOCK ? 0 : upt_wall_ms() - post.clock;
            *lag_ms = behind > *lag_ms ? behind : *lag_ms;
        }
    }
    part->rate_records = 0;
    upt_board_set_partition(lane->shared->board, &post);
}

void
upt_lane_post(struct upt_lane *lane, int64_t now_ms)
{
    int64_t lag = 0, lag_ms = 0, unpublished = 0, checkpoint_age = 0;
    uint64_t accounts = 0, bytes = 0, assigned = 0, blocked = 0, restoring = 0;
    double seconds = (double)(now_ms - lane->board_ms) / 1000.0;
    for (int32_t p = 0; p < lane->parts_n; p++) {
        struct upt_part *part = lane->parts[p];
        if (part == NULL) {
            continue;
        }
        assigned++;
        post_partition(lane, part, seconds, &lag, &lag_ms);
        if (!part->active) {
            restoring++;
            continue;
        }
        blocked += part->intake->held ? 1 : 0;
        accounts += upt_state_accounts_n(part->st);
        bytes += upt_state_bytes(part->st);
        int64_t age = upt_part_unstored(part, now_ms);
        checkpoint_age = age > checkpoint_age ? age : checkpoint_age;
        part->clean_ms = upt_part_flushed(part) || part->clean_ms == 0 ? now_ms : part->clean_ms;
        unpublished = now_ms - part->clean_ms > unpublished ? now_ms - part->clean_ms : unpublished;
    }
    upt_metric_set(lane->metrics, UPT_M_ACCOUNTS, accounts);
    upt_metric_set(lane->metrics, UPT_M_STATE_BYTES, bytes);
    upt_metric_set(lane->metrics, UPT_M_ASSIGNED, assigned);
    upt_metric_set(lane->metrics, UPT_M_PAUSED, blocked);
    upt_metric_set(lane->metrics, UPT_M_RESTORING, restoring);
    upt_metric_set(lane->metrics, UPT_M_LAG, (uint64_t)lag);
    upt_metric_set(lane->metrics, UPT_M_LAG_SECONDS, (uint64_t)lag_ms);
    upt_metric_set(lane->metrics, UPT_M_UNPUBLISHED_AGE, (uint64_t)unpublished);
    upt_metric_set(lane->metrics, UPT_M_CHECKPOINT_AGE, (uint64_t)checkpoint_age);
    bool ready = lane->assignment != NULL && restoring == 0;
    upt_board_set_ready(lane->shared->board, (size_t)lane->index, ready,
                        lane->assignment == NULL ? "waiting for the group" : "restoring partitions");
    upt_board_heartbeat(lane->shared->board, (size_t)lane->index);
    lane->board_ms = now_ms;
}

/* Memory: stop fetching, say so, never drop. Counted in each turn: new accounts of a second would be a lot. */
static bool
over_limit(struct upt_lane *lane)
{
    uint64_t now = 0;
    for (int32_t p = 0; p < lane->parts_n; p++) {
        now += lane->parts[p] != NULL && lane->parts[p]->active ? upt_state_bytes(lane->parts[p]->st) : 0;
    }
    if (now != lane->posted_bytes) {
        atomic_fetch_add(&lane->shared->state_bytes, now - lane->posted_bytes);
        lane->posted_bytes = now;
    }
    unsigned long long bytes = atomic_load(&lane->shared->state_bytes);
    unsigned long long limit = (unsigned long long)lane->config->memory_limit;
    if (bytes <= limit) {
        return false;
    }
    upt_log_limited(UPT_LOG_ERROR, "lane",
                    "memory_limit reached: the state needs %llu MiB of %llu MiB; fetching stops. Raise memory_limit, "
                    "or run at least %llu more of such processes",
                    bytes >> 20, limit >> 20, (bytes - 1) / limit);
    return true;
}

/* ---- the loop ---- */

static void
declare_segments(struct upt_lane *lane)
{
    struct upt_buf names = {0};
    upt_rules_segment_names(lane->scoring->rules, &names);
    upt_view_segments(lane->view, (struct upt_str){.p = names.p, .len = (uint32_t)names.len});
    upt_buf_fini(&names);
}

static void
take_scoring(struct upt_lane *lane)
{
    struct upt_scoring *scoring = atomic_load(&lane->shared->scoring);
    if (scoring == lane->scoring) {
        return;
    }
    lane->scoring = scoring;
    declare_segments(lane);
    for (int32_t p = 0; p < lane->parts_n; p++) {
        if (lane->parts[p] != NULL && lane->parts[p]->active) {
            upt_score_map_segments(lane->parts[p]->score, lane->parts[p]->st, scoring->rules);
            upt_score_set(lane->parts[p]->score, scoring->model, scoring->rules, scoring->config_hash);
        }
    }
}

/* With a new consumer, a few times in a row. */
static void
take_back(struct upt_lane *lane, struct upt_error *err)
{
    int64_t now = upt_mono_ms();
    lane->fenced = now - lane->fenced_ms < FENCED_WINDOW_MS ? lane->fenced + 1 : 1;
    lane->fenced_ms = now;
    if (lane->fenced > FENCED_MAX || upt_lane_rejoin(lane, err) != UPT_OK) {
        upt_lane_fail(lane, err);
    }
}

/* A consumer that cannot go on. Fenced may mean another process with our `instance`, or a join of our own that a frozen
 * broker answered late. A new consumer takes the instance back; of two processes that take it from each other in turn
 * the one that was there first is the first to have done so too often, and gives up. */
static void
on_fatal(struct upt_lane *lane)
{
    char why[256] = "";
    struct upt_error err;
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(lane->rk, why, sizeof(why));
    if (code != RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
        (void)upt_fail(&err, UPT_EUNAVAIL, "%s: the consumer cannot go on: %s", lane->id, why);
        upt_lane_fail(lane, &err);
        return;
    }
    (void)upt_fail(&err, UPT_EFENCED,
                   "another process of the group uses the instance %s: %s; give each its own `instance`", lane->id,
                   why);
    take_back(lane, &err);
}

/* The group refuses what this member commits, so it has given its partitions to others, but does not take them away:
 * the client went on without a revocation, and the next assignment waits for all members, which may take minutes. */
static void
check_refused(struct upt_lane *lane)
{
    struct upt_error err;
    if (lane->lost && upt_mono_ms() - lane->lost_ms > 3 * lane->session_ms) {
        (void)upt_fail(&err, UPT_EUNAVAIL, "%s: the group refuses this member, but does not take its partitions away",
                       lane->id);
        take_back(lane, &err);
    }
}

/* Rebalances and errors of the consumer. */
static void
poll_group(struct upt_lane *lane)
{
    rd_kafka_message_t *msg;
    while (!lane->failed && (msg = rd_kafka_consumer_poll(lane->rk, 0)) != NULL) {
        if (msg->err == RD_KAFKA_RESP_ERR__FATAL) {
            rd_kafka_message_destroy(msg);
            on_fatal(lane);
            return;
        }
        if (msg->err != RD_KAFKA_RESP_ERR_NO_ERROR && msg->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            upt_log_limited(UPT_LOG_WARNING, "lane", "%s: %s", lane->id, rd_kafka_message_errstr(msg));
        }
        /* A record here slipped in before its partition was paused; the restore seeks anyway. */
        rd_kafka_message_destroy(msg);
    }
}

static bool
serve_parts(struct upt_lane *lane, bool fetch)
{
    bool busy = false;
    for (int32_t p = 0; p < lane->parts_n && !lane->discarding; p++) {
        struct upt_part *part = lane->parts[p];
        if (part == NULL || !part->active) {
            continue;
        }
        busy = (fetch && upt_part_serve(part)) || busy;
        upt_part_wall(part);
        int64_t now = upt_mono_ms();
        upt_part_commit_if_due(part, now);
        upt_part_checkpoint(part, now);
        busy = busy || (part->snapshot_on && !part->snapshot_sealed && !part->snapshot_waits);
        upt_part_rows(part, now);
    }
    return busy;
}

static void
wait_for_work(struct upt_lane *lane)
{
    struct pollfd pfd = {.fd = lane->wake, .events = POLLIN};
    if (poll(&pfd, 1, IDLE_MS) > 0) {
        uint64_t n;
        (void)!read(lane->wake, &n, sizeof(n));
    }
}

/* An account that the live page wants explained, if it is here. */
static void
answer_board(struct upt_lane *lane)
{
    struct upt_buf account = {0};
    struct upt_buf json = {0};
    if (upt_board_asked(lane->shared->board, &lane->question, &account)) {
        const struct upt_str key = {.p = account.p, .len = (uint32_t)account.len};
        for (int32_t p = 0; p < lane->parts_n; p++) {
            struct upt_part *part = lane->parts[p];
            struct upt_account *acct = part != NULL && part->active ? upt_state_find(part->st, key) : NULL;
            if (acct != NULL) {
                upt_score_explain_json(part->score, part->st, acct, &json);
                upt_board_answer(lane->shared->board, lane->question,
                                 (struct upt_str){.p = json.p, .len = (uint32_t)json.len});
                break;
            }
        }
    }
    upt_buf_fini(&account);
    upt_buf_fini(&json);
}

/* Everything that this lane has been assigned is shown. What the group's offsets say can be of an earlier run, and
 * Redis have lost it since. */
static bool
is_at_end(const struct upt_lane *lane)
{
    bool all = lane->assignment != NULL;
    for (int32_t p = 0; p < lane->parts_n && all; p++) {
        all = lane->parts[p] == NULL || upt_part_is_shown(lane->parts[p]);
    }
    return all;
}

static void
run(struct upt_lane *lane)
{
    lane->board_ms = upt_mono_ms();
    while (!atomic_load(&lane->stop) && !lane->failed) {
        poll_group(lane);
        check_refused(lane);
        if (lane->failed) {
            break; /* it may have no restorer or consumer any more */
        }
        take_scoring(lane);
        upt_lane_take_restored(lane);
        bool busy = serve_parts(lane, !over_limit(lane));
        upt_lane_check_publishers(lane);
        atomic_store(&lane->at_end, lane->shared->until_end && is_at_end(lane));
        answer_board(lane);
        int64_t now = upt_mono_ms();
        if (now - lane->board_ms >= BOARD_INTERVAL_MS) {
            upt_lane_post(lane, now);
        }
        if (!busy) {
            wait_for_work(lane);
        }
    }
}

static void *
lane_main(void *arg)
{
    struct upt_lane *lane = arg;
    upt_thread_name("lane");
    while (!upt_publisher_ready(lane->outputs) || !upt_publisher_ready(lane->checkpoints)) {
        upt_lane_check_publishers(lane); /* what an earlier process with these ids left open is ended first */
        upt_board_heartbeat(lane->shared->board, (size_t)lane->index);
        if (atomic_load(&lane->stop) || lane->failed) {
            goto out;
        }
        upt_sleep_ms(10);
    }
    run(lane);
    if (!lane->failed) {
        upt_lane_drain(lane, lane->session_ms - DRAIN_MARGIN_MS);
    }
out:
    lane->ending = true;
    upt_lane_drop_parts(lane);
    upt_board_set_ready(lane->shared->board, (size_t)lane->index, false, "stopped");
    atomic_store(&lane->ended, true);
    return NULL;
}

/* ---- life ---- */

static upt_status
open_publishers(struct upt_lane *lane, struct upt_error *reterr)
{
    const struct upt_publisher_config outputs = {.config = lane->config,
                                                 .transactional_id = lane->id,
                                                 .offsets_topic = lane->config->input_topic,
                                                 .metrics = lane->output_metrics,
                                                 .batch_bytes = lane->shared->batch_bytes,
                                                 .letter_bytes = lane->shared->letter_bytes,
                                                 .ring_bytes = OUTPUT_RING_BYTES};
    upt_status status = upt_publisher_create(&outputs, &lane->outputs, reterr);
    if (status != UPT_OK) {
        return status;
    }
    struct upt_publisher_config checkpoints = outputs;
    checkpoints.transactional_id = lane->checkpoint_id;
    checkpoints.outputs = lane->outputs;
    checkpoints.metrics = lane->checkpoint_metrics;
    checkpoints.ring_bytes = CHECKPOINT_RING_BYTES;
    return upt_publisher_create(&checkpoints, &lane->checkpoints, reterr);
}

static upt_status
open_view(struct upt_lane *lane, struct upt_error *reterr)
{
    const struct upt_config *config = lane->config;
    const struct upt_view_config view = {.url = config->redis_url,
                                         .user = config->redis_user,
                                         .password = config->redis_password,
                                         .prefix = config->redis_prefix,
                                         .owner = lane->id,
                                         .timeout_ms = config->redis_timeout_ms,
                                         .flush_interval_ms = config->flush_interval_ms,
                                         .repair_interval_ms = config->repair_interval_ms,
                                         .metrics = lane->view_metrics};
    return upt_view_create(&view, &lane->view, reterr);
}

static upt_status
open_decoder(struct upt_lane *lane, struct upt_error *reterr)
{
    const struct upt_config *config = lane->config;
    const struct upt_decoder_config decoder = {.framed = strcmp(config->input_framing, "confluent") == 0,
                                               .schema = lane->shared->input_schema,
                                               .registry = lane->shared->registry,
                                               .max_record_bytes = config->max_record_bytes,
                                               .max_batch_events = config->max_batch_events,
                                               .max_depth = config->max_depth};
    upt_status status = upt_decoder_create(&decoder, &lane->decoder, reterr);
    if (status != UPT_OK && !decoder.framed && reterr != NULL) {
        status = upt_fail(reterr, status, "%s: %s", config->input_schema_file, reterr->msg);
    }
    return status;
}

static upt_status
open_lane(struct upt_lane *lane, struct upt_error *reterr)
{
    upt_status status = open_decoder(lane, reterr);
    if (status == UPT_OK) {
        status = open_view(lane, reterr);
    }
    if (status == UPT_OK) {
        declare_segments(lane);
        status = open_publishers(lane, reterr);
    }
    if (status == UPT_OK) {
        status = upt_lane_join(lane, reterr);
    }
    return status;
}

upt_status
upt_lane_start(struct upt_shared *shared, int index, struct upt_lane **ret, struct upt_error *reterr)
{
    struct upt_lane *lane = calloc(1, sizeof(*lane));
    if (lane == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    upt_status status = UPT_OK;
    lane->shared = shared;
    lane->config = shared->config;
    lane->index = index;
    lane->seq = lane->checkpoint_seq = 1;
    lane->next_ticket = 1;
    lane->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&lane->rk_lock, NULL);
    snprintf(lane->id, sizeof(lane->id), "%s", shared->instance);
    if (shared->lanes > 1) {
        snprintf(lane->id, sizeof(lane->id), "%s-%d", shared->instance, index);
    }
    snprintf(lane->checkpoint_id, sizeof(lane->checkpoint_id), "%s-checkpoint", lane->id);
    lane->parts_n = shared->partitions;
    lane->parts = calloc((size_t)shared->partitions, sizeof(struct upt_part *));
    lane->days_cap = 64;
    lane->days = calloc(lane->days_cap, sizeof(*lane->days));
    lane->metrics = upt_board_metrics(shared->board);
    lane->restore_metrics = upt_board_metrics(shared->board);
    lane->output_metrics = upt_board_metrics(shared->board);
    lane->checkpoint_metrics = upt_board_metrics(shared->board);
    lane->view_metrics = upt_board_metrics(shared->board);
    lane->scoring = atomic_load(&shared->scoring);
    upt_lane_init_sink(lane);
    if (lane->wake < 0 || lane->parts == NULL || lane->days == NULL) {
        status = upt_fail(reterr, UPT_ENOMEM, "out of memory or file descriptors");
        goto fail;
    }
    status = open_lane(lane, reterr);
    if (status != UPT_OK) {
        goto fail;
    }
    if (pthread_create(&lane->thread, NULL, lane_main, lane) != 0) {
        status = upt_fail(reterr, UPT_EIO, "cannot start a lane's thread");
        goto fail;
    }
    lane->started = true;
    *ret = lane;
    return UPT_OK;
fail:
    upt_lane_destroy(&lane);
    return status;
}

void
upt_lane_stop(struct upt_lane *lane)
{
    atomic_store(&lane->stop, true);
}

bool
upt_lane_ended(struct upt_lane *lane, struct upt_error *reterr)
{
    if (!atomic_load(&lane->ended)) {
        return false;
    }
    *reterr = lane->error;
    return true;
}

/* The view has no partition any more: the thread gave up all of them before it ended, and none is taken while the
 * consumer is closed. */
void
upt_lane_end_view(struct upt_lane *lane)
{
    upt_lane_stop(lane);
    if (lane->started) {
        pthread_join(lane->thread, NULL);
        lane->started = false;
    }
    upt_view_destroy(&lane->view);
}

void
upt_lane_destroy(struct upt_lane **lane_p)
{
    struct upt_lane *lane = *lane_p;
    if (lane == NULL) {
        return;
    }
    upt_lane_end_view(lane);
    upt_restorer_destroy(&lane->restorer);
    upt_lane_close_consumer(lane);
    upt_publisher_destroy(&lane->checkpoints);
    upt_publisher_destroy(&lane->outputs);
    upt_decoder_destroy(&lane->decoder);
    while (lane->assignments != NULL) {
        struct upt_assignment *next = lane->assignments->next;
        rd_kafka_consumer_group_metadata_destroy(lane->assignments->metadata);
        free(lane->assignments);
        lane->assignments = next;
    }
    if (lane->wake >= 0) {
        close(lane->wake);
    }
    upt_buf_fini(&lane->scratch);
    upt_buf_fini(&lane->key);
    upt_buf_fini(&lane->value);
    free(lane->parts);
    free(lane->days);
    pthread_mutex_destroy(&lane->rk_lock);
    free(lane);
    *lane_p = NULL;
}

/* ---- the end of the log ---- */

/* "uptake r=N v=M": how far checkpoints and rows are, with an offset. */
static bool
offset_done(const rd_kafka_topic_partition_t *tp, int64_t end)
{
    long long r = -1, v = -1;
    char text[128] = "";
    if (tp->err != RD_KAFKA_RESP_ERR_NO_ERROR || tp->offset < end) {
        return false;
    }
    if (tp->metadata == NULL || tp->metadata_size >= sizeof(text)) {
        return false;
    }
    memcpy(text, tp->metadata, tp->metadata_size);
    return sscanf(text, "uptake r=%lld v=%lld", &r, &v) == 2 && r >= end && v >= end;
}

bool
upt_lane_at_end(struct upt_lane *lane)
{
    return atomic_load(&lane->at_end);
}

bool
upt_lane_group_done(struct upt_lane *lane)
{
    struct upt_shared *shared = lane->shared;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(shared->partitions);
    for (int32_t p = 0; p < shared->partitions; p++) {
        rd_kafka_topic_partition_list_add(list, lane->config->input_topic, p);
    }
    pthread_mutex_lock(&lane->rk_lock);
    rd_kafka_resp_err_t err = lane->rk != NULL ? rd_kafka_committed(lane->rk, list, 2000) : RD_KAFKA_RESP_ERR__DESTROY;
    pthread_mutex_unlock(&lane->rk_lock);
    bool done = err == RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; i < list->cnt && done; i++) {
        done = offset_done(&list->elems[i], upt_ends_first(shared->ends, list->elems[i].partition));
    }
    rd_kafka_topic_partition_list_destroy(list);
    return done;
}
