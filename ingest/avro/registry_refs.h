/* Avro references: the schemas that a schema names, gathered and put into it. Private to the registry client. */
#ifndef UPT_AVRO_REGISTRY_REFS_H
#define UPT_AVRO_REGISTRY_REFS_H

#include <jansson.h>

#include "uptake/status.h"
#include "uptake/str.h"

#define UPT_REFS_DEPTH_MAX 8
#define UPT_REFS_MAX 64

struct upt_refs;

/* The schema and the list of what it refers to, both as the registry gave them. NULL: out of memory. */
struct upt_refs *upt_refs_create(const char *schema, const json_t *references);
void upt_refs_destroy(struct upt_refs **refs_p);

/* The next one to fetch. False: all are there, or they are more or deeper than the bounds. */
bool upt_refs_next(const struct upt_refs *refs, const char **ret_subject, json_int_t *ret_version);
/* The registry's answer to it; NULL: there is none. */
void upt_refs_add(struct upt_refs *refs, const json_t *answer);

/* The schema with every name that it does not define replaced, at its first use, by the definition found. What could
 * not be found stays a name, so that the schema is one that cannot be parsed. */
void upt_refs_finish(const struct upt_refs *refs, struct upt_buf *out);

#endif
