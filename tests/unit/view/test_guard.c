/* No row ever goes back, and what Redis loses comes again: owners, zombies, lost writes, restarts, lost replies. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy.h"
#include "rig.h"

static struct redis_server server = {.aof = true};

static int
group_setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    return redis_server_start(&server) ? 0 : -1;
}

static int
group_teardown(void **state)
{
    (void)state;
    redis_server_end(&server);
    return 0;
}

static int
setup(void **state)
{
    (void)state;
    redis_server_ask(&server, "FLUSHALL");
    return 0;
}

static void
push(struct rig_view *rig, const char *account, int64_t offset)
{
    struct upt_row row = rig_row(account, 0, offset);
    rig_push_row(rig, &row);
    rig_flush(rig, 0, offset);
}

static void
assert_offset(const char *account, const char *offset)
{
    assert_string_equal(redis_server_ask(&server, "HGET uptake:account:{%s} offset", account), offset);
}

static void
test_floor_is_the_highest_row(void **state)
{
    (void)state;
    struct rig_view one, two;
    rig_open(&one, &server, "one");
    assert_int_equal(upt_pos_cmp(rig_own(&one, 0, 1), UPT_POS_NONE), 0);
    push(&one, "acme", 10);
    assert_true(rig_published(&one, 0, 10));
    rig_open(&two, &server, "two");
    assert_int_equal(upt_pos_cmp(rig_own(&two, 0, 2), rig_pos(10)), 0);
    rig_close(&one);
    rig_close(&two);
}

static void
test_stale_owner_is_refused(void **state)
{
    (void)state;
    struct rig_view one, two;
    rig_open(&one, &server, "one");
    rig_open(&two, &server, "two");
    rig_own(&one, 0, 1);
    push(&one, "acme", 10);
    assert_true(rig_published(&one, 0, 10));
    rig_own(&two, 0, 2);
    push(&two, "acme", 20);
    assert_true(rig_published(&two, 0, 20));
    push(&one, "acme", 11);
    push(&one, "ghost", 11);
    assert_true(rig_metric_reaches(&one, UPT_M_REDIS_GUARD_REFUSALS, 1));
    /* A second partition of the same view is written still; when that is done, so would be the refused rows. */
    rig_own(&one, 1, 1);
    rig_flush(&one, 1, 5);
    assert_true(rig_published(&one, 1, 5));
    assert_offset("acme", "20");
    assert_offset("ghost", "(nil)");
    assert_int_equal(upt_view_published(one.view, 0).offset, 10);
    assert_false(upt_view_take_repair(one.view, 0));
    rig_close(&one);
    /* Nor does it get the partition by owning it again under its old epoch. */
    rig_open(&one, &server, "one");
    assert_true(upt_view_own(one.view, 0, 1));
    assert_true(rig_metric_reaches(&one, UPT_M_REDIS_GUARD_REFUSALS, 1));
    struct upt_pos floor;
    assert_false(upt_view_floor(one.view, 0, &floor));
    rig_close(&one);
    rig_close(&two);
}

static bool
is_held(void *ctx)
{
    struct proxy *proxy = ctx;
    return atomic_load(&proxy->held);
}

/* Stopped after the marker was compared and before EXEC: the longest-lived zombie. */
static void
test_zombie_between_check_and_exec(void **state)
{
    (void)state;
    struct proxy proxy;
    struct rig_view zombie, heir;
    assert_true(proxy_start(&proxy, server.port));
    rig_open_url(&zombie, proxy.url, "zombie");
    rig_open(&heir, &server, "heir");
    rig_own(&zombie, 0, 1);
    push(&zombie, "acme", 10);
    assert_true(rig_published(&zombie, 0, 10));
    atomic_store(&proxy.mode, PROXY_HOLD_MULTI);
    push(&zombie, "acme", 11);
    assert_true(redis_server_wait(is_held, &proxy));
    rig_own(&heir, 0, 2);
    push(&heir, "acme", 20);
    assert_true(rig_published(&heir, 0, 20));
    atomic_store(&proxy.release, true);
    assert_true(rig_metric_reaches(&zombie, UPT_M_REDIS_GUARD_REFUSALS, 1));
    assert_offset("acme", "20");
    rig_close(&zombie);
    rig_close(&heir);
    proxy_end(&proxy);
}

static void
test_lost_exec_reply_is_no_lost_write(void **state)
{
    (void)state;
    struct proxy proxy;
    struct rig_view rig;
    assert_true(proxy_start(&proxy, server.port));
    rig_open_url(&rig, proxy.url, "one");
    rig_own(&rig, 0, 1);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    atomic_store(&proxy.mode, PROXY_DROP_EXEC_REPLY);
    push(&rig, "acme", 11);
    assert_true(rig_published(&rig, 0, 11));
    assert_int_equal(atomic_load(&proxy.mode), PROXY_PASS);
    assert_offset("acme", "11");
    assert_int_equal(rig_metric(&rig, UPT_M_REDIS_REPAIRS), 0);
    rig_close(&rig);
    proxy_end(&proxy);
}

static void
test_flushall_is_repaired(void **state)
{
    (void)state;
    struct rig_view rig;
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    assert_false(upt_view_take_repair(rig.view, 0));
    redis_server_ask(&server, "FLUSHALL");
    assert_true(rig_repair(&rig, 0)); /* noticed although nothing changes */
    assert_int_equal(upt_pos_cmp(upt_view_published(rig.view, 0), UPT_POS_NONE), 0);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    assert_offset("acme", "10");
    assert_int_equal(rig_metric(&rig, UPT_M_REDIS_REPAIRS), 1);
    rig_close(&rig);
}

static void
test_older_marker_is_repaired(void **state)
{
    (void)state;
    char marker[256];
    struct rig_view rig;
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    snprintf(marker, sizeof(marker), "%s", redis_server_ask(&server, "GET uptake:_m:{0}"));
    push(&rig, "acme", 11);
    assert_true(rig_published(&rig, 0, 11));
    redis_server_ask(&server, "SET uptake:_m:{0} %s", marker);
    assert_true(rig_repair(&rig, 0));
    rig_close(&rig);
}

/* After FLUSHALL a zombie of an older epoch was first, and further than the owner: its row must not go back. */
static void
test_zombie_first_after_flushall(void **state)
{
    (void)state;
    struct proxy proxy;
    struct rig_view owner, zombie;
    assert_true(proxy_start(&proxy, server.port));
    rig_open_url(&owner, proxy.url, "owner");
    rig_own(&owner, 0, 2);
    push(&owner, "acme", 5);
    assert_true(rig_published(&owner, 0, 5));
    atomic_store(&proxy.mode, PROXY_HOLD_MULTI);
    push(&owner, "acme", 8);
    assert_true(redis_server_wait(is_held, &proxy));
    redis_server_ask(&server, "FLUSHALL");
    rig_open(&zombie, &server, "zombie");
    rig_own(&zombie, 0, 1);
    push(&zombie, "acme", 9);
    assert_true(rig_published(&zombie, 0, 9));
    atomic_store(&proxy.release, true);
    assert_true(rig_repair(&owner, 0));
    rig_own(&owner, 1, 1);
    rig_flush(&owner, 1, 5);
    assert_true(rig_published(&owner, 1, 5));
    assert_offset("acme", "9");
    struct upt_pos floor;
    assert_true(upt_view_floor(owner.view, 0, &floor));
    assert_int_equal(floor.offset, 9);
    push(&owner, "acme", 9);
    assert_true(rig_published(&owner, 0, 9));
    rig_close(&zombie);
    rig_close(&owner);
    proxy_end(&proxy);
}

static bool
is_down(void *ctx)
{
    return !upt_view_connected(ctx);
}

static void
test_restart_retries_the_batch(void **state)
{
    (void)state;
    struct rig_view rig;
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    redis_server_kill(&server);
    assert_true(redis_server_wait(is_down, rig.view));
    for (int64_t i = 11; i < 111; i++) {
        push(&rig, "acme", i);
    }
    assert_int_equal(upt_view_published(rig.view, 0).offset, 10);
    assert_true(redis_server_start(&server));
    assert_true(rig_published(&rig, 0, 110));
    assert_offset("acme", "110");
    assert_int_equal(rig_metric(&rig, UPT_M_REDIS_REPAIRS), 0); /* the append-only file had everything */
    assert_int_equal(rig_metric(&rig, UPT_M_REDIS_UP), 1);
    rig_close(&rig);
}

static void
test_disowned_rows_are_dropped(void **state)
{
    (void)state;
    struct rig_view rig;
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    redis_server_kill(&server);
    assert_true(redis_server_wait(is_down, rig.view));
    push(&rig, "acme", 11);
    assert_true(upt_view_disown(rig.view, 0));
    assert_int_equal(upt_pos_cmp(upt_view_published(rig.view, 0), UPT_POS_NONE), 0);
    assert_true(upt_view_own(rig.view, 0, 2));
    push(&rig, "new", 12);
    assert_true(redis_server_start(&server));
    assert_true(rig_published(&rig, 0, 12));
    assert_offset("acme", "10");
    assert_offset("new", "12");
    rig_close(&rig);
}

/* The ring fills while Redis is away; rows of a partition that was given up must not keep it full. */
static void
test_full_ring_while_away(void **state)
{
    (void)state;
    struct rig_view rig;
    rig_open_url(&rig, "redis://127.0.0.1:1", "one");
    assert_true(upt_view_own(rig.view, 0, 1));
    size_t pushed = 0;
    struct upt_row row = rig_row("acme", 0, 1);
    while (upt_view_push_row(rig.view, &row, NULL, 0)) {
        pushed++;
        assert_true(pushed < 1000000);
    }
    assert_true(pushed > 1000);
    assert_false(upt_view_connected(rig.view));
    rig_close(&rig);
}

struct stray_wait {
    struct rig_view *rig;
    struct upt_buf account;
};

static bool
stray_there(void *ctx)
{
    struct stray_wait *wait = ctx;
    return upt_view_take_stray(wait->rig->view, 0, &wait->account);
}

static void
test_strays_are_found(void **state)
{
    (void)state;
    struct rig_view rig;
    struct stray_wait wait = {.rig = &rig};
    redis_server_ask(&server, "HSET %s partition 0 offset 1", "uptake:account:{gone%20account}");
    redis_server_ask(&server, "HSET %s x 1", "uptake:account:{gone%20account}:features");
    redis_server_ask(&server, "HSET %s partition 1 offset 1", "uptake:account:{elsewhere}");
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    assert_true(redis_server_wait(stray_there, &wait));
    assert_int_equal(wait.account.len, strlen("gone account"));
    assert_memory_equal(wait.account.p, "gone account", wait.account.len);
    assert_false(upt_view_take_stray(rig.view, 0, &wait.account));
    assert_false(upt_view_take_stray(rig.view, 1, &wait.account));
    upt_buf_fini(&wait.account);
    rig_close(&rig);
}

/* A contribution of a lower epoch changes nothing, whatever its position; a higher epoch may begin further back. */
static void
test_contributions_obey_epochs(void **state)
{
    (void)state;
    struct rig_view rig;
    struct upt_totals_row totals = {.partition = 0, .pos = rig_pos(5), .as_of = 1, .users_total = 5};
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    assert_true(upt_view_push_totals(rig.view, &totals));
    rig_flush(&rig, 0, 5);
    assert_true(rig_published(&rig, 0, 5));
    assert_string_equal(redis_server_ask(&server, "HGET uptake:totals users_total"), "5");
    rig_close(&rig);
    rig_open(&rig, &server, "two");
    rig_own(&rig, 0, 2);
    totals.pos = rig_pos(4);
    totals.users_total = 4;
    assert_true(upt_view_push_totals(rig.view, &totals));
    rig_flush(&rig, 0, 5);
    assert_true(rig_published(&rig, 0, 5));
    assert_string_equal(redis_server_ask(&server, "HGET uptake:totals users_total"), "4");
    rig_close(&rig);
}

/* A rank is of the account's partition like its row: a zombie must not bring back one that was forgotten. */
static void
test_zombie_writes_no_rank(void **state)
{
    (void)state;
    struct proxy proxy;
    struct rig_view zombie, heir;
    struct upt_row row = rig_row("acme", 0, 11);
    row.has_scores = true;
    row.health = 50;
    row.risk[0] = 0.5;
    assert_true(proxy_start(&proxy, server.port));
    rig_open_url(&zombie, proxy.url, "zombie");
    rig_open(&heir, &server, "heir");
    rig_own(&zombie, 0, 1);
    atomic_store(&proxy.mode, PROXY_HOLD_MULTI);
    rig_push_row(&zombie, &row);
    rig_flush(&zombie, 0, 11);
    assert_true(redis_server_wait(is_held, &proxy));
    rig_own(&heir, 0, 2);
    assert_true(upt_view_push_forgotten(heir.view, 0, rig_pos(20), UPT_STR("acme")));
    rig_flush(&heir, 0, 20);
    assert_true(rig_published(&heir, 0, 20));
    atomic_store(&proxy.release, true);
    assert_true(rig_metric_reaches(&zombie, UPT_M_REDIS_GUARD_REFUSALS, 1));
    rig_own(&zombie, 1, 1);
    rig_flush(&zombie, 1, 5);
    assert_true(rig_published(&zombie, 1, 5));
    assert_string_equal(redis_server_ask(&server, "ZCARD uptake:rank:health"), "0");
    assert_non_null(strstr(redis_server_ask(&server, "HGET uptake:partitions 0"), "heir"));
    rig_close(&zombie);
    rig_close(&heir);
    proxy_end(&proxy);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_floor_is_the_highest_row, setup),
        cmocka_unit_test_setup(test_stale_owner_is_refused, setup),
        cmocka_unit_test_setup(test_zombie_between_check_and_exec, setup),
        cmocka_unit_test_setup(test_lost_exec_reply_is_no_lost_write, setup),
        cmocka_unit_test_setup(test_flushall_is_repaired, setup),
        cmocka_unit_test_setup(test_older_marker_is_repaired, setup),
        cmocka_unit_test_setup(test_zombie_first_after_flushall, setup),
        cmocka_unit_test_setup(test_restart_retries_the_batch, setup),
        cmocka_unit_test_setup(test_disowned_rows_are_dropped, setup),
        cmocka_unit_test_setup(test_full_ring_while_away, setup),
        cmocka_unit_test_setup(test_strays_are_found, setup),
        cmocka_unit_test_setup(test_contributions_obey_epochs, setup),
        cmocka_unit_test_setup(test_zombie_writes_no_rank, setup),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
