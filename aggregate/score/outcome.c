/* The product judges its own risk: a 30-day risk is noted with the account, and when its outcome is known it is counted
 * on /metrics under the segment that the account is in by then (uptake/outcomes.h); then today's is noted. So of each
 * account there is one risk each 90 days or so, and outcomes are independent witnesses; none while it is gone by
 * contract or after 90 silent days, else those long dead would flatter the figures for ever.
 *
 * Left: CHURNED within the 30 days, or no key-active day in the 60 after them. Noted risks are in the
 * checkpoint, with the account, and so are the counts, with the partition: an outcome takes 90 days, and a process that
 * knew only its own would seldom know any. They are of one model: another one begins anew, with the risks that it tells
 * itself. The first segments have counts of their own, as in the process. Decides nothing. The lane's thread. */
#include "outcome.h"

#include <string.h>

#include "activity.h"
#include "decide.h"
#include "uptake/assert.h"

#define SILENT_LONG 90 /* days: that such an account stays away is no news; as in `uptake fit` */
#define ALARM_E4 7500
#define TABLE_VERSION 2

bool
upt_outcome_left(const struct upt_score_ext *ext, int64_t until)
{
    int64_t churned = ext->churned_min / UPT_MINUTES_A_DAY;
    if (ext->churned_min > ext->renewed_min && ext->churned_min > 0) {
        return churned <= until;
    }
    for (int64_t day = until + 1; day <= until + UPT_OUTCOME_SILENT_DAYS; day++) {
        if (upt_activity_on(ext, day)) {
            return false;
        }
    }
    return true;
}

/* The first UPT_OUTCOME_SEGMENTS names have a place; "" and `other` always do. */
static struct upt_outcome_counts *
counts_of(struct upt_outcome_table *table, struct upt_str name)
{
    bool none = name.p == NULL || name.len == 0;
    bool other = !none && (name.len > UPT_OUTCOME_NAME_MAX || memchr(name.p, '\0', name.len) != NULL);
    unsigned named = 0;
    for (unsigned i = 0; i < table->n && !other; i++) {
        const char *have = table->segment[i].name;
        if (upt_str_eq(none ? UPT_STR("") : name, upt_str_of(have))) {
            return &table->segment[i].counts;
        }
        named += have[0] != '\0' && strcmp(have, "other") != 0 ? 1 : 0;
    }
    if (other || (named == UPT_OUTCOME_SEGMENTS && !none && !upt_str_eq(name, UPT_STR("other")))) {
        return counts_of(table, UPT_STR("other"));
    }
    upt_assert(table->n < UPT_OUTCOME_SLOTS);
    if (!none) {
        memcpy(table->segment[table->n].name, name.p, name.len);
    }
    return &table->segment[table->n++].counts;
}

static void
count(const struct upt_decision *d, bool left)
{
    const struct upt_score_ext *ext = d->ext;
    struct upt_outcome_table *table = &d->score->outcomes;
    struct upt_str segment = upt_account_trait(d->acct, UPT_STR("segment"));
    uint32_t risk = ext->foretold.risk_e4;
    bool told = left && risk >= ALARM_E4 && ext->last_day > ext->foretold.day;
    uint32_t lead = told ? (uint32_t)(ext->last_day - ext->foretold.day) : 0;
    upt_state_partition_changes(d->st);
    struct upt_outcome_counts *counts = counts_of(table, segment);
    uint32_t hundredth = risk / 100 < UPT_OUTCOME_HUNDREDTHS ? risk / 100 : UPT_OUTCOME_HUNDREDTHS - 1;
    counts->n[left ? 1 : 0][hundredth]++;
    counts->risk_e4[hundredth / 10] += risk;
    counts->leads += told ? 1 : 0;
    counts->lead_days += lead;
    if (table->shared != NULL) {
        upt_outcomes_add(table->shared, segment, risk, left, lead);
    }
}

/* ---- checkpoint ---- */

static void
numbers(struct upt_outcome_counts *counts, struct upt_buf *out, struct upt_cur *cur)
{
    uint32_t *small[] = {counts->n[0], counts->n[1], &counts->leads, &counts->lead_days};
    static const int many[] = {UPT_OUTCOME_HUNDREDTHS, UPT_OUTCOME_HUNDREDTHS, 1, 1};
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < many[i]; k++) {
            if (out != NULL) {
                upt_buf_put_varint(out, small[i][k]);
            } else {
                small[i][k] = (uint32_t)upt_cur_varint(cur);
            }
        }
    }
    for (int k = 0; k < UPT_OUTCOME_TENTHS; k++) {
        if (out != NULL) {
            upt_buf_put_varint(out, counts->risk_e4[k]);
        } else {
            counts->risk_e4[k] = upt_cur_varint(cur);
        }
    }
}

/* Number of the rule, how many outcomes it has, how many left, and the leads; rules without outcomes are not written.
 */
static void
put_rule(const struct upt_rule_outcomes *counts, int rule, struct upt_buf *out)
{
    if (counts->n == 0) {
        return;
    }
    upt_buf_put_varint(out, (uint64_t)rule);
    upt_buf_put_varint(out, counts->n);
    upt_buf_put_varint(out, counts->left);
    for (int days = 0; days <= UPT_OUTCOME_DAYS; days++) {
        upt_buf_put_varint(out, counts->lead[days]);
    }
}

static bool
get_rules(struct upt_rule_outcomes *rule, struct upt_cur *cur)
{
    for (int64_t last = -1; cur->ok && cur->p != cur->end;) {
        uint64_t i = upt_cur_varint(cur);
        if (!cur->ok || i >= UPT_RULES || (int64_t)i <= last) {
            return false;
        }
        last = (int64_t)i;
        rule[i].n = (uint32_t)upt_cur_varint(cur);
        rule[i].left = (uint32_t)upt_cur_varint(cur);
        for (int days = 0; days <= UPT_OUTCOME_DAYS; days++) {
            rule[i].lead[days] = (uint32_t)upt_cur_varint(cur);
        }
    }
    return cur->ok;
}

void
upt_outcome_encode(const struct upt_outcome_table *table, struct upt_buf *out)
{
    if (table->model[0] == '\0') {
        return;
    }
    upt_buf_put_varint(out, TABLE_VERSION);
    upt_buf_put(out, table->model, sizeof(table->model) - 1);
    upt_buf_put_zigzag(out, table->since);
    upt_buf_put_varint(out, table->n);
    for (unsigned i = 0; i < table->n; i++) {
        struct upt_outcome_counts copy = table->segment[i].counts;
        struct upt_str name = upt_str_of(table->segment[i].name);
        upt_buf_put_varint(out, name.len);
        upt_buf_put(out, name.p, name.len);
        numbers(&copy, out, NULL);
    }
    for (int rule = 0; rule < UPT_RULES; rule++) {
        put_rule(&table->rule[rule], rule, out);
    }
}

static void
move(const struct upt_outcome_table *table, bool away)
{
    for (unsigned i = 0; table->shared != NULL && i < table->n; i++) {
        upt_outcomes_move(table->shared, upt_str_of(table->segment[i].name), &table->segment[i].counts, away);
    }
}

bool
upt_outcome_decode(struct upt_outcome_table *table, struct upt_cur *cur)
{
    upt_outcome_fini(table);
    if (cur->p == cur->end) {
        return true;
    }
    bool good = upt_cur_varint(cur) == TABLE_VERSION;
    struct upt_str model = upt_cur_bytes(cur, sizeof(table->model) - 1);
    table->since = upt_cur_zigzag(cur);
    uint64_t n = upt_cur_varint(cur);
    good = good && cur->ok && n <= UPT_OUTCOME_SLOTS;
    if (good) {
        memcpy(table->model, model.p, model.len);
    }
    for (uint64_t i = 0; good && i < n; i++) {
        uint64_t len = upt_cur_varint(cur);
        struct upt_str name = upt_cur_bytes(cur, len);
        good = cur->ok && len <= UPT_OUTCOME_NAME_MAX;
        if (good) {
            memcpy(table->segment[i].name, name.p, name.len);
            numbers(&table->segment[i].counts, NULL, cur);
            good = cur->ok;
        }
    }
    table->n = good ? (unsigned)n : 0;
    move(table, false);
    return good && get_rules(table->rule, cur) && cur->p == cur->end;
}

void
upt_outcome_fini(struct upt_outcome_table *table)
{
    struct upt_outcomes *shared = table->shared;
    move(table, true);
    *table = (struct upt_outcome_table){.shared = shared};
}

/* ---- the day ---- */

/* Whether what was noted of the account is the word of the model in use. */
static bool
of_this_model(struct upt_decision *d)
{
    struct upt_outcome_table *table = &d->score->outcomes;
    if (strcmp(table->model, d->score->model->hash) != 0) {
        bool first = table->model[0] == '\0';
        upt_state_partition_changes(d->st);
        upt_outcome_fini(table);
        memcpy(table->model, d->score->model->hash, sizeof(table->model));
        table->since = first ? 0 : d->eval->today;
    }
    return d->ext->foretold.day >= table->since - 1; /* noted on the day after the one that it is about */
}

void
upt_outcome_daily(struct upt_decision *d)
{
    struct upt_score_ext *ext = d->ext;
    bool own = of_this_model(d); /* also for openings.c: an account that was never used may have alerts */
    if (!d->eval->has_key) {
        return;
    }
    if (ext->foretold.risk_e4 != UPT_NULL_U16) {
        int64_t until = (int64_t)ext->foretold.day + UPT_OUTCOME_DAYS;
        if (own && d->eval->today <= until + UPT_OUTCOME_SILENT_DAYS) {
            return;
        }
        if (own) {
            count(d, upt_outcome_left(ext, until));
        }
    }
    bool gone = ext->churned_min > ext->renewed_min || d->eval->act.day - d->eval->act.last > SILENT_LONG;
    ext->foretold.day = (int32_t)d->eval->today - 1;
    ext->foretold.risk_e4 = gone ? UPT_NULL_U16 : (uint16_t)((d->eval->risk_micro[0] + 50) / 100);
}
