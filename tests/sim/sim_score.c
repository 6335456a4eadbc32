/* See sim_score.h. The log is played through upt_state with upt_score_observer, as a lane does it, without Kafka. */
#include "sim_score.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "uptake/assert.h"
#include "uptake/time.h"

static uint64_t rng;

void
sim_seed(uint64_t seed)
{
    rng = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
}

uint32_t
sim_rnd(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)((rng >> 11) % n);
}

const char *
sim_one_of(const char *const *names, size_t n)
{
    return names[sim_rnd((uint32_t)n)];
}

void
sim_property(struct sim_op *op, const char *name, const char *value)
{
    const char *const pair[] = {name, value};
    size_t n = 0;
    op->props[n++] = 2;
    for (int k = 0; k < 2; k++) {
        size_t len = strlen(pair[k]);
        upt_assert(len < 64 && n + len + 2 <= sizeof(op->props));
        op->props[n++] = (char)(2 * len);
        memcpy(op->props + n, pair[k], len);
        n += len;
    }
    op->props[n++] = 0;
    op->ev.properties.raw = (struct upt_str){.p = op->props, .len = (uint32_t)n};
    snprintf(op->name, sizeof(op->name), "%s", name);
    snprintf(op->value, sizeof(op->value), "%s", value);
}

void
sim_print_op(const struct sim_op *op)
{
    printf("{\"op\": \"%c\", \"ts\": %" PRId64 ", \"key\": \"%s\"", op->kind, op->ts, op->key);
    if (op->kind == 'e') {
        printf(", \"minute\": %" PRIu64 ", \"offset\": %" PRId64, upt_hash(op->key, strlen(op->key)) % 60, op->offset);
        printf(", \"at\": %" PRId64 ", \"kind\": \"%s\", \"user\": \"%s\", \"feature\": \"%s\", \"quantity\": %.17g",
               op->ev.occurred_at, upt_kind_names[op->ev.kind], op->user, op->feature, op->ev.quantity);
        printf(", \"name\": \"%s\", \"value\": \"%s\"", op->name, op->value);
        if (op->ev.has_duration) {
            printf(", \"duration\": %" PRId64, op->ev.duration_ms);
        }
    }
    printf("}");
}

struct upt_rules *
sim_rules(const char *text)
{
    struct upt_rules *rules = NULL;
    struct upt_error err;
    char path[] = "/tmp/upt-sim-score-XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    upt_assert(file != NULL);
    fprintf(file, "%s\nrules:\n", text);
    for (int i = 0; i < UPT_RULES; i++) {
        bool told = i == UPT_RULE_SEGMENT_ENTER || i == UPT_RULE_SEGMENT_EXIT;
        fprintf(file, "  %s: {enabled: %s}\n", upt_rule_names[i], told ? "true" : "false");
    }
    fclose(file);
    if (upt_rules_load(path, &rules, &err) != UPT_OK) {
        fprintf(stderr, "%s\n%s\n", err.msg, text);
        exit(1);
    }
    (void)unlink(path);
    return rules;
}

/* ---- playing it ---- */

static struct upt_metrics metrics;

static struct sim_machine
machine_new(const struct sim_parts *parts)
{
    struct sim_machine m = {0};
    upt_assert(upt_score_create(parts->model, parts->rules, "0123456789abcdef", parts->sink, &m.score, NULL) == UPT_OK);
    const struct upt_state_config config = {.max_future_ms = 5 * UPT_MINUTE_MS,
                                            .dedup_window_ms = 10 * UPT_MINUTE_MS,
                                            .retention_ms = parts->retention_ms,
                                            .pack_after_ms = UPT_HOUR_MS,
                                            .adopted_days = 3,
                                            .observer = &upt_score_observer,
                                            .observer_ctx = m.score,
                                            .metrics = &metrics};
    upt_assert(upt_state_create(&config, &m.st, NULL) == UPT_OK);
    return m;
}

static void
machine_end(struct sim_machine *m)
{
    upt_state_destroy(&m->st);
    upt_score_destroy(&m->score);
}

static void
apply(struct sim_machine *m, const struct sim_op *op)
{
    if (op->kind == 't') {
        if (op->ts > upt_state_clock(m->st)) {
            upt_state_wall_tick(m->st, op->ts);
        }
        return;
    }
    upt_state_begin(m->st, op->offset, op->ts);
    if (op->kind == 'f') {
        upt_state_forget(m->st, upt_str_of(op->key));
    } else if (upt_state_judge(m->st, &op->ev, op->ts) == UPT_REASON_NONE) {
        (void)upt_state_apply(m->st, upt_str_of(op->key), &op->ev);
    }
}

/* Everything at one position. */
struct stored {
    struct upt_buf key[SIM_RECORDS_MAX], value[SIM_RECORDS_MAX];
    size_t n;
    struct upt_pos pos;
    int64_t clock;
    int at, told_n;
};

static void
store(struct sim_machine *m, struct stored *to, int at, int told_n)
{
    for (size_t i = 0; i < SIM_RECORDS_MAX; i++) {
        upt_buf_clear(&to->key[i]);
        upt_buf_clear(&to->value[i]);
    }
    to->n = 0;
    to->pos = upt_state_pos(m->st);
    to->clock = upt_state_clock(m->st);
    to->at = at;
    to->told_n = told_n;
    upt_state_snapshot_begin(m->st, true);
    while (upt_state_snapshot_next(m->st, &to->key[to->n], &to->value[to->n])) {
        to->n += to->value[to->n].len > 0;
        upt_assert(to->n < SIM_RECORDS_MAX);
    }
    upt_state_snapshot_stored(m->st);
}

static void
restore(struct sim_machine *m, const struct sim_parts *parts, const struct stored *from)
{
    machine_end(m);
    *m = machine_new(parts);
    for (size_t i = 0; i < from->n; i++) {
        upt_assert(upt_state_load(m->st, (struct upt_str){from->key[i].p, (uint32_t)from->key[i].len},
                                  (struct upt_str){from->value[i].p, (uint32_t)from->value[i].len}, NULL) == UPT_OK);
    }
    upt_assert(upt_state_load_done(m->st, from->pos, from->clock, NULL) == UPT_OK);
}

/* Packs idle accounts, of which no row is to be taken. */
static void
pack_some(struct sim_machine *m)
{
    struct upt_account *acct;
    if (sim_rnd(3) == 0) {
        upt_state_rows_due(m->st, SIZE_MAX);
        while (upt_state_next_dirty(m->st, &acct)) {
        }
        (void)upt_state_pack(m->st, 1 + sim_rnd(4));
    }
}

static void
step(struct sim_machine *m, const struct sim_play *play, int at)
{
    pack_some(m);
    apply(m, &play->ops[at]);
    if (play->after != NULL) {
        play->after(m, &play->ops[at], at);
    }
}

void
sim_play(const struct sim_play *play)
{
    static struct stored stored;
    struct sim_machine m = machine_new(&play->parts);
    int crashes = 0;
    *play->told_n = 0;
    stored.n = 0;
    stored.at = -1;
    for (int i = 0; i < play->ops_n; i++) {
        step(&m, play, i);
        if (sim_rnd(8) == 0) {
            store(&m, &stored, i + 1, *play->told_n);
        }
        if (stored.at >= 0 && sim_rnd(15) == 0 && crashes++ < 10) {
            restore(&m, &play->parts, &stored);
            *play->told_n = stored.told_n;
            for (int k = stored.at; k <= i; k++) {
                step(&m, play, k);
            }
        }
    }
    machine_end(&m);
}
