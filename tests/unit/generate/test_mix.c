/* The mix says what is wrong with each record; the product's decoder and rules written again here must agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <math.h>

#include <cmocka.h>
#include <jansson.h>

#include "ingest/avro/decoder.h"
#include "ingest/avro/registry.h"
#include "ingest/generate/mix.h"
#include "registry_stub.h"
#include "uptake/time.h"

#define NOW INT64_C(1790000000000)
#define SEEN (1u << 20)

enum { EVENT_ID = 1, BATCH_ID = 2, EVOLVED_ID = 3, OTHER_ID = 4, UNKNOWN_ID = 5 };

struct fixture {
    struct registry_stub *stub;
    struct upt_registry *registry;
    struct upt_decoder *decoder;
    struct upt_metrics metrics;
};

struct seen {
    uint64_t hash;
    int64_t ts;
};

static void
offer(struct registry_stub *stub, int id, struct upt_str schema)
{
    char request[64];
    snprintf(request, sizeof(request), "GET /schemas/ids/%d", id);
    json_t *body = json_object();
    json_object_set_new(body, "schema", json_stringn(schema.p, schema.len));
    char *text = json_dumps(body, 0);
    registry_stub_set(stub, request, 200, text, NULL);
    free(text);
    json_decref(body);
}

static int
setup(void **state)
{
    struct fixture *fx = aligned_alloc(64, (sizeof(*fx) + 63) / 64 * 64);
    struct upt_error err = {0};
    memset(fx, 0, sizeof(*fx));
    fx->stub = registry_stub_start();
    offer(fx->stub, EVENT_ID, upt_schema_usage_event);
    offer(fx->stub, BATCH_ID, upt_schema_usage_batch);
    offer(fx->stub, EVOLVED_ID,
          (struct upt_str){.p = (const char *)upt_mix_schema_evolved, .len = (uint32_t)upt_mix_schema_evolved_len});
    offer(fx->stub, OTHER_ID,
          (struct upt_str){.p = (const char *)upt_mix_schema_other, .len = (uint32_t)upt_mix_schema_other_len});
    registry_stub_set(fx->stub, "GET /schemas/ids/5", 404, "{\"error_code\":40403,\"message\":\"Schema not found\"}",
                      NULL);
    const struct upt_registry_config registry = {
        .urls = registry_stub_url(fx->stub), .timeout_ms = 10000, .negative_ttl_ms = 600000, .metrics = &fx->metrics};
    assert_int_equal(upt_registry_create(&registry, &fx->registry, &err), UPT_OK);
    const struct upt_decoder_config decoder = {.framed = true,
                                               .registry = fx->registry,
                                               .max_record_bytes = 1024 * 1024,
                                               .max_batch_events = 10000,
                                               .max_depth = 32};
    assert_int_equal(upt_decoder_create(&decoder, &fx->decoder, &err), UPT_OK);
    *state = fx;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *fx = *state;
    upt_decoder_destroy(&fx->decoder);
    upt_registry_destroy(&fx->registry);
    registry_stub_stop(&fx->stub);
    free(fx);
    return 0;
}

static struct upt_generator *
open_generator(void)
{
    const struct upt_generator_config config = {.accounts = 40,
                                                .users = 10,
                                                .features = 12,
                                                .days = 60,
                                                .events = 60000,
                                                .churn_share = 0.2,
                                                .seed = 3,
                                                .now_ms = NOW};
    struct upt_generator *gen = NULL;
    struct upt_error err = {0};
    assert_int_equal(upt_generator_create(&config, &gen, &err), UPT_OK);
    return gen;
}

static struct upt_mix *
open_mix(struct upt_generator *gen, uint64_t seed, bool framed)
{
    const struct upt_mix_config config = {.gen = gen,
                                          .seed = seed,
                                          .framed = framed,
                                          .event_id = EVENT_ID,
                                          .batch_id = BATCH_ID,
                                          .evolved_id = EVOLVED_ID,
                                          .other_id = OTHER_ID,
                                          .unknown_id = UNKNOWN_ID,
                                          .strange_share = 0.3,
                                          .batch_share = 0.1};
    struct upt_mix *mix = NULL;
    struct upt_error err = {0};
    assert_int_equal(upt_mix_create(&config, &mix, &err), UPT_OK);
    return mix;
}

/* The contract's rules for one event, written down once more. */
static upt_reason
judge(const struct upt_event *ev, int64_t ts)
{
    bool counted = ev->kind == UPT_KIND_USAGE || ev->kind == UPT_KIND_VALUE;
    if (ev->kind == UPT_KIND_USAGE && ev->feature.p != NULL &&
        (ev->feature.len == 0 || ev->feature.len > 128 || ev->feature.p[0] == '_')) {
        return UPT_REASON_BAD_FEATURE;
    }
    if (!isfinite(ev->quantity) || (counted && (ev->quantity < 0 || ev->quantity > 1e9))) {
        return UPT_REASON_BAD_QUANTITY;
    }
    if (upt_floor_div(ev->occurred_at, UPT_DAY_MS) <= upt_floor_div(ts, UPT_DAY_MS) - 30) {
        return UPT_REASON_TOO_LATE;
    }
    return ev->occurred_at > ts + 300000 ? UPT_REASON_IN_FUTURE : UPT_REASON_NONE;
}

/* The record's reason, and whether only some of its events count. Its events lie in *ret. */
static upt_reason
judge_record(struct fixture *fx, const struct upt_mix_record *record, struct upt_decoded *ret, bool *ret_partly)
{
    struct upt_error err = {0};
    upt_status status = UPT_EAGAIN;
    *ret_partly = false;
    memset(ret, 0, sizeof(*ret));
    if (record->key.p == NULL || record->key.len == 0 || record->key.len > 256 ||
        !upt_utf8_valid(record->key.p, record->key.len)) {
        return UPT_REASON_BAD_KEY;
    }
    if (record->value.p == NULL) {
        return UPT_REASON_NONE;
    }
    for (int tries = 0; status == UPT_EAGAIN && tries < 10000; tries++) {
        status = upt_decoder_decode(fx->decoder, record->key, record->value, ret, &err);
        if (status == UPT_EAGAIN) {
            upt_sleep_ms(1); /* the registry's thread fetches the schema, once each */
        }
    }
    assert_int_equal(status, UPT_OK);
    if (ret->reason != UPT_REASON_NONE) {
        return ret->reason;
    }
    upt_reason first = UPT_REASON_NONE;
    for (uint32_t i = 0; i < ret->events_n; i++) {
        upt_reason reason = judge(&ret->events[i], record->ts);
        first = first == UPT_REASON_NONE ? reason : first;
    }
    *ret_partly = ret->batch && first != UPT_REASON_NONE;
    return first;
}

static struct seen *
seen_at(struct seen *table, const struct upt_event *ev)
{
    uint64_t hash = upt_hash(ev->event_id.p, ev->event_id.len) * 31 + upt_hash(ev->account_id.p, ev->account_id.len);
    size_t at = hash % SEEN;
    hash = hash == 0 ? 1 : hash;
    while (table[at].hash != 0 && table[at].hash != hash) {
        at = (at + 1) % SEEN;
    }
    table[at].hash = hash;
    return &table[at];
}

/* Duplicates are what they are called: an id of the same account, inside or outside ten minutes. */
static void
check_again(struct seen *table, const struct upt_mix_record *record, const struct upt_decoded *decoded,
            uint64_t *in_batch, uint64_t *reborn)
{
    uint64_t repeats = 0;
    for (uint32_t i = 0; i < decoded->events_n; i++) {
        struct seen *seen = seen_at(table, &decoded->events[i]);
        int64_t age = record->ts - seen->ts;
        if (record->what == UPT_MIX_REBIRTH) {
            assert_true(seen->ts != 0);
            *reborn += age < 10 * UPT_MINUTE_MS; /* the id would be a duplicate, had it not been forgotten */
        } else if (record->what == UPT_MIX_AGAIN_SOON) {
            assert_true(seen->ts != 0 && age < 10 * UPT_MINUTE_MS);
        } else if (record->what == UPT_MIX_AGAIN_LATER) {
            assert_true(seen->ts != 0);
            assert_true(age > 0);
        } else if (record->what == UPT_MIX_PLAIN || record->what == UPT_MIX_BATCH) {
            assert_true(seen->ts == 0);
        }
        repeats += seen->ts == record->ts;
        if (record->what != UPT_MIX_NO_ID) {
            seen->ts = record->ts;
        }
    }
    if (record->what == UPT_MIX_AGAIN_IN_BATCH) {
        *in_batch += repeats;
    }
}

static void
each_record_is_what_it_is_called(void **state)
{
    struct fixture *fx = *state;
    struct upt_generator *gen = open_generator();
    struct upt_mix *mix = open_mix(gen, 11, true);
    struct seen *table = calloc(SEEN, sizeof(*table));
    struct upt_mix_record record;
    uint64_t reasons[UPT_REASON_COUNT] = {0}, partly = 0, in_batch = 0, others = 0, reborn = 0;
    int64_t ts = INT64_MIN;
    while (upt_mix_next(mix, &record)) {
        struct upt_decoded decoded;
        bool some;
        assert_true(record.ts >= ts);
        ts = record.ts;
        upt_reason reason = judge_record(fx, &record, &decoded, &some);
        if (reason != record.reason || some != record.partly) {
            fail_msg("%s: %s %d, not %s %d: %s", upt_mix_names[record.what], upt_reason_names[reason], some,
                     upt_reason_names[record.reason], record.partly, decoded.detail);
        }
        reasons[reason]++;
        partly += some;
        if (reason == UPT_REASON_NONE && record.value.p != NULL) {
            assert_int_equal(decoded.events_n, record.events);
            assert_int_equal(decoded.batch, record.events != 1 || decoded.schema_id == BATCH_ID);
            check_again(table, &record, &decoded, &in_batch, &reborn);
        }
        if (record.what == UPT_MIX_EVOLVED_SYMBOL) {
            assert_int_equal(decoded.events[0].kind, UPT_KIND_OTHER);
            others++;
        }
    }
    /* The numbers that whoever uses the mix may count on. */
    for (int reason = UPT_REASON_BAD_KEY; reason < UPT_REASON_COUNT; reason++) {
        assert_true(reasons[reason] >= 200);
    }
    for (int i = 0; i < UPT_MIX_COUNT; i++) {
        if (upt_mix_count(mix, (upt_mix_case)i) < 50) {
            fail_msg("%s: %d", upt_mix_names[i], (int)upt_mix_count(mix, (upt_mix_case)i));
        }
    }
    assert_true(partly >= 200 && in_batch >= 200 && others >= 100 && reborn >= 50);
    assert_true(upt_mix_count(mix, UPT_MIX_PLAIN) > 20000);
    free(table);
    upt_mix_destroy(&mix);
    assert_null(mix);
    upt_generator_destroy(&gen);
}

static void
bare_records_have_no_frame(void **state)
{
    struct fixture bare = {0};
    struct upt_error err = {0};
    (void)state;
    const struct upt_decoder_config decoder = {.framed = false,
                                               .schema = upt_schema_usage_event,
                                               .max_record_bytes = 1024 * 1024,
                                               .max_batch_events = 10000,
                                               .max_depth = 32};
    assert_int_equal(upt_decoder_create(&decoder, &bare.decoder, &err), UPT_OK);
    struct upt_generator *gen = open_generator();
    struct upt_mix *mix = open_mix(gen, 12, false);
    struct upt_mix_record record;
    uint64_t reasons[UPT_REASON_COUNT] = {0};
    while (upt_mix_next(mix, &record)) {
        struct upt_decoded decoded;
        bool some;
        upt_reason reason = judge_record(&bare, &record, &decoded, &some);
        if (reason != record.reason) {
            fail_msg("%s: %s, not %s", upt_mix_names[record.what], upt_reason_names[reason],
                     upt_reason_names[record.reason]);
        }
        reasons[reason]++;
    }
    for (int reason = UPT_REASON_BAD_KEY; reason < UPT_REASON_COUNT; reason++) {
        bool framed = reason >= UPT_REASON_BAD_FRAME && reason <= UPT_REASON_BAD_SCHEMA;
        assert_true(framed ? reasons[reason] == 0 : reasons[reason] >= 100);
    }
    upt_mix_destroy(&mix);
    upt_generator_destroy(&gen);
    upt_decoder_destroy(&bare.decoder);
}

static uint64_t
digest_of(uint64_t seed)
{
    struct upt_generator *gen = open_generator();
    struct upt_mix *mix = open_mix(gen, seed, true);
    struct upt_mix_record record;
    uint64_t sum = 0;
    while (upt_mix_next(mix, &record)) {
        uint64_t parts[5] = {sum, record.key.p == NULL ? 0 : upt_hash(record.key.p, record.key.len),
                             record.value.p == NULL ? 0 : upt_hash(record.value.p, record.value.len),
                             (uint64_t)record.ts, (uint64_t)record.what};
        sum = upt_hash(parts, sizeof(parts));
    }
    upt_mix_destroy(&mix);
    upt_generator_destroy(&gen);
    return sum;
}

static void
the_same_seed_gives_the_same(void **state)
{
    (void)state;
    uint64_t one = digest_of(1);
    assert_true(one == digest_of(1));
    assert_false(one == digest_of(2));
}

static void
quiet_means_plain(void **state)
{
    struct upt_generator *gen = open_generator();
    const struct upt_mix_config config = {.gen = gen, .seed = 1, .framed = true, .event_id = 1, .batch_id = 2};
    struct upt_mix *mix = NULL;
    struct upt_mix_record record;
    struct upt_error err;
    uint64_t n = 0;
    (void)state;
    assert_int_equal(upt_mix_create(&config, &mix, &err), UPT_OK);
    while (upt_mix_next(mix, &record)) {
        n++;
    }
    assert_int_equal(upt_mix_count(mix, UPT_MIX_PLAIN), n);
    assert_int_equal(n, 60000);
    upt_mix_destroy(&mix);
    upt_generator_destroy(&gen);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_record_is_what_it_is_called, setup, teardown),
        cmocka_unit_test(bare_records_have_no_frame),
        cmocka_unit_test(the_same_seed_gives_the_same),
        cmocka_unit_test(quiet_means_plain),
    };
    return cmocka_run_group_tests_name("mix", tests, NULL, NULL);
}
