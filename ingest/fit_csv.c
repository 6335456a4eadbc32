/* Events and labels from text files with a header line, comma-separated, no quotes.
 *
 *     events: account,day,FEATURE…   or   course,enrollment,day,FEATURE…     a number in each: so many USAGE events
 *     labels: account,churned[,day…] or   course,enrollment,churned[,day…]   1: left; columns after the day: not read
 *
 * days as 2026-01-31; a file of `account,day` alone is one USAGE event a row. An account of the second form is
 * course-enrollment, its segment the course, and every course is moved to the first day of the first one: cohorts that
 * began at other times lie side by side. All events of a day are at noon. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/fitting.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define COLUMNS_MAX 64
#define LINE_MAX_BYTES 4096

struct usage {
    int32_t day;
    int32_t course; /* index; −1: none */
    char account[64];
    int count[COLUMNS_MAX];
};

struct csv {
    struct upt_fitting *f;
    const char *path;
    long line;
    FILE *file;
    bool courses;
    char feature[COLUMNS_MAX][64];
    int features_n;
    struct usage *v;
    size_t n, cap;
    struct {
        char name[UPT_MODEL_NAME_MAX + 1];
        int32_t first;
    } course[UPT_MODEL_SEGMENTS_MAX];
    int course_n;
    int columns_n; /* of a line of labels, at most */
    struct upt_error *err;
};

#define FAIL(csv, ...) (upt_fail((csv)->err, UPT_EDATA, __VA_ARGS__), upt_fail_at((csv)->err, (csv)->path, (csv)->line))

static upt_status
upt_fail_at(struct upt_error *err, const char *path, long line)
{
    char text[sizeof(err->msg)];
    (void)snprintf(text, sizeof(text), "%s", err->msg);
    return upt_fail(err, UPT_EDATA, "%.200s:%ld: %.400s", path, line, text);
}

static int
split(char *line, char **word, int most)
{
    int n = 0;
    for (char *p = line; n < most; n++) {
        word[n] = p;
        p = strchr(p, ',');
        if (p == NULL) {
            return n + 1;
        }
        *p++ = '\0';
    }
    return n + 1; /* one too many */
}

/* The next line without its end: *ret_more false at the end of the file. */
static upt_status
next_line(struct csv *csv, char *line, bool *ret_more)
{
    int c = getc(csv->file), n = 0;
    *ret_more = c != EOF;
    csv->line++;
    for (; c != EOF && c != '\n'; c = getc(csv->file)) {
        if (c == '\0') {
            return FAIL(csv, "a NUL byte; allowed: text, in UTF-8");
        }
        if (n == LINE_MAX_BYTES - 1) {
            return FAIL(csv, "too long a line; allowed: %d bytes", LINE_MAX_BYTES - 1);
        }
        line[n++] = (char)c;
    }
    n -= n > 0 && line[n - 1] == '\r';
    line[n] = '\0';
    return ferror(csv->file) != 0 ? FAIL(csv, "%s", strerror(errno)) : UPT_OK;
}

static upt_status
open_file(struct csv *csv, char *line, char **word, int *ret_n)
{
    static const char mark[] = "\xEF\xBB\xBF"; /* spreadsheets put it before the first column's name */
    bool more;
    csv->file = strcmp(csv->path, "-") == 0 ? stdin : fopen(csv->path, "r");
    if (csv->file == NULL) {
        return upt_fail(csv->err, UPT_EINVAL, "%s: %s", csv->path, strerror(errno));
    }
    upt_status status = next_line(csv, line, &more);
    if (status != UPT_OK || !more) {
        return status != UPT_OK ? status : FAIL(csv, "empty; allowed: a header line");
    }
    *ret_n = split(line + (strncmp(line, mark, 3) == 0 ? 3 : 0), word, COLUMNS_MAX);
    csv->courses = *ret_n >= 3 && strcmp(word[0], "course") == 0 && strcmp(word[1], "enrollment") == 0;
    if (!csv->courses && (*ret_n < 2 || strcmp(word[0], "account") != 0)) {
        return FAIL(csv, "%.60s: allowed: columns account, or course,enrollment, first", word[0]);
    }
    return UPT_OK;
}

static upt_status
name_account(struct csv *csv, char **word, char *out, size_t cap)
{
    int n = csv->courses ? snprintf(out, cap, "%s-%s", word[0], word[1]) : snprintf(out, cap, "%s", word[0]);
    return n > 0 && (size_t)n < cap && word[0][0] != '\0'
               ? UPT_OK
               : FAIL(csv, "%.60s: allowed: names of accounts of 1 to %zu bytes", word[0], cap - 1);
}

static upt_status
course_of(struct csv *csv, const char *name, int32_t day, int32_t *ret)
{
    for (int i = 0; i < csv->course_n; i++) {
        if (strcmp(csv->course[i].name, name) == 0) {
            csv->course[i].first = day < csv->course[i].first ? day : csv->course[i].first;
            *ret = i;
            return UPT_OK;
        }
    }
    if (csv->course_n == UPT_MODEL_SEGMENTS_MAX || strlen(name) > UPT_MODEL_NAME_MAX ||
        !upt_utf8_valid(name, strlen(name))) {
        return FAIL(csv, "%.60s: allowed: at most %d courses, names of at most %d bytes of UTF-8", name,
                    UPT_MODEL_SEGMENTS_MAX, UPT_MODEL_NAME_MAX);
    }
    memcpy(csv->course[csv->course_n].name, name, strlen(name) + 1);
    csv->course[csv->course_n].first = day;
    *ret = csv->course_n++;
    return UPT_OK;
}

static upt_status
read_row(struct csv *csv, char *line)
{
    char *word[COLUMNS_MAX];
    int key = csv->courses ? 2 : 1;
    int64_t day = 0;
    int n = split(line, word, COLUMNS_MAX);
    if (n != key + 1 + csv->features_n) {
        return FAIL(csv, "%d columns; allowed: %d, as in the header", n, key + 1 + csv->features_n);
    }
    if (!upt_parse_day(word[key], (uint32_t)strlen(word[key]), &day)) {
        return FAIL(csv, "%.60s: allowed: a day as 2026-01-31", word[key]);
    }
    if (csv->n == csv->cap) {
        csv->cap = csv->cap == 0 ? 4096 : 2 * csv->cap;
        csv->v = realloc(csv->v, csv->cap * sizeof(*csv->v));
        upt_assert(csv->v != NULL);
    }
    struct usage *u = &csv->v[csv->n++];
    *u = (struct usage){.day = (int32_t)day, .course = -1};
    upt_status status = name_account(csv, word, u->account, sizeof(u->account));
    if (status == UPT_OK && csv->courses) {
        status = course_of(csv, word[0], u->day, &u->course);
    }
    for (int i = 0; status == UPT_OK && i < csv->features_n; i++) {
        char *end = NULL;
        const char *text = word[key + 1 + i];
        long count = strtol(text, &end, 10);
        if (end == text || *end != '\0' || count < 0 || count > 10000000) {
            return FAIL(csv, "%s %.60s: allowed: a whole number from 0 to 10000000", csv->feature[i], text);
        }
        u->count[i] = (int)count;
    }
    if (csv->features_n == 0) {
        u->count[0] = 1;
    }
    return status;
}

static upt_status
read_rows(struct csv *csv)
{
    char line[LINE_MAX_BYTES];
    char *word[COLUMNS_MAX];
    int n = 0;
    upt_status status = open_file(csv, line, word, &n);
    int key = csv->courses ? 2 : 1;
    if (status == UPT_OK && (n > COLUMNS_MAX - 1 || n < key + 1 || strcmp(word[key], "day") != 0)) {
        status = FAIL(csv, "allowed: a column day, then at most %d features", COLUMNS_MAX - 4);
    }
    for (int i = key + 1; status == UPT_OK && i < n; i++) {
        if (word[i][0] == '\0' || word[i][0] == '_' || strlen(word[i]) > 63) {
            return FAIL(csv, "%.80s: allowed: names of features of 1 to 63 bytes, not beginning with _", word[i]);
        }
        (void)snprintf(csv->feature[csv->features_n++], sizeof(csv->feature[0]), "%s", word[i]);
    }
    for (bool more = true; status == UPT_OK && more;) {
        status = next_line(csv, line, &more);
        status = status == UPT_OK && more ? read_row(csv, line) : status;
    }
    return status;
}

static int
by_day(const void *a, const void *b)
{
    const struct usage *x = a;
    const struct usage *y = b;
    return x->day != y->day ? (x->day < y->day ? -1 : 1) : strcmp(x->account, y->account);
}

static void
apply(struct csv *csv, struct upt_event *ev, int64_t *offset)
{
    upt_state_begin(csv->f->st, (*offset)++, ev->occurred_at);
    if (upt_state_judge(csv->f->st, ev, ev->occurred_at) == UPT_REASON_NONE) {
        (void)upt_state_apply(csv->f->st, ev->account_id, ev);
    }
}

/* The account's segment, as a PROFILE event: an Avro map of one entry. */
static void
profile(struct csv *csv, const struct usage *u, int64_t *offset)
{
    const char *course = csv->course[u->course].name;
    char raw[16 + UPT_MODEL_NAME_MAX];
    size_t len = strlen(course);
    size_t at = 0;
    raw[at++] = 2;
    raw[at++] = 14;
    memcpy(raw + at, "segment", 7);
    at += 7;
    if (len >= 64) {
        raw[at++] = (char)0x80;
        raw[at++] = 1;
    } else {
        raw[at++] = (char)(2 * len);
    }
    memcpy(raw + at, course, len);
    at += len;
    raw[at++] = 0;
    struct upt_event ev = {.event_id = UPT_STR(""),
                           .account_id = upt_str_of(u->account),
                           .occurred_at = u->day * UPT_DAY_MS + 12 * UPT_HOUR_MS,
                           .quantity = 1,
                           .kind = UPT_KIND_PROFILE,
                           .properties = {.raw = {raw, (uint32_t)at}}};
    apply(csv, &ev, offset);
}

static void
replay(struct csv *csv)
{
    int64_t offset = 0;
    int32_t first = csv->course_n > 0 ? csv->course[0].first : 0;
    for (size_t i = 0; i < csv->n; i++) {
        struct usage *u = &csv->v[i];
        u->day += u->course >= 0 ? first - csv->course[u->course].first : 0;
    }
    if (csv->n > 0) {
        qsort(csv->v, csv->n, sizeof(*csv->v), by_day);
    }
    for (size_t i = 0; i < csv->n; i++) {
        const struct usage *u = &csv->v[i];
        if (u->course >= 0) {
            profile(csv, u, &offset);
        }
        for (int k = 0; k < (csv->features_n > 0 ? csv->features_n : 1); k++) {
            struct upt_event ev = {.event_id = UPT_STR(""),
                                   .account_id = upt_str_of(u->account),
                                   .feature = csv->features_n > 0 ? upt_str_of(csv->feature[k]) : UPT_STR_NULL,
                                   .occurred_at = u->day * UPT_DAY_MS + 12 * UPT_HOUR_MS,
                                   .quantity = 1,
                                   .kind = UPT_KIND_USAGE};
            for (int n = 0; n < u->count[k]; n++) {
                apply(csv, &ev, &offset);
            }
        }
    }
}

upt_status
upt_fit_read_csv(struct upt_fitting *f, const char *path, struct upt_error *reterr)
{
    struct csv *csv = calloc(1, sizeof(*csv));
    upt_assert(csv != NULL);
    *csv = (struct csv){.f = f, .path = path, .err = reterr};
    upt_status status = read_rows(csv);
    if (status == UPT_OK) {
        status = upt_fitting_begin(f, 0, reterr);
    }
    if (status == UPT_OK) {
        replay(csv);
        status = upt_fitting_end(f, true, reterr);
    }
    if (csv->file != NULL && csv->file != stdin) {
        (void)fclose(csv->file);
    }
    free(csv->v);
    free(csv);
    return status;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const struct upt_fit_label *)a)->account, ((const struct upt_fit_label *)b)->account);
}

static upt_status
read_label(struct csv *csv, char *line, size_t *cap)
{
    char *word[COLUMNS_MAX];
    char account[UPT_KEY_MAX + 1];
    int key = csv->courses ? 2 : 1;
    int n = split(line, word, COLUMNS_MAX);
    int64_t day = UPT_FIT_NO_DAY;
    struct upt_fitting *f = csv->f;
    if (n < key + 1 || n > csv->columns_n || (strcmp(word[key], "0") != 0 && strcmp(word[key], "1") != 0)) {
        return FAIL(csv, "allowed: churned 0 or 1, then perhaps the day");
    }
    if (n >= key + 2 && word[key + 1][0] != '\0' &&
        !upt_parse_day(word[key + 1], (uint32_t)strlen(word[key + 1]), &day)) {
        return FAIL(csv, "%.60s: allowed: a day as 2026-01-31", word[key + 1]);
    }
    upt_status status = name_account(csv, word, account, sizeof(account));
    if (status != UPT_OK) {
        return status;
    }
    if (f->labels_n == *cap) {
        *cap = *cap == 0 ? 4096 : 2 * *cap;
        f->labels = realloc(f->labels, *cap * sizeof(*f->labels));
        upt_assert(f->labels != NULL);
    }
    char *copy = strdup(account);
    upt_assert(copy != NULL);
    f->labels[f->labels_n++] =
        (struct upt_fit_label){.account = copy, .churned = word[key][0] == '1', .day = (int32_t)day};
    return UPT_OK;
}

upt_status
upt_fit_read_labels(struct upt_fitting *f, const char *path, struct upt_error *reterr)
{
    struct csv *csv = calloc(1, sizeof(*csv));
    upt_assert(csv != NULL);
    *csv = (struct csv){.f = f, .path = path, .err = reterr};
    char line[LINE_MAX_BYTES];
    char *word[COLUMNS_MAX];
    int n = 0;
    size_t cap = 0;
    upt_status status = open_file(csv, line, word, &n);
    int key = csv->courses ? 2 : 1;
    if (status == UPT_OK && (n < key + 1 || strcmp(word[key], "churned") != 0)) {
        status = FAIL(csv, "allowed: a column churned after the account");
    } else if (status == UPT_OK && n > key + 2 && strcmp(word[key + 1], "day") != 0) {
        status = FAIL(csv, "%.60s: allowed: a column day after churned, then any others", word[key + 1]);
    }
    csv->columns_n = n > key + 2 ? n : key + 2;
    for (bool more = true; status == UPT_OK && more;) {
        status = next_line(csv, line, &more);
        status = status == UPT_OK && more ? read_label(csv, line, &cap) : status;
    }
    if (status == UPT_OK) {
        if (f->labels_n > 0) {
            qsort(f->labels, f->labels_n, sizeof(*f->labels), by_name);
        }
        f->labelled = true;
    }
    if (csv->file != NULL && csv->file != stdin) {
        (void)fclose(csv->file);
    }
    free(csv);
    return status;
}
