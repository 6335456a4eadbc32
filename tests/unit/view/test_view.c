/* What the view writes: names and forms of fields, keys, ranks, sums, shares, the partition table. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aggregate/view/internal.h"
#include "fixture.h"

struct field {
    const char *name, *value;
};

/* Exactly these fields, no other. */
static void
assert_hash(const char *key, const struct field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *found = redis_server_ask(&server, "HGET %s %s", key, fields[i].name);
        if (strcmp(found, fields[i].value) != 0) {
            fail_msg("%s %s is %s, expected %s", key, fields[i].name, found, fields[i].value);
        }
    }
    char count[24];
    snprintf(count, sizeof(count), "%zu", n);
    assert_string_equal(redis_server_ask(&server, "HLEN %s", key), count);
}

#define ASSERT_HASH(key, fields) assert_hash(key, fields, sizeof(fields) / sizeof((fields)[0]))

/* Counters and times of rig_row at offset 7 of partition 3. */
#define COUNTERS                                                                                                    \
    {"events_1h", "1"}, {"events_24h", "2"}, {"events_7d", "3"}, {"events_30d", "4"}, {"units_1h", "0.5"},          \
        {"units_24h", "1.5"}, {"units_7d", "2.5"}, {"units_30d", "3.5"}, {"logins_1h", "11"}, {"logins_24h", "12"}, \
        {"logins_7d", "13"}, {"logins_30d", "14"}, {"users_24h", "21"}, {"users_7d", "22"}, {"users_30d", "23"},    \
        {"users_total", "24"}, {"features_30d", "25"}, {"first_seen", "-5"}, {"last_seen", "1699999999999"},        \
        {"as_of", "1700000000000"}, {"partition", "3"}, {"offset", "7"},                                            \
    {                                                                                                               \
        "open_alerts", "2"                                                                                          \
    }

static void
test_row_fields_come_and_go(void **state)
{
    (void)state;
    static const struct field full[] = {COUNTERS,
                                        {"next_change", "1700000060000"},
                                        {"segment", "smb"},
                                        {"tier", ""},
                                        {"renewal_date", "2026-01-31"},
                                        {"seats", "12.5"},
                                        {"seat_utilisation", "1"},
                                        {"adoption_rate", "0.000001"},
                                        {"health", "71.25"},
                                        {"health_band", "WATCH"},
                                        {"health_confidence", "0.333333"},
                                        {"churn_risk_30d", "0.1"},
                                        {"churn_risk_60d", "0"},
                                        {"churn_risk_90d", "1"},
                                        {"phase", "ADVOCACY"}};
    static const struct field bare[] = {COUNTERS};
    struct upt_row row = rig_row("acme", 3, 7);
    rig_own(&rig, 3, 1);
    row.next_change = 1700000060000;
    row.segment = UPT_STR("smb");
    row.tier = UPT_STR("");
    row.renewal_date = UPT_STR("2026-01-31");
    row.has_seats = true;
    row.micro_seats = 12500000;
    row.seat_utilisation = UPT_MICRO;
    row.adoption_rate = 1;
    row.has_scores = true;
    row.health = 71.25;
    row.band = UPT_BAND_WATCH;
    row.confidence = 1.0 / 3;
    row.risk[0] = 0.1;
    row.risk[1] = 0.0;
    row.risk[2] = 1.0;
    row.phase = UPT_PHASE_ADVOCACY;
    rig_push_row(&rig, &row);
    rig_flush(&rig, 3, 7);
    assert_true(rig_published(&rig, 3, 7));
    ASSERT_HASH("uptake:account:{acme}", full);

    row = rig_row("acme", 3, 7);
    row.pos.tick += 60000;
    rig_push_row(&rig, &row);
    rig_flush(&rig, 3, 8);
    assert_true(rig_published(&rig, 3, 8));
    ASSERT_HASH("uptake:account:{acme}", bare);
    assert_int_equal(rig_metric(&rig, UPT_M_REDIS_ROWS), 2);
}

/* The group of signals: written when it changed, with what is not known any more deleted; left alone otherwise. */
static void
test_signals_come_and_go(void **state)
{
    (void)state;
    static const struct field both[] = {COUNTERS, {"usage_trend", "-0.25"}, {"users_high", "0"}};
    static const struct field one[] = {COUNTERS, {"users_high", "3"}, {"contract_value", "1000000000000000"}};
    double values[UPT_SIGNALS];
    char packed[UPT_SIGNALS_PACKED_MAX];
    for (unsigned i = 0; i < UPT_SIGNALS; i++) {
        values[i] = NAN;
    }
    values[UPT_SIGNAL_USAGE_TREND] = -0.25;
    values[UPT_SIGNAL_USERS_HIGH] = 0;
    struct upt_row row = rig_row("acme", 3, 7);
    row.signals = (struct upt_str){.p = packed, .len = (uint32_t)upt_signal_pack(values, packed)};
    rig_own(&rig, 3, 1);
    rig_push_row(&rig, &row);
    rig_flush(&rig, 3, 7);
    assert_true(rig_published(&rig, 3, 7));
    ASSERT_HASH("uptake:account:{acme}", both);
    row.changed = UPT_ROW_ALL & ~UPT_ROW_SIGNALS;
    row.signals = UPT_STR_NULL;
    rig_push_row(&rig, &row);
    rig_flush(&rig, 3, 8);
    assert_true(rig_published(&rig, 3, 8));
    ASSERT_HASH("uptake:account:{acme}", both);
    values[UPT_SIGNAL_USAGE_TREND] = NAN;
    values[UPT_SIGNAL_USERS_HIGH] = 3;
    values[UPT_SIGNAL_CONTRACT_VALUE] = 1e15;
    row.changed = UPT_ROW_SIGNALS;
    row.signals = (struct upt_str){.p = packed, .len = (uint32_t)upt_signal_pack(values, packed)};
    rig_push_row(&rig, &row);
    rig_flush(&rig, 3, 9);
    assert_true(rig_published(&rig, 3, 9));
    ASSERT_HASH("uptake:account:{acme}", one);
    row.signals = UPT_STR_NULL;
    rig_push_row(&rig, &row);
    rig_flush(&rig, 3, 10);
    assert_true(rig_published(&rig, 3, 10));
    static const struct field none[] = {COUNTERS};
    ASSERT_HASH("uptake:account:{acme}", none);
}

/* Of a row that is written whole nothing stays that it does not have. */
static void
test_whole_row(void **state)
{
    (void)state;
    static const struct field bare[] = {COUNTERS};
    redis_server_ask(&server, "HSET %s nps 5 tier gold events_1h 99", "uptake:account:{acme}");
    struct upt_row row = rig_row("acme", 3, 7);
    row.whole = true;
    rig_own(&rig, 3, 1);
    rig_push_row(&rig, &row);
    rig_flush(&rig, 3, 7);
    assert_true(rig_published(&rig, 3, 7));
    ASSERT_HASH("uptake:account:{acme}", bare);
}

static void
test_key_encoding(void **state)
{
    (void)state;
    struct upt_buf key = {0};
    upt_view_key(&key, "p:", "account:", UPT_STR("a\x00\x20\x21{}%\x7F\x80z/"), ":features");
    upt_buf_put(&key, "", 1);
    assert_string_equal(key.p, "p:account:{a%00%20!%7B%7D%25%7F\x80z/}:features");
    upt_buf_fini(&key);

    struct upt_row row = rig_row("a b{c}%", 0, 1);
    rig_own(&rig, 0, 1);
    rig_push_row(&rig, &row);
    rig_flush(&rig, 0, 1);
    assert_true(rig_published(&rig, 0, 1));
    assert_string_equal(redis_server_ask(&server, "HGET %s offset", "uptake:account:{a%20b%7Bc%7D%25}"), "1");
}

static void
test_feature_days(void **state)
{
    (void)state;
    static const struct field before[] = {{"export", "3"}, {"api v2", "30"}}, after[] = {{"api v2", "29"}};
    struct upt_feature_days days[] = {{UPT_STR("export"), 3}, {UPT_STR("api v2"), 30}};
    struct upt_row row = rig_row("acme", 0, 1);
    rig_own(&rig, 0, 1);
    assert_true(upt_view_push_row(rig.view, &row, days, 2));
    rig_flush(&rig, 0, 1);
    assert_true(rig_published(&rig, 0, 1));
    ASSERT_HASH("uptake:account:{acme}:features", before);
    days[0].days = 0;
    days[1].days = 29;
    row.pos = rig_pos(2);
    assert_true(upt_view_push_row(rig.view, &row, days, 2));
    rig_flush(&rig, 0, 2);
    assert_true(rig_published(&rig, 0, 2));
    ASSERT_HASH("uptake:account:{acme}:features", after);
}

static void
test_ranks_changes_forgotten(void **state)
{
    (void)state;
    struct upt_feature_days day = {UPT_STR("export"), 3};
    struct upt_row row = rig_row("a b", 0, 1);
    row.has_scores = row.scores_changed = true;
    row.health = 12.345678;
    row.confidence = 1;
    row.risk[0] = 0.75;
    rig_own(&rig, 0, 1);
    assert_true(upt_view_push_row(rig.view, &row, &day, 1));
    rig_flush(&rig, 0, 1);
    assert_true(rig_published(&rig, 0, 1));
    assert_string_equal(redis_server_ask(&server, "ZSCORE uptake:rank:churn_risk %s", "a b"), "0.75");
    double health = strtod(redis_server_ask(&server, "ZSCORE uptake:rank:health %s", "a b"), NULL);
    assert_true(fabs(health - 12.345678) < 1e-9);
    assert_string_equal(redis_server_ask(&server, "XLEN uptake:changes"), "1");

    row.pos = rig_pos(2);
    row.scores_changed = false;
    row.risk[0] = NAN;
    assert_true(upt_view_push_row(rig.view, &row, &day, 1));
    rig_flush(&rig, 0, 2);
    assert_true(rig_published(&rig, 0, 2));
    assert_string_equal(redis_server_ask(&server, "ZCARD uptake:rank:churn_risk"), "0");
    assert_string_equal(redis_server_ask(&server, "ZCARD uptake:rank:health"), "1");
    assert_string_equal(redis_server_ask(&server, "XLEN uptake:changes"), "1");

    assert_true(upt_view_push_forgotten(rig.view, 0, rig_pos(3), UPT_STR("a b")));
    rig_flush(&rig, 0, 3);
    assert_true(rig_published(&rig, 0, 3));
    assert_string_equal(
        redis_server_ask(&server, "EXISTS %s %s", "uptake:account:{a%20b}", "uptake:account:{a%20b}:features"), "0");
    assert_string_equal(redis_server_ask(&server, "ZCARD uptake:rank:health"), "0");
}

static void
expect_command(struct upt_view *bare, upt_i128 micro, int64_t v, unsigned more)
{
    char text[64], number[64], want[2048];
    size_t len = upt_micro_format(micro, text);
    int n = snprintf(number, sizeof(number), "%lld", (long long)v);
    int at = snprintf(want, sizeof(want), "*%u\r\n$%zu\r\n%s\r\n$%d\r\n%s\r\n", 2 + more, len, text, n, number);
    upt_cmd_begin(bare);
    upt_cmd_micro(bare, micro);
    upt_cmd_i64(bare, v);
    for (unsigned i = 0; i < more; i++) {
        at += snprintf(want + at, sizeof(want) - (size_t)at, "$1\r\nx\r\n");
        upt_cmd_arg(bare, "x", 1);
    }
    upt_cmd_end(bare);
    upt_buf_put(&bare->out, "", 1);
    assert_string_equal(bare->out.p, want);
    upt_buf_clear(&bare->out);
}

/* Numbers of every length and their neighbours, in commands whose number of arguments has one digit, two and three. */
static void
test_numbers(void **state)
{
    (void)state;
    static struct upt_view bare;
    int64_t v = 1;
    for (int digits = 1; digits <= 18; digits++, v *= 10) {
        for (int64_t by = -2; by <= 2; by++) {
            expect_command(&bare, v + by, -(v + by), 0);
            expect_command(&bare, -(upt_i128)(v + by), v + by, 20);
            expect_command(&bare, (upt_i128)(v + by) * UPT_MICRO, v + by, 98);
            expect_command(&bare, (upt_i128)(v + by) * (UPT_MICRO / 1000), INT64_MIN, 7);
        }
    }
    expect_command(&bare, INT64_MAX, INT64_MAX, 8);
    expect_command(&bare, (upt_i128)INT64_MAX + 1, INT64_MIN, 97);
    upt_buf_fini(&bare.out);
}

/* Accounts that come, go and come back within one batch, more than a command of ranks takes. */
static void
test_ranks_in_order(void **state)
{
    (void)state;
    char name[16];
    rig_own(&rig, 0, 1);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "a%d", i);
        struct upt_row row = rig_row(name, 0, i);
        row.has_scores = true;
        row.risk[0] = i;
        row.health = i % 7 == 0 ? (double)NAN : (double)i;
        rig_push_row(&rig, &row);
        if (i % 3 != 0) {
            assert_true(upt_view_push_forgotten(rig.view, 0, rig_pos(i), upt_str_of(name)));
        }
        if (i % 3 == 2) {
            row.risk[0] = i + 0.5;
            rig_push_row(&rig, &row);
        }
    }
    rig_flush(&rig, 0, 300);
    assert_true(rig_published(&rig, 0, 300));
    assert_string_equal(redis_server_ask(&server, "ZCARD uptake:rank:churn_risk"), "200");
    assert_string_equal(redis_server_ask(&server, "ZSCORE uptake:rank:churn_risk a297"), "297");
    assert_string_equal(redis_server_ask(&server, "ZSCORE uptake:rank:churn_risk a298"), "(nil)");
    assert_string_equal(redis_server_ask(&server, "ZSCORE uptake:rank:churn_risk a299"), "299.5");
    assert_string_equal(redis_server_ask(&server, "ZCARD uptake:rank:health"), "171");
}

static void
test_partition_entry(void **state)
{
    (void)state;
    rig_own(&rig, 4, 1);
    const struct upt_view_flush none = {
        .partition = 4, .pos = UPT_POS_NONE, .as_of = UPT_NO_CLOCK, .end_offset = -1, .wall_ms = 5};
    assert_true(upt_view_push_flush(rig.view, &none));
    rig_own(&rig, 5, 1);
    rig_flush(&rig, 5, 41);
    assert_true(rig_published(&rig, 5, 41));
    assert_string_equal(redis_server_ask(&server, "HGET uptake:partitions 4"), "{\"owner\":\"unit-1\",\"updated\":5}");
    assert_string_equal(
        redis_server_ask(&server, "HGET uptake:partitions 5"),
        "{\"offset\":41,\"as_of\":1700000000000,\"end_offset\":42,\"owner\":\"unit-1\",\"updated\":99}");
}

static upt_i128
big(uint64_t high, uint64_t low)
{
    return ((upt_i128)high << 64) + (upt_i128)low;
}

static void
test_totals_are_exact_sums(void **state)
{
    (void)state;
    static const struct field sums[] = {{"events_1h", "9007199254740993"},
                                        {"events_24h", "2"},
                                        {"events_7d", "0"},
                                        {"events_30d", "0"},
                                        {"units_1h", "170141183460469231731687303715884.105727"},
                                        {"units_24h", "0.000003"},
                                        {"units_7d", "10000000.000001"},
                                        {"units_30d", "99999999999999.999999"},
                                        {"logins_1h", "9"},
                                        {"logins_24h", "0"},
                                        {"logins_7d", "0"},
                                        {"logins_30d", "0"},
                                        {"accounts_30d", "30"},
                                        {"users_30d", "300"},
                                        {"users_total", "3000"},
                                        {"accounts_total", "30000"},
                                        {"open_alerts", "3"},
                                        {"as_of", "1699999999000"}};
    struct upt_totals_row one = {.partition = 0, .pos = rig_pos(5), .as_of = 1700000000000};
    struct upt_totals_row two = {.partition = 1, .pos = rig_pos(9), .as_of = 1699999999000};
    one.usage[UPT_W_1H] = (struct upt_usage){.events = 9007199254740992, .micro_units = big(INT64_MAX, 0), .logins = 4};
    two.usage[UPT_W_1H] = (struct upt_usage){.events = 1, .micro_units = big(0, UINT64_MAX), .logins = 5};
    one.usage[UPT_W_24H] = (struct upt_usage){.events = 1, .micro_units = 1};
    two.usage[UPT_W_24H] = (struct upt_usage){.events = 1, .micro_units = 2};
    one.usage[UPT_W_7D].micro_units = 10000000000001;
    one.usage[UPT_W_30D].micro_units = big(5, 7766279631452241919); /* 10^20 − 1 */
    one.accounts_30d = 10, one.users_30d = 100, one.users_total = 1000, one.accounts_total = 10000, one.open_alerts = 1;
    two.accounts_30d = 20, two.users_30d = 200, two.users_total = 2000, two.accounts_total = 20000, two.open_alerts = 2;
    rig_own(&rig, 0, 1);
    rig_own(&rig, 1, 1);
    struct upt_totals_row old = one;
    old.pos = rig_pos(4);
    old.accounts_30d = 7777; /* replaced, not added */
    assert_true(upt_view_push_totals(rig.view, &old));
    assert_true(upt_view_push_totals(rig.view, &one));
    assert_true(upt_view_push_totals(rig.view, &two));
    rig_flush(&rig, 0, 9);
    rig_flush(&rig, 1, 9);
    assert_true(rig_published(&rig, 0, 9) && rig_published(&rig, 1, 9));
    ASSERT_HASH("uptake:totals", sums);

    assert_true(upt_view_push_totals(rig.view, &old)); /* an older position changes nothing */
    rig_flush(&rig, 0, 10);
    assert_true(rig_published(&rig, 0, 10));
    ASSERT_HASH("uptake:totals", sums);
}

struct expect {
    const char *key, *field, *value;
};

static bool
has_value(void *ctx)
{
    const struct expect *expect = ctx;
    return strcmp(redis_server_ask(&server, "HGET %s %s", expect->key, expect->field), expect->value) == 0;
}

static void
assert_becomes(const char *key, const char *field, const char *value)
{
    struct expect expect = {.key = key, .field = field, .value = value};
    if (!redis_server_wait(has_value, &expect)) {
        fail_msg("%s %s is %s, expected %s", key, field, redis_server_ask(&server, "HGET %s %s", key, field), value);
    }
}

static void
test_feature_rows_and_shares(void **state)
{
    (void)state;
    static const struct field row[] = {{"events_1h", "0"},  {"events_24h", "0"},       {"events_7d", "0"},
                                       {"events_30d", "6"}, {"units_1h", "0"},         {"units_24h", "0"},
                                       {"units_7d", "0"},   {"units_30d", "1.5"},      {"accounts_30d", "3"},
                                       {"users_30d", "4"},  {"adoption_rate", "0.4"},  {"depth", "0.666667"},
                                       {"reach", "1"},      {"as_of", "1600000000000"}};
    static const char key[] = "uptake:feature:{export%20csv}";
    struct upt_feature_row one = {.feature = UPT_STR("export csv"), .partition = 0, .pos = rig_pos(1)};
    one.as_of = 1700000000000;
    one.usage[UPT_W_30D] = (struct upt_usage){.events = 2, .micro_units = 500000};
    one.accounts_30d = 1, one.users_30d = 1;
    struct upt_feature_row two = one;
    two.partition = 1, two.as_of = 1600000000000;
    two.usage[UPT_W_30D] = (struct upt_usage){.events = 4, .micro_units = 1000000};
    two.accounts_30d = 2, two.users_30d = 3;
    rig_own(&rig, 0, 1);
    rig_own(&rig, 1, 1);
    assert_true(upt_view_push_feature(rig.view, &one) && upt_view_push_feature(rig.view, &two));
    rig_flush(&rig, 0, 1);
    rig_flush(&rig, 1, 1);
    assert_true(rig_published(&rig, 0, 1) && rig_published(&rig, 1, 1));
    /* No totals: not known, so absent. */
    assert_string_equal(redis_server_ask(&server, "HEXISTS %s adoption_rate", key), "0");

    struct upt_totals_row totals = {.partition = 0, .pos = rig_pos(2), .as_of = 1700000000000};
    totals.users_total = 10, totals.users_30d = 6, totals.accounts_30d = 2; /* reach: 3 / 2 is shown as 1 */
    assert_true(upt_view_push_totals(rig.view, &totals));
    rig_flush(&rig, 0, 2);
    assert_becomes(key, "reach", "1");
    assert_becomes(key, "adoption_rate", "0.4");
    ASSERT_HASH(key, row);

    totals.pos = rig_pos(3);
    totals.users_30d = 0;
    assert_true(upt_view_push_totals(rig.view, &totals));
    rig_flush(&rig, 0, 3);
    assert_becomes(key, "depth", "(nil)");
    assert_becomes(key, "adoption_rate", "0.4");
}

/* A view that ends leaves shares of the totals as they are then, whoever changed them last. */
static void
last_shares(bool broken, bool restarted)
{
    struct upt_feature_row row = {
        .feature = UPT_STR("last"), .partition = 0, .pos = rig_pos(1), .as_of = 1, .users_30d = 1};
    struct upt_totals_row totals = {.partition = 0, .pos = rig_pos(1), .as_of = 1, .users_30d = 1};
    struct rig_view slow;
    rig_open_interval(&slow, &server, "unit-2", 3600000);
    rig_own(&slow, 0, 1);
    assert_true(upt_view_push_feature(slow.view, &row) && upt_view_push_totals(slow.view, &totals));
    rig_flush(&slow, 0, 1);
    assert_true(rig_published(&slow, 0, 1));
    rig_own(&rig, 1, 1);
    totals.partition = 1, totals.users_30d = 3;
    assert_true(upt_view_push_totals(rig.view, &totals));
    rig_flush(&rig, 1, 1);
    assert_true(rig_published(&rig, 1, 1));
    if (restarted) {
        redis_server_ask(&server, "SCRIPT FLUSH");
    }
    if (broken) {
        redis_server_ask(&server, "CLIENT KILL TYPE normal");
    }
    rig_close(&slow);
    assert_string_equal(redis_server_ask(&server, "HGET uptake:feature:{last} depth"), "0.25");
}

static void
test_last_shares(void **state)
{
    (void)state;
    last_shares(false, false);
}

static void
test_last_shares_after_a_break(void **state)
{
    (void)state;
    last_shares(true, false);
}

/* It has no scripts either. */
static void
test_last_shares_after_a_restart(void **state)
{
    (void)state;
    last_shares(true, true);
}

/* A command of a broken connection that came late made a share of totals of before. */
static void
test_last_shares_after_a_late_command(void **state)
{
    (void)state;
    struct rig_view late;
    struct upt_feature_row row = {
        .feature = UPT_STR("late"), .partition = 2, .pos = rig_pos(1), .as_of = 1, .users_30d = 1};
    struct upt_totals_row totals = {.partition = 2, .pos = rig_pos(1), .as_of = 1, .users_30d = 4};
    rig_open_interval(&late, &server, "unit-2", 50);
    rig_own(&late, 2, 1);
    assert_true(upt_view_push_feature(late.view, &row) && upt_view_push_totals(late.view, &totals));
    rig_flush(&late, 2, 1);
    assert_true(rig_published(&late, 2, 1));
    assert_becomes("uptake:feature:{late}", "depth", "0.25");
    redis_server_ask(&server, "HSET uptake:feature:{late} depth 1");
    rig_close(&late);
    assert_string_equal(redis_server_ask(&server, "HGET uptake:feature:{late} depth"), "0.25");
}

/* An error is no answer: of totals that cannot be read nothing follows for the shares. */
static void
test_last_shares_without_an_answer(void **state)
{
    (void)state;
    struct rig_view view;
    struct upt_feature_row row = {
        .feature = UPT_STR("asked"), .partition = 3, .pos = rig_pos(1), .as_of = 1, .users_30d = 1};
    struct upt_totals_row totals = {.partition = 3, .pos = rig_pos(1), .as_of = 1, .users_30d = 4};
    rig_open_interval(&view, &server, "unit-2", 50);
    rig_own(&view, 3, 1);
    assert_true(upt_view_push_feature(view.view, &row) && upt_view_push_totals(view.view, &totals));
    rig_flush(&view, 3, 1);
    assert_true(rig_published(&view, 3, 1));
    assert_becomes("uptake:feature:{asked}", "depth", "0.25");
    redis_server_ask(&server, "ACL SETUSER default resetkeys ~uptake:feature:*");
    rig_close(&view);
    redis_server_ask(&server, "ACL SETUSER default ~*");
    assert_string_equal(redis_server_ask(&server, "HGET uptake:feature:{asked} depth"), "0.25");
}

/* A Redis that loses its last writes may lose shares and nothing else. */
static void
test_shares_after_a_break(void **state)
{
    (void)state;
    struct upt_feature_row row = {
        .feature = UPT_STR("lost"), .partition = 0, .pos = rig_pos(1), .as_of = 1, .users_30d = 1};
    struct upt_totals_row totals = {.partition = 0, .pos = rig_pos(1), .as_of = 1, .users_30d = 4};
    rig_own(&rig, 0, 1);
    assert_true(upt_view_push_feature(rig.view, &row) && upt_view_push_totals(rig.view, &totals));
    rig_flush(&rig, 0, 1);
    assert_true(rig_published(&rig, 0, 1));
    assert_becomes("uptake:feature:{lost}", "depth", "0.25");
    redis_server_ask(&server, "HSET uptake:feature:{lost} depth 1");
    redis_server_ask(&server, "CLIENT KILL TYPE normal");
    assert_becomes("uptake:feature:{lost}", "depth", "0.25");
}

static void
test_feature_with_nul_byte(void **state)
{
    (void)state;
    struct upt_feature_row row = {
        .feature = UPT_STR("a\0b"), .partition = 0, .pos = rig_pos(1), .as_of = 1, .users_30d = 1};
    struct upt_totals_row totals = {.partition = 0, .pos = rig_pos(1), .as_of = 1, .users_30d = 2};
    rig_own(&rig, 0, 1);
    assert_true(upt_view_push_feature(rig.view, &row) && upt_view_push_totals(rig.view, &totals));
    rig_flush(&rig, 0, 1);
    assert_true(rig_published(&rig, 0, 1));
    assert_becomes("uptake:feature:{a%00b}", "depth", "0.5");
}

static void
test_urls(void **state)
{
    (void)state;
    static const char *const bad[] = {"http://127.0.0.1:1", "redis://", "redis://h:0", "redis://h:70000",
                                      "redis://:6379/1"};
    struct redisContext *ctx = NULL;
    struct upt_error err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct upt_view_config config = {.url = bad[i], .timeout_ms = 1000};
        assert_int_equal(upt_redis_connect(&config, &ctx, &err), UPT_EINVAL);
    }
    redis_server_ask(&server, "ACL SETUSER bob on >pa:ss@1 ~* +@all");
    char url[128];
    snprintf(url, sizeof(url), "redis://bob:pa:ss@1@127.0.0.1:%d/3", server.port);
    struct upt_view_config config = {.url = url, .timeout_ms = 1000};
    assert_int_equal(upt_redis_connect(&config, &ctx, &err), UPT_OK);
    redisReply *reply = redisCommand(ctx, "CLIENT LIST");
    assert_non_null(reply);
    assert_non_null(strstr(reply->str, "db=3"));
    assert_non_null(strstr(reply->str, "user=bob"));
    freeReplyObject(reply);
    redisFree(ctx);
    redis_server_ask(&server, "ACL SETUSER eve on >a/b%%c@d ~* +@all");
    snprintf(url, sizeof(url), "redis://%%65ve:a%%2fb%%25c%%40d@127.0.0.1:%d", server.port);
    assert_int_equal(upt_redis_connect(&config, &ctx, &err), UPT_OK); /* percent-decoded */
    redisFree(ctx);
    config.password = "wrong-secret";
    assert_int_equal(upt_redis_connect(&config, &ctx, &err), UPT_EAUTH);
    assert_null(strstr(err.msg, "wrong-secret"));
    assert_null(strstr(err.msg, "pa:ss"));
}

/* A token may be the password; none of the three has a limit of its own. */
static void
test_long_credentials(void **state)
{
    (void)state;
    char user[300], password[3000], url[4096];
    memset(user, 'u', sizeof(user));
    memset(password, 'p', sizeof(password));
    user[sizeof(user) - 1] = password[sizeof(password) - 1] = '\0';
    redis_server_ask(&server, "ACL SETUSER %s on >%s ~* +@all", user, password);
    struct redisContext *ctx = NULL;
    struct upt_error err;
    snprintf(url, sizeof(url), "redis://%s:%s@127.0.0.1:%d", user, password, server.port);
    struct upt_view_config config = {.url = url, .timeout_ms = 1000};
    assert_int_equal(upt_redis_connect(&config, &ctx, &err), UPT_OK);
    redisFree(ctx);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", server.port);
    config.user = user;
    config.password = password;
    assert_int_equal(upt_redis_connect(&config, &ctx, &err), UPT_OK);
    redisFree(ctx);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_row_fields_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signals_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whole_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_key_encoding, setup, teardown),
        cmocka_unit_test_setup_teardown(test_feature_days, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ranks_changes_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ranks_in_order, setup, teardown),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test_setup_teardown(test_partition_entry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_totals_are_exact_sums, setup, teardown),
        cmocka_unit_test_setup_teardown(test_feature_rows_and_shares, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_shares, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_shares_after_a_break, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_shares_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_shares_after_a_late_command, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_shares_without_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shares_after_a_break, setup, teardown),
        cmocka_unit_test_setup_teardown(test_feature_with_nul_byte, setup, teardown),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_long_credentials),
    };
    cmocka_set_test_filter(getenv("UPTAKE_TEST_ONLY"));
    return cmocka_run_group_tests(tests, start_server, end_server);
}
