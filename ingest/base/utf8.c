/* Strict UTF-8 (no surrogates, no overlong forms, nothing above U+10FFFF) and escaping for output.
 *
 * Telemetry is almost all ASCII: validation goes eight bytes a step while no top bit is set, the last step over bytes
 * that were seen already, and falls back to a byte-wise check only for the sequence that has one. Any thread; no state.
 */
#include "utf8.h"

#include <stdint.h>
#include <string.h>

#include "uptake/str.h"

#define TOP_BITS UINT64_C(0x8080808080808080)

static bool
tail(unsigned char b)
{
    return (b & 0xC0U) == 0x80U;
}

size_t
upt_utf8_sequence(const unsigned char *p, size_t left)
{
    unsigned char lead = p[0];
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        return left >= 2 && tail(p[1]) ? 2 : 0;
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (left < 3 || !tail(p[1]) || !tail(p[2])) {
            return 0;
        }
        bool overlong = lead == 0xE0 && p[1] < 0xA0;
        bool surrogate = lead == 0xED && p[1] > 0x9F;
        return overlong || surrogate ? 0 : 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (left < 4 || !tail(p[1]) || !tail(p[2]) || !tail(p[3])) {
            return 0;
        }
        bool overlong = lead == 0xF0 && p[1] < 0x90;
        bool above = lead == 0xF4 && p[1] > 0x8F;
        return overlong || above ? 0 : 4;
    }
    return 0;
}

/* Whether the last bytes of a text of len are ASCII, as far as one look at eight of them or two at four tell. */
static inline bool
ascii_end(const unsigned char *end, size_t len)
{
    uint64_t word = TOP_BITS;
    uint32_t halves[2];
    if (len >= 8) {
        memcpy(&word, end - 8, sizeof(word));
    } else if (len >= 4) {
        memcpy(&halves[0], end - len, sizeof(halves[0]));
        memcpy(&halves[1], end - 4, sizeof(halves[1]));
        word = halves[0] | halves[1];
    }
    return (word & TOP_BITS) == 0;
}

bool
upt_utf8_valid(const char *p, size_t len)
{
    const unsigned char *at = (const unsigned char *)p;
    size_t left = len;
    while (left > 0) {
        while (left >= 8) {
            uint64_t word;
            memcpy(&word, at, sizeof(word));
            if ((word & TOP_BITS) != 0) {
                break;
            }
            at += 8;
            left -= 8;
        }
        if (left < 8 && ascii_end(at + left, len)) {
            return true;
        }
        size_t n = upt_utf8_sequence(at, left);
        if (n == 0) {
            return false;
        }
        at += n;
        left -= n;
    }
    return true;
}

/* One character that cannot stand as it is. Returns the bytes written. */
static size_t
escape_one(unsigned char c, bool json, char *out)
{
    static const char hex[] = "0123456789abcdef";
    static const char names[] = "n\nr\rt\t";
    out[0] = '\\';
    for (size_t i = 0; i + 1 < sizeof(names); i += 2) {
        if (c == (unsigned char)names[i + 1]) {
            out[1] = names[i];
            return 2;
        }
    }
    if (json && (c == '"' || c == '\\')) {
        out[1] = (char)c;
        return 2;
    }
    size_t n = 1;
    out[n++] = json ? 'u' : 'x';
    if (json) {
        out[n++] = '0';
        out[n++] = '0';
    }
    out[n++] = hex[c >> 4];
    out[n++] = hex[c & 15U];
    return n;
}

size_t
upt_utf8_escape(const char *p, size_t len, bool json, char *out)
{
    const unsigned char *at = (const unsigned char *)p;
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        unsigned char c = at[i];
        size_t seq = upt_utf8_sequence(at + i, len - i);
        if (seq == 0) {
            memcpy(out + n, "\xEF\xBF\xBD", 3);
            n += 3;
            i += 1;
        } else if (seq == 1 && (c < 0x20 || c == 0x7F || (json && (c == '"' || c == '\\')))) {
            n += escape_one(c, json, out + n);
            i += 1;
        } else if (seq == 2 && c == 0xC2 && at[i + 1] < 0xA0) {
            /* U+0080 to U+009F: terminals take them for escape sequences. */
            n += escape_one(at[i + 1], json, out + n);
            i += 2;
        } else {
            memcpy(out + n, at + i, seq);
            n += seq;
            i += seq;
        }
    }
    return n;
}

void
upt_buf_put_json(struct upt_buf *buf, const char *p, size_t len)
{
    char *out = upt_buf_reserve(buf, UPT_ESCAPE_MAX * len + 2);
    size_t n = 0;
    out[n++] = '"';
    n += upt_utf8_escape(p, len, true, out + n);
    out[n++] = '"';
    buf->len += n;
}
