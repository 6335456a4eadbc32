/* The model file said in words, and beside it what has become of those of whom it foretold something, as the running
 * process counts it. The file is read here, not asked for: it can be looked at without a process; where the process
 * has read another one, that is said. The process is asked on its admin port, which knows the segments; Redis does not.
 * One thread. */
#include "ingest/show_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <curl/curl.h>
#include <jansson.h>

#include "aggregate/score/fit.h"
#include "aggregate/score/score.h"
#include "ingest/command.h"
#include "ingest/pipeline.h"
#include "ingest/topic_read.h"
#include "uptake/terminal.h"

#define FILE_MAX ((size_t)1024 * 1024)
#define ANSWER_MAX ((size_t)16 * 1024 * 1024)
#define TIMEOUT_S 5L

static const char *const words[UPT_R_FITTED] = {
    [UPT_R_GONE_ODDS] = "log-odds, by its record of activity, that it is gone for good",
    [UPT_R_SILENCE] = "days without use (log)",
    [UPT_R_OWN_SILENCE] = "days without use beside its own gaps",
    [UPT_R_SILENCE_X_GAP] = "days without use (log) times its typical gap (log)",
    [UPT_R_GAP_MEAN] = "typical gap between days of use (log of days)",
    [UPT_R_GAP_SPREAD] = "how much its gaps differ (standard deviation of the log)",
    [UPT_R_TENURE_DAYS] = "days since the first use (log), the first days",
    [UPT_R_TENURE_WEEKS] = "days since the first use (log), the weeks after",
    [UPT_R_ACTIVE_2D] = "days of use, half-life 2 days (log)",
    [UPT_R_FREQUENCY] = "days of use, half-life 10 days (log)",
    [UPT_R_FREQUENCY_21D] = "days of use, half-life 21 days (log)",
    [UPT_R_ACTIVE_WEEKS] = "weeks with use of the last five",
    [UPT_R_ACTIVE_DAYS] = "days of use (log)",
    [UPT_R_VOLUME_2D] = "uses, half-life 2 days (log)",
    [UPT_R_VOLUME] = "uses, half-life 21 days (log)",
    [UPT_R_DAY_VOLUME] = "uses on a day of use (log)",
    [UPT_R_BREADTH] = "features, by how often they are used",
    [UPT_R_SEAT_USE] = "share of the seats that people use",
};

static const char *const origins[UPT_ORIGINS] = {
    [UPT_FITTED] = "",
    [UPT_GIVEN] = "; weight chosen, not fitted",
    [UPT_UNSEEN] = "; chosen, the data does not show it",
};

/* ---- the file ---- */

struct shown {
    struct upt_model *model;
    struct upt_buf notes; /* the comments above [risk]: when and on what it was fitted */
    const char *path;     /* NULL: built in */
};

/* The comment lines directly above [risk], without their marks; `uptake fit` writes there what it was fitted to. */
static void
take_notes(struct upt_str text, struct upt_buf *out)
{
    uint32_t len = 0;
    for (uint32_t at = 0; at < text.len; at += len + 1) {
        const char *line = text.p + at;
        const char *end = memchr(line, '\n', text.len - at);
        len = end == NULL ? text.len - at : (uint32_t)(end - line);
        if (len == 6 && memcmp(line, "[risk]", 6) == 0) {
            break;
        }
        uint32_t marks = 0;
        while (marks < len && (line[marks] == '#' || line[marks] == ' ')) {
            marks++;
        }
        if (len == 0 || line[0] != '#') {
            upt_buf_clear(out);
        } else if (marks < len) {
            upt_buf_put(out, line + marks, len - marks);
            upt_buf_puts(out, "\n");
        }
    }
    upt_buf_put(out, "", 1);
}

static upt_status
read_model(const struct upt_config *config, struct shown *shown, struct upt_error *reterr)
{
    struct upt_buf text = {0};
    shown->path = config->model_file[0] != '\0' ? config->model_file : NULL;
    upt_status status = upt_model_load(shown->path, &shown->model, reterr);
    if (status == UPT_OK && shown->path != NULL) {
        status = upt_read_file(shown->path, FILE_MAX, &text, reterr);
    }
    if (status == UPT_OK) {
        take_notes(shown->path == NULL ? upt_model_shipped() : (struct upt_str){text.p, (uint32_t)text.len},
                   &shown->notes);
    }
    upt_buf_fini(&text);
    return status;
}

/* ---- the process ---- */

static size_t
take_bytes(char *p, size_t size, size_t n, void *ctx)
{
    struct upt_buf *body = ctx;
    if (body->len + size * n > ANSWER_MAX) {
        return 0;
    }
    upt_buf_put(body, p, size * n);
    return size * n;
}

/* http://HOST:PORT/status.json of this machine where the port listens on any address. False: nobody can tell. */
static bool
url_of(const char *listen, char *url, size_t cap, char *why, size_t why_cap)
{
    const char *colon = strrchr(listen, ':');
    if (colon == NULL || strcmp(listen, "off") == 0 || strcmp(colon, ":0") == 0) {
        (void)snprintf(why, why_cap, "admin.listen is %.100s", listen);
        return false;
    }
    bool any = colon == listen || strncmp(listen, "*:", 2) == 0 || strncmp(listen, "0.0.0.0:", 8) == 0;
    bool any6 = strncmp(listen, "[::]:", 5) == 0;
    const char *host = any ? "127.0.0.1" : any6 ? "[::1]" : listen;
    int len = any || any6 ? (int)strlen(host) : (int)(colon - listen);
    (void)snprintf(url, cap, "http://%.*s%s/status.json", len, host, colon);
    return true;
}

static struct curl_slist *
authorization(const struct upt_config *config, char *why, size_t why_cap)
{
    struct upt_buf token = {0};
    struct upt_error err;
    struct curl_slist *headers = NULL;
    char warning[320]; /* is `check`'s and `run`'s to tell */
    if (upt_config_token(config, &token, warning, sizeof(warning), &err) != UPT_OK) {
        (void)snprintf(why, why_cap, "%.200s", err.msg);
    } else {
        char line[4200];
        (void)snprintf(line, sizeof(line), "Authorization: Bearer %s", token.p);
        headers = curl_slist_append(NULL, line);
    }
    upt_buf_fini(&token);
    return headers;
}

/* The part `model` of /status.json; NULL: why says why not. */
static json_t *
ask(const struct upt_config *config, char *why, size_t why_cap)
{
    char url[512];
    struct upt_buf body = {0};
    struct curl_slist *headers = NULL;
    long code = 0;
    if (!url_of(config->admin_listen, url, sizeof(url), why, why_cap)) {
        return NULL;
    }
    if (config->admin_token_file[0] != '\0') {
        headers = authorization(config, why, why_cap);
        if (headers == NULL) {
            return NULL;
        }
    }
    CURL *curl = curl_easy_init();
    CURLcode got = curl == NULL ? CURLE_FAILED_INIT : CURLE_OK;
    if (curl != NULL) {
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_S);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
        got = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    }
    json_t *status = got == CURLE_OK && code == 200 ? json_loadb(body.p, body.len, JSON_ALLOW_NUL, NULL) : NULL;
    json_t *model = json_incref(json_object_get(status, "model"));
    if (got != CURLE_OK) {
        (void)snprintf(why, why_cap, "%.300s: %s", url, curl_easy_strerror(got));
    } else if (!json_is_object(model)) {
        (void)snprintf(why, why_cap, "%.300s: it answers %ld%s", url, code, code == 200 ? ", but not as uptake" : "");
    }
    json_decref(status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    upt_buf_fini(&body);
    return model;
}

/* ---- for a person ---- */

/* The probability of an account that is the mean in all. */
static double
of_the_mean(const struct upt_model *model, int horizon)
{
    double logit = model->intercept[horizon];
    for (int i = 0; i < UPT_R_FITTED; i++) {
        logit += model->risk[i].weight * model->risk[i].mean;
    }
    return 1 / (1 + exp(-logit));
}

/* Among whom adoption is compared, of accounts with a renewal date. */
static void
print_renewed(const struct upt_model *model)
{
    bool any = false;
    for (int i = 0; i < UPT_RENEWED_TABLES; i++) {
        if (model->renewed[i].rows_n > 0) {
            printf("%s%d to %d",
                   any ? ", " : "\nAdoption is compared with the accounts that renewed, at the same time: ",
                   i == 0 ? 0 : upt_renewed_days[i - 1] + 1, upt_renewed_days[i]);
            any = true;
        }
    }
    printf("%s", any ? " days before;\n  of accounts with no renewal date there with those that stayed\n" : "");
}

static void
print_model(const struct shown *shown)
{
    const struct upt_model *model = shown->model;
    printf("Model %s, hash %s, ", model->version, model->hash);
    if (shown->path == NULL) {
        printf("built in\n");
    } else {
        upt_print_text(stdout, shown->path, strlen(shown->path));
        printf("\n");
    }
    for (const char *p = shown->notes.p; *p != '\0'; p += strcspn(p, "\n") + 1) {
        fputs("  ", stdout);
        upt_print_text(stdout, p, strcspn(p, "\n"));
        printf("\n");
    }
    printf("\nHorizon       intercept  of an account that is the mean in all\n");
    for (int h = 0; h < 3; h++) {
        printf("  %d days   %+10.4f  %.1f%%\n", 30 * (h + 1), model->intercept[h], 100 * of_the_mean(model, h));
    }
    printf(
        "\nScore from confidence %.4g on, band from %.4g; CRITICAL below %.4g, AT_RISK below %.4g, WATCH below %.4g\n",
        model->confidence_floor, model->confidence_band, model->band_edge[0], model->band_edge[1], model->band_edge[2]);
    printf("\nRisk: log-odds for each unit above the mean\n  %9s  %9s  %15s\n", "weight", "mean", "counted within");
    for (int i = 0; i < UPT_R_FITTED; i++) {
        printf("  %+9.4f  %9.4f  %6.4g to %5.4g  %s%s\n", model->risk[i].weight, model->risk[i].mean,
               model->risk[i].least, model->risk[i].most, words[i], origins[model->risk[i].origin]);
    }
    printf("  between segments: standard deviation %.4f\n", model->segment_sd);
    for (size_t i = 0; i < model->segments_n; i++) {
        printf("  %+9.4f  of segment ", model->segment[i].shift);
        upt_print_text(stdout, model->segment[i].name, strlen(model->segment[i].name));
        printf(" (standard deviation %.4f)\n", model->segment[i].sd);
    }
    print_renewed(model);
}

static void
print_figure(const json_t *row, const char *name, int width, double times, int decimals)
{
    const json_t *value = json_object_get(row, name);
    if (json_is_number(value)) {
        printf("  %*.*f", width, decimals, times * json_number_value(value));
    } else {
        printf("  %*s", width, "-");
    }
}

static void
print_row(const json_t *row, const char *name)
{
    int columns = printf("  ") > 0 ? upt_print_text(stdout, name, strlen(name)) : 0;
    printf("%*s", columns < 24 ? 24 - columns : 0, "");
    print_figure(row, "outcomes", 8, 1, 0);
    print_figure(row, "left", 8, 1, 0);
    print_figure(row, "predicted", 8, 100, 1);
    print_figure(row, "observed", 8, 100, 1);
    print_figure(row, "auc", 6, 1, 3);
    print_figure(row, "calibration_error", 6, 1, 3);
    print_figure(row, "lead_days", 9, 1, 1);
    printf("\n");
}

static void
print_process(const struct upt_model *model, const json_t *process)
{
    size_t i;
    json_t *row;
    const json_t *all = json_object_get(process, "all");
    const char *hash = json_string_value(json_object_get(process, "hash"));
    const char *version = json_string_value(json_object_get(process, "version"));
    if (hash != NULL && version != NULL && strcmp(hash, model->hash) != 0) {
        fputs("\nThe running process uses another one: version ", stdout);
        upt_print_text(stdout, version, strlen(version));
        fputs(", hash ", stdout);
        upt_print_text(stdout, hash, strlen(hash));
        printf("; SIGHUP makes it read the file\n");
    }
    if (!json_is_object(all)) {
        printf("\nThe running process knows of no outcome yet: a 30-day risk has one 90 days after it.\n");
        return;
    }
    printf("\n30-day risks whose outcome is known, of the partitions that the running process has\n  "
           "%-24s%10s%10s%10s%10s%8s%8s%11s\n",
           "segment", "outcomes", "left", "foretold%", "left%", "AUC", "error", "lead, days");
    print_row(all, "all");
    json_array_foreach(json_object_get(process, "segments"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "segment"));
        print_row(row, name == NULL || name[0] == '\0' ? "(no segment)" : name);
    }
    printf("  error: mean |foretold - left| over tenths of the scale. lead: from a risk of at least 75%% to the last "
           "use.\n");
}

/* ---- as JSON ---- */

static void
put(json_t *object, const char *name, json_t *value)
{
    (void)json_object_set_new(object, name, value != NULL ? value : json_null());
}

static json_t *
model_json(const struct shown *shown)
{
    const struct upt_model *model = shown->model;
    json_t *all = json_object();
    json_t *horizons = json_array();
    json_t *features = json_array();
    json_t *segments = json_array();
    json_t *renewed = json_array();
    put(all, "version", json_string(model->version));
    put(all, "hash", json_string(model->hash));
    put(all, "file", shown->path == NULL ? NULL : json_string(shown->path));
    put(all, "fitted", json_string(shown->notes.p));
    put(all, "confidence_floor", json_real(model->confidence_floor));
    put(all, "confidence_band", json_real(model->confidence_band));
    put(all, "bands",
        json_pack("{s:f,s:f,s:f}", "critical_below", model->band_edge[0], "at_risk_below", model->band_edge[1],
                  "watch_below", model->band_edge[2]));
    put(all, "segment_sd", json_real(model->segment_sd));
    for (int h = 0; h < 3; h++) {
        (void)json_array_append_new(horizons, json_pack("{s:i,s:f,s:f}", "days", 30 * (h + 1), "intercept",
                                                        model->intercept[h], "mean", of_the_mean(model, h)));
    }
    for (int i = 0; i < UPT_R_FITTED; i++) {
        (void)json_array_append_new(
            features,
            json_pack("{s:s,s:s,s:f,s:f,s:f,s:f,s:s}", "name", upt_risk_names[i], "text", words[i], "weight",
                      model->risk[i].weight, "mean", model->risk[i].mean, "least", model->risk[i].least, "most",
                      model->risk[i].most, "origin",
                      model->risk[i].origin == UPT_FITTED ? "fitted" : upt_origin_names[model->risk[i].origin]));
    }
    for (size_t i = 0; i < model->segments_n; i++) {
        (void)json_array_append_new(segments, json_pack("{s:s,s:f,s:f}", "segment", model->segment[i].name, "shift",
                                                        model->segment[i].shift, "sd", model->segment[i].sd));
    }
    for (int i = 0; i < UPT_RENEWED_TABLES; i++) {
        if (model->renewed[i].rows_n > 0) {
            (void)json_array_append_new(
                renewed, json_pack("{s:i,s:i,s:b}", "from_days", i == 0 ? 0 : upt_renewed_days[i - 1] + 1, "to_days",
                                   upt_renewed_days[i], "breadth", (int)model->renewed[i].has_breadth));
        }
    }
    put(all, "renewed", renewed);
    put(all, "horizons", horizons);
    put(all, "features", features);
    put(all, "segments", segments);
    return all;
}

int
upt_show_model(const struct upt_config *config, bool json)
{
    struct shown shown = {0};
    struct upt_error err;
    char why[512] = "";
    upt_status status = read_model(config, &shown, &err);
    if (status != UPT_OK) {
        upt_model_destroy(&shown.model);
        upt_buf_fini(&shown.notes);
        return upt_command_fail(&upt_cmd_show, &err);
    }
    json_t *process = ask(config, why, sizeof(why));
    if (json) {
        json_t *all = json_object();
        put(all, "model", model_json(&shown));
        put(all, "process", json_incref(process));
        put(all, "no_process", process != NULL ? NULL : json_string(why));
        (void)json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
        printf("\n");
        json_decref(all);
    } else {
        print_model(&shown);
        if (process != NULL) {
            print_process(shown.model, process);
        } else {
            fputs("\nNothing of a running process: ", stdout);
            upt_print_text(stdout, why, strlen(why));
            printf("\n");
        }
    }
    json_decref(process);
    upt_model_destroy(&shown.model);
    upt_buf_fini(&shown.notes);
    return EX_OK;
}
