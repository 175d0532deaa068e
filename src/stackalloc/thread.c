/* SPDX-License-Identifier: MIT */
/*
 * thread.c - stack_pthread_create(): when may a thread's stack be used again?
 *
 * Not when its start routine is through: libc runs on, on the same stack, and
 * keeps the thread's descriptor there.  Two things must have happened.
 *
 *   1. Nobody will look at the descriptor any more.  pthread_join() reads it,
 *      so an ended thread keeps its stack until the join has returned, or
 *      until pthread_detach() has; join.c sees both.  Where a program calls
 *      libc's functions past join.c, the stack stays taken: a leak, no more.
 *   2. The kernel is through with the thread: its last write goes to a word of
 *      the descriptor.  A join waits for just that.  For a thread that was created
 *      detached nobody waits, so its number is asked for: tgkill() with signal 0
 *      says ESRCH once the kernel has taken it off its list, which comes after that
 *      write.  A number that another thread of the process got meanwhile only
 *      makes us wait longer, and one of another process is ESRCH as well.
 *
 * pthread_detach() of our threads does not come to libc: they are noted as
 * detached here, and joined when they are over.  For where a thread is ending, glibc 2.36
 * frees its thread-local storage in pthread_detach(), unless the stack is libc's
 * own, though cleanup handlers and destructors of keys still run and use it.
 *
 * A record counts who has still to let go of it: its creator, the thread
 * itself (a cleanup handler, run at return, pthread_exit() and cancellation
 * alike) and, unless created detached, whoever joins or detaches it.  The last
 * one, if it is a join, gives the stack back at once; otherwise the record
 * becomes a zombie, and the next thread that is created, joined or ends gives
 * back those zombies that are gone.
 *
 * Owns the records, the registry that finds one by pthread_t, under its
 * locks, and the list of zombies, pushed to and emptied by
 * compare-and-swap.  Nothing is called with a lock held, but for fork(), which takes
 * all in their order; the child has no thread but its own, so all other
 * records become zombies.
 */
#include <errno.h>
#include <stackalloc.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault.h"
#include "note.h"
#include "page.h"
#include "stack.h"
#include "thread.h"

struct thread {
    struct thread *thread_next;   /* in its bucket */
    struct thread *thread_zombie; /* in the list of zombies */
    pthread_t thread_id;          /* once listed */
    bool thread_listed;
    _Atomic bool thread_held; /* a join is on its way, or was done, or it is detached */
    bool thread_detached;     /* under its bucket's lock */
    bool thread_joinable;     /* as libc has it: it was not created detached */
    _Atomic unsigned thread_refs;
    _Atomic pid_t thread_tid; /* 0: not started, or known to be gone */
    void *thread_stack;
    size_t thread_size;
    void *(*thread_fn)(void *);
    void *thread_arg;
};

/* Chains of ten where there are ten thousand threads. */
#define REGISTRY_SHIFT 10
#define REGISTRY_SIZE ((size_t)1 << REGISTRY_SHIFT)
/* 2^32 divided by the golden ratio: spreads numbers that differ in high bits only. */
#define REGISTRY_MIX 2654435769u

/*
 * A thread that loses its processor with a lock in hand stops the others that want
 * it, and its creator may be of another priority: so a lock is for few buckets.  Each is
 * on a cache line of its own.
 */
#define REGISTRY_LOCKS 32

struct registry_lock {
    _Alignas(64) pthread_mutex_t lock_mutex;
};
static struct registry_lock registry_lock[REGISTRY_LOCKS] = {
    [0 ... REGISTRY_LOCKS - 1] = {PTHREAD_MUTEX_INITIALIZER}};
static struct thread *registry[REGISTRY_SIZE];
static _Atomic(struct thread *) zombies;

static size_t
registry_index(pthread_t id)
{
    /* Stacks are whole pages: what tells them apart is above the offset in one. */
    uint32_t page = (uint32_t)((uintptr_t)id / STACK_PAGE_MIN);
    return (page * REGISTRY_MIX) >> (32 - REGISTRY_SHIFT);
}

/* The bucket of a thread, locked. */
static struct thread **
registry_enter(pthread_t id)
{
    size_t index = registry_index(id);
    pthread_mutex_lock(&registry_lock[index % REGISTRY_LOCKS].lock_mutex);
    return &registry[index];
}

static void
registry_leave(pthread_t id)
{
    pthread_mutex_unlock(&registry_lock[registry_index(id) % REGISTRY_LOCKS].lock_mutex);
}

/* By the creator and by the thread, whichever comes first: either may be asked for it next. */
static void
registry_add(struct thread *thread, pthread_t id)
{
    struct thread **bucket = registry_enter(id);
    if (!thread->thread_listed) {
        thread->thread_listed = true;
        thread->thread_id = id;
        thread->thread_next = *bucket;
        *bucket = thread;
    }
    registry_leave(id);
}

static void
registry_remove(struct thread *thread)
{
    struct thread **link = registry_enter(thread->thread_id);
    while (*link != thread)
        link = &(*link)->thread_next;
    *link = thread->thread_next;
    registry_leave(thread->thread_id);
}

static void
zombie_push(struct thread *thread)
{
    struct thread *head = atomic_load_explicit(&zombies, memory_order_relaxed);
    do
        thread->thread_zombie = head;
    while (!atomic_compare_exchange_weak_explicit(&zombies, &head, thread, memory_order_release,
                                                  memory_order_relaxed));
}

/* The thread is gone for good.  A runtime may have protected pages of its stack, and left it so. */
static void
thread_finish(struct thread *thread)
{
    registry_remove(thread);
    if (page_open(thread->thread_stack, thread->thread_size) == 0)
        stack_release(thread->thread_stack, thread->thread_size);
    umem_free(thread, sizeof(*thread));
}

/* Of a thread that nobody refers to: it started, then. */
static bool
thread_is_gone(const struct thread *thread)
{
    pid_t tid = atomic_load_explicit(&thread->thread_tid, memory_order_relaxed);
    if (tid == 0)
        return true;
    if (thread->thread_joinable)
        return stack_thread_try_join(thread->thread_id);
    return syscall(SYS_tgkill, getpid(), tid, 0) != 0 && errno == ESRCH;
}

static void
reap(void)
{
    if (STACK_LIKELY(atomic_load_explicit(&zombies, memory_order_relaxed) == NULL))
        return;
    int error = errno;
    struct thread *thread = atomic_exchange_explicit(&zombies, NULL, memory_order_acquire);
    while (thread != NULL) {
        struct thread *next = thread->thread_zombie;
        if (thread_is_gone(thread))
            thread_finish(thread);
        else
            zombie_push(thread);
        thread = next;
    }
    errno = error;
}

/* gone: the caller knows that the kernel is through with the thread. */
static void
thread_drop(struct thread *thread, bool gone)
{
    if (atomic_fetch_sub_explicit(&thread->thread_refs, 1, memory_order_acq_rel) != 1)
        return;
    if (gone)
        thread_finish(thread);
    else
        zombie_push(thread);
}

/* In front of what the thread itself still does: destructors of its keys, libc's farewell. */
static void
thread_ended(void *arg)
{
    reap();
    thread_drop(arg, false);
}

static void *
thread_start(void *arg)
{
    struct thread *thread = arg;
    void *result;
    int type;
    pid_t tid = (pid_t)syscall(SYS_gettid);
    atomic_store_explicit(&thread->thread_tid, tid, memory_order_relaxed);
    const void *start = (const void *)(uintptr_t)thread->thread_fn;
    if (stack_fault_installed())
        (void)stack_fault_enter(start); /* without memory for that, an overflow says nothing */
    else
        stack_note_thread(thread->thread_stack, tid, start);
    registry_add(thread, pthread_self());
    pthread_cleanup_push(thread_ended, thread);
    result = thread->thread_fn(thread->thread_arg);
    /* No cancellation halfway through the handler. */
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
    pthread_cleanup_pop(1);
    return result;
}

/* In its bucket, locked.  NULL: none of ours. */
static struct thread *
bucket_find(struct thread **bucket, pthread_t id)
{
    struct thread *thread = *bucket;
    while (thread != NULL && !pthread_equal(thread->thread_id, id))
        thread = thread->thread_next;
    return thread;
}

/* With the lock held: whether nobody else has it.  thread may be NULL. */
static bool
thread_hold(struct thread *thread)
{
    return thread != NULL &&
           !atomic_exchange_explicit(&thread->thread_held, true, memory_order_relaxed);
}

STACK_EXPORT int
stack_thread_hold(pthread_t id, void **held)
{
    struct thread *thread = bucket_find(registry_enter(id), id);
    int error = thread != NULL && thread->thread_detached ? EINVAL : 0;
    *held = thread_hold(thread) ? thread : NULL;
    registry_leave(id);
    return error;
}

STACK_EXPORT void
stack_thread_settle(void *held, bool joined)
{
    struct thread *thread = held;
    if (thread == NULL)
        return;
    if (joined) {
        atomic_store_explicit(&thread->thread_tid, 0, memory_order_relaxed);
        thread_drop(thread, true);
    } else
        atomic_store_explicit(&thread->thread_held, false, memory_order_relaxed);
    reap();
}

STACK_EXPORT int
stack_thread_detach(pthread_t id)
{
    struct thread *thread = bucket_find(registry_enter(id), id);
    int error = thread == NULL ? ESRCH : thread->thread_detached ? EINVAL : 0;
    /* Where somebody joins it just now, nothing happens: libc has it so, too. */
    bool detached = error == 0 && thread_hold(thread);
    if (detached)
        thread->thread_detached = true;
    registry_leave(id);
    if (detached)
        thread_drop(thread, false);
    reap();
    return error;
}

static void
before_fork(void)
{
    for (size_t i = 0; i < REGISTRY_LOCKS; i++)
        pthread_mutex_lock(&registry_lock[i].lock_mutex);
}

static void
after_fork_in_parent(void)
{
    for (size_t i = 0; i < REGISTRY_LOCKS; i++)
        pthread_mutex_unlock(&registry_lock[i].lock_mutex);
}

static void
after_fork_in_child(void)
{
    pthread_t self = pthread_self();
    /* Anew: a thread that had emptied the list to look through it is not here to push any back. */
    atomic_store_explicit(&zombies, NULL, memory_order_relaxed);
    for (size_t i = 0; i < REGISTRY_SIZE; i++)
        for (struct thread *thread = registry[i]; thread != NULL; thread = thread->thread_next) {
            bool here = pthread_equal(thread->thread_id, self) != 0 &&
                        atomic_load_explicit(&thread->thread_refs, memory_order_relaxed) != 0;
            atomic_store_explicit(&thread->thread_tid, here ? (pid_t)syscall(SYS_gettid) : 0,
                                  memory_order_relaxed);
            if (!here)
                zombie_push(thread);
        }
    after_fork_in_parent();
}

static void
watch_forks(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/*
 * The caller's attributes on our stack.  Copied as bytes: no other way takes
 * along affinity, signal mask and what later versions add.  The copy borrows
 * what the original points to and is never destroyed.
 */
static int
create_on(struct thread *thread, pthread_t *id, const pthread_attr_t *attr)
{
    pthread_attr_t ours = *attr;
    int state;
    int error = pthread_attr_setstack(&ours, thread->thread_stack, thread->thread_size);
    if (error == 0)
        error = pthread_attr_getdetachstate(&ours, &state);
    if (error != 0)
        return error;
    thread->thread_detached = state == PTHREAD_CREATE_DETACHED;
    thread->thread_joinable = !thread->thread_detached;
    atomic_init(&thread->thread_held, thread->thread_detached);
    atomic_init(&thread->thread_refs, thread->thread_detached ? 2 : 3);
    error = pthread_create(id, &ours, thread_start, thread);
    if (error == 0) {
        registry_add(thread, *id);
        thread_drop(thread, false);
    }
    return error;
}

static int
create_with_default(struct thread *thread, pthread_t *id)
{
    pthread_attr_t attr;
#ifdef __GLIBC__
    int error = pthread_getattr_default_np(&attr);
#else
    int error = pthread_attr_init(&attr);
#endif
    if (error != 0)
        return error;
    error = create_on(thread, id, &attr);
    pthread_attr_destroy(&attr);
    return error;
}

STACK_EXPORT int
stack_pthread_create(pthread_t *id, const pthread_attr_t *attr, size_t size, void *(*fn)(void *),
                     void *arg)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    reap();
    void *stack = stack_hold(size);
    if (stack == NULL)
        return errno;
    struct thread *thread = umem_zalloc(sizeof(*thread), UMEM_DEFAULT);
    int error = ENOMEM;
    if (thread != NULL) {
        thread->thread_stack = stack;
        thread->thread_size = size;
        thread->thread_fn = fn;
        thread->thread_arg = arg;
        error = attr != NULL ? create_on(thread, id, attr) : create_with_default(thread, id);
        if (error == 0)
            return 0;
        umem_free(thread, sizeof(*thread));
    }
    stack_release(stack, size);
    return error;
}
