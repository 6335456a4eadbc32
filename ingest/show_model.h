/* `uptake show --model`: the score model in use, and how it does in the running process. */
#ifndef UPT_SHOW_MODEL_H
#define UPT_SHOW_MODEL_H

#include <stdbool.h>

#include "uptake/config.h"

/* Prints; returns the exit code. A process that cannot be asked is told in one line and is no failure. */
int upt_show_model(const struct upt_config *config, bool json);

#endif
