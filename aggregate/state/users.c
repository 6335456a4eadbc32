/* Users of an account.
 *
 * A user is 16 bytes. The 64-bit hash stands for the id: with n users in an account, two of them share a hash with odds
 * of n² / 2^65, which is 1 in 3.7 billion for 100,000 users; storing ids would take three times the room.
 *
 * Up to 16 users are found by looking at all of them (4 cache lines, in order); beyond that a table of positions,
 * twice as long as the vector, stands behind the users in the same block, so that an account needs one pointer.
 *
 * Bitmaps are relative to the account's day, one for all users, and are moved on together when that day advances.
 *
 * @locality: the thread that owns the state. */
#include "aggregate/state/users.h"

#include "uptake/assert.h"

_Static_assert(sizeof(struct upt_user) == 16, "the layout that the memory budget counts on");

#define SCAN_MAX UPT_USERS_SCANNED

static size_t
block_size(uint32_t cap)
{
    return cap * sizeof(struct upt_user) + (cap > SCAN_MAX ? 2 * (size_t)cap * sizeof(uint32_t) : 0);
}

/* Positions + 1 by hash; 0: free. Only if cap > SCAN_MAX; its length is 2 × cap, a power of 2. */
static uint32_t *
table_of(const struct upt_users *users)
{
    return (uint32_t *)(void *)(users->v + users->cap);
}

void
upt_users_prefetch(const struct upt_users *users, uint64_t hash)
{
    upt_prefetch_line(&table_of(users)[(uint32_t)(hash >> 32) & (2 * users->cap - 1)]);
}

/* Where the hash stands in the table, or the free place where it would. */
static uint32_t *
table_at(const struct upt_users *users, uint64_t hash)
{
    uint32_t *table = table_of(users);
    uint32_t mask = 2 * users->cap - 1;
    uint32_t i = (uint32_t)(hash >> 32) & mask;
    while (table[i] != 0 && users->v[table[i] - 1].hash != hash) {
        i = (i + 1) & mask;
    }
    return &table[i];
}

static void
table_fill(struct upt_users *users)
{
    if (users->cap > SCAN_MAX) {
        uint32_t *table = table_of(users);
        for (size_t i = 0; i < 2 * (size_t)users->cap; i++) {
            table[i] = 0;
        }
        for (uint32_t i = 0; i < users->n; i++) {
            *table_at(users, users->v[i].hash) = i + 1;
        }
    }
}

struct upt_user *
upt_users_find(const struct upt_users *users, uint64_t hash)
{
    if (users->cap > SCAN_MAX) {
        uint32_t position = *table_at(users, hash);
        return position == 0 ? NULL : &users->v[position - 1];
    }
    for (uint32_t i = 0; i < users->n; i++) {
        if (users->v[i].hash == hash) {
            return &users->v[i];
        }
    }
    return NULL;
}

uint32_t
upt_users_guess(const struct upt_users *users, uint64_t hash)
{
    if (upt_users_scanned(users)) {
        uint32_t i = 0;
        while (i < users->n && users->v[i].hash != hash) {
            i++;
        }
        return i;
    }
    uint32_t position = table_of(users)[(uint32_t)(hash >> 32) & (2 * users->cap - 1)] - 1;
    upt_prefetch_line(&users->v[position & (users->cap - 1)]); /* 0, for none, too, is a place */
    return position;
}

static void
grow(struct upt_mem *mem, struct upt_users *users)
{
    uint32_t cap = users->cap < SCAN_MAX ? users->cap + 4 : users->cap * 2;
    upt_assert(cap < UINT32_C(1) << 29); /* positions in pairs have 29 bits */
    users->v = upt_mem_resize(mem, users->v, block_size(users->cap), block_size(cap));
    users->cap = cap;
    table_fill(users);
}

struct upt_user *
upt_users_get(struct upt_mem *mem, struct upt_users *users, uint64_t hash, bool *ret_new)
{
    struct upt_user *user = upt_users_find(users, hash);
    *ret_new = user == NULL;
    if (user != NULL) {
        return user;
    }
    if (users->n == users->cap) {
        grow(mem, users);
    }
    user = &users->v[users->n];
    *user = (struct upt_user){.hash = hash};
    if (users->cap > SCAN_MAX) {
        *table_at(users, hash) = users->n + 1;
    }
    users->n++;
    return user;
}

void
upt_users_roll(struct upt_users *users, const struct upt_now *now, int64_t days)
{
    for (uint32_t i = 0; i < users->n; i++) {
        struct upt_user *user = &users->v[i];
        user->bits = (user->bits & ~UPT_USER_DAYS) | upt_user_days(user, days);
        if (upt_user_age(user, now) < 0) {
            user->bits &= ~UPT_USER_ACTIVE;
        }
    }
}

void
upt_users_fini(struct upt_mem *mem, struct upt_users *users)
{
    (void)upt_mem_resize(mem, users->v, block_size(users->cap), 0);
    *users = (struct upt_users){0};
}

/* ---- compaction ---- */

static bool
is_gone(const struct upt_user *user)
{
    return (user->bits & (UPT_USER_REMOVED | UPT_USER_ACTIVE | UPT_USER_DAYS)) == UPT_USER_REMOVED;
}

bool
upt_users_compact(struct upt_mem *mem, struct upt_users *users, struct upt_pairs *pairs, int64_t today)
{
    uint32_t gone = 0;
    for (uint32_t i = 0; users->total < users->n && i < users->n; i++) {
        gone += is_gone(&users->v[i]);
    }
    if (gone == 0) {
        return false;
    }
    struct upt_users kept = {0};
    struct upt_pairs kept_pairs = {0};
    uint32_t *place = upt_mem_resize(mem, NULL, 0, users->n * sizeof(*place));
    for (uint32_t i = 0; i < users->n; i++) {
        if (!is_gone(&users->v[i])) {
            bool fresh = false;
            place[i] = kept.n;
            *upt_users_get(mem, &kept, users->v[i].hash, &fresh) = users->v[i];
        }
    }
    kept.total = users->total;
    struct upt_pair pair;
    for (uint32_t cursor = 0; upt_pairs_next(pairs, today, &cursor, &pair);) {
        pair.user = place[pair.user]; /* whoever has a live pair is active, so kept */
        (void)upt_pairs_see(mem, &kept_pairs, today, &pair);
    }
    (void)upt_mem_resize(mem, place, users->n * sizeof(*place), 0);
    upt_users_fini(mem, users);
    upt_pairs_fini(mem, pairs);
    *users = kept;
    *pairs = kept_pairs;
    return true;
}
