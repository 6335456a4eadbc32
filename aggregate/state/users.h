/* The users of an account, and which of them used which feature when. Private to aggregate/state. */
#ifndef UPT_STATE_USERS_H
#define UPT_STATE_USERS_H

#include <stdbool.h>
#include <stdint.h>

#include "aggregate/state/mem.h"
#include "aggregate/state/windows.h"

#define UPT_ADOPTION_DAYS 28
#define UPT_USER_DAYS ((UINT32_C(1) << UPT_ADOPTION_DAYS) - 1)
#define UPT_USER_ACTIVE (UINT32_C(1) << 28)    /* hour is that of USAGE, LOGIN or VALUE in the last 30 days */
#define UPT_USER_REMOVED (UINT32_C(1) << 29)   /* not in users_total */
#define UPT_USER_TRAINED (UINT32_C(1) << 30)   /* had a TRAINING event */
#define UPT_USER_ONBOARDED (UINT32_C(1) << 31) /* had an ONBOARDING_STEP event, or was there when that was done */

struct upt_user {
    uint64_t hash; /* of the user id */
    uint32_t hour; /* last one of USAGE, LOGIN or VALUE, modulo 2^32; valid if ACTIVE */
    uint32_t bits; /* bit i: USAGE or VALUE i days before the account's day; then the flags above */
};

/* In order of appearance. Beyond 16 users a table of positions stands behind them in the same block. */
struct upt_users {
    struct upt_user *v;
    uint32_t n, cap;
    uint32_t total; /* not removed */
};

#define UPT_USERS_SCANNED 16 /* so many are found by looking at all of them */
static inline bool
upt_users_scanned(const struct upt_users *users)
{
    return users->cap <= UPT_USERS_SCANNED;
}

/* Asks for the place of a hash in the table of positions; only beyond 16 users. */
void upt_users_prefetch(const struct upt_users *users, uint64_t hash);
/* The position of the user, perhaps; n or more: unknown. Asks for the user beyond 16 of them. */
uint32_t upt_users_guess(const struct upt_users *users, uint64_t hash);
struct upt_user *upt_users_find(const struct upt_users *users, uint64_t hash);
/* Found or appended (then *ret_new, with no flag set and not yet in total). */
struct upt_user *upt_users_get(struct upt_mem *mem, struct upt_users *users, uint64_t hash, bool *ret_new);
/* Moves the bitmaps on by `days` and ends ACTIVE for those who have left the 30 days. */
void upt_users_roll(struct upt_users *users, const struct upt_now *now, int64_t days);
void upt_users_fini(struct upt_mem *mem, struct upt_users *users);

/* Hours between the user's last hour and now. Needs ACTIVE. */
static inline uint32_t
upt_user_hours(const struct upt_user *user, const struct upt_now *now)
{
    return (uint32_t)((uint64_t)now->b[UPT_R_HOUR] - user->hour);
}

/* UTC days between the user's last day and now; −1: none within the window. */
static inline int
upt_user_age(const struct upt_user *user, const struct upt_now *now)
{
    if ((user->bits & UPT_USER_ACTIVE) == 0) {
        return -1;
    }
    int64_t day = upt_floor_div(now->b[UPT_R_HOUR] - upt_user_hours(user, now), 24);
    int64_t age = now->b[UPT_R_DAY] - day;
    return age < UPT_WINDOW_DAYS ? (int)age : -1;
}

/* The days of USAGE or VALUE as seen `later` days after the account's day. */
static inline uint32_t
upt_user_days(const struct upt_user *user, int64_t later)
{
    return later < UPT_ADOPTION_DAYS ? (user->bits & UPT_USER_DAYS) << later & UPT_USER_DAYS : 0;
}

/* ---- pairs (user, feature of the account): the last day of USAGE ---- */

/* Open addressing over words of 16 bits, or of 32 or 64 for accounts that need longer positions. */
struct upt_pairs {
    void *v;
    uint32_t used;    /* words taken, expired ones included */
    uint8_t log2_cap; /* 0: none */
    uint8_t width;    /* of words: 0: 16 bits, 1: 32, 2: 64 */
};

struct upt_pair {
    uint32_t user, feature; /* positions */
    int age;                /* days before today, 0..29 */
};

/* Asks for the place of the pair of these positions. */
void upt_pairs_prefetch(const struct upt_pairs *pairs, uint32_t user, uint32_t feature);
/* The pair was seen `age` days ago. Returns how many days ago it was last seen until now; −1: not in 30 days.
 * today: the account's day; all pairs are taken relative to it. */
int upt_pairs_see(struct upt_mem *mem, struct upt_pairs *pairs, int64_t today, const struct upt_pair *seen);
/* The account's day moves from `from` to today: ends what is then 30 days old. */
void upt_pairs_roll(struct upt_mem *mem, struct upt_pairs *pairs, int64_t from, int64_t today);
/* Walks the live pairs in no particular order: start with *cursor = 0. */
bool upt_pairs_next(const struct upt_pairs *pairs, int64_t today, uint32_t *cursor, struct upt_pair *ret);
void upt_pairs_fini(struct upt_mem *mem, struct upt_pairs *pairs);

/* Drops users that are removed and have left every window; the others keep their order. True if there were any. */
bool upt_users_compact(struct upt_mem *mem, struct upt_users *users, struct upt_pairs *pairs, int64_t today);

#endif
