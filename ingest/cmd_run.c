/* uptake run: the pipeline. */
#include <sysexits.h>

#include "ingest/command.h"
#include "ingest/pipeline.h"
#include "uptake/log.h"

static int
run(int argc, char **argv)
{
    struct upt_option options[] = {{.name = "c", .takes_value = true}, {.name = "until-end"}};
    const size_t n = sizeof(options) / sizeof(options[0]);
    int rc = upt_options_parse(&upt_cmd_run, argc, argv, options, n, NULL, 0, NULL);
    if (rc != 0) {
        return rc < 0 ? EX_OK : rc;
    }
    struct upt_config *config = NULL;
    rc = upt_command_config(options, n, true, &config);
    if (rc != 0) {
        return rc;
    }
    if (config->warning != NULL) {
        upt_log(UPT_LOG_WARNING, "run", "%s", config->warning);
    }
    const struct upt_pipeline_options pipeline = {.until_end = upt_option(options, n, "until-end") != NULL};
    struct upt_error err;
    rc = EX_OK;
    if (upt_pipeline_run(config, &pipeline, &err) != UPT_OK) {
        rc = upt_command_fail(&upt_cmd_run, &err);
    }
    upt_config_destroy(&config);
    return rc;
}

const struct upt_command upt_cmd_run = {
    .name = "run",
    .usage = "-c FILE [--until-end]",
    .summary = "The pipeline: counts into Redis, alerts and health records onto Kafka.",
    .help = "  -c FILE      configuration (see `uptake check` and deploy/CONFIGURATION.md)\n"
            "  --until-end  exit 0 once every partition is read to the end it has now, checkpointed and published\n"
            "\n"
            "SIGTERM drains, checkpoints and leaves; SIGHUP re-reads rules, model and log level.\n",
    .run = run,
};
