/* Decisions on one account: band, alerts, what is published. Private to the room. */
#ifndef UPT_SCORE_DECIDE_H
#define UPT_SCORE_DECIDE_H

#include "aggregate/score/score.h"
#include "evaluate.h"
#include "rules.h"

#define UPT_SCORE_MAGIC 0x5C07E001u

struct upt_score {
    uint32_t magic;
    const struct upt_model *model;
    const struct upt_rules *rules;
    struct upt_sink sink;
    char config_hash[17];
};

/* One account at one tick or record. eval is that of this moment. */
struct upt_decision {
    struct upt_score *score;
    struct upt_state *st;
    struct upt_account *acct;
    struct upt_score_ext *ext;
    const struct upt_eval *eval;
    int64_t now; /* the clock */
};

/* What a rule saw, for the record. NaN: null. */
struct upt_finding {
    double observed, expected, expected_low, p_value;
    struct upt_str unit;
    int64_t window_ms; /* −1: null */
    char counterfactual[200];
};

/* ---- alert lifecycle (alerts.c) ---- */
bool upt_alert_may_open(const struct upt_decision *d, int rule);
void upt_alert_open(struct upt_decision *d, int rule, int severity, int64_t since_ms,
                    const struct upt_finding *finding);
/* Whether an open alert gets a record: severity differs, or something moved and a day has passed. */
bool upt_alert_moves(const struct upt_decision *d, int rule, int severity);
/* That record: ESCALATE, DEESCALATE or UPDATE. */
void upt_alert_move(struct upt_decision *d, int rule, int severity, const struct upt_finding *finding);
void upt_alert_close(struct upt_decision *d, int rule, upt_action action, const struct upt_finding *finding);
struct upt_finding upt_finding_none(void);
uint32_t upt_open_alerts(const struct upt_score_ext *ext);

/* ---- rules ---- */
void upt_rule_health_daily(struct upt_decision *d);
void upt_rule_silence_daily(struct upt_decision *d);
void upt_rule_silence_timer(struct upt_decision *d);
/* last_key_ms has moved on, from silent_since: RESOLVE. */
void upt_rule_silence_key_event(struct upt_decision *d, int64_t silent_since);
void upt_rule_silence_arm(struct upt_decision *d); /* sets the account's timer; eval may be NULL */
void upt_rule_drop_daily(struct upt_decision *d);

/* ---- outcomes (outcome.c) ---- */
/* Counts what became of a risk of some time ago, and notes today's. */
void upt_outcome_daily(struct upt_decision *d);

/* ---- band, history (history.c) ---- */
void upt_band_step(const struct upt_model *model, struct upt_score_ext *ext, const struct upt_eval *eval);
void upt_history_put(struct upt_score_ext *ext, const struct upt_eval *eval);
/* Score of the day so many days before today; NaN: none. */
double upt_history_ago(const struct upt_score_ext *ext, int64_t today, int ago);
double upt_history_slope(const struct upt_score_ext *ext, int64_t today);
double upt_history_mean(const struct upt_score_ext *ext, int64_t today);

/* ---- words (text.c) ---- */
/* The five largest factors and `other`; texts go to text. */
int upt_factors(const struct upt_model *model, const struct upt_eval *eval, struct upt_factor *ret, char text[][200]);

#endif
