/* Telemetry that a person would believe, from a seed: accounts of several sizes and cadences, weekday and hour rhythm
 * in their own region, growth, seats, onboarding, tickets, surveys, contacts, renewals, and labelled churners. Pure.
 *
 * Events come in order of time. One day is made at a time: memory is that of the accounts and of one day's events. */
#ifndef UPT_GENERATE_H
#define UPT_GENERATE_H

#include <stdbool.h>
#include <stdint.h>

#include "ingest/avro/encoder.h"
#include "uptake/event.h"
#include "uptake/status.h"

struct upt_generator;

struct upt_generator_config {
    int64_t accounts, users, features, days; /* users: mean of an account; 0: natural sizes, 1 to some thousand */
    int64_t events;                          /* so many in all; 0: as the accounts are */
    double churn_share;                      /* 0..1 of the accounts leave within the time */
    uint64_t seed;
    int64_t now_ms; /* the end; the beginning is `days` before */
};

typedef enum upt_churn { UPT_STAYS, UPT_FADES, UPT_STOPS, UPT_HEAVY, UPT_PAUSES, UPT_CHURN_COUNT } upt_churn;
extern const char *const upt_churn_names[UPT_CHURN_COUNT]; /* PAUSES is a holiday, not a churn */

struct upt_generated {
    struct upt_event event; /* account_id is the key */
    const struct upt_prop *props;
    size_t props_n;
};

struct upt_label {
    const char *account;
    upt_churn kind;
    int64_t day; /* UTC day of leaving (or of the pause's begin); 0: stays */
    const char *cadence;
    int64_t users;
};

UPT_NODISCARD upt_status upt_generator_create(const struct upt_generator_config *config, struct upt_generator **ret,
                                              struct upt_error *reterr);
void upt_generator_destroy(struct upt_generator **gen_p);
/* The next event, valid until the next call; false: the end. */
bool upt_generator_next(struct upt_generator *gen, struct upt_generated *ret);
void upt_generator_label(const struct upt_generator *gen, int64_t account, struct upt_label *ret);
/* Share of the days that are done, 0..1. */
double upt_generator_progress(const struct upt_generator *gen);

#endif
