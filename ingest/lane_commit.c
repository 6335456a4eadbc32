/* Progress, checkpoints and wall ticks of a partition.
 *
 * Progress (C) is committed with the outputs, and at least once a second while the position moves, so that rows can
 * trust it and lag tools see it. A checkpoint is taken in steps between records, while the state goes on (copy on
 * write), and sealed by its R record. A wall tick's place is committed before anything decided at it leaves: its
 * outputs are in the same transaction; rows wait for it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/lane_internal.h"
#include "uptake/assert.h"
#include "uptake/crash.h"
#include "uptake/log.h"
#include "uptake/time.h"

#define PROGRESS_INTERVAL_MS 1000
#define SNAPSHOT_STEP_US 2000           /* of each turn of the loop */
#define SNAPSHOT_ROOM ((size_t)2 << 20) /* more than the largest record of the state */

/* max(C, position): during a replay nothing below C is claimed. */
static struct upt_pos
progress_pos(const struct upt_part *part)
{
    struct upt_pos pos = upt_state_pos(part->st);
    return upt_pos_cmp(pos, part->published) > 0 ? pos : part->published;
}

void
upt_part_commit(struct upt_part *part, bool released)
{
    struct upt_lane *lane = part->lane;
    struct upt_pos pos = progress_pos(part);
    part->progress.pos = pos;
    if (part->next_offset > part->progress.next_offset) {
        part->progress.next_offset = part->next_offset;
    }
    part->progress.released = released;
    memcpy(part->progress.writer, lane->id, sizeof(part->progress.writer));
    memcpy(part->progress.config_hash, lane->scoring->config_hash, sizeof(part->progress.config_hash));
    upt_buf_clear(&lane->value);
    upt_progress_encode(&part->progress, &lane->value);
    char metadata[128];
    snprintf(metadata, sizeof(metadata), "uptake r=%lld v=%lld", (long long)part->stored_next,
             (long long)part->published_next);
    struct upt_commit commit = {.partition = part->id,
                                .assignment = lane->assignment,
                                .serial = ++part->sent_serial,
                                .pos = pos,
                                .next_offset = part->progress.next_offset,
                                .metadata = metadata,
                                .key = UPT_STR("c"),
                                .value = upt_buf_str(&lane->value)};
    while (!upt_publisher_commit(lane->outputs, lane->seq, &commit)) {
        if (upt_publisher_failure(lane->outputs) != UPT_FAILURE_NONE) {
            lane->discarding = true;
            return;
        }
        upt_publisher_kick(lane->outputs);
        upt_sleep_ms(1);
    }
    upt_publisher_kick(lane->outputs);
    part->outputs_open = false;
    part->commit_wanted = false;
    part->sent = pos;
    part->sent_next = part->progress.next_offset;
    part->sent_published = part->published_next;
    part->sent_ms = upt_mono_ms();
}

void
upt_part_commit_if_due(struct upt_part *part, int64_t now_ms)
{
    struct upt_lane *lane = part->lane;
    if (!part->active || lane->discarding) {
        return;
    }
    /* Also when only the rows have caught up: a run to the end in another process waits for this offset's metadata. */
    bool moved = upt_pos_cmp(progress_pos(part), part->sent) > 0 || part->next_offset > part->sent_next ||
                 part->published_next > part->sent_published;
    if (part->outputs_open || part->commit_wanted || (moved && now_ms - part->sent_ms >= PROGRESS_INTERVAL_MS)) {
        upt_part_commit(part, false);
    }
    struct upt_pos committed;
    if (!upt_publisher_committed(lane->outputs, part->id, &committed, NULL)) {
        return;
    }
    if (!part->claimed) {
        part->claimed = true; /* our epoch stands in the log: only now may the view take the partition */
    }
    if (part->wall_open && upt_pos_cmp(committed, part->wall_pos) >= 0) {
        part->wall_open = false;
    }
}

/* ---- wall ticks ---- */

void
upt_part_run_places(struct upt_part *part)
{
    while (part->place_i < part->progress.places_n) {
        struct upt_place place = part->progress.places[part->place_i];
        if (place.offset > upt_state_pos(part->st).offset) {
            return;
        }
        if (place.tick > upt_state_clock(part->st)) {
            upt_state_wall_tick(part->st, place.tick);
        }
        part->place_i++;
    }
}

static bool
add_place(struct upt_part *part, struct upt_place place)
{
    struct upt_progress *progress = &part->progress;
    if (progress->places_n > 0 && progress->places[progress->places_n - 1].offset == place.offset) {
        progress->places[progress->places_n - 1].tick = place.tick;
        return true;
    }
    if (progress->places_n == UPT_PLACES_MAX) {
        return false; /* no checkpoint for days: minutes wait for the log or for the checkpoint */
    }
    struct upt_place *grown = realloc(progress->places, (progress->places_n + 1) * sizeof(*grown));
    upt_assert(grown != NULL);
    progress->places = grown;
    progress->places[progress->places_n++] = place;
    part->place_i = progress->places_n;
    return true;
}

/* Runs the minutes up to tick here and now, at the end of the log. */
static void
run_wall_tick(struct upt_part *part, int64_t tick)
{
    struct upt_lane *lane = part->lane;
    lane->current = part;
    if (!add_place(part, (struct upt_place){.offset = upt_state_pos(part->st).offset, .tick = tick})) {
        return;
    }
    upt_crash_point("walltick.before");
    upt_state_wall_tick(part->st, tick);
    upt_metric_add(lane->metrics, UPT_M_WALL_TICKS, 1);
    part->wall_open = true;
    part->wall_pos = upt_state_pos(part->st);
    part->commit_wanted = true;
}

void
upt_part_run_pending_tick(struct upt_part *part, int64_t reached)
{
    if (!part->end_set || reached < part->end_offset) {
        return;
    }
    part->end_set = false;
    if (part->next_offset <= part->end_offset && part->end_tick > upt_state_clock(part->st)) {
        run_wall_tick(part, part->end_tick);
    }
}

void
upt_part_wall(struct upt_part *part)
{
    struct upt_lane *lane = part->lane;
    int64_t end, wall_ms;
    if (!part->active || lane->shared->until_end || strcmp(lane->config->clock, "wall") != 0 || part->end_set ||
        part->intake->held || lane->discarding || !upt_part_replayed(part) || part->place_i < part->progress.places_n ||
        upt_state_clock(part->st) == UPT_NO_CLOCK || !upt_ends_get(lane->shared->ends, part->id, &end, &wall_ms)) {
        return;
    }
    int64_t tick = upt_floor_div(wall_ms - lane->config->tick_grace_ms, UPT_MINUTE_MS) * UPT_MINUTE_MS;
    if (tick <= upt_state_clock(part->st) || part->next_offset > end) {
        return;
    }
    part->end_set = true;
    part->end_offset = end;
    part->end_tick = tick;
    upt_part_run_pending_tick(part, part->next_offset);
}

/* ---- checkpoints ---- */

static void
begin_checkpoint(struct upt_part *part)
{
    struct upt_lane *lane = part->lane;
    upt_assert(lane->snapshotting == NULL); /* one transaction holds one partition's checkpoint */
    if (!upt_publisher_has_room(lane->checkpoints, SNAPSHOT_ROOM)) {
        return;
    }
    lane->snapshotting = part;
    upt_state_snapshot_begin(part->st, false);
    part->snapshot = (struct upt_checkpoint){.pos = upt_state_pos(part->st), .clock = upt_state_clock(part->st)};
    part->snapshot_next = part->next_offset;
    part->snapshot_began_ms = upt_mono_ms();
    part->snapshot_on = true;
    part->snapshot_sealed = false;
    upt_part_commit(part, false); /* C passes R first */
    struct upt_record begun = {
        .topic = UPT_TOPIC_STATE, .partition = part->id, .key = UPT_STR("b"), .value = upt_str_of(lane->checkpoint_id)};
    (void)upt_publisher_push(lane->checkpoints, lane->checkpoint_seq, &begun);
}

/* The checkpoint under way will not be stored. Its outcome may be unknown: then the next one writes the same again. */
void
upt_part_checkpoint_failed(struct upt_part *part)
{
    if (part->snapshot_on) {
        part->snapshot_on = false;
        part->lane->snapshotting = NULL;
        part->checkpoint_due_ms = upt_mono_ms() + 1000;
        upt_state_snapshot_failed(part->st);
    }
}

static bool
seal(struct upt_part *part)
{
    struct upt_lane *lane = part->lane;
    upt_buf_clear(&lane->value);
    upt_checkpoint_encode(&part->snapshot, &lane->value);
    struct upt_commit commit = {.partition = part->id,
                                .assignment = lane->assignment,
                                .pos = part->snapshot.pos,
                                .next_offset = part->snapshot_next,
                                .metadata = "uptake",
                                .key = UPT_STR("r"),
                                .value = upt_buf_str(&lane->value)};
    return upt_publisher_commit(lane->checkpoints, lane->checkpoint_seq, &commit);
}

/* Pushes records of the snapshot for a while. */
static void
snapshot_step(struct upt_part *part)
{
    struct upt_lane *lane = part->lane;
    int64_t until = upt_mono_us() + SNAPSHOT_STEP_US;
    part->snapshot_waits = false;
    for (unsigned n = 0; !part->snapshot_sealed; n++) {
        if (n % 64 == 63 && upt_mono_us() > until) {
            break;
        }
        /* A record is taken from the state only when the ring has room for the largest. */
        if (!upt_publisher_has_room(lane->checkpoints, SNAPSHOT_ROOM)) {
            part->snapshot_waits = true;
            break;
        }
        if (upt_state_snapshot_next(part->st, &lane->key, &lane->value)) {
            struct upt_record record = {.topic = UPT_TOPIC_STATE,
                                        .partition = part->id,
                                        .key = upt_buf_str(&lane->key),
                                        .value = lane->value.len > 0 ? upt_buf_str(&lane->value) : UPT_STR_NULL};
            bool pushed = upt_publisher_push(lane->checkpoints, lane->checkpoint_seq, &record);
            upt_assert(pushed || upt_publisher_failure(lane->checkpoints) != UPT_FAILURE_NONE);
        } else {
            part->snapshot_sealed = seal(part);
            if (!part->snapshot_sealed) {
                part->snapshot_waits = true;
                break;
            }
        }
    }
    upt_publisher_kick(lane->checkpoints);
}

/* Places at or before R are not needed any more. */
static void
prune_places(struct upt_part *part)
{
    struct upt_progress *progress = &part->progress;
    size_t kept = 0;
    for (size_t i = 0; i < progress->places_n; i++) {
        struct upt_pos at = {.offset = progress->places[i].offset, .tick = progress->places[i].tick};
        if (upt_pos_cmp(at, part->stored.pos) > 0) {
            progress->places[kept++] = progress->places[i];
        } else if (part->place_i > 0) {
            part->place_i--;
        }
    }
    progress->places_n = kept;
}

/* Beyond R. */
static bool
moved(const struct upt_part *part)
{
    return part->start_open || upt_pos_cmp(upt_state_pos(part->st), part->stored.pos) > 0 ||
           part->next_offset > part->stored_next;
}

int64_t
upt_part_unstored(struct upt_part *part, int64_t now_ms)
{
    if (!moved(part) && upt_part_replayed(part)) {
        part->unstored_ms = now_ms;
    }
    return now_ms - part->unstored_ms;
}

void
upt_part_checkpoint(struct upt_part *part, int64_t now_ms)
{
    struct upt_lane *lane = part->lane;
    if (!part->active || lane->discarding) {
        return;
    }
    if (part->snapshot_on) {
        if (!part->snapshot_sealed) {
            snapshot_step(part);
            return;
        }
        struct upt_pos committed;
        if (upt_publisher_committed(lane->checkpoints, part->id, &committed, NULL) &&
            upt_pos_cmp(committed, part->snapshot.pos) >= 0) {
            part->snapshot_on = false;
            lane->snapshotting = NULL;
            upt_state_snapshot_stored(part->st);
            part->stored = part->snapshot;
            part->stored_next = part->snapshot_next;
            part->start_open = false;
            part->stored_wall_ms = upt_wall_ms();
            part->unstored_ms = part->snapshot_began_ms;
            part->checkpoint_due_ms = now_ms + lane->config->checkpoint_interval_ms;
            prune_places(part);
            part->commit_wanted = true; /* the offset's metadata says how far checkpoints are */
        }
        return;
    }
    bool ended = lane->shared->until_end && part->next_offset >= upt_ends_first(lane->shared->ends, part->id) &&
                 part->stored_next < upt_ends_first(lane->shared->ends, part->id);
    if (part->claimed && lane->snapshotting == NULL && moved(part) && upt_part_replayed(part) &&
        (now_ms >= part->checkpoint_due_ms || ended)) {
        begin_checkpoint(part);
    }
}
