/* Checkpoints: what is loaded is what was, at the snapshot's position, however the log went on meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/state/support.h"

/* Reads everything public of b and compares it with a. */
static void
assert_same(struct fixture *a, struct fixture *b)
{
    struct topic x = {0};
    struct topic y = {0};
    assert_int_equal(upt_state_clock(a->st), upt_state_clock(b->st));
    assert_int_equal(upt_state_accounts_n(a->st), upt_state_accounts_n(b->st));
    topic_take(&x, a, true);
    topic_take(&y, b, true);
    assert_true(topic_equal(&x, &y));
    topic_fini(&x);
    topic_fini(&y);
    assert_int_equal(totals(a).users_30d, totals(b).users_30d);
    assert_int_equal(totals(a).accounts_30d, totals(b).accounts_30d);
    assert_int_equal(totals(a).users_total, totals(b).users_total);
    assert_int_equal(feature_row(a, "f").users_30d, feature_row(b, "f").users_30d);
    assert_int_equal(feature_row(a, "f").accounts_30d, feature_row(b, "f").accounts_30d);
}

static void
play(struct fixture *fx, int from, int to)
{
    char user[16];
    char id[16];
    static const char *const keys[] = {"a", "b", "c"};
    static const char *const features[] = {"f", "g", "h", NULL};
    for (int i = from; i < to; i++) {
        (void)snprintf(user, sizeof(user), "u%d", i % 7);
        (void)snprintf(id, sizeof(id), "e%d", i % 11);
        struct upt_event ev = usage(user, features[i % 4], i % 5);
        ev.event_id = upt_str_of(id);
        ev.kind = i % 13 == 0 ? UPT_KIND_USER_REMOVED : (i % 6 == 0 ? UPT_KIND_VALUE : UPT_KIND_USAGE);
        put(fx, T0 + i * 7 * UPT_MINUTE_MS, keys[i % 3], ev);
    }
}

static void
a_restored_state_goes_on_as_the_other(void **unused)
{
    (void)unused;
    struct fixture straight;
    struct fixture restored;
    struct topic topic = {0};
    fixture_init(&straight, NULL, NULL);
    fixture_init(&restored, NULL, NULL);
    play(&straight, 0, 400);
    topic_take(&topic, &straight, false);
    assert_int_equal(topic_load(&topic, &restored, upt_state_pos(straight.st), upt_state_clock(straight.st)), UPT_OK);
    restored.offset = straight.offset;
    assert_same(&straight, &restored);
    play(&straight, 400, 9000);
    play(&restored, 400, 9000);
    assert_same(&straight, &restored);
    topic_fini(&topic);
    fixture_fini(&straight);
    fixture_fini(&restored);
}

static void
changes_meanwhile_do_not_show(void **unused)
{
    (void)unused;
    struct fixture straight;
    struct fixture restored;
    struct fixture twin; /* stops where the snapshot begins */
    struct topic topic = {0};
    fixture_init(&straight, NULL, NULL);
    fixture_init(&restored, NULL, NULL);
    fixture_init(&twin, NULL, NULL);
    play(&straight, 0, 400);
    play(&twin, 0, 400);
    upt_state_snapshot_begin(straight.st, false);
    struct upt_pos pos = upt_state_pos(straight.st);
    int64_t clock = upt_state_clock(straight.st);
    bool complete = topic_step(&topic, &straight, 1);
    for (int i = 400; i < 2000 && !complete; i += 100) {
        play(&straight, i, i + 100); /* windows move and users change under it */
        if (i == 600) {
            forget(&straight, upt_state_clock(straight.st), "b");
        }
        complete = topic_step(&topic, &straight, 1);
    }
    assert_true(complete);
    assert_int_equal(topic_load(&topic, &restored, pos, clock), UPT_OK);
    assert_same(&twin, &restored);
    topic_fini(&topic);
    fixture_fini(&straight);
    fixture_fini(&restored);
    fixture_fini(&twin);
}

static void
what_did_not_change_is_brought_to_the_clock(void **unused)
{
    (void)unused;
    /* In minutes. After 65,536 of them a bucket's number comes again; the last event before is at 693. */
    static const int later[] = {1440, 6 * 1440, 29 * 1440, 31 * 1440, 693 + 65536 + 5, 58 * 1440};
    for (size_t i = 0; i < sizeof(later) / sizeof(*later); i++) {
        struct fixture straight;
        struct fixture restored;
        struct topic topic = {0};
        fixture_init(&straight, NULL, NULL);
        fixture_init(&restored, NULL, NULL);
        play(&straight, 0, 100);
        topic_take(&topic, &straight, false);
        put(&straight, T0 + later[i] * UPT_MINUTE_MS, "new", usage("n", "x", 1));
        topic_take(&topic, &straight, false); /* the others are as old as the first one left them */
        assert_int_equal(topic_load(&topic, &restored, upt_state_pos(straight.st), upt_state_clock(straight.st)),
                         UPT_OK);
        assert_same(&straight, &restored);
        assert_true(row_of(&straight, "a").next_change == row_of(&restored, "a").next_change);
        topic_fini(&topic);
        fixture_fini(&straight);
        fixture_fini(&restored);
    }
}

static void
users_removed_long_ago_are_dropped(void **unused)
{
    (void)unused;
    struct fixture fx;
    struct topic before = {0};
    struct topic after = {0};
    char user[16];
    fixture_init(&fx, NULL, NULL);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(user, sizeof(user), "u%d", i);
        put(&fx, T0, "a", usage(user, "f", 1));
        if (i % 10 != 0) {
            put(&fx, T0, "a", event(UPT_KIND_USER_REMOVED, user));
        }
    }
    move(&fx, T0 + 29 * UPT_DAY_MS);
    topic_take(&before, &fx, true);
    move(&fx, T0 + 32 * UPT_DAY_MS);
    topic_take(&after, &fx, true);
    size_t account = before.keys[0].p[0] == 'a' ? 0 : (before.keys[1].p[0] == 'a' ? 1 : 2);
    assert_true(before.values[account].len > 100 * 8);
    assert_true(after.values[account].len < 20 * 8);
    put(&fx, T0 + 32 * UPT_DAY_MS, "a", usage("u10", "f", 1));
    put(&fx, T0 + 32 * UPT_DAY_MS, "a", usage("u11", "f", 1));
    assert_int_equal(row_of(&fx, "a").users_total, 11);
    assert_int_equal(feature_row(&fx, "f").users_30d, 2);
    topic_fini(&before);
    topic_fini(&after);
    fixture_fini(&fx);
}

static void
forgotten_and_born_again(void **unused)
{
    (void)unused;
    struct fixture straight;
    struct fixture restored;
    struct topic topic = {0};
    fixture_init(&straight, NULL, NULL);
    fixture_init(&restored, NULL, NULL);
    play(&straight, 0, 50);
    topic_take(&topic, &straight, false);
    int64_t now = upt_state_clock(straight.st);
    forget(&straight, now, "a");
    forget(&straight, now, "b");
    put(&straight, now, "a", usage("again", "f", 1));
    topic_take(&topic, &straight, false);
    assert_int_equal(topic_load(&topic, &restored, upt_state_pos(straight.st), now), UPT_OK);
    assert_null(upt_state_find(restored.st, UPT_STR("b")));
    assert_same(&straight, &restored);
    topic_fini(&topic);
    fixture_fini(&straight);
    fixture_fini(&restored);
}

static void
a_failed_snapshot_is_written_again(void **unused)
{
    (void)unused;
    for (size_t taken = 0; taken < 8; taken++) {
        struct fixture straight;
        struct fixture restored;
        struct topic topic = {0};
        struct topic lost = {0};
        fixture_init(&straight, NULL, NULL);
        fixture_init(&restored, NULL, NULL);
        play(&straight, 0, 50);
        topic_take(&topic, &straight, false);
        upt_state_snapshot_stored(straight.st);
        play(&straight, 50, 60);
        forget(&straight, upt_state_clock(straight.st), "c");
        upt_state_snapshot_begin(straight.st, false);
        (void)topic_step(&lost, &straight, taken);
        play(&straight, 60, 62);
        upt_state_snapshot_failed(straight.st);
        topic_take(&topic, &straight, false);
        assert_int_equal(topic_load(&topic, &restored, upt_state_pos(straight.st), upt_state_clock(straight.st)),
                         UPT_OK);
        assert_same(&straight, &restored);
        topic_fini(&topic);
        topic_fini(&lost);
        fixture_fini(&straight);
        fixture_fini(&restored);
    }
}

/* Any byte may stand in an id. */
static void
ids_with_nul(void **unused)
{
    (void)unused;
    static const struct upt_str ids[] = {{"x", 1}, {"x\0", 2}, {"x\0y", 3}, {"x\0001", 3}, {"\0\0\0\0x", 5}};
    struct fixture straight;
    struct fixture restored;
    struct topic topic = {0};
    fixture_init(&straight, NULL, NULL);
    fixture_init(&restored, NULL, NULL);
    for (size_t i = 0; i < 5; i++) {
        struct upt_event ev = usage("u", "f", 1);
        ev.account_id = ids[i];
        ev.occurred_at = T0;
        upt_state_begin(straight.st, straight.offset++, T0);
        assert_true(upt_state_apply(straight.st, ids[i], &ev));
    }
    topic_take(&topic, &straight, false);
    assert_int_equal(topic_load(&topic, &restored, upt_state_pos(straight.st), T0), UPT_OK);
    for (size_t i = 0; i < 5; i++) {
        assert_non_null(upt_state_find(restored.st, ids[i]));
    }
    assert_int_equal(upt_state_accounts_n(restored.st), 5);
    topic_fini(&topic);
    fixture_fini(&straight);
    fixture_fini(&restored);
}

static void
large_accounts_come_in_pages(void **unused)
{
    (void)unused;
    struct fixture straight;
    struct fixture restored;
    struct topic topic = {0};
    char user[16];
    fixture_init(&straight, NULL, NULL);
    fixture_init(&restored, NULL, NULL);
    for (int i = 0; i < 60000; i++) {
        (void)snprintf(user, sizeof(user), "u%d", i);
        put(&straight, T0 + i, "a", usage(user, "f", 1));
    }
    topic_take(&topic, &straight, false);
    assert_true(topic.n > 4);
    for (size_t i = 0; i < topic.n; i++) {
        assert_true(topic.values[i].len < 300 * 1024);
    }
    put(&straight, T0 + 60000, "a", usage("u7", "g", 1));
    topic_take(&topic, &straight, false);
    assert_int_equal(topic_load(&topic, &restored, upt_state_pos(straight.st), upt_state_clock(straight.st)), UPT_OK);
    assert_same(&straight, &restored);
    assert_int_equal(row_of(&restored, "a").users_30d, 60000);
    topic_fini(&topic);
    fixture_fini(&straight);
    fixture_fini(&restored);
}

static void
damage_is_found(void **unused)
{
    (void)unused;
    struct fixture straight;
    struct topic topic = {0};
    fixture_init(&straight, NULL, NULL);
    play(&straight, 0, 200);
    topic_take(&topic, &straight, false);
    for (size_t i = 0; i < topic.n; i++) {
        struct upt_buf *value = &topic.values[i];
        for (size_t at = 0; at < value->len; at += 1 + value->len / 40) {
            struct fixture fx;
            fixture_init(&fx, NULL, NULL);
            value->p[at] = (char)(value->p[at] ^ 0x10);
            assert_int_equal(topic_load(&topic, &fx, upt_state_pos(straight.st), upt_state_clock(straight.st)),
                             UPT_EDATA);
            value->p[at] = (char)(value->p[at] ^ 0x10);
            fixture_fini(&fx);
        }
    }
    topic_fini(&topic);
    fixture_fini(&straight);
}

/* ---- what the observer keeps ---- */

static void
on_event(void *ctx, struct upt_state *st, struct upt_account *acct, const struct upt_event *ev, int64_t at)
{
    (void)ctx;
    (void)ev;
    (void)at;
    *(uint64_t *)upt_account_ext(acct) += 1;
    upt_account_set_timer(st, acct, T0 + 100 * UPT_DAY_MS);
    upt_account_touch(st, acct, 1);
}

/* What score rooms do: close what is open, in ext, before the account goes. */
static void
on_forget(void *ctx, struct upt_state *st, struct upt_account *acct)
{
    (void)ctx;
    (void)st;
    *(uint64_t *)upt_account_ext(acct) = 0;
}

static void
encode(void *ctx, const void *ext, struct upt_buf *out)
{
    (void)ctx;
    upt_buf_put_varint(out, *(const uint64_t *)ext);
}

static bool
decode(void *ctx, struct upt_state *st, void *ext, struct upt_str in)
{
    (void)st;
    (void)ctx;
    struct upt_cur cur = upt_cur_of(in);
    *(uint64_t *)ext = upt_cur_varint(&cur);
    return cur.ok && cur.p == cur.end;
}

static const struct upt_observer observer = {
    .ext_size = 8, .on_event = on_event, .on_forget = on_forget, .encode = encode, .decode = decode};

static void
the_observers_part_is_that_of_the_position(void **unused)
{
    (void)unused;
    struct fixture straight;
    struct fixture restored;
    struct topic topic = {0};
    fixture_init(&straight, &observer, NULL);
    fixture_init(&restored, &observer, NULL);
    put(&straight, T0, "a", usage("u", "f", 1));
    put(&straight, T0, "a", usage("u", "f", 1));
    upt_state_snapshot_begin(straight.st, false);
    struct upt_pos pos = upt_state_pos(straight.st);
    forget(&straight, T0, "a"); /* the snapshot is of before */
    assert_true(topic_step(&topic, &straight, SIZE_MAX));
    assert_int_equal(topic_load(&topic, &restored, pos, T0), UPT_OK);
    struct upt_account *acct = upt_state_find(restored.st, UPT_STR("a"));
    assert_non_null(acct);
    assert_int_equal(*(uint64_t *)upt_account_ext(acct), 2);
    assert_int_equal(upt_account_timer(acct), T0 + 100 * UPT_DAY_MS);
    assert_int_equal(totals(&restored).open_alerts, 2);
    topic_fini(&topic);
    fixture_fini(&straight);
    fixture_fini(&restored);
}

/* How a state of this observer takes the topic: what is said, or "". */
static const char *
said_of(const struct topic *topic, const struct upt_observer *by)
{
    static struct upt_error err;
    struct fixture fx;
    fixture_init(&fx, by, NULL);
    err.msg[0] = '\0';
    upt_status status = UPT_OK;
    for (size_t i = 0; i < topic->n && status == UPT_OK; i++) {
        struct upt_str key = {topic->keys[i].p, (uint32_t)topic->keys[i].len};
        struct upt_str value = {topic->values[i].p, (uint32_t)topic->values[i].len};
        status = upt_state_load(fx.st, key, value, &err);
    }
    fixture_fini(&fx);
    return err.msg;
}

static void
other_versions_are_no_damage(void **unused)
{
    (void)unused;
    static const char other[] = "the checkpoint was written by another version of uptake; to begin anew delete the "
                                "state topic and the group's offsets";
    struct upt_observer known = observer;
    struct fixture fx;
    struct topic topic = {0};
    known.version = 2; /* what its codec begins with: two events */
    fixture_init(&fx, &known, NULL);
    put(&fx, T0, "a", usage("u", "f", 1));
    put(&fx, T0, "a", usage("u", "f", 1));
    topic_take(&topic, &fx, false);
    assert_string_equal(said_of(&topic, &known), "");
    known.version = 3;
    assert_string_equal(said_of(&topic, &known), other);
    known.version = 2;
    struct upt_buf *value = &topic.values[0];
    value->p[0]++;
    assert_non_null(strstr(said_of(&topic, &known), "damaged"));
    value->len -= 4;
    upt_buf_put_le32(value, (uint32_t)upt_hash(value->p, value->len));
    assert_string_equal(said_of(&topic, &known), other);
    topic_fini(&topic);
    fixture_fini(&fx);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restored_state_goes_on_as_the_other),
        cmocka_unit_test(changes_meanwhile_do_not_show),
        cmocka_unit_test(what_did_not_change_is_brought_to_the_clock),
        cmocka_unit_test(users_removed_long_ago_are_dropped),
        cmocka_unit_test(forgotten_and_born_again),
        cmocka_unit_test(a_failed_snapshot_is_written_again),
        cmocka_unit_test(ids_with_nul),
        cmocka_unit_test(large_accounts_come_in_pages),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(the_observers_part_is_that_of_the_position),
        cmocka_unit_test(other_versions_are_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
