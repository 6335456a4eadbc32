/* What the simulations of the score share: seeded numbers, a log, and a state with its score that is stored and
 * restored at random places. Prints nothing. One of each in a program. */
#ifndef UPT_SIM_SCORE_H
#define UPT_SIM_SCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregate/score/rules.h"
#include "aggregate/score/score.h"

#define SIM_RECORDS_MAX 128 /* of a checkpoint: accounts, features, totals */

void sim_seed(uint64_t seed);
uint32_t sim_rnd(uint32_t n);
const char *sim_one_of(const char *const *names, size_t n);
#define SIM_ONE_OF(names) sim_one_of(names, sizeof(names) / sizeof((names)[0]))

struct sim_op {
    char kind; /* e: event, f: forget, t: wall tick */
    int64_t offset, ts;
    char key[16], user[8], feature[16], name[24], value[64], props[96];
    struct upt_event ev;
};
/* The event's one property; its value has less than 64 bytes. */
void sim_property(struct sim_op *op, const char *name, const char *value);
/* One JSON object: what a second implementation needs. */
void sim_print_op(const struct sim_op *op);

struct sim_machine {
    struct upt_score *score;
    struct upt_state *st;
};
/* What every machine is made of; borrowed. */
struct sim_parts {
    const struct upt_model *model;
    const struct upt_rules *rules;
    const struct upt_sink *sink;
    int64_t retention_ms;
};
/* Rules from text; every rule but those of segments is switched off behind it. */
struct upt_rules *sim_rules(const char *text);

/* Plays a log; at random places everything is stored, at others thrown away, restored, and played again from there.
 * after: after each operation, also when it is played again; told_n is what had been told when that was stored. */
struct sim_play {
    struct sim_parts parts;
    const struct sim_op *ops;
    int ops_n;
    int *told_n; /* counts what was told; set back when a store is taken back */
    void (*after)(struct sim_machine *m, const struct sim_op *op, int at);
};
void sim_play(const struct sim_play *play);

#endif
