/* Signals of an account, packed: see signal.h.
 *
 * A number is a varint: its lowest bit says whether the others are millionths, the next one is the sign. Most signals
 * are whole numbers of days or users, one byte each; a share takes three. */
#include "uptake/signal.h"

#include <math.h>

#include "uptake/assert.h"

#define MILLIONTHS_BELOW 4e9 /* beyond, doubles do not hold them */
#define MOST 1e18

_Static_assert(UPT_SIGNALS < 64, "a bit for each");

#define NAME(id, name) name,
const char *const upt_signal_names[UPT_SIGNALS] = {UPT_SIGNAL_LIST(NAME)};

static char *
put(char *p, uint64_t word)
{
    for (; word >= 0x80; word >>= 7) {
        *p++ = (char)(unsigned char)(word | 0x80);
    }
    *p++ = (char)(unsigned char)word;
    return p;
}

static uint64_t
word_of(double v)
{
    bool fine = fabs(v) < MILLIONTHS_BELOW;
    int64_t n = fine ? (int64_t)llrint(v * UPT_MICRO) : (int64_t)nearbyint(fmax(-MOST, fmin(MOST, v)));
    if (fine && n % UPT_MICRO == 0) {
        n /= UPT_MICRO;
        fine = false;
    }
    uint64_t size = n < 0 ? (uint64_t)-n : (uint64_t)n;
    return size << 2 | (n < 0 ? 2U : 0U) | (fine ? 1U : 0U);
}

size_t
upt_signal_pack(const double values[UPT_SIGNALS], char *buf)
{
    uint64_t known = 0;
    for (unsigned i = 0; i < UPT_SIGNALS; i++) {
        known |= (uint64_t)(isnan(values[i]) ? 0 : 1) << i;
    }
    if (known == 0) {
        return 0;
    }
    char *p = put(buf, known);
    for (unsigned i = 0; i < UPT_SIGNALS; i++) {
        p = isnan(values[i]) ? p : put(p, word_of(values[i]));
    }
    upt_assert(p <= buf + UPT_SIGNALS_PACKED_MAX);
    return (size_t)(p - buf);
}

bool
upt_signal_unpack(struct upt_str packed, struct upt_signal_values *ret)
{
    ret->known = 0;
    if (packed.p == NULL) {
        return true;
    }
    struct upt_cur cur = upt_cur_of(packed);
    uint64_t known = upt_cur_varint(&cur);
    if (known == 0 || known >> UPT_SIGNALS != 0) {
        return false;
    }
    for (unsigned i = 0; i < UPT_SIGNALS; i++) {
        if ((known >> i & 1) != 0) {
            uint64_t word = upt_cur_varint(&cur);
            upt_i128 size = (upt_i128)(word >> 2) * ((word & 1) != 0 ? 1 : UPT_MICRO);
            ret->micro[i] = (word & 2) != 0 ? -size : size;
        }
    }
    ret->known = known;
    return cur.ok && cur.p == cur.end;
}
