/* Records with a header: the frame, what the registry says of the schema, and that nothing is judged before it knows.
 */
#include "testing.h"

#include <stdio.h>

#include "registry_stub.h"
#include "uptake/time.h"

#define EVENT_SCHEMA                                                                                        \
    "{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"uptake.v1.UsageEvent\\\",\\\"fields\\\":[" \
    "{\\\"name\\\":\\\"account_id\\\",\\\"type\\\":\\\"string\\\"},"                                        \
    "{\\\"name\\\":\\\"occurred_at\\\",\\\"type\\\":\\\"long\\\"}]}\"}"
#define NONE "{\"error_code\":40403}"

struct fixture {
    struct registry_stub *stub;
    struct upt_registry *registry;
    struct upt_decoder *dec;
};

static int
start(void **state)
{
    static struct fixture fixture;
    fixture.stub = registry_stub_start();
    registry_stub_set(fixture.stub, "GET /schemas/ids/1", 200, EVENT_SCHEMA, NULL);
    registry_stub_set(fixture.stub, "GET /schemas/ids/2", 404, NONE, NULL);
    registry_stub_set(fixture.stub, "GET /schemas/ids/3", 200, "{\"schema\":\"{\"}", NULL);
    registry_stub_set(fixture.stub, "GET /schemas/ids/4", 200, "{\"schema\":\"\\\"int\\\"\"}", NULL);
    registry_stub_set(fixture.stub, "GET /schemas/ids/5", 503, "", NULL);
    registry_stub_set(fixture.stub, "GET /schemas/ids/6", 401, "", NULL);
    registry_stub_set(fixture.stub, "GET /schemas/ids/7", 404, "gone", NULL);
    struct upt_registry_config config = {
        .urls = registry_stub_url(fixture.stub), .timeout_ms = 5000, .negative_ttl_ms = 600000};
    assert_int_equal(upt_registry_create(&config, &fixture.registry, NULL), UPT_OK);
    struct upt_decoder_config limits = {
        .framed = true, .registry = fixture.registry, .max_record_bytes = 100, .max_batch_events = 10, .max_depth = 1};
    assert_int_equal(upt_decoder_create(&limits, &fixture.dec, NULL), UPT_OK);
    *state = &fixture;
    return 0;
}

static int
stop(void **state)
{
    struct fixture *fixture = *state;
    upt_decoder_destroy(&fixture->dec);
    upt_registry_destroy(&fixture->registry);
    registry_stub_stop(&fixture->stub);
    return 0;
}

/* Asks until the schema is known; what came of it. */
static upt_status
settle(struct fixture *fixture, const char *bytes, size_t len, struct upt_decoded *ret, struct upt_error *error)
{
    struct upt_str value = {.p = bytes, .len = (uint32_t)len};
    int64_t until = upt_mono_ms() + 20000;
    upt_status status = upt_decoder_decode(fixture->dec, UPT_STR("a"), value, ret, error);
    while (status == UPT_EAGAIN && upt_mono_ms() < until) {
        upt_sleep_ms(1);
        status = upt_decoder_decode(fixture->dec, UPT_STR("a"), value, ret, error);
    }
    return status;
}

#define SETTLE(fixture, bytes, ret, error) settle(fixture, bytes, sizeof(bytes) - 1, ret, error)

static void
test_good(void **state)
{
    struct fixture *fixture = *state;
    struct upt_decoded decoded;
    struct upt_error error = {0};
    struct upt_str value = UPT_STR("\x00\x00\x00\x00\x01\x02"
                                   "a\x0A");
    assert_int_equal(upt_decoder_decode(fixture->dec, UPT_STR("a"), value, &decoded, &error), UPT_EAGAIN);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(settle(fixture, value.p, value.len, &decoded, &error), UPT_OK);
        assert_int_equal(decoded.reason, UPT_REASON_NONE);
        assert_true(decoded.has_schema_id);
        assert_int_equal(decoded.schema_id, 1);
        assert_int_equal(decoded.events_n, 1);
        assert_int_equal(decoded.events[0].occurred_at, 5);
    }
    assert_int_equal(registry_stub_hits(fixture->stub, "GET /schemas/ids/1"), 1);
}

static void
test_frames(void **state)
{
    struct fixture *fixture = *state;
    struct upt_decoded decoded;
    struct upt_error error;
    static const struct {
        const char *bytes;
        size_t len;
        upt_reason reason;
    } cases[] = {
        {"", 0, UPT_REASON_BAD_FRAME},
        {"\x00\x00\x00\x00", 4, UPT_REASON_BAD_FRAME},
        {"\x01\x00\x00\x00\x01\x02"
         "a\x0A",
         8, UPT_REASON_BAD_FRAME},
        {"{\"a\":1}", 7, UPT_REASON_BAD_FRAME},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(settle(fixture, cases[i].bytes, cases[i].len, &decoded, &error), UPT_OK);
        assert_int_equal(decoded.reason, cases[i].reason);
        assert_false(decoded.has_schema_id);
        assert_true(decoded.detail[0] != '\0');
    }
    /* The size is judged before the frame, without a schema id. */
    char big[101] = {1};
    assert_int_equal(settle(fixture, big, sizeof(big), &decoded, &error), UPT_OK);
    assert_int_equal(decoded.reason, UPT_REASON_TOO_LARGE);
    assert_false(decoded.has_schema_id);
    assert_int_equal(settle(fixture, big, sizeof(big) - 1, &decoded, &error), UPT_OK);
    assert_int_equal(decoded.reason, UPT_REASON_BAD_FRAME);
}

static void
test_schemas(void **state)
{
    struct fixture *fixture = *state;
    struct upt_decoded decoded;
    struct upt_error error;
    assert_int_equal(SETTLE(fixture, "\x00\x00\x00\x00\x02\xFF", &decoded, &error), UPT_OK);
    assert_int_equal(decoded.reason, UPT_REASON_UNKNOWN_SCHEMA);
    assert_true(decoded.has_schema_id);
    assert_int_equal(decoded.schema_id, 2);
    assert_int_equal(SETTLE(fixture, "\x00\xFF\xFF\xFF\xFF\xFF", &decoded, &error), UPT_OK);
    assert_int_equal(decoded.reason, UPT_REASON_UNKNOWN_SCHEMA); /* not asked for */
    assert_int_equal(decoded.schema_id, -1);
    assert_non_null(strstr(decoded.detail, "no schema 4294967295"));
    assert_int_equal(registry_stub_misses(fixture->stub), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(SETTLE(fixture, "\x00\x00\x00\x00\x03\xFF", &decoded, &error), UPT_OK);
        assert_int_equal(decoded.reason, UPT_REASON_BAD_SCHEMA);
        assert_int_equal(decoded.schema_id, 3);
        assert_non_null(strstr(decoded.detail, "schema 3: the schema cannot be parsed: not JSON"));
        assert_int_equal(SETTLE(fixture, "\x00\x00\x00\x00\x04\xFF", &decoded, &error), UPT_OK);
        assert_int_equal(decoded.reason, UPT_REASON_BAD_SCHEMA);
        assert_non_null(strstr(decoded.detail, "neither uptake.v1.UsageEvent nor"));
    }
    assert_int_equal(SETTLE(fixture,
                            "\x00\x00\x00\x00\x01\x04"
                            "a",
                            &decoded, &error),
                     UPT_OK);
    assert_int_equal(decoded.reason, UPT_REASON_BAD_AVRO);
    assert_true(decoded.has_schema_id);
    assert_int_equal(SETTLE(fixture,
                            "\x00\x00\x00\x00\x01\x02"
                            "b\x02",
                            &decoded, &error),
                     UPT_OK);
    assert_int_equal(decoded.reason, UPT_REASON_BAD_ACCOUNT_ID);
    assert_true(decoded.has_schema_id);
}

/* A registry that is away or refuses us says nothing about the record. */
static void
test_registry_in_trouble(void **state)
{
    struct fixture *fixture = *state;
    struct upt_decoded decoded;
    struct upt_error error;
    assert_int_equal(SETTLE(fixture,
                            "\x00\x00\x00\x00\x05\x02"
                            "a\x0A",
                            &decoded, &error),
                     UPT_EUNAVAIL);
    assert_non_null(strstr(error.msg, "HTTP 503"));
    assert_int_equal(SETTLE(fixture,
                            "\x00\x00\x00\x00\x06\x02"
                            "a\x0A",
                            &decoded, &error),
                     UPT_EAUTH);
    assert_int_equal(error.code, UPT_EAUTH);
    assert_int_equal(SETTLE(fixture,
                            "\x00\x00\x00\x00\x07\x02"
                            "a\x0A",
                            &decoded, &error),
                     UPT_EUNAVAIL);
    assert_int_equal(error.code, UPT_EUNAVAIL);
    assert_non_null(strstr(error.msg, "is the URL right?"));
    /* The other ids go on meanwhile. */
    assert_int_equal(SETTLE(fixture,
                            "\x00\x00\x00\x00\x01\x02"
                            "a\x0A",
                            &decoded, &error),
                     UPT_OK);
    assert_int_equal(decoded.reason, UPT_REASON_NONE);
}

#define with_registry(test) cmocka_unit_test_setup_teardown(test, start, stop)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        with_registry(test_good),
        with_registry(test_frames),
        with_registry(test_schemas),
        with_registry(test_registry_in_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
