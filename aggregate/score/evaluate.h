/* Health, risk and phase of an account, from the state as it is: no side effects. Private to the room. */
#ifndef UPT_SCORE_EVALUATE_H
#define UPT_SCORE_EVALUATE_H

#include "activity.h"
#include "aggregate/state/state.h"
#include "ext.h"
#include "model.h"

extern const int upt_horizon_days[UPT_HORIZONS];

/* Parts of the score that are not the model's, after those (parts.c). */
enum {
    UPT_PART_PEOPLE = UPT_C_COUNT,
    UPT_PART_ONBOARDING,
    UPT_PART_SUPPORT,
    UPT_PART_SENTIMENT,
    UPT_PART_EDUCATION,
    UPT_PART_OUTCOMES,
    UPT_PARTS
};
_Static_assert(UPT_PARTS <= UPT_COMPONENTS_MAX, "all are published");

struct upt_eval {
    int64_t today; /* UTC day of the clock */
    bool has_key;
    struct upt_activity act; /* valid if has_key */
    double volume;           /* log(1 + decayed key events) */
    double breadth;
    size_t features_n;

    /* Health: value NaN = missing. Weights in thousandths, sub-scores in hundred-thousandths, points in millionths. */
    double value[UPT_PARTS];
    int32_t sub_e5[UPT_PARTS];
    int32_t weight_milli[UPT_PARTS];
    int64_t points_micro[UPT_PARTS];
    int64_t score_micro, mean_micro;
    uint32_t confidence_micro;
    bool has_score; /* confidence reaches the model's floor: the score is published */
    bool confident; /* and its confidence_band */

    /* Risk, valid if has_key: logit of horizon h = base[h] + Σ factor[h][i]; low, high: 90 % interval. */
    bool risk_known[UPT_R_COUNT];
    double risk_value[UPT_R_COUNT]; /* of the first horizon for gone_odds */
    double risk_seen[UPT_R_COUNT];  /* likewise, before it is limited */
    double gone_odds[UPT_HORIZONS]; /* that of all */
    double base[UPT_HORIZONS], factor[UPT_HORIZONS][UPT_R_COUNT], logit[UPT_HORIZONS];
    uint32_t risk_micro[UPT_HORIZONS], low_micro[UPT_HORIZONS], high_micro[UPT_HORIZONS];

    upt_phase phase;
};

/* Of use alone, by the model; upt_parts_add completes it. */
void upt_evaluate(const struct upt_model *model, struct upt_state *st, struct upt_account *acct,
                  const struct upt_score_ext *ext, struct upt_eval *ret);
upt_phase upt_phase_of(const struct upt_model *model, struct upt_state *st, struct upt_account *acct,
                       const struct upt_score_ext *ext, const struct upt_eval *eval);
/* The profile names onboarding_steps, and all of them are done. */
bool upt_steps_done(struct upt_account *acct, const struct upt_score_ext *ext);
/* Share of the cohort below v, ties by half, between rows in proportion. */
double upt_percentile(const struct upt_model *model, int part, double v);
/* The same of those that renewed, in a range; column 0: frequency_21d, 1: breadth. */
double upt_percentile_renewed(const struct upt_renewed *renewed, int column, double v);
/* A UTC day in a trait; false: absent or no date. */
bool upt_trait_day(struct upt_account *acct, const char *name, int64_t *ret_day);

#endif
