/* librdkafka's API: transactional producers. See sim_protocol.h.
 *
 * A record waits in the producer's own queue until it is sent, at the latest by a flush; what a crash finds there is
 * lost. A request may reach the broker although its answer is lost, or not at all, or late. */
#include <stdlib.h>
#include <string.h>

#include "ingest/kafka/progress.h"
#include "sim_protocol_check.h"
#include "sim_protocol_client.h"

#define API_KEY_END_TXN 26
#define TIME_OUT_US 100000

static void
drop_queue(rd_kafka_t *rk, bool failed)
{
    while (rk->queue != NULL) {
        struct sim_local *local = rk->queue;
        rk->queue = local->next;
        if (local->headers != NULL) {
            rd_kafka_headers_destroy(local->headers);
        }
        free((void *)(uintptr_t)local->rec.key.p);
        free((void *)(uintptr_t)local->rec.value.p);
        free(local);
        rk->failed += failed ? 1 : 0;
    }
    rk->queue_tail = &rk->queue;
}

/* What is in the queue goes to the broker. */
static void
deliver(rd_kafka_t *rk)
{
    for (const struct sim_local *local = rk->queue; local != NULL; local = local->next) {
        if (!sim_txn_append(rk->txn, rk->epoch, local->topic, local->part, &local->rec)) {
            rk->fatal = true;
            rk->failed++;
        }
    }
    drop_queue(rk, false);
}

static void
report_failures(rd_kafka_t *rk)
{
    for (; rk->failed > 0; rk->failed--) {
        const rd_kafka_message_t msg = {.err = RD_KAFKA_RESP_ERR__MSG_TIMED_OUT};
        rk->conf.dr_cb(rk, &msg, rk->conf.opaque);
    }
}

int
rd_kafka_poll(rd_kafka_t *rk, int timeout_ms)
{
    if (timeout_ms > 0) {
        sim_sleep_us((int64_t)timeout_ms * 1000);
    }
    if (rk->conf.dr_cb != NULL) {
        report_failures(rk);
    }
    return 0;
}

rd_kafka_resp_err_t
rd_kafka_purge(rd_kafka_t *rk, int flags)
{
    (void)flags;
    drop_queue(rk, false);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_error_t *
rd_kafka_init_transactions(rd_kafka_t *rk, int timeout_ms)
{
    enum sim_point point = rk->fence ? SIM_P_FENCE : SIM_P_INIT;
    sim_effect(point, false);
    if (sim_now_us < sim_away_until_us) {
        sim_sleep_us((int64_t)timeout_ms * 1000);
        return sim_error(RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    bool lost = sim_chance(sim_odds.init_fail);
    if (!lost || sim_rnd(2) == 0) {
        rk->epoch = sim_txn_init(rk->txn);
        rk->fatal = false;
    }
    sim_effect(point, true);
    if (lost) {
        sim_sleep_us(TIME_OUT_US);
        return sim_error(RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    return NULL;
}

rd_kafka_error_t *
rd_kafka_begin_transaction(rd_kafka_t *rk)
{
    enum sim_point point = rk->checkpoints ? SIM_P_C_BEGIN : SIM_P_BEGIN;
    sim_effect(point, false);
    if (rk->fatal) {
        return sim_error(RD_KAFKA_RESP_ERR__FENCED);
    }
    rk->place = false;
    sim_effect(point, true);
    return NULL;
}

static struct upt_str
own_copy(const void *p, size_t len)
{
    if (p == NULL) {
        return UPT_STR_NULL;
    }
    char *copy = malloc(len + 1);
    memcpy(copy, p, len);
    return (struct upt_str){.p = copy, .len = (uint32_t)len};
}

static bool
read_arguments(struct sim_local *local, const rd_kafka_vu_t *vus, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        switch (vus[i].vtype) {
        case RD_KAFKA_VTYPE_TOPIC:
            local->topic = sim_topic_of(vus[i].u.cstr);
            break;
        case RD_KAFKA_VTYPE_PARTITION:
            local->part = vus[i].u.i32 < 0 ? 0 : vus[i].u.i32;
            break;
        case RD_KAFKA_VTYPE_MSGFLAGS:
            break;
        case RD_KAFKA_VTYPE_KEY:
            local->rec.key = own_copy(vus[i].u.mem.ptr, vus[i].u.mem.size);
            break;
        case RD_KAFKA_VTYPE_VALUE:
            local->rec.value = own_copy(vus[i].u.mem.ptr, vus[i].u.mem.size);
            break;
        case RD_KAFKA_VTYPE_HEADERS:
            local->headers = vus[i].u.headers;
            break;
        default:
            return false;
        }
    }
    return true;
}

rd_kafka_error_t *
rd_kafka_produceva(rd_kafka_t *rk, const rd_kafka_vu_t *vus, size_t n)
{
    if (sim_chance(sim_odds.init_fail / 4)) {
        return sim_error(RD_KAFKA_RESP_ERR__QUEUE_FULL);
    }
    struct sim_local *local = calloc(1, sizeof(*local));
    if (!read_arguments(local, vus, n) || rk->fatal) {
        free(local);
        return sim_error(RD_KAFKA_RESP_ERR__FENCED);
    }
    if (local->headers != NULL) {
        local->rec.headers = local->headers->v;
        local->rec.headers_n = local->headers->n;
    }
    rk->place = rk->place || sim_check_new_place(local->topic, local->part, &local->rec);
    *rk->queue_tail = local;
    rk->queue_tail = &local->next;
    enum sim_point point = rk->checkpoints ? SIM_P_C_PRODUCE : SIM_P_PRODUCE;
    sim_effect(point, false);
    if (sim_rnd(2) == 0) {
        deliver(rk);
    }
    sim_effect(point, true);
    return NULL;
}

rd_kafka_resp_err_t
rd_kafka_flush(rd_kafka_t *rk, int timeout_ms)
{
    enum sim_point point = rk->checkpoints ? SIM_P_C_FLUSH : SIM_P_FLUSH;
    (void)timeout_ms;
    sim_effect(point, false);
    if (sim_chance(sim_odds.deliver_fail)) {
        rk->failed++; /* of these records, or of one sent before */
        drop_queue(rk, true);
    } else {
        deliver(rk);
    }
    sim_effect(point, true);
    report_failures(rk);
    return RD_KAFKA_RESP_ERR_NO_ERROR; /* also when deliveries failed */
}

static void
count_endtxn(rd_kafka_t *rk)
{
    (void)rk->request_sent(rk, 0, "", 0, API_KEY_END_TXN, 0, 0, 0, rk->request_sent_opaque);
}

/* Most come while the next transaction is open. */
static int64_t
late_us(void)
{
    return sim_now_us + (int64_t)sim_rnd(sim_rnd(3) > 0 ? 40000 : 600000);
}

/* Commit or abort: answered, or not; carried out, or later, or not; asked for twice, of which one comes late. */
static rd_kafka_error_t *
end_transaction(rd_kafka_t *rk, bool commit, enum sim_point point)
{
    sim_effect(point, false);
    if (commit) {
        deliver(rk);
    } else {
        drop_queue(rk, false);
    }
    if (!sim_txn_is_mine(rk->txn, rk->epoch)) {
        rk->fatal = true;
        return sim_error(RD_KAFKA_RESP_ERR__FENCED);
    }
    if (!sim_txn_is_open(rk->txn)) {
        sim_effect(point, true);
        return NULL;
    }
    count_endtxn(rk);
    if (sim_chance(sim_odds.lose_reply)) {
        bool late = sim_chance(sim_odds.late_endtxn);
        if (late) {
            sim_txn_end_later(rk->txn, rk->epoch, commit, late_us());
        } else if (sim_rnd(2) == 0) {
            sim_txn_end(rk->txn, rk->epoch, commit);
        }
        sim_effect(point, true);
        sim_sleep_us(TIME_OUT_US);
        return sim_error(RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    if (sim_chance(sim_odds.twice)) {
        count_endtxn(rk);
        sim_txn_end_later(rk->txn, rk->epoch, commit, late_us());
    }
    sim_txn_end(rk->txn, rk->epoch, commit);
    sim_effect(point, true);
    return NULL;
}

rd_kafka_error_t *
rd_kafka_commit_transaction(rd_kafka_t *rk, int timeout_ms)
{
    (void)timeout_ms;
    return end_transaction(rk, true, rk->checkpoints ? SIM_P_C_COMMIT : rk->place ? SIM_P_PLACE : SIM_P_COMMIT);
}

rd_kafka_error_t *
rd_kafka_abort_transaction(rd_kafka_t *rk, int timeout_ms)
{
    (void)timeout_ms;
    return end_transaction(rk, false, rk->checkpoints ? SIM_P_C_ABORT : SIM_P_ABORT);
}
