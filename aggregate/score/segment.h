/* Segments: named sets of accounts, declared in the rules file by conditions over the account's row, traits, features
 * and what is remembered of it here. Private to the room, but for what score.h offers of it.
 *
 * Membership is decided at ticks only: at the account's daily minute, at the first whole minute after a record that
 * touches something that a segment reads, and at whole hours while a segment reads an hourly window that holds
 * something. So what is true of an account at a tick is a function of the state there, and nothing is decided twice in
 * one minute. Bits of members are by place in the list of names, in the checkpoint by name. */
#ifndef UPT_SCORE_SEGMENT_H
#define UPT_SCORE_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uptake/event.h"
#include "uptake/signal.h"
#include "uptake/status.h"
#include "uptake/str.h"

#define UPT_SEGMENTS_MAX 64
#define UPT_SEGMENT_NAME_MAX 64
#define UPT_SEGMENT_LIST_MAX (UPT_SEGMENTS_MAX * (UPT_SEGMENT_NAME_MAX + 1)) /* names, commas between them */

struct upt_decision;
struct upt_row;
struct upt_score_ext;
struct upt_segments;

/* Kept with each account: 40 bytes. What a LOGIN or USAGE touches comes first. */
struct upt_segment_mem {
    uint64_t member;        /* bit i: in the i-th segment of the rules, by name */
    int32_t login_day;      /* of the latest LOGIN; valid if logins_n > 0 */
    uint32_t logins_n;      /* ever; stays at its greatest value */
    uint32_t wake_min;      /* when to decide next, beside the daily minute; 0: never */
    int32_t signup_day;     /* of the earliest SIGNUP; valid if has_signup */
    uint32_t contact_min;   /* of the latest CONTACT; 0: none */
    uint32_t onboarded_min; /* of the record with which the profile's onboarding_steps were all done; 0: not yet */
    bool has_signup;
};

/* ---- the rules' part (segment_read.c) ---- */

/* In *set_p, made if it was NULL, what stands below `segments:`; the parser (a yaml_parser_t) is behind that key. A
 * former content is replaced. UPT_EINVAL: file, line, field and what is allowed there. */
UPT_NODISCARD upt_status upt_segments_read(void *yaml_parser, const char *file, struct upt_segments **set_p,
                                           struct upt_error *reterr);
void upt_segments_destroy(struct upt_segments **set_p);
/* Appends a text that is the same for two sets of the same meaning, for the hash of the rules. NULL: none. */
void upt_segments_meaning(const struct upt_segments *set, struct upt_buf *out);
size_t upt_segments_n(const struct upt_segments *set);
struct upt_str upt_segments_name(const struct upt_segments *set, size_t i);
struct upt_str upt_segments_play(const struct upt_segments *set, size_t i); /* null: none */

/* ---- an account (segment.c) ---- */

/* Remembers what the event says and asks for a decision if it may change one. at: its event time. */
void upt_segments_event(struct upt_decision *d, const struct upt_event *ev, int64_t at);
/* Decides at a tick, d->eval being that of now: SEGMENT_ENTER and SEGMENT_EXIT, and when to look again. */
void upt_segments_decide(struct upt_decision *d);
/* The account goes: SEGMENT_EXIT of all it is in. */
void upt_segments_forget(struct upt_decision *d);
/* Bits by the places in `from` into bits by the places in `to`; names that are not in both are left out. */
uint64_t upt_segments_map(const struct upt_segments *from, const struct upt_segments *to, uint64_t member);
/* Names of the members' bits with commas between them into buf of UPT_SEGMENT_LIST_MAX; null: none. */
struct upt_str upt_segments_list(const struct upt_segments *set, uint64_t member, char *buf);

void upt_segment_mem_encode(const struct upt_segment_mem *mem, const struct upt_segments *set, struct upt_buf *out);
/* False: damaged. Names that the set does not have are left out. */
bool upt_segment_mem_decode(struct upt_segment_mem *mem, const struct upt_segments *set, struct upt_cur *cur);

/* ---- the one timer of an account (control.c) ---- */

/* The first tick after now that segments or a snooze ask for; UPT_NO_CLOCK: none. */
int64_t upt_wake_due(const struct upt_score_ext *ext, int64_t now);
/* Brings the account's timer forward to it. */
void upt_wake_arm(struct upt_decision *d);

/* ---- shared by segment_read.c and segment.c ---- */

typedef enum upt_seg_kind {
    UPT_SEG_ALL,
    UPT_SEG_ANY,
    UPT_SEG_NOT,
    UPT_SEG_FIELD,
    UPT_SEG_TRAIT,
    UPT_SEG_FEATURE,
    UPT_SEG_COURSE,
    UPT_SEG_STEP
} upt_seg_kind;

typedef enum upt_seg_type { UPT_SEG_NUMBER, UPT_SEG_TEXT, UPT_SEG_BOOL, UPT_SEG_BAND, UPT_SEG_PHASE } upt_seg_type;

/* Tests of a leaf; all that are there must hold. */
enum { UPT_SEG_LOW = 1, UPT_SEG_HIGH = 2, UPT_SEG_SET = 4, UPT_SEG_IS = 8, UPT_SEG_KNOWN = 16 };
enum { UPT_SEG_AS_TEXT, UPT_SEG_AS_SINCE, UPT_SEG_AS_UNTIL };

#define UPT_SEG_ANY_KIND ((UINT32_C(1) << UPT_KIND_COUNT) - 1)

struct upt_seg_field {
    const char *name;
    upt_seg_type type;
    uint32_t kinds;      /* records after which it is judged at once; others wait for the daily minute */
    uint32_t user_kinds; /* likewise, if they name a user */
    bool row;            /* needs the row */
    bool hourly;         /* a window of hours */
};

/* Places in the table; the windowed ones, four each, come first: events, units, logins. */
enum {
    UPT_SF_WINDOWED,
    UPT_SF_USERS_24H = 12,
    UPT_SF_USERS_7D,
    UPT_SF_USERS_30D,
    UPT_SF_USERS_TOTAL,
    UPT_SF_FEATURES_30D,
    UPT_SF_FIRST_SEEN,
    UPT_SF_LAST_SEEN,
    UPT_SF_HEALTH,
    UPT_SF_CONFIDENCE,
    UPT_SF_BAND,
    UPT_SF_RISK_30D,
    UPT_SF_RISK_60D,
    UPT_SF_RISK_90D,
    UPT_SF_PHASE,
    UPT_SF_SEGMENT,
    UPT_SF_TIER,
    UPT_SF_SEATS,
    UPT_SF_RENEWAL_DATE,
    UPT_SF_SEAT_UTILISATION,
    UPT_SF_ADOPTION_RATE,
    UPT_SF_OPEN_ALERTS,
    UPT_SF_FIRST_SEEN_AGE,
    UPT_SF_LAST_SEEN_AGE,
    UPT_SF_SIGNUP_AGE,
    UPT_SF_LOGIN_AGE,
    UPT_SF_LOGINS_TOTAL,
    UPT_SF_KEY_EVENT_AGE,
    UPT_SF_CONTACT_AGE,
    UPT_SF_CONTRACT_AGE,
    UPT_SF_DAYS_TO_RENEWAL,
    UPT_SF_ONBOARDING_AGE,
    UPT_SF_STEPS_DONE,
    UPT_SF_COURSES_DONE,
    UPT_SF_ONBOARDED,
    UPT_SF_CONTACTED_SINCE,
    UPT_SF_SIGNALS, /* of the row, in their order */
    UPT_SF_COUNT = UPT_SF_SIGNALS + UPT_SIGNALS
};
extern const struct upt_seg_field upt_seg_fields[UPT_SF_COUNT];

/* Conditions in the order of the file: those below a node follow it, up to `end`. */
struct upt_seg_node {
    uint8_t kind, field, as, within, tests;
    bool want;  /* IS, KNOWN: the answer that is wanted */
    bool known; /* KNOWN */
    uint16_t end;
    uint16_t values_n; /* SET */
    uint32_t values;   /* the first of them */
    uint32_t name_at, name_len;
    int64_t low, high; /* millionths, inclusive */
};

struct upt_seg_value {
    int64_t micro;
    uint32_t at, len; /* in the text */
};

struct upt_segment {
    uint64_t hash; /* of the name, for the checkpoint */
    uint32_t name_at, name_len, play_at, play_len;
    uint32_t first; /* node */
    bool enabled, has_play, has_when;
};

struct upt_segments {
    struct upt_segment v[UPT_SEGMENTS_MAX]; /* by name */
    size_t n;
    struct upt_seg_node *node;
    size_t nodes_n, nodes_cap;
    struct upt_seg_value *value;
    size_t values_n, values_cap;
    struct upt_buf text;
    uint32_t kinds, user_kinds; /* records after which to decide; the latter if they name a user */
    bool row, hourly, features;
};

static inline struct upt_str
upt_seg_text(const struct upt_segments *set, uint32_t at, uint32_t len)
{
    return (struct upt_str){.p = set->text.p + at, .len = len};
}

#endif
