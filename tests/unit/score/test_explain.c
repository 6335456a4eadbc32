/* The explanation: the change it names does bring the risk to the threshold, sums hold, use and baseline are those
 * kept. */
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

static void
change(void **state)
{
    (void)state;
    struct world *w = silent();
    struct upt_eval eval = world_eval(w, "a");
    static const double thresholds[] = {0.5, 0.3, 0.1, 0.01};
    int found = 0;
    for (size_t t = 0; t < sizeof(thresholds) / sizeof(thresholds[0]); t++) {
        double to = 0;
        double least = INFINITY;
        int i = upt_counterfactual(w->model, &eval, thresholds[t], &to);
        double wanted = log(thresholds[t] / (1 - thresholds[t]));
        if (eval.risk_micro[0] / 1e6 <= thresholds[t]) {
            assert_int_equal(i, -1);
            continue;
        }
        /* By hand: the value of each factor with which the sum is the threshold's, and its share of the range. */
        int best = -1;
        for (int k = 0; k < UPT_R_COUNT; k++) {
            double rest = eval.logit[0] - eval.factor[0][k];
            double v = w->model->risk[k].mean + (wanted - rest) / w->model->risk[k].weight;
            double span = w->model->risk[k].most - w->model->risk[k].least;
            if (v >= w->model->risk[k].least && v <= w->model->risk[k].most &&
                fabs(v - eval.risk_value[k]) / span < least) {
                least = fabs(v - eval.risk_value[k]) / span;
                best = k;
            }
        }
        assert_int_equal(i, best);
        if (i >= 0) {
            double logit = eval.logit[0] - eval.factor[0][i] + w->model->risk[i].weight * (to - w->model->risk[i].mean);
            assert_true(fabs(1 / (1 + exp(-logit)) - thresholds[t]) < 1e-5);
            found++;
        }
    }
    assert_true(found > 0);
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
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(change), cmocka_unit_test(text)};
    return cmocka_run_group_tests_name("score_explain", tests, NULL, NULL);
}
