/* What a lane makes of its group and of what was restored, where no other test gets to: see fakes.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fakes.h"
#include "tests/unit/state/support.h"
#include "uptake/log.h"

#define PARTS 2

static struct upt_shared shared;

static void
load_scoring(const char *yaml, const char *hash, struct upt_scoring *ret)
{
    struct upt_error err;
    char path[] = "/tmp/upt-rules-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, yaml, strlen(yaml)) == (ssize_t)strlen(yaml));
    (void)close(fd);
    upt_status status = upt_rules_load(path, &ret->rules, &err);
    (void)unlink(path);
    if (status != UPT_OK || upt_model_load(NULL, &ret->model, &err) != UPT_OK) {
        fail_msg("%s", err.msg);
    }
    snprintf(ret->config_hash, sizeof(ret->config_hash), "%s", hash);
}

static void
free_scoring(struct upt_scoring *scoring)
{
    upt_rules_destroy(&scoring->rules);
    upt_model_destroy(&scoring->model);
}

/* A lane in the group, on no thread of its own. */
static struct upt_lane *
open_lane(struct upt_scoring *scoring)
{
    struct upt_error err;
    atomic_store(&shared.scoring, scoring);
    struct upt_lane *lane = calloc(1, sizeof(*lane));
    assert_non_null(lane);
    lane->shared = &shared;
    lane->config = shared.config;
    snprintf(lane->id, sizeof(lane->id), "%s", shared.instance);
    lane->seq = lane->checkpoint_seq = 1;
    lane->next_ticket = 1;
    lane->parts_n = PARTS;
    lane->parts = calloc(PARTS, sizeof(struct upt_part *));
    assert_non_null(lane->parts);
    lane->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&lane->rk_lock, NULL);
    lane->metrics = upt_board_metrics(shared.board);
    lane->scoring = scoring;
    upt_lane_init_sink(lane);
    if (upt_lane_join(lane, &err) != UPT_OK) {
        fail_msg("%s", err.msg);
    }
    return lane;
}

static void
close_lane(struct upt_lane *lane)
{
    upt_lane_drop_parts(lane);
    upt_lane_destroy(&lane);
}

/* A partition that waits for the restore with this ticket. */
static struct upt_part *
add_part(struct upt_lane *lane, int32_t id, uint64_t ticket)
{
    struct upt_part *part = calloc(1, sizeof(*part));
    assert_non_null(part);
    part->lane = lane;
    part->id = id;
    part->ticket = ticket;
    part->restoring = true;
    lane->parts[id] = part;
    return part;
}

/* A state in which account a was used, and has been judged by the segments. */
static void
restored(struct upt_lane *lane, int32_t id, uint64_t ticket)
{
    fakes.got = (struct upt_restored){.partition = id, .ticket = ticket, .progress = {.pos = UPT_POS_NONE}};
    assert_int_equal(upt_lane_make_state(lane, id, &fakes.got.user, &fakes.got.state, NULL), UPT_OK);
    struct upt_part part = {.lane = lane, .id = id, .st = fakes.got.state, .published = {.offset = INT64_MAX}};
    struct upt_event ev = usage("u", "f", 1);
    ev.account_id = UPT_STR("a");
    ev.occurred_at = T0;
    lane->current = &part; /* nothing of it leaves */
    upt_state_begin(part.st, 0, T0);
    assert_true(upt_state_apply(part.st, ev.account_id, &ev));
    upt_state_wall_tick(part.st, T0 + UPT_DAY_MS);
    lane->current = NULL;
    fakes.got_set = true;
}

/* ---- tests ---- */

#define KNOWN "{when: {field: first_seen, known: true}}"

/* Rules are reloaded while a partition is restored. */
static void
restored_by_old_rules(void **state)
{
    (void)state;
    struct upt_scoring old = {0}, new = {0};
    load_scoring("segments:\n  m: " KNOWN "\n  t: " KNOWN "\n", "old", &old);
    load_scoring("segments:\n  a: {when: {field: first_seen, known: false}}\n  t: " KNOWN "\n", "new", &new);
    struct upt_lane *lane = open_lane(&old);
    struct upt_part *part = add_part(lane, 1, 1);
    restored(lane, 1, 1);
    lane->scoring = &new;
    upt_lane_take_restored(lane);
    assert_true(part->active);
    struct upt_account *acct = upt_state_find(part->st, UPT_STR("a"));
    struct upt_health health;
    struct upt_buf json = {0};
    upt_score_explain(part->score, part->st, acct, &health);
    assert_true(upt_str_eq(health.config_hash, UPT_STR("new")));
    upt_score_explain_json(part->score, part->st, acct, &json);
    upt_buf_put(&json, "", 1);
    assert_non_null(strstr(json.p, "\"segments\":\"t\""));
    upt_buf_fini(&json);
    close_lane(lane);
    free_scoring(&old);
    free_scoring(&new);
}

/* A lane with its thread. */
static struct upt_lane *
start_lane(struct upt_scoring *scoring)
{
    struct upt_lane *lane = NULL;
    struct upt_error err;
    load_scoring("rules: {}\n", "hash", scoring);
    atomic_store(&shared.scoring, scoring);
    if (upt_lane_start(&shared, 0, &lane, &err) != UPT_OK) {
        fail_msg("%s", err.msg);
    }
    return lane;
}

/* The consumer is fenced, and there is nothing left to join the group with. */
static void
fenced_and_no_way_back(void **state)
{
    (void)state;
    struct upt_scoring scoring = {0};
    struct upt_error err;
    fakes.fatal = RD_KAFKA_RESP_ERR_NO_ERROR;
    struct upt_lane *lane = start_lane(&scoring);
    fakes.no_restorer = true;
    fakes.fatal = RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
    for (int i = 0; i < 10000 && !upt_lane_ended(lane, &err); i++) {
        upt_sleep_ms(1);
    }
    assert_true(upt_lane_ended(lane, &err));
    assert_int_equal(err.code, UPT_EIO);
    upt_lane_destroy(&lane);
    fakes.no_restorer = false;
    fakes.fatal = RD_KAFKA_RESP_ERR_NO_ERROR;
    free_scoring(&scoring);
}

/* The group refuses what is committed and takes nothing away: after three sessions the lane joins anew. */
static void
refused_for_long(void **state)
{
    (void)state;
    struct upt_scoring scoring = {0};
    struct upt_error err;
    fakes.failure = UPT_FAILURE_LOST;
    atomic_store(&fakes.joins, 0);
    struct upt_lane *lane = start_lane(&scoring);
    for (int i = 0; i < 10000 && atomic_load(&fakes.joins) < 2 && !upt_lane_ended(lane, &err); i++) {
        upt_sleep_ms(1);
    }
    assert_int_equal(atomic_load(&fakes.joins), 2);
    assert_false(upt_lane_ended(lane, &err));
    upt_lane_destroy(&lane);
    free_scoring(&scoring);
}

static void
failed_restore(int32_t id, uint64_t ticket, upt_status status)
{
    fakes.got = (struct upt_restored){.partition = id, .ticket = ticket, .status = status, .err = {.code = status}};
    fakes.got_set = true;
}

/* What went wrong with a partition that is given up concerns nobody. */
static void
errors_of_old_restores(void **state)
{
    (void)state;
    struct upt_scoring scoring = {0};
    load_scoring("rules: {}\n", "hash", &scoring);
    struct upt_lane *lane = open_lane(&scoring);
    failed_restore(0, 1, UPT_EDATA); /* taken away */
    upt_lane_take_restored(lane);
    assert_false(lane->failed);
    struct upt_part *part = add_part(lane, 0, 2);
    failed_restore(0, 1, UPT_EDATA); /* and given back, or restored once more */
    upt_lane_take_restored(lane);
    assert_false(lane->failed);
    failed_restore(0, 2, UPT_EAGAIN);
    upt_lane_take_restored(lane);
    assert_false(lane->failed);
    assert_true(part->restoring);
    failed_restore(0, 2, UPT_EDATA);
    upt_lane_take_restored(lane);
    assert_true(lane->failed);
    assert_int_equal(lane->error.code, UPT_EDATA);
    close_lane(lane);
    free_scoring(&scoring);
}

/* The member was expelled before it heard of its assignment: it has nothing that could be taken away, and the next
 * assignment may take minutes. */
static void
assigned_to_nobody(void **state)
{
    (void)state;
    struct upt_scoring scoring = {0};
    load_scoring("rules: {}\n", "hash", &scoring);
    struct upt_lane *lane = open_lane(&scoring);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, lane->config->input_topic, 0);
    fakes.rebalance(lane->rk, RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS, list, lane); /* librdkafka has no member id */
    rd_kafka_topic_partition_list_destroy(list);
    assert_null(lane->assignment);
    assert_null(lane->parts[0]);
    assert_false(lane->lost); /* or it would join anew before the others have */
    close_lane(lane);
    free_scoring(&scoring);
}

/* Nothing is replayed as long as there is nobody to publish it. */
static void
restored_when_there_is_a_producer(void **state)
{
    (void)state;
    struct upt_scoring scoring = {0};
    load_scoring("rules: {}\n", "hash", &scoring);
    struct upt_lane *lane = open_lane(&scoring);
    (void)add_part(lane, 0, 1);
    fakes.restarts = fakes.asked = 0;
    fakes.failure = UPT_FAILURE_RESET;
    fakes.away = true;
    upt_lane_check_publishers(lane);
    upt_lane_check_publishers(lane);
    assert_true(lane->discarding);
    assert_int_equal(fakes.restarts, 0);
    assert_int_equal(fakes.asked, 0);
    fakes.away = false;
    upt_lane_check_publishers(lane);
    assert_false(lane->discarding);
    assert_int_equal(fakes.restarts, 2);
    assert_int_equal(fakes.asked, 1);
    upt_lane_check_publishers(lane);
    assert_int_equal(fakes.asked, 1);
    close_lane(lane);
    free_scoring(&scoring);
}

/* A partition with a checkpoint of ten minutes ago, at which its state is. */
static struct upt_part *
restored_from_checkpoint(struct upt_lane *lane, struct upt_pos published)
{
    struct upt_part *part = add_part(lane, 0, 1);
    restored(lane, 0, 1);
    fakes.got.checkpoint = (struct upt_checkpoint){.pos = upt_state_pos(fakes.got.state), .clock = T0 + UPT_DAY_MS};
    fakes.got.has_checkpoint = true;
    fakes.got.checkpoint_ms = upt_wall_ms() - 10 * UPT_MINUTE_MS;
    fakes.got.seek_to = 1;
    fakes.got.progress.pos = published;
    upt_lane_take_restored(lane);
    assert_true(part->active);
    return part;
}

static void
apply(struct upt_part *part)
{
    part->lane->current = part;
    upt_state_begin(part->st, part->next_offset++, T0 + 2 * UPT_DAY_MS);
    part->lane->current = NULL;
}

/* Nothing waits for a checkpoint on an idle partition, however old its checkpoint is; else what came after it began. */
static void
age_without_a_checkpoint(void **state)
{
    (void)state;
    struct upt_scoring scoring = {0};
    load_scoring("rules: {}\n", "hash", &scoring);
    struct upt_lane *lane = open_lane(&scoring);
    struct upt_part *part = restored_from_checkpoint(lane, UPT_POS_NONE);
    int64_t now = upt_mono_ms();
    assert_int_equal(upt_part_unstored(part, now), 0);
    assert_int_equal(upt_part_unstored(part, now + UPT_DAY_MS), 0);
    apply(part);
    assert_int_equal(upt_part_unstored(part, now + UPT_DAY_MS + 5000), 5000);
    part->claimed = true;
    upt_part_checkpoint(part, part->checkpoint_due_ms); /* begins */
    assert_true(part->snapshot_on);
    upt_part_checkpoint(part, now);
    assert_true(part->snapshot_sealed);
    apply(part);
    fakes.committed = part->snapshot.pos;
    fakes.committed_set = true;
    upt_part_checkpoint(part, now);
    fakes.committed_set = false;
    assert_false(part->snapshot_on);
    assert_int_equal(upt_part_unstored(part, part->snapshot_began_ms + 7000), 7000);
    close_lane(lane);
    free_scoring(&scoring);
}

/* A process that never lives to its checkpoint: what it replays has waited since the last one. */
static void
age_across_a_restart(void **state)
{
    (void)state;
    struct upt_scoring scoring = {0};
    load_scoring("rules: {}\n", "hash", &scoring);
    struct upt_lane *lane = open_lane(&scoring);
    struct upt_part *part = restored_from_checkpoint(lane, (struct upt_pos){.offset = 7});
    int64_t age = upt_part_unstored(part, upt_mono_ms());
    assert_true(age >= 10 * UPT_MINUTE_MS && age < 11 * UPT_MINUTE_MS);
    close_lane(lane);
    free_scoring(&scoring);
}

/* They are in no lag, so they are told. */
static void
restoring_is_told(void **state)
{
    (void)state;
    struct upt_scoring scoring = {0};
    load_scoring("rules: {}\n", "hash", &scoring);
    struct upt_lane *lane = open_lane(&scoring);
    (void)add_part(lane, 0, 1);
    (void)add_part(lane, 1, 2);
    upt_lane_post(lane, upt_mono_ms());
    assert_int_equal(upt_metrics_total(&lane->metrics, 1, UPT_M_RESTORING), 2);
    close_lane(lane);
    free_scoring(&scoring);
}

static int
set_up(void **state)
{
    (void)state;
    struct upt_error err;
    struct upt_config *config = NULL;
    upt_log_set_level(UPT_LOG_ERROR);
    if (upt_config_default(&config, &err) != UPT_OK ||
        upt_config_set(config, "kafka.bootstrap.servers", "127.0.0.1:1", &err) != UPT_OK ||
        upt_config_set(config, "kafka.session.timeout.ms", "200", &err) != UPT_OK ||
        upt_config_set(config, "redis.url", "redis://127.0.0.1:1", &err) != UPT_OK) {
        print_error("%s\n", err.msg);
        return 1;
    }
    shared = (struct upt_shared){.config = config,
                                 .instance = "uptake-t",
                                 .board = upt_board_create(),
                                 .partitions = PARTS,
                                 .health_schema_id = -1,
                                 .alert_schema_id = -1,
                                 .publish_from_ms = UPT_NO_CLOCK,
                                 .lanes = 1};
    return 0;
}

/* The row of an account that came again is replaced, not deleted. */
static void
reborn_account_keeps_its_row(void **state)
{
    (void)state;
    struct upt_scoring scoring = {0};
    load_scoring("rules: {}\n", "hash", &scoring);
    struct upt_lane *lane = open_lane(&scoring);
    struct upt_part *part = add_part(lane, 0, 1);
    restored(lane, 0, 1); /* with account a */
    lane->discarding = true;
    upt_lane_take_restored(lane);
    struct upt_event ev = usage("u", "f", 1);
    const struct upt_str keys[] = {UPT_STR("a"), UPT_STR("b")};
    struct upt_str gone;
    lane->current = part;
    for (int i = 0; i < 2; i++) {
        upt_state_begin(part->st, 10 * i + 1, T0 + UPT_DAY_MS);
        ev.account_id = keys[i];
        ev.occurred_at = T0 + UPT_DAY_MS;
        assert_true(upt_state_apply(part->st, keys[i], &ev));
        upt_state_begin(part->st, 10 * i + 2, T0 + UPT_DAY_MS);
        upt_state_forget(part->st, keys[i]);
    }
    upt_state_begin(part->st, 20, T0 + UPT_DAY_MS);
    ev.account_id = keys[0];
    assert_true(upt_state_apply(part->st, keys[0], &ev));
    assert_true(upt_part_next_forgotten(part, &gone));
    assert_true(upt_str_eq(gone, keys[1]));
    assert_false(upt_part_next_forgotten(part, &gone));
    close_lane(lane);
    free_scoring(&scoring);
}

/* A checkpoint that finds the ring full leaves the lane to sleep, and goes on when there is room. */
static void
checkpoint_waits_for_room(void **state)
{
    (void)state;
    struct upt_scoring scoring = {0};
    load_scoring("rules: {}\n", "hash", &scoring);
    struct upt_lane *lane = open_lane(&scoring);
    struct upt_part *part = add_part(lane, 0, 1);
    restored(lane, 0, 1);
    upt_lane_take_restored(lane);
    upt_state_snapshot_begin(part->st, false);
    part->snapshot_on = true;
    lane->snapshotting = part;
    fakes.full = true;
    upt_part_checkpoint(part, upt_mono_ms());
    assert_true(part->snapshot_waits);
    assert_false(part->snapshot_sealed);
    fakes.full = false;
    upt_part_checkpoint(part, upt_mono_ms());
    assert_false(part->snapshot_waits);
    assert_true(part->snapshot_sealed);
    close_lane(lane);
    free_scoring(&scoring);
}

/* Rows of moved windows leave within 20 s, a few at once, at the end of a run all. */
static void
rows_of_moved_windows(void **state)
{
    (void)state;
    struct upt_lane lane = {.shared = &shared, .config = shared.config};
    struct upt_part part = {.lane = &lane, .next_offset = 1};
    shared.later_least = 10;
    assert_int_equal(upt_part_rows_due(&part, 5), 10);
    size_t left = 100000, flushes = 0;
    for (; left > 0; flushes++) {
        size_t due = upt_part_rows_due(&part, left);
        left -= due < left ? due : left;
    }
    assert_int_equal(flushes, 20);
    assert_int_equal(upt_part_rows_due(&part, 0), 10);
    assert_int_equal(upt_part_rows_due(&part, 1000), 50); /* of those there are now */
    shared.until_end = true;
    assert_int_equal(upt_part_rows_due(&part, 1000), 1000);
    shared.until_end = false;
}

static int
tear_down(void **state)
{
    (void)state;
    struct upt_config *config = (void *)(uintptr_t)shared.config;
    upt_board_destroy(&shared.board);
    upt_config_destroy(&config);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restored_by_old_rules),
        cmocka_unit_test(fenced_and_no_way_back),
        cmocka_unit_test(refused_for_long),
        cmocka_unit_test(errors_of_old_restores),
        cmocka_unit_test(rows_of_moved_windows),
        cmocka_unit_test(reborn_account_keeps_its_row),
        cmocka_unit_test(checkpoint_waits_for_room),
        cmocka_unit_test(assigned_to_nobody),
        cmocka_unit_test(restored_when_there_is_a_producer),
        cmocka_unit_test(restoring_is_told),
        cmocka_unit_test(age_without_a_checkpoint),
        cmocka_unit_test(age_across_a_restart),
    };
    return cmocka_run_group_tests_name("lane_group", tests, set_up, tear_down);
}
