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

struct vmem vmem_heap;

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

void *
vmem_heap_alloc(size_t size, size_t align, struct vmem_dirt *dirt)
{
    struct vmem_request rq = {.rq_policy = 0};
    int error = vmem_request_init(&rq, &vmem_heap, size, align, 0, 0, 0, 0);

    if (error != 0) {
        errno = error;
        return NULL;
    }
    void *addr = vmem_request_alloc(&vmem_heap, &rq, VM_NOSLEEP);
    *dirt = rq.rq_dirt;
    return addr;
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
