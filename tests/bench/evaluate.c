/* What an evaluation of one account costs: `upt_evaluate`, as the daily evaluation and SILENCE call it.
 *
 *     bench_evaluate
 *
 * Accounts of several kinds, a thousand of each so that they are not all in the innermost cache, every one evaluated
 * ROUNDS times in turn. Quantity: nanoseconds of the thread's time an evaluation; the least of five runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aggregate/score/evaluate.h"
#include "aggregate/score/score.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define ACCOUNTS 1000
#define DAYS 300
#define ROUNDS 20
#define RUNS 5

struct kind {
    const char *name;
    int every, from, until; /* active each so many days of these */
    int features, users;
};

static const struct kind kinds[] = {
    {"daily for 300 days, 10 features, 10 users", 1, 0, DAYS, 10, 10},
    {"weekly for 300 days, 3 features", 7, 0, DAYS, 3, 2},
    {"monthly for 300 days, 1 feature", 28, 0, DAYS, 1, 1},
    {"new: two days", 1, DAYS - 2, DAYS, 5, 3},
    {"irregular: every third day", 3, 100, DAYS, 5, 3},
    {"daily for 100 days, silent for 200", 1, 0, 100, 10, 10},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void
use(struct upt_state *st, int64_t *offset, int k, int a, int day)
{
    static const char *const features[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    char account[32], user[32];
    int64_t at = (20000 + day) * UPT_DAY_MS + 12 * UPT_HOUR_MS;
    (void)snprintf(account, sizeof(account), "account-%d-%d", k, a);
    for (int i = 0; i < kinds[k].features; i++) {
        (void)snprintf(user, sizeof(user), "user-%d", i % kinds[k].users);
        struct upt_event ev = {.event_id = UPT_STR(""),
                               .account_id = upt_str_of(account),
                               .user_id = upt_str_of(user),
                               .feature = upt_str_of(features[i]),
                               .occurred_at = at,
                               .quantity = 1,
                               .kind = UPT_KIND_USAGE};
        upt_state_begin(st, (*offset)++, at);
        (void)upt_state_apply(st, ev.account_id, &ev);
    }
}

static int64_t
thread_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void
measure(const struct upt_model *model, struct upt_state *st, int k)
{
    struct upt_account *accounts[ACCOUNTS];
    int64_t best = INT64_MAX;
    uint64_t sum = 0;
    for (int a = 0; a < ACCOUNTS; a++) {
        char account[32];
        (void)snprintf(account, sizeof(account), "account-%d-%d", k, a);
        accounts[a] = upt_state_find(st, upt_str_of(account));
        upt_assert(accounts[a] != NULL);
    }
    for (int run = 0; run < RUNS; run++) {
        int64_t begun = thread_ns();
        for (int round = 0; round < ROUNDS; round++) {
            for (int a = 0; a < ACCOUNTS; a++) {
                struct upt_eval eval;
                upt_evaluate(model, st, accounts[a], upt_account_ext(accounts[a]), &eval);
                sum += eval.risk_micro[0];
            }
        }
        int64_t took = thread_ns() - begun;
        best = took < best ? took : best;
    }
    printf("%-44s %6.0f ns  (risk %.3f)\n", kinds[k].name, (double)best / (ROUNDS * ACCOUNTS),
           (double)sum / (RUNS * ROUNDS * ACCOUNTS) / 1e6);
}

int
main(void)
{
    struct upt_error err;
    struct upt_model *model = NULL;
    struct upt_rules *rules = NULL;
    struct upt_score *score = NULL;
    struct upt_state *st = NULL;
    struct upt_sink sink = {0};
    struct upt_metrics *metrics = aligned_alloc(64, (sizeof(*metrics) + 63) / 64 * 64);
    upt_assert(metrics != NULL);
    memset(metrics, 0, sizeof(*metrics));
    struct upt_state_config config = {.max_future_ms = 5 * UPT_MINUTE_MS,
                                      .dedup_window_ms = 10 * UPT_MINUTE_MS,
                                      .retention_ms = 400 * UPT_DAY_MS,
                                      .adopted_days = 3,
                                      .observer = &upt_score_observer,
                                      .metrics = metrics};
    upt_assert(upt_model_load(NULL, &model, &err) == UPT_OK && upt_rules_load(NULL, &rules, &err) == UPT_OK);
    upt_assert(upt_score_create(model, rules, "", &sink, &score, &err) == UPT_OK);
    config.observer_ctx = score;
    upt_assert(upt_state_create(&config, &st, &err) == UPT_OK);
    int64_t offset = 0;
    for (int day = 0; day < DAYS; day++) {
        for (size_t k = 0; k < KINDS; k++) {
            bool on = day >= kinds[k].from && day < kinds[k].until && (day - kinds[k].from) % kinds[k].every == 0;
            for (int a = 0; a < ACCOUNTS && on; a++) {
                use(st, &offset, (int)k, a, day);
            }
        }
    }
    upt_state_wall_tick(st, (20000 + DAYS) * UPT_DAY_MS + UPT_HOUR_MS);
    for (size_t k = 0; k < KINDS; k++) {
        measure(model, st, (int)k);
    }
    upt_state_destroy(&st);
    upt_score_destroy(&score);
    upt_rules_destroy(&rules);
    upt_model_destroy(&model);
    free(metrics);
    return 0;
}
