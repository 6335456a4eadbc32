/* Event ids of an account, first in first out, with the clock at which each was accepted.
 *
 * They are part of the account's checkpoint. Reading them again from the input, from one window before the checkpoint,
 * is not exact: an id accepted at 0 min, seen at 9 and accepted again at 18 (a duplicate does not refresh) gives other
 * verdicts when one starts at 9. A linear search from the newest serves the usual account; beyond 32 ids there is an
 * index. */
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

#define LINEAR_MAX 32

static struct upt_id *
at(struct upt_ids *ids, uint32_t i)
{
    uint32_t pos = ids->head + i;
    return &ids->v[pos >= ids->cap ? pos - ids->cap : pos];
}

/* The index holds ring positions + 1; entries of ids that left are rebuilt away when it fills up. */
static void
reindex(struct upt_ids *ids)
{
    uint32_t want = 64;
    while (want < ids->n * 4) {
        want *= 2;
    }
    if (want != ids->index_n) {
        free(ids->index);
        ids->index = malloc(want * sizeof(*ids->index));
        upt_assert(ids->index != NULL);
        ids->index_n = want;
    }
    memset(ids->index, 0, want * sizeof(*ids->index));
    for (uint32_t i = 0; i < ids->n; i++) {
        uint32_t pos = (uint32_t)(at(ids, i) - ids->v);
        uint32_t slot = (uint32_t)ids->v[pos].hash & (want - 1);
        while (ids->index[slot] != 0) {
            slot = (slot + 1) & (want - 1);
        }
        ids->index[slot] = pos + 1;
    }
    ids->indexed = ids->n;
}

static bool
live(const struct upt_ids *ids, uint32_t pos)
{
    uint32_t i = pos >= ids->head ? pos - ids->head : pos + ids->cap - ids->head;
    return i < ids->n;
}

bool
upt_ids_has(struct upt_ids *ids, uint64_t hash, int64_t after)
{
    if (ids->n <= LINEAR_MAX || ids->index == NULL) {
        for (uint32_t i = ids->n; i > 0; i--) {
            const struct upt_id *id = at(ids, i - 1);
            if (id->clock <= after) {
                return false; /* clocks ascend */
            }
            if (id->hash == hash) {
                return true;
            }
        }
        return false;
    }
    uint32_t mask = ids->index_n - 1;
    for (uint32_t slot = (uint32_t)hash & mask; ids->index[slot] != 0; slot = (slot + 1) & mask) {
        const struct upt_id *id = &ids->v[ids->index[slot] - 1];
        if (id->hash == hash && id->clock > after && live(ids, ids->index[slot] - 1)) {
            return true;
        }
    }
    return false;
}

static void
make_room(struct upt_ids *ids)
{
    if (ids->n < ids->cap) {
        return;
    }
    uint32_t cap = ids->cap == 0 ? 4 : ids->cap * 2;
    cap = cap > UPT_IDS_MAX ? UPT_IDS_MAX : cap;
    struct upt_id *v = malloc(cap * sizeof(*v));
    upt_assert(v != NULL && ids->n < cap);
    for (uint32_t i = 0; i < ids->n; i++) {
        v[i] = *at(ids, i);
    }
    free(ids->v);
    ids->v = v;
    ids->head = 0;
    ids->cap = cap;
    if (ids->index != NULL) {
        reindex(ids);
    }
}

bool
upt_ids_put(struct upt_ids *ids, uint64_t hash, int64_t clock, int64_t after)
{
    bool pushed_out = false;
    while (ids->n > 0 && at(ids, 0)->clock <= after) {
        ids->head = ids->head + 1 == ids->cap ? 0 : ids->head + 1;
        ids->n--;
    }
    if (ids->n == UPT_IDS_MAX) {
        ids->head = ids->head + 1 == ids->cap ? 0 : ids->head + 1;
        ids->n--;
        pushed_out = true;
    }
    make_room(ids);
    struct upt_id *id = at(ids, ids->n++);
    *id = (struct upt_id){.hash = hash, .clock = clock};
    if (ids->n <= LINEAR_MAX) {
        free(ids->index);
        ids->index = NULL;
        ids->index_n = 0;
        return pushed_out;
    }
    if (ids->index == NULL || ids->indexed * 2 >= ids->index_n) {
        reindex(ids);
        return pushed_out;
    }
    uint32_t slot = (uint32_t)hash & (ids->index_n - 1);
    while (ids->index[slot] != 0) {
        slot = (slot + 1) & (ids->index_n - 1);
    }
    ids->index[slot] = (uint32_t)(id - ids->v) + 1;
    ids->indexed++;
    return pushed_out;
}

void
upt_ids_fini(struct upt_ids *ids)
{
    free(ids->v);
    free(ids->index);
    memset(ids, 0, sizeof(*ids));
}
