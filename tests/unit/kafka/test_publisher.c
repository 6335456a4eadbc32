/* What a publisher does between two faults: the rare turns that a broker gives only by chance. publisher.c is real; the
 * functions of librdkafka that it speaks to the broker with, and the opening of a producer, are those below. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "ingest/kafka/publisher_internal.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define WAIT_MS 5000
#define RING_BYTES ((size_t)8 << 20)
#define LETTER_BYTES (1 << 20)

/* A producer and what the broker has seen of it. */
struct rd_kafka_s {
    struct upt_producer *producer;
    atomic_int begun, aborted, committed, flushes, offsets;
    atomic_bool hold; /* a flush takes as long as this is set */
    atomic_llong offset;
    atomic_size_t headers; /* of the record produced last */
    atomic_size_t batch_bytes;
    int purged;            /* records that an abort takes out of the queue */
    atomic_bool too_large; /* the next flush */
};

static struct world {
    struct upt_config *config;
    struct upt_metrics metrics;
    struct rd_kafka_s outputs_rk, checkpoints_rk;
    struct upt_publisher *outputs, *checkpoints;
    struct upt_assignment assignment;
} world;

/* ---- librdkafka and the producer ---- */

upt_status
upt_producer_open(struct upt_producer *producer, const struct upt_config *config, const char *transactional_id,
                  size_t batch_bytes, struct upt_error *reterr)
{
    (void)config, (void)reterr;
    producer->rk = strcmp(transactional_id, "a") == 0 ? &world.outputs_rk : &world.checkpoints_rk;
    producer->rk->producer = producer;
    atomic_store(&producer->rk->batch_bytes, batch_bytes);
    atomic_store(&producer->endtxn_sent, 0);
    atomic_store(&producer->deliveries_failed, 0);
    return UPT_OK;
}

void
upt_producer_compress(struct upt_producer *producer, const char *topic)
{
    (void)producer, (void)topic;
}

void
upt_producer_close(struct upt_producer *producer)
{
    producer->rk = NULL;
}

rd_kafka_error_t *
rd_kafka_init_transactions(rd_kafka_t *rk, int timeout_ms)
{
    (void)rk, (void)timeout_ms;
    return NULL;
}

rd_kafka_error_t *
rd_kafka_begin_transaction(rd_kafka_t *rk)
{
    atomic_fetch_add(&rk->begun, 1);
    return NULL;
}

rd_kafka_error_t *
rd_kafka_produceva(rd_kafka_t *rk, const rd_kafka_vu_t *vus, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (vus[i].vtype == RD_KAFKA_VTYPE_HEADERS) {
            atomic_store(&rk->headers, rd_kafka_header_cnt(vus[i].u.headers));
            rd_kafka_headers_destroy(vus[i].u.headers);
        }
    }
    return NULL;
}

int
rd_kafka_poll(rd_kafka_t *rk, int timeout_ms)
{
    (void)rk, (void)timeout_ms;
    return 0;
}

rd_kafka_resp_err_t
rd_kafka_flush(rd_kafka_t *rk, int timeout_ms)
{
    (void)timeout_ms;
    atomic_fetch_add(&rk->flushes, 1);
    while (atomic_load(&rk->hold)) {
        upt_sleep_ms(1);
    }
    if (atomic_exchange(&rk->too_large, false)) {
        atomic_fetch_add(&rk->producer->too_large, 1);
        atomic_fetch_add(&rk->producer->deliveries_failed, 1);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_error_t *
rd_kafka_send_offsets_to_transaction(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list,
                                     const rd_kafka_consumer_group_metadata_t *metadata, int timeout_ms)
{
    (void)metadata, (void)timeout_ms;
    atomic_store(&rk->offset, list->elems[0].offset);
    atomic_fetch_add(&rk->offsets, 1);
    return NULL;
}

rd_kafka_error_t *
rd_kafka_commit_transaction(rd_kafka_t *rk, int timeout_ms)
{
    (void)timeout_ms;
    atomic_fetch_add(&rk->committed, 1);
    return NULL;
}

/* As librdkafka: what is still in the queue is reported as not delivered before this returns. */
rd_kafka_error_t *
rd_kafka_abort_transaction(rd_kafka_t *rk, int timeout_ms)
{
    (void)timeout_ms;
    atomic_fetch_add(&rk->producer->deliveries_failed, (unsigned)rk->purged);
    atomic_fetch_add(&rk->aborted, 1);
    return NULL;
}

/* ---- the lane's side ---- */

static void
wait_for(const atomic_int *count, int n)
{
    int64_t begun = upt_mono_ms();
    while (atomic_load(count) < n) {
        assert_true(upt_mono_ms() - begun < WAIT_MS);
        upt_sleep_ms(1);
    }
}

static void
push(struct upt_publisher *pub, uint32_t seq, const struct upt_header *headers, size_t n)
{
    const struct upt_record record = {.topic = UPT_TOPIC_DEAD,
                                      .partition = -1,
                                      .key = UPT_STR("k"),
                                      .value = UPT_STR("v"),
                                      .headers = headers,
                                      .headers_n = n};
    assert_true(upt_publisher_push(pub, seq, &record));
    upt_publisher_kick(pub);
}

static void
commit(struct upt_publisher *pub, uint32_t seq, int64_t offset, int64_t next_offset)
{
    const struct upt_commit frame = {.assignment = &world.assignment,
                                     .serial = 1,
                                     .pos = {.offset = offset, .tick = 0},
                                     .next_offset = next_offset,
                                     .metadata = "uptake",
                                     .key = UPT_STR("c"),
                                     .value = UPT_STR("progress")};
    assert_true(upt_publisher_commit(pub, seq, &frame));
    upt_publisher_kick(pub);
}

static int
setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    if (upt_config_default(&world.config, NULL) != UPT_OK) {
        return -1;
    }
    world.config->publish_interval_ms = 0;
    struct upt_publisher_config config = {.config = world.config,
                                          .transactional_id = "a",
                                          .offsets_topic = "usage-events",
                                          .metrics = &world.metrics,
                                          .batch_bytes = 600000,
                                          .letter_bytes = LETTER_BYTES,
                                          .ring_bytes = RING_BYTES};
    if (upt_publisher_create(&config, &world.outputs, NULL) != UPT_OK) {
        return -1;
    }
    config.transactional_id = "a-checkpoint";
    config.outputs = world.outputs;
    return upt_publisher_create(&config, &world.checkpoints, NULL) == UPT_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    atomic_store(&world.checkpoints_rk.hold, false);
    upt_publisher_destroy(&world.checkpoints);
    upt_publisher_destroy(&world.outputs);
    upt_config_destroy(&world.config);
    return 0;
}

/* ---- tests ---- */

/* The end of the log moved on past a marker while C stayed: the checkpoint's own offset is one that no progress says.
 */
static void
checkpoint_repeats_the_offset(void **state)
{
    (void)state;
    push(world.outputs, 1, NULL, 0);
    commit(world.outputs, 1, 10, 11);
    wait_for(&world.outputs_rk.committed, 1);
    commit(world.checkpoints, 1, 10, 12);
    wait_for(&world.checkpoints_rk.committed, 1);
    assert_int_equal(atomic_load(&world.checkpoints_rk.offset), 11);
}

/* The outputs fail, and everything is restored, while a checkpoint waits for a slow broker. */
static void
outputs_given_up_under_a_checkpoint(void **state)
{
    (void)state;
    atomic_store(&world.checkpoints_rk.hold, true);
    commit(world.outputs, 1, 10, 11);
    wait_for(&world.outputs_rk.committed, 1);
    commit(world.checkpoints, 1, 10, 12);
    wait_for(&world.checkpoints_rk.flushes, 1);
    upt_publisher_restart(world.outputs, 2);
    upt_publisher_restart(world.checkpoints, 2);
    atomic_store(&world.checkpoints_rk.hold, false);
    wait_for(&world.checkpoints_rk.aborted, 1);
    assert_int_equal(atomic_load(&world.checkpoints_rk.offsets), 0);
    assert_int_equal(atomic_load(&world.checkpoints_rk.committed), 0);
    assert_int_equal(upt_publisher_failure(world.checkpoints), UPT_FAILURE_NONE);
}

/* What an abort purged counts as not delivered, but not in the next transaction. */
static void
abort_leaves_nothing_behind(void **state)
{
    (void)state;
    world.outputs_rk.purged = 3;
    push(world.outputs, 1, NULL, 0);
    wait_for(&world.outputs_rk.begun, 1);
    upt_publisher_restart(world.outputs, 2);
    wait_for(&world.outputs_rk.aborted, 1);
    push(world.outputs, 2, NULL, 0);
    commit(world.outputs, 2, 10, 11);
    wait_for(&world.outputs_rk.flushes, 1);
    wait_for(&world.outputs_rk.committed, 1);
    assert_int_equal(upt_publisher_failure(world.outputs), UPT_FAILURE_NONE);
}

static void
many_headers(void **state)
{
    (void)state;
    const size_t n = 65536 + 7;
    struct upt_header *headers = calloc(n, sizeof(*headers));
    assert_non_null(headers);
    for (size_t i = 0; i < n; i++) {
        headers[i] = (struct upt_header){.name = UPT_STR("n"), .value = UPT_STR("v")};
    }
    push(world.outputs, 1, headers, n);
    free(headers);
    commit(world.outputs, 1, 10, 11);
    wait_for(&world.outputs_rk.committed, 1);
    assert_int_equal(atomic_load(&world.outputs_rk.headers), n);
}

static bool
takes(uint32_t bytes)
{
    const struct upt_record record = {.topic = UPT_TOPIC_DEAD, .key = UPT_STR("k"), .value = {.p = "", .len = bytes}};
    return upt_publisher_takes(world.outputs, &record); /* looks at lengths only */
}

/* What the ring can never hold is refused before it is tried; what may go compressed, once a topic has refused one.
 * Then batches are smaller, too: it may have been they. */
static void
larger_than_the_topic(void **state)
{
    (void)state;
    assert_false(takes(RING_BYTES / 2));
    assert_true(takes(2 * LETTER_BYTES));
    push(world.outputs, 1, NULL, 0);
    commit(world.outputs, 1, 10, 11);
    wait_for(&world.outputs_rk.committed, 1);
    assert_int_equal(atomic_load(&world.outputs_rk.batch_bytes), 600000);

    atomic_store(&world.outputs_rk.too_large, true);
    push(world.outputs, 1, NULL, 0);
    commit(world.outputs, 1, 11, 12);
    for (int64_t begun = upt_mono_ms(); upt_publisher_failure(world.outputs) != UPT_FAILURE_RESET; upt_sleep_ms(1)) {
        assert_true(upt_mono_ms() - begun < WAIT_MS);
    }
    assert_false(takes(2 * LETTER_BYTES));
    assert_true(takes(LETTER_BYTES - 1000));

    upt_publisher_restart(world.outputs, 2);
    push(world.outputs, 2, NULL, 0);
    commit(world.outputs, 2, 11, 12);
    wait_for(&world.outputs_rk.committed, 2);
    assert_int_equal(atomic_load(&world.outputs_rk.batch_bytes), 300000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(checkpoint_repeats_the_offset, setup, teardown),
        cmocka_unit_test_setup_teardown(outputs_given_up_under_a_checkpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(abort_leaves_nothing_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(many_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(larger_than_the_topic, setup, teardown),
    };
    return cmocka_run_group_tests_name("publisher", tests, NULL, NULL);
}
