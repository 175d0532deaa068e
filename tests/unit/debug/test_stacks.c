/* SPDX-License-Identifier: MIT */
/*
 * test_stacks.c - the stack depot: one id a stack, every id read back, ids
 * that were never given refused, threads that intern the same stacks at once,
 * the documented way from id to address, and a depot that is full.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "debug/stacks.h"

#define DEPTH_MAX 255

/* The stack number n of a family: its depth and frames follow from n alone. */
static uint32_t
make(uint64_t n, uintptr_t *frames)
{
    uint32_t depth = 1 + (uint32_t)(n % 64);

    for (uint32_t i = 0; i < depth; i++)
        frames[i] = 0x400000 + (n >> (i % 20)) * 16 + i % 3;
    frames[0] = n;
    return depth;
}

static void
assert_stack(uint32_t id, const uintptr_t *frames, uint32_t depth)
{
    const struct umem_stack *stack = umem_stacks_get(id);

    assert_non_null(stack);
    assert_int_equal(stack->stack_depth, depth);
    assert_memory_equal(stack->stack_frame, frames, depth * sizeof(*frames));
    /* What an analyser does with the id. */
    const char *segment = umem_stacks_segment[id >> UMEM_STACKS_SEGMENT_SHIFT];
    assert_ptr_equal(stack, segment + 8 * (size_t)(id & ((1u << UMEM_STACKS_SEGMENT_SHIFT) - 1)));
}

static void
empty(void **state)
{
    uintptr_t frames[1] = {1};

    (void)state;
    assert_null(umem_stacks_get(0));
    assert_null(umem_stacks_get(1));
    assert_null(umem_stacks_get(UINT32_MAX));
    assert_int_equal(umem_stacks_intern(frames, 0), 0);
    assert_int_equal(umem_stacks_stats().stacks_count, 0);
    assert_int_equal(umem_stacks_stats().stacks_bytes, 0);
}

static void
one_id_a_stack(void **state)
{
    enum { STACKS = 20000 };
    static uint32_t ids[STACKS];
    uintptr_t frames[DEPTH_MAX];

    (void)state;
    errno = EDOM;
    for (uint64_t n = 0; n < STACKS; n++) {
        uint32_t depth = make(n, frames);
        ids[n] = umem_stacks_intern(frames, depth);
        assert_int_not_equal(ids[n], 0);
    }
    assert_int_equal(errno, EDOM);
    assert_int_equal(umem_stacks_stats().stacks_count, STACKS);
    uint64_t bytes = umem_stacks_stats().stacks_bytes;
    for (uint64_t n = 0; n < STACKS; n++) {
        uint32_t depth = make(n, frames);
        assert_int_equal(umem_stacks_intern(frames, depth), ids[n]);
        assert_stack(ids[n], frames, depth);
    }
    assert_int_equal(umem_stacks_stats().stacks_count, STACKS);
    assert_int_equal(umem_stacks_stats().stacks_bytes, bytes);
}

/* Order, depth and every single frame count. */
static void
nearly_equal(void **state)
{
    uintptr_t frames[DEPTH_MAX];
    uintptr_t other[DEPTH_MAX];

    (void)state;
    for (uint32_t i = 0; i < DEPTH_MAX; i++)
        frames[i] = 0x7f0000001000 + i * 64;
    uint32_t id = umem_stacks_intern(frames, DEPTH_MAX);
    for (uint32_t i = 0; i < DEPTH_MAX; i++) {
        memcpy(other, frames, sizeof(frames));
        other[i] ^= 1;
        assert_int_not_equal(umem_stacks_intern(other, DEPTH_MAX), id);
        assert_int_not_equal(umem_stacks_intern(frames, i + 1), i + 1 == DEPTH_MAX ? 0 : id);
        memcpy(other, frames, sizeof(frames));
        other[i] = frames[(i + 1) % DEPTH_MAX];
        other[(i + 1) % DEPTH_MAX] = frames[i];
        uint32_t swapped = umem_stacks_intern(other, DEPTH_MAX);
        assert_int_not_equal(swapped, id);
        assert_stack(swapped, other, DEPTH_MAX);
    }
    assert_int_equal(umem_stacks_intern(frames, DEPTH_MAX), id);
    assert_stack(id, frames, DEPTH_MAX);
}

/* Zero frames and repeated frames are frames like others. */
static void
dull_stacks(void **state)
{
    uintptr_t frames[DEPTH_MAX] = {0};
    uint32_t ids[DEPTH_MAX];

    (void)state;
    for (uint32_t i = 0; i < DEPTH_MAX; i++)
        ids[i] = umem_stacks_intern(frames, i + 1);
    for (uint32_t i = 0; i < DEPTH_MAX; i++) {
        assert_stack(ids[i], frames, i + 1);
        for (uint32_t j = 0; j < i; j++)
            assert_int_not_equal(ids[i], ids[j]);
    }
}

static void
only_given_ids(void **state)
{
    uint64_t found = 0;
    uint64_t units = umem_stacks_stats().stacks_bytes / 8;

    (void)state;
    for (uint32_t id = 0; id < units + 100; id++)
        found += umem_stacks_get(id) != NULL;
    assert_int_equal(found, umem_stacks_stats().stacks_count);
    assert_null(umem_stacks_get(UMEM_STACKS_SEGMENTS << UMEM_STACKS_SEGMENT_SHIFT));
    assert_null(umem_stacks_get(UINT32_MAX));
}

/* --- Threads --- */

enum { THREADS = 4, SHARED = 30000 };
static uint32_t thread_ids[THREADS][SHARED];
static pthread_barrier_t barrier;

static void *
intern_all(void *arg)
{
    uint32_t *ids = arg;
    uintptr_t frames[DEPTH_MAX];

    pthread_barrier_wait(&barrier);
    for (uint64_t n = 0; n < SHARED; n++) {
        uint32_t depth = make(n + 1000000, frames);
        ids[n] = umem_stacks_intern(frames, depth);
        const struct umem_stack *stack = umem_stacks_get(ids[n]);
        if (stack == NULL || stack->stack_depth != depth ||
            memcmp(stack->stack_frame, frames, depth * sizeof(*frames)) != 0)
            return "an id does not lead back to its stack";
    }
    return NULL;
}

static void
threads(void **state)
{
    pthread_t thread[THREADS];
    void *failed;
    uint64_t before = umem_stacks_stats().stacks_count;

    (void)state;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, intern_all, thread_ids[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(umem_stacks_stats().stacks_count, before + SHARED);
    for (int i = 1; i < THREADS; i++)
        assert_memory_equal(thread_ids[i], thread_ids[0], sizeof(thread_ids[0]));
}

/* --- Children --- */

/* Runs fn in a child; its exit status. */
static int
in_child(int (*fn)(void))
{
    int status;
    pid_t pid = _Fork(); /* the handlers are called here */

    assert_int_not_equal(pid, -1);
    if (pid == 0)
        _exit(fn());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A depot that is full refuses, counts it, and still knows what it has. */
static int
fill_up(void)
{
    uintptr_t frames[DEPTH_MAX];
    uint32_t first = 0;
    uint64_t n = 0;
    uint32_t id;

    memset(frames, 0x11, sizeof(frames));
    do {
        frames[0] = n++;
        id = umem_stacks_intern(frames, DEPTH_MAX);
        if (n == 1)
            first = id;
    } while (id != 0 && n < 1000000);
    struct umem_stacks_stats stats = umem_stacks_stats();
    if (id != 0 || stats.stacks_refused != 1)
        return 1;
    /* Full is full: a quarter of a GiB, but for what the ends of segments cannot hold. */
    if (stats.stacks_bytes < (uint64_t)255 << 20 || stats.stacks_bytes > (uint64_t)256 << 20)
        return 2;
    frames[0] = 0;
    if (umem_stacks_intern(frames, DEPTH_MAX) != first || umem_stacks_get(first) == NULL)
        return 3;
    frames[0] = n - 2;
    const struct umem_stack *stack = umem_stacks_get(umem_stacks_intern(frames, DEPTH_MAX));
    if (stack == NULL || stack->stack_frame[0] != n - 2)
        return 4;
    frames[0] = n;
    return umem_stacks_intern(frames, DEPTH_MAX) == 0 &&
                   umem_stacks_stats().stacks_refused == stats.stacks_refused + 1
               ? 0
               : 5;
}

static void
full(void **state)
{
    (void)state;
    assert_int_equal(in_child(fill_up), 0);
}

static int
too_deep(void)
{
    enum { FRAMES = 40000 };
    static uintptr_t frames[FRAMES];

    if (umem_stacks_intern(frames, FRAMES) != 0)
        return 1;
    if (umem_stacks_stats().stacks_refused != 1)
        return 2;
    /* What a segment just holds. */
    uint32_t fits = ((1u << UMEM_STACKS_SEGMENT_SHIFT) * 8 - sizeof(struct umem_stack)) / 8;
    uint32_t id = umem_stacks_intern(frames, fits);
    return umem_stacks_get(id) != NULL && umem_stacks_intern(frames, fits + 1) == 0 ? 0 : 3;
}

static void
deep(void **state)
{
    (void)state;
    assert_int_equal(in_child(too_deep), 0);
}

static int
use_in_child(void)
{
    uintptr_t frames[2] = {7, 8};

    umem_stacks_fork_child();
    uint32_t id = umem_stacks_intern(frames, 2);
    return umem_stacks_get(id) != NULL && umem_stacks_intern(frames, 2) == id ? 0 : 1;
}

static void
forks(void **state)
{
    uintptr_t frames[2] = {9, 10};

    (void)state;
    umem_stacks_fork_prepare();
    assert_int_equal(in_child(use_in_child), 0);
    umem_stacks_fork_parent();
    assert_int_not_equal(umem_stacks_intern(frames, 2), 0);
}

int
main(void)
{
    /* In this order: the first ones need a depot that is empty. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),          cmocka_unit_test(full),
        cmocka_unit_test(deep),           cmocka_unit_test(one_id_a_stack),
        cmocka_unit_test(nearly_equal),   cmocka_unit_test(dull_stacks),
        cmocka_unit_test(forks),          cmocka_unit_test(threads),
        cmocka_unit_test(only_given_ids),
    };

    return cmocka_run_group_tests_name("debug/stacks", tests, NULL, NULL);
}
