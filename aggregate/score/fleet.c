/* The fleet guard: a day on which far fewer accounts were active than on the same weekday of the weeks before is an
 * outage, a holiday or a broken feed, not the decision of each of them. It raises one alert, DATA_QUALITY, and holds
 * what judges silence and drops: opening an alert for every account would be noise just when the reader has a real
 * problem.
 *
 * Accounts are counted rather than events, so that one large customer is not a fleet. What is expected is the mean of
 * the same weekday of four weeks, days of outage left out as long as two are left. An outage needs both a share below
 * `fleet_share` of that, as it was kept lately, and a shortfall of three times the square root of what was expected, so
 * that a small partition, whose numbers swing, says nothing. A day without enough accounts opens nothing and closes
 * nothing. The lane's thread. */
#include "fleet.h"

#include <math.h>
#include <stdio.h>

#include "codec.h"
#include "decide.h"
#include "uptake/assert.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define REFERENCES 4
#define REFERENCES_LEAST 2
#define DEVIATIONS 3.0
#define RECENT 0x7Fu      /* outages of 7 days: a weekend after one is no end of it */
#define GIVE_UP 0x3FFFFFu /* of 22 days: without one, and no day that could be judged, the alert expires */
#define NOON_MS (12 * UPT_HOUR_MS)

static size_t
place(int64_t day)
{
    return (size_t)((day % UPT_FLEET_DAYS + UPT_FLEET_DAYS) % UPT_FLEET_DAYS);
}

static uint32_t
seen_on(const struct upt_fleet *fleet, int64_t day)
{
    bool kept = fleet->has_day && day <= fleet->day && day > fleet->day - UPT_FLEET_DAYS;
    return kept ? fleet->active[place(day)] : 0;
}

void
upt_fleet_mark(struct upt_fleet *fleet, int64_t day)
{
    if (!fleet->has_day) {
        fleet->has_day = true;
        fleet->day = day;
    }
    for (int64_t d = fleet->day + 1; d <= day && d <= fleet->day + UPT_FLEET_DAYS; d++) {
        fleet->active[place(d)] = 0;
    }
    fleet->day = day > fleet->day ? day : fleet->day;
    if (day > fleet->day - UPT_FLEET_DAYS && fleet->active[place(day)] < UINT32_MAX) {
        fleet->active[place(day)]++;
    }
}

bool
upt_fleet_outage(const struct upt_fleet *fleet, int64_t day)
{
    int64_t ago = fleet->judged - day;
    return fleet->has_judged && ago >= 0 && ago < 64 && (fleet->outages >> ago & 1) != 0;
}

/* Accounts to be expected on the day; NaN: not known. */
static double
expected_on(const struct upt_fleet *fleet, int64_t day)
{
    double clean = 0;
    double all = 0;
    int clean_n = 0;
    for (int w = 1; w <= REFERENCES; w++) {
        double n = seen_on(fleet, day - 7 * w);
        all += n;
        if (!upt_fleet_outage(fleet, day - 7 * w)) {
            clean += n;
            clean_n++;
        }
    }
    if (!fleet->has_day) {
        return (double)NAN;
    }
    return upt_round6(clean_n >= REFERENCES_LEAST ? clean / clean_n : all / REFERENCES);
}

/* A fleet that shrinks week by week is no outage: what is expected shrinks with it. */
static double
steady_of(const struct upt_fleet *fleet)
{
    return fleet->steady > 0 ? fleet->steady : 1;
}

/* share: of the day that has passed. */
static bool
is_low(const struct upt_score *score, double seen, double expected, double share)
{
    double least = score->rules->rule[UPT_RULE_DATA_QUALITY].p[UPT_P_FLEET_SHARE];
    return seen < upt_round6(least * expected * share) &&
           (expected * share - seen) * (expected * share - seen) >= DEVIATIONS * DEVIATIONS * expected * share;
}

static void
emit(struct upt_decision *d, upt_action action, double seen, double expected)
{
    struct upt_fleet *fleet = &d->score->fleet;
    const struct upt_rule *spec = &d->score->rules->rule[UPT_RULE_DATA_QUALITY];
    char subject[32];
    (void)snprintf(subject, sizeof(subject), "partition %d", (int)upt_state_partition(d->st));
    struct upt_alert alert = {
        .revision = fleet->revision,
        .action = action,
        .rule = upt_str_of(upt_rule_names[UPT_RULE_DATA_QUALITY]),
        .rule_version = spec->version,
        .severity = UPT_WARNING,
        .previous_severity = action == UPT_OPEN ? -1 : UPT_WARNING,
        .account = UPT_STR(UPT_FLEET_ACCOUNT),
        .subject = upt_str_of(subject),
        .opened_at = (int64_t)fleet->opened_min * UPT_MINUTE_MS,
        .changed_at = d->now,
        .condition_since = (int64_t)fleet->opened_min * UPT_MINUTE_MS,
        .phase = UPT_PHASE_USAGE,
        .health = (double)NAN,
        .health_change_28d = (double)NAN,
        .churn_probability = (double)NAN,
        .horizon_days = -1,
        .expected_lead_days = (double)NAN,
        .precision_estimate = (double)NAN,
        .observed = seen,
        .expected = expected,
        .expected_low = (double)NAN,
        .unit = UPT_STR("active accounts"),
        .window_ms = UPT_DAY_MS,
        .p_value = (double)NAN,
        .counterfactual = action == UPT_RESOLVE
                              ? UPT_STR_NULL
                              : UPT_STR("A day with the usual number of active accounts closes it; "
                                        "until then alerts of silence and of falling usage are held."),
        .suggested_play = spec->play[0] == '\0' ? UPT_STR_NULL : upt_str_of(spec->play),
        .confidence = 1,
        .model_version = upt_str_of(d->score->model->version),
        .config_hash = upt_str_of(d->score->config_hash),
        .partition = upt_state_partition(d->st),
        .pos = upt_state_pos(d->st),
    };
    upt_alert_id(alert.account, alert.rule, alert.subject, fleet->opened_min, alert.alert_id);
    fleet->revision++;
    if (d->score->sink.alert != NULL) {
        d->score->sink.alert(d->score->sink.ctx, &alert);
    }
}

void
upt_fleet_daily(struct upt_decision *d)
{
    struct upt_fleet *fleet = &d->score->fleet;
    const struct upt_rule *rule = &d->score->rules->rule[UPT_RULE_DATA_QUALITY];
    int64_t day = upt_floor_div(d->now, UPT_DAY_MS) - 1;
    if (fleet->has_judged && fleet->judged >= day) {
        return;
    }
    upt_state_partition_changes(d->st);
    int64_t by = fleet->has_judged ? day - fleet->judged : 64;
    fleet->outages = by >= 64 ? 0 : fleet->outages << by;
    fleet->judged = day;
    fleet->has_judged = true;
    double seen = seen_on(fleet, day);
    double expected = expected_on(fleet, day);
    bool known = expected >= rule->p[UPT_P_FLEET_LEAST];
    bool low = known && rule->enabled && is_low(d->score, seen, expected * steady_of(fleet), 1);
    if (known && !low) {
        fleet->steady = upt_round6(fmin(1, seen / expected));
    }
    fleet->outages |= low ? 1 : 0;
    if (low && !fleet->open) {
        fleet->open = true;
        fleet->opened_min = (uint32_t)(d->now / UPT_MINUTE_MS);
        fleet->revision = 0;
        emit(d, UPT_OPEN, seen, expected);
    } else if (fleet->open && (!rule->enabled || (!known && (fleet->outages & GIVE_UP) == 0))) {
        emit(d, UPT_EXPIRE, seen, expected);
        fleet->open = false;
    } else if (fleet->open && known && !low) {
        emit(d, UPT_RESOLVE, seen, expected);
        fleet->open = false;
    }
}

bool
upt_fleet_holds(const struct upt_score *score, int64_t now)
{
    const struct upt_fleet *fleet = &score->fleet;
    const struct upt_rule *rule = &score->rules->rule[UPT_RULE_DATA_QUALITY];
    int64_t today = upt_floor_div(now, UPT_DAY_MS);
    int64_t passed = now - today * UPT_DAY_MS;
    if (!rule->enabled) {
        return false;
    }
    if (upt_fleet_outage(fleet, today - 1) || (fleet->open && upt_fleet_lately(fleet))) {
        return true;
    }
    double expected = expected_on(fleet, today);
    return passed >= NOON_MS && expected >= rule->p[UPT_P_FLEET_LEAST] &&
           is_low(score, seen_on(fleet, today), expected * steady_of(fleet), (double)passed / (double)UPT_DAY_MS);
}

bool
upt_fleet_lately(const struct upt_fleet *fleet)
{
    return (fleet->outages & RECENT) != 0;
}

/* ---- checkpoint ---- */

static void
fields(struct upt_codec *codec, struct upt_fleet *fleet)
{
    UPT_FLAG(fleet->has_day);
    UPT_INT(fleet->day, int64_t, 8);
    for (int i = 0; i < UPT_FLEET_DAYS; i++) {
        UPT_INT(fleet->active[i], uint32_t, 4);
    }
    UPT_INT(fleet->outages, uint64_t, 8);
    UPT_INT(fleet->judged, int64_t, 8);
    UPT_FLAG(fleet->has_judged);
    upt_codec_real(codec, &fleet->steady);
    UPT_FLAG(fleet->open);
    UPT_INT(fleet->opened_min, uint32_t, 4);
    UPT_INT(fleet->revision, uint16_t, 2);
}

void
upt_fleet_encode(const struct upt_fleet *fleet, struct upt_buf *out)
{
    struct upt_codec codec = {.out = out};
    struct upt_fleet copy = *fleet;
    (void)upt_codec_word(&codec, UPT_FLEET_VERSION, 1);
    fields(&codec, &copy);
}

bool
upt_fleet_decode(struct upt_fleet *fleet, struct upt_cur *cur)
{
    *fleet = (struct upt_fleet){0};
    struct upt_codec codec = {.cur = *cur};
    if (upt_codec_word(&codec, 0, 1) != UPT_FLEET_VERSION) {
        return false;
    }
    fields(&codec, fleet);
    *cur = codec.cur;
    return cur->ok;
}
