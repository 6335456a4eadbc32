/* The observer: keeps what an event changes, decides once a day, at the minutes that SILENCE asked for, and at the key
 * event that ends a silence; hands decisions to the sink.
 *
 * What is decided is a function of the state at that tick or record. An evaluation reads the account afresh instead of
 * keeping scores up to date with each event: a score is needed once a day, events come by the million, and an event
 * costs a compare and an add unless it is the first of its day. The lane's thread. Invariants: nothing is decided in
 * fill_row; every OPEN is followed by RESOLVE or EXPIRE; a health record is sent exactly when something moved by its
 * step since the one sent before. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "decide.h"
#include "uptake/assert.h"
#include "uptake/time.h"
#include "uptake/units.h"

static struct upt_score *
score_of(void *ctx)
{
    struct upt_score *score = ctx;
    upt_assert(score != NULL && score->magic == UPT_SCORE_MAGIC);
    return score;
}

static struct upt_score_ext *
ext_of(struct upt_account *acct)
{
    struct upt_score_ext *ext = upt_account_ext(acct);
    if (!ext->born) {
        upt_ext_init(ext);
    }
    return ext;
}

/* ---- events ---- */

static uint32_t
minute_of(int64_t at)
{
    int64_t minute = upt_floor_div(at, UPT_MINUTE_MS);
    return minute < 1 ? 1 : (uint32_t)minute;
}

static uint32_t
later(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static double
half_21(const struct upt_model *model, int64_t age)
{
    return age <= UPT_ACTIVE_DAYS ? model->half_21[age] : exp2((double)-age / 21.0);
}

static void
evaluate(const struct upt_decision *d, struct upt_eval *ret, struct upt_facts *ret_facts)
{
    upt_evaluate(d->score->model, d->st, d->acct, d->ext, ret);
    upt_parts_add(d, ret, ret_facts);
}

/* By itself, since an evaluation takes half a kilobyte of stack. */
static __attribute__((noinline)) void
end_silence(struct upt_decision *d, int64_t silent_since)
{
    struct upt_eval eval;
    struct upt_facts facts;
    evaluate(d, &eval, &facts);
    d->eval = &eval;
    upt_rule_silence_key_event(d, silent_since);
    d->eval = NULL;
}

static void
key_event(struct upt_decision *d, const struct upt_event *ev, int64_t at)
{
    struct upt_score_ext *ext = d->ext;
    const struct upt_model *model = d->score->model;
    int64_t day = upt_floor_div(at, UPT_DAY_MS);
    bool first = !ext->has_key;
    bool moved = first || at > ext->last_key_ms;
    int64_t before = ext->last_key_ms;
    if (first || day > ext->last_day) {
        ext->volume = first ? 1 : ext->volume * half_21(model, day - ext->last_day) + 1;
    } else {
        ext->volume += half_21(model, ext->last_day - day);
    }
    bool fresh = upt_activity_mark(ext, day);
    if (fresh) {
        upt_fleet_mark(&d->score->fleet, day);
    }
    ext->last_key_ms = moved ? at : before;
    if (ev->kind == UPT_KIND_VALUE) {
        ext->value_day = !ext->has_value || day > ext->value_day ? (int32_t)day : ext->value_day;
        ext->has_value = true;
    }
    if (moved && !first && ext->signals.slots.silence_open != 0) {
        end_silence(d, before);
        fresh = true;
    }
    if (fresh) {
        upt_rule_silence_arm(d);
    }
}

static void
survey(struct upt_score_ext *ext, const struct upt_event *ev, int64_t at)
{
    if (upt_str_eq(ev->feature, UPT_STR("nps")) && minute_of(at) >= ext->nps_min) {
        ext->nps_min = minute_of(at);
        ext->nps_tenths = (int16_t)lround(fmax(-100, fmin(100, ev->quantity)) * 10);
    }
}

static void
on_event(void *ctx, struct upt_state *st, struct upt_account *acct, const struct upt_event *ev, int64_t at)
{
    struct upt_decision d = {
        .score = score_of(ctx), .st = st, .acct = acct, .ext = ext_of(acct), .now = upt_state_clock(st)};
    if (ev->kind != UPT_KIND_USAGE && ev->kind != UPT_KIND_LOGIN) {
        upt_signals_event(st, &d.ext->signals, ev, at);
    }
    if (d.ext->signals.slots.name_wanted != 0 && ev->user_id.len > 0) {
        upt_signals_name(st, &d.ext->signals, ev->user_id);
    }
    if (d.ext->metered && ev->kind == UPT_KIND_USAGE && ev->feature.p != NULL) {
        upt_meters_count(d.ext->signals.relation, ev, at);
    }
    switch (ev->kind) {
    case UPT_KIND_USAGE:
    case UPT_KIND_VALUE:
        key_event(&d, ev, at);
        break;
    case UPT_KIND_SURVEY:
        survey(d.ext, ev, at);
        break;
    case UPT_KIND_RENEWED:
        d.ext->renewed_min = later(d.ext->renewed_min, minute_of(at));
        upt_rule_silence_arm(&d);
        break;
    case UPT_KIND_CHURNED:
        d.ext->churned_min = later(d.ext->churned_min, minute_of(at));
        upt_rule_silence_arm(&d);
        break;
    case UPT_KIND_PROFILE:
        upt_meters_follow(&d);
        break;
    case UPT_KIND_OTHER:
        upt_control_event(&d, ev);
        break;
    default:
        break;
    }
    if (d.score->rules->segments != NULL || ev->kind != UPT_KIND_USAGE) {
        upt_segments_event(&d, ev, at);
    }
}

/* ---- health records ---- */

static void
fill_components(const struct upt_model *model, const struct upt_eval *eval, struct upt_health *ret)
{
    ret->components_n = UPT_PARTS;
    for (int i = 0; i < UPT_PARTS; i++) {
        bool has = eval->weight_milli[i] > 0 && !isnan(eval->value[i]);
        ret->components[i] = (struct upt_component){
            .name = upt_str_of(upt_part_name(i)),
            .unit = upt_str_of(upt_part_unit(i)),
            .value = eval->value[i],
            .own_baseline = (double)NAN,
            .peer_percentile = has && i < UPT_C_PEERS ? eval->sub_e5[i] / 1e5 : (double)NAN,
            .sub_score = has ? eval->sub_e5[i] / 1e5 : (double)NAN,
            .weight = eval->weight_milli[i] / 1e3,
            .points = (double)eval->points_micro[i] / 1e6,
            .status = has                                              ? UPT_FRESH
                      : i < UPT_C_COUNT && model->weight_milli[i] == 0 ? UPT_NOT_APPLICABLE
                      : isnan(eval->value[i])                          ? UPT_MISSING
                                                                       : UPT_NOT_APPLICABLE,
        };
    }
}

static void
fill_health(const struct upt_decision *d, const double signals[UPT_SIGNALS], struct upt_health *ret)
{
    struct upt_score *score = d->score;
    struct upt_state *st = d->st;
    struct upt_account *acct = d->acct;
    const struct upt_eval *eval = d->eval;
    const struct upt_score_ext *ext = upt_account_ext(acct);
    *ret = (struct upt_health){
        .account = upt_account_id(acct),
        .as_of = upt_state_clock(st),
        .score = eval->has_score ? (double)eval->score_micro / 1e6 : (double)NAN,
        .confidence = eval->confidence_micro / 1e6,
        .band = (upt_band)ext->band,
        .score_7d_ago = upt_history_ago(ext, eval->today, 7),
        .score_28d_ago = upt_history_ago(ext, eval->today, 28),
        .slope_per_week = upt_history_slope(ext, eval->today),
        .phase = eval->phase,
        .segment = upt_account_trait(acct, UPT_STR("segment")),
        .risks_n = eval->has_key ? UPT_HORIZONS : 0,
        .model_version = upt_str_of(score->model->version),
        .config_hash = upt_str_of(score->config_hash),
        .partition = upt_state_partition(st),
        .pos = upt_state_pos(st),
    };
    for (int h = 0; h < ret->risks_n; h++) {
        ret->risks[h] = (struct upt_risk){
            .horizon_days = upt_horizon_days[h],
            .probability = eval->risk_micro[h] / 1e6,
            .low = eval->low_micro[h] / 1e6,
            .high = eval->high_micro[h] / 1e6,
        };
    }
    fill_components(score->model, eval, ret);
    upt_signals_report(d, signals, ret);
}

static bool
differs(uint32_t a, uint32_t b, double step)
{
    if (a == UPT_NULL_U32 || b == UPT_NULL_U32) {
        return a != b;
    }
    return (a > b ? a - b : b - a) / 1e6 > step;
}

static void
publish(struct upt_decision *d, const double signals[UPT_SIGNALS])
{
    struct upt_score_ext *ext = d->ext;
    const struct upt_rules *rules = d->score->rules;
    bool send = !ext->sent || ext->band != ext->sent_band || ext->phase != ext->sent_phase ||
                differs(ext->score, ext->sent_score, rules->publish_score);
    for (int h = 0; h < UPT_HORIZONS; h++) {
        send = send || differs(ext->risk[h], ext->sent_risk[h], rules->publish_risk);
    }
    if (!send) {
        return;
    }
    ext->sent = true;
    ext->sent_band = ext->band;
    ext->sent_phase = ext->phase;
    ext->sent_score = ext->score;
    memcpy(ext->sent_risk, ext->risk, sizeof(ext->sent_risk));
    if (d->score->sink.health != NULL) {
        struct upt_health health;
        fill_health(d, signals, &health);
        d->score->sink.health(d->score->sink.ctx, &health);
    }
}

/* ---- decisions ---- */

/* Before segments are judged, which read the row. */
static void
show_signals(struct upt_decision *d, double ret_signals[UPT_SIGNALS])
{
    char packed[UPT_SIGNALS_PACKED_MAX];
    upt_signals_read(d, d->facts, ret_signals);
    size_t len = upt_signal_pack(ret_signals, packed);
    upt_signals_show(d->st, &d->ext->signals, (struct upt_str){.p = packed, .len = (uint32_t)len});
}

static void
keep_evaluation(struct upt_decision *d)
{
    struct upt_score_ext *ext = d->ext;
    const struct upt_eval *eval = d->eval;
    uint8_t band = ext->band;
    uint32_t risk[UPT_HORIZONS];
    memcpy(risk, ext->risk, sizeof(risk));
    upt_history_put(ext, eval);
    ext->evaluated = true;
    ext->evaluated_day = (int32_t)eval->today;
    upt_band_step(d->score->model, ext, eval);
    ext->phase = (uint8_t)eval->phase;
    ext->score = eval->has_score ? (uint32_t)eval->score_micro : UPT_NULL_U32;
    ext->confidence = eval->confidence_micro;
    for (int h = 0; h < UPT_HORIZONS; h++) {
        ext->risk[h] = eval->has_key ? eval->risk_micro[h] : UPT_NULL_U32;
    }
    if (band != ext->band || memcmp(risk, ext->risk, sizeof(risk)) != 0) {
        ext->row_changed = true;
    }
    upt_account_touch(d->st, d->acct, 0);
}

static void
on_daily(void *ctx, struct upt_state *st, struct upt_account *acct, int64_t tick)
{
    struct upt_decision d = {.score = score_of(ctx), .st = st, .acct = acct, .ext = ext_of(acct), .now = tick};
    struct upt_eval eval;
    struct upt_facts facts;
    double signals[UPT_SIGNALS];
    upt_fleet_daily(&d);
    upt_account_touch(st, acct, 0);
    evaluate(&d, &eval, &facts);
    d.eval = &eval;
    keep_evaluation(&d);
    upt_outcome_daily(&d);
    upt_openings_daily(&d);
    upt_signals_daily(st, acct, &d.ext->signals, eval.today);
    upt_phase_daily(&d);
    d.facts = &facts;
    show_signals(&d, signals);
    upt_control_settle(&d);
    upt_rules_daily(&d);
    upt_segments_decide(&d);
    upt_wake_arm(&d);
    publish(&d, signals);
}

static void
on_timer(void *ctx, struct upt_state *st, struct upt_account *acct, int64_t tick)
{
    struct upt_decision d = {.score = score_of(ctx), .st = st, .acct = acct, .ext = ext_of(acct), .now = tick};
    struct upt_eval eval;
    struct upt_facts facts;
    upt_fleet_daily(&d);
    evaluate(&d, &eval, &facts);
    d.eval = &eval;
    upt_control_settle(&d);
    upt_rule_silence_timer(&d);
    upt_segments_decide(&d);
    upt_wake_arm(&d);
}

static void
on_forget(void *ctx, struct upt_state *st, struct upt_account *acct)
{
    struct upt_decision d = {
        .score = score_of(ctx), .st = st, .acct = acct, .ext = ext_of(acct), .now = upt_state_clock(st)};
    struct upt_eval eval;
    struct upt_facts facts;
    if (upt_open_alerts(d.ext) > 0 || d.ext->segment.member != 0) {
        evaluate(&d, &eval, &facts);
        d.eval = &eval;
    }
    upt_alert_expire_all(&d);
    upt_segments_forget(&d);
    if (d.score->sink.health_null != NULL) {
        d.score->sink.health_null(d.score->sink.ctx, upt_account_id(acct));
    }
}

static void
on_stranger(void *ctx, struct upt_state *st, struct upt_str account)
{
    const struct upt_score *score = score_of(ctx);
    (void)st;
    if (score->sink.health_null != NULL) {
        score->sink.health_null(score->sink.ctx, account);
    }
}

/* ---- rows, checkpoint ---- */

static void
fill_row(void *ctx, struct upt_state *st, struct upt_account *acct, struct upt_row *row)
{
    struct upt_score *score = score_of(ctx);
    struct upt_score_ext *ext = upt_account_ext(acct);
    const struct upt_decision d = {.score = score, .st = st, .acct = acct, .ext = ext};
    row->segments = upt_segments_list(score->rules->segments, ext->segment.member, score->segments);
    row->controlled = upt_control_list(&d, score->controlled);
    row->signals = upt_signals_shown(&ext->signals);
    row->has_scores = ext->born && ext->evaluated;
    if (!row->has_scores) {
        return;
    }
    row->health = ext->score == UPT_NULL_U32 ? (double)NAN : ext->score / 1e6;
    row->band = (upt_band)ext->band;
    row->confidence = ext->confidence / 1e6;
    for (int h = 0; h < UPT_HORIZONS; h++) {
        row->risk[h] = ext->risk[h] == UPT_NULL_U32 ? (double)NAN : ext->risk[h] / 1e6;
    }
    row->phase = (upt_phase)ext->phase;
    row->open_alerts = upt_open_alerts(ext);
    row->scores_changed = ext->row_changed;
    ext->row_changed = false;
}

static void
encode(void *ctx, const void *ext, struct upt_buf *out)
{
    upt_ext_encode(ext, score_of(ctx)->rules->segments, out);
}

static bool
decode(void *ctx, struct upt_state *st, void *ext, struct upt_str in)
{
    return upt_ext_decode(st, ext, score_of(ctx)->rules->segments, in);
}

static void
fini(void *ctx, struct upt_state *st, void *ext)
{
    (void)score_of(ctx);
    upt_signals_fini(st, &((struct upt_score_ext *)ext)->signals);
}

static void
encode_partition(void *ctx, struct upt_buf *out)
{
    upt_fleet_encode(&score_of(ctx)->fleet, out);
    upt_outcome_encode(&score_of(ctx)->outcomes, out);
}

static bool
decode_partition(void *ctx, struct upt_str in)
{
    struct upt_score *score = score_of(ctx);
    struct upt_cur cur = upt_cur_of(in);
    if (in.len == 0) {
        score->fleet = (struct upt_fleet){0};
        upt_outcome_fini(&score->outcomes);
        return true;
    }
    return upt_fleet_decode(&score->fleet, &cur) && upt_outcome_decode(&score->outcomes, &cur);
}

const struct upt_observer upt_score_observer = {
    .ext_size = sizeof(struct upt_score_ext),
    .on_event = on_event,
    .on_daily = on_daily,
    .on_timer = on_timer,
    .on_forget = on_forget,
    .on_stranger = on_stranger,
    .fill_row = fill_row,
    .encode = encode,
    .decode = decode,
    .fini = fini,
    .encode_partition = encode_partition,
    .decode_partition = decode_partition,
    .version = UPT_EXT_VERSION,
    .partition_version = UPT_FLEET_VERSION,
};

/* ---- life ---- */

upt_status
upt_score_create(const struct upt_model *model, const struct upt_rules *rules, const char *config_hash,
                 const struct upt_sink *sink, struct upt_score **ret, struct upt_error *reterr)
{
    struct upt_score *score = calloc(1, sizeof(*score));
    if (score == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for the scores");
    }
    score->magic = UPT_SCORE_MAGIC;
    score->sink = *sink;
    upt_score_set(score, model, rules, config_hash);
    *ret = score;
    return UPT_OK;
}

void
upt_score_destroy(struct upt_score **score_p)
{
    if (*score_p != NULL) {
        upt_outcome_fini(&(*score_p)->outcomes);
        (*score_p)->magic = 0;
    }
    free(*score_p);
    *score_p = NULL;
}

void
upt_score_add_up(struct upt_score *score, struct upt_outcomes *outcomes)
{
    upt_assert(score->outcomes.n == 0);
    score->outcomes.shared = outcomes;
}

void
upt_score_set(struct upt_score *score, const struct upt_model *model, const struct upt_rules *rules,
              const char *config_hash)
{
    upt_assert(model != NULL && rules != NULL && strlen(config_hash) < sizeof(score->config_hash));
    score->model = model;
    score->rules = rules;
    memcpy(score->config_hash, config_hash, strlen(config_hash) + 1);
}

void
upt_score_map_segments(struct upt_score *score, struct upt_state *st, const struct upt_rules *to)
{
    const struct upt_segments *from = to != score->rules ? score->rules->segments : NULL;
    struct upt_account *acct;
    for (size_t cursor = 0; from != NULL && (acct = upt_state_next(st, &cursor)) != NULL;) {
        struct upt_score_ext *ext = upt_account_ext(acct);
        uint64_t member = ext->segment.member;
        if (member != 0) {
            upt_account_touch(st, acct, 0); /* a snapshot under way has it as it was, by the names of then */
            ext->segment.member = upt_segments_map(from, to->segments, member);
            upt_state_mark_dirty(st, acct);
        }
    }
}

size_t
upt_rules_segments_n(const struct upt_rules *rules)
{
    return upt_segments_n(rules->segments);
}

struct upt_str
upt_rules_segment_name(const struct upt_rules *rules, size_t i)
{
    return upt_segments_name(rules->segments, i);
}

void
upt_rules_segment_names(const struct upt_rules *rules, struct upt_buf *out)
{
    upt_buf_clear(out);
    for (size_t i = 0; i < upt_segments_n(rules->segments); i++) {
        struct upt_str name = upt_segments_name(rules->segments, i);
        upt_buf_puts(out, i > 0 ? "," : "");
        upt_buf_put(out, name.p, name.len);
    }
}

void
upt_score_explain(struct upt_score *score, struct upt_state *st, struct upt_account *acct, struct upt_health *ret)
{
    struct upt_eval eval;
    struct upt_facts facts;
    double signals[UPT_SIGNALS];
    struct upt_decision d = {
        .score = score, .st = st, .acct = acct, .ext = upt_account_ext(acct), .now = upt_state_clock(st)};
    evaluate(&d, &eval, &facts);
    d.eval = &eval;
    upt_signals_read(&d, &facts, signals);
    fill_health(&d, signals, ret);
}
