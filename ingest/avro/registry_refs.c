/* Avro schema references: a schema may use names that are defined in other subjects of the registry.
 *
 * Why put in here and not left to whoever parses: the decoder (and everything else) wants one self-contained text, and
 * an Avro schema can always be written as one: a definition stands at the first use of its name, and only there. The
 * definitions are gathered by full name from all schemas referred to, directly or not (at most UPT_REFS_MAX, at most
 * UPT_REFS_DEPTH_MAX apart); a moved definition gets its full name, so that its namespace does not depend on where it
 * lands. One thread: the registry's. */
#include "ingest/avro/registry_refs.h"

#include <stdlib.h>
#include <string.h>

#define NESTING_MAX 512

struct wanted_ref {
    char *subject;
    json_int_t version;
    int depth;
};

struct upt_refs {
    char *text;
    json_t *main; /* NULL: no JSON */
    json_t *docs; /* array of schemas */
    struct wanted_ref refs[UPT_REFS_MAX];
    size_t refs_n, refs_done;
    bool too_many;
};

static char *
copy_of(const char *text)
{
    size_t len = strlen(text) + 1;
    char *copy = malloc(len);
    if (copy != NULL) {
        memcpy(copy, text, len);
    }
    return copy;
}

/* A name; NULL also for one that holds a NUL: it is none, and must not become one by being cut. */
static const char *
name_in(const json_t *json)
{
    const char *text = json_string_value(json);
    return text == NULL || strlen(text) != json_string_length(json) ? NULL : text;
}

/* ---- Gathering ---- */

static bool
known(const struct upt_refs *refs, const char *subject, json_int_t version)
{
    for (size_t i = 0; i < refs->refs_n; i++) {
        if (refs->refs[i].version == version && strcmp(refs->refs[i].subject, subject) == 0) {
            return true;
        }
    }
    return false;
}

static void
want(struct upt_refs *refs, const json_t *references, int depth)
{
    for (size_t i = 0; i < json_array_size(references); i++) {
        const json_t *ref = json_array_get(references, i);
        const char *subject = json_string_value(json_object_get(ref, "subject"));
        const json_t *version = json_object_get(ref, "version");
        if (subject == NULL || !json_is_integer(version) || known(refs, subject, json_integer_value(version))) {
            continue;
        }
        char *copy = refs->refs_n == UPT_REFS_MAX || depth > UPT_REFS_DEPTH_MAX ? NULL : copy_of(subject);
        if (copy == NULL) {
            refs->too_many = true;
            return;
        }
        refs->refs[refs->refs_n++] =
            (struct wanted_ref){.subject = copy, .version = json_integer_value(version), .depth = depth};
    }
}

struct upt_refs *
upt_refs_create(const char *schema, const json_t *references)
{
    struct upt_refs *refs = calloc(1, sizeof(*refs));
    if (refs == NULL) {
        return NULL;
    }
    refs->text = copy_of(schema);
    refs->docs = json_array();
    if (refs->text == NULL || refs->docs == NULL) {
        upt_refs_destroy(&refs);
        return NULL;
    }
    refs->main = json_loads(schema, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    want(refs, references, 1);
    return refs;
}

void
upt_refs_destroy(struct upt_refs **refs_p)
{
    struct upt_refs *refs = *refs_p;
    if (refs == NULL) {
        return;
    }
    for (size_t i = 0; i < refs->refs_n; i++) {
        free(refs->refs[i].subject);
    }
    json_decref(refs->main);
    json_decref(refs->docs);
    free(refs->text);
    free(refs);
    *refs_p = NULL;
}

bool
upt_refs_next(const struct upt_refs *refs, const char **ret_subject, json_int_t *ret_version)
{
    if (refs->too_many || refs->refs_done == refs->refs_n) {
        return false;
    }
    *ret_subject = refs->refs[refs->refs_done].subject;
    *ret_version = refs->refs[refs->refs_done].version;
    return true;
}

void
upt_refs_add(struct upt_refs *refs, const json_t *answer)
{
    int depth = refs->refs[refs->refs_done++].depth;
    const char *schema = json_string_value(json_object_get(answer, "schema"));
    json_t *doc = schema == NULL ? NULL : json_loads(schema, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (doc != NULL && json_array_append_new(refs->docs, doc) == 0) {
        want(refs, json_object_get(answer, "references"), depth + 1);
    }
}

/* ---- Putting in ---- */

struct weaver {
    json_t *definitions; /* full name → definition */
    json_t *done;        /* full names that the output defines */
    int nesting;
};

static json_t *weave(struct weaver *wv, json_t *json, const char *space);

/* "a.b" of "a.b.C", "" of "C". */
static void
space_of(const char *full, struct upt_buf *out)
{
    const char *dot = strrchr(full, '.');
    upt_buf_clear(out);
    upt_buf_put(out, full, dot == NULL ? 0 : (size_t)(dot - full));
    upt_buf_put(out, "", 1);
}

static void
full_name(const char *name, const char *space, struct upt_buf *out)
{
    upt_buf_clear(out);
    if (strchr(name, '.') == NULL && space[0] != '\0') {
        upt_buf_printf(out, "%s.", space);
    }
    upt_buf_put(out, name, strlen(name) + 1);
}

/* The full name of a definition; false if it is none. */
static bool
defined_name(const json_t *json, const char *space, struct upt_buf *out)
{
    static const char *const named[] = {"record", "error", "enum", "fixed"};
    const char *type = name_in(json_object_get(json, "type"));
    const char *name = name_in(json_object_get(json, "name"));
    const json_t *given = json_object_get(json, "namespace");
    const char *own = name_in(given);
    if (json_is_string(given) && own == NULL) {
        return false;
    }
    for (size_t i = 0; type != NULL && name != NULL && i < sizeof(named) / sizeof(named[0]); i++) {
        if (strcmp(type, named[i]) == 0) {
            full_name(name, own == NULL ? space : own, out);
            return true;
        }
    }
    return false;
}

/* Notes the definitions in a schema, those inside others too. */
static void
gather(struct weaver *wv, json_t *json, const char *space)
{
    struct upt_buf full = {0};
    struct upt_buf inner = {0};
    upt_buf_put(&inner, space, strlen(space) + 1);
    if (++wv->nesting <= NESTING_MAX) {
        for (size_t i = 0; json_is_array(json) && i < json_array_size(json); i++) {
            gather(wv, json_array_get(json, i), space);
        }
        if (json_is_object(json) && defined_name(json, space, &full)) {
            if (json_object_get(wv->definitions, full.p) == NULL) {
                (void)json_object_set(wv->definitions, full.p, json);
            }
            space_of(full.p, &inner);
        }
        json_t *fields = json_object_get(json, "fields");
        for (size_t i = 0; i < json_array_size(fields); i++) {
            gather(wv, json_object_get(json_array_get(fields, i), "type"), inner.p);
        }
        if (json_is_object(json)) {
            gather(wv, json_object_get(json, "items"), inner.p);
            gather(wv, json_object_get(json, "values"), inner.p);
        }
    }
    wv->nesting--;
    upt_buf_fini(&full);
    upt_buf_fini(&inner);
}

static json_t *
weave_fields(struct weaver *wv, json_t *fields, const char *space)
{
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(fields); i++) {
        json_t *field = json_copy(json_array_get(fields, i));
        json_t *type = json_object_get(field, "type");
        if (type != NULL) {
            (void)json_object_set_new(field, "type", weave(wv, type, space));
        }
        (void)json_array_append_new(out, field);
    }
    return out;
}

/* A definition under its full name, or only the name where it stands already. */
static json_t *
weave_definition(struct weaver *wv, json_t *json, const char *full)
{
    if (json_object_get(wv->done, full) != NULL) {
        return json_string(full);
    }
    (void)json_object_set_new(wv->done, full, json_true());
    json_t *out = json_copy(json);
    (void)json_object_set_new(out, "name", json_string(full));
    (void)json_object_del(out, "namespace");
    if (strchr(full, '.') == NULL) {
        (void)json_object_set_new(out, "namespace", json_string(""));
    }
    json_t *fields = json_object_get(out, "fields");
    if (json_is_array(fields)) {
        struct upt_buf space = {0};
        space_of(full, &space);
        (void)json_object_set_new(out, "fields", weave_fields(wv, fields, space.p));
        upt_buf_fini(&space);
    }
    return out;
}

static json_t *
weave_name(struct weaver *wv, const char *name, const char *space)
{
    struct upt_buf full = {0};
    full_name(name, space, &full);
    json_t *definition = json_object_get(wv->definitions, full.p);
    bool put_in = definition != NULL && json_object_get(wv->done, full.p) == NULL;
    json_t *out = put_in ? weave_definition(wv, definition, full.p) : json_string(name);
    upt_buf_fini(&full);
    return out;
}

static json_t *
weave_object(struct weaver *wv, json_t *json, const char *space)
{
    static const char *const inner[] = {"items", "values"};
    struct upt_buf full = {0};
    json_t *out = NULL;
    if (defined_name(json, space, &full)) {
        out = weave_definition(wv, json, full.p);
    } else {
        const char *type = name_in(json_object_get(json, "type"));
        json_t *named = type == NULL ? NULL : weave_name(wv, type, space);
        if (json_is_object(named)) {
            out = named; /* {"type": "Name"} */
        } else {
            json_decref(named);
            out = json_copy(json);
        }
        for (size_t i = 0; named != out && i < 2; i++) {
            json_t *item = json_object_get(out, inner[i]);
            if (item != NULL) {
                (void)json_object_set_new(out, inner[i], weave(wv, item, space));
            }
        }
    }
    upt_buf_fini(&full);
    return out;
}

static json_t *
weave(struct weaver *wv, json_t *json, const char *space)
{
    json_t *out = NULL;
    if (wv->nesting == NESTING_MAX) {
        return json_null(); /* no type: cannot be parsed */
    }
    wv->nesting++;
    if (name_in(json) != NULL) {
        out = weave_name(wv, name_in(json), space);
    } else if (json_is_array(json)) {
        out = json_array();
        for (size_t i = 0; i < json_array_size(json); i++) {
            (void)json_array_append_new(out, weave(wv, json_array_get(json, i), space));
        }
    } else if (json_is_object(json)) {
        out = weave_object(wv, json, space);
    } else {
        out = json_incref(json);
    }
    wv->nesting--;
    return out;
}

void
upt_refs_finish(const struct upt_refs *refs, struct upt_buf *out)
{
    struct weaver wv = {.definitions = json_object(), .done = json_object()};
    for (size_t i = 0; i < json_array_size(refs->docs); i++) {
        gather(&wv, json_array_get(refs->docs, i), "");
    }
    json_t *whole = refs->main == NULL ? NULL : weave(&wv, refs->main, "");
    char *text = whole == NULL ? NULL : json_dumps(whole, JSON_COMPACT | JSON_ENCODE_ANY);
    upt_buf_puts(out, text == NULL ? refs->text : text);
    free(text);
    json_decref(whole);
    json_decref(wv.definitions);
    json_decref(wv.done);
}
