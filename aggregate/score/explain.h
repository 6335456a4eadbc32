/* What would bring the risk down. Private to the room; the explanation itself is in score.h. */
#ifndef UPT_SCORE_EXPLAIN_H
#define UPT_SCORE_EXPLAIN_H

#include "evaluate.h"

#define UPT_RISK_THRESHOLD 0.5 /* of the 30-day risk: what the explanation is about */

/* The factor whose value, moved alone and by the smallest share of its range, brings the 30-day risk to the threshold;
 * *ret_to: that value. −1: it is below already, or no single factor can. */
int upt_counterfactual(const struct upt_model *model, const struct upt_eval *eval, double threshold, double *ret_to);

#endif
