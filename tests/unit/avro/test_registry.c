/* The registry client against canned answers: what is believed, for how long, whom it asks next, what it tells. */
#include "testing.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ingest/avro/registry.h"
#include "ingest/avro/registry_job.h"
#include "ingest/avro/schema.h"
#include "registry_stub.h"
#include "uptake/time.h"

#define NONE "{\"error_code\":40403,\"message\":\"Schema not found\"}"
#define GOOD "{\"schema\":\"\\\"string\\\"\"}"
#define PATIENCE_MS 20000

static struct upt_metrics metrics;

static struct upt_registry_config
config_of(const char *urls)
{
    memset(&metrics, 0, sizeof(metrics));
    return (struct upt_registry_config){
        .urls = urls, .timeout_ms = 5000, .negative_ttl_ms = 600000, .metrics = &metrics};
}

static struct upt_registry *
registry_of(const struct upt_registry_config *config)
{
    struct upt_registry *registry = NULL;
    struct upt_error error = {0};
    upt_status status = upt_registry_create(config, &registry, &error);
    if (status != UPT_OK) {
        print_error("%s\n", error.msg);
    }
    assert_int_equal(status, UPT_OK);
    return registry;
}

static unsigned
metric(upt_metric id)
{
    return (unsigned)atomic_load(&metrics.v[id]);
}

/* Asks until there is an answer, which after a failure may still be that of the try before. */
static upt_status
get(struct upt_registry *registry, int32_t id, struct upt_str *ret, struct upt_error *error)
{
    int64_t until = upt_mono_ms() + PATIENCE_MS;
    upt_status status = upt_registry_get(registry, id, ret, error);
    while (status == UPT_EAGAIN && upt_mono_ms() < until) {
        upt_sleep_ms(1);
        status = upt_registry_get(registry, id, ret, error);
    }
    return status;
}

/* Asks until the status is the one that is waited for. */
static void
get_until(struct upt_registry *registry, int32_t id, upt_status expected, struct upt_str *ret)
{
    int64_t until = upt_mono_ms() + PATIENCE_MS;
    struct upt_error error;
    upt_status status = upt_registry_get(registry, id, ret, &error);
    while (status != expected && upt_mono_ms() < until) {
        upt_sleep_ms(1);
        status = upt_registry_get(registry, id, ret, &error);
    }
    assert_int_equal(status, expected);
}

static void
test_found_is_kept(void **state)
{
    struct registry_stub *stub = *state;
    registry_stub_set(stub, "GET /schemas/ids/7", 200, GOOD, NULL);
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_str again;
    struct upt_error error;
    assert_int_equal(upt_registry_get(registry, 7, &schema, &error), UPT_EAGAIN); /* never waits */
    assert_int_equal(get(registry, 7, &schema, &error), UPT_OK);
    assert_text(schema, "\"string\"");
    for (int i = 0; i < 100; i++) {
        assert_int_equal(upt_registry_get(registry, 7, &again, &error), UPT_OK);
        assert_ptr_equal(again.p, schema.p);
    }
    assert_int_equal(registry_stub_hits(stub, "GET /schemas/ids/7"), 1);
    assert_int_equal(metric(UPT_M_REGISTRY_REQUESTS), 1);
    assert_int_equal(metric(UPT_M_REGISTRY_FAILURES), 0);
    upt_registry_destroy(&registry);
    assert_null(registry);
    upt_registry_destroy(&registry);
}

static void
test_absent_is_believed_for_a_time(void **state)
{
    struct registry_stub *stub = *state;
    registry_stub_set(stub, "GET /schemas/ids/8", 404, NONE, NULL);
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_error error;
    assert_int_equal(get(registry, 8, &schema, &error), UPT_ENOTFOUND);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(upt_registry_get(registry, 8, &schema, &error), UPT_ENOTFOUND);
    }
    assert_int_equal(registry_stub_hits(stub, "GET /schemas/ids/8"), 1);
    assert_int_equal(metric(UPT_M_REGISTRY_FAILURES), 0); /* an answer like any other */
    upt_registry_destroy(&registry);

    /* Believed for no time at all, it is told all the same, and asked for again the next time. */
    config.negative_ttl_ms = 0;
    registry = registry_of(&config);
    assert_int_equal(get(registry, 8, &schema, &error), UPT_ENOTFOUND);
    assert_int_equal(upt_registry_get(registry, 8, &schema, &error), UPT_EAGAIN);
    get_until(registry, 8, UPT_ENOTFOUND, &schema);
    assert_int_equal(registry_stub_hits(stub, "GET /schemas/ids/8"), 3);
    registry_stub_set(stub, "GET /schemas/ids/8", 200, GOOD, NULL);
    get_until(registry, 8, UPT_OK, &schema);
    upt_registry_destroy(&registry);
}

/* What is not the registry's word on the id is never "there is none". */
static void
test_answers_that_are_none(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
        upt_status expected;
        const char *text;
    } cases[] = {
        {404, "<html>nginx</html>", UPT_EDATA, "HTTP 404, not as a schema registry answers; is the URL right?"},
        {404, "{\"error_code\":404,\"message\":\"HTTP 404 Not Found\"}", UPT_EDATA, "is the URL right?"},
        {404, "{\"error_code\":40401}", UPT_EDATA, "40401"},
        {200, "<html>welcome</html>", UPT_EDATA, "a body that is none of a schema registry's"},
        {200, "{\"schemas\":1}", UPT_EDATA, "a body that is none of a schema registry's"},
        {200, "[]", UPT_EDATA, "a body that is none of a schema registry's"},
        {400, "", UPT_EDATA, "HTTP 400"},
        {401, "{\"error_code\":40403}", UPT_EAUTH, "refuses the credentials (HTTP 401)"},
        {403, "", UPT_EAUTH, "refuses the credentials (HTTP 403)"},
        {408, "", UPT_EUNAVAIL, "HTTP 408"},
        {429, "", UPT_EUNAVAIL, "HTTP 429"},
        {500, NONE, UPT_EUNAVAIL, "HTTP 500"},
        {503, "", UPT_EUNAVAIL, "HTTP 503"},
        {302, "", UPT_EDATA, "HTTP 302"},
    };
    struct registry_stub *stub = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        registry_stub_set(stub, "GET /schemas/ids/1", cases[i].status, cases[i].body, NULL);
        struct upt_registry_config config = config_of(registry_stub_url(stub));
        struct upt_registry *registry = registry_of(&config);
        struct upt_str schema;
        struct upt_error error = {0};
        assert_int_equal(get(registry, 1, &schema, &error), cases[i].expected);
        if (strstr(error.msg, cases[i].text) == NULL) {
            print_error("%s\n", error.msg);
        }
        assert_non_null(strstr(error.msg, cases[i].text));
        assert_non_null(strstr(error.msg, registry_stub_url(stub)));
        /* A later try makes it good. */
        registry_stub_set(stub, "GET /schemas/ids/1", 200, GOOD, NULL);
        get_until(registry, 1, UPT_OK, &schema);
        upt_registry_destroy(&registry);
    }
}

static void
test_long_answers(void **state)
{
    struct registry_stub *stub = *state;
    size_t len = UPT_REGISTRY_ANSWER_MAX + 1;
    char *body = malloc(len + 1);
    assert_non_null(body);
    memset(body, ' ', len);
    memcpy(body, GOOD, sizeof(GOOD) - 1);
    body[len] = '\0';
    registry_stub_set(stub, "GET /schemas/ids/1", 200, body, NULL);
    body[len - 1] = '\0';
    registry_stub_set(stub, "GET /schemas/ids/2", 200, body, NULL);
    free(body);
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_error error = {0};
    assert_int_equal(get(registry, 1, &schema, &error), UPT_EDATA);
    assert_non_null(strstr(error.msg, "an answer of more than 4194304 bytes"));
    assert_int_equal(get(registry, 2, &schema, &error), UPT_OK);
    upt_registry_destroy(&registry);
}

/* A port that nobody listens at. */
static void
closed_url(char *url, size_t cap)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    (void)snprintf(url, cap, "http://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    (void)close(fd);
}

/* A port where connections are taken and nothing is ever said. */
static int
silent_url(char *url, size_t cap)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    (void)snprintf(url, cap, "http://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    return fd;
}

static void
test_nobody_there(void **state)
{
    (void)state;
    char url[64];
    closed_url(url, sizeof(url));
    struct upt_registry_config config = config_of(url);
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_error error = {0};
    assert_int_equal(get(registry, 1, &schema, &error), UPT_EUNAVAIL);
    assert_non_null(strstr(error.msg, "onnect"));
    upt_registry_destroy(&registry);
    int fd = silent_url(url, sizeof(url));
    config.timeout_ms = 50;
    registry = registry_of(&config);
    assert_int_equal(get(registry, 1, &schema, &error), UPT_EUNAVAIL);
    assert_non_null(strstr(error.msg, "timed out"));
    assert_true(metric(UPT_M_REGISTRY_FAILURES) >= 1);
    upt_registry_destroy(&registry);
    (void)close(fd);
}

/* A destroyed client does not wait for requests under way. */
static void
test_destroy_during_a_request(void **state)
{
    (void)state;
    char url[64];
    int fd = silent_url(url, sizeof(url));
    struct upt_registry_config config = config_of(url);
    config.timeout_ms = 60000;
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    for (int32_t id = 0; id < 40; id++) { /* more than run at a time */
        assert_int_equal(upt_registry_get(registry, id, &schema, NULL), UPT_EAGAIN);
    }
    int64_t before = upt_mono_ms();
    upt_registry_destroy(&registry);
    assert_true(upt_mono_ms() - before < 10000);
    (void)close(fd);
}

/* An id that hangs holds up no other. */
static void
test_slow_id_beside_a_fast_one(void **state)
{
    struct registry_stub *stub = *state;
    char silent[64];
    char urls[256];
    int fd = silent_url(silent, sizeof(silent));
    registry_stub_set(stub, "GET /schemas/ids/2", 200, GOOD, NULL);
    registry_stub_set(stub, "GET /schemas/ids/1", 503, "", NULL); /* goes on to the silent one */
    (void)snprintf(urls, sizeof(urls), "%s,%s", registry_stub_url(stub), silent);
    struct upt_registry_config config = config_of(urls);
    config.timeout_ms = 60000;
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_error error;
    assert_int_equal(upt_registry_get(registry, 1, &schema, &error), UPT_EAGAIN);
    assert_int_equal(get(registry, 2, &schema, &error), UPT_OK);
    assert_int_equal(upt_registry_get(registry, 1, &schema, &error), UPT_EAGAIN); /* still under way, once */
    assert_true(registry_stub_hits(stub, "GET /schemas/ids/1") <= 1);
    upt_registry_destroy(&registry);
    (void)close(fd);
}

static void
test_other_urls(void **state)
{
    struct registry_stub *stub = *state;
    struct registry_stub *sick = registry_stub_start();
    char closed[64];
    char urls[256];
    closed_url(closed, sizeof(closed));
    registry_stub_set(sick, "GET /schemas/ids/1", 502, "", NULL);
    registry_stub_set(sick, "GET /schemas/ids/2", 200, GOOD, NULL);
    for (int id = 1; id <= 3; id++) {
        char request[64];
        (void)snprintf(request, sizeof(request), "GET /schemas/ids/%d", id);
        registry_stub_set(stub, request, 200, GOOD, NULL);
    }
    (void)snprintf(urls, sizeof(urls), " %s , %s/ ,%s", closed, registry_stub_url(sick), registry_stub_url(stub));
    struct upt_registry_config config = config_of(urls);
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_error error;
    assert_int_equal(get(registry, 1, &schema, &error), UPT_OK); /* the third has it */
    assert_int_equal(registry_stub_hits(sick, "GET /schemas/ids/1"), 1);
    assert_int_equal(metric(UPT_M_REGISTRY_REQUESTS), 3);
    assert_int_equal(metric(UPT_M_REGISTRY_FAILURES), 2);
    assert_int_equal(get(registry, 2, &schema, &error), UPT_OK); /* and is asked first from then on */
    assert_int_equal(registry_stub_hits(sick, "GET /schemas/ids/2"), 0);
    assert_int_equal(metric(UPT_M_REGISTRY_REQUESTS), 4);
    /* Until it fails: then the tour goes round to the second. */
    registry_stub_set(stub, "GET /schemas/ids/3", 500, "", NULL);
    registry_stub_set(sick, "GET /schemas/ids/3", 404, NONE, NULL);
    assert_int_equal(get(registry, 3, &schema, &error), UPT_ENOTFOUND);
    upt_registry_destroy(&registry);
    registry_stub_stop(&sick);
}

static void
assert_authorization(struct registry_stub *stub, const struct upt_registry_config *config, const char *expected)
{
    struct upt_registry *registry = registry_of(config);
    struct upt_str schema;
    assert_int_equal(get(registry, 1, &schema, NULL), UPT_OK);
    assert_string_equal(registry_stub_authorization(stub, "GET /schemas/ids/1"), expected);
    upt_registry_destroy(&registry);
}

static void
test_credentials(void **state)
{
    struct registry_stub *stub = *state;
    char url[128];
    registry_stub_set(stub, "GET /schemas/ids/1", 200, GOOD, NULL);
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    assert_authorization(stub, &config, "");
    config.user = "reader";
    config.password = "s3cret";
    assert_authorization(stub, &config, "Basic cmVhZGVyOnMzY3JldA==");
    (void)snprintf(url, sizeof(url), "http://other:p%%40ss@%s", registry_stub_url(stub) + 7);
    config.urls = url;
    assert_authorization(stub, &config, "Basic cmVhZGVyOnMzY3JldA=="); /* the keys override the URL */
    config.user = config.password = "";
    assert_authorization(stub, &config, "Basic b3RoZXI6cEBzcw==");
    config.token = "tok";
    assert_authorization(stub, &config, "Bearer tok");
    config.token = NULL;
    registry_stub_set(stub, "GET /schemas/ids/1", 401, "", NULL);
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_error error;
    assert_int_equal(get(registry, 1, &schema, &error), UPT_EAUTH);
    assert_null(strstr(error.msg, "other"));
    assert_null(strstr(error.msg, "ss@"));
    upt_registry_destroy(&registry);
}

static void
test_configurations_that_are_refused(void **state)
{
    (void)state;
    static const char *const urls[] = {"",
                                       NULL,
                                       "ftp://h",
                                       "127.0.0.1:8081",
                                       "http://h,",
                                       "http://h?a=b",
                                       "file:///etc/passwd",
                                       "http://u:verysecret@h:99999"};
    struct upt_registry *registry = NULL;
    struct upt_error error;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct upt_registry_config config = config_of(urls[i]);
        assert_int_equal(upt_registry_create(&config, &registry, &error), UPT_EINVAL);
        assert_null(registry);
        assert_non_null(strstr(error.msg, "registry.url"));
        assert_null(strstr(error.msg, "verysecret"));
    }
    struct upt_registry_config config = config_of("http://h");
    config.token = "a\r\nX: y";
    assert_int_equal(upt_registry_create(&config, &registry, &error), UPT_EINVAL);
    config.token = NULL;
    config.timeout_ms = 0;
    assert_int_equal(upt_registry_create(&config, &registry, &error), UPT_EINVAL);
}

static void
test_redirects(void **state)
{
    struct registry_stub *stub = *state;
    struct registry_stub *other = registry_stub_start();
    char elsewhere[128];
    registry_stub_set(stub, "GET /schemas/ids/1", 301, "", "/moved/1");
    registry_stub_set(stub, "GET /moved/1", 200, GOOD, NULL);
    registry_stub_set(other, "GET /schemas/ids/2", 200, GOOD, NULL);
    (void)snprintf(elsewhere, sizeof(elsewhere), "%s/schemas/ids/2", registry_stub_url(other));
    registry_stub_set(stub, "GET /schemas/ids/2", 302, "", elsewhere);
    registry_stub_set(stub, "GET /schemas/ids/3", 302, "", "/schemas/ids/3");
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    config.user = "u";
    config.password = "p";
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_error error;
    assert_int_equal(get(registry, 1, &schema, &error), UPT_OK);    /* on the same host */
    assert_int_equal(get(registry, 2, &schema, &error), UPT_EDATA); /* not with the credentials to another */
    assert_non_null(strstr(error.msg, "another host, which is not followed"));
    assert_int_equal(registry_stub_hits(other, "GET /schemas/ids/2"), 0);
    assert_int_equal(get(registry, 3, &schema, &error), UPT_EDATA); /* not for ever */
    assert_true(registry_stub_hits(stub, "GET /schemas/ids/3") >= 4);
    upt_registry_destroy(&registry);
    registry_stub_stop(&other);
}

static void
test_other_kinds_of_schema(void **state)
{
    struct registry_stub *stub = *state;
    registry_stub_set(stub, "GET /schemas/ids/1", 200,
                      "{\"schema\":\"syntax = \\\"proto3\\\";\",\"schemaType\":\"PROTOBUF\"}", NULL);
    registry_stub_set(stub, "GET /schemas/ids/2", 200, "{\"schema\":\"\\\"int\\\"\",\"schemaType\":\"AVRO\"}", NULL);
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_error error;
    struct upt_avro_schema *parsed = NULL;
    assert_int_equal(get(registry, 1, &schema, &error), UPT_OK);
    assert_int_equal(upt_schema_parse(schema, &parsed, &error), UPT_EDATA);
    assert_non_null(strstr(error.msg, "schemaType PROTOBUF, which is not AVRO"));
    assert_int_equal(get(registry, 2, &schema, &error), UPT_OK);
    assert_text(schema, "\"int\"");
    upt_registry_destroy(&registry);
}

/* ---- References ---- */

static void
test_references(void **state)
{
    struct registry_stub *stub = *state;
    registry_stub_set(
        stub, "GET /schemas/ids/1", 200,
        "{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"uptake.v1.UsageBatch\\\",\\\"fields\\\":["
        "{\\\"name\\\":\\\"events\\\",\\\"type\\\":{\\\"type\\\":\\\"array\\\",\\\"items\\\":\\\"UsageEvent\\\"}},"
        "{\\\"name\\\":\\\"last\\\",\\\"type\\\":[\\\"null\\\",\\\"uptake.v1.UsageEvent\\\"]},"
        "{\\\"name\\\":\\\"kind\\\",\\\"type\\\":\\\"other.Kind\\\"}]}\","
        "\"references\":[{\"name\":\"uptake.v1.UsageEvent\",\"subject\":\"an event\",\"version\":3}]}",
        NULL);
    registry_stub_set(stub, "GET /subjects/an event/versions/3", 200,
                      "{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"UsageEvent\\\",\\\"namespace\\\":"
                      "\\\"uptake.v1\\\","
                      "\\\"fields\\\":[{\\\"name\\\":\\\"account_id\\\",\\\"type\\\":\\\"string\\\"},"
                      "{\\\"name\\\":\\\"occurred_at\\\",\\\"type\\\":\\\"long\\\"},"
                      "{\\\"name\\\":\\\"kind\\\",\\\"type\\\":\\\"other.Kind\\\"}]}\","
                      "\"references\":[{\"name\":\"other.Kind\",\"subject\":\"kinds\",\"version\":1}]}",
                      NULL);
    registry_stub_set(stub, "GET /subjects/kinds/versions/1", 200,
                      "{\"schema\":\"{\\\"type\\\":\\\"enum\\\",\\\"name\\\":\\\"other.Kind\\\",\\\"symbols\\\":["
                      "\\\"USAGE\\\"]}\",\"references\":[{\"name\":\"x\",\"subject\":\"an event\",\"version\":3}]}",
                      NULL);
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_error error = {0};
    struct upt_avro_schema *parsed = NULL;
    assert_int_equal(get(registry, 1, &schema, &error), UPT_OK);
    upt_status status = upt_schema_parse(schema, &parsed, &error);
    if (status != UPT_OK) {
        print_error("%.*s\n%s\n", (int)schema.len, schema.p, error.msg);
    }
    assert_int_equal(status, UPT_OK);
    upt_schema_destroy(&parsed);
    assert_int_equal(registry_stub_hits(stub, "GET /subjects/an event/versions/3"), 1);
    assert_int_equal(registry_stub_hits(stub, "GET /subjects/kinds/versions/1"), 1);
    upt_registry_destroy(&registry);
}

/* Documentation may hold a NUL, as in a schema without references; a name with one is not cut to another name. */
static void
test_references_with_a_nul(void **state)
{
    struct registry_stub *stub = *state;
    static const char *const schemas[] = {
        "{\\\"type\\\":\\\"array\\\",\\\"items\\\":\\\"B\\\",\\\"doc\\\":\\\"\\\\u0000\\\"}",
        "[\\\"B\\\",\\\"int\\\\u0000\\\"]"};
    char request[64], answer[300];
    for (int i = 0; i < 2; i++) {
        (void)snprintf(request, sizeof(request), "GET /schemas/ids/%d", i + 1);
        (void)snprintf(answer, sizeof(answer),
                       "{\"schema\":\"%s\",\"references\":[{\"name\":\"B\",\"subject\":\"b\",\"version\":1}]}",
                       schemas[i]);
        registry_stub_set(stub, request, 200, answer, NULL);
    }
    registry_stub_set(stub, "GET /subjects/b/versions/1", 200,
                      "{\"schema\":\"{\\\"type\\\":\\\"fixed\\\",\\\"name\\\":\\\"B\\\",\\\"size\\\":1,"
                      "\\\"doc\\\":\\\"\\\\u0000\\\"}\"}",
                      NULL);
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_error error;
    struct upt_avro_schema *parsed = NULL;
    assert_int_equal(get(registry, 1, &schema, &error), UPT_OK);
    assert_int_equal(upt_schema_parse(schema, &parsed, &error), UPT_OK);
    upt_schema_destroy(&parsed);
    assert_int_equal(get(registry, 2, &schema, &error), UPT_OK);
    assert_int_equal(upt_schema_parse(schema, &parsed, &error), UPT_EDATA);
    upt_registry_destroy(&registry);
}

/* A reference that is not there, or a chain without end: the schema is handed on as one that cannot be parsed. */
static void
test_references_that_fail(void **state)
{
    struct registry_stub *stub = *state;
    registry_stub_set(
        stub, "GET /schemas/ids/1", 200,
        "{\"schema\":\"[\\\"a.B\\\"]\",\"references\":[{\"name\":\"a.B\",\"subject\":\"b\",\"version\":1}]}", NULL);
    registry_stub_set(stub, "GET /subjects/b/versions/1", 404, "{\"error_code\":40401}", NULL);
    struct upt_buf chain = {0};
    for (int i = 1; i <= 12; i++) {
        char request[64];
        (void)snprintf(request, sizeof(request), i == 1 ? "GET /schemas/ids/2" : "GET /subjects/s/versions/%d", i);
        upt_buf_clear(&chain);
        upt_buf_printf(&chain, "{\"schema\":\"\\\"a.B\\\"\",\"references\":[{\"subject\":\"s\",\"version\":%d}]}",
                       i + 1);
        upt_buf_put(&chain, "", 1);
        registry_stub_set(stub, request, 200, chain.p, NULL);
    }
    upt_buf_fini(&chain);
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_error error;
    struct upt_avro_schema *parsed = NULL;
    assert_int_equal(get(registry, 1, &schema, &error), UPT_OK);
    assert_int_equal(upt_schema_parse(schema, &parsed, &error), UPT_EDATA);
    assert_non_null(strstr(error.msg, "unknown type \"a.B\""));
    assert_int_equal(get(registry, 2, &schema, &error), UPT_OK);
    assert_int_equal(upt_schema_parse(schema, &parsed, &error), UPT_EDATA);
    assert_int_equal(registry_stub_hits(stub, "GET /subjects/s/versions/9"), 1);
    assert_int_equal(registry_stub_hits(stub, "GET /subjects/s/versions/10"), 0);
    upt_registry_destroy(&registry);
}

/* A registry that fails on a reference has not answered for the schema. */
static void
test_reference_from_a_sick_registry(void **state)
{
    struct registry_stub *stub = *state;
    registry_stub_set(stub, "GET /schemas/ids/1", 200,
                      "{\"schema\":\"[\\\"B\\\"]\",\"references\":[{\"name\":\"B\",\"subject\":\"b\",\"version\":1}]}",
                      NULL);
    registry_stub_set(stub, "GET /subjects/b/versions/1", 503, "", NULL);
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_error error;
    assert_int_equal(get(registry, 1, &schema, &error), UPT_EUNAVAIL);
    registry_stub_set(stub, "GET /subjects/b/versions/1", 200, "{}", NULL); /* some proxy's, of no registry */
    get_until(registry, 1, UPT_EDATA, &schema);
    registry_stub_set(stub, "GET /subjects/b/versions/1", 200,
                      "{\"schema\":\"{\\\"type\\\":\\\"fixed\\\",\\\"name\\\":\\\"B\\\",\\\"size\\\":1}\"}", NULL);
    get_until(registry, 1, UPT_OK, &schema);
    struct upt_avro_schema *parsed = NULL;
    assert_int_equal(upt_schema_parse(schema, &parsed, &error), UPT_OK);
    upt_schema_destroy(&parsed);
    upt_registry_destroy(&registry);
}

/* ---- Registration ---- */

static void
test_register(void **state)
{
    struct registry_stub *stub = *state;
    registry_stub_set(stub, "POST /subjects/churn-alerts-value/versions", 200, "{\"id\":42}", NULL);
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    struct upt_registry *registry = registry_of(&config);
    int32_t id = -1;
    struct upt_error error;
    assert_int_equal(upt_registry_register(registry, "churn-alerts-value", UPT_STR("\"int\""), &id, &error), UPT_OK);
    assert_int_equal(id, 42);
    assert_string_equal(registry_stub_body(stub, "POST /subjects/churn-alerts-value/versions"),
                        "{\"schema\":\"\\\"int\\\"\"}");
    assert_int_equal(upt_registry_register(registry, "s", UPT_STR("\xFF"), &id, &error), UPT_EINVAL);
    upt_registry_destroy(&registry);
}

static void
test_register_refused(void **state)
{
    struct registry_stub *stub = *state;
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    struct upt_registry *registry = registry_of(&config);
    int32_t id = -1;
    struct upt_error error;
    registry_stub_set(stub, "POST /subjects/s/versions", 409,
                      "{\"error_code\":409,\"message\":\"incompatible:\\nfield x\"}", NULL);
    assert_int_equal(upt_registry_register(registry, "s", UPT_STR("\"int\""), &id, &error), UPT_EDATA);
    assert_non_null(strstr(error.msg, "incompatible:?field x"));
    registry_stub_set(stub, "POST /subjects/s/versions", 500, "", NULL);
    assert_int_equal(upt_registry_register(registry, "s", UPT_STR("\"int\""), &id, &error), UPT_EUNAVAIL);
    registry_stub_set(stub, "POST /subjects/s/versions", 200, "{\"id\":\"x\"}", NULL);
    assert_int_equal(upt_registry_register(registry, "s", UPT_STR("\"int\""), &id, &error), UPT_EDATA);
    /* Without the right to write: it may be there already. */
    registry_stub_set(stub, "POST /subjects/s/versions", 403, "", NULL);
    registry_stub_set(stub, "POST /subjects/s", 404, "{\"error_code\":40403}", NULL);
    assert_int_equal(upt_registry_register(registry, "s", UPT_STR("\"int\""), &id, &error), UPT_EAUTH);
    assert_non_null(strstr(error.msg, "/subjects/s/versions: the registry refuses the credentials (HTTP 403)"));
    assert_int_equal(id, -1);
    registry_stub_set(stub, "POST /subjects/s", 200, "{\"id\":9,\"version\":1}", NULL);
    assert_int_equal(upt_registry_register(registry, "s", UPT_STR("\"int\""), &id, &error), UPT_OK);
    assert_int_equal(id, 9);
    upt_registry_destroy(&registry);
}

static void
test_register_in_time(void **state)
{
    (void)state;
    char url[64];
    int fd = silent_url(url, sizeof(url));
    struct upt_registry_config config = config_of(url);
    config.timeout_ms = 30;
    struct upt_registry *registry = registry_of(&config);
    int32_t id = -1;
    struct upt_error error;
    int64_t before = upt_mono_ms();
    assert_int_equal(upt_registry_register(registry, "s", UPT_STR("\"int\""), &id, &error), UPT_EUNAVAIL);
    assert_true(upt_mono_ms() - before < PATIENCE_MS);
    upt_registry_destroy(&registry);
    (void)close(fd);
}

/* ---- Many callers, many ids ---- */

struct caller {
    struct upt_registry *registry;
    unsigned good;
};

static void *
call(void *arg)
{
    struct caller *caller = arg;
    for (int32_t id = 1; id <= 4; id++) {
        struct upt_str schema;
        struct upt_error error;
        caller->good += get(caller->registry, id, &schema, &error) == (id == 4 ? UPT_ENOTFOUND : UPT_OK);
    }
    return NULL;
}

static void
test_single_flight(void **state)
{
    struct registry_stub *stub = *state;
    registry_stub_set(stub, "GET /schemas/ids/1", 200, GOOD, NULL);
    registry_stub_set(stub, "GET /schemas/ids/2", 200, GOOD, NULL);
    registry_stub_set(stub, "GET /schemas/ids/3", 200, GOOD, NULL);
    registry_stub_set(stub, "GET /schemas/ids/4", 404, NONE, NULL);
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    struct upt_registry *registry = registry_of(&config);
    struct caller callers[8];
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        callers[i] = (struct caller){.registry = registry};
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(callers[i].good, 4);
    }
    assert_int_equal(metric(UPT_M_REGISTRY_REQUESTS), 4);
    upt_registry_destroy(&registry);
}

/* Made-up ids beyond the bound: the oldest are forgotten, not the newest, and what was found stays. */
static void
test_absent_ids_are_bounded(void **state)
{
    struct registry_stub *stub = *state;
    registry_stub_set(stub, "GET /schemas/ids/5", 200, GOOD, NULL);
    struct upt_registry_config config = config_of(registry_stub_url(stub));
    struct upt_registry *registry = registry_of(&config);
    struct upt_str schema;
    struct upt_error error;
    assert_int_equal(get(registry, 5, &schema, &error), UPT_OK);
    (void)pthread_mutex_lock(&registry->lock);
    for (int32_t i = 0; i < UPT_REGISTRY_ABSENT_MAX; i++) { /* as if they had all been asked for */
        struct upt_answer *answer = calloc(1, sizeof(*answer));
        assert_non_null(answer);
        *answer = (struct upt_answer){.id = 100 + i, .state = UPT_ANSWER_ABSENT, .until_ms = INT64_MAX};
        *upt_registry_slot(registry, answer->id) = answer;
        registry->absent[i] = answer->id;
    }
    registry->absent_n = UPT_REGISTRY_ABSENT_MAX;
    (void)pthread_mutex_unlock(&registry->lock);
    assert_int_equal(upt_registry_get(registry, 100, &schema, &error), UPT_ENOTFOUND);
    registry_stub_set(stub, "GET /schemas/ids/50", 404, NONE, NULL);
    assert_int_equal(get(registry, 50, &schema, &error), UPT_ENOTFOUND);
    assert_int_equal(upt_registry_get(registry, 101, &schema, &error), UPT_ENOTFOUND);
    assert_int_equal(upt_registry_get(registry, 100, &schema, &error), UPT_EAGAIN); /* forgotten */
    assert_int_equal(upt_registry_get(registry, 5, &schema, &error), UPT_OK);
    assert_int_equal(registry->absent_n, UPT_REGISTRY_ABSENT_MAX);
    upt_registry_destroy(&registry);
}

static int
start_stub(void **state)
{
    *state = registry_stub_start();
    return 0;
}

static int
stop_stub(void **state)
{
    struct registry_stub *stub = *state;
    registry_stub_stop(&stub);
    return 0;
}

#define with_stub(test) cmocka_unit_test_setup_teardown(test, start_stub, stop_stub)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        with_stub(test_found_is_kept),
        with_stub(test_absent_is_believed_for_a_time),
        with_stub(test_answers_that_are_none),
        with_stub(test_long_answers),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_destroy_during_a_request),
        with_stub(test_slow_id_beside_a_fast_one),
        with_stub(test_other_urls),
        with_stub(test_credentials),
        cmocka_unit_test(test_configurations_that_are_refused),
        with_stub(test_redirects),
        with_stub(test_other_kinds_of_schema),
        with_stub(test_references),
        with_stub(test_references_with_a_nul),
        with_stub(test_references_that_fail),
        with_stub(test_reference_from_a_sick_registry),
        with_stub(test_register),
        with_stub(test_register_refused),
        cmocka_unit_test(test_register_in_time),
        with_stub(test_single_flight),
        with_stub(test_absent_ids_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
