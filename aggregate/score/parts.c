/* The parts of the health score that come from people and systems beside the product, and the weights of all parts by
 * phase and segment.
 *
 * The model's parts (use of the product) form one group with the proportions of the model file; its weight and those of
 * the other parts come from the rules file. A part without data is missing: its weight goes to the others, so an
 * account of which only usage is known has exactly the score that the model gives it. Whole numbers as in evaluate.c,
 * so points add up exactly. Good words cannot cancel behaviour: sentiment lifts the score by at most 5 points over what
 * it would be without it. No tickets, or no more than usual, is no good news: support is missing then, not perfect; and
 * tickets lift nothing, also where all else is worse.
 *
 * Pure: reads the state, completes *eval. The lane's thread. */
#include <math.h>

#include "decide.h"
#include "uptake/assert.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define SENTIMENT_LIFT_E5 5000 /* 5 points */
#define SENTIMENT_DAYS 180
#define SENTIMENT_SHRINK 5.0 /* answers */
#define TICKET_DISPERSION 0.5
#define SEATS_USUAL 0.6   /* of the seats in use: nothing missing */
#define TRAINED_USUAL 0.5 /* likewise */
#define USERS_LEAST 2
#define WEEKS_BACK 13
#define FALL 0.75

/* Chosen, not fitted: nobody has published what is usual. */
static const int32_t mean_e5[UPT_PARTS] = {
    [UPT_PART_PEOPLE] = 60000,    [UPT_PART_ONBOARDING] = 70000, [UPT_PART_SUPPORT] = 80000,
    [UPT_PART_SENTIMENT] = 70000, [UPT_PART_EDUCATION] = 50000,  [UPT_PART_OUTCOMES] = 50000,
};

const char *
upt_part_name(int part)
{
    static const char *const names[] = {"people", "onboarding", "support", "sentiment", "education", "outcomes"};
    return part < UPT_C_COUNT ? upt_part_names[part] : names[part - UPT_C_COUNT];
}

const char *
upt_part_unit(int part)
{
    static const char *const units[UPT_PARTS] = {"active days, half-life 10 d",
                                                 "active days, half-life 21 d",
                                                 "log(1 + key events, half-life 21 d)",
                                                 "features in use + decayed uses / 2",
                                                 "features",
                                                 "probability",
                                                 "mean of shares",
                                                 "steps done / steps",
                                                 "tickets in 4 to 5 weeks",
                                                 "share of the scale",
                                                 "users trained / users",
                                                 "goals reached / goals"};
    return units[part];
}

int32_t
upt_part_mean_e5(const struct upt_model *model, int part)
{
    return part < UPT_C_COUNT ? model->mean_e5[part] : mean_e5[part];
}

/* ---- sub-scores: value as published, and share 0..1; false: missing ---- */

struct part {
    double value, share;
};

static bool
people(const struct upt_decision *d, const struct upt_facts *f, struct part *ret)
{
    double sum = 0;
    int n = 0;
    if (f->users.total < USERS_LEAST && isnan(f->utilisation)) {
        return false;
    }
    if (!isnan(f->utilisation)) {
        sum += fmin(1, f->utilisation / SEATS_USUAL);
        n++;
    }
    if (f->users.d30 > 0) {
        sum += (double)f->users.d7 / (double)f->users.d30;
        n++;
    }
    if (f->users.total > 0) {
        sum += fmin(1, (double)f->users.adopted / (double)f->users.total);
        n++;
    }
    if (n == 0) {
        return false;
    }
    ret->value = ret->share = sum / n;
    const struct upt_habits *h = d->ext->signals.habits;
    uint16_t then = h == NULL ? UINT16_MAX : h->users[WEEKS_BACK];
    if (then != UINT16_MAX && then > 0 && (double)f->users.d30 <= FALL * then) {
        ret->share *= (double)f->users.d30 / then; /* one-sided: growth is no merit of its own */
    }
    return true;
}

static bool
onboarding(const struct upt_decision *d, const struct upt_facts *f, struct part *ret)
{
    if (f->steps_n == 0) {
        return false;
    }
    double late = d->score->rules->rule[UPT_RULE_ONBOARDING_LATE].p[UPT_P_VERY_LATE] * f->patience;
    double passed = fmax(0, fmin(1, (double)(f->today - f->start) / late));
    ret->value = (double)f->steps_done / f->steps_n;
    ret->share = ret->value + (1 - ret->value) * (1 - passed); /* what is not done yet may still be in time */
    return true;
}

static bool
support(const struct upt_decision *d, const struct upt_facts *f, struct part *ret)
{
    const struct upt_relation *r = d->ext->signals.relation;
    if (r == NULL || r->ticket_day == UPT_NO_DAY) {
        return false;
    }
    double mean = d->score->rules->rule[UPT_RULE_SUPPORT_PAIN].p[UPT_P_PAIN_PER_USER] * fmax(1, (double)f->users.d30);
    ret->value = upt_relation_tickets(r, f->today);
    double z = (ret->value - mean) / sqrt(mean + TICKET_DISPERSION * mean * mean);
    ret->share = exp(-z);
    return z > 0;
}

static bool
sentiment(const struct upt_decision *d, const struct upt_facts *f, struct part *ret)
{
    const struct upt_relation *r = d->ext->signals.relation;
    if (r == NULL || r->survey_day == UPT_NO_DAY || f->today - r->survey_day > SENTIMENT_DAYS) {
        return false;
    }
    double csat_n = 0;
    double nps_n = 0;
    double csat = upt_relation_csat(r, f->today, &csat_n);
    double nps = upt_relation_nps(r, f->today, &nps_n);
    double n = csat_n + nps_n;
    if (!(n > 0)) {
        return false;
    }
    double sum =
        (csat_n > 0 ? csat_n * fmax(0, fmin(1, (csat - 1) / 4)) : 0) + (nps_n > 0 ? nps_n * (nps + 100) / 200 : 0);
    double usual = mean_e5[UPT_PART_SENTIMENT] / 1e5;
    ret->value = sum / n;
    ret->share = usual + (ret->value - usual) * n / (n + SENTIMENT_SHRINK);
    return true;
}

static bool
education(const struct upt_decision *d, const struct upt_facts *f, struct part *ret)
{
    const struct upt_relation *r = d->ext->signals.relation;
    bool known =
        (r != NULL && r->training_day != UPT_NO_DAY) || upt_account_trait(d->acct, UPT_STR("training")).p != NULL;
    if (!known || f->users.total == 0) {
        return false;
    }
    ret->value = (double)upt_account_people(d->st, d->acct).trained / (double)f->users.total;
    ret->share = fmin(1, ret->value / TRAINED_USUAL);
    return true;
}

static bool
outcomes(const struct upt_facts *f, struct part *ret)
{
    if (f->goals.n == 0) {
        return false;
    }
    ret->value = ret->share = (double)f->goals.reached / f->goals.n;
    return true;
}

/* ---- weights ---- */

static int
column_of(const struct upt_decision *d)
{
    switch (d->eval->phase) {
    case UPT_PHASE_TRIAL:
        return upt_on_proof(d->acct) ? UPT_COLUMN_PROOF : UPT_COLUMN_TRIAL;
    case UPT_PHASE_ONBOARDING:
        return UPT_COLUMN_ONBOARDING;
    case UPT_PHASE_ADOPTION:
        return UPT_COLUMN_ADOPTION;
    case UPT_PHASE_VALUE:
    case UPT_PHASE_ADVOCACY:
        return UPT_COLUMN_VALUE;
    default:
        return UPT_COLUMN_USAGE;
    }
}

static const int32_t *
weights_of(const struct upt_decision *d)
{
    const struct upt_rules *rules = d->score->rules;
    struct upt_str segment = upt_account_trait(d->acct, UPT_STR("segment"));
    int column = column_of(d);
    for (int s = 1; s < UPT_WEIGHT_SETS; s++) {
        if (upt_named(upt_str_of(rules->weights[s].segments), segment)) {
            return rules->weights[s].milli[column];
        }
    }
    return rules->weights[0].milli[column];
}

/* Thousandths in proportion to raw (millionths), rounded down, what is left over to the largest remainders. */
static void
share_out(const int64_t *raw, int32_t *weight)
{
    int64_t sum = 0;
    int64_t left = 1000;
    int64_t remainder[UPT_PARTS];
    for (int i = 0; i < UPT_PARTS; i++) {
        sum += raw[i];
    }
    for (int i = 0; i < UPT_PARTS; i++) {
        weight[i] = sum == 0 ? 0 : (int32_t)(raw[i] * 1000 / sum);
        remainder[i] = sum == 0 ? 0 : raw[i] * 1000 % sum;
        left -= weight[i];
    }
    while (sum > 0 && left > 0) {
        int best = 0;
        for (int i = 1; i < UPT_PARTS; i++) {
            best = remainder[i] > remainder[best] ? i : best;
        }
        weight[best]++;
        remainder[best] = -1;
        left--;
    }
}

/* The score in hundred-thousandths without a part: Σ over the others / their weight. */
static int64_t
without(const struct upt_eval *eval, int part)
{
    int64_t sum = 0;
    int64_t weights = 0;
    for (int i = 0; i < UPT_PARTS; i++) {
        if (i != part) {
            sum += (int64_t)eval->weight_milli[i] * eval->sub_e5[i];
            weights += eval->weight_milli[i];
        }
    }
    return weights == 0 ? 0 : sum / weights;
}

static void
weigh(const struct upt_decision *d, struct upt_eval *eval, const int64_t *raw)
{
    share_out(raw, eval->weight_milli);
    int32_t w = eval->weight_milli[UPT_PART_SENTIMENT];
    if (w > 0) {
        /* score = (1 − w) · without + w · sub, so a lift of at most L asks for sub at most without + L / w */
        int64_t most = without(eval, UPT_PART_SENTIMENT) + SENTIMENT_LIFT_E5 * 1000 / w;
        int32_t *sub = &eval->sub_e5[UPT_PART_SENTIMENT];
        *sub = *sub > most ? (int32_t)most : *sub;
    }
    eval->score_micro = eval->mean_micro = 0;
    for (int i = 0; i < UPT_PARTS; i++) {
        int32_t mean = upt_part_mean_e5(d->score->model, i);
        eval->points_micro[i] = (int64_t)eval->weight_milli[i] * (eval->sub_e5[i] - mean);
        eval->score_micro += (int64_t)eval->weight_milli[i] * eval->sub_e5[i];
        eval->mean_micro += (int64_t)eval->weight_milli[i] * mean;
    }
}

static void
weigh_all(const struct upt_decision *d, struct upt_eval *eval, const bool *has)
{
    const int32_t *table = weights_of(d);
    int64_t raw[UPT_PARTS] = {0};
    for (int i = 0; i < UPT_PARTS; i++) {
        raw[i] = i < UPT_C_COUNT ? (int64_t)table[0] * eval->weight_milli[i]
                 : has[i]        ? (int64_t)table[1 + i - UPT_C_COUNT] * 1000
                                 : 0;
    }
    int64_t support = raw[UPT_PART_SUPPORT];
    raw[UPT_PART_SUPPORT] = 0;
    weigh(d, eval, raw);
    if (support > 0) {
        int32_t most = (int32_t)(eval->score_micro / 1000);
        int32_t *sub = &eval->sub_e5[UPT_PART_SUPPORT];
        *sub = *sub > most ? most : *sub;
        raw[UPT_PART_SUPPORT] = support;
        weigh(d, eval, raw);
    }
}

void
upt_parts_add(const struct upt_decision *d, struct upt_eval *eval, struct upt_facts *f)
{
    bool has[UPT_PARTS] = {false};
    bool any = false;
    struct part part[UPT_PARTS] = {{0}};
    struct upt_decision now = *d;
    now.eval = eval;
    upt_facts_read(&now, f);
    has[UPT_PART_PEOPLE] = people(&now, f, &part[UPT_PART_PEOPLE]);
    has[UPT_PART_ONBOARDING] = onboarding(&now, f, &part[UPT_PART_ONBOARDING]);
    has[UPT_PART_SUPPORT] = support(&now, f, &part[UPT_PART_SUPPORT]);
    has[UPT_PART_SENTIMENT] = sentiment(&now, f, &part[UPT_PART_SENTIMENT]);
    has[UPT_PART_EDUCATION] = education(&now, f, &part[UPT_PART_EDUCATION]);
    has[UPT_PART_OUTCOMES] = outcomes(f, &part[UPT_PART_OUTCOMES]);
    for (int i = UPT_C_COUNT; i < UPT_PARTS; i++) {
        eval->value[i] = has[i] ? upt_round6(part[i].value) : (double)NAN;
        eval->sub_e5[i] = has[i] ? (int32_t)lround(upt_round6(fmax(0, fmin(1, part[i].share))) * 1e5) : 0;
        any = any || has[i];
    }
    if (any && eval->has_score) {
        weigh_all(&now, eval, has);
    }
}
