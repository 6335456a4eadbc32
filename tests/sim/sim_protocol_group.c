/* Kafka's group coordinator, as far as one topic and static members go. See sim_protocol.h.
 *
 * Heartbeats come from librdkafka's own thread: a member lives as long as its process runs. One that stands still for
 * longer than the session is removed, and the others share its partitions in a new generation. When it goes on, it
 * learns of that only at its next poll; until then it works with the assignment that it had. */
#include <stdio.h>
#include <string.h>

#include "sim_protocol_kafka.h"
#include "uptake/assert.h"

#define MEMBERS 8
#define REJOIN_US INT64_C(20000000)

struct member {
    bool used, joined;
    char id[48], instance[48];
    struct sim_proc *proc;
    uint64_t incarnation;
    uint32_t parts;
    int64_t heard_us;
};

int64_t sim_session_us;
static struct member members[MEMBERS];
static int generation;
static bool rebalancing;
static int64_t rebalance_us;
static unsigned ids;

void
sim_group_reset(void)
{
    memset(members, 0, sizeof(members));
    generation = 0;
    rebalancing = false;
    ids = 0;
}

static struct member *
find(const char *id)
{
    for (int i = 0; i < MEMBERS; i++) {
        if (members[i].used && strcmp(members[i].id, id) == 0) {
            return &members[i];
        }
    }
    return NULL;
}

static void
rebalance(void)
{
    if (!rebalancing) {
        rebalancing = true;
        rebalance_us = sim_now_us;
        for (int i = 0; i < MEMBERS; i++) {
            members[i].joined = false;
        }
    }
}

void
sim_group_join(struct sim_proc *proc, const char *instance, char *ret_id, size_t cap)
{
    struct member *member = NULL, *unused = NULL;
    for (int i = 0; i < MEMBERS; i++) {
        if (members[i].used && strcmp(members[i].instance, instance) == 0) {
            member = &members[i];
        } else if (!members[i].used) {
            unused = &members[i];
        }
    }
    bool known = member != NULL;
    member = known ? member : unused;
    upt_assert(member != NULL);
    if (!known) {
        *member = (struct member){.used = true};
        snprintf(member->instance, sizeof(member->instance), "%s", instance);
        rebalance();
    }
    snprintf(member->id, sizeof(member->id), "%s-%u", instance, ++ids);
    member->proc = proc;
    member->incarnation = proc->incarnation;
    member->heard_us = sim_now_us;
    member->joined = rebalancing || member->joined;
    snprintf(ret_id, cap, "%s", member->id);
    sim_note("%s joins as %s%s", instance, member->id, known ? ", known" : "");
}

enum sim_ask
sim_group_ask(const char *id, bool assigned, int *ret_generation, uint32_t *ret_parts)
{
    struct member *member = find(id);
    if (member == NULL) {
        return SIM_ASK_UNKNOWN;
    }
    if (rebalancing) {
        if (!member->joined && !assigned) {
            member->joined = true;
        }
        return member->joined ? SIM_ASK_NOTHING : SIM_ASK_REVOKE;
    }
    *ret_generation = generation;
    *ret_parts = member->parts;
    return assigned ? SIM_ASK_NOTHING : SIM_ASK_ASSIGN;
}

void
sim_group_revoked(const char *id)
{
    struct member *member = find(id);
    if (member != NULL && rebalancing) {
        member->joined = true;
    }
}

rd_kafka_resp_err_t
sim_group_check(const char *id, const char *instance, int of_generation)
{
    if (id[0] == '\0' || of_generation < 0) {
        return RD_KAFKA_RESP_ERR_NO_ERROR; /* the broker takes offsets of nobody in particular */
    }
    for (int i = 0; i < MEMBERS; i++) {
        if (members[i].used && strcmp(members[i].instance, instance) == 0 && strcmp(members[i].id, id) != 0) {
            return RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
        }
    }
    if (find(id) == NULL) {
        return RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
    }
    return of_generation == generation ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION;
}

static void
complete(void)
{
    int n = 0;
    for (int i = 0; i < MEMBERS; i++) {
        n += members[i].used ? 1 : 0;
        members[i].parts = 0;
    }
    rebalancing = false;
    generation++;
    sim_note("generation %d of %d members", generation, n);
    int turn = n > 0 ? (int)sim_rnd((uint64_t)n) : 0;
    for (int p = 0; p < sim_parts && n > 0; p++, turn = (turn + 1) % n) {
        int k = 0;
        for (int i = 0; i < MEMBERS; i++) {
            if (members[i].used && k++ == turn) {
                members[i].parts |= 1u << p;
            }
        }
    }
}

void
sim_group_tick(void)
{
    bool all = true;
    int n = 0;
    for (int i = 0; i < MEMBERS; i++) {
        struct member *member = &members[i];
        if (!member->used) {
            continue;
        }
        bool runs = member->proc->alive && member->proc->incarnation == member->incarnation &&
                    member->proc->frozen_until_us <= sim_now_us;
        if (runs) {
            member->heard_us = sim_now_us;
        }
        if (sim_now_us - member->heard_us > sim_session_us ||
            (rebalancing && !member->joined && sim_now_us - rebalance_us > REJOIN_US)) {
            sim_note("%s is removed from the group", member->id);
            member->used = false;
            rebalance();
        }
    }
    for (int i = 0; i < MEMBERS; i++) {
        all = all && (!members[i].used || members[i].joined);
        n += members[i].used ? 1 : 0;
    }
    if (rebalancing && all && n > 0) {
        complete();
    }
}
