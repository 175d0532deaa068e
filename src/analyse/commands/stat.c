/* SPDX-License-Identifier: MIT */
/*
 * stat.c - umem stat: usage by cache, by arena and by thread.
 *
 * Buffers are counted from the slabs and magazines themselves; allocations and
 * failures are the library's own statistics.
 */
#include "commands/commands.h"

#include <stdio.h>
#include <string.h>

#include "report/block_report.h"
#include "report/format.h"
#include "report/json.h"
#include "report/open.h"

#define NAME_COLUMN 26

struct row { /* of the table of caches */
    const char *name;
    uint64_t bufsize; /* 0: any */
    uint64_t inuse;
    uint64_t cached;
    uint64_t total;
    uint64_t bytes;
    uint64_t allocs;
    uint64_t fails;
};

static struct row
cache_row(const struct heap_cache *cache)
{
    return (struct row){cache->cache_name,   cache->cache_bufsize,
                        cache->cache_inuse,  cache->cache_cached,
                        cache->cache_total,  cache->cache_slab_count * cache->cache_slab_size,
                        cache->cache_allocs, cache->cache_fails};
}

/* Oversize blocks have no cache; the heap's arena counts their allocations among others. */
static struct row
oversize_row(const struct heap *h)
{
    struct row row = {.name = HEAP_OVERSIZE_NAME};
    for (size_t i = 0; i < h->heap_region_count; i++) {
        const struct region *region = &h->heap_regions[i];
        if (region->region_cache != NO_CACHE ||
            (region->region_kind != REGION_LARGE && region->region_kind != REGION_FIREWALL) ||
            !heap_is_live(h, (struct block){(uint32_t)i, 0}))
            continue;
        row.inuse++;
        row.total++;
        row.bytes += h->heap_regions[i].region_chunk;
    }
    return row;
}

static void
print_row(const struct row *row)
{
    printf("%-*s %9s %11s %9s %11s %7s %14s %6s\n", NAME_COLUMN, row->name,
           row->bufsize != 0 ? format_count(row->bufsize).s : "-", format_count(row->inuse).s,
           format_count(row->cached).s, format_count(row->total).s, format_size(row->bytes).s,
           row->bufsize != 0 ? format_count(row->allocs).s : "-", format_count(row->fails).s);
}

static void
add_row(struct row *sum, const struct row *row)
{
    sum->inuse += row->inuse;
    sum->cached += row->cached;
    sum->total += row->total;
    sum->bytes += row->bytes;
    sum->allocs += row->allocs;
    sum->fails += row->fails;
}

static void
print_caches(const struct heap *h, bool all, bool color)
{
    struct row sum = {.name = "total", .bufsize = 1};
    size_t hidden = 0;

    printf("%s%-*s %9s %11s %9s %11s %7s %14s %6s%s\n", style_bold(color), NAME_COLUMN, "cache",
           "size", "in use", "cached", "total", "memory", "allocations", "failed",
           style_end(color));
    for (size_t i = 0; i < h->heap_cache_count; i++) {
        struct row row = cache_row(&h->heap_caches[i]);
        add_row(&sum, &row);
        if (all || row.total > 0 || row.allocs > 0 || row.fails > 0)
            print_row(&row);
        else
            hidden++;
    }
    struct row oversize = oversize_row(h);
    add_row(&sum, &oversize);
    if (all || oversize.total > 0)
        print_row(&oversize);
    printf("%-*s %9s %11s %9s %11s %7s %14s %6s\n", NAME_COLUMN, sum.name, "",
           format_count(sum.inuse).s, format_count(sum.cached).s, format_count(sum.total).s,
           format_size(sum.bytes).s, format_count(sum.allocs).s, format_count(sum.fails).s);
    if (hidden > 0)
        printf("%s%s never used; --all lists them%s\n", style_dim(color),
               format_plural(hidden, "cache was", "caches were").s, style_end(color));
}

static void
print_arenas(const struct heap *h, bool color)
{
    printf("\n%s%-*s %9s %11s %9s %11s %14s %6s%s\n", style_bold(color), NAME_COLUMN, "arena",
           "in use", "total", "imported", "", "allocations", "failed", style_end(color));
    for (size_t i = 0; i < h->heap_arena_count; i++) {
        const struct heap_arena *arena = &h->heap_arenas[i];
        printf("%-*s %9s %11s %9s %11s %14s %6s\n", NAME_COLUMN, arena->arena_name,
               format_size(arena->arena_inuse).s, format_size(arena->arena_total).s,
               format_size(arena->arena_imported).s, "", format_count(arena->arena_allocs).s,
               format_count(arena->arena_fails).s);
    }
}

static void
print_threads(const struct heap *h, bool color)
{
    if (h->heap_thread_count == 0)
        return;
    printf("\n%s%-*s %9s %11s%s\n", style_bold(color), NAME_COLUMN, "thread", "", "cached",
           style_end(color));
    for (size_t i = 0; i < h->heap_thread_count; i++) {
        const struct heap_thread *thread = &h->heap_threads[i];
        printf("%-*u %9s %11s\n", NAME_COLUMN, thread->thread_id, "",
               format_count(thread->thread_cached).s);
    }
}

static json_t *
row_json(const struct row *row)
{
    json_t *out = json_object();
    json_object_set_new(out, "name", json_string(row->name));
    json_object_set_new(out, "bufsize",
                        row->bufsize != 0 ? json_integer((json_int_t)row->bufsize) : json_null());
    json_set_count(out, "inuse", row->inuse);
    json_set_count(out, "cached", row->cached);
    json_set_count(out, "total", row->total);
    json_set_count(out, "bytes", row->bytes);
    json_set_count(out, "allocs", row->allocs);
    json_set_count(out, "fails", row->fails);
    return out;
}

static json_t *
arenas_json(const struct heap *h)
{
    json_t *list = json_array();
    for (size_t i = 0; i < h->heap_arena_count; i++) {
        const struct heap_arena *arena = &h->heap_arenas[i];
        json_t *out = json_object();
        json_object_set_new(out, "name", json_string(arena->arena_name));
        json_set_count(out, "inuse", arena->arena_inuse);
        json_set_count(out, "total", arena->arena_total);
        json_set_count(out, "imported", arena->arena_imported);
        json_set_count(out, "allocs", arena->arena_allocs);
        json_set_count(out, "fails", arena->arena_fails);
        json_array_append_new(list, out);
    }
    return list;
}

static void
print_json(const struct heap *h)
{
    json_t *out = json_begin(h);
    json_t *caches = json_array();
    json_t *threads = json_array();

    for (size_t i = 0; i < h->heap_cache_count; i++) {
        struct row row = cache_row(&h->heap_caches[i]);
        json_array_append_new(caches, row_json(&row));
    }
    struct row oversize = oversize_row(h);
    json_array_append_new(caches, row_json(&oversize));
    for (size_t i = 0; i < h->heap_thread_count; i++) {
        json_t *thread = json_object();
        json_set_count(thread, "thread", h->heap_threads[i].thread_id);
        json_set_count(thread, "cached", h->heap_threads[i].thread_cached);
        json_set_count(thread, "allocs", h->heap_threads[i].thread_allocs);
        json_array_append_new(threads, thread);
    }
    json_object_set_new(out, "caches", caches);
    json_object_set_new(out, "arenas", arenas_json(h));
    json_object_set_new(out, "threads", threads);
    json_finish(out);
}

static void
print_text(const struct heap *h, const char *unused, bool all, bool color)
{
    char name[512];
    target_describe(h->heap_target, name, sizeof(name));
    incomplete_print(h, color);
    if (unused != NULL) {
        printf("%s: %s\n", name, unused);
        return;
    }
    print_caches(h, all, color);
    print_arenas(h, color);
    print_threads(h, color);
}

int
command_stat(int argc, char **argv)
{
    bool all = false;
    const struct option_row rows[] = {
        {"all", 'a', OPTION_FLAG, &all, NULL, "also caches that were never used", NULL}, {0}};
    const struct command_spec spec = {
        .cmd_name = "stat",
        .cmd_usage = "TARGET",
        .cmd_summary = "Show usage by cache, arena and thread",
        .cmd_description =
            "In use: buffers that the program has. Cached: free ones in magazines, of a thread\n"
            "or the depot. Total: buffers in all slabs. Sizes in units of 1024 (K, M, G).\n",
        .cmd_rows = rows,
        .cmd_shared = SHARED_FORMAT | SHARED_EXE | SHARED_COLOR,
        .cmd_min_args = 1,
        .cmd_max_args = 1};
    struct command_options options;
    struct heap h;
    const char *why;
    int code = options_parse(&spec, argc, argv, &options);

    if (code != OPTIONS_GO)
        return code;
    enum heap_read status = report_open("stat", options.opt_argv[0], &options, false, &h, &why);
    if (status == HEAP_FAILED)
        return COMMAND_TROUBLE;
    if (options.opt_format == FORMAT_JSON)
        print_json(&h);
    else
        print_text(&h, status == HEAP_NONE ? why : NULL, all, options.opt_color);
    report_close(&h);
    return COMMAND_CLEAN;
}
