/* The view's loop: frames from the ring into a batch, the batch into Redis; in between markers, shares and strays. A
 * batch stays until Redis has it; meanwhile the ring fills and the lane keeps what changes as marks. */
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "aggregate/view/internal.h"
#include "uptake/thread.h"
#include "uptake/time.h"

#define BATCH_BYTES ((size_t)1 << 20)
#define IDLE_MS 20

void *upt_view_main(void *arg);

static void
fill_batch(struct upt_view *view)
{
    while (view->batch.len < BATCH_BYTES) {
        size_t len;
        const void *frame = upt_ring_peek(view->ring, &len);
        if (frame == NULL) {
            return;
        }
        upt_buf_put(&view->batch, frame, len);
        upt_ring_release(view->ring);
    }
}

static bool
any_take(struct upt_view *view)
{
    bool any = false;
    pthread_mutex_lock(&view->lock);
    for (size_t i = 0; i < view->parts_n; i++) {
        any = any || (view->parts[i].owned && view->parts[i].take && !view->parts[i].refused);
    }
    pthread_mutex_unlock(&view->lock);
    return any;
}

/* One turn. True: there was work. */
static bool
turn(struct upt_view *view)
{
    if (!upt_view_connect(view)) {
        return false;
    }
    int64_t now = upt_mono_ms();
    if (now - view->checked_ms >= view->config.flush_interval_ms) {
        if (!upt_check_markers(view)) {
            return false;
        }
        view->checked_ms = now;
    }
    if (view->batch.len == 0) {
        fill_batch(view);
    }
    upt_segments_take(view);
    bool work = view->batch.len > 0 || any_take(view);
    if (work && !upt_flush_batch(view)) {
        return false;
    }
    if (now - view->shares_ms >= view->config.flush_interval_ms) {
        view->shares_ms = now;
        if (!upt_refresh_shares(view)) {
            return false;
        }
    }
    if (!upt_view_walk_step(view)) {
        return false;
    }
    view->backoff_ms = 0; /* not on connecting: a server may take connections and refuse every write */
    return work;
}

/* Other views may have changed the totals since, and commands of a broken connection have come late: the last word on
 * the shares, on all of them, is said when all have flushed. A connection that broke is made again, once and without a
 * wait. */
static void
say_last(struct upt_view *view)
{
    bool had = view->redis != NULL;
    view->shares_all_ms = -view->config.repair_interval_ms;
    for (int tries = had ? 2 : 1; tries > 0; tries--) {
        view->retry_ms = 0;
        if (upt_view_connect(view) && upt_refresh_shares(view)) {
            return;
        }
    }
}

void *
upt_view_main(void *arg)
{
    struct upt_view *view = arg;
    upt_thread_name("view");
    while (!atomic_load(&view->stop)) {
        if (turn(view)) {
            continue;
        }
        struct pollfd pfd = {.fd = view->doorbell, .events = POLLIN};
        if (poll(&pfd, 1, atomic_load(&view->hurry) && view->walking ? 1 : IDLE_MS) > 0) {
            uint64_t n;
            (void)!read(view->doorbell, &n, sizeof(n));
        }
    }
    say_last(view);
    if (view->redis != NULL) {
        redisFree(view->redis);
    }
    return NULL;
}
