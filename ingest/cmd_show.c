/* uptake show: one account explained: counters and features from Redis; score and alerts from Kafka; from the last
 * checkpoint the factors of its risk, what would bring it down, and its use against what is usual for it.
 *
 * The reasons (components of the score, factors of an alert) are in no row: rows are kept small, and the topics have
 * them. So both topics are read from their beginning; records of other accounts are passed over undecoded. What could
 * be had is shown even if the rest could not; the exit code then says so. One thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <hiredis/hiredis.h>
#include <jansson.h>

#include "aggregate/view/view.h"
#include "ingest/avro/encoder.h"
#include "ingest/command.h"
#include "ingest/explain_state.h"
#include "ingest/explained.h"
#include "ingest/kafka/client.h"
#include "ingest/show_model.h"
#include "ingest/topic_read.h"
#include "uptake/event.h"
#include "uptake/terminal.h"
#include "uptake/time.h"

struct show {
    const struct upt_config *config;
    struct upt_str account;
    json_t *row;       /* field → text as in Redis; NULL: there is no row */
    json_t *features;  /* feature → text */
    json_t *health;    /* the last record; NULL: none */
    json_t *alerts;    /* alert_id → its last revision */
    json_t *explained; /* of the last checkpoint; NULL: none */
    char why[256];     /* there is none; "": no topics */
    bool no_topics;    /* no broker is configured */
    size_t unreadable;
};

/* ---- Redis ---- */

static json_t *
hash_of(redisContext *redis, const struct upt_buf *key, struct upt_error *reterr)
{
    const char *argv[] = {"HGETALL", key->p};
    const size_t lens[] = {7, key->len};
    json_t *hash = NULL;
    redisReply *reply = redisCommandArgv(redis, 2, argv, lens);
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        (void)upt_fail(reterr, UPT_EUNAVAIL, "Redis: %s", reply != NULL ? reply->str : redis->errstr);
    } else {
        hash = json_object();
        for (size_t i = 0; i + 1 < reply->elements; i += 2) {
            const redisReply *value = reply->element[i + 1];
            (void)json_object_setn_new(hash, reply->element[i]->str, reply->element[i]->len,
                                       json_stringn(value->str, value->len));
        }
    }
    if (reply != NULL) {
        freeReplyObject(reply);
    }
    return hash;
}

static upt_status
read_rows(struct show *show, struct upt_error *reterr)
{
    struct upt_buf key = {0};
    redisContext *redis = NULL;
    upt_status status = upt_read_redis(show->config, &redis, reterr);
    if (status != UPT_OK) {
        return status;
    }
    upt_view_key(&key, show->config->redis_prefix, "account:", show->account, "");
    show->row = hash_of(redis, &key, reterr);
    upt_buf_clear(&key);
    upt_view_key(&key, show->config->redis_prefix, "account:", show->account, ":features");
    show->features = show->row != NULL ? hash_of(redis, &key, reterr) : NULL;
    status = show->features != NULL ? UPT_OK : UPT_EUNAVAIL;
    if (show->row != NULL && json_object_size(show->row) == 0) {
        json_decref(show->row);
        show->row = NULL;
    }
    upt_buf_fini(&key);
    redisFree(redis);
    return status;
}

/* ---- Kafka ---- */

/* A record of this account as JSON; NULL: of another, or it cannot be read. */
static json_t *
decode(struct show *show, const rd_kafka_message_t *msg, struct upt_str schema)
{
    struct upt_buf text = {0};
    json_t *record = NULL;
    if (upt_record_json(schema, upt_topic_body(msg), &text, NULL) == UPT_OK) {
        record = json_loadb(text.p, text.len, JSON_ALLOW_NUL, NULL);
    }
    show->unreadable += record == NULL;
    upt_buf_fini(&text);
    return record;
}

static bool
on_alert(void *ctx, const rd_kafka_message_t *msg)
{
    struct show *show = ctx;
    if (!upt_str_eq(upt_topic_key(msg), show->account) || msg->payload == NULL) {
        return true;
    }
    json_t *alert = decode(show, msg, upt_schema_churn_alert);
    const char *id = json_string_value(json_object_get(alert, "alert_id"));
    if (id == NULL) {
        json_decref(alert);
        return true;
    }
    json_int_t had = json_integer_value(json_object_get(json_object_get(show->alerts, id), "revision"));
    if (json_object_get(show->alerts, id) == NULL || had < json_integer_value(json_object_get(alert, "revision"))) {
        (void)json_object_set_new(show->alerts, id, alert);
    } else {
        json_decref(alert);
    }
    return true;
}

static bool
on_health(void *ctx, const rd_kafka_message_t *msg)
{
    struct show *show = ctx;
    if (upt_str_eq(upt_topic_key(msg), show->account)) {
        json_decref(show->health);
        show->health = msg->payload == NULL ? NULL : decode(show, msg, upt_schema_account_health);
    }
    return true;
}

static upt_status
read_topics(struct show *show, struct upt_error *reterr)
{
    const struct upt_config *config = show->config;
    show->alerts = json_object();
    if (upt_client_prop(config, "bootstrap.servers", upt_client_prop(config, "metadata.broker.list", NULL)) == NULL) {
        show->no_topics = true;
        return UPT_OK;
    }
    upt_status status = upt_topic_read(config, config->alerts_topic, on_alert, show, reterr);
    if (status == UPT_OK || status == UPT_ENOTFOUND) {
        status = upt_topic_read(config, config->health_topic, on_health, show, reterr);
    }
    const char *id;
    json_t *alert;
    void *next;
    json_object_foreach_safe(show->alerts, next, id, alert)
    {
        const char *action = json_string_value(json_object_get(alert, "action"));
        if (action != NULL && (strcmp(action, "RESOLVE") == 0 || strcmp(action, "EXPIRE") == 0)) {
            (void)json_object_del(show->alerts, id);
        }
    }
    return status == UPT_ENOTFOUND ? UPT_OK : status;
}

static void
read_checkpoint(struct show *show)
{
    struct upt_buf text = {0};
    struct upt_error err = {0};
    const char *partition = json_string_value(json_object_get(show->row, "partition"));
    if (show->no_topics || partition == NULL) {
        return;
    }
    if (upt_explain_state(show->config, (int32_t)strtol(partition, NULL, 10), show->account, &text, &err) == UPT_OK) {
        show->explained = json_loadb(text.p, text.len, JSON_ALLOW_NUL, NULL);
    } else {
        snprintf(show->why, sizeof(show->why), "%.250s", err.msg);
    }
    upt_buf_fini(&text);
}

/* ---- for a person ---- */

static const char *
field(const struct show *show, const char *name)
{
    return json_string_value(json_object_get(show->row, name));
}

static double
field_number(const struct show *show, const char *name)
{
    const char *text = field(show, name);
    return text != NULL ? strtod(text, NULL) : 0;
}

static void
print_string(const char *before, struct upt_str text, const char *after)
{
    if (text.p != NULL) {
        fputs(before, stdout);
        upt_print_text(stdout, text.p, text.len);
        fputs(after, stdout);
    }
}

static void
print_share(const char *before, const struct show *show, const char *name)
{
    if (field(show, name) != NULL) {
        printf("%s%.1f%%", before, 100 * field_number(show, name));
    }
}

static void
print_time(const char *before, const char *text)
{
    if (text != NULL) {
        upt_print_minute(before, strtoll(text, NULL, 10));
    }
}

static void
print_head(const struct show *show)
{
    upt_print_text(stdout, show->account.p, show->account.len);
    print_string("  ", upt_json_text(show->row, "health_band"), "");
    if (field(show, "health") != NULL) {
        printf("  health %.1f", field_number(show, "health"));
    }
    print_share(" (confidence ", show, "health_confidence");
    fputs(field(show, "health_confidence") != NULL ? ")" : "", stdout);
    print_string("  phase ", upt_json_text(show->row, "phase"), "");
    print_share("\nchurn risk  30 days ", show, "churn_risk_30d");
    print_share("  60 days ", show, "churn_risk_60d");
    print_share("  90 days ", show, "churn_risk_90d");
    print_string("\nsegment ", upt_json_text(show->row, "segment"), "");
    print_string("\nin the segments ", upt_json_text(show->row, "segments"), "");
    print_string("\ntier ", upt_json_text(show->row, "tier"), "");
    print_string("\nrenewal ", upt_json_text(show->row, "renewal_date"), "");
    print_string("\nseats ", upt_json_text(show->row, "seats"), "");
    print_share(", used by people in 30 days: ", show, "seat_utilisation");
    print_string("\nusers ", upt_json_text(show->row, "users_total"), "");
    print_share(", adopted ", show, "adoption_rate");
    print_time("\nfirst seen ", field(show, "first_seen"));
    print_time("\nlast seen  ", field(show, "last_seen"));
    print_time("\ntrue for   ", field(show, "as_of"));
    print_string(" (partition ", upt_json_text(show->row, "partition"), "");
    print_string(", offset ", upt_json_text(show->row, "offset"), ")");
    printf("\n");
}

static void
print_counters(const struct show *show)
{
    static const char *const names[] = {"events", "units", "logins", "users", "features"};
    static const char *const windows[] = {"1h", "24h", "7d", "30d"};
    char name[32];
    printf("\n%-10s %14s %14s %14s %14s\n", "", "1h", "24h", "7d", "30d");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        printf("%-10s", names[i]);
        for (size_t w = 0; w < 4; w++) {
            snprintf(name, sizeof(name), "%s_%s", names[i], windows[w]);
            const char *value = field(show, name);
            printf(" %14s", value != NULL ? value : "");
        }
        printf("\n");
    }
}

struct feature {
    struct upt_str name;
    long days;
    long first; /* days from the account's first record to its first use; -1: not known */
};

static int
by_days(const void *a, const void *b)
{
    const struct feature *x = a;
    const struct feature *y = b;
    uint32_t len = x->name.len < y->name.len ? x->name.len : y->name.len;
    int names = memcmp(x->name.p, y->name.p, len);
    names = names != 0 ? names : (x->name.len > y->name.len) - (x->name.len < y->name.len);
    return x->days != y->days ? (x->days > y->days ? -1 : 1) : names;
}

static long
first_use(const struct show *show, struct upt_str feature)
{
    size_t i;
    json_t *use;
    json_array_foreach(json_object_get(show->explained, "first_uses"), i, use)
    {
        if (upt_str_eq(upt_json_text(use, "feature"), feature)) {
            return (long)json_integer_value(json_object_get(use, "days"));
        }
    }
    return -1;
}

static void
print_features(const struct show *show)
{
    size_t n = 0;
    size_t len;
    const char *name;
    json_t *days;
    struct feature *list = calloc(json_object_size(show->features) + 1, sizeof(*list));
    if (list == NULL) {
        return;
    }
    json_object_keylen_foreach(show->features, name, len, days)
    {
        struct upt_str whole = {name, (uint32_t)len};
        list[n++] = (struct feature){
            .name = whole, .days = strtol(json_string_value(days), NULL, 10), .first = first_use(show, whole)};
    }
    qsort(list, n, sizeof(list[0]), by_days);
    printf("%s", n > 0 ? "\nFeatures, days with use of the last 30\n" : "");
    for (size_t i = 0; i < n; i++) {
        printf("  %3ld  ", list[i].days);
        print_string("", list[i].name, "");
        if (list[i].first >= 0) {
            printf(", first used after %ld day%s", list[i].first, list[i].first == 1 ? "" : "s");
        }
        printf("\n");
    }
    free(list);
}

/* "name value" with few digits, of a phase its name; nothing if it is null. */
static void
print_number(const char *before, const json_t *object, const char *name, bool phase)
{
    const json_t *value = json_object_get(object, name);
    double v = json_number_value(value);
    if (!json_is_number(value)) {
        return;
    }
    if (phase) {
        printf("%s%s", before, upt_phase_names[v >= 0 && v < UPT_PHASE_DORMANT ? (int)v : UPT_PHASE_DORMANT]);
    } else {
        printf("%s%.4g", before, v);
    }
}

/* How often the rule was right before, as the record says. */
static void
print_worth(const json_t *alert)
{
    const json_t *precision = json_object_get(alert, "precision_estimate");
    const json_t *lead = json_object_get(alert, "expected_lead_days");
    if (json_is_number(precision)) {
        printf("\n    so far %.0f%% of this rule's alerts were followed by leaving",
               100 * json_number_value(precision));
    }
    if (json_is_number(lead)) {
        printf(", for half of them within %.0f days", json_number_value(lead));
    }
}

static void
print_alert(const struct show *show, const char *id, const json_t *alert)
{
    size_t i;
    json_t *factor;
    const json_t *risk = json_object_get(alert, "churn_probability");
    bool phase = upt_str_eq(upt_json_text(alert, "unit"), UPT_STR("rank of the phase"));
    print_string("  ", upt_json_text(alert, "severity"), " ");
    print_string("", upt_json_text(alert, "rule"), "");
    print_string(" (", upt_json_text(alert, "subject"), ")");
    upt_print_minute(" since ", json_integer_value(json_object_get(alert, "opened_at")));
    upt_explained_print_control(show->explained, id);
    /* All of a record is true of its moment only, which may be weeks ago. */
    upt_print_minute("\n    as of ", json_integer_value(json_object_get(alert, "changed_at")));
    print_number(": observed ", alert, "observed", phase);
    print_number(", expected ", alert, "expected", phase);
    print_string(" ", phase ? UPT_STR_NULL : upt_json_text(alert, "unit"), "");
    if (json_is_number(risk)) {
        printf("; risk of churn then %.0f%%", 100 * json_number_value(risk));
    }
    print_worth(alert);
    print_string("\n    ", upt_json_text(alert, "counterfactual"), "");
    print_string("\n    suggested: ", upt_json_text(alert, "suggested_play"), "");
    printf("\n    id %s\n", id);
    /* Those of its record are older; they are told where there is nothing newer. */
    json_array_foreach(json_object_get(alert, "factors"), i, factor)
    {
        if (show->explained == NULL && upt_str_eq(upt_json_text(factor, "name"), UPT_STR("held_back"))) {
            print_string("    ", upt_json_text(factor, "text"), "\n");
        } else if (show->explained == NULL) {
            printf("    %+6.2f  ", json_number_value(json_object_get(factor, "log_odds")));
            print_string("", upt_json_text(factor, "text"), "\n");
        }
    }
}

static void
print_alerts(const struct show *show)
{
    const char *id;
    json_t *alert;
    print_string("\nOpen alerts: ", upt_json_text(show->row, "open_alerts"), "\n");
    for (int severity = UPT_CRITICAL; severity >= 0; severity--) {
        json_object_foreach(show->alerts, id, alert)
        {
            const char *is = json_string_value(json_object_get(alert, "severity"));
            if (is != NULL && strcmp(is, upt_severity_names[severity]) == 0) {
                print_alert(show, id, alert);
            }
        }
    }
    if (show->no_topics) {
        printf("  (their reasons are in Kafka, and no broker is configured)\n");
    }
}

/* What to do first, then why, then the numbers. */
static void
print_person(const struct show *show)
{
    const json_t *now = json_object_get(show->explained, "health");
    const json_t *health = now != NULL ? now : show->health;
    print_head(show);
    print_alerts(show);
    upt_explained_print_held_back(show->explained);
    upt_explained_print(show->explained, show->row);
    if (show->why[0] != '\0') {
        printf("\nNothing of a checkpoint: %s\n", show->why);
    }
    upt_explained_print_score(health, now != NULL ? show->row : NULL);
    print_counters(show);
    print_features(show);
    upt_explained_print_meters(show->explained);
    upt_explained_print_signals(health);
}

/* ---- as JSON ---- */

/* Numbers as numbers; units stay text, since a double would round them. */
static json_t *
value_json(const char *name, json_t *text)
{
    static const char *const texts[] = {"segment",     "tier",  "renewal_date",     "segments",
                                        "health_band", "phase", "controlled_alerts"};
    const char *value = json_string_value(text);
    char *end = NULL;
    bool keep = strncmp(name, "units_", 6) == 0 || value[0] == '\0';
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        keep = keep || strcmp(name, texts[i]) == 0;
    }
    if (keep) {
        return json_incref(text);
    }
    errno = 0;
    long long whole = strtoll(value, &end, 10);
    if (*end == '\0' && errno == 0) {
        return json_integer(whole);
    }
    double real = strtod(value, &end);
    json_t *number = *end == '\0' ? json_real(real) : NULL; /* NULL for infinity too */
    return number != NULL ? number : json_incref(text);
}

static json_t *
numbers(const json_t *hash, bool all)
{
    const char *name;
    size_t len;
    json_t *text;
    json_t *object = json_object();
    union {
        const json_t *in;
        json_t *out;
    } u = {.in = hash};
    json_object_keylen_foreach(u.out, name, len, text)
    {
        (void)json_object_setn_new(object, name, len, value_json(all ? "" : name, text));
    }
    return object;
}

static void
print_json(const struct show *show, bool topics_read)
{
    const char *id;
    json_t *alert;
    json_t *all = json_object();
    json_t *alerts = topics_read ? json_array() : json_null();
    json_object_foreach(show->alerts, id, alert)
    {
        (void)(topics_read ? json_array_append(alerts, alert) : 0);
    }
    (void)json_object_set_new(all, "account", json_stringn(show->account.p, show->account.len));
    (void)json_object_set_new(all, "row", numbers(show->row, false));
    (void)json_object_set_new(all, "features", numbers(show->features, true));
    (void)json_object_set_new(all, "alerts", alerts);
    (void)json_object_set_new(all, "health", show->health != NULL ? json_incref(show->health) : json_null());
    (void)json_object_set_new(all, "explained", show->explained != NULL ? json_incref(show->explained) : json_null());
    (void)json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
    printf("\n");
    json_decref(all);
}

/* ---- the command ---- */

static int
explain(struct show *show, bool json)
{
    struct upt_error err;
    if (read_rows(show, &err) != UPT_OK) {
        return upt_command_fail(&upt_cmd_show, &err);
    }
    if (show->row == NULL) {
        fputs("uptake show: Redis has no account ", stderr);
        upt_print_text(stderr, show->account.p, show->account.len);
        fputs("\n", stderr);
        return EX_DATAERR;
    }
    upt_status status = read_topics(show, &err);
    if (status == UPT_OK) {
        read_checkpoint(show);
    }
    if (json) {
        print_json(show, status == UPT_OK && !show->no_topics);
    } else {
        print_person(show);
    }
    if (show->unreadable > 0) {
        fprintf(stderr, "uptake show: %zu records of the account are in a schema that this version does not know\n",
                show->unreadable);
    }
    return status == UPT_OK ? EX_OK : upt_command_fail(&upt_cmd_show, &err);
}

static int
run(int argc, char **argv)
{
    struct upt_option options[] = {{.name = "c", .takes_value = true}, {.name = "json"}, {.name = "model"}};
    const size_t n = sizeof(options) / sizeof(options[0]);
    const char *account = NULL;
    size_t args = 0;
    struct upt_config *config = NULL;
    int rc = upt_options_parse(&upt_cmd_show, argc, argv, options, n, &account, 1, &args);
    if (rc != 0) {
        return rc < 0 ? EX_OK : rc;
    }
    bool json = upt_option(options, n, "json") != NULL;
    bool model = upt_option(options, n, "model") != NULL;
    size_t len = args == 1 ? strlen(account) : 0;
    if (model && args > 0) {
        fprintf(stderr, "uptake show: an account or --model, not both\n");
        return EX_USAGE;
    }
    if (!model && (len < 1 || len > UPT_KEY_MAX || !upt_utf8_valid(account, len))) {
        fprintf(stderr, "uptake show: an account is wanted, 1 to %d bytes of UTF-8\n", UPT_KEY_MAX);
        return EX_USAGE;
    }
    rc = upt_command_config(options, n, false, &config);
    if (rc != 0) {
        return rc;
    }
    if (model) {
        rc = upt_show_model(config, json);
        upt_config_destroy(&config);
        return rc;
    }
    struct show show = {.config = config, .account = {.p = account, .len = (uint32_t)len}};
    rc = explain(&show, json);
    json_decref(show.row);
    json_decref(show.features);
    json_decref(show.health);
    json_decref(show.alerts);
    json_decref(show.explained);
    upt_config_destroy(&config);
    return rc;
}

const struct upt_command upt_cmd_show = {
    .name = "show",
    .usage = "ACCOUNT|--model [-c FILE] [--json]",
    .summary = "An account explained: counters, features, score, risk and its reasons, open alerts and what to do.",
    .help =
        "  -c FILE  configuration; without it Redis on this machine, and no reasons\n"
        "  --json   one JSON object; units are text, since they are exact decimals\n"
        "  --model  instead of an account the score model: what it is made of, what it was fitted to, and how it does\n"
        "           on matured outcomes, by segment, in the process that runs with this configuration\n"
        "\n"
        "Counters are Redis's, alerts the last records in Kafka. Health, phase and risk at the top (row) are as last\n"
        "decided, once a day; risk, use and score that are explained (explained) are what the last checkpoint would\n"
        "have decided at its as_of. Where the two differ both are said. Exit code 65 if Redis has no such account.\n",
    .run = run,
};
