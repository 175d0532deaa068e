/* SPDX-License-Identifier: MIT */
/*
 * os.h - the operating system as the engine sees it: the only layer that
 * makes system calls.
 *
 * A port to another system rewrites this folder and nothing else.  Every
 * function is MT-safe and keeps no lock over a call; those marked (AS) are
 * also async-signal-safe.  Errors: NULL or -1 with errno.
 */
#ifndef UMEM_OS_H
#define UMEM_OS_H

#include "base/base.h"

/* Page size in bytes. (AS) */
size_t os_page_size(void);
/* Whether code with AVX2, vectors of 32 bytes, may be run. (AS) */
bool os_has_avx2(void);

/*
 * Maps size bytes (a multiple of the page size) of zeroed, readable and
 * writable memory at a multiple of align (a power of two; at least a page).
 * EAGAIN: RLIMIT_MEMLOCK under mlockall(MCL_FUTURE); ENOMEM.
 */
void *os_map(size_t size, size_t align);
int os_unmap(void *addr, size_t size);
/* The same size of inaccessible address space, which counts as locked under MCL_FUTURE. */
void *os_reserve(size_t size, size_t align);
/*
 * Moves a mapping, pages, locks and all, over a reservation, and lets it grow
 * to to_size.  Nothing is left behind: the old range is anybody's.  False:
 * nothing was moved, and the reservation may be gone: it must not be touched
 * again.  Keeps errno.
 */
bool os_move(void *from, size_t from_size, void *to, size_t to_size);
/* Makes whole pages inaccessible, or readable and writable again. (AS) */
int os_protect(void *addr, size_t size, bool accessible);
/*
 * Gives the physical pages of a range back: it reads as zeroes afterwards.
 * -1, and the contents are kept, where the memory is locked: whoever locked it
 * wants no page faults later.  Keeps errno.
 */
int os_purge(void *addr, size_t size);
/*
 * Faults in, writable, every page that the range touches; keeps the contents.
 * accessible: all of it is known to be readable and writable, so that a kernel
 * without the means is helped out.  -1 with ENOMEM: not all pages are there.
 */
int os_populate(void *addr, size_t size, bool accessible);
/*
 * Zeroes whole and partial pages: large ranges by fresh ones unless the memory
 * is locked, else by writing.
 */
void os_zero(void *addr, size_t size);
/* Labels a mapping in /proc/PID/maps where the kernel can; never fails. (AS) */
void os_name(void *addr, size_t size, const char *name);

/* CLOCK_MONOTONIC in nanoseconds, without a system call where it can. (AS) */
uint64_t os_clock_ns(void);
/* The same at tick resolution, cheaper, in milliseconds. (AS) */
uint64_t os_clock_coarse_ms(void);
/* The same in nanoseconds. */
uint64_t os_clock_coarse_ns(void);

/* The kernel's id of this thread; a system call: cache it. (AS) */
uint32_t os_thread_id(void);
uint32_t os_process_id(void);
/* Page faults of this thread so far, minor and major; a system call. (AS) */
uint64_t os_page_faults(void);
unsigned os_cpu_count(void);

/*
 * Starts a detached thread that runs fn(NULL), all signals blocked.  It calls
 * libc, which allocates: for a caller without locks.  -1 with errno.
 */
int os_thread_start(void *(*fn)(void *));
/* Names this thread, 15 characters of it, where the kernel can. (AS) */
void os_thread_name(const char *name);
/* Sleeps for that long at least. (AS) */
void os_sleep_ms(uint64_t ms);
/*
 * Whether all other threads of the process have ended, the first one too: it
 * lives on only as long as this one does.  False where /proc is not there.
 */
bool os_thread_is_last(void);

/*
 * libc's lock of its streams, which its fork() takes when the prepare handlers
 * are done, and whose holder may allocate (a stream that is flushed): to be
 * taken before any lock that an allocation waits for.  The child resets it.
 */
void os_streams_lock(void);
void os_streams_unlock(void);
void os_streams_reset_child(void);

/*
 * Connects to the abstract UNIX socket of that name and waits until the other
 * side closes the connection; returns at once where there is none. (AS)
 */
void os_meet(const char *name);

/* Writes all of buf, retrying on EINTR. (AS) */
void os_write(int fd, const void *buf, size_t size);
/* The function of that name which comes behind ours, libc's mostly, or NULL. */
void *os_next_function(const char *name);
/*
 * The environment variable, or NULL.  Works before libc has set up environ.
 * The result stays valid for the life of the process.
 */
const char *os_getenv(const char *name);
/* Set-uid, set-gid or file capabilities: the environment is not to be trusted. */
bool os_secure(void);
/* Raises SIGABRT past any handler or mask, so that a core is left. (AS) */
_Noreturn void os_abort(void);

/*
 * Makes every thread of the process that runs pass a memory barrier, as though
 * it had one at some instant of the call.  False: the system cannot, or
 * os_barrier_init() was not called while it could be.
 */
void os_barrier_init(void);
bool os_barrier(void);

/* Waits while *word == expected (spurious wake-ups happen); wakes n waiters. */
void os_futex_wait(_Atomic uint32_t *word, uint32_t expected);
void os_futex_wake(_Atomic uint32_t *word, int n);

#endif
