/* SPDX-License-Identifier: MIT */
/*
 * test_fork.c - forking while threads allocate, free and walk: the child finds
 * every arena whole and can go on.
 */
#include <pthread.h>

#include "os/meta.h"
#include "support.h"

/* Forks race with threads, so one is no test; a hundred take under a second. */
enum { THREADS = 3, FORKS = 100 };

static vmem_t *plain, *importing;
static _Atomic bool stop;

static void
ignore(void *arg, void *start, size_t size)
{
    (void)start;
    (void)size;
    ++*(size_t *)arg;
}

static void *
load(void *arg)
{
    uint64_t rng = 0x51ed2701 * (1 + (uint64_t)(uintptr_t)arg);
    struct {
        vmem_t *from;
        void *addr;
        size_t size;
    } held[200] = {{NULL, NULL, 0}};

    for (size_t round = 0; !atomic_load(&stop); round++) {
        size_t slot = random_next(&rng) % UMEM_ARRAY_SIZE(held), seen = 0;
        if (held[slot].addr != NULL) {
            vmem_free(held[slot].from, held[slot].addr, held[slot].size);
            held[slot].addr = NULL;
        } else {
            held[slot].from = random_next(&rng) % 2 ? plain : importing;
            held[slot].size = 1 + random_next(&rng) % 200;
            held[slot].addr = vmem_alloc(held[slot].from, held[slot].size, 0);
        }
        if (round % 100 == 0)
            vmem_walk(importing, VMEM_ALLOC | (int)VMEM_REENTRANT, ignore, &seen);
        if (round % 200 == 0)
            vmem_destroy(vmem_new("short", PTR(1), 10, 1, NULL, NULL, NULL, 0, 0));
    }
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(held); i++)
        if (held[i].addr != NULL)
            vmem_free(held[i].from, held[i].addr, held[i].size);
    return NULL;
}

/* In the child: the arenas are whole, and usable for long. */
static void
use_in_child(void)
{
    static void *held[4000];

    if (!vmem_verify(plain) || !vmem_verify(importing) || !vmem_verify(&vmem_heap))
        _exit(2);
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(held); i++)
        if ((held[i] = vmem_alloc(importing, 100, 0)) == NULL)
            _exit(3);
    /* Nobody is left who was about to rescale, so the hash still does. */
    if (importing->vm_hash_used > 3 * importing->vm_hash_size)
        _exit(4);
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(held); i++)
        vmem_free(importing, held[i], 100);
    /* Walks of threads that are gone are forgotten: only the rotor is on the list. */
    if (importing->vm_cursors.next->next != &importing->vm_cursors)
        _exit(5);
    if (!vmem_verify(plain) || !vmem_verify(importing) || !vmem_verify(&vmem_heap))
        _exit(6);
    vmem_destroy(vmem_new("short", PTR(1), 10, 1, NULL, NULL, NULL, 0, 0));
    _exit(42);
}

static pid_t
fork_with_handlers(void)
{
    vmem_fork_prepare();
    umem_meta_fork_prepare();
    pid_t pid = _Fork(); /* the handlers are called here */
    if (pid == 0) {
        umem_meta_fork_child();
        vmem_fork_child();
    } else {
        umem_meta_fork_parent();
        vmem_fork_parent();
    }
    return pid;
}

static void
test_fork_under_load(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    /* The thread sanitizer's own locks do not survive the fork of a threaded process. */
    if (UNDER_THREAD_SANITIZER)
        skip();
    plain = numbers(0x1000, 0x100000, 1, VM_NEXTFIT);
    importing = vmem_new("importing", NULL, 0, 0x40, vmem_alloc, vmem_free, the_heap(), 0, 0);
    assert_non_null(importing);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, load, PTR(i)), 0);
    for (int i = 0; i < FORKS; i++) {
        int status;
        pid_t pid = fork_with_handlers();
        assert_true(pid >= 0);
        if (pid == 0) {
            alarm(30);
            use_in_child();
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 42);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(vmem_verify(plain));
    assert_true(vmem_verify(importing));
    assert_int_equal(vmem_size(plain, VMEM_ALLOC), 0);
    assert_int_equal(vmem_size(importing, VMEM_ALLOC | VMEM_FREE), 0);
    vmem_destroy(plain);
    vmem_destroy(importing);
}

/* From within a walk: the child goes on with it. */
static pid_t walking_pid = -1;

static void
fork_in_walk(void *arg, void *start, size_t size)
{
    (void)size;
    ++*(size_t *)arg;
    if (NUM(start) == 5)
        walking_pid = fork_with_handlers();
    if (NUM(start) > 5)
        vmem_free(plain, start, 1);
}

static void
test_fork_in_walk(void **state)
{
    size_t seen = 0;
    int status;

    (void)state;
    plain = numbers(1, 10, 1, VM_FIRSTFIT);
    for (int i = 0; i < 10; i++)
        assert_non_null(vmem_alloc(plain, 1, 0));
    vmem_walk(plain, VMEM_ALLOC | (int)VMEM_REENTRANT, fork_in_walk, &seen);
    bool right = seen == 10 && vmem_size(plain, VMEM_ALLOC) == 5 && vmem_verify(plain);
    if (walking_pid == 0)
        _exit(right ? 42 : 1);
    assert_true(right);
    assert_int_equal(waitpid(walking_pid, &status, 0), walking_pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    for (uintptr_t n = 1; n <= 5; n++)
        vmem_free(plain, PTR(n), 1);
    vmem_destroy(plain);
}

/* A thread was about to rescale the hash: nobody will in the child, unless it forgets that. */
static void
test_fork_while_rescaling(void **state)
{
    int status;

    (void)state;
    plain = numbers(1, 10000, 1, 0);
    plain->vm_hash_busy = true;
    pid_t pid = fork_with_handlers();
    if (pid == 0) {
        for (int i = 0; i < 1000; i++)
            if (vmem_alloc(plain, 1, 0) == NULL)
                _exit(1);
        _exit(plain->vm_hash_size >= 512 && vmem_verify(plain) ? 42 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    assert_true(plain->vm_hash_busy); /* here it goes on */
    plain->vm_hash_busy = false;
    vmem_destroy(plain);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fork_under_load),
        cmocka_unit_test(test_fork_in_walk),
        cmocka_unit_test(test_fork_while_rescaling),
    };
    return cmocka_run_group_tests_name("vmem/fork", tests, NULL, NULL);
}
