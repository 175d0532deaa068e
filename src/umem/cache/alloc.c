/* SPDX-License-Identifier: MIT */
/*
 * alloc.c - blocks of any size: umem_alloc and its family, and what the malloc
 * front stands on.
 *
 * Sizes to UMEM_MAX_CLASS_SIZE come from the caches of the size classes, the
 * rest and alignments beyond a page from large.c.  A block carries no header:
 * the page map tells a free which cache or record it belongs to.
 */
#include <errno.h>
#include <string.h>

#include "cache/cache.h"
#include "cache/firewall.h"
#include "cache/object_short.h"
#include "debug/debug.h"
#include "os/os.h"

#define ALIGN_MIN 8       /* of umem_alloc_align() */
#define PROMISED_ALIGN 64 /* of umem_alloc(), where the size is a multiple of it */

/* Not inlined: that the cache may have to be made is to cost the fast path no register. */
UMEM_NOINLINE void *
umem_class_alloc_slow(size_t requested, unsigned class, int flags)
{
    return umem_cache_alloc_slow(umem_class_cache(class), requested, flags);
}

void *
umem_alloc_sized(size_t size, int flags)
{
    if (UMEM_UNLIKELY(size > UMEM_MAX_CLASS_SIZE))
        return umem_large_alloc(size, 0, flags);
    return umem_class_alloc_fast(TCACHE_BIN_AT(umem_class_of(size)), size, flags);
}

void *
umem_alloc_aligned(size_t size, size_t align, int flags)
{
    size_t least = umem_max(size, align);
    void *obj;

    if (least > UMEM_MAX_CLASS_SIZE || align > umem_classes[UMEM_CLASS_COUNT - 1].class_align)
        return umem_large_alloc(size, align, flags);
    /* A power of two is at most four classes away. */
    unsigned class = umem_class_of(least);
    while (umem_classes[class].class_align < align)
        class ++;
    if (UMEM_LIKELY(tcache_pop(tcache_bin(class) + 1, &obj)))
        return obj;
    return umem_cache_alloc_slow_aligned(umem_class_cache(class), size, align, flags);
}

/* A free of an address in a slab, the slow way.  Keeps errno. */
static void
free_in_slab(void *buf, struct slab *slab, size_t stated, const void *frame)
{
    struct umem_cache *cp = umem_cache_of_slab(slab);
    /* Under debugging a bufctl says it, and is asked below. */
    enum slab_status status = cp->cache_flags == 0 ? slab_check(slab, buf) : SLAB_OK;

    if (!umem_serves_free(cp))
        umem_cache_report_free(NULL, buf); /* what is to go to umem_cache_free() */
    else if (status == SLAB_NOT_A_CHUNK)
        umem_cache_report_free(cp, buf);
    else if (status == SLAB_ALREADY_FREE)
        umem_report(
            &(struct umem_error_info){.err_kind = UMERR_DUPFREE, .err_addr = buf, .err_cache = cp});
    else
        umem_cache_free_from(cp, buf, stated, frame);
}

UMEM_NOINLINE void
umem_free_slow(void *buf, size_t stated)
{
    uint64_t word = pagemap_get(buf);
    unsigned bin = pagemap_bin(word);

    if (buf == NULL)
        return;
    /* A window that is full, as happens all the time: no line of the slab's record is needed. */
    if (UMEM_LIKELY(bin != 0 && tcache_self->tc_bin[bin].bin_loaded != NULL)) {
        umem_cache_free_slow(umem_class_cache(bin - 1), buf, stated);
        return;
    }
    if (UMEM_LIKELY(pagemap_kind(word) == UMEM_PAGEMAP_SLAB)) {
        struct slab *slab = pagemap_pointer(word);
        struct umem_cache *cp = umem_cache_of_slab(slab);
        const void *frame = __builtin_frame_address(0);
        if (!cp->cache_short || UMEM_UNLIKELY(!umem_short_free(cp, slab, buf, stated, frame)))
            free_in_slab(buf, slab, stated, frame);
        UMEM_KEEP_FRAME();
        return;
    }
    int error = errno;
    if (pagemap_kind(word) == UMEM_PAGEMAP_FIREWALL)
        umem_firewall_free(NULL, buf, word, stated);
    else
        umem_large_free(buf, stated);
    errno = error;
}

/* The cache of a block in a slab, or NULL. */
static struct umem_cache *
cache_of(const void *buf)
{
    uint64_t word = pagemap_get(buf);

    if (pagemap_kind(word) != UMEM_PAGEMAP_SLAB)
        return NULL;
    return umem_cache_of_slab(pagemap_pointer(word));
}

/* The record of the oversize block that word leads to, or NULL where buf is inside of it. */
static struct umem_large *
large_of(const void *buf, uint64_t word)
{
    struct umem_large *large = pagemap_pointer(word);

    return large->large_base == buf ? large : NULL;
}

/* Of a block in a slab.  Without debugging one in a magazine cannot be told from a live one. */
static bool
chunk_size(struct umem_cache *cp, const void *buf, size_t *size)
{
    struct umem_buffer found;

    *size = cp->cache_bufspace;
    if (cp->cache_flags == 0)
        return true;
    if (!umem_cache_describe(cp, buf, &found) ||
        __atomic_load_n(&found.buf_bufctl->bc_state, __ATOMIC_ACQUIRE) != UMEM_BUFFER_ALLOCATED)
        return false;
    if ((cp->cache_flags & UMF_REDZONE) != 0) /* behind the requested size free checks */
        *size = (size_t)found.buf_bufctl->bc_size;
    return true;
}

bool
umem_block_size(const void *buf, size_t *size)
{
    uint64_t word = pagemap_get(buf);

    if (pagemap_kind(word) == UMEM_PAGEMAP_LARGE) {
        struct umem_large *large = large_of(buf, word);
        if (large == NULL || umem_large_is_freed(large))
            return false;
        *size = umem_large_usable(large);
        return true;
    }
    if (pagemap_kind(word) == UMEM_PAGEMAP_FIREWALL)
        return umem_firewall_size(buf, word, size);
    struct umem_cache *cp = cache_of(buf);
    return cp != NULL && chunk_size(cp, buf, size);
}

bool
umem_resize(void *buf, size_t size)
{
    uint64_t word = pagemap_get(buf);

    if (pagemap_kind(word) == UMEM_PAGEMAP_LARGE) {
        struct umem_large *large = large_of(buf, word);
        return large != NULL && umem_large_resize(large, size);
    }
    struct umem_cache *cp = cache_of(buf);
    /* Under debugging a block always moves, so that stale pointers to it are seen. */
    if (cp == NULL || cp->cache_flags != 0 || size > cp->cache_bufspace)
        return false;
    /* Shrinking stays until it would free half of the block. */
    return size > cp->cache_bufspace / 2;
}

void *
umem_move(void *buf, size_t size)
{
    uint64_t word = pagemap_get(buf);

    if (pagemap_kind(word) != UMEM_PAGEMAP_LARGE)
        return NULL;
    struct umem_large *large = large_of(buf, word);
    return large != NULL ? umem_large_move(large, size) : NULL;
}

UMEM_EXPORT void *
umem_alloc(size_t size, int flags)
{
    if (UMEM_UNLIKELY(size <= ALIGN_MIN)) {
        if (size == 0)
            return NULL;
        return umem_class_alloc_fast(TCACHE_BIN_AT(0), size, flags);
    }
    /* Not all shares of a slab are so aligned; the largest is, and by pages. */
    if (UMEM_UNLIKELY(umem_class_is_share(size)) && size % PROMISED_ALIGN == 0 && size < 8192)
        return umem_alloc_aligned(size, PROMISED_ALIGN, flags);
    return umem_alloc_sized(size, flags);
}

UMEM_EXPORT void *
umem_zalloc(size_t size, int flags)
{
    if (size > UMEM_MAX_CLASS_SIZE)
        return umem_large_zalloc(size, flags);
    void *buf = umem_alloc(size, flags);
    if (buf != NULL)
        memset(buf, 0, size);
    return buf;
}

UMEM_EXPORT void
umem_free(void *buf, size_t size)
{
    umem_free_fast(buf, size);
}

UMEM_EXPORT UMEM_COLD void *
umem_alloc_align(size_t size, size_t align, int flags)
{
    if (!umem_is_pow2(align)) {
        (void)umem_ready();
        umem_debug_null(NULL, size, EINVAL, UMEM_WHY_ALIGN);
        errno = EINVAL;
        return NULL;
    }
    if (size == 0)
        return NULL;
    return align <= ALIGN_MIN ? umem_alloc(size, flags) : umem_alloc_aligned(size, align, flags);
}

UMEM_EXPORT void
umem_free_align(void *buf, size_t size)
{
    umem_free_fast(buf, size);
}

UMEM_EXPORT UMEM_COLD void
umem_setmtbf(uint32_t mtbf)
{
    (void)umem_ready();
    atomic_store_explicit(&umem_mtbf, mtbf, memory_order_relaxed);
    /* The slow path decides, and opens no window while this is set. */
    if (mtbf != 0)
        tcache_flush_self();
}
