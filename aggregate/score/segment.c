/* Segments of an account: what is remembered for them, who is a member, and the alerts that say so.
 *
 * An event costs a few compares: it notes days and counts, and asks for a decision at the next whole minute if a
 * segment reads what it touches. The conditions are walked at that tick. Values are whole millionths, so no comparison
 * hangs on the last bits of a double. What is not known fulfils no condition but `known: false`; `not` turns that
 * round. The lane's thread. Invariants: decided at ticks only; an account is told once that it entered before it is
 * told that it left; memory grows with nothing that a producer sends. */
#include "segment.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "decide.h"
#include "uptake/assert.h"
#include "uptake/time.h"
#include "uptake/units.h"

#define NUMBER_MAX 9e12

/* ---- values ---- */

struct facts {
    const struct upt_decision *d;
    const struct upt_segments *set;
    int64_t today;
    struct upt_row row; /* valid if the set reads it */
};

struct value {
    bool known;
    upt_i128 micro; /* numbers, bools */
    struct upt_str text;
};

static struct value
whole(int64_t v)
{
    return (struct value){.known = true, .micro = (upt_i128)v * UPT_MICRO};
}

static struct value
micro(bool known, upt_i128 v)
{
    return (struct value){.known = known, .micro = v};
}

static struct value
real(bool known, double v)
{
    return micro(known && !isnan(v), known && !isnan(v) ? (upt_i128)llrint(v * UPT_MICRO) : 0);
}

static struct value
text(struct upt_str v)
{
    return (struct value){.known = v.p != NULL, .text = v};
}

static struct value
days_since(const struct facts *f, bool known, int64_t day)
{
    return known ? whole(f->today - day) : (struct value){.known = false};
}

static struct value
days_since_minute(const struct facts *f, uint32_t minute)
{
    return days_since(f, minute != 0, (int64_t)minute * UPT_MINUTE_MS / UPT_DAY_MS);
}

static struct value
trait_day(const struct facts *f, struct upt_str name, bool until)
{
    int64_t day = 0;
    struct upt_str v = upt_account_trait(f->d->acct, name);
    bool known = v.p != NULL && upt_parse_day(v.p, v.len, &day);
    return known ? whole(until ? day - f->today : f->today - day) : (struct value){.known = false};
}

/* Sign, digits, point, exponent, at most 63 characters, within ±9e12. */
static struct value
number_of(struct upt_str v)
{
    double number = 0;
    bool known = upt_parse_decimal(v, &number) && fabs(number) <= NUMBER_MAX;
    return real(known, number);
}

static struct value
window(const struct upt_usage *usage, size_t which)
{
    return which == 0   ? whole((int64_t)usage->events)
           : which == 1 ? micro(true, usage->micro_units)
                        : whole((int64_t)usage->logins);
}

static struct value
row_score(const struct upt_row *row, const char *name)
{
    bool has = row->has_scores;
    if (strcmp(name, "health") == 0) {
        return real(has, row->health);
    }
    if (strcmp(name, "health_confidence") == 0) {
        return real(has, row->confidence);
    }
    if (strcmp(name, "health_band") == 0) {
        return text(has ? upt_str_of(upt_band_names[row->band]) : UPT_STR_NULL);
    }
    if (strcmp(name, "phase") == 0) {
        return text(has ? upt_str_of(upt_phase_names[row->phase]) : UPT_STR_NULL);
    }
    size_t horizon = name[11] == '3' ? 0 : name[11] == '6' ? 1 : 2; /* churn_risk_30d */
    return real(has, row->risk[horizon]);
}

static struct value
row_signal(const struct upt_row *row, unsigned i)
{
    struct upt_signal_values values;
    bool known = upt_signal_unpack(row->signals, &values) && upt_signal_known(&values, i);
    return micro(known, known ? values.micro[i] : 0);
}

static struct value
row_value(const struct facts *f, size_t i)
{
    const struct upt_row *row = &f->row;
    if (i >= UPT_SF_SIGNALS) {
        return row_signal(row, (unsigned)(i - UPT_SF_SIGNALS));
    }
    if (i < UPT_SF_USERS_24H) {
        return window(&row->usage[i % UPT_WINDOWS], i / UPT_WINDOWS);
    }
    switch (i) {
    case UPT_SF_USERS_24H:
        return whole((int64_t)row->users_24h);
    case UPT_SF_USERS_7D:
        return whole((int64_t)row->users_7d);
    case UPT_SF_USERS_30D:
        return whole((int64_t)row->users_30d);
    case UPT_SF_USERS_TOTAL:
        return whole((int64_t)row->users_total);
    case UPT_SF_FEATURES_30D:
        return whole((int64_t)row->features_30d);
    case UPT_SF_FIRST_SEEN:
        return whole(row->first_seen);
    case UPT_SF_LAST_SEEN:
        return whole(row->last_seen);
    case UPT_SF_SEGMENT:
        return text(row->segment);
    case UPT_SF_TIER:
        return text(row->tier);
    case UPT_SF_RENEWAL_DATE:
        return text(row->renewal_date);
    case UPT_SF_SEATS:
        return micro(row->has_seats, row->micro_seats);
    case UPT_SF_SEAT_UTILISATION:
        return micro(row->seat_utilisation != UPT_SHARE_ABSENT, row->seat_utilisation);
    case UPT_SF_ADOPTION_RATE:
        return micro(row->adoption_rate != UPT_SHARE_ABSENT, row->adoption_rate);
    case UPT_SF_OPEN_ALERTS:
        return whole(row->open_alerts);
    default:
        return row_score(row, upt_seg_fields[i].name);
    }
}

static struct value
field_value(const struct facts *f, size_t i)
{
    struct upt_account *acct = f->d->acct;
    const struct upt_score_ext *ext = f->d->ext;
    const struct upt_segment_mem *mem = &ext->segment;
    const struct upt_relation *relation = ext->signals.relation;
    int64_t seen = 0;
    switch (i) {
    case UPT_SF_FIRST_SEEN_AGE:
        return days_since(f, true, upt_floor_div(upt_account_first_seen(acct), UPT_DAY_MS));
    case UPT_SF_LAST_SEEN_AGE:
        return days_since(f, true, upt_floor_div(upt_account_last_seen(acct), UPT_DAY_MS));
    case UPT_SF_SIGNUP_AGE:
        seen = upt_floor_div(upt_account_first_seen(acct), UPT_DAY_MS);
        return days_since(f, true, mem->has_signup ? mem->signup_day : seen);
    case UPT_SF_LOGIN_AGE:
        return days_since(f, mem->logins_n > 0, mem->login_day);
    case UPT_SF_LOGINS_TOTAL:
        return whole(mem->logins_n);
    case UPT_SF_KEY_EVENT_AGE:
        return days_since(f, ext->has_key, ext->last_day);
    case UPT_SF_CONTACT_AGE:
        return days_since_minute(f, mem->contact_min);
    case UPT_SF_CONTRACT_AGE:
        return trait_day(f, UPT_STR("contract_start"), false);
    case UPT_SF_DAYS_TO_RENEWAL:
        return trait_day(f, UPT_STR("renewal_date"), true);
    case UPT_SF_ONBOARDING_AGE:
        return days_since_minute(f, mem->onboarded_min);
    case UPT_SF_STEPS_DONE:
        return whole(relation == NULL ? 0 : relation->steps_n);
    case UPT_SF_COURSES_DONE:
        return whole(relation == NULL ? 0 : relation->courses_n);
    case UPT_SF_ONBOARDED:
        return whole(mem->onboarded_min != 0);
    case UPT_SF_CONTACTED_SINCE:
        return mem->onboarded_min == 0 ? (struct value){.known = false} : whole(mem->contact_min > mem->onboarded_min);
    default:
        return row_value(f, i);
    }
}

static struct value
trait_value(const struct facts *f, const struct upt_seg_node *node)
{
    struct upt_str name = upt_seg_text(f->set, node->name_at, node->name_len);
    if (node->as != UPT_SEG_AS_TEXT) {
        return trait_day(f, name, node->as == UPT_SEG_AS_UNTIL);
    }
    struct upt_str v = upt_account_trait(f->d->acct, name);
    int64_t seats = 0;
    if (v.p == NULL && upt_str_eq(name, UPT_STR("seats")) && upt_account_seats(f->d->acct, &seats)) {
        return micro(true, seats);
    }
    return node->field == UPT_SEG_NUMBER ? number_of(v) : text(v);
}

/* Days of the last `within` with use; *ret_ever: used at all. */
static uint32_t
feature_days(const struct facts *f, const struct upt_seg_node *node, bool *ret_ever)
{
    struct upt_str name = upt_seg_text(f->set, node->name_at, node->name_len);
    size_t n = upt_account_features_n(f->d->acct);
    *ret_ever = false;
    for (size_t i = 0; i < n; i++) {
        struct upt_str is;
        uint32_t days = 0;
        upt_account_feature(f->d->st, f->d->acct, i, &is, &days);
        if (upt_str_eq(is, name)) {
            *ret_ever = true;
            return (uint32_t)__builtin_popcount(days & ((UINT32_C(1) << node->within) - 1));
        }
    }
    return 0;
}

static bool
has_hash(const uint16_t *v, size_t n, struct upt_str name)
{
    uint16_t hash = (uint16_t)upt_hash(name.p, name.len);
    for (size_t i = 0; i < n; i++) {
        if (v[i] == hash) {
            return true;
        }
    }
    return false;
}

/* ---- conditions ---- */

static bool
in_set(const struct facts *f, const struct upt_seg_node *node, upt_seg_type type, const struct value *v)
{
    for (uint32_t i = 0; i < node->values_n; i++) {
        const struct upt_seg_value *one = &f->set->value[node->values + i];
        if (type == UPT_SEG_NUMBER ? v->micro == one->micro
                                   : upt_str_eq(v->text, upt_seg_text(f->set, one->at, one->len))) {
            return true;
        }
    }
    return false;
}

static bool
passes(const struct facts *f, const struct upt_seg_node *node, upt_seg_type type, const struct value *v)
{
    unsigned tests = node->tests;
    bool good = (tests & UPT_SEG_KNOWN) == 0 || v->known == node->known;
    good = good && ((tests & ~(unsigned)UPT_SEG_KNOWN) == 0 || v->known);
    good = good && ((tests & UPT_SEG_LOW) == 0 || v->micro >= node->low);
    good = good && ((tests & UPT_SEG_HIGH) == 0 || v->micro <= node->high);
    good = good && ((tests & UPT_SEG_IS) == 0 || (v->micro != 0) == node->want);
    return good && ((tests & UPT_SEG_SET) == 0 || in_set(f, node, type, v));
}

static bool
leaf_holds(const struct facts *f, const struct upt_seg_node *node)
{
    const struct upt_relation *r = f->d->ext->signals.relation;
    struct upt_str name = upt_seg_text(f->set, node->name_at, node->name_len);
    bool ever = false;
    struct value v = {.known = true};
    switch ((upt_seg_kind)node->kind) {
    case UPT_SEG_FIELD:
        v = field_value(f, node->field);
        return passes(f, node, upt_seg_fields[node->field].type, &v);
    case UPT_SEG_TRAIT:
        v = trait_value(f, node);
        return passes(f, node, (upt_seg_type)node->field, &v);
    case UPT_SEG_FEATURE: {
        uint32_t days = feature_days(f, node, &ever);
        v = whole((node->tests & UPT_SEG_IS) != 0 && node->as == 0 ? ever : days);
        return passes(f, node, UPT_SEG_NUMBER, &v);
    }
    case UPT_SEG_COURSE:
        v = whole(r != NULL && has_hash(r->courses, r->courses_n, name));
        return passes(f, node, UPT_SEG_BOOL, &v);
    default:
        v = whole(r != NULL && has_hash(r->steps, r->steps_n, name));
        return passes(f, node, UPT_SEG_BOOL, &v);
    }
}

/* Recursion is bounded when the file is read. */
static bool
holds(const struct facts *f, uint32_t at)
{
    const struct upt_seg_node *node = &f->set->node[at];
    if (node->kind >= UPT_SEG_FIELD) {
        return leaf_holds(f, node);
    }
    bool any = node->kind == UPT_SEG_ANY;
    for (uint32_t child = at + 1; child < node->end; child = f->set->node[child].end) {
        bool one = holds(f, child);
        if (node->kind == UPT_SEG_NOT) {
            return !one;
        }
        if (one == any) {
            return any;
        }
    }
    return !any;
}

/* ---- decisions ---- */

static void
tell(struct upt_decision *d, const struct upt_segments *set, uint64_t changed, uint64_t member)
{
    for (size_t i = 0; i < upt_segments_n(set); i++) {
        bool enter = (member >> i & 1) != 0;
        int rule = enter ? UPT_RULE_SEGMENT_ENTER : UPT_RULE_SEGMENT_EXIT;
        if ((changed >> i & 1) != 0 && d->score->rules->rule[rule].enabled) {
            upt_alert_complete(d, rule, upt_segments_name(set, i), enter ? upt_segments_play(set, i) : UPT_STR_NULL);
        }
    }
}

/* While an hourly window that is read holds something it changes with the hours. */
static uint32_t
next_hour(const struct facts *f)
{
    const struct upt_row *row = &f->row;
    const struct upt_usage *day = &row->usage[UPT_W_24H];
    bool busy = f->set->hourly && (day->events > 0 || day->logins > 0 || row->users_24h > 0);
    return busy ? (uint32_t)((upt_floor_div(f->d->now, UPT_HOUR_MS) + 1) * 60) : 0;
}

void
upt_segments_decide(struct upt_decision *d)
{
    struct upt_segment_mem *mem = &d->ext->segment;
    const struct upt_segments *set = d->score->rules->segments;
    uint64_t member = 0;
    mem->wake_min = 0;
    if (set == NULL) {
        mem->member = 0;
        return;
    }
    struct facts f = {.d = d, .set = set, .today = upt_floor_div(d->now, UPT_DAY_MS)};
    if (set->row) {
        bool changed = d->ext->row_changed; /* asking for a row must not take its hint */
        upt_state_row(d->st, d->acct, &f.row);
        d->ext->row_changed = changed;
    }
    for (size_t i = 0; i < set->n; i++) {
        if (set->v[i].enabled && holds(&f, set->v[i].first)) {
            member |= UINT64_C(1) << i;
        }
    }
    mem->wake_min = next_hour(&f);
    if (member != mem->member) {
        uint64_t changed = member ^ mem->member;
        mem->member = member;
        tell(d, set, changed, member);
        upt_account_touch(d->st, d->acct, 0);
    }
}

void
upt_segments_forget(struct upt_decision *d)
{
    tell(d, d->score->rules->segments, d->ext->segment.member, 0);
    d->ext->segment.member = 0;
}

/* ---- events ---- */

static bool
reads_feature(const struct upt_segments *set, struct upt_str feature)
{
    for (size_t i = 0; i < set->nodes_n; i++) {
        const struct upt_seg_node *node = &set->node[i];
        if (node->kind == UPT_SEG_FEATURE && upt_str_eq(feature, upt_seg_text(set, node->name_at, node->name_len))) {
            return true;
        }
    }
    return false;
}

static void
remember(struct upt_decision *d, const struct upt_event *ev, int64_t at)
{
    struct upt_segment_mem *mem = &d->ext->segment;
    int32_t day = (int32_t)upt_floor_div(at, UPT_DAY_MS);
    if (ev->kind == UPT_KIND_LOGIN) {
        mem->login_day = mem->logins_n == 0 || day > mem->login_day ? day : mem->login_day;
        mem->logins_n += mem->logins_n < UINT32_MAX;
        return;
    }
    uint32_t minute = at < UPT_MINUTE_MS ? 1 : (uint32_t)(at / UPT_MINUTE_MS);
    switch (ev->kind) {
    case UPT_KIND_SIGNUP:
        mem->signup_day = !mem->has_signup || day < mem->signup_day ? day : mem->signup_day;
        mem->has_signup = true;
        break;
    case UPT_KIND_CONTACT:
        mem->contact_min = minute > mem->contact_min ? minute : mem->contact_min;
        break;
    case UPT_KIND_ONBOARDING_STEP:
    case UPT_KIND_PROFILE:
        if (mem->onboarded_min == 0 && upt_steps_done(d->acct, d->ext)) {
            mem->onboarded_min = minute;
        }
        break;
    default:
        break;
    }
}

void
upt_segments_event(struct upt_decision *d, const struct upt_event *ev, int64_t at)
{
    struct upt_segment_mem *mem = &d->ext->segment;
    const struct upt_segments *set = d->score->rules->segments;
    if (ev->kind != UPT_KIND_USAGE) {
        remember(d, ev, at);
    }
    if (set == NULL) {
        return;
    }
    uint32_t next = (uint32_t)(upt_floor_div(d->now, UPT_MINUTE_MS) + 1);
    uint32_t kind = UINT32_C(1) << ev->kind;
    bool wanted = (set->kinds & kind) != 0 || ((set->user_kinds & kind) != 0 && ev->user_id.len > 0);
    if (mem->wake_min == next || (!wanted && ev->kind != UPT_KIND_USAGE)) {
        return;
    }
    if (wanted || (set->features && ev->feature.p != NULL && reads_feature(set, ev->feature))) {
        mem->wake_min = next;
        upt_wake_arm(d);
    }
}

/* ---- names ---- */

uint64_t
upt_segments_map(const struct upt_segments *from, const struct upt_segments *to, uint64_t member)
{
    uint64_t mapped = 0;
    for (size_t i = 0; i < upt_segments_n(from); i++) {
        for (size_t k = 0; (member >> i & 1) != 0 && k < upt_segments_n(to); k++) {
            mapped |= to->v[k].hash == from->v[i].hash ? UINT64_C(1) << k : 0;
        }
    }
    return mapped;
}

struct upt_str
upt_segments_list(const struct upt_segments *set, uint64_t member, char *buf)
{
    uint32_t len = 0;
    for (size_t i = 0; i < upt_segments_n(set); i++) {
        if ((member >> i & 1) != 0) {
            struct upt_str name = upt_segments_name(set, i);
            if (len > 0) {
                buf[len++] = ',';
            }
            memcpy(buf + len, name.p, name.len);
            len += name.len;
        }
    }
    return len > 0 ? (struct upt_str){.p = buf, .len = len} : UPT_STR_NULL;
}

/* ---- checkpoint ---- */

enum { HAS_MEMBER = 1, HAS_SIGNUP = 2, HAS_LOGINS = 4, HAS_CONTACT = 8, HAS_ONBOARDED = 16, HAS_WAKE = 32 };

void
upt_segment_mem_encode(const struct upt_segment_mem *mem, const struct upt_segments *set, struct upt_buf *out)
{
    uint64_t member = mem->member & (upt_segments_n(set) == 64 ? UINT64_MAX : (UINT64_C(1) << upt_segments_n(set)) - 1);
    unsigned has = (member != 0 ? HAS_MEMBER : 0U) | (mem->has_signup ? HAS_SIGNUP : 0U) |
                   (mem->logins_n > 0 ? HAS_LOGINS : 0U) | (mem->contact_min != 0 ? HAS_CONTACT : 0U) |
                   (mem->onboarded_min != 0 ? HAS_ONBOARDED : 0U) | (mem->wake_min != 0 ? HAS_WAKE : 0U);
    upt_buf_put_varint(out, has);
    if (member != 0) {
        upt_buf_put_varint(out, (uint64_t)__builtin_popcountll(member));
        for (size_t i = 0; i < upt_segments_n(set); i++) {
            if ((member >> i & 1) != 0) {
                upt_buf_put_le64(out, set->v[i].hash);
            }
        }
    }
    if (mem->has_signup) {
        upt_buf_put_zigzag(out, mem->signup_day);
    }
    if (mem->logins_n > 0) {
        upt_buf_put_varint(out, mem->logins_n);
        upt_buf_put_zigzag(out, mem->login_day);
    }
    const uint32_t minutes[] = {mem->contact_min, mem->onboarded_min, mem->wake_min};
    for (size_t i = 0; i < 3; i++) {
        if (minutes[i] != 0) {
            upt_buf_put_varint(out, minutes[i]);
        }
    }
}

static uint64_t
decode_member(const struct upt_segments *set, struct upt_cur *cur)
{
    uint64_t member = 0;
    uint64_t n = upt_cur_varint(cur);
    cur->ok = cur->ok && n <= UPT_SEGMENTS_MAX;
    for (uint64_t i = 0; cur->ok && i < n; i++) {
        uint64_t hash = upt_cur_le64(cur);
        for (size_t k = 0; k < upt_segments_n(set); k++) {
            member |= set->v[k].hash == hash ? UINT64_C(1) << k : 0;
        }
    }
    return member;
}

bool
upt_segment_mem_decode(struct upt_segment_mem *mem, const struct upt_segments *set, struct upt_cur *cur)
{
    uint64_t has = upt_cur_varint(cur);
    *mem = (struct upt_segment_mem){.has_signup = (has & HAS_SIGNUP) != 0};
    if ((has & HAS_MEMBER) != 0) {
        mem->member = decode_member(set, cur);
    }
    if ((has & HAS_SIGNUP) != 0) {
        mem->signup_day = (int32_t)upt_cur_zigzag(cur);
    }
    if ((has & HAS_LOGINS) != 0) {
        mem->logins_n = (uint32_t)upt_cur_varint(cur);
        mem->login_day = (int32_t)upt_cur_zigzag(cur);
    }
    mem->contact_min = (has & HAS_CONTACT) != 0 ? (uint32_t)upt_cur_varint(cur) : 0;
    mem->onboarded_min = (has & HAS_ONBOARDED) != 0 ? (uint32_t)upt_cur_varint(cur) : 0;
    mem->wake_min = (has & HAS_WAKE) != 0 ? (uint32_t)upt_cur_varint(cur) : 0;
    return cur->ok && has < 64;
}
