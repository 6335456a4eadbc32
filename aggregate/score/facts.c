/* What several rules ask of an account: profile values turned into numbers, users, who it is. Read once for a daily
 * evaluation. A value that is absent or no number is not known (NaN, UPT_TIER_NONE), never 0.
 *
 * Pure: reads the state. The lane's thread. */
#include <math.h>
#include <strings.h>

#include "decide.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define WATCH_DAYS 90 /* after onboarding */
#define TRIAL_PATIENCE 0.5

bool
upt_name_next(struct upt_str list, uint32_t *at, struct upt_str *ret)
{
    while (*at < list.len) {
        uint32_t from = *at;
        uint32_t to = from;
        while (to < list.len && list.p[to] != ',') {
            to++;
        }
        *at = to + 1;
        while (from < to && list.p[from] == ' ') {
            from++;
        }
        while (to > from && list.p[to - 1] == ' ') {
            to--;
        }
        if (to > from) {
            *ret = (struct upt_str){.p = list.p + from, .len = to - from};
            return true;
        }
    }
    return false;
}

static struct upt_str
trimmed(struct upt_str s)
{
    while (s.len > 0 && s.p[0] == ' ') {
        s.p++;
        s.len--;
    }
    while (s.len > 0 && s.p[s.len - 1] == ' ') {
        s.len--;
    }
    return s;
}

bool
upt_name_cut(struct upt_str s, char mark, struct upt_str *ret_before, struct upt_str *ret_behind)
{
    uint32_t at = s.len;
    while (at > 0 && s.p[at - 1] != mark) {
        at--;
    }
    if (at == 0) {
        return false;
    }
    *ret_before = trimmed((struct upt_str){.p = s.p, .len = at - 1});
    *ret_behind = trimmed((struct upt_str){.p = s.p + at, .len = s.len - at});
    return ret_before->len > 0;
}

int
upt_names_listed(struct upt_str list, const uint16_t *hash, int hash_n, int most, int *ret_done)
{
    struct upt_str name;
    int n = 0;
    *ret_done = 0;
    for (uint32_t at = 0; list.p != NULL && n < most && upt_name_next(list, &at, &name); n++) {
        uint16_t wanted = (uint16_t)upt_hash(name.p, name.len);
        bool done = false;
        for (int i = 0; i < hash_n; i++) {
            done = done || hash[i] == wanted;
        }
        *ret_done += done ? 1 : 0;
    }
    return n;
}

int
upt_steps_listed(const struct upt_score_ext *ext, struct upt_str list, int *ret_done)
{
    const struct upt_relation *r = ext->signals.relation;
    return upt_names_listed(list, r == NULL ? NULL : r->steps, r == NULL ? 0 : r->steps_n, UPT_STEPS_MAX, ret_done);
}

static bool
same_word(struct upt_str a, struct upt_str b)
{
    return a.p != NULL && b.p != NULL && a.len == b.len && strncasecmp(a.p, b.p, a.len) == 0;
}

bool
upt_named(struct upt_str list, struct upt_str word)
{
    struct upt_str name;
    for (uint32_t at = 0; word.p != NULL && upt_name_next(list, &at, &name);) {
        if (same_word(name, word)) {
            return true;
        }
    }
    return false;
}

static int
tier_of(const struct upt_rules *rules, struct upt_str tier)
{
    int t = UPT_TIERS - 1;
    while (t >= 0 && !upt_named(upt_str_of(rules->tier[t].names), tier)) {
        t--;
    }
    return t; /* UPT_TIER_NONE: in no list */
}

double
upt_number_of(struct upt_str v)
{
    double got = 0;
    return upt_parse_decimal(v, &got) && got >= 0 && got <= 1e15 ? upt_round6(got) : (double)NAN;
}

static double
patience_of(const struct upt_decision *d)
{
    struct upt_str v = upt_account_trait(d->acct, UPT_STR("ttv_class"));
    bool trial = d->eval->phase == UPT_PHASE_TRIAL && !upt_on_proof(d->acct);
    double of_class = same_word(v, UPT_STR("SHORT"))       ? 0.5
                      : same_word(v, UPT_STR("IMMEDIATE")) ? 0.25
                      : same_word(v, UPT_STR("LONG"))      ? 2
                                                           : 1;
    return of_class * (trial ? TRIAL_PATIENCE : 1);
}

void
upt_facts_read(const struct upt_decision *d, struct upt_facts *ret)
{
    const struct upt_relation *relation = d->ext->signals.relation;
    int64_t seen = upt_floor_div(upt_account_first_seen(d->acct), UPT_DAY_MS);
    int64_t seats = 0;
    int64_t day = 0;
    *ret = (struct upt_facts){
        .today = d->eval->today,
        .start = seen,
        .silent = d->eval->has_key ? d->eval->act.day - d->eval->act.last : -1,
        .users = upt_account_users(d->st, d->acct),
        .seats = (double)NAN,
        .utilisation = (double)NAN,
        .value = upt_number_of(upt_account_trait(d->acct, UPT_STR("contract_value"))),
        .tier = tier_of(d->score->rules, upt_account_trait(d->acct, UPT_STR("tier"))),
        .patience = patience_of(d),
        .early = upt_named(UPT_STR("true, yes, 1"), upt_account_trait(d->acct, UPT_STR("early_adopter"))),
        .outage = upt_fleet_holds(d->score, d->now),
        .aftermath = upt_fleet_lately(&d->score->fleet),
    };
    ret->age = ret->today - (d->ext->has_key ? d->ext->first_day : seen);
    if (upt_trait_day(d->acct, "contract_start", &day)) {
        ret->start = day;
    }
    if (upt_trait_day(d->acct, "renewal_date", &day)) {
        ret->has_renewal = true;
        ret->to_renewal = day - ret->today;
    }
    if (upt_account_seats(d->acct, &seats) && seats > 0) {
        ret->seats = (double)seats / 1e6;
        ret->utilisation = upt_round6(fmin(1, (double)ret->users.d30 / ret->seats));
    }
    upt_goals_read(d, &ret->goals);
    upt_meters_read(d, &ret->meters);
    ret->steps_n = upt_steps_listed(d->ext, upt_account_trait(d->acct, UPT_STR("onboarding_steps")), &ret->steps_done);
    ret->watched = ret->early || (relation != NULL && relation->onboarded_day != UPT_NO_DAY &&
                                  ret->today - relation->onboarded_day <= WATCH_DAYS);
}
