/* Wiring: from a configuration to running lanes. See pipeline.h.
 *
 * Signals are blocked in every thread and taken by the main thread with sigtimedwait, so that no handler runs anywhere.
 */
#include "ingest/pipeline.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ingest/admin/admin.h"
#include "ingest/avro/encoder.h"
#include "ingest/instance.h"
#include "ingest/kafka/topics.h"
#include "ingest/lane.h"
#include "uptake/assert.h"
#include "uptake/log.h"
#include "uptake/thread.h"
#include "uptake/time.h"

#define IDLE_MS 100
#define COVER_INTERVAL_MS 5000
#define END_PATIENCE_MS 10000
#define TWICE_MS 1000 /* signals closer than this are one: to a process and to its group, say */
#define SCHEMA_FILE_MAX ((size_t)1 << 20)

struct pipeline {
    struct upt_config *config;
    const struct upt_pipeline_options *options;
    struct upt_shared shared;
    struct upt_instance instance;
    struct upt_admin *admin;
    struct upt_buf schema, token;
    struct upt_lane *lanes[UPT_LANES_MAX];
    int lanes_n;
    bool covered; /* each partition was seen to be some member's */
    int64_t cover_due_ms;
    int64_t told_ms; /* when the first signal to stop came; 0: none */
};

upt_status
upt_read_file(const char *path, size_t max, struct upt_buf *ret, struct upt_error *reterr)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return upt_fail(reterr, UPT_EINVAL, "%s: %s", path, strerror(errno));
    }
    upt_buf_clear(ret);
    for (size_t n = 1; n > 0 && ret->len <= max;) {
        n = fread(upt_buf_reserve(ret, 65536), 1, 65536, file);
        ret->len += n;
    }
    bool failed = ferror(file) != 0;
    fclose(file);
    if (failed || ret->len > max) {
        return upt_fail(reterr, UPT_EINVAL, "%s: %s", path, failed ? "cannot be read" : "is too long");
    }
    return UPT_OK;
}

/* ---- scoring ---- */

/* Rules and model as they are, with the settings by which the lanes count. */
static void
stamp(struct upt_scoring *scoring, const struct upt_config *config)
{
    char text[128], config_hash[17];
    upt_config_hash(config, config_hash);
    int n = snprintf(text, sizeof(text), "%s %016llx", config_hash, (unsigned long long)upt_rules_hash(scoring->rules));
    snprintf(scoring->config_hash, sizeof(scoring->config_hash), "%016llx",
             (unsigned long long)upt_hash(text, (size_t)n));
}

upt_status
upt_scoring_load(const struct upt_config *config, struct upt_scoring **ret, struct upt_error *reterr)
{
    struct upt_scoring *scoring = calloc(1, sizeof(*scoring));
    if (scoring == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    upt_status status = upt_model_load(config->model_file, &scoring->model, reterr);
    if (status == UPT_OK) {
        status = upt_rules_load(config->rules_file, &scoring->rules, reterr);
    }
    if (status != UPT_OK) {
        upt_scoring_destroy(&scoring);
        return status;
    }
    stamp(scoring, config);
    *ret = scoring;
    return UPT_OK;
}

void
upt_scoring_destroy(struct upt_scoring **scoring_p)
{
    while (*scoring_p != NULL) {
        struct upt_scoring *older = (*scoring_p)->older;
        upt_model_destroy(&(*scoring_p)->model);
        upt_rules_destroy(&(*scoring_p)->rules);
        free(*scoring_p);
        *scoring_p = older;
    }
}

static void
show_model(struct upt_board *board, const struct upt_model *model)
{
    struct upt_board_model shown = {0};
    (void)snprintf(shown.version, sizeof(shown.version), "%s", upt_model_version(model));
    (void)snprintf(shown.hash, sizeof(shown.hash), "%s", upt_model_hash(model));
    upt_board_set_model(board, &shown);
}

/* What the file says now and only a start takes in. */
static void
warn_of_restart(const struct upt_config *config, const struct upt_config *fresh)
{
    struct upt_buf names = {0};
    upt_config_differences(config, fresh, &names);
    if (names.len > 0) {
        upt_buf_put(&names, "", 1);
        upt_log(UPT_LOG_WARNING, "reload", "the former values go on of what needs a restart: %s", names.p);
    }
    upt_buf_fini(&names);
}

static void
reload(struct pipeline *pipe)
{
    struct upt_config *fresh = NULL;
    struct upt_scoring *scoring = NULL;
    struct upt_error err;
    if (pipe->config->path == NULL) {
        return;
    }
    if (upt_config_load(pipe->config->path, &fresh, &err) != UPT_OK) {
        upt_log(UPT_LOG_ERROR, "reload", "kept the former settings: %s", err.msg);
        return;
    }
    upt_log_set_level(upt_log_level_of(fresh->log_level));
    warn_of_restart(pipe->config, fresh);
    if (upt_scoring_load(fresh, &scoring, &err) != UPT_OK) {
        upt_log(UPT_LOG_ERROR, "reload", "kept the former rules and model: %s", err.msg);
    } else {
        upt_assert(scoring != NULL);
        stamp(scoring, pipe->config);
        scoring->older = atomic_load(&pipe->shared.scoring);
        atomic_store(&pipe->shared.scoring, scoring);
        show_model(pipe->shared.board, scoring->model);
        upt_log(UPT_LOG_INFO, "reload", "rules and model read again, configuration hash %s", scoring->config_hash);
    }
    upt_config_destroy(&fresh);
}

/* ---- start ---- */

/* Whether SIGTERM or SIGINT waits to be taken. */
static bool
told_to_stop(void)
{
    sigset_t pending;
    sigemptyset(&pending);
    (void)sigpending(&pending);
    return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
}

static upt_status
register_outputs(struct pipeline *pipe, struct upt_error *reterr)
{
    const struct upt_config *config = pipe->config;
    struct upt_shared *shared = &pipe->shared;
    char subject[300];
    snprintf(subject, sizeof(subject), "%s-value", config->health_topic);
    upt_status status =
        upt_registry_register(shared->registry, subject, upt_schema_account_health, &shared->health_schema_id, reterr);
    if (status == UPT_OK) {
        snprintf(subject, sizeof(subject), "%s-value", config->alerts_topic);
        status =
            upt_registry_register(shared->registry, subject, upt_schema_churn_alert, &shared->alert_schema_id, reterr);
    }
    return status;
}

static upt_status
open_schemas(struct pipeline *pipe, struct upt_error *reterr)
{
    const struct upt_config *config = pipe->config;
    struct upt_shared *shared = &pipe->shared;
    shared->health_schema_id = shared->alert_schema_id = -1;
    upt_status status = UPT_OK;
    if (config->registry_url[0] != '\0') {
        const struct upt_registry_config registry = {.urls = config->registry_url,
                                                     .user = config->registry_user,
                                                     .password = config->registry_password,
                                                     .token = config->registry_token,
                                                     .ca_file = config->registry_ca_file,
                                                     .timeout_ms = config->registry_timeout_ms,
                                                     .negative_ttl_ms = config->registry_negative_ttl_ms,
                                                     .metrics = upt_board_metrics(shared->board)};
        status = upt_registry_create(&registry, &shared->registry, reterr);
        for (int tries = 1; status == UPT_OK; tries++) {
            status = register_outputs(pipe, reterr);
            /* Two processes that register the same schema at once can meet a conflict; it is there at the next try. */
            if (status == UPT_OK || tries >= (status == UPT_EUNAVAIL ? 30 : 4) || told_to_stop()) {
                break;
            }
            upt_log_limited(UPT_LOG_WARNING, "pipeline", "%s; trying again", reterr->msg);
            upt_sleep_ms(status == UPT_EUNAVAIL ? 1000 : 200);
            status = UPT_OK;
        }
    }
    if (status == UPT_OK && strcmp(config->input_framing, "none") == 0) {
        status = upt_read_file(config->input_schema_file, SCHEMA_FILE_MAX, &pipe->schema, reterr);
        shared->input_schema = (struct upt_str){.p = pipe->schema.p, .len = (uint32_t)pipe->schema.len};
    }
    return status;
}

static upt_status
open_admin(struct pipeline *pipe, struct upt_error *reterr)
{
    const struct upt_config *config = pipe->config;
    upt_status status = UPT_OK;
    char warning[320];
    upt_config_exposed(config, warning, sizeof(warning));
    if (warning[0] != '\0') {
        upt_log(UPT_LOG_WARNING, "pipeline", "%s", warning);
    }
    if (config->admin_token_file[0] != '\0') {
        status = upt_config_token(config, &pipe->token, warning, sizeof(warning), reterr);
        if (status == UPT_OK && warning[0] != '\0') {
            upt_log(UPT_LOG_WARNING, "pipeline", "admin.token_file: %s", warning);
        }
    }
    if (status != UPT_OK) {
        return status;
    }
    const struct upt_view_config redis = {.url = config->redis_url,
                                          .user = config->redis_user,
                                          .password = config->redis_password,
                                          .prefix = config->redis_prefix,
                                          .owner = pipe->instance.name,
                                          .timeout_ms = config->redis_timeout_ms};
    const struct upt_admin_config admin = {.listen = config->admin_listen,
                                           .exact_port = pipe->options->exact_port,
                                           .token = pipe->token.p,
                                           .board = pipe->shared.board,
                                           .redis = &redis,
                                           .version = UPT_VERSION,
                                           .group = config->group,
                                           .instance = pipe->instance.name};
    return upt_admin_start(&admin, &pipe->admin, reterr);
}

static upt_status
open_shared(struct pipeline *pipe, struct upt_error *reterr)
{
    struct upt_shared *shared = &pipe->shared;
    const struct upt_config *config = pipe->config;
    shared->config = config;
    shared->instance = pipe->instance.name;
    shared->board = upt_board_create();
    shared->until_end = pipe->options->until_end;
    shared->publish_from_ms = UPT_NO_CLOCK;
    shared->later_least = UPT_LATER_LEAST;
    if (strcmp(config->publish_from, "start") != 0) {
        (void)upt_parse_time(config->publish_from, (uint32_t)strlen(config->publish_from), &shared->publish_from_ms);
    }
    struct upt_scoring *scoring = NULL;
    upt_status status = upt_scoring_load(config, &scoring, reterr);
    atomic_store(&shared->scoring, scoring);
    if (status == UPT_OK) {
        show_model(shared->board, scoring->model);
        struct upt_topics topics = {0};
        status = upt_topics_prepare(config, true, NULL, &topics, reterr);
        shared->partitions = topics.partitions;
        shared->batch_bytes = topics.batch_bytes;
        shared->letter_bytes = topics.letter_bytes;
    }
    if (status == UPT_OK) {
        status = open_schemas(pipe, reterr);
    }
    if (status == UPT_OK) {
        status = upt_ends_create(config, shared->partitions, &shared->ends, reterr);
    }
    if (status == UPT_OK) {
        status = open_admin(pipe, reterr);
    }
    return status;
}

static upt_status
start_lanes(struct pipeline *pipe, struct upt_error *reterr)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int n = pipe->config->threads > 0 ? (int)pipe->config->threads : (int)(cores > 0 ? cores : 1);
    n = n > pipe->shared.partitions ? pipe->shared.partitions : n;
    n = n > UPT_LANES_MAX ? UPT_LANES_MAX : n < 1 ? 1 : n;
    pipe->shared.lanes = n;
    for (; pipe->lanes_n < n; pipe->lanes_n++) {
        upt_status status = upt_lane_start(&pipe->shared, pipe->lanes_n, &pipe->lanes[pipe->lanes_n], reterr);
        if (status != UPT_OK) {
            return status;
        }
    }
    return UPT_OK;
}

/* ---- run ---- */

static void
wait_signal(const sigset_t *signals, int *ret)
{
    const struct timespec patience = {.tv_nsec = IDLE_MS * 1000000L};
    *ret = sigtimedwait(signals, NULL, &patience);
}

/* True once a lane has ended by itself: that is a fault. */
static bool
lane_failed(struct pipeline *pipe, struct upt_error *reterr)
{
    for (int i = 0; i < pipe->lanes_n; i++) {
        if (upt_lane_ended(pipe->lanes[i], reterr)) {
            return true;
        }
    }
    return false;
}

static bool
all_ended(struct pipeline *pipe)
{
    struct upt_error ignored;
    for (int i = 0; i < pipe->lanes_n; i++) {
        if (!upt_lane_ended(pipe->lanes[i], &ignored)) {
            return false;
        }
    }
    return true;
}

static void
cover(struct pipeline *pipe, int64_t now)
{
    if (pipe->covered || now < pipe->cover_due_ms) {
        return;
    }
    pipe->cover_due_ms = now + COVER_INTERVAL_MS;
    int missing = upt_lane_uncovered(pipe->lanes[0]);
    pipe->covered = missing == 0;
    if (missing > 0) {
        upt_log(UPT_LOG_WARNING, "pipeline", "%d partitions of %s are no member's: asking for a new assignment",
                missing, pipe->config->input_topic);
        for (int i = 0; i < pipe->lanes_n; i++) {
            upt_lane_join_again(pipe->lanes[i]);
        }
    }
}

static bool
lanes_at_end(struct pipeline *pipe)
{
    bool all = true;
    for (int i = 0; i < pipe->lanes_n && all; i++) {
        all = upt_lane_at_end(pipe->lanes[i]);
    }
    return all;
}

/* An end that was asked for; of a run to the end it is not the one that it promises. */
static upt_status
told(const struct pipeline *pipe, struct upt_error *reterr)
{
    return pipe->options->until_end
               ? upt_fail(reterr, UPT_EAGAIN, "told to stop before the end of the log; another run goes on from there")
               : UPT_OK;
}

static upt_status
run_until_told(struct pipeline *pipe, const sigset_t *signals, struct upt_error *reterr)
{
    int64_t begun = upt_mono_ms(), next_done_ms = 0;
    pipe->cover_due_ms = begun + COVER_INTERVAL_MS;
    for (;;) {
        int sig = 0;
        wait_signal(signals, &sig);
        int64_t now = upt_mono_ms();
        if (sig == SIGHUP) {
            reload(pipe);
        } else if (sig == SIGTERM || sig == SIGINT) {
            pipe->told_ms = now;
            upt_log(UPT_LOG_INFO, "pipeline", "draining");
            return told(pipe, reterr);
        }
        if (lane_failed(pipe, reterr)) {
            return reterr->code != UPT_OK ? reterr->code : UPT_EIO;
        }
        if (pipe->options->idle != NULL && !pipe->options->idle(pipe->options->ctx)) {
            return UPT_OK;
        }
        if (pipe->options->for_ms > 0 && now - begun >= pipe->options->for_ms) {
            return UPT_OK;
        }
        if (pipe->options->idle == NULL) { /* the embedded broker of `demo` describes no groups */
            cover(pipe, now);
        }
        if (pipe->options->until_end && now >= next_done_ms) {
            next_done_ms = now + 300;
            if (lanes_at_end(pipe) && upt_lane_group_done(pipe->lanes[0])) {
                upt_log(UPT_LOG_INFO, "pipeline", "every partition is read to its end, checkpointed and published");
                return UPT_OK;
            }
        }
    }
}

/* What is left to do once every lane has ended; librdkafka before 2.6.1 may never end a consumer whose topic was
 * deleted. All that counts is stored by then, so the process leaves all the same. */
struct deadline {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool over;
    int code;
};

static void *
deadline_main(void *arg)
{
    struct deadline *deadline = arg;
    struct timespec until;
    upt_thread_name("deadline");
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += END_PATIENCE_MS / 1000;
    pthread_mutex_lock(&deadline->lock);
    int rc = 0;
    while (!deadline->over && rc == 0) {
        rc = pthread_cond_timedwait(&deadline->wake, &deadline->lock, &until);
    }
    if (!deadline->over) {
        upt_log(UPT_LOG_WARNING, "pipeline",
                "clients of Kafka or Redis do not end; leaving without them. Nothing is lost by that");
        _exit(deadline->code);
    }
    pthread_mutex_unlock(&deadline->lock);
    return NULL;
}

static void
destroy_lanes(struct pipeline *pipe, upt_status status)
{
    struct deadline deadline = {.code = upt_exit_code(status)};
    pthread_condattr_t monotonic;
    pthread_t thread;
    pthread_mutex_init(&deadline.lock, NULL);
    pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&deadline.wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    bool watched = pthread_create(&thread, NULL, deadline_main, &deadline) == 0;
    for (int i = 0; i < pipe->lanes_n; i++) { /* of all, before the first client that may not end */
        upt_lane_end_view(pipe->lanes[i]);
    }
    for (int i = 0; i < pipe->lanes_n; i++) {
        upt_lane_destroy(&pipe->lanes[i]);
    }
    pthread_mutex_lock(&deadline.lock);
    deadline.over = true;
    pthread_cond_signal(&deadline.wake);
    pthread_mutex_unlock(&deadline.lock);
    if (watched) {
        pthread_join(thread, NULL);
    }
    pthread_cond_destroy(&deadline.wake);
    pthread_mutex_destroy(&deadline.lock);
}

static void
stop(struct pipeline *pipe, const sigset_t *signals, upt_status status)
{
    for (int i = 0; i < pipe->lanes_n; i++) {
        upt_lane_stop(pipe->lanes[i]);
    }
    while (!all_ended(pipe)) {
        int sig = 0;
        wait_signal(signals, &sig);
        int64_t now = upt_mono_ms();
        bool ends = sig == SIGTERM || sig == SIGINT;
        if (ends && pipe->told_ms == 0) {
            pipe->told_ms = now;
            upt_log(UPT_LOG_INFO, "pipeline", "draining already");
        } else if (ends && now - pipe->told_ms >= TWICE_MS) {
            upt_log(UPT_LOG_WARNING, "pipeline",
                    "second signal: leaving at once; the next start goes on from the checkpoint");
            _exit(128 + sig);
        }
    }
    destroy_lanes(pipe, status);
}

static void
close_shared(struct pipeline *pipe)
{
    upt_admin_stop(&pipe->admin);
    upt_ends_destroy(&pipe->shared.ends);
    upt_registry_destroy(&pipe->shared.registry);
    struct upt_scoring *scoring = atomic_load(&pipe->shared.scoring);
    upt_scoring_destroy(&scoring);
    upt_board_destroy(&pipe->shared.board);
    upt_buf_fini(&pipe->schema);
    upt_buf_fini(&pipe->token);
    upt_instance_release(&pipe->instance);
}

upt_status
upt_pipeline_run(struct upt_config *config, const struct upt_pipeline_options *options, struct upt_error *reterr)
{
    struct pipeline *pipe = calloc(1, sizeof(*pipe));
    if (pipe == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    pipe->config = config;
    pipe->options = options;
    upt_status status = upt_instance_take(config, &pipe->instance, reterr);
    if (status == UPT_OK) {
        status = open_shared(pipe, reterr);
    }
    if (status == UPT_EUNAVAIL && told_to_stop()) {
        upt_log(UPT_LOG_INFO, "pipeline", "told to stop before it began: %s", reterr->msg);
        status = told(pipe, reterr);
        goto out;
    }
    if (status == UPT_OK) {
        status = start_lanes(pipe, reterr);
    }
    if (status == UPT_OK) {
        if (options->started != NULL) {
            options->started(options->ctx, upt_admin_port(pipe->admin));
        }
        status = run_until_told(pipe, &signals, reterr);
    }
out:
    stop(pipe, &signals, status);
    close_shared(pipe);
    free(pipe);
    return status;
}
