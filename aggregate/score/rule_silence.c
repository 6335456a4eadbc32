/* SILENCE: the probability that the account is gone for good, given how long it has been silent and how it used to come
 * back, has reached a level.
 *
 * It must fire when nothing arrives, so the minute at which each level is reached is worked out ahead: the probability
 * rises with silence and depends on nothing else that moves meanwhile, so bisection over whole minutes finds it. The
 * timer is set when a new active day changes the gaps, and lazily: events of the same day only move the deadline on,
 * and the timer, when it runs early, sets itself again. Any key event that moves the latest one on closes the alert
 * there and then. The lane's thread. */
#include <math.h>
#include <stdio.h>

#include "decide.h"
#include "uptake/time.h"
#include "uptake/units.h"

static bool
judged(const struct upt_decision *d, const struct upt_activity *act)
{
    return act->days_ever >= d->score->rules->silence_min_active_days;
}

/* The first whole minute at which the silence has lasted so many minutes. */
static int64_t
tick_of(const struct upt_score_ext *ext, int64_t minutes)
{
    return -upt_floor_div(-ext->last_key_ms, UPT_MINUTE_MS) * UPT_MINUTE_MS + minutes * UPT_MINUTE_MS;
}

/* Highest severity reached by now and since when (its lowest level, if it opens now). UPT_OFF: none. */
static int
reached(const struct upt_decision *d, const struct upt_activity *act, int64_t *ret_since)
{
    int severity = UPT_OFF;
    int64_t silent = (d->now - tick_of(d->ext, 0)) / UPT_MINUTE_MS;
    double risk = silent > 0 ? upt_silence_risk(d->score->model, act, silent) : 0;
    for (int s = UPT_INFO; s <= UPT_CRITICAL; s++) {
        double level = d->score->rules->silence_level[s];
        if (risk < level) {
            continue; /* nearly always: the search below is for the minute at which it was reached */
        }
        int64_t minutes = level <= 1 ? upt_silence_minutes(d->score->model, act, level) : -1;
        if (minutes >= 0 && tick_of(d->ext, minutes) <= d->now) {
            if (severity == UPT_OFF) {
                *ret_since = tick_of(d->ext, minutes);
            }
            severity = s;
        }
    }
    return severity;
}

static struct upt_finding
find(const struct upt_activity *act, int64_t from, int64_t to)
{
    struct upt_finding finding = upt_finding_none();
    int64_t silent_ms = to > from ? to - from : 0;
    double days = upt_round6((double)silent_ms / (double)UPT_DAY_MS);
    double p99 = upt_gap_p99(act);
    finding.observed = days;
    finding.expected = upt_round6(exp(act->gap_mean));
    finding.unit = UPT_STR("days silent");
    finding.window_ms = silent_ms;
    (void)snprintf(
        finding.counterfactual, sizeof(finding.counterfactual),
        "One use of a feature or one value event closes it; %.1f days of silence are %s (99%% of gaps: %.1f days).",
        days, days > p99 ? "unusual for them" : "still within what is usual for them", p99);
    return finding;
}

void
upt_rule_silence_arm(struct upt_decision *d)
{
    const struct upt_slot *slot = upt_slot_find(&d->ext->signals.slots, UPT_RULE_SILENCE, 0);
    const struct upt_rule *rule = &d->score->rules->rule[UPT_RULE_SILENCE];
    int64_t due = UPT_NO_CLOCK;
    struct upt_activity act;
    bool churned = d->ext->churned_min > d->ext->renewed_min;
    if (rule->enabled && d->ext->has_key && !churned) {
        upt_activity_read(d->score->model, d->ext, upt_floor_div(d->now, UPT_DAY_MS), &act);
        /* One that ended while it was snoozed comes back at its lowest level. */
        bool open = slot != NULL && slot->state == UPT_SLOT_OPEN && (slot->flags & UPT_SLOT_HELD) == 0;
        for (int s = open ? slot->severity + 1 : UPT_INFO; judged(d, &act) && s <= UPT_CRITICAL; s++) {
            double level = d->score->rules->silence_level[s];
            int64_t minutes = level <= 1 ? upt_silence_minutes(d->score->model, &act, level) : -1;
            if (minutes >= 0) {
                due = tick_of(d->ext, minutes);
                break;
            }
        }
        if (due != UPT_NO_CLOCK && slot != NULL && slot->state == UPT_SLOT_CLOSED) {
            int64_t cool = (int64_t)slot->changed_min * UPT_MINUTE_MS + rule->cool_down_ms;
            cool = -upt_floor_div(-cool, UPT_MINUTE_MS) * UPT_MINUTE_MS;
            due = due > cool ? due : cool;
        }
        if (due != UPT_NO_CLOCK && open && due < (int64_t)slot->snooze_min * UPT_MINUTE_MS) {
            due = (int64_t)slot->snooze_min * UPT_MINUTE_MS;
        }
        int64_t next = (upt_floor_div(d->now, UPT_MINUTE_MS) + 1) * UPT_MINUTE_MS;
        due = due == UPT_NO_CLOCK || due > next ? due : next;
    }
    int64_t wake = upt_wake_due(d->ext, d->now);
    due = wake != UPT_NO_CLOCK && (due == UPT_NO_CLOCK || wake < due) ? wake : due;
    if (upt_account_timer(d->acct) != due) {
        upt_account_set_timer(d->st, d->acct, due);
    }
}

/* False: it would have opened, but was held back; the next daily evaluation asks again. */
static bool
judge(struct upt_decision *d)
{
    struct upt_slot *slot = upt_alert_is_open(d->ext, UPT_RULE_SILENCE, 0);
    const struct upt_activity *act = &d->eval->act;
    int64_t since = d->now;
    int severity = d->eval->has_key && judged(d, act) ? reached(d, act, &since) : UPT_OFF;
    if (slot != NULL) {
        if (severity != UPT_OFF && (slot->flags & UPT_SLOT_HELD) != 0) { /* silent again */
            slot->flags &= (uint8_t)~UPT_SLOT_HELD;
            d->ext->signals.slots.silence_open = 1;
        }
        /* A late event may have changed the gaps; that is no sign of life, so the severity does not fall. */
        severity = severity > slot->severity ? severity : slot->severity;
        if (upt_alert_moves(d, slot, severity)) {
            struct upt_finding finding = find(act, d->ext->last_key_ms, d->now);
            upt_alert_move(d, slot, severity, &finding);
        }
    } else if (severity != UPT_OFF && upt_alert_may_open(d, UPT_RULE_SILENCE, 0)) {
        if (upt_alert_capped(d, severity) || upt_fleet_holds(d->score, d->now)) {
            if (upt_fleet_holds(d->score, d->now)) {
                upt_alert_let_go(d, UPT_RULE_SILENCE, 0);
            } else {
                upt_alert_hold_back(d, UPT_RULE_SILENCE, 0, severity);
            }
            return false;
        }
        struct upt_finding finding = find(act, d->ext->last_key_ms, d->now);
        (void)upt_alert_open(d, UPT_RULE_SILENCE, 0, severity, since, &finding);
    } else {
        upt_alert_let_go(d, UPT_RULE_SILENCE, 0);
    }
    return true;
}

void
upt_rule_silence_timer(struct upt_decision *d)
{
    if (judge(d)) {
        upt_rule_silence_arm(d);
    } else if (upt_account_timer(d->acct) != UPT_NO_CLOCK) {
        upt_account_set_timer(d->st, d->acct, UPT_NO_CLOCK);
    }
}

/* The timer that is set stands: whatever moves the deadline sets it anew. But one that is there to wake the account for
 * something else may have been set while this was held back. */
void
upt_rule_silence_daily(struct upt_decision *d)
{
    bool held = !judge(d);
    int64_t timer = upt_account_timer(d->acct);
    if (held && timer != UPT_NO_CLOCK) {
        upt_account_set_timer(d->st, d->acct, UPT_NO_CLOCK);
    } else if (!held && (timer == UPT_NO_CLOCK || timer == upt_wake_due(d->ext, d->now))) {
        upt_rule_silence_arm(d);
    }
}

void
upt_rule_silence_key_event(struct upt_decision *d, int64_t silent_since)
{
    struct upt_slot *slot = upt_alert_is_open(d->ext, UPT_RULE_SILENCE, 0);
    if (slot != NULL) {
        struct upt_finding finding = find(&d->eval->act, silent_since, d->ext->last_key_ms);
        finding.counterfactual[0] = '\0';
        upt_alert_close(d, slot, UPT_RESOLVE, &finding);
    } else {
        upt_alert_let_go(d, UPT_RULE_SILENCE, 0);
    }
}
