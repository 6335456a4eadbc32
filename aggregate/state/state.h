/* The deterministic state machine of one partition: state is a function of the log up to an offset, of the ticks up to
 * a minute in their places, and of the configuration. Pure: no I/O, no clock of its own, no thread.
 *
 * @locality: one thread, the lane that owns the partition.
 *
 * Use for each input record, in order:
 *     upt_state_begin(st, offset, ts)            runs the ticks that the record's clock passes, then moves the clock
 *     upt_state_forget(st, key)                  null value, or
 *     upt_state_judge(st, &ev, ts) for each event, then upt_state_apply(st, key, &ev) for those that pass
 * At the end of the log, by the wall: upt_state_wall_tick(st, k).
 *
 * What changed is found with upt_state_next_dirty_*; a checkpoint is taken with upt_state_snapshot_*. */
#ifndef UPT_STATE_H
#define UPT_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uptake/event.h"
#include "uptake/metrics.h"
#include "uptake/position.h"
#include "uptake/row.h"
#include "uptake/status.h"
#include "uptake/str.h"

struct upt_state;
struct upt_account;
struct upt_feature;

/* What scores and rules see of the state, called synchronously on the state's thread. ext is ext_size bytes kept
 * with each account (8-byte aligned, zeroed at birth); what on_event touches should be among the first 128. Every hook
 * may be NULL. */
struct upt_observer {
    size_t ext_size;
    /* An event was counted (not a duplicate). at = its event time. */
    void (*on_event)(void *ctx, struct upt_state *st, struct upt_account *acct, const struct upt_event *ev, int64_t at);
    /* Once a day at minute xxh3_64(account) mod 60 after 00:00 UTC. tick = that minute, Unix ms. */
    void (*on_daily)(void *ctx, struct upt_state *st, struct upt_account *acct, int64_t tick);
    /* At the tick asked for with upt_account_set_timer. Runs before on_daily of the same tick. */
    void (*on_timer)(void *ctx, struct upt_state *st, struct upt_account *acct, int64_t tick);
    /* The account is about to be forgotten (open alerts → EXPIRE, health → null). */
    void (*on_forget)(void *ctx, struct upt_state *st, struct upt_account *acct);
    /* One that is not known is to be forgotten: rows and health records of it may be there all the same. */
    void (*on_stranger)(void *ctx, struct upt_state *st, struct upt_str account);
    /* Fills the score fields of the row. */
    void (*fill_row)(void *ctx, struct upt_state *st, struct upt_account *acct, struct upt_row *row);
    /* Checkpoint codec of ext: append to out, the version first, or 0 for nothing; read all of in. False: damaged. */
    void (*encode)(void *ctx, const void *ext, struct upt_buf *out);
    bool (*decode)(void *ctx, struct upt_state *st, void *ext, struct upt_str in);
    /* Frees what ext points to: the account goes, or another takes its place while loading. Not for decisions. */
    void (*fini)(void *ctx, struct upt_state *st, void *ext);
    /* Codec of what the observer keeps for the partition as a whole, in ctx. in may be empty: nothing was kept. */
    void (*encode_partition)(void *ctx, struct upt_buf *out);
    bool (*decode_partition)(void *ctx, struct upt_str in);
    uint8_t version, partition_version; /* of both codecs; 0: not looked at */
};

struct upt_state_config {
    int32_t partition;
    int64_t max_future_ms;
    int64_t dedup_window_ms;
    int64_t retention_ms;
    int64_t pack_after_ms;               /* accounts idle for so long may be packed (upt_state_pack); 0: none */
    unsigned adopted_days;               /* active days of the last 28 that make an adopted user */
    const struct upt_observer *observer; /* borrowed; may be NULL */
    void *observer_ctx;
    struct upt_metrics *metrics; /* borrowed; must not be NULL */
};

UPT_NODISCARD upt_status upt_state_create(const struct upt_state_config *config, struct upt_state **ret,
                                          struct upt_error *reterr);
void upt_state_destroy(struct upt_state **st_p);

/* ---- time and records ---- */

struct upt_metrics *upt_state_metrics(const struct upt_state *st); /* the set given at its creation */
int32_t upt_state_partition(const struct upt_state *st);
int64_t upt_state_clock(const struct upt_state *st); /* UPT_NO_CLOCK before the first record or wall tick */
struct upt_pos upt_state_pos(const struct upt_state *st);
void upt_state_begin(struct upt_state *st, int64_t offset, int64_t ts);
/* Runs every whole minute after the clock up to k, in order, and raises the clock to k. k: a whole minute. */
void upt_state_wall_tick(struct upt_state *st, int64_t k);
/* bad_feature, bad_quantity, too_late, in_future or none. (bad_account_id is the caller's: it concerns the record.) */
upt_reason upt_state_judge(const struct upt_state *st, const struct upt_event *ev, int64_t ts);
/* Counts an event that passed. False: it was a duplicate, without effect. key: 1..256 bytes, UTF-8. */
bool upt_state_apply(struct upt_state *st, struct upt_str key, const struct upt_event *ev);
void upt_state_forget(struct upt_state *st, struct upt_str key);

/* What looking ahead at an event found. Good for this event in this state, whatever has been applied meanwhile. */
struct upt_hint {
    uint64_t key, id, user;      /* hashes of what is there of the key, the event's id and its user */
    struct upt_account *acct;    /* of the key's hash; NULL: none yet */
    struct upt_feature *feature; /* NULL: none, or not there yet */
    uint64_t removed; /* accounts removed, packed, unpacked until then: acct is gone, perhaps, once there are more */
    uint32_t user_at, used_at; /* where the account has the user and the feature, perhaps */
};

/* Before records are applied, in rounds over a batch of them, so that their misses overlap: asks for the slot of a key
 * (hash: upt_hash of it), then for its account, then for its parts, then for what the event touches there. Nothing but
 * time depends on these. */
void upt_state_prefetch_slot(const struct upt_state *st, uint64_t hash);
void upt_state_prefetch_account(const struct upt_state *st, uint64_t hash, struct upt_hint *ret);
/* Completes the hint, unless the event is not known (NULL). */
void upt_state_prefetch_parts(const struct upt_state *st, struct upt_hint *hint, const struct upt_event *ev);
void upt_state_prefetch_event(struct upt_hint *hint, const struct upt_event *ev);
/* upt_state_apply, without looking again for what the hint, which is complete, holds. */
bool upt_state_apply_hinted(struct upt_state *st, struct upt_str key, const struct upt_event *ev,
                            const struct upt_hint *hint);

/* ---- accounts ---- */

struct upt_account *upt_state_find(struct upt_state *st, struct upt_str key);
/* Walks all accounts, in no particular order; *cursor starts at 0. NULL at the end. The state must not change
 * meanwhile. An account is valid until the next step. */
struct upt_account *upt_state_next(struct upt_state *st, size_t *cursor);
struct upt_str upt_account_id(const struct upt_account *acct);
void *upt_account_ext(struct upt_account *acct);
int64_t upt_account_first_seen(const struct upt_account *acct);
int64_t upt_account_last_seen(const struct upt_account *acct);
/* For the observer: ask for on_timer at this tick (a whole minute after the clock); UPT_NO_CLOCK: none. One at a time.
 */
void upt_account_set_timer(struct upt_state *st, struct upt_account *acct, int64_t tick);
int64_t upt_account_timer(const struct upt_account *acct);
/* For the observer: scores or alerts of the row changed. delta: change of the number of open alerts. */
void upt_account_touch(struct upt_state *st, struct upt_account *acct, int32_t open_alerts_delta);
/* A profile value, "" never: null if unknown. Includes segment, tier, plan, contract_start, renewal_date, traits. */
struct upt_str upt_account_trait(const struct upt_account *acct, struct upt_str name);
bool upt_account_seats(const struct upt_account *acct, int64_t *ret_micro);
/* USAGE events and LOGINs on a UTC day of the 30-day window; zeros outside it. */
struct upt_usage upt_account_day(const struct upt_account *acct, int64_t day);
/* USAGE events of the 30 days up to a day not before the account's last one: [i] = of today − i. */
void upt_account_days(const struct upt_account *acct, int64_t today, uint64_t ret[30]);
/* Features ever used (until forgotten): bit i of *ret_days = used on UTC day (today − i), i = 0..29, today = the
 * clock's. */
size_t upt_account_features_n(const struct upt_account *acct);
void upt_account_feature(const struct upt_state *st, const struct upt_account *acct, size_t i, struct upt_str *ret_name,
                         uint32_t *ret_days);
/* Name of a feature by the id that upt_account_feature_id gives; both are the same for ever, also in a checkpoint. */
struct upt_str upt_state_feature_name(const struct upt_state *st, uint32_t id);
uint32_t upt_account_feature_id(const struct upt_account *acct, size_t i);
/* Users: counts at the clock. */
struct upt_account_users {
    uint64_t d1, d7, d30, total, adopted; /* 24h, 7d, 30d, users_total, adopted users */
};
struct upt_account_users upt_account_users(const struct upt_state *st, const struct upt_account *acct);
/* Of users_total, apart since rows do not need them. */
struct upt_account_people {
    uint64_t trained;           /* with a TRAINING event, ever */
    uint64_t inherited;         /* active in 28 days, no TRAINING, no ONBOARDING_STEP, not there when that was done */
    uint64_t high, medium, low; /* USAGE or VALUE on 12 and more, 4 to 11, 1 to 3 of the last 28 UTC days */
};
struct upt_account_people upt_account_people(const struct upt_state *st, const struct upt_account *acct);
/* Onboarding is done: who is known by now was there. */
void upt_account_onboarded(struct upt_account *acct);
/* Of users_total, on the days of the mask (bit i: UTC day today − i, i = 0..27): with adopted_days of them or more, and
 * with any. */
void upt_account_adoption(const struct upt_state *st, const struct upt_account *acct, uint32_t mask,
                          uint64_t *ret_adopted, uint64_t *ret_active);
/* One user by the hash of the id: bit i of *ret_days = USAGE or VALUE on UTC day (today − i), i = 0..27. False:
 * unknown, or removed and gone from every window. */
bool upt_account_user(const struct upt_state *st, const struct upt_account *acct, uint64_t hash, uint32_t *ret_days,
                      bool *ret_removed);
/* The user with most days of USAGE or VALUE of the last 28, the first seen of several. False: nobody has one. */
bool upt_account_top_user(const struct upt_state *st, const struct upt_account *acct, uint64_t *ret_hash,
                          unsigned *ret_days);
/* For the observer: memory with an account, counted as the state's (mem.h). */
void *upt_state_resize(struct upt_state *st, void *p, size_t old_size, size_t new_size);
/* For the observer: to be called before what encode_partition writes is changed, except within on_event. */
void upt_state_partition_changes(struct upt_state *st);

/* ---- rows (what changed since last asked) ---- */

/* The next account whose row changed and is due, at the present position; false: none. Clears its mark. It is valid
 * until the next call of this. */
bool upt_state_next_dirty(struct upt_state *st, struct upt_account **ret);
void upt_state_row(struct upt_state *st, struct upt_account *acct, struct upt_row *ret);
/* Entries of the feature hash that may differ from what they were when last asked for: those used on one more day, all
 * of a row to be written whole, and all after midnight; with days 0 those that were > 0. More than cap: room for so
 * many is wanted, and nothing was taken. */
size_t upt_state_row_features(struct upt_state *st, struct upt_account *acct, struct upt_feature_days *ret, size_t cap);
/* Groups of the row (UPT_ROW_…) that differ from what this was asked about last; those of the first one, and of a row
 * that is to be written whole, all do. features_n: entries that were taken with it. The others are told by hashes of 64
 * bits, 32 bytes an account: that a change is missed has odds of 1 in 2^64, and a whole row follows within the repair
 * interval. */
unsigned upt_state_row_changed(struct upt_account *acct, const struct upt_row *row, size_t features_n);
/* The next account that was forgotten since last asked (its row is to be deleted); false: none. The id is valid until
 * the next call into the state. */
bool upt_state_next_forgotten(struct upt_state *st, struct upt_str *ret_account);
bool upt_state_next_dirty_feature(struct upt_state *st, struct upt_feature_row *ret);
bool upt_state_dirty_totals(struct upt_state *st, struct upt_totals_row *ret);
/* The same at the present position, whatever the marks; i < upt_state_feature_rows_n, in order of appearance. */
size_t upt_state_feature_rows_n(const struct upt_state *st);
void upt_state_feature_row(const struct upt_state *st, size_t i, struct upt_feature_row *ret);
void upt_state_totals_row(const struct upt_state *st, struct upt_totals_row *ret); /* only with a clock */
/* Marks everything dirty (repair, takeover). */
void upt_state_mark_all_dirty(struct upt_state *st);
void upt_state_mark_dirty(struct upt_state *st, struct upt_account *acct);
/* The same of the next account of a walk; *cursor starts at 0. False: the end. */
bool upt_state_mark_next_dirty(struct upt_state *st, size_t *cursor);
void upt_state_mark_totals_dirty(struct upt_state *st);
/* How many accounts are: upt_state_next_dirty gives them in the order in which they changed. */
size_t upt_state_dirty_accounts(const struct upt_state *st);
/* Rows that changed only because a window moved, of very many accounts at once at midnight: upt_state_next_dirty does
 * not give them until they are due. How many they are; makes the n oldest due. */
size_t upt_state_later_accounts(const struct upt_state *st);
void upt_state_rows_due(struct upt_state *st, size_t n);

/* ---- checkpoint: a consistent snapshot at one position, taken in steps while the state goes on ---- */

/* Begins a snapshot of what changed since the last one (all: of everything). The position and clock to be stored
 * with it are those of this moment. */
void upt_state_snapshot_begin(struct upt_state *st, bool all);
/* Appends the next record to key and value (cleared first). value.len == 0: a tombstone. False: no more now; then
 * upt_state_snapshot_active says whether it is complete (false) — it always is once this returned false. Accounts that
 * change before their turn are serialised by the state at the moment before the change (copy on write). */
bool upt_state_snapshot_next(struct upt_state *st, struct upt_buf *key, struct upt_buf *value);
bool upt_state_snapshot_active(const struct upt_state *st);
/* The snapshot is stored; what was kept in case it would fail is freed. */
void upt_state_snapshot_stored(struct upt_state *st);
/* The snapshot was not stored: its records count as changed again. */
void upt_state_snapshot_failed(struct upt_state *st);

/* Restore into an empty state: records in the order of the log, where a later one of the same key replaces the former
 * and an empty value removes it (a log not yet compacted has both), then done with position and clock of the
 * checkpoint. UPT_EDATA: damaged (CRC, version, length), named in reterr. */
UPT_NODISCARD upt_status upt_state_load(struct upt_state *st, struct upt_str key, struct upt_str value,
                                        struct upt_error *reterr);
UPT_NODISCARD upt_status upt_state_load_done(struct upt_state *st, struct upt_pos pos, int64_t clock,
                                             struct upt_error *reterr);

/* ---- size ---- */

/* Looks at the next n accounts, round and round, and packs those that are idle. Returns how many it packed. No account
 * that was given out before is valid after it. Nothing but memory and time depends on it. */
size_t upt_state_pack(struct upt_state *st, size_t n);
size_t upt_state_accounts_n(const struct upt_state *st);
size_t upt_state_bytes(const struct upt_state *st); /* memory held, allocator overhead estimated */

#endif
