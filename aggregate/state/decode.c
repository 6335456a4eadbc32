/* Checkpoint records: reading.
 *
 * Records come in the order of the log. Each is taken as of the clock at which it was written, which may be long before
 * that of the checkpoint: an account that did not change is not written again. load_done brings all of them to the
 * checkpoint's clock, and sums the distinct counts up from the accounts.
 *
 * Every length is checked before it is used; a record that does not hold ends the restore, it is never taken in part.
 *
 * @locality: the thread that owns the state. */
#include <string.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

#define CHECK_BYTES 4
#define EXT_BYTES_MAX ((size_t)1 << 24) /* far beyond any; what is damaged must not take all memory */
#define FEATURE_IDS_MAX (UINT32_C(1) << 26)

/* A large account of which pages are still to come. */
struct upt_pages {
    struct upt_pages *next;
    struct upt_buf id, whole;
    uint64_t hash, len;
    uint32_t pages, seen;
};

/* ---- rings ---- */

static bool
get_rings(struct upt_state *st, struct upt_cur *cur, const struct upt_now *now, struct upt_rings *rings)
{
    upt_rings_fini(&st->mem, rings);
    for (int r = 0; r < UPT_R_COUNT; r++) {
        uint64_t n = upt_cur_varint(cur);
        uint64_t before = upt_ring_len[r];
        for (uint64_t i = 0; cur->ok && i < n; i++) {
            uint64_t head = upt_cur_varint(cur);
            uint64_t events = upt_cur_varint(cur);
            uint64_t units = upt_cur_varint(cur);
            uint64_t logins = (head & 2) != 0 ? upt_cur_varint(cur) : 0;
            uint64_t units_hi = (head & 1) != 0 ? upt_cur_varint(cur) : 0;
            if (!cur->ok || head >> 2 == 0 || head >> 2 > before || units_hi > UINT32_MAX) {
                return false;
            }
            before -= head >> 2;
            const struct upt_bucket bucket = {
                .units_lo = units,
                .units_hi = (uint32_t)units_hi,
                .events_lo = (uint32_t)events,
                .events_hi = (uint8_t)(events >> 32),
                .logins_lo = (uint32_t)logins,
                .logins_hi = (uint8_t)(logins >> 32),
                .number = (uint16_t)((uint64_t)now->b[r] - before),
            };
            upt_rings_append(&st->mem, rings, r, &bucket);
        }
    }
    return cur->ok;
}

/* Bucket numbers are short, but not so short that they could be mistaken within a month; after it nothing is left of
 * them. */
void
upt_rings_revive(struct upt_mem *mem, struct upt_rings *rings, int64_t written_day, const struct upt_now *now)
{
    if (now->b[UPT_R_DAY] - written_day > UPT_WINDOW_DAYS) {
        upt_rings_fini(mem, rings);
    } else {
        upt_rings_prune(mem, rings, now);
    }
}

/* ---- accounts ---- */

static struct upt_str
get_str(struct upt_cur *cur)
{
    return upt_cur_bytes(cur, upt_cur_varint(cur));
}

static bool
get_users(struct upt_state *st, struct upt_cur *cur, const struct upt_now *now, struct upt_account *acct)
{
    uint64_t n = upt_cur_varint(cur);
    for (uint64_t i = 0; cur->ok && i < n; i++) {
        uint64_t hash = upt_cur_le64(cur);
        uint64_t bits = upt_cur_varint(cur);
        uint64_t hours = upt_cur_varint(cur);
        if (!cur->ok || bits >> 3 > UPT_USER_DAYS || hours > UPT_WINDOW_DAYS * 24) {
            return false;
        }
        bool fresh = false;
        struct upt_user *user = upt_users_get(&st->mem, &acct->users, hash, &fresh);
        if (!fresh) {
            return false;
        }
        user->bits = (uint32_t)(bits >> 3) | ((bits & 1) != 0 ? UPT_USER_REMOVED : 0) |
                     ((bits & 2) != 0 ? UPT_USER_TRAINED : 0) | ((bits & 4) != 0 ? UPT_USER_ONBOARDED : 0);
        acct->users.total += (bits & 1) == 0;
        if (hours > 0) {
            user->bits |= UPT_USER_ACTIVE;
            user->hour = (uint32_t)((uint64_t)now->b[UPT_R_HOUR] - (hours - 1));
        }
    }
    return cur->ok;
}

static bool
get_uses(struct upt_state *st, struct upt_cur *cur, struct upt_account *acct)
{
    uint64_t n = upt_cur_varint(cur);
    int64_t feature = 0;
    for (uint64_t i = 0; cur->ok && i < n; i++) {
        feature += upt_cur_zigzag(cur);
        uint64_t days = upt_cur_varint(cur);
        bool fresh = false;
        if (!cur->ok || feature < 0 || feature >= FEATURE_IDS_MAX || days > UPT_USED_DAYS) {
            return false;
        }
        struct upt_used *used = upt_uses_get(&st->mem, &acct->uses, (uint32_t)feature, &fresh);
        if (!fresh) {
            return false;
        }
        used->bits = (uint32_t)days;
    }
    return cur->ok;
}

static bool
get_pairs(struct upt_state *st, struct upt_cur *cur, struct upt_account *acct)
{
    for (uint32_t user = 0; user < acct->users.n; user++) {
        uint64_t n = upt_cur_varint(cur);
        uint64_t feature = 0;
        for (uint64_t i = 0; cur->ok && i < n; i++) {
            uint64_t word = upt_cur_varint(cur);
            feature += word >> 5;
            if (!cur->ok || feature >= acct->uses.n || (word & 31) >= UPT_WINDOW_DAYS) {
                return false;
            }
            struct upt_pair pair = {.user = user, .feature = (uint32_t)feature, .age = (int)(word & 31)};
            (void)upt_pairs_see(&st->mem, &acct->pairs, acct->day, &pair);
            feature++;
        }
    }
    return cur->ok;
}

static bool
get_dedup(struct upt_state *st, struct upt_cur *cur, const struct upt_now *now, struct upt_account *acct)
{
    uint64_t n = upt_cur_varint(cur);
    uint64_t age = 0;
    for (uint64_t i = 0; cur->ok && i < n; i++) {
        uint64_t hash = upt_cur_le64(cur);
        uint64_t moved = upt_cur_varint(cur);
        if (!cur->ok || n > UPT_DEDUP_MAX || moved > (i == 0 ? (uint64_t)UPT_DEDUP_WINDOW_MAX_MS : age)) {
            return false;
        }
        age = i == 0 ? moved : age - moved;
        (void)upt_dedup_add(&st->mem, &acct->dedup, hash, now->ms - (int64_t)age, INT64_MIN);
    }
    return cur->ok;
}

static bool
get_profile(struct upt_state *st, struct upt_cur *cur, struct upt_account *acct)
{
    uint64_t n = upt_cur_varint(cur);
    if ((n & 1) != 0) {
        upt_profile_put_seats(&st->mem, &acct->profile, upt_cur_zigzag(cur));
    }
    for (uint64_t i = 0; cur->ok && i < n >> 1; i++) {
        struct upt_str name = get_str(cur);
        struct upt_str value = get_str(cur);
        if (cur->ok) {
            (void)upt_profile_set(&st->mem, &st->strings, &acct->profile, name, value);
        }
    }
    return cur->ok;
}

/* Whether the observer's part is of the version that it reads. */
static bool
is_known(struct upt_state *st, struct upt_str in, uint8_t version)
{
    uint8_t got = in.len > 0 ? (uint8_t)in.p[0] : 0;
    st->foreign = version != 0 && got != 0 && got != version;
    return !st->foreign;
}

bool
upt_account_decode(struct upt_state *st, struct upt_cur *cur, struct upt_account *acct)
{
    struct upt_now now = upt_now_at(upt_cur_zigzag(cur));
    acct->day = now.b[UPT_R_DAY];
    acct->first_seen = now.ms - upt_cur_zigzag(cur);
    acct->last_seen = now.ms - upt_cur_zigzag(cur);
    acct->accepted = now.ms - upt_cur_zigzag(cur);
    uint64_t has = upt_cur_varint(cur);
    if ((has & 1) != 0) {
        acct->timer = (now.b[UPT_R_MINUTE] + upt_cur_zigzag(cur)) * UPT_MINUTE_MS;
    }
    if ((has & 2) != 0) {
        acct->active_day = acct->day - (int64_t)upt_cur_varint(cur);
    }
    acct->open_alerts = (int32_t)upt_cur_zigzag(cur);
    if (!cur->ok || !get_rings(st, cur, &now, &acct->rings) || !get_users(st, cur, &now, acct) ||
        !get_uses(st, cur, acct) || !get_pairs(st, cur, acct) || !get_dedup(st, cur, &now, acct) ||
        !get_profile(st, cur, acct)) {
        return false;
    }
    if (!upt_cur_packed(cur, EXT_BYTES_MAX, &st->ext) || cur->p != cur->end) {
        return false;
    }
    struct upt_str ext = upt_buf_str(&st->ext);
    if (!is_known(st, ext, st->observer.version)) {
        return false;
    }
    return st->observer.decode == NULL || st->observer.decode(st->config.observer_ctx, st, upt_account_ext(acct), ext);
}

static void
drop_account(struct upt_state *st, struct upt_str id)
{
    struct upt_account *acct = upt_state_find(st, id);
    if (acct != NULL) {
        upt_table_remove(&st->accounts, acct->hash, acct);
        upt_account_free(st, acct);
    }
}

static bool
load_whole(struct upt_state *st, struct upt_str id, uint32_t pages, struct upt_cur *cur)
{
    drop_account(st, id);
    struct upt_account *acct = upt_account_birth(st, id, upt_hash(id.p, id.len));
    acct->item.pages = (uint16_t)pages;
    return upt_account_decode(st, cur, acct);
}

/* ---- pages ---- */

static struct upt_pages **
find_pages(struct upt_state *st, struct upt_str id)
{
    struct upt_pages **at = &st->pages;
    while (*at != NULL && ((*at)->id.len != id.len || memcmp((*at)->id.p, id.p, id.len) != 0)) {
        at = &(*at)->next;
    }
    return at;
}

static void
drop_pages(struct upt_state *st, struct upt_pages **at)
{
    struct upt_pages *pages = *at;
    if (pages != NULL) {
        *at = pages->next;
        upt_buf_fini(&pages->id);
        upt_buf_fini(&pages->whole);
        (void)upt_mem_resize(&st->mem, pages, sizeof(*pages), 0);
    }
}

void
upt_pages_destroy(struct upt_state *st)
{
    while (st->pages != NULL) {
        drop_pages(st, &st->pages);
    }
}

static bool
load_account(struct upt_state *st, struct upt_str id, struct upt_cur *cur)
{
    drop_pages(st, find_pages(st, id));
    uint64_t count = upt_cur_varint(cur);
    if (!cur->ok || id.len < 1 || id.len > UPT_KEY_MAX || count < 1 || count > UINT16_MAX) {
        return false;
    }
    if (count == 1) {
        return load_whole(st, id, 1, cur);
    }
    drop_account(st, id);
    struct upt_pages *pages = upt_mem_resize(&st->mem, NULL, 0, sizeof(*pages));
    pages->pages = (uint32_t)count;
    pages->seen = 1;
    pages->len = upt_cur_varint(cur);
    pages->hash = upt_cur_le64(cur);
    pages->next = st->pages;
    st->pages = pages;
    upt_buf_put(&pages->id, id.p, id.len);
    if (cur->ok) {
        upt_buf_put(&pages->whole, cur->p, (size_t)(cur->end - cur->p));
    }
    return cur->ok;
}

static bool
load_page(struct upt_state *st, struct upt_cur *key, const struct upt_cur *cur)
{
    uint32_t page = upt_cur_le32(key);
    struct upt_str id = {.p = key->p, .len = (uint32_t)(key->end - key->p)};
    if (!key->ok) {
        return false;
    }
    struct upt_pages **at = find_pages(st, id);
    struct upt_pages *pages = *at;
    if (pages == NULL || page != pages->seen) {
        return true; /* of a former life; what is missing is found at the end */
    }
    upt_buf_put(&pages->whole, cur->p, (size_t)(cur->end - cur->p));
    pages->seen++;
    if (pages->seen < pages->pages) {
        return true;
    }
    struct upt_cur whole = {.p = pages->whole.p, .end = pages->whole.p + pages->whole.len, .ok = true};
    bool ok = pages->len == pages->whole.len && pages->hash == upt_hash(pages->whole.p, pages->whole.len) &&
              load_whole(st, id, pages->pages, &whole);
    drop_pages(st, at);
    return ok;
}

/* ---- features and totals ---- */

static bool
load_feature(struct upt_state *st, struct upt_str name, struct upt_cur *cur)
{
    uint64_t id = upt_cur_varint(cur);
    struct upt_now now = upt_now_at(upt_cur_zigzag(cur));
    if (!cur->ok || id >= FEATURE_IDS_MAX || name.len == 0) {
        return false;
    }
    struct upt_feature *feature = upt_features_find(&st->features, name, upt_hash(name.p, name.len));
    bool taken = id < st->features.n && st->features.v[id] != NULL;
    if (feature == NULL && !taken) {
        feature = upt_features_create(&st->mem, &st->features, name, (uint32_t)id, 0);
        feature->item.pages = 1;
    }
    if (feature == NULL || feature->id != id || !get_rings(st, cur, &now, &feature->rings)) {
        return false;
    }
    feature->accounts.day = now.b[UPT_R_DAY]; /* until load_done: when it was written */
    return cur->p == cur->end;
}

static bool
load_totals(struct upt_state *st, struct upt_cur *cur)
{
    struct upt_now now = upt_now_at(upt_cur_zigzag(cur));
    st->totals.accounts.day = now.b[UPT_R_DAY];
    if (!cur->ok || !get_rings(st, cur, &now, &st->totals.rings)) {
        return false;
    }
    struct upt_str kept = get_str(cur);
    return cur->ok && cur->p == cur->end && is_known(st, kept, st->observer.partition_version) &&
           (st->observer.decode_partition == NULL || st->observer.decode_partition(st->config.observer_ctx, kept));
}

/* ---- load ---- */

static upt_status
fail_foreign(struct upt_error *reterr)
{
    return upt_fail(reterr, UPT_EDATA,
                    "the checkpoint was written by another version of uptake; to begin anew delete the state topic and "
                    "the group's offsets");
}

static upt_status
check(struct upt_str value, struct upt_cur *ret, struct upt_error *reterr)
{
    if (value.len < 1 + CHECK_BYTES) {
        return upt_fail(reterr, UPT_EDATA, "a checkpoint record is too short (%u bytes)", value.len);
    }
    uint32_t len = value.len - CHECK_BYTES;
    struct upt_cur tail = {.p = value.p + len, .end = value.p + value.len, .ok = true};
    if (upt_cur_le32(&tail) != (uint32_t)upt_hash(value.p, len)) {
        return upt_fail(reterr, UPT_EDATA, "a checkpoint record is damaged (checksum)");
    }
    if (value.p[0] != UPT_CODEC_VERSION) {
        return fail_foreign(reterr);
    }
    *ret = (struct upt_cur){.p = value.p + 1, .end = value.p + len, .ok = true};
    return UPT_OK;
}

upt_status
upt_state_load(struct upt_state *st, struct upt_str key, struct upt_str value, struct upt_error *reterr)
{
    upt_assert(!st->has_clock);
    if (key.len == 0) {
        return upt_fail(reterr, UPT_EDATA, "a checkpoint record has no key");
    }
    struct upt_str name = {.p = key.p + 1, .len = key.len - 1};
    if (value.p == NULL || value.len == 0) {
        if (key.p[0] == UPT_KEY_ACCOUNT) {
            drop_pages(st, find_pages(st, name));
            drop_account(st, name);
        }
        return UPT_OK;
    }
    struct upt_cur cur = {0};
    struct upt_cur rest = {.p = name.p, .end = name.p + name.len, .ok = true};
    upt_status status = check(value, &cur, reterr);
    if (status != UPT_OK) {
        return status;
    }
    bool ok = false;
    st->foreign = false;
    switch (key.p[0]) {
    case UPT_KEY_ACCOUNT:
        ok = load_account(st, name, &cur);
        break;
    case UPT_KEY_PAGE:
        ok = load_page(st, &rest, &cur);
        break;
    case UPT_KEY_FEATURE:
        ok = load_feature(st, name, &cur);
        break;
    case UPT_KEY_TOTALS:
        ok = load_totals(st, &cur);
        break;
    default:
        break;
    }
    if (!ok && st->foreign) {
        return fail_foreign(reterr);
    }
    return ok ? UPT_OK : upt_fail(reterr, UPT_EDATA, "a checkpoint record of kind %c does not add up", key.p[0]);
}

/* ---- load_done ---- */

/* The opposite of forgetting. */
static void
put_in(struct upt_state *st, const struct upt_account *acct)
{
    int64_t today = st->now.b[UPT_R_DAY];
    struct upt_pair pair;
    for (uint32_t cursor = 0; upt_pairs_next(&acct->pairs, today, &cursor, &pair);) {
        upt_hist_move(&st->features.v[acct->uses.v[pair.feature].feature]->pairs, today, -1, pair.age);
    }
    for (uint32_t i = 0; i < acct->uses.n; i++) {
        const struct upt_used *used = &acct->uses.v[i];
        upt_hist_move(&st->features.v[used->feature]->accounts, today, -1, upt_used_age(used));
    }
    for (uint32_t i = 0; i < acct->users.n; i++) {
        upt_hist_move(&st->totals.users, today, -1, upt_user_age(&acct->users.v[i], &st->now));
    }
    upt_hist_move(&st->totals.accounts, today, -1, upt_account_age(acct, &st->now));
    st->totals.users_total += acct->users.total;
    st->totals.open_alerts += acct->open_alerts;
}

static bool
knows_features(const struct upt_state *st, const struct upt_account *acct)
{
    for (uint32_t i = 0; i < acct->uses.n; i++) {
        uint32_t id = acct->uses.v[i].feature;
        if (id >= st->features.n || st->features.v[id] == NULL) {
            return false;
        }
    }
    return true;
}

static upt_status
bring_accounts(struct upt_state *st, struct upt_error *reterr)
{
    struct upt_account *acct;
    for (size_t cursor = 0; (acct = upt_state_next(st, &cursor)) != NULL;) {
        if (!knows_features(st, acct)) {
            return upt_fail(reterr, UPT_EDATA, "a checkpoint has an account with a feature that it does not name");
        }
        if (acct->day > st->now.b[UPT_R_DAY] || acct->accepted > st->now.ms) {
            return upt_fail(reterr, UPT_EDATA, "a checkpoint has an account that is ahead of its clock");
        }
        upt_rings_revive(&st->mem, &acct->rings, acct->day, &st->now);
        upt_account_roll(st, acct);
        upt_dedup_trim(&st->mem, &acct->dedup, st->now.ms - st->config.dedup_window_ms);
        put_in(st, acct);
        upt_account_rearm(st, acct);
    }
    return UPT_OK;
}

upt_status
upt_state_load_done(struct upt_state *st, struct upt_pos pos, int64_t clock, struct upt_error *reterr)
{
    if (st->pages != NULL) {
        return upt_fail(reterr, UPT_EDATA, "a checkpoint lacks pages of a large account");
    }
    if (clock == UPT_NO_CLOCK && (st->accounts.n > 0 || st->features.n > 0)) {
        return upt_fail(reterr, UPT_EDATA, "a checkpoint has accounts but no clock");
    }
    st->pos = pos;
    if (clock == UPT_NO_CLOCK) {
        return UPT_OK;
    }
    int64_t totals_day = st->totals.accounts.day;
    upt_state_set_clock(st, clock);
    for (uint32_t i = 0; i < st->features.n; i++) {
        struct upt_feature *feature = st->features.v[i];
        if (feature == NULL) {
            return upt_fail(reterr, UPT_EDATA, "a checkpoint lacks the name of feature %u", i);
        }
        upt_rings_revive(&st->mem, &feature->rings, feature->accounts.day, &st->now);
        upt_hist_init(&feature->accounts, st->now.b[UPT_R_DAY]);
        upt_hist_init(&feature->pairs, st->now.b[UPT_R_DAY]);
        upt_feature_rearm(st, feature);
    }
    upt_rings_revive(&st->mem, &st->totals.rings, totals_day, &st->now);
    upt_status status = bring_accounts(st, reterr);
    if (status == UPT_OK) {
        upt_totals_rearm(st);
        upt_state_mark_all_dirty(st);
    }
    return status;
}
