/* Inside the view. view.c: the lane's side and the table of partitions; conn.c: connection, sending, keys; resp.c:
 * commands to bytes; format.c: rows to commands; flush.c: guarded writes; sweep.c: strays; thread.c: the loop. */
#ifndef UPT_VIEW_INTERNAL_H
#define UPT_VIEW_INTERNAL_H

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdatomic.h>

#include "aggregate/view/view.h"
#include "uptake/ring.h"

#define UPT_STRAYS_MAX 4096
#define UPT_MARKER_MAX 512

typedef enum upt_frame_type {
    UPT_FRAME_ROW,
    UPT_FRAME_FORGOTTEN,
    UPT_FRAME_FEATURE,
    UPT_FRAME_TOTALS,
    UPT_FRAME_FLUSH
} upt_frame_type;

/* A frame in the ring and in the batch: this head, then the struct of its type, then its strings. */
struct upt_view_frame {
    uint32_t type;
    int32_t partition;
    uint64_t gen;        /* of the ownership under which it was pushed */
    uint64_t round;      /* and how many repairs the lane had been told of by then */
    uint32_t len;        /* of all, a multiple of 8 */
    uint32_t features_n; /* of a forgotten account: the length of its id */
    struct upt_pos pos;
};

/* One partition. Under the view's lock, but for what only the thread uses. partition, gen and lane_round are written by
 * the lane's thread alone, which so may read them without. */
struct upt_view_part {
    int32_t partition;
    bool owned, take, refused, floor_known, repair;
    uint64_t gen;
    uint64_t round, lane_round; /* losses found; those of them that the lane knows of */
    int64_t epoch;
    struct upt_pos floor;
    uint64_t stored; /* number of the last flush in Redis */
    /* @locality view thread */
    char marker[UPT_MARKER_MAX];  /* as written last; "": not taken */
    char attempt[UPT_MARKER_MAX]; /* of an EXEC whose reply was lost; "": none */
    uint64_t seq;
    struct upt_pos highest;
};

struct upt_rank {
    struct upt_str account;  /* in the batch */
    double v[2];             /* churn risk, health */
    struct upt_str segments; /* names, commas between them; in the batch */
};

struct upt_stray {
    int32_t partition;
    struct upt_buf account;
};

struct upt_view {
    struct upt_view_config config;
    char *url, *user, *password, *prefix, *owner;
    struct upt_buf marker_owner; /* owner, encoded to one word, NUL at the end */
    struct upt_ring *ring;
    int doorbell;
    pthread_t thread;
    bool started;
    atomic_bool stop, connected;
    atomic_bool hurry; /* the lane waits for the end of the walk */
    pthread_mutex_t lock;
    struct upt_view_part *parts;
    size_t parts_n, parts_cap;
    struct upt_stray strays[UPT_STRAYS_MAX];
    size_t strays_n;
    struct upt_buf segments; /* names declared, commas between them */
    bool segments_changed;
    bool walking; /* the walk over keys after a marker was taken is not over; written by the view's thread */

    /* @locality view thread */
    redisContext *redis;
    int64_t retry_ms, backoff_ms, checked_ms, shares_ms, shares_all_ms, scan_ms;
    struct upt_buf batch; /* frames not yet in Redis */
    struct upt_buf out;   /* commands */
    unsigned out_n;
    size_t cmd_at;   /* where the command under way begins in out */
    unsigned args_n; /* of it */
    struct upt_buf key;
    struct upt_feature_days *days; /* scratch */
    size_t days_cap;
    struct upt_rank *ranks; /* scratch */
    size_t ranks_n, ranks_cap;
    char sum_sha[48], share_sha[48];
    struct upt_buf *features; /* names whose shares this view refreshes */
    size_t features_n, features_cap;
    uint32_t *feature_slots; /* hash table over features: index + 1; 0: free */
    size_t feature_slots_n;  /* a power of two, at least twice features_n */
    char shares_of[160];     /* the totals that the shares were made of */
    bool scan_wanted;
    unsigned long long scan_cursor;
    struct upt_buf declared; /* copy of segments, once known: before that no set may be called undeclared */
    bool declared_known;
    bool sets_wanted, sets_under_way; /* the walk over sets of segments */
    unsigned long long sets_cursor;
};

/* An argument that is known when this is compiled, as its bytes: "$9\r\nevents_1h\r\n". Always all of text is copied,
 * which takes two instructions, and len of it counts. UPT_NAME refuses a length that is not the name's. */
struct upt_name {
    char text[32];
    size_t len;
};
#define UPT_NAME(n, name)                                                                                 \
    {                                                                                                     \
        .text = "$" #n "\r\n" name "\r\n",                                                                \
        .len = sizeof("$" #n "\r\n" name "\r\n") - 1 + 0 * sizeof(char[sizeof(name) - 1 == (n) ? 1 : -1]) \
    }

/* resp.c: commands are appended as whole RESP arrays. */
void upt_cmd_begin(struct upt_view *view);
void upt_cmd_name(struct upt_view *view, const struct upt_name *name);
void upt_cmd_arg(struct upt_view *view, const char *p, size_t len);
void upt_cmd_text(struct upt_view *view, const char *text);
void upt_cmd_u64(struct upt_view *view, uint64_t v);
void upt_cmd_i64(struct upt_view *view, int64_t v);
void upt_cmd_micro(struct upt_view *view, upt_i128 micro); /* up to 6 decimals, no trailing zeros */
void upt_cmd_buf(struct upt_view *view, const struct upt_buf *buf);
void upt_cmd_end(struct upt_view *view);

/* conn.c */
/* Sends what was appended and reads as many replies; each goes to on_reply (may be NULL). False: the connection is
 * gone, also because one was an error. */
typedef void (*upt_reply_fn)(void *ctx, unsigned i, redisReply *reply);
bool upt_cmd_send(struct upt_view *view, upt_reply_fn on_reply, void *ctx);
/* The same with functions in the place of those that make hiredis's objects; ctx is their tasks' privdata. */
bool upt_cmd_send_noting(struct upt_view *view, redisReplyObjectFunctions *noting, void *ctx);
/* Sends what was appended if it is much; the replies are read with the rest. */
void upt_cmd_push(struct upt_view *view);
void upt_view_disconnect(struct upt_view *view, const char *why);
bool upt_view_connect(struct upt_view *view);

/* format.c */
void upt_format_row(struct upt_view *view, const struct upt_row *row, const struct upt_feature_days *features,
                    size_t n);
void upt_format_hint(struct upt_view *view, const struct upt_row *row);
/* Entries of the ranks, NaN: to be removed, and of segments. Its texts must stay until upt_format_ranks, which writes
 * all that were noted since the last. */
void upt_note_rank(struct upt_view *view, const struct upt_rank *rank);
void upt_format_ranks(struct upt_view *view);
/* segments.c: sets of segments, for all that was noted; before upt_format_ranks. */
void upt_format_segments(struct upt_view *view);
/* Copies what the lane declared last. */
void upt_segments_take(struct upt_view *view);
/* Deletes sets of segments that are not declared, some keys at a time. False: the connection is gone. */
bool upt_segments_step(struct upt_view *view);
void upt_format_forgotten(struct upt_view *view, struct upt_str account);
void upt_format_partition(struct upt_view *view, const struct upt_view_flush *flush);
/* Percent-encodes as in keys. */
void upt_encode(struct upt_buf *out, const char *p, size_t len);
void upt_key(struct upt_view *view, const char *family, struct upt_str name, const char *suffix); /* into view->key */

/* flush.c */
bool upt_flush_batch(struct upt_view *view); /* false: try again later */
bool upt_check_markers(struct upt_view *view);
bool upt_refresh_shares(struct upt_view *view);
/* sweep.c */
/* A marker was taken: the keys of accounts are to be walked, then the sets of segments. */
void upt_view_walk(struct upt_view *view);
/* Another connection, so perhaps another server or another table of its keys: the cursors are worth nothing there. And
 * of deleted sets that it lost no marker tells, so these are looked for again. */
void upt_view_walk_anew(struct upt_view *view);
bool upt_view_walk_step(struct upt_view *view); /* some keys; false: the connection is gone */
/* Names of the next keys of a family ("account:"), each behind its length. *cursor: 0 at the beginning and at the end.
 * False: the connection is gone. */
bool upt_scan_names(struct upt_view *view, const char *family, unsigned long long *cursor, struct upt_buf *names);

/* Under the lock, or in the lane's thread, which alone adds to the table. */
struct upt_view_part *upt_view_find(struct upt_view *view, int32_t partition);

#endif
