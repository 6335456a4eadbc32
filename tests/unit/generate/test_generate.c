/* The generator: order, determinism, numbers asked for, rhythm, and labels that the events bear out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ingest/generate/generate.h"
#include "uptake/time.h"

#define NOW INT64_C(1790000000000) /* 2026-09-21T14:13:20Z, a Monday */
#define ACCOUNTS 400
#define DAYS 90

static struct upt_generator *
open_generator(struct upt_generator_config config)
{
    struct upt_generator *gen = NULL;
    struct upt_error err = {0};
    assert_int_equal(upt_generator_create(&config, &gen, &err), UPT_OK);
    return gen;
}

static const struct upt_generator_config usual = {
    .accounts = ACCOUNTS, .features = 12, .days = DAYS, .churn_share = 0.3, .seed = 5, .now_ms = NOW};

static uint64_t
digest(uint64_t sum, const struct upt_generated *generated)
{
    const struct upt_event *ev = &generated->event;
    uint64_t parts[8] = {sum,
                         upt_hash(ev->event_id.p, ev->event_id.len),
                         upt_hash(ev->account_id.p, ev->account_id.len),
                         ev->user_id.p == NULL ? 0 : upt_hash(ev->user_id.p, ev->user_id.len),
                         ev->feature.p == NULL ? 0 : upt_hash(ev->feature.p, ev->feature.len),
                         (uint64_t)ev->occurred_at,
                         (uint64_t)(ev->quantity * 1000),
                         (uint64_t)ev->kind};
    for (size_t i = 0; i < generated->props_n; i++) {
        parts[0] ^= upt_hash(generated->props[i].value.p, generated->props[i].value.len) + i;
    }
    return upt_hash(parts, sizeof(parts));
}

static uint64_t
digest_of(uint64_t seed, uint64_t *ret_n)
{
    struct upt_generator_config config = usual;
    struct upt_generated generated;
    uint64_t sum = 0;
    config.seed = seed;
    *ret_n = 0;
    struct upt_generator *gen = open_generator(config);
    while (upt_generator_next(gen, &generated)) {
        sum = digest(sum, &generated);
        ++*ret_n;
    }
    upt_generator_destroy(&gen);
    assert_null(gen);
    return sum;
}

static void
the_same_seed_gives_the_same(void **state)
{
    uint64_t n1, n2, n3;
    (void)state;
    uint64_t one = digest_of(1, &n1);
    assert_true(digest_of(1, &n2) == one);
    assert_int_equal(n1, n2);
    assert_true(n1 > 50000);
    assert_false(digest_of(2, &n3) == one);
}

static void
events_are_in_order_and_well_formed(void **state)
{
    struct upt_generator *gen = open_generator(usual);
    struct upt_generated generated;
    int64_t last = NOW - (DAYS + 1) * UPT_DAY_MS;
    uint64_t kinds[UPT_KIND_COUNT] = {0};
    (void)state;
    while (upt_generator_next(gen, &generated)) {
        const struct upt_event *ev = &generated.event;
        assert_true(ev->occurred_at >= last && ev->occurred_at <= NOW);
        last = ev->occurred_at;
        kinds[ev->kind]++;
        assert_true(ev->account_id.len > 0 && ev->event_id.len > 0);
        assert_true(ev->quantity >= 0 && ev->quantity <= 1e9);
        if (ev->kind == UPT_KIND_USAGE) {
            assert_true(ev->feature.len > 0 && ev->feature.p[0] != '_');
        }
        assert_true((ev->kind == UPT_KIND_PROFILE) == (generated.props_n > 0));
    }
    assert_true(upt_generator_progress(gen) >= 1.0);
    upt_generator_destroy(&gen);
    static const upt_kind wanted[] = {
        UPT_KIND_USAGE,           UPT_KIND_LOGIN,         UPT_KIND_SIGNUP,        UPT_KIND_USER_REMOVED,
        UPT_KIND_SEATS,           UPT_KIND_VALUE,         UPT_KIND_SURVEY,        UPT_KIND_CONTACT,
        UPT_KIND_ONBOARDING_STEP, UPT_KIND_PROFILE,       UPT_KIND_TICKET_OPENED, UPT_KIND_CHURNED,
        UPT_KIND_RENEWED,         UPT_KIND_TICKET_CLOSED, UPT_KIND_RELEASE,       UPT_KIND_TRAINING};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        assert_true(kinds[wanted[i]] > 5);
    }
    assert_true(kinds[UPT_KIND_PROFILE] == ACCOUNTS);
    assert_true(kinds[UPT_KIND_TICKET_CLOSED] <= kinds[UPT_KIND_TICKET_OPENED]);
}

static void
the_number_asked_for_is_met(void **state)
{
    static const int64_t asked[] = {1, 5000, 77777, 300000};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct upt_generator_config config = usual;
        struct upt_generated generated;
        int64_t n = 0;
        config.accounts = 100;
        config.events = asked[i];
        struct upt_generator *gen = open_generator(config);
        int64_t first = 0, last = 0;
        while (upt_generator_next(gen, &generated)) {
            first = n++ == 0 ? generated.event.occurred_at : first;
            last = generated.event.occurred_at;
        }
        upt_generator_destroy(&gen);
        assert_int_equal(n, asked[i]);
        if (asked[i] > 50000) {
            assert_true(last - first > (DAYS - 2) * UPT_DAY_MS); /* spread over the whole time */
        }
    }
}

struct seen {
    int64_t last_use;
    uint64_t uses, in_pause, after;
    int64_t opened, closed;
};

/* The account's number ends its name. */
static int64_t
number_of(struct upt_str account)
{
    uint32_t at = account.len;
    while (account.p[at - 1] != '-') {
        at--;
    }
    return strtoll(account.p + at, NULL, 10) - 1;
}

static void
labels_are_borne_out(void **state)
{
    struct upt_generator *gen = open_generator(usual);
    struct seen *seen = calloc(ACCOUNTS, sizeof(*seen));
    struct upt_generated generated;
    int kinds[UPT_CHURN_COUNT] = {0};
    int back = 0, busy = 0;
    (void)state;
    while (upt_generator_next(gen, &generated)) {
        const struct upt_event *ev = &generated.event;
        struct upt_label label;
        int64_t i = number_of(ev->account_id);
        assert_true(i >= 0 && i < ACCOUNTS);
        upt_generator_label(gen, i, &label);
        assert_int_equal(strlen(label.account), ev->account_id.len);
        assert_memory_equal(label.account, ev->account_id.p, ev->account_id.len);
        seen[i].opened += ev->kind == UPT_KIND_TICKET_OPENED;
        seen[i].closed += ev->kind == UPT_KIND_TICKET_CLOSED;
        assert_true(seen[i].closed <= seen[i].opened);
        if (ev->kind != UPT_KIND_USAGE && ev->kind != UPT_KIND_LOGIN && ev->kind != UPT_KIND_VALUE) {
            continue;
        }
        int64_t day = upt_floor_div(ev->occurred_at, UPT_DAY_MS);
        seen[i].uses++;
        if (label.kind == UPT_PAUSES) {
            seen[i].in_pause += day >= label.day && day < label.day + 12;
            seen[i].after += day >= label.day + 12;
        } else if (label.kind != UPT_STAYS) {
            assert_true(day < label.day + 1); /* in the account's region a day may end later than in UTC */
        }
    }
    for (int64_t i = 0; i < ACCOUNTS; i++) {
        struct upt_label label;
        upt_generator_label(gen, i, &label);
        kinds[label.kind]++;
        assert_int_equal(seen[i].in_pause, 0);
        back += label.kind == UPT_PAUSES && seen[i].after > 0;
        busy += label.kind == UPT_STAYS && seen[i].uses > 0;
        assert_true(label.users >= 1 && label.users <= 5000);
    }
    int churners = kinds[UPT_FADES] + kinds[UPT_STOPS] + kinds[UPT_HEAVY];
    assert_true(churners > ACCOUNTS * 0.2 && churners < ACCOUNTS * 0.4);
    for (int kind = 0; kind < UPT_CHURN_COUNT; kind++) {
        assert_true(kinds[kind] >= 5);
    }
    assert_true(back * 2 > kinds[UPT_PAUSES]);
    assert_true(busy * 10 > kinds[UPT_STAYS] * 8);
    free(seen);
    upt_generator_destroy(&gen);
}

static void
the_week_has_a_rhythm_and_sizes_a_tail(void **state)
{
    struct upt_generator_config config = usual;
    struct upt_generated generated;
    uint64_t days[7] = {0};
    int64_t largest = 0, small = 0;
    (void)state;
    config.accounts = 3000;
    config.days = 28;
    struct upt_generator *gen = open_generator(config);
    while (upt_generator_next(gen, &generated)) {
        days[(upt_floor_div(generated.event.occurred_at, UPT_DAY_MS) + 3) % 7]++;
    }
    for (int day = 0; day < 5; day++) {
        assert_true(days[day] > 3 * days[5] && days[day] > 3 * days[6]);
    }
    for (int64_t i = 0; i < config.accounts; i++) {
        struct upt_label label;
        upt_generator_label(gen, i, &label);
        largest = label.users > largest ? label.users : largest;
        small += label.users <= 10;
    }
    assert_true(largest > 500);
    assert_true(small * 2 > config.accounts);
    upt_generator_destroy(&gen);
}

static void
more_accounts_do_not_change_the_others(void **state)
{
    struct upt_generator_config few = usual, many = usual;
    (void)state;
    few.accounts = 3;
    few.events = many.events = 0;
    struct upt_generator *a = open_generator(few);
    struct upt_generator *b = open_generator(many);
    struct upt_generated one, other;
    for (int n = 0; n < 200 && upt_generator_next(a, &one); n++) {
        do {
            assert_true(upt_generator_next(b, &other));
        } while (number_of(other.event.account_id) >= 3);
        assert_true(one.event.occurred_at == other.event.occurred_at);
        assert_int_equal(one.event.kind, other.event.kind);
        assert_int_equal(one.event.account_id.len, other.event.account_id.len);
    }
    upt_generator_destroy(&a);
    upt_generator_destroy(&b);
}

static void
nonsense_is_refused(void **state)
{
    struct upt_generator *gen = NULL;
    struct upt_error err;
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct upt_generator_config config = usual;
        config.accounts = i == 0 ? 0 : config.accounts;
        config.features = i == 1 ? 0 : i == 2 ? 1001 : config.features;
        config.days = i == 3 ? 0 : config.days;
        config.events = i == 4 ? -1 : 0;
        assert_int_equal(upt_generator_create(&config, &gen, &err), UPT_EINVAL);
    }
    assert_null(gen);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same),
        cmocka_unit_test(events_are_in_order_and_well_formed),
        cmocka_unit_test(the_number_asked_for_is_met),
        cmocka_unit_test(labels_are_borne_out),
        cmocka_unit_test(the_week_has_a_rhythm_and_sizes_a_tail),
        cmocka_unit_test(more_accounts_do_not_change_the_others),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests_name("generate", tests, NULL, NULL);
}
