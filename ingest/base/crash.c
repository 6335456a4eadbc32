/* Crash points for tests. See uptake/crash.h. */
#include "uptake/crash.h"

#ifdef UPT_CRASH_POINTS

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char wanted[128];
static long left;
static int sig = SIGKILL;

static void
read_environment(void)
{
    const char *spec = getenv("UPTAKE_CRASH");
    if (spec == NULL) {
        return;
    }
    const char *colon = strchr(spec, ':');
    size_t len = colon != NULL ? (size_t)(colon - spec) : strlen(spec);
    if (len >= sizeof(wanted)) {
        return;
    }
    memcpy(wanted, spec, len);
    left = colon != NULL ? strtol(colon + 1, NULL, 10) : 1;
    if (strstr(spec, ":stop") != NULL) {
        sig = SIGSTOP;
    }
}

void
upt_crash_point_hit(const char *name)
{
    pthread_once(&once, read_environment);
    if (wanted[0] == '\0' || strcmp(name, wanted) != 0) {
        return;
    }
    pthread_mutex_lock(&lock);
    bool now = left > 0 && --left == 0;
    pthread_mutex_unlock(&lock);
    if (now) {
        dprintf(STDERR_FILENO, "crash point %s\n", name);
        kill(getpid(), sig);
    }
}

#else

typedef int upt_crash_points_are_not_built_in;

#endif
