/* Views in front of a redis_server, and rows to push. Main thread only. */
#ifndef UPT_TEST_RIG_H
#define UPT_TEST_RIG_H

#include "redis_server.h"

struct rig_view {
    struct upt_view *view;
    struct upt_metrics metrics;
};

/* A view of this server, by default with a flush interval of 50 ms. Asserts. */
void rig_open(struct rig_view *rig, const struct redis_server *server, const char *owner);
void rig_open_url(struct rig_view *rig, const char *url, const char *owner);
void rig_open_interval(struct rig_view *rig, const struct redis_server *server, const char *owner,
                       int64_t flush_interval_ms);
void rig_close(struct rig_view *rig);
/* Owns the partition and waits for the floor. */
struct upt_pos rig_own(struct rig_view *rig, int32_t partition, int64_t epoch);
/* A row with every counter set and everything optional absent, at offset. */
struct upt_row rig_row(const char *account, int32_t partition, int64_t offset);
struct upt_pos rig_pos(int64_t offset);
void rig_push_row(struct rig_view *rig, const struct upt_row *row);
/* Ends a flush at offset. */
void rig_flush(struct rig_view *rig, int32_t partition, int64_t offset);
/* Whether that flush is in Redis, waiting for it. */
bool rig_published(struct rig_view *rig, int32_t partition, int64_t offset);
uint64_t rig_metric(const struct rig_view *rig, upt_metric id);
bool rig_metric_reaches(const struct rig_view *rig, upt_metric id, uint64_t n);
bool rig_repair(struct rig_view *rig, int32_t partition); /* waits for the flag */

#endif
