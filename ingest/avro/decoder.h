/* Records to events: frame, schema, decode plan, limits (contract §1, the reasons from too_large to bad_avro and the
 * whole-batch part of bad_account_id).
 *
 * The writer schema is parsed once per id and compiled into a decode plan: a flat list of bounded steps that reads the
 * fields needed in place and skips the rest. No allocation per event.
 * @locality: one thread (the lane); the registry behind it is shared. */
#ifndef UPT_DECODER_H
#define UPT_DECODER_H

#include <stdbool.h>
#include <stdint.h>

#include "ingest/avro/registry.h"
#include "uptake/event.h"
#include "uptake/status.h"

struct upt_decoder;

struct upt_decoder_config {
    bool framed;                   /* false: bare Avro in `schema` */
    struct upt_str schema;         /* writer schema for bare Avro */
    struct upt_registry *registry; /* borrowed; NULL if not framed */
    int64_t max_record_bytes, max_batch_events, max_depth;
};

struct upt_decoded {
    upt_reason reason; /* UPT_REASON_NONE: events are valid */
    bool batch;
    bool has_schema_id;
    int32_t schema_id;
    const struct upt_event *events; /* owned by the decoder until the next call; slices borrow the value, or are
                                     * the decoder's likewise */
    uint32_t events_n;
    char detail[256]; /* one sentence for a person when reason is set */
};

UPT_NODISCARD upt_status upt_decoder_create(const struct upt_decoder_config *config, struct upt_decoder **ret,
                                            struct upt_error *reterr);
void upt_decoder_destroy(struct upt_decoder **dec_p);

/* UPT_OK: *ret is filled. UPT_EAGAIN, UPT_EUNAVAIL, UPT_EAUTH: the schema is not known yet; hold the partition and ask
 * again (reterr says why). UPT_ENOMEM: out of memory. Checks the size first, then frame, schema, Avro, then that every
 * event's account_id equals key (UPT_REASON_BAD_ACCOUNT_ID for the whole record). key is already known to be valid. */
UPT_NODISCARD upt_status upt_decoder_decode(struct upt_decoder *dec, struct upt_str key, struct upt_str value,
                                            struct upt_decoded *ret, struct upt_error *reterr);
/* Of a good record with one event, nothing of which but the event itself is in the decoder's memory, the same. False:
 * it is any other, and is to be decoded when its turn comes. */
bool upt_decoder_look_ahead(struct upt_decoder *dec, struct upt_str key, struct upt_str value, struct upt_decoded *ret);

#endif
