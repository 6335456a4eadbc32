/* Prints an explanation. Numbers and sentences come from aggregate/score/explain.c; only the chart is made here: one
 * column a day, eight heights, use above what is usual for the account, so that a weekday pattern and its end are seen
 * at one glance. No state. */
#include "ingest/explained.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/score/score.h"
#include "ingest/topic_read.h"
#include "uptake/terminal.h"
#include "uptake/time.h"

static void
print_string(const char *before, const json_t *object, const char *name, const char *after)
{
    struct upt_str text = upt_json_text(object, name);
    if (text.p != NULL) {
        fputs(before, stdout);
        upt_print_text(stdout, text.p, text.len);
        fputs(after, stdout);
    }
}

void
upt_print_minute(const char *before, int64_t ms)
{
    char buf[32];
    upt_format_time(ms, buf);
    printf("%s%.10s %.5s UTC", before, buf, buf + 11);
}

/* What was decided of it last, once a day, and is in the row; false: nothing, or the same as is explained. */
static bool
decided(const json_t *row, const char *field, double now, double times, char ret[24])
{
    char here[24];
    const char *text = json_string_value(json_object_get(row, field));
    snprintf(ret, 24, "%.1f", text != NULL ? times * strtod(text, NULL) : 0);
    snprintf(here, sizeof(here), "%.1f", times * now);
    return text != NULL && strcmp(ret, here) != 0;
}

static void
print_horizon(const json_t *first, const json_t *row)
{
    char field[40], was[24];
    long long days = json_integer_value(json_object_get(first, "horizon_days"));
    double now = json_number_value(json_object_get(first, "probability"));
    snprintf(field, sizeof(field), "churn_risk_%lldd", days);
    if (decided(row, field, now, 100, was)) {
        printf(" within %lld days, if decided at the last checkpoint: %.1f%% (last decided: %s%%)", days, 100 * now,
               was);
    } else {
        printf(" within %lld days: %.0f%%", days, 100 * now);
    }
}

static void
print_risk(const json_t *risk, const json_t *row)
{
    size_t i;
    const json_t *probabilities = json_object_get(risk, "probabilities");
    const json_t *factors = json_object_get(risk, "factors");
    const json_t *first = json_array_get(probabilities, 0);
    if (json_array_size(factors) == 0) {
        return;
    }
    printf("\nRisk of churn");
    if (first != NULL) {
        print_horizon(first, row);
    }
    printf("; what raises it (+) and lowers it (-), in log-odds\n");
    printf("  %+6.2f  to begin with\n", json_number_value(json_object_get(risk, "base")));
    json_t *factor;
    json_array_foreach(factors, i, factor)
    {
        printf("  %+6.2f  ", json_number_value(json_object_get(factor, "log_odds")));
        print_string("", factor, "text", "\n");
    }
    print_string("  ", risk, "change", "\n");
}

/* ---- score ---- */

/* What a part is and its value. Records in Kafka have no sentences: of signals they are made here, of parts of the
 * score the program's name stands, with spaces. */
static void
print_named(const json_t *part)
{
    char text[120];
    const char *name = json_string_value(json_object_get(part, "name"));
    const json_t *value = json_object_get(part, "value");
    if (json_is_string(json_object_get(part, "text"))) {
        print_string("", part, "text", "\n");
        return;
    }
    if (name != NULL && json_is_number(value) &&
        upt_signal_say(name, upt_json_text(part, "unit"), json_number_value(value), text, sizeof(text))) {
        printf("%s\n", text);
        return;
    }
    for (const char *p = name; p != NULL && *p != '\0'; p++) {
        upt_print_text(stdout, *p == '_' ? " " : p, 1);
    }
    if (json_is_number(value)) {
        printf(": %.4g", json_number_value(value));
    }
    print_string(" ", part, "unit", "");
    printf("\n");
}

static bool
has_status(const json_t *part, const char *status)
{
    const char *is = json_string_value(json_object_get(part, "status"));
    return is != NULL && strcmp(is, status) == 0;
}

void
upt_explained_print_score(const json_t *health, const json_t *row)
{
    char was[24];
    size_t i;
    size_t missing = 0;
    json_t *part;
    const json_t *parts = json_object_get(health, "components");
    const json_t *slope = json_object_get(health, "slope_per_week");
    double score = json_number_value(json_object_get(health, "score"));
    bool any = false;
    json_array_foreach(parts, i, part)
    {
        if (json_number_value(json_object_get(part, "weight")) > 0) {
            if (!any && decided(row, "health", score, 1, was)) {
                printf(
                    "\nScore, if decided at the last checkpoint: %.1f (last decided: %s); points against the mean of "
                    "its cohort\n",
                    score, was);
            } else if (!any) {
                printf("\nScore, points against the mean of its cohort\n");
            }
            printf("  %+6.2f  ", json_number_value(json_object_get(part, "points")));
            print_named(part);
            any = true;
        }
    }
    json_array_foreach(parts, i, part)
    {
        if (any && has_status(part, "MISSING")) {
            print_string(missing++ > 0 ? ", " : "  nothing is known of: ", part, "name", "");
        }
    }
    printf("%s", missing > 0 ? "\n" : "");
    if (any && json_is_number(slope)) {
        printf("  over 28 days %+.1f points a week\n", json_number_value(slope));
    }
}

void
upt_explained_print_signals(const json_t *health)
{
    size_t i;
    json_t *part;
    bool any = false;
    json_array_foreach(json_object_get(health, "components"), i, part)
    {
        if (json_number_value(json_object_get(part, "weight")) <= 0 && has_status(part, "FRESH")) {
            printf("%s  ", any ? "" : "\nAlso known\n");
            print_named(part);
            any = true;
        }
    }
}

/* ---- use ---- */

void
upt_explained_print_meters(const json_t *explained)
{
    size_t i;
    json_t *meter;
    const json_t *meters = json_object_get(explained, "meters");
    printf("%s",
           json_array_size(meters) > 0 ? "\nMeters, units of the last 30 days and those that it is entitled to\n" : "");
    json_array_foreach(meters, i, meter)
    {
        print_string("  ", meter, "name", "");
        printf(": %.10g of %.10g, %.0f%%", json_number_value(json_object_get(meter, "units")),
               json_number_value(json_object_get(meter, "entitled")),
               floor(100 * json_number_value(json_object_get(meter, "share")) + 1e-6));
        print_string(" (counted since ", meter, "since", ")\n");
    }
}

/* One row of a chart: a column a day, full height at `most`. */
static void
print_row(const char *name, const json_t *days, const char *field, double most)
{
    static const char *const heights[] = {"·", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    size_t i;
    json_t *day;
    printf("  %-6s  ", name);
    json_array_foreach(days, i, day)
    {
        const json_t *value = json_object_get(day, field);
        double v = json_number_value(value);
        int height = most > 0 && v > 0 ? (int)ceil(8 * v / most) : 0;
        fputs(!json_is_number(value) ? " " : heights[height > 8 ? 8 : height], stdout);
    }
    printf("\n");
}

static void
print_usage(const json_t *days)
{
    size_t i;
    json_t *day;
    double most = 0;
    double usual = 0;
    bool known = false;
    size_t n = json_array_size(days);
    json_array_foreach(days, i, day)
    {
        most = fmax(most, json_number_value(json_object_get(day, "events")));
        usual = fmax(usual, json_number_value(json_object_get(day, "expected")));
        known = known || json_is_number(json_object_get(day, "expected"));
    }
    if (n == 0) {
        return;
    }
    printf("\nUse, %zu days to ", n);
    print_string("", json_array_get(days, n - 1), "day", "");
    printf(", most %.0f events a day%s\n", most, known ? "; what is usual for them" : "");
    print_row("use", days, "events", fmax(most, usual));
    if (known) {
        print_row("usual", days, "expected", fmax(most, usual));
    }
}

void
upt_explained_print(const json_t *explained, const json_t *row)
{
    if (explained == NULL) {
        return;
    }
    print_risk(json_object_get(explained, "risk"), row);
    print_usage(json_object_get(explained, "usage"));
    upt_print_minute("  (as of the last checkpoint, ", json_integer_value(json_object_get(explained, "as_of")));
    printf(")\n");
}

void
upt_explained_print_control(const json_t *explained, const char *alert_id)
{
    size_t i;
    json_t *alert;
    json_array_foreach(json_object_get(explained, "alerts"), i, alert)
    {
        const char *id = json_string_value(json_object_get(alert, "alert_id"));
        const json_t *until = json_object_get(alert, "snoozed_until");
        if (id == NULL || strcmp(id, alert_id) != 0) {
            continue;
        }
        printf("%s", json_is_true(json_object_get(alert, "acknowledged")) ? ", acknowledged" : "");
        if (json_is_integer(until)) {
            upt_print_minute(", snoozed until ", json_integer_value(until));
        }
    }
}

void
upt_explained_print_held_back(const json_t *explained)
{
    size_t i;
    json_t *held;
    const json_t *list = json_object_get(explained, "held_back");
    if (json_array_size(list) > 0) {
        printf("\nHeld back, so as not to pester: %zu\n", json_array_size(list));
    }
    json_array_foreach(list, i, held)
    {
        print_string("  ", held, "rule", "");
        print_string(" (", held, "subject", ")");
        print_string(", ", held, "severity", "");
        upt_print_minute(", since ", json_integer_value(json_object_get(held, "since")));
        print_string("\n    ", held, "why", "");
        print_string("\n    suggested: ", held, "suggested_play", "");
        printf("\n");
    }
}
