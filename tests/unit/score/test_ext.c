/* The codec of the account extension: what is written is read back, damage is refused. */
/* The checkpoint codec: what is written is read, what is damaged is refused, and the size keeps to its budget. */
#include <stdlib.h>

#include "aggregate/score/codec.h"
#include "harness.h"

static void
fill_slots(struct upt_state *st, struct upt_score_ext *ext)
{
    for (int i = 0; i < UPT_RULES; i++) {
        *upt_slot_make(st, &ext->signals.slots, i, 7000u + (unsigned)i) =
            (struct upt_slot){.opened_min = 10u + (unsigned)i,
                              .since_min = 20u + (unsigned)i,
                              .changed_min = 30u + (unsigned)i,
                              .high_min = 35u + (unsigned)i,
                              .subject = 7000u + (unsigned)i,
                              .revision = (uint16_t)(40 + i),
                              .risk_e4 = (uint16_t)(50 + i),
                              .health_e2 = (uint16_t)(60 + i),
                              .rule = (uint8_t)i,
                              .state = UPT_SLOT_OPEN,
                              .severity = UPT_HIGH,
                              .on_n = (uint8_t)(1 + i),
                              .off_n = (uint8_t)(2 + i),
                              .flags = UPT_SLOT_OVERDUE};
    }
    ext->signals.slots.silence_open = 1;
    for (int i = 0; i < 3; i++) {
        ext->signals.slots.notified[i] = 900u + (unsigned)i;
    }
}

/* Every byte of the struct that is a value gets one that no other field has nearby. */
static void
fill(struct upt_state *st, struct upt_score_ext *ext)
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
    ext->foretold = (struct upt_foretold){.day = 19950, .risk_e4 = 1234};
    ext->segment = (struct upt_segment_mem){.login_day = 20003,
                                            .logins_n = 17,
                                            .wake_min = 28800000,
                                            .signup_day = -7,
                                            .contact_min = 28700000,
                                            .onboarded_min = 28600000,
                                            .has_signup = true};
    ext->nps_tenths = -100;
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
    fill_slots(st, ext);
}

/* Everything behind the pointers, each field another value: by bytes, since a field that is not in the codec would come
 * back as it is at birth. */
static void
fill_parts(struct upt_state *st, struct upt_signals *signals)
{
    struct upt_relation *r = upt_relation_of(st, signals);
    struct upt_habits *h = upt_habits_of(st, signals);
    for (size_t i = 0; i < offsetof(struct upt_relation, goals_n); i++) {
        ((unsigned char *)r)[i] = (unsigned char)(i % 50 + 1);
    }
    for (size_t i = 0; i < offsetof(struct upt_habits, seats_e4); i++) {
        ((unsigned char *)h)[i] = (unsigned char)(i % 50 + 2);
    }
    r->goals_n = 3;
    r->goal_units = upt_state_resize(st, NULL, 0, 3 * sizeof(*r->goal_units));
    for (unsigned i = 0; i < 3; i++) {
        r->goal_units[i] = UINT64_C(999999999999999999) - i;
    }
    r->stakeholders_n = 2;
    r->stakeholders = upt_state_resize(st, NULL, 0, 2 * sizeof(*r->stakeholders));
    r->stakeholders[0] = (struct upt_stakeholder){.hash = 0xFEDCBA98, .day = -3};
    r->stakeholders[1] = (struct upt_stakeholder){.hash = 5, .day = 20004};
    r->meters_n = 2;
    r->meters = upt_state_resize(st, NULL, 0, 2 * sizeof(*r->meters));
    for (size_t i = 0; i < 2 * sizeof(*r->meters); i++) {
        ((unsigned char *)r->meters)[i] = (unsigned char)(i % 50 + 3);
    }
    r->steps_n = UPT_STEPS_MAX;
    r->courses_n = UPT_COURSES_MAX;
    r->releases_n = 2;
    r->releases = upt_state_resize(st, NULL, 0, UPT_RELEASES_MAX * sizeof(*r->releases));
    for (int i = 0; i < 2; i++) {
        r->releases[i] = (struct upt_release){.day = 20000 + i,
                                              .name_hash = 77u + (unsigned)i,
                                              .used_after = (uint16_t)(i == 0 ? 7 : UPT_NOT_USED),
                                              .len = 3};
        memcpy(r->releases[i].name, i == 0 ? "abc" : "xyz", 3);
    }
    h->dau_n = 4;
    h->peak = UPT_PHASE_VALUE;
    h->seats_e4 = upt_state_resize(st, NULL, 0, UPT_USER_WEEKS * sizeof(*h->seats_e4));
    for (int i = 0; i < UPT_USER_WEEKS; i++) {
        h->seats_e4[i] = (uint16_t)(300 + i);
    }
    h->name = upt_state_resize(st, NULL, 0, 4);
    memcpy(h->name, "\3ann", 4);
    upt_signals_show(st, signals, UPT_STR("\3\50\7")); /* 10, and −1 millionth */
    h->feature_n = 2;
    h->feature = upt_state_resize(st, NULL, 0, 2 * sizeof(*h->feature));
    h->feature[0] = (struct upt_habit_feature){.first_day = 4, .held = 5};
    h->feature[1] = (struct upt_habit_feature){.first_day = 600, .held = 255};
}

static void
same_parts(const struct upt_signals *a, const struct upt_signals *b)
{
    assert_int_equal(a->slots.n, b->slots.n);
    assert_memory_equal(a->slots.v, b->slots.v, a->slots.n * sizeof(*a->slots.v));
    assert_memory_equal(a->slots.notified, b->slots.notified, sizeof(a->slots.notified));
    assert_int_equal(a->slots.silence_open, b->slots.silence_open);
    assert_int_equal(a->slots.name_wanted, b->slots.name_wanted);
    assert_memory_equal(a->relation, b->relation, offsetof(struct upt_relation, meters_n) + 1);
    assert_memory_equal(a->relation->goal_units, b->relation->goal_units, 3 * sizeof(uint64_t));
    assert_memory_equal(a->relation->stakeholders, b->relation->stakeholders, 2 * sizeof(struct upt_stakeholder));
    assert_memory_equal(a->relation->meters, b->relation->meters, 2 * sizeof(struct upt_meter));
    assert_memory_equal(a->relation->releases, b->relation->releases, 2 * sizeof(struct upt_release));
    struct upt_habits x = *a->habits;
    struct upt_habits y = *b->habits;
    assert_memory_equal(x.name, y.name, 4);
    assert_true(upt_str_eq(upt_signals_shown(a), upt_signals_shown(b)) && upt_signals_shown(a).len == 3);
    assert_int_equal(x.feature_n, y.feature_n);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(x.feature[i].first_day, y.feature[i].first_day);
        assert_int_equal(x.feature[i].held, y.feature[i].held);
    }
    struct upt_buf p = {0};
    struct upt_buf q = {0};
    struct upt_codec to_p = {.out = &p};
    struct upt_codec to_q = {.out = &q};
    upt_signals_encode(a, &to_p);
    upt_signals_encode(b, &to_q);
    assert_int_equal(p.len, q.len);
    assert_memory_equal(p.p, q.p, p.len);
    upt_buf_fini(&p);
    upt_buf_fini(&q);
#define SAME(field) assert_int_equal(x.field, y.field)
    SAME(week);
    SAME(dau_day);
    SAME(dau_n);
    SAME(adopted);
    SAME(low_n);
    SAME(adopted_since);
    SAME(feature_day);
    SAME(features_n);
    SAME(peak);
    SAME(peak_n);
    SAME(champion_days);
    SAME(champion_day);
    SAME(champion);
    assert_memory_equal(x.users, y.users, sizeof(x.users));
    assert_memory_equal(x.seats_e4, y.seats_e4, UPT_USER_WEEKS * sizeof(*x.seats_e4));
    assert_memory_equal(x.dau, y.dau, sizeof(x.dau));
}

static void
round_trip(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct upt_score_ext ext;
    struct upt_score_ext back = {0};
    struct upt_buf buf = {0};
    fill(w->st, &ext);
    upt_ext_encode(&ext, NULL, &buf);
    size_t without = buf.len;
    upt_buf_clear(&buf);
    fill_parts(w->st, &ext.signals);
    ext.metered = true;
    ext.row_changed = true;
    upt_ext_encode(&ext, NULL, &buf);
    assert_int_equal(buf.p[0], upt_score_observer.version);
    assert_true(without <= 432 + 36 * UPT_RULES && buf.len > without);
    assert_true(upt_ext_decode(w->st, &back, NULL, (struct upt_str){buf.p, (uint32_t)buf.len}));
    assert_false(back.row_changed); /* a hint, whose moment hangs on when rows are read */
    same_parts(&ext.signals, &back.signals);
    upt_signals_fini(w->st, &ext.signals);
    upt_signals_fini(w->st, &back.signals);
    ext.row_changed = false;
    assert_memory_equal(&ext, &back, sizeof(ext));
    upt_buf_fini(&buf);
    world_free(w);
}

static void
unborn(void **state)
{
    (void)state;
    struct upt_score_ext ext = {0};
    struct upt_score_ext back = {0};
    struct upt_buf buf = {0};
    upt_ext_encode(&ext, NULL, &buf);
    assert_int_equal(buf.len, 1);
    assert_true(upt_ext_decode(NULL, &back, NULL, (struct upt_str){buf.p, 1}));
    assert_memory_equal(&ext, &back, sizeof(ext));
    upt_buf_fini(&buf);
}

static bool
reads(struct upt_state *st, const char *p, size_t len)
{
    struct upt_score_ext back = {0};
    bool good = upt_ext_decode(st, &back, NULL, (struct upt_str){p, (uint32_t)len});
    upt_signals_fini(st, &back.signals);
    return good;
}

static void
damage(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct upt_score_ext ext;
    struct upt_buf buf = {0};
    fill(w->st, &ext);
    fill_parts(w->st, &ext.signals);
    upt_ext_encode(&ext, NULL, &buf);
    size_t before = upt_state_bytes(w->st);
    for (uint32_t len = 0; len < buf.len; len++) {
        char *copy = malloc(len + 1); /* exact, so that the sanitizer sees a read beyond */
        assert_non_null(copy);
        memcpy(copy, buf.p, len);
        assert_false(reads(w->st, copy, len));
        free(copy);
    }
    assert_int_equal(upt_state_bytes(w->st), before); /* what a damaged record had made is given back */
    upt_buf_put(&buf, "x", 1);
    assert_false(reads(w->st, buf.p, buf.len));
    buf.len--;
    buf.p[0]--;
    assert_false(reads(w->st, buf.p, buf.len)); /* another version */
    buf.p[0]++;
    assert_true(reads(w->st, buf.p, buf.len));
    upt_buf_clear(&buf);
    ext.signals.habits->shown[0] = 1; /* one is known, two are there */
    upt_ext_encode(&ext, NULL, &buf);
    assert_false(reads(w->st, buf.p, buf.len));
    ext.signals.habits->shown[0] = 3;
    upt_buf_clear(&buf);
    ext.signals.slots.v[2].severity = 9;
    upt_ext_encode(&ext, NULL, &buf);
    assert_false(reads(w->st, buf.p, buf.len));
    upt_buf_fini(&buf);
    upt_signals_fini(w->st, &ext.signals);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(unborn),
                                       cmocka_unit_test(damage)};
    return cmocka_run_group_tests_name("score_ext", tests, NULL, NULL);
}
