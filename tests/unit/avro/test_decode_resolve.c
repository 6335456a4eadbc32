/* Schema resolution: every way in which a writer's schema may differ from the reader's and still be read. */
#include "testing.h"

#include <math.h>

#include "ingest/avro/encoder.h"

/* Decodes account "a", time 5 and then the bytes of the fields under test; the record must be good. */
static struct upt_event
event_of(const char *schema, const char *bytes, size_t len)
{
    static struct upt_decoder *dec;
    static struct upt_buf body;
    upt_decoder_destroy(&dec);
    dec = decoder_of(schema);
    upt_buf_clear(&body);
    put_text(&body, "a");
    put_long(&body, 5);
    put_bytes(&body, bytes, len);
    struct upt_decoded decoded = decode(dec, &body);
    if (decoded.reason != UPT_REASON_NONE) {
        print_error("%s\n", decoded.detail);
    }
    assert_int_equal(decoded.reason, UPT_REASON_NONE);
    assert_false(decoded.has_schema_id);
    assert_int_equal(decoded.events_n, 1);
    struct upt_event event = decoded.events[0];
    assert_text(event.account_id, "a");
    assert_int_equal(event.occurred_at, 5);
    return event;
}

#define READ(schema, bytes) event_of(schema, bytes, sizeof(bytes) - 1)

static void
test_missing_fields_take_their_defaults(void **state)
{
    (void)state;
    struct upt_event event = READ(EVENT(""), "");
    assert_text(event.event_id, "");
    assert_null(event.user_id.p);
    assert_null(event.feature.p);
    assert_int_equal(event.kind, UPT_KIND_OTHER);
    assert_true(event.quantity >= 1.0 && event.quantity <= 1.0);
    assert_false(event.has_duration);
    assert_int_equal(event.properties.raw.len, 0);
}

static void
test_missing_fields_without_default_are_refused(void **state)
{
    (void)state;
    assert_non_null(strstr(refusal_of("{\"type\":\"record\",\"name\":\"uptake.v1.UsageEvent\",\"fields\":["
                                      "{\"name\":\"account_id\",\"type\":\"string\"}]}"),
                           "occurred_at is missing"));
    assert_non_null(strstr(refusal_of("{\"type\":\"record\",\"name\":\"uptake.v1.UsageEvent\",\"fields\":["
                                      "{\"name\":\"occurred_at\",\"type\":\"long\"}]}"),
                           "account_id is missing"));
    assert_non_null(strstr(refusal_of("{\"type\":\"record\",\"name\":\"uptake.v1.UsageBatch\",\"fields\":[]}"),
                           "events is missing"));
}

static void
test_the_own_schema_in_its_order(void **state)
{
    (void)state;
    struct upt_decoder *dec = NULL;
    struct upt_decoder_config config = {
        .schema = upt_schema_usage_event, .max_record_bytes = 1000, .max_batch_events = 1, .max_depth = 2};
    assert_int_equal(upt_decoder_create(&config, &dec, NULL), UPT_OK);
    struct upt_event ev = {.event_id = UPT_STR("e1"),
                           .occurred_at = INT64_C(1767225600000),
                           .account_id = UPT_STR("a"),
                           .user_id = UPT_STR("u"),
                           .kind = UPT_KIND_VALUE,
                           .feature = UPT_STR("f"),
                           .quantity = -2.5,
                           .duration_ms = INT64_MIN,
                           .has_duration = true};
    const struct upt_prop props[] = {{UPT_STR("k"), UPT_STR("v")}, {UPT_STR("k"), UPT_STR("\xC3\xA9")}};
    struct upt_buf body = {0};
    upt_encode_event(&body, -1, &ev, props, 2);
    struct upt_decoded decoded = decode(dec, &body);
    assert_int_equal(decoded.reason, UPT_REASON_NONE);
    const struct upt_event *got = &decoded.events[0];
    assert_text(got->event_id, "e1");
    assert_int_equal(got->occurred_at, INT64_C(1767225600000));
    assert_text(got->user_id, "u");
    assert_int_equal(got->kind, UPT_KIND_VALUE);
    assert_text(got->feature, "f");
    assert_true(got->quantity >= -2.5 && got->quantity <= -2.5);
    assert_true(got->has_duration);
    assert_int_equal(got->duration_ms, INT64_MIN);
    struct upt_props_cur cur = upt_props_begin(got->properties);
    struct upt_str name;
    struct upt_str value;
    assert_true(upt_props_next(&cur, &name, &value));
    assert_text(name, "k");
    assert_text(value, "v");
    assert_true(upt_props_next(&cur, &name, &value)); /* a key may occur twice */
    assert_text(value, "\xC3\xA9");
    assert_false(upt_props_next(&cur, &name, &value));
    upt_buf_fini(&body);
    upt_decoder_destroy(&dec);
}

static void
test_promotions_of_numbers(void **state)
{
    (void)state;
    assert_int_equal(READ(EVENT(FIELD("duration_ms", "\"int\"")), "\x0D").duration_ms, -7);
    assert_int_equal(READ(EVENT(FIELD("duration_ms", "\"long\"")), "\x0D").duration_ms, -7);
    double q = READ(EVENT(FIELD("quantity", "\"int\"")), "\xFF\xFF\xFF\xFF\x0F").quantity;
    assert_true(q >= INT32_MIN && q <= INT32_MIN);
    q = READ(EVENT(FIELD("quantity", "\"long\"")), "\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01").quantity;
    assert_true(q >= 9223372036854775808.0 && q <= 9223372036854775808.0);
    q = READ(EVENT(FIELD("quantity", "\"float\"")), "\xCD\xCC\xCC\x3D").quantity;
    assert_true(q >= (double)0.1F && q <= (double)0.1F);
    q = READ(EVENT(FIELD("quantity", "\"double\"")), "\x00\x00\x00\x00\x00\x00\xF0\x7F").quantity;
    assert_true(isinf(q)); /* judged elsewhere */
    q = READ(EVENT(FIELD("quantity", "\"double\"")), "\x00\x00\x00\x00\x00\x00\xF8\x7F").quantity;
    assert_true(isnan(q));
    const char *schema = "{\"type\":\"record\",\"name\":\"uptake.v1.UsageEvent\",\"fields\":["
                         "{\"name\":\"account_id\",\"type\":\"bytes\"},{\"name\":\"occurred_at\",\"type\":\"int\"}]}";
    assert_int_equal(event_of(schema, "", 0).occurred_at, 5);
}

static void
test_types_that_do_not_resolve(void **state)
{
    (void)state;
    assert_non_null(strstr(refusal_of(EVENT(FIELD("duration_ms", "\"double\""))), "duration_ms cannot be read"));
    assert_non_null(strstr(refusal_of(EVENT(FIELD("duration_ms", "\"string\""))), "writer's string"));
    assert_non_null(strstr(refusal_of(EVENT(FIELD("quantity", "\"string\""))), "quantity"));
    assert_non_null(strstr(refusal_of(EVENT(FIELD("quantity", "[\"null\"]"))), "quantity"));
    assert_non_null(strstr(refusal_of(EVENT(FIELD("quantity", "[]"))), "quantity"));
    assert_non_null(strstr(refusal_of(EVENT(FIELD("kind", "\"string\""))), "kind"));
    assert_non_null(strstr(refusal_of(EVENT(FIELD("event_id", "\"null\""))), "event_id"));
    assert_non_null(strstr(refusal_of(EVENT(FIELD("event_id", "\"int\""))), "event_id"));
    assert_non_null(strstr(refusal_of(EVENT(FIELD("user_id", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":4}"))),
                           "fixed uptake.v1.F"));
    assert_non_null(
        strstr(refusal_of(EVENT(FIELD("properties", "{\"type\":\"map\",\"values\":\"int\"}"))), "properties"));
    assert_non_null(
        strstr(refusal_of(EVENT(FIELD("properties", "{\"type\":\"array\",\"items\":\"string\"}"))), "properties"));
    assert_non_null(strstr(
        refusal_of(EVENT(FIELD("kind", "{\"type\":\"enum\",\"name\":\"Sort\",\"symbols\":[\"USAGE\"]}"))), "Sort"));
    assert_non_null(
        strstr(refusal_of(EVENT(FIELD("kind", "{\"type\":\"enum\",\"name\":\"Kind\",\"symbols\":[]}"))), "kind"));
}

static void
test_neither_of_the_two(void **state)
{
    (void)state;
    static const char *const others[] = {"\"string\"", "[\"null\",\"string\"]",
                                         "{\"type\":\"record\",\"name\":\"UsageEvent\",\"fields\":[]}",
                                         "{\"type\":\"record\",\"name\":\"other.v1.UsageEvent\",\"fields\":[]}",
                                         "{\"type\":\"enum\",\"name\":\"uptake.v1.UsageEvent\",\"symbols\":[\"A\"]}"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_non_null(strstr(refusal_of(others[i]), "neither uptake.v1.UsageEvent nor uptake.v1.UsageBatch"));
    }
    const char *split = "{\"type\":\"record\",\"name\":\"UsageEvent\",\"namespace\":\"uptake.v1\",\"fields\":["
                        "{\"name\":\"account_id\",\"type\":\"string\"},{\"name\":\"occurred_at\",\"type\":\"long\"}]}";
    (void)event_of(split, "", 0);
}

#define KINDS "{\"type\":\"enum\",\"name\":\"my.own.Kind\",\"symbols\":[\"LOGIN\",\"NEW\",\"USAGE\",\"CHURNED\"]}"

static void
test_enums_by_symbol(void **state)
{
    (void)state;
    assert_int_equal(READ(EVENT(FIELD("kind", KINDS)), "\x00").kind, UPT_KIND_LOGIN);
    assert_int_equal(READ(EVENT(FIELD("kind", KINDS)), "\x02").kind, UPT_KIND_OTHER); /* unknown: the default */
    assert_int_equal(READ(EVENT(FIELD("kind", KINDS)), "\x04").kind, UPT_KIND_USAGE);
    assert_int_equal(READ(EVENT(FIELD("kind", KINDS)), "\x06").kind, UPT_KIND_CHURNED);
    assert_int_equal(READ(EVENT(FIELD("kind", "[\"null\"," KINDS "]")), "\x02\x06").kind, UPT_KIND_CHURNED);
}

static void
test_unions_and_their_absence(void **state)
{
    (void)state;
    assert_text(READ(EVENT(FIELD("user_id", "\"string\"")), "\x02u").user_id, "u");
    assert_text(READ(EVENT(FIELD("user_id", "\"bytes\"")), "\x02u").user_id, "u");
    assert_null(READ(EVENT(FIELD("user_id", "\"null\"")), "").user_id.p);
    assert_null(READ(EVENT(FIELD("user_id", "\"string\"")), "\x00").user_id.p); /* empty is null */
    assert_null(READ(EVENT(FIELD("user_id", "[\"string\",\"null\"]")), "\x00\x00").user_id.p);
    assert_text(READ(EVENT(FIELD("user_id", "[\"string\",\"null\"]")), "\x00\x02u").user_id, "u");
    assert_null(READ(EVENT(FIELD("user_id", "[\"string\",\"null\"]")), "\x02").user_id.p);
    assert_text(READ(EVENT(FIELD("feature", "[\"null\",\"int\",\"bytes\"]")), "\x04\x02z").feature, "z");
    assert_text(READ(EVENT(FIELD("feature", "\"string\"")), "\x00").feature, "");
    assert_non_null(READ(EVENT(FIELD("feature", "\"string\"")), "\x00").feature.p); /* empty is not null here */
    assert_text(READ(EVENT(FIELD("event_id", "[\"null\",\"string\"]")), "\x02\x02i").event_id, "i");
    assert_false(READ(EVENT(FIELD("duration_ms", "[\"long\",\"null\"]")), "\x02").has_duration);
    struct upt_event event = READ(EVENT(FIELD("duration_ms", "[\"null\",\"int\"]")), "\x02\x0C");
    assert_true(event.has_duration);
    assert_int_equal(event.duration_ms, 6);
    double q = READ(EVENT(FIELD("quantity", "[\"null\",\"string\",\"int\",\"double\"]")), "\x04\x0C").quantity;
    assert_true(q >= 6.0 && q <= 6.0);
}

/* A union's branch that the reader cannot take is the record's fault, not the schema's. */
static void
test_branches_that_cannot_be_taken(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        const char *bytes;
        size_t len;
    } cases[] = {
        {EVENT(FIELD("quantity", "[\"null\",\"double\"]")), "\x00", 1},
        {EVENT(FIELD("event_id", "[\"null\",\"string\"]")), "\x00", 1},
        {EVENT(FIELD("feature", "[\"null\",\"int\",\"string\"]")), "\x02\x02", 2},
        {EVENT(FIELD("kind", "[\"string\"," KINDS "]")), "\x00\x00", 2},
        {EVENT(FIELD("properties", "[\"null\",{\"type\":\"map\",\"values\":\"string\"}]")), "\x00", 1},
        {EVENT(FIELD("properties", "{\"type\":\"map\",\"values\":[\"null\",\"string\"]}")), "\x02\x02k\x00\x00", 5},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct upt_decoder *dec = decoder_of(cases[i].schema);
        struct upt_buf body = {0};
        put_text(&body, "a");
        put_long(&body, 5);
        put_bytes(&body, cases[i].bytes, cases[i].len);
        struct upt_decoded decoded = decode(dec, &body);
        assert_int_equal(decoded.reason, UPT_REASON_BAD_AVRO);
        assert_non_null(strstr(decoded.detail, "a branch of a union that the reader does not have"));
        upt_buf_fini(&body);
        upt_decoder_destroy(&dec);
    }
}

static void
assert_props(struct upt_props props, const char *expected)
{
    struct upt_buf text = {0};
    struct upt_props_cur cur = upt_props_begin(props);
    struct upt_str name;
    struct upt_str value;
    while (upt_props_next(&cur, &name, &value)) {
        upt_buf_printf(&text, "%.*s=%.*s;", (int)name.len, name.p, (int)value.len, value.p);
    }
    upt_buf_put(&text, "", 1);
    assert_string_equal(text.p, expected);
    upt_buf_fini(&text);
}

static void
test_properties_left_as_they_are(void **state)
{
    (void)state;
    const char *strings = EVENT(FIELD("properties", "{\"type\":\"map\",\"values\":\"string\"}"));
    const char *bytes = EVENT(FIELD("properties", "{\"type\":\"map\",\"values\":\"bytes\"}"));
    assert_props(event_of(strings, "\x02\x02k\x02v\x00", 6).properties, "k=v;");
    assert_props(event_of(bytes, "\x02\x02k\x02v\x00", 6).properties, "k=v;");
    /* Two blocks, the second with its size in bytes. */
    assert_props(event_of(strings, "\x02\x02k\x02v\x03\x10\x02l\x02w\x02m\x02x\x00", 16).properties, "k=v;l=w;m=x;");
    assert_int_equal(event_of(strings, "\x00", 1).properties.raw.len, 0);
}

static void
test_properties_written_anew(void **state)
{
    (void)state;
    const char *schema = EVENT(FIELD("properties", "{\"type\":\"map\",\"values\":[\"null\",\"string\",\"bytes\"]}"));
    assert_props(event_of(schema, "\x00", 1).properties, "");
    assert_props(event_of(schema, "\x02\x02k\x02\x02v\x00", 7).properties, "k=v;");
    /* Two blocks, one with a size; 64 entries of it would need a longer count than the block's. */
    assert_props(event_of(schema, "\x01\x0A\x02k\x02\x02v\x04\x02l\x04\x02w\x00\x02\x00\x00", 17).properties,
                 "k=v;l=w;=;");
    struct upt_buf map = {0};
    put_long(&map, -64);
    put_long(&map, 64 * 3);
    for (int i = 0; i < 64; i++) {
        put_bytes(&map, "\x00\x02\x00", 3);
    }
    put_long(&map, 0);
    struct upt_event event = event_of(schema, map.p, map.len);
    assert_int_equal(event.properties.raw.len, 2 + 64 * 2 + 1);
    upt_buf_fini(&map);
}

static void
test_batches(void **state)
{
    (void)state;
    const char *schema =
        "{\"type\":\"record\",\"name\":\"uptake.v1.UsageBatch\",\"fields\":["
        "{\"name\":\"sent\",\"type\":\"long\"},{\"name\":\"events\",\"type\":[\"null\",{\"type\":\"array\",\"items\":"
        "[\"null\",{\"type\":\"record\",\"name\":\"some.where.UsageEvent\",\"fields\":["
        "{\"name\":\"account_id\",\"type\":\"string\"},{\"name\":\"occurred_at\",\"type\":\"long\"}]}]}]},"
        "{\"name\":\"sdk\",\"type\":\"string\"}]}";
    struct upt_decoder *dec = decoder_of(schema);
    struct upt_buf body = {0};
    put_bytes(&body,
              "\x08\x02\x04\x02\x02"
              "a\x02\x02\x02"
              "a\x04\x02\x02\x02"
              "a\x06\x00\x04qq",
              20);
    struct upt_decoded decoded = decode(dec, &body);
    assert_int_equal(decoded.reason, UPT_REASON_NONE);
    assert_true(decoded.batch);
    assert_int_equal(decoded.events_n, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_text(decoded.events[i].account_id, "a");
        assert_int_equal(decoded.events[i].occurred_at, i + 1);
    }
    upt_buf_clear(&body);
    put_bytes(&body, "\x08\x02\x00\x00", 4); /* no event at all */
    decoded = decode(dec, &body);
    assert_int_equal(decoded.reason, UPT_REASON_NONE);
    assert_true(decoded.batch);
    assert_int_equal(decoded.events_n, 0);
    upt_buf_fini(&body);
    upt_decoder_destroy(&dec);
    assert_non_null(
        strstr(refusal_of("{\"type\":\"record\",\"name\":\"uptake.v1.UsageBatch\",\"fields\":[{\"name\":\"events\","
                          "\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Event\","
                          "\"fields\":[]}}}]}"),
               "record uptake.v1.Event"));
}

/* Everything that a schema can hold, in fields that nobody wants. */
static void
test_unwanted_fields_of_every_type(void **state)
{
    (void)state;
    const char *schema = EVENT(
        FIELD("n", "\"null\"") FIELD("b", "\"boolean\"") FIELD("i", "\"int\"") FIELD("l", "\"long\"") FIELD(
            "f", "\"float\"") FIELD("d", "\"double\"") FIELD("y", "\"bytes\"") FIELD("s", "\"string\"")
            FIELD("x", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}") FIELD(
                "e", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}")
                FIELD("a", "{\"type\":\"array\",\"items\":\"F\"}") FIELD(
                    "m", "{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":\"boolean\"}}")
                    FIELD("u", "[\"null\",\"E\",{\"type\":\"map\",\"values\":\"F\"}]") FIELD(
                        "r", "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"v\",\"type\":\"int\"},"
                             "{\"name\":\"next\",\"type\":[\"null\",\"R\"]}]}")
                        FIELD("z", "{\"type\":\"array\",\"items\":\"null\"}") FIELD(
                            "zz", "{\"type\":\"record\",\"name\":\"Z\",\"fields\":[{\"name\":\"o\",\"type\":\"null\"},"
                                  "{\"name\":\"p\",\"type\":{\"type\":\"fixed\",\"name\":\"F0\",\"size\":0}}]}")
                            FIELD("user_id", "\"string\""));
    static const char bytes[] = "\x01\x0A\x0A" /* b i l */
                                "ffff"
                                "dddddddd" /* f d */
                                "\x04\xFF\xFE"
                                "\x04ok" /* y s */
                                "xxx"
                                "\x02"                             /* x e */
                                "\x02xxx\x01\x06xxx\x00"           /* a */
                                "\x02\x02k\x02\x01\x00\x00"        /* m */
                                "\x04\x02\x02kxxx\x00"             /* u */
                                "\x02\x02\x04\x02\x06\x00"         /* r: three in a chain */
                                "\xFE\xFF\xFF\xFF\x1F\x03\x00\x00" /* z: a great many nulls, and two with a size */
                                "\x02u";
    assert_text(event_of(schema, bytes, sizeof(bytes) - 1).user_id, "u");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_fields_take_their_defaults),
        cmocka_unit_test(test_missing_fields_without_default_are_refused),
        cmocka_unit_test(test_the_own_schema_in_its_order),
        cmocka_unit_test(test_promotions_of_numbers),
        cmocka_unit_test(test_types_that_do_not_resolve),
        cmocka_unit_test(test_neither_of_the_two),
        cmocka_unit_test(test_enums_by_symbol),
        cmocka_unit_test(test_unions_and_their_absence),
        cmocka_unit_test(test_branches_that_cannot_be_taken),
        cmocka_unit_test(test_properties_left_as_they_are),
        cmocka_unit_test(test_properties_written_anew),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_unwanted_fields_of_every_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
