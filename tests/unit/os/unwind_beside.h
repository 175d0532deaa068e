/* SPDX-License-Identifier: MIT */
/* unwind_beside.h - a capture by os_unwind() and by glibc's backtrace(), compared. */
#ifndef UNWIND_BESIDE_H
#define UNWIND_BESIDE_H

#include <dlfcn.h>
#include <execinfo.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "os/unwind.h"

#define FRAMES_MAX 255
/* Frames at most that backtrace() begins with and we do not. */
#define INNER_MAX 3

static _Atomic unsigned captures;
static _Atomic unsigned mismatches;
static _Atomic unsigned longer; /* captures that went on where libgcc gave up */

static void
complain(const uintptr_t *ours, int n, void *const *theirs, int m)
{
    if (atomic_fetch_add(&mismatches, 1) != 0)
        return; /* one is enough to read */
    fprintf(stderr, "# %d frames, backtrace() %d\n", n, m);
    for (int i = 0; i < n || i < m; i++) {
        Dl_info info = {0};
        void *a = i < n ? (void *)ours[i] : NULL;
        void *b = i < m ? theirs[i] : NULL;
        dladdr(a != NULL ? a : b, &info);
        fprintf(stderr, "# %3d %p %p %s\n", i, a, b, info.dli_sname ? info.dli_sname : "?");
    }
}

/* Captures both ways.  Ours may go on, through code without tables only. */
static __attribute__((noinline)) void
compare(void)
{
    uintptr_t ours[FRAMES_MAX];
    void *all[FRAMES_MAX + INNER_MAX];
    int inner = 1;

    int n = (int)os_unwind(ours, FRAMES_MAX, 0);
    int m = backtrace(all, FRAMES_MAX + INNER_MAX);
    /* The first is in here; with a sanitizer there is one more, of its backtrace(). */
    while (inner < INNER_MAX && inner < m && (uintptr_t)all[inner] != ours[0])
        inner++;
    void *const *theirs = all + inner;
    m = m - inner < FRAMES_MAX ? m - inner : FRAMES_MAX;
    captures++;
    if (n < m || memcmp(ours, theirs, (size_t)m * sizeof(void *)) != 0)
        complain(ours, n, theirs, m);
    if (n > m)
        longer++;
}

static inline void
reset(void)
{
    captures = mismatches = longer = 0;
}

#endif
