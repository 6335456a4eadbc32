/* Checkpoint codec of the scores' part of an account.
 *
 * One list of fields drives both directions, so that a field cannot be written and not read. Fixed-width
 * little endian, version byte first; doubles and floats as their bits, since a restored account must decide exactly
 * like one that stayed. A version that is not this one is refused. */
#include "ext.h"

#include <string.h>

#include "codec.h"

static void
drop(struct upt_codec *codec, struct upt_drop *d)
{
    upt_codec_real(codec, &d->cusum);
    for (int i = 0; i < 7; i++) {
        upt_codec_real32(codec, &d->profile[i]);
    }
    upt_codec_real32(codec, &d->dispersion);
    upt_codec_real32(codec, &d->observed);
    upt_codec_real32(codec, &d->expected);
    upt_codec_real32(codec, &d->held);
    UPT_INT(d->since_day, int32_t, 4);
    UPT_INT(d->periods_n, int32_t, 4);
    UPT_INT(d->cadence, uint8_t, 1);
    UPT_INT(d->other_n, uint8_t, 1);
    UPT_FLAG(d->has_held);
}

static void
fields(struct upt_codec *codec, struct upt_score_ext *ext)
{
    for (int i = 0; i < UPT_ACTIVE_DAYS / 64; i++) {
        UPT_INT(ext->active[i], uint64_t, 8);
    }
    UPT_INT(ext->last_key_ms, int64_t, 8);
    upt_codec_real(codec, &ext->volume);
    UPT_INT(ext->last_day, int32_t, 4);
    UPT_INT(ext->first_day, int32_t, 4);
    UPT_INT(ext->value_day, int32_t, 4);
    UPT_INT(ext->nps_min, uint32_t, 4);
    UPT_INT(ext->churned_min, uint32_t, 4);
    UPT_INT(ext->renewed_min, uint32_t, 4);
    UPT_INT(ext->evaluated_day, int32_t, 4);
    UPT_INT(ext->band_day, int32_t, 4);
    UPT_NULLABLE(ext->score, uint32_t, 4);
    UPT_INT(ext->confidence, uint32_t, 4);
    UPT_NULLABLE(ext->sent_score, uint32_t, 4);
    for (int h = 0; h < UPT_HORIZONS; h++) {
        UPT_NULLABLE(ext->risk[h], uint32_t, 4);
        UPT_NULLABLE(ext->sent_risk[h], uint32_t, 4);
    }
    for (int i = 0; i < UPT_HISTORY_DAYS; i++) {
        UPT_NULLABLE(ext->history[i], uint16_t, 2);
    }
    UPT_INT(ext->nps_tenths, int16_t, 2);
    UPT_INT(ext->days_ever, uint16_t, 2);
    UPT_INT(ext->band, uint8_t, 1);
    UPT_INT(ext->pending_n, uint8_t, 1);
    UPT_INT(ext->phase, uint8_t, 1);
    UPT_INT(ext->sent_band, uint8_t, 1);
    UPT_INT(ext->sent_phase, uint8_t, 1);
    UPT_FLAG(ext->has_key);
    UPT_FLAG(ext->has_value);
    UPT_FLAG(ext->evaluated);
    UPT_FLAG(ext->sent);
    drop(codec, &ext->drop);
    UPT_INT(ext->foretold.day, int32_t, 4);
    UPT_NULLABLE(ext->foretold.risk_e4, uint16_t, 2);
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
upt_ext_encode(const struct upt_score_ext *ext, const struct upt_segments *segments, struct upt_buf *out)
{
    if (!ext->born) {
        upt_buf_put(out, "\0", 1); /* no event reached it: nothing to say */
        return;
    }
    struct upt_codec codec = {.out = out};
    struct upt_score_ext copy = *ext;
    (void)upt_codec_word(&codec, UPT_EXT_VERSION, 1);
    fields(&codec, &copy);
    upt_signals_encode(&ext->signals, &codec);
    upt_segment_mem_encode(&ext->segment, segments, out);
}

/* Values that index or are enumerations; the rest cannot harm. The record's CRC has been checked already. */
static bool
plausible(const struct upt_score_ext *ext)
{
    return ext->band <= UPT_BAND_HEALTHY && ext->phase < UPT_PHASE_COUNT && ext->sent_band <= UPT_BAND_HEALTHY &&
           ext->sent_phase < UPT_PHASE_COUNT && ext->drop.cadence <= 2 &&
           (!ext->has_key || ext->first_day <= ext->last_day);
}

bool
upt_ext_decode(struct upt_state *st, struct upt_score_ext *ext, const struct upt_segments *segments, struct upt_str in)
{
    struct upt_codec codec = {.cur = upt_cur_of(in)};
    uint64_t version = upt_codec_word(&codec, 0, 1);
    if (version == 0) {
        return codec.cur.ok && codec.cur.p == codec.cur.end;
    }
    if (version != UPT_EXT_VERSION) {
        return false;
    }
    ext->born = true;
    fields(&codec, ext);
    bool good = codec.cur.ok && plausible(ext) && upt_signals_decode(st, &ext->signals, &codec) && codec.cur.ok &&
                upt_segment_mem_decode(&ext->segment, segments, &codec.cur) && codec.cur.p == codec.cur.end;
    ext->metered = good && ext->signals.relation != NULL && ext->signals.relation->meters_n > 0;
    return good;
}
