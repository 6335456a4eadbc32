/* The explanation: the change it names does bring the risk to the threshold of the rules, sums hold, use and
 * baseline are those kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

#include "aggregate/score/explain.h"

static char *
explained(struct world *w, const char *account)
{
    struct upt_buf out = {0};
    upt_score_explain_json(w->score, w->st, world_account(w, account), &out);
    upt_buf_put(&out, "", 1);
    return out.p;
}

static void
holds(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("no %s in %s", part, text);
    }
}

/* Daily use for 60 days, then silence of two weeks. */
static struct world *
silent(void)
{
    struct world *w = world_new(NULL);
    for (int d = 0; d < 60; d++) {
        world_use(w, "a", d, "f", 2 + d % 3);
        world_use(w, "a", d, "g", 1);
    }
    world_to(w, 74, 1, 0);
    return w;
}

/* What use of the product can change; the rest is the past, or the segment. */
static bool
is_advice(int factor)
{
    return factor != UPT_R_SILENCE_X_GAP && factor != UPT_R_GAP_MEAN && factor != UPT_R_GAP_SPREAD &&
           factor != UPT_R_TENURE_DAYS && factor != UPT_R_TENURE_WEEKS && factor != UPT_R_SEGMENT;
}

/* The greatest value of a factor that one counts as so many. */
static double
value_of(int factor, double counted)
{
    double least = -60, more = 60;
    for (int i = 0; i < 100; i++) {
        double v = (least + more) / 2;
        *(upt_counted(factor, v) <= counted ? &least : &more) = v;
    }
    return least;
}

static double
risk_with(const struct upt_model *model, const struct upt_eval *eval, int h, int i, double v)
{
    v = fmax(model->risk[i].least, fmin(model->risk[i].most, v));
    double logit = eval->logit[h] - eval->factor[h][i] + model->risk[i].weight * (v - model->risk[i].mean);
    return 1 / (1 + exp(-logit));
}

/* The value told is that of the threshold, by hand the nearest of all; the sentence is true of the number it shows. */
static bool
change_of(const struct upt_model *model, const struct upt_eval *eval, int h, double threshold, bool *ret_told)
{
    double to = 0;
    double least = INFINITY;
    double wanted = log(threshold / (1 - threshold));
    char text[320];
    int i = upt_counterfactual(model, eval, h, threshold, &to);
    int best = -1;
    for (int k = 0; k < UPT_R_COUNT; k++) {
        double now = k == UPT_R_GONE_ODDS ? eval->gone_odds[h] : eval->risk_value[k];
        double rest = eval->logit[h] - eval->factor[h][k];
        double v = model->risk[k].mean + (wanted - rest) / model->risk[k].weight;
        double way = upt_round6(fabs(v - now) / (model->risk[k].most - model->risk[k].least));
        if (is_advice(k) && eval->risk_known[k] && v >= model->risk[k].least && v <= model->risk[k].most &&
            way < least) {
            least = way;
            best = k;
        }
    }
    best = eval->risk_micro[h] / 1e6 <= threshold ? -1 : best;
    assert_int_equal(i, best);
    if (i < 0) {
        return false;
    }
    assert_true(fabs(risk_with(model, eval, h, i, to) - threshold) < 1e-5);
    upt_counterfactual_say(model, eval, h, threshold, i, to, text, sizeof(text));
    assert_null(strstr(text, "null"));
    const char *told = strstr(text, " instead of ");
    assert_non_null(told);
    while (strchr("0123456789.", told[-1]) == NULL) {
        told--;
    }
    while (strchr("0123456789.", told[-1]) != NULL) {
        told--;
    }
    double shown = strtod(told, NULL);
    assert_true(risk_with(model, eval, h, i, value_of(i, shown)) <= threshold + 1e-6);
    ret_told[i] = true;
    return true;
}

/* Weekly, monthly, irregular and daily accounts, of few and many uses, with seats and without. */
static struct world *
many(void)
{
    static const int every[] = {1, 7, 28, 3, 5, 1};
    struct world *w = world_new(NULL);
    for (int d = 0; d < 120; d++) {
        for (int a = 0; a < 24; a++) {
            char account[16];
            (void)snprintf(account, sizeof(account), "a%d", a);
            bool on =
                d % every[a % 6] == a % every[a % 6] && d < 120 - 4 * (a / 6) * (a % 6 + 1) && (a % 6 != 5 || d > 20);
            if (on && a % 2 == 0) {
                world_profile(w, account, d, "seats", "9");
            }
            for (int f = 0; on && f < 1 + a % 4; f++) {
                world_use(w, account, d, (const char *[]){"f", "g", "h", "i"}[f], 1 + a * f);
            }
        }
    }
    world_to(w, 121, 1, 0);
    return w;
}

static void
change(void **state)
{
    (void)state;
    struct world *w = many();
    bool told[UPT_R_COUNT] = {false};
    int found = 0;
    for (int a = 0; a < 24; a++) {
        char account[16];
        (void)snprintf(account, sizeof(account), "a%d", a);
        struct upt_eval eval = world_eval(w, account);
        assert_true(eval.has_key);
        for (int t = 1; t < 100; t++) {
            for (int h = 0; h < UPT_HORIZONS; h++) {
                found += change_of(w->model, &eval, h, t / 100.0, told);
            }
            for (int i = 0; i < UPT_R_COUNT; i++) { /* each alone, as if no other were known */
                struct upt_eval alone = eval;
                for (int k = 0; k < UPT_R_COUNT; k++) {
                    alone.risk_known[k] = eval.risk_known[k] && k == i;
                }
                (void)change_of(w->model, &alone, 0, t / 100.0, told);
            }
        }
    }
    assert_true(found > 100);
    for (int i = 0; i < UPT_R_COUNT; i++) {
        assert_int_equal(told[i], is_advice(i));
    }
    world_free(w);
}

/* The threshold is that of the rules. */
static void
level(void **state)
{
    (void)state;
    struct world *w = world_new("rules: {CHURN_RISK: {close_below: 0.25, horizon: 60}}");
    world_use(w, "a", 0, "f", 1);
    world_to(w, 3, 1, 0);
    char *json = explained(w, "a");
    holds(json, "\"threshold\":0.25,\"threshold_days\":60,");
    free(json);
    world_free(w);
}

static void
first_uses(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_use(w, "a", 0, "f", 1);
    world_use(w, "a", 12, "g", 1);
    world_to(w, 15, 1, 0);
    char *json = explained(w, "a");
    holds(json, "\"first_uses\":[{\"feature\":\"f\",\"days\":0},{\"feature\":\"g\",\"days\":12}],");
    free(json);
    world_free(w);
}

/* A warning that meets the cap: what it is, since when, why, and from when on there is room. */
static void
held_back(void **state)
{
    (void)state;
    struct world *w = world_only("ONBOARDING_LATE RELEASE_UNUSED{days: 28};", "notify: {most: 1, within: 7d}");
    char part[300];
    world_profile(w, "a", 0, "onboarding_steps", "x");
    world_event(w, "a", UPT_KIND_RELEASE, "boards", 1, DAY0 * UPT_DAY_MS + UPT_HOUR_MS);
    for (int d = 0; d < 27; d++) {
        world_use(w, "a", d, "f", 1);
    }
    char *json = explained(w, "a");
    holds(json, "\"alerts\":[],\"held_back\":[]}");
    free(json);
    for (int d = 27; d < 33; d++) {
        world_use(w, "a", d, "f", 1);
    }
    int64_t opened = world_alert(w, "a", "RELEASE_UNUSED", 0)->a.changed_at;
    assert_int_equal(world_day(opened), 28);
    json = explained(w, "a");
    (void)snprintf(
        part, sizeof(part),
        "\"held_back\":[{\"rule\":\"ONBOARDING_LATE\",\"severity\":\"WARNING\",\"since\":%lld,\"subject\":null,"
        "\"why\":\"Held back: at most 1 notification in 7 days. There is room for it from 2025-02-05 %02d:%02d "
        "UTC on.\",\"suggested_play\":\"",
        (long long)(opened + 2 * UPT_DAY_MS), (int)(opened % UPT_DAY_MS / UPT_HOUR_MS),
        (int)(opened % UPT_HOUR_MS / UPT_MINUTE_MS));
    holds(json, part);
    free(json);
    world_to(w, 36, 1, 0);
    json = explained(w, "a");
    holds(json, "\"held_back\":[]}");
    holds(json, "\"rule\":\"ONBOARDING_LATE\"");
    free(json);
    world_free(w);
}

static void
meters(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_use(w, "a", 0, "files", 1);
    char *json = explained(w, "a");
    holds(json, "\"meters\":[],");
    free(json);
    world_profile(w, "a", 1, "entitlements", "files=1000.5,sites,flows=8");
    world_use(w, "a", 2, "flows", 6);
    json = explained(w, "a");
    holds(json, "\"meters\":[{\"name\":\"files\",\"units\":0,\"entitled\":1000.5,\"share\":0,\"since\":\"2025-01-02\"},"
                "{\"name\":\"flows\",\"units\":6,\"entitled\":8,\"share\":0.75,\"since\":\"2025-01-02\"}],");
    free(json);
    world_free(w);
}

static void
text(void **state)
{
    (void)state;
    struct world *w = silent();
    char *json = explained(w, "a");
    char part[200];
    struct upt_eval eval = world_eval(w, "a");
    holds(json, "{\"day\":\"2025-03-01\",\"events\":5,"); /* day 59: 2 + 59 % 3 of f, 1 of g */
    holds(json, "{\"day\":\"2025-03-02\",\"events\":0,");
    holds(json, "{\"day\":\"2025-03-16\",\"events\":0,"); /* today */
    assert_null(strstr(json, "2025-02-14"));              /* 30 days: from the 15th */
    holds(json, "{\"day\":\"2025-02-15\"");
    const struct upt_drop *drop = &world_ext(w, "a")->drop;
    assert_true(drop->periods_n > 0);
    (void)snprintf(part, sizeof(part), "\"2025-03-01\",\"events\":5,\"expected\":%.9g",
                   upt_round6((double)drop->profile[5])); /* a Saturday */
    holds(json, part);
    (void)snprintf(part, sizeof(part), "\"logit\":%.9g", eval.logit[0]);
    holds(json, part);
    holds(json, "\"rule\":\"SILENCE\"");
    holds(json, world_alert(w, "a", "SILENCE", 0)->id);
    holds(json, "\"acknowledged\":false,\"snoozed_until\":null,\"suggested_play\":\"Ask the last active user");
    free(json);
    world_say(w, "a", upt_state_clock(w->st),
              (const char *const[]){"uptake.control", "ack", "uptake.alert", world_alert(w, "a", "SILENCE", 0)->id}, 2);
    json = explained(w, "a");
    holds(json, "\"acknowledged\":true");
    free(json);
    world_free(w);

    /* Of an account that never did anything there is little to say, and of a healthy one no change. */
    w = world_new(NULL);
    world_event(w, "b", UPT_KIND_LOGIN, NULL, 1, DAY0 * UPT_DAY_MS);
    json = explained(w, "b");
    holds(json, "\"factors\":[],");
    holds(json, "\"logit\":null");
    holds(json, "\"expected\":null");
    free(json);
    for (int d = 0; d < 40; d++) {
        world_use(w, "c", d, "f", 5);
    }
    json = explained(w, "c");
    holds(json, "\"counterfactual\":null,\"change\":\"The risk is below the threshold.\"");
    free(json);
    world_free(w);

    /* An alert about a feature names it. */
    w = world_only("FEATURE_ABANDONED", NULL);
    for (int d = 0; d < 120; d++) {
        world_use(w, "d", d, "f", 1);
        if (d < 70) {
            world_use(w, "d", d, "reports", 1);
        }
    }
    json = explained(w, "d");
    holds(json, "\"rule\":\"FEATURE_ABANDONED\"");
    holds(json, "\"subject\":\"reports\"");
    free(json);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(change), cmocka_unit_test(level),
                                       cmocka_unit_test(text),   cmocka_unit_test(first_uses),
                                       cmocka_unit_test(meters), cmocka_unit_test(held_back)};
    return cmocka_run_group_tests_name("score_explain", tests, NULL, NULL);
}
