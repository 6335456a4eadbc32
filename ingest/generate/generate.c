/* The generator: a day at a time, then its events in order. See generate.h.
 *
 * A day is made whole and sorted, rather than kept as a heap of next events: one sort of a day costs about 60 ns an
 * event, a heap of all users would cost more and hold every user in memory. The number of events that was asked for is
 * met by giving each day its share and correcting with the next, and by filling up or thinning out the last day.
 *
 * @locality: one thread. */
#include "ingest/generate/generate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/generate/gen_internal.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define ACCOUNT_DAY_MAX 1000000 /* events of one account on one day */
#define SAMPLED_ACCOUNTS 1000
#define RELEASE_DAYS 14
#define TICKET_DAYS 7
#define FEATURES_MAX 1000

static const char *const feature_names[] = {"dashboard", "search",     "export",       "reports",  "api",
                                            "share",     "automation", "import",       "alerts",   "comments",
                                            "templates", "admin",      "integrations", "forecast", "audit"};
static const char *const segments[] = {"smb", "mid-market", "enterprise"};
static const char *const industries[] = {"retail", "software", "health", "finance", "education"};

static void
add(struct upt_generator *gen, struct upt_gen_item item)
{
    if (gen->n == gen->cap) {
        gen->cap = gen->cap == 0 ? 4096 : gen->cap * 2;
        struct upt_gen_item *grown = realloc(gen->items, gen->cap * sizeof(*grown));
        upt_assert(grown != NULL);
        gen->items = grown;
    }
    gen->items[gen->n++] = item;
}

/* A time of the working day in the account's region. */
static int64_t
time_of_day(uint64_t *rng, const struct upt_gen_account *acct, int64_t day)
{
    double early = upt_gen_uniform(rng);
    double hour = 7.5 + 5.5 * (early + upt_gen_uniform(rng)) * 0.95 - upt_gen_region_hours[acct->region];
    if (upt_gen_uniform(rng) < 0.06) {
        hour = 24 * upt_gen_uniform(rng);
    }
    hour = hour < 0 ? hour + 24 : hour >= 24 ? hour - 24 : hour;
    return day * UPT_DAY_MS + (int64_t)(hour * (double)UPT_HOUR_MS);
}

/* Some users do most of the work. */
static uint32_t
some_user(uint64_t *rng, int users)
{
    double u = upt_gen_uniform(rng);
    return (uint32_t)((double)users * u * upt_gen_uniform(rng));
}

static void
add_use(struct upt_generator *gen, uint64_t *rng, uint32_t i, int64_t day)
{
    const struct upt_gen_account *acct = &gen->accounts[i];
    double r = upt_gen_uniform(rng);
    struct upt_gen_item item = {.at = time_of_day(rng, acct, day), .account = i, .quantity = 1};
    item.user = some_user(rng, upt_gen_users(gen, acct, day));
    item.kind = r < 0.1 ? UPT_KIND_LOGIN : r < 0.13 ? UPT_KIND_VALUE : UPT_KIND_USAGE;
    int favourite = (int)some_user(rng, acct->mix);
    item.feature = (uint16_t)((acct->first_feature + favourite * 3) % (int)gen->config.features);
    if (upt_gen_uniform(rng) < 0.15) {
        item.quantity = (float)(1 + upt_gen_below(rng, 40));
    }
    add(gen, item);
}

static void
add_one(struct upt_generator *gen, uint64_t *rng, uint32_t i, int64_t day, upt_kind kind, double quantity, int feature)
{
    const struct upt_gen_account *acct = &gen->accounts[i];
    int64_t at = time_of_day(rng, acct, day);
    add(gen, (struct upt_gen_item){.at = at,
                                   .account = i,
                                   .user = some_user(rng, upt_gen_users(gen, acct, day)),
                                   .kind = (uint8_t)kind,
                                   .feature = (uint16_t)feature,
                                   .quantity = (float)quantity});
}

/* Whether a ticket is opened on a day, and how many days later it is closed: the same answer on every day. */
static bool
ticket(const struct upt_generator *gen, uint32_t i, int64_t day, int *ret_days)
{
    const struct upt_gen_account *acct = &gen->accounts[i];
    uint64_t rng = upt_gen_stream(gen, i, day, 1);
    bool unhappy = acct->churn == UPT_FADES || acct->churn == UPT_STOPS;
    double pains = unhappy && day > acct->leaves - 60 ? 0.03 : 0.008;
    bool opened =
        day >= acct->born && upt_gen_level(gen, acct, day) > 0 && upt_gen_uniform(&rng) < pains * sqrt(acct->users);
    *ret_days = 1 + upt_gen_below(&rng, TICKET_DAYS);
    return opened;
}

static void
add_support(struct upt_generator *gen, uint64_t *rng, uint32_t i, int64_t day)
{
    int lasts;
    if (ticket(gen, i, day, &lasts)) {
        add_one(gen, rng, i, day, UPT_KIND_TICKET_OPENED, 1, 0);
    }
    for (int back = 1; back <= TICKET_DAYS; back++) {
        if (ticket(gen, i, day - back, &lasts) && lasts == back) {
            add_one(gen, rng, i, day, UPT_KIND_TICKET_CLOSED, 1, 0);
            if (upt_gen_uniform(rng) < 0.3) {
                add_one(gen, rng, i, day, UPT_KIND_SURVEY, 6 - back > 1 ? 6 - back : 1, 1);
            }
        }
    }
}

/* People who come and go. */
static void
add_people(struct upt_generator *gen, uint64_t *rng, uint32_t i, int64_t day, double level)
{
    const struct upt_gen_account *acct = &gen->accounts[i];
    int now = upt_gen_users(gen, acct, day);
    int before = upt_gen_users(gen, acct, day - 1);
    for (int user = before; user < now; user++) {
        add_one(gen, rng, i, day, UPT_KIND_SIGNUP, 1, 0);
        gen->items[gen->n - 1].user = (uint32_t)user;
    }
    for (int user = now; user < before; user++) {
        add_one(gen, rng, i, day, UPT_KIND_USER_REMOVED, 1, 0);
        gen->items[gen->n - 1].user = (uint32_t)user;
    }
    bool leaving = acct->churn == UPT_FADES && day > acct->leaves - 30;
    if (level > 0 && upt_gen_uniform(rng) < (leaving ? 0.1 : 0.002)) {
        add_one(gen, rng, i, day, UPT_KIND_USER_REMOVED, 1, 0);
    }
}

/* What happens to an account now and then. */
static void
add_life(struct upt_generator *gen, uint64_t *rng, uint32_t i, int64_t day, double level)
{
    const struct upt_gen_account *acct = &gen->accounts[i];
    int64_t age = day - acct->born;
    if (age == 0) {
        add_one(gen, rng, i, day, UPT_KIND_SIGNUP, 1, 0);
        add_one(gen, rng, i, day, UPT_KIND_PROFILE, 1, 0);
        add_one(gen, rng, i, day, UPT_KIND_SEATS, acct->users * (1 + upt_gen_uniform(rng)), 0);
    } else {
        add_people(gen, rng, i, day, level);
    }
    if (age >= 1 && age <= 9 && age % 2 == 1 && level > 0) {
        add_one(gen, rng, i, day, UPT_KIND_ONBOARDING_STEP, 1, (int)(age / 2));
    }
    add_support(gen, rng, i, day);
    if (level > 0 && upt_gen_uniform(rng) < 0.01) {
        bool unhappy = acct->churn == UPT_FADES && day > acct->leaves - 40;
        add_one(gen, rng, i, day, UPT_KIND_SURVEY, unhappy ? upt_gen_below(rng, 6) : 6 + upt_gen_below(rng, 5), 0);
    }
    if (upt_gen_uniform(rng) < 0.012) {
        add_one(gen, rng, i, day, UPT_KIND_CONTACT, 1, 0);
    }
    if (level > 0 && upt_gen_uniform(rng) < 0.006) {
        add_one(gen, rng, i, day, UPT_KIND_TRAINING, 1, 0);
    }
    int64_t release = upt_floor_div(day, RELEASE_DAYS);
    if (level > 0 && day == release * RELEASE_DAYS && upt_gen_uniform(rng) < 0.5) {
        add_one(gen, rng, i, day, UPT_KIND_RELEASE, 1, (int)(release % gen->config.features));
    }
    if (acct->gone != 0 && day == acct->gone) {
        add_one(gen, rng, i, day, UPT_KIND_CHURNED, 1, 0);
    } else if (day == acct->renewal) {
        bool over = acct->churn != UPT_STAYS && acct->churn != UPT_PAUSES && day >= acct->leaves;
        if (!over) {
            add_one(gen, rng, i, day, UPT_KIND_RENEWED, 1, 0);
        } else if (acct->gone == 0 || day < acct->gone) {
            add_one(gen, rng, i, day, UPT_KIND_CHURNED, 1, 0);
        }
    }
}

static int
by_time(const void *a, const void *b)
{
    const struct upt_gen_item *x = a, *y = b;
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

/* What is past the end goes; on the last day the number asked for is met exactly. */
static void
finish(struct upt_generator *gen)
{
    size_t kept = 0;
    for (size_t i = 0; i < gen->n; i++) {
        if (gen->items[i].at <= gen->config.now_ms) {
            gen->items[kept++] = gen->items[i];
        }
    }
    gen->n = kept;
    if (gen->config.events == 0 || gen->day != gen->last_day) {
        return;
    }
    uint64_t rng = upt_gen_stream(gen, 0, gen->day, 2);
    size_t left = (size_t)gen->config.events - (size_t)gen->emitted;
    for (int64_t tries = 0; gen->n < left && tries < 50 * gen->config.events; tries++) {
        uint32_t i = (uint32_t)upt_gen_below(&rng, (int)gen->config.accounts);
        if (gen->accounts[i].born <= gen->day && upt_gen_level(gen, &gen->accounts[i], gen->day) > 0) {
            add_use(gen, &rng, i, gen->day);
            gen->n -= gen->items[gen->n - 1].at > gen->config.now_ms;
        }
    }
    while (gen->n > left) {
        gen->items[upt_gen_below(&rng, (int)gen->n)] = gen->items[gen->n - 1];
        gen->n--;
    }
}

static void
make_day(struct upt_generator *gen)
{
    uint32_t accounts = (uint32_t)gen->config.accounts;
    gen->emitted += gen->n;
    gen->n = gen->at = 0;
    for (uint32_t i = 0; i < accounts; i++) {
        uint64_t rng = upt_gen_stream(gen, i, gen->day, 0);
        if (gen->day >= gen->accounts[i].born) {
            add_life(gen, &rng, i, gen->day, upt_gen_level(gen, &gen->accounts[i], gen->day));
        }
    }
    double scale = 1.0;
    if (gen->config.events > 0) {
        double sum = 0;
        for (uint32_t i = 0; i < accounts; i++) {
            sum += upt_gen_expected(gen, &gen->accounts[i], gen->day);
        }
        double weight = gen->weights[gen->day - gen->first_day];
        double left = (double)gen->config.events - (double)gen->emitted;
        double quota = gen->weight_left > 0 ? left * weight / gen->weight_left - (double)gen->n : 0;
        scale = sum > 0 && quota > 0 ? quota / sum : 0;
        gen->weight_left -= weight;
    }
    for (uint32_t i = 0; i < accounts; i++) {
        double mean = upt_gen_expected(gen, &gen->accounts[i], gen->day) * scale;
        uint64_t rng = upt_gen_stream(gen, i, gen->day, 3);
        int n = mean > 0 ? upt_gen_poisson(&rng, mean) : 0;
        for (int k = 0; k < n && k < ACCOUNT_DAY_MAX; k++) {
            add_use(gen, &rng, i, gen->day);
        }
    }
    finish(gen);
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
fill_profile(struct upt_generator *gen, const struct upt_gen_account *acct, struct upt_generated *ret)
{
    char day[16], value[24];
    put_prop(gen, ret, "segment", segments[acct->users > 200 ? 2 : acct->users > 20 ? 1 : 0]);
    put_prop(gen, ret, "tier", acct->users > 200 ? "1" : acct->users > 20 ? "2" : "3");
    put_prop(gen, ret, "plan", acct->users > 20 ? "business" : "team");
    put_prop(gen, ret, "industry", industries[acct->mix % 5]);
    put_prop(gen, ret, "region", upt_gen_regions[acct->region]);
    upt_format_day(acct->renewal, day);
    put_prop(gen, ret, "renewal_date", day);
    upt_format_day(acct->born, day);
    put_prop(gen, ret, "contract_start", day);
    snprintf(value, sizeof(value), "%d", acct->users * 240);
    put_prop(gen, ret, "contract_value", value);
    put_prop(gen, ret, "onboarding_steps", "invite,connect,configure");
}

static struct upt_str
feature_name(struct upt_generator *gen, unsigned feature)
{
    if (feature < sizeof(feature_names) / sizeof(feature_names[0])) {
        return upt_str_of(feature_names[feature]);
    }
    snprintf(gen->feature, sizeof(gen->feature), "feature-%u", feature + 1);
    return upt_str_of(gen->feature);
}

static void
fill(struct upt_generator *gen, const struct upt_gen_item *item, struct upt_generated *ret)
{
    static const char *const steps[] = {"invite", "connect", "configure", "review", "launch"};
    const struct upt_gen_account *acct = &gen->accounts[item->account];
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
        ev->feature = feature_name(gen, item->feature);
        break;
    case UPT_KIND_ONBOARDING_STEP:
        ev->feature = upt_str_of(steps[item->feature % 5]);
        break;
    case UPT_KIND_VALUE:
        ev->feature = UPT_STR("report-delivered");
        break;
    case UPT_KIND_SURVEY:
        ev->feature = item->feature == 0 ? UPT_STR("nps") : UPT_STR("csat");
        break;
    case UPT_KIND_RELEASE:
        ev->feature = feature_name(gen, item->feature);
        ev->user_id = UPT_STR_NULL;
        break;
    case UPT_KIND_RENEWED:
    case UPT_KIND_CHURNED:
        ev->user_id = UPT_STR_NULL;
        break;
    case UPT_KIND_TRAINING:
        ev->feature = UPT_STR("basics");
        break;
    case UPT_KIND_PROFILE:
        fill_profile(gen, acct, ret);
        ev->user_id = UPT_STR_NULL;
        break;
    case UPT_KIND_SEATS:
        ev->quantity = floor((double)item->quantity) + 1;
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
    if (gen->config.events > 0 && gen->emitted + gen->at >= (uint64_t)gen->config.events) {
        return false; /* only when even the accounts' own days exceed it */
    }
    fill(gen, &gen->items[gen->at++], ret);
    return true;
}

double
upt_generator_progress(const struct upt_generator *gen)
{
    return (double)(gen->day - gen->first_day) / (double)(gen->config.days + 1);
}

void
upt_generator_label(const struct upt_generator *gen, int64_t account, struct upt_label *ret)
{
    const struct upt_gen_account *acct = &gen->accounts[account];
    *ret = (struct upt_label){.account = acct->name,
                              .kind = acct->churn,
                              .day = acct->leaves,
                              .cadence = upt_gen_cadences[acct->cadence],
                              .users = acct->users};
}

/* How the events asked for spread over the days: the usage of some of the accounts, unscaled. */
static bool
weigh_days(struct upt_generator *gen)
{
    int64_t step = gen->config.accounts / SAMPLED_ACCOUNTS + 1;
    gen->weights = calloc((size_t)gen->config.days + 1, sizeof(*gen->weights));
    if (gen->weights == NULL) {
        return false;
    }
    for (int64_t day = gen->first_day; day <= gen->last_day; day++) {
        double sum = 1e-9;
        for (int64_t i = 0; i < gen->config.accounts; i += step) {
            sum += upt_gen_expected(gen, &gen->accounts[i], day);
        }
        int64_t part = gen->config.now_ms - day * UPT_DAY_MS;
        sum *= part >= UPT_DAY_MS ? 1.0 : (double)(part + 1) / (double)UPT_DAY_MS;
        gen->weights[day - gen->first_day] = sum;
        gen->weight_left += sum;
    }
    return true;
}

upt_status
upt_generator_create(const struct upt_generator_config *config, struct upt_generator **ret, struct upt_error *reterr)
{
    if (config->accounts < 1 || config->accounts > INT32_MAX || config->features < 1 ||
        config->features > FEATURES_MAX || config->days < 1 || config->events < 0) {
        return upt_fail(reterr, UPT_EINVAL, "accounts ≥ 1, 1 to %d features and days ≥ 1 are wanted", FEATURES_MAX);
    }
    struct upt_generator *gen = calloc(1, sizeof(*gen));
    if (gen == NULL) {
        goto fail;
    }
    gen->config = *config;
    gen->last_day = upt_floor_div(config->now_ms, UPT_DAY_MS);
    gen->first_day = gen->day = gen->last_day - config->days;
    gen->accounts = calloc((size_t)config->accounts, sizeof(*gen->accounts));
    if (gen->accounts == NULL) {
        goto fail;
    }
    for (uint32_t i = 0; i < (uint32_t)config->accounts; i++) {
        upt_gen_account_make(gen, i, &gen->accounts[i]);
    }
    if (config->events > 0 && !weigh_days(gen)) {
        goto fail;
    }
    *ret = gen;
    return UPT_OK;

fail:
    upt_generator_destroy(&gen);
    return upt_fail(reterr, UPT_ENOMEM, "out of memory for %lld accounts", (long long)config->accounts);
}

void
upt_generator_destroy(struct upt_generator **gen_p)
{
    if (*gen_p != NULL) {
        free((*gen_p)->accounts);
        free((*gen_p)->weights);
        free((*gen_p)->items);
        free(*gen_p);
        *gen_p = NULL;
    }
}
