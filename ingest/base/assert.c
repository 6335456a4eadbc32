/* The end of a process whose own invariants do not hold.
 *
 * Writes with write(2), not stdio: the heap or a stdio lock may be what broke. abort() leaves a core; the state is a
 * function of the log, so a restart loses nothing. Any thread. */
#include "uptake/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void
upt_panic(const char *file, int line, const char *what)
{
    char text[512];
    const char *slash = strrchr(file, '/');
    int n =
        snprintf(text, sizeof(text), "uptake: %s:%d: cannot go on: %s\n", slash == NULL ? file : slash + 1, line, what);
    if (n > 0) {
        size_t len = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
        if (write(STDERR_FILENO, text, len) < 0) {
            abort();
        }
    }
    abort();
}
