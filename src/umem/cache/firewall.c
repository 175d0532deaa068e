/* SPDX-License-Identifier: MIT */
/*
 * firewall.c - blocks behind a firewall: allocated, checked, freed.  See
 * firewall.h.
 *
 * The order of a free: everything is checked while the block still counts as
 * allocated, which is what a report is to say; then the state changes, so that
 * of two frees one is told; then the destructor, which needs the memory; then
 * the body is closed.
 */
#include "cache/firewall.h"

#include <errno.h>

#include "cache/cache.h"
#include "debug/contents.h"
#include "debug/debug.h"
#include "os/os.h"

#define ALIGN_SMALL 8       /* of umem_alloc() of less than 16 bytes */
#define ALIGN_MIN 16        /* of malloc() and all else: the ABI's */
#define ALIGN_CACHE_LINE 64 /* of multiples of that: what umem_alloc() promises */
/*
 * Bytes of its body before a block that are checked, too: what an underrun hits
 * mostly.  They are the zeroes that a body begins as, so that nothing is touched
 * for them.
 */
#define HEAD_MAX 64

size_t
umem_natural_align(const struct umem_cache *cp, size_t size)
{
    if (cp != NULL && !umem_is_class_cache(cp))
        return cp->cache_slabs.pool_align;
    /* Of the 8-byte class, which malloc() does not use. */
    if (cp != NULL && cp->cache_bufsize < ALIGN_MIN)
        return ALIGN_SMALL;
    if (size != 0 && size % os_page_size() == 0)
        return os_page_size();
    return size != 0 && size % ALIGN_CACHE_LINE == 0 ? ALIGN_CACHE_LINE : ALIGN_MIN;
}

/* As far right in its body as the alignment lets it; beyond a page that is the body's start. */
static char *
place(const struct umem_firewall_slot *slot, size_t size, size_t align)
{
    size_t space = umem_align_up(umem_max(size, 1), align);

    if (umem_options.opt_firewall_below || align > os_page_size())
        return slot->slot_body;
    return slot->slot_body + slot->slot_size - space;
}

static char *
body_end(const struct umem_firewall_slot *slot)
{
    return slot->slot_body + slot->slot_size;
}

static struct umem_buffer
describe(const struct umem_firewall_slot *slot)
{
    struct umem_firewall_block *block = slot->slot_block;

    return (struct umem_buffer){
        .buf_cache = block->fwb_cache,
        .buf_bufctl = &block->fwb_bufctl,
        .buf_addr = block->fwb_base,
        .buf_space = (size_t)(body_end(slot) - block->fwb_base),
        .buf_flags = UMF_AUDIT,
    };
}

/* Bytes before a block that are checked: 16 and more, which a report shows, or none. */
static size_t
head_of(const struct umem_firewall_slot *slot)
{
    size_t before = (size_t)(slot->slot_block->fwb_base - slot->slot_body);

    return umem_align_down(umem_min(before, HEAD_MAX), ALIGN_MIN);
}

static void
write_slack(char *from, const char *to)
{
    for (char *p = from; p < to; p++)
        *(unsigned char *)p = (unsigned char)UMEM_SLACK_BYTE(p);
}

static bool
change_state(struct umem_bufctl *bc, uint8_t from, uint8_t to)
{
    return __atomic_compare_exchange_n(&bc->bc_state, &from, to, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

/* Fills a body that was opened: the block's bytes, as debugging asks, and what lies round them. */
static void
fill(const struct umem_firewall_slot *slot, size_t size, bool zeroed)
{
    char *base = slot->slot_block->fwb_base;

    /* Memory that is locked keeps what it held. */
    if (UMEM_UNLIKELY(atomic_load_explicit(&slot->slot_span->fw_heavy, memory_order_relaxed)))
        os_zero(base - head_of(slot), head_of(slot) + (zeroed ? size : 0));
    if (!zeroed && (umem_options.opt_flags & UMF_DEADBEEF) != 0 && size <= UMEM_FILL_MAX)
        umem_debug_fill_fresh(base, size);
    write_slack(base + size, body_end(slot));
}

bool
umem_firewall_alloc(const struct umem_request *req, void **obj)
{
    struct umem_cache *cp = req->req_cache;
    size_t size = req->req_size, align = req->req_align;
    struct umem_firewall_slot slot;
    int saved = errno;

    if (align == 0)
        align = umem_natural_align(cp, size);
    if (!umem_firewall_take(size, align, &slot)) {
        errno = saved;
        return false;
    }
    struct umem_firewall_block *block = slot.slot_block;
    block->fwb_base = place(&slot, size, align);
    block->fwb_cache = cp;
    __atomic_store_n(&block->fwb_bufctl.bc_turns, 0, __ATOMIC_RELAXED);
    fill(&slot, size, req->req_zeroed);
    umem_audit_logged(&block->fwb_bufctl, req->req_frame, block->fwb_base, cp, UMEM_EVENT_ALLOC);
    __atomic_store_n(&block->fwb_bufctl.bc_state, UMEM_BUFFER_ALLOCATED, __ATOMIC_RELEASE);
    *obj = block->fwb_base;
    if (cp != NULL && cp->cache_ctor != NULL) {
        errno = 0;
        if (cp->cache_ctor(*obj, cp->cache_private, req->req_flags) != 0) {
            int error = errno != 0 ? errno : ENOMEM;
            *obj = NULL;
            if (change_state(&block->fwb_bufctl, UMEM_BUFFER_ALLOCATED, UMEM_BUFFER_FREE))
                umem_firewall_put(&slot);
            errno = error;
            return true;
        }
    }
    errno = saved;
    return true;
}

/* --- Free --- */

static void
report(enum umem_error kind, void *buf, const struct umem_firewall_slot *slot,
       struct umem_error_info more)
{
    struct umem_buffer found = describe(slot);

    more.err_kind = kind;
    more.err_addr = buf;
    more.err_buffer = &found;
    umem_report(&more);
}

/* The byte closest to a block, behind it or else before, that is not as it was left; or NULL. */
static const char *
damage(const struct umem_firewall_slot *slot)
{
    const char *base = slot->slot_block->fwb_base, *end = body_end(slot);

    for (const char *p = base + slot->slot_block->fwb_bufctl.bc_size; p < end; p++)
        if (*(const unsigned char *)p != UMEM_SLACK_BYTE(p))
            return p;
    for (const char *p = base; p > base - head_of(slot); p--)
        if (p[-1] != 0)
            return p - 1;
    return NULL;
}

/* Reports it, and notes that it was: the block stays as it is. */
static UMEM_COLD void
report_damage(const struct umem_firewall_slot *slot, struct umem_cache *cp, const char *bad)
{
    struct umem_firewall_block *block = slot->slot_block;
    bool before = bad < block->fwb_base;

    __atomic_fetch_or(&block->fwb_bufctl.bc_turns, UMEM_BC_REPORTED, __ATOMIC_RELAXED);
    report(before ? UMERR_UNDERRUN : UMERR_REDZONE, block->fwb_base, slot,
           (struct umem_error_info){.err_cache = cp,
                                    .err_offset = (size_t)(bad - block->fwb_base),
                                    .err_expected = before ? 0 : UMEM_SLACK_BYTE(bad),
                                    .err_found = *(const unsigned char *)bad});
}

/* Whether free() may have a block of this cache: not one of umem_cache_alloc()'s. */
static bool
is_sized(const struct umem_cache *cp)
{
    return cp == NULL || umem_is_class_cache(cp);
}

/* Whether what is freed is a live block, rightly freed; else that is reported. */
static bool
check(struct umem_cache *cp, void *buf, const struct umem_firewall_slot *slot, size_t stated)
{
    struct umem_firewall_block *block = slot->slot_block;
    const struct umem_bufctl *bc = &block->fwb_bufctl;
    uint32_t state = __atomic_load_n(&bc->bc_state, __ATOMIC_ACQUIRE);
    struct umem_error_info more = {.err_cache = cp};
    const char *bad;

    if (state == UMEM_BUFFER_RAW)
        umem_report(
            &(struct umem_error_info){.err_kind = UMERR_BADADDR, .err_addr = buf, .err_cache = cp});
    else if (block->fwb_base != buf)
        report(UMERR_BADBASE, buf, slot, more);
    else if (state != UMEM_BUFFER_ALLOCATED)
        report(UMERR_DUPFREE, buf, slot, more);
    else if (cp == NULL ? !is_sized(block->fwb_cache) : block->fwb_cache != cp)
        report(UMERR_BADCACHE, buf, slot, more);
    else if (stated != SIZE_MAX && stated != bc->bc_size)
        report(UMERR_BADSIZE, buf, slot,
               (struct umem_error_info){.err_size = stated, .err_alloc_size = (size_t)bc->bc_size});
    else if ((bad = damage(slot)) != NULL)
        report_damage(slot, cp, bad);
    else
        return true;
    return false;
}

void
umem_firewall_free(struct umem_cache *cp, void *buf, uint64_t word, size_t stated)
{
    struct umem_firewall_slot slot;
    int saved = errno;

    umem_debug_signal(umem_options.opt_flags);
    if (!umem_firewall_find(buf, word, &slot)) {
        umem_report(
            &(struct umem_error_info){.err_kind = UMERR_BADADDR, .err_addr = buf, .err_cache = cp});
        return;
    }
    if (!check(cp, buf, &slot, stated))
        return;
    struct umem_bufctl *bc = &slot.slot_block->fwb_bufctl;
    if (!change_state(bc, UMEM_BUFFER_ALLOCATED, UMEM_BUFFER_FREE)) {
        report(UMERR_DUPFREE, buf, &slot, (struct umem_error_info){.err_cache = cp});
        return;
    }
    umem_audit_logged(bc, __builtin_frame_address(0), buf, cp, UMEM_EVENT_FREE);
    if (cp != NULL && cp->cache_dtor != NULL)
        cp->cache_dtor(buf, cp->cache_private);
    if ((umem_options.opt_flags & UMF_CONTENTS) != 0)
        umem_contents_log(buf, umem_min((size_t)bc->bc_size, umem_options.opt_contents_bytes));
    if (bc->bc_turns & UMEM_BC_SAMPLED) {
        __atomic_fetch_and(&bc->bc_turns, (uint8_t)~UMEM_BC_SAMPLED, __ATOMIC_RELAXED);
        umem_sample_free(buf);
    }
    umem_firewall_put(&slot);
    errno = saved;
}

bool
umem_firewall_size(const void *buf, uint64_t word, size_t *size)
{
    struct umem_firewall_slot slot;

    if (!umem_firewall_find(buf, word, &slot) || slot.slot_block->fwb_base != buf ||
        __atomic_load_n(&slot.slot_block->fwb_bufctl.bc_state, __ATOMIC_ACQUIRE) !=
            UMEM_BUFFER_ALLOCATED)
        return false;
    *size = (size_t)slot.slot_block->fwb_bufctl.bc_size;
    return true;
}

size_t
umem_firewall_check(void)
{
    size_t corrupt = 0;

    umem_lock_acquire(&umem_firewall_lock);
    UMEM_LIST_FOR (node, &umem_firewalls) {
        struct umem_firewall *span = UMEM_CONTAINER_OF(node, struct umem_firewall, fw_link);
        for (uint32_t i = 0; i < span->fw_used; i++) {
            struct umem_firewall_slot slot = umem_firewall_slot_at(span, i);
            struct umem_firewall_block *block = slot.slot_block;
            struct umem_bufctl *bc = &block->fwb_bufctl;
            const char *bad;
            if (__atomic_load_n(&bc->bc_state, __ATOMIC_ACQUIRE) != UMEM_BUFFER_ALLOCATED ||
                (__atomic_load_n(&bc->bc_turns, __ATOMIC_RELAXED) & UMEM_BC_REPORTED) != 0 ||
                (bad = damage(&slot)) == NULL)
                continue;
            report_damage(&slot, block->fwb_cache, bad);
            corrupt++;
        }
    }
    umem_lock_release(&umem_firewall_lock);
    return corrupt;
}

size_t
umem_firewall_forget(struct umem_cache *cp, size_t max)
{
    size_t live = 0;

    umem_lock_acquire(&umem_firewall_lock);
    UMEM_LIST_FOR (node, &umem_firewalls) {
        struct umem_firewall *span = UMEM_CONTAINER_OF(node, struct umem_firewall, fw_link);
        for (uint32_t i = 0; i < span->fw_used; i++) {
            struct umem_firewall_slot slot = umem_firewall_slot_at(span, i);
            struct umem_firewall_block *block = slot.slot_block;
            if (block->fwb_cache != cp)
                continue;
            if (block->fwb_bufctl.bc_state != UMEM_BUFFER_ALLOCATED)
                block->fwb_cache = NULL;
            else if (live++ < max)
                report(UMERR_NOTEMPTY, block->fwb_base, &slot,
                       (struct umem_error_info){.err_cache = cp});
        }
    }
    umem_lock_release(&umem_firewall_lock);
    return live;
}
