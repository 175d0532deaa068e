/* SPDX-License-Identifier: MIT */
/*
 * metrics.c - see metrics.h.
 *
 * OpenMetrics 1.0: each family has its TYPE, UNIT and HELP once and then all its
 * samples; the samples of a counter end in _total.
 */
#include "report/metrics.h"

#include <inttypes.h>
#include <stdio.h>

#include "look/usage.h"

/* One thing that is counted of every cache, arena or thread. */
struct family {
    const char *name;
    const char *unit; /* the name ends in it; or NULL */
    bool counter;
    size_t offset; /* of the uint64_t in the row */
    const char *help;
};

static const struct family cache_families[] = {
    {"umem_cache_buffer_size_bytes", "bytes", false, offsetof(struct usage_row, use_bufsize),
     "Size of the buffers."},
    {"umem_cache_inuse_buffers", "buffers", false, offsetof(struct usage_row, use_inuse),
     "Buffers that the program has."},
    {"umem_cache_free_buffers", "buffers", false, offsetof(struct usage_row, use_cached),
     "Free buffers in magazines."},
    {"umem_cache_slab_buffers", "buffers", false, offsetof(struct usage_row, use_total),
     "Buffers in all slabs."},
    {"umem_cache_memory_bytes", "bytes", false, offsetof(struct usage_row, use_bytes),
     "Memory of the slabs."},
    {"umem_cache_allocations", NULL, true, offsetof(struct usage_row, use_allocs),
     "Allocations since the start."},
    {"umem_cache_failures", NULL, true, offsetof(struct usage_row, use_fails),
     "Allocations that failed."},
};

static const struct family arena_families[] = {
    {"umem_arena_inuse_bytes", "bytes", false, offsetof(struct heap_arena, arena_inuse),
     "What the arena has handed out."},
    {"umem_arena_size_bytes", "bytes", false, offsetof(struct heap_arena, arena_total),
     "What the arena has for that."},
    {"umem_arena_imported_bytes", "bytes", false, offsetof(struct heap_arena, arena_imported),
     "What of it came from its source."},
    {"umem_arena_allocations", NULL, true, offsetof(struct heap_arena, arena_allocs),
     "Allocations since the start."},
    {"umem_arena_failures", NULL, true, offsetof(struct heap_arena, arena_fails),
     "Allocations that failed."},
};

static const struct family thread_families[] = {
    {"umem_thread_free_buffers", "buffers", false, offsetof(struct heap_thread, thread_cached),
     "Free buffers in the thread's magazines."},
    {"umem_thread_free_bytes", "bytes", false, offsetof(struct heap_thread, thread_cached_bytes),
     "Bytes of them."},
    {"umem_thread_allocations", NULL, true, offsetof(struct heap_thread, thread_allocs),
     "Allocations that the thread's magazines served."},
};
#define COUNT(families) (sizeof(families) / sizeof((families)[0]))

static void
print_head(const struct family *family)
{
    printf("# TYPE %s %s\n", family->name, family->counter ? "counter" : "gauge");
    if (family->unit != NULL)
        printf("# UNIT %s %s\n", family->name, family->unit);
    printf("# HELP %s %s\n", family->name, family->help);
}

static void
print_sample(const struct family *family, const char *label, const char *value, const void *row)
{
    const uint64_t *number = (const uint64_t *)(const void *)((const char *)row + family->offset);

    printf("%s%s{%s=\"", family->name, family->counter ? "_total" : "", label);
    for (const char *p = value; *p != '\0'; p++)
        printf("%s%c", *p == '"' || *p == '\\' ? "\\" : "", *p);
    printf("\"} %" PRIu64 "\n", *number);
}

static void
print_caches(const struct heap *h)
{
    struct usage_row oversize = usage_of_oversize(h);

    for (size_t f = 0; f < COUNT(cache_families); f++) {
        const struct family *family = &cache_families[f];
        print_head(family);
        for (size_t i = 0; i < h->heap_cache_count; i++) {
            struct usage_row row = usage_of_cache(&h->heap_caches[i]);
            if (usage_is_used(&row))
                print_sample(family, "cache", row.use_name, &row);
        }
        /* Their size is none, and their allocations are the heap arena's. */
        if (!family->counter && family->offset != offsetof(struct usage_row, use_bufsize))
            print_sample(family, "cache", oversize.use_name, &oversize);
    }
}

void
metrics_print(const struct heap *h)
{
    char id[16];

    print_caches(h);
    for (size_t f = 0; f < COUNT(arena_families); f++) {
        print_head(&arena_families[f]);
        for (size_t i = 0; i < h->heap_arena_count; i++)
            print_sample(&arena_families[f], "arena", h->heap_arenas[i].arena_name,
                         &h->heap_arenas[i]);
    }
    for (size_t f = 0; f < COUNT(thread_families); f++) {
        print_head(&thread_families[f]);
        for (size_t i = 0; i < h->heap_thread_count; i++) {
            snprintf(id, sizeof(id), "%" PRIu32, h->heap_threads[i].thread_id);
            print_sample(&thread_families[f], "thread", id, &h->heap_threads[i]);
        }
    }
    printf("# TYPE umem_complete gauge\n"
           "# HELP umem_complete 1: all of the heap could be read.\n"
           "umem_complete %d\n"
           "# EOF\n",
           heap_is_complete(h));
}
