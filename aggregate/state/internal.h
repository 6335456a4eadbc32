/* The state and its accounts from within, and what the files of this room offer each other. */
#ifndef UPT_STATE_INTERNAL_H
#define UPT_STATE_INTERNAL_H

#include <string.h>

#include "aggregate/state/dedup.h"
#include "aggregate/state/features.h"
#include "aggregate/state/mem.h"
#include "aggregate/state/profile.h"
#include "aggregate/state/state.h"
#include "aggregate/state/users.h"
#include "aggregate/state/wheel.h"
#include "aggregate/state/windows.h"

struct upt_account {
    struct upt_item item; /* first: an item of kind ACCOUNT is its account, or packed */
    uint64_t hash;        /* of the id */
    int64_t day;          /* UTC day to which all bitmaps and pairs are relative; not after the clock's */
    struct upt_rings rings;
    struct upt_users users;
    struct upt_uses uses;
    struct upt_pairs pairs;
    struct upt_dedup *dedup;
    int64_t first_seen, last_seen;
    int64_t accepted;   /* clock at the last accepted event */
    int64_t active_day; /* last UTC day of USAGE, LOGIN or VALUE; NO_CLOCK: none */
    int64_t timer;      /* asked for by the observer; NO_CLOCK: none */
    struct upt_profile *profile;
    uint64_t shown[4]; /* hashes of the groups of the row taken last, features apart */
    int64_t shown_day; /* UTC day on which its features were taken last */
    int32_t open_alerts;
    uint16_t id_len;
    uint64_t tail[]; /* the id, then the observer's ext */
};

struct upt_sums {
    struct upt_item item;
    struct upt_rings rings;
    struct upt_hist accounts, users; /* last days of USAGE, LOGIN, VALUE */
    uint64_t users_total;
    int64_t open_alerts;
};

/* Records of a snapshot that were serialised before their turn, and the keys to be deleted. A queue of
 * { u32 key length, u32 value length, key, value }. */
struct upt_records {
    struct upt_buf buf;
    size_t at; /* of the next one */
};

struct upt_snapshot {
    uint32_t generation; /* grows with each snapshot begun */
    bool active;
    struct upt_now now;         /* of the snapshot under way or taken last */
    struct upt_deque changed;   /* items changed since the last snapshot began */
    struct upt_deque pending;   /* items of the snapshot under way that wait for their turn */
    struct upt_records queue;   /* ready to be handed out */
    struct upt_records gone;    /* keys deleted since the last snapshot began */
    struct upt_records deleted; /* keys that the snapshot under way, or taken last, deletes */
    struct upt_buf scratch, scratch_key;
};

struct upt_state {
    struct upt_state_config config;
    struct upt_observer observer; /* a copy; hooks that are not there are NULL */
    struct upt_mem mem;
    struct upt_now now;
    bool has_clock;
    int64_t dedup_minutes; /* whole ones of the window for duplicates */
    struct upt_pos pos;
    struct upt_table accounts;
    uint64_t removed;             /* accounts so far, and packed or unpacked: hints of before may lead to one */
    size_t pack_cursor;           /* of the slot that packing looks at next */
    struct upt_account *unpacked; /* for a row or a walk: to be packed again; NULL: none */
    struct upt_features features;
    struct upt_table strings;
    struct upt_sums totals;
    struct upt_wheel wheel;
    struct upt_deque dirty_accounts, later_accounts, dirty_features;
    struct upt_records forgotten; /* keys */
    struct upt_snapshot snapshot;
    struct upt_account **due; /* scratch of a tick */
    size_t due_n, due_cap;
    struct upt_pages *pages; /* of large accounts, while loading */
    bool foreign;            /* the record that was loaded last is another version's */
    struct upt_buf codec;    /* scratch of the codec */
    struct upt_buf ext;      /* likewise: the observer's part, not packed */
};

/* state.c */
/* Hashes of what the event names, and its feature. */
void upt_hint_complete(const struct upt_state *st, struct upt_hint *hint, const struct upt_event *ev);

/* account.c */
static inline bool
upt_account_is(const struct upt_account *acct, struct upt_str key)
{
    return acct->id_len == key.len && memcmp(acct->tail, key.p, key.len) == 0;
}
struct upt_account *upt_account_lookup(struct upt_state *st, struct upt_str key, uint64_t hash);
struct upt_account *upt_account_create(struct upt_state *st, struct upt_str key, uint64_t hash); /* in no table yet */
struct upt_account *upt_account_birth(struct upt_state *st, struct upt_str key, uint64_t hash);
void upt_account_remove(struct upt_state *st, struct upt_account *acct); /* forgets it, with all it contributed */
void upt_account_free(struct upt_state *st, struct upt_account *acct);
/* Brings bitmaps and pairs up to the clock's day. */
void upt_account_roll_on(struct upt_state *st, struct upt_account *acct);
static inline void
upt_account_roll(struct upt_state *st, struct upt_account *acct)
{
    if (acct->day != st->now.b[UPT_R_DAY]) {
        upt_account_roll_on(st, acct);
    }
}
/* Days since the last USAGE, LOGIN or VALUE; −1: none in the window. */
int upt_account_age(const struct upt_account *acct, const struct upt_now *now);
/* Walks the accounts as they are, packed or not. */
struct upt_item *upt_state_next_item(const struct upt_state *st, size_t *cursor);

/* pack.c */
struct upt_packed;
struct upt_str upt_packed_id(const struct upt_packed *packed);
/* The account is back in its place, as if it had stood there all the time; what was packed is gone. */
struct upt_account *upt_packed_unpack(struct upt_state *st, struct upt_packed *packed);
/* The same until put_back, unless it has changed by then. */
struct upt_account *upt_packed_unpack_to_read(struct upt_state *st, struct upt_item *item);
void upt_packed_put_back(struct upt_state *st);
/* A copy as of now, which is not before it was packed; the caller's to free. */
struct upt_account *upt_packed_read(struct upt_state *st, const struct upt_packed *packed, const struct upt_now *now);
void upt_packed_free(struct upt_state *st, struct upt_packed *packed);
/* Its minute has come. The account, if there is something to decide; NULL: it stays packed. */
struct upt_account *upt_packed_due(struct upt_state *st, struct upt_item *item);
static inline struct upt_account *
upt_account_to_read(struct upt_state *st, struct upt_item *item)
{
    return upt_item_is_packed(item) ? upt_packed_unpack_to_read(st, item) : (struct upt_account *)(void *)item;
}

/* tick.c */
void upt_state_run_ticks(struct upt_state *st, int64_t upto);
void upt_state_set_clock(struct upt_state *st, int64_t clock);
/* Brings a minute within the wheel's reach. */
static inline int64_t
upt_within_reach(const struct upt_state *st, int64_t minute)
{
    int64_t now = st->now.b[UPT_R_MINUTE];
    int64_t last = now + UPT_WHEEL_REACH;
    return minute > last ? last : (minute > now ? minute : now + 1);
}
/* The first clock after now at which a counter or share changes if nothing comes; UPT_NEVER: none. */
int64_t upt_account_next_change(const struct upt_state *st, const struct upt_account *acct, const struct upt_now *now);
/* Arms for a minute, or the first after the clock, unless armed for an earlier one. */
static inline void
upt_state_arm(struct upt_state *st, struct upt_item *item, int64_t minute)
{
    int64_t within = upt_within_reach(st, minute);
    if (upt_wheel_is_later(item, within)) {
        upt_wheel_arm(&st->wheel, item, within);
    }
}
/* Is the clock's minute the daily one of an account with this hash; and the first such time after the clock. */
bool upt_is_daily(const struct upt_state *st, uint64_t hash);
int64_t upt_daily_after(const struct upt_state *st, uint64_t hash);
/* When it is forgotten, or its timer ends. */
int64_t upt_account_next_decision(const struct upt_state *st, const struct upt_account *acct);
/* The first whole minute at or after ms. */
int64_t upt_minute_at(int64_t ms);
void upt_account_rearm(struct upt_state *st, struct upt_account *acct);
void upt_feature_rearm(struct upt_state *st, struct upt_feature *feature);
void upt_totals_rearm(struct upt_state *st);

/* rows.c */
void upt_item_dirty(struct upt_state *st, struct upt_item *item);
/* An account of which only a window moved: its row may wait for upt_state_rows_due. */
void upt_item_later(struct upt_state *st, struct upt_item *item);
struct upt_deque *upt_rows_queue(struct upt_state *st, const struct upt_item *item); /* in which it is, or would be */
void upt_item_taken(struct upt_state *st, struct upt_item *item);                    /* out of the queue of rows */
void upt_records_push(struct upt_records *records, struct upt_str key, struct upt_str value);
bool upt_records_pop(struct upt_records *records, struct upt_str *ret_key, struct upt_str *ret_value);

/* snapshot.c */
/* To be called before anything of an item is touched that its checkpoint record holds: a snapshot under way gets the
 * item as it is now. */
void upt_item_before(struct upt_state *st, struct upt_item *item);
/* The same, and the item is to be in the next snapshot. */
void upt_item_changed(struct upt_state *st, struct upt_item *item);
/* upt_item_changed and upt_item_dirty. */
void upt_item_touch_first(struct upt_state *st, struct upt_item *item);
static inline void
upt_item_touch(struct upt_state *st, struct upt_item *item)
{
    const uint8_t both = UPT_ITEM_DIRTY | UPT_ITEM_QUEUED;
    if ((item->flags & (both | UPT_ITEM_LATER)) != both || item->changed != st->snapshot.generation) {
        upt_item_touch_first(st, item);
    }
}
/* An account is going: it leaves every queue, and its records are deleted by the next snapshot. */
void upt_item_gone(struct upt_state *st, struct upt_item *item);

/* codec.c, decode.c */
#define UPT_CODEC_VERSION 4
#define UPT_PAGE_BYTES (256 * 1024)
enum { UPT_KEY_ACCOUNT = 'a', UPT_KEY_PAGE = 'p', UPT_KEY_FEATURE = 'f', UPT_KEY_TOTALS = 't' };
/* Appends the records of an item as of `now` to out; sets item->pages. */
void upt_codec_encode(struct upt_state *st, struct upt_item *item, const struct upt_now *now, struct upt_records *out);
/* An account without its id, as of `now`; and back, into one that is empty, as of the clock at which it was written.
 * False: damaged. */
void upt_account_encode(struct upt_state *st, struct upt_buf *out, struct upt_account *acct, const struct upt_now *now);
bool upt_account_decode(struct upt_state *st, struct upt_cur *cur, struct upt_account *acct);
/* Brings rings from the day at which they were written to now. */
void upt_rings_revive(struct upt_mem *mem, struct upt_rings *rings, int64_t written_day, const struct upt_now *now);
void upt_codec_key(const struct upt_item *item, uint32_t page, struct upt_buf *ret);
void upt_pages_destroy(struct upt_state *st);

#endif
