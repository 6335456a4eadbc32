/* Fuzzes what is made of a schema from outside: parsing, compiling, decoding and showing a record with it.
 *
 * Input: the schema's text, a NUL, a record. A schema that is accepted must give a plan that reads any bytes in bounded
 * time; what is shown of a record must be UTF-8. */
#include <stdlib.h>
#include <string.h>

#include "ingest/avro/encoder.h"
#include "ingest/avro/plan.h"
#include "uptake/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct upt_run run = {.max_depth = 16, .max_events = 100};

static void
decode(const struct upt_avro_schema *schema, struct upt_str body)
{
    struct upt_plan *plan = NULL;
    struct upt_error error;
    upt_status status = upt_plan_compile(schema, &plan, &error);
    upt_assert(status == UPT_OK || status == UPT_EDATA);
    if (status == UPT_OK) {
        upt_reason reason = upt_plan_run(plan, &run, body);
        for (uint32_t i = 0; reason == UPT_REASON_NONE && i < run.events_n; i++) {
            upt_assert(upt_utf8_valid(run.events[i].account_id.p, run.events[i].account_id.len));
        }
    }
    upt_plan_destroy(&plan);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct upt_buf shown;
    const uint8_t *end = size == 0 ? NULL : memchr(data, 0, size);
    size_t len = end == NULL ? size : (size_t)(end - data);
    struct upt_str text = {.p = (const char *)data, .len = (uint32_t)len};
    struct upt_str body = {.p = end == NULL ? "" : (const char *)end + 1,
                           .len = (uint32_t)(end == NULL ? 0 : size - len - 1)};
    struct upt_avro_schema *schema = NULL;
    struct upt_error error;
    if (upt_schema_parse(text, &schema, &error) != UPT_OK) {
        return 0;
    }
    decode(schema, body);
    upt_buf_clear(&shown);
    if (upt_record_json(text, body, &shown, &error) == UPT_OK) {
        upt_assert(upt_utf8_valid(shown.p, shown.len));
    }
    upt_schema_destroy(&schema);
    return 0;
}
