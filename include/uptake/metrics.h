/* Metrics: one table, from which /metrics and deploy/METRICS.md are generated.
 *
 * Counters and gauges without labels beyond those of the table. Each lane (and the process itself) has its own set;
 * a set has one writer, so an increment is a relaxed load and store, no locked instruction. The admin thread sums
 * the sets. Gauges that are ages or maxima are taken as the maximum over sets, those of UPT_GAUGE_MIN as the least over
 * the sets that have one. */
#ifndef UPT_METRICS_H
#define UPT_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "uptake/event.h"
#include "uptake/str.h"

typedef enum upt_metric_type { UPT_COUNTER, UPT_GAUGE_SUM, UPT_GAUGE_MAX, UPT_GAUGE_MIN } upt_metric_type;

/* M(id, type, name, labels or "", divisor (value / divisor is shown; 1 or 1000 for ms → s), help) */
#define UPT_METRICS(M)                                                                                                 \
    M(RECORDS, UPT_COUNTER, "uptake_records_total", "", 1, "Input records applied, also dead letters and nulls")       \
    M(EVENTS, UPT_COUNTER, "uptake_events_total", "", 1, "Events counted")                                             \
    M(DUPLICATES, UPT_COUNTER, "uptake_duplicates_total", "", 1, "Events left out as duplicates")                      \
    M(DEDUP_EVICTED, UPT_COUNTER, "uptake_dedup_evicted_total", "", 1,                                                 \
      "Event ids pushed out of an account's 4,096 before their window ended")                                          \
    M(BAD_SEATS, UPT_COUNTER, "uptake_profile_bad_seats_total", "", 1, "PROFILE seats that are no number, ignored")    \
    M(DEAD_BAD_KEY, UPT_COUNTER, "uptake_dead_letters_total", "reason=\"bad_key\"", 1, "Dead letters decided")         \
    M(DEAD_TOO_LARGE, UPT_COUNTER, "uptake_dead_letters_total", "reason=\"too_large\"", 1, "")                         \
    M(DEAD_BAD_FRAME, UPT_COUNTER, "uptake_dead_letters_total", "reason=\"bad_frame\"", 1, "")                         \
    M(DEAD_UNKNOWN_SCHEMA, UPT_COUNTER, "uptake_dead_letters_total", "reason=\"unknown_schema\"", 1, "")               \
    M(DEAD_BAD_SCHEMA, UPT_COUNTER, "uptake_dead_letters_total", "reason=\"bad_schema\"", 1, "")                       \
    M(DEAD_BAD_AVRO, UPT_COUNTER, "uptake_dead_letters_total", "reason=\"bad_avro\"", 1, "")                           \
    M(DEAD_BAD_ACCOUNT_ID, UPT_COUNTER, "uptake_dead_letters_total", "reason=\"bad_account_id\"", 1, "")               \
    M(DEAD_BAD_FEATURE, UPT_COUNTER, "uptake_dead_letters_total", "reason=\"bad_feature\"", 1, "")                     \
    M(DEAD_BAD_QUANTITY, UPT_COUNTER, "uptake_dead_letters_total", "reason=\"bad_quantity\"", 1, "")                   \
    M(DEAD_TOO_LATE, UPT_COUNTER, "uptake_dead_letters_total", "reason=\"too_late\"", 1, "")                           \
    M(DEAD_IN_FUTURE, UPT_COUNTER, "uptake_dead_letters_total", "reason=\"in_future\"", 1, "")                         \
    M(FORGOTTEN, UPT_COUNTER, "uptake_forgotten_total", "", 1, "Accounts forgotten, by a null record or by retention") \
    M(TICKS, UPT_COUNTER, "uptake_ticks_total", "", 1, "Minutes of the clock run")                                     \
    M(WALL_TICKS, UPT_COUNTER, "uptake_wall_ticks_total", "", 1, "Minutes run at the end of the log by the wall")      \
    M(ALERTS, UPT_COUNTER, "uptake_alert_transitions_total", "", 1, "Transitions of alerts decided and handed on")     \
    M(HEALTH, UPT_COUNTER, "uptake_health_records_total", "", 1, "Health records decided and handed on")               \
    M(OUTPUTS_DROPPED, UPT_COUNTER, "uptake_outputs_replayed_total", "", 1,                                            \
      "Outputs decided again in a replay and left out, since they were published before")                              \
    M(ACCOUNTS, UPT_GAUGE_SUM, "uptake_accounts", "", 1, "Accounts in memory")                                         \
    M(STATE_BYTES, UPT_GAUGE_SUM, "uptake_state_bytes", "", 1, "Memory of the state")                                  \
    M(ASSIGNED, UPT_GAUGE_SUM, "uptake_partitions_assigned", "", 1, "Partitions owned")                                \
    M(PAUSED, UPT_GAUGE_SUM, "uptake_partitions_blocked", "", 1, "Partitions held back, such as for the registry")     \
    M(RESTORING, UPT_GAUGE_SUM, "uptake_partitions_restoring", "", 1,                                                  \
      "Partitions whose state is being read back; they are in neither lag")                                            \
    M(LAG, UPT_GAUGE_SUM, "uptake_lag_records", "", 1, "Records between the position and the end of the log")          \
    M(LAG_SECONDS, UPT_GAUGE_MAX, "uptake_lag_seconds", "", 1000,                                                      \
      "Wall clock less the clock of the partition that is furthest behind, while it has records left")                 \
    M(UNPUBLISHED_AGE, UPT_GAUGE_MAX, "uptake_unpublished_age_seconds", "", 1000,                                      \
      "Age of the oldest change that is not yet in Redis")                                                             \
    M(TRANSACTIONS, UPT_COUNTER, "uptake_transactions_total", "", 1, "Kafka transactions committed")                   \
    M(TXN_ABORTED, UPT_COUNTER, "uptake_transactions_aborted_total", "", 1, "Kafka transactions given up")             \
    M(NEW_EPOCHS, UPT_COUNTER, "uptake_producer_epochs_total", "", 1, "Producers replaced after an unclear outcome")   \
    M(CHECKPOINTS, UPT_COUNTER, "uptake_checkpoints_total", "", 1, "Checkpoints committed")                            \
    M(CHECKPOINT_BYTES, UPT_COUNTER, "uptake_checkpoint_bytes_total", "", 1, "Bytes of checkpoint records")            \
    M(CHECKPOINT_AGE, UPT_GAUGE_MAX, "uptake_checkpoint_age_seconds", "", 1000,                                        \
      "Age of the oldest change that is in no checkpoint yet, 0 if all are")                                           \
    M(LOST_RECORDS, UPT_COUNTER, "uptake_lost_records_total", "", 1,                                                   \
      "Offsets that the log no longer held when they were needed (on_gap: continue)")                                  \
    M(RESTORES, UPT_COUNTER, "uptake_restores_total", "", 1, "Partitions restored from their checkpoints")             \
    M(RESTORE_RECORDS, UPT_COUNTER, "uptake_restore_records_total", "", 1, "Records read by restores")                 \
    M(FENCED_OWNERS, UPT_COUNTER, "uptake_fenced_owners_total", "", 1, "Open transactions of dead owners ended")       \
    M(REBALANCES, UPT_COUNTER, "uptake_rebalances_total", "", 1, "Assignments received or taken away")                 \
    M(REGISTRY_REQUESTS, UPT_COUNTER, "uptake_registry_requests_total", "", 1, "HTTP requests to the registry")        \
    M(REGISTRY_FAILURES, UPT_COUNTER, "uptake_registry_failures_total", "", 1, "Those that failed, 404 aside")         \
    M(REDIS_UP, UPT_GAUGE_MIN, "uptake_redis_up", "", 1, "1 while every lane's connection to Redis works")             \
    M(REDIS_ROWS, UPT_COUNTER, "uptake_redis_rows_total", "", 1, "Rows written to Redis")                              \
    M(REDIS_RECONNECTS, UPT_COUNTER, "uptake_redis_reconnects_total", "", 1, "Connections to Redis made anew")         \
    M(REDIS_GUARD_REFUSALS, UPT_COUNTER, "uptake_redis_guard_refusals_total", "", 1,                                   \
      "Flushes that the guard in Redis refused, since another process owns the partition or the marker is gone")       \
    M(REDIS_REPAIRS, UPT_COUNTER, "uptake_redis_repairs_total", "", 1,                                                 \
      "Partitions published again in full, since Redis had lost writes")                                               \
    M(REDIS_SWEPT, UPT_COUNTER, "uptake_redis_swept_rows_total", "", 1, "Rows asserted again by the slow sweep")

typedef enum upt_metric {
#define UPT_METRIC_ID(id, ...) UPT_M_##id,
    UPT_METRICS(UPT_METRIC_ID)
#undef UPT_METRIC_ID
        UPT_M_COUNT
} upt_metric;

struct upt_outcomes; /* uptake/outcomes.h: the figures of the risk, which have labels of their own */

struct upt_metrics {
    _Alignas(64) _Atomic uint64_t v[UPT_M_COUNT];
    struct upt_outcomes *outcomes; /* shared by the sets of a board; NULL: not counted */
};

/* A set in which nothing has been counted. */
void upt_metrics_init(struct upt_metrics *set);

static inline void
upt_metric_add(struct upt_metrics *metrics, upt_metric id, uint64_t n)
{
    uint64_t v = atomic_load_explicit(&metrics->v[id], memory_order_relaxed);
    atomic_store_explicit(&metrics->v[id], v + n, memory_order_relaxed);
}

static inline void
upt_metric_set(struct upt_metrics *metrics, upt_metric id, uint64_t v)
{
    atomic_store_explicit(&metrics->v[id], v, memory_order_relaxed);
}

static inline upt_metric
upt_metric_dead(upt_reason reason)
{
    return (upt_metric)((int)UPT_M_DEAD_BAD_KEY + ((int)reason - (int)UPT_REASON_BAD_KEY));
}

/* Sums n sets into Prometheus text (version 0.0.4), with HELP and TYPE. */
void upt_metrics_prometheus(struct upt_metrics *const *sets, size_t n, struct upt_buf *out);
/* One metric over n sets. */
uint64_t upt_metrics_total(struct upt_metrics *const *sets, size_t n, upt_metric id);
/* deploy/METRICS.md. */
void upt_metrics_markdown(struct upt_buf *out);

#endif
