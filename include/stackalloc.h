/* SPDX-License-Identifier: MIT */
/*
 * stackalloc.h - memory for thread and fiber stacks: guarded on both sides,
 * faulted in before first use, cached constructed.
 *
 * A stack lies between two inaccessible guards: running off either end raises
 * SIGSEGV.  All of its pages are in memory before it is handed out, locked
 * where mlockall(MCL_FUTURE) is in force.  A freed stack stays as it is and
 * serves the next request of its size without a system call or a page fault.
 * The library never writes into a stack: a fresh one reads as zeroes, a reused
 * one holds what its last user left there.
 *
 * Every function may be called from any thread (MT-safe), and from a signal
 * handler only where it says so.  Link with libstackalloc.
 */
#ifndef STACKALLOC_H
#define STACKALLOC_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Solaris has it in <sys/types.h>. */
#ifndef __sun
typedef unsigned int uint_t;
#endif

/*
 * Returns the lowest address, page-aligned, of a stack of size bytes: 32, 64,
 * 128, 256 or 512 KiB, 1 or 2 MiB, as fetch_stack_sizes() tells.  NULL with
 * errno: EINVAL for any other size; ENOMEM for want of memory, address space
 * or mappings; EAGAIN where RLIMIT_MEMLOCK does not allow another locked one, or the
 * budget another one.
 */
void *stack_alloc(size_t size);

/*
 * Takes back a stack that nothing runs on any more.  Returns 0, or -1 with
 * EINVAL, and does nothing, where address is no stack that stack_alloc(size)
 * returned and that is in use: a wild or inner pointer, another size, a second
 * free (exactly one of two racing frees succeeds).
 */
int stack_free(void *address, size_t size);

/*
 * Returns the supported sizes in bytes, rising, a zero at the end, in memory
 * that the caller may free().  NULL with ENOMEM.
 */
uint_t *fetch_stack_sizes(void);

enum stack_backend {
    STACK_BACKEND_AUTO = 0,     /* the next, up to a quarter of vm.max_map_count, then the last */
    STACK_BACKEND_MPROTECT = 1, /* guards are mappings of their own: two for each stack */
    STACK_BACKEND_REGIONS = 2   /* guard regions (Linux 6.13): no mapping more for a stack */
};

enum stack_scrub {
    STACK_SCRUB_NONE = 0, /* a reused stack holds what its last user left */
    STACK_SCRUB_USED = 1, /* stack_free() clears what that one wrote, from the lowest byte up */
    STACK_SCRUB_ALL = 2   /* stack_free() clears the stack */
};

enum stack_watermark_how { STACK_WATERMARK_FILL = 1, STACK_WATERMARK_PAGES = 2 };

struct stack_config {
    size_t config_guard_low;  /* bytes, made whole pages; 0: as usual, 16 KiB (aarch64 64 KiB), */
    size_t config_guard_high; /* and a page */
    enum stack_backend config_backend;
    int config_lazy; /* not 0: pages are faulted in by their first use, not by stack_alloc() */
    enum stack_scrub config_scrub;
    unsigned config_idle_ms;   /* freed stacks that nobody wants for so long go; 0: they stay */
    size_t config_cache_bytes; /* so much of freed stacks is kept; 0: all */
    /* STACK_WATERMARK_FILL: each stack_alloc() does what stack_watermark() would; 0: none does. */
    enum stack_watermark_how config_watermark;
};

/*
 * Sets how stacks of stack_size are made, before the first of them.  size is
 * sizeof(struct stack_config); what is beyond it is taken as 0.  Returns 0, or -1 with
 * errno: EINVAL for what there is not, or a guard too wide; EBUSY where a stack of
 * that size was asked for already; ENOTSUP for STACK_BACKEND_REGIONS
 * where the system has none.
 */
int stack_config(size_t stack_size, const struct stack_config *config, size_t size);

/*
 * Sees to it that at least n stacks of size exist beside those in use; umem_reap()
 * leaves them.  n = 0 gives the reserve up.  Returns 0, or -1 with errno as
 * stack_alloc() sets it, what was made stays; EBUSY while sealed.
 */
int stack_reserve(size_t size, size_t n);

/*
 * Gives the memory of freed stacks of a size (0: of each size) back to the system, but
 * for the keep that were freed last: they are cold then, and are unmapped where all
 * that lie together are.  Those of a size with a reserve stay, as do a few
 * in each other thread's hands.  Returns how many went, or -1 with errno: EINVAL for no
 * such size; EBUSY while sealed; EPERM from a real-time thread.  stack_config() has
 * it done by frees.
 */
ssize_t stack_trim(size_t size, size_t keep);

/*
 * From now on no stack is built that makes those in use and cached, of all sizes, more than so
 * many bytes; 0: any number, as at first.  Their guards and the library's tables do not
 * count.  Beyond it stack_alloc() gives freed stacks back to the system, of whatever
 * size, as stack_trim() does, and fails with EAGAIN where that is not enough.
 */
void stack_budget(size_t bytes);

/*
 * How many bytes of RLIMIT_MEMLOCK n more stacks of size take under
 * mlockall(MCL_FUTURE), at most, what the library itself needs for them included.  Lazy ones
 * too: the limit counts what may be touched.  SIZE_MAX where no limit would
 * do; 0 with errno, EINVAL or ENOMEM.
 */
size_t stack_memlock_need(size_t size, size_t n);

/*
 * From here on stack_alloc() and stack_free() of the stacks that there are, of every
 * size that was asked for so far, make no system call, take no fault and wait for
 * no lock, in any thread, until stack_unseal().  An allocation beyond them is made all the
 * same and counted: stack_breaches() tells how many there were.  No thread may
 * use the library during these two calls.  They return 0, or -1 with errno:
 * ENOMEM; EINVAL where it is sealed already, or not sealed.
 */
int stack_seal(void);
int stack_unseal(void);
uint64_t stack_breaches(void);

/* Of a name, its terminating zero included. */
#define STACK_NAME_MAX 24

enum stack_info_state {
    STACK_IS_CACHED = 1, /* freed: the next stack_alloc() of its size may return it */
    STACK_IS_USED = 2,
    STACK_IS_COLD = 3 /* there is none: one was taken apart, and another may be built here */
};

enum stack_info_place {
    STACK_IN_BODY = 0,
    STACK_IN_LOW_GUARD = 1, /* where a stack overflows */
    STACK_IN_HIGH_GUARD = 2
};

struct stack_info {
    void *info_base; /* what stack_alloc() returned */
    size_t info_size;
    size_t info_guard_low; /* bytes of the guards */
    size_t info_guard_high;
    enum stack_info_state info_state;
    enum stack_info_place info_place; /* of the address that was asked for */
    size_t info_beyond;             /* bytes past the end: 1 for the guard's first; 0 in the body */
    pid_t info_thread;              /* the thread that runs on it, 0 where that is not known */
    void *info_start;               /* an address in that thread's start function, or NULL */
    char info_name[STACK_NAME_MAX]; /* from stack_name(), or empty */
    uintptr_t info_reserved[4];     /* 0 */
};

/*
 * Tells what stack an address lies in: anywhere in it, or in its guards.
 * Returns 0, or -1 with EINVAL where it is in none.  Takes no lock and makes
 * no system call.  Async-signal-safe.
 */
int stack_info(const void *address, struct stack_info *info);

/*
 * Names the stack in use that address lies in, until it is freed; what is
 * longer than STACK_NAME_MAX - 1 bytes is cut, NULL or "" takes the name away.
 * Returns 0, or -1 with EINVAL.  Async-signal-safe.
 */
int stack_name(const void *address, const char *name);

/*
 * Calls fn for every stack, in use and cached but not cold, by rising address, until it
 * returns other than 0; returns that, or 0.  No lock is held: fn may do what it
 * likes, and other threads go on.  A stack there all the while is seen once, in a state that
 * it had; one that comes or goes meanwhile may be seen or not.
 * Async-signal-safe, where fn is.
 */
typedef int stack_foreach_fn(const struct stack_info *info, void *arg);
int stack_foreach(stack_foreach_fn *fn, void *arg);

#define STACK_STATS_CLASSES 8 /* room for a row more than there are */

struct stack_class_stats {
    size_t class_size;
    size_t class_used;          /* stacks in use */
    size_t class_cached;        /* stacks in the cache */
    size_t class_constructions; /* stacks built, since the process began */
};

struct stack_stats {
    size_t stats_used_bytes;    /* of stacks in use, */
    size_t stats_cached_bytes;  /* and in the cache; of these, */
    size_t stats_cold_bytes;    /* what holds no memory; and cold stacks */
    size_t stats_locked_bytes;  /* of stacks that are locked in memory, in use or cached */
    size_t stats_mappings;      /* of vm.max_map_count; 0 where /proc is not there to tell */
    size_t stats_constructions; /* stacks built, since the process began */
    size_t stats_classes;       /* entries below that hold */
    struct stack_class_stats stats_class[STACK_STATS_CLASSES];
    size_t stats_class_cold[STACK_STATS_CLASSES]; /* taken apart, and still mapped */
    size_t stats_faults; /* page faults of the process, on whatever memory */
};

/*
 * Counts.  size is sizeof(struct stack_stats): what the library knows beyond
 * it is left out, what it does not know is 0.  Returns 0, or -1 with EINVAL
 * where size is 0.  Asks the kernel about every stack: for monitors, not for
 * real-time threads.
 */
int stack_stats(struct stack_stats *stats, size_t size);

/*
 * Prepares the measure of how deep a stack goes.  address is what stack_alloc()
 * returned, nothing runs on the stack yet.  STACK_WATERMARK_FILL fills it with
 * a pattern: exact to the byte.  STACK_WATERMARK_PAGES gives its memory back,
 * so that each first touch of a page faults: exact to the page, nothing is
 * written; for stacks that are not locked.  Returns 0, or -1 with EINVAL: no such stack in
 * use, or how is none of these; EBUSY: STACK_WATERMARK_PAGES of a locked stack.
 */
int stack_watermark(void *address, size_t size, enum stack_watermark_how how);

/*
 * How many bytes, from its high end down, of the stack that address lies in
 * were used since stack_watermark(), at most.  Without a watermark it is what of it
 * holds memory: all, for a stack that was faulted in as usual.  -1 with EINVAL
 * where address is in no stack.  Async-signal-safe.
 */
ssize_t stack_highwater(const void *address);

/*
 * From now on a thread that runs off its stack says so on standard error
 * before it dies: which stack, how far, in what function, how deep it was.  Then the
 * handler of SIGSEGV runs that was there before.  Once for a process; for each
 * thread stack_fault_thread_init(), which this does for the one that calls: it
 * gives the thread an alternate signal stack, guarded, until it ends, where it
 * has none.  To be called by the function that the thread starts in, whose
 * name is told.  Both return 0, or -1 with errno: what stack_alloc() says, or
 * EINVAL where the handler is not installed.
 */
int stack_fault_handler_install(void);
int stack_fault_thread_init(void);

/*
 * Returns where the stack pointer of a fiber on this stack may begin: a
 * multiple of 256, at most 3,840 bytes below the end, of 16 such places one
 * that depends on the address.  So the tops of many stacks do not share cache
 * sets.  Arithmetic only; always the same for the same stack.
 */
void *stack_top(void *address, size_t size);

/*
 * stack_free() for the stack that the caller stands on: taken back by this
 * thread's next stack_alloc() or stack_free_deferred() on another stack, or
 * when the thread ends.  Returns 0, or -1 with EINVAL as stack_free() does.
 */
int stack_free_deferred(void *address, size_t size);

/*
 * After fork(), in parent or child: copies the pages of all stacks in use that
 * are still shared, so that no thread faults for it later.  Returns 0, or -1
 * with ENOMEM.
 */
int stack_reprefault(void);

/*
 * pthread_create() on a stack of the library, of a size that stack_alloc()
 * takes.  All of attr but its stack settings holds; it may be NULL.  The stack
 * is given back when the thread has ended and was joined, or is detached.
 * Returns 0 or an error number: what pthread_create() and stack_alloc() say,
 * EINVAL too where the stack has no room for the C library's part of it.
 */
int stack_pthread_create(pthread_t *thread, const pthread_attr_t *attr, size_t size,
                         void *(*fn)(void *), void *arg);

#ifdef __cplusplus
}
#endif
#endif
