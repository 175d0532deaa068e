/* SPDX-License-Identifier: MIT */
/*
 * test_decay.c - when freed pages go: by age, by amount, never for locked
 * ones; the bound that is learnt; a fork in between.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "os/os.h"
#include "support.h"
#include "vmem/private.h"

#define MIB ((size_t)1 << 20)

static size_t
dirty(void)
{
    return vmem_heap.vm_decay.decay_dirty;
}

static char *
allocate(size_t size)
{
    struct vmem_dirt dirt;
    char *p = vmem_heap_alloc(size, 0, 0, &dirt);

    assert_non_null(p);
    for (size_t i = 0; i < size; i += 4096)
        p[i] = 1;
    return p;
}

static bool
resident(char *p)
{
    unsigned char present;

    assert_int_equal(mincore(p, os_page_size(), &present), 0);
    return present & 1;
}

/* As if that had been freed so long ago. */
static void
let_age_by(uint32_t ms)
{
    umem_lock_acquire(&vmem_heap.vm_lock);
    UMEM_LIST_FOR (link, &vmem_heap.vm_aged)
        UMEM_CONTAINER_OF(link, struct vmem_seg, seg_aged)->seg_since_ms -= ms;
    umem_lock_release(&vmem_heap.vm_lock);
}

static void
let_age(void)
{
    let_age_by(VMEM_DECAY_MS);
}

/* The bound, in an interval that has just begun. */
static void
set_bound(size_t max)
{
    vmem_heap.vm_decay = (struct vmem_decay){.decay_dirty = dirty(),
                                             .decay_max = max,
                                             .decay_peak = SIZE_MAX / 2,
                                             .decay_tick_ms = os_clock_coarse_ms(),
                                             .decay_shed_ms = os_clock_coarse_ms()};
}

static void
test_by_age(void **state)
{
    (void)state;
    vmem_reap(the_heap());
    char *p = allocate(30 * MIB), *end = allocate(MIB);
    set_bound(SIZE_MAX / 2);
    vmem_xfree(&vmem_heap, p, 30 * MIB);
    assert_int_equal(dirty(), 30 * MIB);
    assert_false(vmem_heap_purge()); /* young */
    let_age();
    int steps = 1;
    while (vmem_heap_purge()) {
        steps++;
        assert_true(vmem_verify(&vmem_heap));
    }
    assert_true(steps >= 1 && steps <= 5);
    assert_int_equal(dirty(), 0);
    vmem_xfree(&vmem_heap, end, MIB);
    vmem_reap(&vmem_heap);
    assert_int_equal(vmem_size(&vmem_heap, VMEM_ALLOC | VMEM_FREE), 0);
    assert_true(vmem_verify(&vmem_heap));
}

/* A little goes sooner than much, of which the last part then is little. */
static void
test_little(void **state)
{
    (void)state;
    vmem_reap(the_heap());
    size_t much = 4 * VMEM_DECAY_LITTLE;
    char *p = allocate(VMEM_DECAY_LITTLE), *q = allocate(much);
    set_bound(SIZE_MAX / 2);
    vmem_xfree(&vmem_heap, p, VMEM_DECAY_LITTLE);
    assert_false(vmem_heap_purge()); /* young */
    assert_int_equal(dirty(), VMEM_DECAY_LITTLE);
    uint64_t now = os_clock_coarse_ms();
    assert_false(vmem_heap_is_due(now));
    assert_true(vmem_heap_is_due(now + VMEM_DECAY_LITTLE_MS));
    let_age_by(VMEM_DECAY_LITTLE_MS);
    while (vmem_heap_purge())
        ;
    assert_int_equal(dirty(), 0);
    assert_false(vmem_heap_is_due(UINT64_MAX - 1));
    vmem_xfree(&vmem_heap, q, much);
    let_age_by(VMEM_DECAY_LITTLE_MS);
    assert_false(vmem_heap_purge());
    assert_int_equal(dirty(), much);
    let_age();
    while (vmem_heap_purge())
        ;
    assert_int_equal(dirty(), 0);
    vmem_reap(&vmem_heap);
}

/* What lies between blocks in use is purged in bounded steps; its neighbours stay. */
static void
test_steps(void **state)
{
    (void)state;
    char *p = allocate(32 * MIB);
    set_bound(SIZE_MAX / 2);
    assert_true(vmem_resize(&vmem_heap, p, 32 * MIB, MIB));
    assert_int_equal(dirty(), 31 * MIB);
    let_age();
    for (size_t step = 1; step <= 3; step++) {
        assert_true(vmem_heap_purge());
        assert_int_equal(dirty(), (31 - 8 * step) * MIB);
        assert_false(resident(p + MIB));
        assert_true(vmem_verify(&vmem_heap));
    }
    assert_false(vmem_heap_purge());
    assert_int_equal(dirty(), 0);
    assert_true(resident(p));
    struct vmem_dirt dirt;
    char *q = vmem_heap_alloc(31 * MIB, 0, 0, &dirt);
    assert_ptr_equal(q, p + MIB);
    assert_int_equal(dirt.dirt_end, 0);
    for (size_t i = 0; i < 31 * MIB; i += 512)
        assert_int_equal(q[i], 0);
    vmem_xfree(&vmem_heap, q, 31 * MIB);
    vmem_xfree(&vmem_heap, p, MIB);
    vmem_reap(&vmem_heap);
}

/* Above the bound the oldest go at once; regret raises it, idleness halves it. */
static void
test_by_amount(void **state)
{
    (void)state;
    char *p = allocate(64 * MIB);
    set_bound(4 * MIB);
    assert_true(vmem_resize(&vmem_heap, p, 64 * MIB, 32 * MIB));
    assert_false(vmem_heap_purge());
    assert_true(dirty() <= 4 * MIB && dirty() >= 2 * MIB);
    assert_int_equal(vmem_heap.vm_decay.decay_shed + dirty(), 32 * MIB);
    size_t shed = vmem_heap.vm_decay.decay_shed;
    char *q = allocate(32 * MIB);
    assert_ptr_equal(q, p + 32 * MIB);
    size_t lesson = shed - VMEM_DECAY_REGRET_MIN;
    assert_int_equal(vmem_heap.vm_decay.decay_regret, shed);
    assert_int_equal(vmem_heap.vm_decay.decay_shed, 0);
    assert_int_equal(vmem_heap.vm_decay.decay_max, 4 * MIB + 2 * lesson);
    vmem_xfree(&vmem_heap, q, 32 * MIB); /* now it may stay */
    assert_int_equal(dirty(), 32 * MIB);

    vmem_heap.vm_decay.decay_tick_ms -= 2 * VMEM_DECAY_MS; /* two intervals, regret in one */
    assert_false(vmem_heap_purge());
    assert_int_equal(vmem_heap.vm_decay.decay_max, 2 * MIB + lesson);
    vmem_heap.vm_decay.decay_tick_ms -= 100 * VMEM_DECAY_MS;
    assert_false(vmem_heap_purge());
    assert_int_equal(vmem_heap.vm_decay.decay_max, VMEM_DECAY_FLOOR);
    assert_true(dirty() <= VMEM_DECAY_FLOOR);
    vmem_xfree(&vmem_heap, p, 32 * MIB);
    vmem_reap(&vmem_heap);
    assert_true(vmem_verify(&vmem_heap));
}

/* What a program takes that grows a little, after it has freed much, teaches nothing. */
static void
test_little_regret(void **state)
{
    size_t little = VMEM_DECAY_REGRET_MIN / 2;
    char *taken[3];

    (void)state;
    char *p = allocate(16 * MIB);
    set_bound(VMEM_DECAY_FLOOR);
    assert_true(vmem_resize(&vmem_heap, p, 16 * MIB, MIB));
    assert_false(vmem_heap_purge());
    assert_true(vmem_heap.vm_decay.decay_shed > 4 * MIB);
    let_age();
    assert_false(vmem_heap_purge());
    assert_int_equal(dirty(), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(vmem_heap.vm_decay.decay_max, VMEM_DECAY_FLOOR);
        taken[i] = allocate(little);
        assert_int_equal(vmem_heap.vm_decay.decay_regret, (i + 1) * little);
    }
    assert_int_equal(vmem_heap.vm_decay.decay_max, VMEM_DECAY_FLOOR + 2 * little);
    for (size_t i = 0; i < 3; i++)
        vmem_xfree(&vmem_heap, taken[i], little);
    vmem_xfree(&vmem_heap, p, MIB);
    vmem_reap(&vmem_heap);
    assert_true(vmem_verify(&vmem_heap));
}

/* Locked pages stay, are not believed zero, and are asked once. */
static void
with_locked_pages(void)
{
    struct vmem_dirt dirt;

    the_heap();
    char *p = allocate(4 * MIB);
    if (mlock(p, 4 * MIB) != 0)
        _exit(77);
    set_bound(SIZE_MAX / 2);
    if (!vmem_resize(&vmem_heap, p, 4 * MIB, 2 * MIB))
        _exit(2);
    let_age();
    if (vmem_heap_purge() || dirty() != 0 || !vmem_verify(&vmem_heap))
        _exit(3);
    if (!resident(p + 2 * MIB) || !umem_list_empty(&vmem_heap.vm_aged))
        _exit(4);
    if (vmem_heap_alloc(2 * MIB, 0, 0, &dirt) != p + 2 * MIB)
        _exit(5);
    _exit(dirt.dirt_start == NUM(p + 2 * MIB) && dirt.dirt_end == NUM(p + 4 * MIB) ? 42 : 6);
}

static void
test_locked(void **state)
{
    char text[256];

    (void)state;
    if (UNDER_SANITIZER)
        skip(); /* its mlock() locks nothing */
    int status = run_in_child(with_locked_pages, text, sizeof(text));
    assert_string_equal(text, "");
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 42);
}

static _Atomic bool done;

static void *
churn(void *arg)
{
    (void)arg;
    while (!done)
        vmem_xfree(&vmem_heap, allocate(8 * MIB), 8 * MIB);
    return NULL;
}

/* A child finds the arena whole, whatever its parent was purging. */
static void
test_fork(void **state)
{
    pthread_t thread;

    (void)state;
    set_bound(MIB);
    assert_int_equal(pthread_create(&thread, NULL, churn, NULL), 0);
    for (int i = 0; i < 100; i++) {
        vmem_fork_prepare();
        pid_t pid = fork();
        if (pid != 0) {
            vmem_fork_parent();
            int status;
            assert_int_equal(waitpid(pid, &status, 0), pid);
            assert_int_equal(WEXITSTATUS(status), 42);
            continue;
        }
        vmem_fork_child();
        if (!umem_list_empty(&vmem_heap.vm_purging) || !vmem_verify(&vmem_heap))
            _exit(3);
        vmem_xfree(&vmem_heap, allocate(MIB), MIB);
        _exit(42);
    }
    done = true;
    pthread_join(thread, NULL);
    vmem_reap(&vmem_heap);
    assert_true(vmem_verify(&vmem_heap));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_age),        cmocka_unit_test(test_little),
        cmocka_unit_test(test_steps),         cmocka_unit_test(test_by_amount),
        cmocka_unit_test(test_little_regret), cmocka_unit_test(test_locked),
        cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests_name("vmem/decay", tests, NULL, NULL);
}
