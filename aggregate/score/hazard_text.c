/* Features of the risk in plain words. Numbers are shown as a person would count them (days, events), not in the
 * model's scale. Pure. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "decide.h"
#include "hazard.h"

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

/* Silence and gaps; false: i is neither. */
static bool
say_silence(const struct upt_model *model, const struct upt_eval *eval, int i, char *buf, size_t cap)
{
    const struct upt_activity *act = &eval->act;
    double mean = model->risk[i].mean;
    long silent = (long)(act->day - act->last);
    const char *s = upt_plural((double)silent);
    double p99 = upt_gap_p99(act);
    char odds[48], cohort[48];
    switch (i) {
    case UPT_R_GONE_ODDS:
        say_odds(exp(eval->risk_value[i]), odds, sizeof(odds));
        say_odds(exp(mean), cohort, sizeof(cohort));
        (void)snprintf(buf, cap,
                       "Its record of %s activity gives odds of %s that it is gone within %d days (cohort %s).",
                       upt_cadence_names[act->cadence], odds, upt_horizon_days[0], cohort);
        return true;
    case UPT_R_SILENCE:
        (void)snprintf(buf, cap, "It has not used the product for %ld day%s (cohort %.1f).", silent, s, expm1(mean));
        return true;
    case UPT_R_OWN_SILENCE:
        (void)snprintf(buf, cap, "A silence of %ld day%s is %s: 99%% of its gaps are shorter than %.1f days.", silent,
                       s, (double)silent > p99 ? "unusual for them" : "within what is usual for them", p99);
        return true;
    case UPT_R_SILENCE_X_GAP:
        (void)snprintf(buf, cap, "%ld day%s of silence in an account that typically comes every %.1f days.", silent, s,
                       exp(act->gap_mean));
        return true;
    case UPT_R_GAP_MEAN:
        (void)snprintf(buf, cap, "It typically comes every %.1f days (cohort %.1f).", exp(act->gap_mean), exp(mean));
        return true;
    case UPT_R_GAP_SPREAD:
        (void)snprintf(buf, cap, "Its gaps differ by a factor of %.1f (cohort %.1f).", exp(act->gap_sd), exp(mean));
        return true;
    default:
        return false;
    }
}

void
upt_hazard_say(const struct upt_model *model, const struct upt_eval *eval, int i, char *buf, size_t cap)
{
    const struct upt_activity *act = &eval->act;
    double v = eval->risk_value[i];
    double mean = model->risk[i].mean;
    if (!eval->risk_known[i]) {
        (void)snprintf(buf, cap, "Nothing is known of its %s.", upt_risk_names[i]);
        return;
    }
    if (say_silence(model, eval, i, buf, cap)) {
        return;
    }
    switch (i) {
    case UPT_R_TENURE_DAYS:
    case UPT_R_TENURE_WEEKS:
        (void)snprintf(buf, cap, "Its first use was %ld days ago.", (long)(act->day - act->first));
        break;
    case UPT_R_ACTIVE_2D:
        (void)snprintf(buf, cap, "Its active days among the last few come to %.1f (cohort %.1f).", act->decayed_2,
                       exp(mean) - 0.1);
        break;
    case UPT_R_FREQUENCY:
    case UPT_R_FREQUENCY_21D:
        (void)snprintf(buf, cap, "Its active days of %s, the newest counting most, come to %.1f (cohort %.1f).",
                       i == UPT_R_FREQUENCY ? "late" : "the last weeks",
                       i == UPT_R_FREQUENCY ? act->decayed_10 : act->decayed_21, exp(mean) - 0.1);
        break;
    case UPT_R_ACTIVE_WEEKS:
        (void)snprintf(buf, cap, "It was active in %d of the last 5 weeks (cohort %.1f).", act->weeks_n, mean);
        break;
    case UPT_R_ACTIVE_DAYS:
        (void)snprintf(buf, cap, "It was active on %d day%s (cohort %.1f).", act->days_n, upt_plural(act->days_n),
                       exp(mean));
        break;
    case UPT_R_VOLUME_2D:
        (void)snprintf(buf, cap, "Its uses of the last few days come to %.0f (cohort %.0f).", expm1(v), expm1(mean));
        break;
    case UPT_R_VOLUME:
        (void)snprintf(buf, cap, "Its uses of the last weeks, the newest counting most, come to %.0f (cohort %.0f).",
                       expm1(v), expm1(mean));
        break;
    case UPT_R_DAY_VOLUME:
        (void)snprintf(buf, cap, "On a day of use it makes about %.0f use%s (cohort %.0f).", expm1(v),
                       upt_plural(expm1(v)), expm1(mean));
        break;
    case UPT_R_SEAT_USE:
        (void)snprintf(buf, cap, "%.0f%% of its seats were used in 30 days (cohort %.0f%%).", v * 100, mean * 100);
        break;
    case UPT_R_SEGMENT:
        (void)snprintf(buf, cap, "Accounts of its segment leave %s often than others.", v > 0 ? "more" : "less");
        break;
    default:
        (void)snprintf(buf, cap, "It uses a breadth of %.1f features (cohort %.1f).", v, mean);
        break;
    }
}
