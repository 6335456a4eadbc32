/* The life of an alert: OPEN, then UPDATE, ESCALATE, DEESCALATE, and RESOLVE or EXPIRE as the last. Every transition of
 * every rule passes here, so that revisions have no gaps and an end is an end.
 *
 * An episode is named by the minute in which it opened: a number kept in the account would start again when the account
 * is forgotten and comes back, and the new alert would have an old one's id. The lane's thread. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "decide.h"
#include "uptake/assert.h"
#include "uptake/time.h"
#include "uptake/units.h"

struct upt_finding
upt_finding_none(void)
{
    return (struct upt_finding){.observed = (double)NAN,
                                .expected = (double)NAN,
                                .expected_low = (double)NAN,
                                .p_value = (double)NAN,
                                .window_ms = -1};
}

uint32_t
upt_open_alerts(const struct upt_score_ext *ext)
{
    uint32_t n = 0;
    for (int i = 0; i < UPT_RULES; i++) {
        n += ext->slot[i].state == UPT_SLOT_OPEN ? 1 : 0;
    }
    return n;
}

static uint32_t
minute_of(int64_t ms)
{
    int64_t minute = upt_floor_div(ms, UPT_MINUTE_MS);
    return minute < 1 ? 1 : (uint32_t)minute;
}

static size_t
put_part(unsigned char *at, struct upt_str part)
{
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (unsigned char)(part.len >> (8 * i));
    }
    if (part.len > 0) {
        memcpy(at + 4, part.p, part.len);
    }
    return 4 + part.len;
}

/* XXH3-128 over account, rule, subject (each behind its length, 4 bytes little endian) and the minute of OPEN
 * (likewise). */
static void
alert_id(struct upt_str account, struct upt_str rule, struct upt_str subject, uint32_t opened_min, char ret[33])
{
    unsigned char text[1024];
    upt_assert(account.len + rule.len + subject.len + 16 <= sizeof(text));
    size_t len = put_part(text, account);
    len += put_part(text + len, rule);
    len += put_part(text + len, subject);
    for (unsigned i = 0; i < 4; i++) {
        text[len++] = (unsigned char)(opened_min >> (8 * i));
    }
    XXH128_hash_t digest = XXH3_128bits(text, len);
    (void)snprintf(ret, 33, "%016llx%016llx", (unsigned long long)digest.high64, (unsigned long long)digest.low64);
}

static void
put_account(const struct upt_decision *d, struct upt_alert *alert)
{
    const struct upt_score_ext *ext = d->ext;
    alert->account = upt_account_id(d->acct);
    alert->segment = upt_account_trait(d->acct, UPT_STR("segment"));
    alert->tier = upt_account_trait(d->acct, UPT_STR("tier"));
    alert->phase = d->eval->phase;
    alert->health = ext->score == UPT_NULL_U32 ? (double)NAN : ext->score / 1e6;
    double before = ext->evaluated ? upt_history_ago(ext, ext->evaluated_day, 28) : (double)NAN;
    alert->health_change_28d = isnan(before) || isnan(alert->health) ? (double)NAN : upt_round6(alert->health - before);
    alert->churn_probability = d->eval->has_score ? d->eval->risk_micro[0] / 1e6 : (double)NAN;
    alert->horizon_days = d->eval->has_score ? upt_horizon_days[0] : -1;
    alert->confidence = d->eval->confidence_micro / 1e6;
    int64_t renewal = 0;
    if (upt_trait_day(d->acct, "renewal_date", &renewal)) {
        alert->has_days_to_renewal = true;
        alert->days_to_renewal = (int32_t)(renewal - d->eval->today);
    }
}

static void
emit(struct upt_decision *d, int rule, upt_action action, int previous, const struct upt_finding *finding)
{
    struct upt_slot *slot = &d->ext->slot[rule];
    const struct upt_rule *spec = &d->score->rules->rule[rule];
    char text[UPT_FACTORS_MAX][200];
    struct upt_alert alert = {
        .revision = slot->revision,
        .action = action,
        .rule = upt_str_of(upt_rule_names[rule]),
        .rule_version = spec->version,
        .severity = (upt_severity)slot->severity,
        .previous_severity = previous,
        .opened_at = (int64_t)slot->opened_min * UPT_MINUTE_MS,
        .changed_at = d->now,
        .condition_since = (int64_t)slot->since_min * UPT_MINUTE_MS,
        .expected_lead_days = (double)NAN,
        .precision_estimate = (double)NAN,
        .observed = finding->observed,
        .expected = finding->expected,
        .expected_low = finding->expected_low,
        .unit = finding->unit,
        .window_ms = finding->window_ms,
        .p_value = finding->p_value,
        .counterfactual = finding->counterfactual[0] == '\0' ? UPT_STR_NULL : upt_str_of(finding->counterfactual),
        .suggested_play = spec->play[0] == '\0' ? UPT_STR_NULL : upt_str_of(spec->play),
        .model_version = upt_str_of(d->score->model->version),
        .config_hash = upt_str_of(d->score->config_hash),
        .partition = upt_state_partition(d->st),
        .pos = upt_state_pos(d->st),
    };
    put_account(d, &alert);
    alert.factors_n = upt_factors(d->score->model, d->eval, alert.factors, text);
    alert_id(alert.account, alert.rule, alert.subject, slot->opened_min, alert.alert_id);
    upt_assert(slot->revision < UINT16_MAX); /* one a day: 179 years */
    slot->revision++;
    slot->changed_min = minute_of(d->now);
    slot->risk_e4 = d->eval->has_key ? (uint16_t)((d->eval->risk_micro[0] + 50) / 100) : UPT_NULL_U16;
    slot->health_e2 = d->ext->score == UPT_NULL_U32 ? UPT_NULL_U16 : (uint16_t)((d->ext->score + 5000) / 10000);
    if (d->score->sink.alert != NULL) {
        d->score->sink.alert(d->score->sink.ctx, &alert);
    }
}

void
upt_alert_id_of(const struct upt_account *acct, const struct upt_slot *slot, int rule, char ret[33])
{
    alert_id(upt_account_id(acct), upt_str_of(upt_rule_names[rule]), UPT_STR_NULL, slot->opened_min, ret);
}

void
upt_alert_complete(struct upt_decision *d, const char *rule, struct upt_str subject, struct upt_str play)
{
    char text[UPT_FACTORS_MAX][200];
    struct upt_finding none = upt_finding_none();
    uint32_t minute = minute_of(d->now);
    struct upt_alert alert = {
        .rule = upt_str_of(rule),
        .rule_version = 1,
        .severity = UPT_INFO,
        .subject = subject,
        .opened_at = (int64_t)minute * UPT_MINUTE_MS,
        .changed_at = d->now,
        .condition_since = (int64_t)minute * UPT_MINUTE_MS,
        .expected_lead_days = (double)NAN,
        .precision_estimate = (double)NAN,
        .observed = none.observed,
        .expected = none.expected,
        .expected_low = none.expected_low,
        .window_ms = none.window_ms,
        .p_value = none.p_value,
        .suggested_play = play,
        .model_version = upt_str_of(d->score->model->version),
        .config_hash = upt_str_of(d->score->config_hash),
        .partition = upt_state_partition(d->st),
        .pos = upt_state_pos(d->st),
    };
    put_account(d, &alert);
    alert.factors_n = upt_factors(d->score->model, d->eval, alert.factors, text);
    alert_id(alert.account, alert.rule, alert.subject, minute, alert.alert_id);
    for (int i = 0; i < 2 && d->score->sink.alert != NULL; i++) {
        alert.revision = i;
        alert.action = i == 0 ? UPT_OPEN : UPT_RESOLVE;
        alert.previous_severity = i == 0 ? -1 : UPT_INFO;
        d->score->sink.alert(d->score->sink.ctx, &alert);
    }
}

bool
upt_alert_may_open(const struct upt_decision *d, int rule)
{
    const struct upt_slot *slot = &d->ext->slot[rule];
    const struct upt_rule *spec = &d->score->rules->rule[rule];
    if (!spec->enabled || slot->state == UPT_SLOT_OPEN || d->ext->churned_min > d->ext->renewed_min) {
        return false;
    }
    return slot->state == UPT_SLOT_NEVER || d->now >= (int64_t)slot->changed_min * UPT_MINUTE_MS + spec->cool_down_ms;
}

void
upt_alert_open(struct upt_decision *d, int rule, int severity, int64_t since_ms, const struct upt_finding *finding)
{
    struct upt_slot *slot = &d->ext->slot[rule];
    upt_assert(slot->state != UPT_SLOT_OPEN);
    *slot = (struct upt_slot){
        .opened_min = minute_of(d->now),
        .since_min = minute_of(since_ms < d->now ? since_ms : d->now),
        .state = UPT_SLOT_OPEN,
        .severity = (uint8_t)severity,
    };
    emit(d, rule, UPT_OPEN, -1, finding);
    upt_account_touch(d->st, d->acct, 1);
}

static bool
moved(const struct upt_decision *d, const struct upt_slot *slot)
{
    const struct upt_rules *rules = d->score->rules;
    bool risk = d->eval->has_key && slot->risk_e4 != UPT_NULL_U16 &&
                upt_round6(fabs(d->eval->risk_micro[0] / 1e6 - slot->risk_e4 / 1e4)) >= rules->update_risk;
    bool health = d->ext->score != UPT_NULL_U32 && slot->health_e2 != UPT_NULL_U16 &&
                  upt_round6(fabs(d->ext->score / 1e6 - slot->health_e2 / 1e2)) >= rules->update_score;
    return risk || health;
}

bool
upt_alert_moves(const struct upt_decision *d, int rule, int severity)
{
    const struct upt_slot *slot = &d->ext->slot[rule];
    upt_assert(slot->state == UPT_SLOT_OPEN);
    if (upt_control_snoozed(slot, d->now) || (slot->control & UPT_CONTROL_HELD) != 0) {
        return false;
    }
    return severity != slot->severity ||
           (moved(d, slot) && d->now - (int64_t)slot->changed_min * UPT_MINUTE_MS >= UPT_DAY_MS);
}

void
upt_alert_move(struct upt_decision *d, int rule, int severity, const struct upt_finding *finding)
{
    struct upt_slot *slot = &d->ext->slot[rule];
    int previous = slot->severity;
    slot->severity = (uint8_t)severity;
    emit(d, rule,
         severity == previous  ? UPT_UPDATE
         : severity > previous ? UPT_ESCALATE
                               : UPT_DEESCALATE,
         previous, finding);
}

void
upt_alert_close(struct upt_decision *d, int rule, upt_action action, const struct upt_finding *finding)
{
    struct upt_slot *slot = &d->ext->slot[rule];
    upt_assert(slot->state == UPT_SLOT_OPEN && (action == UPT_RESOLVE || action == UPT_EXPIRE));
    if (action == UPT_RESOLVE && upt_control_snoozed(slot, d->now)) {
        slot->control |= UPT_CONTROL_HELD; /* no record of it before the snooze ends */
        return;
    }
    emit(d, rule, action, slot->severity, finding);
    slot->state = UPT_SLOT_CLOSED;
    slot->control = 0;
    slot->snooze_min = 0;
    slot->on_n = slot->off_n = 0;
    upt_account_touch(d->st, d->acct, -1);
}
