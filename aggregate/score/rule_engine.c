/* The rules that are judged once a day: each says ON, OFF, HOLD or UNKNOWN of each of its subjects, and this turns what
 * they say into alerts, the same way for all: counts in a row, cool-down, the cap on notifications, severity by the
 * value at stake, escalation of what nobody took in hand, the follow-up after an end.
 *
 * UNKNOWN is a verdict of its own because missing data must neither open nor close anything. A rule that is held back
 * by the cap stays pending, marked (held_back.c), and opens when there is room if it still holds. The lane's thread. */
#include <math.h>
#include <stdio.h>

#include "decide.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define SMALL_MEAN 500.0
#define FOLLOW_UP 1 /* subject of CONTACT_GAP */

enum {
    TRIAL = 1 << UPT_PHASE_TRIAL,
    ONBOARDING = 1 << UPT_PHASE_ONBOARDING,
    ADOPTION = 1 << UPT_PHASE_ADOPTION,
    USAGE = 1 << UPT_PHASE_USAGE,
    VALUE = 1 << UPT_PHASE_VALUE,
    ADVOCACY = 1 << UPT_PHASE_ADVOCACY,
    DORMANT = 1 << UPT_PHASE_DORMANT,
};
#define CUSTOMER (ONBOARDING | ADOPTION | USAGE | VALUE | ADVOCACY)
#define ANY (TRIAL | CUSTOMER | DORMANT)

static const struct {
    void (*judge)(struct upt_decision *d);
    unsigned phases; /* in which it may open */
    bool by_value;   /* one step more severe at a high contract value */
    int on_outage;   /* the whole fleet is quiet: 1: not judged; 2: nor in the week after, when scores are still low */
} specs[UPT_RULES] = {
    [UPT_RULE_CHURN_RISK] = {upt_rule_risk, ANY, false, 2},
    [UPT_RULE_HEALTH_BAND] = {upt_rule_health, ANY, false, 2},
    [UPT_RULE_SILENCE] = {upt_rule_silence_daily, ANY, false, 1},
    [UPT_RULE_USAGE_DROP] = {upt_rule_drop_daily, ANY, false, 1},
    [UPT_RULE_RENEWAL_GAP] = {upt_rule_renewal, CUSTOMER | DORMANT, false, 0},
    [UPT_RULE_CHAMPION_SILENT] = {upt_rule_champion, CUSTOMER, true, 1},
    [UPT_RULE_USER_CONTRACTION] = {upt_rule_contraction, CUSTOMER, true, 0},
    [UPT_RULE_SUPPORT_PAIN] = {upt_rule_pain, TRIAL | CUSTOMER, true, 0},
    [UPT_RULE_SENTIMENT] = {upt_rule_sentiment, TRIAL | CUSTOMER | DORMANT, true, 0},
    [UPT_RULE_ONBOARDING_LATE] = {upt_rule_onboarding, TRIAL | CUSTOMER | DORMANT, true, 0},
    [UPT_RULE_TTV_LATE] = {upt_rule_ttv, TRIAL | CUSTOMER | DORMANT, true, 0},
    [UPT_RULE_FEATURE_ABANDONED] = {upt_rule_abandoned, CUSTOMER, true, 0},
    [UPT_RULE_SEAT_UNDERUSE] = {upt_rule_seats, CUSTOMER | DORMANT, true, 0},
    [UPT_RULE_PHASE_REGRESSION] = {upt_rule_regression, ANY, false, 0},
    [UPT_RULE_BREADTH_STALL] = {upt_rule_stall, ADOPTION | USAGE, false, 0},
    [UPT_RULE_TRAINING_NEED] = {upt_rule_training, CUSTOMER, false, 0},
    [UPT_RULE_CONTACT_GAP] = {upt_rule_contact, CUSTOMER | DORMANT, false, 0},
    [UPT_RULE_RELEASE_UNUSED] = {upt_rule_release, CUSTOMER, false, 0},
    [UPT_RULE_EXPANSION] = {upt_rule_expansion, CUSTOMER, false, 0},
    [UPT_RULE_ADOPTED] = {upt_rule_adopted, CUSTOMER, false, 0},
    [UPT_RULE_POSITIVE] = {upt_rule_positive, CUSTOMER, false, 0},
};

bool
upt_verdict_speaks(const struct upt_decision *d, int rule, uint32_t subject, const struct upt_verdict *v)
{
    return v->kind == UPT_V_ON || upt_alert_is_open(d->ext, rule, subject) != NULL;
}

static uint8_t
one_more(uint8_t n)
{
    return n < UINT8_MAX ? (uint8_t)(n + 1) : UINT8_MAX;
}

static int
severity_of(const struct upt_decision *d, int rule, int severity)
{
    bool raised = specs[rule].by_value && d->facts->value >= d->score->rules->value_raised_at;
    return raised && severity < UPT_HIGH ? severity + 1 : severity;
}

/* What would close it says nothing of one that is closed. */
static void
end(struct upt_decision *d, struct upt_slot *slot, upt_action action, struct upt_finding *finding)
{
    finding->counterfactual[0] = '\0';
    upt_alert_close(d, slot, action, finding);
}

static void
apply_open(struct upt_decision *d, struct upt_slot *slot, struct upt_verdict *v)
{
    const struct upt_rule *rule = &d->score->rules->rule[slot->rule];
    if (rule->expire_ms > 0 && d->now >= (int64_t)slot->opened_min * UPT_MINUTE_MS + rule->expire_ms) {
        end(d, slot, UPT_EXPIRE, &v->finding);
        return;
    }
    if (v->kind == UPT_V_UNKNOWN) {
        return;
    }
    slot->off_n = v->kind == UPT_V_OFF ? one_more(slot->off_n) : 0;
    if (v->kind == UPT_V_ON) {
        slot->flags &= (uint8_t)~UPT_SLOT_HELD;
    }
    if (v->kind == UPT_V_OFF) {
        if (v->quick || slot->off_n >= rule->off_count) {
            end(d, slot, UPT_RESOLVE, &v->finding);
        }
        return;
    }
    int severity = v->kind == UPT_V_ON ? severity_of(d, slot->rule, v->severity) : slot->severity;
    if (upt_alert_moves(d, slot, severity)) {
        upt_alert_move(d, slot, severity, &v->finding);
    }
}

void
upt_verdict_apply(struct upt_decision *d, int rule, uint32_t subject, struct upt_verdict *v)
{
    const struct upt_rule *spec = &d->score->rules->rule[rule];
    struct upt_slots *slots = &d->ext->signals.slots;
    struct upt_slot *slot = upt_slot_find(slots, rule, subject);
    if (slot != NULL && slot->state == UPT_SLOT_OPEN) {
        apply_open(d, slot, v);
        return;
    }
    if (v->kind == UPT_V_UNKNOWN) {
        return;
    }
    bool on = v->kind == UPT_V_ON && (specs[rule].phases >> d->ext->phase & 1) != 0 &&
              d->facts->age >= spec->min_days && upt_alert_may_open(d, rule, subject);
    if (!on) {
        if (slot != NULL && slot->state == UPT_SLOT_PENDING) {
            upt_slot_drop(slots, slot);
        } else if (slot != NULL) {
            slot->on_n = 0;
            upt_alert_let_go(d, rule, subject);
        }
        return;
    }
    int need = d->facts->watched ? (spec->on_count + 1) / 2 : spec->on_count;
    int severity = severity_of(d, rule, v->severity);
    int on_n = slot == NULL ? 1 : one_more(slot->on_n);
    bool due = (v->quick || on_n >= need) && !v->waits;
    if (due && !upt_alert_capped(d, severity)) {
        int64_t since = v->since_ms != 0 ? v->since_ms : d->now - (int64_t)(on_n - 1) * UPT_DAY_MS;
        (void)upt_alert_open(d, rule, subject, severity, since, &v->finding);
        return;
    }
    slot = slot == NULL ? upt_slot_make(d->st, slots, rule, subject) : slot;
    if (slot != NULL) {
        slot->on_n = (uint8_t)on_n;
        if (due) {
            upt_alert_hold_back(d, rule, subject, severity);
        } else {
            upt_alert_let_go(d, rule, subject);
        }
    }
}

/* A HIGH alert that nobody took in hand within the tier's time. */
static void
escalate_overdue(struct upt_decision *d)
{
    int tier = d->facts->tier;
    int64_t answer = tier == UPT_TIER_NONE ? 0 : d->score->rules->tier[tier].answer_ms;
    for (unsigned i = 0; answer > 0 && i < d->ext->signals.slots.n; i++) {
        struct upt_slot *slot = &d->ext->signals.slots.v[i];
        if (slot->state == UPT_SLOT_OPEN && slot->severity == UPT_HIGH &&
            (slot->flags & (UPT_SLOT_ACKED | UPT_SLOT_OVERDUE | UPT_SLOT_HELD)) == 0 && slot->high_min != 0 &&
            !upt_control_snoozed(slot, d->now) && d->now >= (int64_t)slot->high_min * UPT_MINUTE_MS + answer) {
            struct upt_finding finding = upt_finding_none();
            int days = (int)((d->now - (int64_t)slot->high_min * UPT_MINUTE_MS) / UPT_DAY_MS);
            slot->flags |= UPT_SLOT_OVERDUE;
            (void)snprintf(finding.counterfactual, sizeof(finding.counterfactual),
                           "Nobody has taken it in hand for %d day%s, longer than its tier allows.", days,
                           upt_plural(days));
            upt_alert_move(d, slot, UPT_CRITICAL, &finding);
        }
    }
}

/* The slot's follow-up is due and has not been asked for. */
static bool
follow_up_due(const struct upt_decision *d, const struct upt_slot *slot)
{
    int64_t after = d->score->rules->follow_up_ms;
    return after > 0 && slot->state == UPT_SLOT_CLOSED && (slot->flags & UPT_SLOT_FOLLOWED) == 0 &&
           d->now >= (int64_t)slot->changed_min * UPT_MINUTE_MS + after;
}

static bool
contacted_since(const struct upt_decision *d, int64_t ms)
{
    const struct upt_relation *relation = d->ext->signals.relation;
    return relation != NULL && relation->contact_day != UPT_NO_DAY &&
           relation->contact_day >= upt_floor_div(ms, UPT_DAY_MS);
}

/* After an end of a HIGH or CRITICAL alert, and the time that the rules give: did it last? Held back, it is asked for
 * again each day until the slot is swept, unless a contact made it needless. */
static void
follow_up(struct upt_decision *d)
{
    const struct upt_rules *rules = d->score->rules;
    struct upt_slots *slots = &d->ext->signals.slots;
    struct upt_verdict v = upt_verdict_of(UPT_V_HOLD);
    for (unsigned i = 0; i < slots->n; i++) {
        struct upt_slot *slot = &slots->v[i];
        int64_t ended = (int64_t)slot->changed_min * UPT_MINUTE_MS;
        if (!follow_up_due(d, slot)) {
            continue;
        }
        if (!rules->rule[UPT_RULE_CONTACT_GAP].enabled || contacted_since(d, ended + rules->follow_up_ms)) {
            slot->flags |= UPT_SLOT_FOLLOWED;
            continue;
        }
        v.kind = UPT_V_ON;
        v.quick = true;
        int days = (int)((d->now - ended) / UPT_DAY_MS);
        (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                       "%s ended %d day%s ago: look whether it lasted. A contact with them closes this.",
                       upt_rule_names[slot->rule], days, upt_plural(days));
    }
    const struct upt_slot *open = upt_alert_is_open(d->ext, UPT_RULE_CONTACT_GAP, FOLLOW_UP);
    if (open != NULL && contacted_since(d, (int64_t)open->opened_min * UPT_MINUTE_MS)) {
        v = upt_verdict_of(UPT_V_OFF);
        v.quick = true;
    }
    if (v.kind != UPT_V_HOLD || upt_slot_find(slots, UPT_RULE_CONTACT_GAP, FOLLOW_UP) != NULL) {
        upt_verdict_apply(d, UPT_RULE_CONTACT_GAP, FOLLOW_UP, &v);
    }
    bool asked = v.kind == UPT_V_ON && upt_alert_is_open(d->ext, UPT_RULE_CONTACT_GAP, FOLLOW_UP) != NULL;
    for (unsigned i = 0; asked && i < slots->n; i++) {
        slots->v[i].flags |= follow_up_due(d, &slots->v[i]) ? UPT_SLOT_FOLLOWED : 0;
    }
}

/* Alerts of a rule that was switched off, or of an account that is gone by contract, end. */
static void
expire_idle(struct upt_decision *d)
{
    struct upt_finding none = upt_finding_none();
    bool churned = d->eval->phase == UPT_PHASE_CHURNED;
    for (unsigned i = 0; i < d->ext->signals.slots.n; i++) {
        struct upt_slot *slot = &d->ext->signals.slots.v[i];
        if (slot->state == UPT_SLOT_OPEN && (churned || !d->score->rules->rule[slot->rule].enabled)) {
            upt_alert_close(d, slot, UPT_EXPIRE, &none);
        }
    }
}

static bool
is_judged(const struct upt_decision *d, int rule)
{
    bool held = (specs[rule].on_outage > 0 && d->facts->outage) || (specs[rule].on_outage > 1 && d->facts->aftermath);
    return specs[rule].judge != NULL && d->score->rules->rule[rule].enabled && d->eval->phase != UPT_PHASE_CHURNED &&
           (!held || rule == UPT_RULE_SILENCE);
}

/* Nobody knows of what is not judged whether it would open. */
static void
let_go_unjudged(struct upt_decision *d)
{
    const struct upt_slots *slots = &d->ext->signals.slots;
    for (unsigned i = slots->n; i-- > 0;) { /* backwards: those let go may be dropped */
        if (!is_judged(d, slots->v[i].rule)) {
            upt_alert_let_go(d, slots->v[i].rule, slots->v[i].subject);
        }
    }
}

void
upt_rules_daily(struct upt_decision *d)
{
    let_go_unjudged(d);
    expire_idle(d);
    for (int i = 0; i < UPT_RULES; i++) {
        if (is_judged(d, i)) {
            specs[i].judge(d);
        }
    }
    follow_up(d);
    escalate_overdue(d);
    upt_alert_sweep(d);
}

double
upt_poisson_at_most(double n, double mean)
{
    if (!(mean > 0)) {
        return 1;
    }
    if (mean > SMALL_MEAN) {
        return upt_round6(0.5 * erfc(-((n + 0.5 - mean) / sqrt(mean)) / sqrt(2.0)));
    }
    double p = exp(-mean);
    double sum = 0;
    for (int64_t i = 0; (double)i <= n && i < 100000; i++) {
        sum += p;
        p *= mean / (double)(i + 1);
    }
    return upt_round6(fmin(sum, 1));
}
