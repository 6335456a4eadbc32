/* Status codes to messages and exit codes.
 *
 * The message is formatted into a local buffer first: callers wrap an inner error by passing its own text as an
 * argument, and formatting in place would read what it is writing.
 * Any thread; the error belongs to the caller. */
#include "uptake/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "ingest/base/utf8.h"

/* Cuts a character that truncation split, so that the message stays UTF-8. */
static void
trim_partial(char *msg, size_t len)
{
    size_t i = len;
    while (i > 0 && len - i < 3 && ((unsigned char)msg[i - 1] & 0xC0U) == 0x80U) {
        i--;
    }
    if (i == 0) {
        return;
    }
    unsigned char lead = (unsigned char)msg[i - 1];
    size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (len - (i - 1) < want) {
        msg[i - 1] = '\0';
    }
}

/* One line of UTF-8 whatever was put into it: bytes of a file, of a server. Such bytes also steer terminals. */
static void
make_plain(char *msg)
{
    unsigned char *p = (unsigned char *)msg;
    for (size_t left = strlen(msg); left > 0;) {
        size_t len = upt_utf8_sequence(p, left);
        bool control = *p < 0x20 || *p == 0x7F || (len == 2 && p[0] == 0xC2 && p[1] < 0xA0);
        len = len > 0 ? len : 1;
        if (control || (len == 1 && *p >= 0x80)) {
            memset(p, *p == '\n' || *p == '\t' ? ' ' : '?', len);
        }
        p += len;
        left -= len;
    }
}

upt_status
upt_fail(struct upt_error *err, upt_status code, const char *fmt, ...)
{
    if (err == NULL) {
        return code;
    }
    struct upt_error made = {.code = code};
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(made.msg, sizeof(made.msg), fmt, args);
    va_end(args);
    if (n >= (int)sizeof(made.msg)) {
        trim_partial(made.msg, sizeof(made.msg) - 1);
    }
    make_plain(made.msg);
    *err = made;
    return code;
}

int
upt_exit_code(upt_status code)
{
    switch (code) {
    case UPT_OK:
        return EX_OK;
    case UPT_EINVAL:
        return EX_CONFIG;
    case UPT_ENOMEM:
        return EX_OSERR;
    case UPT_EIO:
        return EX_IOERR;
    case UPT_EAGAIN:
        return EX_TEMPFAIL;
    case UPT_EDATA:
        return EX_DATAERR;
    case UPT_EAUTH:
        return EX_NOPERM;
    case UPT_ENOTFOUND:
    case UPT_EUNAVAIL:
    case UPT_EFENCED:
        return EX_UNAVAILABLE;
    }
    return EX_SOFTWARE;
}
