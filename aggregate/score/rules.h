/* The rules file, parsed. Private to the room. */
#ifndef UPT_SCORE_RULES_H
#define UPT_SCORE_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "ext.h"
#include "uptake/output.h"

#define UPT_PLAY_MAX 300
#define UPT_OFF (-1)

extern const char *const upt_rule_names[UPT_RULES];

struct upt_rule {
    bool enabled;
    int32_t version;
    int32_t on_count, off_count;
    int64_t cool_down_ms;
    char play[UPT_PLAY_MAX + 1];
};

struct upt_rules {
    double publish_score, publish_risk, update_score, update_risk;
    struct upt_rule rule[UPT_RULES];
    int band_severity[5]; /* HEALTH_BAND: by band; UPT_OFF: none */
    int32_t band_min_days;
    double silence_level[4]; /* SILENCE: by severity; 2: off */
    int32_t silence_min_active_days;
    double drop_level[4]; /* USAGE_DROP: by severity; infinity: off */
    double drop_to, drop_recovered_share;
    int32_t drop_min_periods;
    struct upt_segments *segments; /* NULL: none declared */
};

#endif
