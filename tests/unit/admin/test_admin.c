/* The admin port over real sockets: routes, token, refusals, what is shown with and without Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "fake_redis.h"
#include "ingest/admin/admin.h"
#include "uptake/outcomes.h"
#include "uptake/time.h"

#define TOKEN "s3cret-token"

struct fixture {
    struct upt_board *board;
    struct upt_metrics *metrics;
    struct fake_redis *redis;
    struct upt_admin *admin;
    char url[64];
};

struct answer {
    int code;
    char head[2048];
    char body[65536];
};

static int
dial(uint16_t port)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

static void
tell(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until the other side closes; code 0: it closed without an answer. */
static void
hear(int fd, struct answer *ret)
{
    static char all[80000];
    size_t len = 0;
    for (ssize_t got = 1; got > 0 && len < sizeof(all) - 1; len += (size_t)(got > 0 ? got : 0)) {
        got = recv(fd, all + len, sizeof(all) - 1 - len, 0);
    }
    close(fd);
    all[len] = '\0';
    memset(ret, 0, sizeof(*ret));
    char *body = strstr(all, "\r\n\r\n");
    if (body != NULL) {
        ret->code = (int)strtol(all + 9, NULL, 10);
        snprintf(ret->head, sizeof(ret->head), "%.*s", (int)(body - all), all);
        snprintf(ret->body, sizeof(ret->body), "%s", body + 4);
    }
}

static struct answer *
raw(struct fixture *fx, const char *request)
{
    static struct answer answer;
    int fd = dial(upt_admin_port(fx->admin));
    tell(fd, request);
    hear(fd, &answer);
    return &answer;
}

static struct answer *
get(struct fixture *fx, const char *path, const char *headers)
{
    char request[2048];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", path,
             headers);
    return raw(fx, request);
}

static struct upt_admin_config
config_of(struct fixture *fx, const struct upt_view_config *redis, const char *token)
{
    return (struct upt_admin_config){.listen = "127.0.0.1:0",
                                     .token = token,
                                     .board = fx->board,
                                     .redis = redis,
                                     .version = "1.2.3",
                                     .group = "g",
                                     .instance = "i"};
}

static void
start(struct fixture *fx, const char *token)
{
    struct upt_error err = {0};
    const struct upt_view_config redis = {.url = fx->url, .prefix = "uptake:", .timeout_ms = 2000};
    struct upt_admin_config config = config_of(fx, &redis, token);
    assert_int_equal(upt_admin_start(&config, &fx->admin, &err), UPT_OK);
    assert_true(upt_admin_port(fx->admin) > 0);
}

static int
setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof(*fx));
    fx->board = upt_board_create();
    fx->metrics = upt_board_metrics(fx->board);
    upt_board_heartbeat(fx->board, 0);
    upt_board_set_ready(fx->board, 0, true, NULL);
    fx->redis = fake_redis_start();
    snprintf(fx->url, sizeof(fx->url), "redis://127.0.0.1:%u", (unsigned)fake_redis_port(fx->redis));
    *state = fx;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *fx = *state;
    upt_admin_stop(&fx->admin);
    if (fx->redis != NULL) {
        fake_redis_stop(&fx->redis);
    }
    upt_board_destroy(&fx->board);
    free(fx);
    return 0;
}

static void
probes(void **state)
{
    struct fixture *fx = *state;
    start(fx, NULL);
    assert_int_equal(get(fx, "/healthz", "")->code, 200);
    assert_int_equal(get(fx, "/livez", "")->code, 200);
    assert_int_equal(get(fx, "/readyz", "")->code, 200);
    upt_board_set_ready(fx->board, 0, false, "partition 3 is restoring");
    struct answer *answer = get(fx, "/readyz", "");
    assert_int_equal(answer->code, 503);
    assert_non_null(strstr(answer->body, "partition 3 is restoring"));
    assert_int_equal(get(fx, "/healthz", "")->code, 200);
}

static void
a_lane_that_stands_is_not_alive(void **state)
{
    struct fixture *fx = *state;
    struct upt_error err = {0};
    struct upt_admin_config config = config_of(fx, NULL, NULL);
    config.heartbeat_max_ms = 1;
    assert_int_equal(upt_admin_start(&config, &fx->admin, &err), UPT_OK);
    int64_t until = upt_mono_ms() + 10000;
    int code = 0;
    while (code != 503 && upt_mono_ms() < until) {
        code = get(fx, "/healthz", "")->code;
    }
    assert_int_equal(code, 503);
    assert_int_equal(get(fx, "/livez", "")->code, 503);
}

static void
the_token_guards_all_but_page_and_probes(void **state)
{
    struct fixture *fx = *state;
    start(fx, TOKEN);
    static const char *const guarded[] = {"/metrics", "/status.json", "/account.json?id=a%20b", "/nothing"};
    static const char *const wrong[] = {"",
                                        "Authorization: Bearer \r\n",
                                        "Authorization: Bearer s3cret-toke\r\n",
                                        "Authorization: Bearer s3cret-token2\r\n",
                                        "Authorization: Bearer s3cret-tokens3cret-token\r\n",
                                        "Authorization: Bearer S3cret-token\r\n",
                                        "Authorization: s3cret-token\r\n",
                                        "Authorization: Basic s3cret-token\r\n"};
    for (size_t p = 0; p < 4; p++) {
        for (size_t w = 0; w < sizeof(wrong) / sizeof(wrong[0]); w++) {
            struct answer *answer = get(fx, guarded[p], wrong[w]);
            assert_int_equal(answer->code, 401);
            assert_non_null(strstr(answer->head, "WWW-Authenticate: Bearer"));
        }
    }
    assert_int_equal(get(fx, "/metrics", "Authorization: Bearer " TOKEN "\r\n")->code, 200);
    assert_int_equal(get(fx, "/status.json", "Authorization: bearer  " TOKEN "\r\n")->code, 200);
    assert_int_equal(get(fx, "/nothing", "Authorization: Bearer " TOKEN "\r\n")->code, 404);
    static const char *const open[] = {"/", "/healthz", "/livez", "/readyz"};
    for (size_t p = 0; p < 4; p++) {
        assert_int_equal(get(fx, open[p], "")->code, 200);
        assert_null(strstr(get(fx, open[p], "")->body, TOKEN));
    }
    /* With a token any name may be used. */
    assert_int_equal(raw(fx, "GET /metrics HTTP/1.1\r\nHost: uptake.example\r\nConnection: close\r\n"
                             "Authorization: Bearer " TOKEN "\r\n\r\n")
                         ->code,
                     200);
}

static void
bad_requests_are_refused(void **state)
{
    struct fixture *fx = *state;
    start(fx, NULL);
    struct answer *answer = raw(fx, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc");
    assert_int_equal(answer->code, 405);
    assert_non_null(strstr(answer->head, "Allow: GET, HEAD"));
    assert_int_equal(raw(fx, "DELETE /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")->code, 405);
    assert_int_equal(raw(fx, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")->code, 405);
    assert_int_equal(raw(fx, "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")->code, 400);
    assert_int_equal(
        raw(fx, "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")->code,
        400);
    assert_int_equal(get(fx, "/healthz/", "")->code, 404);
    assert_int_equal(get(fx, "/../../etc/passwd", "")->code, 404);
    assert_int_equal(get(fx, "/%2e%2e/x", "")->code, 404);
    assert_int_equal(get(fx, "/account.json", "")->code, 400);
    assert_int_equal(get(fx, "/account.json?id=", "")->code, 400);
    assert_int_equal(get(fx, "/account.json?id=%FF", "")->code, 400);
    char path[400] = "/account.json?id=";
    memset(path + strlen(path), 'a', 257);
    assert_int_equal(get(fx, path, "")->code, 400);
    path[strlen(path) - 1] = '\0';
    assert_int_equal(get(fx, path, "")->code, 404); /* 256 bytes: no such account */
    /* A browser that was lured here by a name (DNS rebinding). */
    assert_int_equal(raw(fx, "GET /status.json HTTP/1.1\r\nHost: evil.example:80\r\nConnection: close\r\n\r\n")->code,
                     403);
    assert_int_equal(raw(fx, "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9\r\nConnection: close\r\n\r\n")->code, 200);
    assert_int_equal(raw(fx, "GET /metrics HTTP/1.1\r\nHost: [::1]:9\r\nConnection: close\r\n\r\n")->code, 200);
    /* Not HTTP at all, and more headers than there is room for: an error or a hang-up, and the port lives on. */
    int code = raw(fx, "\x16\x03\x01 what\r\n\r\n")->code;
    assert_true(code == 0 || (code >= 400 && code < 500));
    static char huge[60000];
    snprintf(huge, sizeof(huge), "GET / HTTP/1.1\r\nHost: localhost\r\nX: ");
    memset(huge + strlen(huge), 'x', sizeof(huge) - 100);
    memcpy(huge + sizeof(huge) - 10, "\r\n\r\n", 5);
    int fd = dial(upt_admin_port(fx->admin));
    (void)!send(fd, huge, strlen(huge), MSG_NOSIGNAL);
    struct answer refused;
    hear(fd, &refused);
    assert_true(refused.code == 0 || (refused.code >= 400 && refused.code < 500));
    assert_int_equal(get(fx, "/healthz", "")->code, 200);
}

static void
two_requests_on_one_connection(void **state)
{
    struct fixture *fx = *state;
    char first[2048];
    size_t len = 0;
    start(fx, NULL);
    int fd = dial(upt_admin_port(fx->admin));
    tell(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    do {
        ssize_t got = recv(fd, first + len, sizeof(first) - 1 - len, 0);
        assert_true(got > 0);
        len += (size_t)got;
        first[len] = '\0';
    } while (strstr(first, "\r\n\r\nok\n") == NULL);
    assert_null(strstr(first, "Connection: close"));
    struct answer answer;
    tell(fd, "GET /status.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    hear(fd, &answer);
    assert_int_equal(answer.code, 200);
    assert_non_null(strstr(answer.body, "\"totals\""));
}

static void
the_page_carries_its_own_policy(void **state)
{
    struct fixture *fx = *state;
    char policy[2][200];
    start(fx, NULL);
    for (int i = 0; i < 2; i++) {
        struct answer *answer = get(fx, "/", "");
        assert_int_equal(answer->code, 200);
        assert_non_null(strstr(answer->head, "Content-Security-Policy: default-src 'none'"));
        assert_non_null(strstr(answer->head, "X-Content-Type-Options: nosniff"));
        assert_null(strstr(answer->body, "{{nonce}}"));
        assert_null(strstr(answer->body, "innerHTML"));
        assert_null(strstr(answer->body, "https://"));
        const char *nonce = strstr(answer->head, "script-src 'nonce-");
        assert_non_null(nonce);
        snprintf(policy[i], sizeof(policy[i]), "<script nonce=\"%.32s\">", nonce + strlen("script-src 'nonce-"));
        assert_non_null(strstr(answer->body, policy[i]));
        assert_non_null(strstr(answer->body, "</html>"));
    }
    assert_string_not_equal(policy[0], policy[1]);
    struct answer *head = raw(fx, "HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_int_equal(head->code, 200);
    assert_string_equal(head->body, "");
}

static void
metrics_have_the_names_of_the_table(void **state)
{
    struct fixture *fx = *state;
    start(fx, NULL);
    upt_metric_add(fx->metrics, UPT_M_EVENTS, 5);
    struct answer *answer = get(fx, "/metrics", "");
    assert_int_equal(answer->code, 200);
    assert_non_null(strstr(answer->head, "Content-Type: text/plain; version=0.0.4"));
    assert_non_null(strstr(answer->body, "\nuptake_events_total 5\n"));
    assert_non_null(strstr(answer->body, "uptake_build_info{version=\"1.2.3\"} 1\n"));
    assert_non_null(strstr(answer->body, "\nprocess_resident_memory_bytes "));
}

static json_t *
parsed(const struct answer *answer)
{
    json_error_t error;
    json_t *json = json_loads(answer->body, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(json);
    return json;
}

/* 64 lanes have five sets each; the fixture's is the registry's. */
static void
metrics_of_every_lane(void **state)
{
    struct fixture *fx = *state;
    start(fx, NULL);
    for (int n = 0; n < 64 * 5; n++) {
        upt_metric_add(upt_board_metrics(fx->board), UPT_M_EVENTS, 1);
    }
    assert_non_null(strstr(get(fx, "/metrics", "")->body, "\nuptake_events_total 320\n"));
    json_t *status = parsed(get(fx, "/status.json", ""));
    json_t *metrics = json_object_get(status, "metrics");
    assert_int_equal(json_integer_value(json_object_get(metrics, "uptake_events_total")), 320);
    json_decref(status);
}

static void
post(struct fixture *fx)
{
    struct upt_board_partition part = {.partition = 2,
                                       .phase = UPT_PART_BLOCKED,
                                       .offset = 10,
                                       .end_offset = 31,
                                       .clock = upt_wall_ms() - 90000,
                                       .progress = 0.5,
                                       .note = "schema 7: no answer"};
    upt_board_set_partition(fx->board, &part);
    part = (struct upt_board_partition){
        .partition = 0, .phase = UPT_PART_RUNNING, .offset = -1, .end_offset = -1, .clock = UPT_NO_CLOCK};
    upt_board_set_partition(fx->board, &part);
    upt_board_alert(fx->board, UPT_STR("{\"alert_id\":\"00\",\"revision\":0,\"churn_probability\":0.1}"));
}

/* The model in use, and outcomes of all and of each segment; null what is not known. */
static void
status_tells_of_the_model(void **state)
{
    struct fixture *fx = *state;
    start(fx, NULL);
    struct answer *answer = get(fx, "/status.json", "");
    json_t *json = parsed(answer);
    assert_true(json_is_null(json_object_get(json_object_get(json, "model"), "all")));
    json_decref(json);
    upt_board_set_model(fx->board, &(struct upt_board_model){.version = "v 1", .hash = "00ff00ff00ff00ff"});
    upt_outcomes_add(fx->metrics->outcomes, UPT_STR("gold"), 8000, true, 10);
    upt_outcomes_add(fx->metrics->outcomes, UPT_STR("gold"), 2000, false, 0);
    upt_outcomes_add(fx->metrics->outcomes, UPT_STR(""), 5000, false, 0);
    sleep(2); /* the status is made once a second */
    answer = get(fx, "/status.json", "");
    json = parsed(answer);
    json_t *model = json_object_get(json, "model");
    assert_string_equal(json_string_value(json_object_get(model, "version")), "v 1");
    assert_string_equal(json_string_value(json_object_get(model, "hash")), "00ff00ff00ff00ff");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(model, "all"), "outcomes")), 3);
    json_t *segments = json_object_get(model, "segments");
    assert_int_equal(json_array_size(segments), 2);
    json_t *none = json_array_get(segments, 0);
    json_t *gold = json_array_get(segments, 1);
    assert_string_equal(json_string_value(json_object_get(none, "segment")), "");
    assert_true(json_is_null(json_object_get(none, "auc")));
    assert_string_equal(json_string_value(json_object_get(gold, "segment")), "gold");
    assert_true(json_real_value(json_object_get(gold, "auc")) > 0.999);
    assert_int_equal(json_integer_value(json_object_get(gold, "left")), 1);
    assert_true(json_real_value(json_object_get(gold, "lead_days")) > 9.99);
    json_decref(json);
}

static void
status_with_redis(void **state)
{
    struct fixture *fx = *state;
    start(fx, NULL);
    post(fx);
    struct answer *answer = get(fx, "/status.json", "");
    assert_int_equal(answer->code, 200);
    assert_non_null(strstr(answer->body, "\"churn_probability\":0.1}")); /* as posted, digit for digit */
    json_t *json = parsed(answer);
    json_t *totals = json_object_get(json, "totals");
    assert_int_equal(json_integer_value(json_object_get(totals, "events_24h")), 42);
    assert_string_equal(json_string_value(json_object_get(totals, "units_24h")), "12345678901234567890.5");
    json_t *risk = json_object_get(json, "at_risk");
    assert_int_equal(json_array_size(risk), 2);
    json_t *first = json_array_get(risk, 0);
    assert_string_equal(json_string_value(json_object_get(first, "account")), "a b");
    assert_string_equal(json_string_value(json_object_get(first, "health_band")), "CRITICAL");
    assert_int_equal(json_integer_value(json_object_get(first, "open_alerts")), 2);
    assert_null(json_object_get(first, "segment"));
    assert_string_equal(json_string_value(json_object_get(json_array_get(risk, 1), "account")), "<b>bold</b>\n");
    json_t *features = json_object_get(json, "features");
    assert_true(json_is_true(json_object_get(features, "complete")));
    json_t *rows = json_object_get(features, "rows");
    assert_int_equal(json_array_size(rows), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 0), "feature")), "two");
    assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 1), "feature")), "f one");
    json_t *parts = json_object_get(json, "partitions");
    json_t *fresh = json_array_get(parts, 0);
    assert_true(json_is_null(json_object_get(fresh, "offset")));
    assert_true(json_is_null(json_object_get(fresh, "lag_records")));
    assert_true(json_is_null(json_object_get(fresh, "clock")));
    json_t *held = json_array_get(parts, 1);
    assert_int_equal(json_integer_value(json_object_get(held, "lag_records")), 20);
    assert_true(json_real_value(json_object_get(held, "lag_seconds")) >= 90.0);
    assert_string_equal(json_string_value(json_object_get(held, "note")), "schema 7: no answer");
    assert_true(json_is_true(json_object_get(json_object_get(json, "redis"), "up")));
    assert_true(json_is_null(json_object_get(json, "rates")));
    json_decref(json);
}

/* Of more features than are kept the most used ones are, also of those met in one go. */
static void
many_features(void **state)
{
    struct fixture *fx = *state;
    char top[32];
    fake_redis_set(fx->redis, FAKE_MANY);
    start(fx, NULL);
    json_t *json = parsed(get(fx, "/status.json", ""));
    json_t *rows = json_object_get(json_object_get(json, "features"), "rows");
    (void)snprintf(top, sizeof(top), "n%04d", FAKE_TOP);
    const char *first = json_string_value(json_object_get(json_array_get(rows, 0), "feature"));
    assert_non_null(first);
    assert_string_equal(first, top);
    json_decref(json);
}

/* One account or feature with a NUL in its name costs no alert. */
static void
alerts_with_a_nul(void **state)
{
    struct fixture *fx = *state;
    start(fx, NULL);
    post(fx);
    upt_board_alert(fx->board, UPT_STR("{\"alert_id\":\"01\",\"account\":\"n\\u0000ul\"}"));
    assert_non_null(strstr(get(fx, "/status.json", "")->body,
                           "\"alerts\":[{\"alert_id\":\"01\",\"account\":\"n\\u0000ul\"},{\"alert_id\":\"00\","));
}

static void
many_looks_are_one_read(void **state)
{
    struct fixture *fx = *state;
    start(fx, NULL);
    int64_t before = upt_mono_ms();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(get(fx, "/status.json", "")->code, 200);
    }
    int64_t seconds = (upt_mono_ms() - before) / 1000;
    int reads = fake_redis_count(fx->redis, "ZREVRANGE");
    assert_true(reads >= 1 && reads <= 1 + seconds);
}

static void
assert_missing(struct fixture *fx, const char *why)
{
    struct answer *answer = get(fx, "/status.json", "");
    assert_int_equal(answer->code, 200);
    json_t *json = parsed(answer);
    json_t *missing = json_object_get(json_object_get(json, "redis"), "missing");
    static const char *const parts[] = {"totals", "at_risk", "features"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(json_is_null(json_object_get(json, parts[i])));
        const char *reason = json_string_value(json_object_get(missing, parts[i]));
        assert_non_null(reason);
        assert_non_null(strstr(reason, why));
    }
    assert_int_equal(json_array_size(json_object_get(json, "partitions")), 2);
    assert_int_equal(json_array_size(json_object_get(json, "alerts")), 1);
    json_decref(json);
}

static void
redis_away_spoils_only_its_parts(void **state)
{
    struct fixture *fx = *state;
    start(fx, NULL);
    post(fx);
    fake_redis_stop(&fx->redis);
    assert_missing(fx, "127.0.0.1");
    struct answer *answer = get(fx, "/account.json?id=a%20b", "");
    assert_int_equal(answer->code, 503);
    assert_non_null(strstr(answer->body, "\"error\""));
    assert_int_equal(get(fx, "/metrics", "")->code, 200);
}

static void
an_error_of_redis_is_told(void **state)
{
    struct fixture *fx = *state;
    start(fx, NULL);
    post(fx);
    fake_redis_set(fx->redis, FAKE_LOADING);
    assert_missing(fx, "LOADING");
    fake_redis_set(fx->redis, FAKE_WORDY);
    upt_sleep_ms(1100); /* what was read is shown for a second */
    assert_missing(fx, "Redis says: ERR \xc3\xa9");
}

/* While Redis is silent and a look at the page waits for it, everything else is answered. */
static void
a_silent_redis_holds_up_nobody_else(void **state)
{
    struct fixture *fx = *state;
    struct answer late;
    start(fx, NULL);
    post(fx);
    fake_redis_set(fx->redis, FAKE_HOLDS);
    int fd = dial(upt_admin_port(fx->admin));
    tell(fd, "GET /status.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    fake_redis_wait(fx->redis);
    assert_int_equal(get(fx, "/healthz", "")->code, 200);
    assert_int_equal(get(fx, "/readyz", "")->code, 200);
    assert_int_equal(get(fx, "/metrics", "")->code, 200);
    assert_int_equal(get(fx, "/", "")->code, 200);
    hear(fd, &late); /* at the latest after the time-out */
    assert_int_equal(late.code, 200);
    assert_non_null(strstr(late.body, "\"totals\":null"));
    assert_non_null(strstr(late.body, "\"partitions\":[{"));
}

static void
stopping_ends_waiting_requests(void **state)
{
    struct fixture *fx = *state;
    int fds[3];
    start(fx, NULL);
    fake_redis_set(fx->redis, FAKE_HOLDS);
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(upt_admin_port(fx->admin));
        tell(fds[i], i == 1 ? "GET /account.json?id=x HTTP/1.1\r\nHost: localhost\r\n\r\n"
                            : "GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    fake_redis_wait(fx->redis);
    upt_admin_stop(&fx->admin);
    assert_null(fx->admin);
    for (int i = 0; i < 3; i++) {
        struct answer answer;
        hear(fds[i], &answer);
    }
}

static void
one_account(void **state)
{
    struct fixture *fx = *state;
    start(fx, NULL);
    struct answer *answer = get(fx, "/account.json?id=a%20b", "");
    assert_int_equal(answer->code, 200);
    json_t *json = parsed(answer);
    json_t *row = json_object_get(json, "row");
    assert_string_equal(json_string_value(json_object_get(row, "segment")), "007"); /* a name, not a number */
    assert_true(json_is_real(json_object_get(row, "health")));
    assert_true(json_is_null(json_object_get(json, "explained"))); /* no lane has it */
    json_t *features = json_object_get(json, "features");
    assert_string_equal(json_string_value(json_object_get(json_array_get(features, 0), "feature")), "y");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(features, 1), "days")), 3);
    json_decref(json);
    assert_int_equal(get(fx, "/account.json?id=%7Bnobody%7D", "")->code, 404);
}

static void
addresses(void **state)
{
    struct fixture *fx = *state;
    struct upt_error err = {0};
    struct upt_admin_config config = config_of(fx, NULL, NULL);
    config.listen = "off";
    assert_int_equal(upt_admin_start(&config, &fx->admin, &err), UPT_OK);
    assert_null(fx->admin);
    assert_int_equal(upt_admin_port(fx->admin), 0);
    static const char *const bad[] = {"", "localhost", "127.0.0.1:", "127.0.0.1:x", "::1:80", "127.0.0.1:70000"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        config.listen = bad[i];
        assert_int_equal(upt_admin_start(&config, &fx->admin, &err), UPT_EINVAL);
        assert_non_null(strstr(err.msg, "admin.listen"));
        assert_null(fx->admin);
    }
}

/* Processes on one host may share a file. */
static void
a_port_in_use_leads_to_the_next(void **state)
{
    struct fixture *fx = *state;
    struct upt_error err = {0};
    struct upt_admin_config config = config_of(fx, NULL, NULL);
    struct upt_admin *others[16] = {NULL};
    assert_int_equal(upt_admin_start(&config, &fx->admin, &err), UPT_OK);
    unsigned first = upt_admin_port(fx->admin);
    char taken[32];
    snprintf(taken, sizeof(taken), "127.0.0.1:%u", first);
    config.listen = taken;
    config.exact_port = true;
    assert_int_equal(upt_admin_start(&config, &others[0], &err), UPT_EIO);
    assert_null(others[0]);
    assert_non_null(strstr(err.msg, taken));
    config.exact_port = false;
    unsigned last = first;
    size_t n = 0; /* some of the 15 may be taken by somebody else */
    while (upt_admin_start(&config, &others[n], &err) == UPT_OK) {
        assert_in_range(upt_admin_port(others[n]), last + 1, first + 15);
        last = upt_admin_port(others[n++]);
        assert_true(n < 16);
    }
    assert_true(n > 0);
    assert_null(others[n]);
    assert_non_null(strstr(err.msg, taken));
    for (size_t i = 0; i < n; i++) {
        upt_admin_stop(&others[i]);
    }
}

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(probes),
        CASE(a_lane_that_stands_is_not_alive),
        CASE(the_token_guards_all_but_page_and_probes),
        CASE(bad_requests_are_refused),
        CASE(two_requests_on_one_connection),
        CASE(the_page_carries_its_own_policy),
        CASE(metrics_have_the_names_of_the_table),
        CASE(metrics_of_every_lane),
        CASE(status_tells_of_the_model),
        CASE(status_with_redis),
        CASE(many_features),
        CASE(alerts_with_a_nul),
        CASE(many_looks_are_one_read),
        CASE(redis_away_spoils_only_its_parts),
        CASE(an_error_of_redis_is_told),
        CASE(a_silent_redis_holds_up_nobody_else),
        CASE(stopping_ends_waiting_requests),
        CASE(one_account),
        CASE(addresses),
        CASE(a_port_in_use_leads_to_the_next),
    };
#undef CASE
    return cmocka_run_group_tests_name("admin", tests, NULL, NULL);
}
