/* A request for the ends of a partition goes through the thread that fetches from its leader and wakes it: some 30 a
 * second while records are taken, none otherwise. See waker.h.
 *
 * Why short queues: to outlast a second of sleep they took 16 MiB a partition, 160,000 records deep, which was 240 MiB
 * of the 640 of a process with four (tests/bench/cost.py, 5 million events; now 400). Processor time is the same.
 *
 * A thread of its own, since librdkafka has no request to a leader that does not block. */
#include "ingest/kafka/waker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "uptake/thread.h"
#include "uptake/time.h"

#define PERIOD_MS 30
#define TIMEOUT_MS 200

struct upt_waker {
    rd_kafka_t *consumer;
    const char *topic;
    pthread_t thread;
    atomic_bool stop;
    atomic_int partition; /* of which records were taken last; -1: none since the last request */
};

static void *
waker_main(void *arg)
{
    struct upt_waker *waker = arg;
    upt_thread_name("waker");
    while (!atomic_load(&waker->stop)) {
        int32_t partition = atomic_exchange(&waker->partition, -1);
        if (partition >= 0) {
            int64_t low, high; /* of no interest */
            (void)rd_kafka_query_watermark_offsets(waker->consumer, waker->topic, partition, &low, &high, TIMEOUT_MS);
        }
        upt_sleep_ms(PERIOD_MS);
    }
    return NULL;
}

bool
upt_waker_needed(void)
{
    return rd_kafka_version() < 0x02020000;
}

upt_status
upt_waker_create(rd_kafka_t *consumer, const char *topic, struct upt_waker **ret, struct upt_error *reterr)
{
    struct upt_waker *waker = calloc(1, sizeof(*waker));
    if (waker == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    waker->consumer = consumer;
    waker->topic = topic;
    atomic_store(&waker->partition, -1);
    if (pthread_create(&waker->thread, NULL, waker_main, waker) != 0) {
        free(waker);
        return upt_fail(reterr, UPT_EIO, "cannot start a thread");
    }
    *ret = waker;
    return UPT_OK;
}

void
upt_waker_destroy(struct upt_waker **waker_p)
{
    struct upt_waker *waker = *waker_p;
    if (waker != NULL) {
        atomic_store(&waker->stop, true);
        pthread_join(waker->thread, NULL);
        free(waker);
        *waker_p = NULL;
    }
}

void
upt_waker_note(struct upt_waker *waker, int32_t partition)
{
    if (waker != NULL) {
        atomic_store_explicit(&waker->partition, partition, memory_order_relaxed);
    }
}
