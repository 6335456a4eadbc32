/* Features: the partition's table by name and by id, and the features that an account has used.
 *
 * Accounts hold ids, not pointers or names: 4 bytes, and the same in a checkpoint. An id is bound to its name by the
 * feature's own checkpoint record, so accounts and features can be loaded in any order.
 *
 * The uses of an account mirror its users (users.c): a vector in order of appearance, looked through up to 16, with a
 * table of positions behind it beyond that.
 *
 * @locality: the thread that owns the state. */
#include "aggregate/state/features.h"

#include <string.h>

#include "uptake/assert.h"

_Static_assert(sizeof(struct upt_used) == 8, "the layout that the memory budget counts on");

#define SCAN_MAX UPT_USES_SCANNED

struct upt_feature *
upt_features_find(const struct upt_features *features, struct upt_str name, uint64_t hash)
{
    struct upt_feature *feature;
    for (size_t pos = hash; (feature = upt_table_next(&features->table, hash, &pos)) != NULL;) {
        if (upt_str_eq(upt_feature_name(feature), name)) {
            return feature;
        }
    }
    return NULL;
}

struct upt_feature *
upt_features_create(struct upt_mem *mem, struct upt_features *features, struct upt_str name, uint32_t id, int64_t today)
{
    if (id >= features->cap) {
        uint32_t cap = id < 16 ? 16 : id + id / 2;
        features->v = upt_mem_resize(mem, features->v, features->cap * sizeof(struct upt_feature *),
                                     cap * sizeof(struct upt_feature *));
        features->cap = cap;
    }
    upt_assert(features->v[id] == NULL);
    struct upt_feature *feature = upt_mem_resize(mem, NULL, 0, sizeof(*feature) + name.len);
    feature->item.kind = UPT_ITEM_FEATURE;
    feature->hash = upt_hash(name.p, name.len);
    feature->id = id;
    feature->len = name.len;
    memcpy(feature->name, name.p, name.len);
    upt_hist_init(&feature->accounts, today);
    upt_hist_init(&feature->pairs, today);
    features->v[id] = feature;
    features->n = id < features->n ? features->n : id + 1;
    upt_table_insert(mem, &features->table, feature->hash, feature);
    return feature;
}

void
upt_features_fini(struct upt_mem *mem, struct upt_features *features)
{
    for (uint32_t i = 0; i < features->n; i++) {
        struct upt_feature *feature = features->v[i];
        if (feature != NULL) {
            upt_rings_fini(mem, &feature->rings);
            (void)upt_mem_resize(mem, feature, sizeof(*feature) + feature->len, 0);
        }
    }
    (void)upt_mem_resize(mem, features->v, features->cap * sizeof(struct upt_feature *), 0);
    upt_table_fini(mem, &features->table);
    *features = (struct upt_features){0};
}

/* ---- uses of an account ---- */

static size_t
block_size(uint32_t cap)
{
    return cap * sizeof(struct upt_used) + (cap > SCAN_MAX ? 2 * (size_t)cap * sizeof(uint32_t) : 0);
}

static uint32_t
place_of(const struct upt_uses *uses, uint32_t feature)
{
    return (feature * UINT32_C(0x9E3779B1)) >> 7 & (2 * uses->cap - 1);
}

void
upt_uses_prefetch(const struct upt_uses *uses, uint32_t feature)
{
    upt_prefetch_line((const uint32_t *)(const void *)(uses->v + uses->cap) + place_of(uses, feature));
}

/* Where the feature stands in the table of positions + 1, or the free place where it would. Only if cap > SCAN_MAX. */
static uint32_t *
table_at(const struct upt_uses *uses, uint32_t feature)
{
    uint32_t *table = (uint32_t *)(void *)(uses->v + uses->cap);
    uint32_t mask = 2 * uses->cap - 1;
    uint32_t i = place_of(uses, feature);
    while (table[i] != 0 && uses->v[table[i] - 1].feature != feature) {
        i = (i + 1) & mask;
    }
    return &table[i];
}

uint32_t
upt_uses_guess(const struct upt_uses *uses, uint32_t feature)
{
    if (upt_uses_scanned(uses)) {
        uint32_t i = 0;
        while (i < uses->n && uses->v[i].feature != feature) {
            i++;
        }
        return i;
    }
    uint32_t position = ((const uint32_t *)(const void *)(uses->v + uses->cap))[place_of(uses, feature)] - 1;
    upt_prefetch_line(&uses->v[position & (uses->cap - 1)]); /* 0, for none, too, is a place */
    return position;
}

static void
grow(struct upt_mem *mem, struct upt_uses *uses)
{
    uint32_t cap = uses->cap < SCAN_MAX ? uses->cap + 4 : uses->cap * 2;
    upt_assert(cap < UINT32_C(1) << 29); /* positions in pairs have 29 bits */
    uses->v = upt_mem_resize(mem, uses->v, block_size(uses->cap), block_size(cap));
    uses->cap = cap;
    if (cap > SCAN_MAX) {
        memset(uses->v + cap, 0, 2 * (size_t)cap * sizeof(uint32_t));
        for (uint32_t i = 0; i < uses->n; i++) {
            *table_at(uses, uses->v[i].feature) = i + 1;
        }
    }
}

static struct upt_used *
uses_find(const struct upt_uses *uses, uint32_t feature)
{
    if (uses->cap > SCAN_MAX) {
        uint32_t position = *table_at(uses, feature);
        return position == 0 ? NULL : &uses->v[position - 1];
    }
    for (uint32_t i = 0; i < uses->n; i++) {
        if (uses->v[i].feature == feature) {
            return &uses->v[i];
        }
    }
    return NULL;
}

struct upt_used *
upt_uses_get(struct upt_mem *mem, struct upt_uses *uses, uint32_t feature, bool *ret_new)
{
    struct upt_used *used = uses_find(uses, feature);
    *ret_new = used == NULL;
    if (used != NULL) {
        return used;
    }
    if (uses->n == uses->cap) {
        grow(mem, uses);
    }
    upt_assert(uses->v != NULL);
    used = &uses->v[uses->n];
    *used = (struct upt_used){.feature = feature};
    if (uses->cap > SCAN_MAX) {
        *table_at(uses, feature) = uses->n + 1;
    }
    uses->n++;
    return used;
}

void
upt_uses_roll(struct upt_uses *uses, int64_t days)
{
    for (uint32_t i = 0; i < uses->n; i++) {
        uses->v[i].bits = (uses->v[i].bits & ~UPT_USED_DAYS) | upt_used_days(&uses->v[i], days);
    }
}

void
upt_uses_fini(struct upt_mem *mem, struct upt_uses *uses)
{
    (void)upt_mem_resize(mem, uses->v, block_size(uses->cap), 0);
    *uses = (struct upt_uses){0};
}
