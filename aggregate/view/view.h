/* The Redis view: rows, features, totals, ranks and the partition table, published from memory (contract §3).
 *
 * Redis is a view: it can be behind, go back or vanish. One view object a lane, with its own thread and connection.
 * The lane pushes rows into a bounded ring; the view formats and writes them. The guard is one marker key for each
 * partition (and node): {epoch, owner, position, sequence}. A flush WATCHes it, checks that it is the one written last,
 * and writes rows and the new marker in one MULTI/EXEC:
 *   - another owner with a higher epoch: refuse; the lane has lost the partition or will hear of it
 *   - missing, or older than the one written last: Redis lost writes; take it anew and ask the lane for everything
 * (repair) Epochs come from the progress record in Kafka, and grow with every owner of a partition. */
#ifndef UPT_VIEW_H
#define UPT_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uptake/metrics.h"
#include "uptake/position.h"
#include "uptake/row.h"
#include "uptake/status.h"
#include "uptake/str.h"

struct upt_view;

struct upt_view_config {
    const char *url;             /* redis://[user:password@]host:port[/db]; secrets never logged */
    const char *user, *password; /* override the URL's; NULL or "": none */
    const char *prefix;
    const char *owner; /* names this process in uptake:partitions and in markers */
    int64_t timeout_ms, flush_interval_ms, repair_interval_ms;
    size_t ring_bytes;           /* 0: 8 MiB */
    struct upt_metrics *metrics; /* written by the view's thread: its own set */
};

UPT_NODISCARD upt_status upt_view_create(const struct upt_view_config *config, struct upt_view **ret,
                                         struct upt_error *reterr);
/* Ends the thread. Rows still in the ring are dropped; wait for upt_view_stored first. */
void upt_view_destroy(struct upt_view **view_p);

/* ---- lane side: all calls from the lane's thread; those that push return false when the ring is full ---- */

/* The segments declared, commas between them; "": none. Sets of others are deleted, and every row that is written says
 * for each of these whether the account is in it. To be called before the first row. */
void upt_view_segments(struct upt_view *view, struct upt_str names);
/* This lane now owns the partition, as epoch. The view takes the marker and learns the floor. */
void upt_view_own(struct upt_view *view, int32_t partition, int64_t epoch);
/* It does not any more: queued rows of it are dropped, none is written after the view has seen this. */
void upt_view_disown(struct upt_view *view, int32_t partition);
/* True once the marker is taken: *ret is the highest position that any row of this partition in Redis may carry.
 * Rows below it must not be pushed. False: not known yet (Redis away). */
bool upt_view_floor(struct upt_view *view, int32_t partition, struct upt_pos *ret);
/* Whether a row of usual size fits into the ring now. */
bool upt_view_has_room(const struct upt_view *view);
bool upt_view_push_row(struct upt_view *view, const struct upt_row *row, const struct upt_feature_days *features,
                       size_t n);
/* Deletes all keys of the account, its entries in ranks and segments too. */
bool upt_view_push_forgotten(struct upt_view *view, int32_t partition, struct upt_pos pos, struct upt_str account);
bool upt_view_push_feature(struct upt_view *view, const struct upt_feature_row *row);
bool upt_view_push_totals(struct upt_view *view, const struct upt_totals_row *row);

struct upt_view_flush {
    int32_t partition;
    struct upt_pos pos; /* everything that changed up to here has been pushed */
    int64_t as_of;      /* UPT_NO_CLOCK: no record yet */
    int64_t end_offset; /* −1: unknown */
    int64_t wall_ms;    /* field `updated` */
    uint64_t number;    /* of the lane's flushes of it, from 1 */
};
/* Ends a flush of the partition and writes its entry of uptake:partitions. Cheap when nothing else was pushed. */
bool upt_view_push_flush(struct upt_view *view, const struct upt_view_flush *flush);

/* The number of the last flush that is in Redis; 0: none yet under this epoch, or Redis lost it. */
uint64_t upt_view_stored(struct upt_view *view, int32_t partition);
/* True once for each time that Redis was found to have lost writes: mark everything dirty and push it. */
bool upt_view_take_repair(struct upt_view *view, int32_t partition);
/* The slow sweep found a key of this partition that may be stray (a forgotten account brought back by an older Redis):
 * answer with a row or with forgotten. Copies the account into buf. False: none, or a repair is to be taken first. */
bool upt_view_take_stray(struct upt_view *view, int32_t partition, struct upt_buf *ret_account);
/* How far that is. To ask is to wait: from then on the walk over the keys makes no pauses. */
typedef enum upt_sweep { UPT_SWEEP_OVER, UPT_SWEEP_WALKING, UPT_SWEEP_STRAYS /* to be taken */ } upt_sweep;
upt_sweep upt_view_sweep(struct upt_view *view, int32_t partition);
bool upt_view_connected(const struct upt_view *view);

/* ---- for commands: a plain connection with the same URL handling (AUTH, SELECT, time-outs) ---- */
struct redisContext;
UPT_NODISCARD upt_status upt_redis_connect(const struct upt_view_config *config, struct redisContext **ret,
                                           struct upt_error *reterr);
/* Names in keys: bytes 0x00–0x20, 0x7F, '{', '}', '%' percent-encoded. */
void upt_view_key(struct upt_buf *out, const char *prefix, const char *family, struct upt_str name, const char *suffix);

/* The name in "PREFIX FAMILY{NAME}", decoded; false for other keys. */
bool upt_view_key_name(const char *prefix, const char *family, struct upt_str key, struct upt_buf *ret);
/* A pattern of SCAN for all keys of a family: "PREFIX FAMILY{*}", with what the prefix has of wildcards escaped. */
void upt_view_pattern(struct upt_buf *out, const char *prefix, const char *family);

#endif
