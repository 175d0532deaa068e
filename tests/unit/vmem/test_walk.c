/* SPDX-License-Identifier: MIT */
/*
 * test_walk.c - vmem_walk(): what it reports, and what it bears when the
 * function it calls uses the arena.
 */
#include <pthread.h>

#include "support.h"

enum { MAX = 512 };
struct seen {
    vmem_t *arena;
    size_t n;
    uintptr_t start[MAX];
    size_t size[MAX];
    void (*then)(struct seen *seen, uintptr_t start, size_t size);
};

static void
note(void *arg, void *start, size_t size)
{
    struct seen *seen = arg;

    assert_true(seen->n < MAX);
    seen->start[seen->n] = NUM(start);
    seen->size[seen->n++] = size;
    if (seen->then != NULL)
        seen->then(seen, NUM(start), size);
    else
        assert_true(umem_lock_is_held(&seen->arena->vm_lock));
}

static void
assert_seen(const struct seen *seen, const uintptr_t (*expected)[2], size_t n)
{
    assert_int_equal(seen->n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(seen->start[i], expected[i][0]);
        assert_int_equal(seen->size[i], expected[i][1]);
    }
}

static void
test_walk(void **state)
{
    vmem_t *vmp = numbers(100, 100, 1, VM_FIRSTFIT);
    struct seen seen = {.arena = vmp};

    (void)state;
    assert_non_null(vmem_add(vmp, PTR(10), 20, 0));
    assert_int_equal(NUM(vmem_alloc(vmp, 5, 0)), 10);
    assert_int_equal(NUM(vmem_alloc(vmp, 30, 0)), 100);
    assert_int_equal(NUM(vmem_alloc(vmp, 5, 0)), 15);

    static const uintptr_t allocated[][2] = {{10, 5}, {15, 5}, {100, 30}};
    vmem_walk(vmp, VMEM_ALLOC, note, &seen);
    assert_seen(&seen, allocated, 3);

    static const uintptr_t free_segments[][2] = {{20, 10}, {130, 70}};
    seen.n = 0;
    vmem_walk(vmp, VMEM_FREE, note, &seen);
    assert_seen(&seen, free_segments, 2);

    static const uintptr_t both[][2] = {{10, 5}, {15, 5}, {20, 10}, {100, 30}, {130, 70}};
    seen.n = 0;
    vmem_walk(vmp, VMEM_ALLOC | VMEM_FREE, note, &seen);
    assert_seen(&seen, both, 5);

    seen.n = 0;
    vmem_walk(vmp, 0, note, &seen);
    assert_int_equal(seen.n, 0);
    assert_false(umem_lock_is_held(&vmp->vm_lock));
    vmem_free(vmp, PTR(10), 5);
    vmem_free(vmp, PTR(15), 5);
    vmem_free(vmp, PTR(100), 30);
    vmem_destroy(vmp);
}

/* Frees what it is told about: each is reported once, the walk goes on behind it. */
static void
free_it(struct seen *seen, uintptr_t start, size_t size)
{
    assert_false(umem_lock_is_held(&seen->arena->vm_lock));
    vmem_free(seen->arena, PTR(start), size);
    assert_true(vmem_verify(seen->arena));
}

static void
test_reentrant_free(void **state)
{
    vmem_t *vmp = numbers(1, 300, 1, VM_FIRSTFIT);
    struct seen seen = {.arena = vmp, .then = free_it};

    (void)state;
    for (uintptr_t i = 0; i < 100; i++)
        assert_int_equal(NUM(vmem_alloc(vmp, 3, 0)), 1 + 3 * i);
    vmem_walk(vmp, VMEM_ALLOC | (int)VMEM_REENTRANT, note, &seen);
    assert_int_equal(seen.n, 100);
    for (uintptr_t i = 0; i < 100; i++)
        assert_int_equal(seen.start[i], 1 + 3 * i);
    assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0);
    /* Only the rotor is left. */
    assert_ptr_equal(vmp->vm_cursors.next, &vmp->vm_rotor.cursor_link);
    assert_ptr_equal(vmp->vm_cursors.prev, &vmp->vm_rotor.cursor_link);
    vmem_destroy(vmp);
}

/* Merges what was reported with what was not: no number is reported twice. */
static void
free_neighbours(struct seen *seen, uintptr_t start, size_t size)
{
    (void)size;
    if (start == 11) {
        vmem_free(seen->arena, PTR(1), 10);
        vmem_free(seen->arena, PTR(11), 10);
        vmem_free(seen->arena, PTR(21), 10);
        vmem_free(seen->arena, PTR(41), 10);
        assert_true(vmem_verify(seen->arena));
    }
}

static void
test_reentrant_merge(void **state)
{
    vmem_t *vmp = numbers(1, 60, 1, VM_FIRSTFIT);
    struct seen seen = {.arena = vmp, .then = free_neighbours};

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_non_null(vmem_alloc(vmp, 10, 0));
    vmem_walk(vmp, VMEM_ALLOC | VMEM_FREE | (int)VMEM_REENTRANT, note, &seen);
    static const uintptr_t expected[][2] = {{1, 10}, {11, 10}, {21, 10}, {31, 10}, {41, 20}};
    assert_seen(&seen, expected, 5);
    vmem_free(vmp, PTR(31), 10);
    vmem_destroy(vmp);
}

/* The span that the walk is in goes back to its source. */
static uintptr_t next_import = 0x1000;
static size_t returned;

static void *
import(vmem_t *vmp, size_t size, int vmflag)
{
    (void)vmp;
    (void)vmflag;
    next_import += 0x1000;
    return size == 0x100 ? PTR(next_import) : NULL;
}

static void
give_back(vmem_t *vmp, void *addr, size_t size)
{
    (void)vmp;
    (void)addr;
    returned += size;
}

static void
test_reentrant_return(void **state)
{
    vmem_t *vmp = vmem_new("walk", NULL, 0, 0x100, import, give_back, NULL, 0, VM_NEXTFIT);
    struct seen seen = {.arena = vmp, .then = free_it};

    (void)state;
    assert_non_null(vmp);
    for (int i = 0; i < 50; i++)
        assert_non_null(vmem_alloc(vmp, 0x100, 0));
    vmem_walk(vmp, VMEM_ALLOC | (int)VMEM_REENTRANT, note, &seen);
    assert_int_equal(seen.n, 50);
    assert_int_equal(returned, 50 * 0x100);
    assert_int_equal(vmp->vm_stats.vms_total, 0);
    vmem_destroy(vmp);
}

/* Walks while others allocate and free: in order, and within the arena. */
static _Atomic bool stop;

static void *
disturb(void *arg)
{
    vmem_t *vmp = arg;
    uint64_t rng = 5;
    void *held[32] = {NULL};

    while (!atomic_load(&stop)) {
        size_t slot = random_next(&rng) % 32;
        if (held[slot] == NULL) {
            held[slot] = vmem_alloc(vmp, 8, 0);
        } else {
            vmem_free(vmp, held[slot], 8);
            held[slot] = NULL;
        }
    }
    for (size_t i = 0; i < 32; i++)
        if (held[i] != NULL)
            vmem_free(vmp, held[i], 8);
    return NULL;
}

static void
in_order(void *arg, void *start, size_t size)
{
    uintptr_t *last = arg;

    assert_true(NUM(start) >= *last);
    assert_true(NUM(start) + size <= 2000);
    *last = NUM(start) + size;
}

static void
test_walk_among_threads(void **state)
{
    vmem_t *vmp = numbers(1000, 1000, 1, 0);
    pthread_t threads[2];

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, disturb, vmp), 0);
    for (int i = 0; i < 300; i++) {
        uintptr_t last = 1000;
        vmem_walk(vmp, VMEM_ALLOC | VMEM_FREE | (i % 2 ? (int)VMEM_REENTRANT : 0), in_order, &last);
        /* With the lock held throughout, nothing is left out. */
        assert_true(i % 2 == 1 || last == 2000);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_true(vmem_verify(vmp));
    vmem_destroy(vmp);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_reentrant_free),
        cmocka_unit_test(test_reentrant_merge),
        cmocka_unit_test(test_reentrant_return),
        cmocka_unit_test(test_walk_among_threads),
    };
    return cmocka_run_group_tests_name("vmem/walk", tests, NULL, NULL);
}
