/* The registry client as its callers see it: answers by id, and registrations that are waited for.
 *
 * Callers and the thread share a table of answers and a queue of jobs under one mutex, held for a few instructions and
 * never during a request. An id has one answer and at most one job (single flight): the first caller queues it, later
 * ones find it pending. A failed answer is asked for again by the first caller after its delay, so that nobody asks
 * for ids that no partition waits for any more. Found schemas stay for ever and do not move: callers keep pointers to
 * them. Absent ids are bounded: a topic full of made-up ids costs requests, not memory.
 * Lock order: the registry's mutex alone. */
#include "ingest/avro/registry.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <jansson.h>

#include "ingest/avro/registry_job.h"
#include "uptake/assert.h"
#include "uptake/time.h"

static void
init_curl(void)
{
    upt_assert(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

static void
init_locks(struct upt_registry *registry)
{
    pthread_condattr_t attr;
    upt_assert(pthread_condattr_init(&attr) == 0);
    upt_assert(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    upt_assert(pthread_cond_init(&registry->done, &attr) == 0);
    upt_assert(pthread_mutex_init(&registry->lock, NULL) == 0);
    (void)pthread_condattr_destroy(&attr);
}

/* Signals are for the threads that wait for them. */
static bool
start_thread(struct upt_registry *registry)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    registry->started = pthread_create(&registry->thread, NULL, upt_registry_main, registry) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return registry->started;
}

upt_status
upt_registry_create(const struct upt_registry_config *config, struct upt_registry **ret, struct upt_error *reterr)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, init_curl);
    struct upt_registry *registry = calloc(1, sizeof(*registry));
    if (registry == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for the registry client");
    }
    init_locks(registry);
    registry->queue_end = &registry->queue;
    registry->metrics = config->metrics;
    registry->timeout_ms = config->timeout_ms;
    registry->negative_ttl_ms = config->negative_ttl_ms;
    registry->jitter = (uint64_t)upt_mono_us() | 1;
    upt_status status = upt_http_init(&registry->http, config, reterr);
    if (status != UPT_OK) {
        goto fail;
    }
    registry->multi = curl_multi_init();
    if (registry->multi == NULL || !start_thread(registry)) {
        status = upt_fail(reterr, UPT_ENOMEM, "the registry client cannot start");
        goto fail;
    }
    *ret = registry;
    return UPT_OK;
fail:
    upt_registry_destroy(&registry);
    return status;
}

static void
stop_thread(struct upt_registry *registry)
{
    (void)pthread_mutex_lock(&registry->lock);
    registry->stop = true;
    (void)pthread_mutex_unlock(&registry->lock);
    (void)curl_multi_wakeup(registry->multi);
    (void)pthread_join(registry->thread, NULL);
}

void
upt_registry_destroy(struct upt_registry **registry_p)
{
    struct upt_registry *registry = *registry_p;
    if (registry == NULL) {
        return;
    }
    if (registry->started) {
        stop_thread(registry);
    }
    while (registry->queue != NULL) {
        struct upt_job *job = registry->queue;
        registry->queue = job->next;
        upt_job_destroy(&job);
    }
    for (size_t i = 0; i < UPT_REGISTRY_BUCKETS; i++) {
        while (registry->buckets[i] != NULL) {
            struct upt_answer *answer = registry->buckets[i];
            registry->buckets[i] = answer->next;
            upt_buf_fini(&answer->schema);
            free(answer);
        }
    }
    (void)curl_multi_cleanup(registry->multi);
    upt_http_fini(&registry->http);
    (void)pthread_cond_destroy(&registry->done);
    (void)pthread_mutex_destroy(&registry->lock);
    free(registry);
    *registry_p = NULL;
}

void
upt_job_destroy(struct upt_job **job_p)
{
    struct upt_job *job = *job_p;
    if (job == NULL) {
        return;
    }
    upt_http_call_fini(&job->call);
    upt_refs_destroy(&job->refs);
    free(job->find_path);
    free(job);
    *job_p = NULL;
}

struct upt_answer **
upt_registry_slot(struct upt_registry *registry, int32_t id)
{
    struct upt_answer **slot = &registry->buckets[(uint32_t)id % UPT_REGISTRY_BUCKETS];
    while (*slot != NULL && (*slot)->id != id) {
        slot = &(*slot)->next;
    }
    return slot;
}

/* @locks registry lock */
static void
push(struct upt_registry *registry, struct upt_job *job)
{
    *registry->queue_end = job;
    registry->queue_end = &job->next;
}

/* Queues a job for a new, expired or failed answer. @locks registry lock */
static upt_status
ask(struct upt_registry *registry, struct upt_answer *answer, struct upt_error *reterr)
{
    struct upt_job *job = calloc(1, sizeof(*job));
    char *path = malloc(64);
    if (job == NULL || path == NULL) {
        free(job);
        free(path);
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for a request to the registry");
    }
    (void)snprintf(path, 64, "/schemas/ids/%d", answer->id);
    *job = (struct upt_job){.stage = UPT_JOB_SCHEMA, .answer = answer, .call = {.path = path}};
    answer->state = UPT_ANSWER_PENDING;
    push(registry, job);
    (void)curl_multi_wakeup(registry->multi);
    return UPT_OK;
}

/* @locks registry lock */
static upt_status
get_locked(struct upt_registry *registry, int32_t id, struct upt_str *ret_schema, struct upt_error *reterr)
{
    struct upt_answer **slot = upt_registry_slot(registry, id);
    struct upt_answer *answer = *slot;
    if (answer == NULL) {
        answer = calloc(1, sizeof(*answer));
        if (answer == NULL) {
            return upt_fail(reterr, UPT_ENOMEM, "out of memory for the registry's answers");
        }
        *answer = (struct upt_answer){.id = id, .state = UPT_ANSWER_FAILED, .status = UPT_EAGAIN};
        *slot = answer;
    }
    if (answer->state == UPT_ANSWER_FOUND) {
        *ret_schema = (struct upt_str){.p = answer->schema.p, .len = (uint32_t)answer->schema.len};
        return UPT_OK;
    }
    bool due = answer->state != UPT_ANSWER_PENDING && upt_mono_ms() >= answer->until_ms;
    if (answer->state == UPT_ANSWER_ABSENT) {
        /* However short it is believed: who asked must be told once, or would ask for ever. */
        if (!due || (!answer->told && upt_mono_ms() < answer->until_ms + UPT_REGISTRY_TELL_MS)) {
            answer->told = true;
            return upt_fail(reterr, UPT_ENOTFOUND, "the registry has no schema %d", id);
        }
        answer->status = UPT_EAGAIN;
    }
    if (due) {
        upt_status status = ask(registry, answer, reterr);
        if (status != UPT_OK) {
            return status;
        }
    }
    if (answer->status == UPT_EAGAIN) {
        return upt_fail(reterr, UPT_EAGAIN, "the registry has not answered for schema %d yet", id);
    }
    return upt_fail(reterr, answer->status, "%s", answer->msg);
}

upt_status
upt_registry_get(struct upt_registry *registry, int32_t id, struct upt_str *ret_schema, struct upt_error *reterr)
{
    (void)pthread_mutex_lock(&registry->lock);
    upt_status status = get_locked(registry, id, ret_schema, reterr);
    (void)pthread_mutex_unlock(&registry->lock);
    return status;
}

/* ---- Registration ---- */

/* {"schema": "…"}, malloc'd; NULL: out of memory or the schema is not UTF-8. */
static char *
registration(struct upt_str schema)
{
    json_t *body = json_object();
    char *text = NULL;
    if (body != NULL && json_object_set_new(body, "schema", json_stringn(schema.p, schema.len)) == 0) {
        text = json_dumps(body, JSON_COMPACT);
    }
    json_decref(body);
    return text;
}

static char *
subject_path(const char *subject, const char *rest)
{
    struct upt_buf path = {0};
    char *escaped = curl_easy_escape(NULL, subject, 0);
    if (escaped == NULL) {
        return NULL;
    }
    upt_buf_printf(&path, "/subjects/%s%s", escaped, rest);
    upt_buf_put(&path, "", 1);
    curl_free(escaped);
    return path.p;
}

static struct upt_job *
registration_job(const char *subject, struct upt_str schema)
{
    struct upt_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return NULL;
    }
    job->stage = UPT_JOB_REGISTER;
    job->call.path = subject_path(subject, "/versions");
    job->find_path = subject_path(subject, "");
    job->call.post = registration(schema);
    if (job->call.path == NULL || job->find_path == NULL || job->call.post == NULL) {
        upt_job_destroy(&job);
    }
    return job;
}

/* Until the job is done, or for as long as all URLs in turn may take. True: done. @locks registry lock */
static bool
wait_for(struct upt_registry *registry, const struct upt_job *job)
{
    int64_t wait_ms = registry->timeout_ms * (int64_t)registry->http.bases_n + 100;
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(wait_ms / 1000);
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    int error = 0;
    while (!job->done && error == 0) {
        error = pthread_cond_timedwait(&registry->done, &registry->lock, &until);
    }
    return job->done;
}

upt_status
upt_registry_register(struct upt_registry *registry, const char *subject, struct upt_str schema, int32_t *ret_id,
                      struct upt_error *reterr)
{
    struct upt_job *job = registration_job(subject, schema);
    if (job == NULL) {
        return upt_fail(reterr, UPT_EINVAL, "the schema for subject %s is not UTF-8", subject);
    }
    (void)pthread_mutex_lock(&registry->lock);
    push(registry, job);
    (void)curl_multi_wakeup(registry->multi);
    bool done = wait_for(registry, job);
    job->abandoned = !done; /* then the thread frees it */
    (void)pthread_mutex_unlock(&registry->lock);
    if (!done) {
        return upt_fail(reterr, UPT_EUNAVAIL, "no registry has answered in time for subject %s", subject);
    }
    upt_status status = job->status;
    if (status == UPT_OK) {
        *ret_id = job->id;
    } else {
        (void)upt_fail(reterr, status, "%s", job->msg);
    }
    upt_job_destroy(&job);
    return status;
}
