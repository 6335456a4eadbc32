/* What the cap on notifications holds back: marked with the account, so that whatever leaves meanwhile can name it.
 *
 * The cap is there so that nobody is pestered; that is no reason to keep silent where something is said anyway. A mark
 * is of the rule's last word: set where the alert would have opened, taken away where it would not. It decides nothing.
 * The lane's thread. Invariant: an open alert has no mark. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "decide.h"
#include "uptake/config.h"
#include "uptake/time.h"

void
upt_alert_hold_back(struct upt_decision *d, int rule, uint32_t subject, int severity)
{
    struct upt_slots *slots = &d->ext->signals.slots;
    struct upt_slot *slot = upt_slot_make(d->st, slots, rule, subject);
    if (slot == NULL || slot->state == UPT_SLOT_OPEN) {
        return;
    }
    if ((slot->flags & UPT_SLOT_CAPPED) == 0) {
        slot->flags |= UPT_SLOT_CAPPED;
        slot->since_min = (uint32_t)upt_floor_div(d->now, UPT_MINUTE_MS);
        upt_account_touch(d->st, d->acct, 0);
    }
    slot->severity = (uint8_t)severity;
    slots->silence_open |= rule == UPT_RULE_SILENCE;
}

void
upt_alert_let_go(struct upt_decision *d, int rule, uint32_t subject)
{
    struct upt_slots *slots = &d->ext->signals.slots;
    struct upt_slot *slot = upt_slot_find(slots, rule, subject);
    if (slot == NULL || (slot->flags & UPT_SLOT_CAPPED) == 0) {
        return;
    }
    slot->flags &= (uint8_t)~UPT_SLOT_CAPPED;
    slots->silence_open &= rule != UPT_RULE_SILENCE;
    if (slot->state == UPT_SLOT_PENDING && slot->on_n == 0) { /* there for its mark alone */
        upt_slot_drop(slots, slot);
    }
}

bool
upt_alert_held_back(const struct upt_decision *d, const struct upt_slot *slot)
{
    return slot->state != UPT_SLOT_OPEN && (slot->flags & UPT_SLOT_CAPPED) != 0 &&
           d->score->rules->rule[slot->rule].enabled && d->ext->churned_min <= d->ext->renewed_min;
}

/* "3 notifications in 7 days" */
static void
say_cap(const struct upt_rules *rules, char *buf, size_t cap)
{
    char within[32];
    long long days = rules->cap_ms / UPT_DAY_MS;
    if (rules->cap_ms % UPT_DAY_MS == 0) {
        (void)snprintf(within, sizeof(within), "%lld day%s", days, upt_plural((double)days));
    } else {
        upt_format_duration(rules->cap_ms, within);
    }
    (void)snprintf(buf, cap, "%d notification%s in %s", (int)rules->cap_n, upt_plural(rules->cap_n), within);
}

int
upt_factor_held_back(const struct upt_decision *d, struct upt_factor *ret, char text[200])
{
    unsigned of_rule[UPT_RULES] = {0};
    unsigned left = 0;
    char most[64];
    for (unsigned i = 0; i < d->ext->signals.slots.n; i++) {
        const struct upt_slot *slot = &d->ext->signals.slots.v[i];
        if (upt_alert_held_back(d, slot)) {
            of_rule[slot->rule]++;
            left++;
        }
    }
    if (left == 0) {
        return 0;
    }
    *ret = (struct upt_factor){
        .name = UPT_STR("held_back"), .value = left, .baseline = (double)NAN, .text = {.p = text, .len = 0}};
    say_cap(d->score->rules, most, sizeof(most));
    int len = snprintf(text, 200, "Held back meanwhile (at most %s):", most);
    for (int rule = 0; rule < UPT_RULES && left > 0; rule++) {
        char name[48];
        if (of_rule[rule] == 0) {
            continue;
        }
        (void)snprintf(name, sizeof(name), of_rule[rule] > 1 ? " %s (%u of them)," : " %s,", upt_rule_names[rule],
                       of_rule[rule]);
        if (len + (int)strlen(name) + (int)sizeof(" and 64 more.") > 200) {
            break;
        }
        len += snprintf(text + len, 200 - (size_t)len, "%s", name);
        left -= of_rule[rule];
    }
    if (left > 0) {
        len += snprintf(text + len, 200 - (size_t)len, " and %u more,", left);
    }
    text[len - 1] = '.';
    ret->text.len = (uint32_t)len;
    return 1;
}

void
upt_held_back_say(const struct upt_decision *d, const struct upt_slot *slot, char *buf, size_t cap)
{
    char most[64];
    char from[32];
    int64_t room = upt_alert_room(d, slot->severity);
    bool news = slot->severity == UPT_INFO && d->score->rules->cap_n > 1;
    say_cap(d->score->rules, most, sizeof(most));
    int len = snprintf(buf, cap, "Held back: at most %s%s.", most, news ? ", one of them kept for what is urgent" : "");
    if (room > d->now) {
        upt_format_time(room, from);
        (void)snprintf(buf + len, cap - (size_t)len, " There is room for it from %.10s %.5s UTC on.", from, from + 11);
    } else {
        (void)snprintf(buf + len, cap - (size_t)len,
                       " There is room now: it opens when it is judged next, if it holds.");
    }
}
