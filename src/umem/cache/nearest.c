/* SPDX-License-Identifier: MIT */
/*
 * nearest.c - see nearest.h.
 *
 * No state, no lock.  The page map has a word for each granule of a slab and of
 * a firewall's span, and for the first one of an oversize block: the nearest
 * word leads to the nearest block.  Bodies of a firewall are handed out from the
 * first one on, so the last that was used is the nearest from above; of a slab
 * the chunks' states are asked.
 */
#include "cache/nearest.h"

#include "cache/cache.h"
#include "cache/firewall.h"
#include "debug/debug.h"
#include "os/os.h"
#include "slab/pagemap.h"

/*
 * So far behind a block's memory an access is taken for one that ran off it:
 * memcpy() has up to four pages in work at once, and need not begin with the
 * first.  Into somebody else's mapping it must be the very next page.
 */
#define NEAR_UNMAPPED UMEM_GRANULE
#define NEAR_PROTECTED os_page_size()
/* An access so near the stack pointer is one to the stack. */
#define STACK_REACH ((size_t)64 * 1024)

enum side { BELOW, ABOVE };

/* --- Blocks by words of the page map --- */

/* Index of the i-th of n as seen from that side: below an address the last one comes first. */
static uint32_t
from_side(enum side side, uint32_t i, uint32_t n)
{
    return side == BELOW ? n - 1 - i : i;
}

static uint32_t
state_of(const struct umem_bufctl *bc)
{
    return __atomic_load_n(&bc->bc_state, __ATOMIC_ACQUIRE);
}

/* What can be told of a chunk: its state, where one is kept. */
static uint32_t
chunk_state(const struct umem_buffer *buf, const struct slab *slab)
{
    if (buf->buf_bufctl != NULL)
        return state_of(buf->buf_bufctl);
    return slab_check(slab, buf->buf_addr) == SLAB_OK ? UMEM_BUFFER_ALLOCATED : UMEM_BUFFER_RAW;
}

/* The nearest live chunk of a slab, or else the nearest freed one. */
static bool
find_chunk(struct slab *slab, enum side side, struct umem_nearest *found)
{
    struct umem_cache *cp = umem_cache_of_slab(slab);
    bool any = false;

    for (uint32_t i = 0; i < slab->slab_chunks; i++) {
        struct umem_buffer buf;
        umem_cache_describe_chunk(cp, slab, from_side(side, i, slab->slab_chunks), &buf);
        uint32_t state = chunk_state(&buf, slab);
        if (state == UMEM_BUFFER_RAW || (any && state != UMEM_BUFFER_ALLOCATED))
            continue;
        buf.buf_space =
            buf.buf_bufctl != NULL ? (size_t)buf.buf_bufctl->bc_size : cp->cache_bufsize;
        found->near_buffer = buf;
        any = true;
        if (state == UMEM_BUFFER_ALLOCATED)
            break;
    }
    found->near_start = (uintptr_t)slab->slab_span;
    found->near_end = found->near_start + slab->slab_pool->pool_slab_size;
    return any;
}

static bool
find_guarded(struct umem_firewall *span, enum side side, struct umem_nearest *found)
{
    uint32_t used = span->fw_used;

    for (uint32_t i = 0; i < used; i++) {
        struct umem_firewall_block *block = &span->fw_block[from_side(side, i, used)];
        if (state_of(&block->fwb_bufctl) == UMEM_BUFFER_RAW)
            continue;
        found->near_buffer = (struct umem_buffer){
            .buf_cache = block->fwb_cache,
            .buf_bufctl = &block->fwb_bufctl,
            .buf_addr = block->fwb_base,
            .buf_space = (size_t)block->fwb_bufctl.bc_size,
            .buf_flags = UMF_AUDIT,
        };
        found->near_guarded = true;
        return true;
    }
    return false;
}

static bool
find_large(struct umem_large *large, uintptr_t granule, struct umem_nearest *found)
{
    if ((uintptr_t)large->large_base - granule >= UMEM_GRANULE)
        return false; /* the record is another block's by now */
    found->near_buffer = (struct umem_buffer){
        .buf_bufctl = large->large_flags != 0 ? &large->large_bufctl : NULL,
        .buf_addr = large->large_base,
        .buf_space = large->large_size,
        .buf_flags = large->large_flags,
    };
    found->near_start = (uintptr_t)large->large_base - large->large_lead;
    found->near_end = (uintptr_t)large->large_base + large->large_span_size;
    return true;
}

static bool
find(uint64_t word, uintptr_t granule, enum side side, struct umem_nearest *found)
{
    *found = (struct umem_nearest){.near_guarded = false};
    switch (pagemap_kind(word)) {
    case UMEM_PAGEMAP_SLAB:
        return find_chunk(pagemap_pointer(word), side, found);
    case UMEM_PAGEMAP_FIREWALL:
        return find_guarded(pagemap_pointer(word), side, found);
    case UMEM_PAGEMAP_LARGE:
        return find_large(pagemap_pointer(word), granule, found);
    default:
        return false;
    }
}

UMEM_COLD bool
umem_nearest_below(uintptr_t addr, struct umem_nearest *found)
{
    uintptr_t granule = addr;
    uint64_t word = pagemap_get((void *)addr);

    /* In a span of firewalls behind its last block. */
    if (pagemap_kind(word) == UMEM_PAGEMAP_FIREWALL && find(word, addr, BELOW, found) &&
        (uintptr_t)found->near_buffer.buf_addr < addr)
        return true;
    while ((word = pagemap_below((void *)granule, &granule)) != 0)
        if (find(word, granule, BELOW, found))
            return true;
    return false;
}

UMEM_COLD bool
umem_nearest_above(uintptr_t addr, struct umem_nearest *found)
{
    uintptr_t granule = addr;
    uint64_t word;

    while ((word = pagemap_above((void *)granule, &granule)) != 0)
        if (find(word, granule, ABOVE, found) && (uintptr_t)found->near_buffer.buf_addr > addr)
            return true;
    return false;
}

/* --- Faults --- */

static bool
is_of_stack(const struct os_fault *fault)
{
    return fault->fault_addr - fault->fault_sp + STACK_REACH < 2 * STACK_REACH;
}

/* Whether no record of a block at the address itself explains it. */
static bool
is_outside(uintptr_t addr)
{
    uint64_t word = pagemap_get((void *)addr);
    struct umem_firewall_slot slot;

    if (pagemap_kind(word) != UMEM_PAGEMAP_FIREWALL)
        return word == 0;
    return !umem_firewall_find((void *)addr, word, &slot) ||
           state_of(&slot.slot_block->fwb_bufctl) == UMEM_BUFFER_RAW;
}

static void
report(enum umem_error kind, const struct umem_nearest *of, const struct os_fault *fault)
{
    umem_report(&(struct umem_error_info){
        .err_kind = kind,
        .err_addr = (const void *)fault->fault_addr,
        .err_buffer = &of->near_buffer,
        .err_offset = fault->fault_addr - (uintptr_t)of->near_buffer.buf_addr,
        .err_fault = fault,
    });
}

UMEM_COLD void
umem_nearest_explain(const struct os_fault *fault)
{
    struct umem_nearest below = {.near_guarded = false}, above = below;
    uintptr_t addr = fault->fault_addr;
    bool unmapped = fault->fault_cause == OS_FAULT_UNMAPPED;
    size_t behind = SIZE_MAX, before = SIZE_MAX; /* from the one's memory to the other's */

    if (fault->fault_cause == OS_FAULT_OTHER || !is_outside(addr) ||
        !pagemap_has_leaf((const void *)addr) || (!unmapped && is_of_stack(fault)))
        return;
    bool is_below = umem_nearest_below(addr, &below);
    bool is_above = umem_nearest_above(addr, &above);
    if (is_below && !below.near_guarded)
        behind = addr - below.near_end;
    if (is_above && !above.near_guarded)
        before = above.near_start - addr;
    if (umem_min(behind, before) < (unmapped ? NEAR_UNMAPPED : NEAR_PROTECTED)) {
        if (behind <= before)
            report(UMERR_PAST_END, &below, fault);
        else
            report(UMERR_BEFORE_START, &above, fault);
        return;
    }
    if (unmapped && !is_of_stack(fault))
        umem_report(&(struct umem_error_info){
            .err_kind = UMERR_STRAY,
            .err_addr = (const void *)addr,
            .err_buffer = is_below ? &below.near_buffer : NULL,
            .err_above = is_above ? &above.near_buffer : NULL,
            .err_fault = fault,
        });
}
