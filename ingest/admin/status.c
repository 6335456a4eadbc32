/* What the page and the scrapers read, as text: /status.json and /metrics.
 *
 * Everything of the process itself comes from the board and is there whatever happens; each part that comes from Redis
 * is null with its reason beside it while Redis cannot give it. Alerts are spliced in as the text that the lanes
 * posted: taking their numbers apart and printing them again would only change digits.
 *
 * /status.json: reader thread. /metrics: the thread of libmicrohttpd. */
#include "ingest/admin/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "uptake/assert.h"
#include "uptake/metrics.h"
#include "uptake/outcomes.h"
#include "uptake/time.h"

#define PARTITIONS_MAX 4096
#define RATE_AGE_MS 10000

struct metric_info {
    const char *name;
    const char *labels;
    double divisor;
};

static const struct metric_info infos[UPT_M_COUNT] = {
#define INFO(id, type, name_, labels_, divisor_, help) [UPT_M_##id] = {name_, labels_, divisor_},
    UPT_METRICS(INFO)
#undef INFO
};

void
upt_admin_json_text(const json_t *json, struct upt_buf *out)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    upt_buf_puts(out, text == NULL ? "null" : text);
    free(text);
}

json_t *
upt_admin_json_reason(const char *text)
{
    size_t len = strlen(text);
    json_t *json = json_stringn(text, len);
    while (json == NULL && len > 0) {
        json = json_stringn(text, --len);
    }
    return json;
}

static void
set(json_t *object, const char *name, json_t *value)
{
    (void)json_object_set_new(object, name, value == NULL ? json_null() : value);
}

static json_t *
metrics_json(struct upt_metrics *const *sets, size_t n)
{
    json_t *object = json_object();
    for (int id = 0; id < UPT_M_COUNT; id++) {
        uint64_t total = upt_metrics_total(sets, n, (upt_metric)id);
        char name[160];
        snprintf(name, sizeof(name), "%s%s%s%s", infos[id].name, infos[id].labels[0] != '\0' ? "{" : "",
                 infos[id].labels, infos[id].labels[0] != '\0' ? "}" : "");
        set(object, name,
            infos[id].divisor > 1 ? json_real((double)total / infos[id].divisor) : json_integer((json_int_t)total));
    }
    return object;
}

static json_t *
rate(uint64_t now, uint64_t before, int64_t ms)
{
    return json_real(now < before ? 0 : (double)(now - before) * 1000.0 / (double)ms);
}

/* Since the last look, if that was not long ago: the first look has none. */
static json_t *
rates_json(struct upt_admin_sample *last, struct upt_metrics *const *sets, size_t n)
{
    struct upt_admin_sample now = {.mono_ms = upt_mono_ms(),
                                   .records = upt_metrics_total(sets, n, UPT_M_RECORDS),
                                   .events = upt_metrics_total(sets, n, UPT_M_EVENTS),
                                   .duplicates = upt_metrics_total(sets, n, UPT_M_DUPLICATES)};
    for (int reason = UPT_REASON_BAD_KEY; reason < UPT_REASON_COUNT; reason++) {
        now.dead += upt_metrics_total(sets, n, upt_metric_dead((upt_reason)reason));
    }
    int64_t ms = now.mono_ms - last->mono_ms;
    json_t *rates = NULL;
    if (last->mono_ms != 0 && ms > 0 && ms <= RATE_AGE_MS) {
        rates = json_object();
        set(rates, "records", rate(now.records, last->records, ms));
        set(rates, "events", rate(now.events, last->events, ms));
        set(rates, "duplicates", rate(now.duplicates, last->duplicates, ms));
        set(rates, "dead_letters", rate(now.dead, last->dead, ms));
    }
    *last = now;
    return rates;
}

static json_t *
partition_json(const struct upt_board_partition *part, int64_t now_ms)
{
    json_t *object = json_object();
    bool known = part->end_offset >= 0;
    int64_t lag = !known ? 0 : part->end_offset - (part->offset + 1);
    bool ticking = part->clock != UPT_NO_CLOCK;
    int64_t behind = !ticking || lag <= 0 || now_ms < part->clock ? 0 : now_ms - part->clock;
    set(object, "partition", json_integer(part->partition));
    set(object, "phase", json_string(upt_part_phase_names[part->phase]));
    set(object, "offset", part->offset < 0 ? NULL : json_integer(part->offset));
    set(object, "end_offset", known ? json_integer(part->end_offset) : NULL);
    set(object, "lag_records", known ? json_integer(lag < 0 ? 0 : lag) : NULL);
    set(object, "lag_seconds", known && ticking ? json_real((double)behind / 1000.0) : NULL);
    set(object, "clock", ticking ? json_integer(part->clock) : NULL);
    set(object, "checkpoint_at", part->checkpoint_ms == 0 ? NULL : json_integer(part->checkpoint_ms));
    set(object, "accounts", json_integer((json_int_t)part->accounts));
    set(object, "progress", json_real(part->progress));
    set(object, "rate", json_real(part->rate));
    set(object, "note", json_string(part->note));
    return object;
}

static json_t *
partitions_json(struct upt_board *board, int64_t now_ms)
{
    struct upt_board_partition *parts = calloc(PARTITIONS_MAX, sizeof(*parts));
    json_t *list = json_array();
    size_t n = parts == NULL ? 0 : upt_board_partitions(board, parts, PARTITIONS_MAX);
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(list, partition_json(&parts[i], now_ms));
    }
    free(parts);
    return list;
}

/* Reads the parts that are in Redis; each is null with its reason in "missing" if it could not be read. */
static void
put_redis(struct upt_admin_redis *redis, json_t *status)
{
    static const struct {
        const char *name;
        json_t *(*read)(struct upt_admin_redis *redis);
    } parts[] = {
        {"totals", upt_admin_redis_totals},
        {"at_risk", upt_admin_redis_at_risk},
        {"features", upt_admin_redis_top_features},
    };
    json_t *missing = json_object();
    bool up = upt_admin_redis_ready(redis);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (redis->ctx != NULL) {
            redis->why[0] = '\0';
        }
        json_t *part = redis->ctx != NULL ? parts[i].read(redis) : NULL;
        if (part == NULL) {
            set(missing, parts[i].name, upt_admin_json_reason(redis->why));
        }
        set(status, parts[i].name, part);
    }
    up = up && redis->ctx != NULL;
    json_t *object = json_object();
    set(object, "up", json_boolean(up));
    set(object, "reason", up ? NULL : upt_admin_json_reason(redis->why));
    set(object, "missing", missing);
    set(status, "redis", object);
}

static void
put_readiness(struct upt_admin *admin, json_t *status)
{
    char why[256] = "";
    bool ready = upt_board_ready(admin->board, why, sizeof(why));
    set(status, "ready", json_boolean(ready));
    set(status, "not_ready", ready ? NULL : json_string(why));
    set(status, "alive", json_boolean(upt_board_alive(admin->board, admin->heartbeat_max_ms)));
}

static json_t *
real(double v)
{
    return isnan(v) ? NULL : json_real(v);
}

static json_t *
figures_json(const struct upt_outcome_figures *f)
{
    json_t *object = json_object();
    set(object, "outcomes", json_integer((json_int_t)f->n));
    set(object, "left", json_integer((json_int_t)f->left));
    set(object, "predicted", real(f->predicted));
    set(object, "observed", real(f->observed));
    set(object, "auc", real(f->auc));
    set(object, "calibration_error", real(f->calibration_error));
    set(object, "leads", json_integer((json_int_t)f->leads));
    set(object, "lead_days", real(f->lead_days));
    return object;
}

/* The model in use, and what became of those of whom it foretold something. */
static json_t *
model_json(struct upt_board *board)
{
    struct upt_board_model model = upt_board_get_model(board);
    struct upt_outcomes *outcomes = upt_board_outcomes(board);
    struct upt_outcome_figures f;
    json_t *object = json_object();
    json_t *segments = json_array();
    set(object, "version", json_string(model.version));
    set(object, "hash", json_string(model.hash));
    set(object, "all", upt_outcomes_figures(outcomes, UPT_OUTCOME_ALL, &f) ? figures_json(&f) : NULL);
    for (int i = 0; i < UPT_OUTCOME_SLOTS; i++) {
        if (upt_outcomes_figures(outcomes, i, &f)) {
            json_t *segment = figures_json(&f);
            set(segment, "segment", json_string(f.segment));
            (void)json_array_append_new(segments, segment);
        }
    }
    set(object, "segments", segments);
    return object;
}

void
upt_admin_status_build(struct upt_admin *admin, struct upt_buf *out)
{
    struct upt_metrics *sets[UPT_BOARD_SETS];
    size_t n = upt_board_sets(admin->board, sets, UPT_BOARD_SETS);
    int64_t now_ms = upt_wall_ms();
    json_t *status = json_object();
    set(status, "version", json_string(admin->version));
    set(status, "group", json_string(admin->group));
    set(status, "instance", json_string(admin->instance));
    set(status, "now", json_integer(now_ms));
    set(status, "started_at", json_integer(admin->started_ms));
    set(status, "uptime_seconds", json_integer((upt_mono_ms() - admin->started_mono_ms) / 1000));
    put_readiness(admin, status);
    set(status, "rates", rates_json(&admin->sample, sets, n));
    set(status, "metrics", metrics_json(sets, n));
    set(status, "partitions", partitions_json(admin->board, now_ms));
    put_redis(&admin->redis, status);
    set(status, "model", model_json(admin->board));

    struct upt_buf alerts = {0};
    upt_board_alerts_json(admin->board, &alerts);
    json_t *valid =
        json_loadb(alerts.p == NULL ? "" : alerts.p, alerts.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    upt_admin_json_text(status, out);
    upt_assert(out->len > 2 && out->p[out->len - 1] == '}'); /* taken off, so that the alerts can follow */
    out->len--;
    upt_buf_puts(out, ",\"alerts\":");
    if (json_is_array(valid)) {
        upt_buf_put(out, alerts.p, alerts.len);
    } else {
        upt_buf_puts(out, "null");
    }
    upt_buf_puts(out, "}\n");
    json_decref(valid);
    json_decref(status);
    upt_buf_fini(&alerts);
}

/* Resident bytes, from /proc; 0 where there is none. */
static long long
resident_bytes(void)
{
    long long size = 0;
    long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    if (fscanf(file, "%lld %lld", &size, &pages) != 2) {
        pages = 0;
    }
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* The names that every Prometheus client gives, so that the usual dashboards of processes work. */
static void
process_metrics(struct upt_admin *admin, struct upt_buf *out)
{
    struct rusage usage = {0};
    (void)getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    upt_buf_printf(out,
                   "# HELP uptake_build_info The running version\n# TYPE uptake_build_info gauge\n"
                   "uptake_build_info{version=\"%s\"} 1\n",
                   admin->version);
    upt_buf_printf(out,
                   "# HELP process_start_time_seconds Start of the admin port, Unix seconds\n"
                   "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %.3f\n",
                   (double)admin->started_ms / 1000.0);
    upt_buf_printf(out,
                   "# HELP process_cpu_seconds_total User and system time\n"
                   "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.2f\n",
                   cpu);
    upt_buf_printf(out,
                   "# HELP process_resident_memory_bytes Resident memory\n"
                   "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %lld\n",
                   resident_bytes());
}

void
upt_admin_metrics_build(struct upt_admin *admin, struct upt_buf *out)
{
    struct upt_metrics *sets[UPT_BOARD_SETS];
    size_t n = upt_board_sets(admin->board, sets, UPT_BOARD_SETS);
    upt_metrics_prometheus(sets, n, out);
    upt_outcomes_prometheus(upt_board_outcomes(admin->board), out);
    process_metrics(admin, out);
}
