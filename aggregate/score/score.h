/* Health score, churn risk, phases and alert rules of an account: an observer of the state (aggregate/state/state.h).
 * Pure and deterministic; decisions go to a sink. Every score, probability and threshold input is rounded to 1e-6
 * before it is compared or published.
 *
 * Two files steer it, both versioned, both checked before they are taken (line, field, what is allowed there):
 *   model file  (text, diffable): BG/BB parameters, cohort tables, weights, bands, hazard coefficients
 *   rules file  (YAML): each rule's levels, counts, cool-down, severities
 * @locality: the lane's thread; a model and rules are read-only once loaded and may be shared by lanes. */
#ifndef UPT_SCORE_H
#define UPT_SCORE_H

#include "aggregate/state/state.h"
#include "uptake/output.h"
#include "uptake/status.h"

struct upt_model;
struct upt_outcomes;
struct upt_rules;
struct upt_score;

/* path NULL or "": the shipped file, embedded at build time. */
UPT_NODISCARD upt_status upt_model_load(const char *path, struct upt_model **ret, struct upt_error *reterr);
void upt_model_destroy(struct upt_model **model_p);
const char *upt_model_version(const struct upt_model *model);
const char *upt_model_hash(const struct upt_model *model); /* of the file's bytes, 16 hex digits */
UPT_NODISCARD upt_status upt_rules_load(const char *path, struct upt_rules **ret, struct upt_error *reterr);
void upt_rules_destroy(struct upt_rules **rules_p);
/* Hash of the rules' meaning, mixed into config_hash. */
uint64_t upt_rules_hash(const struct upt_rules *rules);

/* One for each partition. config_hash: 16 hex digits, of configuration and rules; copied. sink is borrowed. */
UPT_NODISCARD upt_status upt_score_create(const struct upt_model *model, const struct upt_rules *rules,
                                          const char *config_hash, const struct upt_sink *sink, struct upt_score **ret,
                                          struct upt_error *reterr);
void upt_score_destroy(struct upt_score **score_p);
/* Before the first event or checkpoint: where its outcomes are added to those of others. Borrowed, until destroyed. */
void upt_score_add_up(struct upt_score *score, struct upt_outcomes *outcomes);
/* For upt_state_config.observer; observer_ctx is the upt_score. */
extern const struct upt_observer upt_score_observer;

/* Puts other model or rules in place (SIGHUP), between two records. */
void upt_score_set(struct upt_score *score, const struct upt_model *model, const struct upt_rules *rules,
                   const char *config_hash);

/* Before upt_score_set with rules that may declare other segments: memberships go with the names; an account's place in
 * a segment that is not declared any more ends without a record. */
void upt_score_map_segments(struct upt_score *score, struct upt_state *st, const struct upt_rules *to);
/* The segments declared, by name; and their names with commas between them, where out is cleared first. */
size_t upt_rules_segments_n(const struct upt_rules *rules);
struct upt_str upt_rules_segment_name(const struct upt_rules *rules, size_t i);
void upt_rules_segment_names(const struct upt_rules *rules, struct upt_buf *out);

/* The account explained as of the state's clock: the same numbers that would be published. */
void upt_score_explain(struct upt_score *score, struct upt_state *st, struct upt_account *acct, struct upt_health *ret);
/* All of it as one JSON object, appended to out: health with its parts, risk with its factors and the smallest change
 * that would bring it below the threshold, the use of 30 days against the own baseline, open alerts. */
void upt_score_explain_json(struct upt_score *score, struct upt_state *st, struct upt_account *acct,
                            struct upt_buf *out);

/* A signal (report.c) said for people: "What it is: value". unit: that of the component. False: there is none of this
 * name. */
bool upt_signal_say(const char *name, struct upt_str unit, double value, char *buf, size_t cap);

#endif
