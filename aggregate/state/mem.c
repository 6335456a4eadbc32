/* Counted allocation, the queue of pointers and the hash table of pointers.
 *
 * The table keeps the 64-bit hash beside the pointer, so that a probe costs one cache line and a foreign item is
 * touched only when all 64 bits agree. Linear probing with backward shift: no tombstones, so a table that sees accounts
 * come and go for years stays as fast as on its first day. It grows by doubling in one step: 35 ms for a million
 * accounts, which a rehash in steps would spread out, at the price of two probes for each look-up meanwhile.
 *
 * @locality: the thread that owns the state. */
#include "aggregate/state/mem.h"

#include <stdlib.h>
#include <string.h>

#include "uptake/assert.h"

/* What glibc's malloc takes for a request: 8 bytes of its own, in steps of 16, at least 32. */
static size_t
charge(size_t size)
{
    if (size == 0) {
        return 0;
    }
    size_t whole = (size + 8 + 15) & ~(size_t)15;
    return whole < 32 ? 32 : whole;
}

void *
upt_mem_resize(struct upt_mem *mem, void *p, size_t old_size, size_t new_size)
{
    mem->bytes += charge(new_size);
    mem->bytes -= charge(old_size);
    if (new_size == 0) {
        free(p);
        return NULL;
    }
    char *fresh = p == NULL ? calloc(1, new_size) : realloc(p, new_size);
    upt_assert(fresh != NULL && "out of memory");
    if (p != NULL && new_size > old_size) {
        memset(fresh + old_size, 0, new_size - old_size);
    }
    return fresh;
}

/* ---- queue ---- */

static void
deque_resize(struct upt_mem *mem, struct upt_deque *dq, uint32_t cap)
{
    void **fresh = upt_mem_resize(mem, NULL, 0, cap * sizeof(*fresh));
    for (uint32_t i = 0; i < dq->n; i++) {
        uint32_t ticket = dq->head + i;
        fresh[ticket & (cap - 1)] = dq->v[ticket & (dq->cap - 1)];
    }
    (void)upt_mem_resize(mem, dq->v, dq->cap * sizeof(*dq->v), 0);
    dq->v = fresh;
    dq->cap = cap;
}

uint32_t
upt_deque_push(struct upt_mem *mem, struct upt_deque *dq, void *item)
{
    if (dq->n == dq->cap) {
        upt_assert(dq->cap < UINT32_C(1) << 31);
        deque_resize(mem, dq, dq->cap == 0 ? 16 : dq->cap * 2);
    }
    uint32_t ticket = dq->head + dq->n;
    dq->v[ticket & (dq->cap - 1)] = item;
    dq->n++;
    dq->live++;
    return ticket;
}

void *
upt_deque_pop(struct upt_mem *mem, struct upt_deque *dq)
{
    while (dq->n > 0) {
        void *item = dq->v[dq->head & (dq->cap - 1)];
        dq->head++;
        dq->n--;
        if (item != NULL) {
            dq->live--;
            return item;
        }
    }
    if (dq->cap > 4096) { /* a repair or a full snapshot is over: give the room back */
        upt_deque_fini(mem, dq);
    }
    return NULL;
}

void
upt_deque_drop(struct upt_deque *dq, uint32_t ticket)
{
    upt_assert(ticket - dq->head < dq->n);
    dq->v[ticket & (dq->cap - 1)] = NULL;
    dq->live--;
}

void
upt_deque_set(struct upt_deque *dq, uint32_t ticket, void *item)
{
    upt_assert(ticket - dq->head < dq->n && dq->v[ticket & (dq->cap - 1)] != NULL);
    dq->v[ticket & (dq->cap - 1)] = item;
}

void
upt_deque_fini(struct upt_mem *mem, struct upt_deque *dq)
{
    (void)upt_mem_resize(mem, dq->v, dq->cap * sizeof(*dq->v), 0);
    *dq = (struct upt_deque){0};
}

/* ---- table ---- */

static void
table_put(struct upt_table *table, uint64_t hash, void *item)
{
    size_t i = hash & table->mask;
    while (table->v[i].item != NULL) {
        i = (i + 1) & table->mask;
    }
    table->v[i] = (struct upt_slot){.hash = hash, .item = item};
}

static void
table_grow(struct upt_mem *mem, struct upt_table *table)
{
    size_t old_cap = table->v == NULL ? 0 : table->mask + 1;
    struct upt_slot *old = table->v;
    size_t cap = old_cap == 0 ? 16 : old_cap * 2;
    table->v = upt_mem_resize(mem, NULL, 0, cap * sizeof(*table->v));
    table->mask = cap - 1;
    for (size_t i = 0; i < old_cap; i++) {
        if (old[i].item != NULL) {
            table_put(table, old[i].hash, old[i].item);
        }
    }
    (void)upt_mem_resize(mem, old, old_cap * sizeof(*old), 0);
}

void
upt_table_insert(struct upt_mem *mem, struct upt_table *table, uint64_t hash, void *item)
{
    if (table->v == NULL || (table->n + 1) * 4 > (table->mask + 1) * 3) {
        table_grow(mem, table);
    }
    table_put(table, hash, item);
    table->n++;
}

static size_t
table_find(const struct upt_table *table, uint64_t hash, const void *item)
{
    size_t i = hash & table->mask;
    while (table->v[i].item != item) {
        upt_assert(table->v[i].item != NULL);
        i = (i + 1) & table->mask;
    }
    return i;
}

void
upt_table_replace(struct upt_table *table, uint64_t hash, const void *item, void *by)
{
    table->v[table_find(table, hash, item)].item = by;
}

void
upt_table_remove(struct upt_table *table, uint64_t hash, const void *item)
{
    size_t hole = table_find(table, hash, item);
    /* Move back what stands behind the hole, unless that would put it before its own place. */
    for (size_t i = (hole + 1) & table->mask; table->v[i].item != NULL; i = (i + 1) & table->mask) {
        size_t home = table->v[i].hash & table->mask;
        if (((i - home) & table->mask) >= ((i - hole) & table->mask)) {
            table->v[hole] = table->v[i];
            hole = i;
        }
    }
    table->v[hole] = (struct upt_slot){0};
    table->n--;
}

void
upt_table_fini(struct upt_mem *mem, struct upt_table *table)
{
    (void)upt_mem_resize(mem, table->v, table->v == NULL ? 0 : (table->mask + 1) * sizeof(*table->v), 0);
    *table = (struct upt_table){0};
}
