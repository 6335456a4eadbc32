/* The features of a partition, and those that an account uses. Private to aggregate/state. */
#ifndef UPT_STATE_FEATURES_H
#define UPT_STATE_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

#include "aggregate/state/mem.h"
#include "aggregate/state/wheel.h"
#include "aggregate/state/windows.h"
#include "uptake/str.h"

struct upt_feature {
    struct upt_item item;
    struct upt_rings rings;
    struct upt_hist accounts, pairs; /* last days of accounts, and of (account, user), with USAGE */
    uint64_t hash;
    uint32_t id; /* position in upt_features; stands for the name in accounts and their checkpoints */
    uint32_t len;
    char name[];
};

/* All features by name and by id, in order of appearance. None is ever taken out: its row stays in Redis too, and a
 * row that nobody knows any more could not be repaired. */
struct upt_features {
    struct upt_table table;
    struct upt_feature **v; /* by id; while loading some may be NULL */
    uint32_t n, cap;
};

struct upt_feature *upt_features_find(const struct upt_features *features, struct upt_str name, uint64_t hash);
/* The id must be free. Histograms begin at today. */
struct upt_feature *upt_features_create(struct upt_mem *mem, struct upt_features *features, struct upt_str name,
                                        uint32_t id, int64_t today);
void upt_features_fini(struct upt_mem *mem, struct upt_features *features);

static inline struct upt_str
upt_feature_name(const struct upt_feature *feature)
{
    return (struct upt_str){.p = feature->name, .len = feature->len};
}

#define UPT_USED_DAYS ((UINT32_C(1) << UPT_WINDOW_DAYS) - 1)
#define UPT_USED_SHOWN (UINT32_C(1) << 30) /* its entry in the feature hash may hold more than 0 days */
#define UPT_USED_NEWS (UINT32_C(1) << 31)  /* a day was added since its entry was taken */

/* A feature that the account has used. */
struct upt_used {
    uint32_t feature; /* id */
    uint32_t bits;    /* bit i: USAGE i days before the account's day; SHOWN, NEWS */
};

/* In order of first use, kept until the account is forgotten. Beyond 16 a table of positions stands behind them. */
struct upt_uses {
    struct upt_used *v;
    uint32_t n, cap;
};

#define UPT_USES_SCANNED 16 /* so many are found by looking at all of them */
static inline bool
upt_uses_scanned(const struct upt_uses *uses)
{
    return uses->cap <= UPT_USES_SCANNED;
}

/* Asks for the place of a feature in the table of positions; only beyond 16 of them. */
void upt_uses_prefetch(const struct upt_uses *uses, uint32_t feature);
/* The position of the feature, perhaps; n or more: unknown. Asks for its entry beyond 16 of them. */
uint32_t upt_uses_guess(const struct upt_uses *uses, uint32_t feature);
struct upt_used *upt_uses_get(struct upt_mem *mem, struct upt_uses *uses, uint32_t feature, bool *ret_new);
void upt_uses_roll(struct upt_uses *uses, int64_t days);
void upt_uses_fini(struct upt_mem *mem, struct upt_uses *uses);

/* Days between the last USAGE and the account's day; −1: none within the window. */
static inline int
upt_used_age(const struct upt_used *used)
{
    uint32_t days = used->bits & UPT_USED_DAYS;
    return days == 0 ? -1 : (int)upt_lowest_bit(days);
}

/* The days as seen `later` days after the account's day. */
static inline uint32_t
upt_used_days(const struct upt_used *used, int64_t later)
{
    return later < UPT_WINDOW_DAYS ? (used->bits & UPT_USED_DAYS) << later & UPT_USED_DAYS : 0;
}

#endif
