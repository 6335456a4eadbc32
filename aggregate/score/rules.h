/* The rules file, parsed. Private to the room. */
#ifndef UPT_SCORE_RULES_H
#define UPT_SCORE_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ext.h"
#include "uptake/output.h"

#define UPT_PLAY_MAX 300
#define UPT_OFF (-1)
#define UPT_RULE_NUMBERS 5

extern const char *const upt_rule_names[UPT_RULES];

struct upt_rule {
    bool enabled;
    int32_t version;
    int32_t on_count, off_count;     /* evaluations in a row */
    int32_t min_days;                /* not in the account's first days */
    int64_t cool_down_ms, expire_ms; /* expire_ms 0: never by itself */
    double p[UPT_RULE_NUMBERS];      /* the rule's own numbers: the enumerations below */
    char play[UPT_PLAY_MAX + 1];
    char other_play[UPT_PLAY_MAX + 1]; /* of a rule that speaks of two things: of the second (upt_alert_play) */
};

/* Places in p, by rule. */
enum { UPT_P_RISK_ON, UPT_P_RISK_OFF, UPT_P_RISK_DAYS, UPT_P_RISK_RENEWAL, UPT_P_RISK_EARLY };
enum { UPT_P_RENEWAL_ON, UPT_P_RENEWAL_OFF, UPT_P_RENEWAL_FROM };
enum { UPT_P_CHAMPION_DAYS, UPT_P_CHAMPION_GAPS };
enum { UPT_P_CONTRACTION_FALL, UPT_P_CONTRACTION_P, UPT_P_CONTRACTION_BACK };
enum { UPT_P_PAIN_PER_USER, UPT_P_PAIN_Z, UPT_P_PAIN_LEAST, UPT_P_PAIN_QUIET };
enum { UPT_P_SENTIMENT_LOW, UPT_P_SENTIMENT_N, UPT_P_SENTIMENT_HIGH };
enum { UPT_P_LATE, UPT_P_VERY_LATE, UPT_P_OVERDUE }; /* ONBOARDING_LATE, TTV_LATE; the last of TTV_LATE alone */
enum { UPT_P_ABANDONED_HELD, UPT_P_ABANDONED_DAYS };
enum { UPT_P_SEATS_ON, UPT_P_SEATS_OFF, UPT_P_SEATS_FALL, UPT_P_SEATS_LEAST };
enum { UPT_P_STALL_BELOW, UPT_P_STALL_DAYS };
enum { UPT_P_TRAINING_USAGE, UPT_P_TRAINING_SHARE };
enum { UPT_P_CONTACT_DAYS };
enum { UPT_P_RELEASE_DAYS };
enum { UPT_P_EXPANSION_SEATS, UPT_P_EXPANSION_GROWTH, UPT_P_EXPANSION_P, UPT_P_EXPANSION_METERS };
enum { UPT_P_ADOPTED_ON, UPT_P_ADOPTED_OFF, UPT_P_ADOPTED_DAYS };
enum { UPT_P_POSITIVE_FAST };
enum { UPT_P_FLEET_SHARE, UPT_P_FLEET_LEAST };

enum { UPT_TIER_LOW, UPT_TIER_MEDIUM, UPT_TIER_HIGH, UPT_TIERS };
#define UPT_TIER_NONE (-1)

struct upt_tier {
    char names[UPT_PLAY_MAX + 1]; /* values of the trait `tier`, comma-separated, letters of either case */
    int64_t contact_ms;           /* CONTACT_GAP after so long; 0: off */
    int64_t answer_ms;            /* a HIGH alert open so long becomes CRITICAL; 0: off */
};

/* Weights of the score, thousandths: use of the product, then people, onboarding, support, sentiment, education,
 * outcomes. */
#define UPT_WEIGHTS 7
enum {
    UPT_COLUMN_TRIAL,
    UPT_COLUMN_PROOF,
    UPT_COLUMN_ONBOARDING,
    UPT_COLUMN_ADOPTION,
    UPT_COLUMN_USAGE, /* also DORMANT and CHURNED */
    UPT_COLUMN_VALUE, /* and ADVOCACY */
    UPT_COLUMNS
};
#define UPT_WEIGHT_SETS 3

struct upt_weight_set {
    char segments[UPT_PLAY_MAX + 1]; /* for which it is, comma-separated; the first set is for all others */
    int32_t milli[UPT_COLUMNS][UPT_WEIGHTS];
};

struct upt_rules {
    double publish_score, publish_risk, update_score, update_risk;
    int32_t cap_n; /* alerts opened within cap_ms; CRITICAL ones are not held back */
    int64_t cap_ms;
    int64_t follow_up_ms;            /* after a HIGH or CRITICAL alert was resolved; 0: off */
    char advanced[UPT_PLAY_MAX + 1]; /* features for the proficient, comma-separated; empty: not said */
    double value_raised_at;          /* contract value from which severities are one step higher; infinity: off */
    struct upt_tier tier[UPT_TIERS];
    struct upt_weight_set weights[UPT_WEIGHT_SETS];
    struct upt_rule rule[UPT_RULES];
    int band_severity[5];    /* HEALTH_BAND: by band; UPT_OFF: none */
    double silence_level[4]; /* SILENCE: by severity; 2: off */
    int32_t silence_min_active_days;
    double drop_level[4]; /* USAGE_DROP: by severity; infinity: off */
    double drop_to, drop_recovered_share;
    int32_t drop_min_periods;
    struct upt_segments *segments; /* NULL: none declared */
};

/* ---- one key of the file (rules_keys.c); its path is joined with dots ---- */

enum upt_key_type {
    UPT_KEY_BOOL,
    UPT_KEY_INT,
    UPT_KEY_REAL,
    UPT_KEY_LEVEL,    /* a number, or off */
    UPT_KEY_DURATION, /* or off: 0 */
    UPT_KEY_SEVERITY,
    UPT_KEY_TEXT
};

struct upt_rules_key {
    const char *path;
    enum upt_key_type type;
    size_t at; /* offset in struct upt_rules */
    double least, most;
    double off; /* UPT_KEY_LEVEL: the value that `off` stands for */
};

extern const struct upt_rules_key upt_rules_keys[];
extern const size_t upt_rules_keys_n;
#define UPT_RULES_KEYS_MAX 512

/* Fails with what libyaml found wrong and the line of it. */
struct yaml_parser_s;
upt_status upt_rules_no_yaml(const struct yaml_parser_s *parser, const char *file, struct upt_error *reterr);

#endif
