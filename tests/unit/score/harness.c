/* A score and a state played by hand: days, events, decisions kept for the assertions. See harness.h. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-9)

static void
check_eval(const struct world *w, const struct upt_eval *eval)
{
    double points = 0;
    int64_t micro = 0;
    int32_t weights = 0;
    for (int i = 0; i < UPT_PARTS; i++) {
        double part_mean = upt_part_mean_e5(w->model, i) / 1e5;
        points += eval->weight_milli[i] / 1e3 * (eval->sub_e5[i] / 1e5 - part_mean) * 100;
        micro += eval->points_micro[i];
        weights += eval->weight_milli[i];
        assert_in_range(eval->sub_e5[i], 0, 100000);
    }
    assert_true(weights == 1000 || weights == 0);
    assert_int_equal(micro, eval->score_micro - eval->mean_micro);
    NEAR(points, (double)(eval->score_micro - eval->mean_micro) / 1e6);
    for (int h = 0; h < UPT_HORIZONS && eval->has_key; h++) {
        double sum = eval->base[h];
        for (int i = 0; i < UPT_R_COUNT; i++) {
            sum += eval->factor[h][i];
        }
        NEAR(sum, eval->logit[h]);
    }
}

/* opened_at is the clock at OPEN, to the millisecond, and stays that, as condition_since does, to the end. */
static void
check_times(const struct world *w, const struct upt_alert *alert)
{
    int64_t opened = alert->action == UPT_OPEN ? alert->changed_at : alert->opened_at;
    int64_t since = alert->condition_since;
    for (int i = 0; i < w->alerts_n; i++) {
        if (strcmp(w->alert[i].id, alert->alert_id) == 0 && w->alert[i].a.action == UPT_OPEN) {
            opened = w->alert[i].a.changed_at;
            since = w->alert[i].a.condition_since;
        }
    }
    assert_true(alert->opened_at == opened && alert->condition_since == since);
    assert_true(alert->opened_at <= alert->changed_at && alert->condition_since <= alert->opened_at);
}

static void
check_alert(struct world *w, const struct upt_alert *alert)
{
    check_times(w, alert);
    char account[64];
    (void)snprintf(account, sizeof(account), "%.*s", (int)alert->account.len, alert->account.p);
    if (strcmp(account, UPT_FLEET_ACCOUNT) == 0) {
        return; /* of no account */
    }
    struct upt_eval eval = world_eval(w, account);
    double base = w->model->intercept[0];
    double sum = 0;
    for (int i = 0; i < UPT_R_COUNT; i++) {
        base += w->model->risk[i].weight * w->model->risk[i].mean;
    }
    for (int i = 0; i < alert->factors_n; i++) {
        sum += alert->factors[i].log_odds;
        assert_int_not_equal(alert->factors[i].text.len, 0);
        assert_true(i == 0 || i == 5 || fabs(alert->factors[i].log_odds) <= fabs(alert->factors[i - 1].log_odds));
        bool held = upt_str_eq(alert->factors[i].name, UPT_STR("held_back"));
        assert_true(!held || (i == alert->factors_n - 1 && !(fabs(alert->factors[i].log_odds) > 0)));
        assert_true(!held || alert->factors[i].value >= 1);
    }
    if (eval.has_key) {
        NEAR(base + sum, eval.logit[0]);
    }
    if (!isnan(alert->churn_probability)) {
        assert_true(fabs(1 / (1 + exp(-(base + sum))) - alert->churn_probability) <= 5.1e-7);
        assert_int_equal(alert->horizon_days, 30);
    }
    if (alert->action == UPT_RESOLVE || alert->action == UPT_EXPIRE) { /* nothing is left that would close it */
        assert_true(alert->counterfactual.len == 0 || strncmp(alert->counterfactual.p, "Closed by hand", 14) == 0 ||
                    strncmp(alert->counterfactual.p, "Ended while it was snoozed.", 27) == 0);
    }
    int64_t ended = 0;
    int revisions = 0;
    for (int i = 0; i < w->alerts_n; i++) {
        if (strcmp(w->alert[i].id, alert->alert_id) == 0) {
            revisions++;
            assert_true(alert->action != UPT_UPDATE || alert->changed_at - w->alert[i].a.changed_at >= UPT_DAY_MS);
            ended += w->alert[i].a.action == UPT_RESOLVE || w->alert[i].a.action == UPT_EXPIRE ? 1 : 0;
        }
    }
    assert_int_equal(ended, 0);
    assert_int_equal(alert->revision, revisions);
    assert_int_equal(alert->action == UPT_OPEN, revisions == 0);
    assert_int_equal(alert->previous_severity == -1, revisions == 0);
    assert_int_equal(strlen(alert->alert_id), 32);
}

static void
take_alert(void *ctx, const struct upt_alert *alert)
{
    struct world *w = ctx;
    check_alert(w, alert);
    assert_true(w->alerts_n < ALERTS_MAX);
    struct kept_alert *kept = &w->alert[w->alerts_n++];
    kept->a = *alert;
    memcpy(kept->id, alert->alert_id, sizeof(kept->id));
    (void)snprintf(kept->account, sizeof(kept->account), "%.*s", (int)alert->account.len, alert->account.p);
    (void)snprintf(kept->subject, sizeof(kept->subject), "%.*s", (int)alert->subject.len,
                   alert->subject.p == NULL ? "" : alert->subject.p);
    (void)snprintf(kept->rule, sizeof(kept->rule), "%.*s", (int)alert->rule.len, alert->rule.p);
    (void)snprintf(kept->subject, sizeof(kept->subject), "%.*s", (int)alert->subject.len,
                   alert->subject.p == NULL ? "" : alert->subject.p);
    (void)snprintf(kept->play, sizeof(kept->play), "%.*s", (int)alert->suggested_play.len,
                   alert->suggested_play.p == NULL ? "" : alert->suggested_play.p);
    (void)snprintf(kept->counterfactual, sizeof(kept->counterfactual), "%.*s", (int)alert->counterfactual.len,
                   alert->counterfactual.p == NULL ? "" : alert->counterfactual.p);
    for (int i = 0; i < alert->factors_n; i++) {
        (void)snprintf(kept->text[i], 200, "%.*s", (int)alert->factors[i].text.len, alert->factors[i].text.p);
        (void)snprintf(kept->factor[i], 24, "%.*s", (int)alert->factors[i].name.len, alert->factors[i].name.p);
    }
}

static void
take_health(void *ctx, const struct upt_health *health)
{
    struct world *w = ctx;
    double weights = 0;
    double points = 0;
    double mean = 0;
    for (int i = 0; i < health->components_n; i++) {
        const struct upt_component *c = &health->components[i];
        weights += c->weight;
        points += c->points;
        if (i >= UPT_PARTS) { /* a signal: nothing of the score */
            assert_true(c->weight <= 0 && fabs(c->points) <= 0 && isnan(c->sub_score) && !isnan(c->value));
            continue;
        }
        mean += c->weight * upt_part_mean_e5(w->model, i) / 1e3;
        if (c->status == UPT_FRESH) {
            NEAR(c->points, c->weight * (c->sub_score - upt_part_mean_e5(w->model, i) / 1e5) * 100);
        } else {
            assert_true(isnan(c->sub_score) && c->weight <= 0 && fabs(c->points) <= 0);
        }
    }
    if (!isnan(health->score)) {
        NEAR(weights, 1);
        NEAR(points, health->score - mean);
    }
    assert_int_equal(isnan(health->score) || health->confidence < w->model->confidence_band,
                     health->band == UPT_BAND_UNKNOWN);
    for (int h = 1; h < health->risks_n; h++) {
        assert_true(health->risks[h].probability >= health->risks[h - 1].probability);
    }
    w->health = *health;
    w->health_n++;
}

static void
take_null(void *ctx, struct upt_str account)
{
    struct world *w = ctx;
    assert_non_null(account.p);
    w->health_null_n++;
}

static struct upt_state *
new_state(struct world *w)
{
    struct upt_error err = {0};
    struct upt_state *st = NULL;
    struct upt_state_config config = {.partition = 3,
                                      .max_future_ms = 5 * UPT_MINUTE_MS,
                                      .dedup_window_ms = 10 * UPT_MINUTE_MS,
                                      .retention_ms = 400 * UPT_DAY_MS,
                                      .adopted_days = 3,
                                      .observer = &upt_score_observer,
                                      .observer_ctx = w->score,
                                      .metrics = w->metrics};
    assert_int_equal(upt_state_create(&config, &st, &err), UPT_OK);
    return st;
}

static struct upt_score *
new_score(struct world *w)
{
    struct upt_error err = {0};
    struct upt_score *score = NULL;
    assert_int_equal(upt_score_create(w->model, w->rules, "00112233aabbccdd", &w->sink, &score, &err), UPT_OK);
    upt_score_add_up(score, w->metrics->outcomes);
    return score;
}

struct world *
world_new(const char *rules)
{
    struct world *w = calloc(1, sizeof(*w));
    struct upt_error err = {0};
    assert_non_null(w);
    w->metrics = aligned_alloc(64, (sizeof(*w->metrics) + 63) / 64 * 64);
    assert_non_null(w->metrics);
    memset(w->metrics, 0, sizeof(*w->metrics));
    w->metrics->outcomes = upt_outcomes_create();
    w->sink = (struct upt_sink){.ctx = w, .alert = take_alert, .health = take_health, .health_null = take_null};
    assert_int_equal(upt_model_load(NULL, &w->model, &err), UPT_OK);
    char path[] = "/tmp/upt-rules-XXXXXX";
    int fd = -1;
    if (rules != NULL) {
        fd = mkstemp(path);
        assert_true(fd >= 0 && write(fd, rules, strlen(rules)) == (ssize_t)strlen(rules));
        (void)close(fd);
    }
    upt_status status = upt_rules_load(rules == NULL ? NULL : path, &w->rules, &err);
    if (rules != NULL) {
        (void)unlink(path);
    }
    if (status != UPT_OK) {
        fail_msg("%s", err.msg);
    }
    w->score = new_score(w);
    w->st = new_state(w);
    return w;
}

struct world *
world_only(const char *names, const char *rules)
{
    char text[12000];
    size_t len = (size_t)snprintf(text, sizeof(text), "%s\nrules:\n", rules == NULL ? "" : rules);
    for (int i = 0; i < UPT_RULES; i++) {
        const char *at = strstr(names, upt_rule_names[i]);
        char end = at == NULL ? '\0' : at[strlen(upt_rule_names[i])];
        if (at == NULL || (end != '\0' && end != ' ' && end != '{')) {
            len += (size_t)snprintf(text + len, sizeof(text) - len, "  %s: {enabled: false}\n", upt_rule_names[i]);
        } else if (end == '{') {
            const char *close = strchr(at, ';');
            assert_non_null(close);
            size_t from = strlen(upt_rule_names[i]);
            len += (size_t)snprintf(text + len, sizeof(text) - len, "  %s: %.*s\n", upt_rule_names[i],
                                    (int)(close - at - (long)from), at + from);
        }
        assert_true(len < sizeof(text));
    }
    return world_new(text);
}

void
world_free(struct world *w)
{
    upt_state_destroy(&w->st);
    upt_score_destroy(&w->score);
    upt_rules_destroy(&w->rules);
    upt_model_destroy(&w->model);
    upt_outcomes_destroy(&w->metrics->outcomes);
    free(w->metrics);
    free(w);
}

void
world_restart(struct world *w)
{
    struct upt_error err = {0};
    struct upt_score *score = new_score(w);
    struct upt_score *old_score = w->score;
    w->score = score;
    struct upt_state *st = new_state(w);
    struct upt_buf key = {0};
    struct upt_buf value = {0};
    struct upt_pos pos = upt_state_pos(w->st);
    int64_t clock = upt_state_clock(w->st);
    upt_state_snapshot_begin(w->st, true);
    while (upt_state_snapshot_next(w->st, &key, &value)) {
        if (value.len > 0) {
            assert_int_equal(upt_state_load(st, (struct upt_str){key.p, (uint32_t)key.len},
                                            (struct upt_str){value.p, (uint32_t)value.len}, &err),
                             UPT_OK);
        }
    }
    assert_int_equal(upt_state_load_done(st, pos, clock, &err), UPT_OK);
    upt_buf_fini(&key);
    upt_buf_fini(&value);
    upt_state_destroy(&w->st);
    upt_score_destroy(&old_score);
    w->st = st;
}

static int64_t
at_ms(int day, int hour, int minute)
{
    return (DAY0 + day) * UPT_DAY_MS + hour * UPT_HOUR_MS + minute * UPT_MINUTE_MS;
}

void
world_to(struct world *w, int day, int hour, int minute)
{
    upt_state_wall_tick(w->st, at_ms(day, hour, minute));
}

void
world_event(struct world *w, const char *account, upt_kind kind, const char *feature, double quantity, int64_t at)
{
    int64_t clock = upt_state_clock(w->st);
    int64_t ts = clock != UPT_NO_CLOCK && clock > at ? clock : at;
    struct upt_event ev = {.event_id = UPT_STR(""),
                           .account_id = upt_str_of(account),
                           .feature = upt_str_of(feature),
                           .occurred_at = at,
                           .quantity = quantity,
                           .kind = kind};
    upt_state_begin(w->st, w->offset++, ts);
    assert_int_equal(upt_state_judge(w->st, &ev, ts), UPT_REASON_NONE);
    assert_true(upt_state_apply(w->st, ev.account_id, &ev));
}

void
world_use(struct world *w, const char *account, int day, const char *feature, int n)
{
    for (int i = 0; i < n; i++) {
        world_event(w, account, UPT_KIND_USAGE, feature, 1, at_ms(day, 12, 0));
    }
}

void
world_profile(struct world *w, const char *account, int day, const char *name, const char *value)
{
    char raw[600];
    size_t name_len = strlen(name);
    size_t value_len = strlen(value);
    assert_true(name_len < 64 && value_len < 256);
    size_t len = 0;
    raw[len++] = 2; /* a block of one entry */
    raw[len++] = (char)(name_len * 2);
    memcpy(raw + len, name, name_len);
    len += name_len;
    if (value_len >= 64) { /* zigzag varint of two bytes */
        raw[len++] = (char)(unsigned char)((value_len * 2 & 0x7f) | 0x80);
        raw[len++] = (char)(value_len * 2 >> 7);
    } else {
        raw[len++] = (char)(value_len * 2);
    }
    memcpy(raw + len, value, value_len);
    len += value_len;
    raw[len++] = 0;
    struct upt_event ev = {.event_id = UPT_STR(""),
                           .account_id = upt_str_of(account),
                           .occurred_at = at_ms(day, 9, 0),
                           .quantity = 1,
                           .kind = UPT_KIND_PROFILE,
                           .properties = {.raw = {raw, (uint32_t)len}}};
    upt_state_begin(w->st, w->offset++, ev.occurred_at);
    assert_true(upt_state_apply(w->st, ev.account_id, &ev));
}

void
world_say(struct world *w, const char *account, int64_t at, const char *const *pairs, size_t n)
{
    char raw[1000];
    size_t len = 0;
    raw[len++] = (char)(2 * n); /* a block of n entries */
    for (size_t i = 0; i < 2 * n; i++) {
        size_t text = strlen(pairs[i]);
        assert_true(len + text + 3 < sizeof(raw) && text < 8192);
        raw[len++] = (char)(unsigned char)(text < 64 ? text * 2 : (text * 2 & 0x7f) | 0x80);
        if (text >= 64) {
            raw[len++] = (char)(text * 2 >> 7);
        }
        memcpy(raw + len, pairs[i], text);
        len += text;
    }
    raw[len++] = 0;
    int64_t clock = upt_state_clock(w->st);
    struct upt_event ev = {.event_id = UPT_STR(""),
                           .account_id = upt_str_of(account),
                           .occurred_at = at,
                           .quantity = 1,
                           .kind = UPT_KIND_OTHER,
                           .properties = {.raw = {raw, (uint32_t)len}}};
    upt_state_begin(w->st, w->offset++, clock > at ? clock : at);
    assert_true(upt_state_apply(w->st, ev.account_id, &ev));
}

struct upt_account *
world_account(struct world *w, const char *account)
{
    struct upt_account *acct = upt_state_find(w->st, upt_str_of(account));
    assert_non_null(acct);
    return acct;
}

struct upt_score_ext *
world_ext(struct world *w, const char *account)
{
    return upt_account_ext(world_account(w, account));
}

struct upt_eval
world_eval(struct world *w, const char *account)
{
    struct upt_account *acct = world_account(w, account);
    struct upt_eval eval;
    struct upt_facts facts;
    const struct upt_decision d = {
        .score = w->score, .st = w->st, .acct = acct, .ext = upt_account_ext(acct), .now = upt_state_clock(w->st)};
    upt_evaluate(w->model, w->st, acct, upt_account_ext(acct), &eval);
    upt_parts_add(&d, &eval, &facts);
    check_eval(w, &eval);
    return eval;
}

static bool
matches(const struct kept_alert *alert, const char *account, const char *rule, int action)
{
    return (account == NULL || strcmp(alert->account, account) == 0) &&
           (rule == NULL || strcmp(alert->rule, rule) == 0) && (action < 0 || (int)alert->a.action == action);
}

int
world_count(const struct world *w, const char *account, const char *rule, int action)
{
    int n = 0;
    for (int i = 0; i < w->alerts_n; i++) {
        n += matches(&w->alert[i], account, rule, action) ? 1 : 0;
    }
    return n;
}

const struct kept_alert *
world_alert(const struct world *w, const char *account, const char *rule, int i)
{
    for (int k = 0; k < w->alerts_n; k++) {
        if (matches(&w->alert[k], account, rule, -1) && i-- == 0) {
            return &w->alert[k];
        }
    }
    fail_msg("no such transition");
    return NULL;
}

const char *
world_held_back(const struct kept_alert *alert)
{
    int last = alert->a.factors_n - 1;
    return last >= 0 && strcmp(alert->factor[last], "held_back") == 0 ? alert->text[last] : "";
}

double
world_day(int64_t ms)
{
    return (double)(ms - DAY0 * UPT_DAY_MS) / (double)UPT_DAY_MS;
}

void
upt_test_xxh128(const void *p, size_t len, char ret[33])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(p, len));
    for (int i = 0; i < 16; i++) {
        (void)snprintf(ret + 2 * i, 3, "%02x", canonical.digest[i]);
    }
}
