/* SPDX-License-Identifier: MIT */
/*
 * tag.c - the pool of boundary tags.
 *
 * Tags are cut from blocks of the metadata pool and never go back there, so
 * that nothing here recurses into a cache or an arena.  Unused ones lie in one
 * pool under tags_lock (UMEM_RANK_VMEM_SEG, taken under an arena's lock), and
 * a few in each arena, so that the pool is asked once in a batch.  A tag that
 * is unused has type 0.
 */
#include "os/meta.h"
#include "vmem/private.h"

/* One page of tags at a time: 46 of 88 bytes. */
#define TAG_BLOCK_SIZE ((size_t)4096)
/* Moved between the pool and an arena at once: a lock of the pool for 4 to 16 operations. */
#define TAG_BATCH 16
/* An arena with more gives a batch back; the gap keeps it from asking for them at once. */
#define TAG_ARENA_MAX (3 * TAG_BATCH)

static struct umem_list tags_free = UMEM_LIST_INIT(tags_free);
static struct umem_lock tags_lock = UMEM_LOCK_INIT(UMEM_RANK_VMEM_SEG);

/* Moves the first n tags of a list, or all; returns how many. */
static uint32_t
move_tags(struct umem_list *from, struct umem_list *to, uint32_t n)
{
    uint32_t moved = 0;

    for (; moved < n && !umem_list_empty(from); moved++) {
        struct umem_list *tag = from->next;
        umem_list_remove(tag);
        umem_list_push_front(to, tag);
    }
    return moved;
}

/* No lock held, since the metadata pool may ask the system. */
static bool
grow_pool(void)
{
    struct vmem_seg *block = umem_meta_alloc(TAG_BLOCK_SIZE);

    if (block == NULL)
        return false;
    umem_lock_acquire(&tags_lock);
    for (size_t i = 0; i < TAG_BLOCK_SIZE / sizeof(*block); i++)
        umem_list_push_back(&tags_free, &block[i].seg_order);
    umem_lock_release(&tags_lock);
    return true;
}

bool
vmem_lock_with_tags(struct vmem *vmp)
{
    umem_lock_acquire(&vmp->vm_lock);
    while (UMEM_UNLIKELY(vmp->vm_tag_count < VMEM_TAGS_NEEDED)) {
        umem_lock_acquire(&tags_lock);
        uint32_t moved = move_tags(&tags_free, &vmp->vm_tags, TAG_BATCH);
        umem_lock_release(&tags_lock);
        vmp->vm_tag_count += moved;
        if (moved > 0)
            continue;
        umem_lock_release(&vmp->vm_lock);
        if (!grow_pool())
            return false;
        umem_lock_acquire(&vmp->vm_lock);
    }
    return true;
}

struct vmem_seg *
vmem_tag_get(struct vmem *vmp, enum vmem_seg_type type, uintptr_t start, uintptr_t end)
{
    UMEM_VERIFY(vmp->vm_tag_count > 0);
    struct vmem_seg *seg = vmem_seg_of(vmp->vm_tags.next);

    umem_list_remove(&seg->seg_order);
    vmp->vm_tag_count--;
    seg->seg_start = start;
    seg->seg_end = end;
    seg->seg_type = (uint8_t)type;
    seg->seg_import = 0;
    seg->seg_dirt = (struct vmem_dirt){0, 0};
    umem_list_init(&seg->seg_aged);
    umem_list_init(&seg->seg_link);
    return seg;
}

void
vmem_tag_put(struct vmem *vmp, struct vmem_seg *seg)
{
    seg->seg_type = 0;
    umem_list_push_front(&vmp->vm_tags, &seg->seg_order);
    if (UMEM_LIKELY(++vmp->vm_tag_count <= TAG_ARENA_MAX))
        return;
    umem_lock_acquire(&tags_lock);
    vmp->vm_tag_count -= move_tags(&vmp->vm_tags, &tags_free, TAG_BATCH);
    umem_lock_release(&tags_lock);
}

UMEM_COLD void
vmem_tags_release(struct vmem *vmp)
{
    umem_lock_acquire(&tags_lock);
    vmp->vm_tag_count -= move_tags(&vmp->vm_tags, &tags_free, UINT32_MAX);
    umem_lock_release(&tags_lock);
}

void
vmem_tags_fork_prepare(void)
{
    umem_lock_acquire_fork(&tags_lock);
}

void
vmem_tags_fork_parent(void)
{
    umem_lock_release(&tags_lock);
}

void
vmem_tags_fork_child(void)
{
    umem_lock_reset_child(&tags_lock);
}
