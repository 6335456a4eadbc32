/* The private records of the state topic beside those of the state itself (whose keys begin with a, f, t):
 *
 *   key "c"  progress: everything decided at or before `pos` is published; who wrote it; the places of wall ticks after
 * R key "r"  checkpoint: the state's records before it in the log are complete at `pos` key "b"  a checkpoint's
 * transaction has begun; names its producer, so that an open one can be ended
 *
 * Each value: format version, payload, CRC (low 32 bits of XXH3). Another format than ours is refused by name. */
#ifndef UPT_PROGRESS_H
#define UPT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "uptake/position.h"
#include "uptake/status.h"
#include "uptake/str.h"

#define UPT_PLACES_MAX 16384

struct upt_progress {
    int64_t epoch;       /* grows with every owner of the partition */
    struct upt_pos pos;  /* C */
    int64_t next_offset; /* the consumer's position that goes with C */
    bool released;       /* the owner gave the partition up in good order */
    char writer[320];    /* transactional.id of the owner's outputs */
    char config_hash[17];
    struct upt_place *places; /* owned, ascending */
    size_t places_n;
};

struct upt_checkpoint {
    struct upt_pos pos; /* R */
    int64_t clock;      /* the clock at R */
};

void upt_progress_encode(const struct upt_progress *progress, struct upt_buf *out);
/* On success ret->places is owned by the caller: upt_progress_fini. */
UPT_NODISCARD upt_status upt_progress_decode(struct upt_str in, struct upt_progress *ret, struct upt_error *reterr);
void upt_progress_fini(struct upt_progress *progress);

void upt_checkpoint_encode(const struct upt_checkpoint *checkpoint, struct upt_buf *out);
UPT_NODISCARD upt_status upt_checkpoint_decode(struct upt_str in, struct upt_checkpoint *ret, struct upt_error *reterr);

#endif
