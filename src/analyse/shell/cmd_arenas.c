/* SPDX-License-Identifier: MIT */
/*
 * cmd_arenas.c - ::vmem, ::vmem_seg, and the walkers over arenas and their
 * segments.
 */
#include "shell/bufctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "leaks/whatis.h"

#define ARENA_NAME_COLUMN 25

static bool
full(struct shell *sh)
{
    return shell_error(sh, shell_interrupted ? "interrupted" : "no memory");
}

static const struct heap_arena *
find_arena(const struct heap *h, addr_t addr)
{
    for (size_t i = 0; addr != 0 && i < h->heap_arena_count; i++)
        if (h->heap_arenas[i].arena_addr == addr)
            return &h->heap_arenas[i];
    return NULL;
}

static const struct heap_arena *
needs_arena(struct shell *sh, addr_t addr)
{
    const struct heap_arena *arena = find_arena(&sh->sh_heap, addr);
    if (arena == NULL)
        shell_complain(sh, "0x%" PRIx64 " is no arena; ::vmem lists them", addr);
    return arena;
}

unsigned
shell_arena_depth(const struct heap *h, const struct heap_arena *arena)
{
    unsigned depth = 0;
    while ((arena = find_arena(h, arena->arena_source)) != NULL && depth < h->heap_arena_count)
        depth++;
    return depth;
}

/* --- ::vmem --- */

static bool
print_arena(struct shell *sh, const struct call *call, const struct heap_arena *arena)
{
    if (call_feeds(call))
        return shell_say_address(sh, arena->arena_addr);
    int indent = 2 * (int)shell_arena_depth(&sh->sh_heap, arena);
    printf("%016" PRIx64 " %*s%-*s %12" PRIu64 " %12" PRIu64 " %9" PRIu64 " %5" PRIu64 "\n",
           arena->arena_addr, indent, "",
           indent < ARENA_NAME_COLUMN ? ARENA_NAME_COLUMN - indent : 0, arena->arena_name,
           arena->arena_inuse, arena->arena_total, arena->arena_allocs, arena->arena_fails);
    return true;
}

static bool
dcmd_vmem(struct shell *sh, const struct call *call)
{
    const struct walk all = {.walk_walker = walker_find("vmem")};
    const struct heap_arena *one = NULL;
    struct addresses arenas = {0};

    if (!dcmd_plain(sh, call))
        return false;
    if (call_has_address(call)) {
        one = needs_arena(sh, call->call_addr);
        if (one == NULL)
            return false;
    } else if (!shell_walk(sh, &all, &arenas)) {
        return false;
    }
    if (call_is_first(call) && !call_feeds(call))
        printf("%-16s %-25s %12s %12s %9s %5s\n", "ADDR", "NAME", "INUSE", "TOTAL", "SUCCEED",
               "FAIL");
    bool ok = one == NULL || print_arena(sh, call, one);
    for (size_t i = 0; ok && i < arenas.count; i++)
        ok = print_arena(sh, call, find_arena(&sh->sh_heap, arenas.list[i]));
    addresses_fini(&arenas);
    return ok;
}

/* Arenas below a source, each before or behind those that import from it. */
static bool
walk_tree(struct shell *sh, addr_t source, bool postfix, unsigned depth, struct addresses *out)
{
    const struct heap *h = &sh->sh_heap;

    if (depth > h->heap_arena_count)
        return true; /* a circle: the target is damaged */
    for (size_t i = 0; i < h->heap_arena_count; i++) {
        const struct heap_arena *arena = &h->heap_arenas[i];
        bool top = find_arena(h, arena->arena_source) == NULL;
        if (source == 0 ? !top : arena->arena_source != source)
            continue;
        if (!postfix && !addresses_add(out, arena->arena_addr))
            return full(sh);
        if (!walk_tree(sh, arena->arena_addr, postfix, depth + 1, out))
            return false;
        if (postfix && !addresses_add(out, arena->arena_addr))
            return full(sh);
    }
    return true;
}

static bool
walk_vmem(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    (void)walk;
    return walk_tree(sh, 0, false, 0, out);
}

static bool
walk_vmem_postfix(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    (void)walk;
    return walk_tree(sh, 0, true, 0, out);
}

/* --- Segments --- */

struct segments {
    const struct offsets *off;
    uint64_t type; /* 0: all */
    struct addresses *out;
};

static bool
take_segment(void *arg, const struct record *rec)
{
    const struct segments *want = arg;
    uint64_t type = record_get(rec, 0, want->off->seg_type);
    if (record_get(rec, 0, want->off->seg_start) >= record_get(rec, 0, want->off->seg_end) ||
        (want->type != 0 && type != want->type))
        return true;
    return addresses_add(want->out, rec->rec_addr);
}

static bool
walk_segments(struct shell *sh, const struct walk *walk, uint64_t type, struct addresses *out)
{
    struct segments want = {&sh->sh_heap.heap_offsets, type, out};

    if (needs_arena(sh, walk->walk_addr) == NULL)
        return false;
    heap_each_segment(&sh->sh_heap, walk->walk_addr, take_segment, &want);
    return true;
}

static bool
walk_vmem_seg(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    return walk_segments(sh, walk, 0, out);
}

static bool
walk_vmem_alloc(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    return walk_segments(sh, walk, sh->sh_heap.heap_offsets.const_VMEM_SEG_ALLOC, out);
}

static bool
walk_vmem_free(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    return walk_segments(sh, walk, sh->sh_heap.heap_offsets.const_VMEM_SEG_FREE, out);
}

static bool
walk_vmem_span(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    return walk_segments(sh, walk, sh->sh_heap.heap_offsets.const_VMEM_SEG_SPAN, out);
}

/* --- ::vmem_seg --- */

static const char *const type_names[] = {[SEGMENT_UNKNOWN] = "?",
                                         [SEGMENT_ALLOC] = "ALLC",
                                         [SEGMENT_FREE] = "FREE",
                                         [SEGMENT_SPAN] = "SPAN"};

struct seg_options {
    bool sizes, verbose;
    bool has_caller, has_smallest, has_largest, has_thread;
    uint64_t caller, smallest, largest, thread;
    const char *type;
};

/* What lies at a segment's start: who allocated it is known of blocks, not of segments. */
static bool
owner_of(struct shell *sh, const struct segment_info *seg, struct block_info *info, bool *slab)
{
    struct block b;

    if (seg->seg_type != SEGMENT_ALLOC)
        return false;
    /* Slabs begin with colour, and end before their span does. */
    if (!heap_find(&sh->sh_heap, seg->seg_start, &b) &&
        !heap_find(&sh->sh_heap, seg->seg_start + (seg->seg_end - seg->seg_start) / 2, &b))
        return false;
    heap_block_info(&sh->sh_heap, b, info);
    *slab = sh->sh_heap.heap_regions[b.block_region].region_kind == REGION_SLAB;
    return true;
}

static bool
seg_passes(struct shell *sh, const struct seg_options *o, const struct segment_info *seg,
           const struct block_info *info)
{
    uint64_t size = seg->seg_end - seg->seg_start;
    bool audited = info != NULL && info->blk_audited;

    if ((o->has_smallest && size < o->smallest) || (o->has_largest && size > o->largest))
        return false;
    if (o->type != NULL && strcasecmp(o->type, type_names[seg->seg_type]) != 0 &&
        !(seg->seg_type == SEGMENT_ALLOC && strcasecmp(o->type, "alloc") == 0))
        return false;
    if (o->has_thread && !(audited && info->blk_thread == o->thread))
        return false;
    return !o->has_caller || (audited && shell_stack_has(sh, info->blk_stack, o->caller));
}

static void
print_segment(struct shell *sh, addr_t addr, const struct segment_info *seg,
              const struct block_info *info, bool slab, const struct seg_options *o)
{
    char name[SHELL_NAME_MAX];
    addr_t frame;

    printf("%016" PRIx64 " %4s %016" PRIx64 " %016" PRIx64 " ", addr, type_names[seg->seg_type],
           seg->seg_start, o->sizes ? seg->seg_end - seg->seg_start : seg->seg_end);
    if (info == NULL)
        printf("%s\n", seg->seg_import ? "imported" : "");
    else if (slab)
        printf("slab of %s\n", info->blk_cache);
    else if (info->blk_audited && heap_stack(&sh->sh_heap, info->blk_stack, &frame, 1) == 1)
        printf("%s\n", shell_name(sh, frame, true, name));
    else
        printf("%s\n", info->blk_cache);
    if (!o->verbose || info == NULL || slab || !info->blk_audited)
        return;
    printf("%16s %4s %16s %16" PRIx64 " %" PRIu32 "\n", "", "", "", info->blk_time,
           info->blk_thread);
    shell_print_stack(sh, info->blk_stack);
}

static bool
dcmd_vmem_seg(struct shell *sh, const struct call *call)
{
    struct seg_options o = {0};
    struct segment_info seg;
    struct block_info info;
    bool slab = false;
    const struct dcmd_option options[] = {{'s', DCMD_FLAG, &o.sizes, NULL},
                                          {'v', DCMD_FLAG, &o.verbose, NULL},
                                          {'c', DCMD_VALUE, &o.caller, &o.has_caller},
                                          {'m', DCMD_VALUE, &o.smallest, &o.has_smallest},
                                          {'M', DCMD_VALUE, &o.largest, &o.has_largest},
                                          {'t', DCMD_VALUE, &o.thread, &o.has_thread},
                                          {'T', DCMD_TEXT, &o.type, NULL},
                                          {0}};

    if (!dcmd_options(sh, call, options, 0, NULL))
        return false;
    if (!heap_segment(&sh->sh_heap, call->call_addr, &seg))
        return shell_error(sh, "0x%" PRIx64 " is no segment; ADDR::walk vmem_seg tells an arena's",
                           call->call_addr);
    if (call_is_first(call) && !call_feeds(call)) {
        printf("%-16s %4s %16s %16s %s\n", "ADDR", "TYPE", "START", o.sizes ? "SIZE" : "END",
               "WHO");
        if (o.verbose)
            printf("%16s %4s %16s %16s %s\n", "", "", "", "TIMESTAMP", "THREAD");
    }
    bool owned = owner_of(sh, &seg, &info, &slab);
    if (!seg_passes(sh, &o, &seg, owned ? &info : NULL))
        return true;
    if (call_feeds(call))
        return shell_say_address(sh, call->call_addr);
    print_segment(sh, call->call_addr, &seg, owned ? &info : NULL, slab, &o);
    return true;
}

const struct dcmd dcmds_arenas[] = {
    {"vmem", "", "list arenas, or the one at an address",
     "  An arena is followed by those that import from it, indented.\n", "::vmem", dcmd_vmem,
     DCMD_HEAP | DCMD_FEEDS},
    {"vmem_seg", "[-sv] [-c caller] [-m min] [-M max] [-t thread] [-T type]",
     "print a segment of an arena, or let those pass that a filter lets",
     "  WHO is the function that allocated the block that the segment is, or what it holds.\n"
     "    -s          its size instead of its end\n"
     "    -v          also time, thread and stack, where they are known\n"
     "    -c caller   only where this function, or place, is in the stack\n"
     "    -m, -M      only of so many bytes at least, at most\n"
     "    -t thread   only of this thread\n"
     "    -T type     only of this type: alloc, free or span\n",
     "::walk vmem | ::walk vmem_seg | ::vmem_seg -s\n::walk vmem | ::walk vmem_alloc | ::vmem_seg "
     "-v",
     dcmd_vmem_seg, DCMD_HEAP | DCMD_FEEDS | DCMD_ADDRESS},
    {0}};

const struct walker walkers_arenas[] = {
    {"vmem", "all arenas, each before those that import from it", WALK_ANYWHERE, true, walk_vmem},
    {"vmem_postfix", "all arenas, each behind those that import from it", WALK_ANYWHERE, true,
     walk_vmem_postfix},
    {"vmem_seg", "segments of the arena at ADDR, by address", WALK_FROM_ADDRESS, true,
     walk_vmem_seg},
    {"vmem_alloc", "allocated segments of the arena at ADDR", WALK_FROM_ADDRESS, true,
     walk_vmem_alloc},
    {"vmem_free", "free segments of the arena at ADDR", WALK_FROM_ADDRESS, true, walk_vmem_free},
    {"vmem_span", "spans of the arena at ADDR", WALK_FROM_ADDRESS, true, walk_vmem_span},
    {0}};
