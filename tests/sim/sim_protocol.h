/* Simulation of the protocol: the real lane, publishers, restorer, view, state and scores in a simulated world.
 *
 * Real, unchanged, linked as they are: ingest/lane*.c; publisher.c, producer.c, restore.c, ends.c, progress.c, client.c
 * of ingest/kafka; aggregate/view, state and score; the encoder of outputs, configuration, board, rings (made smaller).
 *
 * Modelled:
 *   sim_protocol_os.c        threads are coroutines on one thread, time is virtual, a process's memory is an arena that
 *                            a crash throws away; malloc, pthread_*, poll, … are redirected by the linker (--wrap)
 *   sim_protocol_log.c       Kafka's logs: offsets, control records, last stable offset, compaction; the coordinator of
 *                            transactions: epochs, fencing, EndTxn requests that are lost, doubled or late;
 *                            in an eighth of the seeds it is away at times, and whoever is told to stop still ends
 *   sim_protocol_group.c     the group: generations, static members, sessions that expire
 *   sim_protocol_client.c    librdkafka's API on top of these: handles, consumers, the group's member
 *   sim_protocol_producer.c  the same: transactional producers
 *   sim_protocol_redis.c     hiredis' API and Redis: hashes, WATCH/MULTI/EXEC, what the two scripts do; loses writes
 *   sim_protocol_input.c     random logs; the decoder (a value is a number in a table; a schema may come late)
 *   sim_protocol_check.c     what must be true; the comparison with a run of the same log without faults
 *   sim_protocol.c           processes, faults, main
 *
 * Not there: real concurrency of threads (they change places where they wait, take a lock or reach an external effect),
 * the decode plan and the registry, brokers that fail over, topics that lose data, a reload of rules.
 *
 * Every call of these files that has an effect outside the process, or brings something in, is an external effect: a
 * process may crash before or after it, or stand still for longer than its session (then others take over). */
#ifndef UPT_SIM_PROTOCOL_H
#define UPT_SIM_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ingest/lane.h"
#include "uptake/event.h"
#include "uptake/position.h"
#include "uptake/str.h"

#define SIM_PROCS 3
#define SIM_KEYS 1024 /* of Redis */
#define SIM_PARTS 3
#define SIM_RECORDS 1024 /* of one input partition */

/* ---- os ---- */

struct sim_proc {
    int id;
    char instance[32];
    bool alive;
    uint64_t incarnation;
    bool stop_wanted, ended;
    uint64_t has_shared[SIM_KEYS / 64]; /* keys of features whose shares it made: it does so once more when it ends */
    struct upt_error error;             /* of a lane that failed */
    int64_t frozen_until_us;
    int64_t restart_us;
    char *arena, *bump;
    void *free_lists[40];
    uint64_t fds[64];
    bool fd_used[64];
};

extern int64_t sim_now_us, sim_wall_ms;
extern struct sim_proc sim_procs[SIM_PROCS];

void sim_os_init(void);
void sim_os_reset(void);      /* before a run */
void *sim_alloc(size_t len);  /* zeroed; lives as long as the seed */
void sim_alloc_reset(void);   /* a new seed */
uint64_t sim_rnd(uint64_t n); /* 0..n−1 */
bool sim_chance(uint32_t of_a_million);
void sim_seed(uint64_t seed);

struct sim_proc *sim_self(void); /* the process whose coroutine runs; NULL: the scheduler */
void sim_spawn(struct sim_proc *proc, void *(*fn)(void *), void *arg);
void sim_sleep_us(int64_t us);
_Noreturn void sim_die(void);         /* the running process ends here and now */
void sim_kill(struct sim_proc *proc); /* drops its coroutines and memory */
bool sim_turn(int64_t until_us);      /* runs one coroutine, or moves the time on; false: nothing before until_us */

/* ---- external effects ---- */

/* Each has a "before" and an "after". */
#define SIM_POINTS(P)                  \
    P(INIT, "init")                    \
    P(FENCE, "fence")                  \
    P(BEGIN, "output.begin")           \
    P(PRODUCE, "output.produce")       \
    P(FLUSH, "output.flush")           \
    P(OFFSETS, "output.offsets")       \
    P(COMMIT, "output.commit")         \
    P(PLACE, "output.commit.place")    \
    P(ABORT, "output.abort")           \
    P(C_BEGIN, "checkpoint.begin")     \
    P(C_PRODUCE, "checkpoint.produce") \
    P(C_FLUSH, "checkpoint.flush")     \
    P(C_OFFSETS, "checkpoint.offsets") \
    P(C_COMMIT, "checkpoint.commit")   \
    P(C_ABORT, "checkpoint.abort")     \
    P(MARKS, "restore.watermarks")     \
    P(COMMITTED, "restore.committed")  \
    P(READ, "restore.read")            \
    P(SEEK, "restore.seek")            \
    P(ASSIGN, "group.assign")          \
    P(REVOKE, "group.revoke")          \
    P(CONSUME, "input.record")         \
    P(ENDS, "input.ends")              \
    P(R_LOOK, "redis.look")            \
    P(R_TAKE, "redis.take")            \
    P(R_ROWS, "redis.rows")            \
    P(R_SUMS, "redis.sums")            \
    P(R_SCAN, "redis.scan")

enum sim_point {
#define SIM_POINT_ID(id, name) SIM_P_##id,
    SIM_POINTS(SIM_POINT_ID)
#undef SIM_POINT_ID
        SIM_POINT_COUNT
};
extern const char *const sim_point_names[SIM_POINT_COUNT];
/* In the running process, before (false) or after (true) an effect: it may crash or stand still here. */
void sim_effect(enum sim_point point, bool after);

/* How often faults come, per million effects (those of Redis and stop: per million steps of the world, one every few
 * milliseconds); all 0 in a run without faults. */
struct sim_odds {
    uint32_t crash, freeze, lose_reply, late_endtxn, twice, deliver_fail, init_fail;
    uint32_t redis_drop, redis_loss, redis_flushall, stop;
    uint32_t yield; /* between two steps of a thread */
    uint32_t slow;  /* the most microseconds that a wake-up comes late */
    int batch;      /* the most records that a lane gets at once */
    bool wall;      /* places are watched */
    int target;     /* crash at this point (2 × point + after) at its target_hit-th passing; −1: none */
    int target_hit;
    int64_t pack_after_ms; /* idle accounts are packed; 0: never */
};
extern struct sim_odds sim_odds;
extern bool sim_verbose;
void sim_note(const char *fmt, ...) UPT_PRINTF(1, 2); /* with --verbose */
_Noreturn void sim_fail(const char *fmt, ...) UPT_PRINTF(1, 2);

#endif
