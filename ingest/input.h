/* Decoding of input records by commands: registry or schema file as configured, and a call that waits for an answer. */
#ifndef UPT_INPUT_H
#define UPT_INPUT_H

#include "ingest/avro/decoder.h"
#include "uptake/config.h"

struct upt_input {
    const struct upt_config *config;
    struct upt_registry *registry; /* NULL: bare Avro */
    struct upt_buf schema;         /* of bare Avro */
};

UPT_NODISCARD upt_status upt_input_open(struct upt_input *input, const struct upt_config *config,
                                        struct upt_error *reterr);
void upt_input_close(struct upt_input *input); /* after its decoders are gone */
/* A decoder for a configuration's input: of a schema for bare records, else of a registry. What is wrong with the
 * schema is told with its file's name. */
UPT_NODISCARD upt_status upt_input_decoder_of(const struct upt_config *config, struct upt_str schema,
                                              struct upt_registry *registry, struct upt_decoder **ret,
                                              struct upt_error *reterr);
UPT_NODISCARD upt_status upt_input_decoder(const struct upt_input *input, struct upt_decoder **ret,
                                           struct upt_error *reterr);
/* upt_decoder_decode that waits for the registry, for its time-out and a second. */
UPT_NODISCARD upt_status upt_input_decode(const struct upt_input *input, struct upt_decoder *decoder,
                                          struct upt_str key, struct upt_str value, struct upt_decoded *ret,
                                          struct upt_error *reterr);

#endif
