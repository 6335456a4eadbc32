/* Records that are broken, and those that exceed a limit: which reason, and that what comes first decides. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>

#define assert_reason(decoded, expected, text)                                          \
    do {                                                                                \
        if ((decoded).reason != (expected) || strstr((decoded).detail, text) == NULL) { \
            print_error("reason %d: %s\n", (int)(decoded).reason, (decoded).detail);    \
        }                                                                               \
        assert_int_equal((decoded).reason, expected);                                   \
        assert_non_null(strstr((decoded).detail, text));                                \
    } while (0)

struct fault {
    const char *type; /* of a field that nobody wants */
    const char *bytes;
    size_t len;
    const char *why;
};

#define BYTES(literal) literal, sizeof(literal) - 1

static struct upt_decoded
decode_field(const char *schema, const char *bytes, size_t len)
{
    static struct upt_decoder *dec;
    static struct upt_buf body;
    upt_decoder_destroy(&dec);
    dec = decoder_of(schema);
    upt_buf_clear(&body);
    put_text(&body, "a");
    put_long(&body, 5);
    put_bytes(&body, bytes, len);
    /* A copy of exactly this length, so that a sanitizer sees a byte too many. */
    char *exact = test_malloc(body.len);
    memcpy(exact, body.p, body.len);
    struct upt_decoded decoded;
    struct upt_str value = {.p = exact, .len = (uint32_t)body.len};
    assert_int_equal(upt_decoder_decode(dec, UPT_STR("a"), value, &decoded, NULL), UPT_OK);
    test_free(exact);
    return decoded;
}

static void
test_broken_values(void **state)
{
    (void)state;
    static const struct fault faults[] = {
        {"\"boolean\"", BYTES(""), "truncated"},
        {"\"boolean\"", BYTES("\x02"), "a boolean neither 0 nor 1"},
        {"\"int\"", BYTES(""), "truncated"},
        {"\"int\"", BYTES("\x80"), "truncated"},
        {"\"int\"", BYTES("\x80\x80\x80\x80\x10"), "an int over 32 bits"},
        {"\"int\"", BYTES("\x81\x80\x80\x80\x10"), "an int over 32 bits"},
        {"\"long\"", BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02"), "a number over 64 bits"},
        {"\"long\"", BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), "a number over 64 bits"},
        {"\"long\"", BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x80"), "truncated"},
        {"\"float\"", BYTES("abc"), "truncated"},
        {"\"double\"", BYTES("abcdefg"), "truncated"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":5}", BYTES("abcd"), "truncated"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":9223372036854775807}", BYTES("abcd"), "truncated"},
        {"\"bytes\"",
         BYTES("\x06"
               "ab"),
         "a length that does not fit"},
        {"\"bytes\"", BYTES("\x01"), "a length that does not fit"},
        {"\"bytes\"", BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), "a length that does not fit"},
        {"\"bytes\"", BYTES("\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), "a length that does not fit"},
        {"\"string\"", BYTES("\x02"), "a length that does not fit"},
        {"\"string\"", BYTES("\x02\xFF"), "a string that is not UTF-8"},
        {"\"string\"", BYTES("\x06\xED\xA0\x80"), "a string that is not UTF-8"},
        {"\"string\"", BYTES("\x04\xC0\x80"), "a string that is not UTF-8"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}", BYTES("\x04"), "an enum's index"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}", BYTES("\x01"), "an enum's index"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[]}", BYTES("\x00"), "an enum's index"},
        {"[\"null\",\"int\"]", BYTES("\x04"), "a union's index"},
        {"[\"null\",\"int\"]", BYTES("\x03"), "a union's index"},
        {"[\"null\",\"int\"]", BYTES("\x80\x80\x80\x80\x20"), "a union's index"},
        {"{\"type\":\"array\",\"items\":\"int\"}", BYTES("\x04\x02"), "truncated"},
        {"{\"type\":\"array\",\"items\":\"int\"}", BYTES("\x03\x02\x02\x02\x00"), "a block's size that is not"},
        {"{\"type\":\"array\",\"items\":\"int\"}", BYTES("\x03\x06\x02\x02\x00"), "a block's size that is not"},
        {"{\"type\":\"array\",\"items\":\"int\"}", BYTES("\x03\x08\x02\x02\x00"), "a block's size that does not fit"},
        {"{\"type\":\"array\",\"items\":\"int\"}", BYTES("\x03\x01\x02\x02\x00"), "a block's size that does not fit"},
        {"{\"type\":\"array\",\"items\":\"null\"}", BYTES("\x03\x02\x00"), "a block's size that is not"},
        {"{\"type\":\"array\",\"items\":\"int\"}", BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x00"), "truncated"},
        {"{\"type\":\"map\",\"values\":\"null\"}", BYTES("\x02\x02\xFF\x00"), "a string that is not UTF-8"},
        {"{\"type\":\"map\",\"values\":\"int\"}", BYTES("\x02\x02k"), "truncated"},
        {"{\"type\":\"map\",\"values\":\"int\"}", BYTES("\x03\x08\x02k\x02\x00\x00"), "a block's size that is not"},
        {"\"int\"", BYTES("\x02\x00"), "bytes left over"},
    };
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        char schema[512];
        (void)snprintf(schema, sizeof(schema), EVENT(FIELD("extra", "%s")), faults[i].type);
        struct upt_decoded decoded = decode_field(schema, faults[i].bytes, faults[i].len);
        assert_reason(decoded, UPT_REASON_BAD_AVRO, faults[i].why);
        assert_null(decoded.events);
        if (strcmp(faults[i].why, "bytes left over") != 0) {
            assert_reason(decoded, UPT_REASON_BAD_AVRO, "field extra: ");
        }
    }
}

static void
test_broken_wanted_values(void **state)
{
    (void)state;
    struct upt_decoded decoded = decode_field(EVENT(FIELD("user_id", "\"bytes\"")), "\x02\xFF", 2);
    assert_reason(decoded, UPT_REASON_BAD_AVRO, "field user_id: a string that is not UTF-8, at byte 3 of");
    decoded = decode_field(EVENT(FIELD("quantity", "\"double\"")), "1234567", 7);
    assert_reason(decoded, UPT_REASON_BAD_AVRO, "field quantity: truncated");
    decoded = decode_field(EVENT(FIELD("quantity", "\"float\"")), "123", 3);
    assert_reason(decoded, UPT_REASON_BAD_AVRO, "field quantity: truncated");
    decoded = decode_field(EVENT(FIELD("quantity", "\"int\"")), "\x80\x80\x80\x80\x10", 5);
    assert_reason(decoded, UPT_REASON_BAD_AVRO, "field quantity: an int over 32 bits");
    decoded = decode_field(EVENT(FIELD("duration_ms", "\"int\"")), "\x80\x80\x80\x80\x10", 5);
    assert_reason(decoded, UPT_REASON_BAD_AVRO, "field duration_ms: an int over 32 bits");
    const char *kind = EVENT(FIELD("kind", "{\"type\":\"enum\",\"name\":\"Kind\",\"symbols\":[\"USAGE\"]}"));
    assert_reason(decode_field(kind, "\x02", 1), UPT_REASON_BAD_AVRO, "field kind: an enum's index");
    const char *props = EVENT(FIELD("properties", "{\"type\":\"map\",\"values\":\"string\"}"));
    assert_reason(decode_field(props, "\x02\x02k\x02\xFF\x00", 6), UPT_REASON_BAD_AVRO, "not UTF-8");
    assert_reason(decode_field(props, "\x02\x02\xFF\x02v\x00", 6), UPT_REASON_BAD_AVRO, "not UTF-8");
    assert_reason(decode_field(props, "\x03\x0A\x02k\x02v\x02l\x02w\x00", 11), UPT_REASON_BAD_AVRO, "a block's size");
    const char *anew = EVENT(FIELD("properties", "{\"type\":\"map\",\"values\":[\"string\",\"int\"]}"));
    assert_reason(decode_field(anew, "\x02\x02k\x00\x02\xFF\x00", 7), UPT_REASON_BAD_AVRO, "not UTF-8");
    assert_reason(decode_field(anew, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x02\x00", 12), UPT_REASON_BAD_AVRO,
                  "truncated");
}

/* The text's window is loaded as a whole: it must not matter what lies around the text, nor where it is. */
static void
test_text_of_every_length(void **state)
{
    (void)state;
    const char *schema =
        EVENT(FIELD("event_id", "\"string\"") FIELD("pad", "{\"type\":\"fixed\",\"name\":\"P\",\"size\":40}"));
    const char *last =
        EVENT(FIELD("pad", "{\"type\":\"fixed\",\"name\":\"P\",\"size\":40}") FIELD("event_id", "\"string\""));
    char pad[40];
    memset(pad, 0xFF, sizeof(pad));
    for (int len = 0; len <= 70; len++) {
        for (int bad = -1; bad < len; bad++) {
            struct upt_buf text = {0};
            struct upt_buf before = {0};
            struct upt_buf behind = {0};
            put_long(&text, len);
            for (int i = 0; i < len; i++) {
                put_bytes(&text, i == bad ? "\xFF" : "t", 1);
            }
            put_bytes(&before, text.p, text.len);
            put_bytes(&before, pad, sizeof(pad));
            put_bytes(&behind, pad, sizeof(pad));
            put_bytes(&behind, text.p, text.len);
            upt_reason expected = bad < 0 ? UPT_REASON_NONE : UPT_REASON_BAD_AVRO;
            assert_int_equal(decode_field(schema, before.p, before.len).reason, expected);
            assert_int_equal(decode_field(last, behind.p, behind.len).reason, expected);
            upt_buf_fini(&text);
            upt_buf_fini(&before);
            upt_buf_fini(&behind);
        }
    }
}

/* Numbers of every length, canonical and padded with zero groups. */
static void
test_numbers_of_every_length(void **state)
{
    (void)state;
    const char *schema = EVENT(FIELD("duration_ms", "\"long\"") FIELD("rest", "\"bytes\""));
    for (int tail = 0; tail < 12; tail++) {
        for (int bits = 0; bits <= 64; bits++) {
            int64_t v = bits == 0 ? 0 : (int64_t)(UINT64_MAX >> (64 - bits));
            struct upt_buf number = {0};
            put_long(&number, v);
            put_long(&number, tail);
            for (int i = 0; i < tail; i++) {
                put_bytes(&number, "\x80", 1);
            }
            struct upt_decoder *dec = decoder_of(schema);
            struct upt_buf body = {0};
            put_text(&body, "a");
            put_long(&body, 5);
            put_bytes(&body, number.p, number.len);
            struct upt_decoded decoded = decode(dec, &body);
            assert_int_equal(decoded.reason, UPT_REASON_NONE);
            assert_int_equal(decoded.events[0].duration_ms, v);
            upt_buf_fini(&number);
            upt_buf_fini(&body);
            upt_decoder_destroy(&dec);
        }
    }
    const char *alone = EVENT(FIELD("duration_ms", "\"long\""));
    assert_int_equal(decode_field(alone, "\x82\x80\x80\x00", 4).reason, UPT_REASON_NONE);
    assert_int_equal(decode_field(alone, "\x82\x80\x80\x80\x80\x80\x80\x80\x80\x00", 10).reason, UPT_REASON_NONE);
}

/* ---- Limits ---- */

static struct upt_decoder *
limited(const char *schema, int64_t bytes, int64_t events, int64_t depth)
{
    struct upt_decoder_config config = {
        .schema = upt_str_of(schema), .max_record_bytes = bytes, .max_batch_events = events, .max_depth = depth};
    struct upt_decoder *dec = NULL;
    assert_int_equal(upt_decoder_create(&config, &dec, NULL), UPT_OK);
    return dec;
}

static struct upt_decoded
decode_with(struct upt_decoder *dec, const char *bytes, size_t len)
{
    struct upt_decoded decoded;
    struct upt_str value = {.p = bytes, .len = (uint32_t)len};
    assert_int_equal(upt_decoder_decode(dec, UPT_STR("a"), value, &decoded, NULL), UPT_OK);
    return decoded;
}

static void
test_record_bytes(void **state)
{
    (void)state;
    struct upt_decoder *dec = limited(EVENT(""), 3, 10, 32);
    assert_int_equal(decode_with(dec, BYTES("\x02"
                                            "a\x00"))
                         .reason,
                     UPT_REASON_NONE);
    assert_reason(decode_with(dec, BYTES("\x02"
                                         "a\x80\x00")),
                  UPT_REASON_TOO_LARGE, "4 bytes are more than max_record_bytes");
    upt_decoder_destroy(&dec);
}

#define BATCH                                                                                           \
    "{\"type\":\"record\",\"name\":\"uptake.v1.UsageBatch\",\"fields\":[{\"name\":\"events\",\"type\":" \
    "{\"type\":\"array\",\"items\":" EVENT("") "}}]}"

static void
test_batch_events(void **state)
{
    (void)state;
    struct upt_decoder *dec = limited(BATCH, 1000, 2, 32);
    assert_int_equal(decode_with(dec, BYTES("\x04\x02"
                                            "a\x02\x02"
                                            "a\x04\x00"))
                         .events_n,
                     2);
    assert_int_equal(decode_with(dec, BYTES("\x02\x02"
                                            "a\x02\x02\x02"
                                            "a\x04\x00"))
                         .events_n,
                     2);
    assert_int_equal(decode_with(dec, BYTES("\x01\x06\x02"
                                            "a\x02\x02\x02"
                                            "a\x04\x00"))
                         .events_n,
                     2);
    const char *more = "more events than max_batch_events";
    assert_reason(decode_with(dec, BYTES("\x06")), UPT_REASON_TOO_LARGE, more); /* before the items */
    assert_reason(decode_with(dec, BYTES("\x05")), UPT_REASON_TOO_LARGE, more); /* before the block's size */
    assert_reason(decode_with(dec, BYTES("\x02\x02"
                                         "a\x02\x04")),
                  UPT_REASON_TOO_LARGE, more); /* the sum counts */
    assert_reason(decode_with(dec, BYTES("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01")), UPT_REASON_TOO_LARGE, more);
    assert_reason(decode_with(dec, BYTES("\x02\x02\xFF\x02\x04")), UPT_REASON_BAD_AVRO, "UTF-8"); /* came first */
    upt_decoder_destroy(&dec);
}

/* Nested arrays of ints: `levels` of them inside the record. */
static char *
nested_schema(int levels)
{
    struct upt_buf schema = {0};
    upt_buf_puts(&schema, "{\"type\":\"record\",\"name\":\"uptake.v1.UsageEvent\",\"fields\":["
                          "{\"name\":\"account_id\",\"type\":\"string\"},{\"name\":\"occurred_at\",\"type\":\"long\"}"
                          ",{\"name\":\"deep\",\"type\":");
    for (int i = 0; i < levels; i++) {
        upt_buf_puts(&schema, "{\"type\":\"array\",\"items\":[\"null\",");
    }
    upt_buf_puts(&schema, "\"boolean\"");
    for (int i = 0; i < levels; i++) {
        upt_buf_puts(&schema, "]}");
    }
    upt_buf_puts(&schema, "}]}");
    upt_buf_put(&schema, "", 1);
    return schema.p;
}

static void
test_depth_of_arrays(void **state)
{
    (void)state;
    char *schema = nested_schema(40);
    struct upt_decoder *dec = limited(schema, 1000, 1, 32);
    for (int levels = 1; levels <= 40; levels++) {
        struct upt_buf body = {0};
        put_bytes(&body,
                  "\x02"
                  "a\x02",
                  3);
        for (int i = 1; i < levels; i++) {
            put_bytes(&body, "\x02\x02", 2); /* one item, the branch that is deeper */
        }
        for (int i = 0; i < levels; i++) {
            put_bytes(&body, "\x00", 1);
        }
        struct upt_decoded decoded = decode_with(dec, body.p, body.len);
        /* The record is the first level, an array without items one too. */
        if (levels <= 31) {
            assert_int_equal(decoded.reason, UPT_REASON_NONE);
        } else {
            assert_reason(decoded, UPT_REASON_TOO_LARGE, "deeper than max_depth");
        }
        upt_buf_fini(&body);
    }
    upt_decoder_destroy(&dec);
    free(schema);
}

static void
test_depth_of_records_and_maps(void **state)
{
    (void)state;
    const char *chain = EVENT(FIELD("r", "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"next\",\"type\":"
                                         "[\"null\",{\"type\":\"map\",\"values\":\"R\"}]}]}"));
    struct upt_decoder *dec = limited(chain, 1000, 1, 4);
    assert_int_equal(decode_with(dec, BYTES("\x02"
                                            "a\x02\x00"))
                         .reason,
                     UPT_REASON_NONE);
    assert_int_equal(decode_with(dec, BYTES("\x02"
                                            "a\x02\x02\x02\x00\x00\x00"))
                         .reason,
                     UPT_REASON_NONE);
    assert_reason(decode_with(dec, BYTES("\x02"
                                         "a\x02\x02\x02\x00\x02\x00\x00\x00")),
                  UPT_REASON_TOO_LARGE, "deeper");
    upt_decoder_destroy(&dec);
    /* A record that holds itself has no end but this one. */
    const char *endless = EVENT(FIELD("r", "{\"type\":\"record\",\"name\":\"R\",\"fields\":["
                                           "{\"name\":\"again\",\"type\":\"R\"},{\"name\":\"too\",\"type\":\"R\"}]}"));
    assert_reason(decode_field(endless, "", 0), UPT_REASON_TOO_LARGE, "deeper than max_depth");
    /* The properties are a level, and so is the batch's array. */
    const char *props = EVENT(FIELD("properties", "{\"type\":\"map\",\"values\":\"string\"}"));
    dec = limited(props, 1000, 1, 1);
    assert_reason(decode_with(dec, BYTES("\x02"
                                         "a\x02\x00")),
                  UPT_REASON_TOO_LARGE, "field properties: deeper");
    upt_decoder_destroy(&dec);
    dec = limited(BATCH, 1000, 1, 2);
    assert_int_equal(decode_with(dec, BYTES("\x00")).reason, UPT_REASON_NONE);
    assert_reason(decode_with(dec, BYTES("\x02\x02"
                                         "a\x02\x00")),
                  UPT_REASON_TOO_LARGE, "deeper");
    upt_decoder_destroy(&dec);
}

/* Records that take no byte have a depth all the same, and 2^31 of them take no time. */
static void
test_depth_of_nothing(void **state)
{
    (void)state;
    struct upt_buf schema = {0};
    upt_buf_puts(&schema, "{\"type\":\"record\",\"name\":\"uptake.v1.UsageEvent\",\"fields\":["
                          "{\"name\":\"account_id\",\"type\":\"string\"},{\"name\":\"occurred_at\",\"type\":\"long\"}");
    upt_buf_puts(&schema, FIELD("r0", "{\"type\":\"record\",\"name\":\"R0\",\"fields\":[]}"));
    for (int i = 1; i < 31; i++) {
        upt_buf_printf(&schema,
                       ",{\"name\":\"r%d\",\"type\":{\"type\":\"record\",\"name\":\"R%d\",\"fields\":["
                       "{\"name\":\"x\",\"type\":\"R%d\"},{\"name\":\"y\",\"type\":\"R%d\"}]}}",
                       i, i, i - 1, i - 1);
    }
    upt_buf_puts(&schema, FIELD("z", "{\"type\":\"array\",\"items\":\"R29\"}") "]}");
    upt_buf_put(&schema, "", 1);
    struct upt_decoder *dec = limited(schema.p, 1000, 1, 32);
    assert_int_equal(decode_with(dec, BYTES("\x02"
                                            "a\x02\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x00"))
                         .reason,
                     UPT_REASON_NONE);
    upt_decoder_destroy(&dec);
    dec = limited(schema.p, 1000, 1, 31); /* the array of R29 is 1 + 1 + 30 deep, if it holds any */
    assert_reason(decode_with(dec, BYTES("\x02"
                                         "a\x02\x00")),
                  UPT_REASON_TOO_LARGE, "deeper"); /* R30: 1 + 31 */
    upt_decoder_destroy(&dec);
    upt_buf_fini(&schema);
    const char *item =
        EVENT(FIELD("z", "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"R\",\"fields\":[]}}"));
    dec = limited(item, 1000, 1, 2);
    assert_int_equal(decode_with(dec, BYTES("\x02"
                                            "a\x02\x00"))
                         .reason,
                     UPT_REASON_NONE);
    assert_reason(decode_with(dec, BYTES("\x02"
                                         "a\x02\x02\x00")),
                  UPT_REASON_TOO_LARGE, "field z: deeper");
    upt_decoder_destroy(&dec);
}

static void
test_account(void **state)
{
    (void)state;
    struct upt_decoder *dec = limited(EVENT(""), 1000, 10, 32);
    struct upt_decoded decoded = decode_with(dec, BYTES("\x02"
                                                        "b\x02"));
    assert_reason(decoded, UPT_REASON_BAD_ACCOUNT_ID, "account_id is not the key");
    assert_null(decoded.events);
    assert_int_equal(decode_with(dec, BYTES("\x04"
                                            "aa\x02"))
                         .reason,
                     UPT_REASON_BAD_ACCOUNT_ID);
    assert_int_equal(decode_with(dec, BYTES("\x00\x02")).reason, UPT_REASON_BAD_ACCOUNT_ID);
    assert_int_equal(decode_with(dec, BYTES("\x02"
                                            "b\x02\x00"))
                         .reason,
                     UPT_REASON_BAD_AVRO); /* comes first */
    upt_decoder_destroy(&dec);
    dec = limited(BATCH, 1000, 10, 32);
    assert_reason(decode_with(dec, BYTES("\x04\x02"
                                         "a\x02\x02"
                                         "b\x04\x00")),
                  UPT_REASON_BAD_ACCOUNT_ID, "event 1");
    upt_decoder_destroy(&dec);
}

static void
test_limits_out_of_range(void **state)
{
    (void)state;
    static const int64_t bad[][3] = {{0, 1, 1}, {1, 0, 1}, {1, 1, 0}, {1, 1, 1025}, {INT64_MAX, 1, 1}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct upt_decoder_config config = {.schema = upt_str_of(EVENT("")),
                                            .max_record_bytes = bad[i][0],
                                            .max_batch_events = bad[i][1],
                                            .max_depth = bad[i][2]};
        struct upt_decoder *dec = NULL;
        struct upt_error error;
        assert_int_equal(upt_decoder_create(&config, &dec, &error), UPT_EINVAL);
        config.framed = true;
        assert_int_equal(upt_decoder_create(&config, &dec, &error), UPT_EINVAL);
        assert_null(dec);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_values),        cmocka_unit_test(test_broken_wanted_values),
        cmocka_unit_test(test_text_of_every_length), cmocka_unit_test(test_numbers_of_every_length),
        cmocka_unit_test(test_record_bytes),         cmocka_unit_test(test_batch_events),
        cmocka_unit_test(test_depth_of_arrays),      cmocka_unit_test(test_depth_of_records_and_maps),
        cmocka_unit_test(test_depth_of_nothing),     cmocka_unit_test(test_account),
        cmocka_unit_test(test_limits_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
