/* SPDX-License-Identifier: MIT */
/*
 * support.h - pools over the heap and over arenas of plain numbers, for the
 * tests of the slab layer.
 */
#ifndef TESTS_SLAB_SUPPORT_H
#define TESTS_SLAB_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "os/os.h"
#include "slab/pagemap.h"
#include "slab/slab.h"
#include "vmem/vmem_impl.h"

/* Their mlock() locks nothing. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#else
#define UNDER_SANITIZER 0
#endif

static inline struct slab_geometry
heap_geometry(size_t chunk_size, size_t align)
{
    vmem_init();
    return (struct slab_geometry){.geo_arena = &vmem_heap,
                                  .geo_quantum = UMEM_GRANULE,
                                  .geo_mapped = true,
                                  .geo_chunk_size = chunk_size,
                                  .geo_align = align,
                                  .geo_bin = 7};
}

/* Numbers that are no addresses: whoever touched them would die. */
static inline struct slab_geometry
number_geometry(vmem_t *arena, size_t quantum, size_t chunk_size)
{
    return (struct slab_geometry){.geo_arena = arena,
                                  .geo_quantum = quantum,
                                  .geo_chunk_size = chunk_size,
                                  .geo_align = quantum};
}

static inline unsigned
free_one(struct slab_pool *pool, void *obj, enum slab_status *status)
{
    return slab_free(pool, &obj, 1, status);
}

#endif
