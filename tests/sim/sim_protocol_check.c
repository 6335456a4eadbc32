/* See sim_protocol_check.h.
 *
 * While it runs: C never goes down, and each owner's epoch is above the former's; R does not pass C; a place once
 * committed stays until R has passed it; no row goes back but with Redis itself, and none shows a wall tick whose place
 * is not committed; up to the offset that the table of partitions shows, rows are written. In the end: the committed
 * outputs are, for each key and in order, byte for byte those of a run without faults of the same log with the wall
 * ticks in the same places; and so are the rows, the sums and the ranks, but for the position that a row was written
 * at. */
#include "sim_protocol_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/kafka/progress.h"
#include "sim_protocol_input.h"
#include "uptake/assert.h"

#define PLACES 4096
#define ROWS 256
#define CONTENTS 8192

struct row {
    struct upt_str key;
    int64_t offset, as_of;
};

struct part {
    struct upt_pos c, r;
    int64_t epoch;
    char writer[64];
    struct upt_place *places;
    size_t places_n;
};

struct content {
    uint64_t where, content; /* hashes: of account and position, and of all fields; 0: free */
};

static struct part parts[SIM_PARTS];
static struct row rows[ROWS];
static size_t rows_n;
static struct content *contents;
static size_t contents_n;
static bool with_ages;

void
sim_check_begin(bool ages)
{
    with_ages = ages;
    contents = sim_alloc(CONTENTS * sizeof(*contents));
    contents_n = 0;
}

void
sim_check_reset(void)
{
    for (int p = 0; p < SIM_PARTS; p++) {
        parts[p] = (struct part){.c = UPT_POS_NONE, .r = UPT_POS_NONE};
        parts[p].places = sim_alloc(PLACES * sizeof(struct upt_place));
    }
    rows_n = 0;
}

/* ---- progress and checkpoints ---- */

static bool
has_place(const struct upt_place *places, size_t n, struct upt_place place)
{
    for (size_t i = 0; i < n; i++) {
        if (places[i].offset == place.offset && places[i].tick >= place.tick) {
            return true;
        }
    }
    return false;
}

static void
add_place(struct part *part, struct upt_place place)
{
    if (has_place(part->places, part->places_n, place)) {
        return;
    }
    if (part->places_n > 0 && part->places[part->places_n - 1].offset == place.offset) {
        part->places[part->places_n - 1].tick = place.tick;
        return;
    }
    upt_assert(part->places_n < PLACES);
    part->places[part->places_n++] = place;
}

static void
check_progress(int at, const struct upt_progress *progress)
{
    struct part *part = &parts[at];
    if (upt_pos_cmp(progress->pos, part->c) < 0) {
        sim_fail("partition %d: C went down from offset %lld to %lld", at, (long long)part->c.offset,
                 (long long)progress->pos.offset);
    }
    bool other = strcmp(progress->writer, part->writer) != 0;
    if (progress->epoch < part->epoch + (other ? 1 : 0)) {
        sim_fail("partition %d: epoch %lld of %s follows epoch %lld of %s", at, (long long)progress->epoch,
                 progress->writer, (long long)part->epoch, part->writer);
    }
    snprintf(part->writer, sizeof(part->writer), "%.63s", progress->writer);
    for (size_t i = 0; i < part->places_n; i++) {
        struct upt_pos pos = {.offset = part->places[i].offset, .tick = part->places[i].tick};
        if (upt_pos_cmp(pos, part->r) > 0 && !has_place(progress->places, progress->places_n, part->places[i])) {
            sim_fail("partition %d: the place of tick %lld after offset %lld was committed and is gone", at,
                     (long long)pos.tick, (long long)pos.offset);
        }
    }
    for (size_t i = 0; i < progress->places_n; i++) {
        add_place(part, progress->places[i]);
    }
    part->c = progress->pos;
    part->epoch = progress->epoch;
}

void
sim_check_committed(enum sim_topic topic, int at, const struct sim_rec *rec)
{
    struct upt_progress progress;
    struct upt_checkpoint checkpoint;
    struct upt_error err;
    if (topic != SIM_T_STATE || rec->key.len != 1) {
        return;
    }
    if (rec->key.p[0] == 'c') {
        if (upt_progress_decode(rec->value, &progress, &err) != UPT_OK) {
            sim_fail("a progress record cannot be read: %s", err.msg);
        }
        check_progress(at, &progress);
        upt_progress_fini(&progress);
    } else if (rec->key.p[0] == 'r') {
        if (upt_checkpoint_decode(rec->value, &checkpoint, &err) != UPT_OK) {
            sim_fail("a checkpoint record cannot be read: %s", err.msg);
        }
        if (upt_pos_cmp(checkpoint.pos, parts[at].c) > 0) {
            sim_fail("partition %d: R passed C: offset %lld, %lld", at, (long long)checkpoint.pos.offset,
                     (long long)parts[at].c.offset);
        }
        parts[at].r = upt_pos_cmp(checkpoint.pos, parts[at].r) > 0 ? checkpoint.pos : parts[at].r;
    }
}

bool
sim_check_new_place(enum sim_topic topic, int at, const struct sim_rec *rec)
{
    struct upt_progress progress;
    if (topic != SIM_T_STATE || rec->key.len != 1 || rec->key.p[0] != 'c' ||
        upt_progress_decode(rec->value, &progress, NULL) != UPT_OK) {
        return false;
    }
    bool found = false;
    for (size_t i = 0; i < progress.places_n; i++) {
        found = found || !has_place(parts[at].places, parts[at].places_n, progress.places[i]);
    }
    upt_progress_fini(&progress);
    return found;
}

const struct upt_place *
sim_check_places(int at, size_t *ret_n)
{
    *ret_n = parts[at].places_n;
    return parts[at].places;
}

/* ---- rows ---- */

static int64_t
field(const struct sim_value *value, const char *name)
{
    struct upt_str text = sim_redis_field(value, upt_str_of(name));
    return text.p != NULL ? strtoll(text.p, NULL, 10) : INT64_MIN;
}

/* Whoever writes a row for a position, and in whichever run, writes the same. */
static void
check_content(struct upt_str key, const struct sim_value *value, int64_t offset, int64_t as_of)
{
    uint64_t content = 0, where = upt_hash(key.p, key.len) ^ upt_hash(&offset, sizeof(offset)) ^
                                  (upt_hash(&as_of, sizeof(as_of)) << 1 | 1);
    for (size_t i = 0; i < value->n; i++) {
        struct upt_str name = value->v[i].name, v = value->v[i].value;
        content += upt_hash(name.p, name.len) * 31 ^ upt_hash(v.p, v.len);
    }
    size_t at = where % CONTENTS;
    while (contents[at].where != 0 && contents[at].where != where) {
        at = (at + 1) % CONTENTS;
    }
    if (contents[at].where == where && contents[at].content != content) {
        sim_fail("row %.*s at offset %lld, clock %lld, was written with other values before", (int)key.len, key.p,
                 (long long)offset, (long long)as_of);
    }
    if (contents[at].where == 0 && ++contents_n == CONTENTS) {
        sim_fail("too many rows");
    }
    contents[at] = (struct content){.where = where, .content = content};
}

void
sim_check_row(struct upt_str key, const struct sim_value *value)
{
    int64_t offset = field(value, "offset"), as_of = field(value, "as_of"), clock = INT64_MIN;
    int p = (int)field(value, "partition");
    const struct sim_log *log = &sim_logs[SIM_T_INPUT][p];
    for (size_t i = 0; i < log->n && log->v[i].offset <= offset; i++) {
        clock = log->v[i].ts > clock ? log->v[i].ts : clock;
    }
    for (size_t i = 0; i < parts[p].places_n && as_of > clock; i++) {
        const struct upt_place *place = &parts[p].places[i];
        clock = place->offset <= offset && place->tick > clock ? place->tick : clock;
    }
    if (as_of > clock && sim_odds.wall) {
        sim_fail("row %.*s shows minute %lld after offset %lld, whose place is not committed", (int)key.len, key.p,
                 (long long)as_of, (long long)offset);
    }
    sim_note("%.*s is written at offset %lld, %lld", (int)key.len, key.p, (long long)offset, (long long)as_of);
    check_content(key, value, offset, as_of);
    size_t i = 0;
    while (i < rows_n && !upt_str_eq(rows[i].key, key)) {
        i++;
    }
    if (i == rows_n) {
        upt_assert(rows_n < ROWS);
        rows[rows_n++] = (struct row){.key = sim_copy(key), .offset = -1, .as_of = INT64_MIN};
    }
    if (offset < rows[i].offset || as_of < rows[i].as_of) {
        sim_fail("row %.*s went back from offset %lld, %lld to %lld, %lld", (int)key.len, key.p,
                 (long long)rows[i].offset, (long long)rows[i].as_of, (long long)offset, (long long)as_of);
    }
    rows[i].offset = offset;
    rows[i].as_of = as_of;
}

void
sim_check_rows_lost(void)
{
    rows_n = 0;
}

static int64_t
shown(struct upt_str entry, const char *name)
{
    const char *at = entry.p != NULL ? strstr(entry.p, name) : NULL;
    return at != NULL ? strtoll(at + strlen(name), NULL, 10) : INT64_MIN;
}

/* Null records later in the log may have been applied too: they end what can be said of the account's row. */
static bool
is_forgotten_after(const struct sim_log *log, size_t i)
{
    bool forgotten = false;
    for (size_t k = i + 1; k < log->n; k++) {
        forgotten = forgotten || (log->v[k].value.p == NULL && upt_str_eq(log->v[k].key, log->v[i].key));
    }
    return forgotten;
}

void
sim_check_entry(int part, struct upt_str entry)
{
    const struct sim_log *log = &sim_logs[SIM_T_INPUT][part];
    int64_t upto = shown(entry, "\"offset\":");
    for (size_t i = 0; !with_ages && i < log->n && log->v[i].offset <= upto; i++) {
        const struct sim_rec *rec = &log->v[i];
        char key[64];
        if (!sim_input_counts(rec) || is_forgotten_after(log, i)) {
            continue;
        }
        snprintf(key, sizeof(key), "uptake:account:{%.*s}", (int)rec->key.len, rec->key.p);
        const struct sim_value *row = sim_redis_get(upt_str_of(key));
        if (row == NULL || field(row, "offset") < rec->offset) {
            sim_fail("partition %d is shown up to offset %lld, but row %s has not got offset %lld", part,
                     (long long)upto, key, (long long)rec->offset);
        }
    }
}

bool
sim_check_settled(int64_t last_tick)
{
    const struct sim_value *table = sim_redis_get(UPT_STR("uptake:partitions"));
    for (int p = 0; p < sim_parts; p++) {
        const struct sim_log *log = &sim_logs[SIM_T_INPUT][p];
        char name[16];
        snprintf(name, sizeof(name), "%d", p);
        struct upt_str entry = sim_redis_field(table, upt_str_of(name));
        int64_t last = log->n > 0 ? log->v[log->n - 1].offset : -1;
        struct sim_offset committed = sim_offset_of(p);
        if (parts[p].c.offset < last || !committed.set || committed.pending || committed.offset < log->end) {
            return false;
        }
        if (log->n > 0 && (shown(entry, "\"offset\":") < last || shown(entry, "\"as_of\":") < last_tick)) {
            return false;
        }
    }
    return sim_redis_walked() && sim_redis_shares_settled();
}

/* ---- the end ---- */

struct sim_result
sim_check_take(void)
{
    struct sim_result result = {.db = sim_db};
    for (int t = SIM_T_ALERTS; t < SIM_T_COUNT; t++) {
        result.outputs[t] = sim_logs[t][0];
    }
    return result;
}

static int
compare(struct upt_str a, struct upt_str b)
{
    uint32_t least = a.len < b.len ? a.len : b.len;
    int order = least > 0 ? memcmp(a.p, b.p, least) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static struct upt_str
header(const struct sim_rec *rec, const char *name)
{
    for (size_t i = 0; i < rec->headers_n; i++) {
        if (upt_str_eq(rec->headers[i].name, upt_str_of(name))) {
            return rec->headers[i].value;
        }
    }
    return UPT_STR_NULL;
}

/* By key, and by the order in the log within a key (of one partition: what has no key may be in several). */
static int
by_key(const void *a, const void *b)
{
    const struct sim_rec *x = *(const struct sim_rec *const *)a, *y = *(const struct sim_rec *const *)b;
    int order = compare(x->key, y->key);
    if (order == 0) {
        order = compare(header(x, "uptake.partition"), header(y, "uptake.partition"));
    }
    return order != 0 ? order : x->offset < y->offset ? -1 : 1;
}

static const struct sim_rec **
committed_of(const struct sim_log *log, size_t *ret_n)
{
    const struct sim_rec **v = sim_alloc((log->n + 1) * sizeof(struct sim_rec *));
    *ret_n = 0;
    for (size_t i = 0; i < log->n; i++) {
        if (log->v[i].state == SIM_COMMITTED) {
            v[(*ret_n)++] = &log->v[i];
        }
    }
    qsort(v, *ret_n, sizeof(struct sim_rec *), by_key);
    return v;
}

static bool
same_record(const struct sim_rec *a, const struct sim_rec *b)
{
    bool same = upt_str_eq(a->key, b->key) && upt_str_eq(a->value, b->value) && a->headers_n == b->headers_n;
    for (size_t i = 0; same && i < a->headers_n; i++) {
        same =
            upt_str_eq(a->headers[i].name, b->headers[i].name) && upt_str_eq(a->headers[i].value, b->headers[i].value);
    }
    return same;
}

static void
same_outputs(enum sim_topic topic, const struct sim_log *got, const struct sim_log *want)
{
    static const char *const names[SIM_T_COUNT] = {"", "", "alert", "health record", "dead letter"};
    size_t n, m;
    const struct sim_rec **a = committed_of(got, &n), **b = committed_of(want, &m);
    for (size_t i = 0; i < n || i < m; i++) {
        if (i < n && i < m && same_record(a[i], b[i])) {
            continue;
        }
        struct upt_str key = i < n ? a[i]->key : b[i]->key;
        struct upt_str at = i < n ? header(a[i], "uptake.offset") : header(b[i], "uptake.offset");
        sim_fail("%zu %ss, and %zu without faults; the first that differs is number %zu, of %.*s (offset %.*s): %s", n,
                 names[topic], m, i, (int)key.len, key.p != NULL ? key.p : "", (int)at.len, at.p != NULL ? at.p : "",
                 n > m   ? "one too many"
                 : n < m ? "one is missing"
                         : "other bytes");
    }
}

static bool
begins(struct upt_str s, const char *head)
{
    return s.len >= strlen(head) && memcmp(s.p, head, strlen(head)) == 0;
}

static bool
is_left_out(struct upt_str name)
{
    return upt_str_eq(name, UPT_STR("as_of")) || upt_str_eq(name, UPT_STR("offset")) ||
           upt_str_eq(name, UPT_STR("next_change"));
}

/* The position that a row was written at differs; a counter that is absent is 0 in a sum. */
static void
same_fields(struct upt_str key, const struct sim_value *got, const struct sim_value *want)
{
    bool sum = begins(key, "uptake:feature:") || begins(key, "uptake:totals");
    for (size_t i = 0; want != NULL && i < want->n; i++) {
        struct upt_str name = want->v[i].name, value = sim_redis_field(got, name);
        if (is_left_out(name)) {
            continue;
        }
        if (!upt_str_eq(value, want->v[i].value) &&
            !(sum && value.p == NULL && upt_str_eq(want->v[i].value, UPT_STR("0")))) {
            sim_fail("%.*s, field %.*s: %.*s and %.*s, one of them without faults", (int)key.len, key.p, (int)name.len,
                     name.p, (int)value.len, value.p != NULL ? value.p : "", (int)want->v[i].value.len,
                     want->v[i].value.p);
        }
    }
}

static void
same_rows(const struct sim_db *got, const struct sim_db *want)
{
    for (size_t i = 0; i < want->n; i++) {
        struct upt_str key = want->v[i].name;
        const struct sim_value *value = NULL;
        if (!begins(key, "uptake:account:") && !begins(key, "uptake:feature:") && !begins(key, "uptake:totals") &&
            !begins(key, "uptake:rank:") && !begins(key, "uptake:segment:")) {
            continue;
        }
        for (size_t k = 0; k < got->n; k++) {
            value = upt_str_eq(got->v[k].name, key) ? got->v[k].value : value;
        }
        same_fields(key, value, want->v[i].value);
    }
}

void
sim_check_same(const struct sim_result *got, const struct sim_result *want)
{
    for (int t = SIM_T_ALERTS; t < SIM_T_COUNT; t++) {
        same_outputs((enum sim_topic)t, &got->outputs[t], &want->outputs[t]);
    }
    same_rows(&got->db, &want->db);
    same_rows(&want->db, &got->db);
}
