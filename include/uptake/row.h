/* The public row of an account, of a feature and of the totals: plain values true at one position (contract §3).
 * The state fills them, the view formats and writes them. Fixed size; strings are borrowed from the state. */
#ifndef UPT_ROW_H
#define UPT_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "uptake/output.h"
#include "uptake/position.h"
#include "uptake/signal.h"
#include "uptake/str.h"
#include "uptake/units.h"

/* Windows in this order everywhere. */
enum { UPT_W_1H, UPT_W_24H, UPT_W_7D, UPT_W_30D, UPT_WINDOWS };
extern const char *const upt_window_names[UPT_WINDOWS]; /* "1h", "24h", "7d", "30d" */

struct upt_usage {
    uint64_t events;
    upt_i128 micro_units; /* millionths */
    uint64_t logins;
};

#define UPT_SHARE_ABSENT UINT32_MAX

/* Groups of fields that seldom change; the others change with every event. */
enum {
    UPT_ROW_LOGINS = 1, /* logins_* */
    UPT_ROW_USERS = 2,  /* users_*, features_30d and the shares made of them */
    UPT_ROW_REST = 4,   /* first_seen, partition, profile, scores, alerts, and the ranks */
    UPT_ROW_SIGNALS = 8,
    UPT_ROW_FEATURES = 16, /* the hash of features */
    UPT_ROW_ALL = 31
};

struct upt_row {
    struct upt_str account;
    int32_t partition;
    struct upt_pos pos;  /* offset = field `offset`; pos.tick as run */
    int64_t as_of;       /* the clock for which all is true */
    int64_t next_change; /* UPT_NO_CLOCK: absent */
    bool whole;          /* what Redis holds of it is not known: write all of it anew */
    unsigned changed;    /* groups that differ from the row taken before; all, if whole */
    struct upt_usage usage[UPT_WINDOWS];
    uint64_t users_24h, users_7d, users_30d, users_total;
    uint64_t features_30d;
    int64_t first_seen, last_seen;
    struct upt_str segment, tier, renewal_date; /* as last given; null: absent */
    bool has_seats;
    int64_t micro_seats;
    uint32_t seat_utilisation, adoption_rate; /* millionths or UPT_SHARE_ABSENT */
    /* From the scores; absent until first evaluated. */
    bool has_scores;
    double health; /* NaN: absent */
    upt_band band;
    double confidence;
    double risk[UPT_HORIZONS]; /* NaN: absent */
    upt_phase phase;
    uint32_t open_alerts;
    struct upt_str segments;   /* names of those that it is in, commas between them; null: none */
    struct upt_str controlled; /* open alerts acknowledged or snoozed, in the form of the row's field; null: none */
    struct upt_str signals;    /* packed (signal.h), as of the last daily evaluation; null: none is known */
    bool scores_changed;       /* band or risk changed since the row was last taken: a hint for uptake:changes */
};

/* One entry of uptake:account:{ID}:features; days 0: the field is to be removed. */
struct upt_feature_days {
    struct upt_str feature;
    uint32_t days;
};

/* This partition's contribution to a feature row. */
struct upt_feature_row {
    struct upt_str feature;
    int32_t partition;
    struct upt_pos pos;
    int64_t as_of;
    struct upt_usage usage[UPT_WINDOWS]; /* logins unused */
    uint64_t accounts_30d, users_30d;
};

/* This partition's contribution to the totals. */
struct upt_totals_row {
    int32_t partition;
    struct upt_pos pos;
    int64_t as_of;
    struct upt_usage usage[UPT_WINDOWS];
    uint64_t accounts_30d, users_30d, users_total, accounts_total, open_alerts;
};

#endif
