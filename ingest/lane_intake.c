/* Records from librdkafka's queue, in small batches.
 *
 * Counting an event touches about ten places of an account that is not in the cache, one after the other: without help
 * that is most of its cost. So records are taken 32 at a time: first every account's slot in the table is asked for,
 * then every account, while the records are decoded, then its parts, then the places in them that the event touches,
 * and only then are they applied, in order. The hints change nothing but time: 1,100 ns an event became 450 in
 * bench_state (100,000 accounts by Zipf, with ids).
 *
 * The batch call, not the callback (which costs 20 ns less a record): its messages stay until they are applied, so they
 * need no copy, and their headers need parsing only where a record becomes a dead letter. Asking a message for headers
 * in a callback, which is the last time there, cost 100 ns, also of one that has none.
 *
 * The batch call is safe here because everything that could take the queue away (rebalance, seek, pause) happens on
 * this thread, between two calls.
 *
 * A record whose schema is not known yet stays at the head of its batch, and only this partition waits. */
#include <stdlib.h>

#include "ingest/lane_internal.h"
#include "uptake/assert.h"
#include "uptake/log.h"
#include "uptake/time.h"

#define SLICE_RECORDS 4096 /* of one partition before the others get their turn */
#define HELD_RETRY_MS 20

void
upt_intake_create(struct upt_part *part)
{
    upt_assert(part->intake == NULL);
    part->intake = calloc(1, sizeof(*part->intake));
    upt_assert(part->intake != NULL);
}

static void
clear(struct upt_intake *intake)
{
    for (unsigned i = 0; i < intake->n; i++) {
        rd_kafka_message_destroy(intake->v[i].in.msg);
    }
    intake->n = intake->at = 0;
}

void
upt_intake_destroy(struct upt_part *part)
{
    if (part->intake != NULL) {
        clear(part->intake);
        free(part->intake);
        part->intake = NULL;
    }
}

/* Takes the next records; 0: there are none now. */
static unsigned
take(struct upt_part *part)
{
    struct upt_intake *intake = part->intake;
    rd_kafka_message_t *msgs[UPT_INTAKE_RECORDS];
    ssize_t n = rd_kafka_consume_batch_queue(part->queue, 0, msgs, UPT_INTAKE_RECORDS);
    for (ssize_t i = 0; i < n; i++) {
        rd_kafka_message_t *msg = msgs[i];
        struct upt_staged *staged = &intake->v[intake->n++];
        staged->in = (struct upt_input){.msg = msg, .offset = msg->offset};
        if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            staged->in.ts = rd_kafka_message_timestamp(msg, NULL);
            staged->in.key = (struct upt_str){.p = msg->key, .len = (uint32_t)msg->key_len};
            staged->in.value = (struct upt_str){.p = msg->payload, .len = (uint32_t)msg->len};
        }
        staged->hash = upt_hash(staged->in.key.p, staged->in.key.len);
        upt_state_prefetch_slot(part->st, staged->hash);
    }
    return intake->n;
}

/* Asks for the memory that the batch will touch. */
static void
prepare(struct upt_part *part)
{
    struct upt_intake *intake = part->intake;
    for (unsigned i = 0; i < intake->n; i++) {
        upt_state_prefetch_account(part->st, intake->v[i].hash, &intake->v[i].ahead.hint);
        upt_part_look_ahead(part, &intake->v[i].in, &intake->v[i].ahead);
    }
    for (unsigned i = 0; i < intake->n; i++) {
        struct upt_ahead *ahead = &intake->v[i].ahead;
        upt_state_prefetch_parts(part->st, &ahead->hint, ahead->ready ? &ahead->event : NULL);
    }
    for (unsigned i = 0; i < intake->n; i++) {
        if (intake->v[i].ahead.ready) {
            upt_state_prefetch_event(&intake->v[i].ahead.hint, &intake->v[i].ahead.event);
        }
    }
}

/* An end of the log may be the place of a tick. */
static void
reach_end(struct upt_part *part, int64_t offset)
{
    if (offset > part->next_offset) {
        part->next_offset = offset;
    }
    part->lane->current = part;
    upt_part_run_pending_tick(part, part->next_offset);
    upt_part_run_places(part);
}

static void
on_error(struct upt_part *part, const rd_kafka_message_t *msg)
{
    struct upt_lane *lane = part->lane;
    if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        reach_end(part, msg->offset);
        return;
    }
    if (msg->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || msg->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
        struct upt_error err;
        upt_log(UPT_LOG_WARNING, "lane", "%s [%d]: %s", lane->config->input_topic, part->id,
                rd_kafka_message_errstr(msg));
        (void)upt_fail(&err, UPT_EDATA, "%s [%d]: offset %lld is not in the log any more", lane->config->input_topic,
                       part->id, (long long)part->next_offset);
        part->poisoned = true;
        upt_lane_fail(lane, &err);
        return;
    }
    upt_log_limited(UPT_LOG_WARNING, "lane", "%s [%d]: %s", lane->config->input_topic, part->id,
                    rd_kafka_message_errstr(msg));
}

/* Applies the batch, or what is left of it. False: it is held up, or the partition is to be restored. */
static bool
apply_batch(struct upt_part *part)
{
    struct upt_intake *intake = part->intake;
    for (; intake->at < intake->n; intake->at++) {
        const struct upt_staged *staged = &intake->v[intake->at];
        if (part->lane->discarding || part->poisoned) {
            return false;
        }
        if (staged->in.msg->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            on_error(part, staged->in.msg);
            continue;
        }
        if (staged->in.offset < part->next_offset) {
            continue;
        }
        intake->held = !upt_part_apply(part, &staged->in, &staged->ahead);
        if (intake->held) {
            intake->retry_ms = upt_mono_ms() + HELD_RETRY_MS;
            return false;
        }
    }
    clear(intake);
    return true;
}

bool
upt_part_serve(struct upt_part *part)
{
    struct upt_intake *intake = part->intake;
    if (!part->active || part->start_open || part->poisoned || part->lane->discarding ||
        (intake->held && (upt_mono_ms() < intake->retry_ms || !apply_batch(part)))) {
        return false;
    }
    bool whole = true;
    bool busy = false;
    for (int taken = 0; whole && taken < SLICE_RECORDS && take(part) > 0; taken += UPT_INTAKE_RECORDS) {
        busy = true;
        upt_waker_note(part->lane->waker, part->id);
        whole = intake->n == UPT_INTAKE_RECORDS;
        prepare(part);
        if (!apply_batch(part)) {
            return false;
        }
    }
    return busy;
}
