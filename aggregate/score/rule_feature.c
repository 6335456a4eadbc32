/* Rules about features: one that was a habit and is used no more, none new for long, a release that nobody tries.
 *
 * The state knows on which of the last 30 days an account used each feature; habits count the weeks in which it was
 * used more than once (on two days or more). Subjects are features: at most four alerts of a rule at a time. Who is
 * marked as an early adopter has less time to try a release, and is asked about it. The lane's thread. */
#include <math.h>
#include <stdio.h>

#include "decide.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define SILENT_LONG 7 /* days: SILENCE speaks for the account as a whole */
#define WEEK 0x7Fu
#define EARLY 1       /* subject of POSITIVE */
#define EARLY_DAYS 14 /* after the first use of a release: it is still new to them */

static bool
account_lives(const struct upt_decision *d)
{
    return d->facts->silent >= 0 && d->facts->silent < SILENT_LONG;
}

/* Whole days without use before today; 29: none in the days that the state knows. */
static int
unused_days(uint32_t before)
{
    return before == 0 ? 29 : __builtin_ctz(before);
}

static void
judge_feature(struct upt_decision *d, size_t i)
{
    struct upt_habit_feature *f = &d->ext->signals.habits->feature[i];
    const double *p = d->score->rules->rule[UPT_RULE_FEATURE_ABANDONED].p;
    uint32_t id = upt_account_feature_id(d->acct, i);
    struct upt_slot *slot = upt_slot_find(&d->ext->signals.slots, UPT_RULE_FEATURE_ABANDONED, id);
    bool open = slot != NULL && slot->state == UPT_SLOT_OPEN;
    if (!open && f->held < p[UPT_P_ABANDONED_HELD]) {
        if (slot != NULL && slot->state == UPT_SLOT_PENDING) {
            upt_slot_drop(&d->ext->signals.slots, slot); /* it is no habit any more */
        }
        return;
    }
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    struct upt_str name;
    uint32_t days = 0;
    upt_account_feature(d->st, d->acct, i, &name, &days);
    uint32_t before = days >> 1;
    int unused = unused_days(before);
    double limit = fmin(28, fmax(p[UPT_P_ABANDONED_DAYS], ceil(upt_gap_p99(&d->eval->act))));
    if (open) {
        v.kind = (before & WEEK) != 0 && (before >> 7 & WEEK) != 0 ? UPT_V_OFF : UPT_V_HOLD;
    } else if (account_lives(d)) {
        v.kind = unused >= limit ? UPT_V_ON : UPT_V_OFF;
    }
    v.severity = UPT_WARNING;
    v.since_ms = d->now - unused * UPT_DAY_MS;
    v.finding.observed = unused;
    v.finding.expected = limit;
    v.finding.unit = UPT_STR("days unused");
    v.finding.window_ms = unused * UPT_DAY_MS;
    if (upt_verdict_speaks(d, UPT_RULE_FEATURE_ABANDONED, id, &v)) {
        (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                       "It was used more than once a week for %d weeks; use in two weeks in a row closes it.",
                       (int)f->held + 3);
    }
    upt_verdict_apply(d, UPT_RULE_FEATURE_ABANDONED, id, &v);
}

void
upt_rule_abandoned(struct upt_decision *d)
{
    for (size_t i = 0; d->eval->has_key && i < d->ext->signals.habits->feature_n; i++) {
        judge_feature(d, i);
    }
}

/* No new feature for long, and less breadth than its peers'. */
void
upt_rule_stall(struct upt_decision *d)
{
    const double *p = d->score->rules->rule[UPT_RULE_BREADTH_STALL].p;
    const struct upt_habits *h = d->ext->signals.habits;
    struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
    if (d->eval->has_key && d->eval->features_n > 0 && h->feature_day != UPT_NO_DAY && account_lives(d)) {
        double share = upt_round6(upt_percentile(d->score->model, UPT_C_BREADTH, d->eval->breadth));
        int64_t since = d->facts->today - h->feature_day;
        bool stalled = share < p[UPT_P_STALL_BELOW] && (double)since >= p[UPT_P_STALL_DAYS];
        v.kind = stalled ? UPT_V_ON : UPT_V_OFF;
        v.since_ms = d->now - since * UPT_DAY_MS;
        v.finding.observed = (double)d->eval->features_n;
        v.finding.expected = p[UPT_P_STALL_BELOW];
        v.finding.unit = UPT_STR("features ever used");
        v.finding.window_ms = since * UPT_DAY_MS;
        if (upt_verdict_speaks(d, UPT_RULE_BREADTH_STALL, 0, &v)) {
            (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                           "One feature that it has not used yet closes it; it is broader than %.0f%% of its peers.",
                           share * 100);
        }
    }
    upt_verdict_apply(d, UPT_RULE_BREADTH_STALL, 0, &v);
}

/* One release at a time is news: another is open, or in its cool-down. */
static bool
told_of_another(const struct upt_decision *d, uint32_t subject)
{
    const struct upt_slots *slots = &d->ext->signals.slots;
    bool told = false;
    for (unsigned i = 0; i < slots->n; i++) {
        const struct upt_slot *slot = &slots->v[i];
        told = told ||
               (slot->rule == UPT_RULE_RELEASE_UNUSED && slot->subject != subject && slot->state != UPT_SLOT_PENDING);
    }
    return told;
}

void
upt_rule_release(struct upt_decision *d)
{
    const struct upt_relation *r = d->ext->signals.relation;
    double days = d->score->rules->rule[UPT_RULE_RELEASE_UNUSED].p[UPT_P_RELEASE_DAYS] * (d->facts->early ? 0.5 : 1);
    for (int i = 0; r != NULL && i < r->releases_n; i++) {
        const struct upt_release *release = &r->releases[i];
        struct upt_verdict v = upt_verdict_of(UPT_V_UNKNOWN);
        int64_t since = d->facts->today - release->day;
        bool open = upt_alert_is_open(d->ext, UPT_RULE_RELEASE_UNUSED, release->name_hash) != NULL;
        if (upt_release_used_after(d->st, d->acct, release, d->facts->today) != UPT_NOT_USED) {
            v.kind = UPT_V_OFF;
        } else if (!open && (since >= (int64_t)days + 7 || told_of_another(d, release->name_hash))) {
            v.kind = UPT_V_OFF; /* old news: it leaves its place to others */
        } else if (open || account_lives(d)) {
            v.kind = (double)since >= days ? UPT_V_ON : UPT_V_OFF;
        }
        v.since_ms = release->day * UPT_DAY_MS;
        v.finding.observed = (double)since;
        v.finding.expected = days;
        v.finding.unit = UPT_STR("days since the release");
        v.finding.window_ms = since * UPT_DAY_MS;
        if (upt_verdict_speaks(d, UPT_RULE_RELEASE_UNUSED, release->name_hash, &v)) {
            (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                           "One use of the released feature closes it.");
        }
        upt_verdict_apply(d, UPT_RULE_RELEASE_UNUSED, release->name_hash, &v);
    }
}

/* News of an early adopter: of the releases that it has tried in the last days the newest. */
void
upt_rule_early(struct upt_decision *d)
{
    const struct upt_relation *r = d->ext->signals.relation;
    struct upt_verdict v = upt_verdict_of(UPT_V_OFF);
    const struct upt_release *tried = NULL;
    unsigned after = 0;
    for (int i = 0; d->facts->early && r != NULL && tried == NULL && i < r->releases_n; i++) {
        after = upt_release_used_after(d->st, d->acct, &r->releases[i], d->facts->today);
        bool lately = after != UPT_NOT_USED && d->facts->today - r->releases[i].day - (int64_t)after <= EARLY_DAYS;
        tried = lately ? &r->releases[i] : NULL;
    }
    if (tried != NULL) {
        v.kind = UPT_V_ON;
        v.since_ms = (tried->day + (int64_t)after) * UPT_DAY_MS;
        v.finding.observed = after;
        v.finding.unit = UPT_STR("days since the release");
    }
    if (tried != NULL && upt_verdict_speaks(d, UPT_RULE_POSITIVE, EARLY, &v)) {
        (void)snprintf(v.finding.counterfactual, sizeof(v.finding.counterfactual),
                       "It tried %.*s %u day%s after its release. News: it ends by itself.", (int)tried->len,
                       tried->name, after, upt_plural(after));
    }
    upt_verdict_apply(d, UPT_RULE_POSITIVE, EARLY, &v);
}
