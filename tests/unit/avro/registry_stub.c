/* The registry of canned answers, on libmicrohttpd's own thread. The routes are shared under a mutex; strings that are
 * handed out stay until the stub stops. */
#include "registry_stub.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include "uptake/assert.h"

#define ROUTES 32
#define BODY_MAX 4096

struct route {
    char request[256];
    unsigned status, hits;
    char *body;
    size_t body_len;
    char location[256], authorization[256], got[BODY_MAX];
};

struct registry_stub {
    struct MHD_Daemon *daemon;
    char url[64];
    pthread_mutex_t lock;
    struct route routes[ROUTES];
    unsigned routes_n, misses;
};

struct upload {
    size_t len;
    char bytes[BODY_MAX];
};

/* @locks stub lock */
static struct route *
find(struct registry_stub *stub, const char *request)
{
    for (unsigned i = 0; i < stub->routes_n; i++) {
        if (strcmp(stub->routes[i].request, request) == 0) {
            return &stub->routes[i];
        }
    }
    return NULL;
}

static struct MHD_Response *
reply_of(struct registry_stub *stub, const char *request, struct MHD_Connection *connection,
         const struct upload *upload, unsigned *ret_status)
{
    const char *authorization = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    struct MHD_Response *response = NULL;
    (void)pthread_mutex_lock(&stub->lock);
    struct route *route = find(stub, request);
    if (route == NULL) {
        stub->misses++;
        *ret_status = 404;
        static char text[] = "not found";
        response = MHD_create_response_from_buffer(sizeof(text) - 1, text, MHD_RESPMEM_PERSISTENT);
    } else {
        route->hits++;
        *ret_status = route->status;
        (void)snprintf(route->authorization, sizeof(route->authorization), "%s",
                       authorization == NULL ? "" : authorization);
        memcpy(route->got, upload->bytes, upload->len);
        route->got[upload->len] = '\0';
        response = MHD_create_response_from_buffer(route->body_len, route->body, MHD_RESPMEM_MUST_COPY);
        if (route->location[0] != '\0') {
            (void)MHD_add_response_header(response, "Location", route->location);
        }
    }
    (void)pthread_mutex_unlock(&stub->lock);
    return response;
}

static enum MHD_Result
answer(void *arg, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
       const char *data, size_t *size, void **context)
{
    struct registry_stub *stub = arg;
    struct upload *upload = *context;
    (void)version;
    if (upload == NULL) {
        *context = calloc(1, sizeof(*upload));
        return *context == NULL ? MHD_NO : MHD_YES;
    }
    if (*size > 0) {
        size_t room = sizeof(upload->bytes) - 1 - upload->len;
        size_t len = *size < room ? *size : room;
        memcpy(upload->bytes + upload->len, data, len);
        upload->len += len;
        *size = 0;
        return MHD_YES;
    }
    char request[512];
    unsigned status = 0;
    (void)snprintf(request, sizeof(request), "%s %s", method, url);
    struct MHD_Response *response = reply_of(stub, request, connection, upload, &status);
    free(upload);
    *context = NULL;
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static void
completed(void *arg, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode code)
{
    (void)arg;
    (void)connection;
    (void)code;
    free(*context);
}

struct registry_stub *
registry_stub_start(void)
{
    struct registry_stub *stub = calloc(1, sizeof(*stub));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    upt_assert(stub != NULL && pthread_mutex_init(&stub->lock, NULL) == 0);
    stub->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, answer, stub, MHD_OPTION_SOCK_ADDR,
                                    &address, MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_END);
    upt_assert(stub->daemon != NULL);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(stub->daemon, MHD_DAEMON_INFO_BIND_PORT);
    (void)snprintf(stub->url, sizeof(stub->url), "http://127.0.0.1:%u", (unsigned)info->port);
    return stub;
}

void
registry_stub_stop(struct registry_stub **stub_p)
{
    struct registry_stub *stub = *stub_p;
    MHD_stop_daemon(stub->daemon);
    for (unsigned i = 0; i < stub->routes_n; i++) {
        free(stub->routes[i].body);
    }
    (void)pthread_mutex_destroy(&stub->lock);
    free(stub);
    *stub_p = NULL;
}

const char *
registry_stub_url(const struct registry_stub *stub)
{
    return stub->url;
}

void
registry_stub_set(struct registry_stub *stub, const char *request, unsigned status, const char *body,
                  const char *location)
{
    (void)pthread_mutex_lock(&stub->lock);
    struct route *route = find(stub, request);
    if (route == NULL) {
        upt_assert(stub->routes_n < ROUTES);
        route = &stub->routes[stub->routes_n++];
        (void)snprintf(route->request, sizeof(route->request), "%s", request);
    }
    free(route->body);
    route->status = status;
    route->body_len = strlen(body);
    route->body = malloc(route->body_len + 1);
    upt_assert(route->body != NULL);
    memcpy(route->body, body, route->body_len + 1);
    (void)snprintf(route->location, sizeof(route->location), "%s", location == NULL ? "" : location);
    (void)pthread_mutex_unlock(&stub->lock);
}

unsigned
registry_stub_hits(struct registry_stub *stub, const char *request)
{
    (void)pthread_mutex_lock(&stub->lock);
    const struct route *route = find(stub, request);
    unsigned hits = route == NULL ? 0 : route->hits;
    (void)pthread_mutex_unlock(&stub->lock);
    return hits;
}

const char *
registry_stub_authorization(struct registry_stub *stub, const char *request)
{
    (void)pthread_mutex_lock(&stub->lock);
    const struct route *route = find(stub, request);
    (void)pthread_mutex_unlock(&stub->lock);
    return route == NULL ? "" : route->authorization;
}

const char *
registry_stub_body(struct registry_stub *stub, const char *request)
{
    (void)pthread_mutex_lock(&stub->lock);
    const struct route *route = find(stub, request);
    (void)pthread_mutex_unlock(&stub->lock);
    return route == NULL ? "" : route->got;
}

unsigned
registry_stub_misses(struct registry_stub *stub)
{
    (void)pthread_mutex_lock(&stub->lock);
    unsigned misses = stub->misses;
    (void)pthread_mutex_unlock(&stub->lock);
    return misses;
}
