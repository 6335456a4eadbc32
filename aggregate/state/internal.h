/* Inside the state machine. One thread owns all of it.
 *
 *   buckets.c   sparse bucket rings: events, units, logins of minutes, hours, days
 *   hist.c      last-day histograms: exact distinct counts over trailing days
 *   intern.c    shared strings and the partition's features
 *   users.c     users of an account, and which features they use
 *   profile.c   traits and seats
 *   dedup.c     event ids of the last minutes
 *   account.c   accounts and their table
 *   timers.c    what is due at which minute
 *   machine.c   records, ticks, verdicts
 *   rows.c      public rows and what changed
 *   codec.c     checkpoint records; snapshot.c copy-on-write snapshots; load.c restore */
#ifndef UPT_STATE_INTERNAL_H
#define UPT_STATE_INTERNAL_H

#include "aggregate/state/state.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define UPT_DAYS 30 /* of the longest window */
#define UPT_ADOPT_DAYS 28
#define UPT_IDS_MAX 4096 /* event ids remembered in an account */
#define UPT_TRAITS_MAX 64
#define UPT_NO_INDEX UINT32_MAX
#define UPT_NO_DAY INT32_MIN

/* ---- buckets ---- */

/* 24 bytes; units are 96 bits wide: 2^32 events of 1e15 millionths each fit. */
struct upt_bucket {
    int32_t at; /* minute, hour or day number */
    uint32_t events, logins, units_hi;
    uint64_t units_lo;
};

/* Non-empty buckets in ascending order. */
struct upt_buckets {
    struct upt_bucket *v;
    uint16_t n, cap;
};

void upt_buckets_fini(struct upt_buckets *b);
/* Adds to the bucket `at`, after dropping those before `first`. */
void upt_buckets_add(struct upt_buckets *b, int32_t at, int32_t first, uint32_t events, uint32_t logins,
                     uint64_t micro);
/* Adds up first..last into *sum. */
void upt_buckets_sum(const struct upt_buckets *b, int32_t first, int32_t last, struct upt_usage *sum);
/* The oldest bucket at or after first; UPT_NO_DAY: none. */
int32_t upt_buckets_oldest(const struct upt_buckets *b, int32_t first);

/* Minute, hour and day rings of an account, a feature or the totals. */
struct upt_rings {
    struct upt_buckets minutes, hours, days;
};

void upt_rings_fini(struct upt_rings *r);
void upt_rings_add(struct upt_rings *r, int64_t clock, int64_t at, uint32_t events, uint32_t logins, uint64_t micro);
void upt_rings_sum(const struct upt_rings *r, int64_t clock, struct upt_usage ret[UPT_WINDOWS]);
/* The clock at which the first bucket leaves its window; INT64_MAX: none. */
int64_t upt_rings_next(const struct upt_rings *r, int64_t clock);
size_t upt_rings_bytes(const struct upt_rings *r);

/* ---- last-day histograms ---- */

/* How many members were last seen on each of the last UPT_DAYS days. A use moves its member from the old day to the new
 * one, so the sum over a trailing window is an exact distinct count, and days fall out by themselves. */
struct upt_hist {
    uint32_t n[32]; /* by day mod 32 */
    int32_t today;  /* UPT_NO_DAY: empty */
};

void upt_hist_move(struct upt_hist *h, int32_t today, int32_t from, int32_t to); /* from or to: UPT_NO_DAY: none */
uint64_t upt_hist_sum(struct upt_hist *h, int32_t today, int32_t days);
int32_t upt_hist_oldest(struct upt_hist *h, int32_t today); /* UPT_NO_DAY: none within the window */

/* ---- strings and features ---- */

struct upt_feature {
    uint32_t index;
    bool dirty, changed, snap; /* for rows; since the last snapshot; to be serialised by the present one */
    struct upt_rings rings;
    struct upt_hist accounts, pairs; /* pairs: (account, user) */
    uint32_t heap_at;
    uint32_t len;
    char name[];
};

/* Bytes to index, open addressing; entries are never removed. */
struct upt_intern {
    uint32_t *slots; /* index + 1 */
    uint32_t slots_n;
    char **v; /* len (uint32_t), then bytes */
    uint32_t n, cap;
    size_t bytes;
};

uint32_t upt_intern_put(struct upt_intern *in, struct upt_str s);
const char *upt_intern_text(struct upt_intern *in, struct upt_str s); /* for upt_text_of; stays where it is */
void upt_intern_fini(struct upt_intern *in);

/* ---- users ---- */

/* 24 bytes. A 64-bit hash stands for the id: with 1e6 users in one account the odds of any collision are 3e-8. */
struct upt_user {
    uint64_t hash;
    int32_t hour;      /* last USAGE, LOGIN or VALUE; UPT_NO_DAY: none */
    int32_t adopt_day; /* anchor of adopt: bit 0 is this day */
    uint32_t adopt;    /* days with USAGE or VALUE, bit i = adopt_day − i */
    bool counted;      /* in users_total */
};

/* Which (user, feature) pairs were last used when: 8 bytes, open addressing, load ≤ 7/8. */
struct upt_pair {
    uint32_t user;    /* index + 1; 0: free */
    uint16_t feature; /* index in the account's features */
    int16_t day;      /* last USAGE day less UPT_PAIR_EPOCH */
};
#define UPT_PAIR_EPOCH 30000 /* 2052-02-20: ±32,767 days around it reach from 1962 to 2141 */

struct upt_users {
    struct upt_user *v;
    uint32_t n, cap;
    uint32_t *index; /* index + 1 by hash; NULL while few */
    uint32_t index_n;
};

/* ---- account ---- */

struct upt_feature_use {
    uint32_t feature; /* of the partition */
    uint32_t days;    /* bit i = day − i */
    int32_t day;      /* anchor: the last day of use */
    bool shown;       /* days > 0 when last written */
};

struct upt_trait {
    const char *name, *value; /* interned */
};

struct upt_id {
    uint64_t hash;
    int64_t clock; /* when it was accepted */
};

struct upt_ids {
    uint32_t indexed; /* entries of index, also of ids that left */
    struct upt_id *v; /* FIFO: v[(head + i) % cap] */
    uint32_t head, n, cap;
    uint32_t *index; /* position + 1 by hash; NULL while few */
    uint32_t index_n;
};

struct upt_account {
    uint64_t hash;
    int64_t first_seen, last_seen;
    int64_t last_clock;    /* of the last accepted event: retention counts from here */
    int64_t timer, change; /* observer's; when the row changes by itself (INT64_MAX: never) */
    int64_t daily;         /* the next daily minute */
    struct upt_rings rings;
    struct upt_users users;
    struct upt_pair *pairs;
    uint32_t pairs_n, pairs_cap;
    struct upt_feature_use *features;
    uint32_t features_n, features_cap;
    struct upt_trait *traits;
    uint32_t traits_n;
    struct upt_ids ids;
    int64_t micro_seats;
    int32_t active_day; /* last day with USAGE, LOGIN or VALUE; UPT_NO_DAY */
    uint32_t users_total, open_alerts;
    uint32_t position; /* in the table's vector */
    uint32_t heap_at;
    uint32_t pages; /* of the checkpoint record */
    bool has_seats, dirty, changed, snap;
    bool unseen; /* its features were not yet written by this process: Redis may hold those of a former life */
    uint32_t id_len;
    uint32_t ext_at; /* offset of ext from the struct's begin */
    char id[];
};

struct upt_accounts {
    uint32_t *slots; /* position + 1 */
    uint32_t slots_n;
    struct upt_account **v;
    uint32_t n, cap;
};

/* ---- timers: an indexed binary heap; each account, feature and the totals have at most one entry ---- */

#define UPT_NOT_IN_HEAP UINT32_MAX

struct upt_timer {
    int64_t due;
    void *what;     /* account, feature, or the state for its totals */
    uint64_t order; /* accounts: hash; features: index */
    uint32_t *at;   /* where its place in the heap is kept */
    uint8_t kind;
};
enum { UPT_TIMER_ACCOUNT, UPT_TIMER_FEATURE, UPT_TIMER_TOTALS };

struct upt_heap {
    struct upt_timer *v;
    uint32_t n, cap;
};

/* Registers or moves. */
void upt_heap_set(struct upt_heap *heap, struct upt_timer timer);
void upt_heap_remove(struct upt_heap *heap, uint32_t at);
int64_t upt_heap_next(const struct upt_heap *heap); /* INT64_MAX: empty */

/* A growable list of pointers or of ids to be told of. */
struct upt_list {
    void **v;
    size_t n, cap, head;
};
void upt_list_put(struct upt_list *list, void *what);
void *upt_list_take(struct upt_list *list);                  /* NULL: empty */
void upt_list_drop(struct upt_list *list, const void *what); /* takes it out, wherever it stands */
void upt_list_fini(struct upt_list *list);

struct upt_state {
    struct upt_state_config config;
    int64_t clock;
    struct upt_pos pos;
    struct upt_accounts accounts;
    struct upt_intern feature_names, strings;
    struct upt_feature **features; /* by index of feature_names */
    uint32_t features_n, features_cap;
    struct upt_rings rings; /* totals */
    struct upt_hist active_accounts, active_users;
    uint64_t users_total, open_alerts;
    bool totals_dirty, totals_changed, totals_snap;
    uint32_t totals_heap_at;
    struct upt_heap heap;

    struct upt_list dirty, dirty_features;
    struct upt_list forgotten; /* char *: uint32 length, bytes */
    char *forgotten_last;

    /* snapshot */
    bool snapshot;
    struct upt_list changed, changed_features; /* since the last snapshot */
    struct upt_list snap, snap_features;       /* to be serialised, at the snapshot's position */
    struct upt_list tombs;                     /* keys to be removed: char * as above */
    struct upt_list snapped, snapped_features; /* serialised by this one: again, should it fail */
    struct upt_list snapped_tombs;
    struct upt_list early; /* records made before a change (copy on write) */
};

/* account.c */
struct upt_account *upt_accounts_find(const struct upt_accounts *a, struct upt_str key, uint64_t hash);
struct upt_account *upt_account_create(struct upt_state *st, struct upt_str key, uint64_t hash);
void upt_account_free(struct upt_state *st, struct upt_account *acct);
void upt_accounts_remove(struct upt_accounts *a, struct upt_account *acct);
char *upt_text_copy(struct upt_str s); /* uint32 length, bytes */
struct upt_str upt_text_of(const char *text);
/* users.c */
struct upt_user *upt_users_get(struct upt_users *users, uint64_t hash, bool create);
void upt_users_fini(struct upt_users *users);
void upt_adopt_mark(struct upt_user *user, int32_t day);
unsigned upt_adopt_count(const struct upt_user *user, int32_t today);
/* Last USAGE day of (user, feature) moved to day if later; *ret_old: the former (UPT_NO_DAY). */
bool upt_pair_touch(struct upt_account *acct, uint32_t user, uint32_t feature, int32_t day, int32_t *ret_old);
uint32_t upt_account_feature_slot(struct upt_account *acct, uint32_t feature); /* creates */
void upt_use_mark(struct upt_feature_use *use, int32_t day);
uint32_t upt_use_days(const struct upt_feature_use *use, int32_t today); /* bit i = today − i, UPT_DAYS bits */
/* dedup.c */
bool upt_ids_has(struct upt_ids *ids, uint64_t hash, int64_t after); /* accepted while the clock was > after */
bool upt_ids_put(struct upt_ids *ids, uint64_t hash, int64_t clock, int64_t after); /* true: pushed a live one out */
void upt_ids_fini(struct upt_ids *ids);
/* profile.c */
void upt_profile_set_trait(struct upt_state *st, struct upt_account *acct, struct upt_str name, struct upt_str value);
void upt_profile_apply(struct upt_state *st, struct upt_account *acct, const struct upt_event *ev);
/* machine.c */
struct upt_feature *upt_state_feature(struct upt_state *st, struct upt_str name);
void upt_state_schedule(struct upt_state *st, struct upt_account *acct);
void upt_state_schedule_feature(struct upt_state *st, struct upt_feature *f);
void upt_state_schedule_totals(struct upt_state *st);
/* rows.c: marks; copy on write happens here, so they come before the change. */
void upt_mark_account(struct upt_state *st, struct upt_account *acct);
void upt_mark_feature(struct upt_state *st, struct upt_feature *f);
void upt_mark_totals(struct upt_state *st);
void upt_show_account(struct upt_state *st, struct upt_account *acct); /* the row alone changed (a window moved) */
void upt_show_feature(struct upt_state *st, struct upt_feature *f);
int64_t upt_account_next_change(struct upt_state *st, struct upt_account *acct);
/* snapshot.c */
void upt_snapshot_before(struct upt_state *st, struct upt_account *acct);
void upt_snapshot_before_feature(struct upt_state *st, struct upt_feature *f);
void upt_snapshot_before_totals(struct upt_state *st);
void upt_snapshot_gone(struct upt_state *st,
                       struct upt_account *acct); /* forgotten: serialise if due, leave a tombstone */
void upt_snapshot_fini(struct upt_state *st);
/* codec.c: the records, each as a key and a value (texts) at the end of the list. */
void upt_codec_account(struct upt_state *st, struct upt_account *acct, struct upt_list *records);
void upt_codec_feature(struct upt_state *st, const struct upt_feature *f, struct upt_list *records);
void upt_codec_totals(struct upt_state *st, struct upt_list *records);
void upt_codec_tombs(const struct upt_account *acct, struct upt_list *keys); /* keys of its records */

static inline int32_t
upt_minute_of(int64_t ms)
{
    return (int32_t)upt_floor_div(ms, UPT_MINUTE_MS);
}
static inline int32_t
upt_hour_of(int64_t ms)
{
    return (int32_t)upt_floor_div(ms, UPT_HOUR_MS);
}
static inline int32_t
upt_day_of(int64_t ms)
{
    return (int32_t)upt_floor_div(ms, UPT_DAY_MS);
}

#endif
