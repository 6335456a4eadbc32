"""The faults of run.py: each breaks one promise, in one place, and names the test that must notice.

`test` is unit:ROOM/PROGRAM, sim:SEEDS or e2e:MODULE.CLASS.METHOD; `case` the test within it that fails. `old` stands exactly once
in `file`. A new promise comes with its fault here.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    name: str
    promise: str
    file: str
    old: str
    new: str
    test: str
    case: str = ""
    env: dict[str, str] = field(default_factory=dict)


STATE = "aggregate/state/"
VIEW = "aggregate/view/"
SCORE = "aggregate/score/"
AVRO = "ingest/avro/"
SIM = "sim:400"

VERDICTS = [
    Fault("verdict_order", "bad_feature comes before bad_quantity", STATE + "state.c",
          "    if (usage && ev->feature.p != NULL &&", "    if (isfinite(ev->quantity) && usage && ev->feature.p != NULL &&",
          "unit:state/test_state_state", "verdicts_in_their_order"),
    Fault("too_late_border", "too_late: the day is 30 days behind the clock's, or more", STATE + "state.c",
          "#define TOO_LATE_DAYS 30", "#define TOO_LATE_DAYS 29", "unit:state/test_state_state", "verdicts_in_their_order"),
    Fault("too_late_by_the_record", "too_late looks at the clock, not at the record's own time", STATE + "state.c",
          "<= st->now.b[UPT_R_DAY] - TOO_LATE_DAYS", "<= upt_floor_div(ts, UPT_DAY_MS) - TOO_LATE_DAYS",
          "unit:state/test_state_state", "verdicts_in_their_order"),
    Fault("in_future_border", "exactly max_future ahead is still accepted", STATE + "state.c",
          "return ev->occurred_at > latest ?", "return ev->occurred_at >= latest ?", "unit:state/test_state_state",
          "verdicts_in_their_order"),
    Fault("quantity_border", "1e9 units are accepted", STATE + "state.c",
          "ev->quantity > QUANTITY_MAX", "ev->quantity >= QUANTITY_MAX", "unit:state/test_state_state", "verdicts_in_their_order"),
    Fault("too_large_border", "a value of exactly max_record_bytes is accepted", AVRO + "decoder.c",
          "if (value.len > (uint64_t)dec->max_record_bytes)", "if (value.len >= (uint64_t)dec->max_record_bytes)",
          "unit:avro/test_avro_decode_faults", "test_record_bytes"),
    Fault("batch_border", "a batch of exactly max_batch_events is accepted", AVRO + "plan_run.c",
          "if (ret->left > *allowed)", "if (ret->left >= *allowed)", "unit:avro/test_avro_decode_faults", "test_batch_events"),
    Fault("batch_count_after_items", "block counts are judged before the items are read", AVRO + "plan_run.c",
          "if (ret->left > *allowed)", "if (ret->left > *allowed && run->events_n >= run->max_events)",
          "unit:avro/test_avro_decode_faults", "test_batch_events"),
    Fault("depth_border", "deeper than max_depth is too_large", AVRO + "plan_run.c",
          "if (run->depth >= run->max_depth)", "if (run->depth > run->max_depth)", "unit:avro/test_avro_decode_faults",
          "test_depth_of_arrays"),
    Fault("bytes_left_over", "bytes left over are bad_avro", AVRO + "plan_run.c",
          "if (p != NULL && p != run->end)", "if (p != NULL && p > run->end)", "unit:avro/test_avro_decode_faults",
          "test_broken_values"),
    Fault("not_utf8", "a string that is not UTF-8 is bad_avro", AVRO + "plan_run.c",
          "if (next != NULL && !upt_utf8_valid(ret->p, ret->len))", "if (next != NULL && ret->len > 1024 && !upt_utf8_valid(ret->p, ret->len))",
          "unit:avro/test_avro_decode_faults", "test_text_of_every_length"),
    Fault("usual_kind_border", "what an event is does not hang on the way it is read", AVRO + "plan_run.c",
          "|| *p / 2U >= symbols)", "|| *p / 2U > symbols)", "unit:avro/test_avro_plan_usual", "test_as_the_steps"),
    Fault("usual_depth", "an event's map has its depth, however it is read", AVRO + "plan_run.c",
          "run->max_depth - depth >= 2 ?", "run->max_depth - depth >= 1 ?", "unit:avro/test_avro_plan_usual", "test_as_the_steps"),
    Fault("account_of_the_first", "every event of a batch must be of the key's account", AVRO + "decoder.c",
          "for (uint32_t i = 0; i < run->events_n; i++) {\n        struct upt_str account",
          "for (uint32_t i = 0; i < run->events_n && i < 1; i++) {\n        struct upt_str account",
          "unit:avro/test_avro_decode_faults", "test_account"),
    Fault("magic_not_looked_at", "a record whose magic is not 0 is bad_frame", AVRO + "decoder.c",
          "if (p[0] != 0) {", "if (p[0] > 127) {", "unit:avro/test_avro_decode_frame", "test_frames"),
]

REGISTRY = [
    Fault("refused_is_absent", "401 is no answer about a schema: the partition waits", AVRO + "registry_http.c",
          "if (http_code == 404 && code >= 40401 && code <= 40403)", "if (http_code == 401 || (http_code == 404 && code >= 40401))",
          "unit:avro/test_avro_registry", "test_answers_that_are_none"),
    Fault("any_404_is_absent", "a 404 without the registry's error code is no answer", AVRO + "registry_http.c",
          "if (http_code == 404 && code >= 40401 && code <= 40403)", "if (http_code == 404)",
          "unit:avro/test_avro_registry", "test_answers_that_are_none"),
    Fault("absent_for_ever", "that there is no such schema is believed for a time only", AVRO + "registry.c",
          "if (!due || (", "if (answer->told || !due || (", "unit:avro/test_avro_registry", "test_absent_is_believed_for_a_time"),
    Fault("away_is_absent", "a registry that is down dead-letters nothing", AVRO + "decoder.c",
          "upt_status status = id < 0 ? UPT_ENOTFOUND : look_up(dec, id, &entry, reterr);",
          "upt_status status = id < 0 ? UPT_ENOTFOUND : look_up(dec, id, &entry, reterr);\n"
          "    status = status == UPT_EUNAVAIL ? UPT_ENOTFOUND : status;",
          "unit:avro/test_avro_decode_frame", "test_registry_in_trouble"),
]

TIME = [
    Fault("tick_at_the_minute", "the tick at exactly the record's clock runs before it", STATE + "tick.c",
          "    int64_t last = upt_floor_div(upto, UPT_MINUTE_MS);", "    int64_t last = upt_floor_div(upto - 1, UPT_MINUTE_MS);",
          "unit:state/test_state_state", "windows_move_with_the_clock"),
    Fault("clock_goes_back", "the clock is the greatest timestamp so far", STATE + "state.c",
          "} else if (clock > st->now.ms) {", "} else if (clock != st->now.ms) {", SIM),
    Fault("first_record_ticks", "the first record runs no tick", STATE + "state.c",
          "    if (!st->has_clock) {\n        upt_state_set_clock(st, clock);",
          "    if (!st->has_clock) {\n        upt_state_set_clock(st, clock - UPT_MINUTE_MS);\n"
          "        upt_state_run_ticks(st, clock);\n        upt_state_set_clock(st, clock);",
          "unit:state/test_state_state", "the_first_record_runs_no_tick"),
    Fault("counted_when_it_arrives", "an event counts in the bucket of its time, however late", STATE + "state.c",
          "int64_t at = ev->occurred_at < st->now.ms ? ev->occurred_at : st->now.ms;", "int64_t at = st->now.ms;",
          "unit:state/test_state_state", "a_late_event_counts_where_it_happened"),
    Fault("early_not_cut", "the event time is not after the clock", STATE + "state.c",
          "    int64_t at = ev->occurred_at < st->now.ms ? ev->occurred_at : st->now.ms;\n    struct adding add",
          "    int64_t at = ev->occurred_at < st->now.ms + 1000 ? ev->occurred_at : st->now.ms;\n    struct adding add", SIM),
    Fault("window_border", "7d holds the days B-7 < b <= B", STATE + "windows.c",
          "                if (age < WEEK) {", "                if (age <= WEEK) {", "unit:state/test_state_state",
          "windows_move_with_the_clock"),
    Fault("hours_border", "users_24h holds 24 hour buckets", STATE + "account.c",
          "< 24;", "<= 24;", SIM),
    Fault("row_not_moved_on", "a window that moves brings the row anew", STATE + "tick.c",
          "upt_account_next_change(st, acct, &before) <= st->now.ms) {", "upt_account_next_change(st, acct, &before) < st->now.ms) {",
          "unit:state/test_state_state", "rows_are_dirty_only_when_something_changed"),
    Fault("daily_not_spread", "an account's daily minute is its hash mod 60", STATE + "tick.c",
          "UPT_DAY_MINUTES == (int64_t)(acct->hash % DAILY_SPREAD)", "UPT_DAY_MINUTES == (int64_t)(acct->hash % 2)", "unit:state/test_state_state",
          "observers_are_called_in_order"),
    Fault("duplicate_keeps_alive", "duplicates do not count for retention", STATE + "state.c",
          "            return false;\n        }\n    }\n    if (acct == NULL) {",
          "            acct->accepted = st->now.ms;\n            return false;\n        }\n    }\n    if (acct == NULL) {",
          "unit:state/test_state_state", "retention_counts_from_the_last_accepted_event"),
]

DEDUP = [
    Fault("dedup_refreshes", "a duplicate does not refresh the id", STATE + "state.c",
          "            return false;\n        }\n    }\n    if (acct == NULL) {",
          "            (void)upt_dedup_add(&st->mem, &acct->dedup, hint->id, st->now.ms, after);\n"
          "            return false;\n        }\n    }\n    if (acct == NULL) {",
          "unit:state/test_state_state", "a_duplicate_does_not_refresh"),
    Fault("dedup_window_border", "an id of exactly dedup_window ago is no duplicate", STATE + "state.c",
          "int64_t after = st->now.ms - st->config.dedup_window_ms;", "int64_t after = st->now.ms - st->config.dedup_window_ms - 1;",
          "unit:state/test_state_state", "many_ids_leave_at_their_own_time"),
    Fault("dedup_bound", "the last 4,096 ids of an account are known", STATE + "dedup.c",
          "if (dedup->cap < UPT_DEDUP_MAX)", "if (dedup->cap < UPT_DEDUP_MAX / 2)", "unit:state/test_state_state",
          "the_last_4096_ids_are_known"),
    Fault("dedup_without_account", "ids are those of one account", STATE + "state.c",
          "if (acct != NULL && upt_dedup_has(acct->dedup, hint->id, after)) {",
          "if (acct != NULL && upt_dedup_has(acct->dedup, hint->id, after) && acct->users.n % 2 == 0) {", SIM),
    Fault("dedup_empty_id", "an empty event_id is not deduplicated", STATE + "state.c",
          "    struct upt_hint hint = {.key = upt_hash(key.p, key.len), .",
          "    struct upt_event copy = *ev;\n    copy.event_id = ev->event_id.len > 0 ? ev->event_id : UPT_STR(\"none\");\n    ev = &copy;\n"
          "    struct upt_hint hint = {.key = upt_hash(key.p, key.len), .", SIM),
]

COUNTS = [
    Fault("removed_ignored", "USER_REMOVED takes a user out of users_total", STATE + "state.c",
          "    if (ev->kind == UPT_KIND_USER_REMOVED) {", "    if (ev->kind == UPT_KIND_USER_REMOVED && ev->quantity < 0) {",
          "unit:state/test_state_state", "users_come_leave_and_return"),
    Fault("removed_leaves_windows", "USER_REMOVED does not take a user out of a window", STATE + "state.c",
          "            user->bits |= UPT_USER_REMOVED;", "            user->bits = UPT_USER_REMOVED;", "unit:state/test_state_state",
          "users_come_leave_and_return"),
    Fault("users_counted_twice", "users are distinct, also within a batch", STATE + "state.c",
          "see(&st->totals.users, st->now.b[UPT_R_DAY], upt_user_age(user, &st->now), add->age);",
          "see(&st->totals.users, st->now.b[UPT_R_DAY], upt_user_age(user, &st->now) == 0 ? -1 : upt_user_age(user, &st->now), add->age);",
          SIM),
    Fault("hint_of_the_forgotten", "an account that was forgotten since is not reached by a hint", STATE + "state.c",
          "acct == NULL || hint->removed != st->removed || ", "acct == NULL || ", "unit:state/test_state_state",
          "a_hint_outlives_its_account"),
    Fault("forget_leaves_sums", "forgetting drops distinct counts at once", STATE + "account.c",
          "    st->totals.users_total -= acct->users.total;", "    st->totals.users_total -= acct->users.total / 2;",
          "unit:state/test_state_state", "forgetting_drops_distinct_counts_at_once"),
    Fault("forget_leaves_pairs", "forgetting takes the account's users out of feature rows", STATE + "account.c",
          "upt_hist_move(&feature->pairs, today, pair.age, -1);", "upt_hist_move(&feature->pairs, today, -1, -1);", SIM),
    Fault("adoption_days", "adopted: three distinct days of the last 28", STATE + "state.c",
          "if (ev->kind != UPT_KIND_LOGIN && add->age < UPT_ADOPTION_DAYS)", "if (add->age < UPT_ADOPTION_DAYS)", SIM),
    Fault("units_half_up", "a millionth is rounded to the nearest, ties to even", "ingest/base/units.c",
          "    return (int64_t)round_even(q * 1e6);", "    return (int64_t)(q * 1e6 + (q < 0 ? -0.5 : 0.5));",
          "unit:base/test_units", "rounds_ties_to_even"),
    Fault("units_of_64_bits", "units are summed to more than 64 bits", STATE + "windows.h",
          "        bucket->units_hi++;", "        bucket->units_hi += 0;", "unit:state/test_state_state",
          "units_do_not_overflow"),
    Fault("share_above_1", "a share above 1 is shown as 1", "ingest/base/units.c",
          "    if (num >= den) {", "    if (num == den) {", "unit:base/test_units", "shares"),
]

CHECKPOINTS = [
    Fault("no_copy_on_write", "a snapshot shows nothing of what changes meanwhile", STATE + "snapshot.c",
          "    if (is_pending(st, item)) {", "    if (is_pending(st, item) && item->kind != UPT_ITEM_ACCOUNT) {",
          "unit:state/test_state_snapshot", "changes_meanwhile_do_not_show"),
    Fault("failed_snapshot_lost", "what a failed checkpoint held is in the next", STATE + "snapshot.c",
          "    if (item->saved == st->snapshot.generation) {", "    if (item->saved > st->snapshot.generation) {",
          "unit:state/test_state_snapshot", "a_failed_snapshot_is_written_again"),
    Fault("forgotten_comes_back", "a forgotten account's checkpoint records are deleted", STATE + "snapshot.c",
          "    for (uint32_t page = 0; page < item->pages; page++) {", "    for (uint32_t page = 1; page < item->pages; page++) {",
          "unit:state/test_state_snapshot", "forgotten_and_born_again"),
    Fault("checkpoint_drops_ids", "ids for deduplication survive a restart", STATE + "codec.c",
          "        upt_buf_put_le64(out, hash);\n", "        upt_buf_put_le64(out, hash + 1);\n", SIM),
    Fault("checksum_of_state", "a damaged checkpoint record is found", STATE + "decode.c",
          "    if (upt_cur_le32(&tail) != (uint32_t)upt_hash(value.p, len)) {",
          "    if (upt_cur_le32(&tail) == (uint32_t)upt_hash(value.p, len) + 1) {",
          "unit:state/test_state_snapshot", "damage_is_found"),
    Fault("checksum_of_progress", "a damaged progress record is found", "ingest/kafka/progress.c",
          "    if (upt_cur_le32(&crc) != (uint32_t)upt_hash(in.p, in.len - 4)) {",
          "    if (upt_cur_le32(&crc) == (uint32_t)upt_hash(in.p, in.len - 4) + 1) {",
          "unit:kafka/test_progress", "damage_is_found"),
    Fault("format_not_looked_at", "a record of a newer format is refused by name", "ingest/kafka/progress.c",
          "    if (in.p[0] != FORMAT) {", "    if (in.p[0] < FORMAT) {", "unit:kafka/test_progress", "newer_formats_are_refused"),
    Fault("last_place_lost", "the places of wall ticks are recorded", "ingest/kafka/progress.c",
          "    upt_buf_put_varint(out, progress->places_n);\n    for (size_t i = 0; i < progress->places_n; i++) {",
          "    size_t n = progress->places_n > 0 ? progress->places_n - 1 : 0;\n    upt_buf_put_varint(out, n);\n"
          "    for (size_t i = 0; i < n; i++) {", "unit:kafka/test_progress", "progress_round_trip"),
]

REDIS = [
    Fault("marker_not_compared", "a row is written only by the partition's owner", VIEW + "flush.c",
          "    if (strcmp(out.got, part->marker) != 0 && !accept_attempt(part, out.got)) {",
          "    if (out.got[0] == '\\0' && !accept_attempt(part, out.got)) {", "unit:view/test_view_guard", "test_stale_owner_is_refused"),
    Fault("marker_not_watched", "also by one that was stopped before EXEC", VIEW + "flush.c",
          "    struct outcome out;\n    marker_command(view, \"WATCH\", part->partition, NULL);",
          "    struct outcome out;\n    marker_command(view, \"EXISTS\", part->partition, NULL);", "unit:view/test_view_guard",
          "test_zombie_between_check_and_exec"),
    Fault("epoch_not_compared", "an older owner does not take the partition back", VIEW + "flush.c",
          "        if (there && epoch > part->epoch) {", "        if (there && epoch > part->epoch + 1) {",
          "unit:view/test_view_guard", "test_stale_owner_is_refused"),
    Fault("floor_forgotten", "a new owner begins above the stored position", VIEW + "flush.c",
          "        part->floor = stored;", "        part->floor = UPT_POS_NONE;", "unit:view/test_view_guard",
          "test_floor_is_the_highest_row"),
    Fault("loss_not_repaired", "what Redis loses is written again", VIEW + "flush.c",
          "            part->take = part->repair = true;", "            part->take = true;", "unit:view/test_view_guard",
          "test_flushall_is_repaired"),
    Fault("lost_reply_is_loss", "a lost reply is no lost write", VIEW + "flush.c",
          "    if (part->attempt[0] == '\\0' || strcmp(got, part->attempt) != 0) {\n        return false;",
          "    if (part->attempt[0] == '\\0' || strcmp(got, part->attempt) != 0 || got != part->attempt) {\n        return false;",
          "unit:view/test_view_guard", "test_lost_exec_reply_is_no_lost_write"),
    Fault("published_too_early", "published says that all before it is in Redis", VIEW + "flush.c",
          "frame->gen == part->gen && frame->round == part->round;", "frame->gen == part->gen;", "unit:view/test_view_guard",
          "test_published_waits_for_the_repair"),
    Fault("sums_without_guard", "a contribution never goes back to an older position", VIEW + "sums.lua",
          "  if e > e1 or (e == e1", "  if e > e1 + 1000000 or (e + 1000000 == e1", "unit:view/test_view", "test_totals_are_exact_sums"),
    Fault("sums_of_older_epochs", "nor to an older owner", VIEW + "sums.lua",
          "  if e > e1 or (e == e1", "  if (e == e1", "unit:view/test_view_guard", "test_zombie_adds_no_contribution"),
    Fault("sums_without_carry", "sums are exact beyond 2^53", VIEW + "sums.lua",
          "    carry = v >= 10000000 and 1 or 0", "    carry = 0", "unit:view/test_view", "test_totals_are_exact_sums"),
    Fault("sums_as_doubles", "sums are exact beyond 2^53, also where they begin", VIEW + "sums.lua",
          "  if #total <= 14 and #s <= 14 then", "  if #total <= 17 and #s <= 17 then", "unit:view/test_view",
          "test_totals_are_exact_sums"),
    Fault("key_not_encoded", "names are percent-encoded in keys", VIEW + "conn.c",
          "c == '}' || c == '%'", "c == '%'", "unit:view/test_view", "test_key_encoding"),
    Fault("unknown_is_kept", "a value that is not known any more is absent", VIEW + "format.c",
          "    if (gone.n > 0) {", "    if (gone.n > 100) {", "unit:view/test_view", "test_row_fields_come_and_go"),
    Fault("ranks_out_of_order", "an account ends in the ranks as it ended in the batch", VIEW + "format.c",
          "            if (isnan(of->v[which]) != gone) {", "            if (isnan(of->v[which]) != gone && n == 0) {",
          "unit:view/test_view", "test_ranks_in_order"),
    Fault("zeros_not_trimmed", "numbers end without zeros", VIEW + "resp.c",
          "    while (six[places - 1] == '0') {", "    while (places > 5 && six[places - 1] == '0') {", "unit:view/test_view",
          "test_numbers"),
    Fault("feature_at_0", "features at 0 are removed", VIEW + "format.c",
          "for (int present = row->whole ? 1 : 0; present < 2; present++)", "for (int present = 1; present < 2; present++)",
          "unit:view/test_view", "test_feature_days"),
]

GROUPS = [
    Fault("group_not_told", "a row's fields are written when they differ from what Redis holds", STATE + "rows.c",
          "            changed |= 1U << i;", "            changed |= i == 1 && !row->whole ? 0U : 1U << i;",
          "unit:state/test_state_state", "test_groups_that_changed"),
    Fault("loss_not_whole", "a row that Redis may have lost is written whole", STATE + "rows.c",
          "        if (row->whole || now[i]", "        if (now[i]", "unit:state/test_state_state", "test_groups_that_changed"),
    Fault("day_not_told", "a feature's entry is written when it got a day", STATE + "state.c",
          "day | UPT_USED_NEWS : 0;", "day : 0;", "unit:state/test_state_state", "test_groups_that_changed"),
    Fault("midnight_not_told", "and when it lost one", STATE + "rows.c",
          " || acct->shown_day != today;", ";", "unit:state/test_state_state", "test_groups_that_changed"),
    Fault("seats_not_taken_away", "a share of seats goes with the seats", VIEW + "format.c",
          " || (row->changed & UPT_ROW_REST) != 0) {", ") {", "unit:view/test_view", "test_row_fields_come_and_go"),
]

ALERTS = [
    Fault("revision_not_raised", "revisions of an alert grow by 1", SCORE + "alerts.c",
          "    slot->revision++;\n", "    slot->revision = (uint16_t)(slot->revision == 0);\n", "unit:score/test_score_lifecycle",
          "band_falls_and_recovers"),
    Fault("resolved_twice", "an alert ends once", SCORE + "alerts.c",
          "    slot->state = UPT_SLOT_CLOSED;\n", "    slot->state = action == UPT_RESOLVE ? UPT_SLOT_OPEN : UPT_SLOT_CLOSED;\n",
          "unit:score/test_score_silence", "cool_down"),
    Fault("no_cool_down", "no alert of a rule opens during its cool-down", SCORE + "alerts.c",
          " * UPT_MINUTE_MS + spec->cool_down_ms;", " * UPT_MINUTE_MS;", "unit:score/test_score_lifecycle", "band_cool_down"),
    Fault("id_without_episode", "a new episode has a new id", SCORE + "alerts.c",
          "(unsigned char)(opened_min >> (8 * i))", "(unsigned char)(opened_min % 1 >> (8 * i))", "unit:score/test_score_silence",
          "cool_down"),
    Fault("update_too_often", "an UPDATE comes at most once a day", SCORE + "alerts.c",
          "(moved(d, slot) && d->now - (int64_t)slot->changed_min * UPT_MINUTE_MS >= UPT_DAY_MS);", "moved(d, slot);",
          "unit:score/test_score_lifecycle", "one_update_a_day"),
    Fault("forgotten_stays_open", "forgetting an account ends its alerts with EXPIRE", SCORE + "score.c",
          "        if (d.ext->slot[i].state == UPT_SLOT_OPEN) {\n            upt_alert_close(&d, i, UPT_EXPIRE, &none);",
          "        if (d.ext->slot[i].state == UPT_SLOT_OPEN && i > 0) {\n            upt_alert_close(&d, i, UPT_EXPIRE, &none);",
          "unit:score/test_score_lifecycle", "forget_expires"),
    Fault("silence_without_cadence", "SILENCE is judged by the account's own cadence", SCORE + "activity.c",
          "    double z = (log(days) - act->gap_mean)", "    double z = (log(days) - 0.0 * act->gap_mean)", "unit:score/test_score_silence",
          "own_cadence"),
    Fault("silence_a_minute_late", "SILENCE fires at the minute worked out ahead", SCORE + "rule_silence.c",
          " * UPT_MINUTE_MS + minutes * UPT_MINUTE_MS;", " * UPT_MINUTE_MS + (minutes + 1) * UPT_MINUTE_MS;",
          "unit:score/test_score_silence", "own_cadence"),
    Fault("login_ends_silence", "only use ends a silence", SCORE + "score.c",
          "    case UPT_KIND_USAGE:\n    case UPT_KIND_VALUE:", "    case UPT_KIND_USAGE:\n    case UPT_KIND_LOGIN:\n    case UPT_KIND_VALUE:",
          "unit:score/test_score_silence", "ends_at_the_next_use"),
    Fault("health_every_day", "account-health only when something moved by its step", SCORE + "score.c",
          "(a > b ? a - b : b - a) / 1e6 > step;", "(a > b ? a - b : b - a) / 1e6 >= 0.0 * step;", "unit:score/test_score_health",
          "publishing"),
    Fault("alert_lost_at_restart", "what is decided is a function of the log, restarts or not", SCORE + "ext.c",
          "    INT(s->revision, uint16_t, 2);\n", "", "unit:score/test_score_lifecycle", "restart_changes_nothing"),
]

CONFIG = [
    Fault("unknown_key", "an unknown key is an error with its line", "ingest/base/config.c",
          "        return unknown_key(config, name, line, reterr);", "        return line > 0 ? UPT_OK : unknown_key(config, name, line, reterr);",
          "unit:base/test_config_file", "faults_have_their_lines"),
    Fault("secret_shown", "secrets are masked where the configuration is shown", "ingest/base/config_print.c",
          "upt_kafka_secret(kv->name) && kv->value[0] != '\\0' ? masked : kv->value", "kv->value[0] == '\\0' ? masked : kv->value",
          "unit:base/test_config", "secrets_are_masked"),
    Fault("password_in_url_shown", "also those within a URL", "ingest/base/config_print.c",
          "    upt_buf_puts(out, masked);\n    upt_buf_put(out, host,", "    upt_buf_put(out, colon + 1, (size_t)(host - colon - 1));\n    upt_buf_put(out, host,",
          "unit:base/test_config", "secrets_are_masked"),
    Fault("owned_property", "properties that uptake owns are refused by name", "ingest/base/config_kafka.c",
          "    {\"acks\", exactly_once},\n", "", "unit:base/test_config", "owned_properties_are_refused"),
]

EXACT = "e2e:test_exact.Exact.test_rows_and_dead_letters"
STORM = "e2e:test_storm.Storm.test_kills"
SMALL = {"EVENTS": "8000"}
KILLS = {"KILLS": "10", "EVENTS": "12000", "ACCOUNTS": "100"}

END_TO_END = [
    Fault("old_headers_kept", "uptake's headers that were there are replaced in a dead letter", "ingest/lane_apply.c",
          "        if (!is_dead_header(text)) {", "        if (!is_dead_header(text) || len > 0) {", EXACT, "test_rows_and_dead_letters", SMALL),
    Fault("originals_dropped", "a dead letter has the headers that the record had", "ingest/lane_apply.c",
          "    size_t n = original_headers(rec->headers, headers);", "    size_t n = original_headers(rec->headers, headers) * 0;", EXACT,
          "test_rows_and_dead_letters", SMALL),
    Fault("reason_of_the_last", "a partly counted batch has the reason of its first bad event", "ingest/lane_apply.c",
          "        if (first == UPT_REASON_NONE) {", "        {", EXACT, "test_rows_and_dead_letters", SMALL),
    Fault("null_of_bad_key", "a null value under a bad key is bad_key", "ingest/lane_apply.c",
          "    if (!good_key) {\n        dead_letter", "    if (!good_key && rec->value.p != NULL) {\n        dead_letter", EXACT,
          "test_rows_and_dead_letters", SMALL),
    Fault("published_again", "what was published before a crash is left out of the replay", "ingest/lane_apply.c",
          "    if (upt_pos_cmp(pos, part->published) <= 0) {", "    if (upt_pos_cmp(pos, part->published) < 0 && lane->discarding) {", STORM,
          "test_kills", KILLS),
    Fault("checkpoint_first", "a checkpoint does not pass what is published", "ingest/kafka/publisher.c",
          "    if (checkpoint && !wait_for_outputs(pub)) {", "    if (checkpoint && pub->pending_n == 0 && !wait_for_outputs(pub)) {", STORM,
          "test_kills", KILLS),
    Fault("row_below_floor", "no row goes back during a replay", "ingest/lane_rows.c",
          "upt_part_replayed(part) && upt_view_floor(lane->view, part->id, &floor) &&\n           upt_pos_cmp(upt_state_pos(part->st), floor) >= 0;",
          "upt_view_floor(lane->view, part->id, &floor);", "e2e:test_faults.Faults.test_rows_never_go_back", "test_rows_never_go_back"),
    Fault("floor_not_compared", "nor between what is published and what Redis has", "ingest/lane_rows.c",
          "           upt_pos_cmp(upt_state_pos(part->st), floor) >= 0;", "           floor.offset >= UPT_NO_OFFSET;",
          "e2e:test_faults.Faults.test_rows_ahead_of_progress_stay", "test_rows_ahead_of_progress_stay"),
    Fault("epoch_not_raised", "each owner of a partition has a higher epoch", "ingest/lane_group.c",
          "    part->progress.epoch++;", "    part->progress.epoch += part->progress.epoch == 0;", "e2e:test_faults.Faults.test_takeover_time",
          "test_takeover_time"),
    Fault("endtxn_not_counted", "an EndTxn that comes late ends no later transaction", "ingest/kafka/publisher.c",
          "    bool twice = atomic_load(&pub->producer.endtxn_sent) > 1;", "    bool twice = atomic_load(&pub->producer.endtxn_sent) > 999;",
          "e2e:test_endtxn.EndTxn.test_late_commits", "test_late_commits"),
    Fault("place_not_recorded", "a replay runs the minutes of the wall where they were", "ingest/lane_commit.c",
          "    if (!add_place(part, (struct upt_place){.offset = upt_state_pos(part->st).offset, .tick = tick})) {",
          "    if (tick < 0 && !add_place(part, (struct upt_place){.offset = upt_state_pos(part->st).offset, .tick = tick})) {",
          "e2e:test_wall.Wall.test_replay_runs_minutes_where_they_were", "test_replay_runs_minutes_where_they_were"),
]

SEGMENTS = "unit:score/test_score_segments"
CONTROL = "unit:score/test_score_control"
SETS = "unit:view/test_view_segments"
PEOPLE = [
    Fault("segment_range_open", "above and below do not hold of the number itself", SCORE + "segment_read.c",
          "{OP_ABOVE, OP_FROM, false, 1}", "{OP_ABOVE, OP_FROM, false, 0}", SEGMENTS, "conditions"),
    Fault("segment_unknown_holds", "what is not known fulfils no condition", SCORE + "segment.c",
          "((tests & ~(unsigned)UPT_SEG_KNOWN) == 0 || v->known)", "true", SEGMENTS, "conditions"),
    Fault("segment_no_timer", "a record that a segment reads is judged with the next minute", SCORE + "segment.c",
          "        upt_wake_arm(d);", "        (void)d;", SEGMENTS, "six_criteria"),
    Fault("segment_not_daily", "accounts age in and out of segments without any event", SCORE + "score.c",
          "    upt_rule_drop_daily(&d);\n    upt_segments_decide(&d);", "    upt_rule_drop_daily(&d);", SEGMENTS, "six_criteria"),
    Fault("segment_by_place", "memberships go with names when the rules change", SCORE + "segment.c",
          "to->v[k].hash == from->v[i].hash", "k == i", SEGMENTS, "names_not_places"),
    Fault("segment_forgotten_silently", "a forgotten account is told to have left", SCORE + "score.c",
          "    upt_segments_forget(&d);", "    (void)d;", SEGMENTS, "forgotten"),
    Fault("segment_not_in_hash", "what segments mean is part of the rules' hash", SCORE + "rules.c",
          "    upt_segments_meaning(rules->segments, &text);", "    (void)0;", SEGMENTS, "meaning"),
    Fault("snooze_tells", "a snoozed alert has no records", SCORE + "alerts.c",
          "if (upt_control_snoozed(slot, d->now) ||", "if (", CONTROL, "snooze"),
    Fault("snooze_lets_end", "an alert that ends while snoozed is told so when the snooze ends", SCORE + "alerts.c",
          "action == UPT_RESOLVE && upt_control_snoozed", "false && upt_control_snoozed", CONTROL, "snoozed_end"),
    Fault("snooze_holds_expire", "EXPIRE does not wait for a snooze", SCORE + "alerts.c",
          "action == UPT_RESOLVE && upt_control_snoozed", "upt_control_snoozed", CONTROL, "snoozed_end"),
    Fault("ack_not_stored", "an acknowledgement outlives a restart", SCORE + "ext.c",
          "    INT(s->control, uint8_t, 1);", "    (void)codec;", CONTROL, "acknowledge"),
    Fault("set_keeps_forgotten", "a forgotten account leaves the sets of segments", VIEW + "flush.c",
          "            upt_note_rank(view, &(const struct upt_rank){.account = forgotten_of(frame), .v = {NAN, NAN}});",
          "            (void)0;", SETS, "come_and_go"),
    Fault("set_not_left", "an account that left a segment leaves its set", VIEW + "segments.c",
          'in ? "SADD" : "SREM"', '"SADD"', SETS, "come_and_go"),
    Fault("sets_stay", "the set of a segment that is not declared any more is deleted", VIEW + "segments.c",
          "scan.n == 0 ||", "true ||", SETS, "not_declared"),
]

FAULTS = VERDICTS + REGISTRY + TIME + DEDUP + COUNTS + CHECKPOINTS + REDIS + GROUPS + ALERTS + CONFIG + PEOPLE + END_TO_END
