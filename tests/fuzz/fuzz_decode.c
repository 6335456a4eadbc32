/* Fuzzes the decode plan: any bytes, in one of several writer schemas, must end in events or a reason.
 *
 * Input: which schema of decode_schemas.json, limits (0: the contract's, else small ones), the record.
 * Differential: what the plan accepts has been checked to the last byte, so libavro can read it safely; it must read
 * all of it and find the same values where the writer's field has the reader's type. What the plan refuses is not shown
 * to libavro, which would take some of it and crash on more. And the plan with every field of an event as a step of its
 * own must give the same events, or the same fault at the same place. */
#include <stdlib.h>
#include <string.h>

#include <avro.h>
#include <jansson.h>

#include "ingest/avro/plan.h"
#include "uptake/assert.h"

#define SCHEMAS_MAX 32

extern const unsigned char upt_decode_schemas[];
extern const size_t upt_decode_schemas_len;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct writer {
    struct upt_plan *plan, *steps; /* steps: without UPT_OP_USUAL */
    avro_value_iface_t *class;
    bool empty_items; /* libavro would make as many values as the count says */
};

static struct writer writers[SCHEMAS_MAX];
static size_t writers_n;
static struct upt_run run, run_steps;

static void
one_by_one(struct upt_op *op)
{
    op->code = op->code == UPT_OP_USUAL ? UPT_OP_EVENT : op->code;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    json_t *all = json_loadb((const char *)upt_decode_schemas, upt_decode_schemas_len, 0, NULL);
    writers_n = json_array_size(all);
    upt_assert(writers_n > 0 && writers_n <= SCHEMAS_MAX);
    for (size_t i = 0; i < writers_n; i++) {
        struct upt_avro_schema *schema = NULL;
        avro_schema_t theirs = NULL;
        char *text = json_dumps(json_array_get(all, i), 0);
        upt_assert(text != NULL && upt_schema_parse(upt_str_of(text), &schema, NULL) == UPT_OK);
        upt_assert(upt_plan_compile(schema, &writers[i].plan, NULL) == UPT_OK);
        upt_assert(upt_plan_compile(schema, &writers[i].steps, NULL) == UPT_OK);
        one_by_one(&writers[i].steps->root);
        for (uint32_t n = 0; n < writers[i].steps->ops_n; n++) {
            one_by_one(&writers[i].steps->ops[n]);
        }
        upt_assert(avro_schema_from_json_length(text, strlen(text), &theirs) == 0);
        writers[i].class = avro_generic_class_from_schema(theirs);
        for (uint32_t n = 0; n < schema->nodes_n; n++) {
            const struct upt_avro_node *node = &schema->nodes[n];
            writers[i].empty_items |= node->type == UPT_AVRO_ARRAY && schema->nodes[node->item].empty;
        }
        avro_schema_decref(theirs);
        upt_schema_destroy(&schema);
        free(text);
    }
    json_decref(all);
    return 0;
}

/* The value itself, or a union's branch that is there. False: there is no such field. */
static bool
field_of(avro_value_t *record, const char *name, avro_value_t *ret)
{
    if (avro_value_get_by_name(record, name, ret, NULL) != 0) {
        return false;
    }
    if (avro_value_get_type(ret) == AVRO_UNION) {
        avro_value_t branch;
        upt_assert(avro_value_get_current_branch(ret, &branch) == 0);
        *ret = branch;
    }
    return true;
}

static void
check_text(avro_value_t *record, const char *name, struct upt_str got, bool empty_is_null)
{
    avro_value_t value;
    if (!field_of(record, name, &value)) {
        return;
    }
    const char *text = NULL;
    size_t size = 1;
    switch (avro_value_get_type(&value)) {
    case AVRO_STRING:
        upt_assert(avro_value_get_string(&value, &text, &size) == 0);
        size--;
        break;
    case AVRO_BYTES: {
        const void *bytes = NULL;
        upt_assert(avro_value_get_bytes(&value, &bytes, &size) == 0);
        text = bytes;
        break;
    }
    default:
        upt_assert(avro_value_get_type(&value) == AVRO_NULL && got.p == NULL);
        return;
    }
    if (size == 0 && empty_is_null) {
        upt_assert(got.p == NULL);
    } else {
        upt_assert(got.p != NULL && got.len == size && memcmp(got.p, text, size) == 0);
    }
}

static void
check_numbers(avro_value_t *record, const struct upt_event *event)
{
    avro_value_t value;
    int64_t number = 0;
    double real = 0;
    if (field_of(record, "occurred_at", &value) && avro_value_get_type(&value) == AVRO_INT64) {
        upt_assert(avro_value_get_long(&value, &number) == 0 && number == event->occurred_at);
    }
    if (field_of(record, "duration_ms", &value) && avro_value_get_type(&value) == AVRO_INT64) {
        upt_assert(avro_value_get_long(&value, &number) == 0 && event->has_duration && number == event->duration_ms);
    } else if (field_of(record, "duration_ms", &value) && avro_value_get_type(&value) == AVRO_NULL) {
        upt_assert(!event->has_duration);
    }
    if (field_of(record, "quantity", &value) && avro_value_get_type(&value) == AVRO_DOUBLE) {
        upt_assert(avro_value_get_double(&value, &real) == 0);
        upt_assert(memcmp(&real, &event->quantity, sizeof(real)) == 0);
    }
    if (field_of(record, "kind", &value)) {
        int symbol = 0;
        upt_assert(avro_value_get_enum(&value, &symbol) == 0);
        avro_schema_t schema = avro_value_get_schema(&value);
        const char *name = avro_schema_enum_get(schema, symbol);
        upt_assert(strcmp(name, upt_kind_names[event->kind]) == 0 || event->kind == UPT_KIND_OTHER);
    }
}

/* libavro's map keeps the last of a key's values and the order of first keys. */
static void
check_props(avro_value_t *record, const struct upt_event *event)
{
    avro_value_t map;
    if (!field_of(record, "properties", &map)) {
        return;
    }
    struct upt_props_cur cur = upt_props_begin(event->properties);
    struct upt_str name;
    struct upt_str text;
    size_t n = 0;
    size_t theirs = 0;
    for (; upt_props_next(&cur, &name, &text); n++) {
        upt_assert(upt_utf8_valid(name.p, name.len) && upt_utf8_valid(text.p, text.len));
    }
    upt_assert(avro_value_get_size(&map, &theirs) == 0 && theirs <= n && (theirs > 0 || n == 0));
}

static void
check_event(avro_value_t *record, const struct upt_event *event)
{
    check_text(record, "event_id", event->event_id, false);
    check_text(record, "account_id", event->account_id, false);
    check_text(record, "user_id", event->user_id, true);
    check_text(record, "feature", event->feature, false);
    check_numbers(record, event);
    check_props(record, event);
}

static void
check_batch(avro_value_t *record)
{
    avro_value_t events;
    size_t n = 0;
    upt_assert(field_of(record, "events", &events));
    upt_assert(avro_value_get_size(&events, &n) == 0 && n == run.events_n);
    for (size_t i = 0; i < n; i++) {
        avro_value_t item;
        upt_assert(avro_value_get_by_index(&events, i, &item, NULL) == 0);
        if (avro_value_get_type(&item) == AVRO_UNION) {
            avro_value_t branch;
            upt_assert(avro_value_get_current_branch(&item, &branch) == 0);
            item = branch;
        }
        check_event(&item, &run.events[i]);
    }
}

static void
compare(const struct writer *writer, struct upt_str body)
{
    avro_value_t value;
    avro_reader_t reader = avro_reader_memory(body.p, body.len);
    char byte;
    upt_assert(avro_generic_value_new(writer->class, &value) == 0);
    upt_assert(avro_value_read(reader, &value) == 0);
    upt_assert(avro_read(reader, &byte, 1) != 0); /* to the end */
    if (writer->plan->batch) {
        check_batch(&value);
    } else {
        upt_assert(run.events_n == 1);
        check_event(&value, &run.events[0]);
    }
    avro_value_decref(&value);
    avro_reader_free(reader);
}

static void
check_same_text(struct upt_str a, struct upt_str b)
{
    upt_assert(a.p == b.p && a.len == b.len);
}

static void
check_steps(const struct writer *writer, struct upt_str body, upt_reason reason)
{
    run_steps.max_events = run.max_events;
    run_steps.max_depth = run.max_depth;
    upt_assert(upt_plan_run(writer->steps, &run_steps, body) == reason);
    if (reason != UPT_REASON_NONE) {
        upt_assert(run.at == run_steps.at && strcmp(run.why, run_steps.why) == 0);
        upt_assert(strcmp(run.field, run_steps.field) == 0);
        return;
    }
    upt_assert(run.events_n == run_steps.events_n);
    for (uint32_t i = 0; i < run.events_n && !writer->plan->copies; i++) {
        const struct upt_event *a = &run.events[i], *b = &run_steps.events[i];
        check_same_text(a->event_id, b->event_id);
        check_same_text(a->account_id, b->account_id);
        check_same_text(a->user_id, b->user_id);
        check_same_text(a->feature, b->feature);
        upt_assert(upt_str_eq(a->properties.raw, b->properties.raw));
        upt_assert(a->occurred_at == b->occurred_at && a->kind == b->kind && a->has_duration == b->has_duration);
        upt_assert(a->duration_ms == b->duration_ms && memcmp(&a->quantity, &b->quantity, sizeof(a->quantity)) == 0);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    const struct writer *writer = &writers[data[0] % writers_n];
    run.max_events = data[1] == 0 ? 10000 : data[1] % 8;
    run.max_depth = data[1] == 0 ? 32 : 1 + data[1] / 8 % 8;
    struct upt_str body = {.p = (const char *)data + 2, .len = (uint32_t)(size - 2)};
    upt_reason reason = upt_plan_run(writer->plan, &run, body);
    upt_assert(reason == UPT_REASON_NONE || reason == UPT_REASON_BAD_AVRO || reason == UPT_REASON_TOO_LARGE);
    upt_assert(reason == UPT_REASON_NONE || (run.why != NULL && run.at <= body.len));
    check_steps(writer, body, reason);
    if (reason == UPT_REASON_NONE && !writer->empty_items) {
        compare(writer, body);
    }
    return 0;
}
