/* Traits and seats: the last value in the log wins, SEATS and PROFILE alike. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

#define NAME_MAX_LEN 64
#define VALUE_MAX_LEN 256
#define SEATS_MAX 1e12

static void
set_seats(struct upt_state *st, struct upt_account *acct, double seats)
{
    if (!isfinite(seats) || seats > SEATS_MAX || seats < -SEATS_MAX) {
        upt_metric_add(st->config.metrics, UPT_M_BAD_SEATS, 1);
        return;
    }
    acct->has_seats = true;
    acct->micro_seats = upt_micro_from_double(seats);
}

/* A plain decimal number: sign, digits, point, exponent; nothing else that strtod takes. */
static bool
parse_number(struct upt_str s, double *ret)
{
    char text[64];
    if (s.len == 0 || s.len >= sizeof(text)) {
        return false;
    }
    for (uint32_t i = 0; i < s.len; i++) {
        if (strchr("0123456789+-.eE", s.p[i]) == NULL || s.p[i] == '\0') {
            return false;
        }
    }
    memcpy(text, s.p, s.len);
    text[s.len] = '\0';
    char *end = NULL;
    *ret = strtod(text, &end);
    return end == text + s.len && isfinite(*ret);
}

void
upt_profile_set_trait(struct upt_state *st, struct upt_account *acct, struct upt_str name, struct upt_str value)
{
    const char *key = upt_intern_text(&st->strings, name);
    uint32_t i = 0;
    while (i < acct->traits_n && acct->traits[i].name != key) {
        i++;
    }
    if (value.len == 0) {
        if (i < acct->traits_n) {
            memmove(acct->traits + i, acct->traits + i + 1, (acct->traits_n - i - 1) * sizeof(*acct->traits));
            acct->traits_n--;
        }
        return;
    }
    if (i == acct->traits_n) {
        if (acct->traits_n == UPT_TRAITS_MAX) {
            return;
        }
        struct upt_trait *grown = realloc(acct->traits, (acct->traits_n + 1) * sizeof(*grown));
        upt_assert(grown != NULL);
        acct->traits = grown;
        acct->traits[acct->traits_n++].name = key;
    }
    acct->traits[i].value = upt_intern_text(&st->strings, value);
}

void
upt_profile_apply(struct upt_state *st, struct upt_account *acct, const struct upt_event *ev)
{
    if (ev->kind == UPT_KIND_SEATS) {
        set_seats(st, acct, ev->quantity);
        return;
    }
    struct upt_str name, value;
    struct upt_props_cur cur = upt_props_begin(ev->properties);
    while (upt_props_next(&cur, &name, &value)) {
        double seats;
        if (upt_str_eq(name, UPT_STR("seats"))) {
            if (value.len == 0) {
                acct->has_seats = false;
            } else if (parse_number(value, &seats)) {
                set_seats(st, acct, seats);
            } else {
                upt_metric_add(st->config.metrics, UPT_M_BAD_SEATS, 1);
            }
        } else if (name.len == 0 || name.len > NAME_MAX_LEN || value.len > VALUE_MAX_LEN) {
            continue;
        } else {
            upt_profile_set_trait(st, acct, name, value);
        }
    }
}

struct upt_str
upt_account_trait(const struct upt_account *acct, struct upt_str name)
{
    for (uint32_t i = 0; i < acct->traits_n; i++) {
        if (upt_str_eq(upt_text_of(acct->traits[i].name), name)) {
            return upt_text_of(acct->traits[i].value);
        }
    }
    return UPT_STR_NULL;
}

bool
upt_account_seats(const struct upt_account *acct, int64_t *ret_micro)
{
    *ret_micro = acct->micro_seats;
    return acct->has_seats;
}
