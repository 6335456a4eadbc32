/* Strays: rows of accounts that were forgotten, brought back by an older Redis or left by a former owner. After a
 * marker was taken the account keys are walked once, in steps; those of partitions owned here are handed to the lane,
 * which knows whether the account exists. */
#include <stdlib.h>
#include <string.h>

#include "aggregate/view/internal.h"
#include "uptake/time.h"

#define STEP_MS 20
#define STEP_COUNT "400"

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

/* ---- keys of a family ---- */

struct scan {
    struct upt_view *view;
    const char *family;
    struct upt_buf *names;
    unsigned long long cursor;
};

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
    struct upt_buf name = {0};
    for (size_t k = 0; k < keys->elements; k++) {
        const struct upt_str key = {.p = keys->element[k]->str, .len = (uint32_t)keys->element[k]->len};
        upt_buf_clear(&name);
        if (upt_view_key_name(scan->view->prefix, scan->family, key, &name)) {
            upt_buf_put_le32(scan->names, (uint32_t)name.len);
            upt_buf_put(scan->names, name.p, name.len);
        }
    }
    upt_buf_fini(&name);
}

bool
upt_scan_names(struct upt_view *view, const char *family, unsigned long long *cursor, struct upt_buf *names)
{
    struct scan scan = {.view = view, .family = family, .names = names};
    upt_cmd_begin(view);
    upt_cmd_text(view, "SCAN");
    upt_cmd_u64(view, *cursor);
    upt_cmd_text(view, "MATCH");
    upt_buf_clear(&view->key);
    upt_view_pattern(&view->key, view->prefix, family);
    upt_cmd_buf(view, &view->key);
    upt_cmd_text(view, "COUNT");
    upt_cmd_text(view, STEP_COUNT);
    upt_cmd_end(view);
    bool ok = upt_cmd_send(view, on_scan, &scan);
    *cursor = ok ? scan.cursor : 0;
    view->scan_ms = atomic_load(&view->hurry) ? 0 : upt_mono_ms() + STEP_MS;
    return ok;
}

/* ---- strays ---- */

struct strays {
    struct upt_view *view;
    struct upt_cur names; /* of the replies to come */
};

static void
on_partition(void *ctx, unsigned i, redisReply *reply)
{
    struct strays *strays = ctx;
    struct upt_view *view = strays->view;
    struct upt_str account = upt_cur_bytes(&strays->names, upt_cur_le32(&strays->names));
    (void)i;
    if (reply->type != REDIS_REPLY_STRING) {
        return;
    }
    int32_t partition = (int32_t)strtol(reply->str, NULL, 10);
    pthread_mutex_lock(&view->lock);
    const struct upt_view_part *part = upt_view_find(view, partition);
    if (part != NULL && part->owned && view->strays_n < UPT_STRAYS_MAX) {
        struct upt_stray *stray = &view->strays[view->strays_n++];
        *stray = (struct upt_stray){.partition = partition};
        upt_buf_put(&stray->account, account.p, account.len);
    }
    pthread_mutex_unlock(&view->lock);
}

static bool
ask_partitions(struct upt_view *view, const struct upt_buf *names)
{
    const struct upt_cur begin = upt_cur_of((struct upt_str){.p = names->p, .len = (uint32_t)names->len});
    for (struct upt_cur cur = begin; cur.p < cur.end;) {
        upt_cmd_begin(view);
        upt_cmd_text(view, "HGET");
        upt_key(view, "account:", upt_cur_bytes(&cur, upt_cur_le32(&cur)), "");
        upt_cmd_buf(view, &view->key);
        upt_cmd_text(view, "partition");
        upt_cmd_end(view);
    }
    return upt_cmd_send(view, on_partition, &(struct strays){.view = view, .names = begin});
}

void
upt_view_walk(struct upt_view *view)
{
    view->scan_wanted = view->sets_wanted = true;
    pthread_mutex_lock(&view->lock);
    view->walking = true;
    pthread_mutex_unlock(&view->lock);
}

void
upt_view_walk_anew(struct upt_view *view)
{
    view->scan_wanted = view->scan_wanted || view->scan_cursor != 0;
    view->scan_cursor = 0;
    view->sets_under_way = false;
    view->sets_wanted = true;
}

static bool
scan_step(struct upt_view *view)
{
    pthread_mutex_lock(&view->lock);
    bool room = view->strays_n + 1000 < UPT_STRAYS_MAX;
    pthread_mutex_unlock(&view->lock);
    if (!room || upt_mono_ms() < view->scan_ms || (view->scan_cursor == 0 && !view->scan_wanted)) {
        return true;
    }
    if (view->scan_cursor == 0) {
        view->scan_wanted = false;
    }
    struct upt_buf names = {0};
    bool ok = upt_scan_names(view, "account:", &view->scan_cursor, &names) && ask_partitions(view, &names);
    upt_buf_fini(&names);
    if (!ok) {
        view->scan_cursor = 0;
        view->scan_wanted = true;
    }
    return ok;
}

bool
upt_view_walk_step(struct upt_view *view)
{
    if (!scan_step(view) || !upt_segments_step(view)) {
        return false;
    }
    if (view->walking && view->scan_cursor == 0 && !view->scan_wanted && !view->sets_under_way && !view->sets_wanted) {
        pthread_mutex_lock(&view->lock);
        view->walking = false;
        pthread_mutex_unlock(&view->lock);
    }
    return true;
}
