/* Records and decisions: decode, judge, count, dead-letter; alerts and health records to the publisher.
 *
 * A record is decoded before the clock moves, since its schema may not be known yet: then nothing of it has happened,
 * and it is tried again (lane_intake.c). Decisions at or before `published` were committed by a former run and are
 * left out. The ring to the publisher can be full while the broker is away: then the lane waits here, until there is
 * room or the publisher says that it has failed; heartbeats go on in librdkafka's own thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/avro/encoder.h"
#include "ingest/dead_letter.h"
#include "ingest/lane_internal.h"
#include "uptake/assert.h"
#include "uptake/crash.h"
#include "uptake/log.h"
#include "uptake/time.h"

#define TOLD_AGAIN_MS (30 * UPT_SECOND_MS)

bool
upt_part_replayed(const struct upt_part *part)
{
    return upt_pos_cmp(upt_state_pos(part->st), part->published) >= 0;
}

/* ---- decisions ---- */

/* Whether a decision at pos leaves the process. */
static bool
leaves(struct upt_part *part, struct upt_pos pos)
{
    struct upt_lane *lane = part->lane;
    if (upt_pos_cmp(pos, part->published) <= 0) {
        upt_metric_add(lane->metrics, UPT_M_OUTPUTS_DROPPED, 1);
        return false;
    }
    int64_t from = lane->shared->publish_from_ms;
    return !lane->discarding && (from == UPT_NO_CLOCK || upt_state_clock(part->st) >= from);
}

static void
push(struct upt_part *part, const struct upt_record *record)
{
    struct upt_lane *lane = part->lane;
    while (!upt_publisher_push(lane->outputs, lane->seq, record)) {
        if (upt_publisher_failure(lane->outputs) != UPT_FAILURE_NONE) {
            lane->discarding = true;
            return;
        }
        upt_publisher_kick(lane->outputs);
        upt_sleep_ms(1);
    }
    part->outputs_open = true;
}

static void
json_text(struct upt_buf *out, const char *name, struct upt_str text)
{
    upt_buf_printf(out, "\"%s\":", name);
    if (text.p == NULL) {
        upt_buf_puts(out, "null");
    } else {
        upt_buf_put_json(out, text.p, text.len);
    }
    upt_buf_puts(out, ",");
}

static void
json_number(struct upt_buf *out, const char *name, double v)
{
    if (v == v) {
        upt_buf_printf(out, "\"%s\":%.6g,", name, v);
    } else {
        upt_buf_printf(out, "\"%s\":null,", name);
    }
}

/* What the live page shows of an alert. */
static void
post_alert(struct upt_lane *lane, const struct upt_alert *alert)
{
    struct upt_buf *out = &lane->scratch;
    upt_buf_clear(out);
    upt_buf_puts(out, "{");
    json_text(out, "alert_id", upt_str_of(alert->alert_id));
    json_text(out, "action", upt_str_of(upt_action_names[alert->action]));
    json_text(out, "severity", upt_str_of(upt_severity_names[alert->severity]));
    json_text(out, "rule", alert->rule);
    json_text(out, "account", alert->account);
    json_text(out, "subject", alert->subject);
    json_text(out, "unit", alert->unit);
    json_text(out, "suggested_play", alert->suggested_play);
    json_text(out, "counterfactual", alert->counterfactual);
    json_number(out, "health", alert->health);
    json_number(out, "churn_probability", alert->churn_probability);
    json_number(out, "observed", alert->observed);
    json_number(out, "expected", alert->expected);
    upt_buf_printf(out, "\"revision\":%d,\"opened_at\":%lld,\"changed_at\":%lld,\"factors\":[", alert->revision,
                   (long long)alert->opened_at, (long long)alert->changed_at);
    for (int i = 0; i < alert->factors_n; i++) {
        upt_buf_puts(out, i == 0 ? "{" : ",{");
        json_text(out, "name", alert->factors[i].name);
        json_text(out, "text", alert->factors[i].text);
        upt_buf_printf(out, "\"log_odds\":%.4g}", alert->factors[i].log_odds);
    }
    upt_buf_puts(out, "]}");
    upt_board_alert(lane->shared->board, (struct upt_str){.p = out->p, .len = (uint32_t)out->len});
}

static void
on_alert(void *ctx, const struct upt_alert *alert)
{
    struct upt_lane *lane = ctx;
    struct upt_part *part = lane->current;
    if (!leaves(part, alert->pos)) {
        return;
    }
    upt_metric_add(lane->metrics, UPT_M_ALERTS, 1);
    upt_buf_clear(&lane->value);
    upt_encode_alert(&lane->value, lane->shared->alert_schema_id, alert, upt_wall_ms());
    push(part,
         &(struct upt_record){
             .topic = UPT_TOPIC_ALERTS, .partition = -1, .key = alert->account, .value = upt_buf_str(&lane->value)});
    post_alert(lane, alert);
}

static void
on_health(void *ctx, const struct upt_health *health)
{
    struct upt_lane *lane = ctx;
    struct upt_part *part = lane->current;
    if (!leaves(part, health->pos)) {
        return;
    }
    upt_metric_add(lane->metrics, UPT_M_HEALTH, 1);
    upt_buf_clear(&lane->value);
    upt_encode_health(&lane->value, lane->shared->health_schema_id, health);
    push(part,
         &(struct upt_record){
             .topic = UPT_TOPIC_HEALTH, .partition = -1, .key = health->account, .value = upt_buf_str(&lane->value)});
}

static void
on_health_null(void *ctx, struct upt_str account)
{
    struct upt_lane *lane = ctx;
    struct upt_part *part = lane->current;
    if (leaves(part, upt_state_pos(part->st))) {
        push(part,
             &(struct upt_record){.topic = UPT_TOPIC_HEALTH, .partition = -1, .key = account, .value = UPT_STR_NULL});
    }
}

void
upt_lane_init_sink(struct upt_lane *lane)
{
    lane->sink = (struct upt_sink){.ctx = lane, .alert = on_alert, .health = on_health, .health_null = on_health_null};
}

/* ---- dead letters ---- */

static bool
is_dead_header(struct upt_str name)
{
    for (size_t i = 0; i < UPT_DEAD_OWN; i++) {
        if (upt_str_eq(name, upt_str_of(upt_dead_headers[i]))) {
            return true;
        }
    }
    return false;
}

static size_t
original_headers(rd_kafka_headers_t *headers, struct upt_header *ret)
{
    size_t n = 0;
    const char *name;
    const void *value;
    size_t len;
    for (size_t i = 0; headers != NULL && rd_kafka_header_get_all(headers, i, &name, &value, &len) == 0; i++) {
        struct upt_str text = upt_str_of(name);
        if (!is_dead_header(text)) {
            ret[n++] = (struct upt_header){.name = text, .value = {.p = value, .len = (uint32_t)len}};
        }
    }
    return n;
}

/* A letter that cannot be published as it is goes without value, long key and the headers that came with it, and says
 * where in the input they are. own: its own headers. */
static void
shorten(struct upt_part *part, const struct upt_input *rec, struct upt_record *letter, struct upt_header *own)
{
    struct upt_lane *lane = part->lane;
    struct upt_buf *detail = &lane->value, *bytes = &lane->scratch;
    upt_buf_clear(detail);
    upt_buf_clear(bytes);
    upt_buf_printf(detail, "left out, too large for a dead letter: see %s [%d] offset %lld; ",
                   lane->config->input_topic, part->id, (long long)rec->offset);
    upt_buf_put(detail, own[UPT_DEAD_DETAIL].value.p, own[UPT_DEAD_DETAIL].value.len);
    upt_buf_put_u64(bytes, rec->value.len);
    own[UPT_DEAD_DETAIL].value = upt_buf_str(detail);
    letter->headers_n -= (size_t)(own - letter->headers);
    letter->headers = own;
    own[letter->headers_n++] =
        (struct upt_header){.name = upt_str_of(upt_dead_headers[UPT_DEAD_VALUE_BYTES]), .value = upt_buf_str(bytes)};
    letter->key = rec->key.len <= UPT_KEY_MAX ? rec->key : UPT_STR_NULL;
    letter->value = UPT_STR_NULL;
    upt_log(UPT_LOG_WARNING, "lane", "%s [%d] offset %lld is too large for a dead letter: it goes without its %u bytes",
            lane->config->input_topic, part->id, (long long)rec->offset, rec->value.len);
}

static void
dead_letter(struct upt_part *part, const struct upt_input *rec, upt_reason reason, const char *detail,
            const struct upt_decoded *decoded, struct upt_str events)
{
    struct upt_lane *lane = part->lane;
    upt_metric_add(lane->metrics, upt_metric_dead(reason), 1);
    if (!leaves(part, upt_state_pos(part->st))) {
        return;
    }
    rd_kafka_headers_t *original = NULL; /* stays the message's */
    if (rd_kafka_message_headers(rec->msg, &original) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        original = NULL;
    }
    size_t originals = original != NULL ? rd_kafka_header_cnt(original) : 0;
    struct upt_header *headers = calloc(originals + UPT_DEAD_OWN + 1, sizeof(*headers)); /* one if shortened */
    upt_assert(headers != NULL);
    size_t n = original_headers(original, headers);
    struct upt_header *own = headers + n;
    char numbers[4][24];
    snprintf(numbers[0], sizeof(numbers[0]), "%d", part->id);
    snprintf(numbers[1], sizeof(numbers[1]), "%lld", (long long)rec->offset);
    snprintf(numbers[2], sizeof(numbers[2]), "%lld", (long long)rec->ts);
    snprintf(numbers[3], sizeof(numbers[3]), "%u", decoded != NULL ? (uint32_t)decoded->schema_id : 0);
    const struct upt_str values[UPT_DEAD_OWN] = {upt_str_of(upt_reason_names[reason]),
                                                 upt_str_of(detail),
                                                 upt_str_of(lane->config->input_topic),
                                                 upt_str_of(numbers[0]),
                                                 upt_str_of(numbers[1]),
                                                 upt_str_of(numbers[2]),
                                                 decoded != NULL && decoded->has_schema_id ? upt_str_of(numbers[3])
                                                                                           : UPT_STR_NULL,
                                                 events};
    for (size_t i = 0; i < UPT_DEAD_OWN; i++) {
        if (values[i].p != NULL) {
            headers[n++] = (struct upt_header){.name = upt_str_of(upt_dead_headers[i]), .value = values[i]};
        }
    }
    struct upt_record letter = {.topic = UPT_TOPIC_DEAD,
                                .partition = -1,
                                .key = rec->key,
                                .value = rec->value,
                                .headers = headers,
                                .headers_n = n};
    if (!upt_publisher_takes(lane->outputs, &letter)) {
        shorten(part, rec, &letter, own);
    }
    push(part, &letter);
    free(headers);
}

/* ---- one record ---- */

static void
explain_reason(char *buf, size_t cap, upt_reason reason, const struct upt_event *ev, int64_t ts, int64_t clock)
{
    switch (reason) {
    case UPT_REASON_BAD_FEATURE:
        snprintf(buf, cap, "a USAGE feature has 1 to %d bytes and does not begin with _; this one has %u",
                 UPT_FEATURE_MAX, ev->feature.len);
        break;
    case UPT_REASON_BAD_QUANTITY:
        snprintf(buf, cap, "quantity %g of a %s is out of range", ev->quantity, upt_kind_names[ev->kind]);
        break;
    case UPT_REASON_TOO_LATE:
        snprintf(buf, cap, "occurred_at %lld is 30 days or more behind the clock %lld", (long long)ev->occurred_at,
                 (long long)clock);
        break;
    default:
        snprintf(buf, cap, "occurred_at %lld is too far ahead of the record's timestamp %lld",
                 (long long)ev->occurred_at, (long long)ts);
        break;
    }
}

/* Looks at the next n events of one account as lane_intake.c does at those of a batch of records. */
static void
hint_at(struct upt_part *part, const struct upt_event *events, uint32_t n, uint64_t hash,
        struct upt_hint ret[UPT_INTAKE_RECORDS])
{
    struct upt_hint account; /* anew: a tick may have removed the one that was found for the record */
    upt_state_prefetch_account(part->st, hash, &account);
    for (uint32_t i = 0; i < n; i++) {
        ret[i] = account;
        upt_state_prefetch_parts(part->st, &ret[i], &events[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        upt_state_prefetch_event(&ret[i], &events[i]);
    }
}

static void
count_events(struct upt_part *part, const struct upt_input *rec, const struct upt_decoded *decoded,
             const struct upt_ahead *ahead)
{
    struct upt_hint hints[UPT_INTAKE_RECORDS]; /* filled unless ahead has the hint */
    struct upt_lane *lane = part->lane;
    upt_reason first = UPT_REASON_NONE;
    char detail[256];
    upt_buf_clear(&lane->key); /* the indexes left out */
    for (uint32_t i = 0; i < decoded->events_n; i++) {
        const struct upt_event *ev = &decoded->events[i];
        uint32_t at = i % UPT_INTAKE_RECORDS, left = decoded->events_n - i;
        if (!ahead->ready && at == 0) {
            hint_at(part, ev, left < UPT_INTAKE_RECORDS ? left : UPT_INTAKE_RECORDS, ahead->hint.key, hints);
        }
        upt_reason reason = upt_state_judge(part->st, ev, rec->ts);
        if (reason == UPT_REASON_NONE) {
            bool counted = upt_state_apply_hinted(part->st, rec->key, ev, ahead->ready ? &ahead->hint : &hints[at]);
            upt_metric_add(lane->metrics, counted ? UPT_M_EVENTS : UPT_M_DUPLICATES, 1);
            continue;
        }
        if (first == UPT_REASON_NONE) {
            first = reason;
            explain_reason(detail, sizeof(detail), reason, ev, rec->ts, upt_state_clock(part->st));
        }
        upt_buf_put(&lane->key, lane->key.len > 0 ? "," : "", lane->key.len > 0 ? 1 : 0);
        upt_buf_put_u64(&lane->key, i);
    }
    if (first != UPT_REASON_NONE) {
        dead_letter(part, rec, first, detail, decoded, decoded->batch ? upt_buf_str(&lane->key) : UPT_STR_NULL);
    }
}

static bool
key_is_good(struct upt_str key)
{
    return key.p != NULL && key.len >= 1 && key.len <= UPT_KEY_MAX && upt_utf8_valid(key.p, key.len);
}

void
upt_part_look_ahead(struct upt_part *part, const struct upt_input *rec, struct upt_ahead *ret)
{
    struct upt_decoded decoded;
    ret->ready = key_is_good(rec->key) && rec->value.p != NULL &&
                 upt_decoder_look_ahead(part->lane->decoder, rec->key, rec->value, &decoded);
    if (ret->ready) {
        ret->event = decoded.events[0];
        ret->has_schema_id = decoded.has_schema_id;
        ret->schema_id = decoded.schema_id;
    }
}

/* False: the schema is not known yet. */
static bool
decode(struct upt_part *part, const struct upt_input *rec, struct upt_decoded *ret)
{
    struct upt_lane *lane = part->lane;
    struct upt_error err;
    if (upt_decoder_decode(lane->decoder, rec->key, rec->value, ret, &err) == UPT_OK) {
        return true;
    }
    /* Each partition by itself: one that waits must not keep the others' reasons from the log. */
    int64_t now_ms = upt_mono_ms();
    if (err.code != UPT_EAGAIN &&
        (part->told_ms == 0 || part->told_offset != rec->offset || now_ms - part->told_ms >= TOLD_AGAIN_MS)) {
        part->told_ms = now_ms;
        part->told_offset = rec->offset;
        upt_log(UPT_LOG_WARNING, "lane", "%s [%d] waits at offset %lld: %s", lane->config->input_topic, part->id,
                (long long)rec->offset, err.msg);
    }
    return false;
}

bool
upt_part_apply(struct upt_part *part, const struct upt_input *rec, const struct upt_ahead *ahead)
{
    struct upt_lane *lane = part->lane;
    struct upt_decoded decoded; /* filled if the key is good and there is a value */
    bool good_key = ahead->ready || key_is_good(rec->key);
    lane->current = part;
    if (ahead->ready) {
        decoded.reason = UPT_REASON_NONE;
        decoded.batch = false;
        decoded.has_schema_id = ahead->has_schema_id;
        decoded.schema_id = ahead->schema_id;
        decoded.events = &ahead->event;
        decoded.events_n = 1;
    } else if (good_key && rec->value.p != NULL && !decode(part, rec, &decoded)) {
        return false;
    }
    upt_part_run_pending_tick(part, rec->offset);
    upt_part_run_places(part);
    upt_state_begin(part->st, rec->offset, rec->ts);
    part->next_offset = rec->offset + 1;
    part->rate_records++;
    upt_metric_add(lane->metrics, UPT_M_RECORDS, 1);
    if (!good_key) {
        dead_letter(part, rec, UPT_REASON_BAD_KEY,
                    rec->key.p == NULL ? "the record has no key" : "a key has 1 to 256 bytes of UTF-8", NULL,
                    UPT_STR_NULL);
    } else if (rec->value.p == NULL) {
        upt_state_forget(part->st, rec->key);
    } else if (decoded.reason != UPT_REASON_NONE) {
        dead_letter(part, rec, decoded.reason, decoded.detail, &decoded, UPT_STR_NULL);
    } else {
        count_events(part, rec, &decoded, ahead);
    }
    return true;
}
