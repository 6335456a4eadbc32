/* Reads `segments:` of the rules file into conditions in the order of the file, over libyaml's events.
 *
 * A condition is a mapping: `all` or `any` with a list of conditions, `not` with one, or a leaf that names a field,
 * trait, feature, course or step and says what it must be. Everything is checked here, so that judging an account
 * cannot fail: names of fields, the form of what they are compared with, and sizes. Recursion is bounded by
 * DEPTH_MAX. One thread. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "rules.h"
#include "segment.h"
#include "textfile.h"
#include "uptake/assert.h"
#include "uptake/config.h"
#include "uptake/event.h"

#define DEPTH_MAX 8
#define NODES_MAX 64  /* conditions of one segment */
#define LIST_MAX 64   /* entries of a list */
#define VALUE_MAX 256 /* bytes of a text that is compared, or of a name */
#define NUMBER_MAX 9e12
#define WITHIN_MAX 30

#define FIELDS                                                                                                     \
    "events_, units_, logins_ with 1h, 24h, 7d, 30d; users_24h, _7d, _30d, _total; features_30d, seats, "          \
    "seat_utilisation, adoption_rate, open_alerts, health, health_band, health_confidence, churn_risk_30d, _60d, " \
    "_90d, phase, segment, tier, renewal_date, days_to_renewal; first_seen, last_seen; first_seen_, last_seen_, "  \
    "signup_, login_, key_event_, contact_, contract_, onboarding_age_days; logins_total, steps_done, "            \
    "courses_done; onboarded, contacted_since_onboarding; a signal of aggregate/score/README.md"

enum { OP_FROM, OP_TO, OP_ABOVE, OP_BELOW, OP_IS, OP_IN, OP_KNOWN, OP_USED, OP_DONE, OP_WITHIN, OP_AS, OPS };
static const char *const op_names[OPS] = {"from",  "to",   "above", "below",  "is", "in",
                                          "known", "used", "done",  "within", "as"};
#define BIT(op) (1U << (op))
#define RANGE (BIT(OP_FROM) | BIT(OP_TO) | BIT(OP_ABOVE) | BIT(OP_BELOW))

/* What a leaf says, before it is known what it is about. */
struct leaf {
    int line;
    unsigned given;
    uint32_t at[OPS], len[OPS]; /* in the text; of `in`: the first value and how many */
};

struct reader {
    yaml_parser_t *parser;
    yaml_event_t event;
    const char *file;
    struct upt_segments *set;
    struct upt_segment *segment;
    struct upt_error *reterr;
};

#define LINE(reader) ((int)(reader)->event.start_mark.line + 1)
#define NAME(reader)                                                                                            \
    ((reader)->segment == NULL ? "" : "."), ((reader)->segment == NULL ? 0 : (int)(reader)->segment->name_len), \
        ((reader)->segment == NULL ? "" : (reader)->set->text.p + (reader)->segment->name_at)
#define FAIL_AT(reader, line, fmt, ...) \
    upt_text_fail((reader)->reterr, (reader)->file, line, "segments%s%.*s" fmt, NAME(reader), __VA_ARGS__)
#define FAIL(reader, ...) FAIL_AT(reader, LINE(reader), __VA_ARGS__)

/* ---- events and memory ---- */

static upt_status
next(struct reader *reader)
{
    yaml_event_delete(&reader->event);
    if (yaml_parser_parse(reader->parser, &reader->event) == 0) {
        return upt_rules_no_yaml(reader->parser, reader->file, reader->reterr);
    }
    const yaml_event_t *event = &reader->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    default:
        break;
    }
    return event->type == YAML_ALIAS_EVENT || anchor != NULL || tag != NULL
               ? FAIL(reader, "%s", ": an anchor, alias or tag; allowed: plain keys, values and lists")
               : UPT_OK;
}

static bool
is_scalar(const struct reader *reader)
{
    return reader->event.type == YAML_SCALAR_EVENT;
}

static const char *
scalar(const struct reader *reader)
{
    return (const char *)reader->event.data.scalar.value;
}

static bool
scalar_is(const struct reader *reader, const char *text)
{
    return is_scalar(reader) && strcmp(scalar(reader), text) == 0;
}

static void *
grow(void *v, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return v;
    }
    *cap = *cap == 0 ? 32 : *cap * 2;
    void *grown = realloc(v, *cap * size);
    upt_assert(grown != NULL);
    return grown;
}

static uint32_t
keep_text(struct reader *reader, const char *p, size_t len)
{
    uint32_t at = (uint32_t)reader->set->text.len;
    upt_buf_put(&reader->set->text, p, len);
    return at;
}

/* ---- values ---- */

static bool
number_of(const char *text, double *ret)
{
    char *end = NULL;
    errno = 0;
    *ret = strtod(text, &end);
    return end != text && *end == '\0' && strpbrk(text, "xXnN") == NULL && fabs(*ret) <= NUMBER_MAX;
}

/* The scalar is a value or name of at most VALUE_MAX bytes of UTF-8. */
static bool
plain_text(const struct reader *reader)
{
    size_t len = is_scalar(reader) ? reader->event.data.scalar.length : 0;
    return is_scalar(reader) && strlen(scalar(reader)) == len && len <= VALUE_MAX &&
           upt_utf8_valid(scalar(reader), len);
}

static upt_status
read_list(struct reader *reader, struct leaf *leaf)
{
    struct upt_segments *set = reader->set;
    if (reader->event.type != YAML_SEQUENCE_START_EVENT) {
        return FAIL(reader, ".in%s", ": allowed: a list, such as [a, b]");
    }
    leaf->at[OP_IN] = (uint32_t)set->values_n;
    for (;;) {
        upt_status status = next(reader);
        if (status != UPT_OK) {
            return status;
        }
        if (reader->event.type == YAML_SEQUENCE_END_EVENT) {
            break;
        }
        leaf->len[OP_IN]++;
        if (!plain_text(reader) || leaf->len[OP_IN] > LIST_MAX) {
            return FAIL(reader, ".in: allowed: at most %d values of at most %d bytes", LIST_MAX, VALUE_MAX);
        }
        set->value = grow(set->value, set->values_n, &set->values_cap, sizeof(*set->value));
        size_t len = reader->event.data.scalar.length;
        set->value[set->values_n++] =
            (struct upt_seg_value){.at = keep_text(reader, scalar(reader), len), .len = (uint32_t)len};
    }
    return leaf->len[OP_IN] > 0 ? UPT_OK : FAIL(reader, ".in%s", ": an empty list; allowed: 1 to 64 values");
}

static upt_status
read_op(struct reader *reader, struct leaf *leaf, int op)
{
    leaf->given |= BIT(op);
    if (op == OP_IN) {
        return read_list(reader, leaf);
    }
    if (!plain_text(reader)) {
        return FAIL(reader, ".%s: allowed: one value of at most %d bytes", op_names[op], VALUE_MAX);
    }
    leaf->len[op] = (uint32_t)reader->event.data.scalar.length;
    leaf->at[op] = keep_text(reader, scalar(reader), leaf->len[op] + 1);
    return UPT_OK;
}

/* ---- a leaf, once all of it is there ---- */

static const char *
given(const struct reader *reader, const struct leaf *leaf, int op)
{
    return reader->set->text.p + leaf->at[op];
}

static upt_status
take_bool(struct reader *reader, const struct leaf *leaf, int op, bool *ret)
{
    const char *text = given(reader, leaf, op);
    *ret = strcmp(text, "true") == 0;
    return *ret || strcmp(text, "false") == 0
               ? UPT_OK
               : FAIL_AT(reader, leaf->line, ".%s: %.60s; allowed: true, false", op_names[op], text);
}

static upt_status
take_range(struct reader *reader, const struct leaf *leaf, struct upt_seg_node *node)
{
    static const struct {
        int op, other;
        bool high;
        int64_t step;
    } ends[] = {{OP_FROM, OP_ABOVE, false, 0},
                {OP_TO, OP_BELOW, true, 0},
                {OP_ABOVE, OP_FROM, false, 1},
                {OP_BELOW, OP_TO, true, -1}};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        double v = 0;
        if ((leaf->given & BIT(ends[i].op)) == 0) {
            continue;
        }
        if ((leaf->given & BIT(ends[i].other)) != 0) {
            return FAIL_AT(reader, leaf->line, ": %s and %s; allowed: one of them", op_names[ends[i].op],
                           op_names[ends[i].other]);
        }
        if (!number_of(given(reader, leaf, ends[i].op), &v)) {
            return FAIL_AT(reader, leaf->line, ".%s: %.60s; allowed: a number within ±%g", op_names[ends[i].op],
                           given(reader, leaf, ends[i].op), NUMBER_MAX);
        }
        node->tests |= ends[i].high ? UPT_SEG_HIGH : UPT_SEG_LOW;
        *(ends[i].high ? &node->high : &node->low) = llrint(v * 1e6) + ends[i].step;
    }
    return node->tests == (UPT_SEG_LOW | UPT_SEG_HIGH) && node->low > node->high
               ? FAIL_AT(reader, leaf->line, "%s", ": a range that nothing is in; allowed: the lower end first")
               : UPT_OK;
}

/* One value to compare with, in the form that the field has. */
static upt_status
take_value(struct reader *reader, const struct leaf *leaf, upt_seg_type type, struct upt_seg_value *v)
{
    char text[VALUE_MAX + 1];
    double number = 0;
    (void)snprintf(text, sizeof(text), "%.*s", (int)v->len, reader->set->text.p + v->at);
    switch (type) {
    case UPT_SEG_NUMBER:
        if (!number_of(text, &number)) {
            return FAIL_AT(reader, leaf->line, ": %.60s; allowed: a number within ±%g", text, NUMBER_MAX);
        }
        v->micro = llrint(number * 1e6);
        return UPT_OK;
    case UPT_SEG_BAND:
        for (int i = 0; i <= UPT_BAND_HEALTHY; i++) {
            if (strcmp(text, upt_band_names[i]) == 0) {
                return UPT_OK;
            }
        }
        return FAIL_AT(reader, leaf->line, ": %.60s; allowed: UNKNOWN, CRITICAL, AT_RISK, WATCH, HEALTHY", text);
    case UPT_SEG_PHASE:
        for (int i = 0; i < UPT_PHASE_COUNT; i++) {
            if (strcmp(text, upt_phase_names[i]) == 0) {
                return UPT_OK;
            }
        }
        return FAIL_AT(reader, leaf->line,
                       ": %.60s; allowed: TRIAL, ONBOARDING, ADOPTION, USAGE, VALUE, ADVOCACY, "
                       "DORMANT, CHURNED",
                       text);
    default:
        return UPT_OK;
    }
}

static upt_status
take_set(struct reader *reader, const struct leaf *leaf, upt_seg_type type, struct upt_seg_node *node)
{
    struct upt_segments *set = reader->set;
    if ((leaf->given & (BIT(OP_IS) | BIT(OP_IN))) == 0) {
        return UPT_OK;
    }
    if ((leaf->given & BIT(OP_IS)) != 0 && (leaf->given & BIT(OP_IN)) != 0) {
        return FAIL_AT(reader, leaf->line, "%s", ": is and in; allowed: one of them");
    }
    node->tests |= UPT_SEG_SET;
    if ((leaf->given & BIT(OP_IN)) != 0) {
        node->values = leaf->at[OP_IN];
        node->values_n = (uint16_t)leaf->len[OP_IN];
    } else {
        set->value = grow(set->value, set->values_n, &set->values_cap, sizeof(*set->value));
        node->values = (uint32_t)set->values_n;
        node->values_n = 1;
        set->value[set->values_n++] = (struct upt_seg_value){.at = leaf->at[OP_IS], .len = leaf->len[OP_IS]};
    }
    for (uint32_t i = 0; i < node->values_n; i++) {
        upt_status status = take_value(reader, leaf, type, &set->value[node->values + i]);
        if (status != UPT_OK) {
            return status;
        }
    }
    return UPT_OK;
}

static upt_status
only(struct reader *reader, const struct leaf *leaf, unsigned allowed, const char *words)
{
    for (int op = 0; op < OPS; op++) {
        if ((leaf->given & BIT(op) & ~allowed) != 0) {
            return FAIL_AT(reader, leaf->line, ": %s does not go with it; allowed: %s", op_names[op], words);
        }
    }
    return UPT_OK;
}

static upt_status
take_field(struct reader *reader, const struct leaf *leaf, struct upt_seg_node *node)
{
    struct upt_segments *set = reader->set;
    size_t i = 0;
    const char *name = set->text.p + node->name_at;
    while (i < UPT_SF_COUNT && strcmp(upt_seg_fields[i].name, name) != 0) {
        i++;
    }
    if (i == UPT_SF_COUNT) {
        return FAIL_AT(reader, leaf->line, ".field: %.40s; allowed: %s", name, FIELDS);
    }
    const struct upt_seg_field *field = &upt_seg_fields[i];
    node->field = (uint8_t)i;
    set->kinds |= field->kinds;
    set->user_kinds |= field->user_kinds;
    set->row = set->row || field->row;
    set->hourly = set->hourly || field->hourly;
    if (field->type == UPT_SEG_BOOL) {
        upt_status status = only(reader, leaf, BIT(OP_IS) | BIT(OP_KNOWN), "is, known");
        node->tests |= (leaf->given & BIT(OP_IS)) != 0 ? UPT_SEG_IS : 0;
        return status == UPT_OK && node->tests != 0 ? take_bool(reader, leaf, OP_IS, &node->want) : status;
    }
    unsigned allowed = BIT(OP_IS) | BIT(OP_IN) | BIT(OP_KNOWN) | (field->type == UPT_SEG_NUMBER ? RANGE : 0);
    upt_status status = only(reader, leaf, allowed,
                             field->type == UPT_SEG_NUMBER ? "from, to, above, below, is, in, known" : "is, in, known");
    if (status == UPT_OK) {
        status = take_range(reader, leaf, node);
    }
    return status == UPT_OK ? take_set(reader, leaf, field->type, node) : status;
}

static upt_status
take_trait(struct reader *reader, const struct leaf *leaf, struct upt_seg_node *node)
{
    static const char *const forms[] = {"text", "days_since", "days_until"};
    bool number = (leaf->given & RANGE) != 0;
    reader->set->kinds |= UINT32_C(1) << UPT_KIND_PROFILE;
    upt_status status = only(reader, leaf, RANGE | BIT(OP_IS) | BIT(OP_IN) | BIT(OP_KNOWN) | BIT(OP_AS),
                             "from, to, above, below, is, in, known, as");
    for (int i = 0; (leaf->given & BIT(OP_AS)) != 0 && status == UPT_OK; i++) {
        if (i == 3) {
            status = FAIL_AT(reader, leaf->line, ".as: %.60s; allowed: text, days_since, days_until",
                             given(reader, leaf, OP_AS));
        } else if (strcmp(given(reader, leaf, OP_AS), forms[i]) == 0) {
            node->as = (uint8_t)i;
            break;
        }
    }
    if (status == UPT_OK) {
        status = take_range(reader, leaf, node);
    }
    upt_seg_type type = number || node->as != UPT_SEG_AS_TEXT ? UPT_SEG_NUMBER : UPT_SEG_TEXT;
    node->field = (uint8_t)type;
    return status == UPT_OK ? take_set(reader, leaf, type, node) : status;
}

static upt_status
take_feature(struct reader *reader, const struct leaf *leaf, struct upt_seg_node *node)
{
    upt_status status =
        only(reader, leaf, RANGE | BIT(OP_USED) | BIT(OP_WITHIN), "used, from, to, above, below, within");
    double v = 0;
    reader->set->features = true;
    node->within = WITHIN_MAX;
    if (status == UPT_OK && (leaf->given & BIT(OP_WITHIN)) != 0) {
        if (!number_of(given(reader, leaf, OP_WITHIN), &v) || v != floor(v) || !(v >= 1 && v <= WITHIN_MAX)) {
            return FAIL_AT(reader, leaf->line, ".within: %.60s; allowed: a whole number of days, 1 to %d",
                           given(reader, leaf, OP_WITHIN), WITHIN_MAX);
        }
        node->within = (uint8_t)v;
    }
    if (status == UPT_OK && (leaf->given & BIT(OP_USED)) != 0) {
        node->tests |= UPT_SEG_IS;
        node->as = (leaf->given & BIT(OP_WITHIN)) != 0; /* used within those days, or ever */
        status = (leaf->given & RANGE) != 0
                     ? FAIL_AT(reader, leaf->line, "%s", ": used and a range; allowed: one of them")
                     : take_bool(reader, leaf, OP_USED, &node->want);
        return status;
    }
    return status == UPT_OK ? take_range(reader, leaf, node) : status;
}

static upt_status
take_leaf(struct reader *reader, const struct leaf *leaf, struct upt_seg_node *node)
{
    upt_status status = UPT_OK;
    switch ((upt_seg_kind)node->kind) {
    case UPT_SEG_FIELD:
        status = take_field(reader, leaf, node);
        break;
    case UPT_SEG_TRAIT:
        status = take_trait(reader, leaf, node);
        break;
    case UPT_SEG_FEATURE:
        status = take_feature(reader, leaf, node);
        break;
    default:
        reader->set->kinds |= UINT32_C(1)
                              << (node->kind == UPT_SEG_COURSE ? UPT_KIND_TRAINING : UPT_KIND_ONBOARDING_STEP);
        status = only(reader, leaf, BIT(OP_DONE), "done");
        node->tests |= (leaf->given & BIT(OP_DONE)) != 0 ? UPT_SEG_IS : 0;
        if (status == UPT_OK && node->tests != 0) {
            status = take_bool(reader, leaf, OP_DONE, &node->want);
        }
        break;
    }
    if (status == UPT_OK && (leaf->given & BIT(OP_KNOWN)) != 0) {
        node->tests |= UPT_SEG_KNOWN;
        status = take_bool(reader, leaf, OP_KNOWN, &node->known);
    }
    if (status == UPT_OK && node->tests == 0) {
        static const char *const wanted[] = {"from, to, above, below, is, in, known", "used, from, to, above, below",
                                             "done"};
        int which = node->kind <= UPT_SEG_TRAIT ? 0 : node->kind == UPT_SEG_FEATURE ? 1 : 2;
        status = FAIL_AT(reader, leaf->line, ": nothing is asked of it; allowed: %s", wanted[which]);
    }
    return status;
}

/* ---- conditions ---- */

static upt_status read_condition(struct reader *reader, unsigned depth);

static upt_status
read_conditions(struct reader *reader, unsigned depth)
{
    unsigned n = 0;
    if (reader->event.type != YAML_SEQUENCE_START_EVENT) {
        return FAIL(reader, "%s", ": all and any: allowed: a list of conditions");
    }
    for (;;) {
        upt_status status = next(reader);
        if (status != UPT_OK) {
            return status;
        }
        if (reader->event.type == YAML_SEQUENCE_END_EVENT) {
            return n > 0 ? UPT_OK : FAIL(reader, "%s", ": an empty list; allowed: at least one condition");
        }
        n++;
        status = read_condition(reader, depth);
        if (status != UPT_OK) {
            return status;
        }
    }
}

#define KINDS_N 8
static const char *const kind_names[KINDS_N] = {"all", "any", "not", "field", "trait", "feature", "course", "step"};

/* One key of a condition and what follows it. *kind: what the condition is; KINDS_N: not known yet. */
static upt_status
read_part(struct reader *reader, size_t at, unsigned depth, int *kind, struct leaf *leaf)
{
    int is = 0;
    int op = 0;
    while (is < KINDS_N && !scalar_is(reader, kind_names[is])) {
        is++;
    }
    while (op < OPS && !scalar_is(reader, op_names[op])) {
        op++;
    }
    if (is == KINDS_N && op == OPS) {
        return FAIL(reader,
                    ".%.60s: unknown; allowed: all, any, not, field, trait, feature, course, step, and with "
                    "those from, to, above, below, is, in, known, as, used, within, done",
                    is_scalar(reader) ? scalar(reader) : "?");
    }
    if ((is < KINDS_N && *kind != KINDS_N) || (op < OPS && (leaf->given & BIT(op)) != 0) ||
        (is <= UPT_SEG_NOT && leaf->given != 0) || (op < OPS && *kind <= UPT_SEG_NOT)) {
        return FAIL(reader, ".%s: a second thing; allowed: one condition a mapping", scalar(reader));
    }
    leaf->line = is >= UPT_SEG_FIELD && is < KINDS_N ? LINE(reader) : leaf->line;
    *kind = is < KINDS_N ? is : *kind;
    upt_status status = next(reader);
    if (status != UPT_OK) {
        return status;
    }
    if (op < OPS) {
        return read_op(reader, leaf, op);
    }
    if (is == UPT_SEG_NOT) {
        return read_condition(reader, depth + 1);
    }
    if (is < UPT_SEG_NOT) {
        return read_conditions(reader, depth + 1);
    }
    if (!plain_text(reader) || reader->event.data.scalar.length == 0) {
        return FAIL(reader, ".%s: allowed: a name of 1 to %d bytes", kind_names[is], VALUE_MAX);
    }
    if (is == UPT_SEG_FEATURE && (reader->event.data.scalar.length > UPT_FEATURE_MAX || scalar(reader)[0] == '_')) {
        return FAIL(reader, ".feature: %.60s; allowed: 1 to %d bytes, the first no _, as in events", scalar(reader),
                    UPT_FEATURE_MAX);
    }
    uint32_t len = (uint32_t)reader->event.data.scalar.length;
    uint32_t name = keep_text(reader, scalar(reader), len + 1);
    reader->set->node[at].name_at = name;
    reader->set->node[at].name_len = len;
    return UPT_OK;
}

/* The current event is a condition's first. */
static upt_status
read_condition(struct reader *reader, unsigned depth)
{
    struct upt_segments *set = reader->set;
    struct leaf leaf = {.line = LINE(reader)};
    int kind = KINDS_N;
    size_t at = set->nodes_n;
    if (reader->event.type != YAML_MAPPING_START_EVENT) {
        return FAIL(reader, "%s", ": allowed: a condition, such as {field: logins_7d, from: 1}");
    }
    if (depth > DEPTH_MAX || at - reader->segment->first >= NODES_MAX) {
        return FAIL(reader, ": allowed: at most %d conditions, %d deep", NODES_MAX, DEPTH_MAX);
    }
    set->node = grow(set->node, at, &set->nodes_cap, sizeof(*set->node));
    memset(&set->node[at], 0, sizeof(set->node[at]));
    set->nodes_n++;
    for (;;) {
        upt_status status = next(reader);
        if (status != UPT_OK) {
            return status;
        }
        if (reader->event.type == YAML_MAPPING_END_EVENT) {
            break;
        }
        status = read_part(reader, at, depth, &kind, &leaf);
        if (status != UPT_OK) {
            return status;
        }
    }
    if (kind == KINDS_N) {
        return FAIL_AT(reader, leaf.line, "%s",
                       ": of what? allowed: all, any, not, field, trait, feature, course, step");
    }
    set->node[at].kind = (uint8_t)kind;
    set->node[at].end = (uint16_t)set->nodes_n;
    return kind >= UPT_SEG_FIELD ? take_leaf(reader, &leaf, &set->node[at]) : UPT_OK;
}

/* ---- segments ---- */

static bool
good_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
    return len > 0 && len <= UPT_SEGMENT_NAME_MAX && name[len] == '\0';
}

static upt_status
read_key(struct reader *reader, unsigned *seen)
{
    static const char *const names[] = {"when", "play", "enabled"};
    unsigned key = 0;
    while (key < 3 && !scalar_is(reader, names[key])) {
        key++;
    }
    if (key == 3) {
        return FAIL(reader, ".%.60s: unknown; allowed: when, play, enabled", is_scalar(reader) ? scalar(reader) : "?");
    }
    if ((*seen & 1U << key) != 0) {
        return FAIL(reader, ".%s: a second time", names[key]);
    }
    *seen |= 1U << key;
    upt_status status = next(reader);
    if (status != UPT_OK) {
        return status;
    }
    struct upt_segment *segment = reader->segment;
    switch (key) {
    case 0:
        segment->first = (uint32_t)reader->set->nodes_n;
        segment->has_when = true;
        return read_condition(reader, 1);
    case 1:
        segment->play_len = is_scalar(reader) ? (uint32_t)reader->event.data.scalar.length : UINT32_MAX;
        if (segment->play_len > UPT_PLAY_MAX || memchr(scalar(reader), '\0', segment->play_len) != NULL ||
            !upt_utf8_valid(scalar(reader), segment->play_len)) {
            return FAIL(reader, ".play: allowed: UTF-8 text of at most %d bytes, none of them NUL", UPT_PLAY_MAX);
        }
        segment->has_play = segment->play_len > 0; /* "" is none, as for rules */
        segment->play_at = keep_text(reader, scalar(reader), segment->play_len);
        return UPT_OK;
    default:
        segment->enabled = scalar_is(reader, "true");
        return segment->enabled || scalar_is(reader, "false") ? UPT_OK
                                                              : FAIL(reader, ".enabled%s", ": allowed: true, false");
    }
}

/* The current event is the segment's name. */
static upt_status
read_segment(struct reader *reader)
{
    struct upt_segments *set = reader->set;
    unsigned seen = 0;
    if (!is_scalar(reader) || !good_name(scalar(reader))) {
        return FAIL(reader, ": %.70s; allowed: names of 1 to %d letters, digits, _ - .",
                    is_scalar(reader) ? scalar(reader) : "?", UPT_SEGMENT_NAME_MAX);
    }
    if (set->n == UPT_SEGMENTS_MAX) {
        return FAIL(reader, ": allowed: at most %d segments", UPT_SEGMENTS_MAX);
    }
    uint32_t len = (uint32_t)strlen(scalar(reader));
    uint64_t hash = upt_hash(scalar(reader), len);
    for (size_t i = 0; i < set->n; i++) {
        if (set->v[i].hash == hash) {
            return FAIL(reader, ".%s: a second time", scalar(reader));
        }
    }
    struct upt_segment *segment = &set->v[set->n++];
    *segment = (struct upt_segment){
        .hash = hash, .name_at = keep_text(reader, scalar(reader), len), .name_len = len, .enabled = true};
    reader->segment = segment;
    upt_status status = next(reader);
    if (status == UPT_OK && reader->event.type != YAML_MAPPING_START_EVENT) {
        status = FAIL(reader, "%s", ": allowed: a mapping with when, play, enabled");
    }
    int line = LINE(reader);
    while (status == UPT_OK && (status = next(reader)) == UPT_OK && reader->event.type != YAML_MAPPING_END_EVENT) {
        status = read_key(reader, &seen);
    }
    if (status == UPT_OK && !segment->has_when) {
        status = FAIL_AT(reader, line, "%s", ".when: is missing");
    }
    reader->segment = NULL;
    return status;
}

static bool
before(const struct upt_segments *set, const struct upt_segment *x, const struct upt_segment *y)
{
    uint32_t n = x->name_len < y->name_len ? x->name_len : y->name_len;
    int order = memcmp(set->text.p + x->name_at, set->text.p + y->name_at, n);
    return order != 0 ? order < 0 : x->name_len < y->name_len;
}

/* By name, bytewise; there are few. */
static void
sort(struct upt_segments *set)
{
    for (size_t i = 1; i < set->n; i++) {
        struct upt_segment segment = set->v[i];
        size_t at = i;
        for (; at > 0 && before(set, &segment, &set->v[at - 1]); at--) {
            set->v[at] = set->v[at - 1];
        }
        set->v[at] = segment;
    }
}

upt_status
upt_segments_read(void *yaml_parser, const char *file, struct upt_segments **set_p, struct upt_error *reterr)
{
    upt_segments_destroy(set_p);
    struct upt_segments *set = calloc(1, sizeof(*set));
    if (set == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for the segments");
    }
    struct reader reader = {.parser = yaml_parser, .file = file, .set = set, .reterr = reterr};
    upt_status status = next(&reader);
    bool empty = status == UPT_OK && is_scalar(&reader) && reader.event.data.scalar.length == 0;
    if (status == UPT_OK && !empty && reader.event.type != YAML_MAPPING_START_EVENT) {
        status = FAIL(&reader, "%s", ": allowed: a mapping of names");
    }
    while (status == UPT_OK && !empty && (status = next(&reader)) == UPT_OK &&
           reader.event.type != YAML_MAPPING_END_EVENT) {
        status = read_segment(&reader);
    }
    yaml_event_delete(&reader.event);
    sort(set);
    if (status != UPT_OK || set->n == 0) {
        upt_segments_destroy(&set);
    }
    *set_p = set;
    return status;
}

void
upt_segments_destroy(struct upt_segments **set_p)
{
    struct upt_segments *set = *set_p;
    if (set != NULL) {
        free(set->node);
        free(set->value);
        upt_buf_fini(&set->text);
    }
    free(set);
    *set_p = NULL;
}

/* ---- meaning ---- */

static void
put_text(struct upt_buf *out, struct upt_str text)
{
    upt_buf_printf(out, " %u:", text.len);
    upt_buf_put(out, text.p, text.len);
}

void
upt_segments_meaning(const struct upt_segments *set, struct upt_buf *out)
{
    for (size_t i = 0; i < upt_segments_n(set); i++) {
        const struct upt_segment *segment = &set->v[i];
        upt_buf_puts(out, "segment");
        put_text(out, upt_segments_name(set, i));
        upt_buf_printf(out, " %d", segment->enabled);
        put_text(out, upt_seg_text(set, segment->play_at, segment->play_len));
        for (uint32_t k = segment->first; k < set->node[segment->first].end; k++) {
            const struct upt_seg_node *node = &set->node[k];
            upt_buf_printf(out, "\n%u %u %u %u %u %d %d %u %lld %lld", node->kind, node->field, node->as, node->within,
                           node->tests, node->want, node->known, node->end - segment->first, (long long)node->low,
                           (long long)node->high);
            put_text(out, upt_seg_text(set, node->name_at, node->name_len));
            for (uint32_t n = 0; n < node->values_n; n++) {
                const struct upt_seg_value *value = &set->value[node->values + n];
                if (node->kind == UPT_SEG_FIELD && upt_seg_fields[node->field].type == UPT_SEG_NUMBER) {
                    upt_buf_printf(out, " %lld", (long long)value->micro);
                } else {
                    put_text(out, upt_seg_text(set, value->at, value->len));
                }
            }
        }
        upt_buf_puts(out, "\n");
    }
}

size_t
upt_segments_n(const struct upt_segments *set)
{
    return set == NULL ? 0 : set->n;
}

struct upt_str
upt_segments_name(const struct upt_segments *set, size_t i)
{
    return upt_seg_text(set, set->v[i].name_at, set->v[i].name_len);
}

struct upt_str
upt_segments_play(const struct upt_segments *set, size_t i)
{
    return set->v[i].has_play ? upt_seg_text(set, set->v[i].play_at, set->v[i].play_len) : UPT_STR_NULL;
}
