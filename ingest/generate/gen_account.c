/* The accounts of the generator: who they are, and how busy on which day.
 *
 * Everything about an account is drawn once from a stream seeded by (seed, account), everything about one of its days
 * from one seeded by (seed, account, day): the same seed gives the same telemetry however many accounts are asked for,
 * and a day can be looked at without those before it. Sizes are log-normal, most of a few users and some of thousands,
 * since that is what breaks thresholds made for the average. Pure. */
#include <math.h>
#include <stdio.h>

#include "ingest/generate/gen_internal.h"

#define USERS_MAX 5000

const char *const upt_churn_names[UPT_CHURN_COUNT] = {"STAYS", "FADES", "STOPS", "HEAVY_UNTIL_LAST_DAY", "PAUSES"};
const char *const upt_gen_cadences[3] = {"daily", "weekly", "monthly"};
const char *const upt_gen_regions[3] = {"emea", "amer", "apac"};
const int upt_gen_region_hours[3] = {1, -6, 8};

uint64_t
upt_gen_mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    x ^= x >> 27;
    x *= UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

double
upt_gen_uniform(uint64_t *rng)
{
    *rng += UINT64_C(0x9E3779B97F4A7C15);
    return (double)(upt_gen_mix64(*rng) >> 11) / 9007199254740992.0;
}

int
upt_gen_below(uint64_t *rng, int n)
{
    return (int)(upt_gen_uniform(rng) * n);
}

static double
normal(uint64_t *rng)
{
    double u = 1.0 - upt_gen_uniform(rng);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * upt_gen_uniform(rng));
}

int
upt_gen_poisson(uint64_t *rng, double mean)
{
    if (mean > 30) {
        double v = mean + sqrt(mean) * normal(rng);
        return v < 0 ? 0 : v > 1e9 ? 1000000000 : (int)(v + 0.5);
    }
    double limit = exp(-mean), p = upt_gen_uniform(rng);
    int n = 0;
    while (p > limit && n < 200) {
        p *= upt_gen_uniform(rng);
        n++;
    }
    return n;
}

uint64_t
upt_gen_stream(const struct upt_generator *gen, uint32_t account, int64_t day, unsigned purpose)
{
    uint64_t at = (uint64_t)account << 24 | (uint64_t)(day & 0xFFFFFF);
    return upt_gen_mix64(gen->config.seed + upt_gen_mix64(at ^ (uint64_t)purpose << 60));
}

static void
draw_churn(const struct upt_generator *gen, uint64_t *rng, struct upt_gen_account *acct)
{
    acct->churn =
        upt_gen_uniform(rng) < gen->config.churn_share ? (upt_churn)(UPT_FADES + upt_gen_below(rng, 3)) : UPT_STAYS;
    if (acct->churn == UPT_STAYS && upt_gen_uniform(rng) < 0.05) {
        acct->churn = UPT_PAUSES;
    }
    int64_t span = gen->last_day - acct->born;
    double where = upt_gen_uniform(rng);
    int64_t within = span * 6 / 10;
    acct->leaves = acct->churn == UPT_STAYS ? 0 : acct->born + span / 3 + (int64_t)(where * (double)within);
    /* Who says that they leave: those with heavy use at once, of the others some, weeks later. */
    int later = 20 + upt_gen_below(rng, 21);
    bool tells = upt_gen_uniform(rng) < 0.6;
    if (acct->churn == UPT_HEAVY) {
        acct->gone = acct->leaves;
    } else if ((acct->churn == UPT_FADES || acct->churn == UPT_STOPS) && tells) {
        acct->gone = acct->leaves + later;
    }
}

void
upt_gen_account_make(const struct upt_generator *gen, uint32_t i, struct upt_gen_account *acct)
{
    const struct upt_generator_config *config = &gen->config;
    uint64_t rng = upt_gen_mix64(config->seed * 1000003 + i + 1);
    static const char *const first[] = {"north", "blue",  "bright", "green", "silver",
                                        "rapid", "quiet", "urban",  "prime", "open"};
    static const char *const second[] = {"wind", "labs",  "works", "foods", "bank",
                                         "care", "media", "cargo", "grid",  "studio"};
    const char *one = first[upt_gen_below(&rng, 10)];
    snprintf(acct->name, sizeof(acct->name), "%s-%s-%u", one, second[upt_gen_below(&rng, 10)], i + 1);
    double size =
        config->users > 0 ? (double)config->users * (0.4 + 1.2 * upt_gen_uniform(&rng)) : exp(1.6 + 1.6 * normal(&rng));
    acct->users = size < 1 ? 1 : size > USERS_MAX ? USERS_MAX : (int)size;
    double dice = upt_gen_uniform(&rng);
    acct->cadence = dice < 0.7 ? 0 : dice < 0.92 ? 1 : 2;
    acct->region = upt_gen_below(&rng, 3);
    acct->weekday = upt_gen_below(&rng, 5);
    double liking = upt_gen_uniform(&rng);
    acct->first_feature = (int)((double)config->features * liking * liking);
    acct->mix = 2 + upt_gen_below(&rng, 6);
    double calm = upt_gen_uniform(&rng);
    acct->activity = 0.6 + 5 * calm * upt_gen_uniform(&rng);
    bool grows = upt_gen_uniform(&rng) < 0.6;
    acct->growth = (grows ? 0.4 : -0.2) * upt_gen_uniform(&rng);
    acct->growth *= config->days < 60 ? (double)config->days / 60 : 1;
    bool old = upt_gen_uniform(&rng) < 0.7;
    acct->born = gen->first_day + (old ? 0 : upt_gen_below(&rng, (int)config->days));
    acct->renewal = gen->last_day + upt_gen_below(&rng, 360) - 30;
    draw_churn(gen, &rng, acct);
}

/* 0 at the beginning of the whole time, 1 at its end. */
static double
elapsed(const struct upt_generator *gen, int64_t day)
{
    return (double)(day - gen->first_day) / (double)gen->config.days;
}

double
upt_gen_level(const struct upt_generator *gen, const struct upt_gen_account *acct, int64_t day)
{
    double v = 1.0 + acct->growth * elapsed(gen, day);
    switch (acct->churn) {
    case UPT_FADES:
        v *= day >= acct->leaves ? 0 : day > acct->leaves - 30 ? (double)(acct->leaves - day) / 30 : 1;
        break;
    case UPT_STOPS:
        v *= day >= acct->leaves ? 0 : 1;
        break;
    case UPT_HEAVY:
        v *= day >= acct->leaves ? 0 : day > acct->leaves - 10 ? 1.8 : 1;
        break;
    case UPT_PAUSES:
        v *= day >= acct->leaves && day < acct->leaves + 12 ? 0 : 1;
        break;
    default:
        break;
    }
    return v;
}

int
upt_gen_users(const struct upt_generator *gen, const struct upt_gen_account *acct, int64_t day)
{
    double now = (double)acct->users * (1.0 + acct->growth * elapsed(gen, day));
    return now < 1 ? 1 : (int)now;
}

static bool
is_active_day(const struct upt_gen_account *acct, int weekday, int64_t day)
{
    if (acct->cadence == 0) {
        return true;
    }
    return weekday == acct->weekday && (acct->cadence == 1 || (day / 7) % 4 == acct->mix % 4);
}

double
upt_gen_expected(const struct upt_generator *gen, const struct upt_gen_account *acct, int64_t day)
{
    int weekday = (int)((day + 3) % 7); /* 0: Monday */
    int64_t age = day - acct->born;
    double v = upt_gen_level(gen, acct, day);
    if (age < 0 || v <= 0 || !is_active_day(acct, weekday, day)) {
        return 0;
    }
    double rhythm = acct->cadence > 0 ? 3.0 : weekday >= 5 ? 0.12 : 1.0;
    double ramp = age < 14 ? 0.3 + 0.05 * (double)age : 1;
    return acct->activity * acct->users * 0.55 * v * rhythm * ramp;
}
