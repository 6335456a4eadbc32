/* The decoder as a filter, for tests in other languages.
 *
 * Reads frames from standard input: one letter, the length (4 bytes, little-endian), that many bytes.
 *   S  the writer's schema from now on: answers {"schema":"good"} or {"schema":"bad","detail":…}
 *   K  the key from now on: no answer
 *   R  a record (bare Avro): answers {"reason":…,"detail":…} or {"reason":"none","batch":…,"events":[…]}
 * An answer is one line. Bytes of strings are shown as JSON strings; a double as its 16 hexadecimal digits.
 * Usage: decode_cli MAX_RECORD_BYTES MAX_BATCH_EVENTS MAX_DEPTH */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/avro/decoder.h"
#include "uptake/assert.h"

struct cli {
    struct upt_decoder_config config;
    struct upt_decoder *dec; /* NULL: no schema, or a bad one */
    struct upt_buf schema, key, frame, out;
};

static struct upt_str
str_of(const struct upt_buf *buf)
{
    return (struct upt_str){.p = buf->p == NULL ? "" : buf->p, .len = (uint32_t)buf->len};
}

static void
put_text(struct upt_buf *out, const char *name, struct upt_str text)
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
put_event(struct upt_buf *out, const struct upt_event *event)
{
    uint64_t bits;
    memcpy(&bits, &event->quantity, sizeof(bits));
    upt_buf_puts(out, "{");
    put_text(out, "event_id", event->event_id);
    put_text(out, "account_id", event->account_id);
    put_text(out, "user_id", event->user_id);
    put_text(out, "feature", event->feature);
    put_text(out, "kind", upt_str_of(upt_kind_names[event->kind]));
    upt_buf_printf(
        out, "\"occurred_at\":%" PRId64 ",\"quantity\":\"%016" PRIx64 "\",\"duration_ms\":", event->occurred_at, bits);
    if (event->has_duration) {
        upt_buf_put_i64(out, event->duration_ms);
    } else {
        upt_buf_puts(out, "null");
    }
    upt_buf_puts(out, ",\"properties\":[");
    struct upt_props_cur cur = upt_props_begin(event->properties);
    struct upt_str name;
    struct upt_str value;
    for (bool first = true; upt_props_next(&cur, &name, &value); first = false) {
        upt_buf_puts(out, first ? "[" : ",[");
        upt_buf_put_json(out, name.p, name.len);
        upt_buf_puts(out, ",");
        upt_buf_put_json(out, value.p, value.len);
        upt_buf_puts(out, "]");
    }
    upt_buf_puts(out, "]}");
}

static void
set_schema(struct cli *cli)
{
    struct upt_error error = {0};
    upt_decoder_destroy(&cli->dec);
    upt_buf_clear(&cli->schema);
    upt_buf_put(&cli->schema, cli->frame.p, cli->frame.len);
    cli->config.schema = str_of(&cli->schema);
    if (upt_decoder_create(&cli->config, &cli->dec, &error) == UPT_OK) {
        upt_buf_puts(&cli->out, "{\"schema\":\"good\"}\n");
    } else {
        upt_buf_puts(&cli->out, "{\"schema\":\"bad\",");
        put_text(&cli->out, "detail", upt_str_of(error.msg));
        cli->out.p[cli->out.len - 1] = '}';
        upt_buf_puts(&cli->out, "\n");
    }
}

/* The record in memory of exactly its length, so that a sanitizer sees a byte too many. */
static void
decode(struct cli *cli)
{
    struct upt_decoded decoded;
    struct upt_event early; /* as it was looked ahead at */
    struct upt_error error = {0};
    char *exact = malloc(cli->frame.len == 0 ? 1 : cli->frame.len);
    if (exact == NULL || cli->dec == NULL) {
        upt_buf_puts(&cli->out, "{\"reason\":\"no schema\"}\n");
        free(exact);
        return;
    }
    if (cli->frame.len > 0) {
        memcpy(exact, cli->frame.p, cli->frame.len);
    }
    struct upt_str value = {.p = exact, .len = (uint32_t)cli->frame.len};
    bool ahead = upt_decoder_look_ahead(cli->dec, str_of(&cli->key), value, &decoded);
    if (ahead) {
        early = decoded.events[0];
    }
    if (upt_decoder_decode(cli->dec, str_of(&cli->key), value, &decoded, &error) != UPT_OK) {
        upt_buf_printf(&cli->out, "{\"reason\":\"error %d\"}\n", (int)error.code);
    } else if (decoded.reason != UPT_REASON_NONE) {
        upt_assert(!ahead);
        upt_buf_printf(&cli->out, "{\"reason\":\"%s\",", upt_reason_names[decoded.reason]);
        put_text(&cli->out, "detail", upt_str_of(decoded.detail));
        cli->out.p[cli->out.len - 1] = '}';
        upt_buf_puts(&cli->out, "\n");
    } else {
        upt_buf_printf(&cli->out, "{\"reason\":\"none\",\"batch\":%s,\"events\":[", decoded.batch ? "true" : "false");
        for (uint32_t i = 0; i < decoded.events_n; i++) {
            upt_buf_puts(&cli->out, i == 0 ? "" : ",");
            put_event(&cli->out, ahead ? &early : &decoded.events[i]);
        }
        upt_buf_puts(&cli->out, "]}\n");
    }
    free(exact);
}

/* The next frame. False: the end. */
static bool
read_frame(struct upt_buf *frame, int *ret_letter)
{
    unsigned char head[5];
    if (fread(head, 1, sizeof(head), stdin) != sizeof(head)) {
        return false;
    }
    uint32_t len = (uint32_t)head[1] | (uint32_t)head[2] << 8 | (uint32_t)head[3] << 16 | (uint32_t)head[4] << 24;
    upt_buf_clear(frame);
    if (fread(upt_buf_reserve(frame, len + 1U), 1, len, stdin) != len) {
        return false;
    }
    frame->len = len;
    *ret_letter = head[0];
    return true;
}

int
main(int argc, char **argv)
{
    struct cli cli = {0};
    int letter = 0;
    if (argc != 4) {
        (void)fprintf(stderr, "usage: decode_cli MAX_RECORD_BYTES MAX_BATCH_EVENTS MAX_DEPTH\n");
        return 64;
    }
    cli.config.max_record_bytes = strtoll(argv[1], NULL, 10);
    cli.config.max_batch_events = strtoll(argv[2], NULL, 10);
    cli.config.max_depth = strtoll(argv[3], NULL, 10);
    while (read_frame(&cli.frame, &letter)) {
        upt_buf_clear(&cli.out);
        if (letter == 'S') {
            set_schema(&cli);
        } else if (letter == 'R') {
            decode(&cli);
        } else {
            upt_buf_clear(&cli.key);
            upt_buf_put(&cli.key, cli.frame.p, cli.frame.len);
        }
        (void)fwrite(cli.out.p, 1, cli.out.len, stdout);
        (void)fflush(stdout);
    }
    upt_decoder_destroy(&cli.dec);
    upt_buf_fini(&cli.schema);
    upt_buf_fini(&cli.key);
    upt_buf_fini(&cli.frame);
    upt_buf_fini(&cli.out);
    return 0;
}
