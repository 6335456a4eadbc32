/* The ends of the input's partitions, fetched once a second by one thread for all lanes: for wall ticks (which need an
 * end fetched at or after a wall time), for the lag, and for --until-end. */
#ifndef UPT_ENDS_H
#define UPT_ENDS_H

#include <stdbool.h>
#include <stdint.h>

#include "uptake/config.h"
#include "uptake/status.h"

struct upt_ends;

/* Fetches once before it returns, so that upt_ends_first is known. */
UPT_NODISCARD upt_status upt_ends_create(const struct upt_config *config, int32_t partitions, struct upt_ends **ret,
                                         struct upt_error *reterr);
void upt_ends_destroy(struct upt_ends **ends_p);

/* Any thread. The newest known end (what a read_committed reader can reach) and the wall time just before it was asked
 * for. False: not known. */
bool upt_ends_get(struct upt_ends *ends, int32_t partition, int64_t *ret_end, int64_t *ret_wall_ms);
/* The end when this process started. */
int64_t upt_ends_first(struct upt_ends *ends, int32_t partition);

#endif
