/* Load for the benchmarks of the whole process, and the floor under them.
 *
 *     bench_load fill BOOTSTRAP TOPIC SCHEMA_ID EVENTS ACCOUNTS RATE [BATCH]
 *     bench_load accounts BOOTSTRAP TOPIC SCHEMA_ID ACCOUNTS RATE
 *     bench_load pace BOOTSTRAP TOPIC SCHEMA_ID SECONDS ACCOUNTS RATE [AHEAD]
 *     bench_load discard BOOTSTRAP TOPIC [poll | batch]
 *
 * fill: EVENTS UsageEvents of about 100 bytes (36-character ids, 50 features, accounts and users by Zipf with s = 1, a
 * tenth LOGIN) in the order of their time stamps, which advance by RATE events a second up to the present; each
 * occurred up to 5 s before. One record in a hundred is an earlier one again, byte for byte: half of these within the
 * last 512 records, the farthest 262,144 before. BATCH > 1: that many of one account in a UsageBatch; SCHEMA_ID is then
 * its schema's.
 *
 * accounts: one UsageBatch of 10 USAGE events for each account, of as many users and features.
 *
 * pace: RATE single events a second, as fill makes them, but none twice, at the present time, or AHEAD ms after it: an
 * open loop, every 10 ms its share.
 *
 * discard: reads the topic to its end with rd_kafka_consume_callback_queue (or rd_kafka_consumer_poll, or
 * rd_kafka_consume_batch_queue by 32) and throws every record away: what a consumer costs that does nothing. Prints
 * records and processor seconds as JSON. */
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

#define USERS 10
#define FEATURES 50
#define BATCH_MAX 1000
#define REPEATED 100      /* one record in so many is an earlier one again */
#define REMEMBERED 262144 /* records that may come again */

static uint64_t rng = UINT64_C(88172645463325252);

static uint64_t
rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
}

/* Zipf with s = 1 by inversion of the continuous law, close enough for load. */
static unsigned
zipf(unsigned n)
{
    double u = (double)(rnd() >> 11) / 9007199254740992.0;
    return (unsigned)(exp(u * log((double)n + 1.0)) - 1.0);
}

_Noreturn static void
die(const char *what, const char *why)
{
    fprintf(stderr, "bench_load: %s: %s\n", what, why);
    exit(1);
}

static rd_kafka_t *
client(rd_kafka_type_t type, const char *const *props, size_t n)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i + 1 < n; i += 2) {
        if (rd_kafka_conf_set(conf, props[i], props[i + 1], why, sizeof(why)) != RD_KAFKA_CONF_OK) {
            die(props[i], why);
        }
    }
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof(why));
    if (rk == NULL) {
        die("client", why);
    }
    return rk;
}

/* ---- fill ---- */

static size_t
put_long(char *to, int64_t v)
{
    uint64_t z = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
    size_t n = 0;
    for (; z > 0x7F; z >>= 7) {
        to[n++] = (char)(z | 0x80);
    }
    to[n++] = (char)z;
    return n;
}

static size_t
put_string(char *to, const char *text)
{
    size_t len = strlen(text), n = put_long(to, (int64_t)len);
    memcpy(to + n, text, len);
    return n + len;
}

/* user, feature < 0: drawn, with a tenth of LOGIN. */
static size_t
put_event(char *to, const char *account, int64_t ts, int user, int feature)
{
    char text[64];
    size_t n = 0;
    uint64_t a = rnd(), b = rnd();
    snprintf(text, sizeof(text), "%08x-%04x-4%03x-a%03x-%012" PRIx64, (unsigned)(a >> 32), (unsigned)(a >> 16) & 0xFFFF,
             (unsigned)a & 0xFFF, (unsigned)(b >> 52), b & UINT64_C(0xFFFFFFFFFFFF));
    n += put_string(to + n, text);
    n += put_long(to + n, ts - (int64_t)(rnd() % 5000));
    n += put_string(to + n, account);
    n += put_long(to + n, 1);
    snprintf(text, sizeof(text), "user-%04u", user >= 0 ? (unsigned)user : zipf(USERS));
    n += put_string(to + n, text);
    bool login = feature < 0 && rnd() % 10 == 0;
    n += put_long(to + n, login ? 1 : 0);
    n += put_long(to + n, login ? 0 : 1);
    if (!login) {
        snprintf(text, sizeof(text), "feature-%u", feature >= 0 ? (unsigned)feature : zipf(FEATURES));
        n += put_string(to + n, text);
    }
    double quantity = (double)(1 + rnd() % 40) / 4;
    memcpy(to + n, &quantity, sizeof(quantity)); /* Avro is little-endian, as are the machines this is for */
    n += sizeof(quantity);
    n += put_long(to + n, 1);
    n += put_long(to + n, (int64_t)(rnd() % 60000));
    n += put_long(to + n, 0); /* no properties */
    return n;
}

static size_t
put_frame(char *to, uint32_t schema_id)
{
    size_t n = 0;
    to[n++] = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        to[n++] = (char)(schema_id >> shift);
    }
    return n;
}

/* wide: of as many users and features. */
static size_t
put_record(char *to, uint32_t schema_id, unsigned batch, bool wide, const char *account, int64_t ts)
{
    size_t n = put_frame(to, schema_id);
    if (batch <= 1) {
        return n + put_event(to + n, account, ts, -1, -1);
    }
    n += put_long(to + n, batch);
    for (unsigned i = 0; i < batch; i++) {
        n += put_event(to + n, account, ts, wide ? (int)i : -1, wide ? (int)i : -1);
    }
    n += put_long(to + n, 0);
    return n;
}

struct target {
    rd_kafka_t *rk;
    const char *topic;
    uint32_t schema_id;
    int64_t events, bytes;
    int64_t delay_ms; /* of the record behind its events: it comes again */
};

static struct target
open_target(char **args)
{
    const char *const props[] = {"bootstrap.servers", args[0],     "partitioner",
                                 "murmur2_random",    "linger.ms", "5",
                                 "batch.size",        "131072",    "queue.buffering.max.messages",
                                 "1000000",           "acks",      "1"};
    return (struct target){.rk = client(RD_KAFKA_PRODUCER, props, sizeof(props) / sizeof(props[0])),
                           .topic = args[1],
                           .schema_id = (uint32_t)strtoul(args[2], NULL, 10)};
}

static void
produce(struct target *to, unsigned number, unsigned batch, bool wide, int64_t ts)
{
    static char value[64 + BATCH_MAX * 160];
    char account[32];
    snprintf(account, sizeof(account), "account-%06u", number);
    size_t len = put_record(value, to->schema_id, batch, wide, account, ts);
    to->events += batch;
    to->bytes += (int64_t)len;
    const rd_kafka_vu_t vus[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = to->topic},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {account, strlen(account)}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {value, len}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = ts + to->delay_ms},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
    };
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_produceva(to->rk, vus, sizeof(vus) / sizeof(vus[0]));
        rd_kafka_resp_err_t err = rd_kafka_error_code(error);
        rd_kafka_error_destroy(error);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            return;
        }
        if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            die("produce", rd_kafka_err2str(err));
        }
        rd_kafka_poll(to->rk, 10);
    }
}

static int
close_target(struct target *to)
{
    if (rd_kafka_flush(to->rk, 120000) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die("flush", "records are left");
    }
    rd_kafka_destroy(to->rk);
    printf("{\"events\": %" PRId64 ", \"value_bytes\": %" PRId64 "}\n", to->events, to->bytes);
    return 0;
}

static int64_t
wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Where the generator stood when a record was made: what makes it again. */
struct origin {
    uint64_t rng;
    int64_t ts;
};

static struct origin
origin_of(const struct origin *made, int64_t record, int64_t ts)
{
    if (record == 0 || rnd() % REPEATED != 0) {
        return (struct origin){rng, ts};
    }
    unsigned back = zipf((unsigned)(record < REMEMBERED ? record : REMEMBERED));
    return made[(record - 1 - back) % REMEMBERED];
}

static int
fill(char **args, unsigned batch)
{
    static struct origin made[REMEMBERED];
    struct target to = open_target(args);
    int64_t events = strtoll(args[3], NULL, 10), rate = strtoll(args[5], NULL, 10);
    unsigned accounts = (unsigned)strtoul(args[4], NULL, 10);
    int64_t first = wall_ms() - events * 1000 / rate;
    for (int64_t i = 0; i < events; i += batch) {
        int64_t record = i / batch, now = first + i * 1000 / rate;
        struct origin *origin = &made[record % REMEMBERED];
        *origin = origin_of(made, record, now);
        uint64_t next = rng;
        bool again = origin->rng != next;
        rng = origin->rng;
        to.delay_ms = now - origin->ts;
        produce(&to, zipf(accounts), batch, false, origin->ts);
        rng = again ? next : rng;
        if (record % 1000 == 0) {
            rd_kafka_poll(to.rk, 0);
        }
    }
    return close_target(&to);
}

static int
fill_accounts(char **args)
{
    struct target to = open_target(args);
    int64_t accounts = strtoll(args[3], NULL, 10), rate = strtoll(args[4], NULL, 10);
    int64_t first = wall_ms() - accounts * USERS * 1000 / rate;
    for (int64_t i = 0; i < accounts; i++) {
        produce(&to, (unsigned)i, USERS, true, first + i * USERS * 1000 / rate);
        if (i % 1000 == 0) {
            rd_kafka_poll(to.rk, 0);
        }
    }
    return close_target(&to);
}

static int
pace(char **args, int64_t ahead)
{
    struct target to = open_target(args);
    int64_t seconds = strtoll(args[3], NULL, 10), rate = strtoll(args[5], NULL, 10);
    unsigned accounts = (unsigned)strtoul(args[4], NULL, 10);
    int64_t begun = wall_ms();
    for (int64_t step = 1; step <= seconds * 100; step++) {
        while (to.events < step * rate / 100) {
            produce(&to, zipf(accounts), 1, false, wall_ms() + ahead);
        }
        rd_kafka_poll(to.rk, 0);
        int64_t wait = begun + step * 10 - wall_ms();
        if (wait > 0) {
            nanosleep(&(struct timespec){.tv_nsec = wait * 1000000}, NULL);
        }
    }
    return close_target(&to);
}

/* ---- discard ---- */

struct discard {
    rd_kafka_t *rk;
    int64_t records;
    int partitions, ended;
};

static void
on_message(rd_kafka_message_t *msg, void *opaque)
{
    struct discard *d = opaque;
    if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        d->ended++;
    } else if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        d->records++;
    }
}

static rd_kafka_topic_partition_list_t *
all_partitions(rd_kafka_t *rk, const char *topic)
{
    const struct rd_kafka_metadata *meta;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, handle, &meta, 10000);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR || meta->topic_cnt != 1) {
        die(topic, rd_kafka_err2str(err));
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    for (int32_t p = 0; p < meta->topics[0].partition_cnt; p++) {
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = 0;
    }
    rd_kafka_metadata_destroy(meta);
    rd_kafka_topic_destroy(handle);
    return list;
}

static double
seconds_of(struct timeval tv)
{
    return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

static void
consume(struct discard *d, rd_kafka_queue_t *queue, const char *how)
{
    if (strcmp(how, "callback") == 0) {
        rd_kafka_consume_callback_queue(queue, 100, on_message, d);
        return;
    }
    rd_kafka_message_t *msgs[32];
    ssize_t n = 1;
    if (strcmp(how, "batch") == 0) {
        n = rd_kafka_consume_batch_queue(queue, 100, msgs, 32);
    } else {
        msgs[0] = rd_kafka_consumer_poll(d->rk, 100);
    }
    for (ssize_t i = 0; i < n; i++) {
        if (msgs[i] != NULL) {
            on_message(msgs[i], d);
            rd_kafka_message_destroy(msgs[i]);
        }
    }
}

static int
discard(char **args, const char *how)
{
    const char *const props[] = {"bootstrap.servers",
                                 args[0],
                                 "group.id",
                                 "bench-discard",
                                 "enable.auto.commit",
                                 "false",
                                 "enable.auto.offset.store",
                                 "false",
                                 "enable.partition.eof",
                                 "true",
                                 "isolation.level",
                                 "read_committed",
                                 "queued.min.messages",
                                 "10000000",
                                 "queued.max.messages.kbytes",
                                 "32768",
                                 "fetch.wait.max.ms",
                                 "50"};
    struct discard d = {.rk = client(RD_KAFKA_CONSUMER, props, sizeof(props) / sizeof(props[0]))};
    rd_kafka_poll_set_consumer(d.rk);
    rd_kafka_topic_partition_list_t *list = all_partitions(d.rk, args[1]);
    d.partitions = list->cnt;
    rd_kafka_assign(d.rk, list);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(d.rk);
    while (d.ended < d.partitions) {
        consume(&d, queue, how);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(d.rk);
    rd_kafka_destroy(d.rk);
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("{\"records\": %" PRId64 ", \"cpu_seconds\": %.3f}\n", d.records,
           seconds_of(use.ru_utime) + seconds_of(use.ru_stime));
    return 0;
}

int
main(int argc, char **argv)
{
    if ((argc == 8 || argc == 9) && strcmp(argv[1], "fill") == 0) {
        unsigned batch = argc == 9 ? (unsigned)strtoul(argv[8], NULL, 10) : 1;
        if (batch >= 1 && batch <= BATCH_MAX) {
            return fill(argv + 2, batch);
        }
    }
    if (argc == 7 && strcmp(argv[1], "accounts") == 0) {
        return fill_accounts(argv + 2);
    }
    if ((argc == 8 || argc == 9) && strcmp(argv[1], "pace") == 0) {
        return pace(argv + 2, argc == 9 ? strtoll(argv[8], NULL, 10) : 0);
    }
    if ((argc == 4 || argc == 5) && strcmp(argv[1], "discard") == 0) {
        return discard(argv + 2, argc == 5 ? argv[4] : "callback");
    }
    fprintf(stderr, "usage: bench_load fill BOOTSTRAP TOPIC SCHEMA_ID EVENTS ACCOUNTS RATE [BATCH]\n"
                    "       bench_load accounts BOOTSTRAP TOPIC SCHEMA_ID ACCOUNTS RATE\n"
                    "       bench_load pace BOOTSTRAP TOPIC SCHEMA_ID SECONDS ACCOUNTS RATE [AHEAD]\n"
                    "       bench_load discard BOOTSTRAP TOPIC [poll | batch]\n");
    return 64;
}
