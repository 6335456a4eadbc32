/* A partition's log once more, through the state machine and the scores that `run` drives.
 *
 * From the log's start where that can be done: the log still has it, it is known where counting began, and so are the
 * places of all wall ticks that matter. Places before the checkpoint are taken out of the progress record; where the
 * cleaner of the state topic has removed the older records too they are gone. With LogAppendTime that does not matter:
 * a wall tick runs tick_grace after its minute, so a record behind it has a later timestamp, and running the minute
 * with that record gives the same. With CreateTime it may, and then, as for a log without its start, the replay begins
 * with the state of the checkpoint: what it finds is then true of everything since, and of all values that rows hold.
 *
 * A row can stand at a wall tick whose place is gone. Its own clock says when that was; it is run there if the log
 * would have run that minute next anyway, or a checkpoint or progress record is known to have been past it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/avro/encoder.h"
#include "ingest/kafka/client.h"
#include "ingest/verify.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define QUERY_MS 15000

static struct upt_metrics metrics; /* counted by the state, shown to nobody */

struct replay {
    struct upt_verify *v;
    struct upt_verify_part *part;
    struct upt_state *st;
    struct upt_score *score;
    struct upt_sink sink;
    size_t place_i;
    bool places_matter; /* timestamps may lie behind places that are not known */
    bool begun, stop;
    struct upt_buf events, body;
    upt_status status;
    struct upt_error *err;
};

/* ---- decisions ---- */

/* Whether a decision must be in its topic: it was published before the topic was read. */
static bool
is_due(const struct replay *replay, struct upt_pos pos)
{
    const struct upt_verify *v = replay->v;
    bool wanted = v->publish_from_ms == UPT_NO_CLOCK || upt_state_clock(replay->st) >= v->publish_from_ms;
    return wanted && replay->part->has_progress && upt_pos_cmp(pos, replay->part->published) <= 0;
}

static void
alert_field(struct replay *replay, const struct upt_alert *alert, const char *name, const char *found,
            const char *expected)
{
    if (strcmp(found, expected) != 0) {
        upt_verify_differs(replay->v, "alert %s revision %d of account %.*s: %s is %s, expected %s", alert->alert_id,
                           (int)alert->revision, (int)alert->account.len, alert->account.p, name, found, expected);
    }
}

static void
compare_alert(struct replay *replay, const struct upt_verify_alert *found, const struct upt_alert *alert)
{
    char is[80], wanted[80], rule[sizeof(found->rule)];
    unsigned long long before = replay->v->differences;
    alert_field(replay, alert, "action", found->action < 6 ? upt_action_names[found->action] : "?",
                upt_action_names[alert->action]);
    alert_field(replay, alert, "severity", found->severity < 4 ? upt_severity_names[found->severity] : "?",
                upt_severity_names[alert->severity]);
    snprintf(rule, sizeof(rule), "%.*s", (int)alert->rule.len, alert->rule.p);
    alert_field(replay, alert, "rule", found->rule, rule);
    snprintf(is, sizeof(is), "[%d] offset %lld tick %lld", (int)found->source_partition,
             (long long)found->source_offset, (long long)found->source_tick);
    snprintf(wanted, sizeof(wanted), "[%d] offset %lld tick %lld", (int)alert->partition, (long long)alert->pos.offset,
             (long long)alert->pos.tick);
    alert_field(replay, alert, "source", is, wanted);
    alert_field(replay, alert, "account",
                found->account_hash == upt_hash(alert->account.p, alert->account.len) ? "" : "another", "");
    upt_buf_clear(&replay->body);
    upt_encode_alert(&replay->body, -1, alert, found->detected_at);
    if (replay->v->differences == before && found->body_hash != upt_hash(replay->body.p, replay->body.len)) {
        alert_field(replay, alert, "its evidence", "another", "as recomputed");
    }
}

static void
on_alert(void *ctx, const struct upt_alert *alert)
{
    struct replay *replay = ctx;
    struct upt_verify *v = replay->v;
    if (!replay->part->scores) {
        return;
    }
    struct upt_verify_alert *found = upt_verify_find_alert(v, alert->alert_id, alert->revision);
    if (found != NULL) {
        found->matched = true;
        v->alerts_compared++;
        compare_alert(replay, found, alert);
    } else if (is_due(replay, alert->pos) && !v->alerts_cut) {
        upt_verify_differs(v, "alert %s revision %d (%.*s %s) of account %.*s at [%d] offset %lld is missing from %s",
                           alert->alert_id, (int)alert->revision, (int)alert->rule.len, alert->rule.p,
                           upt_action_names[alert->action], (int)alert->account.len, alert->account.p,
                           (int)alert->partition, (long long)alert->pos.offset, v->config->alerts_topic);
    }
}

static void
on_health(void *ctx, const struct upt_health *health)
{
    (void)ctx;
    (void)health;
}

static void
on_health_null(void *ctx, struct upt_str account)
{
    (void)ctx;
    (void)account;
}

static void
dead_letter(struct replay *replay, int64_t offset, upt_reason reason, struct upt_str events)
{
    struct upt_verify *v = replay->v;
    struct upt_verify_letter *found = upt_verify_find_letter(v, replay->part->id, offset);
    if (found == NULL) {
        if (is_due(replay, upt_state_pos(replay->st)) && !v->letters_cut) {
            upt_verify_differs(v, "the dead letter of %s [%d] offset %lld (%s) is missing from %s",
                               v->config->input_topic, (int)replay->part->id, (long long)offset,
                               upt_reason_names[reason], v->config->dead_topic);
        }
        return;
    }
    found->matched = true;
    v->letters_compared++;
    if (found->reason != reason || found->events_hash != upt_hash(events.p, events.len)) {
        upt_verify_differs(v, "the dead letter of %s [%d] offset %lld: its reason is %s%s, expected %s",
                           v->config->input_topic, (int)replay->part->id, (long long)offset,
                           found->reason < UPT_REASON_COUNT ? upt_reason_names[found->reason] : "unknown",
                           found->reason == reason ? " with other events" : "", upt_reason_names[reason]);
    }
}

/* ---- records, as in lane_apply.c ---- */

static void
count_events(struct replay *replay, struct upt_str key, int64_t offset, int64_t ts, const struct upt_decoded *decoded)
{
    upt_reason first = UPT_REASON_NONE;
    upt_buf_clear(&replay->events);
    for (uint32_t i = 0; i < decoded->events_n; i++) {
        upt_reason reason = upt_state_judge(replay->st, &decoded->events[i], ts);
        if (reason == UPT_REASON_NONE) {
            (void)upt_state_apply(replay->st, key, &decoded->events[i]);
            continue;
        }
        first = first == UPT_REASON_NONE ? reason : first;
        upt_buf_put(&replay->events, ",", replay->events.len > 0 ? 1 : 0);
        upt_buf_put_u64(&replay->events, i);
    }
    if (first != UPT_REASON_NONE) {
        dead_letter(replay, offset, first,
                    decoded->batch ? (struct upt_str){.p = replay->events.p, .len = (uint32_t)replay->events.len}
                                   : UPT_STR_NULL);
    }
}

/* A wall tick that is known to have run after the present offset; the least above the clock. */
static void
consider(const struct replay *replay, int64_t offset, int64_t tick, int64_t *inout_next)
{
    if (offset == upt_state_pos(replay->st).offset && tick > upt_state_clock(replay->st) && tick < *inout_next &&
        tick % UPT_MINUTE_MS == 0) {
        *inout_next = tick;
    }
}

/* Runs the wall's ticks that stand at the present offset. next_ts: of the record that follows; UPT_NO_CLOCK: none. */
static void
run_ticks(struct replay *replay, int64_t next_ts)
{
    struct upt_verify_part *part = replay->part;
    bool wall = strcmp(replay->v->config->clock, "wall") == 0;
    int64_t here = upt_state_pos(replay->st).offset, known = next_ts;
    if (upt_state_clock(replay->st) == UPT_NO_CLOCK || !wall) {
        return;
    }
    while (replay->place_i < part->places_n && part->places[replay->place_i].offset < here) {
        replay->place_i++;
    }
    const struct upt_place marks[] = {
        {part->has_checkpoint ? part->checkpoint.pos.offset : UPT_NO_OFFSET, part->checkpoint.clock},
        {part->published.offset, part->published.tick},
        {part->reached.offset, part->reached.tick},
        replay->place_i < part->places_n ? part->places[replay->place_i] : (struct upt_place){.offset = UPT_NO_OFFSET},
    };
    const size_t marks_n = sizeof(marks) / sizeof(marks[0]);
    for (size_t i = 0; i < marks_n; i++) {
        known = marks[i].offset == here && marks[i].tick > known ? marks[i].tick : known;
    }
    for (;;) {
        int64_t next = INT64_MAX;
        for (size_t i = 0; i < marks_n; i++) {
            consider(replay, marks[i].offset, marks[i].tick, &next);
        }
        if (part->due_i < part->due_n && part->due[part->due_i].as_of <= known) {
            consider(replay, part->due[part->due_i].offset, part->due[part->due_i].as_of, &next);
        }
        if (!part->entry_done && part->entry_as_of <= known) {
            consider(replay, part->entry_offset, part->entry_as_of, &next);
        }
        if (next == INT64_MAX) {
            return;
        }
        upt_state_wall_tick(replay->st, next);
        upt_verify_compare(replay->v, part, replay->st);
    }
}

/* What the record is, as far as it can be told before the clock moves. */
static upt_status
decode(struct replay *replay, const rd_kafka_message_t *msg, struct upt_decoded *ret)
{
    struct upt_verify *v = replay->v;
    struct upt_str key = upt_topic_key(msg);
    if (key.p == NULL || key.len < 1 || key.len > UPT_KEY_MAX || !upt_utf8_valid(key.p, key.len)) {
        ret->reason = UPT_REASON_BAD_KEY;
        return UPT_OK;
    }
    if (msg->payload == NULL) {
        return UPT_OK;
    }
    upt_status status = upt_input_decode(&v->input, v->decoder, key, upt_topic_value(msg), ret, replay->err);
    if (status == UPT_OK && ret->reason != UPT_REASON_UNKNOWN_SCHEMA) {
        /* What the registry said then is part of the input; it may know the schema by now. */
        const struct upt_verify_letter *letter = upt_verify_find_letter(v, replay->part->id, msg->offset);
        if (letter != NULL && letter->reason == UPT_REASON_UNKNOWN_SCHEMA && ret->reason != UPT_REASON_TOO_LARGE &&
            ret->reason != UPT_REASON_BAD_FRAME) {
            ret->reason = UPT_REASON_UNKNOWN_SCHEMA;
            v->schema_later++;
        }
    }
    return status;
}

static bool
on_record(void *ctx, const rd_kafka_message_t *msg)
{
    struct replay *replay = ctx;
    struct upt_verify *v = replay->v;
    struct upt_decoded decoded = {.reason = UPT_REASON_NONE};
    rd_kafka_timestamp_type_t type;
    int64_t ts = rd_kafka_message_timestamp(msg, &type);
    if (msg->offset <= upt_state_pos(replay->st).offset) {
        return true;
    }
    if (!replay->begun && replay->places_matter && type == RD_KAFKA_TIMESTAMP_CREATE_TIME) {
        replay->status = UPT_EAGAIN;
        return false;
    }
    replay->begun = true;
    replay->status = decode(replay, msg, &decoded);
    if (replay->status != UPT_OK) {
        return false;
    }
    run_ticks(replay, upt_floor_div(ts, UPT_MINUTE_MS) * UPT_MINUTE_MS);
    upt_state_begin(replay->st, msg->offset, ts);
    if (decoded.reason != UPT_REASON_NONE) {
        dead_letter(replay, msg->offset, decoded.reason, UPT_STR_NULL);
    } else if (msg->payload == NULL) {
        upt_state_forget(replay->st, upt_topic_key(msg));
    } else {
        count_events(replay, upt_topic_key(msg), msg->offset, ts, &decoded);
    }
    upt_verify_compare(v, replay->part, replay->st);
    v->records++;
    upt_verify_progress(v, "partition %d of %d: offset %lld of %lld", (int)replay->part->id, (int)v->parts_n,
                        (long long)msg->offset, (long long)replay->part->high);
    return true;
}

/* ---- the state topic, second reading ---- */

/* Places of all progress records; of the same offset the last stands for those before it. */
static void
add_places(struct upt_verify_part *part, const struct upt_progress *progress)
{
    size_t at = 0;
    for (size_t i = 0; i < progress->places_n; i++) {
        struct upt_place place = progress->places[i];
        while (at < part->places_n && part->places[at].offset < place.offset) {
            at++;
        }
        if (at < part->places_n && part->places[at].offset == place.offset) {
            part->places[at].tick = place.tick > part->places[at].tick ? place.tick : part->places[at].tick;
            continue;
        }
        part->places = upt_verify_room(part->places, part->places_n, &part->places_cap, sizeof(*part->places));
        memmove(&part->places[at + 1], &part->places[at], (part->places_n - at) * sizeof(*part->places));
        part->places[at] = place;
        part->places_n++;
    }
    part->reached = upt_pos_cmp(progress->pos, part->reached) > 0 ? progress->pos : part->reached;
}

static bool
on_state(void *ctx, const rd_kafka_message_t *msg)
{
    struct replay *replay = ctx;
    struct upt_verify_part *part = replay->part;
    struct upt_str key = upt_topic_key(msg), value = upt_topic_value(msg);
    struct upt_progress progress;
    if (key.len == 1 && key.p[0] == 'c') {
        replay->status = upt_progress_decode(value, &progress, replay->err);
        if (replay->status == UPT_OK) {
            add_places(part, &progress);
            upt_progress_fini(&progress);
        }
    } else if (part->from_checkpoint && msg->offset < part->state_end && key.len > 0 && key.p[0] != 'b' &&
               key.p[0] != 'r') {
        replay->status = upt_state_load(replay->st, key, value, replay->err);
    }
    return replay->status == UPT_OK;
}

/* ---- a partition ---- */

/* The first offset that was ever to be counted; −1: not known. */
static upt_status
find_begin(struct upt_verify *v, struct upt_verify_part *part, struct upt_error *reterr)
{
    const struct upt_config *config = v->config;
    int64_t at_ms = 0;
    part->begun = -1;
    if (strcmp(config->start, "earliest") == 0 || !part->has_progress) {
        part->begun = part->has_progress && part->low > 0 ? -1 : part->low;
        return UPT_OK;
    }
    if (strcmp(config->start, "latest") == 0 ||
        !upt_parse_time(config->start, (uint32_t)strlen(config->start), &at_ms)) {
        return UPT_OK;
    }
    rd_kafka_t *rk = NULL;
    upt_status status = upt_client_reader(config, true, &rk, reterr);
    if (status == UPT_OK) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, config->input_topic, part->id)->offset = at_ms;
        rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(rk, list, QUERY_MS);
        int64_t offset = list->elems[0].offset;
        part->begun =
            err == RD_KAFKA_RESP_ERR_NO_ERROR && offset >= 0 && (offset > part->low || part->low == 0) ? offset : -1;
        rd_kafka_topic_partition_list_destroy(list);
    }
    upt_client_destroy(&rk);
    return status;
}

static upt_status
make_state(struct replay *replay)
{
    struct upt_verify *v = replay->v;
    const struct upt_config *config = v->config;
    upt_status status = upt_score_create(v->scoring->model, v->scoring->rules, v->scoring->config_hash, &replay->sink,
                                         &replay->score, replay->err);
    const struct upt_state_config state = {.partition = replay->part->id,
                                           .max_future_ms = config->max_future_ms,
                                           .dedup_window_ms = config->dedup_window_ms,
                                           .retention_ms = config->retention_ms,
                                           .adopted_days = (unsigned)config->adopted_days,
                                           .observer = &upt_score_observer,
                                           .observer_ctx = replay->score,
                                           .metrics = &metrics};
    return status == UPT_OK ? upt_state_create(&state, &replay->st, replay->err) : status;
}

/* The state to begin with, and the places of wall ticks. */
static upt_status
restore(struct replay *replay)
{
    struct upt_verify *v = replay->v;
    struct upt_verify_part *part = replay->part;
    const struct upt_checkpoint start = {.pos = {.offset = part->begun - 1, .tick = UPT_NO_CLOCK},
                                         .clock = UPT_NO_CLOCK};
    const struct upt_checkpoint *from = part->from_checkpoint ? &part->checkpoint : &start;
    part->places_n = 0;
    part->reached = UPT_POS_NONE;
    part->from = from->pos;
    upt_status status = make_state(replay);
    if (status == UPT_OK && part->has_progress) {
        status =
            upt_topic_read_partition(v->config, v->config->state_topic, part->id, -1, on_state, replay, replay->err);
        status = status == UPT_OK ? replay->status : status;
    }
    if (status == UPT_OK) {
        status = upt_state_load_done(replay->st, from->pos, from->clock, replay->err);
    }
    return status;
}

static upt_status
run(struct upt_verify *v, struct upt_verify_part *part, struct upt_error *reterr)
{
    struct replay replay = {.v = v, .part = part, .err = reterr};
    replay.sink =
        (struct upt_sink){.ctx = &replay, .alert = on_alert, .health = on_health, .health_null = on_health_null};
    replay.places_matter =
        strcmp(v->config->clock, "wall") == 0 && part->has_checkpoint && !part->places_known && !part->from_checkpoint;
    upt_status status = restore(&replay);
    if (status == UPT_OK) {
        upt_verify_plan(v, part);
        if (upt_state_clock(replay.st) != UPT_NO_CLOCK) {
            upt_verify_compare(v, part, replay.st);
        }
        status = upt_topic_read_partition(v->config, v->config->input_topic, part->id, part->from.offset + 1, on_record,
                                          &replay, reterr);
        status = status == UPT_OK ? replay.status : status;
    }
    if (status == UPT_OK) {
        run_ticks(&replay, UPT_NO_CLOCK);
        upt_verify_leftover(v, part, replay.st);
        status = upt_verify_missing(v, part, replay.st, reterr);
        v->accounts += upt_state_accounts_n(replay.st);
        int64_t last = upt_state_pos(replay.st).offset;
        v->behind += last > part->entry_offset && part->has_entry ? (unsigned long long)(last - part->entry_offset) : 0;
        part->verified = true;
    }
    upt_state_destroy(&replay.st);
    upt_score_destroy(&replay.score);
    upt_buf_fini(&replay.events);
    upt_buf_fini(&replay.body);
    return status;
}

upt_status
upt_verify_replay(struct upt_verify *v, struct upt_verify_part *part, struct upt_error *reterr)
{
    const char *why = NULL;
    part->scores = !part->other_config;
    if (part->other_config) {
        upt_verify_note(v,
                        "partition %d: something was decided under another configuration than this one (%s): scores "
                        "and alerts are not verified",
                        (int)part->id, v->scoring->config_hash);
    }
    upt_status status = find_begin(v, part, reterr);
    if (status != UPT_OK) {
        return status;
    }
    if (part->begun < 0 || part->low > part->begun) {
        why = part->low > 0 ? "the log's start is gone" : "it is not known where counting began";
    } else {
        status = run(v, part, reterr);
        if (status != UPT_EAGAIN) {
            return status;
        }
        why = "the state topic has no first progress record any more, so not surely all places of wall ticks, and the "
              "topic has CreateTime";
    }
    if (!part->has_checkpoint) {
        upt_verify_note(v, "partition %d is not verified: %s, and there is no checkpoint", (int)part->id, why);
        return UPT_OK;
    }
    upt_verify_note(v,
                    "partition %d: %s: verified from the checkpoint at offset %lld on; alerts and dead letters up to "
                    "there are not",
                    (int)part->id, why, (long long)part->checkpoint.pos.offset);
    part->from_checkpoint = true;
    return run(v, part, reterr);
}
