/* Compiles a writer schema into a decode plan: Avro's schema resolution, done once for each schema instead of for each
 * record.
 *
 * The reader's schema is fixed (UsageEvent, and UsageBatch with an array of them), so a wanted value compiles into a
 * step that knows its field of struct upt_event; everything else compiles into steps that check and pass over it.
 *
 *     record of the writer     ops: | field | field | … |        a field's step names what it reads (and where to)
 *     union                    ops: | branch | branch | … |      one step each; UPT_OP_REFUSE if the reader cannot take
 * it named record, unwanted   its list is compiled once and shared, so a recursive type is a cycle between lists
 *
 * Why a list and not generated code or libavro's resolved readers: a plan of a dozen 16-byte steps stays in the first
 * cache lines and decodes an event in tens of nanoseconds; libavro's readers allocate and trust lengths on the wire.
 *
 * Resolution follows the specification: fields by name, records and enums by the last part of their names, promotions
 * int → long → float → double and string ↔ bytes. A value of a union is resolved by its branch: a branch that cannot be
 * taken makes the value bad_avro when it occurs, no branch that can be taken makes the schema bad_schema.
 * Invariants: steps that take no byte are never in a record's list except UPT_OP_EMPTY, of which no two are neighbours;
 * so a list's steps are bounded by the bytes they read, whatever the schema. One thread for each call. */
#include "ingest/avro/plan.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOT_YET UINT32_MAX

struct list {
    uint32_t first;
    uint32_t count;
};

struct compiler {
    const struct upt_avro_schema *schema;
    struct upt_plan *plan;
    uint32_t ops_cap;
    struct list *lists; /* by node: of records that are passed over; first NOT_YET: none */
    uint32_t *queue;    /* records whose lists are wanted, and how many of them are compiled */
    uint32_t queue_n, queue_done;
    bool no_memory;
    char why[160]; /* the last thing that could not be resolved */
};

typedef enum wanted {
    WANT_EVENT_ID,
    WANT_OCCURRED_AT,
    WANT_ACCOUNT_ID,
    WANT_USER_ID,
    WANT_KIND,
    WANT_FEATURE,
    WANT_QUANTITY,
    WANT_DURATION_MS,
    WANT_PROPERTIES,
    WANT_FIELDS, /* of an event */
    WANT_EVENTS = WANT_FIELDS,
    WANT_EVENT,
    WANT_VALUE /* of properties */
} wanted;

static const char *const wanted_names[] = {"event_id", "occurred_at", "account_id", "user_id", "kind",   "feature",
                                           "quantity", "duration_ms", "properties", "events",  "events", "properties"};

static bool keep_op(struct compiler *comp, uint32_t node, wanted what, struct upt_op *ret);

static const struct upt_avro_node *
node_of(const struct compiler *comp, uint32_t node)
{
    return &comp->schema->nodes[node];
}

/* ---- Room ---- */

/* n steps side by side, all NONE. Out of memory: the plan is given up at the end, index 0 serves until then. */
static uint32_t
add_ops(struct compiler *comp, uint32_t n)
{
    struct upt_plan *plan = comp->plan;
    if (plan->ops_n + n > comp->ops_cap) {
        uint32_t cap = comp->ops_cap == 0 ? 32 : comp->ops_cap;
        while (cap < plan->ops_n + n) {
            cap *= 2;
        }
        struct upt_op *ops = realloc(plan->ops, cap * sizeof(*ops));
        if (ops == NULL) {
            comp->no_memory = true;
            return NOT_YET;
        }
        plan->ops = ops;
        comp->ops_cap = cap;
    }
    for (uint32_t i = 0; i < n; i++) {
        plan->ops[plan->ops_n + i] = (struct upt_op){.code = UPT_OP_NONE};
    }
    plan->ops_n += n;
    return plan->ops_n - n;
}

static void
set_op(struct compiler *comp, uint32_t index, struct upt_op op)
{
    if (!comp->no_memory) {
        comp->plan->ops[index] = op;
    }
}

static uint32_t
add_op(struct compiler *comp, struct upt_op op)
{
    uint32_t index = add_ops(comp, 1);
    set_op(comp, index, op);
    return index;
}

/* ---- Values that nobody wants ---- */

static struct upt_op
fixed_op(uint64_t size)
{
    /* No record is that long: one size too many is as good as another. */
    return (struct upt_op){.code = UPT_OP_FIXED, .a = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size};
}

static struct upt_op skip_op(struct compiler *comp, uint32_t node);

static struct upt_op
skip_union(struct compiler *comp, const struct upt_avro_node *node)
{
    uint32_t first = add_ops(comp, node->count);
    for (uint32_t i = 0; i < node->count && !comp->no_memory; i++) {
        set_op(comp, first + i, skip_op(comp, comp->schema->kids[node->first + i].node));
    }
    return (struct upt_op){.code = UPT_OP_UNION, .a = first, .b = node->count};
}

/* b is the node until all lists are laid out. */
static struct upt_op
skip_record(struct compiler *comp, uint32_t node)
{
    if (comp->lists[node].first == NOT_YET) {
        comp->lists[node].first = 0;
        comp->queue[comp->queue_n++] = node;
    }
    return (struct upt_op){.code = UPT_OP_RECORD, .b = node};
}

static struct upt_op
skip_op(struct compiler *comp, uint32_t index)
{
    static const struct upt_op simple[UPT_AVRO_PRIMITIVES] = {[UPT_AVRO_NULL] = {.code = UPT_OP_NONE},
                                                              [UPT_AVRO_BOOLEAN] = {.code = UPT_OP_BOOLEAN},
                                                              [UPT_AVRO_INT] = {.code = UPT_OP_INT},
                                                              [UPT_AVRO_LONG] = {.code = UPT_OP_LONG},
                                                              [UPT_AVRO_FLOAT] = {.code = UPT_OP_FIXED, .a = 4},
                                                              [UPT_AVRO_DOUBLE] = {.code = UPT_OP_FIXED, .a = 8},
                                                              [UPT_AVRO_BYTES] = {.code = UPT_OP_BYTES},
                                                              [UPT_AVRO_STRING] = {.code = UPT_OP_STRING}};
    const struct upt_avro_node *node = node_of(comp, index);
    if (node->empty) {
        upt_op_code code = node->nested == 0 ? UPT_OP_NONE : UPT_OP_EMPTY;
        return (struct upt_op){.code = code, .a = node->nested};
    }
    switch (node->type) {
    case UPT_AVRO_FIXED:
        return fixed_op(node->size);
    case UPT_AVRO_ENUM:
        return (struct upt_op){.code = UPT_OP_ENUM, .b = node->count};
    case UPT_AVRO_ARRAY:
        return (struct upt_op){.code = UPT_OP_ARRAY, .a = add_op(comp, skip_op(comp, node->item))};
    case UPT_AVRO_MAP:
        return (struct upt_op){.code = UPT_OP_MAP, .a = add_op(comp, skip_op(comp, node->item))};
    case UPT_AVRO_UNION:
        return skip_union(comp, node);
    case UPT_AVRO_RECORD:
        return skip_record(comp, index);
    default:
        return simple[node->type];
    }
}

/* Puts a step at the end of a list under construction, or merges it into the last one. */
static void
append(struct compiler *comp, struct list *list, struct upt_op op)
{
    if (op.code == UPT_OP_NONE || comp->no_memory) {
        return;
    }
    struct upt_op *last = list->count == 0 ? NULL : &comp->plan->ops[list->first + list->count - 1];
    if (last != NULL && last->code == op.code && op.code == UPT_OP_FIXED && op.a <= UINT32_MAX - last->a) {
        last->a += op.a;
    } else if (last != NULL && last->code == op.code && op.code == UPT_OP_EMPTY) {
        last->a = op.a > last->a ? op.a : last->a;
    } else {
        comp->plan->ops[list->first + list->count++] = op;
    }
}

/* The lists of the records that are passed over, those that they need in turn, and then the places where they are. */
static void
lay_out_records(struct compiler *comp)
{
    while (comp->queue_done < comp->queue_n && !comp->no_memory) {
        uint32_t index = comp->queue[comp->queue_done++];
        const struct upt_avro_node *node = node_of(comp, index);
        struct list list = {.first = add_ops(comp, node->count)};
        for (uint32_t i = 0; i < node->count; i++) {
            const struct upt_avro_kid *field = &comp->schema->kids[node->first + i];
            struct upt_op op = skip_op(comp, field->node);
            op.name = field->name;
            append(comp, &list, op);
        }
        comp->lists[index] = list;
    }
    for (uint32_t i = 0; i < comp->plan->ops_n && !comp->no_memory; i++) {
        struct upt_op *op = &comp->plan->ops[i];
        if (op->code == UPT_OP_RECORD) {
            struct list list = comp->lists[op->b];
            op->a = list.first;
            op->b = list.count;
        }
    }
}

/* ---- Values that the reader wants ---- */

static bool
unresolved(struct compiler *comp, uint32_t index, wanted what)
{
    const struct upt_avro_node *node = node_of(comp, index);
    (void)snprintf(comp->why, sizeof(comp->why), "%s cannot be read from the writer's %s%s%.60s", wanted_names[what],
                   upt_avro_type_names[node->type], node->name == 0 ? "" : " ",
                   upt_schema_name(comp->schema, node->name));
    return false;
}

static bool
keep_union(struct compiler *comp, uint32_t index, wanted what, struct upt_op *ret)
{
    const struct upt_avro_node *node = node_of(comp, index);
    uint32_t first = add_ops(comp, node->count);
    bool any = false;
    for (uint32_t i = 0; i < node->count && !comp->no_memory; i++) {
        struct upt_op op = {.code = UPT_OP_REFUSE};
        struct upt_op kept;
        if (keep_op(comp, comp->schema->kids[node->first + i].node, what, &kept)) {
            op = kept;
            any = true;
        }
        set_op(comp, first + i, op);
    }
    *ret = (struct upt_op){.code = UPT_OP_UNION, .a = first, .b = node->count};
    return any || (node->count == 0 && unresolved(comp, index, what));
}

static upt_kind
kind_of(const char *symbol)
{
    for (uint32_t i = 0; i < UPT_KIND_COUNT; i++) {
        if (strcmp(symbol, upt_kind_names[i]) == 0) {
            return (upt_kind)i;
        }
    }
    return UPT_KIND_OTHER; /* the reader's default */
}

static bool
keep_kind(struct compiler *comp, const struct upt_avro_node *node, struct upt_op *ret)
{
    struct upt_plan *plan = comp->plan;
    if (strcmp(upt_schema_name(comp->schema, node->base), "Kind") != 0 || node->count == 0) {
        return false;
    }
    uint8_t *kinds = realloc(plan->kinds, plan->kinds_n + node->count);
    if (kinds == NULL) {
        comp->no_memory = true;
        return false;
    }
    plan->kinds = kinds;
    for (uint32_t i = 0; i < node->count; i++) {
        const char *symbol = upt_schema_name(comp->schema, comp->schema->kids[node->first + i].name);
        kinds[plan->kinds_n + i] = (uint8_t)kind_of(symbol);
    }
    *ret = (struct upt_op){.code = UPT_OP_KEEP_KIND, .a = plan->kinds_n, .b = node->count};
    plan->kinds_n += node->count;
    return true;
}

static bool
keep_props(struct compiler *comp, const struct upt_avro_node *node, struct upt_op *ret)
{
    const struct upt_avro_node *values = node_of(comp, node->item);
    if (values->type == UPT_AVRO_STRING || values->type == UPT_AVRO_BYTES) {
        *ret = (struct upt_op){.code = UPT_OP_KEEP_PROPS};
        return true;
    }
    struct upt_op op;
    if (!keep_op(comp, node->item, WANT_VALUE, &op)) {
        return false;
    }
    comp->plan->copies = true;
    *ret = (struct upt_op){.code = UPT_OP_COPY_PROPS, .a = add_op(comp, op)};
    return true;
}

static bool
keep_number(upt_avro_type type, struct upt_op *ret)
{
    if (type == UPT_AVRO_DOUBLE) {
        *ret = (struct upt_op){.code = UPT_OP_KEEP_QUANTITY};
        return true;
    }
    *ret = (struct upt_op){.code = UPT_OP_KEEP_NUMBER, .a = (uint32_t)type};
    return type == UPT_AVRO_INT || type == UPT_AVRO_LONG || type == UPT_AVRO_FLOAT;
}

/* Whether an event's first steps are those of the shipped schema: they are then run without a look at each. */
static bool
is_usual(const struct compiler *comp, const struct list *list)
{
    static const struct {
        upt_op_code code;
        uint32_t a;
        bool nullable;
    } usual[UPT_USUAL_STEPS] = {{UPT_OP_KEEP_TEXT, offsetof(struct upt_event, event_id), false},
                                {UPT_OP_KEEP_TIME, 0, false},
                                {UPT_OP_KEEP_TEXT, offsetof(struct upt_event, account_id), false},
                                {UPT_OP_KEEP_TEXT, offsetof(struct upt_event, user_id), true},
                                [UPT_USUAL_KIND] = {UPT_OP_KEEP_KIND, 0, false},
                                {UPT_OP_KEEP_TEXT, offsetof(struct upt_event, feature), true},
                                {UPT_OP_KEEP_QUANTITY, 0, false},
                                {UPT_OP_KEEP_DURATION, 0, true},
                                {UPT_OP_KEEP_PROPS, 0, false}};
    if (comp->no_memory || list->count < UPT_USUAL_STEPS) {
        return false;
    }
    const struct upt_op *ops = comp->plan->ops;
    for (uint32_t i = 0; i < UPT_USUAL_STEPS; i++) {
        const struct upt_op *op = &ops[list->first + i];
        if (usual[i].nullable && (op->code != UPT_OP_UNION || op->b != 2 || ops[op->a].code != UPT_OP_NONE)) {
            return false;
        }
        op = usual[i].nullable ? &ops[op->a + 1] : op;
        if (op->code != usual[i].code || op->a != usual[i].a) {
            return false;
        }
    }
    return true;
}

/* The fields of the writer's event: those of the reader kept, the others passed over. */
static bool
keep_event(struct compiler *comp, uint32_t index, struct upt_op *ret)
{
    const struct upt_avro_node *node = node_of(comp, index);
    bool seen[WANT_FIELDS] = {false};
    struct list list = {.first = add_ops(comp, node->count)};
    for (uint32_t i = 0; i < node->count; i++) {
        const struct upt_avro_kid *field = &comp->schema->kids[node->first + i];
        const char *name = upt_schema_name(comp->schema, field->name);
        uint32_t what = 0;
        while (what < WANT_FIELDS && strcmp(name, wanted_names[what]) != 0) {
            what++;
        }
        struct upt_op op;
        if (what == WANT_FIELDS) {
            op = skip_op(comp, field->node);
        } else if (!keep_op(comp, field->node, (wanted)what, &op)) {
            return false;
        } else {
            seen[what] = true;
        }
        op.name = field->name;
        append(comp, &list, op);
    }
    if (!seen[WANT_OCCURRED_AT] || !seen[WANT_ACCOUNT_ID]) {
        (void)snprintf(comp->why, sizeof(comp->why), "%s is missing and has no default",
                       seen[WANT_OCCURRED_AT] ? "account_id" : "occurred_at");
        return false;
    }
    upt_op_code code = is_usual(comp, &list) ? UPT_OP_USUAL : UPT_OP_EVENT;
    *ret = (struct upt_op){.code = code, .a = list.first, .b = list.count};
    return true;
}

static bool
keep_events(struct compiler *comp, const struct upt_avro_node *node, struct upt_op *ret)
{
    struct upt_op item;
    if (!keep_op(comp, node->item, WANT_EVENT, &item)) {
        return false;
    }
    *ret = (struct upt_op){.code = UPT_OP_EVENTS, .a = add_op(comp, item)};
    return true;
}

static bool
keep_text(upt_avro_type type, wanted what, struct upt_op *ret)
{
    bool nullable = what == WANT_USER_ID || what == WANT_FEATURE;
    if (type == UPT_AVRO_NULL && nullable) {
        *ret = (struct upt_op){.code = UPT_OP_NONE}; /* null is what an event begins with */
        return true;
    }
    *ret = (struct upt_op){.code = what == WANT_VALUE ? UPT_OP_COPY_TEXT : UPT_OP_KEEP_TEXT};
    ret->b = what == WANT_USER_ID;
    ret->a = what == WANT_EVENT_ID     ? (uint32_t)offsetof(struct upt_event, event_id)
             : what == WANT_ACCOUNT_ID ? (uint32_t)offsetof(struct upt_event, account_id)
             : what == WANT_USER_ID    ? (uint32_t)offsetof(struct upt_event, user_id)
             : what == WANT_FEATURE    ? (uint32_t)offsetof(struct upt_event, feature)
                                       : 0;
    return type == UPT_AVRO_STRING || type == UPT_AVRO_BYTES;
}

static bool
keep_integer(upt_avro_type type, wanted what, struct upt_op *ret)
{
    if (type == UPT_AVRO_NULL && what == WANT_DURATION_MS) {
        *ret = (struct upt_op){.code = UPT_OP_NONE};
        return true;
    }
    *ret = (struct upt_op){.code = what == WANT_DURATION_MS ? UPT_OP_KEEP_DURATION : UPT_OP_KEEP_TIME,
                           .a = type == UPT_AVRO_INT};
    return type == UPT_AVRO_INT || type == UPT_AVRO_LONG;
}

static bool
keep_op(struct compiler *comp, uint32_t index, wanted what, struct upt_op *ret)
{
    const struct upt_avro_node *node = node_of(comp, index);
    bool kept = false;
    if (node->type == UPT_AVRO_UNION) {
        return keep_union(comp, index, what, ret);
    }
    switch (what) {
    case WANT_OCCURRED_AT:
    case WANT_DURATION_MS:
        kept = keep_integer(node->type, what, ret);
        break;
    case WANT_KIND:
        kept = node->type == UPT_AVRO_ENUM && keep_kind(comp, node, ret);
        break;
    case WANT_QUANTITY:
        kept = keep_number(node->type, ret);
        break;
    case WANT_PROPERTIES:
        kept = node->type == UPT_AVRO_MAP && keep_props(comp, node, ret);
        break;
    case WANT_EVENTS:
        if (node->type == UPT_AVRO_ARRAY) {
            return keep_events(comp, node, ret);
        }
        break;
    case WANT_EVENT:
        if (node->type == UPT_AVRO_RECORD && strcmp(upt_schema_name(comp->schema, node->base), "UsageEvent") == 0) {
            return keep_event(comp, index, ret);
        }
        break;
    default:
        kept = keep_text(node->type, what, ret);
    }
    return kept || unresolved(comp, index, what);
}

static bool
keep_batch(struct compiler *comp, uint32_t index, struct upt_op *ret)
{
    const struct upt_avro_node *node = node_of(comp, index);
    struct list list = {.first = add_ops(comp, node->count)};
    bool seen = false;
    for (uint32_t i = 0; i < node->count; i++) {
        const struct upt_avro_kid *field = &comp->schema->kids[node->first + i];
        struct upt_op op;
        if (strcmp(upt_schema_name(comp->schema, field->name), "events") != 0) {
            op = skip_op(comp, field->node);
        } else if (keep_op(comp, field->node, WANT_EVENTS, &op)) {
            seen = true;
        } else {
            return false;
        }
        op.name = field->name;
        append(comp, &list, op);
    }
    *ret = (struct upt_op){.code = UPT_OP_RECORD, .a = list.first, .b = list.count};
    if (!seen) {
        (void)snprintf(comp->why, sizeof(comp->why), "events is missing and has no default");
    }
    return seen;
}

/* ---- Whole plans ---- */

static upt_status
compile(struct compiler *comp, struct upt_error *reterr)
{
    uint32_t root = comp->schema->root;
    const struct upt_avro_node *node = node_of(comp, root);
    const char *name = upt_schema_name(comp->schema, node->name);
    bool event = node->type == UPT_AVRO_RECORD && strcmp(name, "uptake.v1.UsageEvent") == 0;
    comp->plan->batch = node->type == UPT_AVRO_RECORD && strcmp(name, "uptake.v1.UsageBatch") == 0;
    if (!event && !comp->plan->batch) {
        return upt_fail(reterr, UPT_EDATA,
                        "the schema is %s %.100s, neither uptake.v1.UsageEvent nor uptake.v1.UsageBatch",
                        upt_avro_type_names[node->type], name);
    }
    bool kept = event ? keep_event(comp, root, &comp->plan->root) : keep_batch(comp, root, &comp->plan->root);
    if (kept) {
        lay_out_records(comp);
    }
    if (comp->no_memory) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for a decode plan");
    }
    return kept ? UPT_OK : upt_fail(reterr, UPT_EDATA, "the schema cannot be resolved: %s", comp->why);
}

upt_status
upt_plan_compile(const struct upt_avro_schema *schema, struct upt_plan **ret, struct upt_error *reterr)
{
    struct compiler comp = {.schema = schema};
    struct upt_plan *plan = calloc(1, sizeof(*plan));
    upt_status status = UPT_ENOMEM;
    comp.plan = plan;
    comp.lists = malloc(schema->nodes_n * sizeof(*comp.lists));
    comp.queue = malloc(schema->nodes_n * sizeof(*comp.queue));
    if (plan == NULL || comp.lists == NULL || comp.queue == NULL) {
        status = upt_fail(reterr, UPT_ENOMEM, "out of memory for a decode plan");
        goto fail;
    }
    plan->names = malloc(schema->names.len);
    if (plan->names == NULL) {
        status = upt_fail(reterr, UPT_ENOMEM, "out of memory for a decode plan");
        goto fail;
    }
    memcpy(plan->names, schema->names.p, schema->names.len);
    plan->names_n = schema->names.len;
    for (uint32_t i = 0; i < schema->nodes_n; i++) {
        comp.lists[i] = (struct list){.first = NOT_YET};
    }
    status = compile(&comp, reterr);
    if (status == UPT_OK) {
        *ret = plan;
        plan = NULL;
    }
fail:
    upt_plan_destroy(&plan);
    free(comp.lists);
    free(comp.queue);
    return status;
}

void
upt_plan_destroy(struct upt_plan **plan_p)
{
    struct upt_plan *plan = *plan_p;
    if (plan == NULL) {
        return;
    }
    free(plan->ops);
    free(plan->kinds);
    free(plan->names);
    free(plan);
    *plan_p = NULL;
}
