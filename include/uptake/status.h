/* Status codes and error details that every room returns.
 *
 * A fallible function returns upt_status and puts details into a caller-owned struct upt_error, its last parameter
 * (may be NULL). Library code returns; only the owning loop or a command logs, once. */
#ifndef UPT_STATUS_H
#define UPT_STATUS_H

#if defined(__GNUC__)
#define UPT_NODISCARD __attribute__((warn_unused_result))
#define UPT_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#else
#define UPT_NODISCARD
#define UPT_PRINTF(fmt, first)
#endif

typedef enum upt_status {
    UPT_OK = 0,
    UPT_EINVAL,    /* bad argument or configuration: EX_CONFIG */
    UPT_ENOMEM,    /* out of memory: EX_OSERR */
    UPT_EIO,       /* an operating-system call failed: EX_IOERR */
    UPT_EAGAIN,    /* not now (full, empty, would block): EX_TEMPFAIL */
    UPT_EDATA,     /* bytes that do not mean what they should: EX_DATAERR */
    UPT_ENOTFOUND, /* the other side says that there is none: EX_UNAVAILABLE */
    UPT_EAUTH,     /* credentials refused: EX_NOPERM */
    UPT_EUNAVAIL,  /* the other side is away or timed out: EX_UNAVAILABLE */
    UPT_EFENCED,   /* another process owns this now: EX_UNAVAILABLE */
} upt_status;

struct upt_error {
    upt_status code;
    char msg[512];
};

/* Fills *err (if not NULL) and returns code, so that `return upt_fail(err, UPT_EINVAL, "…")` reads well. */
upt_status upt_fail(struct upt_error *err, upt_status code, const char *fmt, ...) UPT_PRINTF(3, 4);

/* The sysexits.h code for a status. */
int upt_exit_code(upt_status code);

#endif
