/* A short queue does not leave its reader waiting. librdkafka is real, and so is the time: a broker thread that found
 * the queue full sleeps for up to a second, and here it finds it full some twenty times. Where nothing wakes it that
 * takes 9 s, of sleep and not of work; else one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>

#include "ingest/kafka/mock.h"
#include "ingest/kafka/waker.h"
#include "uptake/time.h"

#define RECORDS 200
#define RECORD_BYTES 10000
#define STALLED_MS 5000
#define TRIES 3 /* the machine may be busy with something else; one that sleeps does so each time */

static rd_kafka_t *
client(rd_kafka_type_t type, const struct upt_mock *mock, const char *const (*props)[2], size_t n)
{
    char said[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", upt_mock_bootstrap(mock), said, sizeof(said)), 0);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(rd_kafka_conf_set(conf, props[i][0], props[i][1], said, sizeof(said)), RD_KAFKA_CONF_OK);
    }
    rd_kafka_t *rk = rd_kafka_new(type, conf, said, sizeof(said));
    assert_non_null(rk);
    return rk;
}

static void
fill(const struct upt_mock *mock)
{
    static char value[RECORD_BYTES];
    static const char *const props[][2] = {{"batch.size", "20000"}};
    rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, mock, props, 1);
    const rd_kafka_vu_t vus[] = {{.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = "input"},
                                 {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = 0},
                                 {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {value, sizeof(value)}},
                                 {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY}};
    for (int i = 0; i < RECORDS; i++) {
        assert_null(rd_kafka_produceva(rk, vus, sizeof(vus) / sizeof(vus[0])));
    }
    assert_int_equal(rd_kafka_flush(rk, 60000), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_destroy(rk);
}

/* Reads everything through a queue of ten records; how long it took. */
static int64_t
read_all(const struct upt_mock *mock)
{
    static const char *const props[][2] = {{"group.id", "g"},
                                           {"queued.max.messages.kbytes", "100"},
                                           {"queued.min.messages", "10000000"},
                                           {"fetch.message.max.bytes", "50000"},
                                           {"fetch.wait.max.ms", "50"}};
    struct upt_waker *waker = NULL;
    rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, mock, props, sizeof(props) / sizeof(props[0]));
    rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, "input", 0)->offset = 0;
    assert_int_equal(rd_kafka_assign(rk, list), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    assert_int_equal(upt_waker_create(rk, "input", &waker, NULL), UPT_OK);
    int64_t begun = upt_mono_ms();
    for (int n = 0; n < RECORDS;) {
        rd_kafka_message_t *msg = rd_kafka_consumer_poll(rk, 1000);
        if (msg == NULL) {
            continue;
        }
        if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            upt_waker_note(waker, 0);
            upt_sleep_ms(n++ % 10 == 0 ? 1 : 0); /* meanwhile the queue fills */
        }
        rd_kafka_message_destroy(msg);
    }
    int64_t took = upt_mono_ms() - begun;
    upt_waker_destroy(&waker);
    assert_null(waker);
    rd_kafka_destroy(rk);
    return took;
}

static void
never_waits(void **state)
{
    (void)state;
    struct upt_mock *mock = NULL;
    int64_t took = STALLED_MS;
    if (!upt_waker_needed()) {
        skip();
    }
    assert_int_equal(upt_mock_create(&mock, NULL), UPT_OK);
    assert_int_equal(upt_mock_topic(mock, "input", 1, NULL), UPT_OK);
    fill(mock);
    for (int i = 0; i < TRIES && took >= STALLED_MS; i++) {
        took = read_all(mock);
    }
    upt_mock_destroy(&mock);
    if (took >= STALLED_MS) {
        fail_msg("%d records took %lld ms", RECORDS, (long long)took);
    }
}

static void
nobody_to_note(void **state)
{
    (void)state;
    struct upt_waker *waker = NULL;
    upt_waker_note(waker, 0); /* a librdkafka that needs none */
    upt_waker_destroy(&waker);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_waits),
        cmocka_unit_test(nobody_to_note),
    };
    return cmocka_run_group_tests_name("waker", tests, NULL, NULL);
}
