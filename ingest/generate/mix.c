/* The mix: which record comes next, and what is remembered to come again. See mix.h.
 *
 * One stream of events becomes one stream of records: each takes the next event and makes it what the dice say. So the
 * mix has the generator's accounts, rhythm and order, and a test that wants only one kind of trouble sets its share.
 * The record's timestamp is the event's time and up to two seconds, but never below the record before, as a broker with
 * LogAppendTime would give it: the clock of a partition is then the timestamp of its newest record, and the cases at
 * the edges (exactly 30 days, exactly five minutes) are exact.
 *
 * @locality: one thread. */
#include "ingest/generate/mix.h"

#include <stdio.h>
#include <stdlib.h>

#include "ingest/generate/mix_internal.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define SAMPLE_MS (30 * UPT_SECOND_MS)
#define DEDUP_MS (10 * UPT_MINUTE_MS)

const char *const upt_mix_names[UPT_MIX_COUNT] = {
#define NAME(id, name, reason, weight, framed) [UPT_MIX_##id] = (name),
    UPT_MIX_CASES(NAME)
#undef NAME
};

struct mix_info {
    upt_reason reason;
    unsigned weight;
    bool framed;
};

static const struct mix_info infos[UPT_MIX_COUNT] = {
#define INFO(id, name, reason_, weight_, framed_) \
    [UPT_MIX_##id] = {.reason = UPT_REASON_##reason_, .weight = (weight_), .framed = (framed_)},
    UPT_MIX_CASES(INFO)
#undef INFO
};

uint64_t
upt_mix_random(struct upt_mix *mix)
{
    mix->rng += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t x = mix->rng;
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

uint64_t
upt_mix_below(struct upt_mix *mix, uint64_t n)
{
    return upt_mix_random(mix) % n;
}

static bool
happens(struct upt_mix *mix, double share)
{
    return (double)(upt_mix_random(mix) >> 11) / 9007199254740992.0 < share;
}

struct upt_str
upt_mix_id(struct upt_mix *mix)
{
    int len = snprintf(mix->id, sizeof(mix->id), "m%llx-%llu", (unsigned long long)mix->config.seed,
                       (unsigned long long)++mix->ids);
    return (struct upt_str){.p = mix->id, .len = (uint32_t)len};
}

static bool
usable(const struct upt_mix *mix, upt_mix_case what)
{
    return infos[what].weight > 0 && (mix->config.framed || !infos[what].framed);
}

static upt_mix_case
choose(struct upt_mix *mix)
{
    if (!happens(mix, mix->config.strange_share)) {
        return mix->config.framed && happens(mix, mix->config.batch_share) ? UPT_MIX_BATCH : UPT_MIX_PLAIN;
    }
    uint64_t dice = upt_mix_below(mix, mix->weight);
    for (int i = 0; i < UPT_MIX_COUNT; i++) {
        uint64_t weight = usable(mix, (upt_mix_case)i) ? infos[i].weight : 0;
        if (dice < weight) {
            return (upt_mix_case)i;
        }
        dice -= weight;
    }
    return UPT_MIX_PLAIN;
}

static void
keep(struct upt_mix_sent *slot, const struct upt_mix_record *record)
{
    upt_buf_clear(&slot->key);
    upt_buf_clear(&slot->value);
    upt_buf_put(&slot->key, record->key.p, record->key.len);
    upt_buf_put(&slot->value, record->value.p, record->value.len);
    slot->ts = record->ts;
}

static void
show(const struct upt_mix_sent *slot, struct upt_mix_record *ret)
{
    ret->key = (struct upt_str){.p = slot->key.p, .len = (uint32_t)slot->key.len};
    ret->value = (struct upt_str){.p = slot->value.p, .len = (uint32_t)slot->value.len};
    ret->events = 1;
}

static void
remember(struct upt_mix *mix, const struct upt_mix_record *record)
{
    keep(&mix->recent[mix->recent_n++ % UPT_MIX_RING], record);
    if (mix->sampled_n == 0 || record->ts - mix->sampled[(mix->sampled_n - 1) % UPT_MIX_RING].ts >= SAMPLE_MS) {
        keep(&mix->sampled[mix->sampled_n++ % UPT_MIX_RING], record);
    }
}

/* A record sent before, less than the window ago or more; false: there is none. */
static bool
again(struct upt_mix *mix, bool soon, struct upt_mix_record *ret)
{
    const struct upt_mix_sent *ring = soon ? mix->recent : mix->sampled;
    size_t n = soon ? mix->recent_n : mix->sampled_n;
    size_t filled = n < UPT_MIX_RING ? n : UPT_MIX_RING;
    for (int attempt = 0; filled > 0 && attempt < 8; attempt++) {
        const struct upt_mix_sent *slot = &ring[upt_mix_below(mix, filled)];
        int64_t age = ret->ts - slot->ts;
        if (soon ? age < DEDUP_MS - UPT_MINUTE_MS : age > DEDUP_MS && age < UPT_DAY_MS) {
            show(slot, ret);
            return true;
        }
    }
    return false;
}

static bool
make(struct upt_mix *mix, upt_mix_case what, struct upt_mix_record *ret)
{
    ret->what = what;
    ret->reason = infos[what].reason;
    ret->partly = false;
    if (what == UPT_MIX_AGAIN_SOON || what == UPT_MIX_AGAIN_LATER) {
        return again(mix, what == UPT_MIX_AGAIN_SOON, ret);
    }
    if (!upt_mix_make(mix, what, ret)) {
        return false;
    }
    if (what == UPT_MIX_PLAIN) {
        remember(mix, ret);
    }
    if (what == UPT_MIX_FORGET) {
        /* The event that was to come is the first of the new life, with the id it would have had in the old one. */
        mix->rebirth_due = mix->recent_n > 0;
        if (mix->rebirth_due) {
            const struct upt_mix_sent *last = &mix->recent[(mix->recent_n - 1) % UPT_MIX_RING];
            struct upt_mix_record old = {.ts = last->ts};
            show(last, &old);
            keep(&mix->reborn, &old);
            upt_buf_clear(&mix->key);
            upt_buf_put(&mix->key, old.key.p, old.key.len);
            ret->key = (struct upt_str){.p = mix->key.p, .len = (uint32_t)mix->key.len};
        }
    }
    return true;
}

bool
upt_mix_next(struct upt_mix *mix, struct upt_mix_record *ret)
{
    struct upt_generated generated;
    *ret = (struct upt_mix_record){.ts = mix->ts};
    if (mix->rebirth_due) {
        mix->rebirth_due = false;
        ret->what = UPT_MIX_REBIRTH;
        show(&mix->reborn, ret);
        mix->counts[UPT_MIX_REBIRTH]++;
        return true;
    }
    if (!upt_generator_next(mix->config.gen, &generated)) {
        return false;
    }
    mix->draft =
        (struct upt_mix_draft){.event = generated.event, .props = generated.props, .props_n = generated.props_n};
    int64_t ts = generated.event.occurred_at + (int64_t)upt_mix_below(mix, 2000);
    mix->ts = ts > mix->ts ? ts : mix->ts;
    ret->ts = mix->ts;
    if (!make(mix, choose(mix), ret)) {
        bool made = make(mix, UPT_MIX_PLAIN, ret);
        upt_assert(made);
    }
    mix->counts[ret->what]++;
    return true;
}

uint64_t
upt_mix_count(const struct upt_mix *mix, upt_mix_case what)
{
    return mix->counts[what];
}

static int64_t
or_else(int64_t value, int64_t fallback)
{
    return value > 0 ? value : fallback;
}

upt_status
upt_mix_create(const struct upt_mix_config *config, struct upt_mix **ret, struct upt_error *reterr)
{
    struct upt_mix *mix = calloc(1, sizeof(*mix));
    if (mix == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory");
    }
    mix->config = *config;
    mix->config.batch_max = or_else(config->batch_max, 50);
    mix->config.max_record_bytes = or_else(config->max_record_bytes, INT64_C(1024) * 1024);
    mix->config.max_batch_events = or_else(config->max_batch_events, 10000);
    mix->config.max_depth = or_else(config->max_depth, 32);
    mix->config.max_future_ms = or_else(config->max_future_ms, 5 * UPT_MINUTE_MS);
    if (!config->framed) {
        mix->config.event_id = -1;
    }
    mix->rng = config->seed;
    mix->ts = INT64_MIN;
    for (int i = 0; i < UPT_MIX_COUNT; i++) {
        mix->weight += usable(mix, (upt_mix_case)i) ? infos[i].weight : 0;
    }
    *ret = mix;
    return UPT_OK;
}

static void
forget_sent(struct upt_mix_sent *slot)
{
    upt_buf_fini(&slot->key);
    upt_buf_fini(&slot->value);
}

void
upt_mix_destroy(struct upt_mix **mix_p)
{
    struct upt_mix *mix = *mix_p;
    if (mix == NULL) {
        return;
    }
    *mix_p = NULL;
    for (size_t i = 0; i < UPT_MIX_RING; i++) {
        forget_sent(&mix->recent[i]);
        forget_sent(&mix->sampled[i]);
    }
    forget_sent(&mix->reborn);
    upt_buf_fini(&mix->key);
    upt_buf_fini(&mix->value);
    upt_buf_fini(&mix->body);
    upt_buf_fini(&mix->text);
    free(mix);
}
