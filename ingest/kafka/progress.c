/* Codec of progress and checkpoint records. See progress.h. */
#include "ingest/kafka/progress.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT 1

static void
seal(struct upt_buf *out, size_t from)
{
    upt_buf_put_le32(out, (uint32_t)upt_hash(out->p + from, out->len - from));
}

/* Checks length, CRC and version; on success *ret walks the payload. */
static upt_status
unseal(struct upt_str in, const char *what, struct upt_cur *ret, struct upt_error *reterr)
{
    if (in.p == NULL || in.len < 5) {
        return upt_fail(reterr, UPT_EDATA, "the %s record in the state topic is too short (%u bytes)", what, in.len);
    }
    struct upt_cur crc = {.p = in.p + in.len - 4, .end = in.p + in.len, .ok = true};
    if (upt_cur_le32(&crc) != (uint32_t)upt_hash(in.p, in.len - 4)) {
        return upt_fail(reterr, UPT_EDATA, "the %s record in the state topic is damaged (checksum)", what);
    }
    if (in.p[0] != FORMAT) {
        return upt_fail(reterr, UPT_EDATA,
                        "the %s record in the state topic was written by another version of uptake; "
                        "to begin anew delete the state topic and the group's offsets",
                        what);
    }
    *ret = (struct upt_cur){.p = in.p + 1, .end = in.p + in.len - 4, .ok = true};
    return UPT_OK;
}

static void
put_pos(struct upt_buf *out, struct upt_pos pos)
{
    upt_buf_put_le64(out, (uint64_t)pos.offset);
    upt_buf_put_le64(out, (uint64_t)pos.tick);
}

static struct upt_pos
get_pos(struct upt_cur *cur)
{
    struct upt_pos pos;
    pos.offset = (int64_t)upt_cur_le64(cur);
    pos.tick = (int64_t)upt_cur_le64(cur);
    return pos;
}

static void
put_text(struct upt_buf *out, const char *text)
{
    size_t len = strlen(text);
    upt_buf_put_varint(out, len);
    upt_buf_put(out, text, len);
}

static void
get_text(struct upt_cur *cur, char *ret, size_t cap)
{
    uint64_t len = upt_cur_varint(cur);
    struct upt_str bytes = upt_cur_bytes(cur, len);
    if (len >= cap) {
        cur->ok = false;
    }
    if (cur->ok) {
        memcpy(ret, bytes.p, bytes.len);
        ret[bytes.len] = '\0';
    }
}

void
upt_progress_encode(const struct upt_progress *progress, struct upt_buf *out)
{
    size_t from = out->len;
    upt_buf_put(out, &(char){FORMAT}, 1);
    upt_buf_put_le64(out, (uint64_t)progress->epoch);
    put_pos(out, progress->pos);
    upt_buf_put_le64(out, (uint64_t)progress->next_offset);
    upt_buf_put_varint(out, progress->released ? 1 : 0);
    put_text(out, progress->writer);
    put_text(out, progress->config_hash);
    upt_buf_put_varint(out, progress->places_n);
    for (size_t i = 0; i < progress->places_n; i++) {
        upt_buf_put_le64(out, (uint64_t)progress->places[i].offset);
        upt_buf_put_le64(out, (uint64_t)progress->places[i].tick);
    }
    seal(out, from);
}

upt_status
upt_progress_decode(struct upt_str in, struct upt_progress *ret, struct upt_error *reterr)
{
    struct upt_cur cur;
    upt_status status = unseal(in, "progress", &cur, reterr);
    if (status != UPT_OK) {
        return status;
    }
    struct upt_progress got = {0};
    got.epoch = (int64_t)upt_cur_le64(&cur);
    got.pos = get_pos(&cur);
    got.next_offset = (int64_t)upt_cur_le64(&cur);
    got.released = upt_cur_varint(&cur) == 1;
    get_text(&cur, got.writer, sizeof(got.writer));
    get_text(&cur, got.config_hash, sizeof(got.config_hash));
    uint64_t n = upt_cur_varint(&cur);
    if (!cur.ok || n > UPT_PLACES_MAX || (uint64_t)(cur.end - cur.p) != n * 16) {
        return upt_fail(reterr, UPT_EDATA, "the progress record in the state topic does not add up");
    }
    if (n > 0) {
        got.places = calloc(n, sizeof(*got.places));
        if (got.places == NULL) {
            return upt_fail(reterr, UPT_ENOMEM, "out of memory");
        }
    }
    got.places_n = n;
    for (size_t i = 0; i < n; i++) {
        got.places[i].offset = (int64_t)upt_cur_le64(&cur);
        got.places[i].tick = (int64_t)upt_cur_le64(&cur);
    }
    *ret = got;
    return UPT_OK;
}

void
upt_progress_fini(struct upt_progress *progress)
{
    free(progress->places);
    progress->places = NULL;
    progress->places_n = 0;
}

void
upt_checkpoint_encode(const struct upt_checkpoint *checkpoint, struct upt_buf *out)
{
    size_t from = out->len;
    upt_buf_put(out, &(char){FORMAT}, 1);
    put_pos(out, checkpoint->pos);
    upt_buf_put_le64(out, (uint64_t)checkpoint->clock);
    seal(out, from);
}

upt_status
upt_checkpoint_decode(struct upt_str in, struct upt_checkpoint *ret, struct upt_error *reterr)
{
    struct upt_cur cur;
    upt_status status = unseal(in, "checkpoint", &cur, reterr);
    if (status != UPT_OK) {
        return status;
    }
    struct upt_checkpoint got;
    got.pos = get_pos(&cur);
    got.clock = (int64_t)upt_cur_le64(&cur);
    if (!cur.ok || cur.p != cur.end) {
        return upt_fail(reterr, UPT_EDATA, "the checkpoint record in the state topic does not add up");
    }
    *ret = got;
    return UPT_OK;
}
