/* uptake verify: recomputes from the log, and compares with Redis and with what was published.
 *
 * Sound also while `uptake run` goes on, by the order in which things are read:
 *   1. progress records (C): all that was decided up to there is in the output topics from now on
 *   2. churn-alerts and dead letters: what is missing is told up to C, what is too much everywhere
 *   3. the partition table of Redis, then rows, sums and ranks: what an entry vouches for is in what is read after it
 *   4. the state topic again: the places of all wall ticks that a row can stand at
 *   5. the input, partition after partition, to its present end; nothing read before is beyond it
 *   6. feature rows and totals again, for the shares, until they fit or stay as they are
 * What is compared where: verify_rows.c. From where a partition is replayed: verify_replay.c.
 *
 * Memory: everything that Redis holds of accounts, and the state of one partition. Writes nothing anywhere. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "ingest/command.h"
#include "ingest/pipeline.h"
#include "ingest/verify.h"
#include "uptake/assert.h"
#include "uptake/terminal.h"
#include "uptake/time.h"

#define EXIT_DIFFERS 1
#define SHOWN_MAX 20
#define TTY_MS 500
#define LINES_MS 5000
#define TEXT_MAX 1024

/* ---- what is said ---- */

static void
clear_progress(const struct upt_verify *v)
{
    if (v->tty && v->progress_ms != 0) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
}

/* One line to standard output, or one string more in a JSON list. */
static void
say(struct upt_verify *v, const char *head, struct upt_buf *json, const char *fmt, va_list args)
{
    char text[TEXT_MAX];
    int n = vsnprintf(text, sizeof(text), fmt, args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    if (v->json) {
        upt_buf_puts(json, json->len > 0 ? "," : "");
        upt_buf_put_json(json, text, len);
        return;
    }
    clear_progress(v);
    fputs(head, stdout);
    (void)upt_print_text(stdout, text, len);
    fputc('\n', stdout);
    fflush(stdout);
}

void
upt_verify_differs(struct upt_verify *v, const char *fmt, ...)
{
    va_list args;
    if (v->differences++ < SHOWN_MAX) {
        va_start(args, fmt);
        say(v, "DIFFERENCE  ", &v->differences_json, fmt, args);
        va_end(args);
    }
}

void
upt_verify_note(struct upt_verify *v, const char *fmt, ...)
{
    va_list args;
    v->notes++;
    va_start(args, fmt);
    say(v, "NOTE        ", &v->notes_json, fmt, args);
    va_end(args);
}

void
upt_verify_progress(struct upt_verify *v, const char *fmt, ...)
{
    va_list args;
    int64_t now_ms = upt_mono_ms();
    if (now_ms - v->progress_ms < (v->tty ? TTY_MS : LINES_MS)) {
        return;
    }
    clear_progress(v);
    v->progress_ms = now_ms;
    va_start(args, fmt);
    fputs("uptake verify: ", stderr);
    vfprintf(stderr, fmt, args);
    fputs(v->tty ? "" : "\n", stderr);
    fflush(stderr);
    va_end(args);
}

void *
upt_verify_room(void *array, size_t n, size_t *inout_cap, size_t size)
{
    if (n < *inout_cap) {
        return array;
    }
    *inout_cap = *inout_cap == 0 ? 64 : *inout_cap * 2;
    void *grown = realloc(array, *inout_cap * size);
    upt_assert(grown != NULL);
    return grown;
}

static void
print_end(struct upt_verify *v)
{
    unsigned whole = 0, in_part = 0;
    for (int32_t i = 0; i < v->parts_n; i++) {
        whole += v->parts[i].verified && !v->parts[i].from_checkpoint;
        in_part += v->parts[i].verified && v->parts[i].from_checkpoint;
    }
    if (v->json) {
        printf("{\"equal\":%s,\"differences\":%llu,\"partitions\":%d,\"partitions_verified\":%u,"
               "\"partitions_from_checkpoint\":%u,\"records\":%llu,\"accounts\":%llu,"
               "\"rows\":%llu,\"sums\":%llu,\"alerts\":%llu,\"dead_letters\":%llu,\"behind\":%llu,"
               "\"first_differences\":[%.*s],\"notes\":[%.*s]}\n",
               v->differences == 0 ? "true" : "false", v->differences, (int)v->parts_n, whole, in_part, v->records,
               v->accounts, v->rows_compared, v->sums_compared, v->alerts_compared, v->letters_compared, v->behind,
               (int)v->differences_json.len, v->differences_json.len > 0 ? v->differences_json.p : "",
               (int)v->notes_json.len, v->notes_json.len > 0 ? v->notes_json.p : "");
        return;
    }
    clear_progress(v);
    printf("%s: %llu differences; %u of %d partitions", v->differences == 0 ? "equal" : "NOT EQUAL", v->differences,
           whole, (int)v->parts_n);
    if (in_part > 0) {
        printf(" and %u only from the checkpoint on", in_part);
    }
    printf(", %llu records, %llu accounts; compared %llu rows, %llu parts of sums, %llu alert transitions, %llu dead "
           "letters",
           v->records, v->accounts, v->rows_compared, v->sums_compared, v->alerts_compared, v->letters_compared);
    if (v->behind > 0) {
        printf("; Redis is %llu records behind the log", v->behind);
    }
    printf("\n");
}

/* ---- the steps ---- */

static upt_status
open_all(struct upt_verify *v, struct upt_error *reterr)
{
    const struct upt_config *config = v->config;
    struct upt_topic_span *spans = NULL;
    v->publish_from_ms = UPT_NO_CLOCK;
    if (strcmp(config->publish_from, "start") != 0) {
        (void)upt_parse_time(config->publish_from, (uint32_t)strlen(config->publish_from), &v->publish_from_ms);
    }
    upt_status status = upt_scoring_load(config, &v->scoring, reterr);
    if (status == UPT_OK) {
        status = upt_input_open(&v->input, config, reterr);
    }
    if (status == UPT_OK) {
        status = upt_input_decoder(&v->input, &v->decoder, reterr);
    }
    if (status == UPT_OK) {
        status = upt_topic_spans(config, config->input_topic, &spans, &v->parts_n, reterr);
    }
    if (status != UPT_OK) {
        return status;
    }
    v->parts = calloc((size_t)v->parts_n + 1, sizeof(*v->parts));
    upt_assert(v->parts != NULL);
    for (int32_t i = 0; i < v->parts_n; i++) {
        v->parts[i] = (struct upt_verify_part){.id = i,
                                               .low = spans[i].low,
                                               .high = spans[i].high,
                                               .published = UPT_POS_NONE,
                                               .from = UPT_POS_NONE,
                                               .reached = UPT_POS_NONE};
    }
    free(spans);
    return UPT_OK;
}

static upt_status
verify(struct upt_verify *v, struct upt_error *reterr)
{
    upt_status status = open_all(v, reterr);
    if (status == UPT_OK) {
        status = upt_verify_read_progress(v, reterr);
    }
    if (status == UPT_OK) {
        status = upt_verify_read_outputs(v, reterr);
    }
    if (status == UPT_OK) {
        status = upt_verify_read_redis(v, reterr);
    }
    for (int32_t i = 0; i < v->parts_n && status == UPT_OK; i++) {
        status = upt_verify_replay(v, &v->parts[i], reterr);
    }
    if (status == UPT_OK) {
        status = upt_verify_shares(v, reterr);
    }
    if (status == UPT_OK) {
        upt_verify_unmatched(v);
        if (v->schema_later > 0) {
            upt_verify_note(v,
                            "%llu records are dead letters for a schema that the registry has by now: taken as they "
                            "were judged then",
                            v->schema_later);
        }
    }
    return status;
}

static void
close_all(struct upt_verify *v)
{
    for (int32_t i = 0; i < v->parts_n && v->parts != NULL; i++) {
        struct upt_verify_part *part = &v->parts[i];
        for (size_t k = 0; k < part->missing_n; k++) {
            upt_buf_fini(&part->missing[k]);
        }
        free(part->missing);
        free(part->due);
        free(part->places);
    }
    free(v->parts);
    upt_verify_free_redis(v);
    free(v->alerts);
    free(v->letters);
    free(v->found.v);
    free(v->expected.v);
    upt_buf_fini(&v->expected.bytes);
    upt_buf_fini(&v->differences_json);
    upt_buf_fini(&v->notes_json);
    upt_decoder_destroy(&v->decoder);
    upt_input_close(&v->input);
    upt_scoring_destroy(&v->scoring);
}

/* ---- the command ---- */

static int
run(int argc, char **argv)
{
    struct upt_option options[] = {{.name = "c", .takes_value = true}, {.name = "json"}};
    const size_t n = sizeof(options) / sizeof(options[0]);
    struct upt_config *config = NULL;
    struct upt_error err;
    int rc = upt_options_parse(&upt_cmd_verify, argc, argv, options, n, NULL, 0, NULL);
    if (rc != 0) {
        return rc < 0 ? EX_OK : rc;
    }
    rc = upt_command_config(options, n, true, &config);
    if (rc != 0) {
        return rc;
    }
    struct upt_verify v = {.config = config,
                           .json = upt_option(options, n, "json") != NULL,
                           .tty = isatty(STDERR_FILENO) != 0,
                           .progress_ms = upt_mono_ms()};
    if (verify(&v, &err) == UPT_OK) {
        print_end(&v);
        rc = v.differences == 0 ? EX_OK : EXIT_DIFFERS;
    } else {
        clear_progress(&v);
        rc = upt_command_fail(&upt_cmd_verify, &err);
    }
    close_all(&v);
    upt_config_destroy(&config);
    return rc;
}

const struct upt_command upt_cmd_verify = {
    .name = "verify",
    .usage = "-c FILE [--json]",
    .summary = "Recomputes from the log and compares with Redis, alerts and dead letters.",
    .help =
        "  -c FILE  configuration, the one that `uptake run` has\n"
        "  --json   one JSON object\n"
        "\n"
        "Reads the whole input topic and writes nothing; may be run beside `uptake run`. Compares every account row,\n"
        "feature hash, rank, feature row and the totals in Redis with what the log says at the position they name,\n"
        "and each alert transition and dead letter with those that follow from the log: each exactly once.\n"
        "Prints up to 20 differences, one a line, and what could not be verified as notes. A partition whose log\n"
        "cannot be replayed from its start is verified from its checkpoint on, and counted apart.\n"
        "\n"
        "Exit code 0: all that could be verified is equal. 1: something is not. 64 and above (sysexits.h): it\n"
        "could not be done, such as 69, a service is away.\n",
    .run = run,
};
