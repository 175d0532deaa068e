/* SPDX-License-Identifier: MIT */
/*
 * malloc.c - the malloc family: what C, POSIX and glibc promise, on the cache
 * layer.  Thin: a block's size class, its free and its size come from there.
 *
 * Compiled without the compiler's knowledge of malloc and calloc, which would
 * fold malloc + memset here into a call of this file's own calloc.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "cache/cache.h"
#include "debug/debug.h"
#include "os/os.h"

/*
 * Who waits for a program's end (UMEM_OPTIONS=exit_stop, as umem run --leaks
 * does) is met where it allocates nothing, too.  Here, since the core library
 * sleeps where nobody calls it: two would come.
 */
__attribute__((constructor)) static void
load(void)
{
    const char *options = os_getenv("UMEM_OPTIONS");

    if (UMEM_UNLIKELY(options != NULL && strstr(options, "exit_stop=") != NULL))
        (void)umem_ready();
}

UMEM_EXPORT UMEM_SHORT void *
malloc(size_t size)
{
    if (UMEM_LIKELY(size <= UMEM_SMALL_MAX))
        return umem_class_alloc_fast(umem_class_of_small[(size + 15) >> 4], size, UMEM_ALIGNED_16);
    return umem_alloc_sized(size, UMEM_ALIGNED_16);
}

UMEM_EXPORT UMEM_SHORT void
free(void *buf)
{
    umem_free_fast(buf, SIZE_MAX);
}

/* count * size is more than there are addresses. */
static UMEM_COLD void *
overflow(void)
{
    (void)umem_ready();
    umem_debug_null(NULL, SIZE_MAX, ENOMEM, UMEM_WHY_SIZE);
    errno = ENOMEM;
    return NULL;
}

UMEM_EXPORT void *
calloc(size_t count, size_t size)
{
    size_t bytes;

    if (UMEM_UNLIKELY(__builtin_mul_overflow(count, size, &bytes)))
        return overflow();
    if (UMEM_UNLIKELY(bytes > UMEM_MAX_CLASS_SIZE))
        return umem_large_zalloc(bytes, UMEM_DEFAULT);
    void *buf = malloc(bytes);
    if (UMEM_LIKELY(buf != NULL))
        memset(buf, 0, bytes);
    return buf;
}

UMEM_EXPORT void *
realloc(void *old, size_t size)
{
    if (old == NULL)
        return malloc(size);
    if (size == 0) { /* as glibc does: frees, and returns NULL */
        free(old);
        return NULL;
    }
    if (umem_resize(old, size))
        return old;
    void *buf = umem_move(old, size);
    if (buf != NULL)
        return buf;
    size_t old_size;
    if (UMEM_UNLIKELY(!umem_block_size(old, &old_size))) {
        free(old); /* reports it, before it can be handed out again, here */
        return malloc(size);
    }
    buf = malloc(size);
    if (buf == NULL)
        return NULL;
    memcpy(buf, old, umem_min(old_size, size));
    free(old);
    return buf;
}

UMEM_EXPORT void *
reallocarray(void *old, size_t count, size_t size)
{
    size_t bytes;

    if (UMEM_UNLIKELY(__builtin_mul_overflow(count, size, &bytes)))
        return overflow();
    return realloc(old, bytes);
}

UMEM_EXPORT size_t
malloc_usable_size(void *buf)
{
    size_t size;

    return buf != NULL && umem_block_size(buf, &size) ? size : 0;
}

/* C23: the size is a promise; under debugging it is checked. */
void free_sized(void *buf, size_t size);
void free_aligned_sized(void *buf, size_t align, size_t size);

UMEM_EXPORT void
free_sized(void *buf, size_t size)
{
    umem_free_fast(buf, size);
}

UMEM_EXPORT void
free_aligned_sized(void *buf, size_t align, size_t size)
{
    (void)align;
    umem_free_fast(buf, size);
}
