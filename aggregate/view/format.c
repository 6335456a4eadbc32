/* Rows to commands: names and forms of the contract's §3. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "aggregate/view/internal.h"

size_t
upt_format_fraction(double v, char *buf)
{
    return upt_micro_format((upt_i128)llrint(v * UPT_MICRO), buf);
}

static void
field_u64(struct upt_view *view, const char *name, uint64_t v)
{
    upt_cmd_text(view, name);
    upt_cmd_u64(view, v);
}

static void
field_i64(struct upt_view *view, const char *name, int64_t v)
{
    upt_cmd_text(view, name);
    upt_cmd_i64(view, v);
}

static void
field_micro(struct upt_view *view, const char *name, upt_i128 v)
{
    char text[64];
    upt_cmd_text(view, name);
    upt_cmd_arg(view, text, upt_micro_format(v, text));
}

static void
field_str(struct upt_view *view, const char *name, struct upt_str v)
{
    upt_cmd_text(view, name);
    upt_cmd_arg(view, v.p, v.len);
}

static void
fields_usage(struct upt_view *view, const struct upt_usage usage[UPT_WINDOWS])
{
    static const char *const names[UPT_WINDOWS][2] = {
        {"events_1h", "units_1h"}, {"events_24h", "units_24h"}, {"events_7d", "units_7d"}, {"events_30d", "units_30d"}};
    for (int w = 0; w < UPT_WINDOWS; w++) {
        field_u64(view, names[w][0], usage[w].events);
        field_micro(view, names[w][1], usage[w].micro_units);
    }
}

static void
fields_logins(struct upt_view *view, const struct upt_usage usage[UPT_WINDOWS])
{
    static const char *const names[UPT_WINDOWS] = {"logins_1h", "logins_24h", "logins_7d", "logins_30d"};
    for (int w = 0; w < UPT_WINDOWS; w++) {
        field_u64(view, names[w], usage[w].logins);
    }
}

static const char *const risk_names[UPT_HORIZONS] = {"churn_risk_30d", "churn_risk_60d", "churn_risk_90d"};

/* Optional fields: those present are appended to the HSET, those absent listed in gone. */
struct absent {
    const char *names[16];
    unsigned n;
};

static void
optional(struct upt_view *view, struct absent *gone, const char *name, bool present, upt_i128 micro)
{
    if (present) {
        field_micro(view, name, micro);
    } else {
        gone->names[gone->n++] = name;
    }
}

static void
optional_str(struct upt_view *view, struct absent *gone, const char *name, struct upt_str v)
{
    if (v.p != NULL) {
        field_str(view, name, v);
    } else {
        gone->names[gone->n++] = name;
    }
}

static upt_i128
micro_of(double v)
{
    return isnan(v) ? 0 : (upt_i128)llrint(v * UPT_MICRO);
}

static void
fields_users(struct upt_view *view, const struct upt_row *row, struct absent *gone)
{
    field_u64(view, "users_24h", row->users_24h);
    field_u64(view, "users_7d", row->users_7d);
    field_u64(view, "users_30d", row->users_30d);
    field_u64(view, "users_total", row->users_total);
    field_u64(view, "features_30d", row->features_30d);
    optional(view, gone, "seat_utilisation", row->seat_utilisation != UPT_SHARE_ABSENT, row->seat_utilisation);
    optional(view, gone, "adoption_rate", row->adoption_rate != UPT_SHARE_ABSENT, row->adoption_rate);
}

static void
fields_rest(struct upt_view *view, const struct upt_row *row, struct absent *gone)
{
    field_i64(view, "first_seen", row->first_seen);
    field_i64(view, "partition", row->partition);
    field_u64(view, "open_alerts", row->open_alerts);
    optional_str(view, gone, "segment", row->segment);
    optional_str(view, gone, "tier", row->tier);
    optional(view, gone, "seats", row->has_seats, row->micro_seats);
    optional_str(view, gone, "renewal_date", row->renewal_date);
    optional(view, gone, "health", row->has_scores && !isnan(row->health), micro_of(row->health));
    optional(view, gone, "health_confidence", row->has_scores, micro_of(row->confidence));
    optional_str(view, gone, "health_band", row->has_scores ? upt_str_of(upt_band_names[row->band]) : UPT_STR_NULL);
    optional_str(view, gone, "phase", row->has_scores ? upt_str_of(upt_phase_names[row->phase]) : UPT_STR_NULL);
    for (int i = 0; i < UPT_HORIZONS; i++) {
        optional(view, gone, risk_names[i], row->has_scores && !isnan(row->risk[i]), micro_of(row->risk[i]));
    }
}

static void
format_features(struct upt_view *view, const struct upt_row *row, const struct upt_feature_days *features, size_t n)
{
    if (row->whole) {
        upt_key(view, "account:", row->account, ":features");
        upt_cmd_begin(view);
        upt_cmd_text(view, "DEL");
        upt_cmd_buf(view, &view->key);
        upt_cmd_end(view);
    }
    for (int present = row->whole ? 1 : 0; present < 2; present++) {
        bool any = false;
        for (size_t i = 0; i < n; i++) {
            if ((features[i].days > 0) != (present == 1)) {
                continue;
            }
            if (!any) {
                any = true;
                upt_key(view, "account:", row->account, ":features");
                upt_cmd_begin(view);
                upt_cmd_text(view, present == 1 ? "HSET" : "HDEL");
                upt_cmd_buf(view, &view->key);
            }
            upt_cmd_arg(view, features[i].feature.p, features[i].feature.len);
            if (present == 1) {
                upt_cmd_u64(view, features[i].days);
            }
        }
        if (any) {
            upt_cmd_end(view);
        }
    }
}

void
upt_format_row(struct upt_view *view, const struct upt_row *row, const struct upt_feature_days *features, size_t n)
{
    struct absent gone = {.n = 0};
    upt_key(view, "account:", row->account, "");
    upt_cmd_begin(view);
    upt_cmd_text(view, "HSET");
    upt_cmd_buf(view, &view->key);
    /* What changes with every event comes first: Redis looks for a field from the front. */
    fields_usage(view, row->usage);
    field_i64(view, "as_of", row->as_of);
    field_i64(view, "offset", row->pos.offset);
    field_i64(view, "last_seen", row->last_seen);
    optional(view, &gone, "next_change", row->next_change != UPT_NO_CLOCK, (upt_i128)row->next_change * UPT_MICRO);
    if ((row->changed & UPT_ROW_LOGINS) != 0) {
        fields_logins(view, row->usage);
    }
    if ((row->changed & UPT_ROW_USERS) != 0) {
        fields_users(view, row, &gone);
    }
    if ((row->changed & UPT_ROW_REST) != 0) {
        fields_rest(view, row, &gone);
    }
    upt_cmd_end(view);
    if (gone.n > 0) {
        upt_cmd_begin(view);
        upt_cmd_text(view, "HDEL");
        upt_cmd_buf(view, &view->key);
        for (unsigned i = 0; i < gone.n; i++) {
            upt_cmd_text(view, gone.names[i]);
        }
        upt_cmd_end(view);
    }
    if ((row->changed & UPT_ROW_FEATURES) != 0) {
        format_features(view, row, features, n);
    }
}

static void
plain_key(struct upt_view *view, const char *name)
{
    upt_buf_clear(&view->key);
    upt_buf_puts(&view->key, view->prefix);
    upt_buf_puts(&view->key, name);
}

static void
format_rank(struct upt_view *view, const char *rank, struct upt_str account, double v)
{
    char text[64];
    plain_key(view, rank);
    upt_cmd_begin(view);
    upt_cmd_text(view, isnan(v) ? "ZREM" : "ZADD");
    upt_cmd_buf(view, &view->key);
    if (!isnan(v)) {
        upt_cmd_arg(view, text, upt_format_fraction(v, text));
    }
    upt_cmd_arg(view, account.p, account.len);
    upt_cmd_end(view);
}

void
upt_format_ranks(struct upt_view *view, const struct upt_row *row)
{
    char text[64];
    if ((row->changed & UPT_ROW_REST) != 0) {
        format_rank(view, "rank:churn_risk", row->account, row->has_scores ? row->risk[0] : NAN);
        format_rank(view, "rank:health", row->account, row->has_scores ? row->health : NAN);
    }
    if (row->has_scores && row->scores_changed) {
        plain_key(view, "changes");
        upt_cmd_begin(view);
        upt_cmd_text(view, "XADD");
        upt_cmd_buf(view, &view->key);
        upt_cmd_text(view, "MAXLEN");
        upt_cmd_text(view, "~");
        upt_cmd_text(view, "10000");
        upt_cmd_text(view, "*");
        field_str(view, "account", row->account);
        field_i64(view, "partition", row->partition);
        field_i64(view, "offset", row->pos.offset);
        upt_cmd_text(view, "health_band");
        upt_cmd_text(view, upt_band_names[row->band]);
        if (!isnan(row->risk[0])) {
            upt_cmd_text(view, "churn_risk_30d");
            upt_cmd_arg(view, text, upt_format_fraction(row->risk[0], text));
        }
        upt_cmd_end(view);
    }
}

void
upt_format_forgotten(struct upt_view *view, struct upt_str account)
{
    upt_cmd_begin(view);
    upt_cmd_text(view, "DEL");
    upt_key(view, "account:", account, "");
    upt_cmd_buf(view, &view->key);
    upt_key(view, "account:", account, ":features");
    upt_cmd_buf(view, &view->key);
    upt_cmd_end(view);
}

void
upt_format_unranked(struct upt_view *view, struct upt_str account)
{
    format_rank(view, "rank:churn_risk", account, NAN);
    format_rank(view, "rank:health", account, NAN);
}

void
upt_format_partition(struct upt_view *view, const struct upt_view_flush *flush)
{
    struct upt_buf json = {0};
    upt_buf_puts(&json, "{");
    if (flush->pos.offset != UPT_NO_OFFSET) {
        upt_buf_printf(&json, "\"offset\":%lld,", (long long)flush->pos.offset);
    }
    if (flush->as_of != UPT_NO_CLOCK) {
        upt_buf_printf(&json, "\"as_of\":%lld,", (long long)flush->as_of);
    }
    if (flush->end_offset >= 0) {
        upt_buf_printf(&json, "\"end_offset\":%lld,", (long long)flush->end_offset);
    }
    upt_buf_puts(&json, "\"owner\":");
    upt_buf_put_json(&json, view->owner, strlen(view->owner));
    upt_buf_printf(&json, ",\"updated\":%lld}", (long long)flush->wall_ms);
    plain_key(view, "partitions");
    upt_cmd_begin(view);
    upt_cmd_text(view, "HSET");
    upt_cmd_buf(view, &view->key);
    upt_cmd_i64(view, flush->partition);
    upt_cmd_buf(view, &json);
    upt_cmd_end(view);
    upt_buf_fini(&json);
}
