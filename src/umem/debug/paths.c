/* SPDX-License-Identifier: MIT */
/*
 * paths.c - the tree of a thread's stacks (paths.h says what for): a hash table
 * over an array that is filled from its start and emptied as a whole.
 *
 * The user's memory, no lock, calls nothing.
 */
#include "debug/paths.h"

#include <string.h>

/* Only the frame's product is known early: the one of the path ends the wait for the last step. */
static inline uint32_t *
bucket_of(struct umem_paths *paths, uint32_t outer, uintptr_t frame)
{
    const uint64_t by_frame = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
    const uint64_t by_path = UINT64_C(0xd1b54a32d192ed03);  /* 2^64 / plastic number, odd */
    uint64_t hash = frame * by_frame + outer * by_path;

    return &paths->paths_bucket[hash >> (64 - UMEM_PATHS_BUCKETS_SHIFT)];
}

static UMEM_NOINLINE uint32_t
add(struct umem_paths *paths, uint32_t *bucket, uint32_t outer, uintptr_t frame)
{
    uint32_t path = paths->paths_count + 1;

    if (path == UMEM_PATHS_MAX)
        return 0;
    paths->paths_count = path;
    paths->paths_path[path] =
        (struct umem_path){.path_frame = frame, .path_outer = outer, .path_next = *bucket};
    *bucket = path;
    return path;
}

uint32_t
umem_paths_find(struct umem_paths *paths, uint32_t outer, uintptr_t frame)
{
    uint32_t *bucket = bucket_of(paths, outer, frame);

    for (uint32_t path = *bucket; path != 0; path = paths->paths_path[path].path_next)
        if (paths->paths_path[path].path_frame == frame &&
            paths->paths_path[path].path_outer == outer)
            return path;
    return add(paths, bucket, outer, frame);
}

void
umem_paths_forget(struct umem_paths *paths)
{
    paths->paths_count = 0;
    memset(paths->paths_bucket, 0, sizeof(paths->paths_bucket));
}
