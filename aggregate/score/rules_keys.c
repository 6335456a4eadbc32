/* Every key of the rules file: path, type, place, what is allowed. One table drives parsing, checking and the hash of
 * the meaning (rules.c). A rule is a row of upt_rule_names, a row of COMMON here, its numbers, and an entry in
 * default.rules.yaml. Constants only. */
#include <assert.h>
#include <math.h>

#include "rules.h"

const char *const upt_rule_names[UPT_RULES] = {
    [UPT_RULE_CHURN_RISK] = "CHURN_RISK",
    [UPT_RULE_HEALTH_BAND] = "HEALTH_BAND",
    [UPT_RULE_SILENCE] = "SILENCE",
    [UPT_RULE_USAGE_DROP] = "USAGE_DROP",
    [UPT_RULE_RENEWAL_GAP] = "RENEWAL_GAP",
    [UPT_RULE_CHAMPION_SILENT] = "CHAMPION_SILENT",
    [UPT_RULE_USER_CONTRACTION] = "USER_CONTRACTION",
    [UPT_RULE_SUPPORT_PAIN] = "SUPPORT_PAIN",
    [UPT_RULE_SENTIMENT] = "SENTIMENT",
    [UPT_RULE_ONBOARDING_LATE] = "ONBOARDING_LATE",
    [UPT_RULE_TTV_LATE] = "TTV_LATE",
    [UPT_RULE_FEATURE_ABANDONED] = "FEATURE_ABANDONED",
    [UPT_RULE_SEAT_UNDERUSE] = "SEAT_UNDERUSE",
    [UPT_RULE_PHASE_REGRESSION] = "PHASE_REGRESSION",
    [UPT_RULE_BREADTH_STALL] = "BREADTH_STALL",
    [UPT_RULE_TRAINING_NEED] = "TRAINING_NEED",
    [UPT_RULE_CONTACT_GAP] = "CONTACT_GAP",
    [UPT_RULE_RELEASE_UNUSED] = "RELEASE_UNUSED",
    [UPT_RULE_EXPANSION] = "EXPANSION",
    [UPT_RULE_ADOPTED] = "ADOPTED",
    [UPT_RULE_POSITIVE] = "POSITIVE",
    [UPT_RULE_SEGMENT_ENTER] = "SEGMENT_ENTER",
    [UPT_RULE_SEGMENT_EXIT] = "SEGMENT_EXIT",
    [UPT_RULE_DATA_QUALITY] = "DATA_QUALITY",
};

#define YEAR_MS (366 * 86400e3)
#define AT(field) offsetof(struct upt_rules, field)
#define ELEMENT(field, i) (AT(field) + (i) * sizeof(((struct upt_rules *)NULL)->field[0]))
#define RULE(id, field) \
    (offsetof(struct upt_rules, rule) + (id) * sizeof(struct upt_rule) + offsetof(struct upt_rule, field))
#define TIER(id, field) \
    (offsetof(struct upt_rules, tier) + (id) * sizeof(struct upt_tier) + offsetof(struct upt_tier, field))

/* What every rule has. */
#define NEWS(name, id)                                                          \
    {"rules." name ".enabled", UPT_KEY_BOOL, RULE(id, enabled), 0, 0, 0},       \
        {"rules." name ".version", UPT_KEY_INT, RULE(id, version), 1, 1e6, 0},  \
    {                                                                           \
        "rules." name ".play", UPT_KEY_TEXT, RULE(id, play), 0, UPT_PLAY_MAX, 0 \
    }
#define COMMON(name, id)                                                                    \
    NEWS(name, id),                                                                         \
    {                                                                                       \
        "rules." name ".cool_down", UPT_KEY_DURATION, RULE(id, cool_down_ms), 0, YEAR_MS, 0 \
    }
/* And what every rule has that is judged once a day. */
#define DAILY(name, id)                                                                        \
    COMMON(name, id), {"rules." name ".on_count", UPT_KEY_INT, RULE(id, on_count), 1, 100, 0}, \
        {"rules." name ".off_count", UPT_KEY_INT, RULE(id, off_count), 1, 100, 0},             \
        {"rules." name ".min_days", UPT_KEY_INT, RULE(id, min_days), 0, 366, 0},               \
    {                                                                                          \
        "rules." name ".expire_after", UPT_KEY_DURATION, RULE(id, expire_ms), 0, YEAR_MS, 0    \
    }
#define OTHER_PLAY(name, id, key)                                                     \
    {                                                                                 \
        "rules." name "." key, UPT_KEY_TEXT, RULE(id, other_play), 0, UPT_PLAY_MAX, 0 \
    }
#define NUMBER(name, id, key, place, least, most)                                                   \
    {                                                                                               \
        "rules." name "." key, UPT_KEY_REAL, RULE(id, p) + (place) * sizeof(double), least, most, 0 \
    }
#define BAND(name, band)                                                                          \
    {                                                                                             \
        "rules.HEALTH_BAND.levels." name, UPT_KEY_SEVERITY, ELEMENT(band_severity, band), 0, 0, 0 \
    }
#define SILENCE(name, severity)                                                                   \
    {                                                                                             \
        "rules.SILENCE.levels." name, UPT_KEY_LEVEL, ELEMENT(silence_level, severity), 0.01, 1, 2 \
    }
#define DROP(name, severity)                                                                                       \
    {                                                                                                              \
        "rules.USAGE_DROP.levels." name, UPT_KEY_LEVEL, ELEMENT(drop_level, severity), 0.1, 1000, (double)INFINITY \
    }
#define TIER_KEYS(name, id)                                                                \
    {"tiers." name ".names", UPT_KEY_TEXT, TIER(id, names), 0, UPT_PLAY_MAX, 0},           \
        {"tiers." name ".contact", UPT_KEY_DURATION, TIER(id, contact_ms), 0, YEAR_MS, 0}, \
    {                                                                                      \
        "tiers." name ".answer", UPT_KEY_DURATION, TIER(id, answer_ms), 0, YEAR_MS, 0      \
    }

#define WEIGHT(set, s, column, c, part, w)                                                          \
    {                                                                                               \
        "health." set "." column "." part, UPT_KEY_INT,                                             \
            offsetof(struct upt_rules, weights) + (s) * sizeof(struct upt_weight_set) +             \
                offsetof(struct upt_weight_set, milli) + ((c)*UPT_WEIGHTS + (w)) * sizeof(int32_t), \
            0, 1000, 0                                                                              \
    }
#define COLUMN(set, s, column, c)                                                             \
    WEIGHT(set, s, column, c, "usage", 0), WEIGHT(set, s, column, c, "people", 1),            \
        WEIGHT(set, s, column, c, "onboarding", 2), WEIGHT(set, s, column, c, "support", 3),  \
        WEIGHT(set, s, column, c, "sentiment", 4), WEIGHT(set, s, column, c, "education", 5), \
        WEIGHT(set, s, column, c, "outcomes", 6)
#define WEIGHT_SET(set, s)                                                                                    \
    COLUMN(set, s, "TRIAL", UPT_COLUMN_TRIAL), COLUMN(set, s, "PROOF_OF_CONCEPT", UPT_COLUMN_PROOF),          \
        COLUMN(set, s, "ONBOARDING", UPT_COLUMN_ONBOARDING), COLUMN(set, s, "ADOPTION", UPT_COLUMN_ADOPTION), \
        COLUMN(set, s, "USAGE", UPT_COLUMN_USAGE), COLUMN(set, s, "VALUE", UPT_COLUMN_VALUE)
#define SEGMENTS(set, s)                                                                                  \
    {                                                                                                     \
        "health." set ".segments", UPT_KEY_TEXT,                                                          \
            offsetof(struct upt_rules, weights) + (s) * sizeof(struct upt_weight_set), 0, UPT_PLAY_MAX, 0 \
    }

const struct upt_rules_key upt_rules_keys[] = {
    {"publish.score", UPT_KEY_REAL, AT(publish_score), 0, 100, 0},
    {"publish.risk", UPT_KEY_REAL, AT(publish_risk), 0, 1, 0},
    {"update.score", UPT_KEY_REAL, AT(update_score), 0.1, 100, 0},
    {"update.risk", UPT_KEY_REAL, AT(update_risk), 0.001, 1, 0},
    {"notify.most", UPT_KEY_INT, AT(cap_n), 1, 3, 0},
    {"notify.within", UPT_KEY_DURATION, AT(cap_ms), 0, YEAR_MS, 0},
    {"notify.follow_up", UPT_KEY_DURATION, AT(follow_up_ms), 0, YEAR_MS, 0},
    {"notify.raise_from_value", UPT_KEY_LEVEL, AT(value_raised_at), 0, 1e12, (double)INFINITY},
    {"proficiency.features", UPT_KEY_TEXT, AT(advanced), 0, UPT_PLAY_MAX, 0},
    WEIGHT_SET("all", 0),
    SEGMENTS("set_1", 1),
    WEIGHT_SET("set_1", 1),
    SEGMENTS("set_2", 2),
    WEIGHT_SET("set_2", 2),
    TIER_KEYS("HIGH", UPT_TIER_HIGH),
    TIER_KEYS("MEDIUM", UPT_TIER_MEDIUM),
    TIER_KEYS("LOW", UPT_TIER_LOW),
    DAILY("CHURN_RISK", UPT_RULE_CHURN_RISK),
    NUMBER("CHURN_RISK", UPT_RULE_CHURN_RISK, "open_at", UPT_P_RISK_ON, 0.01, 1),
    NUMBER("CHURN_RISK", UPT_RULE_CHURN_RISK, "close_below", UPT_P_RISK_OFF, 0, 0.99),
    NUMBER("CHURN_RISK", UPT_RULE_CHURN_RISK, "horizon", UPT_P_RISK_DAYS, 30, 90),
    NUMBER("CHURN_RISK", UPT_RULE_CHURN_RISK, "critical_before_renewal", UPT_P_RISK_RENEWAL, 0, 366),
    NUMBER("CHURN_RISK", UPT_RULE_CHURN_RISK, "early_days", UPT_P_RISK_EARLY, 0, 366),
    DAILY("HEALTH_BAND", UPT_RULE_HEALTH_BAND),
    BAND("WATCH", UPT_BAND_WATCH),
    BAND("AT_RISK", UPT_BAND_AT_RISK),
    BAND("CRITICAL", UPT_BAND_CRITICAL),
    COMMON("SILENCE", UPT_RULE_SILENCE),
    SILENCE("INFO", UPT_INFO),
    SILENCE("WARNING", UPT_WARNING),
    SILENCE("HIGH", UPT_HIGH),
    SILENCE("CRITICAL", UPT_CRITICAL),
    {"rules.SILENCE.min_active_days", UPT_KEY_INT, AT(silence_min_active_days), 2, 256, 0},
    COMMON("USAGE_DROP", UPT_RULE_USAGE_DROP),
    DROP("INFO", UPT_INFO),
    DROP("WARNING", UPT_WARNING),
    DROP("HIGH", UPT_HIGH),
    DROP("CRITICAL", UPT_CRITICAL),
    {"rules.USAGE_DROP.drop_to", UPT_KEY_REAL, AT(drop_to), 0.05, 0.95, 0},
    {"rules.USAGE_DROP.min_periods", UPT_KEY_INT, AT(drop_min_periods), 2, 1000, 0},
    {"rules.USAGE_DROP.recovered_share", UPT_KEY_REAL, AT(drop_recovered_share), 0.1, 1, 0},
    {"rules.USAGE_DROP.off_count", UPT_KEY_INT, RULE(UPT_RULE_USAGE_DROP, off_count), 1, 100, 0},
    DAILY("RENEWAL_GAP", UPT_RULE_RENEWAL_GAP),
    NUMBER("RENEWAL_GAP", UPT_RULE_RENEWAL_GAP, "below", UPT_P_RENEWAL_ON, 0, 1),
    NUMBER("RENEWAL_GAP", UPT_RULE_RENEWAL_GAP, "back_at", UPT_P_RENEWAL_OFF, 0, 1),
    NUMBER("RENEWAL_GAP", UPT_RULE_RENEWAL_GAP, "from_days", UPT_P_RENEWAL_FROM, 1, 366),
    DAILY("CHAMPION_SILENT", UPT_RULE_CHAMPION_SILENT),
    NUMBER("CHAMPION_SILENT", UPT_RULE_CHAMPION_SILENT, "days", UPT_P_CHAMPION_DAYS, 1, 28),
    NUMBER("CHAMPION_SILENT", UPT_RULE_CHAMPION_SILENT, "gaps", UPT_P_CHAMPION_GAPS, 0, 28),
    DAILY("USER_CONTRACTION", UPT_RULE_USER_CONTRACTION),
    NUMBER("USER_CONTRACTION", UPT_RULE_USER_CONTRACTION, "fall", UPT_P_CONTRACTION_FALL, 0.01, 1),
    NUMBER("USER_CONTRACTION", UPT_RULE_USER_CONTRACTION, "chance", UPT_P_CONTRACTION_P, 0, 1),
    NUMBER("USER_CONTRACTION", UPT_RULE_USER_CONTRACTION, "back_at", UPT_P_CONTRACTION_BACK, 0, 1),
    DAILY("SUPPORT_PAIN", UPT_RULE_SUPPORT_PAIN),
    NUMBER("SUPPORT_PAIN", UPT_RULE_SUPPORT_PAIN, "usual_per_user", UPT_P_PAIN_PER_USER, 0.001, 100),
    NUMBER("SUPPORT_PAIN", UPT_RULE_SUPPORT_PAIN, "z", UPT_P_PAIN_Z, 0.1, 20),
    NUMBER("SUPPORT_PAIN", UPT_RULE_SUPPORT_PAIN, "least_tickets", UPT_P_PAIN_LEAST, 1, 1000),
    NUMBER("SUPPORT_PAIN", UPT_RULE_SUPPORT_PAIN, "quiet_days", UPT_P_PAIN_QUIET, 1, 28),
    DAILY("SENTIMENT", UPT_RULE_SENTIMENT),
    OTHER_PLAY("SENTIMENT", UPT_RULE_SENTIMENT, "play_hidden"),
    NUMBER("SENTIMENT", UPT_RULE_SENTIMENT, "csat_below", UPT_P_SENTIMENT_LOW, 0, 10),
    NUMBER("SENTIMENT", UPT_RULE_SENTIMENT, "least_answers", UPT_P_SENTIMENT_N, 1, 1000),
    NUMBER("SENTIMENT", UPT_RULE_SENTIMENT, "csat_good_from", UPT_P_SENTIMENT_HIGH, 0, 10),
    DAILY("ONBOARDING_LATE", UPT_RULE_ONBOARDING_LATE),
    NUMBER("ONBOARDING_LATE", UPT_RULE_ONBOARDING_LATE, "late_days", UPT_P_LATE, 1, 366),
    NUMBER("ONBOARDING_LATE", UPT_RULE_ONBOARDING_LATE, "very_late_days", UPT_P_VERY_LATE, 1, 366),
    DAILY("TTV_LATE", UPT_RULE_TTV_LATE),
    NUMBER("TTV_LATE", UPT_RULE_TTV_LATE, "late_days", UPT_P_LATE, 1, 366),
    NUMBER("TTV_LATE", UPT_RULE_TTV_LATE, "very_late_days", UPT_P_VERY_LATE, 1, 366),
    OTHER_PLAY("TTV_LATE", UPT_RULE_TTV_LATE, "play_overdue"),
    NUMBER("TTV_LATE", UPT_RULE_TTV_LATE, "overdue_days", UPT_P_OVERDUE, 1, 366),
    DAILY("FEATURE_ABANDONED", UPT_RULE_FEATURE_ABANDONED),
    NUMBER("FEATURE_ABANDONED", UPT_RULE_FEATURE_ABANDONED, "held_weeks", UPT_P_ABANDONED_HELD, 1, 52),
    NUMBER("FEATURE_ABANDONED", UPT_RULE_FEATURE_ABANDONED, "unused_days", UPT_P_ABANDONED_DAYS, 7, 28),
    DAILY("SEAT_UNDERUSE", UPT_RULE_SEAT_UNDERUSE),
    NUMBER("SEAT_UNDERUSE", UPT_RULE_SEAT_UNDERUSE, "below", UPT_P_SEATS_ON, 0, 1),
    NUMBER("SEAT_UNDERUSE", UPT_RULE_SEAT_UNDERUSE, "back_at", UPT_P_SEATS_OFF, 0, 1),
    NUMBER("SEAT_UNDERUSE", UPT_RULE_SEAT_UNDERUSE, "fall", UPT_P_SEATS_FALL, 0.01, 1),
    NUMBER("SEAT_UNDERUSE", UPT_RULE_SEAT_UNDERUSE, "least_seats", UPT_P_SEATS_LEAST, 1, 1e6),
    DAILY("PHASE_REGRESSION", UPT_RULE_PHASE_REGRESSION),
    DAILY("BREADTH_STALL", UPT_RULE_BREADTH_STALL),
    NUMBER("BREADTH_STALL", UPT_RULE_BREADTH_STALL, "below", UPT_P_STALL_BELOW, 0, 1),
    NUMBER("BREADTH_STALL", UPT_RULE_BREADTH_STALL, "no_new_days", UPT_P_STALL_DAYS, 1, 366),
    DAILY("TRAINING_NEED", UPT_RULE_TRAINING_NEED),
    NUMBER("TRAINING_NEED", UPT_RULE_TRAINING_NEED, "usage_below", UPT_P_TRAINING_USAGE, 0, 1),
    NUMBER("TRAINING_NEED", UPT_RULE_TRAINING_NEED, "trained_below", UPT_P_TRAINING_SHARE, 0, 1),
    DAILY("CONTACT_GAP", UPT_RULE_CONTACT_GAP),
    OTHER_PLAY("CONTACT_GAP", UPT_RULE_CONTACT_GAP, "play_follow_up"),
    NUMBER("CONTACT_GAP", UPT_RULE_CONTACT_GAP, "other_tiers_days", UPT_P_CONTACT_DAYS, 1, 366),
    DAILY("RELEASE_UNUSED", UPT_RULE_RELEASE_UNUSED),
    NUMBER("RELEASE_UNUSED", UPT_RULE_RELEASE_UNUSED, "days", UPT_P_RELEASE_DAYS, 1, 366),
    DAILY("EXPANSION", UPT_RULE_EXPANSION),
    NUMBER("EXPANSION", UPT_RULE_EXPANSION, "seats_from", UPT_P_EXPANSION_SEATS, 0.1, 1),
    NUMBER("EXPANSION", UPT_RULE_EXPANSION, "meters_from", UPT_P_EXPANSION_METERS, 0.1, 10),
    NUMBER("EXPANSION", UPT_RULE_EXPANSION, "growth", UPT_P_EXPANSION_GROWTH, 0.01, 10),
    NUMBER("EXPANSION", UPT_RULE_EXPANSION, "chance", UPT_P_EXPANSION_P, 0, 1),
    DAILY("ADOPTED", UPT_RULE_ADOPTED),
    NUMBER("ADOPTED", UPT_RULE_ADOPTED, "share", UPT_P_ADOPTED_ON, 0.05, 1),
    NUMBER("ADOPTED", UPT_RULE_ADOPTED, "ends_below", UPT_P_ADOPTED_OFF, 0, 1),
    NUMBER("ADOPTED", UPT_RULE_ADOPTED, "days", UPT_P_ADOPTED_DAYS, 1, 90),
    DAILY("POSITIVE", UPT_RULE_POSITIVE),
    OTHER_PLAY("POSITIVE", UPT_RULE_POSITIVE, "play_early"),
    NUMBER("POSITIVE", UPT_RULE_POSITIVE, "fast_share", UPT_P_POSITIVE_FAST, 0.01, 1),
    NEWS("SEGMENT_ENTER", UPT_RULE_SEGMENT_ENTER),
    NEWS("SEGMENT_EXIT", UPT_RULE_SEGMENT_EXIT),
    NEWS("DATA_QUALITY", UPT_RULE_DATA_QUALITY),
    NUMBER("DATA_QUALITY", UPT_RULE_DATA_QUALITY, "fleet_share", UPT_P_FLEET_SHARE, 0.05, 0.95),
    NUMBER("DATA_QUALITY", UPT_RULE_DATA_QUALITY, "least_accounts", UPT_P_FLEET_LEAST, 5, 1e9),
};
const size_t upt_rules_keys_n = sizeof(upt_rules_keys) / sizeof(upt_rules_keys[0]);
static_assert(sizeof(upt_rules_keys) / sizeof(upt_rules_keys[0]) <= UPT_RULES_KEYS_MAX, "what a reader remembers");
