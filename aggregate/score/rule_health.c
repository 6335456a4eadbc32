/* HEALTH_BAND and CHURN_RISK: the score and the probability as they stand. The band's own hysteresis (history.c) keeps
 * the first from flapping, a lower level for closing than for opening the second. UNKNOWN and a risk that is not known
 * neither open nor close: missing data is no recovery. The lane's thread. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "decide.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define PARTS_TOLD 3
#define RHYTHM_DAYS 5 /* a typical gap from which on one waits for the account's next day */
#define RHYTHM_SEEN 3 /* active days after which it has a rhythm: one waits for twice its typical gap */
#define RHYTHM_MORE 7 /* and for no more days than these beyond it */

/* Behind what buf holds: the parts that take most points from the score. */
static void
name_lowest(const struct upt_eval *eval, char *buf, size_t cap)
{
    bool told[UPT_PARTS] = {false};
    for (int n = 0; n < PARTS_TOLD; n++) {
        int least = -1;
        for (int i = 0; i < UPT_PARTS; i++) {
            bool lower = eval->points_micro[i] < (least < 0 ? 0 : eval->points_micro[least]);
            least = !told[i] && lower ? i : least;
        }
        if (least < 0) {
            break;
        }
        told[least] = true;
        size_t len = strlen(buf);
        (void)snprintf(buf + len, cap - len, "%s%s %+.2f", n == 0 ? " What lowers it most, in points: " : ", ",
                       upt_part_short(least), (double)eval->points_micro[least] / 1e6);
    }
    if (memchr(told, true, sizeof(told)) != NULL) {
        size_t len = strlen(buf);
        (void)snprintf(buf + len, cap - len, ".");
    }
}

static struct upt_finding
find(const struct upt_decision *d)
{
    const struct upt_model *model = d->score->model;
    struct upt_finding finding = upt_finding_none();
    finding.observed = d->ext->score == UPT_NULL_U32 ? (double)NAN : d->ext->score / 1e6;
    finding.expected = upt_history_mean(d->ext, d->eval->today);
    finding.unit = UPT_STR("points");
    double back = model->band_edge[1] + model->band_margin;
    if (d->score->rules->band_severity[UPT_BAND_WATCH] != UPT_OFF) {
        back = model->band_edge[2] + model->band_margin;
    }
    (void)snprintf(finding.counterfactual, sizeof(finding.counterfactual),
                   "A score of at least %.0f in %.0f daily evaluations in a row closes it.", back,
                   model->band_evaluations);
    name_lowest(d->eval, finding.counterfactual, sizeof(finding.counterfactual));
    return finding;
}

/* The daily minute at which the band changed. */
static int64_t
changed_at(const struct upt_decision *d)
{
    int64_t in_day = d->now - upt_floor_div(d->now, UPT_DAY_MS) * UPT_DAY_MS;
    return d->ext->band_day * UPT_DAY_MS + in_day;
}

void
upt_rule_health(struct upt_decision *d)
{
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    if (d->ext->band != UPT_BAND_UNKNOWN) {
        int severity = d->score->rules->band_severity[d->ext->band];
        v.kind = severity == UPT_OFF ? UPT_V_OFF : UPT_V_ON;
        v.severity = severity;
        v.since_ms = changed_at(d);
        if (upt_verdict_speaks(d, UPT_RULE_HEALTH_BAND, 0, &v)) {
            v.finding = find(d);
        }
    }
    upt_verdict_apply(d, UPT_RULE_HEALTH_BAND, 0, &v);
}

/* The horizon of 30, 60 or 90 days that is nearest to what the rules say. */
int
upt_risk_horizon(const struct upt_rules *rules)
{
    double days = rules->rule[UPT_RULE_CHURN_RISK].p[UPT_P_RISK_DAYS];
    return days < 45 ? 0 : days < 75 ? 1 : 2;
}

/* One that comes as it always came is not leaving, however many of the shipped model's cohort did: with three active
 * days or more it has to be silent for longer than twice its own typical gap. Before that, in its first weeks, nobody
 * knows how often it comes: one that came on two Mondays may well be there on the next; one that came on a single day
 * has no gap. */
static bool
may_come_yet(const struct upt_decision *d)
{
    const struct upt_activity *act = &d->eval->act;
    double silent = (double)(act->day - act->last);
    bool seen = d->score->model->shipped && act->days_n >= RHYTHM_SEEN;
    if (seen && silent <= fmin(2 * act->gap_own, act->gap_own + RHYTHM_MORE)) {
        return true;
    }
    return (double)d->facts->age < d->score->rules->rule[UPT_RULE_CHURN_RISK].p[UPT_P_RISK_EARLY] &&
           (act->days_n < 2 || (act->gap_own >= RHYTHM_DAYS && silent < act->gap_own));
}

void
upt_rule_risk(struct upt_decision *d)
{
    const double *p = d->score->rules->rule[UPT_RULE_CHURN_RISK].p;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    int horizon = upt_risk_horizon(d->score->rules);
    if (d->eval->confident) {
        double risk = d->eval->risk_micro[horizon] / 1e6;
        bool renewal =
            d->facts->has_renewal && d->facts->to_renewal >= 0 && (double)d->facts->to_renewal <= p[UPT_P_RISK_RENEWAL];
        bool dear = d->facts->value >= d->score->rules->value_raised_at;
        v.kind = risk >= p[UPT_P_RISK_ON] ? UPT_V_ON : risk >= p[UPT_P_RISK_OFF] ? UPT_V_HOLD : UPT_V_OFF;
        v.waits = may_come_yet(d);
        v.severity = renewal || dear ? UPT_CRITICAL : UPT_HIGH;
        v.finding.observed = risk;
        v.finding.expected = p[UPT_P_RISK_ON];
        v.finding.unit = UPT_STR("probability");
        v.finding.window_ms = upt_horizon_days[horizon] * UPT_DAY_MS;
        if (upt_verdict_speaks(d, UPT_RULE_CHURN_RISK, 0, &v)) {
            double base = d->eval->base[horizon];
            (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                           "A probability of less than %.2f within %d days closes it. The model begins at %.2f%s; this "
                           "account's factors %s that.",
                           p[UPT_P_RISK_OFF], upt_horizon_days[horizon], 1 / (1 + exp(-base)),
                           d->score->model->shipped ? " (course participants, as shipped: fit your own)" : "",
                           d->eval->logit[horizon] < base ? "lower" : "raise");
        }
    }
    upt_verdict_apply(d, UPT_RULE_CHURN_RISK, 0, &v);
}
