/* SPDX-License-Identifier: MIT */
/*
 * seg.c - segments: cutting, merging, free lists.
 *
 * Everything here runs under the arena's lock and costs the same however many
 * segments there are.  Where a segment is cut, the leftmost part keeps its
 * tag, and where two are merged, the left one survives: so a cursor at a tag
 * that started at or before its address still does (vmem_impl.h).
 */
#include "vmem/private.h"

unsigned
vmem_class(size_t size)
{
    return umem_log2(size);
}

void
vmem_freelist_insert(struct vmem *vmp, struct vmem_seg *seg)
{
    unsigned class = vmem_class(vmem_seg_size(seg));

    /* Dirty ones, whose pages are there, before clean ones; else the latest first. */
    if (vmp->vm_tracks_pages && vmem_dirt_size(seg) == 0)
        umem_list_push_back(&vmp->vm_freelist[class], &seg->seg_link);
    else
        umem_list_push_front(&vmp->vm_freelist[class], &seg->seg_link);
    vmp->vm_freemap |= 1UL << class;
}

void
vmem_freelist_remove(struct vmem *vmp, struct vmem_seg *seg)
{
    unsigned class = vmem_class(vmem_seg_size(seg));

    umem_list_remove(&seg->seg_link);
    if (umem_list_empty(&vmp->vm_freelist[class]))
        vmp->vm_freemap &= ~(1UL << class);
}

/* A new free segment [start, end) behind another, of which it was a part. */
static void
insert_free_after(struct vmem *vmp, struct vmem_seg *seg, uintptr_t start, uintptr_t end)
{
    struct vmem_seg *rest = vmem_tag_get(vmp, VMEM_SEG_FREE, start, end);

    umem_list_push_front(&seg->seg_order, &rest->seg_order);
    vmem_dirt_split(vmp, seg, rest);
    vmem_freelist_insert(vmp, rest);
}

struct vmem_seg *
vmem_seg_carve(struct vmem *vmp, struct vmem_seg *seg, uintptr_t addr, size_t size)
{
    uintptr_t end = seg->seg_end;

    UMEM_ASSERT(seg->seg_type == VMEM_SEG_FREE);
    UMEM_ASSERT(addr >= seg->seg_start && addr + size <= end);
    if (vmp->vm_kept_span != NULL && seg->seg_order.prev == &vmp->vm_kept_span->seg_order)
        vmp->vm_kept_span = NULL;

    vmem_freelist_remove(vmp, seg);
    if (addr + size < end)
        insert_free_after(vmp, seg, addr + size, end);
    if (addr > seg->seg_start) {
        struct vmem_seg *before = seg;
        seg = vmem_tag_get(vmp, VMEM_SEG_ALLOC, addr, addr + size);
        umem_list_push_front(&before->seg_order, &seg->seg_order);
        vmem_dirt_split(vmp, before, seg);
        before->seg_end = addr;
        vmem_dirt_clip(vmp, before);
        vmem_freelist_insert(vmp, before);
    } else {
        seg->seg_type = VMEM_SEG_ALLOC;
        seg->seg_end = addr + size;
        vmem_dirt_clip(vmp, seg);
    }
    vmem_hash_insert(vmp, seg);
    return seg;
}

/* Lets seg end where the segment behind it did, whose tag goes. */
static void
absorb_next(struct vmem *vmp, struct vmem_seg *seg)
{
    struct vmem_seg *next = vmem_seg_of(seg->seg_order.next);

    seg->seg_end = next->seg_end;
    vmem_cursors_move(vmp, &next->seg_order, &seg->seg_order);
    umem_list_remove(&next->seg_order);
    vmem_tag_put(vmp, next);
}

struct vmem_seg *
vmem_seg_release(struct vmem *vmp, struct vmem_seg *seg, bool clean)
{
    seg->seg_type = VMEM_SEG_FREE;
    seg->seg_dirt = (struct vmem_dirt){0, 0};
    if (vmp->vm_tracks_pages && !clean)
        vmem_dirt_all(vmp, seg);
    if (vmem_is_type(vmp, seg->seg_order.next, VMEM_SEG_FREE)) {
        struct vmem_seg *next = vmem_seg_of(seg->seg_order.next);
        vmem_freelist_remove(vmp, next);
        vmem_dirt_merge(vmp, seg, next);
        absorb_next(vmp, seg);
    }
    if (vmem_is_type(vmp, seg->seg_order.prev, VMEM_SEG_FREE)) {
        struct vmem_seg *last = seg;
        seg = vmem_seg_of(seg->seg_order.prev);
        vmem_freelist_remove(vmp, seg);
        vmem_dirt_merge(vmp, seg, last);
        absorb_next(vmp, seg);
    }
    vmem_freelist_insert(vmp, seg);
    return seg;
}

static bool
grow(struct vmem *vmp, struct vmem_seg *seg, size_t by)
{
    if (!vmem_is_type(vmp, seg->seg_order.next, VMEM_SEG_FREE))
        return false;
    struct vmem_seg *next = vmem_seg_of(seg->seg_order.next);
    if (vmem_seg_size(next) < by)
        return false;

    vmem_freelist_remove(vmp, next);
    if (vmem_seg_size(next) == by) {
        vmem_dirt_forget(vmp, next);
        absorb_next(vmp, seg);
        return true;
    }
    seg->seg_end += by;
    next->seg_start += by;
    vmem_dirt_clip(vmp, next);
    vmem_cursors_move(vmp, &next->seg_order, &seg->seg_order);
    vmem_freelist_insert(vmp, next);
    return true;
}

static void
shrink(struct vmem *vmp, struct vmem_seg *seg, size_t by)
{
    struct vmem_seg *tail = vmem_tag_get(vmp, VMEM_SEG_ALLOC, seg->seg_end - by, seg->seg_end);

    seg->seg_end -= by;
    umem_list_push_front(&seg->seg_order, &tail->seg_order);
    vmem_seg_release(vmp, tail, false);
}

bool
vmem_seg_resize(struct vmem *vmp, struct vmem_seg *seg, size_t size)
{
    size_t old_size = vmem_seg_size(seg);

    if (size > old_size)
        return grow(vmp, seg, size - old_size);
    if (size < old_size)
        shrink(vmp, seg, old_size - size);
    return true;
}
