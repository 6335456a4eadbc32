/* Walking encoded properties. */
#include "testing.h"

#include <stdlib.h>

#include "uptake/event.h"

static void
put_string(struct upt_buf *buf, const char *text)
{
    upt_buf_put_zigzag(buf, (int64_t)strlen(text));
    upt_buf_puts(buf, text);
}

/* "name=value;" for each entry. */
static void
walk(const char *raw, size_t len, struct upt_buf *out)
{
    struct upt_props_cur cur = upt_props_begin((struct upt_props){.raw = {.p = raw, .len = (uint32_t)len}});
    struct upt_str name;
    struct upt_str value;
    while (upt_props_next(&cur, &name, &value)) {
        upt_buf_put(out, name.p, name.len);
        upt_buf_puts(out, "=");
        upt_buf_put(out, value.p, value.len);
        upt_buf_puts(out, ";");
    }
    assert_false(upt_props_next(&cur, &name, &value)); /* the end stays the end */
    upt_buf_put(out, "", 1);
}

static void
blocks_of_both_kinds(void **state)
{
    (void)state;
    struct upt_buf raw = {0};
    upt_buf_put_zigzag(&raw, 2);
    put_string(&raw, "plan");
    put_string(&raw, "gold");
    put_string(&raw, "tier");
    put_string(&raw, "");
    upt_buf_put_zigzag(&raw, -1); /* a count below 0: the block's length in bytes follows */
    upt_buf_put_zigzag(&raw, 9);
    put_string(&raw, "seats");
    put_string(&raw, "40");
    size_t without_end = raw.len;
    upt_buf_put_zigzag(&raw, 0);
    for (int i = 0; i < 2; i++) {
        struct upt_buf out = {0};
        walk(raw.p, i == 0 ? raw.len : without_end, &out);
        assert_string_equal(out.p, "plan=gold;tier=;seats=40;");
        upt_buf_fini(&out);
    }
    upt_buf_fini(&raw);
}

static void
none_at_all(void **state)
{
    (void)state;
    struct upt_buf out = {0};
    walk(NULL, 0, &out);
    assert_string_equal(out.p, "");
    upt_buf_clear(&out);
    walk("", 0, &out);
    assert_string_equal(out.p, "");
    upt_buf_clear(&out);
    walk("\0", 1, &out);
    assert_string_equal(out.p, "");
    upt_buf_fini(&out);
}

static void
never_past_the_end(void **state)
{
    (void)state;
    /* Every cut of a valid map and random bytes, each in memory of its own size so that a sanitizer sees a step too
     * far. */
    uint64_t seed = 3;
    for (int i = 0; i < 20000; i++) {
        size_t len = (size_t)(upt_test_random(&seed) % 40);
        char *exact = len > 0 ? malloc(len) : NULL;
        for (size_t k = 0; k < len; k++) {
            exact[k] = (char)(upt_test_random(&seed) % (i % 2 == 0 ? 8 : 256));
        }
        struct upt_buf out = {0};
        walk(exact, len, &out);
        upt_buf_fini(&out);
        free(exact);
    }
    struct upt_buf out = {0};
    walk("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 11, &out); /* the count INT64_MIN */
    assert_string_equal(out.p, "");
    upt_buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_both_kinds),
        cmocka_unit_test(none_at_all),
        cmocka_unit_test(never_past_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
