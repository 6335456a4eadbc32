/* Seeded simulation of segments: for each seed random segments and a random small log are played through the real state
 * and score, and one line is printed for run_segments.py: the segments, the log, and who entered and left what when.
 *
 * At random places everything is stored; at others it is thrown away, restored, and the log played again from there,
 * what had been told since being taken back: so what is compared has gone through the checkpoint.
 *
 *   sim_segments FIRST COUNT */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aggregate/score/rules.h"
#include "aggregate/score/score.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define OPS_MAX 140
#define TOLD_MAX 20000
#define TEXT_MAX 20000
#define RECORDS_MAX 16 /* of a checkpoint: three accounts, four features, totals */

static uint64_t rng;

static uint32_t
rnd(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)((rng >> 11) % n);
}

static const char *
one_of(const char *const *names, uint32_t n)
{
    return names[rnd(n)];
}
#define ONE_OF(names) one_of(names, (uint32_t)(sizeof(names) / sizeof((names)[0])))

/* ---- segments, as JSON: which is YAML too ---- */

static char rules_text[TEXT_MAX];
static size_t rules_len;

static __attribute__((format(printf, 1, 2))) void
say(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(rules_text + rules_len, sizeof(rules_text) - rules_len, fmt, args);
    va_end(args);
    upt_assert(n >= 0 && rules_len + (size_t)n < sizeof(rules_text));
    rules_len += (size_t)n;
}

static const char *const features[] = {"search", "export", "api", "reports"};
static const char *const courses[] = {"basics", "admin"};
static const char *const steps[] = {"import", "invite"};

static void
make_range(int least, uint32_t span)
{
    static const char *const low[] = {"from", "above"};
    static const char *const high[] = {"to", "below"};
    int a = least + (int)rnd(span);
    switch (rnd(4)) {
    case 0:
        say(", \"%s\": %d", ONE_OF(low), a);
        break;
    case 1:
        say(", \"%s\": %d", ONE_OF(high), a);
        break;
    case 2:
        say(", \"from\": %d.5, \"to\": %d", a, a + 1 + (int)rnd(span));
        break;
    default:
        say(", \"in\": [%d, %d, %d]", a, a + 1, a + 3);
        break;
    }
}

static void
make_field(void)
{
    static const char *const counters[] = {"events_1h",  "events_24h",  "events_7d",    "events_30d", "units_7d",
                                           "units_1h",   "logins_7d",   "logins_24h",   "users_24h",  "users_7d",
                                           "users_30d",  "users_total", "features_30d", "seats",      "logins_total",
                                           "steps_done", "courses_done"};
    static const char *const ages[] = {"first_seen_age_days", "last_seen_age_days",  "signup_age_days",
                                       "login_age_days",      "key_event_age_days",  "contact_age_days",
                                       "contract_age_days",   "onboarding_age_days", "days_to_renewal"};
    static const char *const shares[] = {"seat_utilisation", "adoption_rate"};
    static const char *const yes_no[] = {"onboarded", "contacted_since_onboarding"};
    switch (rnd(6)) {
    case 0:
    case 1:
        say("{\"field\": \"%s\"", ONE_OF(counters));
        make_range(0, 6);
        break;
    case 2:
    case 3:
        say("{\"field\": \"%s\"", ONE_OF(ages));
        make_range(rnd(3) == 0 ? -5 : 0, 20);
        break;
    case 4:
        say("{\"field\": \"%s\", \"%s\": 0.%u", ONE_OF(shares), rnd(2) == 0 ? "from" : "below", rnd(10));
        break;
    default:
        say("{\"field\": \"%s\", \"%s\": %s", ONE_OF(yes_no), rnd(4) == 0 ? "known" : "is",
            rnd(2) == 0 ? "true" : "false");
        break;
    }
    say("}");
}

static void
make_leaf(void)
{
    static const char *const tiers[] = {"gold", "tin", "smb", "12.5", "7"};
    switch (rnd(8)) {
    case 0:
        say("{\"trait\": \"tier\", \"in\": [\"%s\", \"%s\"]}", ONE_OF(tiers), ONE_OF(tiers));
        break;
    case 1:
        say("{\"trait\": \"size\"");
        make_range(5, 8);
        say("}");
        break;
    case 2:
        say("{\"trait\": \"renewal_date\", \"as\": \"%s\"", rnd(2) == 0 ? "days_since" : "days_until");
        make_range(-10, 30);
        say("}");
        break;
    case 3:
        say("{\"feature\": \"%s\", \"used\": %s", ONE_OF(features), rnd(2) == 0 ? "true" : "false");
        if (rnd(2) == 0) {
            say(", \"within\": %u", 1 + rnd(30));
        }
        say("}");
        break;
    case 4:
        say("{\"feature\": \"%s\", \"from\": %u, \"within\": %u}", ONE_OF(features), 1 + rnd(4), 1 + rnd(30));
        break;
    case 5:
        say("{\"course\": \"%s\", \"done\": %s}", ONE_OF(courses), rnd(2) == 0 ? "true" : "false");
        break;
    case 6:
        say("{\"step\": \"%s\", \"done\": %s}", ONE_OF(steps), rnd(2) == 0 ? "true" : "false");
        break;
    default:
        say("{\"field\": \"%s\", \"known\": %s}", rnd(2) == 0 ? "segment" : "renewal_date",
            rnd(2) == 0 ? "true" : "false");
        break;
    }
}

static void
make_condition(int depth)
{
    uint32_t dice = rnd(10);
    if (depth == 0 || dice < 5) {
        if (rnd(3) == 0) {
            make_leaf();
        } else {
            make_field();
        }
    } else if (dice == 5) {
        say("{\"not\": ");
        make_condition(depth - 1);
        say("}");
    } else {
        say("{\"%s\": [", dice < 8 ? "all" : "any");
        for (uint32_t i = 0, n = 1 + rnd(3); i < n; i++) {
            say(i > 0 ? ", " : "");
            make_condition(depth - 1);
        }
        say("]}");
    }
}

static void
make_segments(void)
{
    rules_len = 0;
    say("{");
    for (uint32_t i = 0, n = 1 + rnd(5); i < n; i++) {
        say("%s\"s%u\": {\"enabled\": %s, \"when\": ", i > 0 ? ", " : "", (i * 7 + 3) % 10,
            rnd(12) == 0 ? "false" : "true");
        make_condition(3);
        say("}");
    }
    say("}");
}

static struct upt_rules *
load_rules(void)
{
    struct upt_rules *rules = NULL;
    struct upt_error err;
    char path[] = "/tmp/upt-sim-segments-XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    upt_assert(file != NULL);
    fprintf(file, "segments: %s\nrules:\n", rules_text);
    for (int i = 0; i < UPT_RULES; i++) {
        fprintf(file, "  %s: {enabled: false}\n", upt_rule_names[i]);
    }
    fclose(file);
    if (upt_rules_load(path, &rules, &err) != UPT_OK) {
        fprintf(stderr, "%s\n%s\n", err.msg, rules_text);
        exit(1);
    }
    (void)unlink(path);
    return rules;
}

/* ---- the log ---- */

struct op {
    char kind; /* e: event, f: forget, t: wall tick */
    int64_t offset, ts;
    char key[16], user[8], feature[16], name[24], value[24], props[64];
    struct upt_event ev;
};

static struct op ops[OPS_MAX];
static int ops_n;

static void
make_props(struct op *op)
{
    static const char *const pairs[][2] = {{"tier", "gold"},
                                           {"tier", "tin"},
                                           {"tier", ""},
                                           {"size", "7"},
                                           {"size", "12.5"},
                                           {"size", "many"},
                                           {"segment", "smb"},
                                           {"segment", ""},
                                           {"renewal_date", "2026-01-20"},
                                           {"renewal_date", "soon"},
                                           {"contract_start", "2025-12-30"},
                                           {"onboarding_steps", "import, invite"},
                                           {"onboarding_steps", "import"},
                                           {"seats", "12"}};
    const char *const *pair = pairs[rnd(sizeof(pairs) / sizeof(pairs[0]))];
    size_t n = 0;
    op->props[n++] = 2;
    for (int k = 0; k < 2; k++) {
        size_t len = strlen(pair[k]);
        op->props[n++] = (char)(2 * len);
        memcpy(op->props + n, pair[k], len);
        n += len;
    }
    op->props[n++] = 0;
    op->ev.properties.raw = (struct upt_str){.p = op->props, .len = (uint32_t)n};
    snprintf(op->name, sizeof(op->name), "%s", pair[0]);
    snprintf(op->value, sizeof(op->value), "%s", pair[1]);
}

static void
make_event(struct op *op)
{
    static const upt_kind kinds[] = {
        UPT_KIND_USAGE,   UPT_KIND_USAGE,   UPT_KIND_USAGE,        UPT_KIND_USAGE,
        UPT_KIND_LOGIN,   UPT_KIND_LOGIN,   UPT_KIND_VALUE,        UPT_KIND_SIGNUP,
        UPT_KIND_CONTACT, UPT_KIND_SEATS,   UPT_KIND_TRAINING,     UPT_KIND_ONBOARDING_STEP,
        UPT_KIND_PROFILE, UPT_KIND_PROFILE, UPT_KIND_USER_REMOVED, UPT_KIND_OTHER};
    static const char *const users[] = {"", "u1", "u2", "u3"};
    struct upt_event *ev = &op->ev;
    ev->kind = kinds[rnd(16)];
    ev->event_id = UPT_STR("");
    ev->account_id = upt_str_of(op->key);
    ev->quantity = ev->kind == UPT_KIND_SEATS ? 1 + rnd(5) : rnd(4) == 0 ? 2.5 : 1;
    ev->occurred_at =
        op->ts - (rnd(6) > 0 ? (int64_t)rnd(60000) : (int64_t)rnd(33) * UPT_DAY_MS + (int64_t)rnd(7200000));
    snprintf(op->user, sizeof(op->user), "%s", ONE_OF(users));
    ev->user_id = op->user[0] != '\0' ? upt_str_of(op->user) : UPT_STR_NULL;
    const char *feature = ev->kind == UPT_KIND_USAGE             ? ONE_OF(features)
                          : ev->kind == UPT_KIND_TRAINING        ? ONE_OF(courses)
                          : ev->kind == UPT_KIND_ONBOARDING_STEP ? ONE_OF(steps)
                                                                 : NULL;
    snprintf(op->feature, sizeof(op->feature), "%s", feature == NULL ? "" : feature);
    ev->feature = feature == NULL ? UPT_STR_NULL : upt_str_of(op->feature);
    if (ev->kind == UPT_KIND_PROFILE) {
        make_props(op);
    }
}

static void
make_log(void)
{
    static const int64_t spans[] = {20 * UPT_DAY_MS,    UPT_DAY_MS,        4 * UPT_HOUR_MS,   4 * UPT_HOUR_MS,
                                    10 * UPT_MINUTE_MS, 3 * UPT_MINUTE_MS, 3 * UPT_MINUTE_MS, UPT_MINUTE_MS};
    int64_t ts = INT64_C(1767225600000) + (int64_t)rnd(86400) * 1000;
    int64_t offset = 0;
    uint32_t accounts = 1 + rnd(3);
    ops_n = 5 + (int)rnd(OPS_MAX - 5);
    for (int i = 0; i < ops_n; i++) {
        struct op *op = &ops[i];
        memset(op, 0, sizeof(*op));
        ts += (int64_t)rnd((uint32_t)spans[rnd(8)]);
        snprintf(op->key, sizeof(op->key), "acct-%u", rnd(accounts));
        op->kind = i == 0 || rnd(40) > 3 ? 'e' : rnd(3) == 0 ? 'f' : 't';
        op->ts = op->kind == 't' ? upt_floor_div(ts, UPT_MINUTE_MS) * UPT_MINUTE_MS : ts;
        op->offset = op->kind == 't' ? -1 : offset++;
        if (op->kind == 'e') {
            make_event(op);
        }
    }
}

/* ---- playing it ---- */

struct told {
    char account[16], rule[16], segment[16];
    int64_t at;
};
static struct told told[TOLD_MAX];
static int told_n;

static void
on_alert(void *ctx, const struct upt_alert *alert)
{
    (void)ctx;
    upt_assert(told_n < TOLD_MAX);
    if (alert->action != UPT_OPEN) {
        upt_assert(alert->action == UPT_RESOLVE && alert->revision == 1);
        return;
    }
    struct told *to = &told[told_n++];
    snprintf(to->account, sizeof(to->account), "%.*s", (int)alert->account.len, alert->account.p);
    snprintf(to->rule, sizeof(to->rule), "%.*s", (int)alert->rule.len, alert->rule.p);
    snprintf(to->segment, sizeof(to->segment), "%.*s", (int)alert->subject.len, alert->subject.p);
    to->at = alert->changed_at;
}

static struct upt_metrics metrics;
static struct upt_model *model;
static struct upt_rules *rules;

struct machine {
    struct upt_score *score;
    struct upt_state *st;
};

static struct machine
machine_new(void)
{
    struct machine m = {0};
    const struct upt_sink sink = {.alert = on_alert};
    upt_assert(upt_score_create(model, rules, "0123456789abcdef", &sink, &m.score, NULL) == UPT_OK);
    const struct upt_state_config config = {.max_future_ms = 5 * UPT_MINUTE_MS,
                                            .dedup_window_ms = 10 * UPT_MINUTE_MS,
                                            .retention_ms = 60 * UPT_DAY_MS,
                                            .adopted_days = 3,
                                            .observer = &upt_score_observer,
                                            .observer_ctx = m.score,
                                            .metrics = &metrics};
    upt_assert(upt_state_create(&config, &m.st, NULL) == UPT_OK);
    return m;
}

static void
machine_end(struct machine *m)
{
    upt_state_destroy(&m->st);
    upt_score_destroy(&m->score);
}

static void
play(struct machine *m, const struct op *op)
{
    if (op->kind == 't') {
        if (op->ts > upt_state_clock(m->st)) {
            upt_state_wall_tick(m->st, op->ts);
        }
        return;
    }
    upt_state_begin(m->st, op->offset, op->ts);
    if (op->kind == 'f') {
        upt_state_forget(m->st, upt_str_of(op->key));
    } else if (upt_state_judge(m->st, &op->ev, op->ts) == UPT_REASON_NONE) {
        (void)upt_state_apply(m->st, upt_str_of(op->key), &op->ev);
    }
}

/* Everything at one position. */
struct stored {
    struct upt_buf key[RECORDS_MAX], value[RECORDS_MAX];
    size_t n;
    struct upt_pos pos;
    int64_t clock;
    int at, told_n;
};

static void
store(struct machine *m, struct stored *to, int at)
{
    for (size_t i = 0; i < RECORDS_MAX; i++) {
        upt_buf_clear(&to->key[i]);
        upt_buf_clear(&to->value[i]);
    }
    to->n = 0;
    to->pos = upt_state_pos(m->st);
    to->clock = upt_state_clock(m->st);
    to->at = at;
    to->told_n = told_n;
    upt_state_snapshot_begin(m->st, true);
    while (upt_state_snapshot_next(m->st, &to->key[to->n], &to->value[to->n])) {
        to->n += to->value[to->n].len > 0;
        upt_assert(to->n < RECORDS_MAX);
    }
    upt_state_snapshot_stored(m->st);
}

static void
restore(struct machine *m, const struct stored *from)
{
    machine_end(m);
    *m = machine_new();
    for (size_t i = 0; i < from->n; i++) {
        upt_assert(upt_state_load(m->st, (struct upt_str){from->key[i].p, (uint32_t)from->key[i].len},
                                  (struct upt_str){from->value[i].p, (uint32_t)from->value[i].len}, NULL) == UPT_OK);
    }
    upt_assert(upt_state_load_done(m->st, from->pos, from->clock, NULL) == UPT_OK);
    told_n = from->told_n;
}

static void
play_log(void)
{
    static struct stored stored;
    struct machine m = machine_new();
    int crashes = 0;
    told_n = 0;
    stored.n = 0;
    stored.at = -1;
    for (int i = 0; i < ops_n; i++) {
        play(&m, &ops[i]);
        if (rnd(8) == 0) {
            store(&m, &stored, i + 1);
        }
        if (stored.at >= 0 && rnd(15) == 0 && crashes++ < 10) {
            restore(&m, &stored);
            for (int k = stored.at; k <= i; k++) {
                play(&m, &ops[k]);
            }
        }
    }
    machine_end(&m);
}

static void
print(void)
{
    printf("{\"segments\": %s, \"ops\": [", rules_text);
    for (int i = 0; i < ops_n; i++) {
        const struct op *op = &ops[i];
        printf("%s{\"op\": \"%c\", \"ts\": %" PRId64 ", \"key\": \"%s\"", i > 0 ? ", " : "", op->kind, op->ts, op->key);
        if (op->kind == 'e') {
            printf(", \"minute\": %" PRIu64 ", \"offset\": %" PRId64, upt_hash(op->key, strlen(op->key)) % 60,
                   op->offset);
            printf(", \"at\": %" PRId64
                   ", \"kind\": \"%s\", \"user\": \"%s\", \"feature\": \"%s\", \"quantity\": %.17g",
                   op->ev.occurred_at, upt_kind_names[op->ev.kind], op->user, op->feature, op->ev.quantity);
            printf(", \"name\": \"%s\", \"value\": \"%s\"", op->name, op->value);
        }
        printf("}");
    }
    printf("], \"told\": [");
    for (int i = 0; i < told_n; i++) {
        printf("%s[\"%s\", \"%s\", \"%s\", %" PRId64 "]", i > 0 ? ", " : "", told[i].account, told[i].rule,
               told[i].segment, told[i].at);
    }
    printf("]}\n");
}

int
main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    upt_assert(upt_model_load(NULL, &model, NULL) == UPT_OK);
    for (uint64_t seed = first; seed < first + count; seed++) {
        rng = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
        make_segments();
        rules = load_rules();
        make_log();
        play_log();
        print();
        upt_rules_destroy(&rules);
    }
    upt_model_destroy(&model);
    return 0;
}
