/* SPDX-License-Identifier: MIT */
/*
 * look.h - what the kernel knows of pages, and what it tells others of them.
 *
 * Beside page.h, which changes pages: nothing here does.  Every function is
 * MT-safe and keeps no state.
 */
#ifndef STACKALLOC_LOOK_H
#define STACKALLOC_LOOK_H

#include <stdbool.h>
#include <stddef.h>

/* Gives a range a name in /proc/PID/maps, where the kernel has such names.  Keeps errno. */
void look_name(void *addr, size_t size, const char *name);

#endif
