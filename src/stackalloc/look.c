/* SPDX-License-Identifier: MIT */
/*
 * look.c - what the kernel knows of pages: see look.h.
 *
 * Makes system calls.  No state, no locks.
 */
#include "look.h"

#include <errno.h>
#include <sys/prctl.h>

/* The values are ABI; the names are younger than the oldest headers we build with. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#ifndef PR_SET_VMA_ANON_NAME
#define PR_SET_VMA_ANON_NAME 0
#endif

void
look_name(void *addr, size_t size, const char *name)
{
    int error = errno;
    /* Not known before 5.17, nor without CONFIG_ANON_VMA_NAME: then there is no name. */
    (void)prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, size, name);
    errno = error;
}
