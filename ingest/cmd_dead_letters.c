/* uptake dead-letters: look at what could not be counted, and send it again once the cause is mended.
 *
 * A replay reads the topic up to the end it had at first, so that letters which die again are not sent in a circle. A
 * record goes back into the partition it came from, whatever partitioner its producer used, and with the timestamp it
 * had: it cannot move the clock, which is past that already. Only what was in_future is sent as of now. Of a partly
 * counted batch only the events left out go back, as a batch of their own; what was encoded is decoded again and
 * compared before it is sent, since with bare Avro the writer's schema may be another than ours. One thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ingest/avro/encoder.h"
#include "ingest/command.h"
#include "ingest/dead_letter.h"
#include "ingest/input.h"
#include "ingest/kafka/client.h"
#include "ingest/topic_read.h"
#include "uptake/terminal.h"

#define QUERY_MS 15000
#define NO_ID INT32_MIN

struct letters {
    const struct upt_config *config;
    const char *reason; /* NULL: all */
    long long limit, seen;
    bool json;
    /* replay */
    bool counting; /* --dry-run: only says what it would do */
    struct upt_topic_writer *writer;
    struct upt_input input;
    struct upt_decoder *decoder, *checker;
    struct upt_buf value;
    int32_t partitions, batch_id;
    unsigned long long put, other_topic, unusable;
    upt_status status;
    struct upt_error err;
};

static struct upt_str
header(const rd_kafka_message_t *msg, int which)
{
    struct upt_str text = UPT_STR_NULL;
    (void)upt_topic_header(msg, upt_dead_headers[which], &text);
    return text;
}

/* A decimal header; false: there is none, or it is none. */
static bool
header_number(const rd_kafka_message_t *msg, int which, long long *ret)
{
    char text[24], *end;
    struct upt_str value = header(msg, which);
    if (value.len < 1 || value.len >= sizeof(text)) {
        return false;
    }
    memcpy(text, value.p, value.len);
    text[value.len] = '\0';
    errno = 0;
    *ret = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0;
}

static bool
wanted(const struct letters *letters, const rd_kafka_message_t *msg)
{
    return letters->reason == NULL || upt_str_eq(header(msg, UPT_DEAD_REASON), upt_str_of(letters->reason));
}

/* ---- list ---- */

static void
print_text_json(struct upt_buf *out, const char *name, struct upt_str text)
{
    upt_buf_printf(out, ",\"%s\":", name);
    if (text.p == NULL) {
        upt_buf_puts(out, "null");
    } else {
        upt_buf_put_json(out, text.p, text.len);
    }
}

static void
print_number_json(struct upt_buf *out, const char *name, const rd_kafka_message_t *msg, int which)
{
    long long number = 0;
    upt_buf_printf(out, ",\"%s\":", name);
    if (header_number(msg, which, &number)) {
        upt_buf_put_i64(out, number);
    } else {
        upt_buf_puts(out, "null");
    }
}

static void
print_letter_json(const struct letters *letters, const rd_kafka_message_t *msg)
{
    struct upt_buf out = {0};
    upt_buf_printf(&out, "%s{\"partition\":%d,\"offset\":%lld", letters->seen > 1 ? ",\n" : "", (int)msg->partition,
                   (long long)msg->offset);
    print_text_json(&out, "reason", header(msg, UPT_DEAD_REASON));
    print_text_json(&out, "detail", header(msg, UPT_DEAD_DETAIL));
    print_text_json(&out, "key", upt_topic_key(msg));
    print_text_json(&out, "input_topic", header(msg, UPT_DEAD_TOPIC));
    print_number_json(&out, "input_partition", msg, UPT_DEAD_PARTITION);
    print_number_json(&out, "input_offset", msg, UPT_DEAD_OFFSET);
    print_number_json(&out, "input_timestamp", msg, UPT_DEAD_TIMESTAMP);
    print_number_json(&out, "schema_id", msg, UPT_DEAD_SCHEMA_ID);
    print_text_json(&out, "events", header(msg, UPT_DEAD_EVENTS));
    upt_buf_printf(&out, ",\"bytes\":%zu}", msg->payload != NULL ? msg->len : 0);
    fwrite(out.p, 1, out.len, stdout);
    upt_buf_fini(&out);
}

/* A column of text; "(null)" for none. */
static void
print_column(struct upt_str text, int width)
{
    struct upt_str shown = text.p != NULL ? text : UPT_STR("(null)");
    int used = upt_print_text(stdout, shown.p, shown.len);
    printf("%*s  ", used < width ? width - used : 0, "");
}

static void
print_letter(const rd_kafka_message_t *msg)
{
    struct upt_str detail = header(msg, UPT_DEAD_DETAIL);
    struct upt_str events = header(msg, UPT_DEAD_EVENTS);
    printf("%9d %10lld  ", (int)msg->partition, (long long)msg->offset);
    print_column(header(msg, UPT_DEAD_REASON), 14);
    print_column(upt_topic_key(msg), 24);
    upt_print_text(stdout, detail.p, detail.len);
    if (events.p != NULL) {
        printf(" (events ");
        upt_print_text(stdout, events.p, events.len);
        printf(" of the batch)");
    }
    printf("\n");
}

static bool
on_list(void *ctx, const rd_kafka_message_t *msg)
{
    struct letters *letters = ctx;
    if (!wanted(letters, msg)) {
        return true;
    }
    letters->seen++;
    if (letters->json) {
        print_letter_json(letters, msg);
    } else {
        print_letter(msg);
    }
    return letters->seen != letters->limit;
}

static int
list(struct letters *letters)
{
    struct upt_error err;
    if (letters->json) {
        printf("[");
    } else {
        printf("%9s %10s  %-14s  %-24s  %s\n", "PARTITION", "OFFSET", "REASON", "KEY", "DETAIL");
    }
    upt_status status = upt_topic_read_sorted(letters->config, letters->config->dead_topic, on_list, letters, &err);
    printf("%s", letters->json ? "]\n" : "");
    return status == UPT_OK ? EX_OK : upt_command_fail(&upt_cmd_dead_letters, &err);
}

/* ---- replay: events left out of a batch ---- */

/* A schema id for our batches, asked for once. A registry that allows one record type for the topic's subject refuses
 * there; then the record's name is the subject. */
static upt_status
register_batch(struct letters *letters)
{
    char subject[300];
    if (letters->input.registry == NULL || letters->batch_id != NO_ID) {
        return UPT_OK;
    }
    snprintf(subject, sizeof(subject), "%s-value", letters->config->input_topic);
    upt_status status = upt_registry_register(letters->input.registry, subject, upt_schema_usage_batch,
                                              &letters->batch_id, &letters->err);
    if (status != UPT_OK && status != UPT_EUNAVAIL && status != UPT_EAUTH) {
        status = upt_registry_register(letters->input.registry, "uptake.v1.UsageBatch", upt_schema_usage_batch,
                                       &letters->batch_id, &letters->err);
    }
    return status;
}

/* The next of the comma-separated indexes; −1: there is none, −2: it is no number. */
static long long
next_index(struct upt_str *text)
{
    long long index = 0;
    uint32_t n = 0;
    if (text->len == 0) {
        return -1;
    }
    while (n < text->len && text->p[n] >= '0' && text->p[n] <= '9' && n < 10) {
        index = index * 10 + (text->p[n++] - '0');
    }
    if (n == 0 || (n < text->len && text->p[n] != ',')) {
        return -2;
    }
    n += n < text->len;
    text->p += n;
    text->len -= n;
    return index;
}

static bool
same_event(const struct upt_event *a, const struct upt_event *b)
{
    struct upt_buf x = {0}, y = {0};
    upt_encode_event(&x, -1, a, NULL, 0);
    upt_encode_event(&y, -1, b, NULL, 0);
    bool same = x.len == y.len && memcmp(x.p, y.p, x.len) == 0;
    upt_buf_fini(&x);
    upt_buf_fini(&y);
    return same;
}

/* Whether the new batch reads as the chosen events of the old one. */
static upt_status
check_batch(struct letters *letters, struct upt_str key, const struct upt_decoded *whole, struct upt_str indexes,
            bool *ret_same)
{
    struct upt_decoded part;
    uint32_t n = 0;
    const struct upt_str value = {.p = letters->value.p, .len = (uint32_t)letters->value.len};
    upt_status status = upt_input_decode(&letters->input, letters->checker, key, value, &part, &letters->err);
    if (status != UPT_OK) {
        return status;
    }
    bool same = part.reason == UPT_REASON_NONE && part.batch;
    for (long long i = next_index(&indexes); same && i >= 0; i = next_index(&indexes)) {
        same = n < part.events_n && same_event(&whole->events[i], &part.events[n]);
        n++;
    }
    *ret_same = same && n == part.events_n;
    return UPT_OK;
}

/* The events left out, encoded into letters->value. *ret_why: why they cannot be; NULL: they are. */
static upt_status
left_out(struct letters *letters, const rd_kafka_message_t *msg, struct upt_str indexes, const char **ret_why)
{
    struct upt_decoded whole;
    struct upt_str rest = indexes;
    size_t count = 0;
    bool same = false;
    upt_status status = register_batch(letters);
    if (status == UPT_OK) {
        status = upt_input_decode(&letters->input, letters->decoder, upt_topic_key(msg), upt_topic_value(msg), &whole,
                                  &letters->err);
    }
    if (status != UPT_OK) {
        return status;
    }
    *ret_why = "it is no batch that can be decoded, or uptake.events does not fit it";
    if (whole.reason != UPT_REASON_NONE || !whole.batch) {
        return UPT_OK;
    }
    for (long long i = next_index(&rest); i != -1; i = next_index(&rest)) {
        if (i < 0 || i >= (long long)whole.events_n) {
            return UPT_OK;
        }
        count++;
    }
    upt_buf_clear(&letters->value);
    upt_encode_batch_begin(&letters->value, letters->input.registry != NULL ? letters->batch_id : -1, count);
    rest = indexes;
    for (long long i = next_index(&rest); i >= 0; i = next_index(&rest)) {
        upt_encode_event(&letters->value, -1, &whole.events[i], NULL, 0);
    }
    upt_encode_batch_end(&letters->value);
    status = check_batch(letters, upt_topic_key(msg), &whole, indexes, &same);
    *ret_why = same ? NULL : "its events cannot be written in the input's schema";
    return status;
}

/* ---- replay ---- */

/* The headers it came with; NULL: none. The caller destroys them. */
static rd_kafka_headers_t *
original_headers(const rd_kafka_message_t *msg)
{
    rd_kafka_headers_t *headers = NULL;
    if (rd_kafka_message_headers(msg, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return NULL;
    }
    headers = rd_kafka_headers_copy(headers);
    for (int i = 0; i < UPT_DEAD_OWN; i++) {
        (void)rd_kafka_header_remove(headers, upt_dead_headers[i]);
    }
    return headers;
}

static void
send_letter(struct letters *letters, const rd_kafka_message_t *msg, struct upt_str value)
{
    long long partition = -1, timestamp = 0;
    if (!header_number(msg, UPT_DEAD_PARTITION, &partition) || partition < 0 || partition >= letters->partitions) {
        partition = -1;
    }
    if (upt_str_eq(header(msg, UPT_DEAD_REASON), upt_str_of(upt_reason_names[UPT_REASON_IN_FUTURE])) ||
        !header_number(msg, UPT_DEAD_TIMESTAMP, &timestamp)) {
        timestamp = 0;
    }
    const struct upt_topic_record record = {.topic = letters->config->input_topic,
                                            .partition = (int32_t)partition,
                                            .key = upt_topic_key(msg),
                                            .value = value,
                                            .timestamp_ms = timestamp,
                                            .headers = original_headers(msg)};
    letters->status = upt_topic_writer_put(letters->writer, &record, &letters->err);
    letters->put += letters->status == UPT_OK;
    if (record.headers != NULL) {
        rd_kafka_headers_destroy(record.headers);
    }
}

static bool
on_replay(void *ctx, const rd_kafka_message_t *msg)
{
    struct letters *letters = ctx;
    struct upt_str value = upt_topic_value(msg);
    struct upt_str indexes = header(msg, UPT_DEAD_EVENTS);
    const char *why = NULL;
    if (!wanted(letters, msg)) {
        return true;
    }
    if (!upt_str_eq(header(msg, UPT_DEAD_TOPIC), upt_str_of(letters->config->input_topic))) {
        letters->other_topic++;
        return true;
    }
    letters->seen++;
    if (msg->payload == NULL && header(msg, UPT_DEAD_VALUE_BYTES).p != NULL) {
        why = "it came without its value, which was too large: the input has it";
    } else if (!letters->counting && indexes.p != NULL) {
        letters->status = left_out(letters, msg, indexes, &why);
        value = (struct upt_str){.p = letters->value.p, .len = (uint32_t)letters->value.len};
    }
    if (letters->status == UPT_OK && why != NULL) {
        fprintf(stderr, "uptake dead-letters: partition %d, offset %lld: not sent: %s\n", (int)msg->partition,
                (long long)msg->offset, why);
        letters->unusable++;
    } else if (letters->status == UPT_OK && !letters->counting) {
        send_letter(letters, msg, value);
    }
    return letters->status == UPT_OK && letters->seen != letters->limit;
}

static upt_status
open_decoders(struct letters *letters, struct upt_error *reterr)
{
    upt_status status = upt_input_open(&letters->input, letters->config, reterr);
    if (status == UPT_OK) {
        status = upt_input_decoder(&letters->input, &letters->decoder, reterr);
    }
    if (status == UPT_OK) {
        status = upt_input_decoder(&letters->input, &letters->checker, reterr);
    }
    return status;
}

static upt_status
replay_all(struct letters *letters, uint64_t *ret_sent, struct upt_error *reterr)
{
    const struct upt_config *config = letters->config;
    upt_status status = UPT_OK;
    if (!letters->counting) {
        status = open_decoders(letters, reterr);
        if (status == UPT_OK) {
            status = upt_topic_writer_create(config, &letters->writer, reterr);
        }
        if (status == UPT_OK) {
            status = upt_client_partitions(upt_topic_writer_client(letters->writer), config->input_topic, QUERY_MS,
                                           &letters->partitions, reterr);
        }
    }
    if (status == UPT_OK) {
        status = upt_topic_read_sorted(config, config->dead_topic, on_replay, letters, reterr);
    }
    if (letters->writer != NULL) {
        /* Also after a failure: what was put before it is sent. */
        struct upt_error late;
        upt_status finished = upt_topic_writer_finish(letters->writer, ret_sent, &late);
        if (status == UPT_OK && letters->status == UPT_OK && finished != UPT_OK) {
            *reterr = late;
            return finished;
        }
    }
    if (status == UPT_OK && letters->status != UPT_OK) {
        *reterr = letters->err;
        return letters->status;
    }
    return status;
}

static int
replay(struct letters *letters)
{
    struct upt_error err;
    uint64_t sent = 0;
    upt_status status = replay_all(letters, &sent, &err);
    if (letters->json) {
        printf("{\"found\":%lld,\"sent\":%llu,\"unusable\":%llu,\"other_topic\":%llu}\n", letters->seen,
               (unsigned long long)sent, letters->unusable, letters->other_topic);
    } else if (letters->counting) {
        printf("%lld dead letters would be sent to %s again\n", letters->seen - (long long)letters->unusable,
               letters->config->input_topic);
    } else {
        printf("%llu dead letters sent to %s again\n", (unsigned long long)sent, letters->config->input_topic);
    }
    if (letters->other_topic > 0 && !letters->json) {
        printf("%llu came from other topics and were left alone\n", letters->other_topic);
    }
    if (status != UPT_OK) {
        return upt_command_fail(&upt_cmd_dead_letters, &err);
    }
    return letters->unusable > 0 ? EX_DATAERR : EX_OK;
}

/* ---- the command ---- */

static bool
known_reason(const char *reason)
{
    for (int i = UPT_REASON_NONE + 1; i < UPT_REASON_COUNT; i++) {
        if (reason == NULL || strcmp(reason, upt_reason_names[i]) == 0) {
            return true;
        }
    }
    fprintf(stderr, "uptake dead-letters: there is no reason %s\n", reason);
    return false;
}

static int
run(int argc, char **argv)
{
    struct upt_option options[] = {{.name = "c", .takes_value = true},
                                   {.name = "reason", .takes_value = true},
                                   {.name = "limit", .takes_value = true},
                                   {.name = "json"},
                                   {.name = "dry-run"},
                                   {.name = "yes"}}; /* was needed once */
    const size_t n = sizeof(options) / sizeof(options[0]);
    const char *what = NULL;
    size_t args = 0;
    struct upt_config *config = NULL;
    struct letters letters = {.batch_id = NO_ID};
    int rc = upt_options_parse(&upt_cmd_dead_letters, argc, argv, options, n, &what, 1, &args);
    if (rc != 0) {
        return rc < 0 ? EX_OK : rc;
    }
    if (args != 1 || (strcmp(what, "list") != 0 && strcmp(what, "replay") != 0)) {
        fprintf(stderr, "uptake dead-letters: list or replay is wanted\n");
        return EX_USAGE;
    }
    letters.reason = upt_option(options, n, "reason");
    letters.json = upt_option(options, n, "json") != NULL;
    letters.counting = upt_option(options, n, "dry-run") != NULL;
    if (!known_reason(letters.reason) ||
        !upt_option_number(&upt_cmd_dead_letters, options, n, "limit", 1, INT64_MAX, &letters.limit)) {
        return EX_USAGE;
    }
    rc = upt_command_config(options, n, true, &config);
    if (rc != 0) {
        return rc;
    }
    letters.config = config;
    rc = strcmp(what, "list") == 0 ? list(&letters) : replay(&letters);
    upt_topic_writer_destroy(&letters.writer);
    upt_decoder_destroy(&letters.decoder);
    upt_decoder_destroy(&letters.checker);
    upt_input_close(&letters.input);
    upt_buf_fini(&letters.value);
    upt_config_destroy(&config);
    return rc;
}

const struct upt_command upt_cmd_dead_letters = {
    .name = "dead-letters",
    .usage = "list|replay -c FILE [--reason R] [--limit N] [--json] [--dry-run]",
    .summary = "Look at records that could not be counted, and send them again.",
    .help =
        "  -c FILE     configuration\n"
        "  --reason R  only letters of this reason, such as unknown_schema\n"
        "  --limit N   the first N letters, by partition and offset in their topic, as all are listed and sent\n"
        "  --json      list: an array; replay: the numbers\n"
        "  --dry-run   replay: says how many there are, and sends nothing\n"
        "\n"
        "A replay sends records into the input topic as they came; of a partly counted batch only the events left\n"
        "out. Letters stay in their topic: one that is sent twice is counted twice, unless its events have ids and\n"
        "the second comes within the dedup window. What is still wrong becomes a dead letter again. Where the topic\n"
        "is CreateTime, a record keeps its timestamp and is judged by it again; only a letter of reason in_future is\n"
        "sent as of now. An in_future event of a batch with another reason is in_future again.\n",
    .run = run,
};
