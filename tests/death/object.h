/* SPDX-License-Identifier: MIT */
/*
 * object.h - death.h's helpers for the programs that misuse object caches:
 * linked with libumem, since they call its interface.
 */
#ifndef OBJECT_H
#define OBJECT_H

#include <umem.h>

#include "death.h"

KEEP umem_cache_t *
new_cache(const char *name, size_t bufsize)
{
    return umem_cache_create(name, bufsize, 0, NULL, NULL, NULL, NULL, NULL, 0);
}

KEEP void *
make_object(umem_cache_t *cp)
{
    return opaque(umem_cache_alloc(cp, UMEM_DEFAULT));
}

KEEP void
drop_object(umem_cache_t *cp, void *p)
{
    umem_cache_free(cp, opaque(p));
    __asm__ volatile("" : : : "memory");
}

/* The same without a cache. */
KEEP void *
make_sized(size_t size)
{
    return opaque(umem_alloc(size, UMEM_DEFAULT));
}

KEEP void
drop_sized(void *p, size_t size)
{
    umem_free(opaque(p), size);
    __asm__ volatile("" : : : "memory");
}

#endif
