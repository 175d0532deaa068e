/* SPDX-License-Identifier: MIT */
/*
 * blocks.c - what the library recorded of a block: requested size, and with
 * audit the stack, thread and time of its last transactions.
 */
#include "heap/engine.h"
#include "heap/glibc.h"

#include <string.h>

/* Bits by which a word is shifted, whatever a damaged layout block says. */
static unsigned
shift_of(uint64_t constant)
{
    return (unsigned)constant & 63;
}

/* The time of the transaction at offset at of rec, nanoseconds; 0: none. */
static uint64_t
transaction_time(const struct offsets *off, const struct record *rec, uint64_t at)
{
    return record_get(rec, at, off->txn_when) >> shift_of(off->const_UMEM_TXN_THREAD_BITS)
                                                     << shift_of(off->const_UMEM_TXN_TIME_SHIFT);
}

static void
read_transaction(const struct heap *h, const struct record *rec, uint64_t at, uint32_t *stack,
                 uint32_t *thread, uint64_t *time)
{
    const struct offsets *off = &h->heap_offsets;
    *stack = (uint32_t)record_get(rec, at, off->txn_stack);
    *thread = (uint32_t)(record_get(rec, at, off->txn_when) &
                         ((UINT64_C(1) << shift_of(off->const_UMEM_TXN_THREAD_BITS)) - 1));
    *time = transaction_time(off, rec, at);
}

/* Whether a record a block of so many bytes says of it more than that it is there. */
static bool
tells_state(const struct offsets *off, uint64_t size)
{
    return size >= off->bc_state.field_offset + off->bc_state.field_size;
}

/* The record at offset at of rec describes the block; audited: with its transactions. */
static void
read_bufctl(const struct heap *h, const struct record *rec, uint64_t at, bool audited,
            struct block_info *info)
{
    const struct offsets *off = &h->heap_offsets;

    if (rec->rec_data == NULL)
        return;
    uint64_t state = record_get(rec, at, off->bc_state);
    if (info->blk_live && state != off->const_UMEM_BUFFER_ALLOCATED)
        return; /* never handed out under debugging, or damaged: not this block's story */
    if (info->blk_live)
        info->blk_requested = record_get(rec, at, off->bc_size);
    if (!audited)
        return;
    read_transaction(h, rec, at + off->bc_last.field_offset, &info->blk_stack, &info->blk_thread,
                     &info->blk_time);
    read_transaction(h, rec, at + off->bc_prev.field_offset, &info->blk_prev_stack,
                     &info->blk_prev_thread, &info->blk_prev_time);
    info->blk_audited = info->blk_time != 0;
}

static void
slab_block_info(struct heap *h, const struct region *region, uint32_t index,
                struct block_info *info)
{
    const struct offsets *off = &h->heap_offsets;
    const struct heap_cache *cache = &h->heap_caches[region->region_cache];

    info->blk_cache = cache->cache_name;
    info->blk_size = cache->cache_bufsize;
    if (region->region_record == 0 || !tells_state(off, cache->cache_sidecar))
        return;
    struct record rec = reader_record(
        &h->heap_reader, region->region_record + (uint64_t)index * cache->cache_sidecar,
        cache->cache_sidecar);
    read_bufctl(h, &rec, 0, cache->cache_sidecar >= off->size_umem_bufctl, info);
}

void
heap_block_info(struct heap *h, struct block b, struct block_info *info)
{
    const struct offsets *off = &h->heap_offsets;
    const struct region *region = &h->heap_regions[b.block_region];

    *info = (struct block_info){.blk_addr = heap_block_addr(h, b),
                                .blk_size = region->region_chunk,
                                .blk_requested = BLOCK_UNKNOWN,
                                .blk_live = heap_is_live(h, b)};
    switch (region->region_kind) {
    case REGION_SLAB:
        slab_block_info(h, region, b.block_index, info);
        break;
    case REGION_LARGE: {
        struct record rec =
            reader_record(&h->heap_reader, region->region_record, off->size_umem_large);
        info->blk_cache = HEAP_OVERSIZE_NAME;
        read_bufctl(h, &rec, off->large_bufctl.field_offset, true, info);
        if (rec.rec_data != NULL)
            info->blk_requested = record_get(&rec, 0, off->large_size);
        break;
    }
    case REGION_FIREWALL: {
        struct record rec =
            reader_record(&h->heap_reader, region->region_record, off->size_umem_bufctl);
        info->blk_cache = region->region_cache == NO_CACHE
                              ? HEAP_OVERSIZE_NAME
                              : h->heap_caches[region->region_cache].cache_name;
        read_bufctl(h, &rec, 0, true, info);
        break;
    }
    case REGION_SEGMENT:
        info->blk_cache = "vmem_alloc";
        break;
    case REGION_MAPPING:
        info->blk_cache = "mapping";
        break;
    case REGION_CHUNKS:
        info->blk_size = heap_block_scan(h, b);
        info->blk_cache = h->heap_caches[glibc_class(info->blk_size)].cache_name;
        break;
    }
}

bool
heap_block_in_transit(struct heap *h, struct block b)
{
    const struct offsets *off = &h->heap_offsets;
    const struct region *region = &h->heap_regions[b.block_region];

    if (region->region_kind != REGION_SLAB || region->region_record == 0)
        return false;
    uint32_t sidecar = h->heap_caches[region->region_cache].cache_sidecar;
    if (!tells_state(off, sidecar))
        return false;
    struct record rec = reader_record(
        &h->heap_reader, region->region_record + (uint64_t)b.block_index * sidecar, sidecar);
    return rec.rec_data != NULL &&
           record_get(&rec, 0, off->bc_state) != off->const_UMEM_BUFFER_ALLOCATED;
}

/* Blocks of a region that count as live and have been freed, by their records. */
static void
subtract_freed(struct heap *h, const struct region *region, const struct record *rec,
               uint64_t stride)
{
    const struct offsets *off = &h->heap_offsets;

    for (uint32_t i = 0; rec->rec_data != NULL && i < region->region_blocks; i++) {
        if (record_get(rec, i * stride, off->bc_state) != off->const_UMEM_BUFFER_FREE ||
            !bit_get(h->heap_live, region->region_first + i))
            continue;
        bit_clear(h->heap_live, region->region_first + i);
        if (region->region_cache != NO_CACHE)
            h->heap_caches[region->region_cache].cache_cached++;
    }
}

void
heap_read_freed(struct heap *h)
{
    const struct offsets *off = &h->heap_offsets;

    for (size_t i = 0; i < h->heap_region_count; i++) {
        const struct region *region = &h->heap_regions[i];
        bool large = region->region_kind == REGION_LARGE;
        if (region->region_record == 0 || (!large && region->region_kind != REGION_SLAB))
            continue;
        uint64_t stride =
            large ? off->size_umem_bufctl : h->heap_caches[region->region_cache].cache_sidecar;
        addr_t at = region->region_record + (large ? off->large_bufctl.field_offset : 0);
        if (!tells_state(off, stride))
            continue;
        struct record rec =
            reader_record(&h->heap_reader, at, (size_t)(region->region_blocks * stride));
        subtract_freed(h, region, &rec, stride);
    }
}

/*
 * Whether a return address is the kernel's way back from a signal handler: it
 * is never called, but returned to, and there rt_sigreturn(2) is called, in libc
 * or the vDSO, by one of these sequences.
 */
static bool
is_signal_return(struct heap *h, addr_t addr)
{
    static const struct {
        size_t size;
        unsigned char code[9];
    } known[] = {
        {9, {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05}},    /* x86-64: mov $15,%rax; syscall */
        {7, {0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05}},                /* musl: mov $15,%eax; syscall */
        {8, {0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4}}, /* aarch64: mov x8,139; svc 0 */
        {7, {0xb8, 0xad, 0, 0, 0, 0xcd, 0x80}},                /* i386: mov $173,%eax; int $0x80 */
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const void *code = reader_get(&h->heap_reader, addr, known[i].size);
        if (code != NULL && memcmp(code, known[i].code, known[i].size) == 0)
            return true;
    }
    return false;
}

size_t
heap_stack(struct heap *h, uint32_t id, addr_t *frames, size_t max)
{
    const struct offsets *off = &h->heap_offsets;
    unsigned shift = (unsigned)off->const_UMEM_STACKS_SEGMENT_SHIFT;
    unsigned word = off->off_word;
    uint64_t segment;

    if (id == 0 || shift > 24 || id >> shift >= off->const_UMEM_STACKS_SEGMENTS ||
        !reader_word(&h->heap_reader, off->at_umem_stacks_segment + (uint64_t)(id >> shift) * word,
                     word, &segment) ||
        segment == 0)
        return 0;
    addr_t addr = segment + 8 * (uint64_t)(id & ((1U << shift) - 1));
    struct record rec = reader_record(&h->heap_reader, addr, off->size_umem_stack);
    uint64_t depth = record_get(&rec, 0, off->stack_depth);
    if (depth > HEAP_STACK_MAX)
        return 0; /* damaged */
    if (depth > max)
        depth = max;
    rec = reader_record(&h->heap_reader, addr + off->stack_frame.field_offset,
                        (size_t)(depth * word));
    if (rec.rec_data == NULL)
        return 0;
    for (uint64_t i = 0; i < depth; i++)
        frames[i] = record_get(&rec, i * word, (struct field){0, word});
    for (uint64_t i = 1; i < depth; i++) /* recorded is where the signal struck */
        if (is_signal_return(h, frames[i - 1]))
            frames[i]++;
    return (size_t)depth;
}

/* The newest transaction of a slab's buffers. */
static uint64_t
newest_of_slab(struct heap *h, const struct region *region, uint32_t sidecar)
{
    const struct offsets *off = &h->heap_offsets;
    uint64_t newest = 0;
    struct record rec = reader_record(&h->heap_reader, region->region_record,
                                      (size_t)region->region_blocks * sidecar);
    for (uint64_t i = 0; rec.rec_data != NULL && i < region->region_blocks; i++) {
        uint64_t time = transaction_time(off, &rec, i * sidecar + off->bc_last.field_offset);
        if (time > newest)
            newest = time;
    }
    return newest;
}

uint64_t
heap_now(struct heap *h)
{
    uint64_t now = target_now(h->heap_target);

    if (now != 0)
        return now;
    if (h->heap_newest != 0)
        return h->heap_newest;
    for (size_t i = 0; i < h->heap_region_count; i++) {
        const struct region *region = &h->heap_regions[i];
        bool slab = region->region_kind == REGION_SLAB && region->region_record != 0;
        if (!slab && region->region_kind != REGION_FIREWALL)
            continue;
        uint32_t sidecar = slab ? h->heap_caches[region->region_cache].cache_sidecar
                                : h->heap_offsets.size_umem_bufctl;
        if (sidecar < h->heap_offsets.size_umem_bufctl)
            continue;
        uint64_t newest = newest_of_slab(h, region, sidecar);
        if (newest > h->heap_newest)
            h->heap_newest = newest;
    }
    return h->heap_newest;
}

uint64_t
heap_after(struct heap *h, uint64_t age)
{
    uint64_t now = heap_now(h);
    return now > age ? now - age : 1;
}
