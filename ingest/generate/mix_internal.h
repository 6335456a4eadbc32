/* What the files of the mix share. */
#ifndef UPT_MIX_INTERNAL_H
#define UPT_MIX_INTERNAL_H

#include "ingest/generate/mix.h"
#include "uptake/str.h"

#define UPT_MIX_RING 256
#define UPT_MIX_PROPS 12

/* A record that was sent, to be sent again. */
struct upt_mix_sent {
    struct upt_buf key, value;
    int64_t ts;
};

/* An event under construction. Its strings lie in the generator or in the mix. */
struct upt_mix_draft {
    struct upt_event event;
    const struct upt_prop *props;
    size_t props_n;
};

struct upt_mix {
    struct upt_mix_config config;
    uint64_t rng;
    int64_t ts;
    uint64_t ids;
    struct upt_buf key, value, body, text; /* text: odd strings */
    struct upt_mix_draft draft;
    char id[48], user[32];
    struct upt_mix_sent recent[UPT_MIX_RING];  /* the last plain records */
    struct upt_mix_sent sampled[UPT_MIX_RING]; /* at most one in 30 s, so that they reach back */
    size_t recent_n, sampled_n;
    struct upt_mix_sent reborn; /* of the account forgotten last */
    bool rebirth_due;
    uint64_t counts[UPT_MIX_COUNT];
    uint64_t weight;
};

uint64_t upt_mix_random(struct upt_mix *mix);
/* 0 ≤ result < n. */
uint64_t upt_mix_below(struct upt_mix *mix, uint64_t n);
/* An id of the mix's own, valid until the next. */
struct upt_str upt_mix_id(struct upt_mix *mix);
/* Fills ret->key, value, events, reason and partly from the draft. False: it cannot be made now; send it plain. */
bool upt_mix_make(struct upt_mix *mix, upt_mix_case what, struct upt_mix_record *ret);
/* The draft in the evolved writer schema. context: nested records in it. */
void upt_mix_put_evolved(struct upt_mix *mix, bool unknown_symbol, int64_t context);

#endif
