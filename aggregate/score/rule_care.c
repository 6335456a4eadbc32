/* Rules about what passes between an account and the people who serve it: tickets, answers to surveys, contacts.
 *
 * No tickets is no good news (one in 25 who has a complaint makes it), so a low number is never scored; only clearly
 * more than usual opens. Good answers never close what behaviour opened: where they stand beside a falling score they
 * raise an alert of their own. The lane's thread. */
#include <math.h>
#include <stdio.h>

#include "decide.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define TICKET_DISPERSION 0.5
#define LATE_Z 3.0 /* of phases after ADOPTION */
#define FRESH_DAYS 90
#define NPS_GOOD 90 /* tenths */

/* Tickets of the last four to five weeks against what so many users usually open; negative binomial, its variance is
 * mean + dispersion · mean². */
void
upt_rule_pain(struct upt_decision *d)
{
    const struct upt_relation *r = d->ext->signals.relation;
    const double *p = d->score->rules->rule[UPT_RULE_SUPPORT_PAIN].p;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    if (r != NULL && r->ticket_day != UPT_NO_DAY) {
        bool early = d->ext->phase <= UPT_PHASE_ADOPTION;
        double n = upt_relation_tickets(r, d->facts->today);
        double mean = p[UPT_P_PAIN_PER_USER] * fmax(1, (double)d->facts->users.d30);
        double z = upt_round6((n - mean) / sqrt(mean + TICKET_DISPERSION * mean * mean));
        bool many = n >= p[UPT_P_PAIN_LEAST] && z > (early ? p[UPT_P_PAIN_Z] : fmax(LATE_Z, p[UPT_P_PAIN_Z]));
        double quiet = (double)(d->facts->today - r->ticket_day);
        v.kind = quiet >= p[UPT_P_PAIN_QUIET] ? UPT_V_OFF : many ? UPT_V_ON : UPT_V_HOLD;
        v.severity = early ? UPT_HIGH : UPT_WARNING;
        v.finding.observed = n;
        v.finding.expected = upt_round6(mean);
        v.finding.unit = UPT_STR("tickets in 4 to 5 weeks");
        v.finding.window_ms = UPT_TICKET_WEEKS * 7 * UPT_DAY_MS;
        if (upt_verdict_speaks(d, UPT_RULE_SUPPORT_PAIN, 0, &v)) {
            char closed[60] = "";
            if (r->closed_answers > 0) { /* else nobody knows how long it takes */
                (void)snprintf(closed, sizeof(closed), ", usually closed after %.1f days", (double)r->close_days);
            }
            (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                           "%.0f days without a new ticket close it; %d %s open%s.", p[UPT_P_PAIN_QUIET],
                           (int)r->tickets_open, r->tickets_open == 1 ? "is" : "are", closed);
        }
    }
    upt_verdict_apply(d, UPT_RULE_SUPPORT_PAIN, 0, &v);
}

/* Whether they are bad, or the alert that says so is open. */
static bool
judge_low(struct upt_decision *d, const struct upt_relation *r)
{
    const double *p = d->score->rules->rule[UPT_RULE_SENTIMENT].p;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    double n = 0;
    double csat = upt_relation_csat(r, d->facts->today, &n);
    double nps_n = 0;
    double nps = upt_relation_nps(r, d->facts->today, &nps_n);
    bool enough = r->csat_answers >= p[UPT_P_SENTIMENT_N];
    bool enough_nps = r->nps_answers >= p[UPT_P_SENTIMENT_N];
    bool fresh = d->facts->today - r->survey_day <= FRESH_DAYS; /* what is older says nothing any more */
    if (fresh && (enough || enough_nps)) {
        bool low = (enough && csat < p[UPT_P_SENTIMENT_LOW]) || (enough_nps && nps < 0);
        v.kind = low ? UPT_V_ON : UPT_V_OFF;
    }
    v.severity = d->ext->phase <= UPT_PHASE_ADOPTION ? UPT_HIGH : UPT_WARNING;
    v.finding.observed = enough ? csat : nps;
    v.finding.expected = enough ? p[UPT_P_SENTIMENT_LOW] : 0;
    v.finding.unit = enough ? UPT_STR("CSAT") : UPT_STR("NPS");
    if (upt_verdict_speaks(d, UPT_RULE_SENTIMENT, 0, &v)) {
        (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                       "Better answers close it; the mean stands for %.1f answers.", enough ? n : nps_n);
    }
    upt_verdict_apply(d, UPT_RULE_SENTIMENT, 0, &v);
    return v.kind == UPT_V_ON || upt_alert_is_open(d->ext, UPT_RULE_SENTIMENT, 0) != NULL;
}

/* Good answers, none of them called bad, and a behaviour that says otherwise: they may be masking dissatisfaction. */
static void
judge_masked(struct upt_decision *d, const struct upt_relation *r, bool low)
{
    const double *p = d->score->rules->rule[UPT_RULE_SENTIMENT].p;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    double n = 0;
    bool fresh = d->facts->today - r->survey_day <= FRESH_DAYS;
    bool good = !low && (upt_relation_csat(r, d->facts->today, &n) >= p[UPT_P_SENTIMENT_HIGH] ||
                         (d->ext->nps_min > 0 && d->ext->nps_tenths >= NPS_GOOD));
    bool falling = upt_alert_is_open(d->ext, UPT_RULE_USAGE_DROP, 0) != NULL ||
                   upt_alert_is_open(d->ext, UPT_RULE_SILENCE, 0) != NULL || d->ext->band == UPT_BAND_CRITICAL ||
                   d->ext->band == UPT_BAND_AT_RISK;
    if (fresh) {
        v.kind = good && falling ? UPT_V_ON : UPT_V_OFF;
    } else if (upt_alert_is_open(d->ext, UPT_RULE_SENTIMENT, 1) != NULL && !falling) {
        v.kind = UPT_V_OFF;
    }
    v.severity = UPT_WARNING;
    v.finding.observed = d->ext->score == UPT_NULL_U32 ? (double)NAN : d->ext->score / 1e6;
    v.finding.unit = UPT_STR("points");
    if (upt_verdict_speaks(d, UPT_RULE_SENTIMENT, 1, &v)) {
        (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                       "Their answers are good, their use is falling: only a recovery of use closes it.");
    }
    upt_verdict_apply(d, UPT_RULE_SENTIMENT, 1, &v);
}

void
upt_rule_sentiment(struct upt_decision *d)
{
    const struct upt_relation *r = d->ext->signals.relation;
    if (r != NULL && r->survey_day != UPT_NO_DAY) {
        judge_masked(d, r, judge_low(d, r));
    }
}

/* Only where contacts are recorded at all: one was, once. */
void
upt_rule_contact(struct upt_decision *d)
{
    const struct upt_rules *rules = d->score->rules;
    const struct upt_relation *r = d->ext->signals.relation;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    int tier = d->facts->tier;
    double limit = tier == UPT_TIER_NONE ? rules->rule[UPT_RULE_CONTACT_GAP].p[UPT_P_CONTACT_DAYS]
                                         : (double)rules->tier[tier].contact_ms / (double)UPT_DAY_MS;
    if (r != NULL && r->contact_day != UPT_NO_DAY) {
        double days = (double)(d->facts->today - r->contact_day);
        v.kind = limit > 0 && days > limit ? UPT_V_ON : UPT_V_OFF;
        v.since_ms = (r->contact_day + (int64_t)floor(limit) + 1) * UPT_DAY_MS; /* the first day beyond it */
        v.finding.observed = days;
        v.finding.expected = upt_round6(limit);
        v.finding.unit = UPT_STR("days since the last contact");
        if (upt_verdict_speaks(d, UPT_RULE_CONTACT_GAP, 0, &v)) {
            (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                           "One contact by a person closes it.");
        }
    }
    upt_verdict_apply(d, UPT_RULE_CONTACT_GAP, 0, &v);
}
