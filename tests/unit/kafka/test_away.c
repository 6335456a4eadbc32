/* The coordinator of transactions is away: the publisher gets no producer, and says so before the lane has waited too
 * long for room. The producer and what is asked of it are below; time passes when the test says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ingest/kafka/publisher_internal.h"
#include "uptake/time.h"

int64_t __wrap_upt_mono_ms(void);

static struct upt_config *config;
static struct upt_metrics metrics;
static struct upt_assignment assignment;
static struct {
    atomic_bool away, twice;
    atomic_int refused; /* why, for good */
    atomic_uint inits, begun, committed;
    atomic_llong later_ms;
} world;

int64_t
__wrap_upt_mono_ms(void)
{
    return 1000000 + atomic_load(&world.later_ms);
}

/* ---- the producer ---- */

static struct upt_producer *opened;

upt_status
upt_producer_open(struct upt_producer *producer, const struct upt_config *of, const char *transactional_id,
                  size_t batch_bytes, struct upt_error *reterr)
{
    (void)of, (void)transactional_id, (void)batch_bytes, (void)reterr;
    producer->rk = (void *)&world;
    opened = producer;
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
    atomic_fetch_add(&world.inits, 1);
    int refused = atomic_load(&world.refused);
    if (refused != 0) {
        return rd_kafka_error_new((rd_kafka_resp_err_t)refused, "refused");
    }
    return atomic_load(&world.away) ? rd_kafka_error_new(RD_KAFKA_RESP_ERR__TIMED_OUT, "timed out") : NULL;
}

rd_kafka_error_t *
rd_kafka_begin_transaction(rd_kafka_t *rk)
{
    (void)rk;
    atomic_fetch_add(&world.begun, 1);
    return NULL;
}

rd_kafka_error_t *
rd_kafka_produceva(rd_kafka_t *rk, const rd_kafka_vu_t *vus, size_t n)
{
    (void)rk, (void)vus, (void)n;
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
    (void)rk, (void)timeout_ms;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_error_t *
rd_kafka_send_offsets_to_transaction(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *offsets,
                                     const rd_kafka_consumer_group_metadata_t *metadata, int timeout_ms)
{
    (void)rk, (void)offsets, (void)metadata, (void)timeout_ms;
    return NULL;
}

rd_kafka_error_t *
rd_kafka_commit_transaction(rd_kafka_t *rk, int timeout_ms)
{
    (void)rk, (void)timeout_ms;
    atomic_store(&opened->endtxn_sent, atomic_load(&world.twice) ? 2 : 1);
    atomic_fetch_add(&world.committed, 1);
    return NULL;
}

rd_kafka_error_t *
rd_kafka_abort_transaction(rd_kafka_t *rk, int timeout_ms)
{
    (void)rk, (void)timeout_ms;
    return NULL;
}

/* ---- tests ---- */

#define WAIT_FOR(condition)                          \
    do {                                             \
        for (int i = 0; i < 5000 && !(condition);) { \
            i++;                                     \
            upt_sleep_ms(1);                         \
        }                                            \
        assert_true(condition);                      \
    } while (0)

static void
push(struct upt_publisher *pub, uint32_t seq, uint64_t serial)
{
    const struct upt_record record = {
        .topic = UPT_TOPIC_ALERTS, .partition = -1, .key = UPT_STR("k"), .value = UPT_STR("v")};
    const struct upt_commit commit = {.partition = 0,
                                      .assignment = &assignment,
                                      .serial = serial,
                                      .next_offset = (int64_t)serial,
                                      .metadata = "m",
                                      .key = UPT_STR("c"),
                                      .value = UPT_STR("v")};
    assert_true(upt_publisher_push(pub, seq, &record));
    assert_true(upt_publisher_commit(pub, seq, &commit));
    upt_publisher_kick(pub);
}

static unsigned
count(atomic_uint *n)
{
    return atomic_load(n);
}

static void
says_that_it_waits(void **state)
{
    (void)state;
    struct upt_publisher *pub = NULL;
    const struct upt_publisher_config of = {
        .config = config, .transactional_id = "t", .offsets_topic = "in", .metrics = &metrics, .ring_bytes = 65536};
    assert_int_equal(upt_publisher_create(&of, &pub, NULL), UPT_OK);
    WAIT_FOR(upt_publisher_ready(pub));
    /* A commit that asks for a new epoch, which is not to be had. */
    atomic_store(&world.twice, true);
    atomic_store(&world.away, true);
    push(pub, 1, 1);
    WAIT_FOR(!upt_publisher_ready(pub));
    unsigned inits = count(&world.inits);
    WAIT_FOR(count(&world.inits) > inits + 2);
    assert_int_equal(count(&world.committed), 1);
    assert_int_equal(upt_publisher_failure(pub), UPT_FAILURE_NONE);
    push(pub, 1, 2);
    atomic_store(&world.later_ms, 3000);
    WAIT_FOR(upt_publisher_failure(pub) == UPT_FAILURE_RESET);
    assert_false(upt_publisher_ready(pub));
    /* Nothing of what is given up is committed when it is back. */
    atomic_store(&world.twice, false);
    atomic_store(&world.away, false);
    WAIT_FOR(upt_publisher_ready(pub));
    upt_sleep_ms(20);
    assert_int_equal(count(&world.begun), 1);
    assert_int_equal(upt_publisher_failure(pub), UPT_FAILURE_RESET);
    upt_publisher_restart(pub, 2);
    push(pub, 2, 3);
    WAIT_FOR(count(&world.committed) == 2);
    assert_int_equal(upt_publisher_failure(pub), UPT_FAILURE_NONE);
    upt_publisher_destroy(&pub);
}

static void
says_which_right_is_missing(void **state)
{
    (void)state;
    static const struct {
        rd_kafka_resp_err_t code;
        upt_status status;
        const char *said;
    } cases[] = {
        {RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, UPT_EAUTH,
         "t: init_transactions: needs the rights Write and Describe on this TransactionalId, best on all of the "
         "group's"},
        {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, UPT_EAUTH, "t: init_transactions: refused"},
        {RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, UPT_EUNAVAIL, "t: init_transactions: refused"},
    };
    const struct upt_publisher_config of = {
        .config = config, .transactional_id = "t", .offsets_topic = "in", .metrics = &metrics, .ring_bytes = 65536};
    for (size_t at = 0; at < sizeof(cases) / sizeof(cases[0]); at++) {
        struct upt_publisher *pub = NULL;
        struct upt_error err;
        atomic_store(&world.refused, (int)cases[at].code);
        assert_int_equal(upt_publisher_create(&of, &pub, NULL), UPT_OK);
        WAIT_FOR(upt_publisher_failure(pub) == UPT_FAILURE_FATAL);
        upt_publisher_error(pub, &err);
        assert_int_equal(err.code, cases[at].status);
        assert_string_equal(err.msg, cases[at].said);
        upt_publisher_destroy(&pub);
    }
}

static int
set_up(void **state)
{
    (void)state;
    return upt_config_default(&config, NULL) == UPT_OK ? 0 : 1;
}

static int
tear_down(void **state)
{
    (void)state;
    upt_config_destroy(&config);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_that_it_waits),
        cmocka_unit_test(says_which_right_is_missing),
    };
    return cmocka_run_group_tests_name("away", tests, set_up, tear_down);
}
