/* Keeps librdkafka reading ahead although its queues are short. Before 2.2 its broker thread, having found all queues
 * full, sleeps up to a second unless something wakes it, however soon they are empty again; since then it looks again
 * after fetch.queue.backoff.ms. */
#ifndef UPT_KAFKA_WAKER_H
#define UPT_KAFKA_WAKER_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "uptake/status.h"

struct upt_waker;

/* Whether this librdkafka needs one. */
bool upt_waker_needed(void);
/* consumer and topic are borrowed. */
UPT_NODISCARD upt_status upt_waker_create(rd_kafka_t *consumer, const char *topic, struct upt_waker **ret,
                                          struct upt_error *reterr);
/* Waits for a request that is under way: up to a fifth of a second where the broker is silent. */
void upt_waker_destroy(struct upt_waker **waker_p);
/* Any thread; waker may be NULL. Records of this partition are being taken. */
void upt_waker_note(struct upt_waker *waker, int32_t partition);

#endif
