/* Text from outside on a terminal. */
#include "testing.h"

#include <limits.h>
#include <stdlib.h>

#include "uptake/str.h"
#include "uptake/terminal.h"

static void
shows(struct upt_str text, int room, const char *wanted, int columns)
{
    char *got = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&got, &len);
    assert_non_null(to);
    assert_int_equal(upt_print_cut(to, text.p, text.len, room), columns);
    assert_int_equal(fclose(to), 0);
    assert_string_equal(got, wanted);
    free(got);
}

static void
what_a_terminal_obeys(void **state)
{
    (void)state;
    shows(UPT_STR("a\033[2Jb\x7F\n\0c"), INT_MAX, "a?[2Jb???c", 10);
    shows(UPT_STR("\xC2\x9B"
                  "2J\xC2\xA0"),
          INT_MAX, "?2J\xC2\xA0", 4);
    shows(UPT_STR("\xFFx\xE6\x97"), INT_MAX, "?x??", 4);
}

static void
columns_of_characters(void **state)
{
    (void)state;
    shows(UPT_STR("caf\xC3\xA9"), INT_MAX, "caf\xC3\xA9", 4);
    shows(UPT_STR("cafe\xCC\x81!"), INT_MAX, "cafe\xCC\x81!", 5);
    shows(UPT_STR("\xE6\x97\xA5\xE6\x9C\xAC"), INT_MAX, "\xE6\x97\xA5\xE6\x9C\xAC", 4);
    shows(UPT_STR("\xF0\x9F\x9A\x80"), INT_MAX, "\xF0\x9F\x9A\x80", 2);
    shows(UPT_STR("\xF0\x9D\x94\xB8"), INT_MAX, "\xF0\x9D\x94\xB8", 1);
}

static void
cut_between_characters(void **state)
{
    (void)state;
    shows(UPT_STR("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E"), 5, "\xE6\x97\xA5\xE6\x9C\xAC", 4);
    shows(UPT_STR("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E"), 6, "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E", 6);
    shows(UPT_STR("cafe\xCC\x81s"), 4, "cafe\xCC\x81", 4);
    shows(UPT_STR("abc"), 0, "", 0);
    shows(UPT_STR("abc"), -3, "", 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_terminal_obeys),
        cmocka_unit_test(columns_of_characters),
        cmocka_unit_test(cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
