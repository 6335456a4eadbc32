/* How much memory an account takes: resident size before and after accounts of 10 users and 10 features, every one of
 * the 100 pairs used within the last day, all users seen in the last day, without event ids (their 16 bytes each are
 * apart).
 *
 *     bench_memory [ACCOUNTS [scores]]     default 100,000; scores: with what they keep, evaluated every day
 *
 * Quantity: growth of the resident set (/proc/self/statm) for each account, tables, timers and the allocator's own
 * bytes included, the observer's not. The events come as a log would bring them: accounts take turns, time goes on, so
 * the heap is as scattered as it gets. Then where they are: what malloc gave for each part, 8 bytes of its own a block
 * included; the rest are the partition's tables and what the heap lost. Then the same of accounts that nothing has
 * happened to for two days, when their minutes and hours are gone, and for 40 days, each also packed, with the time of
 * packing one, and of finding and unpacking one, and the growth of the resident set once malloc_trim has given back
 * what is free in whole pages. Also the bytes of a full checkpoint for each account. */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "aggregate/score/score.h"
#include "aggregate/state/internal.h"
#include "aggregate/state/state.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define USERS 10
#define FEATURES 10
#define PAIRS (USERS * FEATURES)
#define START INT64_C(1767225600000)

static struct upt_metrics metrics;

static size_t
resident(void)
{
    unsigned long long pages = 0, rss = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    upt_assert(f != NULL && fscanf(f, "%llu %llu", &pages, &rss) == 2);
    (void)fclose(f);
    return (size_t)rss * (size_t)sysconf(_SC_PAGESIZE);
}

/* The n-th event of an account: each pair once, in an order that mixes users and features. */
static void
apply(struct upt_state *st, unsigned account, unsigned n)
{
    char key[32], user[32], feature[32];
    unsigned pair = (n * 37 + account) % PAIRS;
    (void)snprintf(key, sizeof(key), "account-%07u", account);
    (void)snprintf(user, sizeof(user), "user-%u", pair / FEATURES);
    (void)snprintf(feature, sizeof(feature), "feature-%u", pair % FEATURES);
    const struct upt_event ev = {
        .account_id = upt_str_of(key),
        .user_id = upt_str_of(user),
        .feature = upt_str_of(feature),
        .kind = UPT_KIND_USAGE,
        .quantity = 1.0,
        .occurred_at = upt_state_clock(st),
    };
    upt_assert(upt_state_judge(st, &ev, upt_state_clock(st)) == UPT_REASON_NONE);
    upt_assert(upt_state_apply(st, ev.account_id, &ev));
}

static size_t
block(void *p)
{
    return p == NULL ? 0 : malloc_usable_size(p) + sizeof(size_t);
}

static void
print_parts(struct upt_state *st, unsigned accounts, size_t all)
{
    static const char *const names[] = {"account, id", "rings", "users", "features", "pairs", "event ids", "profile"};
    size_t parts[sizeof(names) / sizeof(names[0])] = {0}, sum = 0, cursor = 0;
    for (struct upt_account *acct; (acct = upt_state_next(st, &cursor)) != NULL;) {
        void *of[] = {acct, acct->rings.v, acct->users.v, acct->uses.v, acct->pairs.v, acct->dedup, acct->profile};
        for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
            parts[i] += block(of[i]);
        }
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        sum += parts[i];
        printf("%s %.0f, ", names[i], (double)parts[i] / accounts);
    }
    size_t table = (st->accounts.mask + 1) * sizeof(struct upt_slot);
    sum += table;
    printf("slot of the table %.0f", (double)table / accounts);
    if (all > 0) {
        printf(", the rest %.0f", ((double)all - (double)sum) / accounts);
    }
    printf("; %.0f; by upt_state_bytes %.0f\n", (double)(all > 0 ? all : sum) / accounts,
           (double)upt_state_bytes(st) / accounts);
}

static int64_t
now_us(void)
{
    struct timespec t;
    upt_assert(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
take_rows(struct upt_state *st)
{
    struct upt_account *acct;
    struct upt_row row;
    struct upt_feature_days days[FEATURES];
    upt_state_rows_due(st, SIZE_MAX);
    while (upt_state_next_dirty(st, &acct)) { /* as the lane does; the list is not an account's memory */
        upt_state_row(st, acct, &row);
        (void)upt_state_row_features(st, acct, days, FEATURES);
    }
}

static size_t
checkpoint_bytes(struct upt_state *st)
{
    struct upt_buf key = {0}, value = {0};
    size_t bytes = 0;
    upt_state_snapshot_begin(st, true);
    while (upt_state_snapshot_next(st, &key, &value)) {
        bytes += value.len;
    }
    upt_buf_fini(&key);
    upt_buf_fini(&value);
    return bytes;
}

/* What the heap would hold if it gave back every page that is free. */
static double
trimmed(size_t before, unsigned accounts)
{
    (void)malloc_trim(0);
    return ((double)resident() - (double)before) / accounts;
}

static void
print_packed(struct upt_state *st, unsigned accounts, size_t before)
{
    char key[32];
    size_t bytes = 0, cursor = 0;
    take_rows(st);
    (void)checkpoint_bytes(st);
    double unpacked = trimmed(before, accounts);
    int64_t began = now_us();
    upt_assert(upt_state_pack(st, accounts) == accounts);
    int64_t packed = now_us();
    for (struct upt_item *item; (item = upt_state_next_item(st, &cursor)) != NULL;) {
        bytes += block(item);
    }
    size_t table = (st->accounts.mask + 1) * sizeof(struct upt_slot);
    printf("  packed: %.0f, slot of the table %.0f; %.0f; by upt_state_bytes %.0f", (double)bytes / accounts,
           (double)table / accounts, (double)(bytes + table) / accounts, (double)upt_state_bytes(st) / accounts);
    printf("; resident after malloc_trim %.0f, unpacked %.0f", trimmed(before, accounts), unpacked);
    int64_t unpacking = now_us();
    for (unsigned account = 0; account < accounts; account++) {
        (void)snprintf(key, sizeof(key), "account-%07u", account);
        upt_assert(upt_state_find(st, upt_str_of(key)) != NULL);
    }
    printf("; us to pack %.2f, to unpack %.2f\n", (double)(packed - began) / accounts,
           (double)(now_us() - unpacking) / accounts);
}

static struct upt_score *
make_score(void)
{
    static const struct upt_sink sink;
    struct upt_model *model = NULL;
    struct upt_rules *rules = NULL;
    struct upt_score *score = NULL;
    upt_assert(upt_model_load(NULL, &model, NULL) == UPT_OK && upt_rules_load(NULL, &rules, NULL) == UPT_OK);
    upt_assert(upt_score_create(model, rules, "0123456789abcdef", &sink, &score, NULL) == UPT_OK);
    return score;
}

int
main(int argc, char **argv)
{
    unsigned accounts = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000;
    struct upt_score *score = argc > 2 && strcmp(argv[2], "scores") == 0 ? make_score() : NULL;
    const struct upt_state_config config = {
        .max_future_ms = 5 * UPT_MINUTE_MS,
        .dedup_window_ms = 10 * UPT_MINUTE_MS,
        .retention_ms = 400 * UPT_DAY_MS,
        .pack_after_ms = UPT_DAY_MS,
        .adopted_days = 3,
        .observer = score != NULL ? &upt_score_observer : NULL,
        .observer_ctx = score,
        .metrics = &metrics,
    };
    struct upt_state *st = NULL;
    upt_assert(upt_state_create(&config, &st, NULL) == UPT_OK);
    size_t before = resident();
    int64_t offset = 0;
    for (unsigned n = 0; n < PAIRS; n++) {
        for (unsigned account = 0; account < accounts; account++) {
            /* One day for all: what the last event sees lies within the last 24 hours. */
            upt_state_begin(st, offset, START + offset * (UPT_DAY_MS - UPT_MINUTE_MS) / ((int64_t)accounts * PAIRS));
            offset++;
            apply(st, account, n);
            take_rows(st);
        }
    }
    size_t after = resident();
    size_t held = upt_state_bytes(st);
    printf("accounts %u, users %d, features %d, events %" PRId64 "\n", accounts, USERS, FEATURES, offset);
    printf("resident MiB before %.1f after %.1f\n", (double)before / 1048576, (double)after / 1048576);
    printf("bytes/account resident %.0f, by upt_state_bytes %.0f\n", (double)(after - before) / accounts,
           (double)held / accounts);
    print_parts(st, accounts, after - before);
    printf("checkpoint bytes/account %.0f\n", (double)checkpoint_bytes(st) / accounts);
    for (int i = 0; i < 2; i++) {
        static const int64_t days[] = {3, 41};
        upt_state_wall_tick(st, START + days[i] * UPT_DAY_MS);
        printf("%" PRId64 " days later: ", days[i] - 1);
        print_parts(st, accounts, 0);
        print_packed(st, accounts, before);
    }
    upt_state_destroy(&st);
    return 0;
}
