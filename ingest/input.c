/* Decoding of input records by commands. See input.h. */
#include "ingest/input.h"

#include <string.h>

#include "ingest/pipeline.h"
#include "uptake/time.h"

#define SCHEMA_FILE_MAX ((size_t)1 << 20)
#define RETRY_MS 20

upt_status
upt_input_open(struct upt_input *input, const struct upt_config *config, struct upt_error *reterr)
{
    memset(input, 0, sizeof(*input));
    input->config = config;
    if (strcmp(config->input_framing, "none") == 0) {
        return upt_read_file(config->input_schema_file, SCHEMA_FILE_MAX, &input->schema, reterr);
    }
    const struct upt_registry_config registry = {.urls = config->registry_url,
                                                 .user = config->registry_user,
                                                 .password = config->registry_password,
                                                 .token = config->registry_token,
                                                 .ca_file = config->registry_ca_file,
                                                 .timeout_ms = config->registry_timeout_ms,
                                                 .negative_ttl_ms = config->registry_negative_ttl_ms};
    return upt_registry_create(&registry, &input->registry, reterr);
}

void
upt_input_close(struct upt_input *input)
{
    upt_registry_destroy(&input->registry);
    upt_buf_fini(&input->schema);
}

upt_status
upt_input_decoder_of(const struct upt_config *config, struct upt_str schema, struct upt_registry *registry,
                     struct upt_decoder **ret, struct upt_error *reterr)
{
    const struct upt_decoder_config decoder = {.framed = strcmp(config->input_framing, "none") != 0,
                                               .schema = schema,
                                               .registry = registry,
                                               .max_record_bytes = config->max_record_bytes,
                                               .max_batch_events = config->max_batch_events,
                                               .max_depth = config->max_depth};
    upt_status status = upt_decoder_create(&decoder, ret, reterr);
    if (status != UPT_OK && !decoder.framed && reterr != NULL) {
        status = upt_fail(reterr, status, "%s: %s", config->input_schema_file, reterr->msg);
    }
    return status;
}

upt_status
upt_input_decoder(const struct upt_input *input, struct upt_decoder **ret, struct upt_error *reterr)
{
    struct upt_str schema = {.p = input->schema.p, .len = (uint32_t)input->schema.len};
    return upt_input_decoder_of(input->config, schema, input->registry, ret, reterr);
}

upt_status
upt_input_decode(const struct upt_input *input, struct upt_decoder *decoder, struct upt_str key, struct upt_str value,
                 struct upt_decoded *ret, struct upt_error *reterr)
{
    int64_t deadline_ms = 0;
    for (;;) {
        upt_status status = upt_decoder_decode(decoder, key, value, ret, reterr);
        if (status != UPT_EAGAIN && status != UPT_EUNAVAIL) {
            return status;
        }
        int64_t now_ms = upt_mono_ms();
        deadline_ms = deadline_ms != 0 ? deadline_ms : now_ms + input->config->registry_timeout_ms + UPT_SECOND_MS;
        if (now_ms >= deadline_ms) {
            return status == UPT_EAGAIN ? upt_fail(reterr, UPT_EUNAVAIL, "no registry has answered in time") : status;
        }
        upt_sleep_ms(RETRY_MS);
    }
}
