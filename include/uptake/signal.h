/* The signals of an account: fields of its row, and components of account-health, by the same names. What each says is
 * defined in aggregate/score/README.md, "Signals".
 *
 * Between the score, which takes them once a day, and those who read a row they are packed: which are known, then a
 * varint for each of these, so that the usual account pays some forty bytes. Order is that of the list, also in
 * checkpoints: a new one goes to its end. No state. */
#ifndef UPT_SIGNAL_H
#define UPT_SIGNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uptake/str.h"
#include "uptake/units.h"

#define UPT_SIGNAL_LIST(X)                                    \
    X(ONBOARDING_COMPLETION, "onboarding_completion")         \
    X(ONBOARDING_DAYS, "onboarding_days")                     \
    X(ONBOARDING_IN_TIME, "onboarding_in_time")               \
    X(FIRST_KEY_ACTION, "time_to_first_key_action")           \
    X(BASIC_VALUE, "time_to_basic_value")                     \
    X(EXCEEDED_VALUE, "time_to_exceeded_value")               \
    X(FEATURES, "time_to_features")                           \
    X(CADENCE, "cadence")                                     \
    X(NATURAL_GAP, "natural_gap")                             \
    X(NATURAL_GAP_SPREAD, "natural_gap_spread")               \
    X(EFFECTIVE_FEATURES, "effective_features")               \
    X(ADOPTED_USERS, "adopted_users")                         \
    X(ADOPTION_RATE_28D, "adoption_rate_28d")                 \
    X(ADOPTION_RATE_MONTH, "adoption_rate_month")             \
    X(USERS_HIGH, "users_high")                               \
    X(USERS_MEDIUM, "users_medium")                           \
    X(USERS_LOW, "users_low")                                 \
    X(TRAINING_SHARE, "training_share")                       \
    X(USERS_CHANGE, "users_change_90d")                       \
    X(SEAT_UTILISATION_CHANGE, "seat_utilisation_change_90d") \
    X(CHAMPION_DAYS, "champion_days")                         \
    X(CHAMPION_SILENT, "champion_silent")                     \
    X(TICKETS, "tickets")                                     \
    X(TICKETS_PER_USER, "tickets_per_user")                   \
    X(TICKETS_OPEN, "tickets_open")                           \
    X(TIME_TO_CLOSE, "time_to_close")                         \
    X(NPS, "nps")                                             \
    X(NPS_ANSWERS, "nps_answers")                             \
    X(CSAT, "csat")                                           \
    X(CSAT_ANSWERS, "csat_answers")                           \
    X(CONTACTS, "contacts")                                   \
    X(DAYS_SINCE_CONTACT, "days_since_contact")               \
    X(GOALS_REACHED, "goals_reached")                         \
    X(DAYS_TO_RENEWAL, "days_to_renewal")                     \
    X(ADOPTION_PERCENTILE, "adoption_percentile")             \
    X(USAGE_TREND, "usage_trend")                             \
    X(RELEASE_WAITING, "release_waiting")                     \
    X(CONSUMPTION_SHARE, "consumption_share")                 \
    X(CONTRACT_VALUE, "contract_value")                       \
    X(RELEASE_UPTAKE_LAG, "release_uptake_lag")               \
    X(GOALS_LATE, "goals_late")                               \
    X(DAYS_TO_GOAL, "days_to_goal")                           \
    X(GOAL_PROGRESS, "goal_progress")                         \
    X(STAKEHOLDERS, "stakeholders_28d")                       \
    X(STAKEHOLDERS_SHARE, "stakeholders_share")               \
    X(INHERITED_SHARE, "inherited_share")                     \
    X(PROFICIENCY, "proficiency")                             \
    X(METERS_OVER, "meters_over")                             \
    X(METER_SHARE_MAX, "meter_share_max")

#define UPT_SIGNAL_ID(id, name) UPT_SIGNAL_##id,
enum { UPT_SIGNAL_LIST(UPT_SIGNAL_ID) UPT_SIGNALS };
extern const char *const upt_signal_names[UPT_SIGNALS];

#define UPT_SIGNALS_PACKED_MAX (10 + 9 * (size_t)UPT_SIGNALS)

/* NaN: not known. buf ≥ UPT_SIGNALS_PACKED_MAX. Returns the length; 0: none is known. Millionths below 4e9, above
 * whole numbers, 1e18 at most. */
size_t upt_signal_pack(const double values[UPT_SIGNALS], char *buf);

struct upt_signal_values {
    uint64_t known; /* bit i: signal i */
    upt_i128 micro[UPT_SIGNALS];
};
static inline bool
upt_signal_known(const struct upt_signal_values *values, unsigned i)
{
    return (values->known >> i & 1) != 0;
}
static inline bool
upt_signal_all_known(const struct upt_signal_values *values)
{
    return values->known == (UINT64_C(1) << UPT_SIGNALS) - 1;
}
/* Null: none is known. False: damaged. */
bool upt_signal_unpack(struct upt_str packed, struct upt_signal_values *ret);

#endif
