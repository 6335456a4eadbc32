/* The publisher's thread and transactions. See publisher.h.
 *
 * Why one path for all faults: after an unclear outcome one could also keep the frames until the commit is known, read
 * the progress back and send the rest again. That is a second mechanism beside the restore, with a buffer that must
 * hold a whole transaction; the restore is needed anyway, is tested by every kill, and costs the same read.
 *
 * Invariants: a transaction holds frames of one seq and one assignment; it is committed only when the last frame read
 * is a commit frame; a frame is released once it is in librdkafka's queue. */
#include "ingest/kafka/publisher.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ingest/kafka/publisher_internal.h"
#include "uptake/assert.h"
#include "uptake/crash.h"
#include "uptake/log.h"
#include "uptake/thread.h"
#include "uptake/time.h"

#define OP_TIMEOUT_MS 15000
#define INIT_TIMEOUT_MS 3000
#define LANE_PATIENCE_MS 3000
#define NULL_LEN UINT32_MAX
#define BYTES_MIN ((size_t)16 << 10) /* no topic takes less */
#define RECORD_OVERHEAD 64           /* of a record in a batch, at most */
#define TXN_BYTES_MAX (64u << 20)    /* outputs alone; a checkpoint is one transaction whatever its size */

/* How a frame lies in the ring: this head, then key, value, then headers as {name_len, value_len, bytes} or metadata.
 */
struct frame {
    uint32_t seq;
    uint8_t is_commit;
    uint8_t topic;
    int32_t partition;
    uint32_t headers_n;                    /* those of the input may be more than 65,535 */
    uint32_t key_len, value_len, tail_len; /* NULL_LEN: null */
    const struct upt_assignment *assignment;
    struct upt_pos pos;
    uint64_t serial;
    int64_t next_offset;
};

/* The failure of frames of this seq. Looked at and told under one lock: were the lane to move on in between, it would
 * take the failure of what it has given up for one of the new. */
static void
fail_publisher(struct upt_publisher *pub, uint32_t seq, upt_failure failure, const char *what)
{
    pthread_mutex_lock(&pub->lock);
    bool stale = seq < atomic_load(&pub->min_seq); /* the lane has moved on: nobody to tell */
    if (!stale) {
        (void)upt_fail(&pub->error, UPT_EUNAVAIL, "%s: %s", pub->transactional_id, what);
        atomic_store(&pub->failure, (int)failure);
    }
    pthread_mutex_unlock(&pub->lock);
    if (!stale) {
        upt_log(UPT_LOG_WARNING, "publisher", "%s: %s; %s", pub->transactional_id, what,
                failure == UPT_FAILURE_LOST ? "the group took the partitions away" : "partitions will be restored");
    }
}

/* What trying again would not mend: the lane ends, and says why. */
static void
fail_for_good(struct upt_publisher *pub, upt_status status, const char *why)
{
    pthread_mutex_lock(&pub->lock);
    (void)upt_fail(&pub->error, status, "%s: %s", pub->transactional_id, why);
    atomic_store(&pub->failure, UPT_FAILURE_FATAL);
    pthread_mutex_unlock(&pub->lock);
}

/* ---- lane side ---- */

static char *
put(char *to, struct upt_str s)
{
    if (s.len > 0) {
        memcpy(to, s.p, s.len);
    }
    return to + s.len;
}

static uint32_t
len_of(struct upt_str s)
{
    return s.p == NULL ? NULL_LEN : s.len;
}

/* How long the frame of a record is, no less than the record in its topic; *ret_tail: its headers. */
static size_t
frame_len(const struct upt_record *record, size_t *ret_tail)
{
    size_t tail = 0;
    for (size_t i = 0; i < record->headers_n; i++) {
        tail += 8 + record->headers[i].name.len + record->headers[i].value.len;
    }
    *ret_tail = tail;
    return sizeof(struct frame) + record->key.len + record->value.len + tail;
}

/* Half of it each time that a topic took less than was thought. */
static size_t
less(size_t bytes, unsigned times)
{
    size_t now = times < 32 ? bytes >> times : 0;
    return now > BYTES_MIN ? now : BYTES_MIN;
}

bool
upt_publisher_takes(struct upt_publisher *pub, const struct upt_record *record)
{
    size_t tail;
    size_t max = upt_ring_frame_max(pub->ring);
    unsigned too_large = atomic_load(&pub->producer.too_large);
    /* Most of what came compressed can go compressed; what is larger than a topic takes is tried until one is refused.
     */
    if (too_large > 0) {
        size_t bytes = pub->config.letter_bytes > 0 ? (size_t)pub->config.letter_bytes : UPT_BATCH_BYTES;
        size_t now = less(bytes, too_large - 1);
        max = now < max ? now : max;
    }
    return frame_len(record, &tail) <= max;
}

bool
upt_publisher_push(struct upt_publisher *pub, uint32_t seq, const struct upt_record *record)
{
    size_t tail;
    size_t len = frame_len(record, &tail);
    char *at = upt_ring_reserve(pub->ring, len);
    if (at == NULL) {
        return false;
    }
    struct frame frame = {.seq = seq,
                          .topic = (uint8_t)record->topic,
                          .headers_n = (uint32_t)record->headers_n,
                          .partition = record->partition,
                          .key_len = len_of(record->key),
                          .value_len = len_of(record->value),
                          .tail_len = (uint32_t)tail};
    memcpy(at, &frame, sizeof(frame));
    at = put(put(at + sizeof(frame), record->key), record->value);
    for (size_t i = 0; i < record->headers_n; i++) {
        uint32_t lens[2] = {record->headers[i].name.len, len_of(record->headers[i].value)};
        memcpy(at, lens, sizeof(lens));
        at = put(put(at + sizeof(lens), record->headers[i].name), record->headers[i].value);
    }
    upt_ring_commit(pub->ring, len);
    return true;
}

bool
upt_publisher_commit(struct upt_publisher *pub, uint32_t seq, const struct upt_commit *commit)
{
    struct upt_str metadata = upt_str_of(commit->metadata);
    size_t len = sizeof(struct frame) + commit->key.len + commit->value.len + metadata.len;
    char *at = upt_ring_reserve(pub->ring, len);
    if (at == NULL) {
        return false;
    }
    struct frame frame = {.seq = seq,
                          .is_commit = 1,
                          .partition = commit->partition,
                          .key_len = commit->key.len,
                          .value_len = commit->value.len,
                          .tail_len = metadata.len,
                          .assignment = commit->assignment,
                          .pos = commit->pos,
                          .serial = commit->serial,
                          .next_offset = commit->next_offset};
    memcpy(at, &frame, sizeof(frame));
    put(put(put(at + sizeof(frame), commit->key), commit->value), metadata);
    upt_ring_commit(pub->ring, len);
    return true;
}

bool
upt_publisher_has_room(struct upt_publisher *pub, size_t len)
{
    return upt_ring_reserve(pub->ring, len) != NULL;
}

void
upt_publisher_kick(struct upt_publisher *pub)
{
    uint64_t one = 1;
    (void)!write(pub->doorbell, &one, sizeof(one));
}

void
upt_publisher_restart(struct upt_publisher *pub, uint32_t seq)
{
    pthread_mutex_lock(&pub->lock);
    for (size_t i = 0; i < pub->committed_n; i++) {
        upt_buf_fini(&pub->committed[i].metadata);
    }
    pub->committed_n = 0;
    atomic_store(&pub->min_seq, seq);
    int failure = atomic_load(&pub->failure);
    if (failure != UPT_FAILURE_FATAL) {
        atomic_store(&pub->failure, UPT_FAILURE_NONE);
    }
    pthread_mutex_unlock(&pub->lock);
    upt_publisher_kick(pub);
}

upt_failure
upt_publisher_failure(struct upt_publisher *pub)
{
    return (upt_failure)atomic_load(&pub->failure);
}

void
upt_publisher_error(struct upt_publisher *pub, struct upt_error *ret)
{
    pthread_mutex_lock(&pub->lock);
    *ret = pub->error;
    pthread_mutex_unlock(&pub->lock);
}

bool
upt_publisher_ready(struct upt_publisher *pub)
{
    return atomic_load(&pub->ready);
}

static struct upt_committed *
find_committed(struct upt_publisher *pub, int32_t partition)
{
    for (size_t i = 0; i < pub->committed_n; i++) {
        if (pub->committed[i].partition == partition) {
            return &pub->committed[i];
        }
    }
    return NULL;
}

bool
upt_publisher_committed(struct upt_publisher *pub, int32_t partition, struct upt_pos *ret, uint64_t *ret_serial)
{
    pthread_mutex_lock(&pub->lock);
    const struct upt_committed *found = find_committed(pub, partition);
    if (found != NULL) {
        *ret = found->pos;
        if (ret_serial != NULL) {
            *ret_serial = found->serial;
        }
    }
    pthread_mutex_unlock(&pub->lock);
    return found != NULL;
}

/* ---- publisher thread ---- */

static size_t
batch_bytes(const struct upt_publisher *pub)
{
    int64_t known = pub->config.batch_bytes;
    size_t bytes = known > 0 && known < UPT_BATCH_BYTES ? (size_t)known : UPT_BATCH_BYTES;
    return less(bytes, atomic_load(&pub->producer.too_large));
}

/* Nothing is taken from the ring while there is no producer, and the lane must not wait for room longer than the group
 * waits for the lane. No transaction is open now, so that nothing of what is given up can be committed any more. */
static void
let_lane_go(struct upt_publisher *pub, int64_t since_ms, const char *why)
{
    if (pub->config.outputs == NULL && upt_mono_ms() - since_ms >= LANE_PATIENCE_MS &&
        atomic_load(&pub->failure) == UPT_FAILURE_NONE) {
        fail_publisher(pub, atomic_load(&pub->min_seq), UPT_FAILURE_RESET, why);
    }
}

/* A new producer with the same id, until init_transactions succeeds or the publisher is stopped. */
static bool
open_producer(struct upt_publisher *pub)
{
    int64_t since_ms = upt_mono_ms();
    for (int tries = 0; !atomic_load(&pub->stop); tries++) {
        struct upt_error err;
        if (upt_producer_open(&pub->producer, pub->config.config, pub->transactional_id, batch_bytes(pub), &err) !=
            UPT_OK) {
            fail_for_good(pub, err.code, err.msg);
            return false;
        }
        if (pub->config.outputs == NULL) {
            upt_producer_compress(&pub->producer, pub->topics[UPT_TOPIC_DEAD]);
        }
        rd_kafka_error_t *error = rd_kafka_init_transactions(pub->producer.rk, INIT_TIMEOUT_MS);
        if (error == NULL) {
            atomic_store(&pub->ready, true);
            return true;
        }
        rd_kafka_resp_err_t code = rd_kafka_error_code(error);
        bool of_id = code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
        bool unauthorized = of_id || code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
        bool refused = unauthorized || code == RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT ||
                       code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE;
        char why[400];
        snprintf(why, sizeof(why), "init_transactions: %s",
                 of_id ? "needs the rights Write and Describe on this TransactionalId, best on all of the group's"
                       : rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        upt_producer_close(&pub->producer);
        if (refused) {
            fail_for_good(pub, unauthorized ? UPT_EAUTH : UPT_EUNAVAIL, why);
            return false;
        }
        let_lane_go(pub, since_ms, why);
        upt_log_limited(UPT_LOG_INFO, "publisher", "%s: %s; trying again", pub->transactional_id, why);
        upt_sleep_ms(tries < 5 ? 50 : 500);
    }
    return false;
}

static void
end_txn(struct upt_publisher *pub)
{
    pub->in_txn = false;
    pub->uncovered = false;
    pub->txn_bytes = 0;
    for (size_t i = 0; i < pub->pending_n; i++) {
        pub->pending[i].set = false;
    }
}

/* A new epoch. The present transaction, if any, is given up. */
static void
settle(struct upt_publisher *pub)
{
    upt_crash_point("publisher.settle.before");
    upt_metric_add(pub->config.metrics, UPT_M_NEW_EPOCHS, 1);
    atomic_store(&pub->ready, false);
    upt_producer_close(&pub->producer);
    end_txn(pub);
    (void)open_producer(pub);
}

static void
give_up(struct upt_publisher *pub, upt_failure failure, const char *what)
{
    upt_metric_add(pub->config.metrics, UPT_M_TXN_ABORTED, 1);
    fail_publisher(pub, pub->txn_seq, failure, what);
}

/* Aborts in good order; settles when that fails or when its EndTxn was sent twice. */
static void
abort_txn(struct upt_publisher *pub)
{
    rd_kafka_error_t *error = rd_kafka_abort_transaction(pub->producer.rk, OP_TIMEOUT_MS);
    bool unclear = error != NULL || atomic_load(&pub->producer.endtxn_sent) > 1;
    if (error != NULL) {
        rd_kafka_error_destroy(error);
    }
    end_txn(pub);
    if (unclear) {
        settle(pub);
        return;
    }
    /* Reports of what was purged have all come by now; they say nothing of the next transaction. */
    atomic_store(&pub->producer.deliveries_failed, 0);
}

static bool
refused_by_group(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID || code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
           code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

/* Not rd_kafka_producev: its macros are statements in expressions, no standard C. Takes the headers unless it fails. */
static rd_kafka_resp_err_t
produce_once(struct upt_publisher *pub, const struct frame *frame, struct upt_str key, struct upt_str value,
             rd_kafka_headers_t *headers)
{
    const rd_kafka_vu_t vus[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = pub->topics[frame->topic]},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = frame->partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)key.p, key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)(uintptr_t)value.p, value.len}},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
    };
    /* Without headers the last is left out. */
    rd_kafka_error_t *error = rd_kafka_produceva(pub->producer.rk, vus, headers != NULL ? 6 : 5);
    rd_kafka_resp_err_t err = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    return err;
}

/* A checkpoint is handed to librdkafka batch by batch. With idempotence it sends a partition's next batch only when the
 * one before is answered (its limit of five in flight counts records, not requests), and if there is one it polls its
 * socket without a pause until then: 4 % of the processor time of a run over 8,000,000 events (perf, librdkafka 2.0.2;
 * the code of 2.15 is the same). */
static void
hand_over(struct upt_publisher *pub, long long bytes)
{
    struct upt_producer *producer = &pub->producer;
    long long size = bytes + RECORD_OVERHEAD;
    if (producer->handed_bytes + size > producer->batch_bytes || producer->handed_records == producer->batch_records) {
        while (rd_kafka_flush(producer->rk, 100) != RD_KAFKA_RESP_ERR_NO_ERROR && !atomic_load(&pub->stop) &&
               atomic_load(&producer->deliveries_failed) == 0 && atomic_load(&pub->min_seq) <= pub->txn_seq) {
            /* the broker is slow or away */
        }
        producer->handed_bytes = producer->handed_records = 0;
    }
    producer->handed_bytes += size;
    producer->handed_records++;
}

/* Produces one record into the open transaction; waits while librdkafka's queue is full. */
static bool
produce(struct upt_publisher *pub, const struct frame *frame, const char *bytes)
{
    struct upt_str key = {.p = frame->key_len == NULL_LEN ? NULL : bytes,
                          .len = frame->key_len == NULL_LEN ? 0 : frame->key_len};
    bytes += key.len;
    struct upt_str value = {.p = frame->value_len == NULL_LEN ? NULL : bytes,
                            .len = frame->value_len == NULL_LEN ? 0 : frame->value_len};
    bytes += value.len;
    rd_kafka_headers_t *headers = frame->headers_n > 0 ? rd_kafka_headers_new(frame->headers_n) : NULL;
    for (unsigned i = 0; i < frame->headers_n; i++) {
        uint32_t lens[2];
        memcpy(lens, bytes, sizeof(lens));
        bytes += sizeof(lens);
        const char *name = bytes;
        bytes += lens[0];
        rd_kafka_header_add(headers, name, (ssize_t)lens[0], lens[1] == NULL_LEN ? NULL : bytes,
                            lens[1] == NULL_LEN ? 0 : (ssize_t)lens[1]);
        bytes += lens[1] == NULL_LEN ? 0 : lens[1];
    }
    for (;;) {
        rd_kafka_headers_t *copy = headers != NULL ? rd_kafka_headers_copy(headers) : NULL;
        rd_kafka_resp_err_t err = produce_once(pub, frame, key, value, copy);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR && copy != NULL) {
            rd_kafka_headers_destroy(copy);
        }
        if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL && !atomic_load(&pub->stop) &&
            atomic_load(&pub->producer.deliveries_failed) == 0) {
            rd_kafka_poll(pub->producer.rk, 100);
            continue;
        }
        if (headers != NULL) {
            rd_kafka_headers_destroy(headers);
        }
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            char what[300];
            snprintf(what, sizeof(what), "cannot produce to %s: %s", pub->topics[frame->topic], rd_kafka_err2str(err));
            give_up(pub, UPT_FAILURE_RESET, what);
            return false;
        }
        return true;
    }
}

static bool
begin_txn(struct upt_publisher *pub, const struct frame *frame)
{
    atomic_store(&pub->producer.endtxn_sent, 0);
    rd_kafka_error_t *error = rd_kafka_begin_transaction(pub->producer.rk);
    pub->txn_seq = frame->seq;
    if (error != NULL) {
        give_up(pub, UPT_FAILURE_RESET, rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        return false;
    }
    upt_crash_point(pub->config.outputs == NULL ? "publisher.begin.after" : "checkpoint.begin.after");
    pub->in_txn = true;
    pub->assignment = NULL;
    return true;
}

static struct upt_pending *
find_pending(struct upt_publisher *pub, int32_t partition)
{
    for (size_t i = 0; i < pub->pending_n; i++) {
        if (pub->pending[i].partition == partition) {
            return &pub->pending[i];
        }
    }
    if (pub->pending_n == pub->pending_cap) {
        size_t cap = pub->pending_cap == 0 ? 16 : pub->pending_cap * 2;
        struct upt_pending *grown = realloc(pub->pending, cap * sizeof(*grown));
        upt_assert(grown != NULL);
        pub->pending = grown;
        pub->pending_cap = cap;
    }
    struct upt_pending *pending = &pub->pending[pub->pending_n++];
    memset(pending, 0, sizeof(*pending));
    pending->partition = partition;
    return pending;
}

static void
take_commit(struct upt_publisher *pub, const struct frame *frame, const char *bytes)
{
    struct upt_pending *pending = find_pending(pub, frame->partition);
    pending->pos = frame->pos;
    pending->serial = frame->serial;
    pending->next_offset = frame->next_offset;
    upt_buf_clear(&pending->key);
    upt_buf_clear(&pending->value);
    upt_buf_clear(&pending->metadata);
    upt_buf_put(&pending->key, bytes, frame->key_len);
    upt_buf_put(&pending->value, bytes + frame->key_len, frame->value_len);
    upt_buf_put(&pending->metadata, bytes + frame->key_len + frame->value_len, frame->tail_len);
    pending->set = true;
    pub->uncovered = false;
    pub->assignment = frame->assignment;
}

/* The state records that say how far this transaction goes. */
static bool
produce_pending(struct upt_publisher *pub)
{
    for (size_t i = 0; i < pub->pending_n; i++) {
        const struct upt_pending *pending = &pub->pending[i];
        if (!pending->set) {
            continue;
        }
        struct frame frame = {.seq = pub->txn_seq,
                              .topic = UPT_TOPIC_STATE,
                              .partition = pending->partition,
                              .key_len = (uint32_t)pending->key.len,
                              .value_len = (uint32_t)pending->value.len};
        struct upt_buf bytes = {0};
        upt_buf_put(&bytes, pending->key.p, pending->key.len);
        upt_buf_put(&bytes, pending->value.p, pending->value.len);
        bool ok = produce(pub, &frame, bytes.p);
        upt_buf_fini(&bytes);
        if (!ok) {
            return false;
        }
    }
    return true;
}

/* A checkpoint at R may be committed only when C has passed R. False: it never will. */
static bool
wait_for_outputs(struct upt_publisher *pub)
{
    for (size_t i = 0; i < pub->pending_n; i++) {
        const struct upt_pending *pending = &pub->pending[i];
        struct upt_pos c;
        while (pending->set && (!upt_publisher_committed(pub->config.outputs, pending->partition, &c, NULL) ||
                                upt_pos_cmp(c, pending->pos) < 0)) {
            if (atomic_load(&pub->stop) || atomic_load(&pub->min_seq) > pub->txn_seq ||
                upt_publisher_failure(pub->config.outputs) != UPT_FAILURE_NONE) {
                return false;
            }
            rd_kafka_poll(pub->producer.rk, 5);
        }
    }
    return true;
}

static void
set_metadata(rd_kafka_topic_partition_t *tp, const struct upt_buf *metadata)
{
    tp->metadata = malloc(metadata->len + 1);
    upt_assert(tp->metadata != NULL);
    memcpy(tp->metadata, metadata->p, metadata->len);
    tp->metadata_size = metadata->len;
}

/* A checkpoint repeats the offset that the publisher of outputs has committed: it sends offsets only so that the group
 * checks this member. False: the lane has given up what was committed, and with it this checkpoint. Its own offset can
 * be ahead of what the newest progress says: the group would be told of more than is counted. */
static bool
repeat_offset(struct upt_publisher *outputs, rd_kafka_topic_partition_t *tp)
{
    pthread_mutex_lock(&outputs->lock);
    const struct upt_committed *found = find_committed(outputs, tp->partition);
    if (found != NULL) {
        tp->offset = found->next_offset;
        set_metadata(tp, &found->metadata);
    }
    pthread_mutex_unlock(&outputs->lock);
    return found != NULL;
}

/* The offsets of this transaction; NULL: it is to be given up. */
static rd_kafka_topic_partition_list_t *
offsets_of(struct upt_publisher *pub)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)pub->pending_n);
    for (size_t i = 0; i < pub->pending_n; i++) {
        const struct upt_pending *pending = &pub->pending[i];
        if (!pending->set) {
            continue;
        }
        rd_kafka_topic_partition_t *tp =
            rd_kafka_topic_partition_list_add(list, pub->config.offsets_topic, pending->partition);
        if (pub->config.outputs == NULL) {
            tp->offset = pending->next_offset;
            set_metadata(tp, &pending->metadata);
        } else if (!repeat_offset(pub->config.outputs, tp)) {
            rd_kafka_topic_partition_list_destroy(list);
            return NULL;
        }
    }
    return list;
}

static void
note_committed(struct upt_publisher *pub)
{
    pthread_mutex_lock(&pub->lock);
    for (size_t i = 0; i < pub->pending_n && pub->txn_seq >= atomic_load(&pub->min_seq); i++) {
        const struct upt_pending *pending = &pub->pending[i];
        if (!pending->set) {
            continue;
        }
        struct upt_committed *to = find_committed(pub, pending->partition);
        if (to == NULL) {
            if (pub->committed_n == pub->committed_cap) {
                size_t cap = pub->committed_cap == 0 ? 16 : pub->committed_cap * 2;
                struct upt_committed *grown = realloc(pub->committed, cap * sizeof(*grown));
                upt_assert(grown != NULL);
                pub->committed = grown;
                pub->committed_cap = cap;
            }
            to = &pub->committed[pub->committed_n++];
            memset(to, 0, sizeof(*to));
            to->partition = pending->partition;
        }
        to->pos = pending->pos;
        to->serial = pending->serial;
        to->next_offset = pending->next_offset;
        upt_buf_clear(&to->metadata);
        upt_buf_put(&to->metadata, pending->metadata.p, pending->metadata.len);
    }
    pthread_mutex_unlock(&pub->lock);
}

/* Records flushed and each of them delivered. */
static bool
flush_records(struct upt_publisher *pub)
{
    rd_kafka_resp_err_t err = rd_kafka_flush(pub->producer.rk, OP_TIMEOUT_MS);
    unsigned failed = atomic_load(&pub->producer.deliveries_failed);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR && failed == 0) {
        return true;
    }
    char what[400];
    snprintf(what, sizeof(what), "records were not delivered (%u failed, flush: %s) %s", failed, rd_kafka_err2str(err),
             failed > 0 ? pub->producer.delivery_error : "");
    give_up(pub, UPT_FAILURE_RESET, what);
    settle(pub);
    return false;
}

static bool
send_offsets(struct upt_publisher *pub)
{
    rd_kafka_topic_partition_list_t *offsets = offsets_of(pub);
    if (offsets == NULL) {
        give_up(pub, UPT_FAILURE_RESET, "checkpoint given up: its outputs were given up");
        abort_txn(pub);
        return false;
    }
    rd_kafka_error_t *error =
        rd_kafka_send_offsets_to_transaction(pub->producer.rk, offsets, pub->assignment->metadata, OP_TIMEOUT_MS);
    rd_kafka_topic_partition_list_destroy(offsets);
    if (error == NULL) {
        return true;
    }
    bool refused = refused_by_group(rd_kafka_error_code(error));
    char what[400];
    snprintf(what, sizeof(what), "offsets: %s", rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    give_up(pub, refused ? UPT_FAILURE_LOST : UPT_FAILURE_RESET, what);
    if (refused) {
        abort_txn(pub);
    } else {
        settle(pub);
    }
    return false;
}

static void
commit_txn(struct upt_publisher *pub)
{
    bool checkpoint = pub->config.outputs != NULL;
    if (checkpoint && !wait_for_outputs(pub)) {
        give_up(pub, UPT_FAILURE_RESET, "checkpoint given up: its outputs were not published");
        abort_txn(pub);
        return;
    }
    if (!produce_pending(pub)) {
        settle(pub);
        return;
    }
    pub->last_commit_ms = upt_mono_ms();
    upt_crash_point(checkpoint ? "checkpoint.produce.after" : "publisher.produce.after");
    if (!flush_records(pub)) {
        return;
    }
    upt_crash_point(checkpoint ? "checkpoint.flush.after" : "publisher.flush.after");
    if (!send_offsets(pub)) {
        return;
    }
    upt_crash_point(checkpoint ? "checkpoint.offsets.after" : "publisher.offsets.after");
    rd_kafka_error_t *error = rd_kafka_commit_transaction(pub->producer.rk, OP_TIMEOUT_MS);
    if (error != NULL) {
        char what[400];
        snprintf(what, sizeof(what), "commit: %s", rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        give_up(pub, UPT_FAILURE_RESET, what);
        settle(pub);
        return;
    }
    upt_crash_point(checkpoint ? "checkpoint.commit.after" : "publisher.commit.after");
    upt_metric_add(pub->config.metrics, checkpoint ? UPT_M_CHECKPOINTS : UPT_M_TRANSACTIONS, 1);
    note_committed(pub);
    bool twice = atomic_load(&pub->producer.endtxn_sent) > 1;
    end_txn(pub);
    if (twice) {
        upt_log(UPT_LOG_INFO, "publisher", "%s: EndTxn was sent more than once; taking a new epoch",
                pub->transactional_id);
        settle(pub);
    }
}

/* Whether the open transaction has to be committed now, before the next frame is taken. */
static bool
due(const struct upt_publisher *pub, const struct frame *next)
{
    if (!pub->in_txn || pub->uncovered) {
        return false;
    }
    if (pub->config.outputs != NULL) {
        return true; /* a checkpoint ends with its commit frame */
    }
    if (next != NULL && (next->seq != pub->txn_seq || (next->is_commit && next->assignment != pub->assignment))) {
        return true;
    }
    /* An output that comes alone leaves at once; those that follow within the interval share the next transaction. */
    return pub->txn_bytes > TXN_BYTES_MAX ||
           upt_mono_ms() - pub->last_commit_ms >= pub->config.config->publish_interval_ms;
}

/* Takes one frame; a failure is dealt with here. */
static void
take_frame(struct upt_publisher *pub, const struct frame *frame, const char *bytes)
{
    if (frame->seq < atomic_load(&pub->min_seq) || atomic_load(&pub->failure) != UPT_FAILURE_NONE ||
        pub->producer.rk == NULL) {
        return;
    }
    if (!pub->in_txn && !begin_txn(pub, frame)) {
        settle(pub);
        return;
    }
    if (frame->is_commit) {
        take_commit(pub, frame, bytes);
        return;
    }
    if (pub->config.outputs != NULL) {
        hand_over(pub, (frame->key_len == NULL_LEN ? 0 : frame->key_len) +
                           (frame->value_len == NULL_LEN ? 0 : frame->value_len));
    }
    pub->uncovered = true;
    pub->txn_bytes += frame->value_len == NULL_LEN ? 0 : frame->value_len;
    if (pub->config.outputs != NULL && frame->value_len != NULL_LEN) {
        upt_metric_add(pub->config.metrics, UPT_M_CHECKPOINT_BYTES, frame->value_len);
    }
    if (!produce(pub, frame, bytes)) {
        settle(pub);
    }
}

static void *
publisher_main(void *arg)
{
    struct upt_publisher *pub = arg;
    upt_thread_name("publish");
    (void)open_producer(pub);
    while (!atomic_load(&pub->stop)) {
        size_t len;
        const char *at = upt_ring_peek(pub->ring, &len);
        struct frame frame;
        if (at != NULL) {
            memcpy(&frame, at, sizeof(frame));
        }
        if (pub->in_txn && pub->txn_seq < atomic_load(&pub->min_seq)) {
            abort_txn(pub);
            continue;
        }
        if (due(pub, at != NULL ? &frame : NULL)) {
            commit_txn(pub);
            continue;
        }
        if (at != NULL) {
            take_frame(pub, &frame, at + sizeof(frame));
            upt_ring_release(pub->ring);
            continue;
        }
        if (pub->producer.rk == NULL && upt_publisher_failure(pub) != UPT_FAILURE_FATAL) {
            (void)open_producer(pub);
        }
        struct pollfd pfd = {.fd = pub->doorbell, .events = POLLIN};
        if (poll(&pfd, 1, pub->in_txn ? 5 : 200) > 0) {
            uint64_t n;
            (void)!read(pub->doorbell, &n, sizeof(n));
        }
        if (pub->producer.rk != NULL) {
            rd_kafka_poll(pub->producer.rk, 0);
        }
    }
    if (pub->in_txn && pub->producer.rk != NULL) {
        rd_kafka_error_t *error = rd_kafka_abort_transaction(pub->producer.rk, 2000);
        if (error != NULL) {
            rd_kafka_error_destroy(error);
        }
    }
    upt_producer_close(&pub->producer);
    return NULL;
}

upt_status
upt_publisher_create(const struct upt_publisher_config *config, struct upt_publisher **ret, struct upt_error *reterr)
{
    struct upt_publisher *pub = calloc(1, sizeof(*pub));
    upt_status status;
    if (pub == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    pub->config = *config;
    pub->doorbell = -1;
    pthread_mutex_init(&pub->lock, NULL);
    snprintf(pub->transactional_id, sizeof(pub->transactional_id), "%s", config->transactional_id);
    pub->topics[UPT_TOPIC_ALERTS] = config->config->alerts_topic;
    pub->topics[UPT_TOPIC_HEALTH] = config->config->health_topic;
    pub->topics[UPT_TOPIC_DEAD] = config->config->dead_topic;
    pub->topics[UPT_TOPIC_STATE] = config->config->state_topic;
    status = upt_ring_create(config->ring_bytes, &pub->ring, reterr);
    if (status != UPT_OK) {
        goto fail;
    }
    pub->doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (pub->doorbell < 0 || pthread_create(&pub->thread, NULL, publisher_main, pub) != 0) {
        status = upt_fail(reterr, UPT_EIO, "cannot start a publisher's thread");
        goto fail;
    }
    pub->started = true;
    *ret = pub;
    return UPT_OK;
fail:
    upt_publisher_destroy(&pub);
    return status;
}

void
upt_publisher_destroy(struct upt_publisher **pub_p)
{
    struct upt_publisher *pub = *pub_p;
    if (pub == NULL) {
        return;
    }
    atomic_store(&pub->stop, true);
    if (pub->started) {
        upt_publisher_kick(pub);
        pthread_join(pub->thread, NULL);
    }
    if (pub->doorbell >= 0) {
        close(pub->doorbell);
    }
    for (size_t i = 0; i < pub->pending_n; i++) {
        upt_buf_fini(&pub->pending[i].key);
        upt_buf_fini(&pub->pending[i].value);
        upt_buf_fini(&pub->pending[i].metadata);
    }
    for (size_t i = 0; i < pub->committed_n; i++) {
        upt_buf_fini(&pub->committed[i].metadata);
    }
    free(pub->pending);
    free(pub->committed);
    upt_ring_destroy(&pub->ring);
    pthread_mutex_destroy(&pub->lock);
    free(pub);
    *pub_p = NULL;
}
