/* Rows and sums of a replay against those of Redis.
 *
 * A row is compared where it says that it is true: when the replay stands at its offset and clock. That alone would
 * pass a row that has stood still since Redis lost writes; so a row that is behind its partition's entry, which
 * vouches that all that changed up to there is in Redis, is compared there again, its position left out. The values
 * are written here anew, from the contract, and not by the code that writes rows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/verify.h"
#include "uptake/assert.h"

/* ---- what is due where ---- */

int
upt_verify_by_position(const void *a, const void *b)
{
    const struct upt_verify_due *x = a, *y = b;
    if (x->offset != y->offset) {
        return x->offset < y->offset ? -1 : 1;
    }
    return (x->as_of > y->as_of) - (x->as_of < y->as_of);
}

static void
add_due(struct upt_verify_part *part, size_t *cap, struct upt_verify_due due)
{
    part->due = upt_verify_room(part->due, part->due_n, cap, sizeof(*part->due));
    part->due[part->due_n++] = due;
}

/* Of a replay that begins at a checkpoint, what lies before it is not due. */
static bool
is_before(const struct upt_verify_part *part, int64_t offset, int64_t as_of)
{
    return part->from_checkpoint &&
           (offset < part->from.offset || (offset == part->from.offset && as_of < part->checkpoint.clock));
}

void
upt_verify_plan(struct upt_verify *v, struct upt_verify_part *part)
{
    size_t cap = 0;
    free(part->due);
    part->due = NULL;
    part->due_n = part->due_i = 0;
    for (size_t i = 0; i < v->rows_n; i++) {
        const struct upt_verify_row *row = &v->rows[i];
        if (row->partition == part->id && !is_before(part, row->offset, row->as_of)) {
            add_due(part, &cap, (struct upt_verify_due){.offset = row->offset, .as_of = row->as_of, .index = i});
        }
    }
    for (size_t i = 0; i < v->sums_n; i++) {
        const struct upt_verify_sum *sum = &v->sums[i];
        if (sum->partition == part->id && !is_before(part, sum->offset, sum->as_of)) {
            add_due(part, &cap,
                    (struct upt_verify_due){.offset = sum->offset, .as_of = sum->as_of, .index = i, .sum = true});
        }
    }
    if (part->due_n > 1) {
        qsort(part->due, part->due_n, sizeof(*part->due), upt_verify_by_position);
    }
    part->entry_done = !part->has_entry || is_before(part, part->entry_offset, part->entry_as_of);
    if (part->has_entry && part->entry_done) {
        upt_verify_note(v,
                        "partition %d: its entry in Redis is behind the checkpoint: rows that stood still are not "
                        "verified",
                        (int)part->id);
    }
}

/* ---- a row as it should be ---- */

static void
expect(struct upt_verify *v, const char *name, const char *p, size_t len)
{
    struct upt_verify_fields *fields = &v->expected;
    fields->v = upt_verify_room(fields->v, fields->n, &fields->cap, sizeof(*fields->v));
    fields->v[fields->n].name = upt_str_of(name);
    /* Offsets for now: the bytes may move while they grow. */
    fields->v[fields->n++].value = (struct upt_str){.p = NULL, .len = (uint32_t)len};
    upt_buf_put(&fields->bytes, p, len);
}

static void
expect_micro(struct upt_verify *v, const char *name, upt_i128 micro)
{
    char text[64];
    expect(v, name, text, upt_micro_format(micro, text));
}

static void
expect_number(struct upt_verify *v, const char *name, int64_t number)
{
    char text[32];
    expect(v, name, text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)number));
}

static void
expect_real(struct upt_verify *v, const char *name, double real)
{
    if (!isnan(real)) {
        expect_micro(v, name, (upt_i128)llrint(real * UPT_MICRO));
    }
}

static void
expect_text(struct upt_verify *v, const char *name, struct upt_str text)
{
    if (text.p != NULL) {
        expect(v, name, text.p, text.len);
    }
}

static void
expect_begin(struct upt_verify *v)
{
    v->expected.n = 0;
    upt_buf_clear(&v->expected.bytes);
}

static void
expect_end(struct upt_verify *v)
{
    const char *p = v->expected.bytes.p;
    for (size_t i = 0; i < v->expected.n; i++) {
        v->expected.v[i].value.p = p;
        p += v->expected.v[i].value.len;
    }
    if (v->expected.n > 1) {
        qsort(v->expected.v, v->expected.n, sizeof(*v->expected.v), upt_verify_by_name);
    }
}

static void
expect_scores(struct upt_verify *v, const struct upt_row *row)
{
    static const char *const risks[UPT_HORIZONS] = {"churn_risk_30d", "churn_risk_60d", "churn_risk_90d"};
    expect_real(v, "health", row->health);
    expect_real(v, "health_confidence", row->confidence);
    expect_text(v, "health_band", upt_str_of(upt_band_names[row->band]));
    expect_text(v, "phase", upt_str_of(upt_phase_names[row->phase]));
    for (size_t i = 0; i < UPT_HORIZONS; i++) {
        expect_real(v, risks[i], row->risk[i]);
    }
}

static void
expect_row(struct upt_verify *v, const struct upt_row *row)
{
    static const char *const names[UPT_WINDOWS][3] = {{"events_1h", "units_1h", "logins_1h"},
                                                      {"events_24h", "units_24h", "logins_24h"},
                                                      {"events_7d", "units_7d", "logins_7d"},
                                                      {"events_30d", "units_30d", "logins_30d"}};
    expect_begin(v);
    expect_text(v, "segments", row->segments);
    expect_text(v, "controlled_alerts", row->controlled);
    for (size_t i = 0; i < UPT_WINDOWS; i++) {
        expect_number(v, names[i][0], (int64_t)row->usage[i].events);
        expect_micro(v, names[i][1], row->usage[i].micro_units);
        expect_number(v, names[i][2], (int64_t)row->usage[i].logins);
    }
    expect_number(v, "users_24h", (int64_t)row->users_24h);
    expect_number(v, "users_7d", (int64_t)row->users_7d);
    expect_number(v, "users_30d", (int64_t)row->users_30d);
    expect_number(v, "users_total", (int64_t)row->users_total);
    expect_number(v, "features_30d", (int64_t)row->features_30d);
    expect_number(v, "first_seen", row->first_seen);
    expect_number(v, "last_seen", row->last_seen);
    expect_number(v, "as_of", row->as_of);
    expect_number(v, "partition", row->partition);
    expect_number(v, "offset", row->pos.offset);
    expect_number(v, "open_alerts", row->open_alerts);
    if (row->next_change != UPT_NO_CLOCK) {
        expect_number(v, "next_change", row->next_change);
    }
    expect_text(v, "segment", row->segment);
    expect_text(v, "tier", row->tier);
    expect_text(v, "renewal_date", row->renewal_date);
    if (row->has_seats) {
        expect_micro(v, "seats", row->micro_seats);
    }
    if (row->seat_utilisation != UPT_SHARE_ABSENT) {
        expect_micro(v, "seat_utilisation", row->seat_utilisation);
    }
    if (row->adoption_rate != UPT_SHARE_ABSENT) {
        expect_micro(v, "adoption_rate", row->adoption_rate);
    }
    if (row->has_scores) {
        expect_scores(v, row);
    }
    struct upt_signal_values signals;
    bool whole = upt_signal_unpack(row->signals, &signals);
    upt_assert(whole);
    for (unsigned i = 0; i < UPT_SIGNALS; i++) {
        if (upt_signal_known(&signals, i)) {
            expect_micro(v, upt_signal_names[i], signals.micro[i]);
        }
    }
    expect_end(v);
}

/* ---- comparing ---- */

static bool
is_one_of(struct upt_str name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (upt_str_eq(name, upt_str_of(names[i]))) {
            return true;
        }
    }
    return false;
}

/* Whether a field is left out: its position where another was taken, scores under another configuration. */
static bool
left_out(const struct upt_verify_part *part, struct upt_str name, bool own)
{
    static const char *const position[] = {"offset", "as_of", "next_change"};
    static const char *const scores[] = {"health",         "health_confidence", "health_band",    "phase",
                                         "churn_risk_30d", "churn_risk_60d",    "churn_risk_90d", "open_alerts",
                                         "segments",       "controlled_alerts"};
    return (!own && is_one_of(name, position, 3)) ||
           (!part->scores && (is_one_of(name, scores, 10) || is_one_of(name, upt_signal_names, UPT_SIGNALS)));
}

static void
differs(struct upt_verify *v, const struct upt_verify_row *row, struct upt_state *st, const char *what,
        struct upt_str name, struct upt_str found, struct upt_str expected)
{
    upt_verify_differs(v, "account %.*s at [%d] offset %lld, clock %lld: %s%.*s is %.*s, expected %.*s",
                       (int)row->account.len, row->account.p, (int)row->partition, (long long)upt_state_pos(st).offset,
                       (long long)upt_state_clock(st), what, (int)name.len, name.p,
                       found.p != NULL ? (int)found.len : 6, found.p != NULL ? found.p : "absent",
                       expected.p != NULL ? (int)expected.len : 6, expected.p != NULL ? expected.p : "absent");
}

/* found against expected, both sorted. what: put before the name. */
static void
compare_fields(struct upt_verify *v, struct upt_verify_part *part, const struct upt_verify_row *row,
               struct upt_state *st, const char *what, bool own)
{
    const struct upt_verify_fields *found = &v->found, *expected = &v->expected;
    for (size_t i = 0, k = 0; i < found->n || k < expected->n;) {
        int cmp = i == found->n ? 1 : k == expected->n ? -1 : upt_verify_by_name(&found->v[i], &expected->v[k]);
        struct upt_str name = cmp <= 0 ? found->v[i].name : expected->v[k].name;
        struct upt_str is = cmp <= 0 ? found->v[i].value : UPT_STR_NULL;
        struct upt_str wanted = cmp >= 0 ? expected->v[k].value : UPT_STR_NULL;
        if (!upt_str_eq(is, wanted) && !left_out(part, name, own)) {
            differs(v, row, st, what, name, is, wanted);
        }
        i += cmp <= 0;
        k += cmp >= 0;
    }
}

static void
compare_rank(struct upt_verify *v, const struct upt_verify_row *row, struct upt_state *st, const char *rank,
             struct upt_str found, double expected)
{
    char text[64];
    struct upt_str wanted = UPT_STR_NULL;
    if (!isnan(expected)) {
        wanted = (struct upt_str){.p = text,
                                  .len = (uint32_t)upt_micro_format((upt_i128)llrint(expected * UPT_MICRO), text)};
    }
    /* Redis gives the shortest text of the double; ours has at most six decimals, which is the same number. */
    bool same = (found.p == NULL) == (wanted.p == NULL) &&
                (found.p == NULL || fabs(strtod(found.p, NULL) - expected) < 0.0000005);
    if (!same) {
        differs(v, row, st, rank, UPT_STR(""), found, wanted);
    }
}

static void
compare_row(struct upt_verify *v, struct upt_verify_part *part, struct upt_state *st, const struct upt_verify_row *row,
            bool own)
{
    struct upt_account *acct = upt_state_find(st, row->account);
    struct upt_row is;
    v->rows_compared += own;
    if (acct == NULL) {
        upt_verify_differs(v, "account %.*s has a row, but is not known at [%d] offset %lld, clock %lld",
                           (int)row->account.len, row->account.p, (int)part->id, (long long)upt_state_pos(st).offset,
                           (long long)upt_state_clock(st));
        return;
    }
    upt_state_row(st, acct, &is);
    expect_row(v, &is);
    upt_verify_unpack(&row->row, &v->found);
    compare_fields(v, part, row, st, "", own);

    expect_begin(v);
    for (size_t i = 0; i < upt_account_features_n(acct); i++) {
        struct upt_str feature;
        uint32_t days;
        upt_account_feature(st, acct, i, &feature, &days);
        if (days != 0) {
            expect_number(v, "", __builtin_popcount(days));
            v->expected.v[v->expected.n - 1].name = feature;
        }
    }
    expect_end(v);
    upt_verify_unpack(&row->features, &v->found);
    compare_fields(v, part, row, st, "feature ", own);
    if (part->scores) {
        compare_rank(v, row, st, "rank:churn_risk", row->risk, is.has_scores ? is.risk[0] : NAN);
        compare_rank(v, row, st, "rank:health", row->health, is.has_scores ? is.health : NAN);
        if (!upt_str_eq(row->sets, is.segments)) {
            differs(v, row, st, "sets of segments", UPT_STR(""), row->sets, is.segments);
        }
    }
}

/* ---- at a position ---- */

/* What the state has and Redis must have by now. */
static void
find_missing(struct upt_verify *v, struct upt_verify_part *part, struct upt_state *st)
{
    struct upt_account *acct;
    for (size_t cursor = 0; (acct = upt_state_next(st, &cursor)) != NULL;) {
        struct upt_str id = upt_account_id(acct);
        const struct upt_verify_row *row = upt_verify_find_row(v, id);
        if (row == NULL) {
            part->missing = upt_verify_room(part->missing, part->missing_n, &part->missing_cap, sizeof(*part->missing));
            memset(&part->missing[part->missing_n], 0, sizeof(*part->missing));
            upt_buf_put(&part->missing[part->missing_n++], id.p, id.len);
        } else if (row->partition >= 0 && row->partition != part->id) {
            upt_verify_differs(v, "account %.*s: its row names partition %d, its records are in %d", (int)id.len, id.p,
                               (int)row->partition, (int)part->id);
        }
    }
}

/* The entry vouches for everything up to here: rows and parts that are behind it hold these very values. */
static void
compare_at_entry(struct upt_verify *v, struct upt_verify_part *part, struct upt_state *st)
{
    const struct upt_verify_due here = {.offset = part->entry_offset, .as_of = part->entry_as_of};
    bool has_totals = false;
    size_t features = 0;
    for (size_t i = 0; i < v->rows_n; i++) {
        const struct upt_verify_due at = {.offset = v->rows[i].offset, .as_of = v->rows[i].as_of};
        if (v->rows[i].partition == part->id && upt_verify_by_position(&at, &here) < 0) {
            compare_row(v, part, st, &v->rows[i], false);
        }
    }
    for (size_t i = 0; i < v->sums_n; i++) {
        const struct upt_verify_sum *sum = &v->sums[i];
        const struct upt_verify_due at = {.offset = sum->offset, .as_of = sum->as_of};
        if (sum->partition == part->id) {
            has_totals = has_totals || sum->feature.p == NULL;
            features += sum->feature.p != NULL;
            if (upt_verify_by_position(&at, &here) < 0) {
                upt_verify_compare_sum(v, part, st, sum, false);
            }
        }
    }
    if (!has_totals) {
        upt_verify_differs(v, "totals: the part of partition %d is missing", (int)part->id);
    }
    if (features < upt_state_feature_rows_n(st)) {
        upt_verify_differs(v, "features: partition %d has %zu, but a part in only %zu rows", (int)part->id,
                           upt_state_feature_rows_n(st), features);
    }
    find_missing(v, part, st);
}

static void
take_due(struct upt_verify *v, struct upt_verify_part *part, struct upt_state *st, struct upt_verify_due here)
{
    while (part->due_i < part->due_n && upt_verify_by_position(&part->due[part->due_i], &here) <= 0) {
        const struct upt_verify_due *due = &part->due[part->due_i++];
        const struct upt_verify_row *row = due->sum ? NULL : &v->rows[due->index];
        if (upt_verify_by_position(due, &here) == 0 && due->sum) {
            upt_verify_compare_sum(v, part, st, &v->sums[due->index], true);
        } else if (upt_verify_by_position(due, &here) == 0) {
            compare_row(v, part, st, row, true);
        } else if (due->sum) {
            upt_verify_differs(v, "a part of partition %d in a sum is at offset %lld, clock %lld: no place in the log",
                               (int)part->id, (long long)due->offset, (long long)due->as_of);
        } else {
            upt_verify_differs(v, "account %.*s: its row is at [%d] offset %lld, clock %lld: no place in the log",
                               (int)row->account.len, row->account.p, (int)part->id, (long long)due->offset,
                               (long long)due->as_of);
        }
    }
    const struct upt_verify_due entry = {.offset = part->entry_offset, .as_of = part->entry_as_of};
    if (!part->entry_done && upt_verify_by_position(&entry, &here) <= 0) {
        part->entry_done = true;
        if (upt_verify_by_position(&entry, &here) == 0) {
            compare_at_entry(v, part, st);
        } else {
            upt_verify_differs(v, "partitions: entry %d is at offset %lld, clock %lld: no place in the log",
                               (int)part->id, (long long)entry.offset, (long long)entry.as_of);
        }
    }
}

void
upt_verify_compare(struct upt_verify *v, struct upt_verify_part *part, struct upt_state *st)
{
    take_due(v, part, st, (struct upt_verify_due){.offset = upt_state_pos(st).offset, .as_of = upt_state_clock(st)});
}

void
upt_verify_leftover(struct upt_verify *v, struct upt_verify_part *part, struct upt_state *st)
{
    take_due(v, part, st, (struct upt_verify_due){.offset = INT64_MAX, .as_of = INT64_MAX});
}
