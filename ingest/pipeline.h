/* The pipeline: what lanes share, their start and end, and the signals. `run` and `demo` drive it. */
#ifndef UPT_PIPELINE_H
#define UPT_PIPELINE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "uptake/board.h"
#include "uptake/config.h"
#include "uptake/status.h"

struct upt_pipeline_options {
    bool until_end;
    bool exact_port; /* the admin port is admin.listen's, or the start fails */
    int64_t for_ms;  /* end by itself after this time; 0: never */
    /* Called about every 100 ms on the main thread; may be NULL. False ends the pipeline. */
    bool (*idle)(void *ctx);
    void *ctx;
    void (*started)(void *ctx, unsigned admin_port); /* lanes run and the admin port listens; may be NULL */
};

/* Runs until SIGTERM or SIGINT (drains), the end of the log (until_end) or a fault. A second signal, a second
 * or more after the first, ends at once. SIGHUP re-reads rules, model and log level. */
UPT_NODISCARD upt_status upt_pipeline_run(struct upt_config *config, const struct upt_pipeline_options *options,
                                          struct upt_error *reterr);

/* Loads rules and model, and hashes them with the configuration into config_hash. Shared with `check`. */
struct upt_scoring;
UPT_NODISCARD upt_status upt_scoring_load(const struct upt_config *config, struct upt_scoring **ret,
                                          struct upt_error *reterr);
void upt_scoring_destroy(struct upt_scoring **scoring_p);

/* Reads a whole small file; *ret is owned by the caller (upt_buf_fini). */
UPT_NODISCARD upt_status upt_read_file(const char *path, size_t max, struct upt_buf *ret, struct upt_error *reterr);

#endif
