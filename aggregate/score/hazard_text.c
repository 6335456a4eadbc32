/* Features of the risk in plain words. Numbers are shown as a person would count them (days, events), not in the
 * model's scale, in what the feature counts (of monthly accounts periods of four weeks, see_by_months), and before they
 * are limited: so the number stands on that side of the cohort's that the sign says. Pure. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "decide.h"
#include "explain.h"
#include "hazard.h"

#define ODDS_SAID 1000
#define SHARE_SAID 0.01 /* percent */

/* Value and cohort. monthly: NULL: the same words. */
static const struct {
    const char *words, *monthly;
    bool time; /* the value is a number of days, or of periods */
    int decimals, cohort_decimals;
} says[UPT_R_COUNT] = {
    [UPT_R_SILENCE] = {"It has not used the product for %s (cohort %s).",
                       "It has not used the product for %s (cohort %s days).", true, 0, 1},
    [UPT_R_GAP_MEAN] = {"It typically comes every %s (cohort %s).", "It typically comes every %s (cohort %s days).",
                        true, 1, 1},
    [UPT_R_GAP_SPREAD] = {"Its gaps differ by a factor of %s (cohort %s).", NULL, false, 1, 1},
    [UPT_R_ACTIVE_2D] = {"Its active days among the last few come to %s (cohort %s).",
                         "Its active periods of four weeks among the last few come to %s (cohort %s days).", false, 1,
                         1},
    [UPT_R_FREQUENCY] = {"Its active days of late, the newest counting most, come to %s (cohort %s).",
                         "Its active periods of four weeks of late, the newest counting most, come to %s (cohort %s "
                         "days).",
                         false, 1, 1},
    [UPT_R_FREQUENCY_21D] = {"Its active days of the last weeks, the newest counting most, come to %s (cohort %s).",
                             "Its active periods of four weeks, the newest counting most, come to %s (cohort %s days).",
                             false, 1, 1},
    [UPT_R_ACTIVE_WEEKS] = {"It was active in %s of the last 5 weeks (cohort %s).",
                            "It was active in %s of its last 5 periods of four weeks (cohort %s weeks).", false, 0, 1},
    [UPT_R_ACTIVE_DAYS] = {"It was active on %s (cohort %s).", "It was active in %s (cohort: on %s days).", true, 0, 1},
    [UPT_R_VOLUME_2D] = {"Its uses of the last few days come to %s (cohort %s).",
                         "A day's uses in each of its last few active periods of four weeks come to %s (cohort, by "
                         "days: %s).",
                         false, 0, 0},
    [UPT_R_VOLUME] = {"Its uses of the last weeks, the newest counting most, come to %s (cohort %s).",
                      "A day's uses in each active period of four weeks, the newest counting most, come to %s (cohort, "
                      "by days: %s).",
                      false, 0, 0},
    [UPT_R_DAY_VOLUME] = {"Its uses on a day of use come to about %s (cohort %s).", NULL, false, 0, 0},
    [UPT_R_SEAT_USE] = {"%s%% of its seats were used in 30 days (cohort %s%%).", NULL, false, 0, 0},
    [UPT_R_BREADTH] = {"It uses a breadth of %s features (cohort %s).", NULL, false, 1, 1},
};

/* Odds as one says them: "3.5 to 1", "1 to 40". */
static void
say_odds(double odds, char *buf, size_t cap)
{
    double n = odds >= 1 ? odds : 1 / odds;
    char number[40];
    (void)snprintf(number, sizeof(number), n < 10 ? "%.1f" : n <= ODDS_SAID ? "%.0f" : "more than 1,000", n);
    (void)snprintf(buf, cap, odds >= 1 ? "%s to 1" : "1 to %s", number);
}

static void
say_share(double share, char *buf, size_t cap)
{
    (void)snprintf(buf, cap, 100 * share < SHARE_SAID ? "less than 0.01%%" : "%.3g%%", 100 * share);
}

/* "1 day", "2.5 days", "3 periods of four weeks". */
static void
say_time(double n, int decimals, bool months, char *buf, size_t cap)
{
    char number[40];
    (void)snprintf(number, sizeof(number), "%.*f", decimals, n);
    (void)snprintf(buf, cap, "%s %s%s%s", number, months ? "period" : "day", strcmp(number, "1") == 0 ? "" : "s",
                   months ? " of four weeks" : "");
}

/* A silence of less than one day (period); cohort: its mean. */
static void
say_used(const struct upt_eval *eval, bool months, double cohort, char *buf, size_t cap)
{
    const char *when = months                          ? "in its last period of four weeks"
                       : eval->act.last >= eval->today ? "today"
                                                       : "yesterday";
    (void)snprintf(buf, cap, "It used the product %s (cohort: not for %.1f days).", when, cohort);
}

/* Features that compare more than one number with the cohort. */
static void
say_compound(const struct upt_model *model, const struct upt_eval *eval, int i, char *buf, size_t cap)
{
    const struct upt_activity *act = &eval->act;
    bool months = act->cadence == UPT_MONTHLY;
    double mean = model->risk[i].mean;
    double days = (double)(act->day - act->last);
    double silent = upt_counted(UPT_R_SILENCE, eval->risk_seen[UPT_R_SILENCE]);
    char one[48], other[48], time[48];
    switch (i) {
    case UPT_R_GONE_ODDS:
        say_odds(exp(eval->risk_seen[i]), one, sizeof(one));
        say_odds(exp(mean), other, sizeof(other));
        (void)snprintf(buf, cap,
                       "By its record of %s activity alone the odds are %s that it is gone within %d days (cohort %s).",
                       upt_cadence_names[act->cadence], one,
                       upt_periods(act->cadence, upt_horizon_days[0]) * upt_cadence_days[act->cadence], other);
        break;
    case UPT_R_OWN_SILENCE:
        say_share(exp(-eval->risk_seen[i]), one, sizeof(one)); /* it is −log of that, see upt_own_silence */
        say_share(exp(-mean), other, sizeof(other));
        say_time(days, 0, false, time, sizeof(time));
        (void)snprintf(buf, cap, "By its own rhythm %s of its gaps last longer than %s (cohort %s).", one,
                       days < 0.5 ? "half a day" : time, other);
        break;
    case UPT_R_SILENCE_X_GAP:
        say_time(silent, 0, months, one, sizeof(one));
        say_time(upt_counted(UPT_R_GAP_MEAN, eval->risk_seen[UPT_R_GAP_MEAN]), 1, months, other, sizeof(other));
        (void)snprintf(buf, cap, "%s%s silence, in an account that typically comes every %s, count for %s risk.",
                       silent < 0.5 ? "No" : one, silent < 0.5 ? "" : " of", other,
                       eval->factor[0][i] > 0 ? "more" : "less");
        break;
    case UPT_R_TENURE_DAYS:
    case UPT_R_TENURE_WEEKS:
        say_time(upt_counted(i, eval->risk_seen[i]), 0, months, one, sizeof(one));
        (void)snprintf(buf, cap, "It has been there for %s%s (cohort %.1f%s).",
                       act->days_ever > act->days_n ? "more than " : "", one, exp(mean), months ? " days" : "");
        break;
    default:
        (void)snprintf(buf, cap, "Accounts of its segment leave %s often than others.",
                       eval->risk_value[i] > 0 ? "more" : "less");
        break;
    }
}

void
upt_hazard_say(const struct upt_model *model, const struct upt_eval *eval, int i, char *buf, size_t cap)
{
    bool months = eval->act.cadence == UPT_MONTHLY;
    double v = upt_counted(i, eval->risk_seen[i]);
    double mean = upt_counted(i, model->risk[i].mean);
    char value[64], cohort[40];
    if (!eval->risk_known[i]) {
        (void)snprintf(buf, cap, "Nothing is known of its %s.", upt_risk_names[i]);
    } else if (says[i].words == NULL) {
        say_compound(model, eval, i, buf, cap);
    } else if (i == UPT_R_SILENCE && v < 0.5) {
        say_used(eval, months, mean, buf, cap);
    } else {
        if (says[i].time) {
            say_time(v, says[i].decimals, months, value, sizeof(value));
        } else {
            (void)snprintf(value, sizeof(value), "%.*f", says[i].decimals, v);
        }
        (void)snprintf(cohort, sizeof(cohort), "%.*f", says[i].cohort_decimals, mean);
        (void)snprintf(buf, cap, months && says[i].monthly != NULL ? says[i].monthly : says[i].words, value, cohort);
        char *behind = model->risk[i].origin == UPT_UNSEEN ? strstr(buf, " (cohort") : NULL;
        if (behind != NULL && behind + 2 <= buf + cap) {
            memcpy(behind, ".", 2); /* no cohort was seen with it */
        }
    }
}
