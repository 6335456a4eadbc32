/* The plans' cache: bounded in ids, the oldest leaves, whatever the ids' places in the table. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>

#include "ingest/avro/plan_cache.h"

static struct upt_plan_entry
entry_of(int32_t id)
{
    char *why = malloc(16);
    assert_non_null(why);
    (void)snprintf(why, 16, "%d", id);
    return (struct upt_plan_entry){.why = why};
}

static void
assert_there(const struct upt_plan_cache *cache, int32_t id)
{
    const struct upt_plan_entry *entry = upt_plan_cache_get(cache, id);
    assert_non_null(entry);
    assert_int_equal(strtol(entry->why, NULL, 10), id);
}

/* Ids in a row, and ids that all begin at the same slot. */
static void
fill(int32_t step)
{
    struct upt_plan_cache *cache = NULL;
    assert_int_equal(upt_plan_cache_create(&cache, NULL), UPT_OK);
    for (int32_t i = 0; i < 3 * UPT_PLAN_CACHE_IDS; i++) {
        int32_t id = (int32_t)((uint32_t)i * (uint32_t)step);
        assert_null(upt_plan_cache_get(cache, id));
        (void)upt_plan_cache_put(cache, id, entry_of(id));
        assert_there(cache, id);
        int32_t oldest = i < UPT_PLAN_CACHE_IDS ? 0 : i + 1 - UPT_PLAN_CACHE_IDS;
        assert_there(cache, (int32_t)((uint32_t)oldest * (uint32_t)step));
    }
    for (int32_t i = 0; i < 3 * UPT_PLAN_CACHE_IDS; i++) {
        int32_t id = (int32_t)((uint32_t)i * (uint32_t)step);
        if (i < 2 * UPT_PLAN_CACHE_IDS) {
            assert_null(upt_plan_cache_get(cache, id));
        } else {
            assert_there(cache, id);
        }
    }
    upt_plan_cache_destroy(&cache);
    assert_null(cache);
    upt_plan_cache_destroy(&cache);
}

static void
test_oldest_leaves(void **state)
{
    (void)state;
    fill(1);
    fill(8192);
    fill(-7);
}

/* Big plans leave before there are too many of them. */
static void
test_bytes(void **state)
{
    (void)state;
    struct upt_plan_cache *cache = NULL;
    assert_int_equal(upt_plan_cache_create(&cache, NULL), UPT_OK);
    for (int32_t id = 0; id < 10; id++) {
        struct upt_plan *plan = calloc(1, sizeof(*plan));
        assert_non_null(plan);
        plan->names_n = UPT_PLAN_CACHE_BYTES / 4;
        (void)upt_plan_cache_put(cache, id, (struct upt_plan_entry){.plan = plan});
        assert_true(id < 4 || upt_plan_cache_get(cache, id - 4) == NULL);
        assert_non_null(upt_plan_cache_get(cache, id < 3 ? 0 : id - 3));
    }
    upt_plan_cache_destroy(&cache);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_oldest_leaves), cmocka_unit_test(test_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
