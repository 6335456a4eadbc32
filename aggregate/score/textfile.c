/* Reads a small configuration file in one go, with a limit, so that a wrong path (a device, a log) cannot fill memory.
 * No state. */
#include "textfile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

upt_status
upt_text_read(const char *path, struct upt_buf *out, struct upt_error *reterr)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return upt_fail(reterr, UPT_EINVAL, "%s: %s", path, strerror(errno));
    }
    size_t got = 0;
    do {
        char *room = upt_buf_reserve(out, 16384);
        got = fread(room, 1, 16384, file);
        out->len += got;
    } while (got > 0 && out->len <= UPT_TEXT_MAX);
    bool bad = ferror(file) != 0;
    (void)fclose(file);
    if (bad) {
        return upt_fail(reterr, UPT_EIO, "%s: cannot be read", path);
    }
    if (out->len > UPT_TEXT_MAX) {
        return upt_fail(reterr, UPT_EINVAL, "%s: over %d bytes", path, UPT_TEXT_MAX);
    }
    return UPT_OK;
}

upt_status
upt_text_fail(struct upt_error *err, const char *path, int line, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return upt_fail(err, UPT_EINVAL, "%s:%d: %s", path, line, text);
}
