/* Outcomes of the 30-day risk by segment. See outcomes.h.
 *
 * AUC: of all pairs of one that left and one that stayed, the share in which the one that left had the higher risk;
 * pairs within a hundredth count by half. A page that is read while lanes count is no one instant, as any scrape. */
#include "uptake/outcomes.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "uptake/assert.h"

#define HUNDREDTHS UPT_OUTCOME_HUNDREDTHS
#define TENTHS UPT_OUTCOME_TENTHS
#define NONE 0
#define OTHER (UPT_OUTCOME_SLOTS - 1)

struct slot {
    _Atomic uint64_t n[2][HUNDREDTHS]; /* stayed, left */
    _Atomic uint64_t risk_e4[TENTHS];  /* sum */
    _Atomic uint64_t leads, lead_days;
};

struct upt_outcomes {
    pthread_mutex_t mutex; /* @locks appending a name */
    _Atomic int names_n;
    char name[UPT_OUTCOME_SEGMENTS][UPT_OUTCOME_NAME_MAX + 1];
    struct slot slot[UPT_OUTCOME_SLOTS]; /* since the start: the counters */
    struct slot kept[UPT_OUTCOME_SLOTS]; /* with what partitions brought: the figures */
};

struct upt_outcomes *
upt_outcomes_create(void)
{
    struct upt_outcomes *outcomes = calloc(1, sizeof(*outcomes));
    if (outcomes == NULL) {
        upt_panic(__FILE__, __LINE__, "out of memory for outcomes");
    }
    int err = pthread_mutex_init(&outcomes->mutex, NULL);
    upt_assert(err == 0);
    return outcomes;
}

void
upt_outcomes_destroy(struct upt_outcomes **outcomes_p)
{
    if (*outcomes_p != NULL) {
        (void)pthread_mutex_destroy(&(*outcomes_p)->mutex);
        free(*outcomes_p);
        *outcomes_p = NULL;
    }
}

/* ---- counting ---- */

/* −1: not among the first n names. */
static int
find(const struct upt_outcomes *outcomes, struct upt_str segment, int n)
{
    for (int i = 0; i < n; i++) {
        if (upt_str_eq(segment, upt_str_of(outcomes->name[i]))) {
            return i;
        }
    }
    return -1;
}

static int
slot_of(struct upt_outcomes *outcomes, struct upt_str segment)
{
    if (segment.p == NULL || segment.len == 0) {
        return NONE;
    }
    if (segment.len > UPT_OUTCOME_NAME_MAX || memchr(segment.p, '\0', segment.len) != NULL ||
        upt_str_eq(segment, UPT_STR("other"))) {
        return OTHER;
    }
    int n = atomic_load_explicit(&outcomes->names_n, memory_order_acquire);
    int at = find(outcomes, segment, n);
    if (at < 0 && n < UPT_OUTCOME_SEGMENTS) {
        int err = pthread_mutex_lock(&outcomes->mutex);
        upt_assert(err == 0);
        n = atomic_load_explicit(&outcomes->names_n, memory_order_relaxed);
        at = find(outcomes, segment, n);
        if (at < 0 && n < UPT_OUTCOME_SEGMENTS) {
            memcpy(outcomes->name[n], segment.p, segment.len);
            atomic_store_explicit(&outcomes->names_n, n + 1, memory_order_release);
            at = n;
        }
        err = pthread_mutex_unlock(&outcomes->mutex);
        upt_assert(err == 0);
    }
    return at < 0 ? OTHER : NONE + 1 + at;
}

static void
count(_Atomic uint64_t *v, uint64_t n)
{
    (void)atomic_fetch_add_explicit(v, n, memory_order_relaxed);
}

static uint64_t
get(_Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

void
upt_outcomes_add(struct upt_outcomes *outcomes, struct upt_str segment, uint32_t risk_e4, bool left, uint32_t lead_days)
{
    int at = slot_of(outcomes, segment);
    struct slot *both[] = {&outcomes->slot[at], &outcomes->kept[at]};
    uint32_t hundredth = risk_e4 / 100 < HUNDREDTHS ? risk_e4 / 100 : HUNDREDTHS - 1;
    for (int i = 0; i < 2; i++) {
        count(&both[i]->n[left ? 1 : 0][hundredth], 1);
        count(&both[i]->risk_e4[hundredth / 10], risk_e4);
        if (lead_days > 0) {
            count(&both[i]->leads, 1);
            count(&both[i]->lead_days, lead_days);
        }
    }
}

void
upt_outcomes_move(struct upt_outcomes *outcomes, struct upt_str segment, const struct upt_outcome_counts *counts,
                  bool away)
{
    struct slot *slot = &outcomes->kept[slot_of(outcomes, segment)];
    uint64_t by = away ? UINT64_MAX : 1; /* times −1, modulo 2^64 */
    for (int k = 0; k < HUNDREDTHS; k++) {
        count(&slot->n[0][k], by * counts->n[0][k]);
        count(&slot->n[1][k], by * counts->n[1][k]);
    }
    for (int k = 0; k < TENTHS; k++) {
        count(&slot->risk_e4[k], by * counts->risk_e4[k]);
    }
    count(&slot->leads, by * counts->leads);
    count(&slot->lead_days, by * counts->lead_days);
}

/* ---- figures ---- */

static const char *
name_of(const struct upt_outcomes *outcomes, int slot)
{
    return slot == OTHER ? "other" : slot == NONE ? "" : outcomes->name[slot - 1];
}

/* Slots that have a name: those of names that are being appended now have none yet. */
static bool
is_there(struct upt_outcomes *outcomes, int slot)
{
    return slot == NONE || slot == OTHER || slot <= atomic_load_explicit(&outcomes->names_n, memory_order_acquire);
}

static bool
any_counted(struct slot *slot)
{
    bool any = false;
    for (int k = 0; k < HUNDREDTHS && !any; k++) {
        any = get(&slot->n[0][k]) + get(&slot->n[1][k]) > 0;
    }
    return any;
}

/* Sums of a slot, or of all. */
struct sums {
    double n[2][HUNDREDTHS];
    double risk[TENTHS];
    uint64_t leads, lead_days;
};

static void
add_slot(struct slot *slot, struct sums *sums)
{
    for (int k = 0; k < HUNDREDTHS; k++) {
        sums->n[0][k] += (double)get(&slot->n[0][k]);
        sums->n[1][k] += (double)get(&slot->n[1][k]);
    }
    for (int k = 0; k < TENTHS; k++) {
        sums->risk[k] += (double)get(&slot->risk_e4[k]) / 1e4;
    }
    sums->leads += get(&slot->leads);
    sums->lead_days += get(&slot->lead_days);
}

bool
upt_outcomes_figures(struct upt_outcomes *outcomes, int slot, struct upt_outcome_figures *ret)
{
    struct sums sums = {0};
    double stayed = 0;
    double left = 0;
    double pairs = 0;
    double error = 0;
    double risk = 0;
    for (int i = slot < 0 ? 0 : slot; i < (slot < 0 ? UPT_OUTCOME_SLOTS : slot + 1); i++) {
        if (is_there(outcomes, i)) {
            add_slot(&outcomes->kept[i], &sums);
        }
    }
    for (int tenth = 0; tenth < TENTHS; tenth++) {
        double of_tenth = 0;
        for (int k = 10 * tenth; k < 10 * tenth + 10; k++) {
            pairs += sums.n[1][k] * (stayed + sums.n[0][k] / 2);
            stayed += sums.n[0][k];
            of_tenth += sums.n[1][k];
        }
        left += of_tenth;
        risk += sums.risk[tenth];
        error += fabs(sums.risk[tenth] - of_tenth);
    }
    if (!(stayed + left > 0)) {
        return false;
    }
    bool both = stayed > 0 && left > 0;
    *ret = (struct upt_outcome_figures){
        .n = (uint64_t)(stayed + left),
        .left = (uint64_t)left,
        .leads = sums.leads,
        .predicted = risk / (stayed + left),
        .observed = left / (stayed + left),
        .auc = both ? pairs / (stayed * left) : (double)NAN,
        .calibration_error = both ? error / (stayed + left) : (double)NAN,
        .lead_days = sums.leads > 0 ? (double)sums.lead_days / (double)sums.leads : (double)NAN,
    };
    memcpy(ret->segment, slot < 0 ? "" : name_of(outcomes, slot), slot < 0 ? 1 : strlen(name_of(outcomes, slot)) + 1);
    return true;
}

/* ---- the page ---- */

enum { OUTCOMES, PREDICTED, LEADS, LEAD_DAYS, COUNTERS };
static const struct {
    const char *name, *labels, *help;
} counters[COUNTERS] = {
    [OUTCOMES] = {"uptake_risk_outcomes_total", "`segment`, `outcome` (stayed, left), `tenth` (0 to 9)",
                  "30-day risks whose outcome has come, by the tenth of the scale that they were in"},
    [PREDICTED] = {"uptake_risk_predicted_total", "`segment`, `tenth`", "Sum of those risks"},
    [LEADS] = {"uptake_risk_leads_total", "`segment`",
               "Of those that left, with a risk of at least .75 and used after that"},
    [LEAD_DAYS] = {"uptake_risk_lead_days_total", "`segment`", "Days from there to their last use"},
};

enum { AUC, ERROR, LEAD, GAUGES };
static const struct {
    const char *of_all, *of_segment, *help;
} gauges[GAUGES] = {
    [AUC] = {"uptake_risk_auc", "uptake_segment_risk_auc",
             "How well the 30-day risk has ranked who left, by all outcomes so far"},
    [ERROR] = {"uptake_risk_calibration_error", "uptake_segment_risk_calibration_error",
               "Mean difference of predicted and observed over tenths of the scale, by all outcomes so far"},
    [LEAD] = {"uptake_risk_lead_mean_days", "uptake_segment_risk_lead_mean_days",
              "Days from a risk of at least .75 to the last use of those that left, in the mean"},
};

/* `{segment="NAME"`, without the end; escaped as the format asks. */
static void
put_labels(struct upt_buf *out, const char *segment)
{
    upt_buf_puts(out, "{segment=\"");
    for (const char *p = segment; *p != '\0'; p++) {
        if (*p == '\n') {
            upt_buf_puts(out, "\\n");
        } else {
            upt_buf_puts(out, *p == '"' || *p == '\\' ? "\\" : "");
            upt_buf_put(out, p, 1);
        }
    }
    upt_buf_puts(out, "\"");
}

static void
put_tenths(struct upt_outcomes *outcomes, int i, int what, struct upt_buf *out)
{
    static const char *const names[] = {"stayed", "left"};
    for (int k = 0; k < (what == OUTCOMES ? 2 * TENTHS : TENTHS); k++) {
        struct slot *slot = &outcomes->slot[i];
        upt_buf_puts(out, counters[what].name);
        put_labels(out, name_of(outcomes, i));
        if (what == PREDICTED) {
            upt_buf_printf(out, ",tenth=\"%d\"} %.4f\n", k, (double)get(&slot->risk_e4[k]) / 1e4);
            continue;
        }
        uint64_t n = 0;
        for (int h = 10 * (k % TENTHS); h < 10 * (k % TENTHS) + 10; h++) {
            n += get(&slot->n[k / TENTHS][h]);
        }
        upt_buf_printf(out, ",outcome=\"%s\",tenth=\"%d\"} ", names[k / TENTHS], k % TENTHS);
        upt_buf_put_u64(out, n);
        upt_buf_put(out, "\n", 1);
    }
}

static void
put_counters(struct upt_outcomes *outcomes, const bool *used, struct upt_buf *out)
{
    for (int what = 0; what < COUNTERS; what++) {
        upt_buf_printf(out, "# HELP %s %s\n# TYPE %s counter\n", counters[what].name, counters[what].help,
                       counters[what].name);
        for (int i = 0; i < UPT_OUTCOME_SLOTS; i++) {
            struct slot *slot = &outcomes->slot[i];
            if (!used[i] && !any_counted(slot)) {
                continue;
            }
            if (what == OUTCOMES || what == PREDICTED) {
                put_tenths(outcomes, i, what, out);
                continue;
            }
            upt_buf_puts(out, counters[what].name);
            put_labels(out, name_of(outcomes, i));
            upt_buf_puts(out, "} ");
            upt_buf_put_u64(out, get(what == LEADS ? &slot->leads : &slot->lead_days));
            upt_buf_put(out, "\n", 1);
        }
    }
}

static double
figure(const struct upt_outcome_figures *f, int what)
{
    return what == AUC ? f->auc : what == ERROR ? f->calibration_error : f->lead_days;
}

static void
put_head(struct upt_buf *out, const char *name, const char *help, const char *more)
{
    upt_buf_printf(out, "# HELP %s %s%s\n# TYPE %s gauge\n", name, help, more, name);
}

void
upt_outcomes_prometheus(struct upt_outcomes *outcomes, struct upt_buf *out)
{
    struct upt_outcome_figures all;
    struct upt_outcome_figures of[UPT_OUTCOME_SLOTS];
    bool used[UPT_OUTCOME_SLOTS] = {false};
    for (int i = 0; i < UPT_OUTCOME_SLOTS; i++) {
        used[i] = upt_outcomes_figures(outcomes, i, &of[i]);
    }
    put_counters(outcomes, used, out);
    bool any = upt_outcomes_figures(outcomes, UPT_OUTCOME_ALL, &all);
    for (int what = 0; what < GAUGES; what++) {
        put_head(out, gauges[what].of_all, gauges[what].help, "");
        if (any && !isnan(figure(&all, what))) {
            upt_buf_printf(out, "%s %.4f\n", gauges[what].of_all, figure(&all, what));
        }
        put_head(out, gauges[what].of_segment, gauges[what].help, ", of a segment");
        for (int i = 0; i < UPT_OUTCOME_SLOTS; i++) {
            if (used[i] && !isnan(figure(&of[i], what))) {
                upt_buf_puts(out, gauges[what].of_segment);
                put_labels(out, of[i].segment);
                upt_buf_printf(out, "} %.4f\n", figure(&of[i], what));
            }
        }
    }
}

void
upt_outcomes_markdown(struct upt_buf *out)
{
    for (int what = 0; what < COUNTERS; what++) {
        upt_buf_printf(out, "| `%s` | counter | %s | %s |\n", counters[what].name, counters[what].labels,
                       counters[what].help);
    }
    for (int what = 0; what < GAUGES; what++) {
        upt_buf_printf(out, "| `%s` | gauge |  | %s |\n| `%s` | gauge | `segment` | %s, of a segment |\n",
                       gauges[what].of_all, gauges[what].help, gauges[what].of_segment, gauges[what].help);
    }
}
