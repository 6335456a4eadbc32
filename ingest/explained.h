/* The explanation of an account (aggregate/score/score.h) as text for a person. */
#ifndef UPT_EXPLAINED_H
#define UPT_EXPLAINED_H

#include <jansson.h>
#include <stdint.h>

/* Risk and its factors, the smallest change, use of 30 days as a chart; nothing for null. To stdout. An explanation is
 * of its own moment; where the row has something else, as it was decided last, both are said. */
void upt_explained_print(const json_t *explained, const json_t *row);
/* The parts of the score, and what else is known; of `health` of an explanation, or of an account-health record, which
 * is what was decided: then without row. */
void upt_explained_print_score(const json_t *health, const json_t *row);
void upt_explained_print_signals(const json_t *health);
/* The meters, each with units, entitlement and share; nothing for null, or if there are none. */
void upt_explained_print_meters(const json_t *explained);
/* ", acknowledged", ", snoozed until …" of an open alert; nothing if neither. */
void upt_explained_print_control(const json_t *explained, const char *alert_id);
/* The alerts that the cap on notifications holds back, and why; nothing if there is none. */
void upt_explained_print_held_back(const json_t *explained);
/* "2026-01-31 23:59 UTC" */
void upt_print_minute(const char *before, int64_t ms);

#endif
