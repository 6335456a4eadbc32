/* The mix: events in the writer schema of evolved.avsc, by hand.
 *
 * By hand, since the encoder knows only the schemas of the product, and a generic writer would have to be trusted
 * first. Every rule of resolution that a decoder may get wrong is in it: other order, float for double, a string for a
 * union, a union's branches the other way round, an enum's symbols in other places and one of its own, fields that are
 * skipped (record, fixed, array of a union, map, a recursive record) and fields that are missing. */
#include "ingest/generate/mix_internal.h"

static void
put_text(struct upt_buf *out, struct upt_str text)
{
    upt_buf_put_zigzag(out, text.len);
    upt_buf_put(out, text.p, text.len);
}

static void
put_float(struct upt_buf *out, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    upt_buf_put_le32(out, bits);
}

/* Its place in evolved.avsc: OTHER HEARTBEAT LOGIN USAGE VALUE. */
static int64_t
symbol_of(upt_kind kind)
{
    switch (kind) {
    case UPT_KIND_LOGIN:
        return 2;
    case UPT_KIND_USAGE:
        return 3;
    case UPT_KIND_VALUE:
        return 4;
    default:
        return 0;
    }
}

/* An array of ["null", "int", "bytes"] in two blocks, the second with its size in bytes. */
static void
put_trace(struct upt_mix *mix)
{
    struct upt_buf *out = &mix->value;
    upt_buf_put_zigzag(out, 2);
    upt_buf_put_zigzag(out, 0);
    upt_buf_put_zigzag(out, 1);
    upt_buf_put_zigzag(out, (int64_t)upt_mix_below(mix, 1000000) - 500000);
    upt_buf_put_zigzag(out, -1);
    upt_buf_put_zigzag(out, 4);
    upt_buf_put_zigzag(out, 2);
    upt_buf_put_zigzag(out, 2);
    upt_buf_put(out, "\xff\x00", 2);
    upt_buf_put_zigzag(out, 0);
}

void
upt_mix_put_evolved(struct upt_mix *mix, bool unknown_symbol, int64_t context)
{
    struct upt_buf *out = &mix->value;
    const struct upt_event *ev = &mix->draft.event;
    uint32_t id = (uint32_t)mix->config.evolved_id;
    unsigned char header[5] = {0, (unsigned char)(id >> 24), (unsigned char)(id >> 16), (unsigned char)(id >> 8),
                               (unsigned char)id};
    upt_buf_put(out, header, sizeof(header));
    put_text(out, ev->account_id);
    put_text(out, UPT_STR("kit-9"));
    upt_buf_put(out, "\x02\x00\xff", 3);
    upt_buf_put_zigzag(out, unknown_symbol ? 1 : symbol_of(ev->kind));
    put_float(out, (float)ev->quantity);
    upt_buf_put_zigzag(out, ev->occurred_at);
    put_text(out, ev->user_id.p == NULL ? UPT_STR("") : ev->user_id);
    upt_buf_put_zigzag(out, ev->feature.p == NULL ? 1 : 0);
    if (ev->feature.p != NULL) {
        put_text(out, ev->feature);
    }
    put_text(out, ev->event_id);
    put_trace(mix);
    /* The union's branch, then that of each node's next. */
    for (int64_t i = 0; i < context; i++) {
        upt_buf_put_zigzag(out, 1);
        put_text(out, UPT_STR("node"));
    }
    upt_buf_put_zigzag(out, 0);
    upt_buf_put_zigzag(out, 1);
    put_text(out, UPT_STR("cpu"));
    upt_buf_put_le64(out, UINT64_C(0x3FE0000000000000));
    upt_buf_put_zigzag(out, 0);
}
