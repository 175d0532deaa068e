/* SPDX-License-Identifier: MIT */
/*
 * private.h - what the files of vmem share with each other and nobody else,
 * grouped by the file that owns it.
 *
 * "Locked" means that the caller holds the arena's vm_lock.
 */
#ifndef UMEM_VMEM_PRIVATE_H
#define UMEM_VMEM_PRIVATE_H

#include "vmem/vmem_impl.h"

#define VM_POLICY (VM_BESTFIT | VM_FIRSTFIT | VM_NEXTFIT)

static inline struct vmem_seg *
vmem_seg_of(const struct umem_list *order)
{
    return UMEM_CONTAINER_OF(order, struct vmem_seg, seg_order);
}

static inline size_t
vmem_seg_size(const struct vmem_seg *seg)
{
    return seg->seg_end - seg->seg_start;
}

/* Whether a tag of this type follows (order is its seg_order, or the list's head). */
static inline bool
vmem_is_type(const struct vmem *vmp, const struct umem_list *order, enum vmem_seg_type type)
{
    return order != &vmp->vm_order && vmem_seg_of(order)->seg_type == type;
}

/* --- tag.c: the pool of tags --- */

/*
 * Tags that one operation may need: a span's two for an import, and one on
 * either side of what is cut out of it.
 */
#define VMEM_TAGS_NEEDED 4

/* Locks the arena with at least VMEM_TAGS_NEEDED tags in it.  False: unlocked, no memory. */
bool vmem_lock_with_tags(struct vmem *vmp);
/* Locked.  The arena has one, by vmem_lock_with_tags(). */
struct vmem_seg *vmem_tag_get(struct vmem *vmp, enum vmem_seg_type type, uintptr_t start,
                              uintptr_t end);
/* Locked.  A tag that is on no list any more. */
void vmem_tag_put(struct vmem *vmp, struct vmem_seg *seg);
/* All of an arena's back to the pool. */
void vmem_tags_release(struct vmem *vmp);
void vmem_tags_fork_prepare(void);
void vmem_tags_fork_parent(void);
void vmem_tags_fork_child(void);

/* --- seg.c: segments and free lists; all locked --- */

/* Turns [addr, addr + size) of a free segment into an allocated one, in the hash. */
struct vmem_seg *vmem_seg_carve(struct vmem *vmp, struct vmem_seg *seg, uintptr_t addr,
                                size_t size);
/*
 * Frees a segment that is in no hash and on no free list; returns what it
 * became part of.  clean: its pages are zero, where that is tracked.
 */
struct vmem_seg *vmem_seg_release(struct vmem *vmp, struct vmem_seg *seg, bool clean);
/* Lets an allocated segment end elsewhere.  False where what follows is not free. */
bool vmem_seg_resize(struct vmem *vmp, struct vmem_seg *seg, size_t size);
/* Index of the free list for a size. */
unsigned vmem_class(size_t size);
void vmem_freelist_insert(struct vmem *vmp, struct vmem_seg *seg);
void vmem_freelist_remove(struct vmem *vmp, struct vmem_seg *seg);

/* --- dirt.c: what of free segments holds data; all locked --- */

static inline size_t
vmem_dirt_size(const struct vmem_seg *seg)
{
    return seg->seg_dirt.dirt_end - seg->seg_dirt.dirt_start;
}

/* A segment that was just freed, on no list: all of it is dirty, from now on. */
void vmem_dirt_all(struct vmem *vmp, struct vmem_seg *seg);
/* One that was cut: what of its dirt lay in part now is part's. */
void vmem_dirt_split(struct vmem *vmp, struct vmem_seg *seg, struct vmem_seg *part);
/* After it was cut, or is free no more. */
void vmem_dirt_clip(struct vmem *vmp, struct vmem_seg *seg);
/* seg is about to take a neighbour in. */
void vmem_dirt_merge(struct vmem *vmp, struct vmem_seg *seg, struct vmem_seg *neighbour);
/* Its pages cannot go: they stay dirty, and nobody asks again. */
void vmem_dirt_forget(struct vmem *vmp, struct vmem_seg *seg);

/* --- decay.c: when the pages of free segments go back --- */

/* Locked.  An allocation was made of this. */
void vmem_decay_allocated(struct vmem *vmp, const struct vmem_seg *seg);
/* Locked.  Whether there is something for vmem_decay_step() to do. */
bool vmem_decay_is_due(struct vmem *vmp);
/* No lock held.  Purges what is too much, and a step of what is too old: true if there is more. */
bool vmem_decay_step(struct vmem *vmp);
/* No lock held.  Purges everything. */
void vmem_decay_all(struct vmem *vmp);
/* In the child of a fork, locked: what another thread was purging. */
void vmem_decay_fork_child(struct vmem *vmp);

/* --- vmem.c --- */

/* Locked.  Whether size units more would pass vm_inuse_max. */
bool vmem_is_beyond(const struct vmem *vmp, size_t size);

/* A span taken out of its arena; nothing: size 0. */
struct vmem_unused {
    uintptr_t unused_start;
    size_t unused_size;
};
/* Locked.  Takes the span of a free segment out where that is all of it and may go. */
struct vmem_unused vmem_take_unused(struct vmem *vmp, const struct vmem_seg *seg);
/* No lock held.  To the source.  Keeps errno. */
void vmem_return_unused(struct vmem *vmp, struct vmem_unused unused);

/* --- span.c: spans, in a tree by address; all locked --- */

/* The span that holds addr, or NULL. */
struct vmem_seg *vmem_span_find(const struct vmem *vmp, uintptr_t addr);
/* A span that overlaps [start, end), or NULL. */
struct vmem_seg *vmem_span_overlap(const struct vmem *vmp, uintptr_t start, uintptr_t end);
/* Adds a span that overlaps none; returns its free segment. */
struct vmem_seg *vmem_span_insert(struct vmem *vmp, uintptr_t start, uintptr_t end, bool import);
/* Takes a span away with all segments it has. */
void vmem_span_remove(struct vmem *vmp, struct vmem_seg *span);
/* Makes an allocated segment a span of its own.  With tags. */
struct vmem_seg *vmem_span_isolate(struct vmem *vmp, struct vmem_seg *seg);
/* Takes such a span and its segment out of the arena, tags and all; from the heap only. */
void vmem_span_unlink(struct vmem *vmp, struct vmem_seg *span, struct vmem_seg *seg);
/* Puts them back, at that place. */
void vmem_span_link(struct vmem *vmp, struct vmem_seg *span, struct vmem_seg *seg, uintptr_t start,
                    uintptr_t end);
/* The span that consists of this free segment alone, or NULL. */
struct vmem_seg *vmem_span_of_whole(const struct vmem *vmp, const struct vmem_seg *seg);
/* Whether the tree is in order, and its number of spans. */
bool vmem_span_tree_verify(const struct vmem *vmp, size_t *countp);

/* --- hash.c: allocated segments by start, all locked but the last --- */

void vmem_hash_init(struct vmem *vmp);
void vmem_hash_insert(struct vmem *vmp, struct vmem_seg *seg);
struct vmem_seg *vmem_hash_find(struct vmem *vmp, uintptr_t start);
void vmem_hash_remove(struct vmem *vmp, struct vmem_seg *seg);
void vmem_hash_fini(struct vmem *vmp);
/* The size the table ought to have, or 0 where it is right.  Marks the caller as the one to act. */
size_t vmem_hash_wanted(struct vmem *vmp);
/* Not locked: gives it that size.  Where there is no memory it stays as it is. */
void vmem_hash_rescale(struct vmem *vmp, size_t size);

/* --- fit.c: where an allocation goes --- */

/* A request, checked and rounded. */
struct vmem_request {
    size_t rq_size;
    size_t rq_align;
    size_t rq_phase;
    size_t rq_nocross; /* 0: none */
    uintptr_t rq_min;
    uintptr_t rq_max; /* exclusive */
    size_t rq_padded; /* a segment of this size fits, wherever it starts */
    bool rq_located;  /* has nocross, min or max: size alone does not tell what fits */
    uint32_t rq_policy;
    struct vmem_dirt rq_dirt; /* result: what of the allocation may hold data */
};

/* How many segments an instant fit looks at before it says no, where it need not be sure. */
#define VMEM_SCAN_BOUND 32
#define VMEM_SCAN_ALL SIZE_MAX

/* 0, EINVAL or ENOMEM. */
int vmem_request_init(struct vmem_request *rq, const struct vmem *vmp, size_t size, size_t align,
                      size_t phase, size_t nocross, uintptr_t min, uintptr_t max);
/* Locked.  Allocates; NULL where no segment fits, or none of those that bound lets it look at. */
struct vmem_seg *vmem_fit(struct vmem *vmp, const struct vmem_request *rq, size_t bound);
/* Locked.  The same from one free segment. */
struct vmem_seg *vmem_fit_in(struct vmem *vmp, const struct vmem_request *rq, struct vmem_seg *seg);

/* --- vmem.c, heap.c --- */

/* Allocates, importing if need be.  No lock held.  NULL with errno. */
void *vmem_request_alloc(struct vmem *vmp, struct vmem_request *rq, int vmflag);

/* Whether fresh memory from the system is locked, and so populated at once. */
bool vmem_heap_is_locked(void *span);

/* --- walk.c: cursors; locked --- */

/* Every cursor at one tag goes to another that starts no later. */
void vmem_cursors_move(struct vmem *vmp, const struct umem_list *from, struct umem_list *to);
/* In the child of a fork: forgets the cursors of threads that are gone. */
void vmem_cursors_fork_child(struct vmem *vmp);

/* --- arena.c --- */

/* Fills a zeroed record in; owns nothing yet. */
void vmem_setup(struct vmem *vmp, const char *name, size_t quantum, vmem_alloc_t *afunc,
                vmem_free_t *ffunc, struct vmem *source, uint32_t policy);
extern const struct vmem_qcache_ops *_Atomic vmem_qcache_ops;

/* --- misuse.c: what the caller did wrong, on stderr --- */

/* "umem: " and the text. */
void vmem_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, then SIGABRT. */
_Noreturn void vmem_misuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* For a segment that does not start at addr.  Locked. */
_Noreturn void vmem_misuse_not_allocated(struct vmem *vmp, const char *function, uintptr_t addr,
                                         size_t size);

#endif
