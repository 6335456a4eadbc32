/* The model file, parsed: everything that is fitted or weighed. See README.md for the formulas. Private to the room. */
#ifndef UPT_SCORE_MODEL_H
#define UPT_SCORE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Periods in which an account is judged: its own. */
enum { UPT_DAILY, UPT_WEEKLY, UPT_MONTHLY, UPT_CADENCES };
extern const int upt_cadence_days[UPT_CADENCES]; /* 1, 7, 28 */
extern const char *const upt_cadence_names[UPT_CADENCES];

/* Parts of the health score, in the order in which they are published. */
enum {
    UPT_C_FREQUENCY_10D,
    UPT_C_FREQUENCY_21D,
    UPT_C_VOLUME_21D,
    UPT_C_BREADTH,
    UPT_C_FEATURES_EVER,
    UPT_C_RETURN,
    UPT_C_COUNT,
};
#define UPT_C_PEERS UPT_C_RETURN /* the parts before it are percentiles of the cohort table */

/* Features of the risk. See hazard.c. */
enum {
    UPT_R_GONE_ODDS,
    UPT_R_SILENCE,
    UPT_R_OWN_SILENCE,
    UPT_R_SILENCE_X_GAP,
    UPT_R_GAP_MEAN,
    UPT_R_GAP_SPREAD,
    UPT_R_TENURE_DAYS,
    UPT_R_TENURE_WEEKS,
    UPT_R_ACTIVE_2D,
    UPT_R_FREQUENCY,
    UPT_R_FREQUENCY_21D,
    UPT_R_ACTIVE_WEEKS,
    UPT_R_ACTIVE_DAYS,
    UPT_R_VOLUME_2D,
    UPT_R_VOLUME,
    UPT_R_DAY_VOLUME,
    UPT_R_BREADTH,
    UPT_R_SEAT_USE,
    UPT_R_SEGMENT, /* the shift of the account's segment: weight 1, mean 0, not in the file's list of features */
    UPT_R_COUNT,
};
#define UPT_R_FITTED UPT_R_SEGMENT /* those before it are rows of [risk] */
#define UPT_MODEL_SEGMENTS_MAX 256
#define UPT_MODEL_NAME_MAX 64

#define UPT_QUANTILES_MAX 101
#define UPT_VERSION_MAX 63

/* Ranges of days before a renewal date: up to these, each from where the one before ends. */
#define UPT_RENEWED_TABLES 4
extern const int upt_renewed_days[UPT_RENEWED_TABLES]; /* 30, 60, 90, 180 */
/* The range that so many days are in; -1: none. */
int upt_renewed_of(int64_t days);

/* Percentiles among the accounts that renewed, in a range. */
struct upt_renewed {
    size_t rows_n; /* 0: not in the file */
    bool has_breadth;
    double share_of[UPT_QUANTILES_MAX];
    double quantile[UPT_QUANTILES_MAX][2]; /* frequency_21d, breadth */
};

struct upt_bgbb {
    double alpha, beta, gamma, delta;
};

/* Where a feature's figures are from: FITTED: from data; GIVEN: the weight is chosen; UNSEEN: so is the mean, since the
 * data never shows the feature. In the file the last word of its row. */
enum upt_origin { UPT_FITTED, UPT_GIVEN, UPT_UNSEEN, UPT_ORIGINS };
extern const char *const upt_origin_names[UPT_ORIGINS]; /* "", "given", "unseen" */

/* What a segment adds to the log-odds of every horizon, and how well that is known. */
struct upt_segment_shift {
    char name[UPT_MODEL_NAME_MAX + 1];
    double shift, sd;
};

struct upt_model {
    char version[UPT_VERSION_MAX + 1];
    char hash[17]; /* of the file's bytes, 16 hex digits */
    bool shipped;  /* built in: its probabilities are those of other accounts */
    struct upt_bgbb bgbb[UPT_CADENCES];
    double blocks, blocks_least, share; /* cadence: of at least blocks_least and at most blocks, share must be active */
    double scale[UPT_CADENCES];         /* an active period counts as so many active days */

    int32_t weight_milli[UPT_C_COUNT]; /* thousandths; they add up to 1000 */
    int32_t mean_e5[UPT_C_COUNT];      /* hundred-thousandths */
    double return_days;
    double confidence_half;
    double confidence_floor; /* below: no score */
    double confidence_band;  /* below: no band, no place in the history, no CHURN_RISK */
    double band_edge[3];     /* below [0] CRITICAL, [1] AT_RISK, [2] WATCH, else HEALTHY */
    double band_margin, band_evaluations, band_days;

    size_t quantiles_n;
    double share_of[UPT_QUANTILES_MAX];
    double quantile[UPT_QUANTILES_MAX][UPT_C_PEERS];

    bool has_renewed; /* any of these */
    struct upt_renewed renewed[UPT_RENEWED_TABLES];

    double intercept[3]; /* by horizon: 30, 60, 90 days */
    double segment_sd;   /* of log-odds between segments: how far one that is not listed may be off */
    struct {
        double weight, mean, least, most;
        enum upt_origin origin;
    } risk[UPT_R_COUNT];
    size_t segments_n;
    struct upt_segment_shift segment[UPT_MODEL_SEGMENTS_MAX]; /* by name, ascending */

    struct {
        double intercept, own_silence, days_silent, count, spread; /* log-odds */
        double count_most, spread_most;                            /* caps of the last two */
        double gap_mean, gap_variance, gap_weight, gap_decay;
        double gaps_least; /* no alarm before so many own typical gaps; of an irregular account (spread of its own log
                            * gaps from gaps_regular on) at most gaps_least_days are waited for */
        double gaps_least_days, gaps_regular;
    } silence;

    double log_gap[257];                            /* log of days; [0] unused */
    double half_2[257], half_10[257], half_21[257]; /* 2^(−age/2), 2^(−age/10), 2^(−age/21) */
};

/* What the file allows as the weight of a feature, nearest to this. */
double upt_model_weight(int feature, double weight);
/* Names of segments as words of the file: what is no letter, digit, '-', '_' or '.' becomes %XX. out: 3 times the
 * length, and 1. False: not so, or too long. */
void upt_model_escape(const char *name, char *out);
bool upt_model_unescape(const char *word, char name[UPT_MODEL_NAME_MAX + 1]);

extern const char *const upt_part_names[UPT_C_COUNT];
extern const char *const upt_risk_names[UPT_R_COUNT];

#endif
