/* librdkafka's handles as the simulation has them: shared by its consumer and its producer side. */
#ifndef UPT_SIM_PROTOCOL_CLIENT_H
#define UPT_SIM_PROTOCOL_CLIENT_H

#include "sim_protocol_kafka.h"

struct rd_kafka_conf_s {
    char txn_id[64], instance[48];
    bool committed_only;
    void *opaque;
    void (*rebalance_cb)(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque);
    void (*dr_cb)(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *opaque);
    rd_kafka_interceptor_f_on_new_t *on_new;
    void *on_new_opaque;
};

struct rd_kafka_error_s {
    rd_kafka_resp_err_t code;
};

struct rd_kafka_headers_s {
    size_t n, cap;
    struct sim_header *v;
};

struct sim_message {
    rd_kafka_message_t msg; /* first */
    int64_t ts;
    rd_kafka_headers_t *headers;
};

struct sim_local { /* a record in librdkafka's own queue */
    enum sim_topic topic;
    int part;
    struct sim_rec rec;
    rd_kafka_headers_t *headers;
    struct sim_local *next;
};

struct sim_fetch {
    bool on, paused;
    int64_t pos, eof_at;
};

struct rd_kafka_s {
    struct rd_kafka_conf_s conf;
    rd_kafka_interceptor_f_on_request_sent_t *request_sent;
    void *request_sent_opaque;
    /* producer */
    int txn, epoch;
    bool checkpoints, fence, fatal, in_txn, place;
    struct sim_local *queue, **queue_tail;
    unsigned failed;
    /* consumer */
    bool subscribed, assigned, lost;
    char member[48];
    int generation;
    enum sim_topic topic;
    struct sim_fetch at[SIM_PARTS];
};

rd_kafka_error_t *sim_error(rd_kafka_resp_err_t code);

#endif
