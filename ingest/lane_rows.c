/* What goes to the view: rows, features, totals that changed.
 *
 * A row may leave when (a) the replay has passed C, (b) the position is at or above the floor, the highest position
 * that any row of the partition in Redis may carry, so that no row ever goes back, (c) the partition's epoch is
 * committed, and (d) so is the place of the last wall tick. While the ring is full, or Redis away, what changed stays a
 * mark on the account: its size is bounded by the accounts. */
#include <stdlib.h>
#include <string.h>

#include "ingest/lane_internal.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define FEATURES_A_FRAME 4096              /* up to 128 bytes each: half a MiB */
#define PACK_ROUND_MS (10 * UPT_MINUTE_MS) /* in which every account is looked at whether it is idle */
#define PACK_STEP_MS (2 * UPT_SECOND_MS)   /* at most so much of it at once: events wait meanwhile */
#define LATER_SPREAD_MS (20 * UPT_SECOND_MS)

/* A floor beyond an end that was asked for after it was read: Redis has rows of another log of this name, which was
 * deleted. No row of this one can go back to them. */
static bool
floor_of_another_log(struct upt_part *part, struct upt_pos floor)
{
    int64_t end, wall_ms;
    if (part->floor_seen_ms == 0) {
        part->floor_seen_ms = upt_wall_ms();
    }
    return upt_ends_get(part->lane->shared->ends, part->id, &end, &wall_ms) && wall_ms > part->floor_seen_ms &&
           floor.offset >= end;
}

/* Whether rows may be pushed now. Tells the view of the partition when that is due. */
static bool
may_push(struct upt_part *part)
{
    struct upt_lane *lane = part->lane;
    if (!part->active || !part->claimed || lane->discarding) {
        return false;
    }
    if (!part->viewed) {
        upt_view_own(lane->view, part->id, part->progress.epoch);
        part->viewed = true;
        return false;
    }
    struct upt_pos floor;
    if (part->wall_open || !upt_part_replayed(part) || !upt_view_floor(lane->view, part->id, &floor)) {
        return false;
    }
    if (upt_pos_cmp(upt_state_pos(part->st), floor) >= 0) {
        part->floor_seen_ms = 0;
        return true;
    }
    return floor_of_another_log(part, floor);
}

/* Pushes the deletion of an account's row; kept for the next turn if the ring is full. */
static void
push_one_forgotten(struct upt_part *part, struct upt_str account)
{
    if (!part->forgotten_set) {
        upt_buf_clear(&part->forgotten);
        upt_buf_put(&part->forgotten, account.p, account.len);
    }
    part->forgotten_set = !upt_view_push_forgotten(part->lane->view, part->id, upt_state_pos(part->st), account);
}

/* One that has come again since is left out: its new row, which is still to be pushed, replaces the old one whole. A
 * deletion that left before it, in a replay, would be seen. */
bool
upt_part_next_forgotten(struct upt_part *part, struct upt_str *ret)
{
    while (upt_state_next_forgotten(part->st, ret)) {
        if (upt_state_find(part->st, *ret) == NULL) {
            return true;
        }
    }
    return false;
}

static bool
push_forgotten(struct upt_part *part)
{
    struct upt_str account;
    if (part->forgotten_set) {
        part->forgotten_set = upt_state_find(part->st, upt_buf_str(&part->forgotten)) == NULL;
        if (part->forgotten_set) {
            push_one_forgotten(part, upt_buf_str(&part->forgotten));
        }
    }
    while (!part->forgotten_set && upt_part_next_forgotten(part, &account)) {
        push_one_forgotten(part, account);
    }
    return !part->forgotten_set;
}

/* Entries of the account's hash of features that may have changed into lane->days. */
static size_t
take_features(struct upt_part *part, struct upt_account *acct)
{
    struct upt_lane *lane = part->lane;
    size_t n = upt_state_row_features(part->st, acct, lane->days, lane->days_cap);
    if (n > lane->days_cap) {
        struct upt_feature_days *grown = realloc(lane->days, n * sizeof(*grown));
        upt_assert(grown != NULL);
        lane->days = grown;
        lane->days_cap = n;
        n = upt_state_row_features(part->st, acct, lane->days, lane->days_cap);
    }
    return n;
}

/* A row with many features takes several frames, since one must fit into the ring. */
static bool
push_row(struct upt_part *part, struct upt_row *row, size_t n)
{
    struct upt_lane *lane = part->lane;
    size_t at = 0;
    do {
        size_t some = n - at < FEATURES_A_FRAME ? n - at : FEATURES_A_FRAME;
        if (!upt_view_push_row(lane->view, row, lane->days + at, some)) {
            return false;
        }
        row->whole = false; /* what follows is added */
        row->changed = UPT_ROW_FEATURES;
        at += some;
    } while (at < n);
    return true;
}

/* Those that had changed when the flush began. What changes meanwhile is for the next one: or a busy account would be
 * written again and again while Redis is slow. */
static bool
push_rows(struct upt_part *part)
{
    struct upt_account *acct;
    for (; part->flush_left > 0; part->flush_left--) {
        if (!upt_view_has_room(part->lane->view)) {
            return false;
        }
        if (!upt_state_next_dirty(part->st, &acct)) {
            part->flush_left = 0;
            return true;
        }
        struct upt_row row;
        upt_state_row(part->st, acct, &row);
        size_t n = take_features(part, acct);
        row.changed = upt_state_row_changed(acct, &row, n);
        if (!push_row(part, &row, n)) {
            upt_state_mark_dirty(part->st, acct);                  /* also: write it whole */
            part->flush_left = upt_state_dirty_accounts(part->st); /* it is the last of them now */
            return false;
        }
    }
    return true;
}

static bool
push_sums(struct upt_part *part)
{
    struct upt_lane *lane = part->lane;
    while (part->feature_set || upt_state_next_dirty_feature(part->st, &part->feature)) {
        part->feature_set = true;
        if (!upt_view_push_feature(lane->view, &part->feature)) {
            return false;
        }
        part->feature_set = false;
    }
    struct upt_totals_row totals;
    if (upt_state_dirty_totals(part->st, &totals) && !upt_view_push_totals(lane->view, &totals)) {
        upt_state_mark_totals_dirty(part->st);
        return false;
    }
    return true;
}

/* True: all that had changed was pushed and the flush ended. */
static bool
flush(struct upt_part *part)
{
    struct upt_lane *lane = part->lane;
    int64_t end, wall_ms;
    if (!push_forgotten(part) || !push_rows(part) || !push_sums(part)) {
        return false;
    }
    bool known = upt_ends_get(lane->shared->ends, part->id, &end, &wall_ms);
    end = known ? (end > part->flush_next ? end : part->flush_next) : -1;
    int64_t now = upt_mono_ms();
    if (upt_pos_cmp(part->flush_pos, part->flushed) == 0 && part->flush_next == part->flushed_next &&
        end == part->flushed_end && now - part->flush_sent_ms < 10 * UPT_SECOND_MS) {
        return true;
    }
    struct upt_view_flush frame = {.partition = part->id,
                                   .pos = part->flush_pos,
                                   .as_of = part->flush_clock,
                                   .end_offset = end,
                                   .wall_ms = upt_wall_ms(),
                                   .number = part->flush_number + 1};
    if (!upt_view_push_flush(lane->view, &frame)) {
        return false;
    }
    part->flush_number++;
    if (part->watched == 0) {
        part->watched = part->flush_number;
        part->watched_next = part->flush_next;
    }
    part->flushed = part->flush_pos;
    part->flushed_next = part->flush_next;
    part->flushed_end = end;
    part->flush_sent_ms = now;
    return true;
}

/* A flush frame again, also if nothing has moved, and that is the one to wait for. */
static void
expect_flush(struct upt_part *part)
{
    part->flushed = UPT_POS_NONE;
    part->flushed_next = -1; /* an empty partition's position is NONE */
    part->watched = 0;
}

/* The slow sweep: every row is asserted again within repair_interval. By the time that has passed, not by flush: at the
 * end of a run these follow each other without a pause, and would write all rows many times while Redis' keys are
 * walked. */
static void
sweep_rows(struct upt_part *part, int64_t now_ms)
{
    const struct upt_config *config = part->lane->config;
    int64_t passed = now_ms - part->swept_ms;
    if (passed < config->flush_interval_ms / 2) {
        return;
    }
    passed = passed < config->repair_interval_ms ? passed : config->repair_interval_ms;
    size_t rows = upt_state_accounts_n(part->st) * (size_t)passed / (size_t)config->repair_interval_ms + 1;
    part->swept_ms = now_ms;
    for (; rows > 0; rows--) {
        if (!upt_state_mark_next_dirty(part->st, &part->sweep_cursor)) {
            part->sweep_cursor = 0;
            break;
        }
        upt_metric_add(part->lane->metrics, UPT_M_REDIS_SWEPT, 1);
    }
}

static void
answer_view(struct upt_part *part, int64_t now_ms)
{
    struct upt_lane *lane = part->lane;
    if (upt_view_take_repair(lane->view, part->id)) {
        upt_state_mark_all_dirty(part->st);
        expect_flush(part);
    }
    sweep_rows(part, now_ms);
    while (!part->forgotten_set && upt_view_take_stray(lane->view, part->id, &lane->key)) {
        if (upt_state_find(part->st, upt_buf_str(&lane->key)) == NULL) {
            push_one_forgotten(part, upt_buf_str(&lane->key));
            expect_flush(part);
        }
    }
}

/* Whether the last flush is in Redis. */
static bool
flush_stored(const struct upt_part *part)
{
    return !part->flushing && upt_view_stored(part->lane->view, part->id) >= part->flush_number;
}

bool
upt_part_flushed(struct upt_part *part)
{
    return upt_pos_cmp(part->flushed, upt_state_pos(part->st)) >= 0 && flush_stored(part);
}

/* From one flush to the next: what changes just after one began must be in Redis an interval later, so the time that a
 * flush takes, or waits for its turn, is left for it. Never less than half an interval, or a Redis that is slow would
 * get more to do. */
static int64_t
flush_period(const struct upt_part *part)
{
    int64_t interval = part->lane->config->flush_interval_ms;
    int64_t period = interval - part->flush_took_ms;
    return period < interval / 2 ? interval / 2 : period > interval * 9 / 10 ? interval * 9 / 10 : period;
}

static bool
reached_end(const struct upt_part *part)
{
    const struct upt_shared *shared = part->lane->shared;
    return shared->until_end && part->next_offset >= upt_ends_first(shared->ends, part->id);
}

/* A run to the end of the log has got there, and Redis does not know all of it yet, or has what it should not have. */
static bool
at_end(const struct upt_part *part)
{
    return reached_end(part) && !part->flush_open &&
           (!part->is_shown || upt_pos_cmp(part->flushed, upt_state_pos(part->st)) < 0 ||
            upt_view_sweep(part->lane->view, part->id) == UPT_SWEEP_STRAYS);
}

/* Whether the flush that is watched is in Redis; not the last one, for of a far Redis the next is always on its way. A
 * run to the end also waits for the walk over the keys: an older Redis brings rows of forgotten accounts back, and
 * short runs one after the other would never find them. */
static bool
is_published(const struct upt_part *part)
{
    return part->watched != 0 && upt_view_stored(part->lane->view, part->id) >= part->watched &&
           (!reached_end(part) || upt_view_sweep(part->lane->view, part->id) == UPT_SWEEP_OVER);
}

/* Partitions of a lane flush one after the other: at the same time each would wait for the rows of all, and its next
 * flush would be due the sooner. One that is late goes all the same. */
static bool
may_flush(const struct upt_part *part, int64_t now_ms)
{
    const struct upt_lane *lane = part->lane;
    if (now_ms - part->flush_due_ms >= lane->config->flush_interval_ms / 4 || at_end(part)) {
        return true;
    }
    for (int32_t p = 0; p < lane->parts_n; p++) {
        if (lane->parts[p] != NULL && lane->parts[p]->flush_open) {
            return false;
        }
    }
    return now_ms >= part->flush_due_ms;
}

/* When a window moves, its row has a minute at least: at midnight, when all do, those of accounts that are in use would
 * wait behind them. So they leave within LATER_SPREAD_MS, a share with each flush; a few, or at the end of a run, at
 * once. */
size_t
upt_part_rows_due(struct upt_part *part, size_t waiting)
{
    size_t least = part->lane->shared->later_least;
    part->later_most = waiting == 0 ? 0 : waiting > part->later_most ? waiting : part->later_most;
    size_t share = part->later_most * (size_t)part->lane->config->flush_interval_ms / LATER_SPREAD_MS;
    return reached_end(part) ? waiting : share > least ? share : least;
}

static void
begin_flush(struct upt_part *part, int64_t now_ms)
{
    int64_t late = now_ms - part->flush_due_ms;
    int64_t most = part->lane->config->flush_interval_ms / 4;
    answer_view(part, now_ms);
    upt_state_rows_due(part->st, upt_part_rows_due(part, upt_state_later_accounts(part->st)));
    part->flushing = part->flush_open = true;
    part->flush_left = upt_state_dirty_accounts(part->st);
    part->flush_pos = upt_state_pos(part->st);
    part->flush_next = part->next_offset;
    part->flush_clock = upt_state_clock(part->st);
    part->flush_began_ms = now_ms;
    part->flush_late_ms = late < most ? late : most;
    part->flush_due_ms = now_ms + flush_period(part);
}

bool
upt_part_is_shown(const struct upt_part *part)
{
    return part->active && part->is_shown && part->published_next >= upt_ends_first(part->lane->shared->ends, part->id);
}

static void
pack_idle(struct upt_part *part, int64_t now_ms)
{
    int64_t passed = now_ms - part->packed_ms;
    if (part->active && passed >= PACK_STEP_MS / 2) {
        passed = passed < PACK_STEP_MS ? passed : PACK_STEP_MS;
        (void)upt_state_pack(part->st, upt_state_accounts_n(part->st) * (size_t)passed / PACK_ROUND_MS + 1);
        part->packed_ms = now_ms;
    }
}

void
upt_part_rows(struct upt_part *part, int64_t now_ms)
{
    struct upt_lane *lane = part->lane;
    pack_idle(part, now_ms);
    if (!may_push(part)) {
        return;
    }
    if (!part->flushing && may_flush(part, now_ms)) {
        begin_flush(part, now_ms);
    }
    if (part->flushing && flush(part)) {
        part->flushing = false;
    }
    if (part->is_shown && upt_view_stored(lane->view, part->id) == 0) { /* Redis has lost it; the group is told, too */
        part->is_shown = false;
        part->published_next = 0;
        part->commit_wanted = true;
    }
    if (part->flush_open && flush_stored(part)) {
        part->flush_open = false;
        part->flush_took_ms = now_ms - part->flush_began_ms + part->flush_late_ms;
        part->clean_ms = part->flush_began_ms;
    }
    if (is_published(part)) {
        int64_t next = flush_stored(part) ? part->flushed_next : part->watched_next;
        bool further = next > part->published_next;
        part->published_next = further ? next : part->published_next;
        part->watched = 0;
        part->is_shown = true;
        part->commit_wanted = part->commit_wanted || (further && lane->shared->until_end); /* else within a second */
    }
}
