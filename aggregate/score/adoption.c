/* How far an account's adoption has come among others: those that renewed, at the same distance from their renewal,
 * where the model file has them; else those that stayed. Tables of the model alone, never what other accounts do now:
 * the same log gives the same percentile. The lane's thread. */
#include <math.h>

#include "decide.h"
#include "uptake/units.h"

#define PAST_DAYS 30 /* so long a renewal date counts as today's: RENEWAL_GAP goes on for as long */

/* In the order of upt_renewed_days; the last: of the cohort. */
static const char *const units[UPT_RENEWED_TABLES + 1] = {
    "share of the accounts that renewed, 0 to 30 days before",
    "share of the accounts that renewed, 31 to 60 days before",
    "share of the accounts that renewed, 61 to 90 days before",
    "share of the accounts that renewed, 91 to 180 days before",
    "share of the accounts that stayed",
};

/* NULL: the cohort of those that stayed. */
static const struct upt_renewed *
table_of(const struct upt_decision *d)
{
    const struct upt_model *model = d->score->model;
    int64_t day = 0;
    if (!model->has_renewed || !upt_trait_day(d->acct, "renewal_date", &day)) {
        return NULL;
    }
    int64_t left = day - d->eval->today;
    int i = left < -PAST_DAYS ? -1 : upt_renewed_of(left < 0 ? 0 : left);
    return i < 0 || model->renewed[i].rows_n == 0 ? NULL : &model->renewed[i];
}

double
upt_adoption_percentile(const struct upt_decision *d)
{
    const struct upt_eval *eval = d->eval;
    const struct upt_model *model = d->score->model;
    if (!eval->has_key) {
        return (double)NAN;
    }
    const struct upt_renewed *table = table_of(d);
    double frequency = eval->value[UPT_C_FREQUENCY_21D];
    frequency = table == NULL ? upt_percentile(model, UPT_C_FREQUENCY_21D, frequency)
                              : upt_percentile_renewed(table, 0, frequency);
    if (eval->features_n == 0 || (table != NULL && !table->has_breadth)) {
        return upt_round6(frequency);
    }
    double breadth = eval->value[UPT_C_BREADTH];
    breadth = table == NULL ? upt_percentile(model, UPT_C_BREADTH, breadth) : upt_percentile_renewed(table, 1, breadth);
    return upt_round6((frequency + breadth) / 2);
}

const char *
upt_adoption_unit(const struct upt_decision *d)
{
    const struct upt_renewed *table = table_of(d);
    return units[table == NULL ? UPT_RENEWED_TABLES : table - d->score->model->renewed];
}

const char *
upt_adoption_peers(const struct upt_decision *d)
{
    return upt_adoption_unit(d) + sizeof("share of the ") - 1;
}
