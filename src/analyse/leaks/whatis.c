/* SPDX-License-Identifier: MIT */
/*
 * whatis.c - see whatis.h.
 *
 * In this order, since each lies inside the next: a buffer of the heap, a
 * thread's stack, memory of the heap in no buffer, the library's own memory, a
 * mapping, nothing.
 */
#include "leaks/whatis.h"

#include <stdio.h>
#include <string.h>

#include "leaks/roots.h"

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool
is_readable(struct heap *h, addr_t addr)
{
    const struct mapping *map = target_mapping_of(h->heap_target, addr);
    unsigned char byte;
    return map != NULL && (map->map_flags & MAPPING_READ) != 0 &&
           target_read(h->heap_target, addr, &byte, 1) == 1;
}

/* The thread whose stack pointer lies in [start, end), or 0. */
static pid_t
thread_in(const struct heap *h, addr_t start, addr_t end)
{
    const struct thread *threads;
    size_t n = target_threads(h->heap_target, &threads);
    for (size_t i = 0; i < n; i++)
        if (threads[i].thr_stopped && threads[i].thr_sp >= start && threads[i].thr_sp < end)
            return threads[i].thr_tid;
    return 0;
}

static bool
whatis_block(struct heap *h, struct what *what)
{
    struct block b;
    if (!heap_find(h, what->what_addr, &b))
        return false;
    const struct region *region = &h->heap_regions[b.block_region];
    heap_block_info(h, b, &what->what_info);
    what->what_has_info = true;
    what->what_block = b;
    what->what_base = what->what_info.blk_addr;
    what->what_size = what->what_info.blk_size;
    what->what_kind = what->what_info.blk_live ? WHAT_BUFFER : WHAT_FREE_BUFFER;
    what->what_thread = thread_in(h, what->what_base, what->what_base + heap_block_extent(h, b));
    if (what->what_thread != 0)
        snprintf(what->what_note, sizeof(what->what_note), "thread %d runs on it",
                 (int)what->what_thread);
    if (region->region_kind != REGION_SLAB)
        return true;
    /* Objects that their constructor guards, such as stacks, have pages that are not readable. */
    if (!is_readable(h, what->what_addr) && is_readable(h, what->what_base + what->what_size / 2))
        what->what_kind = WHAT_GUARD;
    else if (what->what_thread != 0)
        what->what_kind = WHAT_STACK;
    return true;
}

static void
set_range(struct what *what, enum what_kind kind, addr_t start, addr_t end)
{
    what->what_kind = kind;
    what->what_base = start;
    what->what_size = end - start;
}

static bool
is_accessible(const struct mapping *map)
{
    return map != NULL && (map->map_flags & (MAPPING_READ | MAPPING_WRITE | MAPPING_EXEC)) != 0;
}

/* A mapping without access just below that of a stack. */
static bool
whatis_guard(struct heap *h, const struct mapping *map, struct what *what)
{
    if (map == NULL || is_accessible(map))
        return false;
    const struct mapping *above = target_mapping_of(h->heap_target, map->map_end);
    if (!is_accessible(above))
        return false;
    what->what_thread = thread_in(h, above->map_start, above->map_end);
    if (what->what_thread == 0)
        return false;
    set_range(what, WHAT_GUARD, map->map_start, map->map_end);
    snprintf(what->what_note, sizeof(what->what_note), "below the stack of thread %d",
             (int)what->what_thread);
    return true;
}

static bool
whatis_stack(struct heap *h, struct what *what)
{
    const struct mapping *map = target_mapping_of(h->heap_target, what->what_addr);
    const struct thread *threads;
    size_t n = target_threads(h->heap_target, &threads);

    if (whatis_guard(h, map, what))
        return true;
    for (size_t i = 0; is_accessible(map) && i < n; i++) {
        const struct thread *thr = &threads[i];
        if (!thr->thr_stopped)
            continue;
        struct stack_extent ext;
        stack_of_tcb(h, thr->thr_fs_base, &ext);
        bool own =
            ext.ext_found && what->what_addr >= ext.ext_start && what->what_addr < ext.ext_end;
        bool extent_known =
            ext.ext_found && thr->thr_sp >= ext.ext_start && thr->thr_sp < ext.ext_end;
        if (!own && (extent_known || target_mapping_of(h->heap_target, thr->thr_sp) != map))
            continue;
        addr_t start = own && ext.ext_start > map->map_start ? ext.ext_start : map->map_start;
        addr_t end = own && ext.ext_end < map->map_end ? ext.ext_end : map->map_end;
        set_range(what, WHAT_STACK, start, end);
        what->what_thread = thr->thr_tid;
        snprintf(what->what_note, sizeof(what->what_note), "thread %d, %s", (int)thr->thr_tid,
                 what->what_addr < thr->thr_sp ? "below its stack pointer: not in use" : "in use");
        return true;
    }
    return false;
}

/* Spans of the heap that no slab or block has, and the library's records. */
static bool
whatis_library(struct heap *h, struct what *what)
{
    const struct {
        const struct ranges *ranges;
        const char *note;
    } known[] = {{&h->heap_untold, "damaged part of the heap: its blocks cannot be told"},
                 {&h->heap_spans, "heap, in no buffer"},
                 {&h->heap_own, "records of the allocator"}};
    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
        size_t i = ranges_find(known[k].ranges, what->what_addr);
        if (i == known[k].ranges->count || known[k].ranges->list[i].range_start > what->what_addr)
            continue;
        set_range(what, WHAT_MAPPING, known[k].ranges->list[i].range_start,
                  known[k].ranges->list[i].range_end);
        snprintf(what->what_note, sizeof(what->what_note), "%s", known[k].note);
        return true;
    }
    return false;
}

static const char *
access_name(unsigned flags)
{
    if (flags & MAPPING_EXEC)
        return "code";
    if (flags & MAPPING_WRITE)
        return "data";
    return flags & MAPPING_READ ? "read-only data" : "not accessible";
}

static bool
whatis_mapping(struct heap *h, struct what *what)
{
    const struct mapping *map = target_mapping_of(h->heap_target, what->what_addr);
    const struct module *modules;
    size_t n = target_modules(h->heap_target, &modules);
    struct symbol sym;

    if (map == NULL)
        return false;
    set_range(what, WHAT_MAPPING, map->map_start, map->map_end);
    for (size_t i = 0; i < n; i++) {
        if (what->what_addr < modules[i].mod_start || what->what_addr >= modules[i].mod_end)
            continue;
        const char *name = base_name(modules[i].mod_path);
        if (target_symbolise(h->heap_target, what->what_addr, false, &sym, 1) > 0 &&
            sym.sym_function[0] != '\0')
            snprintf(what->what_note, sizeof(what->what_note), "%s of %s, %.128s+0x%llx",
                     access_name(map->map_flags), name, sym.sym_function,
                     (unsigned long long)sym.sym_offset);
        else
            snprintf(what->what_note, sizeof(what->what_note), "%s of %s",
                     access_name(map->map_flags), name);
        return true;
    }
    snprintf(what->what_note, sizeof(what->what_note), "%s, %s",
             map->map_name[0] != '\0' ? map->map_name : "unnamed", access_name(map->map_flags));
    return true;
}

void
whatis(struct heap *h, addr_t addr, struct what *what)
{
    *what = (struct what){.what_addr = addr};
    if (!whatis_block(h, what) && !whatis_stack(h, what) && !whatis_library(h, what))
        whatis_mapping(h, what);
}
