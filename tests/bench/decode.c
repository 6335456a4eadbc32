/* How long decoding takes: the decode plan, the whole decoder (bare Avro) and libavro's generic reader on the same
 * records in the same run. Prints nanoseconds an event, the best of a few rounds, for records of two shapes.
 *
 * Quantity: wall time of reading 4,096 different events again and again, all in cache, one core. libavro reads into one
 * value that is reused, its fastest way. Usage: bench_decode [rounds] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <avro.h>

#include "ingest/avro/decoder.h"
#include "ingest/avro/encoder.h"
#include "ingest/avro/plan.h"
#include "uptake/assert.h"
#include "uptake/time.h"

#define EVENTS 4096
#define PASSES 200

struct sample {
    struct upt_buf bytes;
    struct upt_str records[EVENTS];
};

static struct upt_str
name(char *buf, size_t cap, const char *prefix, int n)
{
    (void)snprintf(buf, cap, "%s%d", prefix, n);
    return upt_str_of(buf);
}

/* Accounts and users of some different lengths, as names are. */
static void
make(struct sample *sample, bool with_props)
{
    static size_t starts[EVENTS + 1];
    char id[48];
    char account[48];
    char user[48];
    char feature[48];
    for (int i = 0; i < EVENTS; i++) {
        struct upt_event ev = {.event_id = name(id, sizeof(id), "0190f5c2-7a3b-7c4d-8e5f-60718293", 1000 + i),
                               .occurred_at = INT64_C(1767225600000) + i * 977,
                               .account_id =
                                   name(account, sizeof(account), i % 3 == 0 ? "acct-" : "customer-", 10000 + i * 7),
                               .user_id = name(user, sizeof(user), i % 2 == 0 ? "u-" : "user-", i * 31),
                               .kind = i % 16 == 0 ? UPT_KIND_LOGIN : UPT_KIND_USAGE,
                               .feature = name(feature, sizeof(feature), "reports.export_", i % 40),
                               .quantity = 1.0 + i % 5,
                               .duration_ms = 120 + i,
                               .has_duration = i % 2 == 0};
        const struct upt_prop props[] = {{UPT_STR("plan"), UPT_STR("enterprise")},
                                         {UPT_STR("region"), UPT_STR("emea")}};
        starts[i] = sample->bytes.len;
        upt_encode_event(&sample->bytes, -1, &ev, props, with_props ? 2 : 0);
    }
    starts[EVENTS] = sample->bytes.len;
    for (int i = 0; i < EVENTS; i++) {
        sample->records[i] =
            (struct upt_str){.p = sample->bytes.p + starts[i], .len = (uint32_t)(starts[i + 1] - starts[i])};
    }
}

static double
run_plan(const struct sample *sample)
{
    struct upt_avro_schema *schema = NULL;
    struct upt_plan *plan = NULL;
    struct upt_run run = {.max_depth = 32, .max_events = 10000};
    upt_assert(upt_schema_parse(upt_schema_usage_event, &schema, NULL) == UPT_OK);
    upt_assert(upt_plan_compile(schema, &plan, NULL) == UPT_OK);
    int64_t from = upt_mono_us();
    for (int pass = 0; pass < PASSES; pass++) {
        for (int i = 0; i < EVENTS; i++) {
            upt_assert(upt_plan_run(plan, &run, sample->records[i]) == UPT_REASON_NONE);
        }
    }
    int64_t us = upt_mono_us() - from;
    free(run.events);
    upt_plan_destroy(&plan);
    upt_schema_destroy(&schema);
    return (double)us * 1000.0 / PASSES / EVENTS;
}

static double
run_decoder(const struct sample *sample)
{
    struct upt_decoder_config config = {
        .schema = upt_schema_usage_event, .max_record_bytes = 1 << 20, .max_batch_events = 10000, .max_depth = 32};
    struct upt_decoder *dec = NULL;
    struct upt_decoded decoded;
    struct upt_str key[EVENTS];
    upt_assert(upt_decoder_create(&config, &dec, NULL) == UPT_OK);
    for (int i = 0; i < EVENTS; i++) {
        /* The first try, with a wrong key, says in its event what the right one is. */
        upt_assert(upt_decoder_decode(dec, UPT_STR("?"), sample->records[i], &decoded, NULL) == UPT_OK);
        upt_assert(decoded.reason == UPT_REASON_BAD_ACCOUNT_ID);
        const char *p = sample->records[i].p;
        uint32_t skip = 1 + (uint32_t)p[0] / 2 + 6;
        key[i] = (struct upt_str){.p = p + skip + 1, .len = (uint32_t)p[skip] / 2};
    }
    int64_t from = upt_mono_us();
    for (int pass = 0; pass < PASSES; pass++) {
        for (int i = 0; i < EVENTS; i++) {
            upt_assert(upt_decoder_decode(dec, key[i], sample->records[i], &decoded, NULL) == UPT_OK);
            upt_assert(decoded.events_n == 1);
        }
    }
    int64_t us = upt_mono_us() - from;
    upt_decoder_destroy(&dec);
    return (double)us * 1000.0 / PASSES / EVENTS;
}

static double
run_libavro(const struct sample *sample)
{
    avro_schema_t schema = NULL;
    avro_value_t value;
    upt_assert(avro_schema_from_json_length(upt_schema_usage_event.p, upt_schema_usage_event.len, &schema) == 0);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    upt_assert(class != NULL && avro_generic_value_new(class, &value) == 0);
    avro_reader_t reader = avro_reader_memory(NULL, 0);
    int64_t from = upt_mono_us();
    for (int pass = 0; pass < PASSES / 10; pass++) {
        for (int i = 0; i < EVENTS; i++) {
            avro_reader_memory_set_source(reader, sample->records[i].p, sample->records[i].len);
            upt_assert(avro_value_reset(&value) == 0 && avro_value_read(reader, &value) == 0);
        }
    }
    int64_t us = upt_mono_us() - from;
    avro_reader_free(reader);
    avro_value_decref(&value);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    return (double)us * 10000.0 / PASSES / EVENTS;
}

static double
best(double (*run)(const struct sample *sample), const struct sample *sample, int rounds)
{
    double least = run(sample);
    for (int i = 1; i < rounds; i++) {
        double ns = run(sample);
        least = ns < least ? ns : least;
    }
    return least;
}

int
main(int argc, char **argv)
{
    static struct sample samples[2];
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 5;
    for (int i = 0; i < 2; i++) {
        make(&samples[i], i == 1);
        printf("%s, %zu bytes an event\n", i == 1 ? "2 properties" : "no properties", samples[i].bytes.len / EVENTS);
        double plan = best(run_plan, &samples[i], rounds);
        double decoder = best(run_decoder, &samples[i], rounds);
        double libavro = best(run_libavro, &samples[i], rounds);
        printf("  decode plan       %7.1f ns/event\n", plan);
        printf("  decoder, bare     %7.1f ns/event\n", decoder);
        printf("  libavro           %7.1f ns/event\n", libavro);
        upt_buf_fini(&samples[i].bytes);
    }
    return 0;
}
