/* The name of a thread, for top -H, perf and debuggers: at most 15 bytes. */
#ifndef UPT_THREAD_H
#define UPT_THREAD_H

#include <sys/prctl.h>

static inline void
upt_thread_name(const char *name)
{
    (void)prctl(PR_SET_NAME, name, 0, 0, 0);
}

#endif
