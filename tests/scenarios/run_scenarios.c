/* Plays the scenarios of a file and compares the alerts with those that the file expects: the file is written for
 * people who know customers, not programs. README.md has its words.
 *
 * The events run through the real state and score (the harness of the unit tests, which checks every record that comes
 * out: sums of points and factors, revisions, ends). Every fifth day the account is stored and restored, so that what
 * is expected also holds across a checkpoint. A test a scenario. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"

#define ITEMS_MAX 200000
#define EXPECTS_MAX 200
#define SCENARIOS_MAX 40
#define LINE_MAX_BYTES 400
#define RESTART_EVERY 5

struct item {
    int64_t at;
    int seq;
    char account[48], what[120];
};

struct expect {
    int64_t from, to; /* ms; to: exclusive. One minute apart: an exact time */
    char account[48], rule[24], subject[140], says[120], play[120], holds[120];
    int action, severity; /* −1: any */
    int line;
    bool met;
};

struct scenario {
    const char *file;
    char title[200], watch[400], account[48], segments[1000];
    int line;
    struct item *items;
    int items_n;
    struct expect expect[EXPECTS_MAX];
    int expects_n;
    int64_t end;
};

static struct scenario *scenarios[SCENARIOS_MAX];
static int scenarios_n;

static void
bad(const struct scenario *s, int line, const char *says)
{
    (void)fprintf(stderr, "%s:%d: %s\n", s->file, line, says);
    exit(64);
}

/* ---- reading ---- */

static int64_t
day_of(const struct scenario *s, int line, const char *text)
{
    int64_t day = 0;
    if (text == NULL || !upt_parse_day(text, (uint32_t)strlen(text), &day)) {
        bad(s, line, "allowed: a day such as 2025-01-31");
    }
    return day;
}

/* "09:30" in minutes; −1: it is none. */
static int
minutes_of(const char *text)
{
    int h = 0;
    int m = 0;
    char rest = 0;
    if (text == NULL || strlen(text) != 5 || sscanf(text, "%2d:%2d%c", &h, &m, &rest) != 2 || h > 23 || m > 59) {
        return -1;
    }
    return h * 60 + m;
}

/* Adds WHAT for each account that a name such as `others*30` stands for. */
static void
add(struct scenario *s, int64_t day, int minutes, const char *what, int line)
{
    char name[48];
    (void)snprintf(name, sizeof(name), "%s", s->account);
    char *star = strchr(name, '*');
    int n = star == NULL ? 1 : (int)strtol(star + 1, NULL, 10);
    if (star != NULL) {
        *star = '\0';
    }
    for (int i = 0; i < n; i++) {
        if (s->items_n == ITEMS_MAX) {
            bad(s, line, "too many events");
        }
        struct item *item = &s->items[s->items_n];
        *item = (struct item){.at = day * UPT_DAY_MS + minutes * UPT_MINUTE_MS, .seq = s->items_n};
        if (star == NULL) {
            (void)snprintf(item->account, sizeof(item->account), "%s", name);
        } else {
            (void)snprintf(item->account, sizeof(item->account), "%.30s-%d", name, i + 1);
        }
        (void)snprintf(item->what, sizeof(item->what), "%s", what);
        s->items_n++;
    }
}

/* "daily", "weekdays", or names such as "Mon,Thu". Monday is 0. */
static bool
on_day(const struct scenario *s, int line, const char *days, int64_t day)
{
    static const char *const names[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    int weekday = (int)((day + 3) % 7);
    if (strcmp(days, "daily") == 0) {
        return true;
    }
    if (strcmp(days, "weekdays") == 0) {
        return weekday < 5;
    }
    bool any = false;
    for (int i = 0; i < 7; i++) {
        any = any || strstr(days, names[i]) != NULL;
    }
    if (!any) {
        bad(s, line, "allowed: daily, weekdays, or days such as Mon,Thu");
    }
    return strstr(days, names[weekday]) != NULL;
}

/* every DAYS [HH:MM] from DAY to DAY WHAT */
static void
read_every(struct scenario *s, char *rest, int line)
{
    char days[40], a[16], b[16], c[16], d[16];
    int used = 0;
    int minutes = 12 * 60;
    if (sscanf(rest, "%39s %15s %n", days, a, &used) != 2) {
        bad(s, line, "allowed: every DAYS [HH:MM] from DAY to DAY WHAT");
    }
    if (minutes_of(a) >= 0) {
        minutes = minutes_of(a);
        rest += used;
    } else {
        used = 0;
        (void)sscanf(rest, "%39s %n", days, &used);
        rest += used;
    }
    used = 0;
    if (sscanf(rest, "%15s %15s %15s %15s %n", a, b, c, d, &used) != 4 || strcmp(a, "from") != 0 ||
        strcmp(c, "to") != 0) {
        bad(s, line, "allowed: every DAYS [HH:MM] from DAY to DAY WHAT");
    }
    int64_t from = day_of(s, line, b);
    int64_t to = day_of(s, line, d);
    for (int64_t day = from; day <= to; day++) {
        if (on_day(s, line, days, day)) {
            add(s, day, minutes, rest + used, line);
        }
    }
}

static int
name_in(const char *const *names, int n, const char *text)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], text) == 0) {
            return i;
        }
    }
    return -1;
}

/* What stands between the next two quotation marks. */
static void
read_quoted(char **save, char *buf, size_t cap)
{
    char *text = strtok_r(NULL, "\"", save);
    (void)snprintf(buf, cap, "%s", text == NULL ? "" : text);
}

/* expect DAY[..DAY] [HH:MM] ACTION RULE [SEVERITY] [about "SUBJECT"] [says "PART"] [play "PART"] [holds "PART"] [of
 * ACCOUNT]
 */
static void
read_expect(struct scenario *s, char *rest, int line)
{
    if (s->expects_n == EXPECTS_MAX) {
        bad(s, line, "too many expectations");
    }
    struct expect *e = &s->expect[s->expects_n++];
    *e = (struct expect){.severity = -1, .action = -1, .line = line};
    (void)snprintf(e->account, sizeof(e->account), "%s", s->account);
    char *save = NULL;
    char *word = strtok_r(rest, " ", &save);
    char *last = word == NULL ? NULL : strstr(word, "..");
    if (last != NULL) {
        *last = '\0';
        last += 2;
    }
    e->from = day_of(s, line, word) * UPT_DAY_MS;
    e->to = (last != NULL ? day_of(s, line, last) * UPT_DAY_MS : e->from) + UPT_DAY_MS;
    word = strtok_r(NULL, " ", &save);
    if (minutes_of(word) >= 0) {
        e->from += minutes_of(word) * UPT_MINUTE_MS;
        e->to = e->from + UPT_MINUTE_MS;
        word = strtok_r(NULL, " ", &save);
    }
    e->action = word == NULL ? -1 : name_in(upt_action_names, 6, word);
    word = strtok_r(NULL, " ", &save);
    int rule = word == NULL ? -1 : name_in(upt_rule_names, UPT_RULES, word);
    if (e->action < 0 || rule < 0) {
        bad(s, line, "allowed: expect DAY[..DAY] [HH:MM] ACTION RULE [SEVERITY] [about SUBJECT] [of ACCOUNT]");
    }
    (void)snprintf(e->rule, sizeof(e->rule), "%s", upt_rule_names[rule]);
    while ((word = strtok_r(NULL, " ", &save)) != NULL) {
        if (name_in(upt_severity_names, 4, word) >= 0) {
            e->severity = name_in(upt_severity_names, 4, word);
        } else if (strcmp(word, "about") == 0) {
            read_quoted(&save, e->subject, sizeof(e->subject));
        } else if (strcmp(word, "says") == 0) {
            read_quoted(&save, e->says, sizeof(e->says));
        } else if (strcmp(word, "play") == 0) {
            read_quoted(&save, e->play, sizeof(e->play));
        } else if (strcmp(word, "holds") == 0) {
            read_quoted(&save, e->holds, sizeof(e->holds));
        } else if (strcmp(word, "of") == 0) {
            char *account = strtok_r(NULL, " ", &save);
            (void)snprintf(e->account, sizeof(e->account), "%s", account == NULL ? "" : account);
        } else {
            bad(s, line,
                "allowed after the rule: a severity, about \"SUBJECT\", says, play or holds \"PART\", of ACCOUNT");
        }
    }
}

/* segment NAME CONDITION, as in the rules file */
static void
read_segment(struct scenario *s, const char *rest, int line)
{
    char name[64];
    int used = 0;
    size_t len = strlen(s->segments);
    if (sscanf(rest, "%63s %n", name, &used) != 1 || rest[used] != '{') {
        bad(s, line, "allowed: segment NAME {CONDITION}");
    }
    int more = snprintf(s->segments + len, sizeof(s->segments) - len, "%s  %s: {when: %s}\n",
                        len == 0 ? "segments:\n" : "", name, rest + used);
    if (more < 0 || (size_t)more >= sizeof(s->segments) - len) {
        bad(s, line, "too many segments");
    }
}

static struct scenario *
new_scenario(const char *file, const char *title, int line)
{
    if (scenarios_n == SCENARIOS_MAX) {
        (void)fprintf(stderr, "%s: too many scenarios\n", file);
        exit(64);
    }
    struct scenario *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        exit(71);
    }
    s->items = calloc(ITEMS_MAX, sizeof(*s->items));
    if (s->items == NULL) {
        exit(71);
    }
    s->file = file;
    s->line = line;
    (void)snprintf(s->title, sizeof(s->title), "%.199s", title);
    (void)snprintf(s->account, sizeof(s->account), "acme");
    scenarios[scenarios_n++] = s;
    return s;
}

static void
read_line(struct scenario *s, char *text, int line)
{
    int used = 0;
    char first[20], second[20];
    if (sscanf(text, "%19s %n", first, &used) != 1) {
        return;
    }
    char *rest = text + used;
    if (strcmp(first, "watch") == 0) {
        (void)snprintf(s->watch, sizeof(s->watch), "%s", rest);
    } else if (strcmp(first, "account") == 0) {
        (void)snprintf(s->account, sizeof(s->account), "%s", rest);
    } else if (strcmp(first, "segment") == 0) {
        read_segment(s, rest, line);
    } else if (strcmp(first, "every") == 0) {
        read_every(s, rest, line);
    } else if (strcmp(first, "expect") == 0) {
        read_expect(s, rest, line);
    } else if (strcmp(first, "until") == 0) {
        s->end = (day_of(s, line, rest) + 1) * UPT_DAY_MS;
    } else if (isdigit((unsigned char)first[0])) {
        int64_t day = day_of(s, line, first);
        int minutes = 12 * 60;
        used = 0;
        if (sscanf(rest, "%19s %n", second, &used) == 1 && minutes_of(second) >= 0) {
            minutes = minutes_of(second);
            rest += used;
        }
        add(s, day, minutes, rest, line);
    } else {
        bad(s, line, "allowed: scenario, watch, account, segment, every, expect, until, or a day");
    }
}

static void
read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char text[LINE_MAX_BYTES];
    struct scenario *s = NULL;
    if (f == NULL) {
        (void)fprintf(stderr, "%s: cannot be read\n", path);
        exit(66);
    }
    for (int line = 1; fgets(text, sizeof(text), f) != NULL; line++) {
        text[strcspn(text, "#\n")] = '\0';
        for (size_t len = strlen(text); len > 0 && text[len - 1] == ' ';) {
            text[--len] = '\0';
        }
        if (strncmp(text, "scenario ", 9) == 0) {
            s = new_scenario(path, text + 9, line);
        } else if (s != NULL) {
            read_line(s, text, line);
        } else if (text[0] != '\0') {
            (void)fprintf(stderr, "%s:%d: begin with `scenario TITLE`\n", path, line);
            exit(64);
        }
    }
    (void)fclose(f);
}

/* ---- playing ---- */

/* An Avro map of up to two entries. Lengths below 64. */
static struct upt_props
props(char *raw, const char *name, const char *value)
{
    size_t name_len = strlen(name);
    size_t value_len = strlen(value);
    assert_true(name_len < 64 && value_len < 100);
    size_t len = 0;
    raw[len++] = 2;
    raw[len++] = (char)(name_len * 2);
    memcpy(raw + len, name, name_len);
    len += name_len;
    if (value_len >= 64) {
        raw[len++] = (char)(unsigned char)((value_len * 2 & 0x7f) | 0x80);
        raw[len++] = (char)(value_len * 2 >> 7);
    } else {
        raw[len++] = (char)(value_len * 2);
    }
    memcpy(raw + len, value, value_len);
    len += value_len;
    raw[len++] = 0;
    return (struct upt_props){.raw = {raw, (uint32_t)len}};
}

/* Words after the first: NAME [x N] [by USER] and what the kind adds. */
struct words {
    char verb[20], name[100], user[60], extra[60];
    int times;
};

static struct words
split(const char *what)
{
    struct words w = {.times = 1};
    char text[120];
    (void)snprintf(text, sizeof(text), "%s", what);
    char *save = NULL;
    char *word = strtok_r(text, " ", &save);
    (void)snprintf(w.verb, sizeof(w.verb), "%.19s", word == NULL ? "" : word);
    if (strcmp(w.verb, "profile") == 0) {
        (void)snprintf(w.name, sizeof(w.name), "%.99s", save == NULL ? "" : save);
        return w;
    }
    while ((word = strtok_r(NULL, " ", &save)) != NULL) {
        if (strcmp(word, "by") == 0) {
            word = strtok_r(NULL, " ", &save);
            (void)snprintf(w.user, sizeof(w.user), "%.59s", word == NULL ? "" : word);
        } else if (word[0] == 'x' && isdigit((unsigned char)word[1])) {
            w.times = (int)strtol(word + 1, NULL, 10);
        } else if (w.name[0] == '\0') {
            (void)snprintf(w.name, sizeof(w.name), "%.99s", word);
        } else {
            (void)snprintf(w.extra, sizeof(w.extra), "%.59s", word);
        }
    }
    return w;
}

static const struct {
    const char *verb;
    upt_kind kind;
} verbs[] = {
    {"use", UPT_KIND_USAGE},           {"login", UPT_KIND_LOGIN},       {"signup", UPT_KIND_SIGNUP},
    {"remove", UPT_KIND_USER_REMOVED}, {"seats", UPT_KIND_SEATS},       {"step", UPT_KIND_ONBOARDING_STEP},
    {"value", UPT_KIND_VALUE},         {"training", UPT_KIND_TRAINING}, {"ticket", UPT_KIND_TICKET_OPENED},
    {"survey", UPT_KIND_SURVEY},       {"contact", UPT_KIND_CONTACT},   {"profile", UPT_KIND_PROFILE},
    {"release", UPT_KIND_RELEASE},     {"renewed", UPT_KIND_RENEWED},   {"churned", UPT_KIND_CHURNED},
};

static bool
make_event(const struct words *w, struct upt_event *ev, char *raw)
{
    size_t i = 0;
    size_t n = sizeof(verbs) / sizeof(verbs[0]);
    while (i < n && strcmp(verbs[i].verb, w->verb) != 0) {
        i++;
    }
    if (i == n) {
        return false;
    }
    ev->kind = verbs[i].kind;
    ev->feature = w->name[0] == '\0' ? UPT_STR_NULL : upt_str_of(w->name);
    ev->user_id = w->user[0] == '\0' ? UPT_STR_NULL : upt_str_of(w->user);
    ev->quantity = 1;
    switch (ev->kind) {
    case UPT_KIND_SURVEY:
        ev->quantity = strtod(w->extra, NULL);
        break;
    case UPT_KIND_SEATS:
        ev->quantity = strtod(w->name, NULL);
        ev->feature = UPT_STR_NULL;
        break;
    case UPT_KIND_USER_REMOVED:
        ev->user_id = upt_str_of(w->name);
        ev->feature = UPT_STR_NULL;
        break;
    case UPT_KIND_TICKET_OPENED:
        ev->kind = strcmp(w->name, "closed") == 0 ? UPT_KIND_TICKET_CLOSED : UPT_KIND_TICKET_OPENED;
        ev->has_duration = strncmp(w->extra, "after", 5) == 0;
        ev->duration_ms = ev->has_duration ? strtol(w->extra + 5, NULL, 10) * UPT_DAY_MS : 0;
        break;
    case UPT_KIND_CONTACT:
        ev->properties = strcmp(w->name, "automatic") == 0 ? props(raw, "human", "false") : ev->properties;
        break;
    case UPT_KIND_VALUE:
        ev->properties = strcmp(w->extra, "exceeded") == 0 ? props(raw, "level", "exceeded") : ev->properties;
        break;
    default:
        break;
    }
    return true;
}

static void
play(struct world *w, const struct item *item)
{
    char raw[240];
    struct words words = split(item->what);
    struct upt_event ev = {.event_id = UPT_STR(""), .account_id = upt_str_of(item->account), .occurred_at = item->at};
    if (!make_event(&words, &ev, raw)) {
        fail_msg("not known: %s", item->what);
    }
    if (ev.kind == UPT_KIND_PROFILE) {
        char *equals = strchr(words.name, '=');
        assert_non_null(equals);
        *equals = '\0';
        ev.feature = UPT_STR_NULL;
        ev.properties = props(raw, words.name, equals + 1);
    }
    for (int i = 0; i < words.times; i++) {
        int64_t clock = upt_state_clock(w->st);
        upt_state_begin(w->st, w->offset++, clock != UPT_NO_CLOCK && clock > item->at ? clock : item->at);
        assert_int_equal(upt_state_judge(w->st, &ev, upt_state_clock(w->st)), UPT_REASON_NONE);
        assert_true(upt_state_apply(w->st, ev.account_id, &ev));
    }
}

static int
by_time(const void *a, const void *b)
{
    const struct item *x = a;
    const struct item *y = b;
    return x->at != y->at ? (x->at < y->at ? -1 : 1) : x->seq - y->seq;
}

/* ---- comparing ---- */

static bool
watched(const struct scenario *s, const struct kept_alert *alert)
{
    if (alert->a.action == UPT_UPDATE) {
        return false;
    }
    const char *at = s->watch[0] == '\0' ? NULL : strstr(s->watch, alert->rule);
    return s->watch[0] == '\0' || (at != NULL && (at[strlen(alert->rule)] == ' ' || at[strlen(alert->rule)] == '\0'));
}

static void
say(const struct kept_alert *alert, char *buf, size_t cap)
{
    char at[32];
    upt_format_time(alert->a.changed_at, at);
    (void)snprintf(buf, cap, "%.10s %.5s %s %s %s%s%s%s of %s %s", at, at + 11, upt_action_names[alert->a.action],
                   alert->rule, upt_severity_names[alert->a.severity], alert->subject[0] == '\0' ? "" : " about \"",
                   alert->subject, alert->subject[0] == '\0' ? "" : "\"", alert->account, world_held_back(alert));
}

/* Decided once a day, at the account's own minute: an expectation that names the day alone means that minute. */
static bool
at_its_minute(const struct kept_alert *alert)
{
    uint64_t minute = upt_hash(alert->account, strlen(alert->account)) % 60;
    bool daily = strcmp(alert->rule, "SILENCE") != 0 && strcmp(alert->rule, "DATA_QUALITY") != 0 &&
                 strncmp(alert->rule, "SEGMENT_", 8) != 0;
    return !daily || alert->a.changed_at % UPT_DAY_MS == (int64_t)minute * UPT_MINUTE_MS;
}

static bool
meets(const struct expect *e, const struct kept_alert *alert)
{
    const char *held = strstr(world_held_back(alert), "): ");
    char wanted[sizeof(e->holds) + 4];
    (void)snprintf(wanted, sizeof(wanted), "): %s.", e->holds);
    if (strcmp(held == NULL ? "" : held, e->holds[0] == '\0' ? "" : wanted) != 0) {
        return false;
    }
    return !e->met && (int)alert->a.action == e->action && strcmp(alert->rule, e->rule) == 0 &&
           strcmp(alert->account, e->account) == 0 && alert->a.changed_at >= e->from && alert->a.changed_at < e->to &&
           (e->severity < 0 || (int)alert->a.severity == e->severity) &&
           (e->subject[0] == '\0' || strcmp(alert->subject, e->subject) == 0) &&
           strstr(alert->counterfactual, e->says) != NULL && strstr(alert->play, e->play) != NULL &&
           at_its_minute(alert);
}

static void
compare(struct scenario *s, const struct world *w)
{
    int wrong = 0;
    for (int i = 0; i < w->alerts_n; i++) {
        const struct kept_alert *alert = &w->alert[i];
        int k = 0;
        while (watched(s, alert) && k < s->expects_n && !meets(&s->expect[k], alert)) {
            k++;
        }
        if (watched(s, alert) && k == s->expects_n) {
            char text[300];
            say(alert, text, sizeof(text));
            print_error("%s:%d: %s: not expected: %s\n", s->file, s->line, s->title, text);
            wrong++;
        } else if (watched(s, alert)) {
            s->expect[k].met = true;
        }
    }
    for (int k = 0; k < s->expects_n; k++) {
        if (!s->expect[k].met) {
            print_error("%s:%d: %s: expected, did not come\n", s->file, s->expect[k].line, s->title);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

/* Up to the day, storing and restoring all on the way, also where nothing happens. */
static void
pass_time(struct world *w, int64_t *stored, int64_t day)
{
    for (; day >= *stored + RESTART_EVERY; *stored += RESTART_EVERY) {
        int64_t midnight = (*stored + RESTART_EVERY) * UPT_DAY_MS;
        if (upt_state_clock(w->st) < midnight) {
            upt_state_wall_tick(w->st, midnight);
        }
        world_restart(w);
    }
}

static void
run(void **state)
{
    struct scenario *s = *state;
    struct world *w = world_new(s->segments[0] == '\0' ? NULL : s->segments);
    qsort(s->items, (size_t)s->items_n, sizeof(*s->items), by_time);
    if (s->end == 0) {
        bad(s, s->line, "allowed: a line `until DAY` in each scenario");
    }
    int64_t stored = s->items_n == 0 ? 0 : upt_floor_div(s->items[0].at, UPT_DAY_MS);
    for (int i = 0; i < s->items_n && s->items[i].at < s->end; i++) {
        pass_time(w, &stored, upt_floor_div(s->items[i].at, UPT_DAY_MS));
        play(w, &s->items[i]);
    }
    pass_time(w, &stored, s->end / UPT_DAY_MS - 1);
    upt_state_wall_tick(w->st, s->end - UPT_MINUTE_MS);
    compare(s, w);
    world_free(w);
}

int
main(int argc, char **argv)
{
    static struct CMUnitTest tests[SCENARIOS_MAX];
    if (argc < 2) {
        (void)fprintf(stderr, "usage: run_scenarios FILE...\n");
        return 64;
    }
    for (int i = 1; i < argc; i++) {
        read_file(argv[i]);
    }
    for (int i = 0; i < scenarios_n; i++) {
        tests[i] = (struct CMUnitTest){.name = scenarios[i]->title, .test_func = run, .initial_state = scenarios[i]};
    }
    int failed = _cmocka_run_group_tests("scenarios", tests, (size_t)scenarios_n, NULL, NULL);
    for (int i = 0; i < scenarios_n; i++) {
        free(scenarios[i]->items);
        free(scenarios[i]);
    }
    return failed;
}
