/* Plans by schema id: open addressing, twice as many slots as ids, in the order of arrival for eviction.
 *
 * Why the oldest and not the least recently used: ids in use are few (one for each version that producers still
 * write), so the bound is met only when somebody sends ids at random, and then any rule will do; this one costs nothing
 * when a plan is used. An evicted plan is compiled again from the registry's copy. One thread: the decoder's. */
#include "ingest/avro/plan_cache.h"

#include <stdlib.h>
#include <string.h>

#include "uptake/assert.h"

#define SLOTS (2U * UPT_PLAN_CACHE_IDS)

struct slot {
    struct upt_plan_entry entry;
    size_t bytes;
    int32_t id;
    bool used;
};

struct upt_plan_cache {
    struct slot slots[SLOTS];
    int32_t order[UPT_PLAN_CACHE_IDS]; /* ring of ids, oldest first */
    uint32_t oldest, n;
    size_t bytes;
};

static uint32_t
home(int32_t id)
{
    return ((uint32_t)id * UINT32_C(2654435769)) >> 19; /* 13 bits: SLOTS */
}

static uint32_t
find(const struct upt_plan_cache *cache, int32_t id)
{
    uint32_t i = home(id);
    while (cache->slots[i].used && cache->slots[i].id != id) {
        i = (i + 1) % SLOTS;
    }
    return i;
}

upt_status
upt_plan_cache_create(struct upt_plan_cache **ret, struct upt_error *reterr)
{
    _Static_assert(SLOTS == 1U << 13, "home() gives 13 bits");
    struct upt_plan_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for decode plans");
    }
    *ret = cache;
    return UPT_OK;
}

static void
entry_fini(struct upt_plan_entry *entry)
{
    upt_plan_destroy(&entry->plan);
    free(entry->why);
    *entry = (struct upt_plan_entry){0};
}

void
upt_plan_cache_destroy(struct upt_plan_cache **cache_p)
{
    struct upt_plan_cache *cache = *cache_p;
    if (cache == NULL) {
        return;
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        entry_fini(&cache->slots[i].entry);
    }
    free(cache);
    *cache_p = NULL;
}

const struct upt_plan_entry *
upt_plan_cache_get(const struct upt_plan_cache *cache, int32_t id)
{
    const struct slot *slot = &cache->slots[find(cache, id)];
    return slot->used ? &slot->entry : NULL;
}

/* Takes out slot i and moves up those behind it that could not be at home because of it. */
static void
take_out(struct upt_plan_cache *cache, uint32_t i)
{
    uint32_t hole = i;
    for (uint32_t next = (i + 1) % SLOTS; cache->slots[next].used; next = (next + 1) % SLOTS) {
        uint32_t distance = (next - home(cache->slots[next].id)) % SLOTS;
        if (distance >= (next - hole) % SLOTS) {
            cache->slots[hole] = cache->slots[next];
            hole = next;
        }
    }
    cache->slots[hole] = (struct slot){.used = false};
}

static void
evict_oldest(struct upt_plan_cache *cache)
{
    uint32_t i = find(cache, cache->order[cache->oldest]);
    upt_assert(cache->slots[i].used);
    cache->bytes -= cache->slots[i].bytes;
    entry_fini(&cache->slots[i].entry);
    take_out(cache, i);
    cache->oldest = (cache->oldest + 1) % UPT_PLAN_CACHE_IDS;
    cache->n--;
}

static size_t
bytes_of(const struct upt_plan_entry *entry)
{
    const struct upt_plan *plan = entry->plan;
    return plan == NULL ? 0 : plan->ops_n * sizeof(*plan->ops) + plan->kinds_n + plan->names_n;
}

const struct upt_plan_entry *
upt_plan_cache_put(struct upt_plan_cache *cache, int32_t id, struct upt_plan_entry entry)
{
    size_t bytes = bytes_of(&entry);
    while (cache->n == UPT_PLAN_CACHE_IDS || (cache->n > 0 && cache->bytes + bytes > UPT_PLAN_CACHE_BYTES)) {
        evict_oldest(cache);
    }
    uint32_t i = find(cache, id);
    upt_assert(!cache->slots[i].used);
    cache->slots[i] = (struct slot){.entry = entry, .bytes = bytes, .id = id, .used = true};
    cache->order[(cache->oldest + cache->n) % UPT_PLAN_CACHE_IDS] = id;
    cache->n++;
    cache->bytes += bytes;
    return &cache->slots[i].entry;
}
