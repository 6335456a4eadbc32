/* Takes an instance name by locking a file. See instance.h.
 *
 * The kernel frees the lock when the process dies, however it dies, so a restarted process gets the same number again
 * and with it its static membership and its transactional ids: nothing moves in the group, and what it had left open is
 * ended at once. A port or a pid file would not free itself. */
#include "ingest/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uptake/str.h"

#define NUMBERS_MAX 1000

/* 1: taken, 0: in use, −1: cannot be tried. */
static int
try_lock(const struct upt_config *config, const char *name, int *ret_fd)
{
    const char *dir = getenv("TMPDIR");
    char path[512];
    uint64_t where = upt_hash(name, strlen(name));
    for (size_t i = 0; i < config->kafka_n; i++) {
        const char *property = config->kafka[i].name; /* one of the two is given */
        if (strcmp(property, "bootstrap.servers") == 0 || strcmp(property, "metadata.broker.list") == 0) {
            where ^= upt_hash(config->kafka[i].value, strlen(config->kafka[i].value));
        }
    }
    snprintf(path, sizeof(path), "%s/uptake-%u-%016llx.lock", dir != NULL ? dir : "/tmp", (unsigned)getuid(),
             (unsigned long long)where);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return errno == EWOULDBLOCK ? 0 : -1;
    }
    *ret_fd = fd;
    return 1;
}

upt_status
upt_instance_take(const struct upt_config *config, struct upt_instance *ret, struct upt_error *reterr)
{
    char host[64] = "host";
    ret->lock_fd = -1;
    if (config->instance[0] != '\0') {
        snprintf(ret->name, sizeof(ret->name), "%s-%s", config->group, config->instance);
        if (try_lock(config, ret->name, &ret->lock_fd) == 0) {
            return upt_fail(reterr, UPT_EINVAL,
                            "instance %s of group %s is in use by another process on this host; give each "
                            "process its own `instance`, or none",
                            config->instance, config->group);
        }
        return UPT_OK;
    }
    (void)gethostname(host, sizeof(host) - 1);
    for (int n = 0; n < NUMBERS_MAX; n++) {
        snprintf(ret->name, sizeof(ret->name), "%s-%s-%d", config->group, host, n);
        int got = try_lock(config, ret->name, &ret->lock_fd);
        if (got > 0) {
            return UPT_OK;
        }
        if (got < 0) {
            return upt_fail(reterr, UPT_EIO, "cannot lock a file in %s: %s; set TMPDIR to a writable directory",
                            getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp", strerror(errno));
        }
    }
    return upt_fail(reterr, UPT_EINVAL, "%d processes of group %s run on this host already", NUMBERS_MAX,
                    config->group);
}

void
upt_instance_release(struct upt_instance *instance)
{
    if (instance->lock_fd >= 0) {
        close(instance->lock_fd);
        instance->lock_fd = -1;
    }
}
