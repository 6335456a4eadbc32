/* Strings, buffers, the bounded reader, UTF-8 and status messages. */
#include "testing.h"

#include <sysexits.h>

#include "uptake/assert.h"
#include "uptake/str.h"

static void
hash_is_xxh3(void **state)
{
    (void)state;
    /* Vectors of the reference implementation, seed 0. */
    assert_int_equal(upt_hash("", 0), UINT64_C(0x2d06800538d394c2));
    assert_int_equal(upt_hash("a", 1), UINT64_C(0xe6c632b61e964e1f));
    assert_int_equal(upt_hash("abc", 3), UINT64_C(0x78af5f94892f3950));
}

static void
null_differs_from_empty(void **state)
{
    (void)state;
    assert_true(upt_str_eq(UPT_STR(""), upt_str_of("")));
    assert_false(upt_str_eq(UPT_STR_NULL, UPT_STR("")));
    assert_true(upt_str_eq(UPT_STR_NULL, upt_str_of(NULL)));
    assert_false(upt_str_eq(UPT_STR("ab"), UPT_STR("ac")));
}

/* Decodes by value and then judges, the other way round from the code under test. */
static bool
slow_utf8(const unsigned char *p, size_t len)
{
    for (size_t i = 0; i < len;) {
        unsigned lead = p[i];
        unsigned more = lead < 0x80 ? 0 : lead >> 5 == 6 ? 1 : lead >> 4 == 14 ? 2 : lead >> 3 == 30 ? 3 : 9;
        if (more == 9 || i + more >= len) {
            return false;
        }
        uint32_t value = more == 0 ? lead : lead & (0x3FU >> more);
        for (unsigned k = 1; k <= more; k++) {
            if ((p[i + k] & 0xC0U) != 0x80U) {
                return false;
            }
            value = value << 6 | (p[i + k] & 0x3FU);
        }
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        if (value < least[more] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
            return false;
        }
        i += more + 1;
    }
    return true;
}

static void
utf8_is_strict(void **state)
{
    (void)state;
    unsigned char b[4];
    for (uint32_t v = 0; v < (1U << 24); v++) { /* every string of three bytes, and so of one and two */
        b[0] = (unsigned char)(v >> 16);
        b[1] = (unsigned char)(v >> 8);
        b[2] = (unsigned char)v;
        if (upt_utf8_valid((const char *)b, 3) != slow_utf8(b, 3)) {
            fail_msg("%02x %02x %02x", b[0], b[1], b[2]);
        }
    }
    static const unsigned char tails[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
    for (unsigned lead = 0xF0; lead <= 0xFF; lead++) {
        for (unsigned second = 0; second < 256; second++) {
            for (size_t k = 0; k < 100; k++) {
                unsigned char four[4] = {(unsigned char)lead, (unsigned char)second, tails[k / 10], tails[k % 10]};
                assert_int_equal(upt_utf8_valid((const char *)four, 4), slow_utf8(four, 4));
            }
        }
    }
}

static void
utf8_at_every_offset(void **state)
{
    (void)state;
    /* A bad byte and a good character at each place around the eight-byte steps. */
    for (size_t len = 0; len < 40; len++) {
        char text[48];
        memset(text, 'x', sizeof(text));
        assert_true(upt_utf8_valid(text, len));
        for (size_t i = 0; i < len; i++) {
            text[i] = (char)0xC3;
            assert_false(upt_utf8_valid(text, len));
            text[i + 1] = (char)0xA4;
            assert_int_equal(upt_utf8_valid(text, len), i + 1 < len);
            text[i] = text[i + 1] = 'x';
        }
    }
}

static void
buffer_grows(void **state)
{
    (void)state;
    struct upt_buf buf = {0};
    char expected[4000];
    size_t n = 0;
    for (int i = 0; i < 500; i++) {
        upt_buf_printf(&buf, "%d,", i);
        n += (size_t)snprintf(expected + n, sizeof(expected) - n, "%d,", i);
    }
    assert_int_equal(buf.len, n);
    assert_memory_equal(buf.p, expected, n);
    upt_buf_clear(&buf);
    char longer[1000];
    memset(longer, 'y', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    upt_buf_printf(&buf, "<%s>", longer); /* does not fit the first try */
    assert_int_equal(buf.len, sizeof(longer) + 1);
    assert_int_equal(buf.p[buf.len - 1], '>');
    upt_buf_fini(&buf);
    assert_null(buf.p);
}

static void
numbers_in_decimal(void **state)
{
    (void)state;
    struct upt_buf buf = {0};
    upt_buf_put_u64(&buf, 0);
    upt_buf_puts(&buf, " ");
    upt_buf_put_u64(&buf, UINT64_MAX);
    upt_buf_puts(&buf, " ");
    upt_buf_put_i64(&buf, INT64_MIN);
    upt_buf_puts(&buf, " ");
    upt_buf_put_i64(&buf, -1);
    upt_buf_put(&buf, "", 1);
    assert_string_equal(buf.p, "0 18446744073709551615 -9223372036854775808 -1");
    upt_buf_fini(&buf);
}

static void
json_strings(void **state)
{
    (void)state;
    static const char raw[] = "a\"b\\c\n\x01\x7f\xc3\xa4\xc2\x9b\xff\xed\xa0\x80";
    struct upt_buf buf = {0};
    upt_buf_put_json(&buf, raw, sizeof(raw) - 1);
    upt_buf_put(&buf, "", 1);
    assert_string_equal(
        buf.p, "\"a\\\"b\\\\c\\n\\u0001\\u007f\xc3\xa4\\u009b\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    upt_buf_fini(&buf);
}

static void
records_round_trip(void **state)
{
    (void)state;
    static const uint64_t values[] = {
        0, 1, 127, 128, 16383, 16384, UINT32_MAX, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    struct upt_buf buf = {0};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        upt_buf_put_varint(&buf, values[i]);
        upt_buf_put_zigzag(&buf, (int64_t)values[i]);
        upt_buf_put_le64(&buf, values[i]);
        upt_buf_put_le32(&buf, (uint32_t)values[i]);
    }
    upt_buf_put(&buf, "\x07xyz", 4);
    struct upt_cur cur = upt_cur_of((struct upt_str){.p = buf.p, .len = (uint32_t)buf.len});
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        assert_true(upt_cur_varint(&cur) == values[i]);
        assert_true(upt_cur_zigzag(&cur) == (int64_t)values[i]);
        assert_true(upt_cur_le64(&cur) == values[i]);
        assert_true(upt_cur_le32(&cur) == (uint32_t)values[i]);
    }
    assert_int_equal(upt_cur_u8(&cur), 7);
    assert_true(upt_str_eq(upt_cur_bytes(&cur, 3), UPT_STR("xyz")));
    assert_true(cur.ok && cur.p == cur.end);
    upt_buf_fini(&buf);
}

/* Every length, every run of zeros, and every way to be cut short. */
static void
packed_round_trip(void **state)
{
    (void)state;
    struct upt_buf packed = {0}, back = {0};
    uint32_t rng = 1;
    for (uint32_t len = 0; len < 6000; len += len < 80 ? 1 : 997) {
        for (unsigned zeros = 0; zeros <= 16; zeros++) { /* of 16 bytes so many are zero; 16: all */
            char raw[6000];
            for (uint32_t i = 0; i < len; i++) {
                rng = rng * 1664525U + 1013904223U;
                raw[i] = (rng >> 16) % 16 < zeros ? 0 : (char)(rng >> 24 | 1U);
            }
            upt_buf_clear(&packed);
            upt_buf_put_packed(&packed, (struct upt_str){.p = raw, .len = len});
            assert_true(packed.len <= (size_t)len + len / 8 + 12);
            struct upt_cur cur = upt_cur_of(upt_buf_str(&packed));
            assert_true(upt_cur_packed(&cur, len, &back));
            assert_ptr_equal(cur.p, cur.end);
            assert_int_equal(back.len, len);
            assert_true(len == 0 || memcmp(back.p, raw, len) == 0);
            for (size_t cut = 0; cut < packed.len; cut += cut < 40 ? 1 : 501) {
                cur = upt_cur_of((struct upt_str){.p = packed.p, .len = (uint32_t)cut});
                assert_false(upt_cur_packed(&cur, len, &back));
            }
            cur = upt_cur_of(upt_buf_str(&packed));
            assert_true(len == 0 || !upt_cur_packed(&cur, len - 1, &back));
        }
    }
    static const char *const bad[] = {"\x09\x00\x02", "\x03\x08x", "\x01\x00\x01"}; /* more than was said */
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct upt_cur cur = upt_cur_of((struct upt_str){.p = bad[i], .len = 3});
        assert_false(upt_cur_packed(&cur, 100, &back));
    }
    upt_buf_clear(&packed);
    static const char none[4000];
    upt_buf_put_packed(&packed, (struct upt_str){.p = none, .len = sizeof(none)});
    assert_int_equal(packed.len, 2 + 2 * 2); /* 500 eights */
    upt_buf_fini(&packed);
    upt_buf_fini(&back);
}

static void
reader_stops_at_the_end(void **state)
{
    (void)state;
    struct upt_cur cur = upt_cur_of(UPT_STR("abc"));
    assert_int_equal(upt_cur_le32(&cur), 0);
    assert_false(cur.ok);
    assert_int_equal(upt_cur_u8(&cur), 0); /* for good, although bytes were left */

    cur = upt_cur_of(UPT_STR("abc"));
    assert_null(upt_cur_bytes(&cur, UINT64_MAX).p);
    assert_false(cur.ok);

    /* An eleventh byte, a value above 64 bits, and one that is cut off. */
    static const char *const bad[] = {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
                                      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "\x80"};
    for (size_t i = 0; i < 3; i++) {
        cur = upt_cur_of(upt_str_of(bad[i]));
        assert_true(upt_cur_varint(&cur) == 0);
        assert_false(cur.ok);
    }
    cur = upt_cur_of(UPT_STR_NULL);
    assert_false(cur.ok);
}

static void
errors_wrap_themselves(void **state)
{
    (void)state;
    struct upt_error err;
    assert_int_equal(upt_fail(&err, UPT_EUNAVAIL, "no answer"), UPT_EUNAVAIL);
    assert_int_equal(upt_fail(&err, UPT_EINVAL, "redis: %s", err.msg), UPT_EINVAL);
    assert_string_equal(err.msg, "redis: no answer");
    assert_int_equal(upt_fail(NULL, UPT_EIO, "%d", 1), UPT_EIO);
}

static void
long_errors_stay_utf8(void **state)
{
    (void)state;
    char text[600];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'a', shift);
        for (size_t i = shift; i + 4 < sizeof(text); i += 4) {
            memcpy(text + i, "\xf0\x9f\x98\x80", 4);
            text[i + 4] = '\0';
        }
        struct upt_error err;
        assert_int_equal(upt_fail(&err, UPT_EDATA, "%s", text), UPT_EDATA);
        assert_true(upt_utf8_valid(err.msg, strlen(err.msg)));
        assert_in_range(strlen(err.msg), 505, 511);
    }
}

static void
exit_codes(void **state)
{
    (void)state;
    assert_int_equal(upt_exit_code(UPT_OK), EX_OK);
    assert_int_equal(upt_exit_code(UPT_EINVAL), EX_CONFIG);
    assert_int_equal(upt_exit_code(UPT_ENOMEM), EX_OSERR);
    assert_int_equal(upt_exit_code(UPT_EIO), EX_IOERR);
    assert_int_equal(upt_exit_code(UPT_EDATA), EX_DATAERR);
    assert_int_equal(upt_exit_code(UPT_EAUTH), EX_NOPERM);
    assert_int_equal(upt_exit_code(UPT_EUNAVAIL), EX_UNAVAILABLE);
    assert_int_equal(upt_exit_code(UPT_EFENCED), EX_UNAVAILABLE);
}

static void
break_promise(void *arg)
{
    upt_assert(arg == NULL);
}

static void
assertions_abort(void **state)
{
    (void)state;
    int one = 1;
    assert_true(upt_test_aborts(break_promise, &one));
    assert_false(upt_test_aborts(break_promise, NULL));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_is_xxh3),
        cmocka_unit_test(null_differs_from_empty),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(utf8_at_every_offset),
        cmocka_unit_test(buffer_grows),
        cmocka_unit_test(numbers_in_decimal),
        cmocka_unit_test(json_strings),
        cmocka_unit_test(records_round_trip),
        cmocka_unit_test(packed_round_trip),
        cmocka_unit_test(reader_stops_at_the_end),
        cmocka_unit_test(errors_wrap_themselves),
        cmocka_unit_test(long_errors_stay_utf8),
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(assertions_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
