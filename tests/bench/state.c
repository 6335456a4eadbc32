/* How long counting an event takes: begin, judge and apply, on events made beforehand.
 *
 *     bench_state [EVENTS [NAME]]   default 5,000,000; NAME: only those lines
 *
 * Quantity: processor time for each event, one core, best of three rounds after one to warm up, for
 *   usage   100,000 accounts by Zipf (s = 1), 10 users and 10 features each, an event id on every event,
 *           50,000 events a second of the log's clock; rows are taken from the list of changes, not computed
 *   in batches   the same, 32 at a time, with the hints that a lane gives
 *   large   one account, all events in it, with 100 / 1,000 / 10,000 / 100,000 users: time must not grow with them
 *   wide    one account with 10,000 features */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aggregate/state/state.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define START INT64_C(1767225600000)
#define POOL (1U << 20) /* events made beforehand and used again with other ids */
#define RATE 50000      /* events a second of the log's clock */
#define BATCH_MAX 32
#define ID_LEN 15

struct made {
    uint32_t account, user, feature;
};

static struct upt_metrics metrics;
static struct made pool[POOL];
static uint64_t rng = UINT64_C(88172645463325252);
static const char *only; /* NULL: all */

static uint64_t
rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
}

static uint32_t
below(uint32_t n)
{
    return (uint32_t)((rnd() >> 33) * n >> 31);
}

/* Zipf with s = 1 by inversion of the continuous law, close enough for load. */
static uint32_t
zipf(uint32_t n)
{
    double u = (double)(rnd() >> 11) / 9007199254740992.0;
    return (uint32_t)(exp(u * log((double)n + 1.0)) - 1.0);
}

struct names {
    char (*text)[24];
    uint32_t n;
};

static struct names
make_names(const char *prefix, uint32_t n)
{
    struct names names = {.text = malloc(n * sizeof(*names.text)), .n = n};
    upt_assert(names.text != NULL);
    for (uint32_t i = 0; i < n; i++) {
        (void)snprintf(names.text[i], sizeof(names.text[i]), "%.6s-%07u", prefix, i);
    }
    return names;
}

static struct upt_str
name(const struct names *names, uint32_t i)
{
    return (struct upt_str){.p = names->text[i], .len = 12};
}

struct run {
    struct upt_state *st;
    struct names accounts, users, features;
    int64_t offset;
    bool with_ids;
    unsigned batch;
};

static void
drain(struct upt_state *st)
{
    struct upt_account *acct;
    struct upt_feature_row feature;
    upt_state_rows_due(st, SIZE_MAX);
    while (upt_state_next_dirty(st, &acct)) {
    }
    while (upt_state_next_dirty_feature(st, &feature)) {
    }
}

static double
cpu_ns(void)
{
    struct timespec t;
    upt_assert(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* One event of the pool; its id is written to id. */
static struct upt_event
event_at(const struct run *run, int64_t offset, char *id)
{
    const struct made *made = &pool[(uint64_t)offset & (POOL - 1)];
    memcpy(id, "000000000000000", ID_LEN);
    for (int d = 0, v = (int)(offset & 0x7fffffff); d < 8; d++, v >>= 4) {
        id[d] = (char)('a' + (v & 15));
    }
    return (struct upt_event){
        .event_id = run->with_ids ? (struct upt_str){.p = id, .len = ID_LEN} : (struct upt_str){.p = NULL},
        .account_id = name(&run->accounts, made->account),
        .user_id = name(&run->users, made->user),
        .feature = name(&run->features, made->feature),
        .kind = UPT_KIND_USAGE,
        .quantity = 1.5,
        .occurred_at = START + offset * 1000 / RATE,
    };
}

static void
prefetch(const struct upt_state *st, const struct upt_event *events, struct upt_hint *hints, unsigned n)
{
    uint64_t hash[BATCH_MAX];
    for (unsigned i = 0; i < n; i++) {
        hash[i] = upt_hash(events[i].account_id.p, events[i].account_id.len);
        upt_state_prefetch_slot(st, hash[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        upt_state_prefetch_account(st, hash[i], &hints[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        upt_state_prefetch_parts(st, &hints[i], &events[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        upt_state_prefetch_event(&hints[i], &events[i]);
    }
}

static void
apply(struct run *run, const struct upt_event *ev, const struct upt_hint *hint)
{
    upt_state_begin(run->st, run->offset, ev->occurred_at);
    if (upt_state_judge(run->st, ev, ev->occurred_at) == UPT_REASON_NONE) {
        (void)(hint != NULL ? upt_state_apply_hinted(run->st, ev->account_id, ev, hint)
                            : upt_state_apply(run->st, ev->account_id, ev));
    }
}

static double
round_of(struct run *run, int64_t events)
{
    static char ids[BATCH_MAX][ID_LEN];
    struct upt_event batch[BATCH_MAX];
    struct upt_hint hints[BATCH_MAX];
    double began = cpu_ns();
    for (int64_t done = 0; done < events; done += run->batch) {
        for (unsigned i = 0; i < run->batch; i++) {
            batch[i] = event_at(run, run->offset + i, ids[i]);
        }
        if (run->batch > 1) {
            prefetch(run->st, batch, hints, run->batch);
        }
        for (unsigned i = 0; i < run->batch; i++, run->offset++) {
            apply(run, &batch[i], run->batch > 1 ? &hints[i] : NULL);
            if (run->offset % RATE == 0) {
                drain(run->st);
            }
        }
    }
    return (cpu_ns() - began) / (double)events;
}

static void
measure(const char *what, uint32_t accounts, uint32_t users, uint32_t features, int64_t events, bool with_ids,
        unsigned batch)
{
    if (only != NULL && strcmp(only, what) != 0) {
        return;
    }
    const struct upt_state_config config = {
        .max_future_ms = 5 * UPT_MINUTE_MS,
        .dedup_window_ms = 10 * UPT_MINUTE_MS,
        .retention_ms = 400 * UPT_DAY_MS,
        .adopted_days = 3,
        .metrics = &metrics,
    };
    struct run run = {
        .accounts = make_names("acct", accounts),
        .users = make_names("user", users),
        .features = make_names("feat", features),
        .with_ids = with_ids,
        .batch = batch,
    };
    upt_assert(upt_state_create(&config, &run.st, NULL) == UPT_OK);
    for (uint32_t i = 0; i < POOL; i++) {
        pool[i] = (struct made){.account = zipf(accounts), .user = below(users), .feature = below(features)};
    }
    (void)round_of(&run, events);
    double best = INFINITY;
    for (int i = 0; i < 3; i++) {
        double ns = round_of(&run, events);
        best = ns < best ? ns : best;
    }
    printf("%s: %u accounts, %u users, %u features: %.1f ns/event\n", what, accounts, users, features, best);
    (void)fflush(stdout);
    upt_state_destroy(&run.st);
    free(run.accounts.text);
    free(run.users.text);
    free(run.features.text);
}

int
main(int argc, char **argv)
{
    int64_t events = argc > 1 ? strtoll(argv[1], NULL, 10) : 5000000;
    only = argc > 2 ? argv[2] : NULL;
    measure("usage", 100000, 10, 10, events, true, 1);
    measure("usage, in batches", 100000, 10, 10, events, true, BATCH_MAX);
    measure("usage, no ids", 100000, 10, 10, events, false, 1);
    measure("usage, no ids, in batches", 100000, 10, 10, events, false, BATCH_MAX);
    for (uint32_t users = 100; users <= 100000; users *= 10) {
        int64_t n = users < 10000 ? events / 10 : events / 250;
        measure("large", 1, users, 10, n, true, 1);
    }
    measure("wide", 1, 10, 10000, events / 250, true, 1);
    return 0;
}
