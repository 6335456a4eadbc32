/* Inside `uptake verify`. cmd_verify.c: the command and what it prints; verify_redis.c: what Redis holds, asked for by
 * verify_ask.c; verify_topics.c: what the output topics hold; verify_replay.c: a partition's log once more;
 * verify_rows.c, verify_sums.c: rows and sums of the replay against those of Redis; verify_shares.c: shares against the
 * totals. One thread. How it stays sound while `uptake run` goes on: cmd_verify.c. */
#ifndef UPT_VERIFY_H
#define UPT_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "aggregate/score/score.h"
#include "ingest/input.h"
#include "ingest/kafka/progress.h"
#include "ingest/lane.h"
#include "ingest/topic_read.h"
#include "uptake/config.h"

/* ---- what was found in Redis ---- */

/* A hash as "name\0value" pairs, packed. */
struct upt_verify_hash {
    char *p; /* owned; NULL: no such key */
    size_t len;
};

struct upt_verify_field {
    struct upt_str name, value;
};

/* Fields sorted by name, of a hash or of what was expected; reused. */
struct upt_verify_fields {
    struct upt_verify_field *v;
    size_t n, cap;
    struct upt_buf bytes; /* of values made here */
};

struct upt_verify_row {
    struct upt_str account; /* owned */
    struct upt_verify_hash row, features;
    struct upt_str risk, health; /* scores in the ranks, owned; null: not there */
    struct upt_str sets;         /* declared segments whose set has it, commas between them, owned; null: none */
    int32_t partition;           /* −1: the row names none */
    int64_t offset, as_of;
};

/* What a partition has put into a feature row or into the totals. */
struct upt_verify_sum {
    struct upt_str feature; /* owned; null: the totals */
    int32_t partition;
    int64_t offset, as_of;
    char *values; /* owned, separated by single spaces, as in Redis */
};

/* ---- what was found in the output topics ---- */

struct upt_verify_alert {
    char alert_id[33];
    uint8_t action, severity;
    char rule[30];
    bool repeated, matched;
    int32_t revision, source_partition, partition;
    int64_t source_offset, source_tick, detected_at, offset;
    uint64_t account_hash, body_hash;
};

struct upt_verify_letter {
    int32_t source_partition, partition;
    int64_t source_offset, offset;
    uint64_t events_hash;
    uint8_t reason;
    bool repeated, matched;
};

/* ---- a partition ---- */

/* A comparison that is due when the replay stands at a position. */
struct upt_verify_due {
    int64_t offset, as_of;
    size_t index; /* of a row, or of a sum */
    bool sum;
};

struct upt_verify_part {
    int32_t id;
    int64_t low, high; /* of the input */
    /* of the state topic, first reading: before outputs and rows were read */
    bool has_progress, has_checkpoint, places_known, other_config;
    struct upt_pos published;         /* C */
    struct upt_checkpoint checkpoint; /* R */
    int64_t begun;                    /* the first offset that was ever to be counted; −1: not known */
    int64_t state_end;
    /* second reading: after them */
    struct upt_place *places; /* owned, ascending, each once */
    size_t places_n, places_cap;
    struct upt_pos reached; /* the last C seen */
    /* entry of uptake:partitions, read before the rows */
    bool has_entry;
    int64_t entry_offset, entry_as_of;
    struct upt_verify_due *due; /* owned, ascending */
    size_t due_n, due_i;
    bool entry_done;
    struct upt_buf *missing; /* accounts without a row, owned */
    size_t missing_n, missing_cap;
    /* result */
    bool verified, from_checkpoint, scores;
    struct upt_pos from; /* the replay began after it */
};

struct upt_verify {
    const struct upt_config *config;
    struct upt_scoring *scoring;
    struct upt_input input;
    struct upt_decoder *decoder;
    int64_t publish_from_ms;
    bool json, tty, alerts_cut, letters_cut;
    int64_t progress_ms;

    struct upt_verify_part *parts;
    int32_t parts_n;
    struct upt_verify_row *rows; /* sorted by account */
    size_t rows_n, rows_cap;
    struct upt_verify_sum *sums;
    size_t sums_n, sums_cap;
    struct upt_verify_alert *alerts; /* sorted by id and revision */
    size_t alerts_n, alerts_cap;
    struct upt_verify_letter *letters; /* sorted by source */
    size_t letters_n, letters_cap;

    struct upt_verify_fields found, expected;

    unsigned long long records, rows_compared, sums_compared, alerts_compared, letters_compared, accounts;
    unsigned long long differences, schema_later, behind;
    struct upt_buf differences_json, notes_json;
    size_t notes;
};

/* cmd_verify.c. A difference: counted, the first twenty are printed. A note: what could not be verified. */
void upt_verify_differs(struct upt_verify *v, const char *fmt, ...) UPT_PRINTF(2, 3);
void upt_verify_note(struct upt_verify *v, const char *fmt, ...) UPT_PRINTF(2, 3);
void upt_verify_progress(struct upt_verify *v, const char *fmt, ...) UPT_PRINTF(2, 3);
/* Grows an array to hold one more; *inout_cap in items. */
void *upt_verify_room(void *array, size_t n, size_t *inout_cap, size_t size);

/* verify_redis.c */
UPT_NODISCARD upt_status upt_verify_read_redis(struct upt_verify *v, struct upt_error *reterr);
void upt_verify_free_redis(struct upt_verify *v);
void upt_verify_unpack(const struct upt_verify_hash *hash, struct upt_verify_fields *ret);
int upt_verify_by_name(const void *a, const void *b); /* of two struct upt_verify_field */
/* At the end of the replay: accounts in part->missing that still have no row, an entry that is missing. */
UPT_NODISCARD upt_status upt_verify_missing(struct upt_verify *v, struct upt_verify_part *part, struct upt_state *st,
                                            struct upt_error *reterr);
struct upt_verify_row *upt_verify_find_row(struct upt_verify *v, struct upt_str account);

/* verify_topics.c */
UPT_NODISCARD upt_status upt_verify_read_progress(struct upt_verify *v, struct upt_error *reterr);
UPT_NODISCARD upt_status upt_verify_read_outputs(struct upt_verify *v, struct upt_error *reterr);
/* The alert or letter there is of this; NULL: none. */
struct upt_verify_alert *upt_verify_find_alert(struct upt_verify *v, const char *alert_id, int32_t revision);
struct upt_verify_letter *upt_verify_find_letter(struct upt_verify *v, int32_t partition, int64_t offset);
/* After the replays: outputs that no replay has made. */
void upt_verify_unmatched(struct upt_verify *v);

/* verify_rows.c */
void upt_verify_plan(struct upt_verify *v, struct upt_verify_part *part);
/* Everything that is due at the state's position. */
void upt_verify_compare(struct upt_verify *v, struct upt_verify_part *part, struct upt_state *st);
/* At the end of the log: what would have been due after it. */
void upt_verify_leftover(struct upt_verify *v, struct upt_verify_part *part, struct upt_state *st);
int upt_verify_by_position(const void *a, const void *b); /* of two struct upt_verify_due */

/* verify_sums.c */
/* own: at the position of the part, and not at that of the entry. */
void upt_verify_compare_sum(struct upt_verify *v, const struct upt_verify_part *part, struct upt_state *st,
                            const struct upt_verify_sum *sum, bool own);
/* A public row against the sum of its parts: n of v->sums from `first` on. */
void upt_verify_add_up(struct upt_verify *v, struct upt_str feature, const struct upt_verify_hash *hash, size_t first,
                       size_t n);

/* verify_shares.c. After the replays. */
UPT_NODISCARD upt_status upt_verify_shares(struct upt_verify *v, struct upt_error *reterr);

/* verify_replay.c */
UPT_NODISCARD upt_status upt_verify_replay(struct upt_verify *v, struct upt_verify_part *part,
                                           struct upt_error *reterr);

#endif
