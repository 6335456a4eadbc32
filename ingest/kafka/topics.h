/* The topics: created where missing, checked where present (contract §1, §4). */
#ifndef UPT_TOPICS_H
#define UPT_TOPICS_H

#include <stdint.h>

#include "uptake/config.h"
#include "uptake/status.h"
#include "uptake/str.h"

struct upt_topics {
    int32_t partitions; /* of the input */
    /* The most bytes that a batch to any of the others may have, and a dead letter; 0: not known. */
    int64_t batch_bytes, letter_bytes;
};

/* Checks the input topic, creates or checks the others. Findings that are
 * no reason to stop are logged, or appended to notes (one a line) if that is not NULL. create false: missing topics are
 * findings (for `check`). A broker without the Admin API (the embedded one) only gets the count of partitions. */
UPT_NODISCARD upt_status upt_topics_prepare(const struct upt_config *config, bool create, struct upt_buf *notes,
                                            struct upt_topics *ret, struct upt_error *reterr);

/* For events of so long ago, to be written now: notes (one a line) on what the input topic would do to them.
 * UPT_ENOTFOUND: there is none; the message says how it is made. */
UPT_NODISCARD upt_status upt_topics_backfill(const struct upt_config *config, int64_t age_ms, struct upt_buf *notes,
                                             struct upt_error *reterr);

#endif
