/* Decisions that leave the process: health records and alert transitions, as plain structs with the fields of
 * schemas/uptake.v1.AccountHealth.avsc and uptake.v1.ChurnAlert.avsc. All strings are borrowed and live as long as
 * the call that passes the struct on. Optional numbers are NaN when null; optional strings are null upt_str. */
#ifndef UPT_OUTPUT_H
#define UPT_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "uptake/position.h"
#include "uptake/str.h"

typedef enum upt_band {
    UPT_BAND_UNKNOWN,
    UPT_BAND_CRITICAL,
    UPT_BAND_AT_RISK,
    UPT_BAND_WATCH,
    UPT_BAND_HEALTHY
} upt_band;
typedef enum upt_severity { UPT_INFO, UPT_WARNING, UPT_HIGH, UPT_CRITICAL } upt_severity;
typedef enum upt_action { UPT_OPEN, UPT_UPDATE, UPT_ESCALATE, UPT_DEESCALATE, UPT_RESOLVE, UPT_EXPIRE } upt_action;
typedef enum upt_data_status { UPT_FRESH, UPT_STALE, UPT_MISSING, UPT_NOT_APPLICABLE } upt_data_status;
typedef enum upt_phase {
    UPT_PHASE_TRIAL,
    UPT_PHASE_ONBOARDING,
    UPT_PHASE_ADOPTION,
    UPT_PHASE_USAGE,
    UPT_PHASE_VALUE,
    UPT_PHASE_ADVOCACY,
    UPT_PHASE_DORMANT,
    UPT_PHASE_CHURNED,
    UPT_PHASE_COUNT
} upt_phase;

extern const char *const upt_band_names[5];
extern const char *const upt_severity_names[4];
extern const char *const upt_action_names[6];
extern const char *const upt_data_status_names[4];
extern const char *const upt_phase_names[UPT_PHASE_COUNT];

#define UPT_HORIZONS 3        /* 30, 60, 90 days */
#define UPT_COMPONENTS_MAX 64 /* parts of the score, then signals of weight 0 */
/* Five, the rest as `other`, and what the cap holds back. */
#define UPT_FACTORS_MAX 7

struct upt_component {
    struct upt_str name, unit;
    double value, own_baseline, peer_percentile, sub_score; /* NaN: null */
    double weight, points;
    upt_data_status status;
};

struct upt_risk {
    int32_t horizon_days;
    double probability, low, high; /* low, high: NaN = null */
};

struct upt_health {
    struct upt_str account;
    int64_t as_of;
    double score; /* NaN: null */
    double confidence;
    upt_band band;
    double score_7d_ago, score_28d_ago, slope_per_week;
    upt_phase phase;
    struct upt_str segment;
    struct upt_risk risks[UPT_HORIZONS];
    int risks_n;
    struct upt_component components[UPT_COMPONENTS_MAX];
    int components_n;
    struct upt_str model_version, config_hash;
    int32_t partition;
    struct upt_pos pos;
};

struct upt_factor {
    struct upt_str name, text;
    double log_odds, value, baseline; /* baseline NaN: null */
};

struct upt_alert {
    char alert_id[33];
    int32_t revision;
    upt_action action;
    struct upt_str rule;
    int32_t rule_version;
    upt_severity severity;
    int previous_severity; /* −1: null */
    struct upt_str account, subject;
    int64_t opened_at, changed_at, condition_since;
    upt_phase phase;
    struct upt_str segment, tier;
    double health, health_change_28d, churn_probability;
    int32_t horizon_days; /* −1: null */
    double expected_lead_days, precision_estimate;
    bool has_days_to_renewal;
    int32_t days_to_renewal;
    double observed, expected, expected_low;
    struct upt_str unit;
    int64_t window_ms; /* −1: null */
    double p_value;
    struct upt_factor factors[UPT_FACTORS_MAX];
    int factors_n;
    struct upt_str counterfactual, suggested_play;
    double confidence;
    struct upt_str model_version, config_hash;
    int32_t partition;
    struct upt_pos pos;
};

/* Where decisions go. detected_at is added when the record is encoded. */
struct upt_sink {
    void *ctx;
    void (*alert)(void *ctx, const struct upt_alert *alert);
    void (*health)(void *ctx, const struct upt_health *health);
    void (*health_null)(void *ctx, struct upt_str account); /* the account was forgotten */
};

#endif
