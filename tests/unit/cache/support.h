/* SPDX-License-Identifier: MIT */
/*
 * support.h - children that die or exit as they should, and the invariants of
 * every cache, for the tests of the cache layer.
 */
#ifndef TESTS_CACHE_SUPPORT_H
#define TESTS_CACHE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache/cache.h"
#include "debug/debug.h"
#include "os/meta.h"
#include "os/os.h"

/* Bytes of a block that its owner may use; 0: it is no live block. */
static inline size_t
usable_size(const void *buf)
{
    size_t size;

    return umem_block_size(buf, &size) ? size : 0;
}

/*
 * Runs fn in a child with UMEM_DEBUG set (NULL: unset): the child is a fresh
 * engine only where the parent has not used it.  Its stderr goes to text.
 * Returns the wait status.
 */
static inline int
in_child(void (*fn)(void), const char *debug, char *text, size_t size)
{
    int ends[2], status = -1;
    size_t got = 0;

    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (debug != NULL)
            setenv("UMEM_DEBUG", debug, 1);
        else
            unsetenv("UMEM_DEBUG");
        signal(SIGSEGV, SIG_DFL); /* the test framework has handlers */
        signal(SIGABRT, SIG_DFL);
        close(ends[0]);
        dup2(ends[1], 2);
        fn();
        _exit(0);
    }
    close(ends[1]);
    char sink[4096];
    for (ssize_t n; (n = read(ends[0], sink, sizeof(sink))) > 0;)
        for (ssize_t i = 0; i < n && got + 1 < size; i++)
            text[got++] = sink[i];
    if (size > 0)
        text[got] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* The child's checks: a failed one is its exit code, the line. */
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            _exit(__LINE__ % 200 + 1);                                                             \
    } while (0)

static inline void
assert_dies(void (*fn)(void), const char *debug, const char *message)
{
    char text[8192];
    int status = in_child(fn, debug, text, sizeof(text));

    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || strstr(text, message) == NULL)
        fail_msg("status %x, stderr: %s", (unsigned)status, text);
}

static inline void
assert_exits(void (*fn)(void), const char *debug, int code)
{
    char text[8192];
    int status = in_child(fn, debug, text, sizeof(text));

    if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
        fail_msg("status %x, stderr: %s", (unsigned)status, text);
}

/* Objects that the program holds: handed out by the slabs and in no magazine. */
static inline size_t
held(struct umem_cache *cp)
{
    return cp->cache_slabs.pool_allocated - cp->cache_depot.depot_rounds -
           tcache_bin_rounds(cp->cache_slow_bin);
}

static inline bool
verify_caches(void)
{
    bool good = vmem_verify(&vmem_heap);

    umem_lock_acquire(&umem_caches_lock);
    UMEM_LIST_FOR (node, &umem_caches) {
        struct umem_cache *cp = UMEM_CONTAINER_OF(node, struct umem_cache, cache_link);
        good &= depot_verify(&cp->cache_depot) && slab_pool_verify(&cp->cache_slabs);
    }
    umem_lock_release(&umem_caches_lock);
    return good;
}

#endif
