/* What a command writes by hand. Without a broker: librdkafka refuses by itself what is larger than it may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "ingest/topic_read.h"

#define LETTER_BYTES (4u << 20)

/* Dead letters are as large as what came: one that is refused would end a replay, and those behind it stay. */
static void
large_letter(void **state)
{
    (void)state;
    struct upt_config *config = NULL;
    struct upt_topic_writer *writer = NULL;
    char *bytes = calloc(1, LETTER_BYTES);
    assert_non_null(bytes);
    assert_int_equal(upt_config_default(&config, NULL), UPT_OK);
    assert_int_equal(upt_topic_writer_create(config, &writer, NULL), UPT_OK);
    const struct upt_topic_record record = {
        .topic = "usage-events", .partition = -1, .key = UPT_STR("k"), .value = {.p = bytes, .len = LETTER_BYTES}};
    struct upt_error err = {0};
    assert_int_equal(upt_topic_writer_put(writer, &record, &err), UPT_OK);
    upt_topic_writer_destroy(&writer);
    upt_config_destroy(&config);
    free(bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(large_letter)};
    return cmocka_run_group_tests_name("topic_write", tests, NULL, NULL);
}
