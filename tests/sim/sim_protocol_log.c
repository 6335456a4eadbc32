/* Kafka's logs and its transaction coordinator. See sim_protocol.h.
 *
 * As in Kafka: a record of an open transaction lies in the log and holds up the last stable offset; the end of a
 * transaction takes an offset of its own in each partition; an EndTxn request ends whatever transaction its epoch has
 * open when it arrives; init_transactions ends what is open and refuses all requests of former epochs. */
#include <string.h>

#include "sim_protocol_check.h"
#include "sim_protocol_kafka.h"
#include "uptake/assert.h"

#define TXNS 16
#define TXN_RECORDS 4096
#define TXN_TIMEOUT_US INT64_C(60000000)

struct ref {
    enum sim_topic topic;
    int part;
    size_t at;
};

struct txn {
    char id[64];
    int epoch;
    bool open;
    int64_t begun_us;
    struct ref *refs;
    size_t refs_n;
    struct sim_offset offsets[SIM_PARTS];
    bool late, late_commit;
    int late_epoch;
    int64_t late_us;
};

struct sim_log sim_logs[SIM_T_COUNT][SIM_PARTS];
int sim_parts;
int64_t sim_away_until_us;
static struct txn txns[TXNS];
static int txns_n;
static struct sim_offset offsets[SIM_PARTS];

enum sim_topic
sim_topic_of(const char *name)
{
    static const char *const names[SIM_T_COUNT] = {"usage-events", "uptake-state", "churn-alerts", "account-health",
                                                   "usage-events-dead"};
    for (int i = 0; i < SIM_T_COUNT; i++) {
        if (strcmp(name, names[i]) == 0) {
            return (enum sim_topic)i;
        }
    }
    sim_fail("there is no topic %s", name);
}

void
sim_kafka_reset(int parts)
{
    memset(sim_logs, 0, sizeof(sim_logs));
    memset(txns, 0, sizeof(txns));
    memset(offsets, 0, sizeof(offsets));
    txns_n = 0;
    sim_away_until_us = 0;
    sim_parts = parts;
    sim_group_reset();
}

struct upt_str
sim_copy(struct upt_str s)
{
    if (s.p == NULL) {
        return s;
    }
    char *p = sim_alloc((size_t)s.len + 1);
    if (s.len > 0) {
        memcpy(p, s.p, s.len);
    }
    return (struct upt_str){.p = p, .len = s.len};
}

/* ---- logs ---- */

struct sim_rec *
sim_log_append(enum sim_topic topic, int part, const struct sim_rec *rec)
{
    struct sim_log *log = &sim_logs[topic][part];
    if (log->n == log->cap) {
        size_t cap = log->cap == 0 ? 256 : log->cap * 2;
        struct sim_rec *grown = sim_alloc(cap * sizeof(*grown));
        if (log->n > 0) {
            memcpy(grown, log->v, log->n * sizeof(*grown));
        }
        log->v = grown;
        log->cap = cap;
    }
    struct sim_rec *to = &log->v[log->n++];
    *to = *rec;
    to->key = sim_copy(rec->key);
    to->value = sim_copy(rec->value);
    struct sim_header *headers = sim_alloc((rec->headers_n + 1) * sizeof(*headers));
    for (size_t i = 0; i < rec->headers_n; i++) {
        headers[i].name = sim_copy(rec->headers[i].name);
        headers[i].value = sim_copy(rec->headers[i].value);
    }
    to->headers = headers;
    if (topic != SIM_T_INPUT) {
        to->offset = log->end;
    }
    log->end = to->offset + 1;
    return to;
}

int64_t
sim_log_stable(enum sim_topic topic, int part)
{
    int64_t stable = sim_logs[topic][part].end;
    for (int i = 0; i < txns_n; i++) {
        for (size_t k = 0; txns[i].open && k < txns[i].refs_n; k++) {
            const struct ref *ref = &txns[i].refs[k];
            if (ref->topic == topic && ref->part == part) {
                int64_t offset = sim_logs[topic][part].v[ref->at].offset;
                stable = offset < stable ? offset : stable;
                break;
            }
        }
    }
    return stable;
}

const struct sim_rec *
sim_log_next(enum sim_topic topic, int part, int64_t offset, bool committed_only)
{
    const struct sim_log *log = &sim_logs[topic][part];
    int64_t end = committed_only ? sim_log_stable(topic, part) : log->end;
    size_t low = 0, high = log->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (log->v[mid].offset < offset) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    for (; low < log->n && log->v[low].offset < end; low++) {
        const struct sim_rec *rec = &log->v[low];
        if (!rec->gone && rec->state != SIM_CONTROL && (!committed_only || rec->state == SIM_COMMITTED)) {
            return rec;
        }
    }
    return NULL;
}

void
sim_log_compact(int part)
{
    struct sim_log *log = &sim_logs[SIM_T_STATE][part];
    int64_t stable = sim_log_stable(SIM_T_STATE, part);
    for (size_t i = 0; i < log->n; i++) {
        struct sim_rec *rec = &log->v[i];
        if (rec->offset >= stable || rec->gone) {
            continue;
        }
        rec->gone = rec->state == SIM_ABORTED;
        for (size_t k = i + 1; k < log->n && !rec->gone && rec->state == SIM_COMMITTED; k++) {
            const struct sim_rec *later = &log->v[k];
            rec->gone = later->offset < stable && later->state == SIM_COMMITTED && upt_str_eq(rec->key, later->key);
        }
    }
}

/* ---- transactions ---- */

int
sim_txn_of(const char *id)
{
    for (int i = 0; i < txns_n; i++) {
        if (strcmp(txns[i].id, id) == 0) {
            return i;
        }
    }
    upt_assert(txns_n < TXNS && strlen(id) < sizeof(txns[0].id));
    memcpy(txns[txns_n].id, id, strlen(id));
    txns[txns_n].refs = sim_alloc(TXN_RECORDS * sizeof(struct ref));
    return txns_n++;
}

static void
end_txn(struct txn *txn, bool commit)
{
    bool touched[SIM_T_COUNT][SIM_PARTS] = {{false}};
    for (size_t i = 0; i < txn->refs_n; i++) {
        const struct ref *ref = &txn->refs[i];
        struct sim_rec *rec = &sim_logs[ref->topic][ref->part].v[ref->at];
        rec->state = commit ? SIM_COMMITTED : SIM_ABORTED;
        touched[ref->topic][ref->part] = true;
        if (commit) {
            sim_check_committed(ref->topic, ref->part, rec);
        }
    }
    for (int t = 0; t < SIM_T_COUNT; t++) {
        for (int p = 0; p < SIM_PARTS; p++) {
            if (touched[t][p]) {
                (void)sim_log_append((enum sim_topic)t, p, &(struct sim_rec){.state = SIM_CONTROL});
            }
        }
    }
    for (int p = 0; p < SIM_PARTS; p++) {
        if (txn->offsets[p].set && commit) {
            offsets[p] = txn->offsets[p];
        }
        txn->offsets[p].set = false;
    }
    txn->open = false;
    txn->refs_n = 0;
}

int
sim_txn_init(int at)
{
    struct txn *txn = &txns[at];
    if (txn->open) {
        end_txn(txn, false);
    }
    return ++txn->epoch;
}

static struct txn *
open_txn(int at, int epoch)
{
    struct txn *txn = &txns[at];
    if (txn->epoch != epoch) {
        return NULL;
    }
    if (!txn->open) {
        txn->open = true;
        txn->begun_us = sim_now_us;
    }
    return txn;
}

bool
sim_txn_append(int at, int epoch, enum sim_topic topic, int part, const struct sim_rec *rec)
{
    struct txn *txn = open_txn(at, epoch);
    if (txn == NULL) {
        return false;
    }
    upt_assert(txn->refs_n < TXN_RECORDS);
    (void)sim_log_append(topic, part, rec);
    txn->refs[txn->refs_n++] = (struct ref){.topic = topic, .part = part, .at = sim_logs[topic][part].n - 1};
    return true;
}

bool
sim_txn_offset(int at, int epoch, int part, int64_t offset, struct upt_str metadata)
{
    struct txn *txn = open_txn(at, epoch);
    if (txn == NULL) {
        return false;
    }
    txn->offsets[part] = (struct sim_offset){.set = true, .offset = offset, .metadata = sim_copy(metadata)};
    return true;
}

bool
sim_txn_is_open(int at)
{
    return txns[at].open;
}

bool
sim_txn_is_mine(int at, int epoch)
{
    return txns[at].epoch == epoch;
}

void
sim_txn_end(int at, int epoch, bool commit)
{
    struct txn *txn = &txns[at];
    if (txn->epoch == epoch && txn->open) {
        end_txn(txn, commit);
    }
}

void
sim_txn_end_later(int at, int epoch, bool commit, int64_t at_us)
{
    struct txn *txn = &txns[at];
    txn->late = true;
    txn->late_commit = commit;
    txn->late_epoch = epoch;
    txn->late_us = at_us;
}

void
sim_txn_tick(void)
{
    for (int i = 0; i < txns_n; i++) {
        struct txn *txn = &txns[i];
        if (txn->late && sim_now_us >= txn->late_us) {
            txn->late = false;
            sim_note("a late EndTxn of %s, epoch %d, %s", txn->id, txn->late_epoch,
                     txn->epoch != txn->late_epoch ? "is refused"
                     : txn->open                   ? "ends a transaction"
                                                   : "finds none");
            sim_txn_end(i, txn->late_epoch, txn->late_commit);
        }
        if (txn->open && sim_now_us - txn->begun_us > TXN_TIMEOUT_US) {
            (void)sim_txn_init(i);
        }
    }
}

struct sim_offset
sim_offset_of(int part)
{
    struct sim_offset got = offsets[part];
    for (int i = 0; i < txns_n; i++) {
        got.pending = got.pending || (txns[i].open && txns[i].offsets[part].set);
    }
    return got;
}
