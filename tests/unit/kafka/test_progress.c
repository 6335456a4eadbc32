/* Progress and checkpoint records: they read back as written, and damage or a newer format is never taken for a value.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "ingest/kafka/progress.h"

static const struct upt_place places[] = {
    {.offset = -1, .tick = -60000}, {.offset = 5, .tick = 60000}, {.offset = 9, .tick = 180000}};

static void
encode(struct upt_buf *out)
{
    struct upt_progress progress = {.epoch = INT64_MAX,
                                    .pos = {.offset = 9, .tick = 180000},
                                    .next_offset = 12,
                                    .released = true,
                                    .places = (struct upt_place *)(uintptr_t)places,
                                    .places_n = 3};
    memset(progress.writer, 'w', sizeof(progress.writer) - 1);
    memset(progress.config_hash, 'f', sizeof(progress.config_hash) - 1);
    upt_progress_encode(&progress, out);
}

static void
progress_round_trip(void **state)
{
    (void)state;
    struct upt_buf buf = {0};
    struct upt_progress got;
    struct upt_error err;
    encode(&buf);
    assert_int_equal(upt_progress_decode(upt_buf_str(&buf), &got, &err), UPT_OK);
    assert_true(got.epoch == INT64_MAX && got.pos.offset == 9 && got.pos.tick == 180000 && got.next_offset == 12);
    assert_true(got.released);
    assert_int_equal(strlen(got.writer), sizeof(got.writer) - 1);
    assert_string_equal(got.config_hash, "ffffffffffffffff");
    assert_int_equal(got.places_n, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(got.places[i].offset == places[i].offset && got.places[i].tick == places[i].tick);
    }
    upt_progress_fini(&got);
    assert_null(got.places);
    upt_buf_fini(&buf);
}

static void
checkpoint_round_trip(void **state)
{
    (void)state;
    struct upt_buf buf = {0};
    struct upt_checkpoint got;
    struct upt_error err;
    const struct upt_checkpoint put = {.pos = UPT_POS_NONE, .clock = UPT_NO_CLOCK};
    upt_checkpoint_encode(&put, &buf);
    assert_int_equal(upt_checkpoint_decode(upt_buf_str(&buf), &got, &err), UPT_OK);
    assert_true(upt_pos_cmp(got.pos, put.pos) == 0 && got.clock == put.clock);
    struct upt_progress progress;
    assert_int_equal(upt_progress_decode(upt_buf_str(&buf), &progress, &err), UPT_EDATA); /* it is none, and says so */
    upt_buf_fini(&buf);
}

/* Every bit turned over, every length cut short. */
static void
damage_is_found(void **state)
{
    (void)state;
    struct upt_buf buf = {0};
    struct upt_progress got;
    struct upt_error err;
    encode(&buf);
    for (size_t bit = 0; bit < buf.len * 8; bit++) {
        buf.p[bit / 8] = (char)(buf.p[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(upt_progress_decode(upt_buf_str(&buf), &got, &err), UPT_EDATA);
        buf.p[bit / 8] = (char)(buf.p[bit / 8] ^ 1 << bit % 8);
    }
    for (uint32_t len = 0; len < buf.len; len++) {
        assert_int_equal(upt_progress_decode((struct upt_str){.p = buf.p, .len = len}, &got, &err), UPT_EDATA);
    }
    assert_int_equal(upt_progress_decode(UPT_STR_NULL, &got, &err), UPT_EDATA);
    upt_buf_fini(&buf);
}

static void
newer_formats_are_refused(void **state)
{
    (void)state;
    struct upt_buf buf = {0};
    struct upt_progress got;
    struct upt_error err;
    encode(&buf);
    buf.p[0]++;
    buf.len -= 4;
    upt_buf_put_le32(&buf, (uint32_t)upt_hash(buf.p, buf.len));
    assert_int_equal(upt_progress_decode(upt_buf_str(&buf), &got, &err), UPT_EDATA);
    assert_non_null(strstr(err.msg, "was written by another version of uptake"));
    upt_buf_fini(&buf);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_round_trip),
        cmocka_unit_test(checkpoint_round_trip),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(newer_formats_are_refused),
    };
    return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
