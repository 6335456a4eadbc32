/* What each stage of the pipeline costs alone, on records like bench_load's, one partition.
 *
 *     bench_stages EVENTS ACCOUNTS REGISTRY_URL SCHEMA_ID REDIS_URL BOOTSTRAP TOPIC [LAST]
 *
 * Everything is made beforehand; then, each stage to its end before the next:
 *   decode      frame, schema by id, Avro, text and key checked (the events are copied for the next stage)
 *   update      32 at a time with the lane's hints: clock and ticks, verdict, windows, users, deduplication, scores
 *   rows        after every FLUSH events: rows of all that changed, through the view into Redis (both threads, replies)
 *   checkpoint  the whole state encoded, as the first checkpoint of a run is
 *   publish     those records to Kafka in one transaction, librdkafka's threads included
 * LAST ends with that stage, "make" before the first: under callgrind the differences are the stages' instructions.
 * Quantity: processor time of the process. Prints JSON: nanoseconds in all of each stage, rows, checkpoint bytes. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

#include "aggregate/score/score.h"
#include "aggregate/state/state.h"
#include "aggregate/view/view.h"
#include "ingest/avro/decoder.h"
#include "ingest/avro/encoder.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define USERS 10
#define FEATURES 50
#define RATE 10000 /* events a second of the log's clock */
#define FLUSH 400000
#define BATCH 32
#define DAYS_MAX 1024

enum stage { MAKE, DECODE, UPDATE, ROWS, CHECKPOINT, PUBLISH, STAGES };
static const char *const stage_names[STAGES] = {"make", "decode", "update", "rows", "checkpoint", "publish"};

struct made {
    struct upt_str key, value;
    int64_t ts;
};

struct bench {
    char **args;
    enum stage last;
    size_t n;
    unsigned accounts;
    struct upt_buf bytes;
    struct made *log;
    uint64_t flushes;
    struct upt_event *events;
    struct upt_metrics metrics, view_metrics, registry_metrics;
    struct upt_state *st;
    struct upt_score *score;
    struct upt_view *view;
    struct upt_buf saved; /* checkpoint: lengths of key and value, then both, again and again */
    uint64_t rows;
    double ns[STAGES];
};

static uint64_t rng = UINT64_C(88172645463325252);

static uint64_t
rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
}

/* Zipf with s = 1 by inversion of the continuous law, close enough for load. */
static unsigned
zipf(unsigned n)
{
    double u = (double)(rnd() >> 11) / 9007199254740992.0;
    return (unsigned)(exp(u * log((double)n + 1.0)) - 1.0);
}

static double
cpu_ns(void)
{
    struct timespec t;
    upt_assert(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- make ---- */

static void
make_one(struct bench *b, int64_t ts, int32_t schema_id)
{
    char id[48], account[32], user[32], feature[32];
    uint64_t x = rnd(), y = rnd();
    (void)snprintf(id, sizeof(id), "%08x-%04x-4%03x-a%03x-%012" PRIx64, (unsigned)(x >> 32),
                   (unsigned)(x >> 16) & 0xFFFF, (unsigned)x & 0xFFF, (unsigned)(y >> 52),
                   y & UINT64_C(0xFFFFFFFFFFFF));
    (void)snprintf(account, sizeof(account), "account-%06u", zipf(b->accounts));
    (void)snprintf(user, sizeof(user), "user-%04u", zipf(USERS));
    (void)snprintf(feature, sizeof(feature), "feature-%u", zipf(FEATURES));
    bool login = rnd() % 10 == 0;
    const struct upt_event ev = {.event_id = upt_str_of(id),
                                 .occurred_at = ts - (int64_t)(rnd() % 5000),
                                 .account_id = upt_str_of(account),
                                 .user_id = upt_str_of(user),
                                 .kind = login ? UPT_KIND_LOGIN : UPT_KIND_USAGE,
                                 .feature = login ? UPT_STR_NULL : upt_str_of(feature),
                                 .quantity = (double)(1 + rnd() % 40) / 4,
                                 .duration_ms = (int64_t)(rnd() % 60000),
                                 .has_duration = true};
    upt_buf_put(&b->bytes, account, strlen(account));
    upt_encode_event(&b->bytes, schema_id, &ev, NULL, 0);
}

static void
make(struct bench *b)
{
    int32_t schema_id = (int32_t)strtol(b->args[4], NULL, 10);
    int64_t first = upt_wall_ms() - (int64_t)b->n * 1000 / RATE;
    size_t *at = calloc(b->n + 1, sizeof(*at));
    b->log = calloc(b->n, sizeof(*b->log));
    b->events = calloc(b->n, sizeof(*b->events));
    upt_assert(at != NULL && b->log != NULL && b->events != NULL);
    for (size_t i = 0; i < b->n; i++) {
        b->log[i].ts = first + (int64_t)i * 1000 / RATE;
        make_one(b, b->log[i].ts, schema_id);
        at[i + 1] = b->bytes.len;
    }
    for (size_t i = 0; i < b->n; i++) {
        const char *p = b->bytes.p + at[i];
        size_t key = sizeof("account-000000") - 1;
        b->log[i].key = (struct upt_str){.p = p, .len = (uint32_t)key};
        b->log[i].value = (struct upt_str){.p = p + key, .len = (uint32_t)(at[i + 1] - at[i] - key)};
    }
    free(at);
}

/* ---- decode ---- */

static void
decode(struct bench *b)
{
    const struct upt_registry_config where = {
        .urls = b->args[3], .timeout_ms = 5000, .negative_ttl_ms = 1000, .metrics = &b->registry_metrics};
    struct upt_registry *registry = NULL;
    struct upt_decoder *dec = NULL;
    struct upt_decoded got;
    upt_assert(upt_registry_create(&where, &registry, NULL) == UPT_OK);
    const struct upt_decoder_config config = {
        .framed = true, .registry = registry, .max_record_bytes = 1 << 20, .max_batch_events = 10000, .max_depth = 32};
    upt_assert(upt_decoder_create(&config, &dec, NULL) == UPT_OK);
    while (upt_decoder_decode(dec, b->log[0].key, b->log[0].value, &got, NULL) != UPT_OK) {
        upt_sleep_ms(10);
    }
    double began = cpu_ns();
    for (size_t i = 0; i < b->n; i++) {
        upt_status status = upt_decoder_decode(dec, b->log[i].key, b->log[i].value, &got, NULL);
        upt_assert(status == UPT_OK && got.events_n == 1);
        b->events[i] = got.events[0];
    }
    b->ns[DECODE] = cpu_ns() - began;
    upt_decoder_destroy(&dec);
    upt_registry_destroy(&registry);
}

/* ---- update ---- */

static void
on_alert(void *ctx, const struct upt_alert *alert)
{
    (void)ctx;
    (void)alert;
}

static void
on_health(void *ctx, const struct upt_health *health)
{
    (void)ctx;
    (void)health;
}

static void
on_health_null(void *ctx, struct upt_str account)
{
    (void)ctx;
    (void)account;
}

static void
open_state(struct bench *b)
{
    static const struct upt_sink sink = {.alert = on_alert, .health = on_health, .health_null = on_health_null};
    struct upt_model *model = NULL;
    struct upt_rules *rules = NULL;
    upt_assert(upt_model_load(NULL, &model, NULL) == UPT_OK && upt_rules_load(NULL, &rules, NULL) == UPT_OK);
    upt_assert(upt_score_create(model, rules, "0000000000000000", &sink, &b->score, NULL) == UPT_OK);
    const struct upt_state_config config = {.max_future_ms = 5 * UPT_MINUTE_MS,
                                            .dedup_window_ms = 10 * UPT_MINUTE_MS,
                                            .retention_ms = 400 * UPT_DAY_MS,
                                            .adopted_days = 3,
                                            .observer = &upt_score_observer,
                                            .observer_ctx = b->score,
                                            .metrics = &b->metrics};
    upt_assert(upt_state_create(&config, &b->st, NULL) == UPT_OK);
}

static void
update(struct bench *b, size_t from, size_t n)
{
    uint64_t hash[BATCH];
    struct upt_hint hints[BATCH];
    for (size_t i = 0; i < n; i++) {
        hash[i] = upt_hash(b->log[from + i].key.p, b->log[from + i].key.len);
        upt_state_prefetch_slot(b->st, hash[i]);
    }
    for (size_t i = 0; i < n; i++) {
        upt_state_prefetch_account(b->st, hash[i], &hints[i]);
    }
    for (size_t i = 0; i < n; i++) {
        upt_state_prefetch_parts(b->st, &hints[i], &b->events[from + i]);
    }
    for (size_t i = 0; i < n; i++) {
        upt_state_prefetch_event(&hints[i], &b->events[from + i]);
    }
    for (size_t i = 0; i < n; i++) {
        const struct made *made = &b->log[from + i];
        const struct upt_event *ev = &b->events[from + i];
        upt_state_begin(b->st, (int64_t)(from + i), made->ts);
        upt_assert(upt_state_judge(b->st, ev, made->ts) == UPT_REASON_NONE);
        (void)upt_state_apply_hinted(b->st, made->key, ev, &hints[i]);
    }
}

/* ---- rows ---- */

static void
open_view(struct bench *b)
{
    const struct upt_view_config config = {.url = b->args[5],
                                           .prefix = "stages:",
                                           .owner = "bench",
                                           .timeout_ms = 60000,
                                           .flush_interval_ms = 1000,
                                           .repair_interval_ms = 600000,
                                           .metrics = &b->view_metrics};
    struct upt_pos floor;
    upt_assert(upt_view_create(&config, &b->view, NULL) == UPT_OK);
    upt_view_own(b->view, 0, 1);
    while (!upt_view_floor(b->view, 0, &floor)) {
        upt_sleep_ms(1);
    }
}

static void
push(bool pushed)
{
    upt_assert(pushed);
}

static void
rows(struct bench *b)
{
    static struct upt_feature_days days[DAYS_MAX];
    struct upt_account *acct;
    struct upt_feature_row feature;
    struct upt_totals_row totals;
    upt_state_rows_due(b->st, SIZE_MAX);
    while (upt_state_next_dirty(b->st, &acct)) {
        struct upt_row row;
        upt_state_row(b->st, acct, &row);
        size_t n = upt_state_row_features(b->st, acct, days, DAYS_MAX);
        row.changed = upt_state_row_changed(acct, &row, n);
        while (!upt_view_push_row(b->view, &row, days, n)) {
            upt_sleep_ms(1);
        }
        b->rows++;
    }
    while (!upt_view_has_room(b->view)) {
        upt_sleep_ms(1);
    }
    while (upt_state_next_dirty_feature(b->st, &feature)) {
        push(upt_view_push_feature(b->view, &feature));
    }
    if (upt_state_dirty_totals(b->st, &totals)) {
        push(upt_view_push_totals(b->view, &totals));
    }
    const struct upt_view_flush end = {.pos = upt_state_pos(b->st),
                                       .as_of = upt_state_clock(b->st),
                                       .end_offset = -1,
                                       .wall_ms = upt_wall_ms(),
                                       .number = ++b->flushes};
    push(upt_view_push_flush(b->view, &end));
    while (upt_view_stored(b->view, 0) < b->flushes) {
        upt_sleep_ms(1);
    }
}

static void
update_all(struct bench *b)
{
    open_state(b);
    if (b->last >= ROWS) {
        open_view(b);
    }
    for (size_t from = 0; from < b->n;) {
        double began = cpu_ns();
        size_t until = b->n - from < FLUSH ? b->n : from + FLUSH;
        for (; from < until; from += BATCH) {
            update(b, from, until - from < BATCH ? until - from : BATCH);
        }
        from = until;
        b->ns[UPDATE] += cpu_ns() - began;
        if (b->last >= ROWS) {
            began = cpu_ns();
            rows(b);
            b->ns[ROWS] += cpu_ns() - began;
        }
    }
}

/* ---- checkpoint, publish ---- */

static void
checkpoint(struct bench *b)
{
    struct upt_buf key = {0}, value = {0};
    double began = cpu_ns();
    upt_state_snapshot_begin(b->st, true);
    while (upt_state_snapshot_next(b->st, &key, &value)) {
        const uint32_t lens[2] = {(uint32_t)key.len, (uint32_t)value.len};
        upt_buf_put(&b->saved, (const char *)lens, sizeof(lens));
        upt_buf_put(&b->saved, key.p, key.len);
        upt_buf_put(&b->saved, value.p, value.len);
    }
    b->ns[CHECKPOINT] = cpu_ns() - began;
    upt_state_snapshot_stored(b->st);
    upt_buf_fini(&key);
    upt_buf_fini(&value);
}

/* As the publisher sets it up. */
static rd_kafka_t *
open_producer(const char *bootstrap)
{
    static const char *const props[][2] = {{"transactional.id", "bench-stages"},
                                           {"enable.idempotence", "true"},
                                           {"linger.ms", "50"},
                                           {"queue.buffering.max.messages", "200000"}};
    char why[256] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    upt_assert(rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, why, sizeof(why)) == RD_KAFKA_CONF_OK);
    for (size_t i = 0; i < sizeof(props) / sizeof(props[0]); i++) {
        upt_assert(rd_kafka_conf_set(conf, props[i][0], props[i][1], why, sizeof(why)) == RD_KAFKA_CONF_OK);
    }
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    upt_assert(rk != NULL);
    upt_assert(rd_kafka_init_transactions(rk, 30000) == NULL && rd_kafka_begin_transaction(rk) == NULL);
    return rk;
}

static void
publish(struct bench *b)
{
    rd_kafka_t *rk = open_producer(b->args[6]);
    double began = cpu_ns();
    for (size_t at = 0; at < b->saved.len;) {
        uint32_t lens[2];
        memcpy(lens, b->saved.p + at, sizeof(lens));
        at += sizeof(lens);
        char *key = b->saved.p + at;
        const rd_kafka_vu_t vus[] = {
            {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = b->args[7]},
            {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = 0},
            {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key, lens[0]}},
            {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {key + lens[0], lens[1]}},
            {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        };
        rd_kafka_error_t *error = rd_kafka_produceva(rk, vus, sizeof(vus) / sizeof(vus[0]));
        rd_kafka_resp_err_t err = rd_kafka_error_code(error);
        rd_kafka_error_destroy(error);
        if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            rd_kafka_poll(rk, 10);
            at -= sizeof(lens);
            continue;
        }
        upt_assert(err == RD_KAFKA_RESP_ERR_NO_ERROR);
        at += (size_t)lens[0] + lens[1];
    }
    upt_assert(rd_kafka_commit_transaction(rk, 60000) == NULL);
    b->ns[PUBLISH] = cpu_ns() - began;
    rd_kafka_destroy(rk);
}

int
main(int argc, char **argv)
{
    static struct bench b;
    b = (struct bench){.args = argv, .last = PUBLISH};
    if (argc != 8 && argc != 9) {
        fprintf(stderr,
                "usage: bench_stages EVENTS ACCOUNTS REGISTRY_URL SCHEMA_ID REDIS_URL BOOTSTRAP TOPIC [LAST]\n");
        return 64;
    }
    b.n = strtoull(argv[1], NULL, 10);
    b.accounts = (unsigned)strtoul(argv[2], NULL, 10);
    for (unsigned i = 0; argc == 9 && i < STAGES; i++) {
        b.last = strcmp(argv[8], stage_names[i]) == 0 ? (enum stage)i : b.last;
    }
    make(&b);
    if (b.last >= DECODE) {
        decode(&b);
    }
    if (b.last >= UPDATE) {
        update_all(&b);
    }
    if (b.last >= CHECKPOINT) {
        checkpoint(&b);
    }
    if (b.last >= PUBLISH) {
        publish(&b);
    }
    upt_view_destroy(&b.view);
    upt_state_destroy(&b.st);
    printf("{");
    for (unsigned i = DECODE; i <= b.last; i++) {
        printf("\"%s\": %.0f, ", stage_names[i], b.ns[i]);
    }
    printf("\"events\": %zu, \"row_count\": %" PRIu64 ", \"checkpoint_bytes\": %zu}\n", b.n, b.rows, b.saved.len);
    return 0;
}
