/* SPDX-License-Identifier: MIT */
/*
 * contents.c - see contents.h.
 *
 * A ring of slots of one size in memory of its own, made at first use.  A
 * ticket (one atomic add) picks the slot; its state word, 1 while somebody
 * reads or writes it, keeps out whoever else comes: a writer that finds its
 * slot taken drops the record (the ring went all the way round meanwhile), a
 * reader skips it.  So nobody waits, and a report never meets a lock.
 */
#include "debug/contents.h"

#include <errno.h>
#include <string.h>

#include "debug/debug.h"
#include "os/meta.h"
#include "os/os.h"

#define SLOT_ALIGN 16

struct umem_contents umem_contents;
static _Atomic uint64_t contents_ticket;
static _Atomic uint32_t contents_starting;

static size_t
slot_size(void)
{
    return umem_align_up(sizeof(struct umem_contents_slot) + umem_options.opt_contents_bytes,
                         SLOT_ALIGN);
}

/* NULL: no memory, or another thread is at it; this record is then dropped. */
static UMEM_COLD char *
start(void)
{
    if (atomic_exchange_explicit(&contents_starting, 1, memory_order_acquire) != 0)
        return atomic_load_explicit(&umem_contents.con_log, memory_order_acquire);
    int saved = errno;
    size_t size =
        umem_align_up(umem_max(umem_options.opt_contents_log, slot_size()), os_page_size());
    /*
     * From the metadata pool, which gives it a mapping of its own: an analyser
     * knows what is there for the engine's, and takes no stale pointer in it
     * for the program's.
     */
    char *log = umem_meta_alloc(size);
    if (log == NULL) {
        umem_message(true, "no memory for a contents log of %zu bytes, none is kept", size);
    } else {
        umem_contents.con_slot_size = slot_size();
        umem_contents.con_slots = size / umem_contents.con_slot_size;
        atomic_store_explicit(&umem_contents.con_log, log, memory_order_release);
    }
    errno = saved;
    return log;
}

static struct umem_contents_slot *
slot_at(char *log, uint64_t index)
{
    return (struct umem_contents_slot *)(void *)(log + (size_t)index * umem_contents.con_slot_size);
}

static bool
slot_claim(struct umem_contents_slot *slot)
{
    return atomic_exchange_explicit(&slot->slot_busy, 1, memory_order_acquire) == 0;
}

static void
slot_release(struct umem_contents_slot *slot)
{
    atomic_store_explicit(&slot->slot_busy, 0, memory_order_release);
}

void
umem_contents_log(const void *addr, size_t size)
{
    char *log = atomic_load_explicit(&umem_contents.con_log, memory_order_acquire);

    if (UMEM_UNLIKELY(log == NULL) && (log = start()) == NULL)
        return;
    uint64_t ticket = atomic_fetch_add_explicit(&contents_ticket, 1, memory_order_relaxed) + 1;
    struct umem_contents_slot *slot = slot_at(log, ticket % umem_contents.con_slots);
    if (!slot_claim(slot))
        return;
    slot->slot_ticket = ticket;
    slot->slot_addr = addr;
    slot->slot_size =
        (uint32_t)umem_min(size, umem_contents.con_slot_size - sizeof(struct umem_contents_slot));
    memcpy(slot->slot_bytes, addr, slot->slot_size);
    slot_release(slot);
}

size_t
umem_contents_find(const void *addr, size_t offset, void *to, size_t size)
{
    char *log = atomic_load_explicit(&umem_contents.con_log, memory_order_acquire);
    uint64_t newest = 0;
    size_t found = 0;

    if (log == NULL)
        return 0;
    for (size_t i = 0; i < umem_contents.con_slots; i++) {
        struct umem_contents_slot *slot = slot_at(log, i);
        if (!slot_claim(slot))
            continue;
        if (slot->slot_addr == addr && slot->slot_ticket > newest) {
            newest = slot->slot_ticket;
            found = umem_min(size, slot->slot_size - umem_min(slot->slot_size, offset));
            memcpy(to, slot->slot_bytes + offset, found);
        }
        slot_release(slot);
    }
    return found;
}

void
umem_contents_fork_child(void)
{
    char *log = atomic_load_explicit(&umem_contents.con_log, memory_order_relaxed);

    atomic_store_explicit(&contents_starting, log != NULL, memory_order_relaxed);
    for (size_t i = 0; log != NULL && i < umem_contents.con_slots; i++) {
        struct umem_contents_slot *slot = slot_at(log, i);
        /* What a writer left half done is no record; a clean page stays shared. */
        if (atomic_load_explicit(&slot->slot_busy, memory_order_relaxed) != 0) {
            slot->slot_addr = NULL;
            slot_release(slot);
        }
    }
}
