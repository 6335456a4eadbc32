/* The name of this process in its group: as configured, or the host name and the first number free on that host. */
#ifndef UPT_INSTANCE_H
#define UPT_INSTANCE_H

#include "uptake/config.h"
#include "uptake/status.h"

struct upt_instance {
    char name[256]; /* "{group}-{instance}" */
    int lock_fd;    /* holds the name on this host until the process ends */
};

UPT_NODISCARD upt_status upt_instance_take(const struct upt_config *config, struct upt_instance *ret,
                                           struct upt_error *reterr);
void upt_instance_release(struct upt_instance *instance);

#endif
