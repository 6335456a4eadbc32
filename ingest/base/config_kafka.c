/* Properties of librdkafka: which ones uptake owns, which have a default of uptake's, and which are secrets.
 *
 * The promises rest on the owned ones, so they are refused at load with the reason, rather than overridden in silence.
 * librdkafka takes aliases and, for topic properties, a "topic." before the name: both would slip past a list of plain
 * names (found by trying: "topic.acks" is accepted). Everything else passes through unseen. Any thread; no state. */
#include "config_table.h"

struct owned {
    const char *name; /* "x.*": all that begin with "x." */
    const char *why;
};

static const char exactly_once[] = "exactly-once needs its value";
static const char by_hand[] = "positions are committed in transactions only";
static const char no_code[] = "it takes code, not text";

static const struct owned owned[] = {
    {"group.id", "set `group`"},
    {"group.instance.id", "it is made from `group` and `instance`"},
    {"group.protocol", "assignment follows the classic protocol"},
    {"group.protocol.type", "assignment follows the classic protocol"},
    {"group.remote.assignor", "assignment follows the classic protocol"},
    {"partition.assignment.strategy", "recovery depends on how partitions move"},
    {"transactional.id", "it is made from `group` and `instance`"},
    {"transaction.timeout.ms", "it bounds how long a dead process can hold outputs back"},
    {"enable.idempotence", exactly_once},
    {"enable.gapless.guarantee", exactly_once},
    {"acks", exactly_once},
    {"request.required.acks", exactly_once},
    {"max.in.flight", exactly_once},
    {"max.in.flight.requests.per.connection", exactly_once},
    {"retries", exactly_once},
    {"message.send.max.retries", exactly_once},
    {"delivery.report.only.error", "every delivery report is checked"},
    {"message.max.bytes", "a dead letter is as large as what came; its topic decides"},
    {"partitioner", "all outputs of an account are in one partition"},
    {"isolation.level", "only committed records count"},
    {"enable.partition.eof", "the end of the log is a position like others"},
    {"auto.offset.reset", "set `start` and `on_gap`"},
    {"enable.auto.commit", by_hand},
    {"auto.commit.enable", by_hand},
    {"auto.commit.interval.ms", by_hand},
    {"enable.auto.offset.store", by_hand},
    {"offset.store.*", by_hand},
    {"plugin.library.paths", "no foreign code is loaded"},
    {"interceptors", no_code},
    {"opaque", no_code},
    {"default_topic_conf", no_code},
    {"enabled_events", no_code},
    {"enable_sasl_queue", no_code},
    {"log.queue", no_code},
    {"*_cb", no_code},
};

static const struct upt_kafka_default defaults[] = {
    {UPT_KAFKA_ANY, "client.id", "uptake", NULL},
    {UPT_KAFKA_ANY, "socket.nagle.disable", "true", NULL},
    {UPT_KAFKA_ANY, "topic.metadata.refresh.interval.ms", "30000", NULL},
    {UPT_KAFKA_ANY, "reconnect.backoff.max.ms", "2000", NULL},
    {UPT_KAFKA_INPUT, "session.timeout.ms", "6000", NULL},
    {UPT_KAFKA_INPUT, "heartbeat.interval.ms", NULL, "a quarter of `session.timeout.ms`"},
    {UPT_KAFKA_INPUT, "queued.min.messages", "10000000", NULL},
    {UPT_KAFKA_INPUT, "queued.max.messages.kbytes", NULL, "`65536` shared by the partitions, `256` to `1024` each"},
    {UPT_KAFKA_INPUT, "fetch.wait.max.ms", "50", NULL},
    {UPT_KAFKA_INPUT, "fetch.queue.backoff.ms", NULL, "`10`, from librdkafka 2.2 on"},
    {UPT_KAFKA_READER, "queued.min.messages", "10000000", NULL},
    {UPT_KAFKA_READER, "queued.max.messages.kbytes", "65536", NULL},
    {UPT_KAFKA_READER, "fetch.wait.max.ms", "20", NULL},
    /* A flush ends it; librdkafka before 2.2 polls without a pause in its last millisecond. */
    {UPT_KAFKA_OUTPUT, "linger.ms", "50", NULL},
    {UPT_KAFKA_OUTPUT, "queue.buffering.max.messages", "200000", NULL},
    {UPT_KAFKA_OUTPUT, "batch.size", NULL, "`1000000`; never more than the topics take"},
    {UPT_KAFKA_OUTPUT, "compression.codec", NULL, "`zstd` for dead letters, also where another is given"},
    {UPT_KAFKA_WRITER, "linger.ms", "5", NULL},
    {UPT_KAFKA_WRITER, "compression.codec", NULL, "`zstd`, also where another is given"},
    {UPT_KAFKA_GENERATOR, "linger.ms", "20", NULL},
    {UPT_KAFKA_GENERATOR, "compression.codec", "lz4", NULL},
    {UPT_KAFKA_GENERATOR, "queue.buffering.max.messages", "500000", NULL},
};
const struct upt_kafka_default *const upt_kafka_defaults = defaults;
const size_t upt_kafka_defaults_n = sizeof(defaults) / sizeof(defaults[0]);

static bool
ends_with(const char *name, const char *end)
{
    size_t len = strlen(name);
    size_t end_len = strlen(end);
    return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

static bool
matches(const char *pattern, const char *name)
{
    size_t len = strlen(pattern);
    if (pattern[0] == '*') {
        return ends_with(name, pattern + 1);
    }
    if (pattern[len - 1] == '*') {
        return strncmp(name, pattern, len - 1) == 0;
    }
    return strcmp(name, pattern) == 0;
}

static const char *
without_topic(const char *name)
{
    static const char topic[] = "topic.";
    while (strncmp(name, topic, sizeof(topic) - 1) == 0) {
        name += sizeof(topic) - 1;
    }
    return name;
}

const char *
upt_kafka_owned(const char *name, bool from_file)
{
    const char *bare = without_topic(name);
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
        if (matches(owned[i].name, bare)) {
            return owned[i].why;
        }
    }
    if (from_file && matches("test.mock.*", bare)) {
        return "the embedded broker is for `uptake demo`";
    }
    return NULL;
}

bool
upt_kafka_secret(const char *name)
{
    static const char *const parts[] = {"password",     "passphrase",        "secret", "token", "sasl.jaas",
                                        "ssl.keystore", "oauthbearer.config"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (strstr(name, parts[i]) != NULL) {
            return true;
        }
    }
    return ends_with(name, ".pem");
}

void
upt_kafka_owned_markdown(struct upt_buf *out)
{
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
        upt_buf_printf(out, "| `%s` | %s |\n", owned[i].name, owned[i].why);
    }
    upt_buf_puts(out, "| `test.mock.*` | the embedded broker is for `uptake demo` |\n");
}

void
upt_kafka_defaults_markdown(struct upt_buf *out)
{
    static const char *const roles[] = {
        [UPT_KAFKA_ANY] = "all",
        [UPT_KAFKA_INPUT] = "the input",
        [UPT_KAFKA_READER] = "the state topic, and what commands read",
        [UPT_KAFKA_OUTPUT] = "outputs and checkpoints",
        [UPT_KAFKA_WRITER] = "what commands write",
        [UPT_KAFKA_GENERATOR] = "`generate` and `demo`",
    };
    for (size_t i = 0; i < upt_kafka_defaults_n; i++) {
        const struct upt_kafka_default *def = &defaults[i];
        const char *quote = def->value != NULL ? "`" : "";
        upt_buf_printf(out, "| `%s` | %s%s%s | %s |\n", def->name, quote, def->value != NULL ? def->value : def->what,
                       quote, roles[def->role]);
    }
}
