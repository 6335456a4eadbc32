/* The product judges its own risk: a 30-day risk is noted with the account, and when its outcome is known it is counted
 * on /metrics under the segment that the account is in by then (uptake/outcomes.h); then today's is noted. So of each
 * account there is one risk each 90 days or so, and outcomes are independent witnesses; none while it is gone by
 * contract or after 90 silent days, else those long dead would flatter the figures for ever.
 *
 * Left: CHURNED within the 30 days, or no key-active day in the SILENCE_DAYS after them. Noted risks are in the
 * checkpoint; counts begin with the process, and a replay after a restart counts its days once more, as everything on
 * /metrics. Decides nothing. The lane's thread. */
#include "activity.h"
#include "decide.h"
#include "uptake/outcomes.h"

#define HORIZON_DAYS 30
#define SILENCE_DAYS 60
#define SILENT_LONG 90 /* days: that such an account stays away is no news; as in `uptake fit` */
#define ALARM_E4 7500
#define MINUTES_A_DAY 1440

static bool
has_left(const struct upt_score_ext *ext, int64_t until)
{
    int64_t churned = ext->churned_min / MINUTES_A_DAY;
    if (ext->churned_min > ext->renewed_min && ext->churned_min > 0) {
        return churned <= until;
    }
    for (int64_t day = until + 1; day <= until + SILENCE_DAYS; day++) {
        if (upt_activity_on(ext, day)) {
            return false;
        }
    }
    return true;
}

static void
count(const struct upt_decision *d, bool left)
{
    const struct upt_score_ext *ext = d->ext;
    struct upt_outcomes *outcomes = upt_state_metrics(d->st)->outcomes;
    bool told = left && ext->foretold.risk_e4 >= ALARM_E4 && ext->last_day > ext->foretold.day;
    if (outcomes != NULL) {
        upt_outcomes_add(outcomes, upt_account_trait(d->acct, UPT_STR("segment")), ext->foretold.risk_e4, left,
                         told ? (uint32_t)(ext->last_day - ext->foretold.day) : 0);
    }
}

void
upt_outcome_daily(struct upt_decision *d)
{
    struct upt_score_ext *ext = d->ext;
    if (!d->eval->has_key) {
        return;
    }
    if (ext->foretold.risk_e4 != UPT_NULL_U16) {
        int64_t until = (int64_t)ext->foretold.day + HORIZON_DAYS;
        if (d->eval->today <= until + SILENCE_DAYS) {
            return;
        }
        count(d, has_left(ext, until));
    }
    bool gone = ext->churned_min > ext->renewed_min || d->eval->act.day - d->eval->act.last > SILENT_LONG;
    ext->foretold.day = (int32_t)d->eval->today - 1;
    ext->foretold.risk_e4 = gone ? UPT_NULL_U16 : (uint16_t)((d->eval->risk_micro[0] + 50) / 100);
}
