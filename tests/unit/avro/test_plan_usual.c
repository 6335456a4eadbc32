/* An event of the shipped schema is read without a look at each step: the result must be that of the steps, for good
 * records, for every truncation of them and with any byte of them another one. */
#include "testing.h"

#include <stdlib.h>

#include "ingest/avro/encoder.h"
#include "ingest/avro/plan.h"

static struct upt_plan *
plan_of(struct upt_str json)
{
    struct upt_avro_schema *schema = NULL;
    struct upt_plan *plan = NULL;
    assert_int_equal(upt_schema_parse(json, &schema, NULL), UPT_OK);
    assert_int_equal(upt_plan_compile(schema, &plan, NULL), UPT_OK);
    upt_schema_destroy(&schema);
    return plan;
}

static struct upt_plan *usual, *steps;
static struct upt_run run_usual, run_steps;

static void
assert_same_text(struct upt_str a, struct upt_str b)
{
    assert_ptr_equal(a.p, b.p);
    assert_int_equal(a.len, b.len);
}

static upt_reason
assert_same(struct upt_str body)
{
    upt_reason reason = upt_plan_run(steps, &run_steps, body);
    assert_int_equal(upt_plan_run(usual, &run_usual, body), reason);
    assert_int_equal(run_usual.depth, run_steps.depth);
    if (reason != UPT_REASON_NONE) {
        assert_int_equal(run_usual.at, run_steps.at);
        assert_string_equal(run_usual.why, run_steps.why);
        assert_string_equal(run_usual.field, run_steps.field);
        return reason;
    }
    const struct upt_event *a = run_usual.events, *b = run_steps.events;
    assert_int_equal(run_usual.events_n, 1);
    assert_same_text(a->event_id, b->event_id);
    assert_same_text(a->account_id, b->account_id);
    assert_same_text(a->user_id, b->user_id);
    assert_same_text(a->feature, b->feature);
    assert_int_equal(a->properties.raw.len, b->properties.raw.len);
    assert_int_equal(a->occurred_at, b->occurred_at);
    assert_int_equal(a->has_duration, b->has_duration);
    assert_int_equal(a->duration_ms, b->duration_ms);
    assert_int_equal(a->kind, b->kind);
    assert_memory_equal(&a->quantity, &b->quantity, sizeof(a->quantity));
    return reason;
}

/* Each record in memory of just its length, so that a sanitizer sees what is read beside it. */
static void
assert_same_variants(const struct upt_buf *record)
{
    static const unsigned char others[] = {0, 1, 2, 3, 4, 34, 64, 66, 127, 128, 129, 255};
    for (uint32_t len = 0; len <= record->len; len++) {
        char *bytes = malloc(len + 1);
        assert_non_null(bytes);
        memcpy(bytes, record->p, len);
        upt_reason reason = assert_same((struct upt_str){.p = bytes, .len = len});
        assert_int_equal(reason, len == record->len ? UPT_REASON_NONE : UPT_REASON_BAD_AVRO);
        free(bytes);
    }
    for (uint32_t i = 0; i < record->len; i++) {
        char kept = record->p[i];
        for (size_t n = 0; n < sizeof(others); n++) {
            record->p[i] = (char)others[n];
            (void)assert_same(str_of(record));
        }
        record->p[i] = kept;
    }
}

static void
put_event(struct upt_buf *out, struct upt_str text, int variant)
{
    const struct upt_prop props[] = {{UPT_STR("k"), text}, {text, UPT_STR("\xC3\xA9")}};
    struct upt_event ev = {.event_id = text,
                           .occurred_at = INT64_C(1767225600000) >> variant,
                           .account_id = {.p = text.p, .len = text.len / 2},
                           .user_id = variant & 1 ? UPT_STR_NULL : text,
                           .kind = (upt_kind)(variant % UPT_KIND_COUNT),
                           .feature = variant & 2 ? UPT_STR_NULL : text,
                           .quantity = -2.5,
                           .duration_ms = variant * 1000,
                           .has_duration = (variant & 4) == 0};
    upt_buf_clear(out);
    upt_encode_event(out, -1, &ev, props, variant & 8 ? 2 : 0);
}

static void
test_as_the_steps(void **state)
{
    (void)state;
    static const uint32_t lens[] = {0, 1, 9, 31, 32, 33, 36, 63, 64, 70};
    struct upt_buf record = {0};
    char text[70];
    for (uint32_t depth = 2; depth <= 3; depth++) {
        run_usual.max_depth = run_steps.max_depth = depth;
        for (size_t i = 0; i < 2 * sizeof(lens) / sizeof(lens[0]); i++) {
            uint32_t len = lens[i / 2];
            memset(text, 't', sizeof(text));
            if (i % 2 == 1 && len >= 4) {
                memcpy(text + len / 2 - 2, "\xC3\xA9", 2);
            }
            for (int variant = 0; variant < 16; variant++) {
                put_event(&record, (struct upt_str){.p = text, .len = len}, variant);
                assert_same_variants(&record);
            }
        }
    }
    run_usual.max_depth = run_steps.max_depth = 1; /* a map is too deep, also one without entries */
    put_event(&record, UPT_STR("t"), 0);
    assert_int_equal(assert_same(str_of(&record)), UPT_REASON_TOO_LARGE);
    upt_buf_fini(&record);
}

static int
setup(void **state)
{
    (void)state;
    usual = plan_of(upt_schema_usage_event);
    steps = plan_of(upt_schema_usage_event);
    assert_int_equal(usual->root.code, UPT_OP_USUAL);
    steps->root.code = UPT_OP_EVENT;
    run_usual.max_events = run_steps.max_events = 10;
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    upt_plan_destroy(&usual);
    upt_plan_destroy(&steps);
    free(run_usual.events);
    free(run_steps.events);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_the_steps)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
