/* Replays labelled daily usage through the real state and score code and prints how well the scores rank the accounts.
 *
 *     score_replay EVENTS.csv LABELS.csv [aligned] [rules=FILE]
 *
 * EVENTS.csv: course,enrollment,day,COUNT of each feature…; LABELS.csv: course,enrollment,churned (both with a header
 * line, days as 2026-01-31). An account is course-enrollment; its course's first day is day 1. One USAGE event for each
 * count, all courses in one log by date. At the end of days 10, 15, 20, 25 and 30 of a course its accounts are
 * evaluated; AUC over all accounts seen so far and over the hot ones (active in the last 3 days), for health and
 * churn_risk_30d. aligned: all courses moved to the same first day, so that none ends while others go on. Raw: also
 * accounts whose score is still withheld for want of confidence. Noise of alerts by the rules (the shipped ones, or
 * those of FILE), for all courses and for the earlier and the later half of them: what is chosen on such figures should
 * hold in either. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "aggregate/score/evaluate.h"
#include "aggregate/score/score.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define FEATURES_MAX 16
#define EVALUATIONS 5
#define RULES 6
#define RULES_FIRED 4 /* those before are the product's, the others are policies over the risk */
#define EARLY 8
#define COOL_DOWN 7
#define HALVES 2
#define FIRST_DAY 16000 /* 2013-10-22 */
static const int evaluated_day[EVALUATIONS] = {10, 15, 20, 25, 30};

struct usage {
    int64_t day;
    int course;
    char account[48];
    int count[FEATURES_MAX];
};

struct result {
    double health, risk; /* NaN: withheld */
    double raw_health, raw_risk;
    bool seen, hot;
};

struct account {
    char id[48];
    int course;
    bool churned;
    int early_days;                      /* active days up to day 8 */
    int opens[RULES], first_open[RULES]; /* from day 8 to 30 of the course */
    bool open[RULES];                    /* at day 30 */
    int run[RULES], ended[RULES];        /* of policies */
    struct result at[EVALUATIONS];
};

static struct usage *usage;
static size_t usage_n;
static struct account *accounts;
static size_t accounts_n;
static struct {
    int id;
    int64_t start;
    int half; /* 0: among the earlier courses, 1: the later */
} courses[256];
static int courses_n;
static char feature_name[FEATURES_MAX][64];
static int features_n;
static uint64_t transitions, health_records, events_n;
static const char *const rule_names[RULES] = {"HEALTH_BAND", "SILENCE",      "USAGE_DROP",
                                              "CHURN_RISK",  "risk .75/.50", "risk .85/.70"};
/* A policy opens at on and closes below off, each on two days in a row, and not within a week of its end. */
static const double policy[RULES - RULES_FIRED][2] = {{0.75, 0.50}, {0.85, 0.70}};

static int
by_day(const void *a, const void *b)
{
    const struct usage *x = a;
    const struct usage *y = b;
    return x->day != y->day ? (x->day < y->day ? -1 : 1) : strcmp(x->account, y->account);
}

static int
by_id(const void *a, const void *b)
{
    return strcmp(((const struct account *)a)->id, ((const struct account *)b)->id);
}

static int
course_of(int id, int64_t day)
{
    for (int i = 0; i < courses_n; i++) {
        if (courses[i].id == id) {
            courses[i].start = day < courses[i].start ? day : courses[i].start;
            return i;
        }
    }
    upt_assert(courses_n < 256);
    courses[courses_n].id = id;
    courses[courses_n].start = day;
    return courses_n++;
}

static void
read_header(char *line)
{
    char *rest = NULL;
    int column = 0;
    for (char *w = strtok_r(line, ",\r\n", &rest); w != NULL; w = strtok_r(NULL, ",\r\n", &rest), column++) {
        if (column >= 3 && features_n < FEATURES_MAX) {
            (void)snprintf(feature_name[features_n++], sizeof(feature_name[0]), "%.60s", w);
        }
    }
}

/* The earlier half of the courses by their first day, the larger one if they are odd. */
static void
halve(void)
{
    for (int c = 0; c < courses_n; c++) {
        int before = 0;
        for (int i = 0; i < courses_n; i++) {
            before += courses[i].start < courses[c].start || (courses[i].start == courses[c].start && i < c) ? 1 : 0;
        }
        courses[c].half = before >= (courses_n + 1) / 2 ? 1 : 0;
    }
}

static void
read_events(FILE *file, bool aligned)
{
    char line[512];
    upt_assert(fgets(line, sizeof(line), file) != NULL);
    read_header(line);
    size_t cap = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (usage_n == cap) {
            cap = cap == 0 ? 4096 : 2 * cap;
            usage = realloc(usage, cap * sizeof(*usage));
            upt_assert(usage != NULL);
        }
        struct usage *u = &usage[usage_n++];
        char *rest = NULL;
        const char *course = strtok_r(line, ",\r\n", &rest);
        const char *enrollment = strtok_r(NULL, ",\r\n", &rest);
        const char *day = strtok_r(NULL, ",\r\n", &rest);
        upt_assert(day != NULL && upt_parse_day(day, (uint32_t)strlen(day), &u->day));
        (void)snprintf(u->account, sizeof(u->account), "%.20s-%.20s", course, enrollment);
        u->course = course_of((int)strtol(course, NULL, 10), u->day);
        for (int i = 0; i < features_n; i++) {
            const char *w = strtok_r(NULL, ",\r\n", &rest);
            u->count[i] = w == NULL ? 0 : (int)strtol(w, NULL, 10);
        }
    }
    halve();
    for (size_t i = 0; aligned && i < usage_n; i++) {
        usage[i].day += FIRST_DAY - courses[usage[i].course].start;
    }
    for (int c = 0; aligned && c < courses_n; c++) {
        courses[c].start = FIRST_DAY;
    }
    qsort(usage, usage_n, sizeof(*usage), by_day);
}

static void
read_labels(FILE *file)
{
    char line[256];
    upt_assert(fgets(line, sizeof(line), file) != NULL);
    size_t cap = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (accounts_n == cap) {
            cap = cap == 0 ? 4096 : 2 * cap;
            accounts = realloc(accounts, cap * sizeof(*accounts));
            upt_assert(accounts != NULL);
        }
        struct account *a = &accounts[accounts_n++];
        memset(a, 0, sizeof(*a));
        char *rest = NULL;
        const char *course = strtok_r(line, ",\r\n", &rest);
        const char *enrollment = strtok_r(NULL, ",\r\n", &rest);
        const char *churned = strtok_r(NULL, ",\r\n", &rest);
        upt_assert(churned != NULL);
        (void)snprintf(a->id, sizeof(a->id), "%.20s-%.20s", course, enrollment);
        a->course = course_of((int)strtol(course, NULL, 10), INT64_MAX);
        a->churned = churned[0] == '1';
    }
    qsort(accounts, accounts_n, sizeof(*accounts), by_id);
}

static struct account *
account_of(struct upt_str id)
{
    struct account key;
    (void)snprintf(key.id, sizeof(key.id), "%.*s", (int)id.len, id.p);
    return bsearch(&key, accounts, accounts_n, sizeof(*accounts), by_id);
}

static void
take_alert(void *ctx, const struct upt_alert *alert)
{
    (void)ctx;
    struct account *a = account_of(alert->account);
    transitions++;
    if (a == NULL) {
        return;
    }
    int day = (int)(upt_floor_div(alert->changed_at, UPT_DAY_MS) - courses[a->course].start);
    for (int i = 0; i < RULES_FIRED && day <= 30; i++) {
        if (!upt_str_eq(alert->rule, upt_str_of(rule_names[i]))) {
            continue;
        }
        a->open[i] = alert->action != UPT_RESOLVE && alert->action != UPT_EXPIRE;
        if (day < EARLY) { /* what is open then counts as opened then */
            a->opens[i] = a->open[i] ? 1 : 0;
            a->first_open[i] = a->open[i] ? EARLY : 0;
        } else if (alert->action == UPT_OPEN) {
            a->opens[i]++;
            a->first_open[i] = a->first_open[i] == 0 ? day : a->first_open[i];
        }
    }
}

static void
take_health(void *ctx, const struct upt_health *health)
{
    (void)ctx;
    (void)health;
    health_records++;
}

static void
step_policies(struct account *a, int day, double risk)
{
    for (int i = RULES_FIRED; i < RULES; i++) {
        const double *level = policy[i - RULES_FIRED];
        a->run[i] = (a->open[i] ? risk < level[1] : risk >= level[0]) ? a->run[i] + 1 : 0;
        if (a->run[i] < 2 || (!a->open[i] && a->ended[i] > 0 && day - a->ended[i] < COOL_DOWN)) {
            continue;
        }
        a->run[i] = 0;
        a->open[i] = !a->open[i];
        a->ended[i] = day;
        a->opens[i] += a->open[i] ? 1 : 0;
        a->first_open[i] = a->first_open[i] == 0 ? day : a->first_open[i];
    }
}

static void
evaluate(const struct upt_model *model, struct upt_state *st, int64_t day)
{
    for (size_t i = 0; i < accounts_n; i++) {
        struct account *a = &accounts[i];
        int64_t of_course = day - courses[a->course].start; /* complete days */
        if (of_course >= EARLY && of_course <= 30 && a->early_days >= 2) {
            struct upt_account *acct = upt_state_find(st, upt_str_of(a->id));
            struct upt_eval eval;
            upt_assert(acct != NULL);
            upt_evaluate(model, st, acct, upt_account_ext(acct), &eval);
            step_policies(a, (int)of_course, eval.risk_micro[0] / 1e6);
        }
        for (int k = 0; k < EVALUATIONS; k++) {
            struct upt_account *acct = NULL;
            if (of_course == evaluated_day[k]) {
                acct = upt_state_find(st, upt_str_of(a->id));
            }
            if (acct == NULL) {
                continue;
            }
            struct upt_eval eval;
            upt_evaluate(model, st, acct, upt_account_ext(acct), &eval);
            struct result *r = &a->at[k];
            r->seen = eval.has_key;
            r->hot = eval.act.day - eval.act.last < 3;
            r->raw_health = (double)eval.score_micro / 1e6;
            r->raw_risk = eval.risk_micro[0] / 1e6;
            r->health = eval.has_score ? r->raw_health : (double)NAN;
            r->risk = eval.has_score ? r->raw_risk : (double)NAN;
        }
    }
}

static void
replay(const struct upt_model *model, struct upt_state *st)
{
    int64_t offset = 0;
    int64_t first = usage[0].day;
    int64_t last = usage[usage_n - 1].day;
    size_t at = 0;
    for (int64_t day = first; day <= last + 2; day++) {
        if (day > first) {
            upt_state_wall_tick(st, day * UPT_DAY_MS + 59 * UPT_MINUTE_MS);
            evaluate(model, st, day);
        }
        for (; at < usage_n && usage[at].day == day; at++) {
            int64_t ts = day * UPT_DAY_MS + 12 * UPT_HOUR_MS;
            upt_state_begin(st, offset++, ts);
            struct account *a = account_of(upt_str_of(usage[at].account));
            upt_assert(a != NULL);
            a->early_days += day - courses[a->course].start < EARLY ? 1 : 0;
            for (int f = 0; f < features_n; f++) {
                struct upt_event ev = {.event_id = UPT_STR(""),
                                       .account_id = upt_str_of(usage[at].account),
                                       .feature = upt_str_of(feature_name[f]),
                                       .occurred_at = ts,
                                       .quantity = 1,
                                       .kind = UPT_KIND_USAGE};
                for (int n = 0; n < usage[at].count[f]; n++) {
                    upt_assert(upt_state_judge(st, &ev, ts) == UPT_REASON_NONE);
                    (void)upt_state_apply(st, ev.account_id, &ev);
                    events_n++;
                }
            }
        }
    }
}

struct ranked {
    double risk;
    bool churned;
};

static int
by_risk(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    return x->risk < y->risk ? -1 : x->risk > y->risk;
}

/* what: 0 health, 1 risk; raw: also what is withheld. */
static double
auc(int k, int what, bool raw, bool hot, size_t *ret_n)
{
    struct ranked *v = calloc(accounts_n, sizeof(*v));
    upt_assert(v != NULL);
    size_t n = 0;
    for (size_t i = 0; i < accounts_n; i++) {
        const struct result *r = &accounts[i].at[k];
        double risk = what == 0 ? -(raw ? r->raw_health : r->health) : (raw ? r->raw_risk : r->risk);
        if (r->seen && (!hot || r->hot) && !isnan(risk)) {
            v[n++] = (struct ranked){risk, accounts[i].churned};
        }
    }
    qsort(v, n, sizeof(*v), by_risk);
    double ranks = 0;
    double ones = 0;
    for (size_t i = 0; i < n;) {
        size_t j = i;
        while (j < n && v[j].risk <= v[i].risk) {
            j++;
        }
        for (size_t m = i; m < j; m++) {
            ranks += v[m].churned ? ((double)i + 1 + (double)j) / 2 : 0;
            ones += v[m].churned ? 1 : 0;
        }
        i = j;
    }
    free(v);
    *ret_n = n;
    return (ranks - ones * (ones + 1) / 2) / (ones * ((double)n - ones));
}

static int
by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Noise, over accounts with at least 2 active days by day 8, on days 8 to 30. half −1: of all courses. */
static void
report_rule(int rule, int half)
{
    static const char *const halves[] = {"", ", earlier half", ", later half"};
    double n = 0;
    double opens = 0;
    double reopened = 0;
    double retained = 0;
    double retained_alerted = 0;
    double at_end = 0;
    double right = 0;
    int *lead = calloc(accounts_n, sizeof(*lead));
    upt_assert(lead != NULL);
    size_t leads = 0;
    for (size_t i = 0; i < accounts_n; i++) {
        const struct account *a = &accounts[i];
        if (a->early_days < 2 || (half >= 0 && courses[a->course].half != half)) {
            continue;
        }
        n++;
        opens += a->opens[rule];
        reopened += a->opens[rule] > 1 ? a->opens[rule] - 1 : 0;
        retained += a->churned ? 0 : 1;
        retained_alerted += !a->churned && a->opens[rule] > 0 ? 1 : 0;
        at_end += a->open[rule] ? 1 : 0;
        right += a->open[rule] && a->churned ? 1 : 0;
        if (a->open[rule] && a->churned) {
            lead[leads++] = 30 - a->first_open[rule];
        }
    }
    qsort(lead, leads, sizeof(*lead), by_value);
    printf("%s%s: accounts %.0f, per 1000 opened %.0f, reopened %.0f; retained ever alerted %.1f%%; at day 30 recall "
           "%.3f, "
           "precision %.3f, median lead %d d\n",
           rule_names[rule], halves[half + 1], n, 1e3 * opens / n, 1e3 * reopened / n,
           100 * retained_alerted / retained, right / (n - retained), at_end > 0 ? right / at_end : 0,
           leads > 0 ? lead[leads / 2] : 0);
    free(lead);
}

static void
report(void)
{
    static const char *const names[4] = {"health, raw", "health, published", "churn_risk_30d, raw",
                                         "churn_risk_30d, published"};
    for (int row = 0; row < 4; row++) {
        printf("%-26s", names[row]);
        for (int k = 0; k < EVALUATIONS; k++) {
            size_t all = 0;
            size_t hot = 0;
            double a = auc(k, row / 2, row % 2 == 0, false, &all);
            double b = auc(k, row / 2, row % 2 == 0, true, &hot);
            printf("  day %d %.4f/%.4f (%zu/%zu)", evaluated_day[k], a, b, all, hot);
        }
        printf("\n");
    }
    for (int i = 0; i < RULES; i++) {
        for (int half = -1; half < HALVES; half++) {
            report_rule(i, half);
        }
    }
    printf("transitions %" PRIu64 ", health records %" PRIu64 "\n", transitions, health_records);
}

int
main(int argc, char **argv)
{
    FILE *events = argc >= 3 ? fopen(argv[1], "r") : NULL;
    FILE *labels = argc >= 3 ? fopen(argv[2], "r") : NULL;
    bool aligned = false;
    const char *rules_path = NULL;
    for (int i = 3; i < argc; i++) {
        aligned = aligned || strcmp(argv[i], "aligned") == 0;
        rules_path = strncmp(argv[i], "rules=", 6) == 0 ? argv[i] + 6 : rules_path;
    }
    if (events == NULL || labels == NULL) {
        (void)fprintf(stderr, "use: score_replay EVENTS.csv LABELS.csv [aligned] [rules=FILE]\n");
        return 64;
    }
    read_events(events, aligned);
    read_labels(labels);
    (void)fclose(events);
    (void)fclose(labels);
    struct upt_error err;
    struct upt_model *model = NULL;
    struct upt_rules *rules = NULL;
    struct upt_score *score = NULL;
    struct upt_state *st = NULL;
    struct upt_sink sink = {.alert = take_alert, .health = take_health};
    struct upt_metrics *metrics = aligned_alloc(64, (sizeof(*metrics) + 63) / 64 * 64);
    upt_assert(metrics != NULL);
    memset(metrics, 0, sizeof(*metrics));
    struct upt_state_config config = {.max_future_ms = 5 * UPT_MINUTE_MS,
                                      .dedup_window_ms = 10 * UPT_MINUTE_MS,
                                      .retention_ms = 400 * UPT_DAY_MS,
                                      .adopted_days = 3,
                                      .observer = &upt_score_observer,
                                      .metrics = metrics};
    if (upt_model_load(NULL, &model, &err) != UPT_OK || upt_rules_load(rules_path, &rules, &err) != UPT_OK ||
        upt_score_create(model, rules, "0123456789abcdef", &sink, &score, &err) != UPT_OK) {
        (void)fprintf(stderr, "%s\n", err.msg);
        return 78;
    }
    config.observer_ctx = score;
    upt_assert(upt_state_create(&config, &st, &err) == UPT_OK);
    int64_t start = upt_mono_us();
    replay(model, st);
    int64_t us = upt_mono_us() - start;
    report();
    printf("%" PRIu64 " events in %.1f s\n", events_n, (double)us / 1e6);
    upt_state_destroy(&st);
    upt_score_destroy(&score);
    upt_rules_destroy(&rules);
    upt_model_destroy(&model);
    free(metrics);
    free(usage);
    free(accounts);
    return 0;
}
