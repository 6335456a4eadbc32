/* The board between the lanes and the admin port.
 *
 * One mutex for all of it: lanes post about once a second and the admin thread copies out, so nobody ever waits for
 * longer than a copy; per-event numbers go through the metrics sets, which need no lock. Everything is copied in and
 * out, no pointer into the board leaves it, but for the metrics sets, which live as long as the board.
 * Bounds: the newest UPT_BOARD_ALERTS alerts; one entry for each partition and lane. Any thread. */
#include "uptake/board.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "uptake/assert.h"
#include "uptake/outcomes.h"
#include "uptake/time.h"

struct lane {
    bool known; /* has called */
    bool ready;
    int64_t beat_ms; /* monotonic */
    char why_not[160];
};

struct upt_board {
    pthread_mutex_t mutex; /* @locks all below */
    struct upt_metrics *sets[UPT_BOARD_SETS];
    size_t sets_n;
    struct upt_outcomes *outcomes; /* has its own locks */
    struct upt_board_model model;
    struct upt_board_partition *parts; /* sorted by partition */
    size_t parts_n;
    struct lane *lanes; /* by number */
    size_t lanes_n;
    struct upt_buf alerts[UPT_BOARD_ALERTS];
    struct upt_buf asked, answer; /* the last question's account; the answer to question answer_to */
    uint64_t answer_to;
    _Atomic uint64_t question; /* number of the last one; written under the lock, read without */
    size_t alerts_n;           /* posted so far; the newest lies at (alerts_n − 1) mod UPT_BOARD_ALERTS */
};

/* Grows an array to n items; the board is small and made at start, so running out of memory ends the process. */
static void *
grow(void *items, size_t n, size_t size)
{
    void *grown = realloc(items, n * size);
    if (grown == NULL) {
        upt_panic(__FILE__, __LINE__, "out of memory for the board");
    }
    return grown;
}

static void
lock(struct upt_board *board)
{
    int err = pthread_mutex_lock(&board->mutex);
    upt_assert(err == 0);
}

static void
unlock(struct upt_board *board)
{
    int err = pthread_mutex_unlock(&board->mutex);
    upt_assert(err == 0);
}

struct upt_board *
upt_board_create(void)
{
    struct upt_board *board = grow(NULL, 1, sizeof(*board));
    *board = (struct upt_board){.outcomes = upt_outcomes_create()};
    int err = pthread_mutex_init(&board->mutex, NULL);
    upt_assert(err == 0);
    return board;
}

void
upt_board_destroy(struct upt_board **board_p)
{
    struct upt_board *board = *board_p;
    if (board == NULL) {
        return;
    }
    for (size_t i = 0; i < board->sets_n; i++) {
        free(board->sets[i]);
    }
    for (size_t i = 0; i < UPT_BOARD_ALERTS; i++) {
        upt_buf_fini(&board->alerts[i]);
    }
    upt_outcomes_destroy(&board->outcomes);
    upt_buf_fini(&board->asked);
    upt_buf_fini(&board->answer);
    free(board->parts);
    free(board->lanes);
    (void)pthread_mutex_destroy(&board->mutex);
    free(board);
    *board_p = NULL;
}

struct upt_metrics *
upt_board_metrics(struct upt_board *board)
{
    struct upt_metrics *set = aligned_alloc(_Alignof(struct upt_metrics), sizeof(*set));
    if (set == NULL) {
        upt_panic(__FILE__, __LINE__, "out of memory for metrics");
    }
    upt_metrics_init(set);
    set->outcomes = board->outcomes;
    lock(board);
    upt_assert(board->sets_n < UPT_BOARD_SETS);
    board->sets[board->sets_n++] = set;
    unlock(board);
    return set;
}

struct upt_outcomes *
upt_board_outcomes(struct upt_board *board)
{
    return board->outcomes;
}

void
upt_board_set_model(struct upt_board *board, const struct upt_board_model *model)
{
    lock(board);
    board->model = *model;
    unlock(board);
}

struct upt_board_model
upt_board_get_model(struct upt_board *board)
{
    lock(board);
    struct upt_board_model model = board->model;
    unlock(board);
    return model;
}

/* Where the partition stands, or would stand. */
static size_t
place_of(const struct upt_board *board, int32_t partition)
{
    size_t low = 0;
    size_t high = board->parts_n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (board->parts[middle].partition < partition) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void
upt_board_set_partition(struct upt_board *board, const struct upt_board_partition *part)
{
    lock(board);
    size_t at = place_of(board, part->partition);
    if (at == board->parts_n || board->parts[at].partition != part->partition) {
        board->parts = grow(board->parts, board->parts_n + 1, sizeof(*board->parts));
        memmove(board->parts + at + 1, board->parts + at, (board->parts_n - at) * sizeof(*board->parts));
        board->parts_n++;
    }
    board->parts[at] = *part;
    unlock(board);
}

void
upt_board_drop_partition(struct upt_board *board, int32_t partition)
{
    lock(board);
    size_t at = place_of(board, partition);
    if (at < board->parts_n && board->parts[at].partition == partition) {
        memmove(board->parts + at, board->parts + at + 1, (board->parts_n - at - 1) * sizeof(*board->parts));
        board->parts_n--;
    }
    unlock(board);
}

void
upt_board_alert(struct upt_board *board, struct upt_str json)
{
    lock(board);
    struct upt_buf *slot = &board->alerts[board->alerts_n % UPT_BOARD_ALERTS];
    upt_buf_clear(slot);
    upt_buf_put(slot, json.p, json.len);
    board->alerts_n++;
    unlock(board);
}

/* The lane's entry; a lane that is new to the board begins alive and not ready. Locked. */
static struct lane *
lane_at(struct upt_board *board, size_t number)
{
    if (number >= board->lanes_n) {
        board->lanes = grow(board->lanes, number + 1, sizeof(*board->lanes));
        memset(board->lanes + board->lanes_n, 0, (number + 1 - board->lanes_n) * sizeof(*board->lanes));
        board->lanes_n = number + 1;
    }
    struct lane *lane = &board->lanes[number];
    if (!lane->known) {
        *lane = (struct lane){.known = true, .beat_ms = upt_mono_ms(), .why_not = "starting"};
    }
    return lane;
}

void
upt_board_heartbeat(struct upt_board *board, size_t lane)
{
    lock(board);
    lane_at(board, lane)->beat_ms = upt_mono_ms();
    unlock(board);
}

void
upt_board_set_ready(struct upt_board *board, size_t lane, bool ready, const char *why_not)
{
    lock(board);
    struct lane *entry = lane_at(board, lane);
    entry->ready = ready;
    snprintf(entry->why_not, sizeof(entry->why_not), "%s", ready || why_not == NULL ? "" : why_not);
    unlock(board);
}

size_t
upt_board_sets(struct upt_board *board, struct upt_metrics **ret, size_t cap)
{
    lock(board);
    size_t n = board->sets_n < cap ? board->sets_n : cap;
    for (size_t i = 0; i < n; i++) {
        ret[i] = board->sets[i];
    }
    unlock(board);
    return n;
}

size_t
upt_board_partitions(struct upt_board *board, struct upt_board_partition *ret, size_t cap)
{
    lock(board);
    size_t n = board->parts_n < cap ? board->parts_n : cap;
    for (size_t i = 0; i < n; i++) {
        ret[i] = board->parts[i];
    }
    unlock(board);
    return n;
}

void
upt_board_alerts_json(struct upt_board *board, struct upt_buf *out)
{
    lock(board);
    size_t n = board->alerts_n < UPT_BOARD_ALERTS ? board->alerts_n : UPT_BOARD_ALERTS;
    upt_buf_put(out, "[", 1);
    for (size_t i = 0; i < n; i++) {
        const struct upt_buf *slot = &board->alerts[(board->alerts_n - 1 - i) % UPT_BOARD_ALERTS];
        upt_buf_puts(out, i == 0 ? "" : ",");
        upt_buf_put(out, slot->p, slot->len);
    }
    upt_buf_put(out, "]", 1);
    unlock(board);
}

bool
upt_board_alive(struct upt_board *board, int64_t max_age_ms)
{
    lock(board);
    int64_t now = upt_mono_ms();
    bool alive = true;
    for (size_t i = 0; i < board->lanes_n; i++) {
        alive = alive && (!board->lanes[i].known || now - board->lanes[i].beat_ms <= max_age_ms);
    }
    unlock(board);
    return alive;
}

bool
upt_board_ready(struct upt_board *board, char *ret_why, size_t cap)
{
    lock(board);
    size_t known = 0;
    const char *why = "";
    size_t lane = 0;
    for (size_t i = 0; i < board->lanes_n && why[0] == '\0'; i++) {
        known += board->lanes[i].known ? 1 : 0;
        if (board->lanes[i].known && !board->lanes[i].ready) {
            lane = i;
            why = board->lanes[i].why_not[0] == '\0' ? "not ready" : board->lanes[i].why_not;
        }
    }
    if (why[0] != '\0') {
        snprintf(ret_why, cap, "lane %zu: %s", lane, why);
    } else {
        snprintf(ret_why, cap, "%s", known == 0 ? "starting" : "");
    }
    bool ready = known > 0 && why[0] == '\0'; /* why lies in the board */
    unlock(board);
    return ready;
}

/* ---- questions ---- */

#define ANSWER_POLL_MS 2

uint64_t
upt_board_ask(struct upt_board *board, struct upt_str account)
{
    lock(board);
    upt_buf_clear(&board->asked);
    upt_buf_put(&board->asked, account.p, account.len);
    uint64_t question = atomic_load(&board->question) + 1;
    atomic_store(&board->question, question);
    unlock(board);
    return question;
}

bool
upt_board_asked(struct upt_board *board, uint64_t *inout_seen, struct upt_buf *ret_account)
{
    if (atomic_load(&board->question) == *inout_seen) {
        return false;
    }
    lock(board);
    *inout_seen = atomic_load(&board->question);
    upt_buf_clear(ret_account);
    upt_buf_put(ret_account, board->asked.p, board->asked.len);
    unlock(board);
    return true;
}

void
upt_board_answer(struct upt_board *board, uint64_t question, struct upt_str json)
{
    lock(board);
    upt_buf_clear(&board->answer);
    upt_buf_put(&board->answer, json.p, json.len);
    board->answer_to = question;
    unlock(board);
}

bool
upt_board_answered(struct upt_board *board, uint64_t question, int64_t timeout_ms, struct upt_buf *out)
{
    bool there = false;
    for (int64_t until = upt_mono_ms() + timeout_ms; !there && upt_mono_ms() < until;) {
        lock(board);
        there = board->answer_to == question;
        if (there) {
            upt_buf_put(out, board->answer.p, board->answer.len);
        }
        unlock(board);
        if (!there) {
            upt_sleep_ms(ANSWER_POLL_MS);
        }
    }
    return there;
}
