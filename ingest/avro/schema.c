/* Reads Avro schemas (JSON) strictly into a flat graph of nodes.
 *
 * Why not libavro's own parser: its verdicts are not the specification's, and a verdict here decides between counting
 * an event and dead-lettering it. Version 1.11.1 takes fields and symbols that occur twice, a fixed of size −1, a union
 * in a union and ["int","int"], refuses enums without symbols, "error" records and documentation that holds \u0000,
 * and keeps its error text in one unsynchronised global. The unit tests hold its verdicts beside these. The rules are
 * those of Avro 1.11; defaults of fields and logical types are not looked at, since nothing here reads them.
 *
 * A named type is one node however often it is used, so the graph is no larger than the JSON and a recursive type is a
 * cycle in it. Kids (fields, branches, symbols) of a node lie side by side. Recursion follows types written inside
 * types and is bounded by UPT_SCHEMA_NESTING_MAX; references by name do not recurse. One thread for each call. */
#include "ingest/avro/schema.h"

#include <inttypes.h>
#include <stdlib.h>

#include <jansson.h>

const char *const upt_avro_type_names[] = {"null",   "boolean", "int",  "long",  "float", "double", "bytes",
                                           "string", "fixed",   "enum", "array", "map",   "union",  "record"};

struct reader {
    struct upt_avro_schema *schema;
    json_t *known; /* full name → node */
    struct upt_error *reterr;
    uint32_t nesting;
};

/* A namespace: bytes in the schema's pool, which may move. */
struct space {
    uint32_t offset;
    uint32_t len;
};

/* A string's text; NULL if it is none or holds a NUL, which no name does. */
static const char *
text_of(const json_t *json)
{
    const char *text = json_string_value(json);
    return text == NULL || strlen(text) != json_string_length(json) ? NULL : text;
}

static upt_status read_type(struct reader *rd, const json_t *json, struct space space, uint32_t *ret);

const char *
upt_schema_printable(const char *text, char *buf, uint32_t cap)
{
    uint32_t n = 0;
    for (; text[n] != '\0' && n + 1 < cap; n++) {
        buf[n] = text[n] >= 0x20 && text[n] < 0x7F ? text[n] : '?';
    }
    buf[n] = '\0';
    return buf;
}

static upt_status
refuse(struct reader *rd, const char *what, const char *name)
{
    char shown[80];
    return upt_fail(rd->reterr, UPT_EDATA, "%s \"%s\"", what, upt_schema_printable(name, shown, sizeof(shown)));
}

/* ---- Growing the graph ---- */

static upt_status
add_node(struct reader *rd, struct upt_avro_node node, uint32_t *ret)
{
    struct upt_avro_schema *schema = rd->schema;
    if (schema->nodes_n == UPT_SCHEMA_NODES_MAX) {
        return upt_fail(rd->reterr, UPT_EDATA, "more than %d types", UPT_SCHEMA_NODES_MAX);
    }
    if (schema->nodes_n == schema->nodes_cap) {
        uint32_t cap = schema->nodes_cap == 0 ? 64 : schema->nodes_cap * 2;
        struct upt_avro_node *nodes = realloc(schema->nodes, cap * sizeof(*nodes));
        if (nodes == NULL) {
            return upt_fail(rd->reterr, UPT_ENOMEM, "out of memory for a schema");
        }
        schema->nodes = nodes;
        schema->nodes_cap = cap;
    }
    *ret = schema->nodes_n;
    schema->nodes[schema->nodes_n++] = node;
    return UPT_OK;
}

/* Room for n kids side by side, zeroed. */
static upt_status
add_kids(struct reader *rd, size_t n, uint32_t *ret)
{
    struct upt_avro_schema *schema = rd->schema;
    if (n > UPT_SCHEMA_KIDS_MAX - schema->kids_n) {
        return upt_fail(rd->reterr, UPT_EDATA, "more than %d fields, branches and symbols", UPT_SCHEMA_KIDS_MAX);
    }
    uint32_t need = schema->kids_n + (uint32_t)n;
    if (need > schema->kids_cap) {
        uint32_t cap = schema->kids_cap == 0 ? 64 : schema->kids_cap;
        while (cap < need) {
            cap *= 2;
        }
        struct upt_avro_kid *kids = realloc(schema->kids, cap * sizeof(*kids));
        if (kids == NULL) {
            return upt_fail(rd->reterr, UPT_ENOMEM, "out of memory for a schema");
        }
        schema->kids = kids;
        schema->kids_cap = cap;
    }
    *ret = schema->kids_n;
    for (uint32_t i = schema->kids_n; i < need; i++) {
        schema->kids[i] = (struct upt_avro_kid){0};
    }
    schema->kids_n = need;
    return UPT_OK;
}

static uint32_t
add_name(struct upt_avro_schema *schema, const char *p, size_t len)
{
    uint32_t offset = (uint32_t)schema->names.len;
    upt_buf_put(&schema->names, p, len);
    upt_buf_put(&schema->names, "", 1);
    return offset;
}

/* ---- Names ---- */

/* [A-Za-z_][A-Za-z0-9_]*, and with dots: several of them. */
static bool
name_valid(const char *name, bool dots)
{
    bool start = true;
    for (; *name != '\0'; name++) {
        bool letter = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || *name == '_';
        bool digit = *name >= '0' && *name <= '9';
        if (*name == '.' && dots && !start) {
            start = true;
        } else if (letter || (digit && !start)) {
            start = false;
        } else {
            return false;
        }
    }
    return !start;
}

/* Appends the full name of `name` within the namespace to the pool. */
static uint32_t
add_full_name(struct upt_avro_schema *schema, const char *name, struct space space)
{
    uint32_t offset = (uint32_t)schema->names.len;
    if (strchr(name, '.') == NULL && space.len > 0) {
        (void)upt_buf_reserve(&schema->names, space.len + 1U); /* before the pointer into it is taken */
        upt_buf_put(&schema->names, schema->names.p + space.offset, space.len);
        upt_buf_put(&schema->names, ".", 1);
    }
    upt_buf_put(&schema->names, name, strlen(name) + 1);
    return offset;
}

static upt_status
read_reference(struct reader *rd, const char *name, struct space space, uint32_t *ret)
{
    for (uint32_t i = 0; i < UPT_AVRO_PRIMITIVES; i++) {
        if (strcmp(name, upt_avro_type_names[i]) == 0) {
            *ret = i;
            return UPT_OK;
        }
    }
    size_t mark = rd->schema->names.len;
    uint32_t full = add_full_name(rd->schema, name, space);
    const json_t *found = json_object_get(rd->known, upt_schema_name(rd->schema, full));
    if (found == NULL) {
        return refuse(rd, "unknown type", upt_schema_name(rd->schema, full));
    }
    rd->schema->names.len = mark;
    *ret = (uint32_t)json_integer_value(found);
    return UPT_OK;
}

/* A new node under the object's full name, known from here on; *ret_space is the namespace inside it. */
static upt_status
define(struct reader *rd, const json_t *json, upt_avro_type type, struct space *space, uint32_t *ret)
{
    const char *name = text_of(json_object_get(json, "name"));
    const json_t *outer = json_object_get(json, "namespace");
    if (name == NULL) {
        return refuse(rd, "a type without a name:", upt_avro_type_names[type]);
    }
    if (strchr(name, '.') == NULL && outer != NULL) {
        const char *given = text_of(outer);
        if (given == NULL) {
            return refuse(rd, "the namespace is no string in type", name);
        }
        *space = (struct space){.offset = add_name(rd->schema, given, strlen(given)), .len = (uint32_t)strlen(given)};
    }
    uint32_t full = add_full_name(rd->schema, name, *space);
    const char *text = upt_schema_name(rd->schema, full);
    if (!name_valid(text, true)) {
        return refuse(rd, "not a name:", text);
    }
    if (json_object_get(rd->known, text) != NULL) {
        return refuse(rd, "defined twice: type", text);
    }
    const char *dot = strrchr(text, '.');
    *space = (struct space){.offset = full, .len = dot == NULL ? 0 : (uint32_t)(dot - text)};
    uint32_t base = dot == NULL ? full : full + space->len + 1;
    upt_status status = add_node(rd, (struct upt_avro_node){.type = type, .name = full, .base = base}, ret);
    if (status != UPT_OK) {
        return status;
    }
    if (json_object_set_new(rd->known, text, json_integer((json_int_t)*ret)) != 0) {
        return upt_fail(rd->reterr, UPT_ENOMEM, "out of memory for a schema");
    }
    return UPT_OK;
}

/* Notes a name in a set. UPT_EDATA, without a message: it is there already. */
static upt_status
note(struct reader *rd, json_t *set, const char *name)
{
    if (json_object_get(set, name) != NULL) {
        return UPT_EDATA;
    }
    if (json_object_set_new(set, name, json_true()) != 0) {
        return upt_fail(rd->reterr, UPT_ENOMEM, "out of memory for a schema");
    }
    return UPT_OK;
}

/* ---- Types ---- */

static upt_status
read_field(struct reader *rd, const json_t *json, struct space space, json_t *seen, struct upt_avro_kid *ret)
{
    const char *name = text_of(json_object_get(json, "name"));
    if (name == NULL || !name_valid(name, false)) {
        return refuse(rd, "not a field's name:", name == NULL ? "" : name);
    }
    upt_status status = note(rd, seen, name);
    if (status != UPT_OK) {
        return status == UPT_EDATA ? refuse(rd, "twice in one record: field", name) : status;
    }
    const json_t *type = json_object_get(json, "type");
    if (type == NULL) {
        return refuse(rd, "no type: field", name);
    }
    ret->name = add_name(rd->schema, name, strlen(name));
    return read_type(rd, type, space, &ret->node);
}

static upt_status
read_record(struct reader *rd, const json_t *json, struct space space, uint32_t *ret)
{
    const json_t *fields = json_object_get(json, "fields");
    json_t *seen = json_object();
    uint32_t first = 0;
    bool empty = true;
    uint32_t nested = 1;
    upt_status status = seen == NULL ? upt_fail(rd->reterr, UPT_ENOMEM, "out of memory for a schema") : UPT_OK;
    if (status == UPT_OK) {
        status = define(rd, json, UPT_AVRO_RECORD, &space, ret);
    }
    if (status == UPT_OK && !json_is_array(fields)) {
        status = refuse(rd, "no list of fields: record", upt_schema_name(rd->schema, rd->schema->nodes[*ret].name));
    }
    if (status == UPT_OK) {
        status = add_kids(rd, json_array_size(fields), &first);
    }
    for (size_t i = 0; status == UPT_OK && i < json_array_size(fields); i++) {
        struct upt_avro_kid kid = {0};
        status = read_field(rd, json_array_get(fields, i), space, seen, &kid);
        if (status == UPT_OK) {
            const struct upt_avro_node *node = &rd->schema->nodes[kid.node];
            rd->schema->kids[first + i] = kid;
            empty = empty && node->empty;
            nested = node->empty && node->nested + 1 > nested ? node->nested + 1 : nested;
        }
    }
    if (status == UPT_OK) {
        struct upt_avro_node *node = &rd->schema->nodes[*ret];
        node->first = first;
        node->count = (uint32_t)json_array_size(fields);
        /* A record that is being defined is not empty yet: one that holds itself has no value at all, and reading it
         * ends at the limit of depth. */
        node->empty = empty;
        node->nested = empty ? nested : 0;
    }
    json_decref(seen);
    return status;
}

static upt_status
read_symbols(struct reader *rd, const json_t *symbols, json_t *seen, uint32_t first)
{
    for (size_t i = 0; i < json_array_size(symbols); i++) {
        const char *symbol = text_of(json_array_get(symbols, i));
        if (symbol == NULL || !name_valid(symbol, false)) {
            return refuse(rd, "not a symbol:", symbol == NULL ? "" : symbol);
        }
        upt_status status = note(rd, seen, symbol);
        if (status != UPT_OK) {
            return status == UPT_EDATA ? refuse(rd, "twice in one enum: symbol", symbol) : status;
        }
        rd->schema->kids[first + i].name = add_name(rd->schema, symbol, strlen(symbol));
    }
    return UPT_OK;
}

static upt_status
read_enum(struct reader *rd, const json_t *json, struct space space, uint32_t *ret)
{
    const json_t *symbols = json_object_get(json, "symbols");
    const json_t *fallback = json_object_get(json, "default");
    uint32_t first = 0;
    json_t *seen = json_object();
    upt_status status = seen == NULL ? upt_fail(rd->reterr, UPT_ENOMEM, "out of memory for a schema") : UPT_OK;
    if (status == UPT_OK) {
        status = define(rd, json, UPT_AVRO_ENUM, &space, ret);
    }
    if (status == UPT_OK && !json_is_array(symbols)) {
        status = refuse(rd, "no list of symbols: enum", upt_schema_name(rd->schema, rd->schema->nodes[*ret].name));
    }
    if (status == UPT_OK) {
        status = add_kids(rd, json_array_size(symbols), &first);
    }
    if (status == UPT_OK) {
        rd->schema->nodes[*ret].first = first;
        rd->schema->nodes[*ret].count = (uint32_t)json_array_size(symbols);
        status = read_symbols(rd, symbols, seen, first);
    }
    if (status == UPT_OK && fallback != NULL &&
        (text_of(fallback) == NULL || json_object_get(seen, text_of(fallback)) == NULL)) {
        status =
            refuse(rd, "the default is no symbol of enum", upt_schema_name(rd->schema, rd->schema->nodes[*ret].name));
    }
    json_decref(seen);
    return status;
}

static upt_status
read_fixed(struct reader *rd, const json_t *json, struct space space, uint32_t *ret)
{
    const json_t *size = json_object_get(json, "size");
    upt_status status = define(rd, json, UPT_AVRO_FIXED, &space, ret);
    if (status != UPT_OK) {
        return status;
    }
    struct upt_avro_node *node = &rd->schema->nodes[*ret];
    if (!json_is_integer(size) || json_integer_value(size) < 0) {
        return refuse(rd, "no size: fixed", upt_schema_name(rd->schema, node->name));
    }
    node->size = (uint64_t)json_integer_value(size);
    node->empty = node->size == 0;
    return UPT_OK;
}

static upt_status
read_items(struct reader *rd, const json_t *json, struct space space, upt_avro_type type, uint32_t *ret)
{
    const char *key = type == UPT_AVRO_ARRAY ? "items" : "values";
    const json_t *items = json_object_get(json, key);
    if (items == NULL) {
        return refuse(rd, "an array or map without", key);
    }
    upt_status status = add_node(rd, (struct upt_avro_node){.type = type}, ret);
    uint32_t item = 0;
    if (status == UPT_OK) {
        status = read_type(rd, items, space, &item);
    }
    if (status == UPT_OK) {
        rd->schema->nodes[*ret].item = item;
    }
    return status;
}

/* A union holds no union, and of the types without a name each once, of those with one each name once. */
static upt_status
check_branch(struct reader *rd, uint32_t branch, json_t *seen)
{
    const struct upt_avro_node *node = &rd->schema->nodes[branch];
    if (node->type == UPT_AVRO_UNION) {
        return upt_fail(rd->reterr, UPT_EDATA, "a union directly inside a union");
    }
    bool named = node->type == UPT_AVRO_RECORD || node->type == UPT_AVRO_ENUM || node->type == UPT_AVRO_FIXED;
    char key[32];
    (void)snprintf(key, sizeof(key), "%s%" PRIu32, named ? "#" : "", named ? branch : (uint32_t)node->type);
    upt_status status = note(rd, seen, key);
    return status == UPT_EDATA ? refuse(rd, "twice in one union: type", upt_avro_type_names[node->type]) : status;
}

static upt_status
read_union(struct reader *rd, const json_t *json, struct space space, uint32_t *ret)
{
    uint32_t first = 0;
    json_t *seen = json_object();
    upt_status status = seen == NULL ? upt_fail(rd->reterr, UPT_ENOMEM, "out of memory for a schema") : UPT_OK;
    if (status == UPT_OK) {
        status = add_node(rd, (struct upt_avro_node){.type = UPT_AVRO_UNION}, ret);
    }
    if (status == UPT_OK) {
        status = add_kids(rd, json_array_size(json), &first);
    }
    for (size_t i = 0; status == UPT_OK && i < json_array_size(json); i++) {
        uint32_t branch = 0;
        status = read_type(rd, json_array_get(json, i), space, &branch);
        if (status == UPT_OK) {
            status = check_branch(rd, branch, seen);
        }
        if (status == UPT_OK) {
            rd->schema->kids[first + i].node = branch;
        }
    }
    if (status == UPT_OK) {
        rd->schema->nodes[*ret].first = first;
        rd->schema->nodes[*ret].count = (uint32_t)json_array_size(json);
    }
    json_decref(seen);
    return status;
}

static upt_status
read_object(struct reader *rd, const json_t *json, struct space space, uint32_t *ret)
{
    const char *type = text_of(json_object_get(json, "type"));
    if (type == NULL) {
        return upt_fail(rd->reterr, UPT_EDATA, "an object without a type");
    }
    if (strcmp(type, "record") == 0 || strcmp(type, "error") == 0) {
        return read_record(rd, json, space, ret);
    }
    if (strcmp(type, "enum") == 0) {
        return read_enum(rd, json, space, ret);
    }
    if (strcmp(type, "fixed") == 0) {
        return read_fixed(rd, json, space, ret);
    }
    if (strcmp(type, "array") == 0 || strcmp(type, "map") == 0) {
        return read_items(rd, json, space, type[0] == 'a' ? UPT_AVRO_ARRAY : UPT_AVRO_MAP, ret);
    }
    return read_reference(rd, type, space, ret);
}

static upt_status
read_type(struct reader *rd, const json_t *json, struct space space, uint32_t *ret)
{
    if (rd->nesting == UPT_SCHEMA_NESTING_MAX) {
        return upt_fail(rd->reterr, UPT_EDATA, "types nested deeper than %d", UPT_SCHEMA_NESTING_MAX);
    }
    rd->nesting++;
    upt_status status = UPT_OK;
    if (text_of(json) != NULL) {
        status = read_reference(rd, text_of(json), space, ret);
    } else if (json_is_array(json)) {
        status = read_union(rd, json, space, ret);
    } else if (json_is_object(json)) {
        status = read_object(rd, json, space, ret);
    } else {
        status = upt_fail(rd->reterr, UPT_EDATA, "a type is neither a name, a list nor an object");
    }
    rd->nesting--;
    return status;
}

/* ---- Whole schemas ---- */

static upt_status
build(struct reader *rd, const json_t *json)
{
    for (uint32_t i = 0; i < UPT_AVRO_PRIMITIVES; i++) {
        uint32_t node = 0;
        upt_status status =
            add_node(rd, (struct upt_avro_node){.type = (upt_avro_type)i, .empty = i == UPT_AVRO_NULL}, &node);
        if (status != UPT_OK) {
            return status;
        }
    }
    struct space none = {.offset = 0, .len = 0};
    (void)add_name(rd->schema, "", 0); /* offset 0: no name */
    return read_type(rd, json, none, &rd->schema->root);
}

upt_status
upt_schema_parse(struct upt_str json, struct upt_avro_schema **ret, struct upt_error *reterr)
{
    if (json.len > UPT_SCHEMA_BYTES_MAX) {
        return upt_fail(reterr, UPT_EDATA, "longer than %d bytes", UPT_SCHEMA_BYTES_MAX);
    }
    json_error_t where;
    json_t *root = json_loadb(json.p == NULL ? "" : json.p, json.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &where);
    if (root == NULL) {
        return upt_fail(reterr, UPT_EDATA, "not JSON, line %d column %d", where.line, where.column);
    }
    struct upt_avro_schema *schema = calloc(1, sizeof(*schema));
    struct reader rd = {.schema = schema, .known = json_object(), .reterr = reterr};
    upt_status status = schema == NULL || rd.known == NULL ? upt_fail(reterr, UPT_ENOMEM, "out of memory for a schema")
                                                           : build(&rd, root);
    json_decref(rd.known);
    json_decref(root);
    if (status != UPT_OK) {
        upt_schema_destroy(&schema);
        return status;
    }
    *ret = schema;
    return UPT_OK;
}

void
upt_schema_destroy(struct upt_avro_schema **schema_p)
{
    struct upt_avro_schema *schema = *schema_p;
    if (schema == NULL) {
        return;
    }
    free(schema->nodes);
    free(schema->kids);
    upt_buf_fini(&schema->names);
    free(schema);
    *schema_p = NULL;
}
