/* SPDX-License-Identifier: MIT */
/*
 * roots.c - see roots.h.
 *
 * Every readable and writable mapping is cut at the borders of the heap and of
 * the engine's own memory, since the kernel joins neighbours that have nothing
 * to do with each other.  The pieces that are left are classified one by one;
 * stacks are cut out of them first.
 */
#include "leaks/roots.h"

#include "heap/memory.h"
#include "leaks/mark.h"

#include <stdlib.h>
#include <string.h>

/* The x86-64 ABI lets a function use this much below its stack pointer. */
#define RED_ZONE 128
/* Names that the library gives to mappings of its own begin so. */
#define OWN_NAME "[anon:umem"
#define ANON_NAME "[anon:"
#define LIBRARY_PREFIX "libumem"
/* The smallest page of any machine; less than it between two cuts is no mapping of its own. */
#define PAGE ((addr_t)4096)

struct finder {
    struct heap *h;
    struct roots *roots;
    struct ranges cuts; /* what is neither root nor node, or has been dealt with */
    struct ranges dead; /* stacks of threads that are gone: cuts to be */
    addr_t main_stack;  /* an address in it, 0 unknown */
};

static void
add_root(struct roots *roots, addr_t start, addr_t end, enum root_kind kind, pid_t thread)
{
    if (start >= end)
        return;
    if (!memory_grow(&roots->list, &roots->room, roots->count, sizeof(*roots->list))) {
        roots->failed = true;
        return;
    }
    roots->list[roots->count++] = (struct root){start, end, kind, thread};
}

static void
add_stack_block(struct roots *roots, addr_t addr)
{
    addr_t *stacks = realloc(roots->stacks, (roots->stack_count + 1) * sizeof(*stacks));
    if (stacks == NULL) {
        roots->failed = true;
        return;
    }
    roots->stacks = stacks;
    roots->stacks[roots->stack_count++] = addr;
}

static void
cut(struct finder *f, addr_t start, addr_t end)
{
    if (!ranges_add(&f->cuts, start, end))
        f->roots->failed = true;
}

/* Calls fn for each piece of [start, end) that no cut covers; the cuts are sorted. */
static void
for_uncut(struct finder *f, addr_t start, addr_t end, void (*fn)(struct finder *, addr_t, addr_t))
{
    for (size_t i = ranges_find(&f->cuts, start); start < end; i++) {
        const struct range *r = i < f->cuts.count ? &f->cuts.list[i] : NULL;
        addr_t stop = r != NULL && r->range_start < end ? r->range_start : end;
        if (stop > start)
            fn(f, start, stop);
        if (r == NULL || r->range_start >= end)
            return;
        start = r->range_end;
    }
}

/* --- Stacks --- */

static bool
is_writable(const struct mapping *map)
{
    return map != NULL && (map->map_flags & MAPPING_WRITE) != 0;
}

static bool
is_main_stack(const struct finder *f, const struct mapping *map)
{
    return strcmp(map->map_name, "[stack]") == 0 ||
           (f->main_stack >= map->map_start && f->main_stack < map->map_end);
}

/* The stack pointer is in a block of the heap: a stack that the program allocated. */
static void
stack_in_block(struct finder *f, const struct thread *thr, const struct stack_extent *ext,
               struct block b)
{
    addr_t start = heap_block_addr(f->h, b);
    addr_t end = start + heap_block_extent(f->h, b);
    addr_t low = thr->thr_sp - RED_ZONE;
    bool own = ext->ext_found && thr->thr_sp >= ext->ext_start && thr->thr_sp < ext->ext_end;

    /* Not libc's: nothing says where in the block the stack begins, so all of it counts. */
    if (!own || low < start)
        low = start;
    add_root(f->roots, low, end, ROOT_STACK, thr->thr_tid);
    add_stack_block(f->roots, start);
}

static void
stack_in_mapping(struct finder *f, const struct thread *thr, const struct stack_extent *ext)
{
    const struct mapping *map = target_mapping_of(f->h->heap_target, thr->thr_sp);
    addr_t low = thr->thr_sp - RED_ZONE;

    if (!is_writable(map))
        return; /* a stack that overflowed, or a damaged register */
    if (low < map->map_start)
        low = map->map_start;
    if (ext->ext_found && thr->thr_sp >= ext->ext_start && thr->thr_sp < ext->ext_end) {
        addr_t end = ext->ext_end < map->map_end ? ext->ext_end : map->map_end;
        add_root(f->roots, low, end, ROOT_STACK, thr->thr_tid);
        cut(f, ext->ext_start, end);
        return;
    }
    add_root(f->roots, low, map->map_end, ROOT_STACK, thr->thr_tid);
    /*
     * Below a stack pointer is nothing; but a mapping that is neither the main
     * stack nor holds the thread's control block is the program's own making,
     * with other stacks in it perhaps.
     */
    bool whole = is_main_stack(f, map) ||
                 (thr->thr_fs_base > thr->thr_sp && thr->thr_fs_base < map->map_end);
    cut(f, whole ? map->map_start : low, map->map_end);
}

/* A thread runs elsewhere (signal stack, coroutine), or could not be stopped: all of its stack. */
static void
whole_stack(struct finder *f, const struct thread *thr, const struct stack_extent *ext)
{
    struct block b;
    if (heap_find(f->h, ext->ext_start, &b) && heap_is_live(f->h, b))
        add_stack_block(f->roots, heap_block_addr(f->h, b));
    add_root(f->roots, ext->ext_start, ext->ext_end, ROOT_STACK, thr->thr_tid);
    cut(f, ext->ext_start, ext->ext_end);
}

static void
find_stack(struct finder *f, const struct thread *thr)
{
    struct stack_extent ext;
    struct block b;

    stack_of_tcb(f->h, thr->thr_fs_base, &ext);

    if (thr->thr_stopped && thr->thr_sp != 0) {
        if (heap_find(f->h, thr->thr_sp, &b) && heap_is_live(f->h, b))
            stack_in_block(f, thr, &ext, b);
        else
            stack_in_mapping(f, thr, &ext);
    }
    if (ext.ext_found &&
        (!thr->thr_stopped || thr->thr_sp < ext.ext_start || thr->thr_sp >= ext.ext_end))
        whole_stack(f, thr, &ext);
}

/* The main stack where no thread's stack pointer lies in it: the thread is gone or elsewhere. */
static void
find_main_stack(struct finder *f)
{
    const struct mapping *map = target_mapping_of(f->h->heap_target, f->main_stack);
    if (f->main_stack == 0 || !is_writable(map))
        return;
    size_t at = 0;
    for (; at < f->roots->count; at++) {
        const struct root *root = &f->roots->list[at];
        if (root->root_kind == ROOT_STACK && root->root_start >= map->map_start &&
            root->root_end <= map->map_end)
            return;
    }
    add_root(f->roots, map->map_start, map->map_end, ROOT_STACK, 0);
    cut(f, map->map_start, map->map_end);
}

/* Of a cached stack only the table of TLS blocks counts: libc will free it. */
static void
dead_stack(void *arg, const struct stack_extent *ext)
{
    struct finder *f = arg;
    unsigned word = f->h->heap_offsets.off_word;
    const struct mapping *map = target_mapping_of(f->h->heap_target, ext->ext_tcb);
    addr_t end = map != NULL && map->map_end < ext->ext_end ? map->map_end : ext->ext_end;
    add_root(f->roots, ext->ext_tcb + word, ext->ext_tcb + 2 * word, ROOT_TLS, 0);
    if (!ranges_add(&f->dead, ext->ext_start, end))
        f->roots->failed = true;
}

static void
search_dead(struct finder *f, addr_t start, addr_t end)
{
    stacks_find_dead(f->h, start, end, dead_stack, f);
}

/* --- Modules --- */

static bool
is_library(const struct module *mod)
{
    const char *slash = strrchr(mod->mod_path, '/');
    const char *name = slash != NULL ? slash + 1 : mod->mod_path;
    return strncmp(name, LIBRARY_PREFIX, strlen(LIBRARY_PREFIX)) == 0;
}

/* The rest of a module's last page is its data too: the loader allocates there. */
static addr_t
module_end(const struct module *mod)
{
    return (mod->mod_end + PAGE - 1) & ~(PAGE - 1);
}

static void
add_data(struct finder *f, addr_t start, addr_t end)
{
    add_root(f->roots, start, end, ROOT_DATA, 0);
}

/* The module that the mapping's address start belongs to, or NULL. */
static const struct module *
module_of(const struct heap *h, addr_t addr)
{
    const struct module *modules;
    size_t n = target_modules(h->heap_target, &modules);
    for (size_t i = 0; i < n; i++)
        if (addr >= modules[i].mod_start && addr < module_end(&modules[i]))
            return &modules[i];
    return NULL;
}

/* --- Mappings --- */

static bool
is_unnamed(const struct mapping *map)
{
    return (map->map_flags & MAPPING_ANONYMOUS) != 0 && (map->map_flags & MAPPING_PRIVATE) != 0 &&
           (map->map_name[0] == '\0' || strncmp(map->map_name, ANON_NAME, strlen(ANON_NAME)) == 0);
}

static void
add_named(struct finder *f, addr_t start, addr_t end)
{
    add_root(f->roots, start, end, ROOT_MAPPING, 0);
}

/* An unnamed piece is thread-local storage where a thread pointer lies in it, else a node. */
static void
add_unnamed(struct finder *f, addr_t start, addr_t end)
{
    const struct thread *threads;
    size_t n = target_threads(f->h->heap_target, &threads);
    for (size_t i = 0; i < n; i++) {
        if (threads[i].thr_fs_base >= start && threads[i].thr_fs_base < end) {
            add_root(f->roots, start, end, ROOT_TLS, threads[i].thr_tid);
            return;
        }
    }
    /* Where nobody says what threads there are (gdb's cores of i386), what looks like it is it. */
    if (!stacks_know_threads(f->h) && stacks_any_tcb(f->h, start, end)) {
        add_root(f->roots, start, end, ROOT_TLS, 0);
        return;
    }
    if (end - start < PAGE)
        return;
    struct region geometry = {.region_base = start,
                              .region_chunk = end - start,
                              .region_scan = end - start,
                              .region_blocks = 1,
                              .region_cache = NO_CACHE,
                              .region_kind = REGION_MAPPING};
    if (heap_add_region(f->h, &geometry) == NULL)
        f->roots->failed = true;
}

typedef void piece_fn(struct finder *f, addr_t start, addr_t end);

/* Calls fns for what of a mapping belongs to modules, and for the rest; NULL: nothing. */
static void
split_mapping(struct finder *f, const struct mapping *map, piece_fn *data, piece_fn *rest)
{
    const struct module *modules;
    size_t n = target_modules(f->h->heap_target, &modules);
    addr_t at = map->map_start;

    while (at < map->map_end) {
        const struct module *mod = module_of(f->h, at);
        addr_t stop =
            mod != NULL && module_end(mod) < map->map_end ? module_end(mod) : map->map_end;
        for (size_t i = 0; mod == NULL && i < n; i++)
            if (modules[i].mod_start > at && modules[i].mod_start < stop)
                stop = modules[i].mod_start;
        piece_fn *fn = mod != NULL ? data : rest;
        if (fn != NULL && (mod == NULL || !is_library(mod)))
            for_uncut(f, at, stop, fn);
        at = stop;
    }
}

/*
 * Data that the loader wrote and then protected lies just before what stays
 * writable: a static program's libc has addresses of blocks there.
 */
static bool
is_relro(const struct finder *f, const struct mapping *maps, size_t i, size_t n)
{
    const unsigned kind = MAPPING_READ | MAPPING_WRITE | MAPPING_EXEC | MAPPING_PRIVATE;
    const struct module *mod = module_of(f->h, maps[i].map_start);
    return i + 1 < n && (maps[i].map_flags & kind) == (MAPPING_READ | MAPPING_PRIVATE) &&
           is_writable(&maps[i + 1]) && maps[i + 1].map_start == maps[i].map_end && mod != NULL &&
           mod == module_of(f->h, maps[i + 1].map_start);
}

static void
for_mappings(struct finder *f, bool dead_only)
{
    const struct mapping *maps;
    size_t n = target_mappings(f->h->heap_target, &maps);

    for (size_t i = 0; i < n; i++) {
        bool relro = !dead_only && is_relro(f, maps, i, n);
        if ((!is_writable(&maps[i]) && !relro) || (maps[i].map_flags & MAPPING_READ) == 0)
            continue;
        bool own = strncmp(maps[i].map_name, OWN_NAME, strlen(OWN_NAME)) == 0;
        bool unnamed = is_unnamed(&maps[i]);
        if (own || (dead_only && !unnamed))
            continue;
        if (dead_only)
            split_mapping(f, &maps[i], NULL, search_dead);
        else
            split_mapping(f, &maps[i], add_data, unnamed ? add_unnamed : add_named);
    }
}

static void
cut_known(struct finder *f)
{
    struct heap *h = f->h;
    /* Damaged parts of the heap may hold anything: what they lead to is no leak. */
    for (size_t i = 0; i < h->heap_untold.count; i++) {
        add_root(f->roots, h->heap_untold.list[i].range_start, h->heap_untold.list[i].range_end,
                 ROOT_MAPPING, 0);
        cut(f, h->heap_untold.list[i].range_start, h->heap_untold.list[i].range_end);
    }
    for (size_t i = 0; i < h->heap_spans.count; i++)
        cut(f, h->heap_spans.list[i].range_start, h->heap_spans.list[i].range_end);
    for (size_t i = 0; i < h->heap_arena_spans.count; i++)
        cut(f, h->heap_arena_spans.list[i].range_start, h->heap_arena_spans.list[i].range_end);
    for (size_t i = 0; i < h->heap_own.count; i++)
        cut(f, h->heap_own.list[i].range_start, h->heap_own.list[i].range_end);
    for (size_t i = 0; i < h->heap_region_count; i++)
        cut(f, h->heap_regions[i].region_base, h->heap_regions[i].region_end);
    /* The engine may be part of the program itself: then only its variables are left out. */
    for (size_t i = 0; i < h->heap_offsets.off_variables; i++)
        cut(f, h->heap_offsets.off_variable[i].var_start, h->heap_offsets.off_variable[i].var_end);
}

void
roots_find(struct heap *h, struct roots *roots)
{
    struct finder f = {.h = h, .roots = roots};
    const struct thread *threads;
    size_t n = target_threads(h->heap_target, &threads);

    *roots = (struct roots){0};
    for (size_t i = 0; i < h->heap_constructed.count; i++)
        add_root(roots, h->heap_constructed.list[i].range_start,
                 h->heap_constructed.list[i].range_end, ROOT_OBJECT, 0);
    cut_known(&f);
    f.main_stack = stack_main_end(h);
    for (size_t i = 0; i < n; i++)
        find_stack(&f, &threads[i]);
    find_main_stack(&f);
    ranges_sort(&f.cuts);
    for_mappings(&f, true);
    for (size_t i = 0; i < f.dead.count; i++)
        cut(&f, f.dead.list[i].range_start, f.dead.list[i].range_end);
    ranges_sort(&f.cuts);
    for_mappings(&f, false);
    ranges_fini(&f.cuts);
    ranges_fini(&f.dead);
}

void
roots_scan_library(struct heap *h, bool (*fn)(void *arg, addr_t at, addr_t value), void *arg)
{
    const struct mapping *maps;
    size_t n = target_mappings(h->heap_target, &maps);

    for (size_t i = 0; i < n; i++) {
        const struct module *mod = module_of(h, maps[i].map_start);
        if (is_writable(&maps[i]) && mod != NULL && is_library(mod))
            scan_words(h, maps[i].map_start,
                       maps[i].map_end < module_end(mod) ? maps[i].map_end : module_end(mod), fn,
                       arg);
    }
}

void
roots_fini(struct roots *roots)
{
    free(roots->list);
    free(roots->stacks);
    *roots = (struct roots){0};
}
