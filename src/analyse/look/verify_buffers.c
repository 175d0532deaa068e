/* SPDX-License-Identifier: MIT */
/*
 * verify_buffers.c - what lies in and round buffers, held against their
 * records: the checks of the library's own verifier, made from outside.
 *
 *   | requested size | slack | tag |     the tag: redzone, size, bufctl, state
 *   ^ buffer                 ^ 16 bytes; those of the buffer in front lie before it
 *
 * A tag lies between two buffers, and so does damage to it: the one to which
 * the damaged bytes are closer is named, at that buffer's own turn.
 */
#include "look/verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "heap/engine.h"

#define TAG_SIZE 16
#define LARGE_ALIGN 16 /* of an oversize block's space */
/* Bytes before a block behind a firewall that are looked at: as many as the library does. */
#define HEAD_MAX 64
#define SPANS_MAX ((uint64_t)1 << 28)

/* The record of a buffer. */
struct bufctl {
    bool bc_there;
    addr_t bc_addr;
    uint64_t bc_size;
    uint64_t bc_state;
    uint64_t bc_turns;
};

/* A buffer with what lies round it. */
struct view {
    struct verification *v;
    struct heap *h;
    struct block block;
    uint32_t cache;
    uint64_t flags; /* UMF_* */
    addr_t addr;
    uint64_t space;                /* bytes that may be asked for */
    uint64_t tag_at;               /* offset of the tag */
    unsigned char front[TAG_SIZE]; /* what lies before it, with redzones */
    const unsigned char *body;     /* its bytes from offset from on, to the tag's end */
    uint64_t from;
    struct bufctl own, before, behind;
};

struct tag {
    uint32_t redzone, size, bufctl, state;
};

static bool
has_redzone(const struct view *w)
{
    return (w->flags & w->h->heap_offsets.const_UMF_REDZONE) != 0;
}

static bool
is_allocated(const struct view *w, const struct bufctl *bc)
{
    return bc->bc_state == w->h->heap_offsets.const_UMEM_BUFFER_ALLOCATED;
}

static bool
is_raw(const struct view *w, const struct bufctl *bc)
{
    return bc->bc_state == w->h->heap_offsets.const_UMEM_BUFFER_RAW;
}

static unsigned char
slack_byte(const struct offsets *off, addr_t addr)
{
    return (unsigned char)(off->const_UMEM_SLACK_WORD >> 8 * (addr & 7));
}

static struct tag
tag_for(const struct view *w, const struct bufctl *bc, uint64_t size, uint64_t mark)
{
    const struct offsets *off = &w->h->heap_offsets;
    uint64_t prime = off->const_UMEM_SIZE_PRIME;
    uint32_t bufctl = (uint32_t)bc->bc_addr;

    return (struct tag){(uint32_t)off->const_UMEM_REDZONE_PATTERN,
                        size <= (UINT32_MAX - 1) / prime ? (uint32_t)(prime * size + 1) : 0, bufctl,
                        bufctl ^ (uint32_t)mark};
}

static struct tag
load_tag(const unsigned char *bytes)
{
    struct tag tag;
    _Static_assert(sizeof(tag) == TAG_SIZE, "a tag is four words of 32 bits");
    memcpy(&tag, bytes, sizeof(tag));
    return tag;
}

static size_t
tag_difference(const struct tag *tag, const struct tag *right)
{
    size_t at = 0;
    while (at < TAG_SIZE && ((const char *)tag)[at] == ((const char *)right)[at])
        at++;
    return at;
}

/* Damage from at on began at the end of the tag's own buffer, not before the one behind. */
static bool
is_overrun(const struct view *w, const struct tag *tag, const struct tag *right, size_t at)
{
    if (at < offsetof(struct tag, size))
        return true;
    return at < offsetof(struct tag, bufctl) &&
           (tag->size == (uint32_t)w->h->heap_offsets.const_UMEM_REDZONE_PATTERN ||
            tag->state == right->state);
}

/* Whether a tag is one of bc's, whichever state it is in: it may be changing. */
static bool
is_tag_of(const struct view *w, const struct tag *tag, const struct bufctl *bc)
{
    const struct offsets *off = &w->h->heap_offsets;
    uint32_t mark = tag->state ^ (uint32_t)bc->bc_addr;

    return tag->redzone == (uint32_t)off->const_UMEM_REDZONE_PATTERN &&
           tag->bufctl == (uint32_t)bc->bc_addr &&
           (mark == (uint32_t)off->const_UMEM_BUFTAG_ALLOCATED ||
            mark == (uint32_t)off->const_UMEM_BUFTAG_FREE) &&
           (tag->size == 0 || tag->size % off->const_UMEM_SIZE_PRIME == 1);
}

static struct verify_problem *
note(const struct view *w, enum verify_kind kind, const char *text)
{
    struct verify_problem *prb = verify_note(w->v, kind, w->cache, w->addr, "%s", text);
    prb->prb_has_block = true;
    prb->prb_block = w->block;
    return prb;
}

/* A problem of some bytes; false, to be returned. */
static bool
bad(const struct view *w, enum verify_kind kind, int64_t offset, uint64_t expected, uint64_t found)
{
    static const char *const text[] = {
        [VERIFY_MODIFIED] = "buffer modified after being freed",
        [VERIFY_REDZONE] = "redzone violation: write past end of buffer",
        [VERIFY_UNDERRUN] = "redzone violation: write before start of buffer",
        [VERIFY_BUFTAG] = "boundary tag corrupted"};
    struct verify_problem *prb = note(w, kind, text[kind]);

    prb->prb_has_bytes = true;
    prb->prb_offset = offset;
    prb->prb_expected = expected;
    prb->prb_found = found;
    return false;
}

/* The buffer's own tag.  What began before the buffer behind is found there. */
static bool
check_tag(const struct view *w, uint64_t size, uint64_t mark)
{
    struct tag right = tag_for(w, &w->own, size, mark);
    struct tag tag = load_tag(w->body + (w->tag_at - w->from));
    size_t at = tag_difference(&tag, &right);

    if (at == TAG_SIZE)
        return true;
    enum verify_kind kind = VERIFY_BUFTAG;
    if (is_overrun(w, &tag, &right, at)) {
        if (mark == w->h->heap_offsets.const_UMEM_BUFTAG_ALLOCATED)
            kind = VERIFY_REDZONE;
    } else if (w->behind.bc_there && !is_raw(w, &w->behind)) {
        return true;
    }
    return bad(w, kind, (int64_t)(w->tag_at + at), ((const unsigned char *)&right)[at],
               ((const unsigned char *)&tag)[at]);
}

/* Slack from an offset to the tag. */
static bool
check_slack(const struct view *w, uint64_t offset, enum verify_kind kind)
{
    for (uint64_t i = offset; i < w->tag_at; i++) {
        unsigned char right = slack_byte(&w->h->heap_offsets, w->addr + i);
        if (w->body[i - w->from] != right)
            return bad(w, kind, (int64_t)i, right, w->body[i - w->from]);
    }
    return true;
}

static bool
check_front(const struct view *w)
{
    const struct offsets *off = &w->h->heap_offsets;
    const struct bufctl *owner = w->before.bc_there ? &w->before : &w->own;
    bool neighbour = w->before.bc_there;
    struct tag tag = load_tag(w->front);

    if (is_tag_of(w, &tag, owner) || (neighbour && is_raw(w, owner)))
        return true;
    bool allocated = neighbour && is_allocated(w, owner);
    struct tag right =
        tag_for(w, owner, allocated ? owner->bc_size : 0,
                allocated ? off->const_UMEM_BUFTAG_ALLOCATED : off->const_UMEM_BUFTAG_FREE);
    size_t at = tag_difference(&tag, &right);
    if (at == TAG_SIZE || (neighbour && is_overrun(w, &tag, &right, at)))
        return true;
    return bad(w, VERIFY_UNDERRUN, (int64_t)at - TAG_SIZE, ((const unsigned char *)&right)[at],
               ((const unsigned char *)&tag)[at]);
}

/* The fill of a free buffer: the 32-bit word that differs. */
static bool
check_fill(const struct view *w)
{
    const uint32_t right = (uint32_t)w->h->heap_offsets.const_UMEM_FREE_PATTERN;

    if ((w->flags & w->h->heap_offsets.const_UMF_DEADBEEF) == 0)
        return true;
    for (uint64_t i = 0; i < w->space; i += sizeof(right)) {
        size_t n = w->space - i < sizeof(right) ? (size_t)(w->space - i) : sizeof(right);
        uint32_t found = 0;
        memcpy(&found, w->body + i, n);
        if (memcmp(&found, &right, n) != 0)
            return bad(w, VERIFY_MODIFIED, (int64_t)i, right, found);
    }
    return true;
}

/* What the record says by itself.  False: it is damaged, or there is nothing more to look at. */
static bool
check_record(const struct view *w)
{
    const struct offsets *off = &w->h->heap_offsets;
    bool live = heap_is_live(w->h, w->block);

    if (is_raw(w, &w->own))
        return false;
    if (!is_allocated(w, &w->own) && w->own.bc_state != off->const_UMEM_BUFFER_FREE) {
        note(w, VERIFY_BUFCTL, "bufctl corrupted: its state is none");
        return false;
    }
    if (w->own.bc_size > w->space) {
        note(w, VERIFY_BUFCTL, "bufctl corrupted: its size is larger than the buffer");
        return false;
    }
    if (is_allocated(w, &w->own) && !live) {
        note(w, VERIFY_BUFCTL, "bufctl corrupted: it says allocated, but the buffer is free");
        return false;
    }
    /* Odd from before an allocation writes the first byte until after a free wrote the last. */
    return off->bc_turns.field_size == 0 ||
           (w->own.bc_turns & 1) == (uint64_t)is_allocated(w, &w->own);
}

static void
check(const struct view *w)
{
    const struct offsets *off = &w->h->heap_offsets;

    verify_row(w->v, w->cache)->vc_buffers++;
    if (!check_record(w) || w->body == NULL || off->const_UMEM_SIZE_PRIME == 0)
        return;
    if (has_redzone(w) && !check_front(w))
        return;
    if (is_allocated(w, &w->own)) {
        if (has_redzone(w) && check_slack(w, w->own.bc_size, VERIFY_REDZONE))
            check_tag(w, w->own.bc_size, off->const_UMEM_BUFTAG_ALLOCATED);
    } else if (check_fill(w) && has_redzone(w)) {
        if (check_slack(w, w->space, VERIFY_MODIFIED))
            check_tag(w, 0, off->const_UMEM_BUFTAG_FREE);
    }
}

static struct bufctl
load_bufctl(const struct offsets *off, const struct record *rec, uint64_t at)
{
    return (struct bufctl){.bc_there = true,
                           .bc_addr = rec->rec_addr + at,
                           .bc_size = record_get(rec, at, off->bc_size),
                           .bc_state = record_get(rec, at, off->bc_state),
                           .bc_turns = record_get(rec, at, off->bc_turns)};
}

/* The slab's bytes with the tag in front of its first buffer; NULL: they cannot be read. */
static const unsigned char *
read_slab(struct verification *v, struct heap *h, const struct region *region, uint64_t flags)
{
    const struct offsets *off = &h->heap_offsets;
    uint64_t lead = (flags & off->const_UMF_REDZONE) != 0 ? TAG_SIZE : 0;
    const unsigned char *bytes =
        reader_get(&h->heap_reader, region->region_base - lead,
                   (size_t)(region->region_end - region->region_base + lead));

    if (bytes == NULL) {
        verify_row(v, region->region_cache)->vc_busy = true;
        heap_problem(h, "the slab of %s at 0x%" PRIx64 " cannot be read whole: not looked into",
                     h->heap_caches[region->region_cache].cache_name, region->region_base);
        return NULL;
    }
    return bytes + lead;
}

/* The buffers of a slab; rec: their records, which do not move. */
static void
check_slab(struct verification *v, struct heap *h, uint32_t index, const struct record *rec)
{
    const struct offsets *off = &h->heap_offsets;
    const struct region *region = &h->heap_regions[index];
    const struct heap_cache *cache = &h->heap_caches[region->region_cache];
    uint64_t guards = off->const_UMF_REDZONE | off->const_UMF_DEADBEEF;
    struct view w = {.v = v, .h = h, .cache = region->region_cache, .flags = cache->cache_flags};
    const unsigned char *bytes = (w.flags & guards) != 0 ? read_slab(v, h, region, w.flags) : NULL;

    w.space = region->region_scan;
    w.tag_at = region->region_chunk - (has_redzone(&w) ? TAG_SIZE : 0);
    if (w.space > w.tag_at)
        return; /* the cache's own record is damaged */
    for (uint32_t i = 0; i < region->region_blocks; i++) {
        w.block = (struct block){index, i};
        w.addr = region->region_base + i * region->region_chunk;
        w.before = i > 0 ? w.own : (struct bufctl){0};
        w.own = load_bufctl(off, rec, (uint64_t)i * cache->cache_sidecar);
        w.behind = i + 1 < region->region_blocks
                       ? load_bufctl(off, rec, (uint64_t)(i + 1) * cache->cache_sidecar)
                       : (struct bufctl){0};
        w.body = bytes != NULL ? bytes + i * region->region_chunk : NULL;
        if (bytes != NULL && has_redzone(&w))
            memcpy(w.front, w.body - TAG_SIZE, TAG_SIZE);
        check(&w);
    }
}

static void
verify_slab(struct verification *v, struct heap *h, uint32_t index)
{
    const struct offsets *off = &h->heap_offsets;
    const struct region *region = &h->heap_regions[index];
    uint32_t sidecar = h->heap_caches[region->region_cache].cache_sidecar;
    size_t size = (size_t)region->region_blocks * sidecar;

    if (region->region_record == 0 ||
        sidecar < off->bc_state.field_offset + off->bc_state.field_size) {
        verify_row(v, region->region_cache)->vc_buffers += region->region_blocks;
        return;
    }
    const void *records = reader_get(&h->heap_reader, region->region_record, size);
    unsigned char *copy = records != NULL ? malloc(size) : NULL; /* a damaged size may be any */
    if (records == NULL) {
        heap_problem(h, "records of buffers at 0x%" PRIx64 " cannot be read",
                     region->region_record);
    } else if (copy == NULL) {
        v->ver_failed = true;
    } else {
        memcpy(copy, records, size);
        struct record rec = {copy, size, region->region_record};
        check_slab(v, h, index, &rec);
    }
    free(copy);
}

static void
verify_large(struct verification *v, struct heap *h, uint32_t index)
{
    const struct offsets *off = &h->heap_offsets;
    const struct region *region = &h->heap_regions[index];
    struct record rec = reader_record(&h->heap_reader, region->region_record, off->size_umem_large);
    struct view w = {.v = v,
                     .h = h,
                     .block = {index, 0},
                     .cache = NO_CACHE,
                     .flags = record_get(&rec, 0, off->large_flags),
                     .addr = region->region_base};
    uint64_t size = record_get(&rec, 0, off->large_size);

    if (w.flags == 0) { /* nothing is recorded */
        verify_row(v, NO_CACHE)->vc_buffers++;
        return;
    }
    w.own = load_bufctl(off, &rec, off->large_bufctl.field_offset);
    w.space = w.tag_at = (size + LARGE_ALIGN - 1) & ~(uint64_t)(LARGE_ALIGN - 1);
    if (w.space < size || w.space + TAG_SIZE > region->region_chunk) {
        note(&w, VERIFY_BUFCTL, "the record of an oversize block is damaged");
        return;
    }
    if (!is_allocated(&w, &w.own)) /* waits in quarantine, with a fill */
        w.flags |= off->const_UMF_DEADBEEF;
    else if (w.own.bc_size <= w.space)
        w.from = w.own.bc_size;
    const void *front = reader_get(&h->heap_reader, w.addr - TAG_SIZE, TAG_SIZE);
    if (has_redzone(&w) && front != NULL)
        memcpy(w.front, front, TAG_SIZE);
    if (has_redzone(&w))
        w.body =
            reader_get(&h->heap_reader, w.addr + w.from, (size_t)(w.tag_at + TAG_SIZE - w.from));
    if (has_redzone(&w) && (front == NULL || w.body == NULL))
        heap_problem(h, "the oversize block at 0x%" PRIx64 " cannot be read whole: not looked into",
                     w.addr);
    if (front == NULL)
        w.body = NULL;
    check(&w);
}

/* A block behind a firewall, which ends in slack, and whose body begins as zeroes. */
static void
verify_body(struct verification *v, struct heap *h, struct block b, addr_t start, addr_t end)
{
    const struct region *region = &h->heap_regions[b.block_region];
    struct record rec =
        reader_record(&h->heap_reader, region->region_record, h->heap_offsets.size_umem_bufctl);
    struct view w = {.v = v,
                     .h = h,
                     .block = b,
                     .cache = region->region_cache,
                     .addr = region->region_base,
                     .from = record_get(&rec, 0, h->heap_offsets.bc_size),
                     .tag_at = end - region->region_base};
    uint64_t head = (w.addr - start < HEAD_MAX ? w.addr - start : HEAD_MAX) & ~(uint64_t)15;

    verify_row(v, w.cache)->vc_buffers++;
    if (w.from < w.tag_at) {
        w.body = reader_get(&h->heap_reader, w.addr + w.from, (size_t)(w.tag_at - w.from));
        if (w.body != NULL && !check_slack(&w, w.from, VERIFY_REDZONE))
            return;
    }
    const unsigned char *front = reader_get(&h->heap_reader, w.addr - head, (size_t)head);
    for (uint64_t i = 1; front != NULL && i <= head; i++)
        if (front[head - i] != 0) {
            bad(&w, VERIFY_UNDERRUN, -(int64_t)i, 0, front[head - i]);
            return;
        }
}

/* The blocks of a span that are live and of this cache, or of any. */
static void
verify_span(struct verification *v, struct heap *h, addr_t span, uint32_t only)
{
    const struct offsets *off = &h->heap_offsets;
    struct record rec = reader_record(&h->heap_reader, span, off->fw_block.field_offset);
    addr_t first = record_get(&rec, 0, off->fw_first);
    uint64_t body = record_get(&rec, 0, off->fw_body);
    uint64_t used = record_get(&rec, 0, off->fw_used);
    /* Where bodies share a span, its first page is the first guard. */
    uint64_t page = first - record_get(&rec, 0, off->fw_base);
    struct block b;

    for (uint64_t i = 0; i < used && i < h->heap_region_count; i++) {
        addr_t base, start = first + i * (body + page);
        addr_t at = span + off->fw_block.field_offset + i * off->fw_block.field_size;
        if (!reader_word(&h->heap_reader, at + off->fwb_base.field_offset, off->off_word, &base))
            return; /* heap_open() has told that it is damaged */
        if (heap_find(h, base, &b) && heap_block_addr(h, b) == base && heap_is_live(h, b) &&
            h->heap_regions[b.block_region].region_kind == REGION_FIREWALL && base >= start &&
            base - start < body &&
            (only == VERIFY_ALL || h->heap_regions[b.block_region].region_cache == only))
            verify_body(v, h, b, start, start + body);
    }
}

void
verify_firewalls(struct verification *v, struct heap *h, uint32_t only)
{
    const struct offsets *off = &h->heap_offsets;

    if (off->at_umem_firewalls == 0 || off->fw_base.field_size == 0)
        return; /* a library without */
    struct list_walk w =
        list_begin(h, off->at_umem_firewalls, off->fw_link, SPANS_MAX, "guarded blocks");
    while (list_next(h, &w, off->fw_block.field_offset))
        verify_span(v, h, w.walk_addr, only);
}

void
verify_region(struct verification *v, struct heap *h, uint32_t index)
{
    switch (h->heap_regions[index].region_kind) {
    case REGION_SLAB:
        verify_slab(v, h, index);
        break;
    case REGION_LARGE:
        verify_large(v, h, index);
        break;
    default:
        break;
    }
}
