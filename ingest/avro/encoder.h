/* Our records as Avro bytes, with the Confluent header when schema_id ≥ 0, bare otherwise. The writer schemas are the
 * files in schemas/, embedded at build time. Appends to out. */
#ifndef UPT_ENCODER_H
#define UPT_ENCODER_H

#include <stdint.h>

#include "uptake/event.h"
#include "uptake/output.h"
#include "uptake/str.h"

extern const struct upt_str upt_schema_usage_event, upt_schema_usage_batch, upt_schema_account_health,
    upt_schema_churn_alert;

void upt_encode_alert(struct upt_buf *out, int32_t schema_id, const struct upt_alert *alert, int64_t detected_at);
void upt_encode_health(struct upt_buf *out, int32_t schema_id, const struct upt_health *health);
/* For generate, demo and tests. props: n name/value pairs in place of ev->properties. */
struct upt_prop {
    struct upt_str name, value;
};
void upt_encode_event(struct upt_buf *out, int32_t schema_id, const struct upt_event *ev, const struct upt_prop *props,
                      size_t n);
/* A batch: begin, then upt_encode_event with schema_id −1 for each, then end. count must be right. */
void upt_encode_batch_begin(struct upt_buf *out, int32_t schema_id, size_t count);
void upt_encode_batch_end(struct upt_buf *out);

/* A decoded alert or health record for `show`: Avro bytes (after any header) to one JSON object. */
UPT_NODISCARD upt_status upt_record_json(struct upt_str schema_json, struct upt_str body, struct upt_buf *out,
                                         struct upt_error *reterr);

#endif
