/* The board: partitions, alerts, heartbeats, readiness; two threads. */
#include "testing.h"

#include <pthread.h>

#include "uptake/board.h"
#include "uptake/time.h"

static void
partitions_are_sorted(void **state)
{
    (void)state;
    struct upt_board *board = upt_board_create();
    static const int32_t order[] = {5, 1, 9, 0, 3};
    for (size_t i = 0; i < 5; i++) {
        struct upt_board_partition part = {
            .partition = order[i], .offset = INT64_C(10) * order[i], .phase = UPT_PART_REPLAYING};
        upt_board_set_partition(board, &part);
    }
    struct upt_board_partition changed = {.partition = 3, .offset = 777, .phase = UPT_PART_RUNNING};
    upt_board_set_partition(board, &changed);
    upt_board_drop_partition(board, 5);
    upt_board_drop_partition(board, 42);
    struct upt_board_partition got[8];
    assert_int_equal(upt_board_partitions(board, got, 8), 4);
    static const int32_t left[] = {0, 1, 3, 9};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(got[i].partition, left[i]);
        assert_int_equal(got[i].offset, left[i] == 3 ? 777 : left[i] * 10);
    }
    assert_int_equal(upt_board_partitions(board, got, 2), 2);
    upt_board_destroy(&board);
    assert_null(board);
    upt_board_destroy(&board);
}

static void
newest_alerts_first(void **state)
{
    (void)state;
    struct upt_board *board = upt_board_create();
    struct upt_buf out = {0};
    upt_board_alerts_json(board, &out);
    assert_int_equal(out.len, 2);
    for (int i = 0; i < UPT_BOARD_ALERTS + 7; i++) {
        char json[32];
        snprintf(json, sizeof(json), "{\"n\":%d}", i);
        upt_board_alert(board, upt_str_of(json));
    }
    upt_buf_clear(&out);
    upt_board_alerts_json(board, &out);
    upt_buf_put(&out, "", 1);
    assert_memory_equal(out.p, "[{\"n\":56},{\"n\":55},", 19);
    assert_non_null(strstr(out.p, ",{\"n\":7}]"));
    upt_buf_fini(&out);
    upt_board_destroy(&board);
}

static void
every_lane_counts(void **state)
{
    (void)state;
    struct upt_board *board = upt_board_create();
    char why[200];
    assert_true(upt_board_alive(board, 0)); /* nobody to wait for yet */
    assert_false(upt_board_ready(board, why, sizeof(why)));
    assert_string_equal(why, "starting");
    upt_board_set_ready(board, 1, true, NULL);
    assert_true(upt_board_ready(board, why, sizeof(why)));
    assert_string_equal(why, "");
    upt_board_heartbeat(board, 0);
    assert_false(upt_board_ready(board, why, sizeof(why)));
    assert_string_equal(why, "lane 0: starting");
    upt_board_set_ready(board, 0, false, "waits for the registry");
    assert_false(upt_board_ready(board, why, sizeof(why)));
    assert_string_equal(why, "lane 0: waits for the registry");
    upt_board_set_ready(board, 0, true, "no reason");
    assert_true(upt_board_ready(board, why, sizeof(why)));

    assert_true(upt_board_alive(board, 60000));
    int64_t then = upt_mono_ms();
    while (upt_mono_ms() < then + 2) {
        upt_sleep_ms(1);
    }
    upt_board_heartbeat(board, 0);
    assert_false(upt_board_alive(board, 0)); /* lane 1 has not beaten since */
    upt_board_destroy(&board);
}

static void *
post(void *arg)
{
    struct upt_board *board = arg;
    struct upt_metrics *metrics = upt_board_metrics(board);
    for (int i = 0; i < 3000; i++) {
        struct upt_board_partition part = {.partition = i % 7, .offset = i, .end_offset = i};
        upt_board_set_partition(board, &part);
        upt_board_heartbeat(board, 3);
        upt_board_alert(board, UPT_STR("{}"));
        upt_metric_add(metrics, UPT_M_EVENTS, 1);
        if (i % 5 == 0) {
            upt_board_drop_partition(board, i % 7);
        }
    }
    return NULL;
}

static void
lanes_and_admin_together(void **state)
{
    (void)state;
    struct upt_board *board = upt_board_create();
    pthread_t lanes[2];
    assert_int_equal(pthread_create(&lanes[0], NULL, post, board), 0);
    assert_int_equal(pthread_create(&lanes[1], NULL, post, board), 0);
    size_t torn = 0;
    struct upt_buf out = {0};
    struct upt_metrics *sets[4];
    for (int i = 0; i < 500; i++) {
        struct upt_board_partition got[16];
        size_t n = upt_board_partitions(board, got, 16);
        for (size_t k = 0; k < n; k++) {
            torn += got[k].offset != got[k].end_offset || (k > 0 && got[k - 1].partition >= got[k].partition) ? 1 : 0;
        }
        upt_buf_clear(&out);
        upt_board_alerts_json(board, &out);
        (void)upt_metrics_total(sets, upt_board_sets(board, sets, 4), UPT_M_EVENTS);
    }
    assert_int_equal(pthread_join(lanes[0], NULL), 0);
    assert_int_equal(pthread_join(lanes[1], NULL), 0);
    assert_int_equal(torn, 0);
    assert_int_equal(upt_board_sets(board, sets, 4), 2);
    assert_int_equal((uintptr_t)sets[0] % 64, 0);
    assert_int_equal(upt_metrics_total(sets, 2, UPT_M_EVENTS), 6000);
    upt_buf_fini(&out);
    upt_board_destroy(&board);
}

/* A question reaches each lane once; an answer to an earlier one is none. */
static void
questions(void **state)
{
    (void)state;
    struct upt_board *board = upt_board_create();
    struct upt_buf got = {0};
    uint64_t seen[2] = {0, 0};
    assert_false(upt_board_asked(board, &seen[0], &got));
    uint64_t first = upt_board_ask(board, UPT_STR("acme"));
    assert_true(upt_board_asked(board, &seen[0], &got));
    assert_true(got.len == 4 && memcmp(got.p, "acme", 4) == 0);
    assert_false(upt_board_asked(board, &seen[0], &got));
    uint64_t second = upt_board_ask(board, UPT_STR("b"));
    assert_true(second != first);
    assert_true(upt_board_asked(board, &seen[1], &got));
    assert_true(got.len == 1 && got.p[0] == 'b');
    upt_board_answer(board, first, UPT_STR("{\"late\":1}"));
    upt_buf_clear(&got);
    assert_false(upt_board_answered(board, second, 20, &got));
    assert_int_equal(got.len, 0);
    upt_board_answer(board, second, UPT_STR("{}"));
    assert_true(upt_board_answered(board, second, 20, &got));
    assert_true(got.len == 2 && memcmp(got.p, "{}", 2) == 0);
    upt_buf_fini(&got);
    upt_board_destroy(&board);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partitions_are_sorted),
        cmocka_unit_test(newest_alerts_first),
        cmocka_unit_test(every_lane_counts),
        cmocka_unit_test(lanes_and_admin_together),
        cmocka_unit_test(questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
