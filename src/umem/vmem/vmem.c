/* SPDX-License-Identifier: MIT */
/*
 * vmem.c - allocation and freeing in arenas; imports.  And the essay of the
 * layer, after Bonwick and Adams, "Magazines and Vmem" (USENIX 2001).
 *
 * 1. What an arena is.  A set of spans, ranges of integers that it was given
 *    (vmem_create(), vmem_add()) or has imported from another arena, cut into
 *    segments that are allocated or free.  It never touches what the numbers
 *    name: identifiers do as well as memory.  The one number it never hands
 *    out is 0, since NULL means failure: of a span that starts there the first
 *    quantum is withheld (span.c).
 *
 * 2. Boundary tags.  Each segment has a tag outside of it (struct vmem_seg),
 *    on a list of all in the order of their addresses (seg.c).  A tag of type
 *    SPAN stands before the segments of each span, so merging with a
 *    neighbour never crosses spans, and a span is wholly free when its SPAN
 *    tag is followed by one free segment.  Tags come from a pool of the
 *    layer's own (tag.c), since an object cache would need an arena to get
 *    them from.
 *
 * 3. Time.  An allocated segment is found by a hash that is rescaled a few
 *    buckets at a time (hash.c), a free one by power-of-two lists (fit.c), a
 *    span by a tree (span.c).  So allocation and freeing take the same time
 *    however many segments there are, but for the searches of best, first and
 *    next fit; an instant fit searches only before it would fail.
 *
 * 4. Imports.  Where an arena runs short and has a source, it asks that for a
 *    span, with no lock held, then looks again: if something was freed
 *    meanwhile the span goes back at once.  A span that was imported and is
 *    wholly free goes back to the source; in the heap arena (heap.c), whose
 *    units are memory, once its pages have been free for long enough (dirt.c,
 *    decay.c).
 *
 * 5. Quantum caches.  Sizes up to qcache_max come from object caches of n
 *    quanta each, whose slabs come from the arena.  Object caches live above
 *    this layer, which therefore calls them through vmem_qcache_ops.
 *
 * 6. Locks, in the order in which they are taken: vmem_arenas_lock (the list
 *    of arenas, defaults, set-up of the heap), vm_lock of an arena (all of its
 *    fields but those fixed at creation), tags_lock (the pool of tags).  Only
 *    fork holds two arenas' locks at once.  No lock of this layer is held
 *    round a call into a source, a quantum cache, a function of vmem_walk()
 *    that asked for that, or the system; only putting an old hash table back
 *    takes the metadata pool's lock under an arena's.
 *
 * 7. Misuse.  A segment freed twice, with another size or into another arena,
 *    and a span added that is misaligned or overlaps another, end in a message
 *    on stderr and SIGABRT (misuse.c).  The reports of the debug layer are
 *    above this one and of no use to it.
 */
#include <errno.h>

#include "vmem/private.h"

static UMEM_COLD void *
fail(struct vmem *vmp, int error)
{
    umem_lock_acquire(&vmp->vm_lock);
    vmp->vm_stats.vms_fails++;
    umem_lock_release(&vmp->vm_lock);
    errno = error;
    return NULL;
}

bool
vmem_is_beyond(const struct vmem *vmp, size_t size)
{
    size_t max = vmp->vm_inuse_max;
    size_t inuse = vmp->vm_stats.vms_inuse - vmp->vm_decay.decay_purging;

    return max != 0 && (inuse > max || size > max - inuse);
}

/* Counts what was allocated, and makes an address of it.  Locked. */
static void *
allocated(struct vmem *vmp, struct vmem_request *rq, const struct vmem_seg *seg)
{
    if (seg == NULL)
        return NULL;
    vmp->vm_stats.vms_allocs++;
    vmp->vm_stats.vms_inuse += vmem_seg_size(seg);
    rq->rq_dirt = seg->seg_dirt;
    if (vmp->vm_tracks_pages)
        vmem_decay_allocated(vmp, seg);
    return (void *)seg->seg_start;
}

/* Whether a span from the source would do: not where the request is particular about its place. */
static bool
can_import(const struct vmem *vmp, const struct vmem_request *rq)
{
    return vmp->vm_afunc != NULL && !rq->rq_located && rq->rq_padded != SIZE_MAX;
}

/* What to ask the source for: whole quanta of its own, so that none of them is lost; 0: too much.
 */
static size_t
import_size(const struct vmem *vmp, size_t size)
{
    size_t quantum = vmp->vm_quantum;

    if (vmp->vm_source != NULL)
        quantum = umem_max(quantum, vmp->vm_source->vm_quantum);
    size_t rounded = umem_align_up(size, quantum);
    return rounded < size ? 0 : rounded;
}

/* The least to import now.  No lock held. */
static size_t
import_min(struct vmem *vmp)
{
    umem_lock_acquire(&vmp->vm_lock);
    size_t inuse = vmp->vm_stats.vms_inuse;
    umem_lock_release(&vmp->vm_lock);
    size_t max = __atomic_load_n(&vmp->vm_import_max, __ATOMIC_RELAXED);

    return umem_max(umem_min(inuse / VMEM_HEAP_IMPORT_FRACTION, max), vmp->vm_import_min);
}

/* A span from the source, of *sizep units.  No lock held. */
static void *
import_span(struct vmem *vmp, size_t needed, int vmflag, size_t *sizep)
{
    size_t exact = import_size(vmp, needed);
    size_t least = import_min(vmp);
    size_t modest = import_size(vmp, umem_max(needed, least));

    if (exact == 0 || modest == 0)
        return NULL;
    void *span = vmp->vm_afunc(vmp->vm_source, *sizep = modest, vmflag);
    if (span != NULL && exact < modest && least > vmp->vm_import_min && vmem_heap_is_locked(span)) {
        /* All that is mapped is locked, and resident: no more of that than is needed. */
        __atomic_store_n(&vmp->vm_import_max, 0, __ATOMIC_RELAXED);
        vmp->vm_ffunc(vmp->vm_source, span, modest);
        modest = import_size(vmp, umem_max(needed, vmp->vm_import_min));
        span = vmp->vm_afunc(vmp->vm_source, *sizep = modest, vmflag);
    }
    if (span == NULL && exact < modest)
        span = vmp->vm_afunc(vmp->vm_source, *sizep = exact, vmflag);
    return span;
}

/* Adds what was imported; its free segment.  Locked, with tags. */
static struct vmem_seg *
add_import(struct vmem *vmp, uintptr_t start, size_t size)
{
    uintptr_t end = start + size;

    if ((start & (vmp->vm_quantum - 1)) != 0 || end < start)
        vmem_misuse("vmem arena '%s': imported %p, %zu: not a multiple of the quantum %zu",
                    vmp->vm_name, (void *)start, size, vmp->vm_quantum);
    if (vmem_span_overlap(vmp, start, end) != NULL)
        vmem_misuse("vmem arena '%s': imported %p, %zu, which it has already", vmp->vm_name,
                    (void *)start, size);
    /* The kernel fills holes before it goes further. */
    if (vmp->vm_holes > 0)
        vmp->vm_holes--;
    return vmem_span_insert(vmp, start, end, true);
}

/* After an allocation found no place: imports a span and looks again.  No lock held. */
static void *
import_and_allocate(struct vmem *vmp, struct vmem_request *rq, int vmflag)
{
    size_t size = 0;
    void *span = import_span(vmp, rq->rq_padded, vmflag, &size);
    bool unused = span != NULL;
    void *addr = NULL;

    if (vmem_lock_with_tags(vmp)) {
        /* Without a span, whatever fits must do, however long it takes to find. */
        if (!vmem_is_beyond(vmp, rq->rq_size))
            addr = allocated(vmp, rq,
                             vmem_fit(vmp, rq, span != NULL ? VMEM_SCAN_BOUND : VMEM_SCAN_ALL));
        if (addr == NULL && span != NULL && !vmem_is_beyond(vmp, rq->rq_size)) {
            addr = allocated(vmp, rq, vmem_fit_in(vmp, rq, add_import(vmp, (uintptr_t)span, size)));
            unused = false;
        }
        umem_lock_release(&vmp->vm_lock);
    }
    if (unused && vmp->vm_ffunc != NULL) {
        vmp->vm_ffunc(vmp->vm_source, span, size);
    } else if (unused && vmem_lock_with_tags(vmp)) {
        /* The source takes nothing back: keep it. */
        add_import(vmp, (uintptr_t)span, size);
        umem_lock_release(&vmp->vm_lock);
    }
    return addr;
}

void *
vmem_request_alloc(struct vmem *vmp, struct vmem_request *rq, int vmflag)
{
    bool import = can_import(vmp, rq);

    if (!vmem_lock_with_tags(vmp))
        return fail(vmp, errno); /* of the metadata pool */
    if (vmem_is_beyond(vmp, rq->rq_size)) {
        umem_lock_release(&vmp->vm_lock);
        return fail(vmp, ENOMEM);
    }
    void *addr = allocated(vmp, rq, vmem_fit(vmp, rq, import ? VMEM_SCAN_BOUND : VMEM_SCAN_ALL));
    size_t rescale = vmem_hash_wanted(vmp);
    bool due = vmem_decay_is_due(vmp);
    umem_lock_release(&vmp->vm_lock);

    if (rescale != 0)
        vmem_hash_rescale(vmp, rescale);
    if (due)
        (void)vmem_decay_step(vmp);
    if (addr != NULL)
        return addr;
    errno = ENOMEM; /* unless the source or the metadata pool knows better: EAGAIN */
    if (import)
        addr = import_and_allocate(vmp, rq, vmflag);
    if (addr != NULL && vmp->vm_inuse_max != 0)
        (void)vmem_decay_step(vmp); /* dirty pages that were no use here may be too many now */
    return addr != NULL ? addr : fail(vmp, errno);
}

UMEM_EXPORT void *
vmem_xalloc(vmem_t *vmp, size_t size, size_t align, size_t phase, size_t nocross, void *minaddr,
            void *maxaddr, int vmflag)
{
    struct vmem_request rq = {.rq_policy = (uint32_t)vmflag & VM_POLICY};
    int error = vmem_request_init(&rq, vmp, size, align, phase, nocross, (uintptr_t)minaddr,
                                  (uintptr_t)maxaddr);

    return error != 0 ? fail(vmp, error) : vmem_request_alloc(vmp, &rq, vmflag);
}

/* The allocated segment at addr, of that size; the caller's misuse if there is none.  Locked. */
static struct vmem_seg *
find_allocated(struct vmem *vmp, const char *function, void *addr, size_t size)
{
    struct vmem_seg *seg = vmem_hash_find(vmp, (uintptr_t)addr);

    if (UMEM_UNLIKELY(seg == NULL))
        vmem_misuse_not_allocated(vmp, function, (uintptr_t)addr, size);
    if (UMEM_UNLIKELY(vmem_seg_size(seg) != umem_align_up(size, vmp->vm_quantum)))
        vmem_misuse("%s(arena '%s', %p, %zu): allocated with size %zu", function, vmp->vm_name,
                    addr, size, vmem_seg_size(seg));
    return seg;
}

/* A span unmapped from among others leaves one mapping more. */
static bool
is_full_of_holes(const struct vmem *vmp)
{
    return vmp->vm_holes_max != 0 && vmp->vm_holes >= vmp->vm_holes_max;
}

/* Whether a wholly free span stays here.  Locked. */
static bool
keeps(struct vmem *vmp, struct vmem_seg *span)
{
    if (!span->seg_import || vmp->vm_ffunc == NULL || is_full_of_holes(vmp))
        return true;
    if (vmp->vm_kept_span == span)
        return true;
    if (vmp->vm_kept_span != NULL || vmem_seg_size(span) != vmp->vm_keep_size)
        return false;
    vmp->vm_kept_span = span;
    return true;
}

struct vmem_unused
vmem_take_unused(struct vmem *vmp, const struct vmem_seg *seg)
{
    struct vmem_seg *span = vmem_span_of_whole(vmp, seg);

    if (span == NULL || keeps(vmp, span))
        return (struct vmem_unused){0, 0};
    struct vmem_unused unused = {span->seg_start, vmem_seg_size(span)};
    vmem_span_remove(vmp, span);
    vmp->vm_holes++;
    return unused;
}

void
vmem_return_unused(struct vmem *vmp, struct vmem_unused unused)
{
    if (UMEM_LIKELY(unused.unused_size == 0))
        return;
    int saved = errno;
    vmp->vm_ffunc(vmp->vm_source, (void *)unused.unused_start, unused.unused_size);
    errno = saved;
}

static void
free_segment(struct vmem *vmp, const char *function, void *addr, size_t size)
{
    struct vmem_unused unused = {0, 0};

    umem_lock_acquire(&vmp->vm_lock);
    struct vmem_seg *seg = find_allocated(vmp, function, addr, size);
    vmp->vm_stats.vms_frees++;
    vmp->vm_stats.vms_inuse -= vmem_seg_size(seg);
    vmem_hash_remove(vmp, seg);
    seg = vmem_seg_release(vmp, seg, false);
    if (vmem_dirt_size(seg) == 0) /* else its pages are of use, for a while */
        unused = vmem_take_unused(vmp, seg);
    size_t rescale = vmem_hash_wanted(vmp);
    bool due = vmem_decay_is_due(vmp);
    umem_lock_release(&vmp->vm_lock);

    vmem_return_unused(vmp, unused);
    if (UMEM_LIKELY(rescale == 0 && !due))
        return;
    int saved = errno;
    if (rescale != 0)
        vmem_hash_rescale(vmp, rescale);
    if (due)
        (void)vmem_decay_step(vmp);
    errno = saved;
}

UMEM_EXPORT void
vmem_xfree(vmem_t *vmp, void *addr, size_t size)
{
    free_segment(vmp, "vmem_xfree", addr, size);
}

/* Whether vmem_alloc() of this size goes to a quantum cache. */
static bool
is_cached(const struct vmem *vmp, size_t size)
{
    /* Size 0 wraps round and is large. */
    return vmp->vm_qcaches != 0 && size - 1 < vmp->vm_qcache_max;
}

static void *
qcache_of(const struct vmem *vmp, size_t size)
{
    return vmp->vm_qcache[(size - 1) >> vmp->vm_quantum_shift];
}

UMEM_EXPORT void *
vmem_alloc(vmem_t *vmp, size_t size, int vmflag)
{
    if (is_cached(vmp, size))
        return atomic_load_explicit(&vmem_qcache_ops, memory_order_acquire)
            ->qcache_alloc(qcache_of(vmp, size), vmflag);
    return vmem_xalloc(vmp, size, 0, 0, 0, NULL, NULL, vmflag);
}

UMEM_EXPORT void
vmem_free(vmem_t *vmp, void *addr, size_t size)
{
    if (is_cached(vmp, size))
        atomic_load_explicit(&vmem_qcache_ops, memory_order_acquire)
            ->qcache_free(qcache_of(vmp, size), addr);
    else
        free_segment(vmp, "vmem_free", addr, size);
}

bool
vmem_resize(struct vmem *vmp, void *addr, size_t old_size, size_t new_size)
{
    size_t size = umem_align_up(new_size, vmp->vm_quantum);

    if (new_size == 0 || size < new_size)
        return false;
    if (is_cached(vmp, old_size) || is_cached(vmp, new_size))
        return false;
    if (!vmem_lock_with_tags(vmp))
        return false;
    struct vmem_seg *seg = find_allocated(vmp, "vmem_resize", addr, old_size);
    size_t before = vmem_seg_size(seg);
    bool beyond = size > before && vmem_is_beyond(vmp, size - before);
    bool resized = !beyond && vmem_seg_resize(vmp, seg, size);
    if (resized)
        vmp->vm_stats.vms_inuse += size - before;
    umem_lock_release(&vmp->vm_lock);
    return resized;
}

UMEM_COLD void
vmem_reap(struct vmem *vmp)
{
    for (uint32_t i = 0; i < vmp->vm_qcaches; i++)
        atomic_load_explicit(&vmem_qcache_ops, memory_order_acquire)
            ->qcache_reap(vmp->vm_qcache[i]);

    vmem_decay_all(vmp);
    struct vmem_unused unused = {0, 0};
    umem_lock_acquire(&vmp->vm_lock);
    struct vmem_seg *span = vmp->vm_kept_span;
    if (span != NULL) {
        unused = (struct vmem_unused){span->seg_start, vmem_seg_size(span)};
        vmem_span_remove(vmp, span);
    }
    umem_lock_release(&vmp->vm_lock);
    vmem_return_unused(vmp, unused);
}
