/* Decisions on one account: band, alerts, what is published. Private to the room. */
#ifndef UPT_SCORE_DECIDE_H
#define UPT_SCORE_DECIDE_H

#include "aggregate/score/score.h"
#include "evaluate.h"
#include "fleet.h"
#include "outcome.h"
#include "rules.h"
#include "uptake/signal.h"

#define UPT_SCORE_MAGIC 0x5C07E001u
#define UPT_CONTROLLED_MAX ((size_t)UPT_SLOTS_MAX * 80) /* bytes of the row's controlled_alerts */

struct upt_decision;

struct upt_score {
    uint32_t magic;
    const struct upt_model *model;
    const struct upt_rules *rules;
    struct upt_sink sink;
    char config_hash[17];
    struct upt_fleet fleet;                                              /* of the partition; in the checkpoint */
    struct upt_outcome_table outcomes;                                   /* likewise */
    char segments[UPT_SEGMENT_LIST_MAX], controlled[UPT_CONTROLLED_MAX]; /* texts of the row filled last */
};

/* The goals of an account (trait `goals`), as they stand today. */
struct upt_goals {
    bool listed;              /* the trait is there */
    int n, reached;           /* the first of the list, at most UPT_GOALS_MAX; of these */
    int dated, late;          /* with a date; of these past it and not reached */
    bool has_next;            /* one with a date is not reached */
    int64_t next;             /* the earliest date of those, a day */
    struct upt_str next_name; /* whose it is; within the trait */
    double progress;          /* of those with a target the mean of what is there of it, at most 1; NaN: none has one */
};
void upt_goals_read(const struct upt_decision *d, struct upt_goals *ret);

/* A meter of an account (trait `entitlements`): what was used of it in the 30 UTC days up to today. */
struct upt_meter_use {
    struct upt_str name; /* within the trait */
    double units, entitled;
    double share;  /* units / entitled */
    int32_t since; /* UTC day from which on it is counted */
};
/* The next one; *at and *n start at 0. False: no more. */
bool upt_meter_next(const struct upt_decision *d, uint32_t *at, int *n, struct upt_meter_use *ret);

struct upt_meters {
    int n, over;               /* of these with a share of 1 or more */
    struct upt_meter_use most; /* the one with the greatest share, the first of several; share NaN: there is none */
};
void upt_meters_read(const struct upt_decision *d, struct upt_meters *ret);
/* The account's profile has changed: from here on the meters that the trait lists are counted. */
void upt_meters_follow(struct upt_decision *d);

/* What several rules ask of an account, read once for a daily evaluation. NaN: not known. */
struct upt_facts {
    int64_t today, age; /* age: days since the first key-active day, or since it was first seen */
    int64_t start;      /* day of contract_start, or on which it was first seen */
    int64_t silent;     /* days since the last key-active day, today not counted; −1: never had one */
    struct upt_account_users users;
    double seats, utilisation; /* users_30d / seats, not above 1 */
    bool has_renewal;
    int64_t to_renewal; /* days */
    double value;       /* contract_value */
    int tier;           /* UPT_TIER_… */
    double patience;    /* how long to wait for value: 1; ttv_class SHORT .5, IMMEDIATE .25, LONG 2; a trial half */
    int steps_n, steps_done; /* onboarding checklist; steps_n 0: none */
    struct upt_goals goals;
    struct upt_meters meters;
    bool early;     /* trait early_adopter: true, yes or 1 */
    bool watched;   /* early, or the 90 days after onboarding: half as many evaluations suffice to open */
    bool aftermath; /* it was within the last 7 days */
    bool outage;    /* the whole fleet was quiet yesterday, or is today so far */
};
void upt_facts_read(const struct upt_decision *d, struct upt_facts *ret);
/* The next name of a comma-separated list, blanks around it left out. False: no more. */
bool upt_name_next(struct upt_str list, uint32_t *at, struct upt_str *ret);
/* What is before and behind the last `mark`, likewise; false: there is none, or nothing before it. */
bool upt_name_cut(struct upt_str s, char mark, struct upt_str *ret_before, struct upt_str *ret_behind);
/* Of a comma-separated list the first `most` names, and how many of them are among the hashes (16 bits). */
int upt_names_listed(struct upt_str list, const uint16_t *hash, int hash_n, int most, int *ret_done);
/* The word is in the comma-separated list, letters of either case. */
bool upt_named(struct upt_str list, struct upt_str word);
int upt_steps_listed(const struct upt_score_ext *ext, struct upt_str list, int *ret_done);

/* One account at one tick or record. eval is that of this moment. */
struct upt_decision {
    struct upt_score *score;
    struct upt_state *st;
    struct upt_account *acct;
    struct upt_score_ext *ext;
    const struct upt_eval *eval;
    const struct upt_facts *facts; /* only in a daily evaluation */
    int64_t now;                   /* the clock */
};

/* What a rule saw, for the record. NaN: null. */
struct upt_finding {
    double observed, expected, expected_low, p_value;
    struct upt_str unit;
    int64_t window_ms; /* −1: null */
    char counterfactual[200];
};

/* ---- parts of the score beside use (parts.c) ---- */
/* Adds them and weighs all parts anew, by phase and segment; what has no score gets none. Also reads the facts. */
void upt_parts_add(const struct upt_decision *d, struct upt_eval *eval, struct upt_facts *facts);
const char *upt_part_name(int part);
const char *upt_part_unit(int part);
/* part_text.c: a name for a person; and in words, of a part that is known. */
const char *upt_part_short(int part);
void upt_part_say(const struct upt_model *model, const struct upt_eval *eval, int part, char *buf, size_t cap);
int32_t upt_part_mean_e5(const struct upt_model *model, int part);

/* ---- signals beside the score (report.c) ---- */
/* As of now; NaN: not known. */
void upt_signals_read(const struct upt_decision *d, const struct upt_facts *facts, double ret[UPT_SIGNALS]);
/* Appends those that are known, as components of weight 0. */
void upt_signals_report(const struct upt_decision *d, const double signals[UPT_SIGNALS], struct upt_health *inout);
/* Days since the champion's last active day, today not counted; 27: none in sight. There must be one. */
int upt_champion_silence(const struct upt_decision *d, bool *ret_removed);
double upt_number_of(struct upt_str v); /* NaN: none, negative or too large */

/* ---- alert lifecycle (alerts.c) ---- */
/* Neither open, nor in its cool-down, nor is the rule off or the account gone. */
bool upt_alert_may_open(const struct upt_decision *d, int rule, uint32_t subject);
/* The account has had its share of notifications for now. CRITICAL ones are never held back. */
bool upt_alert_capped(const struct upt_decision *d, int severity);
/* The clock from which it has not; at or before now: there is room. */
int64_t upt_alert_room(const struct upt_decision *d, int severity);
/* False: no room. */
bool upt_alert_open(struct upt_decision *d, int rule, uint32_t subject, int severity, int64_t since_ms,
                    const struct upt_finding *finding);
/* Whether an open alert gets a record: severity differs, or something moved and a day has passed. */
bool upt_alert_moves(const struct upt_decision *d, const struct upt_slot *slot, int severity);
/* That record: ESCALATE, DEESCALATE or UPDATE. */
void upt_alert_move(struct upt_decision *d, struct upt_slot *slot, int severity, const struct upt_finding *finding);
/* RESOLVE waits for the end of a snooze. */
void upt_alert_close(struct upt_decision *d, struct upt_slot *slot, upt_action action,
                     const struct upt_finding *finding);
/* Every open alert ends with EXPIRE. */
void upt_alert_expire_all(struct upt_decision *d);
/* Once a day: what is out of its cool-down is forgotten. */
void upt_alert_sweep(struct upt_decision *d);
/* An alert that is told once and is over: OPEN and RESOLVE at the same moment, INFO. play: null for the rule's. */
void upt_alert_complete(struct upt_decision *d, int rule, struct upt_str subject, struct upt_str play);
/* What an open alert is about, the same from OPEN to the end; null: the account as a whole. */
struct upt_str upt_alert_subject(const struct upt_decision *d, const struct upt_slot *slot, char buf[32]);
/* What to do about it, by the rules file; null: nothing is written there. */
struct upt_str upt_alert_play(const struct upt_decision *d, const struct upt_slot *slot);
/* The id of an open alert. */
void upt_alert_id_of(const struct upt_decision *d, const struct upt_slot *slot, char ret[33]);
struct upt_finding upt_finding_none(void);
uint32_t upt_open_alerts(const struct upt_score_ext *ext);
/* The open one, or NULL. */
struct upt_slot *upt_alert_is_open(const struct upt_score_ext *ext, int rule, uint32_t subject);
void upt_alert_id(struct upt_str account, struct upt_str rule, struct upt_str subject, uint32_t opened_min,
                  char ret[33]);

/* ---- what the cap holds back (held_back.c) ---- */
/* The alert would have opened. */
void upt_alert_hold_back(struct upt_decision *d, int rule, uint32_t subject, int severity);
/* It would not, cap or no cap. */
void upt_alert_let_go(struct upt_decision *d, int rule, uint32_t subject);
bool upt_alert_held_back(const struct upt_decision *d, const struct upt_slot *slot);
/* A factor of log-odds 0 that names all of them, or none: 0. */
int upt_factor_held_back(const struct upt_decision *d, struct upt_factor *ret, char text[200]);
/* Why, and from when on there is room. */
void upt_held_back_say(const struct upt_decision *d, const struct upt_slot *slot, char *buf, size_t cap);

/* ---- what people say of alerts (control.c) ---- */
/* A record of kind OTHER that may be a control record. */
void upt_control_event(struct upt_decision *d, const struct upt_event *ev);
/* No record of the alert may leave now. */
bool upt_control_snoozed(const struct upt_slot *slot, int64_t now);
/* Ends alerts whose condition ended while they were snoozed and whose snooze is over. d->eval is that of now. */
void upt_control_settle(struct upt_decision *d);
/* `alert_id:ack` and `alert_id:snooze:until_ms`, commas between them, into buf of UPT_CONTROLLED_MAX; null: none. */
struct upt_str upt_control_list(const struct upt_decision *d, char *buf);

/* ---- rules judged once a day (rule_engine.c) ---- */
enum upt_verdict_kind {
    UPT_V_UNKNOWN, /* data are missing: opens nothing, closes nothing */
    UPT_V_OFF,
    UPT_V_HOLD, /* between: keeps an open one open, opens none */
    UPT_V_ON
};
struct upt_verdict {
    enum upt_verdict_kind kind;
    int severity;
    int64_t since_ms;
    bool quick; /* one evaluation suffices */
    bool waits; /* ON that is counted, but does not open yet */
    struct upt_finding finding;
};
struct upt_verdict upt_verdict_of(enum upt_verdict_kind kind);
/* Whether anyone may read what the verdict finds: texts are made for these only. */
bool upt_verdict_speaks(const struct upt_decision *d, int rule, uint32_t subject, const struct upt_verdict *verdict);
void upt_verdict_apply(struct upt_decision *d, int rule, uint32_t subject, struct upt_verdict *verdict);
void upt_rules_daily(struct upt_decision *d);
/* P(X ≤ n) of a Poisson variable, by the normal for large means; rounded. */
double upt_poisson_at_most(double n, double mean);

/* ---- adoption (adoption.c) ---- */
/* Mean of the account's percentiles in frequency and breadth; NaN: none. */
double upt_adoption_percentile(const struct upt_decision *d);
/* Among whom: "share of the accounts that …"; the same without "share of the ". */
const char *upt_adoption_unit(const struct upt_decision *d);
const char *upt_adoption_peers(const struct upt_decision *d);

int upt_risk_horizon(const struct upt_rules *rules); /* index of the one that CHURN_RISK judges */
void upt_rule_risk(struct upt_decision *d);
void upt_rule_health(struct upt_decision *d);
void upt_rule_renewal(struct upt_decision *d);
void upt_rule_champion(struct upt_decision *d);
void upt_rule_contraction(struct upt_decision *d);
void upt_rule_pain(struct upt_decision *d);
void upt_rule_sentiment(struct upt_decision *d);
void upt_rule_onboarding(struct upt_decision *d);
void upt_rule_ttv(struct upt_decision *d);
void upt_rule_abandoned(struct upt_decision *d);
void upt_rule_seats(struct upt_decision *d);
void upt_rule_regression(struct upt_decision *d);
void upt_rule_stall(struct upt_decision *d);
void upt_rule_training(struct upt_decision *d);
void upt_rule_contact(struct upt_decision *d);
void upt_rule_release(struct upt_decision *d);
void upt_rule_expansion(struct upt_decision *d);
void upt_rule_adopted(struct upt_decision *d);
void upt_rule_positive(struct upt_decision *d);
void upt_rule_early(struct upt_decision *d); /* the other subject of POSITIVE */

/* ---- rules with a clock of their own ---- */
void upt_rule_silence_daily(struct upt_decision *d);
void upt_rule_silence_timer(struct upt_decision *d);
/* last_key_ms has moved on, from silent_since: RESOLVE. */
void upt_rule_silence_key_event(struct upt_decision *d, int64_t silent_since);
void upt_rule_silence_arm(struct upt_decision *d); /* sets the account's timer; eval may be NULL */
void upt_rule_drop_daily(struct upt_decision *d);

/* ---- outcomes (outcome.c, openings.c) ---- */
/* Counts what became of a risk of some time ago, and notes today's. */
void upt_outcome_daily(struct upt_decision *d);
/* The account left by that day, as far as it can be known after UPT_OUTCOME_SILENT_DAYS more. */
bool upt_outcome_left(const struct upt_score_ext *ext, int64_t until);
/* An alert of the rule has opened. */
void upt_opening_note(struct upt_decision *d, int rule);
/* Counts what became of alerts of some time ago. */
void upt_openings_daily(struct upt_decision *d);
/* Share of the rule's alerts that were followed by leaving, and the median of days until then; NaN: too few yet. */
void upt_opening_estimate(const struct upt_score *score, int rule, double *ret_precision, double *ret_lead);

/* ---- band, history (history.c) ---- */
void upt_band_step(const struct upt_model *model, struct upt_score_ext *ext, const struct upt_eval *eval);
void upt_history_put(struct upt_score_ext *ext, const struct upt_eval *eval);
/* Score of the day so many days before today; NaN: none. */
double upt_history_ago(const struct upt_score_ext *ext, int64_t today, int ago);
double upt_history_slope(const struct upt_score_ext *ext, int64_t today);
double upt_history_mean(const struct upt_score_ext *ext, int64_t today);

/* ---- phase (phase.c) ---- */
int upt_phase_rank(int phase); /* TRIAL 0 … ADVOCACY 5; DORMANT, CHURNED −1 */
void upt_phase_daily(struct upt_decision *d);
/* A proof of concept, paid or not: apart from a trial. */
bool upt_on_proof(struct upt_account *acct);

/* ---- words (text.c) ---- */
/* "s" of a word behind a whole number. */
static inline const char *
upt_plural(double n)
{
    return n > 0.5 && n < 1.5 ? "" : "s";
}
/* Bytes of a text of at most so many, cut at a whole character. */
int upt_fitting(struct upt_str text, uint32_t most);
/* The five largest factors and `other`; texts go to text. */
int upt_factors(const struct upt_model *model, const struct upt_eval *eval, struct upt_factor *ret, char text[][200]);

#endif
