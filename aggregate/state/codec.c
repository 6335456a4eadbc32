/* Checkpoint records: writing.
 *
 *     key                          value
 *     'a' id                       version | pages | [length, hash of all pages] | account, first part | check
 *     'p' page (4 bytes) id        version | account, further part | check        beyond 256 KiB
 *     'f' name                     version | id, clock, rings | check
 *     't'                          version | clock, rings, the observer's | check
 *
 * check: the low 32 bits of XXH3 over what stands before. A page has a key of its own kind, not one with a suffix,
 * since an id may hold any byte.
 *
 * Everything is relative to the clock as of which it is written, and what has left its window by then is not in it: so
 * equal states have equal records, whatever they still held in memory, and numbers are small (430 bytes for an account
 * of 10 users, 10 features and 100 pairs). The observer's part, fixed fields that are mostly zero, is packed. Users and
 * features keep their order of appearance, which later positions hang on. The distinct counts of features and totals
 * are not written: they are sums over the accounts.
 *
 * @locality: the thread that owns the state. */
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

#define SMALL 32        /* sorted by insertion up to here */
#define ID_BYTES_MAX 18 /* of an id and its time */

/* ---- rings ---- */

static void
put_rings(struct upt_buf *out, const struct upt_rings *rings, const struct upt_now *now)
{
    const struct upt_bucket *bucket = rings->v;
    for (int r = 0; r < UPT_R_COUNT; r++) {
        const struct upt_bucket *end = bucket + rings->n[r];
        upt_buf_put_varint(out, (uint64_t)(end - bucket));
        for (uint16_t before = upt_ring_len[r]; bucket < end; bucket++) {
            uint16_t age = upt_bucket_age(bucket, r, now);
            struct upt_usage usage = upt_bucket_usage(bucket);
            upt_assert(age < before); /* in order, and pruned at every tick up to now */
            upt_buf_put_varint(out, (uint64_t)(before - age) << 2 | (usage.logins != 0 ? 2U : 0U) |
                                        (bucket->units_hi != 0 ? 1U : 0U));
            upt_buf_put_varint(out, usage.events);
            upt_buf_put_varint(out, bucket->units_lo);
            if (usage.logins != 0) {
                upt_buf_put_varint(out, usage.logins);
            }
            if (bucket->units_hi != 0) {
                upt_buf_put_varint(out, bucket->units_hi);
            }
            before = age;
        }
    }
}

/* ---- accounts ---- */

static void
put_str(struct upt_buf *out, struct upt_str s)
{
    upt_buf_put_varint(out, s.len);
    if (s.len > 0) {
        upt_buf_put(out, s.p, s.len);
    }
}

static void
put_users(struct upt_buf *out, const struct upt_account *acct, const struct upt_now *now)
{
    int64_t later = now->b[UPT_R_DAY] - acct->day;
    upt_buf_put_varint(out, acct->users.n);
    for (uint32_t i = 0; i < acct->users.n; i++) {
        const struct upt_user *user = &acct->users.v[i];
        unsigned removed = (user->bits & UPT_USER_REMOVED) != 0 ? 1 : 0;
        unsigned trained = (user->bits & UPT_USER_TRAINED) != 0 ? 2 : 0;
        unsigned onboarded = (user->bits & UPT_USER_ONBOARDED) != 0 ? 4 : 0;
        upt_buf_put_le64(out, user->hash);
        upt_buf_put_varint(out, (uint64_t)upt_user_days(user, later) << 3 | onboarded | trained | removed);
        upt_buf_put_varint(out, upt_user_age(user, now) >= 0 ? upt_user_hours(user, now) + UINT64_C(1) : 0);
    }
}

static void
put_uses(struct upt_buf *out, const struct upt_account *acct, const struct upt_now *now)
{
    int64_t before = 0;
    upt_buf_put_varint(out, acct->uses.n);
    for (uint32_t i = 0; i < acct->uses.n; i++) {
        const struct upt_used *used = &acct->uses.v[i];
        upt_buf_put_zigzag(out, (int64_t)used->feature - before);
        upt_buf_put_varint(out, upt_used_days(used, now->b[UPT_R_DAY] - acct->day));
        before = used->feature;
    }
}

static int
by_value(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return (*x > *y) - (*x < *y);
}

static void
sort(uint64_t *v, uint32_t n)
{
    if (n > SMALL) {
        qsort(v, n, sizeof(*v), by_value);
        return;
    }
    for (uint32_t i = 1; i < n; i++) {
        uint64_t value = v[i];
        uint32_t k = i;
        for (; k > 0 && v[k - 1] > value; k--) {
            v[k] = v[k - 1];
        }
        v[k] = value;
    }
}

/* For each user the number of pairs, then the features in order: gap to the last one << 5 | age. */
static void
put_pairs(struct upt_state *st, struct upt_buf *out, const struct upt_account *acct, const struct upt_now *now)
{
    int64_t later = now->b[UPT_R_DAY] - acct->day;
    uint32_t users = acct->users.n;
    size_t bytes = (users + 1) * sizeof(uint32_t) + 4 + acct->pairs.used * sizeof(uint64_t);
    uint64_t *sorted = upt_mem_resize(&st->mem, NULL, 0, bytes);
    uint32_t *start = (uint32_t *)(sorted + acct->pairs.used); /* of each user's pairs; in the end, where they end */
    struct upt_pair pair;
    for (uint32_t cursor = 0; upt_pairs_next(&acct->pairs, acct->day, &cursor, &pair);) {
        start[pair.user + 1] += pair.age + later < UPT_WINDOW_DAYS;
    }
    for (uint32_t i = 0; i < users; i++) {
        start[i + 1] += start[i];
    }
    for (uint32_t cursor = 0; upt_pairs_next(&acct->pairs, acct->day, &cursor, &pair);) {
        if (pair.age + later < UPT_WINDOW_DAYS) {
            sorted[start[pair.user]++] = (uint64_t)pair.feature << 5 | (uint64_t)(pair.age + later);
        }
    }
    uint32_t from = 0;
    for (uint32_t i = 0; i < users; i++) {
        uint32_t n = start[i] - from;
        sort(sorted + from, n);
        upt_buf_put_varint(out, n);
        uint64_t next = 0; /* the least feature that may follow */
        for (uint32_t k = from; k < start[i]; k++) {
            uint64_t feature = sorted[k] >> 5;
            upt_buf_put_varint(out, (feature - next) << 5 | (sorted[k] & 31));
            next = feature + 1;
        }
        from = start[i];
    }
    (void)upt_mem_resize(&st->mem, sorted, bytes, 0);
}

/* In the order of their times: of the first its age, of the others how much younger than the one before. Ids are most
 * of the bytes of a busy account, so they are written in place. */
static void
put_dedup(const struct upt_state *st, struct upt_buf *out, const struct upt_account *acct, const struct upt_now *now)
{
    int64_t after = now->ms - st->config.dedup_window_ms, before = now->ms, clock = 0;
    uint64_t hash = 0;
    uint32_t n = upt_dedup_live(acct->dedup, after);
    upt_buf_put_varint(out, n);
    char *begin = upt_buf_reserve(out, n * (size_t)ID_BYTES_MAX), *at = begin;
    for (uint32_t cursor = 0, i = 0; upt_dedup_next(acct->dedup, after, &cursor, &hash, &clock); i++) {
        at = upt_write_le64(at, hash);
        at = upt_write_varint(at, (uint64_t)(i == 0 ? before - clock : clock - before));
        before = clock;
    }
    out->len += (size_t)(at - begin);
}

static void
put_profile(struct upt_buf *out, const struct upt_profile *profile)
{
    uint32_t n = profile == NULL ? 0 : profile->n;
    bool seats = profile != NULL && profile->has_seats;
    upt_buf_put_varint(out, (uint64_t)n << 1 | seats);
    if (seats) {
        upt_buf_put_zigzag(out, profile->micro_seats);
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct upt_trait *trait = &profile->v[i];
        put_str(out, (struct upt_str){.p = trait->name->p, .len = trait->name->len});
        put_str(out, (struct upt_str){.p = trait->value->p, .len = trait->value->len});
    }
}

void
upt_account_encode(struct upt_state *st, struct upt_buf *out, struct upt_account *acct, const struct upt_now *now)
{
    bool timer = acct->timer != UPT_NO_CLOCK;
    bool active = upt_account_age(acct, now) >= 0;
    upt_buf_put_zigzag(out, now->ms);
    upt_buf_put_zigzag(out, now->ms - acct->first_seen);
    upt_buf_put_zigzag(out, now->ms - acct->last_seen);
    upt_buf_put_zigzag(out, now->ms - acct->accepted);
    upt_buf_put_varint(out, (timer ? 1U : 0U) | (active ? 2U : 0U));
    if (timer) {
        upt_buf_put_zigzag(out, acct->timer / UPT_MINUTE_MS - now->b[UPT_R_MINUTE]);
    }
    if (active) {
        upt_buf_put_varint(out, (uint64_t)upt_account_age(acct, now));
    }
    upt_buf_put_zigzag(out, acct->open_alerts);
    put_rings(out, &acct->rings, now);
    put_users(out, acct, now);
    put_uses(out, acct, now);
    put_pairs(st, out, acct, now);
    put_dedup(st, out, acct, now);
    put_profile(out, acct->profile);
    upt_buf_clear(&st->ext);
    if (st->observer.encode != NULL) {
        st->observer.encode(st->config.observer_ctx, upt_account_ext(acct), &st->ext);
    }
    upt_buf_put_packed(out, upt_buf_str(&st->ext));
}

/* ---- records ---- */

void
upt_codec_key(const struct upt_item *item, uint32_t page, struct upt_buf *ret)
{
    static const char first[] = {UPT_KEY_ACCOUNT, UPT_KEY_FEATURE, UPT_KEY_TOTALS};
    _Static_assert(UPT_ITEM_ACCOUNT == 0 && UPT_ITEM_FEATURE == 1 && UPT_ITEM_TOTALS == 2, "the order of first");
    upt_buf_clear(ret);
    if (page > 0) {
        upt_buf_put(ret, &(char){UPT_KEY_PAGE}, 1);
        upt_buf_put_le32(ret, page);
    } else {
        upt_buf_put(ret, &first[item->kind], 1);
    }
    struct upt_str name = {0};
    if (item->kind == UPT_ITEM_ACCOUNT) {
        name = upt_account_id((const struct upt_account *)(const void *)item);
    } else if (item->kind == UPT_ITEM_FEATURE) {
        name = upt_feature_name((const struct upt_feature *)(const void *)item);
    }
    if (name.len > 0) {
        upt_buf_put(ret, name.p, name.len);
    }
}

static void
begin(struct upt_buf *value)
{
    upt_buf_clear(value);
    upt_buf_put(value, &(char){UPT_CODEC_VERSION}, 1);
}

static void
finish(struct upt_state *st, const struct upt_item *item, uint32_t page, struct upt_records *out)
{
    struct upt_buf *value = &st->codec;
    struct upt_buf *key = &st->snapshot.scratch_key;
    upt_buf_put_le32(value, (uint32_t)upt_hash(value->p, value->len));
    upt_codec_key(item, page, key);
    upt_records_push(out, (struct upt_str){.p = key->p, .len = (uint32_t)key->len},
                     (struct upt_str){.p = value->p, .len = (uint32_t)value->len});
}

static void
encode_account(struct upt_state *st, struct upt_account *acct, const struct upt_now *now, struct upt_records *out)
{
    struct upt_buf *whole = &st->snapshot.scratch;
    upt_buf_clear(whole);
    upt_account_encode(st, whole, acct, now);
    size_t pages = (whole->len + UPT_PAGE_BYTES - 1) / UPT_PAGE_BYTES;
    upt_assert(pages <= UINT16_MAX);
    for (size_t page = 0; page < pages; page++) {
        size_t at = page * UPT_PAGE_BYTES;
        begin(&st->codec);
        if (page == 0) {
            upt_buf_put_varint(&st->codec, pages);
        }
        if (page == 0 && pages > 1) {
            upt_buf_put_varint(&st->codec, whole->len);
            upt_buf_put_le64(&st->codec, upt_hash(whole->p, whole->len));
        }
        upt_buf_put(&st->codec, whole->p + at, page + 1 < pages ? UPT_PAGE_BYTES : whole->len - at);
        finish(st, &acct->item, (uint32_t)page, out);
    }
    if (pages > acct->item.pages) {
        acct->item.pages = (uint16_t)pages;
    }
}

void
upt_codec_encode(struct upt_state *st, struct upt_item *item, const struct upt_now *now, struct upt_records *out)
{
    if (upt_item_is_packed(item)) {
        struct upt_account *acct = upt_packed_read(st, (struct upt_packed *)(void *)item, now);
        encode_account(st, acct, now, out);
        item->pages = acct->item.pages;
        upt_account_free(st, acct);
        return;
    }
    if (item->kind == UPT_ITEM_ACCOUNT) {
        encode_account(st, (struct upt_account *)(void *)item, now, out);
        return;
    }
    begin(&st->codec);
    if (item->kind == UPT_ITEM_FEATURE) {
        const struct upt_feature *feature = (struct upt_feature *)(void *)item;
        upt_buf_put_varint(&st->codec, feature->id);
        upt_buf_put_zigzag(&st->codec, now->ms);
        put_rings(&st->codec, &feature->rings, now);
    } else {
        upt_buf_put_zigzag(&st->codec, now->ms);
        put_rings(&st->codec, &st->totals.rings, now);
        struct upt_buf kept = {0};
        if (st->observer.encode_partition != NULL) {
            st->observer.encode_partition(st->config.observer_ctx, &kept);
        }
        put_str(&st->codec, (struct upt_str){.p = kept.p, .len = (uint32_t)kept.len});
        upt_buf_fini(&kept);
    }
    finish(st, item, 0, out);
}
