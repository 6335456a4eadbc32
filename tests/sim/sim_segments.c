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

#include "sim_score.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define OPS_MAX 140
#define TOLD_MAX 20000
#define TEXT_MAX 20000

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
    int a = least + (int)sim_rnd(span);
    switch (sim_rnd(4)) {
    case 0:
        say(", \"%s\": %d", SIM_ONE_OF(low), a);
        break;
    case 1:
        say(", \"%s\": %d", SIM_ONE_OF(high), a);
        break;
    case 2:
        say(", \"from\": %d.5, \"to\": %d", a, a + 1 + (int)sim_rnd(span));
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
    switch (sim_rnd(6)) {
    case 0:
    case 1:
        say("{\"field\": \"%s\"", SIM_ONE_OF(counters));
        make_range(0, 6);
        break;
    case 2:
    case 3:
        say("{\"field\": \"%s\"", SIM_ONE_OF(ages));
        make_range(sim_rnd(3) == 0 ? -5 : 0, 20);
        break;
    case 4:
        say("{\"field\": \"%s\", \"%s\": 0.%u", SIM_ONE_OF(shares), sim_rnd(2) == 0 ? "from" : "below", sim_rnd(10));
        break;
    default:
        say("{\"field\": \"%s\", \"%s\": %s", SIM_ONE_OF(yes_no), sim_rnd(4) == 0 ? "known" : "is",
            sim_rnd(2) == 0 ? "true" : "false");
        break;
    }
    say("}");
}

static void
make_leaf(void)
{
    static const char *const tiers[] = {"gold", "tin", "smb", "12.5", "7"};
    switch (sim_rnd(8)) {
    case 0:
        say("{\"trait\": \"tier\", \"in\": [\"%s\", \"%s\"]}", SIM_ONE_OF(tiers), SIM_ONE_OF(tiers));
        break;
    case 1:
        say("{\"trait\": \"size\"");
        make_range(5, 8);
        say("}");
        break;
    case 2:
        say("{\"trait\": \"renewal_date\", \"as\": \"%s\"", sim_rnd(2) == 0 ? "days_since" : "days_until");
        make_range(-10, 30);
        say("}");
        break;
    case 3:
        say("{\"feature\": \"%s\", \"used\": %s", SIM_ONE_OF(features), sim_rnd(2) == 0 ? "true" : "false");
        if (sim_rnd(2) == 0) {
            say(", \"within\": %u", 1 + sim_rnd(30));
        }
        say("}");
        break;
    case 4:
        say("{\"feature\": \"%s\", \"from\": %u, \"within\": %u}", SIM_ONE_OF(features), 1 + sim_rnd(4),
            1 + sim_rnd(30));
        break;
    case 5:
        say("{\"course\": \"%s\", \"done\": %s}", SIM_ONE_OF(courses), sim_rnd(2) == 0 ? "true" : "false");
        break;
    case 6:
        say("{\"step\": \"%s\", \"done\": %s}", SIM_ONE_OF(steps), sim_rnd(2) == 0 ? "true" : "false");
        break;
    default:
        say("{\"field\": \"%s\", \"known\": %s}", sim_rnd(2) == 0 ? "segment" : "renewal_date",
            sim_rnd(2) == 0 ? "true" : "false");
        break;
    }
}

static void
make_condition(int depth)
{
    uint32_t dice = sim_rnd(10);
    if (depth == 0 || dice < 5) {
        if (sim_rnd(3) == 0) {
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
        for (uint32_t i = 0, n = 1 + sim_rnd(3); i < n; i++) {
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
    for (uint32_t i = 0, n = 1 + sim_rnd(5); i < n; i++) {
        say("%s\"s%u\": {\"enabled\": %s, \"when\": ", i > 0 ? ", " : "", (i * 7 + 3) % 10,
            sim_rnd(12) == 0 ? "false" : "true");
        make_condition(3);
        say("}");
    }
    say("}");
}

static struct upt_rules *
load_rules(void)
{
    char text[TEXT_MAX + 16];
    snprintf(text, sizeof(text), "segments: %s", rules_text);
    return sim_rules(text);
}

/* ---- the log ---- */

static struct sim_op ops[OPS_MAX];
static int ops_n;

static void
make_props(struct sim_op *op)
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
    const char *const *pair = pairs[sim_rnd(sizeof(pairs) / sizeof(pairs[0]))];
    sim_property(op, pair[0], pair[1]);
}

static void
make_event(struct sim_op *op)
{
    static const upt_kind kinds[] = {
        UPT_KIND_USAGE,   UPT_KIND_USAGE,   UPT_KIND_USAGE,        UPT_KIND_USAGE,
        UPT_KIND_LOGIN,   UPT_KIND_LOGIN,   UPT_KIND_VALUE,        UPT_KIND_SIGNUP,
        UPT_KIND_CONTACT, UPT_KIND_SEATS,   UPT_KIND_TRAINING,     UPT_KIND_ONBOARDING_STEP,
        UPT_KIND_PROFILE, UPT_KIND_PROFILE, UPT_KIND_USER_REMOVED, UPT_KIND_OTHER};
    static const char *const users[] = {"", "u1", "u2", "u3"};
    struct upt_event *ev = &op->ev;
    ev->kind = kinds[sim_rnd(16)];
    ev->event_id = UPT_STR("");
    ev->account_id = upt_str_of(op->key);
    ev->quantity = ev->kind == UPT_KIND_SEATS ? 1 + sim_rnd(5) : sim_rnd(4) == 0 ? 2.5 : 1;
    ev->occurred_at = op->ts - (sim_rnd(6) > 0 ? (int64_t)sim_rnd(60000)
                                               : (int64_t)sim_rnd(33) * UPT_DAY_MS + (int64_t)sim_rnd(7200000));
    snprintf(op->user, sizeof(op->user), "%s", SIM_ONE_OF(users));
    ev->user_id = op->user[0] != '\0' ? upt_str_of(op->user) : UPT_STR_NULL;
    const char *feature = ev->kind == UPT_KIND_USAGE             ? SIM_ONE_OF(features)
                          : ev->kind == UPT_KIND_TRAINING        ? SIM_ONE_OF(courses)
                          : ev->kind == UPT_KIND_ONBOARDING_STEP ? SIM_ONE_OF(steps)
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
    int64_t ts = INT64_C(1767225600000) + (int64_t)sim_rnd(86400) * 1000;
    int64_t offset = 0;
    uint32_t accounts = 1 + sim_rnd(3);
    ops_n = 5 + (int)sim_rnd(OPS_MAX - 5);
    for (int i = 0; i < ops_n; i++) {
        struct sim_op *op = &ops[i];
        memset(op, 0, sizeof(*op));
        ts += (int64_t)sim_rnd((uint32_t)spans[sim_rnd(8)]);
        snprintf(op->key, sizeof(op->key), "acct-%u", sim_rnd(accounts));
        op->kind = i == 0 || sim_rnd(40) > 3 ? 'e' : sim_rnd(3) == 0 ? 'f' : 't';
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
    upt_assert(alert->opened_at == alert->changed_at && alert->condition_since == alert->changed_at);
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

static void
print(void)
{
    printf("{\"segments\": %s, \"ops\": [", rules_text);
    for (int i = 0; i < ops_n; i++) {
        printf(i > 0 ? ", " : "");
        sim_print_op(&ops[i]);
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
    const struct upt_sink sink = {.alert = on_alert};
    struct upt_model *model = NULL;
    upt_assert(upt_model_load(NULL, &model, NULL) == UPT_OK);
    for (uint64_t seed = first; seed < first + count; seed++) {
        sim_seed(seed);
        make_segments();
        struct upt_rules *rules = load_rules();
        make_log();
        sim_play(&(const struct sim_play){
            .parts = {model, rules, &sink, 60 * UPT_DAY_MS}, .ops = ops, .ops_n = ops_n, .told_n = &told_n});
        print();
        upt_rules_destroy(&rules);
    }
    upt_model_destroy(&model);
    return 0;
}
