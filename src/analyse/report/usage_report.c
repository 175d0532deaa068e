/* SPDX-License-Identifier: MIT */
/*
 * usage_report.c - see usage_report.h.
 */
#include "report/usage_report.h"

#include <stdio.h>

#include "look/usage.h"
#include "report/format.h"
#include "report/json.h"

#define NAME_COLUMN 26

const char *
usage_arena_name(const struct heap *h, addr_t arena)
{
    for (size_t i = 0; i < h->heap_arena_count; i++)
        if (h->heap_arenas[i].arena_addr == arena)
            return h->heap_arenas[i].arena_name;
    return "";
}

static void
print_row(const struct usage_row *row)
{
    printf("%-*s %9s %11s %9s %11s %7s %14s %6s\n", NAME_COLUMN, row->use_name,
           row->use_bufsize != 0 ? format_count(row->use_bufsize).s : "-",
           format_count(row->use_inuse).s, format_count(row->use_cached).s,
           format_count(row->use_total).s, format_size(row->use_bytes).s,
           row->use_bufsize != 0 ? format_count(row->use_allocs).s : "-",
           format_count(row->use_fails).s);
}

void
usage_print_caches(const struct heap *h, bool all, bool color)
{
    struct usage_row sum = {.use_name = "total", .use_bufsize = 1};
    size_t hidden = 0;

    printf("%s%-*s %9s %11s %9s %11s %7s %14s %6s%s\n", style_bold(color), NAME_COLUMN, "cache",
           "size", "in use", "cached", "total", "memory", "allocations", "failed",
           style_end(color));
    for (size_t i = 0; i < h->heap_cache_count; i++) {
        struct usage_row row = usage_of_cache(&h->heap_caches[i]);
        usage_add(&sum, &row);
        if (all || usage_is_used(&row))
            print_row(&row);
        else
            hidden++;
    }
    struct usage_row oversize = usage_of_oversize(h);
    usage_add(&sum, &oversize);
    if (all || oversize.use_total > 0)
        print_row(&oversize);
    printf("%-*s %9s %11s %9s %11s %7s %14s %6s\n", NAME_COLUMN, sum.use_name, "",
           format_count(sum.use_inuse).s, format_count(sum.use_cached).s,
           format_count(sum.use_total).s, format_size(sum.use_bytes).s,
           format_count(sum.use_allocs).s, format_count(sum.use_fails).s);
    if (hidden > 0)
        printf("%s%s never used; --all lists them%s\n", style_dim(color),
               format_plural(hidden, "cache was", "caches were").s, style_end(color));
}

void
usage_print_arenas(const struct heap *h, bool color)
{
    printf("%s%-*s %9s %11s %9s %11s %14s %6s%s\n", style_bold(color), NAME_COLUMN, "arena",
           "in use", "total", "imported", "", "allocations", "failed", style_end(color));
    for (size_t i = 0; i < h->heap_arena_count; i++) {
        const struct heap_arena *arena = &h->heap_arenas[i];
        printf("%-*s %9s %11s %9s %11s %14s %6s\n", NAME_COLUMN, arena->arena_name,
               format_size(arena->arena_inuse).s, format_size(arena->arena_total).s,
               format_size(arena->arena_imported).s, "", format_count(arena->arena_allocs).s,
               format_count(arena->arena_fails).s);
    }
}

void
usage_print_threads(const struct heap *h, bool color)
{
    if (h->heap_thread_count == 0)
        return;
    printf("%s%-*s %9s %11s%s\n", style_bold(color), NAME_COLUMN, "thread", "", "cached",
           style_end(color));
    for (size_t i = 0; i < h->heap_thread_count; i++) {
        const struct heap_thread *thread = &h->heap_threads[i];
        printf("%-*u %9s %11s\n", NAME_COLUMN, thread->thread_id, "",
               format_count(thread->thread_cached).s);
    }
}

static json_t *
row_json(const struct usage_row *row)
{
    json_t *out = json_object();
    json_set_text(out, "name", row->use_name);
    json_object_set_new(out, "bufsize",
                        row->use_bufsize != 0 ? json_integer((json_int_t)row->use_bufsize)
                                              : json_null());
    json_set_count(out, "inuse", row->use_inuse);
    json_set_count(out, "cached", row->use_cached);
    json_set_count(out, "total", row->use_total);
    json_set_count(out, "bytes", row->use_bytes);
    json_set_count(out, "allocs", row->use_allocs);
    json_set_count(out, "fails", row->use_fails);
    return out;
}

json_t *
usage_arenas_json(const struct heap *h)
{
    json_t *list = json_array();
    for (size_t i = 0; i < h->heap_arena_count; i++) {
        const struct heap_arena *arena = &h->heap_arenas[i];
        json_t *out = json_object();
        json_set_text(out, "name", arena->arena_name);
        json_set_hex(out, "address", arena->arena_addr);
        json_set_text(out, "source", usage_arena_name(h, arena->arena_source));
        json_set_count(out, "inuse", arena->arena_inuse);
        json_set_count(out, "total", arena->arena_total);
        json_set_count(out, "imported", arena->arena_imported);
        json_set_count(out, "allocs", arena->arena_allocs);
        json_set_count(out, "fails", arena->arena_fails);
        json_array_append_new(list, out);
    }
    return list;
}

json_t *
usage_caches_json(const struct heap *h)
{
    json_t *caches = json_array();

    for (size_t i = 0; i < h->heap_cache_count; i++) {
        struct usage_row row = usage_of_cache(&h->heap_caches[i]);
        json_array_append_new(caches, row_json(&row));
    }
    struct usage_row oversize = usage_of_oversize(h);
    json_array_append_new(caches, row_json(&oversize));
    return caches;
}

json_t *
usage_threads_json(const struct heap *h)
{
    json_t *threads = json_array();

    for (size_t i = 0; i < h->heap_thread_count; i++) {
        json_t *thread = json_object();
        json_set_count(thread, "thread", h->heap_threads[i].thread_id);
        json_set_count(thread, "cached", h->heap_threads[i].thread_cached);
        json_set_count(thread, "cached_bytes", h->heap_threads[i].thread_cached_bytes);
        json_set_count(thread, "allocs", h->heap_threads[i].thread_allocs);
        json_array_append_new(threads, thread);
    }
    return threads;
}
