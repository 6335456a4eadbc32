/* Shares of feature rows against the totals: quotients of one row by another, which the view makes anew within a flush
 * interval after the totals have changed.
 *
 * So a share that does not fit is read again. It differs once neither the row's counts nor the totals have changed for
 * longer than a running process needs, a restart included. A process that was killed between totals and shares and
 * does not come back leaves them so; while Redis is behind the log, as it then mostly is, they are noted only. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/view/view.h"
#include "ingest/verify_ask.h"
#include "uptake/time.h"

#define PATIENCE_MS 10000 /* and a flush interval */
#define PATIENCE_TIMES 6  /* as long in all, if the totals go on changing */
#define AGAIN_MS 100

static const struct {
    const char *name, *of, *by; /* field of the row = field of the row / field of the totals */
} shares[] = {{"adoption_rate", "users_30d", "users_total"},
              {"depth", "users_30d", "users_30d"},
              {"reach", "accounts_30d", "accounts_30d"}};
#define SHARES (sizeof(shares) / sizeof(shares[0]))

/* A row one of whose shares does not fit. */
struct odd {
    struct upt_buf feature;
    uint64_t counts; /* hash of what the shares are made of */
    int64_t since_ms;
};

struct odds {
    struct odd *v;
    size_t n, cap;
};

static struct upt_str
field_of(const redisReply *hash, const char *name)
{
    for (size_t i = 0; i + 1 < hash->elements; i += 2) {
        if (strcmp(hash->element[i]->str, name) == 0) {
            return (struct upt_str){.p = hash->element[i + 1]->str, .len = (uint32_t)hash->element[i + 1]->len};
        }
    }
    return UPT_STR_NULL;
}

/* The share as it should be; null: absent. */
static struct upt_str
quotient(struct upt_str of, struct upt_str by, char ret[16])
{
    double d = by.p != NULL ? strtod(by.p, NULL) : 0;
    if (!(d > 0)) {
        return UPT_STR_NULL;
    }
    int n = snprintf(ret, 16, "%.6f", fmin(1, fmax(0, strtod(of.p, NULL) / d)));
    while (ret[n - 1] == '0') {
        n--;
    }
    n -= ret[n - 1] == '.';
    return (struct upt_str){.p = ret, .len = (uint32_t)n};
}

/* The row and the totals at one instant, in an answer that the caller frees; NULL: reterr says why. */
static redisReply *
read_row(struct upt_asked *asked, struct upt_str feature)
{
    const char *prefix = asked->v->config->redis_prefix;
    struct upt_buf row = {0}, totals = {0};
    upt_view_key(&row, prefix, "feature:", feature, "");
    upt_buf_printf(&totals, "%stotals", prefix);
    (void)upt_ask(asked, "MULTI", NULL, UPT_STR_NULL);
    (void)upt_ask(asked, "HGETALL", &row, UPT_STR_NULL);
    (void)upt_ask(asked, "HGETALL", &totals, UPT_STR_NULL);
    (void)upt_ask(asked, "EXEC", NULL, UPT_STR_NULL);
    upt_buf_fini(&row);
    upt_buf_fini(&totals);
    return upt_answer_group(asked, 2);
}

/* Whether all shares fit; tell: says which do not. *ret_counts: hash of what they are made of. */
static bool
fits(struct upt_verify *v, struct upt_str feature, const redisReply *group, bool tell, uint64_t *ret_counts)
{
    struct upt_buf counts = {0};
    bool fit = true;
    for (size_t i = 0; i < SHARES; i++) {
        char text[16];
        struct upt_str is = field_of(group->element[0], shares[i].name);
        struct upt_str of = field_of(group->element[0], shares[i].of);
        struct upt_str by = field_of(group->element[1], shares[i].by);
        struct upt_str wanted = of.p != NULL ? quotient(of, by, text) : is; /* a row without counts is told elsewhere */
        upt_buf_printf(&counts, "%.*s/%.*s ", (int)of.len, of.p != NULL ? of.p : "", (int)by.len,
                       by.p != NULL ? by.p : "");
        if (upt_str_eq(is, wanted)) {
            continue;
        }
        fit = false;
        if (tell) {
            upt_verify_differs(v, "feature %.*s: %s is %.*s, expected %.*s, its %s by %s of the totals",
                               (int)feature.len, feature.p, shares[i].name, is.p != NULL ? (int)is.len : 6,
                               is.p != NULL ? is.p : "absent", wanted.p != NULL ? (int)wanted.len : 6,
                               wanted.p != NULL ? wanted.p : "absent", shares[i].of, shares[i].by);
        }
    }
    *ret_counts = upt_hash(counts.p, counts.len);
    upt_buf_fini(&counts);
    return fit;
}

static upt_status
on_features(struct upt_asked *asked)
{
    struct odds *odds = asked->ctx;
    for (size_t i = 0; i < asked->names_n; i++) {
        const struct upt_str feature = {.p = asked->names[i].p, .len = (uint32_t)asked->names[i].len};
        struct odd odd = {.since_ms = upt_mono_ms()};
        redisReply *group = read_row(asked, feature);
        if (group == NULL) {
            return asked->reterr->code;
        }
        if (!fits(asked->v, feature, group, false, &odd.counts)) {
            upt_buf_put(&odd.feature, feature.p, feature.len);
            odds->v = upt_verify_room(odds->v, odds->n, &odds->cap, sizeof(*odds->v));
            odds->v[odds->n++] = odd;
        }
        freeReplyObject(group);
    }
    return UPT_OK;
}

/* Once more. *ret_done: it fits, or it has been told. */
static upt_status
look_again(struct upt_asked *asked, struct odd *odd, bool *ret_done)
{
    const struct upt_str feature = {.p = odd->feature.p, .len = (uint32_t)odd->feature.len};
    struct upt_verify *v = asked->v;
    int64_t now_ms = upt_mono_ms();
    uint64_t counts;
    redisReply *group = read_row(asked, feature);
    if (group == NULL) {
        return asked->reterr->code;
    }
    *ret_done = fits(v, feature, group, false, &counts);
    if (counts != odd->counts) {
        odd->counts = counts;
        odd->since_ms = now_ms;
    }
    if (!*ret_done && v->behind == 0 && now_ms - odd->since_ms > v->config->flush_interval_ms + PATIENCE_MS) {
        *ret_done = true;
        (void)fits(v, feature, group, true, &counts);
    }
    freeReplyObject(group);
    return UPT_OK;
}

static upt_status
wait_for(struct upt_asked *asked, struct odds *odds)
{
    int64_t patience_ms = asked->v->config->flush_interval_ms + PATIENCE_MS;
    int64_t until_ms = upt_mono_ms() + (asked->v->behind > 0 ? 1 : PATIENCE_TIMES) * patience_ms;
    upt_status status = UPT_OK;
    while (odds->n > 0 && status == UPT_OK && upt_mono_ms() < until_ms) {
        size_t kept = 0;
        upt_sleep_ms(AGAIN_MS);
        for (size_t i = 0; i < odds->n; i++) {
            bool done = false;
            status = status == UPT_OK ? look_again(asked, &odds->v[i], &done) : status;
            if (done) {
                upt_buf_fini(&odds->v[i].feature);
            } else {
                odds->v[kept++] = odds->v[i];
            }
        }
        odds->n = kept;
    }
    if (odds->n > 0 && status == UPT_OK) {
        upt_verify_note(asked->v, "shares of %zu feature rows, such as %.*s, do not fit the totals, which are still %s",
                        odds->n, (int)odds->v[0].feature.len, odds->v[0].feature.p,
                        asked->v->behind > 0 ? "behind the log" : "changing");
    }
    return status;
}

upt_status
upt_verify_shares(struct upt_verify *v, struct upt_error *reterr)
{
    struct odds odds = {0};
    struct upt_asked asked = {.v = v, .reterr = reterr, .ctx = &odds};
    upt_status status = upt_read_redis(v->config, &asked.redis, reterr);
    if (status != UPT_OK) {
        return status;
    }
    status = upt_ask_names(&asked, "feature:", "", on_features);
    if (status == UPT_OK) {
        status = wait_for(&asked, &odds);
    }
    for (size_t i = 0; i < odds.n; i++) {
        upt_buf_fini(&odds.v[i].feature);
    }
    free(odds.v);
    redisFree(asked.redis);
    return status;
}
