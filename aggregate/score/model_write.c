/* Writes a model file anew: the base's text with another version, [risk], [segments] and [renewed]; everything else,
 * comments too, stays as it is, so that diff shows what a fit has changed. Also how names of segments become words of
 * the file. Pure. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "fit.h"

extern const unsigned char upt_default_model[];
extern const size_t upt_default_model_len;

void
upt_model_escape(const char *name, char *out)
{
    for (const char *p = name; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                     c == '_' || c == '.';
        static const char hex[] = "0123456789ABCDEF";
        if (plain) {
            *out++ = *p;
        } else {
            *out++ = '%';
            *out++ = hex[c >> 4];
            *out++ = hex[c & 15];
        }
    }
    *out = '\0';
}

bool
upt_model_unescape(const char *word, char name[UPT_MODEL_NAME_MAX + 1])
{
    size_t n = 0;
    for (const char *p = word; *p != '\0'; p++, n++) {
        unsigned byte = (unsigned char)*p;
        if (n == UPT_MODEL_NAME_MAX) {
            return false;
        }
        if (*p == '%') {
            if (!isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]) || sscanf(p + 1, "%2x", &byte) != 1 ||
                byte == 0) {
                return false;
            }
            p += 2;
        }
        name[n] = (char)(unsigned char)byte;
    }
    name[n] = '\0';
    return n > 0;
}

static void
put_risk(const struct upt_model *model, const char *notes, struct upt_buf *out)
{
    upt_buf_printf(out, "\n%s[risk]\n", notes);
    for (int h = 0; h < 3; h++) {
        upt_buf_printf(out, "intercept_%dd %.6f\n", 30 * (h + 1), model->intercept[h]);
    }
    upt_buf_printf(out, "# Standard deviation of the log-odds between segments.\nsegment_sd %.6f\n", model->segment_sd);
    upt_buf_puts(
        out,
        "# given: the weight is chosen, not fitted; unseen: the mean, too, since the data never shows the feature.\n"
        "#             weight mean least most\n");
    for (int i = 0; i < UPT_R_FITTED; i++) {
        upt_buf_printf(out, "%-13s %.6f %.6f %.10g %.10g%s%s\n", upt_risk_names[i], model->risk[i].weight,
                       model->risk[i].mean, model->risk[i].least, model->risk[i].most,
                       model->risk[i].origin == UPT_FITTED ? "" : " ", upt_origin_names[model->risk[i].origin]);
    }
    if (model->segments_n > 0) {
        upt_buf_puts(out, "\n# What a segment adds to the log-odds, shrunk towards 0, and its standard deviation.\n"
                          "[segments]\n# name shift sd\n");
    }
    for (size_t i = 0; i < model->segments_n; i++) {
        char word[3 * UPT_MODEL_NAME_MAX + 1];
        upt_model_escape(model->segment[i].name, word);
        upt_buf_printf(out, "%s %.6f %.6f\n", word, model->segment[i].shift, model->segment[i].sd);
    }
}

static void
put_renewed(const struct upt_model *model, struct upt_buf *out)
{
    if (model->has_renewed) {
        upt_buf_puts(
            out, "\n# Percentiles among the accounts that renewed, at so many days before their renewal date: up to "
                 "30, 31 to 60, 61 to 90, 91 to 180.\n[renewed]\n# days share frequency_21d breadth\n");
    }
    for (int i = 0; i < UPT_RENEWED_TABLES; i++) {
        const struct upt_renewed *table = &model->renewed[i];
        for (size_t k = 0; k < table->rows_n; k++) {
            upt_buf_printf(out, "%d %.10g %.10g", upt_renewed_days[i], table->share_of[k], table->quantile[k][0]);
            if (table->has_breadth) {
                upt_buf_printf(out, " %.10g", table->quantile[k][1]);
            }
            upt_buf_puts(out, "\n");
        }
    }
}

/* The first word of a line as the loader splits it, empty where there is but a comment. */
static struct upt_str
first_word(const char *p, uint32_t len)
{
    uint32_t at = 0;
    while (at < len && strchr(" \t\r\n", p[at]) != NULL) {
        at++;
    }
    uint32_t from = at;
    while (at < len && strchr(" \t\r\n#", p[at]) == NULL) {
        at++;
    }
    return (struct upt_str){p + from, at - from};
}

/* A name of a segment may begin with a bracket, too, but two numbers follow. */
static bool
is_section(struct upt_str word, const char *end)
{
    const char *after = word.p + word.len;
    return word.len > 0 && word.p[0] == '[' && first_word(after, (uint32_t)(end - after)).len == 0;
}

/* Copies a block: the comments above a section, the section. The version line is made anew. */
static void
put_block(struct upt_str block, const struct upt_model *model, struct upt_buf *out)
{
    for (uint32_t at = 0; at < block.len;) {
        const char *end = memchr(block.p + at, '\n', block.len - at);
        uint32_t len = end == NULL ? block.len - at : (uint32_t)(end + 1 - (block.p + at));
        if (upt_str_eq(first_word(block.p + at, len), UPT_STR("version"))) {
            upt_buf_printf(out, "version %s\n", model->version);
        } else {
            upt_buf_put(out, block.p + at, len);
        }
        at += len;
    }
}

/* Comments and empty lines directly above a section belong to it. */
void
upt_model_rewrite(struct upt_str base, const struct upt_model *model, const char *notes, struct upt_buf *out)
{
    enum { OTHER, RISK, MADE_WITH_RISK } kind = OTHER;
    uint32_t from = 0; /* of the block */
    uint32_t run = 0;  /* where the comments above this line begin */
    for (uint32_t at = 0; at <= base.len;) {
        const char *p = base.p + at;
        const char *end = at == base.len ? NULL : memchr(p, '\n', base.len - at);
        uint32_t len = end == NULL ? base.len - at : (uint32_t)(end + 1 - p);
        bool last = at == base.len;
        struct upt_str word = first_word(p, len);
        if (last || is_section(word, p + len)) {
            uint32_t upto = last ? base.len : run;
            if (kind == OTHER) {
                put_block((struct upt_str){base.p + from, upto - from}, model, out);
            } else if (kind == RISK) {
                put_risk(model, notes, out);
                put_renewed(model, out);
            }
            from = upto;
            bool with = upt_str_eq(word, UPT_STR("[segments]")) || upt_str_eq(word, UPT_STR("[renewed]"));
            kind = upt_str_eq(word, UPT_STR("[risk]")) ? RISK : with ? MADE_WITH_RISK : OTHER;
        }
        at += last ? 1 : len;
        run = last || word.len == 0 ? run : at;
    }
}

struct upt_str
upt_model_shipped(void)
{
    return (struct upt_str){(const char *)upt_default_model, (uint32_t)upt_default_model_len};
}
