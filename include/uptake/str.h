/* A borrowed run of bytes, and a growable buffer. Bytes need not end with NUL. */
#ifndef UPT_STR_H
#define UPT_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "uptake/status.h"

/* Borrowed bytes; p == NULL means null (absent), which differs from empty. */
struct upt_str {
    const char *p;
    uint32_t len;
};

#define UPT_STR(literal) ((struct upt_str){.p = (literal), .len = (uint32_t)(sizeof(literal) - 1)})
#define UPT_STR_NULL ((struct upt_str){.p = NULL, .len = 0})

static inline bool
upt_str_eq(struct upt_str a, struct upt_str b)
{
    return a.len == b.len && (a.p == NULL || b.p == NULL ? a.p == b.p : memcmp(a.p, b.p, a.len) == 0);
}

struct upt_str upt_str_of(const char *cstr); /* NULL gives UPT_STR_NULL */
bool upt_utf8_valid(const char *p, size_t len);
uint64_t upt_hash(const void *p, size_t len); /* XXH3_64bits, seed 0: contract §2 needs this very function */

/* Growable buffer. Zero-initialise; len bytes are used. Appends abort the process only through the out-of-memory
 * handler of the process (upt_panic): buffers are small and bounded by the callers. */
struct upt_buf {
    char *p;
    size_t len;
    size_t cap;
};

void upt_buf_fini(struct upt_buf *buf);
static inline void
upt_buf_clear(struct upt_buf *buf)
{
    buf->len = 0;
}
/* What is in it, until it changes; null if nothing ever was. */
static inline struct upt_str
upt_buf_str(const struct upt_buf *buf)
{
    return (struct upt_str){.p = buf->p, .len = (uint32_t)buf->len};
}
char *upt_buf_grow(struct upt_buf *buf, size_t more); /* the general case of upt_buf_reserve */
/* Room for more bytes at p + len; does not change len. */
static inline char *
upt_buf_reserve(struct upt_buf *buf, size_t more)
{
    return buf->p != NULL && more <= buf->cap - buf->len ? buf->p + buf->len : upt_buf_grow(buf, more);
}
void upt_buf_put(struct upt_buf *buf, const void *p, size_t len);
void upt_buf_puts(struct upt_buf *buf, const char *cstr);
void upt_buf_printf(struct upt_buf *buf, const char *fmt, ...) UPT_PRINTF(2, 3);
void upt_buf_put_u64(struct upt_buf *buf, uint64_t v);                 /* decimal */
void upt_buf_put_i64(struct upt_buf *buf, int64_t v);                  /* decimal */
void upt_buf_put_json(struct upt_buf *buf, const char *p, size_t len); /* a JSON string; not UTF-8: U+FFFD */
/* Little-endian fixed and LEB128 varints for our own records. */
void upt_buf_put_le32(struct upt_buf *buf, uint32_t v);
void upt_buf_put_le64(struct upt_buf *buf, uint64_t v);
void upt_buf_put_varint(struct upt_buf *buf, uint64_t v);
void upt_buf_put_zigzag(struct upt_buf *buf, int64_t v);
/* The same where room was reserved, 8 and up to 10 bytes; the place behind. */
static inline char *
upt_write_le64(char *at, uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    memcpy(at, &v, sizeof(v));
    return at + sizeof(v);
}
static inline char *
upt_write_varint(char *at, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) {
        *at++ = (char)(unsigned char)(v | 0x80);
    }
    *at++ = (char)v;
    return at;
}
/* Fixed-width fields that are mostly zero: the length, then of each eight bytes one that says which are not zero, and
 * these; after one that says none, a byte with the number of further eights of zeros. */
void upt_buf_put_packed(struct upt_buf *buf, struct upt_str s);

/* Bounded reader over bytes; after a short read ok is false and every result is 0 / empty. */
struct upt_cur {
    const char *p;
    const char *end;
    bool ok;
};

static inline struct upt_cur
upt_cur_of(struct upt_str s)
{
    return (struct upt_cur){.p = s.p, .end = s.p == NULL ? NULL : s.p + s.len, .ok = s.p != NULL};
}
uint8_t upt_cur_u8(struct upt_cur *cur);
uint32_t upt_cur_le32(struct upt_cur *cur);
uint64_t upt_cur_le64(struct upt_cur *cur);
uint64_t upt_cur_varint(struct upt_cur *cur);
int64_t upt_cur_zigzag(struct upt_cur *cur);
struct upt_str upt_cur_bytes(struct upt_cur *cur, uint64_t len);
/* What was packed, at most max bytes of it, into ret. False: not ok. */
bool upt_cur_packed(struct upt_cur *cur, size_t max, struct upt_buf *ret);

#endif
