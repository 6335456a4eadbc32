/* The generator. See generate.h.
 *
 * Every number of an account comes from a stream of its own, seeded by (seed, account, day), so that the same seed
 * gives the same telemetry however many accounts are asked for before it. */
#include "ingest/generate/generate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uptake/assert.h"
#include "uptake/time.h"

#define PROPS_MAX 12
#define USERS_MAX 5000
#define DAY_EVENTS_MAX 4000 /* of one account on one day */
#define NAME_MAX_LEN 32

const char *const upt_churn_names[UPT_CHURN_COUNT] = {"STAYS", "FADES", "STOPS", "HEAVY_UNTIL_LAST_DAY", "PAUSES"};

static const char *const cadence_names[] = {"daily", "weekly", "monthly"};
static const char *const feature_names[] = {"dashboard", "search",     "export",       "reports",  "api",
                                            "share",     "automation", "import",       "alerts",   "comments",
                                            "templates", "admin",      "integrations", "forecast", "audit"};
static const char *const segments[] = {"smb", "mid-market", "enterprise"};
static const char *const industries[] = {"retail", "software", "health", "finance", "education"};
static const char *const regions[] = {"emea", "amer", "apac"};
static const int region_hours[] = {1, -6, 8};

struct account {
    char name[NAME_MAX_LEN];
    int users, cadence, region, weekday; /* weekday: of weekly and monthly accounts */
    int first_feature, mix;              /* favourites */
    double activity, growth;             /* events per active user and day; change over the whole time */
    upt_churn churn;
    int64_t born, leaves, renewal; /* UTC days */
};

struct item {
    int64_t at;
    uint32_t account, user;
    uint8_t kind;
    uint8_t feature;
    float quantity;
};

struct upt_generator {
    struct upt_generator_config config;
    struct account *accounts;
    double scale;
    int64_t first_day, day, last_day;
    struct item *items;
    size_t n, cap, at;
    uint64_t ids;
    char id[40], user[40], text[PROPS_MAX][32];
    struct upt_prop props[PROPS_MAX];
};

/* ---- numbers ---- */

static uint64_t
mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    x ^= x >> 27;
    x *= UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static double
uniform(uint64_t *rng)
{
    *rng += UINT64_C(0x9E3779B97F4A7C15);
    return (double)(mix64(*rng) >> 11) / 9007199254740992.0;
}

static int
below(uint64_t *rng, int n)
{
    return (int)(uniform(rng) * n);
}

static int
poisson(uint64_t *rng, double mean)
{
    if (mean > 30) {
        double v = mean + sqrt(mean) * (uniform(rng) + uniform(rng) + uniform(rng) - 1.5) * 2;
        return v < 0 ? 0 : (int)v;
    }
    double limit = exp(-mean), p = uniform(rng);
    int n = 0;
    while (p > limit && n < 200) {
        p *= uniform(rng);
        n++;
    }
    return n;
}

/* ---- accounts ---- */

static void
make_account(const struct upt_generator *gen, uint32_t i, struct account *acct)
{
    const struct upt_generator_config *config = &gen->config;
    uint64_t rng = mix64(config->seed * 1000003 + i + 1);
    static const char *const first[] = {"north", "blue",  "bright", "green", "silver",
                                        "rapid", "quiet", "urban",  "prime", "open"};
    static const char *const second[] = {"wind", "labs",  "works", "foods", "bank",
                                         "care", "media", "cargo", "grid",  "studio"};
    snprintf(acct->name, sizeof(acct->name), "%s-%s-%u", first[below(&rng, 10)], second[below(&rng, 10)], i + 1);
    double size = config->users > 0 ? (double)config->users * (0.4 + 1.2 * uniform(&rng))
                                    : exp(1.2 + 4.2 * pow(uniform(&rng), 2.5));
    acct->users = size < 1 ? 1 : size > USERS_MAX ? USERS_MAX : (int)size;
    double dice = uniform(&rng);
    acct->cadence = dice < 0.7 ? 0 : dice < 0.92 ? 1 : 2;
    acct->region = below(&rng, 3);
    acct->weekday = below(&rng, 5);
    acct->first_feature = below(&rng, (int)config->features);
    acct->mix = 2 + below(&rng, 6);
    acct->activity = 0.6 + 5 * uniform(&rng) * uniform(&rng);
    acct->growth = uniform(&rng) < 0.6 ? 0.4 * uniform(&rng) : -0.2 * uniform(&rng);
    acct->born = gen->first_day + (uniform(&rng) < 0.7 ? 0 : below(&rng, (int)config->days));
    acct->renewal = gen->last_day + below(&rng, 360) - 30;
    acct->churn = uniform(&rng) < config->churn_share ? (upt_churn)(UPT_FADES + below(&rng, 3)) : UPT_STAYS;
    if (acct->churn == UPT_STAYS && uniform(&rng) < 0.05) {
        acct->churn = UPT_PAUSES;
    }
    int64_t span = gen->last_day - acct->born;
    acct->leaves =
        acct->churn == UPT_STAYS ? 0 : acct->born + span / 3 + (int64_t)(uniform(&rng) * (double)(span * 6 / 10));
}

/* How active an account is on a day, relative to its usual. */
static double
level(const struct upt_generator *gen, const struct account *acct, int64_t day)
{
    double v =
        1.0 + acct->growth * (double)(day - gen->first_day) / (double)(gen->config.days > 0 ? gen->config.days : 1);
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

static bool
is_active_day(const struct account *acct, int64_t day)
{
    int weekday = (int)((day + 3) % 7); /* 0: Monday */
    if (acct->cadence == 0) {
        return true;
    }
    return weekday == acct->weekday && (acct->cadence == 1 || (day / 7) % 4 == acct->mix % 4);
}

/* ---- one day ---- */

static void
add(struct upt_generator *gen, struct item item)
{
    if (gen->n == gen->cap) {
        gen->cap = gen->cap == 0 ? 4096 : gen->cap * 2;
        struct item *grown = realloc(gen->items, gen->cap * sizeof(*grown));
        upt_assert(grown != NULL);
        gen->items = grown;
    }
    gen->items[gen->n++] = item;
}

/* A time of the working day in the account's region. */
static int64_t
time_of_day(uint64_t *rng, const struct account *acct, int64_t day)
{
    double hour = 7.5 + 5.5 * (uniform(rng) + uniform(rng)) * 0.95 - region_hours[acct->region];
    if (uniform(rng) < 0.06) {
        hour = 24 * uniform(rng);
    }
    hour = hour < 0 ? hour + 24 : hour >= 24 ? hour - 24 : hour;
    return day * UPT_DAY_MS + (int64_t)(hour * (double)UPT_HOUR_MS);
}

static void
add_usage(struct upt_generator *gen, uint64_t *rng, uint32_t i, int64_t day, double amount)
{
    const struct account *acct = &gen->accounts[i];
    int n = poisson(rng, amount);
    n = n > DAY_EVENTS_MAX ? DAY_EVENTS_MAX : n;
    for (int k = 0; k < n; k++) {
        double r = uniform(rng);
        struct item item = {.at = time_of_day(rng, acct, day), .account = i, .quantity = 1};
        item.user = (uint32_t)((double)acct->users * uniform(rng) * uniform(rng));
        item.kind = r < 0.1 ? UPT_KIND_LOGIN : r < 0.13 ? UPT_KIND_VALUE : UPT_KIND_USAGE;
        int favourite = (int)((double)acct->mix * uniform(rng) * uniform(rng));
        item.feature = (uint8_t)((acct->first_feature + favourite * 3) % (int)gen->config.features);
        item.quantity = uniform(rng) < 0.15 ? (float)(1 + below(rng, 40)) : 1;
        add(gen, item);
    }
}

static void
add_one(struct upt_generator *gen, uint64_t *rng, uint32_t i, int64_t day, upt_kind kind, double quantity, int feature)
{
    const struct account *acct = &gen->accounts[i];
    add(gen, (struct item){.at = time_of_day(rng, acct, day),
                           .account = i,
                           .user = (uint32_t)below(rng, acct->users),
                           .kind = (uint8_t)kind,
                           .feature = (uint8_t)feature,
                           .quantity = (float)quantity});
}

static void
make_account_day(struct upt_generator *gen, uint32_t i, int64_t day)
{
    struct account *acct = &gen->accounts[i];
    uint64_t rng = mix64(gen->config.seed ^ mix64((uint64_t)i << 24 | (uint64_t)(day & 0xFFFFFF)));
    int64_t age = day - acct->born;
    if (age < 0) {
        return;
    }
    if (age == 0) {
        add_one(gen, &rng, i, day, UPT_KIND_SIGNUP, 1, 0);
        add_one(gen, &rng, i, day, UPT_KIND_PROFILE, 1, 0);
        add_one(gen, &rng, i, day, UPT_KIND_SEATS, acct->users * (1 + uniform(&rng)), 0);
    }
    double v = level(gen, acct, day);
    if (age >= 1 && age <= 9 && age % 2 == 1 && v > 0) {
        add_one(gen, &rng, i, day, UPT_KIND_ONBOARDING_STEP, 1, (int)(age / 2));
    }
    int weekday = (int)((day + 3) % 7);
    double rhythm = acct->cadence > 0 ? 3.0 : weekday >= 5 ? 0.12 : 1.0;
    if (is_active_day(acct, day) && v > 0) {
        double ramp = age < 14 ? 0.3 + 0.05 * (double)age : 1;
        add_usage(gen, &rng, i, day, acct->activity * acct->users * 0.55 * v * rhythm * ramp * gen->scale);
    }
    double pains = acct->churn == UPT_FADES || acct->churn == UPT_STOPS ? 0.02 : 0.008;
    if (v > 0 && uniform(&rng) < pains * sqrt(acct->users)) {
        add_one(gen, &rng, i, day, UPT_KIND_TICKET_OPENED, 1, 0);
        add_one(gen, &rng, i, day, UPT_KIND_TICKET_CLOSED, 1, 0);
    }
    if (v > 0 && uniform(&rng) < 0.01) {
        bool unhappy = acct->churn == UPT_FADES && day > acct->leaves - 40;
        add_one(gen, &rng, i, day, UPT_KIND_SURVEY, unhappy ? below(&rng, 6) : 6 + below(&rng, 5), 0);
    }
    if (uniform(&rng) < 0.012) {
        add_one(gen, &rng, i, day, UPT_KIND_CONTACT, 1, 0);
    }
    if (v > 0 && uniform(&rng) < 0.006) {
        add_one(gen, &rng, i, day, UPT_KIND_TRAINING, 1, 0);
    }
    if (day == acct->renewal) {
        bool gone = acct->churn != UPT_STAYS && acct->churn != UPT_PAUSES && day >= acct->leaves;
        add_one(gen, &rng, i, day, gone ? UPT_KIND_CHURNED : UPT_KIND_RENEWED, 1, 0);
    }
}

static int
by_time(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->at != y->at) {
        return x->at < y->at ? -1 : 1;
    }
    if (x->account != y->account) {
        return x->account < y->account ? -1 : 1;
    }
    if (x->kind != y->kind) {
        return x->kind < y->kind ? -1 : 1;
    }
    return x->user < y->user ? -1 : x->user > y->user;
}

static void
make_day(struct upt_generator *gen)
{
    gen->n = gen->at = 0;
    for (uint32_t i = 0; i < (uint32_t)gen->config.accounts; i++) {
        make_account_day(gen, i, gen->day);
    }
    qsort(gen->items, gen->n, sizeof(*gen->items), by_time);
    gen->day++;
}

/* ---- events ---- */

static void
put_prop(struct upt_generator *gen, struct upt_generated *ret, const char *name, const char *value)
{
    snprintf(gen->text[ret->props_n], sizeof(gen->text[0]), "%s", value);
    gen->props[ret->props_n] =
        (struct upt_prop){.name = upt_str_of(name), .value = upt_str_of(gen->text[ret->props_n])};
    ret->props_n++;
}

static void
fill_profile(struct upt_generator *gen, const struct account *acct, struct upt_generated *ret)
{
    char day[16], value[24];
    put_prop(gen, ret, "segment", segments[acct->users > 200 ? 2 : acct->users > 20 ? 1 : 0]);
    put_prop(gen, ret, "tier", acct->users > 200 ? "1" : acct->users > 20 ? "2" : "3");
    put_prop(gen, ret, "plan", acct->users > 20 ? "business" : "team");
    put_prop(gen, ret, "industry", industries[acct->mix % 5]);
    put_prop(gen, ret, "region", regions[acct->region]);
    upt_format_day(acct->renewal, day);
    put_prop(gen, ret, "renewal_date", day);
    upt_format_day(acct->born, day);
    put_prop(gen, ret, "contract_start", day);
    snprintf(value, sizeof(value), "%d", acct->users * 240);
    put_prop(gen, ret, "contract_value", value);
    put_prop(gen, ret, "onboarding_steps", "invite,connect,configure");
}

static void
fill(struct upt_generator *gen, const struct item *item, struct upt_generated *ret)
{
    static const char *const steps[] = {"invite", "connect", "configure", "review", "launch"};
    const struct account *acct = &gen->accounts[item->account];
    struct upt_event *ev = &ret->event;
    memset(ret, 0, sizeof(*ret));
    ret->props = gen->props;
    snprintf(gen->id, sizeof(gen->id), "%llx-%llx", (unsigned long long)gen->config.seed,
             (unsigned long long)++gen->ids);
    snprintf(gen->user, sizeof(gen->user), "%s/u%u", acct->name, item->user + 1);
    ev->event_id = upt_str_of(gen->id);
    ev->account_id = upt_str_of(acct->name);
    ev->user_id = upt_str_of(gen->user);
    ev->kind = (upt_kind)item->kind;
    ev->occurred_at = item->at;
    ev->quantity = item->quantity;
    switch (ev->kind) {
    case UPT_KIND_USAGE:
        ev->feature = upt_str_of(feature_names[item->feature % 15]);
        break;
    case UPT_KIND_ONBOARDING_STEP:
        ev->feature = upt_str_of(steps[item->feature % 5]);
        break;
    case UPT_KIND_VALUE:
        ev->feature = UPT_STR("report-delivered");
        break;
    case UPT_KIND_SURVEY:
        ev->feature = UPT_STR("nps");
        break;
    case UPT_KIND_TRAINING:
        ev->feature = UPT_STR("basics");
        break;
    case UPT_KIND_PROFILE:
        fill_profile(gen, acct, ret);
        ev->user_id = UPT_STR_NULL;
        break;
    case UPT_KIND_SEATS:
        ev->quantity = floor(item->quantity) + 1;
        ev->user_id = UPT_STR_NULL;
        break;
    default:
        break;
    }
}

bool
upt_generator_next(struct upt_generator *gen, struct upt_generated *ret)
{
    while (gen->at == gen->n) {
        if (gen->day > gen->last_day) {
            return false;
        }
        make_day(gen);
    }
    const struct item *item = &gen->items[gen->at++];
    if (item->at > gen->config.now_ms) {
        gen->at = gen->n;
        return upt_generator_next(gen, ret);
    }
    fill(gen, item, ret);
    return true;
}

double
upt_generator_progress(const struct upt_generator *gen)
{
    return gen->config.days > 0 ? (double)(gen->day - gen->first_day) / (double)(gen->config.days + 1) : 1.0;
}

void
upt_generator_label(const struct upt_generator *gen, int64_t account, struct upt_label *ret)
{
    const struct account *acct = &gen->accounts[account];
    *ret = (struct upt_label){.account = acct->name,
                              .kind = acct->churn,
                              .day = acct->leaves,
                              .cadence = cadence_names[acct->cadence],
                              .users = acct->users};
}

/* Scales activity so that about config->events come out: a dry count of the days' expected usage. */
static double
scale_for(const struct upt_generator *gen)
{
    double sum = 0;
    for (int64_t i = 0; i < gen->config.accounts; i++) {
        const struct account *acct = &gen->accounts[i];
        double days = (double)(gen->last_day - acct->born) * (acct->cadence == 0   ? 0.75
                                                              : acct->cadence == 1 ? 0.43
                                                                                   : 0.11);
        sum += acct->activity * acct->users * 0.55 * days;
    }
    return gen->config.events > 0 && sum > 0 ? (double)gen->config.events / sum : 1.0;
}

upt_status
upt_generator_create(const struct upt_generator_config *config, struct upt_generator **ret, struct upt_error *reterr)
{
    if (config->accounts < 1 || config->accounts > INT32_MAX || config->features < 1 || config->features > 15 ||
        config->days < 1) {
        return upt_fail(reterr, UPT_EINVAL, "accounts ≥ 1, 1 to 15 features and days ≥ 1 are wanted");
    }
    struct upt_generator *gen = calloc(1, sizeof(*gen));
    struct account *accounts = calloc((size_t)config->accounts, sizeof(*accounts));
    if (gen == NULL || accounts == NULL) {
        free(gen);
        free(accounts);
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for %lld accounts", (long long)config->accounts);
    }
    gen->config = *config;
    gen->accounts = accounts;
    gen->last_day = upt_floor_div(config->now_ms, UPT_DAY_MS);
    gen->first_day = gen->day = gen->last_day - config->days;
    for (uint32_t i = 0; i < (uint32_t)config->accounts; i++) {
        make_account(gen, i, &accounts[i]);
    }
    gen->scale = scale_for(gen);
    *ret = gen;
    return UPT_OK;
}

void
upt_generator_destroy(struct upt_generator **gen_p)
{
    if (*gen_p != NULL) {
        free((*gen_p)->accounts);
        free((*gen_p)->items);
        free(*gen_p);
        *gen_p = NULL;
    }
}
