/* What became of the accounts whose 30-day risk was foretold, by segment, and how good the risk was by it. One for a
 * process, shared by its lanes. Counters are of what the process saw since it began; figures of all that was ever seen
 * in the partitions that it has: those come with their counts (aggregate/score/outcome.c) and take them away again.
 *
 * Segments are named by whoever sends the events, so their number is bounded: the first UPT_OUTCOME_SEGMENTS that are
 * seen have counts of their own, what comes later is one more, `other`; accounts without a segment have theirs, with
 * the name "". Risks are kept by hundredths, which an AUC cannot tell from the risks themselves; /metrics shows tenths.
 * Any thread: counts are atomic, names are appended under a lock and never change. An account has an outcome once in
 * three months, so neither is met often. */
#ifndef UPT_OUTCOMES_H
#define UPT_OUTCOMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uptake/str.h"

#define UPT_OUTCOME_SEGMENTS 16
#define UPT_OUTCOME_NAME_MAX 64 /* bytes; a longer name is of `other` */
#define UPT_OUTCOME_SLOTS (UPT_OUTCOME_SEGMENTS + 2)
#define UPT_OUTCOME_ALL (-1) /* slot: all of them together */

struct upt_outcomes;
struct upt_outcomes *upt_outcomes_create(void);
void upt_outcomes_destroy(struct upt_outcomes **outcomes_p);

/* What a partition knows of a segment. */
#define UPT_OUTCOME_HUNDREDTHS 100
#define UPT_OUTCOME_TENTHS 10
struct upt_outcome_counts {
    uint32_t n[2][UPT_OUTCOME_HUNDREDTHS]; /* stayed, left; by risk */
    uint64_t risk_e4[UPT_OUTCOME_TENTHS];  /* sum */
    uint32_t leads, lead_days;             /* of those told in time */
};
/* What a partition brings to the figures, or takes away; no counter knows of it. */
void upt_outcomes_move(struct upt_outcomes *outcomes, struct upt_str segment, const struct upt_outcome_counts *counts,
                       bool away);

/* A risk (in ten-thousandths) whose outcome has come. lead_days: from it to the last use, of one that left and that an
 * alarm would have told in time; else 0. */
void upt_outcomes_add(struct upt_outcomes *outcomes, struct upt_str segment, uint32_t risk_e4, bool left,
                      uint32_t lead_days);

struct upt_outcome_figures {
    char segment[UPT_OUTCOME_NAME_MAX + 1];
    uint64_t n, left, leads;
    double predicted, observed; /* shares */
    double auc;                 /* NaN: not both outcomes */
    double calibration_error;   /* mean over tenths of the scale of |predicted − observed|; NaN likewise */
    double lead_days;           /* mean; NaN: none */
};
/* False: nothing was counted there. slot 0 to UPT_OUTCOME_SLOTS − 1, or UPT_OUTCOME_ALL. */
bool upt_outcomes_figures(struct upt_outcomes *outcomes, int slot, struct upt_outcome_figures *ret);

/* All of it as Prometheus text, and its rows of deploy/METRICS.md. */
void upt_outcomes_prometheus(struct upt_outcomes *outcomes, struct upt_buf *out);
void upt_outcomes_markdown(struct upt_buf *out);

#endif
