/* Which texts are Avro schemas, and libavro's verdict beside ours: the reason why its parser is not the one in use. */
#include "testing.h"

#include <stdlib.h>

#include <avro.h>

#include "ingest/avro/schema.h"

/* libavro leaks what it had built when it refuses a schema. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
    return "leak:libavro";
}

struct verdict {
    const char *text;
    bool ours;
    bool libavro;
};

static const struct verdict verdicts[] = {
    {"\"string\"", true, true},
    {"string", false, false},
    {"", false, false},
    {"{\"type\":\"string\"} x", false, false},
    {"42", false, false},
    {"null", false, false},
    {"{}", false, false},
    {"{\"type\":{\"type\":\"string\"}}", false, false},
    {"{\"type\":\"map\",\"values\":\"int\",\"logicalType\":\"what\"}", true, true},
    {"{\"type\":\"array\"}", false, false},
    {"{\"type\":\"map\"}", false, false},
    {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[]}", true, true},
    {"{\"type\":\"error\",\"name\":\"R\",\"fields\":[]}", true, false},
    {"{\"type\":\"record\",\"fields\":[]}", false, false},
    {"{\"type\":\"record\",\"name\":\"R\"}", false, false},
    {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\"}]}", false, false},
    {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"type\":\"int\"}]}", false, false},
    {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a-b\",\"type\":\"int\"}]}", false, false},
    {"{\"type\":\"record\",\"name\":\"1R\",\"fields\":[]}", false, false},
    {"{\"type\":\"record\",\"name\":\"a..R\",\"fields\":[]}", false, true},
    {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"int\"},"
     "{\"name\":\"a\",\"type\":\"int\"}]}",
     false, true},
    {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"No\"}]}", false, false},
    {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":[\"null\",\"R\"]}]}", true, true},
    {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":{\"type\":\"R\"}}]}", true, true},
    {"{\"type\":\"record\",\"name\":\"R\",\"doc\":\"\\u0000\",\"fields\":[]}", true, false},
    {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\\u0000\",\"type\":\"int\"}]}", false, false},
    {"{\"type\":\"record\",\"name\":\"a.R\",\"fields\":[{\"name\":\"x\",\"type\":{\"type\":\"fixed\",\"name\":\"F\","
     "\"size\":1}},{\"name\":\"y\",\"type\":\"a.F\"},{\"name\":\"z\",\"type\":\"F\"}]}",
     true, true},
    {"{\"type\":\"record\",\"name\":\"a.R\",\"fields\":[{\"name\":\"x\",\"type\":{\"type\":\"fixed\",\"name\":\"F\","
     "\"namespace\":\"\",\"size\":1}},{\"name\":\"y\",\"type\":\"F\"}]}",
     false, false},
    {"{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"a.b\",\"fields\":[{\"name\":\"x\",\"type\":{\"type\":"
     "\"enum\",\"name\":\"c.E\",\"namespace\":\"q\",\"symbols\":[\"Q\"]}},{\"name\":\"y\",\"type\":\"c.E\"}]}",
     true, true},
    {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[]}", true, false},
    {"{\"type\":\"enum\",\"name\":\"E\"}", false, false},
    {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"A\"]}", false, true},
    {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A-B\"]}", false, true},
    {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"],\"default\":\"Z\"}", false, true},
    {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"],\"default\":\"A\"}", true, true},
    {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":0}", true, true},
    {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":-1}", false, true},
    {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":1.5}", false, false},
    {"{\"type\":\"fixed\",\"name\":\"F\"}", false, false},
    {"[]", true, false},
    {"[\"int\",\"int\"]", false, true},
    {"[\"int\",[\"string\"]]", false, true},
    {"[{\"type\":\"array\",\"items\":\"int\"},{\"type\":\"array\",\"items\":\"long\"}]", false, true},
    {"[{\"type\":\"fixed\",\"name\":\"A\",\"size\":2},{\"type\":\"fixed\",\"name\":\"B\",\"size\":2}]", true, true},
    {"[{\"type\":\"fixed\",\"name\":\"A\",\"size\":2},\"A\"]", false, true},
    {"[{\"type\":\"fixed\",\"name\":\"A\",\"size\":2},{\"type\":\"fixed\",\"name\":\"A\",\"size\":2}]", false, false},
};

static void
test_verdicts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        struct upt_avro_schema *schema = NULL;
        struct upt_error error = {0};
        upt_status status = upt_schema_parse(upt_str_of(verdicts[i].text), &schema, &error);
        if ((status == UPT_OK) != verdicts[i].ours) {
            print_error("%s: %s\n", verdicts[i].text, error.msg);
        }
        assert_int_equal(status, verdicts[i].ours ? UPT_OK : UPT_EDATA);
        upt_schema_destroy(&schema);
        avro_schema_t theirs = NULL;
        bool good = avro_schema_from_json_length(verdicts[i].text, strlen(verdicts[i].text), &theirs) == 0;
        if (good != verdicts[i].libavro) {
            print_error("libavro: %s\n", verdicts[i].text);
        }
        assert_int_equal(good, verdicts[i].libavro);
        if (good) {
            (void)avro_schema_decref(theirs);
        }
    }
}

static upt_status
parse(const struct upt_buf *text, struct upt_error *error)
{
    struct upt_avro_schema *schema = NULL;
    upt_status status = upt_schema_parse(str_of(text), &schema, error);
    upt_schema_destroy(&schema);
    return status;
}

static void
nested_arrays(struct upt_buf *text, int n)
{
    for (int i = 0; i < n; i++) {
        upt_buf_puts(text, "{\"type\":\"array\",\"items\":");
    }
    upt_buf_puts(text, "\"int\"");
    for (int i = 0; i < n; i++) {
        upt_buf_puts(text, "}");
    }
}

static void
test_bounds(void **state)
{
    (void)state;
    struct upt_buf text = {0};
    struct upt_error error = {0};
    nested_arrays(&text, UPT_SCHEMA_NESTING_MAX - 1);
    assert_int_equal(parse(&text, &error), UPT_OK);
    upt_buf_clear(&text);
    nested_arrays(&text, UPT_SCHEMA_NESTING_MAX);
    assert_int_equal(parse(&text, &error), UPT_EDATA);
    assert_non_null(strstr(error.msg, "nested deeper"));
    upt_buf_clear(&text);
    nested_arrays(&text, 20000);
    assert_int_equal(parse(&text, &error), UPT_EDATA);
    upt_buf_clear(&text);
    upt_buf_puts(&text, "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"S\"");
    for (int i = 0; i < UPT_SCHEMA_KIDS_MAX; i++) {
        upt_buf_printf(&text, ",\"S%d\"", i);
    }
    upt_buf_puts(&text, "]}");
    assert_int_equal(parse(&text, &error), UPT_EDATA);
    assert_non_null(strstr(error.msg, "more than 65536 fields"));
    upt_buf_clear(&text);
    upt_buf_puts(&text, "\"int\"");
    while (text.len <= UPT_SCHEMA_BYTES_MAX) {
        upt_buf_puts(&text, " ");
    }
    assert_int_equal(parse(&text, &error), UPT_EDATA);
    assert_non_null(strstr(error.msg, "longer than"));
    text.len--;
    assert_int_equal(parse(&text, &error), UPT_OK);
    upt_buf_fini(&text);
}

/* What a message quotes from outside is cut and printable. */
static void
test_messages(void **state)
{
    (void)state;
    struct upt_buf text = {0};
    struct upt_error error = {0};
    upt_buf_puts(&text, "\"\\u001b[31m\xC3\xA9");
    for (int i = 0; i < 1000; i++) {
        upt_buf_puts(&text, "x");
    }
    upt_buf_puts(&text, "\"");
    assert_int_equal(parse(&text, &error), UPT_EDATA);
    assert_non_null(strstr(error.msg, "unknown type \"?[31m??xxx"));
    assert_true(strlen(error.msg) < 120);
    upt_buf_fini(&text);
}

/* A full name that makes the pool of names grow while its namespace is read from there. */
static void
test_names_that_move(void **state)
{
    (void)state;
    struct upt_buf text = {0};
    struct upt_error error = {0};
    upt_buf_puts(&text, "{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"n");
    for (int i = 0; i < 3000; i++) {
        upt_buf_puts(&text, "s");
    }
    upt_buf_puts(&text, "\",\"fields\":[");
    for (int i = 0; i < 50; i++) {
        upt_buf_printf(&text,
                       "%s{\"name\":\"f%d\",\"type\":{\"type\":\"fixed\",\"name\":\"F%d\",\"size\":1}},"
                       "{\"name\":\"g%d\",\"type\":\"F%d\"}",
                       i == 0 ? "" : ",", i, i, i, i);
    }
    upt_buf_puts(&text, "]}");
    assert_int_equal(parse(&text, &error), UPT_OK);
    upt_buf_fini(&text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_names_that_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
