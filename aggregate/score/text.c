/* Factors in plain words. Numbers are shown as a person would count them (days, events), not in the model's scale.
 * Pure. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "decide.h"

#define SHOWN 5

/* Odds as one says them: "3.5 to 1", "2,980 to 1", "1 to 40". */
static void
say_odds(double odds, char *buf, size_t cap)
{
    double n = odds >= 1 ? odds : 1 / odds;
    char number[40];
    if (n < 10) {
        (void)snprintf(number, sizeof(number), "%.1f", n);
    } else if (n < 1000) {
        (void)snprintf(number, sizeof(number), "%.0f", n);
    } else if (n < 999999.5) {
        long whole = lround(n);
        (void)snprintf(number, sizeof(number), "%ld,%03ld", whole / 1000, whole % 1000);
    } else {
        (void)snprintf(number, sizeof(number), "more than a million");
    }
    (void)snprintf(buf, cap, odds >= 1 ? "%s to 1" : "1 to %s", number);
}

static void
sentence(const struct upt_model *model, const struct upt_eval *eval, int i, char *buf, size_t cap)
{
    const struct upt_activity *act = &eval->act;
    double v = eval->risk_value[i];
    double mean = model->risk[i].mean;
    long silent = (long)(act->day - act->last);
    double p99 = upt_gap_p99(act);
    char odds[48], cohort[48];
    switch (i) {
    case UPT_R_GONE_ODDS:
        say_odds(exp(v), odds, sizeof(odds));
        say_odds(exp(mean), cohort, sizeof(cohort));
        (void)snprintf(buf, cap,
                       "Its record of %s activity gives odds of %s that it is gone within %d days (cohort %s).",
                       upt_cadence_names[act->cadence], odds, upt_horizon_days[0], cohort);
        break;
    case UPT_R_SILENCE:
        (void)snprintf(buf, cap, "It has not used the product for %ld day%s (cohort %.1f).", silent,
                       silent == 1 ? "" : "s", expm1(mean));
        break;
    case UPT_R_OWN_SILENCE:
        (void)snprintf(buf, cap, "A silence of %ld day%s is %s: 99%% of its gaps are shorter than %.1f days.", silent,
                       silent == 1 ? "" : "s",
                       (double)silent > p99 ? "unusual for them" : "within what is usual for them", p99);
        break;
    case UPT_R_FREQUENCY:
        (void)snprintf(buf, cap, "Its active days, recent ones counting more, come to %.1f (cohort %.1f).",
                       act->frequency_10, exp(mean) - 0.1);
        break;
    case UPT_R_VOLUME:
        (void)snprintf(buf, cap, "Its uses of the last weeks, recent ones counting more, come to %.0f (cohort %.0f).",
                       expm1(v), expm1(mean));
        break;
    default:
        (void)snprintf(buf, cap, "It uses a breadth of %.1f features (cohort %.1f).", v, mean);
        break;
    }
}

int
upt_factors(const struct upt_model *model, const struct upt_eval *eval, struct upt_factor *ret, char text[][200])
{
    if (!eval->has_key) {
        return 0;
    }
    bool taken[UPT_R_COUNT] = {false};
    double other = 0;
    int n = 0;
    for (; n < SHOWN; n++) {
        int best = -1;
        for (int i = 0; i < UPT_R_COUNT; i++) {
            if (!taken[i] && (best < 0 || fabs(eval->factor[0][i]) > fabs(eval->factor[0][best]))) {
                best = i;
            }
        }
        taken[best] = true;
        sentence(model, eval, best, text[n], 200);
        ret[n] = (struct upt_factor){
            .name = upt_str_of(upt_risk_names[best]),
            .text = upt_str_of(text[n]),
            .log_odds = eval->factor[0][best],
            .value = eval->risk_value[best],
            .baseline = model->risk[best].mean,
        };
    }
    for (int i = 0; i < UPT_R_COUNT; i++) {
        other += taken[i] ? 0 : eval->factor[0][i];
    }
    (void)snprintf(text[n], 200, "All other factors together.");
    ret[n] = (struct upt_factor){.name = UPT_STR("other"),
                                 .text = upt_str_of(text[n]),
                                 .log_odds = other,
                                 .value = other,
                                 .baseline = (double)NAN};
    return n + 1;
}
