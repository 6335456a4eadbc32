/* What Redis holds, collected before the replay.
 *
 * The partition table is read first, then rows, ranks, feature rows and totals: so whatever an entry of the table
 * vouches for is in what is read after it. What belongs together (a row, its features and its ranks; a sum and its
 * parts) is read in one MULTI/EXEC, as it is written. All of it is held in memory, about 1 KB an account. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>
#include <jansson.h>

#include "aggregate/view/view.h"
#include "ingest/verify_ask.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define ROW_REPLIES 4 /* of an account before those of its segments */
#define ENTRY_PATIENCE_MS 2000

static struct upt_str
copy(const char *p, size_t len)
{
    char *to = malloc(len + 1);
    upt_assert(to != NULL);
    memcpy(to, p, len);
    to[len] = '\0';
    return (struct upt_str){.p = to, .len = (uint32_t)len};
}

static void
free_text(struct upt_str text)
{
    union {
        const char *in;
        void *out;
    } u = {.in = text.p};
    free(u.out);
}

static struct upt_verify_hash
pack(const redisReply *array)
{
    struct upt_buf buf = {0};
    for (size_t i = 0; i + 1 < array->elements; i += 2) {
        const redisReply *name = array->element[i], *value = array->element[i + 1];
        upt_buf_put_le32(&buf, (uint32_t)name->len);
        upt_buf_put_le32(&buf, (uint32_t)value->len);
        upt_buf_put(&buf, name->str, name->len);
        upt_buf_put(&buf, value->str, value->len);
    }
    return (struct upt_verify_hash){.p = buf.p, .len = buf.len};
}

int
upt_verify_by_name(const void *a, const void *b)
{
    const struct upt_verify_field *x = a, *y = b;
    uint32_t len = x->name.len < y->name.len ? x->name.len : y->name.len;
    int cmp = memcmp(x->name.p, y->name.p, len);
    return cmp != 0 ? cmp : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

void
upt_verify_unpack(const struct upt_verify_hash *hash, struct upt_verify_fields *ret)
{
    struct upt_cur cur = {.p = hash->p, .end = hash->p + hash->len, .ok = hash->p != NULL};
    ret->n = 0;
    while (cur.ok && cur.p < cur.end) {
        ret->v = upt_verify_room(ret->v, ret->n, &ret->cap, sizeof(*ret->v));
        uint32_t name = upt_cur_le32(&cur);
        uint32_t value = upt_cur_le32(&cur);
        ret->v[ret->n].name = upt_cur_bytes(&cur, name);
        ret->v[ret->n++].value = upt_cur_bytes(&cur, value);
    }
    if (ret->n > 1) {
        qsort(ret->v, ret->n, sizeof(*ret->v), upt_verify_by_name);
    }
}

/* A whole number in a hash's answer; false: it is not there. */
static bool
number_in(const redisReply *array, const char *name, int64_t *ret)
{
    for (size_t i = 0; i + 1 < array->elements; i += 2) {
        if (strcmp(array->element[i]->str, name) == 0) {
            char *end = NULL;
            errno = 0;
            *ret = strtoll(array->element[i + 1]->str, &end, 10);
            return array->element[i + 1]->len > 0 && *end == '\0' && errno == 0;
        }
    }
    return false;
}

/* ---- the partition table ---- */

static upt_status
read_entries(struct upt_asked *asked)
{
    struct upt_verify *v = asked->v;
    struct upt_buf key = {0};
    upt_buf_printf(&key, "%spartitions", v->config->redis_prefix);
    (void)upt_ask(asked, "HGETALL", &key, UPT_STR_NULL);
    redisReply *reply = upt_answer(asked, REDIS_REPLY_ARRAY);
    upt_buf_fini(&key);
    if (reply == NULL) {
        return asked->reterr->code;
    }
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        long long id = strtoll(reply->element[i]->str, NULL, 10);
        json_t *entry = json_loadb(reply->element[i + 1]->str, reply->element[i + 1]->len, 0, NULL);
        const json_t *offset = json_object_get(entry, "offset"), *as_of = json_object_get(entry, "as_of");
        if (id < 0 || id >= v->parts_n || entry == NULL) {
            upt_verify_differs(v, "partitions: entry %.40s is of no partition, or no JSON", reply->element[i]->str);
        } else if (json_is_integer(offset) && json_is_integer(as_of)) {
            v->parts[id].has_entry = true;
            v->parts[id].entry_offset = json_integer_value(offset);
            v->parts[id].entry_as_of = json_integer_value(as_of);
        }
        json_decref(entry);
    }
    freeReplyObject(reply);
    return UPT_OK;
}

/* ---- rows ---- */

static void
plain_key(struct upt_asked *asked, struct upt_buf *key, const char *name)
{
    upt_buf_clear(key);
    upt_buf_printf(key, "%s%s", asked->v->config->redis_prefix, name);
}

static const struct upt_rules *
rules_of(const struct upt_asked *asked)
{
    return asked->v->scoring->rules;
}

static void
set_key(struct upt_asked *asked, struct upt_buf *key, size_t segment)
{
    upt_buf_clear(key);
    upt_view_key(key, asked->v->config->redis_prefix, "segment:", upt_rules_segment_name(rules_of(asked), segment), "");
}

static void
ask_row(struct upt_asked *asked, struct upt_str account)
{
    const char *prefix = asked->v->config->redis_prefix;
    struct upt_buf key = {0};
    (void)upt_ask(asked, "MULTI", NULL, UPT_STR_NULL);
    upt_view_key(&key, prefix, "account:", account, "");
    (void)upt_ask(asked, "HGETALL", &key, UPT_STR_NULL);
    upt_buf_clear(&key);
    upt_view_key(&key, prefix, "account:", account, ":features");
    (void)upt_ask(asked, "HGETALL", &key, UPT_STR_NULL);
    plain_key(asked, &key, "rank:churn_risk");
    (void)upt_ask(asked, "ZSCORE", &key, account);
    plain_key(asked, &key, "rank:health");
    (void)upt_ask(asked, "ZSCORE", &key, account);
    for (size_t i = 0; i < upt_rules_segments_n(rules_of(asked)); i++) {
        set_key(asked, &key, i);
        (void)upt_ask(asked, "SISMEMBER", &key, account);
    }
    (void)upt_ask(asked, "EXEC", NULL, UPT_STR_NULL);
    upt_buf_fini(&key);
}

/* The sets that have the account, after the row, its features and its ranks. */
static struct upt_str
sets_of(const struct upt_rules *rules, const redisReply *group)
{
    struct upt_buf list = {0};
    for (size_t i = 0; i < upt_rules_segments_n(rules); i++) {
        if (group->element[ROW_REPLIES + i]->integer != 0) {
            struct upt_str name = upt_rules_segment_name(rules, i);
            upt_buf_put(&list, ",", list.len > 0);
            upt_buf_put(&list, name.p, name.len);
        }
    }
    struct upt_str sets = list.len > 0 ? copy(list.p, list.len) : UPT_STR_NULL;
    upt_buf_fini(&list);
    return sets;
}

static void
keep_row(struct upt_verify *v, struct upt_str account, const redisReply *group)
{
    const redisReply *row = group->element[0];
    int64_t partition = -1;
    if (row->elements == 0) {
        return; /* gone since the scan saw it */
    }
    v->rows = upt_verify_room(v->rows, v->rows_n, &v->rows_cap, sizeof(*v->rows));
    struct upt_verify_row *to = &v->rows[v->rows_n++];
    *to = (struct upt_verify_row){.account = copy(account.p, account.len),
                                  .row = pack(row),
                                  .features = pack(group->element[1]),
                                  .sets = sets_of(v->scoring->rules, group),
                                  .partition = -1};
    for (size_t i = 0; i < 2; i++) {
        const redisReply *score = group->element[2 + i];
        if (score->type == REDIS_REPLY_STRING) {
            *(i == 0 ? &to->risk : &to->health) = copy(score->str, score->len);
        }
    }
    if (number_in(row, "partition", &partition) && partition >= 0 && partition < v->parts_n &&
        number_in(row, "offset", &to->offset) && number_in(row, "as_of", &to->as_of)) {
        to->partition = (int32_t)partition;
    } else {
        upt_verify_differs(v, "account %.*s: partition, offset or as_of is missing or no such number", (int)account.len,
                           account.p);
    }
}

static upt_status
on_accounts(struct upt_asked *asked)
{
    for (size_t i = 0; i < asked->names_n; i++) {
        ask_row(asked, upt_buf_str(&asked->names[i]));
    }
    for (size_t i = 0; i < asked->names_n; i++) {
        redisReply *group = upt_answer_group(asked, ROW_REPLIES + upt_rules_segments_n(rules_of(asked)));
        if (group == NULL) {
            return asked->reterr->code;
        }
        keep_row(asked->v, upt_buf_str(&asked->names[i]), group);
        freeReplyObject(group);
    }
    upt_verify_progress(asked->v, "Redis: %zu rows", asked->v->rows_n);
    return UPT_OK;
}

static int
by_account(const void *a, const void *b)
{
    const struct upt_verify_row *x = a, *y = b;
    uint32_t len = x->account.len < y->account.len ? x->account.len : y->account.len;
    int cmp = memcmp(x->account.p, y->account.p, len);
    return cmp != 0 ? cmp : (x->account.len > y->account.len) - (x->account.len < y->account.len);
}

static void
free_row(struct upt_verify_row *row)
{
    free_text(row->account);
    free_text(row->risk);
    free_text(row->health);
    free_text(row->sets);
    free(row->row.p);
    free(row->features.p);
}

/* A scan may give a key twice. */
static void
sort_rows(struct upt_verify *v)
{
    size_t kept = 0;
    if (v->rows_n > 1) {
        qsort(v->rows, v->rows_n, sizeof(*v->rows), by_account);
    }
    for (size_t i = 0; i < v->rows_n; i++) {
        if (kept > 0 && by_account(&v->rows[kept - 1], &v->rows[i]) == 0) {
            free_row(&v->rows[i]);
        } else {
            v->rows[kept++] = v->rows[i];
        }
    }
    v->rows_n = kept;
}

struct upt_verify_row *
upt_verify_find_row(struct upt_verify *v, struct upt_str account)
{
    const struct upt_verify_row like = {.account = account};
    return v->rows_n == 0 ? NULL : bsearch(&like, v->rows, v->rows_n, sizeof(*v->rows), by_account);
}

/* ---- what belongs to no row ---- */

/* Whether there is no row of the account, and still a feature hash or an entry of a rank, at one instant. */
static upt_status
check_stray(struct upt_asked *asked, struct upt_str account, const char *rank)
{
    const char *prefix = asked->v->config->redis_prefix;
    struct upt_buf key = {0};
    if (upt_verify_find_row(asked->v, account) != NULL) {
        return UPT_OK;
    }
    (void)upt_ask(asked, "MULTI", NULL, UPT_STR_NULL);
    upt_view_key(&key, prefix, "account:", account, "");
    (void)upt_ask(asked, "EXISTS", &key, UPT_STR_NULL);
    upt_buf_clear(&key);
    upt_view_key(&key, prefix, "account:", account, ":features");
    (void)upt_ask(asked, "EXISTS", &key, UPT_STR_NULL);
    plain_key(asked, &key, rank != NULL ? rank : "rank:health");
    (void)upt_ask(asked, "ZSCORE", &key, account);
    (void)upt_ask(asked, "EXEC", NULL, UPT_STR_NULL);
    upt_buf_fini(&key);
    redisReply *group = upt_answer_group(asked, 3);
    if (group == NULL) {
        return asked->reterr->code;
    }
    if (group->element[0]->integer == 0 && rank == NULL && group->element[1]->integer != 0) {
        upt_verify_differs(asked->v, "account %.*s: there are features of it, but no row", (int)account.len, account.p);
    } else if (group->element[0]->integer == 0 && rank != NULL && group->element[2]->type == REDIS_REPLY_STRING) {
        upt_verify_differs(asked->v, "account %.*s: it is in %s, but has no row", (int)account.len, account.p, rank);
    }
    freeReplyObject(group);
    return UPT_OK;
}

static upt_status
on_feature_hashes(struct upt_asked *asked)
{
    upt_status status = UPT_OK;
    for (size_t i = 0; i < asked->names_n && status == UPT_OK; i++) {
        status = check_stray(asked, upt_buf_str(&asked->names[i]), NULL);
    }
    return status;
}

static upt_status
check_ranked(struct upt_asked *asked, struct upt_str account, const void *of)
{
    return check_stray(asked, account, of);
}

static upt_status
read_rank(struct upt_asked *asked, const char *rank)
{
    struct upt_buf key = {0};
    plain_key(asked, &key, rank);
    upt_status status = upt_ask_members(asked, "ZSCAN", &key, check_ranked, rank);
    upt_buf_fini(&key);
    return status;
}

/* Members of a segment's set that have no row, at one instant. */
static upt_status
check_member(struct upt_asked *asked, struct upt_str account, const void *of)
{
    size_t segment = *(const size_t *)of;
    struct upt_buf key = {0};
    if (upt_verify_find_row(asked->v, account) != NULL) {
        return UPT_OK;
    }
    (void)upt_ask(asked, "MULTI", NULL, UPT_STR_NULL);
    upt_view_key(&key, asked->v->config->redis_prefix, "account:", account, "");
    (void)upt_ask(asked, "EXISTS", &key, UPT_STR_NULL);
    set_key(asked, &key, segment);
    (void)upt_ask(asked, "SISMEMBER", &key, account);
    (void)upt_ask(asked, "EXEC", NULL, UPT_STR_NULL);
    upt_buf_fini(&key);
    redisReply *group = upt_answer_group(asked, 2);
    if (group == NULL) {
        return asked->reterr->code;
    }
    if (group->element[0]->integer == 0 && group->element[1]->integer != 0) {
        struct upt_str name = upt_rules_segment_name(rules_of(asked), segment);
        upt_verify_differs(asked->v, "account %.*s: it is in the set of segment %.*s, but has no row", (int)account.len,
                           account.p, (int)name.len, name.p);
    }
    freeReplyObject(group);
    return UPT_OK;
}

static upt_status
read_set(struct upt_asked *asked, size_t segment)
{
    struct upt_buf key = {0};
    set_key(asked, &key, segment);
    upt_status status = upt_ask_members(asked, "SSCAN", &key, check_member, &segment);
    upt_buf_fini(&key);
    return status;
}

/* ---- feature rows and totals ---- */

/* "epoch offset tick as_of values…" of a partition. */
static void
keep_sum(struct upt_verify *v, struct upt_str feature, const redisReply *partition, const redisReply *value)
{
    long long id = strtoll(partition->str, NULL, 10), epoch, offset, tick, as_of;
    int at = 0;
    if (id < 0 || id >= v->parts_n ||
        sscanf(value->str, "%lld %lld %lld %lld %n", &epoch, &offset, &tick, &as_of, &at) != 4 || at == 0) {
        upt_verify_differs(v, "%s %.*s: the part of partition %.20s is not readable, or there is no such partition",
                           feature.p != NULL ? "feature" : "totals", (int)feature.len,
                           feature.p != NULL ? feature.p : "", partition->str);
        return;
    }
    v->sums = upt_verify_room(v->sums, v->sums_n, &v->sums_cap, sizeof(*v->sums));
    struct upt_verify_sum *sum = &v->sums[v->sums_n++];
    *sum = (struct upt_verify_sum){.partition = (int32_t)id, .offset = offset, .as_of = as_of};
    if (feature.p != NULL) {
        sum->feature = copy(feature.p, feature.len);
    }
    sum->values = strdup(value->str + at);
    upt_assert(sum->values != NULL);
}

static upt_status
read_sum(struct upt_asked *asked, struct upt_str feature)
{
    const char *prefix = asked->v->config->redis_prefix;
    struct upt_verify *v = asked->v;
    struct upt_buf key = {0};
    (void)upt_ask(asked, "MULTI", NULL, UPT_STR_NULL);
    for (int private = 0; private < 2; private ++) {
        upt_buf_clear(&key);
        if (feature.p != NULL) {
            upt_view_key(&key, prefix, private == 0 ? "feature:" : "_f:", feature, "");
        } else if (private == 0) {
            upt_buf_printf(&key, "%stotals", prefix);
        } else {
            upt_buf_printf(&key, "%s_t:{%stotals}", prefix, prefix);
        }
        (void)upt_ask(asked, "HGETALL", &key, UPT_STR_NULL);
    }
    (void)upt_ask(asked, "EXEC", NULL, UPT_STR_NULL);
    upt_buf_fini(&key);
    redisReply *group = upt_answer_group(asked, 2);
    if (group == NULL) {
        return asked->reterr->code;
    }
    size_t first = v->sums_n;
    const redisReply *contributions = group->element[1];
    for (size_t i = 0; i + 1 < contributions->elements; i += 2) {
        keep_sum(v, feature, contributions->element[i], contributions->element[i + 1]);
    }
    struct upt_verify_hash row = pack(group->element[0]);
    upt_verify_add_up(v, feature, &row, first, v->sums_n - first);
    free(row.p);
    freeReplyObject(group);
    return UPT_OK;
}

static upt_status
on_features(struct upt_asked *asked)
{
    upt_status status = UPT_OK;
    for (size_t i = 0; i < asked->names_n && status == UPT_OK; i++) {
        status = read_sum(asked, upt_buf_str(&asked->names[i]));
    }
    return status;
}

/* ---- all of it ---- */

upt_status
upt_verify_read_redis(struct upt_verify *v, struct upt_error *reterr)
{
    struct upt_asked asked = {.v = v, .reterr = reterr};
    upt_status status = upt_read_redis(v->config, &asked.redis, reterr);
    if (status != UPT_OK) {
        return status;
    }
    status = read_entries(&asked);
    if (status == UPT_OK) {
        status = upt_ask_names(&asked, "account:", "", on_accounts);
    }
    sort_rows(v);
    if (status == UPT_OK) {
        status = upt_ask_names(&asked, "account:", ":features", on_feature_hashes);
    }
    if (status == UPT_OK) {
        status = read_rank(&asked, "rank:churn_risk");
    }
    if (status == UPT_OK) {
        status = read_rank(&asked, "rank:health");
    }
    for (size_t i = 0; status == UPT_OK && i < upt_rules_segments_n(rules_of(&asked)); i++) {
        status = read_set(&asked, i);
    }
    if (status == UPT_OK) {
        status = upt_ask_names(&asked, "feature:", "", on_features);
    }
    if (status == UPT_OK) {
        status = read_sum(&asked, UPT_STR_NULL);
    }
    redisFree(asked.redis);
    return status;
}

/* A partition that was counted has an entry; one that has just been taken up gets it with its first flush. */
static upt_status
check_entry(struct upt_asked *asked, const struct upt_verify_part *part)
{
    struct upt_verify *v = asked->v;
    int64_t until_ms = upt_mono_ms() + v->config->flush_interval_ms + ENTRY_PATIENCE_MS;
    struct upt_buf key = {0}, field = {0};
    bool there = false;
    upt_status status = UPT_OK;
    plain_key(asked, &key, "partitions");
    upt_buf_put_i64(&field, part->id);
    while (status == UPT_OK && !there) {
        (void)upt_ask(asked, "HEXISTS", &key, upt_buf_str(&field));
        redisReply *reply = upt_answer(asked, REDIS_REPLY_INTEGER);
        status = reply != NULL ? UPT_OK : asked->reterr->code;
        there = reply != NULL && reply->integer != 0;
        freeReplyObject(reply);
        if (there || upt_mono_ms() >= until_ms) {
            break;
        }
        upt_sleep_ms(100);
    }
    if (status == UPT_OK && there) {
        upt_verify_note(v, "partition %d had no entry in Redis at first: rows that stood still are not verified",
                        (int)part->id);
    } else if (status == UPT_OK) {
        upt_verify_differs(v, "partitions: there is no entry of partition %d, which has been counted", (int)part->id);
    }
    upt_buf_fini(&key);
    upt_buf_fini(&field);
    return status;
}

/* Accounts that had no row when all were read. It may have come since; or the account went and came back. */
upt_status
upt_verify_missing(struct upt_verify *v, struct upt_verify_part *part, struct upt_state *st, struct upt_error *reterr)
{
    struct upt_asked asked = {.v = v, .reterr = reterr};
    bool entry = !part->has_entry && part->has_progress && upt_state_pos(st).offset >= 0;
    upt_status status = entry || part->missing_n > 0 ? upt_read_redis(v->config, &asked.redis, reterr) : UPT_OK;
    if (status == UPT_OK && entry) {
        status = check_entry(&asked, part);
    }
    for (size_t i = 0; i < part->missing_n; i++) {
        struct upt_buf *account = &part->missing[i];
        struct upt_buf key = {0};
        if (status == UPT_OK && upt_state_find(st, upt_buf_str(account)) != NULL) {
            upt_view_key(&key, v->config->redis_prefix, "account:", upt_buf_str(account), "");
            (void)upt_ask(&asked, "EXISTS", &key, UPT_STR_NULL);
            redisReply *reply = upt_answer(&asked, REDIS_REPLY_INTEGER);
            status = reply != NULL ? UPT_OK : reterr->code;
            if (reply != NULL && reply->integer == 0) {
                upt_verify_differs(v, "account %.*s of partition %d has no row", (int)account->len, account->p,
                                   (int)part->id);
            }
            freeReplyObject(reply);
        }
        upt_buf_fini(&key);
        upt_buf_fini(account);
    }
    part->missing_n = 0;
    if (asked.redis != NULL) {
        redisFree(asked.redis);
    }
    return status;
}

void
upt_verify_free_redis(struct upt_verify *v)
{
    for (size_t i = 0; i < v->rows_n; i++) {
        free_row(&v->rows[i]);
    }
    for (size_t i = 0; i < v->sums_n; i++) {
        free_text(v->sums[i].feature);
        free(v->sums[i].values);
    }
    free(v->rows);
    free(v->sums);
}
