/* What the files of the admin room share. */
#ifndef UPT_ADMIN_INTERNAL_H
#define UPT_ADMIN_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "aggregate/view/view.h"
#include "ingest/admin/admin.h"
#include "uptake/board.h"
#include "uptake/str.h"

struct MHD_Connection;
struct MHD_Daemon;
struct redisContext;
struct redisReply;

#define UPT_ADMIN_CONNECTIONS 64
#define UPT_ADMIN_PORTS 16 /* that are tried, from that of admin.listen on */
#define UPT_ADMIN_TIMEOUT_S 15
#define UPT_ADMIN_REDIS_TIMEOUT_MS 500
#define UPT_ADMIN_STATUS_MS 1000
#define UPT_ADMIN_EXPLAIN_MS 300 /* that a lane has to explain an account */
#define UPT_ADMIN_RISKS 20
#define UPT_ADMIN_RANKED 60 /* read, so that enough are left without those that have churned */
#define UPT_ADMIN_FEATURES 12
#define UPT_ADMIN_FEATURES_MAX 1024

extern const unsigned char upt_admin_page[];
extern const size_t upt_admin_page_len;

/* ---- features.c: the features with the most events, found by a slow incremental SCAN. Reader thread ---- */
struct upt_admin_feature {
    char *name;
    uint32_t name_len;
    uint64_t pass;      /* the pass of SCAN that saw it last */
    int64_t events_24h; /* −1: not read yet */
};

struct upt_admin_features {
    struct upt_admin_feature *list; /* UPT_ADMIN_FEATURES_MAX */
    size_t n;
    char cursor[24];
    uint64_t pass;
    int64_t ranked_at;
};

/* ---- redis.c: reads for the page, on a connection of its own. Reader thread ---- */
struct upt_admin_redis {
    bool configured;
    struct upt_view_config config; /* strings owned */
    struct redisContext *ctx;
    int64_t retry_at; /* no connection is tried before */
    char why[256];    /* why the last read failed; "" if it did not */
    struct upt_admin_features features;
};

upt_status upt_admin_redis_init(struct upt_admin_redis *redis, const struct upt_view_config *config,
                                struct upt_error *reterr);
void upt_admin_redis_fini(struct upt_admin_redis *redis);
/* A connection is there, perhaps made now. False: redis->why says why not. */
bool upt_admin_redis_ready(struct upt_admin_redis *redis);
/* One command out of the pipeline; false once the connection is of no use. */
bool upt_admin_redis_send(struct upt_admin_redis *redis, int argc, const struct upt_str *argv);
/* The next reply, to be freed with freeReplyObject; NULL: the connection is gone or the reply an error (why is set). */
struct redisReply *upt_admin_redis_take(struct upt_admin_redis *redis);
/* Each: new JSON, or NULL with redis->why set. */
json_t *upt_admin_redis_totals(struct upt_admin_redis *redis);
json_t *upt_admin_redis_at_risk(struct upt_admin_redis *redis);
json_t *upt_admin_redis_top_features(struct upt_admin_redis *redis);
/* UPT_ENOTFOUND: no such row. UPT_EUNAVAIL: redis->why. */
upt_status upt_admin_redis_account(struct upt_admin_redis *redis, struct upt_str id, json_t **ret);
/* A hash field as JSON: numbers as numbers, exact decimals (units) and names as strings. NULL: not UTF-8. */
json_t *upt_admin_redis_value(struct upt_str field, struct upt_str value);

/* ---- status.c ---- */
struct upt_admin_sample {
    int64_t mono_ms; /* 0: none */
    uint64_t records, events, duplicates, dead;
};

/* /status.json into out. */
void upt_admin_status_build(struct upt_admin *admin, struct upt_buf *out);
/* /metrics into out. */
void upt_admin_metrics_build(struct upt_admin *admin, struct upt_buf *out);
/* Any JSON as text into out. */
void upt_admin_json_text(const json_t *json, struct upt_buf *out);
/* What Redis says, which was cut to length and perhaps within a character: up to the last whole one. */
json_t *upt_admin_json_reason(const char *text);

/* ---- admin.c ---- */
/* A request that needs Redis: its connection is suspended while the reader thread works on it. */
struct upt_admin_job {
    struct upt_admin_job *next;
    struct MHD_Connection *connection;
    bool queued; /* handed to the reader; what follows is filled when the handler is called again */
    bool account;
    char id[UPT_KEY_MAX];
    uint32_t id_len;
    unsigned code;
    struct upt_buf body;
};

#define UPT_ADMIN_MAGIC 0x75704144u

struct upt_admin {
    uint32_t magic;
    char *token, *version, *group, *instance;
    struct upt_board *board;
    int64_t heartbeat_max_ms, started_ms, started_mono_ms;
    uint16_t port;
    bool loopback; /* bound to a loopback address: a browser can be lured here by a name that resolves to it */
    struct MHD_Daemon *daemon;
    pthread_t reader;
    bool reader_started;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct upt_admin_job *head, **tail; /* @locks lock */
    bool stopping;                      /* @locks lock */

    /* @locality reader */
    struct upt_admin_redis redis;
    struct upt_buf status;
    int64_t status_at; /* monotonic; 0: none yet */
    struct upt_admin_sample sample;
};

/* Queues the job for the reader; false when the port is stopping. The connection must be suspended already. */
bool upt_admin_queue(struct upt_admin *admin, struct upt_admin_job *job);

/* ---- http.c ---- */
upt_status upt_admin_http_start(struct upt_admin *admin, int fd, struct upt_error *reterr);
void upt_admin_http_stop(struct upt_admin *admin);
void upt_admin_http_resume(struct MHD_Connection *connection);

#endif
