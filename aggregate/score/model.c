/* Reads the model file: a strict line-oriented text, so that two fits can be compared with diff and a typing error is
 * named with its line instead of changing scores in silence.
 *
 *     uptake-model 1          the format, first line
 *     version NAME
 *     [section]
 *     name value …            every name of the section exactly once, values within the limits of the tables below
 *     # a comment
 *
 * A row of [risk] may say behind its values where they are from (model.h).
 *
 * One table drives parsing and checking; sections with rows of several values are rows of that table too. Only
 * [cohort], [renewed] and [segments] have a free number of rows; the last two may be missing. One thread while loading;
 * read-only afterwards. */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregate/score/score.h"
#include "textfile.h"
#include "uptake/assert.h"

extern const unsigned char upt_default_model[];
extern const size_t upt_default_model_len;

const int upt_cadence_days[UPT_CADENCES] = {1, 7, 28};
const char *const upt_cadence_names[UPT_CADENCES] = {"daily", "weekly", "monthly"};
const char *const upt_origin_names[UPT_ORIGINS] = {"", "given", "unseen"};

const int upt_renewed_days[UPT_RENEWED_TABLES] = {30, 60, 90, 180};

enum section {
    S_NONE,
    S_BGBB,
    S_CADENCE,
    S_HEALTH,
    S_BANDS,
    S_COHORT,
    S_RENEWED,
    S_RISK,
    S_SEGMENTS,
    S_SILENCE,
    S_COUNT
};
static const char *const section_names[S_COUNT] = {"",       "bgbb",    "cadence", "health",   "bands",
                                                   "cohort", "renewed", "risk",    "segments", "silence"};

#define VALUES_MAX 8

struct row {
    enum section section;
    const char *name;
    size_t values_n;
    const char *what; /* the values, for messages */
    struct {
        double least, most;
    } limit[4];
};

#define BGBB(name)                                 \
    {                                              \
        S_BGBB, name, 4, "alpha beta gamma delta", \
        {                                          \
            {1e-3, 1e4}, {1e-3, 1e4}, {1e-3, 1e4}, \
            {                                      \
                1e-3, 1e4                          \
            }                                      \
        }                                          \
    }
#define PART(name)                        \
    {                                     \
        S_HEALTH, name, 2, "weight mean", \
        {                                 \
            {0, 1},                       \
            {                             \
                0, 1                      \
            }                             \
        }                                 \
    }
#define ONE(section, name, least, most) \
    {                                   \
        section, name, 1, "value",      \
        {                               \
            {                           \
                least, most             \
            }                           \
        }                               \
    }
#define RISK(name, least, most)                                                \
    {                                                                          \
        S_RISK, name, 4, "weight mean least most, then given or unseen if so", \
        {                                                                      \
            {least, most}, {-100, 100}, {-100, 100},                           \
            {                                                                  \
                -100, 100                                                      \
            }                                                                  \
        }                                                                      \
    }

/* Signs of the weights are limits here: a file that says that silence lowers the risk is wrong, and the order of the
 * horizons and the deadline of SILENCE rest on them. */
static const struct row rows[] = {
    BGBB("daily"),
    BGBB("weekly"),
    BGBB("monthly"),
    ONE(S_CADENCE, "blocks", 2, 9),
    ONE(S_CADENCE, "blocks_least", 2, 9),
    ONE(S_CADENCE, "share", 0.5, 1),
    ONE(S_CADENCE, "scale_weekly", 1, 7),
    ONE(S_CADENCE, "scale_monthly", 1, 28),
    PART("frequency_10d"),
    PART("frequency_21d"),
    PART("volume_21d"),
    PART("breadth"),
    PART("features_ever"),
    PART("return_probability"),
    ONE(S_HEALTH, "return_days", 1, 60),
    ONE(S_HEALTH, "confidence_half", 0.5, 1000),
    ONE(S_HEALTH, "confidence_floor", 0, 1),
    ONE(S_HEALTH, "confidence_band", 0, 1),
    ONE(S_BANDS, "critical_below", 0, 100),
    ONE(S_BANDS, "at_risk_below", 0, 100),
    ONE(S_BANDS, "watch_below", 0, 100),
    ONE(S_BANDS, "margin", 0, 20),
    ONE(S_BANDS, "evaluations", 1, 30),
    ONE(S_BANDS, "days", 0, 60),
    ONE(S_RISK, "intercept_30d", -50, 50),
    ONE(S_RISK, "intercept_60d", -50, 50),
    ONE(S_RISK, "intercept_90d", -50, 50),
    ONE(S_RISK, "segment_sd", 0, 10),
    RISK("gone_odds", 0, 10),
    RISK("days_silent", 0, 10),
    RISK("own_silence", 0, 10),
    RISK("silence_x_gap", -10, 10),
    RISK("gap_mean", -10, 10),
    RISK("gap_spread", -10, 10),
    RISK("tenure_days", -10, 10),
    RISK("tenure_weeks", -10, 10),
    RISK("active_2d", -10, 0),
    RISK("frequency_10d", -10, 0),
    RISK("frequency_21d", -10, 0),
    RISK("active_weeks", -10, 0),
    RISK("active_days", -10, 0),
    RISK("volume_2d", -10, 0),
    RISK("volume_21d", -10, 0),
    RISK("day_volume", -10, 0),
    RISK("breadth", -10, 0),
    RISK("seat_use", -10, 0),
    ONE(S_SILENCE, "intercept", -50, 50),
    ONE(S_SILENCE, "own_silence", 1e-3, 10),
    ONE(S_SILENCE, "days_silent", 0, 10),
    ONE(S_SILENCE, "count", -10, 10),
    ONE(S_SILENCE, "spread", -10, 10),
    ONE(S_SILENCE, "count_most", 1, 256),
    ONE(S_SILENCE, "spread_most", 0.1, 10),
    ONE(S_SILENCE, "gap_mean", 0, 6),
    ONE(S_SILENCE, "gap_variance", 0.01, 9),
    ONE(S_SILENCE, "gap_weight", 0.1, 100),
    ONE(S_SILENCE, "gap_decay", 0.5, 1),
    ONE(S_SILENCE, "gaps_least", 0, 10),
    ONE(S_SILENCE, "gaps_least_days", 0, 400),
    ONE(S_SILENCE, "gaps_regular", 0, 10),
};
#define ROWS_N (sizeof(rows) / sizeof(rows[0]))

struct loader {
    const char *path;
    int line;
    enum section section;
    bool has_version;
    bool seen[ROWS_N];
    double value[ROWS_N][4];
    enum upt_origin origin[ROWS_N];
    int renewed; /* the table of the row of [renewed] before */
    struct upt_model *model;
    struct upt_error *reterr;
};

#define FAIL(loader, ...) upt_text_fail((loader)->reterr, (loader)->path, (loader)->line, __VA_ARGS__)

static upt_status
parse_section(struct loader *loader, const char *word)
{
    size_t len = strlen(word);
    for (int s = S_NONE + 1; s < S_COUNT; s++) {
        if (len == strlen(section_names[s]) + 2 && word[0] == '[' && word[len - 1] == ']' &&
            strncmp(word + 1, section_names[s], len - 2) == 0) {
            loader->section = (enum section)s;
            return UPT_OK;
        }
    }
    return FAIL(loader,
                "%.60s: unknown section; allowed: [bgbb] [cadence] [health] [bands] [cohort] [renewed] [risk] "
                "[segments] [silence]",
                word);
}

static upt_status
parse_number(struct loader *loader, const char *word, double *ret)
{
    char *end = NULL;
    errno = 0;
    double v = strtod(word, &end);
    if (end == word || *end != '\0' || !isfinite(v) || strpbrk(word, "xXnN") != NULL) {
        return FAIL(loader, "%.60s: not a decimal number", word);
    }
    *ret = v;
    return UPT_OK;
}

/* A row of the cohort table: the share of the cohort, then the value of each part that this share does not exceed. */
static upt_status
parse_cohort(struct loader *loader, char **word, size_t n)
{
    struct upt_model *model = loader->model;
    if (n != 1 + UPT_C_PEERS) {
        return FAIL(loader,
                    "cohort: %zu values; allowed: share frequency_10d frequency_21d volume_21d breadth features_ever",
                    n);
    }
    if (model->quantiles_n == UPT_QUANTILES_MAX) {
        return FAIL(loader, "cohort: more than %d rows", UPT_QUANTILES_MAX);
    }
    size_t at = model->quantiles_n;
    upt_status status = parse_number(loader, word[0], &model->share_of[at]);
    for (size_t i = 0; status == UPT_OK && i < UPT_C_PEERS; i++) {
        status = parse_number(loader, word[1 + i], &model->quantile[at][i]);
        if (status == UPT_OK && at > 0 && model->quantile[at][i] < model->quantile[at - 1][i]) {
            status = FAIL(loader, "cohort: column %zu falls; allowed: not below the row before", i + 2);
        }
    }
    if (status == UPT_OK && (at == 0 ? model->share_of[0] != 0.0 : model->share_of[at] <= model->share_of[at - 1])) {
        status = FAIL(loader, "cohort: share %.60s; allowed: from 0 to 1, rising", word[0]);
    }
    model->quantiles_n += status == UPT_OK ? 1 : 0;
    return status;
}

int
upt_renewed_of(int64_t days)
{
    for (int i = 0; days >= 0 && i < UPT_RENEWED_TABLES; i++) {
        if (days <= upt_renewed_days[i]) {
            return i;
        }
    }
    return -1;
}

/* The table that a row of [renewed] is of: its first word is the end of its range. -1: there is none. */
static int
renewed_table(const char *word)
{
    char text[16];
    for (int i = 0; i < UPT_RENEWED_TABLES; i++) {
        (void)snprintf(text, sizeof(text), "%d", upt_renewed_days[i]);
        if (strcmp(word, text) == 0) {
            return i;
        }
    }
    return -1;
}

/* The table that was read last is whole. */
static upt_status
end_renewed(const struct loader *loader)
{
    const struct upt_renewed *table = &loader->model->renewed[loader->renewed];
    bool whole = table->rows_n == 0 || (table->rows_n > 1 && table->share_of[table->rows_n - 1] == 1.0);
    return whole ? UPT_OK
                 : FAIL(loader, "[renewed] %d: allowed: at least two rows, the last with share 1",
                        upt_renewed_days[loader->renewed]);
}

/* A row of the tables of those that renewed: the end of the range of days before the renewal, the share of them, the
 * values that this share does not exceed; breadth in all rows of a table or in none. */
static upt_status
parse_renewed(struct loader *loader, char **word, size_t n)
{
    int i = renewed_table(word[0]);
    if (n < 3 || n > 4) {
        return FAIL(loader, "renewed: %zu values; allowed: days share frequency_21d, then perhaps breadth", n);
    }
    if (i < loader->renewed) {
        return FAIL(loader, "renewed: %.60s days; allowed: 30, 60, 90, 180, in this order", word[0]);
    }
    upt_status status = i > loader->renewed ? end_renewed(loader) : UPT_OK;
    struct upt_renewed *table = &loader->model->renewed[i];
    size_t at = table->rows_n;
    loader->renewed = i;
    if (at == UPT_QUANTILES_MAX) {
        return FAIL(loader, "renewed: more than %d rows of %d days", UPT_QUANTILES_MAX, upt_renewed_days[i]);
    }
    if (at > 0 && table->has_breadth != (n == 4)) {
        return FAIL(loader, "renewed: %zu values; allowed: as many as in the row before", n);
    }
    status = status == UPT_OK ? parse_number(loader, word[1], &table->share_of[at]) : status;
    for (size_t k = 0; status == UPT_OK && k < n - 2; k++) {
        status = parse_number(loader, word[2 + k], &table->quantile[at][k]);
        if (status == UPT_OK && at > 0 && table->quantile[at][k] < table->quantile[at - 1][k]) {
            status = FAIL(loader, "renewed: column %zu falls; allowed: not below the row before", k + 3);
        }
    }
    if (status == UPT_OK && (at == 0 ? table->share_of[0] != 0.0 : table->share_of[at] <= table->share_of[at - 1])) {
        status = FAIL(loader, "renewed: share %.60s; allowed: from 0 to 1, rising", word[1]);
    }
    table->has_breadth = n == 4;
    table->rows_n += status == UPT_OK ? 1 : 0;
    loader->model->has_renewed = true;
    return status;
}

/* A segment: its name with %XX for what would not be a word, what it adds to the log-odds, the standard deviation of
 * that. */
static upt_status
parse_segment(struct loader *loader, char **word, size_t n)
{
    struct upt_model *model = loader->model;
    if (n != 3) {
        return FAIL(loader, "segments: %zu values; allowed: name shift sd", n);
    }
    if (model->segments_n == UPT_MODEL_SEGMENTS_MAX) {
        return FAIL(loader, "segments: more than %d", UPT_MODEL_SEGMENTS_MAX);
    }
    struct upt_segment_shift *segment = &model->segment[model->segments_n];
    if (!upt_model_unescape(word[0], segment->name) || !upt_utf8_valid(segment->name, strlen(segment->name))) {
        return FAIL(loader, "segments: %.80s: allowed: at most %d bytes of UTF-8, others than letters as %%XX", word[0],
                    UPT_MODEL_NAME_MAX);
    }
    upt_status status = parse_number(loader, word[1], &segment->shift);
    if (status == UPT_OK) {
        status = parse_number(loader, word[2], &segment->sd);
    }
    if (status == UPT_OK && (fabs(segment->shift) > 10 || segment->sd < 0 || segment->sd > 10)) {
        status = FAIL(loader, "segments: %.60s: allowed: a shift of -10 to 10, an sd of 0 to 10", word[0]);
    }
    if (status == UPT_OK && model->segments_n > 0 && strcmp(segment[-1].name, segment->name) >= 0) {
        status = FAIL(loader, "segments: %.60s: allowed: names in ascending order, each once", word[0]);
    }
    model->segments_n += status == UPT_OK ? 1 : 0;
    return status;
}

static upt_status
unknown_name(struct loader *loader, const char *name)
{
    char allowed[400];
    size_t len = 0;
    allowed[0] = '\0';
    for (size_t i = 0; i < ROWS_N; i++) {
        if (rows[i].section == loader->section && len < sizeof(allowed) - 40) {
            len += (size_t)snprintf(allowed + len, sizeof(allowed) - len, " %s", rows[i].name);
        }
    }
    return FAIL(loader, "%.60s: unknown in [%s]; allowed:%s", name, section_names[loader->section], allowed);
}

static upt_status
parse_row(struct loader *loader, char **word, size_t n)
{
    size_t at = 0;
    while (at < ROWS_N && (rows[at].section != loader->section || strcmp(rows[at].name, word[0]) != 0)) {
        at++;
    }
    if (at == ROWS_N) {
        return unknown_name(loader, word[0]);
    }
    const struct row *row = &rows[at];
    if (loader->seen[at]) {
        return FAIL(loader, "%s: a second time", row->name);
    }
    for (int o = UPT_GIVEN; row->section == S_RISK && n == 6 && o < UPT_ORIGINS; o++) {
        if (strcmp(word[5], upt_origin_names[o]) == 0) {
            loader->origin[at] = (enum upt_origin)o;
            n--;
        }
    }
    if (n - 1 != row->values_n) {
        return FAIL(loader, "%s: %zu values; allowed: %s", row->name, n - 1, row->what);
    }
    for (size_t i = 0; i < row->values_n; i++) {
        upt_status status = parse_number(loader, word[1 + i], &loader->value[at][i]);
        if (status != UPT_OK) {
            return status;
        }
        if (loader->value[at][i] < row->limit[i].least || loader->value[at][i] > row->limit[i].most) {
            return FAIL(loader, "%s: %.60s; allowed: %g to %g", row->name, word[1 + i], row->limit[i].least,
                        row->limit[i].most);
        }
    }
    loader->seen[at] = true;
    return UPT_OK;
}

static upt_status
parse_line(struct loader *loader, char **word, size_t n)
{
    if (loader->line == 1 || loader->section == S_NONE) {
        if (loader->line == 1 && (n != 2 || strcmp(word[0], "uptake-model") != 0 || strcmp(word[1], "1") != 0)) {
            return FAIL(loader, "%.60s: not a model file; allowed: uptake-model 1", word[0]);
        }
        if (loader->line == 1) {
            return UPT_OK;
        }
        if (strcmp(word[0], "version") == 0) {
            if (n != 2 || strlen(word[1]) > UPT_VERSION_MAX || !upt_utf8_valid(word[1], strlen(word[1])) ||
                loader->has_version) {
                return FAIL(loader, "version: allowed: one name of at most %d bytes of UTF-8, once", UPT_VERSION_MAX);
            }
            memcpy(loader->model->version, word[1], strlen(word[1]) + 1);
            loader->has_version = true;
            return UPT_OK;
        }
    }
    if (n == 1 && word[0][0] == '[') {
        return parse_section(loader, word[0]);
    }
    if (loader->section == S_NONE) {
        return FAIL(loader, "%.60s: allowed here: version, or a section", word[0]);
    }
    return loader->section == S_COHORT     ? parse_cohort(loader, word, n)
           : loader->section == S_RENEWED  ? parse_renewed(loader, word, n)
           : loader->section == S_SEGMENTS ? parse_segment(loader, word, n)
                                           : parse_row(loader, word, n);
}

static size_t
row_of(enum section section, const char *name)
{
    for (size_t at = 0; at < ROWS_N; at++) {
        if (rows[at].section == section && strcmp(rows[at].name, name) == 0) {
            return at;
        }
    }
    upt_panic(__FILE__, __LINE__, name);
}

static double
value_of(const struct loader *loader, enum section section, const char *name, size_t i)
{
    return loader->value[row_of(section, name)][i];
}

static void
take_bgbb_and_cadence(const struct loader *loader)
{
    struct upt_model *model = loader->model;
    for (int c = 0; c < UPT_CADENCES; c++) {
        const char *name = upt_cadence_names[c];
        model->bgbb[c] = (struct upt_bgbb){
            .alpha = value_of(loader, S_BGBB, name, 0),
            .beta = value_of(loader, S_BGBB, name, 1),
            .gamma = value_of(loader, S_BGBB, name, 2),
            .delta = value_of(loader, S_BGBB, name, 3),
        };
    }
    model->blocks = value_of(loader, S_CADENCE, "blocks", 0);
    model->blocks_least = value_of(loader, S_CADENCE, "blocks_least", 0);
    model->share = value_of(loader, S_CADENCE, "share", 0);
    model->scale[UPT_DAILY] = 1;
    model->scale[UPT_WEEKLY] = value_of(loader, S_CADENCE, "scale_weekly", 0);
    model->scale[UPT_MONTHLY] = value_of(loader, S_CADENCE, "scale_monthly", 0);
}

const char *const upt_part_names[UPT_C_COUNT] = {"frequency_10d", "frequency_21d", "volume_21d",
                                                 "breadth",       "features_ever", "return_probability"};
const char *const upt_risk_names[UPT_R_COUNT] = {
    "gone_odds",    "days_silent", "own_silence",   "silence_x_gap", "gap_mean",     "gap_spread",  "tenure_days",
    "tenure_weeks", "active_2d",   "frequency_10d", "frequency_21d", "active_weeks", "active_days", "volume_2d",
    "volume_21d",   "day_volume",  "breadth",       "seat_use",      "segment"};

double
upt_model_weight(int feature, double weight)
{
    size_t at = row_of(S_RISK, upt_risk_names[feature]);
    return fmax(rows[at].limit[0].least, fmin(rows[at].limit[0].most, weight));
}

static upt_status
take_health(struct loader *loader)
{
    struct upt_model *model = loader->model;
    int32_t sum = 0;
    for (int i = 0; i < UPT_C_COUNT; i++) {
        double weight = value_of(loader, S_HEALTH, upt_part_names[i], 0) * 1e3;
        double mean = value_of(loader, S_HEALTH, upt_part_names[i], 1) * 1e5;
        model->weight_milli[i] = (int32_t)lround(weight);
        model->mean_e5[i] = (int32_t)lround(mean);
        if (fabs(weight - model->weight_milli[i]) > 1e-6 || fabs(mean - model->mean_e5[i]) > 1e-6) {
            return FAIL(loader, "[health] %s: allowed: a weight of 3 decimals, a mean of 5", upt_part_names[i]);
        }
        sum += model->weight_milli[i];
    }
    if (sum != 1000) {
        return FAIL(loader, "[health]: the weights add up to %.3f; allowed: 1", sum / 1e3);
    }
    model->return_days = value_of(loader, S_HEALTH, "return_days", 0);
    model->confidence_half = value_of(loader, S_HEALTH, "confidence_half", 0);
    model->confidence_floor = value_of(loader, S_HEALTH, "confidence_floor", 0);
    model->confidence_band = value_of(loader, S_HEALTH, "confidence_band", 0);
    if (model->confidence_floor > model->confidence_band) { /* there would be bands of scores that are withheld */
        return FAIL(loader, "[health]: allowed: confidence_floor at most confidence_band");
    }
    model->band_edge[0] = value_of(loader, S_BANDS, "critical_below", 0);
    model->band_edge[1] = value_of(loader, S_BANDS, "at_risk_below", 0);
    model->band_edge[2] = value_of(loader, S_BANDS, "watch_below", 0);
    model->band_margin = value_of(loader, S_BANDS, "margin", 0);
    model->band_evaluations = value_of(loader, S_BANDS, "evaluations", 0);
    model->band_days = value_of(loader, S_BANDS, "days", 0);
    if (!(model->band_edge[0] < model->band_edge[1] && model->band_edge[1] < model->band_edge[2])) {
        return FAIL(loader, "[bands]: allowed: critical_below < at_risk_below < watch_below");
    }
    return UPT_OK;
}

static upt_status
take_risk_and_silence(struct loader *loader)
{
    struct upt_model *model = loader->model;
    model->intercept[0] = value_of(loader, S_RISK, "intercept_30d", 0);
    model->intercept[1] = value_of(loader, S_RISK, "intercept_60d", 0);
    model->intercept[2] = value_of(loader, S_RISK, "intercept_90d", 0);
    if (model->intercept[0] > model->intercept[1] || model->intercept[1] > model->intercept[2]) {
        return FAIL(loader, "[risk]: allowed: intercepts that do not fall from 30 to 90 days");
    }
    model->segment_sd = value_of(loader, S_RISK, "segment_sd", 0);
    model->risk[UPT_R_SEGMENT].weight = 1;
    model->risk[UPT_R_SEGMENT].least = -10;
    model->risk[UPT_R_SEGMENT].most = 10;
    for (int i = 0; i < UPT_R_FITTED; i++) {
        model->risk[i].weight = value_of(loader, S_RISK, upt_risk_names[i], 0);
        model->risk[i].mean = value_of(loader, S_RISK, upt_risk_names[i], 1);
        model->risk[i].least = value_of(loader, S_RISK, upt_risk_names[i], 2);
        model->risk[i].most = value_of(loader, S_RISK, upt_risk_names[i], 3);
        model->risk[i].origin = loader->origin[row_of(S_RISK, upt_risk_names[i])];
        if (model->risk[i].least >= model->risk[i].most) {
            return FAIL(loader, "[risk] %s: allowed: least below most", upt_risk_names[i]);
        }
    }
    model->silence.intercept = value_of(loader, S_SILENCE, "intercept", 0);
    model->silence.own_silence = value_of(loader, S_SILENCE, "own_silence", 0);
    model->silence.days_silent = value_of(loader, S_SILENCE, "days_silent", 0);
    model->silence.count = value_of(loader, S_SILENCE, "count", 0);
    model->silence.spread = value_of(loader, S_SILENCE, "spread", 0);
    model->silence.count_most = value_of(loader, S_SILENCE, "count_most", 0);
    model->silence.spread_most = value_of(loader, S_SILENCE, "spread_most", 0);
    model->silence.gap_mean = value_of(loader, S_SILENCE, "gap_mean", 0);
    model->silence.gap_variance = value_of(loader, S_SILENCE, "gap_variance", 0);
    model->silence.gap_weight = value_of(loader, S_SILENCE, "gap_weight", 0);
    model->silence.gap_decay = value_of(loader, S_SILENCE, "gap_decay", 0);
    model->silence.gaps_least = value_of(loader, S_SILENCE, "gaps_least", 0);
    model->silence.gaps_least_days = value_of(loader, S_SILENCE, "gaps_least_days", 0);
    model->silence.gaps_regular = value_of(loader, S_SILENCE, "gaps_regular", 0);
    return UPT_OK;
}

static upt_status
finish(struct loader *loader)
{
    struct upt_model *model = loader->model;
    if (!loader->has_version) {
        return FAIL(loader, "version: missing");
    }
    for (size_t i = 0; i < ROWS_N; i++) {
        if (!loader->seen[i]) {
            return FAIL(loader, "[%s] %s: missing", section_names[rows[i].section], rows[i].name);
        }
    }
    if (model->quantiles_n < 2 || model->share_of[model->quantiles_n - 1] != 1.0) {
        return FAIL(loader, "[cohort]: allowed: at least two rows, the last with share 1");
    }
    for (int i = 0; i < UPT_C_PEERS; i++) {
        if (!(model->quantile[model->quantiles_n - 1][i] > model->quantile[0][i])) {
            return FAIL(loader, "[cohort] %s: all values are the same", upt_part_names[i]);
        }
    }
    take_bgbb_and_cadence(loader);
    upt_status status = end_renewed(loader);
    status = status == UPT_OK ? take_health(loader) : status;
    if (status == UPT_OK) {
        status = take_risk_and_silence(loader);
    }
    for (int age = 0; age <= 256; age++) {
        model->log_gap[age] = age > 0 ? log((double)age) : 0;
        model->half_2[age] = exp2(-age / 2.0);
        model->half_10[age] = exp2(-age / 10.0);
        model->half_21[age] = exp2(-age / 21.0);
    }
    return status;
}

static upt_status
parse_text(struct loader *loader, struct upt_str text)
{
    char line[1024];
    char *word[VALUES_MAX + 1];
    for (uint32_t at = 0; at < text.len;) {
        const char *end = memchr(text.p + at, '\n', text.len - at);
        size_t len = end == NULL ? text.len - at : (size_t)(end - (text.p + at));
        loader->line++;
        if (len >= sizeof(line) || memchr(text.p + at, '\0', len) != NULL) {
            return FAIL(loader, "allowed: text lines below %zu bytes", sizeof(line));
        }
        memcpy(line, text.p + at, len);
        line[len] = '\0';
        at += (uint32_t)len + (end == NULL ? 0 : 1);
        line[strcspn(line, "#")] = '\0';
        size_t n = 0;
        char *rest = NULL;
        for (char *w = strtok_r(line, " \t\r", &rest); w != NULL; w = strtok_r(NULL, " \t\r", &rest)) {
            if (n > VALUES_MAX) {
                return FAIL(loader, "%.60s: allowed: at most %d values", word[0], VALUES_MAX);
            }
            word[n++] = w;
        }
        upt_status status =
            n > 0 || loader->line == 1 ? parse_line(loader, n > 0 ? word : (char *[]){line}, n) : UPT_OK;
        if (status != UPT_OK) {
            return status;
        }
    }
    return finish(loader);
}

upt_status
upt_model_load(const char *path, struct upt_model **ret, struct upt_error *reterr)
{
    struct upt_buf file = {0};
    struct upt_str text = {(const char *)upt_default_model, (uint32_t)upt_default_model_len};
    struct loader loader = {.path = "(built-in model)", .reterr = reterr};
    if (path != NULL && path[0] != '\0') {
        upt_status status = upt_text_read(path, &file, reterr);
        if (status != UPT_OK) {
            upt_buf_fini(&file);
            return status;
        }
        text = (struct upt_str){file.p, (uint32_t)file.len};
        loader.path = path;
    }
    loader.model = calloc(1, sizeof(*loader.model));
    upt_status status =
        loader.model == NULL ? upt_fail(reterr, UPT_ENOMEM, "out of memory for the model") : parse_text(&loader, text);
    if (status == UPT_OK) {
        loader.model->shipped = path == NULL || path[0] == '\0';
        (void)snprintf(loader.model->hash, sizeof(loader.model->hash), "%016llx",
                       (unsigned long long)upt_hash(text.p, text.len));
    }
    if (status != UPT_OK) {
        goto fail;
    }
    upt_buf_fini(&file);
    *ret = loader.model;
    return UPT_OK;
fail:
    upt_buf_fini(&file);
    upt_model_destroy(&loader.model);
    return status;
}

void
upt_model_destroy(struct upt_model **model_p)
{
    free(*model_p);
    *model_p = NULL;
}

const char *
upt_model_version(const struct upt_model *model)
{
    return model->version;
}

const char *
upt_model_hash(const struct upt_model *model)
{
    return model->hash;
}
