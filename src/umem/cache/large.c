/* SPDX-License-Identifier: MIT */
/*
 * large.c - oversize blocks, and blocks aligned beyond a page: each a span of
 * the heap with a record outside it.
 *
 * The page map word of a block's first granule points at the record; that is
 * what validates a free.  Lock: umem_larges_lock (UMEM_RANK_LARGE) for the
 * list, and for taking a record out of the page map, so that of two frees one
 * wins and the other is reported.
 */
#include <errno.h>
#include <string.h>

#include "cache/audit.h"
#include "cache/cache.h"
#include "cache/firewall.h"
#include "cache/large_freed.h"
#include "cache/quarantine.h"
#include "debug/debug.h"
#include "os/meta.h"
#include "os/os.h"
#include "os/watch.h"

/* What is kept of the flags: a freed block's pages may go back, so no free fill can be checked. */
#define LARGE_FLAGS (UMF_AUDIT | UMF_REDZONE)
#define LARGE_ALIGN 16 /* of the space before the tag */
/*
 * From this size on moving page tables beats copying: 6 to 12 us with the
 * reservation for up to 4 MiB, where copying 256 KiB takes 7 us and faulting
 * the new pages in 80.
 */
#define MOVE_MIN ((size_t)256 * 1024)
/* Room that a block is given when it moves: untouched, it costs address space only. */
#define GROWTH_FRACTION 8

struct umem_list umem_larges = UMEM_LIST_INIT(umem_larges);
struct umem_lock umem_larges_lock = UMEM_LOCK_INIT(UMEM_RANK_LARGE);

/* UMF_* of the options, and of audit at run time, for a block that is about to be made. */
static uint32_t
flags_for(size_t size)
{
    return umem_options.opt_flags | umem_audit_large_flags(size);
}

static struct umem_buffer
describe(struct umem_large *large)
{
    return (struct umem_buffer){
        .buf_bufctl = large->large_flags != 0 ? &large->large_bufctl : NULL, /* else not kept */
        .buf_addr = large->large_base,
        .buf_space = umem_align_up(large->large_size, LARGE_ALIGN),
        .buf_flags = large->large_flags,
    };
}

/* Bytes of heap for size bytes (0 counts as 1) and their tag; 0: overflow. */
static size_t
span_size_of(size_t size, uint32_t flags)
{
    size_t tag = flags & UMF_REDZONE ? sizeof(struct umem_buftag) : 0;

    if (size > (size_t)PTRDIFF_MAX - UMEM_GRANULE)
        return 0;
    return umem_align_up(umem_align_up(umem_max(size, 1), LARGE_ALIGN) + tag, UMEM_GRANULE);
}

/*
 * Bytes of the span before the block, where a head tag lies: as few as keep
 * the alignment, of which one page is touched.
 */
static size_t
lead_of(size_t align, uint32_t flags)
{
    if ((flags & UMF_REDZONE) == 0)
        return 0;
    return umem_min(umem_max(align, os_page_size()), UMEM_GRANULE);
}

static void
link_large(struct umem_large *large)
{
    umem_lock_acquire(&umem_larges_lock);
    umem_list_push_back(&umem_larges, &large->large_link);
    umem_lock_release(&umem_larges_lock);
}

/* One try.  NULL with errno.  dirt: what of it may hold data. */
static struct umem_large *
create(size_t size, size_t align, uint32_t flags, struct vmem_dirt *dirt)
{
    size_t lead = lead_of(align, flags);
    size_t span_size = size <= PTRDIFF_MAX ? span_size_of(size + lead, flags) : 0;
    if (span_size == 0 || align > (size_t)PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    struct umem_large *large = umem_meta_alloc(sizeof(*large));
    if (large == NULL)
        return NULL;
    bool wide = align > UMEM_GRANULE;
    char *span =
        vmem_heap_alloc(span_size, wide ? align : 0, wide && lead > 0 ? align - lead : 0, dirt);
    if (span != NULL) {
        large->large_base = span + lead;
        large->large_size = size;
        large->large_span_size = span_size - lead;
        large->large_lead = lead;
        large->large_flags = flags & LARGE_FLAGS;
        umem_list_init(&large->large_link);
        if (pagemap_set(large->large_base, 1, pagemap_word(large, UMEM_PAGEMAP_LARGE, 0)))
            return large;
        int error = errno;
        vmem_xfree(&vmem_heap, span, span_size);
        errno = error;
    }
    int error = errno;
    umem_meta_free(large, sizeof(*large));
    errno = error;
    return NULL;
}

/* Zeroes what of a block's bytes may not be. */
static void
zero(char *base, size_t size, struct vmem_dirt dirt)
{
    uintptr_t start = umem_max((uintptr_t)base, dirt.dirt_start);
    uintptr_t end = umem_min((uintptr_t)base + size, dirt.dirt_end);

    if (start < end)
        os_zero((char *)start, end - start);
}

/* zeroed: instead of the fill of uninitialised memory. */
static void *
allocate(size_t size, size_t align, int flags, bool zeroed)
{
    struct vmem_dirt dirt = {0, 0};
    int saved = errno; /* callers ask errno after successes too */
    bool reaped = false;
    struct umem_large *large = NULL;
    void *guarded;

    if (os_watched())
        os_watch_note(OS_WATCH_ALLOC, size);
    (void)umem_ready();
    umem_verify_if_asked(NULL);
    uint32_t debug = flags_for(size);
    umem_debug_signal(debug);
    if (!(flags & UMEM_NOFAIL) && umem_fault_inject()) {
        umem_debug_null(NULL, size, ENOMEM, UMEM_WHY_INJECTED);
        errno = ENOMEM;
        return NULL;
    }
    (void)umem_update_if_due(NULL);
    const struct umem_request req = {.req_size = size,
                                     .req_align = align,
                                     .req_flags = flags,
                                     .req_zeroed = zeroed,
                                     .req_frame = __builtin_frame_address(0)};
    if (umem_guarded_alloc(&req, &guarded))
        return guarded;
    while ((large = create(size, align, debug, &dirt)) == NULL) {
        int error = errno;
        if (!reaped && span_size_of(size, debug) != 0 && umem_reap_plain()) {
            reaped = true;
        } else if (!(flags & UMEM_NOFAIL) || !umem_nofail_retry(NULL, size, error)) {
            umem_debug_null(NULL, size, error,
                            span_size_of(size, debug) == 0 ? UMEM_WHY_SIZE : UMEM_WHY_MEMORY);
            errno = error;
            return NULL;
        }
    }
    if (zeroed)
        zero(large->large_base, size, dirt);
    else if ((debug & UMF_DEADBEEF) && size <= UMEM_FILL_MAX)
        umem_debug_fill_fresh(large->large_base, size);
    if (large->large_flags != 0) {
        struct umem_buffer buf = describe(large);
        buf.buf_frame = req.req_frame;
        umem_debug_raw(&buf);
        (void)umem_debug_alloc(&buf, size);
    }
    link_large(large);
    errno = saved;
    return large->large_base;
}

void *
umem_large_alloc(size_t size, size_t align, int flags)
{
    return allocate(size, align, flags, false);
}

void *
umem_large_zalloc(size_t size, int flags)
{
    return allocate(size, 0, flags, true);
}

/* Takes the record of a block out of the page map; NULL: buf is no block now. */
static struct umem_large *
claim(const void *buf)
{
    struct umem_large *large = NULL;

    umem_lock_acquire(&umem_larges_lock);
    uint64_t word = pagemap_get(buf);
    if (pagemap_kind(word) == UMEM_PAGEMAP_LARGE) {
        large = pagemap_pointer(word);
        if (large->large_base == buf && !umem_large_is_freed(large)) {
            pagemap_clear(buf, 1);
            umem_list_remove(&large->large_link);
            if (large->large_flags != 0)
                umem_large_freed_note(large);
        } else {
            large = NULL;
        }
    }
    umem_lock_release(&umem_larges_lock);
    return large;
}

/* The block that addr points into, or NULL.  Walks the list: for reports. */
static struct umem_large *
find_enclosing(const void *addr)
{
    struct umem_large *found = NULL;

    umem_lock_acquire(&umem_larges_lock);
    UMEM_LIST_FOR (node, &umem_larges) {
        struct umem_large *large = UMEM_CONTAINER_OF(node, struct umem_large, large_link);
        if ((const char *)addr >= large->large_base &&
            (const char *)addr < large->large_base + large->large_span_size) {
            found = large;
            break;
        }
    }
    umem_lock_release(&umem_larges_lock);
    return found;
}

UMEM_COLD bool
umem_large_find(const void *addr, struct umem_buffer *buf)
{
    struct umem_large *large = find_enclosing(addr);

    if (large != NULL)
        *buf = describe(large);
    return large != NULL;
}

UMEM_COLD bool
umem_large_report_freed(void *buf)
{
    struct umem_large_freed before;

    if (!umem_large_freed_at(buf, &before))
        return false;
    struct umem_buffer found = {.buf_bufctl = &before.freed_bufctl,
                                .buf_addr = buf,
                                .buf_space = before.freed_size,
                                .buf_flags = before.freed_flags & UMF_AUDIT};
    umem_report(&(struct umem_error_info){
        .err_kind = UMERR_DUPFREE, .err_addr = buf, .err_buffer = &found});
    return true;
}

static void
report_bad_free(void *buf)
{
    struct umem_error_info err = {.err_kind = UMERR_BADADDR, .err_addr = buf};
    struct umem_buffer found;

    if (umem_large_find(buf, &found)) {
        err.err_kind = found.buf_addr == buf ? UMERR_DUPFREE : UMERR_BADBASE;
        err.err_buffer = &found;
    } else if (umem_large_report_freed(buf)) {
        return;
    } else if (umem_cache_find_slab(buf) != NULL) {
        umem_cache_report_free(NULL, buf);
        return;
    }
    umem_report(&err);
}

static void
relink(struct umem_large *large, char *base, size_t span_size)
{
    umem_lock_acquire(&umem_larges_lock);
    large->large_base = base;
    large->large_span_size = span_size;
    /* Cannot fail: the leaf was made before. */
    (void)pagemap_set(base, 1, pagemap_word(large, UMEM_PAGEMAP_LARGE, 0));
    umem_list_push_back(&umem_larges, &large->large_link);
    umem_lock_release(&umem_larges_lock);
}

static void
unlink_freed(struct umem_large *large)
{
    umem_lock_acquire(&umem_larges_lock);
    pagemap_clear(large->large_base, 1);
    umem_list_remove(&large->large_link);
    umem_lock_release(&umem_larges_lock);
}

static void
release(struct umem_large *large)
{
    vmem_xfree(&vmem_heap, large->large_base - large->large_lead,
               large->large_span_size + large->large_lead);
    umem_meta_free(large, sizeof(*large));
}

/* As it is while it waits: with a fill. */
static struct umem_buffer
describe_freed(struct umem_large *large)
{
    struct umem_buffer buf = describe(large);

    buf.buf_flags |= UMF_DEADBEEF;
    return buf;
}

/* Whether a freed block, claimed by this thread, went into quarantine. */
static bool
waits(struct umem_large *large)
{
    size_t size = large->large_span_size + large->large_lead;

    if (large->large_flags == 0 || (umem_options.opt_flags & UMF_DEADBEEF) == 0 ||
        !umem_quarantine_takes(size))
        return false;
    struct umem_buffer buf = describe_freed(large);
    umem_debug_fill_free(&buf);
    relink(large, large->large_base, large->large_span_size);
    if (umem_quarantine_put(NULL, large, &large->large_bufctl, size))
        return true;
    unlink_freed(large);
    return false;
}

UMEM_COLD size_t
umem_large_verify(void)
{
    size_t corrupt = 0;

    umem_lock_acquire(&umem_larges_lock);
    UMEM_LIST_FOR (node, &umem_larges) {
        struct umem_large *large = UMEM_CONTAINER_OF(node, struct umem_large, large_link);
        if (large->large_flags == 0)
            continue;
        struct umem_buffer buf =
            umem_large_is_freed(large) ? describe_freed(large) : describe(large);
        corrupt += !umem_debug_verify(&buf);
    }
    umem_lock_release(&umem_larges_lock);
    return corrupt;
}

UMEM_COLD void
umem_large_leave(struct umem_large *large)
{
    struct umem_buffer buf = describe_freed(large);

    /* A corrupt one stays where it is. */
    if (!umem_debug_check_free(&buf))
        return;
    unlink_freed(large);
    release(large);
}

void
umem_large_free(void *buf, size_t stated)
{
    if (os_watched())
        os_watch_note(OS_WATCH_FREE, 0);
    umem_debug_signal(umem_options.opt_flags);
    struct umem_large *large = claim(buf);
    if (large == NULL) {
        report_bad_free(buf);
        return;
    }
    if (large->large_flags != 0) {
        struct umem_buffer found = describe(large);
        found.buf_frame = __builtin_frame_address(0);
        if (!umem_debug_free(&found, stated))
            return; /* reported; the block is left alone */
        umem_lock_acquire(&umem_larges_lock);
        umem_large_freed_note(large); /* now with the transaction of this free */
        umem_lock_release(&umem_larges_lock);
    }
    if (!waits(large))
        release(large);
}

size_t
umem_large_usable(const struct umem_large *large)
{
    return large->large_flags & UMF_REDZONE ? large->large_size : large->large_span_size;
}

/* The record and the arena change together, as a fork or a walk of the list sees them. */
static bool
resize_span(struct umem_large *large, size_t span_size, size_t size)
{
    umem_lock_acquire(&umem_larges_lock);
    bool resized = span_size == large->large_span_size ||
                   vmem_resize(&vmem_heap, large->large_base, large->large_span_size, span_size);
    if (resized) {
        large->large_span_size = span_size;
        large->large_size = size;
    }
    umem_lock_release(&umem_larges_lock);
    return resized;
}

bool
umem_large_resize(struct umem_large *large, size_t size)
{
    size_t span_size = span_size_of(size, 0);
    int saved = errno;

    if (large->large_flags != 0 || span_size == 0 || size <= UMEM_MAX_CLASS_SIZE)
        return false;
    /* What grows keeps the room that it was given for that. */
    if (size >= large->large_size)
        span_size = umem_max(span_size, large->large_span_size);
    size_t old_span_size = large->large_span_size;
    if (os_watched())
        os_watch_note(OS_WATCH_ALLOC, size);
    bool resized = resize_span(large, span_size, size);
    if (resized && span_size != old_span_size)
        (void)vmem_heap_purge(); /* what may stay of the free pages is more or less now */
    errno = saved;
    return resized;
}

void *
umem_large_move(struct umem_large *large, size_t size)
{
    size_t span_size = span_size_of(size, 0);
    size_t room = span_size_of(size + size / GROWTH_FRACTION, 0);
    size_t old_span_size = large->large_span_size;
    char *old = large->large_base;
    int saved = errno;

    if (large->large_flags != 0 || span_size <= old_span_size || room == 0 ||
        old_span_size < MOVE_MIN)
        return NULL;
    char *base = vmem_heap_reserve(room);
    if (base != NULL && !pagemap_set(base, 1, pagemap_word(large, UMEM_PAGEMAP_LARGE, 0))) {
        vmem_heap_unreserve(base, room);
        base = NULL;
    }
    errno = saved;
    if (base == NULL)
        return NULL;
    /* Out of the list while it is neither here nor there, for a fork and for another free. */
    if (claim(old) != large) {
        pagemap_clear(base, 1);
        vmem_heap_unreserve(base, room);
        return NULL; /* freed meanwhile: the caller's misuse, which its free will report */
    }
    if (vmem_heap_move(old, old_span_size, base, room)) {
        large->large_size = size;
        relink(large, base, room);
        return base;
    }
    pagemap_clear(base, 1);
    relink(large, old, old_span_size);
    errno = saved;
    return NULL;
}
