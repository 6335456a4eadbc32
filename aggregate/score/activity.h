/* Key-active days of an account: when, in which cadence, with which gaps. Private to the room.
 *
 * A key event is a USAGE or a VALUE event. LOGIN is none: looking in is not using. */
#ifndef UPT_SCORE_ACTIVITY_H
#define UPT_SCORE_ACTIVITY_H

#include "ext.h"
#include "model.h"

struct upt_activity {
    int64_t day;         /* reference: the last day that counts as observed */
    int64_t first, last; /* key-active days within the 256 kept */
    int days_n;          /* how many */
    int days_ever;       /* also before those kept */
    int cadence;
    int x, tx, n; /* BG/BB in own periods: active ones after the first, the last of them, all after the first */
    double frequency_10, frequency_21;
    double decayed_2, decayed_10, decayed_21; /* active days, half-lives in days, whatever the cadence */
    double own_2, own_10, own_21; /* monthly accounts: active own periods, half-lives in own periods; else as above */
    int weeks_n;             /* of the last 5 times 7 days, of monthly accounts 28 days, those with an active day */
    double gap_mean, gap_sd; /* of the log of the gap in days, shrunk */
    double gap_own;          /* typical gap, days, not shrunk; 0: none yet */
    double gap_own_sd;       /* spread of the log gaps, not shrunk; 0: regular, or none yet */
};

/* Marks a day; true if it was not marked. Days 256 or more before the last are left out. */
bool upt_activity_mark(struct upt_score_ext *ext, int64_t day);
bool upt_activity_on(const struct upt_score_ext *ext, int64_t day);
/* The account must have a key event. today: the UTC day of the clock. */
void upt_activity_read(const struct upt_model *model, const struct upt_score_ext *ext, int64_t today,
                       struct upt_activity *ret);

/* log(1 + e^((log(days) − gap_mean) / s)), s the logistic scale of gap_sd: how surprising a silence is to the account.
 */
double upt_own_silence(const struct upt_activity *act, double days);
/* P(gone for good | silent for so many minutes), rounded; rises with minutes. */
double upt_silence_risk(const struct upt_model *model, const struct upt_activity *act, int64_t minutes);
/* Least number of minutes at which upt_silence_risk reaches level, and not before gaps_least own gaps
 * or gaps_least_days; −1: not within
 * the limit. */
int64_t upt_silence_minutes(const struct upt_model *model, const struct upt_activity *act, double level);
/* The account's own 99th percentile of gaps, days. */
double upt_gap_p99(const struct upt_activity *act);

/* BG/BB: log-odds that the account is gone for good by m more periods, within ±20, for n such numbers, ascending; and
 * P(no active period in the next m). */
void upt_bgbb_gone_odds(const struct upt_bgbb *par, const struct upt_activity *act, const int *m, int n, double *ret);
double upt_bgbb_none(const struct upt_bgbb *par, const struct upt_activity *act, int m);
/* Days as own periods, to the nearest, at least 1. */
int upt_periods(int cadence, int days);

#endif
