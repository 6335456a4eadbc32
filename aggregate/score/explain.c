/* An account explained, as JSON, for people and programs: what would be published of it now, and what is in no record:
 * factors of the risk also without an alert, what would bring it down, use against the own baseline, open alerts.
 *
 * Read-only: explaining decides nothing. Texts are made here so that the command and the live page say the same. */
#include <math.h>
#include <stdio.h>

#include "decide.h"
#include "explain.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define DAYS 30

static void
put_text(struct upt_buf *out, const char *name, struct upt_str text)
{
    upt_buf_printf(out, "\"%s\":", name);
    if (text.p == NULL) {
        upt_buf_puts(out, "null");
    } else {
        upt_buf_put_json(out, text.p, text.len);
    }
}

static void
put_real(struct upt_buf *out, const char *name, double v)
{
    if (isnan(v)) {
        upt_buf_printf(out, "\"%s\":null", name);
    } else {
        upt_buf_printf(out, "\"%s\":%.9g", name, v);
    }
}

static void
put_health(struct upt_buf *out, const struct upt_score *score, const struct upt_health *health,
           const struct upt_eval *eval)
{
    char text[120];
    upt_buf_puts(out, "\"health\":{");
    put_real(out, "score", health->score);
    upt_buf_puts(out, ",");
    put_real(out, "confidence", health->confidence);
    upt_buf_printf(out, ",\"band\":\"%s\",", upt_band_names[health->band]);
    put_real(out, "score_7d_ago", health->score_7d_ago);
    upt_buf_puts(out, ",");
    put_real(out, "score_28d_ago", health->score_28d_ago);
    upt_buf_puts(out, ",");
    put_real(out, "slope_per_week", health->slope_per_week);
    upt_buf_puts(out, ",\"components\":[");
    for (int i = 0; i < health->components_n; i++) {
        const struct upt_component *c = &health->components[i];
        upt_buf_puts(out, i > 0 ? ",{" : "{");
        put_text(out, "name", c->name);
        upt_buf_puts(out, ",");
        text[0] = '\0';
        if (i < UPT_PARTS && !isnan(c->value)) {
            upt_part_say(score->model, eval, i, text, sizeof(text));
        } else if (i >= UPT_PARTS) { /* names of signals are of our table: they end with a NUL */
            (void)upt_signal_say(c->name.p, c->unit, c->value, text, sizeof(text));
        }
        if (text[0] != '\0') {
            put_text(out, "text", upt_str_of(text));
            upt_buf_puts(out, ",");
        }
        put_text(out, "unit", c->unit);
        upt_buf_puts(out, ",");
        put_real(out, "value", c->value);
        upt_buf_puts(out, ",");
        put_real(out, "own_baseline", c->own_baseline);
        upt_buf_puts(out, ",");
        put_real(out, "sub_score", c->sub_score);
        upt_buf_puts(out, ",");
        put_real(out, "weight", c->weight);
        upt_buf_puts(out, ",");
        put_real(out, "points", c->points);
        upt_buf_printf(out, ",\"status\":\"%s\"}", upt_data_status_names[c->status]);
    }
    upt_buf_puts(out, "]}");
}

/* ---- risk ---- */

/* What is shown of a factor that use can change. Decimals: to which the way there is rounded up. */
static const struct {
    const char *words;
    int decimals;
} changes[UPT_R_COUNT] = {
    [UPT_R_GONE_ODDS] = {"a probability by its record of activity that it is gone of %.*f%% instead of %.*f%%", 0},
    [UPT_R_SILENCE] = {"%.*f days without use instead of %.*f", 1},
    [UPT_R_OWN_SILENCE] = {"a silence in terms of its own gaps of %.*f instead of %.*f", 2},
    [UPT_R_ACTIVE_2D] = {"active periods of the very last time of %.*f instead of %.*f", 1},
    [UPT_R_FREQUENCY] = {"active days, recent ones counting more, of %.*f instead of %.*f", 1},
    [UPT_R_FREQUENCY_21D] = {"active days of the last weeks, recent ones counting more, of %.*f instead of %.*f", 1},
    [UPT_R_ACTIVE_WEEKS] = {"use in %.*f weeks of the last five instead of %.*f", 0},
    [UPT_R_ACTIVE_DAYS] = {"%.*f active days instead of %.*f", 0},
    [UPT_R_VOLUME_2D] = {"uses of the very last time of %.*f instead of %.*f", 0},
    [UPT_R_VOLUME] = {"uses, recent ones counting more, of %.*f instead of %.*f", 0},
    [UPT_R_DAY_VOLUME] = {"%.*f uses on a day of use instead of %.*f", 0},
    [UPT_R_BREADTH] = {"a breadth of %.*f features instead of %.*f", 1},
    [UPT_R_SEAT_USE] = {"%.*f%% of its seats used instead of %.*f%%", 0},
};

/* Of a monthly account, which the risk sees in periods of four weeks (hazard.c). */
static const char *const monthly[UPT_R_COUNT] = {
    [UPT_R_SILENCE] = "%.*f periods of four weeks without use instead of %.*f",
    [UPT_R_ACTIVE_2D] = "active periods of four weeks of the very last time of %.*f instead of %.*f",
    [UPT_R_FREQUENCY] = "active periods of four weeks, recent ones counting more, of %.*f instead of %.*f",
    [UPT_R_FREQUENCY_21D] = "active periods of four weeks, recent ones counting more, of %.*f instead of %.*f",
    [UPT_R_ACTIVE_WEEKS] = "use in %.*f periods of four weeks of the last five instead of %.*f",
    [UPT_R_ACTIVE_DAYS] = "%.*f active periods of four weeks instead of %.*f",
    [UPT_R_VOLUME_2D] = "a day's uses in each of the very last periods of four weeks of %.*f instead of %.*f",
    [UPT_R_VOLUME] = "a day's uses in each period of four weeks, recent ones counting more, of %.*f instead of %.*f",
};

static double
value_at(const struct upt_eval *eval, int i, int horizon)
{
    return i == UPT_R_GONE_ODDS ? eval->gone_odds[horizon] : eval->risk_value[i];
}

/* How far a factor's value would have to move, alone, for the risk to fall to the threshold, as a share of all that it
 * can be; NaN: it cannot. *ret_to: the value there. */
static double
way_to(const struct upt_model *model, const struct upt_eval *eval, int i, int horizon, double threshold, double *ret_to)
{
    double weight = model->risk[i].weight;
    double wanted = eval->factor[horizon][i] - (eval->logit[horizon] - log(threshold / (1 - threshold)));
    double to = fabs(weight) > 0 ? model->risk[i].mean + wanted / weight : (double)NAN;
    double span = model->risk[i].most - model->risk[i].least;
    if (isnan(to) || !(span > 0) || to < model->risk[i].least || to > model->risk[i].most) {
        return (double)NAN;
    }
    *ret_to = upt_round6(to);
    return upt_round6(fabs(to - value_at(eval, i, horizon)) / span);
}

int
upt_counterfactual(const struct upt_model *model, const struct upt_eval *eval, int horizon, double threshold,
                   double *ret_to)
{
    int best = -1;
    double least = INFINITY;
    if (!eval->has_key || eval->risk_micro[horizon] / 1e6 <= threshold) {
        return -1;
    }
    for (int i = 0; i < UPT_R_COUNT; i++) {
        double to = 0;
        double way = changes[i].words != NULL && eval->risk_known[i] ? way_to(model, eval, i, horizon, threshold, &to)
                                                                     : (double)NAN;
        if (!isnan(way) && way < least) {
            least = way;
            best = i;
            *ret_to = to;
        }
    }
    return best;
}

double
upt_counted(int factor, double v)
{
    switch (factor) {
    case UPT_R_GONE_ODDS:
        return 100 / (1 + exp(-v)); /* percent */
    case UPT_R_SILENCE:
    case UPT_R_VOLUME_2D:
    case UPT_R_VOLUME:
    case UPT_R_DAY_VOLUME:
        return expm1(v);
    case UPT_R_ACTIVE_2D:
    case UPT_R_FREQUENCY:
    case UPT_R_FREQUENCY_21D:
        return fmax(0, exp(v) - 0.1);
    case UPT_R_GAP_MEAN:
    case UPT_R_GAP_SPREAD:
    case UPT_R_TENURE_DAYS:
    case UPT_R_TENURE_WEEKS:
    case UPT_R_ACTIVE_DAYS:
        return exp(v);
    case UPT_R_SEAT_USE:
        return v * 100;
    default:
        return v;
    }
}

void
upt_counterfactual_say(const struct upt_model *model, const struct upt_eval *eval, int horizon, double threshold,
                       int factor, double to, char *buf, size_t cap)
{
    double unit = pow(10, changes[factor].decimals);
    double from = upt_counted(factor, factor == UPT_R_GONE_ODDS ? eval->gone_odds[horizon] : eval->risk_seen[factor]);
    double shown = upt_counted(factor, to) * unit;
    shown = (model->risk[factor].weight < 0 ? ceil(upt_round6(shown)) : floor(upt_round6(shown))) / unit;
    bool months = eval->act.cadence == UPT_MONTHLY && monthly[factor] != NULL;
    const char *words = months ? monthly[factor] : changes[factor].words;
    char what[160];
    (void)snprintf(what, sizeof(what), words, changes[factor].decimals, shown, changes[factor].decimals, from);
    (void)snprintf(buf, cap, "With %s, and all else as it is, the risk within %d days would be at most %.3g%%.", what,
                   upt_horizon_days[horizon], threshold * 100);
}

/* Where CHURN_RISK closes: what an account must come below to be calm again. */
static void
put_change(struct upt_buf *out, const struct upt_score *score, const struct upt_eval *eval)
{
    double to = 0;
    char text[320];
    int horizon = upt_risk_horizon(score->rules);
    double threshold = score->rules->rule[UPT_RULE_CHURN_RISK].p[UPT_P_RISK_OFF];
    int i = upt_counterfactual(score->model, eval, horizon, threshold, &to);
    upt_buf_printf(out, ",\"threshold\":%.9g,\"threshold_days\":%d,\"counterfactual\":", threshold,
                   upt_horizon_days[horizon]);
    if (i < 0) {
        bool below = eval->has_key && eval->risk_micro[horizon] / 1e6 <= threshold;
        upt_buf_printf(out, "null,\"change\":\"%s\"",
                       !eval->has_key ? "There is no risk yet: it has not used the product."
                       : below        ? "The risk is below the threshold."
                                      : "No single change would bring it below.");
        return;
    }
    upt_buf_printf(out, "{\"factor\":\"%s\",", upt_risk_names[i]);
    put_real(out, "from", value_at(eval, i, horizon));
    upt_buf_puts(out, ",");
    put_real(out, "to", to);
    upt_counterfactual_say(score->model, eval, horizon, threshold, i, to, text, sizeof(text));
    upt_buf_puts(out, "},");
    put_text(out, "change", upt_str_of(text));
}

static void
put_risk(struct upt_buf *out, const struct upt_score *score, const struct upt_health *health,
         const struct upt_eval *eval)
{
    struct upt_factor factors[UPT_FACTORS_MAX];
    char text[UPT_FACTORS_MAX][200];
    upt_buf_puts(out, "\"risk\":{\"probabilities\":[");
    for (int h = 0; h < health->risks_n; h++) {
        upt_buf_printf(out, "%s{\"horizon_days\":%d,", h > 0 ? "," : "", (int)health->risks[h].horizon_days);
        put_real(out, "probability", health->risks[h].probability);
        upt_buf_puts(out, ",");
        put_real(out, "low", health->risks[h].low);
        upt_buf_puts(out, ",");
        put_real(out, "high", health->risks[h].high);
        upt_buf_puts(out, "}");
    }
    upt_buf_puts(out, "],");
    put_real(out, "base", eval->has_key ? eval->base[0] : (double)NAN);
    upt_buf_puts(out, ",");
    put_real(out, "logit", eval->has_key ? eval->logit[0] : (double)NAN);
    upt_buf_puts(out, ",\"factors\":[");
    int n = upt_factors(score->model, eval, factors, text);
    for (int i = 0; i < n; i++) {
        upt_buf_puts(out, i > 0 ? ",{" : "{");
        put_text(out, "name", factors[i].name);
        upt_buf_puts(out, ",");
        put_real(out, "log_odds", factors[i].log_odds);
        upt_buf_puts(out, ",");
        put_real(out, "value", factors[i].value);
        upt_buf_puts(out, ",");
        put_real(out, "baseline", factors[i].baseline);
        upt_buf_puts(out, ",");
        put_text(out, "text", factors[i].text);
        upt_buf_puts(out, "}");
    }
    upt_buf_puts(out, "]");
    put_change(out, score, eval);
    upt_buf_puts(out, "}");
}

/* ---- use ---- */

/* USAGE events that the own baseline expects of a day; NaN: not known yet. */
static double
expected(const struct upt_drop *drop, int64_t day)
{
    if (drop->periods_n == 0) {
        return (double)NAN;
    }
    int64_t weekday = (day + 3) - upt_floor_div(day + 3, 7) * 7; /* 1970-01-01 was a Thursday; 0 = Monday */
    return drop->cadence == UPT_DAILY ? (double)drop->profile[weekday]
                                      : (double)drop->profile[0] / upt_cadence_days[drop->cadence];
}

static void
put_usage(struct upt_buf *out, const struct upt_account *acct, const struct upt_score_ext *ext, int64_t today)
{
    upt_buf_puts(out, "\"usage\":[");
    for (int64_t day = today - DAYS + 1; day <= today; day++) {
        char text[16];
        upt_format_day(day, text);
        upt_buf_printf(out, "%s{\"day\":\"%s\",\"events\":%llu,", day > today - DAYS + 1 ? "," : "", text,
                       (unsigned long long)upt_account_day(acct, day).events);
        double usual = expected(&ext->drop, day);
        put_real(out, "expected", isnan(usual) ? usual : upt_round6(usual));
        upt_buf_puts(out, "}");
    }
    upt_buf_puts(out, "]");
}

static void
put_first_uses(struct upt_buf *out, const struct upt_decision *d)
{
    const struct upt_habits *habits = d->ext->signals.habits;
    upt_buf_puts(out, "\"first_uses\":[");
    for (unsigned i = 0; habits != NULL && i < habits->feature_n; i++) {
        struct upt_str name;
        uint32_t days = 0;
        upt_account_feature(d->st, d->acct, i, &name, &days);
        upt_buf_puts(out, i > 0 ? ",{" : "{");
        put_text(out, "feature", name);
        upt_buf_printf(out, ",\"days\":%u}", (unsigned)upt_first_use_after(d->acct, habits, i));
    }
    upt_buf_puts(out, "]");
}

static void
put_meters(struct upt_buf *out, const struct upt_decision *d)
{
    struct upt_meter_use meter;
    uint32_t at = 0;
    upt_buf_puts(out, "\"meters\":[");
    for (int n = 0; upt_meter_next(d, &at, &n, &meter);) {
        char since[16];
        upt_format_day(meter.since, since);
        upt_buf_puts(out, n > 1 ? ",{" : "{");
        put_text(out, "name", meter.name);
        upt_buf_puts(out, ",");
        put_real(out, "units", meter.units);
        upt_buf_puts(out, ",");
        put_real(out, "entitled", meter.entitled);
        upt_buf_puts(out, ",");
        put_real(out, "share", meter.share);
        upt_buf_printf(out, ",\"since\":\"%s\"}", since);
    }
    upt_buf_puts(out, "]");
}

/* ---- alerts ---- */

static void
put_alerts(struct upt_buf *out, const struct upt_decision *d)
{
    bool any = false;
    upt_buf_puts(out, "\"alerts\":[");
    for (unsigned i = 0; i < d->ext->signals.slots.n; i++) {
        const struct upt_slot *slot = &d->ext->signals.slots.v[i];
        char id[33];
        char subject[32];
        if (slot->state != UPT_SLOT_OPEN) {
            continue;
        }
        upt_alert_id_of(d, slot, id);
        upt_buf_printf(out, "%s{\"alert_id\":\"%s\",\"rule\":\"%s\",\"severity\":\"%s\",\"opened_at\":%lld,",
                       any ? "," : "", id, upt_rule_names[slot->rule], upt_severity_names[slot->severity],
                       (long long)slot->opened_min * UPT_MINUTE_MS);
        put_text(out, "subject", upt_alert_subject(d, slot, subject));
        upt_buf_printf(
            out, ",\"acknowledged\":%s,\"snoozed_until\":", (slot->flags & UPT_SLOT_ACKED) != 0 ? "true" : "false");
        if (slot->snooze_min != 0) {
            upt_buf_printf(out, "%lld,", (long long)slot->snooze_min * UPT_MINUTE_MS);
        } else {
            upt_buf_puts(out, "null,");
        }
        put_text(out, "suggested_play", upt_alert_play(d, slot));
        upt_buf_puts(out, "}");
        any = true;
    }
    upt_buf_puts(out, "]");
}

/* What would be open but for the cap on notifications, in the order in which its rules are judged. */
static void
put_held_back(struct upt_buf *out, const struct upt_decision *d)
{
    bool any = false;
    const struct upt_slots *slots = &d->ext->signals.slots;
    upt_buf_puts(out, "\"held_back\":[");
    for (unsigned k = 0; k < UPT_RULES * slots->n; k++) {
        const struct upt_slot *slot = &slots->v[k % slots->n];
        char subject[32];
        char why[200];
        if (slot->rule != k / slots->n || !upt_alert_held_back(d, slot)) {
            continue;
        }
        upt_held_back_say(d, slot, why, sizeof(why));
        upt_buf_printf(out, "%s{\"rule\":\"%s\",\"severity\":\"%s\",\"since\":%lld,", any ? "," : "",
                       upt_rule_names[slot->rule], upt_severity_names[slot->severity],
                       (long long)slot->since_min * UPT_MINUTE_MS);
        put_text(out, "subject", upt_alert_subject(d, slot, subject));
        upt_buf_puts(out, ",");
        put_text(out, "why", upt_str_of(why));
        upt_buf_puts(out, ",");
        put_text(out, "suggested_play", upt_alert_play(d, slot));
        upt_buf_puts(out, "}");
        any = true;
    }
    upt_buf_puts(out, "]");
}

void
upt_score_explain_json(struct upt_score *score, struct upt_state *st, struct upt_account *acct, struct upt_buf *out)
{
    const struct upt_score_ext *ext = upt_account_ext(acct);
    struct upt_health health;
    struct upt_eval eval;
    char names[UPT_SEGMENT_LIST_MAX];
    struct upt_facts facts;
    struct upt_score_ext *own = upt_account_ext(acct);
    struct upt_decision d = {.score = score, .st = st, .acct = acct, .ext = own, .now = upt_state_clock(st)};
    upt_evaluate(score->model, st, acct, ext, &eval);
    upt_parts_add(&d, &eval, &facts);
    d.eval = &eval;
    upt_score_explain(score, st, acct, &health);
    upt_buf_printf(out, "{\"as_of\":%lld,\"phase\":\"%s\",", (long long)upt_state_clock(st),
                   upt_phase_names[eval.phase]);
    put_text(out, "segment", health.segment);
    upt_buf_puts(out, ",");
    put_text(out, "segments", upt_segments_list(score->rules->segments, ext->segment.member, names));
    upt_buf_puts(out, ",");
    put_text(out, "model_version", health.model_version);
    upt_buf_puts(out, ",");
    put_health(out, score, &health, &eval);
    upt_buf_puts(out, ",");
    put_risk(out, score, &health, &eval);
    upt_buf_puts(out, ",");
    put_usage(out, acct, ext, eval.today);
    upt_buf_puts(out, ",");
    put_first_uses(out, &d);
    upt_buf_puts(out, ",");
    put_meters(out, &d);
    upt_buf_puts(out, ",");
    put_alerts(out, &d);
    upt_buf_puts(out, ",");
    put_held_back(out, &d);
    upt_buf_puts(out, "}");
}
