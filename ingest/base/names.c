/* The words of the public contract for kinds, reasons, bands, phases and the like. Never change one: they are keys in
 * Redis, symbols in Avro and labels in metrics. */
#include "uptake/board.h"
#include "uptake/event.h"
#include "uptake/output.h"
#include "uptake/row.h"

const char *const upt_kind_names[UPT_KIND_COUNT] = {
    "USAGE",   "LOGIN",    "SIGNUP",        "USER_REMOVED",  "SEATS",  "ONBOARDING_STEP",
    "VALUE",   "TRAINING", "TICKET_OPENED", "TICKET_CLOSED", "SURVEY", "CONTACT",
    "PROFILE", "RELEASE",  "RENEWED",       "CHURNED",       "OTHER",
};

const char *const upt_reason_names[UPT_REASON_COUNT] = {
    "none",     "bad_key",        "too_large",   "bad_frame",    "unknown_schema", "bad_schema",
    "bad_avro", "bad_account_id", "bad_feature", "bad_quantity", "too_late",       "in_future",
};

const char *const upt_band_names[5] = {"UNKNOWN", "CRITICAL", "AT_RISK", "WATCH", "HEALTHY"};
const char *const upt_severity_names[4] = {"INFO", "WARNING", "HIGH", "CRITICAL"};
const char *const upt_action_names[6] = {"OPEN", "UPDATE", "ESCALATE", "DEESCALATE", "RESOLVE", "EXPIRE"};
const char *const upt_data_status_names[4] = {"FRESH", "STALE", "MISSING", "NOT_APPLICABLE"};
const char *const upt_phase_names[UPT_PHASE_COUNT] = {
    "TRIAL", "ONBOARDING", "ADOPTION", "USAGE", "VALUE", "ADVOCACY", "DORMANT", "CHURNED",
};

const char *const upt_window_names[UPT_WINDOWS] = {"1h", "24h", "7d", "30d"};

const char *const upt_part_phase_names[4] = {"restoring", "replaying", "running", "blocked"};
