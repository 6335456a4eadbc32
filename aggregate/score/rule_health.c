/* HEALTH_BAND: the banded score is in a band that has a severity. The band's own hysteresis (history.c) keeps it from
 * flapping, so the counts here are 1 by default. UNKNOWN neither opens nor closes: missing data is no recovery. */
#include <math.h>
#include <stdio.h>

#include "decide.h"
#include "uptake/time.h"

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
upt_rule_health_daily(struct upt_decision *d)
{
    struct upt_slot *slot = &d->ext->slot[UPT_RULE_HEALTH_BAND];
    const struct upt_rules *rules = d->score->rules;
    const struct upt_rule *rule = &rules->rule[UPT_RULE_HEALTH_BAND];
    if (d->ext->band == UPT_BAND_UNKNOWN) {
        return;
    }
    int severity = rules->band_severity[d->ext->band];
    if (slot->state == UPT_SLOT_OPEN) {
        slot->off_n = (uint8_t)(severity != UPT_OFF ? 0 : slot->off_n < UINT8_MAX ? slot->off_n + 1 : UINT8_MAX);
        if (slot->off_n >= rule->off_count) {
            struct upt_finding finding = find(d);
            upt_alert_close(d, UPT_RULE_HEALTH_BAND, UPT_RESOLVE, &finding);
        } else if (severity != UPT_OFF && upt_alert_moves(d, UPT_RULE_HEALTH_BAND, severity)) {
            struct upt_finding finding = find(d);
            upt_alert_move(d, UPT_RULE_HEALTH_BAND, severity, &finding);
        }
        return;
    }
    bool bad = severity != UPT_OFF && d->eval->today - d->ext->first_day >= rules->band_min_days;
    slot->on_n = (uint8_t)(!bad ? 0 : slot->on_n < UINT8_MAX ? slot->on_n + 1 : UINT8_MAX);
    if (bad && slot->on_n >= rule->on_count && upt_alert_may_open(d, UPT_RULE_HEALTH_BAND)) {
        struct upt_finding finding = find(d);
        upt_alert_open(d, UPT_RULE_HEALTH_BAND, severity, changed_at(d), &finding);
    }
}
