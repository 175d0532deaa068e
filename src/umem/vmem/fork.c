/* SPDX-License-Identifier: MIT */
/*
 * fork.c - the layer round a fork.
 *
 * Before it, every lock of the layer is taken in the order of ranks (arenas in
 * that of their list), so that the child finds all arenas at rest.  A span
 * that another thread was importing just then belongs to nobody in the child:
 * it stays mapped there, unused.
 */
#include "vmem/private.h"

static struct vmem *
arena_of(struct umem_list *link)
{
    return UMEM_CONTAINER_OF(link, struct vmem, vm_link);
}

UMEM_USUAL void
vmem_fork_prepare(void)
{
    vmem_init();
    umem_lock_acquire_fork(&vmem_arenas_lock);
    UMEM_LIST_FOR (link, &vmem_arenas) {
        umem_lock_acquire_fork(&arena_of(link)->vm_lock);
    }
    vmem_tags_fork_prepare();
}

UMEM_USUAL void
vmem_fork_parent(void)
{
    vmem_tags_fork_parent();
    UMEM_LIST_FOR (link, &vmem_arenas) {
        umem_lock_release(&arena_of(link)->vm_lock);
    }
    umem_lock_release(&vmem_arenas_lock);
}

void
vmem_fork_child(void)
{
    vmem_tags_fork_child();
    UMEM_LIST_FOR (link, &vmem_arenas) {
        struct vmem *vmp = arena_of(link);
        /* Whoever was getting a table for the hash, or walked, is not here. */
        vmp->vm_hash_busy = false;
        vmem_cursors_fork_child(vmp);
        vmem_decay_fork_child(vmp);
        umem_lock_reset_child(&vmp->vm_lock);
    }
    umem_lock_reset_child(&vmem_arenas_lock);
}
