/* uptake alerts: the open alerts, and what people say of them: acknowledged, snoozed, closed.
 *
 * What is open is read from the alerts topic: the last revision of each id, unless that ended it. What people said goes
 * as a record of kind OTHER into the input topic, into the partition that the alert names as its source, so that every
 * replay hears it at the same place; whether it has been heard is in the account's row. One thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <hiredis/hiredis.h>
#include <jansson.h>

#include "aggregate/view/view.h"
#include "ingest/avro/encoder.h"
#include "ingest/command.h"
#include "ingest/feed.h"
#include "ingest/topic_read.h"
#include "uptake/event.h"
#include "uptake/terminal.h"
#include "uptake/time.h"

#define RULE_WIDTH 17       /* FEATURE_ABANDONED */
#define SUBJECT_WIDTH 24    /* answers hide falling use */
#define SNOOZE_MAX_DAYS 366 /* as the contract says; the score would cut it */
#define PREFIX_MIN 6        /* characters of an id, if no other open alert begins so */

struct alerts {
    const struct upt_config *config;
    const char *account; /* only its alerts; NULL: all */
    json_t *open;        /* alert_id → its last revision */
    size_t unreadable;
};

/* ---- what is open ---- */

static const char *
text_of(const json_t *alert, const char *name)
{
    const char *text = json_string_value(json_object_get(alert, name));
    return text != NULL ? text : "";
}

static bool
on_alert(void *ctx, const rd_kafka_message_t *msg)
{
    struct alerts *alerts = ctx;
    struct upt_buf text = {0};
    if (msg->payload == NULL ||
        (alerts->account != NULL && !upt_str_eq(upt_topic_key(msg), upt_str_of(alerts->account)))) {
        return true;
    }
    json_t *alert = NULL;
    if (upt_record_json(upt_schema_churn_alert, upt_topic_body(msg), &text, NULL) == UPT_OK) {
        alert = json_loadb(text.p, text.len, JSON_ALLOW_NUL, NULL);
    }
    upt_buf_fini(&text);
    const char *id = json_string_value(json_object_get(alert, "alert_id"));
    const json_t *had = id != NULL ? json_object_get(alerts->open, id) : NULL;
    json_int_t revision = json_integer_value(json_object_get(alert, "revision"));
    alerts->unreadable += id == NULL;
    if (id != NULL && (had == NULL || json_integer_value(json_object_get(had, "revision")) < revision)) {
        (void)json_object_set(alerts->open, id, alert);
    }
    json_decref(alert);
    return true;
}

static upt_status
read_open(struct alerts *alerts, struct upt_error *reterr)
{
    const char *id;
    json_t *alert;
    void *next;
    alerts->open = json_object();
    upt_status status = upt_topic_read(alerts->config, alerts->config->alerts_topic, on_alert, alerts, reterr);
    json_object_foreach_safe(alerts->open, next, id, alert)
    {
        const char *action = text_of(alert, "action");
        if (strcmp(action, "RESOLVE") == 0 || strcmp(action, "EXPIRE") == 0) {
            (void)json_object_del(alerts->open, id);
        }
    }
    return status == UPT_ENOTFOUND ? UPT_OK : status;
}

/* What the row says of one alert: "ack", "snooze:1700000000000", both with a colon between them, or "". UPT_EUNAVAIL:
 * Redis does not say. */
static upt_status
controlled(redisContext *redis, const struct alerts *alerts, const json_t *alert, char *ret, size_t cap,
           struct upt_error *reterr)
{
    upt_status status = UPT_OK;
    struct upt_buf key = {0};
    upt_view_key(&key, alerts->config->redis_prefix, "account:", upt_json_text(alert, "account"), "");
    const char *argv[] = {"HGET", key.p, "controlled_alerts"};
    const size_t lens[] = {4, key.len, 17};
    redisReply *reply = redisCommandArgv(redis, 3, argv, lens);
    const char *at =
        reply != NULL && reply->type == REDIS_REPLY_STRING ? strstr(reply->str, text_of(alert, "alert_id")) : NULL;
    ret[0] = '\0';
    if (at != NULL && strlen(at) > 33) {
        (void)snprintf(ret, cap, "%.*s", (int)strcspn(at + 33, ","), at + 33);
    }
    if (reply == NULL || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_NIL)) {
        status = upt_fail(reterr, UPT_EUNAVAIL, "Redis: %s", reply == NULL ? redis->errstr : reply->str);
    }
    if (reply != NULL) {
        freeReplyObject(reply);
    }
    upt_buf_fini(&key);
    return status;
}

static void
add_control(json_t *alert, const char *said)
{
    const char *until = strstr(said, "snooze:");
    (void)json_object_set_new(alert, "acknowledged", json_boolean(strncmp(said, "ack", 3) == 0));
    (void)json_object_set_new(alert, "snoozed_until",
                              until != NULL ? json_integer(strtoll(until + 7, NULL, 10)) : json_null());
}

/* ---- list ---- */

/* The gravest first, then the oldest. */
static int
by_gravity(const void *a, const void *b)
{
    static const char *const names[] = {"CRITICAL", "HIGH", "WARNING", "INFO"};
    const json_t *x = *(const json_t *const *)a;
    const json_t *y = *(const json_t *const *)b;
    for (size_t i = 0; i < 4; i++) {
        bool is_x = strcmp(text_of(x, "severity"), names[i]) == 0;
        bool is_y = strcmp(text_of(y, "severity"), names[i]) == 0;
        if (is_x != is_y) {
            return is_x ? -1 : 1;
        }
    }
    json_int_t at_x = json_integer_value(json_object_get(x, "opened_at"));
    json_int_t at_y = json_integer_value(json_object_get(y, "opened_at"));
    return at_x != at_y ? (at_x < at_y ? -1 : 1) : strcmp(text_of(x, "alert_id"), text_of(y, "alert_id"));
}

static void
print_cell(struct upt_str text, int width)
{
    int used = text.p == NULL ? 0 : upt_print_text(stdout, text.p, text.len);
    printf("%*s ", used < width ? width - used : 0, "");
}

static void
print_line(const json_t *alert)
{
    char since[32];
    char until[32] = "";
    const json_t *snoozed = json_object_get(alert, "snoozed_until");
    upt_format_time(json_integer_value(json_object_get(alert, "opened_at")), since);
    since[16] = '\0';
    print_cell(upt_json_text(alert, "severity"), 8);
    print_cell(upt_json_text(alert, "rule"), RULE_WIDTH);
    print_cell(upt_json_text(alert, "account"), 24);
    print_cell(upt_json_text(alert, "subject"), SUBJECT_WIDTH);
    print_cell(upt_str_of(since), 16);
    if (json_is_integer(snoozed)) {
        upt_format_time(json_integer_value(snoozed), until);
        until[16] = '\0';
    }
    printf("%s%s%s%s\n", text_of(alert, "alert_id"),
           json_is_true(json_object_get(alert, "acknowledged")) ? " acknowledged" : "",
           until[0] != '\0' ? " snoozed until " : "", until);
}

static int
list(struct alerts *alerts, bool json)
{
    struct upt_error err;
    redisContext *redis = NULL;
    const char *id;
    json_t *alert;
    size_t n = 0;
    upt_status status = read_open(alerts, &err);
    bool rows = status == UPT_OK && upt_read_redis(alerts->config, &redis, &err) == UPT_OK;
    if (status != UPT_OK) {
        return upt_command_fail(&upt_cmd_alerts, &err);
    }
    json_t **sorted = calloc(json_object_size(alerts->open) + 1, sizeof(json_t *));
    json_object_foreach(alerts->open, id, alert)
    {
        char said[64] = "";
        rows = rows && controlled(redis, alerts, alert, said, sizeof(said), &err) == UPT_OK;
        add_control(alert, said);
        if (sorted != NULL) {
            sorted[n++] = alert;
        }
    }
    if (n > 1) {
        qsort(sorted, n, sizeof(json_t *), by_gravity);
    }
    json_t *all = json_array();
    if (!json) {
        printf("%-8s %-*s %-24s %-*s %-16s %-32s STATE\n", "SEVERITY", RULE_WIDTH, "RULE", "ACCOUNT", SUBJECT_WIDTH,
               "SUBJECT", "SINCE", "ALERT");
    }
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append(all, sorted[i]);
        if (!json) {
            print_line(sorted[i]);
        }
    }
    if (json) {
        (void)json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
        printf("\n");
    }
    if (!rows) {
        fprintf(stderr, "uptake alerts: %s; what was acknowledged or snoozed is not known\n", err.msg);
    }
    json_decref(all);
    free(sorted);
    if (redis != NULL) {
        redisFree(redis);
    }
    return rows ? EX_OK : EX_UNAVAILABLE;
}

/* ---- ack, snooze, close ---- */

/* The open alert with this id, or the only one that begins so; NULL: says why not. */
static const json_t *
find(const struct alerts *alerts, const char *wanted)
{
    const char *id;
    json_t *alert;
    const json_t *found = NULL;
    size_t n = 0;
    json_object_foreach(alerts->open, id, alert)
    {
        if (strncmp(id, wanted, strlen(wanted)) == 0) {
            found = alert;
            n++;
        }
    }
    if (n != 1) {
        fprintf(stderr, "uptake alerts: %s open alert %s %.40s; `uptake alerts list` shows them\n",
                n == 0 ? "there is no" : "more than one", n == 0 ? "of the id" : "begins with", wanted);
    }
    return n == 1 ? found : NULL;
}

struct order {
    const char *verb, *reason, *by;
    char until[24];
};

static upt_status
send_order(const struct alerts *alerts, const json_t *alert, const struct order *order, struct upt_error *reterr)
{
    const struct upt_config *config = alerts->config;
    struct upt_topic_writer *writer = NULL;
    struct upt_buf value = {0};
    struct upt_prop props[5] = {{UPT_STR("uptake.control"), upt_str_of(order->verb)},
                                {UPT_STR("uptake.alert"), upt_str_of(text_of(alert, "alert_id"))}};
    size_t n = 2;
    char event_id[100];
    int32_t schema_id = -1;
    uint64_t delivered = 0;
    int64_t now = upt_wall_ms();
    if (order->until[0] != '\0') {
        props[n++] = (struct upt_prop){UPT_STR("uptake.until"), upt_str_of(order->until)};
    }
    if (order->reason != NULL) {
        props[n++] = (struct upt_prop){UPT_STR("uptake.reason"), upt_str_of(order->reason)};
    }
    if (order->by != NULL) {
        props[n++] = (struct upt_prop){UPT_STR("uptake.by"), upt_str_of(order->by)};
    }
    (void)snprintf(event_id, sizeof(event_id), "uptake-%s-%.32s-%lld", order->verb, text_of(alert, "alert_id"),
                   (long long)now);
    const struct upt_event event = {.event_id = upt_str_of(event_id),
                                    .account_id = upt_json_text(alert, "account"),
                                    .occurred_at = now,
                                    .quantity = 1,
                                    .kind = UPT_KIND_OTHER};
    upt_status status = upt_feed_event_schema(config, "control", &schema_id, reterr);
    if (status == UPT_OK) {
        upt_encode_event(&value, schema_id, &event, props, n);
        status = upt_topic_writer_create(config, &writer, reterr);
    }
    if (status == UPT_OK) {
        const struct upt_topic_record record = {
            .topic = config->input_topic,
            .partition = (int32_t)json_integer_value(json_object_get(alert, "source_partition")),
            .key = event.account_id,
            .value = {.p = value.p, .len = (uint32_t)value.len}};
        status = upt_topic_writer_put(writer, &record, reterr);
    }
    if (status == UPT_OK) {
        status = upt_topic_writer_finish(writer, &delivered, reterr);
    }
    upt_topic_writer_destroy(&writer);
    upt_buf_fini(&value);
    return status;
}

static int
tell(struct alerts *alerts, const char *wanted, const struct order *order, bool json)
{
    struct upt_error err;
    if (read_open(alerts, &err) != UPT_OK) {
        return upt_command_fail(&upt_cmd_alerts, &err);
    }
    const json_t *alert = find(alerts, wanted);
    if (alert == NULL) {
        return EX_DATAERR;
    }
    if (strcmp(text_of(alert, "rule"), "DATA_QUALITY") == 0) { /* the record would be an account's, and its first */
        fprintf(stderr,
                "uptake alerts: DATA_QUALITY is of no account and ends by itself; nobody has to take it in hand\n");
        return EX_DATAERR;
    }
    if (send_order(alerts, alert, order, &err) != UPT_OK) {
        return upt_command_fail(&upt_cmd_alerts, &err);
    }
    if (json) {
        json_t *said = json_pack("{s:s, s:O, s:s}", "alert_id", text_of(alert, "alert_id"), "account",
                                 json_object_get(alert, "account"), "control", order->verb);
        (void)json_dumpf(said, stdout, JSON_COMPACT);
        json_decref(said);
        printf("\n");
    } else {
        printf("%s %s of ", order->verb, text_of(alert, "rule"));
        struct upt_str account = upt_json_text(alert, "account");
        upt_print_text(stdout, account.p, account.len);
        printf(" is in %s\n", alerts->config->input_topic);
    }
    return EX_OK;
}

/* ---- the command ---- */

/* A duration from now, or a time. */
static bool
take_until(const char *text, char *ret, size_t cap)
{
    int64_t ms = 0;
    if (text != NULL && upt_parse_duration(text, &ms) && ms > 0) {
        ms += upt_wall_ms();
    } else if (text == NULL || !upt_parse_time(text, (uint32_t)strlen(text), &ms)) {
        fprintf(stderr, "uptake alerts: snooze wants --until, a duration such as 7d or a time such as 2026-01-31\n");
        return false;
    }
    if (ms > upt_wall_ms() + SNOOZE_MAX_DAYS * UPT_DAY_MS) {
        fprintf(stderr, "uptake alerts: --until %s: at most %d days from now are wanted\n", text, SNOOZE_MAX_DAYS);
        return false;
    }
    (void)snprintf(ret, cap, "%lld", (long long)ms);
    return true;
}

/* An option of another verb would be left out in silence. */
static bool
options_good(const char *verb, const struct upt_option *options, size_t n)
{
    static const char *const only[][2] = {{"account", "list"}, {"until", "snooze"}, {"reason", "close"}};
    for (size_t i = 0; i < sizeof(only) / sizeof(only[0]); i++) {
        if (upt_option(options, n, only[i][0]) != NULL && strcmp(verb, only[i][1]) != 0) {
            fprintf(stderr, "uptake alerts: --%s is for %s\n", only[i][0], only[i][1]);
            return false;
        }
    }
    static const char *const texts[] = {"reason", "by"};
    for (size_t i = 0; i < 2; i++) {
        const char *text = upt_option(options, n, texts[i]);
        if (text != NULL && !upt_utf8_valid(text, strlen(text))) { /* the record would be bad_avro */
            fprintf(stderr, "uptake alerts: --%s is no UTF-8\n", texts[i]);
            return false;
        }
    }
    if (upt_option(options, n, "by") != NULL && strcmp(verb, "list") == 0) {
        fprintf(stderr, "uptake alerts: --by is for ack, snooze and close\n");
        return false;
    }
    return true;
}

static bool
usage_good(const char *const *args, size_t n, const char *reason)
{
    static const char *const verbs[] = {"list", "ack", "snooze", "close"};
    size_t verb = 0;
    while (n > 0 && verb < 4 && strcmp(args[0], verbs[verb]) != 0) {
        verb++;
    }
    if (n == 0 || verb == 4) {
        fprintf(stderr, "uptake alerts: list, ack, snooze or close is wanted\n");
        return false;
    }
    if (n != (verb == 0 ? 1U : 2U) || (verb > 0 && strlen(args[1]) < PREFIX_MIN)) {
        fprintf(stderr, verb == 0
                            ? "uptake alerts: list takes no alert\n"
                            : "uptake alerts: the id of one alert is wanted, or its first 6 characters or more\n");
        return false;
    }
    if (verb == 3 && (reason == NULL || reason[0] == '\0')) {
        fprintf(stderr, "uptake alerts: close wants --reason\n");
        return false;
    }
    return true;
}

static int
run(int argc, char **argv)
{
    struct upt_option options[] = {{.name = "c", .takes_value = true},     {.name = "account", .takes_value = true},
                                   {.name = "until", .takes_value = true}, {.name = "reason", .takes_value = true},
                                   {.name = "by", .takes_value = true},    {.name = "json"}};
    const size_t n = sizeof(options) / sizeof(options[0]);
    const char *args[2] = {NULL, NULL};
    size_t args_n = 0;
    struct upt_config *config = NULL;
    int rc = upt_options_parse(&upt_cmd_alerts, argc, argv, options, n, args, 2, &args_n);
    if (rc != 0) {
        return rc < 0 ? EX_OK : rc;
    }
    struct order order = {
        .verb = args[0], .reason = upt_option(options, n, "reason"), .by = upt_option(options, n, "by")};
    if (!usage_good(args, args_n, order.reason) || !options_good(args[0], options, n) ||
        (strcmp(args[0], "snooze") == 0 &&
         !take_until(upt_option(options, n, "until"), order.until, sizeof(order.until)))) {
        return EX_USAGE;
    }
    rc = upt_command_config(options, n, true, &config);
    if (rc != 0) {
        return rc;
    }
    struct alerts alerts = {.config = config, .account = upt_option(options, n, "account")};
    bool json = upt_option(options, n, "json") != NULL;
    rc = strcmp(args[0], "list") == 0 ? list(&alerts, json) : tell(&alerts, args[1], &order, json);
    if (alerts.unreadable > 0) {
        fprintf(stderr, "uptake alerts: %zu records are in a schema that this version does not know\n",
                alerts.unreadable);
    }
    json_decref(alerts.open);
    upt_config_destroy(&config);
    return rc;
}

const struct upt_command upt_cmd_alerts = {
    .name = "alerts",
    .usage = "list|ack|snooze|close [ALERT] -c FILE [--account A] [--until T] [--reason R] [--by NAME] [--json]",
    .summary = "The open alerts; acknowledge, snooze or close one.",
    .help = "  ALERT        its id, or the first 6 characters or more of it\n"
            "  -c FILE      configuration\n"
            "  --account A  list: only alerts of this account\n"
            "  --until T    snooze: a duration from now such as 7d, or a time, at most 366 days ahead; one in the past "
            "ends a snooze\n"
            "  --reason R   close: why; kept in the alert's last record\n"
            "  --by NAME    who says so\n"
            "  --json       list: an array of records; else what was sent\n"
            "\n"
            "An acknowledged alert is not escalated for its age alone. A snoozed one has no records until then; if it\n"
            "ends meanwhile, its RESOLVE comes then. A closed one gets RESOLVE now; if its cause goes on, a new one\n"
            "opens after the rule's cool-down. Exits 0 once the broker has the record; a running `uptake run` hears\n"
            "it from the input topic.\n",
    .run = run,
};
