/* SPDX-License-Identifier: MIT */
/*
 * firewall_span.c - spans of bodies between guards: made, opened, closed, kept
 * in quarantine, given back.  See firewall.h.
 *
 * System calls and calls of vmem are made without the lock: a body that is being
 * opened or closed is on no list, and a span that is made or destroyed neither.
 */
#include "cache/firewall.h"

#include <errno.h>

#include "cache/cache.h"
#include "debug/debug.h"
#include "os/guard.h"
#include "os/meta.h"
#include "os/os.h"

/*
 * A shared span: 479 bodies of one page, whose record of 30.8 KB fills the
 * largest block that the metadata pool cuts from its chunks.
 */
#define SPAN_SIZE (60 * UMEM_GRANULE)
/* Bodies of more pages than this have a span each: 56 of these share one. */
#define SHARED_PAGES_MAX 16
/*
 * What the quarantine holds: addresses and 84 bytes of records and page table
 * for each block, but no memory.  65,536 one-page blocks are half a GiB.  More
 * would be cheap but for fork(), which copies the marks of closed pages, light
 * ones too: 5 ms of processor time for so many blocks, 10 ms for a GiB, where
 * four times as many took 20 ms and eight GiB 79 ms.
 */
#define QUARANTINE_BLOCKS_MAX 65536
#define QUARANTINE_BYTES_MAX                                                                       \
    (UINTPTR_MAX > 0xffffffffu ? (size_t)1 << 30 : (size_t)64 << 20) /* of addresses */
/* Of a heap with a limit, which counts what is in quarantine as used. */
#define QUARANTINE_LIMIT_SHARE 4

struct umem_list umem_firewalls = UMEM_LIST_INIT(umem_firewalls);
struct umem_lock umem_firewall_lock = UMEM_LOCK_INIT(UMEM_RANK_FIREWALL);

/* All under the lock. */
static struct umem_list rooms[SHARED_PAGES_MAX]; /* spans with free bodies of n + 1 pages */
static struct umem_list quarantine = UMEM_LIST_INIT(quarantine); /* the longest freed first */
static size_t quarantine_bytes;
static size_t quarantine_bytes_max = QUARANTINE_BYTES_MAX;
static struct umem_firewall_stats stats;

UMEM_USUAL void
umem_firewall_init(void)
{
    size_t limit = umem_options.opt_heap_limit;

    for (unsigned i = 0; i < SHARED_PAGES_MAX; i++)
        umem_list_init(&rooms[i]);
    if (limit != 0)
        quarantine_bytes_max = umem_min(QUARANTINE_BYTES_MAX, limit / QUARANTINE_LIMIT_SHARE);
    tcache_sample_every = umem_options.opt_sample;
}

/* The list of spans with free bodies of this size; NULL: such a body has a span of its own. */
static struct umem_list *
room_for(size_t body, size_t align)
{
    size_t pages = body / os_page_size();

    return pages <= SHARED_PAGES_MAX && align <= os_page_size() ? &rooms[pages - 1] : NULL;
}

struct umem_firewall_slot
umem_firewall_slot_at(struct umem_firewall *span, uint32_t index)
{
    return (struct umem_firewall_slot){
        .slot_span = span,
        .slot_block = &span->fw_block[index],
        .slot_body = span->fw_first + (size_t)index * (span->fw_body + os_page_size()),
        .slot_size = span->fw_body,
    };
}

bool
umem_firewall_find(const void *addr, uint64_t word, struct umem_firewall_slot *slot)
{
    if (pagemap_kind(word) != UMEM_PAGEMAP_FIREWALL)
        return false;
    struct umem_firewall *span = pagemap_pointer(word);
    if ((const char *)addr < span->fw_first)
        return false;
    size_t offset = (size_t)((const char *)addr - span->fw_first);
    size_t index = offset / (span->fw_body + os_page_size());
    if (index >= span->fw_blocks ||
        offset - index * (span->fw_body + os_page_size()) >= span->fw_body)
        return false;
    *slot = umem_firewall_slot_at(span, (uint32_t)index);
    return true;
}

static size_t
record_size(size_t blocks)
{
    return sizeof(struct umem_firewall) + blocks * sizeof(struct umem_firewall_block);
}

/* A span for bodies of this size, closed, on no list.  NULL with errno. */
static struct umem_firewall *
create(size_t body, size_t align, bool shared)
{
    size_t page = os_page_size(), lead = umem_max(page, align);
    size_t size = shared ? SPAN_SIZE : umem_align_up(lead + body + page, UMEM_GRANULE);
    size_t blocks = shared ? (size - page) / (body + page) : 1;
    struct vmem_dirt dirt;
    struct umem_firewall *span = umem_meta_alloc(record_size(blocks));
    if (span == NULL)
        return NULL;

    char *base = vmem_heap_alloc(size, align > UMEM_GRANULE ? align : 0, 0, &dirt);
    if (base != NULL) {
        umem_list_init(&span->fw_link);
        umem_list_init(&span->fw_room);
        umem_list_init(&span->fw_free);
        span->fw_base = base;
        span->fw_size = size;
        span->fw_first = base + lead;
        span->fw_body = body;
        span->fw_blocks = (uint32_t)blocks;
        if (os_guard_init(base, size, &span->fw_heavy) == 0) {
            if (pagemap_set(base, size, pagemap_word(span, UMEM_PAGEMAP_FIREWALL, 0)))
                return span;
            os_guard_fini(base, size, &span->fw_heavy);
        }
        vmem_xfree(&vmem_heap, base, size);
    }
    umem_meta_free(span, record_size(blocks));
    errno = ENOMEM;
    return NULL;
}

/* Destroys the spans of a list. */
static void
destroy_all(struct umem_list *spans)
{
    while (!umem_list_empty(spans)) {
        struct umem_firewall *span = UMEM_CONTAINER_OF(spans->next, struct umem_firewall, fw_link);
        umem_list_remove(&span->fw_link);
        pagemap_clear(span->fw_base, span->fw_size);
        os_guard_fini(span->fw_base, span->fw_size, &span->fw_heavy);
        vmem_xfree(&vmem_heap, span->fw_base, span->fw_size);
        umem_meta_free(span, record_size(span->fw_blocks));
    }
}

/* Takes a free body of a span that has one: the longest free; locked. */
static struct umem_firewall_block *
pick(struct umem_firewall *span)
{
    struct umem_firewall_block *block = &span->fw_block[span->fw_used];

    if (span->fw_used < span->fw_blocks) {
        umem_list_init(&block->fwb_link);
        span->fw_used++;
    } else {
        block = UMEM_CONTAINER_OF(span->fw_free.next, struct umem_firewall_block, fwb_link);
        umem_list_remove(&block->fwb_link);
    }
    if (++span->fw_busy == span->fw_blocks)
        umem_list_remove(&span->fw_room);
    return block;
}

/* Frees a body; a span that is then wholly free and not the last of its kind goes to dead; locked.
 */
static void
release(struct umem_firewall *span, struct umem_firewall_block *block, struct umem_list *dead)
{
    struct umem_list *room = span->fw_blocks > 1 ? room_for(span->fw_body, 0) : NULL;

    umem_list_push_back(&span->fw_free, &block->fwb_link);
    if (span->fw_busy-- == span->fw_blocks && room != NULL)
        umem_list_push_back(room, &span->fw_room);
    bool last = room != NULL && room->next == &span->fw_room && room->prev == &span->fw_room;
    if (span->fw_busy != 0 || last)
        return;
    umem_list_remove(&span->fw_room);
    umem_list_remove(&span->fw_link);
    umem_list_push_back(dead, &span->fw_link);
}

/* Once: from here on a block is guarded where another has been freed. */
static UMEM_COLD void
say_limit(void)
{
    static _Atomic bool said;

    if (!atomic_exchange_explicit(&said, true, memory_order_relaxed))
        umem_message(true, "firewall: guards have taken half of the mappings that the system "
                           "allows (vm.max_map_count): more blocks go without");
}

/* One try.  *short_of: there was no memory, or no addresses, for another span. */
static bool
take(size_t size, size_t align, struct umem_firewall_slot *slot, bool *short_of)
{
    size_t body = umem_align_up(umem_max(size, 1), os_page_size());
    struct umem_list *room = room_for(body, align);

    umem_lock_acquire(&umem_firewall_lock);
    if (room == NULL || umem_list_empty(room)) {
        umem_lock_release(&umem_firewall_lock);
        struct umem_firewall *made = create(body, align, room != NULL);
        *short_of = made == NULL;
        if (made == NULL)
            return false;
        umem_lock_acquire(&umem_firewall_lock);
        umem_list_push_back(&umem_firewalls, &made->fw_link);
        if (room != NULL)
            umem_list_push_front(room, &made->fw_room);
        slot->slot_span = made;
    } else {
        slot->slot_span = UMEM_CONTAINER_OF(room->next, struct umem_firewall, fw_room);
    }
    struct umem_firewall_block *block = pick(slot->slot_span);
    umem_bufctl_set_size(&block->fwb_bufctl, size);
    stats.fws_blocks++;
    stats.fws_bytes += size;
    umem_lock_release(&umem_firewall_lock);

    *slot = umem_firewall_slot_at(slot->slot_span, (uint32_t)(block - slot->slot_span->fw_block));
    if (os_guard_open(slot->slot_body, slot->slot_size, &slot->slot_span->fw_heavy) == 0)
        return true;
    if (errno == ENOMEM)
        say_limit();
    struct umem_list dead = UMEM_LIST_INIT(dead);
    umem_lock_acquire(&umem_firewall_lock);
    stats.fws_blocks--;
    stats.fws_bytes -= size;
    release(slot->slot_span, block, &dead);
    umem_lock_release(&umem_firewall_lock);
    destroy_all(&dead);
    return false;
}

/* The record of a block's span; the block has been used. */
static struct umem_firewall *
span_of(const struct umem_firewall_block *block)
{
    struct umem_firewall *span = pagemap_pointer(pagemap_get(block->fwb_base));

    UMEM_VERIFY(span != NULL);
    return span;
}

/* Releases the longest freed until no more are left than that; locked. */
static void
shorten(size_t blocks, size_t bytes, struct umem_list *dead)
{
    while (stats.fws_quarantined > blocks || quarantine_bytes > bytes) {
        struct umem_firewall_block *oldest =
            UMEM_CONTAINER_OF(quarantine.next, struct umem_firewall_block, fwb_link);
        struct umem_firewall *span = span_of(oldest);
        umem_list_remove(&oldest->fwb_link);
        stats.fws_quarantined--;
        quarantine_bytes -= span->fw_body + os_page_size();
        release(span, oldest, dead);
    }
}

bool
umem_firewall_drain(void)
{
    struct umem_list dead = UMEM_LIST_INIT(dead);

    umem_lock_acquire(&umem_firewall_lock);
    bool any = stats.fws_quarantined != 0;
    shorten(0, 0, &dead);
    umem_lock_release(&umem_firewall_lock);
    destroy_all(&dead);
    return any;
}

bool
umem_firewall_take(size_t size, size_t align, struct umem_firewall_slot *slot)
{
    bool short_of = false;

    if (size > (size_t)PTRDIFF_MAX / 4 || align > (size_t)PTRDIFF_MAX / 4)
        return false;
    return take(size, align, slot, &short_of) ||
           (short_of && umem_firewall_drain() && take(size, align, slot, &short_of));
}

void
umem_firewall_put(const struct umem_firewall_slot *slot)
{
    struct umem_list dead = UMEM_LIST_INIT(dead);
    struct umem_firewall_block *block = slot->slot_block;

    /* A verifier that found it allocated may be reading it. */
    umem_lock_acquire(&umem_firewall_lock);
    umem_lock_release(&umem_firewall_lock);
    os_guard_close(slot->slot_body, slot->slot_size, &slot->slot_span->fw_heavy);
    umem_lock_acquire(&umem_firewall_lock);
    stats.fws_blocks--;
    stats.fws_bytes -= (size_t)block->fwb_bufctl.bc_size;
    stats.fws_quarantined++;
    quarantine_bytes += slot->slot_size + os_page_size();
    umem_list_push_back(&quarantine, &block->fwb_link);
    shorten(QUARANTINE_BLOCKS_MAX, quarantine_bytes_max, &dead);
    umem_lock_release(&umem_firewall_lock);
    destroy_all(&dead);
}

struct umem_firewall_stats
umem_firewall_stats(void)
{
    umem_lock_acquire(&umem_firewall_lock);
    struct umem_firewall_stats now = stats;
    umem_lock_release(&umem_firewall_lock);
    return now;
}

static size_t
length(struct umem_list *list)
{
    size_t n = 0;

    UMEM_LIST_FOR (node, list)
        n++;
    return n;
}

static bool
verify_span(struct umem_firewall *span)
{
    bool has_room = !umem_list_empty(&span->fw_room);

    return span->fw_used <= span->fw_blocks && span->fw_busy <= span->fw_used &&
           length(&span->fw_free) == span->fw_used - span->fw_busy &&
           has_room == (span->fw_busy < span->fw_blocks) &&
           pagemap_pointer(pagemap_get(span->fw_base)) == span &&
           span->fw_first + span->fw_blocks * (span->fw_body + os_page_size()) <=
               span->fw_base + span->fw_size;
}

bool
umem_firewall_verify(void)
{
    bool right = true;
    size_t busy = 0;

    umem_lock_acquire(&umem_firewall_lock);
    UMEM_LIST_FOR (node, &umem_firewalls) {
        struct umem_firewall *span = UMEM_CONTAINER_OF(node, struct umem_firewall, fw_link);
        right = right && verify_span(span);
        busy += span->fw_busy;
    }
    /* Others may be between the two of a free. */
    right = right && length(&quarantine) == stats.fws_quarantined &&
            busy == stats.fws_blocks + stats.fws_quarantined;
    umem_lock_release(&umem_firewall_lock);
    return right;
}
