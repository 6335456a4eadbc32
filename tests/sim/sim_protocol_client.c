/* librdkafka's API: handles, lists, headers, and consumers. See sim_protocol.h. Like librdkafka it takes no handle that
 * is NULL. */
#include <stdlib.h>
#include <string.h>

#include "sim_protocol_client.h"
#include "uptake/assert.h"

uint64_t sim_taken, sim_woken;

/* ---- small things ---- */

rd_kafka_error_t *
sim_error(rd_kafka_resp_err_t code)
{
    rd_kafka_error_t *error = calloc(1, sizeof(*error));
    error->code = code;
    return error;
}

rd_kafka_resp_err_t
rd_kafka_error_code(const rd_kafka_error_t *error)
{
    return error != NULL ? error->code : RD_KAFKA_RESP_ERR_NO_ERROR;
}

const char *
rd_kafka_error_string(const rd_kafka_error_t *error)
{
    return rd_kafka_err2str(error->code);
}

void
rd_kafka_error_destroy(rd_kafka_error_t *error)
{
    free(error);
}

const char *
rd_kafka_err2str(rd_kafka_resp_err_t err)
{
    switch (err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return "no error";
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
        return "timed out";
    case RD_KAFKA_RESP_ERR__FENCED:
        return "fenced";
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
        return "unknown member";
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
        return "illegal generation";
    default:
        return "another error";
    }
}

const char *
rd_kafka_err2name(rd_kafka_resp_err_t err)
{
    return rd_kafka_err2str(err);
}

rd_kafka_topic_partition_list_t *
rd_kafka_topic_partition_list_new(int size)
{
    rd_kafka_topic_partition_list_t *list = calloc(1, sizeof(*list));
    list->size = size > 0 ? size : 1;
    list->elems = calloc((size_t)list->size, sizeof(*list->elems));
    return list;
}

rd_kafka_topic_partition_t *
rd_kafka_topic_partition_list_add(rd_kafka_topic_partition_list_t *list, const char *topic, int32_t partition)
{
    if (list->cnt == list->size) {
        list->size *= 2;
        list->elems = realloc(list->elems, (size_t)list->size * sizeof(*list->elems));
    }
    rd_kafka_topic_partition_t *tp = &list->elems[list->cnt++];
    memset(tp, 0, sizeof(*tp));
    tp->topic = malloc(strlen(topic) + 1);
    memcpy(tp->topic, topic, strlen(topic) + 1);
    tp->partition = partition;
    tp->offset = RD_KAFKA_OFFSET_INVALID;
    return tp;
}

void
rd_kafka_topic_partition_list_destroy(rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        free(list->elems[i].topic);
        free(list->elems[i].metadata);
    }
    free(list->elems);
    free(list);
}

rd_kafka_headers_t *
rd_kafka_headers_new(size_t cap)
{
    rd_kafka_headers_t *headers = calloc(1, sizeof(*headers));
    headers->cap = cap + 1;
    headers->v = calloc(headers->cap, sizeof(*headers->v));
    return headers;
}

static struct upt_str
own_copy(const void *p, size_t len)
{
    if (p == NULL) {
        return UPT_STR_NULL;
    }
    char *copy = malloc(len + 1);
    memcpy(copy, p, len);
    copy[len] = '\0';
    return (struct upt_str){.p = copy, .len = (uint32_t)len};
}

rd_kafka_resp_err_t
rd_kafka_header_add(rd_kafka_headers_t *headers, const char *name, ssize_t name_len, const void *value, ssize_t len)
{
    if (headers->n == headers->cap) {
        headers->cap *= 2;
        headers->v = realloc(headers->v, headers->cap * sizeof(*headers->v));
    }
    headers->v[headers->n].name = own_copy(name, name_len < 0 ? strlen(name) : (size_t)name_len);
    headers->v[headers->n++].value = own_copy(value, (size_t)len);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_headers_t *
rd_kafka_headers_copy(const rd_kafka_headers_t *from)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(from->n);
    for (size_t i = 0; i < from->n; i++) {
        rd_kafka_header_add(headers, from->v[i].name.p, (ssize_t)from->v[i].name.len, from->v[i].value.p,
                            (ssize_t)from->v[i].value.len);
    }
    return headers;
}

void
rd_kafka_headers_destroy(rd_kafka_headers_t *headers)
{
    for (size_t i = 0; i < headers->n; i++) {
        free((void *)(uintptr_t)headers->v[i].name.p);
        free((void *)(uintptr_t)headers->v[i].value.p);
    }
    free(headers->v);
    free(headers);
}

size_t
rd_kafka_header_cnt(const rd_kafka_headers_t *headers)
{
    return headers->n;
}

rd_kafka_resp_err_t
rd_kafka_header_get_all(const rd_kafka_headers_t *headers, size_t i, const char **name, const void **value, size_t *len)
{
    if (i >= headers->n) {
        return RD_KAFKA_RESP_ERR__NOENT;
    }
    *name = headers->v[i].name.p;
    *value = headers->v[i].value.p;
    *len = headers->v[i].value.len;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t
rd_kafka_message_headers(const rd_kafka_message_t *msg, rd_kafka_headers_t **ret)
{
    *ret = ((const struct sim_message *)(const void *)msg)->headers;
    return *ret != NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR__NOENT;
}

int64_t
rd_kafka_message_timestamp(const rd_kafka_message_t *msg, rd_kafka_timestamp_type_t *type)
{
    (void)type;
    return ((const struct sim_message *)(const void *)msg)->ts;
}

const char *
rd_kafka_message_errstr(const rd_kafka_message_t *msg)
{
    return rd_kafka_err2str(msg->err);
}

void
rd_kafka_message_destroy(rd_kafka_message_t *msg)
{
    struct sim_message *message = (struct sim_message *)(void *)msg;
    if (message->headers != NULL) {
        rd_kafka_headers_destroy(message->headers);
    }
    free(msg->payload);
    free(msg->key);
    free(message);
}

const char *
rd_kafka_topic_name(const rd_kafka_topic_t *rkt)
{
    (void)rkt;
    return "?";
}

rd_kafka_topic_conf_t *
rd_kafka_default_topic_conf_dup(rd_kafka_t *rk)
{
    (void)rk;
    return NULL;
}

rd_kafka_conf_res_t
rd_kafka_topic_conf_set(rd_kafka_topic_conf_t *conf, const char *name, const char *value, char *errstr, size_t cap)
{
    (void)conf, (void)name, (void)value, (void)errstr, (void)cap;
    return RD_KAFKA_CONF_OK;
}

rd_kafka_topic_t *
rd_kafka_topic_new(rd_kafka_t *rk, const char *topic, rd_kafka_topic_conf_t *conf)
{
    (void)rk, (void)topic, (void)conf;
    return NULL;
}

void
rd_kafka_mem_free(rd_kafka_t *rk, void *p)
{
    (void)rk;
    free(p);
}

/* ---- configuration and handles ---- */

rd_kafka_conf_t *
rd_kafka_conf_new(void)
{
    return calloc(1, sizeof(struct rd_kafka_conf_s));
}

void
rd_kafka_conf_destroy(rd_kafka_conf_t *conf)
{
    free(conf);
}

rd_kafka_conf_res_t
rd_kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, char *errstr, size_t cap)
{
    (void)errstr, (void)cap;
    if (strcmp(name, "transactional.id") == 0) {
        upt_assert(strlen(value) < sizeof(conf->txn_id));
        memcpy(conf->txn_id, value, strlen(value) + 1);
    } else if (strcmp(name, "group.instance.id") == 0) {
        upt_assert(strlen(value) < sizeof(conf->instance));
        memcpy(conf->instance, value, strlen(value) + 1);
    } else if (strcmp(name, "isolation.level") == 0) {
        conf->committed_only = strcmp(value, "read_committed") == 0;
    }
    return RD_KAFKA_CONF_OK;
}

void
rd_kafka_conf_set_opaque(rd_kafka_conf_t *conf, void *opaque)
{
    conf->opaque = opaque;
}

void
rd_kafka_conf_set_rebalance_cb(rd_kafka_conf_t *conf,
                               void (*cb)(rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *, void *))
{
    conf->rebalance_cb = cb;
}

void
rd_kafka_conf_set_dr_msg_cb(rd_kafka_conf_t *conf, void (*cb)(rd_kafka_t *, const rd_kafka_message_t *, void *))
{
    conf->dr_cb = cb;
}

void
rd_kafka_conf_set_log_cb(rd_kafka_conf_t *conf, void (*cb)(const rd_kafka_t *, int, const char *, const char *))
{
    (void)conf, (void)cb;
}

void
rd_kafka_conf_set_error_cb(rd_kafka_conf_t *conf, void (*cb)(rd_kafka_t *, int, const char *, void *))
{
    (void)conf, (void)cb;
}

rd_kafka_resp_err_t
rd_kafka_conf_interceptor_add_on_new(rd_kafka_conf_t *conf, const char *name, rd_kafka_interceptor_f_on_new_t *on_new,
                                     void *opaque)
{
    (void)name;
    conf->on_new = on_new;
    conf->on_new_opaque = opaque;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t
rd_kafka_interceptor_add_on_request_sent(rd_kafka_t *rk, const char *name, rd_kafka_interceptor_f_on_request_sent_t *fn,
                                         void *opaque)
{
    (void)name;
    rk->request_sent = fn;
    rk->request_sent_opaque = opaque;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_t *
rd_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *errstr, size_t cap)
{
    rd_kafka_t *rk = calloc(1, sizeof(*rk));
    rk->conf = *conf;
    rk->queue_tail = &rk->queue;
    if (type == RD_KAFKA_PRODUCER) {
        const char *own = sim_self()->instance;
        size_t len = strlen(rk->conf.txn_id), own_len = strlen(own);
        rk->txn = sim_txn_of(rk->conf.txn_id);
        rk->checkpoints = len > 11 && strcmp(rk->conf.txn_id + len - 11, "-checkpoint") == 0;
        rk->fence = strncmp(rk->conf.txn_id, own, own_len) != 0 ||
                    (rk->conf.txn_id[own_len] != '\0' && rk->conf.txn_id[own_len] != '-');
    }
    if (rk->conf.on_new != NULL) {
        (void)rk->conf.on_new(rk, conf, rk->conf.on_new_opaque, errstr, cap);
    }
    free(conf);
    return rk;
}

void
rd_kafka_destroy(rd_kafka_t *rk)
{
    free(rk);
}

void
rd_kafka_destroy_flags(rd_kafka_t *rk, int flags)
{
    (void)flags;
    free(rk);
}

rd_kafka_resp_err_t
rd_kafka_poll_set_consumer(rd_kafka_t *rk)
{
    (void)rk;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* ---- the group's member ---- */

rd_kafka_resp_err_t
rd_kafka_subscribe(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *topics)
{
    (void)topics;
    sim_group_join(sim_self(), rk->conf.instance, rk->member, sizeof(rk->member));
    rk->subscribed = true;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void
rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t what, uint32_t parts)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(SIM_PARTS);
    for (int p = 0; p < sim_parts; p++) {
        if ((parts >> p & 1u) != 0) {
            rd_kafka_topic_partition_list_add(list, "usage-events", p);
        }
    }
    enum sim_point point = what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? SIM_P_ASSIGN : SIM_P_REVOKE;
    sim_effect(point, false);
    rk->assigned = what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    rk->conf.rebalance_cb(rk, what, list, rk->conf.opaque);
    sim_effect(point, true);
    rd_kafka_topic_partition_list_destroy(list);
}

static uint32_t
parts_of(const rd_kafka_t *rk)
{
    uint32_t parts = 0;
    for (int p = 0; p < sim_parts; p++) {
        parts |= rk->at[p].on ? 1u << p : 0;
    }
    return parts;
}

static void
poll_group(rd_kafka_t *rk)
{
    int generation = 0;
    uint32_t parts = 0;
    switch (sim_group_ask(rk->member, rk->assigned, &generation, &parts)) {
    case SIM_ASK_UNKNOWN:
        rk->member[0] = '\0';
        if (rk->assigned) {
            rk->lost = true;
            rebalance(rk, RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS, parts_of(rk));
            rk->lost = false;
        }
        sim_group_join(sim_self(), rk->conf.instance, rk->member, sizeof(rk->member));
        break;
    case SIM_ASK_REVOKE:
        if (sim_rnd(8) == 0) { /* librdkafka can go on to the next assignment without a revocation */
            rk->assigned = false;
            sim_group_revoked(rk->member);
            break;
        }
        rebalance(rk, RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS, parts_of(rk));
        sim_group_revoked(rk->member);
        break;
    case SIM_ASK_ASSIGN:
        rk->generation = generation;
        rebalance(rk, RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS, parts);
        break;
    case SIM_ASK_NOTHING:
        break;
    }
}

int
rd_kafka_assignment_lost(rd_kafka_t *rk)
{
    return rk->lost ? 1 : 0;
}

rd_kafka_resp_err_t
rd_kafka_fatal_error(rd_kafka_t *rk, char *errstr, size_t cap)
{
    (void)rk, (void)errstr, (void)cap;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t
rd_kafka_consumer_close(rd_kafka_t *rk)
{
    if (rk->assigned) {
        rebalance(rk, RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS, parts_of(rk));
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

struct rd_kafka_consumer_group_metadata_s {
    int32_t generation;
    char member[48], instance[48];
};

/* As librdkafka has it: the old generation, and no member id once the member was removed and knows it. */
rd_kafka_consumer_group_metadata_t *
rd_kafka_consumer_group_metadata(rd_kafka_t *rk)
{
    rd_kafka_consumer_group_metadata_t *metadata = calloc(1, sizeof(*metadata));
    metadata->generation = rk->generation;
    memcpy(metadata->member, rk->member, sizeof(metadata->member));
    memcpy(metadata->instance, rk->conf.instance, sizeof(metadata->instance));
    return metadata;
}

rd_kafka_error_t *
rd_kafka_consumer_group_metadata_write(const rd_kafka_consumer_group_metadata_t *metadata, void **ret, size_t *ret_len)
{
    struct upt_buf out = {0};
    upt_buf_puts(&out, "CGMDv2:");
    upt_buf_put(&out, &metadata->generation, sizeof(metadata->generation));
    upt_buf_put(&out, "uptake", 7);
    upt_buf_put(&out, metadata->member, strlen(metadata->member) + 1);
    upt_buf_put(&out, metadata->instance, strlen(metadata->instance) + 1);
    *ret = out.p;
    *ret_len = out.len;
    return NULL;
}

void
rd_kafka_consumer_group_metadata_destroy(rd_kafka_consumer_group_metadata_t *metadata)
{
    free(metadata);
}

rd_kafka_error_t *
rd_kafka_send_offsets_to_transaction(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list,
                                     const rd_kafka_consumer_group_metadata_t *metadata, int timeout_ms)
{
    enum sim_point point = rk->checkpoints ? SIM_P_C_OFFSETS : SIM_P_OFFSETS;
    (void)timeout_ms;
    sim_effect(point, false);
    bool lost = sim_chance(sim_odds.lose_reply), done = !lost || sim_rnd(2) == 0;
    if (!sim_txn_is_mine(rk->txn, rk->epoch)) {
        rk->fatal = true;
        return sim_error(RD_KAFKA_RESP_ERR__FENCED);
    }
    rd_kafka_resp_err_t err = sim_group_check(metadata->member, metadata->instance, metadata->generation);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR && done) {
        return sim_error(err);
    }
    for (int i = 0; i < list->cnt && done; i++) {
        const rd_kafka_topic_partition_t *tp = &list->elems[i];
        (void)sim_txn_offset(rk->txn, rk->epoch, tp->partition, tp->offset,
                             (struct upt_str){.p = tp->metadata, .len = (uint32_t)tp->metadata_size});
    }
    sim_effect(point, true);
    if (lost) {
        sim_sleep_us(100000);
        return sim_error(RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    return NULL;
}

rd_kafka_resp_err_t
rd_kafka_committed(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int timeout_ms)
{
    upt_assert(rk != NULL);
    sim_effect(SIM_P_COMMITTED, false);
    for (int i = 0; i < list->cnt; i++) {
        struct sim_offset got = sim_offset_of(list->elems[i].partition);
        if (got.pending) {
            sim_sleep_us((int64_t)timeout_ms * 1000);
            return RD_KAFKA_RESP_ERR__TIMED_OUT;
        }
        list->elems[i].offset = got.set ? got.offset : RD_KAFKA_OFFSET_INVALID;
    }
    sim_effect(SIM_P_COMMITTED, true);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* ---- fetching ---- */

rd_kafka_resp_err_t
rd_kafka_assign(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list)
{
    upt_assert(rk != NULL);
    memset(rk->at, 0, sizeof(rk->at));
    for (int i = 0; list != NULL && i < list->cnt; i++) {
        rk->topic = sim_topic_of(list->elems[i].topic);
        rk->at[list->elems[i].partition] = (struct sim_fetch){.on = true, .pos = list->elems[i].offset, .eof_at = -1};
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void
set_paused(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, bool paused)
{
    upt_assert(rk != NULL);
    for (int i = 0; i < list->cnt; i++) {
        rk->at[list->elems[i].partition].paused = paused;
    }
}

rd_kafka_resp_err_t
rd_kafka_pause_partitions(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list)
{
    set_paused(rk, list, true);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t
rd_kafka_resume_partitions(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list)
{
    set_paused(rk, list, false);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_error_t *
rd_kafka_seek_partitions(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int timeout_ms)
{
    upt_assert(rk != NULL);
    (void)timeout_ms;
    sim_effect(SIM_P_SEEK, false);
    struct sim_proc *self = sim_self(); /* someone loses patience with a broker that does not answer */
    if (sim_chance(sim_odds.init_fail) || (self->stop_wanted && sim_rnd(2) == 0)) {
        self->stop_wanted = self->stop_wanted || (sim_odds.stop > 0 && sim_rnd(4) == 0);
        return sim_error(RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    for (int i = 0; i < list->cnt; i++) {
        struct sim_fetch *at = &rk->at[list->elems[i].partition];
        at->pos = list->elems[i].offset;
        at->eof_at = -1;
        list->elems[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    sim_effect(SIM_P_SEEK, true);
    return NULL;
}

/* The next message of a partition, or that its end was reached (once for each end); NULL: nothing. */
static struct sim_message *
fetch(rd_kafka_t *rk, int part)
{
    struct sim_fetch *at = &rk->at[part];
    if (!at->on || at->paused) {
        return NULL;
    }
    const struct sim_rec *rec = sim_log_next(rk->topic, part, at->pos, rk->conf.committed_only);
    int64_t end = rk->conf.committed_only ? sim_log_stable(rk->topic, part) : sim_logs[rk->topic][part].end;
    if (rec == NULL && (at->eof_at == end || end < at->pos)) {
        return NULL;
    }
    struct sim_message *got = calloc(1, sizeof(*got));
    got->msg.partition = part;
    if (rec == NULL) {
        at->pos = at->eof_at = got->msg.offset = end;
        got->msg.err = RD_KAFKA_RESP_ERR__PARTITION_EOF;
        return got;
    }
    at->pos = rec->offset + 1;
    got->msg.offset = rec->offset;
    got->ts = rec->ts;
    struct upt_str key = own_copy(rec->key.p, rec->key.len), value = own_copy(rec->value.p, rec->value.len);
    got->msg.key = (void *)(uintptr_t)key.p;
    got->msg.key_len = key.len;
    got->msg.payload = (void *)(uintptr_t)value.p;
    got->msg.len = value.len;
    if (rec->headers_n > 0) {
        got->headers = rd_kafka_headers_new(rec->headers_n);
        for (size_t i = 0; i < rec->headers_n; i++) {
            const struct sim_header *h = &rec->headers[i];
            rd_kafka_header_add(got->headers, h->name.p, (ssize_t)h->name.len, h->value.p, (ssize_t)h->value.len);
        }
    }
    return got;
}

rd_kafka_message_t *
rd_kafka_consumer_poll(rd_kafka_t *rk, int timeout_ms)
{
    if (rk->subscribed) {
        poll_group(rk);
        return NULL; /* each partition has a queue of its own */
    }
    for (int tries = 0; tries < 2; tries++) {
        for (int p = 0; p < sim_parts; p++) {
            struct sim_message *got = fetch(rk, p);
            if (got != NULL) {
                sim_effect(SIM_P_READ, false);
                sim_effect(SIM_P_READ, true);
                return &got->msg;
            }
        }
        if (tries == 0) {
            sim_sleep_us((int64_t)timeout_ms * 200);
        }
    }
    return NULL;
}

struct rd_kafka_queue_s {
    rd_kafka_t *rk;
    int part;
};

rd_kafka_queue_t *
rd_kafka_queue_get_partition(rd_kafka_t *rk, const char *topic, int32_t partition)
{
    upt_assert(rk != NULL);
    (void)topic;
    rd_kafka_queue_t *queue = calloc(1, sizeof(*queue));
    queue->rk = rk;
    queue->part = partition;
    return queue;
}

rd_kafka_queue_t *
rd_kafka_queue_get_consumer(rd_kafka_t *rk)
{
    return rd_kafka_queue_get_partition(rk, "", -1);
}

void
rd_kafka_queue_destroy(rd_kafka_queue_t *queue)
{
    free(queue);
}

void
rd_kafka_queue_forward(rd_kafka_queue_t *from, rd_kafka_queue_t *to)
{
    (void)from, (void)to;
}

void
rd_kafka_queue_io_event_enable(rd_kafka_queue_t *queue, int fd, const void *payload, size_t len)
{
    (void)queue, (void)fd, (void)payload, (void)len;
}

/* A few records at a time, so that what a lane does between them is done often. */
ssize_t
rd_kafka_consume_batch_queue(rd_kafka_queue_t *queue, int timeout_ms, rd_kafka_message_t **ret, size_t cap)
{
    (void)timeout_ms;
    ssize_t n = 0;
    size_t most = 1 + (size_t)sim_rnd((uint64_t)sim_odds.batch);
    rd_kafka_t *rk = queue->rk;
    while (n < (ssize_t)(most < cap ? most : cap)) {
        struct sim_message *got = fetch(rk, queue->part);
        if (got == NULL) {
            break;
        }
        sim_effect(SIM_P_CONSUME, false);
        ret[n++] = &got->msg;
        sim_taken++;
        sim_effect(SIM_P_CONSUME, true);
    }
    return n;
}

/* ---- queries ---- */

rd_kafka_resp_err_t
rd_kafka_query_watermark_offsets(rd_kafka_t *rk, const char *topic, int32_t part, int64_t *low, int64_t *high,
                                 int timeout_ms)
{
    enum sim_topic of = sim_topic_of(topic);
    (void)timeout_ms;
    sim_woken += rk->subscribed ? 1 : 0;
    sim_effect(SIM_P_MARKS, false);
    if (sim_chance(sim_odds.init_fail)) {
        return RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    *low = 0;
    *high = rk->conf.committed_only ? sim_log_stable(of, part) : sim_logs[of][part].end;
    sim_effect(SIM_P_MARKS, true);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

int
rd_kafka_version(void)
{
    return 0x02000000; /* one that needs a waker */
}

rd_kafka_resp_err_t
rd_kafka_offsets_for_times(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int timeout_ms)
{
    upt_assert(rk != NULL);
    (void)timeout_ms;
    sim_effect(SIM_P_ENDS, false);
    if (sim_chance(sim_odds.init_fail)) {
        return RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    for (int i = 0; i < list->cnt; i++) {
        list->elems[i].offset = sim_logs[SIM_T_INPUT][list->elems[i].partition].end;
    }
    sim_effect(SIM_P_ENDS, true);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}
