/* The fields that a condition may name: the account's row, and what is derived from it or remembered for segments.
 *
 * kinds says after which records a field is judged at once; what time alone or a daily evaluation changes is judged at
 * the daily minute, and hourly windows at whole hours. Left out of the row: as_of, next_change, partition and offset,
 * which say nothing of the customer. No state. */
#include "segment.h"

#define K(kind) (UINT32_C(1) << UPT_KIND_##kind)
#define ACTIVE (K(USAGE) | K(LOGIN) | K(VALUE))
#define WINDOWS(name, kinds)                                                                                 \
    {name "_1h", UPT_SEG_NUMBER, kinds, 0, true, true}, {name "_24h", UPT_SEG_NUMBER, kinds, 0, true, true}, \
        {name "_7d", UPT_SEG_NUMBER, kinds, 0, true, false},                                                 \
    {                                                                                                        \
        name "_30d", UPT_SEG_NUMBER, kinds, 0, true, false                                                   \
    }
#define DAILY(name)                             \
    {                                           \
        name, UPT_SEG_NUMBER, 0, 0, true, false \
    }
/* Of two of a name the first counts: days_to_renewal is the one that a PROFILE changes at once. */
#define SIGNAL(id, name) , [UPT_SF_SIGNALS + UPT_SIGNAL_##id] = DAILY(name)
#define AND_SIGNALS UPT_SIGNAL_LIST(SIGNAL)

const struct upt_seg_field upt_seg_fields[UPT_SF_COUNT] = {
    WINDOWS("events", K(USAGE)),
    WINDOWS("units", K(USAGE)),
    WINDOWS("logins", K(LOGIN)),
    [UPT_SF_USERS_24H] = {"users_24h", UPT_SEG_NUMBER, 0, ACTIVE, true, true},
    [UPT_SF_USERS_7D] = {"users_7d", UPT_SEG_NUMBER, 0, ACTIVE, true, false},
    [UPT_SF_USERS_30D] = {"users_30d", UPT_SEG_NUMBER, 0, ACTIVE, true, false},
    [UPT_SF_USERS_TOTAL] = {"users_total", UPT_SEG_NUMBER, 0, UPT_SEG_ANY_KIND, true, false},
    [UPT_SF_FEATURES_30D] = {"features_30d", UPT_SEG_NUMBER, K(USAGE), 0, true, false},
    [UPT_SF_FIRST_SEEN] = {"first_seen", UPT_SEG_NUMBER, UPT_SEG_ANY_KIND, 0, true, false},
    [UPT_SF_LAST_SEEN] = {"last_seen", UPT_SEG_NUMBER, UPT_SEG_ANY_KIND, 0, true, false},
    [UPT_SF_HEALTH] = DAILY("health"),
    [UPT_SF_CONFIDENCE] = DAILY("health_confidence"),
    [UPT_SF_BAND] = {"health_band", UPT_SEG_BAND, 0, 0, true, false},
    [UPT_SF_RISK_30D] = DAILY("churn_risk_30d"),
    [UPT_SF_RISK_60D] = DAILY("churn_risk_60d"),
    [UPT_SF_RISK_90D] = DAILY("churn_risk_90d"),
    [UPT_SF_PHASE] = {"phase", UPT_SEG_PHASE, 0, 0, true, false},
    [UPT_SF_SEGMENT] = {"segment", UPT_SEG_TEXT, K(PROFILE), 0, true, false},
    [UPT_SF_TIER] = {"tier", UPT_SEG_TEXT, K(PROFILE), 0, true, false},
    [UPT_SF_SEATS] = {"seats", UPT_SEG_NUMBER, K(PROFILE) | K(SEATS), 0, true, false},
    [UPT_SF_RENEWAL_DATE] = {"renewal_date", UPT_SEG_TEXT, K(PROFILE), 0, true, false},
    [UPT_SF_SEAT_UTILISATION] = {"seat_utilisation", UPT_SEG_NUMBER, K(PROFILE) | K(SEATS), ACTIVE, true, false},
    [UPT_SF_ADOPTION_RATE] = {"adoption_rate", UPT_SEG_NUMBER, 0, UPT_SEG_ANY_KIND, true, false},
    [UPT_SF_OPEN_ALERTS] = DAILY("open_alerts"),
    [UPT_SF_FIRST_SEEN_AGE] = {"first_seen_age_days", UPT_SEG_NUMBER, UPT_SEG_ANY_KIND, 0, false, false},
    [UPT_SF_LAST_SEEN_AGE] = {"last_seen_age_days", UPT_SEG_NUMBER, UPT_SEG_ANY_KIND, 0, false, false},
    [UPT_SF_SIGNUP_AGE] = {"signup_age_days", UPT_SEG_NUMBER, K(SIGNUP), 0, false, false},
    [UPT_SF_LOGIN_AGE] = {"login_age_days", UPT_SEG_NUMBER, K(LOGIN), 0, false, false},
    [UPT_SF_LOGINS_TOTAL] = {"logins_total", UPT_SEG_NUMBER, K(LOGIN), 0, false, false},
    [UPT_SF_KEY_EVENT_AGE] = {"key_event_age_days", UPT_SEG_NUMBER, K(USAGE) | K(VALUE), 0, false, false},
    [UPT_SF_CONTACT_AGE] = {"contact_age_days", UPT_SEG_NUMBER, K(CONTACT), 0, false, false},
    [UPT_SF_CONTRACT_AGE] = {"contract_age_days", UPT_SEG_NUMBER, K(PROFILE), 0, false, false},
    [UPT_SF_DAYS_TO_RENEWAL] = {"days_to_renewal", UPT_SEG_NUMBER, K(PROFILE), 0, false, false},
    [UPT_SF_ONBOARDING_AGE] = {"onboarding_age_days", UPT_SEG_NUMBER, K(ONBOARDING_STEP) | K(PROFILE), 0, false, false},
    [UPT_SF_STEPS_DONE] = {"steps_done", UPT_SEG_NUMBER, K(ONBOARDING_STEP), 0, false, false},
    [UPT_SF_COURSES_DONE] = {"courses_done", UPT_SEG_NUMBER, K(TRAINING), 0, false, false},
    [UPT_SF_ONBOARDED] = {"onboarded", UPT_SEG_BOOL, K(ONBOARDING_STEP) | K(PROFILE), 0, false, false},
    [UPT_SF_CONTACTED_SINCE] = {"contacted_since_onboarding", UPT_SEG_BOOL,
                                K(CONTACT) | K(ONBOARDING_STEP) | K(PROFILE), 0, false, false} AND_SIGNALS,
};
