/* A restore reads again what does not fit together, and says so in the end. The state partition is a list of records
 * here, another one at each reading: what a reader finds under whom a zombie, or the next owner, writes checkpoints and
 * compaction takes the old ones away. The functions of librdkafka that restore.c reads with are those below. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#include "ingest/kafka/client.h"
#include "ingest/kafka/publisher.h"
#include "ingest/kafka/restore.h"
#include "tests/unit/state/support.h"
#include "uptake/assert.h"

#define READINGS_MAX 8

static struct world {
    struct upt_config *config;
    struct upt_metrics metrics;
    struct topic readings[READINGS_MAX]; /* the last stays */
    int readings_n, read;                /* read: how many were begun */
    int64_t committed;                   /* of the group */
    int64_t input_low;
    int64_t at; /* of the reading under way */
    int asked;  /* how often for the offset of a time; the first two times there is no answer */
    int64_t time_offset;
    rd_kafka_message_t msg;
} world;

/* ---- librdkafka and clients ---- */

static const struct topic *
now_read(void)
{
    int i = world.read < world.readings_n ? world.read : world.readings_n;
    return &world.readings[i - 1];
}

rd_kafka_resp_err_t
rd_kafka_query_watermark_offsets(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t *low, int64_t *high,
                                 int timeout_ms)
{
    (void)rk, (void)partition, (void)timeout_ms;
    bool state = strcmp(topic, world.config->state_topic) == 0;
    *low = state ? 0 : world.input_low;
    *high = state ? (int64_t)now_read()->n : 1000;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t
rd_kafka_assign(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list)
{
    (void)rk;
    world.at = list != NULL ? list->elems[0].offset : 0;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_message_t *
rd_kafka_consumer_poll(rd_kafka_t *rk, int timeout_ms)
{
    (void)rk, (void)timeout_ms;
    const struct topic *topic = now_read();
    size_t i = (size_t)world.at++;
    upt_assert(i < topic->n);
    world.msg = (rd_kafka_message_t){.offset = (int64_t)i,
                                     .key = topic->keys[i].p,
                                     .key_len = topic->keys[i].len,
                                     .payload = topic->values[i].p,
                                     .len = topic->values[i].len};
    return &world.msg;
}

int64_t
rd_kafka_message_timestamp(const rd_kafka_message_t *msg, rd_kafka_timestamp_type_t *ret_type)
{
    (void)ret_type;
    return T0 + msg->offset;
}

void
rd_kafka_message_destroy(rd_kafka_message_t *msg)
{
    upt_assert(msg == &world.msg);
}

rd_kafka_resp_err_t
rd_kafka_committed(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int timeout_ms)
{
    (void)rk, (void)timeout_ms;
    list->elems[0].offset = world.committed;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t
rd_kafka_offsets_for_times(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int timeout_ms)
{
    (void)rk, (void)timeout_ms;
    list->elems[0].offset = RD_KAFKA_OFFSET_END;
    switch (world.asked++) {
    case 0:
        return RD_KAFKA_RESP_ERR__TIMED_OUT;
    case 1:
        list->elems[0].err = RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    default:
        list->elems[0].offset = world.time_offset;
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
}

upt_status
upt_client_reader(const struct upt_config *config, bool committed_only, rd_kafka_t **ret, struct upt_error *reterr)
{
    (void)config, (void)committed_only, (void)reterr;
    *ret = NULL;
    return UPT_OK;
}

void
upt_client_destroy(rd_kafka_t **rk_p)
{
    *rk_p = NULL;
}

upt_status
upt_publisher_fence(const struct upt_config *config, const char *id, int timeout_ms, struct upt_error *reterr)
{
    (void)config, (void)id, (void)timeout_ms, (void)reterr;
    return UPT_OK;
}

/* ---- what the state partition holds ---- */

#define WITH_PROGRESS 1
#define WITH_CHECKPOINT 2
#define NEXT_OFFSET 40

/* Another reading: 30 accounts, and what of the private records is there. */
static void
add_reading(unsigned with)
{
    struct topic *topic = &world.readings[world.readings_n++];
    struct fixture fx;
    struct upt_buf value = {0};
    fixture_init(&fx, NULL, NULL);
    for (int i = 0; i < 30; i++) {
        char key[24];
        (void)snprintf(key, sizeof(key), "account-%d", i);
        (void)put(&fx, T0, key, usage("u", "f", 1));
    }
    topic_take(topic, &fx, true);
    if ((with & WITH_CHECKPOINT) != 0) {
        const struct upt_checkpoint checkpoint = {.pos = upt_state_pos(fx.st), .clock = upt_state_clock(fx.st)};
        upt_checkpoint_encode(&checkpoint, &value);
        topic_put(topic, UPT_STR("r"), upt_buf_str(&value));
    }
    if ((with & WITH_PROGRESS) != 0) {
        const struct upt_progress progress = {
            .epoch = 3, .pos = upt_state_pos(fx.st), .next_offset = NEXT_OFFSET, .released = true};
        upt_buf_clear(&value);
        upt_progress_encode(&progress, &value);
        topic_put(topic, UPT_STR("c"), upt_buf_str(&value));
    }
    upt_buf_fini(&value);
    fixture_fini(&fx);
}

static upt_status
make_state(void *ctx, int32_t partition, void **ret_user, struct upt_state **ret, struct upt_error *reterr)
{
    (void)ctx;
    const struct upt_state_config config = {.partition = partition,
                                            .max_future_ms = 5 * UPT_MINUTE_MS,
                                            .dedup_window_ms = 10 * UPT_MINUTE_MS,
                                            .retention_ms = 400 * UPT_DAY_MS,
                                            .adopted_days = 3,
                                            .metrics = &world.metrics};
    world.read++;
    *ret_user = NULL;
    return upt_state_create(&config, ret, reterr);
}

static void
drop_state(void *ctx, void *user, struct upt_state *st)
{
    (void)ctx, (void)user;
    upt_state_destroy(&st);
}

static struct upt_restored
restore(void)
{
    struct upt_restorer *res = NULL;
    struct upt_restored got;
    const struct upt_restorer_config config = {.config = world.config,
                                               .own_ids = {"own", "own-checkpoint"},
                                               .metrics = &world.metrics,
                                               .make_state = make_state,
                                               .drop_state = drop_state};
    assert_int_equal(upt_restorer_create(&config, &res, NULL), UPT_OK);
    upt_restorer_ask(res, 0, 1);
    while (!upt_restorer_take(res, &got)) {
        upt_sleep_ms(1);
    }
    upt_restorer_destroy(&res);
    return got;
}

static void
assert_whole(struct upt_restored *got, int readings)
{
    assert_int_equal(got->status, UPT_OK);
    assert_int_equal(world.read, readings);
    assert_int_equal(upt_state_accounts_n(got->state), 30);
    assert_true(got->has_checkpoint);
    assert_int_equal(got->seek_to, got->checkpoint.pos.offset + 1);
    assert_int_equal(got->checkpoint_ms, T0 + (int64_t)now_read()->n - 2); /* before the progress record */
    assert_int_equal(got->progress.epoch, 3);
    upt_state_destroy(&got->state);
    upt_progress_fini(&got->progress);
}

static int
setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    world.committed = NEXT_OFFSET;
    return upt_config_default(&world.config, NULL) == UPT_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    for (int i = 0; i < world.readings_n; i++) {
        topic_fini(&world.readings[i]);
    }
    upt_config_destroy(&world.config);
    return 0;
}

/* ---- tests ---- */

static void
fits(void **state)
{
    (void)state;
    add_reading(WITH_PROGRESS | WITH_CHECKPOINT);
    struct upt_restored got = restore();
    assert_whole(&got, 1);
}

/* The checkpoint record was gone before it was reached, and its successor lay behind the end. */
static void
state_without_checkpoint(void **state)
{
    (void)state;
    add_reading(WITH_PROGRESS);
    add_reading(WITH_PROGRESS | WITH_CHECKPOINT);
    struct upt_restored got = restore();
    assert_whole(&got, 2);
}

/* The same of progress. No reading has anything of the one before it. */
static void
progress_behind_the_group(void **state)
{
    (void)state;
    add_reading(WITH_CHECKPOINT);
    add_reading(WITH_PROGRESS);
    add_reading(WITH_PROGRESS | WITH_CHECKPOINT);
    struct upt_restored got = restore();
    assert_whole(&got, 3);
}

static void
lost_for_good(void **state)
{
    (void)state;
    add_reading(WITH_CHECKPOINT);
    struct upt_restored got = restore();
    assert_int_equal(got.status, UPT_EDATA);
    assert_int_equal(world.read, 3);
    assert_null(got.state);
    assert_non_null(strstr(got.err.msg, "the group has committed offset 40"));
}

/* What no reading can mend is told at once. */
static void
input_gone(void **state)
{
    (void)state;
    world.input_low = 900;
    add_reading(WITH_PROGRESS | WITH_CHECKPOINT);
    struct upt_restored got = restore();
    assert_int_equal(got.status, UPT_EDATA);
    assert_int_equal(world.read, 1);
    assert_non_null(strstr(got.err.msg, "retention"));
}

static void
begin_at(const char *start, int64_t expected)
{
    world.committed = -1;
    world.readings_n = 1; /* an empty state partition */
    assert_int_equal(upt_config_set(world.config, "start", start, NULL), UPT_OK);
    struct upt_restored got = restore();
    assert_int_equal(got.status, UPT_OK);
    assert_false(got.has_checkpoint);
    assert_int_equal(got.seek_to, expected);
    upt_state_destroy(&got.state);
    upt_progress_fini(&got.progress);
}

/* A broker that does not say where a time is in the log has not said that it is behind the end. */
static void
start_at_a_time(void **state)
{
    (void)state;
    world.time_offset = 700;
    begin_at("2026-01-31T00:00:00Z", 700);
    assert_int_equal(world.asked, 3);
}

static void
start_at_a_time_to_come(void **state)
{
    (void)state;
    world.time_offset = RD_KAFKA_OFFSET_END;
    begin_at("2026-01-31T00:00:00Z", 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fits, setup, teardown),
        cmocka_unit_test_setup_teardown(state_without_checkpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(progress_behind_the_group, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_for_good, setup, teardown),
        cmocka_unit_test_setup_teardown(input_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(start_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(start_at_a_time_to_come, setup, teardown),
    };
    return cmocka_run_group_tests_name("restore", tests, NULL, NULL);
}
