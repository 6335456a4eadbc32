/* From a record to its events: size, frame, schema, plan, account, in this order, each with its reason.
 *
 * The lane's decoder keeps its own plans, so that the way of a record whose schema is known takes no lock; the shared
 * registry is asked once for each id (and, while it says that there is none, once for each such record: that answer
 * expires there). Events and scratch memory are reused; after the largest batch nothing is allocated any more.
 * One thread: the lane. */
#include "ingest/avro/decoder.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/avro/plan.h"
#include "ingest/avro/plan_cache.h"

#define HEADER_BYTES 5
#define DEPTH_MAX 1024 /* reading recurses: about 200 bytes of stack for each */

struct upt_decoder {
    struct upt_registry *registry; /* borrowed; NULL: bare Avro */
    struct upt_plan_cache *cache;
    struct upt_plan *bare;
    const struct upt_plan_entry *last; /* of last_id: most records come with the id of the one before */
    int32_t last_id;
    int64_t max_record_bytes;
    struct upt_run run;
};

/* UPT_EDATA: bad_schema. */
static upt_status
compile(struct upt_str json, struct upt_plan **ret, struct upt_error *reterr)
{
    struct upt_avro_schema *schema = NULL;
    struct upt_error error = {0};
    upt_status status = upt_schema_parse(json, &schema, &error);
    if (status != UPT_OK) {
        return upt_fail(reterr, status, "the schema cannot be parsed: %.200s", error.msg);
    }
    status = upt_plan_compile(schema, ret, reterr);
    upt_schema_destroy(&schema);
    return status;
}

upt_status
upt_decoder_create(const struct upt_decoder_config *config, struct upt_decoder **ret, struct upt_error *reterr)
{
    if (config->max_record_bytes < 1 || config->max_record_bytes > INT32_MAX || config->max_batch_events < 1 ||
        config->max_batch_events > INT32_MAX || config->max_depth < 1 || config->max_depth > DEPTH_MAX) {
        return upt_fail(reterr, UPT_EINVAL,
                        "limits out of range: max_record_bytes and max_batch_events 1 to %" PRId32
                        ", max_depth 1 to %d",
                        INT32_MAX, DEPTH_MAX);
    }
    if (config->framed && config->registry == NULL) {
        return upt_fail(reterr, UPT_EINVAL, "records with a schema id need a schema registry");
    }
    struct upt_decoder *dec = calloc(1, sizeof(*dec));
    if (dec == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for a decoder");
    }
    dec->max_record_bytes = config->max_record_bytes;
    dec->run.max_events = (uint64_t)config->max_batch_events;
    dec->run.max_depth = (uint32_t)config->max_depth;
    upt_status status = UPT_OK;
    if (config->framed) {
        dec->registry = config->registry;
        status = upt_plan_cache_create(&dec->cache, reterr);
    } else {
        status = compile(config->schema, &dec->bare, reterr);
        if (status == UPT_EDATA && reterr != NULL) {
            reterr->code = status = UPT_EINVAL;
        }
    }
    if (status != UPT_OK) {
        upt_decoder_destroy(&dec);
        return status == UPT_EDATA ? UPT_EINVAL : status;
    }
    *ret = dec;
    return UPT_OK;
}

void
upt_decoder_destroy(struct upt_decoder **dec_p)
{
    struct upt_decoder *dec = *dec_p;
    if (dec == NULL) {
        return;
    }
    upt_plan_cache_destroy(&dec->cache);
    upt_plan_destroy(&dec->bare);
    free(dec->run.events);
    free(dec->run.scratch);
    free(dec);
    *dec_p = NULL;
}

/* Compiles the registry's schema and remembers the plan, or what is wrong with it. */
static upt_status
learn(struct upt_decoder *dec, int32_t id, struct upt_str json, const struct upt_plan_entry **ret,
      struct upt_error *reterr)
{
    struct upt_error error = {0};
    struct upt_plan_entry entry = {0};
    upt_status status = compile(json, &entry.plan, &error);
    if (status == UPT_EDATA) {
        size_t len = strlen(error.msg) + 1;
        entry.why = malloc(len);
        if (entry.why != NULL) {
            memcpy(entry.why, error.msg, len);
        }
    }
    if (entry.plan == NULL && entry.why == NULL) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for a decode plan");
    }
    dec->last = NULL; /* may be the one that is evicted */
    *ret = upt_plan_cache_put(dec->cache, id, entry);
    return UPT_OK;
}

/* The entry of a schema id. UPT_ENOTFOUND: the registry says that there is none. */
static upt_status
look_up(struct upt_decoder *dec, int32_t id, const struct upt_plan_entry **ret, struct upt_error *reterr)
{
    if (dec->last != NULL && dec->last_id == id) {
        *ret = dec->last;
        return UPT_OK;
    }
    const struct upt_plan_entry *entry = upt_plan_cache_get(dec->cache, id);
    if (entry == NULL) {
        struct upt_str json;
        upt_status status = upt_registry_get(dec->registry, id, &json, reterr);
        if (status == UPT_EDATA) {
            /* No answer about the schema: not the record's fault, so it waits. */
            if (reterr != NULL) {
                reterr->code = UPT_EUNAVAIL;
            }
            return UPT_EUNAVAIL;
        }
        if (status == UPT_OK) {
            status = learn(dec, id, json, &entry, reterr);
        }
        if (status != UPT_OK) {
            return status;
        }
    }
    dec->last = entry;
    dec->last_id = id;
    *ret = entry;
    return UPT_OK;
}

UPT_PRINTF(3, 4)
static upt_status
refuse(struct upt_decoded *ret, upt_reason reason, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(ret->detail, sizeof(ret->detail), fmt, args);
    va_end(args);
    ret->reason = reason;
    return UPT_OK;
}

/* The same bytes. An account's id is short: its first eight bytes and its last cost less than a call. */
static inline bool
same(struct upt_str a, struct upt_str b)
{
    if (a.len != b.len || a.len < 8 || a.len > 16) {
        return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
    }
    uint64_t words[4];
    memcpy(&words[0], a.p, 8);
    memcpy(&words[1], b.p, 8);
    memcpy(&words[2], a.p + a.len - 8, 8);
    memcpy(&words[3], b.p + a.len - 8, 8);
    return words[0] == words[1] && words[2] == words[3];
}

static upt_status
check_accounts(const struct upt_run *run, struct upt_str key, struct upt_decoded *ret)
{
    for (uint32_t i = 0; i < run->events_n; i++) {
        struct upt_str account = run->events[i].account_id;
        if (!same(account, key)) {
            return ret->batch
                       ? refuse(ret, UPT_REASON_BAD_ACCOUNT_ID, "account_id of event %" PRIu32 " is not the key", i)
                       : refuse(ret, UPT_REASON_BAD_ACCOUNT_ID, "account_id is not the key");
        }
    }
    ret->events = run->events;
    ret->events_n = run->events_n;
    return UPT_OK;
}

static upt_status
run_plan(struct upt_decoder *dec, const struct upt_plan *plan, struct upt_str body, struct upt_decoded *ret,
         struct upt_error *reterr)
{
    struct upt_run *run = &dec->run;
    ret->batch = plan->batch;
    upt_reason reason = upt_plan_run(plan, run, body);
    if (reason == UPT_REASON_NONE) {
        return UPT_OK;
    }
    if (run->no_memory) {
        return upt_fail(reterr, UPT_ENOMEM, "out of memory for a batch's events");
    }
    if (run->field[0] == '\0') {
        return refuse(ret, reason, "%s, at byte %zu of the Avro data", run->why, run->at);
    }
    return refuse(ret, reason, "field %.100s: %s, at byte %zu of the Avro data", run->field, run->why, run->at);
}

static int32_t
schema_id(const unsigned char *p)
{
    uint32_t id = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
    return (int32_t)id;
}

/* The plan of a record behind its header. *ret_plan stays NULL if ret->reason was set. */
static upt_status
unframe(struct upt_decoder *dec, struct upt_str *value, struct upt_decoded *ret, const struct upt_plan **ret_plan,
        struct upt_error *reterr)
{
    if (value->len < HEADER_BYTES) {
        return refuse(ret, UPT_REASON_BAD_FRAME, "%" PRIu32 " bytes are shorter than the header", value->len);
    }
    const unsigned char *p = (const unsigned char *)value->p;
    if (p[0] != 0) {
        return refuse(ret, UPT_REASON_BAD_FRAME, "the first byte is %d and not 0", p[0]);
    }
    int32_t id = schema_id(p + 1);
    const struct upt_plan_entry *entry = NULL;
    /* Registries count from 1: below 0 there is none, and to some it would be no question at all. */
    upt_status status = id < 0 ? UPT_ENOTFOUND : look_up(dec, id, &entry, reterr);
    if (status != UPT_OK && status != UPT_ENOTFOUND) {
        return status;
    }
    ret->has_schema_id = true;
    ret->schema_id = id;
    if (status == UPT_ENOTFOUND) {
        return refuse(ret, UPT_REASON_UNKNOWN_SCHEMA, "the registry has no schema %" PRIu32, (uint32_t)id);
    }
    if (entry->plan == NULL) {
        return refuse(ret, UPT_REASON_BAD_SCHEMA, "schema %" PRId32 ": %.220s", id, entry->why);
    }
    value->p += HEADER_BYTES;
    value->len -= HEADER_BYTES;
    *ret_plan = entry->plan;
    return UPT_OK;
}

/* The plan of a record that is not too large. *ret_plan stays NULL if ret->reason was set. */
static upt_status
find_plan(struct upt_decoder *dec, struct upt_str *value, struct upt_decoded *ret, const struct upt_plan **ret_plan,
          struct upt_error *reterr)
{
    ret->reason = UPT_REASON_NONE;
    ret->batch = false;
    ret->has_schema_id = false;
    ret->schema_id = 0;
    ret->events = NULL;
    ret->events_n = 0;
    ret->detail[0] = '\0';
    if (value->len > (uint64_t)dec->max_record_bytes) {
        return refuse(ret, UPT_REASON_TOO_LARGE, "%" PRIu32 " bytes are more than max_record_bytes", value->len);
    }
    *ret_plan = dec->bare;
    return dec->bare != NULL ? UPT_OK : unframe(dec, value, ret, ret_plan, reterr);
}

bool
upt_decoder_look_ahead(struct upt_decoder *dec, struct upt_str key, struct upt_str value, struct upt_decoded *ret)
{
    const struct upt_plan *plan = NULL;
    return find_plan(dec, &value, ret, &plan, NULL) == UPT_OK && plan != NULL && !plan->batch && !plan->copies &&
           run_plan(dec, plan, value, ret, NULL) == UPT_OK && ret->reason == UPT_REASON_NONE &&
           check_accounts(&dec->run, key, ret) == UPT_OK && ret->reason == UPT_REASON_NONE;
}

upt_status
upt_decoder_decode(struct upt_decoder *dec, struct upt_str key, struct upt_str value, struct upt_decoded *ret,
                   struct upt_error *reterr)
{
    const struct upt_plan *plan = NULL;
    upt_status status = find_plan(dec, &value, ret, &plan, reterr);
    if (status == UPT_OK && plan != NULL) {
        status = run_plan(dec, plan, value, ret, reterr);
        if (status == UPT_OK && ret->reason == UPT_REASON_NONE) {
            status = check_accounts(&dec->run, key, ret);
        }
    }
    return status;
}
