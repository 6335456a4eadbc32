/* Coroutines for threads, virtual time, and memory that a crash throws away. See sim_protocol.h.
 *
 * A thread of a simulated process is a coroutine with a stack of its own; it runs until it waits (sleep, poll,
 * condition, join, or an external effect), so a run is a function of its seed. Between the fine steps of a thread (a
 * mutex taken) it may be interrupted too. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "aggregate/state/state.h"
#include "sim_protocol.h"
#include "sim_protocol_os.h"
#include "uptake/assert.h"

#define COS 32
#define STACK_BYTES ((size_t)256 << 10)
#define ARENA_BYTES ((size_t)256 << 20)
#define WORLD_BYTES ((size_t)4 << 30)
#define FD_BASE 100000
#define FDS 64
#define NEVER INT64_MAX

struct co {
    bool used, entered, ended;
    struct sim_proc *proc;
    void *(*fn)(void *);
    void *arg;
    int64_t wake_us;
    const void *cond;
    int fd;
    char *stack;
    jmp_buf env;
    ucontext_t ctx;
};

int64_t sim_now_us, sim_wall_ms;
struct sim_proc sim_procs[SIM_PROCS];
static struct co threads[COS];
static int threads_n; /* the highest in use so far */
static struct co *running;
static jmp_buf scheduler;
static ucontext_t scheduler_ctx;
static char *world, *world_bump;
static char *arenas;
static uint64_t rng;

/* ---- chance ---- */

void
sim_seed(uint64_t seed)
{
    rng = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
    for (int i = 0; i < 8; i++) {
        (void)sim_rnd(2);
    }
}

uint64_t
sim_rnd(uint64_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return n > 0 ? (rng >> 11) % n : 0;
}

bool
sim_chance(uint32_t of_a_million)
{
    return of_a_million > 0 && sim_rnd(1000000) < of_a_million;
}

/* ---- memory ---- */

struct head {
    uint32_t size_class;
    uint32_t back; /* from the pointer given out to the block */
    uint64_t len;
};

static char *
map(size_t len)
{
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    upt_assert(p != MAP_FAILED);
    return p;
}

void *
sim_alloc(size_t len)
{
    char *p = world_bump;
    world_bump += (len + 15) & ~(size_t)15;
    upt_assert(world_bump < world + WORLD_BYTES);
    memset(p, 0, len);
    return p;
}

void
sim_alloc_reset(void)
{
    world_bump = world;
}

/* Blocks are powers of two; a freed one is kept for the next of its size. */
static void *
arena_alloc(struct sim_proc *proc, size_t len, size_t align)
{
    size_t need = len + sizeof(struct head) + (align > 16 ? align : 0);
    uint32_t size_class = 5;
    while (((size_t)1 << size_class) < need) {
        size_class++;
    }
    char *block = proc->free_lists[size_class];
    if (block != NULL) {
        memcpy(&proc->free_lists[size_class], block, sizeof(void *));
    } else {
        block = proc->bump;
        proc->bump += (size_t)1 << size_class;
        if (proc->bump > proc->arena + ARENA_BYTES) {
            sim_fail("a simulated process needs too much memory");
        }
    }
    uintptr_t at = (uintptr_t)block + sizeof(struct head);
    if (align > 16) {
        at = (at + align - 1) & ~(uintptr_t)(align - 1);
    }
    char *p = block + (at - (uintptr_t)block);
    const struct head head = {.size_class = size_class, .back = (uint32_t)(p - block), .len = len};
    memcpy(p - sizeof(head), &head, sizeof(head));
    return p;
}

static bool
in_arena(const void *p)
{
    return (const char *)p >= arenas && (const char *)p < arenas + SIM_PROCS * ARENA_BYTES;
}

static struct head
head_of(const void *p)
{
    struct head head;
    memcpy(&head, (const char *)p - sizeof(head), sizeof(head));
    return head;
}

static void
arena_free(void *p)
{
    struct sim_proc *proc = &sim_procs[(size_t)((char *)p - arenas) / ARENA_BYTES];
    struct head head = head_of(p);
    char *block = (char *)p - head.back;
    memcpy(block, &proc->free_lists[head.size_class], sizeof(void *));
    proc->free_lists[head.size_class] = block;
}

void *
__wrap_malloc(size_t len)
{
    return running != NULL ? arena_alloc(running->proc, len, 16) : __real_malloc(len);
}

void *
__wrap_aligned_alloc(size_t align, size_t len)
{
    return running != NULL ? arena_alloc(running->proc, len, align) : __real_aligned_alloc(align, len);
}

void *
__wrap_calloc(size_t n, size_t len)
{
    if (running == NULL) {
        return __real_calloc(n, len);
    }
    return memset(arena_alloc(running->proc, n * len, 16), 0, n * len);
}

void
__wrap_free(void *p)
{
    if (p != NULL && in_arena(p)) {
        arena_free(p);
    } else {
        __real_free(p);
    }
}

void *
__wrap_realloc(void *p, size_t len)
{
    if (running == NULL || (p != NULL && !in_arena(p))) {
        return __real_realloc(p, len);
    }
    if (p == NULL) {
        return arena_alloc(running->proc, len, 16);
    }
    struct head head = head_of(p);
    if (head.back + len <= (size_t)1 << head.size_class) {
        head.len = len;
        memcpy((char *)p - sizeof(head), &head, sizeof(head));
        return p;
    }
    void *grown = arena_alloc(running->proc, len, 16);
    memcpy(grown, p, head.len < len ? head.len : len);
    arena_free(p);
    return grown;
}

/* ---- coroutines ---- */

struct sim_proc *
sim_self(void)
{
    return running != NULL ? running->proc : NULL;
}

static void
enter(void)
{
    struct co *co = running;
    (void)co->fn(co->arg);
    co->ended = true;
    co->wake_us = NEVER;
    longjmp(scheduler, 1);
}

static struct co *
new_co(struct sim_proc *proc, void *(*fn)(void *), void *arg)
{
    for (int i = 0; i < COS; i++) {
        struct co *co = &threads[i];
        if (!co->used) {
            char *stack = co->stack;
            memset(co, 0, sizeof(*co));
            co->stack = stack;
            co->used = true;
            co->proc = proc;
            co->fn = fn;
            co->arg = arg;
            co->fd = -1;
            co->wake_us = sim_now_us;
            threads_n = i < threads_n ? threads_n : i + 1;
            return co;
        }
    }
    sim_fail("too many threads");
}

void
sim_spawn(struct sim_proc *proc, void *(*fn)(void *), void *arg)
{
    (void)new_co(proc, fn, arg);
}

/* Back to the scheduler; returns when the coroutine is chosen again. */
static void
leave(void)
{
    if (setjmp(running->env) == 0) {
        longjmp(scheduler, 1);
    }
}

void
sim_sleep_us(int64_t us)
{
    if (running == NULL) {
        return;
    }
    running->wake_us = sim_now_us + us + (int64_t)sim_rnd(sim_odds.slow + 1);
    leave();
}

void
sim_die(void)
{
    running->proc->alive = false;
    longjmp(scheduler, 1);
}

void
sim_kill(struct sim_proc *proc)
{
    for (int i = 0; i < COS; i++) {
        if (threads[i].used && threads[i].proc == proc) {
            threads[i].used = false;
        }
    }
    memset(proc->fd_used, 0, sizeof(proc->fd_used));
    memset(proc->fds, 0, sizeof(proc->fds));
    memset(proc->free_lists, 0, sizeof(proc->free_lists));
    proc->bump = proc->arena;
    proc->alive = false;
}

static int64_t
due_us(const struct co *co)
{
    int64_t frozen = co->proc->frozen_until_us;
    return co->wake_us > frozen ? co->wake_us : frozen;
}

static void
switch_to(struct co *co)
{
    running = co;
    if (setjmp(scheduler) == 0) {
        if (co->entered) {
            longjmp(co->env, 1);
        }
        co->entered = true;
        (void)getcontext(&co->ctx);
        co->ctx.uc_stack.ss_sp = co->stack;
        co->ctx.uc_stack.ss_size = STACK_BYTES;
        co->ctx.uc_link = NULL;
        makecontext(&co->ctx, enter, 0);
        (void)swapcontext(&scheduler_ctx, &co->ctx);
    }
    running = NULL;
}

bool
sim_turn(int64_t until_us)
{
    struct co *ready[COS];
    size_t n = 0;
    int64_t next = NEVER;
    for (int i = 0; i < threads_n; i++) {
        if (!threads[i].used || threads[i].ended) {
            continue;
        }
        int64_t due = due_us(&threads[i]);
        if (due <= sim_now_us) {
            ready[n++] = &threads[i];
        }
        next = due < next ? due : next;
    }
    if (n == 0) {
        sim_now_us = next < until_us ? next : until_us;
        return next < until_us;
    }
    sim_now_us += 5;
    switch_to(ready[sim_rnd(n)]);
    return true;
}

void
sim_os_init(void)
{
    arenas = map(SIM_PROCS * ARENA_BYTES);
    world = world_bump = map(WORLD_BYTES);
    for (int i = 0; i < SIM_PROCS; i++) {
        sim_procs[i].id = i;
        sim_procs[i].arena = sim_procs[i].bump = arenas + (size_t)i * ARENA_BYTES;
    }
    for (int i = 0; i < COS; i++) {
        char *stack = map(STACK_BYTES + 4096);
        (void)mprotect(stack, 4096, PROT_NONE);
        threads[i].stack = stack + 4096;
    }
}

void
sim_os_reset(void)
{
    for (int i = 0; i < SIM_PROCS; i++) {
        sim_kill(&sim_procs[i]);
        sim_procs[i].incarnation = 0;
        sim_procs[i].frozen_until_us = sim_procs[i].restart_us = 0;
        sim_procs[i].ended = sim_procs[i].stop_wanted = false;
        memset(sim_procs[i].has_shared, 0, sizeof(sim_procs[i].has_shared));
    }
    threads_n = 0;
    sim_now_us = 1000000;
}

/* ---- what is redirected ---- */

int
__wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    (void)attr;
    *ret = (pthread_t)(new_co(running->proc, fn, arg) - threads) + 1;
    return 0;
}

int
__wrap_pthread_join(pthread_t thread, void **ret)
{
    (void)ret;
    struct co *co = &threads[thread - 1];
    while (!co->ended) {
        sim_sleep_us(1000);
    }
    co->used = false;
    return 0;
}

int
__wrap_pthread_mutex_init(pthread_mutex_t *lock, const pthread_mutexattr_t *attr)
{
    (void)lock, (void)attr;
    return 0;
}

int
__wrap_pthread_mutex_destroy(pthread_mutex_t *lock)
{
    (void)lock;
    return 0;
}

/* Others may come first. */
static void
give_way(uint32_t odds)
{
    if (running != NULL && sim_chance(odds)) {
        sim_sleep_us((int64_t)sim_rnd(200));
    }
}

/* No thread waits while it holds one, so there is nothing to wait for. */
int
__wrap_pthread_mutex_lock(pthread_mutex_t *lock)
{
    (void)lock;
    give_way(sim_odds.yield);
    return 0;
}

int
__wrap_pthread_mutex_unlock(pthread_mutex_t *lock)
{
    (void)lock;
    return 0;
}

int
__wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
{
    (void)cond, (void)attr;
    return 0;
}

int
__wrap_pthread_cond_destroy(pthread_cond_t *cond)
{
    (void)cond;
    return 0;
}

int
__wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock)
{
    (void)lock;
    running->cond = cond;
    running->wake_us = NEVER;
    leave();
    running->cond = NULL;
    return 0;
}

int
__wrap_pthread_cond_signal(pthread_cond_t *cond)
{
    for (int i = 0; i < COS; i++) {
        if (threads[i].used && threads[i].cond == cond) {
            threads[i].wake_us = sim_now_us;
        }
    }
    return 0;
}

int
__wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
    return __wrap_pthread_cond_signal(cond);
}

int
__wrap_eventfd(unsigned count, int flags)
{
    (void)count, (void)flags;
    struct sim_proc *proc = running->proc;
    for (int i = 0; i < FDS; i++) {
        if (!proc->fd_used[i]) {
            proc->fd_used[i] = true;
            proc->fds[i] = 0;
            return FD_BASE + i;
        }
    }
    sim_fail("too many file descriptors");
}

int
__wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    if (n != 1 || fds[0].fd < FD_BASE) {
        return __real_poll(fds, n, timeout_ms);
    }
    uint64_t *count = &running->proc->fds[fds[0].fd - FD_BASE];
    if (*count == 0) {
        running->fd = fds[0].fd;
        sim_sleep_us((int64_t)timeout_ms * 1000);
        running->fd = -1;
    }
    fds[0].revents = *count > 0 ? POLLIN : 0;
    return *count > 0 ? 1 : 0;
}

ssize_t
__wrap_read(int fd, void *buf, size_t len)
{
    if (fd < FD_BASE) {
        return __real_read(fd, buf, len);
    }
    memcpy(buf, &running->proc->fds[fd - FD_BASE], sizeof(uint64_t));
    running->proc->fds[fd - FD_BASE] = 0;
    return sizeof(uint64_t);
}

ssize_t
__wrap_write(int fd, const void *buf, size_t len)
{
    if (fd < FD_BASE) {
        return __real_write(fd, buf, len);
    }
    running->proc->fds[fd - FD_BASE]++;
    for (int i = 0; i < COS; i++) {
        if (threads[i].used && threads[i].proc == running->proc && threads[i].fd == fd &&
            threads[i].wake_us > sim_now_us) {
            threads[i].wake_us = sim_now_us + (int64_t)sim_rnd(sim_odds.slow + 1);
        }
    }
    return (ssize_t)len;
}

int
__wrap_close(int fd)
{
    if (fd < FD_BASE) {
        return __real_close(fd);
    }
    running->proc->fd_used[fd - FD_BASE] = false;
    return 0;
}

int64_t
__wrap_upt_mono_ms(void)
{
    return sim_now_us / 1000;
}

int64_t
__wrap_upt_mono_us(void)
{
    return sim_now_us;
}

int64_t
__wrap_upt_wall_ms(void)
{
    return sim_wall_ms;
}

void
__wrap_upt_sleep_ms(int64_t ms)
{
    sim_sleep_us(ms * 1000);
}

/* Rings are a 512th of their size, and so is the room that a checkpoint waits for: they are to be full at times. */
upt_status
__wrap_upt_ring_create(size_t capacity, struct upt_ring **ret, struct upt_error *reterr)
{
    return __real_upt_ring_create(capacity / 512, ret, reterr);
}

void
__wrap_upt_ring_commit(struct upt_ring *ring, size_t len)
{
    __real_upt_ring_commit(ring, len);
    give_way(sim_odds.yield / 8);
}

const void *
__wrap_upt_ring_peek(struct upt_ring *ring, size_t *ret_len)
{
    const void *frame = __real_upt_ring_peek(ring, ret_len);
    if (frame != NULL) {
        give_way(sim_odds.yield / 8);
    }
    return frame;
}

bool
__wrap_upt_publisher_has_room(struct upt_publisher *pub, size_t len)
{
    return __real_upt_publisher_has_room(pub, len / 256);
}

/* The few accounts of a log fill no ring: now and then a flush has to wait in its midst all the same. */
bool
__wrap_upt_view_has_room(const struct upt_view *view)
{
    return !sim_chance(sim_odds.yield * 4) && __real_upt_view_has_room(view);
}

/* Accounts are packed soon, and all that are idle at once: a log is over within seconds. */
upt_status
__wrap_upt_state_create(const struct upt_state_config *config, struct upt_state **ret, struct upt_error *reterr)
{
    struct upt_state_config soon = *config;
    soon.pack_after_ms = sim_odds.pack_after_ms;
    return __real_upt_state_create(&soon, ret, reterr);
}

size_t
__wrap_upt_state_pack(struct upt_state *st, size_t n)
{
    return __real_upt_state_pack(st, n + 100);
}

/* The time of detection is the one field that is not a function of the log. */
void
__wrap_upt_encode_alert(struct upt_buf *out, int32_t schema_id, const struct upt_alert *alert, int64_t detected_at)
{
    (void)detected_at;
    __real_upt_encode_alert(out, schema_id, alert, 0);
}
