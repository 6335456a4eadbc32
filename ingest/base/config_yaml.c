/* The configuration file's syntax: a strict subset of YAML over libyaml's events.
 *
 * Events rather than libyaml's document tree: nothing is built, so there is nothing to bound but depth and number, and
 * every key still knows its line. Anchors, aliases, tags, lists, several documents and repeated keys are refused: in a
 * configuration each of them is a mistake more often than a wish, and a repeated key that wins in silence is the worst.
 * Nested and dotted keys are the same: the walk joins what it passes with dots. One thread. */
#include <stdlib.h>
#include <yaml.h>

#include "config_table.h"

#define DEPTH_MAX 8
#define PATH_MAX_BYTES 160
#define KEYS_MAX 2048

struct seen {
    char *path;
    int line;
};

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    struct upt_config *config;
    const char *text;
    size_t len;
    char path[PATH_MAX_BYTES + 1]; /* dotted, of the current key */
    size_t path_len;
    struct seen seen[KEYS_MAX];
    size_t seen_n;
};

static int
line_of(const struct reader *reader)
{
    return (int)reader->event.start_mark.line + 1;
}

static upt_status
syntax_error(const struct reader *reader, struct upt_error *reterr)
{
    const yaml_parser_t *parser = &reader->parser;
    if (parser->error == YAML_MEMORY_ERROR) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for the configuration");
    }
    /* An unfinished quote is found at the end of the file; where it began is what helps. */
    bool in_quotes = parser->context != NULL && strstr(parser->context, "quoted scalar") != NULL;
    int line = (int)(in_quotes ? parser->context_mark.line : parser->problem_mark.line) + 1;
    if (parser->error == YAML_READER_ERROR) {
        line = 1;
        for (size_t i = 0; i < parser->problem_offset && i < reader->len; i++) {
            line += reader->text[i] == '\n' ? 1 : 0;
        }
    }
    return upt_config_fail(reader->config, line, "", reterr, "not valid YAML: %s%s%s",
                           parser->problem == NULL ? "?" : parser->problem, parser->context == NULL ? "" : " ",
                           parser->context == NULL ? "" : parser->context);
}

/* Moves to the next event; refuses what no key or value may carry. */
static upt_status
next_event(struct reader *reader, struct upt_error *reterr)
{
    yaml_event_delete(&reader->event);
    if (yaml_parser_parse(&reader->parser, &reader->event) == 0) {
        return syntax_error(reader, reterr);
    }
    const yaml_event_t *event = &reader->event;
    const char *found = NULL;
    if (event->type == YAML_ALIAS_EVENT) {
        found = "an alias (*name)";
    } else if (event->type == YAML_SCALAR_EVENT) {
        found = event->data.scalar.anchor != NULL ? "an anchor (&name)"
                : event->data.scalar.tag != NULL  ? "a tag (!name)"
                                                  : NULL;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        found = event->data.mapping_start.anchor != NULL ? "an anchor (&name)"
                : event->data.mapping_start.tag != NULL  ? "a tag (!name)"
                                                         : NULL;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        found = "a list";
    }
    if (found != NULL) {
        return upt_config_fail(reader->config, line_of(reader), reader->path, reterr,
                               "%s is not allowed; only keys with values or further keys are", found);
    }
    return UPT_OK;
}

static void
cut_path(struct reader *reader, size_t len)
{
    reader->path_len = len;
    reader->path[len] = '\0';
}

/* Notes the path as given on this line; refuses it if it was given before. */
static upt_status
note_path(struct reader *reader, struct upt_error *reterr)
{
    int line = line_of(reader);
    for (size_t i = 0; i < reader->seen_n; i++) {
        if (strcmp(reader->seen[i].path, reader->path) == 0) {
            return upt_config_fail(reader->config, line, reader->path, reterr, "is given twice, first on line %d",
                                   reader->seen[i].line);
        }
    }
    if (reader->seen_n == KEYS_MAX) {
        return upt_config_fail(reader->config, line, reader->path, reterr, "there are more than %d keys", KEYS_MAX);
    }
    char *copy = strdup(reader->path);
    if (copy == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for the configuration");
    }
    reader->seen[reader->seen_n++] = (struct seen){.path = copy, .line = line};
    return UPT_OK;
}

/* The current event is a key: appends it to the path. */
static upt_status
push_key(struct reader *reader, struct upt_error *reterr)
{
    const yaml_event_t *event = &reader->event;
    if (event->type != YAML_SCALAR_EVENT || event->data.scalar.length == 0) {
        return upt_config_fail(reader->config, line_of(reader), reader->path, reterr, "a key must be a name");
    }
    const char *key = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    size_t dot = reader->path_len > 0 ? 1 : 0;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)key[i] <= 0x20 || (unsigned char)key[i] >= 0x7F) {
            return upt_config_fail(reader->config, line_of(reader), reader->path, reterr,
                                   "a key has a blank or a character that is not ASCII");
        }
    }
    if (reader->path_len + dot + len > PATH_MAX_BYTES) {
        return upt_config_fail(reader->config, line_of(reader), "", reterr, "a key is longer than %d bytes",
                               PATH_MAX_BYTES);
    }
    if (dot > 0) {
        reader->path[reader->path_len++] = '.';
    }
    memcpy(reader->path + reader->path_len, key, len);
    cut_path(reader, reader->path_len + len);
    return note_path(reader, reterr);
}

/* The current event is the value of the path: sets it. */
static upt_status
put_scalar(struct reader *reader, int line, struct upt_error *reterr)
{
    const yaml_event_t *event = &reader->event;
    const char *value = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        if (len == 0 && upt_key_is_section(reader->path)) {
            return UPT_OK; /* a section whose keys are all commented out */
        }
        if (strcmp(value, "~") == 0 || strcmp(value, "null") == 0 || strcmp(value, "Null") == 0 ||
            strcmp(value, "NULL") == 0) {
            return upt_config_fail(reader->config, line, reader->path, reterr,
                                   "null is no value; leave the key out for its default, or quote the word");
        }
    }
    if (memchr(value, '\0', len) != NULL) {
        return upt_config_fail(reader->config, line, reader->path, reterr, "holds a NUL character");
    }
    return upt_config_put(reader->config, reader->path, value, line, reterr);
}

/* The current event begins the mapping of the path. */
static upt_status
check_section(const struct reader *reader, int line, size_t depth, struct upt_error *reterr)
{
    if (depth == DEPTH_MAX) {
        return upt_config_fail(reader->config, line, reader->path, reterr, "keys are nested deeper than %d", DEPTH_MAX);
    }
    if (upt_key_is_section(reader->path) || strncmp(reader->path, UPT_KAFKA_PREFIX, strlen(UPT_KAFKA_PREFIX)) == 0) {
        return UPT_OK;
    }
    if (upt_key_find(reader->path) != NULL) {
        return upt_config_fail(reader->config, line, reader->path, reterr, "takes a value, not further keys");
    }
    return upt_config_put(reader->config, reader->path, "", line, reterr); /* says that there is no such key */
}

/* From the root mapping's start to its end. */
static upt_status
walk(struct reader *reader, struct upt_error *reterr)
{
    size_t base[DEPTH_MAX] = {0}; /* length of the path around each open mapping's keys */
    size_t depth = 1;
    while (depth > 0) {
        upt_status status = next_event(reader, reterr);
        if (status != UPT_OK) {
            return status;
        }
        if (reader->event.type == YAML_MAPPING_END_EVENT) {
            depth--;
            cut_path(reader, depth > 0 ? base[depth - 1] : 0);
            continue;
        }
        int line = line_of(reader);
        status = push_key(reader, reterr);
        if (status == UPT_OK) {
            status = next_event(reader, reterr);
        }
        if (status != UPT_OK) {
            return status;
        }
        if (reader->event.type == YAML_SCALAR_EVENT) {
            status = put_scalar(reader, line, reterr);
            cut_path(reader, base[depth - 1]);
        } else {
            status = check_section(reader, line, depth, reterr);
            if (status == UPT_OK) {
                base[depth++] = reader->path_len;
            }
        }
        if (status != UPT_OK) {
            return status;
        }
    }
    return UPT_OK;
}

static upt_status
read_document(struct reader *reader, struct upt_error *reterr)
{
    upt_status status = next_event(reader, reterr);
    if (status != UPT_OK) {
        return status;
    }
    const yaml_event_t *event = &reader->event;
    if (event->type == YAML_MAPPING_START_EVENT) {
        status = walk(reader, reterr);
    } else if (event->type != YAML_SCALAR_EVENT || event->data.scalar.length > 0) {
        status = upt_config_fail(reader->config, line_of(reader), "", reterr,
                                 "expected keys with values, as in `group: uptake`");
    }
    if (status == UPT_OK) {
        status = next_event(reader, reterr); /* the document's end */
    }
    return status;
}

static upt_status
read_stream(struct reader *reader, struct upt_error *reterr)
{
    upt_status status = next_event(reader, reterr); /* the stream's start */
    if (status == UPT_OK) {
        status = next_event(reader, reterr);
    }
    if (status == UPT_OK && reader->event.type == YAML_DOCUMENT_START_EVENT) {
        status = read_document(reader, reterr);
        if (status == UPT_OK) {
            status = next_event(reader, reterr);
        }
    }
    if (status == UPT_OK && reader->event.type != YAML_STREAM_END_EVENT) {
        status =
            upt_config_fail(reader->config, line_of(reader), "", reterr, "a second document begins; a file holds one");
    }
    return status;
}

upt_status
upt_config_parse(struct upt_config *config, const char *text, size_t len, struct upt_error *reterr)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL || yaml_parser_initialize(&reader->parser) == 0) {
        free(reader);
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for the configuration");
    }
    reader->config = config;
    reader->text = text;
    reader->len = len;
    yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader->parser, (const unsigned char *)text, len);
    upt_status status = read_stream(reader, reterr);
    yaml_event_delete(&reader->event);
    yaml_parser_delete(&reader->parser);
    for (size_t i = 0; i < reader->seen_n; i++) {
        free(reader->seen[i].path);
    }
    free(reader);
    return status;
}
