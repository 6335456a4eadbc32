/* Seeded simulation of packing: for each seed a random log is played through two states with their scores, one of which
 * packs idle accounts at random moments, the other never. Everything that either gives out is written down as text,
 * alerts and health in their order, rows, forgotten accounts and records of checkpoints sorted, and compared after each
 * operation. Both are stored at random places, some of them given up, and now and then both are restored from it.
 *
 *   sim_pack FIRST COUNT */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_score.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define OPS 160
#define ACCOUNTS 7
#define LINES_MAX 4096

struct lines {
    char *v[LINES_MAX];
    size_t n;
};

struct side {
    struct upt_state *st;
    struct upt_score *score;
    struct lines told;   /* what went to the sink, in order */
    struct lines rows;   /* any order */
    struct lines stored; /* of the snapshot under way; any order */
    struct topic {
        struct upt_buf key[LINES_MAX], value[LINES_MAX];
        size_t n;
    } topic;
};

static struct side sides[2]; /* [1] packs */
static const struct upt_model *model;
static const struct upt_rules *rules;
static struct upt_metrics metrics;
static uint64_t seed_now, packed_n;
static int64_t retention_ms, pack_after_ms;

/* ---- text ---- */

static __attribute__((format(printf, 2, 3))) void
say(struct lines *to, const char *fmt, ...)
{
    char text[4096];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    upt_assert(n >= 0 && (size_t)n < sizeof(text) && to->n < LINES_MAX);
    to->v[to->n] = strdup(text);
    upt_assert(to->v[to->n++] != NULL);
}

static void
lines_clear(struct lines *lines)
{
    while (lines->n > 0) {
        free(lines->v[--lines->n]);
    }
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
compare(struct lines *a, struct lines *b, const char *what, int at)
{
    bool same = a->n == b->n;
    for (size_t i = 0; i < a->n || i < b->n; i++) {
        const char *x = i < a->n ? a->v[i] : "(nothing)";
        const char *y = i < b->n ? b->v[i] : "(nothing)";
        if (strcmp(x, y) != 0) {
            fprintf(stderr, "seed %" PRIu64 ", operation %d, %s:\n  never packed: %s\n  packed:       %s\n", seed_now,
                    at, what, x, y);
            same = false;
            break;
        }
    }
    if (!same) {
        exit(1);
    }
    lines_clear(a);
    lines_clear(b);
}

static void
compare_sorted(struct lines *a, struct lines *b, const char *what, int at)
{
    qsort(a->v, a->n, sizeof(a->v[0]), by_text);
    qsort(b->v, b->n, sizeof(b->v[0]), by_text);
    compare(a, b, what, at);
}

#define STR(s) (int)(s).len, (s).p == NULL ? "" : (s).p

static void
tell_alert(void *ctx, const struct upt_alert *a)
{
    struct side *side = ctx;
    say(&side->told,
        "alert %s %d %d %.*s of %.*s, %.*s, severity %d, %" PRId64 " %" PRId64 " %" PRId64 ": %.9g %.9g %.*s",
        a->alert_id, a->revision, (int)a->action, STR(a->rule), STR(a->account), STR(a->subject), (int)a->severity,
        a->opened_at, a->changed_at, a->condition_since, a->health, a->churn_probability, STR(a->counterfactual));
}

static void
tell_health(void *ctx, const struct upt_health *h)
{
    struct side *side = ctx;
    say(&side->told,
        "health of %.*s at %" PRId64 ": %.9g %.9g band %d phase %d %.9g %.9g %.9g %.*s, %d components, risk %.9g",
        STR(h->account), h->as_of, h->score, h->confidence, (int)h->band, (int)h->phase, h->score_7d_ago,
        h->score_28d_ago, h->slope_per_week, STR(h->segment), h->components_n,
        h->risks_n > 0 ? h->risks[0].probability : 0);
}

static void
tell_end(void *ctx, struct upt_str account)
{
    struct side *side = ctx;
    say(&side->told, "no health of %.*s", STR(account));
}

static const struct upt_sink sinks[2] = {
    {.ctx = &sides[0], .alert = tell_alert, .health = tell_health, .health_null = tell_end},
    {.ctx = &sides[1], .alert = tell_alert, .health = tell_health, .health_null = tell_end},
};

/* ---- rows ---- */

static uint64_t
mixed(uint64_t hash, const void *p, size_t n)
{
    return hash * 31 + (p == NULL ? 1 : upt_hash(p, n));
}

static void
say_row(struct side *side, struct upt_account *acct)
{
    struct upt_row row;
    struct upt_feature_days days[16];
    upt_state_row(side->st, acct, &row);
    size_t n = upt_state_row_features(side->st, acct, days, sizeof(days) / sizeof(days[0]));
    upt_assert(n <= sizeof(days) / sizeof(days[0]));
    unsigned changed = upt_state_row_changed(acct, &row, n);
    char features[512] = "", usage[256] = "";
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(features);
        snprintf(features + len, sizeof(features) - len, " %.*s=%u", STR(days[i].feature), days[i].days);
    }
    for (int w = 0; w < UPT_WINDOWS; w++) {
        size_t len = strlen(usage);
        snprintf(usage + len, sizeof(usage) - len, " %" PRIu64 "/%" PRIu64 "/%" PRIu64, row.usage[w].events,
                 row.usage[w].logins, (uint64_t)row.usage[w].micro_units);
    }
    say(&side->rows,
        "row of %.*s at %" PRId64 ", next %" PRId64 ", changed %u, whole %d, users %" PRIu64 " %" PRIu64 " %" PRIu64
        " %" PRIu64 ", features %" PRIu64 ":%s, usage%s, seen %" PRId64 " %" PRId64
        ", %.*s|%.*s|%.*s, seats %d %" PRId64
        ", shares %u %u, scores %d %.9g %.9g %d %d %d, alerts %u, segments %.*s, signals %016" PRIx64,
        STR(row.account), row.as_of, row.next_change, changed, row.whole, row.users_24h, row.users_7d, row.users_30d,
        row.users_total, row.features_30d, features, usage, row.first_seen, row.last_seen, STR(row.segment),
        STR(row.tier), STR(row.renewal_date), row.has_seats, row.micro_seats, row.seat_utilisation, row.adoption_rate,
        row.has_scores, row.health, row.risk[0], (int)row.band, (int)row.phase, row.scores_changed, row.open_alerts,
        STR(row.segments), mixed(0, row.signals.p, row.signals.len));
}

static void
say_sums(struct side *side)
{
    struct upt_feature_row feature;
    struct upt_totals_row t;
    struct upt_str id;
    while (upt_state_next_forgotten(side->st, &id)) {
        say(&side->rows, "forgotten %.*s", STR(id));
    }
    while (upt_state_next_dirty_feature(side->st, &feature)) {
        say(&side->rows, "feature %.*s: %" PRIu64 " %" PRIu64 " %" PRIu64, STR(feature.feature), feature.accounts_30d,
            feature.users_30d, feature.usage[UPT_W_30D].events);
    }
    if (upt_state_dirty_totals(side->st, &t)) {
        say(&side->rows, "totals: %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, t.accounts_30d,
            t.users_30d, t.users_total, t.accounts_total, t.open_alerts);
    }
}

/* ---- the log ---- */

static const char *const traits[][2] = {
    {"segment", "smb"},  {"segment", "ent"}, {"tier", "1"}, {"renewal_date", "2026-05-01"},
    {"seats", "12.5"},   {"plan", "pro"},    {"tier", ""},  {"contract_start", "2026-01-01"},
    {"colour", "green"}, {"goals", "g0"}};

static void
make_event(struct sim_op *op, char id[8])
{
    static const upt_kind kinds[] = {UPT_KIND_USAGE, UPT_KIND_USAGE,   UPT_KIND_USAGE, UPT_KIND_LOGIN,
                                     UPT_KIND_VALUE, UPT_KIND_PROFILE, UPT_KIND_SEATS, UPT_KIND_USER_REMOVED};
    struct upt_event *ev = &op->ev;
    ev->kind = sim_rnd(5) == 0 ? (upt_kind)sim_rnd(UPT_KIND_COUNT) : kinds[sim_rnd(8)];
    ev->account_id = upt_str_of(op->key);
    ev->quantity = sim_rnd(9);
    ev->occurred_at = op->ts - (int64_t)sim_rnd(60000) - (sim_rnd(5) == 0 ? (int64_t)sim_rnd(29) * UPT_DAY_MS : 0);
    snprintf(op->user, sizeof(op->user), "u%u", sim_rnd(5));
    snprintf(op->feature, sizeof(op->feature), "f%u", sim_rnd(5));
    ev->user_id = sim_rnd(6) == 0 ? UPT_STR_NULL : upt_str_of(op->user);
    ev->feature = sim_rnd(6) == 0 ? UPT_STR_NULL : upt_str_of(op->feature);
    snprintf(id, 8, "e%u", sim_rnd(9));
    ev->event_id = sim_rnd(4) == 0 ? upt_str_of(id) : UPT_STR_NULL;
    if (ev->kind == UPT_KIND_PROFILE) {
        const char *const *pair = traits[sim_rnd(sizeof(traits) / sizeof(traits[0]))];
        sim_property(op, pair[0], pair[1]);
    }
}

static int64_t
make_step(void)
{
    switch (sim_rnd(8)) {
    case 0:
        return (int64_t)sim_rnd(60) * UPT_DAY_MS / 2;
    case 1:
    case 2:
        return (int64_t)sim_rnd(40) * UPT_HOUR_MS;
    case 3:
        return UPT_DAY_MS;
    default:
        return (int64_t)sim_rnd(40 * 60) * UPT_SECOND_MS;
    }
}

/* ---- playing it ---- */

static void
side_begin(int which)
{
    struct side *side = &sides[which];
    upt_assert(upt_score_create(model, rules, "0123456789abcdef", &sinks[which], &side->score, NULL) == UPT_OK);
    const struct upt_state_config config = {.max_future_ms = 5 * UPT_MINUTE_MS,
                                            .dedup_window_ms = 10 * UPT_MINUTE_MS,
                                            .retention_ms = retention_ms,
                                            .pack_after_ms = which == 1 ? pack_after_ms : 0,
                                            .adopted_days = 2,
                                            .observer = &upt_score_observer,
                                            .observer_ctx = side->score,
                                            .metrics = &metrics};
    upt_assert(upt_state_create(&config, &side->st, NULL) == UPT_OK);
}

static void
side_end(int which)
{
    upt_state_destroy(&sides[which].st);
    upt_score_destroy(&sides[which].score);
}

static void
pack_some(void)
{
    if (sim_rnd(2) == 0) {
        packed_n += upt_state_pack(sides[1].st, 1 + sim_rnd(ACCOUNTS));
    }
}

static void
apply(struct side *side, const struct sim_op *op)
{
    struct upt_hint hint;
    upt_state_prefetch_account(side->st, upt_hash(op->key, strlen(op->key)), &hint);
    upt_state_prefetch_parts(side->st, &hint, &op->ev);
    upt_state_prefetch_event(&hint, &op->ev);
    if (side == &sides[1]) {
        pack_some();
    }
    if (op->kind == 't') {
        if (op->ts > upt_state_clock(side->st) && upt_state_clock(side->st) != UPT_NO_CLOCK) {
            upt_state_wall_tick(side->st, op->ts);
        }
        return;
    }
    upt_state_begin(side->st, op->offset, op->ts);
    if (side == &sides[1]) {
        pack_some();
    }
    if (op->kind == 'f') {
        upt_state_forget(side->st, upt_str_of(op->key));
    } else if (upt_state_judge(side->st, &op->ev, op->ts) == UPT_REASON_NONE) {
        (void)upt_state_apply_hinted(side->st, upt_str_of(op->key), &op->ev, &hint);
    }
}

static void
topic_clear(struct topic *topic)
{
    while (topic->n > 0) {
        topic->n--;
        upt_buf_fini(&topic->key[topic->n]);
        upt_buf_fini(&topic->value[topic->n]);
    }
}

/* Takes up to n records. True: that was all. */
static bool
take(struct side *side, uint32_t n)
{
    struct topic *topic = &side->topic;
    for (; n > 0; n--) {
        struct upt_buf *key = &topic->key[topic->n], *value = &topic->value[topic->n];
        upt_assert(topic->n < LINES_MAX);
        *key = *value = (struct upt_buf){0};
        if (!upt_state_snapshot_next(side->st, key, value)) {
            upt_buf_fini(key);
            upt_buf_fini(value);
            return true;
        }
        say(&side->stored, "record %.*s: %zu bytes, %016" PRIx64, (int)key->len, key->p, value->len,
            mixed(0, value->len > 0 ? value->p : NULL, value->len));
        topic->n++;
    }
    return false;
}

static void
restore(int which)
{
    struct side *side = &sides[which];
    struct upt_pos pos = upt_state_pos(side->st);
    int64_t clock = upt_state_clock(side->st);
    topic_clear(&side->topic);
    upt_state_snapshot_begin(side->st, true);
    (void)take(side, UINT32_MAX);
    side_end(which);
    side_begin(which);
    for (size_t i = 0; i < side->topic.n; i++) {
        struct upt_buf *key = &side->topic.key[i], *value = &side->topic.value[i];
        upt_assert(upt_state_load(side->st, upt_buf_str(key), upt_buf_str(value), NULL) == UPT_OK);
    }
    upt_assert(upt_state_load_done(side->st, pos, clock, NULL) == UPT_OK);
}

/* What follows an operation, decided for both. */
struct doing {
    bool begin, all, fail, rows, due, mark, walk, restore;
    uint32_t take;
};

static void
follow(int which, const struct doing *todo, bool *inout_taking)
{
    struct side *side = &sides[which];
    if (todo->mark) {
        for (size_t cursor = 0; upt_state_mark_next_dirty(side->st, &cursor);) { /* in an order of their own */
        }
    }
    if (*inout_taking && take(side, todo->take)) {
        *inout_taking = false;
        if (todo->fail) {
            upt_state_snapshot_failed(side->st);
        } else {
            upt_state_snapshot_stored(side->st);
        }
    } else if (*inout_taking && todo->fail) {
        lines_clear(&side->stored); /* which of them came first is open */
        upt_state_snapshot_failed(side->st);
        *inout_taking = false;
    } else if (!*inout_taking && todo->begin) {
        topic_clear(&side->topic);
        upt_state_snapshot_begin(side->st, todo->all);
        *inout_taking = true;
    }
    struct upt_account *acct;
    if (todo->walk) {
        size_t cursor = 0;
        for (; (acct = upt_state_next(side->st, &cursor)) != NULL;) {
            struct upt_row row;
            upt_state_row(side->st, acct, &row);
            say(&side->rows, "walk %.*s %" PRIu64 " %zu", STR(row.account), row.users_30d,
                upt_account_features_n(acct));
        }
    }
    upt_state_rows_due(side->st, todo->due ? SIZE_MAX : 0);
    while (todo->rows && upt_state_next_dirty(side->st, &acct)) {
        say_row(side, acct);
    }
    if (todo->rows) {
        say_sums(side);
    }
    if (todo->restore && !*inout_taking) {
        restore(which);
    }
}

static void
play_seed(uint64_t seed)
{
    static const int64_t idle[] = {1, UPT_MINUTE_MS, UPT_HOUR_MS, UPT_DAY_MS};
    sim_seed(seed);
    seed_now = seed;
    pack_after_ms = idle[sim_rnd(4)];
    retention_ms = sim_rnd(3) > 0 ? 300 * UPT_DAY_MS : (int64_t)(1 + sim_rnd(40)) * UPT_DAY_MS;
    side_begin(0);
    side_begin(1);
    int64_t ts = INT64_C(1767225600000) + (int64_t)sim_rnd(86400) * 1000, offset = 0;
    bool taking[2] = {false, false};
    for (int i = 0; i < OPS; i++) {
        struct sim_op op = {.kind = 'e'};
        char id[8];
        ts += make_step();
        uint32_t dice = sim_rnd(50);
        op.kind = i == 0 || dice > 8 ? 'e' : dice == 0 ? 'f' : 't';
        op.ts = op.kind == 't' ? upt_floor_div(ts, UPT_MINUTE_MS) * UPT_MINUTE_MS : ts;
        op.offset = op.kind == 't' ? -1 : offset++;
        snprintf(op.key, sizeof(op.key), "acct-%u", sim_rnd(sim_rnd(2) == 0 ? 2 : ACCOUNTS));
        make_event(&op, id);
        const struct doing todo = {.begin = sim_rnd(3) == 0,
                                   .all = sim_rnd(5) == 0,
                                   .fail = sim_rnd(6) == 0,
                                   .rows = sim_rnd(2) == 0,
                                   .due = sim_rnd(2) == 0,
                                   .mark = sim_rnd(6) == 0,
                                   .walk = sim_rnd(12) == 0,
                                   .restore = sim_rnd(40) == 0,
                                   .take = sim_rnd(2) == 0 ? UINT32_MAX : sim_rnd(4)};
        for (int which = 0; which < 2; which++) {
            apply(&sides[which], &op);
            follow(which, &todo, &taking[which]);
        }
        upt_assert(taking[0] == taking[1]);
        compare(&sides[0].told, &sides[1].told, "told", i);
        compare_sorted(&sides[0].rows, &sides[1].rows, "rows", i);
        if (!taking[0]) {
            compare_sorted(&sides[0].stored, &sides[1].stored, "checkpoint", i);
        }
        upt_assert(upt_state_accounts_n(sides[0].st) == upt_state_accounts_n(sides[1].st));
        upt_assert(upt_state_dirty_accounts(sides[0].st) == upt_state_dirty_accounts(sides[1].st));
        upt_assert(upt_state_later_accounts(sides[0].st) == upt_state_later_accounts(sides[1].st));
    }
    for (int which = 0; which < 2; which++) {
        side_end(which);
        topic_clear(&sides[which].topic);
        lines_clear(&sides[which].stored);
    }
}

int
main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    struct upt_model *own_model = NULL;
    struct upt_rules *own_rules = NULL;
    upt_assert(upt_model_load(NULL, &own_model, NULL) == UPT_OK && upt_rules_load(NULL, &own_rules, NULL) == UPT_OK);
    model = own_model;
    rules = own_rules;
    for (uint64_t seed = first; seed < first + count; seed++) {
        play_seed(seed);
    }
    printf("%" PRIu64 " seeds, no difference; packed %" PRIu64 " times\n", count, packed_n);
    upt_rules_destroy(&own_rules);
    upt_model_destroy(&own_model);
    return packed_n > 0 ? 0 : 1;
}
