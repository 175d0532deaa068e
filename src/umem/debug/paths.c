/* SPDX-License-Identifier: MIT */
/*
 * paths.c - the tree of a thread's stacks (paths.h says what for): a hash table
 * over an array that is filled from its start and emptied as a whole.  Both lie
 * in one block of the metadata pool, which a larger one takes the place of; the
 * numbers of paths stay what they were.
 *
 * No lock of its own; calls the metadata pool.
 */
#include "debug/paths.h"

#include <errno.h>
#include <string.h>

#include "os/meta.h"

#define GROWTH_SHIFT 2 /* each time four times as many: few copies */

static size_t
block_size(uint32_t shift)
{
    return (sizeof(struct umem_path) + sizeof(uint32_t)) << shift;
}

/* Only the frame's product is known early: the one of the path ends the wait for the last step. */
static inline uint32_t *
bucket_of(const struct umem_paths *paths, uint32_t outer, uintptr_t frame)
{
    const uint64_t by_frame = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
    const uint64_t by_path = UINT64_C(0xd1b54a32d192ed03);  /* 2^64 / plastic number, odd */
    uint64_t hash = frame * by_frame + outer * by_path;

    return &paths->paths_bucket[hash >> (64 - paths->paths_shift)];
}

static bool
make_room(struct umem_paths *paths, uint32_t shift)
{
    struct umem_path *path = umem_meta_alloc(block_size(shift));

    if (path == NULL)
        return false;
    paths->paths_shift = shift;
    paths->paths_path = path;
    paths->paths_bucket = (uint32_t *)(path + ((size_t)1 << shift));
    return true;
}

bool
umem_paths_init(struct umem_paths *paths)
{
    paths->paths_count = 0;
    return make_room(paths, UMEM_PATHS_SHIFT_MIN);
}

/* Moves to a larger block.  False: there is none, or this is the largest. */
static UMEM_COLD bool
grow(struct umem_paths *paths)
{
    struct umem_paths old = *paths;
    int saved = errno;

    if (old.paths_shift == UMEM_PATHS_SHIFT_MAX ||
        !make_room(paths,
                   (uint32_t)umem_min(old.paths_shift + GROWTH_SHIFT, UMEM_PATHS_SHIFT_MAX))) {
        errno = saved;
        return false;
    }
    for (uint32_t i = 1; i <= old.paths_count; i++) {
        struct umem_path *path = &paths->paths_path[i];
        *path = old.paths_path[i];
        uint32_t *bucket = bucket_of(paths, path->path_outer, path->path_frame);
        path->path_next = *bucket;
        *bucket = i;
    }
    umem_meta_free(old.paths_path, block_size(old.paths_shift));
    return true;
}

static UMEM_NOINLINE uint32_t
add(struct umem_paths *paths, uint32_t outer, uintptr_t frame)
{
    uint32_t path = paths->paths_count + 1;

    if (path >> paths->paths_shift != 0 && !grow(paths))
        return 0;
    uint32_t *bucket = bucket_of(paths, outer, frame);
    paths->paths_count = path;
    paths->paths_path[path] =
        (struct umem_path){.path_frame = frame, .path_outer = outer, .path_next = *bucket};
    *bucket = path;
    return path;
}

uint32_t
umem_paths_find(struct umem_paths *paths, uint32_t outer, uintptr_t frame)
{
    const struct umem_path *all = paths->paths_path;

    for (uint32_t path = *bucket_of(paths, outer, frame); path != 0; path = all[path].path_next)
        if (all[path].path_frame == frame && all[path].path_outer == outer)
            return path;
    return add(paths, outer, frame);
}

void
umem_paths_forget(struct umem_paths *paths)
{
    paths->paths_count = 0;
    memset(paths->paths_bucket, 0, sizeof(uint32_t) << paths->paths_shift);
}
