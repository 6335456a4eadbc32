/* Decode plans by schema id, and what is wrong with the schemas that have none. Bounded; the oldest leaves first. */
#ifndef UPT_AVRO_PLAN_CACHE_H
#define UPT_AVRO_PLAN_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "ingest/avro/plan.h"

#define UPT_PLAN_CACHE_IDS 4096
#define UPT_PLAN_CACHE_BYTES ((size_t)64 * 1024 * 1024)

struct upt_plan_cache;

/* One schema: a plan, or why there is none. Valid until the next put. */
struct upt_plan_entry {
    struct upt_plan *plan; /* NULL: bad_schema */
    char *why;             /* then this, in words */
};

UPT_NODISCARD upt_status upt_plan_cache_create(struct upt_plan_cache **ret, struct upt_error *reterr);
void upt_plan_cache_destroy(struct upt_plan_cache **cache_p);
/* NULL: not there. */
const struct upt_plan_entry *upt_plan_cache_get(const struct upt_plan_cache *cache, int32_t id);
/* Takes the entry's plan and why; id must not be there yet. */
const struct upt_plan_entry *upt_plan_cache_put(struct upt_plan_cache *cache, int32_t id, struct upt_plan_entry entry);

#endif
