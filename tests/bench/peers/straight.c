/* A peer of `uptake run` for tests/bench/compare: the straightforward C program.
 *
 *     peer_c BOOTSTRAP TOPIC REDIS_PORT SCHEMA.avsc
 *
 * rd_kafka_consumer_poll, libavro's generic value, windows in a hash table in memory (so Redis sees sums, not events),
 * rows that changed written with pipelined HSETs once a second. It reads the topic to its end and exits; a second
 * process started on the same group would count twice, and a crash loses what is in memory: that is the point of
 * comparison, not a defect to mend here. One thread of ours, librdkafka's beside it. Prints records read as JSON.
 *
 * Work, the same in every peer, by the partition's clock (greatest record time stamp). An event is left out whose id
 * is among the 4,096 that its account accepted last, less than ten minutes before. Windows are 1h (60 minutes), 24h (24
 * hours), 7d and 30d (days). For each account: events and units of USAGE, and LOGINs, in each; distinct users in all
 * but 1h, and ever; distinct features in 30d; first and last event time. For each feature of each partition: events and
 * units in each; distinct accounts, and distinct users of each of these, in 30d.
 *
 * Distinct counts are kept as events are: a thing is in the bucket in which it was last seen, and moves when it is seen
 * again, so that a window's sum is the number of things in it. */
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
#define FIELDS 19
#define FEATURE_FIELDS 10
#define DEDUP_MS (10 * MINUTE_MS)
#define IDS_MAX 4096

/* A row of Redis, a thing seen or an event's id, each in a table of its own; its key follows it. */
struct node {
    struct node *next;
    uint64_t hash;
    const void *owner; /* the same key is another one below another owner */
    size_t key_len;
};

struct cell {
    int64_t units; /* in millionths */
    int32_t events, logins;
    int32_t users, others; /* last seen here; others: features of an account, accounts of a feature */
};

struct ring {
    int64_t head; /* bucket number of the clock */
    struct cell sum;
};

struct seen {
    struct node node;
    int64_t at; /* the greatest event time */
};

struct id {
    struct node node;
    struct id *newer;
    int64_t clock; /* when it was accepted */
};

struct row {
    struct node node;
    int partition;
    bool dirty;
    struct ring hours1, hours24, days30;
    struct cell minute[60], hour[24], day[30];
    struct cell shown[4];
    int64_t first_seen, last_seen, users; /* these and ids: of accounts */
    struct id *oldest, *newest;
    size_t ids;
};

struct table {
    size_t size; /* of a node with what is around it */
    struct node **slot;
    size_t n, cap; /* cap: a power of two */
};

struct peer {
    struct table rows, seen, ids;
    struct row **dirty;
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
hash_of(const void *owner, const char *p, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ (uintptr_t)owner; /* FNV-1a */
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)p[i]) * UINT64_C(0x100000001b3);
    }
    return h ^ h >> 32;
}

static const char *
key_of(const struct table *table, const void *node)
{
    return (const char *)node + table->size;
}

static void
grow(struct table *table)
{
    size_t cap = table->cap == 0 ? 1024 : table->cap * 2;
    struct node **slot = checked(calloc(cap, sizeof(struct node *)));
    for (size_t i = 0; i < table->cap; i++) {
        for (struct node *e = table->slot[i], *next; e != NULL; e = next) {
            next = e->next;
            e->next = slot[e->hash & (cap - 1)];
            slot[e->hash & (cap - 1)] = e;
        }
    }
    free(table->slot);
    table->slot = slot;
    table->cap = cap;
}

/* One that is added is zero but for its node. */
static void *
find_or_add(struct table *table, const void *owner, const char *key, size_t len)
{
    uint64_t hash = hash_of(owner, key, len);
    if (table->n >= table->cap) {
        grow(table);
    }
    struct node **slot = &table->slot[hash & (table->cap - 1)];
    for (struct node *e = *slot; e != NULL; e = e->next) {
        if (e->hash == hash && e->owner == owner && e->key_len == len && memcmp(key_of(table, e), key, len) == 0) {
            return e;
        }
    }
    struct node *e = checked(calloc(1, table->size + len));
    *e = (struct node){*slot, hash, owner, len};
    memcpy((char *)e + table->size, key, len);
    *slot = e;
    table->n++;
    return e;
}

static void
drop(struct table *table, struct node *node)
{
    struct node **at = &table->slot[node->hash & (table->cap - 1)];
    while (*at != node) {
        at = &(*at)->next;
    }
    *at = node->next;
    table->n--;
    free(node);
}

/* ---- deduplication ---- */

static void
drop_oldest(struct peer *peer, struct row *row)
{
    struct id *id = row->oldest;
    row->oldest = id->newer;
    row->ids--;
    drop(&peer->ids, &id->node);
}

/* Whether the account has the id; if not, it has it from now on. */
static bool
is_duplicate(struct peer *peer, struct row *row, const char *text, size_t len)
{
    int64_t clock = peer->clock[row->partition];
    while (row->ids > 0 && row->oldest->clock <= clock - DEDUP_MS) {
        drop_oldest(peer, row);
    }
    struct id *id = find_or_add(&peer->ids, row, text, len);
    if (id->clock != 0) {
        return true;
    }
    id->clock = clock;
    *(row->ids == 0 ? &row->oldest : &row->newest->newer) = id;
    row->newest = id;
    if (++row->ids > IDS_MAX) {
        drop_oldest(peer, row);
    }
    return false;
}

/* ---- windows ---- */

static void
add_cell(struct cell *to, const struct cell *what, int sign)
{
    to->units += sign * what->units;
    to->events += sign * what->events;
    to->logins += sign * what->logins;
    to->users += sign * what->users;
    to->others += sign * what->others;
}

static void
advance_ring(struct ring *ring, struct cell *cells, int n, int64_t bucket)
{
    int64_t from = bucket - ring->head > n ? bucket - n : ring->head;
    for (int64_t b = from + 1; b <= bucket; b++) {
        add_cell(&ring->sum, &cells[b % n], -1);
        cells[b % n] = (struct cell){0};
    }
    ring->head = bucket > ring->head ? bucket : ring->head;
}

static void
add(struct ring *ring, struct cell *cells, int n, int64_t bucket, const struct cell *what, int sign)
{
    if (bucket > ring->head - n) {
        add_cell(&cells[bucket % n], what, sign);
        add_cell(&ring->sum, what, sign);
    }
}

static void
advance(struct row *row, int64_t clock)
{
    advance_ring(&row->hours1, row->minute, 60, clock / MINUTE_MS);
    advance_ring(&row->hours24, row->hour, 24, clock / HOUR_MS);
    advance_ring(&row->days30, row->day, 30, clock / DAY_MS);
}

static void
count(struct row *row, int64_t at, const struct cell *what)
{
    add(&row->hours1, row->minute, 60, at / MINUTE_MS, what, 1);
    add(&row->hours24, row->hour, 24, at / HOUR_MS, what, 1);
    add(&row->days30, row->day, 30, at / DAY_MS, what, 1);
}

/* Moves a thing to where it is last seen; it was seen at `was` before (0: never). */
static void
count_distinct(struct row *row, int64_t was, int64_t at, const struct cell *what)
{
    if (at / HOUR_MS > was / HOUR_MS) {
        add(&row->hours24, row->hour, 24, was / HOUR_MS, what, -1);
        add(&row->hours24, row->hour, 24, at / HOUR_MS, what, 1);
        add(&row->days30, row->day, 30, was / DAY_MS, what, -1);
        add(&row->days30, row->day, 30, at / DAY_MS, what, 1);
    }
}

/* The row, moved to the clock. */
static struct row *
row_of(struct peer *peer, const char *key, size_t len, int partition)
{
    struct row *row = find_or_add(&peer->rows, NULL, key, len);
    row->partition = partition;
    advance(row, peer->clock[partition]);
    return row;
}

static void
mark(struct peer *peer, struct row *row)
{
    if (row->dirty) {
        return;
    }
    if (peer->dirty_n == peer->dirty_cap) {
        peer->dirty_cap = peer->dirty_cap == 0 ? 1024 : peer->dirty_cap * 2;
        peer->dirty = checked(realloc(peer->dirty, peer->dirty_cap * sizeof(struct row *)));
    }
    row->dirty = true;
    peer->dirty[peer->dirty_n++] = row;
}

/* 1h, 24h, 7d, 30d. */
static void
sums_of(const struct row *row, struct cell sums[4])
{
    sums[0] = row->hours1.sum;
    sums[1] = row->hours24.sum;
    sums[2] = (struct cell){0};
    for (int64_t b = row->days30.head - 6; b <= row->days30.head; b++) {
        add_cell(&sums[2], &row->day[b % 30], 1);
    }
    sums[3] = row->days30.sum;
}

/* ---- rows ---- */

/* A feature's row has the first FEATURE_FIELDS, the last of them under a name of its own. */
static void
append_row(struct peer *peer, struct row *row)
{
    static const char *const names[FIELDS] = {"events_1h", "events_24h", "events_7d",   "events_30d", "units_1h",
                                              "units_24h", "units_7d",   "units_30d",   "users_30d",  "features_30d",
                                              "users_24h", "users_7d",   "users_total", "logins_1h",  "logins_24h",
                                              "logins_7d", "logins_30d", "first_seen",  "last_seen"};
    const struct cell *sum = row->shown;
    sums_of(row, row->shown);
    int64_t values[FIELDS] = {sum[0].events, sum[1].events, sum[2].events,   sum[3].events, sum[0].units,
                              sum[1].units,  sum[2].units,  sum[3].units,    sum[3].users,  sum[3].others,
                              sum[1].users,  sum[2].users,  row->users,      sum[0].logins, sum[1].logins,
                              sum[2].logins, sum[3].logins, row->first_seen, row->last_seen};
    const char *args[2 + 2 * FIELDS] = {"HSET", key_of(&peer->rows, row)};
    size_t lens[2 + 2 * FIELDS] = {4, row->node.key_len};
    char text[FIELDS][32];
    int n = row->first_seen > 0 ? FIELDS : FEATURE_FIELDS;
    for (int i = 0; i < n; i++) {
        const char *name = i + 1 == n && n == FEATURE_FIELDS ? "accounts_30d" : names[i];
        args[2 + 2 * i] = name;
        lens[2 + 2 * i] = strlen(name);
        args[3 + 2 * i] = text[i];
        lens[3 + 2 * i] = (size_t)(i < 4 || i >= 8 ? snprintf(text[i], sizeof(text[i]), "%" PRId64, values[i])
                                                   : snprintf(text[i], sizeof(text[i]), "%" PRId64 ".%06" PRId64,
                                                              values[i] / 1000000, values[i] % 1000000));
    }
    if (redisAppendCommandArgv(peer->redis, 2 + 2 * n, args, lens) != REDIS_OK) {
        die("Redis", peer->redis->errstr);
    }
    row->dirty = false;
}

static void
flush(struct peer *peer)
{
    for (size_t done = 0; done < peer->dirty_n;) {
        size_t n = peer->dirty_n - done < PIPELINE ? peer->dirty_n - done : PIPELINE;
        for (size_t i = 0; i < n; i++) {
            struct row *row = peer->dirty[done + i];
            advance(row, peer->clock[row->partition]);
            append_row(peer, row);
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
    for (size_t i = 0; i < peer->rows.cap; i++) {
        for (struct node *e = peer->rows.slot[i]; e != NULL; e = e->next) {
            struct row *row = (struct row *)e;
            struct cell sums[4];
            advance(row, peer->clock[row->partition]);
            sums_of(row, sums);
            if (memcmp(sums, row->shown, sizeof(sums)) != 0) {
                mark(peer, row);
            }
            if (peer->dirty_n == PIPELINE) {
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

struct text {
    const char *p; /* ends with a zero */
    size_t len;    /* without it; 0 also for null */
};

struct event {
    int kind; /* 0: USAGE, 1: LOGIN */
    struct text id, account, user, feature;
    int64_t occurred_at;
    double quantity;
};

/* Of a string or of a union of null and string. */
static struct text
text_field(avro_value_t *record, const char *name)
{
    avro_value_t value = field(record, name);
    struct text text = {"", 1};
    int branch = 0;
    if (avro_value_get_type(&value) == AVRO_UNION) {
        avro_value_get_discriminant(&value, &branch);
        if (branch == 1) {
            avro_value_get_current_branch(&value, &value);
        }
    }
    if (avro_value_get_type(&value) == AVRO_STRING) {
        avro_value_get_string(&value, &text.p, &text.len);
    }
    text.len--;
    return text;
}

static struct event
read_event(struct peer *peer, const rd_kafka_message_t *msg)
{
    if (msg->len < 5) {
        die("record", "no header");
    }
    avro_reader_memory_set_source(peer->reader, (const char *)msg->payload + 5, (int64_t)msg->len - 5);
    if (avro_value_reset(&peer->value) != 0 || avro_value_read(peer->reader, &peer->value) != 0) {
        die("Avro", avro_strerror());
    }
    avro_value_t *record = &peer->value, quantity = field(record, "quantity");
    avro_value_t kind = field(record, "kind"), at = field(record, "occurred_at");
    struct event ev = {.id = text_field(record, "event_id"),
                       .account = text_field(record, "account_id"),
                       .user = text_field(record, "user_id"),
                       .feature = text_field(record, "feature")};
    avro_value_get_enum(&kind, &ev.kind);
    avro_value_get_long(&at, &ev.occurred_at);
    avro_value_get_double(&quantity, &ev.quantity);
    return ev;
}

/* Notes that the owner sees a thing; gives when it did before, 0 if never. */
static int64_t
see(struct peer *peer, const void *owner, struct text thing, int64_t at, struct seen **ret_seen)
{
    *ret_seen = find_or_add(&peer->seen, owner, thing.p, thing.len);
    int64_t was = (*ret_seen)->at;
    (*ret_seen)->at = at > was ? at : was;
    return was;
}

/* Below an account lie its users, below each the features used; the account's own features lie below a part of it. */
static void
count_event(struct peer *peer, struct row *account, const struct event *ev, int64_t at)
{
    static const struct cell login = {.logins = 1}, one_user = {.users = 1}, one_other = {.others = 1};
    const struct cell usage = {.events = 1, .units = (int64_t)(ev->quantity * 1e6 + 0.5)};
    struct seen *user = NULL, *seen;
    account->first_seen = account->first_seen == 0 || at < account->first_seen ? at : account->first_seen;
    account->last_seen = at > account->last_seen ? at : account->last_seen;
    count(account, at, ev->kind == 0 ? &usage : &login);
    mark(peer, account);
    if (ev->user.len > 0) {
        int64_t was = see(peer, account, ev->user, at, &user);
        account->users += was == 0;
        count_distinct(account, was, at, &one_user);
    }
    if (ev->kind != 0 || ev->feature.len == 0) {
        return;
    }
    char key[KEY_MAX];
    int len = snprintf(key, sizeof(key), "peer:feature:%s:%d", ev->feature.p, account->partition);
    struct row *feature = row_of(peer, key, (size_t)len, account->partition);
    count(feature, at, &usage);
    mark(peer, feature);
    int64_t was = see(peer, &account->days30, ev->feature, at, &seen);
    count_distinct(account, was, at, &one_other);
    count_distinct(feature, was, at, &one_other);
    if (user != NULL) {
        count_distinct(feature, see(peer, user, ev->feature, at, &seen), at, &one_user);
    }
}

static void
on_record(struct peer *peer, const rd_kafka_message_t *msg)
{
    int64_t ts = rd_kafka_message_timestamp(msg, NULL), *clock = &peer->clock[msg->partition];
    char key[KEY_MAX];
    *clock = ts > *clock ? ts : *clock;
    peer->records++;
    struct event ev = read_event(peer, msg);
    if (ev.kind > 1) {
        return;
    }
    int len = snprintf(key, sizeof(key), "peer:account:%s", ev.account.p);
    struct row *account = row_of(peer, key, (size_t)len, msg->partition);
    if (ev.id.len == 0 || !is_duplicate(peer, account, ev.id.p, ev.id.len)) {
        count_event(peer, account, &ev, ev.occurred_at < *clock ? ev.occurred_at : *clock);
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
    static struct peer peer = {
        .rows.size = sizeof(struct row), .seen.size = sizeof(struct seen), .ids.size = sizeof(struct id)};
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
