/* What the tests of ingest/avro share: cmocka's includes, bytes put together by hand, decoding with a schema. */
#ifndef UPT_AVRO_TESTING_H
#define UPT_AVRO_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/avro/decoder.h"
#include "uptake/str.h"

static inline void
put_long(struct upt_buf *buf, int64_t v)
{
    upt_buf_put_zigzag(buf, v);
}

static inline void
put_text(struct upt_buf *buf, const char *text)
{
    put_long(buf, (int64_t)strlen(text));
    upt_buf_puts(buf, text);
}

static inline void
put_double(struct upt_buf *buf, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    upt_buf_put_le64(buf, bits);
}

static inline void
put_bytes(struct upt_buf *buf, const char *p, size_t len)
{
    upt_buf_put(buf, p, len);
}

static inline struct upt_str
str_of(const struct upt_buf *buf)
{
    return (struct upt_str){.p = buf->p == NULL ? "" : buf->p, .len = (uint32_t)buf->len};
}

#define assert_text(str, literal)                                   \
    do {                                                            \
        assert_int_equal((str).len, sizeof(literal) - 1);           \
        assert_memory_equal((str).p, literal, sizeof(literal) - 1); \
    } while (0)

/* A decoder of bare Avro with the contract's limits; the schema must be good. */
static inline struct upt_decoder *
decoder_of(const char *schema)
{
    struct upt_decoder_config config = {
        .schema = upt_str_of(schema), .max_record_bytes = 1 << 20, .max_batch_events = 10000, .max_depth = 32};
    struct upt_decoder *dec = NULL;
    struct upt_error error = {0};
    upt_status status = upt_decoder_create(&config, &dec, &error);
    if (status != UPT_OK) {
        print_error("%s\n", error.msg);
    }
    assert_int_equal(status, UPT_OK);
    return dec;
}

/* One record with the key "a". */
static inline struct upt_decoded
decode(struct upt_decoder *dec, const struct upt_buf *body)
{
    struct upt_decoded decoded;
    assert_int_equal(upt_decoder_decode(dec, UPT_STR("a"), str_of(body), &decoded, NULL), UPT_OK);
    return decoded;
}

/* Why the schema is refused, as text for assert_non_null(strstr(…)); it must be. */
static inline const char *
refusal_of(const char *schema)
{
    static struct upt_error error;
    struct upt_decoder_config config = {
        .schema = upt_str_of(schema), .max_record_bytes = 1 << 20, .max_batch_events = 10000, .max_depth = 32};
    struct upt_decoder *dec = NULL;
    error = (struct upt_error){0};
    assert_int_equal(upt_decoder_create(&config, &dec, &error), UPT_EINVAL);
    assert_null(dec);
    return error.msg;
}

/* A UsageEvent with the fields given as JSON after the two that it must have. */
#define EVENT(fields)                                                     \
    "{\"type\":\"record\",\"name\":\"uptake.v1.UsageEvent\",\"fields\":[" \
    "{\"name\":\"account_id\",\"type\":\"string\"},{\"name\":\"occurred_at\",\"type\":\"long\"}" fields "]}"
#define FIELD(name, type) ",{\"name\":\"" name "\",\"type\":" type "}"

#endif
