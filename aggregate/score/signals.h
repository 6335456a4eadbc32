/* What the rules remember of an account beside its key events. Private to the room.
 *
 * Three parts, each allocated when there is something to keep, so that an account pays for what it has:
 *   slots      one entry for each alert that is open, about to open, or in its cool-down
 *   relation   what people and systems beside the product said: onboarding, tickets, surveys, contacts, goals, releases
 *   habits     histories that the daily evaluation writes: users, seats, the champion, features, when rules opened
 * All are written into the account's checkpoint; bounds are below. An event costs O(1); scans belong to the daily
 * evaluation. Days are UTC day numbers, minutes since 1970; UPT_NO_DAY: never. */
#ifndef UPT_SCORE_SIGNALS_H
#define UPT_SCORE_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

#include "uptake/event.h"
#include "uptake/output.h"
#include "uptake/str.h"

struct upt_state;
struct upt_account;
struct upt_codec;

#define UPT_NO_DAY INT32_MIN
#define UPT_TICKET_WEEKS 5
#define UPT_GOALS_MAX 8
#define UPT_GOAL_UNITS_MAX 1e12 /* a sum of a goal's units stays there */
#define UPT_RELEASES_MAX 4
#define UPT_STAKEHOLDERS_MAX 16
#define UPT_METERS_MAX 8
#define UPT_METER_DAYS 30
#define UPT_METER_UNITS_MAX 1e12 /* a day's sum of a meter stays there */
#define UPT_NOT_USED UINT16_MAX
#define UPT_STEPS_MAX 16
#define UPT_COURSES_MAX 8
#define UPT_USER_WEEKS 14 /* one sample a week, so that one of 13 weeks (91 days) ago is there */
#define UPT_DAU_DAYS 5
#define UPT_HABIT_FEATURES_MAX 64
#define UPT_NAME_MAX 128

/* ---- alerts ---- */

/* In the order in which they are judged: what comes first is not held back by the cap on notifications. */
enum {
    UPT_RULE_CHURN_RISK,
    UPT_RULE_HEALTH_BAND,
    UPT_RULE_SILENCE,
    UPT_RULE_USAGE_DROP,
    UPT_RULE_RENEWAL_GAP,
    UPT_RULE_CHAMPION_SILENT,
    UPT_RULE_USER_CONTRACTION,
    UPT_RULE_SUPPORT_PAIN,
    UPT_RULE_SENTIMENT,
    UPT_RULE_ONBOARDING_LATE,
    UPT_RULE_TTV_LATE,
    UPT_RULE_FEATURE_ABANDONED,
    UPT_RULE_SEAT_UNDERUSE,
    UPT_RULE_PHASE_REGRESSION,
    UPT_RULE_BREADTH_STALL,
    UPT_RULE_TRAINING_NEED,
    UPT_RULE_CONTACT_GAP,
    UPT_RULE_RELEASE_UNUSED,
    UPT_RULE_EXPANSION,
    UPT_RULE_ADOPTED,
    UPT_RULE_POSITIVE,
    UPT_RULE_SEGMENT_ENTER,
    UPT_RULE_SEGMENT_EXIT,
    UPT_RULE_DATA_QUALITY, /* of a partition: fleet.c */
    UPT_RULES
};

enum { UPT_SLOT_PENDING, UPT_SLOT_OPEN, UPT_SLOT_CLOSED };
enum {
    UPT_SLOT_ACKED = 1,    /* someone has it in hand: it does not escalate by time */
    UPT_SLOT_OVERDUE = 2,  /* escalated by time: stays CRITICAL until it ends */
    UPT_SLOT_FOLLOWED = 4, /* its follow-up has been asked for */
    UPT_SLOT_HELD = 8,     /* its condition ended while it was snoozed, and has not come back */
    UPT_SLOT_CAPPED = 16,  /* not open: the cap on notifications holds it back */
};

struct upt_slot {
    uint32_t opened_min;  /* minute of OPEN, which is at a tick: exact; also names the episode */
    uint32_t since_min;   /* minute since which the condition has held; capped: since which it is held back */
    uint32_t changed_min; /* minute of the last transition; closed: of its end, from which the cool-down counts */
    uint32_t high_min;    /* minute since which it has been HIGH or worse; 0: it is not */
    uint32_t snooze_min;  /* no record before this minute; 0: not snoozed */
    uint32_t subject;  /* what it is about, by rule: a feature's id, a name's hash, a number; 0 where there is none */
    uint16_t revision; /* of the next record */
    uint16_t risk_e4;  /* of the last record, for UPDATE; UPT_NULL_U16: none */
    uint16_t health_e2;
    uint8_t rule, state, severity;
    uint8_t on_n, off_n; /* evaluations (periods) in a row for opening and closing */
    uint8_t flags;
};

#define UPT_SLOTS_MAX 64
#define UPT_SLOTS_OF_RULE_MAX 4

struct upt_slots {
    struct upt_slot *v; /* by rule and subject in the order of their making */
    uint8_t n, cap;
    uint8_t silence_open; /* SILENCE is open and not held, or held back by the cap: read at each key event */
    uint8_t name_wanted;  /* the champion's name is to be taken from its next event */
    uint32_t notified[3]; /* minutes of the last alerts opened, newest first; 0: none */
};

struct upt_slot *upt_slot_find(const struct upt_slots *slots, int rule, uint32_t subject);
/* Found, or made PENDING; NULL: no room. Others may move. */
struct upt_slot *upt_slot_make(struct upt_state *st, struct upt_slots *slots, int rule, uint32_t subject);
void upt_slot_drop(struct upt_slots *slots, struct upt_slot *slot);

/* ---- relation ---- */

struct upt_release {
    int32_t day;
    uint32_t name_hash;
    uint16_t used_after; /* of the last daily evaluation */
    uint8_t len;
    char name[UPT_NAME_MAX];
};

struct upt_stakeholder {
    uint32_t hash; /* of the name */
    int32_t day;   /* of the last contact */
};

/* What was used of a feature whose units the account is entitled to. */
struct upt_meter {
    uint64_t name;                  /* hash of the feature */
    int32_t since;                  /* day of the clock when it was listed */
    int32_t day;                    /* newest in units */
    uint64_t units[UPT_METER_DAYS]; /* of day d at d mod 30, in millionths */
};

struct upt_relation {
    int32_t first_step_day, last_step_day; /* ONBOARDING_STEP */
    int32_t onboarded_day;                 /* the checklist was complete */
    int32_t value_day;                     /* first VALUE */
    int32_t exceeded_day;                  /* first VALUE with property `level: exceeded` */
    int32_t contact_day;                   /* last human CONTACT */
    int32_t training_day;                  /* last TRAINING */
    int32_t survey_day;                    /* to which the decayed sums below belong */
    int32_t ticket_week;                   /* week (day div 7) of tickets[0] */
    int32_t ticket_day;                    /* last one opened */
    float csat_sum, csat_n;                /* CSAT, each answer 2^(−age/90) */
    float promoters, detractors, nps_n;    /* NPS, likewise */
    float close_days;                      /* open to close, mean that forgets: weight .2 for the newest */
    uint16_t csat_answers, nps_answers;    /* ever */
    uint16_t tickets[UPT_TICKET_WEEKS];    /* opened, this week and those before */
    uint16_t tickets_open;                 /* opened less closed, not below 0 */
    uint16_t closed_answers;
    uint16_t contacts;                 /* CONTACT, human or not, ever */
    uint16_t goals[UPT_GOALS_MAX];     /* hashes of goals reached (feature of VALUE) */
    uint16_t steps[UPT_STEPS_MAX];     /* hashes of onboarding steps done */
    uint16_t courses[UPT_COURSES_MAX]; /* hashes of courses completed (feature of TRAINING) */
    uint8_t goals_n, steps_n, courses_n, releases_n, stakeholders_n, meters_n;
    uint64_t *goal_units;         /* of each of goals, the quantity of its VALUE events in millionths */
    struct upt_release *releases; /* newest first */
    struct upt_stakeholder *stakeholders;
    struct upt_meter *meters; /* in the order of the trait `entitlements` */
};

/* ---- habits ---- */

struct upt_habit_feature {
    uint16_t first_day; /* of its first use, as known at the evaluation that first saw it */
    uint8_t held;       /* weeks in which the weekly-use rule held; 255 and more: 255 */
};

struct upt_habits {
    int32_t week;                   /* day of the newest sample */
    uint16_t users[UPT_USER_WEEKS]; /* users_30d, newest first; UINT16_MAX: none */
    int32_t dau_day;                /* newest active weekday in dau */
    uint16_t dau[UPT_DAU_DAYS];     /* users of the last working days, newest first */
    uint8_t dau_n;
    uint8_t adopted;                   /* adopted_account holds (latched) */
    uint8_t low_n;                     /* days in a row under the share at which it ends */
    int32_t adopted_since;             /* day since which it has held without a gap */
    int32_t feature_day;               /* when the newest feature came */
    uint16_t features_n;               /* features used ever, as of the last evaluation */
    uint8_t peak, peak_n;              /* highest phase held; evaluations in a row above it */
    uint8_t champion_days;             /* active days of 28 when chosen */
    int32_t champion_day;              /* when chosen; UPT_NO_DAY: nobody */
    uint64_t champion;                 /* hash of the user id */
    uint16_t *seats_e4;                /* weeks as users: seat utilisation, ten-thousandths; NULL: never had seats */
    char *name;                        /* of the champion, 1 byte length first; NULL: not seen since chosen */
    struct upt_habit_feature *feature; /* in the account's order of features */
    uint16_t feature_n;
    uint16_t shown_len;
    char *shown;          /* the signals of the row, packed (uptake/signal.h); NULL: none is known */
    uint16_t *opened_day; /* by rule: UTC day of an OPEN that is not judged yet, 0: none; NULL: none of any */
};

struct upt_signals {
    struct upt_slots slots;
    struct upt_relation *relation;
    struct upt_habits *habits;
};

struct upt_relation *upt_relation_of(struct upt_state *st, struct upt_signals *signals);
struct upt_habits *upt_habits_of(struct upt_state *st, struct upt_signals *signals);
/* UPT_RULES days of OPEN, made if there are none. */
uint16_t *upt_opened_days_of(struct upt_state *st, struct upt_signals *signals);

/* An event of a kind that is no USAGE and no LOGIN. */
void upt_signals_event(struct upt_state *st, struct upt_signals *signals, const struct upt_event *ev, int64_t at);
/* A user's event, while the champion's name is not known. */
void upt_signals_name(struct upt_state *st, struct upt_signals *signals, struct upt_str user);
/* Weeks and histories move on to today, once a day before the rules. */
void upt_signals_daily(struct upt_state *st, struct upt_account *acct, struct upt_signals *signals, int64_t today);

/* Days from the release to the first use since, its own day counted; UPT_NOT_USED: none. The state keeps a feature's
 * days for 30, so it is kept once known. */
unsigned upt_release_used_after(const struct upt_state *st, const struct upt_account *acct,
                                const struct upt_release *release, int64_t today);

/* The signals that the row shows from now on, packed; len 0: none. There are habits. */
void upt_signals_show(struct upt_state *st, struct upt_signals *signals, struct upt_str packed);
/* Those; null: none. */
struct upt_str upt_signals_shown(const struct upt_signals *signals);

/* Days from the account's first event to the first use of its i-th feature. */
int64_t upt_first_use_after(const struct upt_account *acct, const struct upt_habits *habits, size_t i);
/* Of a share from 0 to 1, as weekly samples keep it. */
uint16_t upt_ten_thousandths(double share);

/* A person was in touch with someone of the account. */
void upt_stakeholder_note(struct upt_state *st, struct upt_relation *relation, struct upt_str name, int32_t day);
/* With how many since that day; UPT_STAKEHOLDERS_MAX: or more. */
int upt_stakeholders_since(const struct upt_relation *relation, int64_t day);
/* Those that there are, for the checkpoint. */
void upt_stakeholders_fields(struct upt_codec *codec, struct upt_relation *relation);

/* A USAGE event of a feature, perhaps of one with a meter. */
void upt_meters_count(struct upt_relation *relation, const struct upt_event *ev, int64_t at);
/* Those that there are, for the checkpoint. */
void upt_meters_fields(struct upt_codec *codec, struct upt_relation *relation);

/* Tickets opened in the last 28 to 35 days. */
unsigned upt_relation_tickets(const struct upt_relation *relation, int64_t today);
/* Mean of CSAT answers, NaN: none. *ret_n: answers that it stands for, decayed. */
double upt_relation_csat(const struct upt_relation *relation, int64_t today, double *ret_n);
/* Promoters less detractors, −100..100; NaN: none. */
double upt_relation_nps(const struct upt_relation *relation, int64_t today, double *ret_n);

/* Checkpoint. decode: false = damaged; what it took is freed by upt_signals_fini. */
void upt_signals_encode(const struct upt_signals *signals, struct upt_codec *codec);
bool upt_signals_decode(struct upt_state *st, struct upt_signals *signals, struct upt_codec *codec);
void upt_signals_fini(struct upt_state *st, struct upt_signals *signals);

#endif
