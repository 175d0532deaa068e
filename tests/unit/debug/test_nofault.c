/* SPDX-License-Identifier: MIT */
/*
 * test_nofault.c - what comes between in a section is counted, by kind, in
 * every section that it lies in, and in no other thread's.
 */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <umem.h>

#include "os/os.h"
#include "os/watch.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAULTS_COUNT 0 /* the sanitizers' own memory faults */
#else
#define FAULTS_COUNT 1
#endif

enum { OBJECTS = 32, SIZE = 1000, LARGE = 300000 };

/* What a section counts of fn(), run once before. */
static struct umem_nofault
counted(void (*fn)(void))
{
    static struct umem_nofault nf;

    for (int turn = 0; turn < 2; turn++) {
        umem_nofault_begin(&nf);
        fn();
        int result = umem_nofault_end(&nf);
        assert_int_equal(result, nf.nf_first != UMEM_NOFAULT_NONE);
    }
    assert_null(os_watch_self);
    return nf;
}

static void
assert_clean(struct umem_nofault nf)
{
    assert_int_equal(nf.nf_allocs, 0);
    assert_int_equal(nf.nf_frees, 0);
    assert_int_equal(nf.nf_syscalls, 0);
    if (FAULTS_COUNT) {
        assert_int_equal(nf.nf_faults, 0);
        assert_int_equal(nf.nf_first, UMEM_NOFAULT_NONE);
    }
}

static void
nothing(void)
{
}

static umem_cache_t *cache;

static void
use_objects(void)
{
    void *objs[OBJECTS];

    for (int i = 0; i < OBJECTS; i++) {
        objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
        memset(objs[i], 1, SIZE);
    }
    for (int i = 0; i < OBJECTS; i++)
        umem_cache_free(cache, objs[i]);
}

static void
use_one_more(void)
{
    void *obj = umem_cache_alloc(cache, UMEM_DEFAULT);

    use_objects();
    umem_cache_free(cache, obj);
}

static void *
in_thread(void *fn)
{
    static struct umem_nofault nf;

    nf = counted((void (*)(void))fn);
    return &nf;
}

static void
test_sealed_is_clean(void **state)
{
    pthread_t thread;
    void *result;

    (void)state;
    assert_clean(counted(nothing));
    cache = umem_cache_create("sealed", SIZE, 0, NULL, NULL, NULL, NULL, NULL, 0);
    assert_int_equal(umem_cache_reserve(cache, OBJECTS), 0);
    assert_int_equal(umem_cache_seal(cache), 0);
    assert_clean(counted(use_objects));
    assert_int_equal(pthread_create(&thread, NULL, in_thread, (void *)use_objects), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_clean(*(struct umem_nofault *)result);
    assert_int_equal(umem_cache_breaches(cache), 0);

    /* One breach, and one object too many when it comes back. */
    struct umem_nofault nf = counted(use_one_more);
    assert_int_equal(nf.nf_allocs, 1);
    assert_int_equal(nf.nf_frees, 1);
    assert_int_equal(nf.nf_first, UMEM_NOFAULT_ALLOC);
    assert_int_equal(nf.nf_size, SIZE);
    umem_cache_destroy(cache);
}

static void
test_slow_paths(void **state)
{
    (void)state;
    cache = umem_cache_create("slow", SIZE, 0, NULL, NULL, NULL, NULL, NULL, UMC_NOMAGAZINE);
    struct umem_nofault nf = counted(use_objects);
    assert_int_equal(nf.nf_allocs, OBJECTS);
    assert_int_equal(nf.nf_frees, OBJECTS);
    assert_int_equal(nf.nf_first, UMEM_NOFAULT_ALLOC);
    assert_int_equal(nf.nf_size, SIZE);
    assert_in_range(nf.nf_depth, 1, UMEM_NOFAULT_DEPTH);
    umem_cache_destroy(cache);
}

static void
use_large(void)
{
    void *buf = umem_alloc(LARGE, UMEM_DEFAULT);

    assert_non_null(buf);
    umem_free(buf, LARGE);
}

static void
test_large(void **state)
{
    (void)state;
    struct umem_nofault nf = counted(use_large);
    assert_int_equal(nf.nf_allocs, 1);
    assert_int_equal(nf.nf_frees, 1);
    assert_int_equal(nf.nf_size, LARGE);
}

static void
map_and_unmap(void)
{
    (void)os_unmap(os_map(os_page_size(), os_page_size()), os_page_size());
}

static void
test_system_calls(void **state)
{
    (void)state;
    struct umem_nofault nf = counted(map_and_unmap);
    assert_int_equal(nf.nf_syscalls, 2);
    assert_int_equal(nf.nf_allocs + nf.nf_frees, 0);
    assert_int_equal(nf.nf_first, UMEM_NOFAULT_SYSCALL);
    assert_in_range(nf.nf_depth, 1, UMEM_NOFAULT_DEPTH);
}

static char *fresh;

static void
touch_fresh(void)
{
    *(volatile char *)fresh = 1;
    fresh += os_page_size();
}

static void
test_page_faults(void **state)
{
    size_t size = 4 * os_page_size();
    char *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_ptr_not_equal(pages, MAP_FAILED);
    (void)madvise(pages, size, MADV_NOHUGEPAGE);
    fresh = pages;
    struct umem_nofault nf = counted(touch_fresh);
    assert_true(nf.nf_faults >= 1);
    if (FAULTS_COUNT)
        assert_int_equal(nf.nf_faults, 1);
    assert_int_equal(nf.nf_first, UMEM_NOFAULT_FAULT);
    assert_int_equal(nf.nf_depth, 0);
    munmap(pages, size);
}

static void
test_nesting(void **state)
{
    struct umem_nofault outer, inner, stray;

    (void)state;
    umem_nofault_begin(&outer);
    map_and_unmap();
    umem_nofault_begin(&inner);
    use_large();
    assert_int_equal(umem_nofault_end(&inner), 1);
    map_and_unmap();
    assert_int_equal(umem_nofault_end(&outer), 1);
    assert_int_equal(inner.nf_allocs, 1);
    assert_int_equal(inner.nf_first, UMEM_NOFAULT_ALLOC);
    assert_int_equal(outer.nf_allocs, 1);
    assert_int_equal(outer.nf_frees, 1);
    assert_int_equal(outer.nf_syscalls, inner.nf_syscalls + 4);
    assert_int_equal(outer.nf_first, UMEM_NOFAULT_SYSCALL);
    assert_true(outer.nf_faults >= inner.nf_faults);

    /* The end of the outer one is the inner's too. */
    umem_nofault_begin(&outer);
    umem_nofault_begin(&inner);
    assert_in_range(umem_nofault_end(&outer), 0, 1);
    assert_null(os_watch_self);
    errno = 0;
    assert_int_equal(umem_nofault_end(&inner), -1);
    assert_int_equal(errno, EINVAL);
    umem_nofault_begin(&outer);
    assert_int_equal(umem_nofault_end(&stray), -1);
    assert_in_range(umem_nofault_end(&outer), 0, 1);
}

static void *
map_in_thread(void *arg)
{
    (void)arg;
    map_and_unmap();
    use_large();
    return NULL;
}

static void
let_another_work(void)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, map_in_thread, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void
test_other_threads_do_not_count(void **state)
{
    (void)state;
    struct umem_nofault nf = counted(let_another_work);
    assert_int_equal(nf.nf_allocs + nf.nf_frees + nf.nf_syscalls, 0);
}

static void
fork_within(void *arg)
{
    struct umem_nofault *outer = arg, nf;

    umem_nofault_begin(&nf);
    map_and_unmap();
    if (umem_nofault_end(&nf) != 1 || nf.nf_syscalls != 2)
        _exit(1);
    umem_nofault_print(&nf);
    /* The handlers of fork ran in it too; the child's count of faults started at 0. */
    if (umem_nofault_end(outer) != 1 || outer->nf_syscalls < 2 || outer->nf_faults > 100000)
        _exit(2);
}

static void
test_fork_and_print(void **state)
{
    struct umem_nofault nf;

    (void)state;
    umem_nofault_begin(&nf);
    struct outcome *outcome = run_child(fork_within, &nf);
    assert_in_range(umem_nofault_end(&nf), 0, 1);
    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->text, "umem: section without faults: slow allocations 0, slow "
                                          "frees 0, system calls 2, page faults "));
    assert_non_null(strstr(outcome->text, "first a system call was made:\n  "));
    assert_non_null(strstr(outcome->text, "fork_within+0x"));
}

static void
fail_quietly(void)
{
    errno = 4711;
    map_and_unmap();
    assert_int_equal(errno, 4711);
}

static void
test_errno_is_kept(void **state)
{
    (void)state;
    (void)counted(fail_quietly);
    assert_int_equal(errno, 4711);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sealed_is_clean),
        cmocka_unit_test(test_slow_paths),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_system_calls),
        cmocka_unit_test(test_page_faults),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_other_threads_do_not_count),
        cmocka_unit_test(test_fork_and_print),
        cmocka_unit_test(test_errno_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
