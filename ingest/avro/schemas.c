/* The schemas of schemas/, as built in.
 *
 * The build writes each file as an array (schema_*.inc). They are included and not linked, so that their lengths are
 * constants here and the strings can be constant objects without an initialisation at start. */
#include "ingest/avro/encoder.h"

#include "schema_account_health.inc"
#include "schema_churn_alert.inc"
#include "schema_usage_batch.inc"
#include "schema_usage_event.inc"

#define TEXT_OF(array)                                                   \
    {                                                                    \
        .p = (const char *)(array), .len = (uint32_t)(sizeof(array) - 1) \
    }

const struct upt_str upt_schema_usage_event = TEXT_OF(upt_file_usage_event);
const struct upt_str upt_schema_usage_batch = TEXT_OF(upt_file_usage_batch);
const struct upt_str upt_schema_account_health = TEXT_OF(upt_file_account_health);
const struct upt_str upt_schema_churn_alert = TEXT_OF(upt_file_churn_alert);
