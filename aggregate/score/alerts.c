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

static void
clear(struct upt_finding *finding)
{
    finding->observed = finding->expected = finding->expected_low = finding->p_value = (double)NAN;
    finding->unit = UPT_STR_NULL;
    finding->window_ms = -1;
    finding->counterfactual[0] = '\0';
}

struct upt_finding
upt_finding_none(void)
{
    struct upt_finding finding;
    clear(&finding);
    return finding;
}

/* Twenty an evaluation: the room for a text is not cleared. */
struct upt_verdict
upt_verdict_of(enum upt_verdict_kind kind)
{
    struct upt_verdict v;
    v.kind = kind;
    v.severity = UPT_INFO;
    v.since_ms = 0;
    v.quick = false;
    v.waits = false;
    clear(&v.finding);
    return v;
}

uint32_t
upt_open_alerts(const struct upt_score_ext *ext)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < ext->signals.slots.n; i++) {
        n += ext->signals.slots.v[i].state == UPT_SLOT_OPEN ? 1 : 0;
    }
    return n;
}

struct upt_slot *
upt_alert_is_open(const struct upt_score_ext *ext, int rule, uint32_t subject)
{
    struct upt_slot *slot = upt_slot_find(&ext->signals.slots, rule, subject);
    return slot != NULL && slot->state == UPT_SLOT_OPEN ? slot : NULL;
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
void
upt_alert_id(struct upt_str account, struct upt_str rule, struct upt_str subject, uint32_t opened_min, char ret[33])
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
    alert->churn_probability = d->eval->has_key ? d->eval->risk_micro[0] / 1e6 : (double)NAN;
    alert->horizon_days = d->eval->has_key ? upt_horizon_days[0] : -1;
    alert->confidence = d->eval->confidence_micro / 1e6;
    int64_t renewal = 0;
    if (upt_trait_day(d->acct, "renewal_date", &renewal)) {
        alert->has_days_to_renewal = true;
        alert->days_to_renewal = (int32_t)(renewal - d->eval->today);
    }
}

struct upt_str
upt_alert_subject(const struct upt_decision *d, const struct upt_slot *slot, char buf[32])
{
    const struct upt_signals *signals = &d->ext->signals;
    switch (slot->rule) {
    case UPT_RULE_FEATURE_ABANDONED:
        return upt_state_feature_name(d->st, slot->subject);
    case UPT_RULE_RELEASE_UNUSED:
        for (int i = 0; signals->relation != NULL && i < signals->relation->releases_n; i++) {
            const struct upt_release *release = &signals->relation->releases[i];
            if (release->name_hash == slot->subject) {
                return (struct upt_str){.p = release->name, .len = release->len};
            }
        }
        return UPT_STR_NULL;
    case UPT_RULE_CHAMPION_SILENT:
        if (signals->habits->name != NULL) {
            return (struct upt_str){.p = signals->habits->name + 1, .len = (unsigned char)signals->habits->name[0]};
        }
        (void)snprintf(buf, 32, "user #%016llx", (unsigned long long)signals->habits->champion);
        return upt_str_of(buf);
    case UPT_RULE_SENTIMENT:
        return slot->subject == 0 ? UPT_STR("answers are bad") : UPT_STR("answers hide falling use");
    case UPT_RULE_POSITIVE:
        return slot->subject == 0 ? UPT_STR_NULL : UPT_STR("a release tried early");
    case UPT_RULE_TTV_LATE:
        return slot->subject == 0 ? UPT_STR_NULL : UPT_STR("goals past their date");
    case UPT_RULE_CONTACT_GAP:
        return slot->subject == 0 ? UPT_STR_NULL : UPT_STR("follow-up");
    default:
        return UPT_STR_NULL;
    }
}

struct upt_str
upt_alert_play(const struct upt_decision *d, const struct upt_slot *slot)
{
    const struct upt_rule *rule = &d->score->rules->rule[slot->rule];
    bool two = slot->rule == UPT_RULE_SENTIMENT || slot->rule == UPT_RULE_CONTACT_GAP ||
               slot->rule == UPT_RULE_TTV_LATE || slot->rule == UPT_RULE_POSITIVE;
    const char *play = two && slot->subject != 0 ? rule->other_play : rule->play;
    return play[0] == '\0' ? UPT_STR_NULL : upt_str_of(play);
}

static void
emit(struct upt_decision *d, struct upt_slot *slot, upt_action action, int previous, const struct upt_finding *finding)
{
    int rule = slot->rule;
    char subject[32];
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
        .observed = finding->observed,
        .expected = finding->expected,
        .expected_low = finding->expected_low,
        .unit = finding->unit,
        .window_ms = finding->window_ms,
        .p_value = finding->p_value,
        .counterfactual = finding->counterfactual[0] == '\0' ? UPT_STR_NULL : upt_str_of(finding->counterfactual),
        .suggested_play = upt_alert_play(d, slot),
        .model_version = upt_str_of(d->score->model->version),
        .config_hash = upt_str_of(d->score->config_hash),
        .partition = upt_state_partition(d->st),
        .pos = upt_state_pos(d->st),
    };
    put_account(d, &alert);
    upt_opening_estimate(d->score, rule, &alert.precision_estimate, &alert.expected_lead_days);
    alert.subject = upt_alert_subject(d, slot, subject);
    int n = upt_factors(d->score->model, d->eval, alert.factors, text);
    alert.factors_n = n + upt_factor_held_back(d, &alert.factors[n], text[n]);
    upt_alert_id(alert.account, alert.rule, alert.subject, slot->opened_min, alert.alert_id);
    upt_assert(slot->revision < UINT16_MAX); /* one a day: 179 years */
    slot->revision++;
    slot->changed_min = minute_of(d->now + UPT_MINUTE_MS - 1); /* what counts from it is never early */
    slot->risk_e4 = d->eval->has_key ? (uint16_t)((d->eval->risk_micro[0] + 50) / 100) : UPT_NULL_U16;
    slot->health_e2 = d->ext->score == UPT_NULL_U32 ? UPT_NULL_U16 : (uint16_t)((d->ext->score + 5000) / 10000);
    if (d->score->sink.alert != NULL) {
        d->score->sink.alert(d->score->sink.ctx, &alert);
    }
}

void
upt_alert_id_of(const struct upt_decision *d, const struct upt_slot *slot, char ret[33])
{
    char subject[32];
    upt_alert_id(upt_account_id(d->acct), upt_str_of(upt_rule_names[slot->rule]), upt_alert_subject(d, slot, subject),
                 slot->opened_min, ret);
}

void
upt_alert_complete(struct upt_decision *d, int rule, struct upt_str subject, struct upt_str play)
{
    const struct upt_rule *spec = &d->score->rules->rule[rule];
    char text[UPT_FACTORS_MAX][200];
    struct upt_finding none = upt_finding_none();
    struct upt_alert alert = {
        .rule = upt_str_of(upt_rule_names[rule]),
        .rule_version = spec->version,
        .severity = UPT_INFO,
        .subject = subject,
        .opened_at = d->now,
        .changed_at = d->now,
        .condition_since = d->now,
        .expected_lead_days = (double)NAN,
        .precision_estimate = (double)NAN,
        .observed = none.observed,
        .expected = none.expected,
        .expected_low = none.expected_low,
        .window_ms = none.window_ms,
        .p_value = none.p_value,
        .suggested_play = play.len == 0 && spec->play[0] != '\0' ? upt_str_of(spec->play) : play,
        .model_version = upt_str_of(d->score->model->version),
        .config_hash = upt_str_of(d->score->config_hash),
        .partition = upt_state_partition(d->st),
        .pos = upt_state_pos(d->st),
    };
    put_account(d, &alert);
    alert.factors_n = upt_factors(d->score->model, d->eval, alert.factors, text);
    upt_alert_id(alert.account, alert.rule, alert.subject, minute_of(d->now), alert.alert_id);
    for (int i = 0; i < 2 && d->score->sink.alert != NULL; i++) {
        alert.revision = i;
        alert.action = i == 0 ? UPT_OPEN : UPT_RESOLVE;
        alert.previous_severity = i == 0 ? -1 : UPT_INFO;
        d->score->sink.alert(d->score->sink.ctx, &alert);
    }
}

bool
upt_alert_may_open(const struct upt_decision *d, int rule, uint32_t subject)
{
    const struct upt_slot *slot = upt_slot_find(&d->ext->signals.slots, rule, subject);
    const struct upt_rule *spec = &d->score->rules->rule[rule];
    if (!spec->enabled || (slot != NULL && slot->state == UPT_SLOT_OPEN) || d->ext->churned_min > d->ext->renewed_min) {
        return false;
    }
    return slot == NULL || slot->state == UPT_SLOT_PENDING ||
           d->now >= (int64_t)slot->changed_min * UPT_MINUTE_MS + spec->cool_down_ms;
}

int64_t
upt_alert_room(const struct upt_decision *d, int severity)
{
    const struct upt_rules *rules = d->score->rules;
    int kept_free = severity == UPT_INFO && rules->cap_n > 1 ? 1 : 0; /* news must not hold back what is urgent */
    uint32_t then = d->ext->signals.slots.notified[rules->cap_n - 1 - kept_free];
    return severity < UPT_CRITICAL && then != 0 ? (int64_t)then * UPT_MINUTE_MS + rules->cap_ms : d->now;
}

bool
upt_alert_capped(const struct upt_decision *d, int severity)
{
    return d->now < upt_alert_room(d, severity);
}

bool
upt_alert_open(struct upt_decision *d, int rule, uint32_t subject, int severity, int64_t since_ms,
               const struct upt_finding *finding)
{
    struct upt_slots *slots = &d->ext->signals.slots;
    struct upt_slot *slot = upt_slot_make(d->st, slots, rule, subject);
    if (slot == NULL) {
        return false;
    }
    upt_assert(slot->state != UPT_SLOT_OPEN && d->now % UPT_MINUTE_MS == 0); /* at a tick: its minute is all of it */
    *slot = (struct upt_slot){
        .opened_min = minute_of(d->now),
        .since_min = minute_of(since_ms < d->now ? since_ms : d->now),
        .high_min = severity >= UPT_HIGH ? minute_of(d->now) : 0,
        .rule = (uint8_t)rule,
        .subject = subject,
        .state = UPT_SLOT_OPEN,
        .severity = (uint8_t)severity,
    };
    slots->silence_open |= rule == UPT_RULE_SILENCE;
    slots->name_wanted &= rule != UPT_RULE_CHAMPION_SILENT;
    memmove(slots->notified + 1, slots->notified, sizeof(slots->notified) - sizeof(slots->notified[0]));
    slots->notified[0] = minute_of(d->now);
    emit(d, slot, UPT_OPEN, -1, finding);
    upt_opening_note(d, rule);
    upt_account_touch(d->st, d->acct, 1);
    return true;
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

/* Rules about the usage as a whole get UPDATE; of the others nobody needs to hear again that the risk has moved. */
static bool
updates(int rule)
{
    return rule <= UPT_RULE_RENEWAL_GAP;
}

bool
upt_alert_moves(const struct upt_decision *d, const struct upt_slot *slot, int severity)
{
    upt_assert(slot->state == UPT_SLOT_OPEN);
    if (upt_control_snoozed(slot, d->now) || (slot->flags & UPT_SLOT_HELD) != 0) {
        return false;
    }
    severity = (slot->flags & UPT_SLOT_OVERDUE) != 0 ? UPT_CRITICAL : severity;
    return severity != slot->severity ||
           (updates(slot->rule) && moved(d, slot) && d->now - (int64_t)slot->changed_min * UPT_MINUTE_MS >= UPT_DAY_MS);
}

void
upt_alert_move(struct upt_decision *d, struct upt_slot *slot, int severity, const struct upt_finding *finding)
{
    int previous = slot->severity;
    severity = (slot->flags & UPT_SLOT_OVERDUE) != 0 ? UPT_CRITICAL : severity;
    slot->severity = (uint8_t)severity;
    if (severity < UPT_HIGH || slot->high_min == 0) {
        slot->high_min = severity < UPT_HIGH ? 0 : minute_of(d->now);
    }
    emit(d, slot,
         severity == previous  ? UPT_UPDATE
         : severity > previous ? UPT_ESCALATE
                               : UPT_DEESCALATE,
         previous, finding);
}

void
upt_alert_close(struct upt_decision *d, struct upt_slot *slot, upt_action action, const struct upt_finding *finding)
{
    upt_assert(slot->state == UPT_SLOT_OPEN && (action == UPT_RESOLVE || action == UPT_EXPIRE));
    if (action == UPT_RESOLVE && upt_control_snoozed(slot, d->now)) {
        slot->flags |= UPT_SLOT_HELD; /* no record of it before the snooze ends */
        if (slot->rule == UPT_RULE_SILENCE) {
            d->ext->signals.slots.silence_open = 0; /* the silence is over: key events need not ask again */
        }
        return;
    }
    emit(d, slot, action, slot->severity, finding);
    slot->state = UPT_SLOT_CLOSED;
    slot->snooze_min = 0;
    slot->on_n = slot->off_n = 0;
    slot->flags = action == UPT_RESOLVE && slot->severity >= UPT_HIGH ? 0 : UPT_SLOT_FOLLOWED;
    if (slot->rule == UPT_RULE_SILENCE) {
        d->ext->signals.slots.silence_open = 0;
    }
    upt_account_touch(d->st, d->acct, -1);
}

void
upt_alert_expire_all(struct upt_decision *d)
{
    struct upt_finding none = upt_finding_none();
    for (unsigned i = 0; i < d->ext->signals.slots.n; i++) {
        if (d->ext->signals.slots.v[i].state == UPT_SLOT_OPEN) {
            upt_alert_close(d, &d->ext->signals.slots.v[i], UPT_EXPIRE, &none);
        }
    }
}

void
upt_alert_sweep(struct upt_decision *d)
{
    struct upt_slots *slots = &d->ext->signals.slots;
    const struct upt_rules *rules = d->score->rules;
    unsigned i = 0;
    while (i < slots->n) {
        struct upt_slot *slot = &slots->v[i];
        int64_t cool = rules->rule[slot->rule].cool_down_ms;
        /* A follow-up that is held back has as long again. */
        int64_t follow = 2 * rules->follow_up_ms + UPT_DAY_MS;
        bool awaits = (slot->flags & UPT_SLOT_FOLLOWED) == 0 && rules->follow_up_ms > 0;
        int64_t keep = awaits && cool < follow ? follow : cool;
        bool over = slot->state == UPT_SLOT_CLOSED && d->now >= (int64_t)slot->changed_min * UPT_MINUTE_MS + keep;
        if (over && !upt_alert_held_back(d, slot)) {
            upt_slot_drop(slots, slot);
            continue;
        }
        if (over) { /* about to open again */
            slot->state = UPT_SLOT_PENDING;
            slot->flags = UPT_SLOT_CAPPED;
        }
        i++;
    }
}
