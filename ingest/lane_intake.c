/* Records from librdkafka's queue, in small batches.
 *
 * Counting an event touches about ten places of an account that is not in the cache, one after the other: without help
 * that is most of its cost. So records are copied out of librdkafka's callback (100 bytes, 5 ns) and applied 32 at a
 * time: first every account's slot in the table is asked for, then every account, while the records are decoded, then
 * its parts, then the places in them that the event touches, and only then are they applied, in order. The hints change
 * nothing but time: 1,100 ns an event became 500 in bench_state (100,000 accounts by Zipf, with ids).
 *
 * A record whose schema is not known yet stays at the head of its batch, and only this partition waits. */
#include <stdlib.h>

#include "ingest/lane_internal.h"
#include "uptake/assert.h"
#include "uptake/log.h"
#include "uptake/time.h"

#define SLICE_RECORDS 4096 /* of one partition before the others get their turn */
#define HELD_RETRY_MS 20
#define BYTES_MAX ((size_t)64 << 10) /* of a batch, unless a single record is longer */

void
upt_intake_create(struct upt_part *part)
{
    upt_assert(part->intake == NULL);
    part->intake = calloc(1, sizeof(*part->intake));
    upt_assert(part->intake != NULL);
    part->intake->end = -1;
    (void)upt_buf_reserve(&part->intake->bytes, BYTES_MAX); /* never NULL: an empty value is not a null one */
}

static void
clear(struct upt_intake *intake)
{
    for (unsigned i = 0; i < intake->n; i++) {
        if (intake->v[i].in.headers != NULL) {
            rd_kafka_headers_destroy(intake->v[i].in.headers);
        }
    }
    intake->n = intake->at = 0;
    upt_buf_clear(&intake->bytes);
    if (intake->bytes.cap > 4 * BYTES_MAX) {
        upt_buf_fini(&intake->bytes);
        (void)upt_buf_reserve(&intake->bytes, BYTES_MAX);
    }
}

void
upt_intake_destroy(struct upt_part *part)
{
    if (part->intake != NULL) {
        clear(part->intake);
        upt_buf_fini(&part->intake->bytes);
        free(part->intake);
        part->intake = NULL;
    }
}

/* Asks for the memory that the batch will touch. */
static void
prepare(struct upt_part *part)
{
    struct upt_intake *intake = part->intake;
    for (unsigned i = 0; i < intake->n; i++) {
        struct upt_staged *staged = &intake->v[i];
        char *at = intake->bytes.p + staged->place;
        if (staged->in.key.p != NULL) {
            staged->in.key.p = at;
        }
        if (staged->in.value.p != NULL) {
            staged->in.value.p = at + staged->in.key.len;
        }
    }
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

/* Applies the batch, or what is left of it. False: it is held up, or the partition is to be restored. */
static bool
apply_batch(struct upt_part *part)
{
    struct upt_intake *intake = part->intake;
    if (intake->at == 0 && !intake->held) {
        prepare(part);
    }
    for (; intake->at < intake->n; intake->at++) {
        if (part->lane->discarding) {
            return false;
        }
        intake->held = !upt_part_apply(part, &intake->v[intake->at].in, &intake->v[intake->at].ahead);
        if (intake->held) {
            intake->retry_ms = upt_mono_ms() + HELD_RETRY_MS;
            return false;
        }
    }
    clear(intake);
    if (intake->end >= 0) {
        reach_end(part, intake->end);
        intake->end = -1;
    }
    return true;
}

/* The next record has this offset or a higher one, also if the last ones before it were no records of ours. */
static int64_t
next_offset(const struct upt_part *part)
{
    const struct upt_intake *intake = part->intake;
    return intake->n > 0 ? intake->v[intake->n - 1].in.offset + 1 : part->next_offset;
}

/* False: the batch is full. */
static bool
stage(struct upt_part *part, rd_kafka_message_t *msg)
{
    struct upt_intake *intake = part->intake;
    struct upt_staged *staged = &intake->v[intake->n++];
    staged->in = (struct upt_input){.offset = msg->offset,
                                    .ts = rd_kafka_message_timestamp(msg, NULL),
                                    .key = {.p = msg->key, .len = (uint32_t)msg->key_len},
                                    .value = {.p = msg->payload, .len = (uint32_t)msg->len}};
    staged->place = intake->bytes.len;
    staged->hash = upt_hash(msg->key, msg->key_len);
    (void)rd_kafka_message_detach_headers(msg, &staged->in.headers);
    upt_buf_put(&intake->bytes, msg->key, msg->key_len);
    upt_buf_put(&intake->bytes, msg->payload, msg->len);
    upt_state_prefetch_slot(part->st, staged->hash);
    return intake->n < UPT_INTAKE_RECORDS && intake->bytes.len < BYTES_MAX;
}

static void
on_error(struct upt_part *part, const rd_kafka_message_t *msg)
{
    struct upt_lane *lane = part->lane;
    if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        part->intake->end = msg->offset; /* after the records before it, which may be held */
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

struct slice {
    struct upt_part *part;
    int taken;
    bool stopped;
};

static void
on_message(rd_kafka_message_t *msg, void *opaque)
{
    struct slice *slice = opaque;
    struct upt_part *part = slice->part;
    upt_assert(!slice->stopped); /* or a record would be lost */
    slice->taken++;
    if (msg->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        on_error(part, msg);
        (void)apply_batch(part);
    } else if (msg->offset >= next_offset(part) && !stage(part, msg)) {
        (void)apply_batch(part);
    }
    slice->stopped = part->intake->held || part->poisoned || slice->taken >= SLICE_RECORDS || part->lane->discarding;
    if (slice->stopped) {
        rd_kafka_yield(part->lane->rk);
    }
}

bool
upt_part_serve(struct upt_part *part)
{
    struct upt_intake *intake = part->intake;
    if (!part->active || part->poisoned || part->lane->discarding ||
        (intake->held && (upt_mono_ms() < intake->retry_ms || !apply_batch(part)))) {
        return false;
    }
    struct slice slice = {.part = part};
    rd_kafka_consume_callback_queue(part->queue, 0, on_message, &slice);
    return apply_batch(part) && slice.taken > 0;
}
