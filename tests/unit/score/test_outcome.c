/* Outcomes of risks on the metrics: who left, who stayed, when they are counted, and what a restart keeps. */
#include <stddef.h>
#include <stdio.h>

#include "harness.h"

static struct upt_outcome_figures
all(const struct world *w)
{
    struct upt_outcome_figures f = {0};
    (void)upt_outcomes_figures(w->metrics->outcomes, UPT_OUTCOME_ALL, &f);
    return f;
}

/* Not byte for byte: there is padding behind the name. */
static void
assert_same(const struct upt_outcome_figures *a, const struct upt_outcome_figures *b)
{
    const size_t from = offsetof(struct upt_outcome_figures, n);
    assert_string_equal(a->segment, b->segment);
    assert_memory_equal((const char *)a + from, (const char *)b + from, sizeof(*a) - from);
}

static uint64_t
left(const struct world *w)
{
    return all(w).left;
}

static uint64_t
stayed(const struct world *w)
{
    return all(w).n - all(w).left;
}

/* Both are noted on the morning of day 1, about day 0. One uses the product until day 20, the other on day 31 again. */
static void
left_and_stayed(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_use(w, "left", 0, "f", 1);
    world_use(w, "stayed", 0, "f", 1);
    world_to(w, 1, 0, 59);
    uint16_t risk = world_ext(w, "left")->foretold.risk_e4;
    assert_int_equal(world_ext(w, "left")->foretold.day, DAY0);
    assert_true(risk > 5000 && risk < 10000);
    world_use(w, "left", 20, "f", 1);
    world_use(w, "stayed", 31, "f", 1);
    world_restart(w);
    world_to(w, 90, 0, 59);
    assert_int_equal(all(w).n, 0); /* the 60 days are not over */
    world_to(w, 91, 0, 59);
    assert_int_equal(left(w), 1);
    assert_int_equal(stayed(w), 1);
    assert_true(fabs(all(w).predicted - risk / 1e4) < 1e-9);
    assert_int_equal(all(w).leads, risk >= 7500 ? 1 : 0);
    assert_true(risk < 7500 || fabs(all(w).lead_days - 20) < 1e-9);
    assert_int_equal(world_ext(w, "left")->foretold.day, DAY0 + 90); /* the next one */
    world_to(w, 400, 0, 59);
    assert_int_equal(left(w), 3); /* each once more, silent for 70 and 59 days then; not for ever */
    assert_int_equal(world_ext(w, "left")->foretold.risk_e4, UPT_NULL_U16);
    world_use(w, "left", 401, "f", 1);
    world_to(w, 402, 0, 59);
    assert_int_equal(world_ext(w, "left")->foretold.day, DAY0 + 401);
    world_free(w);
}

/* CHURNED tells although the product is used on; a later RENEWED takes that back. */
static void
told_by_events(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d < 92; d += 3) {
        world_use(w, "churned", d, "f", 1);
        world_use(w, "renewed", d, "f", 1);
        if (d == 12) {
            int64_t at = (DAY0 + d) * UPT_DAY_MS + 13 * UPT_HOUR_MS;
            world_event(w, "churned", UPT_KIND_CHURNED, NULL, 1, at);
            world_event(w, "renewed", UPT_KIND_CHURNED, NULL, 1, at);
            world_event(w, "renewed", UPT_KIND_RENEWED, NULL, 1, at + UPT_HOUR_MS);
        }
    }
    world_to(w, 92, 0, 59);
    assert_int_equal(left(w), 1);
    assert_int_equal(stayed(w), 1);
    for (int d = 93; d < 400; d += 3) {
        world_use(w, "churned", d, "f", 1);
        world_use(w, "renewed", d, "f", 1);
    }
    world_to(w, 400, 0, 59);
    assert_int_equal(left(w), 1); /* of a customer who is gone by contract nothing is foretold */
    world_free(w);
}

/* An outcome is counted under the segment that the account is in when it has come. */
static void
by_segment(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct upt_outcome_figures f;
    world_use(w, "a", 0, "f", 1);
    world_use(w, "b", 0, "f", 1);
    world_profile(w, "a", 0, "segment", "courses");
    world_profile(w, "b", 0, "segment", "trial");
    world_to(w, 1, 0, 59);
    world_profile(w, "b", 40, "segment", "courses");
    world_to(w, 91, 0, 59);
    assert_true(upt_outcomes_figures(w->metrics->outcomes, 1, &f));
    assert_string_equal(f.segment, "courses");
    assert_int_equal(f.n, 2);
    assert_false(upt_outcomes_figures(w->metrics->outcomes, 2, &f));
    assert_false(upt_outcomes_figures(w->metrics->outcomes, 0, &f)); /* without a segment */
    world_free(w);
}

/* Another process, with counts of its own: it knows of the outcomes, its counters do not. Twice in one process is once;
 * and a partition that goes takes them away. */
static void
kept(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct upt_buf page = {0};
    world_use(w, "a", 0, "f", 1);
    world_use(w, "b", 0, "f", 1);
    world_profile(w, "a", 0, "segment", "courses");
    world_to(w, 1, 0, 59);
    world_use(w, "b", 40, "f", 1);
    world_to(w, 91, 0, 59);
    struct upt_outcome_figures before = all(w);
    assert_int_equal(before.n, 2);
    struct upt_outcomes *old = w->metrics->outcomes;
    w->metrics->outcomes = upt_outcomes_create();
    world_restart(w);
    struct upt_outcome_figures after = all(w);
    assert_same(&after, &before);
    assert_true(upt_outcomes_figures(w->metrics->outcomes, 1, &after));
    assert_string_equal(after.segment, "courses");
    assert_false(upt_outcomes_figures(old, UPT_OUTCOME_ALL, &after));
    upt_outcomes_prometheus(w->metrics->outcomes, &page);
    upt_buf_put(&page, "", 1);
    assert_non_null(strstr(page.p, "\nuptake_risk_auc "));
    assert_null(strstr(page.p, "\"} 1\n"));
    upt_buf_clear(&page);
    upt_outcomes_prometheus(old, &page);
    upt_buf_put(&page, "", 1);
    assert_non_null(strstr(page.p, "\"} 1\n")); /* a counter does not fall */
    world_restart(w);
    after = all(w);
    assert_same(&after, &before);
    world_to(w, 200, 0, 59);
    world_restart(w);
    assert_int_equal(all(w).n, 4);
    upt_outcomes_destroy(&old);
    upt_buf_fini(&page);
    world_free(w);
}

/* More segments than have a place: the rest are one, also after a restart. */
static void
many_segments(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct upt_outcome_figures f;
    for (int i = 0; i < 20; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "s%02d", i);
        world_use(w, name, 0, "f", 1);
        world_profile(w, name, 0, "segment", i == 0 ? "" : i == 1 ? "other" : name);
    }
    world_to(w, 91, 0, 59);
    struct upt_outcomes *old = w->metrics->outcomes;
    w->metrics->outcomes = upt_outcomes_create();
    world_restart(w);
    upt_outcomes_destroy(&old);
    assert_int_equal(all(w).n, 20);
    assert_true(upt_outcomes_figures(w->metrics->outcomes, UPT_OUTCOME_SLOTS - 1, &f));
    assert_int_equal(f.n, 20 - 1 - UPT_OUTCOME_SEGMENTS);
    world_free(w);
}

/* Another model is judged by what it foretold itself, from the first day on, and not by what another one had noted. */
static void
of_one_model(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d < 300; d += 3) {
        world_use(w, "a", d, "f", 1);
    }
    world_to(w, 300, 0, 59);
    assert_int_equal(all(w).n, 3);
    memset(w->model->hash, '0', 16);
    world_use(w, "a", 300, "f", 1);
    world_to(w, 301, 0, 59);
    assert_int_equal(all(w).n, 0);
    assert_int_equal(world_ext(w, "a")->foretold.day, DAY0 + 300); /* noted anew */
    world_restart(w);
    world_to(w, 390, 0, 59);
    assert_int_equal(all(w).n, 0);
    world_to(w, 391, 0, 59);
    assert_int_equal(all(w).n, 1);
    world_restart(w);
    assert_int_equal(all(w).n, 1);
    world_free(w);
}

/* n accounts named prefix0 … used on days 0 to `last`; SILENCE opens for each some days after. */
static void
use_and_stop(struct world *w, const char *prefix, int n, int last)
{
    for (int d = 0; d <= last; d++) {
        for (int i = 0; i < n; i++) {
            char name[16];
            (void)snprintf(name, sizeof(name), "%s%d", prefix, i);
            world_use(w, name, d, "f", 1);
        }
    }
}

/* The alert of one that falls silent on that day: what is told then of those before it. */
static const struct kept_alert *
told_of_one_more(struct world *w, const char *account, int day, int then)
{
    for (int d = day - 20; d <= day; d++) {
        world_use(w, account, d, "f", 1);
    }
    world_to(w, then, 0, 59);
    return world_alert(w, account, "SILENCE", 0);
}

/* Of 30 that fell silent 18 left, 10 of them told so by CHURNED; 12 came back, some to fall silent once more. */
static void
alerts_of_a_rule(void **state)
{
    (void)state;
    struct world *w = world_only("SILENCE", NULL);
    use_and_stop(w, "first", 1, 5);
    use_and_stop(w, "gone", 17, 20);
    use_and_stop(w, "back", 12, 20);
    world_to(w, 40, 0, 59);
    int opened = (int)world_day(world_alert(w, "gone0", "SILENCE", 0)->a.opened_at);
    assert_int_equal(world_count(w, NULL, "SILENCE", UPT_OPEN), 30);
    assert_in_range(opened, 21, 40);
    for (int i = 0; i < 10; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "gone%d", i);
        world_event(w, name, UPT_KIND_CHURNED, NULL, 1, (DAY0 + 41) * UPT_DAY_MS + i);
    }
    for (int d = opened + 31; d < opened + 40; d++) {
        for (int i = 0; i < 12; i++) {
            char name[16];
            (void)snprintf(name, sizeof(name), "back%d", i);
            world_use(w, name, d, "f", 1);
        }
    }
    const struct upt_rule_outcomes *counts = &w->score->outcomes.rule[UPT_RULE_SILENCE];
    const struct kept_alert *early = told_of_one_more(w, "early", 108, opened + 90); /* when one outcome is known */
    assert_true(early->a.opened_at > world_alert(w, "first0", "SILENCE", 0)->a.opened_at + 92 * UPT_DAY_MS);
    assert_true(isnan(early->a.precision_estimate) && isnan(early->a.expected_lead_days));
    assert_true(world_count(w, "back0", "SILENCE", UPT_OPEN) == 2); /* within the same 90 days: one witness */
    assert_int_equal(counts->n, 1);
    world_restart(w);
    world_to(w, opened + 91, 0, 59);
    counts = &w->score->outcomes.rule[UPT_RULE_SILENCE];
    assert_int_equal(counts->n, 30);
    assert_int_equal(counts->left, 18);
    assert_int_equal(counts->lead[41 - opened], 10);
    assert_int_equal(counts->lead[0], 8); /* gone before the alert */
    world_restart(w);
    const struct kept_alert *late = told_of_one_more(w, "late", opened + 112, opened + 140);
    assert_true(fabs(late->a.precision_estimate - .6) < 1e-9);
    assert_true(fabs(late->a.expected_lead_days - (41 - opened)) < 1e-9);
    assert_int_equal(w->score->outcomes.rule[UPT_RULE_HEALTH_BAND].n, 0);
    world_free(w);
}

/* Another model's alerts are not its own. */
static void
alerts_of_one_model(void **state)
{
    (void)state;
    struct world *w = world_only("SILENCE", NULL);
    use_and_stop(w, "gone", 30, 20);
    world_to(w, 60, 0, 59);
    memset(w->model->hash, '0', 16);
    world_to(w, 200, 0, 59);
    assert_int_equal(world_count(w, NULL, "SILENCE", UPT_OPEN), 30);
    assert_int_equal(w->score->outcomes.rule[UPT_RULE_SILENCE].n, 0);
    world_free(w);
}

/* Of an account that was never used an alert is judged, too, and its count is kept although nobody has a risk. */
static void
alerts_of_the_unused(void **state)
{
    (void)state;
    struct world *w = world_only("ONBOARDING_LATE", NULL);
    world_profile(w, "a", 0, "onboarding_steps", "x,y");
    world_to(w, 250, 0, 59);
    assert_int_equal(world_count(w, "a", "ONBOARDING_LATE", UPT_OPEN), 1);
    assert_int_equal(w->score->outcomes.rule[UPT_RULE_ONBOARDING_LATE].n, 1);
    world_restart(w);
    assert_int_equal(w->score->outcomes.rule[UPT_RULE_ONBOARDING_LATE].n, 1);
    world_free(w);
}

static void
news_is_not_judged(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_use(w, "a", 0, "f", 1);
    struct upt_decision d = {
        .score = w->score, .st = w->st, .ext = world_ext(w, "a"), .now = (int64_t)DAY0 * UPT_DAY_MS};
    upt_opening_note(&d, UPT_RULE_EXPANSION);
    upt_opening_note(&d, UPT_RULE_ADOPTED);
    upt_opening_note(&d, UPT_RULE_POSITIVE);
    assert_true(d.ext->signals.habits == NULL || d.ext->signals.habits->opened_day == NULL);
    upt_opening_note(&d, UPT_RULE_RELEASE_UNUSED);
    assert_int_equal(d.ext->signals.habits->opened_day[UPT_RULE_RELEASE_UNUSED], DAY0);
    world_free(w);
}

/* What is cut off anywhere, or has more behind it, is refused; nothing of it is added up. */
static void
damaged(void **state)
{
    (void)state;
    struct upt_outcome_figures f;
    struct upt_outcomes *shared = upt_outcomes_create();
    struct upt_outcome_table table = {
        .model = "0123456789abcdef", .since = -3, .n = 2, .segment[0] = {"a", {.n[1][99] = 300, .leads = 7}}};
    struct upt_buf out = {0};
    table.segment[1].counts.risk_e4[3] = UINT64_C(1) << 60;
    upt_outcome_encode(&table, &out);
    size_t first = out.len; /* a whole one: the rules follow each other up to the end */
    table.rule[3] = (struct upt_rule_outcomes){.n = 300, .left = 20, .lead = {[0] = 5, [30] = 15}};
    upt_buf_clear(&out);
    upt_outcome_encode(&table, &out);
    struct upt_cur nothing = upt_cur_of(UPT_STR("")); /* a checkpoint of before */
    struct upt_outcome_table none = {.n = 1};
    assert_true(upt_outcome_decode(&none, &nothing) && none.n == 0);
    for (size_t len = 1; len <= out.len + 1; len++) {
        struct upt_outcome_table got = {.shared = shared};
        upt_buf_reserve(&out, 1)[0] = 0;
        struct upt_cur cur = upt_cur_of((struct upt_str){out.p, (uint32_t)len});
        assert_true(upt_outcome_decode(&got, &cur) == (len == first || len == out.len));
        assert_true(len != out.len || memcmp(got.segment, table.segment, sizeof(got.segment)) == 0);
        assert_true(len != out.len || memcmp(got.rule, table.rule, sizeof(got.rule)) == 0);
        upt_outcome_fini(&got);
    }
    assert_false(upt_outcomes_figures(shared, UPT_OUTCOME_ALL, &f));
    upt_buf_fini(&out);
    upt_outcomes_destroy(&shared);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(left_and_stayed),
        cmocka_unit_test(told_by_events),
        cmocka_unit_test(by_segment),
        cmocka_unit_test(kept),
        cmocka_unit_test(many_segments),
        cmocka_unit_test(of_one_model),
        cmocka_unit_test(alerts_of_a_rule),
        cmocka_unit_test(alerts_of_one_model),
        cmocka_unit_test(alerts_of_the_unused),
        cmocka_unit_test(news_is_not_judged),
        cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests_name("score_outcome", tests, NULL, NULL);
}
