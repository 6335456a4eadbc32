/* The explanation of an account (aggregate/score/score.h) as text for a person. */
#ifndef UPT_EXPLAINED_H
#define UPT_EXPLAINED_H

#include <jansson.h>

/* Risk and its factors, the smallest change, use of 30 days as a chart; nothing for null. To stdout. */
void upt_explained_print(const json_t *explained);
/* " acknowledged", " snoozed until …" of an open alert; nothing if neither. */
void upt_explained_print_control(const json_t *explained, const char *alert_id);

#endif
