/* SPDX-License-Identifier: MIT */
/*
 * object_short.h - the short way of small blocks under debugging.
 *
 * Programs that run under debugging spend its cost on blocks of the size
 * classes, in which everything is as it should be.  Here such a block is checked, filled,
 * recorded and passed on in one go, without a description of it being built
 * for others to read.  Whatever is not as usual, damage above all, is left as
 * it was found, and said to be none of this file's: the long way (object.c,
 * debug/check.c) looks at it again, and reports.
 */
#ifndef UMEM_OBJECT_SHORT_H
#define UMEM_OBJECT_SHORT_H

#include "cache/cache.h"

/* Whether the blocks of a cache may go that way: asked once, when it is made. */
bool umem_short_suits(const struct umem_cache *cp, bool is_class);
/* An allocated object of slab is freed.  False: nothing was done.  frame: buf_frame.  Keeps errno.
 */
bool umem_short_free(struct umem_cache *cp, const struct slab *slab, void *obj, size_t stated,
                     const void *frame);
/* A freed object has waited, as umem_cache_leave().  False: nothing was done. */
bool umem_short_leave(struct umem_cache *cp, void *obj, const struct umem_bufctl *bc);

#endif
