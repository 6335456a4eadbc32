/* Guarded writes of a batch.
 *
 * Why no row ever goes back. Everything of a partition but its sums (rows, ranks, hints, its entry in the partition
 * table) is written under its marker key: WATCH it, read it, compare, write the sums, then all of it and a new marker
 * in one MULTI/EXEC. The sums come first, so that a Redis that loses its last writes cannot lose them and keep the
 * marker. A process writes only if the marker is byte for byte the one it wrote last, so:
 *   - a stalled owner that comes back after another has taken the marker: its comparison fails, or, if it was stopped
 *     between the comparison and EXEC, the WATCH does; after EXEC it has nothing left to write. It does not
 *     take the marker again unless it is gone or older.
 *   - a marker that is gone or older (FLUSHALL, an older AOF): rows are gone or older alike, since they live on the
 *     same node and were written in the same transactions. Then every marker of this view is taken anew, frames pushed
 *     before are passed over, and the lane pushes everything again, above the floor that was found: a stale owner may
 *     have been first, and further.
 *   - a new owner begins above the stored position (the floor); a marker carries the highest position of any row.
 *   - an EXEC whose reply was lost is recognised by the marker that it was to write. Should the server carry it out
 *     only later, either its WATCH fails or that of the next attempt.
 * This needs maxmemory-policy noeviction: a marker evicted alone lets a stale owner in.
 * Sums are guarded by the epoch and position kept with each contribution (sums.lua). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/view/internal.h"
#include "uptake/assert.h"
#include "uptake/crash.h"
#include "uptake/log.h"
#include "uptake/time.h"

#define TRIES 8

extern const unsigned char upt_view_sums_lua[], upt_view_shares_lua[];
extern const size_t upt_view_sums_lua_len, upt_view_shares_lua_len;

/* What a round trip found. */
struct outcome {
    char got[UPT_MARKER_MAX]; /* GET's answer, "" for none */
    bool error, aborted, noscript;
    char text[200];
};

/* A key that something else made of another type spoils what is written to it and nothing else: retrying would hold up
 * all other rows for ever, deleting it would destroy what is not ours. Said in the log, left out. */
static void
note_error(struct outcome *out, const char *text, size_t len)
{
    char said[sizeof(out->text)];
    snprintf(said, sizeof(said), "%.*s", (int)(len < sizeof(said) ? len : sizeof(said)), text);
    if (strncmp(said, "WRONGTYPE", 9) == 0) {
        upt_log_limited(UPT_LOG_ERROR, "view", "a key under the prefix is not of the view's making: %s", said);
        return;
    }
    out->noscript = out->noscript || strncmp(said, "NOSCRIPT", 8) == 0;
    if (!out->error || strncmp(said, "EXECABORT", 9) != 0) { /* EXEC does not say why: an error before it did */
        memcpy(out->text, said, sizeof(said));
    }
    out->error = true;
}

/* Of a batch's replies, several for each row, only errors matter, what GET answered and whether EXEC was refused: they
 * are noted as hiredis reads them, and no object is made. Any pointer but NULL stands for one. */
static void *
on_string(const redisReadTask *task, char *text, size_t len)
{
    struct outcome *out = task->privdata;
    if (task->type == REDIS_REPLY_ERROR) {
        note_error(out, text, len);
    } else if (task->type == REDIS_REPLY_STRING && task->parent == NULL) {
        snprintf(out->got, sizeof(out->got), "%.*s", (int)(len < sizeof(out->got) ? len : sizeof(out->got)), text);
    }
    return out;
}

#if HIREDIS_MAJOR < 1
typedef int elements_n;
#else
typedef size_t elements_n;
#endif

static void *
on_array(const redisReadTask *task, elements_n n)
{
    (void)n;
    return task->privdata;
}

static void *
on_integer(const redisReadTask *task, long long v)
{
    (void)v;
    return task->privdata;
}

static void *
on_nil(const redisReadTask *task)
{
    struct outcome *out = task->privdata;
    out->aborted = out->aborted || task->parent == NULL; /* of EXEC; of GET it means that there is none */
    return out;
}

static void
on_free(void *object)
{
    (void)object;
}

static redisReplyObjectFunctions noting = {.createString = on_string,
                                           .createArray = on_array,
                                           .createInteger = on_integer,
                                           .createNil = on_nil,
                                           .freeObject = on_free};

static bool
round_trip(struct upt_view *view, struct outcome *out)
{
    memset(out, 0, sizeof(*out));
    if (!upt_cmd_send_noting(view, &noting, out)) {
        return false;
    }
    if (out->error && !out->noscript) {
        upt_log_limited(UPT_LOG_ERROR, "view", "Redis refuses: %s", out->text);
        upt_view_disconnect(view, out->text);
        return false;
    }
    return true;
}

/* ---- markers ---- */

static void
simple(struct upt_view *view, const char *name)
{
    upt_cmd_begin(view);
    upt_cmd_text(view, name);
    upt_cmd_end(view);
}

static void
marker_key(struct upt_view *view, int32_t partition)
{
    upt_buf_clear(&view->key);
    upt_buf_printf(&view->key, "%s_m:{%d}", view->prefix, partition);
}

static void
marker_command(struct upt_view *view, const char *name, int32_t partition, const char *value)
{
    marker_key(view, partition);
    upt_cmd_begin(view);
    upt_cmd_text(view, name);
    upt_cmd_buf(view, &view->key);
    if (value != NULL) {
        upt_cmd_text(view, value);
    }
    upt_cmd_end(view);
}

static void
make_marker(const struct upt_view *view, const struct upt_view_part *part, uint64_t seq, struct upt_pos pos, char *ret)
{
    snprintf(ret, UPT_MARKER_MAX, "%lld %.256s %llu %lld %lld", (long long)part->epoch, view->marker_owner.p,
             (unsigned long long)seq, (long long)pos.offset, (long long)pos.tick);
}

static bool
parse_marker(const char *text, long long *epoch, struct upt_pos *pos)
{
    char owner[300];
    unsigned long long seq;
    long long offset, tick;
    if (sscanf(text, "%lld %299s %llu %lld %lld", epoch, owner, &seq, &offset, &tick) != 5) {
        return false;
    }
    *pos = (struct upt_pos){.offset = offset, .tick = tick};
    return true;
}

/* The copy that was worked with goes back, unless the partition has changed hands meanwhile. */
static void
publish_part(struct upt_view *view, const struct upt_view_part *mine)
{
    pthread_mutex_lock(&view->lock);
    struct upt_view_part *part = upt_view_find(view, mine->partition);
    if (part != NULL && part->gen == mine->gen && part->round == mine->round) {
        memcpy(part->marker, mine->marker, sizeof(part->marker));
        memcpy(part->attempt, mine->attempt, sizeof(part->attempt));
        part->seq = mine->seq;
        part->highest = mine->highest;
        part->take = mine->take;
        part->refused = mine->refused;
        part->floor_known = mine->floor_known;
        part->floor = mine->floor;
        part->stored = mine->stored > part->stored ? mine->stored : part->stored;
    }
    pthread_mutex_unlock(&view->lock);
}

/* Redis lost writes: of one partition for certain, of all as likely as not. All markers are taken anew, without a look
 * at what they were; frames pushed before say nothing any more, for the lane pushes everything again. Doing this for
 * all at once keeps the loss of n markers from being found, and everything pushed again, n times. */
static void
mark_lost(struct upt_view *view)
{
    pthread_mutex_lock(&view->lock);
    for (size_t i = 0; i < view->parts_n; i++) {
        struct upt_view_part *part = &view->parts[i];
        if (part->owned && !part->refused) {
            part->take = part->repair = true;
            part->floor_known = false;
            part->stored = 0;
            part->round++;
            upt_metric_add(view->config.metrics, UPT_M_REDIS_REPAIRS, 1);
        }
    }
    pthread_mutex_unlock(&view->lock);
    view->shares_of[0] = '\0';
}

/* Takes the marker, or sets part->refused if another with a higher epoch has it; part->take stays if others kept coming
 * in between. False: the connection is gone. */
static bool
take(struct upt_view *view, struct upt_view_part *part)
{
    for (int i = 0; i < TRIES; i++) {
        struct outcome out;
        long long epoch = 0;
        struct upt_pos stored = UPT_POS_NONE;
        marker_command(view, "WATCH", part->partition, NULL);
        marker_command(view, "GET", part->partition, NULL);
        if (!round_trip(view, &out)) {
            return false;
        }
        bool there = parse_marker(out.got, &epoch, &stored);
        if (there && epoch > part->epoch) {
            simple(view, "UNWATCH");
            part->refused = true;
            upt_log(UPT_LOG_WARNING, "view",
                    "partition %d has a later owner in Redis; its rows are not written by this one", part->partition);
            upt_metric_add(view->config.metrics, UPT_M_REDIS_GUARD_REFUSALS, 1);
            return round_trip(view, &out);
        }
        char marker[UPT_MARKER_MAX];
        struct upt_pos highest = upt_pos_cmp(stored, part->highest) > 0 ? stored : part->highest;
        make_marker(view, part, part->seq + 1, highest, marker);
        simple(view, "MULTI");
        marker_command(view, "SET", part->partition, marker);
        simple(view, "EXEC");
        upt_crash_point("view.take.before");
        if (!round_trip(view, &out)) {
            return false;
        }
        upt_crash_point("view.take.after");
        if (out.aborted) {
            continue;
        }
        memcpy(part->marker, marker, sizeof(marker));
        part->attempt[0] = '\0';
        part->seq++;
        part->highest = highest;
        part->floor = stored;
        part->floor_known = true;
        part->take = false;
        upt_view_walk(view);
        return true;
    }
    return true;
}

/* An EXEC whose reply was lost did happen. */
static bool
accept_attempt(struct upt_view_part *part, const char *got)
{
    long long epoch;
    if (part->attempt[0] == '\0' || strcmp(got, part->attempt) != 0) {
        return false;
    }
    memcpy(part->marker, part->attempt, sizeof(part->marker));
    (void)parse_marker(part->attempt, &epoch, &part->highest);
    part->attempt[0] = '\0';
    part->seq++;
    return true;
}

/* The marker is not what was written last: another owner, or Redis lost writes. */
static void
marker_differs(struct upt_view *view, struct upt_view_part *part, const char *got)
{
    long long epoch = 0;
    struct upt_pos stored;
    upt_metric_add(view->config.metrics, UPT_M_REDIS_GUARD_REFUSALS, 1);
    if (parse_marker(got, &epoch, &stored) && epoch > part->epoch) {
        part->refused = true;
        upt_log(UPT_LOG_WARNING, "view",
                "partition %d belongs to another process now; its rows are not written any more", part->partition);
        publish_part(view, part);
        return;
    }
    upt_log(UPT_LOG_WARNING, "view", "Redis lost writes of partition %d; publishing all rows again", part->partition);
    mark_lost(view);
}

/* ---- batch ---- */

static const struct upt_view_frame *
frame_at(const struct upt_view *view, size_t at)
{
    return (const void *)(view->batch.p + at);
}

/* Restores the pointers of a row frame; features: up to cap. */
static size_t
unpack_row(const struct upt_view_frame *frame, struct upt_row *row, struct upt_feature_days *features)
{
    const char *p = (const char *)(frame + 1);
    memcpy(row, p, sizeof(*row));
    p += sizeof(*row);
    row->account.p = p;
    p += row->account.len;
    if (row->segment.p != NULL) {
        row->segment.p = p;
        p += row->segment.len;
    }
    if (row->tier.p != NULL) {
        row->tier.p = p;
        p += row->tier.len;
    }
    if (row->renewal_date.p != NULL) {
        row->renewal_date.p = p;
        p += row->renewal_date.len;
    }
    if ((row->changed & UPT_ROW_REST) != 0) {
        row->segments.p = row->segments.p != NULL ? p : NULL;
        p += row->segments.len;
        row->controlled.p = row->controlled.p != NULL ? p : NULL;
        p += row->controlled.len;
    } else {
        row->segments = row->controlled = UPT_STR_NULL;
    }
    if ((row->changed & UPT_ROW_SIGNALS) != 0) {
        row->signals.p = row->signals.p != NULL ? p : NULL;
        p += row->signals.len;
    } else {
        row->signals = UPT_STR_NULL;
    }
    for (uint32_t i = 0; i < frame->features_n; i++) {
        uint32_t head[2];
        memcpy(head, p, sizeof(head));
        p += sizeof(head);
        features[i] = (struct upt_feature_days){.feature = {.p = p, .len = head[0]}, .days = head[1]};
        p += head[0];
    }
    return frame->features_n;
}

static struct upt_str
forgotten_of(const struct upt_view_frame *frame)
{
    return (struct upt_str){.p = (const char *)(frame + 1), .len = frame->features_n};
}

/* Pushed under the present ownership, and after the lane heard of the last loss. */
static bool
is_current(const struct upt_view_part *part, const struct upt_view_frame *frame)
{
    return frame->partition == part->partition && frame->gen == part->gen && frame->round == part->round;
}

static void
format_row_frame(struct upt_view *view, const struct upt_view_frame *frame)
{
    struct upt_row row;
    if (frame->features_n > view->days_cap) {
        struct upt_feature_days *grown = realloc(view->days, frame->features_n * sizeof(*grown));
        upt_assert(grown != NULL);
        view->days = grown;
        view->days_cap = frame->features_n;
    }
    size_t n = unpack_row(frame, &row, view->days);
    upt_format_row(view, &row, view->days, n);
    upt_format_hint(view, &row);
    if ((row.changed & UPT_ROW_REST) != 0) {
        const struct upt_rank rank = {.account = row.account,
                                      .v = {row.has_scores ? row.risk[0] : NAN, row.has_scores ? row.health : NAN},
                                      .segments = row.segments};
        upt_note_rank(view, &rank);
    }
}

/* Rows, ranks, forgotten accounts and the entry of one partition into out; *ret_highest: the highest position of a row.
 */
static unsigned
format_guarded(struct upt_view *view, const struct upt_view_part *part, struct upt_pos *ret_highest)
{
    unsigned rows = 0;
    for (size_t at = 0; at < view->batch.len; at += frame_at(view, at)->len) {
        const struct upt_view_frame *frame = frame_at(view, at);
        struct upt_view_flush flush;
        if (!is_current(part, frame)) {
            continue;
        }
        switch (frame->type) {
        case UPT_FRAME_ROW:
            format_row_frame(view, frame);
            upt_cmd_push(view);
            rows++;
            break;
        case UPT_FRAME_FORGOTTEN:
            upt_format_forgotten(view, forgotten_of(frame));
            upt_note_rank(view, &(const struct upt_rank){.account = forgotten_of(frame), .v = {NAN, NAN}});
            rows++;
            break;
        case UPT_FRAME_FLUSH:
            memcpy(&flush, frame + 1, sizeof(flush));
            upt_format_partition(view, &flush);
            continue;
        default:
            continue;
        }
        *ret_highest = upt_pos_cmp(frame->pos, *ret_highest) > 0 ? frame->pos : *ret_highest;
    }
    upt_format_segments(view);
    upt_format_ranks(view);
    return rows;
}

/* ---- sums ---- */

static bool
load_script(struct upt_view *view, const unsigned char *text, size_t len, char *ret_sha)
{
    struct outcome out;
    upt_cmd_begin(view);
    upt_cmd_text(view, "SCRIPT");
    upt_cmd_text(view, "LOAD");
    upt_cmd_arg(view, (const char *)text, len);
    upt_cmd_end(view);
    if (!round_trip(view, &out)) {
        return false;
    }
    snprintf(ret_sha, 48, "%.47s", out.got);
    return true;
}

/* Both, unless they are loaded. A Redis that was restarted has none. */
static bool
load_scripts(struct upt_view *view)
{
    return view->sum_sha[0] != '\0' ||
           (load_script(view, upt_view_shares_lua, upt_view_shares_lua_len, view->share_sha) &&
            load_script(view, upt_view_sums_lua, upt_view_sums_lua_len, view->sum_sha));
}

static void
sum_head(struct upt_view *view, const struct upt_view_part *part, struct upt_pos pos, int64_t as_of, const char *kind)
{
    upt_cmd_i64(view, part->partition);
    upt_cmd_i64(view, part->epoch);
    upt_cmd_i64(view, pos.offset);
    upt_cmd_i64(view, pos.tick);
    upt_cmd_i64(view, as_of);
    upt_cmd_text(view, kind);
}

static size_t
format_integer(upt_u128 v, char *buf)
{
    char digits[48];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + (int)(v % 10));
        v /= 10;
    } while (v > 0);
    for (size_t i = 0; i < n; i++) {
        buf[i] = digits[n - 1 - i];
    }
    return n;
}

static void
sum_usage(struct upt_view *view, const struct upt_usage usage[UPT_WINDOWS], bool logins)
{
    for (int w = 0; w < UPT_WINDOWS; w++) {
        char text[64];
        upt_cmd_u64(view, usage[w].events);
        upt_cmd_arg(view, text, format_integer((upt_u128)usage[w].micro_units, text));
        if (logins) {
            upt_cmd_u64(view, usage[w].logins);
        }
    }
}

static void
sum_keys(struct upt_view *view, const char *sha, const char *public_family, const char *private_family,
         struct upt_str name)
{
    upt_cmd_begin(view);
    upt_cmd_text(view, "EVALSHA");
    upt_cmd_text(view, sha);
    upt_cmd_text(view, "2");
    upt_key(view, public_family, name, "");
    upt_cmd_buf(view, &view->key);
    upt_key(view, private_family, name, "");
    upt_cmd_buf(view, &view->key);
}

/* Where the name is, or the free slot where it would be. */
static uint32_t *
feature_slot(const struct upt_view *view, struct upt_str name)
{
    for (uint64_t h = upt_hash(name.p, name.len);; h++) {
        uint32_t *slot = &view->feature_slots[h & (view->feature_slots_n - 1)];
        if (*slot == 0 || upt_str_eq(upt_buf_str(&view->features[*slot - 1]), name)) {
            return slot;
        }
    }
}

static void
grow_features(struct upt_view *view)
{
    view->features_cap = view->features_cap == 0 ? 64 : view->features_cap * 2;
    struct upt_buf *grown = realloc(view->features, view->features_cap * sizeof(*grown));
    free(view->feature_slots);
    view->feature_slots_n = view->features_cap * 2;
    view->feature_slots = calloc(view->feature_slots_n, sizeof(*view->feature_slots));
    upt_assert(grown != NULL && view->feature_slots != NULL);
    view->features = grown;
    for (size_t i = 0; i < view->features_n; i++) {
        *feature_slot(view, upt_buf_str(&view->features[i])) = (uint32_t)i + 1;
    }
}

static void
remember_feature(struct upt_view *view, struct upt_str name)
{
    if (view->features_n == view->features_cap) {
        grow_features(view);
    }
    uint32_t *slot = feature_slot(view, name);
    if (*slot != 0) {
        return;
    }
    struct upt_buf *to = &view->features[view->features_n++];
    memset(to, 0, sizeof(*to));
    upt_buf_put(to, name.p, name.len);
    *slot = (uint32_t)view->features_n;
}

static void
format_feature(struct upt_view *view, const struct upt_view_part *part, const struct upt_view_frame *frame)
{
    struct upt_feature_row row;
    memcpy(&row, frame + 1, sizeof(row));
    row.feature.p = (const char *)(frame + 1) + sizeof(row);
    remember_feature(view, row.feature);
    sum_keys(view, view->sum_sha, "feature:", "_f:", row.feature);
    sum_head(view, part, row.pos, row.as_of, "f");
    sum_usage(view, row.usage, false);
    upt_cmd_u64(view, row.accounts_30d);
    upt_cmd_u64(view, row.users_30d);
    /* "users_total users_30d accounts_30d" of the totals as last read */
    char totals[3][48] = {"", "", ""};
    (void)sscanf(view->shares_of, "%47s %47s %47s", totals[0], totals[1], totals[2]);
    for (int i = 0; i < 3; i++) {
        upt_cmd_text(view, totals[i]);
    }
    upt_cmd_end(view);
}

static void
format_totals(struct upt_view *view, const struct upt_view_part *part, const struct upt_view_frame *frame)
{
    struct upt_totals_row row;
    memcpy(&row, frame + 1, sizeof(row));
    upt_cmd_begin(view);
    upt_cmd_text(view, "EVALSHA");
    upt_cmd_text(view, view->sum_sha);
    upt_cmd_text(view, "2");
    upt_buf_clear(&view->key);
    upt_buf_printf(&view->key, "%stotals", view->prefix);
    upt_cmd_buf(view, &view->key);
    upt_buf_clear(&view->key);
    upt_buf_printf(&view->key, "%s_t:{%stotals}", view->prefix, view->prefix); /* in the slot of the public key */
    upt_cmd_buf(view, &view->key);
    sum_head(view, part, row.pos, row.as_of, "t");
    sum_usage(view, row.usage, true);
    upt_cmd_u64(view, row.accounts_30d);
    upt_cmd_u64(view, row.users_30d);
    upt_cmd_u64(view, row.users_total);
    upt_cmd_u64(view, row.accounts_total);
    upt_cmd_u64(view, row.open_alerts);
    upt_cmd_end(view);
}

/* The sums of one partition in the batch, which have a guard of their own. */
static bool
write_sums(struct upt_view *view, const struct upt_view_part *part)
{
    for (int tries = 0; tries < 2; tries++) {
        struct outcome out;
        unsigned n = 0;
        if (!load_scripts(view)) {
            return false;
        }
        for (size_t at = 0; at < view->batch.len; at += frame_at(view, at)->len) {
            const struct upt_view_frame *frame = frame_at(view, at);
            bool sum = frame->type == UPT_FRAME_FEATURE || frame->type == UPT_FRAME_TOTALS;
            if (!sum || !is_current(part, frame)) {
                continue;
            }
            n++;
            if (frame->type == UPT_FRAME_FEATURE) {
                format_feature(view, part, frame);
            } else {
                format_totals(view, part, frame);
            }
        }
        if (n == 0) {
            return true;
        }
        upt_crash_point("view.sums.before");
        if (!round_trip(view, &out)) {
            return false;
        }
        if (!out.noscript) {
            return true;
        }
        view->sum_sha[0] = '\0';
    }
    return false;
}

/* ---- the guard ---- */

typedef enum write_result { WRITE_DONE, WRITE_AGAIN, WRITE_GONE } write_result;

/* One partition's sums, then its rows under its marker. WRITE_AGAIN: look at the partitions anew. WRITE_GONE: the
 * connection is. */
static write_result
write_guarded(struct upt_view *view, struct upt_view_part *part)
{
    struct outcome out;
    marker_command(view, "WATCH", part->partition, NULL);
    marker_command(view, "GET", part->partition, NULL);
    if (!round_trip(view, &out)) {
        return WRITE_GONE;
    }
    if (strcmp(out.got, part->marker) != 0 && !accept_attempt(part, out.got)) {
        marker_differs(view, part, out.got);
        return WRITE_AGAIN;
    }
    if (!write_sums(view, part)) {
        return WRITE_GONE;
    }
    struct upt_pos highest = part->highest;
    simple(view, "MULTI");
    unsigned rows = format_guarded(view, part, &highest);
    make_marker(view, part, part->seq + 1, highest, part->attempt);
    marker_command(view, "SET", part->partition, part->attempt);
    simple(view, "EXEC");
    publish_part(view, part); /* the attempt must be known should the reply be lost */
    upt_crash_point("view.exec.before");
    if (!round_trip(view, &out)) {
        return WRITE_GONE;
    }
    upt_crash_point("view.exec.after");
    if (out.aborted) {
        return WRITE_AGAIN;
    }
    (void)accept_attempt(part, part->attempt);
    publish_part(view, part);
    upt_metric_add(view->config.metrics, UPT_M_REDIS_ROWS, rows);
    return WRITE_DONE;
}

/* Partitions owned now, as a copy. */
static size_t
copy_parts(struct upt_view *view, struct upt_view_part **ret)
{
    size_t n = 0;
    pthread_mutex_lock(&view->lock);
    *ret = calloc(view->parts_n + 1, sizeof(**ret));
    upt_assert(*ret != NULL);
    for (size_t i = 0; i < view->parts_n; i++) {
        if (view->parts[i].owned && !view->parts[i].refused) {
            (*ret)[n] = view->parts[i];
            n++;
        }
    }
    pthread_mutex_unlock(&view->lock);
    return n;
}

static bool
has_frames(const struct upt_view *view, const struct upt_view_part *part)
{
    for (size_t at = 0; at < view->batch.len; at += frame_at(view, at)->len) {
        if (is_current(part, frame_at(view, at))) {
            return true;
        }
    }
    return false;
}

static void
note_flushes(struct upt_view *view, struct upt_view_part *part)
{
    for (size_t at = 0; at < view->batch.len; at += frame_at(view, at)->len) {
        const struct upt_view_frame *frame = frame_at(view, at);
        if (frame->type == UPT_FRAME_FLUSH && is_current(part, frame)) {
            struct upt_view_flush flush;
            memcpy(&flush, frame + 1, sizeof(flush));
            part->stored = flush.number;
        }
    }
}

/* The batch is kept until everything current in it is in Redis; what is not current any more is passed over. */
bool
upt_flush_batch(struct upt_view *view)
{
    struct upt_view_part *parts = NULL;
    size_t n = copy_parts(view, &parts);
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        struct upt_view_part *part = &parts[i];
        if (part->take) {
            ok = take(view, part);
            publish_part(view, part);
            ok = ok && !part->take;
        }
        if (ok && !part->refused && has_frames(view, part)) {
            ok = write_guarded(view, part) == WRITE_DONE || part->refused;
        }
    }
    for (size_t i = 0; i < n && ok; i++) {
        if (!parts[i].refused) {
            note_flushes(view, &parts[i]);
            publish_part(view, &parts[i]);
        }
    }
    if (ok) {
        upt_buf_clear(&view->batch);
    }
    free(parts);
    return ok;
}

/* Looks at every marker, so that lost writes are noticed while nothing changes. */
bool
upt_check_markers(struct upt_view *view)
{
    struct upt_view_part *parts = NULL;
    size_t n = copy_parts(view, &parts);
    bool ok = true, same = true;
    for (size_t i = 0; i < n && ok && same; i++) {
        struct outcome out;
        if (parts[i].take) {
            continue;
        }
        marker_command(view, "GET", parts[i].partition, NULL);
        ok = round_trip(view, &out);
        if (ok && strcmp(out.got, parts[i].marker) != 0) {
            if (accept_attempt(&parts[i], out.got)) {
                publish_part(view, &parts[i]);
            } else {
                marker_differs(view, &parts[i], out.got);
                same = parts[i].refused; /* else all are taken anew */
            }
        }
    }
    free(parts);
    return ok;
}

static void
on_totals(void *ctx, unsigned i, redisReply *reply)
{
    (void)i;
    char *text = ctx;
    size_t n = 0;
    for (size_t k = 0; reply->type == REDIS_REPLY_ARRAY && k < reply->elements; k++) {
        const redisReply *v = reply->element[k];
        n += (size_t)snprintf(text + n, 160 - n, "%s ", v->type == REDIS_REPLY_STRING && v->len < 40 ? v->str : "0");
    }
}

static void
format_share(struct upt_view *view, const struct upt_buf *feature, const char *now)
{
    char totals[3][48] = {"", "", ""};
    (void)sscanf(now, "%47s %47s %47s", totals[0], totals[1], totals[2]);
    upt_cmd_begin(view);
    upt_cmd_text(view, "EVALSHA");
    upt_cmd_text(view, view->share_sha);
    upt_cmd_text(view, "1");
    upt_key(view, "feature:", upt_buf_str(feature), "");
    upt_cmd_buf(view, &view->key);
    for (int k = 0; k < 3; k++) {
        upt_cmd_text(view, totals[k]);
    }
    upt_cmd_end(view);
}

/* Shares are quotients by the totals, which change elsewhere: made anew when they did, whoever writes last. And, within
 * each repair_interval, also when they did not: Redis may have lost them and nothing else, or have carried out commands
 * of a broken connection after those of the present one. */
bool
upt_refresh_shares(struct upt_view *view)
{
    char now[160] = "";
    int64_t now_ms = upt_mono_ms();
    bool all = now_ms - view->shares_all_ms >= view->config.repair_interval_ms;
    upt_cmd_begin(view);
    upt_cmd_text(view, "HMGET");
    upt_buf_clear(&view->key);
    upt_buf_printf(&view->key, "%stotals", view->prefix);
    upt_cmd_buf(view, &view->key);
    upt_cmd_text(view, "users_total");
    upt_cmd_text(view, "users_30d");
    upt_cmd_text(view, "accounts_30d");
    upt_cmd_end(view);
    if (!upt_cmd_send(view, on_totals, now)) {
        return false;
    }
    if ((!all && strcmp(now, view->shares_of) == 0) || view->features_n == 0) {
        return true;
    }
    for (int tries = 0; tries < 2; tries++) { /* at once, not in the next turn: at the end there is none */
        struct outcome out;
        if (!load_scripts(view)) {
            return false;
        }
        for (size_t i = 0; i < view->features_n; i++) {
            format_share(view, &view->features[i], now);
        }
        if (!round_trip(view, &out)) {
            return false;
        }
        if (!out.noscript) {
            memcpy(view->shares_of, now, sizeof(view->shares_of));
            view->shares_all_ms = now_ms;
            return true;
        }
        view->sum_sha[0] = '\0';
    }
    return false;
}
