/* Checkpoint codec of the scores' part of an account.
 *
 * One list of fields (FIELDS) drives both directions, so that a field cannot be written and not read. Fixed-width
 * little endian, version byte first; doubles and floats as their bits, since a restored account must decide exactly
 * like one that stayed. Version 2; others are refused: a log that is there is read again. */
#include "ext.h"

#include <string.h>

#define EXT_VERSION 2

struct codec {
    struct upt_buf *out; /* NULL: reading */
    struct upt_cur cur;
};

static uint64_t
word(struct codec *codec, uint64_t v, unsigned bytes)
{
    if (codec->out != NULL) {
        char raw[8];
        for (unsigned i = 0; i < bytes; i++) {
            raw[i] = (char)(unsigned char)(v >> (8 * i));
        }
        upt_buf_put(codec->out, raw, bytes);
        return v;
    }
    struct upt_str raw = upt_cur_bytes(&codec->cur, bytes);
    uint64_t got = 0;
    for (unsigned i = 0; i < raw.len; i++) {
        got |= (uint64_t)(unsigned char)raw.p[i] << (8 * i);
    }
    return got;
}

#define INT(field, type, bytes) (field) = (type)word(codec, (uint64_t)(field), bytes)
#define FLAG(field) (field) = word(codec, (field) ? 1 : 0, 1) != 0

static void
real(struct codec *codec, double *v)
{
    uint64_t bits;
    memcpy(&bits, v, sizeof(bits));
    bits = word(codec, bits, 8);
    memcpy(v, &bits, sizeof(bits));
}

static void
real32(struct codec *codec, float *v)
{
    uint32_t bits;
    memcpy(&bits, v, sizeof(bits));
    bits = (uint32_t)word(codec, bits, 4);
    memcpy(v, &bits, sizeof(bits));
}

static void
slot(struct codec *codec, struct upt_slot *s)
{
    INT(s->opened_min, uint32_t, 4);
    INT(s->since_min, uint32_t, 4);
    INT(s->changed_min, uint32_t, 4);
    INT(s->revision, uint16_t, 2);
    INT(s->risk_e4, uint16_t, 2);
    INT(s->health_e2, uint16_t, 2);
    INT(s->state, uint8_t, 1);
    INT(s->severity, uint8_t, 1);
    INT(s->on_n, uint8_t, 1);
    INT(s->off_n, uint8_t, 1);
}

static void
drop(struct codec *codec, struct upt_drop *d)
{
    real(codec, &d->cusum);
    for (int i = 0; i < 7; i++) {
        real32(codec, &d->profile[i]);
    }
    real32(codec, &d->dispersion);
    real32(codec, &d->observed);
    real32(codec, &d->expected);
    real32(codec, &d->held);
    INT(d->since_day, int32_t, 4);
    INT(d->periods_n, int32_t, 4);
    INT(d->cadence, uint8_t, 1);
    INT(d->other_n, uint8_t, 1);
    FLAG(d->has_held);
}

static void
fields(struct codec *codec, struct upt_score_ext *ext)
{
    for (int i = 0; i < UPT_ACTIVE_DAYS / 64; i++) {
        INT(ext->active[i], uint64_t, 8);
    }
    INT(ext->last_key_ms, int64_t, 8);
    real(codec, &ext->volume);
    INT(ext->last_day, int32_t, 4);
    INT(ext->first_day, int32_t, 4);
    INT(ext->value_day, int32_t, 4);
    INT(ext->nps_min, uint32_t, 4);
    INT(ext->churned_min, uint32_t, 4);
    INT(ext->renewed_min, uint32_t, 4);
    INT(ext->evaluated_day, int32_t, 4);
    INT(ext->band_day, int32_t, 4);
    INT(ext->score, uint32_t, 4);
    INT(ext->confidence, uint32_t, 4);
    INT(ext->sent_score, uint32_t, 4);
    for (int h = 0; h < UPT_HORIZONS; h++) {
        INT(ext->risk[h], uint32_t, 4);
        INT(ext->sent_risk[h], uint32_t, 4);
    }
    for (int i = 0; i < UPT_HISTORY_DAYS; i++) {
        INT(ext->history[i], uint16_t, 2);
    }
    for (int i = 0; i < UPT_STEPS_MAX; i++) {
        INT(ext->steps[i], uint16_t, 2);
    }
    INT(ext->nps_tenths, int16_t, 2);
    INT(ext->days_ever, uint16_t, 2);
    INT(ext->steps_n, uint8_t, 1);
    INT(ext->band, uint8_t, 1);
    INT(ext->pending_n, uint8_t, 1);
    INT(ext->phase, uint8_t, 1);
    INT(ext->sent_band, uint8_t, 1);
    INT(ext->sent_phase, uint8_t, 1);
    FLAG(ext->has_key);
    FLAG(ext->has_value);
    FLAG(ext->evaluated);
    FLAG(ext->sent);
    drop(codec, &ext->drop);
    INT(ext->foretold.day, int32_t, 4);
    INT(ext->foretold.risk_e4, uint16_t, 2);
    for (int i = 0; i < UPT_RULES; i++) {
        slot(codec, &ext->slot[i]);
    }
}

void
upt_ext_init(struct upt_score_ext *ext)
{
    memset(ext, 0, sizeof(*ext));
    ext->born = true;
    ext->foretold.risk_e4 = UPT_NULL_U16;
    ext->score = ext->sent_score = UPT_NULL_U32;
    for (int h = 0; h < UPT_HORIZONS; h++) {
        ext->risk[h] = ext->sent_risk[h] = UPT_NULL_U32;
    }
    for (int i = 0; i < UPT_HISTORY_DAYS; i++) {
        ext->history[i] = UPT_NULL_U16;
    }
}

void
upt_ext_encode(const struct upt_score_ext *ext, struct upt_buf *out)
{
    if (!ext->born) {
        upt_buf_put(out, "\0", 1); /* no event reached it: nothing to say */
        return;
    }
    struct codec codec = {.out = out};
    struct upt_score_ext copy = *ext;
    (void)word(&codec, EXT_VERSION, 1);
    fields(&codec, &copy);
}

/* Values that index or are enumerations; the rest cannot harm. The record's CRC has been checked already. */
static bool
plausible(const struct upt_score_ext *ext)
{
    bool good = ext->steps_n <= UPT_STEPS_MAX && ext->band <= UPT_BAND_HEALTHY && ext->phase < UPT_PHASE_COUNT &&
                ext->sent_band <= UPT_BAND_HEALTHY && ext->sent_phase < UPT_PHASE_COUNT && ext->drop.cadence <= 2 &&
                (!ext->has_key || ext->first_day <= ext->last_day);
    for (int i = 0; i < UPT_RULES; i++) {
        good = good && ext->slot[i].state <= UPT_SLOT_CLOSED && ext->slot[i].severity <= UPT_CRITICAL;
    }
    return good;
}

bool
upt_ext_decode(struct upt_score_ext *ext, struct upt_str in)
{
    struct codec codec = {.cur = upt_cur_of(in)};
    uint64_t version = word(&codec, 0, 1);
    memset(ext, 0, sizeof(*ext));
    if (version == 0) {
        return codec.cur.ok && codec.cur.p == codec.cur.end;
    }
    if (version != EXT_VERSION) {
        return false;
    }
    ext->born = true;
    fields(&codec, ext);
    return codec.cur.ok && codec.cur.p == codec.cur.end && plausible(ext);
}
