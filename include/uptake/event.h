/* A decoded usage event and the verdicts on it (contract §1). All bytes are borrowed from the Kafka record. */
#ifndef UPT_EVENT_H
#define UPT_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "uptake/str.h"

#define UPT_KEY_MAX 256
#define UPT_FEATURE_MAX 128

/* The order is that of the reader schema's enum. */
typedef enum upt_kind {
    UPT_KIND_USAGE,
    UPT_KIND_LOGIN,
    UPT_KIND_SIGNUP,
    UPT_KIND_USER_REMOVED,
    UPT_KIND_SEATS,
    UPT_KIND_ONBOARDING_STEP,
    UPT_KIND_VALUE,
    UPT_KIND_TRAINING,
    UPT_KIND_TICKET_OPENED,
    UPT_KIND_TICKET_CLOSED,
    UPT_KIND_SURVEY,
    UPT_KIND_CONTACT,
    UPT_KIND_PROFILE,
    UPT_KIND_RELEASE,
    UPT_KIND_RENEWED,
    UPT_KIND_CHURNED,
    UPT_KIND_OTHER,
    UPT_KIND_COUNT
} upt_kind;

extern const char *const upt_kind_names[UPT_KIND_COUNT];

/* Why a record cannot be counted, in the contract's order; UPT_REASON_NONE: it can. */
typedef enum upt_reason {
    UPT_REASON_NONE,
    UPT_REASON_BAD_KEY,
    UPT_REASON_TOO_LARGE,
    UPT_REASON_BAD_FRAME,
    UPT_REASON_UNKNOWN_SCHEMA,
    UPT_REASON_BAD_SCHEMA,
    UPT_REASON_BAD_AVRO,
    UPT_REASON_BAD_ACCOUNT_ID,
    UPT_REASON_BAD_FEATURE,
    UPT_REASON_BAD_QUANTITY,
    UPT_REASON_TOO_LATE,
    UPT_REASON_IN_FUTURE,
    UPT_REASON_COUNT
} upt_reason;

extern const char *const upt_reason_names[UPT_REASON_COUNT];

/* A map<string> left encoded: iterate with upt_props_next. Already validated (lengths, UTF-8) by the decoder. */
struct upt_props {
    struct upt_str raw; /* Avro map blocks of the writer; empty: no entry */
};

struct upt_event {
    struct upt_str event_id; /* empty: not deduplicated */
    struct upt_str account_id;
    struct upt_str user_id; /* null: nobody named; an empty one in the record is null here */
    struct upt_str feature; /* null: none */
    struct upt_props properties;
    int64_t occurred_at; /* Unix ms */
    int64_t duration_ms; /* valid if has_duration */
    double quantity;
    upt_kind kind;
    bool has_duration;
};

/* Walks the properties: start with *cur = {raw}. False at the end. */
struct upt_props_cur {
    const char *p;
    const char *end;
    int64_t left; /* entries left in this block */
};
struct upt_props_cur upt_props_begin(struct upt_props props);
bool upt_props_next(struct upt_props_cur *cur, struct upt_str *ret_name, struct upt_str *ret_value);

#endif
