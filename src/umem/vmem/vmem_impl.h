/* SPDX-License-Identifier: MIT */
/*
 * vmem_impl.h - the arena and its boundary tags; what the engine may use of
 * vmem beyond <sys/vmem.h>.
 *
 * Lock: vm_lock of each arena (UMEM_RANK_VMEM), dropped round imports and
 * returns; vmem_list_lock (UMEM_RANK_ARENAS) for the list of arenas.
 */
#ifndef UMEM_VMEM_IMPL_H
#define UMEM_VMEM_IMPL_H

#include <sys/vmem.h>

#include "base/base.h"
#include "os/lock.h"

#define VMEM_NAME_SIZE 32
#define VMEM_FREELISTS (sizeof(void *) * 8) /* one a power of two */
#define VMEM_HASH_INITIAL 16                /* buckets, in the arena itself */
#define VMEM_QCACHES 16                     /* quantum caches an arena may have */

enum vmem_seg_type { VMEM_SEG_ALLOC = 1, VMEM_SEG_FREE = 2, VMEM_SEG_SPAN = 3, VMEM_SEG_HEAD = 4 };

/* A boundary tag: one segment, or the head of a span. */
struct vmem_seg {
    uintptr_t seg_start;
    uintptr_t seg_end; /* exclusive */
    uint8_t seg_type;  /* enum vmem_seg_type */
    uint8_t seg_import; /* span: imported from the source */
    struct umem_list seg_order; /* all segments of the arena, by span and address */
    struct umem_list seg_link;  /* free list or hash chain */
};

struct vmem_stats {
    size_t vms_inuse;  /* units allocated */
    size_t vms_total;  /* units in all spans */
    size_t vms_import; /* of them imported */
    uint64_t vms_allocs;
    uint64_t vms_frees;
    uint64_t vms_fails;
};

struct vmem {
    char vm_name[VMEM_NAME_SIZE];
    struct umem_lock vm_lock;
    uint32_t vm_policy; /* VM_BESTFIT, VM_FIRSTFIT, VM_NEXTFIT or 0: instant fit */
    size_t vm_quantum;
    uint32_t vm_quantum_shift;
    uint32_t vm_qcaches; /* quantum caches in use */
    vmem_alloc_t *vm_afunc;
    vmem_free_t *vm_ffunc;
    struct vmem *vm_source;
    size_t vm_import_min; /* imports are at least this, where the source can */
    size_t vm_qcache_max;
    struct umem_list vm_order; /* head of the list of all segments */
    struct umem_list vm_freelist[VMEM_FREELISTS];
    unsigned long vm_freemap; /* bit n: vm_freelist[n] is not empty */
    struct umem_list *vm_hash; /* allocated segments by start */
    size_t vm_hash_size;       /* buckets, a power of two */
    struct umem_list vm_hash0[VMEM_HASH_INITIAL];
    struct vmem_seg *vm_rotor; /* where VM_NEXTFIT goes on; NULL: at the start */
    struct vmem_stats vm_stats;
    void *vm_qcache[VMEM_QCACHES]; /* caches made by vmem_qcache_ops */
    struct umem_list vm_link;      /* on vmem_arenas */
};

extern struct umem_list vmem_arenas;
extern struct umem_lock vmem_arenas_lock;

/*
 * Quantum caches are object caches, which live above vmem: the cache layer
 * registers how to make and use them.  Until then arenas do without.
 */
struct vmem_qcache_ops {
    void *(*qcache_create)(const char *name, size_t size, size_t quantum, struct vmem *vmp);
    void (*qcache_destroy)(void *qcache);
    void *(*qcache_alloc)(void *qcache, int vmflag);
    void (*qcache_free)(void *qcache, void *addr);
    void (*qcache_reap)(void *qcache);
};
void vmem_set_qcache_ops(const struct vmem_qcache_ops *ops);

/* Sets the static heap arena up over the operating system; once, single-threaded. */
void vmem_init(void);
/* The arena under every slab and oversize block: quantum is UMEM_GRANULE. */
extern struct vmem vmem_heap;

/*
 * vmem_create() on the caller's zeroed record.  -1 with errno.
 */
int vmem_init_arena(struct vmem *vmp, const char *name, void *base, size_t size, size_t quantum,
                    vmem_alloc_t *afunc, vmem_free_t *ffunc, struct vmem *source,
                    size_t qcache_max, int vmflag);
/*
 * Grows or shrinks an allocated segment in place.  False where what follows it
 * is not free; never imports.
 */
bool vmem_resize(struct vmem *vmp, void *addr, size_t old_size, size_t new_size);
/* The policy that arenas created from now on start with. */
void vmem_set_default_policy(uint32_t policy);
/* Whether every invariant of the arena holds. */
bool vmem_verify(struct vmem *vmp);

void vmem_fork_prepare(void);
void vmem_fork_parent(void);
void vmem_fork_child(void);

#endif
