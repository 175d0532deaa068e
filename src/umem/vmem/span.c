/* SPDX-License-Identifier: MIT */
/*
 * span.c - spans: the ranges that an arena was given or imported.
 *
 * A treap keyed by address, linked through the span tags themselves, finds the
 * span of an address, what a new one would overlap, and where its segments go
 * in the list of all: in time that grows with the logarithm of the number of
 * spans.  A node's priority is the hash of its start, so no state is needed,
 * and the shape does not depend on the order of insertion.
 *
 * A span that begins at 0 gives its first quantum to nobody, since NULL means
 * failure: its free segment starts one quantum later.  Neither vms_total nor
 * any walk counts that quantum.
 */
#include "vmem/private.h"

enum { BELOW, ABOVE };

static uint64_t
priority(const struct vmem_seg *span)
{
    return umem_hash64(span->seg_start);
}

/* The span that starts last at or before addr. */
static struct vmem_seg *
find_floor(const struct vmem *vmp, uintptr_t addr)
{
    struct vmem_seg *best = NULL;

    for (struct vmem_seg *span = vmp->vm_spans; span != NULL;) {
        if (span->seg_start <= addr) {
            best = span;
            span = span->seg_child[ABOVE];
        } else {
            span = span->seg_child[BELOW];
        }
    }
    return best;
}

/* The span that starts first after addr. */
static struct vmem_seg *
find_above(const struct vmem *vmp, uintptr_t addr)
{
    struct vmem_seg *best = NULL;

    for (struct vmem_seg *span = vmp->vm_spans; span != NULL;) {
        if (span->seg_start > addr) {
            best = span;
            span = span->seg_child[BELOW];
        } else {
            span = span->seg_child[ABOVE];
        }
    }
    return best;
}

static void
tree_insert(struct vmem *vmp, struct vmem_seg *span)
{
    struct vmem_seg **link = &vmp->vm_spans;

    while (*link != NULL && priority(*link) >= priority(span))
        link = &(*link)->seg_child[(*link)->seg_start < span->seg_start ? ABOVE : BELOW];

    /* The rest of that subtree is split round the new node. */
    struct vmem_seg *rest = *link;
    struct vmem_seg **below = &span->seg_child[BELOW], **above = &span->seg_child[ABOVE];
    *link = span;
    while (rest != NULL) {
        if (rest->seg_start < span->seg_start) {
            *below = rest;
            below = &rest->seg_child[ABOVE];
            rest = *below;
        } else {
            *above = rest;
            above = &rest->seg_child[BELOW];
            rest = *above;
        }
    }
    *below = *above = NULL;
}

static void
tree_remove(struct vmem *vmp, struct vmem_seg *span)
{
    struct vmem_seg **link = &vmp->vm_spans;

    while (*link != span)
        link = &(*link)->seg_child[(*link)->seg_start < span->seg_start ? ABOVE : BELOW];

    /* Its two subtrees are merged in its place. */
    struct vmem_seg *below = span->seg_child[BELOW], *above = span->seg_child[ABOVE];
    while (below != NULL && above != NULL) {
        if (priority(below) >= priority(above)) {
            *link = below;
            link = &below->seg_child[ABOVE];
            below = *link;
        } else {
            *link = above;
            link = &above->seg_child[BELOW];
            above = *link;
        }
    }
    *link = below != NULL ? below : above;
}

struct vmem_seg *
vmem_span_find(const struct vmem *vmp, uintptr_t addr)
{
    struct vmem_seg *span = find_floor(vmp, addr);

    return span != NULL && addr < span->seg_end ? span : NULL;
}

struct vmem_seg *
vmem_span_overlap(const struct vmem *vmp, uintptr_t start, uintptr_t end)
{
    struct vmem_seg *span = vmem_span_find(vmp, start);

    if (span != NULL)
        return span;
    span = find_above(vmp, start);
    return span != NULL && span->seg_start < end ? span : NULL;
}

/* Where a span's first allocatable unit is. */
static uintptr_t
first_unit(const struct vmem *vmp, const struct vmem_seg *span)
{
    return span->seg_start == 0 ? vmp->vm_quantum : span->seg_start;
}

struct vmem_seg *
vmem_span_insert(struct vmem *vmp, uintptr_t start, uintptr_t end, bool import)
{
    struct vmem_seg *after = find_above(vmp, start);
    struct umem_list *next = after != NULL ? &after->seg_order : &vmp->vm_order;
    struct vmem_seg *span = vmem_tag_get(vmp, VMEM_SEG_SPAN, start, end);
    struct vmem_seg *seg = vmem_tag_get(vmp, VMEM_SEG_FREE, first_unit(vmp, span), end);

    span->seg_import = import;
    tree_insert(vmp, span);
    umem_list_push_back(next, &span->seg_order);
    umem_list_push_back(next, &seg->seg_order);
    vmem_freelist_insert(vmp, seg);
    vmp->vm_stats.vms_total += vmem_seg_size(seg);
    if (import)
        vmp->vm_stats.vms_import += vmem_seg_size(seg);
    return seg;
}

void
vmem_span_remove(struct vmem *vmp, struct vmem_seg *span)
{
    struct umem_list *before = span->seg_order.prev;
    size_t size = span->seg_end - first_unit(vmp, span);

    vmp->vm_stats.vms_total -= size;
    if (span->seg_import)
        vmp->vm_stats.vms_import -= size;
    if (vmp->vm_kept_span == span)
        vmp->vm_kept_span = NULL;
    while (before->next != &vmp->vm_order) {
        struct vmem_seg *seg = vmem_seg_of(before->next);
        if (seg != span && seg->seg_type == VMEM_SEG_SPAN)
            break;
        if (seg->seg_type == VMEM_SEG_FREE) {
            vmem_freelist_remove(vmp, seg);
            vmem_dirt_forget(vmp, seg);
        } else if (seg->seg_type == VMEM_SEG_ALLOC) {
            vmem_hash_remove(vmp, seg);
        } else {
            tree_remove(vmp, span);
        }
        vmem_cursors_move(vmp, &seg->seg_order, before);
        umem_list_remove(&seg->seg_order);
        vmem_tag_put(vmp, seg);
    }
}

/* A span [start, end) out of one that was imported, before that place in the list of all. */
static struct vmem_seg *
cut_span(struct vmem *vmp, uintptr_t start, uintptr_t end, struct umem_list *place)
{
    struct vmem_seg *span = vmem_tag_get(vmp, VMEM_SEG_SPAN, start, end);

    span->seg_import = true;
    vmp->vm_holes++; /* one mapping more, once its neighbour has gone */
    umem_list_push_back(place, &span->seg_order);
    tree_insert(vmp, span);
    return span;
}

struct vmem_seg *
vmem_span_isolate(struct vmem *vmp, struct vmem_seg *seg)
{
    struct vmem_seg *span = vmem_span_find(vmp, seg->seg_start);

    UMEM_VERIFY(span != NULL); /* every segment lies in one */
    uintptr_t end = span->seg_end;
    if (end > seg->seg_end) {
        span->seg_end = seg->seg_end;
        (void)cut_span(vmp, seg->seg_end, end, seg->seg_order.next);
    }
    if (span->seg_start < seg->seg_start) {
        span->seg_end = seg->seg_start;
        span = cut_span(vmp, seg->seg_start, seg->seg_end, &seg->seg_order);
    }
    return span;
}

void
vmem_span_unlink(struct vmem *vmp, struct vmem_seg *span, struct vmem_seg *seg)
{
    size_t size = vmem_seg_size(span);

    vmp->vm_stats.vms_total -= size;
    vmp->vm_stats.vms_import -= size;
    vmp->vm_stats.vms_inuse -= size;
    vmp->vm_stats.vms_allocs--;
    vmem_hash_remove(vmp, seg);
    tree_remove(vmp, span);
    vmem_cursors_move(vmp, &seg->seg_order, span->seg_order.prev);
    vmem_cursors_move(vmp, &span->seg_order, span->seg_order.prev);
    umem_list_remove(&seg->seg_order);
    umem_list_remove(&span->seg_order);
}

void
vmem_span_link(struct vmem *vmp, struct vmem_seg *span, struct vmem_seg *seg, uintptr_t start,
               uintptr_t end)
{
    struct vmem_seg *after = find_above(vmp, start);
    struct umem_list *next = after != NULL ? &after->seg_order : &vmp->vm_order;

    span->seg_start = seg->seg_start = start;
    span->seg_end = seg->seg_end = end;
    tree_insert(vmp, span);
    umem_list_push_back(next, &span->seg_order);
    umem_list_push_back(next, &seg->seg_order);
    vmem_hash_insert(vmp, seg);
    vmp->vm_stats.vms_total += end - start;
    vmp->vm_stats.vms_import += end - start;
    vmp->vm_stats.vms_inuse += end - start;
    vmp->vm_stats.vms_allocs++;
}

struct vmem_seg *
vmem_span_of_whole(const struct vmem *vmp, const struct vmem_seg *seg)
{
    const struct umem_list *next = seg->seg_order.next;

    if (!vmem_is_type(vmp, seg->seg_order.prev, VMEM_SEG_SPAN))
        return NULL;
    if (next != &vmp->vm_order && !vmem_is_type(vmp, next, VMEM_SEG_SPAN))
        return NULL;
    return vmem_seg_of(seg->seg_order.prev);
}

/* Heap order by priority, and each child on its side. */
static bool
node_verify(const struct vmem_seg *span)
{
    for (int side = BELOW; side <= ABOVE; side++) {
        const struct vmem_seg *child = span->seg_child[side];
        if (child == NULL)
            continue;
        if (priority(child) > priority(span) ||
            (child->seg_start < span->seg_start) != (side == BELOW))
            return false;
    }
    return span->seg_type == VMEM_SEG_SPAN && span->seg_start < span->seg_end;
}

UMEM_COLD bool
vmem_span_tree_verify(const struct vmem *vmp, size_t *countp)
{
    /* In order, from successor to successor: no recursion, and it tests the look-up. */
    const struct vmem_seg *span = find_floor(vmp, 0);
    if (span == NULL)
        span = find_above(vmp, 0);

    *countp = 0;
    while (span != NULL) {
        const struct vmem_seg *next = find_above(vmp, span->seg_start);
        if (!node_verify(span) || (next != NULL && next->seg_start < span->seg_end))
            return false;
        ++*countp;
        span = next;
    }
    return true;
}
