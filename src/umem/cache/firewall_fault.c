/* SPDX-License-Identifier: MIT */
/*
 * firewall_fault.c - which block an access to a guard or to a closed body
 * belongs to.
 *
 * Runs in a signal handler: reads records without a lock, follows no list.
 * Others may be changing what it reads; a body is accessible before its block
 * counts as allocated, and counts as free before it is closed.
 */
#include "cache/firewall.h"

#include "cache/cache.h"
#include "debug/debug.h"
#include "os/os.h"

static uint32_t
state_of(const struct umem_firewall_slot *slot)
{
    return __atomic_load_n(&slot->slot_block->fwb_bufctl.bc_state, __ATOMIC_ACQUIRE);
}

static void
say(const struct umem_firewall_slot *slot, enum umem_error kind, const struct os_fault *fault)
{
    struct umem_firewall_block *block = slot->slot_block;
    uintptr_t base = (uintptr_t)block->fwb_base;
    struct umem_buffer found = {
        .buf_cache = block->fwb_cache,
        .buf_bufctl = &block->fwb_bufctl,
        .buf_addr = block->fwb_base,
        .buf_space = (size_t)block->fwb_bufctl.bc_size,
        .buf_flags = UMF_AUDIT,
    };

    umem_report(&(struct umem_error_info){
        .err_kind = fault->fault_addr < base ? UMERR_BEFORE_START : kind,
        .err_addr = (const void *)fault->fault_addr,
        .err_buffer = &found,
        .err_cache = block->fwb_cache,
        .err_offset = fault->fault_addr - base,
        .err_fault = fault,
    });
}

/*
 * The neighbours of a guard page that have been used: the one before it, of
 * which this is past the end, and the one behind.  -1 where there is none.
 */
struct neighbours {
    long before, behind;
};

static struct neighbours
neighbours_of(const struct umem_firewall *span, uintptr_t addr)
{
    size_t stride = span->fw_body + os_page_size();
    long used = (long)span->fw_used;
    long before = -1;

    if (addr >= (uintptr_t)span->fw_first)
        before = (long)((addr - (uintptr_t)span->fw_first) / stride);
    return (struct neighbours){
        .before = before < used ? before : -1,
        .behind = before + 1 < used ? before + 1 : -1,
    };
}

/* Of two, the live one; of two live ones, that whose side is guarded. */
static long
more_likely(struct umem_firewall *span, struct neighbours at)
{
    long first = umem_options.opt_firewall_below ? at.behind : at.before;
    long second = first == at.before ? at.behind : at.before;

    if (first < 0 || second < 0)
        return first < 0 ? second : first;
    struct umem_firewall_slot a = umem_firewall_slot_at(span, (uint32_t)first);
    struct umem_firewall_slot b = umem_firewall_slot_at(span, (uint32_t)second);
    return state_of(&a) != UMEM_BUFFER_ALLOCATED && state_of(&b) == UMEM_BUFFER_ALLOCATED ? second
                                                                                          : first;
}

bool
umem_firewall_explain(const struct os_fault *fault)
{
    const void *p = (const void *)fault->fault_addr;
    uint64_t word = pagemap_get(p);
    struct umem_firewall_slot slot;

    if (pagemap_kind(word) != UMEM_PAGEMAP_FIREWALL)
        return false;
    if (umem_firewall_find(p, word, &slot)) {
        if (state_of(&slot) != UMEM_BUFFER_FREE)
            return false;
        say(&slot, UMERR_AFTER_FREE, fault);
        return true;
    }
    struct umem_firewall *span = pagemap_pointer(word);
    long index = more_likely(span, neighbours_of(span, fault->fault_addr));
    if (index < 0)
        return false;
    slot = umem_firewall_slot_at(span, (uint32_t)index);
    if (state_of(&slot) == UMEM_BUFFER_RAW)
        return false;
    say(&slot, UMERR_PAST_END, fault);
    return true;
}
