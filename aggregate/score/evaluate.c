/* Health score of an account; its churn risk is in hazard.c.
 *
 * The score is a sum of whole numbers: weights are thousandths, sub-scores hundred-thousandths, so that points are
 * millionths and add up to score − cohort mean without any rounding, whoever adds them and in whatever order. In
 * doubles the published points would miss the published score by the rounding of one or the other.
 *
 * Pure: reads the state, writes *ret. The lane's thread. */
#include "evaluate.h"

#include <math.h>
#include <string.h>

#include "hazard.h"
#include "uptake/time.h"
#include "uptake/units.h"

/* Weight of one day in a feature's decayed use, so that daily use for ever is 1. */
#define DAY_WEIGHT 0.032468221 /* 1 − 2^(−1/21) to 9 decimals */
#define USE_LEAST 0.05

/* A column of n values, `stride` apart, beside the shares. */
static double
share_below(const double *share_of, const double *column, size_t stride, size_t n, double v)
{
    size_t below = 0; /* rows with a value below v: columns ascend */
    for (size_t end = n; below < end;) {
        size_t middle = below + (end - below) / 2;
        bool less = column[middle * stride] < v;
        below = less ? middle + 1 : below;
        end = less ? end : middle;
    }
    size_t upto = below; /* rows with a value of at most v */
    while (upto < n && column[upto * stride] == v) {
        upto++;
    }
    if (upto > below) {
        return (share_of[below] + share_of[upto - 1]) / 2;
    }
    if (below == 0 || below == n) {
        return below == 0 ? 0.0 : 1.0;
    }
    double low = column[(below - 1) * stride];
    double high = column[below * stride];
    double share = share_of[below] - share_of[below - 1];
    return share_of[below - 1] + share * (v - low) / (high - low);
}

double
upt_percentile(const struct upt_model *model, int part, double v)
{
    return share_below(model->share_of, &model->quantile[0][part], UPT_C_PEERS, model->quantiles_n, v);
}

double
upt_percentile_renewed(const struct upt_renewed *renewed, int column, double v)
{
    return share_below(renewed->share_of, &renewed->quantile[0][column], 2, renewed->rows_n, v);
}

/* Number of features in use in the last 30 days, plus half the sum of their decayed uses (0 to 1 each). */
static double
breadth_of(const struct upt_model *model, struct upt_state *st, const struct upt_account *acct, struct upt_eval *eval)
{
    double in_use = 0;
    double sum = 0;
    int64_t shift = eval->today - eval->act.day; /* bit i is day today − i, of age i − shift */
    for (size_t i = 0; i < eval->features_n; i++) {
        struct upt_str name;
        uint32_t days = 0;
        upt_account_feature(st, acct, i, &name, &days);
        double use = 0;
        for (int64_t bit = shift > 0 ? shift : 0; bit < 30; bit++) {
            use += (days >> bit & 1) != 0 ? model->half_21[bit - shift] : 0.0;
        }
        use = upt_round6(use * DAY_WEIGHT);
        in_use += use > USE_LEAST ? 1 : 0;
        sum += use;
    }
    return upt_round6(in_use + sum / 2);
}

static void
read_values(const struct upt_model *model, struct upt_state *st, struct upt_account *acct,
            const struct upt_score_ext *ext, struct upt_eval *eval)
{
    const struct upt_activity *act = &eval->act;
    eval->features_n = upt_account_features_n(acct);
    int64_t age = act->day - ext->last_day;
    double volume = ext->volume * (age <= UPT_ACTIVE_DAYS ? model->half_21[age] : exp2((double)-age / 21.0));
    eval->volume = upt_round6(log1p(volume));
    eval->value[UPT_C_FREQUENCY_10D] = act->frequency_10;
    eval->value[UPT_C_FREQUENCY_21D] = act->frequency_21;
    eval->value[UPT_C_VOLUME_21D] = eval->volume;
    if (eval->features_n > 0) {
        eval->breadth = breadth_of(model, st, acct, eval);
        eval->value[UPT_C_BREADTH] = eval->breadth;
        eval->value[UPT_C_FEATURES_EVER] = (double)eval->features_n;
    }
    int m = upt_periods(act->cadence, (int)model->return_days);
    eval->value[UPT_C_RETURN] = upt_round6(1 - upt_bgbb_none(&model->bgbb[act->cadence], act, m));
}

/* The weights of missing parts go to the others in proportion; thousandths that are left over by rounding down go one
 * each to the largest remainders, the earlier part first where they are equal. */
static void
redistribute(const struct upt_model *model, struct upt_eval *eval, int32_t *ret_available)
{
    int32_t available = 0;
    for (int i = 0; i < UPT_C_COUNT; i++) {
        available += isnan(eval->value[i]) ? 0 : model->weight_milli[i];
    }
    *ret_available = available;
    int32_t remainder[UPT_C_COUNT] = {0};
    int32_t left = available > 0 ? 1000 : 0;
    for (int i = 0; i < UPT_C_COUNT; i++) {
        eval->weight_milli[i] = 0;
        if (available > 0 && !isnan(eval->value[i])) {
            eval->weight_milli[i] = model->weight_milli[i] * 1000 / available;
            remainder[i] = model->weight_milli[i] * 1000 % available;
            left -= eval->weight_milli[i];
        }
    }
    for (; left > 0; left--) {
        int best = 0;
        for (int i = 1; i < UPT_C_COUNT; i++) {
            best = remainder[i] > remainder[best] ? i : best;
        }
        eval->weight_milli[best]++;
        remainder[best] = 0;
    }
}

static void
score(const struct upt_model *model, struct upt_eval *eval)
{
    int32_t available = 0;
    redistribute(model, eval, &available);
    for (int i = 0; i < UPT_C_COUNT; i++) {
        if (eval->weight_milli[i] == 0) {
            continue;
        }
        double share = i < UPT_C_PEERS ? upt_percentile(model, i, eval->value[i]) : eval->value[i];
        eval->sub_e5[i] = (int32_t)lround(upt_round6(share) * 1e5);
        eval->points_micro[i] = (int64_t)eval->weight_milli[i] * (eval->sub_e5[i] - model->mean_e5[i]);
        eval->score_micro += (int64_t)eval->weight_milli[i] * eval->sub_e5[i];
        eval->mean_micro += (int64_t)eval->weight_milli[i] * model->mean_e5[i];
    }
    double evidence = eval->has_key ? eval->act.n + 1 : 0;
    double confidence = available / 1e3 * evidence / (evidence + model->confidence_half);
    eval->confidence_micro = (uint32_t)lround(upt_round6(confidence) * 1e6);
    eval->has_score = available > 0 && eval->confidence_micro / 1e6 >= model->confidence_floor;
    eval->confident = eval->has_score && eval->confidence_micro / 1e6 >= model->confidence_band;
}

void
upt_evaluate(const struct upt_model *model, struct upt_state *st, struct upt_account *acct,
             const struct upt_score_ext *ext, struct upt_eval *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->today = upt_floor_div(upt_state_clock(st), UPT_DAY_MS);
    ret->has_key = ext->has_key;
    for (int i = 0; i < UPT_PARTS; i++) {
        ret->value[i] = (double)NAN;
    }
    if (ret->has_key) {
        upt_activity_read(model, ext, ret->today, &ret->act);
        read_values(model, st, acct, ext, ret);
        upt_hazard(model, st, acct, ret);
    }
    score(model, ret);
    ret->phase = upt_phase_of(model, st, acct, ext, ret);
}
