/* uptake generate: made-up, labelled telemetry onto the input topic. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "ingest/avro/encoder.h"
#include "ingest/command.h"
#include "ingest/feed.h"
#include "ingest/input.h"
#include "ingest/kafka/topics.h"
#include "uptake/time.h"

struct wanted {
    long long accounts, users, features, days, events, rate, seed, batch, churn_percent;
    int64_t now_ms;
    const char *labels;
};

static bool
read_options(const struct upt_option *options, size_t n, struct wanted *ret)
{
    const struct upt_command *command = &upt_cmd_generate;
    *ret = (struct wanted){.accounts = 300, .features = 12, .days = 90, .seed = 1, .batch = 1, .churn_percent = 20};
    ret->now_ms = upt_wall_ms();
    ret->labels = upt_option(options, n, "labels");
    const char *now = upt_option(options, n, "now");
    const char *share = upt_option(options, n, "churn-share");
    if (now != NULL && !upt_parse_time(now, (uint32_t)strlen(now), &ret->now_ms)) {
        fprintf(stderr, "uptake generate: --now %s: a time such as 2026-01-31T00:00:00Z is wanted\n", now);
        return false;
    }
    if (share != NULL) {
        char *end = NULL;
        double v = strtod(share, &end);
        if (end == share || *end != '\0' || !(v >= 0.0 && v <= 1.0)) {
            fprintf(stderr, "uptake generate: --churn-share %s: a share from 0 to 1 is wanted\n", share);
            return false;
        }
        ret->churn_percent = (long long)(v * 100 + 0.5);
    }
    return upt_option_number(command, options, n, "accounts", 1, 10000000, &ret->accounts) &&
           upt_option_number(command, options, n, "users", 0, 5000, &ret->users) &&
           upt_option_number(command, options, n, "features", 1, 1000, &ret->features) &&
           upt_option_number(command, options, n, "days", 1, 3650, &ret->days) &&
           upt_option_number(command, options, n, "events", 0, 100000000000, &ret->events) &&
           upt_option_number(command, options, n, "rate", 0, 100000000, &ret->rate) &&
           upt_option_number(command, options, n, "seed", 0, INT64_MAX, &ret->seed) &&
           upt_option_number(command, options, n, "batch", 1, 1000, &ret->batch);
}

static int
write_labels(const struct wanted *wanted, const struct upt_generator *gen)
{
    FILE *file = fopen(wanted->labels, "we");
    if (file == NULL) {
        fprintf(stderr, "uptake generate: %s: %s\n", wanted->labels, strerror(errno));
        return EX_CANTCREAT;
    }
    fprintf(file, "account,churned,day,how,cadence,users\n");
    for (long long i = 0; i < wanted->accounts; i++) {
        struct upt_label label;
        char day[16] = "";
        upt_generator_label(gen, i, &label);
        if (label.kind != UPT_STAYS) {
            upt_format_day(label.day, day);
        }
        bool churned = label.kind != UPT_STAYS && label.kind != UPT_PAUSES;
        fprintf(file, "%s,%d,%s,%s,%s,%lld\n", label.account, churned, day, upt_churn_names[label.kind], label.cadence,
                (long long)label.users);
    }
    if (fclose(file) != 0) {
        fprintf(stderr, "uptake generate: %s: %s\n", wanted->labels, strerror(errno));
        return EX_IOERR;
    }
    return EX_OK;
}

/* Whether records as they will be written can be read as bare Avro in the configured schema. */
static int
check_framing(const struct upt_config *config, bool batch)
{
    struct upt_input input = {0};
    struct upt_decoder *decoder = NULL;
    struct upt_decoded decoded;
    struct upt_buf value = {0};
    struct upt_error err;
    const struct upt_str account = UPT_STR("account");
    const struct upt_event event = {
        .occurred_at = 1, .account_id = account, .kind = UPT_KIND_USAGE, .feature = UPT_STR("feature"), .quantity = 1};
    int rc = EX_OK;
    if (batch) {
        upt_encode_batch_begin(&value, -1, 1);
    }
    upt_encode_event(&value, -1, &event, NULL, 0);
    if (batch) {
        upt_encode_batch_end(&value);
    }
    upt_status status = upt_input_open(&input, config, &err);
    if (status == UPT_OK) {
        status = upt_input_decoder(&input, &decoder, &err);
    }
    if (status == UPT_OK) {
        status = upt_input_decode(&input, decoder, account, upt_buf_str(&value), &decoded, &err);
    }
    if (status != UPT_OK) {
        rc = upt_command_fail(&upt_cmd_generate, &err);
    } else if (decoded.reason != UPT_REASON_NONE || decoded.batch != batch || decoded.events_n != 1 ||
               decoded.events[0].occurred_at != 1) {
        fprintf(stderr,
                "uptake generate: with framing none records are read by input.schema_file, and %s is not "
                "schemas/uptake.v1.%s.avsc: set it to that%s\n",
                config->input_schema_file, batch ? "UsageBatch" : "UsageEvent", batch ? ", or leave --batch out" : "");
        rc = EX_USAGE;
    }
    upt_decoder_destroy(&decoder);
    upt_input_close(&input);
    upt_buf_fini(&value);
    return rc;
}

/* What would only be seen when all has been sent. */
static int
check_first(const struct upt_config *config, const struct wanted *wanted)
{
    struct upt_buf notes = {0};
    struct upt_error err;
    int rc = strcmp(config->input_framing, "none") == 0 ? check_framing(config, wanted->batch > 1) : EX_OK;
    if (rc != EX_OK) {
        return rc;
    }
    int64_t age_ms = upt_wall_ms() - wanted->now_ms + wanted->days * UPT_DAY_MS;
    if (upt_topics_backfill(config, age_ms, &notes, &err) != UPT_OK) {
        rc = upt_command_fail(&upt_cmd_generate, &err);
    } else if (notes.len > 0) {
        fprintf(stderr, "uptake generate: warning: %.*s", (int)notes.len, notes.p);
    }
    upt_buf_fini(&notes);
    return rc;
}

static void
show_progress(const struct upt_generator *gen, const struct upt_feed *feed, int64_t begun, bool end)
{
    double seconds = (double)(upt_mono_ms() - begun) / 1000.0;
    double share = upt_generator_progress(gen);
    fprintf(stderr, "\r%5.1f %%  %llu events  %.0f/s  %.0f s left   %s", share * 100, (unsigned long long)feed->events,
            seconds > 0 ? (double)feed->events / seconds : 0.0, share > 0 ? seconds / share - seconds : 0.0,
            end ? "\n" : "");
}

static upt_status
produce_all(const struct wanted *wanted, struct upt_generator *gen, struct upt_feed *feed, struct upt_error *reterr)
{
    struct upt_generated generated;
    int64_t begun = upt_mono_ms(), shown = begun;
    bool tty = isatty(STDERR_FILENO) != 0;
    upt_status status = UPT_OK;
    while (status == UPT_OK && upt_generator_next(gen, &generated)) {
        status = upt_feed_put(feed, &generated, reterr);
        if (feed->events % 256 != 0) {
            continue;
        }
        while (wanted->rate > 0 &&
               (double)feed->events > (double)wanted->rate * (double)(upt_mono_ms() - begun) / 1000.0) {
            upt_sleep_ms(5);
        }
        if (tty && upt_mono_ms() - shown >= 500) {
            shown = upt_mono_ms();
            show_progress(gen, feed, begun, false);
        }
    }
    if (status == UPT_OK) {
        status = upt_feed_flush(feed, reterr);
    }
    if (tty) {
        show_progress(gen, feed, begun, true);
    }
    return status;
}

static int
generate(const struct upt_config *config, const struct wanted *wanted)
{
    const struct upt_generator_config to = {.accounts = wanted->accounts,
                                            .users = wanted->users,
                                            .features = wanted->features,
                                            .days = wanted->days,
                                            .events = wanted->events,
                                            .churn_share = (double)wanted->churn_percent / 100.0,
                                            .seed = (uint64_t)wanted->seed,
                                            .now_ms = wanted->now_ms};
    struct upt_generator *gen = NULL;
    struct upt_feed feed = {0};
    struct upt_error err;
    int rc = check_first(config, wanted);
    if (rc != EX_OK) {
        return rc;
    }
    upt_status status = upt_generator_create(&to, &gen, &err);
    if (status == UPT_OK && wanted->labels != NULL) {
        rc = write_labels(wanted, gen);
    }
    if (status == UPT_OK && rc == EX_OK) {
        status = upt_feed_open(&feed, config, (int)wanted->batch, &err);
    }
    if (status == UPT_OK && rc == EX_OK) {
        status = produce_all(wanted, gen, &feed, &err);
    }
    if (status != UPT_OK) {
        rc = upt_command_fail(&upt_cmd_generate, &err);
    } else if (rc == EX_OK) {
        printf("%llu events of %lld accounts in %llu records on %s\n", (unsigned long long)feed.events,
               wanted->accounts, (unsigned long long)feed.records, config->input_topic);
    }
    upt_feed_close(&feed);
    upt_generator_destroy(&gen);
    return rc;
}

static int
run(int argc, char **argv)
{
    static const char *const with_value[] = {"c",    "accounts",    "users", "features", "rate", "events",
                                             "days", "churn-share", "seed",  "batch",    "now",  "labels"};
    enum { N = sizeof(with_value) / sizeof(with_value[0]) };
    struct upt_option options[N];
    for (size_t i = 0; i < N; i++) {
        options[i] = (struct upt_option){.name = with_value[i], .takes_value = true};
    }
    int rc = upt_options_parse(&upt_cmd_generate, argc, argv, options, N, NULL, 0, NULL);
    struct wanted wanted;
    struct upt_config *config = NULL;
    if (rc != 0) {
        return rc < 0 ? EX_OK : rc;
    }
    if (!read_options(options, N, &wanted)) {
        return EX_USAGE;
    }
    rc = upt_command_config(options, N, true, &config);
    if (rc == 0) {
        rc = generate(config, &wanted);
        upt_config_destroy(&config);
    }
    return rc;
}

const struct upt_command upt_cmd_generate = {
    .name = "generate",
    .usage = "-c FILE [--accounts N] [--users N] [--features N] [--days N] [--events N] [--rate N] [--churn-share S] "
             "[--seed N] "
             "[--batch N] [--now TIME] [--labels FILE]",
    .summary = "Realistic, labelled telemetry onto the input topic.",
    .help = "  --accounts N     300\n  --users N        mean of an account; 0: natural sizes, 1 to some thousand\n"
            "  --features N     12, at most 1000\n  --days N         90 days that end now\n"
            "  --events N       about so many in all; 0: as the accounts are\n"
            "  --rate N         at most so many events a second; 0: as fast as possible\n"
            "  --churn-share S  0.2 of the accounts leave: fade, stop, or use it heavily until the last day\n"
            "  --seed N         1; the same seed makes the same events\n"
            "  --batch N        up to N events of an account in one UsageBatch record\n"
            "  --now TIME       the end, such as 2026-01-31T00:00:00Z\n"
            "  --labels FILE    who leaves, when and how, as CSV that `uptake fit --labels` takes\n",
    .run = run,
};
