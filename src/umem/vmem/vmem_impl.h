/* SPDX-License-Identifier: MIT */
/*
 * vmem_impl.h - the arena and its boundary tags; what the engine may use of
 * vmem beyond <sys/vmem.h>.  vmem.c has the essay.
 *
 * Locks: vm_lock of each arena (UMEM_RANK_VMEM), dropped round imports and
 * returns; vmem_arenas_lock (UMEM_RANK_ARENAS) for the list of arenas and what
 * new ones start with; one lock for the pool of tags (UMEM_RANK_VMEM_SEG).
 */
#ifndef UMEM_VMEM_IMPL_H
#define UMEM_VMEM_IMPL_H

#include <sys/vmem.h>

#include "base/base.h"
#include "os/lock.h"

#define VMEM_NAME_SIZE 32
/*
 * A span unmapped from among others costs the process a mapping of the 65,530
 * that vm.max_map_count allows by default; a quarter of them is ours to take.
 */
#define VMEM_HEAP_HOLES_MAX 16384
#define VMEM_FREELISTS (sizeof(void *) * 8) /* one a power of two */
#define VMEM_HASH_INITIAL 16                /* buckets, in the arena itself */
#define VMEM_QCACHES 16                     /* quantum caches an arena may have */

/*
 * What the heap arena hands out in multiples of: the granule of the page map,
 * UMEM_GRANULE.  That lies a layer above, where the two are asserted equal.
 */
#define VMEM_HEAP_QUANTUM ((size_t)1 << 16)
/*
 * The least that the heap maps at a time, and the size of the one wholly free,
 * clean span it keeps.  Sixteen granules make the cost of a map and an unmap (a few
 * microseconds) small beside that of faulting the pages in, and the excess is
 * small too where all memory is locked, and so populated, as soon as mapped.
 */
#define VMEM_HEAP_IMPORT_MIN ((size_t)1 << 20)
/*
 * And the most beyond what is asked for: an import is a quarter of what is in
 * use, so that the number of spans grows with the logarithm of the heap, blocks
 * of some megabytes share spans, in which what is freed of them merges, and up
 * to where a map and its label cost nothing beside the faults.
 */
#define VMEM_HEAP_IMPORT_MAX ((size_t)64 << 20)
#define VMEM_HEAP_IMPORT_FRACTION 4

/*
 * Pages free for longer go back: a second is long beside the pauses of a busy
 * program, and short of the ten that an idle one is to be small again after.
 */
#define VMEM_DECAY_MS 1000u
/*
 * Where there is as little of them, they go sooner: to fault 2 MiB in again takes
 * 0.6 ms, so that a program which wants them each time just after takes 0.5 %
 * longer, and most do not.
 */
#define VMEM_DECAY_LITTLE ((size_t)2 << 20)
#define VMEM_DECAY_LITTLE_MS 128u
/* Bytes of free pages that stay without any regret: some slabs. */
#define VMEM_DECAY_FLOOR ((size_t)512 << 10)
/* An interval's regret, in bytes, that teaches nothing: 0.15 ms of page faults. */
#define VMEM_DECAY_REGRET_MIN ((size_t)512 << 10)
#define VMEM_NEVER UINT64_MAX

/* HEAD marks no segment: the list of an arena starts in the arena itself. */
enum vmem_seg_type { VMEM_SEG_ALLOC = 1, VMEM_SEG_FREE = 2, VMEM_SEG_SPAN = 3, VMEM_SEG_HEAD = 4 };

/* What of a segment may hold data: [dirt_start, dirt_end); 0, 0: nothing, all of it is zero. */
struct vmem_dirt {
    uintptr_t dirt_start;
    uintptr_t dirt_end;
};

/* A boundary tag: one segment, or the head of a span. */
struct vmem_seg {
    uintptr_t seg_start;
    uintptr_t seg_end;          /* exclusive */
    uint8_t seg_type;           /* enum vmem_seg_type */
    uint8_t seg_import;         /* span: imported from the source */
    uint32_t seg_since_ms;      /* on vm_aged: when its pages were freed; wraps */
    struct umem_list seg_order; /* all segments of the arena, by address; spans before theirs */
    struct umem_list seg_aged;  /* free: on vm_aged, or by itself; being purged: on vm_purging */
    struct vmem_dirt seg_dirt;  /* free: now; allocated: as it was when it was allocated */
    union {
        struct umem_list seg_link;     /* free list or hash chain */
        struct vmem_seg *seg_child[2]; /* span: spans below and above it in the tree */
    };
};

/*
 * Free pages that still hold memory, in an arena that tracks its pages (decay.c
 * has the rules).  Under vm_lock.
 */
struct vmem_decay {
    size_t decay_dirty;     /* bytes of dirt of the segments on vm_aged */
    size_t decay_max;       /* more is purged by whoever frees */
    size_t decay_shed;      /* bytes purged for that reason, not long ago */
    size_t decay_reused;    /* dirty bytes allocated again in this interval */
    size_t decay_regret;    /* of those that were shed, as many were needed in this interval */
    size_t decay_peak;      /* most units in use in this interval */
    size_t decay_peak_last; /* and in the one before */
    uint64_t decay_tick_ms; /* when this interval began */
    uint64_t decay_shed_ms; /* when decay_shed began */
    uint64_t decay_next_ms; /* no segment is looked at for its age before */
    size_t decay_purging;   /* bytes of the segments on vm_purging, counted as in use */
    /* No step for age finds anything before; read without the lock. */
    _Atomic uint64_t decay_due_ms;
};

struct vmem_stats {
    size_t vms_inuse;  /* units allocated */
    size_t vms_total;  /* units in all spans */
    size_t vms_import; /* of them imported */
    uint64_t vms_allocs;
    uint64_t vms_frees;
    uint64_t vms_fails;
};

/*
 * A place in an arena that survives what happens there: an address, and a tag
 * that starts at or before it (or the list's head).  The rotor of VM_NEXTFIT,
 * and every walk that drops the lock.
 */
struct vmem_cursor {
    struct umem_list cursor_link; /* on vm_cursors */
    struct umem_list *cursor_at;  /* seg_order of a tag, or vm_order */
    uintptr_t cursor_addr;        /* go on from here */
};

struct vmem {
    char vm_name[VMEM_NAME_SIZE];
    struct umem_lock vm_lock;
    uint32_t vm_policy; /* VM_BESTFIT, VM_FIRSTFIT, VM_NEXTFIT or 0: instant fit */
    size_t vm_quantum;
    uint32_t vm_quantum_shift;
    uint32_t vm_qcaches; /* quantum caches in use; fixed once created */
    vmem_alloc_t *vm_afunc;
    vmem_free_t *vm_ffunc;
    struct vmem *vm_source;
    size_t vm_import_min; /* imports are at least this, where the source can; 0: as needed */
    size_t vm_import_max; /* they grow up to this with what is in use; 0: they do not */
    size_t vm_inuse_max;  /* units that may be in use; 0: no limit */
    size_t vm_qcache_max;
    struct umem_list vm_order; /* head of the list of all segments */
    struct umem_list vm_freelist[VMEM_FREELISTS];
    unsigned long vm_freemap;  /* bit n: vm_freelist[n] is not empty */
    struct umem_list *vm_hash; /* allocated segments by start */
    size_t vm_hash_size;       /* buckets, a power of two */
    size_t vm_hash_used;       /* segments in it */
    /* While it is being rescaled: the table that is left, and how much of it is empty. */
    struct umem_list *vm_hash_old;
    size_t vm_hash_old_size;
    size_t vm_hash_moved;
    bool vm_hash_busy;    /* somebody is getting a table, without the lock */
    bool vm_tracks_pages; /* its units are memory: seg_dirt and what follows from it are kept */
    size_t vm_keep_size;  /* one wholly free import of this size stays; 0: none */
    bool vm_owned;        /* the record came from the metadata pool */
    size_t vm_holes;      /* spans returned less spans imported since: holes in the address space */
    size_t vm_holes_max;  /* at this many, wholly free spans stay; 0: no bound */
    struct umem_list vm_hash0[VMEM_HASH_INITIAL];
    struct vmem_seg *vm_spans;     /* root of the tree of spans */
    struct vmem_seg *vm_kept_span; /* the one that stays, or NULL */
    struct umem_list vm_cursors;
    struct vmem_cursor vm_rotor; /* where VM_NEXTFIT goes on */
    struct umem_list vm_tags;    /* unused tags, by seg_order */
    uint32_t vm_tag_count;
    struct vmem_stats vm_stats;
    struct umem_list vm_aged;    /* free segments with dirt, the longest free first */
    struct umem_list vm_purging; /* segments taken out while their pages go */
    struct vmem_decay vm_decay;
    void *vm_qcache[VMEM_QCACHES]; /* caches made by vmem_qcache_ops; n * quantum at n - 1 */
    struct umem_list vm_link;      /* on vmem_arenas */
};

extern struct umem_list vmem_arenas;
extern struct umem_lock vmem_arenas_lock;

/*
 * Quantum caches are object caches, which live above vmem: the cache layer
 * registers how to make and use them.  Arenas created before that do without
 * for good.  Called with no lock held; qcache_alloc returns NULL with errno.
 * The slabs of a quantum cache come from vmem_xalloc() of the same arena, or
 * are larger than its qcache_max.
 */
struct vmem_qcache_ops {
    void *(*qcache_create)(const char *name, size_t size, size_t quantum, struct vmem *vmp);
    void (*qcache_destroy)(void *qcache);
    void *(*qcache_alloc)(void *qcache, int vmflag);
    void (*qcache_free)(void *qcache, void *addr);
    void (*qcache_reap)(void *qcache);
};
void vmem_set_qcache_ops(const struct vmem_qcache_ops *ops);

/* Sets the static heap arena up over the operating system; idempotent, cheap once done. */
void vmem_init(void);
/* The arena under every slab and oversize block: quantum is VMEM_HEAP_QUANTUM. */
extern struct vmem vmem_heap;

/* vmem_create() for an engine that is set up: the public one is in cache/arena.c. */
struct vmem *vmem_new(const char *name, void *base, size_t size, size_t quantum,
                      vmem_alloc_t *afunc, vmem_free_t *ffunc, struct vmem *source,
                      size_t qcache_max, int vmflag);
/*
 * vmem_new() on the caller's zeroed record, which must stay where it is
 * until vmem_destroy() and is the caller's again after.  -1 with errno.
 */
int vmem_init_arena(struct vmem *vmp, const char *name, void *base, size_t size, size_t quantum,
                    vmem_alloc_t *afunc, vmem_free_t *ffunc, struct vmem *source, size_t qcache_max,
                    int vmflag);
/*
 * Grows or shrinks a segment of vmem_xalloc(), or of vmem_alloc() beyond the
 * quantum caches, in place.  False where what follows it is not free, where
 * either size is one that quantum caches serve, or where no tag could be had;
 * never imports.
 */
bool vmem_resize(struct vmem *vmp, void *addr, size_t old_size, size_t new_size);
/*
 * Returns what the arena keeps: pages, the wholly free span, and what its
 * quantum caches can spare.
 */
void vmem_reap(struct vmem *vmp);
/*
 * Gives pages back that have been free for long enough, a bounded step of
 * them.  True: there are more.
 */
bool vmem_heap_purge(void);
/*
 * Unmaps the longest part of the heap that nobody uses, if that is a megabyte or
 * more, where memory is short: records of slabs need some beside it.  Whether
 * there was one.
 */
bool vmem_heap_release(void);
/* Whether there may be such pages, at that time (os_clock_coarse_ms()).  Takes no lock. */
static inline bool
vmem_heap_is_due(uint64_t now_ms)
{
    return now_ms >= atomic_load_explicit(&vmem_heap.vm_decay.decay_due_ms, memory_order_relaxed);
}
/*
 * vmem_xalloc() from the heap, at phase from a multiple of align, that tells
 * what of the block may hold data.  The rest is zero.
 */
void *vmem_heap_alloc(size_t size, size_t align, size_t phase, struct vmem_dirt *dirt);
/*
 * At most so many bytes of the heap are in use from now on, and fewer dirty
 * ones stay where both would pass it; 0: no limit.
 */
void vmem_heap_set_limit(size_t limit);

/*
 * Where a block of the heap can move to; NULL with errno.  Until it does that
 * is no part of the arena.
 */
void *vmem_heap_reserve(size_t size);
void vmem_heap_unreserve(void *addr, size_t size);
/*
 * Moves the pages of an allocated block onto a reservation, which becomes its
 * span.  False: nothing has moved, and the reservation is no more.
 */
bool vmem_heap_move(void *addr, size_t size, void *to, size_t to_size);
/* The policy of the heap, and the one that arenas created from now on start with. */
void vmem_set_default_policy(uint32_t policy);
/* Whether every invariant of the arena holds. */
bool vmem_verify(struct vmem *vmp);

/* Takes every lock of this layer, which every other thread then waits for. */
void vmem_fork_prepare(void);
void vmem_fork_parent(void);
void vmem_fork_child(void);

#endif
