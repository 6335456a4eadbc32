/* Accounts and their table: open addressing over a vector of pointers; ids are compared fully. */
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

static uint32_t
slot_of(const struct upt_accounts *a, struct upt_str key, uint64_t hash)
{
    uint32_t mask = a->slots_n - 1;
    uint32_t i = (uint32_t)hash & mask;
    while (a->slots[i] != 0) {
        const struct upt_account *acct = a->v[a->slots[i] - 1];
        if (acct->hash == hash && acct->id_len == key.len && memcmp(acct->id, key.p, key.len) == 0) {
            break;
        }
        i = (i + 1) & mask;
    }
    return i;
}

struct upt_account *
upt_accounts_find(const struct upt_accounts *a, struct upt_str key, uint64_t hash)
{
    if (a->slots_n == 0) {
        return NULL;
    }
    uint32_t slot = slot_of(a, key, hash);
    return a->slots[slot] != 0 ? a->v[a->slots[slot] - 1] : NULL;
}

static void
grow_table(struct upt_accounts *a)
{
    free(a->slots);
    a->slots_n = a->slots_n == 0 ? 64 : a->slots_n * 2;
    a->slots = calloc(a->slots_n, sizeof(*a->slots));
    upt_assert(a->slots != NULL);
    for (uint32_t i = 0; i < a->n; i++) {
        uint32_t slot = (uint32_t)a->v[i]->hash & (a->slots_n - 1);
        while (a->slots[slot] != 0) {
            slot = (slot + 1) & (a->slots_n - 1);
        }
        a->slots[slot] = i + 1;
    }
}

struct upt_account *
upt_account_create(struct upt_state *st, struct upt_str key, uint64_t hash)
{
    struct upt_accounts *a = &st->accounts;
    size_t ext_size = st->config.observer != NULL ? st->config.observer->ext_size : 0;
    size_t ext_at = (offsetof(struct upt_account, id) + key.len + 1 + 7) & ~(size_t)7;
    struct upt_account *acct = calloc(1, ext_at + ext_size);
    upt_assert(acct != NULL);
    acct->hash = hash;
    acct->id_len = key.len;
    memcpy(acct->id, key.p, key.len);
    acct->ext_at = (uint32_t)ext_at;
    acct->timer = UPT_NO_CLOCK;
    acct->change = acct->daily = INT64_MAX;
    acct->heap_at = UPT_NOT_IN_HEAP;
    acct->unseen = true;
    acct->active_day = UPT_NO_DAY;
    if ((a->n + 1) * 3 > a->slots_n * 2) {
        grow_table(a);
    }
    if (a->n == a->cap) {
        a->cap = a->cap == 0 ? 64 : a->cap + a->cap / 2;
        struct upt_account **grown = realloc(a->v, a->cap * sizeof(struct upt_account *));
        upt_assert(grown != NULL);
        a->v = grown;
    }
    acct->position = a->n;
    a->v[a->n++] = acct;
    a->slots[slot_of(a, key, hash)] = a->n;
    return acct;
}

void
upt_accounts_remove(struct upt_accounts *a, struct upt_account *acct)
{
    uint32_t mask = a->slots_n - 1;
    uint32_t hole = slot_of(a, (struct upt_str){.p = acct->id, .len = acct->id_len}, acct->hash);
    /* The last of the vector takes the free place. */
    struct upt_account *last = a->v[a->n - 1];
    if (last != acct) {
        a->slots[slot_of(a, (struct upt_str){.p = last->id, .len = last->id_len}, last->hash)] = acct->position + 1;
        a->v[acct->position] = last;
        last->position = acct->position;
    }
    a->n--;
    a->slots[hole] = 0;
    for (uint32_t i = (hole + 1) & mask; a->slots[i] != 0; i = (i + 1) & mask) {
        uint32_t home = (uint32_t)a->v[a->slots[i] - 1]->hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            a->slots[hole] = a->slots[i];
            a->slots[i] = 0;
            hole = i;
        }
    }
}

void
upt_account_free(struct upt_state *st, struct upt_account *acct)
{
    if (acct->dirty) {
        upt_list_drop(&st->dirty, acct);
    }
    if (acct->changed) {
        upt_list_drop(&st->changed, acct);
    }
    if (st->snapshot) {
        upt_list_drop(&st->snap, acct);
    }
    upt_rings_fini(&acct->rings);
    upt_users_fini(&acct->users);
    upt_ids_fini(&acct->ids);
    free(acct->pairs);
    free(acct->features);
    free(acct->traits);
    free(acct);
}

/* ---- size ---- */

#define SAMPLE 512
#define MALLOC_OVERHEAD 16

static size_t
bytes_of(const struct upt_account *acct, size_t ext_size)
{
    return acct->ext_at + ext_size + upt_rings_bytes(&acct->rings) + acct->users.cap * sizeof(*acct->users.v) +
           acct->users.index_n * sizeof(uint32_t) + acct->pairs_cap * sizeof(*acct->pairs) +
           acct->features_cap * sizeof(*acct->features) + acct->traits_n * sizeof(*acct->traits) +
           acct->ids.cap * sizeof(*acct->ids.v) + acct->ids.index_n * sizeof(uint32_t) + 9 * (size_t)MALLOC_OVERHEAD;
}

/* The mean of a few hundred accounts, spread over all, times their number: exact sums would cost a counter at
 * every allocation for a limit that needs no such precision. */
size_t
upt_state_bytes(const struct upt_state *st)
{
    const struct upt_accounts *a = &st->accounts;
    size_t ext_size = st->config.observer != NULL ? st->config.observer->ext_size : 0;
    size_t fixed = a->cap * sizeof(struct upt_account *) + a->slots_n * sizeof(uint32_t) +
                   st->heap.cap * sizeof(struct upt_timer) + st->strings.bytes + st->feature_names.bytes;
    uint32_t n = a->n < SAMPLE ? a->n : SAMPLE;
    uint32_t step = n > 0 ? a->n / n : 1;
    size_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += bytes_of(a->v[(size_t)i * step], ext_size);
    }
    for (uint32_t i = 0; i < st->features_n; i++) {
        fixed += sizeof(struct upt_feature) + upt_rings_bytes(&st->features[i]->rings);
    }
    return fixed + (n > 0 ? sum / n * a->n : 0);
}

/* ---- lists and timers ---- */

void
upt_list_put(struct upt_list *list, void *what)
{
    if (list->n == list->cap) {
        if (list->head > list->n / 2) {
            memmove(list->v, list->v + list->head, (list->n - list->head) * sizeof(*list->v));
            list->n -= list->head;
            list->head = 0;
        } else {
            list->cap = list->cap == 0 ? 64 : list->cap * 2;
            void **grown = realloc(list->v, list->cap * sizeof(*grown));
            upt_assert(grown != NULL);
            list->v = grown;
        }
    }
    list->v[list->n++] = what;
}

void *
upt_list_take(struct upt_list *list)
{
    while (list->head < list->n) {
        void *what = list->v[list->head++];
        if (what != NULL) {
            return what;
        }
    }
    list->head = list->n = 0;
    return NULL;
}

void
upt_list_drop(struct upt_list *list, const void *what)
{
    for (size_t i = list->head; i < list->n; i++) {
        if (list->v[i] == what) {
            list->v[i] = NULL;
        }
    }
}

void
upt_list_fini(struct upt_list *list)
{
    free(list->v);
    memset(list, 0, sizeof(*list));
}

/* Earlier first; at the same minute accounts by hash and id, then features, then totals: the order is a function of the
 * state, so that a restored process decides in the same order. */
static bool
before(const struct upt_timer *a, const struct upt_timer *b)
{
    if (a->due != b->due) {
        return a->due < b->due;
    }
    if (a->kind != b->kind) {
        return a->kind < b->kind;
    }
    if (a->order != b->order || a->kind != UPT_TIMER_ACCOUNT || a->what == b->what) {
        return a->order < b->order;
    }
    const struct upt_account *x = a->what, *y = b->what;
    uint32_t len = x->id_len < y->id_len ? x->id_len : y->id_len;
    int cmp = memcmp(x->id, y->id, len);
    return cmp != 0 ? cmp < 0 : x->id_len < y->id_len;
}

static void
place(struct upt_heap *heap, uint32_t i, const struct upt_timer *timer)
{
    heap->v[i] = *timer;
    *timer->at = i;
}

static void
sift(struct upt_heap *heap, uint32_t i, struct upt_timer timer)
{
    while (i > 0 && before(&timer, &heap->v[(i - 1) / 2])) {
        place(heap, i, &heap->v[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= heap->n) {
            break;
        }
        if (child + 1 < heap->n && before(&heap->v[child + 1], &heap->v[child])) {
            child++;
        }
        if (!before(&heap->v[child], &timer)) {
            break;
        }
        place(heap, i, &heap->v[child]);
        i = child;
    }
    place(heap, i, &timer);
}

void
upt_heap_set(struct upt_heap *heap, struct upt_timer timer)
{
    uint32_t at = *timer.at;
    if (at == UPT_NOT_IN_HEAP) {
        if (heap->n == heap->cap) {
            heap->cap = heap->cap == 0 ? 64 : heap->cap * 2;
            struct upt_timer *grown = realloc(heap->v, heap->cap * sizeof(*grown));
            upt_assert(grown != NULL);
            heap->v = grown;
        }
        at = heap->n++;
    }
    sift(heap, at, timer);
}

void
upt_heap_remove(struct upt_heap *heap, uint32_t at)
{
    if (at == UPT_NOT_IN_HEAP) {
        return;
    }
    *heap->v[at].at = UPT_NOT_IN_HEAP;
    struct upt_timer last = heap->v[--heap->n];
    if (at < heap->n) {
        sift(heap, at, last);
    }
}

int64_t
upt_heap_next(const struct upt_heap *heap)
{
    return heap->n > 0 ? heap->v[0].due : INT64_MAX;
}
