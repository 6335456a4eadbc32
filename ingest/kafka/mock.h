/* The embedded broker of `uptake demo`: librdkafka's mock cluster. It has no Admin API, no real transactions (aborted
 * records stay visible), no compaction, and drops the oldest data of a partition beyond 5 MiB without a word. It serves
 * the demonstration and not one promise. */
#ifndef UPT_MOCK_H
#define UPT_MOCK_H

#include <stdint.h>

#include "uptake/status.h"

struct upt_mock;

UPT_NODISCARD upt_status upt_mock_create(struct upt_mock **ret, struct upt_error *reterr);
void upt_mock_destroy(struct upt_mock **mock_p);
const char *upt_mock_bootstrap(const struct upt_mock *mock);
UPT_NODISCARD upt_status upt_mock_topic(struct upt_mock *mock, const char *topic, int32_t partitions,
                                        struct upt_error *reterr);

#endif
