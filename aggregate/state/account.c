/* An account from birth to being forgotten, and what observers may ask about it.
 *
 * An account is one block: the struct, the id, the observer's bytes, of which an event touches the first. Windows,
 * users, features, pairs, ids and profile hang off it, each there only when it holds something.
 *
 * @locality: the thread that owns the state. */
#include "aggregate/state/internal.h"
#include "uptake/assert.h"

#define EXT_HOT 128 /* so many of the observer's bytes are asked for */
#define ID_USUAL 32 /* and so many of the id */

static size_t
round_up(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static size_t
block_size(size_t ext_size, size_t id_len)
{
    return sizeof(struct upt_account) + round_up(id_len) + ext_size;
}

static size_t
ext_size(const struct upt_state *st)
{
    return round_up(st->observer.ext_size);
}

void
upt_state_prefetch_slot(const struct upt_state *st, uint64_t hash)
{
    if (st->accounts.v != NULL) {
        upt_prefetch_line(&st->accounts.v[hash & st->accounts.mask]);
    }
}

void
upt_state_prefetch_account(const struct upt_state *st, uint64_t hash, struct upt_hint *ret)
{
    size_t pos = hash;
    *ret = (struct upt_hint){.key = hash,
                             .acct = upt_table_next(&st->accounts, hash, &pos),
                             .removed = st->removed,
                             .user_at = UINT32_MAX,
                             .used_at = UINT32_MAX};
    if (ret->acct != NULL) {
        size_t ext = ext_size(st) < EXT_HOT ? ext_size(st) : EXT_HOT;
        upt_prefetch(ret->acct, block_size(ext, ID_USUAL));
    }
}

void
upt_state_prefetch_parts(const struct upt_state *st, struct upt_hint *hint, const struct upt_event *ev)
{
    const struct upt_account *acct = hint->acct;
    if (ev != NULL) {
        upt_hint_complete(st, hint, ev);
    }
    if (acct == NULL || upt_item_is_packed(&acct->item)) {
        hint->acct = NULL;
        return;
    }
    if (upt_users_scanned(&acct->users)) {
        upt_prefetch(acct->users.v, acct->users.n * sizeof(*acct->users.v));
    } else if (ev != NULL && ev->user_id.len > 0) {
        upt_users_prefetch(&acct->users, hint->user);
    }
    if (upt_uses_scanned(&acct->uses)) {
        upt_prefetch(acct->uses.v, acct->uses.n * sizeof(*acct->uses.v));
    } else if (ev != NULL && hint->feature != NULL) {
        upt_uses_prefetch(&acct->uses, hint->feature->id);
    }
    unsigned buckets = acct->rings.n[UPT_R_DAY] + acct->rings.n[UPT_R_HOUR];
    if (buckets > 0) {
        upt_prefetch(&acct->rings.v[acct->rings.n[UPT_R_DAY] - 1], 1);
        upt_prefetch(&acct->rings.v[buckets - 1], 1);
        upt_prefetch(&acct->rings.v[buckets + acct->rings.n[UPT_R_MINUTE] - 1], 1);
    }
    upt_dedup_prefetch(acct->dedup);
}

void
upt_state_prefetch_event(struct upt_hint *hint, const struct upt_event *ev)
{
    const struct upt_account *acct = hint->acct;
    if (acct == NULL) {
        return;
    }
    if (ev->event_id.len > 0 && acct->dedup != NULL) {
        upt_dedup_prefetch_id(acct->dedup, hint->id);
    }
    if (ev->user_id.len > 0) {
        hint->user_at = upt_users_guess(&acct->users, hint->user);
    }
    if (hint->feature != NULL) {
        hint->used_at = upt_uses_guess(&acct->uses, hint->feature->id);
        if (ev->user_id.len > 0) {
            upt_pairs_prefetch(&acct->pairs, hint->user_at, hint->used_at);
        }
    }
}

struct upt_account *
upt_account_lookup(struct upt_state *st, struct upt_str key, uint64_t hash)
{
    struct upt_item *item;
    for (size_t pos = hash; (item = upt_table_next(&st->accounts, hash, &pos)) != NULL;) {
        if (upt_item_is_packed(item)) {
            struct upt_packed *packed = (struct upt_packed *)(void *)item;
            if (upt_str_eq(upt_packed_id(packed), key)) {
                return upt_packed_unpack(st, packed);
            }
        } else if (upt_account_is((struct upt_account *)(void *)item, key)) {
            return (struct upt_account *)(void *)item;
        }
    }
    return NULL;
}

struct upt_account *
upt_account_create(struct upt_state *st, struct upt_str key, uint64_t hash)
{
    upt_assert(key.len >= 1 && key.len <= UPT_KEY_MAX);
    struct upt_account *acct = upt_mem_resize(&st->mem, NULL, 0, block_size(ext_size(st), key.len));
    acct->item.kind = UPT_ITEM_ACCOUNT;
    acct->item.flags = UPT_ITEM_UNSEEN;
    acct->hash = hash;
    acct->day = st->now.b[UPT_R_DAY];
    acct->first_seen = INT64_MAX;
    acct->last_seen = INT64_MIN;
    acct->accepted = st->now.ms;
    acct->active_day = UPT_NO_CLOCK;
    acct->timer = UPT_NO_CLOCK;
    acct->id_len = (uint16_t)key.len;
    memcpy(acct->tail, key.p, key.len);
    return acct;
}

struct upt_account *
upt_account_birth(struct upt_state *st, struct upt_str key, uint64_t hash)
{
    struct upt_account *acct = upt_account_create(st, key, hash);
    upt_table_insert(&st->mem, &st->accounts, hash, acct);
    return acct;
}

void
upt_account_free(struct upt_state *st, struct upt_account *acct)
{
    if (st->unpacked == acct) {
        st->unpacked = NULL;
    }
    if (st->observer.fini != NULL) {
        st->observer.fini(st->config.observer_ctx, st, upt_account_ext(acct));
    }
    upt_rings_fini(&st->mem, &acct->rings);
    upt_users_fini(&st->mem, &acct->users);
    upt_uses_fini(&st->mem, &acct->uses);
    upt_pairs_fini(&st->mem, &acct->pairs);
    upt_dedup_destroy(&st->mem, &acct->dedup);
    upt_profile_destroy(&st->mem, &st->strings, &acct->profile);
    (void)upt_mem_resize(&st->mem, acct, block_size(ext_size(st), acct->id_len), 0);
}

void
upt_account_roll_on(struct upt_state *st, struct upt_account *acct)
{
    int64_t today = st->now.b[UPT_R_DAY];
    upt_users_roll(&acct->users, &st->now, today - acct->day);
    upt_uses_roll(&acct->uses, today - acct->day);
    upt_pairs_roll(&st->mem, &acct->pairs, acct->day, today);
    acct->day = today;
}

int
upt_account_age(const struct upt_account *acct, const struct upt_now *now)
{
    if (acct->active_day == UPT_NO_CLOCK || now->b[UPT_R_DAY] - acct->active_day >= UPT_WINDOW_DAYS) {
        return -1;
    }
    return (int)(now->b[UPT_R_DAY] - acct->active_day);
}

/* Takes the account out of every distinct count. Its events, units and logins stay where they were counted. */
static void
take_out(struct upt_state *st, struct upt_account *acct)
{
    int64_t today = st->now.b[UPT_R_DAY];
    struct upt_pair pair;
    for (uint32_t cursor = 0; upt_pairs_next(&acct->pairs, today, &cursor, &pair);) {
        struct upt_feature *feature = st->features.v[acct->uses.v[pair.feature].feature];
        upt_hist_move(&feature->pairs, today, pair.age, -1);
    }
    for (uint32_t i = 0; i < acct->uses.n; i++) {
        struct upt_feature *feature = st->features.v[acct->uses.v[i].feature];
        int age = upt_used_age(&acct->uses.v[i]);
        if (age >= 0) {
            upt_hist_move(&feature->accounts, today, age, -1);
            upt_item_dirty(st, &feature->item);
        }
    }
    for (uint32_t i = 0; i < acct->users.n; i++) {
        upt_hist_move(&st->totals.users, today, upt_user_age(&acct->users.v[i], &st->now), -1);
    }
    upt_hist_move(&st->totals.accounts, today, upt_account_age(acct, &st->now), -1);
    st->totals.users_total -= acct->users.total;
    st->totals.open_alerts -= acct->open_alerts;
    upt_item_dirty(st, &st->totals.item);
}

void
upt_account_remove(struct upt_state *st, struct upt_account *acct)
{
    upt_item_before(st, &acct->item);
    if (st->observer.on_forget != NULL) {
        st->observer.on_forget(st->config.observer_ctx, st, acct);
    }
    upt_account_roll(st, acct);
    take_out(st, acct);
    upt_wheel_disarm(&st->wheel, &acct->item);
    upt_item_gone(st, &acct->item);
    upt_records_push(&st->forgotten, upt_account_id(acct), UPT_STR_NULL);
    upt_table_remove(&st->accounts, acct->hash, acct);
    st->removed++;
    upt_account_free(st, acct);
    upt_metric_add(st->config.metrics, UPT_M_FORGOTTEN, 1);
}

/* ---- what observers and rows read ---- */

struct upt_account *
upt_state_find(struct upt_state *st, struct upt_str key)
{
    return upt_account_lookup(st, key, upt_hash(key.p, key.len));
}

struct upt_account *
upt_state_next(struct upt_state *st, size_t *cursor)
{
    upt_packed_put_back(st);
    struct upt_item *item = upt_state_next_item(st, cursor);
    return item == NULL ? NULL : upt_account_to_read(st, item);
}

struct upt_item *
upt_state_next_item(const struct upt_state *st, size_t *cursor)
{
    for (size_t i = *cursor; st->accounts.v != NULL && i <= st->accounts.mask; i++) {
        if (st->accounts.v[i].item != NULL) {
            *cursor = i + 1;
            return st->accounts.v[i].item;
        }
    }
    return NULL;
}

struct upt_str
upt_account_id(const struct upt_account *acct)
{
    return (struct upt_str){.p = (const char *)acct->tail, .len = acct->id_len};
}

void *
upt_account_ext(struct upt_account *acct)
{
    return (char *)acct->tail + round_up(acct->id_len);
}

int64_t
upt_account_first_seen(const struct upt_account *acct)
{
    return acct->first_seen;
}

int64_t
upt_account_last_seen(const struct upt_account *acct)
{
    return acct->last_seen;
}

void
upt_account_set_timer(struct upt_state *st, struct upt_account *acct, int64_t tick)
{
    upt_item_changed(st, &acct->item);
    acct->timer = tick;
    if (tick != UPT_NO_CLOCK) {
        upt_assert(tick % UPT_MINUTE_MS == 0 && tick > st->now.ms);
        upt_state_arm(st, &acct->item, tick / UPT_MINUTE_MS);
    }
}

int64_t
upt_account_timer(const struct upt_account *acct)
{
    return acct->timer;
}

void
upt_account_touch(struct upt_state *st, struct upt_account *acct, int32_t open_alerts_delta)
{
    upt_item_touch(st, &acct->item);
    if (open_alerts_delta != 0) {
        acct->open_alerts += open_alerts_delta;
        st->totals.open_alerts += open_alerts_delta;
        upt_item_dirty(st, &st->totals.item);
    }
}

struct upt_str
upt_account_trait(const struct upt_account *acct, struct upt_str name)
{
    return upt_profile_get(acct->profile, name);
}

bool
upt_account_seats(const struct upt_account *acct, int64_t *ret_micro)
{
    if (acct->profile == NULL || !acct->profile->has_seats) {
        return false;
    }
    *ret_micro = acct->profile->micro_seats;
    return true;
}

struct upt_usage
upt_account_day(const struct upt_account *acct, int64_t day)
{
    return upt_rings_day(&acct->rings, acct->day, day);
}

void
upt_account_days(const struct upt_account *acct, int64_t today, uint64_t ret[30])
{
    memset(ret, 0, 30 * sizeof(*ret));
    for (unsigned i = 0; i < acct->rings.n[UPT_R_DAY]; i++) {
        const struct upt_bucket *bucket = &acct->rings.v[i];
        uint16_t age = (uint16_t)((uint16_t)today - bucket->number);
        if (age < 30) {
            ret[age] = upt_bucket_usage(bucket).events;
        }
    }
}

size_t
upt_account_features_n(const struct upt_account *acct)
{
    return acct->uses.n;
}

void
upt_account_feature(const struct upt_state *st, const struct upt_account *acct, size_t i, struct upt_str *ret_name,
                    uint32_t *ret_days)
{
    upt_assert(i < acct->uses.n);
    const struct upt_used *used = &acct->uses.v[i];
    *ret_name = upt_feature_name(st->features.v[used->feature]);
    *ret_days = upt_used_days(used, st->now.b[UPT_R_DAY] - acct->day);
}

uint32_t
upt_account_feature_id(const struct upt_account *acct, size_t i)
{
    upt_assert(i < acct->uses.n);
    return acct->uses.v[i].feature;
}

struct upt_str
upt_state_feature_name(const struct upt_state *st, uint32_t id)
{
    return id < st->features.n ? upt_feature_name(st->features.v[id]) : UPT_STR_NULL;
}

bool
upt_account_user(const struct upt_state *st, const struct upt_account *acct, uint64_t hash, uint32_t *ret_days,
                 bool *ret_removed)
{
    const struct upt_user *user = acct->users.n == 0 ? NULL : upt_users_find(&acct->users, hash);
    if (user == NULL) {
        return false;
    }
    *ret_days = upt_user_days(user, st->now.b[UPT_R_DAY] - acct->day);
    *ret_removed = (user->bits & UPT_USER_REMOVED) != 0;
    return true;
}

bool
upt_account_top_user(const struct upt_state *st, const struct upt_account *acct, uint64_t *ret_hash, unsigned *ret_days)
{
    *ret_days = 0;
    for (uint32_t i = 0; i < acct->users.n; i++) {
        const struct upt_user *user = &acct->users.v[i];
        unsigned days = upt_count_bits(upt_user_days(user, st->now.b[UPT_R_DAY] - acct->day));
        if (days > *ret_days && (user->bits & UPT_USER_REMOVED) == 0) {
            *ret_days = days;
            *ret_hash = user->hash;
        }
    }
    return *ret_days > 0;
}

void *
upt_state_resize(struct upt_state *st, void *p, size_t old_size, size_t new_size)
{
    return upt_mem_resize(&st->mem, p, old_size, new_size);
}

void
upt_state_partition_changes(struct upt_state *st)
{
    upt_item_changed(st, &st->totals.item);
}

#define ENGAGED_HIGH 12 /* days of 28 */
#define ENGAGED_MEDIUM 4

void
upt_account_adoption(const struct upt_state *st, const struct upt_account *acct, uint32_t mask, uint64_t *ret_adopted,
                     uint64_t *ret_active)
{
    int64_t later = st->now.b[UPT_R_DAY] - acct->day;
    *ret_adopted = *ret_active = 0;
    for (uint32_t i = 0; i < acct->users.n; i++) {
        const struct upt_user *user = &acct->users.v[i];
        unsigned days = upt_count_bits(upt_user_days(user, later) & mask);
        if ((user->bits & UPT_USER_REMOVED) == 0) {
            *ret_active += days > 0;
            *ret_adopted += days > 0 && days >= st->config.adopted_days;
        }
    }
}

void
upt_account_onboarded(struct upt_account *acct)
{
    for (uint32_t i = 0; i < acct->users.n; i++) {
        acct->users.v[i].bits |= UPT_USER_ONBOARDED;
    }
}

struct upt_account_people
upt_account_people(const struct upt_state *st, const struct upt_account *acct)
{
    struct upt_account_people counts = {0};
    int64_t later = st->now.b[UPT_R_DAY] - acct->day;
    for (uint32_t i = 0; i < acct->users.n; i++) {
        const struct upt_user *user = &acct->users.v[i];
        if ((user->bits & UPT_USER_REMOVED) == 0) {
            unsigned days = upt_count_bits(upt_user_days(user, later));
            counts.trained += (user->bits & UPT_USER_TRAINED) != 0;
            counts.inherited += days > 0 && (user->bits & (UPT_USER_TRAINED | UPT_USER_ONBOARDED)) == 0;
            counts.high += days >= ENGAGED_HIGH;
            counts.medium += days >= ENGAGED_MEDIUM && days < ENGAGED_HIGH;
            counts.low += days >= 1 && days < ENGAGED_MEDIUM;
        }
    }
    return counts;
}

struct upt_account_users
upt_account_users(const struct upt_state *st, const struct upt_account *acct)
{
    struct upt_account_users counts = {.total = acct->users.total};
    int64_t later = st->now.b[UPT_R_DAY] - acct->day;
    for (uint32_t i = 0; i < acct->users.n; i++) {
        const struct upt_user *user = &acct->users.v[i];
        int age = upt_user_age(user, &st->now);
        if (age >= 0) {
            counts.d30++;
            counts.d7 += age < 7;
            counts.d1 += upt_user_hours(user, &st->now) < 24;
        }
        counts.adopted += (user->bits & UPT_USER_REMOVED) == 0 &&
                          upt_count_bits(upt_user_days(user, later)) >= st->config.adopted_days;
    }
    return counts;
}
