/* The outcomes of a partition, of risks by segment and of alerts by rule: see outcome.c, openings.c. Private to the
 * room. */
#ifndef UPT_SCORE_OUTCOME_H
#define UPT_SCORE_OUTCOME_H

#include "signals.h"
#include "uptake/outcomes.h"

#define UPT_OUTCOME_DAYS 30        /* within which an account leaves */
#define UPT_OUTCOME_SILENT_DAYS 60 /* after them, in which it does not come back */
#define UPT_MINUTES_A_DAY 1440

struct upt_rule_outcomes {
    uint32_t n, left;
    uint32_t lead[UPT_OUTCOME_DAYS + 1]; /* of those that left: days from OPEN to the end */
};

struct upt_outcome_table {
    struct upt_outcomes *shared; /* of the process, borrowed; NULL: nobody adds up */
    char model[17];              /* hash of the one whose risks these are; "": none yet */
    int64_t since;               /* of risks noted before this day another model's word is judged */
    unsigned n;
    struct {
        char name[UPT_OUTCOME_NAME_MAX + 1]; /* "": without one */
        struct upt_outcome_counts counts;
    } segment[UPT_OUTCOME_SLOTS]; /* in the order of their first outcome */
    struct upt_rule_outcomes rule[UPT_RULES];
};

void upt_outcome_encode(const struct upt_outcome_table *table, struct upt_buf *out);
/* In the place of what there is. False: damaged, or of another version. */
bool upt_outcome_decode(struct upt_outcome_table *table, struct upt_cur *cur);
/* Takes away what it brought to shared. */
void upt_outcome_fini(struct upt_outcome_table *table);

#endif
