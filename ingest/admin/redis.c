/* Reads for the live page: totals, the accounts most at risk, one account.
 *
 * A connection of its own, not the view's: a page that is looked at must not slow the rows that are written, and a view
 * that is busy must not hold up the page. Time-outs are short, and after a failure no connection is tried for a second,
 * so a Redis that is away costs each look at the page half a second at most. Replies that are errors (MOVED, NOPERM,
 * LOADING) spoil the part that was asked for, not the connection.
 *
 * @locality: the reader thread of the admin port. */
#include "ingest/admin/internal.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <hiredis/hiredis.h>

#include "uptake/output.h"
#include "uptake/time.h"

#define RETRY_MS 1000

static char *
copy(const char *text)
{
    return text == NULL ? NULL : strdup(text);
}

upt_status
upt_admin_redis_init(struct upt_admin_redis *redis, const struct upt_view_config *config, struct upt_error *reterr)
{
    snprintf(redis->why, sizeof(redis->why), "no Redis is configured");
    if (config == NULL) {
        return UPT_OK;
    }
    redis->config = (struct upt_view_config){
        .url = copy(config->url),
        .user = copy(config->user),
        .password = copy(config->password),
        .prefix = copy(config->prefix == NULL ? "uptake:" : config->prefix),
        .timeout_ms = config->timeout_ms > 0 && config->timeout_ms < UPT_ADMIN_REDIS_TIMEOUT_MS
                          ? config->timeout_ms
                          : UPT_ADMIN_REDIS_TIMEOUT_MS,
    };
    redis->features.list = calloc(UPT_ADMIN_FEATURES_MAX, sizeof(*redis->features.list));
    if (redis->features.list == NULL || redis->config.prefix == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for the admin port");
    }
    redis->configured = true;
    return UPT_OK;
}

static void
drop(struct upt_admin_redis *redis)
{
    if (redis->ctx != NULL) {
        redisFree(redis->ctx);
        redis->ctx = NULL;
    }
}

/* strdup'ed strings behind pointers to const: the configuration's type is shared with those who only borrow. */
static void
free_const(const char *text)
{
    union {
        const char *in;
        void *out;
    } u = {.in = text};
    free(u.out);
}

void
upt_admin_redis_fini(struct upt_admin_redis *redis)
{
    drop(redis);
    for (size_t i = 0; i < redis->features.n; i++) {
        free(redis->features.list[i].name);
    }
    free(redis->features.list);
    redis->features = (struct upt_admin_features){0};
    free_const(redis->config.url);
    free_const(redis->config.user);
    free_const(redis->config.password);
    free_const(redis->config.prefix);
    redis->config = (struct upt_view_config){0};
}

bool
upt_admin_redis_ready(struct upt_admin_redis *redis)
{
    if (redis->ctx != NULL) {
        redis->why[0] = '\0';
        return true;
    }
    if (!redis->configured || upt_mono_ms() < redis->retry_at) {
        return false;
    }
    struct upt_error err = {0};
    if (upt_redis_connect(&redis->config, &redis->ctx, &err) != UPT_OK) {
        redis->ctx = NULL;
        redis->retry_at = upt_mono_ms() + RETRY_MS;
        snprintf(redis->why, sizeof(redis->why), "%.*s", (int)sizeof(redis->why) - 1, err.msg);
        return false;
    }
    redis->why[0] = '\0';
    return true;
}

static bool
lost(struct upt_admin_redis *redis)
{
    snprintf(redis->why, sizeof(redis->why), "Redis does not answer: %s",
             redis->ctx->errstr[0] != '\0' ? redis->ctx->errstr : "connection lost");
    drop(redis);
    redis->retry_at = upt_mono_ms() + RETRY_MS;
    return false;
}

bool
upt_admin_redis_send(struct upt_admin_redis *redis, int argc, const struct upt_str *argv)
{
    const char *args[16];
    size_t lens[16];
    if (redis->ctx == NULL || argc > 16) {
        return false;
    }
    for (int i = 0; i < argc; i++) {
        args[i] = argv[i].p;
        lens[i] = argv[i].len;
    }
    return redisAppendCommandArgv(redis->ctx, argc, args, lens) == REDIS_OK || lost(redis);
}

struct redisReply *
upt_admin_redis_take(struct upt_admin_redis *redis)
{
    void *raw = NULL;
    if (redis->ctx == NULL) {
        return NULL;
    }
    if (redisGetReply(redis->ctx, &raw) != REDIS_OK || raw == NULL) {
        (void)lost(redis);
        return NULL;
    }
    redisReply *reply = raw;
    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(redis->why, sizeof(redis->why), "Redis says: %s", reply->str);
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

static struct upt_str
str_of_reply(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS) {
        return UPT_STR_NULL;
    }
    return (struct upt_str){.p = reply->str, .len = (uint32_t)reply->len};
}

static json_t *
text_json(struct upt_str text)
{
    return text.p == NULL ? NULL : json_stringn(text.p, text.len);
}

json_t *
upt_admin_redis_value(struct upt_str field, struct upt_str value)
{
    static const char *const texts[] = {"segment",     "tier",  "renewal_date",     "segments",
                                        "health_band", "phase", "controlled_alerts"};
    char number[40];
    bool text = value.len == 0 || value.len >= sizeof(number) || (field.len > 6 && memcmp(field.p, "units_", 6) == 0);
    for (size_t i = 0; !text && i < sizeof(texts) / sizeof(texts[0]); i++) {
        text = upt_str_eq(field, upt_str_of(texts[i]));
    }
    if (text) {
        return text_json(value);
    }
    memcpy(number, value.p, value.len);
    number[value.len] = '\0';
    char *end = NULL;
    errno = 0;
    long long whole = strtoll(number, &end, 10);
    if (*end == '\0' && errno == 0 && !isspace((unsigned char)number[0])) {
        return json_integer(whole);
    }
    double real = strtod(number, &end);
    return *end == '\0' && isfinite(real) ? json_real(real) : text_json(value);
}

static void
put(json_t *object, struct upt_str name, json_t *value)
{
    char key[160];
    if (value == NULL || name.p == NULL || name.len >= sizeof(key) || memchr(name.p, '\0', name.len) != NULL) {
        json_decref(value);
        return;
    }
    memcpy(key, name.p, name.len);
    key[name.len] = '\0';
    (void)json_object_set_new(object, key, value); /* a name that is not UTF-8 is left out */
}

/* A reply to HGETALL as an object; NULL for an empty hash or another type. */
static json_t *
hash_json(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2) {
        return NULL;
    }
    json_t *object = json_object();
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        struct upt_str name = str_of_reply(reply->element[i]);
        struct upt_str value = str_of_reply(reply->element[i + 1]);
        if (name.p != NULL && value.p != NULL) {
            put(object, name, upt_admin_redis_value(name, value));
        }
    }
    return object;
}

static redisReply *
ask(struct upt_admin_redis *redis, int argc, const struct upt_str *argv)
{
    return upt_admin_redis_send(redis, argc, argv) ? upt_admin_redis_take(redis) : NULL;
}

static struct upt_str
str_of_buf(const struct upt_buf *buf)
{
    return (struct upt_str){.p = buf->p, .len = (uint32_t)buf->len};
}

json_t *
upt_admin_redis_totals(struct upt_admin_redis *redis)
{
    struct upt_buf key = {0};
    upt_buf_printf(&key, "%stotals", redis->config.prefix);
    redisReply *reply = ask(redis, 2, (struct upt_str[]){UPT_STR("HGETALL"), str_of_buf(&key)});
    upt_buf_fini(&key);
    if (reply == NULL) {
        return NULL;
    }
    json_t *totals = hash_json(reply);
    if (totals == NULL) {
        snprintf(redis->why, sizeof(redis->why), "no totals in Redis yet");
    }
    freeReplyObject(reply);
    return totals;
}

static const struct upt_str RISK_FIELDS[] = {
    {"health_band", 11},    {"health", 6},       {"churn_risk_30d", 14}, {"churn_risk_60d", 14},
    {"churn_risk_90d", 14}, {"open_alerts", 11}, {"last_seen", 9},       {"phase", 5},
    {"segment", 7},         {"events_7d", 9},    {"renewal_date", 12},   {"users_30d", 9},
};
#define RISK_FIELDS_N ((int)(sizeof(RISK_FIELDS) / sizeof(RISK_FIELDS[0])))

static bool
send_risk_row(struct upt_admin_redis *redis, struct upt_str account)
{
    struct upt_buf key = {0};
    struct upt_str argv[2 + RISK_FIELDS_N];
    upt_view_key(&key, redis->config.prefix, "account:", account, "");
    argv[0] = UPT_STR("HMGET");
    argv[1] = str_of_buf(&key);
    memcpy(argv + 2, RISK_FIELDS, sizeof(RISK_FIELDS));
    bool sent = upt_admin_redis_send(redis, 2 + RISK_FIELDS_N, argv);
    upt_buf_fini(&key);
    return sent;
}

/* One row of the list; the account's score in the ranking stands in until the row is there. */
static json_t *
risk_row(struct upt_str account, struct upt_str score, const redisReply *fields)
{
    json_t *name = text_json(account);
    if (name == NULL) {
        return NULL;
    }
    json_t *row = json_object();
    put(row, UPT_STR("account"), name);
    put(row, UPT_STR("risk"), upt_admin_redis_value(UPT_STR("risk"), score));
    for (int i = 0; fields != NULL && i < RISK_FIELDS_N && (size_t)i < fields->elements; i++) {
        struct upt_str value = str_of_reply(fields->element[i]);
        if (value.p != NULL) {
            put(row, RISK_FIELDS[i], upt_admin_redis_value(RISK_FIELDS[i], value));
        }
    }
    return row;
}

/* Accounts that have left rank high and are past helping: more are read than shown. */
json_t *
upt_admin_redis_at_risk(struct upt_admin_redis *redis)
{
    struct upt_buf key = {0};
    char last[16];
    snprintf(last, sizeof(last), "%d", UPT_ADMIN_RANKED - 1);
    upt_buf_printf(&key, "%srank:churn_risk", redis->config.prefix);
    redisReply *ranks = ask(redis, 5,
                            (struct upt_str[]){UPT_STR("ZREVRANGE"), str_of_buf(&key), UPT_STR("0"), upt_str_of(last),
                                               UPT_STR("WITHSCORES")});
    upt_buf_fini(&key);
    if (ranks == NULL) {
        return NULL;
    }
    size_t sent = 0;
    size_t n = ranks->type == REDIS_REPLY_ARRAY ? ranks->elements / 2 : 0;
    json_t *list = json_array();
    while (sent < n && send_risk_row(redis, str_of_reply(ranks->element[2 * sent]))) {
        sent++;
    }
    for (size_t i = 0; i < sent; i++) {
        redisReply *fields = upt_admin_redis_take(redis);
        json_t *row = risk_row(str_of_reply(ranks->element[2 * i]), str_of_reply(ranks->element[2 * i + 1]), fields);
        const char *phase = json_string_value(json_object_get(row, "phase"));
        bool gone = phase != NULL && strcmp(phase, upt_phase_names[UPT_PHASE_CHURNED]) == 0;
        if (row != NULL && !gone && json_array_size(list) < UPT_ADMIN_RISKS) {
            (void)json_array_append(list, row);
        }
        json_decref(row);
        if (fields != NULL) {
            freeReplyObject(fields);
        }
    }
    freeReplyObject(ranks);
    if (redis->ctx == NULL) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static int
by_days(const void *a, const void *b)
{
    const json_t *const *x = a;
    const json_t *const *y = b;
    json_int_t dx = json_integer_value(json_object_get(*x, "days"));
    json_int_t dy = json_integer_value(json_object_get(*y, "days"));
    if (dx != dy) {
        return dx > dy ? -1 : 1;
    }
    return strcmp(json_string_value(json_object_get(*x, "feature")), json_string_value(json_object_get(*y, "feature")));
}

/* [{"feature", "days"}, …], most days first: an object would lose names that hold a NUL. */
static json_t *
feature_days_json(const redisReply *reply)
{
    json_t *list = json_array();
    size_t n = reply->type == REDIS_REPLY_ARRAY ? reply->elements / 2 : 0;
    json_t **rows = calloc(n + 1, sizeof(json_t *));
    size_t used = 0;
    for (size_t i = 0; rows != NULL && i < n; i++) {
        json_t *name = text_json(str_of_reply(reply->element[2 * i]));
        struct upt_str days = str_of_reply(reply->element[2 * i + 1]);
        if (name == NULL || days.p == NULL) {
            json_decref(name);
            continue;
        }
        rows[used] = json_object();
        (void)json_object_set_new(rows[used], "feature", name);
        (void)json_object_set_new(rows[used], "days", upt_admin_redis_value(UPT_STR("days"), days));
        used++;
    }
    if (used > 0) {
        qsort(rows, used, sizeof(json_t *), by_days);
    }
    for (size_t i = 0; i < used; i++) {
        (void)json_array_append_new(list, rows[i]);
    }
    free(rows);
    return list;
}

upt_status
upt_admin_redis_account(struct upt_admin_redis *redis, struct upt_str id, json_t **ret)
{
    if (!upt_admin_redis_ready(redis)) {
        return UPT_EUNAVAIL;
    }
    struct upt_buf row_key = {0};
    struct upt_buf features_key = {0};
    redisReply *row = NULL;
    redisReply *features = NULL;
    upt_status status = UPT_EUNAVAIL;
    upt_view_key(&row_key, redis->config.prefix, "account:", id, "");
    upt_view_key(&features_key, redis->config.prefix, "account:", id, ":features");
    if (upt_admin_redis_send(redis, 2, (struct upt_str[]){UPT_STR("HGETALL"), str_of_buf(&row_key)}) &&
        upt_admin_redis_send(redis, 2, (struct upt_str[]){UPT_STR("HGETALL"), str_of_buf(&features_key)})) {
        row = upt_admin_redis_take(redis);
        features = upt_admin_redis_take(redis);
    }
    if (row != NULL && features != NULL) {
        json_t *fields = hash_json(row);
        status = fields == NULL ? UPT_ENOTFOUND : UPT_OK;
        if (fields != NULL) {
            *ret = json_object();
            (void)json_object_set_new(*ret, "account", text_json(id));
            (void)json_object_set_new(*ret, "row", fields);
            (void)json_object_set_new(*ret, "features", feature_days_json(features));
        }
    }
    if (row != NULL) {
        freeReplyObject(row);
    }
    if (features != NULL) {
        freeReplyObject(features);
    }
    upt_buf_fini(&row_key);
    upt_buf_fini(&features_key);
    return status;
}
