/* What the registry's callers and its thread share, and the jobs that go from the ones to the other. Private. */
#ifndef UPT_AVRO_REGISTRY_JOB_H
#define UPT_AVRO_REGISTRY_JOB_H

#include <pthread.h>
#include <stdbool.h>

#include "ingest/avro/registry_http.h"
#include "ingest/avro/registry_refs.h"

#define UPT_REGISTRY_BUCKETS 1024
#define UPT_REGISTRY_ABSENT_MAX 10000 /* ids remembered as absent */
#define UPT_REGISTRY_TELL_MS 10000    /* an absence that nobody was told yet is believed for this much longer */
#define UPT_REGISTRY_RUNNING_MAX 16   /* requests at a time */

typedef enum upt_answer_state {
    UPT_ANSWER_PENDING,
    UPT_ANSWER_FOUND,
    UPT_ANSWER_ABSENT,
    UPT_ANSWER_FAILED
} upt_answer_state;

/* What is known of one id. @locks registry lock */
struct upt_answer {
    struct upt_answer *next; /* in its bucket */
    int32_t id;
    upt_answer_state state;
    upt_status status; /* PENDING: of the try before, UPT_EAGAIN if there was none; FAILED: of the last */
    unsigned failures; /* in a row */
    int64_t until_ms;  /* ABSENT: believed until; FAILED: no other try before */
    bool told;         /* ABSENT: to somebody who asked */
    struct upt_buf schema;
    char msg[400];
};

typedef enum upt_job_stage {
    UPT_JOB_SCHEMA,    /* GET of a schema by id */
    UPT_JOB_REFERENCE, /* GET of what it refers to */
    UPT_JOB_REGISTER,  /* POST of a version */
    UPT_JOB_FIND       /* POST that only looks whether the version is there */
} upt_job_stage;

struct upt_job {
    struct upt_job *next; /* in the queue, then among the running */
    upt_job_stage stage;
    struct upt_http_call call;

    struct upt_answer *answer; /* SCHEMA, REFERENCE */
    struct upt_refs *refs;

    char *find_path; /* REGISTER: taken over by FIND */
    /* REGISTER, FIND. @locks registry lock */
    bool done, abandoned;
    upt_status status;
    int32_t id;
    char msg[400];
};

struct upt_registry {
    struct upt_http http;
    struct upt_metrics *metrics; /* may be NULL; @locality thread */
    int64_t timeout_ms, negative_ttl_ms;
    CURLM *multi;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock;
    pthread_cond_t done; /* a registration ended; monotonic clock */
    /* @locks lock */
    struct upt_answer *buckets[UPT_REGISTRY_BUCKETS];
    int32_t absent[UPT_REGISTRY_ABSENT_MAX]; /* ring of ids, oldest first */
    uint32_t absent_oldest, absent_n;
    struct upt_job *queue, **queue_end;
    bool stop;

    /* @locality thread */
    size_t base; /* the URL that worked last */
    size_t running_n;
    struct upt_job *running;
    uint64_t jitter;
};

void *upt_registry_main(void *arg); /* the thread */
void upt_job_destroy(struct upt_job **job_p);
struct upt_answer **upt_registry_slot(struct upt_registry *registry, int32_t id); /* @locks lock */

#endif
