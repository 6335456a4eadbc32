/* Seeded simulation of the state machine: for each seed a random small log is played, and two lines are printed for
 * run_sim.py: the log as a request to the oracle, and what the state machine made of it.
 *
 * At random places the state is snapshot, sometimes while the log goes on (copy on write), sometimes given up;
 * sometimes it is thrown away, restored from all records stored so far in their order, and the log replayed from the
 * snapshot's position. So what is compared in the end has gone through the checkpoint codec. At any moment idle
 * accounts are packed.
 *
 *   sim_state FIRST COUNT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/state.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define OPS_MAX 120
#define EVENTS_MAX 4
#define ALL_OF_THEM 1000 /* more than there are of anything */

static uint64_t rng;

static uint32_t
rnd(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)((rng >> 11) % n);
}

enum op_kind { OP_EVENTS, OP_FORGET, OP_DEAD, OP_TICK };

struct op {
    enum op_kind kind;
    int64_t offset, ts;
    char key[24];
    int events_n;
    struct upt_event events[EVENTS_MAX];
    char text[EVENTS_MAX][4][48]; /* id, user, feature, a property */
    char props[EVENTS_MAX][160];
    char verdicts[EVENTS_MAX][24];
};

static struct op ops[OPS_MAX];
static int ops_n;
static int64_t retention_ms, dedup_window_ms; /* of the seed; of every second the usual ones */
static int64_t pack_after_ms;                 /* of the seed */

/* ---- making a log ---- */

static const char *const users[] = {"u1", "u2", "u3", "u4", "", "ü5"};
static const char *const features[] = {"search", "export", "api", "_hidden", "", "reports"};
static const char *const traits[][2] = {{"segment", "smb"},
                                        {"segment", "ent"},
                                        {"tier", "1"},
                                        {"tier", ""},
                                        {"seats", "25"},
                                        {"seats", "12.5"},
                                        {"seats", "many"},
                                        {"renewal_date", "2026-05-01"},
                                        {"renewal_date", "soon"},
                                        {"seats", "0"},
                                        {"plan", "pro"},
                                        {"renewal_date", ""},
                                        {"seats", ""}};

static struct upt_str
str(const char *text)
{
    return upt_str_of(text);
}

static void
make_props(struct op *op, int i)
{
    /* One Avro map block with one entry. */
    const char *const *pair = traits[rnd(sizeof(traits) / sizeof(traits[0]))];
    char *p = op->props[i];
    size_t n = 0;
    p[n++] = 2;
    for (int k = 0; k < 2; k++) {
        p[n++] = (char)(2 * strlen(pair[k]));
        memcpy(p + n, pair[k], strlen(pair[k]));
        n += strlen(pair[k]);
    }
    p[n++] = 0;
    op->events[i].properties.raw = (struct upt_str){.p = p, .len = (uint32_t)n};
    snprintf(op->text[i][3], sizeof(op->text[i][3]), "\"%s\": \"%s\"", pair[0], pair[1]);
}

static double
make_quantity(void)
{
    static const double some[] = {1.0, 0.0, -0.0, 2.5, 1e9, 1e9 + 1, -1.0, 0.0000005, 0.0000015, 123456.789, 25.0};
    return rnd(3) > 0 ? 1.0 : some[rnd(sizeof(some) / sizeof(some[0]))];
}

static int64_t
make_time(int64_t ts)
{
    switch (rnd(12)) {
    case 0:
        return ts - (int64_t)rnd(32) * UPT_DAY_MS + (int64_t)rnd(1000);
    case 1:
        return ts + (int64_t)rnd(700) * UPT_SECOND_MS;
    case 2:
        return ts - (int64_t)rnd(26) * UPT_HOUR_MS;
    case 3:
        return ts - (int64_t)rnd(70) * UPT_MINUTE_MS;
    default:
        return ts - (int64_t)rnd(90000);
    }
}

static void
make_event(struct op *op, int i)
{
    static const upt_kind kinds[] = {UPT_KIND_USAGE, UPT_KIND_USAGE,        UPT_KIND_USAGE, UPT_KIND_USAGE,
                                     UPT_KIND_LOGIN, UPT_KIND_USER_REMOVED, UPT_KIND_SEATS, UPT_KIND_PROFILE,
                                     UPT_KIND_VALUE, UPT_KIND_OTHER};
    struct upt_event *ev = &op->events[i];
    memset(ev, 0, sizeof(*ev));
    ev->kind = kinds[rnd(10)];
    ev->account_id = str(op->key);
    ev->occurred_at = make_time(op->ts);
    ev->quantity = make_quantity();
    bool named = rnd(2) > 0;
    unsigned id = rnd(12);
    snprintf(op->text[i][0], 48, "e%u", id);
    if (!named) {
        op->text[i][0][0] = '\0';
    }
    ev->event_id = str(op->text[i][0]);
    snprintf(op->text[i][1], 48, "%s", users[rnd(6)]);
    ev->user_id = op->text[i][1][0] != '\0' ? str(op->text[i][1]) : UPT_STR_NULL;
    snprintf(op->text[i][2], 48, "%s", features[rnd(40) < 36 ? (rnd(4) == 3 ? 5 : rnd(3)) : rnd(6)]);
    bool none = rnd(8) == 0;
    ev->feature = none ? UPT_STR_NULL : str(op->text[i][2]);
    op->text[i][3][0] = '\0';
    if (ev->kind == UPT_KIND_PROFILE) {
        make_props(op, i);
    }
}

static int64_t
make_step(void)
{
    switch (rnd(10)) {
    case 0:
        return (int64_t)rnd(40) * UPT_DAY_MS / 2;
    case 1:
        return (int64_t)rnd(30) * UPT_HOUR_MS;
    case 2:
        return -(int64_t)rnd(20) * UPT_MINUTE_MS;
    default:
        return (int64_t)rnd(8 * 60) * UPT_SECOND_MS;
    }
}

static void
make_log(uint64_t seed)
{
    static const int64_t retentions[] = {UPT_MINUTE_MS, UPT_HOUR_MS, UPT_DAY_MS};
    static const int64_t windows[] = {0, 7 * UPT_DAY_MS, 49 * UPT_DAY_MS};
    retention_ms = seed % 6 < 3 ? retentions[seed % 6] : 60 * UPT_DAY_MS;
    dedup_window_ms = seed / 6 % 6 < 3 ? windows[seed / 6 % 6] : 10 * UPT_MINUTE_MS;
    static const int64_t idle[] = {1, 0, 5 * UPT_MINUTE_MS, UPT_DAY_MS};
    pack_after_ms = idle[seed / 36 % 4];
    rng = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    int64_t ts = INT64_C(1767225600000) + (int64_t)rnd(86400) * 1000, offset = rnd(5);
    ops_n = 5 + (int)rnd(OPS_MAX - 5);
    uint32_t accounts = 1 + rnd(4);
    for (int i = 0; i < ops_n; i++) {
        struct op *op = &ops[i];
        memset(op, 0, sizeof(*op));
        ts += make_step();
        op->ts = ts;
        op->offset = offset;
        offset += 1 + (rnd(9) == 0 ? rnd(3) : 0);
        snprintf(op->key, sizeof(op->key), "acct-%u", rnd(accounts));
        uint32_t dice = rnd(100);
        op->kind = dice < 3 ? OP_FORGET : dice < 6 ? OP_DEAD : dice < 12 && i > 0 ? OP_TICK : OP_EVENTS;
        if (op->kind == OP_TICK) {
            op->ts = upt_floor_div(ts, UPT_MINUTE_MS) * UPT_MINUTE_MS;
            offset = op->offset;
        }
        op->events_n = op->kind != OP_EVENTS ? 0 : rnd(5) == 0 ? (int)(1 + rnd(EVENTS_MAX)) : 1;
        for (int k = 0; k < op->events_n; k++) {
            make_event(op, k);
        }
    }
}

/* ---- playing it ---- */

static struct upt_metrics metrics;

static struct upt_state *
new_state(void)
{
    const struct upt_state_config config = {.max_future_ms = 5 * UPT_MINUTE_MS,
                                            .dedup_window_ms = dedup_window_ms,
                                            .retention_ms = retention_ms,
                                            .pack_after_ms = pack_after_ms,
                                            .adopted_days = 3,
                                            .metrics = &metrics};
    struct upt_state *st = NULL;
    upt_assert(upt_state_create(&config, &st, NULL) == UPT_OK);
    return st;
}

static void
pack_some(struct upt_state *st)
{
    if (rnd(3) == 0) {
        (void)upt_state_pack(st, 1 + rnd(5));
    }
}

static void
play(struct upt_state *st, struct op *op)
{
    pack_some(st);
    if (op->kind == OP_TICK) {
        if (op->ts > upt_state_clock(st) && upt_state_clock(st) != UPT_NO_CLOCK) {
            upt_state_wall_tick(st, op->ts);
        }
        return;
    }
    struct upt_hint hints[EVENTS_MAX]; /* of before the ticks, which may forget accounts */
    for (int i = 0; i < op->events_n; i++) {
        upt_state_prefetch_account(st, upt_hash(op->key, strlen(op->key)), &hints[i]);
        upt_state_prefetch_parts(st, &hints[i], &op->events[i]);
        upt_state_prefetch_event(&hints[i], &op->events[i]);
    }
    pack_some(st);
    upt_state_begin(st, op->offset, op->ts);
    pack_some(st);
    if (op->kind == OP_FORGET) {
        upt_state_forget(st, str(op->key));
    }
    for (int i = 0; i < op->events_n; i++) {
        upt_reason reason = upt_state_judge(st, &op->events[i], op->ts);
        const char *verdict = upt_reason_names[reason];
        if (reason == UPT_REASON_NONE) {
            bool counted = op->offset % 2 == 0 ? upt_state_apply(st, str(op->key), &op->events[i])
                                               : upt_state_apply_hinted(st, str(op->key), &op->events[i], &hints[i]);
            verdict = counted ? "ok" : "duplicate";
        }
        snprintf(op->verdicts[i], sizeof(op->verdicts[i]), "%s", verdict);
    }
}

/* What a state topic would hold. */
struct stored {
    struct upt_buf key, value;
};
static struct stored topic[200000];
static size_t topic_n, topic_committed;

/* Drops what follows the first n records. */
static void
topic_cut(size_t n)
{
    while (topic_n > n) {
        topic_n--;
        upt_buf_fini(&topic[topic_n].key);
        upt_buf_fini(&topic[topic_n].value);
    }
}

/* Takes up to n records of the snapshot. True: it is complete. */
static bool
take_records(struct upt_state *st, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        upt_assert(topic_n < sizeof(topic) / sizeof(topic[0]));
        struct stored *to = &topic[topic_n];
        memset(to, 0, sizeof(*to));
        if (!upt_state_snapshot_next(st, &to->key, &to->value)) {
            upt_buf_fini(&to->key);
            upt_buf_fini(&to->value);
            return true;
        }
        topic_n++;
    }
    return false;
}

static struct upt_state *
restore(struct upt_pos pos, int64_t clock)
{
    struct upt_state *st = new_state();
    for (size_t i = 0; i < topic_committed; i++) {
        struct upt_str key = {.p = topic[i].key.p, .len = (uint32_t)topic[i].key.len};
        struct upt_str value = {.p = topic[i].value.p, .len = (uint32_t)topic[i].value.len};
        struct upt_error err;
        if (upt_state_load(st, key, value, &err) != UPT_OK) {
            fprintf(stderr, "load: %s\n", err.msg);
            exit(1);
        }
    }
    upt_assert(upt_state_load_done(st, pos, clock, NULL) == UPT_OK);
    return st;
}

/* Or an account would be in a queue for good, and never be packed. */
static void
take_rows(struct upt_state *st)
{
    struct upt_account *acct;
    struct upt_row row;
    struct upt_feature_days days[8];
    upt_state_rows_due(st, rnd(3) == 0 ? ALL_OF_THEM : rnd(3));
    for (uint32_t n = rnd(3) == 0 ? ALL_OF_THEM : rnd(3); n > 0 && upt_state_next_dirty(st, &acct); n--) {
        upt_state_row(st, acct, &row);
        (void)upt_state_row_features(st, acct, days, sizeof(days) / sizeof(days[0]));
    }
}

static struct upt_state *
play_log(void)
{
    struct upt_state *st = new_state();
    struct upt_pos pos = UPT_POS_NONE, taken = UPT_POS_NONE;
    int64_t clock = UPT_NO_CLOCK, taken_clock = UPT_NO_CLOCK;
    int at = 0, taken_at = 0, snapped_at = 0; /* ops before it are in the snapshot */
    bool taking = false;
    int crashes = 0;
    for (int i = 0; i < ops_n; i++) {
        play(st, &ops[i]);
        take_rows(st);
        if (taking) {
            taking = !take_records(st, i % 3 == 0 ? ALL_OF_THEM : rnd(3));
            if (!taking && rnd(5) == 0) {
                topic_cut(topic_committed); /* the transaction failed */
                upt_state_snapshot_failed(st);
            } else if (!taking) {
                upt_state_snapshot_stored(st);
                topic_committed = topic_n;
                pos = taken;
                clock = taken_clock;
                snapped_at = taken_at;
            }
        } else if (rnd(4) == 0) {
            upt_state_snapshot_begin(st, rnd(8) == 0);
            taken = upt_state_pos(st);
            taken_clock = upt_state_clock(st);
            taken_at = i + 1;
            taking = true;
        }
        if (rnd(15) == 0 && crashes < 20) {
            crashes++;
            upt_state_destroy(&st);
            topic_cut(topic_committed);
            st = restore(pos, clock);
            taking = false;
            for (at = snapped_at; at <= i; at++) {
                play(st, &ops[at]);
            }
        }
    }
    return st;
}

/* ---- printing ---- */

static void
print_event(const struct op *op, int i)
{
    const struct upt_event *ev = &op->events[i];
    printf("%s{\"occurred_at\": %" PRId64 ", \"event_id\": \"%s\", \"kind\": \"%s\", \"quantity\": %.17g",
           i > 0 ? ", " : "", ev->occurred_at, op->text[i][0], upt_kind_names[ev->kind], ev->quantity);
    printf(", \"user_id\": \"%s\"", op->text[i][1]);
    if (ev->feature.p != NULL) {
        printf(", \"feature\": \"%s\"", op->text[i][2]);
    }
    printf(", \"properties\": {%s}}", op->text[i][3]);
}

static void
print_request(void)
{
    printf("{\"config\": {\"retention\": %" PRId64 ", \"dedup_window\": %" PRId64 "}, \"ops\": [", retention_ms,
           dedup_window_ms);
    for (int i = 0; i < ops_n; i++) {
        const struct op *op = &ops[i];
        printf("%s", i > 0 ? ", " : "");
        if (op->kind == OP_TICK) {
            printf("{\"tick\": %" PRId64 "}", op->ts);
            continue;
        }
        printf("{\"offset\": %" PRId64 ", \"ts\": %" PRId64 ", \"key\": \"%s\", \"events\": ", op->offset, op->ts,
               op->key);
        if (op->kind != OP_EVENTS) {
            printf(op->kind == OP_DEAD ? "\"dead\"}" : "null}");
            continue;
        }
        printf("[");
        for (int k = 0; k < op->events_n; k++) {
            print_event(op, k);
        }
        printf("]}");
    }
    printf("]}\n");
}

static const char *
micro(upt_i128 v)
{
    static char buf[8][48];
    static int n;
    n = (n + 1) % 8;
    upt_micro_format(v, buf[n]);
    return buf[n];
}

static void
print_usage(const struct upt_usage usage[UPT_WINDOWS], bool logins)
{
    for (int w = 0; w < UPT_WINDOWS; w++) {
        printf("\"events_%s\": \"%" PRIu64 "\", \"units_%s\": \"%s\", ", upt_window_names[w], usage[w].events,
               upt_window_names[w], micro(usage[w].micro_units));
        if (logins) {
            printf("\"logins_%s\": \"%" PRIu64 "\", ", upt_window_names[w], usage[w].logins);
        }
    }
}

static void
print_row(const struct upt_row *row)
{
    printf("\"%.*s\": {", (int)row->account.len, row->account.p);
    print_usage(row->usage, true);
    printf("\"users_24h\": \"%" PRIu64 "\", \"users_7d\": \"%" PRIu64 "\", \"users_30d\": \"%" PRIu64
           "\", \"users_total\": \"%" PRIu64 "\", \"features_30d\": \"%" PRIu64 "\", ",
           row->users_24h, row->users_7d, row->users_30d, row->users_total, row->features_30d);
    if (row->next_change != UPT_NO_CLOCK) {
        printf("\"next_change\": \"%" PRId64 "\", ", row->next_change);
    }
    if (row->segment.p != NULL) {
        printf("\"segment\": \"%.*s\", ", (int)row->segment.len, row->segment.p);
    }
    if (row->tier.p != NULL) {
        printf("\"tier\": \"%.*s\", ", (int)row->tier.len, row->tier.p);
    }
    if (row->has_seats) {
        printf("\"seats\": \"%s\", ", micro(row->micro_seats));
    }
    if (row->renewal_date.p != NULL) {
        printf("\"renewal_date\": \"%.*s\", ", (int)row->renewal_date.len, row->renewal_date.p);
    }
    if (row->seat_utilisation != UPT_SHARE_ABSENT) {
        printf("\"seat_utilisation\": \"%s\", ", micro(row->seat_utilisation));
    }
    if (row->adoption_rate != UPT_SHARE_ABSENT) {
        printf("\"adoption_rate\": \"%s\", ", micro(row->adoption_rate));
    }
    printf("\"first_seen\": \"%" PRId64 "\", \"last_seen\": \"%" PRId64 "\", \"as_of\": \"%" PRId64
           "\", \"partition\": \"%d\", \"offset\": \"%" PRId64 "\"}",
           row->first_seen, row->last_seen, row->as_of, row->partition, row->pos.offset);
}

static void
print_accounts(struct upt_state *st)
{
    struct upt_account *acct;
    const char *comma = "";
    printf("\"accounts\": {");
    for (size_t cursor = 0; (acct = upt_state_next(st, &cursor)) != NULL; comma = ", ") {
        struct upt_row row;
        upt_state_row(st, acct, &row);
        printf("%s", comma);
        print_row(&row);
    }
    comma = "";
    printf("}, \"features_hash\": {");
    for (size_t cursor = 0; (acct = upt_state_next(st, &cursor)) != NULL; comma = ", ") {
        printf("%s\"%.*s\": {", comma, (int)upt_account_id(acct).len, upt_account_id(acct).p);
        const char *inner = "";
        for (size_t i = 0; i < upt_account_features_n(acct); i++) {
            struct upt_str feature;
            uint32_t days;
            upt_account_feature(st, acct, i, &feature, &days);
            if (days != 0) {
                printf("%s\"%.*s\": \"%d\"", inner, (int)feature.len, feature.p, __builtin_popcount(days));
                inner = ", ";
            }
        }
        printf("}");
    }
    printf("}, ");
}

static void
print_answer(struct upt_state *st)
{
    printf("{\"clock\": ");
    if (upt_state_clock(st) == UPT_NO_CLOCK) {
        printf("null, ");
    } else {
        printf("%" PRId64 ", ", upt_state_clock(st));
    }
    const char *comma = "";
    printf("\"verdicts\": [");
    for (int i = 0; i < ops_n; i++) {
        if (ops[i].kind == OP_TICK) {
            continue;
        }
        printf("%s[", comma);
        for (int k = 0; k < ops[i].events_n; k++) {
            printf("%s\"%s\"", k > 0 ? ", " : "", ops[i].verdicts[k]);
        }
        printf("]");
        comma = ", ";
    }
    printf("], ");
    print_accounts(st);
    upt_state_mark_all_dirty(st);
    struct upt_feature_row f;
    comma = "";
    printf("\"features\": {");
    while (upt_state_next_dirty_feature(st, &f)) {
        printf("%s\"%.*s\": {", comma, (int)f.feature.len, f.feature.p);
        print_usage(f.usage, false);
        printf("\"accounts_30d\": \"%" PRIu64 "\", \"users_30d\": \"%" PRIu64 "\"}", f.accounts_30d, f.users_30d);
        comma = ", ";
    }
    printf("}, \"totals\": {");
    struct upt_totals_row t;
    if (upt_state_dirty_totals(st, &t)) {
        print_usage(t.usage, true);
        printf("\"accounts_30d\": \"%" PRIu64 "\", \"users_30d\": \"%" PRIu64 "\", \"users_total\": \"%" PRIu64
               "\", \"accounts_total\": \"%" PRIu64 "\"",
               t.accounts_30d, t.users_30d, t.users_total, t.accounts_total);
    }
    printf("}}\n");
}

int
main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + count; seed++) {
        make_log(seed);
        print_request();
        struct upt_state *st = play_log();
        print_answer(st);
        upt_state_destroy(&st);
        topic_cut(0);
        topic_committed = 0;
    }
    return 0;
}
