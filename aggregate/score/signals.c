/* What the rules remember of an account: see signals.h.
 *
 * Sums that decay are kept as of the day of their latest answer, so that the order of arrival does not matter; factors
 * are rounded before they are used. Late events count in the week or day they belong to as far as it is kept. Memory
 * is the state's, so that its limit holds for this too. The lane's thread. */
#include "signals.h"

#include <math.h>
#include <string.h>

#include "aggregate/state/state.h"
#include "codec.h"
#include "uptake/assert.h"
#include "uptake/signal.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define SURVEY_HALF_DAYS 90.0
#define CLOSE_WEIGHT 0.2f
#define SAMPLE_DAYS 7
#define CHAMPION_DAYS_LEAST 8   /* of 28 */
#define CHAMPION_RECENT 0x3FFFu /* 14 days */
#define WEEK_DAYS_LEAST 2
#define WEEKS_OF_4 3

/* ---- slots ---- */

struct upt_slot *
upt_slot_find(const struct upt_slots *slots, int rule, uint32_t subject)
{
    for (unsigned i = 0; i < slots->n; i++) {
        if (slots->v[i].rule == rule && slots->v[i].subject == subject) {
            return &slots->v[i];
        }
    }
    return NULL;
}

/* The closed one of the rule that ended first, if the rule has no room left; ret_full: it has none. */
static struct upt_slot *
oldest_closed(const struct upt_slots *slots, int rule, bool *ret_full)
{
    struct upt_slot *oldest = NULL;
    int n = 0;
    for (unsigned i = 0; i < slots->n; i++) {
        struct upt_slot *slot = &slots->v[i];
        n += slot->rule == rule;
        if (slot->rule == rule && slot->state == UPT_SLOT_CLOSED &&
            (oldest == NULL || slot->changed_min < oldest->changed_min)) {
            oldest = slot;
        }
    }
    *ret_full = n >= UPT_SLOTS_OF_RULE_MAX || slots->n >= UPT_SLOTS_MAX;
    return oldest;
}

struct upt_slot *
upt_slot_make(struct upt_state *st, struct upt_slots *slots, int rule, uint32_t subject)
{
    struct upt_slot *slot = upt_slot_find(slots, rule, subject);
    if (slot != NULL) {
        return slot;
    }
    bool full = false;
    struct upt_slot *oldest = oldest_closed(slots, rule, &full);
    if (full) {
        if (oldest == NULL) {
            return NULL;
        }
        upt_slot_drop(slots, oldest);
    }
    if (slots->n == slots->cap) {
        unsigned cap = slots->cap == 0 ? 1U : slots->cap * 2U;
        slots->v = upt_state_resize(st, slots->v, slots->cap * sizeof(*slots->v), cap * sizeof(*slots->v));
        slots->cap = (uint8_t)cap;
    }
    slot = &slots->v[slots->n++];
    *slot = (struct upt_slot){.rule = (uint8_t)rule, .subject = subject, .state = UPT_SLOT_PENDING};
    return slot;
}

void
upt_slot_drop(struct upt_slots *slots, struct upt_slot *slot)
{
    size_t at = (size_t)(slot - slots->v);
    upt_assert(at < slots->n);
    memmove(slot, slot + 1, (slots->n - at - 1) * sizeof(*slot));
    slots->n--;
}

/* ---- making ---- */

struct upt_relation *
upt_relation_of(struct upt_state *st, struct upt_signals *signals)
{
    if (signals->relation == NULL) {
        struct upt_relation *r = upt_state_resize(st, NULL, 0, sizeof(*r));
        r->first_step_day = r->last_step_day = r->onboarded_day = r->value_day = r->exceeded_day = UPT_NO_DAY;
        r->contact_day = r->training_day = r->survey_day = r->ticket_day = r->ticket_week = UPT_NO_DAY;
        signals->relation = r;
    }
    return signals->relation;
}

struct upt_habits *
upt_habits_of(struct upt_state *st, struct upt_signals *signals)
{
    if (signals->habits == NULL) {
        struct upt_habits *h = upt_state_resize(st, NULL, 0, sizeof(*h));
        h->week = h->dau_day = h->adopted_since = h->feature_day = h->champion_day = UPT_NO_DAY;
        memset(h->users, 0xFF, sizeof(h->users));
        signals->habits = h;
    }
    return signals->habits;
}

uint16_t *
upt_opened_days_of(struct upt_state *st, struct upt_signals *signals)
{
    struct upt_habits *h = upt_habits_of(st, signals);
    if (h->opened_day == NULL) {
        h->opened_day = upt_state_resize(st, NULL, 0, UPT_RULES * sizeof(*h->opened_day));
    }
    return h->opened_day;
}

/* ---- events ---- */

static struct upt_str
property(const struct upt_event *ev, struct upt_str wanted)
{
    struct upt_str name, value;
    for (struct upt_props_cur cur = upt_props_begin(ev->properties); upt_props_next(&cur, &name, &value);) {
        if (upt_str_eq(name, wanted)) {
            return value;
        }
    }
    return UPT_STR_NULL;
}

static void
earlier(int32_t *inout, int32_t day)
{
    *inout = *inout == UPT_NO_DAY || day < *inout ? day : *inout;
}

static void
later(int32_t *inout, int32_t day)
{
    *inout = day > *inout ? day : *inout;
}

static void
one_more(uint16_t *n)
{
    *n = (uint16_t)(*n < UINT16_MAX ? *n + 1 : UINT16_MAX);
}

static float
decay(int64_t days)
{
    return (float)upt_round6(exp2((double)-days / SURVEY_HALF_DAYS));
}

static void
survey(struct upt_relation *r, const struct upt_event *ev, int32_t day)
{
    bool nps = upt_str_eq(ev->feature, UPT_STR("nps"));
    if (!nps && !upt_str_eq(ev->feature, UPT_STR("csat"))) {
        return;
    }
    if (r->survey_day == UPT_NO_DAY || day > r->survey_day) {
        float f = r->survey_day == UPT_NO_DAY ? 0 : decay((int64_t)day - r->survey_day);
        r->csat_sum *= f;
        r->csat_n *= f;
        r->promoters *= f;
        r->detractors *= f;
        r->nps_n *= f;
        r->survey_day = day;
    }
    float w = decay((int64_t)r->survey_day - day);
    if (nps) {
        r->promoters += ev->quantity >= 9 ? w : 0;
        r->detractors += ev->quantity <= 6 ? w : 0;
        r->nps_n += w;
        one_more(&r->nps_answers);
    } else {
        r->csat_sum += w * (float)upt_round6(fmax(0, fmin(10, ev->quantity)));
        r->csat_n += w;
        one_more(&r->csat_answers);
    }
}

/* Notes a name by its hash, once, and returns its place; −1: of more than fit the first count. */
static int
note_name(uint16_t *v, uint8_t *n, int most, struct upt_str name)
{
    uint16_t hash = (uint16_t)upt_hash(name.p, name.len);
    for (int i = 0; i < *n; i++) {
        if (v[i] == hash) {
            return i;
        }
    }
    if (*n == most) {
        return -1;
    }
    v[*n] = hash;
    return (*n)++;
}

static int32_t
week_of(int64_t day)
{
    return (int32_t)upt_floor_div(day, 7);
}

static void
tickets_to(struct upt_relation *r, int32_t week)
{
    int64_t by = r->ticket_week == UPT_NO_DAY ? UPT_TICKET_WEEKS : (int64_t)week - r->ticket_week;
    if (by <= 0) {
        return;
    }
    for (int i = UPT_TICKET_WEEKS - 1; i >= 0; i--) {
        r->tickets[i] = i >= by ? r->tickets[i - by] : 0;
    }
    r->ticket_week = week;
}

static void
ticket(struct upt_relation *r, const struct upt_event *ev, int32_t day)
{
    if (ev->kind == UPT_KIND_TICKET_OPENED) {
        tickets_to(r, week_of(day));
        int64_t ago = (int64_t)r->ticket_week - week_of(day);
        if (ago < UPT_TICKET_WEEKS && r->tickets[ago] < UINT16_MAX) {
            r->tickets[ago]++;
        }
        later(&r->ticket_day, day);
        one_more(&r->tickets_open);
        return;
    }
    r->tickets_open = (uint16_t)(r->tickets_open > 0 ? r->tickets_open - 1 : 0);
    if (ev->has_duration && ev->duration_ms >= 0) {
        float days = (float)upt_round6(fmin((double)ev->duration_ms / (double)UPT_DAY_MS, 3650));
        float w = r->closed_answers == 0 ? 1 : CLOSE_WEIGHT;
        r->close_days += w * (days - r->close_days);
        one_more(&r->closed_answers);
    }
}

static void
add_units(struct upt_state *st, struct upt_relation *r, const struct upt_event *ev)
{
    size_t had = r->goals_n;
    int at = note_name(r->goals, &r->goals_n, UPT_GOALS_MAX, ev->feature);
    if (r->goals_n > had) {
        r->goal_units =
            upt_state_resize(st, r->goal_units, had * sizeof(*r->goal_units), r->goals_n * sizeof(*r->goal_units));
    }
    if (at >= 0) {
        uint64_t most = (uint64_t)(UPT_GOAL_UNITS_MAX * UPT_MICRO);
        uint64_t sum = r->goal_units[at] + (uint64_t)upt_micro_from_double(ev->quantity);
        r->goal_units[at] = sum < most ? sum : most;
    }
}

static void
value(struct upt_state *st, struct upt_relation *r, const struct upt_event *ev, int32_t day)
{
    earlier(&r->value_day, day);
    if (upt_str_eq(property(ev, UPT_STR("level")), UPT_STR("exceeded"))) {
        earlier(&r->exceeded_day, day);
    }
    if (ev->feature.p != NULL) {
        add_units(st, r, ev);
    }
}

/* Its place in releases, or that of the oldest of which no alert is open, whose subject it is; -1: there is none. */
static int
place_of(const struct upt_signals *signals, uint32_t hash)
{
    const struct upt_relation *r = signals->relation;
    int at = 0;
    while (at < r->releases_n && r->releases[at].name_hash != hash) {
        at++;
    }
    if (at < UPT_RELEASES_MAX) {
        return at;
    }
    for (at = UPT_RELEASES_MAX - 1; at >= 0; at--) {
        const struct upt_slot *slot =
            upt_slot_find(&signals->slots, UPT_RULE_RELEASE_UNUSED, r->releases[at].name_hash);
        if (slot == NULL || slot->state != UPT_SLOT_OPEN) {
            return at;
        }
    }
    return -1;
}

/* No rule judges the release any more: what was about to open would stay for good. */
static void
drop_pending(struct upt_signals *signals, const struct upt_release *gone)
{
    struct upt_slot *slot = upt_slot_find(&signals->slots, UPT_RULE_RELEASE_UNUSED, gone->name_hash);
    if (slot != NULL && slot->state == UPT_SLOT_PENDING) {
        upt_slot_drop(&signals->slots, slot);
    }
}

/* The newest release of a feature counts; of more than fit the oldest without an open alert goes. */
static void
release(struct upt_state *st, struct upt_signals *signals, const struct upt_event *ev, int32_t day)
{
    struct upt_relation *r = upt_relation_of(st, signals);
    struct upt_str name = ev->feature;
    if (name.p == NULL || name.len == 0 || name.len > UPT_NAME_MAX) {
        return;
    }
    if (r->releases == NULL) {
        r->releases = upt_state_resize(st, NULL, 0, UPT_RELEASES_MAX * sizeof(*r->releases));
    }
    uint32_t hash = (uint32_t)upt_hash(name.p, name.len);
    int at = place_of(signals, hash);
    if (at < 0) {
        return;
    }
    if (at < r->releases_n) {
        drop_pending(signals, &r->releases[at]);
    }
    r->releases_n = (uint8_t)(at == r->releases_n ? at + 1 : r->releases_n);
    memmove(r->releases + 1, r->releases, (size_t)at * sizeof(*r->releases));
    r->releases[0] =
        (struct upt_release){.day = day, .name_hash = hash, .used_after = UPT_NOT_USED, .len = (uint8_t)name.len};
    memcpy(r->releases[0].name, name.p, name.len);
}

/* Whoever is in touch counts, unless the event says that it was no person: property `human: false`. */
static bool
human(const struct upt_event *ev)
{
    return !upt_str_eq(property(ev, UPT_STR("human")), UPT_STR("false"));
}

/* Whom it was with: property `stakeholder`, for those who are no users, or the user. */
static void
contact(struct upt_state *st, struct upt_relation *r, const struct upt_event *ev, int32_t day)
{
    one_more(&r->contacts);
    if (human(ev)) {
        struct upt_str name = property(ev, UPT_STR("stakeholder"));
        later(&r->contact_day, day);
        name = name.len > 0 ? name : ev->user_id;
        if (name.len > 0) {
            upt_stakeholder_note(st, r, name, day);
        }
    }
}

void
upt_signals_event(struct upt_state *st, struct upt_signals *signals, const struct upt_event *ev, int64_t at)
{
    int32_t day = (int32_t)upt_floor_div(at, UPT_DAY_MS);
    struct upt_relation *r = NULL;
    switch (ev->kind) {
    case UPT_KIND_ONBOARDING_STEP:
        if (ev->feature.p != NULL) { /* without a name it is none */
            r = upt_relation_of(st, signals);
            earlier(&r->first_step_day, day);
            later(&r->last_step_day, day);
            (void)note_name(r->steps, &r->steps_n, UPT_STEPS_MAX, ev->feature);
        }
        break;
    case UPT_KIND_VALUE:
        value(st, upt_relation_of(st, signals), ev, day);
        break;
    case UPT_KIND_TRAINING:
        r = upt_relation_of(st, signals);
        later(&r->training_day, day);
        if (ev->feature.p != NULL) {
            (void)note_name(r->courses, &r->courses_n, UPT_COURSES_MAX, ev->feature);
        }
        break;
    case UPT_KIND_TICKET_OPENED:
    case UPT_KIND_TICKET_CLOSED:
        ticket(upt_relation_of(st, signals), ev, day);
        break;
    case UPT_KIND_SURVEY:
        survey(upt_relation_of(st, signals), ev, day);
        break;
    case UPT_KIND_CONTACT:
        contact(st, upt_relation_of(st, signals), ev, day);
        break;
    case UPT_KIND_RELEASE:
        release(st, signals, ev, day);
        break;
    default:
        break;
    }
}

void
upt_signals_name(struct upt_state *st, struct upt_signals *signals, struct upt_str user)
{
    struct upt_habits *h = signals->habits;
    if (h->name != NULL || upt_hash(user.p, user.len) != h->champion) {
        return;
    }
    uint32_t len = user.len < UPT_NAME_MAX ? user.len : UPT_NAME_MAX;
    while (len > 0 && len < user.len && ((unsigned char)user.p[len] & 0xC0) == 0x80) {
        len--; /* not within a character */
    }
    h->name = upt_state_resize(st, NULL, 0, len + 1U);
    h->name[0] = (char)(unsigned char)len;
    memcpy(h->name + 1, user.p, len);
    signals->slots.name_wanted = 0;
}

static void
drop_name(struct upt_state *st, struct upt_habits *h)
{
    if (h->name != NULL) {
        h->name = upt_state_resize(st, h->name, (unsigned char)h->name[0] + 1U, 0);
    }
}

/* ---- readings ---- */

unsigned
upt_relation_tickets(const struct upt_relation *relation, int64_t today)
{
    unsigned n = 0;
    int64_t ago = relation->ticket_week == UPT_NO_DAY ? UPT_TICKET_WEEKS : week_of(today) - relation->ticket_week;
    for (int64_t i = 0; i + ago < UPT_TICKET_WEEKS; i++) {
        n += relation->tickets[i];
    }
    return n;
}

double
upt_relation_csat(const struct upt_relation *relation, int64_t today, double *ret_n)
{
    if (relation->csat_answers == 0) {
        *ret_n = 0;
        return (double)NAN;
    }
    int64_t age = today - relation->survey_day;
    *ret_n = upt_round6((double)relation->csat_n * (double)decay(age > 0 ? age : 0));
    return upt_round6((double)relation->csat_sum / fmax((double)relation->csat_n, 1e-9));
}

double
upt_relation_nps(const struct upt_relation *relation, int64_t today, double *ret_n)
{
    if (relation->nps_answers == 0) {
        *ret_n = 0;
        return (double)NAN;
    }
    int64_t age = today - relation->survey_day;
    *ret_n = upt_round6((double)relation->nps_n * (double)decay(age > 0 ? age : 0));
    return upt_round6(100 * (double)(relation->promoters - relation->detractors) / fmax((double)relation->nps_n, 1e-9));
}

/* ---- once a day ---- */

uint16_t
upt_ten_thousandths(double share)
{
    return (uint16_t)((upt_micro_from_double(share) + 50) / 100);
}

static uint16_t
narrow(uint64_t v)
{
    return v < UINT16_MAX - 1 ? (uint16_t)v : UINT16_MAX - 1;
}

/* Keeps the champion as long as it holds its own, and while its silence is still to be told. */
static void
choose_champion(struct upt_state *st, struct upt_account *acct, struct upt_signals *signals, int64_t today,
                bool silence_open)
{
    struct upt_habits *h = signals->habits;
    uint64_t top = 0;
    unsigned top_days = 0;
    uint32_t days = 0;
    bool removed = false;
    if (silence_open) {
        return;
    }
    bool has = h->champion_day != UPT_NO_DAY;
    bool known = has && upt_account_user(st, acct, h->champion, &days, &removed);
    unsigned own = known ? (unsigned)__builtin_popcount(days) : 0;
    bool leads = upt_account_top_user(st, acct, &top, &top_days) && top_days >= CHAMPION_DAYS_LEAST;
    bool keeps = has && own > 0 && (own * 2 >= top_days || (days & CHAMPION_RECENT) == 0);
    if (keeps) {
        h->champion_days = (uint8_t)(own > h->champion_days ? own : h->champion_days);
        return;
    }
    if (!leads) {
        if (own == 0) {
            h->champion_day = UPT_NO_DAY;
            drop_name(st, h);
        }
        return;
    }
    if (!has || top != h->champion) {
        drop_name(st, h);
    }
    h->champion = top;
    h->champion_day = (int32_t)today;
    h->champion_days = (uint8_t)top_days;
}

static void
make_seats(struct upt_state *st, struct upt_habits *h)
{
    h->seats_e4 = upt_state_resize(st, NULL, 0, UPT_USER_WEEKS * sizeof(*h->seats_e4));
    memset(h->seats_e4, 0xFF, UPT_USER_WEEKS * sizeof(*h->seats_e4));
}

static void
sample_week(struct upt_state *st, struct upt_account *acct, struct upt_habits *h, int64_t today)
{
    int64_t seats = 0;
    struct upt_account_users users = upt_account_users(st, acct);
    memmove(h->users + 1, h->users, sizeof(h->users) - sizeof(h->users[0]));
    h->users[0] = users.total > 0 ? narrow(users.d30) : UINT16_MAX;
    bool known = upt_account_seats(acct, &seats) && seats > 0;
    if (known && h->seats_e4 == NULL) {
        make_seats(st, h);
    }
    if (h->seats_e4 != NULL) {
        memmove(h->seats_e4 + 1, h->seats_e4, (UPT_USER_WEEKS - 1) * sizeof(h->seats_e4[0]));
        h->seats_e4[0] = UINT16_MAX;
    }
    if (known) {
        h->seats_e4[0] = upt_ten_thousandths(fmin(1, (double)users.d30 / ((double)seats / 1e6)));
    }
    h->week = (int32_t)today;
}

static unsigned
good_weeks(uint32_t days)
{
    unsigned n = 0;
    for (int w = 0; w < 4; w++) {
        n += __builtin_popcount(days >> (7 * w) & 0x7Fu) >= WEEK_DAYS_LEAST;
    }
    return n;
}

/* New features, and once a week the count of weeks in which each was used more than once. Days are those before today.
 */
static void
follow_features(struct upt_state *st, struct upt_account *acct, struct upt_habits *h, int64_t today, bool week)
{
    size_t n = upt_account_features_n(acct);
    size_t kept = n < UPT_HABIT_FEATURES_MAX ? n : UPT_HABIT_FEATURES_MAX;
    if (kept > h->feature_n) {
        h->feature = upt_state_resize(st, h->feature, h->feature_n * sizeof(*h->feature), kept * sizeof(*h->feature));
    }
    for (size_t i = week ? 0 : h->feature_n; i < kept; i++) {
        struct upt_str name;
        uint32_t days = 0;
        upt_account_feature(st, acct, i, &name, &days);
        if (i >= h->feature_n) {
            /* Every event is of the 30 days up to its arrival, which was after the evaluation of yesterday. */
            int64_t first = today - (days == 0 ? 30 : 31 - __builtin_clz(days));
            h->feature[i] = (struct upt_habit_feature){.first_day = narrow(first > 0 ? (uint64_t)first : 0)};
        }
        struct upt_habit_feature *f = &h->feature[i];
        uint32_t before = days >> 1;
        if (week && good_weeks(before) >= WEEKS_OF_4) {
            f->held = (uint8_t)(f->held < UINT8_MAX ? f->held + 1 : UINT8_MAX);
        } else if (week && (before & 0x7Fu) != 0) {
            f->held = 0; /* used less: no abandonment, and no habit either */
        }
    }
    if (n > h->features_n) {
        h->feature_day = (int32_t)(today - 1);
    }
    h->features_n = narrow(n);
    h->feature_n = (uint16_t)kept;
}

int64_t
upt_first_use_after(const struct upt_account *acct, const struct upt_habits *habits, size_t i)
{
    int64_t after = habits->feature[i].first_day - upt_floor_div(upt_account_first_seen(acct), UPT_DAY_MS);
    return after > 0 ? after : 0;
}

unsigned
upt_release_used_after(const struct upt_state *st, const struct upt_account *acct, const struct upt_release *release,
                       int64_t today)
{
    int64_t ago = today - release->day;
    for (size_t i = 0; release->used_after == UPT_NOT_USED && i < upt_account_features_n(acct); i++) {
        struct upt_str name;
        uint32_t days = 0; /* bit 0: today */
        upt_account_feature(st, acct, i, &name, &days);
        if (upt_str_eq(name, (struct upt_str){.p = release->name, .len = release->len})) {
            for (int64_t d = ago < 31 ? ago : 31; d >= 0; d--) {
                if ((days >> d & 1) != 0 && ago - d < UPT_NOT_USED) {
                    return (unsigned)(ago - d);
                }
            }
            return UPT_NOT_USED;
        }
    }
    return release->used_after;
}

void
upt_signals_daily(struct upt_state *st, struct upt_account *acct, struct upt_signals *signals, int64_t today)
{
    struct upt_habits *h = upt_habits_of(st, signals);
    bool week = h->week == UPT_NO_DAY || today - h->week >= SAMPLE_DAYS;
    if (week) {
        sample_week(st, acct, h, today);
    }
    follow_features(st, acct, h, today, week);
    for (int i = 0; signals->relation != NULL && i < signals->relation->releases_n; i++) {
        struct upt_release *release = &signals->relation->releases[i];
        release->used_after = (uint16_t)upt_release_used_after(st, acct, release, today);
    }
    if (week) {
        bool silent = false;
        for (unsigned i = 0; i < signals->slots.n; i++) {
            silent = silent || (signals->slots.v[i].rule == UPT_RULE_CHAMPION_SILENT &&
                                signals->slots.v[i].state == UPT_SLOT_OPEN);
        }
        choose_champion(st, acct, signals, today, silent);
        signals->slots.name_wanted = h->champion_day != UPT_NO_DAY && h->name == NULL && !silent;
    }
}

/* ---- what the row shows ---- */

void
upt_signals_show(struct upt_state *st, struct upt_signals *signals, struct upt_str packed)
{
    struct upt_habits *h = signals->habits;
    if (packed.len != h->shown_len) {
        h->shown = upt_state_resize(st, h->shown, h->shown_len, packed.len);
        h->shown_len = (uint16_t)packed.len;
    }
    if (packed.len > 0) {
        memcpy(h->shown, packed.p, packed.len);
    }
}

struct upt_str
upt_signals_shown(const struct upt_signals *signals)
{
    const struct upt_habits *h = signals->habits;
    return h == NULL ? UPT_STR_NULL : (struct upt_str){.p = h->shown, .len = h->shown_len};
}

/* ---- checkpoint ---- */

static void
slot(struct upt_codec *codec, struct upt_slot *s)
{
    UPT_INT(s->opened_min, uint32_t, 4);
    UPT_INT(s->since_min, uint32_t, 4);
    UPT_INT(s->changed_min, uint32_t, 4);
    UPT_INT(s->high_min, uint32_t, 4);
    UPT_INT(s->snooze_min, uint32_t, 4);
    UPT_INT(s->subject, uint32_t, 4);
    UPT_INT(s->revision, uint16_t, 2);
    UPT_INT(s->risk_e4, uint16_t, 2);
    UPT_INT(s->health_e2, uint16_t, 2);
    UPT_INT(s->rule, uint8_t, 1);
    UPT_INT(s->state, uint8_t, 1);
    UPT_INT(s->severity, uint8_t, 1);
    UPT_INT(s->on_n, uint8_t, 1);
    UPT_INT(s->off_n, uint8_t, 1);
    UPT_INT(s->flags, uint8_t, 1);
}

static void
relation_fields(struct upt_codec *codec, struct upt_relation *r)
{
    int32_t *days[] = {&r->first_step_day, &r->last_step_day, &r->onboarded_day, &r->value_day,   &r->exceeded_day,
                       &r->contact_day,    &r->training_day,  &r->survey_day,    &r->ticket_week, &r->ticket_day};
    for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++) {
        UPT_INT(*days[i], int32_t, 4);
    }
    float *reals[] = {&r->csat_sum, &r->csat_n, &r->promoters, &r->detractors, &r->nps_n, &r->close_days};
    for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
        upt_codec_real32(codec, reals[i]);
    }
    UPT_INT(r->csat_answers, uint16_t, 2);
    UPT_INT(r->nps_answers, uint16_t, 2);
    UPT_INT(r->tickets_open, uint16_t, 2);
    UPT_INT(r->closed_answers, uint16_t, 2);
    UPT_INT(r->contacts, uint16_t, 2);
    for (int i = 0; i < UPT_TICKET_WEEKS; i++) {
        UPT_INT(r->tickets[i], uint16_t, 2);
    }
    UPT_INT(r->goals_n, uint8_t, 1);
    for (int i = 0; i < UPT_GOALS_MAX; i++) {
        UPT_INT(r->goals[i], uint16_t, 2);
    }
    UPT_INT(r->steps_n, uint8_t, 1);
    for (int i = 0; i < r->steps_n && i < UPT_STEPS_MAX; i++) {
        UPT_INT(r->steps[i], uint16_t, 2);
    }
    UPT_INT(r->courses_n, uint8_t, 1);
    for (int i = 0; i < r->courses_n && i < UPT_COURSES_MAX; i++) {
        UPT_INT(r->courses[i], uint16_t, 2);
    }
    UPT_INT(r->releases_n, uint8_t, 1);
    UPT_INT(r->stakeholders_n, uint8_t, 1);
    UPT_INT(r->meters_n, uint8_t, 1);
}

static void
goal_fields(struct upt_codec *codec, struct upt_relation *r)
{
    for (int i = 0; i < r->goals_n; i++) {
        UPT_INT(r->goal_units[i], uint64_t, 8);
    }
}

static void
release_fields(struct upt_codec *codec, struct upt_release *r)
{
    UPT_INT(r->day, int32_t, 4);
    UPT_INT(r->name_hash, uint32_t, 4);
    UPT_INT(r->used_after, uint16_t, 2);
    UPT_INT(r->len, uint8_t, 1);
    for (int i = 0; i < r->len && i < UPT_NAME_MAX; i++) {
        UPT_INT(r->name[i], char, 1);
    }
}

static void
habits_fields(struct upt_codec *codec, struct upt_habits *h)
{
    int32_t *days[] = {&h->week, &h->dau_day, &h->adopted_since, &h->feature_day, &h->champion_day};
    for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++) {
        UPT_INT(*days[i], int32_t, 4);
    }
    for (int i = 0; i < UPT_USER_WEEKS; i++) {
        UPT_INT(h->users[i], uint16_t, 2);
    }
    for (int i = 0; i < UPT_DAU_DAYS; i++) {
        UPT_INT(h->dau[i], uint16_t, 2);
    }
    uint8_t *small[] = {&h->dau_n, &h->adopted, &h->low_n, &h->peak, &h->peak_n, &h->champion_days};
    for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++) {
        UPT_INT(*small[i], uint8_t, 1);
    }
    UPT_INT(h->champion, uint64_t, 8);
    UPT_INT(h->features_n, uint16_t, 2);
    UPT_INT(h->feature_n, uint16_t, 2);
}

void
upt_signals_encode(const struct upt_signals *signals, struct upt_codec *codec)
{
    uint8_t n = signals->slots.n;
    const uint16_t *opened_day = signals->habits == NULL ? NULL : signals->habits->opened_day;
    uint8_t parts = (uint8_t)((signals->relation != NULL ? 1 : 0) | (signals->habits != NULL ? 2 : 0) |
                              (opened_day != NULL ? 4 : 0));
    UPT_INT(n, uint8_t, 1);
    UPT_INT(parts, uint8_t, 1);
    (void)upt_codec_word(codec, signals->slots.name_wanted, 1);
    for (int i = 0; i < 3; i++) {
        (void)upt_codec_word(codec, signals->slots.notified[i], 4);
    }
    for (unsigned i = 0; i < n; i++) {
        slot(codec, &signals->slots.v[i]);
    }
    if (signals->relation != NULL) {
        struct upt_relation *r = signals->relation;
        relation_fields(codec, r);
        goal_fields(codec, r);
        upt_stakeholders_fields(codec, r);
        upt_meters_fields(codec, r);
        for (int i = 0; i < r->releases_n; i++) {
            release_fields(codec, &r->releases[i]);
        }
    }
    if (signals->habits != NULL) {
        struct upt_habits *h = signals->habits;
        habits_fields(codec, h);
        for (int i = 0; i < h->feature_n; i++) {
            UPT_INT(h->feature[i].first_day, uint16_t, 2);
            UPT_INT(h->feature[i].held, uint8_t, 1);
        }
        (void)upt_codec_word(codec, h->seats_e4 != NULL ? 1 : 0, 1);
        for (int i = 0; h->seats_e4 != NULL && i < UPT_USER_WEEKS; i++) {
            (void)upt_codec_word(codec, h->seats_e4[i], 2);
        }
        (void)upt_codec_word(codec, h->name == NULL ? 0 : (unsigned char)h->name[0], 1);
        for (int i = 0; h->name != NULL && i < (unsigned char)h->name[0]; i++) {
            (void)upt_codec_word(codec, (unsigned char)h->name[1 + i], 1);
        }
        (void)upt_codec_word(codec, h->shown_len, 2);
        if (h->shown_len > 0) {
            upt_buf_put(codec->out, h->shown, h->shown_len);
        }
    }
    for (int rule = 0; opened_day != NULL && rule < UPT_RULES; rule++) {
        (void)upt_codec_word(codec, opened_day[rule], 2);
    }
}

static bool
read_slots(struct upt_state *st, struct upt_signals *signals, struct upt_codec *codec, unsigned n)
{
    UPT_INT(signals->slots.name_wanted, uint8_t, 1);
    for (int i = 0; i < 3; i++) {
        UPT_INT(signals->slots.notified[i], uint32_t, 4);
    }
    if (n > UPT_SLOTS_MAX) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        struct upt_slot s = {0};
        slot(codec, &s);
        if (!codec->cur.ok || s.rule >= UPT_RULES || s.state > UPT_SLOT_CLOSED || s.severity > UPT_CRITICAL) {
            return false;
        }
        struct upt_slot *made = upt_slot_make(st, &signals->slots, s.rule, s.subject);
        if (made == NULL || signals->slots.n != i + 1) {
            return false;
        }
        *made = s;
        bool open = s.state == UPT_SLOT_OPEN && (s.flags & UPT_SLOT_HELD) == 0;
        if (s.rule == UPT_RULE_SILENCE && (open || (s.flags & UPT_SLOT_CAPPED) != 0)) {
            signals->slots.silence_open = 1;
        }
    }
    return true;
}

static bool
read_relation(struct upt_state *st, struct upt_signals *signals, struct upt_codec *codec)
{
    struct upt_relation *r = upt_relation_of(st, signals);
    relation_fields(codec, r);
    uint8_t n = r->releases_n;
    r->releases_n = 0;
    if (!codec->cur.ok || n > UPT_RELEASES_MAX || r->goals_n > UPT_GOALS_MAX || r->steps_n > UPT_STEPS_MAX ||
        r->courses_n > UPT_COURSES_MAX || r->stakeholders_n > UPT_STAKEHOLDERS_MAX || r->meters_n > UPT_METERS_MAX) {
        return false;
    }
    r->goal_units = upt_state_resize(st, NULL, 0, r->goals_n * sizeof(*r->goal_units));
    goal_fields(codec, r);
    r->stakeholders = upt_state_resize(st, NULL, 0, r->stakeholders_n * sizeof(*r->stakeholders));
    upt_stakeholders_fields(codec, r);
    r->meters = upt_state_resize(st, NULL, 0, r->meters_n * sizeof(*r->meters));
    upt_meters_fields(codec, r);
    if (n > 0) {
        r->releases = upt_state_resize(st, NULL, 0, UPT_RELEASES_MAX * sizeof(*r->releases));
    }
    for (int i = 0; i < n; i++) {
        release_fields(codec, &r->releases[i]);
        if (!codec->cur.ok || r->releases[i].len > UPT_NAME_MAX) {
            return false;
        }
    }
    r->releases_n = n;
    return true;
}

static bool
read_shown(struct upt_state *st, struct upt_signals *signals, struct upt_codec *codec)
{
    struct upt_signal_values values;
    struct upt_str packed = upt_cur_bytes(&codec->cur, upt_codec_word(codec, 0, 2));
    bool good = codec->cur.ok && (packed.len == 0 || upt_signal_unpack(packed, &values));
    if (good) {
        upt_signals_show(st, signals, packed);
    }
    return good;
}

static bool
read_habits(struct upt_state *st, struct upt_signals *signals, struct upt_codec *codec)
{
    struct upt_habits *h = upt_habits_of(st, signals);
    habits_fields(codec, h);
    uint16_t n = h->feature_n;
    h->feature_n = 0;
    if (!codec->cur.ok || n > UPT_HABIT_FEATURES_MAX || h->dau_n > UPT_DAU_DAYS || h->peak >= UPT_PHASE_COUNT) {
        return false;
    }
    h->feature = upt_state_resize(st, NULL, 0, n * sizeof(*h->feature));
    h->feature_n = n;
    for (int i = 0; i < n; i++) {
        UPT_INT(h->feature[i].first_day, uint16_t, 2);
        UPT_INT(h->feature[i].held, uint8_t, 1);
    }
    uint8_t seats = 0;
    UPT_INT(seats, uint8_t, 1);
    if (seats != 0) {
        make_seats(st, h);
        for (int w = 0; w < UPT_USER_WEEKS; w++) {
            UPT_INT(h->seats_e4[w], uint16_t, 2);
        }
    }
    uint8_t len = 0;
    UPT_INT(len, uint8_t, 1);
    if (!codec->cur.ok || len > UPT_NAME_MAX) {
        return false;
    }
    if (len > 0) {
        h->name = upt_state_resize(st, NULL, 0, len + 1U);
        h->name[0] = (char)len;
        for (int k = 0; k < len; k++) {
            UPT_INT(h->name[1 + k], char, 1);
        }
    }
    return codec->cur.ok && read_shown(st, signals, codec);
}

static bool
read_opened_days(struct upt_state *st, struct upt_signals *signals, struct upt_codec *codec)
{
    uint16_t *day = upt_opened_days_of(st, signals);
    for (int rule = 0; rule < UPT_RULES; rule++) {
        UPT_INT(day[rule], uint16_t, 2);
    }
    return codec->cur.ok;
}

bool
upt_signals_decode(struct upt_state *st, struct upt_signals *signals, struct upt_codec *codec)
{
    uint8_t n = 0;
    uint8_t parts = 0;
    UPT_INT(n, uint8_t, 1);
    UPT_INT(parts, uint8_t, 1);
    return codec->cur.ok && parts <= 7 && read_slots(st, signals, codec, n) && codec->cur.ok &&
           ((parts & 1) == 0 || read_relation(st, signals, codec)) &&
           ((parts & 2) == 0 || read_habits(st, signals, codec)) &&
           ((parts & 4) == 0 || read_opened_days(st, signals, codec)) &&
           (signals->slots.name_wanted == 0 || signals->habits != NULL);
}

void
upt_signals_fini(struct upt_state *st, struct upt_signals *signals)
{
    struct upt_relation *r = signals->relation;
    struct upt_habits *h = signals->habits;
    if (r != NULL) {
        size_t bytes = r->releases == NULL ? 0 : UPT_RELEASES_MAX * sizeof(*r->releases);
        r->releases = upt_state_resize(st, r->releases, bytes, 0);
        bytes = r->goal_units == NULL ? 0 : r->goals_n * sizeof(*r->goal_units);
        r->goal_units = upt_state_resize(st, r->goal_units, bytes, 0);
        bytes = r->stakeholders == NULL ? 0 : r->stakeholders_n * sizeof(*r->stakeholders);
        r->stakeholders = upt_state_resize(st, r->stakeholders, bytes, 0);
        bytes = r->meters == NULL ? 0 : r->meters_n * sizeof(*r->meters);
        r->meters = upt_state_resize(st, r->meters, bytes, 0);
        (void)upt_state_resize(st, r, sizeof(*r), 0);
    }
    if (h != NULL) {
        drop_name(st, h);
        upt_signals_show(st, signals, UPT_STR_NULL);
        h->seats_e4 =
            upt_state_resize(st, h->seats_e4, h->seats_e4 == NULL ? 0 : UPT_USER_WEEKS * sizeof(*h->seats_e4), 0);
        h->feature = upt_state_resize(st, h->feature, h->feature_n * sizeof(*h->feature), 0);
        h->opened_day =
            upt_state_resize(st, h->opened_day, h->opened_day == NULL ? 0 : UPT_RULES * sizeof(*h->opened_day), 0);
        (void)upt_state_resize(st, h, sizeof(*h), 0);
    }
    (void)upt_state_resize(st, signals->slots.v, signals->slots.cap * sizeof(*signals->slots.v), 0);
    *signals = (struct upt_signals){0};
}
