/* The mix: how each case looks, byte by byte.
 *
 * What is broken is broken by hand on top of a record that would be good, so that nothing but the fault in question can
 * be its reason. Where the contract lets one reason win over another, records that have two faults are left to the
 * tests of the decoder: here each has one.
 *
 * @locality: one thread. */
#include "ingest/generate/mix_internal.h"

#include <math.h>
#include <stdio.h>

#include "ingest/avro/encoder.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define A16 "aaaaaaaaaaaaaaaa"
#define A64 A16 A16 A16 A16
#define NAME_OF_256 A64 A64 A64 A64

/* Names that want percent-encoding, quoting or care. Feature names: no first byte '_', at most 128 bytes. */
#define TEXT(literal)                              \
    {                                              \
        .p = (literal), .len = sizeof(literal) - 1 \
    }
static const struct upt_str odd_names[] = {TEXT("{braced}"),
                                           TEXT("a b\tc"),
                                           TEXT("100%"),
                                           TEXT("nul\0inside"),
                                           TEXT("\x7f"),
                                           TEXT("Zürich Größe"),
                                           TEXT("\xe6\x97\xa5\xe6\x9c\xac"),
                                           TEXT("\"quoted\"\\"),
                                           TEXT("x:features"),
                                           TEXT("\xf0\x9f\x90\xa2"),
                                           TEXT("%7B"),
                                           TEXT(":"),
                                           TEXT("totals")};
#define ODD_NAMES (sizeof(odd_names) / sizeof(odd_names[0]))

static void
put_draft(struct upt_mix *mix)
{
    upt_encode_event(&mix->value, mix->config.event_id, &mix->draft.event, mix->draft.props, mix->draft.props_n);
}

/* The draft becomes plain USAGE, for the cases that need it. */
static struct upt_event *
usage(struct upt_mix *mix)
{
    struct upt_event *ev = &mix->draft.event;
    ev->kind = UPT_KIND_USAGE;
    if (ev->feature.p == NULL) {
        ev->feature = UPT_STR("search");
    }
    ev->quantity = 1.0;
    mix->draft.props_n = 0;
    return ev;
}

/* ---- keys and frames ---- */

static bool
make_key(struct upt_mix *mix, upt_mix_case what, struct upt_mix_record *ret)
{
    put_draft(mix);
    switch (what) {
    case UPT_MIX_KEY_NULL:
        ret->key = UPT_STR_NULL;
        break;
    case UPT_MIX_KEY_NULL_TWICE:
        ret->key = UPT_STR_NULL;
        ret->value = UPT_STR_NULL;
        return true;
    case UPT_MIX_KEY_EMPTY:
        ret->key = UPT_STR("");
        break;
    case UPT_MIX_KEY_LONG:
        upt_buf_clear(&mix->key);
        upt_buf_puts(&mix->key, NAME_OF_256 "b");
        upt_assert(mix->key.len == UPT_KEY_MAX + 1);
        ret->key = upt_buf_str(&mix->key);
        break;
    default:
        /* A lone continuation byte, a surrogate, an overlong slash, past the last code point. */
        ret->key = (struct upt_str[]){UPT_STR("a\x80"), UPT_STR("\xed\xa0\x80"), UPT_STR("\xc0\xaf"),
                                      UPT_STR("\xf4\x90\x80\x80")}[upt_mix_below(mix, 4)];
        break;
    }
    ret->value = upt_buf_str(&mix->value);
    return true;
}

static void
put_header(struct upt_buf *out, int32_t id)
{
    uint32_t bits = (uint32_t)id;
    unsigned char header[5] = {0, (unsigned char)(bits >> 24), (unsigned char)(bits >> 16), (unsigned char)(bits >> 8),
                               (unsigned char)bits};
    upt_buf_put(out, header, sizeof(header));
}

static bool
make_frame(struct upt_mix *mix, upt_mix_case what)
{
    struct upt_buf *out = &mix->value;
    switch (what) {
    case UPT_MIX_FRAME_SHORT:
        put_header(out, mix->config.event_id);
        out->len = upt_mix_below(mix, 5);
        break;
    case UPT_MIX_FRAME_MAGIC:
        put_draft(mix);
        out->p[0] = (char)(1 + upt_mix_below(mix, 120));
        break;
    case UPT_MIX_SCHEMA_UNKNOWN:
        upt_encode_event(out, mix->config.unknown_id, &mix->draft.event, mix->draft.props, mix->draft.props_n);
        break;
    default:
        put_header(out, mix->config.other_id);
        upt_buf_put_zigzag(out, mix->draft.event.account_id.len);
        upt_buf_put(out, mix->draft.event.account_id.p, mix->draft.event.account_id.len);
        upt_buf_put_zigzag(out, 1);
        upt_buf_puts(out, "/");
        break;
    }
    return true;
}

static bool
make_large(struct upt_mix *mix, upt_mix_case what)
{
    struct upt_buf *out = &mix->value;
    if (what == UPT_MIX_LARGE_COUNT) {
        /* The count alone: the limit is met before the items, which are not there. */
        put_header(out, mix->config.batch_id);
        upt_buf_put_zigzag(out, mix->config.max_batch_events + 1);
        return true;
    }
    if (what == UPT_MIX_LARGE_DEPTH) {
        upt_mix_put_evolved(mix, false, mix->config.max_depth + 8);
        return true;
    }
    size_t size = (size_t)mix->config.max_record_bytes + 1;
    upt_buf_clear(&mix->text);
    memset(upt_buf_reserve(&mix->text, size), 'x', size);
    const struct upt_prop prop = {.name = UPT_STR("note"), .value = {.p = mix->text.p, .len = (uint32_t)size}};
    upt_encode_event(out, mix->config.event_id, &mix->draft.event, &prop, 1);
    return true;
}

/* ---- Avro ---- */

static bool
make_avro(struct upt_mix *mix, upt_mix_case what)
{
    struct upt_buf *out = &mix->value;
    size_t head = mix->config.framed ? 5 : 0;
    switch (what) {
    case UPT_MIX_AVRO_CUT:
        put_draft(mix);
        out->len -= 1 + upt_mix_below(mix, out->len - head - 1);
        break;
    case UPT_MIX_AVRO_LEFT_OVER:
        put_draft(mix);
        upt_buf_put(out, "\0\0\0\0\0\0\0\0", 1 + upt_mix_below(mix, 8));
        break;
    case UPT_MIX_AVRO_UTF8:
        if (upt_mix_below(mix, 2) == 0) {
            mix->draft.event.user_id = UPT_STR("u\xff");
        } else {
            mix->draft.event.event_id = UPT_STR("\xc3(");
        }
        put_draft(mix);
        break;
    default: {
        /* A length that does not fit: beyond the record, beyond 64 bits, or below 0. */
        static const int64_t lengths[] = {1 << 20, INT64_MAX, -1, INT64_MIN};
        if (mix->config.framed) {
            put_header(out, mix->config.event_id);
        }
        upt_buf_put_zigzag(out, lengths[upt_mix_below(mix, 4)]);
        upt_buf_puts(out, "not so long");
        break;
    }
    }
    return true;
}

/* ---- features, quantities, times ---- */

static bool
make_feature(struct upt_mix *mix, upt_mix_case what)
{
    struct upt_event *ev = usage(mix);
    switch (what) {
    case UPT_MIX_FEATURE_EMPTY:
        ev->feature = UPT_STR("");
        break;
    case UPT_MIX_FEATURE_PRIVATE:
        ev->feature = upt_mix_below(mix, 2) == 0 ? UPT_STR("_") : UPT_STR("_private");
        break;
    default:
        ev->feature = (struct upt_str){.p = NAME_OF_256, .len = UPT_FEATURE_MAX + 1};
        break;
    }
    put_draft(mix);
    return true;
}

static bool
make_quantity(struct upt_mix *mix, upt_mix_case what)
{
    struct upt_event *ev = usage(mix);
    if (upt_mix_below(mix, 2) == 0) {
        ev->kind = UPT_KIND_VALUE;
    }
    switch (what) {
    case UPT_MIX_QUANTITY_NAN:
        ev->quantity = NAN;
        break;
    case UPT_MIX_QUANTITY_INF:
        ev->quantity = upt_mix_below(mix, 2) == 0 ? INFINITY : -INFINITY;
        break;
    case UPT_MIX_QUANTITY_NEGATIVE:
        ev->quantity = upt_mix_below(mix, 2) == 0 ? -1.0 : -5e-324;
        break;
    case UPT_MIX_QUANTITY_HUGE:
        ev->quantity = upt_mix_below(mix, 2) == 0 ? 1000000000.0000001 : 1e300;
        break;
    default:
        ev->kind = upt_mix_below(mix, 2) == 0 ? UPT_KIND_OTHER : UPT_KIND_LOGIN;
        ev->quantity = upt_mix_below(mix, 2) == 0 ? NAN : INFINITY;
        break;
    }
    put_draft(mix);
    return true;
}

static bool
make_time(struct upt_mix *mix, upt_mix_case what, int64_t ts)
{
    struct upt_event *ev = &mix->draft.event;
    int64_t day = upt_floor_div(ts, UPT_DAY_MS);
    int64_t future = mix->config.max_future_ms;
    switch (what) {
    case UPT_MIX_LATE:
        ev->occurred_at = ts - UPT_MINUTE_MS - (int64_t)upt_mix_below(mix, (uint64_t)(28 * UPT_DAY_MS));
        break;
    case UPT_MIX_LATE_EDGE:
        ev->occurred_at = (day - 29) * UPT_DAY_MS; /* the first that still counts */
        break;
    case UPT_MIX_TOO_LATE_EDGE:
        ev->occurred_at = (day - 29) * UPT_DAY_MS - 1;
        break;
    case UPT_MIX_TOO_LATE:
        ev->occurred_at = (day - 30) * UPT_DAY_MS - (int64_t)upt_mix_below(mix, (uint64_t)(400 * UPT_DAY_MS));
        break;
    case UPT_MIX_EARLY:
        ev->occurred_at = ts + 1 + (int64_t)upt_mix_below(mix, (uint64_t)future);
        break;
    case UPT_MIX_EARLY_EDGE:
        ev->occurred_at = ts + future;
        break;
    case UPT_MIX_IN_FUTURE_EDGE:
        ev->occurred_at = ts + future + 1;
        break;
    default:
        ev->occurred_at = ts + future + 1 + (int64_t)upt_mix_below(mix, (uint64_t)(400 * UPT_DAY_MS));
        break;
    }
    put_draft(mix);
    return true;
}

/* ---- odd but good ---- */

static bool
make_odd(struct upt_mix *mix, upt_mix_case what, struct upt_mix_record *ret)
{
    static const double quantities[] = {-0.0, 0.0, 1e9, 1e-7, 5e-7, 123456.7890125, 0.1, 999999999.9999999, 4e-320};
    static const struct upt_prop no_seats[] = {{TEXT("seats"), TEXT("many")}, {TEXT("tier"), TEXT("")}};
    struct upt_event *ev = &mix->draft.event;
    switch (what) {
    case UPT_MIX_ODD_KEY: {
        usage(mix);
        struct upt_str name =
            upt_mix_below(mix, 8) == 0 ? UPT_STR(NAME_OF_256) : odd_names[upt_mix_below(mix, ODD_NAMES)];
        ev->account_id = name;
        ev->user_id = odd_names[upt_mix_below(mix, ODD_NAMES)];
        ev->feature = upt_mix_below(mix, 8) == 0 ? (struct upt_str){.p = NAME_OF_256, .len = UPT_FEATURE_MAX}
                                                 : odd_names[upt_mix_below(mix, ODD_NAMES)];
        ret->key = name;
        break;
    }
    case UPT_MIX_ODD_NUMBERS:
        usage(mix)->quantity = quantities[upt_mix_below(mix, sizeof(quantities) / sizeof(quantities[0]))];
        ev->has_duration = true;
        ev->duration_ms = (int64_t)upt_mix_random(mix);
        if (upt_mix_below(mix, 4) == 0) {
            ev->kind = UPT_KIND_OTHER;
            ev->quantity = -1e300;
        }
        break;
    case UPT_MIX_NO_ID:
        ev->event_id = UPT_STR("");
        break;
    case UPT_MIX_NO_USER:
        ev->user_id = upt_mix_below(mix, 2) == 0 ? UPT_STR("") : UPT_STR_NULL;
        break;
    case UPT_MIX_USER_REMOVED:
        usage(mix)->kind = UPT_KIND_USER_REMOVED;
        break;
    default:
        ev->kind = UPT_KIND_PROFILE;
        mix->draft.props = no_seats;
        mix->draft.props_n = 2;
        break;
    }
    put_draft(mix);
    return true;
}

/* ---- batches ---- */

/* What is wrong with the event at this place of a partly bad batch. */
static upt_reason
spoil(struct upt_mix *mix, struct upt_event *ev, int64_t ts)
{
    switch (upt_mix_below(mix, 4)) {
    case 0:
        ev->kind = UPT_KIND_USAGE;
        ev->feature = UPT_STR("_hidden");
        return UPT_REASON_BAD_FEATURE;
    case 1:
        ev->quantity = NAN;
        return UPT_REASON_BAD_QUANTITY;
    case 2:
        ev->occurred_at = ts - 31 * UPT_DAY_MS;
        return UPT_REASON_TOO_LATE;
    default:
        ev->occurred_at = ts + mix->config.max_future_ms + 1;
        return UPT_REASON_IN_FUTURE;
    }
}

/* Events of one account, as they would have gathered in a telemetry kit during the last minutes. */
static bool
make_batch(struct upt_mix *mix, upt_mix_case what, struct upt_mix_record *ret)
{
    uint64_t n = 1 + upt_mix_below(mix, (uint64_t)mix->config.batch_max);
    n = what == UPT_MIX_BATCH || what == UPT_MIX_AVRO_BATCH_CUT || n > 1 ? n : 2;
    n = what == UPT_MIX_EMPTY_BATCH ? 0 : n;
    uint64_t stranger = upt_mix_below(mix, n + 1);
    struct upt_event base = *usage(mix);
    upt_encode_batch_begin(&mix->value, mix->config.batch_id, n);
    for (uint64_t i = 0; i < n; i++) {
        struct upt_event ev = base;
        bool same = what == UPT_MIX_AGAIN_IN_BATCH && i > 0 && upt_mix_below(mix, 3) == 0;
        ev.event_id = same ? UPT_STR_NULL : upt_mix_id(mix);
        if (same) {
            ev.event_id = upt_str_of(mix->id); /* that of the event before */
        }
        ev.occurred_at = base.occurred_at - (int64_t)upt_mix_below(mix, 300000);
        ev.kind = (upt_kind[]){UPT_KIND_USAGE, UPT_KIND_USAGE, UPT_KIND_LOGIN, UPT_KIND_VALUE}[upt_mix_below(mix, 4)];
        snprintf(mix->user, sizeof(mix->user), "kit-user-%u", (unsigned)upt_mix_below(mix, 9));
        ev.user_id = upt_str_of(mix->user);
        if (what == UPT_MIX_ACCOUNT_IN_BATCH && i == stranger % n) {
            ev.account_id = UPT_STR("somebody-else");
        }
        if (what == UPT_MIX_PARTLY && (i == stranger % n || upt_mix_below(mix, 6) == 0)) {
            upt_reason reason = spoil(mix, &ev, ret->ts);
            ret->reason = ret->reason == UPT_REASON_NONE ? reason : ret->reason;
            ret->partly = true;
        }
        upt_encode_event(&mix->value, -1, &ev, NULL, 0);
    }
    upt_encode_batch_end(&mix->value);
    if (what == UPT_MIX_AVRO_BATCH_CUT) {
        mix->value.len -= 1 + upt_mix_below(mix, mix->value.len - 5 - 1);
    }
    ret->events = (uint32_t)n;
    return true;
}

bool
upt_mix_make(struct upt_mix *mix, upt_mix_case what, struct upt_mix_record *ret)
{
    upt_buf_clear(&mix->value);
    ret->events = 1;
    upt_buf_clear(&mix->key);
    upt_buf_put(&mix->key, mix->draft.event.account_id.p, mix->draft.event.account_id.len);
    ret->key = upt_buf_str(&mix->key);
    if (what >= UPT_MIX_KEY_NULL && what <= UPT_MIX_KEY_NULL_TWICE) {
        return make_key(mix, what, ret);
    }
    bool made = true;
    if (what == UPT_MIX_PLAIN) {
        put_draft(mix);
    } else if (what == UPT_MIX_FORGET) {
        ret->value = UPT_STR_NULL;
        ret->events = 0;
        return true;
    } else if (what == UPT_MIX_EVOLVED || what == UPT_MIX_EVOLVED_SYMBOL) {
        usage(mix)->quantity = (double)upt_mix_below(mix, 64) * 0.25;
        upt_mix_put_evolved(mix, what == UPT_MIX_EVOLVED_SYMBOL, (int64_t)upt_mix_below(mix, 6));
    } else if (what >= UPT_MIX_ODD_KEY && what <= UPT_MIX_BAD_SEATS) {
        made = make_odd(mix, what, ret);
    } else if (what == UPT_MIX_ACCOUNT_OTHER) {
        mix->draft.event.account_id = UPT_STR("somebody-else");
        put_draft(mix);
    } else if (what >= UPT_MIX_LARGE_BYTES && what <= UPT_MIX_LARGE_DEPTH) {
        made = make_large(mix, what);
    } else if (what >= UPT_MIX_FRAME_SHORT && what <= UPT_MIX_SCHEMA_OTHER) {
        made = make_frame(mix, what);
    } else if (what >= UPT_MIX_AVRO_CUT && what <= UPT_MIX_AVRO_LENGTH) {
        made = make_avro(mix, what);
    } else if (what >= UPT_MIX_FEATURE_EMPTY && what <= UPT_MIX_FEATURE_PRIVATE) {
        made = make_feature(mix, what);
    } else if (what >= UPT_MIX_QUANTITY_NAN && what <= UPT_MIX_QUANTITY_OTHER) {
        made = make_quantity(mix, what);
    } else if (what == UPT_MIX_BATCH || what == UPT_MIX_AGAIN_IN_BATCH || what == UPT_MIX_EMPTY_BATCH ||
               what == UPT_MIX_AVRO_BATCH_CUT || what == UPT_MIX_ACCOUNT_IN_BATCH || what == UPT_MIX_PARTLY) {
        made = make_batch(mix, what, ret);
    } else {
        made = make_time(mix, what, ret->ts);
    }
    /* Not even the shortest frame is a null record. */
    ret->value = (struct upt_str){.p = mix->value.p == NULL ? "" : mix->value.p, .len = (uint32_t)mix->value.len};
    return made;
}
