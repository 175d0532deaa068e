/* SPDX-License-Identifier: MIT */
/*
 * hash.c - the allocated segments of an arena, by where they start.
 *
 * The table doubles at two segments a bucket and halves at an eighth.  No
 * operation pays for all of that: the new table is got without the lock, and
 * every insertion and removal then moves a few groups of buckets.  A group is
 * what shares the lower bits of the hash in which both tables agree, so one
 * counter tells which table a segment is in: groups below vm_hash_moved are in
 * the new one, whose buckets are not even initialised before.
 *
 * All under the arena's lock, but for getting a table.
 */
#include "os/meta.h"
#include "vmem/private.h"

/* Segments a bucket at which the table grows, and buckets a segment at which it shrinks. */
#define HASH_LOAD_MAX 2
#define HASH_LOAD_MIN 8
/*
 * Groups moved by each operation, so that a table has moved before it wants to
 * be rescaled again.  One of n buckets grows by moving n groups, of two
 * segments each, and wants to grow again after 2n insertions: one would do.
 * It shrinks by moving n / 2 groups, nearly empty, and wants to shrink again
 * after n / 16 removals.
 */
#define HASH_MOVE_GROW 2
#define HASH_MOVE_SHRINK 8

static uint64_t
hash_of(const struct vmem *vmp, uintptr_t start)
{
    return umem_hash_run(start >> vmp->vm_quantum_shift);
}

/* Number of groups while the table is being rescaled. */
static size_t
groups(const struct vmem *vmp)
{
    return umem_min(vmp->vm_hash_size, vmp->vm_hash_old_size);
}

static struct umem_list *
bucket_of(const struct vmem *vmp, uintptr_t start)
{
    uint64_t hash = hash_of(vmp, start);

    if (vmp->vm_hash_old != NULL && (hash & (groups(vmp) - 1)) >= vmp->vm_hash_moved)
        return &vmp->vm_hash_old[hash & (vmp->vm_hash_old_size - 1)];
    return &vmp->vm_hash[hash & (vmp->vm_hash_size - 1)];
}

static void
free_table(struct vmem *vmp, struct umem_list *table, size_t size)
{
    if (table != vmp->vm_hash0)
        umem_meta_free(table, size * sizeof(*table));
}

static void
move_group(struct vmem *vmp)
{
    size_t step = groups(vmp), group = vmp->vm_hash_moved++;

    for (size_t i = group; i < vmp->vm_hash_size; i += step)
        umem_list_init(&vmp->vm_hash[i]);
    for (size_t i = group; i < vmp->vm_hash_old_size; i += step) {
        struct umem_list *from = &vmp->vm_hash_old[i];
        while (!umem_list_empty(from)) {
            struct umem_list *link = from->next;
            struct vmem_seg *seg = UMEM_CONTAINER_OF(link, struct vmem_seg, seg_link);
            umem_list_remove(link);
            umem_list_push_front(bucket_of(vmp, seg->seg_start), link);
        }
    }
}

static void
move_some(struct vmem *vmp)
{
    int count = vmp->vm_hash_size > vmp->vm_hash_old_size ? HASH_MOVE_GROW : HASH_MOVE_SHRINK;

    for (int i = 0; i < count && vmp->vm_hash_old != NULL; i++) {
        move_group(vmp);
        if (vmp->vm_hash_moved == groups(vmp)) {
            free_table(vmp, vmp->vm_hash_old, vmp->vm_hash_old_size);
            vmp->vm_hash_old = NULL;
        }
    }
}

void
vmem_hash_init(struct vmem *vmp)
{
    for (size_t i = 0; i < VMEM_HASH_INITIAL; i++)
        umem_list_init(&vmp->vm_hash0[i]);
    vmp->vm_hash = vmp->vm_hash0;
    vmp->vm_hash_size = VMEM_HASH_INITIAL;
}

void
vmem_hash_insert(struct vmem *vmp, struct vmem_seg *seg)
{
    move_some(vmp);
    umem_list_push_front(bucket_of(vmp, seg->seg_start), &seg->seg_link);
    vmp->vm_hash_used++;
}

struct vmem_seg *
vmem_hash_find(struct vmem *vmp, uintptr_t start)
{
    UMEM_LIST_FOR (link, bucket_of(vmp, start)) {
        struct vmem_seg *seg = UMEM_CONTAINER_OF(link, struct vmem_seg, seg_link);
        if (seg->seg_start == start)
            return seg;
    }
    return NULL;
}

void
vmem_hash_remove(struct vmem *vmp, struct vmem_seg *seg)
{
    umem_list_remove(&seg->seg_link);
    vmp->vm_hash_used--;
    move_some(vmp);
}

UMEM_COLD void
vmem_hash_fini(struct vmem *vmp)
{
    if (vmp->vm_hash_old != NULL)
        free_table(vmp, vmp->vm_hash_old, vmp->vm_hash_old_size);
    vmp->vm_hash_old = NULL;
    free_table(vmp, vmp->vm_hash, vmp->vm_hash_size);
    vmp->vm_hash = NULL;
}

size_t
vmem_hash_wanted(struct vmem *vmp)
{
    size_t size = vmp->vm_hash_size;

    if (UMEM_LIKELY(vmp->vm_hash_used <= size * HASH_LOAD_MAX &&
                    (vmp->vm_hash_used >= size / HASH_LOAD_MIN || size == VMEM_HASH_INITIAL)))
        return 0;
    if (vmp->vm_hash_busy || vmp->vm_hash_old != NULL)
        return 0;
    vmp->vm_hash_busy = true;
    return vmp->vm_hash_used > size ? size * 2 : size / 2;
}

void
vmem_hash_rescale(struct vmem *vmp, size_t size)
{
    /* The smallest table is in the arena, and idle: the one in use is larger. */
    struct umem_list *table = size == VMEM_HASH_INITIAL
                                  ? vmp->vm_hash0
                                  : umem_meta_alloc(size * sizeof(struct umem_list));

    umem_lock_acquire(&vmp->vm_lock);
    vmp->vm_hash_busy = false;
    if (table != NULL) {
        vmp->vm_hash_old = vmp->vm_hash;
        vmp->vm_hash_old_size = vmp->vm_hash_size;
        vmp->vm_hash_moved = 0;
        vmp->vm_hash = table;
        vmp->vm_hash_size = size;
    }
    umem_lock_release(&vmp->vm_lock);
}
