/* Fixed-width little-endian fields of the scores' checkpoint, one list for both directions: a field cannot be written
 * and not read. Private to the room. */
#ifndef UPT_SCORE_CODEC_H
#define UPT_SCORE_CODEC_H

#include <string.h>

#include "uptake/str.h"

struct upt_codec {
    struct upt_buf *out; /* NULL: reading */
    struct upt_cur cur;
};

static inline uint64_t
upt_codec_word(struct upt_codec *codec, uint64_t v, unsigned bytes)
{
    if (codec->out != NULL) {
        upt_buf_put_le64(codec->out, v);
        codec->out->len -= sizeof(v) - bytes;
        return v;
    }
    struct upt_str raw = upt_cur_bytes(&codec->cur, bytes);
    uint64_t got = 0;
    for (unsigned i = 0; i < raw.len; i++) {
        got |= (uint64_t)(unsigned char)raw.p[i] << (8 * i);
    }
    return got;
}

#define UPT_INT(field, type, bytes) (field) = (type)upt_codec_word(codec, (uint64_t)(field), bytes)
/* Of a field that is mostly null, all ones: packed (upt_buf_put_packed), zeros take no room. */
#define UPT_NULLABLE(field, type, bytes) (field) = (type)~upt_codec_word(codec, ~(uint64_t)(field), bytes)
#define UPT_FLAG(field) (field) = upt_codec_word(codec, (field) ? 1 : 0, 1) != 0

static inline void
upt_codec_real(struct upt_codec *codec, double *v)
{
    uint64_t bits;
    memcpy(&bits, v, sizeof(bits));
    bits = upt_codec_word(codec, bits, 8);
    memcpy(v, &bits, sizeof(bits));
}

static inline void
upt_codec_real32(struct upt_codec *codec, float *v)
{
    uint32_t bits;
    memcpy(&bits, v, sizeof(bits));
    bits = (uint32_t)upt_codec_word(codec, bits, 4);
    memcpy(v, &bits, sizeof(bits));
}

#endif
