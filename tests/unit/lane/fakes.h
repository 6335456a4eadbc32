/* What a lane has around it, played by the test: publishers, a restorer, the group's member as far as it is asked
 * anything. librdkafka's handles are real; no broker is there. */
#ifndef UPT_TEST_LANE_FAKES_H
#define UPT_TEST_LANE_FAKES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ingest/lane_internal.h"

struct fakes {
    upt_failure failure; /* of both publishers */
    bool away;           /* they have no producer */
    bool full;           /* their rings have no room */
    unsigned restarts, asked;
    struct upt_restored got; /* the restorer's next result, if got_set */
    bool got_set;
    struct upt_pos committed; /* of both publishers, if committed_set */
    bool committed_set;
    atomic_bool no_restorer;           /* none can be made */
    atomic_uint joins;                 /* restorers that were made, one each time */
    _Atomic rd_kafka_resp_err_t fatal; /* what the consumer says, if anything */
    void (*rebalance)(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque);
};
extern struct fakes fakes;

#endif
