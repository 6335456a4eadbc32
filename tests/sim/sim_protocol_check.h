/* What must be true, while it runs and in the end. See sim_protocol.h. */
#ifndef UPT_SIM_PROTOCOL_CHECK_H
#define UPT_SIM_PROTOCOL_CHECK_H

#include "sim_protocol_kafka.h"
#include "sim_protocol_redis.h"

/* A seed; ages: accounts may be forgotten for their age. */
void sim_check_begin(bool ages);
void sim_check_reset(void); /* a run */
/* A record of a transaction that was just committed. */
void sim_check_committed(enum sim_topic topic, int part, const struct sim_rec *rec);
/* Whether a progress record has the place of a wall tick that no committed one has. */
bool sim_check_new_place(enum sim_topic topic, int part, const struct sim_rec *rec);
/* An account's row as just written. */
void sim_check_row(struct upt_str key, const struct sim_value *value);
/* A partition's entry in the table of partitions as just written. */
void sim_check_entry(int part, struct upt_str entry);
void sim_check_rows_lost(void);

/* The places of wall ticks that were committed, in their order. */
const struct upt_place *sim_check_places(int part, size_t *ret_n);
/* Everything in the input is published, and the view's table of partitions says so; also the last tick of the wall. */
bool sim_check_settled(int64_t last_tick);

/* What a run leaves: committed outputs and the rows. Lives as long as the seed. */
struct sim_result {
    struct sim_log outputs[SIM_T_COUNT];
    struct sim_db db;
};
struct sim_result sim_check_take(void);
/* Fails, naming what differs. */
void sim_check_same(const struct sim_result *got, const struct sim_result *want);

#endif
