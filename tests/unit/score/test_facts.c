/* What rules share: patience by class, the watch after onboarding, the cap on notifications, times to close, goals. */
#include <stdio.h>

#include "harness.h"

static int64_t
at(int day)
{
    return (DAY0 + day) * UPT_DAY_MS + 12 * UPT_HOUR_MS;
}

/* The day on which a rule first opens for an account; −1: never. */
static int
opened(const struct world *w, const char *account, const char *rule)
{
    for (int i = 0; i < w->alerts_n; i++) {
        const struct kept_alert *alert = &w->alert[i];
        if (alert->a.action == UPT_OPEN && strcmp(alert->account, account) == 0 && strcmp(alert->rule, rule) == 0) {
            return (int)world_day(alert->a.changed_at);
        }
    }
    return -1;
}

static void
patience(void **state)
{
    (void)state;
    static const char *const classes[] = {"LONG", "long", "SHORT", "IMMEDIATE", "MIDDLE"};
    static const int late[] = {90, 90, 23, 12, 45}; /* 45 days times 2, ½, ¼, 1: whole days that reach it */
    for (int i = 0; i < 5; i++) {
        struct world *w = world_new(NULL);
        world_profile(w, "a", 0, "goals", "hours");
        world_profile(w, "a", 0, "ttv_class", classes[i]);
        world_to(w, 120, 0, 59);
        assert_int_equal(opened(w, "a", "TTV_LATE"), late[i]);
        assert_int_equal(world_day(world_alert(w, "a", "TTV_LATE", 0)->a.condition_since), late[i]);
        world_free(w);
    }
}

/* For 90 days after onboarding, and for early adopters, half as many evaluations suffice. */
static void
watched(void **state)
{
    (void)state;
    struct world *w = world_only("BREADTH_STALL", NULL);
    for (int d = 0; d < 90; d++) {
        world_use(w, "watched", d, "f", 1);
        world_use(w, "plain", d, "f", 1);
        world_use(w, "early", d, "f", 1);
        if (d == 10) {
            world_profile(w, "watched", 10, "onboarding_steps", "x");
            world_profile(w, "early", 10, "early_adopter", "true");
            world_event(w, "watched", UPT_KIND_ONBOARDING_STEP, "x", 1, at(10));
        }
        world_to(w, d + 1, 0, 59);
    }
    assert_int_equal(opened(w, "plain", "BREADTH_STALL"), 66);   /* 60 days, 7 evaluations */
    assert_int_equal(opened(w, "watched", "BREADTH_STALL"), 63); /* 60 days, 4 evaluations */
    assert_int_equal(opened(w, "early", "BREADTH_STALL"), 63);
    world_free(w);
}

/* Two warnings and three pieces of news have reason to open on days 30 and 31: the warnings do; news, of which two may
 * be among the three of a week, when there is room. A CRITICAL one would not wait. */
static void
cap(void **state)
{
    (void)state;
    struct world *w = world_only("ONBOARDING_LATE CONTACT_GAP RELEASE_UNUSED{days: 28};TTV_LATE{late_days: 30};", NULL);
    world_profile(w, "a", 0, "onboarding_steps", "x,y");
    world_profile(w, "a", 0, "goals", "hours");
    world_profile(w, "a", 0, "tier", "gold");
    world_event(w, "a", UPT_KIND_CONTACT, NULL, 1, at(0));
    world_event(w, "a", UPT_KIND_RELEASE, "boards", 1, at(3));
    world_event(w, "a", UPT_KIND_RELEASE, "charts", 1, at(3));
    for (int d = 0; d < 60; d++) {
        world_use(w, "a", d, "f", 1);
        world_to(w, d + 1, 0, 59);
    }
    int64_t when[20];
    int n = 0;
    for (int i = 0; i < w->alerts_n; i++) {
        if (w->alert[i].a.action == UPT_OPEN && n < 20) {
            when[n++] = w->alert[i].a.changed_at;
        }
    }
    static const int days[] = {30, 30, 37, 37}; /* the second release is old news when there is room */
    assert_int_equal(n, 4);
    for (int i = 0; i < n; i++) {
        assert_int_equal(world_day(when[i]), days[i]);
    }
    for (int i = 3; i < n; i++) {
        assert_true(when[i] - when[i - 3] >= 7 * UPT_DAY_MS);
    }
    struct upt_decision d = {.score = w->score, .ext = world_ext(w, "a"), .now = when[1]};
    memcpy(d.ext->signals.slots.notified, (const uint32_t[]){7, 6, 5}, 3 * sizeof(uint32_t));
    d.now = 8 * UPT_MINUTE_MS;
    assert_true(upt_alert_capped(&d, UPT_HIGH));
    assert_false(upt_alert_capped(&d, UPT_CRITICAL));
    world_free(w);
}

static int
slots_of(struct world *w, int rule, int state)
{
    const struct upt_slots *slots = &world_ext(w, "a")->signals.slots;
    int n = 0;
    for (unsigned i = 0; i < slots->n; i++) {
        n += slots->v[i].rule == rule && slots->v[i].state == state ? 1 : 0;
    }
    return n;
}

/* Releases that the cap held back until they were old news, or until others took their places, hold back no later one.
 */
static void
capped_releases(void **state)
{
    (void)state;
    for (int pushed = 0; pushed < 2; pushed++) {
        struct world *w = world_only("SUPPORT_PAIN RELEASE_UNUSED{days: 1};", "notify: {most: 2, within: 30d}");
        int most = 0;
        for (int d = 0; d < 150; d++) {
            char name[16];
            world_use(w, "a", d, "f", 1);
            for (int i = 0; d == 20 && i < 8; i++) {
                world_event(w, "a", UPT_KIND_TICKET_OPENED, NULL, 1, at(d));
            }
            if ((d > 20 && d <= 24 + 4 * pushed) || d == 100 || d == 140) {
                (void)snprintf(name, sizeof(name), "r%d", d);
                world_event(w, "a", UPT_KIND_RELEASE, name, 1, at(d));
            }
            int now = slots_of(w, UPT_RULE_RELEASE_UNUSED, UPT_SLOT_PENDING);
            most = now > most ? now : most;
        }
        assert_int_equal(world_count(w, "a", "SUPPORT_PAIN", UPT_OPEN), 1);
        assert_int_equal(most, 4);
        assert_int_equal(slots_of(w, UPT_RULE_RELEASE_UNUSED, UPT_SLOT_PENDING), 0);
        assert_int_equal(world_count(w, "a", "RELEASE_UNUSED", UPT_OPEN), 1); /* none of day 140 while that is open */
        assert_int_equal(opened(w, "a", "RELEASE_UNUSED"), 101);
        world_free(w);
    }
    /* Pushed out while it was about to open: at once. */
    struct world *w = world_only("SUPPORT_PAIN RELEASE_UNUSED{days: 1};", "notify: {most: 2, within: 30d}");
    for (int d = 0; d < 28; d++) {
        char name[16];
        world_use(w, "a", d, "f", 1);
        for (int i = 0; d == 20 && i < 8; i++) {
            world_event(w, "a", UPT_KIND_TICKET_OPENED, NULL, 1, at(d));
        }
        (void)snprintf(name, sizeof(name), "r%d", d);
        if (d > 20 && d < 25) {
            world_event(w, "a", UPT_KIND_RELEASE, name, 1, at(d));
        }
    }
    assert_int_equal(slots_of(w, UPT_RULE_RELEASE_UNUSED, UPT_SLOT_PENDING), 4);
    world_event(w, "a", UPT_KIND_RELEASE, "r28", 1, at(28));
    assert_int_equal(slots_of(w, UPT_RULE_RELEASE_UNUSED, UPT_SLOT_PENDING), 3);
    world_free(w);
}

/* The weekly look that sees a feature used less takes away what the cap held back. */
static void
capped_habit(void **state)
{
    (void)state;
    struct world *w = world_only("SUPPORT_PAIN FEATURE_ABANDONED", "notify: {most: 1, within: 60d}");
    for (int d = 0; d < 84; d++) {
        world_use(w, "a", d, "f", 1);
        if (d <= 60) {
            world_use(w, "a", d, "export", 1);
        }
        for (int i = 0; d == 70 && i < 8; i++) {
            world_event(w, "a", UPT_KIND_TICKET_OPENED, NULL, 1, at(d));
        }
    }
    assert_int_equal(slots_of(w, UPT_RULE_FEATURE_ABANDONED, UPT_SLOT_PENDING), 1);
    world_use(w, "a", 84, "export", 1);
    world_to(w, 85, 0, 59); /* a weekly look: day 1 and every seventh after it */
    assert_int_equal(slots_of(w, UPT_RULE_FEATURE_ABANDONED, UPT_SLOT_PENDING), 0);
    world_free(w);
}

static struct upt_decision
decision_of(struct world *w)
{
    return (struct upt_decision){.score = w->score,
                                 .st = w->st,
                                 .acct = world_account(w, "a"),
                                 .ext = world_ext(w, "a"),
                                 .now = upt_state_clock(w->st)};
}

/* How many the cap holds back now; the sentence of the factor is in text. */
static int
held_back(struct world *w, char text[200])
{
    const struct upt_decision d = decision_of(w);
    struct upt_factor factor = {.value = 0};
    text[0] = '\0';
    if (upt_factor_held_back(&d, &factor, text) == 0) {
        return 0;
    }
    assert_true(upt_str_eq(factor.name, UPT_STR("held_back")) && !(fabs(factor.log_odds) > 0));
    assert_true(factor.text.p == text && factor.text.len < 200 && text[factor.text.len - 1] == '.');
    return (int)factor.value;
}

/* Held back from the day on that it would open, as long as its rule says so; named by what leaves, after a restart too.
 */
static void
held_back_is_named(void **state)
{
    (void)state;
    struct world *w = world_only("ONBOARDING_LATE CONTACT_GAP RELEASE_UNUSED{days: 28};TTV_LATE{late_days: 30};", NULL);
    char text[200];
    world_profile(w, "a", 0, "onboarding_steps", "x,y");
    world_profile(w, "a", 0, "goals", "hours");
    world_profile(w, "a", 0, "tier", "gold");
    world_event(w, "a", UPT_KIND_CONTACT, NULL, 1, at(0));
    world_event(w, "a", UPT_KIND_RELEASE, "boards", 1, at(3));
    world_event(w, "a", UPT_KIND_RELEASE, "charts", 1, at(3));
    for (int d = 0; d < 60; d++) {
        world_use(w, "a", d, "f", 1);
        world_to(w, d + 1, 0, 59);
        if (d == 29) {
            assert_int_equal(held_back(w, text), 0);
        } else if (d == 31) {
            world_restart(w);
            assert_int_equal(held_back(w, text), 3);
            assert_string_equal(text, "Held back meanwhile (at most 3 notifications in 7 days): CONTACT_GAP, "
                                      "RELEASE_UNUSED (2 of them).");
        } else if (d > 36) {
            assert_int_equal(held_back(w, text), 0);
        }
    }
    const char *first = world_held_back(world_alert(w, "a", "ONBOARDING_LATE", 0));
    assert_string_equal(first, ""); /* the first of all: nothing was held back */
    assert_string_equal(world_held_back(world_alert(w, "a", "CONTACT_GAP", 0)),
                        "Held back meanwhile (at most 3 notifications in 7 days): RELEASE_UNUSED (2 of them).");
    assert_string_equal(world_held_back(world_alert(w, "a", "RELEASE_UNUSED", 0)),
                        "Held back meanwhile (at most 3 notifications in 7 days): RELEASE_UNUSED.");
    assert_string_equal(world_held_back(world_alert(w, "a", "ONBOARDING_LATE", 1)), ""); /* later: none any more */
    world_free(w);
}

/* SILENCE and USAGE_DROP count by themselves: held back they are marked, and a use ends what is held back of the
 * first at once. An account that has cancelled has nothing that would open. */
static void
held_back_silence(void **state)
{
    (void)state;
    for (int churned = 0; churned < 2; churned++) {
        struct world *w = world_only("SUPPORT_PAIN SILENCE USAGE_DROP", "notify: {most: 1, within: 60d}");
        char text[200];
        for (int d = 0; d < 70; d++) {
            world_use(w, "a", d, "f", 20);
        }
        for (int i = 0; i < 8; i++) {
            world_event(w, "a", UPT_KIND_TICKET_OPENED, NULL, 1, at(69));
        }
        world_to(w, 71, 0, 59);
        assert_int_equal(world_count(w, "a", "SUPPORT_PAIN", UPT_OPEN), 1);
        for (int d = 72; d < 100 && held_back(w, text) < 2; d++) {
            world_to(w, d, 0, 59);
        }
        assert_string_equal(text, "Held back meanwhile (at most 1 notification in 60 days): SILENCE, USAGE_DROP.");
        world_restart(w);
        const struct upt_decision d = decision_of(w);
        upt_held_back_say(&d, upt_slot_find(&d.ext->signals.slots, UPT_RULE_SILENCE, 0), text, sizeof(text));
        assert_string_equal(text, "Held back: at most 1 notification in 60 days. There is room for it from 2025-05-11 "
                                  "00:19 UTC on.");
        if (churned) {
            world_event(w, "a", UPT_KIND_CHURNED, NULL, 1, upt_state_clock(w->st));
            assert_int_equal(held_back(w, text), 0);
        } else {
            world_event(w, "a", UPT_KIND_USAGE, "f", 1, upt_state_clock(w->st));
            assert_int_equal(held_back(w, text), 1);
            assert_string_equal(text, "Held back meanwhile (at most 1 notification in 60 days): USAGE_DROP.");
        }
        assert_int_equal(world_count(w, "a", "SILENCE", -1), 0);
        world_free(w);
    }
}

/* What is about to open for want of evaluations is not held back. */
static void
waiting_is_not_held_back(void **state)
{
    (void)state;
    struct world *w = world_only("BREADTH_STALL", NULL);
    char text[200];
    for (int d = 0; d < 64; d++) {
        world_use(w, "a", d, "f", 1);
    }
    assert_int_equal(slots_of(w, UPT_RULE_BREADTH_STALL, UPT_SLOT_PENDING), 1);
    assert_int_equal(held_back(w, text), 0);
    world_free(w);
}

/* Of many the first are named and the rest is counted, within what a sentence may take. */
static void
held_back_many(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    char text[200];
    world_use(w, "a", 0, "f", 1);
    struct upt_decision d = decision_of(w);
    for (int rule = 0; rule < UPT_RULE_SEGMENT_ENTER; rule++) {
        for (uint32_t i = 0; i < 3; i++) {
            upt_alert_hold_back(&d, rule, i, UPT_INFO);
        }
    }
    assert_int_equal(held_back(w, text), 63);
    assert_non_null(strstr(text, ": CHURN_RISK (3 of them), HEALTH_BAND (3 of them), SILENCE (3 of them), "));
    assert_non_null(strstr(text, " more."));
    for (int rule = 0; rule < UPT_RULE_SEGMENT_ENTER; rule++) {
        for (uint32_t i = 0; i < 3; i++) {
            upt_alert_let_go(&d, rule, i);
        }
    }
    assert_int_equal(held_back(w, text), 0);
    assert_int_equal(d.ext->signals.slots.n, 0);
    world_free(w);
}

/* A HIGH alert that someone has taken in hand does not escalate by time; one that nobody has, does. */
static void
acknowledged(void **state)
{
    (void)state;
    struct world *w = world_only("ONBOARDING_LATE", NULL);
    static const char *const names[] = {"hers", "nobody's"};
    for (int i = 0; i < 2; i++) {
        world_profile(w, names[i], 0, "onboarding_steps", "x");
        world_profile(w, names[i], 0, "tier", "gold");
    }
    world_to(w, 46, 0, 59);
    struct upt_slot *slot = upt_alert_is_open(world_ext(w, "hers"), UPT_RULE_ONBOARDING_LATE, 0);
    assert_non_null(slot);
    assert_int_equal(slot->severity, UPT_HIGH);
    slot->flags |= UPT_SLOT_ACKED;
    world_restart(w);
    world_to(w, 60, 0, 59);
    assert_int_equal(upt_alert_is_open(world_ext(w, "hers"), UPT_RULE_ONBOARDING_LATE, 0)->severity, UPT_HIGH);
    assert_int_equal(upt_alert_is_open(world_ext(w, "nobody's"), UPT_RULE_ONBOARDING_LATE, 0)->severity, UPT_CRITICAL);
    world_free(w);
}

static void
close_time(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct upt_event ev = {.event_id = UPT_STR(""),
                           .account_id = UPT_STR("a"),
                           .occurred_at = at(1),
                           .duration_ms = 10 * UPT_DAY_MS,
                           .has_duration = true,
                           .quantity = 1,
                           .kind = UPT_KIND_TICKET_CLOSED};
    world_event(w, "a", UPT_KIND_TICKET_OPENED, NULL, 1, at(0));
    upt_state_begin(w->st, w->offset++, at(1));
    assert_true(upt_state_apply(w->st, ev.account_id, &ev));
    const struct upt_relation *r = world_ext(w, "a")->signals.relation;
    assert_true(fabs((double)r->close_days - 10) < 1e-6);
    ev.duration_ms = 0;
    upt_state_begin(w->st, w->offset++, at(2));
    assert_true(upt_state_apply(w->st, ev.account_id, &ev));
    assert_true(fabs((double)r->close_days - 8) < 1e-6); /* the newest weighs a fifth */
    assert_int_equal(r->tickets_open, 0);
    world_free(w);
}

/* What SUPPORT_PAIN says of the time to close is known, or not said: that none was ever closed is not 0 days. */
static void
close_time_told(void **state)
{
    (void)state;
    for (int closed = 0; closed < 2; closed++) {
        struct world *w = world_only("SUPPORT_PAIN", NULL);
        struct upt_event ev = {.event_id = UPT_STR(""),
                               .account_id = UPT_STR("a"),
                               .occurred_at = at(0),
                               .duration_ms = 3 * UPT_DAY_MS,
                               .has_duration = true,
                               .quantity = 1,
                               .kind = UPT_KIND_TICKET_CLOSED};
        world_use(w, "a", 0, "f", 1);
        for (int i = 0; i < 4; i++) {
            world_event(w, "a", UPT_KIND_TICKET_OPENED, NULL, 1, at(0));
        }
        for (int i = 0; i < 3 * closed; i++) {
            upt_state_begin(w->st, w->offset++, at(0));
            assert_true(upt_state_apply(w->st, ev.account_id, &ev));
        }
        world_to(w, 1, 0, 59);
        assert_int_equal(world_count(w, "a", "SUPPORT_PAIN", UPT_OPEN), 1);
        assert_string_equal(world_alert(w, "a", "SUPPORT_PAIN", 0)->counterfactual,
                            closed == 1
                                ? "14 days without a new ticket close it; 1 is open, usually closed after 3.0 days."
                                : "14 days without a new ticket close it; 4 are open.");
        world_free(w);
    }
}

/* Goals of the profile's list count, once each; others do not. */
static void
goals(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_profile(w, "a", 0, "goals", "hours saved, cost cut,reports");
    world_event(w, "a", UPT_KIND_VALUE, "cost cut", 1, at(0));
    world_event(w, "a", UPT_KIND_VALUE, "cost cut", 1, at(1));
    world_event(w, "a", UPT_KIND_VALUE, "something else", 1, at(1));
    assert_true(fabs(world_eval(w, "a").value[UPT_PART_OUTCOMES] - 1.0 / 3) < 1e-6);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patience),
        cmocka_unit_test(watched),
        cmocka_unit_test(cap),
        cmocka_unit_test(close_time),
        cmocka_unit_test(close_time_told),
        cmocka_unit_test(goals),
        cmocka_unit_test(acknowledged),
        cmocka_unit_test(capped_releases),
        cmocka_unit_test(capped_habit),
        cmocka_unit_test(held_back_is_named),
        cmocka_unit_test(held_back_silence),
        cmocka_unit_test(held_back_many),
        cmocka_unit_test(waiting_is_not_held_back),
    };
    return cmocka_run_group_tests_name("score_facts", tests, NULL, NULL);
}
