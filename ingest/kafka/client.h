/* Clients of librdkafka with uptake's settings: defaults, then what the user passed under kafka:, then what uptake
 * owns.
 */
#ifndef UPT_CLIENT_H
#define UPT_CLIENT_H

#include <librdkafka/rdkafka.h>

#include "uptake/config.h"
#include "uptake/status.h"

/* One property that is set on top. */
struct upt_prop_set {
    const char *name;
    const char *value;
};

/* A configuration with the role's defaults, the user's properties and then props (n). Logs go to upt_log as
 * `component`. The caller owns *ret and hands it to rd_kafka_new, or destroys it. */
UPT_NODISCARD upt_status upt_client_conf(const struct upt_config *config, upt_kafka_role role,
                                         const struct upt_prop_set *props, size_t n, rd_kafka_conf_t **ret,
                                         struct upt_error *reterr);

/* rd_kafka_new that frees conf on failure too. */
UPT_NODISCARD upt_status upt_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret,
                                        struct upt_error *reterr);

/* Whether librdkafka makes a client of conf, which is consumed: properties that are each valid may exclude each other,
 * and files that they name may be missing. The client is one without a broker, and destroyed. */
UPT_NODISCARD upt_status upt_client_try(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct upt_error *reterr);

/* Plain clients, for queries and for reading topics by hand: never a group member, never commits. */
UPT_NODISCARD upt_status upt_client_reader(const struct upt_config *config, bool committed_only, rd_kafka_t **ret,
                                           struct upt_error *reterr);
UPT_NODISCARD upt_status upt_client_producer(const struct upt_config *config, rd_kafka_t **ret,
                                             struct upt_error *reterr);

/* Destroys without waiting for a group. NULL is fine; sets NULL. */
void upt_client_destroy(rd_kafka_t **rk_p);

/* The value of a user's property, or fallback. */
const char *upt_client_prop(const struct upt_config *config, const char *name, const char *fallback);

/* The same, or else the role's default, which must be in the table. */
const char *upt_client_value(const struct upt_config *config, upt_kafka_role role, const char *name);

/* The number of partitions of a topic; UPT_ENOTFOUND if there is no such topic. */
UPT_NODISCARD upt_status upt_client_partitions(rd_kafka_t *rk, const char *topic, int timeout_ms, int32_t *ret,
                                               struct upt_error *reterr);

#endif
