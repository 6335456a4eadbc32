/* Borrowed strings, the growable buffer and the bounded reader.
 *
 * Buffers double and never shrink: they are reused for the next row or record. Running out of memory ends the process
 * (upt_panic), so that no caller carries an error path that no test reaches; what a caller appends is bounded.
 * The reader never passes its end: a short read empties it, so that one check of `ok` after a whole record is enough.
 * One thread at a time for each object. */
#include "uptake/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "uptake/assert.h"

struct upt_str
upt_str_of(const char *cstr)
{
    if (cstr == NULL) {
        return UPT_STR_NULL;
    }
    size_t len = strlen(cstr);
    upt_assert(len <= UINT32_MAX);
    return (struct upt_str){.p = cstr, .len = (uint32_t)len};
}

uint64_t
upt_hash(const void *p, size_t len)
{
    return XXH3_64bits(p, len);
}

void
upt_buf_fini(struct upt_buf *buf)
{
    free(buf->p);
    *buf = (struct upt_buf){0};
}

char *
upt_buf_grow(struct upt_buf *buf, size_t more)
{
    upt_assert(buf->len <= buf->cap && more <= SIZE_MAX / 4 && buf->len <= SIZE_MAX / 4);
    size_t need = buf->len + more;
    if (need > buf->cap || buf->p == NULL) {
        size_t cap = buf->cap < 64 ? 64 : buf->cap;
        while (cap < need) {
            cap *= 2;
        }
        char *p = realloc(buf->p, cap);
        if (p == NULL) {
            upt_panic(__FILE__, __LINE__, "out of memory for a buffer");
        }
        buf->p = p;
        buf->cap = cap;
    }
    return buf->p + buf->len;
}

void
upt_buf_put(struct upt_buf *buf, const void *p, size_t len)
{
    if (len == 0) {
        return;
    }
    memcpy(upt_buf_reserve(buf, len), p, len);
    buf->len += len;
}

void
upt_buf_puts(struct upt_buf *buf, const char *cstr)
{
    upt_buf_put(buf, cstr, strlen(cstr));
}

void
upt_buf_printf(struct upt_buf *buf, const char *fmt, ...)
{
    size_t room = 128;
    for (;;) {
        char *at = upt_buf_reserve(buf, room);
        va_list args;
        va_start(args, fmt);
        int n = vsnprintf(at, room, fmt, args);
        va_end(args);
        upt_assert(n >= 0);
        if ((size_t)n < room) {
            buf->len += (size_t)n;
            return;
        }
        room = (size_t)n + 1;
    }
}

void
upt_buf_put_u64(struct upt_buf *buf, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    upt_buf_put(buf, digits + at, sizeof(digits) - at);
}

void
upt_buf_put_i64(struct upt_buf *buf, int64_t v)
{
    uint64_t magnitude = (uint64_t)v;
    if (v < 0) {
        upt_buf_put(buf, "-", 1);
        magnitude = 0 - magnitude;
    }
    upt_buf_put_u64(buf, magnitude);
}

#define PACK_WORD 8
#define PACK_ZEROS_MAX 256

/* Numbers are written in place, not by way of upt_buf_put: a checkpoint is made of them, and takes a third fewer
 * instructions so. */
static void
put_le(struct upt_buf *buf, uint64_t v, size_t n)
{
    (void)upt_write_le64(upt_buf_reserve(buf, sizeof(v)), v); /* what is beyond n does not count */
    buf->len += n;
}

void
upt_buf_put_le32(struct upt_buf *buf, uint32_t v)
{
    put_le(buf, v, sizeof(v));
}

void
upt_buf_put_le64(struct upt_buf *buf, uint64_t v)
{
    put_le(buf, v, sizeof(v));
}

void
upt_buf_put_varint(struct upt_buf *buf, uint64_t v)
{
    char *at = upt_buf_reserve(buf, 10); /* of the longest */
    buf->len += (size_t)(upt_write_varint(at, v) - at);
}

void
upt_buf_put_zigzag(struct upt_buf *buf, int64_t v)
{
    uint64_t u = (uint64_t)v << 1;
    upt_buf_put_varint(buf, v < 0 ? ~u : u);
}

void
upt_buf_put_packed(struct upt_buf *buf, struct upt_str s)
{
    upt_buf_put_varint(buf, s.len);
    char *at = upt_buf_reserve(buf, (size_t)s.len + s.len / PACK_WORD + 2 * PACK_WORD);
    char *begin = at;
    unsigned zeros = 0;
    for (uint32_t i = 0; i < s.len; i += PACK_WORD) {
        char word[PACK_WORD] = {0};
        static const char none[PACK_WORD];
        memcpy(word, s.p + i, s.len - i < PACK_WORD ? s.len - i : PACK_WORD);
        if (memcmp(word, none, PACK_WORD) == 0) {
            zeros++;
            if (zeros == 1) {
                *at++ = 0;
                at++;
            }
            at[-1] = (char)(unsigned char)(zeros - 1);
            zeros = zeros == PACK_ZEROS_MAX ? 0 : zeros;
            continue;
        }
        zeros = 0;
        char *which = at++;
        unsigned bits = 0;
        for (unsigned k = 0; k < PACK_WORD; k++) {
            *at = word[k]; /* overwritten if it is zero */
            at += word[k] != 0;
            bits |= (word[k] != 0 ? 1U : 0U) << k;
        }
        *which = (char)(unsigned char)bits;
    }
    buf->len += (size_t)(at - begin);
}

/* The next len bytes, or NULL: then the reader is empty for good. */
static const unsigned char *
take(struct upt_cur *cur, uint64_t len)
{
    if (!cur->ok || len > (uint64_t)(cur->end - cur->p)) {
        cur->ok = false;
        cur->p = cur->end;
        return NULL;
    }
    const char *at = cur->p;
    cur->p += len;
    return (const unsigned char *)at;
}

uint8_t
upt_cur_u8(struct upt_cur *cur)
{
    const unsigned char *b = take(cur, 1);
    return b == NULL ? 0 : b[0];
}

uint32_t
upt_cur_le32(struct upt_cur *cur)
{
    const unsigned char *b = take(cur, 4);
    if (b == NULL) {
        return 0;
    }
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

uint64_t
upt_cur_le64(struct upt_cur *cur)
{
    const unsigned char *b = take(cur, 8);
    uint64_t v = 0;
    for (size_t i = 0; b != NULL && i < 8; i++) {
        v |= (uint64_t)b[i] << (8 * i);
    }
    return v;
}

uint64_t
upt_cur_varint(struct upt_cur *cur)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        const unsigned char *b = take(cur, 1);
        if (b == NULL) {
            return 0;
        }
        /* The tenth byte holds the topmost bit only: more would be a value that does not fit, or an eleventh byte. */
        if (shift == 63 && b[0] > 1) {
            break;
        }
        v |= (uint64_t)(b[0] & 0x7FU) << shift;
        if (b[0] < 0x80) {
            return v;
        }
    }
    cur->ok = false;
    cur->p = cur->end;
    return 0;
}

int64_t
upt_cur_zigzag(struct upt_cur *cur)
{
    uint64_t u = upt_cur_varint(cur);
    return (int64_t)(u >> 1) ^ -(int64_t)(u & 1);
}

struct upt_str
upt_cur_bytes(struct upt_cur *cur, uint64_t len)
{
    if (len > UINT32_MAX) {
        cur->ok = false;
        cur->p = cur->end;
        return UPT_STR_NULL;
    }
    const unsigned char *b = take(cur, len);
    return b == NULL ? UPT_STR_NULL : (struct upt_str){.p = (const char *)b, .len = (uint32_t)len};
}

bool
upt_cur_packed(struct upt_cur *cur, size_t max, struct upt_buf *ret)
{
    uint64_t len = upt_cur_varint(cur);
    cur->ok = cur->ok && len <= max;
    upt_buf_clear(ret);
    while (cur->ok && ret->len < len) {
        size_t left = (size_t)len - ret->len;
        unsigned which = upt_cur_u8(cur);
        size_t words = which == 0 ? (size_t)upt_cur_u8(cur) + 1 : 1;
        char *at = upt_buf_reserve(ret, words * PACK_WORD);
        memset(at, 0, words * PACK_WORD);
        for (unsigned k = 0; k < PACK_WORD; k++) {
            if ((which & 1U << k) != 0) {
                at[k] = (char)upt_cur_u8(cur);
                cur->ok = cur->ok && k < left;
            }
        }
        cur->ok = cur->ok && (words - 1) * PACK_WORD < left;
        ret->len += words * PACK_WORD < left ? words * PACK_WORD : left;
    }
    return cur->ok;
}
