/* The event ids that an account accepted last. Private to aggregate/state. */
#ifndef UPT_STATE_DEDUP_H
#define UPT_STATE_DEDUP_H

#include <stdbool.h>
#include <stdint.h>

#include "aggregate/state/mem.h"

#define UPT_DEDUP_MAX 4096
/* Times are kept as 32-bit differences. */
#define UPT_DEDUP_WINDOW_MAX_MS ((int64_t)UINT32_MAX)

struct upt_dedup; /* one block; NULL: no id */

/* Asks for its header. */
void upt_dedup_prefetch(const struct upt_dedup *dedup);
/* And then for what looking for this id, and remembering it, will touch beyond; dedup is not NULL. */
void upt_dedup_prefetch_id(const struct upt_dedup *dedup, uint64_t hash);
/* Was the id accepted while the clock was > after? */
bool upt_dedup_has(const struct upt_dedup *dedup, uint64_t hash, int64_t after);
/* Remembers an id accepted at clock; may forget those accepted at or before `after`. True if the bound pushed out an id
 * that was still in the window. */
bool upt_dedup_add(struct upt_mem *mem, struct upt_dedup **dedup_p, uint64_t hash, int64_t clock, int64_t after);
/* Forgets those accepted at or before `after` and gives back memory that is not needed. */
void upt_dedup_trim(struct upt_mem *mem, struct upt_dedup **dedup_p, int64_t after);
/* The clock at which the newest id was accepted. */
int64_t upt_dedup_newest(const struct upt_dedup *dedup);
/* How many were accepted while the clock was > after. */
uint32_t upt_dedup_live(const struct upt_dedup *dedup, int64_t after);
/* From old to new: start with *cursor = 0; only those accepted while the clock was > after. */
bool upt_dedup_next(const struct upt_dedup *dedup, int64_t after, uint32_t *cursor, uint64_t *ret_hash,
                    int64_t *ret_clock);
void upt_dedup_destroy(struct upt_mem *mem, struct upt_dedup **dedup_p);

#endif
