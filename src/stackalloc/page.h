/* SPDX-License-Identifier: MIT */
/*
 * page.h - the operating system as the stack library sees it.
 *
 * Every function is MT-safe and keeps no state but the page size.  Ranges are
 * whole pages.  Errors: -1 or NULL with errno, which is ENOMEM, or EAGAIN
 * where RLIMIT_MEMLOCK is what failed, and nothing else.
 */
#ifndef STACKALLOC_PAGE_H
#define STACKALLOC_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

size_t page_size(void);

/*
 * Reserves inaccessible address space: no memory, no commit charge, and never
 * locked nor charged as locked, even under mlockall(MCL_FUTURE).
 */
void *page_reserve(size_t size);
/*
 * Guard regions: marks in the page tables, which split no mapping.  What a range
 * held is gone, and a touch raises SIGSEGV as long as it is mapped.  Where the
 * kernel lacks them, a filter refuses them, or the range is locked, -1.  No
 * answer may be kept: the last of these looks like the first.
 */
int page_guard(void *addr, size_t size);
/*
 * page_guard() for count ranges of size bytes, stride bytes apart: in few system
 * calls where the kernel takes many ranges at once (Linux 6.15).  Some may have
 * been made where it fails.
 */
int page_guard_each(char *first, size_t size, size_t stride, size_t count);
/* Whether page_guard() has a chance: asked of the kernel at each call. */
bool page_guard_known(void);
/* Keeps huge pages out of a range; where there are none, nothing is to be done. */
void page_keep_small(void *addr, size_t size);
/* Asks for them again, where they fit. */
void page_want_huge(void *addr, size_t size);
/* Gives a reservation back; where the system refuses, address space is lost. */
void page_release(void *addr, size_t size);

/* Makes a range inaccessible.  A system call, little work where it is already so. */
int page_close(void *addr, size_t size);
/* Makes a range readable and writable. */
int page_open(void *addr, size_t size);
/*
 * Whether mlockall(MCL_FUTURE) is in force now: 0 or 1.  A page_reserve() that has just found
 * out answers once in its place, unless that is forgotten: when an allocation begins.
 */
int page_locking(void);
void page_locking_forget(void);
/* Locks a range that is open, without faulting it in. */
int page_lock(void *addr, size_t size);
/* The reverse; the contents stay. */
void page_unlock(void *addr, size_t size);
/* Faults in every page of an open range for writing; the contents stay. */
int page_populate(void *addr, size_t size);
/*
 * Unlocks a range and gives its memory back: what is open, or will be, reads as
 * zeroes.  Guard regions in it stay.
 */
void page_discard(void *addr, size_t size);

/* Zeroed memory for the library's own tables; locked under mlockall(MCL_FUTURE). */
void *page_table_alloc(size_t size);
void page_table_free(void *addr, size_t size);

/* All memory that the system has, with what it swaps to. */
uint64_t page_memory(void);

#endif
