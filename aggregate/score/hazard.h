/* Churn risk of an account: the features of the hazard, and the hazard itself. See hazard.c. Private to the room. */
#ifndef UPT_SCORE_HAZARD_H
#define UPT_SCORE_HAZARD_H

#include "evaluate.h"

/* Fills the risk part of an evaluation whose activity, volume and breadth are there. The account must have a key event.
 */
void upt_hazard(const struct upt_model *model, struct upt_state *st, struct upt_account *acct, struct upt_eval *eval);
/* The features as they are, before they are limited; NaN: nothing is known. x[UPT_R_GONE_ODDS] is left alone, since it
 * depends on the horizon, and x[UPT_R_SEGMENT]. */
void upt_hazard_values(const struct upt_model *model, struct upt_state *st, struct upt_account *acct,
                       const struct upt_eval *eval, double x[UPT_R_COUNT]);
/* What the model file knows of a segment; NULL: nothing. */
const struct upt_segment_shift *upt_hazard_segment(const struct upt_model *model, struct upt_str name);
/* A feature of the 30-day risk in plain words. */
void upt_hazard_say(const struct upt_model *model, const struct upt_eval *eval, int i, char *buf, size_t cap);

#endif
