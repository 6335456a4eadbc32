/* The codec of the account extension: what is written is read back, damage is refused. */
/* The checkpoint codec: what is written is read, what is damaged is refused, and the size keeps to its budget. */
#include <stdlib.h>

#include "harness.h"

/* Every byte of the struct that is a value gets one that no other field has nearby. */
static void
fill(struct upt_score_ext *ext)
{
    upt_ext_init(ext);
    for (int i = 0; i < 4; i++) {
        ext->active[i] = UINT64_C(0x0102030405060708) * (unsigned)(i + 1);
    }
    ext->last_key_ms = -123456789012;
    ext->volume = 1.0 / 3;
    ext->last_day = 20000;
    ext->first_day = -5;
    ext->value_day = 19999;
    ext->nps_min = 1;
    ext->churned_min = 2;
    ext->renewed_min = UINT32_MAX - 1;
    ext->evaluated_day = 20001;
    ext->band_day = 19990;
    ext->score = 99999999;
    ext->confidence = 350000;
    ext->sent_score = 12345678;
    for (int h = 0; h < UPT_HORIZONS; h++) {
        ext->risk[h] = 100u + (unsigned)h;
        ext->sent_risk[h] = 200u + (unsigned)h;
    }
    for (int i = 0; i < UPT_HISTORY_DAYS; i++) {
        ext->history[i] = (uint16_t)(300 + i);
    }
    for (int i = 0; i < UPT_STEPS_MAX; i++) {
        ext->steps[i] = (uint16_t)(65535 - i);
    }
    ext->nps_tenths = -100;
    ext->steps_n = 16;
    ext->band = UPT_BAND_WATCH;
    ext->pending_n = 1;
    ext->phase = UPT_PHASE_ADVOCACY;
    ext->sent_band = UPT_BAND_HEALTHY;
    ext->sent_phase = UPT_PHASE_VALUE;
    ext->has_key = ext->has_value = ext->evaluated = ext->sent = true;
    ext->drop.cusum = 4.25;
    for (int i = 0; i < 7; i++) {
        ext->drop.profile[i] = 0.1f + (float)i;
    }
    ext->drop.dispersion = 0.3f;
    ext->drop.observed = 7;
    ext->drop.expected = 8.5f;
    ext->drop.held = 9;
    ext->drop.since_day = 19000;
    ext->drop.periods_n = 77;
    ext->drop.cadence = UPT_WEEKLY;
    ext->drop.other_n = 3;
    ext->drop.has_held = true;
    for (int i = 0; i < UPT_RULES; i++) {
        ext->slot[i] = (struct upt_slot){.opened_min = 10u + (unsigned)i,
                                         .since_min = 20u + (unsigned)i,
                                         .changed_min = 30u + (unsigned)i,
                                         .revision = (uint16_t)(40 + i),
                                         .risk_e4 = (uint16_t)(50 + i),
                                         .health_e2 = (uint16_t)(60 + i),
                                         .state = UPT_SLOT_OPEN,
                                         .severity = UPT_HIGH,
                                         .on_n = (uint8_t)(1 + i),
                                         .off_n = (uint8_t)(2 + i)};
    }
}

static void
round_trip(void **state)
{
    (void)state;
    struct upt_score_ext ext;
    struct upt_score_ext back;
    struct upt_buf buf = {0};
    memset(&back, 0xAA, sizeof(back));
    fill(&ext);
    ext.row_changed = true;
    upt_ext_encode(&ext, &buf);
    assert_true(buf.len <= 400);
    assert_true(upt_ext_decode(&back, (struct upt_str){buf.p, (uint32_t)buf.len}));
    assert_false(back.row_changed); /* a hint, whose moment hangs on when rows are read */
    ext.row_changed = false;
    assert_memory_equal(&ext, &back, sizeof(ext));
    upt_buf_fini(&buf);
}

static void
unborn(void **state)
{
    (void)state;
    struct upt_score_ext ext = {0};
    struct upt_score_ext back;
    struct upt_buf buf = {0};
    upt_ext_encode(&ext, &buf);
    assert_int_equal(buf.len, 1);
    assert_true(upt_ext_decode(&back, (struct upt_str){buf.p, 1}));
    assert_memory_equal(&ext, &back, sizeof(ext));
    upt_buf_fini(&buf);
}

static void
damage(void **state)
{
    (void)state;
    struct upt_score_ext ext;
    struct upt_score_ext back;
    struct upt_buf buf = {0};
    fill(&ext);
    upt_ext_encode(&ext, &buf);
    for (uint32_t len = 0; len < buf.len; len++) {
        char *copy = malloc(len + 1); /* exact, so that the sanitizer sees a read beyond */
        assert_non_null(copy);
        memcpy(copy, buf.p, len);
        assert_false(upt_ext_decode(&back, (struct upt_str){copy, len}));
        free(copy);
    }
    upt_buf_put(&buf, "x", 1);
    assert_false(upt_ext_decode(&back, (struct upt_str){buf.p, (uint32_t)buf.len}));
    buf.len--;
    buf.p[0] = 3;
    assert_false(upt_ext_decode(&back, (struct upt_str){buf.p, (uint32_t)buf.len})); /* a later version */
    buf.p[0] = 1;
    assert_false(upt_ext_decode(&back, (struct upt_str){buf.p, (uint32_t)buf.len})); /* a former one */
    buf.p[0] = 2;
    assert_true(upt_ext_decode(&back, (struct upt_str){buf.p, (uint32_t)buf.len}));
    upt_buf_clear(&buf);
    ext.slot[2].severity = 9;
    upt_ext_encode(&ext, &buf);
    assert_false(upt_ext_decode(&back, (struct upt_str){buf.p, (uint32_t)buf.len}));
    upt_buf_fini(&buf);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(unborn),
                                       cmocka_unit_test(damage)};
    return cmocka_run_group_tests_name("score_ext", tests, NULL, NULL);
}
