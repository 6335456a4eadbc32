/* Rows, and what changed since they were last asked for.
 *
 * Values are computed when a row is taken, which happens once for many events of a busy account. Which items changed is
 * kept in queues, first in, first out, so that none starves while a slow reader takes only some.
 *
 * @locality: the thread that owns the state. */
#include <string.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

struct upt_deque *
upt_rows_queue(struct upt_state *st, const struct upt_item *item)
{
    return item->kind == UPT_ITEM_FEATURE        ? &st->dirty_features
           : (item->flags & UPT_ITEM_LATER) != 0 ? &st->later_accounts
                                                 : &st->dirty_accounts;
}

void
upt_item_taken(struct upt_state *st, struct upt_item *item)
{
    if ((item->flags & UPT_ITEM_DIRTY) != 0) {
        upt_deque_drop(upt_rows_queue(st, item), item->dirty);
        item->flags &= (uint8_t) ~(UPT_ITEM_DIRTY | UPT_ITEM_LATER);
    }
}

void
upt_item_later(struct upt_state *st, struct upt_item *item)
{
    if ((item->flags & UPT_ITEM_DIRTY) == 0) {
        item->flags |= UPT_ITEM_DIRTY | UPT_ITEM_LATER;
        item->dirty = upt_deque_push(&st->mem, &st->later_accounts, item);
    }
}

void
upt_item_dirty(struct upt_state *st, struct upt_item *item)
{
    if ((item->flags & UPT_ITEM_LATER) != 0) {
        upt_item_taken(st, item);
    }
    if ((item->flags & UPT_ITEM_DIRTY) == 0) {
        item->flags |= UPT_ITEM_DIRTY;
        if (item->kind != UPT_ITEM_TOTALS) {
            item->dirty = upt_deque_push(&st->mem, upt_rows_queue(st, item), item);
        }
    }
}

/* ---- queues of keys and values ---- */

void
upt_records_push(struct upt_records *records, struct upt_str key, struct upt_str value)
{
    upt_buf_put_le32(&records->buf, key.len);
    upt_buf_put_le32(&records->buf, value.len);
    upt_buf_put(&records->buf, key.p, key.len);
    if (value.len > 0) {
        upt_buf_put(&records->buf, value.p, value.len);
    }
}

#define KEEP_BYTES (1024 * 1024) /* of an empty queue's buffer */

bool
upt_records_pop(struct upt_records *records, struct upt_str *ret_key, struct upt_str *ret_value)
{
    if (records->at == records->buf.len) {
        records->at = 0;
        upt_buf_clear(&records->buf);
        if (records->buf.cap > KEEP_BYTES) {
            upt_buf_fini(&records->buf);
        }
        return false;
    }
    struct upt_cur cur = {.p = records->buf.p + records->at, .end = records->buf.p + records->buf.len, .ok = true};
    uint32_t key_len = upt_cur_le32(&cur);
    uint32_t value_len = upt_cur_le32(&cur);
    *ret_key = upt_cur_bytes(&cur, key_len);
    *ret_value = upt_cur_bytes(&cur, value_len);
    upt_assert(cur.ok);
    records->at = (size_t)(cur.p - records->buf.p);
    return true;
}

/* ---- accounts ---- */

#define AHEAD_ACCOUNT 6 /* rows ahead: the account */
#define AHEAD_PARTS 3   /* and what it points to */
#define PREFETCH_MAX 256

static const struct upt_account *
ahead(const struct upt_deque *dq, uint32_t n)
{
    return n < dq->n ? dq->v[(dq->head + n) & (dq->cap - 1)] : NULL; /* or packed */
}

/* An account was last touched up to an interval ago: without this a row waits for memory most of its time. */
static void
prefetch_rows(const struct upt_deque *dq)
{
    const struct upt_account *acct = ahead(dq, AHEAD_ACCOUNT);
    if (acct != NULL) {
        upt_prefetch(acct, sizeof(*acct) + UPT_LINE);
    }
    acct = ahead(dq, AHEAD_PARTS);
    if (acct != NULL && !upt_item_is_packed(&acct->item)) {
        upt_prefetch(acct->rings.v, PREFETCH_MAX);
        upt_prefetch(acct->users.v,
                     upt_users_scanned(&acct->users) ? acct->users.n * sizeof(*acct->users.v) : PREFETCH_MAX);
        upt_prefetch(acct->uses.v, upt_uses_scanned(&acct->uses) ? acct->uses.n * sizeof(*acct->uses.v) : PREFETCH_MAX);
    }
}

bool
upt_state_next_dirty(struct upt_state *st, struct upt_account **ret)
{
    upt_packed_put_back(st);
    prefetch_rows(&st->dirty_accounts);
    struct upt_item *item = upt_deque_pop(&st->mem, &st->dirty_accounts);
    if (item == NULL) {
        return false;
    }
    item->flags &= (uint8_t)~UPT_ITEM_DIRTY;
    *ret = upt_account_to_read(st, item);
    return true;
}

static void
fill_shares(const struct upt_account *acct, const struct upt_account_users *users, struct upt_row *row)
{
    row->seat_utilisation = row->adoption_rate = UPT_SHARE_ABSENT;
    row->has_seats = upt_account_seats(acct, &row->micro_seats);
    if (row->has_seats && row->micro_seats > 0) {
        row->seat_utilisation = upt_share((double)users->d30, (double)row->micro_seats / 1e6);
    }
    if (users->total > 0) {
        row->adoption_rate = upt_share((double)users->adopted, (double)users->total);
    }
}

void
upt_state_row(struct upt_state *st, struct upt_account *acct, struct upt_row *ret)
{
    struct upt_account_users users = upt_account_users(st, acct);
    int64_t next = upt_account_next_change(st, acct, &st->now);
    *ret = (struct upt_row){
        .account = upt_account_id(acct),
        .partition = st->config.partition,
        .pos = st->pos,
        .as_of = st->now.ms,
        .next_change = next == UPT_NEVER ? UPT_NO_CLOCK : next,
        .users_24h = users.d1,
        .users_7d = users.d7,
        .users_30d = users.d30,
        .users_total = users.total,
        .first_seen = acct->first_seen,
        .last_seen = acct->last_seen,
        .segment = upt_account_trait(acct, UPT_STR("segment")),
        .tier = upt_account_trait(acct, UPT_STR("tier")),
        .renewal_date = upt_account_trait(acct, UPT_STR("renewal_date")),
        .open_alerts = (uint32_t)acct->open_alerts,
        .whole = (acct->item.flags & UPT_ITEM_UNSEEN) != 0,
        .changed = UPT_ROW_ALL,
    };
    upt_rings_sum(&acct->rings, &st->now, ret->usage);
    for (uint32_t i = 0; i < acct->uses.n; i++) {
        ret->features_30d += upt_used_days(&acct->uses.v[i], st->now.b[UPT_R_DAY] - acct->day) != 0;
    }
    fill_shares(acct, &users, ret);
    if (st->observer.fill_row != NULL) {
        st->observer.fill_row(st->config.observer_ctx, st, acct, ret);
    }
}

/* Days are counted up to today, so all entries may differ after midnight; until then those do that got a day. */
size_t
upt_state_row_features(struct upt_state *st, struct upt_account *acct, struct upt_feature_days *ret, size_t cap)
{
    size_t n = 0;
    int64_t today = st->now.b[UPT_R_DAY];
    bool all = (acct->item.flags & UPT_ITEM_UNSEEN) != 0 || acct->shown_day != today;
    if (acct->uses.n > cap) {
        return acct->uses.n; /* it will be asked again, and must say the same */
    }
    for (uint32_t i = 0; i < acct->uses.n; i++) {
        struct upt_used *used = &acct->uses.v[i];
        if (!all && (used->bits & UPT_USED_NEWS) == 0) {
            continue;
        }
        uint32_t days = upt_used_days(used, today - acct->day);
        if (days != 0 || (used->bits & UPT_USED_SHOWN) != 0) {
            ret[n++] = (struct upt_feature_days){.feature = upt_feature_name(st->features.v[used->feature]),
                                                 .days = upt_count_bits(days)};
        }
        used->bits = (used->bits & UPT_USED_DAYS) | (days != 0 ? UPT_USED_SHOWN : 0);
    }
    acct->shown_day = today;
    acct->item.flags &= (uint8_t)~UPT_ITEM_UNSEEN;
    return n;
}

/* ---- what changed since the row before ---- */

static uint64_t
bits_of(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

static uint64_t
hash_of(struct upt_str text)
{
    return text.p == NULL ? 0 : upt_hash(text.p, text.len);
}

static uint64_t
hash_logins(const struct upt_row *row)
{
    uint64_t v[UPT_WINDOWS];
    for (int w = 0; w < UPT_WINDOWS; w++) {
        v[w] = row->usage[w].logins;
    }
    return upt_hash(v, sizeof(v));
}

static uint64_t
hash_users(const struct upt_row *row)
{
    const uint64_t v[] = {row->users_24h,    row->users_7d,         row->users_30d,    row->users_total,
                          row->features_30d, row->seat_utilisation, row->adoption_rate};
    return upt_hash(v, sizeof(v));
}

static uint64_t
hash_rest(const struct upt_row *row)
{
    const uint64_t v[] = {(uint64_t)row->first_seen,
                          hash_of(row->segment),
                          hash_of(row->tier),
                          hash_of(row->renewal_date),
                          row->has_seats,
                          (uint64_t)row->micro_seats,
                          row->open_alerts,
                          row->has_scores,
                          bits_of(row->health),
                          bits_of(row->confidence),
                          bits_of(row->risk[0]),
                          bits_of(row->risk[1]),
                          bits_of(row->risk[2]),
                          row->band,
                          row->phase,
                          hash_of(row->segments),
                          hash_of(row->controlled)};
    _Static_assert(UPT_HORIZONS == 3, "all of them are above");
    return upt_hash(v, sizeof(v));
}

unsigned
upt_state_row_changed(struct upt_account *acct, const struct upt_row *row, size_t features_n)
{
    const uint64_t now[] = {hash_logins(row), hash_users(row), hash_rest(row), hash_of(row->signals)};
    _Static_assert(sizeof(now) == sizeof(acct->shown), "one for each");
    unsigned changed = row->whole || features_n > 0 ? UPT_ROW_FEATURES : 0;
    for (unsigned i = 0; i < sizeof(now) / sizeof(now[0]); i++) {
        if (row->whole || now[i] != acct->shown[i]) {
            changed |= 1U << i;
        }
        acct->shown[i] = now[i];
    }
    return changed;
}

bool
upt_state_next_forgotten(struct upt_state *st, struct upt_str *ret_account)
{
    struct upt_str nothing;
    return upt_records_pop(&st->forgotten, ret_account, &nothing);
}

/* ---- features and totals ---- */

size_t
upt_state_feature_rows_n(const struct upt_state *st)
{
    return st->features.n;
}

static void
feature_row(const struct upt_state *st, const struct upt_feature *feature, struct upt_feature_row *ret)
{
    *ret = (struct upt_feature_row){
        .feature = upt_feature_name(feature),
        .partition = st->config.partition,
        .pos = st->pos,
        .as_of = st->now.ms,
        .accounts_30d = upt_hist_sum(&feature->accounts, st->now.b[UPT_R_DAY]),
        .users_30d = upt_hist_sum(&feature->pairs, st->now.b[UPT_R_DAY]),
    };
    upt_rings_sum(&feature->rings, &st->now, ret->usage);
}

void
upt_state_feature_row(const struct upt_state *st, size_t i, struct upt_feature_row *ret)
{
    upt_assert(i < st->features.n);
    feature_row(st, st->features.v[i], ret);
}

bool
upt_state_next_dirty_feature(struct upt_state *st, struct upt_feature_row *ret)
{
    struct upt_feature *feature = upt_deque_pop(&st->mem, &st->dirty_features);
    if (feature == NULL) {
        return false;
    }
    feature->item.flags &= (uint8_t)~UPT_ITEM_DIRTY;
    feature_row(st, feature, ret);
    return true;
}

void
upt_state_totals_row(const struct upt_state *st, struct upt_totals_row *ret)
{
    const struct upt_sums *totals = &st->totals;
    *ret = (struct upt_totals_row){
        .partition = st->config.partition,
        .pos = st->pos,
        .as_of = st->now.ms,
        .accounts_30d = upt_hist_sum(&totals->accounts, st->now.b[UPT_R_DAY]),
        .users_30d = upt_hist_sum(&totals->users, st->now.b[UPT_R_DAY]),
        .users_total = totals->users_total,
        .accounts_total = st->accounts.n,
        .open_alerts = (uint64_t)totals->open_alerts,
    };
    upt_rings_sum(&totals->rings, &st->now, ret->usage);
}

bool
upt_state_dirty_totals(struct upt_state *st, struct upt_totals_row *ret)
{
    struct upt_item *item = &st->totals.item;
    if ((item->flags & UPT_ITEM_DIRTY) == 0 || !st->has_clock) {
        return false;
    }
    item->flags &= (uint8_t)~UPT_ITEM_DIRTY;
    upt_state_totals_row(st, ret);
    return true;
}

void
upt_state_mark_totals_dirty(struct upt_state *st)
{
    upt_item_dirty(st, &st->totals.item);
}

static void
mark_dirty(struct upt_state *st, struct upt_item *item)
{
    item->flags |= UPT_ITEM_UNSEEN;
    upt_item_dirty(st, item);
}

void
upt_state_mark_dirty(struct upt_state *st, struct upt_account *acct)
{
    mark_dirty(st, &acct->item);
}

bool
upt_state_mark_next_dirty(struct upt_state *st, size_t *cursor)
{
    struct upt_item *item = upt_state_next_item(st, cursor);
    if (item != NULL) {
        mark_dirty(st, item);
    }
    return item != NULL;
}

void
upt_state_mark_all_dirty(struct upt_state *st)
{
    for (size_t cursor = 0; upt_state_mark_next_dirty(st, &cursor);) {
    }
    for (uint32_t i = 0; i < st->features.n; i++) {
        upt_item_dirty(st, &st->features.v[i]->item);
    }
    upt_item_dirty(st, &st->totals.item);
}

size_t
upt_state_dirty_accounts(const struct upt_state *st)
{
    return st->dirty_accounts.live;
}

size_t
upt_state_later_accounts(const struct upt_state *st)
{
    return st->later_accounts.live;
}

void
upt_state_rows_due(struct upt_state *st, size_t n)
{
    struct upt_item *item;
    for (; n > 0 && (item = upt_deque_pop(&st->mem, &st->later_accounts)) != NULL; n--) {
        item->flags &= (uint8_t) ~(UPT_ITEM_DIRTY | UPT_ITEM_LATER);
        upt_item_dirty(st, item);
    }
}
