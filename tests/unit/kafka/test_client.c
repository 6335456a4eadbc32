/* Which properties the clients of Kafka end up with: uptake's defaults, the user's, and those that are uptake's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#include "ingest/kafka/client.h"
#include "ingest/kafka/publisher_internal.h"

static struct upt_config *config;

static void
is(const rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char got[64];
    size_t size = sizeof(got);
    assert_int_equal(rd_kafka_conf_get(conf, name, got, &size), RD_KAFKA_CONF_OK);
    assert_string_equal(got, value);
}

static void
give(const char *key, const char *value)
{
    assert_int_equal(upt_config_set(config, key, value, NULL), UPT_OK);
}

static void
what_is_given_counts(void **state)
{
    (void)state;
    for (int given = 0; given < 2; given++) {
        struct upt_producer producer = {0};
        if (given) {
            give("kafka.queue.buffering.max.ms", "7"); /* another name of linger.ms */
            give("kafka.queue.buffering.max.messages", "1234");
            give("kafka.client.id", "mine");
        }
        assert_int_equal(upt_producer_open(&producer, config, "t", UPT_BATCH_BYTES, NULL), UPT_OK);
        is(rd_kafka_conf(producer.rk), "linger.ms", given ? "7" : "50");
        is(rd_kafka_conf(producer.rk), "queue.buffering.max.messages", given ? "1234" : "200000");
        is(rd_kafka_conf(producer.rk), "client.id", given ? "mine" : "uptake");
        is(rd_kafka_conf(producer.rk), "message.max.bytes", "1000000000");
        upt_producer_close(&producer);
    }
}

static void
readers_are_given_theirs(void **state)
{
    (void)state;
    for (int given = 0; given < 2; given++) {
        rd_kafka_t *rk = NULL;
        if (given) {
            give("kafka.fetch.wait.max.ms", "333");
            give("kafka.queued.max.messages.kbytes", "2048");
        }
        assert_string_equal(upt_client_value(config, UPT_KAFKA_INPUT, "fetch.wait.max.ms"), given ? "333" : "50");
        assert_int_equal(upt_client_reader(config, true, &rk, NULL), UPT_OK);
        is(rd_kafka_conf(rk), "fetch.wait.max.ms", given ? "333" : "20");
        is(rd_kafka_conf(rk), "queued.max.messages.kbytes", given ? "2048" : "65536");
        upt_client_destroy(&rk);
    }
}

static void
librdkafka_takes_the_defaults(void **state)
{
    (void)state;
    for (upt_kafka_role role = UPT_KAFKA_ANY; role <= UPT_KAFKA_GENERATOR; role++) {
        rd_kafka_conf_t *conf = NULL;
        assert_int_equal(upt_client_conf(config, role, NULL, 0, &conf, NULL), UPT_OK);
        rd_kafka_conf_destroy(conf);
    }
}

static int
set_up(void **state)
{
    (void)state;
    return upt_config_default(&config, NULL) == UPT_OK &&
                   upt_config_set(config, "kafka.bootstrap.servers", "127.0.0.1:1", NULL) == UPT_OK
               ? 0
               : 1;
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
        cmocka_unit_test_setup_teardown(what_is_given_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(readers_are_given_theirs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(librdkafka_takes_the_defaults, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
