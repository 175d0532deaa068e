/* SPDX-License-Identifier: MIT */
/*
 * test_barrier.c - the barrier on all threads: there only once registered, and
 * a fence to a thread that has none of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

enum { TURNS = 20000 };

/* What the kernel can, asked by other means: CMD_QUERY is 0, private expedited is bit 3. */
static bool
is_supported(void)
{
#ifdef __SANITIZE_THREAD__
    return false; /* by our own choice */
#else
    long commands = syscall(SYS_membarrier, 0, 0, 0);

    return commands > 0 && (commands & 1 << 3) != 0;
#endif
}

static void
test_not_before_init(void **state)
{
    (void)state;
    assert_false(os_barrier());
}

static void
test_init(void **state)
{
    (void)state;
    errno = 4711;
    os_barrier_init();
    assert_int_equal(os_barrier(), is_supported());
    os_barrier_init(); /* a second time does no harm */
    assert_int_equal(os_barrier(), is_supported());
    assert_int_equal(errno, 4711);
}

/* The child is registered as its parent was, or finds out that it is not. */
static void
test_fork(void **state)
{
    int status;

    (void)state;
    pid_t pid = _Fork();
    if (pid == 0)
        _exit(os_barrier() == is_supported() ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static _Atomic uint32_t turn, done;
static uint32_t mine, theirs;
static uint32_t seen;

/* Dekker's handshake without a fence: store mine, load theirs. */
static void *
store_and_load(void *arg)
{
    (void)arg;
    for (uint32_t i = 1; i <= TURNS; i++) {
        while (atomic_load(&turn) != i)
            ;
        __atomic_store_n(&mine, i, __ATOMIC_RELAXED);
        atomic_signal_fence(memory_order_seq_cst);
        seen = __atomic_load_n(&theirs, __ATOMIC_RELAXED);
        atomic_store(&done, i);
    }
    return NULL;
}

/* Either side sees the other's store, although only this one has a fence. */
static void
test_handshake(void **state)
{
    pthread_t thread;

    (void)state;
    if (!is_supported())
        skip();
    assert_int_equal(pthread_create(&thread, NULL, store_and_load, NULL), 0);
    for (uint32_t i = 1; i <= TURNS; i++) {
        atomic_store(&turn, i);
        __atomic_store_n(&theirs, i, __ATOMIC_RELAXED);
        assert_true(os_barrier());
        uint32_t found = __atomic_load_n(&mine, __ATOMIC_RELAXED);
        while (atomic_load(&done) != i)
            ;
        assert_true(found == i || seen == i);
    }
    pthread_join(thread, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_before_init),
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_handshake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
