/* SPDX-License-Identifier: MIT */
/*
 * verify.c - whether every invariant of an arena holds: for tests, and for
 * whoever suspects that something wrote into the engine's records.
 *
 * Changes nothing; takes the arena's lock throughout.
 */
#include "vmem/private.h"

/* What going through all segments adds up to. */
struct tally {
    const struct vmem_seg *tally_span; /* the one we are in */
    uintptr_t tally_next;              /* where the next segment of it must start */
    bool tally_after_free;             /* the last segment was free */
    size_t tally_spans;
    size_t tally_total;
    size_t tally_import;
    size_t tally_inuse;
    size_t tally_allocated; /* segments */
    size_t tally_free;      /* segments */
    size_t tally_aged;      /* segments on vm_aged */
    size_t tally_dirty;     /* bytes of dirt of those */
    size_t tally_purging;   /* segments on vm_purging */
};

static bool
close_span(const struct tally *tally)
{
    return tally->tally_span == NULL || tally->tally_next == tally->tally_span->seg_end;
}

static bool
verify_span(const struct vmem *vmp, struct tally *tally, const struct vmem_seg *span)
{
    if (!close_span(tally) || vmem_span_find(vmp, span->seg_start) != span)
        return false;
    if (tally->tally_span != NULL && span->seg_start < tally->tally_span->seg_end)
        return false;
    if (((span->seg_start | span->seg_end) & (vmp->vm_quantum - 1)) != 0)
        return false;
    tally->tally_span = span;
    tally->tally_next = span->seg_start == 0 ? vmp->vm_quantum : span->seg_start;
    tally->tally_after_free = false;
    tally->tally_spans++;
    tally->tally_total += span->seg_end - tally->tally_next;
    if (span->seg_import)
        tally->tally_import += span->seg_end - tally->tally_next;
    return true;
}

/* Dirt lies within; only free segments that have some are on vm_aged. */
static bool
verify_dirt(const struct vmem *vmp, struct tally *tally, const struct vmem_seg *seg)
{
    bool listed = seg->seg_aged.next != &seg->seg_aged;
    size_t dirty = vmem_dirt_size(seg);

    if (!vmp->vm_tracks_pages)
        return !listed && dirty == 0;
    if (seg->seg_type == VMEM_SEG_ALLOC) {
        tally->tally_purging += listed;
        return true;
    }
    if (dirty != 0 &&
        (seg->seg_dirt.dirt_start < seg->seg_start || seg->seg_dirt.dirt_end > seg->seg_end ||
         seg->seg_dirt.dirt_start > seg->seg_dirt.dirt_end))
        return false;
    tally->tally_aged += listed;
    tally->tally_dirty += listed ? dirty : 0;
    return !listed || dirty != 0;
}

static size_t
length_of(const struct umem_list *head)
{
    size_t length = 0;

    UMEM_LIST_FOR (link, head) {
        length++;
    }
    return length;
}

static bool
verify_segment(struct vmem *vmp, struct tally *tally, const struct vmem_seg *seg)
{
    if (tally->tally_span == NULL || seg->seg_start != tally->tally_next ||
        seg->seg_end <= seg->seg_start || (seg->seg_end & (vmp->vm_quantum - 1)) != 0)
        return false;
    tally->tally_next = seg->seg_end;
    if (!verify_dirt(vmp, tally, seg))
        return false;
    if (seg->seg_type == VMEM_SEG_ALLOC) {
        tally->tally_after_free = false;
        tally->tally_allocated++;
        tally->tally_inuse += vmem_seg_size(seg);
        return vmem_hash_find(vmp, seg->seg_start) == seg;
    }
    if (seg->seg_type != VMEM_SEG_FREE || tally->tally_after_free)
        return false;
    tally->tally_after_free = true;
    tally->tally_free++;
    return true;
}

static bool
verify_order(struct vmem *vmp, struct tally *tally)
{
    UMEM_LIST_FOR (order, &vmp->vm_order) {
        const struct vmem_seg *seg = vmem_seg_of(order);
        if (order->next->prev != order)
            return false;
        if (seg->seg_type == VMEM_SEG_SPAN ? !verify_span(vmp, tally, seg)
                                           : !verify_segment(vmp, tally, seg))
            return false;
    }
    return close_span(tally);
}

/* Each list holds free segments of its sizes, the map tells which are empty, none is missing. */
static bool
verify_freelists(const struct vmem *vmp, size_t expected)
{
    size_t count = 0;

    for (unsigned class = 0; class < VMEM_FREELISTS; class ++) {
        const struct umem_list *head = &vmp->vm_freelist[class];
        if (umem_list_empty(head) != ((vmp->vm_freemap >> class & 1) == 0))
            return false;
        bool clean = false; /* met one: no dirty one comes after */
        UMEM_LIST_FOR (link, head) {
            const struct vmem_seg *seg = UMEM_CONTAINER_OF(link, struct vmem_seg, seg_link);
            if (seg->seg_type != VMEM_SEG_FREE || vmem_class(vmem_seg_size(seg)) != class)
                return false;
            if (vmp->vm_tracks_pages && clean && vmem_dirt_size(seg) != 0)
                return false;
            clean |= vmem_dirt_size(seg) == 0;
            count++;
        }
    }
    return count == expected;
}

static bool
verify_cursors(const struct vmem *vmp)
{
    UMEM_LIST_FOR (link, &vmp->vm_cursors) {
        const struct vmem_cursor *cursor = UMEM_CONTAINER_OF(link, struct vmem_cursor, cursor_link);
        if (cursor->cursor_at != &vmp->vm_order &&
            (vmem_seg_of(cursor->cursor_at)->seg_type == 0 ||
             vmem_seg_of(cursor->cursor_at)->seg_start > cursor->cursor_addr))
            return false;
    }
    return true;
}

static bool
verify_kept_span(const struct vmem *vmp)
{
    const struct vmem_seg *span = vmp->vm_kept_span;

    if (span == NULL)
        return true;
    return span->seg_type == VMEM_SEG_SPAN && span->seg_import &&
           vmem_is_type(vmp, span->seg_order.next, VMEM_SEG_FREE) &&
           vmem_span_of_whole(vmp, vmem_seg_of(span->seg_order.next)) == span;
}

static bool
verify_locked(struct vmem *vmp)
{
    struct tally tally = {0};
    size_t spans;

    if (!verify_order(vmp, &tally) || !vmem_span_tree_verify(vmp, &spans))
        return false;
    const struct vmem_stats *stats = &vmp->vm_stats;
    return spans == tally.tally_spans && stats->vms_total == tally.tally_total &&
           stats->vms_import == tally.tally_import && stats->vms_inuse == tally.tally_inuse &&
           stats->vms_allocs - stats->vms_frees == tally.tally_allocated &&
           vmp->vm_hash_used == tally.tally_allocated &&
           vmp->vm_decay.decay_dirty == tally.tally_dirty &&
           length_of(&vmp->vm_aged) == tally.tally_aged &&
           length_of(&vmp->vm_purging) == tally.tally_purging &&
           verify_freelists(vmp, tally.tally_free) && verify_cursors(vmp) && verify_kept_span(vmp);
}

bool
vmem_verify(struct vmem *vmp)
{
    umem_lock_acquire(&vmp->vm_lock);
    bool holds = verify_locked(vmp);
    umem_lock_release(&vmp->vm_lock);
    return holds;
}
