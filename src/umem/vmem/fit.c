/* SPDX-License-Identifier: MIT */
/*
 * fit.c - where an allocation goes: requests, and the four policies.
 *
 * Free segments lie on lists by the power of two below their size, with a bit
 * in vm_freemap for each list that is not empty.
 *
 * Instant fit takes any segment of the lowest list all of whose segments are
 * large enough: a few instructions, however many there are.  Only where there
 * is none does it look at single segments, some of which may do; how many is
 * bounded where the arena can import instead.  Where pages are tracked, it
 * first looks at a few dirty segments, whose pages need no fault.  Best fit looks through one list
 * (mostly), first fit through all that may have something, next fit along the
 * segments in order of address: those cost what they look at.
 */
#include <errno.h>

#include "vmem/private.h"

/* Doublings of the request's size up to which a dirty segment is cut for it: 64 times. */
#define DIRTY_LISTS 6

/* Where it would go. */
struct place {
    struct vmem_seg *place_seg; /* NULL: nowhere */
    uintptr_t place_addr;
};

/* The smallest number from addr up that is phase past a multiple of align; less on overflow. */
static uintptr_t
phase_up(uintptr_t addr, size_t align, size_t phase)
{
    return addr + ((phase - addr) & (align - 1));
}

/* The lowest address in [start, end) that the request can have, or 0. */
static uintptr_t
fit_range(const struct vmem_request *rq, uintptr_t start, uintptr_t end)
{
    start = umem_max(start, rq->rq_min);
    end = umem_min(end, rq->rq_max);

    uintptr_t addr = phase_up(start, rq->rq_align, rq->rq_phase);
    if (addr < start || addr >= end)
        return 0;
    if (rq->rq_nocross != 0 && ((addr ^ (addr + rq->rq_size - 1)) & ~(rq->rq_nocross - 1)) != 0) {
        /* Right behind the boundary it crosses none: vmem_request_init() saw to that. */
        uintptr_t boundary = umem_align_up(addr + 1, rq->rq_nocross);
        addr = phase_up(boundary, rq->rq_align, rq->rq_phase);
        if (boundary < start || addr < boundary || addr >= end)
            return 0;
    }
    return end - addr >= rq->rq_size ? addr : 0;
}

/* Rounds and checks the size: 0, or ENOMEM where it overflows, or EINVAL where it is 0. */
static int
init_size(struct vmem_request *rq, const struct vmem *vmp, size_t size)
{
    rq->rq_size = umem_align_up(size, vmp->vm_quantum);
    if (size == 0)
        return EINVAL;
    return rq->rq_size < size ? ENOMEM : 0;
}

int
vmem_request_init(struct vmem_request *rq, const struct vmem *vmp, size_t size, size_t align,
                  size_t phase, size_t nocross, uintptr_t min, uintptr_t max)
{
    size_t unaligned = vmp->vm_quantum - 1;
    int error = init_size(rq, vmp, size);

    if (error != 0)
        return error;
    if (align < vmp->vm_quantum && (align == 0 || umem_is_pow2(align)))
        align = vmp->vm_quantum;
    if (!umem_is_pow2(align) || phase >= align || (phase & unaligned) != 0)
        return EINVAL;
    if (nocross != 0 && (!umem_is_pow2(nocross) || rq->rq_size > nocross ||
                         (phase & (nocross - 1)) > nocross - rq->rq_size))
        return EINVAL;

    rq->rq_align = align;
    rq->rq_phase = phase;
    rq->rq_nocross = nocross;
    rq->rq_min = min;
    rq->rq_max = max == 0 ? UINTPTR_MAX : max;
    rq->rq_located = nocross != 0 || min != 0 || max != 0;
    rq->rq_padded = rq->rq_size + (align - vmp->vm_quantum);
    if (rq->rq_padded < rq->rq_size)
        rq->rq_padded = SIZE_MAX;
    /* What would not fit if all numbers were free fits nowhere. */
    if (rq->rq_located && fit_range(rq, vmp->vm_quantum, UINTPTR_MAX) == 0)
        return EINVAL;
    return 0;
}

static struct place
place_in(const struct vmem_request *rq, struct vmem_seg *seg)
{
    uintptr_t addr = fit_range(rq, seg->seg_start, seg->seg_end);

    return (struct place){addr != 0 ? seg : NULL, addr};
}

/* The lists from one up that have segments, as bits. */
static unsigned long
lists_from(const struct vmem *vmp, unsigned class)
{
    return class < VMEM_FREELISTS ? vmp->vm_freemap & ~0UL << class : 0;
}

static struct vmem_seg *
seg_of_link(struct umem_list *link)
{
    return UMEM_CONTAINER_OF(link, struct vmem_seg, seg_link);
}

/*
 * The smallest dirty segment that fits, of the first that are looked at; no
 * list beyond DIRTY_LISTS, since a granule cut out of a large segment costs the
 * next large block more than the fault it saves.
 */
static struct place
find_dirty(struct vmem *vmp, const struct vmem_request *rq)
{
    struct place best = {NULL, 0};
    unsigned class = vmem_class(rq->rq_size);
    size_t bound = VMEM_SCAN_BOUND;

    for (unsigned long lists = lists_from(vmp, class); lists != 0 && best.place_seg == NULL;
         lists &= lists - 1) {
        unsigned list = (unsigned)__builtin_ctzl(lists);
        if (list > class + DIRTY_LISTS)
            break;
        UMEM_LIST_FOR (link, &vmp->vm_freelist[list]) {
            struct vmem_seg *seg = seg_of_link(link);
            if (vmem_dirt_size(seg) == 0 || bound == 0) /* they come first */
                break;
            bound--;
            if (best.place_seg != NULL && vmem_seg_size(seg) >= vmem_seg_size(best.place_seg))
                continue;
            struct place place = place_in(rq, seg);
            if (place.place_seg != NULL)
                best = place;
            if (vmem_seg_size(seg) == rq->rq_size && best.place_seg == seg)
                break;
        }
    }
    return best;
}

/* Any segment that fits, after looking at no more than bound. */
static struct place
find_scan(struct vmem *vmp, const struct vmem_request *rq, size_t bound)
{
    for (unsigned long lists = lists_from(vmp, vmem_class(rq->rq_size)); lists != 0;
         lists &= lists - 1) {
        UMEM_LIST_FOR (link, &vmp->vm_freelist[__builtin_ctzl(lists)]) {
            if (bound-- == 0)
                return (struct place){NULL, 0};
            struct place place = place_in(rq, seg_of_link(link));
            if (place.place_seg != NULL)
                return place;
        }
    }
    return (struct place){NULL, 0};
}

static struct place
find_instant(struct vmem *vmp, const struct vmem_request *rq, size_t bound)
{
    if (vmp->vm_decay.decay_dirty != 0) {
        struct place place = find_dirty(vmp, rq);
        if (place.place_seg != NULL)
            return place;
    }
    if (!rq->rq_located) {
        /* The lowest list whose segments are all of the padded size or more. */
        unsigned class = rq->rq_padded > 1 ? vmem_class(rq->rq_padded - 1) + 1 : 0;
        unsigned long lists = lists_from(vmp, class);
        if (UMEM_LIKELY(lists != 0))
            return place_in(rq, seg_of_link(vmp->vm_freelist[__builtin_ctzl(lists)].next));
    }
    return find_scan(vmp, rq, bound);
}

/* The smallest segment; of equal ones the lowest.  Lists go up by size: the first that has one. */
static struct place
find_best(struct vmem *vmp, const struct vmem_request *rq)
{
    struct place best = {NULL, 0};

    for (unsigned long lists = lists_from(vmp, vmem_class(rq->rq_size));
         lists != 0 && best.place_seg == NULL; lists &= lists - 1) {
        UMEM_LIST_FOR (link, &vmp->vm_freelist[__builtin_ctzl(lists)]) {
            struct vmem_seg *seg = seg_of_link(link);
            if (best.place_seg != NULL) {
                size_t size = vmem_seg_size(seg), best_size = vmem_seg_size(best.place_seg);
                if (size > best_size ||
                    (size == best_size && seg->seg_start > best.place_seg->seg_start))
                    continue;
            }
            struct place place = place_in(rq, seg);
            if (place.place_seg != NULL)
                best = place;
        }
    }
    return best;
}

/* The lowest address. */
static struct place
find_first(struct vmem *vmp, const struct vmem_request *rq)
{
    struct place first = {NULL, UINTPTR_MAX};

    for (unsigned long lists = lists_from(vmp, vmem_class(rq->rq_size)); lists != 0;
         lists &= lists - 1) {
        UMEM_LIST_FOR (link, &vmp->vm_freelist[__builtin_ctzl(lists)]) {
            struct vmem_seg *seg = seg_of_link(link);
            if (seg->seg_start > first.place_addr)
                continue;
            struct place place = place_in(rq, seg);
            if (place.place_seg != NULL && place.place_addr < first.place_addr)
                first = place;
        }
    }
    return first;
}

/* The first in the order of addresses, from a tag on (or the list's head). */
static UMEM_COLD struct place
find_along(struct vmem *vmp, const struct vmem_request *rq, struct umem_list *from)
{
    if (from == &vmp->vm_order)
        from = from->next;
    for (struct umem_list *order = from; order != &vmp->vm_order; order = order->next) {
        struct vmem_seg *seg = vmem_seg_of(order);
        if (seg->seg_type != VMEM_SEG_FREE || vmem_seg_size(seg) < rq->rq_size)
            continue;
        struct place place = place_in(rq, seg);
        if (place.place_seg != NULL)
            return place;
    }
    return (struct place){NULL, 0};
}

/* From the rotor on, else from the start. */
static struct place
find_next(struct vmem *vmp, const struct vmem_request *rq)
{
    struct vmem_request beyond = *rq;

    beyond.rq_min = umem_max(rq->rq_min, vmp->vm_rotor.cursor_addr);
    struct place place = find_along(vmp, &beyond, vmp->vm_rotor.cursor_at);
    if (place.place_seg == NULL)
        place = find_along(vmp, rq, &vmp->vm_order);
    return place;
}

static uint32_t
policy_of(const struct vmem *vmp, const struct vmem_request *rq)
{
    return rq->rq_policy != 0 ? rq->rq_policy : vmp->vm_policy;
}

static struct vmem_seg *
take(struct vmem *vmp, const struct vmem_request *rq, struct place place)
{
    if (place.place_seg == NULL)
        return NULL;
    struct vmem_seg *seg = vmem_seg_carve(vmp, place.place_seg, place.place_addr, rq->rq_size);

    if (policy_of(vmp, rq) & VM_NEXTFIT) {
        vmp->vm_rotor.cursor_at = &seg->seg_order;
        vmp->vm_rotor.cursor_addr = seg->seg_end;
    }
    return seg;
}

struct vmem_seg *
vmem_fit(struct vmem *vmp, const struct vmem_request *rq, size_t bound)
{
    uint32_t policy = policy_of(vmp, rq);

    if (policy & VM_BESTFIT)
        return take(vmp, rq, find_best(vmp, rq));
    if (policy & VM_FIRSTFIT)
        return take(vmp, rq, find_first(vmp, rq));
    if (policy & VM_NEXTFIT)
        return take(vmp, rq, find_next(vmp, rq));
    return take(vmp, rq, find_instant(vmp, rq, bound));
}

struct vmem_seg *
vmem_fit_in(struct vmem *vmp, const struct vmem_request *rq, struct vmem_seg *seg)
{
    return take(vmp, rq, place_in(rq, seg));
}
