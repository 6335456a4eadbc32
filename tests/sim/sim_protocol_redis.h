/* The simulated Redis. See sim_protocol.h. */
#ifndef UPT_SIM_PROTOCOL_REDIS_H
#define UPT_SIM_PROTOCOL_REDIS_H

#include "sim_protocol.h"

struct sim_field {
    struct upt_str name, value;
};

/* A version of a key; never changed, so that a pointer to it tells whether the key was written since. */
struct sim_value {
    size_t n;
    struct sim_field *v;
};

struct sim_key {
    struct upt_str name;
    const struct sim_value *value; /* NULL: there is none */
};

struct sim_db {
    struct sim_key *v;
    size_t n, cap;
};

extern struct sim_db sim_db;

void sim_redis_reset(void);
void sim_redis_snapshot(void); /* what it will have saved when it loses its last writes */
void sim_redis_lose(void);     /* back to the snapshot, all connections broken */
void sim_redis_flushall(void);
void sim_redis_tick(void); /* commands of broken connections that come late */
/* Whether shares are quotients by the totals as they are, or a process is there that makes that one anew when it ends.
 * After a crash, or when commands of a broken connection come later than that, the next start mends them. */
bool sim_redis_shares_settled(void);
/* Whether who took a marker last has had the time to walk over the keys; else the next start does. */
bool sim_redis_walked(void);
const struct sim_value *sim_redis_get(struct upt_str key);
struct upt_str sim_redis_field(const struct sim_value *value, struct upt_str name); /* null: none */

#endif
