/* Segments: what a rules file may say and what is refused, when accounts enter and leave, also when only time passes,
 * and that memberships go with names through checkpoints and changed rules. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

extern const unsigned char upt_default_rules[];
extern const size_t upt_default_rules_len;

static upt_status
load(const char *yaml, struct upt_rules **ret, struct upt_error *err)
{
    char path[] = "/tmp/upt-segments-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, yaml, strlen(yaml)) == (ssize_t)strlen(yaml));
    (void)close(fd);
    upt_status status = upt_rules_load(path, ret, err);
    (void)unlink(path);
    return status;
}

static void
refused(const char *yaml, const char *line, const char *why)
{
    struct upt_rules *rules = NULL;
    struct upt_error err = {0};
    assert_int_equal(load(yaml, &rules, &err), UPT_EINVAL);
    assert_null(rules);
    if (strstr(err.msg, line) == NULL || strstr(err.msg, why) == NULL) {
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", err.msg, line, why);
    }
}

#define WHEN(condition) "segments:\n  s:\n    when: " condition "\n"

static void
refusals(void **state)
{
    (void)state;
    struct upt_rules *rules = NULL;
    struct upt_error err = {0};
    refused("segments: [a]\n", ":1: ", "segments: allowed: a mapping of names");
    refused("segments:\n  'a b': {}\n", ":2: ", "allowed: names of 1 to 64 letters, digits, _ - .");
    refused("segments:\n  s: {}\n", ":2: ", "segments.s.when: is missing");
    refused("segments:\n  s:\n    wen: 1\n", ":3: ", "segments.s.wen: unknown; allowed: when, play, enabled");
    refused("segments:\n  s:\n    play: \"a\\0b\"\n", ":3: ", "none of them NUL");
    refused("segments:\n  s:\n    enabled: yes\n", ":3: ", "allowed: true, false");
    refused("segments:\n  s: {when: {course: a, done: true}}\n  s: {}\n", ":3: ", "segments.s: a second time");
    refused("segments: {}\nsegments: {}\n", ":2: ", "a second time");
    refused(WHEN("hello"), ":3: ", "allowed: a condition, such as");
    refused(WHEN("{}"), ":3: ", "of what? allowed: all, any, not, field");
    refused(WHEN("{all: []}"), ":3: ", "an empty list; allowed: at least one");
    refused(WHEN("{all: {field: seats, from: 1}}"), ":3: ", "allowed: a list of conditions");
    refused(WHEN("{field: logons_7d, from: 1}"), ":3: ", "segments.s.field: logons_7d; allowed: events_");
    refused(WHEN("{field: seats}"), ":3: ", "nothing is asked of it; allowed: from, to, above");
    refused(WHEN("{field: seats, from: many}"), ":3: ", ".from: many; allowed: a number");
    refused(WHEN("{field: seats, from: 5, to: 4}"), ":3: ", "a range that nothing is in");
    refused(WHEN("{field: seats, from: 5, above: 4}"), ":3: ", "allowed: one of them");
    refused(WHEN("{field: tier, from: 5}"), ":3: ", "from does not go with it; allowed: is, in, known");
    refused(WHEN("{field: health_band, is: GREEN}"), ":3: ", "GREEN; allowed: UNKNOWN, CRITICAL, AT_RISK");
    refused(WHEN("{field: phase, in: [TRIAL, GONE]}"), ":3: ", "GONE; allowed: TRIAL, ONBOARDING");
    refused(WHEN("{field: onboarded, is: 1}"), ":3: ", ".is: 1; allowed: true, false");
    refused(WHEN("{field: tier, in: a}"), ":3: ", ".in: allowed: a list");
    refused(WHEN("{trait: x, as: months, from: 1}"), ":3: ", "months; allowed: text, days_since, days_until");
    refused(WHEN("{feature: x, is: 1}"), ":3: ", "is does not go with it; allowed: used, from, to");
    refused(WHEN("{feature: x, from: 1, within: 31}"), ":3: ", ".within: 31; allowed: a whole number of days, 1 to 30");
    refused(WHEN("{feature: _x, used: false}"),
            ":3: ", "segments.s.feature: _x; allowed: 1 to 128 bytes, the first no _");
    char name[130], longest[200];
    memset(name, 'f', sizeof(name));
    for (int len = 128; len <= 129; len++) {
        (void)snprintf(longest, sizeof(longest), WHEN("{feature: %.*s, used: false}"), len, name);
        if (len == 128) {
            assert_int_equal(load(longest, &rules, &err), UPT_OK);
            upt_rules_destroy(&rules);
        } else {
            refused(longest, ":3: ", "; allowed: 1 to 128 bytes");
        }
    }
    refused(WHEN("{course: x, used: true}"), ":3: ", "used does not go with it; allowed: done");
    refused(WHEN("{field: tier, trait: x, is: a}"), ":3: ", "a second thing; allowed: one condition a mapping");
    refused(WHEN("{field: tier, is: a, is: b}"), ":3: ", "a second thing");
    refused(WHEN("{field: tier, wants: a}"), ":3: ", "wants: unknown; allowed: all, any, not");
    refused(WHEN("&x {field: tier, is: a}"), ":3: ", "an anchor, alias or tag");
    refused(WHEN("{not: {not: {not: {not: {not: {not: {not: {not: {course: a, done: true}}}}}}}}}"),
            ":3: ", "at most 64 conditions, 8 deep");
    refused("segments:\n  a:\n    when:\n      all:\n        - {field: tier, is: x}\n        - {field: teir, is: x}\n",
            ":6: ", "segments.a.field: teir");
}

/* What the files and their messages are held to: all fields can be named, and are in the sentence about them. */
static void
all_fields(void **state)
{
    (void)state;
    struct upt_error err = {0};
    struct upt_rules *rules = NULL;
    for (size_t i = 0; i < UPT_SF_COUNT; i++) {
        char yaml[200];
        (void)snprintf(yaml, sizeof(yaml), WHEN("{field: %s, known: true}"), upt_seg_fields[i].name);
        if (load(yaml, &rules, &err) != UPT_OK) {
            fail_msg("%s", err.msg);
        }
        upt_rules_destroy(&rules);
    }
    char many[20000] = "segments:\n";
    for (int i = 0; i <= UPT_SEGMENTS_MAX; i++) {
        size_t len = strlen(many);
        (void)snprintf(many + len, sizeof(many) - len, "  s%d: {when: {course: a, done: true}}\n", i);
        upt_status status = load(many, &rules, &err);
        assert_int_equal(status, i < UPT_SEGMENTS_MAX ? UPT_OK : UPT_EINVAL);
        if (status == UPT_OK) {
            assert_int_equal(upt_segments_n(rules->segments), i + 1);
            upt_rules_destroy(&rules);
        }
    }
    assert_non_null(strstr(err.msg, "allowed: at most 64 segments"));
}

static uint64_t
hash_of(const char *yaml)
{
    struct upt_error err = {0};
    struct upt_rules *rules = NULL;
    if (load(yaml, &rules, &err) != UPT_OK) {
        fail_msg("%s", err.msg);
    }
    uint64_t hash = upt_rules_hash(rules);
    upt_rules_destroy(&rules);
    return hash;
}

static void
meaning(void **state)
{
    (void)state;
    uint64_t none = hash_of("# nothing\n");
    uint64_t a = hash_of("segments:\n  a: {when: {field: seats, from: 5}}\n  b: {when: {trait: x, in: [1, 2]}}\n");
    assert_true(none == hash_of("segments:\n"));
    assert_true(none != a);
    assert_true(a == hash_of("segments: # other order, other words\n  b: {when: {in: [\"1\", '2'], trait: x}}\n"
                             "  a:\n    enabled: true\n    when:\n      from: 5.0\n      field: seats\n"));
    static const char *const others[] = {
        "segments:\n  a: {when: {field: seats, above: 5}}\n  b: {when: {trait: x, in: [1, 2]}}\n",
        "segments:\n  a: {when: {field: seats, from: 5}}\n  b: {when: {trait: x, in: [1, 3]}}\n",
        "segments:\n  a: {when: {field: seats, from: 5}}\n  c: {when: {trait: x, in: [1, 2]}}\n",
        "segments:\n  a: {when: {field: seats, from: 5}}\n  b: {when: {trait: y, in: [1, 2]}}\n",
        "segments:\n  a: {when: {not: {field: seats, from: 5}}}\n  b: {when: {trait: x, in: [1, 2]}}\n",
        "segments:\n  a: {enabled: false, when: {field: seats, from: 5}}\n  b: {when: {trait: x, in: [1, 2]}}\n"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_true(a != hash_of(others[i]));
    }
}

/* ---- accounts ---- */

static int64_t
at(int day, int hour, int minute)
{
    return (DAY0 + day) * UPT_DAY_MS + hour * UPT_HOUR_MS + minute * UPT_MINUTE_MS;
}

static int64_t
daily_minute(const char *account)
{
    return (int64_t)(upt_hash(account, strlen(account)) % 60);
}

/* The i-th transition of the account is that, told as a whole. */
static void
told(const struct world *w, const char *account, int i, const char *rule, const char *segment, int64_t when)
{
    const struct kept_alert *open = world_alert(w, account, NULL, 2 * i);
    const struct kept_alert *end = world_alert(w, account, NULL, 2 * i + 1);
    assert_string_equal(open->rule, rule);
    assert_string_equal(open->subject, segment);
    assert_int_equal(open->a.action, UPT_OPEN);
    assert_int_equal(open->a.severity, UPT_INFO);
    assert_int_equal(open->a.changed_at, when);
    assert_true(open->a.opened_at == when && open->a.condition_since == when);
    assert_int_equal(end->a.action, UPT_RESOLVE);
    assert_int_equal(end->a.changed_at, when);
    assert_string_equal(end->id, open->id);
    assert_int_equal(end->a.revision, 1);
    unsigned char text[200];
    size_t len = 0;
    const char *const parts[] = {account, rule, segment};
    for (int k = 0; k < 3; k++) {
        uint32_t n = (uint32_t)strlen(parts[k]);
        memcpy(text + len, &n, 4);
        memcpy(text + len + 4, parts[k], n);
        len += 4 + n;
    }
    uint32_t minute = (uint32_t)(when / UPT_MINUTE_MS);
    memcpy(text + len, &minute, 4);
    char id[33];
    upt_test_xxh128(text, len + 4, id);
    assert_string_equal(open->id, id);
}

static struct world *
quiet_world(const char *segments)
{
    return world_only("SEGMENT_ENTER SEGMENT_EXIT", segments);
}

/* The lines of the shipped file's example, its marks taken away. */
static void
shipped_example(char *ret, size_t cap)
{
    const char *p = (const char *)upt_default_rules;
    const char *end = p + upt_default_rules_len;
    size_t len = 0;
    bool inside = false;
    while (p < end) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((line_end == NULL ? end : line_end) - p);
        inside =
            (inside || (n > 10 && memcmp(p, "#segments:", 10) == 0)) || (n == 10 && memcmp(p, "#segments:", 10) == 0);
        inside = inside && n > 1 && p[0] == '#' && (len == 0 || p[1] == ' ');
        if (inside) {
            assert_true(len + n < cap);
            memcpy(ret + len, p + 1, n - 1);
            ret[len + n - 1] = '\n';
            len += n;
        }
        p += n + 1;
    }
    ret[len] = '\0';
    assert_true(len > 300);
}

#define EXAMPLE "active_but_missing_reports"

/* An account that fulfils all six criteria from day 30 on: daily logins from day 0. */
static struct world *
six(const char *account, int days)
{
    char example[2000];
    shipped_example(example, sizeof(example));
    struct world *w = quiet_world(example);
    world_event(w, account, UPT_KIND_SIGNUP, NULL, 1, at(0, 8, 0));
    world_profile(w, account, 0, "onboarding_steps", "import, invite");
    world_event(w, account, UPT_KIND_CONTACT, NULL, 1, at(0, 9, 30));
    world_event(w, account, UPT_KIND_ONBOARDING_STEP, "import", 1, at(0, 10, 0));
    world_event(w, account, UPT_KIND_ONBOARDING_STEP, "invite", 1, at(1, 10, 0));
    world_event(w, account, UPT_KIND_TRAINING, "basics", 1, at(2, 10, 0));
    for (int d = 2; d < days; d++) {
        world_event(w, account, UPT_KIND_LOGIN, NULL, 1, at(d, 11, 0));
        world_event(w, account, UPT_KIND_USAGE, "search", 1, at(d, 11, 5));
    }
    return w;
}

/* A signal is what the row shows: of the last daily evaluation, this one included where it is judged. */
static void
signals(void **state)
{
    (void)state;
    struct world *w = quiet_world(WHEN("{field: contacts, from: 2}"));
    int64_t minute = daily_minute("acme");
    world_event(w, "acme", UPT_KIND_CONTACT, NULL, 1, at(0, 8, 0));
    world_event(w, "acme", UPT_KIND_CONTACT, NULL, 1, at(1, 8, 0));
    world_to(w, 1, 23, 59);
    assert_int_equal(w->alerts_n, 0);
    world_to(w, 2, 1, 0);
    told(w, "acme", 0, "SEGMENT_ENTER", "s", at(2, 0, (int)minute));
    world_free(w);
    w = quiet_world(WHEN("{field: nps, known: false}"));
    world_event(w, "acme", UPT_KIND_SURVEY, "nps", 10, at(0, 8, 0));
    world_to(w, 1, 1, 0);
    assert_int_equal(w->alerts_n, 0);
    world_free(w);
}

/* Satisfied, proficient and using: adopted; one of them missing says what to do. */
static void
triad(void **state)
{
    (void)state;
    static const char *const wanted[] = {"adopted", "unnecessary", "teach"};
    struct world *w =
        world_only("SEGMENT_ENTER SEGMENT_EXIT",
                   "proficiency: {features: pivot}\nsegments:\n"
                   "  adopted: {when: {all: [{field: proficiency, from: 0.5}, {field: csat, from: 4}, "
                   "{field: cadence, to: 7}, {feature: maps, from: 4}]}}\n"
                   "  unnecessary: {when: {all: [{field: proficiency, from: 0.5}, {field: csat, from: 4}, "
                   "{feature: maps, below: 4}]}}\n"
                   "  teach: {when: {all: [{field: proficiency, below: 0.5}, {field: csat, below: 3}]}}\n");
    for (int i = 0; i < 3; i++) {
        for (int day = 0; day < 20; day++) {
            world_event(w, wanted[i], UPT_KIND_USAGE, i == 2 ? "board" : "pivot", 1, at(day, 8, 0));
            if (i == 0 && day < 4) {
                world_event(w, wanted[i], UPT_KIND_USAGE, "maps", 1, at(day, 9, 0));
            }
        }
        world_event(w, wanted[i], UPT_KIND_SURVEY, "csat", i == 2 ? 2 : 5, at(19, 12, 0));
    }
    world_to(w, 20, 1, 0);
    for (int i = 0; i < 3; i++) {
        struct upt_row row;
        upt_state_row(w->st, world_account(w, wanted[i]), &row);
        assert_true(upt_str_eq(row.segments, upt_str_of(wanted[i])));
    }
    world_free(w);
}

static void
six_criteria(void **state)
{
    (void)state;
    /* Enters by age alone, leaves by age alone: at its own daily minute of day 91. */
    struct world *w = six("acme", 88);
    int64_t minute = daily_minute("acme");
    told(w, "acme", 0, "SEGMENT_ENTER", EXAMPLE, at(30, 0, (int)minute));
    assert_non_null(world_alert(w, "acme", NULL, 0)->a.suggested_play.p);
    world_to(w, 90, 23, 59);
    assert_int_equal(w->alerts_n, 2);
    world_to(w, 92, 1, 0);
    told(w, "acme", 1, "SEGMENT_EXIT", EXAMPLE, at(91, 0, (int)minute));
    assert_int_equal(w->alerts_n, 4);
    world_free(w);
    /* The feature is used: out with the next minute. */
    w = six("acme", 40);
    world_event(w, "acme", UPT_KIND_USAGE, "reports", 1, at(39, 15, 7) + 1);
    world_to(w, 39, 16, 0);
    told(w, "acme", 1, "SEGMENT_EXIT", EXAMPLE, at(39, 15, 8));
    world_free(w);
    /* Contacted: out. */
    w = six("acme", 40);
    world_event(w, "acme", UPT_KIND_CONTACT, NULL, 1, at(39, 15, 7));
    world_to(w, 39, 16, 0);
    told(w, "acme", 1, "SEGMENT_EXIT", EXAMPLE, at(39, 15, 8));
    world_free(w);
    /* No login for more than 7 days: out; logs in again: in. */
    w = six("acme", 40);
    world_to(w, 46, 23, 59);
    assert_int_equal(w->alerts_n, 2);
    world_to(w, 50, 1, 0);
    told(w, "acme", 1, "SEGMENT_EXIT", EXAMPLE, at(47, 0, (int)minute));
    world_event(w, "acme", UPT_KIND_LOGIN, NULL, 1, at(50, 3, 0));
    world_to(w, 50, 4, 0);
    told(w, "acme", 2, "SEGMENT_ENTER", EXAMPLE, at(50, 3, 1));
    world_free(w);
    /* Near miss: 10 logins are not more than 10. */
    w = six("acme", 12);
    world_event(w, "acme", UPT_KIND_USAGE, "search", 1, at(31, 12, 0));
    world_to(w, 35, 1, 0);
    assert_int_equal(w->alerts_n, 0);
    world_free(w);
}

/* One segment over an account of known facts: is it in? */
static void
judged(const char *condition, bool expected)
{
    char yaml[1000];
    (void)snprintf(yaml, sizeof(yaml), WHEN("%s"), condition);
    struct world *w = quiet_world(yaml);
    world_event(w, "a", UPT_KIND_LOGIN, NULL, 1, at(0, 8, 0));
    world_profile(w, "a", 0, "tier", "gold");
    world_profile(w, "a", 0, "size", "12.5");
    world_profile(w, "a", 0, "since", "2024-12-25");
    world_event(w, "a", UPT_KIND_SEATS, NULL, 20, at(0, 9, 0));
    world_use(w, "a", 1, "f", 3);
    world_use(w, "a", 3, "f", 1);
    world_use(w, "a", 3, "g", 1);
    world_to(w, 5, 1, 0);
    if ((world_ext(w, "a")->segment.member != 0) != expected) {
        fail_msg("%s should %shold", condition, expected ? "" : "not ");
    }
    world_free(w);
}

static void
conditions(void **state)
{
    (void)state;
    judged("{field: seats, is: 20}", true);
    judged("{field: seats, from: 20, to: 20}", true);
    judged("{field: seats, above: 20}", false);
    judged("{field: seats, above: 19.999999, below: 20.000001}", true);
    judged("{field: seats, below: 20}", false);
    judged("{field: seats, in: [5, 20]}", true);
    judged("{field: tier, is: gold}", true);
    judged("{field: tier, in: [silver, bronze]}", false);
    judged("{field: segment, known: false}", true);
    judged("{field: segment, is: x}", false);
    judged("{not: {field: segment, is: x}}", true);
    judged("{field: segment, known: true}", false);
    judged("{trait: size, from: 12.5, to: 12.5}", true);
    judged("{trait: size, is: '12.5'}", true);
    judged("{trait: size, is: '12.50'}", false);
    judged("{trait: tier, from: 0}", false);
    judged("{not: {trait: tier, from: 0}}", true);
    judged("{trait: since, as: days_since, from: 12, to: 12}", true); /* 2025-01-06 − 2024-12-25 */
    judged("{trait: since, as: days_until, is: -12}", true);
    judged("{trait: tier, as: days_since, known: false}", true);
    judged("{feature: f, used: true}", true);
    judged("{feature: h, used: false}", true);
    judged("{feature: f, from: 2, to: 2}", true);
    judged("{feature: f, from: 2, within: 4}", false); /* days 2 … 5 */
    judged("{feature: f, from: 2, within: 5}", true);
    judged("{feature: f, used: true, within: 2}", false);
    judged("{feature: h, to: 0}", true);
    judged("{field: events_30d, is: 5}", true);
    judged("{field: events_24h, is: 0}", true);
    judged("{field: features_30d, is: 2}", true);
    judged("{field: first_seen_age_days, is: 5}", true);
    judged("{field: signup_age_days, is: 5}", true); /* no SIGNUP: from the first record */
    judged("{field: login_age_days, is: 5}", true);
    judged("{field: key_event_age_days, is: 2}", true);
    judged("{field: contact_age_days, known: false}", true);
    /* Nobody was in touch, and nothing is wrong. */
    judged("{all: [{field: open_alerts, is: 0}, {any: [{field: contact_age_days, above: 60}, {field: contact_age_days, "
           "known: false}]}]}",
           true);
    judged("{field: contacted_since_onboarding, known: false}", true);
    judged("{field: phase, is: ONBOARDING}", true);
    judged("{field: health_band, in: [CRITICAL, AT_RISK, WATCH, HEALTHY, UNKNOWN]}", true);
    judged("{all: [{field: seats, is: 20}, {field: tier, is: gold}]}", true);
    judged("{all: [{field: seats, is: 20}, {field: tier, is: tin}]}", false);
    judged("{any: [{field: seats, is: 21}, {field: tier, is: tin}]}", false);
    judged("{any: [{field: seats, is: 21}, {not: {any: [{field: tier, is: tin}, {feature: h, used: true}]}}]}", true);
    judged("{all: [{any: [{field: seats, is: 20}, {course: c, done: true}]}, {course: c, done: false}, "
           "{step: s, done: false}]}",
           true);
}

/* A window of an hour is looked at with the hours. */
static void
hours(void **state)
{
    (void)state;
    struct world *w = quiet_world(WHEN("{field: events_1h, from: 2}"));
    world_use(w, "a", 1, "f", 1);
    world_to(w, 1, 12, 30);
    assert_int_equal(w->alerts_n, 0);
    world_event(w, "a", UPT_KIND_USAGE, "f", 1, at(1, 12, 31));
    world_to(w, 1, 12, 40);
    told(w, "a", 0, "SEGMENT_ENTER", "s", at(1, 12, 32));
    world_restart(w);
    world_to(w, 1, 14, 30);
    told(w, "a", 1, "SEGMENT_EXIT", "s", at(1, 13, 0));
    assert_int_equal(w->alerts_n, 4);
    world_free(w);
}

static void
swap_rules(struct world *w, const char *yaml, struct upt_rules **ret_old)
{
    struct upt_error err = {0};
    char rules[2000];
    (void)snprintf(
        rules, sizeof(rules),
        "rules: {SILENCE: {enabled: false}, USAGE_DROP: {enabled: false}, HEALTH_BAND: {enabled: false}}\n%s", yaml);
    *ret_old = w->rules;
    if (load(rules, &w->rules, &err) != UPT_OK) {
        fail_msg("%s", err.msg);
    }
}

#define TRUE "{when: {field: first_seen, known: true}}"

/* Memberships are by name: names that come before, go, or come again mix nothing up. */
static void
names_not_places(void **state)
{
    (void)state;
    for (int live = 0; live < 2; live++) {
        struct upt_rules *old = NULL;
        struct world *w =
            quiet_world("segments:\n  m: " TRUE "\n  t: " TRUE "\n  x: {when: {course: c, done: true}}\n");
        world_use(w, "a", 1, "f", 1);
        world_to(w, 2, 1, 0);
        assert_int_equal(world_count(w, "a", "SEGMENT_ENTER", UPT_OPEN), 2);
        assert_int_equal(world_ext(w, "a")->segment.member, 3);
        swap_rules(w, "segments:\n  a: {when: {course: c, done: true}}\n  t: " TRUE "\n  z: " TRUE "\n", &old);
        if (live == 1) {
            upt_score_map_segments(w->score, w->st, w->rules);
            upt_score_set(w->score, w->model, w->rules, "00112233aabbccdd");
        } else {
            world_restart(w);
        }
        assert_int_equal(world_ext(w, "a")->segment.member, 2);
        world_to(w, 3, 1, 0);
        assert_int_equal(world_ext(w, "a")->segment.member, 6);
        assert_int_equal(world_count(w, "a", "SEGMENT_ENTER", UPT_OPEN), 3);
        assert_string_equal(w->alert[w->alerts_n - 1].subject, "z");
        assert_int_equal(world_count(w, "a", "SEGMENT_EXIT", UPT_OPEN), 0); /* m is not declared any more */
        upt_rules_destroy(&old);
        world_free(w);
    }
}

/* The record of the only account in the snapshot under way: the longest. */
static void
stored_account(struct world *w, struct upt_buf *ret)
{
    struct upt_buf key = {0}, value = {0};
    upt_buf_clear(ret);
    while (upt_state_snapshot_next(w->st, &key, &value)) {
        if (value.len > ret->len) {
            upt_buf_clear(ret);
            upt_buf_put(ret, value.p, value.len);
        }
    }
    upt_buf_fini(&key);
    upt_buf_fini(&value);
    upt_state_snapshot_stored(w->st);
}

/* Rules that are read again while a snapshot is under way change nothing in it, and the next one has what they did. */
static void
mapped_after_snapshot(void **state)
{
    (void)state;
    struct upt_rules *old = NULL;
    struct world *w = quiet_world("segments:\n  m: " TRUE "\n  t: " TRUE "\n");
    struct upt_buf before = {0}, under_way = {0}, after = {0};
    world_use(w, "a", 1, "f", 1);
    world_to(w, 2, 1, 0);
    upt_state_snapshot_begin(w->st, true);
    stored_account(w, &before);
    upt_state_snapshot_begin(w->st, true);
    swap_rules(w, "segments:\n  t: " TRUE "\n", &old);
    upt_score_map_segments(w->score, w->st, w->rules);
    upt_score_set(w->score, w->model, w->rules, "00112233aabbccdd");
    stored_account(w, &under_way);
    assert_int_equal(under_way.len, before.len);
    assert_memory_equal(under_way.p, before.p, before.len);
    upt_state_snapshot_begin(w->st, false);
    stored_account(w, &after);
    assert_in_range(after.len, before.len - 10, before.len - 7); /* a name's hash less, packed */
    upt_buf_fini(&before);
    upt_buf_fini(&under_way);
    upt_buf_fini(&after);
    upt_rules_destroy(&old);
    world_free(w);
}

/* Forgotten: told that it left. Alerts of segments are never open. */
static void
forgotten(void **state)
{
    (void)state;
    struct world *w = quiet_world("segments:\n  m: " TRUE "\n");
    struct upt_row row;
    world_use(w, "a", 1, "f", 1);
    world_to(w, 1, 12, 5);
    told(w, "a", 0, "SEGMENT_ENTER", "m", at(1, 12, 1) - (daily_minute("a") < 0)); /* with the first record's minute */
    upt_state_row(w->st, world_account(w, "a"), &row);
    assert_int_equal(row.open_alerts, 0);
    assert_true(upt_str_eq(row.segments, UPT_STR("m")));
    world_restart(w);
    upt_state_begin(w->st, w->offset++, at(1, 12, 9) + 12345); /* at a record, within a minute */
    upt_state_forget(w->st, UPT_STR("a"));
    assert_int_equal(w->alerts_n, 4);
    told(w, "a", 1, "SEGMENT_EXIT", "m", at(1, 12, 9) + 12345);
    world_free(w);
}

/* The play of the segment, else that of the rule; its version. A rule that is switched off tells nothing, and the
 * membership is the same. */
static void
by_the_rules(void **state)
{
    (void)state;
    struct world *w = world_only("SEGMENT_ENTER{version: 7, play: Look.}; SEGMENT_EXIT{version: 8, play: Forget.};",
                                 "segments:\n  m: {play: Call., when: {field: events_24h, from: 1}}\n"
                                 "  n: {when: {field: events_24h, from: 1}}\n");
    static const char *const plays[] = {"Call.", "Look.", "Forget.", "Forget."};
    world_use(w, "a", 1, "f", 1);
    world_to(w, 4, 1, 0);
    assert_int_equal(w->alerts_n, 8);
    for (int i = 0; i < 8; i++) {
        const struct upt_alert *a = &w->alert[i].a;
        assert_int_equal(a->rule_version, i < 4 ? 7 : 8);
        assert_string_equal(w->alert[i].play, plays[i / 2]);
    }
    world_free(w);
    w = world_only("SEGMENT_EXIT", "segments:\n  m: {when: {field: events_24h, from: 1}}\n");
    world_use(w, "a", 1, "f", 1);
    world_to(w, 1, 12, 5);
    assert_int_equal(w->alerts_n, 0);
    assert_int_equal(world_ext(w, "a")->segment.member, 1);
    world_to(w, 4, 1, 0);
    assert_int_equal(w->alerts_n, 2);
    assert_string_equal(w->alert[0].rule, "SEGMENT_EXIT");
    world_free(w);
    w = world_only("SEGMENT_ENTER{play: ''};", "segments:\n  m: {play: \"\", when: {field: events_24h, from: 1}}\n");
    world_use(w, "a", 1, "f", 1);
    world_to(w, 1, 12, 5);
    assert_int_equal(w->alerts_n, 2);
    assert_null(w->alert[0].a.suggested_play.p); /* no text of no bytes */
    world_free(w);
}

/* A checkpoint between any two days changes nothing of what is told later. */
static void
restarts(void **state)
{
    (void)state;
    struct kept_alert *first = calloc(ALERTS_MAX, sizeof(*first));
    int first_n = 0;
    assert_non_null(first);
    for (int restart = 0; restart < 2; restart++) {
        struct world *w = quiet_world("segments:\n  deep: {when: {feature: f, from: 3, within: 7}}\n"
                                      "  late: {when: {field: login_age_days, above: 2}}\n"
                                      "  busy: {when: {field: events_24h, from: 3}}\n");
        for (int d = 1; d < 40; d++) {
            if (d % 11 < 6) {
                world_use(w, "a", d, d % 2 == 0 ? "f" : "g", 1 + d % 4);
            }
            if (d % 5 == 0) {
                world_event(w, "a", UPT_KIND_LOGIN, NULL, 1, at(d, 13, 0));
            }
            if (restart == 1) {
                world_restart(w);
            }
        }
        world_to(w, 60, 0, 0);
        if (restart == 0) {
            first_n = w->alerts_n;
            memcpy(first, w->alert, (size_t)first_n * sizeof(*first));
            assert_true(first_n > 20);
        }
        assert_int_equal(w->alerts_n, first_n);
        for (int i = 0; i < first_n; i++) {
            assert_string_equal(w->alert[i].id, first[i].id);
            assert_int_equal(w->alert[i].a.changed_at, first[i].a.changed_at);
        }
        world_free(w);
    }
    free(first);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),         cmocka_unit_test(all_fields),
        cmocka_unit_test(meaning),          cmocka_unit_test(conditions),
        cmocka_unit_test(signals),          cmocka_unit_test(triad),
        cmocka_unit_test(six_criteria),     cmocka_unit_test(hours),
        cmocka_unit_test(names_not_places), cmocka_unit_test(mapped_after_snapshot),
        cmocka_unit_test(forgotten),        cmocka_unit_test(restarts),
        cmocka_unit_test(by_the_rules),
    };
    return cmocka_run_group_tests_name("score_segments", tests, NULL, NULL);
}
