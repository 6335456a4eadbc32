/* What the scores keep with each account (the observer's ext), and its checkpoint codec. Private to the room.
 *
 * Everything that influences a decision is here or in the state, nothing in memory beside it: a restored account goes
 * on exactly as one that was never away. Days are UTC day numbers, minutes are since 1970. Fixed size: 344 bytes at
 * most, of the 2 KiB that an account may take; what not every account has is behind pointers (signals.h). */
#ifndef UPT_SCORE_EXT_H
#define UPT_SCORE_EXT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "segment.h"
#include "signals.h"
#include "uptake/output.h"
#include "uptake/str.h"

#define UPT_ACTIVE_DAYS 256
#define UPT_HISTORY_DAYS 29
#define UPT_NULL_U16 UINT16_MAX
#define UPT_NULL_U32 UINT32_MAX

/* The own baseline of usage and the test for a drop. */
struct upt_drop {
    double cusum;
    float profile[7]; /* expected USAGE events: of each weekday (0 = Monday); weekly, monthly: [0], of a period */
    float dispersion; /* 1 / size of the negative binomial */
    float observed, expected; /* since the CUSUM last left 0 */
    float held;               /* weekly, monthly: the last period, not yet learned */
    int32_t since_day;        /* first day in observed */
    int32_t periods_n;        /* learned */
    uint8_t cadence, other_n; /* in use; evaluations in a row in which the account's was another */
    bool has_held;
};

/* A 30-day risk whose outcome is not known yet. */
struct upt_foretold {
    int32_t day;
    uint16_t risk_e4; /* UPT_NULL_U16: none */
};

/* What an event touches comes first: 128 bytes. */
struct upt_score_ext {
    int64_t last_key_ms; /* event time of the latest key event */
    double volume;       /* key events, each 2^(−age/21), as of last_day */
    int32_t last_day;    /* of the latest key event */
    int32_t first_day;   /* of the earliest */
    int32_t value_day;   /* of the latest VALUE; valid if has_value */
    bool born, has_key, has_value;
    bool metered;                               /* signals.relation has meters; not part of a checkpoint */
    uint64_t active[UPT_ACTIVE_DAYS / 64];      /* day d at bit d mod 256; valid for last_day − 255 … last_day */
    struct upt_signals signals;                 /* points to what is not there for all accounts: signals.h */
    struct upt_segment_mem segment;             /* its first 24 bytes */
    uint32_t nps_min, churned_min, renewed_min; /* of the latest such event; 0: none */
    int32_t evaluated_day;
    int32_t band_day;                               /* when the band last changed */
    uint32_t score, confidence, risk[UPT_HORIZONS]; /* millionths, as last evaluated; UPT_NULL_U32: null */
    uint32_t sent_score, sent_risk[UPT_HORIZONS];   /* as last published */
    uint16_t history[UPT_HISTORY_DAYS];             /* score of day d in hundredths at d mod 29; UPT_NULL_U16: none */
    int16_t nps_tenths;
    uint16_t days_ever; /* key-active days, also those no longer kept; late ones of before what is kept are not in it */
    uint8_t band, pending_n, phase;
    uint8_t sent_band, sent_phase;
    bool evaluated, sent;
    bool row_changed; /* band or risk changed since fill_row last ran; a hint, not part of a checkpoint */
    struct upt_drop drop;
    struct upt_foretold foretold;
};
static_assert(offsetof(struct upt_score_ext, segment) + offsetof(struct upt_segment_mem, contact_min) <= 128,
              "what an event touches");
static_assert(sizeof(struct upt_score_ext) <= 344, "an account's budget");

void upt_ext_init(struct upt_score_ext *ext);
#define UPT_EXT_VERSION 9
/* segments: the rules' (NULL: none), since memberships are stored by name. */
void upt_ext_encode(const struct upt_score_ext *ext, const struct upt_segments *segments, struct upt_buf *out);
/* ext is zeroed. What it points to is the state's memory; upt_signals_fini frees it, also after a failure. */
bool upt_ext_decode(struct upt_state *st, struct upt_score_ext *ext, const struct upt_segments *segments,
                    struct upt_str in);

#endif
