/* SPDX-License-Identifier: MIT */
/*
 * walk.c - vmem_walk(), and the cursors that survive what happens meanwhile.
 *
 * A cursor holds an address and a tag that starts at or before it.  Merging
 * keeps the left tag, and whatever takes a tag away moves the cursors at it to
 * one before (vmem_cursors_move()), so the next segment is always found by
 * going forward.  An arena has one cursor, the rotor, and one more for each
 * walk that is under way.
 */
#include "vmem/private.h"

/* A walk's cursor, on the stack of the thread that walks. */
struct walk {
    struct vmem_cursor walk_cursor;
    const void *walk_thread; /* address of that thread's thread_mark */
    int walk_types;
};

static UMEM_TLS char thread_mark;

static struct vmem_cursor *
cursor_of(struct umem_list *link)
{
    return UMEM_CONTAINER_OF(link, struct vmem_cursor, cursor_link);
}

UMEM_USUAL void
vmem_cursors_move(struct vmem *vmp, const struct umem_list *from, struct umem_list *to)
{
    UMEM_LIST_FOR (link, &vmp->vm_cursors) {
        if (cursor_of(link)->cursor_at == from)
            cursor_of(link)->cursor_at = to;
    }
}

void
vmem_cursors_fork_child(struct vmem *vmp)
{
    struct umem_list *next;

    for (struct umem_list *link = vmp->vm_cursors.next; link != &vmp->vm_cursors; link = next) {
        struct vmem_cursor *cursor = cursor_of(link);
        next = link->next;
        if (cursor != &vmp->vm_rotor &&
            UMEM_CONTAINER_OF(cursor, struct walk, walk_cursor)->walk_thread != &thread_mark)
            umem_list_remove(link);
    }
}

/* Moves on to the next segment of the kinds wanted; false at the end.  Locked. */
static bool
step(struct vmem *vmp, struct walk *walk, uintptr_t *startp, size_t *sizep)
{
    struct vmem_cursor *cursor = &walk->walk_cursor;
    struct umem_list *order = cursor->cursor_at;

    if (order == &vmp->vm_order)
        order = order->next;
    for (; order != &vmp->vm_order; order = order->next) {
        struct vmem_seg *seg = vmem_seg_of(order);
        if (seg->seg_type == VMEM_SEG_SPAN || (seg->seg_type & walk->walk_types) == 0 ||
            seg->seg_end <= cursor->cursor_addr)
            continue;
        /* Part of it was reported already if it has been merged since. */
        *startp = umem_max(seg->seg_start, cursor->cursor_addr);
        *sizep = seg->seg_end - *startp;
        cursor->cursor_at = order;
        cursor->cursor_addr = seg->seg_end;
        return true;
    }
    return false;
}

UMEM_EXPORT void
vmem_walk(vmem_t *vmp, int typemask, void (*func)(void *arg, void *start, size_t size), void *arg)
{
    bool reentrant = ((unsigned)typemask & VMEM_REENTRANT) != 0;
    struct walk walk = {.walk_thread = &thread_mark, .walk_types = typemask};
    uintptr_t start;
    size_t size;

    _Static_assert(VMEM_ALLOC == VMEM_SEG_ALLOC && VMEM_FREE == VMEM_SEG_FREE,
                   "a kind of segment is its bit in the mask");
    umem_lock_acquire(&vmp->vm_lock);
    walk.walk_cursor.cursor_at = &vmp->vm_order;
    umem_list_push_back(&vmp->vm_cursors, &walk.walk_cursor.cursor_link);
    while (step(vmp, &walk, &start, &size)) {
        if (reentrant)
            umem_lock_release(&vmp->vm_lock);
        func(arg, (void *)start, size);
        if (reentrant)
            umem_lock_acquire(&vmp->vm_lock);
    }
    umem_list_remove(&walk.walk_cursor.cursor_link);
    umem_lock_release(&vmp->vm_lock);
}
