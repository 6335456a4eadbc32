/* What the topics hold beside the input: progress and places in the state topic, alerts and dead letters.
 *
 * Alerts and letters are kept in sorted arrays of small structs: of an alert's record the fields that are compared one
 * by one, and a hash of the rest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "ingest/avro/encoder.h"
#include "ingest/dead_letter.h"
#include "ingest/verify.h"

/* ---- the state topic, first reading ---- */

static bool
on_state(void *ctx, const rd_kafka_message_t *msg)
{
    struct upt_verify *v = ctx;
    struct upt_str key = upt_topic_key(msg);
    if (msg->partition < 0 || msg->partition >= v->parts_n) {
        return true;
    }
    struct upt_verify_part *part = &v->parts[msg->partition];
    part->state_end = msg->offset + 1;
    if (key.len != 1) {
        return true;
    }
    struct upt_progress progress;
    struct upt_error err;
    if (key.p[0] == 'r' && upt_checkpoint_decode(upt_topic_value(msg), &part->checkpoint, &err) == UPT_OK) {
        part->has_checkpoint = true;
    } else if (key.p[0] == 'c' && upt_progress_decode(upt_topic_value(msg), &progress, &err) == UPT_OK) {
        /* A first record from before any tick, or that nothing was ever before: the cleaner has not yet taken any out,
         * no checkpoint has taken places out of it, and all are in it and in those that follow. */
        part->places_known =
            part->has_progress ? part->places_known : progress.pos.tick == UPT_NO_CLOCK || msg->offset == 0;
        part->has_progress = true;
        part->published = progress.pos;
        part->other_config |= strcmp(progress.config_hash, v->scoring->config_hash) != 0;
        upt_progress_fini(&progress);
    }
    return true;
}

upt_status
upt_verify_read_progress(struct upt_verify *v, struct upt_error *reterr)
{
    upt_verify_progress(v, "reading %s", v->config->state_topic);
    upt_status status = upt_topic_read(v->config, v->config->state_topic, on_state, v, reterr);
    return status == UPT_ENOTFOUND ? UPT_OK : status; /* uptake has never run */
}

/* ---- alerts ---- */

static int64_t
integer(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const char *
text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value != NULL ? value : "";
}

static uint8_t
index_of(const char *const *names, size_t n, const char *name)
{
    uint8_t i = 0;
    while (i < n && strcmp(names[i], name) != 0) {
        i++;
    }
    return i;
}

static void
keep_alert(struct upt_verify *v, const rd_kafka_message_t *msg, const json_t *record)
{
    struct upt_str body = upt_topic_body(msg);
    struct upt_str account = upt_json_text(record, "account");
    v->alerts = upt_verify_room(v->alerts, v->alerts_n, &v->alerts_cap, sizeof(*v->alerts));
    struct upt_verify_alert *alert = &v->alerts[v->alerts_n++];
    *alert = (struct upt_verify_alert){
        .action = index_of(upt_action_names, 6, text(record, "action")),
        .severity = index_of(upt_severity_names, 4, text(record, "severity")),
        .revision = (int32_t)integer(record, "revision"),
        .source_partition = (int32_t)integer(record, "source_partition"),
        .source_offset = integer(record, "source_offset"),
        .source_tick = integer(record, "source_tick"),
        .detected_at = integer(record, "detected_at"),
        .partition = msg->partition,
        .offset = msg->offset,
        .account_hash = upt_hash(account.p, account.len),
        .body_hash = upt_hash(body.p, body.len),
    };
    snprintf(alert->alert_id, sizeof(alert->alert_id), "%s", text(record, "alert_id"));
    snprintf(alert->rule, sizeof(alert->rule), "%s", text(record, "rule"));
    int32_t source = alert->source_partition;
    if (source >= 0 && source < v->parts_n && strcmp(text(record, "config_hash"), v->scoring->config_hash) != 0) {
        v->parts[source].other_config = true;
    }
}

static bool
on_alert(void *ctx, const rd_kafka_message_t *msg)
{
    struct upt_verify *v = ctx;
    struct upt_buf json = {0};
    json_t *record = NULL;
    if (upt_record_json(upt_schema_churn_alert, upt_topic_body(msg), &json, NULL) == UPT_OK) {
        record = json_loadb(json.p, json.len, JSON_ALLOW_NUL, NULL);
    }
    if (record != NULL) {
        keep_alert(v, msg, record);
    } else {
        upt_verify_differs(v, "%s [%d] offset %lld: no alert that can be read", v->config->alerts_topic,
                           (int)msg->partition, (long long)msg->offset);
    }
    json_decref(record);
    upt_buf_fini(&json);
    upt_verify_progress(v, "%s: %zu transitions", v->config->alerts_topic, v->alerts_n);
    return true;
}

static int
by_alert(const void *a, const void *b)
{
    const struct upt_verify_alert *x = a, *y = b;
    int cmp = strcmp(x->alert_id, y->alert_id);
    return cmp != 0 ? cmp : (x->revision > y->revision) - (x->revision < y->revision);
}

/* ---- dead letters ---- */

static bool
header_number(const rd_kafka_message_t *msg, const char *name, int64_t *ret)
{
    char digits[24], *end;
    struct upt_str value;
    if (!upt_topic_header(msg, name, &value) || value.len < 1 || value.len >= sizeof(digits)) {
        return false;
    }
    memcpy(digits, value.p, value.len);
    digits[value.len] = '\0';
    errno = 0;
    *ret = strtoll(digits, &end, 10);
    return *end == '\0' && errno == 0;
}

static bool
on_letter(void *ctx, const rd_kafka_message_t *msg)
{
    struct upt_verify *v = ctx;
    struct upt_str topic = UPT_STR_NULL, reason = UPT_STR_NULL, events = UPT_STR_NULL;
    int64_t partition = -1, offset = -1;
    (void)upt_topic_header(msg, upt_dead_headers[UPT_DEAD_TOPIC], &topic);
    (void)upt_topic_header(msg, upt_dead_headers[UPT_DEAD_REASON], &reason);
    (void)upt_topic_header(msg, upt_dead_headers[UPT_DEAD_EVENTS], &events);
    if (topic.p != NULL && !upt_str_eq(topic, upt_str_of(v->config->input_topic))) {
        return true; /* several inputs may share the topic */
    }
    if (topic.p == NULL || !header_number(msg, "uptake.partition", &partition) || partition < 0 ||
        partition >= v->parts_n || !header_number(msg, "uptake.offset", &offset)) {
        upt_verify_differs(v, "%s [%d] offset %lld: its headers name no record of the input", v->config->dead_topic,
                           (int)msg->partition, (long long)msg->offset);
        return true;
    }
    v->letters = upt_verify_room(v->letters, v->letters_n, &v->letters_cap, sizeof(*v->letters));
    struct upt_verify_letter *letter = &v->letters[v->letters_n++];
    *letter = (struct upt_verify_letter){.source_partition = (int32_t)partition,
                                         .source_offset = offset,
                                         .partition = msg->partition,
                                         .offset = msg->offset,
                                         .events_hash = upt_hash(events.p, events.len)};
    while (letter->reason < UPT_REASON_COUNT && !upt_str_eq(reason, upt_str_of(upt_reason_names[letter->reason]))) {
        letter->reason++;
    }
    upt_verify_progress(v, "%s: %zu letters", v->config->dead_topic, v->letters_n);
    return true;
}

static int
by_source(const void *a, const void *b)
{
    const struct upt_verify_letter *x = a, *y = b;
    if (x->source_partition != y->source_partition) {
        return x->source_partition < y->source_partition ? -1 : 1;
    }
    return (x->source_offset > y->source_offset) - (x->source_offset < y->source_offset);
}

/* ---- both ---- */

/* What the progress record promises may be in a transaction whose end has not reached the topic yet. */
static upt_status
read_settled(struct upt_verify *v, const char *topic, upt_topic_read_fn fn, struct upt_error *reterr)
{
    upt_status status = upt_topic_settle(v->config, topic, reterr);
    if (status == UPT_OK) {
        status = upt_topic_read(v->config, topic, fn, v, reterr);
    }
    return status == UPT_ENOTFOUND ? UPT_OK : status;
}

/* Whether a topic has lost its beginning. */
static upt_status
is_cut(struct upt_verify *v, const char *topic, const char *what, bool *ret, struct upt_error *reterr)
{
    struct upt_topic_span *spans = NULL;
    int32_t n = 0;
    upt_status status = upt_topic_spans(v->config, topic, &spans, &n, reterr);
    for (int32_t i = 0; status == UPT_OK && i < n && !*ret; i++) {
        if (spans[i].low > 0) {
            *ret = true;
            upt_verify_note(v, "%s [%d] begins at offset %lld (retention): whether %s are missing is not verified",
                            topic, (int)i, (long long)spans[i].low, what);
        }
    }
    free(spans);
    return status == UPT_ENOTFOUND ? UPT_OK : status;
}

static void
find_repeated(struct upt_verify *v)
{
    if (v->alerts_n > 1) {
        qsort(v->alerts, v->alerts_n, sizeof(*v->alerts), by_alert);
    }
    for (size_t i = 1; i < v->alerts_n; i++) {
        struct upt_verify_alert *alert = &v->alerts[i];
        alert->repeated = by_alert(alert, alert - 1) == 0;
        if (alert->repeated) {
            upt_verify_differs(v, "alert %s revision %d (%s %s) is in %s twice: [%d] offset %lld and [%d] offset %lld",
                               alert->alert_id, (int)alert->revision, alert->rule,
                               alert->action < 6 ? upt_action_names[alert->action] : "?", v->config->alerts_topic,
                               (int)alert[-1].partition, (long long)alert[-1].offset, (int)alert->partition,
                               (long long)alert->offset);
        }
    }
    if (v->letters_n > 1) {
        qsort(v->letters, v->letters_n, sizeof(*v->letters), by_source);
    }
    for (size_t i = 1; i < v->letters_n; i++) {
        struct upt_verify_letter *letter = &v->letters[i];
        letter->repeated = by_source(letter, letter - 1) == 0;
        if (letter->repeated) {
            upt_verify_differs(v,
                               "the dead letter of %s [%d] offset %lld is in %s twice: [%d] offset %lld and [%d] "
                               "offset %lld",
                               v->config->input_topic, (int)letter->source_partition, (long long)letter->source_offset,
                               v->config->dead_topic, (int)letter[-1].partition, (long long)letter[-1].offset,
                               (int)letter->partition, (long long)letter->offset);
        }
    }
}

upt_status
upt_verify_read_outputs(struct upt_verify *v, struct upt_error *reterr)
{
    const struct upt_config *config = v->config;
    upt_status status = is_cut(v, config->alerts_topic, "alerts", &v->alerts_cut, reterr);
    if (status == UPT_OK) {
        status = read_settled(v, config->alerts_topic, on_alert, reterr);
    }
    if (status == UPT_OK) {
        status = is_cut(v, config->dead_topic, "dead letters", &v->letters_cut, reterr);
    }
    if (status == UPT_OK) {
        status = read_settled(v, config->dead_topic, on_letter, reterr);
    }
    find_repeated(v);
    return status;
}

struct upt_verify_alert *
upt_verify_find_alert(struct upt_verify *v, const char *alert_id, int32_t revision)
{
    struct upt_verify_alert like = {.revision = revision};
    snprintf(like.alert_id, sizeof(like.alert_id), "%s", alert_id);
    struct upt_verify_alert *got =
        v->alerts_n == 0 ? NULL : bsearch(&like, v->alerts, v->alerts_n, sizeof(*v->alerts), by_alert);
    while (got != NULL && got->repeated) {
        got--;
    }
    return got;
}

struct upt_verify_letter *
upt_verify_find_letter(struct upt_verify *v, int32_t partition, int64_t offset)
{
    const struct upt_verify_letter like = {.source_partition = partition, .source_offset = offset};
    struct upt_verify_letter *got =
        v->letters_n == 0 ? NULL : bsearch(&like, v->letters, v->letters_n, sizeof(*v->letters), by_source);
    while (got != NULL && got->repeated) {
        got--;
    }
    return got;
}

/* Whether the replay of a partition would have made what was decided there. */
static bool
covered(const struct upt_verify *v, int32_t partition, struct upt_pos pos)
{
    if (partition < 0 || partition >= v->parts_n) {
        return true; /* of no partition: made by nobody */
    }
    const struct upt_verify_part *part = &v->parts[partition];
    return part->verified && (!part->from_checkpoint || upt_pos_cmp(pos, part->from) > 0);
}

void
upt_verify_unmatched(struct upt_verify *v)
{
    for (size_t i = 0; i < v->alerts_n; i++) {
        const struct upt_verify_alert *alert = &v->alerts[i];
        int32_t source = alert->source_partition;
        const struct upt_pos pos = {.offset = alert->source_offset, .tick = alert->source_tick};
        bool scored = source < 0 || source >= v->parts_n || v->parts[source].scores;
        if (!alert->repeated && !alert->matched && scored && covered(v, source, pos)) {
            upt_verify_differs(v, "alert %s revision %d (%s %s) in %s [%d] offset %lld does not follow from the log",
                               alert->alert_id, (int)alert->revision, alert->rule,
                               alert->action < 6 ? upt_action_names[alert->action] : "?", v->config->alerts_topic,
                               (int)alert->partition, (long long)alert->offset);
        }
    }
    for (size_t i = 0; i < v->letters_n; i++) {
        const struct upt_verify_letter *letter = &v->letters[i];
        const struct upt_pos pos = {.offset = letter->source_offset, .tick = INT64_MAX};
        bool after = letter->source_offset > v->parts[letter->source_partition].from.offset;
        if (!letter->repeated && !letter->matched && after && covered(v, letter->source_partition, pos)) {
            upt_verify_differs(v,
                               "the dead letter of %s [%d] offset %lld (%s) in %s [%d] offset %lld does not follow "
                               "from the log",
                               v->config->input_topic, (int)letter->source_partition, (long long)letter->source_offset,
                               letter->reason < UPT_REASON_COUNT ? upt_reason_names[letter->reason] : "?",
                               v->config->dead_topic, (int)letter->partition, (long long)letter->offset);
        }
    }
}
