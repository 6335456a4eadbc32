/* How good predicted probabilities are. Ties of predictions count by half in the AUC. Pure. */
#include <math.h>
#include <stdlib.h>

#include "fit.h"

struct pair {
    double p;
    uint8_t y;
};

static int
by_p(const void *a, const void *b)
{
    const struct pair *x = a;
    const struct pair *y = b;
    return x->p < y->p ? -1 : x->p > y->p ? 1 : (int)x->y - (int)y->y;
}

static double
auc(const struct pair *v, size_t n, double ones)
{
    double ranks = 0;
    for (size_t i = 0; i < n;) {
        size_t j = i;
        while (j < n && v[j].p <= v[i].p) {
            j++;
        }
        for (size_t k = i; k < j; k++) {
            ranks += v[k].y != 0 ? ((double)i + 1 + (double)j) / 2 : 0;
        }
        i = j;
    }
    return (ranks - ones * (ones + 1) / 2) / (ones * ((double)n - ones));
}

upt_status
upt_fit_measure(const double *p, const uint8_t *y, size_t n, struct upt_fit_quality *ret, struct upt_error *reterr)
{
    *ret = (struct upt_fit_quality){.n = n, .auc = (double)NAN, .lift = (double)NAN};
    if (n == 0) {
        return UPT_OK;
    }
    struct pair *v = calloc(n, sizeof(*v));
    if (v == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for %zu predictions", n);
    }
    for (size_t i = 0; i < n; i++) {
        v[i] = (struct pair){p[i], y[i]};
        ret->left += y[i];
        ret->brier += (p[i] - y[i]) * (p[i] - y[i]) / (double)n;
    }
    qsort(v, n, sizeof(*v), by_p);
    for (size_t i = 0; i < n; i++) {
        size_t tenth = i * 10 / n;
        ret->tenth[tenth].n++;
        ret->tenth[tenth].predicted += v[i].p;
        ret->tenth[tenth].observed += v[i].y;
    }
    for (int i = 0; i < 10; i++) {
        double in = ret->tenth[i].n > 0 ? (double)ret->tenth[i].n : 1;
        ret->ece += fabs(ret->tenth[i].predicted - ret->tenth[i].observed) / (double)n;
        ret->tenth[i].predicted /= in;
        ret->tenth[i].observed /= in;
    }
    if (ret->left > 0 && ret->left < n) {
        ret->auc = auc(v, n, (double)ret->left);
        ret->lift = ret->tenth[9].observed / ((double)ret->left / (double)n);
    }
    free(v);
    return UPT_OK;
}
