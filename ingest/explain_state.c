/* Reads one account out of the state topic: its own records, those of features (which hold the names) and the mark of
 * the checkpoint that completes them. Everything else is passed over undecoded, so this takes the time of reading a
 * partition of that topic and the memory of one account. A read of committed records ends behind a whole checkpoint.
 * One thread. */
#include "ingest/explain_state.h"

#include <string.h>

#include "aggregate/score/score.h"
#include "aggregate/state/state.h"
#include "ingest/kafka/progress.h"
#include "ingest/lane.h"
#include "ingest/pipeline.h"
#include "ingest/topic_read.h"

static struct upt_metrics metrics; /* nobody looks at it */

struct reading {
    struct upt_str account;
    struct upt_state *st;
    struct upt_checkpoint checkpoint;
    bool has_checkpoint;
    upt_status status;
    struct upt_error *err;
};

/* Key "a" and the id, or "p", four bytes of page and the id; "f" and a name. */
static bool
is_wanted(const struct reading *reading, struct upt_str key)
{
    size_t head = key.p[0] == 'a' ? 1 : key.p[0] == 'p' ? 5 : 0;
    if (head == 0) {
        return key.p[0] == 'f';
    }
    return key.len == head + reading->account.len &&
           memcmp(key.p + head, reading->account.p, reading->account.len) == 0;
}

static bool
on_state(void *ctx, const rd_kafka_message_t *msg)
{
    struct reading *reading = ctx;
    struct upt_str key = upt_topic_key(msg);
    struct upt_str value = upt_topic_value(msg);
    if (key.p == NULL || key.len == 0) {
        return true;
    }
    if (key.len == 1 && key.p[0] == 'r') {
        reading->status = upt_checkpoint_decode(value, &reading->checkpoint, reading->err);
        reading->has_checkpoint = true;
    } else if (is_wanted(reading, key)) {
        reading->status = upt_state_load(reading->st, key, value, reading->err);
    }
    return reading->status == UPT_OK;
}

static upt_status
explain(const struct upt_config *config, int32_t partition, struct upt_score *score, struct reading *reading,
        struct upt_buf *out)
{
    struct upt_error *err = reading->err;
    upt_status status = upt_topic_read_partition(config, config->state_topic, partition, -1, on_state, reading, err);
    status = status == UPT_OK ? reading->status : status;
    if (status == UPT_OK && !reading->has_checkpoint) {
        return upt_fail(err, UPT_ENOTFOUND, "there is no checkpoint yet");
    }
    if (status == UPT_OK) {
        status = upt_state_load_done(reading->st, reading->checkpoint.pos, reading->checkpoint.clock, err);
    }
    if (status != UPT_OK) {
        return status;
    }
    struct upt_account *acct = upt_state_find(reading->st, reading->account);
    if (acct == NULL) {
        return upt_fail(err, UPT_ENOTFOUND, "no checkpoint has the account yet");
    }
    upt_score_explain_json(score, reading->st, acct, out);
    return UPT_OK;
}

upt_status
upt_explain_state(const struct upt_config *config, int32_t partition, struct upt_str account, struct upt_buf *out,
                  struct upt_error *reterr)
{
    struct upt_scoring *scoring = NULL;
    struct upt_score *score = NULL;
    const struct upt_sink sink = {.ctx = NULL};
    struct reading reading = {.account = account, .err = reterr};
    upt_status status = upt_scoring_load(config, &scoring, reterr);
    if (status == UPT_OK) {
        status = upt_score_create(scoring->model, scoring->rules, scoring->config_hash, &sink, &score, reterr);
    }
    if (status == UPT_OK) {
        const struct upt_state_config state = {.partition = partition,
                                               .max_future_ms = config->max_future_ms,
                                               .dedup_window_ms = config->dedup_window_ms,
                                               .retention_ms = config->retention_ms,
                                               .adopted_days = (unsigned)config->adopted_days,
                                               .observer = &upt_score_observer,
                                               .observer_ctx = score,
                                               .metrics = &metrics};
        status = upt_state_create(&state, &reading.st, reterr);
    }
    if (status == UPT_OK) {
        status = explain(config, partition, score, &reading, out);
    }
    upt_state_destroy(&reading.st);
    upt_score_destroy(&score);
    upt_scoring_destroy(&scoring);
    return status;
}
