/* Churn risk: log-odds linear in bounded features, so that its parts can be shown and add up.
 *
 *     logit p_H = base_H + Σ weight_i · (v_i − mean_i)      base_H = intercept_H + Σ weight_i · mean_i
 *
 * Bounded, because a line fitted to accounts of one kind says nothing far away from them: beyond the limits of the file
 * a feature counts as at the limit. A feature of which nothing is known is its mean and adds nothing. The shift of the
 * account's segment is one more feature; a segment that the file does not list shifts by 0.
 *
 * Published for every account that ever used the product, also where the health score is withheld: who came once is
 * mostly gone, and that is known long before it is known how they fare. The confidence beside it says how little it
 * rests on.
 *
 * low, high: what the share that churns may be among accounts with these values in this segment, 90 %: logit ± 1.645
 * standard deviations of the segment's shift. Of a segment not listed that is the deviation between segments: how far
 * cohorts differ is nearly all that is uncertain, the weights rest on tens of thousands of accounts.
 *
 * p_30 ≤ p_60 ≤ p_90, since only gone_odds and the intercept depend on H and neither falls with it. Pure; the lane's
 * thread. */
#include "hazard.h"

#include <math.h>
#include <string.h>

#include "uptake/assert.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define NORMAL_90 1.645
#define WINDOW_DAYS 30

const int upt_horizon_days[UPT_HORIZONS] = {30, 60, 90};

static int
compare(struct upt_str a, const char *b)
{
    size_t len = strlen(b);
    int order = memcmp(a.p, b, a.len < len ? a.len : len);
    return order != 0 ? order : (a.len > len) - (a.len < len);
}

const struct upt_segment_shift *
upt_hazard_segment(const struct upt_model *model, struct upt_str name)
{
    size_t low = 0;
    size_t high = name.p == NULL ? 0 : model->segments_n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(name, model->segment[middle].name);
        if (order == 0) {
            return &model->segment[middle];
        }
        low = order > 0 ? middle + 1 : low;
        high = order < 0 ? middle : high;
    }
    return NULL;
}

/* log(1 + USAGE events, half-life two own periods). NaN: key events of late, but none that the state counts by day. */
static double
volume_2d(const struct upt_model *model, struct upt_account *acct, const struct upt_eval *eval)
{
    const struct upt_activity *act = &eval->act;
    uint64_t events[WINDOW_DAYS];
    int64_t shift = eval->today - act->day; /* events[i]: of age i − shift */
    upt_account_days(acct, eval->today, events);
    double sum = 0;
    bool any = false;
    for (int64_t i = shift > 0 ? shift : 0; i < WINDOW_DAYS; i++) {
        if (events[i] != 0) {
            sum += (double)events[i] * model->half_2[i - shift];
            any = true;
        }
    }
    return any || act->day - act->last >= WINDOW_DAYS - 2 ? log1p(sum) : (double)NAN;
}

static double
seat_use(struct upt_state *st, struct upt_account *acct)
{
    int64_t seats = 0;
    if (!upt_account_seats(acct, &seats) || seats <= 0) {
        return (double)NAN;
    }
    return (double)upt_account_users(st, acct).d30 / ((double)seats / 1e6);
}

/* The line was fitted to 30 days of each account, in which nobody is monthly. So a monthly account is seen in its own
 * time, a period of 28 days as a day: else one that comes like clockwork would be at risk for ever. */
static void
see_by_months(const struct upt_activity *act, double *x)
{
    double silent = act->n - act->tx;
    double gap = act->gap_mean - log(upt_cadence_days[UPT_MONTHLY]);
    double day = act->decayed_21 > 0 ? expm1(x[UPT_R_VOLUME]) / act->decayed_21 : 0;
    x[UPT_R_SILENCE] = log1p(silent);
    x[UPT_R_SILENCE_X_GAP] = log1p(silent) * gap;
    x[UPT_R_GAP_MEAN] = gap;
    x[UPT_R_TENURE_DAYS] = x[UPT_R_TENURE_WEEKS] = log(act->n + 1.0);
    x[UPT_R_ACTIVE_DAYS] = log(act->x + 1.0);
    x[UPT_R_VOLUME_2D] = log1p(day * act->own_2);
    x[UPT_R_VOLUME] = log1p(day * act->own_21);
}

void
upt_hazard_values(const struct upt_model *model, struct upt_state *st, struct upt_account *acct,
                  const struct upt_eval *eval, double x[UPT_R_COUNT])
{
    const struct upt_activity *act = &eval->act;
    double silent = (double)(act->day - act->last);
    double tenure = log((double)(act->day - act->first + 1));
    x[UPT_R_SILENCE] = log1p(silent);
    x[UPT_R_OWN_SILENCE] = upt_own_silence(act, fmax(silent, 0.5));
    x[UPT_R_SILENCE_X_GAP] = log1p(silent) * act->gap_mean;
    x[UPT_R_GAP_MEAN] = act->gap_mean;
    x[UPT_R_GAP_SPREAD] = act->gap_sd;
    x[UPT_R_TENURE_DAYS] = tenure;
    x[UPT_R_TENURE_WEEKS] = tenure;
    x[UPT_R_ACTIVE_2D] = log(0.1 + act->own_2);
    x[UPT_R_FREQUENCY] = log(0.1 + act->own_10);
    x[UPT_R_FREQUENCY_21D] = log(0.1 + act->own_21);
    x[UPT_R_ACTIVE_WEEKS] = act->weeks_n;
    x[UPT_R_ACTIVE_DAYS] = log((double)act->days_n);
    x[UPT_R_VOLUME_2D] = volume_2d(model, acct, eval);
    x[UPT_R_VOLUME] = eval->volume;
    x[UPT_R_DAY_VOLUME] = act->decayed_21 > 0 ? log1p(expm1(eval->volume) / act->decayed_21) : 0;
    x[UPT_R_BREADTH] = eval->features_n > 0 ? eval->breadth : (double)NAN;
    x[UPT_R_SEAT_USE] = seat_use(st, acct);
    if (act->cadence == UPT_MONTHLY) {
        see_by_months(act, x);
    }
}

static double
within(double v, double least, double most)
{
    return fmax(least, fmin(most, v));
}

static uint32_t
probability(double logit)
{
    return (uint32_t)lround(upt_round6(1.0 / (1.0 + exp(-logit))) * 1e6);
}

void
upt_hazard(const struct upt_model *model, struct upt_state *st, struct upt_account *acct, struct upt_eval *eval)
{
    const struct upt_activity *act = &eval->act;
    const struct upt_segment_shift *segment = upt_hazard_segment(model, upt_account_trait(acct, UPT_STR("segment")));
    double x[UPT_R_COUNT] = {0};
    double odds[UPT_HORIZONS];
    int m[UPT_HORIZONS];
    double base = 0;
    for (int h = 0; h < UPT_HORIZONS; h++) {
        m[h] = upt_periods(act->cadence, upt_horizon_days[h]);
    }
    upt_bgbb_gone_odds(&model->bgbb[act->cadence], act, m, UPT_HORIZONS, odds);
    upt_hazard_values(model, st, acct, eval, x);
    x[UPT_R_GONE_ODDS] = odds[0];
    x[UPT_R_SEGMENT] = segment == NULL ? 0 : segment->shift;
    for (int i = 0; i < UPT_R_COUNT; i++) {
        double v = isnan(x[i]) ? model->risk[i].mean : x[i];
        eval->risk_known[i] = !isnan(x[i]) && (i != UPT_R_SEGMENT || segment != NULL);
        eval->risk_seen[i] = upt_round6(v);
        eval->risk_value[i] = upt_round6(within(v, model->risk[i].least, model->risk[i].most));
        eval->factor[0][i] = model->risk[i].weight * (eval->risk_value[i] - model->risk[i].mean);
        base += model->risk[i].weight * model->risk[i].mean;
    }
    double sd = segment == NULL ? model->segment_sd : segment->sd;
    for (int h = 0; h < UPT_HORIZONS; h++) {
        memcpy(eval->factor[h], eval->factor[0], sizeof(eval->factor[h]));
        double gone = within(odds[h], model->risk[UPT_R_GONE_ODDS].least, model->risk[UPT_R_GONE_ODDS].most);
        eval->gone_odds[h] = upt_round6(gone);
        eval->factor[h][UPT_R_GONE_ODDS] =
            model->risk[UPT_R_GONE_ODDS].weight * (eval->gone_odds[h] - model->risk[UPT_R_GONE_ODDS].mean);
        eval->base[h] = model->intercept[h] + base;
        eval->logit[h] = eval->base[h];
        for (int i = 0; i < UPT_R_COUNT; i++) {
            eval->logit[h] += eval->factor[h][i];
        }
        eval->risk_micro[h] = probability(eval->logit[h]);
        eval->low_micro[h] = probability(eval->logit[h] - NORMAL_90 * sd);
        eval->high_micro[h] = probability(eval->logit[h] + NORMAL_90 * sd);
        upt_assert(h == 0 || eval->risk_micro[h] >= eval->risk_micro[h - 1]);
    }
}
