/* The rules file: shipped values, overrides, refusals with file, line and what is allowed, the hash of the meaning. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness.h"

static upt_status
load(const char *text, struct upt_rules **ret, struct upt_error *err)
{
    char path[] = "/tmp/upt-rules-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    (void)close(fd);
    upt_status status = upt_rules_load(path, ret, err);
    (void)unlink(path);
    return status;
}

static void
refused(const char *text, const char *line, const char *says)
{
    struct upt_rules *rules = NULL;
    struct upt_error err = {0};
    assert_int_equal(load(text, &rules, &err), UPT_EINVAL);
    assert_null(rules);
    if (strstr(err.msg, says) == NULL || strstr(err.msg, line) == NULL) {
        fail_msg("said: %s", err.msg);
    }
}

static void
shipped(void **state)
{
    (void)state;
    struct upt_rules *rules = NULL;
    struct upt_error err = {0};
    assert_int_equal(upt_rules_load(NULL, &rules, &err), UPT_OK);
    assert_true(fabs(rules->publish_score - 1) < 1e-12 && fabs(rules->publish_risk - 0.02) < 1e-12);
    assert_int_equal(rules->band_severity[UPT_BAND_WATCH], UPT_OFF);
    assert_int_equal(rules->band_severity[UPT_BAND_HEALTHY], UPT_OFF);
    assert_int_equal(rules->band_severity[UPT_BAND_CRITICAL], UPT_CRITICAL);
    assert_true(fabs(rules->silence_level[UPT_WARNING] - 0.2) < 1e-12 && rules->silence_level[UPT_INFO] > 1);
    assert_true(isinf(rules->drop_level[UPT_CRITICAL]));
    for (int i = 0; i < UPT_RULES; i++) {
        assert_true(rules->rule[i].enabled && rules->rule[i].version == 1 && rules->rule[i].play[0] != '\0');
    }
    assert_int_equal(rules->rule[UPT_RULE_USAGE_DROP].cool_down_ms, 7 * UPT_DAY_MS);
    assert_int_equal(rules->rule[UPT_RULE_CHURN_RISK].expire_ms, 0); /* off */
    assert_int_equal(rules->tier[UPT_TIER_HIGH].contact_ms, 30 * UPT_DAY_MS);
    assert_int_equal(rules->weights[0].milli[UPT_COLUMN_USAGE][0], 700);
    upt_rules_destroy(&rules);
}

static void
only_what_changes(void **state)
{
    (void)state;
    struct upt_rules *a = NULL;
    struct upt_rules *b = NULL;
    struct upt_rules *c = NULL;
    struct upt_error err = {0};
    assert_int_equal(upt_rules_load(NULL, &a, &err), UPT_OK);
    assert_int_equal(load("# nothing\n", &b, &err), UPT_OK);
    assert_true(upt_rules_hash(a) == upt_rules_hash(b));
    upt_rules_destroy(&b);
    assert_int_equal(load("update: {risk: 0.1}\npublish:\n  risk: 0.02 # as shipped\n", &b, &err), UPT_OK);
    assert_true(upt_rules_hash(a) == upt_rules_hash(b));
    assert_int_equal(load("rules: {SILENCE: {levels: {HIGH: off}, play: Call., cool_down: 12h}}", &c, &err), UPT_OK);
    assert_true(upt_rules_hash(a) != upt_rules_hash(c));
    assert_true(c->silence_level[UPT_HIGH] > 1);
    assert_string_equal(c->rule[UPT_RULE_SILENCE].play, "Call.");
    assert_int_equal(c->rule[UPT_RULE_SILENCE].cool_down_ms, 12 * UPT_HOUR_MS);
    assert_int_equal(c->rule[UPT_RULE_HEALTH_BAND].cool_down_ms, 7 * UPT_DAY_MS);
    upt_rules_destroy(&a);
    upt_rules_destroy(&b);
    upt_rules_destroy(&c);
}

static void
refusals(void **state)
{
    (void)state;
    refused("publish:\n  scor: 1\n", ":2: ", "publish.scor: unknown; allowed: score, risk");
    refused("rules:\n  SILENT: {}\n",
            ":2: ", "rules.SILENT: unknown; allowed: CHURN_RISK, HEALTH_BAND, SILENCE, USAGE_DROP");
    refused("rules:\n  SILENCE:\n    levels: {WARNING: 2}\n", ":3: ", "allowed: off, or 0.01 to 1");
    refused("rules:\n  SILENCE:\n    levels: {WARNING: 0.6}\n  USAGE_DROP: {}\n",
            ":3: ", "rules.SILENCE.levels: allowed: rising from INFO to CRITICAL");
    refused("rules:\n  USAGE_DROP:\n    levels:\n      WARNING: 3\n      HIGH: 2\n\n",
            ":5: ", "rules.USAGE_DROP.levels: allowed: rising from INFO to CRITICAL");
    refused("rules:\n  SILENCE:\n    enabled: yes\n", ":3: ", "allowed: true, false");
    refused("rules:\n  SILENCE:\n    cool_down: 3\n", ":3: ", "allowed: a duration");
    refused("rules:\n  SILENCE:\n    min_active_days: 2.5\n", ":3: ", "a whole number");
    refused("rules:\n  HEALTH_BAND:\n    levels: {WATCH: LOUD}\n",
            ":3: ", "allowed: off, INFO, WARNING, HIGH, CRITICAL");
    refused("rules:\n  SILENCE:\n    version: 1\n    version: 2\n", ":4: ", "rules.SILENCE.version: a second time");
    refused("rules:\n  SILENCE:\n    version: 1\n  SILENCE:\n    enabled: false\n",
            ":4: ", "rules.SILENCE: a second time");
    refused("rules: {SILENCE: {version: 1}}\nrules: {ADOPTED: {version: 2}}\n", ":2: ", "rules: a second time");
    refused("rules:\n  SILENCE: 3\n", ":2: ", "allowed: a mapping with enabled, version");
    refused("rules:\n  SILENCE:\n    version: {a: 1}\n", ":3: ", "unknown");
    refused("rules:\n  CHURN_RISK: {open_at: 0.5, close_below: 0.7}\n  SILENCE: {}\n",
            ":2: ", "rules.CHURN_RISK: allowed: close_below at most open_at");
    refused("rules:\n  TTV_LATE:\n    late_days: 90\n    version: 2\n", ":3: ", "late_days at most very_late_days");
    refused("rules:\n  TTV_LATE:\n    very_late_days: 9\n    version: 2\n", ":3: ", "late_days at most very_late_days");
    refused("rules:\n  SEAT_UNDERUSE:\n    below: 2\n", ":3: ", "rules.SEAT_UNDERUSE.below: 2; allowed: 0 to 1");
    refused("rules:\n  POSITIVE: {levels: {HIGH: 1}}\n", ":2: ", "unknown; allowed: enabled, version, play, cool_down");
    refused("health:\n  all:\n    USAGE: {usage: 500}\n    VALUE: {usage: 550}\n",
            ":3: ", "health.all.USAGE: allowed: weights of a phase that add up to 1000, usage above 0 (sum 800)");
    refused("health:\n  set_2:\n    TRIAL:\n      usage: 0\n      people: 500\n      sentiment: 50\n",
            ":6: ", "health.set_2.TRIAL: ");
    refused("health:\n  all:\n    USAGE: {use: 500}\n", ":3: ", "allowed: usage, people, onboarding, support");
    refused("notify: {most: 4}\n", ":1: ", "a whole number, 1 to 3");
    refused("tiers:\n  GOLD: {}\n", ":2: ", "tiers.GOLD: unknown; allowed: HIGH, MEDIUM, LOW");
    refused("rules: [SILENCE]\n", ":1: ", "a list");
    refused("rules: &a {}\n", ":1: ", "anchor");
    refused("rules: {\n", ":2: ", "not valid YAML");
    refused("rules:\n  SILENCE:\n    play: \xff\n", ":3: ", "not valid YAML: invalid leading UTF-8 octet");
    refused("segments:\n  a:\n    play: \xff\n", ":3: ", "not valid YAML: invalid leading UTF-8 octet");
    refused("rules:\n  SILENCE:\n    play: \"x\n\n\n", ":3: ", "not valid YAML");
    refused("a: 1\n---\nb: 1\n", ":1: ", "unknown");
    refused("publish: {}\n---\nupdate: {}\n", ":2: ", "one document");
    refused("hello\n", ":1: ", "allowed: publish, update, notify, health, tiers, rules");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shipped),
        cmocka_unit_test(only_what_changes),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests_name("score_rules", tests, NULL, NULL);
}
