/* How good the fit is on what it was not fitted to: accounts left out (fifths of them by hash), segments left out
 * (fifths of them, in order of appearance), and time (fitted to what had matured by a day, judged on what was known
 * after it). For each the model is fitted anew; predictions of all parts are pooled and measured together. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ingest/fitting.h"
#include "uptake/assert.h"

#define FOLDS 5
#define ALARM 0.75    /* for the lead */
#define HOT_BELOW 1.2 /* of log(1 + days silent): silent for at most two days */

struct held_out {
    const struct upt_fitting *f;
    const struct upt_fit_options *options;
    uint8_t *use;
    double *p; /* NaN: not predicted */
    struct upt_model *model;
};

static upt_status
predict(struct held_out *h, const uint8_t *judged, bool with_segments, struct upt_error *reterr)
{
    const struct upt_fitting *f = h->f;
    struct upt_fit_options options = *h->options;
    options.no_segments = !with_segments;
    *h->model = *f->base;
    upt_status status = upt_fit(f->samples, f->samples_n, h->use, (const char(*)[UPT_MODEL_NAME_MAX + 1]) f->names,
                                f->names_n, &options, h->model, reterr);
    for (size_t i = 0; status == UPT_OK && i < f->samples_n; i++) {
        const struct upt_fit_sample *s = &f->samples[i];
        const char *name = s->segment == UINT16_MAX ? NULL : f->names[s->segment];
        if (judged[i] != 0 && s->outcome[0] != UPT_UNKNOWN) {
            h->p[i] = 1 / (1 + exp(-upt_fit_logit(h->model, s, 0, name)));
        }
    }
    return status;
}

static int
by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Days from an account's first prediction of at least ALARM to its last key-active day: of those that left. */
static void
print_lead(const struct held_out *h)
{
    const struct upt_fitting *f = h->f;
    int *first = calloc(f->accounts_n + 1, sizeof(*first));
    int *lead = calloc(f->accounts_n + 1, sizeof(*lead));
    uint8_t *left = calloc(f->accounts_n + 1, 1);
    upt_assert(first != NULL && lead != NULL && left != NULL);
    size_t n = 0;
    size_t all = 0;
    for (size_t i = 0; i < f->samples_n; i++) {
        const struct upt_fit_sample *s = &f->samples[i];
        if (!isnan(h->p[i]) && s->outcome[0] == UPT_LEFT) {
            left[s->account] = 1;
        }
    }
    for (size_t i = 0; i < f->samples_n; i++) {
        const struct upt_fit_sample *s = &f->samples[i];
        if (!isnan(h->p[i]) && h->p[i] >= ALARM && left[s->account] == 1) {
            left[s->account] = 2;
            lead[n++] = s->last_day - s->day;
        }
    }
    for (size_t i = 0; i < f->accounts_n; i++) {
        all += left[i] != 0 ? 1 : 0;
    }
    qsort(lead, n, sizeof(*lead), by_number);
    if (n > 0) {
        printf("  lead: %zu of %zu accounts that left had a risk of at least %.2f; from the first such day to their "
               "last use: median %d days, quartiles %d to %d\n",
               n, all, ALARM, lead[n / 2], lead[n / 4], lead[n * 3 / 4]);
    }
    free(first);
    free(lead);
    free(left);
}

/* Of one day of the log: all accounts, and those with a key-active day in the last three. */
static upt_status
print_day(const struct held_out *h, int at, struct upt_error *reterr)
{
    const struct upt_fitting *f = h->f;
    struct upt_fit_quality q[2];
    double *p = calloc(f->samples_n + 1, sizeof(*p));
    uint8_t *y = calloc(f->samples_n + 1, 1);
    upt_assert(p != NULL && y != NULL);
    upt_status status = UPT_OK;
    for (int hot = 0; hot < 2 && status == UPT_OK; hot++) {
        size_t n = 0;
        for (size_t i = 0; i < f->samples_n; i++) {
            const struct upt_fit_sample *s = &f->samples[i];
            bool in = s->day == f->first_day + at - 1 && (hot == 0 || s->x[UPT_R_SILENCE] < (float)HOT_BELOW);
            if (in && !isnan(h->p[i])) {
                p[n] = h->p[i];
                y[n++] = s->outcome[0] == UPT_LEFT ? 1 : 0;
            }
        }
        status = upt_fit_measure(p, y, n, &q[hot], reterr);
    }
    if (status == UPT_OK) {
        printf("  day %d: %zu samples, AUC %.4f; %zu of the active, AUC %.4f; calibration error %.4f\n", at, q[0].n,
               q[0].auc, q[1].n, q[1].auc, q[0].ece);
    }
    free(p);
    free(y);
    return status;
}

static upt_status
print_quality(const struct held_out *h, const char *what, struct upt_error *reterr)
{
    const struct upt_fitting *f = h->f;
    struct upt_fit_quality q;
    double *p = calloc(f->samples_n + 1, sizeof(*p));
    uint8_t *y = calloc(f->samples_n + 1, 1);
    upt_assert(p != NULL && y != NULL);
    size_t n = 0;
    for (size_t i = 0; i < f->samples_n; i++) {
        if (!isnan(h->p[i])) {
            p[n] = h->p[i];
            y[n++] = f->samples[i].outcome[0] == UPT_LEFT ? 1 : 0;
        }
    }
    upt_status status = upt_fit_measure(p, y, n, &q, reterr);
    if (status == UPT_OK && n > 0) {
        printf("%s: %zu samples, %.1f%% left; AUC %.4f, lift of the highest tenth %.2f, Brier %.4f, calibration error "
               "%.4f\n  tenth    ",
               what, n, 100.0 * (double)q.left / (double)n, q.auc, q.lift, q.brier, q.ece);
        for (int i = 0; i < 10; i++) {
            printf("%7d", i + 1);
        }
        printf("\n  predicted");
        for (int i = 0; i < 10; i++) {
            printf("%7.3f", q.tenth[i].predicted);
        }
        printf("\n  observed ");
        for (int i = 0; i < 10; i++) {
            printf("%7.3f", q.tenth[i].observed);
        }
        printf("\n");
        print_lead(h);
        for (int i = 0; i < f->at_n && status == UPT_OK; i++) {
            status = i == 0 || f->at[i] != f->at[i - 1] ? print_day(h, f->at[i], reterr) : UPT_OK;
        }
    }
    free(p);
    free(y);
    return status;
}

/* That a part is too small to be fitted to is no reason not to fit to the whole. */
static upt_status
too_little(const char *what, upt_status status, const struct upt_error *err)
{
    if (status == UPT_EDATA) {
        printf("left out by %s: not measured; of one part: %s\n", what, err->msg);
    }
    return status == UPT_EDATA ? UPT_OK : status;
}

/* fold of each sample: by account, or by segment. */
static int
fold_of(const struct upt_fitting *f, const struct upt_fit_sample *s, bool segments)
{
    return segments ? s->segment % FOLDS : (int)(f->accounts[s->account].hash / 7 % FOLDS);
}

static upt_status
folds(struct held_out *h, bool segments, struct upt_error *reterr)
{
    const struct upt_fitting *f = h->f;
    uint8_t *judged = calloc(f->samples_n + 1, 1);
    upt_assert(judged != NULL);
    upt_status status = UPT_OK;
    for (size_t i = 0; i < f->samples_n; i++) {
        h->p[i] = (double)NAN;
    }
    for (int fold = 0; fold < FOLDS && status == UPT_OK; fold++) {
        for (size_t i = 0; i < f->samples_n; i++) {
            judged[i] = fold_of(f, &f->samples[i], segments) == fold ? 1 : 0;
            h->use[i] = judged[i] == 0 ? 1 : 0;
        }
        status = predict(h, judged, !segments, reterr);
    }
    free(judged);
    const char *what = segments ? "left out by segment" : "left out by account";
    return status == UPT_OK ? print_quality(h, what, reterr)
                            : too_little(segments ? "segment" : "account", status, reterr);
}

/* The cut: the day before which are 70 % of the samples whose outcome is known. */
static upt_status
by_time(struct held_out *h, struct upt_error *reterr)
{
    const struct upt_fitting *f = h->f;
    int *days = calloc(f->samples_n + 1, sizeof(*days));
    uint8_t *judged = calloc(f->samples_n + 1, 1);
    upt_assert(days != NULL && judged != NULL);
    size_t n = 0;
    size_t later = 0;
    for (size_t i = 0; i < f->samples_n; i++) {
        if (f->samples[i].outcome[0] != UPT_UNKNOWN) {
            days[n++] = f->samples[i].day;
        }
    }
    qsort(days, n, sizeof(*days), by_number);
    int cut = n > 0 ? days[n * 7 / 10] : 0;
    for (size_t i = 0; i < f->samples_n; i++) {
        h->p[i] = (double)NAN;
        h->use[i] = f->samples[i].matured <= cut ? 1 : 0;
        judged[i] = f->samples[i].day >= cut ? 1 : 0;
        later += judged[i] != 0 && f->samples[i].outcome[0] != UPT_UNKNOWN ? 1 : 0;
    }
    upt_status status = UPT_OK;
    if (later == 0) {
        printf("left out by time: no outcome is known of days after those fitted to\n");
    } else {
        status = predict(h, judged, true, reterr);
        status = status == UPT_OK ? print_quality(h, "left out by time", reterr) : too_little("time", status, reterr);
    }
    free(days);
    free(judged);
    return status;
}

upt_status
upt_fit_report(const struct upt_fitting *f, const struct upt_fit_options *options, struct upt_error *reterr)
{
    struct held_out h = {.f = f,
                         .options = options,
                         .use = calloc(f->samples_n + 1, 1),
                         .p = calloc(f->samples_n + 1, sizeof(double)),
                         .model = calloc(1, sizeof(*h.model))};
    upt_assert(h.use != NULL && h.p != NULL && h.model != NULL);
    upt_status status = folds(&h, false, reterr);
    if (status == UPT_OK && f->names_n >= FOLDS) {
        status = folds(&h, true, reterr);
    }
    if (status == UPT_OK) {
        status = by_time(&h, reterr);
    }
    free(h.use);
    free(h.p);
    free(h.model);
    return status;
}
