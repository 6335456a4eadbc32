/* Fits the churn hazard to samples: what was known of an account on a day, and whether it left. Formulas in fit.c.
 * Pure and deterministic: the same samples in the same order give the same bytes on the same machine. */
#ifndef UPT_SCORE_FIT_H
#define UPT_SCORE_FIT_H

#include <stdint.h>

#include "model.h"
#include "uptake/status.h"
#include "uptake/str.h"

enum { UPT_STAYED, UPT_LEFT, UPT_UNKNOWN };

struct upt_fit_sample {
    float x[UPT_R_FITTED]; /* within the model's limits; NaN: nothing known */
    float gone[2];         /* x[UPT_R_GONE_ODDS] of the second and third horizon */
    uint32_t account;
    int32_t day;        /* UTC day up to which things were known */
    int32_t last_day;   /* last key-active day in the log, for the lead */
    uint16_t segment;   /* index of names; UINT16_MAX: none */
    uint8_t weight;     /* counts as so many */
    uint8_t outcome[3]; /* by horizon */
    int32_t matured;    /* day on which outcome[0] was known */
};

struct upt_fit_options {
    double ridge;            /* per sample, of standardised features */
    bool keep[UPT_R_FITTED]; /* weight as in the base model */
    size_t segments_least;   /* accounts below which a segment is not listed */
    bool no_segments;        /* none are listed */
    char version[UPT_VERSION_MAX + 1];
};

/* use[i]: whether sample i is learned from; NULL: all. names: of segments. model: the base; its risk part is replaced.
 * UPT_EDATA: too few of one outcome, said in reterr. */
UPT_NODISCARD upt_status upt_fit(const struct upt_fit_sample *v, size_t n, const uint8_t *use,
                                 const char (*names)[UPT_MODEL_NAME_MAX + 1], size_t names_n,
                                 const struct upt_fit_options *options, struct upt_model *model,
                                 struct upt_error *reterr);
/* Log-odds of a sample for a horizon by a model. */
double upt_fit_logit(const struct upt_model *model, const struct upt_fit_sample *s, int horizon, const char *segment);

/* How good predictions are: p[i] of n with outcome y[i] (0 or 1). */
struct upt_fit_quality {
    size_t n, left;
    double auc, lift, brier, ece; /* lift: of the tenth at highest risk; ece: by tenths of the predictions */
    struct {
        size_t n;
        double predicted, observed;
    } tenth[10];
};
UPT_NODISCARD upt_status upt_fit_measure(const double *p, const uint8_t *y, size_t n, struct upt_fit_quality *ret,
                                         struct upt_error *reterr);

/* The table of those that renewed from the values of n and breadth_n accounts (0: breadth is not in it), which it
 * sorts: at share s, between the values in their order in proportion, that of place s · (n − 1). */
void upt_fit_renewed(double *frequency, size_t n, double *breadth, size_t breadth_n, struct upt_renewed *ret);

/* model_write.c. notes: comment lines above [risk]. */
void upt_model_rewrite(struct upt_str base, const struct upt_model *model, const char *notes, struct upt_buf *out);
/* The shipped file's text. */
struct upt_str upt_model_shipped(void);

#endif
