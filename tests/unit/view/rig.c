/* See rig.h. */
#include "rig.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
open_view(struct rig_view *rig, const char *url, const char *owner, int64_t flush_interval_ms)
{
    struct upt_error err;
    memset(rig, 0, sizeof(*rig));
    const struct upt_view_config config = {.url = url,
                                           .prefix = "uptake:",
                                           .owner = owner,
                                           .timeout_ms = 2000,
                                           .flush_interval_ms = flush_interval_ms,
                                           .repair_interval_ms = 600000,
                                           .metrics = &rig->metrics};
    assert_int_equal(upt_view_create(&config, &rig->view, &err), UPT_OK);
}

void
rig_open_url(struct rig_view *rig, const char *url, const char *owner)
{
    open_view(rig, url, owner, 50);
}

void
rig_open(struct rig_view *rig, const struct redis_server *server, const char *owner)
{
    open_view(rig, server->url, owner, 50);
}

void
rig_open_interval(struct rig_view *rig, const struct redis_server *server, const char *owner, int64_t flush_interval_ms)
{
    open_view(rig, server->url, owner, flush_interval_ms);
}

void
rig_close(struct rig_view *rig)
{
    upt_view_destroy(&rig->view);
}

struct upt_pos
rig_pos(int64_t offset)
{
    return (struct upt_pos){.offset = offset, .tick = 60000};
}

struct floor_wait {
    struct rig_view *rig;
    int32_t partition;
    struct upt_pos floor;
};

static bool
floor_known(void *ctx)
{
    struct floor_wait *wait = ctx;
    return upt_view_floor(wait->rig->view, wait->partition, &wait->floor);
}

struct upt_pos
rig_own(struct rig_view *rig, int32_t partition, int64_t epoch)
{
    struct floor_wait wait = {.rig = rig, .partition = partition};
    upt_view_own(rig->view, partition, epoch);
    assert_true(redis_server_wait(floor_known, &wait));
    return wait.floor;
}

struct upt_row
rig_row(const char *account, int32_t partition, int64_t offset)
{
    struct upt_row row = {.account = upt_str_of(account),
                          .partition = partition,
                          .pos = rig_pos(offset),
                          .as_of = 1700000000000,
                          .changed = UPT_ROW_ALL,
                          .next_change = UPT_NO_CLOCK,
                          .users_24h = 21,
                          .users_7d = 22,
                          .users_30d = 23,
                          .users_total = 24,
                          .features_30d = 25,
                          .first_seen = -5,
                          .last_seen = 1699999999999,
                          .seat_utilisation = UPT_SHARE_ABSENT,
                          .adoption_rate = UPT_SHARE_ABSENT,
                          .health = NAN,
                          .risk = {NAN, NAN, NAN},
                          .open_alerts = 2};
    for (unsigned w = 0; w < UPT_WINDOWS; w++) {
        row.usage[w] = (struct upt_usage){.events = 1 + w, .micro_units = 500000 + w * 1000000, .logins = 11 + w};
    }
    return row;
}

void
rig_push_row(struct rig_view *rig, const struct upt_row *row)
{
    assert_true(upt_view_push_row(rig->view, row, NULL, 0));
}

void
rig_flush(struct rig_view *rig, int32_t partition, int64_t offset)
{
    const struct upt_view_flush flush = {.partition = partition,
                                         .pos = rig_pos(offset),
                                         .as_of = 1700000000000,
                                         .end_offset = offset + 1,
                                         .wall_ms = 99,
                                         .number = (uint64_t)offset + 1}; /* in the tests by its position */
    assert_true(upt_view_push_flush(rig->view, &flush));
}

static bool
is_published(void *ctx)
{
    const struct floor_wait *wait = ctx;
    return upt_view_stored(wait->rig->view, wait->partition) >= (uint64_t)wait->floor.offset + 1;
}

bool
rig_published(struct rig_view *rig, int32_t partition, int64_t offset)
{
    struct floor_wait wait = {.rig = rig, .partition = partition, .floor = rig_pos(offset)};
    return redis_server_wait(is_published, &wait);
}

uint64_t
rig_metric(const struct rig_view *rig, upt_metric id)
{
    return atomic_load(&rig->metrics.v[id]);
}

struct metric_wait {
    const struct rig_view *rig;
    upt_metric id;
    uint64_t n;
};

static bool
metric_there(void *ctx)
{
    const struct metric_wait *wait = ctx;
    return rig_metric(wait->rig, wait->id) >= wait->n;
}

bool
rig_metric_reaches(const struct rig_view *rig, upt_metric id, uint64_t n)
{
    struct metric_wait wait = {.rig = rig, .id = id, .n = n};
    return redis_server_wait(metric_there, &wait);
}

static bool
repair_there(void *ctx)
{
    const struct floor_wait *wait = ctx;
    return upt_view_take_repair(wait->rig->view, wait->partition);
}

bool
rig_repair(struct rig_view *rig, int32_t partition)
{
    struct floor_wait wait = {.rig = rig, .partition = partition};
    return redis_server_wait(repair_there, &wait);
}
