/* A peer of `uptake run` for tests/bench/compare: the straightforward C program.
 *
 *     peer_c BOOTSTRAP TOPIC REDIS_PORT SCHEMA.avsc
 *
 * rd_kafka_consumer_poll, libavro's generic value, windows in a hash table in memory (so Redis sees sums, not events),
 * rows that changed written with pipelined HSETs once a second. It reads the topic to its end and exits; a second
 * process started on the same group would count twice, and a crash loses what is in memory: that is the point of
 * comparison, not a defect to mend here. One thread of ours, librdkafka's beside it. Prints records read as JSON.
 *
 * Work, the same in every peer: events and units of USAGE in 1h (60 minutes), 24h (24 hours), 7d and 30d (days), for
 * each account, and for each feature of each partition, by the partition's clock (greatest record time stamp). */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <avro.h>
#include <hiredis/hiredis.h>
#include <librdkafka/rdkafka.h>

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define PARTITIONS_MAX 256
#define PIPELINE 1000
#define KEY_MAX 320
#define FIELDS 8

struct cell {
    int64_t events, units; /* units in millionths */
};

struct ring {
    int64_t head; /* bucket number of the clock */
    struct cell sum;
};

struct entry {
    struct entry *next;
    uint64_t hash;
    int partition;
    bool dirty;
    struct ring hours1, hours24, days30;
    struct cell minute[60], hour[24], day[30];
    struct cell shown[4];
    size_t key_len;
    char key[]; /* of the row in Redis */
};

struct table {
    struct entry **slot;
    size_t n, cap; /* cap: a power of two */
};

struct peer {
    struct table table;
    struct entry **dirty;
    size_t dirty_n, dirty_cap;
    int64_t clock[PARTITIONS_MAX];
    int64_t records;
    redisContext *redis;
    avro_value_t value;
    avro_reader_t reader;
};

_Noreturn static void
die(const char *what, const char *why)
{
    fprintf(stderr, "peer_c: %s: %s\n", what, why);
    exit(1);
}

static void *
checked(void *p)
{
    if (p == NULL) {
        die("memory", "none left");
    }
    return p;
}

/* ---- table ---- */

static uint64_t
hash_of(const char *p, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)p[i]) * UINT64_C(0x100000001b3);
    }
    return h ^ h >> 32;
}

static void
grow(struct table *table)
{
    size_t cap = table->cap == 0 ? 1024 : table->cap * 2;
    struct entry **slot = checked(calloc(cap, sizeof(struct entry *)));
    for (size_t i = 0; i < table->cap; i++) {
        for (struct entry *e = table->slot[i], *next; e != NULL; e = next) {
            next = e->next;
            e->next = slot[e->hash & (cap - 1)];
            slot[e->hash & (cap - 1)] = e;
        }
    }
    free(table->slot);
    table->slot = slot;
    table->cap = cap;
}

static struct entry *
find_or_add(struct table *table, const char *key, size_t len, int partition)
{
    uint64_t hash = hash_of(key, len);
    if (table->n >= table->cap) {
        grow(table);
    }
    struct entry **slot = &table->slot[hash & (table->cap - 1)];
    for (struct entry *e = *slot; e != NULL; e = e->next) {
        if (e->hash == hash && e->key_len == len && memcmp(e->key, key, len) == 0) {
            return e;
        }
    }
    struct entry *e = checked(calloc(1, sizeof(*e) + len));
    e->hash = hash;
    e->partition = partition;
    e->key_len = len;
    memcpy(e->key, key, len);
    e->next = *slot;
    *slot = e;
    table->n++;
    return e;
}

/* ---- windows ---- */

static void
advance_ring(struct ring *ring, struct cell *cells, int n, int64_t bucket)
{
    int64_t from = bucket - ring->head > n ? bucket - n : ring->head;
    for (int64_t b = from + 1; b <= bucket; b++) {
        struct cell *old = &cells[b % n];
        ring->sum.events -= old->events;
        ring->sum.units -= old->units;
        *old = (struct cell){0};
    }
    ring->head = bucket > ring->head ? bucket : ring->head;
}

static void
add(struct ring *ring, struct cell *cells, int n, int64_t bucket, int64_t units)
{
    if (bucket > ring->head - n) {
        cells[bucket % n].events++;
        cells[bucket % n].units += units;
        ring->sum.events++;
        ring->sum.units += units;
    }
}

static void
advance(struct entry *e, int64_t clock)
{
    advance_ring(&e->hours1, e->minute, 60, clock / MINUTE_MS);
    advance_ring(&e->hours24, e->hour, 24, clock / HOUR_MS);
    advance_ring(&e->days30, e->day, 30, clock / DAY_MS);
}

static void
count(struct peer *peer, const char *key, size_t len, int partition, int64_t at, int64_t units)
{
    struct entry *e = find_or_add(&peer->table, key, len, partition);
    advance(e, peer->clock[partition]);
    add(&e->hours1, e->minute, 60, at / MINUTE_MS, units);
    add(&e->hours24, e->hour, 24, at / HOUR_MS, units);
    add(&e->days30, e->day, 30, at / DAY_MS, units);
    if (e->dirty) {
        return;
    }
    if (peer->dirty_n == peer->dirty_cap) {
        peer->dirty_cap = peer->dirty_cap == 0 ? 1024 : peer->dirty_cap * 2;
        peer->dirty = checked(realloc(peer->dirty, peer->dirty_cap * sizeof(struct entry *)));
    }
    e->dirty = true;
    peer->dirty[peer->dirty_n++] = e;
}

/* 1h, 24h, 7d, 30d. */
static void
sums_of(const struct entry *e, struct cell sums[4])
{
    sums[0] = e->hours1.sum;
    sums[1] = e->hours24.sum;
    sums[2] = (struct cell){0};
    for (int64_t b = e->days30.head - 6; b <= e->days30.head; b++) {
        sums[2].events += e->day[b % 30].events;
        sums[2].units += e->day[b % 30].units;
    }
    sums[3] = e->days30.sum;
}

/* ---- rows ---- */

static void
append_row(struct peer *peer, struct entry *e)
{
    static const char *const names[FIELDS] = {"events_1h", "units_1h", "events_24h", "units_24h",
                                              "events_7d", "units_7d", "events_30d", "units_30d"};
    const char *args[2 + 2 * FIELDS] = {"HSET", e->key};
    size_t lens[2 + 2 * FIELDS] = {4, e->key_len};
    char text[FIELDS][32];
    sums_of(e, e->shown);
    for (int i = 0; i < FIELDS; i++) {
        const struct cell *sum = &e->shown[i / 2];
        args[2 + 2 * i] = names[i];
        lens[2 + 2 * i] = strlen(names[i]);
        args[3 + 2 * i] = text[i];
        lens[3 + 2 * i] = (size_t)(i % 2 == 0 ? snprintf(text[i], sizeof(text[i]), "%" PRId64, sum->events)
                                              : snprintf(text[i], sizeof(text[i]), "%" PRId64 ".%06" PRId64,
                                                         sum->units / 1000000, sum->units % 1000000));
    }
    if (redisAppendCommandArgv(peer->redis, 2 + 2 * FIELDS, args, lens) != REDIS_OK) {
        die("Redis", peer->redis->errstr);
    }
    e->dirty = false;
}

static void
flush(struct peer *peer)
{
    for (size_t done = 0; done < peer->dirty_n;) {
        size_t n = peer->dirty_n - done < PIPELINE ? peer->dirty_n - done : PIPELINE;
        for (size_t i = 0; i < n; i++) {
            struct entry *e = peer->dirty[done + i];
            advance(e, peer->clock[e->partition]);
            append_row(peer, e);
        }
        for (size_t i = 0; i < n; i++) {
            redisReply *reply = NULL;
            if (redisGetReply(peer->redis, (void **)&reply) != REDIS_OK) {
                die("Redis", peer->redis->errstr);
            }
            if (reply->type == REDIS_REPLY_ERROR) {
                die("HSET", reply->str);
            }
            freeReplyObject(reply);
        }
        done += n;
    }
    peer->dirty_n = 0;
}

/* At the end: rows whose windows have moved since they were written. */
static void
flush_moved(struct peer *peer)
{
    flush(peer);
    for (size_t i = 0; i < peer->table.cap; i++) {
        for (struct entry *e = peer->table.slot[i]; e != NULL; e = e->next) {
            struct cell sums[4];
            advance(e, peer->clock[e->partition]);
            sums_of(e, sums);
            if (memcmp(sums, e->shown, sizeof(sums)) != 0) {
                peer->dirty[peer->dirty_n++] = e; /* each has been in it before: there is room */
            }
            if (peer->dirty_n == PIPELINE || peer->dirty_n == peer->dirty_cap) {
                flush(peer);
            }
        }
    }
    flush(peer);
}

/* ---- records ---- */

static avro_value_t
field(avro_value_t *record, const char *name)
{
    avro_value_t found;
    if (avro_value_get_by_name(record, name, &found, NULL) != 0) {
        die(name, avro_strerror());
    }
    return found;
}

static void
on_record(struct peer *peer, const rd_kafka_message_t *msg)
{
    int64_t ts = rd_kafka_message_timestamp(msg, NULL), occurred = 0;
    int64_t *clock = &peer->clock[msg->partition];
    *clock = ts > *clock ? ts : *clock;
    peer->records++;
    if (msg->len < 5) {
        die("record", "no header");
    }
    avro_reader_memory_set_source(peer->reader, (const char *)msg->payload + 5, (int64_t)msg->len - 5);
    if (avro_value_reset(&peer->value) != 0 || avro_value_read(peer->reader, &peer->value) != 0) {
        die("Avro", avro_strerror());
    }
    avro_value_t kind = field(&peer->value, "kind"), branch;
    int symbol = -1, which = 0;
    avro_value_get_enum(&kind, &symbol);
    if (symbol != 0) {
        return; /* not USAGE */
    }
    avro_value_t account = field(&peer->value, "account_id"), at = field(&peer->value, "occurred_at");
    avro_value_t feature = field(&peer->value, "feature"), quantity = field(&peer->value, "quantity");
    const char *text = NULL;
    size_t size = 0; /* with the zero at its end */
    double amount = 0;
    char key[KEY_MAX];
    avro_value_get_long(&at, &occurred);
    avro_value_get_double(&quantity, &amount);
    avro_value_get_string(&account, &text, &size);
    int64_t when = occurred < *clock ? occurred : *clock;
    int64_t units = (int64_t)(amount * 1e6 + 0.5);
    int len = snprintf(key, sizeof(key), "peer:account:%s", text);
    count(peer, key, (size_t)len, msg->partition, when, units);
    avro_value_get_discriminant(&feature, &which);
    if (which == 1 && avro_value_get_current_branch(&feature, &branch) == 0) {
        avro_value_get_string(&branch, &text, &size);
        len = snprintf(key, sizeof(key), "peer:feature:%s:%d", text, (int)msg->partition);
        count(peer, key, (size_t)len, msg->partition, when, units);
    }
}

static void
open_schema(struct peer *peer, const char *path)
{
    static char text[65536];
    avro_schema_t schema;
    FILE *file = fopen(path, "r");
    size_t len = file != NULL ? fread(text, 1, sizeof(text), file) : 0;
    if (file == NULL || avro_schema_from_json_length(text, len, &schema) != 0) {
        die(path, file == NULL ? "cannot be read" : avro_strerror());
    }
    fclose(file);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    if (class == NULL || avro_generic_value_new(class, &peer->value) != 0) {
        die(path, avro_strerror());
    }
    peer->reader = avro_reader_memory(NULL, 0);
}

/* ---- consumer ---- */

static rd_kafka_t *
open_consumer(const char *bootstrap)
{
    static const char *const props[][2] = {{"group.id", "peer-c"},           {"auto.offset.reset", "earliest"},
                                           {"enable.partition.eof", "true"}, {"enable.auto.commit", "false"},
                                           {"fetch.wait.max.ms", "50"},      {"queued.min.messages", "1000000"}};
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, why, sizeof(why));
    for (size_t i = 0; i < sizeof(props) / sizeof(props[0]); i++) {
        if (rd_kafka_conf_set(conf, props[i][0], props[i][1], why, sizeof(why)) != RD_KAFKA_CONF_OK) {
            die(props[i][0], why);
        }
    }
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
    if (rk == NULL) {
        die("consumer", why);
    }
    rd_kafka_poll_set_consumer(rk);
    return rk;
}

/* Takes all partitions from the start; returns how many. */
static int
assign_all(rd_kafka_t *rk, const char *topic)
{
    const struct rd_kafka_metadata *meta;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, handle, &meta, 10000);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR || meta->topics[0].partition_cnt > PARTITIONS_MAX) {
        die(topic, rd_kafka_err2str(err));
    }
    int n = meta->topics[0].partition_cnt;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n);
    for (int p = 0; p < n; p++) {
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_metadata_destroy(meta);
    rd_kafka_topic_destroy(handle);
    return n;
}

static int64_t
mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
run(struct peer *peer, rd_kafka_t *rk, int partitions)
{
    int64_t due = mono_ms() + 1000;
    for (int64_t n = 0, ended = 0; ended < partitions; n++) {
        rd_kafka_message_t *msg = rd_kafka_consumer_poll(rk, 100);
        if (msg != NULL && msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            on_record(peer, msg);
        } else if (msg != NULL && msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            ended++;
        }
        if (msg != NULL) {
            rd_kafka_message_destroy(msg);
        }
        if (n % 1024 == 0 && mono_ms() >= due) {
            flush(peer);
            due = mono_ms() + 1000;
        }
    }
    flush_moved(peer);
}

int
main(int argc, char **argv)
{
    static struct peer peer;
    if (argc != 5) {
        fprintf(stderr, "usage: peer_c BOOTSTRAP TOPIC REDIS_PORT SCHEMA.avsc\n");
        return 64;
    }
    peer.redis = redisConnect("127.0.0.1", (int)strtol(argv[3], NULL, 10));
    if (peer.redis == NULL || peer.redis->err != 0) {
        die("Redis", "no connection");
    }
    open_schema(&peer, argv[4]);
    rd_kafka_t *rk = open_consumer(argv[1]);
    run(&peer, rk, assign_all(rk, argv[2]));
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    redisFree(peer.redis);
    printf("{\"records\": %" PRId64 "}\n", peer.records);
    return 0;
}
