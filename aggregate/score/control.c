/* What people say of alerts, in records of kind OTHER on the input topic: acknowledge, snooze, close.
 *
 * Through the log and not around it, so that every replay hears it at the same place. Such a record counts as no usage,
 * and one that names no open alert of its account, or says nothing that is known, has no effect. The lane's thread.
 * Invariants: a snoozed alert has no record but EXPIRE until the snooze ends or somebody closes it; one that ended
 * meanwhile gets its RESOLVE then, unless what it tells of
 * has come back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "decide.h"
#include "uptake/time.h"

#define SNOOZE_MAX_MS (366 * UPT_DAY_MS)
#define REASON_MAX 120 /* bytes of what is said; of who said it: */
#define BY_MAX 40

bool
upt_control_snoozed(const struct upt_slot *slot, int64_t now)
{
    return slot->snooze_min != 0 && now < (int64_t)slot->snooze_min * UPT_MINUTE_MS;
}

/* ---- the account's timer ---- */

static void
sooner(int64_t *inout, uint32_t minute, int64_t now)
{
    int64_t tick = (int64_t)minute * UPT_MINUTE_MS;
    if (minute != 0 && tick > now && (*inout == UPT_NO_CLOCK || tick < *inout)) {
        *inout = tick;
    }
}

int64_t
upt_wake_due(const struct upt_score_ext *ext, int64_t now)
{
    int64_t due = UPT_NO_CLOCK;
    sooner(&due, ext->segment.wake_min, now);
    for (unsigned i = 0; i < ext->signals.slots.n; i++) {
        if (ext->signals.slots.v[i].state == UPT_SLOT_OPEN) {
            sooner(&due, ext->signals.slots.v[i].snooze_min, now);
        }
    }
    return due;
}

void
upt_wake_arm(struct upt_decision *d)
{
    int64_t due = upt_wake_due(d->ext, d->now);
    int64_t timer = upt_account_timer(d->acct);
    if (due != UPT_NO_CLOCK && (timer == UPT_NO_CLOCK || due < timer)) {
        upt_account_set_timer(d->st, d->acct, due);
    }
}

void
upt_control_settle(struct upt_decision *d)
{
    for (unsigned i = 0; i < d->ext->signals.slots.n; i++) {
        struct upt_slot *slot = &d->ext->signals.slots.v[i];
        if (slot->state != UPT_SLOT_OPEN || slot->snooze_min == 0 || upt_control_snoozed(slot, d->now)) {
            continue;
        }
        slot->snooze_min = 0;
        if (slot->high_min != 0) {
            slot->high_min = (uint32_t)upt_floor_div(d->now, UPT_MINUTE_MS); /* it was in hand until now */
        }
        upt_account_touch(d->st, d->acct, 0);
        if ((slot->flags & UPT_SLOT_HELD) != 0) {
            struct upt_finding finding = upt_finding_none();
            (void)snprintf(finding.counterfactual, sizeof(finding.counterfactual), "Ended while it was snoozed.");
            upt_alert_close(d, slot, UPT_RESOLVE, &finding);
        }
    }
}

/* ---- records ---- */

struct order {
    struct upt_str verb, alert, until, reason, by;
};

static bool
read_order(const struct upt_event *ev, struct order *ret)
{
    struct upt_str name;
    struct upt_str value;
    *ret = (struct order){.verb = UPT_STR_NULL};
    for (struct upt_props_cur cur = upt_props_begin(ev->properties); upt_props_next(&cur, &name, &value);) {
        if (upt_str_eq(name, UPT_STR("uptake.control"))) {
            ret->verb = value;
        } else if (upt_str_eq(name, UPT_STR("uptake.alert"))) {
            ret->alert = value;
        } else if (upt_str_eq(name, UPT_STR("uptake.until"))) {
            ret->until = value;
        } else if (upt_str_eq(name, UPT_STR("uptake.reason"))) {
            ret->reason = value;
        } else if (upt_str_eq(name, UPT_STR("uptake.by"))) {
            ret->by = value;
        }
    }
    return ret->verb.p != NULL && ret->alert.p != NULL;
}

/* The open alert that has this id, or NULL. */
static struct upt_slot *
find(const struct upt_decision *d, struct upt_str id)
{
    char is[33];
    for (unsigned i = 0; i < d->ext->signals.slots.n; i++) {
        struct upt_slot *slot = &d->ext->signals.slots.v[i];
        if (slot->state == UPT_SLOT_OPEN) {
            upt_alert_id_of(d, slot, is);
            if (upt_str_eq(id, upt_str_of(is))) {
                return slot;
            }
        }
    }
    return NULL;
}

static void
close_alert(struct upt_decision *d, struct upt_slot *slot, const struct order *order)
{
    struct upt_eval eval;
    struct upt_facts facts;
    struct upt_finding finding = upt_finding_none();
    int by = upt_fitting(order->by, BY_MAX);
    int reason = upt_fitting(order->reason, REASON_MAX);
    (void)snprintf(finding.counterfactual, sizeof(finding.counterfactual), "Closed by hand%s%.*s%s%.*s",
                   by > 0 ? " by " : "", by, by > 0 ? order->by.p : "", reason > 0 ? ": " : ".", reason,
                   reason > 0 ? order->reason.p : "");
    upt_evaluate(d->score->model, d->st, d->acct, d->ext, &eval);
    upt_parts_add(d, &eval, &facts);
    d->eval = &eval;
    slot->snooze_min = 0; /* to close it is to say so now */
    upt_alert_close(d, slot, UPT_RESOLVE, &finding);
    d->eval = NULL;
}

/* Milliseconds or a date or time; at most a year ahead. At or before the clock: not any more. */
static void
snooze(struct upt_decision *d, struct upt_slot *slot, struct upt_str until)
{
    int64_t ms = 0;
    char text[24] = "";
    if (until.p == NULL || until.len == 0 || until.len >= sizeof(text) + 8) {
        return;
    }
    if (!upt_parse_time(until.p, until.len, &ms)) {
        if (until.len >= sizeof(text)) {
            return;
        }
        memcpy(text, until.p, until.len);
        char *end = NULL;
        errno = 0;
        ms = strtoll(text, &end, 10);
        if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0) {
            return;
        }
    }
    ms = ms < d->now + SNOOZE_MAX_MS ? ms : d->now + SNOOZE_MAX_MS;
    /* In the past: until the next tick, where what was held back is told. */
    ms = ms > d->now ? ms : d->now + 1;
    slot->snooze_min = (uint32_t)-upt_floor_div(-ms, UPT_MINUTE_MS);
    upt_account_touch(d->st, d->acct, 0);
}

void
upt_control_event(struct upt_decision *d, const struct upt_event *ev)
{
    struct order order;
    struct upt_slot *slot = ev->properties.raw.len > 0 && read_order(ev, &order) ? find(d, order.alert) : NULL;
    if (slot == NULL) {
        return;
    }
    if (upt_str_eq(order.verb, UPT_STR("ack"))) {
        slot->flags |= UPT_SLOT_ACKED;
        upt_account_touch(d->st, d->acct, 0);
    } else if (upt_str_eq(order.verb, UPT_STR("snooze"))) {
        snooze(d, slot, order.until);
        upt_rule_silence_arm(d);
    } else if (upt_str_eq(order.verb, UPT_STR("close"))) {
        close_alert(d, slot, &order);
        upt_rule_silence_arm(d);
    }
}

struct upt_str
upt_control_list(const struct upt_decision *d, char *buf)
{
    size_t len = 0;
    for (unsigned i = 0; i < d->ext->signals.slots.n; i++) {
        const struct upt_slot *slot = &d->ext->signals.slots.v[i];
        char id[33];
        bool acked = (slot->flags & UPT_SLOT_ACKED) != 0;
        bool snoozed = slot->snooze_min != 0;
        if (slot->state != UPT_SLOT_OPEN || (!snoozed && !acked)) {
            continue;
        }
        upt_alert_id_of(d, slot, id);
        int n = snprintf(buf + len, UPT_CONTROLLED_MAX - len, "%s%s%s", len > 0 ? "," : "", id, acked ? ":ack" : "");
        len += (size_t)n;
        if (snoozed) {
            n = snprintf(buf + len, UPT_CONTROLLED_MAX - len, ":snooze:%lld",
                         (long long)slot->snooze_min * UPT_MINUTE_MS);
            len += (size_t)n;
        }
    }
    return len > 0 ? (struct upt_str){.p = buf, .len = (uint32_t)len} : UPT_STR_NULL;
}
