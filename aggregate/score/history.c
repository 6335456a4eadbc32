/* The band with its hysteresis, and the account's own history of scores.
 *
 * History is kept in hundredths of a point, and what is published as the score of 7 or 28 days ago comes from there: it
 * can be recomputed from the record of that day by rounding. The slope is least squares over whole numbers, divided
 * once. Pure but for *ext. */
#include <math.h>

#include "decide.h"
#include "uptake/assert.h"
#include "uptake/units.h"

#define SLOPE_POINTS_MIN 7

static upt_band
band_of(const struct upt_model *model, double score)
{
    for (int i = 0; i < 3; i++) {
        if (score < model->band_edge[i]) {
            return (upt_band)(UPT_BAND_CRITICAL + i);
        }
    }
    return UPT_BAND_HEALTHY;
}

/* A band is left when the score is beyond its edge by the margin, in so many evaluations in a row, and so many days
 * after the last change. UNKNOWN is left, and entered, at once: it says that nothing is known, not that things moved.
 */
void
upt_band_step(const struct upt_model *model, struct upt_score_ext *ext, const struct upt_eval *eval)
{
    upt_band band = (upt_band)ext->band;
    if (!eval->confident || band == UPT_BAND_UNKNOWN) {
        upt_band next = eval->confident ? band_of(model, (double)eval->score_micro / 1e6) : UPT_BAND_UNKNOWN;
        if (next != band) {
            ext->band = (uint8_t)next;
            ext->band_day = (int32_t)eval->today;
        }
        ext->pending_n = 0;
        return;
    }
    double score = (double)eval->score_micro / 1e6;
    double low = band == UPT_BAND_CRITICAL ? -1.0 : model->band_edge[band - 2] - model->band_margin;
    double high = band == UPT_BAND_HEALTHY ? 101.0 : model->band_edge[band - 1] + model->band_margin;
    if (score >= low && score < high) {
        ext->pending_n = 0;
        return;
    }
    ext->pending_n = (uint8_t)(ext->pending_n < UINT8_MAX ? ext->pending_n + 1 : UINT8_MAX);
    if (ext->pending_n >= (int)model->band_evaluations && (double)(eval->today - ext->band_day) >= model->band_days) {
        ext->band = (uint8_t)band_of(model, score);
        ext->band_day = (int32_t)eval->today;
        ext->pending_n = 0;
    }
}

static size_t
place(int64_t day)
{
    return (size_t)((day % UPT_HISTORY_DAYS + UPT_HISTORY_DAYS) % UPT_HISTORY_DAYS);
}

void
upt_history_put(struct upt_score_ext *ext, const struct upt_eval *eval)
{
    if (ext->evaluated) {
        for (int64_t d = (int64_t)ext->evaluated_day + 1;
             d < eval->today && d <= (int64_t)ext->evaluated_day + UPT_HISTORY_DAYS; d++) {
            ext->history[place(d)] = UPT_NULL_U16;
        }
    }
    ext->history[place(eval->today)] = eval->confident ? (uint16_t)((eval->score_micro + 5000) / 10000) : UPT_NULL_U16;
}

static int32_t
stored(const struct upt_score_ext *ext, int64_t today, int ago)
{
    int64_t day = today - ago;
    if (!ext->evaluated || ago < 0 || day > ext->evaluated_day ||
        day <= (int64_t)ext->evaluated_day - UPT_HISTORY_DAYS) {
        return -1;
    }
    uint16_t v = ext->history[place(day)];
    return v == UPT_NULL_U16 ? -1 : v;
}

double
upt_history_ago(const struct upt_score_ext *ext, int64_t today, int ago)
{
    int32_t v = stored(ext, today, ago);
    return v < 0 ? (double)NAN : v / 100.0;
}

double
upt_history_slope(const struct upt_score_ext *ext, int64_t today)
{
    int64_t n = 0;
    int64_t sx = 0;
    int64_t sy = 0;
    int64_t sxx = 0;
    int64_t sxy = 0;
    for (int ago = 0; ago < UPT_HISTORY_DAYS; ago++) {
        int32_t v = stored(ext, today, ago);
        if (v >= 0) {
            n++;
            sx -= ago;
            sy += v;
            sxx += (int64_t)ago * ago;
            sxy -= (int64_t)ago * v;
        }
    }
    int64_t down = n * sxx - sx * sx;
    if (n < SLOPE_POINTS_MIN || down == 0) {
        return (double)NAN;
    }
    return upt_round6((double)(7 * (n * sxy - sx * sy)) / (100.0 * (double)down));
}

double
upt_history_mean(const struct upt_score_ext *ext, int64_t today)
{
    int64_t n = 0;
    int64_t sum = 0;
    for (int ago = 1; ago < UPT_HISTORY_DAYS; ago++) {
        int32_t v = stored(ext, today, ago);
        n += v >= 0 ? 1 : 0;
        sum += v >= 0 ? v : 0;
    }
    return n == 0 ? (double)NAN : upt_round6((double)sum / (100.0 * (double)n));
}
