/* Rules about where an account is in its life: onboarding and value that come late, a renewal that comes near, a phase
 * that is lost, a good beginning.
 *
 * Lateness is judged only where there is something to be late with: a checklist (trait onboarding_steps), goals (trait
 * goals). How long is too long comes from the rules file, shorter for products that promise value at once (trait
 * ttv_class) and for trials. Value before the contract began is in time. A goal with a date of its own is late after
 * that day, in any phase: it was agreed on. The lane's thread. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "decide.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define RECENT_DAYS 90
#define NPS_GOOD 9.0
#define DAYS_TO_CRITICAL 30
#define DAYS_TO_HIGH 60
#define DAYS_TO_WARNING 90
#define OVERDUE 1 /* subject of TTV_LATE */
#define NAME_MAX_SHOWN 60
#define GRACE_DAYS 30 /* after the renewal date, for the RENEWED to arrive */

static void
judge_late(struct upt_decision *d, int rule, bool done, const char *what)
{
    const double *p = d->score->rules->rule[rule].p;
    struct upt_verdict v = upt_verdict_of(done ? UPT_V_OFF : UPT_V_UNKNOWN);
    double late = upt_round6(p[UPT_P_LATE] * d->facts->patience);
    double days = (double)(d->facts->today - d->facts->start);
    if (!done) {
        v.kind = days >= late ? UPT_V_ON : UPT_V_OFF;
    }
    v.severity = days >= upt_round6(p[UPT_P_VERY_LATE] * d->facts->patience) ? UPT_HIGH : UPT_WARNING;
    v.since_ms = (d->facts->start + (int64_t)ceil(late)) * UPT_DAY_MS;
    v.quick = done;
    v.finding.observed = days;
    v.finding.expected = late;
    v.finding.unit = UPT_STR("days since the start");
    if (upt_verdict_speaks(d, rule, 0, &v)) {
        (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual), "%s", what);
    }
    upt_verdict_apply(d, rule, 0, &v);
}

void
upt_rule_onboarding(struct upt_decision *d)
{
    char what[200] = "";
    const struct upt_facts *f = d->facts;
    if (f->steps_n == 0) {
        struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
        upt_verdict_apply(d, UPT_RULE_ONBOARDING_LATE, 0, &v);
        return;
    }
    (void)snprintf(what, sizeof(what), "%d of %d onboarding steps are done; the others close it.", f->steps_done,
                   f->steps_n);
    judge_late(d, UPT_RULE_ONBOARDING_LATE, f->steps_done == f->steps_n, what);
}

static void
judge_overdue(struct upt_decision *d)
{
    const struct upt_goals *goals = &d->facts->goals;
    struct upt_verdict v = upt_verdict_of(goals->late > 0 ? UPT_V_ON : UPT_V_OFF);
    double days = goals->has_next ? (double)(d->facts->today - goals->next) : 0;
    v.severity = days >= d->score->rules->rule[UPT_RULE_TTV_LATE].p[UPT_P_OVERDUE] ? UPT_HIGH : UPT_WARNING;
    v.quick = goals->late == 0; /* reached, or another date was agreed on */
    if (goals->late > 0) {
        v.since_ms = (goals->next + 1) * UPT_DAY_MS;
        v.finding.observed = days;
        v.finding.expected = 0;
        v.finding.unit = UPT_STR("days past the date");
    }
    if (goals->late > 0 && upt_verdict_speaks(d, UPT_RULE_TTV_LATE, OVERDUE, &v)) {
        char date[16];
        upt_format_day(goals->next, date);
        (void)snprintf(
            v.finding.counterfactual, sizeof(v.finding.counterfactual),
            "%d of %d goals with a date are past it, first %.*s (%s); reaching them, or new dates, close it.",
            goals->late, goals->dated, upt_fitting(goals->next_name, NAME_MAX_SHOWN), goals->next_name.p, date);
    }
    upt_verdict_apply(d, UPT_RULE_TTV_LATE, OVERDUE, &v);
}

void
upt_rule_ttv(struct upt_decision *d)
{
    const struct upt_relation *r = d->ext->signals.relation;
    if (!d->facts->goals.listed) {
        struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
        upt_verdict_apply(d, UPT_RULE_TTV_LATE, 0, &v);
        upt_verdict_apply(d, UPT_RULE_TTV_LATE, OVERDUE, &v);
        return;
    }
    judge_overdue(d);
    judge_late(d, UPT_RULE_TTV_LATE, r != NULL && r->value_day != UPT_NO_DAY,
               "The first VALUE event (a goal reached) closes it.");
}

static int
renewal_severity(int64_t left)
{
    return left <= DAYS_TO_CRITICAL  ? UPT_CRITICAL
           : left <= DAYS_TO_HIGH    ? UPT_HIGH
           : left <= DAYS_TO_WARNING ? UPT_WARNING
                                     : UPT_INFO;
}

void
upt_rule_renewal(struct upt_decision *d)
{
    const double *p = d->score->rules->rule[UPT_RULE_RENEWAL_GAP].p;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    int64_t left = d->facts->to_renewal;
    double share = upt_adoption_percentile(d);
    if (d->facts->has_renewal && !isnan(share)) {
        bool near = left >= -GRACE_DAYS && (double)left <= p[UPT_P_RENEWAL_FROM];
        v.kind = !near || share >= p[UPT_P_RENEWAL_OFF]     ? UPT_V_OFF
                 : left < 0 || share >= p[UPT_P_RENEWAL_ON] ? UPT_V_HOLD
                                                            : UPT_V_ON;
        v.quick = !near;
        v.severity = renewal_severity(left);
        v.finding.observed = share;
        v.finding.expected = p[UPT_P_RENEWAL_ON];
        v.finding.unit = UPT_STR("adoption percentile");
        v.finding.window_ms = left > 0 ? left * UPT_DAY_MS : -1;
        if (upt_verdict_speaks(d, UPT_RULE_RENEWAL_GAP, 0, &v)) {
            const char *peers = upt_adoption_peers(d);
            (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                           "%d day%s to renewal; adoption above that of %.0f%% of %s%s closes it.", (int)left,
                           upt_plural((double)left), p[UPT_P_RENEWAL_OFF] * 100, peers,
                           strchr(peers, ',') != NULL ? "," : "");
        }
    }
    upt_verdict_apply(d, UPT_RULE_RENEWAL_GAP, 0, &v);
}

void
upt_rule_regression(struct upt_decision *d)
{
    struct upt_habits *h = d->ext->signals.habits;
    const struct upt_rule *rule = &d->score->rules->rule[UPT_RULE_PHASE_REGRESSION];
    struct upt_slot *open = upt_alert_is_open(d->ext, UPT_RULE_PHASE_REGRESSION, 0);
    int rank = upt_phase_rank(d->ext->phase);
    struct upt_verdict v = upt_verdict_of(rank < upt_phase_rank(h->peak) ? UPT_V_ON : UPT_V_OFF);
    v.severity = rank < 0 ? UPT_HIGH : h->peak == UPT_PHASE_ADVOCACY && rank == h->peak - 1 ? UPT_INFO : UPT_WARNING;
    v.finding.observed = rank;
    v.finding.expected = upt_phase_rank(h->peak);
    v.finding.unit = UPT_STR("rank of the phase");
    if (upt_verdict_speaks(d, UPT_RULE_PHASE_REGRESSION, 0, &v)) {
        (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                       "It was in %s and is in %s; back there closes it.", upt_phase_names[h->peak],
                       upt_phase_names[d->ext->phase]);
    }
    if (open != NULL && rule->expire_ms > 0 && d->now >= (int64_t)open->opened_min * UPT_MINUTE_MS + rule->expire_ms) {
        h->peak = (uint8_t)(rank < 0 ? 0 : rank); /* where it is now is where it belongs now */
    }
    upt_verdict_apply(d, UPT_RULE_PHASE_REGRESSION, 0, &v);
}

/* A fast start and good words: time to say thank you, and to ask for a reference. */
void
upt_rule_positive(struct upt_decision *d)
{
    const struct upt_relation *r = d->ext->signals.relation;
    const struct upt_rules *rules = d->score->rules;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    if (r != NULL && (r->onboarded_day != UPT_NO_DAY || r->value_day != UPT_NO_DAY) &&
        (r->nps_answers > 0 || r->csat_answers > 0)) {
        double n = 0;
        double share = rules->rule[UPT_RULE_POSITIVE].p[UPT_P_POSITIVE_FAST] * d->facts->patience;
        double onboarding = r->onboarded_day == UPT_NO_DAY ? 1e9 : (double)(r->onboarded_day - d->facts->start);
        double value = r->value_day == UPT_NO_DAY ? 1e9 : (double)(r->value_day - d->facts->start);
        bool fast = onboarding <= upt_round6(share * rules->rule[UPT_RULE_ONBOARDING_LATE].p[UPT_P_LATE]) ||
                    value <= upt_round6(share * rules->rule[UPT_RULE_TTV_LATE].p[UPT_P_LATE]);
        bool recent = d->facts->today - r->survey_day <= RECENT_DAYS;
        bool good =
            upt_relation_csat(r, d->facts->today, &n) >= rules->rule[UPT_RULE_SENTIMENT].p[UPT_P_SENTIMENT_HIGH] ||
            (d->ext->nps_min > 0 && d->ext->nps_tenths >= NPS_GOOD * 10);
        bool bad = d->ext->band == UPT_BAND_CRITICAL || d->ext->band == UPT_BAND_AT_RISK;
        v.kind = fast && recent && good && !bad ? UPT_V_ON : UPT_V_OFF;
        v.finding.observed = fmin(onboarding, value);
        v.finding.unit = UPT_STR("days to onboarding or value");
        if (upt_verdict_speaks(d, UPT_RULE_POSITIVE, 0, &v)) {
            (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                           "A fast start and good answers. News: it ends by itself.");
        }
    }
    upt_verdict_apply(d, UPT_RULE_POSITIVE, 0, &v);
    upt_rule_early(d);
}
