/* Reads the rules file: YAML, two or three levels of mappings, over libyaml's events.
 *
 * One table of keys (rules_keys.c) drives parsing, checking and the hash of the meaning, as in the model file; the path
 * of a key is joined with dots. The shipped file is read first and the given one over it, so that a rules file says
 * only what it changes. Two files with the same meaning have the same hash, whatever their comments and order. Anchors,
 * aliases, tags and lists are refused: none is needed, and in rules each is a mistake more often than a wish. One
 * thread. */
#include "rules.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <yaml.h>

#include "aggregate/score/score.h"
#include "textfile.h"
#include "uptake/config.h"

extern const unsigned char upt_default_rules[];
extern const size_t upt_default_rules_len;

#define PATH_MAX_BYTES 120
#define DEPTH_MAX 4

struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    const char *file;
    struct upt_rules *rules;
    int line[UPT_RULES_KEYS_MAX]; /* of each key, in the file that is being read; 0: it is not there */
    bool segments_seen;
    char path[PATH_MAX_BYTES + 1];
    struct upt_error *reterr;
};

#define FAIL(reader, ...) \
    upt_text_fail((reader)->reterr, (reader)->file, (int)(reader)->event.start_mark.line + 1, __VA_ARGS__)

upt_status
upt_rules_no_yaml(const struct yaml_parser_s *parser, const char *file, struct upt_error *reterr)
{
    /* An unfinished quote is found at the end of the file; where it began is what helps. */
    bool in_quotes = parser->context != NULL && strstr(parser->context, "quoted scalar") != NULL;
    int line = (int)(in_quotes ? parser->context_mark.line : parser->problem_mark.line) + 1;
    if (parser->error == YAML_READER_ERROR) { /* libyaml then knows the byte, and no line */
        const unsigned char *text = parser->input.string.start;
        line = 1;
        for (size_t i = 0; i < parser->problem_offset && text + i < parser->input.string.end; i++) {
            line += text[i] == '\n' ? 1 : 0;
        }
    }
    return upt_text_fail(reterr, file, line, "not valid YAML: %s", parser->problem == NULL ? "?" : parser->problem);
}

static upt_status
next(struct reader *reader)
{
    yaml_event_delete(&reader->event);
    if (yaml_parser_parse(&reader->parser, &reader->event) == 0) {
        return upt_rules_no_yaml(&reader->parser, reader->file, reader->reterr);
    }
    const yaml_event_t *event = &reader->event;
    bool tagged =
        event->type == YAML_ALIAS_EVENT || event->type == YAML_SEQUENCE_START_EVENT ||
        (event->type == YAML_SCALAR_EVENT && (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL)) ||
        (event->type == YAML_MAPPING_START_EVENT &&
         (event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL));
    return tagged ? FAIL(reader, "%s: a list, anchor, alias or tag; allowed: plain keys and values", reader->path)
                  : UPT_OK;
}

/* What may stand below path: the next part of each key that begins with it. */
static void
allowed_below(const char *path, char *buf, size_t cap)
{
    size_t prefix = strlen(path);
    size_t len = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < upt_rules_keys_n; i++) {
        const char *p = upt_rules_keys[i].path;
        if (strncmp(p, path, prefix) != 0 || (prefix > 0 && p[prefix] != '.')) {
            continue;
        }
        p += prefix > 0 ? prefix + 1 : 0;
        int part = (int)strcspn(p, ".");
        char word[64];
        (void)snprintf(word, sizeof(word), " %.*s,", part, p);
        if (strstr(buf, word) == NULL && len + strlen(word) < cap) {
            memcpy(buf + len, word, strlen(word) + 1);
            len += strlen(word);
        }
    }
    if (len > 0) {
        buf[len - 1] = '\0';
    }
    if (prefix == 0 && len + strlen(", segments") < cap) {
        memcpy(buf + len - 1, ", segments", sizeof(", segments"));
    }
}

static upt_status
bad_value(struct reader *reader, const struct upt_rules_key *key, const char *text)
{
    switch (key->type) {
    case UPT_KEY_BOOL:
        return FAIL(reader, "%s: %.60s; allowed: true, false", key->path, text);
    case UPT_KEY_DURATION:
        return FAIL(reader, "%s: %.60s; allowed: a duration such as 12h or 7d, up to 366d, or off", key->path, text);
    case UPT_KEY_SEVERITY:
        return FAIL(reader, "%s: %.60s; allowed: off, INFO, WARNING, HIGH, CRITICAL", key->path, text);
    case UPT_KEY_TEXT:
        return FAIL(reader, "%s: allowed: UTF-8 text of at most %d bytes", key->path, UPT_PLAY_MAX);
    case UPT_KEY_LEVEL:
        return FAIL(reader, "%s: %.60s; allowed: off, or %g to %g", key->path, text, key->least, key->most);
    default:
        return FAIL(reader, "%s: %.60s; allowed: %s%g to %g", key->path, text,
                    key->type == UPT_KEY_INT ? "a whole number, " : "", key->least, key->most);
    }
}

static bool
take_number(const struct upt_rules_key *key, const char *text, double *ret)
{
    if (key->type == UPT_KEY_LEVEL && strcmp(text, "off") == 0) {
        *ret = key->off;
        return true;
    }
    char *end = NULL;
    double v = strtod(text, &end);
    if (end == text || *end != '\0' || strpbrk(text, "xXnN") != NULL || !(v >= key->least && v <= key->most)) {
        return false;
    }
    *ret = key->type == UPT_KEY_LEVEL ? nearbyint(v * 1e6) / 1e6 : v;
    return key->type != UPT_KEY_INT || v == floor(v);
}

static bool
take_severity(const char *text, int *ret)
{
    if (strcmp(text, "off") == 0) {
        *ret = UPT_OFF;
        return true;
    }
    for (int s = UPT_INFO; s <= UPT_CRITICAL; s++) {
        if (strcmp(text, upt_severity_names[s]) == 0) {
            *ret = s;
            return true;
        }
    }
    return false;
}

static upt_status
take(struct reader *reader, const struct upt_rules_key *key)
{
    const char *text = (const char *)reader->event.data.scalar.value;
    size_t len = reader->event.data.scalar.length;
    char *at = (char *)reader->rules + key->at;
    double v = 0;
    int64_t ms = 0;
    int severity = 0;
    bool good = strlen(text) == len;
    switch (key->type) {
    case UPT_KEY_BOOL:
        good = good && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0);
        *(bool *)(void *)at = good && text[0] == 't';
        break;
    case UPT_KEY_INT:
        good = good && take_number(key, text, &v);
        *(int32_t *)(void *)at = (int32_t)v;
        break;
    case UPT_KEY_REAL:
    case UPT_KEY_LEVEL:
        good = good && take_number(key, text, &v);
        *(double *)(void *)at = v;
        break;
    case UPT_KEY_DURATION:
        good =
            good && (strcmp(text, "off") == 0 || (upt_parse_duration(text, &ms) && (double)ms <= key->most && ms >= 0));
        *(int64_t *)(void *)at = ms;
        break;
    case UPT_KEY_SEVERITY:
        good = good && take_severity(text, &severity);
        *(int *)(void *)at = severity;
        break;
    case UPT_KEY_TEXT:
        good = good && len <= UPT_PLAY_MAX && upt_utf8_valid(text, len);
        if (good) {
            memcpy(at, text, len + 1);
        }
        break;
    }
    return good ? UPT_OK : bad_value(reader, key, text);
}

static upt_status
read_value(struct reader *reader)
{
    size_t i = 0;
    while (i < upt_rules_keys_n && strcmp(upt_rules_keys[i].path, reader->path) != 0) {
        i++;
    }
    if (reader->event.type != YAML_SCALAR_EVENT || i == upt_rules_keys_n) {
        char allowed[440];
        allowed_below(reader->path, allowed, sizeof(allowed));
        return i < upt_rules_keys_n ? FAIL(reader, "%s: allowed: one value", reader->path)
                                    : FAIL(reader, "%s: one value; allowed: a mapping with%s", reader->path, allowed);
    }
    reader->line[i] = (int)reader->event.start_mark.line + 1;
    return take(reader, &upt_rules_keys[i]);
}

static bool
known_path(const char *path)
{
    size_t len = strlen(path);
    for (size_t i = 0; i < upt_rules_keys_n; i++) {
        if (strncmp(upt_rules_keys[i].path, path, len) == 0 &&
            (upt_rules_keys[i].path[len] == '.' || upt_rules_keys[i].path[len] == '\0')) {
            return true;
        }
    }
    return false;
}

/* Whether the path, or anything below it, stands further up in the file. */
static bool
was_read(const struct reader *reader)
{
    size_t len = strlen(reader->path);
    for (size_t i = 0; i < upt_rules_keys_n; i++) {
        const char *path = upt_rules_keys[i].path;
        if (reader->line[i] > 0 && strncmp(path, reader->path, len) == 0 && (path[len] == '.' || path[len] == '\0')) {
            return true;
        }
    }
    return false;
}

/* Appends the key of the current event to the path; checks that it is one, and for the first time. */
static upt_status
enter(struct reader *reader, size_t depth)
{
    const char *name = (const char *)reader->event.data.scalar.value;
    size_t parent = strlen(reader->path);
    char allowed[440];
    allowed_below(reader->path, allowed, sizeof(allowed));
    if (depth >= DEPTH_MAX || parent + strlen(name) + 1 > PATH_MAX_BYTES || name[0] == '\0' ||
        strchr(name, '.') != NULL) {
        return FAIL(reader, "%s%s%.60s: unknown; allowed:%s", reader->path, parent > 0 ? "." : "", name, allowed);
    }
    (void)snprintf(reader->path + parent, sizeof(reader->path) - parent, "%s%s", parent > 0 ? "." : "", name);
    if (!known_path(reader->path)) {
        return FAIL(reader, "%s: unknown; allowed:%s", reader->path, allowed);
    }
    return was_read(reader) ? FAIL(reader, "%s: a second time", reader->path) : UPT_OK;
}

static upt_status
read_segments(struct reader *reader)
{
    if (reader->segments_seen) {
        return FAIL(reader, "segments: a second time");
    }
    reader->segments_seen = true;
    return upt_segments_read(&reader->parser, reader->file, &reader->rules->segments, reader->reterr);
}

/* The current event opened a mapping; reads up to its end. Recursion is bounded by DEPTH_MAX. */
static upt_status
read_mapping(struct reader *reader, size_t depth)
{
    size_t parent = strlen(reader->path);
    for (;;) {
        upt_status status = next(reader);
        if (status != UPT_OK || reader->event.type == YAML_MAPPING_END_EVENT) {
            return status;
        }
        if (reader->event.type != YAML_SCALAR_EVENT) {
            return FAIL(reader, "%s: allowed: plain keys", reader->path);
        }
        if (depth == 0 && strcmp((const char *)reader->event.data.scalar.value, "segments") == 0) {
            status = read_segments(reader);
            if (status != UPT_OK) {
                return status;
            }
            continue;
        }
        status = enter(reader, depth);
        if (status == UPT_OK) {
            status = next(reader);
        }
        if (status == UPT_OK) {
            status =
                reader->event.type == YAML_MAPPING_START_EVENT ? read_mapping(reader, depth + 1) : read_value(reader);
        }
        if (status != UPT_OK) {
            return status;
        }
        reader->path[parent] = '\0';
    }
}

/* Numbers of which one must not be above the other. */
static const struct {
    int rule, less, more;
    const char *less_name, *more_name;
} pairs[] = {
    {UPT_RULE_CHURN_RISK, UPT_P_RISK_OFF, UPT_P_RISK_ON, "close_below", "open_at"},
    {UPT_RULE_RENEWAL_GAP, UPT_P_RENEWAL_ON, UPT_P_RENEWAL_OFF, "below", "back_at"},
    {UPT_RULE_SEAT_UNDERUSE, UPT_P_SEATS_ON, UPT_P_SEATS_OFF, "below", "back_at"},
    {UPT_RULE_SENTIMENT, UPT_P_SENTIMENT_LOW, UPT_P_SENTIMENT_HIGH, "csat_below", "csat_good_from"},
    {UPT_RULE_ONBOARDING_LATE, UPT_P_LATE, UPT_P_VERY_LATE, "late_days", "very_late_days"},
    {UPT_RULE_TTV_LATE, UPT_P_LATE, UPT_P_VERY_LATE, "late_days", "very_late_days"},
    {UPT_RULE_ADOPTED, UPT_P_ADOPTED_OFF, UPT_P_ADOPTED_ON, "ends_below", "share"},
};

/* The key of a number among the rules; UPT_RULES_KEYS_MAX: it has none. */
static size_t
key_of(const struct reader *reader, const void *number)
{
    size_t at = (size_t)((const char *)number - (const char *)reader->rules);
    for (size_t i = 0; i < upt_rules_keys_n; i++) {
        if (upt_rules_keys[i].at == at) {
            return i;
        }
    }
    return UPT_RULES_KEYS_MAX;
}

/* The line of a number in the file; 0: it is not there, the shipped value holds. */
static int
line_of(const struct reader *reader, const void *number)
{
    size_t i = key_of(reader, number);
    return i < UPT_RULES_KEYS_MAX ? reader->line[i] : 0;
}

static upt_status
check_levels(struct reader *reader, int rule, const double *levels, double off_above)
{
    double before = 0;
    int line = 0;
    for (int s = UPT_INFO; s <= UPT_CRITICAL; s++) {
        int here = line_of(reader, &levels[s]);
        bool off = levels[s] > off_above;
        if (!off && levels[s] <= before) {
            return upt_text_fail(reader->reterr, reader->file, here > line ? here : line,
                                 "rules.%s.levels: allowed: rising from INFO to CRITICAL", upt_rule_names[rule]);
        }
        before = off ? before : levels[s];
        line = here > line && !off ? here : line;
    }
    return UPT_OK;
}

static upt_status
check_weights(struct reader *reader, const int32_t *weights)
{
    int sum = 0, line = 0;
    for (int w = 0; w < UPT_WEIGHTS; w++) {
        int here = line_of(reader, &weights[w]);
        sum += weights[w];
        line = here > line ? here : line;
    }
    if (sum == 1000 && weights[0] > 0) {
        return UPT_OK;
    }
    const char *path = upt_rules_keys[key_of(reader, weights)].path;
    return upt_text_fail(reader->reterr, reader->file, line,
                         "%.*s: allowed: weights of a phase that add up to 1000, usage above 0 (sum %d)",
                         (int)(strrchr(path, '.') - path), path, sum);
}

static upt_status
check(struct reader *reader)
{
    const struct upt_rules *rules = reader->rules;
    upt_status status = check_levels(reader, UPT_RULE_SILENCE, rules->silence_level, 1);
    if (status == UPT_OK) {
        status = check_levels(reader, UPT_RULE_USAGE_DROP, rules->drop_level, DBL_MAX);
    }
    for (int s = 0; status == UPT_OK && s < UPT_WEIGHT_SETS; s++) {
        for (int c = 0; status == UPT_OK && c < UPT_COLUMNS; c++) {
            status = check_weights(reader, rules->weights[s].milli[c]);
        }
    }
    for (size_t i = 0; status == UPT_OK && i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        const double *p = rules->rule[pairs[i].rule].p;
        if (p[pairs[i].less] > p[pairs[i].more]) {
            int less = line_of(reader, &p[pairs[i].less]), more = line_of(reader, &p[pairs[i].more]);
            status = upt_text_fail(reader->reterr, reader->file, less > more ? less : more,
                                   "rules.%s: allowed: %s at most %s", upt_rule_names[pairs[i].rule],
                                   pairs[i].less_name, pairs[i].more_name);
        }
    }
    return status;
}

static upt_status
read_text(struct upt_rules *rules, const char *file, struct upt_str text, struct upt_error *reterr)
{
    struct reader reader = {.file = file, .rules = rules, .reterr = reterr};
    if (yaml_parser_initialize(&reader.parser) == 0) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for the rules");
    }
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text.p, text.len);
    bool documents = false;
    upt_status status = UPT_OK;
    do {
        status = next(&reader);
        if (status != UPT_OK) {
            break;
        }
        if (reader.event.type == YAML_DOCUMENT_START_EVENT && documents) {
            status = FAIL(&reader, "allowed: one document");
        }
        documents = documents || reader.event.type == YAML_DOCUMENT_START_EVENT;
        if (reader.event.type == YAML_MAPPING_START_EVENT) {
            status = read_mapping(&reader, 0);
        } else if (reader.event.type == YAML_SCALAR_EVENT && reader.event.data.scalar.length > 0) {
            status = FAIL(&reader, "allowed: publish, update, notify, health, tiers, rules, segments");
        }
    } while (status == UPT_OK && reader.event.type != YAML_STREAM_END_EVENT);
    if (status == UPT_OK) {
        status = check(&reader);
    }
    yaml_event_delete(&reader.event);
    yaml_parser_delete(&reader.parser);
    return status;
}

upt_status
upt_rules_load(const char *path, struct upt_rules **ret, struct upt_error *reterr)
{
    struct upt_buf file = {0};
    struct upt_rules *rules = calloc(1, sizeof(*rules));
    if (rules == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for the rules");
    }
    for (int i = 0; i < UPT_RULES; i++) {
        rules->rule[i].on_count = rules->rule[i].off_count = 1;
    }
    for (int i = 0; i < 5; i++) {
        rules->band_severity[i] = UPT_OFF;
    }
    for (int s = UPT_INFO; s <= UPT_CRITICAL; s++) {
        rules->silence_level[s] = 2;
        rules->drop_level[s] = (double)INFINITY;
    }
    struct upt_str shipped = {(const char *)upt_default_rules, (uint32_t)upt_default_rules_len};
    upt_status status = read_text(rules, "(built-in rules)", shipped, reterr);
    if (status == UPT_OK && path != NULL && path[0] != '\0') {
        status = upt_text_read(path, &file, reterr);
        if (status == UPT_OK) {
            status = read_text(rules, path, (struct upt_str){file.p == NULL ? "" : file.p, (uint32_t)file.len}, reterr);
        }
    }
    upt_buf_fini(&file);
    if (status != UPT_OK) {
        goto fail;
    }
    *ret = rules;
    return UPT_OK;
fail:
    upt_rules_destroy(&rules);
    return status;
}

void
upt_rules_destroy(struct upt_rules **rules_p)
{
    if (*rules_p != NULL) {
        upt_segments_destroy(&(*rules_p)->segments);
    }
    free(*rules_p);
    *rules_p = NULL;
}

uint64_t
upt_rules_hash(const struct upt_rules *rules)
{
    struct upt_buf text = {0};
    for (size_t i = 0; i < upt_rules_keys_n; i++) {
        const char *at = (const char *)rules + upt_rules_keys[i].at;
        upt_buf_puts(&text, upt_rules_keys[i].path);
        switch (upt_rules_keys[i].type) {
        case UPT_KEY_BOOL:
            upt_buf_printf(&text, "=%d\n", *(const bool *)(const void *)at ? 1 : 0);
            break;
        case UPT_KEY_INT:
            upt_buf_printf(&text, "=%d\n", *(const int32_t *)(const void *)at);
            break;
        case UPT_KEY_SEVERITY:
            upt_buf_printf(&text, "=%d\n", *(const int *)(const void *)at);
            break;
        case UPT_KEY_DURATION:
            upt_buf_printf(&text, "=%lld\n", (long long)*(const int64_t *)(const void *)at);
            break;
        case UPT_KEY_TEXT:
            upt_buf_printf(&text, "=%s\n", at);
            break;
        case UPT_KEY_REAL:
        case UPT_KEY_LEVEL:
            upt_buf_printf(&text, "=%.17g\n", *(const double *)(const void *)at);
            break;
        }
    }
    upt_segments_meaning(rules->segments, &text);
    uint64_t hash = upt_hash(text.p, text.len);
    upt_buf_fini(&text);
    return hash;
}
