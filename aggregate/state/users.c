/* Users of an account and the features they use. A linear search serves the usual account; beyond 16 users there is an
 * index. (user, feature) pairs lie in an open-addressed table of 8-byte entries: exact distinct users of a feature need
 * the last day of each pair, and 100 pairs an account are the largest part of its memory. */
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

#define LINEAR_MAX 16

static void
index_put(struct upt_users *users, uint32_t i)
{
    uint32_t mask = users->index_n - 1;
    uint32_t slot = (uint32_t)users->v[i].hash & mask;
    while (users->index[slot] != 0) {
        slot = (slot + 1) & mask;
    }
    users->index[slot] = i + 1;
}

static void
reindex(struct upt_users *users)
{
    users->index_n = users->index_n == 0 ? 64 : users->index_n * 2;
    free(users->index);
    users->index = calloc(users->index_n, sizeof(*users->index));
    upt_assert(users->index != NULL);
    for (uint32_t i = 0; i < users->n; i++) {
        index_put(users, i);
    }
}

static struct upt_user *
find(struct upt_users *users, uint64_t hash)
{
    if (users->index == NULL) {
        for (uint32_t i = 0; i < users->n; i++) {
            if (users->v[i].hash == hash) {
                return &users->v[i];
            }
        }
        return NULL;
    }
    uint32_t mask = users->index_n - 1;
    for (uint32_t slot = (uint32_t)hash & mask; users->index[slot] != 0; slot = (slot + 1) & mask) {
        struct upt_user *user = &users->v[users->index[slot] - 1];
        if (user->hash == hash) {
            return user;
        }
    }
    return NULL;
}

struct upt_user *
upt_users_get(struct upt_users *users, uint64_t hash, bool create)
{
    struct upt_user *user = find(users, hash);
    if (user != NULL || !create) {
        return user;
    }
    if (users->n == users->cap) {
        users->cap = users->cap < 4 ? users->cap + 1 : users->cap + users->cap / 2;
        struct upt_user *grown = realloc(users->v, users->cap * sizeof(*grown));
        upt_assert(grown != NULL);
        users->v = grown;
    }
    user = &users->v[users->n++];
    *user = (struct upt_user){.hash = hash, .hour = UPT_NO_DAY, .adopt_day = UPT_NO_DAY};
    if (users->n > LINEAR_MAX) {
        if (users->index_n < users->n * 2) {
            reindex(users);
        } else {
            index_put(users, users->n - 1);
        }
    }
    return user;
}

void
upt_users_fini(struct upt_users *users)
{
    free(users->v);
    free(users->index);
    memset(users, 0, sizeof(*users));
}

/* Marks a day in a bitmap whose bit i is (anchor − i). */
static void
mark(int32_t *anchor, uint32_t *bits, int32_t day)
{
    if (*anchor == UPT_NO_DAY || day - *anchor >= 32) {
        *anchor = day;
        *bits = 1;
    } else if (day > *anchor) {
        *bits = (*bits << (day - *anchor)) | 1;
        *anchor = day;
    } else if (*anchor - day < 32) {
        *bits |= UINT32_C(1) << (*anchor - day);
    }
}

/* The bitmap as seen on `today` (not before the anchor), cut to `days` bits. */
static uint32_t
seen_from(int32_t anchor, uint32_t bits, int32_t today, unsigned days)
{
    if (anchor == UPT_NO_DAY || today - anchor >= 32) {
        return 0;
    }
    return (bits << (today - anchor)) & ((UINT32_C(1) << days) - 1);
}

void
upt_adopt_mark(struct upt_user *user, int32_t day)
{
    mark(&user->adopt_day, &user->adopt, day);
}

unsigned
upt_adopt_count(const struct upt_user *user, int32_t today)
{
    return (unsigned)__builtin_popcount(seen_from(user->adopt_day, user->adopt, today, UPT_ADOPT_DAYS));
}

void
upt_use_mark(struct upt_feature_use *use, int32_t day)
{
    mark(&use->day, &use->days, day);
}

uint32_t
upt_use_days(const struct upt_feature_use *use, int32_t today)
{
    return seen_from(use->day, use->days, today, UPT_DAYS);
}

uint32_t
upt_account_feature_slot(struct upt_account *acct, uint32_t feature)
{
    for (uint32_t i = 0; i < acct->features_n; i++) {
        if (acct->features[i].feature == feature) {
            return i;
        }
    }
    if (acct->features_n == acct->features_cap) {
        acct->features_cap =
            acct->features_cap < 4 ? acct->features_cap + 1 : acct->features_cap + acct->features_cap / 2;
        struct upt_feature_use *grown = realloc(acct->features, acct->features_cap * sizeof(*grown));
        upt_assert(grown != NULL);
        acct->features = grown;
    }
    acct->features[acct->features_n] = (struct upt_feature_use){.feature = feature, .day = UPT_NO_DAY};
    return acct->features_n++;
}

/* ---- pairs ---- */

static struct upt_pair *
pair_slot(struct upt_pair *v, uint32_t cap, uint32_t user, uint32_t feature)
{
    uint64_t h = ((uint64_t)user << 16 | feature) * UINT64_C(0x9E3779B97F4A7C15);
    uint32_t i = (uint32_t)((h >> 32) % cap);
    while (v[i].user != 0 && (v[i].user != user + 1 || v[i].feature != feature)) {
        i = i + 1 == cap ? 0 : i + 1;
    }
    return &v[i];
}

static void
pairs_grow(struct upt_account *acct)
{
    uint32_t cap = acct->pairs_cap < 8 ? acct->pairs_cap + 2 : acct->pairs_cap + acct->pairs_cap / 4;
    struct upt_pair *v = calloc(cap, sizeof(*v));
    upt_assert(v != NULL);
    for (uint32_t i = 0; i < acct->pairs_cap; i++) {
        if (acct->pairs[i].user != 0) {
            *pair_slot(v, cap, acct->pairs[i].user - 1, acct->pairs[i].feature) = acct->pairs[i];
        }
    }
    free(acct->pairs);
    acct->pairs = v;
    acct->pairs_cap = cap;
}

bool
upt_pair_touch(struct upt_account *acct, uint32_t user, uint32_t feature, int32_t day, int32_t *ret_old)
{
    if ((acct->pairs_n + 1) * 8 > acct->pairs_cap * 7) {
        pairs_grow(acct);
    }
    struct upt_pair *pair = pair_slot(acct->pairs, acct->pairs_cap, user, feature);
    if (pair->user == 0) {
        pair->user = user + 1;
        pair->feature = (uint16_t)feature;
        pair->day = (int16_t)(day - UPT_PAIR_EPOCH);
        acct->pairs_n++;
        *ret_old = UPT_NO_DAY;
        return true;
    }
    *ret_old = pair->day + UPT_PAIR_EPOCH;
    if (day <= *ret_old) {
        return false;
    }
    pair->day = (int16_t)(day - UPT_PAIR_EPOCH);
    return true;
}
