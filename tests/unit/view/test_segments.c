/* Sets of segments: members come and go with rows, leave when forgotten, are there again after Redis lost everything;
 * sets of segments that are not declared are deleted, and nothing else is. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aggregate/view/internal.h"
#include "fixture.h"
#include "uptake/time.h"

static void
push(const char *account, int64_t offset, const char *segments)
{
    struct upt_row row = rig_row(account, 0, offset);
    row.segments = upt_str_of(segments);
    rig_push_row(&rig, &row);
}

static void
flush(int64_t offset)
{
    rig_flush(&rig, 0, offset);
    assert_true(rig_published(&rig, 0, offset));
}

static void
is_in(const char *segment, const char *account, bool in)
{
    const char *found = redis_server_ask(&server, "SISMEMBER uptake:segment:{%s} %s", segment, account);
    if (strcmp(found, in ? "1" : "0") != 0) {
        fail_msg("%s in %s: %s", account, segment, found);
    }
}

static void
come_and_go(void **state)
{
    (void)state;
    struct upt_row row = rig_row("acme", 0, 1);
    upt_view_segments(rig.view, UPT_STR("big,new,old"));
    rig_own(&rig, 0, 1);
    row.segments = UPT_STR("big,old");
    row.controlled = UPT_STR("0123:ack");
    rig_push_row(&rig, &row);
    push("b", 2, NULL);
    push("c", 3, "new");
    flush(3);
    is_in("big", "acme", true);
    is_in("old", "acme", true);
    is_in("new", "acme", false);
    is_in("new", "c", true);
    assert_string_equal(redis_server_ask(&server, "HGET uptake:account:{acme} segments"), "big,old");
    assert_string_equal(redis_server_ask(&server, "HGET uptake:account:{acme} controlled_alerts"), "0123:ack");
    assert_string_equal(redis_server_ask(&server, "SCARD uptake:segment:{big}"), "1");
    /* In one batch in and out again, and the other way round; a row of which the seldom fields did not change. */
    push("b", 4, "big,new");
    push("c", 5, NULL);
    push("b", 6, "new");
    push("c", 7, "new");
    row = rig_row("acme", 0, 8);
    row.changed = UPT_ROW_LOGINS; /* its seldom fields are not in the frame */
    row.segments = UPT_STR("new");
    rig_push_row(&rig, &row);
    flush(8);
    is_in("big", "b", false);
    is_in("new", "b", true);
    is_in("new", "c", true);
    is_in("big", "acme", true);
    push("acme", 9, NULL);
    flush(9);
    is_in("big", "acme", false);
    assert_string_equal(redis_server_ask(&server, "HEXISTS uptake:account:{acme} segments"), "0");
    assert_string_equal(redis_server_ask(&server, "HEXISTS uptake:account:{acme} controlled_alerts"), "0");
    assert_true(upt_view_push_forgotten(rig.view, 0, rig_pos(10), UPT_STR("b")));
    flush(10);
    is_in("new", "b", false);
    is_in("new", "c", true);
}

/* More than a command takes, in and out in turn. */
static void
many(void **state)
{
    (void)state;
    upt_view_segments(rig.view, UPT_STR("even,third"));
    rig_own(&rig, 0, 1);
    for (int i = 0; i < 600; i++) {
        char account[16];
        (void)snprintf(account, sizeof(account), "a%d", i);
        push(account, i + 1, i % 6 == 0 ? "even,third" : i % 2 == 0 ? "even" : i % 3 == 0 ? "third" : NULL);
    }
    flush(600);
    assert_string_equal(redis_server_ask(&server, "SCARD uptake:segment:{even}"), "300");
    assert_string_equal(redis_server_ask(&server, "SCARD uptake:segment:{third}"), "200");
    assert_string_equal(redis_server_ask(&server, "SISMEMBER uptake:segment:{third} a3"), "1");
}

static bool
gone(void *ctx)
{
    return strcmp(redis_server_ask(&server, "EXISTS %s", (const char *)ctx), "0") == 0;
}

static void
not_declared(void **state)
{
    (void)state;
    char before[] = "uptake:segment:{before}", big[] = "uptake:segment:{big}";
    redis_server_ask(&server, "SADD %s a", before);
    redis_server_ask(&server, "SADD other:segment:{before} a");
    redis_server_ask(&server, "SADD uptake:segments a");
    upt_view_segments(rig.view, UPT_STR("big,bigger"));
    rig_own(&rig, 0, 1);
    push("a", 1, "big,bigger");
    flush(1);
    assert_true(redis_server_wait(gone, before));
    is_in("big", "a", true);
    upt_view_segments(rig.view, UPT_STR("bigger"));
    assert_true(redis_server_wait(gone, big));
    is_in("bigger", "a", true);
    assert_string_equal(redis_server_ask(&server, "EXISTS other:segment:{before} uptake:segments"), "2");
    upt_view_segments(rig.view, UPT_STR(""));
    char bigger[] = "uptake:segment:{bigger}";
    assert_true(redis_server_wait(gone, bigger));
}

/* A Redis that loses its last writes may lose that a set was deleted and nothing else. */
static void
not_declared_after_a_break(void **state)
{
    (void)state;
    char before[] = "uptake:segment:{before}";
    not_declared(state);
    redis_server_ask(&server, "SADD %s z", before);
    redis_server_ask(&server, "CLIENT KILL TYPE normal");
    assert_true(redis_server_wait(gone, before));
}

static bool
stray_there(void *ctx)
{
    return upt_view_take_stray(rig.view, 0, ctx);
}

/* The accounts of Redis have been walked through, so the sets would have been next. */
static void
not_yet_declared(void **state)
{
    (void)state;
    char old[] = "uptake:segment:{old}";
    struct upt_buf stray = {0};
    redis_server_ask(&server, "SADD uptake:segment:{big} a");
    redis_server_ask(&server, "SADD %s a", old);
    redis_server_ask(&server, "HSET uptake:account:{stray} partition 0");
    rig_own(&rig, 0, 1);
    assert_true(redis_server_wait(stray_there, &stray));
    upt_buf_fini(&stray);
    for (int i = 1; i <= 5; i++) {
        upt_sleep_ms(30);
        push("a", i, "big");
        flush(i);
    }
    is_in("big", "a", true);
    is_in("old", "a", true);
    upt_view_segments(rig.view, UPT_STR("big"));
    assert_true(redis_server_wait(gone, old));
    is_in("big", "a", true);
}

static void
lost(void **state)
{
    (void)state;
    upt_view_segments(rig.view, UPT_STR("big"));
    rig_own(&rig, 0, 1);
    push("a", 1, "big");
    push("b", 2, NULL);
    flush(2);
    redis_server_ask(&server, "FLUSHALL");
    /* As an older Redis would: the set comes back with a member that has left. */
    redis_server_ask(&server, "SADD uptake:segment:{big} b");
    assert_true(rig_repair(&rig, 0));
    push("a", 2, "big");
    push("b", 2, NULL);
    flush(2);
    is_in("big", "a", true);
    is_in("big", "b", false);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(many, setup, teardown),
        cmocka_unit_test_setup_teardown(not_declared, setup, teardown),
        cmocka_unit_test_setup_teardown(not_declared_after_a_break, setup, teardown),
        cmocka_unit_test_setup_teardown(not_yet_declared, setup, teardown),
        cmocka_unit_test_setup_teardown(lost, setup, teardown),
    };
    return cmocka_run_group_tests_name("view_segments", tests, start_server, end_server);
}
