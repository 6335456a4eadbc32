/* BG/BB (Fader, Hardie and Shang 2010): in each period an account that is still there is active with probability p, and
 * after each period it is gone for good with probability θ; p ~ Beta(α, β), θ ~ Beta(γ, δ) over accounts.
 *
 * The textbook form is a sum of ratios of beta functions by way of lgamma. All terms share one factor, and what remains
 * are ratios of beta functions whose arguments differ by whole numbers: products of fractions. So this needs +, ×, ÷
 * only, which IEEE defines to the last bit, where lgamma differs between libraries. Let, for i ≥ 0,
 *     r(i) = Π_{j<i} (β + tx − x + j) / (α + β + tx + j)      no activity in i more periods, if there
 *     s(i) = Π_{j<i} (δ + tx + j) / (γ + δ + tx + j)          still there after i more periods
 *     F(k) = r(k)·s(k) + Σ_{i<k} r(i)·s(i)·γ / (γ + δ + tx + i)
 * with k counted from the last active period tx. Then with N = n − tx
 *     P(none active in the next m) = F(N + m) / F(N)
 *     P(still there m from now)    = r(N)·s(N + m) / F(N)
 * O(N + m), no memory. n − tx is bounded by the caller's clock; beyond 4096 nothing changes any more. */
#include <math.h>

#include "activity.h"
#include "uptake/assert.h"
#include "uptake/units.h"

#define PERIODS_MAX 4096
#define ODDS_MAX 20.0

struct sums {
    double f, r, s;
};

/* F(k), r(k), s(k), from those of i: f is kept without its last term. */
static struct sums
sums_upto(const struct upt_bgbb *par, const struct upt_activity *act, struct sums sums, int i, int k)
{
    double tx = act->tx;
    double x = act->x;
    for (; i < k; i++) {
        double left = 1 / (par->gamma + par->delta + tx + i);
        double share = sums.r * sums.s * par->gamma * left;
        sums.f += share;
        sums.r *= (par->beta + tx - x + i) / (par->alpha + par->beta + tx + i);
        sums.s *= (par->delta + tx + i) * left;
    }
    return sums;
}

static double
whole(struct sums sums)
{
    return sums.f + sums.r * sums.s;
}

static int
silent_periods(const struct upt_activity *act)
{
    upt_assert(act->n >= act->tx && act->tx >= act->x && act->x >= 0);
    return act->n - act->tx < PERIODS_MAX ? act->n - act->tx : PERIODS_MAX;
}

void
upt_bgbb_gone_odds(const struct upt_bgbb *par, const struct upt_activity *act, const int *m, int n, double *ret)
{
    int silent = silent_periods(act);
    struct sums now = sums_upto(par, act, (struct sums){.f = 0, .r = 1, .s = 1}, 0, silent);
    double all = whole(now);
    double s = now.s;
    int j = 0;
    for (int i = 0; i < n; i++) {
        for (; j < m[i]; j++) {
            s *= (par->delta + act->tx + silent + j) / (par->gamma + par->delta + act->tx + silent + j);
        }
        double there = now.r * s;
        double gone = all - there;
        double odds = ODDS_MAX;
        if (there > all * 1e-9) {
            odds = gone > there * 1e-9 ? log(gone / there) : -ODDS_MAX;
        }
        ret[i] = upt_round6(fmax(-ODDS_MAX, fmin(ODDS_MAX, odds)));
    }
}

double
upt_bgbb_none(const struct upt_bgbb *par, const struct upt_activity *act, int m)
{
    int silent = silent_periods(act);
    struct sums now = sums_upto(par, act, (struct sums){.f = 0, .r = 1, .s = 1}, 0, silent);
    struct sums then = sums_upto(par, act, now, silent, silent + m);
    return upt_round6(whole(then) / whole(now));
}

int
upt_periods(int cadence, int days)
{
    int p = upt_cadence_days[cadence];
    int m = (2 * days + p) / (2 * p);
    return m > 0 ? m : 1;
}
