/* Feature rows and totals: each partition's part against the replay, each public row against the sum of its parts.
 *
 * The parts are private to the view (sums.lua); they are looked at because a sum over partitions that stand at
 * different positions can be verified in no other way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/verify.h"

static const char *const feature_names[] = {"events_1h", "units_1h",   "events_24h", "units_24h",    "events_7d",
                                            "units_7d",  "events_30d", "units_30d",  "accounts_30d", "users_30d"};
static const char *const totals_names[] = {"events_1h",      "units_1h",   "logins_1h",    "events_24h", "units_24h",
                                           "logins_24h",     "events_7d",  "units_7d",     "logins_7d",  "events_30d",
                                           "units_30d",      "logins_30d", "accounts_30d", "users_30d",  "users_total",
                                           "accounts_total", "open_alerts"};
#define FEATURE_VALUES (sizeof(feature_names) / sizeof(feature_names[0]))
#define TOTALS_VALUES (sizeof(totals_names) / sizeof(totals_names[0]))

static upt_u128
whole(const char *text, size_t len)
{
    upt_u128 v = 0;
    for (size_t i = 0; i < len && text[i] >= '0' && text[i] <= '9'; i++) {
        v = v * 10U + (unsigned)(text[i] - '0');
    }
    return v;
}

static size_t
values_of_usage(const struct upt_usage usage[UPT_WINDOWS], bool logins, upt_u128 *ret)
{
    size_t n = 0;
    for (size_t i = 0; i < UPT_WINDOWS; i++) {
        ret[n++] = usage[i].events;
        ret[n++] = (upt_u128)usage[i].micro_units;
        if (logins) {
            ret[n++] = usage[i].logins;
        }
    }
    return n;
}

static void
print_whole(upt_u128 v, char *ret)
{
    char digits[48];
    size_t n = 0, at = 0;
    do {
        digits[n++] = (char)('0' + (int)(v % 10));
        v /= 10;
    } while (v > 0);
    while (n > 0) {
        ret[at++] = digits[--n];
    }
    ret[at] = '\0';
}

static void
compare_values(struct upt_verify *v, const struct upt_verify_part *part, const struct upt_verify_sum *sum,
               struct upt_state *st, const upt_u128 *expected, bool own)
{
    bool totals = sum->feature.p == NULL;
    size_t n = totals ? TOTALS_VALUES : FEATURE_VALUES;
    const char *at = sum->values;
    v->sums_compared += own;
    for (size_t i = 0; i < n; i++) {
        size_t len = strcspn(at, " ");
        const char *name = totals ? totals_names[i] : feature_names[i];
        bool skip = !part->scores && strcmp(name, "open_alerts") == 0;
        if (!skip && (len == 0 || whole(at, len) != expected[i])) {
            char text[48];
            print_whole(expected[i], text);
            upt_verify_differs(v, "%s%.*s, part of partition %d at offset %lld, clock %lld: %s%s is %.*s, expected %s",
                               totals ? "totals" : "feature ", totals ? 0 : (int)sum->feature.len,
                               totals ? "" : sum->feature.p, (int)part->id, (long long)upt_state_pos(st).offset,
                               (long long)upt_state_clock(st), name,
                               strncmp(name, "units_", 6) == 0 ? " (millionths)" : "", len > 0 ? (int)len : 6,
                               len > 0 ? at : "absent", text);
        }
        at += len;
        at += *at == ' ';
    }
}

/* The index of a feature of the state; upt_state_feature_rows_n: it has none of this name. */
static size_t
find_feature(struct upt_state *st, struct upt_str name, struct upt_feature_row *ret)
{
    size_t i = 0;
    for (; i < upt_state_feature_rows_n(st); i++) {
        upt_state_feature_row(st, i, ret);
        if (upt_str_eq(ret->feature, name)) {
            break;
        }
    }
    return i;
}

void
upt_verify_compare_sum(struct upt_verify *v, const struct upt_verify_part *part, struct upt_state *st,
                       const struct upt_verify_sum *sum, bool own)
{
    upt_u128 values[TOTALS_VALUES];
    size_t n;
    if (sum->feature.p == NULL) {
        struct upt_totals_row row;
        upt_state_totals_row(st, &row);
        n = values_of_usage(row.usage, true, values);
        values[n++] = row.accounts_30d;
        values[n++] = row.users_30d;
        values[n++] = row.users_total;
        values[n++] = row.accounts_total;
        values[n++] = row.open_alerts;
    } else {
        struct upt_feature_row row = {0};
        if (find_feature(st, sum->feature, &row) == upt_state_feature_rows_n(st)) {
            upt_verify_differs(v, "feature %.*s has a part of partition %d, which has no event of it up to offset %lld",
                               (int)sum->feature.len, sum->feature.p, (int)part->id,
                               (long long)upt_state_pos(st).offset);
            return;
        }
        n = values_of_usage(row.usage, false, values);
        values[n++] = row.accounts_30d;
        values[n++] = row.users_30d;
    }
    compare_values(v, part, sum, st, values, own);
}

/* A public row against the sum of its parts, as both were read at one instant. */
void
upt_verify_add_up(struct upt_verify *v, struct upt_str feature, const struct upt_verify_hash *hash, size_t first,
                  size_t n)
{
    bool totals = feature.p == NULL;
    size_t values_n = totals ? TOTALS_VALUES : FEATURE_VALUES;
    const char *const *names = totals ? totals_names : feature_names;
    upt_verify_unpack(hash, &v->found);
    if (n == 0) {
        if (v->found.n > 0) {
            upt_verify_differs(v, "%s %.*s: a row that no partition has a part in", totals ? "totals" : "feature",
                               (int)feature.len, totals ? "" : feature.p);
        }
        return;
    }
    for (size_t i = 0; i < values_n; i++) {
        upt_u128 sum = 0;
        char text[64];
        for (size_t k = first; k < first + n; k++) {
            const char *at = v->sums[k].values;
            for (size_t skip = 0; skip < i; skip++) {
                at += strcspn(at, " ");
                at += *at == ' ';
            }
            sum += whole(at, strcspn(at, " "));
        }
        if (strncmp(names[i], "units_", 6) == 0) {
            (void)upt_micro_format((upt_i128)sum, text);
        } else {
            print_whole(sum, text);
        }
        const struct upt_verify_field like = {.name = upt_str_of(names[i])};
        const struct upt_verify_field *found =
            v->found.n == 0 ? NULL : bsearch(&like, v->found.v, v->found.n, sizeof(like), upt_verify_by_name);
        if (found == NULL || !upt_str_eq(found->value, upt_str_of(text))) {
            upt_verify_differs(v, "%s%.*s: %s is %.*s, but its parts add up to %s", totals ? "totals" : "feature ",
                               (int)feature.len, totals ? "" : feature.p, names[i],
                               found != NULL ? (int)found->value.len : 6, found != NULL ? found->value.p : "absent",
                               text);
        }
    }
}
