/* Seeded simulation of signals: for each seed a random log of some accounts' lives is played through the real state and
 * score, restored at random places (sim_score.h), and one line is printed for run_signals.py: the log, and the signals
 * of every account's row at the operations where they were looked at, in millionths.
 *
 *   sim_signals FIRST COUNT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_score.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define OPS_MAX 500
#define LOOKS_MAX (OPS_MAX * 3)

/* How long the steps of a log are, and of how many things it speaks how often. */
static struct {
    int64_t pace, began; /* began: day */
    uint32_t accounts, users, features, steps, goals;
    int spell;      /* operations for which one user is there more often than the others */
    upt_kind often; /* one event of three is of this kind */
} life;

static struct sim_op ops[OPS_MAX];
static int ops_n;
static bool look_at[OPS_MAX];

static void
make_life(void)
{
    static const int64_t paces[] = {UPT_HOUR_MS, 8 * UPT_HOUR_MS, 16 * UPT_HOUR_MS,
                                    UPT_DAY_MS,  2 * UPT_DAY_MS,  6 * UPT_DAY_MS};
    life.pace = paces[sim_rnd(6)];
    life.accounts = 1 + sim_rnd(2) + sim_rnd(2);
    life.users = 1 + sim_rnd(6);
    life.features = sim_rnd(12) == 0 ? 80 : 1 + sim_rnd(5);
    life.steps = sim_rnd(4) == 0 ? 20 : 1 + sim_rnd(4);
    life.goals = sim_rnd(6) == 0 ? 12 : 1 + sim_rnd(3);
    life.spell = 30 + (int)sim_rnd(200);
    life.often = sim_rnd(2) == 0 ? UPT_KIND_USAGE : (upt_kind)sim_rnd(UPT_KIND_COUNT);
}

/* ---- the log ---- */

/* Three goals, each with a date, a target, both or neither. */
static void
make_goals(struct sim_op *op)
{
    static const char *const targets[] = {"", "=40", "=0.5", " = 2.5e1", "=1e9"};
    char text[64] = "";
    for (int i = 0; i < 3; i++) {
        char date[16] = "";
        bool dated = i < 2 && sim_rnd(3) > 0;
        if (dated) {
            upt_format_day(life.began + (int64_t)sim_rnd(150), date);
        }
        const char *target = SIM_ONE_OF(targets);
        size_t len = strlen(text);
        bool first = sim_rnd(2) == 0;
        snprintf(text + len, sizeof(text) - len, "%sg%u%s%s%s%s", i > 0 ? "," : "", sim_rnd(life.goals),
                 first ? target : "", dated ? "@" : "", date, first ? "" : target);
    }
    sim_property(op, "goals", text);
}

/* Four meters, or what looks like one. */
static void
make_entitlements(struct sim_op *op)
{
    static const char *const units[] = {"=40", "=0.5", " = 2.5e1 ", "=300", "=0", "", "=-3", "=x", "=1e16"};
    char text[64] = "";
    for (int i = 0; i < 4; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "%sf%u%s", i > 0 ? "," : "", sim_rnd(life.features + 1),
                 sim_rnd(3) > 0 ? units[sim_rnd(4)] : SIM_ONE_OF(units));
    }
    sim_property(op, "entitlements", text);
}

static const char *const pairs[][2] = {{"contract_start", "soon"},
                                       {"contract_start", ""},
                                       {"onboarding_steps", "s0"},
                                       {"onboarding_steps", "s0, s1"},
                                       {"onboarding_steps", "s1,s0, s2,,"},
                                       {"onboarding_steps", "s0,s9,s17,s20"},
                                       {"onboarding_steps", ""},
                                       {"onboarding_steps", "s0"},
                                       {"onboarding_steps", "s1"},
                                       {"goals", "g0,g1"},
                                       {"stakeholders", "5"},
                                       {"stakeholders", "0.5"},
                                       {"stakeholders", "0"},
                                       {"goals", ""},
                                       {"goals", "g0=0,g1@soon,g2 = x,g0@2026-02-30,=3,@2026-02-01"},
                                       {"entitlements", ""},
                                       {"entitlements", "f0=1,f1=2,f2=3,f3=4,f4=5,f5=6,f6=7,f7=8,f8=9,f9=10"},
                                       {"contract_value", "50000"},
                                       {"contract_value", "12.345678"},
                                       {"contract_value", "5e9"},
                                       {"contract_value", "4000000000"},
                                       {"contract_value", "1e15"},
                                       {"contract_value", "2e15"},
                                       {"contract_value", "-3"},
                                       {"contract_value", "much"},
                                       {"contract_value", "0x10"},
                                       {"contract_value", " 7"},
                                       {"contract_value", "+12.5e3"},
                                       {"contract_value", "0"},
                                       {"entitlement", "100"},
                                       {"entitlement", "7.5"},
                                       {"entitlement", "0"},
                                       {"entitlement", "3000"},
                                       {"entitlement", "none"},
                                       {"ttv_class", "SHORT"},
                                       {"ttv_class", "IMMEDIATE"},
                                       {"ttv_class", "LONG"},
                                       {"ttv_class", ""},
                                       {"ttv_class", "long"},
                                       {"plan", "trial"},
                                       {"plan", "Free"},
                                       {"plan", "trial"},
                                       {"plan", "poc"},
                                       {"plan", "paid poc"},
                                       {"plan", "evaluation"},
                                       {"plan", "business"},
                                       {"plan", ""},
                                       {"training", "yes"},
                                       {"training", ""},
                                       {"renewal_date", "later"},
                                       {"renewal_date", ""},
                                       {"seats", "12"},
                                       {"seats", "2.5"},
                                       {"seats", "0"},
                                       {"seats", ""},
                                       {"tier", "gold"},
                                       {"segment", "smb"}};

static void
make_trait(struct sim_op *op)
{
    if (sim_rnd(6) == 0) {
        char steps[32];
        snprintf(steps, sizeof(steps), "s%u, s%u", sim_rnd(life.steps), sim_rnd(life.steps));
        sim_property(op, "onboarding_steps", steps);
        return;
    }
    if (sim_rnd(6) == 0) {
        make_goals(op);
        return;
    }
    if (sim_rnd(6) == 0) {
        make_entitlements(op);
        return;
    }
    if (sim_rnd(4) == 0) {
        bool contract = sim_rnd(2) == 0;
        char date[16];
        upt_format_day(life.began + (int64_t)sim_rnd(contract ? 60 : 400) - (contract ? 30 : 50), date);
        sim_property(op, contract ? "contract_start" : "renewal_date", date);
        return;
    }
    const char *const *pair = pairs[sim_rnd(sizeof(pairs) / sizeof(pairs[0]))];
    sim_property(op, pair[0], pair[1]);
}

static const char *
numbered(struct sim_op *op, char letter, uint32_t n)
{
    snprintf(op->feature, sizeof(op->feature), "%c%u", letter, sim_rnd(n));
    return op->feature;
}

/* What the kind's fields say; NULL: no feature. */
static const char *
make_content(struct sim_op *op)
{
    struct upt_event *ev = &op->ev;
    switch (ev->kind) {
    case UPT_KIND_USAGE:
        ev->quantity = sim_rnd(4) == 0 ? 2.5 : sim_rnd(20);
        return sim_rnd(10) == 0 ? NULL : numbered(op, 'f', life.features);
    case UPT_KIND_VALUE:
        if (sim_rnd(3) == 0) {
            sim_property(op, "level", sim_rnd(3) == 0 ? "basic" : "exceeded");
        }
        ev->quantity = sim_rnd(3) > 0 ? 1 : sim_rnd(30) == 0 ? 1e9 : 0.5 * sim_rnd(30);
        return sim_rnd(6) == 0 ? NULL : numbered(op, 'g', life.goals);
    case UPT_KIND_RELEASE:
        return sim_rnd(8) == 0 ? NULL : numbered(op, 'f', life.features + 1);
    case UPT_KIND_ONBOARDING_STEP:
        return sim_rnd(12) == 0 ? NULL : numbered(op, 's', life.steps);
    case UPT_KIND_TRAINING:
        return numbered(op, 'c', 3);
    case UPT_KIND_TICKET_CLOSED:
        ev->has_duration = sim_rnd(4) > 0;
        ev->duration_ms = sim_rnd(12) == 0 ? -(int64_t)sim_rnd(1000) : (int64_t)sim_rnd(2000000) * 1000;
        return NULL;
    case UPT_KIND_SURVEY:
        snprintf(op->feature, sizeof(op->feature), "%s", sim_rnd(8) == 0 ? "other" : sim_rnd(2) == 0 ? "nps" : "csat");
        ev->quantity = sim_rnd(op->feature[0] == 'n' ? 11 : 5) + (op->feature[0] == 'n' ? 0 : 1);
        if (sim_rnd(15) == 0) {
            ev->quantity = sim_rnd(2) == 0 ? -1.5 : 12;
        }
        return op->feature;
    case UPT_KIND_CONTACT:
        if (sim_rnd(3) == 0) {
            char name[8];
            snprintf(name, sizeof(name), "p%u", sim_rnd(24));
            sim_property(op, "stakeholder", sim_rnd(8) == 0 ? "" : name);
        } else if (sim_rnd(2) == 0) {
            sim_property(op, "human", sim_rnd(3) == 0 ? "true" : "false");
        }
        return NULL;
    case UPT_KIND_SEATS:
        ev->quantity = sim_rnd(8);
        return NULL;
    case UPT_KIND_PROFILE:
        make_trait(op);
        return NULL;
    default:
        return NULL;
    }
}

static void
make_event(struct sim_op *op)
{
    static const upt_kind kinds[] = {
        UPT_KIND_USAGE,           UPT_KIND_USAGE,         UPT_KIND_USAGE,         UPT_KIND_USAGE,
        UPT_KIND_USAGE,           UPT_KIND_USAGE,         UPT_KIND_USAGE,         UPT_KIND_USAGE,
        UPT_KIND_USAGE,           UPT_KIND_USAGE,         UPT_KIND_VALUE,         UPT_KIND_VALUE,
        UPT_KIND_LOGIN,           UPT_KIND_SIGNUP,        UPT_KIND_CONTACT,       UPT_KIND_TRAINING,
        UPT_KIND_TICKET_OPENED,   UPT_KIND_TICKET_OPENED, UPT_KIND_TICKET_CLOSED, UPT_KIND_SURVEY,
        UPT_KIND_SURVEY,          UPT_KIND_RELEASE,       UPT_KIND_SEATS,         UPT_KIND_ONBOARDING_STEP,
        UPT_KIND_ONBOARDING_STEP, UPT_KIND_PROFILE,       UPT_KIND_PROFILE,       UPT_KIND_PROFILE,
        UPT_KIND_USER_REMOVED,    UPT_KIND_RENEWED,       UPT_KIND_CHURNED,       UPT_KIND_OTHER};
    struct upt_event *ev = &op->ev;
    ev->kind = kinds[sim_rnd(sizeof(kinds) / sizeof(kinds[0]))];
    if (sim_rnd(3) == 0) {
        ev->kind = life.often;
    }
    if (ev->kind == UPT_KIND_USER_REMOVED && sim_rnd(2) == 0) {
        ev->kind = UPT_KIND_USAGE;
    }
    ev->event_id = UPT_STR("");
    ev->account_id = upt_str_of(op->key);
    ev->quantity = 1;
    uint32_t dice = sim_rnd(12);
    ev->occurred_at = op->ts - (int64_t)sim_rnd(60000);
    if (dice == 0) {
        ev->occurred_at -= (int64_t)(sim_rnd(3) == 0 ? 29 : sim_rnd(33)) * UPT_DAY_MS + (int64_t)sim_rnd(7200000);
    } else if (dice == 1) {
        ev->occurred_at += (int64_t)sim_rnd(6 * 60000);
    }
    uint32_t user = sim_rnd(2 * life.users + 2);
    if (user <= 2 * life.users) {
        uint32_t favoured = (uint32_t)((op - ops) / life.spell) % life.users;
        op->user[0] = 'u';
        op->user[1] = (char)('0' + (user < life.users ? user : favoured));
    }
    ev->user_id = op->user[0] != '\0' ? upt_str_of(op->user) : UPT_STR_NULL;
    const char *feature = make_content(op);
    if (feature == NULL) {
        op->feature[0] = '\0';
    }
    ev->feature = feature == NULL ? UPT_STR_NULL : upt_str_of(op->feature);
}

static void
make_log(void)
{
    int64_t ts = INT64_C(1767225600000) + (int64_t)sim_rnd(120 * 86400) * 1000;
    int64_t offset = 0;
    life.began = upt_floor_div(ts, UPT_DAY_MS);
    ops_n = 60 + (int)sim_rnd(OPS_MAX - 60);
    for (int i = 0; i < ops_n; i++) {
        struct sim_op *op = &ops[i];
        memset(op, 0, sizeof(*op));
        ts += (int64_t)sim_rnd((uint32_t)(sim_rnd(50) == 0  ? 20 * UPT_DAY_MS
                                          : sim_rnd(4) == 0 ? UPT_MINUTE_MS
                                                            : life.pace));
        snprintf(op->key, sizeof(op->key), "acct-%u", sim_rnd(life.accounts));
        uint32_t dice = sim_rnd(200);
        op->kind = i == 0 || dice > 20 ? 'e' : dice == 0 ? 'f' : 't';
        op->ts = op->kind == 't' ? upt_floor_div(ts, UPT_MINUTE_MS) * UPT_MINUTE_MS : ts;
        op->offset = op->kind == 't' ? -1 : offset++;
        if (op->kind == 'e') {
            make_event(op);
        }
        look_at[i] = i + 1 == ops_n || sim_rnd(5) == 0;
    }
}

/* ---- looking ---- */

struct look {
    char account[16];
    int at;
    struct upt_signal_values values;
};
static struct look looks[LOOKS_MAX];
static int looks_n;

static void
look(struct sim_machine *m, const struct sim_op *op, int at)
{
    (void)op;
    for (uint32_t i = 0; look_at[at] && i < life.accounts; i++) {
        upt_assert(looks_n < LOOKS_MAX);
        struct look *to = &looks[looks_n];
        snprintf(to->account, sizeof(to->account), "acct-%u", i);
        to->at = at;
        struct upt_account *acct = upt_state_find(m->st, upt_str_of(to->account));
        if (acct != NULL) {
            struct upt_row row;
            upt_state_row(m->st, acct, &row);
            upt_assert(upt_signal_unpack(row.signals, &to->values));
            looks_n++;
        }
    }
}

static void
print(void)
{
    printf("{\"ops\": [");
    for (int i = 0; i < ops_n; i++) {
        printf(i > 0 ? ", " : "");
        sim_print_op(&ops[i]);
    }
    printf("], \"looks\": [");
    for (int i = 0; i < looks_n; i++) {
        printf("%s[%d, \"%s\", {", i > 0 ? ", " : "", looks[i].at, looks[i].account);
        const char *between = "";
        for (unsigned k = 0; k < UPT_SIGNALS; k++) {
            if (upt_signal_known(&looks[i].values, k)) {
                char text[48];
                upt_micro_format(looks[i].values.micro[k], text);
                printf("%s\"%s\": \"%s\"", between, upt_signal_names[k], text);
                between = ", ";
            }
        }
        printf("}]");
    }
    printf("], \"signals\": [");
    for (unsigned k = 0; k < UPT_SIGNALS; k++) {
        printf("%s\"%s\"", k > 0 ? ", " : "", upt_signal_names[k]);
    }
    printf("]}\n");
}

int
main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const struct upt_sink sink = {0};
    struct upt_model *model = NULL;
    upt_assert(upt_model_load(argc > 3 ? argv[3] : NULL, &model, NULL) == UPT_OK);
    struct upt_rules *rules = sim_rules("proficiency: {features: \"f1, f3,F0\"}");
    for (uint64_t seed = first; seed < first + count; seed++) {
        sim_seed(seed);
        make_life();
        make_log();
        sim_play(&(const struct sim_play){.parts = {model, rules, &sink, 100 * UPT_DAY_MS},
                                          .ops = ops,
                                          .ops_n = ops_n,
                                          .told_n = &looks_n,
                                          .after = look});
        print();
    }
    upt_rules_destroy(&rules);
    upt_model_destroy(&model);
    return 0;
}
