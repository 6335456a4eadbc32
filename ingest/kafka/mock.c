/* The embedded broker. See mock.h. */
#include "ingest/kafka/mock.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>

#include "ingest/kafka/client.h"

struct upt_mock {
    rd_kafka_t *rk; /* the mock cluster lives in a client instance */
    rd_kafka_mock_cluster_t *cluster;
};

upt_status
upt_mock_create(struct upt_mock **ret, struct upt_error *reterr)
{
    struct upt_mock *mock = calloc(1, sizeof(*mock));
    if (mock == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "log_level", "3", NULL, 0); /* it has no broker itself and says so */
    upt_status status = upt_client_new(RD_KAFKA_PRODUCER, conf, &mock->rk, reterr);
    if (status == UPT_OK) {
        mock->cluster = rd_kafka_mock_cluster_new(mock->rk, 1);
        if (mock->cluster == NULL) {
            status = upt_fail(reterr, UPT_EIO, "the embedded broker did not start");
        }
    }
    if (status != UPT_OK) {
        upt_mock_destroy(&mock);
        return status;
    }
    *ret = mock;
    return UPT_OK;
}

void
upt_mock_destroy(struct upt_mock **mock_p)
{
    struct upt_mock *mock = *mock_p;
    if (mock == NULL) {
        return;
    }
    if (mock->cluster != NULL) {
        rd_kafka_mock_cluster_destroy(mock->cluster);
    }
    if (mock->rk != NULL) {
        rd_kafka_destroy(mock->rk);
    }
    free(mock);
    *mock_p = NULL;
}

const char *
upt_mock_bootstrap(const struct upt_mock *mock)
{
    return rd_kafka_mock_cluster_bootstraps(mock->cluster);
}

upt_status
upt_mock_topic(struct upt_mock *mock, const char *topic, int32_t partitions, struct upt_error *reterr)
{
    rd_kafka_resp_err_t err = rd_kafka_mock_topic_create(mock->cluster, topic, partitions, 1);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return upt_fail(reterr, UPT_EIO, "the embedded broker refused topic %s: %s", topic, rd_kafka_err2str(err));
    }
    return UPT_OK;
}
