/* USAGE_DROP: fewer USAGE events than the account's own profile expects, tested with a downward CUSUM of negative-
 * binomial log-likelihood ratios: usage falls to a share `drop_to` of the usual, against no change.
 *
 * A fixed percentage week over week alarms on every noisy account and misses a slow fade; the CUSUM adds up evidence at
 * the account's own noise. Daily accounts are compared with their own weekday, weekly and monthly ones with their own
 * period as a whole. A day is learned a week late, and only while there is no evidence of a drop, so that the drop does
 * not become the baseline; the profile is kept as it is while the alert is open.
 * One step a day, for the day (period) that ended. The lane's thread. */
#include <math.h>
#include <stdio.h>

#include "decide.h"
#include "uptake/assert.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define CUSUM_MAX 1000.0
#define LEARN_LEAST 0.1 /* weight of a new value once many are known */
#define DISPERSION_AT_BIRTH 0.5
#define DISPERSION_LEAST 0.1
#define DISPERSION_MOST 5.0
#define DISPERSION_LEARN_LEAST 0.05
#define EXPECTED_LEAST 0.5 /* of the mean: a day with less expected does not count for closing */
#define OTHER_CADENCE_N 14 /* evaluations until the profile is started anew in another cadence */
#define LAG_DAYS 7
#define TAIL_LOW 0.05
#define SMALL_MEAN 2000.0
#define LOG_ZERO_LEAST (-600.0)

static int
weekday(int64_t day)
{
    return (int)(((day + 3) % 7 + 7) % 7);
}

static int
place(const struct upt_drop *drop, int64_t day)
{
    return drop->cadence == UPT_DAILY ? weekday(day) : 0;
}

static double
usage_of(const struct upt_account *acct, int64_t from, int64_t to)
{
    uint64_t events = 0;
    for (int64_t day = from; day <= to; day++) {
        events += upt_account_day(acct, day).events;
    }
    return (double)events;
}

static double
mean_of(const struct upt_drop *drop)
{
    double sum = 0;
    int n = drop->cadence == UPT_DAILY ? 7 : 1;
    for (int i = 0; i < n; i++) {
        sum += (double)drop->profile[i];
    }
    return sum / n;
}

static void
learn(struct upt_drop *drop, int64_t day, double y)
{
    int i = place(drop, day);
    int known = drop->cadence == UPT_DAILY ? drop->periods_n / 7 : drop->periods_n;
    double mu = (double)drop->profile[i];
    if (drop->periods_n == 0) {
        drop->dispersion = (float)DISPERSION_AT_BIRTH;
    }
    if (known > 0 && mu >= 0.5) {
        double seen = ((y - mu) * (y - mu) - mu) / (mu * mu);
        double part = fmax(DISPERSION_LEARN_LEAST, 1.0 / (drop->periods_n + 4));
        double next = (double)drop->dispersion + part * (fmin(seen, 4 * DISPERSION_MOST) - (double)drop->dispersion);
        drop->dispersion = (float)fmax(DISPERSION_LEAST, fmin(DISPERSION_MOST, next));
    }
    drop->profile[i] = (float)(mu + fmax(LEARN_LEAST, 1.0 / (known + 1)) * (y - mu));
    drop->periods_n++;
}

/* P(Y ≤ y) of a negative binomial with mean and dispersion (1 / size); by the normal where P(Y = 0) is no double. */
static double
at_most(double y, double mean, double dispersion)
{
    if (!(mean > 0)) {
        return 1;
    }
    double size = 1 / dispersion;
    double log_zero = size * log(size / (mean + size));
    if (mean > SMALL_MEAN || log_zero < LOG_ZERO_LEAST) {
        double z = (y + 0.5 - mean) / sqrt(mean + dispersion * mean * mean);
        return upt_round6(0.5 * erfc(-z / sqrt(2.0)));
    }
    double q = mean / (mean + size);
    double p = exp(log_zero);
    double sum = 0;
    for (int64_t i = 0; (double)i <= y && ((double)i <= mean || p > 1e-12); i++) {
        double k = (double)i;
        sum += p;
        p *= (size + k) / (k + 1) * q;
    }
    return upt_round6(fmin(sum, 1));
}

/* The least whole number that is not below what is usual: P(Y ≤ it) ≥ TAIL_LOW. */
static double
low_of(double mean, double dispersion)
{
    int64_t low = -1; /* too few */
    int64_t high = (int64_t)ceil(mean) + 1;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (at_most((double)middle, mean, dispersion) < TAIL_LOW) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return (double)high;
}

static struct upt_finding
find(const struct upt_decision *d, int64_t end)
{
    const struct upt_drop *drop = &d->ext->drop;
    const struct upt_rule *rule = &d->score->rules->rule[UPT_RULE_USAGE_DROP];
    struct upt_finding finding = upt_finding_none();
    int p = upt_cadence_days[drop->cadence];
    int64_t periods = (end - drop->since_day + 1) / p;
    periods = periods > 0 ? periods : 1;
    double mean = upt_round6((double)drop->expected);
    double squares = 0; /* of the expected values of the window: a sum of periods is less dispersed than one */
    for (int i = 0; i < 7; i++) {
        squares += (double)drop->profile[i] * (double)drop->profile[i];
    }
    squares *= drop->cadence == UPT_DAILY ? (double)periods / 7.0 : (double)periods;
    double dispersion = (double)drop->dispersion * fmin(1, squares / fmax(mean * mean, 1e-9));
    dispersion = fmax(dispersion, 1e-4);
    finding.observed = upt_round6((double)drop->observed);
    finding.expected = mean;
    finding.expected_low = low_of(mean, dispersion);
    finding.p_value = at_most(finding.observed, mean, dispersion);
    finding.unit = UPT_STR("usage events");
    finding.window_ms = periods * p * UPT_DAY_MS;
    (void)snprintf(
        finding.counterfactual, sizeof(finding.counterfactual),
        "%d %s periods in a row with at least %.0f%% of the expected usage close it (expected %.1f a period).",
        (int)rule->off_count, upt_cadence_names[drop->cadence], d->score->rules->drop_recovered_share * 100,
        mean_of(drop));
    return finding;
}

static double
evidence_of(const struct upt_drop *drop, double drop_to, double mu, double y)
{
    double size = 1 / (double)drop->dispersion;
    double low = mu * drop_to;
    return upt_round6(y * log(drop_to * (mu + size) / (low + size)) + size * log((mu + size) / (low + size)));
}

static void
restart(struct upt_drop *drop, int64_t next_day)
{
    drop->cusum = 0;
    drop->observed = drop->expected = 0;
    drop->since_day = (int32_t)next_day;
}

static void
judge(struct upt_decision *d, int64_t end, double y, double mu)
{
    struct upt_drop *drop = &d->ext->drop;
    struct upt_slot *slot = upt_alert_is_open(d->ext, UPT_RULE_USAGE_DROP, 0);
    const struct upt_rules *rules = d->score->rules;
    drop->observed += (float)y;
    drop->expected += (float)mu;
    drop->cusum = upt_round6(fmin(CUSUM_MAX, fmax(0, drop->cusum + evidence_of(drop, rules->drop_to, mu, y))));
    int severity = UPT_OFF;
    for (int s = UPT_INFO; s <= UPT_CRITICAL; s++) {
        severity = drop->cusum >= rules->drop_level[s] ? s : severity;
    }
    if (slot != NULL) {
        if (mu > 0 && mu >= EXPECTED_LEAST * mean_of(drop)) {
            bool back = y >= upt_round6(mu * rules->drop_recovered_share);
            slot->off_n = (uint8_t)(back ? slot->off_n + 1 : 0);
        }
        if (severity != UPT_OFF && slot->off_n == 0) {
            slot->flags &= (uint8_t)~UPT_SLOT_HELD; /* fell again */
        }
        severity = severity > slot->severity ? severity : slot->severity;
        if (slot->off_n >= rules->rule[UPT_RULE_USAGE_DROP].off_count) {
            struct upt_finding finding = find(d, end);
            finding.counterfactual[0] = '\0';
            upt_alert_close(d, slot, UPT_RESOLVE, &finding);
            restart(drop, end + 1);
        } else if (upt_alert_moves(d, slot, severity)) {
            struct upt_finding finding = find(d, end);
            upt_alert_move(d, slot, severity, &finding);
        }
        return;
    }
    bool due = severity != UPT_OFF && upt_alert_may_open(d, UPT_RULE_USAGE_DROP, 0);
    if (due && !upt_alert_capped(d, severity)) {
        struct upt_finding finding = find(d, end);
        (void)upt_alert_open(d, UPT_RULE_USAGE_DROP, 0, severity, drop->since_day * UPT_DAY_MS, &finding);
        return;
    }
    if (due) {
        upt_alert_hold_back(d, UPT_RULE_USAGE_DROP, 0, severity);
    } else {
        upt_alert_let_go(d, UPT_RULE_USAGE_DROP, 0);
    }
    if (drop->cusum <= 0) {
        restart(drop, end + 1);
    }
}

/* True when the profile's cadence stays; else it begins anew in the account's. */
static void
follow_cadence(struct upt_decision *d)
{
    struct upt_drop *drop = &d->ext->drop;
    int cadence = d->eval->act.cadence;
    bool open = upt_alert_is_open(d->ext, UPT_RULE_USAGE_DROP, 0) != NULL;
    drop->other_n = (uint8_t)(cadence == drop->cadence || open ? 0 : drop->other_n + 1);
    if (drop->other_n >= OTHER_CADENCE_N) {
        *drop = (struct upt_drop){.cadence = (uint8_t)cadence};
        upt_alert_let_go(d, UPT_RULE_USAGE_DROP, 0);
    }
}

void
upt_rule_drop_daily(struct upt_decision *d)
{
    struct upt_drop *drop = &d->ext->drop;
    if (!d->score->rules->rule[UPT_RULE_USAGE_DROP].enabled || !d->eval->has_key) {
        return;
    }
    follow_cadence(d);
    int p = upt_cadence_days[drop->cadence];
    int64_t end = d->eval->today - 1;
    int64_t from = end - p + 1;
    if (((end + 1) % p + p) % p != 0 || from < d->ext->first_day) {
        return;
    }
    bool open = upt_alert_is_open(d->ext, UPT_RULE_USAGE_DROP, 0) != NULL;
    double y = usage_of(d->acct, from, end);
    if (drop->periods_n == 0) {
        restart(drop, from);
    }
    int known = drop->periods_n < d->eval->act.x + 1 ? drop->periods_n : d->eval->act.x + 1;
    if (known >= d->score->rules->drop_min_periods || open) {
        judge(d, end, y, (double)drop->profile[place(drop, end)]);
    } else {
        restart(drop, end + 1);
    }
    open = upt_alert_is_open(d->ext, UPT_RULE_USAGE_DROP, 0) != NULL;
    bool quiet = !open && drop->cusum <= 0;
    if (drop->cadence == UPT_DAILY) {
        if (quiet && end - LAG_DAYS >= d->ext->first_day && !upt_fleet_outage(&d->score->fleet, end - LAG_DAYS)) {
            learn(drop, end - LAG_DAYS, usage_of(d->acct, end - LAG_DAYS, end - LAG_DAYS));
        }
        return;
    }
    if (quiet && drop->has_held) {
        learn(drop, end, (double)drop->held);
    }
    drop->held = (float)y;
    drop->has_held = true;
}
