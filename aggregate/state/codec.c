/* Checkpoint records: 'a' + account id (further pages of users: + 0x00 + page), 'f' + feature, 't'.
 *
 * A value is: format version, payload, low 32 bits of XXH3. Numbers are varints, times and days differences to a near
 * one; features go by name, so that a record stands alone. Users and their pairs are paged, 1,024 users each. */
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

#define FORMAT 1
#define PAGE_USERS 1024 /* and the pairs of these users */

static struct upt_str
str_of(const struct upt_buf *buf)
{
    return (struct upt_str){.p = buf->p, .len = (uint32_t)buf->len};
}

static void
put_str(struct upt_buf *out, struct upt_str s)
{
    upt_buf_put_varint(out, s.len);
    upt_buf_put(out, s.p, s.len);
}

static void
finish(struct upt_buf *key, struct upt_buf *value, struct upt_list *records)
{
    upt_buf_put_le32(value, (uint32_t)upt_hash(value->p, value->len));
    upt_list_put(records, upt_text_copy(str_of(key)));
    upt_list_put(records, upt_text_copy(str_of(value)));
    upt_buf_fini(key);
    upt_buf_fini(value);
}

static void
put_buckets(struct upt_buf *out, const struct upt_buckets *b)
{
    int32_t last = 0;
    upt_buf_put_varint(out, b->n);
    for (uint16_t i = 0; i < b->n; i++) {
        const struct upt_bucket *bucket = &b->v[i];
        upt_buf_put_zigzag(out, (int64_t)bucket->at - last);
        last = bucket->at;
        upt_buf_put_varint(out, bucket->events);
        upt_buf_put_varint(out, bucket->logins);
        upt_buf_put_varint(out, bucket->units_lo);
        upt_buf_put_varint(out, bucket->units_hi);
    }
}

static void
put_rings(struct upt_buf *out, const struct upt_rings *r)
{
    put_buckets(out, &r->minutes);
    put_buckets(out, &r->hours);
    put_buckets(out, &r->days);
}

static void
page_key(struct upt_buf *key, const struct upt_account *acct, uint32_t page)
{
    upt_buf_put(key, "a", 1);
    upt_buf_put(key, acct->id, acct->id_len);
    if (page > 0) {
        upt_buf_put(key, "", 1);
        upt_buf_put_u64(key, page);
    }
}

/* Users [from, to) and their pairs. */
static void
put_users(struct upt_buf *out, const struct upt_account *acct, uint32_t from, uint32_t to)
{
    uint32_t pairs = 0;
    upt_buf_put_varint(out, from);
    upt_buf_put_varint(out, to - from);
    for (uint32_t i = from; i < to; i++) {
        const struct upt_user *user = &acct->users.v[i];
        upt_buf_put_le64(out, user->hash);
        upt_buf_put_zigzag(out, user->hour);
        upt_buf_put_zigzag(out, user->adopt_day);
        upt_buf_put_varint(out, (uint64_t)user->adopt << 1 | (user->counted ? 1 : 0));
    }
    for (uint32_t i = 0; i < acct->pairs_cap; i++) {
        pairs += acct->pairs[i].user > from && acct->pairs[i].user <= to;
    }
    upt_buf_put_varint(out, pairs);
    for (uint32_t i = 0; i < acct->pairs_cap; i++) {
        const struct upt_pair *pair = &acct->pairs[i];
        if (pair->user > from && pair->user <= to) {
            upt_buf_put_varint(out, pair->user - 1 - from);
            upt_buf_put_varint(out, pair->feature);
            upt_buf_put_zigzag(out, pair->day);
        }
    }
}

static void
put_head(struct upt_state *st, struct upt_buf *out, struct upt_account *acct)
{
    upt_buf_put_zigzag(out, acct->first_seen);
    upt_buf_put_zigzag(out, acct->last_seen);
    upt_buf_put_zigzag(out, acct->last_clock);
    upt_buf_put_zigzag(out, acct->timer);
    upt_buf_put_zigzag(out, acct->daily);
    upt_buf_put_zigzag(out, acct->active_day);
    upt_buf_put_varint(out, acct->open_alerts);
    upt_buf_put_varint(out, acct->has_seats ? 1 : 0);
    upt_buf_put_zigzag(out, acct->micro_seats);
    put_rings(out, &acct->rings);
    upt_buf_put_varint(out, acct->features_n);
    for (uint32_t i = 0; i < acct->features_n; i++) {
        const struct upt_feature *f = st->features[acct->features[i].feature];
        put_str(out, (struct upt_str){.p = f->name, .len = f->len});
        upt_buf_put_zigzag(out, acct->features[i].day);
        upt_buf_put_varint(out, acct->features[i].days);
    }
    upt_buf_put_varint(out, acct->traits_n);
    for (uint32_t i = 0; i < acct->traits_n; i++) {
        put_str(out, upt_text_of(acct->traits[i].name));
        put_str(out, upt_text_of(acct->traits[i].value));
    }
    upt_buf_put_varint(out, acct->ids.n);
    for (uint32_t i = 0; i < acct->ids.n; i++) {
        const struct upt_id *id = &acct->ids.v[(acct->ids.head + i) % acct->ids.cap];
        upt_buf_put_le64(out, id->hash);
        upt_buf_put_zigzag(out, acct->last_clock - id->clock);
    }
    struct upt_buf ext = {0};
    if (st->config.observer != NULL && st->config.observer->encode != NULL) {
        st->config.observer->encode(st->config.observer_ctx, upt_account_ext(acct), &ext);
    }
    put_str(out, str_of(&ext));
    upt_buf_fini(&ext);
}

void
upt_codec_account(struct upt_state *st, struct upt_account *acct, struct upt_list *records)
{
    uint32_t users = acct->users.n;
    uint32_t pages = users == 0 ? 1 : (users + PAGE_USERS - 1) / PAGE_USERS;
    for (uint32_t page = 0; page < pages; page++) {
        struct upt_buf key = {0}, value = {0};
        page_key(&key, acct, page);
        upt_buf_put(&value, &(char){FORMAT}, 1);
        upt_buf_put_varint(&value, pages);
        if (page == 0) {
            put_head(st, &value, acct);
        }
        uint32_t from = page * PAGE_USERS;
        put_users(&value, acct, from, from + PAGE_USERS < users ? from + PAGE_USERS : users);
        finish(&key, &value, records);
    }
    acct->pages = pages > acct->pages ? pages : acct->pages;
}

void
upt_codec_tombs(const struct upt_account *acct, struct upt_list *keys)
{
    for (uint32_t page = 0; page < acct->pages || page == 0; page++) {
        struct upt_buf key = {0};
        page_key(&key, acct, page);
        upt_list_put(keys, upt_text_copy(str_of(&key)));
        upt_buf_fini(&key);
    }
}

void
upt_codec_feature(struct upt_state *st, const struct upt_feature *f, struct upt_list *records)
{
    (void)st;
    struct upt_buf key = {0}, value = {0};
    upt_buf_put(&key, "f", 1);
    upt_buf_put(&key, f->name, f->len);
    upt_buf_put(&value, &(char){FORMAT}, 1);
    put_rings(&value, &f->rings);
    finish(&key, &value, records);
}

void
upt_codec_totals(struct upt_state *st, struct upt_list *records)
{
    struct upt_buf key = {0}, value = {0};
    upt_buf_put(&key, "t", 1);
    upt_buf_put(&value, &(char){FORMAT}, 1);
    put_rings(&value, &st->rings);
    finish(&key, &value, records);
}
