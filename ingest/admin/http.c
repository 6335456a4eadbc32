/* Requests and responses: methods, the token, routes, headers.
 *
 * libmicrohttpd with one epoll thread of its own, GET and HEAD only, no bodies. Bounds: connections, header bytes (the
 * connection's memory), idle time. A refusal says so in one JSON object and closes the connection, so that bytes of a
 * body that was not read cannot be taken for a next request.
 *
 * Without a token a port on a loopback address still has one enemy: a web page that makes its own name resolve to
 * 127.0.0.1 and reads the answers (DNS rebinding). So such a port answers only to addresses and to localhost in Host.
 *
 * The page has one inline script and one inline style; each response gets a nonce of its own for them.
 *
 * @locality: libmicrohttpd's thread, except upt_admin_http_resume (reader). */
#include "ingest/admin/internal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include <microhttpd.h>

#include "uptake/assert.h"
#include "uptake/event.h"
#include "uptake/log.h"

#define NONCE_MARK "{{nonce}}"
#define JSON_TYPE "application/json; charset=utf-8"
#define TEXT_TYPE "text/plain; charset=utf-8"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define BASE_POLICY "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

/* Takes the buffer's bytes. */
static enum MHD_Result
respond(struct MHD_Connection *connection, unsigned code, const char *type, const char *policy, struct upt_buf *body)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(body->len, body->p, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        upt_buf_fini(body);
        return MHD_NO;
    }
    *body = (struct upt_buf){0};
    (void)MHD_add_response_header(response, "Content-Type", type);
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "Content-Security-Policy", policy);
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(response, "X-Frame-Options", "DENY");
    (void)MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    (void)MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
    if (code == MHD_HTTP_UNAUTHORIZED) {
        (void)MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"uptake\"");
    }
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED) {
        (void)MHD_add_response_header(response, "Allow", "GET, HEAD");
    }
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED || code == MHD_HTTP_BAD_REQUEST) {
        (void)MHD_add_response_header(response, "Connection", "close");
    }
    enum MHD_Result queued = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result
refuse(struct MHD_Connection *connection, unsigned code, const char *why)
{
    struct upt_buf body = {0};
    json_t *error = json_object();
    (void)json_object_set_new(error, "error", json_string(why));
    upt_admin_json_text(error, &body);
    json_decref(error);
    return respond(connection, code, JSON_TYPE, BASE_POLICY, &body);
}

/* Takes the same time for every wrong token of the same length. */
static bool
same_token(const char *given, const char *token)
{
    size_t given_len = strlen(given);
    size_t len = strlen(token);
    unsigned char differ = given_len == len ? 0 : 1;
    for (size_t i = 0; i < given_len; i++) {
        differ = (unsigned char)(differ | (unsigned char)(given[i] ^ token[len == 0 ? 0 : i % len]));
    }
    return differ == 0;
}

static bool
authorised(const struct upt_admin *admin, struct MHD_Connection *connection)
{
    const char *header = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    if (admin->token[0] == '\0') {
        return true;
    }
    if (header == NULL || strncasecmp(header, "Bearer ", 7) != 0) {
        return false;
    }
    for (header += 7; *header == ' '; header++) {
    }
    return same_token(header, admin->token);
}

/* Host is an address, localhost or a name under it; see the top. */
static bool
host_is_local(const char *host)
{
    char name[256];
    size_t len = strlen(host);
    if (host[0] == '[') {
        return true; /* an IPv6 address: no name can look like this */
    }
    const char *colon = strchr(host, ':');
    len = colon == NULL ? len : (size_t)(colon - host);
    if (len >= sizeof(name)) {
        return false;
    }
    memcpy(name, host, len);
    name[len] = '\0';
    struct in_addr addr;
    if (inet_pton(AF_INET, name, &addr) == 1 || strcasecmp(name, "localhost") == 0) {
        return true;
    }
    return len > 10 && strcasecmp(name + len - 10, ".localhost") == 0;
}

static void
make_nonce(char ret[33])
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        upt_panic(__FILE__, __LINE__, "getrandom failed");
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
    }
}

static enum MHD_Result
serve_page(struct MHD_Connection *connection)
{
    char nonce[33];
    char policy[512];
    struct upt_buf body = {0};
    make_nonce(nonce);
    snprintf(policy, sizeof(policy),
             "%s; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src 'self'; img-src data:", BASE_POLICY, nonce,
             nonce);
    const char *p = (const char *)upt_admin_page;
    const char *end = p + upt_admin_page_len;
    for (const char *mark = strstr(p, NONCE_MARK); mark != NULL; mark = strstr(p, NONCE_MARK)) {
        upt_buf_put(&body, p, (size_t)(mark - p));
        upt_buf_puts(&body, nonce);
        p = mark + strlen(NONCE_MARK);
    }
    upt_buf_put(&body, p, (size_t)(end - p));
    return respond(connection, MHD_HTTP_OK, "text/html; charset=utf-8", policy, &body);
}

static enum MHD_Result
serve_metrics(struct upt_admin *admin, struct MHD_Connection *connection)
{
    struct upt_buf body = {0};
    upt_admin_metrics_build(admin, &body);
    return respond(connection, MHD_HTTP_OK, METRICS_TYPE, BASE_POLICY, &body);
}

static enum MHD_Result
serve_health(struct upt_admin *admin, struct MHD_Connection *connection, bool readiness)
{
    char why[256] = "";
    struct upt_buf body = {0};
    bool good = readiness ? upt_board_ready(admin->board, why, sizeof(why))
                          : upt_board_alive(admin->board, admin->heartbeat_max_ms);
    if (good) {
        upt_buf_puts(&body, "ok\n");
    } else {
        upt_buf_printf(&body, "%s\n", readiness ? why : "a lane's loop has stopped");
    }
    return respond(connection, good ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, TEXT_TYPE, BASE_POLICY, &body);
}

/* Suspends the connection and hands the request to the reader. */
static enum MHD_Result
defer(struct upt_admin *admin, struct MHD_Connection *connection, struct upt_admin_job *job)
{
    job->connection = connection;
    job->queued = true;
    MHD_suspend_connection(connection);
    if (!upt_admin_queue(admin, job)) {
        job->code = MHD_HTTP_SERVICE_UNAVAILABLE;
        upt_buf_puts(&job->body, "{\"error\":\"stopping\"}");
        MHD_resume_connection(connection);
    }
    return MHD_YES;
}

static enum MHD_Result
serve_account(struct upt_admin *admin, struct MHD_Connection *connection, struct upt_admin_job *job)
{
    const char *id = NULL;
    size_t len = 0;
    (void)MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, "id", 2, &id, &len);
    if (id == NULL || len == 0) {
        return refuse(connection, MHD_HTTP_BAD_REQUEST, "which account? /account.json?id=…");
    }
    if (len > sizeof(job->id) || !upt_utf8_valid(id, len)) {
        return refuse(connection, MHD_HTTP_BAD_REQUEST, "an account's id is UTF-8 of at most 256 bytes");
    }
    memcpy(job->id, id, len);
    job->id_len = (uint32_t)len;
    job->account = true;
    return defer(admin, connection, job);
}

/* What is known before the route: false means that *ret_result is final. */
static bool
acceptable(const struct upt_admin *admin, struct MHD_Connection *connection, const char *method, bool open,
           enum MHD_Result *ret_result)
{
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        *ret_result = refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
        return false;
    }
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    if ((length != NULL && strcmp(length, "0") != 0) ||
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding") != NULL) {
        *ret_result = refuse(connection, MHD_HTTP_BAD_REQUEST, "a request here has no body");
        return false;
    }
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    if (!open && admin->loopback && admin->token[0] == '\0' && host != NULL && !host_is_local(host)) {
        *ret_result = refuse(connection, MHD_HTTP_FORBIDDEN,
                             "a loopback port without a token answers to addresses and localhost only: "
                             "set admin.token_file to use it under another name");
        return false;
    }
    return true;
}

static bool
is_probe(const char *path)
{
    return strcmp(path, "/healthz") == 0 || strcmp(path, "/livez") == 0 || strcmp(path, "/readyz") == 0;
}

/* Paths are compared whole: no prefix, no folder, no file system. */
static enum MHD_Result
route(struct upt_admin *admin, struct MHD_Connection *connection, const char *path, struct upt_admin_job *job)
{
    if (is_probe(path)) {
        return serve_health(admin, connection, strcmp(path, "/readyz") == 0);
    }
    if (strcmp(path, "/") == 0) {
        return serve_page(connection);
    }
    if (!authorised(admin, connection)) {
        return refuse(connection, MHD_HTTP_UNAUTHORIZED, "a bearer token is needed");
    }
    if (strcmp(path, "/metrics") == 0) {
        return serve_metrics(admin, connection);
    }
    if (strcmp(path, "/status.json") == 0) {
        return defer(admin, connection, job);
    }
    if (strcmp(path, "/account.json") == 0) {
        return serve_account(admin, connection, job);
    }
    return refuse(connection, MHD_HTTP_NOT_FOUND, "there is nothing here");
}

/* Called with the headers, again when the (empty) body is over, and once more after a suspension. */
static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *path, const char *method, const char *version,
           const char *upload, size_t *upload_len, void **request_p)
{
    struct upt_admin *admin = arg;
    struct upt_admin_job *job = *request_p;
    enum MHD_Result result = MHD_YES;
    (void)version;
    (void)upload;
    upt_assert(admin->magic == UPT_ADMIN_MAGIC);
    if (job == NULL) {
        job = calloc(1, sizeof(*job));
        *request_p = job;
        if (job == NULL) {
            return MHD_NO;
        }
        /* Refused now, answered later: an answer at this point makes libmicrohttpd close the connection. */
        (void)acceptable(admin, connection, method, is_probe(path), &result);
        return result;
    }
    if (*upload_len > 0) {
        return MHD_NO;
    }
    if (job->queued) {
        return respond(connection, job->code, JSON_TYPE, BASE_POLICY, &job->body);
    }
    return route(admin, connection, path, job);
}

static void
on_completed(void *arg, struct MHD_Connection *connection, void **request_p, enum MHD_RequestTerminationCode why)
{
    struct upt_admin_job *job = *request_p;
    (void)arg;
    (void)connection;
    (void)why;
    if (job != NULL) {
        upt_buf_fini(&job->body);
        free(job);
        *request_p = NULL;
    }
}

/* libmicrohttpd's own messages are about clients that hung up and the like. */
static void UPT_PRINTF(2, 0) on_log(void *arg, const char *fmt, va_list args)
{
    char line[256];
    (void)arg;
    if (!upt_log_enabled(UPT_LOG_DEBUG)) {
        return;
    }
    vsnprintf(line, sizeof(line), fmt, args);
    line[strcspn(line, "\r\n")] = '\0';
    upt_log(UPT_LOG_DEBUG, "admin", "%s", line);
}

upt_status
upt_admin_http_start(struct upt_admin *admin, int fd, struct upt_error *reterr)
{
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_log, NULL}, /* first, so that it hears of the others */
        {MHD_OPTION_LISTEN_SOCKET, fd, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, UPT_ADMIN_CONNECTIONS, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, UPT_ADMIN_TIMEOUT_S, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, 16384, NULL},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, admin},
        {MHD_OPTION_END, 0, NULL},
    };
    admin->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
                                     NULL, NULL, on_request, admin, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (admin->daemon == NULL) {
        return upt_fail(reterr, UPT_EIO, "the admin port could not be started");
    }
    return UPT_OK;
}

void
upt_admin_http_stop(struct upt_admin *admin)
{
    if (admin->daemon != NULL) {
        MHD_stop_daemon(admin->daemon);
        admin->daemon = NULL;
    }
}

void
upt_admin_http_resume(struct MHD_Connection *connection)
{
    MHD_resume_connection(connection);
}
