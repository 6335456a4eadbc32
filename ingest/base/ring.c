/* The single-producer single-consumer ring of frames.
 *
 *   head ─► next byte to write          tail ─► oldest byte not yet freed
 *   | len | frame, padded to 8 | len | frame … | WRAP |  (rest of the buffer unused)
 *
 * head and tail are byte counts that only grow; their place in the buffer is the low bits. A frame is never split: if
 * it does not fit before the end of the buffer, a WRAP marker stands there and the frame begins at the start. Marker
 * and frame become visible with one store, so the consumer never meets a marker without a frame behind it.
 *
 * Pairs: the producer stores head with release, the consumer loads it with acquire (the frame's bytes); the consumer
 * stores tail with release, the producer loads it with acquire (the bytes may be written again). Each side keeps a copy
 * of the other's index and reads the real one only when the copy says full or empty: otherwise each frame would cost
 * both sides a cache miss. */
#include "uptake/ring.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "uptake/assert.h"

#define HEADER 8U
#define WRAP UINT64_MAX
#define CAPACITY_MIN ((size_t)64)
#define CAPACITY_MAX ((size_t)1 << 40)

struct upt_ring {
    /* Read by both, written by neither. */
    _Alignas(64) uint64_t *words;
    size_t capacity;
    /* The producer's. */
    _Alignas(64) _Atomic size_t head;
    size_t tail_seen;
    size_t reserved_at;  /* where the reserved frame's header lies, as a count like head */
    size_t reserved_len; /* SIZE_MAX: nothing is reserved */
    /* The consumer's. */
    _Alignas(64) _Atomic size_t tail;
    size_t head_seen;
    size_t peeked_end; /* tail after the peeked frame; 0: nothing is peeked */
};

static size_t
frame_size(size_t len)
{
    return HEADER + ((len + 7) & ~(size_t)7);
}

static uint64_t *
word_at(const struct upt_ring *ring, size_t count)
{
    return ring->words + (count & (ring->capacity - 1)) / sizeof(uint64_t);
}

static size_t
before_end(const struct upt_ring *ring, size_t count)
{
    return ring->capacity - (count & (ring->capacity - 1));
}

upt_status
upt_ring_create(size_t capacity, struct upt_ring **ret, struct upt_error *reterr)
{
    if (capacity > CAPACITY_MAX) {
        return upt_fail(reterr, UPT_EINVAL, "a ring of %zu bytes is too large", capacity);
    }
    size_t size = CAPACITY_MIN;
    while (size < capacity) {
        size *= 2;
    }
    struct upt_ring *ring = aligned_alloc(_Alignof(struct upt_ring), sizeof(*ring));
    if (ring == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for a ring");
    }
    *ring = (struct upt_ring){.words = aligned_alloc(64, size), .capacity = size, .reserved_len = SIZE_MAX};
    if (ring->words == NULL) {
        upt_ring_destroy(&ring);
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for a ring of %zu bytes", size);
    }
    *ret = ring;
    return UPT_OK;
}

void
upt_ring_destroy(struct upt_ring **ring_p)
{
    struct upt_ring *ring = *ring_p;
    if (ring == NULL) {
        return;
    }
    free(ring->words);
    free(ring);
    *ring_p = NULL;
}

size_t
upt_ring_frame_max(const struct upt_ring *ring)
{
    return ring->capacity / 2 - HEADER;
}

void *
upt_ring_reserve(struct upt_ring *ring, size_t len)
{
    upt_assert(len <= upt_ring_frame_max(ring));
    size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    size_t size = frame_size(len);
    size_t rest = before_end(ring, head);
    size_t skip = rest < size ? rest : 0;
    if (head + skip + size - ring->tail_seen > ring->capacity) {
        /* Pairs with the release store in upt_ring_release. */
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head + skip + size - ring->tail_seen > ring->capacity) {
            ring->reserved_len = SIZE_MAX;
            return NULL;
        }
    }
    if (skip > 0) {
        *word_at(ring, head) = WRAP;
    }
    ring->reserved_at = head + skip;
    ring->reserved_len = len;
    return word_at(ring, ring->reserved_at) + 1;
}

void
upt_ring_commit(struct upt_ring *ring, size_t len)
{
    upt_assert(ring->reserved_len != SIZE_MAX && len <= ring->reserved_len);
    *word_at(ring, ring->reserved_at) = len;
    ring->reserved_len = SIZE_MAX;
    /* Pairs with the acquire load in upt_ring_peek: publishes the frame and a marker before it. */
    atomic_store_explicit(&ring->head, ring->reserved_at + frame_size(len), memory_order_release);
}

const void *
upt_ring_peek(struct upt_ring *ring, size_t *ret_len)
{
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail == ring->head_seen) {
        /* Pairs with the release store in upt_ring_commit. */
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (tail == ring->head_seen) {
            return NULL;
        }
    }
    if (*word_at(ring, tail) == WRAP) {
        tail += before_end(ring, tail);
    }
    const uint64_t *frame = word_at(ring, tail);
    size_t len = (size_t)frame[0];
    ring->peeked_end = tail + frame_size(len);
    *ret_len = len;
    return frame + 1;
}

void
upt_ring_release(struct upt_ring *ring)
{
    upt_assert(ring->peeked_end != 0);
    /* Pairs with the acquire load in upt_ring_reserve: the consumer is done with the bytes. */
    atomic_store_explicit(&ring->tail, ring->peeked_end, memory_order_release);
    ring->peeked_end = 0;
}

size_t
upt_ring_used(const struct upt_ring *ring)
{
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    size_t used = head - tail;
    return used > ring->capacity ? ring->capacity : used;
}

size_t
upt_ring_capacity(const struct upt_ring *ring)
{
    return ring->capacity;
}
