/* Restore: records in the order of the log; a later one of a key replaces the former. The distinct counts of features
 * and totals are not stored: they are sums over the accounts and are made anew at the end. */
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

#define FORMAT 1

static struct upt_str
get_str(struct upt_cur *cur)
{
    return upt_cur_bytes(cur, upt_cur_varint(cur));
}

static void
get_buckets(struct upt_cur *cur, struct upt_buckets *b)
{
    int64_t at = 0;
    uint64_t n = upt_cur_varint(cur);
    upt_buckets_fini(b);
    for (uint64_t i = 0; i < n && i < 128 && cur->ok; i++) {
        at += upt_cur_zigzag(cur);
        uint32_t events = (uint32_t)upt_cur_varint(cur), logins = (uint32_t)upt_cur_varint(cur);
        uint64_t lo = upt_cur_varint(cur);
        uint32_t hi = (uint32_t)upt_cur_varint(cur);
        upt_buckets_add(b, (int32_t)at, INT32_MIN, events, logins, lo);
        b->v[b->n - 1].units_hi += hi;
    }
    cur->ok = cur->ok && n < 128;
}

static void
get_rings(struct upt_cur *cur, struct upt_rings *r)
{
    get_buckets(cur, &r->minutes);
    get_buckets(cur, &r->hours);
    get_buckets(cur, &r->days);
}

static void
get_users(struct upt_cur *cur, struct upt_account *acct)
{
    uint64_t from = upt_cur_varint(cur), n = upt_cur_varint(cur);
    cur->ok = cur->ok && from == acct->users.n && n <= (uint64_t)(cur->end - cur->p) / 8;
    for (uint64_t i = 0; i < n && cur->ok; i++) {
        uint64_t hash = upt_cur_le64(cur);
        struct upt_user *user = upt_users_get(&acct->users, hash, true);
        user->hour = (int32_t)upt_cur_zigzag(cur);
        user->adopt_day = (int32_t)upt_cur_zigzag(cur);
        uint64_t bits = upt_cur_varint(cur);
        user->adopt = (uint32_t)(bits >> 1);
        user->counted = (bits & 1) != 0;
        acct->users_total += user->counted ? 1 : 0;
    }
    uint64_t pairs = upt_cur_varint(cur);
    for (uint64_t i = 0; i < pairs && cur->ok; i++) {
        int32_t old;
        uint64_t user = from + upt_cur_varint(cur);
        uint64_t feature = upt_cur_varint(cur);
        int64_t day = upt_cur_zigzag(cur);
        cur->ok = cur->ok && user < acct->users.n && feature < acct->features_n;
        if (cur->ok) {
            (void)upt_pair_touch(acct, (uint32_t)user, (uint32_t)feature, (int32_t)day + UPT_PAIR_EPOCH, &old);
        }
    }
}

static void
get_features(struct upt_state *st, struct upt_cur *cur, struct upt_account *acct)
{
    uint64_t n = upt_cur_varint(cur);
    for (uint64_t i = 0; i < n && cur->ok; i++) {
        struct upt_str name = get_str(cur);
        if (!cur->ok) {
            break;
        }
        uint32_t slot = upt_account_feature_slot(acct, upt_state_feature(st, name)->index);
        acct->features[slot].day = (int32_t)upt_cur_zigzag(cur);
        acct->features[slot].days = (uint32_t)upt_cur_varint(cur);
    }
}

static void
get_head(struct upt_state *st, struct upt_cur *cur, struct upt_account *acct)
{
    acct->first_seen = upt_cur_zigzag(cur);
    acct->last_seen = upt_cur_zigzag(cur);
    acct->last_clock = upt_cur_zigzag(cur);
    acct->timer = upt_cur_zigzag(cur);
    acct->daily = upt_cur_zigzag(cur);
    acct->active_day = (int32_t)upt_cur_zigzag(cur);
    acct->open_alerts = (uint32_t)upt_cur_varint(cur);
    acct->has_seats = upt_cur_varint(cur) == 1;
    acct->micro_seats = upt_cur_zigzag(cur);
    get_rings(cur, &acct->rings);
    get_features(st, cur, acct);
    uint64_t n = upt_cur_varint(cur);
    for (uint64_t i = 0; i < n && cur->ok; i++) {
        struct upt_str name = get_str(cur), value = get_str(cur);
        if (cur->ok) {
            upt_profile_set_trait(st, acct, name, value);
        }
    }
    n = upt_cur_varint(cur);
    for (uint64_t i = 0; i < n && cur->ok; i++) {
        uint64_t hash = upt_cur_le64(cur);
        int64_t clock = acct->last_clock - upt_cur_zigzag(cur);
        (void)upt_ids_put(&acct->ids, hash, clock, INT64_MIN);
    }
    struct upt_str ext = get_str(cur);
    if (cur->ok && st->config.observer != NULL && st->config.observer->decode != NULL) {
        cur->ok = st->config.observer->decode(st->config.observer_ctx, upt_account_ext(acct), ext);
    }
}

static void
remove_account(struct upt_state *st, struct upt_account *acct)
{
    upt_accounts_remove(&st->accounts, acct);
    upt_account_free(st, acct);
}

/* key: without its 'a'. */
static bool
load_account(struct upt_state *st, struct upt_str key, struct upt_cur *cur, bool tombstone)
{
    const char *zero = memchr(key.p, '\0', key.len);
    bool first = zero == NULL || key.len - (uint32_t)(zero - key.p) < 2;
    struct upt_str id = {.p = key.p, .len = first ? key.len : (uint32_t)(zero - key.p)};
    struct upt_account *acct = upt_state_find(st, id);
    if (tombstone) {
        if (acct != NULL && first) {
            remove_account(st, acct);
        }
        return true;
    }
    uint64_t pages = upt_cur_varint(cur);
    if (first) {
        if (acct != NULL) {
            remove_account(st, acct);
        }
        acct = upt_account_create(st, id, upt_hash(id.p, id.len));
        get_head(st, cur, acct);
        acct->pages = (uint32_t)pages;
    }
    if (acct == NULL) {
        return true; /* a page left over from an account that is gone */
    }
    get_users(cur, acct);
    return cur->ok && cur->p == cur->end;
}

upt_status
upt_state_load(struct upt_state *st, struct upt_str key, struct upt_str value, struct upt_error *reterr)
{
    struct upt_cur cur = {.ok = true};
    bool tombstone = value.p == NULL || value.len == 0;
    if (!tombstone) {
        if (value.len < 5) {
            return upt_fail(reterr, UPT_EDATA, "a checkpoint record is too short (%u bytes)", value.len);
        }
        struct upt_cur crc = {.p = value.p + value.len - 4, .end = value.p + value.len, .ok = true};
        if (upt_cur_le32(&crc) != (uint32_t)upt_hash(value.p, value.len - 4)) {
            return upt_fail(reterr, UPT_EDATA, "a checkpoint record is damaged (checksum)");
        }
        if (value.p[0] != FORMAT) {
            return upt_fail(reterr, UPT_EDATA, "a checkpoint record has format %d, this program knows %d", value.p[0],
                            FORMAT);
        }
        cur = (struct upt_cur){.p = value.p + 1, .end = value.p + value.len - 4, .ok = true};
    }
    struct upt_str name = {.p = key.p + 1, .len = key.len - 1};
    bool ok = key.len > 0;
    if (ok && key.p[0] == 'a') {
        ok = load_account(st, name, &cur, tombstone);
    } else if (ok && key.p[0] == 'f' && !tombstone) {
        get_rings(&cur, &upt_state_feature(st, name)->rings);
        ok = cur.ok;
    } else if (ok && key.p[0] == 't' && !tombstone) {
        get_rings(&cur, &st->rings);
        ok = cur.ok;
    }
    return ok ? UPT_OK : upt_fail(reterr, UPT_EDATA, "a checkpoint record does not add up");
}

static void
add_distinct(struct upt_state *st, const struct upt_account *acct, int32_t today)
{
    for (uint32_t i = 0; i < acct->pairs_cap; i++) {
        const struct upt_pair *pair = &acct->pairs[i];
        if (pair->user != 0) {
            struct upt_feature *f = st->features[acct->features[pair->feature].feature];
            upt_hist_move(&f->pairs, today, UPT_NO_DAY, pair->day + UPT_PAIR_EPOCH);
        }
    }
    for (uint32_t i = 0; i < acct->features_n; i++) {
        upt_hist_move(&st->features[acct->features[i].feature]->accounts, today, UPT_NO_DAY, acct->features[i].day);
    }
    for (uint32_t i = 0; i < acct->users.n; i++) {
        int32_t hour = acct->users.v[i].hour;
        if (hour != UPT_NO_DAY) {
            upt_hist_move(&st->active_users, today, UPT_NO_DAY, (int32_t)upt_floor_div(hour, 24));
        }
    }
    upt_hist_move(&st->active_accounts, today, UPT_NO_DAY, acct->active_day);
    st->users_total += acct->users_total;
    st->open_alerts += acct->open_alerts;
}

upt_status
upt_state_load_done(struct upt_state *st, struct upt_pos pos, int64_t clock, struct upt_error *reterr)
{
    if (clock == UPT_NO_CLOCK && st->accounts.n > 0) {
        return upt_fail(reterr, UPT_EDATA, "a checkpoint has accounts but no clock");
    }
    st->pos = pos;
    st->clock = clock;
    if (clock == UPT_NO_CLOCK) {
        return UPT_OK;
    }
    for (uint32_t i = 0; i < st->accounts.n; i++) {
        struct upt_account *acct = st->accounts.v[i];
        add_distinct(st, acct, upt_day_of(clock));
        acct->change = upt_account_next_change(st, acct);
        upt_state_schedule(st, acct);
    }
    for (uint32_t i = 0; i < st->features_n; i++) {
        upt_state_schedule_feature(st, st->features[i]);
    }
    upt_state_schedule_totals(st);
    upt_state_mark_all_dirty(st);
    return UPT_OK;
}
