/* Clients of librdkafka. See client.h.
 *
 * Defaults are set first, then the user's properties, by whatever alias, and uptake's own last, so that an owned one
 * cannot be changed even if the check of names missed an alias. librdkafka warns of producer properties given to a
 * consumer; the user's one list serves both, so those warnings are dropped. */
#include "ingest/kafka/client.h"

#include <stdio.h>
#include <string.h>

#include "uptake/assert.h"
#include "uptake/log.h"

static void
on_log(const rd_kafka_t *rk, int level, const char *fac, const char *buf)
{
    (void)rk;
    if (strcmp(fac, "CONFWARN") == 0) {
        return;
    }
    upt_log_level to = level <= 3 ? UPT_LOG_WARNING : level <= 5 ? UPT_LOG_INFO : UPT_LOG_DEBUG;
    upt_log(to, "kafka", "%s: %s", fac, buf);
}

static void
on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    (void)rk;
    (void)opaque;
    upt_log_limited(UPT_LOG_WARNING, "kafka", "%s: %s", rd_kafka_err2name((rd_kafka_resp_err_t)err), reason);
}

static upt_status
set(rd_kafka_conf_t *conf, const char *name, const char *value, const char *where, struct upt_error *reterr)
{
    char errstr[256];
    if (rd_kafka_conf_set(conf, name, value, errstr, sizeof(errstr)) != RD_KAFKA_CONF_OK) {
        return upt_fail(reterr, UPT_EINVAL, "%skafka.%s: %s", where, name, errstr);
    }
    return UPT_OK;
}

upt_status
upt_client_conf(const struct upt_config *config, upt_kafka_role role, const struct upt_prop_set *props, size_t n,
                rd_kafka_conf_t **ret, struct upt_error *reterr)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    upt_status status = UPT_OK;
    for (size_t i = 0; i < upt_kafka_defaults_n && status == UPT_OK; i++) {
        const struct upt_kafka_default *def = &upt_kafka_defaults[i];
        if (def->value != NULL && (def->role == UPT_KAFKA_ANY || def->role == role)) {
            status = set(conf, def->name, def->value, "", reterr);
        }
    }
    for (size_t i = 0; i < config->kafka_n && status == UPT_OK; i++) {
        char where[600] = "";
        if (config->path != NULL && config->kafka[i].line > 0) {
            snprintf(where, sizeof(where), "%s:%d: ", config->path, config->kafka[i].line);
        }
        status = set(conf, config->kafka[i].name, config->kafka[i].value, where, reterr);
    }
    for (size_t i = 0; i < n && status == UPT_OK; i++) {
        status = set(conf, props[i].name, props[i].value, "", reterr);
    }
    if (status != UPT_OK) {
        rd_kafka_conf_destroy(conf);
        return status;
    }
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    *ret = conf;
    return UPT_OK;
}

upt_status
upt_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret, struct upt_error *reterr)
{
    char errstr[512];
    rd_kafka_t *rk = rd_kafka_new(type, conf, errstr, sizeof(errstr));
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return upt_fail(reterr, UPT_EINVAL, "kafka: %s", errstr);
    }
    *ret = rk;
    return UPT_OK;
}

upt_status
upt_client_try(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct upt_error *reterr)
{
    rd_kafka_t *rk = NULL;
    upt_status status = set(conf, "bootstrap.servers", "", "", reterr);
    if (status != UPT_OK) {
        rd_kafka_conf_destroy(conf);
        return status;
    }
    status = upt_client_new(type, conf, &rk, reterr);
    upt_client_destroy(&rk);
    return status;
}

upt_status
upt_client_reader(const struct upt_config *config, bool committed_only, rd_kafka_t **ret, struct upt_error *reterr)
{
    const struct upt_prop_set props[] = {
        {"group.id", "uptake-reader"}, /* never joined: assign() only */
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "error"},
        {"enable.partition.eof", "true"},
        {"isolation.level", committed_only ? "read_committed" : "read_uncommitted"},
    };
    rd_kafka_conf_t *conf;
    upt_status status =
        upt_client_conf(config, UPT_KAFKA_READER, props, sizeof(props) / sizeof(props[0]), &conf, reterr);
    if (status != UPT_OK) {
        return status;
    }
    status = upt_client_new(RD_KAFKA_CONSUMER, conf, ret, reterr);
    if (status == UPT_OK) {
        rd_kafka_poll_set_consumer(*ret);
    }
    return status;
}

upt_status
upt_client_producer(const struct upt_config *config, rd_kafka_t **ret, struct upt_error *reterr)
{
    const struct upt_prop_set props[] = {{"enable.idempotence", "true"}, {"partitioner", "murmur2_random"}};
    rd_kafka_conf_t *conf;
    upt_status status = upt_client_conf(config, UPT_KAFKA_ANY, props, sizeof(props) / sizeof(props[0]), &conf, reterr);
    if (status != UPT_OK) {
        return status;
    }
    return upt_client_new(RD_KAFKA_PRODUCER, conf, ret, reterr);
}

void
upt_client_destroy(rd_kafka_t **rk_p)
{
    if (*rk_p != NULL) {
        rd_kafka_destroy_flags(*rk_p, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        *rk_p = NULL;
    }
}

const char *
upt_client_prop(const struct upt_config *config, const char *name, const char *fallback)
{
    for (size_t i = config->kafka_n; i > 0; i--) {
        if (strcmp(config->kafka[i - 1].name, name) == 0) {
            return config->kafka[i - 1].value;
        }
    }
    return fallback;
}

const char *
upt_client_value(const struct upt_config *config, upt_kafka_role role, const char *name)
{
    size_t i = 0;
    while (upt_kafka_defaults[i].role != role || strcmp(upt_kafka_defaults[i].name, name) != 0) {
        i++;
        upt_assert(i < upt_kafka_defaults_n);
    }
    return upt_client_prop(config, name, upt_kafka_defaults[i].value);
}

upt_status
upt_client_partitions(rd_kafka_t *rk, const char *topic, int timeout_ms, int32_t *ret, struct upt_error *reterr)
{
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, rkt, &md, timeout_ms);
    upt_status status = UPT_OK;
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        status = upt_fail(reterr, UPT_EUNAVAIL, "kafka: no answer about topic %s: %s", topic, rd_kafka_err2str(err));
    } else if (md->topic_cnt < 1 || md->topics[0].err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        status = upt_fail(reterr, UPT_ENOTFOUND, "kafka: there is no topic %s", topic);
    } else if (md->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        status = upt_fail(reterr, UPT_EUNAVAIL, "kafka: topic %s: %s", topic, rd_kafka_err2str(md->topics[0].err));
    } else {
        *ret = md->topics[0].partition_cnt;
    }
    if (md != NULL) {
        rd_kafka_metadata_destroy(md);
    }
    rd_kafka_topic_destroy(rkt);
    return status;
}
