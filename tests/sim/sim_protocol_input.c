/* Random logs: accounts that are active day by day and some that fall silent, all kinds of events, batches, duplicates,
 * late, too late and future events, records that cannot be counted, and forgotten accounts. See sim_protocol.h. */
#include "sim_protocol_input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/avro/decoder.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define ACCOUNTS 5
#define BATCH 4
#define BEGIN_MS INT64_C(1767571200000) /* 2026-01-05 */

struct decoded {
    upt_reason reason;
    bool batch;
    int64_t known_us; /* when the schema is known */
    struct upt_event events[BATCH];
    uint32_t events_n;
};

struct sim_input *sim_input;
size_t sim_input_n;
static struct decoded *table;
static int64_t ends[SIM_PARTS];
static bool silent[ACCOUNTS];

static const char *
text(const char *fmt, uint64_t n)
{
    char *p = sim_alloc(24);
    snprintf(p, 24, fmt, (unsigned long long)n);
    return p;
}

static struct upt_props
profile(void)
{
    static const char *const entries[][2] = {{"segment", "smb"},  {"segment", "ent"},
                                             {"tier", "gold"},    {"seats", "12"},
                                             {"seats", "many"},   {"renewal_date", "2026-02-20"},
                                             {"region", "north"}, {"contract_value", "9000"}};
    const char *const *entry = entries[sim_rnd(8)];
    struct upt_buf raw = {0};
    upt_buf_put_zigzag(&raw, 1);
    for (int i = 0; i < 2; i++) {
        upt_buf_put_zigzag(&raw, (int64_t)strlen(entry[i]));
        upt_buf_puts(&raw, entry[i]);
    }
    upt_buf_put_zigzag(&raw, 0);
    struct upt_props props = {.raw = sim_copy((struct upt_str){.p = raw.p, .len = (uint32_t)raw.len})};
    upt_buf_fini(&raw);
    return props;
}

static upt_kind
kind(void)
{
    uint64_t n = sim_rnd(100);
    return n < 60   ? UPT_KIND_USAGE
           : n < 75 ? UPT_KIND_LOGIN
           : n < 80 ? UPT_KIND_VALUE
                    : (upt_kind)sim_rnd(UPT_KIND_COUNT);
}

static void
make_event(struct upt_event *ev, const char *account, int64_t ts, size_t serial)
{
    static const char *const features[] = {"search", "export", "reports", "api"};
    *ev = (struct upt_event){.account_id = upt_str_of(account), .kind = kind(), .quantity = 1};
    uint64_t when = sim_rnd(100);
    ev->occurred_at = ts - (int64_t)(when < 70   ? sim_rnd(60000)
                                     : when < 88 ? sim_rnd(7200000)
                                     : when < 96 ? sim_rnd(29) * 86400000
                                                 : 86400000 * (30 + sim_rnd(3)));
    if (sim_rnd(40) == 0) {
        ev->occurred_at = ts + 60000 * (int64_t)sim_rnd(10);
    }
    ev->event_id = upt_str_of(text("e%llu", sim_rnd(6) == 0 ? serial - sim_rnd(4) : serial));
    ev->event_id = sim_rnd(8) == 0 ? UPT_STR("") : ev->event_id;
    ev->user_id = sim_rnd(6) == 0 ? UPT_STR_NULL : upt_str_of(text("u%llu", sim_rnd(5)));
    ev->feature = sim_rnd(8) == 0 ? UPT_STR_NULL : upt_str_of(features[sim_rnd(4)]);
    if (sim_rnd(60) == 0) {
        ev->feature = UPT_STR("_hidden");
    }
    ev->quantity = sim_rnd(60) == 0 ? -1.0 : (double)sim_rnd(5000) / 8.0;
    if (ev->kind == UPT_KIND_PROFILE) {
        ev->properties = profile();
    } else if (ev->kind == UPT_KIND_SURVEY) {
        ev->feature = UPT_STR("nps");
        ev->quantity = (double)sim_rnd(11);
    }
}

static void
add(int parts, int account, int64_t ts)
{
    size_t i = sim_input_n++;
    struct sim_input *input = &sim_input[i];
    struct decoded *entry = &table[i];
    char value[8];
    uint64_t what = sim_rnd(100);
    input->part = account % parts;
    input->rec.ts = ts;
    input->rec.state = SIM_COMMITTED;
    input->rec.offset = ends[input->part] + (sim_rnd(10) == 0 ? 1 + (int64_t)sim_rnd(3) : 0);
    ends[input->part] = input->rec.offset + 1;
    input->rec.key = upt_str_of(text("account-%llu", (uint64_t)account));
    snprintf(value, sizeof(value), "%zu", i);
    input->rec.value = sim_copy(upt_str_of(value));
    if (what < 2) {
        input->rec.value = UPT_STR_NULL;
    } else if (what < 4) {
        input->rec.key = sim_rnd(2) == 0 ? UPT_STR_NULL : UPT_STR("\xff");
    } else if (what < 7) {
        entry->reason = (upt_reason)(UPT_REASON_TOO_LARGE + sim_rnd(6));
        struct sim_header *h = sim_alloc(2 * sizeof(*h));
        h[0] = (struct sim_header){.name = UPT_STR("trace"), .value = UPT_STR("t-1")};
        h[1] = (struct sim_header){.name = UPT_STR("uptake.reason"), .value = UPT_STR("old")};
        input->rec.headers = h;
        input->rec.headers_n = 2;
    }
    entry->batch = sim_rnd(4) == 0;
    entry->events_n = entry->batch ? (uint32_t)sim_rnd(BATCH + 1) : 1;
    for (uint32_t k = 0; k < entry->events_n; k++) {
        make_event(&entry->events[k], text("account-%llu", (uint64_t)account), ts, i * BATCH + k + BATCH);
    }
}

void
sim_input_make(int parts)
{
    int accounts = 2 + (int)sim_rnd(ACCOUNTS - 1);
    bool days = sim_rnd(3) > 0;
    int steps = days ? 8 + (int)sim_rnd(16) : 10 + (int)sim_rnd(40);
    int64_t now = BEGIN_MS + (int64_t)sim_rnd(86400000);
    sim_input = sim_alloc(SIM_RECORDS * sizeof(*sim_input));
    table = sim_alloc(SIM_RECORDS * sizeof(*table));
    sim_input_n = 0;
    memset(ends, 0, sizeof(ends));
    memset(silent, 0, sizeof(silent));
    for (int s = 0; s < steps; s++) {
        now += (int64_t)sim_rnd(days ? 10800000 : s % 7 == 0 ? 7200000 : 120000);
        for (int a = 0; a < accounts; a++) {
            if (!silent[a] && sim_rnd(10) < 8 && sim_input_n < SIM_RECORDS / 2) {
                now += (int64_t)sim_rnd(days ? 60000 * 30 : 20000);
                int64_t ts = now - (sim_rnd(20) == 0 ? (int64_t)sim_rnd(7200000) : 0);
                add(parts, a, ts);
            }
            silent[a] = silent[a] ? sim_rnd(20) > 0 : s > 7 && sim_rnd(14) == 0;
        }
        now = days ? (now / 86400000 + 1) * 86400000 : now;
    }
}

void
sim_input_send(size_t i)
{
    table[i].known_us = sim_odds.crash > 0 && sim_rnd(40) == 0 ? sim_now_us + (int64_t)sim_rnd(400000) : 0;
    (void)sim_log_append(SIM_T_INPUT, sim_input[i].part, &sim_input[i].rec);
}

static const struct decoded *
entry_of(struct upt_str value)
{
    char number[16] = "";
    upt_assert(value.len < sizeof(number));
    memcpy(number, value.p, value.len);
    return &table[strtoull(number, NULL, 10)];
}

bool
sim_input_counts(const struct sim_rec *rec)
{
    if (rec->value.p == NULL || rec->key.p == NULL || rec->key.p[0] != 'a') {
        return false;
    }
    const struct decoded *entry = entry_of(rec->value);
    bool counts = false;
    for (uint32_t i = 0; i < entry->events_n && entry->reason == UPT_REASON_NONE; i++) {
        const struct upt_event *ev = &entry->events[i];
        counts = counts || (ev->kind == UPT_KIND_USAGE && ev->event_id.len == 0 && ev->quantity >= 0 &&
                            (ev->feature.p == NULL || ev->feature.p[0] != '_') && ev->occurred_at <= rec->ts &&
                            rec->ts - ev->occurred_at < UPT_DAY_MS);
    }
    return counts;
}

/* ---- the decoder ---- */

upt_status
upt_decoder_create(const struct upt_decoder_config *config, struct upt_decoder **ret, struct upt_error *reterr)
{
    (void)config, (void)reterr;
    *ret = NULL;
    return UPT_OK;
}

void
upt_decoder_destroy(struct upt_decoder **dec_p)
{
    *dec_p = NULL;
}

upt_status
upt_decoder_decode(struct upt_decoder *dec, struct upt_str key, struct upt_str value, struct upt_decoded *ret,
                   struct upt_error *reterr)
{
    (void)dec, (void)key;
    const struct decoded *entry = entry_of(value);
    if (sim_now_us < entry->known_us) {
        return upt_fail(reterr, UPT_EAGAIN, "the schema is not known yet");
    }
    *ret = (struct upt_decoded){.reason = entry->reason,
                                .batch = entry->batch,
                                .has_schema_id = true,
                                .schema_id = 7,
                                .events = entry->events,
                                .events_n = entry->reason == UPT_REASON_NONE ? entry->events_n : 0};
    snprintf(ret->detail, sizeof(ret->detail), "as the table has it");
    return UPT_OK;
}

bool
upt_decoder_look_ahead(struct upt_decoder *dec, struct upt_str key, struct upt_str value, struct upt_decoded *ret)
{
    return upt_decoder_decode(dec, key, value, ret, NULL) == UPT_OK && ret->reason == UPT_REASON_NONE && !ret->batch;
}
