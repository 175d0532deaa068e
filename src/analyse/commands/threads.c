/* SPDX-License-Identifier: MIT */
/*
 * threads.c - umem threads: every thread, what of the heap lies in its cache,
 * and where it is.
 */
#include "commands/commands.h"

#include <inttypes.h>
#include <stdio.h>

#include "report/block_report.h"
#include "report/format.h"
#include "report/json.h"
#include "report/open.h"

#define FRAMES_MAX 64

/* A thread of the process, of libumem, or of both. */
struct row {
    pid_t tid;
    const struct thread *thread;     /* NULL: it is gone, its cache not yet */
    const struct heap_thread *cache; /* NULL: it never used the heap */
};

static const struct thread *
find_thread(const struct heap *h, uint32_t id)
{
    const struct thread *threads;
    size_t n = target_threads(h->heap_target, &threads);

    for (size_t i = 0; i < n; i++)
        if (threads[i].thr_tid == (pid_t)id)
            return &threads[i];
    return NULL;
}

static const struct heap_thread *
find_cache(const struct heap *h, pid_t tid)
{
    for (size_t i = 0; i < h->heap_thread_count; i++)
        if ((pid_t)h->heap_threads[i].thread_id == tid)
            return &h->heap_threads[i];
    return NULL;
}

/* The row of number i: threads of the process first, then caches of others. */
static bool
row_at(const struct heap *h, size_t i, struct row *row)
{
    const struct thread *threads;
    size_t n = target_threads(h->heap_target, &threads);

    if (i < n) {
        *row = (struct row){threads[i].thr_tid, &threads[i], find_cache(h, threads[i].thr_tid)};
        return true;
    }
    for (size_t k = 0, left = i - n; k < h->heap_thread_count; k++) {
        uint32_t id = h->heap_threads[k].thread_id;
        if (find_thread(h, id) == NULL && left-- == 0) {
            *row = (struct row){(pid_t)id, NULL, &h->heap_threads[k]};
            return true;
        }
    }
    return false;
}

static size_t
unwind(const struct look *look, const struct row *row, addr_t frames[FRAMES_MAX])
{
    if (row->thread == NULL || !row->thread->thr_stopped)
        return 0;
    return target_unwind(look->look_heap->heap_target, row->thread, frames, FRAMES_MAX);
}

static void
print_row(const struct look *look, const struct row *row, bool stacks)
{
    addr_t frames[FRAMES_MAX];
    bool color = look->look_options->opt_color;
    size_t n = unwind(look, row, frames);

    printf("%s%-10d%s %11s %8s %15s", style_bold(color), (int)row->tid, style_end(color),
           row->cache != NULL ? format_count(row->cache->thread_cached).s : "-",
           row->cache != NULL ? format_size(row->cache->thread_cached_bytes).s : "-",
           row->cache != NULL ? format_count(row->cache->thread_allocs).s : "-");
    if (row->thread == NULL)
        puts("  (gone)");
    else if (n == 0)
        puts("  (not stopped)");
    else
        stack_print(look->look_symbols, frames, 1, true, 2, color);
    if (stacks && n > 0)
        stack_print(look->look_symbols, frames, n, true, 6, color);
}

static json_t *
row_json(const struct look *look, const struct row *row)
{
    addr_t frames[FRAMES_MAX];
    size_t n = unwind(look, row, frames);
    json_t *out = json_object();

    json_set_count(out, "thread", (uint64_t)row->tid);
    json_object_set_new(out, "gone", json_boolean(row->thread == NULL));
    json_set_count(out, "cached", row->cache != NULL ? row->cache->thread_cached : 0);
    json_set_count(out, "cached_bytes", row->cache != NULL ? row->cache->thread_cached_bytes : 0);
    json_set_count(out, "allocs", row->cache != NULL ? row->cache->thread_allocs : 0);
    json_object_set_new(out, "stack", stack_json(look->look_symbols, frames, n, true));
    return out;
}

static int
look_at(const struct look *look, void *arg)
{
    const bool *stacks = arg;
    bool color = look->look_options->opt_color;
    struct row row;

    if (look->look_options->opt_format == FORMAT_JSON) {
        json_t *out = json_begin(look->look_heap);
        json_t *threads = json_array();
        for (size_t i = 0; row_at(look->look_heap, i, &row); i++)
            json_array_append_new(threads, row_json(look, &row));
        json_object_set_new(out, "threads", threads);
        json_finish(out);
        return COMMAND_CLEAN;
    }
    incomplete_print(look->look_heap, color);
    printf("%s%-10s %11s %8s %15s  %s%s\n", style_bold(color), "thread", "cached", "bytes",
           "allocations", "where it is", style_end(color));
    for (size_t i = 0; row_at(look->look_heap, i, &row); i++)
        print_row(look, &row, *stacks);
    return COMMAND_CLEAN;
}

int
command_threads(int argc, char **argv)
{
    bool stacks = false;
    const struct option_row rows[] = {
        {"stacks", 's', OPTION_FLAG, &stacks, NULL, "the whole stack of each", NULL}, {0}};
    const struct command_spec spec = {
        .cmd_name = "threads",
        .cmd_usage = "TARGET",
        .cmd_summary = "List threads: what each has of the heap in its cache, and where it is",
        .cmd_description = "Cached: free buffers in the thread's magazines. Allocations: those\n"
                           "served from there.\n",
        .cmd_rows = rows,
        .cmd_shared = SHARED_FORMAT | SHARED_EXE | SHARED_COLOR | SHARED_SELF,
        .cmd_min_args = 1,
        .cmd_max_args = 1};
    struct command_options options;
    int code = options_parse(&spec, argc, argv, &options);

    return code != OPTIONS_GO ? code
                              : report_look("threads", options.opt_argv[0], &options, OPEN_STOPPED,
                                            look_at, &stacks);
}
