/* Metrics as Prometheus text and as the reference document, both from the one table in metrics.h.
 *
 * Sets are read with relaxed loads while their owners write: each value is whole, the page as a whole is not one
 * instant, which is what a scrape expects. Ages are kept in milliseconds and shown in seconds by moving the point, so
 * no value passes through a double. Any thread; reads only. */
#include "uptake/metrics.h"

#include <stdbool.h>

#include "uptake/assert.h"
#include "uptake/outcomes.h"

#define NOT_SET UINT64_MAX /* a gauge of which the least counts, in a set that has none */

struct metric_info {
    upt_metric_type type;
    const char *name;
    const char *labels;
    uint64_t divisor;
    const char *help;
};

static const struct metric_info infos[UPT_M_COUNT] = {
#define UPT_METRIC_INFO(id, type, name, labels, divisor, help) {type, name, labels, divisor, help},
    UPT_METRICS(UPT_METRIC_INFO)
#undef UPT_METRIC_INFO
};

/* Entries of one name stand together in the table; the first carries the help. */
static bool
first_of_name(size_t id)
{
    return id == 0 || strcmp(infos[id].name, infos[id - 1].name) != 0;
}

void
upt_metrics_init(struct upt_metrics *set)
{
    for (size_t id = 0; id < UPT_M_COUNT; id++) {
        atomic_init(&set->v[id], infos[id].type == UPT_GAUGE_MIN ? NOT_SET : 0);
    }
    set->outcomes = NULL;
}

static const char *
type_name(const struct metric_info *info)
{
    return info->type == UPT_COUNTER ? "counter" : "gauge";
}

uint64_t
upt_metrics_total(struct upt_metrics *const *sets, size_t n, upt_metric id)
{
    upt_assert(id < UPT_M_COUNT);
    bool least = infos[id].type == UPT_GAUGE_MIN;
    uint64_t total = least ? NOT_SET : 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t v = atomic_load_explicit(&sets[i]->v[id], memory_order_relaxed);
        if (infos[id].type == UPT_GAUGE_MAX) {
            total = v > total ? v : total;
        } else if (least) {
            total = v < total ? v : total;
        } else {
            total += v;
        }
    }
    return least && total == NOT_SET ? 0 : total;
}

static void
put_value(struct upt_buf *out, uint64_t value, uint64_t divisor)
{
    upt_buf_put_u64(out, value / divisor);
    if (divisor == 1) {
        return;
    }
    upt_assert(divisor == 1000);
    upt_buf_printf(out, ".%03u", (unsigned)(value % divisor));
}

void
upt_metrics_prometheus(struct upt_metrics *const *sets, size_t n, struct upt_buf *out)
{
    for (size_t id = 0; id < UPT_M_COUNT; id++) {
        const struct metric_info *info = &infos[id];
        if (first_of_name(id)) {
            upt_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", info->name, info->help, info->name, type_name(info));
        }
        upt_buf_puts(out, info->name);
        if (info->labels[0] != '\0') {
            upt_buf_printf(out, "{%s}", info->labels);
        }
        upt_buf_put(out, " ", 1);
        put_value(out, upt_metrics_total(sets, n, (upt_metric)id), info->divisor);
        upt_buf_put(out, "\n", 1);
    }
}

void
upt_metrics_markdown(struct upt_buf *out)
{
    upt_buf_puts(out, "# Metrics\n\nGenerated from the table in "
                      "`include/uptake/metrics.h`; do not edit.\nServed by the admin port at `/metrics`, Prometheus "
                      "text format. Counters start at 0 with the process.\n\n"
                      "| metric | type | labels | what |\n|---|---|---|---|\n");
    for (size_t id = 0; id < UPT_M_COUNT; id++) {
        if (!first_of_name(id)) {
            continue;
        }
        const struct metric_info *info = &infos[id];
        upt_buf_printf(out, "| `%s` | %s | ", info->name, type_name(info));
        for (size_t same = id; same < UPT_M_COUNT && (same == id || !first_of_name(same)); same++) {
            if (infos[same].labels[0] != '\0') {
                upt_buf_printf(out, "%s`%s`", same == id ? "" : " ", infos[same].labels);
            }
        }
        upt_buf_printf(out, " | %s%s |\n", info->help,
                       info->type == UPT_GAUGE_MAX   ? " (the largest over the lanes)"
                       : info->type == UPT_GAUGE_MIN ? " (the least over the lanes)"
                                                     : "");
    }
    upt_outcomes_markdown(out);
    upt_buf_printf(
        out,
        "\n`segment` is the account's trait, \"\" without one: the first %d that had an outcome, all others "
        "`other`. Counters of the risk are the process's; its gauges are of all outcomes that the partitions "
        "it has ever had, and absent until there are both kinds.\n\nBeside "
        "them, under the names that every Prometheus client gives: `uptake_build_info{version}`, "
        "`process_start_time_seconds`, `process_cpu_seconds_total`, `process_resident_memory_bytes`.\n",
        UPT_OUTCOME_SEGMENTS);
}
