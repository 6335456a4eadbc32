/* The board: what lanes and commands tell the admin port. One mutex, posted about once a second, never per event. */
#ifndef UPT_BOARD_H
#define UPT_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uptake/metrics.h"
#include "uptake/position.h"
#include "uptake/str.h"

#define UPT_BOARD_ALERTS 50
#define UPT_LANES_MAX 64
#define UPT_BOARD_SETS (1 + 5 * UPT_LANES_MAX) /* of metrics: the registry's, and five of each lane */

typedef enum upt_part_phase {
    UPT_PART_RESTORING,
    UPT_PART_REPLAYING,
    UPT_PART_RUNNING,
    UPT_PART_BLOCKED
} upt_part_phase;
extern const char *const upt_part_phase_names[4];

struct upt_board_partition {
    int32_t partition;
    upt_part_phase phase;
    int64_t offset, end_offset; /* −1: unknown */
    int64_t clock;              /* UPT_NO_CLOCK: none */
    int64_t checkpoint_ms;      /* wall time of the last checkpoint, 0: none */
    uint64_t accounts;
    double progress; /* 0..1 of a restore or catch-up */
    double rate;     /* records a second */
    char note[160];  /* why it is blocked, or "" */
};

/* The score model in use. */
struct upt_board_model {
    char version[64], hash[17];
};

struct upt_board;
struct upt_board *upt_board_create(void);
void upt_board_destroy(struct upt_board **board_p);

/* Lanes. */
struct upt_metrics *
upt_board_metrics(struct upt_board *board); /* a new set, owned by the board; at most UPT_BOARD_SETS */
struct upt_outcomes *upt_board_outcomes(struct upt_board *board);
void upt_board_set_model(struct upt_board *board, const struct upt_board_model *model);
struct upt_board_model upt_board_get_model(struct upt_board *board);
void upt_board_set_partition(struct upt_board *board, const struct upt_board_partition *part);
void upt_board_drop_partition(struct upt_board *board, int32_t partition);
void upt_board_alert(struct upt_board *board,
                     struct upt_str json);                      /* newest alert as a JSON object; old ones drop out */
void upt_board_heartbeat(struct upt_board *board, size_t lane); /* the lane's loop is alive */
void upt_board_set_ready(struct upt_board *board, size_t lane, bool ready, const char *why_not);

/* One account to be explained: asked by the admin port, one question at a time, answered by the lane that has it. */
uint64_t upt_board_ask(struct upt_board *board, struct upt_str account); /* the question's number */
/* Lanes, in every turn, for the price of one atomic read: a question that this lane has not seen (*inout_seen: the last
 * one that it saw, from 0). False: none. */
bool upt_board_asked(struct upt_board *board, uint64_t *inout_seen, struct upt_buf *ret_account);
void upt_board_answer(struct upt_board *board, uint64_t question, struct upt_str json);
/* Waits for the answer; false: nobody had the account within the time. */
bool upt_board_answered(struct upt_board *board, uint64_t question, int64_t timeout_ms, struct upt_buf *out);

/* Admin. */
size_t upt_board_sets(struct upt_board *board, struct upt_metrics **ret, size_t cap);
size_t upt_board_partitions(struct upt_board *board, struct upt_board_partition *ret, size_t cap); /* sorted */
void upt_board_alerts_json(struct upt_board *board, struct upt_buf *out); /* a JSON array, newest first */
bool upt_board_alive(struct upt_board *board, int64_t max_age_ms);        /* every lane's heart beats */
bool upt_board_ready(struct upt_board *board, char *ret_why, size_t cap);

#endif
