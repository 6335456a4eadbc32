/* The lifecycle phase: the first of these that holds.
 *
 *   CHURNED     a CHURNED event, and no RENEWED at or after it
 *   DORMANT     key events once, none for 30 days and for longer than the account's own 99th percentile of gaps
 *   TRIAL       no RENEWED yet, and plan is trial or free, or (a proof of concept) poc, paid poc or evaluation, or
 *               contract_start lies ahead
 *   ONBOARDING  no RENEWED yet, and a step of the profile's onboarding_steps is not done; without that list: no VALUE
 *               event and fewer than 3 key-active days
 *   ADVOCACY    value realised, and an NPS answer of 9 or 10 in the last 180 days is the latest one
 *   VALUE       value realised: a VALUE event in the last 90 days
 *   USAGE       adopted: at least half of the users; where no user is named, at least the cohort's middle frequency
 *   ADOPTION    otherwise
 *
 * Plain rules rather than a fitted model: a phase is read by people and must be arguable with. */
#include <strings.h>

#include "decide.h"
#include "uptake/time.h"

#define PEAK_DAYS 7 /* a phase counts as reached after so many evaluations in a row */
#define DORMANT_DAYS 30
#define VALUE_DAYS 90
#define NPS_DAYS 180
#define ONBOARDED_ACTIVE_DAYS 3

bool
upt_trait_day(struct upt_account *acct, const char *name, int64_t *ret_day)
{
    struct upt_str v = upt_account_trait(acct, upt_str_of(name));
    return v.p != NULL && upt_parse_day(v.p, v.len, ret_day);
}

static bool
plan_is(struct upt_account *acct, const char *const *plans, size_t n)
{
    struct upt_str plan = upt_account_trait(acct, UPT_STR("plan"));
    for (size_t i = 0; plan.p != NULL && i < n; i++) {
        if (plan.len == strlen(plans[i]) && strncasecmp(plan.p, plans[i], plan.len) == 0) {
            return true;
        }
    }
    return false;
}

bool
upt_on_proof(struct upt_account *acct)
{
    static const char *const plans[] = {"poc", "paid poc", "paid_poc", "evaluation"};
    return plan_is(acct, plans, sizeof(plans) / sizeof(plans[0]));
}

static bool
on_trial(struct upt_account *acct, int64_t today)
{
    static const char *const plans[] = {"trial", "free"};
    int64_t start = 0;
    return upt_on_proof(acct) || plan_is(acct, plans, sizeof(plans) / sizeof(plans[0])) ||
           (upt_trait_day(acct, "contract_start", &start) && start > today);
}

bool
upt_steps_done(struct upt_account *acct, const struct upt_score_ext *ext)
{
    int done = 0;
    int listed = upt_steps_listed(ext, upt_account_trait(acct, UPT_STR("onboarding_steps")), &done);
    return listed > 0 && done == listed;
}

static bool
onboarding(struct upt_account *acct, const struct upt_score_ext *ext, const struct upt_eval *eval)
{
    int done = 0;
    int listed = upt_steps_listed(ext, upt_account_trait(acct, UPT_STR("onboarding_steps")), &done);
    if (listed > 0) {
        return done < listed;
    }
    return !ext->has_value && (!eval->has_key || eval->act.days_n < ONBOARDED_ACTIVE_DAYS);
}

static bool
adopted(const struct upt_model *model, struct upt_state *st, struct upt_account *acct, const struct upt_eval *eval)
{
    struct upt_account_users users = upt_account_users(st, acct);
    if (users.total > 0) {
        return users.adopted * 2 >= users.total;
    }
    return eval->has_key && upt_percentile(model, UPT_C_FREQUENCY_21D, eval->act.frequency_21) >= 0.5;
}

upt_phase
upt_phase_of(const struct upt_model *model, struct upt_state *st, struct upt_account *acct,
             const struct upt_score_ext *ext, const struct upt_eval *eval)
{
    int64_t minute = upt_floor_div(upt_state_clock(st), UPT_MINUTE_MS);
    if (ext->churned_min > ext->renewed_min) {
        return UPT_PHASE_CHURNED;
    }
    if (eval->has_key) {
        int64_t silent = eval->act.day - eval->act.last;
        if (silent >= DORMANT_DAYS && (double)silent > upt_gap_p99(&eval->act)) {
            return UPT_PHASE_DORMANT;
        }
    }
    if (ext->renewed_min == 0) {
        if (on_trial(acct, eval->today)) {
            return UPT_PHASE_TRIAL;
        }
        if (onboarding(acct, ext, eval)) {
            return UPT_PHASE_ONBOARDING;
        }
    }
    if (ext->has_value && eval->today - ext->value_day <= VALUE_DAYS) {
        bool advocate = ext->nps_min > 0 && ext->nps_tenths >= 90 && minute - ext->nps_min <= NPS_DAYS * 1440;
        return advocate ? UPT_PHASE_ADVOCACY : UPT_PHASE_VALUE;
    }
    return adopted(model, st, acct, eval) ? UPT_PHASE_USAGE : UPT_PHASE_ADOPTION;
}

int
upt_phase_rank(int phase)
{
    return phase < UPT_PHASE_DORMANT ? phase : -1;
}

/* The highest phase that the account has held, the day on which its checklist was complete, and who was there. */
void
upt_phase_daily(struct upt_decision *d)
{
    struct upt_habits *h = d->ext->signals.habits;
    struct upt_relation *r = d->ext->signals.relation;
    int rank = upt_phase_rank(d->ext->phase);
    h->peak_n = (uint8_t)(rank > h->peak ? h->peak_n + 1 : 0);
    if (h->peak_n >= PEAK_DAYS) {
        h->peak = (uint8_t)rank;
        h->peak_n = 0;
    }
    if (r != NULL && r->onboarded_day == UPT_NO_DAY && r->last_step_day != UPT_NO_DAY) {
        int done = 0;
        int listed = upt_steps_listed(d->ext, upt_account_trait(d->acct, UPT_STR("onboarding_steps")), &done);
        if (listed > 0 && done == listed) {
            r->onboarded_day = r->last_step_day;
            upt_account_onboarded(d->acct);
        }
    }
}
