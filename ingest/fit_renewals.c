/* How far adoption had come of accounts that renewed, at which distance from the renewal: tables of [renewed].
 *
 * An account gives one value to each range of days (model.h), else those that were looked at often would count most:
 * that of the day whose distance is the range's first + the hash of the account modulo the range's length. It counts
 * once RENEWED comes, on that day or later, until GRACE days after the renewal date of then, with no CHURNED before;
 * of several renewals the last. Memory: some 200 bytes for each account with a renewal date. */
#include <math.h>
#include <stdlib.h>

#include "aggregate/score/evaluate.h"
#include "ingest/fitting.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define GRACE_DAYS 30
#define ACCOUNTS_LEAST 30 /* of fewer there is no table */

static int32_t
first_of(int range)
{
    return range == 0 ? 0 : upt_renewed_days[range - 1] + 1;
}

static struct upt_fit_renewal *
renewals_of(struct upt_fit_account *a)
{
    if (a->renewals == NULL) {
        a->renewals = calloc(UPT_RENEWED_TABLES, sizeof(*a->renewals));
        upt_assert(a->renewals != NULL);
        for (int i = 0; i < UPT_RENEWED_TABLES; i++) {
            a->renewals[i].day = UPT_FIT_NO_DAY;
        }
    }
    return a->renewals;
}

void
upt_fit_renewal_look(const struct upt_fitting *f, struct upt_fit_account *a, struct upt_account *acct, int32_t today)
{
    struct upt_eval eval;
    int64_t renewal = 0;
    if (!upt_trait_day(acct, "renewal_date", &renewal)) {
        return;
    }
    int64_t left = renewal - today;
    int range = upt_renewed_of(left);
    if (range < 0) {
        return;
    }
    int32_t first = first_of(range);
    uint64_t days = (uint64_t)(upt_renewed_days[range] - first + 1);
    if (left != first + (int64_t)(a->hash % days)) {
        return;
    }
    upt_evaluate(f->base, f->st, acct, upt_account_ext(acct), &eval);
    struct upt_fit_renewal *r = &renewals_of(a)[range];
    r->day = today;
    r->until = (int32_t)renewal + GRACE_DAYS;
    r->frequency = eval.value[UPT_C_FREQUENCY_21D];
    r->breadth = eval.features_n > 0 ? eval.value[UPT_C_BREADTH] : (double)NAN;
}

void
upt_fit_renewal_event(struct upt_fit_account *a, upt_kind kind, int32_t day)
{
    for (int i = 0; a->renewals != NULL && i < UPT_RENEWED_TABLES; i++) {
        struct upt_fit_renewal *r = &a->renewals[i];
        if (kind == UPT_KIND_CHURNED) {
            r->day = UPT_FIT_NO_DAY;
        } else if (r->day != UPT_FIT_NO_DAY && day >= r->day && day <= r->until) {
            r->day = UPT_FIT_NO_DAY;
            r->renewed = true;
            r->renewed_frequency = r->frequency;
            r->renewed_breadth = r->breadth;
        }
    }
}

void
upt_fit_renewals(const struct upt_fitting *f, struct upt_model *model, size_t ret_accounts[UPT_RENEWED_TABLES])
{
    double *frequency = calloc(f->accounts_n + 1, sizeof(*frequency));
    double *breadth = calloc(f->accounts_n + 1, sizeof(*breadth));
    upt_assert(frequency != NULL && breadth != NULL);
    for (int i = 0; i < UPT_RENEWED_TABLES; i++) {
        size_t n = 0;
        size_t named = 0; /* of these, with a feature */
        for (size_t k = 0; k < f->accounts_n; k++) {
            const struct upt_fit_renewal *r = f->accounts[k].renewals == NULL ? NULL : &f->accounts[k].renewals[i];
            if (r != NULL && r->renewed) {
                frequency[n++] = r->renewed_frequency;
                breadth[named] = r->renewed_breadth;
                named += isnan(r->renewed_breadth) ? 0 : 1;
            }
        }
        ret_accounts[i] = n < ACCOUNTS_LEAST ? 0 : n;
        if (n >= ACCOUNTS_LEAST) {
            upt_fit_renewed(frequency, n, breadth, named < ACCOUNTS_LEAST ? 0 : named, &model->renewed[i]);
            model->has_renewed = true;
        }
    }
    free(frequency);
    free(breadth);
}
