/* No row ever goes back, and what Redis loses comes again: owners, zombies, lost writes, restarts, lost replies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"
#include "proxy.h"
#include "uptake/time.h"

static struct rig_view other;
static struct proxy proxy;

/* With a log: some kill the server and start it again. */
static int
start_logging_server(void **state)
{
    server.aof = true;
    return start_server(state);
}

/* Each opens its views itself, some through the proxy. */
static int
empty_server(void **state)
{
    (void)state;
    redis_server_ask(&server, "FLUSHALL");
    return 0;
}

static int
end_all(void **state)
{
    proxy_end(&proxy); /* first: it may hold back what a view waits for */
    rig_close(&other);
    (void)teardown(state);
    return server.client != NULL || redis_server_start(&server) ? 0 : -1;
}

static void
push(struct rig_view *to, const char *account, int64_t offset)
{
    struct upt_row row = rig_row(account, 0, offset);
    rig_push_row(to, &row);
    rig_flush(to, 0, offset);
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
    rig_open(&rig, &server, "one");
    assert_int_equal(upt_pos_cmp(rig_own(&rig, 0, 1), UPT_POS_NONE), 0);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    rig_open(&other, &server, "two");
    assert_int_equal(upt_pos_cmp(rig_own(&other, 0, 2), rig_pos(10)), 0);
}

/* Nothing written, or only what stands before any tick, is no higher position: its next owner may write. */
static void
test_floor_before_any_tick(void **state)
{
    (void)state;
    const struct upt_pos first = {.offset = 0, .tick = UPT_NO_CLOCK};
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    assert_int_equal(upt_pos_cmp(rig_own(&rig, 0, 2), UPT_POS_NONE), 0);
    struct upt_row row = rig_row("acme", 0, 0);
    row.pos = first;
    rig_push_row(&rig, &row);
    rig_flush(&rig, 0, 0);
    assert_true(rig_published(&rig, 0, 0));
    rig_open(&other, &server, "two");
    assert_int_equal(upt_pos_cmp(rig_own(&other, 0, 3), first), 0);
}

static void
test_stale_owner_is_refused(void **state)
{
    (void)state;
    rig_open(&rig, &server, "one");
    rig_open(&other, &server, "two");
    rig_own(&rig, 0, 1);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    rig_own(&other, 0, 2);
    push(&other, "acme", 20);
    assert_true(rig_published(&other, 0, 20));
    push(&rig, "acme", 11);
    push(&rig, "ghost", 11);
    assert_true(rig_metric_reaches(&rig, UPT_M_REDIS_GUARD_REFUSALS, 1));
    /* A second partition of the same view is written still; when that is done, so would be the refused rows. */
    rig_own(&rig, 1, 1);
    rig_flush(&rig, 1, 5);
    assert_true(rig_published(&rig, 1, 5));
    assert_offset("acme", "20");
    assert_offset("ghost", "(nil)");
    assert_int_equal(upt_view_stored(rig.view, 0), 11);
    assert_false(upt_view_take_repair(rig.view, 0));
    rig_close(&rig);
    /* Nor does it get the partition by owning it again under its old epoch. */
    rig_open(&rig, &server, "one");
    upt_view_own(rig.view, 0, 1);
    assert_true(rig_metric_reaches(&rig, UPT_M_REDIS_GUARD_REFUSALS, 1));
    struct upt_pos floor;
    assert_false(upt_view_floor(rig.view, 0, &floor));
}

static bool
is_held(void *ctx)
{
    (void)ctx;
    return atomic_load(&proxy.held);
}

/* Stopped after the marker was compared and before EXEC: the longest-lived zombie. */
static void
test_zombie_between_check_and_exec(void **state)
{
    (void)state;
    assert_true(proxy_start(&proxy, server.port));
    rig_open_url(&rig, proxy.url, "zombie");
    rig_open(&other, &server, "heir");
    rig_own(&rig, 0, 1);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    atomic_store(&proxy.mode, PROXY_HOLD_MULTI);
    push(&rig, "acme", 11);
    assert_true(redis_server_wait(is_held, NULL));
    rig_own(&other, 0, 2);
    push(&other, "acme", 20);
    assert_true(rig_published(&other, 0, 20));
    atomic_store(&proxy.release, true);
    assert_true(rig_metric_reaches(&rig, UPT_M_REDIS_GUARD_REFUSALS, 1));
    assert_offset("acme", "20");
}

static void
test_lost_exec_reply_is_no_lost_write(void **state)
{
    (void)state;
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
}

static void
test_flushall_is_repaired(void **state)
{
    (void)state;
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    assert_false(upt_view_take_repair(rig.view, 0));
    redis_server_ask(&server, "FLUSHALL");
    assert_true(rig_repair(&rig, 0)); /* noticed although nothing changes */
    assert_int_equal(upt_view_stored(rig.view, 0), 0);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    assert_offset("acme", "10");
    assert_int_equal(rig_metric(&rig, UPT_M_REDIS_REPAIRS), 1);
}

static void
test_older_marker_is_repaired(void **state)
{
    (void)state;
    char marker[256];
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    snprintf(marker, sizeof(marker), "%s", redis_server_ask(&server, "GET uptake:_m:{0}"));
    push(&rig, "acme", 11);
    assert_true(rig_published(&rig, 0, 11));
    redis_server_ask(&server, "SET uptake:_m:{0} %s", marker);
    assert_true(rig_repair(&rig, 0));
}

/* After FLUSHALL a zombie of an older epoch was first, and further than the owner: its row must not go back. */
static void
test_zombie_first_after_flushall(void **state)
{
    (void)state;
    assert_true(proxy_start(&proxy, server.port));
    rig_open_url(&rig, proxy.url, "owner");
    rig_own(&rig, 0, 2);
    push(&rig, "acme", 5);
    assert_true(rig_published(&rig, 0, 5));
    atomic_store(&proxy.mode, PROXY_HOLD_MULTI);
    push(&rig, "acme", 8);
    assert_true(redis_server_wait(is_held, NULL));
    redis_server_ask(&server, "FLUSHALL");
    rig_open(&other, &server, "zombie");
    rig_own(&other, 0, 1);
    push(&other, "acme", 9);
    assert_true(rig_published(&other, 0, 9));
    atomic_store(&proxy.release, true);
    assert_true(rig_repair(&rig, 0));
    rig_own(&rig, 1, 1);
    rig_flush(&rig, 1, 5);
    assert_true(rig_published(&rig, 1, 5));
    assert_offset("acme", "9");
    struct upt_pos floor;
    assert_true(upt_view_floor(rig.view, 0, &floor));
    assert_int_equal(floor.offset, 9);
    push(&rig, "acme", 9);
    assert_true(rig_published(&rig, 0, 9));
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
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    redis_server_kill(&server);
    assert_true(redis_server_wait(is_down, rig.view));
    assert_int_equal(rig_metric(&rig, UPT_M_REDIS_UP), 0);
    for (int64_t i = 11; i < 111; i++) {
        push(&rig, "acme", i);
    }
    assert_int_equal(upt_view_stored(rig.view, 0), 11);
    assert_true(redis_server_start(&server));
    assert_true(rig_published(&rig, 0, 110));
    assert_offset("acme", "110");
    assert_int_equal(rig_metric(&rig, UPT_M_REDIS_REPAIRS), 0); /* the append-only file had everything */
    assert_int_equal(rig_metric(&rig, UPT_M_REDIS_UP), 1);
}

static void
test_disowned_rows_are_dropped(void **state)
{
    (void)state;
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    redis_server_kill(&server);
    assert_true(redis_server_wait(is_down, rig.view));
    push(&rig, "acme", 11);
    upt_view_disown(rig.view, 0);
    assert_int_equal(upt_view_stored(rig.view, 0), 0);
    upt_view_own(rig.view, 0, 2);
    push(&rig, "new", 12);
    assert_true(redis_server_start(&server));
    assert_true(rig_published(&rig, 0, 12));
    assert_offset("acme", "10");
    assert_offset("new", "12");
}

/* While Redis is away pushing is refused when the ring is full; it neither blocks nor grows. */
static void
test_full_ring_while_away(void **state)
{
    (void)state;
    rig_open_url(&rig, "redis://127.0.0.1:1", "one");
    upt_view_own(rig.view, 0, 1);
    size_t pushed = 0;
    struct upt_row row = rig_row("acme", 0, 1);
    while (upt_view_push_row(rig.view, &row, NULL, 0)) {
        pushed++;
        assert_true(pushed < 1000000);
    }
    assert_true(pushed > 1000);
    assert_false(upt_view_connected(rig.view));
}

static bool
stray_there(void *ctx)
{
    return upt_view_take_stray(rig.view, 0, ctx);
}

static void
test_strays_are_found(void **state)
{
    (void)state;
    struct upt_buf account = {0};
    redis_server_ask(&server, "HSET %s partition 0 offset 1", "uptake:account:{gone%20account}");
    redis_server_ask(&server, "HSET %s x 1", "uptake:account:{gone%20account}:features");
    redis_server_ask(&server, "HSET %s partition 1 offset 1", "uptake:account:{elsewhere}");
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    assert_true(redis_server_wait(stray_there, &account));
    assert_int_equal(account.len, strlen("gone account"));
    assert_memory_equal(account.p, "gone account", account.len);
    assert_false(upt_view_take_stray(rig.view, 0, &account));
    assert_false(upt_view_take_stray(rig.view, 1, &account));
    upt_buf_fini(&account);
}

static bool
swept(void *ctx)
{
    (void)ctx;
    return upt_view_sweep(rig.view, 0) == UPT_SWEEP_OVER;
}

/* The walk is over when each key was seen and each stray taken; an error is not the end of it. */
static void
test_the_end_of_the_walk(void **state)
{
    (void)state;
    struct upt_buf account = {0};
    redis_server_ask(&server, "HSET %s partition 0 offset 1", "uptake:account:{one}");
    redis_server_ask(&server, "ACL SETUSER default -scan");
    rig_open(&rig, &server, "one");
    upt_view_segments(rig.view, UPT_STR(""));
    rig_own(&rig, 0, 1);
    for (int i = 0; i < 150; i++) {
        assert_int_equal(upt_view_sweep(rig.view, 0), UPT_SWEEP_WALKING);
        upt_sleep_ms(2);
    }
    redis_server_ask(&server, "ACL SETUSER default +@all");
    assert_true(redis_server_wait(stray_there, &account));
    assert_true(redis_server_wait(swept, NULL));
    upt_buf_fini(&account);
}

/* What the lane pushes before it has heard of a loss is passed over: a stray that it answers then would be answered in
 * vain. */
static void
test_strays_wait_for_the_repair(void **state)
{
    (void)state;
    struct upt_buf account = {0};
    redis_server_ask(&server, "HSET %s partition 0 offset 1", "uptake:account:{one}");
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    assert_true(redis_server_wait(stray_there, &account)); /* the keys have been walked */
    redis_server_ask(&server, "HSET %s partition 0 offset 1", "uptake:account:{two}");
    redis_server_ask(&server, "DEL uptake:_m:{0}");
    assert_true(rig_metric_reaches(&rig, UPT_M_REDIS_REPAIRS, 1));
    for (int i = 0; i < 150; i++) {
        assert_false(upt_view_take_stray(rig.view, 0, &account));
        upt_sleep_ms(2);
    }
    assert_true(rig_repair(&rig, 0));
    assert_true(redis_server_wait(stray_there, &account));
    assert_true(redis_server_wait(stray_there, &account)); /* one and two */
    upt_buf_fini(&account);
}

/* A contribution of a higher epoch replaces the former owner's, also from further back. */
static void
test_contributions_obey_epochs(void **state)
{
    (void)state;
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
}

extern const unsigned char upt_view_sums_lua[];
extern const size_t upt_view_sums_lua_len;

/* What an owner of this epoch asks for that was stopped between the look at the marker and its sums. */
static void
contribute_late(const char *epoch)
{
    char script[16384];
    assert_true(upt_view_sums_lua_len < sizeof(script));
    memcpy(script, upt_view_sums_lua, upt_view_sums_lua_len);
    script[upt_view_sums_lua_len] = '\0';
    (void)redis_server_ask(&server,
                           "EVAL %s 2 uptake:totals uptake:_t:{uptake:totals} 0 %s 9 60000 1 t "
                           "0 0 0 0 0 0 0 0 0 0 0 0 0 0 9 0 0",
                           script, epoch);
}

/* A contribution of an older epoch is refused, however far it is. */
static void
test_zombie_adds_no_contribution(void **state)
{
    (void)state;
    struct upt_totals_row totals = {.partition = 0, .pos = rig_pos(8), .as_of = 1, .users_total = 8};
    rig_open(&rig, &server, "heir");
    rig_own(&rig, 0, 2);
    assert_true(upt_view_push_totals(rig.view, &totals));
    rig_flush(&rig, 0, 8);
    assert_true(rig_published(&rig, 0, 8));
    contribute_late("1");
    assert_string_equal(redis_server_ask(&server, "HGET uptake:totals users_total"), "8");
    contribute_late("2");
    assert_string_equal(redis_server_ask(&server, "HGET uptake:totals users_total"), "9");
}

/* A rank is of the account's partition like its row: a zombie must not bring back one that was forgotten. */
static void
test_zombie_writes_no_rank(void **state)
{
    (void)state;
    struct upt_row row = rig_row("acme", 0, 11);
    row.has_scores = true;
    row.health = 50;
    row.risk[0] = 0.5;
    assert_true(proxy_start(&proxy, server.port));
    rig_open_url(&rig, proxy.url, "zombie");
    rig_open(&other, &server, "heir");
    rig_own(&rig, 0, 1);
    atomic_store(&proxy.mode, PROXY_HOLD_MULTI);
    rig_push_row(&rig, &row);
    rig_flush(&rig, 0, 11);
    assert_true(redis_server_wait(is_held, NULL));
    rig_own(&other, 0, 2);
    assert_true(upt_view_push_forgotten(other.view, 0, rig_pos(20), UPT_STR("acme")));
    rig_flush(&other, 0, 20);
    assert_true(rig_published(&other, 0, 20));
    atomic_store(&proxy.release, true);
    assert_true(rig_metric_reaches(&rig, UPT_M_REDIS_GUARD_REFUSALS, 1));
    rig_own(&rig, 1, 1);
    rig_flush(&rig, 1, 5);
    assert_true(rig_published(&rig, 1, 5));
    assert_string_equal(redis_server_ask(&server, "ZCARD uptake:rank:health"), "0");
    assert_non_null(strstr(redis_server_ask(&server, "HGET uptake:partitions 0"), "heir"));
}

/* Each partition's loss is found once, and the frames of one repair are not thrown away by the next. */
static void
test_repair_of_many_partitions_is_one(void **state)
{
    (void)state;
    rig_open(&rig, &server, "one");
    for (int32_t p = 0; p < 6; p++) {
        rig_own(&rig, p, 1);
    }
    redis_server_ask(&server, "FLUSHALL");
    for (int32_t p = 0; p < 6; p++) {
        assert_true(rig_repair(&rig, p));
    }
    for (int64_t turn = 0; turn < 6; turn++) { /* each longer than a look at the markers */
        for (int32_t p = 0; p < 6; p++) {
            rig_flush(&rig, p, 10 + turn);
            assert_true(rig_published(&rig, p, 10 + turn));
        }
    }
    redis_server_ask(&server, "DEL uptake:_m:{3}");
    assert_true(rig_repair(&rig, 3));
    struct upt_row row = rig_row("acme", 3, 20);
    rig_push_row(&rig, &row);
    rig_flush(&rig, 3, 20);
    assert_true(rig_published(&rig, 3, 20));
    assert_offset("acme", "20");
    assert_in_range(rig_metric(&rig, UPT_M_REDIS_REPAIRS), 2, 12);
}

/* What was pushed before the lane heard of the loss does not say that everything is in Redis. */
static void
test_published_waits_for_the_repair(void **state)
{
    (void)state;
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    rig_own(&rig, 1, 1);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    redis_server_ask(&server, "FLUSHALL");
    assert_true(rig_repair(&rig, 1)); /* the loss is known; partition 0's flag is not yet taken */
    rig_flush(&rig, 0, 11);
    rig_flush(&rig, 1, 11);
    assert_true(rig_published(&rig, 1, 11));
    assert_int_equal(upt_view_stored(rig.view, 0), 0);
    assert_true(upt_view_take_repair(rig.view, 0));
    push(&rig, "acme", 11);
    assert_true(rig_published(&rig, 0, 11));
    assert_offset("acme", "11");
}

/* Stopped after EXEC and before whatever it does next. */
static void
test_zombie_after_exec_writes_no_rank(void **state)
{
    (void)state;
    struct upt_row row = rig_row("acme", 0, 11);
    row.has_scores = true;
    row.health = 50;
    row.risk[0] = 0.5;
    assert_true(proxy_start(&proxy, server.port));
    rig_open_url(&rig, proxy.url, "zombie");
    rig_open(&other, &server, "heir");
    rig_own(&rig, 0, 1);
    atomic_store(&proxy.mode, PROXY_HOLD_EXEC_REPLY);
    rig_push_row(&rig, &row);
    rig_flush(&rig, 0, 11);
    assert_true(redis_server_wait(is_held, NULL));
    rig_own(&other, 0, 2);
    assert_true(upt_view_push_forgotten(other.view, 0, rig_pos(20), UPT_STR("acme")));
    rig_flush(&other, 0, 20);
    assert_true(rig_published(&other, 0, 20));
    atomic_store(&proxy.release, true);
    rig_own(&rig, 1, 1);
    rig_flush(&rig, 1, 5);
    assert_true(rig_published(&rig, 1, 5));
    assert_string_equal(redis_server_ask(&server, "ZCARD uptake:rank:health"), "0");
    assert_non_null(strstr(redis_server_ask(&server, "HGET uptake:partitions 0"), "heir"));
}

static void
test_owner_of_any_name(void **state)
{
    (void)state;
    rig_open(&rig, &server, "my \"group\"-1");
    rig_own(&rig, 0, 2);
    push(&rig, "acme", 10);
    assert_true(rig_published(&rig, 0, 10));
    assert_non_null(strstr(redis_server_ask(&server, "HGET uptake:partitions 0"), "\"owner\":\"my \\\"group\\\"-1\""));
    rig_open(&other, &server, "other");
    upt_view_own(other.view, 0, 1);
    assert_true(rig_metric_reaches(&other, UPT_M_REDIS_GUARD_REFUSALS, 1));
}

/* A key that something else made a string of does not hold up the others. */
static void
test_key_of_another_type(void **state)
{
    (void)state;
    redis_server_ask(&server, "SET uptake:account:{bad} x");
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    push(&rig, "bad", 10);
    push(&rig, "good", 10);
    assert_true(rig_published(&rig, 0, 10));
    assert_offset("good", "10");
    assert_string_equal(redis_server_ask(&server, "GET uptake:account:{bad}"), "x");
}

static bool
said(FILE *log, const char *what)
{
    char text[8192];
    rewind(log);
    size_t n = fread(text, 1, sizeof(text) - 1, log);
    text[n] = '\0';
    fclose(log);
    return strstr(text, what) != NULL;
}

static void
test_refused_writes_back_off(void **state)
{
    (void)state;
    rig_open(&rig, &server, "one");
    rig_own(&rig, 0, 1);
    redis_server_ask(&server, "CONFIG SET maxmemory 1");
    uint64_t before = rig_metric(&rig, UPT_M_REDIS_RECONNECTS);
    int64_t began = upt_mono_ms();
    FILE *log = tmpfile();
    int err = dup(STDERR_FILENO);
    assert_true(log != NULL && err >= 0 && dup2(fileno(log), STDERR_FILENO) >= 0);
    push(&rig, "acme", 10);
    bool reached = rig_metric_reaches(&rig, UPT_M_REDIS_RECONNECTS, before + 5);
    int64_t took = upt_mono_ms() - began;
    assert_true(dup2(err, STDERR_FILENO) >= 0);
    close(err);
    assert_true(said(log, "OOM command not allowed")); /* and not only that EXEC was refused */
    redis_server_ask(&server, "CONFIG SET maxmemory 0");
    assert_true(reached);
    assert_in_range(took, 50 + 100 + 200 + 400 + 800, 20000);
    assert_true(rig_published(&rig, 0, 10));
    assert_int_equal(rig_metric(&rig, UPT_M_REDIS_REPAIRS), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_floor_is_the_highest_row, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_floor_before_any_tick, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_stale_owner_is_refused, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_zombie_between_check_and_exec, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_lost_exec_reply_is_no_lost_write, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_flushall_is_repaired, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_older_marker_is_repaired, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_zombie_first_after_flushall, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_restart_retries_the_batch, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_disowned_rows_are_dropped, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_full_ring_while_away, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_strays_are_found, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_strays_wait_for_the_repair, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_the_end_of_the_walk, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_contributions_obey_epochs, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_zombie_adds_no_contribution, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_zombie_writes_no_rank, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_repair_of_many_partitions_is_one, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_published_waits_for_the_repair, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_zombie_after_exec_writes_no_rank, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_owner_of_any_name, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_key_of_another_type, empty_server, end_all),
        cmocka_unit_test_setup_teardown(test_refused_writes_back_off, empty_server, end_all),
    };
    cmocka_set_test_filter(getenv("UPTAKE_TEST_ONLY"));
    return cmocka_run_group_tests(tests, start_logging_server, end_server);
}
