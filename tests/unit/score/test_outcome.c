/* Outcomes of risks on the metrics: who left, who stayed, when they are counted, and what a restart keeps. */
#include "harness.h"

static uint64_t
total(const struct world *w, upt_metric first)
{
    uint64_t sum = 0;
    for (int k = 0; k < 10; k++) {
        struct upt_metrics *sets[] = {w->metrics};
        sum += upt_metrics_total(sets, 1, (upt_metric)((int)first + k));
    }
    return sum;
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
    assert_int_equal(total(w, UPT_M_RISK_LEFT_0) + total(w, UPT_M_RISK_STAYED_0), 0); /* the 60 days are not over */
    world_to(w, 91, 0, 59);
    assert_int_equal(total(w, UPT_M_RISK_LEFT_0), 1);
    assert_int_equal(total(w, UPT_M_RISK_STAYED_0), 1);
    struct upt_metrics *sets[] = {w->metrics};
    assert_int_equal(upt_metrics_total(sets, 1, (upt_metric)(UPT_M_RISK_LEFT_0 + risk / 1000)), 1);
    assert_int_equal(total(w, UPT_M_RISK_SUM_0), 2 * ((risk + 5) / 10));
    assert_int_equal(upt_metrics_total(sets, 1, UPT_M_RISK_LEADS), risk >= 7500 ? 1 : 0);
    assert_int_equal(upt_metrics_total(sets, 1, UPT_M_RISK_LEAD_DAYS), risk >= 7500 ? 20 : 0);
    assert_int_equal(world_ext(w, "left")->foretold.day, DAY0 + 90); /* the next one */
    world_to(w, 400, 0, 59);
    assert_int_equal(total(w, UPT_M_RISK_LEFT_0), 3); /* each once more, silent for 70 and 59 days then; not for ever */
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
    assert_int_equal(total(w, UPT_M_RISK_LEFT_0), 1);
    assert_int_equal(total(w, UPT_M_RISK_STAYED_0), 1);
    for (int d = 93; d < 400; d += 3) {
        world_use(w, "churned", d, "f", 1);
        world_use(w, "renewed", d, "f", 1);
    }
    world_to(w, 400, 0, 59);
    assert_int_equal(total(w, UPT_M_RISK_LEFT_0), 1); /* of a customer who is gone by contract nothing is foretold */
    world_free(w);
}

/* Two that left at .85 and .25, two that stayed at .25 and .05: of four pairs three and a half are in order. */
static void
figures(void **state)
{
    (void)state;
    static struct upt_metrics set;
    struct upt_metrics *sets[] = {&set};
    struct upt_buf page = {0};
    upt_metrics_risk(sets, 1, &page);
    assert_int_equal(page.len, 0);
    upt_metric_add(&set, UPT_M_RISK_LEFT_8, 1);
    upt_metric_add(&set, UPT_M_RISK_LEFT_2, 1);
    upt_metrics_risk(sets, 1, &page);
    assert_int_equal(page.len, 0);
    upt_metric_add(&set, UPT_M_RISK_STAYED_2, 1);
    upt_metric_add(&set, UPT_M_RISK_STAYED_0, 1);
    upt_metric_add(&set, UPT_M_RISK_SUM_8, 850);
    upt_metric_add(&set, UPT_M_RISK_SUM_2, 500);
    upt_metric_add(&set, UPT_M_RISK_SUM_0, 50);
    upt_metrics_risk(sets, 1, &page);
    upt_buf_put(&page, "", 1);
    assert_non_null(strstr(page.p, "\nuptake_risk_auc 0.8750\n"));
    assert_non_null(strstr(page.p, "\nuptake_risk_calibration_error 0.1750\n")); /* (.15 + .5 + .05) / 4 */
    upt_buf_fini(&page);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(left_and_stayed),
        cmocka_unit_test(told_by_events),
        cmocka_unit_test(figures),
    };
    return cmocka_run_group_tests_name("score_outcome", tests, NULL, NULL);
}
