/* SPDX-License-Identifier: MIT */
/*
 * cmd_whatis.c - ::whatis: what an address is.
 */
#include "shell/bufctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "leaks/whatis.h"
#include "report/block_report.h"

struct question {
    struct shell *sh;
    addr_t addr;
    bool all;       /* not only the innermost */
    bool ids;       /* arenas of mere numbers too */
    bool only_heap; /* nothing but the allocator's memory */
    bool quiet;     /* no records */
    bool verbose;   /* contents */
    bool answered;
};

static void
print_place(struct question *q, addr_t base)
{
    printf("%" PRIx64 " is %" PRIx64 "+%" PRIx64 ", ", q->addr, base, q->addr - base);
    q->answered = true;
}

static void
print_contents(struct question *q, const struct block_info *info)
{
    char text[CONTENTS_TEXT_MAX];
    uint64_t size = info->blk_requested != BLOCK_UNKNOWN && info->blk_requested > 0
                        ? info->blk_requested
                        : info->blk_size;

    contents_describe(&q->sh->sh_heap, q->sh->sh_symbols, info->blk_addr, size, text, sizeof(text));
    if (info->blk_requested != BLOCK_UNKNOWN)
        printf("%*s%" PRIu64 " bytes, %" PRIu64 " requested\n", SHELL_STACK_COLUMN, "",
               info->blk_size, info->blk_requested);
    else
        printf("%*s%" PRIu64 " bytes\n", SHELL_STACK_COLUMN, "", info->blk_size);
    printf("%*s%s\n", SHELL_STACK_COLUMN, "", text);
    if (freed_contents_describe(&q->sh->sh_heap, q->sh->sh_symbols, info, text, sizeof(text)))
        printf("%*sfreed with %s\n", SHELL_STACK_COLUMN, "", text);
}

static void
tell_block(struct question *q, const struct what *what)
{
    const struct block_info *info = &what->what_info;
    addr_t bufctl = info->blk_audited ? shell_bufctl_of(q->sh, info->blk_addr) : 0;

    print_place(q, what->what_base);
    if (what->what_kind == WHAT_GUARD)
        printf("in the guard of a buffer ");
    printf("%s from %s", info->blk_live ? "allocated" : "freed", info->blk_cache);
    if (what->what_thread != 0)
        printf(", the stack of thread %d", (int)what->what_thread);
    bool record = bufctl != 0 && !q->quiet;
    puts(record ? ":" : "");
    if (q->verbose)
        print_contents(q, info);
    if (record)
        shell_print_bufctl(q->sh, bufctl, true);
}

/* The allocator's own records of which one knows what they are. */
static bool
tell_record(struct question *q)
{
    const struct heap *h = &q->sh->sh_heap;
    const struct offsets *off = &h->heap_offsets;
    addr_t buffer;

    for (size_t i = 0; i < h->heap_cache_count; i++) {
        if (q->addr - h->heap_caches[i].cache_addr >= off->size_umem_cache)
            continue;
        print_place(q, h->heap_caches[i].cache_addr);
        printf("the object cache %s\n", h->heap_caches[i].cache_name);
        return true;
    }
    for (size_t i = 0; i < h->heap_arena_count; i++) {
        if (q->addr - h->heap_arenas[i].arena_addr >= off->size_vmem)
            continue;
        print_place(q, h->heap_arenas[i].arena_addr);
        printf("the arena %s\n", h->heap_arenas[i].arena_name);
        return true;
    }
    addr_t bufctl = shell_bufctl_around(q->sh, q->addr, &buffer);
    if (bufctl == 0)
        return false;
    print_place(q, bufctl);
    printf("the bufctl of %" PRIx64 "\n", buffer);
    return true;
}

struct inside {
    struct question *q;
    const struct heap_arena *arena;
    addr_t segment;
    bool found;
};

/* The innermost allocated segment of an arena that holds the address. */
static bool
take_segment(void *arg, const struct record *rec)
{
    struct inside *in = arg;
    const struct offsets *off = &in->q->sh->sh_heap.heap_offsets;
    uint64_t start = record_get(rec, 0, off->seg_start);
    uint64_t end = record_get(rec, 0, off->seg_end);

    if (record_get(rec, 0, off->seg_type) != off->const_VMEM_SEG_ALLOC || in->q->addr < start ||
        in->q->addr >= end)
        return true;
    in->segment = rec->rec_addr;
    in->found = true;
    return false;
}

/* Segments of arenas: those of memory with -a, those of numbers with -i. */
static void
tell_segments(struct question *q)
{
    struct heap *h = &q->sh->sh_heap;

    for (size_t i = 0; i < h->heap_arena_count; i++) {
        struct inside in = {q, &h->heap_arenas[i], 0, false};
        struct segment_info info;
        heap_each_segment(h, in.arena->arena_addr, take_segment, &in);
        if (!in.found || !heap_segment(h, in.segment, &info))
            continue;
        bool memory = target_mapping_of(h->heap_target, info.seg_start) != NULL;
        if (memory ? !q->all : !q->ids)
            continue;
        print_place(q, info.seg_start);
        printf("allocated from the arena %s (vmem_seg %" PRIx64 ")\n", in.arena->arena_name,
               in.segment);
    }
}

static void
tell_mapping(struct question *q, const struct what *what)
{
    print_place(q, what->what_base);
    switch (what->what_kind) {
    case WHAT_STACK:
        printf("in the stack of %s\n", what->what_note);
        break;
    case WHAT_GUARD:
        printf("in a guard, %s\n", what->what_note);
        break;
    default:
        printf("in %s\n", what->what_note);
        break;
    }
}

/* The mapping that the address lies in, whatever else it is. */
static void
tell_outer(struct question *q)
{
    const struct mapping *map = target_mapping_of(q->sh->sh_target, q->addr);
    if (map == NULL)
        return;
    print_place(q, map->map_start);
    printf("in the mapping [%" PRIx64 ",%" PRIx64 ") %s\n", map->map_start, map->map_end,
           map->map_name);
}

static void
answer(struct question *q)
{
    struct what what;

    whatis(&q->sh->sh_heap, q->addr, &what);
    if (what.what_has_info)
        tell_block(q, &what);
    else if (!tell_record(q) && what.what_kind != WHAT_UNKNOWN && !q->only_heap)
        tell_mapping(q, &what);
    if (q->all || q->ids)
        tell_segments(q);
    if (q->all && !q->only_heap && what.what_has_info)
        tell_outer(q);
    if (!q->answered)
        printf("%" PRIx64 " is unknown\n", q->addr);
}

void
shell_print_whatis(struct shell *sh, addr_t addr)
{
    struct question q = {.sh = sh, .addr = addr, .quiet = true};
    answer(&q);
}

static bool
dcmd_whatis(struct shell *sh, const struct call *call)
{
    struct question q = {.sh = sh, .addr = call->call_addr};
    const struct dcmd_option options[] = {
        {'a', DCMD_FLAG, &q.all, NULL},       {'i', DCMD_FLAG, &q.ids, NULL},
        {'k', DCMD_FLAG, &q.only_heap, NULL}, {'q', DCMD_FLAG, &q.quiet, NULL},
        {'v', DCMD_FLAG, &q.verbose, NULL},   {0}};

    if (!dcmd_options(sh, call, options, 0, NULL))
        return false;
    answer(&q);
    return true;
}

const struct dcmd dcmds_whatis[] = {
    {"whatis", "[-aikqv]", "tell what an address is",
     "  A buffer, allocated or freed, with its record; a record of the allocator; a stack, a\n"
     "  guard, a mapping; or unknown.\n"
     "    -a   all that hold it: also segments of arenas, and the mapping\n"
     "    -i   also arenas that hand out numbers that are no memory\n"
     "    -k   only memory of the allocator\n"
     "    -q   without the record\n"
     "    -v   also the size that was asked for, and what the buffer holds\n",
     "main::whatis\n::walk umem_alloc_48 | ::whatis -v\n<sp::whatis -a", dcmd_whatis,
     DCMD_HEAP | DCMD_ADDRESS},
    {0}};
