/* Fetches the ends of partitions. See ends.h.
 *
 * rd_kafka_offsets_for_times asks for all partitions in one request for each leader (a timestamp of −1 means the end;
 * under read_committed the last stable offset); a watermark query would be one round trip for each partition. */
#include "ingest/kafka/ends.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "ingest/kafka/client.h"
#include "uptake/log.h"
#include "uptake/thread.h"
#include "uptake/time.h"

struct end {
    int64_t end, wall_ms, first;
};

struct upt_ends {
    rd_kafka_t *rk;
    const char *topic;
    int32_t partitions;
    pthread_t thread;
    bool started;
    atomic_bool stop;
    pthread_mutex_t lock; /* guards at */
    struct end at[];
};

static upt_status
fetch(struct upt_ends *ends, int timeout_ms, struct upt_error *reterr)
{
    int64_t wall_ms = upt_wall_ms();
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(ends->partitions);
    for (int32_t p = 0; p < ends->partitions; p++) {
        rd_kafka_topic_partition_list_add(list, ends->topic, p)->offset = RD_KAFKA_OFFSET_END;
    }
    rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(ends->rk, list, timeout_ms);
    int got = 0;
    pthread_mutex_lock(&ends->lock);
    for (int i = 0; i < list->cnt && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        const rd_kafka_topic_partition_t *tp = &list->elems[i];
        struct end *at = &ends->at[tp->partition];
        if (tp->err == RD_KAFKA_RESP_ERR_NO_ERROR && tp->offset >= 0) {
            at->first = at->end < 0 ? tp->offset : at->first;
            at->end = tp->offset;
            at->wall_ms = wall_ms;
            got++;
        }
    }
    pthread_mutex_unlock(&ends->lock);
    rd_kafka_topic_partition_list_destroy(list);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR || got < ends->partitions) {
        return upt_fail(reterr, UPT_EUNAVAIL, "the ends of topic %s are not to be had: %s", ends->topic,
                        err != RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_err2str(err) : "partitions without a leader");
    }
    return UPT_OK;
}

static void *
ends_main(void *arg)
{
    struct upt_ends *ends = arg;
    upt_thread_name("ends");
    int64_t next_ms = upt_mono_ms() + UPT_SECOND_MS;
    while (!atomic_load(&ends->stop)) {
        rd_kafka_poll(ends->rk, 50);
        if (upt_mono_ms() < next_ms) {
            continue;
        }
        struct upt_error err;
        if (fetch(ends, 3000, &err) != UPT_OK) {
            upt_log_limited(UPT_LOG_WARNING, "ends", "%s", err.msg);
        }
        next_ms = upt_mono_ms() + UPT_SECOND_MS;
    }
    return NULL;
}

upt_status
upt_ends_create(const struct upt_config *config, int32_t partitions, struct upt_ends **ret, struct upt_error *reterr)
{
    struct upt_ends *ends = calloc(1, sizeof(*ends) + (size_t)partitions * sizeof(ends->at[0]));
    if (ends == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    pthread_mutex_init(&ends->lock, NULL);
    ends->topic = config->input_topic;
    ends->partitions = partitions;
    for (int32_t p = 0; p < partitions; p++) {
        ends->at[p].end = ends->at[p].first = -1;
    }
    upt_status status = upt_client_reader(config, true, &ends->rk, reterr);
    for (int tries = 0; status == UPT_OK && tries < 10; tries++) {
        status = fetch(ends, 5000, reterr);
        if (status == UPT_OK || tries == 9) {
            break;
        }
        upt_sleep_ms(500);
        status = UPT_OK;
    }
    if (status == UPT_OK) {
        if (pthread_create(&ends->thread, NULL, ends_main, ends) != 0) {
            status = upt_fail(reterr, UPT_EIO, "cannot start a thread");
        } else {
            ends->started = true;
        }
    }
    if (status != UPT_OK) {
        upt_ends_destroy(&ends);
        return status;
    }
    *ret = ends;
    return UPT_OK;
}

void
upt_ends_destroy(struct upt_ends **ends_p)
{
    struct upt_ends *ends = *ends_p;
    if (ends == NULL) {
        return;
    }
    atomic_store(&ends->stop, true);
    if (ends->started) {
        pthread_join(ends->thread, NULL);
    }
    upt_client_destroy(&ends->rk);
    pthread_mutex_destroy(&ends->lock);
    free(ends);
    *ends_p = NULL;
}

bool
upt_ends_get(struct upt_ends *ends, int32_t partition, int64_t *ret_end, int64_t *ret_wall_ms)
{
    pthread_mutex_lock(&ends->lock);
    struct end at = ends->at[partition];
    pthread_mutex_unlock(&ends->lock);
    *ret_end = at.end;
    *ret_wall_ms = at.wall_ms;
    return at.end >= 0;
}

int64_t
upt_ends_first(struct upt_ends *ends, int32_t partition)
{
    pthread_mutex_lock(&ends->lock);
    int64_t first = ends->at[partition].first;
    pthread_mutex_unlock(&ends->lock);
    return first;
}
