/* SPDX-License-Identifier: MIT */
/*
 * paths.h - the stacks that a thread came by, as a tree: a path is a stack
 * from one frame outwards, told by that frame and the path from the next one
 * on.  So a stack whose inner frames alone are others than a moment ago is
 * found by those, exactly, however deep it is.
 *
 * A path's number is good until umem_paths_forget().  One thread at a time.
 */
#ifndef UMEM_PATHS_H
#define UMEM_PATHS_H

#include "base/base.h"

/*
 * A compiler (cc1 -O2) came by 16,000 to 32,000; half of the room made it start
 * anew ten times.  0.9 MiB, of which a program touches what it comes by.
 */
#define UMEM_PATHS_MAX 32768
#define UMEM_PATHS_BUCKETS_SHIFT 15

struct umem_path {
    uintptr_t path_frame;
    uint32_t path_outer; /* the path from the next frame outwards; 0: there is none */
    uint32_t path_next;  /* in its bucket */
    uint32_t path_stack; /* the user's: its id in the stack depot, or 0 */
};

/* Zeroed memory is an empty one. */
struct umem_paths {
    uint32_t paths_count;
    uint32_t paths_bucket[1 << UMEM_PATHS_BUCKETS_SHIFT];
    struct umem_path paths_path[UMEM_PATHS_MAX]; /* 0 is none */
};

/* The number of a path, new or not; 0: there is no room, forget first. */
uint32_t umem_paths_find(struct umem_paths *paths, uint32_t outer, uintptr_t frame);
/* All paths, and so their numbers. */
void umem_paths_forget(struct umem_paths *paths);

#endif
