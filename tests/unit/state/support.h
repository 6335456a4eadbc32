/* A state and short ways to feed it, for the tests of aggregate/state. */
#ifndef UPT_TEST_STATE_SUPPORT_H
#define UPT_TEST_STATE_SUPPORT_H

#include <stdio.h>

#include "aggregate/state/state.h"
#include "uptake/time.h"

/* 2026-01-01T00:00:00Z */
#define T0 INT64_C(1767225600000)

struct fixture {
    struct upt_state *st;
    struct upt_metrics metrics;
    int64_t offset;
};

void fixture_init(struct fixture *fx, const struct upt_observer *observer, void *ctx);
void fixture_fini(struct fixture *fx);
/* Throws the state away and makes an empty one. */
void fixture_reset(struct fixture *fx, const struct upt_observer *observer, void *ctx);

/* A record at ts with one event at the same time; false: duplicate. The verdict must be none. */
bool put(struct fixture *fx, int64_t ts, const char *key, struct upt_event ev);
/* The same with a time of its own. */
bool put_at(struct fixture *fx, int64_t ts, int64_t occurred_at, const char *key, struct upt_event ev);
/* A record that moves the clock only. */
void move(struct fixture *fx, int64_t ts);
void forget(struct fixture *fx, int64_t ts, const char *key);
struct upt_event usage(const char *user, const char *feature, double quantity);
struct upt_event event(upt_kind kind, const char *user);
struct upt_row row_of(struct fixture *fx, const char *key); /* it must exist */
/* UINT32_MAX: no entry. */
uint32_t days_of(struct fixture *fx, const char *key, const char *feature);
struct upt_feature_row feature_row(struct fixture *fx, const char *name);
struct upt_totals_row totals(struct fixture *fx);
void assert_clean(struct fixture *fx); /* nothing has changed since it was drained, but the totals' clock */
void drain(struct fixture *fx);

/* A state topic: what snapshots wrote, in order. */
struct topic {
    struct upt_buf *keys, *values;
    size_t n, cap;
};
void topic_put(struct topic *topic, struct upt_str key, struct upt_str value);
void topic_fini(struct topic *topic);
/* Takes a whole snapshot. */
void topic_take(struct topic *topic, struct fixture *fx, bool all);
/* Takes up to n records; true: it was complete. */
bool topic_step(struct topic *topic, struct fixture *fx, size_t n);
/* An empty state loads the topic. */
upt_status topic_load(const struct topic *topic, struct fixture *fx, struct upt_pos pos, int64_t clock);
/* The same records, whatever their order? */
bool topic_equal(const struct topic *a, const struct topic *b);

#endif
