/* Inside `uptake fit`. cmd_fit.c: the command; fit_samples.c: what was known of accounts on days, and what became of
 * them; fit_renewals.c: those that renewed; fit_csv.c, fit_log.c: where events come from; fit_report.c: how good the
 * fit is on what it has not seen. One thread. Memory: samples (about 100 bytes each, at most SAMPLES_MAX), a bit a day
 * of each account, and the state of one partition. */
#ifndef UPT_FITTING_H
#define UPT_FITTING_H

#include "aggregate/score/fit.h"
#include "aggregate/score/score.h"
#include "aggregate/state/state.h"
#include "uptake/config.h"

#define UPT_FIT_SAMPLES_MAX 4000000
#define UPT_FIT_AT_MAX 64
#define UPT_FIT_NO_DAY INT32_MIN

/* A row of a labelled file. */
struct upt_fit_label {
    char *account; /* owned */
    bool churned;
    int32_t day; /* UPT_FIT_NO_DAY: not said */
};

/* Of an account in a range of days before a renewal (model.h): what was seen last, and that of the last renewal. */
struct upt_fit_renewal {
    int32_t day, until; /* of the look; a RENEWED may come until then. day UPT_FIT_NO_DAY: none, or it is settled */
    bool renewed;       /* there is a last renewal */
    double frequency, breadth, renewed_frequency, renewed_breadth; /* breadth NaN: no feature was ever named */
};

struct upt_fit_account {
    uint64_t hash;
    int32_t base;                     /* day of bit 0 */
    uint32_t words;                   /* of bits */
    uint64_t *bits;                   /* key-active days, owned */
    int32_t churned_day;              /* of the last CHURNED; UPT_FIT_NO_DAY: none */
    int32_t renewed_day;              /* of the last RENEWED */
    struct upt_fit_renewal *renewals; /* by range, owned; NULL: never looked at */
    uint8_t label;                    /* UPT_STAYED, UPT_LEFT; UPT_UNKNOWN: not labelled */
    int32_t label_day;
};

struct upt_fitting {
    struct upt_model *base; /* owned */
    struct upt_rules *rules;
    struct upt_metrics *metrics;
    struct upt_score *score; /* of the partition that is being read */
    struct upt_state *st;
    int every;                    /* a sample of an account each so many days, 0: at[] */
    int at[UPT_FIT_AT_MAX], at_n; /* days since the first of the log; a repeated one counts double */
    int32_t first_day;            /* of the log; UPT_FIT_NO_DAY: none yet */
    int32_t last_day;             /* the last complete one */
    bool looking;                 /* for the first day alone, until an event is met */
    bool labelled;
    struct upt_fit_label *labels; /* by account */
    size_t labels_n, labels_met;  /* accounts that the events have, too */
    struct upt_fit_account *accounts;
    size_t accounts_n, accounts_cap;
    struct upt_fit_sample *samples;
    size_t samples_n, samples_cap;
    bool too_many;
    char names[UPT_MODEL_SEGMENTS_MAX][UPT_MODEL_NAME_MAX + 1];
    size_t names_n;
};

/* fit_samples.c */
UPT_NODISCARD upt_status upt_fitting_open(struct upt_fitting *f, const char *base_path, struct upt_error *reterr);
void upt_fitting_close(struct upt_fitting *f);
UPT_NODISCARD upt_status upt_fitting_begin(struct upt_fitting *f, int32_t partition, struct upt_error *reterr);
/* Runs the partition to the end of its last day. whole: all of that day is there. */
UPT_NODISCARD upt_status upt_fitting_end(struct upt_fitting *f, bool whole, struct upt_error *reterr);
/* Outcomes of all samples, from labels or from what came after. */
void upt_fitting_mature(struct upt_fitting *f);

/* fit_renewals.c */
/* At an account's daily minute, while it has a key event and has not churned. */
void upt_fit_renewal_look(const struct upt_fitting *f, struct upt_fit_account *a, struct upt_account *acct,
                          int32_t today);
/* RENEWED or CHURNED of a day. */
void upt_fit_renewal_event(struct upt_fit_account *a, upt_kind kind, int32_t day);
/* Puts the tables that there are accounts enough for into the model; how many those are, 0: too few. */
void upt_fit_renewals(const struct upt_fitting *f, struct upt_model *model, size_t ret_accounts[UPT_RENEWED_TABLES]);

/* fit_csv.c: events FILE, labels FILE. "-": standard input. */
UPT_NODISCARD upt_status upt_fit_read_csv(struct upt_fitting *f, const char *path, struct upt_error *reterr);
UPT_NODISCARD upt_status upt_fit_read_labels(struct upt_fitting *f, const char *path, struct upt_error *reterr);
/* fit_log.c */
UPT_NODISCARD upt_status upt_fit_read_log(struct upt_fitting *f, const struct upt_config *config,
                                          struct upt_error *reterr);
/* fit_report.c. Prints to standard output. */
UPT_NODISCARD upt_status upt_fit_report(const struct upt_fitting *f, const struct upt_fit_options *options,
                                        struct upt_error *reterr);

#endif
