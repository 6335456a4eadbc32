/* Random accounts with events of every kind, late ones too, in segments, with alerts acknowledged, snoozed and closed:
 * what is decided is the same whether all is stored and restored on the way or not, and the harness's checks (sums,
 * revisions, ends, ids) hold for everything that comes out.
 */
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"

#define ACCOUNTS 8
#define DAYS 220
#define SEEDS 6

static uint64_t seed;

static unsigned
pick(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 20) % n;
}

static void
random_profile(struct world *w, const char *account, int day)
{
    static const char *const traits[][2] = {
        {"tier", "gold"},        {"tier", "low"},
        {"plan", "trial"},       {"plan", "pro"},
        {"plan", "poc"},         {"contract_value", "90000"},
        {"seats", "6"},          {"seats", "40"},
        {"goals", "g0,g1"},      {"onboarding_steps", "s0,s1,s2"},
        {"ttv_class", "SHORT"},  {"renewal_date", "2025-06-01"},
        {"training", "yes"},     {"segment", "smb"},
        {"entitlement", "1000"}, {"contract_start", "2025-01-10"},
    };
    unsigned i = pick(sizeof(traits) / sizeof(traits[0]));
    world_profile(w, account, day, traits[i][0], traits[i][1]);
}

static void
random_event(struct world *w, const char *account, int day)
{
    static const char *const features[] = {"f0", "f1", "f2", "nps", "csat", "g0", "g1", "s0", "s1", "s2"};
    char user[16];
    (void)snprintf(user, sizeof(user), "u%u", pick(7) * pick(2));
    unsigned kind = pick(UPT_KIND_COUNT * 3);
    int late = pick(12) == 0 ? (int)pick(20) : 0;
    struct upt_event ev = {.event_id = UPT_STR(""),
                           .account_id = upt_str_of(account),
                           .user_id = pick(5) == 0 ? UPT_STR_NULL : upt_str_of(user),
                           .feature = upt_str_of(features[pick(10)]),
                           .quantity = 1 + pick(10),
                           .duration_ms = (int64_t)pick(20) * UPT_DAY_MS,
                           .has_duration = pick(2) == 0,
                           .kind = kind < UPT_KIND_COUNT ? (upt_kind)kind : UPT_KIND_USAGE};
    int64_t now = (DAY0 + day) * UPT_DAY_MS + (8 + pick(10)) * UPT_HOUR_MS;
    now = upt_state_clock(w->st) > now ? upt_state_clock(w->st) : now;
    ev.occurred_at = now - late * UPT_DAY_MS;
    ev.kind = ev.kind == UPT_KIND_CHURNED && pick(4) != 0 ? UPT_KIND_USAGE : ev.kind;
    if (ev.kind == UPT_KIND_PROFILE) {
        random_profile(w, account, day);
        return;
    }
    upt_state_begin(w->st, w->offset++, now);
    assert_int_equal(upt_state_judge(w->st, &ev, now), UPT_REASON_NONE);
    assert_true(upt_state_apply(w->st, ev.account_id, &ev));
}

/* Somebody acknowledges, snoozes or closes the account's latest alert, open or not. */
static void
random_order(struct world *w, const char *account)
{
    static const char *const verbs[] = {"ack", "snooze", "snooze", "close"};
    char until[24];
    char id[33] = "";
    for (int i = w->alerts_n - 1, of = (int)pick(3); i >= 0 && id[0] == '\0'; i--) {
        if (strcmp(w->alert[i].account, account) == 0 && of-- == 0) {
            memcpy(id, w->alert[i].id, sizeof(id));
        }
    }
    (void)snprintf(until, sizeof(until), "%lld",
                   (long long)(upt_state_clock(w->st) + ((int64_t)pick(40) - 4) * UPT_DAY_MS + pick(100000) * 60));
    const char *pairs[] = {"uptake.control", verbs[pick(4)], "uptake.alert", id, "uptake.until", until};
    world_say(w, account, upt_state_clock(w->st), pairs, 3);
}

static const char rules[] =
    "rules: {DATA_QUALITY: {least_accounts: 5}}\n"
    "segments:\n"
    "  busy: {when: {field: events_24h, from: 5}}\n"
    "  dear: {when: {any: [{trait: contract_value, from: 1000}, {field: open_alerts, above: 1}]}}\n"
    "  led: {when: {all: [{step: s0, done: true}, {not: {course: f1, done: true}}]}}\n"
    "  at_risk: {when: {field: churn_risk_30d, above: 0.5}}\n"
    "  new: {when: {field: logins_total, below: 9}}\n"
    "  smb: {when: {all: [{field: segment, in: [smb]}, {feature: f0, used: true, within: 7}]}}\n"
    "  touched: {when: {field: contact_age_days, to: 12}}\n";

/* What happens to an account in half a day. */
static void
random_part(struct world *w, int a, int d)
{
    char account[16];
    (void)snprintf(account, sizeof(account), "a%d", a);
    bool quiet = (d > 150 && a < 3) || (d > 100 && d < 110) || (a == 4 && d % 7 != 1);
    for (unsigned n = quiet ? 0 : pick(5); n > 0; n--) {
        random_event(w, account, d);
    }
    if (pick(12) == 0) {
        random_order(w, account);
    }
}

/* every: days between restarts; 0: none. */
static struct world *
live(uint64_t from, int every)
{
    struct world *w = world_new(rules);
    seed = from;
    for (int d = 0; d < DAYS; d++) {
        bool restart = every > 0 && d % every == 0;
        bool early = d / 7 % 2 == 0; /* among the day's events, while segments are still to be judged, or after */
        for (int half = 0; half < 2; half++) {
            for (int a = 0; a < ACCOUNTS; a++) {
                random_part(w, a, d);
            }
            if (restart && early && half == 0) {
                world_restart(w);
            }
        }
        world_to(w, d, 18, 30);
        if (restart && !early) {
            world_restart(w);
        }
        world_to(w, d + 1, 0, 59);
    }
    return w;
}

static void
same(struct world *x, struct world *y)
{
    assert_int_equal(x->alerts_n, y->alerts_n);
    assert_int_equal(x->health_n, y->health_n);
    for (int i = 0; i < x->alerts_n; i++) {
        const struct kept_alert *p = &x->alert[i];
        const struct kept_alert *q = &y->alert[i];
        assert_string_equal(p->id, q->id);
        assert_string_equal(p->subject, q->subject);
        assert_string_equal(p->counterfactual, q->counterfactual);
        assert_true(p->a.action == q->a.action && p->a.severity == q->a.severity && p->a.changed_at == q->a.changed_at);
        assert_memory_equal(&p->a.observed, &q->a.observed, sizeof(double));
        assert_memory_equal(&p->a.health, &q->a.health, sizeof(double));
    }
    for (int a = 0; a < ACCOUNTS; a++) {
        char account[16];
        (void)snprintf(account, sizeof(account), "a%d", a);
        struct upt_buf p = {0};
        struct upt_buf q = {0};
        upt_ext_encode(world_ext(x, account), x->rules->segments, &p);
        upt_ext_encode(world_ext(y, account), y->rules->segments, &q);
        assert_int_equal(p.len, q.len);
        assert_memory_equal(p.p, q.p, p.len);
        upt_buf_fini(&p);
        upt_buf_fini(&q);
    }
}

static void
restarts_change_nothing(void **state)
{
    (void)state;
    bool seen[UPT_RULES] = {false};
    int told[2] = {0};
    for (uint64_t s = 1; s <= SEEDS; s++) {
        struct world *x = live(s * UINT64_C(0x9E3779B97F4A7C15), 0);
        struct world *y = live(s * UINT64_C(0x9E3779B97F4A7C15), (int)s);
        same(x, y);
        for (int i = 0; i < x->alerts_n; i++) {
            told[0] += strncmp(x->alert[i].counterfactual, "Closed by hand", 14) == 0;
            told[1] += strcmp(x->alert[i].counterfactual, "Ended while it was snoozed.") == 0;
            for (int r = 0; r < UPT_RULES; r++) {
                seen[r] = seen[r] || strcmp(x->alert[i].rule, upt_rule_names[r]) == 0;
            }
        }
        world_free(x);
        world_free(y);
    }
    int n = 0;
    for (int r = 0; r < UPT_RULES; r++) {
        n += seen[r] ? 1 : 0;
    }
    assert_true(seen[UPT_RULE_SEGMENT_ENTER] && seen[UPT_RULE_SEGMENT_EXIT]);
    assert_true(told[0] > 0 && told[1] > 0);
    assert_true(n >= 14); /* or the accounts are too dull to prove anything */
}

/* What an account had made goes with it. */
static void
forgotten_is_free(void **state)
{
    (void)state;
    struct world *w = live(UINT64_C(77), 0);
    upt_state_begin(w->st, w->offset++, upt_state_clock(w->st));
    for (int a = 0; a < ACCOUNTS; a++) {
        char account[16];
        (void)snprintf(account, sizeof(account), "a%d", a);
        int open = (int)upt_open_alerts(world_ext(w, account));
        int expired = world_count(w, account, NULL, UPT_EXPIRE);
        upt_state_forget(w->st, upt_str_of(account));
        assert_int_equal(world_count(w, account, NULL, UPT_EXPIRE), expired + open);
    }
    assert_int_equal(upt_state_accounts_n(w->st), 0);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(restarts_change_nothing), cmocka_unit_test(forgotten_is_free)};
    return cmocka_run_group_tests_name("score_random", tests, NULL, NULL);
}
