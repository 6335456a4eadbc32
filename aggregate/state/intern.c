/* Shared strings by number: feature names, trait names and values. Open addressing; entries are never removed, since
 * plans, tiers, segments and features are few. */
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

char *
upt_text_copy(struct upt_str s)
{
    char *text = malloc(sizeof(uint32_t) + s.len + 1);
    upt_assert(text != NULL);
    memcpy(text, &s.len, sizeof(uint32_t));
    if (s.len > 0) {
        memcpy(text + sizeof(uint32_t), s.p, s.len);
    }
    text[sizeof(uint32_t) + s.len] = '\0';
    return text;
}

struct upt_str
upt_text_of(const char *text)
{
    struct upt_str s = {.p = text + sizeof(uint32_t)};
    memcpy(&s.len, text, sizeof(uint32_t));
    return s;
}

static uint32_t
find_slot(const struct upt_intern *in, struct upt_str s)
{
    uint32_t mask = in->slots_n - 1;
    uint32_t i = (uint32_t)upt_hash(s.p, s.len) & mask;
    while (in->slots[i] != 0 && !upt_str_eq(upt_text_of(in->v[in->slots[i] - 1]), s)) {
        i = (i + 1) & mask;
    }
    return i;
}

static void
grow(struct upt_intern *in)
{
    free(in->slots);
    in->slots_n = in->slots_n == 0 ? 16 : in->slots_n * 2;
    in->slots = calloc(in->slots_n, sizeof(*in->slots));
    upt_assert(in->slots != NULL);
    for (uint32_t i = 0; i < in->n; i++) {
        in->slots[find_slot(in, upt_text_of(in->v[i]))] = i + 1;
    }
}

uint32_t
upt_intern_put(struct upt_intern *in, struct upt_str s)
{
    if ((in->n + 1) * 2 > in->slots_n) {
        grow(in);
    }
    uint32_t slot = find_slot(in, s);
    if (in->slots[slot] != 0) {
        return in->slots[slot] - 1;
    }
    if (in->n == in->cap) {
        in->cap = in->cap == 0 ? 16 : in->cap * 2;
        char **grown = realloc(in->v, in->cap * sizeof(*grown));
        upt_assert(grown != NULL);
        in->v = grown;
    }
    in->v[in->n] = upt_text_copy(s);
    in->bytes += s.len + 24;
    in->slots[slot] = ++in->n;
    return in->n - 1;
}

const char *
upt_intern_text(struct upt_intern *in, struct upt_str s)
{
    uint32_t index = upt_intern_put(in, s); /* may move v */
    return in->v[index];
}

void
upt_intern_fini(struct upt_intern *in)
{
    for (uint32_t i = 0; i < in->n; i++) {
        free(in->v[i]);
    }
    free(in->v);
    free(in->slots);
    memset(in, 0, sizeof(*in));
}
