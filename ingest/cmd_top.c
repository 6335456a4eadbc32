/* uptake top: the accounts most at risk, as Redis ranks them.
 *
 * On a terminal the list is drawn anew every two seconds until Ctrl-C, without a screen library: it clears the screen
 * and writes as many rows and columns as fit. Anywhere else it is written once, so that it can be piped. A Redis that
 * goes away while it is watched is said on the screen and asked again. One thread. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sysexits.h>
#include <unistd.h>

#include <hiredis/hiredis.h>
#include <jansson.h>

#include "aggregate/view/view.h"
#include "ingest/command.h"
#include "ingest/topic_read.h"
#include "uptake/terminal.h"
#include "uptake/time.h"

#define REFRESH_MS 2000
#define LIMIT_MAX 10000
#define HEAD_LINES 2

enum { F_BAND, F_HEALTH, F_RISK60, F_RISK90, F_PHASE, F_ALERTS, F_EVENTS, F_USERS, F_SEEN, F_RENEWAL, F_SEGMENT, F_N };
static const char *const fields[F_N] = {"health_band", "health",       "churn_risk_60d", "churn_risk_90d",
                                        "phase",       "open_alerts",  "events_7d",      "users_30d",
                                        "last_seen",   "renewal_date", "segment"};
static const bool is_text[F_N] = {[F_BAND] = true, [F_PHASE] = true, [F_RENEWAL] = true, [F_SEGMENT] = true};

struct top {
    const struct upt_config *config;
    redisContext *redis;
    redisReply *ranks; /* account, score, account, score, … */
    redisReply **rows; /* of each account */
    size_t n;
};

static volatile sig_atomic_t stopped;

static void
on_signal(int sig)
{
    (void)sig;
    stopped = 1;
}

/* ---- reading ---- */

static void
forget(struct top *top)
{
    for (size_t i = 0; i < top->n; i++) {
        if (top->rows[i] != NULL) {
            freeReplyObject(top->rows[i]);
        }
    }
    free(top->rows);
    if (top->ranks != NULL) {
        freeReplyObject(top->ranks);
    }
    top->rows = NULL;
    top->ranks = NULL;
    top->n = 0;
}

static void
disconnect(struct top *top)
{
    if (top->redis != NULL) {
        redisFree(top->redis);
        top->redis = NULL;
    }
}

static bool
ask_row(struct top *top, const redisReply *account)
{
    struct upt_buf key = {0};
    const char *argv[2 + F_N] = {"HMGET"};
    size_t lens[2 + F_N] = {5};
    upt_view_key(&key, top->config->redis_prefix,
                 "account:", (struct upt_str){.p = account->str, .len = (uint32_t)account->len}, "");
    argv[1] = key.p;
    lens[1] = key.len;
    for (size_t i = 0; i < F_N; i++) {
        argv[2 + i] = fields[i];
        lens[2 + i] = strlen(fields[i]);
    }
    bool ok = redisAppendCommandArgv(top->redis, 2 + F_N, argv, lens) == REDIS_OK;
    upt_buf_fini(&key);
    return ok;
}

static upt_status
lost(struct top *top, const redisReply *reply, struct upt_error *reterr)
{
    upt_status status = upt_fail(reterr, UPT_EUNAVAIL, "Redis: %s",
                                 reply != NULL && reply->str != NULL ? reply->str
                                 : top->redis->errstr[0] != '\0'     ? top->redis->errstr
                                                                     : "no answer");
    disconnect(top);
    return status;
}

/* Reads the ranking and, in one pipeline, the rows. */
static upt_status
refresh(struct top *top, long long limit, struct upt_error *reterr)
{
    upt_status status = UPT_OK;
    forget(top);
    if (top->redis == NULL) {
        status = upt_read_redis(top->config, &top->redis, reterr);
    }
    if (status != UPT_OK) {
        return status;
    }
    top->ranks =
        redisCommand(top->redis, "ZREVRANGE %srank:churn_risk 0 %lld WITHSCORES", top->config->redis_prefix, limit - 1);
    if (top->ranks == NULL || top->ranks->type != REDIS_REPLY_ARRAY) {
        return lost(top, top->ranks, reterr);
    }
    top->rows = calloc(top->ranks->elements / 2 + 1, sizeof(redisReply *));
    if (top->rows == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    top->n = top->ranks->elements / 2;
    for (size_t i = 0; i < top->n; i++) {
        if (!ask_row(top, top->ranks->element[2 * i])) {
            return lost(top, NULL, reterr);
        }
    }
    for (size_t i = 0; i < top->n; i++) {
        void *reply = NULL;
        if (redisGetReply(top->redis, &reply) != REDIS_OK) {
            return lost(top, NULL, reterr);
        }
        top->rows[i] = reply;
        if (top->rows[i]->type != REDIS_REPLY_ARRAY) {
            return lost(top, top->rows[i], reterr);
        }
    }
    return UPT_OK;
}

static const redisReply *
value(const struct top *top, size_t i, size_t field)
{
    const redisReply *row = top->rows[i];
    const redisReply *got = field < row->elements ? row->element[field] : NULL;
    return got != NULL && got->type == REDIS_REPLY_STRING ? got : NULL;
}

/* ---- showing ---- */

/* Columns in the order in which they are dropped from the right where a terminal is narrow. */
enum { C_ACCOUNT, C_RISK, C_BAND, C_HEALTH, C_PHASE, C_ALERTS, C_EVENTS, C_USERS, C_SEEN, C_RENEWAL, C_SEGMENT, C_N };
static const struct {
    const char *head;
    int width;
    bool left;
} columns[C_N] = {{"ACCOUNT", 28, true}, {"RISK", 6, false},    {"BAND", 8, true},        {"HEALTH", 6, false},
                  {"PHASE", 10, true},   {"ALERTS", 6, false},  {"EVENTS 7D", 10, false}, {"USERS 30D", 9, false},
                  {"SEEN", 6, false},    {"RENEWAL", 10, true}, {"SEGMENT", 16, true}};

static void
print_cell(int column, const char *p, size_t len)
{
    char plain[64];
    int width = columns[column].width;
    if (columns[column].left) {
        printf("%*s", width - upt_print_cut(stdout, p, len, width), "");
    } else {
        snprintf(plain, sizeof(plain), "%.*s", (int)len, p);
        printf("%*.*s", width, width, plain);
    }
}

static void
format_seen(const redisReply *text, int64_t now_ms, char ret[32])
{
    int64_t ms = now_ms - strtoll(text->str, NULL, 10);
    if (ms >= 2 * UPT_DAY_MS) {
        snprintf(ret, 32, "%lldd", (long long)(ms / UPT_DAY_MS));
    } else if (ms >= UPT_HOUR_MS) {
        snprintf(ret, 32, "%lldh", (long long)(ms / UPT_HOUR_MS));
    } else {
        snprintf(ret, 32, "%lldm", (long long)(ms > 0 ? ms / UPT_MINUTE_MS : 0));
    }
}

static void
print_value(const struct top *top, size_t i, int column, int64_t now_ms)
{
    static const int field_of[C_N] = {[C_BAND] = F_BAND,     [C_HEALTH] = F_HEALTH,   [C_PHASE] = F_PHASE,
                                      [C_ALERTS] = F_ALERTS, [C_EVENTS] = F_EVENTS,   [C_USERS] = F_USERS,
                                      [C_SEEN] = F_SEEN,     [C_RENEWAL] = F_RENEWAL, [C_SEGMENT] = F_SEGMENT};
    const redisReply *got = column == C_ACCOUNT ? top->ranks->element[2 * i]
                            : column == C_RISK  ? top->ranks->element[2 * i + 1]
                                                : value(top, i, (size_t)field_of[column]);
    char text[32] = "";
    if (got != NULL && column == C_RISK) {
        snprintf(text, sizeof(text), "%.1f%%", 100 * strtod(got->str, NULL));
    } else if (got != NULL && column == C_HEALTH) {
        snprintf(text, sizeof(text), "%.1f", strtod(got->str, NULL));
    } else if (got != NULL && column == C_SEEN) {
        format_seen(got, now_ms, text);
    } else if (got != NULL) {
        print_cell(column, got->str, got->len);
        return;
    }
    print_cell(column, text, strlen(text));
}

/* room: columns of the screen. */
static void
print_list(const struct top *top, size_t rows, int room)
{
    int64_t now_ms = upt_wall_ms();
    bool shown[C_N];
    int used = 0;
    for (int c = 0; c < C_N; c++) {
        shown[c] = c == 0 || used + 1 + columns[c].width <= room;
        used += shown[c] ? (c > 0) + columns[c].width : 0;
    }
    for (int c = 0; c < C_N; c++) {
        if (shown[c]) {
            fputs(c > 0 ? " " : "", stdout);
            print_cell(c, columns[c].head, strlen(columns[c].head));
        }
    }
    printf("\n");
    for (size_t i = 0; i < top->n && i < rows; i++) {
        for (int c = 0; c < C_N; c++) {
            if (shown[c]) {
                fputs(c > 0 ? " " : "", stdout);
                print_value(top, i, c, now_ms);
            }
        }
        printf("\n");
    }
}

static json_t *
number_json(const redisReply *text)
{
    if (strspn(text->str, "-0123456789") == text->len) {
        return json_integer(strtoll(text->str, NULL, 10));
    }
    return json_real(strtod(text->str, NULL));
}

static void
print_json(const struct top *top)
{
    json_t *list = json_array();
    for (size_t i = 0; i < top->n; i++) {
        const redisReply *account = top->ranks->element[2 * i];
        json_t *row = json_object();
        (void)json_object_set_new(row, "account", json_stringn(account->str, account->len));
        (void)json_object_set_new(row, "churn_risk_30d", number_json(top->ranks->element[2 * i + 1]));
        for (size_t f = 0; f < F_N; f++) {
            const redisReply *got = value(top, i, f);
            if (got != NULL) {
                (void)json_object_set_new(row, fields[f],
                                          is_text[f] ? json_stringn(got->str, got->len) : number_json(got));
            }
        }
        (void)json_array_append_new(list, row);
    }
    (void)json_dumpf(list, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
    printf("\n");
    json_decref(list);
}

/* Rows of the list that fit on the screen, and its columns. */
static size_t
screen(int *ret_columns)
{
    struct winsize size;
    bool told = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    *ret_columns = !told ? INT_MAX : size.ws_col > 0 ? size.ws_col : 80;
    return told && size.ws_row > HEAD_LINES + 1 ? (size_t)size.ws_row - HEAD_LINES - 1 : 20;
}

static int
watch(struct top *top, long long limit)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    while (!stopped) {
        struct upt_error err;
        char now[32];
        upt_status status = refresh(top, limit, &err);
        upt_format_time(upt_wall_ms(), now);
        int room;
        size_t rows = screen(&room);
        const char *said = status == UPT_OK ? "Ctrl-C ends" : err.msg;
        printf("\033[H\033[2J%.*s  ", room, now);
        (void)upt_print_cut(stdout, said, strlen(said), room - (int)strlen(now) - 2);
        printf("\n");
        if (status == UPT_OK) {
            print_list(top, rows, room);
        }
        fflush(stdout);
        for (int64_t end_ms = upt_mono_ms() + REFRESH_MS; !stopped && upt_mono_ms() < end_ms;) {
            upt_sleep_ms(50);
        }
    }
    return EX_OK;
}

/* ---- the command ---- */

static int
run(int argc, char **argv)
{
    struct upt_option options[] = {
        {.name = "c", .takes_value = true}, {.name = "limit", .takes_value = true}, {.name = "once"}, {.name = "json"}};
    const size_t n = sizeof(options) / sizeof(options[0]);
    struct top top = {0};
    struct upt_config *config = NULL;
    struct upt_error err;
    long long limit = 50;
    int rc = upt_options_parse(&upt_cmd_top, argc, argv, options, n, NULL, 0, NULL);
    if (rc != 0) {
        return rc < 0 ? EX_OK : rc;
    }
    if (!upt_option_number(&upt_cmd_top, options, n, "limit", 1, LIMIT_MAX, &limit)) {
        return EX_USAGE;
    }
    rc = upt_command_config(options, n, false, &config);
    if (rc != 0) {
        return rc;
    }
    bool json = upt_option(options, n, "json") != NULL;
    top.config = config;
    if (!json && upt_option(options, n, "once") == NULL && isatty(STDOUT_FILENO)) {
        rc = watch(&top, limit);
    } else if (refresh(&top, limit, &err) != UPT_OK) {
        rc = upt_command_fail(&upt_cmd_top, &err);
    } else if (json) {
        print_json(&top);
    } else {
        int room;
        (void)screen(&room);
        print_list(&top, top.n, room);
    }
    forget(&top);
    disconnect(&top);
    upt_config_destroy(&config);
    return rc;
}

const struct upt_command upt_cmd_top = {
    .name = "top",
    .usage = "[-c FILE] [--limit N] [--once] [--json]",
    .summary = "The accounts most at risk, live.",
    .help = "  -c FILE    configuration; without it Redis on this machine\n"
            "  --limit N  the first N, 1 to 10000 (50)\n"
            "  --once     write the list once, also on a terminal\n"
            "  --json     once, as a JSON array\n"
            "\n"
            "By the probability of churn within 30 days.\n",
    .run = run,
};
