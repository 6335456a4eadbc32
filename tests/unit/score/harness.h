/* Accounts whose days are scripted, run through the real state and score; everything that is decided is kept and
 * checked.
 *
 * Checked for every record that comes out, in every test: weights add up to 1; points are weight × (sub-score − mean) ×
 * 100 and add up to score − cohort mean, factors and base to the logit, both to 1e-9; revisions have no gaps; an alert
 * begins with OPEN, ends with RESOLVE or EXPIRE, and no id comes twice; an end says of nothing that it would close it;
 * opened_at is the clock at OPEN in all its records. */
#ifndef UPT_TEST_SCORE_HARNESS_H
#define UPT_TEST_SCORE_HARNESS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "aggregate/score/decide.h"
#include "uptake/outcomes.h"
#include "uptake/time.h"

#define DAY0 20089 /* 2025-01-01, a Wednesday */
#define ALERTS_MAX 20000

struct kept_alert {
    char id[33], account[64], subject[140], rule[24], text[8][200], factor[8][24], counterfactual[200], play[304];
    struct upt_alert a;
};

struct world {
    struct upt_model *model;
    struct upt_rules *rules;
    struct upt_score *score;
    struct upt_state *st;
    struct upt_metrics *metrics;
    struct upt_sink sink;
    int64_t offset;
    struct kept_alert alert[ALERTS_MAX];
    int alerts_n;
    struct upt_health health; /* the last; strings are not to be read */
    int health_n, health_null_n;
};

/* rules: YAML text over the shipped ones, or NULL. */
struct world *world_new(const char *rules);
void world_free(struct world *w);
/* The same with every rule off but those named in a list such as "SILENCE USAGE_DROP"; rules: more YAML, flow style
 * below `rules`, or NULL. */
struct world *world_only(const char *names, const char *rules);
/* Stores all, and goes on from what was stored in a new state and score. */
void world_restart(struct world *w);
/* Clock to a minute of a day (day 0 = DAY0), by a wall tick. */
void world_to(struct world *w, int day, int hour, int minute);
void world_event(struct world *w, const char *account, upt_kind kind, const char *feature, double quantity, int64_t at);
/* n USAGE events of a feature on a day, at hour 12, clock moving there. */
void world_use(struct world *w, const char *account, int day, const char *feature, int n);
void world_profile(struct world *w, const char *account, int day, const char *name, const char *value);
struct upt_account *world_account(struct world *w, const char *account);
struct upt_score_ext *world_ext(struct world *w, const char *account);
struct upt_eval world_eval(struct world *w, const char *account);
/* How many transitions of a rule (NULL: any) and account (NULL: any) with this action (−1: any). */
int world_count(const struct world *w, const char *account, const char *rule, int action);
/* The i-th such transition; fails the test if there is none. */
const struct kept_alert *world_alert(const struct world *w, const char *account, const char *rule, int i);
/* What the record says that the cap holds back; "": nothing. */
const char *world_held_back(const struct kept_alert *alert);
/* A record of kind OTHER with n properties, names and values in turn. */
void world_say(struct world *w, const char *account, int64_t at, const char *const *pairs, size_t n);
double world_day(int64_t ms); /* days since DAY0 */
/* Canonical hex of XXH3-128. */
void upt_test_xxh128(const void *p, size_t len, char ret[33]);

#endif
