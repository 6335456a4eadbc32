/* The lane's side of the view: frames into the ring, and the table of partitions. See view.h.
 *
 * Ownership goes through the table and not through the ring, so that it can be given up while the ring is full and
 * Redis away: frames of a former ownership carry its number and are dropped. */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "aggregate/view/internal.h"
#include "uptake/assert.h"

#define RING_BYTES ((size_t)8 << 20)
#define ROOM_BYTES ((size_t)64 << 10) /* for a row of hundreds of features */

struct upt_view_part *
upt_view_find(struct upt_view *view, int32_t partition)
{
    for (size_t i = 0; i < view->parts_n; i++) {
        if (view->parts[i].partition == partition) {
            return &view->parts[i];
        }
    }
    return NULL;
}

static void
ring_doorbell(struct upt_view *view)
{
    uint64_t one = 1;
    (void)!write(view->doorbell, &one, sizeof(one));
}

void
upt_view_own(struct upt_view *view, int32_t partition, int64_t epoch)
{
    pthread_mutex_lock(&view->lock);
    struct upt_view_part *part = upt_view_find(view, partition);
    if (part == NULL) {
        if (view->parts_n == view->parts_cap) {
            view->parts_cap = view->parts_cap == 0 ? 16 : view->parts_cap * 2;
            struct upt_view_part *grown = realloc(view->parts, view->parts_cap * sizeof(*grown));
            upt_assert(grown != NULL);
            view->parts = grown;
        }
        part = &view->parts[view->parts_n++];
        memset(part, 0, sizeof(*part));
        part->partition = partition;
        part->highest = UPT_POS_NONE;
    }
    part->gen++;
    part->epoch = epoch;
    part->owned = part->take = true;
    part->refused = part->floor_known = part->repair = false;
    part->lane_round = part->round;
    part->floor = UPT_POS_NONE;
    part->stored = 0;
    pthread_mutex_unlock(&view->lock);
    ring_doorbell(view);
}

void
upt_view_segments(struct upt_view *view, struct upt_str names)
{
    pthread_mutex_lock(&view->lock);
    upt_buf_clear(&view->segments);
    upt_buf_put(&view->segments, names.p == NULL ? "" : names.p, names.len);
    view->segments_changed = true;
    pthread_mutex_unlock(&view->lock);
    ring_doorbell(view);
}

void
upt_view_disown(struct upt_view *view, int32_t partition)
{
    pthread_mutex_lock(&view->lock);
    struct upt_view_part *part = upt_view_find(view, partition);
    if (part != NULL) {
        part->owned = false;
        part->gen++;
    }
    for (size_t i = 0; i < view->strays_n;) {
        if (view->strays[i].partition == partition) {
            upt_buf_fini(&view->strays[i].account);
            view->strays[i] = view->strays[--view->strays_n];
        } else {
            i++;
        }
    }
    pthread_mutex_unlock(&view->lock);
}

bool
upt_view_floor(struct upt_view *view, int32_t partition, struct upt_pos *ret)
{
    pthread_mutex_lock(&view->lock);
    const struct upt_view_part *part = upt_view_find(view, partition);
    bool known = part != NULL && part->owned && part->floor_known;
    if (known) {
        *ret = part->floor;
    }
    pthread_mutex_unlock(&view->lock);
    return known;
}

uint64_t
upt_view_stored(struct upt_view *view, int32_t partition)
{
    pthread_mutex_lock(&view->lock);
    const struct upt_view_part *part = upt_view_find(view, partition);
    uint64_t number = part != NULL && part->owned ? part->stored : 0;
    pthread_mutex_unlock(&view->lock);
    return number;
}

bool
upt_view_take_repair(struct upt_view *view, int32_t partition)
{
    pthread_mutex_lock(&view->lock);
    struct upt_view_part *part = upt_view_find(view, partition);
    /* Not before the marker is taken anew: what is pushed from here on counts, so it must be above the floor. */
    bool repair = part != NULL && part->owned && part->repair && part->floor_known;
    if (repair) {
        part->repair = false;
        part->lane_round = part->round;
    }
    pthread_mutex_unlock(&view->lock);
    return repair;
}

bool
upt_view_take_stray(struct upt_view *view, int32_t partition, struct upt_buf *ret_account)
{
    bool found = false;
    pthread_mutex_lock(&view->lock);
    /* Not before the lane has heard of the last loss: of an account that it has now and forgets before then, it would
     * push the deletion in vain, and the stray would be gone. */
    const struct upt_view_part *part = upt_view_find(view, partition);
    bool heard = part != NULL && part->lane_round == part->round;
    for (size_t i = 0; i < view->strays_n && heard && !found; i++) {
        if (view->strays[i].partition == partition) {
            upt_buf_clear(ret_account);
            upt_buf_put(ret_account, view->strays[i].account.p, view->strays[i].account.len);
            upt_buf_fini(&view->strays[i].account);
            view->strays[i] = view->strays[--view->strays_n];
            found = true;
        }
    }
    pthread_mutex_unlock(&view->lock);
    return found;
}

upt_sweep
upt_view_sweep(struct upt_view *view, int32_t partition)
{
    atomic_store(&view->hurry, true);
    pthread_mutex_lock(&view->lock);
    const struct upt_view_part *part = upt_view_find(view, partition);
    bool over = part != NULL && !part->take && !view->walking;
    upt_sweep sweep = over ? UPT_SWEEP_OVER : UPT_SWEEP_WALKING;
    for (size_t i = 0; i < view->strays_n && sweep != UPT_SWEEP_STRAYS; i++) {
        sweep = view->strays[i].partition == partition ? UPT_SWEEP_STRAYS : sweep;
    }
    pthread_mutex_unlock(&view->lock);
    return sweep;
}

bool
upt_view_connected(const struct upt_view *view)
{
    return atomic_load(&view->connected);
}

/* ---- frames ---- */

static char *
put(char *to, const void *p, size_t len)
{
    if (len > 0) {
        memcpy(to, p, len);
    }
    return to + len;
}

static size_t
padded(size_t len) /* of a frame with so much after its head */
{
    return (len + sizeof(struct upt_view_frame) + 7) & ~(size_t)7;
}

/* Room for a frame; its head filled in. NULL: the ring is full. What is read of the table is written by this thread
 * alone, so this needs no lock. */
static char *
begin(struct upt_view *view, upt_frame_type type, int32_t partition, struct upt_pos pos, uint32_t features_n,
      size_t len)
{
    const struct upt_view_part *part = upt_view_find(view, partition);
    uint64_t gen = part != NULL ? part->gen : 0, round = part != NULL ? part->lane_round : 0;
    len = padded(len);
    char *at = upt_ring_reserve(view->ring, len);
    if (at == NULL) {
        ring_doorbell(view);
        return NULL;
    }
    struct upt_view_frame frame = {.type = type,
                                   .partition = partition,
                                   .gen = gen,
                                   .round = round,
                                   .len = (uint32_t)len,
                                   .features_n = features_n,
                                   .pos = pos};
    return put(at, &frame, sizeof(frame));
}

bool
upt_view_has_room(const struct upt_view *view)
{
    size_t capacity = upt_ring_capacity(view->ring);
    size_t room = ROOM_BYTES < capacity / 4 ? ROOM_BYTES : capacity / 4;
    return upt_ring_used(view->ring) + room <= capacity;
}

bool
upt_view_push_row(struct upt_view *view, const struct upt_row *row, const struct upt_feature_days *features, size_t n)
{
    size_t len = sizeof(*row) + row->account.len + row->segment.len + row->tier.len + row->renewal_date.len;
    bool rest = (row->changed & UPT_ROW_REST) != 0;
    bool signals = (row->changed & UPT_ROW_SIGNALS) != 0;
    len += rest ? row->segments.len + row->controlled.len : 0;
    len += signals ? row->signals.len : 0;
    for (size_t i = 0; i < n; i++) {
        len += 2 * sizeof(uint32_t) + features[i].feature.len;
    }
    char *at = begin(view, UPT_FRAME_ROW, row->partition, row->pos, (uint32_t)n, len);
    if (at == NULL) {
        return false;
    }
    at = put(at, row, sizeof(*row));
    at = put(at, row->account.p, row->account.len);
    at = put(at, row->segment.p, row->segment.len);
    at = put(at, row->tier.p, row->tier.len);
    at = put(at, row->renewal_date.p, row->renewal_date.len);
    if (rest) {
        at = put(put(at, row->segments.p, row->segments.len), row->controlled.p, row->controlled.len);
    }
    at = signals ? put(at, row->signals.p, row->signals.len) : at;
    for (size_t i = 0; i < n; i++) {
        const uint32_t head[2] = {features[i].feature.len, features[i].days};
        at = put(put(at, head, sizeof(head)), features[i].feature.p, features[i].feature.len);
    }
    upt_ring_commit(view->ring, padded(len));
    return true;
}

bool
upt_view_push_forgotten(struct upt_view *view, int32_t partition, struct upt_pos pos, struct upt_str account)
{
    char *at = begin(view, UPT_FRAME_FORGOTTEN, partition, pos, account.len, account.len);
    if (at != NULL) {
        put(at, account.p, account.len);
        upt_ring_commit(view->ring, padded(account.len));
    }
    return at != NULL;
}

bool
upt_view_push_feature(struct upt_view *view, const struct upt_feature_row *row)
{
    size_t len = sizeof(*row) + row->feature.len;
    char *at = begin(view, UPT_FRAME_FEATURE, row->partition, row->pos, 0, len);
    if (at != NULL) {
        put(put(at, row, sizeof(*row)), row->feature.p, row->feature.len);
        upt_ring_commit(view->ring, padded(len));
    }
    return at != NULL;
}

bool
upt_view_push_totals(struct upt_view *view, const struct upt_totals_row *row)
{
    char *at = begin(view, UPT_FRAME_TOTALS, row->partition, row->pos, 0, sizeof(*row));
    if (at != NULL) {
        put(at, row, sizeof(*row));
        upt_ring_commit(view->ring, padded(sizeof(*row)));
    }
    return at != NULL;
}

bool
upt_view_push_flush(struct upt_view *view, const struct upt_view_flush *flush)
{
    char *at = begin(view, UPT_FRAME_FLUSH, flush->partition, flush->pos, 0, sizeof(*flush));
    if (at != NULL) {
        put(at, flush, sizeof(*flush));
        upt_ring_commit(view->ring, padded(sizeof(*flush)));
        ring_doorbell(view);
    }
    return at != NULL;
}

/* ---- life ---- */

void *upt_view_main(void *arg);

static char *
copy(const char *text)
{
    size_t len = text != NULL ? strlen(text) : 0;
    char *p = malloc(len + 1);
    upt_assert(p != NULL);
    if (len > 0) {
        memcpy(p, text, len);
    }
    p[len] = '\0';
    return p;
}

upt_status
upt_view_create(const struct upt_view_config *config, struct upt_view **ret, struct upt_error *reterr)
{
    struct upt_view *view = calloc(1, sizeof(*view));
    if (view == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    view->config = *config;
    view->config.url = view->url = copy(config->url);
    view->config.user = view->user = copy(config->user);
    view->config.password = view->password = copy(config->password);
    view->config.prefix = view->prefix = copy(config->prefix);
    view->config.owner = view->owner = copy(config->owner);
    upt_encode(&view->marker_owner, view->owner, strlen(view->owner));
    upt_buf_put(&view->marker_owner, "", 1);
    upt_metric_set(config->metrics, UPT_M_REDIS_UP, 0);
    pthread_mutex_init(&view->lock, NULL);
    view->doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    upt_status status = upt_ring_create(config->ring_bytes > 0 ? config->ring_bytes : RING_BYTES, &view->ring, reterr);
    if (status == UPT_OK && (view->doorbell < 0 || pthread_create(&view->thread, NULL, upt_view_main, view) != 0)) {
        status = upt_fail(reterr, UPT_EIO, "cannot start the view's thread");
    }
    if (status != UPT_OK) {
        upt_view_destroy(&view);
        return status;
    }
    view->started = true;
    *ret = view;
    return UPT_OK;
}

void
upt_view_destroy(struct upt_view **view_p)
{
    struct upt_view *view = *view_p;
    if (view == NULL) {
        return;
    }
    atomic_store(&view->stop, true);
    if (view->started) {
        ring_doorbell(view);
        pthread_join(view->thread, NULL);
    }
    if (view->doorbell >= 0) {
        close(view->doorbell);
    }
    for (size_t i = 0; i < view->strays_n; i++) {
        upt_buf_fini(&view->strays[i].account);
    }
    for (size_t i = 0; i < view->features_n; i++) {
        upt_buf_fini(&view->features[i]);
    }
    free(view->features);
    free(view->feature_slots);
    upt_buf_fini(&view->marker_owner);
    upt_buf_fini(&view->segments);
    upt_buf_fini(&view->declared);
    free(view->parts);
    upt_ring_destroy(&view->ring);
    upt_buf_fini(&view->batch);
    upt_buf_fini(&view->out);
    upt_buf_fini(&view->key);
    free(view->days);
    free(view->ranks);
    free(view->url);
    free(view->user);
    free(view->password);
    free(view->prefix);
    free(view->owner);
    pthread_mutex_destroy(&view->lock);
    free(view);
    *view_p = NULL;
}
