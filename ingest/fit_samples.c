/* Samples: the features of an account as they stood at its daily minute, taken from the very evaluation that `run`
 * makes; and afterwards what became of it.
 *
 * An observer around that of the scores: events go to it, so its memory is as in `run`; decisions are left out. Each
 * account's place in the table stands behind the scores' bytes.
 *
 * "Left within H days of day t", the first that tells:
 *   a labelled file: its churned, or churned with a day: whether that is at most t + H
 *   CHURNED of day c, with no later RENEWED: c ≤ t + H. RENEWED after t + H: stayed
 *   silence: no key-active day in the S days after t + H, S = max(60, 4 · own 90th percentile of gaps up to t + H).
 *   Not known while those S days are not over, also if there was a key-active day already: else the last days of the
 *   log would be full of accounts that stayed.
 * Accounts silent for more than SILENT_MAX days give no samples: they would all say the same. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/score/hazard.h"
#include "ingest/fitting.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define SILENT_MAX 90
#define SILENCE_LEAST 60
#define SILENCE_GAPS 4
#define BEFORE 32 /* late events may come so many days before the first */

static size_t
own_place(void)
{
    return (sizeof(struct upt_score_ext) + 7) / 8 * 8;
}

static uint32_t *
index_of(struct upt_account *acct)
{
    return (uint32_t *)(void *)((char *)upt_account_ext(acct) + own_place());
}

static void *
room(void *array, size_t n, size_t *inout_cap, size_t size)
{
    if (n < *inout_cap) {
        return array;
    }
    *inout_cap = *inout_cap == 0 ? 1024 : *inout_cap * 2;
    void *grown = realloc(array, *inout_cap * size);
    upt_assert(grown != NULL);
    return grown;
}

static int
by_account(const void *a, const void *b)
{
    return strcmp(((const struct upt_fit_label *)a)->account, ((const struct upt_fit_label *)b)->account);
}

static struct upt_fit_account *
account_of(struct upt_fitting *f, struct upt_account *acct, int32_t day)
{
    uint32_t *index = index_of(acct);
    if (*index != 0) {
        return &f->accounts[*index - 1];
    }
    f->accounts = room(f->accounts, f->accounts_n, &f->accounts_cap, sizeof(*f->accounts));
    struct upt_fit_account *a = &f->accounts[f->accounts_n++];
    struct upt_str id = upt_account_id(acct);
    *index = (uint32_t)f->accounts_n;
    *a = (struct upt_fit_account){.hash = upt_hash(id.p, id.len),
                                  .base = day - BEFORE,
                                  .churned_day = UPT_FIT_NO_DAY,
                                  .renewed_day = UPT_FIT_NO_DAY,
                                  .label = UPT_UNKNOWN,
                                  .label_day = UPT_FIT_NO_DAY};
    char text[UPT_KEY_MAX + 1];
    memcpy(text, id.p, id.len);
    text[id.len] = '\0';
    struct upt_fit_label key = {.account = text};
    const struct upt_fit_label *label =
        f->labels_n > 0 ? bsearch(&key, f->labels, f->labels_n, sizeof(*f->labels), by_account) : NULL;
    if (label != NULL) {
        a->label = label->churned ? UPT_LEFT : UPT_STAYED;
        a->label_day = label->day;
        f->labels_met++;
    }
    return a;
}

static void
mark(struct upt_fit_account *a, int32_t day)
{
    uint32_t bit = (uint32_t)(day - a->base);
    if (day < a->base) {
        return;
    }
    if (bit / 64 >= a->words) {
        uint32_t words = bit / 64 + 2;
        a->bits = realloc(a->bits, words * sizeof(*a->bits));
        upt_assert(a->bits != NULL);
        memset(a->bits + a->words, 0, (words - a->words) * sizeof(*a->bits));
        a->words = words;
    }
    a->bits[bit / 64] |= UINT64_C(1) << bit % 64;
}

static bool
active(const struct upt_fit_account *a, int32_t day)
{
    if (day < a->base || (uint32_t)(day - a->base) / 64 >= a->words) {
        return false;
    }
    uint32_t bit = (uint32_t)(day - a->base);
    return (a->bits[bit / 64] >> bit % 64 & 1) != 0;
}

static void
on_event(void *ctx, struct upt_state *st, struct upt_account *acct, const struct upt_event *ev, int64_t at)
{
    struct upt_fitting *f = ctx;
    int32_t day = (int32_t)upt_floor_div(at, UPT_DAY_MS);
    if (f->first_day == UPT_FIT_NO_DAY || (f->looking && day < f->first_day)) {
        f->first_day = day;
    }
    if (f->looking) {
        f->looking = false;
        return;
    }
    struct upt_fit_account *a = account_of(f, acct, day);
    if (ev->kind == UPT_KIND_USAGE || ev->kind == UPT_KIND_VALUE) {
        mark(a, day);
    } else if (ev->kind == UPT_KIND_CHURNED) {
        a->churned_day = day > a->churned_day ? day : a->churned_day;
    } else if (ev->kind == UPT_KIND_RENEWED) {
        a->renewed_day = day > a->renewed_day ? day : a->renewed_day;
    }
    if (ev->kind == UPT_KIND_CHURNED || ev->kind == UPT_KIND_RENEWED) {
        upt_fit_renewal_event(a, ev->kind, day);
    }
    upt_score_observer.on_event(f->score, st, acct, ev, at);
}

/* How often a sample of this day counts; 0: none is taken. */
static uint8_t
wanted(const struct upt_fitting *f, const struct upt_fit_account *a, int32_t day)
{
    int times = 0;
    if (f->every > 0) {
        return (uint64_t)day % (uint64_t)f->every == a->hash % (uint64_t)f->every ? 1 : 0;
    }
    for (int i = 0; i < f->at_n; i++) {
        times += f->at[i] == day - f->first_day + 1 ? 1 : 0;
    }
    return (uint8_t)times;
}

static uint16_t
segment_of(struct upt_fitting *f, struct upt_account *acct)
{
    struct upt_str name = upt_account_trait(acct, UPT_STR("segment"));
    if (name.p == NULL || name.len == 0 || name.len > UPT_MODEL_NAME_MAX || memchr(name.p, '\0', name.len) != NULL) {
        return UINT16_MAX;
    }
    for (size_t i = 0; i < f->names_n; i++) {
        if (upt_str_eq(name, upt_str_of(f->names[i]))) {
            return (uint16_t)i;
        }
    }
    if (f->names_n == UPT_MODEL_SEGMENTS_MAX) {
        return UINT16_MAX;
    }
    memcpy(f->names[f->names_n], name.p, name.len);
    f->names[f->names_n][name.len] = '\0';
    return (uint16_t)f->names_n++;
}

static void
on_daily(void *ctx, struct upt_state *st, struct upt_account *acct, int64_t tick)
{
    struct upt_fitting *f = ctx;
    int32_t day = (int32_t)upt_floor_div(tick, UPT_DAY_MS) - 1;
    struct upt_fit_account *a = account_of(f, acct, day);
    const struct upt_score_ext *ext = upt_account_ext(acct);
    uint8_t times = ext->has_key && day - ext->last_day <= SILENT_MAX ? wanted(f, a, day) : 0;
    bool churned = a->churned_day != UPT_FIT_NO_DAY && a->churned_day > a->renewed_day;
    if (ext->has_key && !churned) {
        upt_fit_renewal_look(f, a, acct, day + 1);
    }
    if (times == 0 || churned) {
        return;
    }
    if (f->samples_n == UPT_FIT_SAMPLES_MAX) {
        f->too_many = true;
        return;
    }
    struct upt_eval eval;
    upt_evaluate(f->base, st, acct, ext, &eval);
    f->samples = room(f->samples, f->samples_n, &f->samples_cap, sizeof(*f->samples));
    struct upt_fit_sample *s = &f->samples[f->samples_n++];
    *s = (struct upt_fit_sample){
        .account = *index_of(acct) - 1, .day = day, .segment = segment_of(f, acct), .weight = times};
    for (int i = 0; i < UPT_R_FITTED; i++) {
        s->x[i] = eval.risk_known[i] ? (float)eval.risk_value[i] : (float)NAN;
    }
    s->gone[0] = (float)eval.gone_odds[1];
    s->gone[1] = (float)eval.gone_odds[2];
}

static void
fini(void *ctx, struct upt_state *st, void *ext)
{
    const struct upt_fitting *f = ctx;
    upt_score_observer.fini(f->score, st, ext);
}

static struct upt_observer
observer(void)
{
    return (struct upt_observer){.ext_size = own_place() + 8, .on_event = on_event, .on_daily = on_daily, .fini = fini};
}

upt_status
upt_fitting_open(struct upt_fitting *f, const char *base_path, struct upt_error *reterr)
{
    f->first_day = f->last_day = UPT_FIT_NO_DAY;
    f->metrics = aligned_alloc(64, (sizeof(*f->metrics) + 63) / 64 * 64);
    upt_assert(f->metrics != NULL);
    memset(f->metrics, 0, sizeof(*f->metrics));
    upt_status status = upt_model_load(base_path, &f->base, reterr);
    return status == UPT_OK ? upt_rules_load(NULL, &f->rules, reterr) : status;
}

static void
drop_partition(struct upt_fitting *f)
{
    upt_state_destroy(&f->st);
    upt_score_destroy(&f->score);
}

void
upt_fitting_close(struct upt_fitting *f)
{
    drop_partition(f);
    for (size_t i = 0; i < f->accounts_n; i++) {
        free(f->accounts[i].bits);
        free(f->accounts[i].renewals);
    }
    for (size_t i = 0; i < f->labels_n; i++) {
        free(f->labels[i].account);
    }
    free(f->accounts);
    free(f->labels);
    free(f->samples);
    free(f->metrics);
    upt_rules_destroy(&f->rules);
    upt_model_destroy(&f->base);
}

upt_status
upt_fitting_begin(struct upt_fitting *f, int32_t partition, struct upt_error *reterr)
{
    static struct upt_observer mine;
    struct upt_sink none = {0};
    mine = observer();
    struct upt_state_config config = {.partition = partition,
                                      .max_future_ms = 5 * UPT_MINUTE_MS,
                                      .dedup_window_ms = 10 * UPT_MINUTE_MS,
                                      .retention_ms = 400 * UPT_DAY_MS,
                                      .adopted_days = 3,
                                      .observer = &mine,
                                      .observer_ctx = f,
                                      .metrics = f->metrics};
    drop_partition(f);
    upt_status status = upt_score_create(f->base, f->rules, "", &none, &f->score, reterr);
    return status == UPT_OK ? upt_state_create(&config, &f->st, reterr) : status;
}

upt_status
upt_fitting_end(struct upt_fitting *f, bool whole, struct upt_error *reterr)
{
    int64_t clock = upt_state_clock(f->st);
    if (clock != UPT_NO_CLOCK) {
        int32_t day = (int32_t)upt_floor_div(clock, UPT_DAY_MS);
        int32_t complete = whole ? day : day - 1;
        f->last_day = complete > f->last_day ? complete : f->last_day;
        upt_state_wall_tick(f->st, ((int64_t)day + 1) * UPT_DAY_MS + 59 * UPT_MINUTE_MS);
    }
    if (f->too_many) {
        return upt_fail(reterr, UPT_EINVAL, "more than %d samples: raise --every", UPT_FIT_SAMPLES_MAX);
    }
    return UPT_OK;
}

/* ---- outcomes ---- */

static int
by_days(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Days of silence after which an account is taken for gone, as of a day: its gaps up to then, at most the last 256. */
static int32_t
silence_of(const struct upt_fit_account *a, int32_t upto)
{
    int gaps[256];
    int n = 0;
    int32_t next = UPT_FIT_NO_DAY;
    int32_t end = a->base + (int32_t)a->words * 64 - 1;
    for (int32_t d = upto < end ? upto : end; d >= a->base && n < 256; d--) {
        if (active(a, d)) {
            if (next != UPT_FIT_NO_DAY) {
                gaps[n++] = next - d;
            }
            next = d;
        }
    }
    if (n == 0) {
        return SILENCE_LEAST;
    }
    qsort(gaps, (size_t)n, sizeof(gaps[0]), by_days);
    int p90 = gaps[(n * 9 + 9) / 10 - 1];
    return p90 * SILENCE_GAPS > SILENCE_LEAST ? p90 * SILENCE_GAPS : SILENCE_LEAST;
}

static uint8_t
by_silence(const struct upt_fitting *f, const struct upt_fit_account *a, int32_t until, int32_t *ret_matured)
{
    int32_t silence = silence_of(a, until);
    *ret_matured = until + silence;
    if (until + silence > f->last_day) {
        return UPT_UNKNOWN;
    }
    for (int32_t d = until + 1; d <= until + silence; d++) {
        if (active(a, d)) {
            return UPT_STAYED;
        }
    }
    return UPT_LEFT;
}

static uint8_t
outcome(const struct upt_fitting *f, const struct upt_fit_account *a, int32_t until, int32_t *ret_matured)
{
    *ret_matured = until;
    if (f->labelled) {
        bool later = a->label == UPT_LEFT && a->label_day != UPT_FIT_NO_DAY && a->label_day > until;
        return later ? UPT_STAYED : a->label;
    }
    if (a->churned_day != UPT_FIT_NO_DAY && a->churned_day > a->renewed_day) {
        return a->churned_day <= until ? UPT_LEFT : UPT_STAYED;
    }
    if (a->renewed_day != UPT_FIT_NO_DAY && a->renewed_day > until) {
        *ret_matured = a->renewed_day;
        return UPT_STAYED;
    }
    return by_silence(f, a, until, ret_matured);
}

void
upt_fitting_mature(struct upt_fitting *f)
{
    for (size_t i = 0; i < f->samples_n; i++) {
        struct upt_fit_sample *s = &f->samples[i];
        const struct upt_fit_account *a = &f->accounts[s->account];
        int32_t matured = 0;
        for (int h = 2; h >= 0; h--) {
            s->outcome[h] = outcome(f, a, s->day + upt_horizon_days[h], &matured);
        }
        s->matured = matured;
        s->last_day = a->base;
        for (int32_t d = a->base + (int32_t)a->words * 64 - 1; d >= a->base; d--) {
            if (active(a, d)) {
                s->last_day = d;
                break;
            }
        }
    }
}
