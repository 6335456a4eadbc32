/* Control records: what acknowledging, snoozing and closing an alert does, and that nothing else does anything. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static int64_t
at(int day, int hour, int minute)
{
    return (DAY0 + day) * UPT_DAY_MS + hour * UPT_HOUR_MS + minute * UPT_MINUTE_MS;
}

/* Daily use up to day 40, then nothing: SILENCE opens, and goes up twice. */
static struct world *
silent_world(void)
{
    struct world *w = world_only("SILENCE", NULL);
    for (int d = 0; d <= 40; d++) {
        world_use(w, "a", d, "f", 3);
    }
    for (int d = 41; world_count(w, "a", "SILENCE", UPT_OPEN) == 0; d++) {
        assert_true(d < 80);
        world_to(w, d, 23, 59);
    }
    return w;
}

static void
say(struct world *w, const char *verb, const char *id, const char *until, const char *reason)
{
    const char *pairs[10] = {"uptake.control", verb, "uptake.alert", id};
    size_t n = 2;
    if (until != NULL) {
        pairs[2 * n] = "uptake.until";
        pairs[2 * n++ + 1] = until;
    }
    if (reason != NULL) {
        pairs[2 * n] = "uptake.reason";
        pairs[2 * n++ + 1] = reason;
        pairs[2 * n] = "uptake.by";
        pairs[2 * n++ + 1] = "ada";
    }
    world_say(w, "a", upt_state_clock(w->st), pairs, n);
}

static const char *
controlled(struct world *w)
{
    static char text[2000];
    struct upt_row row;
    upt_state_row(w->st, world_account(w, "a"), &row);
    (void)snprintf(text, sizeof(text), "%.*s", (int)row.controlled.len,
                   row.controlled.p == NULL ? "" : row.controlled.p);
    return text;
}

static void
acknowledge(void **state)
{
    (void)state;
    struct world *w = silent_world();
    char want[100];
    const char *id = world_alert(w, "a", "SILENCE", 0)->id;
    int before = w->alerts_n;
    assert_string_equal(controlled(w), "");
    say(w, "ack", id, NULL, NULL);
    (void)snprintf(want, sizeof(want), "%s:ack", id);
    assert_string_equal(controlled(w), want);
    assert_int_equal(w->alerts_n, before); /* no record of its own */
    world_restart(w);
    assert_string_equal(controlled(w), want);
    world_to(w, 120, 0, 0);
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_ESCALATE), 2); /* a worse silence is news all the same */
    world_use(w, "a", 121, "f", 1);
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_RESOLVE), 1);
    assert_string_equal(controlled(w), "");
    world_free(w);
}

static void
snooze(void **state)
{
    (void)state;
    for (int restart = 0; restart < 2; restart++) {
        struct world *w = silent_world();
        char until[40], want[120];
        char id[33];
        memcpy(id, world_alert(w, "a", "SILENCE", 0)->id, sizeof(id));
        (void)snprintf(until, sizeof(until), "%lld", (long long)at(100, 7, 0) - 1);
        say(w, "snooze", id, until, NULL);
        (void)snprintf(want, sizeof(want), "%s:snooze:%lld", id, (long long)at(100, 7, 0));
        assert_string_equal(controlled(w), want);
        int before = w->alerts_n;
        if (restart == 1) {
            world_restart(w);
        }
        world_to(w, 100, 6, 59);
        assert_int_equal(w->alerts_n, before);
        world_to(w, 100, 7, 0);
        assert_string_equal(controlled(w), "");
        const struct kept_alert *next = world_alert(w, "a", "SILENCE", 1);
        assert_int_equal(next->a.action, UPT_ESCALATE);
        assert_int_equal(next->a.severity, UPT_CRITICAL);
        assert_int_equal(next->a.changed_at, at(100, 7, 0));
        assert_string_equal(next->id, id);
        world_free(w);
    }
}

/* Ended while snoozed: told at the end of the snooze, at its very minute; EXPIRE does not wait. */
static void
snoozed_end(void **state)
{
    (void)state;
    struct world *w = silent_world();
    const char *id = world_alert(w, "a", "SILENCE", 0)->id;
    say(w, "snooze", id, "2025-04-11T07:30:00Z", NULL); /* day 100 */
    for (int d = 60; d < 100; d++) {
        world_use(w, "a", d, "f", 1);
    }
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_RESOLVE), 0);
    assert_int_equal(upt_open_alerts(world_ext(w, "a")), 1);
    world_restart(w);
    world_to(w, 100, 7, 29);
    assert_int_equal(world_count(w, "a", "SILENCE", -1), 1);
    world_to(w, 100, 7, 30);
    const struct kept_alert *end = world_alert(w, "a", "SILENCE", 1);
    assert_int_equal(end->a.action, UPT_RESOLVE);
    assert_int_equal(end->a.changed_at, at(100, 7, 30));
    assert_string_equal(end->counterfactual, "Ended while it was snoozed.");
    world_free(w);

    w = silent_world();
    say(w, "snooze", world_alert(w, "a", "SILENCE", 0)->id, "2025-04-11", NULL);
    upt_state_begin(w->st, w->offset++, upt_state_clock(w->st));
    upt_state_forget(w->st, UPT_STR("a"));
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_EXPIRE), 1);
    world_free(w);

    /* Taken back: a time in the past. What was held back is told with the next minute. */
    w = silent_world();
    say(w, "snooze", world_alert(w, "a", "SILENCE", 0)->id, "2026-01-01", NULL);
    world_use(w, "a", 60, "f", 1);
    say(w, "snooze", world_alert(w, "a", "SILENCE", 0)->id, "2025-01-01", NULL);
    world_to(w, 60, 12, 5);
    assert_int_equal(world_alert(w, "a", "SILENCE", 1)->a.changed_at, at(60, 12, 1));
    world_free(w);
}

static void
close_by_hand(void **state)
{
    (void)state;
    struct world *w = silent_world();
    const char *id = world_alert(w, "a", "SILENCE", 0)->id;
    say(w, "snooze", id, "2025-04-11", NULL);
    say(w, "close", id, NULL, "they are on a company holiday until the fair");
    const struct kept_alert *end = world_alert(w, "a", "SILENCE", 1);
    assert_int_equal(end->a.action, UPT_RESOLVE);
    assert_int_equal(end->a.changed_at, upt_state_clock(w->st));
    assert_string_equal(end->counterfactual, "Closed by hand by ada: they are on a company holiday until the fair");
    assert_int_equal(upt_open_alerts(world_ext(w, "a")), 0);
    /* Still silent: a new one after the cool-down, not before. */
    world_to(w, 80, 0, 0);
    const struct kept_alert *again = world_alert(w, "a", "SILENCE", 2);
    assert_int_equal(again->a.action, UPT_OPEN);
    assert_true(again->a.changed_at - end->a.changed_at >= 3 * UPT_DAY_MS &&
                again->a.changed_at - end->a.changed_at < 4 * UPT_DAY_MS);
    assert_string_not_equal(again->id, id);
    say(w, "close", again->id, NULL, NULL);
    assert_string_equal(w->alert[w->alerts_n - 1].counterfactual, "Closed by hand.");
    world_free(w);
}

/* Who closed it and why are cut at whole characters: a record's texts are UTF-8. */
static void
close_cuts_characters(void **state)
{
    (void)state;
    struct world *w = silent_world();
    const char *id = world_alert(w, "a", "SILENCE", 0)->id;
    char by[43], reason[124], want[200];
    (void)snprintf(by, sizeof(by), "%039d\xc3\xa9x", 0);               /* byte 40 is within é, */
    (void)snprintf(reason, sizeof(reason), "%0118d\xe2\x82\xacxx", 0); /* 120 within € */
    const char *const pairs[] = {"uptake.control", "close", "uptake.alert",  id,
                                 "uptake.by",      by,      "uptake.reason", reason};
    world_say(w, "a", upt_state_clock(w->st), pairs, 4);
    (void)snprintf(want, sizeof(want), "Closed by hand by %039d: %0118d", 0, 0);
    assert_string_equal(world_alert(w, "a", "SILENCE", 1)->counterfactual, want);
    world_free(w);
}

/* What a control record is not: usage, or an order about what is not open. */
static void
nothing_else(void **state)
{
    (void)state;
    struct world *w = silent_world();
    const char *id = world_alert(w, "a", "SILENCE", 0)->id;
    struct upt_row before, after;
    upt_state_row(w->st, world_account(w, "a"), &before);
    struct upt_score_ext ext = *world_ext(w, "a");
    int n = w->alerts_n;
    static const char other[] = "00000000000000000000000000000000";
    say(w, "ack", other, NULL, NULL);
    say(w, "close", other, NULL, "x");
    say(w, "hide", id, NULL, NULL);
    say(w, "snooze", id, NULL, NULL);
    say(w, "snooze", id, "tomorrow", NULL);
    say(w, "snooze", id, "99999999999999999999999999999999", NULL);
    world_say(w, "a", upt_state_clock(w->st), (const char *const[]){"uptake.control", "close"}, 1);
    world_say(w, "a", upt_state_clock(w->st), (const char *const[]){"uptake.alert", id}, 1);
    assert_int_equal(w->alerts_n, n);
    assert_memory_equal(&ext, world_ext(w, "a"), sizeof(ext));
    say(w, "ack", id, NULL, NULL);
    upt_state_row(w->st, world_account(w, "a"), &after);
    assert_memory_equal(before.usage, after.usage, sizeof(before.usage));
    assert_int_equal(before.users_total, after.users_total);
    assert_int_equal(before.features_30d, after.features_30d);
    assert_int_equal(world_ext(w, "a")->last_key_ms, ext.last_key_ms);
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_RESOLVE), 0);
    world_free(w);
}

/* What comes back while it is snoozed has not ended. */
static void
comes_back(void **state)
{
    (void)state;
    for (int back = 0; back < 2; back++) {
        struct world *w = world_only("CONTACT_GAP", NULL);
        world_profile(w, "a", 0, "tier", "gold");
        for (int d = 0; d <= 95; d++) {
            world_use(w, "a", d, "f", 1);
            if (d == 35) {
                assert_int_equal(world_count(w, "a", "CONTACT_GAP", UPT_OPEN), 1);
                const struct kept_alert *open = world_alert(w, "a", "CONTACT_GAP", 0);
                assert_int_equal(world_day(open->a.condition_since), 33); /* more than 30 days since day 2 */
                say(w, "snooze", world_alert(w, "a", "CONTACT_GAP", 0)->id, "2025-04-01", NULL); /* day 90 */
            }
            if (d == 2 || d == 40 || (back == 0 && d == 65)) {
                world_event(w, "a", UPT_KIND_CONTACT, NULL, 1, at(d, 13, 0));
            }
            if (d == 50 || d == 80) {
                world_restart(w);
            }
        }
        assert_int_equal(world_count(w, "a", "CONTACT_GAP", UPT_RESOLVE), 1 - back);
        assert_int_equal(world_count(w, "a", "CONTACT_GAP", UPT_OPEN), 1);
        assert_int_equal(upt_open_alerts(world_ext(w, "a")), back);
        world_free(w);
    }
}

/* A world in which a silence that is snoozed ended on day 60, at noon. */
static struct world *
ended_world(const char *until)
{
    struct world *w = silent_world();
    say(w, "snooze", world_alert(w, "a", "SILENCE", 0)->id, until, NULL);
    world_use(w, "a", 60, "f", 1);
    assert_int_equal(world_ext(w, "a")->signals.slots.v[0].flags & UPT_SLOT_HELD, UPT_SLOT_HELD);
    return w;
}

/* So does a silence, in the very minute in which it would have opened; a use ends it once more. */
static void
silent_again(void **state)
{
    (void)state;
    struct world *w = ended_world("2025-04-11"); /* day 100 */
    const struct upt_score_ext *ext = world_ext(w, "a");
    int64_t back = at(60, 12, 0);
    for (; (ext->signals.slots.v[0].flags & UPT_SLOT_HELD) != 0; back += UPT_MINUTE_MS) {
        assert_true(back < at(80, 0, 0));
        upt_state_wall_tick(w->st, back);
    }
    back -= UPT_MINUTE_MS;
    assert_true(back % UPT_DAY_MS > UPT_HOUR_MS); /* not with the daily evaluation */
    assert_int_equal(ext->signals.slots.silence_open, 1);
    world_restart(w);
    world_to(w, 99, 23, 59);
    assert_int_equal(world_count(w, "a", NULL, -1), 1);
    world_to(w, 100, 0, 59);
    assert_int_equal(world_count(w, "a", NULL, UPT_RESOLVE), 0);
    assert_int_equal(world_alert(w, "a", "SILENCE", 1)->a.action, UPT_ESCALATE);
    world_use(w, "a", 101, "f", 1);
    assert_int_equal(world_count(w, "a", NULL, UPT_RESOLVE), 1);
    world_free(w);

    for (int late = 0; late < 2; late++) { /* the snooze ends with that minute, or the one before */
        char until[32];
        (void)snprintf(until, sizeof(until), "%lld", (long long)(back + (1 - 2 * late) * UPT_MINUTE_MS));
        w = ended_world(until);
        upt_state_wall_tick(w->st, back + UPT_HOUR_MS);
        assert_int_equal(world_count(w, "a", NULL, UPT_RESOLVE), late);
        world_free(w);
    }

    w = ended_world("2025-04-11");
    world_to(w, 80, 0, 0);
    assert_int_equal(world_ext(w, "a")->signals.slots.v[0].flags & UPT_SLOT_HELD, 0);
    world_use(w, "a", 98, "f", 1);
    world_to(w, 100, 0, 0);
    assert_int_equal(world_count(w, "a", NULL, UPT_RESOLVE), 1);
    world_free(w);
}

/* Minutes of SILENCE's records, after the cap has held it back. */
static int
minutes_after_cap(bool snoozed, int64_t ret[8])
{
    struct world *w = world_only("SILENCE SUPPORT_PAIN{quiet_days: 28};", "notify: {most: 1, within: 90h}");
    int n = 0;
    for (int d = 0; d <= 40; d++) {
        world_use(w, "a", d, "f", 3);
        for (int i = 0; d == 39 && i < 8; i++) {
            world_event(w, "a", UPT_KIND_TICKET_OPENED, NULL, 1, at(d, 13, 0));
        }
    }
    world_to(w, 41, 0, 59);
    if (snoozed) {
        say(w, "snooze", world_alert(w, "a", "SUPPORT_PAIN", 0)->id, "2025-04-11", NULL); /* day 100 */
    }
    world_to(w, 60, 0, 0);
    for (int i = 0; i < world_count(w, "a", "SILENCE", -1) && n < 8; i++) {
        ret[n++] = world_alert(w, "a", "SILENCE", i)->a.changed_at;
    }
    world_free(w);
    return n;
}

/* That another alert is snoozed delays no level of a silence. */
static void
snoozed_beside_silence(void **state)
{
    (void)state;
    int64_t plain[8], beside[8];
    int n = minutes_after_cap(false, plain);
    assert_int_equal(minutes_after_cap(true, beside), n);
    assert_true(n > 2 && plain[0] % UPT_DAY_MS < UPT_HOUR_MS && plain[1] % UPT_DAY_MS > UPT_HOUR_MS);
    assert_memory_equal(plain, beside, (size_t)n * sizeof(plain[0]));
}

/* A silence that ended while it was snoozed costs the events after it nothing. */
static void
held_is_cheap(void **state)
{
    (void)state;
    struct world *w = silent_world();
    say(w, "snooze", world_alert(w, "a", "SILENCE", 0)->id, "2025-04-11", NULL);
    assert_int_equal(world_ext(w, "a")->signals.slots.silence_open, 1);
    world_use(w, "a", 60, "f", 1);
    assert_int_equal(world_ext(w, "a")->signals.slots.silence_open, 0);
    world_restart(w);
    assert_int_equal(world_ext(w, "a")->signals.slots.silence_open, 0);
    world_free(w);
}

/* Who snoozes an alert has it in hand until then: the tier's time begins anew. */
static void
snoozed_is_in_hand(void **state)
{
    (void)state;
    struct world *w = world_only("CHURN_RISK{open_at: 0.5, close_below: 0.01, min_days: 21};", NULL);
    world_profile(w, "a", 0, "tier", "gold"); /* 3 days */
    for (int d = 0; d < 20; d++) {
        world_use(w, "a", d, "f", 1);
    }
    int day = 20;
    for (; world_count(w, "a", "CHURN_RISK", UPT_OPEN) == 0; day++) {
        assert_true(day < 60);
        world_to(w, day, 23, 59);
    }
    assert_int_equal(world_alert(w, "a", "CHURN_RISK", 0)->a.severity, UPT_HIGH);
    char until[24];
    upt_format_day(DAY0 + day + 10, until);
    say(w, "snooze", world_alert(w, "a", "CHURN_RISK", 0)->id, until, NULL);
    world_to(w, day + 12, 0, 0);
    assert_int_equal(world_ext(w, "a")->signals.slots.v[0].severity, UPT_HIGH);
    world_to(w, day + 14, 23, 59);
    assert_int_equal(world_ext(w, "a")->signals.slots.v[0].severity, UPT_CRITICAL);
    world_free(w);
}

/* An alert about a release keeps its name, however many releases come after it. */
static void
releases(void **state)
{
    (void)state;
    struct world *w = world_only("RELEASE_UNUSED", NULL);
    char name[8];
    int opened = 0;
    for (int d = 0; d < 140; d++) {
        world_use(w, "a", d, "f", 1);
        if (d == 40 || (d > 75 && d % 5 == 0 && d < 100)) {
            (void)snprintf(name, sizeof(name), "r%d", d);
            world_event(w, "a", UPT_KIND_RELEASE, name, 1, at(d, 13, 0));
        }
        opened = world_count(w, "a", "RELEASE_UNUSED", UPT_OPEN);
        if (d % 30 == 29) {
            world_restart(w);
        }
        if (d == 125) { /* it is tried now */
            world_use(w, "a", d, "r40", 1);
        }
    }
    assert_int_equal(opened, 1);
    assert_string_equal(world_alert(w, "a", "RELEASE_UNUSED", 1)->subject, "r40");
    assert_int_equal(world_count(w, "a", "RELEASE_UNUSED", UPT_RESOLVE), 1);
    assert_int_equal(upt_open_alerts(world_ext(w, "a")), 0);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledge),   cmocka_unit_test(snooze),
        cmocka_unit_test(snoozed_end),   cmocka_unit_test(close_by_hand),
        cmocka_unit_test(nothing_else),  cmocka_unit_test(comes_back),
        cmocka_unit_test(held_is_cheap), cmocka_unit_test(snoozed_is_in_hand),
        cmocka_unit_test(releases),      cmocka_unit_test(close_cuts_characters),
        cmocka_unit_test(silent_again),  cmocka_unit_test(snoozed_beside_silence),
    };
    return cmocka_run_group_tests_name("score_control", tests, NULL, NULL);
}
