/* Start and stop of the admin port, and the thread that reads Redis for it.
 *
 * Two threads, so that /healthz, /readyz and /metrics never wait for Redis: libmicrohttpd's own thread serves sockets
 * and answers what the board knows; requests that need Redis are suspended, queued, and answered when the reader thread
 * has built their body. However many browsers look, Redis is read once a second, and not at all when nobody looks.
 * The queue is bounded by the number of connections.
 *
 * Both threads run with all signals blocked: signals belong to the main thread, and a write to a Redis that has gone
 * must be an error, not a SIGPIPE. */
#include "ingest/admin/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ingest/admin/internal.h"
#include "uptake/assert.h"
#include "uptake/log.h"
#include "uptake/thread.h"
#include "uptake/time.h"

/* Splits "host:port" at the last colon; brackets around an IPv6 address are taken off. */
static bool
split(const char *listen_at, char *ret_host, size_t host_cap, const char **ret_port)
{
    const char *colon = strrchr(listen_at, ':');
    if (colon == NULL || colon[1] == '\0' || (size_t)(colon - listen_at) >= host_cap) {
        return false;
    }
    size_t len = (size_t)(colon - listen_at);
    const char *host = listen_at;
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (memchr(host, ':', len) != NULL) {
        return false; /* an IPv6 address needs its brackets */
    }
    memcpy(ret_host, host, len);
    ret_host[len] = '\0';
    if (strcmp(ret_host, "*") == 0) {
        ret_host[0] = '\0';
    }
    *ret_port = colon + 1;
    char *end = NULL;
    unsigned long port = strtoul(colon + 1, &end, 10); /* getaddrinfo takes 70000 for 4464 */
    return colon[1] >= '0' && colon[1] <= '9' && *end == '\0' && port <= UINT16_MAX;
}

static bool
is_loopback(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET) {
        struct sockaddr_in in4;
        memcpy(&in4, addr, sizeof(in4));
        return (ntohl(in4.sin_addr.s_addr) >> 24) == 127;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, addr, sizeof(in6));
    return addr->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

static uint16_t
port_of(int fd)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof(addr);
    uint16_t port = 0;
    if (getsockname(fd, (struct sockaddr *)&addr, &len) == 0) {
        /* sin_port and sin6_port are at the same place */
        struct sockaddr_in in4;
        memcpy(&in4, &addr, sizeof(in4));
        port = ntohs(in4.sin_port);
    }
    return port;
}

static int
bind_one(const struct addrinfo *at)
{
    int one = 1;
    int fd = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, UPT_ADMIN_CONNECTIONS) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* A socket that listens on the port of the first address that has it free; −1 with errno. */
static int
bind_port(struct upt_admin *admin, struct addrinfo *list, unsigned port)
{
    const uint16_t wire = htons((uint16_t)port);
    int fd = -1;
    bool in_use = false;
    for (struct addrinfo *at = list; at != NULL && fd < 0; at = at->ai_next) {
        /* sin_port and sin6_port are at the same place */
        memcpy((char *)at->ai_addr + offsetof(struct sockaddr_in, sin_port), &wire, sizeof(wire));
        fd = bind_one(at);
        in_use = in_use || (fd < 0 && errno == EADDRINUSE);
        admin->loopback = fd >= 0 && is_loopback(at->ai_addr);
    }
    if (fd < 0 && in_use) {
        errno = EADDRINUSE;
    }
    return fd;
}

/* The same on the port that is asked for, or, where others may be taken, on the first free one above it. */
static int
bind_first(struct upt_admin *admin, struct addrinfo *list, unsigned port, bool exact)
{
    int fd = bind_port(admin, list, port);
    int why = errno;
    for (unsigned n = 1; fd < 0 && why == EADDRINUSE && !exact && n < UPT_ADMIN_PORTS && port + n <= UINT16_MAX; n++) {
        fd = bind_port(admin, list, port + n);
    }
    errno = why;
    return fd;
}

/* A socket that listens, or −1 with reterr. */
static int
open_socket(struct upt_admin *admin, const struct upt_admin_config *config, struct upt_error *reterr)
{
    const char *listen_at = config->listen;
    char host[256];
    const char *port = NULL;
    if (!split(listen_at, host, sizeof(host), &port)) {
        (void)upt_fail(reterr, UPT_EINVAL, "admin.listen: \"%s\" is not HOST:PORT or off", listen_at);
        return -1;
    }
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host[0] == '\0' ? NULL : host, port, &hints, &list);
    if (rc != 0) {
        (void)upt_fail(reterr, UPT_EINVAL, "admin.listen: \"%s\": %s", listen_at, gai_strerror(rc));
        return -1;
    }
    unsigned wanted = (unsigned)strtoul(port, NULL, 10);
    int fd = bind_first(admin, list, wanted, config->exact_port);
    if (fd < 0) {
        (void)upt_fail(reterr, UPT_EIO, "admin.listen: cannot listen on %s%s: %s", listen_at,
                       errno == EADDRINUSE && !config->exact_port ? ", nor on the ports above" : "", strerror(errno));
    } else {
        admin->port = port_of(fd);
    }
    if (fd >= 0 && wanted != 0 && admin->port != wanted) {
        upt_log(UPT_LOG_WARNING, "admin", "admin.listen: port %u is in use; this process listens on %u", wanted,
                (unsigned)admin->port);
    }
    freeaddrinfo(list);
    return fd;
}

bool
upt_admin_queue(struct upt_admin *admin, struct upt_admin_job *job)
{
    pthread_mutex_lock(&admin->lock);
    bool open = !admin->stopping;
    if (open) {
        job->next = NULL;
        *admin->tail = job;
        admin->tail = &job->next;
        pthread_cond_signal(&admin->wake);
    }
    pthread_mutex_unlock(&admin->lock);
    return open;
}

static void
job_fail(struct upt_admin_job *job, unsigned code, const char *why)
{
    json_t *error = json_object();
    (void)json_object_set_new(error, "error", upt_admin_json_reason(why));
    upt_buf_clear(&job->body);
    upt_admin_json_text(error, &job->body);
    json_decref(error);
    job->code = code;
}

/* What the lane that has the account says of it; null: it is another process's, or busy. */
static void
explain(struct upt_admin *admin, const struct upt_admin_job *job, json_t *account)
{
    struct upt_buf text = {0};
    json_t *explained = NULL;
    uint64_t question = upt_board_ask(admin->board, (struct upt_str){.p = job->id, .len = job->id_len});
    if (upt_board_answered(admin->board, question, UPT_ADMIN_EXPLAIN_MS, &text)) {
        explained = json_loadb(text.p, text.len, JSON_ALLOW_NUL, NULL);
    }
    (void)json_object_set_new(account, "explained", explained != NULL ? explained : json_null());
    upt_buf_fini(&text);
}

static void
job_account(struct upt_admin *admin, struct upt_admin_job *job)
{
    json_t *account = NULL;
    upt_status status =
        upt_admin_redis_account(&admin->redis, (struct upt_str){.p = job->id, .len = job->id_len}, &account);
    if (status == UPT_OK) {
        job->code = 200;
        explain(admin, job, account);
        upt_admin_json_text(account, &job->body);
        json_decref(account);
    } else if (status == UPT_ENOTFOUND) {
        job_fail(job, 404, "no row for this account");
    } else {
        job_fail(job, 503, admin->redis.why);
    }
}

static void
job_status(struct upt_admin *admin, struct upt_admin_job *job)
{
    int64_t now = upt_mono_ms();
    if (admin->status_at == 0 || now - admin->status_at >= UPT_ADMIN_STATUS_MS) {
        upt_buf_clear(&admin->status);
        upt_admin_status_build(admin, &admin->status);
        /* The start counts, not the end: a page that polls once a second then meets a new one each time. */
        admin->status_at = now;
    }
    upt_buf_put(&job->body, admin->status.p, admin->status.len);
    job->code = 200;
}

/* @locality reader */
static void *
reader_main(void *arg)
{
    struct upt_admin *admin = arg;
    upt_thread_name("admin");
    upt_assert(admin->magic == UPT_ADMIN_MAGIC);
    pthread_mutex_lock(&admin->lock);
    for (;;) {
        while (admin->head == NULL && !admin->stopping) {
            pthread_cond_wait(&admin->wake, &admin->lock);
        }
        struct upt_admin_job *job = admin->head;
        bool stopping = admin->stopping;
        if (job == NULL) {
            break;
        }
        admin->head = job->next;
        if (admin->head == NULL) {
            admin->tail = &admin->head;
        }
        pthread_mutex_unlock(&admin->lock);
        if (stopping) {
            job_fail(job, 503, "stopping");
        } else if (job->account) {
            job_account(admin, job);
        } else {
            job_status(admin, job);
        }
        upt_admin_http_resume(job->connection); /* the job may be gone after this */
        pthread_mutex_lock(&admin->lock);
    }
    pthread_mutex_unlock(&admin->lock);
    return NULL;
}

static char *
copy(const char *text)
{
    return strdup(text == NULL ? "" : text);
}

static upt_status
start_threads(struct upt_admin *admin, const struct upt_admin_config *config, struct upt_error *reterr)
{
    sigset_t all;
    sigset_t before;
    int fd = open_socket(admin, config, reterr);
    if (fd < 0) {
        return reterr != NULL ? reterr->code : UPT_EIO;
    }
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    upt_status status = UPT_OK;
    if (pthread_create(&admin->reader, NULL, reader_main, admin) == 0) {
        admin->reader_started = true;
        status = upt_admin_http_start(admin, fd, reterr);
    } else {
        status = upt_fail(reterr, UPT_EIO, "cannot start the admin port's thread");
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != UPT_OK) {
        close(fd);
    }
    return status;
}

upt_status
upt_admin_start(const struct upt_admin_config *config, struct upt_admin **ret, struct upt_error *reterr)
{
    upt_status status = UPT_ENOMEM;
    if (config->listen == NULL || strcmp(config->listen, "off") == 0) {
        *ret = NULL;
        return UPT_OK;
    }
    struct upt_admin *admin = calloc(1, sizeof(*admin));
    if (admin == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for the admin port");
    }
    admin->magic = UPT_ADMIN_MAGIC;
    admin->tail = &admin->head;
    pthread_mutex_init(&admin->lock, NULL);
    pthread_cond_init(&admin->wake, NULL);
    admin->board = config->board;
    admin->heartbeat_max_ms = config->heartbeat_max_ms > 0 ? config->heartbeat_max_ms : 30 * UPT_SECOND_MS;
    admin->started_ms = upt_wall_ms();
    admin->started_mono_ms = upt_mono_ms();
    admin->token = copy(config->token);
    admin->version = copy(config->version);
    admin->group = copy(config->group);
    admin->instance = copy(config->instance);
    if (admin->token == NULL || admin->version == NULL || admin->group == NULL || admin->instance == NULL) {
        (void)upt_fail(reterr, UPT_ENOMEM, "out of memory for the admin port");
        goto fail;
    }
    status = upt_admin_redis_init(&admin->redis, config->redis, reterr);
    if (status != UPT_OK) {
        goto fail;
    }
    status = start_threads(admin, config, reterr);
    if (status != UPT_OK) {
        goto fail;
    }
    upt_log(UPT_LOG_INFO, "admin", "the live page: http://%.*s:%u/%s",
            (int)(strrchr(config->listen, ':') - config->listen), config->listen, (unsigned)admin->port,
            admin->token[0] != '\0' ? " (asks for the token)" : "");
    *ret = admin;
    return UPT_OK;

fail:
    upt_admin_stop(&admin);
    return status;
}

void
upt_admin_stop(struct upt_admin **admin_p)
{
    struct upt_admin *admin = *admin_p;
    if (admin == NULL) {
        return;
    }
    *admin_p = NULL;
    upt_assert(admin->magic == UPT_ADMIN_MAGIC);
    pthread_mutex_lock(&admin->lock);
    admin->stopping = true;
    pthread_cond_signal(&admin->wake);
    pthread_mutex_unlock(&admin->lock);
    if (admin->reader_started) {
        pthread_join(admin->reader, NULL); /* it has resumed every job before it ends */
    }
    upt_admin_http_stop(admin);
    upt_admin_redis_fini(&admin->redis);
    upt_buf_fini(&admin->status);
    if (admin->token != NULL) {
        memset(admin->token, 0, strlen(admin->token));
    }
    free(admin->token);
    free(admin->version);
    free(admin->group);
    free(admin->instance);
    pthread_cond_destroy(&admin->wake);
    pthread_mutex_destroy(&admin->lock);
    admin->magic = 0;
    free(admin);
}

uint16_t
upt_admin_port(const struct upt_admin *admin)
{
    return admin == NULL ? 0 : admin->port;
}
