/* Packed accounts: whether one is packed shows in nothing but memory. Most tests play the same into a state that packs
 * and into a twin that does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/state/support.h"

#define ALL SIZE_MAX
#define IDLE (T0 + 2 * UPT_DAY_MS)

static struct fixture packs, twin;
static struct fixture *const both[2] = {&packs, &twin};

static void
begin(const struct upt_observer *observer)
{
    fixture_init(&packs, observer, &packs);
    fixture_init(&twin, observer, &twin);
}

static void
end(void)
{
    fixture_fini(&packs);
    fixture_fini(&twin);
}

/* Rows are taken and a checkpoint is stored: nothing waits for the accounts. */
static void
settle(struct fixture *fx)
{
    struct topic topic = {0};
    struct upt_account *acct;
    struct upt_row row;
    struct upt_feature_days days[8];
    upt_state_rows_due(fx->st, SIZE_MAX);
    while (upt_state_next_dirty(fx->st, &acct)) {
        upt_state_row(fx->st, acct, &row);
        size_t n = upt_state_row_features(fx->st, acct, days, 8);
        (void)upt_state_row_changed(acct, &row, n);
    }
    topic_take(&topic, fx, false);
    upt_state_snapshot_stored(fx->st);
    topic_fini(&topic);
    drain(fx);
}

/* a: two users, two features, a profile. It is idle at IDLE, and packed in one of the two. */
static void
begin_with_one_packed(const struct upt_observer *observer)
{
    begin(observer);
    for (int i = 0; i < 2; i++) {
        put(both[i], T0, "a", usage("u", "f", 1.5));
        put(both[i], T0 + UPT_MINUTE_MS, "a", usage("v", "g", 2));
        put(both[i], T0 + 2 * UPT_MINUTE_MS, "a", event(UPT_KIND_SEATS, NULL));
        move(both[i], IDLE);
        settle(both[i]);
    }
    assert_int_equal(upt_state_pack(packs.st, ALL), 1);
}

static void
assert_same_checkpoint(void)
{
    struct topic x = {0}, y = {0};
    topic_take(&x, &packs, true);
    topic_take(&y, &twin, true);
    assert_true(topic_equal(&x, &y));
    topic_fini(&x);
    topic_fini(&y);
}

struct taken {
    struct upt_row row;
    struct upt_feature_days days[8];
    size_t n;
};

/* The row that is next. False: none. */
static bool
take_row(struct fixture *fx, struct taken *ret)
{
    struct upt_account *acct;
    memset(ret, 0, sizeof(*ret));
    upt_state_rows_due(fx->st, SIZE_MAX);
    if (!upt_state_next_dirty(fx->st, &acct)) {
        return false;
    }
    upt_state_row(fx->st, acct, &ret->row);
    ret->n = upt_state_row_features(fx->st, acct, ret->days, 8);
    ret->row.changed = upt_state_row_changed(acct, &ret->row, ret->n);
    return true;
}

static void
assert_same_row(const struct upt_row *a, const struct upt_row *b)
{
    assert_true(upt_str_eq(a->account, b->account));
    assert_int_equal(a->as_of, b->as_of);
    assert_int_equal(a->next_change, b->next_change);
    assert_int_equal(a->whole, b->whole);
    assert_int_equal(a->changed, b->changed);
    assert_memory_equal(a->usage, b->usage, sizeof(a->usage));
    assert_int_equal(a->users_24h, b->users_24h);
    assert_int_equal(a->users_7d, b->users_7d);
    assert_int_equal(a->users_30d, b->users_30d);
    assert_int_equal(a->users_total, b->users_total);
    assert_int_equal(a->features_30d, b->features_30d);
    assert_int_equal(a->first_seen, b->first_seen);
    assert_int_equal(a->last_seen, b->last_seen);
    assert_int_equal(a->micro_seats, b->micro_seats);
    assert_int_equal(a->open_alerts, b->open_alerts);
}

/* The next row of both; returns whether there is one. */
static bool
take_same_row(struct taken *ret)
{
    struct taken other;
    bool is = take_row(&packs, ret);
    assert_int_equal(is, take_row(&twin, &other));
    if (is) {
        assert_same_row(&ret->row, &other.row);
        assert_int_equal(ret->n, other.n);
        for (size_t i = 0; i < ret->n; i++) {
            assert_true(upt_str_eq(ret->days[i].feature, other.days[i].feature));
            assert_int_equal(ret->days[i].days, other.days[i].days);
        }
    }
    return is;
}

/* ---- what is packed ---- */

static void
idle_ones_are_packed(void **unused)
{
    (void)unused;
    begin(NULL);
    put(&packs, T0, "a", usage("u", "f", 1));
    settle(&packs);
    assert_int_equal(upt_state_pack(packs.st, ALL), 0); /* not idle */
    move(&packs, T0 + UPT_DAY_MS - 1);
    settle(&packs);
    assert_int_equal(upt_state_pack(packs.st, ALL), 0);
    move(&packs, T0 + UPT_DAY_MS);
    assert_int_equal(upt_state_pack(packs.st, ALL), 0); /* a window has moved: its row waits */
    settle(&packs);
    size_t before = upt_state_bytes(packs.st);
    assert_int_equal(upt_state_pack(packs.st, ALL), 1);
    assert_int_equal(upt_state_pack(packs.st, ALL), 0);
    assert_true(upt_state_bytes(packs.st) + 100 < before);
    assert_int_equal(upt_state_accounts_n(packs.st), 1);
    end();
}

static void
not_before_a_checkpoint_has_it(void **unused)
{
    (void)unused;
    begin(NULL);
    struct upt_event ev = usage("u", "f", 1);
    ev.event_id = UPT_STR("e");
    put(&packs, T0, "a", ev);
    move(&packs, IDLE);
    drain(&packs);
    assert_int_equal(upt_state_pack(packs.st, ALL), 0); /* no checkpoint has it */
    settle(&packs);
    assert_int_equal(upt_state_pack(packs.st, ALL), 1);
    end();
}

static void
so_many_a_call(void **unused)
{
    (void)unused;
    char key[16];
    begin(NULL);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof(key), "a%d", i);
        put(&packs, T0, key, usage("u", "f", 1));
    }
    move(&packs, IDLE);
    settle(&packs);
    assert_int_equal(upt_state_pack(packs.st, 30), 30);
    assert_int_equal(upt_state_pack(packs.st, 30), 30);
    assert_int_equal(upt_state_pack(packs.st, 60), 40); /* and 20 again */
    assert_int_equal(upt_state_pack(packs.st, ALL), 0);
    end();
}

/* ---- what happens to it ---- */

static void
an_event_unpacks(void **unused)
{
    (void)unused;
    struct taken taken;
    begin_with_one_packed(NULL);
    for (int i = 0; i < 2; i++) {
        put(both[i], IDLE + UPT_MINUTE_MS, "a", usage("u", "h", 1));
        put(both[i], IDLE + UPT_MINUTE_MS, "b", usage("u", "f", 1));
    }
    assert_true(take_same_row(&taken));
    assert_int_equal(taken.row.usage[UPT_W_30D].events, 3);
    assert_int_equal(taken.row.features_30d, 3);
    assert_true(take_same_row(&taken));
    assert_same_checkpoint();
    assert_int_equal(totals(&packs).users_total, 3);
    assert_int_equal(totals(&packs).accounts_30d, totals(&twin).accounts_30d);
    assert_int_equal(feature_row(&packs, "f").users_30d, 2);
    end();
}

static void
hints_do_not_lead_to_what_is_gone(void **unused)
{
    (void)unused;
    struct upt_hint of_account, of_packed;
    struct upt_event ev = usage("u", "f", 1);
    uint64_t hash = upt_hash("a", 1);
    begin(NULL);
    put(&packs, T0, "a", ev);
    move(&packs, IDLE);
    settle(&packs);
    ev.account_id = UPT_STR("a");
    ev.occurred_at = IDLE;
    upt_state_prefetch_account(packs.st, hash, &of_account);
    upt_state_prefetch_parts(packs.st, &of_account, &ev);
    upt_state_prefetch_event(&of_account, &ev);
    assert_int_equal(upt_state_pack(packs.st, ALL), 1);
    upt_state_prefetch_account(packs.st, hash, &of_packed);
    upt_state_prefetch_parts(packs.st, &of_packed, &ev);
    upt_state_prefetch_event(&of_packed, &ev);
    assert_true(of_account.removed != of_packed.removed);
    assert_null(of_packed.acct);
    assert_true(upt_state_apply_hinted(packs.st, UPT_STR("a"), &ev, &of_account));
    assert_true(upt_state_apply_hinted(packs.st, UPT_STR("a"), &ev, &of_packed));
    assert_int_equal(row_of(&packs, "a").usage[UPT_W_30D].events, 3);
    assert_int_equal(upt_state_accounts_n(packs.st), 1);
    end();
}

static void
forgetting_takes_all_of_it_out(void **unused)
{
    (void)unused;
    struct upt_str id;
    begin_with_one_packed(NULL);
    for (int i = 0; i < 2; i++) {
        forget(both[i], IDLE + UPT_MINUTE_MS, "a");
        assert_true(upt_state_next_forgotten(both[i]->st, &id));
        assert_true(upt_str_eq(id, UPT_STR("a")));
        assert_int_equal(totals(both[i]).users_total, 0);
        assert_int_equal(totals(both[i]).users_30d, 0);
        assert_int_equal(totals(both[i]).accounts_30d, 0);
        assert_int_equal(feature_row(both[i], "f").users_30d, 0);
        assert_int_equal(upt_state_accounts_n(both[i]->st), 0);
    }
    assert_same_checkpoint();
    end();
}

static void
retention_ends_while_packed(void **unused)
{
    (void)unused;
    begin_with_one_packed(NULL);
    for (int i = 0; i < 2; i++) {
        move(both[i], T0 + 2 * UPT_MINUTE_MS + 60 * UPT_DAY_MS - 1);
        assert_int_equal(upt_state_accounts_n(both[i]->st), 1);
        settle(both[i]);
        (void)upt_state_pack(packs.st, ALL);
        move(both[i], T0 + 2 * UPT_MINUTE_MS + 60 * UPT_DAY_MS);
        assert_int_equal(upt_state_accounts_n(both[i]->st), 0);
    }
    assert_same_checkpoint();
    end();
}

/* ---- rows ---- */

/* From day to day, and packed again whenever it can be: 24 hours, 7 days, 30 days. */
static void
windows_move_while_packed(void **unused)
{
    (void)unused;
    struct taken taken;
    int rows = 0, zeros = 0;
    begin_with_one_packed(NULL);
    for (int64_t hour = 49; hour < 35 * 24; hour += 5) {
        for (int i = 0; i < 2; i++) {
            move(both[i], T0 + hour * UPT_HOUR_MS);
        }
        while (take_same_row(&taken)) {
            rows++;
            for (size_t i = 0; i < taken.n; i++) {
                zeros += taken.days[i].days == 0;
            }
            assert_int_equal(taken.row.changed & UPT_ROW_REST, 0);
        }
        (void)upt_state_pack(packs.st, ALL);
    }
    assert_int_equal(rows, 2);  /* after 7 and 30 days */
    assert_int_equal(zeros, 2); /* both features, as they left */
    assert_int_equal(row_of(&packs, "a").usage[UPT_W_30D].events, 0);
    assert_int_equal(row_of(&packs, "a").users_total, 2);
    assert_same_checkpoint();
    end();
}

/* At midnight, when days leave, and a little later all is as it would be. */
static void
before_its_daily_minute(void **unused)
{
    (void)unused;
    struct taken taken;
    int rows = 0;
    assert_true(upt_hash("a", 1) % 60 > 1);
    begin_with_one_packed(NULL);
    for (int64_t day = 3; day <= 31; day++) {
        for (int i = 0; i < 2; i++) {
            move(both[i], T0 + day * UPT_DAY_MS + UPT_SECOND_MS);
        }
        assert_int_equal(upt_state_dirty_accounts(packs.st), upt_state_dirty_accounts(twin.st));
        assert_int_equal(upt_state_later_accounts(packs.st), upt_state_later_accounts(twin.st));
        assert_same_checkpoint();
        while (take_same_row(&taken)) {
            rows++;
            assert_int_equal(taken.row.as_of, T0 + (rows == 1 ? 7 : 30) * UPT_DAY_MS + UPT_SECOND_MS);
        }
        for (int i = 0; i < 2; i++) {
            move(both[i], T0 + day * UPT_DAY_MS + 2 * UPT_HOUR_MS);
            settle(both[i]);
        }
        assert_int_equal(upt_state_pack(packs.st, ALL), 1);
    }
    assert_int_equal(rows, 2);
    end();
}

static void
a_long_time_passes_at_once(void **unused)
{
    (void)unused;
    /* Days. A bucket's number comes again after 45. */
    static const int64_t later[] = {5, 29, 30, 31, 45, 46, 58};
    struct taken taken;
    for (size_t k = 0; k < sizeof(later) / sizeof(later[0]); k++) {
        begin_with_one_packed(NULL);
        for (int i = 0; i < 2; i++) {
            upt_state_wall_tick(both[i]->st, T0 + later[k] * UPT_DAY_MS + 7 * UPT_HOUR_MS);
        }
        while (take_same_row(&taken)) {
        }
        assert_same_checkpoint();
        assert_int_equal(feature_row(&packs, "f").accounts_30d, feature_row(&twin, "f").accounts_30d);
        end();
    }
}

static void
a_repair_writes_the_whole_row(void **unused)
{
    (void)unused;
    struct taken taken;
    begin_with_one_packed(NULL);
    for (int i = 0; i < 2; i++) {
        size_t cursor = 0;
        assert_true(upt_state_mark_next_dirty(both[i]->st, &cursor));
        assert_false(upt_state_mark_next_dirty(both[i]->st, &cursor));
    }
    assert_true(take_same_row(&taken));
    assert_true(taken.row.whole);
    assert_int_equal(taken.n, 2);
    assert_false(take_same_row(&taken));
    for (int i = 0; i < 2; i++) {
        upt_state_mark_all_dirty(both[i]->st);
    }
    assert_true(take_same_row(&taken));
    assert_true(taken.row.whole);
    end();
}

static void
what_is_unpacked_to_be_read_is_packed_again(void **unused)
{
    (void)unused;
    struct upt_account *acct;
    size_t cursor = 0;
    begin_with_one_packed(NULL);
    size_t bytes = upt_state_bytes(packs.st);
    while ((acct = upt_state_next(packs.st, &cursor)) != NULL) {
        assert_int_equal(upt_account_features_n(acct), 2);
        assert_true(upt_state_bytes(packs.st) > bytes);
    }
    assert_int_equal(upt_state_bytes(packs.st), bytes);
    upt_state_mark_all_dirty(packs.st);
    assert_true(upt_state_next_dirty(packs.st, &acct));
    assert_false(upt_state_next_dirty(packs.st, &acct));
    assert_int_equal(upt_state_pack(packs.st, ALL), 0); /* it is */
    /* One that is forgotten meanwhile is not. */
    cursor = 0;
    assert_non_null(upt_state_next(packs.st, &cursor));
    forget(&packs, IDLE, "a");
    assert_null(upt_state_next(packs.st, &cursor));
    end();
}

/* ---- checkpoints ---- */

static void
a_snapshot_has_it_as_it_was(void **unused)
{
    (void)unused;
    struct topic x = {0}, y = {0};
    struct topic *topics[2] = {&x, &y};
    begin_with_one_packed(NULL);
    for (int i = 0; i < 2; i++) {
        upt_state_snapshot_begin(both[i]->st, true);
        move(both[i], T0 + 20 * UPT_DAY_MS); /* windows move before its turn */
        put(both[i], T0 + 20 * UPT_DAY_MS, "a", usage("w", "f", 1));
        assert_true(topic_step(topics[i], both[i], SIZE_MAX));
        upt_state_snapshot_stored(both[i]->st);
    }
    assert_true(topic_equal(&x, &y));
    assert_same_checkpoint();
    topic_fini(&x);
    topic_fini(&y);
    end();
}

static void
a_failed_snapshot_has_it_again(void **unused)
{
    (void)unused;
    begin_with_one_packed(NULL);
    for (int i = 0; i < 2; i++) {
        struct topic first = {0}, again = {0};
        topic_take(&first, both[i], true);
        upt_state_snapshot_failed(both[i]->st);
        topic_take(&again, both[i], false);
        assert_true(topic_equal(&first, &again));
        topic_fini(&first);
        topic_fini(&again);
    }
    assert_int_equal(upt_state_pack(packs.st, ALL), 0); /* packed all the time */
    assert_same_checkpoint();
    end();
}

static void
a_restored_one_is_packed(void **unused)
{
    (void)unused;
    struct topic topic = {0};
    struct taken taken;
    begin_with_one_packed(NULL);
    topic_take(&topic, &packs, true);
    for (int i = 0; i < 2; i++) {
        fixture_reset(both[i], NULL, both[i]);
        assert_int_equal(topic_load(&topic, both[i], (struct upt_pos){.offset = 1000, .tick = IDLE}, IDLE), UPT_OK);
        both[i]->offset = 1001;
    }
    assert_true(take_same_row(&taken));
    assert_int_equal(upt_state_pack(packs.st, ALL), 1);
    for (int i = 0; i < 2; i++) {
        put(both[i], IDLE + 10 * UPT_DAY_MS, "a", usage("u", "f", 1));
    }
    assert_true(take_same_row(&taken));
    assert_same_checkpoint();
    topic_fini(&topic);
    end();
}

/* ---- decisions ---- */

static char called[2][256];
static void *freed_by;
static int living; /* what ext points to */

static void
note(void *ctx, const struct upt_account *acct, char what)
{
    char *to = called[ctx == &twin];
    size_t len = strlen(to);
    (void)snprintf(to + len, sizeof(called[0]) - len, "%c%.*s ", what, (int)upt_account_id(acct).len,
                   upt_account_id(acct).p);
}

static void
on_event(void *ctx, struct upt_state *st, struct upt_account *acct, const struct upt_event *ev, int64_t at)
{
    (void)ctx, (void)ev;
    void **ext = upt_account_ext(acct);
    if (*ext == NULL) {
        *ext = upt_state_resize(st, NULL, 0, sizeof(uint64_t));
        living++;
    }
    *(uint64_t *)*ext += 1;
    upt_account_touch(st, acct, 1);
    upt_account_set_timer(st, acct, upt_floor_div(at, UPT_DAY_MS) * UPT_DAY_MS + 5 * UPT_DAY_MS + 7 * UPT_HOUR_MS);
}

static void
on_daily(void *ctx, struct upt_state *st, struct upt_account *acct, int64_t tick)
{
    (void)st, (void)tick;
    note(ctx, acct, 'd');
}

static void
on_timer(void *ctx, struct upt_state *st, struct upt_account *acct, int64_t tick)
{
    (void)st, (void)tick;
    note(ctx, acct, 't');
}

static void
encode(void *ctx, const void *ext, struct upt_buf *out)
{
    (void)ctx;
    uint64_t *kept = *(uint64_t *const *)ext;
    upt_buf_put_varint(out, kept == NULL ? 0 : *kept);
}

static bool
decode(void *ctx, struct upt_state *st, void *ext, struct upt_str in)
{
    (void)ctx;
    struct upt_cur cur = upt_cur_of(in);
    uint64_t *kept = *(uint64_t **)ext = upt_state_resize(st, NULL, 0, sizeof(uint64_t));
    *kept = upt_cur_varint(&cur);
    living++;
    return cur.ok;
}

static void
fini(void *ctx, struct upt_state *st, void *ext)
{
    void **kept = ext;
    freed_by = ctx;
    living -= *kept != NULL;
    *kept = upt_state_resize(st, *kept, *kept == NULL ? 0 : sizeof(uint64_t), 0);
}

static const struct upt_observer observer = {.ext_size = sizeof(void *),
                                             .on_event = on_event,
                                             .on_daily = on_daily,
                                             .on_timer = on_timer,
                                             .encode = encode,
                                             .decode = decode,
                                             .fini = fini};

static void
decisions_come_in_their_order(void **unused)
{
    (void)unused;
    char key[16];
    memset(called, 0, sizeof(called));
    living = 0;
    begin(&observer);
    for (int i = 0; i < 2; i++) {
        for (int a = 0; a < 6; a++) {
            (void)snprintf(key, sizeof(key), "a%d", a);
            put(both[i], T0 + a, key, usage("u", "f", 1));
        }
        move(both[i], IDLE + 3 * UPT_HOUR_MS);
        settle(both[i]);
        called[i][0] = '\0';
    }
    assert_int_equal(living, 12);
    assert_int_equal(upt_state_pack(packs.st, 3), 3); /* some of them */
    assert_int_equal(living, 9);
    assert_ptr_equal(freed_by, &packs);
    for (int i = 0; i < 2; i++) {
        move(both[i], T0 + 4 * UPT_DAY_MS - 1);
    }
    assert_string_equal(called[0], called[1]);
    assert_int_equal(strlen(called[0]), 6 * 4); /* each once */
    for (int i = 0; i < 2; i++) {
        settle(both[i]);
    }
    assert_int_equal(upt_state_pack(packs.st, ALL), 6);
    for (int i = 0; i < 2; i++) {
        move(both[i], T0 + 6 * UPT_DAY_MS);
    }
    assert_string_equal(called[0], called[1]);
    assert_int_equal(totals(&packs).open_alerts, 6);
    assert_same_checkpoint();
    end();
    assert_int_equal(living, 0);
}

static void
not_what_has_no_codec(void **unused)
{
    (void)unused;
    struct upt_observer mute = {.ext_size = 8};
    begin(&mute);
    put(&packs, T0, "a", usage("u", "f", 1));
    move(&packs, IDLE);
    settle(&packs);
    assert_int_equal(upt_state_pack(packs.st, ALL), 0);
    end();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_ones_are_packed),
        cmocka_unit_test(not_before_a_checkpoint_has_it),
        cmocka_unit_test(so_many_a_call),
        cmocka_unit_test(an_event_unpacks),
        cmocka_unit_test(hints_do_not_lead_to_what_is_gone),
        cmocka_unit_test(forgetting_takes_all_of_it_out),
        cmocka_unit_test(retention_ends_while_packed),
        cmocka_unit_test(windows_move_while_packed),
        cmocka_unit_test(before_its_daily_minute),
        cmocka_unit_test(a_long_time_passes_at_once),
        cmocka_unit_test(a_repair_writes_the_whole_row),
        cmocka_unit_test(what_is_unpacked_to_be_read_is_packed_again),
        cmocka_unit_test(a_snapshot_has_it_as_it_was),
        cmocka_unit_test(a_failed_snapshot_has_it_again),
        cmocka_unit_test(a_restored_one_is_packed),
        cmocka_unit_test(decisions_come_in_their_order),
        cmocka_unit_test(not_what_has_no_codec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
