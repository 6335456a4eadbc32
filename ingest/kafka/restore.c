/* Recovery of partitions. See restore.h.
 *
 * A dead owner is known by its last progress record, which is not marked as released and names its transactional.id:
 * its transactions are ended by taking that id once (0.5 s), instead of waiting for their time-out and the broker's
 * scan (up to 70 s). A live owner hit by mistake sees _FENCED and restores; an own id is never taken. Those met in the
 * uncommitted tail of the state partition are ended likewise when the wait lasts. */
#include "ingest/kafka/restore.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/kafka/client.h"
#include "ingest/kafka/publisher.h"
#include "uptake/assert.h"
#include "uptake/crash.h"
#include "uptake/log.h"
#include "uptake/thread.h"
#include "uptake/time.h"

#define JOBS_MAX 4096
#define FENCED_MAX 64
#define FENCED_REMEMBERED_MS 30000
#define PATIENCE_MS 1000 /* before the uncommitted tail is looked at */
#define STALE_READS_MAX 3
#define END_PATIENCE_MS 3000 /* a new leader knows the end a moment later */

struct job {
    int32_t partition;
    uint64_t ticket;
};

struct fenced {
    char id[340];
    int64_t mono_ms;
};

struct result {
    struct upt_restored restored;
    struct result *next;
};

struct upt_restorer {
    struct upt_restorer_config config;
    rd_kafka_t *committed; /* reads what is committed */
    rd_kafka_t *all;       /* reads everything */
    pthread_t thread;
    bool started;
    atomic_bool stop;
    atomic_ullong min_ticket;
    atomic_int now_partition;
    atomic_llong now_read, now_target;
    struct fenced fenced[FENCED_MAX];
    size_t fenced_n;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job jobs[JOBS_MAX];
    size_t jobs_head, jobs_n;
    struct result *results, **results_tail;
};

/* What a pass over the state partition collects. */
struct reading {
    struct upt_restorer *res;
    struct upt_restored *out;
    int64_t next_offset; /* to be read next */
    bool first;
};

static bool
cancelled(struct upt_restorer *res, const struct upt_restored *out)
{
    return atomic_load(&res->stop) || out->ticket < atomic_load(&res->min_ticket);
}

/* ---- fencing ---- */

static void
fence(struct upt_restorer *res, const char *id)
{
    if (id[0] == '\0' || strcmp(id, res->config.own_ids[0]) == 0 || strcmp(id, res->config.own_ids[1]) == 0) {
        return;
    }
    int64_t now = upt_mono_ms();
    for (size_t i = 0; i < res->fenced_n; i++) {
        if (strcmp(res->fenced[i].id, id) == 0 && now - res->fenced[i].mono_ms < FENCED_REMEMBERED_MS) {
            return;
        }
    }
    upt_crash_point("restore.fence.before");
    struct upt_error err;
    if (upt_publisher_fence(res->config.config, id, 5000, &err) != UPT_OK) {
        upt_log(UPT_LOG_WARNING, "restore", "%s", err.msg);
        return;
    }
    upt_metric_add(res->config.metrics, UPT_M_FENCED_OWNERS, 1);
    upt_log(UPT_LOG_INFO, "restore", "ended what %s had left open", id);
    struct fenced *slot = &res->fenced[res->fenced_n < FENCED_MAX ? res->fenced_n++ : (size_t)now % FENCED_MAX];
    snprintf(slot->id, sizeof(slot->id), "%s", id);
    slot->mono_ms = now;
}

/* ---- reading the state partition ---- */

static upt_status
watermarks(struct upt_restorer *res, rd_kafka_t *rk, const char *topic, struct upt_restored *out, int64_t *ret_low,
           int64_t *ret_high)
{
    while (!cancelled(res, out)) {
        rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(rk, topic, out->partition, ret_low, ret_high, 2000);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            return UPT_OK;
        }
        upt_log_limited(UPT_LOG_INFO, "restore", "%s [%d]: ends not to be had: %s; trying again", topic, out->partition,
                        rd_kafka_err2str(err));
        upt_sleep_ms(100);
    }
    return UPT_EAGAIN;
}

typedef upt_status (*on_record_fn)(void *ctx, const rd_kafka_message_t *msg, struct upt_error *reterr);

/* Reads [from, to) of the state partition with rk. *ret_next: where the next read begins. */
static upt_status
read_range(struct upt_restorer *res, rd_kafka_t *rk, struct upt_restored *out, int64_t from, int64_t to,
           on_record_fn on_record, void *ctx, struct upt_error *reterr)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, res->config.config->state_topic, out->partition)->offset = from;
    rd_kafka_resp_err_t err = rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    upt_status status = UPT_OK;
    bool done = from >= to;
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return upt_fail(reterr, UPT_EUNAVAIL, "cannot read the state topic: %s", rd_kafka_err2str(err));
    }
    while (!done && status == UPT_OK) {
        if (cancelled(res, out)) {
            status = UPT_EAGAIN;
            break;
        }
        rd_kafka_message_t *msg = rd_kafka_consumer_poll(rk, 100);
        if (msg == NULL) {
            continue;
        }
        if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            done = msg->offset >= to;
        } else if (msg->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                   msg->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
            status = upt_fail(reterr, UPT_EDATA, "the state topic changed while it was read: %s",
                              rd_kafka_message_errstr(msg));
        } else if (msg->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            upt_log_limited(UPT_LOG_INFO, "restore", "state topic [%d]: %s", out->partition,
                            rd_kafka_message_errstr(msg));
        } else if (msg->offset < to) {
            atomic_store(&res->now_read, msg->offset - from);
            status = on_record(ctx, msg, reterr);
            done = msg->offset + 1 >= to;
        } else {
            done = true;
        }
        rd_kafka_message_destroy(msg);
    }
    (void)rd_kafka_assign(rk, NULL);
    return status;
}

static struct upt_str
bytes_of(const void *p, size_t len)
{
    return (struct upt_str){.p = p, .len = (uint32_t)len};
}

static upt_status
load_record(void *ctx, const rd_kafka_message_t *msg, struct upt_error *reterr)
{
    struct reading *reading = ctx;
    struct upt_restored *out = reading->out;
    struct upt_str key = bytes_of(msg->key, msg->key_len);
    struct upt_str value = bytes_of(msg->payload, msg->payload != NULL ? msg->len : 0);
    upt_metric_add(reading->res->config.metrics, UPT_M_RESTORE_RECORDS, 1);
    upt_crash_point("restore.read");
    upt_status status = UPT_OK;
    if (key.len == 1 && key.p[0] == 'c') {
        upt_progress_fini(&out->progress);
        status = upt_progress_decode(value, &out->progress, reterr);
    } else if (key.len == 1 && key.p[0] == 'r') {
        status = upt_checkpoint_decode(value, &out->checkpoint, reterr);
        out->has_checkpoint = status == UPT_OK;
        out->checkpoint_ms = rd_kafka_message_timestamp(msg, NULL);
    } else if (key.len > 0 && key.p[0] != 'b') {
        status = upt_state_load(out->state, key, value, reterr);
    }
    if (status != UPT_OK && reterr != NULL) {
        char why[300];
        snprintf(why, sizeof(why), "%.299s", reterr->msg);
        return upt_fail(reterr, status, "%s [%d] offset %lld: %s", reading->res->config.config->state_topic,
                        out->partition, (long long)msg->offset, why);
    }
    return status;
}

/* Ends the transactions whose records lie in the tail that is not yet stable. */
static upt_status
fence_record(void *ctx, const rd_kafka_message_t *msg, struct upt_error *reterr)
{
    struct reading *reading = ctx;
    (void)reterr;
    struct upt_str value = bytes_of(msg->payload, msg->payload != NULL ? msg->len : 0);
    if (msg->key_len != 1 || value.len == 0) {
        return UPT_OK;
    }
    char id[340] = "";
    if (((const char *)msg->key)[0] == 'c') {
        struct upt_progress progress = {0};
        if (upt_progress_decode(value, &progress, NULL) == UPT_OK) {
            memcpy(id, progress.writer, sizeof(id));
            upt_progress_fini(&progress);
        }
    } else if (((const char *)msg->key)[0] == 'b' && value.len < sizeof(id)) {
        memcpy(id, value.p, value.len);
    }
    fence(reading->res, id);
    return UPT_OK;
}

/* Waits until everything in the state partition is stable. *ret: the end of what is then committed. */
static upt_status
wait_stable(struct upt_restorer *res, struct upt_restored *out, int64_t *ret, struct upt_error *reterr)
{
    int64_t low = 0, high = 0, stable = 0;
    upt_status status = watermarks(res, res->all, res->config.config->state_topic, out, &low, &high);
    int64_t begun = upt_mono_ms();
    while (status == UPT_OK) {
        status = watermarks(res, res->committed, res->config.config->state_topic, out, &low, &stable);
        if (status != UPT_OK || stable >= high) {
            *ret = stable;
            return status;
        }
        if (upt_mono_ms() - begun > PATIENCE_MS) {
            struct reading reading = {.res = res, .out = out};
            status = read_range(res, res->all, out, stable, high, fence_record, &reading, reterr);
            begun = upt_mono_ms();
        }
        upt_sleep_ms(20);
    }
    return status;
}

/* The stable committed offset of the group; −1: none. */
static upt_status
wait_committed(struct upt_restorer *res, struct upt_restored *out, int64_t *ret)
{
    while (!cancelled(res, out)) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, res->config.config->input_topic, out->partition);
        rd_kafka_resp_err_t err = rd_kafka_committed(res->config.consumer, list, 300);
        rd_kafka_resp_err_t part_err = list->elems[0].err;
        int64_t offset = list->elems[0].offset;
        rd_kafka_topic_partition_list_destroy(list);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR && part_err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            *ret = offset >= 0 ? offset : -1;
            return UPT_OK;
        }
        upt_sleep_ms(20);
    }
    return UPT_EAGAIN;
}

/* ---- one partition ---- */

/* The log ends before the checkpoint: given that some time to change, the topic is another one of the same name. */
static upt_status
check_end(struct upt_restorer *res, struct upt_restored *out, struct upt_error *reterr)
{
    const struct upt_config *config = res->config.config;
    int64_t begun = upt_mono_ms(), low = 0, high = 0;
    while (upt_mono_ms() - begun < END_PATIENCE_MS) {
        upt_status status = watermarks(res, res->committed, config->input_topic, out, &low, &high);
        if (status != UPT_OK || out->seek_to <= high) {
            return status;
        }
        upt_sleep_ms(100);
    }
    return upt_fail(
        reterr, UPT_EDATA,
        "%s [%d]: the checkpoint is at offset %lld, but the log ends at %lld: was the topic deleted and made "
        "again? To begin anew delete %s and the offsets of the group %s",
        config->input_topic, out->partition, (long long)out->seek_to - 1, (long long)high, config->state_topic,
        config->group);
}

/* The first record at or after a time; the end if there is none. Asked until it is answered: an end taken for an answer
 * would leave out everything before it for good. */
static upt_status
find_time(struct upt_restorer *res, const struct upt_restored *out, int64_t at_ms, int64_t high, int64_t *ret)
{
    const char *topic = res->config.config->input_topic;
    while (!cancelled(res, out)) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, topic, out->partition)->offset = at_ms;
        rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(res->committed, list, 2000);
        err = err == RD_KAFKA_RESP_ERR_NO_ERROR ? list->elems[0].err : err;
        int64_t offset = list->elems[0].offset;
        rd_kafka_topic_partition_list_destroy(list);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR && (offset >= 0 || offset == RD_KAFKA_OFFSET_END)) {
            *ret = offset >= 0 ? offset : high;
            return UPT_OK;
        }
        upt_log_limited(UPT_LOG_INFO, "restore", "%s [%d]: no answer where `start` is: %s; trying again", topic,
                        out->partition, rd_kafka_err2str(err));
        upt_sleep_ms(100);
    }
    return UPT_EAGAIN;
}

/* What the log no longer holds was not counted. */
static upt_status
check_gap(const struct upt_restorer *res, struct upt_restored *out, int64_t low, struct upt_error *reterr)
{
    const struct upt_config *config = res->config.config;
    if (low <= out->seek_to) {
        return UPT_OK;
    }
    out->lost = low - out->seek_to;
    if (strcmp(config->on_gap, "continue") != 0) {
        return upt_fail(reterr, UPT_EDATA,
                        "%s [%d]: the checkpoint is at offset %lld, but the log begins at %lld: %lld offsets that were "
                        "not yet counted are gone (retention). Set on_gap: continue to go on without them",
                        config->input_topic, out->partition, (long long)out->seek_to - 1, (long long)low,
                        (long long)out->lost);
    }
    out->seek_to = low;
    return UPT_OK;
}

/* Where to begin: after the checkpoint, or as `start` says. Checks that the log still holds it. */
static upt_status
find_start(struct upt_restorer *res, struct upt_restored *out, struct upt_error *reterr)
{
    const struct upt_config *config = res->config.config;
    int64_t low, high;
    upt_status status = watermarks(res, res->committed, config->input_topic, out, &low, &high);
    if (status != UPT_OK) {
        return status;
    }
    if (out->has_checkpoint) {
        out->seek_to = out->checkpoint.pos.offset + 1;
        status = check_gap(res, out, low, reterr);
        return status == UPT_OK && out->seek_to > high ? check_end(res, out, reterr) : status;
    }
    out->seek_to = low;
    if (strcmp(config->start, "latest") == 0) {
        /* A start that came as far as to claim the partition has said where it begins, and counted nothing before that
         * was stored (upt_part_serve): its end of the log is the one. */
        int64_t said = out->progress.next_offset;
        out->seek_to = out->progress.epoch != 0 && said <= high ? said : high;
        status = check_gap(res, out, low, reterr);
    } else if (strcmp(config->start, "earliest") != 0) {
        int64_t at_ms = 0; /* checked when the configuration was read */
        (void)upt_parse_time(config->start, (uint32_t)strlen(config->start), &at_ms);
        status = find_time(res, out, at_ms, high, &out->seek_to);
    }
    out->checkpoint =
        (struct upt_checkpoint){.pos = {.offset = out->seek_to - 1, .tick = UPT_NO_CLOCK}, .clock = UPT_NO_CLOCK};
    return status;
}

static upt_status
read_once(struct upt_restorer *res, struct upt_restored *out, struct upt_error *reterr)
{
    struct reading reading = {.res = res, .out = out};
    int64_t committed, end, low = 0, high = 0;
    upt_status status = watermarks(res, res->committed, res->config.config->state_topic, out, &low, &high);
    atomic_store(&res->now_target, high - low);
    if (status == UPT_OK) {
        status = read_range(res, res->committed, out, low, high, load_record, &reading, reterr);
    }
    if (status != UPT_OK) {
        return status;
    }
    if (!out->progress.released) {
        fence(res, out->progress.writer);
    }
    status = wait_committed(res, out, &committed);
    if (status == UPT_OK) {
        status = wait_stable(res, out, &end, reterr);
    }
    if (status == UPT_OK && end > high) {
        status = read_range(res, res->committed, out, high, end, load_record, &reading, reterr);
    }
    if (status == UPT_OK && committed > out->progress.next_offset) {
        return upt_fail(
            reterr, UPT_EDATA,
            "%s [%d]: the group has committed offset %lld, but the progress record says %lld: the state topic lost "
            "data, or offsets were moved by hand while checkpoints exist",
            res->config.config->state_topic, out->partition, (long long)committed,
            (long long)out->progress.next_offset);
    }
    return status;
}

static void
forget_reading(struct upt_restorer *res, struct upt_restored *out)
{
    if (out->state != NULL) {
        res->config.drop_state(res->config.ctx, out->user, out->state);
        out->state = NULL;
    }
    upt_progress_fini(&out->progress);
    memset(&out->progress, 0, sizeof(out->progress));
    out->progress.pos = UPT_POS_NONE;
    out->has_checkpoint = false;
}

/* Reads and puts together. *ret_stale: what was read does not fit together. It may have been compacted away under the
 * reader, by checkpoints of another process: then this one has lost the partition, and hears of it soon. */
static upt_status
try_restore(struct upt_restorer *res, struct upt_restored *out, bool *ret_stale, struct upt_error *err)
{
    upt_status status = res->config.make_state(res->config.ctx, out->partition, &out->user, &out->state, err);
    *ret_stale = false;
    if (status != UPT_OK) {
        return status;
    }
    status = read_once(res, out, err);
    *ret_stale = status == UPT_EDATA;
    if (status == UPT_OK) {
        status = find_start(res, out, err);
    }
    if (status == UPT_OK) {
        struct upt_pos at = out->checkpoint.pos;
        at.offset = out->seek_to - 1 > at.offset ? out->seek_to - 1 : at.offset;
        status = upt_state_load_done(out->state, at, out->checkpoint.clock, err);
        *ret_stale = status == UPT_EDATA;
    }
    return status;
}

static void
restore(struct upt_restorer *res, struct upt_restored *out)
{
    for (int tries = 1;; tries++) {
        bool stale;
        forget_reading(res, out);
        out->status = try_restore(res, out, &stale, &out->err);
        if (!stale || tries == STALE_READS_MAX) {
            break;
        }
        upt_sleep_ms(200);
    }
    if (out->status != UPT_OK) {
        forget_reading(res, out);
        return;
    }
    upt_metric_add(res->config.metrics, UPT_M_RESTORES, 1);
    upt_crash_point("restore.done");
}

/* ---- thread and mailbox ---- */

static void
deliver(struct upt_restorer *res, struct result *result)
{
    result->next = NULL;
    pthread_mutex_lock(&res->lock);
    *res->results_tail = result;
    res->results_tail = &result->next;
    pthread_mutex_unlock(&res->lock);
}

static void *
restorer_main(void *arg)
{
    struct upt_restorer *res = arg;
    upt_thread_name("restore");
    for (;;) {
        pthread_mutex_lock(&res->lock);
        while (res->jobs_n == 0 && !atomic_load(&res->stop)) {
            pthread_cond_wait(&res->wake, &res->lock);
        }
        if (atomic_load(&res->stop)) {
            pthread_mutex_unlock(&res->lock);
            return NULL;
        }
        struct job job = res->jobs[res->jobs_head];
        res->jobs_head = (res->jobs_head + 1) % JOBS_MAX;
        res->jobs_n--;
        pthread_mutex_unlock(&res->lock);
        struct result *result = calloc(1, sizeof(*result));
        upt_assert(result != NULL);
        result->restored.partition = job.partition;
        result->restored.ticket = job.ticket;
        result->restored.progress.pos = UPT_POS_NONE;
        atomic_store(&res->now_read, 0);
        atomic_store(&res->now_partition, job.partition);
        restore(res, &result->restored);
        atomic_store(&res->now_partition, -1);
        if (cancelled(res, &result->restored)) {
            forget_reading(res, &result->restored);
            free(result);
            continue;
        }
        deliver(res, result);
    }
}

upt_status
upt_restorer_create(const struct upt_restorer_config *config, struct upt_restorer **ret, struct upt_error *reterr)
{
    struct upt_restorer *res = calloc(1, sizeof(*res));
    if (res == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    res->config = *config;
    res->results_tail = &res->results;
    atomic_store(&res->now_partition, -1);
    pthread_mutex_init(&res->lock, NULL);
    pthread_cond_init(&res->wake, NULL);
    upt_status status = upt_client_reader(config->config, true, &res->committed, reterr);
    if (status == UPT_OK) {
        status = upt_client_reader(config->config, false, &res->all, reterr);
    }
    if (status == UPT_OK && pthread_create(&res->thread, NULL, restorer_main, res) != 0) {
        status = upt_fail(reterr, UPT_EIO, "cannot start a thread");
    }
    if (status != UPT_OK) {
        upt_restorer_destroy(&res);
        return status;
    }
    res->started = true;
    *ret = res;
    return UPT_OK;
}

void
upt_restorer_destroy(struct upt_restorer **res_p)
{
    struct upt_restorer *res = *res_p;
    if (res == NULL) {
        return;
    }
    pthread_mutex_lock(&res->lock);
    atomic_store(&res->stop, true);
    pthread_cond_broadcast(&res->wake);
    pthread_mutex_unlock(&res->lock);
    if (res->started) {
        pthread_join(res->thread, NULL);
    }
    struct upt_restored left;
    while (upt_restorer_take(res, &left)) {
        forget_reading(res, &left);
    }
    upt_client_destroy(&res->committed);
    upt_client_destroy(&res->all);
    pthread_cond_destroy(&res->wake);
    pthread_mutex_destroy(&res->lock);
    free(res);
    *res_p = NULL;
}

void
upt_restorer_ask(struct upt_restorer *res, int32_t partition, uint64_t ticket)
{
    pthread_mutex_lock(&res->lock);
    upt_assert(res->jobs_n < JOBS_MAX);
    res->jobs[(res->jobs_head + res->jobs_n++) % JOBS_MAX] = (struct job){.partition = partition, .ticket = ticket};
    pthread_cond_signal(&res->wake);
    pthread_mutex_unlock(&res->lock);
}

void
upt_restorer_cancel_below(struct upt_restorer *res, uint64_t ticket)
{
    pthread_mutex_lock(&res->lock);
    atomic_store(&res->min_ticket, ticket);
    size_t kept = 0;
    for (size_t i = 0; i < res->jobs_n; i++) {
        struct job job = res->jobs[(res->jobs_head + i) % JOBS_MAX];
        if (job.ticket >= ticket) {
            res->jobs[(res->jobs_head + kept++) % JOBS_MAX] = job;
        }
    }
    res->jobs_n = kept;
    pthread_mutex_unlock(&res->lock);
    struct upt_restored stale;
    struct result *keep = NULL, **keep_tail = &keep;
    pthread_mutex_lock(&res->lock);
    struct result *all = res->results;
    res->results = NULL;
    res->results_tail = &res->results;
    while (all != NULL) {
        struct result *next = all->next;
        if (all->restored.ticket >= ticket) {
            *keep_tail = all;
            keep_tail = &all->next;
            all->next = NULL;
        } else {
            stale = all->restored;
            forget_reading(res, &stale);
            free(all);
        }
        all = next;
    }
    res->results = keep;
    res->results_tail = keep == NULL ? &res->results : keep_tail;
    pthread_mutex_unlock(&res->lock);
}

bool
upt_restorer_take(struct upt_restorer *res, struct upt_restored *ret)
{
    pthread_mutex_lock(&res->lock);
    struct result *result = res->results;
    if (result != NULL) {
        res->results = result->next;
        if (res->results == NULL) {
            res->results_tail = &res->results;
        }
    }
    pthread_mutex_unlock(&res->lock);
    if (result == NULL) {
        return false;
    }
    *ret = result->restored;
    free(result);
    return true;
}

double
upt_restorer_progress(struct upt_restorer *res, int32_t *ret_partition)
{
    *ret_partition = atomic_load(&res->now_partition);
    long long target = atomic_load(&res->now_target);
    return target > 0 ? (double)atomic_load(&res->now_read) / (double)target : 0.0;
}
