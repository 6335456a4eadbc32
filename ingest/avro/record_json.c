/* Any Avro record as one JSON object, for people: show.
 *
 * The schema's fields in their order, values as they are: a union's value without its branch's name, an enum's symbol,
 * bytes as hexadecimal digits; a number that JSON does not have (NaN, infinity) is null. Reads with the bounds of
 * struct upt_cur and gives up on depth, on more output than OUT_MAX and on what the decoder would refuse too.
 * Speed does not matter here, so it walks the schema's graph instead of compiling a plan. Any thread. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ingest/avro/encoder.h"
#include "ingest/avro/schema.h"

#define DEPTH_MAX 64
#define OUT_MAX ((size_t)1024 * 1024)

struct shower {
    const struct upt_avro_schema *schema;
    struct upt_cur cur;
    struct upt_buf *out;
    size_t out_max; /* of out->len */
    int depth;
};

static bool show(struct shower *sh, uint32_t node);

static bool
show_double(struct shower *sh, double v)
{
    char text[40];
    if (!isfinite(v)) {
        upt_buf_puts(sh->out, "null");
        return sh->cur.ok;
    }
    /* The shortest that reads back as the same. */
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, v);
        double back = strtod(text, NULL);
        if (back <= v && back >= v) {
            break;
        }
    }
    upt_buf_puts(sh->out, text);
    if (strpbrk(text, ".e") == NULL) {
        upt_buf_puts(sh->out, ".0"); /* a double stays one for whoever reads the JSON */
    }
    return sh->cur.ok;
}

static bool
show_real(struct shower *sh, upt_avro_type type)
{
    if (type == UPT_AVRO_FLOAT) {
        uint32_t bits = upt_cur_le32(&sh->cur);
        float v;
        memcpy(&v, &bits, sizeof(v));
        return show_double(sh, (double)v);
    }
    uint64_t bits = upt_cur_le64(&sh->cur);
    double v;
    memcpy(&v, &bits, sizeof(v));
    return show_double(sh, v);
}

static struct upt_str
read_bytes(struct shower *sh)
{
    int64_t len = upt_cur_zigzag(&sh->cur);
    return upt_cur_bytes(&sh->cur, len < 0 ? UINT64_MAX : (uint64_t)len);
}

static bool
show_text(struct shower *sh)
{
    struct upt_str text = read_bytes(sh);
    upt_buf_put_json(sh->out, text.p == NULL ? "" : text.p, text.len);
    return sh->cur.ok && upt_utf8_valid(text.p, text.len);
}

static bool
show_hex(struct shower *sh, struct upt_str bytes)
{
    upt_buf_puts(sh->out, "\"");
    for (uint32_t i = 0; i < bytes.len; i++) {
        upt_buf_printf(sh->out, "%02x", (unsigned)(unsigned char)bytes.p[i]);
    }
    upt_buf_puts(sh->out, "\"");
    return sh->cur.ok;
}

/* An index below count; false if it is not. */
static bool
read_index(struct shower *sh, uint32_t count, uint32_t *ret)
{
    int64_t index = upt_cur_zigzag(&sh->cur);
    *ret = (uint32_t)index;
    return sh->cur.ok && index >= 0 && (uint64_t)index < count;
}

static bool
show_primitive(struct shower *sh, upt_avro_type type)
{
    uint8_t byte = 0;
    int64_t number = 0;
    switch (type) {
    case UPT_AVRO_NULL:
        upt_buf_puts(sh->out, "null");
        return true;
    case UPT_AVRO_BOOLEAN:
        byte = upt_cur_u8(&sh->cur);
        upt_buf_puts(sh->out, byte == 0 ? "false" : "true");
        return sh->cur.ok && byte <= 1;
    case UPT_AVRO_INT:
    case UPT_AVRO_LONG:
        number = upt_cur_zigzag(&sh->cur);
        upt_buf_put_i64(sh->out, number);
        return sh->cur.ok && (type == UPT_AVRO_LONG || number == (int32_t)number);
    case UPT_AVRO_BYTES:
        return show_hex(sh, read_bytes(sh));
    case UPT_AVRO_STRING:
        return show_text(sh);
    default:
        return show_real(sh, type);
    }
}

static bool
show_record(struct shower *sh, const struct upt_avro_node *node)
{
    upt_buf_puts(sh->out, "{");
    for (uint32_t i = 0; i < node->count; i++) {
        const struct upt_avro_kid *field = &sh->schema->kids[node->first + i];
        upt_buf_printf(sh->out, "%s\"%s\":", i == 0 ? "" : ",", upt_schema_name(sh->schema, field->name));
        if (!show(sh, field->node)) {
            return false;
        }
    }
    upt_buf_puts(sh->out, "}");
    return true;
}

static bool
show_item(struct shower *sh, const struct upt_avro_node *node, bool first)
{
    if (!first) {
        upt_buf_puts(sh->out, ",");
    }
    if (node->type == UPT_AVRO_MAP) {
        if (!show_text(sh)) {
            return false;
        }
        upt_buf_puts(sh->out, ":");
    }
    return show(sh, node->item);
}

static bool
show_items(struct shower *sh, const struct upt_avro_node *node)
{
    bool first = true;
    upt_buf_puts(sh->out, node->type == UPT_AVRO_ARRAY ? "[" : "{");
    for (;;) {
        int64_t count = upt_cur_zigzag(&sh->cur);
        if (count < 0) {
            (void)upt_cur_zigzag(&sh->cur); /* the block's size; the items tell it too */
        }
        if (!sh->cur.ok || count == INT64_MIN) {
            return false;
        }
        if (count == 0) {
            break;
        }
        for (int64_t i = count < 0 ? count : -count; i < 0; i++) {
            if (!show_item(sh, node, first)) {
                return false;
            }
            first = false;
        }
    }
    upt_buf_puts(sh->out, node->type == UPT_AVRO_ARRAY ? "]" : "}");
    return true;
}

static bool
show_nested(struct shower *sh, const struct upt_avro_node *node)
{
    if (sh->depth == DEPTH_MAX) {
        return false;
    }
    sh->depth++;
    bool shown = node->type == UPT_AVRO_RECORD ? show_record(sh, node) : show_items(sh, node);
    sh->depth--;
    return shown;
}

static bool
show(struct shower *sh, uint32_t index)
{
    const struct upt_avro_node *node = &sh->schema->nodes[index];
    uint32_t i = 0;
    /* Values without a byte, such as records of records without fields, take output but no input. */
    if (sh->out->len > sh->out_max) {
        return false;
    }
    switch (node->type) {
    case UPT_AVRO_FIXED:
        return show_hex(sh, upt_cur_bytes(&sh->cur, node->size));
    case UPT_AVRO_ENUM:
        if (!read_index(sh, node->count, &i)) {
            return false;
        }
        upt_buf_printf(sh->out, "\"%s\"", upt_schema_name(sh->schema, sh->schema->kids[node->first + i].name));
        return true;
    case UPT_AVRO_UNION:
        return read_index(sh, node->count, &i) && show(sh, sh->schema->kids[node->first + i].node);
    case UPT_AVRO_ARRAY:
    case UPT_AVRO_MAP:
    case UPT_AVRO_RECORD:
        return show_nested(sh, node);
    default:
        return show_primitive(sh, node->type);
    }
}

upt_status
upt_record_json(struct upt_str schema_json, struct upt_str body, struct upt_buf *out, struct upt_error *reterr)
{
    struct upt_avro_schema *schema = NULL;
    upt_status status = upt_schema_parse(schema_json, &schema, reterr);
    if (status != UPT_OK) {
        return status;
    }
    size_t mark = out->len;
    struct upt_str bytes = body.p == NULL ? (struct upt_str){"", 0} : body;
    struct shower sh = {.schema = schema, .cur = upt_cur_of(bytes), .out = out, .out_max = mark + OUT_MAX};
    bool record = schema->nodes[schema->root].type == UPT_AVRO_RECORD;
    if (!record || !show(&sh, schema->root) || sh.cur.p != sh.cur.end) {
        out->len = mark;
        status = record ? upt_fail(reterr, UPT_EDATA, "the bytes are no record of the schema")
                        : upt_fail(reterr, UPT_EDATA, "the schema is not that of a record");
    }
    upt_schema_destroy(&schema);
    return status;
}
