/* How soon SILENCE tells that an account has left, at a given rate of false alarms.
 *
 *     bench_silence --events FILE [--model FILE] [--all]
 *
 * FILE: lines account,day after a header line, days as 2026-01-31. An account has left if it has at least 8 active days
 * and its last one is GONE_DAYS or more before the last day of the file. Judged are the accounts of the later half by
 * their first day (--all: all), each gap from the 8th active day on: an alarm in a gap that ended is false, one in the
 * silence of an account that left is right, after so many days. The last silence of an account that may come back yet
 * is left out. An account-year is from the 8th active day to the last.
 *
 * Fixed alarms after 14, 21 and 60 days; the level of P(gone | silent so long) at which the shipped rule has as many
 * false alarms is found by bisection, and its delay stands beside. Delay: mean over those found; missed: no alarm
 * before the end of the file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/score/activity.h"
#include "aggregate/score/score.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define GONE_DAYS 180
#define LEAST_DAYS 8
#define BISECTIONS 24
#define MIN_ACTIVE_DAYS 6 /* the shipped rules' min_active_days of SILENCE */

struct row {
    char account[72];
    int32_t day;
};

/* A silence after an active day. */
struct gap {
    struct upt_activity act;
    int32_t days; /* until it ended, or until the end of the file */
    bool left;
};

struct result {
    double false_alarms, found, missed, delay;
};

static struct row *rows;
static size_t rows_n, rows_cap;
static struct gap *gaps;
static size_t gaps_n, gaps_cap;
static double years;

static int
by_account(const void *a, const void *b)
{
    const struct row *x = a;
    const struct row *y = b;
    int order = strcmp(x->account, y->account);
    return order != 0 ? order : (x->day > y->day) - (x->day < y->day);
}

static int
by_number(const void *a, const void *b)
{
    return *(const int32_t *)a - *(const int32_t *)b;
}

static void
read_rows(FILE *file)
{
    char line[256];
    for (bool header = true; fgets(line, sizeof(line), file) != NULL; header = false) {
        if (header) {
            continue;
        }
        char *comma = strchr(line, ',');
        int64_t day = 0;
        if (comma == NULL || comma - line > 71 ||
            !upt_parse_day(comma + 1, (uint32_t)strcspn(comma + 1, ",\r\n"), &day)) {
            (void)fprintf(stderr, "bench_silence: not account,day: %s", line);
            exit(65);
        }
        if (rows_n == rows_cap) {
            rows_cap = rows_cap == 0 ? 4096 : 2 * rows_cap;
            rows = realloc(rows, rows_cap * sizeof(*rows));
            upt_assert(rows != NULL);
        }
        (void)snprintf(rows[rows_n].account, sizeof(rows[0].account), "%.*s", (int)(comma - line), line);
        rows[rows_n++].day = (int32_t)day;
    }
    qsort(rows, rows_n, sizeof(*rows), by_account);
    size_t kept = 0;
    for (size_t i = 0; i < rows_n; i++) {
        if (kept == 0 || by_account(&rows[i], &rows[kept - 1]) != 0) {
            rows[kept++] = rows[i];
        }
    }
    rows_n = kept;
}

/* The gaps of one account: rows[from] to rows[upto − 1]. */
static void
take_account(const struct upt_model *model, size_t from, size_t upto, int32_t end)
{
    struct upt_score_ext ext;
    upt_ext_init(&ext);
    for (size_t i = from; i < upto; i++) {
        (void)upt_activity_mark(&ext, rows[i].day);
        bool last = i + 1 == upto;
        int32_t days = last ? end - rows[i].day : rows[i + 1].day - rows[i].day;
        if (i - from + 1 < LEAST_DAYS || (last && days < GONE_DAYS)) {
            continue;
        }
        if (gaps_n == gaps_cap) {
            gaps_cap = gaps_cap == 0 ? 4096 : 2 * gaps_cap;
            gaps = realloc(gaps, gaps_cap * sizeof(*gaps));
            upt_assert(gaps != NULL);
        }
        struct gap *gap = &gaps[gaps_n++];
        gap->days = days;
        gap->left = last;
        upt_activity_read(model, &ext, rows[i].day + 1, &gap->act);
    }
    if (upto - from >= LEAST_DAYS) {
        years += (rows[upto - 1].day - rows[from + LEAST_DAYS - 1].day) / 365.25;
    }
}

static void
take_accounts(const struct upt_model *model, bool all)
{
    int32_t *starts = calloc(rows_n + 1, sizeof(*starts));
    upt_assert(starts != NULL);
    size_t n = 0;
    int32_t end = 0;
    for (size_t i = 0; i < rows_n; i++) {
        end = rows[i].day > end ? rows[i].day : end;
        if (i == 0 || strcmp(rows[i].account, rows[i - 1].account) != 0) {
            size_t upto = i;
            while (upto < rows_n && strcmp(rows[upto].account, rows[i].account) == 0) {
                upto++;
            }
            if (upto - i >= LEAST_DAYS) {
                starts[n++] = rows[i].day;
            }
        }
    }
    qsort(starts, n, sizeof(*starts), by_number);
    int32_t middle = all || n == 0 ? INT32_MIN : starts[n / 2];
    for (size_t i = 0; i < rows_n;) {
        size_t upto = i;
        while (upto < rows_n && strcmp(rows[upto].account, rows[i].account) == 0) {
            upto++;
        }
        if (rows[i].day >= middle) {
            take_account(model, i, upto, end);
        }
        i = upto;
    }
    free(starts);
}

/* fixed > 0: an alarm after so many days; else at a level of the rule. */
static struct result
judge(const struct upt_model *model, double fixed, double level)
{
    struct result r = {0};
    for (size_t i = 0; i < gaps_n; i++) {
        bool judged = gaps[i].act.days_ever >= MIN_ACTIVE_DAYS;
        int64_t minutes = fixed > 0 ? -2 : judged ? upt_silence_minutes(model, &gaps[i].act, level) : -1;
        double days = minutes == -2 ? fixed : minutes < 0 ? INFINITY : (double)minutes / 1440;
        bool raised = days < gaps[i].days;
        if (!gaps[i].left) {
            r.false_alarms += raised ? 1 : 0;
        } else {
            r.found += raised ? 1 : 0;
            r.missed += raised ? 0 : 1;
            r.delay += raised ? days : 0;
        }
    }
    r.delay = r.found > 0 ? r.delay / r.found : (double)NAN;
    return r;
}

int
main(int argc, char **argv)
{
    const char *events = NULL;
    const char *path = NULL;
    bool all = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--events") == 0 && i + 1 < argc) {
            events = argv[++i];
        } else if (strcmp(argv[i], "--model") == 0 && i + 1 < argc) {
            path = argv[++i];
        } else {
            all = all || strcmp(argv[i], "--all") == 0;
        }
    }
    FILE *file = events == NULL ? NULL : fopen(events, "r");
    struct upt_model *model = NULL;
    struct upt_error err;
    if (file == NULL || upt_model_load(path, &model, &err) != UPT_OK) {
        (void)fprintf(stderr, "use: bench_silence --events FILE [--model FILE] [--all]%s%s\n", file == NULL ? "" : "\n",
                      file == NULL ? "" : err.msg);
        return 64;
    }
    read_rows(file);
    (void)fclose(file);
    take_accounts(model, all);
    struct result any = judge(model, 1e-9, 0);
    if (any.found + any.missed == 0 || years <= 0) {
        (void)fprintf(
            stderr,
            "bench_silence: nothing to judge; wanted: lines account,day after a header line, with accounts of "
            "%d active days and more that left %d days before the last one\n",
            LEAST_DAYS, GONE_DAYS);
        return 65;
    }
    printf("%zu gaps, %.0f accounts left, %.0f account-years\n", gaps_n, any.found + any.missed, years);
    const double fixed[] = {14, 21, 60};
    for (int i = 0; i < 3; i++) {
        struct result f = judge(model, fixed[i], 0);
        double low = 0;
        double high = 1;
        for (int round = 0; round < BISECTIONS; round++) {
            double level = (low + high) / 2;
            bool more = judge(model, 0, level).false_alarms > f.false_alarms;
            low = more ? level : low;
            high = more ? high : level;
        }
        struct result r = judge(model, 0, high);
        char delay[32] = "-"; /* nobody found */
        if (r.found > 0) {
            (void)snprintf(delay, sizeof(delay), "%.1f d", r.delay);
        }
        printf("fixed %.0f d: %.2f false alarms an account-year, delay %.0f d; rule at %.3f: %.2f, delay %s, missed "
               "%.1f%%\n",
               fixed[i], f.false_alarms / years, f.delay, high, r.false_alarms / years, delay,
               100 * r.missed / (r.found + r.missed));
    }
    upt_model_destroy(&model);
    free(rows);
    free(gaps);
    return 0;
}
