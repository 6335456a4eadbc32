/* What became of the accounts of which a rule told: so an alert says how often its rule was right before, and how many
 * days there were (precision_estimate, expected_lead_days).
 *
 * The day of a rule's OPEN is noted with the account until its outcome is known, 90 days later; what opens of that rule
 * in the meantime is the same witness and not noted. Left: as of the risk (outcome.c), from the day of OPEN on. Counts
 * are the partition's and in its checkpoint, so they are a function of the log; with fewer than LEAST nothing is said.
 * Good news is not judged: leaving does not make it right. Segments have no slot, so they do not come here. The lane's
 * thread. */
#include <math.h>

#include "activity.h"
#include "decide.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define LEAST 30

void
upt_opening_note(struct upt_decision *d, int rule)
{
    int64_t day = upt_floor_div(d->now, UPT_DAY_MS);
    bool news = rule == UPT_RULE_EXPANSION || rule == UPT_RULE_ADOPTED || rule == UPT_RULE_POSITIVE;
    if (news || day < 1 || day > UINT16_MAX) { /* before 1970 or after 2149 */
        return;
    }
    uint16_t *opened = upt_opened_days_of(d->st, &d->ext->signals);
    if (opened[rule] == 0) {
        opened[rule] = (uint16_t)day;
    }
}

/* Days from that of OPEN to the end: CHURNED, or the last key-active day; 0 if that was before. */
static unsigned
lead_of(const struct upt_score_ext *ext, int64_t opened)
{
    if (ext->churned_min > ext->renewed_min) {
        int64_t lead = (int64_t)ext->churned_min / UPT_MINUTES_A_DAY - opened;
        return lead > 0 ? (unsigned)lead : 0;
    }
    unsigned lead = UPT_OUTCOME_DAYS;
    while (lead > 0 && !upt_activity_on(ext, opened + lead)) {
        lead--;
    }
    return lead;
}

void
upt_openings_daily(struct upt_decision *d)
{
    uint16_t *day = d->ext->signals.habits == NULL ? NULL : d->ext->signals.habits->opened_day;
    struct upt_outcome_table *table = &d->score->outcomes;
    for (int rule = 0; day != NULL && rule < UPT_RULES; rule++) {
        int64_t opened = day[rule];
        int64_t until = opened + UPT_OUTCOME_DAYS;
        if (opened == 0 || d->eval->today <= until + UPT_OUTCOME_SILENT_DAYS) {
            continue;
        }
        day[rule] = 0;
        if (opened < table->since) {
            continue; /* another model's word */
        }
        struct upt_rule_outcomes *counts = &table->rule[rule];
        upt_state_partition_changes(d->st);
        counts->n++;
        if (upt_outcome_left(d->ext, until)) {
            counts->left++;
            counts->lead[lead_of(d->ext, opened)]++;
        }
    }
}

void
upt_opening_estimate(const struct upt_score *score, int rule, double *ret_precision, double *ret_lead)
{
    const struct upt_rule_outcomes *counts = &score->outcomes.rule[rule];
    bool enough = counts->n >= LEAST;
    *ret_precision = enough ? upt_round6((double)counts->left / counts->n) : (double)NAN;
    *ret_lead = (double)NAN;
    uint64_t seen = 0;
    for (unsigned days = 0; enough && days <= UPT_OUTCOME_DAYS && isnan(*ret_lead); days++) {
        seen += counts->lead[days];
        if (counts->left > 0 && 2 * seen >= counts->left) {
            *ret_lead = days; /* the lower median */
        }
    }
}
