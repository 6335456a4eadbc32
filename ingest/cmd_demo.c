/* uptake demo: the whole thing on one machine. An embedded broker (librdkafka's mock cluster), a private Redis,
 * generated accounts, the live page.
 *
 * Sixty days are played in as fast as the embedded broker bears (it drops what exceeds 5 MiB a partition, so the rate
 * is bounded and the topic is watched), then events come live. It shows what the program does; it proves none of its
 * promises. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "ingest/avro/encoder.h"
#include "ingest/command.h"
#include "ingest/feed.h"
#include "ingest/kafka/mock.h"
#include "ingest/pipeline.h"
#include "uptake/log.h"
#include "uptake/time.h"

#define PARTITIONS 4
#define HISTORY_RATE 8000 /* events a second: 4 partitions bear it, since the pipeline keeps up */
#define HISTORY_DAYS 60
#define ACCOUNTS 120
#define LIVE_MIN_MS 4
#define LIVE_MAX_MS 12

struct demo {
    struct upt_mock *mock;
    struct upt_config *config;
    char dir[64], schema[96];
    pid_t redis;
    int redis_port;
    pthread_t feeder;
    bool feeding;
    atomic_bool stop;
    atomic_ullong events;
};

/* ---- Redis ---- */

static int
free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int port = -1;
    if (fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
        getsockname(fd, (struct sockaddr *)&addr, &len) == 0) {
        port = ntohs(addr.sin_port);
    }
    if (fd >= 0) {
        close(fd);
    }
    return port;
}

static upt_status
start_redis(struct demo *demo, struct upt_error *reterr)
{
    char port[16];
    demo->redis_port = free_port();
    snprintf(port, sizeof(port), "%d", demo->redis_port);
    pid_t parent = getpid();
    demo->redis = fork();
    if (demo->redis == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* not left behind, however the demo ends */
        if (getppid() != parent) {
            _exit(1);
        }
        (void)!freopen("/dev/null", "w", stdout);
        execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly",
               "no", "--dir", demo->dir, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 200 && demo->redis > 0; i++) {
        struct sockaddr_in addr = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)demo->redis_port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool up = fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0;
        int state;
        if (fd >= 0) {
            close(fd);
        }
        if (up) {
            return UPT_OK;
        }
        if (waitpid(demo->redis, &state, WNOHANG) == demo->redis) {
            demo->redis = 0;
            break;
        }
        upt_sleep_ms(25);
    }
    return upt_fail(reterr, UPT_EUNAVAIL,
                    "redis-server does not start; install it (Debian: apt-get install redis-server)");
}

/* ---- events ---- */

/* Whether the account is still there after the history; its number ends its name. */
static bool
stays(const struct upt_generator *history, struct upt_str account)
{
    uint32_t at = account.len;
    while (at > 0 && account.p[at - 1] != '-') {
        at--;
    }
    struct upt_label label;
    upt_generator_label(history, strtoll(account.p + at, NULL, 10) - 1, &label);
    return label.kind == UPT_STAYS || label.kind == UPT_PAUSES;
}

/* Another year's events of the accounts that stayed, one after the other, now. */
static void
feed_live(struct demo *demo, struct upt_feed *feed, struct upt_generator *gen, const struct upt_generator *history)
{
    struct upt_generated generated;
    struct upt_error err;
    uint64_t n = 0;
    while (!atomic_load(&demo->stop) && upt_generator_next(gen, &generated)) {
        if (!stays(history, generated.event.account_id)) {
            continue;
        }
        char id[48];
        snprintf(id, sizeof(id), "live-%llu", (unsigned long long)n);
        generated.event.event_id = upt_str_of(id);
        generated.event.occurred_at = upt_wall_ms();
        if (upt_feed_put(feed, &generated, &err) != UPT_OK) {
            upt_log(UPT_LOG_WARNING, "demo", "%s", err.msg);
            return;
        }
        atomic_fetch_add(&demo->events, 1);
        upt_sleep_ms(LIVE_MIN_MS + (int64_t)(n++ * 7919 % (LIVE_MAX_MS - LIVE_MIN_MS)));
    }
}

static void
feed_history(struct demo *demo, struct upt_feed *feed, struct upt_generator *gen)
{
    struct upt_generated generated;
    struct upt_error err;
    int64_t begun = upt_mono_ms();
    while (!atomic_load(&demo->stop) && upt_generator_next(gen, &generated)) {
        if (upt_feed_put(feed, &generated, &err) != UPT_OK) {
            upt_log(UPT_LOG_WARNING, "demo", "%s", err.msg);
            return;
        }
        atomic_fetch_add(&demo->events, 1);
        while ((double)feed->events > (double)HISTORY_RATE * (double)(upt_mono_ms() - begun) / 1000.0) {
            upt_sleep_ms(5);
        }
    }
    if (upt_feed_flush(feed, &err) != UPT_OK) {
        upt_log(UPT_LOG_WARNING, "demo", "%s", err.msg);
    }
}

static void *
feed_main(void *arg)
{
    struct demo *demo = arg;
    struct upt_feed feed = {0};
    struct upt_generator *gen = NULL;
    struct upt_error err;
    struct upt_generator_config to = {.accounts = ACCOUNTS,
                                      .users = 12,
                                      .features = 12,
                                      .days = HISTORY_DAYS,
                                      .events = 90000,
                                      .churn_share = 0.25,
                                      .seed = 7,
                                      .now_ms = upt_wall_ms()};
    if (upt_feed_open(&feed, demo->config, 1, &err) == UPT_OK && upt_generator_create(&to, &gen, &err) == UPT_OK) {
        feed_history(demo, &feed, gen);
        struct upt_generator *live = NULL;
        to.days = 365;
        to.events = 1000000;
        if (upt_generator_create(&to, &live, &err) == UPT_OK) {
            feed_live(demo, &feed, live, gen);
        }
        upt_generator_destroy(&live);
    } else {
        upt_log(UPT_LOG_ERROR, "demo", "%s", err.msg);
    }
    upt_generator_destroy(&gen);
    upt_feed_close(&feed);
    return NULL;
}

/* ---- set-up ---- */

static upt_status
write_schema(struct demo *demo, struct upt_error *reterr)
{
    snprintf(demo->schema, sizeof(demo->schema), "%s/UsageEvent.avsc", demo->dir);
    FILE *file = fopen(demo->schema, "we");
    if (file == NULL ||
        fwrite(upt_schema_usage_event.p, 1, upt_schema_usage_event.len, file) != upt_schema_usage_event.len ||
        fclose(file) != 0) {
        return upt_fail(reterr, UPT_EIO, "%s: %s", demo->schema, strerror(errno));
    }
    return UPT_OK;
}

static upt_status
configure(struct demo *demo, long long port, struct upt_error *reterr)
{
    char redis[64], listen[64];
    snprintf(redis, sizeof(redis), "redis://127.0.0.1:%d", demo->redis_port);
    snprintf(listen, sizeof(listen), "127.0.0.1:%lld", port);
    const struct {
        const char *key, *value;
    } settings[] = {{"kafka.bootstrap.servers", upt_mock_bootstrap(demo->mock)},
                    {"redis.url", redis},
                    {"input.framing", "none"},
                    {"input.schema_file", demo->schema},
                    {"admin.listen", listen},
                    {"clock", "log"}, /* the history must not meet minutes of today */
                    {"checkpoint_interval", "10s"},
                    {"threads", "1"},
                    {"log.level", "warning"}};
    upt_status status = upt_config_default(&demo->config, reterr);
    for (size_t i = 0; status == UPT_OK && i < sizeof(settings) / sizeof(settings[0]); i++) {
        status = upt_config_set(demo->config, settings[i].key, settings[i].value, reterr);
    }
    if (status == UPT_OK) {
        demo->config->embedded_broker = true;
        status = upt_config_validate(demo->config, reterr);
    }
    return status;
}

static upt_status
set_up(struct demo *demo, long long port, struct upt_error *reterr)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(demo->dir, sizeof(demo->dir), "%.40s/uptake-demo-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(demo->dir) == NULL) {
        return upt_fail(reterr, UPT_EIO, "%s: %s", demo->dir, strerror(errno));
    }
    upt_status status = write_schema(demo, reterr);
    if (status == UPT_OK) {
        status = start_redis(demo, reterr);
    }
    if (status == UPT_OK) {
        status = upt_mock_create(&demo->mock, reterr);
    }
    if (status == UPT_OK) {
        status = configure(demo, port, reterr);
    }
    static const char *const topics[] = {"usage-events", "account-health", "churn-alerts", "usage-events-dead",
                                         "uptake-state"};
    for (size_t i = 0; status == UPT_OK && i < sizeof(topics) / sizeof(topics[0]); i++) {
        status = upt_mock_topic(demo->mock, topics[i], PARTITIONS, reterr);
    }
    return status;
}

static void
take_down(struct demo *demo)
{
    atomic_store(&demo->stop, true);
    if (demo->feeding) {
        pthread_join(demo->feeder, NULL);
    }
    upt_config_destroy(&demo->config);
    upt_mock_destroy(&demo->mock);
    if (demo->redis > 0) {
        kill(demo->redis, SIGKILL);
        (void)waitpid(demo->redis, NULL, 0);
    }
    if (demo->schema[0] != '\0') {
        unlink(demo->schema);
    }
    rmdir(demo->dir);
}

static void
on_started(void *ctx, unsigned port)
{
    struct demo *demo = ctx;
    printf("uptake demo: %d accounts, %d days of history, then live events\n"
           "  live page   http://127.0.0.1:%u/\n"
           "  Redis       redis-cli -p %d hgetall uptake:totals\n"
           "The broker is an embedded stand-in: it shows what uptake does and proves none of its promises.\n"
           "Ctrl-C ends it.\n",
           ACCOUNTS, HISTORY_DAYS, port, demo->redis_port);
    fflush(stdout);
    demo->feeding = pthread_create(&demo->feeder, NULL, feed_main, demo) == 0;
}

static int
run(int argc, char **argv)
{
    struct upt_option options[] = {{.name = "port", .takes_value = true}, {.name = "for", .takes_value = true}};
    const size_t n = sizeof(options) / sizeof(options[0]);
    long long port = 8088, seconds = 0;
    int rc = upt_options_parse(&upt_cmd_demo, argc, argv, options, n, NULL, 0, NULL);
    if (rc != 0) {
        return rc < 0 ? EX_OK : rc;
    }
    if (!upt_option_number(&upt_cmd_demo, options, n, "port", 0, 65535, &port) ||
        !upt_option_number(&upt_cmd_demo, options, n, "for", 1, 1000000, &seconds)) {
        return EX_USAGE;
    }
    struct demo *demo = calloc(1, sizeof(*demo));
    struct upt_error err;
    if (demo == NULL) {
        return EX_OSERR;
    }
    upt_log_set_level(UPT_LOG_WARNING);
    upt_status status = set_up(demo, port, &err);
    if (status == UPT_OK) {
        const struct upt_pipeline_options pipeline = {.exact_port = upt_option(options, n, "port") != NULL,
                                                      .for_ms = seconds * UPT_SECOND_MS,
                                                      .started = on_started,
                                                      .ctx = demo};
        status = upt_pipeline_run(demo->config, &pipeline, &err);
    }
    rc = status == UPT_OK ? EX_OK : upt_command_fail(&upt_cmd_demo, &err);
    if (status == UPT_OK) {
        printf("%llu events were played in\n", (unsigned long long)atomic_load(&demo->events));
    }
    take_down(demo);
    free(demo);
    return rc;
}

const struct upt_command upt_cmd_demo = {
    .name = "demo",
    .usage = "[--port P] [--for SECONDS]",
    .summary = "Everything on this machine: embedded broker, private Redis, generated accounts, live page.",
    .help = "  --port P       of the live page (8088, or the first free one above it; 0: any)\n  --for SECONDS  end by "
            "itself\n",
    .run = run,
};
