/* Snapshots: what changed since the last one, consistent at one position, handed out while the state goes on.
 *
 * To begin is O(1) in the accounts that did not change: the queue of changed items becomes the queue of those pending,
 * and the generation grows, by which an item knows the queue that its ticket belongs to. An item that is about to
 * change while it is pending is serialised first (copy on write), as of the snapshot's clock, and leaves the queue.
 * Cutting off what left a window is such a change, too: at the snapshot's clock it was still there.
 *
 *     changed ──begin──► pending ──its turn, or about to change──► queue of records ──► snapshot_next
 *        ▲                                                                                   │
 *        └───────────────────────────── snapshot_failed ◄────────────────────────────────────┘
 *
 * Deletions come first, so that an account forgotten and born again ends up with its new records.
 *
 * @locality: the thread that owns the state. */
#include "aggregate/state/internal.h"
#include "uptake/assert.h"

static bool
is_pending(const struct upt_state *st, const struct upt_item *item)
{
    return (item->flags & UPT_ITEM_QUEUED) != 0 && item->changed != st->snapshot.generation;
}

static void
save(struct upt_state *st, struct upt_item *item)
{
    struct upt_snapshot *snapshot = &st->snapshot;
    item->flags &= (uint8_t)~UPT_ITEM_QUEUED;
    item->saved = snapshot->generation;
    upt_codec_encode(st, item, &snapshot->now, &snapshot->queue);
}

void
upt_item_before(struct upt_state *st, struct upt_item *item)
{
    if (is_pending(st, item)) {
        upt_deque_drop(&st->snapshot.pending, item->queue);
        save(st, item);
    }
}

static void
queue_up(struct upt_state *st, struct upt_item *item)
{
    item->queue = upt_deque_push(&st->mem, &st->snapshot.changed, item);
    item->flags |= UPT_ITEM_QUEUED;
    item->changed = st->snapshot.generation;
}

void
upt_item_changed(struct upt_state *st, struct upt_item *item)
{
    upt_item_before(st, item);
    if ((item->flags & UPT_ITEM_QUEUED) == 0) {
        queue_up(st, item);
    }
}

void
upt_item_touch_first(struct upt_state *st, struct upt_item *item)
{
    upt_item_changed(st, item);
    upt_item_dirty(st, item);
}

void
upt_item_gone(struct upt_state *st, struct upt_item *item)
{
    struct upt_snapshot *snapshot = &st->snapshot;
    upt_item_before(st, item);
    if ((item->flags & UPT_ITEM_QUEUED) != 0) {
        upt_deque_drop(&snapshot->changed, item->queue);
    }
    upt_item_taken(st, item);
    for (uint32_t page = 0; page < item->pages; page++) {
        upt_codec_key(item, page, &snapshot->scratch_key);
        struct upt_str key = {.p = snapshot->scratch_key.p, .len = (uint32_t)snapshot->scratch_key.len};
        upt_records_push(&snapshot->gone, key, UPT_STR_NULL);
    }
}

/* Every item, of whatever kind. */
static void
for_all(struct upt_state *st, void (*visit)(struct upt_state *, struct upt_item *))
{
    struct upt_item *item;
    for (size_t cursor = 0; (item = upt_state_next_item(st, &cursor)) != NULL;) {
        visit(st, item);
    }
    for (uint32_t i = 0; i < st->features.n; i++) {
        visit(st, &st->features.v[i]->item);
    }
    visit(st, &st->totals.item);
}

void
upt_state_snapshot_begin(struct upt_state *st, bool all)
{
    struct upt_snapshot *snapshot = &st->snapshot;
    upt_assert(!snapshot->active);
    if (all) {
        for_all(st, upt_item_changed);
    }
    upt_deque_fini(&st->mem, &snapshot->pending);
    snapshot->pending = snapshot->changed;
    snapshot->changed = (struct upt_deque){0};
    upt_buf_clear(&snapshot->deleted.buf);
    struct upt_records spare = snapshot->deleted;
    snapshot->deleted = snapshot->gone;
    snapshot->gone = (struct upt_records){.buf = spare.buf};
    snapshot->generation++;
    snapshot->now = st->now;
    snapshot->active = true;
}

static void
put(struct upt_buf *buf, struct upt_str s)
{
    upt_buf_clear(buf);
    if (s.len > 0) {
        upt_buf_put(buf, s.p, s.len);
    }
}

/* deleted is kept until the next snapshot begins, in case this one fails: only its reading place moves on. */
static bool
next_deleted(struct upt_records *deleted, struct upt_str *ret_key, struct upt_str *ret_value)
{
    return deleted->at < deleted->buf.len && upt_records_pop(deleted, ret_key, ret_value);
}

bool
upt_state_snapshot_next(struct upt_state *st, struct upt_buf *key, struct upt_buf *value)
{
    struct upt_snapshot *snapshot = &st->snapshot;
    struct upt_str next_key;
    struct upt_str next_value;
    if (!snapshot->active) {
        return false;
    }
    while (!next_deleted(&snapshot->deleted, &next_key, &next_value) &&
           !upt_records_pop(&snapshot->queue, &next_key, &next_value)) {
        struct upt_item *item = upt_deque_pop(&st->mem, &snapshot->pending);
        if (item == NULL) {
            snapshot->active = false;
            upt_buf_clear(key);
            upt_buf_clear(value);
            return false;
        }
        save(st, item);
    }
    put(key, next_key);
    put(value, next_value);
    return true;
}

bool
upt_state_snapshot_active(const struct upt_state *st)
{
    return st->snapshot.active;
}

void
upt_state_snapshot_stored(struct upt_state *st)
{
    upt_assert(!st->snapshot.active);
    upt_buf_fini(&st->snapshot.deleted.buf);
    st->snapshot.deleted = (struct upt_records){0};
}

static void
change_again(struct upt_state *st, struct upt_item *item)
{
    if (item->saved == st->snapshot.generation) {
        item->saved = 0;
        upt_item_changed(st, item);
    }
}

void
upt_state_snapshot_failed(struct upt_state *st)
{
    struct upt_snapshot *snapshot = &st->snapshot;
    for (struct upt_item *item; (item = upt_deque_pop(&st->mem, &snapshot->pending)) != NULL;) {
        queue_up(st, item);
    }
    for_all(st, change_again);
    /* Its deletions, before those of since. */
    if (snapshot->gone.buf.len > 0) {
        upt_buf_put(&snapshot->deleted.buf, snapshot->gone.buf.p, snapshot->gone.buf.len);
    }
    struct upt_records spare = {.buf = snapshot->gone.buf};
    upt_buf_clear(&spare.buf);
    snapshot->gone = (struct upt_records){.buf = snapshot->deleted.buf};
    snapshot->deleted = spare;
    upt_buf_clear(&snapshot->queue.buf);
    snapshot->queue.at = 0;
    snapshot->active = false;
}
