/* hiredis' API and the server behind it. See sim_protocol.h.
 *
 * Commands of one write of the client are carried out one after the other without a pause; between two writes anything
 * may come. Hashes, strings and sorted sets are lists of fields; a stream is not kept. The two scripts are modelled
 * here: the guard by epoch and position, the sum over partitions, and the shares. */
#include <hiredis/hiredis.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_protocol_check.h"
#include "sim_protocol_kafka.h"
#include "sim_protocol_redis.h"
#include "uptake/assert.h"

#define WATCHED 4
#define ARGS 512
#define SUMS_MAX 17
#define LATE 8
#define WALK_US 3000000

/* The server's end of a connection. */
struct server {
    bool multi, dirty, broken;
    struct upt_str watched[WATCHED];
    const struct sim_value *seen[WATCHED];
    size_t watched_n;
    struct upt_str queued; /* commands between MULTI and EXEC, as they came */
    unsigned queued_n;
};

struct connection {
    redisContext ctx; /* first */
    redisReader reader;
    struct server *server;
    struct upt_buf out;
    redisReply **replies;
    size_t replies_n, replies_at, replies_cap;
};

struct late {
    struct server *server;
    struct upt_str bytes;
    int64_t at_us;
};

extern const size_t upt_view_sums_lua_len;

struct sim_db sim_db;
static struct sim_db saved;
static struct late late[LATE];
static size_t late_n;
static uint64_t life; /* scripts are gone with a restart */
static bool scripts;
static int64_t taken_us; /* when a marker was taken last */

/* ---- keys ---- */

void
sim_redis_reset(void)
{
    memset(&sim_db, 0, sizeof(sim_db));
    memset(&saved, 0, sizeof(saved));
    late_n = 0;
    taken_us = 0;
    scripts = false;
    life++;
}

static struct sim_key *
find(struct upt_str name, bool create)
{
    for (size_t i = 0; i < sim_db.n; i++) {
        if (upt_str_eq(sim_db.v[i].name, name)) {
            return &sim_db.v[i];
        }
    }
    if (!create) {
        return NULL;
    }
    if (sim_db.n == sim_db.cap) {
        size_t cap = sim_db.cap == 0 ? 128 : sim_db.cap * 2;
        struct sim_key *grown = sim_alloc(cap * sizeof(*grown));
        if (sim_db.n > 0) {
            memcpy(grown, sim_db.v, sim_db.n * sizeof(*grown));
        }
        sim_db.v = grown;
        sim_db.cap = cap;
    }
    upt_assert(sim_db.n < SIM_KEYS);
    struct sim_key *key = &sim_db.v[sim_db.n++];
    key->name = sim_copy(name);
    key->value = NULL;
    return key;
}

const struct sim_value *
sim_redis_get(struct upt_str name)
{
    const struct sim_key *key = find(name, false);
    return key != NULL ? key->value : NULL;
}

struct upt_str
sim_redis_field(const struct sim_value *value, struct upt_str name)
{
    for (size_t i = 0; value != NULL && i < value->n; i++) {
        if (upt_str_eq(value->v[i].name, name)) {
            return value->v[i].value;
        }
    }
    return UPT_STR_NULL;
}

/* A new version with n fields set. */
static void
set_fields(struct upt_str name, const struct sim_field *fields, size_t n)
{
    struct sim_key *key = find(name, true);
    size_t old_n = key->value != NULL ? key->value->n : 0;
    struct sim_value *value = sim_alloc(sizeof(*value));
    value->v = sim_alloc((old_n + n) * sizeof(*value->v) + 1);
    if (old_n > 0) {
        memcpy(value->v, key->value->v, old_n * sizeof(*value->v));
    }
    value->n = old_n;
    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        while (at < value->n && !upt_str_eq(value->v[at].name, fields[i].name)) {
            at++;
        }
        if (at == value->n) {
            value->v[value->n++].name = sim_copy(fields[i].name);
        }
        value->v[at].value = sim_copy(fields[i].value);
    }
    key->value = value;
}

static void
remove_fields(struct upt_str name, const struct upt_str *fields, size_t n)
{
    struct sim_key *key = find(name, false);
    if (key == NULL || key->value == NULL) {
        return;
    }
    struct sim_value *value = sim_alloc(sizeof(*value));
    value->v = sim_alloc(key->value->n * sizeof(*value->v) + 1);
    for (size_t i = 0; i < key->value->n; i++) {
        bool gone = false;
        for (size_t k = 0; k < n; k++) {
            gone = gone || upt_str_eq(key->value->v[i].name, fields[k]);
        }
        if (!gone) {
            value->v[value->n++] = key->value->v[i];
        }
    }
    key->value = value->n > 0 ? value : NULL;
}

void
sim_redis_snapshot(void)
{
    saved.n = sim_db.n;
    saved.v = sim_alloc(sim_db.n * sizeof(*saved.v) + 1);
    if (sim_db.n > 0) {
        memcpy(saved.v, sim_db.v, sim_db.n * sizeof(*saved.v));
    }
}

void
sim_redis_lose(void)
{
    for (size_t i = 0; i < sim_db.n; i++) {
        sim_db.v[i].value = i < saved.n ? saved.v[i].value : NULL;
    }
    life++;
    late_n = 0;
    scripts = false;
    sim_check_rows_lost();
    sim_note("Redis loses its last writes");
}

void
sim_redis_flushall(void)
{
    for (size_t i = 0; i < sim_db.n; i++) {
        sim_db.v[i].value = NULL;
    }
    sim_check_rows_lost();
    sim_note("Redis loses everything");
}

/* ---- replies ---- */

/* Replies are made only where somebody waits for them: NULL for a late command. */
static redisReply *
reply_of(struct connection *to, int type)
{
    if (to == NULL) {
        return NULL;
    }
    redisReply *reply = calloc(1, sizeof(*reply));
    reply->type = type;
    return reply;
}

static redisReply *
text_reply(struct connection *to, int type, struct upt_str text)
{
    if (text.p == NULL) {
        return reply_of(to, REDIS_REPLY_NIL);
    }
    redisReply *reply = reply_of(to, type);
    if (reply != NULL) {
        reply->str = malloc((size_t)text.len + 1);
        memcpy(reply->str, text.p, text.len);
        reply->str[text.len] = '\0';
        reply->len = text.len;
    }
    return reply;
}

static redisReply *
ok(struct connection *to)
{
    return text_reply(to, REDIS_REPLY_STATUS, UPT_STR("OK"));
}

static void
add_element(redisReply *array, redisReply *element)
{
    if (array == NULL || element == NULL) {
        return;
    }
    array->element = realloc(array->element, (array->elements + 1) * sizeof(redisReply *));
    array->element[array->elements++] = element;
}

void
freeReplyObject(void *p)
{
    redisReply *reply = p;
    for (size_t i = 0; i < reply->elements; i++) {
        freeReplyObject(reply->element[i]);
    }
    free(reply->element);
    free(reply->str);
    free(reply);
}

/* ---- the script ---- */

static int64_t
number(struct upt_str s)
{
    char text[32];
    size_t n = s.len < sizeof(text) - 1 ? s.len : sizeof(text) - 1;
    memcpy(text, s.p, n);
    text[n] = '\0';
    return strtoll(text, NULL, 10);
}

static struct upt_str
integer(int64_t v, char *buf)
{
    return (struct upt_str){.p = buf, .len = (uint32_t)snprintf(buf, 24, "%lld", (long long)v)};
}

/* A quotient with up to six decimals, at most 1; null where there is no divisor. */
static struct upt_str
share(int64_t n, struct upt_str by, char *buf)
{
    double d = by.len > 0 ? (double)number(by) : 0;
    if (d <= 0) {
        return UPT_STR_NULL;
    }
    double share = (double)n / d;
    size_t len = (size_t)snprintf(buf, 32, "%.6f", share < 1 ? share : 1.0);
    while (buf[len - 1] == '0') {
        len--;
    }
    len -= buf[len - 1] == '.' ? 1 : 0;
    return (struct upt_str){.p = buf, .len = (uint32_t)len};
}

static void
set_share(struct upt_str key, const char *name, int64_t n, struct upt_str by)
{
    char text[32];
    const struct sim_field field = {.name = upt_str_of(name), .value = share(n, by, text)};
    if (field.value.p == NULL) {
        remove_fields(key, &field.name, 1);
    } else {
        set_fields(key, &field, 1);
    }
}

static void
set_shares(struct upt_str key, int64_t users, int64_t accounts, const struct upt_str *totals)
{
    set_share(key, "adoption_rate", users, totals[0]);
    set_share(key, "depth", users, totals[1]);
    set_share(key, "reach", accounts, totals[2]);
}

/* args: EVALSHA sha 2 public private partition epoch offset tick as_of kind values… */
static redisReply *
run_sums(struct connection *to, const struct upt_str *args)
{
    static const char *const f_names[] = {"events_1h", "units_1h",   "events_24h", "units_24h",    "events_7d",
                                          "units_7d",  "events_30d", "units_30d",  "accounts_30d", "users_30d"};
    static const char *const t_names[SUMS_MAX] = {
        "events_1h",    "units_1h",  "logins_1h",   "events_24h",     "units_24h",  "logins_24h",
        "events_7d",    "units_7d",  "logins_7d",   "events_30d",     "units_30d",  "logins_30d",
        "accounts_30d", "users_30d", "users_total", "accounts_total", "open_alerts"};
    bool totals = args[10].p[0] == 't';
    size_t n = totals ? SUMS_MAX : 10;
    const struct sim_value *old = sim_redis_get(args[4]);
    struct upt_str mine = sim_redis_field(old, args[5]);
    long long epoch = number(args[6]), offset = number(args[7]), tick = number(args[8]), e, o, t;
    if (mine.p != NULL && sscanf(mine.p, "%lld %lld %lld", &e, &o, &t) == 3 &&
        (e > epoch || (e == epoch && (o > offset || (o == offset && t > tick))))) {
        return reply_of(to, REDIS_REPLY_INTEGER);
    }
    char text[1024];
    size_t len =
        (size_t)snprintf(text, sizeof(text), "%lld %lld %lld %lld", epoch, offset, tick, (long long)number(args[9]));
    for (size_t i = 0; i < n; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, " %.*s", (int)args[11 + i].len, args[11 + i].p);
    }
    const struct sim_field contribution = {.name = args[5], .value = {.p = text, .len = (uint32_t)len}};
    set_fields(args[4], &contribution, 1);
    int64_t sums[SUMS_MAX] = {0}, as_of = INT64_MAX;
    const struct sim_value *all = sim_redis_get(args[4]);
    for (size_t k = 0; k < all->n; k++) {
        char *p = (char *)(uintptr_t)all->v[k].value.p; /* ends with NUL */
        for (int skip = 0; skip < 3; skip++) {
            (void)strtoll(p, &p, 10);
        }
        int64_t at = strtoll(p, &p, 10);
        as_of = at < as_of ? at : as_of;
        for (size_t i = 0; i < n; i++) {
            sums[i] += strtoll(p, &p, 10);
        }
    }
    struct sim_field fields[SUMS_MAX + 1];
    char numbers[SUMS_MAX + 1][24];
    for (size_t i = 0; i < n; i++) {
        fields[i] = (struct sim_field){.name = upt_str_of(totals ? t_names[i] : f_names[i]),
                                       .value = integer(sums[i], numbers[i])};
    }
    fields[n] = (struct sim_field){.name = UPT_STR("as_of"), .value = integer(as_of, numbers[n])};
    set_fields(args[3], fields, n + 1);
    if (!totals) {
        set_shares(args[3], sums[9], sums[8], args + 11 + n);
    }
    return reply_of(to, REDIS_REPLY_INTEGER);
}

/* args: EVALSHA sha 1 public users_total users_30d accounts_30d */
static redisReply *
run_shares(struct connection *to, const struct upt_str *args)
{
    const struct sim_value *row = sim_redis_get(args[3]);
    struct upt_str users = sim_redis_field(row, UPT_STR("users_30d"));
    struct upt_str accounts = sim_redis_field(row, UPT_STR("accounts_30d"));
    if (users.p != NULL && accounts.p != NULL) {
        set_shares(args[3], number(users), number(accounts), args + 4);
    }
    const struct sim_key *key = find(args[3], false);
    if (to != NULL && key != NULL) {
        size_t i = (size_t)(key - sim_db.v);
        sim_self()->has_shared[i / 64] |= 1ull << i % 64;
    }
    return reply_of(to, REDIS_REPLY_INTEGER);
}

static bool
is_share(const struct sim_value *row, const char *name, struct upt_str n, struct upt_str by)
{
    char text[32];
    struct upt_str is = sim_redis_field(row, upt_str_of(name)), wanted = share(number(n), by, text);
    return (is.p == NULL && wanted.p == NULL) || upt_str_eq(is, wanted);
}

static bool
will_share(size_t key)
{
    bool will = false;
    for (int i = 0; i < SIM_PROCS; i++) {
        will = will || (sim_procs[i].alive && (sim_procs[i].has_shared[key / 64] >> key % 64 & 1) != 0);
    }
    return will;
}

bool
sim_redis_walked(void)
{
    return sim_now_us - taken_us > WALK_US;
}

bool
sim_redis_shares_settled(void)
{
    static const char family[] = "uptake:feature:";
    const struct sim_value *totals = sim_redis_get(UPT_STR("uptake:totals"));
    struct upt_str by[3] = {sim_redis_field(totals, UPT_STR("users_total")),
                            sim_redis_field(totals, UPT_STR("users_30d")),
                            sim_redis_field(totals, UPT_STR("accounts_30d"))};
    bool settled = true;
    for (size_t i = 0; i < sim_db.n && settled; i++) {
        const struct sim_value *row = sim_db.v[i].value;
        struct upt_str users = sim_redis_field(row, UPT_STR("users_30d"));
        if (users.p != NULL && sim_db.v[i].name.len > sizeof(family) &&
            memcmp(sim_db.v[i].name.p, family, sizeof(family) - 1) == 0) {
            settled = (is_share(row, "adoption_rate", users, by[0]) && is_share(row, "depth", users, by[1]) &&
                       is_share(row, "reach", sim_redis_field(row, UPT_STR("accounts_30d")), by[2])) ||
                      will_share(i);
        }
    }
    return settled;
}

static redisReply *
run_script(struct connection *to, const struct upt_str *args)
{
    if (!scripts) {
        return text_reply(to, REDIS_REPLY_ERROR, UPT_STR("NOSCRIPT no matching script"));
    }
    return upt_str_eq(args[1], UPT_STR("sums")) ? run_sums(to, args) : run_shares(to, args);
}

/* pattern: "uptake:FAMILY{*}" */
static redisReply *
run_scan(struct connection *to, struct upt_str pattern)
{
    redisReply *reply = reply_of(to, REDIS_REPLY_ARRAY), *keys = reply_of(to, REDIS_REPLY_ARRAY);
    upt_assert(pattern.len > 2 && pattern.p[pattern.len - 2] == '*');
    size_t head = pattern.len - 2;
    for (size_t i = 0; i < sim_db.n; i++) {
        const struct sim_key *key = &sim_db.v[i];
        if (key->value != NULL && key->name.len > head + 1 && memcmp(key->name.p, pattern.p, head) == 0 &&
            key->name.p[key->name.len - 1] == '}') {
            add_element(keys, text_reply(to, REDIS_REPLY_STRING, key->name));
        }
    }
    add_element(reply, text_reply(to, REDIS_REPLY_STRING, UPT_STR("0")));
    add_element(reply, keys);
    return reply;
}

/* ---- commands ---- */

static bool
is(struct upt_str arg, const char *name)
{
    return upt_str_eq(arg, upt_str_of(name));
}

static redisReply *
run_hash(struct connection *to, const struct upt_str *args, size_t n)
{
    struct sim_field fields[ARGS];
    size_t fields_n = 0;
    if (is(args[0], "SADD")) {
        for (size_t i = 2; i < n; i++) {
            fields[fields_n++] = (struct sim_field){.name = args[i], .value = UPT_STR("")};
        }
    } else if (is(args[0], "ZADD")) {
        for (size_t i = 2; i + 1 < n; i += 2) {
            fields[fields_n++] = (struct sim_field){.name = args[i + 1], .value = args[i]};
        }
    } else {
        for (size_t i = 2; i + 1 < n; i += 2) {
            fields[fields_n++] = (struct sim_field){.name = args[i], .value = args[i + 1]};
        }
    }
    set_fields(args[1], fields, fields_n);
    return reply_of(to, REDIS_REPLY_INTEGER);
}

static void
watch(struct server *server, struct upt_str name)
{
    upt_assert(server->watched_n < WATCHED);
    server->watched[server->watched_n] = sim_copy(name);
    server->seen[server->watched_n++] = sim_redis_get(name);
}

static redisReply *
run_command(struct connection *to, struct server *server, const struct upt_str *args, size_t n)
{
    if (is(args[0], "HSET") || is(args[0], "ZADD") || is(args[0], "SADD")) {
        return run_hash(to, args, n);
    }
    if (is(args[0], "HDEL") || is(args[0], "ZREM") || is(args[0], "SREM")) {
        remove_fields(args[1], args + 2, n - 2);
    } else if (is(args[0], "DEL") || is(args[0], "UNLINK")) {
        for (size_t i = 1; i < n; i++) {
            struct sim_key *key = find(args[i], false);
            if (key != NULL) {
                key->value = NULL;
            }
        }
    } else if (is(args[0], "SET")) {
        char marker[128]; /* epoch, owner, count of writes, position */
        long long count = 0;
        snprintf(marker, sizeof(marker), "%.*s", (int)args[2].len, args[2].p);
        taken_us = sscanf(marker, "%*s %*s %lld", &count) == 1 && count == 1 ? sim_now_us : taken_us;
        sim_note("%.*s becomes %.*s", (int)args[1].len, args[1].p, (int)args[2].len, args[2].p);
        set_fields(args[1], &(struct sim_field){.name = UPT_STR(""), .value = args[2]}, 1);
        return ok(to);
    } else if (is(args[0], "GET")) {
        return text_reply(to, REDIS_REPLY_STRING, sim_redis_field(sim_redis_get(args[1]), UPT_STR("")));
    } else if (is(args[0], "HGET")) {
        return text_reply(to, REDIS_REPLY_STRING, sim_redis_field(sim_redis_get(args[1]), args[2]));
    } else if (is(args[0], "HMGET")) {
        redisReply *reply = reply_of(to, REDIS_REPLY_ARRAY);
        for (size_t i = 2; i < n; i++) {
            add_element(reply, text_reply(to, REDIS_REPLY_STRING, sim_redis_field(sim_redis_get(args[1]), args[i])));
        }
        return reply;
    } else if (is(args[0], "WATCH")) {
        watch(server, args[1]);
        return ok(to);
    } else if (is(args[0], "UNWATCH")) {
        server->watched_n = 0;
        return ok(to);
    } else if (is(args[0], "SCRIPT")) {
        bool sums = args[2].len == upt_view_sums_lua_len;
        scripts = true;
        return text_reply(to, REDIS_REPLY_STRING, sums ? UPT_STR("sums") : UPT_STR("shares"));
    } else if (is(args[0], "EVALSHA")) {
        return run_script(to, args);
    } else if (is(args[0], "SCAN")) {
        return run_scan(to, args[3]);
    } else if (!is(args[0], "XADD")) {
        sim_fail("Redis was asked for %.*s", (int)args[0].len, args[0].p);
    }
    return reply_of(to, REDIS_REPLY_INTEGER);
}

/* The number between a mark and the end of its line; *p_io: what follows. */
static size_t
length(const char **p_io)
{
    const char *p = *p_io + 1;
    size_t n = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (size_t)(*p - '0');
    }
    *p_io = p + 2;
    return n;
}

/* One command of the stream; its length, or 0 at the end. */
static size_t
parse(struct upt_str in, struct upt_str *args, size_t *ret_n)
{
    const char *p = in.p, *end = in.p + in.len;
    if (p >= end) {
        return 0;
    }
    upt_assert(*p == '*');
    size_t n = length(&p);
    upt_assert(n <= ARGS);
    for (size_t i = 0; i < n; i++) {
        size_t len = length(&p);
        args[i] = (struct upt_str){.p = p, .len = (uint32_t)len};
        p += len + 2;
    }
    *ret_n = n;
    return (size_t)(p - in.p);
}

/* What a transaction has written, as it leaves it. */
static void
check_written(struct upt_str in)
{
    static const char row[] = "uptake:account:{";
    struct upt_str args[ARGS];
    for (size_t n = 0, len; (len = parse(in, args, &n)) > 0; in.p += len, in.len -= (uint32_t)len) {
        if (is(args[0], "HSET") && args[1].len > sizeof(row) && memcmp(args[1].p, row, sizeof(row) - 1) == 0 &&
            args[1].p[args[1].len - 1] == '}' && sim_redis_get(args[1]) != NULL) {
            sim_check_row(args[1], sim_redis_get(args[1]));
        } else if (is(args[0], "HSET") && is(args[1], "uptake:partitions")) {
            sim_check_entry((int)number(args[2]), sim_redis_field(sim_redis_get(args[1]), args[2]));
        }
    }
}

static redisReply *
execute(struct connection *to, struct server *server)
{
    bool aborted = false;
    for (size_t i = 0; i < server->watched_n; i++) {
        aborted = aborted || sim_redis_get(server->watched[i]) != server->seen[i];
    }
    server->multi = false;
    server->watched_n = 0;
    if (aborted) {
        return reply_of(to, REDIS_REPLY_NIL);
    }
    redisReply *reply = reply_of(to, REDIS_REPLY_ARRAY);
    struct upt_str args[ARGS], in = server->queued;
    for (size_t n = 0, len; (len = parse(in, args, &n)) > 0; in.p += len, in.len -= (uint32_t)len) {
        add_element(reply, run_command(to, server, args, n));
    }
    check_written(server->queued);
    return reply;
}

static void
put_reply(struct connection *to, redisReply *reply)
{
    if (to == NULL) {
        return;
    }
    if (to->replies_n == to->replies_cap) {
        to->replies_cap = to->replies_cap == 0 ? 64 : to->replies_cap * 2;
        to->replies = realloc(to->replies, to->replies_cap * sizeof(redisReply *));
    }
    to->replies[to->replies_n++] = reply;
}

static void
run_stream(struct connection *to, struct server *server, struct upt_str in)
{
    struct upt_str args[ARGS], queued = {.p = in.p};
    for (size_t n = 0, len; (len = parse(in, args, &n)) > 0; in.p += len, in.len -= (uint32_t)len) {
        if (is(args[0], "MULTI")) {
            server->multi = true;
            queued.p = in.p + len;
            put_reply(to, ok(to));
        } else if (is(args[0], "EXEC")) {
            queued.len = (uint32_t)(in.p - queued.p);
            server->queued = queued;
            put_reply(to, execute(to, server));
        } else if (server->multi) {
            put_reply(to, text_reply(to, REDIS_REPLY_STATUS, UPT_STR("QUEUED")));
        } else {
            put_reply(to, run_command(to, server, args, n));
        }
    }
}

void
sim_redis_tick(void)
{
    for (size_t i = 0; i < late_n;) {
        if (sim_now_us >= late[i].at_us) {
            struct late now = late[i];
            late[i] = late[--late_n];
            sim_note("commands of a broken connection are carried out");
            run_stream(NULL, now.server, now.bytes);
        } else {
            i++;
        }
    }
}

/* ---- the client ---- */

static redisReplyObjectFunctions making = {.freeObject = freeReplyObject};

redisContext *
redisConnectWithTimeout(const char *host, int port, const struct timeval timeout)
{
    (void)host, (void)port, (void)timeout;
    struct connection *conn = calloc(1, sizeof(*conn));
    conn->ctx.fd = -1;
    conn->ctx.reader = &conn->reader;
    conn->reader.fn = &making;
    conn->ctx.flags = (int)life;
    conn->server = sim_alloc(sizeof(*conn->server));
    sim_sleep_us(100);
    return &conn->ctx;
}

int
redisSetTimeout(redisContext *ctx, const struct timeval timeout)
{
    (void)ctx, (void)timeout;
    return REDIS_OK;
}

void *
redisCommandArgv(redisContext *ctx, int argc, const char **argv, const size_t *lens)
{
    (void)argc, (void)argv, (void)lens;
    return ok((struct connection *)(void *)ctx);
}

void
redisFree(redisContext *ctx)
{
    struct connection *conn = (struct connection *)(void *)ctx;
    while (conn->replies_at < conn->replies_n) {
        freeReplyObject(conn->replies[conn->replies_at++]);
    }
    free(conn->replies);
    upt_buf_fini(&conn->out);
    free(conn);
}

int
redisAppendFormattedCommand(redisContext *ctx, const char *cmd, size_t len)
{
    upt_buf_put(&((struct connection *)(void *)ctx)->out, cmd, len);
    return REDIS_OK;
}

/* What is written goes out when its replies are asked for. */
int
redisBufferWrite(redisContext *ctx, int *done)
{
    (void)ctx;
    *done = 1;
    return REDIS_OK;
}

static bool
has(const struct upt_buf *out, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i + len <= out->len; i++) {
        if (out->p[i] == word[0] && memcmp(out->p + i, word, len) == 0) {
            return true;
        }
    }
    return false;
}

static enum sim_point
point_of(const struct upt_buf *out)
{
    static const char multi[] = "*1\r\n$5\r\nMULTI";
    if (out->len > sizeof(multi) && memcmp(out->p, multi, sizeof(multi) - 1) == 0) {
        return has(out, "$4\r\nHSET") || has(out, "$3\r\nDEL") ? SIM_P_R_ROWS : SIM_P_R_TAKE;
    }
    return has(out, "EVALSHA") ? SIM_P_R_SUMS : has(out, "$4\r\nSCAN") ? SIM_P_R_SCAN : SIM_P_R_LOOK;
}

static int
broken(redisContext *ctx)
{
    ctx->err = REDIS_ERR_IO;
    snprintf(ctx->errstr, sizeof(ctx->errstr), "connection lost");
    return REDIS_ERR;
}

static int
send_out(struct connection *conn)
{
    enum sim_point point = point_of(&conn->out);
    sim_effect(point, false);
    struct upt_str bytes = {.p = conn->out.p, .len = (uint32_t)conn->out.len};
    if (conn->ctx.flags != (int)life) {
        return broken(&conn->ctx);
    }
    if (sim_chance(sim_odds.redis_drop)) {
        uint64_t fate = sim_rnd(3);
        if (fate == 0) {
            run_stream(NULL, conn->server, sim_copy(bytes));
        } else if (fate == 1 && late_n < LATE) {
            late[late_n++] = (struct late){
                .server = conn->server, .bytes = sim_copy(bytes), .at_us = sim_now_us + (int64_t)sim_rnd(500000)};
        }
        sim_effect(point, true);
        return broken(&conn->ctx);
    }
    run_stream(conn, conn->server, bytes);
    upt_buf_clear(&conn->out);
    sim_effect(point, true);
    return conn->ctx.flags != (int)life ? broken(&conn->ctx) : REDIS_OK;
}

/* The reply as its reader would hand it to functions of the caller's. */
static void *
hand_over(const redisReader *reader, const redisReply *reply, redisReadTask *parent)
{
    redisReadTask task = {.type = reply->type, .parent = parent, .privdata = reader->privdata};
    switch (reply->type) {
    case REDIS_REPLY_ARRAY:
        for (size_t i = 0; i < reply->elements; i++) {
            (void)hand_over(reader, reply->element[i], &task);
        }
        upt_assert(reply->elements <= USHRT_MAX);
        return reader->fn->createArray(&task, (unsigned short)reply->elements); /* int or size_t, by the version */
    case REDIS_REPLY_INTEGER:
        return reader->fn->createInteger(&task, reply->integer);
    case REDIS_REPLY_NIL:
        return reader->fn->createNil(&task);
    default:
        return reader->fn->createString(&task, reply->str, reply->len);
    }
}

int
redisGetReply(redisContext *ctx, void **ret)
{
    struct connection *conn = (struct connection *)(void *)ctx;
    if (conn->replies_at == conn->replies_n) {
        conn->replies_at = conn->replies_n = 0;
        if (conn->out.len == 0 || send_out(conn) != REDIS_OK) {
            return REDIS_ERR;
        }
    }
    redisReply *reply = conn->replies[conn->replies_at++];
    *ret = reply;
    if (ctx->reader->fn != &making) {
        *ret = hand_over(ctx->reader, reply, NULL);
        freeReplyObject(reply);
    }
    return REDIS_OK;
}
