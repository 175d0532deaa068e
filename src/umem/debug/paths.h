/* SPDX-License-Identifier: MIT */
/*
 * paths.h - the stacks that a thread came by, as a tree: a path is a stack
 * from one frame outwards, told by that frame and the path from the next one
 * on.  So a stack whose inner frames alone are others than a moment ago is
 * found by those, exactly, however deep it is.
 *
 * The room for them begins small and grows with what comes, since under
 * mlockall(MCL_FUTURE) all of it is memory at once.  A path's number is good
 * until umem_paths_forget().  One thread at a time.
 */
#ifndef UMEM_PATHS_H
#define UMEM_PATHS_H

#include "base/base.h"

/*
 * A compiler (cc1 -O2) came by 16,000 to 32,000; half of the room made it start
 * anew ten times.  28 KiB at first, 0.9 MiB at last.
 */
#define UMEM_PATHS_SHIFT_MIN 10
#define UMEM_PATHS_SHIFT_MAX 15
#define UMEM_PATHS_MAX (1u << UMEM_PATHS_SHIFT_MAX)

struct umem_path {
    uintptr_t path_frame;
    uint32_t path_outer; /* the path from the next frame outwards; 0: there is none */
    uint32_t path_next;  /* in its bucket */
    uint32_t path_stack; /* the user's: its id in the stack depot, or 0 */
};

struct umem_paths {
    uint32_t paths_count;
    uint32_t paths_shift;         /* room for so many paths, less the first, and buckets */
    struct umem_path *paths_path; /* 0 is none */
    uint32_t *paths_bucket;       /* behind them */
};

/* Room for the first ones.  False with errno: there is no memory. */
bool umem_paths_init(struct umem_paths *paths);
/* The number of a path, new or not; 0: there is no room, forget first. */
uint32_t umem_paths_find(struct umem_paths *paths, uint32_t outer, uintptr_t frame);
/* All paths, and so their numbers. */
void umem_paths_forget(struct umem_paths *paths);

#endif
