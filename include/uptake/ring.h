/* Bounded single-producer single-consumer ring of byte frames: the only thing that threads share.
 *
 * One thread reserves and commits, one other thread peeks and releases. Publication is a release store of the head
 * paired with an acquire load by the consumer (and the reverse for the tail), each index on its own cache line. A frame
 * is contiguous and 8-byte aligned; the largest, with its 8-byte header, is half the capacity. Full: reserve returns
 * NULL; the producer decides. */
#ifndef UPT_RING_H
#define UPT_RING_H

#include <stddef.h>
#include <stdint.h>

#include "uptake/status.h"

struct upt_ring;

/* capacity is rounded up to a power of two. */
UPT_NODISCARD upt_status upt_ring_create(size_t capacity, struct upt_ring **ret, struct upt_error *reterr);
void upt_ring_destroy(struct upt_ring **ring_p);

/* The longest frame; reserving more is a programmer's error and ends the process, since it would never fit. */
size_t upt_ring_frame_max(const struct upt_ring *ring);
/* @locality producer. Room for one frame of len bytes, or NULL if it does not fit now. */
void *upt_ring_reserve(struct upt_ring *ring, size_t len);
/* @locality producer. Publishes the frame reserved last, of which len bytes (≤ reserved) are used. */
void upt_ring_commit(struct upt_ring *ring, size_t len);
/* @locality consumer. The oldest frame not yet released, or NULL. */
const void *upt_ring_peek(struct upt_ring *ring, size_t *ret_len);
/* @locality consumer. Frees the frame last peeked. */
void upt_ring_release(struct upt_ring *ring);

/* Any thread, approximate. */
size_t upt_ring_used(const struct upt_ring *ring);
size_t upt_ring_capacity(const struct upt_ring *ring);

#endif
