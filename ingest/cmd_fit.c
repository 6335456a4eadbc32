/* uptake fit: fits the churn model from the log itself, or from files, into a versioned text file.
 *
 * Samples and outcomes: fit_samples.c. The regression: aggregate/score/fit.c. What is fitted is the file's [risk] and
 * [segments], and [renewed] where accounts enough renewed; all else is taken over from the base as it is. Nothing is
 * written but the file, and that only when the fit is whole: beside it first, then renamed. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "ingest/command.h"
#include "ingest/fitting.h"
#include "ingest/pipeline.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define MODEL_MAX (1024 * 1024)

/* ---- options ---- */

static bool
take_at(const char *text, struct upt_fitting *f)
{
    while (*text != '\0') {
        char *end = NULL;
        long day = strtol(text, &end, 10);
        if (end == text || (*end != ',' && *end != '\0') || day < 1 || day > 4000 || f->at_n == UPT_FIT_AT_MAX) {
            return false;
        }
        f->at[f->at_n++] = (int)day;
        text = *end == ',' ? end + 1 : end;
    }
    return f->at_n > 0;
}

static bool
take_keep(const char *text, struct upt_fit_options *options)
{
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        int found = -1;
        for (int i = 0; i < UPT_R_FITTED; i++) {
            found = strlen(upt_risk_names[i]) == len && strncmp(upt_risk_names[i], text, len) == 0 ? i : found;
        }
        if (found < 0) {
            return false;
        }
        options->keep[found] = true;
        text += len + (text[len] == ',' ? 1 : 0);
    }
    return true;
}

static int
take_options(struct upt_option *given, size_t n, struct upt_fitting *f, struct upt_fit_options *options)
{
    const char *at = upt_option(given, n, "at");
    const char *keep = upt_option(given, n, "keep");
    const char *version = upt_option(given, n, "version");
    long long every = 7;
    long long least = 30;
    long long ridge = 1000;
    bool good = upt_option_number(&upt_cmd_fit, given, n, "every", 1, 365, &every) &&
                upt_option_number(&upt_cmd_fit, given, n, "segments-least", 2, 1000000000, &least) &&
                upt_option_number(&upt_cmd_fit, given, n, "ridge", 0, 1000000000, &ridge);
    if (good && at != NULL && !take_at(at, f)) {
        fprintf(stderr, "uptake fit: --at %s: days of the log are wanted, as 10,20,30\n", at);
        good = false;
    }
    if (good && !take_keep(keep == NULL ? "" : keep, options)) {
        fprintf(stderr, "uptake fit: --keep %s: features of [risk] are wanted, separated by commas\n", keep);
        good = false;
    }
    if (good && version != NULL &&
        (version[0] == '\0' || strlen(version) > UPT_VERSION_MAX || strpbrk(version, " \t\r\n#") != NULL ||
         !upt_utf8_valid(version, strlen(version)))) {
        fprintf(stderr, "uptake fit: --version %s: one word of at most %d bytes of UTF-8 is wanted\n", version,
                UPT_VERSION_MAX);
        good = false;
    }
    f->every = f->at_n > 0 ? 0 : (int)every;
    options->segments_least = (size_t)least;
    options->ridge = (double)ridge / 1e6;
    options->no_segments = upt_option(given, n, "no-segments") != NULL;
    (void)snprintf(options->version, sizeof(options->version), "%s", version == NULL ? "fitted" : version);
    return good ? 0 : EX_USAGE;
}

/* ---- the file ---- */

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const struct upt_segment_shift *)a)->name, ((const struct upt_segment_shift *)b)->name);
}

/* To the decimals that are written. */
static bool
is_the_fit(const struct upt_model *got, const struct upt_model *model)
{
    double most = 0;
    for (int h = 0; h < 3; h++) {
        most = fmax(most, fabs(got->intercept[h] - model->intercept[h]));
    }
    for (int i = 0; i < UPT_R_FITTED; i++) {
        most = fmax(most, fabs(got->risk[i].weight - model->risk[i].weight));
        most = fmax(most, fabs(got->risk[i].mean - model->risk[i].mean));
    }
    for (int i = 0; i < UPT_RENEWED_TABLES; i++) {
        const struct upt_renewed *a = &got->renewed[i];
        const struct upt_renewed *b = &model->renewed[i];
        most = a->rows_n != b->rows_n || a->has_breadth != b->has_breadth ? 1 : most;
        for (size_t k = 0; k < a->rows_n && most < 1; k++) {
            most = fmax(most, fabs(a->share_of[k] - b->share_of[k]));
            most = fmax(most, fabs(a->quantile[k][0] - b->quantile[k][0]));
            most = a->has_breadth ? fmax(most, fabs(a->quantile[k][1] - b->quantile[k][1])) : most;
        }
    }
    return most < 1e-6 && strcmp(got->version, model->version) == 0 && got->segments_n == model->segments_n;
}

/* What was fitted may be beyond the limits of the file, which are those of model.c: then the old file stays. */
static upt_status
read_back(const char *path, const struct upt_model *model, struct upt_error *reterr)
{
    struct upt_model *got = NULL;
    struct upt_error err = {0};
    upt_status status = upt_model_load(path, &got, &err);
    if (status != UPT_OK) {
        status =
            upt_fail(reterr, UPT_EDATA, "no model that uptake would read: %.400s; a higher --ridge helps", err.msg);
    } else if (!is_the_fit(got, model)) {
        status = upt_fail(reterr, UPT_EDATA, "%.300s: does not hold what was fitted", path);
    }
    upt_model_destroy(&got);
    if (status != UPT_OK) {
        (void)unlink(path);
    }
    return status;
}

/* Comments above [risk], which `show --model` says, too. */
static void
put_notes(const struct upt_fitting *f, const size_t renewed[UPT_RENEWED_TABLES], struct upt_buf *out)
{
    char first[16], last[16];
    size_t outcomes[3] = {0};
    bool own[3] = {true};
    int32_t least = INT32_MAX, most = INT32_MIN;
    for (size_t i = 0; i < f->samples_n; i++) {
        const struct upt_fit_sample *s = &f->samples[i];
        outcomes[s->outcome[0]]++;
        least = s->day < least ? s->day : least;
        most = s->day > most ? s->day : most;
        for (int h = 1; h < 3; h++) {
            own[h] = own[h] || (s->outcome[h] != UPT_UNKNOWN && s->outcome[h] != s->outcome[0]);
        }
    }
    upt_format_day(least, first);
    upt_format_day(most, last);
    upt_buf_printf(out,
                   "# Written by uptake fit: ridge logistic regression, signs given, label %s.\n"
                   "# %zu samples of %zu accounts, of the days %s to %s; of %zu the outcome is known, %zu (%.1f%%) "
                   "left; the intercepts are those of this data.\n",
                   f->labelled ? "of a labelled file" : "silence, RENEWED, CHURNED", f->samples_n, f->accounts_n, first,
                   last, outcomes[UPT_LEFT] + outcomes[UPT_STAYED], outcomes[UPT_LEFT],
                   100.0 * (double)outcomes[UPT_LEFT] / (double)(outcomes[UPT_LEFT] + outcomes[UPT_STAYED]));
    if (!own[1] || !own[2]) {
        upt_buf_printf(out,
                       "# Not fitted: %s days, of which no outcome differs from that of 30; intercepts as there.\n",
                       own[1]   ? "90"
                       : own[2] ? "60"
                                : "60 and 90");
    }
    bool any = false;
    for (int i = 0; i < UPT_RENEWED_TABLES; i++) {
        if (renewed[i] > 0) {
            upt_buf_printf(out, "%s%zu accounts of up to %d", any ? ", " : "# [renewed]: by days before the renewal ",
                           renewed[i], upt_renewed_days[i]);
            any = true;
        }
    }
    upt_buf_puts(out, any ? ".\n" : "");
    upt_buf_put(out, "", 1);
}

static upt_status
write_model(const struct upt_model *model, const char *notes, const char *base, const char *path,
            struct upt_error *reterr)
{
    struct upt_buf text = {0};
    struct upt_buf out = {0};
    char beside[4096];
    upt_status status = base == NULL ? UPT_OK : upt_read_file(base, MODEL_MAX, &text, reterr);
    if (status == UPT_OK && snprintf(beside, sizeof(beside), "%s.new", path) >= (int)sizeof(beside)) {
        status = upt_fail(reterr, UPT_EINVAL, "%.60s…: too long a path", path);
    }
    if (status != UPT_OK) {
        upt_buf_fini(&text);
        return status;
    }
    upt_model_rewrite(base == NULL ? upt_model_shipped() : (struct upt_str){text.p, (uint32_t)text.len}, model, notes,
                      &out);
    FILE *file = fopen(beside, "wb");
    bool good =
        file != NULL && fwrite(out.p, 1, out.len, file) == out.len && fflush(file) == 0 && fsync(fileno(file)) == 0;
    good = file != NULL && fclose(file) == 0 && good;
    status = good ? read_back(beside, model, reterr) : upt_fail(reterr, UPT_EIO, "%s: %s", path, strerror(errno));
    if (status == UPT_OK && rename(beside, path) != 0) {
        status = upt_fail(reterr, UPT_EIO, "%s: %s", path, strerror(errno));
    }
    upt_buf_fini(&text);
    upt_buf_fini(&out);
    return status;
}

/* ---- the command ---- */

static upt_status
collect(struct upt_fitting *f, const char *events, const char *labels, const struct upt_config *config,
        struct upt_error *reterr)
{
    upt_status status = labels != NULL ? upt_fit_read_labels(f, labels, reterr) : UPT_OK;
    if (status == UPT_OK) {
        status = events != NULL ? upt_fit_read_csv(f, events, reterr) : upt_fit_read_log(f, config, reterr);
    }
    if (status == UPT_OK && labels != NULL && f->labels_met == 0) {
        return upt_fail(reterr, UPT_EDATA, "%.200s: none of its %zu accounts is in the events; allowed: names as there",
                        labels, f->labels_n);
    }
    if (status == UPT_OK) {
        upt_fitting_mature(f);
    }
    return status;
}

static upt_status
fit(struct upt_fitting *f, const struct upt_fit_options *options, const char *base, const char *path,
    struct upt_error *reterr)
{
    struct upt_buf notes = {0};
    size_t renewed[UPT_RENEWED_TABLES];
    struct upt_model *model = calloc(1, sizeof(*model));
    upt_assert(model != NULL);
    *model = *f->base;
    upt_status status = upt_fit(f->samples, f->samples_n, NULL, (const char(*)[UPT_MODEL_NAME_MAX + 1]) f->names,
                                f->names_n, options, model, reterr);
    if (status == UPT_OK) {
        qsort(model->segment, model->segments_n, sizeof(model->segment[0]), by_name);
        upt_fit_renewals(f, model, renewed);
        put_notes(f, renewed, &notes);
        status = write_model(model, notes.p, base, path, reterr);
    }
    upt_buf_fini(&notes);
    free(model);
    return status;
}

/* Whether what it needs can be read, and the model be written, before hours of work rather than after. */
static int
look(const char *const *inputs, size_t n, const char *output)
{
    char folder[4096];
    for (size_t i = 0; i < n; i++) {
        bool file = inputs[i] != NULL && strcmp(inputs[i], "-") != 0;
        if (file && access(inputs[i], R_OK) != 0) {
            fprintf(stderr, "uptake fit: %s: %s\n", inputs[i], strerror(errno));
            return EX_NOINPUT;
        }
    }
    const char *slash = strrchr(output, '/');
    size_t len = slash == NULL ? 1 : slash == output ? 1 : (size_t)(slash - output);
    if (len >= sizeof(folder)) {
        fprintf(stderr, "uptake fit: --output: too long a path\n");
        return EX_USAGE;
    }
    (void)snprintf(folder, sizeof(folder), "%.*s", (int)len, slash == NULL ? "." : output);
    if (access(folder, W_OK | X_OK) != 0) {
        fprintf(stderr, "uptake fit: %s: %s\n", output, strerror(errno));
        return EX_CANTCREAT;
    }
    /* The rename would put a file in the place of a device, or of a link and not of what it leads to. */
    struct stat there;
    if (lstat(output, &there) == 0 && !S_ISREG(there.st_mode)) {
        fprintf(stderr, "uptake fit: --output %s: a plain file is wanted, or a name that is free\n", output);
        return EX_CANTCREAT;
    }
    return 0;
}

static int
run(int argc, char **argv)
{
    struct upt_option options[] = {
        {.name = "c", .takes_value = true},
        {.name = "events", .takes_value = true},
        {.name = "labels", .takes_value = true},
        {.name = "base", .takes_value = true},
        {.name = "output", .takes_value = true},
        {.name = "every", .takes_value = true},
        {.name = "at", .takes_value = true},
        {.name = "keep", .takes_value = true},
        {.name = "ridge", .takes_value = true},
        {.name = "segments-least", .takes_value = true},
        {.name = "version", .takes_value = true},
        {.name = "no-segments"},
        {.name = "no-report"},
    };
    const size_t n = sizeof(options) / sizeof(options[0]);
    struct upt_fitting f = {0};
    struct upt_fit_options fitting = {0};
    struct upt_config *config = NULL;
    struct upt_error err;
    int rc = upt_options_parse(&upt_cmd_fit, argc, argv, options, n, NULL, 0, NULL);
    if (rc != 0) {
        return rc < 0 ? EX_OK : rc;
    }
    const char *events = upt_option(options, n, "events");
    const char *output = upt_option(options, n, "output");
    const char *base = upt_option(options, n, "base");
    rc = take_options(options, n, &f, &fitting);
    if (rc == 0 && output == NULL) {
        fprintf(stderr, "uptake fit: where to? --output FILE\n");
        rc = EX_USAGE;
    } else if (rc == 0 && (events == NULL) == (upt_option(options, n, "c") == NULL)) {
        fprintf(stderr, "uptake fit: either -c FILE or --events FILE is wanted\n");
        rc = EX_USAGE;
    }
    const char *const inputs[] = {events, upt_option(options, n, "labels"), base};
    rc = rc == 0 ? look(inputs, sizeof(inputs) / sizeof(inputs[0]), output) : rc;
    rc = rc == 0 && events == NULL ? upt_command_config(options, n, true, &config) : rc;
    if (rc != 0) {
        return rc;
    }
    upt_status status = upt_fitting_open(&f, base, &err);
    status = status == UPT_OK ? collect(&f, events, inputs[1], config, &err) : status;
    if (status == UPT_OK && upt_option(options, n, "no-report") == NULL) {
        status = upt_fit_report(&f, &fitting, &err);
    }
    status = status == UPT_OK ? fit(&f, &fitting, base, output, &err) : status;
    rc = status == UPT_OK ? EX_OK : upt_command_fail(&upt_cmd_fit, &err);
    upt_fitting_close(&f);
    upt_config_destroy(&config);
    return rc;
}

const struct upt_command upt_cmd_fit = {
    .name = "fit",
    .usage = "-c FILE|--events FILE --output FILE [--labels FILE] [--base FILE] …",
    .summary = "Fits the churn model from the log, or from files, into a model file.",
    .help =
        "  -c FILE            configuration, the one that `uptake run` has: reads the whole input topic\n"
        "  --events FILE      instead: lines account,day,FEATURE… or course,enrollment,day,FEATURE…, with a header;\n"
        "                     -: from standard input\n"
        "  --labels FILE      who left: lines account,churned[,day] or course,enrollment,churned, with a header, as\n"
        "                     `uptake generate --labels` writes them; columns after the day are not read.\n"
        "                     Without it: CHURNED and RENEWED, else silence of max(60 days, 4 times the 90th\n"
        "                     percentile of the account's own gaps)\n"
        "  --output FILE      the model file; `model_file` of the configuration takes it\n"
        "  --base FILE        what is not fitted is taken from here (default: the shipped model)\n"
        "  --every DAYS       a sample of each account so often (7); --at 10,20,30: on these days of the log instead\n"
        "  --keep NAMES       features whose weights stay those of the base\n"
        "  --ridge N          strength, in millionths a sample (1000); with 0 it may not converge, which is told\n"
        "  --segments-least N accounts that a segment must have to get a shift of its own (30); --no-segments\n"
        "  --version WORD     of the model (fitted)\n"
        "  --no-report        does not fit again and again to say how good it is on what was left out\n"
        "\n"
        "Prints AUC, lift of the highest tenth, Brier score, calibration by tenths and lead time, each on accounts,\n"
        "segments and time that were left out. Deterministic: the same log and options give the same file.\n"
        "Where 30 accounts or more renewed (RENEWED), how far their adoption had come by days before the renewal\n"
        "date goes into the file: adoption_percentile and RENEWAL_GAP compare with them, not with all that stayed.\n",
    .run = run,
};
