/* Signals that are published beside the score: fields of the account's row, and components of account-health with
 * weight 0 and no sub-score. What is not known is left out, not 0. Definitions: README.md, "Signals".
 *
 * Read at each daily evaluation. They decide nothing by themselves, so they are rounded to 1e-6 and that is all.
 * Pure: reads the state. The lane's thread. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "decide.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define NONE ((double)NAN)
#define WEEKS_BACK 13
#define TREND_WEEKS 4
#define ENGAGED_DAYS 28

/* What the readings share. */
struct reading {
    const struct upt_decision *d;
    const struct upt_facts *f;
    const struct upt_relation *r; /* or NULL */
    const struct upt_habits *h;   /* or NULL */
    struct upt_account_people people;
};

static double
days_from(const struct reading *x, int32_t day)
{
    return day == UPT_NO_DAY ? NONE : (double)(day - x->f->start);
}

static double
onboarding_completion(const struct reading *x)
{
    return x->f->steps_n == 0 ? NONE : (double)x->f->steps_done / x->f->steps_n;
}

static double
onboarding_days(const struct reading *x)
{
    return x->r == NULL ? NONE : days_from(x, x->r->onboarded_day);
}

static double
onboarding_in_time(const struct reading *x)
{
    double late = x->d->score->rules->rule[UPT_RULE_ONBOARDING_LATE].p[UPT_P_LATE] * x->f->patience;
    double days = onboarding_days(x);
    return isnan(days) ? NONE : days <= late ? 1 : 0;
}

static double
first_key_days(const struct reading *x)
{
    return x->d->ext->has_key ? days_from(x, x->d->ext->first_day) : NONE;
}

static double
basic_value_days(const struct reading *x)
{
    return x->r == NULL ? NONE : days_from(x, x->r->value_day);
}

static double
exceeded_value_days(const struct reading *x)
{
    return x->r == NULL ? NONE : days_from(x, x->r->exceeded_day);
}

/* Middle of the days from the first event to the first use of each feature; the lower one of two. */
static double
feature_days(const struct reading *x)
{
    if (x->h == NULL || x->h->feature_n == 0) {
        return NONE;
    }
    int middle = -1;
    uint16_t least = UINT16_MAX;
    for (int i = 0; i < x->h->feature_n; i++) {
        uint16_t v = x->h->feature[i].first_day;
        int upto = 0;
        for (int k = 0; k < x->h->feature_n; k++) {
            upto += x->h->feature[k].first_day <= v ? 1 : 0;
        }
        if (upto * 2 >= x->h->feature_n && v < least) {
            least = v;
            middle = i;
        }
    }
    return middle < 0 ? NONE : (double)upt_first_use_after(x->d->acct, x->h, (size_t)middle);
}

static double
cadence_days(const struct reading *x)
{
    return x->d->eval->has_key ? upt_cadence_days[x->d->eval->act.cadence] : NONE;
}

static double
usual_gap(const struct reading *x)
{
    return x->d->eval->has_key ? exp(x->d->eval->act.gap_mean) : NONE;
}

static double
gap_spread(const struct reading *x)
{
    return x->d->eval->has_key ? x->d->eval->act.gap_sd : NONE;
}

/* exp of the entropy of the features' shares in the days of use of the last 30 days. */
static double
effective_features(const struct reading *x)
{
    double sum = 0;
    double logs = 0;
    for (size_t i = 0; i < x->d->eval->features_n; i++) {
        struct upt_str name;
        uint32_t days = 0;
        upt_account_feature(x->d->st, x->d->acct, i, &name, &days);
        double n = __builtin_popcount(days);
        sum += n;
        logs += n > 0 ? n * log(n) : 0;
    }
    return sum > 0 ? exp(log(sum) - logs / sum) : NONE;
}

static bool
is_advanced(const struct reading *x, struct upt_str feature)
{
    struct upt_str name;
    struct upt_str list = upt_str_of(x->d->score->rules->advanced);
    for (uint32_t at = 0; upt_name_next(list, &at, &name);) {
        if (upt_str_eq(name, feature)) {
            return true;
        }
    }
    return false;
}

static double
proficiency(const struct reading *x)
{
    int all = 0;
    int advanced = 0;
    for (size_t i = 0; x->d->score->rules->advanced[0] != '\0' && i < x->d->eval->features_n; i++) {
        struct upt_str name;
        uint32_t days = 0;
        upt_account_feature(x->d->st, x->d->acct, i, &name, &days);
        int n = __builtin_popcount(days);
        all += n;
        advanced += n > 0 && is_advanced(x, name) ? n : 0;
    }
    return all > 0 ? (double)advanced / all : NONE;
}

static double
adopted_users(const struct reading *x)
{
    return x->f->users.total > 0 ? (double)x->f->users.adopted : NONE;
}

static double
adoption_rate_28d(const struct reading *x)
{
    uint64_t active = x->people.high + x->people.medium + x->people.low;
    return active > 0 ? fmin(1, (double)x->f->users.adopted / (double)active) : NONE;
}

/* The calendar month of yesterday up to yesterday, of which at most 28 days are known. */
static double
adoption_rate_month(const struct reading *x)
{
    char text[16];
    uint64_t adopted = 0;
    uint64_t active = 0;
    upt_format_day(x->f->today - 1, text);
    int days = (text[8] - '0') * 10 + (text[9] - '0');
    days = days > 27 ? 27 : days; /* and today, which does not count, makes 28 */
    upt_account_adoption(x->d->st, x->d->acct, ((UINT32_C(1) << days) - 1) << 1, &adopted, &active);
    return active > 0 ? (double)adopted / (double)active : NONE;
}

static double
of_users(const struct reading *x, uint64_t n)
{
    return x->f->users.total > 0 ? (double)n : NONE;
}

static double
users_high(const struct reading *x)
{
    return of_users(x, x->people.high);
}

static double
users_medium(const struct reading *x)
{
    return of_users(x, x->people.medium);
}

static double
users_low(const struct reading *x)
{
    return of_users(x, x->people.low);
}

static double
training_share(const struct reading *x)
{
    bool known = (x->r != NULL && x->r->training_day != UPT_NO_DAY) ||
                 upt_account_trait(x->d->acct, UPT_STR("training")).p != NULL;
    return known && x->f->users.total > 0 ? (double)x->people.trained / (double)x->f->users.total : NONE;
}

/* Of the active ones those who came after onboarding was done, and whom nobody has shown anything. */
static double
inherited_share(const struct reading *x)
{
    uint64_t active = x->people.high + x->people.medium + x->people.low;
    bool known = x->r != NULL && x->r->onboarded_day != UPT_NO_DAY;
    return known && active > 0 ? (double)x->people.inherited / (double)active : NONE;
}

static double
user_change_90d(const struct reading *x)
{
    uint16_t then = x->h == NULL ? UINT16_MAX : x->h->users[WEEKS_BACK];
    return then == UINT16_MAX || then == 0 ? NONE : (double)x->f->users.d30 / then - 1;
}

static double
seat_change_90d(const struct reading *x)
{
    uint16_t then = x->h == NULL || x->h->seats_e4 == NULL ? UINT16_MAX : x->h->seats_e4[WEEKS_BACK];
    return then == UINT16_MAX || isnan(x->f->utilisation) ? NONE
                                                          : (upt_ten_thousandths(x->f->utilisation) - then) / 1e4;
}

static double
champion_days(const struct reading *x)
{
    return x->h == NULL || x->h->champion_day == UPT_NO_DAY ? NONE : (double)x->h->champion_days;
}

static double
champion_silent(const struct reading *x)
{
    bool removed = false;
    return x->h == NULL || x->h->champion_day == UPT_NO_DAY ? NONE : upt_champion_silence(x->d, &removed);
}

static double
tickets(const struct reading *x)
{
    return x->r == NULL || x->r->ticket_day == UPT_NO_DAY ? NONE : upt_relation_tickets(x->r, x->f->today);
}

static double
tickets_per_user(const struct reading *x)
{
    return tickets(x) / fmax(1, (double)x->f->users.d30);
}

static double
tickets_open(const struct reading *x)
{
    return x->r == NULL || x->r->ticket_day == UPT_NO_DAY ? NONE : (double)x->r->tickets_open;
}

static double
close_days(const struct reading *x)
{
    return x->r == NULL || x->r->closed_answers == 0 ? NONE : (double)x->r->close_days;
}

static double
nps(const struct reading *x)
{
    double n = 0;
    return x->r == NULL ? NONE : upt_relation_nps(x->r, x->f->today, &n);
}

static double
nps_answers(const struct reading *x)
{
    return x->r == NULL || x->r->nps_answers == 0 ? NONE : (double)x->r->nps_answers;
}

static double
csat(const struct reading *x)
{
    double n = 0;
    return x->r == NULL ? NONE : upt_relation_csat(x->r, x->f->today, &n);
}

static double
csat_answers(const struct reading *x)
{
    return x->r == NULL || x->r->csat_answers == 0 ? NONE : (double)x->r->csat_answers;
}

static double
contact_days(const struct reading *x)
{
    return x->r == NULL || x->r->contact_day == UPT_NO_DAY ? NONE : (double)(x->f->today - x->r->contact_day);
}

static double
contacts(const struct reading *x)
{
    return x->r == NULL || x->r->contacts == 0 ? NONE : (double)x->r->contacts;
}

static double
stakeholders(const struct reading *x)
{
    return x->r == NULL || x->r->stakeholders_n == 0 ? NONE
                                                     : upt_stakeholders_since(x->r, x->f->today - ENGAGED_DAYS + 1);
}

static double
stakeholders_share(const struct reading *x)
{
    double wanted = upt_number_of(upt_account_trait(x->d->acct, UPT_STR("stakeholders")));
    return wanted > 0 ? stakeholders(x) / wanted : NONE;
}

static double
goals_reached(const struct reading *x)
{
    return x->r == NULL || x->r->goals_n == 0 ? NONE : (double)x->r->goals_n;
}

static double
goals_late(const struct reading *x)
{
    return x->f->goals.dated == 0 ? NONE : (double)x->f->goals.late;
}

static double
days_to_goal(const struct reading *x)
{
    return x->f->goals.has_next ? (double)(x->f->goals.next - x->f->today) : NONE;
}

static double
goal_progress(const struct reading *x)
{
    return x->f->goals.progress;
}

static double
renewal_days(const struct reading *x)
{
    return x->f->has_renewal ? (double)x->f->to_renewal : NONE;
}

static double
adoption_percentile(const struct reading *x)
{
    return upt_adoption_percentile(x->d);
}

/* Least squares over the logs of the last four whole weeks: whole weeks need no weekday profile. */
static double
usage_trend(const struct reading *x)
{
    double sxy = 0;
    double any = 0;
    if (x->f->today - 7 * TREND_WEEKS < x->d->ext->first_day || !x->d->ext->has_key) {
        return NONE;
    }
    uint64_t days[30];
    upt_account_days(x->d->acct, x->f->today, days);
    for (int w = 0; w < TREND_WEEKS; w++) {
        uint64_t events = 0;
        for (int i = 1; i <= 7; i++) {
            events += days[7 * w + i];
        }
        any += (double)events;
        sxy += (1.5 - w) * log1p((double)events);
    }
    return any > 0 ? expm1(sxy / 5) : NONE; /* Σ(x − mean)² = 5 */
}

static unsigned
used_after(const struct reading *x, int i)
{
    return upt_release_used_after(x->d->st, x->d->acct, &x->r->releases[i], x->f->today);
}

static double
release_waiting(const struct reading *x)
{
    for (int i = 0; x->r != NULL && i < x->r->releases_n; i++) {
        if (used_after(x, i) == UPT_NOT_USED) {
            return (double)(x->f->today - x->r->releases[i].day);
        }
    }
    return NONE;
}

static double
release_uptake_lag(const struct reading *x)
{
    double days = 0;
    int n = 0;
    for (int i = 0; x->r != NULL && i < x->r->releases_n; i++) {
        unsigned after = used_after(x, i);
        days += after == UPT_NOT_USED ? 0 : after;
        n += after == UPT_NOT_USED ? 0 : 1;
    }
    return n > 0 ? days / n : NONE;
}

static double
consumption_share(const struct reading *x)
{
    struct upt_str v = upt_account_trait(x->d->acct, UPT_STR("entitlement"));
    double entitled = upt_number_of(v);
    double units = 0;
    for (int i = 0; i < 30 && entitled > 0; i++) {
        units += (double)upt_account_day(x->d->acct, x->f->today - i).micro_units / UPT_MICRO;
    }
    return entitled > 0 ? units / entitled : NONE;
}

static double
meters_over(const struct reading *x)
{
    return x->f->meters.n == 0 ? NONE : (double)x->f->meters.over;
}

static double
meter_share_max(const struct reading *x)
{
    return x->f->meters.most.share;
}

static double
contract_value(const struct reading *x)
{
    return x->f->value;
}

enum saying { PLAIN, PERCENT, EXP, YES, PEERS };
static const struct {
    const char *unit;
    double (*read)(const struct reading *x);
    const char *words; /* for people; how the value goes into them */
    enum saying say;
} signals[UPT_SIGNALS] = {
    [UPT_SIGNAL_ONBOARDING_COMPLETION] = {"steps done / steps", onboarding_completion,
                                          "Steps of onboarding done: %.0f%%", PERCENT},
    [UPT_SIGNAL_ONBOARDING_DAYS] = {"days from the start", onboarding_days,
                                    "Days from the start until onboarding was done: %.0f", PLAIN},
    [UPT_SIGNAL_ONBOARDING_IN_TIME] = {"1 or 0", onboarding_in_time, "Onboarding was done in time: %s", YES},
    [UPT_SIGNAL_FIRST_KEY_ACTION] = {"days from the start", first_key_days,
                                     "Days from the start to the first use: %.0f", PLAIN},
    [UPT_SIGNAL_BASIC_VALUE] = {"days from the start", basic_value_days, "Days from the start to the first value: %.0f",
                                PLAIN},
    [UPT_SIGNAL_EXCEEDED_VALUE] = {"days from the start", exceeded_value_days,
                                   "Days from the start to more value than was expected: %.0f", PLAIN},
    [UPT_SIGNAL_FEATURES] = {"days, middle of the features", feature_days,
                             "Days until a feature is first used, middle of its features: %.0f", PLAIN},
    [UPT_SIGNAL_CADENCE] = {"days of a period", cadence_days, "Days of the period in which it comes: %.0f", PLAIN},
    [UPT_SIGNAL_NATURAL_GAP] = {"days", usual_gap, "Days from one use to the next, typically: %.1f", PLAIN},
    [UPT_SIGNAL_NATURAL_GAP_SPREAD] = {"standard deviation of the log", gap_spread,
                                       "Factor by which these gaps differ: %.1f", EXP},
    [UPT_SIGNAL_EFFECTIVE_FEATURES] = {"features", effective_features, "Features that its use is spread over: %.1f",
                                       PLAIN},
    [UPT_SIGNAL_PROFICIENCY] = {"days of use of advanced features / of all", proficiency,
                                "Of its use, that of features for those who know it well: %.0f%%", PERCENT},
    [UPT_SIGNAL_ADOPTED_USERS] = {"users", adopted_users, "Users that have adopted the product: %.0f", PLAIN},
    [UPT_SIGNAL_ADOPTION_RATE_28D] = {"adopted users / users active in 28 days", adoption_rate_28d,
                                      "Of the users of 28 days, those that have adopted it: %.0f%%", PERCENT},
    [UPT_SIGNAL_ADOPTION_RATE_MONTH] = {"adopted users / active users, this month", adoption_rate_month,
                                        "Of the users of this month, those that have adopted it: %.0f%%", PERCENT},
    [UPT_SIGNAL_USERS_HIGH] = {"users", users_high, "Users active on 12 or more of 28 days: %.0f", PLAIN},
    [UPT_SIGNAL_USERS_MEDIUM] = {"users", users_medium, "Users active on 4 to 11 of 28 days: %.0f", PLAIN},
    [UPT_SIGNAL_USERS_LOW] = {"users", users_low, "Users active on 1 to 3 of 28 days: %.0f", PLAIN},
    [UPT_SIGNAL_TRAINING_SHARE] = {"users trained / users", training_share, "Users that were trained: %.0f%%", PERCENT},
    [UPT_SIGNAL_INHERITED_SHARE] = {"inherited users / users active in 28 days", inherited_share,
                                    "Users that came after onboarding and were not trained: %.0f%%", PERCENT},
    [UPT_SIGNAL_USERS_CHANGE] = {"share", user_change_90d, "Users, against 90 days ago: %+.0f%%", PERCENT},
    [UPT_SIGNAL_SEAT_UTILISATION_CHANGE] = {"points of the share", seat_change_90d,
                                            "Share of the seats in use, against 90 days ago, in points: %+.0f",
                                            PERCENT},
    [UPT_SIGNAL_CHAMPION_DAYS] = {"days of 28", champion_days, "Days of 28 on which the most active user came: %.0f",
                                  PLAIN},
    [UPT_SIGNAL_CHAMPION_SILENT] = {"days", champion_silent, "Days since the most active user came: %.0f", PLAIN},
    [UPT_SIGNAL_TICKETS] = {"tickets in 4 to 5 weeks", tickets, "Tickets opened in the last four to five weeks: %.0f",
                            PLAIN},
    [UPT_SIGNAL_TICKETS_PER_USER] = {"tickets / users in 30 days", tickets_per_user,
                                     "Of these, tickets for each user of 30 days: %.2f", PLAIN},
    [UPT_SIGNAL_TICKETS_OPEN] = {"tickets", tickets_open, "Tickets that are open: %.0f", PLAIN},
    [UPT_SIGNAL_TIME_TO_CLOSE] = {"days", close_days, "Days until a ticket is closed, in the mean: %.1f", PLAIN},
    [UPT_SIGNAL_NPS] = {"-100 to 100", nps, "Net promoter score, -100 to 100: %.0f", PLAIN},
    [UPT_SIGNAL_NPS_ANSWERS] = {"answers", nps_answers, "Answers on recommending it: %.0f", PLAIN},
    [UPT_SIGNAL_CSAT] = {"mean", csat, "Satisfaction, 1 to 5, in the mean: %.1f", PLAIN},
    [UPT_SIGNAL_CSAT_ANSWERS] = {"answers", csat_answers, "Answers on satisfaction: %.0f", PLAIN},
    [UPT_SIGNAL_CONTACTS] = {"contacts", contacts, "Times a person was in touch with them: %.0f", PLAIN},
    [UPT_SIGNAL_DAYS_SINCE_CONTACT] = {"days", contact_days, "Days since a person was in touch with them: %.0f", PLAIN},
    [UPT_SIGNAL_STAKEHOLDERS] = {"people", stakeholders, "People with whom a person was in touch in 28 days: %.0f",
                                 PLAIN},
    [UPT_SIGNAL_STAKEHOLDERS_SHARE] = {"people / people to be in touch with", stakeholders_share,
                                       "Of the people to be in touch with, those of 28 days: %.0f%%", PERCENT},
    [UPT_SIGNAL_GOALS_REACHED] = {"goals", goals_reached, "Goals reached: %.0f", PLAIN},
    [UPT_SIGNAL_GOALS_LATE] = {"goals", goals_late, "Goals past their date and not reached: %.0f", PLAIN},
    [UPT_SIGNAL_DAYS_TO_GOAL] = {"days", days_to_goal, "Days to the date of the next goal: %.0f", PLAIN},
    [UPT_SIGNAL_GOAL_PROGRESS] = {"share of the targets", goal_progress,
                                  "Of what the goals have as targets, there is: %.0f%%", PERCENT},
    [UPT_SIGNAL_DAYS_TO_RENEWAL] = {"days", renewal_days, "Days to the renewal: %.0f", PLAIN},
    /* The unit, which says who is compared with, is that of adoption.c: Of the accounts that stayed, … */
    [UPT_SIGNAL_ADOPTION_PERCENTILE] = {NULL, adoption_percentile, "Of %.*s, those that use it less: %.0f%%", PEERS},
    [UPT_SIGNAL_USAGE_TREND] = {"share a week", usage_trend, "Use from one week to the next, over four weeks: %+.0f%%",
                                PERCENT},
    [UPT_SIGNAL_RELEASE_WAITING] = {"days", release_waiting, "Days since a release that it has not tried: %.0f", PLAIN},
    [UPT_SIGNAL_CONSUMPTION_SHARE] = {"units in 30 days / entitlement", consumption_share,
                                      "Units used in 30 days, of those that it is entitled to: %.0f%%", PERCENT},
    [UPT_SIGNAL_METERS_OVER] = {"meters", meters_over, "Meters of which all that it is entitled to was used: %.0f",
                                PLAIN},
    [UPT_SIGNAL_METER_SHARE_MAX] = {"units in 30 days / units entitled to", meter_share_max,
                                    "Units of the meter used up most, of those that it is entitled to: %.0f%%",
                                    PERCENT},
    [UPT_SIGNAL_RELEASE_UPTAKE_LAG] = {"days", release_uptake_lag,
                                       "Days from a release until it is tried, in the mean: %.1f", PLAIN},
    [UPT_SIGNAL_CONTRACT_VALUE] = {"as given", contract_value, "Contract value: %.0f", PLAIN},
};
_Static_assert(UPT_PARTS + UPT_SIGNALS <= UPT_COMPONENTS_MAX, "all are published");

void
upt_signals_read(const struct upt_decision *d, const struct upt_facts *facts, double ret[UPT_SIGNALS])
{
    struct reading x = {.d = d,
                        .f = facts,
                        .r = d->ext->signals.relation,
                        .h = d->ext->signals.habits,
                        .people = upt_account_people(d->st, d->acct)};
    for (size_t i = 0; i < UPT_SIGNALS; i++) {
        double v = signals[i].read(&x);
        ret[i] = isnan(v) ? NONE : upt_round6(v);
    }
}

void
upt_signals_report(const struct upt_decision *d, const double values[UPT_SIGNALS], struct upt_health *inout)
{
    for (size_t i = 0; i < UPT_SIGNALS; i++) {
        if (isnan(values[i])) {
            continue;
        }
        inout->components[inout->components_n++] = (struct upt_component){
            .name = upt_str_of(upt_signal_names[i]),
            .unit = upt_str_of(signals[i].say == PEERS ? upt_adoption_unit(d) : signals[i].unit),
            .value = values[i],
            .own_baseline = NONE,
            .peer_percentile = NONE,
            .sub_score = NONE,
            .status = UPT_FRESH,
        };
    }
}

bool
upt_signal_say(const char *name, struct upt_str unit, double value, char *buf, size_t cap)
{
    for (size_t i = 0; i < UPT_SIGNALS; i++) {
        if (strcmp(upt_signal_names[i], name) != 0) {
            continue;
        }
        if (signals[i].say == YES) {
            (void)snprintf(buf, cap, signals[i].words, value > 0 ? "yes" : "no");
        } else if (signals[i].say == PEERS) {
            uint32_t before = unit.len > sizeof("share of ") - 1 ? sizeof("share of ") - 1 : unit.len;
            (void)snprintf(buf, cap, signals[i].words, (int)(unit.len - before), unit.p + before, 100 * value);
        } else {
            double shown = signals[i].say == PERCENT ? 100 * value : signals[i].say == EXP ? exp(value) : value;
            (void)snprintf(buf, cap, signals[i].words, shown + 0.0);
        }
        return true;
    }
    return false;
}
