/* The golden examples of schemas/golden, both ways: the encoder makes the same bytes, the bytes give the same values.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "ingest/avro/encoder.h"

/* ---- From an example's JSON to our structs ---- */

static struct upt_str
text_of(const json_t *json, const char *name)
{
    const json_t *text = json_object_get(json, name);
    return (struct upt_str){.p = json_string_value(text), .len = (uint32_t)json_string_length(text)};
}

static int64_t
long_of(const json_t *json, const char *name, int64_t absent)
{
    const json_t *number = json_object_get(json, name);
    return json_is_integer(number) ? json_integer_value(number) : absent;
}

static double
double_of(const json_t *json, const char *name)
{
    const json_t *number = json_object_get(json, name);
    return json_is_number(number) ? json_number_value(number) : (double)NAN;
}

static int
symbol_of(const json_t *json, const char *name, const char *const *names, int n)
{
    const char *text = json_string_value(json_object_get(json, name));
    for (int i = 0; text != NULL && i < n; i++) {
        if (strcmp(text, names[i]) == 0) {
            return i;
        }
    }
    assert_null(text);
    return -1;
}

static void
encode_event(const json_t *json, struct upt_buf *out)
{
    struct upt_event ev = {.event_id = text_of(json, "event_id"),
                           .occurred_at = long_of(json, "occurred_at", 0),
                           .account_id = text_of(json, "account_id"),
                           .user_id = text_of(json, "user_id"),
                           .kind = (upt_kind)symbol_of(json, "kind", upt_kind_names, UPT_KIND_COUNT),
                           .feature = text_of(json, "feature"),
                           .quantity = double_of(json, "quantity"),
                           .duration_ms = long_of(json, "duration_ms", 0),
                           .has_duration = json_is_integer(json_object_get(json, "duration_ms"))};
    struct upt_prop props[16];
    size_t n = 0;
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(json, "properties"), name, value)
    {
        assert_true(n < 16);
        props[n++] =
            (struct upt_prop){upt_str_of(name), {json_string_value(value), (uint32_t)json_string_length(value)}};
    }
    upt_encode_event(out, -1, &ev, props, n);
}

static void
encode_batch(const json_t *json, struct upt_buf *out)
{
    const json_t *events = json_object_get(json, "events");
    upt_encode_batch_begin(out, -1, json_array_size(events));
    for (size_t i = 0; i < json_array_size(events); i++) {
        encode_event(json_array_get(events, i), out);
    }
    upt_encode_batch_end(out);
}

static struct upt_pos
source_of(const json_t *json)
{
    return (struct upt_pos){.offset = long_of(json, "source_offset", 0), .tick = long_of(json, "source_tick", 0)};
}

static void
encode_health(const json_t *json, struct upt_buf *out)
{
    static struct upt_health health;
    health = (struct upt_health){.account = text_of(json, "account"),
                                 .as_of = long_of(json, "as_of", 0),
                                 .score = double_of(json, "score"),
                                 .confidence = double_of(json, "confidence"),
                                 .band = (upt_band)symbol_of(json, "band", upt_band_names, 5),
                                 .score_7d_ago = double_of(json, "score_7d_ago"),
                                 .score_28d_ago = double_of(json, "score_28d_ago"),
                                 .slope_per_week = double_of(json, "slope_per_week"),
                                 .phase = (upt_phase)symbol_of(json, "phase", upt_phase_names, UPT_PHASE_COUNT),
                                 .segment = text_of(json, "segment"),
                                 .model_version = text_of(json, "model_version"),
                                 .config_hash = text_of(json, "config_hash"),
                                 .partition = (int32_t)long_of(json, "source_partition", 0),
                                 .pos = source_of(json)};
    const json_t *risks = json_object_get(json, "risks");
    for (; health.risks_n < (int)json_array_size(risks); health.risks_n++) {
        const json_t *risk = json_array_get(risks, (size_t)health.risks_n);
        health.risks[health.risks_n] = (struct upt_risk){.horizon_days = (int32_t)long_of(risk, "horizon_days", 0),
                                                         .probability = double_of(risk, "probability"),
                                                         .low = double_of(risk, "low"),
                                                         .high = double_of(risk, "high")};
    }
    const json_t *parts = json_object_get(json, "components");
    for (; health.components_n < (int)json_array_size(parts); health.components_n++) {
        const json_t *part = json_array_get(parts, (size_t)health.components_n);
        health.components[health.components_n] =
            (struct upt_component){.name = text_of(part, "name"),
                                   .unit = text_of(part, "unit"),
                                   .value = double_of(part, "value"),
                                   .own_baseline = double_of(part, "own_baseline"),
                                   .peer_percentile = double_of(part, "peer_percentile"),
                                   .sub_score = double_of(part, "sub_score"),
                                   .weight = double_of(part, "weight"),
                                   .points = double_of(part, "points"),
                                   .status = (upt_data_status)symbol_of(part, "status", upt_data_status_names, 4)};
    }
    upt_encode_health(out, -1, &health);
}

static void
encode_alert(const json_t *json, struct upt_buf *out)
{
    static struct upt_alert alert;
    alert = (struct upt_alert){.revision = (int32_t)long_of(json, "revision", 0),
                               .action = (upt_action)symbol_of(json, "action", upt_action_names, 6),
                               .rule = text_of(json, "rule"),
                               .rule_version = (int32_t)long_of(json, "rule_version", 0),
                               .severity = (upt_severity)symbol_of(json, "severity", upt_severity_names, 4),
                               .previous_severity = symbol_of(json, "previous_severity", upt_severity_names, 4),
                               .account = text_of(json, "account"),
                               .subject = text_of(json, "subject"),
                               .opened_at = long_of(json, "opened_at", 0),
                               .changed_at = long_of(json, "changed_at", 0),
                               .condition_since = long_of(json, "condition_since", 0),
                               .phase = (upt_phase)symbol_of(json, "phase", upt_phase_names, UPT_PHASE_COUNT),
                               .segment = text_of(json, "segment"),
                               .tier = text_of(json, "tier"),
                               .health = double_of(json, "health"),
                               .health_change_28d = double_of(json, "health_change_28d"),
                               .churn_probability = double_of(json, "churn_probability"),
                               .horizon_days = (int32_t)long_of(json, "horizon_days", -1),
                               .expected_lead_days = double_of(json, "expected_lead_days"),
                               .precision_estimate = double_of(json, "precision_estimate"),
                               .has_days_to_renewal = json_is_integer(json_object_get(json, "days_to_renewal")),
                               .days_to_renewal = (int32_t)long_of(json, "days_to_renewal", 0),
                               .observed = double_of(json, "observed"),
                               .expected = double_of(json, "expected"),
                               .expected_low = double_of(json, "expected_low"),
                               .unit = text_of(json, "unit"),
                               .window_ms = long_of(json, "window_ms", -1),
                               .p_value = double_of(json, "p_value"),
                               .counterfactual = text_of(json, "counterfactual"),
                               .suggested_play = text_of(json, "suggested_play"),
                               .confidence = double_of(json, "confidence"),
                               .model_version = text_of(json, "model_version"),
                               .config_hash = text_of(json, "config_hash"),
                               .partition = (int32_t)long_of(json, "source_partition", 0),
                               .pos = source_of(json)};
    memcpy(alert.alert_id, text_of(json, "alert_id").p, 32);
    const json_t *factors = json_object_get(json, "factors");
    for (; alert.factors_n < (int)json_array_size(factors); alert.factors_n++) {
        const json_t *factor = json_array_get(factors, (size_t)alert.factors_n);
        alert.factors[alert.factors_n] = (struct upt_factor){.name = text_of(factor, "name"),
                                                             .text = text_of(factor, "text"),
                                                             .log_odds = double_of(factor, "log_odds"),
                                                             .value = double_of(factor, "value"),
                                                             .baseline = double_of(factor, "baseline")};
    }
    upt_encode_alert(out, -1, &alert, long_of(json, "detected_at", 0));
}

/* ---- The examples ---- */

struct golden {
    const char *name;
    int examples;
    const struct upt_str *schema;
    void (*encode)(const json_t *json, struct upt_buf *out);
};

static const struct golden goldens[] = {
    {"uptake.v1.UsageEvent", 4, &upt_schema_usage_event, encode_event},
    {"uptake.v1.UsageBatch", 2, &upt_schema_usage_batch, encode_batch},
    {"uptake.v1.AccountHealth", 2, &upt_schema_account_health, encode_health},
    {"uptake.v1.ChurnAlert", 2, &upt_schema_churn_alert, encode_alert},
};

static void
read_file(const char *path, struct upt_buf *out)
{
    char chunk[4096];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("%s cannot be read", path);
        return;
    }
    for (size_t n = fread(chunk, 1, sizeof(chunk), file); n > 0; n = fread(chunk, 1, sizeof(chunk), file)) {
        upt_buf_put(out, chunk, n);
    }
    (void)fclose(file);
}

/* Calls check(golden, example, its bytes) for each. */
static void
each(void (*check)(const struct golden *golden, json_t *json, struct upt_str bytes))
{
    for (size_t i = 0; i < sizeof(goldens) / sizeof(goldens[0]); i++) {
        for (int n = 1; n <= goldens[i].examples; n++) {
            char path[512];
            struct upt_buf text = {0};
            struct upt_buf bytes = {0};
            (void)snprintf(path, sizeof(path), "%s/%s.%d.json", GOLDEN_DIR, goldens[i].name, n);
            read_file(path, &text);
            (void)snprintf(path, sizeof(path), "%s/%s.%d.bin", GOLDEN_DIR, goldens[i].name, n);
            read_file(path, &bytes);
            json_t *json = json_loadb(text.p, text.len, 0, NULL);
            assert_non_null(json);
            check(&goldens[i], json, str_of(&bytes));
            json_decref(json);
            upt_buf_fini(&text);
            upt_buf_fini(&bytes);
        }
    }
}

static void
check_encoding(const struct golden *golden, json_t *json, struct upt_str bytes)
{
    struct upt_buf out = {0};
    golden->encode(json, &out);
    assert_int_equal(out.len, bytes.len);
    assert_memory_equal(out.p, bytes.p, bytes.len);
    upt_buf_fini(&out);
}

static void
test_examples_encode_to_the_golden_bytes(void **state)
{
    (void)state;
    each(check_encoding);
}

static void
check_json(const struct golden *golden, json_t *json, struct upt_str bytes)
{
    struct upt_buf out = {0};
    struct upt_error error = {0};
    assert_int_equal(upt_record_json(*golden->schema, bytes, &out, &error), UPT_OK);
    json_t *shown = json_loadb(out.p, out.len, 0, NULL);
    assert_non_null(shown);
    assert_true(json_equal(json, shown));
    json_decref(shown);
    for (uint32_t len = 0; len < bytes.len; len++) {
        upt_buf_clear(&out);
        upt_buf_puts(&out, "before");
        assert_int_equal(upt_record_json(*golden->schema, (struct upt_str){bytes.p, len}, &out, &error), UPT_EDATA);
        assert_int_equal(out.len, 6);
    }
    upt_buf_fini(&out);
}

static void
test_golden_bytes_show_as_the_examples(void **state)
{
    (void)state;
    each(check_json);
}

/* The decoder reads the events, and what it read is encoded to the same bytes again. */
static void
check_decoding(const struct golden *golden, json_t *json, struct upt_str bytes)
{
    bool batch = golden->encode == encode_batch;
    if (!batch && golden->encode != encode_event) {
        return;
    }
    const json_t *events = json_object_get(json, "events");
    const json_t *first = batch ? json_array_get(events, 0) : json;
    struct upt_decoder *dec = decoder_of(golden->schema->p);
    struct upt_decoded decoded;
    assert_int_equal(upt_decoder_decode(dec, text_of(first, "account_id"), bytes, &decoded, NULL), UPT_OK);
    assert_int_equal(decoded.reason, UPT_REASON_NONE);
    assert_int_equal(decoded.batch, batch);
    assert_int_equal(decoded.events_n, batch ? json_array_size(events) : 1);
    struct upt_buf out = {0};
    if (batch) {
        upt_encode_batch_begin(&out, -1, decoded.events_n);
    }
    for (uint32_t i = 0; i < decoded.events_n; i++) {
        upt_encode_event(&out, -1, &decoded.events[i], NULL, 0);
    }
    if (batch) {
        upt_encode_batch_end(&out);
    }
    assert_int_equal(out.len, bytes.len);
    assert_memory_equal(out.p, bytes.p, bytes.len);
    upt_buf_fini(&out);
    upt_decoder_destroy(&dec);
}

static void
test_golden_events_decode_and_encode_again(void **state)
{
    (void)state;
    each(check_decoding);
}

static void
test_header(void **state)
{
    (void)state;
    struct upt_buf out = {0};
    upt_encode_batch_begin(&out, 0x01020304, 0);
    upt_encode_batch_end(&out);
    assert_int_equal(out.len, 6);
    assert_memory_equal(out.p, "\x00\x01\x02\x03\x04\x00", 6);
    upt_buf_clear(&out);
    upt_encode_batch_begin(&out, 0, 1);
    assert_memory_equal(out.p, "\x00\x00\x00\x00\x00\x02", 6);
    upt_buf_fini(&out);
}

static void
test_json_of_every_type(void **state)
{
    (void)state;
    const char *schema = "{\"type\":\"record\",\"name\":\"T\",\"fields\":[{\"name\":\"b\",\"type\":\"boolean\"},"
                         "{\"name\":\"f\",\"type\":\"float\"},{\"name\":\"y\",\"type\":\"bytes\"},"
                         "{\"name\":\"x\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}},"
                         "{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"int\"}},"
                         "{\"name\":\"n\",\"type\":\"double\"},{\"name\":\"s\",\"type\":\"string\"},"
                         "{\"name\":\"z\",\"type\":{\"type\":\"array\",\"items\":\"null\"}}]}";
    struct upt_buf body = {0};
    struct upt_buf out = {0};
    put_bytes(&body, "\x01\x00\x00\x80\x3F\x04\xAB\x0C\xFF\x10\x03\x0C\x02k\x02\x02l\x03\x00", 19);
    put_double(&body, (double)INFINITY);
    put_text(&body, "\"\n");
    put_bytes(&body, "\x04\x00", 2);
    assert_int_equal(upt_record_json(upt_str_of(schema), str_of(&body), &out, NULL), UPT_OK);
    upt_buf_put(&out, "", 1);
    assert_string_equal(out.p, "{\"b\":true,\"f\":1.0,\"y\":\"ab0c\",\"x\":\"ff10\",\"m\":{\"k\":1,\"l\":-2},"
                               "\"n\":null,\"s\":\"\\\"\\n\",\"z\":[null,null]}");
    put_bytes(&body, "\x00", 1);
    assert_int_equal(upt_record_json(upt_str_of(schema), str_of(&body), &out, NULL), UPT_EDATA); /* a byte too many */
    body.len--;
    /* A great many nulls end at the bound of the output, and so does depth. */
    body.len -= 2;
    put_bytes(&body, "\xFE\xFF\xFF\xFF\xFF\xFF\x01\x00", 8);
    assert_int_equal(upt_record_json(upt_str_of(schema), str_of(&body), &out, NULL), UPT_EDATA);
    const char *endless = "{\"type\":\"record\",\"name\":\"T\",\"fields\":[{\"name\":\"t\",\"type\":\"T\"}]}";
    assert_int_equal(upt_record_json(upt_str_of(endless), UPT_STR(""), &out, NULL), UPT_EDATA);
    assert_int_equal(upt_record_json(UPT_STR("\"int\""), UPT_STR("\x02"), &out, NULL), UPT_EDATA);
    assert_int_equal(upt_record_json(UPT_STR("{"), UPT_STR("\x02"), &out, NULL), UPT_EDATA);
    upt_buf_fini(&body);
    upt_buf_fini(&out);
}

/* Records of two records each, 30 deep, the innermost without fields: 2^30 values of no byte. */
static void
test_json_of_values_without_bytes_ends(void **state)
{
    (void)state;
    struct upt_buf schema = {0};
    struct upt_buf out = {0};
    for (int i = 30; i > 0; i--) {
        upt_buf_printf(&schema, "{\"type\":\"record\",\"name\":\"R%d\",\"fields\":[{\"name\":\"a\",\"type\":", i);
    }
    upt_buf_puts(&schema, "{\"type\":\"record\",\"name\":\"R0\",\"fields\":[]}");
    for (int i = 0; i < 30; i++) {
        upt_buf_printf(&schema, "},{\"name\":\"b\",\"type\":\"R%d\"}]}", i);
    }
    upt_buf_puts(&out, "before");
    assert_int_equal(upt_record_json(str_of(&schema), UPT_STR(""), &out, NULL), UPT_EDATA);
    assert_int_equal(out.len, 6);
    upt_buf_fini(&schema);
    upt_buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_encode_to_the_golden_bytes),
        cmocka_unit_test(test_golden_bytes_show_as_the_examples),
        cmocka_unit_test(test_golden_events_decode_and_encode_again),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_json_of_every_type),
        cmocka_unit_test(test_json_of_values_without_bytes_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
