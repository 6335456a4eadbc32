/* Records for tests: the generator's events as producers in the wild would send them. Batches, duplicates, late and
 * early events, an evolved writer schema, odd but valid values, forgotten accounts, and broken records of every reason
 * for a dead letter. Deterministic from the generator's seed and the mix's. Pure: who wants them on Kafka sends them.
 */
#ifndef UPT_MIX_H
#define UPT_MIX_H

#include <stdbool.h>
#include <stdint.h>

#include "ingest/generate/generate.h"
#include "uptake/event.h"
#include "uptake/str.h"

/* M(id, "name", reason, weight, needs frame and registry): every kind of record there is. The reason is that of the
 * dead letter, NONE where nothing is dead-lettered. Weights are relative to each other among the strange. */
#define UPT_MIX_CASES(M)                                                    \
    M(PLAIN, "plain", NONE, 0, false)                                       \
    M(BATCH, "batch", NONE, 0, true)                                        \
    M(ODD_KEY, "odd_key", NONE, 4, false)                                   \
    M(ODD_NUMBERS, "odd_numbers", NONE, 4, false)                           \
    M(NO_ID, "no_id", NONE, 4, false)                                       \
    M(NO_USER, "no_user", NONE, 3, false)                                   \
    M(USER_REMOVED, "user_removed", NONE, 3, false)                         \
    M(BAD_SEATS, "bad_seats", NONE, 2, false)                               \
    M(LATE, "late", NONE, 6, false)                                         \
    M(LATE_EDGE, "late_edge", NONE, 3, false)                               \
    M(EARLY, "early", NONE, 4, false)                                       \
    M(EARLY_EDGE, "early_edge", NONE, 3, false)                             \
    M(AGAIN_SOON, "again_soon", NONE, 8, false)                             \
    M(AGAIN_LATER, "again_later", NONE, 6, false)                           \
    M(AGAIN_IN_BATCH, "again_in_batch", NONE, 5, true)                      \
    M(EMPTY_BATCH, "empty_batch", NONE, 3, true)                            \
    M(EVOLVED, "evolved", NONE, 6, true)                                    \
    M(EVOLVED_SYMBOL, "evolved_symbol", NONE, 3, true)                      \
    M(FORGET, "forget", NONE, 3, false)                                     \
    M(REBIRTH, "rebirth", NONE, 0, false)                                   \
    M(KEY_NULL, "key_null", BAD_KEY, 2, false)                              \
    M(KEY_EMPTY, "key_empty", BAD_KEY, 2, false)                            \
    M(KEY_LONG, "key_long", BAD_KEY, 2, false)                              \
    M(KEY_BYTES, "key_not_utf8", BAD_KEY, 2, false)                         \
    M(KEY_NULL_TWICE, "key_and_value_null", BAD_KEY, 2, false)              \
    M(LARGE_BYTES, "large_bytes", TOO_LARGE, 1, false)                      \
    M(LARGE_COUNT, "large_count", TOO_LARGE, 3, true)                       \
    M(LARGE_DEPTH, "large_depth", TOO_LARGE, 3, true)                       \
    M(FRAME_SHORT, "frame_short", BAD_FRAME, 3, true)                       \
    M(FRAME_MAGIC, "frame_magic", BAD_FRAME, 3, true)                       \
    M(SCHEMA_UNKNOWN, "schema_unknown", UNKNOWN_SCHEMA, 3, true)            \
    M(SCHEMA_OTHER, "schema_other", BAD_SCHEMA, 3, true)                    \
    M(AVRO_CUT, "avro_cut", BAD_AVRO, 3, false)                             \
    M(AVRO_LEFT_OVER, "avro_left_over", BAD_AVRO, 3, false)                 \
    M(AVRO_UTF8, "avro_not_utf8", BAD_AVRO, 3, false)                       \
    M(AVRO_LENGTH, "avro_length", BAD_AVRO, 3, false)                       \
    M(AVRO_BATCH_CUT, "avro_batch_cut", BAD_AVRO, 2, true)                  \
    M(ACCOUNT_OTHER, "account_other", BAD_ACCOUNT_ID, 3, false)             \
    M(ACCOUNT_IN_BATCH, "account_in_batch", BAD_ACCOUNT_ID, 3, true)        \
    M(FEATURE_EMPTY, "feature_empty", BAD_FEATURE, 2, false)                \
    M(FEATURE_LONG, "feature_long", BAD_FEATURE, 2, false)                  \
    M(FEATURE_PRIVATE, "feature_private", BAD_FEATURE, 2, false)            \
    M(QUANTITY_NAN, "quantity_nan", BAD_QUANTITY, 2, false)                 \
    M(QUANTITY_INF, "quantity_infinite", BAD_QUANTITY, 2, false)            \
    M(QUANTITY_NEGATIVE, "quantity_negative", BAD_QUANTITY, 2, false)       \
    M(QUANTITY_HUGE, "quantity_huge", BAD_QUANTITY, 2, false)               \
    M(QUANTITY_OTHER, "quantity_nan_of_other_kind", BAD_QUANTITY, 2, false) \
    M(TOO_LATE, "too_late", TOO_LATE, 4, false)                             \
    M(TOO_LATE_EDGE, "too_late_edge", TOO_LATE, 2, false)                   \
    M(IN_FUTURE, "in_future", IN_FUTURE, 4, false)                          \
    M(IN_FUTURE_EDGE, "in_future_edge", IN_FUTURE, 2, false)                \
    M(PARTLY, "batch_partly_bad", NONE, 6, true)

typedef enum upt_mix_case {
#define UPT_MIX_ID(id, ...) UPT_MIX_##id,
    UPT_MIX_CASES(UPT_MIX_ID)
#undef UPT_MIX_ID
        UPT_MIX_COUNT
} upt_mix_case;

extern const char *const upt_mix_names[UPT_MIX_COUNT];

/* Writer schemas of EVOLVED and of SCHEMA_OTHER, to be registered beside the two of the product. */
extern const unsigned char upt_mix_schema_evolved[], upt_mix_schema_other[];
extern const size_t upt_mix_schema_evolved_len, upt_mix_schema_other_len;

struct upt_mix_config {
    struct upt_generator *gen; /* borrowed */
    uint64_t seed;
    /* Schema ids for the Confluent header. framed false: bare events, and no case that needs a frame or a registry. */
    bool framed;
    int32_t event_id, batch_id, evolved_id, other_id;
    int32_t unknown_id;   /* that the registry does not have */
    double strange_share; /* of the records: any case but PLAIN and BATCH, by weight */
    double batch_share;   /* of the others: BATCH */
    int64_t batch_max;    /* events in a batch; 0: 50 */
    /* The limits of the reader; 0: the contract's. */
    int64_t max_record_bytes, max_batch_events, max_depth, max_future_ms;
};

struct upt_mix_record {
    struct upt_str key, value; /* null where the record's is */
    int64_t ts;                /* never below that of the record before */
    upt_mix_case what;
    upt_reason reason; /* of its dead letter; UPT_REASON_NONE: none */
    uint32_t events;   /* in it */
    bool partly;       /* a batch of which some events count */
};

struct upt_mix;

UPT_NODISCARD upt_status upt_mix_create(const struct upt_mix_config *config, struct upt_mix **ret,
                                        struct upt_error *reterr);
void upt_mix_destroy(struct upt_mix **mix_p);
/* The next record, valid until the next call. False: the generator has no more events. */
bool upt_mix_next(struct upt_mix *mix, struct upt_mix_record *ret);
/* How many records of a case there were. */
uint64_t upt_mix_count(const struct upt_mix *mix, upt_mix_case what);

#endif
