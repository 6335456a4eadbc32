/* Last-day histograms. See internal.h. Days beyond the ring are cleared as the present day moves on, so a member whose
 * last day has left the window is simply no longer there; moving it then takes nothing away. */
#include <string.h>

#include "aggregate/state/internal.h"

static void
advance(struct upt_hist *h, int32_t today)
{
    if (h->today == UPT_NO_DAY || today - h->today >= 32) {
        memset(h->n, 0, sizeof(h->n));
        h->today = today;
    }
    while (h->today < today) {
        h->today++;
        h->n[(uint32_t)h->today & 31] = 0;
    }
}

static bool
within(int32_t today, int32_t day)
{
    return day != UPT_NO_DAY && day > today - UPT_DAYS && day <= today;
}

void
upt_hist_move(struct upt_hist *h, int32_t today, int32_t from, int32_t to)
{
    advance(h, today);
    if (within(today, from)) {
        h->n[(uint32_t)from & 31]--;
    }
    if (within(today, to)) {
        h->n[(uint32_t)to & 31]++;
    }
}

uint64_t
upt_hist_sum(struct upt_hist *h, int32_t today, int32_t days)
{
    uint64_t sum = 0;
    advance(h, today);
    for (int32_t day = today - days + 1; day <= today; day++) {
        sum += h->n[(uint32_t)day & 31];
    }
    return sum;
}

int32_t
upt_hist_oldest(struct upt_hist *h, int32_t today)
{
    advance(h, today);
    for (int32_t day = today - UPT_DAYS + 1; day <= today; day++) {
        if (h->n[(uint32_t)day & 31] > 0) {
            return day;
        }
    }
    return UPT_NO_DAY;
}
