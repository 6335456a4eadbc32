/* Seeded simulation of the state machine and the protocol, with a crash at every external effect. See sim_protocol.h
 * for what is real and what is modelled.
 *
 *   sim_protocol [--first SEED] [--seeds N] [--latest] [--verbose] [--stats]
 *
 * --latest: `start` is latest, and the first process has claimed its partitions when the log was still empty.
 *
 * Each seed: a random log, a random configuration, one to three processes. While the log grows, processes crash, stand
 * still, are stopped and come back; transactions are refused or end without an answer; Redis loses writes. Then faults
 * stop, what is left is done, and the outcome is compared with that of one process that met no fault. A failure prints
 * its seed; `--first SEED --seeds 1 --verbose` replays it: nothing depends on anything but the seed. In a run of 1,000
 * seeds or more every crash point must have been used.
 *
 * Seen to fail, with one fault planted at a time:
 *   within 10 seeds     outputs at or before C not left out; C committed before the outputs; an epoch not raised; the
 *                       place of a wall tick not committed before its rows, or not with its outputs; a checkpoint that
 *                       does not wait for C; a restore that begins one record late
 *   within 100 seeds    rows below the floor; a flush that ends ahead of the rows written; a checkpoint sealed although
 *                       records were lost; failed deliveries of outputs ignored; a failed snapshot taken for stored; an
 *                       unknown outcome taken for success; markers not compared; offsets without group metadata; no
 *                       wait for the last stable offset
 *   within 1,500 seeds  no new epoch after a doubled EndTxn; batches of a lost assignment kept, with refreshed metadata
 *                       or without; sums written after the marker; a state taken without a seek, when told to stop
 * Not seen: a dead owner that is not fenced. It costs time and nothing else. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ingest/kafka/progress.h"
#include "sim_protocol_check.h"
#include "sim_protocol_input.h"
#include "uptake/assert.h"
#include "uptake/board.h"
#include "uptake/log.h"
#include "uptake/time.h"

#define SETTLE_US INT64_C(180000000)
#define AWAY_US 30000000
#define STOP_US INT64_C(15000000)
#define STARTS_AGAIN 3
#define ALL_POINTS_SEEDS 1000

struct plan {
    int parts, procs;
    bool wall, until_end;
    bool sweep; /* sweep: everything is asserted often; in the other seeds, what was missed stays missing */
    bool away;  /* now and then the coordinator is */
    struct sim_odds odds;
    int64_t pace_us;    /* between two records, on average */
    int tail;           /* steps of the wall after the last record */
    int64_t recover_us; /* the longest that a crashed process stays away */
};

enum phase { PHASE_INPUT, PHASE_TAIL, PHASE_SETTLE, PHASE_STOP, PHASE_END };

const char *const sim_point_names[SIM_POINT_COUNT] = {
#define SIM_POINT_NAME(id, name) name,
    SIM_POINTS(SIM_POINT_NAME)
#undef SIM_POINT_NAME
};
struct sim_odds sim_odds;
bool sim_verbose;
static bool latest;
static uint64_t seed_now;
static uint64_t passed[SIM_POINT_COUNT][2], crashed[SIM_POINT_COUNT][2];
static uint64_t outputs_seen[SIM_T_COUNT], places_seen, freezes, restarts;
static struct upt_config *config;
static struct upt_scoring scoring;
static struct plan plan;
static struct {
    enum phase phase;
    int64_t step_us, send_us, phase_us, started_us; /* started: a process, or the phase */
    size_t sent;
    int tail;
    bool reference;
    int again;                  /* starts after the end */
    int64_t told_us[SIM_PROCS]; /* to stop; or now */
} run;

void
sim_note(const char *fmt, ...)
{
    if (!sim_verbose) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    printf("%10.6f ", (double)sim_now_us / 1e6);
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

void
sim_fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("seed %llu%s: ", (unsigned long long)seed_now, run.reference ? " (the run without faults)" : "");
    vprintf(fmt, args);
    printf("\nreplay: sim_protocol --first %llu --seeds 1%s --verbose\n", (unsigned long long)seed_now,
           latest ? " --latest" : "");
    va_end(args);
    fflush(stdout);
    _Exit(1);
}

/* An assertion of the product: its seed is wanted, too. */
static void
on_abort(int signal_number)
{
    (void)signal_number;
    sim_fail("the program aborts");
}

/* ---- faults of a process ---- */

static void
crash(struct sim_proc *proc, enum sim_point point, bool after)
{
    crashed[point][after]++;
    proc->restart_us = sim_now_us + (int64_t)(sim_rnd(3) > 0 ? sim_rnd(50000) : sim_rnd((uint64_t)plan.recover_us));
    sim_note("%s crashes %s %s", proc->instance, after ? "after" : "before", sim_point_names[point]);
    sim_die();
}

void
sim_effect(enum sim_point point, bool after)
{
    struct sim_proc *proc = sim_self();
    if (proc == NULL) {
        return;
    }
    passed[point][after]++;
    if (sim_odds.crash > 0 &&
        ((sim_odds.target == 2 * (int)point + after && --sim_odds.target_hit == 0) || sim_chance(sim_odds.crash))) {
        crash(proc, point, after);
    }
    if (sim_chance(sim_odds.freeze)) {
        proc->frozen_until_us = sim_now_us + (int64_t)sim_rnd((uint64_t)sim_session_us * 5 / 2);
        freezes++;
        sim_note("%s stands still %s %s for %lld ms", proc->instance, after ? "after" : "before",
                 sim_point_names[point], (long long)(proc->frozen_until_us - sim_now_us) / 1000);
        sim_sleep_us(0);
    }
    if (sim_chance(sim_odds.yield)) {
        sim_sleep_us((int64_t)sim_rnd(1000));
    }
}

/* ---- a process ---- */

static void
run_lane(struct sim_proc *proc, struct upt_shared *shared)
{
    struct upt_lane *lane = NULL;
    if (upt_lane_start(shared, 0, &lane, &proc->error) != UPT_OK) {
        return;
    }
    while (!upt_lane_ended(lane, &proc->error)) {
        if (proc->stop_wanted) {
            upt_lane_stop(lane);
        }
        upt_sleep_ms(20);
    }
    upt_lane_destroy(&lane);
}

static void *
process_main(void *arg)
{
    struct sim_proc *proc = arg;
    struct upt_shared shared = {.config = config,
                                .instance = proc->instance,
                                .board = upt_board_create(),
                                .partitions = plan.parts,
                                .health_schema_id = -1,
                                .alert_schema_id = -1,
                                .until_end = plan.until_end,
                                .later_least = seed_now / 64 % 2 == 0 ? !plan.until_end : UPT_LATER_LEAST,
                                .publish_from_ms = UPT_NO_CLOCK,
                                .lanes = 1,
                                .scoring = &scoring};
    if (upt_ends_create(config, plan.parts, &shared.ends, &proc->error) == UPT_OK) {
        run_lane(proc, &shared);
        upt_ends_destroy(&shared.ends);
    }
    upt_board_destroy(&shared.board);
    proc->ended = true;
    return NULL;
}

static void
start_process(struct sim_proc *proc)
{
    sim_kill(proc);
    proc->incarnation++;
    proc->alive = true;
    proc->ended = proc->stop_wanted = false;
    memset(proc->has_shared, 0, sizeof(proc->has_shared));
    proc->frozen_until_us = 0;
    memset(&proc->error, 0, sizeof(proc->error));
    snprintf(proc->instance, sizeof(proc->instance), "uptake-%c", 'a' + proc->id);
    sim_note("%s starts", proc->instance);
    restarts++;
    run.started_us = sim_now_us;
    sim_spawn(proc, process_main, proc);
}

/* What a turn left behind: crashed and ended processes. */
static void
reap(void)
{
    for (int i = 0; i < plan.procs; i++) {
        struct sim_proc *proc = &sim_procs[i];
        if (proc->alive && proc->ended) {
            sim_note("%s has ended: %s", proc->instance, proc->error.code != UPT_OK ? proc->error.msg : "asked to");
            if (proc->error.code != UPT_OK) {
                sim_fail("a lane failed: %s", proc->error.msg);
            }
            proc->restart_us = sim_now_us + (int64_t)sim_rnd((uint64_t)plan.recover_us);
            sim_kill(proc);
        } else if (!proc->alive && proc->bump != proc->arena) {
            sim_kill(proc);
        }
    }
}

/* ---- the world's steps ---- */

static void
stop_one(void)
{
    struct sim_proc *proc = &sim_procs[sim_rnd((uint64_t)plan.procs)];
    if (proc->alive && !proc->ended) {
        sim_note("%s is asked to stop", proc->instance);
        proc->stop_wanted = true;
    }
}

/* Whatever is away, who is told to stop ends before long. */
static void
check_stops(void)
{
    for (int i = 0; i < plan.procs; i++) {
        const struct sim_proc *proc = &sim_procs[i];
        if (!proc->alive || proc->ended || !proc->stop_wanted || proc->frozen_until_us > sim_now_us) {
            run.told_us[i] = sim_now_us;
        } else if (sim_now_us - run.told_us[i] > STOP_US) {
            sim_fail("%s was told to stop %lld s ago", proc->instance, (long long)STOP_US / 1000000);
        }
    }
}

static void
disturb(void)
{
    if (sim_chance(sim_odds.redis_loss)) {
        sim_redis_lose();
    }
    if (sim_chance(sim_odds.redis_flushall)) {
        sim_redis_flushall();
    }
    if (sim_chance(sim_odds.stop)) {
        stop_one();
    }
    if (plan.away && sim_odds.crash > 0 && sim_rnd(500) == 0) {
        sim_away_until_us = sim_now_us + (int64_t)sim_rnd(AWAY_US);
        sim_note("the coordinator is away for %lld ms", (long long)(sim_away_until_us - sim_now_us) / 1000);
    }
    if (sim_now_us < sim_away_until_us && sim_rnd(1000) == 0) {
        stop_one(); /* someone loses patience */
    }
    if (sim_odds.crash > 0 && sim_rnd(40) == 0) {
        sim_redis_snapshot();
    }
    if (sim_odds.crash > 0 && sim_rnd(60) == 0) {
        sim_log_compact((int)sim_rnd((uint64_t)plan.parts));
    }
}

static void
next_phase(void)
{
    run.phase++;
    run.phase_us = run.started_us = sim_now_us;
    sim_note("phase %d", (int)run.phase);
    if (run.phase == PHASE_SETTLE) {
        uint32_t slow = sim_odds.slow;
        bool wall = sim_odds.wall;
        int batch = sim_odds.batch;
        sim_odds = (struct sim_odds){.slow = slow, .wall = wall, .batch = batch, .target = -1};
        for (int i = 0; i < plan.procs; i++) {
            sim_procs[i].frozen_until_us = 0;
            sim_procs[i].restart_us = sim_now_us; /* also the last of them to crash takes its partitions up again */
        }
    } else if (run.phase == PHASE_STOP) {
        for (int i = 0; i < plan.procs; i++) {
            sim_procs[i].stop_wanted = true;
        }
    }
}

/* The wall follows the records; where a long time passes between two of them, it takes a step or two of its own. */
static void
send_next(void)
{
    int64_t ts = sim_input[run.sent].rec.ts;
    if (plan.wall && ts - sim_wall_ms > 300000 && sim_rnd(3) > 0) {
        sim_wall_ms += 60000 + (int64_t)sim_rnd((uint64_t)(ts - sim_wall_ms));
        run.send_us = sim_now_us + (int64_t)sim_rnd(1000000);
        return;
    }
    sim_wall_ms = ts > sim_wall_ms ? ts : sim_wall_ms;
    sim_input_send(run.sent++);
    run.send_us = sim_now_us + (int64_t)sim_rnd((uint64_t)plan.pace_us * 2);
}

static bool
all_ended(void)
{
    bool ended = true;
    for (int i = 0; i < plan.procs; i++) {
        ended = ended && !sim_procs[i].alive;
    }
    return ended;
}

/* The minute that the wall alone brings at the end of the log. */
static int64_t
last_tick(void)
{
    return plan.wall ? upt_floor_div(sim_wall_ms - config->tick_grace_ms, UPT_MINUTE_MS) * UPT_MINUTE_MS : INT64_MIN;
}

static void
step(void)
{
    for (int i = 0; i < plan.procs && run.phase < PHASE_STOP; i++) {
        if (!sim_procs[i].alive && sim_now_us >= sim_procs[i].restart_us) {
            start_process(&sim_procs[i]);
        }
    }
    disturb();
    check_stops();
    while (run.phase == PHASE_INPUT && sim_now_us >= run.send_us) {
        if (run.sent == sim_input_n) {
            next_phase();
        } else {
            send_next();
        }
    }
    if (run.phase == PHASE_TAIL && sim_now_us >= run.send_us) {
        if (run.tail-- == 0) {
            next_phase();
        } else {
            sim_wall_ms += (int64_t)sim_rnd(plan.wall ? 172800000 : 1);
            run.send_us = sim_now_us + 300000 + (int64_t)sim_rnd(1200000);
        }
    }
    if (run.phase == PHASE_SETTLE && sim_now_us - run.started_us > 4000000 && sim_check_settled(last_tick())) {
        next_phase();
    }
    if (run.phase == PHASE_STOP && all_ended()) {
        /* What changed totals last may know nothing of a feature whose owner was away: the next start mends that. */
        bool again = !sim_redis_shares_settled() && run.again++ < STARTS_AGAIN;
        run.phase = again ? PHASE_TAIL : run.phase;
        next_phase();
    }
    if (run.phase >= PHASE_SETTLE && run.phase < PHASE_END && sim_now_us - run.phase_us > SETTLE_US) {
        sim_fail("what was left was not done when faults had stopped");
    }
}

static struct sim_result
run_world(bool reference)
{
    memset(&run, 0, sizeof(run));
    run.reference = reference;
    sim_os_reset();
    sim_kafka_reset(plan.parts);
    sim_redis_reset();
    run.step_us = run.send_us = sim_now_us;
    run.tail = plan.tail;
    sim_taken = sim_woken = 0;
    sim_wall_ms = sim_input_n > 0 ? sim_input[0].rec.ts : 0;
    return (struct sim_result){{{0}}, {0}};
}

static struct sim_result
finish_world(void)
{
    while (run.phase != PHASE_END) {
        if (sim_now_us >= run.step_us || !sim_turn(run.step_us)) {
            step();
            sim_txn_tick();
            sim_group_tick();
            sim_redis_tick();
            run.step_us = sim_now_us + 1000 + (int64_t)sim_rnd(6000);
        }
        reap();
    }
    if (run.reference && sim_taken > 0 && sim_woken == 0) {
        sim_fail("%llu records were taken, and nothing kept the reading awake", (unsigned long long)sim_taken);
    }
    return sim_check_take();
}

/* ---- one seed ---- */

static void
choose_odds(uint64_t seed)
{
    static const uint32_t rare[] = {0, 0, 200, 1000, 4000};
    static const int64_t idle[] = {1, UPT_MINUTE_MS, UPT_HOUR_MS, UPT_DAY_MS};
    struct sim_odds *odds = &plan.odds;
    *odds = (struct sim_odds){.crash = (uint32_t)sim_rnd(6) == 0 ? 2000 : 200,
                              .freeze = rare[sim_rnd(5)] / 4,
                              .lose_reply = (uint32_t)sim_rnd(3) == 0 ? 60000 : 4000,
                              .late_endtxn = 400000,
                              .twice = rare[sim_rnd(5)] * 20,
                              .deliver_fail = rare[sim_rnd(5)] * 10,
                              .init_fail = rare[sim_rnd(5)] * 10,
                              .redis_drop = rare[sim_rnd(5)] * 10,
                              .redis_loss = rare[sim_rnd(4)],
                              .redis_flushall = rare[sim_rnd(4)] / 2,
                              .stop = rare[sim_rnd(4)],
                              .yield = (uint32_t)sim_rnd(3) == 0 ? 0 : 100000,
                              .slow = 4000u << sim_rnd(4),
                              .batch = 1 + (int)sim_rnd(12),
                              .wall = true,
                              .target = (int)(seed % (2 * SIM_POINT_COUNT)),
                              .target_hit = sim_rnd(2) == 0 ? 1 : 1 + (int)sim_rnd(UINT64_C(1) << sim_rnd(7)),
                              .pack_after_ms = idle[seed / 16 % 4]}; /* no draw: seeds of faults stay what they are */
    if (sim_rnd(4) == 0) { /* what is rare comes together: one fault while another is being answered */
        odds->deliver_fail = odds->deliver_fail * 4 + 20000;
        odds->init_fail = odds->init_fail * 4 + 20000;
        odds->redis_drop = odds->redis_drop * 4 + 20000;
        odds->redis_loss = odds->redis_loss * 4 + 1000;
        odds->stop = odds->stop * 4 + 1000;
    }
    int point = odds->target / 2;
    if (point == SIM_P_ABORT || point == SIM_P_C_ABORT || point == SIM_P_FENCE || point == SIM_P_REVOKE) {
        odds->freeze = 2000; /* these come when others take over */
        odds->target_hit = 1;
        plan.procs = plan.procs < 2 ? 2 : plan.procs;
    }
}

static void
choose_config(void)
{
    static const int64_t dedup[] = {600000, 3600000, 60000};
    config->publish_interval_ms = (int64_t)sim_rnd(50);
    config->checkpoint_interval_ms = 100 + (int64_t)sim_rnd(2500);
    config->flush_interval_ms = 50 + (int64_t)sim_rnd(700);
    config->dedup_window_ms = dedup[sim_rnd(3)];
    config->retention_ms = sim_rnd(3) > 0 ? 400 * UPT_DAY_MS : (int64_t)(3 + sim_rnd(12)) * UPT_DAY_MS;
    config->repair_interval_ms = plan.sweep ? 3000 : 600000;
    config->tick_grace_ms = (int64_t)sim_rnd(6) * 1000;
    memcpy(config->clock, plan.wall ? "wall" : "log", plan.wall ? 5 : 4);
}

static void
choose(uint64_t seed)
{
    sim_seed(seed);
    plan.parts = 1 + (int)sim_rnd(SIM_PARTS);
    plan.procs = 1 + (int)sim_rnd(SIM_PROCS);
    plan.wall = sim_rnd(2) == 0;
    plan.sweep = sim_rnd(3) == 0;
    plan.until_end = !plan.wall && sim_rnd(3) == 0;
    plan.pace_us = 1000 + (int64_t)sim_rnd(25000);
    plan.tail = 1 + (int)sim_rnd(6);
    plan.recover_us = 5000000;
    plan.away = seed % 8 == 5;
    choose_odds(seed);
    choose_config();
    sim_input_make(plan.parts);
}

/* What an owner before has left. For the log without faults, which is one process with all records there at once: the
 * wall ticks where they were. */
static void
preload(void)
{
    for (int p = 0; p < plan.parts; p++) {
        size_t n;
        const struct upt_place *places = sim_check_places(p, &n);
        struct upt_progress progress = {.epoch = latest ? 1 : 0, .pos = UPT_POS_NONE, .released = true, .places_n = n};
        struct upt_buf value = {0};
        progress.places = sim_alloc((n + 1) * sizeof(*places));
        memcpy(progress.places, places, n * sizeof(*places));
        upt_progress_encode(&progress, &value);
        (void)sim_log_append(SIM_T_STATE, p,
                             &(struct sim_rec){.key = UPT_STR("c"),
                                               .value = {.p = value.p, .len = (uint32_t)value.len},
                                               .state = SIM_COMMITTED});
        upt_buf_fini(&value);
        places_seen += n;
    }
}

static void
play(uint64_t seed)
{
    seed_now = seed;
    sim_alloc_reset();
    choose(seed);
    sim_check_begin(config->retention_ms < 100 * UPT_DAY_MS);
    (void)run_world(false);
    sim_check_reset();
    if (latest) {
        preload();
    }
    sim_odds = plan.odds;
    struct sim_result got = finish_world();

    sim_note("the same without faults");
    (void)run_world(true);
    preload();
    sim_check_reset();
    sim_odds = (struct sim_odds){.slow = 5000, .batch = 1000, .target = -1};
    plan.procs = 1;
    plan.wall = plan.until_end = false;
    plan.pace_us = 1;
    plan.tail = run.tail = 0;
    memcpy(config->clock, "log", 4);
    struct sim_result want = finish_world();
    sim_check_same(&got, &want);
    for (int t = SIM_T_ALERTS; t < SIM_T_COUNT; t++) {
        for (size_t i = 0; i < got.outputs[t].n; i++) {
            outputs_seen[t] += got.outputs[t].v[i].state == SIM_COMMITTED ? 1 : 0;
        }
    }
}

static void
print_points(void)
{
    for (int i = 0; i < SIM_POINT_COUNT; i++) {
        printf("%-22s before: %10llu passed %7llu crashes   after: %10llu passed %7llu crashes\n", sim_point_names[i],
               (unsigned long long)passed[i][0], (unsigned long long)crashed[i][0], (unsigned long long)passed[i][1],
               (unsigned long long)crashed[i][1]);
    }
}

static bool
every_point_used(void)
{
    bool all = true;
    for (int i = 0; i < 2 * SIM_POINT_COUNT; i++) {
        if (crashed[i / 2][i % 2] == 0) {
            printf("no process ever crashed %s %s\n", i % 2 == 0 ? "before" : "after", sim_point_names[i / 2]);
            all = false;
        }
    }
    return all;
}

/* Segments that accounts of these logs enter and leave, by records, hours and days. */
static const char segments[] =
    "segments:\n"
    "  busy: {when: {field: events_24h, from: 2}}\n"
    "  narrow: {when: {not: {field: features_30d, from: 2}}}\n"
    "  quiet: {when: {any: [{field: key_event_age_days, from: 1}, {field: users_7d, to: 1}]}}\n";

static upt_status
load_rules(struct upt_error *err)
{
    char path[] = "/tmp/upt-sim-rules-XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    upt_assert(file != NULL);
    fputs(segments, file);
    fclose(file);
    upt_status status = upt_rules_load(path, &scoring.rules, err);
    (void)unlink(path);
    return status;
}

static void
load(void)
{
    struct upt_error err;
    if (upt_config_default(&config, &err) != UPT_OK ||
        upt_config_set(config, "kafka.session.timeout.ms", "3000", &err) != UPT_OK ||
        upt_config_set(config, "clock", "wall", &err) != UPT_OK ||
        upt_config_set(config, "start", latest ? "latest" : "earliest", &err) != UPT_OK ||
        upt_model_load(NULL, &scoring.model, &err) != UPT_OK || load_rules(&err) != UPT_OK) {
        printf("%s\n", err.msg);
        exit(1);
    }
    snprintf(scoring.config_hash, sizeof(scoring.config_hash), "%016d", 1);
    sim_session_us = 3000000;
}

int
main(int argc, char **argv)
{
    uint64_t first = 1, seeds = 1;
    bool stats = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--first") == 0 && i + 1 < argc) {
            first = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            seeds = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--stats") == 0) {
            stats = true;
        } else if (strcmp(argv[i], "--latest") == 0) {
            latest = true;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            sim_verbose = true;
        } else {
            printf("sim_protocol [--first SEED] [--seeds N] [--latest] [--verbose] [--stats]\n");
            return 64;
        }
    }
    setvbuf(stdout, NULL, _IOLBF, 4096);
    (void)signal(SIGABRT, on_abort);
    upt_log_set_level(sim_verbose ? UPT_LOG_DEBUG : UPT_LOG_ERROR);
    upt_log_set_json(0);
    sim_os_init();
    load();
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        play(seed);
    }
    if (stats) {
        print_points();
    }
    printf("%llu seeds, no difference; %llu alerts, %llu health records, %llu dead letters, %llu wall ticks' places, "
           "%llu starts, %llu stalls\n",
           (unsigned long long)seeds, (unsigned long long)outputs_seen[SIM_T_ALERTS],
           (unsigned long long)outputs_seen[SIM_T_HEALTH], (unsigned long long)outputs_seen[SIM_T_DEAD],
           (unsigned long long)places_seen, (unsigned long long)restarts, (unsigned long long)freezes);
    return seeds < ALL_POINTS_SEEDS || every_point_used() ? 0 : 1;
}
