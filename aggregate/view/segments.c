/* Segments as sets of accounts: PREFIX segment:{NAME}.
 *
 * They are written like the ranks, in the same guarded transaction as the row that says the same, and so repaired with
 * it: each row whose seldom fields are written tells of every declared segment whether the account is in it. What
 * nobody would repair is the set of a segment that is not declared any more: such keys are looked for after a marker
 * was taken, and when other segments were declared, and deleted. @locality: the view's thread. */
#include <string.h>

#include "aggregate/view/internal.h"
#include "uptake/time.h"

#define ACCOUNTS_A_COMMAND 48

void
upt_segments_take(struct upt_view *view)
{
    pthread_mutex_lock(&view->lock);
    if (view->segments_changed) {
        upt_buf_clear(&view->declared);
        upt_buf_put(&view->declared, view->segments.p == NULL ? "" : view->segments.p, view->segments.len);
        view->segments_changed = false;
        view->declared_known = view->sets_wanted = true;
    }
    pthread_mutex_unlock(&view->lock);
}

/* The name at *at of a list; moves behind it. False: the end. */
static bool
next_name(struct upt_str list, uint32_t *at, struct upt_str *ret)
{
    if (list.p == NULL || *at >= list.len) {
        return false;
    }
    const char *comma = memchr(list.p + *at, ',', list.len - *at);
    uint32_t end = comma == NULL ? list.len : (uint32_t)(comma - list.p);
    *ret = (struct upt_str){.p = list.p + *at, .len = end - *at};
    *at = end + 1;
    return true;
}

static bool
lists(struct upt_str list, struct upt_str name)
{
    struct upt_str one;
    for (uint32_t at = 0; next_name(list, &at, &one);) {
        if (upt_str_eq(one, name)) {
            return true;
        }
    }
    return false;
}

static struct upt_str
declared(const struct upt_view *view)
{
    return (struct upt_str){.p = view->declared.p, .len = (uint32_t)view->declared.len};
}

/* One set, of all accounts noted in their order: one command for many, until one is to go in and the next out. */
static void
format_set(struct upt_view *view, struct upt_str name)
{
    upt_key(view, "segment:", name, "");
    for (size_t i = 0; i < view->ranks_n;) {
        bool in = lists(view->ranks[i].segments, name);
        upt_cmd_begin(view);
        upt_cmd_text(view, in ? "SADD" : "SREM");
        upt_cmd_buf(view, &view->key);
        for (unsigned n = 0; n < ACCOUNTS_A_COMMAND && i < view->ranks_n; n++, i++) {
            if (lists(view->ranks[i].segments, name) != in) {
                break;
            }
            upt_cmd_arg(view, view->ranks[i].account.p, view->ranks[i].account.len);
        }
        upt_cmd_end(view);
    }
}

void
upt_format_segments(struct upt_view *view)
{
    struct upt_str name;
    for (uint32_t at = 0; view->ranks_n > 0 && next_name(declared(view), &at, &name);) {
        format_set(view, name);
    }
}

/* ---- sets of segments that are not declared ---- */

static bool
delete_undeclared(struct upt_view *view, const struct upt_buf *names)
{
    bool any = false;
    struct upt_cur cur = upt_cur_of((struct upt_str){.p = names->p, .len = (uint32_t)names->len});
    while (cur.p < cur.end) {
        struct upt_str name = upt_cur_bytes(&cur, upt_cur_le32(&cur));
        if (lists(declared(view), name)) {
            continue;
        }
        upt_cmd_begin(view);
        upt_cmd_text(view, "UNLINK");
        upt_key(view, "segment:", name, "");
        upt_cmd_buf(view, &view->key);
        upt_cmd_end(view);
        any = true;
    }
    return !any || upt_cmd_send(view, NULL, NULL);
}

bool
upt_segments_step(struct upt_view *view)
{
    if (view->scan_cursor != 0 || (!view->sets_under_way && !view->sets_wanted) || !view->declared_known ||
        upt_mono_ms() < view->scan_ms) {
        return true;
    }
    if (!view->sets_under_way) {
        view->sets_wanted = false;
        view->sets_under_way = true;
        view->sets_cursor = 0;
    }
    struct upt_buf names = {0};
    bool ok = upt_scan_names(view, "segment:", &view->sets_cursor, &names) && delete_undeclared(view, &names);
    upt_buf_fini(&names);
    view->sets_under_way = ok && view->sets_cursor != 0;
    view->sets_wanted = view->sets_wanted || !ok;
    return ok;
}
