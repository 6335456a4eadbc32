/* Commands as whole RESP arrays, appended to view->out.
 *
 * hiredis speaks the protocol; but its argument functions allocate for each command, which costs three times as much as
 * the bytes themselves. An argument is written in place, its length before it, so each costs one look at the room that
 * is left. The head "*NN\r\n" of an array is left open for two digits and moved when it turns out to have others. */
#include <string.h>

#include "aggregate/view/internal.h"

#define HEAD 5        /* "*NN\r\n" */
#define NUMBER_MAX 32 /* "$NN\r\n", 20 digits, "\r\n" */

static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445"
    "46474849505152535455565758596061626364656667686970717273747576777879808182838485868788899091"
    "9293949596979899";

static inline char *
room(struct upt_view *view, size_t more)
{
    struct upt_buf *out = &view->out;
    return out->cap - out->len >= more ? out->p + out->len : upt_buf_reserve(out, more);
}

static inline unsigned
digits_of(uint64_t v)
{
    unsigned n = 1;
    for (; v >= 10000; v /= 10000) {
        n += 4;
    }
    return n + (v >= 10) + (v >= 100) + (v >= 1000);
}

static char *
put_digits(char *at, uint64_t v, unsigned n)
{
    char *p = at + n;
    for (; v >= 100; v /= 100) {
        p -= 2;
        memcpy(p, pairs + 2 * (v % 100), 2);
    }
    if (v >= 10) {
        memcpy(p - 2, pairs + 2 * v, 2);
    } else {
        p[-1] = (char)('0' + v);
    }
    return at + n;
}

static inline char *
put_line_end(char *at)
{
    memcpy(at, "\r\n", 2);
    return at + 2;
}

/* Nearly all arguments are shorter than 100 bytes. */
static inline char *
put_length(char *at, size_t len)
{
    if (len < 10) {
        memcpy(at, "$0\r\n", 4);
        at[1] = (char)('0' + len);
        return at + 4;
    }
    *at++ = '$';
    if (len < 100) {
        memcpy(at, pairs + 2 * len, 2);
        return put_line_end(at + 2);
    }
    return put_line_end(put_digits(at, len, digits_of(len)));
}

static inline void
ends(struct upt_view *view, const char *at)
{
    view->out.len = (size_t)(at - view->out.p);
    view->args_n++;
}

void
upt_cmd_begin(struct upt_view *view)
{
    (void)room(view, HEAD + 20); /* 20: for a longer head */
    view->cmd_at = view->out.len;
    view->out.len += HEAD;
    view->args_n = 0;
}

void
upt_cmd_name(struct upt_view *view, const struct upt_name *name)
{
    char *at = room(view, sizeof(name->text));
    memcpy(at, name->text, sizeof(name->text));
    ends(view, at + name->len);
}

void
upt_cmd_arg(struct upt_view *view, const char *p, size_t len)
{
    char *at = put_length(room(view, len + NUMBER_MAX), len);
    if (len > 0) {
        memcpy(at, p, len);
    }
    ends(view, put_line_end(at + len));
}

void
upt_cmd_text(struct upt_view *view, const char *text)
{
    upt_cmd_arg(view, text, strlen(text));
}

void
upt_cmd_buf(struct upt_view *view, const struct upt_buf *buf)
{
    upt_cmd_arg(view, buf->p, buf->len);
}

void
upt_cmd_u64(struct upt_view *view, uint64_t v)
{
    if (v < 10) {
        char *at = room(view, NUMBER_MAX);
        memcpy(at, "$1\r\n0\r\n", 7);
        at[4] = (char)('0' + v);
        ends(view, at + 7);
        return;
    }
    unsigned n = digits_of(v);
    ends(view, put_line_end(put_digits(put_length(room(view, NUMBER_MAX), n), v, n)));
}

void
upt_cmd_i64(struct upt_view *view, int64_t v)
{
    if (v >= 0) {
        upt_cmd_u64(view, (uint64_t)v);
        return;
    }
    uint64_t magnitude = 0 - (uint64_t)v;
    unsigned n = digits_of(magnitude);
    char *at = put_length(room(view, NUMBER_MAX), n + 1);
    *at++ = '-';
    ends(view, put_line_end(put_digits(at, magnitude, n)));
}

/* As upt_micro_format writes it, which takes what 64 bits do not hold. */
void
upt_cmd_micro(struct upt_view *view, upt_i128 micro)
{
    if (micro < 0 || micro > INT64_MAX) {
        char text[64];
        upt_cmd_arg(view, text, upt_micro_format(micro, text));
        return;
    }
    uint64_t whole = (uint64_t)micro / UPT_MICRO;
    uint32_t fraction = (uint32_t)((uint64_t)micro % UPT_MICRO);
    if (fraction == 0) {
        upt_cmd_u64(view, whole);
        return;
    }
    char six[6];
    unsigned places = sizeof(six), n = digits_of(whole);
    memcpy(six, pairs + 2 * (size_t)(fraction / 10000), 2);
    memcpy(six + 2, pairs + 2 * (size_t)(fraction / 100 % 100), 2);
    memcpy(six + 4, pairs + 2 * (size_t)(fraction % 100), 2);
    while (six[places - 1] == '0') {
        places--;
    }
    char *at = put_digits(put_length(room(view, NUMBER_MAX + sizeof(six)), n + 1 + places), whole, n);
    *at++ = '.';
    memcpy(at, six, sizeof(six));
    ends(view, put_line_end(at + places));
}

void
upt_cmd_end(struct upt_view *view)
{
    unsigned n = digits_of(view->args_n);
    char *at = view->out.p + view->cmd_at;
    size_t len = view->out.len - view->cmd_at - HEAD;
    if (n != HEAD - 3) {
        (void)room(view, n);
        at = view->out.p + view->cmd_at;
        memmove(at + 3 + n, at + HEAD, len);
    }
    *at++ = '*';
    at = put_line_end(put_digits(at, view->args_n, n));
    view->out.len = (size_t)(at - view->out.p) + len;
    view->out_n++;
}
