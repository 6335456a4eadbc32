/* Lifecycle of alerts: open, update, escalate, de-escalate, resolve, cool-down. */
/* The life of alerts through the whole observer: HEALTH_BAND up and down, UPDATE, EXPIRE, ids, restart, determinism. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* Use of three features: d0..59 daily, then stops for 60 days, then daily again. */
static void
live(struct world *w, const char *account, int from, int to)
{
    for (int d = from; d < to; d++) {
        if (d < 60 || d >= 120) {
            world_use(w, account, d, "f", 4);
            world_use(w, account, d, "g", 3);
            world_use(w, account, d, "h", 2);
        }
        world_to(w, d + 1, 0, 59);
    }
}

static void
band_falls_and_recovers(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND", NULL);
    live(w, "a", 0, 60);
    assert_int_equal(w->alerts_n, 0);
    assert_int_equal(world_ext(w, "a")->band, UPT_BAND_HEALTHY);
    live(w, "a", 60, 160);
    const struct kept_alert *open = world_alert(w, "a", NULL, 0);
    assert_int_equal(open->a.action, UPT_OPEN);
    assert_string_equal(open->rule, "HEALTH_BAND");
    assert_int_equal(open->a.severity, UPT_HIGH);
    assert_true(open->a.health < 45 && fabs(open->a.observed - open->a.health) < 1e-9);
    assert_true(open->a.health_change_28d < -20);
    assert_true(open->a.expected > open->a.observed);
    assert_true(open->a.condition_since == open->a.opened_at); /* the band changed in this very evaluation */
    assert_true(isnan(open->a.expected_lead_days) && isnan(open->a.precision_estimate));
    assert_int_equal(open->a.has_days_to_renewal, 0);
    assert_int_equal(world_count(w, "a", NULL, UPT_ESCALATE), 1); /* to CRITICAL */
    assert_int_equal(world_count(w, "a", NULL, UPT_OPEN), 1);
    assert_int_equal(world_count(w, "a", NULL, UPT_RESOLVE), 1);
    assert_true(world_count(w, "a", NULL, UPT_UPDATE) >= 1);
    const struct kept_alert *end = &w->alert[w->alerts_n - 1];
    assert_int_equal(end->a.action, UPT_RESOLVE);
    assert_in_range(world_ext(w, "a")->band, UPT_BAND_WATCH, UPT_BAND_HEALTHY);
    for (int i = 0; i < w->alerts_n; i++) {
        assert_string_equal(w->alert[i].id, open->id);
        assert_true(i == 0 || w->alert[i].a.changed_at - w->alert[i - 1].a.changed_at >= UPT_DAY_MS);
    }
    world_free(w);
}

/* HEALTH_BAND names the parts that pull the score down, with the points that the health record has. */
static void
band_names_parts(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND", NULL);
    live(w, "a", 0, 60);
    for (int d = 60; w->alerts_n == 0; d++) {
        live(w, "a", d, d + 1);
    }
    struct upt_eval eval = world_eval(w, "a");
    char want[200] =
        "A score of at least 55 in 2 daily evaluations in a row closes it. What lowers it most, in points: ";
    int64_t before = INT64_MIN;
    for (int n = 0; n < 3; n++) {
        int least = -1;
        for (int i = 0; i < UPT_PARTS; i++) {
            bool next = eval.points_micro[i] > before && (least < 0 || eval.points_micro[i] < eval.points_micro[least]);
            least = next ? i : least;
        }
        before = eval.points_micro[least];
        assert_true(before < 0);
        size_t len = strlen(want);
        (void)snprintf(want + len, sizeof(want) - len, "%s %+.2f%s", upt_part_short(least), (double)before / 1e6,
                       n < 2 ? ", " : ".");
    }
    assert_string_equal(world_alert(w, "a", NULL, 0)->counterfactual, want);
    world_free(w);
}

/* WATCH has no severity unless the rules say so. */
static void
watch_is_configurable(void **state)
{
    (void)state;
    struct world *w = world_only("SILENCE USAGE_DROP HEALTH_BAND{levels: {WATCH: WARNING}};", NULL);
    live(w, "a", 0, 120);
    const struct kept_alert *open = world_alert(w, "a", "HEALTH_BAND", 0);
    assert_int_equal(open->a.severity, UPT_WARNING);
    assert_int_equal(world_count(w, "a", "HEALTH_BAND", UPT_ESCALATE), 2);
    world_free(w);
}

/* A score that is not known any more is no recovery. */
static void
unknown_does_not_close(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND", NULL);
    live(w, "a", 0, 100);
    assert_int_equal(world_count(w, "a", NULL, UPT_OPEN), 1);
    w->model->confidence_floor = 1.1;
    world_to(w, 110, 0, 59);
    assert_int_equal(world_ext(w, "a")->band, UPT_BAND_UNKNOWN);
    assert_int_equal(world_count(w, "a", NULL, UPT_RESOLVE), 0);
    assert_int_equal(upt_open_alerts(world_ext(w, "a")), 1);
    world_free(w);
}

/* An alert that escalates at noon gets no UPDATE the next morning, however much the risk moved: once a day is enough.
 */
static void
one_update_a_day(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", "update: {risk: 0.001, score: 0.1}");
    live(w, "a", 0, 120); /* the harness checks the distance of every UPDATE */
    assert_true(world_count(w, "a", "SILENCE", UPT_UPDATE) > 10);
    world_free(w);
}

/* The cool-down holds back what would open anew at once. */
static void
band_cool_down(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND{cool_down: 200d};", NULL);
    live(w, "a", 0, 160);
    assert_int_equal(world_count(w, "a", NULL, UPT_RESOLVE), 1);
    int64_t ended = w->alert[w->alerts_n - 1].a.changed_at;
    world_to(w, (int)world_day(ended) + 199, 0, 59);
    assert_int_equal(world_ext(w, "a")->band, UPT_BAND_CRITICAL);
    assert_int_equal(world_count(w, "a", NULL, UPT_OPEN), 1);
    world_to(w, (int)world_day(ended) + 202, 0, 59);
    assert_int_equal(world_count(w, "a", NULL, UPT_OPEN), 2);
    const struct kept_alert *again = NULL;
    for (int i = 0; i < w->alerts_n; i++) {
        again = w->alert[i].a.action == UPT_OPEN ? &w->alert[i] : again;
    }
    assert_true(again->a.opened_at >= ended + 200 * UPT_DAY_MS && again->a.opened_at < ended + 201 * UPT_DAY_MS);
    assert_true(again->a.condition_since < again->a.opened_at);
    world_free(w);
}

static void
forget_expires(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    live(w, "a", 0, 75);
    world_profile(w, "a", 75, "renewal_date", "2025-04-01"); /* day 90 */
    int open = (int)upt_open_alerts(world_ext(w, "a"));
    assert_true(open >= 2);
    struct upt_totals_row totals;
    upt_state_mark_all_dirty(w->st);
    assert_true(upt_state_dirty_totals(w->st, &totals));
    assert_int_equal(totals.open_alerts, open);
    upt_state_begin(w->st, w->offset++, upt_state_clock(w->st));
    upt_state_forget(w->st, UPT_STR("a"));
    assert_int_equal(world_count(w, "a", NULL, UPT_EXPIRE), open);
    assert_int_equal(w->health_null_n, 1);
    const struct kept_alert *end = &w->alert[w->alerts_n - 1];
    assert_true(end->a.has_days_to_renewal);
    assert_int_equal(end->a.days_to_renewal, 15);
    upt_state_mark_all_dirty(w->st);
    assert_true(upt_state_dirty_totals(w->st, &totals));
    assert_int_equal(totals.open_alerts, 0);
    /* It comes back as a new account; its new alerts have new ids (the harness refuses old ones). */
    live(w, "a", 120, 150);
    world_to(w, 170, 0, 59);
    assert_true(world_count(w, "a", "SILENCE", UPT_OPEN) == 2);
    /* Also one that is not known: its records may be of before the start. Its row may be another partition's. */
    struct upt_str gone;
    while (upt_state_next_forgotten(w->st, &gone)) {
    }
    upt_state_forget(w->st, UPT_STR("stranger"));
    assert_int_equal(w->health_null_n, 2);
    assert_false(upt_state_next_forgotten(w->st, &gone));
    world_free(w);
}

/* A rule that is switched off lets go of its alerts. */
static void
switched_off(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    struct world *off = world_only("HEALTH_BAND USAGE_DROP", NULL);
    live(w, "a", 0, 70);
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_OPEN), 1);
    upt_score_set(w->score, off->model, off->rules, "ffffffffffffffff");
    world_to(w, 72, 0, 59);
    assert_int_equal(world_count(w, "a", "SILENCE", UPT_EXPIRE), 1);
    upt_score_set(w->score, w->model, w->rules, "00112233aabbccdd");
    world_free(off);
    world_free(w);
}

/* Three accounts of different habits; with a restart from the checkpoint every few days or without, the same records.
 */
static void
script(struct world *w, int every)
{
    for (int d = 0; d < 150; d++) {
        int week = (d + 2) % 7;
        if (d < 70 || d > 110) {
            world_use(w, "daily", d, d % 3 == 0 ? "f" : "g", 3 + d % 4);
        }
        if (week == 1 && d < 100) {
            world_use(w, "weekly", d, "f", 5);
        }
        if (week < 5) {
            world_use(w, "fade", d, "f", d < 60 ? 12 : d < 120 ? 3 : 1);
        }
        if (d % 11 == 0) { /* late */
            world_event(w, "daily", UPT_KIND_VALUE, "goal", 1, (DAY0 + d - 3) * UPT_DAY_MS);
        }
        world_to(w, d, 18, 30);
        if (every > 0 && d % every == 0) {
            world_restart(w);
        }
    }
}

static void
restart_changes_nothing(void **state)
{
    (void)state;
    struct world *a = world_new(NULL);
    struct world *b = world_new(NULL);
    script(a, 0);
    script(b, 3);
    assert_true(a->alerts_n > 10);
    assert_int_equal(a->alerts_n, b->alerts_n);
    assert_int_equal(a->health_n, b->health_n);
    for (int i = 0; i < a->alerts_n; i++) {
        const struct kept_alert *x = &a->alert[i];
        const struct kept_alert *y = &b->alert[i];
        assert_string_equal(x->id, y->id);
        assert_true(x->a.action == y->a.action && x->a.revision == y->a.revision && x->a.changed_at == y->a.changed_at);
        assert_memory_equal(&x->a.health, &y->a.health, sizeof(double));
        assert_memory_equal(&x->a.churn_probability, &y->a.churn_probability, sizeof(double));
        assert_memory_equal(&x->a.observed, &y->a.observed, sizeof(double));
        assert_memory_equal(&x->a.p_value, &y->a.p_value, sizeof(double));
    }
    const char *names[] = {"daily", "weekly", "fade"};
    for (int i = 0; i < 3; i++) {
        struct upt_buf x = {0};
        struct upt_buf y = {0};
        upt_ext_encode(world_ext(a, names[i]), NULL, &x);
        upt_ext_encode(world_ext(b, names[i]), NULL, &y);
        assert_int_equal(x.len, y.len);
        assert_memory_equal(x.p, y.p, x.len);
        upt_buf_fini(&x);
        upt_buf_fini(&y);
    }
    world_free(a);
    world_free(b);
}

/* The id is XXH3-128 over account, rule and subject behind their lengths, and the minute of OPEN. */
static void
id_by_hand(void **state)
{
    (void)state;
    struct world *w = world_only("HEALTH_BAND SILENCE USAGE_DROP", NULL);
    live(w, "a", 0, 70);
    const struct kept_alert *open = world_alert(w, "a", "SILENCE", 0);
    assert_true(open->a.changed_at % UPT_MINUTE_MS == 0);
    char text[64];
    uint32_t minute = (uint32_t)(open->a.opened_at / UPT_MINUTE_MS);
    int len = snprintf(text, sizeof(text), "%c%c%c%ca%c%c%c%cSILENCE%c%c%c%c", 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0);
    for (int i = 0; i < 4; i++) {
        text[len++] = (char)(unsigned char)(minute >> (8 * i));
    }
    char id[33];
    upt_test_xxh128(text, (size_t)len, id);
    assert_string_equal(open->id, id);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(band_falls_and_recovers), cmocka_unit_test(band_names_parts),
        cmocka_unit_test(watch_is_configurable),   cmocka_unit_test(unknown_does_not_close),
        cmocka_unit_test(one_update_a_day),        cmocka_unit_test(band_cool_down),
        cmocka_unit_test(forget_expires),          cmocka_unit_test(switched_off),
        cmocka_unit_test(restart_changes_nothing), cmocka_unit_test(id_by_hand),
    };
    return cmocka_run_group_tests_name("score_lifecycle", tests, NULL, NULL);
}
