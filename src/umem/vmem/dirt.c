/* SPDX-License-Identifier: MIT */
/*
 * dirt.c - which pages of free segments may hold data.
 *
 * Memory fresh from the system is zero, and costs a page fault a page; memory
 * that was freed is neither.  So a free segment remembers its dirt: the range
 * from the first to the last byte that may have been written.  One range, since
 * then free neighbours merge whatever they are, a clean half stays known as
 * such, and each step costs the same.  What lies clean between two dirty parts
 * is taken for dirty; to purge what is not there costs next to nothing.
 *
 * Segments with dirt are on vm_aged in the order in which they became so.  Of
 * two that merge, the place of the one with more dirt counts: neither does a
 * granule that is freed beside it keep a large segment young, nor a scrap that
 * was left over make a large one old.  A segment that could not be purged is
 * on no list, until something is freed beside it.
 *
 * All under the arena's lock.  Arenas that do not track pages have no dirt.
 */
#include "os/os.h"
#include "vmem/private.h"

static bool
is_aged(const struct vmem_seg *seg)
{
    return seg->seg_aged.next != &seg->seg_aged;
}

/* On the list before a place there, as old as that says. */
static void
list_before(struct vmem *vmp, struct vmem_seg *seg, struct umem_list *place, uint32_t since_ms)
{
    umem_list_push_back(place, &seg->seg_aged);
    seg->seg_since_ms = since_ms;
    vmp->vm_decay.decay_dirty += vmem_dirt_size(seg);
}

static void
unlist(struct vmem *vmp, struct vmem_seg *seg)
{
    if (!is_aged(seg))
        return;
    vmp->vm_decay.decay_dirty -= vmem_dirt_size(seg);
    umem_list_remove(&seg->seg_aged);
    umem_list_init(&seg->seg_aged);
}

void
vmem_dirt_all(struct vmem *vmp, struct vmem_seg *seg)
{
    seg->seg_dirt = (struct vmem_dirt){seg->seg_start, seg->seg_end};
    list_before(vmp, seg, &vmp->vm_aged, (uint32_t)os_clock_coarse_ms());
}

/* What of the dirt lies in [start, end). */
static struct vmem_dirt
clipped(struct vmem_dirt dirt, uintptr_t start, uintptr_t end)
{
    start = umem_max(start, dirt.dirt_start);
    end = umem_min(end, dirt.dirt_end);
    return start < end ? (struct vmem_dirt){start, end} : (struct vmem_dirt){0, 0};
}

void
vmem_dirt_split(struct vmem *vmp, struct vmem_seg *seg, struct vmem_seg *part)
{
    part->seg_dirt = clipped(seg->seg_dirt, part->seg_start, part->seg_end);
    if (is_aged(seg) && part->seg_type == VMEM_SEG_FREE && vmem_dirt_size(part) != 0)
        list_before(vmp, part, seg->seg_aged.next, seg->seg_since_ms);
}

void
vmem_dirt_clip(struct vmem *vmp, struct vmem_seg *seg)
{
    size_t before = vmem_dirt_size(seg);

    if (before == 0)
        return;
    struct vmem_dirt dirt = clipped(seg->seg_dirt, seg->seg_start, seg->seg_end);
    if (seg->seg_type != VMEM_SEG_FREE || dirt.dirt_end == 0)
        unlist(vmp, seg);
    seg->seg_dirt = dirt;
    if (is_aged(seg))
        vmp->vm_decay.decay_dirty -= before - vmem_dirt_size(seg);
}

void
vmem_dirt_merge(struct vmem *vmp, struct vmem_seg *seg, struct vmem_seg *neighbour)
{
    struct vmem_dirt one = seg->seg_dirt, other = neighbour->seg_dirt;
    bool others =
        is_aged(neighbour) && (!is_aged(seg) || vmem_dirt_size(neighbour) > vmem_dirt_size(seg));
    struct umem_list *place = others ? &neighbour->seg_aged : seg->seg_aged.next;
    uint32_t since_ms = others ? neighbour->seg_since_ms : seg->seg_since_ms;
    bool aged = others || is_aged(seg);

    if (other.dirt_end == 0)
        return;
    unlist(vmp, seg);
    seg->seg_dirt = one.dirt_end == 0
                        ? other
                        : (struct vmem_dirt){umem_min(one.dirt_start, other.dirt_start),
                                             umem_max(one.dirt_end, other.dirt_end)};
    if (aged)
        list_before(vmp, seg, place, since_ms);
    unlist(vmp, neighbour);
    neighbour->seg_dirt = (struct vmem_dirt){0, 0};
}

void
vmem_dirt_forget(struct vmem *vmp, struct vmem_seg *seg)
{
    unlist(vmp, seg);
}
