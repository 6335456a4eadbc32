/* HTTP with the schema registries, on libcurl's easy handles.
 *
 * Credentials are taken out of the URLs at the start and handed to libcurl apart, so that no URL, and no error text
 * that quotes one, holds a secret. A redirect is followed only to the same scheme, host and port (libcurl's own
 * following would also go elsewhere). Proxies named by the environment are not used: whom the credentials go to is
 * decided by the configuration alone. An answer's length is bounded while it arrives. One thread: the registry's. */
#include "ingest/avro/registry_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include <jansson.h>

#include "ingest/avro/schema.h"

static char *
copy_of(const char *p, size_t len)
{
    char *copy = malloc(len + 1);
    if (copy != NULL) {
        memcpy(copy, p, len);
        copy[len] = '\0';
    }
    return copy;
}

static bool
given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* A part of the URL as malloc'd text. NULL: it has none. */
static char *
part_of(CURLU *url, CURLUPart part, unsigned flags)
{
    char *text = NULL;
    if (curl_url_get(url, part, &text, flags) != CURLUE_OK) {
        return NULL;
    }
    char *copy = copy_of(text, strlen(text));
    curl_free(text);
    return copy;
}

/* Fills base from one URL. The message never quotes the URL: it may hold a password. */
static upt_status
parse_base(struct upt_http_base *base, const char *text, size_t n, struct upt_error *reterr)
{
    CURLU *url = curl_url();
    char *scheme = NULL;
    char *query = NULL;
    upt_status status = UPT_OK;
    if (url == NULL || curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK) {
        status = upt_fail(reterr, UPT_EINVAL, "registry.url: number %zu is no URL", n);
        goto fail;
    }
    scheme = part_of(url, CURLUPART_SCHEME, 0);
    query = part_of(url, CURLUPART_QUERY, 0);
    if (scheme == NULL || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) || query != NULL) {
        status = upt_fail(reterr, UPT_EINVAL, "registry.url: number %zu is no plain http or https URL", n);
        goto fail;
    }
    base->user = part_of(url, CURLUPART_USER, CURLU_URLDECODE);
    base->password = part_of(url, CURLUPART_PASSWORD, CURLU_URLDECODE);
    (void)curl_url_set(url, CURLUPART_USER, NULL, 0);
    (void)curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
    (void)curl_url_set(url, CURLUPART_OPTIONS, NULL, 0);
    (void)curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    base->url = part_of(url, CURLUPART_URL, 0);
    if (base->url == NULL) {
        status = upt_fail(reterr, UPT_ENOMEM, "out of memory for the registry's URLs");
        goto fail;
    }
    for (size_t len = strlen(base->url); len > 0 && base->url[len - 1] == '/'; len--) {
        base->url[len - 1] = '\0';
    }
fail:
    curl_url_cleanup(url);
    free(scheme);
    free(query);
    return status;
}

static upt_status
parse_bases(struct upt_http *http, const char *urls, struct upt_error *reterr)
{
    size_t n = 1;
    for (const char *p = urls; *p != '\0'; p++) {
        n += *p == ',';
    }
    http->bases = calloc(n, sizeof(*http->bases));
    if (http->bases == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for the registry's URLs");
    }
    const char *p = urls;
    while (http->bases_n < n) {
        p += strspn(p, " \t");
        size_t len = strcspn(p, ",");
        size_t used = len;
        while (used > 0 && (p[used - 1] == ' ' || p[used - 1] == '\t')) {
            used--;
        }
        char *text = copy_of(p, used);
        if (text == NULL) {
            return upt_fail(reterr, UPT_ENOMEM, "out of memory for the registry's URLs");
        }
        upt_status status = parse_base(&http->bases[http->bases_n], text, http->bases_n + 1, reterr);
        http->bases_n++; /* also a half-built one is freed */
        free(text);
        if (status != UPT_OK) {
            return status;
        }
        p += len + 1;
    }
    return UPT_OK;
}

static upt_status
override_credentials(struct upt_http *http, const struct upt_registry_config *config, struct upt_error *reterr)
{
    const char *password = config->password == NULL ? "" : config->password;
    for (size_t i = 0; i < http->bases_n; i++) {
        struct upt_http_base *base = &http->bases[i];
        free(base->user);
        free(base->password);
        base->user = copy_of(config->user, strlen(config->user));
        base->password = copy_of(password, strlen(password));
        if (base->user == NULL || base->password == NULL) {
            return upt_fail(reterr, UPT_ENOMEM, "out of memory for the registry's credentials");
        }
    }
    return UPT_OK;
}

static bool
add_header(struct upt_http *http, const char *text)
{
    struct curl_slist *more = curl_slist_append(http->headers, text);
    if (more == NULL) {
        return false;
    }
    http->headers = more;
    return true;
}

static upt_status
make_headers(struct upt_http *http, const char *token, struct upt_error *reterr)
{
    struct upt_buf line = {0};
    bool done = add_header(http, "Accept: application/vnd.schemaregistry.v1+json, application/json") &&
                add_header(http, "Content-Type: application/vnd.schemaregistry.v1+json") && add_header(http, "Expect:");
    if (done && given(token)) {
        upt_buf_printf(&line, "Authorization: Bearer %s", token);
        done = add_header(http, line.p);
    }
    upt_buf_fini(&line);
    return done ? UPT_OK : upt_fail(reterr, UPT_ENOMEM, "out of memory for the registry's headers");
}

upt_status
upt_http_init(struct upt_http *http, const struct upt_registry_config *config, struct upt_error *reterr)
{
    if (!given(config->urls)) {
        return upt_fail(reterr, UPT_EINVAL, "registry.url is empty");
    }
    if (config->timeout_ms < 1 || config->timeout_ms > 3600000) {
        return upt_fail(reterr, UPT_EINVAL, "registry.timeout must be between 1ms and 1h");
    }
    if (given(config->token) && strpbrk(config->token, "\r\n") != NULL) {
        return upt_fail(reterr, UPT_EINVAL, "registry.token must be one line");
    }
    http->timeout_ms = (long)config->timeout_ms;
    upt_status status = parse_bases(http, config->urls, reterr);
    if (status == UPT_OK && given(config->user)) {
        status = override_credentials(http, config, reterr);
    }
    if (status == UPT_OK && given(config->ca_file)) {
        http->ca_file = copy_of(config->ca_file, strlen(config->ca_file));
        status = http->ca_file == NULL ? upt_fail(reterr, UPT_ENOMEM, "out of memory for a path") : UPT_OK;
    }
    if (status == UPT_OK) {
        status = make_headers(http, config->token, reterr);
    }
    if (status == UPT_OK && given(config->token)) {
        for (size_t i = 0; i < http->bases_n; i++) { /* the token wins: never both */
            free(http->bases[i].user);
            http->bases[i].user = NULL;
        }
    }
    return status;
}

void
upt_http_fini(struct upt_http *http)
{
    for (size_t i = 0; i < http->bases_n; i++) {
        free(http->bases[i].url);
        free(http->bases[i].user);
        free(http->bases[i].password);
    }
    free(http->bases);
    free(http->ca_file);
    curl_slist_free_all(http->headers);
    *http = (struct upt_http){0};
}

/* ---- One call ---- */

static size_t
receive(char *p, size_t size, size_t n, void *arg)
{
    struct upt_http_call *call = arg;
    size_t len = size * n;
    if (len > UPT_REGISTRY_ANSWER_MAX - call->body.len) {
        call->too_long = true;
        return 0;
    }
    upt_buf_put(&call->body, p, len);
    return len;
}

static void
set_options(const struct upt_http *http, struct upt_http_call *call, void *owner)
{
    const struct upt_http_base *base = &http->bases[call->base];
    CURL *easy = call->easy;
    (void)curl_easy_setopt(easy, CURLOPT_URL, call->url);
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, owner);
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, http->timeout_ms);
    (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, http->timeout_ms);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, http->headers);
    (void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "uptake/" UPT_VERSION);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    if (http->ca_file != NULL) {
        (void)curl_easy_setopt(easy, CURLOPT_CAINFO, http->ca_file);
    }
    if (base->user != NULL) {
        (void)curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        (void)curl_easy_setopt(easy, CURLOPT_USERNAME, base->user);
        (void)curl_easy_setopt(easy, CURLOPT_PASSWORD, base->password == NULL ? "" : base->password);
    }
    if (call->post != NULL) {
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)strlen(call->post));
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->post);
    }
}

bool
upt_http_prepare(const struct upt_http *http, struct upt_http_call *call, void *owner)
{
    if (call->easy == NULL) {
        call->easy = curl_easy_init();
    } else {
        curl_easy_reset(call->easy);
    }
    if (call->url == NULL) {
        struct upt_buf url = {0};
        upt_buf_printf(&url, "%s%s", http->bases[call->base].url, call->path);
        call->url = copy_of(url.p, url.len);
        upt_buf_fini(&url);
    }
    upt_buf_clear(&call->body);
    call->too_long = false;
    call->error[0] = '\0';
    if (call->easy == NULL || call->url == NULL) {
        return false;
    }
    set_options(http, call, owner);
    return true;
}

void
upt_http_call_fini(struct upt_http_call *call)
{
    curl_easy_cleanup(call->easy);
    free(call->url);
    free(call->path);
    free(call->post);
    upt_buf_fini(&call->body);
    *call = (struct upt_http_call){0};
}

/* ---- Answers ---- */

static bool
same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    char *x = part_of(a, part, CURLU_DEFAULT_PORT);
    char *y = part_of(b, part, CURLU_DEFAULT_PORT);
    bool same = x != NULL && y != NULL && strcasecmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}

static bool
same_origin(const char *from, const char *to)
{
    CURLU *a = curl_url();
    CURLU *b = curl_url();
    bool same = a != NULL && b != NULL && curl_url_set(a, CURLUPART_URL, from, 0) == CURLUE_OK &&
                curl_url_set(b, CURLUPART_URL, to, 0) == CURLUE_OK && same_part(a, b, CURLUPART_SCHEME) &&
                same_part(a, b, CURLUPART_HOST) && same_part(a, b, CURLUPART_PORT);
    curl_url_cleanup(a);
    curl_url_cleanup(b);
    return same;
}

bool
upt_http_redirected(struct upt_http_call *call)
{
    long http_code = 0;
    char *to = NULL;
    (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &http_code);
    (void)curl_easy_getinfo(call->easy, CURLINFO_REDIRECT_URL, &to);
    bool keeps_post = http_code == 307 || http_code == 308;
    if (http_code < 300 || http_code > 399 || to == NULL || call->redirects == UPT_REGISTRY_REDIRECTS_MAX ||
        (call->post != NULL && !keeps_post) || !same_origin(call->url, to)) {
        return false;
    }
    char *url = copy_of(to, strlen(to));
    if (url == NULL) {
        return false;
    }
    free(call->url);
    call->url = url;
    call->redirects++;
    return true;
}

/* The registry's own error code, 0 if the body has none; its text for 409 and 422, where it says what to mend. */
static int
registry_error(const struct upt_http_call *call, char *text, uint32_t cap)
{
    text[0] = '\0';
    json_t *json = json_loadb(call->body.p == NULL ? "" : call->body.p, call->body.len, 0, NULL);
    int code = (int)json_integer_value(json_object_get(json, "error_code"));
    const char *message = json_string_value(json_object_get(json, "message"));
    if (message != NULL) {
        (void)upt_schema_printable(message, text, cap);
    }
    json_decref(json);
    return code;
}

static upt_http_outcome
judge_status(struct upt_http_call *call, long http_code, const char *where, char *msg, size_t cap)
{
    char text[160];
    int code = registry_error(call, text, sizeof(text));
    call->error_code = code;
    if (http_code == 404 && code >= 40401 && code <= 40403) {
        (void)snprintf(msg, cap, "%s: there is none (error code %d)", where, code);
        return UPT_HTTP_NONE;
    }
    if (http_code == 401 || http_code == 403) {
        (void)snprintf(msg, cap, "%s: the registry refuses the credentials (HTTP %ld)", where, http_code);
        return UPT_HTTP_AUTH;
    }
    if (http_code == 409 || http_code == 422) {
        (void)snprintf(msg, cap, "%s: the registry does not accept it (HTTP %ld): %s", where, http_code, text);
        return UPT_HTTP_REFUSED;
    }
    if (http_code == 408 || http_code == 429 || http_code >= 500) {
        (void)snprintf(msg, cap, "%s: HTTP %ld", where, http_code);
        return UPT_HTTP_AWAY;
    }
    if (http_code >= 300 && http_code <= 399) {
        (void)snprintf(msg, cap, "%s: HTTP %ld leads to another host, which is not followed", where, http_code);
        return UPT_HTTP_NONSENSE;
    }
    (void)snprintf(msg, cap, "%s: HTTP %ld, not as a schema registry answers; is the URL right?", where, http_code);
    return UPT_HTTP_NONSENSE;
}

upt_http_outcome
upt_http_judge(const struct upt_http *http, struct upt_http_call *call, CURLcode code, char *msg, size_t cap)
{
    char where[200];
    long http_code = 0;
    call->error_code = 0;
    (void)snprintf(where, sizeof(where), "%.120s%.60s", http->bases[call->base].url, call->path);
    if (call->too_long) {
        (void)snprintf(msg, cap, "%s: an answer of more than %d bytes", where, UPT_REGISTRY_ANSWER_MAX);
        return UPT_HTTP_NONSENSE;
    }
    if (code != CURLE_OK) {
        char text[160];
        const char *reason = call->error[0] != '\0' ? call->error : curl_easy_strerror(code);
        (void)snprintf(msg, cap, "%s: %s", where, upt_schema_printable(reason, text, sizeof(text)));
        return UPT_HTTP_AWAY;
    }
    (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &http_code);
    if (http_code >= 200 && http_code <= 299) {
        (void)snprintf(msg, cap, "%s: HTTP %ld", where, http_code);
        return UPT_HTTP_GOOD;
    }
    return judge_status(call, http_code, where, msg, cap);
}
