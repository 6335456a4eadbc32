/* The ring: alone, wrapped, full, and between two threads. */
#include "testing.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "uptake/ring.h"

static struct upt_ring *
make(size_t capacity)
{
    struct upt_ring *ring = NULL;
    assert_int_equal(upt_ring_create(capacity, &ring, NULL), UPT_OK);
    return ring;
}

static bool
push(struct upt_ring *ring, const void *bytes, size_t len)
{
    void *at = upt_ring_reserve(ring, len);
    if (at == NULL) {
        return false;
    }
    memcpy(at, bytes, len);
    upt_ring_commit(ring, len);
    return true;
}

static void
sizes(void **state)
{
    (void)state;
    struct upt_ring *ring = make(1000);
    assert_int_equal(upt_ring_capacity(ring), 1024);
    assert_int_equal(upt_ring_frame_max(ring), 504);
    assert_int_equal(upt_ring_used(ring), 0);
    upt_ring_destroy(&ring);
    assert_null(ring);
    upt_ring_destroy(&ring);
    struct upt_error err;
    assert_int_equal(upt_ring_create(SIZE_MAX, &ring, &err), UPT_EINVAL);
    assert_null(ring);
}

static void
one_thread(void **state)
{
    (void)state;
    struct upt_ring *ring = make(256);
    size_t len = 0;
    assert_null(upt_ring_peek(ring, &len));
    char *at = upt_ring_reserve(ring, 100);
    assert_int_equal((uintptr_t)at % 8, 0);
    assert_null(upt_ring_peek(ring, &len)); /* reserved is not yet published */
    memcpy(at, "hello", 5);
    upt_ring_commit(ring, 5); /* less than reserved */
    assert_int_equal(upt_ring_used(ring), 16);
    assert_memory_equal(upt_ring_peek(ring, &len), "hello", 5);
    assert_int_equal(len, 5);
    assert_memory_equal(upt_ring_peek(ring, &len), "hello", 5); /* peeking again shows the same frame */
    upt_ring_release(ring);
    assert_null(upt_ring_peek(ring, &len));
    assert_true(push(ring, "", 0));
    assert_non_null(upt_ring_peek(ring, &len));
    assert_int_equal(len, 0);
    upt_ring_release(ring);
    upt_ring_destroy(&ring);
}

static void
full_and_wrapped(void **state)
{
    (void)state;
    struct upt_ring *ring = make(64);
    char bytes[24];
    memset(bytes, 'a', sizeof(bytes));
    assert_true(push(ring, bytes, 24));
    assert_true(push(ring, bytes, 24));
    assert_null(upt_ring_reserve(ring, 0)); /* 64 of 64 are used */
    size_t len = 0;
    assert_non_null(upt_ring_peek(ring, &len));
    upt_ring_release(ring);
    assert_true(push(ring, bytes, 16)); /* 24 from the start; 8 left before the second frame */
    assert_true(push(ring, bytes, 0));
    assert_null(upt_ring_reserve(ring, 0));
    for (size_t i = 0; i < 3; i++) {
        assert_non_null(upt_ring_peek(ring, &len));
        assert_int_equal(len, i == 0 ? 24 : i == 1 ? 16 : 0);
        upt_ring_release(ring);
    }
    assert_null(upt_ring_peek(ring, &len));
    upt_ring_destroy(&ring);
}

static void
largest_frame_fits_everywhere(void **state)
{
    (void)state;
    /* Whatever the place in the buffer, an empty ring takes the largest frame: otherwise a producer waits for ever. */
    for (size_t start = 0; start < 64; start++) {
        struct upt_ring *ring = make(512);
        size_t len = 0;
        for (size_t i = 0; i < start; i++) {
            assert_true(push(ring, "", 0));
            assert_non_null(upt_ring_peek(ring, &len));
            upt_ring_release(ring);
        }
        char largest[248];
        memset(largest, 'z', sizeof(largest));
        assert_true(push(ring, largest, sizeof(largest)));
        assert_memory_equal(upt_ring_peek(ring, &len), largest, sizeof(largest));
        assert_int_equal(len, sizeof(largest));
        upt_ring_release(ring);
        upt_ring_destroy(&ring);
    }
}

static void
reserve_too_much(void *ring)
{
    (void)upt_ring_reserve(ring, upt_ring_frame_max(ring) + 1);
}

static void
commit_unreserved(void *ring)
{
    upt_ring_commit(ring, 0);
}

static void
release_unpeeked(void *ring)
{
    upt_ring_release(ring);
}

static void
misuse_aborts(void **state)
{
    (void)state;
    struct upt_ring *ring = make(64);
    assert_true(upt_test_aborts(reserve_too_much, ring));
    assert_true(upt_test_aborts(commit_unreserved, ring));
    assert_true(upt_test_aborts(release_unpeeked, ring));
    upt_ring_destroy(&ring);
}

#if defined(__SANITIZE_THREAD__)
#define FRAMES 400000U
#else
#define FRAMES 3000000U
#endif

/* Frame i: a length and bytes that follow from i alone. */
static size_t
frame_of(uint64_t i, unsigned char *out)
{
    uint64_t seed = i * UINT64_C(0x9E3779B97F4A7C15) + 1;
    uint64_t r = upt_test_random(&seed);
    size_t len = (size_t)(r % 16 == 0 ? r / 16 % 2000 : r / 16 % 60);
    for (size_t k = 0; k < len; k++) {
        out[k] = (unsigned char)(i + k * 7);
    }
    return len;
}

static void *
produce(void *arg)
{
    struct upt_ring *ring = arg;
    for (uint64_t i = 0; i < FRAMES;) {
        unsigned char frame[2048];
        size_t len = frame_of(i, frame);
        /* Now and then more is reserved than is used. */
        unsigned char *at = upt_ring_reserve(ring, i % 5 == 0 ? len + 40 : len);
        if (at == NULL) {
            (void)sched_yield();
            continue;
        }
        memcpy(at, frame, len);
        upt_ring_commit(ring, len);
        i++;
    }
    return NULL;
}

static void
two_threads(void **state)
{
    (void)state;
    struct upt_ring *ring = make(8192);
    pthread_t producer;
    assert_int_equal(pthread_create(&producer, NULL, produce, ring), 0);
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < FRAMES;) {
        size_t len = 0;
        const void *at = upt_ring_peek(ring, &len);
        if (at == NULL) {
            (void)sched_yield();
            continue;
        }
        unsigned char expected[2048];
        size_t expected_len = frame_of(i, expected);
        wrong += len != expected_len || memcmp(at, expected, len) != 0 ? 1 : 0;
        wrong += upt_ring_used(ring) > upt_ring_capacity(ring) ? 1 : 0;
        upt_ring_release(ring);
        i++;
    }
    assert_int_equal(pthread_join(producer, NULL), 0);
    assert_int_equal(wrong, 0);
    assert_int_equal(upt_ring_used(ring), 0);
    upt_ring_destroy(&ring);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(one_thread),
        cmocka_unit_test(full_and_wrapped),
        cmocka_unit_test(largest_frame_fits_everywhere),
        cmocka_unit_test(misuse_aborts),
        cmocka_unit_test(two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
