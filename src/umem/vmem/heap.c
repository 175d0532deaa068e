/* SPDX-License-Identifier: MIT */
/*
 * heap.c - the heap arena: spans of memory mapped from the system.
 *
 * A static arena with no span at first: nothing is mapped before somebody
 * allocates.  It maps VMEM_HEAP_IMPORT_MIN at a time, more as it grows, just
 * what is asked for where it is more or where the system refuses that, and
 * never reserves anything inaccessible: under mlockall(MCL_FUTURE) a
 * reservation counts against the limit as locked memory does.
 */
#include <errno.h>

#include "os/os.h"
#include "vmem/private.h"

/*
 * A move fails where the program has split the mapping (mprotect() or mlock()
 * of a part): the address space that was reserved for it may then be somebody
 * else's already, and is given up.  After so many, blocks are copied.
 */
#define MOVE_FAILURES_MAX 8

struct vmem vmem_heap;

UMEM_COLD void
vmem_heap_set_limit(size_t limit)
{
    umem_lock_acquire(&vmem_heap.vm_lock);
    vmem_heap.vm_inuse_max = limit;
    umem_lock_release(&vmem_heap.vm_lock);
}

static void *
heap_map(vmem_t *source, size_t size, int vmflag)
{
    (void)source;
    (void)vmflag;
    void *addr = os_map(size, umem_max(VMEM_HEAP_QUANTUM, os_page_size()));
    if (addr != NULL)
        os_name(addr, size, "umem_heap");
    return addr;
}

static void
heap_unmap(vmem_t *source, void *addr, size_t size)
{
    (void)source;
    /*
     * Fails only where the kernel would have to split one of its maps and may
     * not have more (the neighbour was merged with ours).  The arena has let go
     * of the range already; at least its pages go back.
     */
    if (os_unmap(addr, size) != 0)
        (void)os_purge(addr, size);
}

bool
vmem_heap_is_locked(void *span)
{
    return os_purge(span, os_page_size()) != 0;
}

bool
vmem_heap_purge(void)
{
    return vmem_decay_step(&vmem_heap);
}

/* The longest free segment with no dirt in it, of a minimal import at least, or NULL.  Locked. */
static struct vmem_seg *
longest_clean(void)
{
    struct vmem_seg *longest = NULL;
    size_t least = vmem_heap.vm_import_min;

    UMEM_LIST_FOR (node, &vmem_heap.vm_order) {
        struct vmem_seg *seg = vmem_seg_of(node);
        if (seg->seg_type == VMEM_SEG_FREE && vmem_dirt_size(seg) == 0 &&
            vmem_seg_size(seg) >= least) {
            longest = seg;
            least = vmem_seg_size(seg) + 1;
        }
    }
    return longest;
}

UMEM_COLD bool
vmem_heap_release(void)
{
    struct vmem_unused unused = {0, 0};

    if (!vmem_lock_with_tags(&vmem_heap))
        return false;
    struct vmem_seg *seg = longest_clean();
    if (seg != NULL && vmem_heap.vm_holes + 2 <= vmem_heap.vm_holes_max &&
        vmem_span_find(&vmem_heap, seg->seg_start)->seg_import) {
        unused = (struct vmem_unused){seg->seg_start, vmem_seg_size(seg)};
        vmem_span_remove(&vmem_heap, vmem_span_isolate(&vmem_heap, seg));
    }
    umem_lock_release(&vmem_heap.vm_lock);
    vmem_return_unused(&vmem_heap, unused);
    return unused.unused_size != 0;
}

void *
vmem_heap_alloc(size_t size, size_t align, size_t phase, struct vmem_dirt *dirt)
{
    struct vmem_request rq = {.rq_policy = 0};
    int error = vmem_request_init(&rq, &vmem_heap, size, align, phase, 0, 0, 0);

    if (error != 0) {
        errno = error;
        return NULL;
    }
    void *addr = vmem_request_alloc(&vmem_heap, &rq, VM_NOSLEEP);
    *dirt = rq.rq_dirt;
    return addr;
}

void *
vmem_heap_reserve(size_t size)
{
    return os_reserve(size, umem_max(VMEM_HEAP_QUANTUM, os_page_size()));
}

void
vmem_heap_unreserve(void *addr, size_t size)
{
    (void)os_unmap(addr, size);
}

/*
 * Once the pages have moved anybody may map what they leave, this arena too.
 * So the block leaves the arena before, with its tags in hand, since to come
 * back, here or there, must not fail.  What is left of its span is two.
 */
bool
vmem_heap_move(void *addr, size_t size, void *to, size_t to_size)
{
    static _Atomic unsigned failures;
    struct vmem_seg *seg = NULL, *span = NULL;

    if (atomic_load_explicit(&failures, memory_order_relaxed) < MOVE_FAILURES_MAX &&
        vmem_lock_with_tags(&vmem_heap)) {
        /* A block moved is a mapping of its own, and leaves a hole. */
        if (vmem_heap.vm_holes + 2 <= vmem_heap.vm_holes_max &&
            !vmem_is_beyond(&vmem_heap, to_size - size))
            seg = vmem_hash_find(&vmem_heap, (uintptr_t)addr);
        if (seg != NULL) {
            span = vmem_span_isolate(&vmem_heap, seg);
            vmem_span_unlink(&vmem_heap, span, seg);
        }
        umem_lock_release(&vmem_heap.vm_lock);
    }
    if (seg == NULL) {
        vmem_heap_unreserve(to, to_size);
        return false;
    }
    bool moved = os_move(addr, size, to, to_size);
    if (!moved)
        atomic_fetch_add_explicit(&failures, 1, memory_order_relaxed);

    umem_lock_acquire(&vmem_heap.vm_lock);
    uintptr_t start = moved ? (uintptr_t)to : (uintptr_t)addr;
    vmem_span_link(&vmem_heap, span, seg, start, start + (moved ? to_size : size));
    umem_lock_release(&vmem_heap.vm_lock);
    return moved;
}

void
vmem_init(void)
{
    static _Atomic bool ready;

    if (UMEM_LIKELY(atomic_load_explicit(&ready, memory_order_acquire)))
        return;
    umem_lock_acquire(&vmem_arenas_lock);
    if (!atomic_load_explicit(&ready, memory_order_relaxed)) {
        vmem_setup(&vmem_heap, "umem_heap", VMEM_HEAP_QUANTUM, heap_map, heap_unmap, NULL, 0);
        vmem_heap.vm_import_min = VMEM_HEAP_IMPORT_MIN;
        vmem_heap.vm_import_max = VMEM_HEAP_IMPORT_MAX;
        vmem_heap.vm_keep_size = VMEM_HEAP_IMPORT_MIN;
        vmem_heap.vm_tracks_pages = true;
        vmem_heap.vm_holes_max = VMEM_HEAP_HOLES_MAX;
        umem_list_push_front(&vmem_arenas, &vmem_heap.vm_link);
        atomic_store_explicit(&ready, true, memory_order_release);
    }
    umem_lock_release(&vmem_arenas_lock);
}
