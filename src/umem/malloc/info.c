/* SPDX-License-Identifier: MIT */
/*
 * info.c - the members of the malloc family that ask or tune: what glibc's
 * callers expect to find, answered from our own counters.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>

#include "base/print.h"
#include "cache/cache.h"
#include "cache/firewall.h"
#include "cache/quarantine.h"
#include "cache/twin.h"
#include "os/meta.h"
#include "os/os.h"

#define STDERR 2
#define TEXT_SIZE 512

struct totals {
    size_t total_heap;      /* bytes of heap mapped */
    size_t total_allocated; /* bytes of it in slabs and oversize blocks */
    size_t total_blocks;    /* bytes of blocks that the program holds */
    size_t total_larges;    /* oversize blocks */
    size_t total_large_bytes;
};

/* Bytes of this class that slabs have handed out, less those that threads and depot keep. */
static size_t
held(struct umem_cache *cp)
{
    size_t cached = tcache_bin_rounds(cp->cache_slow_bin) + cp->cache_depot.depot_rounds;
    size_t allocated = cp->cache_slabs.pool_allocated;

    return allocated > cached ? (allocated - cached) * cp->cache_slabs.pool_chunk_size : 0;
}

/* The numbers are read one after another while other threads allocate. */
static size_t
less(size_t whole, size_t part)
{
    return whole > part ? whole - part : 0;
}

static struct totals
count(void)
{
    struct totals totals = {0};

    (void)umem_ready();
    totals.total_heap = vmem_size(&vmem_heap, VMEM_ALLOC | VMEM_FREE);
    totals.total_allocated = vmem_size(&vmem_heap, VMEM_ALLOC);
    umem_lock_acquire(&umem_larges_lock);
    UMEM_LIST_FOR (node, &umem_larges) {
        struct umem_large *large = UMEM_CONTAINER_OF(node, struct umem_large, large_link);
        if (umem_large_is_freed(large))
            continue;
        totals.total_larges++;
        totals.total_large_bytes += large->large_span_size;
    }
    umem_lock_release(&umem_larges_lock);
    totals.total_blocks = totals.total_large_bytes + umem_firewall_stats().fws_bytes;
    for (unsigned c = 0; c < UMEM_CLASS_COUNT; c++) {
        struct umem_cache *cp = atomic_load_explicit(&umem_class_made[c], memory_order_acquire);
        struct umem_cache *twin = cp != NULL ? umem_twin_first(cp) : NULL;
        for (; cp != NULL; cp = twin, twin = twin != NULL ? twin->cache_next_twin : NULL)
            totals.total_blocks += held(cp);
    }
    /* What waits in quarantine has been freed. */
    totals.total_blocks = less(totals.total_blocks, umem_quarantine_bytes(umem_serves_free));
    return totals;
}

/* Not every libc declares what programs that were written for glibc call. */
int malloc_trim(size_t pad);
int malloc_info(int options, FILE *stream);
void malloc_stats(void);
int mallopt(int parameter, int value);

UMEM_EXPORT int
malloc_trim(size_t pad)
{
    size_t before = count().total_allocated;

    (void)pad;
    umem_reap();
    return count().total_allocated < before;
}

#ifdef __GLIBC__ /* else there are no such structures, and no callers */

UMEM_EXPORT struct mallinfo2
mallinfo2(void)
{
    struct totals totals = count();

    return (struct mallinfo2){
        .arena = less(totals.total_heap, totals.total_large_bytes),
        .hblks = totals.total_larges,
        .hblkhd = totals.total_large_bytes,
        .uordblks = less(totals.total_blocks, totals.total_large_bytes),
        .fordblks = less(totals.total_heap, totals.total_blocks),
    };
}

static int
clamp(size_t n)
{
    return n > INT32_MAX ? INT32_MAX : (int)n;
}

UMEM_EXPORT struct mallinfo
mallinfo(void)
{
    struct mallinfo2 info = mallinfo2();

    return (struct mallinfo){
        .arena = clamp(info.arena),
        .hblks = clamp(info.hblks),
        .hblkhd = clamp(info.hblkhd),
        .uordblks = clamp(info.uordblks),
        .fordblks = clamp(info.fordblks),
    };
}

#endif

UMEM_EXPORT int
malloc_info(int options, FILE *stream)
{
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    struct totals totals = count();
    int n = fprintf(stream,
                    "<malloc version=\"umem-1\">\n<system type=\"current\" size=\"%zu\"/>\n"
                    "<total type=\"slabs\" size=\"%zu\"/>\n"
                    "<total type=\"blocks\" size=\"%zu\"/>\n"
                    "<total type=\"large\" count=\"%zu\" size=\"%zu\"/>\n"
                    "<total type=\"metadata\" size=\"%zu\"/>\n</malloc>\n",
                    totals.total_heap, totals.total_allocated, totals.total_blocks,
                    totals.total_larges, totals.total_large_bytes, umem_meta_mapped());
    return n < 0 ? -1 : 0;
}

UMEM_EXPORT void
malloc_stats(void)
{
    struct totals totals = count();
    char text[TEXT_SIZE];
    size_t length = umem_snprintf(text, sizeof(text),
                                  "umem: heap %zu bytes, in slabs and oversize blocks %zu, "
                                  "held by the program %zu, metadata %zu\n",
                                  totals.total_heap, totals.total_allocated, totals.total_blocks,
                                  umem_meta_mapped());

    os_write(STDERR, text, umem_min(length, sizeof(text) - 1));
}

/* Accepted: glibc's tunables name things that this allocator does not have. */
UMEM_EXPORT int
mallopt(int parameter, int value)
{
    (void)parameter;
    (void)value;
    return 1;
}
