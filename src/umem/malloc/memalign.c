/* SPDX-License-Identifier: MIT */
/*
 * memalign.c - the aligned members of the malloc family.
 *
 * Errors follow glibc 2.36 where POSIX leaves them open: memalign() rounds an
 * alignment up to a power of two, aligned_alloc() is the same function.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "cache/cache.h"
#include "debug/debug.h"
#include "os/os.h"

#define MALLOC_ALIGN 16 /* what malloc() gives anyhow */

/* align is a power of two. */
static void *
allocate(size_t align, size_t size)
{
    if (align <= MALLOC_ALIGN)
        return malloc(size);
    return umem_alloc_aligned(size, align, UMEM_DEFAULT);
}

UMEM_EXPORT void *
memalign(size_t align, size_t size)
{
    if (align > (SIZE_MAX >> 1) + 1) {
        (void)umem_ready();
        umem_debug_null(NULL, size, EINVAL, UMEM_WHY_ALIGN);
        errno = EINVAL;
        return NULL;
    }
    if (!umem_is_pow2(align))
        align = align == 0 ? MALLOC_ALIGN : (size_t)1 << (umem_log2(align) + 1);
    return allocate(align, size);
}

UMEM_EXPORT void *
aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

UMEM_EXPORT int
posix_memalign(void **result, size_t align, size_t size)
{
    if (!umem_is_pow2(align) || align % sizeof(void *) != 0)
        return EINVAL;
    int saved = errno;
    void *buf = allocate(align, size);
    errno = saved;
    if (buf == NULL)
        return ENOMEM;
    *result = buf;
    return 0;
}

UMEM_EXPORT UMEM_COLD void *
valloc(size_t size)
{
    return allocate(os_page_size(), size);
}

void *pvalloc(size_t size); /* which not every libc declares */

UMEM_EXPORT UMEM_COLD void *
pvalloc(size_t size)
{
    size_t page = os_page_size();
    size_t rounded = umem_align_up(size, page);

    if (rounded < size) {
        (void)umem_ready();
        umem_debug_null(NULL, size, ENOMEM, UMEM_WHY_SIZE);
        errno = ENOMEM;
        return NULL;
    }
    return allocate(page, rounded == 0 ? page : rounded);
}
