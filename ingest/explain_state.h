/* An account as the last checkpoint has it, explained. For commands: the process itself is not asked. */
#ifndef UPT_EXPLAIN_STATE_H
#define UPT_EXPLAIN_STATE_H

#include "uptake/config.h"
#include "uptake/status.h"
#include "uptake/str.h"

/* Reads the state topic of the partition and appends what upt_score_explain_json says of the account under this
 * configuration's model and rules. UPT_ENOTFOUND: no checkpoint has it yet. */
UPT_NODISCARD upt_status upt_explain_state(const struct upt_config *config, int32_t partition, struct upt_str account,
                                           struct upt_buf *out, struct upt_error *reterr);

#endif
