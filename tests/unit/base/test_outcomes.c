/* Figures of the risk by segment: equal to a plain recomputation over all pairs, bounded, and a page that parses. */
#include "testing.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "uptake/outcomes.h"

struct one {
    int segment;
    uint32_t risk_e4;
    bool left;
    uint32_t lead;
};

#define MANY 900

static uint32_t
chance(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* Risks in whole hundredths: then nothing is rounded. */
static void
random_outcomes(struct one v[MANY], int segments)
{
    uint32_t seed = 7;
    for (int i = 0; i < MANY; i++) {
        uint32_t risk = chance(&seed) % 101 * 100;
        bool left = chance(&seed) % 10000 < risk;
        v[i] = (struct one){.segment = (int)(chance(&seed) % (uint32_t)segments),
                            .risk_e4 = risk,
                            .left = left,
                            .lead = left && risk >= 7500 ? chance(&seed) % 40 : 0};
    }
}

static uint32_t
hundredth(const struct one *v)
{
    return v->risk_e4 / 100 < 100 ? v->risk_e4 / 100 : 99;
}

/* By the definitions, over all pairs. segment −1: all. */
static void
by_hand(const struct one *v, int segment, struct upt_outcome_figures *ret)
{
    double pairs = 0;
    double right = 0;
    double error = 0;
    double leads = 0;
    double lead_days = 0;
    *ret = (struct upt_outcome_figures){0};
    for (int i = 0; i < MANY; i++) {
        if (segment >= 0 && v[i].segment != segment) {
            continue;
        }
        ret->n++;
        ret->left += v[i].left ? 1 : 0;
        ret->predicted += v[i].risk_e4 / 1e4;
        leads += v[i].lead > 0 ? 1 : 0;
        lead_days += v[i].lead;
        for (int k = 0; k < MANY; k++) {
            if (v[i].left && !v[k].left && (segment < 0 || v[k].segment == segment)) {
                pairs += 1;
                right += hundredth(&v[i]) > hundredth(&v[k]) ? 1 : hundredth(&v[i]) == hundredth(&v[k]) ? 0.5 : 0;
            }
        }
    }
    for (uint32_t tenth = 0; tenth < 10; tenth++) {
        double sum = 0;
        for (int i = 0; i < MANY; i++) {
            if ((segment < 0 || v[i].segment == segment) && hundredth(&v[i]) / 10 == tenth) {
                sum += v[i].risk_e4 / 1e4 - (v[i].left ? 1 : 0);
            }
        }
        error += fabs(sum);
    }
    ret->predicted /= (double)ret->n;
    ret->observed = (double)ret->left / (double)ret->n;
    ret->auc = right / pairs;
    ret->calibration_error = error / (double)ret->n;
    ret->leads = (uint64_t)leads;
    ret->lead_days = lead_days / leads;
}

static void
same(const struct upt_outcome_figures *a, const struct upt_outcome_figures *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->left, b->left);
    assert_int_equal(a->leads, b->leads);
    assert_true(fabs(a->predicted - b->predicted) < 1e-9);
    assert_true(fabs(a->observed - b->observed) < 1e-9);
    assert_true(fabs(a->auc - b->auc) < 1e-9);
    assert_true(fabs(a->calibration_error - b->calibration_error) < 1e-9);
    assert_true(fabs(a->lead_days - b->lead_days) < 1e-9);
}

static void
figures_by_hand(void **state)
{
    (void)state;
    static const char *const names[] = {"", "courses", "trial", "other"};
    static const int slots[] = {0, 1, 2, UPT_OUTCOME_SLOTS - 1};
    struct upt_outcomes *outcomes = upt_outcomes_create();
    struct upt_outcome_figures f;
    struct upt_outcome_figures hand;
    struct one v[MANY];
    assert_false(upt_outcomes_figures(outcomes, UPT_OUTCOME_ALL, &f));
    random_outcomes(v, 4);
    upt_outcomes_add(outcomes, upt_str_of("courses"), v[0].risk_e4, false, 0); /* so that names are in this order */
    upt_outcomes_add(outcomes, upt_str_of("trial"), v[1].risk_e4, false, 0);
    v[0] = (struct one){.segment = 1, .risk_e4 = v[0].risk_e4};
    v[1] = (struct one){.segment = 2, .risk_e4 = v[1].risk_e4};
    for (int i = 2; i < MANY; i++) {
        upt_outcomes_add(outcomes, upt_str_of(names[v[i].segment]), v[i].risk_e4, v[i].left, v[i].lead);
    }
    for (int s = 0; s < 4; s++) {
        assert_true(upt_outcomes_figures(outcomes, slots[s], &f));
        assert_string_equal(f.segment, names[s]);
        by_hand(v, s, &hand);
        same(&f, &hand);
    }
    by_hand(v, -1, &hand);
    assert_true(upt_outcomes_figures(outcomes, UPT_OUTCOME_ALL, &f));
    same(&f, &hand);
    upt_outcomes_destroy(&outcomes);
}

/* Of a hundred segments sixteen have their own counts, for good; the rest are one. */
static void
segments_are_bounded(void **state)
{
    (void)state;
    struct upt_outcomes *outcomes = upt_outcomes_create();
    struct upt_outcome_figures f;
    char name[80];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++) {
            (void)snprintf(name, sizeof(name), "segment %d", round == 0 ? i : 99 - i);
            upt_outcomes_add(outcomes, upt_str_of(name), 5000, i % 2 == 0, 0);
        }
    }
    memset(name, 'x', sizeof(name));
    upt_outcomes_add(outcomes, (struct upt_str){name, UPT_OUTCOME_NAME_MAX + 1}, 5000, true, 0);
    for (int slot = 1; slot <= UPT_OUTCOME_SEGMENTS; slot++) {
        assert_true(upt_outcomes_figures(outcomes, slot, &f));
        (void)snprintf(name, sizeof(name), "segment %d", slot - 1);
        assert_string_equal(f.segment, name);
        assert_int_equal(f.n, 2);
    }
    assert_true(upt_outcomes_figures(outcomes, UPT_OUTCOME_SLOTS - 1, &f));
    assert_int_equal(f.n, 200 - 2 * UPT_OUTCOME_SEGMENTS + 1);
    upt_outcomes_destroy(&outcomes);
}

#define LANES 3
#define ROUNDS 4000

struct together {
    struct upt_outcomes *outcomes;
    pthread_barrier_t begin;
};

static void *
count_all(void *ctx)
{
    struct together *t = ctx;
    char name[16];
    (void)pthread_barrier_wait(&t->begin);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof(name), "s%d", i % 20);
        upt_outcomes_add(t->outcomes, upt_str_of(name), (uint32_t)i * 100, i % 3 == 0, 0);
    }
    return NULL;
}

/* All see the same segments first, at once; again and again, since only a meeting within a few instructions tells. */
static void
lanes_count_together(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct together t = {.outcomes = upt_outcomes_create()};
        struct upt_outcome_figures f;
        pthread_t lanes[LANES];
        assert_int_equal(pthread_barrier_init(&t.begin, NULL, LANES), 0);
        for (int i = 0; i < LANES; i++) {
            assert_int_equal(pthread_create(&lanes[i], NULL, count_all, &t), 0);
        }
        for (int slot = 0; slot < UPT_OUTCOME_SLOTS; slot++) {
            (void)upt_outcomes_figures(t.outcomes, slot, &f);
        }
        for (int i = 0; i < LANES; i++) {
            (void)pthread_join(lanes[i], NULL);
        }
        for (int slot = 1; slot < UPT_OUTCOME_SLOTS; slot++) {
            assert_true(upt_outcomes_figures(t.outcomes, slot, &f));
            assert_int_equal(f.n, LANES * 5 * (slot < UPT_OUTCOME_SLOTS - 1 ? 1 : 4));
        }
        (void)pthread_barrier_destroy(&t.begin);
        upt_outcomes_destroy(&t.outcomes);
    }
}

static void
page(void **state)
{
    (void)state;
    struct upt_outcomes *outcomes = upt_outcomes_create();
    struct upt_buf out = {0};
    upt_outcomes_add(outcomes, upt_str_of("a \"b\"\\\n"), 8500, true, 12);
    upt_outcomes_prometheus(outcomes, &out);
    upt_buf_put(&out, "", 1);
    assert_null(strstr(out.p, "\nuptake_risk_auc ")); /* nobody stayed yet */
    upt_buf_clear(&out);
    upt_outcomes_add(outcomes, upt_str_of("a \"b\"\\\n"), 2500, false, 0);
    upt_outcomes_add(outcomes, UPT_STR(""), 2500, true, 0);
    upt_outcomes_prometheus(outcomes, &out);
    upt_buf_put(&out, "", 1);
    static const char *const lines[] = {
        "\nuptake_risk_outcomes_total{segment=\"a \\\"b\\\"\\\\\\n\",outcome=\"left\",tenth=\"8\"} 1\n",
        "\nuptake_risk_outcomes_total{segment=\"\",outcome=\"left\",tenth=\"2\"} 1\n",
        "\nuptake_risk_predicted_total{segment=\"\",tenth=\"2\"} 0.2500\n",
        "\nuptake_risk_lead_days_total{segment=\"a \\\"b\\\"\\\\\\n\"} 12\n",
        "\nuptake_segment_risk_auc{segment=\"a \\\"b\\\"\\\\\\n\"} 1.0000\n",
        "\nuptake_risk_auc 0.7500\n",               /* one pair in order, one in the same hundredth */
        "\nuptake_risk_calibration_error 0.2167\n", /* (|.5 − 1| + .15) / 3 */
        "\nuptake_risk_lead_mean_days 12.0000\n",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (strstr(out.p, lines[i]) == NULL) {
            fail_msg("no %s in %s", lines[i], out.p);
        }
    }
    struct upt_buf doc = {0};
    upt_outcomes_markdown(&doc);
    upt_buf_put(&doc, "", 1);
    size_t rows = 0;
    for (char *rest = NULL, *at = strtok_r(out.p, "\n", &rest); at != NULL; at = strtok_r(NULL, "\n", &rest)) {
        char name[128];
        char row[140];
        if (sscanf(at, "# TYPE %127s", name) == 1) {
            (void)snprintf(row, sizeof(row), "| `%s` | ", name);
            assert_non_null(strstr(doc.p, row));
            rows++;
        }
    }
    assert_int_equal(rows, 10);
    upt_buf_fini(&doc);
    upt_buf_fini(&out);
    upt_outcomes_destroy(&outcomes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_by_hand),
        cmocka_unit_test(segments_are_bounded),
        cmocka_unit_test(lanes_count_together),
        cmocka_unit_test(page),
    };
    return cmocka_run_group_tests_name("outcomes", tests, NULL, NULL);
}
