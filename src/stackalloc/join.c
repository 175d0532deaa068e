/* SPDX-License-Identifier: MIT */
/*
 * join.c - pthread_join(), pthread_detach() and their kin as programs find
 * them: libc's own, and thread.c hears what became of the thread.
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
    stack_thread_settle(held, THREAD_NOTHING);
}

/* Joining can be cancelled: then the thread is there as before. */
#define JOIN(type, name, id, ...)                                                                  \
    do {                                                                                           \
        static _Atomic(void *) cache;                                                              \
        type *join = (type *)next(&cache, name);                                                   \
        int error;                                                                                 \
        if (join == NULL)                                                                          \
            return ENOSYS;                                                                         \
        void *held = stack_thread_hold(id);                                                        \
        pthread_cleanup_push(let_go, held);                                                        \
        error = join(id, __VA_ARGS__);                                                             \
        pthread_cleanup_pop(0);                                                                    \
        stack_thread_settle(held, error == 0 ? THREAD_JOINED : THREAD_NOTHING);                    \
        return error;                                                                              \
    } while (0)

STACK_EXPORT int
pthread_join(pthread_t id, void **result)
{
    JOIN(join_fn, "pthread_join", id, result);
}

STACK_EXPORT int
pthread_tryjoin_np(pthread_t id, void **result)
{
    JOIN(join_fn, "pthread_tryjoin_np", id, result);
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
    detach_fn *detach = (detach_fn *)next(&cache, "pthread_detach");
    if (detach == NULL)
        return ENOSYS;
    void *held = stack_thread_hold(id);
    int error = detach(id);
    stack_thread_settle(held, error == 0 ? THREAD_DETACHED : THREAD_NOTHING);
    return error;
}
