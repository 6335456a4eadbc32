/* Ridge logistic regression by Newton's method (iteratively reweighted least squares), with given signs.
 *
 *     minimise Σ w log loss + ½ · ridge · Σw · Σ (weight_i · sd_i)²       over intercept and weights
 *
 * Signs are those of the model file's limits: a model in which more use raises the risk is not believed by anyone, and
 * correlated features do get such weights. A weight that comes out with the wrong sign is fixed at 0, one beyond the
 * largest that the file allows at that, the worst first, until none is left. A feature that does not vary, and one that
 * is to be kept, has the weight of the base: it enters as an offset. A value that is not known is the feature's mean,
 * here as in the product.
 *
 * Other horizons: the same weights, an own intercept, not below that of the shorter one.
 *
 * Segments: after that, by themselves: shift s of log-odds with prior N(0, τ²), found by Newton's method; its standard
 * deviation is 1 / √(information + 1/τ²). τ² is the mean over segments of s² + sd² (EM). The weights stay those of
 * all accounts together, which is what a segment not listed needs. Samples of one account are no independent witnesses:
 * information is divided by samples per account.
 *
 * Sums run in the order of the samples, so the result does not depend on anything else. */
#include "fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "uptake/units.h"

#define COLUMNS (UPT_R_FITTED + 1)
#define NEWTON_MAX 60
#define EM_ROUNDS 30
#define ONE_OUTCOME_LEAST 20
#define RENEWED_ROWS 21 /* of shares of .05 */

struct fit {
    const struct upt_fit_sample *v;
    size_t n;
    const uint8_t *use;
    struct upt_model *model;
    double mean[UPT_R_FITTED], sd[UPT_R_FITTED];
    int column[UPT_R_FITTED]; /* features that are fitted, in order */
    int columns_n;
    double total; /* weight of all samples */
    double penalty;
};

static bool
used(const struct fit *fit, size_t i, int horizon)
{
    return (fit->use == NULL || fit->use[i] != 0) && fit->v[i].outcome[horizon] != UPT_UNKNOWN;
}

static double
value(const struct upt_model *model, const struct upt_fit_sample *s, int i)
{
    return isnan(s->x[i]) ? model->risk[i].mean : (double)s->x[i];
}

double
upt_fit_logit(const struct upt_model *model, const struct upt_fit_sample *s, int horizon, const char *segment)
{
    double logit = model->intercept[horizon];
    for (int i = 0; i < UPT_R_FITTED; i++) {
        bool other = i == UPT_R_GONE_ODDS && horizon > 0;
        logit += model->risk[i].weight * (other ? (double)s->gone[horizon - 1] : value(model, s, i));
    }
    for (size_t i = 0; segment != NULL && i < model->segments_n; i++) {
        logit += strcmp(model->segment[i].name, segment) == 0 ? model->segment[i].shift : 0;
    }
    return logit;
}

/* Means over the samples in which a feature is known become the model's. */
static void
standardise(struct fit *fit)
{
    for (int i = 0; i < UPT_R_FITTED; i++) {
        double w = 0;
        double sum = 0;
        double squares = 0;
        for (size_t k = 0; k < fit->n; k++) {
            if (used(fit, k, 0) && !isnan(fit->v[k].x[i])) {
                double x = (double)fit->v[k].x[i];
                w += fit->v[k].weight;
                sum += fit->v[k].weight * x;
                squares += fit->v[k].weight * x * x;
            }
        }
        fit->mean[i] = w > 0 ? upt_round6(sum / w) : fit->model->risk[i].mean;
        double variance = w > 0 ? squares / w - (sum / w) * (sum / w) : 0;
        fit->sd[i] = variance > 1e-10 ? sqrt(variance) : 0;
        fit->model->risk[i].mean = fit->mean[i];
        fit->model->risk[i].origin = w > 0 ? UPT_GIVEN : UPT_UNSEEN;
    }
}

/* Solves a·x = b for a symmetric positive definite matrix of n rows, in place. False: it is not. */
static bool
solve(double a[COLUMNS][COLUMNS], double b[COLUMNS], int n)
{
    for (int j = 0; j < n; j++) {
        for (int k = 0; k < j; k++) {
            a[j][j] -= a[j][k] * a[j][k];
        }
        if (!(a[j][j] > 1e-12)) {
            return false;
        }
        a[j][j] = sqrt(a[j][j]);
        for (int i = j + 1; i < n; i++) {
            for (int k = 0; k < j; k++) {
                a[i][j] -= a[i][k] * a[j][k];
            }
            a[i][j] /= a[j][j];
        }
    }
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++) {
            b[i] -= a[i][k] * b[k];
        }
        b[i] /= a[i][i];
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++) {
            b[i] -= a[k][i] * b[k];
        }
        b[i] /= a[i][i];
    }
    return true;
}

/* Gradient and half of the information at weights w (standardised; [0] the intercept). offset: of each sample. */
static void
accumulate(const struct fit *fit, const double *w, const double *offset, double a[COLUMNS][COLUMNS], double *g)
{
    int n = fit->columns_n + 1;
    double z[COLUMNS] = {1};
    for (size_t k = 0; k < fit->n; k++) {
        if (!used(fit, k, 0)) {
            continue;
        }
        double logit = offset[k] + w[0];
        for (int c = 1; c < n; c++) {
            int i = fit->column[c - 1];
            z[c] = (value(fit->model, &fit->v[k], i) - fit->mean[i]) / fit->sd[i];
            logit += w[c] * z[c];
        }
        double p = 1 / (1 + exp(-logit));
        double weight = fit->v[k].weight;
        double miss = weight * ((fit->v[k].outcome[0] == UPT_LEFT ? 1 : 0) - p);
        double curve = weight * p * (1 - p);
        for (int r = 0; r < n; r++) {
            g[r] += miss * z[r];
            for (int c = 0; c <= r; c++) {
                a[r][c] += curve * z[r] * z[c];
            }
        }
    }
    for (int c = 1; c < n; c++) {
        a[c][c] += fit->penalty;
        g[c] -= fit->penalty * w[c];
    }
}

static bool
newton(const struct fit *fit, const double *offset, double *w)
{
    int n = fit->columns_n + 1;
    memset(w, 0, COLUMNS * sizeof(*w));
    for (int round = 0; round < NEWTON_MAX; round++) {
        double a[COLUMNS][COLUMNS] = {{0}};
        double g[COLUMNS] = {0};
        double largest = 0;
        accumulate(fit, w, offset, a, g);
        if (!solve(a, g, n)) {
            return false;
        }
        for (int c = 0; c < n; c++) {
            largest = fmax(largest, fabs(g[c]));
        }
        for (int c = 0; c < n; c++) {
            w[c] += largest > 2 ? g[c] * 2 / largest : g[c];
        }
        if (largest < 1e-9) {
            return true;
        }
    }
    return false;
}

/* The feature whose weight is farthest from what the file allows (model.c); −1: none. */
static int
wrong_column(const struct fit *fit, const double *w, double *ret_allowed)
{
    int worst = -1;
    double by = 0;
    for (int c = 0; c < fit->columns_n; c++) {
        double sd = fit->sd[fit->column[c]];
        double allowed = upt_model_weight(fit->column[c], w[1 + c] / sd);
        double beyond = fabs(w[1 + c] / sd - allowed) * sd;
        if (beyond > by) {
            by = beyond;
            *ret_allowed = allowed;
            worst = c;
        }
    }
    return worst;
}

static upt_status
fit_weights(struct fit *fit, const struct upt_fit_options *options, struct upt_error *reterr)
{
    double *offset = calloc(fit->n, sizeof(*offset));
    double w[COLUMNS];
    if (offset == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for %zu samples", fit->n);
    }
    for (int i = 0; i < UPT_R_FITTED; i++) {
        if (!options->keep[i] && fit->sd[i] > 0) {
            fit->column[fit->columns_n++] = i;
            fit->model->risk[i].weight = 0;
            fit->model->risk[i].origin = UPT_FITTED;
        }
        for (size_t k = 0; k < fit->n && (options->keep[i] || fit->sd[i] <= 0); k++) {
            offset[k] += fit->model->risk[i].weight * (value(fit->model, &fit->v[k], i) - fit->mean[i]);
        }
    }
    bool good = newton(fit, offset, w);
    double allowed = 0;
    for (int c = good ? wrong_column(fit, w, &allowed) : -1; c >= 0; c = good ? wrong_column(fit, w, &allowed) : -1) {
        int i = fit->column[c];
        fit->model->risk[i].weight = allowed;
        for (size_t k = 0; k < fit->n; k++) {
            offset[k] += allowed * (value(fit->model, &fit->v[k], i) - fit->mean[i]);
        }
        memmove(&fit->column[c], &fit->column[c + 1], (size_t)(fit->columns_n - c - 1) * sizeof(fit->column[0]));
        fit->columns_n--;
        good = newton(fit, offset, w);
    }
    free(offset);
    if (!good) {
        return upt_fail(reterr, UPT_EDATA,
                        "the fit does not converge: too few samples, a feature that tells all, or two that tell the "
                        "same; a higher --ridge helps");
    }
    double intercept = w[0];
    for (int c = 0; c < fit->columns_n; c++) {
        int i = fit->column[c];
        fit->model->risk[i].weight = upt_round6(w[1 + c] / fit->sd[i]);
    }
    for (int i = 0; i < UPT_R_FITTED; i++) {
        intercept -= fit->model->risk[i].weight * fit->mean[i];
    }
    fit->model->intercept[0] = upt_round6(intercept);
    return UPT_OK;
}

/* Shift of the log-odds of the samples that are counted (segment −1: all), with a prior of variance τ² (0: none).
 * *ret_curve: the information. */
static double
shift_of(const struct fit *fit, int horizon, int segment, double prior, double share, double *ret_curve)
{
    double s = 0;
    double curve = 0;
    for (int round = 0; round < NEWTON_MAX; round++) {
        double miss = 0;
        curve = 0;
        for (size_t k = 0; k < fit->n; k++) {
            if (used(fit, k, horizon) && (segment < 0 || fit->v[k].segment == segment)) {
                double p = 1 / (1 + exp(-upt_fit_logit(fit->model, &fit->v[k], horizon, NULL) - s));
                miss += share * fit->v[k].weight * ((fit->v[k].outcome[horizon] == UPT_LEFT ? 1 : 0) - p);
                curve += share * fit->v[k].weight * p * (1 - p);
            }
        }
        double step = (miss - prior * s) / (curve + prior + 1e-9);
        s += fmax(-1, fmin(1, step));
        if (fabs(step) < 1e-8) {
            break;
        }
    }
    *ret_curve = curve;
    return s;
}

static void
fit_horizons(const struct fit *fit)
{
    struct upt_model *model = fit->model;
    for (int h = 1; h < 3; h++) {
        double curve = 0;
        model->intercept[h] = model->intercept[h - 1];
        double shift = shift_of(fit, h, -1, 0, 1, &curve);
        if (curve > ONE_OUTCOME_LEAST && shift > 0) {
            model->intercept[h] = upt_round6(model->intercept[h] + shift);
        }
    }
}

static void
fit_segments(const struct fit *fit, const char (*names)[UPT_MODEL_NAME_MAX + 1], size_t names_n,
             const struct upt_fit_options *options, const size_t *accounts, double share)
{
    double variance = 0.1;
    double shift[UPT_MODEL_SEGMENTS_MAX] = {0};
    double sd[UPT_MODEL_SEGMENTS_MAX] = {0};
    size_t n = names_n < UPT_MODEL_SEGMENTS_MAX ? names_n : UPT_MODEL_SEGMENTS_MAX;
    double curve[UPT_MODEL_SEGMENTS_MAX] = {0};
    size_t known = 0;
    for (int round = 0; round < EM_ROUNDS; round++) {
        double squares = 0;
        known = 0;
        for (size_t i = 0; i < n; i++) {
            if (accounts[i] >= options->segments_least) {
                shift[i] = shift_of(fit, 0, (int)i, 1 / variance, share, &curve[i]);
                sd[i] = sqrt(1 / (curve[i] + 1 / variance));
                squares += shift[i] * shift[i] + sd[i] * sd[i];
                known++;
            }
        }
        if (known < 2) {
            break;
        }
        double next = fmax(squares / (double)known, 1e-4);
        bool still = fabs(next - variance) < 1e-6;
        variance = next;
        if (still) {
            break;
        }
    }
    if (known >= 2) {
        fit->model->segment_sd = upt_round6(sqrt(variance));
    }
    fit->model->segments_n = 0;
    for (size_t i = 0; i < n && known >= 2 && !options->no_segments; i++) {
        if (accounts[i] >= options->segments_least) {
            struct upt_segment_shift *segment = &fit->model->segment[fit->model->segments_n++];
            memcpy(segment->name, names[i], sizeof(segment->name));
            segment->shift = upt_round6(shift[i]);
            segment->sd = upt_round6(sd[i]);
        }
    }
}

/* Accounts of each segment with a sample that is used, and samples an account. Samples of an account follow each other
 * nowhere in particular, so accounts are marked. */
static upt_status
count_accounts(const struct fit *fit, size_t *accounts, double *ret_share, struct upt_error *reterr)
{
    uint32_t most = 0;
    double all = 0;
    double distinct = 0;
    for (size_t k = 0; k < fit->n; k++) {
        most = fit->v[k].account > most ? fit->v[k].account : most;
    }
    uint8_t *seen = calloc((size_t)most + 1, 1);
    if (seen == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for %u accounts", most);
    }
    for (size_t k = 0; k < fit->n; k++) {
        if (used(fit, k, 0)) {
            all += fit->v[k].weight;
            if (seen[fit->v[k].account] == 0) {
                seen[fit->v[k].account] = 1;
                distinct++;
                if (fit->v[k].segment < UPT_MODEL_SEGMENTS_MAX) {
                    accounts[fit->v[k].segment]++;
                }
            }
        }
    }
    free(seen);
    *ret_share = all > 0 ? distinct / all : 1;
    return UPT_OK;
}

upt_status
upt_fit(const struct upt_fit_sample *v, size_t n, const uint8_t *use, const char (*names)[UPT_MODEL_NAME_MAX + 1],
        size_t names_n, const struct upt_fit_options *options, struct upt_model *model, struct upt_error *reterr)
{
    struct fit fit = {.v = v, .n = n, .use = use, .model = model};
    size_t accounts[UPT_MODEL_SEGMENTS_MAX] = {0};
    size_t outcomes[2] = {0};
    double share = 1;
    for (size_t k = 0; k < n; k++) {
        if (used(&fit, k, 0)) {
            fit.total += v[k].weight;
            outcomes[v[k].outcome[0]]++;
        }
    }
    if (outcomes[0] < ONE_OUTCOME_LEAST || outcomes[1] < ONE_OUTCOME_LEAST) {
        return upt_fail(reterr, UPT_EDATA,
                        "%zu samples of accounts that stayed and %zu of accounts that left; allowed: "
                        "at least %d of each",
                        outcomes[0], outcomes[1], ONE_OUTCOME_LEAST);
    }
    fit.penalty = options->ridge * fit.total;
    standardise(&fit);
    upt_status status = fit_weights(&fit, options, reterr);
    if (status == UPT_OK) {
        status = count_accounts(&fit, accounts, &share, reterr);
    }
    if (status == UPT_OK) {
        fit_horizons(&fit);
        fit_segments(&fit, names, names_n, options, accounts, share);
        memcpy(model->version, options->version, sizeof(model->version));
    }
    return status;
}

/* ---- those that renewed ---- */

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static double
value_at(const double *v, size_t n, double share)
{
    double place = share * (double)(n - 1);
    size_t at = (size_t)place;
    return upt_round6(at + 1 < n ? v[at] + (place - (double)at) * (v[at + 1] - v[at]) : v[n - 1]);
}

void
upt_fit_renewed(double *frequency, size_t n, double *breadth, size_t breadth_n, struct upt_renewed *ret)
{
    qsort(frequency, n, sizeof(*frequency), by_value);
    if (breadth_n > 0) {
        qsort(breadth, breadth_n, sizeof(*breadth), by_value);
    }
    *ret = (struct upt_renewed){.rows_n = RENEWED_ROWS, .has_breadth = breadth_n > 0};
    for (size_t i = 0; i < RENEWED_ROWS; i++) {
        ret->share_of[i] = (double)i / (RENEWED_ROWS - 1);
        ret->quantile[i][0] = value_at(frequency, n, ret->share_of[i]);
        ret->quantile[i][1] = breadth_n > 0 ? value_at(breadth, breadth_n, ret->share_of[i]) : 0;
    }
}
