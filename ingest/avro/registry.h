/* Client of a Confluent-compatible schema registry (libcurl).
 *
 * Lookups by id are asynchronous: the caller asks again until the answer is there, so that one slow id holds up only
 * the partitions that wait for it. One thread makes the requests: single flight for each id, several URLs tried in turn
 * and kept while they work, time-outs, back-off with jitter. Found schemas are kept for ever (an id never changes its
 * meaning); "there is none" (404, error code 40403) is kept for negative_ttl; nothing else is. 401 and 403 are not 404.
 *
 * @locality: any thread may call get and register; destroy when nobody does. */
#ifndef UPT_REGISTRY_H
#define UPT_REGISTRY_H

#include <stdint.h>

#include "uptake/metrics.h"
#include "uptake/status.h"
#include "uptake/str.h"

struct upt_registry;

struct upt_registry_config {
    const char *urls;                              /* comma-separated */
    const char *user, *password, *token, *ca_file; /* NULL or "": none */
    int64_t timeout_ms, negative_ttl_ms;
    struct upt_metrics *metrics; /* its own set */
};

UPT_NODISCARD upt_status upt_registry_create(const struct upt_registry_config *config, struct upt_registry **ret,
                                             struct upt_error *reterr);
void upt_registry_destroy(struct upt_registry **registry_p);

/* UPT_OK: *ret_schema is the schema's JSON with references (Avro) resolved or refused, owned by the registry for its
 * life. UPT_EAGAIN: asked for, no answer yet. UPT_ENOTFOUND: there is none. UPT_EUNAVAIL, UPT_EAUTH, UPT_EDATA (an
 * answer that is no answer): the last try failed, another follows by itself; reterr says what and where, without
 * secrets. */
UPT_NODISCARD upt_status upt_registry_get(struct upt_registry *registry, int32_t id, struct upt_str *ret_schema,
                                          struct upt_error *reterr);
/* Registers the schema under the subject (or finds it there); blocks for at most the time-outs of all URLs once. */
UPT_NODISCARD upt_status upt_registry_register(struct upt_registry *registry, const char *subject,
                                               struct upt_str schema, int32_t *ret_id, struct upt_error *reterr);

#endif
