/* The registry client's thread: runs the jobs on one curl multi handle, so that a slow id delays no other.
 *
 *     SCHEMA ─► (REFERENCE ─► …) ─► the id's answer          REGISTER ─(no permission)─► FIND ─► the waiting caller
 *
 * Each request begins at the URL that worked last and goes through the others while they are away, time out, answer
 * 5xx or something that no registry answers; a definite answer (also "there is none", "no permission") ends the tour.
 * Time-outs are each request's own. Between tries of one id lie 100 ms, doubled up to 10 s, of which half is drawn by
 * lot, so that many processes do not ask in step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/avro/registry_job.h"
#include "uptake/thread.h"
#include "uptake/time.h"

#define RETRY_FIRST_MS INT64_C(100)
#define RETRY_LAST_MS INT64_C(10000)

static void
count(struct upt_registry *registry, upt_metric id)
{
    if (registry->metrics != NULL) {
        upt_metric_add(registry->metrics, id, 1);
    }
}

/* xorshift64: only to keep processes out of step. */
static int64_t
retry_delay(struct upt_registry *registry, unsigned failures)
{
    int64_t delay = failures > 7 ? RETRY_LAST_MS : RETRY_FIRST_MS << (failures == 0 ? 0 : failures - 1);
    if (delay > RETRY_LAST_MS) {
        delay = RETRY_LAST_MS;
    }
    registry->jitter ^= registry->jitter << 13;
    registry->jitter ^= registry->jitter >> 7;
    registry->jitter ^= registry->jitter << 17;
    return delay / 2 + (int64_t)(registry->jitter % (uint64_t)(delay / 2 + 1));
}

/* ---- Ends of jobs ---- */

/* Notes an id as absent; the oldest such note leaves when there are too many. @locks registry lock */
static void
note_absent(struct upt_registry *registry, int32_t id)
{
    if (registry->absent_n == UPT_REGISTRY_ABSENT_MAX) {
        struct upt_answer **slot = upt_registry_slot(registry, registry->absent[registry->absent_oldest]);
        struct upt_answer *oldest = *slot;
        if (oldest != NULL && oldest->id != id && oldest->state == UPT_ANSWER_ABSENT) {
            *slot = oldest->next;
            free(oldest);
        }
        registry->absent_oldest = (registry->absent_oldest + 1) % UPT_REGISTRY_ABSENT_MAX;
        registry->absent_n--;
    }
    registry->absent[(registry->absent_oldest + registry->absent_n++) % UPT_REGISTRY_ABSENT_MAX] = id;
}

static void
end_lookup(struct upt_registry *registry, struct upt_job *job, upt_status status, const char *text)
{
    (void)pthread_mutex_lock(&registry->lock);
    struct upt_answer *answer = job->answer;
    answer->status = status;
    if (status == UPT_OK) {
        upt_buf_puts(&answer->schema, text);
        answer->state = UPT_ANSWER_FOUND;
    } else if (status == UPT_ENOTFOUND) {
        answer->state = UPT_ANSWER_ABSENT;
        answer->failures = 0;
        answer->told = false;
        answer->until_ms = upt_mono_ms() + registry->negative_ttl_ms;
        note_absent(registry, answer->id);
    } else {
        answer->state = UPT_ANSWER_FAILED;
        answer->failures++;
        answer->until_ms = upt_mono_ms() + retry_delay(registry, answer->failures);
        (void)snprintf(answer->msg, sizeof(answer->msg), "%s", text);
    }
    (void)pthread_mutex_unlock(&registry->lock);
    upt_job_destroy(&job);
}

static void
end_registration(struct upt_registry *registry, struct upt_job *job, upt_status status, const char *text)
{
    (void)pthread_mutex_lock(&registry->lock);
    bool abandoned = job->abandoned;
    if (!abandoned) {
        job->status = status;
        (void)snprintf(job->msg, sizeof(job->msg), "%s", text);
        job->done = true;
        (void)pthread_cond_broadcast(&registry->done);
    }
    (void)pthread_mutex_unlock(&registry->lock);
    if (abandoned) {
        upt_job_destroy(&job);
    }
}

/* text: the schema if status is UPT_OK and the job a lookup, otherwise a sentence. */
static void
end_job(struct upt_registry *registry, struct upt_job *job, upt_status status, const char *text)
{
    if (job->answer != NULL) {
        end_lookup(registry, job, status, text);
    } else {
        end_registration(registry, job, status, text);
    }
}

/* ---- Requests ---- */

static void
run(struct upt_registry *registry, struct upt_job *job)
{
    if (!upt_http_prepare(&registry->http, &job->call, job) ||
        curl_multi_add_handle(registry->multi, job->call.easy) != CURLM_OK) {
        end_job(registry, job, UPT_EUNAVAIL, "no request can be made for lack of memory");
        return;
    }
    count(registry, UPT_M_REGISTRY_REQUESTS);
    job->next = registry->running;
    registry->running = job;
    registry->running_n++;
}

/* The job's next request, from the URL that worked last. Takes path; NULL: out of memory. */
static void
run_path(struct upt_registry *registry, struct upt_job *job, char *path)
{
    struct upt_http_call *call = &job->call;
    if (path == NULL) {
        end_job(registry, job, UPT_EUNAVAIL, "no request can be made for lack of memory");
        return;
    }
    if (path != call->path) {
        free(call->path);
        call->path = path;
    }
    free(call->url);
    call->url = NULL;
    call->base = registry->base;
    call->tried = 0;
    call->redirects = 0;
    run(registry, job);
}

static bool
run_elsewhere(struct upt_registry *registry, struct upt_job *job)
{
    struct upt_http_call *call = &job->call;
    if (++call->tried >= registry->http.bases_n) {
        return false;
    }
    free(call->url);
    call->url = NULL;
    call->redirects = 0;
    call->base = (call->base + 1) % registry->http.bases_n;
    run(registry, job);
    return true;
}

static char *
reference_path(const char *subject, json_int_t version)
{
    struct upt_buf path = {0};
    char *escaped = curl_easy_escape(NULL, subject, 0);
    if (escaped == NULL) {
        return NULL;
    }
    upt_buf_printf(&path, "/subjects/%s/versions/%lld?deleted=true", escaped, (long long)version);
    upt_buf_put(&path, "", 1);
    curl_free(escaped);
    return path.p;
}

static void
next_reference(struct upt_registry *registry, struct upt_job *job)
{
    const char *subject = NULL;
    json_int_t version = 0;
    if (upt_refs_next(job->refs, &subject, &version)) {
        job->stage = UPT_JOB_REFERENCE;
        run_path(registry, job, reference_path(subject, version));
        return;
    }
    struct upt_buf schema = {0};
    upt_refs_finish(job->refs, &schema);
    upt_buf_put(&schema, "", 1);
    end_job(registry, job, UPT_OK, schema.p);
    upt_buf_fini(&schema);
}

/* ---- Answers ---- */

/* A schema of another kind is an answer all the same: one that no reader of Avro can parse. */
static void
end_other_kind(struct upt_registry *registry, struct upt_job *job, const char *kind)
{
    struct upt_buf text = {0};
    struct upt_buf quoted = {0};
    upt_buf_printf(&text, "schemaType %.40s, which is not AVRO", kind);
    upt_buf_put_json(&quoted, text.p, text.len);
    upt_buf_put(&quoted, "", 1);
    end_job(registry, job, UPT_OK, quoted.p);
    upt_buf_fini(&text);
    upt_buf_fini(&quoted);
}

/* False: the body is not what a registry answers. */
static bool
take_schema(struct upt_registry *registry, struct upt_job *job, const json_t *body)
{
    const char *schema = json_string_value(json_object_get(body, "schema"));
    const char *kind = json_string_value(json_object_get(body, "schemaType"));
    const json_t *references = json_object_get(body, "references");
    if (schema == NULL) {
        return false;
    }
    if (kind != NULL && strcmp(kind, "AVRO") != 0) {
        end_other_kind(registry, job, kind);
    } else if (json_array_size(references) == 0) {
        end_job(registry, job, UPT_OK, schema);
    } else {
        job->refs = upt_refs_create(schema, references);
        if (job->refs == NULL) {
            end_job(registry, job, UPT_EUNAVAIL, "no request can be made for lack of memory");
        } else {
            next_reference(registry, job);
        }
    }
    return true;
}

static bool
take_id(struct upt_registry *registry, struct upt_job *job, const json_t *body)
{
    const json_t *id = json_object_get(body, "id");
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX) {
        return false;
    }
    job->id = (int32_t)json_integer_value(id);
    end_job(registry, job, UPT_OK, "");
    return true;
}

static bool
take_good(struct upt_registry *registry, struct upt_job *job)
{
    const struct upt_buf *text = &job->call.body;
    json_t *body = json_loadb(text->p == NULL ? "" : text->p, text->len, 0, NULL);
    bool taken = false;
    if (json_is_object(body)) {
        switch (job->stage) {
        case UPT_JOB_SCHEMA:
            taken = take_schema(registry, job, body);
            break;
        case UPT_JOB_REFERENCE:
            taken = json_is_string(json_object_get(body, "schema"));
            if (taken) {
                upt_refs_add(job->refs, body);
                next_reference(registry, job);
            }
            break;
        default:
            taken = take_id(registry, job, body);
        }
    }
    json_decref(body);
    return taken;
}

/* Nobody may write here, but the version may be there already. */
static void
find_instead(struct upt_registry *registry, struct upt_job *job, const char *msg)
{
    char *path = job->find_path;
    job->find_path = NULL;
    job->stage = UPT_JOB_FIND;
    (void)snprintf(job->msg, sizeof(job->msg), "%s", msg);
    run_path(registry, job, path);
}

/* A definite answer other than a good one. False: for this job it is none. */
static bool
take_refusal(struct upt_registry *registry, struct upt_job *job, upt_http_outcome outcome, const char *msg)
{
    bool lookup = job->stage == UPT_JOB_SCHEMA || job->stage == UPT_JOB_REFERENCE;
    if (job->stage == UPT_JOB_FIND) {
        char refused[sizeof(job->msg)];
        memcpy(refused, job->msg, sizeof(refused));
        end_job(registry, job, UPT_EAUTH, refused); /* why it could not be registered says more */
    } else if (outcome == UPT_HTTP_AUTH && job->stage == UPT_JOB_REGISTER) {
        find_instead(registry, job, msg);
    } else if (outcome == UPT_HTTP_AUTH) {
        end_job(registry, job, UPT_EAUTH, msg);
    } else if (outcome == UPT_HTTP_REFUSED && !lookup) {
        end_job(registry, job, UPT_EDATA, msg);
    } else if (outcome == UPT_HTTP_NONE && job->stage == UPT_JOB_REFERENCE) {
        upt_refs_add(job->refs, NULL);
        next_reference(registry, job);
    } else if (outcome == UPT_HTTP_NONE && job->stage == UPT_JOB_SCHEMA && job->call.error_code == 40403) {
        end_job(registry, job, UPT_ENOTFOUND, msg);
    } else {
        return false;
    }
    return true;
}

static void
finish_request(struct upt_registry *registry, struct upt_job *job, CURLcode code)
{
    char msg[400];
    if (code == CURLE_OK && upt_http_redirected(&job->call)) {
        run(registry, job);
        return;
    }
    upt_http_outcome outcome = upt_http_judge(&registry->http, &job->call, code, msg, sizeof(msg));
    if (outcome != UPT_HTTP_GOOD && outcome != UPT_HTTP_NONE) {
        count(registry, UPT_M_REGISTRY_FAILURES);
    }
    bool definite = outcome != UPT_HTTP_AWAY && outcome != UPT_HTTP_NONSENSE;
    size_t base = job->call.base;
    if (outcome == UPT_HTTP_GOOD ? take_good(registry, job) : definite && take_refusal(registry, job, outcome, msg)) {
        registry->base = base;
        return;
    }
    if (outcome == UPT_HTTP_GOOD) {
        size_t len = strlen(msg);
        (void)snprintf(msg + len, sizeof(msg) - len, ", with a body that is none of a schema registry's");
    }
    if (!run_elsewhere(registry, job)) {
        end_job(registry, job, outcome == UPT_HTTP_AWAY ? UPT_EUNAVAIL : UPT_EDATA, msg);
    }
}

/* ---- The loop ---- */

static void
take_out(struct upt_registry *registry, struct upt_job *job)
{
    struct upt_job **slot = &registry->running;
    while (*slot != job) {
        slot = &(*slot)->next;
    }
    *slot = job->next;
    job->next = NULL;
    registry->running_n--;
    (void)curl_multi_remove_handle(registry->multi, job->call.easy);
}

/* Starts what waits, as far as there is room. False: stop. */
static bool
start_waiting(struct upt_registry *registry)
{
    struct upt_job *taken = NULL;
    struct upt_job **end = &taken;
    (void)pthread_mutex_lock(&registry->lock);
    bool stop = registry->stop;
    size_t room = UPT_REGISTRY_RUNNING_MAX - registry->running_n;
    for (; !stop && room > 0 && registry->queue != NULL; room--) {
        struct upt_job *job = registry->queue;
        registry->queue = job->next;
        if (registry->queue == NULL) {
            registry->queue_end = &registry->queue;
        }
        job->next = NULL;
        *end = job;
        end = &job->next;
    }
    (void)pthread_mutex_unlock(&registry->lock);
    while (taken != NULL) {
        struct upt_job *job = taken;
        taken = job->next;
        job->next = NULL;
        run_path(registry, job, job->call.path);
    }
    return !stop;
}

void *
upt_registry_main(void *arg)
{
    struct upt_registry *registry = arg;
    upt_thread_name("registry");
    while (start_waiting(registry)) {
        int running = 0;
        int left = 0;
        (void)curl_multi_perform(registry->multi, &running);
        CURLMsg *msg = curl_multi_info_read(registry->multi, &left);
        bool idle = msg == NULL;
        for (; msg != NULL; msg = curl_multi_info_read(registry->multi, &left)) {
            char *owner = NULL;
            CURLcode code = msg->data.result; /* msg is gone once its handle is taken out */
            (void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &owner);
            struct upt_job *job = (struct upt_job *)(void *)owner;
            take_out(registry, job);
            finish_request(registry, job, code);
        }
        if (idle) {
            (void)curl_multi_poll(registry->multi, NULL, 0, 1000, NULL);
        }
    }
    while (registry->running != NULL) {
        struct upt_job *job = registry->running;
        take_out(registry, job);
        upt_job_destroy(&job);
    }
    return NULL;
}
