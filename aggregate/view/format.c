/* Rows to commands: names and forms of the contract's §3. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/view/internal.h"
#include "uptake/assert.h"

#define RANKS_A_COMMAND 48 /* as many as are counted by two digits */

/* ---- account rows ---- */

static const struct upt_name cmd_hset = UPT_NAME(4, "HSET"), cmd_hdel = UPT_NAME(4, "HDEL"),
                             cmd_del = UPT_NAME(3, "DEL");

static const struct upt_name name_usage[UPT_WINDOWS][2] = {
    {UPT_NAME(9, "events_1h"), UPT_NAME(8, "units_1h")},
    {UPT_NAME(10, "events_24h"), UPT_NAME(9, "units_24h")},
    {UPT_NAME(9, "events_7d"), UPT_NAME(8, "units_7d")},
    {UPT_NAME(10, "events_30d"), UPT_NAME(9, "units_30d")},
};
static const struct upt_name name_logins[UPT_WINDOWS] = {UPT_NAME(9, "logins_1h"), UPT_NAME(10, "logins_24h"),
                                                         UPT_NAME(9, "logins_7d"), UPT_NAME(10, "logins_30d")};
static const struct upt_name name_risk[UPT_HORIZONS] = {UPT_NAME(14, "churn_risk_30d"), UPT_NAME(14, "churn_risk_60d"),
                                                        UPT_NAME(14, "churn_risk_90d")};
static const struct upt_name name_as_of = UPT_NAME(5, "as_of"), name_offset = UPT_NAME(6, "offset"),
                             name_last_seen = UPT_NAME(9, "last_seen"), name_next_change = UPT_NAME(11, "next_change"),
                             name_users_24h = UPT_NAME(9, "users_24h"), name_users_7d = UPT_NAME(8, "users_7d"),
                             name_users_30d = UPT_NAME(9, "users_30d"), name_users_total = UPT_NAME(11, "users_total"),
                             name_features_30d = UPT_NAME(12, "features_30d"),
                             name_seat_utilisation = UPT_NAME(16, "seat_utilisation"),
                             name_adoption_rate = UPT_NAME(13, "adoption_rate"),
                             name_first_seen = UPT_NAME(10, "first_seen"), name_partition = UPT_NAME(9, "partition"),
                             name_open_alerts = UPT_NAME(11, "open_alerts"), name_segment = UPT_NAME(7, "segment"),
                             name_tier = UPT_NAME(4, "tier"), name_seats = UPT_NAME(5, "seats"),
                             name_renewal_date = UPT_NAME(12, "renewal_date"), name_health = UPT_NAME(6, "health"),
                             name_confidence = UPT_NAME(17, "health_confidence"),
                             name_band = UPT_NAME(11, "health_band"), name_phase = UPT_NAME(5, "phase"),
                             name_segments = UPT_NAME(8, "segments"),
                             name_controlled = UPT_NAME(17, "controlled_alerts");

static void
field_u64(struct upt_view *view, const struct upt_name *name, uint64_t v)
{
    upt_cmd_name(view, name);
    upt_cmd_u64(view, v);
}

static void
field_i64(struct upt_view *view, const struct upt_name *name, int64_t v)
{
    upt_cmd_name(view, name);
    upt_cmd_i64(view, v);
}

/* What changes with every event comes first: Redis looks for a field from the front. */
static void
fields_always(struct upt_view *view, const struct upt_row *row)
{
    for (int w = 0; w < UPT_WINDOWS; w++) {
        field_u64(view, &name_usage[w][0], row->usage[w].events);
        upt_cmd_name(view, &name_usage[w][1]);
        upt_cmd_micro(view, row->usage[w].micro_units);
    }
    field_i64(view, &name_as_of, row->as_of);
    field_i64(view, &name_offset, row->pos.offset);
    field_i64(view, &name_last_seen, row->last_seen);
    if (row->next_change != UPT_NO_CLOCK) {
        field_i64(view, &name_next_change, row->next_change);
    }
}

/* A field that a row may not have: HDEL takes it if it is absent, HSET if it is present. */
struct optional {
    const struct upt_name *name;
    bool present;
    struct upt_str text; /* or null: micro */
    upt_i128 micro;
};

struct optionals {
    struct optional v[20];
    unsigned n;
};

static void
optional_micro(struct optionals *all, const struct upt_name *name, bool present, upt_i128 v)
{
    all->v[all->n++] = (struct optional){.name = name, .present = present, .micro = v};
}

static void
optional_text(struct optionals *all, const struct upt_name *name, struct upt_str v)
{
    all->v[all->n++] = (struct optional){.name = name, .present = v.p != NULL, .text = v};
}

static upt_i128
micro_of(double v)
{
    return isnan(v) ? 0 : (upt_i128)llrint(v * UPT_MICRO);
}

static void
optional_users(struct optionals *all, const struct upt_row *row)
{
    /* Without seats it is absent, and was: that there are none belongs to the rest, which would have changed too. */
    if (row->seat_utilisation != UPT_SHARE_ABSENT || (row->changed & UPT_ROW_REST) != 0) {
        optional_micro(all, &name_seat_utilisation, row->seat_utilisation != UPT_SHARE_ABSENT, row->seat_utilisation);
    }
    optional_micro(all, &name_adoption_rate, row->adoption_rate != UPT_SHARE_ABSENT, row->adoption_rate);
}

static void
optional_rest(struct optionals *all, const struct upt_row *row)
{
    optional_text(all, &name_segment, row->segment);
    optional_text(all, &name_tier, row->tier);
    optional_micro(all, &name_seats, row->has_seats, row->micro_seats);
    optional_text(all, &name_renewal_date, row->renewal_date);
    optional_text(all, &name_segments, row->segments);
    optional_text(all, &name_controlled, row->controlled);
    optional_micro(all, &name_health, row->has_scores && !isnan(row->health), micro_of(row->health));
    optional_micro(all, &name_confidence, row->has_scores, micro_of(row->confidence));
    optional_text(all, &name_band, row->has_scores ? upt_str_of(upt_band_names[row->band]) : UPT_STR_NULL);
    optional_text(all, &name_phase, row->has_scores ? upt_str_of(upt_phase_names[row->phase]) : UPT_STR_NULL);
    for (int i = 0; i < UPT_HORIZONS; i++) {
        optional_micro(all, &name_risk[i], row->has_scores && !isnan(row->risk[i]), micro_of(row->risk[i]));
    }
}

static void
delete_row(struct upt_view *view)
{
    upt_cmd_begin(view);
    upt_cmd_name(view, &cmd_del);
    upt_cmd_buf(view, &view->key);
    upt_cmd_end(view);
}

/* What a row may have and this one has not, of the groups that are written. signals: NULL if they are not. */
static void
delete_absent(struct upt_view *view, const struct upt_row *row, const struct optionals *all,
              const struct upt_signal_values *signals)
{
    struct {
        const struct upt_name *v[21];
        unsigned n;
    } gone = {.n = 0};
    if (row->next_change == UPT_NO_CLOCK) {
        gone.v[gone.n++] = &name_next_change;
    }
    for (unsigned i = 0; i < all->n; i++) {
        if (!all->v[i].present) {
            gone.v[gone.n++] = all->v[i].name;
        }
    }
    if (gone.n == 0 && (signals == NULL || upt_signal_all_known(signals))) {
        return;
    }
    upt_cmd_begin(view);
    upt_cmd_name(view, &cmd_hdel);
    upt_cmd_buf(view, &view->key);
    for (unsigned i = 0; i < gone.n; i++) {
        upt_cmd_name(view, gone.v[i]);
    }
    for (unsigned i = 0; signals != NULL && i < UPT_SIGNALS; i++) {
        if (!upt_signal_known(signals, i)) {
            upt_cmd_text(view, upt_signal_names[i]);
        }
    }
    upt_cmd_end(view);
}

static void
fields_signals(struct upt_view *view, const struct upt_signal_values *signals)
{
    for (unsigned i = 0; i < UPT_SIGNALS; i++) {
        if (upt_signal_known(signals, i)) {
            upt_cmd_text(view, upt_signal_names[i]);
            upt_cmd_micro(view, signals->micro[i]);
        }
    }
}

static void
fields_seldom(struct upt_view *view, const struct upt_row *row, const struct optionals *all)
{
    if ((row->changed & UPT_ROW_LOGINS) != 0) {
        for (int w = 0; w < UPT_WINDOWS; w++) {
            field_u64(view, &name_logins[w], row->usage[w].logins);
        }
    }
    if ((row->changed & UPT_ROW_USERS) != 0) {
        field_u64(view, &name_users_24h, row->users_24h);
        field_u64(view, &name_users_7d, row->users_7d);
        field_u64(view, &name_users_30d, row->users_30d);
        field_u64(view, &name_users_total, row->users_total);
        field_u64(view, &name_features_30d, row->features_30d);
    }
    if ((row->changed & UPT_ROW_REST) != 0) {
        field_i64(view, &name_first_seen, row->first_seen);
        field_i64(view, &name_partition, row->partition);
        field_u64(view, &name_open_alerts, row->open_alerts);
    }
    for (unsigned i = 0; i < all->n; i++) {
        const struct optional *field = &all->v[i];
        if (!field->present) {
            continue;
        }
        upt_cmd_name(view, field->name);
        if (field->text.p != NULL) {
            upt_cmd_arg(view, field->text.p, field->text.len);
        } else {
            upt_cmd_micro(view, field->micro);
        }
    }
}

/* view->key: that of the row; becomes that of its features. */
static void
format_features(struct upt_view *view, const struct upt_row *row, const struct upt_feature_days *features, size_t n)
{
    upt_buf_puts(&view->key, ":features");
    if (row->whole) {
        delete_row(view);
    }
    for (int present = row->whole ? 1 : 0; present < 2; present++) {
        bool any = false;
        for (size_t i = 0; i < n; i++) {
            if ((features[i].days > 0) != (present == 1)) {
                continue;
            }
            if (!any) {
                any = true;
                upt_cmd_begin(view);
                upt_cmd_name(view, present == 1 ? &cmd_hset : &cmd_hdel);
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
    struct optionals all = {.n = 0};
    struct upt_signal_values signals;
    bool with_signals = (row->changed & UPT_ROW_SIGNALS) != 0 && upt_signal_unpack(row->signals, &signals);
    if ((row->changed & UPT_ROW_USERS) != 0) {
        optional_users(&all, row);
    }
    if ((row->changed & UPT_ROW_REST) != 0) {
        optional_rest(&all, row);
    }
    upt_key(view, "account:", row->account, "");
    if (row->whole) {
        delete_row(view);
    } else {
        delete_absent(view, row, &all, with_signals ? &signals : NULL);
    }
    upt_cmd_begin(view);
    upt_cmd_name(view, &cmd_hset);
    upt_cmd_buf(view, &view->key);
    fields_always(view, row);
    fields_seldom(view, row, &all);
    if (with_signals) {
        fields_signals(view, &signals);
    }
    upt_cmd_end(view);
    if ((row->changed & UPT_ROW_FEATURES) != 0) {
        format_features(view, row, features, n);
    }
}

/* ---- ranks, hints, the rest ---- */

static void
plain_key(struct upt_view *view, const char *name)
{
    upt_buf_clear(&view->key);
    upt_buf_puts(&view->key, view->prefix);
    upt_buf_puts(&view->key, name);
}

/* A rank of all accounts noted, in their order: one command for many, until one is to be added and the next removed. */
static void
format_rank(struct upt_view *view, const char *rank, size_t which)
{
    static const struct upt_name zadd = UPT_NAME(4, "ZADD"), zrem = UPT_NAME(4, "ZREM");
    plain_key(view, rank);
    for (size_t i = 0; i < view->ranks_n;) {
        bool gone = isnan(view->ranks[i].v[which]);
        upt_cmd_begin(view);
        upt_cmd_name(view, gone ? &zrem : &zadd);
        upt_cmd_buf(view, &view->key);
        for (unsigned n = 0; n < RANKS_A_COMMAND && i < view->ranks_n; n++, i++) {
            const struct upt_rank *of = &view->ranks[i];
            if (isnan(of->v[which]) != gone) {
                break;
            }
            if (!gone) {
                upt_cmd_micro(view, micro_of(of->v[which]));
            }
            upt_cmd_arg(view, of->account.p, of->account.len);
        }
        upt_cmd_end(view);
    }
}

void
upt_format_ranks(struct upt_view *view)
{
    format_rank(view, "rank:churn_risk", 0);
    format_rank(view, "rank:health", 1);
    view->ranks_n = 0;
}

void
upt_note_rank(struct upt_view *view, const struct upt_rank *rank)
{
    if (view->ranks_n == view->ranks_cap) {
        view->ranks_cap = view->ranks_cap == 0 ? 256 : view->ranks_cap * 2;
        struct upt_rank *grown = realloc(view->ranks, view->ranks_cap * sizeof(*grown));
        upt_assert(grown != NULL);
        view->ranks = grown;
    }
    view->ranks[view->ranks_n++] = *rank;
}

void
upt_format_hint(struct upt_view *view, const struct upt_row *row)
{
    if (row->has_scores && row->scores_changed) {
        plain_key(view, "changes");
        upt_cmd_begin(view);
        upt_cmd_text(view, "XADD");
        upt_cmd_buf(view, &view->key);
        upt_cmd_text(view, "MAXLEN");
        upt_cmd_text(view, "~");
        upt_cmd_text(view, "10000");
        upt_cmd_text(view, "*");
        upt_cmd_text(view, "account");
        upt_cmd_arg(view, row->account.p, row->account.len);
        field_i64(view, &name_partition, row->partition);
        field_i64(view, &name_offset, row->pos.offset);
        upt_cmd_name(view, &name_band);
        upt_cmd_text(view, upt_band_names[row->band]);
        if (!isnan(row->risk[0])) {
            upt_cmd_name(view, &name_risk[0]);
            upt_cmd_micro(view, micro_of(row->risk[0]));
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
