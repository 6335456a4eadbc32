/* Random input, and the decoder that knows it. See sim_protocol.h. */
#ifndef UPT_SIM_PROTOCOL_INPUT_H
#define UPT_SIM_PROTOCOL_INPUT_H

#include "sim_protocol_kafka.h"

struct sim_input {
    int part;
    struct sim_rec rec;
};

extern struct sim_input *sim_input; /* in the order in which it is sent */
extern size_t sim_input_n;

void sim_input_make(int parts);
/* Sends the next record. Now and then its schema is not known for a while. */
void sim_input_send(size_t i);
/* Whether it changes its account's row, whatever the clock is when it is counted. A record of which this is not said
 * may change it all the same. */
bool sim_input_counts(const struct sim_rec *rec);

#endif
