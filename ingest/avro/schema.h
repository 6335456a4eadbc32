/* An Avro schema as a flat graph of nodes: what the decode plan is compiled from and what records are shown with. */
#ifndef UPT_AVRO_SCHEMA_H
#define UPT_AVRO_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "uptake/status.h"
#include "uptake/str.h"

#define UPT_SCHEMA_BYTES_MAX (1024 * 1024) /* of JSON */
#define UPT_SCHEMA_NESTING_MAX 256         /* types inside types as written */
#define UPT_SCHEMA_NODES_MAX 65536         /* type expressions */
#define UPT_SCHEMA_KIDS_MAX 65536          /* fields, branches and symbols together */

/* The first eight are also the indexes of the primitives' nodes. */
typedef enum upt_avro_type {
    UPT_AVRO_NULL,
    UPT_AVRO_BOOLEAN,
    UPT_AVRO_INT,
    UPT_AVRO_LONG,
    UPT_AVRO_FLOAT,
    UPT_AVRO_DOUBLE,
    UPT_AVRO_BYTES,
    UPT_AVRO_STRING,
    UPT_AVRO_PRIMITIVES,
    UPT_AVRO_FIXED = UPT_AVRO_PRIMITIVES,
    UPT_AVRO_ENUM,
    UPT_AVRO_ARRAY,
    UPT_AVRO_MAP,
    UPT_AVRO_UNION,
    UPT_AVRO_RECORD
} upt_avro_type;

struct upt_avro_node {
    upt_avro_type type;
    bool empty;      /* no value of it takes a byte */
    uint32_t nested; /* if empty: the records inside one another that a value has, itself included */
    uint32_t name;   /* named types: offset of the full name in `names` */
    uint32_t base;   /* … and of its last part */
    uint32_t first;  /* record, union, enum: its kids */
    uint32_t count;
    uint32_t item; /* array, map: node of the items or values */
    uint64_t size; /* fixed */
};

/* A field (name and node), a branch (node) or a symbol (name). */
struct upt_avro_kid {
    uint32_t name;
    uint32_t node;
};

struct upt_avro_schema {
    struct upt_avro_node *nodes;
    struct upt_avro_kid *kids;
    struct upt_buf names; /* NUL-terminated */
    uint32_t nodes_n, nodes_cap, kids_n, kids_cap;
    uint32_t root;
};

/* UPT_EDATA: it is no Avro schema, or larger than the bounds above; reterr says what in printable ASCII. */
UPT_NODISCARD upt_status upt_schema_parse(struct upt_str json, struct upt_avro_schema **ret, struct upt_error *reterr);
void upt_schema_destroy(struct upt_avro_schema **schema_p);

static inline const char *
upt_schema_name(const struct upt_avro_schema *schema, uint32_t offset)
{
    return schema->names.p + offset;
}

/* The type's name as schemas write it, such as "long". */
extern const char *const upt_avro_type_names[];

/* Text from outside for a message: cut to cap − 1 bytes, what is not printable ASCII as '?'. Returns buf. */
const char *upt_schema_printable(const char *text, char *buf, uint32_t cap);

#endif
