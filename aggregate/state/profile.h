/* What is known about an account from PROFILE and SEATS. Private to aggregate/state. */
#ifndef UPT_STATE_PROFILE_H
#define UPT_STATE_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "aggregate/state/mem.h"
#include "uptake/event.h"
#include "uptake/str.h"

/* Bounds of what a producer may have kept. Beyond: ignored. */
#define UPT_TRAITS_MAX 64 /* those that the contract does not name */
#define UPT_TRAIT_NAME_MAX 64
#define UPT_TRAIT_VALUE_MAX 1024

/* A string that many accounts share. */
struct upt_intern {
    uint64_t hash;
    uint32_t refs;
    uint32_t len;
    char p[];
};

struct upt_trait {
    struct upt_intern *name, *value;
};

struct upt_profile {
    struct upt_trait *v; /* by name, bytewise */
    uint32_t n, cap;
    bool has_seats;
    int64_t micro_seats;
};

/* Sets one property as a PROFILE event does; strings is the partition's table of shared strings. False: it was
 * `seats` and no number. */
bool upt_profile_set(struct upt_mem *mem, struct upt_table *strings, struct upt_profile **profile_p,
                     struct upt_str name, struct upt_str value);
/* False: not within ±10^12. */
bool upt_profile_set_seats(struct upt_mem *mem, struct upt_profile **profile_p, double seats);
struct upt_str upt_profile_get(const struct upt_profile *profile, struct upt_str name);
void upt_profile_destroy(struct upt_mem *mem, struct upt_table *strings, struct upt_profile **profile_p);
/* For the codec. */
void upt_profile_put_seats(struct upt_mem *mem, struct upt_profile **profile_p, int64_t micro_seats);

#endif
