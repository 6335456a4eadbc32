/* See support.h. */
#include "tests/unit/state/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void
make(struct fixture *fx, const struct upt_observer *observer, void *ctx)
{
    const struct upt_state_config config = {
        .partition = 3,
        .max_future_ms = 5 * UPT_MINUTE_MS,
        .dedup_window_ms = 10 * UPT_MINUTE_MS,
        .retention_ms = 60 * UPT_DAY_MS,
        .pack_after_ms = UPT_DAY_MS,
        .adopted_days = 3,
        .observer = observer,
        .observer_ctx = ctx,
        .metrics = &fx->metrics,
    };
    assert_int_equal(upt_state_create(&config, &fx->st, NULL), UPT_OK);
}

void
fixture_init(struct fixture *fx, const struct upt_observer *observer, void *ctx)
{
    memset(fx, 0, sizeof(*fx));
    make(fx, observer, ctx);
}

void
fixture_fini(struct fixture *fx)
{
    upt_state_destroy(&fx->st);
    assert_null(fx->st);
}

void
fixture_reset(struct fixture *fx, const struct upt_observer *observer, void *ctx)
{
    upt_state_destroy(&fx->st);
    make(fx, observer, ctx);
}

bool
put_at(struct fixture *fx, int64_t ts, int64_t occurred_at, const char *key, struct upt_event ev)
{
    ev.account_id = upt_str_of(key);
    ev.occurred_at = occurred_at;
    upt_state_begin(fx->st, fx->offset++, ts);
    assert_int_equal(upt_state_judge(fx->st, &ev, ts), UPT_REASON_NONE);
    return upt_state_apply(fx->st, ev.account_id, &ev);
}

bool
put(struct fixture *fx, int64_t ts, const char *key, struct upt_event ev)
{
    return put_at(fx, ts, ts, key, ev);
}

void
move(struct fixture *fx, int64_t ts)
{
    upt_state_begin(fx->st, fx->offset++, ts);
}

void
forget(struct fixture *fx, int64_t ts, const char *key)
{
    move(fx, ts);
    upt_state_forget(fx->st, upt_str_of(key));
}

struct upt_event
usage(const char *user, const char *feature, double quantity)
{
    return (struct upt_event){
        .kind = UPT_KIND_USAGE, .user_id = upt_str_of(user), .feature = upt_str_of(feature), .quantity = quantity};
}

struct upt_event
event(upt_kind kind, const char *user)
{
    return (struct upt_event){.kind = kind, .user_id = upt_str_of(user), .quantity = 1.0};
}

struct upt_row
row_of(struct fixture *fx, const char *key)
{
    struct upt_account *acct = upt_state_find(fx->st, upt_str_of(key));
    assert_non_null(acct);
    struct upt_row row;
    upt_state_row(fx->st, acct, &row);
    return row;
}

uint32_t
days_of(struct fixture *fx, const char *key, const char *feature)
{
    struct upt_feature_days days[64];
    size_t n = upt_state_row_features(fx->st, upt_state_find(fx->st, upt_str_of(key)), days, 64);
    assert_true(n <= 64);
    for (size_t i = 0; i < n; i++) {
        if (upt_str_eq(days[i].feature, upt_str_of(feature))) {
            return days[i].days;
        }
    }
    return UINT32_MAX;
}

struct upt_feature_row
feature_row(struct fixture *fx, const char *name)
{
    struct upt_feature_row row;
    struct upt_feature_row found = {.partition = -1};
    upt_state_mark_all_dirty(fx->st);
    while (upt_state_next_dirty_feature(fx->st, &row)) {
        if (upt_str_eq(row.feature, upt_str_of(name))) {
            found = row;
        }
    }
    return found;
}

struct upt_totals_row
totals(struct fixture *fx)
{
    struct upt_totals_row row;
    upt_state_mark_totals_dirty(fx->st);
    assert_true(upt_state_dirty_totals(fx->st, &row));
    return row;
}

void
assert_clean(struct fixture *fx)
{
    struct upt_feature_row feature;
    assert_int_equal(upt_state_dirty_accounts(fx->st) + upt_state_later_accounts(fx->st), 0);
    assert_false(upt_state_next_dirty_feature(fx->st, &feature));
}

void
drain(struct fixture *fx)
{
    struct upt_account *acct;
    struct upt_feature_row feature;
    struct upt_totals_row sums;
    struct upt_str id;
    while (upt_state_next_forgotten(fx->st, &id)) {
    }
    upt_state_rows_due(fx->st, SIZE_MAX);
    while (upt_state_next_dirty(fx->st, &acct)) {
    }
    while (upt_state_next_dirty_feature(fx->st, &feature)) {
    }
    (void)upt_state_dirty_totals(fx->st, &sums);
    assert_clean(fx);
}

/* ---- topic ---- */

void
topic_put(struct topic *topic, struct upt_str key, struct upt_str value)
{
    if (topic->n == topic->cap) {
        topic->cap = topic->cap == 0 ? 64 : topic->cap * 2;
        topic->keys = realloc(topic->keys, topic->cap * sizeof(*topic->keys));
        topic->values = realloc(topic->values, topic->cap * sizeof(*topic->values));
        assert_non_null(topic->keys);
        assert_non_null(topic->values);
    }
    topic->keys[topic->n] = topic->values[topic->n] = (struct upt_buf){0};
    upt_buf_put(&topic->keys[topic->n], key.p, key.len);
    if (value.len > 0) {
        upt_buf_put(&topic->values[topic->n], value.p, value.len);
    }
    topic->n++;
}

void
topic_fini(struct topic *topic)
{
    for (size_t i = 0; i < topic->n; i++) {
        upt_buf_fini(&topic->keys[i]);
        upt_buf_fini(&topic->values[i]);
    }
    free(topic->keys);
    free(topic->values);
    *topic = (struct topic){0};
}

static struct upt_str
str_of(const struct upt_buf *buf)
{
    return (struct upt_str){.p = buf->len > 0 ? buf->p : NULL, .len = (uint32_t)buf->len};
}

bool
topic_step(struct topic *topic, struct fixture *fx, size_t n)
{
    struct upt_buf key = {0};
    struct upt_buf value = {0};
    bool more = true;
    for (; n > 0 && more; n--) {
        more = upt_state_snapshot_next(fx->st, &key, &value);
        if (more) {
            topic_put(topic, str_of(&key), str_of(&value));
        }
    }
    upt_buf_fini(&key);
    upt_buf_fini(&value);
    return !more;
}

void
topic_take(struct topic *topic, struct fixture *fx, bool all)
{
    upt_state_snapshot_begin(fx->st, all);
    assert_true(topic_step(topic, fx, SIZE_MAX));
    assert_false(upt_state_snapshot_active(fx->st));
}

upt_status
topic_load(const struct topic *topic, struct fixture *fx, struct upt_pos pos, int64_t clock)
{
    for (size_t i = 0; i < topic->n; i++) {
        upt_status status = upt_state_load(fx->st, str_of(&topic->keys[i]), str_of(&topic->values[i]), NULL);
        if (status != UPT_OK) {
            return status;
        }
    }
    return upt_state_load_done(fx->st, pos, clock, NULL);
}

static bool
holds(const struct topic *topic, struct upt_str key, struct upt_str value)
{
    for (size_t i = 0; i < topic->n; i++) {
        if (upt_str_eq(str_of(&topic->keys[i]), key) && upt_str_eq(str_of(&topic->values[i]), value)) {
            return true;
        }
    }
    return false;
}

bool
topic_equal(const struct topic *a, const struct topic *b)
{
    for (size_t i = 0; i < a->n; i++) {
        if (!holds(b, str_of(&a->keys[i]), str_of(&a->values[i]))) {
            return false;
        }
    }
    return a->n == b->n;
}
