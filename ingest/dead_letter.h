/* The headers that a dead letter has beside those that came with the record. */
#ifndef UPT_DEAD_LETTER_H
#define UPT_DEAD_LETTER_H

enum {
    UPT_DEAD_REASON,
    UPT_DEAD_DETAIL,
    UPT_DEAD_TOPIC,
    UPT_DEAD_PARTITION,
    UPT_DEAD_OFFSET,
    UPT_DEAD_TIMESTAMP,
    UPT_DEAD_SCHEMA_ID,
    UPT_DEAD_EVENTS,
    UPT_DEAD_OWN,                        /* those before it are taken off a record that has them already */
    UPT_DEAD_VALUE_BYTES = UPT_DEAD_OWN, /* of a letter that goes without its value */
    UPT_DEAD_N
};

static const char *const upt_dead_headers[UPT_DEAD_N] = {
    "uptake.reason",    "uptake.detail",    "uptake.topic",  "uptake.partition",   "uptake.offset",
    "uptake.timestamp", "uptake.schema_id", "uptake.events", "uptake.value_bytes",
};

#endif
