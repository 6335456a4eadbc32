/* What would bring the risk down. Private to the room; the explanation itself is in score.h. */
#ifndef UPT_SCORE_EXPLAIN_H
#define UPT_SCORE_EXPLAIN_H

#include <stddef.h>

#include "evaluate.h"

/* The factor whose value, moved alone and by the smallest share of its range, brings the risk of a horizon (index) to
 * the threshold; *ret_to: that value. Only what is known of the account and what use can change: a factor of its past
 * (tenure, gaps) or of its segment is no advice. −1: it is below already, or no single factor can. */
int upt_counterfactual(const struct upt_model *model, const struct upt_eval *eval, int horizon, double threshold,
                       double *ret_to);
/* The sentence that says so, true of the numbers as they are shown: the risk there is at most the threshold. */
void upt_counterfactual_say(const struct upt_model *model, const struct upt_eval *eval, int horizon, double threshold,
                            int factor, double to, char *buf, size_t cap);
/* The value of a factor as one counts it (days, uses, percent); grows with the value. */
double upt_counted(int factor, double v);

#endif
