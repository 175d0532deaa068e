/* SPDX-License-Identifier: MIT */
/*
 * guard.h - ranges of pages that are inaccessible but for parts that are opened
 * and closed again.
 *
 * Where the kernel has lightweight guard regions (Linux 6.13) an inaccessible
 * page is a mark in the page table: it costs no mapping, and a million of them
 * lie in one.  Elsewhere, and in memory that is locked, mprotect() serves: two
 * mappings for each part that is open, of which the process has few
 * (vm.max_map_count), so that these functions take at most half of them.
 *
 * The caller keeps each range's state and owns the pages that it passes; those
 * of one range may be opened and closed by several threads at once.
 */
#ifndef UMEM_GUARD_H
#define UMEM_GUARD_H

#include "base/base.h"

/* Whether guards cost no mapping here: found out by making one, once. */
bool os_guard_is_light(void);
/*
 * Makes all of a range of readable and writable anonymous memory inaccessible
 * and gives its pages back.  *heavy, for the functions below, says that
 * mprotect() did.  -1 with errno: it is as it was.
 */
int os_guard_init(void *addr, size_t size, _Atomic bool *heavy);
/* Makes the whole range readable and writable again: what it held is zeroes. */
void os_guard_fini(void *addr, size_t size, _Atomic bool *heavy);
/*
 * Opens pages of the range: zeroes, readable and writable.  -1 with ENOMEM: that
 * would take too many mappings; EPERM: the system refuses.  Nothing was opened.
 */
int os_guard_open(void *addr, size_t size, _Atomic bool *heavy);
/* Closes what was opened: inaccessible, its memory given back.  Keeps errno. */
void os_guard_close(void *addr, size_t size, _Atomic bool *heavy);

#endif
