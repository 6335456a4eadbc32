/* See fakes.h. */
#include "fakes.h"

#include <stdio.h>

#include "uptake/assert.h"

struct fakes fakes;

/* ---- publishers ---- */

upt_status
upt_publisher_create(const struct upt_publisher_config *config, struct upt_publisher **ret, struct upt_error *reterr)
{
    (void)config, (void)reterr;
    *ret = (void *)&fakes;
    return UPT_OK;
}

void
upt_publisher_destroy(struct upt_publisher **pub_p)
{
    *pub_p = NULL;
}

bool
upt_publisher_push(struct upt_publisher *pub, uint32_t seq, const struct upt_record *record)
{
    (void)pub, (void)seq, (void)record;
    return true;
}

bool
upt_publisher_commit(struct upt_publisher *pub, uint32_t seq, const struct upt_commit *commit)
{
    (void)pub, (void)seq, (void)commit;
    return true;
}

bool
upt_publisher_has_room(struct upt_publisher *pub, size_t len)
{
    (void)pub, (void)len;
    return !fakes.full;
}

bool
upt_publisher_takes(struct upt_publisher *pub, const struct upt_record *record)
{
    (void)pub, (void)record;
    return true;
}

void
upt_publisher_kick(struct upt_publisher *pub)
{
    (void)pub;
}

void
upt_publisher_restart(struct upt_publisher *pub, uint32_t seq)
{
    (void)pub, (void)seq;
    fakes.restarts++;
    fakes.failure = UPT_FAILURE_NONE;
}

upt_failure
upt_publisher_failure(struct upt_publisher *pub)
{
    (void)pub;
    return fakes.failure;
}

void
upt_publisher_error(struct upt_publisher *pub, struct upt_error *ret)
{
    (void)pub;
    *ret = (struct upt_error){.code = UPT_OK};
}

bool
upt_publisher_ready(struct upt_publisher *pub)
{
    (void)pub;
    return !fakes.away;
}

bool
upt_publisher_committed(struct upt_publisher *pub, int32_t partition, struct upt_pos *ret, uint64_t *ret_serial)
{
    (void)pub, (void)partition, (void)ret_serial;
    if (fakes.committed_set) {
        *ret = fakes.committed;
    }
    return fakes.committed_set;
}

/* ---- ends of the log: none is known ---- */

bool
upt_ends_get(struct upt_ends *ends, int32_t partition, int64_t *ret_end, int64_t *ret_wall_ms)
{
    (void)ends, (void)partition, (void)ret_end, (void)ret_wall_ms;
    return false;
}

int64_t
upt_ends_first(struct upt_ends *ends, int32_t partition)
{
    (void)ends, (void)partition;
    return 0;
}

/* ---- the restorer ---- */

upt_status
upt_restorer_create(const struct upt_restorer_config *config, struct upt_restorer **ret, struct upt_error *reterr)
{
    (void)config;
    if (fakes.no_restorer) {
        return upt_fail(reterr, UPT_EIO, "no restorer");
    }
    atomic_fetch_add(&fakes.joins, 1);
    *ret = (void *)&fakes;
    return UPT_OK;
}

void
upt_restorer_destroy(struct upt_restorer **res_p)
{
    *res_p = NULL;
}

void
upt_restorer_ask(struct upt_restorer *res, int32_t partition, uint64_t ticket)
{
    (void)partition, (void)ticket;
    upt_assert(res != NULL);
    fakes.asked++;
}

void
upt_restorer_cancel_below(struct upt_restorer *res, uint64_t ticket)
{
    (void)ticket;
    upt_assert(res != NULL);
}

bool
upt_restorer_take(struct upt_restorer *res, struct upt_restored *ret)
{
    upt_assert(res != NULL);
    bool set = fakes.got_set;
    if (set) {
        *ret = fakes.got;
        fakes.got_set = false;
    }
    return set;
}

double
upt_restorer_progress(struct upt_restorer *res, int32_t *ret_partition)
{
    upt_assert(res != NULL);
    *ret_partition = -1;
    return 0.0;
}

/* ---- the decoder: there are no records ---- */

upt_status
upt_decoder_create(const struct upt_decoder_config *config, struct upt_decoder **ret, struct upt_error *reterr)
{
    (void)config, (void)reterr;
    *ret = NULL;
    return UPT_OK;
}

void
upt_decoder_destroy(struct upt_decoder **dec_p)
{
    *dec_p = NULL;
}

upt_status
upt_decoder_decode(struct upt_decoder *dec, struct upt_str key, struct upt_str value, struct upt_decoded *ret,
                   struct upt_error *reterr)
{
    (void)dec, (void)key, (void)value, (void)ret;
    return upt_fail(reterr, UPT_EAGAIN, "no schema");
}

bool
upt_decoder_look_ahead(struct upt_decoder *dec, struct upt_str key, struct upt_str value, struct upt_decoded *ret)
{
    (void)dec, (void)key, (void)value, (void)ret;
    return false;
}

/* ---- librdkafka ---- */

rd_kafka_error_t *
rd_kafka_seek_partitions(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int timeout_ms)
{
    (void)rk, (void)list, (void)timeout_ms;
    return NULL;
}

rd_kafka_message_t *
rd_kafka_consumer_poll(rd_kafka_t *rk, int timeout_ms)
{
    static rd_kafka_message_t msg = {.err = RD_KAFKA_RESP_ERR__FATAL};
    (void)timeout_ms;
    upt_assert(rk != NULL);
    return fakes.fatal != RD_KAFKA_RESP_ERR_NO_ERROR ? &msg : NULL;
}

void
rd_kafka_message_destroy(rd_kafka_message_t *msg)
{
    upt_assert(msg->err == RD_KAFKA_RESP_ERR__FATAL);
}

rd_kafka_resp_err_t
rd_kafka_fatal_error(rd_kafka_t *rk, char *buf, size_t cap)
{
    (void)rk;
    snprintf(buf, cap, "so the test says");
    return fakes.fatal;
}

void
rd_kafka_conf_set_rebalance_cb(rd_kafka_conf_t *conf,
                               void (*cb)(rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *, void *))
{
    (void)conf;
    fakes.rebalance = cb;
}
