/* Memory of the state: counted allocation, and a queue of pointers whose entries can be taken out again.
 * Private to aggregate/state. */
#ifndef UPT_STATE_MEM_H
#define UPT_STATE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes held, with what the allocator adds. */
struct upt_mem {
    size_t bytes;
};

/* realloc that keeps count; new_size 0 frees and returns NULL. Bytes beyond old_size are zero. Never fails: without
 * memory the process ends, since a record half counted could not be taken back. */
void *upt_mem_resize(struct upt_mem *mem, void *p, size_t old_size, size_t new_size);

/* First in, first out. push returns a ticket by which the entry can be dropped in O(1). */
struct upt_deque {
    void **v;
    uint32_t head; /* ticket of the oldest entry */
    uint32_t n;    /* entries, those dropped included */
    uint32_t cap;  /* power of 2 */
    uint32_t live;
};

uint32_t upt_deque_push(struct upt_mem *mem, struct upt_deque *dq, void *item);
void *upt_deque_pop(struct upt_mem *mem, struct upt_deque *dq); /* NULL: empty */
void upt_deque_drop(struct upt_deque *dq, uint32_t ticket);
void upt_deque_set(struct upt_deque *dq, uint32_t ticket, void *item); /* in the place of what is there */
void upt_deque_fini(struct upt_mem *mem, struct upt_deque *dq);

/* Hash table of pointers, open addressing. The caller compares what a hash cannot tell apart. */
struct upt_slot {
    uint64_t hash;
    void *item; /* NULL: free */
};
struct upt_table {
    struct upt_slot *v;
    size_t mask; /* capacity − 1; 0: none yet */
    size_t n;
};

void upt_table_insert(struct upt_mem *mem, struct upt_table *table, uint64_t hash, void *item);
void upt_table_remove(struct upt_table *table, uint64_t hash, const void *item);
void upt_table_replace(struct upt_table *table, uint64_t hash, const void *item, void *by);
void upt_table_fini(struct upt_mem *mem, struct upt_table *table);

/* Walks the items with this hash: start with *pos = hash. NULL at the end. */
static inline void *
upt_table_next(const struct upt_table *table, uint64_t hash, size_t *pos)
{
    if (table->v == NULL) {
        return NULL;
    }
    for (size_t i = *pos & table->mask;; i = (i + 1) & table->mask) {
        const struct upt_slot *slot = &table->v[i];
        if (slot->item == NULL) {
            return NULL;
        }
        if (slot->hash == hash) {
            *pos = i + 1;
            return slot->item;
        }
    }
}

/* ---- memory that is needed soon ---- */

#define UPT_LINE 64 /* bytes of a cache line */

/* Asks for a line. The empty statement keeps the compiler from taking a function that does nothing but this for one
 * without effect: gcc then drops calls to it across files, and an event waits 130 ns for the index of its ids. */
static inline void
upt_prefetch_line(const void *p)
{
    __builtin_prefetch(p);
    __asm__ volatile("");
}

static inline void
upt_prefetch(const void *p, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += UPT_LINE) {
        upt_prefetch_line((const char *)p + at);
    }
}

/* ---- bits ---- */

static inline unsigned
upt_lowest_bit(uint64_t v) /* not 0 */
{
    return (unsigned)__builtin_ctzll(v);
}

/* Without an instruction for it, which not every x86-64 has, the compiler's own is a call. */
static inline unsigned
upt_count_bits(uint32_t v)
{
    v -= v >> 1 & UINT32_C(0x55555555);
    v = (v & UINT32_C(0x33333333)) + (v >> 2 & UINT32_C(0x33333333));
    v = (v + (v >> 4)) & UINT32_C(0x0F0F0F0F);
    return v * UINT32_C(0x01010101) >> 24;
}

#endif
