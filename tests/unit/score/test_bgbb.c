/* BG/BB against values worked out by hand and against the textbook's sum of beta functions. */
#include "harness.h"

static double
log_beta(double a, double b)
{
    return lgamma(a) + lgamma(b) - lgamma(a + b);
}

/* Likelihood of (x, tx, n) as published (Fader, Hardie, Shang 2010, equation 4). */
static double
likelihood(const struct upt_bgbb *p, int x, int tx, int n)
{
    double base = log_beta(p->alpha, p->beta) + log_beta(p->gamma, p->delta);
    double sum = exp(log_beta(p->alpha + x, p->beta + n - x) + log_beta(p->gamma, p->delta + n) - base);
    for (int i = 0; i < n - tx; i++) {
        sum += exp(log_beta(p->alpha + x, p->beta + tx - x + i) + log_beta(p->gamma + 1, p->delta + tx + i) - base);
    }
    return sum;
}

static double
there(const struct upt_bgbb *p, int x, int tx, int n, int m)
{
    double base = log_beta(p->alpha, p->beta) + log_beta(p->gamma, p->delta);
    return exp(log_beta(p->alpha + x, p->beta + n - x) + log_beta(p->gamma, p->delta + n + m) - base) /
           likelihood(p, x, tx, n);
}

static double
gone_odds(const struct upt_bgbb *p, const struct upt_activity *act, int m)
{
    double odds;
    upt_bgbb_gone_odds(p, act, &m, 1, &odds);
    return odds;
}

/* All parameters 1, nothing but the first period: it stays with 1/2 and is then active with 1/2. */
static void
by_hand(void **state)
{
    (void)state;
    const struct upt_bgbb flat = {1, 1, 1, 1};
    struct upt_activity act = {.x = 0, .tx = 0, .n = 0};
    assert_true(fabs(upt_bgbb_none(&flat, &act, 1) - 0.75) < 1e-9);
    assert_true(fabs(gone_odds(&flat, &act, 1)) < 1e-9);
    /* Active in the next period too: then E θ-free survival is 2/3, odds of leaving 1 to 2. */
    act = (struct upt_activity){.x = 1, .tx = 1, .n = 1};
    assert_true(fabs(gone_odds(&flat, &act, 1) - upt_round6(log(0.5))) < 1e-9);
    /* One silent period: alive 1/2·1/2 against gone 1/2, so 1/3; one more period takes a third of that. */
    act = (struct upt_activity){.x = 0, .tx = 0, .n = 1};
    assert_true(fabs(gone_odds(&flat, &act, 0) - upt_round6(log(2))) < 1e-9);
    assert_true(fabs(gone_odds(&flat, &act, 1) - upt_round6(log((1 - 2.0 / 9) / (2.0 / 9)))) < 1e-9);
}

static void
against_textbook(void **state)
{
    (void)state;
    const struct upt_bgbb sets[] = {
        {0.427926, 3.115898, 0.398303, 2.750144}, {1.2, 0.7, 0.6, 3.1}, {0.25, 0.63, 0.4, 6.2}};
    for (size_t s = 0; s < 3; s++) {
        for (int n = 0; n <= 60; n += 4) {
            for (int tx = 0; tx <= n; tx += 3) {
                for (int x = tx > 0 ? 1 : 0; x <= tx; x += 5) {
                    struct upt_activity act = {.x = x, .tx = tx, .n = n};
                    double none = likelihood(&sets[s], x, tx, n + 10) / likelihood(&sets[s], x, tx, n);
                    double alive = there(&sets[s], x, tx, n, 30);
                    assert_true(fabs(upt_bgbb_none(&sets[s], &act, 10) - none) < 1e-6);
                    if (alive > 1e-6 && alive < 1 - 1e-6) {
                        assert_true(fabs(gone_odds(&sets[s], &act, 30) - log((1 - alive) / alive)) < 2e-6);
                    }
                }
            }
        }
    }
}

/* Horizons nest; silence only ever adds. */
static void
monotone(void **state)
{
    (void)state;
    const struct upt_bgbb p = {0.427926, 3.115898, 0.398303, 2.750144};
    double before = -100;
    for (int n = 200; n < 700; n++) {
        struct upt_activity act = {.x = 150, .tx = 200, .n = n};
        double o30 = gone_odds(&p, &act, 30);
        assert_true(o30 >= before && gone_odds(&p, &act, 60) >= o30 && o30 <= 20);
        before = o30;
    }
    struct upt_activity act = {.x = 150, .tx = 200, .n = 100000};
    assert_true(gone_odds(&p, &act, 30) >= 19.999 && upt_bgbb_none(&p, &act, 10) <= 1);
}

static void
periods(void **state)
{
    (void)state;
    assert_int_equal(upt_periods(UPT_DAILY, 30), 30);
    assert_int_equal(upt_periods(UPT_WEEKLY, 30), 4);
    assert_int_equal(upt_periods(UPT_WEEKLY, 60), 9);
    assert_int_equal(upt_periods(UPT_MONTHLY, 30), 1);
    assert_int_equal(upt_periods(UPT_MONTHLY, 10), 1);
    assert_int_equal(upt_periods(UPT_MONTHLY, 90), 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(against_textbook),
        cmocka_unit_test(monotone),
        cmocka_unit_test(periods),
    };
    return cmocka_run_group_tests_name("score_bgbb", tests, NULL, NULL);
}
