/* The simulated Kafka cluster: logs, transactions, the group. See sim_protocol.h. */
#ifndef UPT_SIM_PROTOCOL_KAFKA_H
#define UPT_SIM_PROTOCOL_KAFKA_H

#include <librdkafka/rdkafka.h>

#include "sim_protocol.h"

/* ---- logs ---- */

enum sim_topic { SIM_T_INPUT, SIM_T_STATE, SIM_T_ALERTS, SIM_T_HEALTH, SIM_T_DEAD, SIM_T_COUNT };

struct sim_header {
    struct upt_str name, value;
};

enum sim_rec_state { SIM_OPEN, SIM_COMMITTED, SIM_ABORTED, SIM_CONTROL };

struct sim_rec {
    int64_t offset, ts;
    struct upt_str key, value;
    const struct sim_header *headers;
    size_t headers_n;
    enum sim_rec_state state;
    bool gone; /* compacted */
};

struct sim_log {
    struct sim_rec *v;
    size_t n, cap;
    int64_t end; /* the next offset */
};

extern struct sim_log sim_logs[SIM_T_COUNT][SIM_PARTS]; /* outputs: all in the first partition */
extern int sim_parts;                                   /* of input and state topic */

enum sim_topic sim_topic_of(const char *name);
void sim_kafka_reset(int parts);
struct sim_rec *sim_log_append(enum sim_topic topic, int part, const struct sim_rec *rec);
/* The first record at or after the offset that a reader gets; NULL: none. */
const struct sim_rec *sim_log_next(enum sim_topic topic, int part, int64_t offset, bool committed_only);
int64_t sim_log_stable(enum sim_topic topic, int part); /* last stable offset */
void sim_log_compact(int part);                         /* of the state topic */
struct upt_str sim_copy(struct upt_str s);

/* Records taken by members of the group since the run began, and their requests for ends, which wake their reading. */
extern uint64_t sim_taken, sim_woken;

/* ---- transactions ---- */

int sim_txn_of(const char *id);
int sim_txn_init(int txn); /* ends what is open; the new epoch */
/* False: another producer has taken the id. */
bool sim_txn_append(int txn, int epoch, enum sim_topic topic, int part, const struct sim_rec *rec);
bool sim_txn_offset(int txn, int epoch, int part, int64_t offset, struct upt_str metadata);
bool sim_txn_is_open(int txn);
bool sim_txn_is_mine(int txn, int epoch);
void sim_txn_end(int txn, int epoch, bool commit); /* without effect if the epoch is old, or nothing is open */
void sim_txn_end_later(int txn, int epoch, bool commit, int64_t at_us);
extern int64_t sim_away_until_us; /* until then nobody gets an epoch, nor an answer */
void sim_txn_tick(void);          /* late requests, time-outs */

struct sim_offset {
    bool set, pending;
    int64_t offset;
    struct upt_str metadata;
};
struct sim_offset sim_offset_of(int part);

/* ---- the group ---- */

extern int64_t sim_session_us;
struct sim_member; /* of the group */
/* Joins, or joins again; the member's id. A known instance gets its assignment back without a rebalance. */
void sim_group_join(struct sim_proc *proc, const char *instance, char *ret_id, size_t cap);
enum sim_ask { SIM_ASK_NOTHING, SIM_ASK_UNKNOWN, SIM_ASK_REVOKE, SIM_ASK_ASSIGN };
/* What a member hears when it polls. */
enum sim_ask sim_group_ask(const char *id, bool assigned, int *ret_generation, uint32_t *ret_parts);
void sim_group_revoked(const char *id);
rd_kafka_resp_err_t sim_group_check(const char *id, const char *instance, int generation);
void sim_group_tick(void);
void sim_group_reset(void);

#endif
