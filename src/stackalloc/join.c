/* SPDX-License-Identifier: MIT */
/*
 * join.c - pthread_join(), pthread_detach() and their kin as programs find
 * them: libc's own, and thread.c hears what became of the thread.  Of threads that
 * are ours, detaching is its business alone.
 *
 * Part of libstackalloc, so that a program that links it calls these, and of
 * the preload, whose place in the order of symbols libstackalloc does not have
 * there.  Programs may have both; then the calls nest, and the outer one
 * counts.  For threads that are none of ours nothing changes.
 * Owns the addresses of libc's functions.  No locks.
 */
#include <dlfcn.h>
#include <errno.h>

#include "stack.h"
#include "thread.h"

typedef int join_fn(pthread_t, void **);
typedef int timed_fn(pthread_t, void **, const struct timespec *);
typedef int clock_fn(pthread_t, void **, clockid_t, const struct timespec *);
typedef int detach_fn(pthread_t);

/* The next definition after this library's, found once. */
static void *
next(_Atomic(void *) *cache, const char *name)
{
    void *found = atomic_load_explicit(cache, memory_order_relaxed);
    if (found == NULL) {
        found = dlsym(RTLD_NEXT, name);
        atomic_store_explicit(cache, found, memory_order_relaxed);
    }
    return found;
}

static void
let_go(void *held)
{
    stack_thread_settle(held, false);
}

/* Joining can be cancelled: then the thread is there as before. */
#define JOIN(type, name, id, ...)                                                                  \
    do {                                                                                           \
        static _Atomic(void *) cache;                                                              \
        type *join = (type *)next(&cache, name);                                                   \
        void *held;                                                                                \
        if (join == NULL)                                                                          \
            return ENOSYS;                                                                         \
        int error = stack_thread_hold(id, &held);                                                  \
        if (error != 0)                                                                            \
            return error;                                                                          \
        pthread_cleanup_push(let_go, held);                                                        \
        error = join(id, __VA_ARGS__);                                                             \
        pthread_cleanup_pop(0);                                                                    \
        stack_thread_settle(held, error == 0);                                                     \
        return error;                                                                              \
    } while (0)

STACK_EXPORT int
pthread_join(pthread_t id, void **result)
{
    JOIN(join_fn, "pthread_join", id, result);
}

#define TRY_JOIN "pthread_tryjoin_np"

STACK_EXPORT int
pthread_tryjoin_np(pthread_t id, void **result)
{
    JOIN(join_fn, TRY_JOIN, id, result);
}

bool
stack_thread_try_join(pthread_t id)
{
    static _Atomic(void *) cache;
    join_fn *join = (join_fn *)next(&cache, TRY_JOIN);
    return join != NULL && join(id, NULL) == 0;
}

STACK_EXPORT int
pthread_timedjoin_np(pthread_t id, void **result, const struct timespec *limit)
{
    JOIN(timed_fn, "pthread_timedjoin_np", id, result, limit);
}

/* Declared here: of the C libraries glibc alone has it, since 2.31. */
int pthread_clockjoin_np(pthread_t id, void **result, clockid_t clock,
                         const struct timespec *limit);

STACK_EXPORT int
pthread_clockjoin_np(pthread_t id, void **result, clockid_t clock, const struct timespec *limit)
{
    JOIN(clock_fn, "pthread_clockjoin_np", id, result, clock, limit);
}

STACK_EXPORT int
pthread_detach(pthread_t id)
{
    static _Atomic(void *) cache;
    int error = stack_thread_detach(id);
    if (error != ESRCH)
        return error;
    detach_fn *detach = (detach_fn *)next(&cache, "pthread_detach");
    return detach != NULL ? detach(id) : ENOSYS;
}
