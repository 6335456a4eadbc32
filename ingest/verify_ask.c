/* See verify_ask.h. */
#include "ingest/verify_ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/view/view.h"
#include "uptake/assert.h"

#define SCAN_COUNT "500"
#define CURSOR_MAX 32

bool
upt_ask(struct upt_asked *asked, const char *command, const struct upt_buf *key, struct upt_str more)
{
    const char *argv[] = {command, key != NULL ? key->p : NULL, more.p};
    const size_t lens[] = {strlen(command), key != NULL ? key->len : 0, more.len};
    int n = key == NULL ? 1 : more.p == NULL ? 2 : 3;
    return redisAppendCommandArgv(asked->redis, n, argv, lens) == REDIS_OK;
}

redisReply *
upt_answer(struct upt_asked *asked, int type)
{
    void *got = NULL;
    if (redisGetReply(asked->redis, &got) != REDIS_OK || got == NULL) {
        (void)upt_fail(asked->reterr, UPT_EUNAVAIL, "Redis: %s",
                       asked->redis->errstr[0] != '\0' ? asked->redis->errstr : "no answer");
        return NULL;
    }
    redisReply *reply = got;
    if (reply->type != type) {
        (void)upt_fail(asked->reterr, reply->type == REDIS_REPLY_ERROR ? UPT_EUNAVAIL : UPT_EDATA, "Redis: %s",
                       reply->type == REDIS_REPLY_ERROR ? reply->str : "an answer of another kind than asked for");
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

redisReply *
upt_answer_group(struct upt_asked *asked, size_t queued)
{
    for (size_t i = 0; i < queued + 1; i++) {
        redisReply *reply = upt_answer(asked, REDIS_REPLY_STATUS);
        if (reply == NULL) {
            return NULL;
        }
        freeReplyObject(reply);
    }
    redisReply *reply = upt_answer(asked, REDIS_REPLY_ARRAY);
    for (size_t i = 0; reply != NULL && i < queued; i++) {
        if (i >= reply->elements || reply->element[i]->type == REDIS_REPLY_ERROR) {
            (void)upt_fail(asked->reterr, UPT_EDATA, "Redis: a key under the prefix %s is not of the view's making: %s",
                           asked->v->config->redis_prefix, i < reply->elements ? reply->element[i]->str : "no answer");
            freeReplyObject(reply);
            return NULL;
        }
    }
    return reply;
}

/* ---- scans ---- */

/* The next step: of all keys that match a pattern, or of what a key holds. Moves the cursor on. */
static redisReply *
scan_step(struct upt_asked *asked, const char *command, const struct upt_buf *of, char *cursor)
{
    if (strcmp(command, "SCAN") == 0) {
        (void)redisAppendCommand(asked->redis, "SCAN %s MATCH %b COUNT " SCAN_COUNT, cursor, of->p, of->len);
    } else {
        (void)redisAppendCommand(asked->redis, "%s %b %s COUNT " SCAN_COUNT, command, of->p, of->len, cursor);
    }
    redisReply *reply = upt_answer(asked, REDIS_REPLY_ARRAY);
    upt_assert(reply == NULL || reply->elements == 2);
    if (reply != NULL) {
        snprintf(cursor, CURSOR_MAX, "%s", reply->element[0]->str);
    }
    return reply;
}

static void
take_names(struct upt_asked *asked, const redisReply *keys, const char *family, size_t suffix_len)
{
    asked->names = calloc(keys->elements + 1, sizeof(*asked->names));
    upt_assert(asked->names != NULL);
    for (size_t i = 0; i < keys->elements; i++) {
        struct upt_str key = {.p = keys->element[i]->str, .len = (uint32_t)keys->element[i]->len};
        struct upt_buf *name = &asked->names[asked->names_n];
        key.len -= (uint32_t)suffix_len;
        if (upt_view_key_name(asked->v->config->redis_prefix, family, key, name)) {
            asked->names_n++;
        } else {
            upt_buf_fini(name);
        }
    }
}

static void
forget_names(struct upt_asked *asked)
{
    for (size_t i = 0; i < asked->names_n; i++) {
        upt_buf_fini(&asked->names[i]);
    }
    free(asked->names);
    asked->names = NULL;
    asked->names_n = 0;
}

upt_status
upt_ask_names(struct upt_asked *asked, const char *family, const char *suffix, upt_ask_names_fn fn)
{
    struct upt_buf pattern = {0};
    char cursor[CURSOR_MAX] = "0";
    upt_status status = UPT_OK;
    upt_view_pattern(&pattern, asked->v->config->redis_prefix, family);
    upt_buf_puts(&pattern, suffix);
    do {
        redisReply *reply = scan_step(asked, "SCAN", &pattern, cursor);
        if (reply == NULL) {
            status = asked->reterr->code;
            break;
        }
        take_names(asked, reply->element[1], family, strlen(suffix));
        freeReplyObject(reply);
        status = fn(asked);
        forget_names(asked);
    } while (status == UPT_OK && strcmp(cursor, "0") != 0);
    upt_buf_fini(&pattern);
    return status;
}

upt_status
upt_ask_members(struct upt_asked *asked, const char *command, const struct upt_buf *key, upt_ask_member_fn fn,
                const void *ctx)
{
    size_t step = strcmp(command, "ZSCAN") == 0 ? 2 : 1; /* a rank's members have their scores behind them */
    char cursor[CURSOR_MAX] = "0";
    upt_status status = UPT_OK;
    do {
        redisReply *reply = scan_step(asked, command, key, cursor);
        if (reply == NULL) {
            return asked->reterr->code;
        }
        const redisReply *members = reply->element[1];
        for (size_t i = 0; i < members->elements && status == UPT_OK; i += step) {
            const redisReply *member = members->element[i];
            status = fn(asked, (struct upt_str){.p = member->str, .len = (uint32_t)member->len}, ctx);
        }
        freeReplyObject(reply);
    } while (status == UPT_OK && strcmp(cursor, "0") != 0);
    return status;
}
