/* What the files of the generator share. */
#ifndef UPT_GEN_INTERNAL_H
#define UPT_GEN_INTERNAL_H

#include "ingest/generate/generate.h"

#define UPT_GEN_NAME_LEN 32
#define UPT_GEN_PROPS 12

struct upt_gen_account {
    char name[UPT_GEN_NAME_LEN];
    int users, cadence, region, weekday; /* weekday: of weekly and monthly accounts */
    int first_feature, mix;              /* favourites */
    double activity, growth;             /* events per active user and day; change over the whole time */
    upt_churn churn;
    int64_t born, leaves, gone, renewal; /* UTC days; gone: of the CHURNED event, 0: nobody says so */
};

struct upt_gen_item {
    int64_t at;
    uint32_t account, user;
    uint16_t feature;
    uint8_t kind;
    float quantity;
};

struct upt_generator {
    struct upt_generator_config config;
    struct upt_gen_account *accounts;
    double *weights; /* expected usage of each day, for config.events */
    double weight_left;
    int64_t first_day, day, last_day;
    uint64_t emitted;
    struct upt_gen_item *items;
    size_t n, cap, at;
    uint64_t ids;
    char id[40], user[UPT_GEN_NAME_LEN + 16], feature[24], text[UPT_GEN_PROPS][32];
    struct upt_prop props[UPT_GEN_PROPS];
};

/* ---- random numbers: a stream is a counter, so that one can begin anywhere ---- */
uint64_t upt_gen_mix64(uint64_t x);
double upt_gen_uniform(uint64_t *rng);
int upt_gen_below(uint64_t *rng, int n);
int upt_gen_poisson(uint64_t *rng, double mean);
/* The stream of an account on a day; purpose keeps streams apart. */
uint64_t upt_gen_stream(const struct upt_generator *gen, uint32_t account, int64_t day, unsigned purpose);

/* ---- accounts ---- */
extern const char *const upt_gen_regions[3];
extern const int upt_gen_region_hours[3];
extern const char *const upt_gen_cadences[3];
void upt_gen_account_make(const struct upt_generator *gen, uint32_t i, struct upt_gen_account *acct);
/* How active an account is on a day, relative to its usual; 0: not at all. */
double upt_gen_level(const struct upt_generator *gen, const struct upt_gen_account *acct, int64_t day);
int upt_gen_users(const struct upt_generator *gen, const struct upt_gen_account *acct, int64_t day);
/* Events of use that it has on a day on average, before any scaling. */
double upt_gen_expected(const struct upt_generator *gen, const struct upt_gen_account *acct, int64_t day);

#endif
