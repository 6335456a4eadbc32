/* Packed accounts: what has been idle for pack_after_ms is held as its checkpoint record, about a third of the room.
 *
 * A packed account stands in the table, in the wheel and in the queues in its account's place, by an upt_item of its
 * own with the flag PACKED: so marks, tickets and pages stay as they are. Beside the record it keeps what a checkpoint
 * does not hold, which is what rows said last, and the minutes at which it has to be looked at: it sleeps through every
 * other one. That a window moves only marks its row; the account is unpacked for a decision, an event, or a row.
 *
 *     account ──pack──► packed ──next change──► packed, dirty
 *        ▲                                          │
 *        └─── event, decision, row, walk ◄──────────┘     (of a row or a walk: packed again by the next step)
 *
 * The checkpoint's encoding, because it is exact, relative to a clock, without what has expired, and tested: unpacking
 * is what a restore does, less the sums over accounts, which do not change while it is packed.
 *
 * Invariants: an account that is packed holds no event ids, and is not in any queue when it is packed, so that no
 * snapshot waits for a state of before. Nothing that can be seen from outside hangs on whether something is packed.
 * Hints lead to accounts only: packing and unpacking raise st->removed.
 *
 * @locality: the thread that owns the state. */
#include <stddef.h>

#include "aggregate/state/internal.h"
#include "uptake/assert.h"

#define USERS_MAX (UINT16_MAX / 10) /* each takes 10 bytes of the record at least */
#define USES_A_BYTE 4               /* two bits each: SHOWN, NEWS */
#define USED_SHIFT 30
#define MINUTES_MAX (INT64_C(1) << 30) /* ahead; it is looked at every day */

struct upt_packed {
    struct upt_item item; /* first, as in an account */
    uint64_t shown[4];    /* as in an account */
    uint32_t change;      /* minute of the next change of the row, modulo 2^32; not looked at while it is dirty */
    uint32_t decision;    /* minute of the timer or of the end of retention */
    uint16_t shown_days;  /* between shown_day and the day of packing; UINT16_MAX: or more */
    uint16_t id_len, record_len, uses_n;
    char tail[]; /* the id, the record, two bits for each feature used */
};

static struct upt_packed *
packed_of(struct upt_item *item)
{
    upt_assert(upt_item_is_packed(item));
    return (struct upt_packed *)(void *)item;
}

static size_t
size_of(const struct upt_packed *packed)
{
    return offsetof(struct upt_packed, tail) + packed->id_len + packed->record_len +
           (packed->uses_n + USES_A_BYTE - 1U) / USES_A_BYTE;
}

struct upt_str
upt_packed_id(const struct upt_packed *packed)
{
    return (struct upt_str){.p = packed->tail, .len = packed->id_len};
}

void
upt_packed_free(struct upt_state *st, struct upt_packed *packed)
{
    (void)upt_mem_resize(&st->mem, packed, size_of(packed), 0);
}

/* ---- when ---- */

/* Modulo 2^32, and not so far that it could be mistaken. */
static uint32_t
minute_within(const struct upt_state *st, int64_t ms)
{
    int64_t last = st->now.b[UPT_R_MINUTE] + MINUTES_MAX;
    int64_t minute = upt_minute_at(ms);
    return (uint32_t)(minute < last ? minute : last);
}

static int32_t
minutes_until(const struct upt_state *st, uint32_t minute)
{
    return (int32_t)(minute - (uint32_t)st->now.b[UPT_R_MINUTE]);
}

static void
rearm(struct upt_state *st, struct upt_packed *packed)
{
    struct upt_str id = upt_packed_id(packed);
    int64_t now = st->now.b[UPT_R_MINUTE];
    int64_t due = upt_daily_after(st, upt_hash(id.p, id.len)) / UPT_MINUTE_MS;
    int64_t decision = now + minutes_until(st, packed->decision);
    due = decision < due ? decision : due;
    if ((packed->item.flags & UPT_ITEM_DIRTY) == 0) {
        int64_t change = now + minutes_until(st, packed->change);
        due = change < due ? change : due;
    }
    upt_wheel_arm(&st->wheel, &packed->item, upt_within_reach(st, due));
}

/* ---- packing ---- */

static bool
may_pack(const struct upt_state *st, const struct upt_account *acct)
{
    return (acct->item.flags & (UPT_ITEM_DIRTY | UPT_ITEM_QUEUED | UPT_ITEM_PACKED)) == 0 && acct->dedup == NULL &&
           st->config.pack_after_ms > 0 && st->now.ms - acct->accepted >= st->config.pack_after_ms &&
           acct->item.pages <= 1 && acct->users.n <= USERS_MAX && acct->uses.n <= UINT16_MAX &&
           (st->observer.ext_size == 0 || st->observer.encode != NULL);
}

/* What leads to an item now leads to another with the same marks. */
static void
relink(struct upt_state *st, uint64_t hash, const struct upt_item *from, struct upt_item *to)
{
    upt_table_replace(&st->accounts, hash, from, to);
    if ((to->flags & UPT_ITEM_DIRTY) != 0) {
        upt_deque_set(upt_rows_queue(st, to), to->dirty, to);
    }
    if ((to->flags & UPT_ITEM_QUEUED) != 0) {
        upt_deque_set(&st->snapshot.changed, to->queue, to);
    }
    st->removed++;
}

static void
put_used_bits(const struct upt_uses *uses, char *out)
{
    for (uint32_t i = 0; i < uses->n; i++) {
        unsigned char *byte = (unsigned char *)&out[i / USES_A_BYTE];
        *byte = (unsigned char)(*byte | uses->v[i].bits >> USED_SHIFT << 2 * (i % USES_A_BYTE));
    }
}

static bool
pack(struct upt_state *st, struct upt_account *acct)
{
    struct upt_buf *record = &st->snapshot.scratch;
    upt_buf_clear(record);
    upt_account_encode(st, record, acct, &st->now);
    if (record->len > UINT16_MAX) {
        return false;
    }
    int64_t days = st->now.b[UPT_R_DAY] - acct->shown_day;
    const struct upt_packed head = {
        .shown_days = (uint16_t)(days >= 0 && days < UINT16_MAX ? days : UINT16_MAX),
        .id_len = acct->id_len,
        .record_len = (uint16_t)record->len,
        .uses_n = (uint16_t)acct->uses.n,
        .change = minute_within(st, upt_account_next_change(st, acct, &st->now)),
        .decision = minute_within(st, upt_account_next_decision(st, acct)),
    };
    upt_wheel_disarm(&st->wheel, &acct->item);
    struct upt_packed *packed = upt_mem_resize(&st->mem, NULL, 0, size_of(&head));
    *packed = head;
    packed->item = acct->item;
    packed->item.flags |= UPT_ITEM_PACKED;
    memcpy(packed->shown, acct->shown, sizeof(packed->shown));
    memcpy(packed->tail, acct->tail, acct->id_len);
    memcpy(packed->tail + acct->id_len, record->p, record->len);
    put_used_bits(&acct->uses, packed->tail + acct->id_len + record->len);
    relink(st, acct->hash, &acct->item, &packed->item);
    rearm(st, packed);
    upt_account_free(st, acct);
    return true;
}

size_t
upt_state_pack(struct upt_state *st, size_t n)
{
    size_t packed = 0;
    upt_packed_put_back(st);
    for (n = n < st->accounts.n ? n : st->accounts.n; n > 0; n--) {
        struct upt_item *item = upt_state_next_item(st, &st->pack_cursor);
        if (item == NULL) {
            st->pack_cursor = 0;
            item = upt_state_next_item(st, &st->pack_cursor);
        }
        if (!upt_item_is_packed(item)) {
            struct upt_account *acct = (struct upt_account *)(void *)item;
            packed += may_pack(st, acct) && pack(st, acct);
        }
    }
    return packed;
}

/* ---- unpacking ---- */

struct upt_account *
upt_packed_read(struct upt_state *st, const struct upt_packed *packed, const struct upt_now *now)
{
    struct upt_str id = upt_packed_id(packed);
    struct upt_account *acct = upt_account_create(st, id, upt_hash(id.p, id.len));
    struct upt_cur cur = upt_cur_of((struct upt_str){.p = packed->tail + packed->id_len, .len = packed->record_len});
    bool ok = upt_account_decode(st, &cur, acct);
    upt_assert(ok && acct->uses.n == packed->uses_n && acct->day <= now->b[UPT_R_DAY]);
    const unsigned char *bits = (const unsigned char *)packed->tail + packed->id_len + packed->record_len;
    for (uint32_t i = 0; i < acct->uses.n; i++) {
        acct->uses.v[i].bits |= (uint32_t)(bits[i / USES_A_BYTE] >> 2 * (i % USES_A_BYTE)) << USED_SHIFT;
    }
    acct->item = packed->item;
    acct->item.prev = acct->item.next = NULL;
    acct->item.flags &= (uint8_t) ~(UPT_ITEM_PACKED | UPT_ITEM_ARMED);
    memcpy(acct->shown, packed->shown, sizeof(acct->shown));
    acct->shown_day = acct->day - packed->shown_days;
    upt_rings_revive(&st->mem, &acct->rings, acct->day, now);
    return acct;
}

struct upt_account *
upt_packed_unpack(struct upt_state *st, struct upt_packed *packed)
{
    upt_item_before(st, &packed->item);
    struct upt_account *acct = upt_packed_read(st, packed, &st->now);
    upt_wheel_disarm(&st->wheel, &packed->item);
    relink(st, acct->hash, &packed->item, &acct->item);
    upt_packed_free(st, packed);
    upt_account_rearm(st, acct);
    return acct;
}

struct upt_account *
upt_packed_unpack_to_read(struct upt_state *st, struct upt_item *item)
{
    st->unpacked = upt_packed_unpack(st, packed_of(item));
    return st->unpacked;
}

void
upt_packed_put_back(struct upt_state *st)
{
    struct upt_account *acct = st->unpacked;
    st->unpacked = NULL;
    if (acct != NULL && may_pack(st, acct)) {
        (void)pack(st, acct);
    }
}

/* ---- ticks ---- */

struct upt_account *
upt_packed_due(struct upt_state *st, struct upt_item *item)
{
    struct upt_packed *packed = packed_of(item);
    struct upt_str id = upt_packed_id(packed);
    if ((item->flags & UPT_ITEM_DIRTY) == 0 && minutes_until(st, packed->change) <= 0) {
        upt_item_later(st, item);
    }
    if (minutes_until(st, packed->decision) <= 0 || upt_is_daily(st, upt_hash(id.p, id.len))) {
        return upt_packed_unpack(st, packed);
    }
    rearm(st, packed);
    return NULL;
}
