/* One HTTP exchange with one of the registries. Private to the registry client; its thread only. */
#ifndef UPT_AVRO_REGISTRY_HTTP_H
#define UPT_AVRO_REGISTRY_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include <curl/curl.h>

#include "ingest/avro/registry.h"
#include "uptake/status.h"
#include "uptake/str.h"

/* Above a schema's own bound even when it is escaped: one that is too long is the schema's fault, not an outage. */
#define UPT_REGISTRY_ANSWER_MAX (4 * 1024 * 1024)
#define UPT_REGISTRY_REDIRECTS_MAX 3

struct upt_http_base {
    char *url; /* scheme://host:port/path, without credentials and without a last slash; may be shown */
    char *user, *password;
};

/* What every request needs. */
struct upt_http {
    struct upt_http_base *bases;
    size_t bases_n;
    char *ca_file;
    long timeout_ms;
    struct curl_slist *headers;
};

typedef enum upt_http_outcome {
    UPT_HTTP_GOOD,    /* 2xx with JSON */
    UPT_HTTP_NONE,    /* 404 with a code of the registry's for "there is none" */
    UPT_HTTP_AUTH,    /* 401, 403 */
    UPT_HTTP_REFUSED, /* 409, 422: understood and not accepted */
    UPT_HTTP_AWAY,    /* no connection, a time-out, 408, 429, 5xx */
    UPT_HTTP_NONSENSE /* anything else */
} upt_http_outcome;

struct upt_http_call {
    CURL *easy;
    char *url;  /* of this try */
    char *path; /* below the base; owned, as are the others */
    char *post; /* NULL: GET */
    size_t base, tried;
    int redirects;
    int error_code; /* the registry's own, of the answer judged last; 0: none */
    struct upt_buf body;
    bool too_long;
    char error[CURL_ERROR_SIZE];
};

UPT_NODISCARD upt_status upt_http_init(struct upt_http *http, const struct upt_registry_config *config,
                                       struct upt_error *reterr);
void upt_http_fini(struct upt_http *http);

/* Makes call->easy ready for call->path at call->base (or for call->url after a redirect). False: out of memory. */
bool upt_http_prepare(const struct upt_http *http, struct upt_http_call *call, void *owner);
void upt_http_call_fini(struct upt_http_call *call);
/* True if the answer sends the call elsewhere on the same host: then prepare and run it again. */
bool upt_http_redirected(struct upt_http_call *call);
/* Judges a finished call and writes a sentence without secrets about what is not good. */
upt_http_outcome upt_http_judge(const struct upt_http *http, struct upt_http_call *call, CURLcode code, char *msg,
                                size_t cap);

#endif
