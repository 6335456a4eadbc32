/* The features with the most events in 24 hours, without an index of features in Redis.
 *
 * The contract has no list of features, and KEYS or a full SCAN would walk every account's keys. So a SCAN goes on in
 * small steps, SCAN_STEPS a second and only while somebody looks: 10,000 keys a second, about 3 ms of Redis. What it
 * finds is kept (at most UPT_ADMIN_FEATURES_MAX names, the least used dropped when it is full) and what a whole pass
 * did not meet again is forgotten. The counts of the names known are read every RANK_MS, and before any is dropped.
 * With more keys than a pass can walk in a while, a feature that is new shows up late; the list says so ("complete":
 * false) until the first pass is done.
 *
 * @locality: the reader thread of the admin port. */
#include "ingest/admin/internal.h"

#include <stdio.h>
#include <stdlib.h>

#include <hiredis/hiredis.h>

#include "uptake/time.h"

#define SCAN_STEPS 10
#define SCAN_COUNT "1000"
#define RANK_MS 5000

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* "uptake:feature:{a%20b}" to "a b" in place; the new length, or 0 if it is no such key. */
static uint32_t
name_of_key(const char *prefix, struct upt_str key, char *ret)
{
    size_t head = strlen(prefix) + strlen("feature:{");
    uint32_t n = 0;
    if (key.len < head + 2 || key.len > head + 1 + 3 * (size_t)UPT_FEATURE_MAX || key.p[key.len - 1] != '}') {
        return 0;
    }
    for (size_t i = head; i < (size_t)key.len - 1; i++) {
        char c = key.p[i];
        if (c == '%' && i + 2 < (size_t)key.len - 1) {
            int value = hex_digit(key.p[i + 1]) * 16 + hex_digit(key.p[i + 2]);
            c = (char)(unsigned char)value;
            i += 2;
        }
        ret[n++] = c;
    }
    return n;
}

static int
by_events(const void *a, const void *b)
{
    const struct upt_admin_feature *x = a;
    const struct upt_admin_feature *y = b;
    if (x->events_24h != y->events_24h) {
        return x->events_24h > y->events_24h ? -1 : 1;
    }
    int order = memcmp(x->name, y->name, x->name_len < y->name_len ? x->name_len : y->name_len);
    return order != 0 ? order : (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

static void
truncate_list(struct upt_admin_features *features, size_t n)
{
    while (features->n > n) {
        free(features->list[--features->n].name);
    }
}

/* Reads events_24h of all names known, in one pipeline. */
static bool
rank(struct upt_admin_redis *redis)
{
    struct upt_admin_features *features = &redis->features;
    struct upt_buf key = {0};
    size_t sent = 0;
    for (; sent < features->n; sent++) {
        struct upt_str name = {.p = features->list[sent].name, .len = features->list[sent].name_len};
        upt_buf_clear(&key);
        upt_view_key(&key, redis->config.prefix, "feature:", name, "");
        struct upt_str argv[3] = {UPT_STR("HGET"), {.p = key.p, .len = (uint32_t)key.len}, UPT_STR("events_24h")};
        if (!upt_admin_redis_send(redis, 3, argv)) {
            break;
        }
    }
    upt_buf_fini(&key);
    for (size_t i = 0; i < sent; i++) {
        redisReply *reply = upt_admin_redis_take(redis);
        features->list[i].events_24h =
            reply != NULL && reply->type == REDIS_REPLY_STRING ? (int64_t)strtoll(reply->str, NULL, 10) : -1;
        if (reply != NULL) {
            freeReplyObject(reply);
        }
    }
    if (redis->ctx == NULL) {
        return false;
    }
    if (features->n > 0) {
        qsort(features->list, features->n, sizeof(features->list[0]), by_events);
    }
    features->ranked_at = upt_mono_ms();
    return true;
}

/* False: the connection is gone, and with it what would tell which names to drop. */
static bool
meet(struct upt_admin_redis *redis, const char *name, uint32_t len)
{
    struct upt_admin_features *features = &redis->features;
    for (size_t i = 0; i < features->n; i++) {
        if (features->list[i].name_len == len && memcmp(features->list[i].name, name, len) == 0) {
            features->list[i].pass = features->pass;
            return true;
        }
    }
    if (features->n == UPT_ADMIN_FEATURES_MAX) {
        if (!rank(redis)) {
            return false;
        }
        truncate_list(features, UPT_ADMIN_FEATURES_MAX / 2);
    }
    char *copy = malloc(len);
    if (copy != NULL) {
        memcpy(copy, name, len);
        features->list[features->n++] =
            (struct upt_admin_feature){.name = copy, .name_len = len, .pass = features->pass, .events_24h = -1};
        features->ranked_at = 0;
    }
    return true;
}

/* The prefix may hold characters that SCAN's patterns give a meaning. */
static void
put_pattern(struct upt_buf *out, const char *prefix)
{
    for (const char *p = prefix; *p != '\0'; p++) {
        if (strchr("*?[]\\^", *p) != NULL) {
            upt_buf_puts(out, "\\");
        }
        upt_buf_put(out, p, 1);
    }
    upt_buf_puts(out, "feature:{*}");
}

static void
end_pass(struct upt_admin_features *features)
{
    size_t kept = 0;
    for (size_t i = 0; i < features->n; i++) {
        if (features->list[i].pass == features->pass) {
            features->list[kept++] = features->list[i];
        } else {
            free(features->list[i].name);
        }
    }
    features->n = kept;
    features->pass++;
}

static bool
scan(struct upt_admin_redis *redis, const struct upt_buf *pattern)
{
    struct upt_admin_features *features = &redis->features;
    char name[3 * UPT_FEATURE_MAX + 1];
    struct upt_str argv[6] = {UPT_STR("SCAN"),  upt_str_of(features->cursor[0] == '\0' ? "0" : features->cursor),
                              UPT_STR("MATCH"), {.p = pattern->p, .len = (uint32_t)pattern->len},
                              UPT_STR("COUNT"), UPT_STR(SCAN_COUNT)};
    redisReply *reply = upt_admin_redis_send(redis, 6, argv) ? upt_admin_redis_take(redis) : NULL;
    if (reply == NULL) {
        return false;
    }
    bool more = false;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[0]->type == REDIS_REPLY_STRING) {
        const redisReply *keys = reply->element[1];
        bool met = true;
        for (size_t i = 0; met && i < keys->elements; i++) {
            struct upt_str key = {.p = keys->element[i]->str, .len = (uint32_t)keys->element[i]->len};
            uint32_t len = name_of_key(redis->config.prefix, key, name);
            met = len == 0 || meet(redis, name, len);
        }
        if (!met) {
            freeReplyObject(reply);
            return false;
        }
        snprintf(features->cursor, sizeof(features->cursor), "%s", reply->element[0]->str);
        more = strcmp(features->cursor, "0") != 0;
        if (!more) {
            end_pass(features);
        }
    }
    freeReplyObject(reply);
    return more;
}

/* The rows of the first few, whole. */
static json_t *
rows(struct upt_admin_redis *redis)
{
    static const struct upt_str fields[] = {{"events_24h", 10},   {"events_30d", 10},    {"users_30d", 9},
                                            {"accounts_30d", 12}, {"adoption_rate", 13}, {"reach", 5}};
    enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };
    struct upt_admin_features *features = &redis->features;
    struct upt_buf key = {0};
    json_t *list = json_array();
    for (size_t i = 0; i < features->n && i < UPT_ADMIN_FEATURES && redis->ctx != NULL; i++) {
        struct upt_str name = {.p = features->list[i].name, .len = features->list[i].name_len};
        struct upt_str argv[2 + FIELDS];
        upt_buf_clear(&key);
        upt_view_key(&key, redis->config.prefix, "feature:", name, "");
        argv[0] = UPT_STR("HMGET");
        argv[1] = (struct upt_str){.p = key.p, .len = (uint32_t)key.len};
        memcpy(argv + 2, fields, sizeof(fields));
        redisReply *reply = upt_admin_redis_send(redis, 2 + FIELDS, argv) ? upt_admin_redis_take(redis) : NULL;
        json_t *text = json_stringn(name.p, name.len);
        json_t *row = json_object();
        for (size_t f = 0; reply != NULL && f < reply->elements && f < FIELDS; f++) {
            const redisReply *cell = reply->element[f];
            if (cell->type == REDIS_REPLY_STRING) {
                struct upt_str value = {.p = cell->str, .len = (uint32_t)cell->len};
                json_object_set_new(row, fields[f].p, upt_admin_redis_value(fields[f], value));
            }
        }
        if (text != NULL && json_object_size(row) > 0) {
            json_object_set_new(row, "feature", text);
            json_array_append_new(list, row);
        } else {
            json_decref(text);
            json_decref(row);
        }
        if (reply != NULL) {
            freeReplyObject(reply);
        }
    }
    upt_buf_fini(&key);
    return list;
}

json_t *
upt_admin_redis_top_features(struct upt_admin_redis *redis)
{
    struct upt_admin_features *features = &redis->features;
    struct upt_buf pattern = {0};
    put_pattern(&pattern, redis->config.prefix);
    for (int i = 0; i < SCAN_STEPS && scan(redis, &pattern); i++) {
    }
    upt_buf_fini(&pattern);
    bool ranked = redis->ctx != NULL && redis->why[0] == '\0';
    if (ranked && (features->ranked_at == 0 || upt_mono_ms() - features->ranked_at >= RANK_MS)) {
        ranked = rank(redis);
    }
    json_t *list = ranked ? rows(redis) : NULL;
    if (redis->ctx == NULL || list == NULL) {
        json_decref(list);
        return NULL;
    }
    json_t *top = json_object();
    (void)json_object_set_new(top, "complete", json_boolean(features->pass > 0));
    (void)json_object_set_new(top, "rows", list);
    return top;
}
