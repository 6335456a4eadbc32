/* A position of a partition: the last record applied and the last tick run after it.
 * Ordered first by offset, then by tick. */
#ifndef UPT_POSITION_H
#define UPT_POSITION_H

#include <stdbool.h>
#include <stdint.h>

#define UPT_NO_OFFSET ((int64_t)-1)
#define UPT_NO_CLOCK INT64_MIN

struct upt_pos {
    int64_t offset; /* of the last record applied; UPT_NO_OFFSET before the first */
    int64_t tick;   /* the last tick run, Unix ms, a whole minute; UPT_NO_CLOCK before the first */
};

#define UPT_POS_NONE ((struct upt_pos){.offset = UPT_NO_OFFSET, .tick = UPT_NO_CLOCK})

static inline int
upt_pos_cmp(struct upt_pos a, struct upt_pos b)
{
    if (a.offset != b.offset) {
        return a.offset < b.offset ? -1 : 1;
    }
    return a.tick == b.tick ? 0 : (a.tick < b.tick ? -1 : 1);
}

/* A wall tick's place: after `offset`, the clock was raised to `tick` by the wall. */
struct upt_place {
    int64_t offset;
    int64_t tick;
};

#endif
