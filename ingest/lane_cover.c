/* Whether each partition of the input is some member's.
 *
 * A static member that comes back within its session gets its old partitions without a rebalance, and no broker or
 * client looks whether the topic has grown meanwhile: the new partitions would be nobody's until somebody leaves. So a
 * process asks the group after its start; where partitions are missing its lanes join again. The broker begins a
 * rebalance when the leader does so, which is a lane of some process.
 *
 * Thread model: called from the main thread; rk_lock keeps the consumer. */
#include <stdlib.h>
#include <string.h>

#include "ingest/lane_internal.h"
#include "uptake/assert.h"

#define PATIENCE_MS 2000

/* Big-endian fields of a member's assignment: version, topics with their partitions. */
struct reader {
    const unsigned char *p, *end;
};

static int64_t
number(struct reader *r, size_t bytes)
{
    uint32_t v = 0;
    if ((size_t)(r->end - r->p) < bytes) {
        r->p = r->end;
        return -1;
    }
    for (size_t i = 0; i < bytes; i++) {
        v = v << 8 | *r->p++;
    }
    return bytes == 2 ? (int16_t)v : (int32_t)v;
}

static void
mark_assignment(const struct rd_kafka_group_member_info *member, const char *topic, bool *seen, int32_t partitions)
{
    const unsigned char *p = member->member_assignment;
    struct reader r = {.p = p, .end = p == NULL ? NULL : p + member->member_assignment_size};
    (void)number(&r, 2);
    for (int64_t topics = number(&r, 4); topics > 0 && r.p < r.end; topics--) {
        int64_t len = number(&r, 2);
        if (len < 0 || len > r.end - r.p) {
            return;
        }
        bool ours = (size_t)len == strlen(topic) && memcmp(r.p, topic, (size_t)len) == 0;
        r.p += len;
        for (int64_t n = number(&r, 4); n > 0 && r.p < r.end; n--) {
            int64_t partition = number(&r, 4);
            if (ours && partition >= 0 && partition < partitions) {
                seen[partition] = true;
            }
        }
    }
}

/* -1: not known now, such as amid a rebalance. */
static int
missing(rd_kafka_t *rk, const struct upt_config *config, int32_t partitions)
{
    const struct rd_kafka_group_list *list = NULL;
    (void)rd_kafka_list_groups(rk, config->group, &list, PATIENCE_MS); /* what some brokers said will do */
    if (list == NULL) {
        return -1;
    }
    int n = -1;
    if (list->group_cnt == 1 && list->groups[0].state != NULL && strcmp(list->groups[0].state, "Stable") == 0) {
        bool *seen = calloc((size_t)partitions, sizeof(*seen));
        upt_assert(seen != NULL);
        for (int i = 0; i < list->groups[0].member_cnt; i++) {
            mark_assignment(&list->groups[0].members[i], config->input_topic, seen, partitions);
        }
        n = 0;
        for (int32_t p = 0; p < partitions; p++) {
            n += !seen[p];
        }
        free(seen);
    }
    rd_kafka_group_list_destroy(list);
    return n;
}

int
upt_lane_uncovered(struct upt_lane *lane)
{
    pthread_mutex_lock(&lane->rk_lock);
    int n = lane->rk != NULL ? missing(lane->rk, lane->config, lane->shared->partitions) : -1;
    pthread_mutex_unlock(&lane->rk_lock);
    return n;
}

void
upt_lane_join_again(struct upt_lane *lane)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, lane->config->input_topic, RD_KAFKA_PARTITION_UA);
    pthread_mutex_lock(&lane->rk_lock);
    if (lane->rk != NULL) {
        (void)rd_kafka_subscribe(lane->rk, topics);
    }
    pthread_mutex_unlock(&lane->rk_lock);
    rd_kafka_topic_partition_list_destroy(topics);
}
