/* Profiles: a sorted vector of traits whose names and values are shared by all accounts of the partition.
 *
 * Plans, tiers, segments and the names themselves take few values, so a trait costs 16 bytes; the values that do differ
 * (a contract value, a date) are no larger than they would be in a map of their own. Sorted, so that two states of the
 * same content have the same bytes in a checkpoint whatever the order in which traits came.
 *
 * Later in the log wins, for each trait by itself; an empty value clears it. Values are kept as they came, also a date
 * that is none; seats that are no number leave what was known before.
 *
 * @locality: the thread that owns the state. */
#include "aggregate/state/profile.h"

#include <string.h>

#include "uptake/units.h"

#define SEATS_LIMIT 1e12

/* The properties that the contract names; `seats` is kept as a number. They do not count against UPT_TRAITS_MAX. */
static const char *const known[] = {
    "plan",
    "tier",
    "segment",
    "industry",
    "line_of_business",
    "region",
    "growth_potential",
    "contract_value",
    "contract_start",
    "renewal_date",
    "onboarding_steps",
};

static bool
is(struct upt_str s, const char *name)
{
    return s.len == strlen(name) && memcmp(s.p, name, s.len) == 0;
}

static bool
is_known(struct upt_str name)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (is(name, known[i])) {
            return true;
        }
    }
    return false;
}

/* ---- shared strings ---- */

static struct upt_intern *
intern(struct upt_mem *mem, struct upt_table *strings, struct upt_str s)
{
    uint64_t hash = upt_hash(s.p, s.len);
    struct upt_intern *found;
    for (size_t pos = hash; (found = upt_table_next(strings, hash, &pos)) != NULL;) {
        if (found->len == s.len && memcmp(found->p, s.p, s.len) == 0) {
            found->refs++;
            return found;
        }
    }
    found = upt_mem_resize(mem, NULL, 0, sizeof(*found) + s.len);
    found->hash = hash;
    found->refs = 1;
    found->len = s.len;
    memcpy(found->p, s.p, s.len);
    upt_table_insert(mem, strings, hash, found);
    return found;
}

static void
release(struct upt_mem *mem, struct upt_table *strings, struct upt_intern *s)
{
    if (--s->refs == 0) {
        upt_table_remove(strings, s->hash, s);
        (void)upt_mem_resize(mem, s, sizeof(*s) + s->len, 0);
    }
}

/* ---- traits ---- */

static struct upt_profile *
make(struct upt_mem *mem, struct upt_profile **profile_p)
{
    if (*profile_p == NULL) {
        *profile_p = upt_mem_resize(mem, NULL, 0, sizeof(**profile_p));
    }
    return *profile_p;
}

static int
compare(const struct upt_intern *a, struct upt_str b)
{
    int order = memcmp(a->p, b.p, a->len < b.len ? a->len : b.len);
    return order != 0 ? order : (a->len > b.len) - (a->len < b.len);
}

/* Index of the name, or of the trait before which it would stand. */
static uint32_t
place_of(const struct upt_profile *profile, struct upt_str name, bool *ret_found)
{
    uint32_t i = 0;
    int order = -1;
    while (i < profile->n && (order = compare(profile->v[i].name, name)) < 0) {
        i++;
    }
    *ret_found = i < profile->n && order == 0;
    return i;
}

static void
clear_trait(struct upt_mem *mem, struct upt_table *strings, struct upt_profile *profile, uint32_t i)
{
    release(mem, strings, profile->v[i].name);
    release(mem, strings, profile->v[i].value);
    memmove(&profile->v[i], &profile->v[i + 1], (profile->n - i - 1) * sizeof(*profile->v));
    profile->n--;
}

static bool
may_add(const struct upt_profile *profile, struct upt_str name)
{
    uint32_t further = 0;
    for (uint32_t i = 0; i < profile->n; i++) {
        further += !is_known((struct upt_str){.p = profile->v[i].name->p, .len = profile->v[i].name->len});
    }
    return is_known(name) || further < UPT_TRAITS_MAX;
}

static void
set_trait(struct upt_mem *mem, struct upt_table *strings, struct upt_profile *profile, struct upt_str name,
          struct upt_str value)
{
    bool found = false;
    uint32_t i = place_of(profile, name, &found);
    if (value.len == 0) {
        if (found) {
            clear_trait(mem, strings, profile, i);
        }
        return;
    }
    if (found) {
        struct upt_intern *fresh = intern(mem, strings, value);
        release(mem, strings, profile->v[i].value);
        profile->v[i].value = fresh;
        return;
    }
    if (!may_add(profile, name)) {
        return;
    }
    if (profile->n == profile->cap) {
        uint32_t cap = profile->cap + 4;
        profile->v = upt_mem_resize(mem, profile->v, profile->cap * sizeof(*profile->v), cap * sizeof(*profile->v));
        profile->cap = cap;
    }
    memmove(&profile->v[i + 1], &profile->v[i], (profile->n - i) * sizeof(*profile->v));
    profile->v[i].name = intern(mem, strings, name);
    profile->v[i].value = intern(mem, strings, value);
    profile->n++;
}

bool
upt_profile_set_seats(struct upt_mem *mem, struct upt_profile **profile_p, double seats)
{
    if (!(seats >= -SEATS_LIMIT && seats <= SEATS_LIMIT)) {
        return false;
    }
    upt_profile_put_seats(mem, profile_p, upt_micro_from_double(seats));
    return true;
}

void
upt_profile_put_seats(struct upt_mem *mem, struct upt_profile **profile_p, int64_t micro_seats)
{
    struct upt_profile *profile = make(mem, profile_p);
    profile->has_seats = true;
    profile->micro_seats = micro_seats;
}

bool
upt_profile_set(struct upt_mem *mem, struct upt_table *strings, struct upt_profile **profile_p, struct upt_str name,
                struct upt_str value)
{
    if (is(name, "seats")) {
        double seats = 0;
        return upt_parse_decimal(value, &seats) && upt_profile_set_seats(mem, profile_p, seats);
    }
    if (name.len == 0 || name.len > UPT_TRAIT_NAME_MAX || value.len > UPT_TRAIT_VALUE_MAX) {
        return true;
    }
    set_trait(mem, strings, make(mem, profile_p), name, value);
    return true;
}

struct upt_str
upt_profile_get(const struct upt_profile *profile, struct upt_str name)
{
    bool found = false;
    uint32_t i = profile == NULL ? 0 : place_of(profile, name, &found);
    if (!found) {
        return UPT_STR_NULL;
    }
    return (struct upt_str){.p = profile->v[i].value->p, .len = profile->v[i].value->len};
}

void
upt_profile_destroy(struct upt_mem *mem, struct upt_table *strings, struct upt_profile **profile_p)
{
    struct upt_profile *profile = *profile_p;
    if (profile != NULL) {
        for (uint32_t i = 0; i < profile->n; i++) {
            release(mem, strings, profile->v[i].name);
            release(mem, strings, profile->v[i].value);
        }
        (void)upt_mem_resize(mem, profile->v, profile->cap * sizeof(*profile->v), 0);
        (void)upt_mem_resize(mem, profile, sizeof(*profile), 0);
        *profile_p = NULL;
    }
}
