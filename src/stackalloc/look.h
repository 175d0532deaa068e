/* SPDX-License-Identifier: MIT */
/*
 * look.h - what the kernel knows of pages, and what it tells others of them.
 *
 * Beside page.h, which changes pages: nothing here does.  Every function is
 * MT-safe and keeps no state, but for what the system is like.
 */
#ifndef STACKALLOC_LOOK_H
#define STACKALLOC_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Gives a range a name in /proc/PID/maps, where the kernel has such names.  Keeps errno. */
void look_name(void *addr, size_t size, const char *name);

/*
 * How much of a range, from its low end on, was never touched since its pages
 * were last given back; whole pages.  Swapped out pages count as touched.  0
 * where the kernel does not tell.  Async-signal-safe, keeps errno.
 */
size_t look_untouched(const void *addr, size_t size);
/* Bytes of a range that are in memory. */
size_t look_resident(const void *addr, size_t size);
/* Whether a range is locked in memory, by whichever call. */
bool look_locked(const void *addr, size_t size);
/* Mappings of the process that begin where ours() says so; 0 where /proc is not there. */
size_t look_mappings(bool (*ours)(uintptr_t start));
/* Bytes of a transparent huge page, where a range may ask for them; else 0.  Read once. */
size_t look_huge_page(void);
/* vm.max_map_count, read once; its default where it cannot be read.  Keeps errno. */
size_t look_mappings_limit(void);

#endif
