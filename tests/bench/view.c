/* What a row costs on its way from the state to Redis.
 *
 *     bench_view [ROWS [PORT]]      default 200,000 rows, a redis-server of its own
 *
 * Quantity: processor time for each account row of the lane's thread (taking it from the state; pushing it), of the
 * view's thread (all of it, replies included) and of Redis, as it says itself, and bytes and commands that Redis was
 * sent for it; first for rows of which only what changed is written, 20,000 accounts by Zipf (s = 1) with 10 users and
 * 50 features, four events a row, 10,000 events a second of the log's clock; then for whole rows. Beside them what
 * Redis takes for a plain pipeline of HSETs, without any guard, into copies of the rows and of their hashes of
 * features: of the twelve fields that change with every event, and of one feature with as many of the rows as had one
 * before. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "aggregate/state/state.h"
#include "tests/unit/view/redis_server.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define START INT64_C(1767225600000)
#define ACCOUNTS 20000
#define USERS 10
#define FEATURES 50
#define RATE 10000 /* events a second of the log's clock */
#define WARM 40    /* events an account before anything is measured */
#define ROUND 5000 /* rows of a flush, about */
#define FEATURES_MAX 1024

struct cost {
    double lane, view, redis; /* ns */
    uint64_t bytes, commands, rows;
};

struct bench {
    struct redis_server server;
    struct upt_view *view;
    struct upt_state *st;
    int64_t offset;
    uint64_t flushes;
};

static struct upt_metrics metrics, view_metrics;
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
cpu_ns(clockid_t id)
{
    struct timespec t;
    upt_assert(clock_gettime(id, &t) == 0);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double
info(struct bench *bench, const char *section, const char *name)
{
    const char *text = redis_server_ask(&bench->server, "INFO %s", section);
    const char *at = strstr(text, name);
    upt_assert(at != NULL);
    return strtod(at + strlen(name) + 1, NULL);
}

static double
redis_ns(struct bench *bench)
{
    return (info(bench, "cpu", "used_cpu_user") + info(bench, "cpu", "used_cpu_sys")) * 1e9;
}

static void
apply(struct bench *bench, unsigned account)
{
    char text[3][32];
    int n[3] = {snprintf(text[0], sizeof(text[0]), "account-%07u", account),
                snprintf(text[1], sizeof(text[1]), "user-%04u", zipf(USERS)),
                snprintf(text[2], sizeof(text[2]), "feature-%u", zipf(FEATURES))};
    bool login = rnd() % 10 == 0;
    int64_t ts = START + bench->offset * 1000 / RATE;
    const struct upt_event event = {
        .account_id = {.p = text[0], .len = (uint32_t)n[0]},
        .user_id = {.p = text[1], .len = (uint32_t)n[1]},
        .feature = login ? UPT_STR_NULL : (struct upt_str){.p = text[2], .len = (uint32_t)n[2]},
        .kind = login ? UPT_KIND_LOGIN : UPT_KIND_USAGE,
        .quantity = (double)(1 + rnd() % 40) / 4,
        .occurred_at = ts,
    };
    upt_state_begin(bench->st, bench->offset++, ts);
    upt_assert(upt_state_judge(bench->st, &event, ts) == UPT_REASON_NONE);
    (void)upt_state_apply(bench->st, event.account_id, &event);
}

static void
wait_stored(struct bench *bench)
{
    while (upt_view_stored(bench->view, 0) < bench->flushes) {
        upt_sleep_ms(1);
    }
}

/* All rows that changed, as a lane pushes them. */
static void
flush(struct bench *bench, struct cost *cost)
{
    static struct upt_feature_days days[FEATURES_MAX];
    struct upt_account *acct;
    double redis = redis_ns(bench);
    double bytes = info(bench, "stats", "total_net_input_bytes");
    double commands = info(bench, "stats", "total_commands_processed");
    double began = cpu_ns(CLOCK_THREAD_CPUTIME_ID), all = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
    upt_state_rows_due(bench->st, SIZE_MAX);
    while (upt_state_next_dirty(bench->st, &acct)) {
        struct upt_row row;
        upt_state_row(bench->st, acct, &row);
        size_t n = upt_state_row_features(bench->st, acct, days, FEATURES_MAX);
        row.changed = upt_state_row_changed(acct, &row, n);
        while (!upt_view_push_row(bench->view, &row, days, n)) {
            upt_sleep_ms(1);
        }
        cost->rows++;
    }
    cost->lane += cpu_ns(CLOCK_THREAD_CPUTIME_ID) - began;
    const struct upt_view_flush end = {
        .pos = upt_state_pos(bench->st), .as_of = START, .end_offset = -1, .number = ++bench->flushes};
    upt_assert(upt_view_push_flush(bench->view, &end));
    wait_stored(bench);
    double mine = cpu_ns(CLOCK_THREAD_CPUTIME_ID) - began;
    cost->view += cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - all - mine;
    cost->redis += redis_ns(bench) - redis;
    cost->bytes += (uint64_t)(info(bench, "stats", "total_net_input_bytes") - bytes);
    cost->commands += (uint64_t)(info(bench, "stats", "total_commands_processed") - commands);
}

static void
report(const char *what, const struct cost *cost)
{
    double rows = (double)cost->rows;
    printf("%s: %" PRIu64 " rows, each: lane %.0f, view %.0f, Redis %.0f ns; %.0f bytes in %.2f commands\n", what,
           cost->rows, cost->lane / rows, cost->view / rows, cost->redis / rows, (double)cost->bytes / rows,
           (double)cost->commands / rows);
    (void)fflush(stdout);
}

static struct cost
rows_changed(struct bench *bench, uint64_t rows)
{
    struct cost cost = {0};
    while (cost.rows < rows) {
        for (unsigned i = 0; i < ROUND * 4; i++) {
            apply(bench, zipf(ACCOUNTS));
        }
        flush(bench, &cost);
    }
    report("changed", &cost);
    return cost;
}

static void
rows_whole(struct bench *bench, uint64_t rows)
{
    struct cost cost = {0};
    while (cost.rows < rows) {
        apply(bench, zipf(ACCOUNTS));
        upt_state_mark_all_dirty(bench->st);
        flush(bench, &cost);
    }
    report("whole", &cost);
}

/* The reply to each of n commands. */
static void
take_replies(redisContext *redis, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        void *reply = NULL;
        upt_assert(redisGetReply(redis, &reply) == REDIS_OK);
        freeReplyObject(reply);
    }
}

static void
copy_rows(redisContext *redis)
{
    for (unsigned account = 0; account < ACCOUNTS; account += 1000) {
        for (unsigned i = 0; i < 1000; i++) {
            static const char *const kinds[] = {"", ":features"};
            for (unsigned k = 0; k < 2; k++) {
                upt_assert(redisAppendCommand(redis,
                                              "COPY uptake:account:{account-%07u}%s plain:account:{account-%07u}%s",
                                              account + i, kinds[k], account + i, kinds[k]) == REDIS_OK);
            }
        }
        take_replies(redis, 2000);
    }
}

static void
append_plain(redisContext *redis, unsigned account, uint64_t done)
{
    static const char *const names[] = {"events_1h", "units_1h", "events_24h", "units_24h",
                                        "events_7d", "units_7d", "events_30d", "units_30d",
                                        "as_of",     "offset",   "last_seen",  "next_change"};
    char text[1024], key[64];
    int len = snprintf(key, sizeof(key), "plain:account:{account-%07u}", account);
    int n = snprintf(text, sizeof(text), "*26\r\n$4\r\nHSET\r\n$%d\r\n%s\r\n", len, key);
    for (unsigned f = 0; f < 12; f++) {
        char value[32];
        len = f >= 8       ? snprintf(value, sizeof(value), "%" PRId64, START + (int64_t)done)
              : f % 2 == 0 ? snprintf(value, sizeof(value), "%d", (int)(rnd() % 500))
                           : snprintf(value, sizeof(value), "%d.25", (int)(rnd() % 5000));
        n += snprintf(text + n, sizeof(text) - (size_t)n, "$%zu\r\n%s\r\n$%d\r\n%s\r\n", strlen(names[f]), names[f],
                      len, value);
    }
    upt_assert(redisAppendFormattedCommand(redis, text, (size_t)n) == REDIS_OK);
}

/* changed: what the rows before took. */
static void
plain(struct bench *bench, uint64_t rows, const struct cost *changed)
{
    redisContext *redis = bench->server.client;
    double more = (double)changed->commands / (double)changed->rows - 1.0;
    copy_rows(redis);
    double before = redis_ns(bench);
    for (uint64_t done = 0; done < rows; done += 1000) {
        unsigned n = 1000;
        for (unsigned i = 0; i < 1000; i++) {
            unsigned account = zipf(ACCOUNTS);
            append_plain(redis, account, done);
            if ((double)(rnd() % 1000) < more * 1000) {
                upt_assert(redisAppendCommand(redis, "HSET plain:account:{account-%07u}:features feature-%u 1", account,
                                              zipf(FEATURES)) == REDIS_OK);
                n++;
            }
        }
        take_replies(redis, n);
    }
    double took = (redis_ns(bench) - before) / (double)rows;
    printf("plain: HSET of twelve fields, and of a feature in %.2f of the rows: Redis %.0f ns; what changed takes %.2f "
           "times as much\n",
           more, took, changed->redis / (double)changed->rows / took);
}

int
main(int argc, char **argv)
{
    uint64_t rows = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
    struct bench bench = {0};
    if (argc > 2) {
        bench.server.port = (int)strtol(argv[2], NULL, 10);
        snprintf(bench.server.url, sizeof(bench.server.url), "redis://127.0.0.1:%d", bench.server.port);
        bench.server.client = redisConnect("127.0.0.1", bench.server.port);
    } else {
        upt_assert(redis_server_start(&bench.server));
    }
    const struct upt_state_config config = {.max_future_ms = 5 * UPT_MINUTE_MS,
                                            .dedup_window_ms = 10 * UPT_MINUTE_MS,
                                            .retention_ms = 400 * UPT_DAY_MS,
                                            .adopted_days = 3,
                                            .metrics = &metrics};
    const struct upt_view_config view = {.url = bench.server.url,
                                         .prefix = "uptake:",
                                         .owner = "bench",
                                         .timeout_ms = 5000,
                                         .flush_interval_ms = 1000,
                                         .repair_interval_ms = 600000,
                                         .metrics = &view_metrics};
    struct upt_pos floor;
    upt_assert(upt_state_create(&config, &bench.st, NULL) == UPT_OK);
    upt_assert(upt_view_create(&view, &bench.view, NULL) == UPT_OK);
    upt_view_own(bench.view, 0, 1);
    while (!upt_view_floor(bench.view, 0, &floor)) {
        upt_sleep_ms(1);
    }
    for (unsigned i = 0; i < ACCOUNTS * WARM; i++) {
        apply(&bench, i % 2 == 0 ? i / 2 % ACCOUNTS : zipf(ACCOUNTS));
    }
    struct cost first = {0};
    flush(&bench, &first);
    report("new", &first);
    const struct cost changed = rows_changed(&bench, rows);
    plain(&bench, rows, &changed);
    rows_whole(&bench, rows);
    upt_view_destroy(&bench.view);
    upt_state_destroy(&bench.st);
    if (argc > 2) {
        redisFree(bench.server.client);
    } else {
        redis_server_end(&bench.server);
    }
    return 0;
}
