/* SPDX-License-Identifier: MIT */
/*
 * arena.c - arenas as wholes: making and destroying them, their spans as seen
 * from outside, the list of all of them.
 *
 * vmem_arenas_lock (UMEM_RANK_ARENAS) guards the list and the default policy.
 */
#include <errno.h>

#include "base/print.h"
#include "os/meta.h"
#include "vmem/private.h"

struct umem_list vmem_arenas = UMEM_LIST_INIT(vmem_arenas);
struct umem_lock vmem_arenas_lock = UMEM_LOCK_INIT(UMEM_RANK_ARENAS);
const struct vmem_qcache_ops *_Atomic vmem_qcache_ops;
static uint32_t default_policy;

void
vmem_setup(struct vmem *vmp, const char *name, size_t quantum, vmem_alloc_t *afunc,
           vmem_free_t *ffunc, struct vmem *source, uint32_t policy)
{
    umem_snprintf(vmp->vm_name, sizeof(vmp->vm_name), "%s", name);
    umem_lock_init(&vmp->vm_lock, UMEM_RANK_VMEM);
    vmp->vm_policy = policy;
    vmp->vm_quantum = quantum;
    vmp->vm_quantum_shift = umem_log2(quantum);
    vmp->vm_afunc = afunc;
    vmp->vm_ffunc = ffunc;
    vmp->vm_source = source;
    umem_list_init(&vmp->vm_order);
    for (size_t i = 0; i < VMEM_FREELISTS; i++)
        umem_list_init(&vmp->vm_freelist[i]);
    umem_list_init(&vmp->vm_cursors);
    umem_list_push_front(&vmp->vm_cursors, &vmp->vm_rotor.cursor_link);
    vmp->vm_rotor.cursor_at = &vmp->vm_order;
    umem_list_init(&vmp->vm_tags);
    umem_list_init(&vmp->vm_aged);
    umem_list_init(&vmp->vm_purging);
    vmem_hash_init(vmp);
}

void
vmem_set_qcache_ops(const struct vmem_qcache_ops *ops)
{
    atomic_store_explicit(&vmem_qcache_ops, ops, memory_order_release);
}

UMEM_COLD void
vmem_set_default_policy(uint32_t policy)
{
    vmem_init();
    umem_lock_acquire(&vmem_arenas_lock);
    default_policy = policy & VM_POLICY;
    umem_lock_acquire(&vmem_heap.vm_lock);
    vmem_heap.vm_policy = policy & VM_POLICY;
    umem_lock_release(&vmem_heap.vm_lock);
    umem_lock_release(&vmem_arenas_lock);
}

static void
destroy_qcaches(struct vmem *vmp)
{
    const struct vmem_qcache_ops *ops =
        atomic_load_explicit(&vmem_qcache_ops, memory_order_acquire);
    uint32_t count = vmp->vm_qcaches;

    /* From here on their slabs, whatever size those have, go back past them. */
    vmp->vm_qcaches = 0;
    while (count > 0)
        ops->qcache_destroy(vmp->vm_qcache[--count]);
}

/* One for each multiple of the quantum up to qcache_max.  False: none are left. */
static bool
create_qcaches(struct vmem *vmp, size_t qcache_max)
{
    const struct vmem_qcache_ops *ops =
        atomic_load_explicit(&vmem_qcache_ops, memory_order_acquire);
    uint32_t count = (uint32_t)umem_min(qcache_max >> vmp->vm_quantum_shift, VMEM_QCACHES);

    if (ops == NULL)
        return true;
    vmp->vm_qcache_max = (size_t)count << vmp->vm_quantum_shift;
    for (uint32_t i = 0; i < count; i++) {
        char name[VMEM_NAME_SIZE];
        size_t size = (size_t)(i + 1) << vmp->vm_quantum_shift;
        umem_snprintf(name, sizeof(name), "%s_%zu", vmp->vm_name, size);
        vmp->vm_qcache[i] = ops->qcache_create(name, size, vmp->vm_quantum, vmp);
        if (vmp->vm_qcache[i] == NULL) {
            vmp->vm_qcaches = i;
            destroy_qcaches(vmp);
            return false;
        }
    }
    vmp->vm_qcaches = count;
    return true;
}

/* Whether [start, start + size) is one that an arena can have: see vmem_add(). */
static bool
is_range(const struct vmem *vmp, uintptr_t start, size_t size)
{
    /* The end is exclusive, so the last quantum of the address space is out of reach. */
    if (size == 0 || start + size <= start)
        return false;
    return start != 0 || size > vmp->vm_quantum;
}

static bool
is_aligned(const struct vmem *vmp, uintptr_t start, size_t size)
{
    return ((start | size) & (vmp->vm_quantum - 1)) == 0;
}

static void
list_arena(struct vmem *vmp, uint32_t policy)
{
    umem_lock_acquire(&vmem_arenas_lock);
    if (policy == 0)
        vmp->vm_policy = default_policy;
    umem_list_push_back(&vmem_arenas, &vmp->vm_link);
    umem_lock_release(&vmem_arenas_lock);
}

UMEM_COLD int
vmem_init_arena(struct vmem *vmp, const char *name, void *base, size_t size, size_t quantum,
                vmem_alloc_t *afunc, vmem_free_t *ffunc, struct vmem *source, size_t qcache_max,
                int vmflag)
{
    uint32_t policy = (uint32_t)vmflag & VM_POLICY;

    vmem_init();
    if (name == NULL || !umem_is_pow2(quantum)) {
        errno = EINVAL;
        return -1;
    }
    vmem_setup(vmp, name, quantum, afunc, ffunc, source, policy);
    if (size != 0 &&
        (!is_aligned(vmp, (uintptr_t)base, size) || !is_range(vmp, (uintptr_t)base, size))) {
        errno = EINVAL;
        return -1;
    }
    if (size != 0) {
        if (!vmem_lock_with_tags(vmp)) {
            int error = errno;
            vmem_tags_release(vmp);
            errno = error;
            return -1;
        }
        vmem_span_insert(vmp, (uintptr_t)base, (uintptr_t)base + size, false);
        umem_lock_release(&vmp->vm_lock);
    }
    list_arena(vmp, policy);
    if (!create_qcaches(vmp, qcache_max)) {
        int error = errno;
        vmem_destroy(vmp);
        errno = error;
        return -1;
    }
    return 0;
}

UMEM_COLD vmem_t *
vmem_new(const char *name, void *base, size_t size, size_t quantum, vmem_alloc_t *afunc,
         vmem_free_t *ffunc, vmem_t *source, size_t qcache_max, int vmflag)
{
    struct vmem *vmp = umem_meta_alloc(sizeof(*vmp));
    if (vmp == NULL)
        return NULL;
    if (vmem_init_arena(vmp, name, base, size, quantum, afunc, ffunc, source, qcache_max, vmflag) !=
        0) {
        umem_meta_free(vmp, sizeof(*vmp));
        return NULL;
    }
    vmp->vm_owned = true;
    return vmp;
}

/* Takes one span off; returns its size if it is to go back to the source.  No lock held. */
static size_t
drop_span(struct vmem *vmp, uintptr_t *startp)
{
    umem_lock_acquire(&vmp->vm_lock);
    struct vmem_seg *span = vmp->vm_spans;
    bool import = span->seg_import && vmp->vm_ffunc != NULL;
    size_t size = vmem_seg_size(span);

    *startp = span->seg_start;
    vmem_span_remove(vmp, span);
    umem_lock_release(&vmp->vm_lock);
    return import ? size : 0;
}

UMEM_EXPORT UMEM_COLD void
vmem_destroy(vmem_t *vmp)
{
    if (vmp == &vmem_heap)
        vmem_misuse("vmem_destroy(arena '%s'): the heap cannot be destroyed", vmp->vm_name);
    destroy_qcaches(vmp);
    umem_lock_acquire(&vmem_arenas_lock);
    umem_list_remove(&vmp->vm_link);
    umem_lock_release(&vmem_arenas_lock);

    if (vmp->vm_hash_used != 0)
        vmem_complain("vmem_destroy(arena '%s'): %zu segments of %zu units still allocated",
                      vmp->vm_name, vmp->vm_hash_used, vmp->vm_stats.vms_inuse);
    while (vmp->vm_spans != NULL) {
        uintptr_t start;
        size_t size = drop_span(vmp, &start);
        if (size != 0)
            vmp->vm_ffunc(vmp->vm_source, (void *)start, size);
    }
    vmem_hash_fini(vmp);
    vmem_tags_release(vmp);
    if (vmp->vm_owned)
        umem_meta_free(vmp, sizeof(*vmp));
}

UMEM_EXPORT UMEM_COLD void *
vmem_add(vmem_t *vmp, void *addr, size_t size, int vmflag)
{
    uintptr_t start = (uintptr_t)addr;

    (void)vmflag;
    if (!is_aligned(vmp, start, size))
        vmem_misuse("vmem_add(arena '%s', %p, %zu): not a multiple of the quantum %zu",
                    vmp->vm_name, addr, size, vmp->vm_quantum);
    if (!is_range(vmp, start, size)) {
        errno = EINVAL;
        return NULL;
    }
    if (!vmem_lock_with_tags(vmp))
        return NULL;
    struct vmem_seg *other = vmem_span_overlap(vmp, start, start + size);
    if (other != NULL)
        vmem_misuse("vmem_add(arena '%s', %p, %zu): overlaps the span at %p of %zu", vmp->vm_name,
                    addr, size, (void *)other->seg_start, vmem_seg_size(other));
    vmem_span_insert(vmp, start, start + size, false);
    umem_lock_release(&vmp->vm_lock);
    return addr;
}

UMEM_EXPORT UMEM_COLD int
vmem_contains(vmem_t *vmp, void *addr, size_t size)
{
    uintptr_t start = (uintptr_t)addr;

    umem_lock_acquire(&vmp->vm_lock);
    struct vmem_seg *span = vmem_span_find(vmp, start);
    int contains = span != NULL && size <= span->seg_end - start;
    umem_lock_release(&vmp->vm_lock);
    return contains;
}

UMEM_EXPORT UMEM_COLD size_t
vmem_size(vmem_t *vmp, int typemask)
{
    size_t size = 0;

    umem_lock_acquire(&vmp->vm_lock);
    if (typemask & VMEM_ALLOC)
        size += vmp->vm_stats.vms_inuse;
    if (typemask & VMEM_FREE)
        size += vmp->vm_stats.vms_total - vmp->vm_stats.vms_inuse;
    umem_lock_release(&vmp->vm_lock);
    return size;
}
