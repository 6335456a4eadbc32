/* Decode plans: a writer schema resolved once onto the reader's UsageEvent or UsageBatch, as a flat list of steps. */
#ifndef UPT_AVRO_PLAN_H
#define UPT_AVRO_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "ingest/avro/schema.h"
#include "uptake/event.h"
#include "uptake/status.h"

/* What a step reads and where it puts it. a and b are indexes and counts as noted. */
typedef enum upt_op_code {
    /* Values that nobody wants: read as strictly, kept nowhere. */
    UPT_OP_NONE,  /* takes no byte */
    UPT_OP_EMPTY, /* takes no byte, a: records inside one another */
    UPT_OP_BOOLEAN,
    UPT_OP_INT,
    UPT_OP_LONG,
    UPT_OP_FIXED, /* a: bytes; also float and double */
    UPT_OP_BYTES,
    UPT_OP_STRING,
    UPT_OP_ENUM,   /* b: symbols */
    UPT_OP_ARRAY,  /* a: step of the items */
    UPT_OP_MAP,    /* a: step of the values */
    UPT_OP_RECORD, /* a: first step, b: steps */
    UPT_OP_UNION,  /* a: first step, one for each branch, b: branches. Also for wanted values */
    UPT_OP_REFUSE, /* a branch that the reader cannot take */
    /* Fields of the event. */
    UPT_OP_KEEP_TEXT,     /* string or bytes; a: offset of the upt_str in the event, b: 1 if an empty one is null */
    UPT_OP_KEEP_TIME,     /* occurred_at; a: 1 if the writer has an int */
    UPT_OP_KEEP_DURATION, /* likewise */
    UPT_OP_KEEP_KIND,     /* a: offset in `kinds`, b: symbols */
    UPT_OP_KEEP_QUANTITY, /* double */
    UPT_OP_KEEP_NUMBER,   /* quantity from a: upt_avro_type int, long or float */
    UPT_OP_KEEP_PROPS,    /* a map of strings or bytes, left where it is */
    UPT_OP_COPY_PROPS,    /* a map of a union with strings, re-encoded; a: step of the values */
    UPT_OP_COPY_TEXT,     /* a value of such a map */
    UPT_OP_EVENT,         /* a: first step, b: steps */
    UPT_OP_USUAL,         /* likewise; the first UPT_USUAL_STEPS are those of the shipped schema, in its order */
    UPT_OP_EVENTS         /* the array of a batch; a: step of the items */
} upt_op_code;

#define UPT_USUAL_STEPS 9
#define UPT_USUAL_KIND 4 /* the step of the enum */

struct upt_op {
    upt_op_code code;
    uint32_t a;
    uint32_t b;
    uint32_t name; /* the field's, in `names`; 0: none */
};

struct upt_plan {
    struct upt_op *ops;
    struct upt_op root;
    uint8_t *kinds; /* writer's symbol → upt_kind */
    char *names;
    uint32_t ops_n, kinds_n;
    size_t names_n;
    bool batch;
    bool copies; /* some step re-encodes properties */
};

/* One decoding, and the memory that it reuses. The owner sets the first group, and frees events and scratch. */
struct upt_run {
    uint32_t max_depth;
    uint64_t max_events;
    struct upt_event *events;
    uint32_t events_n, events_cap;
    char *scratch; /* as long as the body, if the plan copies */
    size_t scratch_n, scratch_cap;

    const struct upt_plan *plan;
    const uint8_t *begin, *end;
    struct upt_event *event;
    uint32_t depth;
    bool no_memory;
    upt_reason reason; /* after a fault, with why, field ("" if none) and at, the byte of the body */
    const char *why;
    const char *field;
    size_t at;
};

/* UPT_EDATA: neither of the two records, or not to be resolved onto it. */
UPT_NODISCARD upt_status upt_plan_compile(const struct upt_avro_schema *schema, struct upt_plan **ret,
                                          struct upt_error *reterr);
void upt_plan_destroy(struct upt_plan **plan_p);

/* Decodes the whole body. UPT_REASON_NONE: run->events is valid until the next run, its slices borrow body or scratch.
 * A fault sets run->why and the rest; out of memory sets run->no_memory beside some reason. */
upt_reason upt_plan_run(const struct upt_plan *plan, struct upt_run *run, struct upt_str body);

#endif
