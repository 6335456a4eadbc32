/* Our records as Avro bytes, field by field in the order of the schemas in schemas/.
 *
 * Why by hand and not through a generic writer: the schemas are fixed files of this repository, the structs are ours,
 * and a generic writer would build a tree of values for each record only to walk it once. What keeps code and schema
 * together are the golden examples, written by another implementation and compared byte for byte in the tests. A
 * field that is added to a schema (which is a new file) must be added here at the same place.
 * No state; any thread, one buffer a caller. */
#include "ingest/avro/encoder.h"

#include <math.h>
#include <string.h>

#include "uptake/assert.h"

static void
put_long(struct upt_buf *out, int64_t v)
{
    upt_buf_put_zigzag(out, v);
}

static void
put_double(struct upt_buf *out, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    upt_buf_put_le64(out, bits);
}

static void
put_text(struct upt_buf *out, struct upt_str text)
{
    put_long(out, text.len);
    upt_buf_put(out, text.p, text.len);
}

static void
put_name(struct upt_buf *out, const char *const *names, int n, int i)
{
    upt_assert(i >= 0 && i < n);
    put_text(out, upt_str_of(names[i]));
}

static void
put_enum(struct upt_buf *out, int n, int i)
{
    upt_assert(i >= 0 && i < n);
    put_long(out, i);
}

/* The unions ["null", T]: branch 1 before a value. */
static bool
put_branch(struct upt_buf *out, bool has_value)
{
    put_long(out, has_value);
    return has_value;
}

static void
put_optional_text(struct upt_buf *out, struct upt_str text)
{
    if (put_branch(out, text.p != NULL)) {
        put_text(out, text);
    }
}

static void
put_optional_double(struct upt_buf *out, double v)
{
    if (put_branch(out, !isnan(v))) {
        put_double(out, v);
    }
}

static void
put_optional_long(struct upt_buf *out, bool has_value, int64_t v)
{
    if (put_branch(out, has_value)) {
        put_long(out, v);
    }
}

static void
put_header(struct upt_buf *out, int32_t schema_id)
{
    if (schema_id >= 0) {
        uint32_t id = (uint32_t)schema_id;
        const unsigned char header[] = {0, (unsigned char)(id >> 24), (unsigned char)(id >> 16),
                                        (unsigned char)(id >> 8), (unsigned char)id};
        upt_buf_put(out, header, sizeof(header));
    }
}

/* An array's or a map's head; its end is a 0, which for none is all. */
static void
put_count(struct upt_buf *out, size_t n)
{
    if (n > 0) {
        put_long(out, (int64_t)n);
    }
}

static void
put_end(struct upt_buf *out)
{
    put_long(out, 0);
}

static void
put_source(struct upt_buf *out, int32_t partition, struct upt_pos pos)
{
    put_long(out, partition);
    put_long(out, pos.offset);
    put_long(out, pos.tick);
}

static void
put_factors(struct upt_buf *out, const struct upt_alert *alert)
{
    upt_assert(alert->factors_n >= 0 && alert->factors_n <= UPT_FACTORS_MAX);
    put_count(out, (size_t)alert->factors_n);
    for (int i = 0; i < alert->factors_n; i++) {
        const struct upt_factor *factor = &alert->factors[i];
        put_text(out, factor->name);
        put_double(out, factor->log_odds);
        put_double(out, factor->value);
        put_optional_double(out, factor->baseline);
        put_text(out, factor->text);
    }
    put_end(out);
}

void
upt_encode_alert(struct upt_buf *out, int32_t schema_id, const struct upt_alert *alert, int64_t detected_at)
{
    put_header(out, schema_id);
    put_text(out, upt_str_of(alert->alert_id));
    put_long(out, alert->revision);
    put_enum(out, 6, (int)alert->action);
    put_text(out, alert->rule);
    put_long(out, alert->rule_version);
    put_enum(out, 4, (int)alert->severity);
    if (put_branch(out, alert->previous_severity >= 0)) {
        put_enum(out, 4, alert->previous_severity);
    }
    put_text(out, alert->account);
    put_optional_text(out, alert->subject);
    put_long(out, alert->opened_at);
    put_long(out, alert->changed_at);
    put_long(out, alert->condition_since);
    put_long(out, detected_at);
    put_name(out, upt_phase_names, UPT_PHASE_COUNT, (int)alert->phase);
    put_optional_text(out, alert->segment);
    put_optional_text(out, alert->tier);
    put_optional_double(out, alert->health);
    put_optional_double(out, alert->health_change_28d);
    put_optional_double(out, alert->churn_probability);
    put_optional_long(out, alert->horizon_days >= 0, alert->horizon_days);
    put_optional_double(out, alert->expected_lead_days);
    put_optional_double(out, alert->precision_estimate);
    put_optional_long(out, alert->has_days_to_renewal, alert->days_to_renewal);
    put_optional_double(out, alert->observed);
    put_optional_double(out, alert->expected);
    put_optional_double(out, alert->expected_low);
    put_optional_text(out, alert->unit);
    put_optional_long(out, alert->window_ms >= 0, alert->window_ms);
    put_optional_double(out, alert->p_value);
    put_factors(out, alert);
    put_optional_text(out, alert->counterfactual);
    put_optional_text(out, alert->suggested_play);
    put_double(out, alert->confidence);
    put_text(out, alert->model_version);
    put_text(out, alert->config_hash);
    put_source(out, alert->partition, alert->pos);
}

static void
put_risks(struct upt_buf *out, const struct upt_health *health)
{
    upt_assert(health->risks_n >= 0 && health->risks_n <= UPT_HORIZONS);
    put_count(out, (size_t)health->risks_n);
    for (int i = 0; i < health->risks_n; i++) {
        const struct upt_risk *risk = &health->risks[i];
        put_long(out, risk->horizon_days);
        put_double(out, risk->probability);
        put_optional_double(out, risk->low);
        put_optional_double(out, risk->high);
    }
    put_end(out);
}

static void
put_components(struct upt_buf *out, const struct upt_health *health)
{
    upt_assert(health->components_n >= 0 && health->components_n <= UPT_COMPONENTS_MAX);
    put_count(out, (size_t)health->components_n);
    for (int i = 0; i < health->components_n; i++) {
        const struct upt_component *component = &health->components[i];
        put_text(out, component->name);
        put_optional_double(out, component->value);
        put_text(out, component->unit);
        put_optional_double(out, component->own_baseline);
        put_optional_double(out, component->peer_percentile);
        put_optional_double(out, component->sub_score);
        put_double(out, component->weight);
        put_double(out, component->points);
        put_enum(out, 4, (int)component->status);
    }
    put_end(out);
}

void
upt_encode_health(struct upt_buf *out, int32_t schema_id, const struct upt_health *health)
{
    put_header(out, schema_id);
    put_text(out, health->account);
    put_long(out, health->as_of);
    put_optional_double(out, health->score);
    put_double(out, health->confidence);
    put_enum(out, 5, (int)health->band);
    put_optional_double(out, health->score_7d_ago);
    put_optional_double(out, health->score_28d_ago);
    put_optional_double(out, health->slope_per_week);
    put_name(out, upt_phase_names, UPT_PHASE_COUNT, (int)health->phase);
    put_optional_text(out, health->segment);
    put_risks(out, health);
    put_components(out, health);
    put_text(out, health->model_version);
    put_text(out, health->config_hash);
    put_source(out, health->partition, health->pos);
}

static void
put_props(struct upt_buf *out, const struct upt_event *ev, const struct upt_prop *props, size_t n)
{
    if (props == NULL && ev->properties.raw.len > 0) {
        upt_buf_put(out, ev->properties.raw.p, ev->properties.raw.len);
        return;
    }
    put_count(out, n);
    for (size_t i = 0; i < n; i++) {
        put_text(out, props[i].name);
        put_text(out, props[i].value);
    }
    put_end(out);
}

void
upt_encode_event(struct upt_buf *out, int32_t schema_id, const struct upt_event *ev, const struct upt_prop *props,
                 size_t n)
{
    upt_assert(props != NULL || n == 0);
    put_header(out, schema_id);
    put_text(out, ev->event_id);
    put_long(out, ev->occurred_at);
    put_text(out, ev->account_id);
    put_optional_text(out, ev->user_id);
    put_enum(out, UPT_KIND_COUNT, (int)ev->kind);
    put_optional_text(out, ev->feature);
    put_double(out, ev->quantity);
    put_optional_long(out, ev->has_duration, ev->duration_ms);
    put_props(out, ev, props, n);
}

void
upt_encode_batch_begin(struct upt_buf *out, int32_t schema_id, size_t count)
{
    put_header(out, schema_id);
    put_count(out, count);
}

void
upt_encode_batch_end(struct upt_buf *out)
{
    put_end(out);
}
