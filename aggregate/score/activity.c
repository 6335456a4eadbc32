/* Reads everything that a score needs about when an account was active from one bitmap of 256 days.
 *
 * The obvious way is running averages of gaps and counts; those depend on the order of arrival, and late events would
 * leave them wrong for good. A bitmap does not, so a late event, a replay and a restore give the same numbers to the
 * bit. It costs about a microsecond an evaluation, which is once a day.
 *
 * Pure functions, any thread. exp and log are libm's and may differ in the last bit between machines: whatever is
 * compared or published passes upt_round6. */
#include "activity.h"

#include <math.h>

#include "uptake/assert.h"
#include "uptake/units.h"

#define WEEKS 5
#define REGULAR_DAYS 5 /* fewer active days do not make a habit */
#define SILENCE_MINUTES_MAX (400 * 1440)
/* An active week may come a day late, a month three days, without counting as missed today. */
static const int slack_days[UPT_CADENCES] = {0, 1, 3};
#define LOGISTIC_SCALE 0.55132889542179204 /* √3 / π: scale of a logistic distribution of standard deviation 1 */

bool
upt_activity_on(const struct upt_score_ext *ext, int64_t day)
{
    if (day > ext->last_day || day <= ext->last_day - UPT_ACTIVE_DAYS) {
        return false;
    }
    unsigned bit = (unsigned)(day & (UPT_ACTIVE_DAYS - 1));
    return (ext->active[bit / 64] >> (bit % 64) & 1) != 0;
}

static void
set_bit(struct upt_score_ext *ext, int64_t day, bool on)
{
    unsigned bit = (unsigned)(day & (UPT_ACTIVE_DAYS - 1));
    uint64_t mask = UINT64_C(1) << (bit % 64);
    ext->active[bit / 64] = on ? ext->active[bit / 64] | mask : ext->active[bit / 64] & ~mask;
}

bool
upt_activity_mark(struct upt_score_ext *ext, int64_t day)
{
    if (!ext->has_key) {
        ext->has_key = true;
        ext->first_day = ext->last_day = (int32_t)day;
        ext->days_ever = 1;
        set_bit(ext, day, true);
        return true;
    }
    if (day > ext->last_day) {
        int64_t gap = day - ext->last_day;
        for (int64_t d = 1; d <= gap && d <= UPT_ACTIVE_DAYS; d++) {
            set_bit(ext, ext->last_day + d, false);
        }
        ext->last_day = (int32_t)day;
    } else if (day <= ext->last_day - UPT_ACTIVE_DAYS || upt_activity_on(ext, day)) {
        return false;
    }
    ext->first_day = day < ext->first_day ? (int32_t)day : ext->first_day;
    if (ext->days_ever < UINT16_MAX) {
        ext->days_ever++;
    }
    set_bit(ext, day, true);
    return true;
}

/* Monday = 0. Day 0, 1970-01-01, was a Thursday. */
static int
weekday(int64_t day)
{
    return (int)(((day + 3) % 7 + 7) % 7);
}

static bool
any_between(const struct upt_score_ext *ext, int64_t from, int64_t to)
{
    for (int64_t d = from; d <= to; d++) {
        if (upt_activity_on(ext, d)) {
            return true;
        }
    }
    return false;
}

/* The shortest cadence that the account kept up to its last active day: of the last blocks of a day (Monday to Friday
 * only), 7 or 28 days, counted back from that day, a share was active. None: daily, in which BG/BB follows any rate. */
static int
cadence_of(const struct upt_model *model, const struct upt_score_ext *ext, const struct upt_activity *act)
{
    int seen = 0;
    int active = 0;
    for (int64_t d = act->last; d >= act->first && seen < (int)model->blocks; d--) {
        if (weekday(d) < 5) {
            seen++;
            active += upt_activity_on(ext, d) ? 1 : 0;
        }
    }
    if (seen >= (int)model->blocks_least && active >= model->share * seen) {
        return UPT_DAILY;
    }
    for (int c = UPT_WEEKLY; c <= UPT_MONTHLY; c++) {
        int p = upt_cadence_days[c];
        int blocks = (int)((act->last - act->first) / p) + 1;
        blocks = blocks < (int)model->blocks ? blocks : (int)model->blocks;
        active = 0;
        for (int k = 0; k < blocks; k++) {
            active += any_between(ext, act->last - p * k - p + 1, act->last - p * k) ? 1 : 0;
        }
        if (blocks >= (int)model->blocks_least && active >= model->share * blocks) {
            return c;
        }
    }
    return UPT_DAILY;
}

/* Active days within what is kept, counted back from the last one: back[0] = 0. Read out once, since most of what is
 * computed goes over them. */
struct days {
    int n;
    int16_t back[UPT_ACTIVE_DAYS];
};

static void
read_days(const struct upt_score_ext *ext, struct days *days)
{
    int64_t most = (int64_t)ext->last_day - ext->first_day;
    most = most < UPT_ACTIVE_DAYS ? most : UPT_ACTIVE_DAYS - 1;
    days->n = 0;
    for (int back = 0; back <= most; back++) {
        unsigned bit = (unsigned)(ext->last_day - back) & (UPT_ACTIVE_DAYS - 1);
        days->back[days->n] = (int16_t)back;
        days->n += (int)(ext->active[bit / 64] >> (bit % 64) & 1);
    }
}

static void
read_gaps(const struct upt_model *model, const struct days *days, struct upt_activity *act)
{
    double w = 0;
    double sum = 0;
    double squares = 0;
    for (int i = days->n - 1; i > 0; i--) {
        double g = model->log_gap[days->back[i] - days->back[i - 1]];
        w = w * model->silence.gap_decay + 1;
        sum = sum * model->silence.gap_decay + g;
        squares = squares * model->silence.gap_decay + g * g;
    }
    double k = model->silence.gap_weight;
    double m = (sum + k * model->silence.gap_mean) / (w + k);
    double v = (squares - 2 * m * sum + m * m * w + k * model->silence.gap_variance) / (w + k);
    act->gap_own = w > 0 ? upt_round6(exp(sum / w)) : 0;
    act->gap_own_sd = w > 0 ? upt_round6(sqrt(fmax(0, squares / w - sum / w * (sum / w)))) : 0;
    act->gap_mean = upt_round6(m);
    act->gap_sd = upt_round6(sqrt(v > 1e-4 ? v : 1e-4));
}

/* A monthly account by its own periods; the last 5 of them as bits. */
static unsigned
read_months(const struct upt_model *model, const struct upt_score_ext *ext, struct upt_activity *act)
{
    int p = upt_cadence_days[UPT_MONTHLY];
    double a2 = 0;
    double a10 = 0;
    double a21 = 0;
    unsigned newest = 0;
    for (int i = 0; i < UPT_ACTIVE_DAYS / p; i++) {
        int64_t end = act->day - (int64_t)i * p;
        if (any_between(ext, end - p + 1 - slack_days[UPT_MONTHLY], end)) {
            a2 += model->half_2[i];
            a10 += model->half_10[i];
            a21 += model->half_21[i];
            newest |= i < WEEKS ? 1U << i : 0;
        }
    }
    act->own_2 = upt_round6(a2);
    act->own_10 = upt_round6(a10);
    act->own_21 = upt_round6(a21);
    return newest;
}

static void
read_frequency(const struct upt_model *model, const struct upt_score_ext *ext, const struct days *days,
               struct upt_activity *act)
{
    double a2 = 0;
    double a10 = 0;
    double a21 = 0;
    unsigned weeks = 0;
    for (int i = 0; i < days->n; i++) {
        int64_t age = act->day - act->last + days->back[i];
        if (age > UPT_ACTIVE_DAYS) {
            break;
        }
        a2 += model->half_2[age];
        a10 += model->half_10[age];
        a21 += model->half_21[age];
        weeks |= age < 7 * WEEKS ? 1U << (age / 7) : 0;
    }
    act->decayed_2 = upt_round6(a2);
    act->decayed_10 = upt_round6(a10);
    act->decayed_21 = upt_round6(a21);
    act->own_2 = act->decayed_2;
    act->own_10 = act->decayed_10;
    act->own_21 = act->decayed_21;
    if (act->cadence != UPT_DAILY) {
        int p = upt_cadence_days[act->cadence];
        double b10 = 0;
        double b21 = 0;
        for (int age = 0; age < UPT_ACTIVE_DAYS; age += p) {
            if (any_between(ext, act->day - age - p + 1 - slack_days[act->cadence], act->day - age)) {
                b10 += model->half_10[age];
                b21 += model->half_21[age];
            }
        }
        a10 = fmax(a10, b10 * model->scale[act->cadence]);
        a21 = fmax(a21, b21 * model->scale[act->cadence]);
    }
    act->frequency_10 = upt_round6(a10);
    act->frequency_21 = upt_round6(a21);
    if (act->cadence == UPT_MONTHLY) {
        weeks = read_months(model, ext, act);
    }
    for (; weeks != 0; weeks &= weeks - 1) {
        act->weeks_n++;
    }
}

void
upt_activity_read(const struct upt_model *model, const struct upt_score_ext *ext, int64_t today,
                  struct upt_activity *ret)
{
    upt_assert(ext->has_key);
    struct upt_activity act = {.last = ext->last_day};
    /* Today is not over: it counts only once it has a key event. */
    act.day = today - 1 > act.last ? today - 1 : act.last;
    struct days days = {.back = {0}};
    read_days(ext, &days);
    upt_assert(days.n > 0 && days.n <= UPT_ACTIVE_DAYS); /* the last day is one */
    act.days_n = days.n;
    act.days_ever = ext->days_ever;
    act.first = act.last - days.back[days.n - 1];
    act.cadence = cadence_of(model, ext, &act);
    int p = upt_cadence_days[act.cadence];
    act.x = days.n - 1;
    if (p > 1) {
        int previous = -1;
        act.x = -1;
        for (int i = days.n - 1; i >= 0; i--) {
            int period = (days.back[days.n - 1] - days.back[i]) / p;
            act.x += period != previous ? 1 : 0;
            previous = period;
        }
    }
    act.tx = (int)((act.last - act.first) / p);
    act.n = (int)((act.day - act.first + 1) / p) - 1;
    act.n = act.n > act.tx ? act.n : act.tx;
    read_gaps(model, &days, &act);
    read_frequency(model, ext, &days, &act);
    *ret = act;
}

double
upt_own_silence(const struct upt_activity *act, double days)
{
    double z = (log(days) - act->gap_mean) / (act->gap_sd * LOGISTIC_SCALE);
    return z > 30 ? z : log1p(exp(z));
}

double
upt_silence_risk(const struct upt_model *model, const struct upt_activity *act, int64_t minutes)
{
    double days = (double)(minutes > 1 ? minutes : 1) / 1440.0;
    double count = fmin((double)act->days_n, model->silence.count_most);
    double odds = model->silence.intercept + model->silence.own_silence * upt_own_silence(act, days) +
                  model->silence.days_silent * log1p(days) + model->silence.count * log(count) +
                  model->silence.spread * fmin(act->gap_sd, model->silence.spread_most);
    return upt_round6(1.0 / (1.0 + exp(-odds)));
}

int64_t
upt_silence_minutes(const struct upt_model *model, const struct upt_activity *act, double level)
{
    int64_t low = 0; /* not reached */
    int64_t high = SILENCE_MINUTES_MAX;
    if (upt_silence_risk(model, act, high) < level) {
        return -1;
    }
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (upt_silence_risk(model, act, middle) < level) {
            low = middle;
        } else {
            high = middle;
        }
    }
    double least_days = act->gap_own * model->silence.gaps_least;
    if (act->days_n < REGULAR_DAYS || act->gap_own_sd >= model->silence.gaps_regular) {
        least_days = fmin(least_days, model->silence.gaps_least_days);
    }
    int64_t least = (int64_t)ceil(upt_round6(least_days * 1440));
    return high > least ? high : least;
}

double
upt_gap_p99(const struct upt_activity *act)
{
    return upt_round6(exp(act->gap_mean + act->gap_sd * LOGISTIC_SCALE * 4.59511985013459)); /* log 99 */
}
