/* Events from the input topic, partition after partition, as `run` would count them; the log alone moves the clock. */
#include <stdlib.h>

#include "ingest/fitting.h"
#include "ingest/input.h"
#include "ingest/kafka/client.h"
#include "ingest/topic_read.h"
#include "uptake/time.h"

struct reading {
    struct upt_fitting *f;
    struct upt_input input;
    struct upt_decoder *decoder;
    upt_status status;
    struct upt_error *err;
};

static bool
on_record(void *ctx, const rd_kafka_message_t *msg)
{
    struct reading *r = ctx;
    struct upt_decoded decoded = {.reason = UPT_REASON_NONE};
    struct upt_str key = upt_topic_key(msg);
    bool looking = r->f->looking;
    rd_kafka_timestamp_type_t type;
    int64_t ts = rd_kafka_message_timestamp(msg, &type);
    if (key.p == NULL || key.len < 1 || key.len > UPT_KEY_MAX || !upt_utf8_valid(key.p, key.len)) {
        decoded.reason = UPT_REASON_BAD_KEY;
    } else if (msg->payload != NULL) {
        r->status = upt_input_decode(&r->input, r->decoder, key, upt_topic_value(msg), &decoded, r->err);
    }
    if (r->status != UPT_OK) {
        return false;
    }
    upt_state_begin(r->f->st, msg->offset, ts);
    if (decoded.reason == UPT_REASON_NONE && msg->payload == NULL) {
        upt_state_forget(r->f->st, key);
    } else if (decoded.reason == UPT_REASON_NONE) {
        for (uint32_t i = 0; i < decoded.events_n && !(looking && !r->f->looking); i++) {
            if (upt_state_judge(r->f->st, &decoded.events[i], ts) == UPT_REASON_NONE) {
                (void)upt_state_apply(r->f->st, key, &decoded.events[i]);
            }
        }
    }
    return !looking || r->f->looking;
}

/* From which --at counts: the first day of all partitions, so looked for before any is read. */
static upt_status
find_first_day(struct reading *r, const struct upt_config *config, const struct upt_topic_span *spans, int32_t n)
{
    upt_status status = UPT_OK;
    for (int32_t i = 0; i < n && status == UPT_OK; i++) {
        if (spans[i].high > spans[i].low) {
            r->f->looking = true;
            status = upt_fitting_begin(r->f, i, r->err);
            if (status == UPT_OK) {
                status = upt_topic_read_partition(config, config->input_topic, i, -1, on_record, r, r->err);
            }
            status = status == UPT_OK ? r->status : status;
        }
    }
    r->f->looking = false;
    return status;
}

upt_status
upt_fit_read_log(struct upt_fitting *f, const struct upt_config *config, struct upt_error *reterr)
{
    struct reading r = {.f = f, .err = reterr};
    struct upt_topic_span *spans = NULL;
    int32_t spans_n = 0;
    upt_status status = upt_input_open(&r.input, config, reterr);
    if (status == UPT_OK) {
        status = upt_input_decoder(&r.input, &r.decoder, reterr);
    }
    if (status == UPT_OK) {
        status = upt_topic_spans(config, config->input_topic, &spans, &spans_n, reterr);
    }
    if (status == UPT_OK && f->at_n > 0) {
        status = find_first_day(&r, config, spans, spans_n);
    }
    for (int32_t i = 0; i < spans_n && status == UPT_OK; i++) {
        status = upt_fitting_begin(f, i, reterr);
        if (status == UPT_OK && spans[i].high > spans[i].low) {
            status = upt_topic_read_partition(config, config->input_topic, i, -1, on_record, &r, reterr);
        }
        status = status == UPT_OK ? r.status : status;
        if (status == UPT_OK) {
            status = upt_fitting_end(f, false, reterr);
        }
    }
    free(spans);
    upt_decoder_destroy(&r.decoder);
    upt_input_close(&r.input);
    return status;
}
