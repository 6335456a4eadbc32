/* Strays: rows of accounts that were forgotten, brought back by an older Redis or left by a former owner. After a
 * marker was taken the account keys are walked once, in steps; those of partitions owned here are handed to the lane,
 * which knows whether the account exists. */
#include <stdlib.h>
#include <string.h>

#include "aggregate/view/internal.h"
#include "uptake/time.h"

#define STEP_MS 20
#define STEP_COUNT "400"

struct scan {
    struct upt_view *view;
    struct upt_buf *accounts; /* of this step */
    size_t n, cap;
    unsigned long long cursor;
};

static int
hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
upt_view_key_name(const char *prefix, const char *family, struct upt_str key, struct upt_buf *ret)
{
    size_t prefix_len = strlen(prefix), family_len = strlen(family), head = prefix_len + family_len + 1;
    if (key.len <= head || key.p[key.len - 1] != '}' || key.p[head - 1] != '{' ||
        memcmp(key.p, prefix, prefix_len) != 0 || memcmp(key.p + prefix_len, family, family_len) != 0) {
        return false;
    }
    for (size_t i = head; i < key.len - 1; i++) {
        int hi = i + 2 < key.len ? hex(key.p[i + 1]) : -1, lo = i + 2 < key.len ? hex(key.p[i + 2]) : -1;
        if (key.p[i] == '%' && hi >= 0 && lo >= 0) {
            upt_buf_put(ret, &(char){(char)(hi << 4 | lo)}, 1);
            i += 2;
        } else {
            upt_buf_put(ret, &key.p[i], 1);
        }
    }
    return ret->len > 0;
}

void
upt_view_pattern(struct upt_buf *out, const char *prefix, const char *family)
{
    for (const char *c = prefix; *c != '\0'; c++) {
        if (strchr("*?[]^\\", *c) != NULL) {
            upt_buf_puts(out, "\\");
        }
        upt_buf_put(out, c, 1);
    }
    upt_buf_puts(out, family);
    upt_buf_puts(out, "{*}");
}

static void
on_scan(void *ctx, unsigned i, redisReply *reply)
{
    struct scan *scan = ctx;
    (void)i;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING) {
        return;
    }
    scan->cursor = strtoull(reply->element[0]->str, NULL, 10);
    const redisReply *keys = reply->element[1];
    scan->accounts = calloc(keys->elements + 1, sizeof(*scan->accounts));
    for (size_t k = 0; scan->accounts != NULL && k < keys->elements; k++) {
        const struct upt_str key = {.p = keys->element[k]->str, .len = (uint32_t)keys->element[k]->len};
        if (upt_view_key_name(scan->view->prefix, "account:", key, &scan->accounts[scan->n])) {
            scan->n++;
        } else {
            upt_buf_fini(&scan->accounts[scan->n]);
        }
    }
}

static void
on_partition(void *ctx, unsigned i, redisReply *reply)
{
    struct scan *scan = ctx;
    struct upt_view *view = scan->view;
    if (reply->type != REDIS_REPLY_STRING || i >= scan->n) {
        return;
    }
    int32_t partition = (int32_t)strtol(reply->str, NULL, 10);
    pthread_mutex_lock(&view->lock);
    const struct upt_view_part *part = upt_view_find(view, partition);
    if (part != NULL && part->owned && view->strays_n < UPT_STRAYS_MAX) {
        view->strays[view->strays_n].partition = partition;
        view->strays[view->strays_n++].account = scan->accounts[i];
        memset(&scan->accounts[i], 0, sizeof(scan->accounts[i]));
    }
    pthread_mutex_unlock(&view->lock);
}

bool
upt_scan_step(struct upt_view *view)
{
    int64_t now = upt_mono_ms();
    pthread_mutex_lock(&view->lock);
    bool room = view->strays_n + 1000 < UPT_STRAYS_MAX;
    pthread_mutex_unlock(&view->lock);
    if (!room || now < view->scan_ms || (view->scan_cursor == 0 && !view->scan_wanted)) {
        return true;
    }
    if (view->scan_cursor == 0) {
        view->scan_wanted = false;
    }
    view->scan_ms = now + STEP_MS;
    struct scan scan = {.view = view};
    upt_cmd_begin(view);
    upt_cmd_text(view, "SCAN");
    upt_cmd_u64(view, view->scan_cursor);
    upt_cmd_text(view, "MATCH");
    upt_buf_clear(&view->key);
    upt_view_pattern(&view->key, view->prefix, "account:");
    upt_cmd_buf(view, &view->key);
    upt_cmd_text(view, "COUNT");
    upt_cmd_text(view, STEP_COUNT);
    upt_cmd_end(view);
    bool ok = upt_cmd_send(view, on_scan, &scan);
    for (size_t i = 0; i < scan.n; i++) {
        upt_cmd_begin(view);
        upt_cmd_text(view, "HGET");
        upt_key(view, "account:", (struct upt_str){.p = scan.accounts[i].p, .len = (uint32_t)scan.accounts[i].len}, "");
        upt_cmd_buf(view, &view->key);
        upt_cmd_text(view, "partition");
        upt_cmd_end(view);
    }
    ok = ok && upt_cmd_send(view, on_partition, &scan);
    for (size_t i = 0; i < scan.n; i++) {
        upt_buf_fini(&scan.accounts[i]);
    }
    free(scan.accounts);
    view->scan_cursor = ok ? scan.cursor : 0;
    view->scan_wanted = view->scan_wanted || !ok;
    return ok;
}
