/* Rules about the people of an account: seats, users, the champion, who has adopted, who is trained.
 *
 * Counts are the state's, exact, over 30 days (28 for days of a single user). Comparisons with 90 days ago use the
 * weekly samples in habits: the one of 13 weeks ago, or the oldest once there are 8. A fall or a rise must be larger
 * than chance makes it (Poisson), so that three users who become two are no contraction. The lane's thread. */
#include <math.h>
#include <stdio.h>

#include "decide.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define WEEKS_BACK 13
#define WEEKS_LEAST 8
#define SILENT_LONG 7 /* days: of an account that silent as a whole its parts are not judged */
#define MONDAY_TO_FRIDAY 5
#define USERS_LEAST 3
#define NAME_MAX_SHOWN 60
#define FRESH_VALUE_DAYS 14 /* the first value opens EXPANSION, and */
#define KNOWN_VALUE_DAYS 60 /* keeps it open */

static const struct upt_rule *
rule_of(const struct upt_decision *d, int rule)
{
    return &d->score->rules->rule[rule];
}

/* The sample to compare with, and its age in weeks; −1: there is none yet. */
static int
before(const uint16_t *samples, uint16_t *ret)
{
    for (int w = WEEKS_BACK; w >= WEEKS_LEAST; w--) {
        if (samples[w] != UINT16_MAX) {
            *ret = samples[w];
            return w;
        }
    }
    return -1;
}

void
upt_rule_contraction(struct upt_decision *d)
{
    const double *p = rule_of(d, UPT_RULE_USER_CONTRACTION)->p;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    uint16_t then = 0;
    int weeks = before(d->ext->signals.habits->users, &then);
    double now = (double)d->facts->users.d30;
    if (weeks > 0 && then > 0) {
        double chance = upt_poisson_at_most(now, then);
        bool fell = now <= upt_round6(then * (1 - p[UPT_P_CONTRACTION_FALL])) && chance < p[UPT_P_CONTRACTION_P];
        v.kind = fell ? UPT_V_ON : now >= upt_round6(then * p[UPT_P_CONTRACTION_BACK]) ? UPT_V_OFF : UPT_V_HOLD;
        v.severity = UPT_WARNING;
        v.finding.observed = now;
        v.finding.expected = then;
        v.finding.p_value = chance;
        v.finding.unit = UPT_STR("users in 30 days");
        v.finding.window_ms = weeks * 7 * UPT_DAY_MS;
        if (upt_verdict_speaks(d, UPT_RULE_USER_CONTRACTION, 0, &v)) {
            double more = fmax(1, ceil(then * p[UPT_P_CONTRACTION_BACK]) - now);
            (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                           "%.0f more user%s, active in 30 days, would close it.", more, upt_plural(more));
        }
    }
    upt_verdict_apply(d, UPT_RULE_USER_CONTRACTION, 0, &v);
}

void
upt_rule_seats(struct upt_decision *d)
{
    const double *p = rule_of(d, UPT_RULE_SEAT_UNDERUSE)->p;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    double share = d->facts->utilisation;
    if (!isnan(share) && d->facts->seats >= p[UPT_P_SEATS_LEAST] && d->facts->users.total > 0) {
        uint16_t then = 0;
        const uint16_t *samples = d->ext->signals.habits->seats_e4;
        int weeks = samples == NULL ? -1 : before(samples, &then);
        bool fell = weeks > 0 && share <= upt_round6(then / 1e4 * (1 - p[UPT_P_SEATS_FALL]));
        bool low = share < p[UPT_P_SEATS_ON];
        v.kind = low || fell ? UPT_V_ON : share >= p[UPT_P_SEATS_OFF] ? UPT_V_OFF : UPT_V_HOLD;
        v.severity = low && d->facts->has_renewal && d->facts->to_renewal >= 0 && d->facts->to_renewal <= 90
                         ? UPT_HIGH
                         : UPT_WARNING;
        v.finding.observed = share;
        v.finding.expected = weeks > 0 ? then / 1e4 : p[UPT_P_SEATS_OFF];
        v.finding.unit = UPT_STR("users in 30 days / seats");
        v.finding.window_ms = 30 * UPT_DAY_MS;
        if (upt_verdict_speaks(d, UPT_RULE_SEAT_UNDERUSE, 0, &v)) {
            double more = fmax(1, ceil(d->facts->seats * p[UPT_P_SEATS_OFF]) - (double)d->facts->users.d30);
            (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                           "%.0f of %.0f seats were used in 30 days; %.0f more user%s would close it.",
                           (double)d->facts->users.d30, d->facts->seats, more, upt_plural(more));
        }
    }
    upt_verdict_apply(d, UPT_RULE_SEAT_UNDERUSE, 0, &v);
}

int
upt_champion_silence(const struct upt_decision *d, bool *ret_removed)
{
    uint32_t days = 0;
    *ret_removed = false;
    if (!upt_account_user(d->st, d->acct, d->ext->signals.habits->champion, &days, ret_removed)) {
        *ret_removed = true;
    }
    int silent = 28;
    for (int i = 27; i >= 0; i--) {
        silent = (days >> i & 1) != 0 ? i : silent;
    }
    return silent > 0 ? silent - 1 : 0;
}

void
upt_rule_champion(struct upt_decision *d)
{
    const struct upt_habits *h = d->ext->signals.habits;
    const double *p = rule_of(d, UPT_RULE_CHAMPION_SILENT)->p;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    struct upt_slot *open = upt_alert_is_open(d->ext, UPT_RULE_CHAMPION_SILENT, 0);
    bool removed = false;
    int silent = h->champion_day == UPT_NO_DAY ? 0 : upt_champion_silence(d, &removed);
    bool others = d->facts->users.total + (removed ? 1 : 0) >= USERS_LEAST && d->facts->silent >= 0 &&
                  d->facts->silent < SILENT_LONG;
    if (h->champion_day != UPT_NO_DAY && (open != NULL || others)) {
        double gap = 28.0 / (h->champion_days > 0 ? h->champion_days : 1);
        double limit = fmin(27, fmax(p[UPT_P_CHAMPION_DAYS], ceil(upt_round6(p[UPT_P_CHAMPION_GAPS] * gap))));
        v.kind = removed || silent >= limit ? UPT_V_ON : UPT_V_OFF;
        v.severity = removed ? UPT_HIGH : UPT_WARNING;
        v.since_ms = d->now - (removed ? 0 : silent * UPT_DAY_MS);
        v.finding.observed = silent;
        v.finding.expected = upt_round6(gap);
        v.finding.unit = UPT_STR("days silent");
        v.finding.window_ms = 28 * UPT_DAY_MS;
        if (upt_verdict_speaks(d, UPT_RULE_CHAMPION_SILENT, 0, &v)) {
            (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                           "The most active user %s; it was active on %d of 28 days. %s",
                           removed ? "was removed" : "is silent", (int)h->champion_days,
                           removed ? "Once this has ended, the next most active user is watched."
                                   : "One use by this user closes it.");
        }
    }
    upt_verdict_apply(d, UPT_RULE_CHAMPION_SILENT, 0, &v);
}

/* Working days are taken from the users of the last 24 hours at the daily minute of the day after. */
static void
note_dau(struct upt_decision *d, struct upt_habits *h)
{
    int64_t yesterday = d->facts->today - 1;
    int weekday = (int)(((yesterday + 3) % 7 + 7) % 7);
    if (weekday >= MONDAY_TO_FRIDAY || h->dau_day == (int32_t)yesterday) {
        return;
    }
    for (int i = UPT_DAU_DAYS - 1; i > 0; i--) {
        h->dau[i] = h->dau[i - 1];
    }
    h->dau[0] = d->facts->users.d1 < UINT16_MAX ? (uint16_t)d->facts->users.d1 : UINT16_MAX;
    h->dau_n = (uint8_t)(h->dau_n < UPT_DAU_DAYS ? h->dau_n + 1 : UPT_DAU_DAYS);
    h->dau_day = (int32_t)yesterday;
}

static bool
onboarded(const struct upt_decision *d)
{
    return d->facts->steps_n > 0 ? d->facts->steps_done == d->facts->steps_n
                                 : d->ext->phase > UPT_PHASE_ONBOARDING && d->ext->phase < UPT_PHASE_DORMANT;
}

/* adopted_account: onboarded, and on the mean of the last five working days `share` of the seats (without seats: of the
 * users) are active in a day. Once it holds it is latched until that is below `ends_below` on 14 days in a row. */
void
upt_rule_adopted(struct upt_decision *d)
{
    struct upt_habits *h = d->ext->signals.habits;
    const double *p = rule_of(d, UPT_RULE_ADOPTED)->p;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    double whole = isnan(d->facts->seats) ? (double)d->facts->users.total : d->facts->seats;
    note_dau(d, h);
    if (h->dau_n == UPT_DAU_DAYS && whole > 0) {
        double sum = 0;
        for (int i = 0; i < UPT_DAU_DAYS; i++) {
            sum += h->dau[i];
        }
        double share = upt_round6(fmin(1, sum / UPT_DAU_DAYS / whole));
        if (h->adopted == 0 && onboarded(d) && share >= p[UPT_P_ADOPTED_ON]) {
            h->adopted = 1;
            h->low_n = 0;
            h->adopted_since = (int32_t)d->facts->today;
        } else if (h->adopted != 0) {
            h->low_n = (uint8_t)(share < p[UPT_P_ADOPTED_OFF] ? h->low_n + 1 : 0);
            h->adopted = h->low_n < 14 ? 1 : 0;
        }
        int64_t held = h->adopted != 0 ? d->facts->today - h->adopted_since : -1;
        v.kind = held >= (int64_t)p[UPT_P_ADOPTED_DAYS] && held < (int64_t)p[UPT_P_ADOPTED_DAYS] + 7 ? UPT_V_ON
                 : h->adopted != 0                                                                   ? UPT_V_HOLD
                                                                                                     : UPT_V_OFF;
        v.finding.observed = share;
        v.finding.expected = p[UPT_P_ADOPTED_ON];
        v.finding.unit = UPT_STR("users a working day / seats");
        v.finding.window_ms = 7 * UPT_DAY_MS;
        if (upt_verdict_speaks(d, UPT_RULE_ADOPTED, 0, &v)) {
            int days = (int)(h->adopted_since + (int64_t)p[UPT_P_ADOPTED_DAYS] - d->facts->start);
            (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                           "Up to speed %d day%s after the start. News: it ends by itself.", days, upt_plural(days));
        }
    }
    upt_verdict_apply(d, UPT_RULE_ADOPTED, 0, &v);
}

static void
say_expansion(struct upt_finding *finding, bool full, const struct upt_meter_use *meter, bool grown)
{
    if (!full && meter != NULL) {
        (void)snprintf(finding->counterfactual, sizeof(finding->counterfactual),
                       "Of %.*s it used %.0f%% of the units that it is entitled to in 30 days.",
                       upt_fitting(meter->name, NAME_MAX_SHOWN), meter->name.p, floor(upt_round6(100 * meter->share)));
        return;
    }
    (void)snprintf(finding->counterfactual, sizeof(finding->counterfactual), "%s",
                   full    ? "Seats are nearly all in use."
                   : grown ? "Clearly more users than 90 days ago."
                           : "The first value has just been realised.");
}

/* Seats nearly all in use, a meter nearly used up, clearly more users than 90 days ago, or the first value just
 * realised. Volume that has no price is no expansion: many use a product most in the weeks before they leave it. */
void
upt_rule_expansion(struct upt_decision *d)
{
    const double *p = rule_of(d, UPT_RULE_EXPANSION)->p;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    uint16_t then = 0;
    int weeks = before(d->ext->signals.habits->users, &then);
    double now = (double)d->facts->users.d30;
    double chance = weeks > 0 && then > 0 ? upt_round6(1 - upt_poisson_at_most(now - 1, then)) : 1;
    bool grown = weeks > 0 && then > 0 && now >= upt_round6(then * (1 + p[UPT_P_EXPANSION_GROWTH])) &&
                 chance < p[UPT_P_EXPANSION_P];
    bool full = d->facts->utilisation >= p[UPT_P_EXPANSION_SEATS];
    const struct upt_meter_use *meter = &d->facts->meters.most;
    bool metered = meter->share >= p[UPT_P_EXPANSION_METERS];
    const struct upt_relation *r = d->ext->signals.relation;
    bool value = d->ext->phase == UPT_PHASE_VALUE || d->ext->phase == UPT_PHASE_ADVOCACY;
    int64_t since = r != NULL && r->value_day != UPT_NO_DAY && value ? d->facts->today - r->value_day : INT64_MAX;
    bool realised = since <= FRESH_VALUE_DAYS;
    if (weeks > 0 || !isnan(d->facts->utilisation) || !isnan(meter->share) || since < INT64_MAX) {
        bool bad = d->ext->band == UPT_BAND_CRITICAL || d->ext->band == UPT_BAND_AT_RISK;
        v.kind = bad                                    ? UPT_V_OFF
                 : grown || full || metered || realised ? UPT_V_ON
                 : since <= KNOWN_VALUE_DAYS            ? UPT_V_HOLD
                                                        : UPT_V_OFF;
        v.finding.observed = full ? d->facts->utilisation : metered ? meter->share : now;
        v.finding.expected = full ? p[UPT_P_EXPANSION_SEATS] : metered ? p[UPT_P_EXPANSION_METERS] : then;
        v.finding.unit = full      ? UPT_STR("users in 30 days / seats")
                         : metered ? UPT_STR("units in 30 days / units entitled to")
                                   : UPT_STR("users in 30 days");
        if (upt_verdict_speaks(d, UPT_RULE_EXPANSION, 0, &v)) {
            say_expansion(&v.finding, full, metered ? meter : NULL, grown);
        }
    }
    upt_verdict_apply(d, UPT_RULE_EXPANSION, 0, &v);
}

/* Low usage and few trained: train, do not rescue. Only where training is known to be there: a TRAINING event once, or
 * a trait `training`. */
void
upt_rule_training(struct upt_decision *d)
{
    const double *p = rule_of(d, UPT_RULE_TRAINING_NEED)->p;
    const struct upt_relation *r = d->ext->signals.relation;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    bool offered =
        (r != NULL && r->training_day != UPT_NO_DAY) || upt_account_trait(d->acct, UPT_STR("training")).p != NULL;
    double usage = upt_adoption_percentile(d);
    if (offered && d->facts->users.total > 0 && !isnan(usage)) {
        struct upt_account_people people = upt_account_people(d->st, d->acct);
        double trained = upt_round6((double)people.trained / (double)d->facts->users.total);
        bool need = usage < p[UPT_P_TRAINING_USAGE] && trained < p[UPT_P_TRAINING_SHARE];
        v.kind = need ? UPT_V_ON : UPT_V_OFF;
        v.finding.observed = trained;
        v.finding.expected = p[UPT_P_TRAINING_SHARE];
        v.finding.unit = UPT_STR("users trained / users");
        if (upt_verdict_speaks(d, UPT_RULE_TRAINING_NEED, 0, &v)) {
            double more = ceil(p[UPT_P_TRAINING_SHARE] * (double)d->facts->users.total) - (double)people.trained;
            (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                           "%.0f more trained user%s would close it, or usage above %.0f%% of its peers'.",
                           fmax(1, more), upt_plural(fmax(1, more)), p[UPT_P_TRAINING_USAGE] * 100);
        }
    }
    upt_verdict_apply(d, UPT_RULE_TRAINING_NEED, 0, &v);
}
