/* SPDX-License-Identifier: MIT */
/*
 * arenas.c - umem arenas: the vmem arenas, each below the one that it imports from.
 */
#include "commands/commands.h"

#include <inttypes.h>
#include <stdio.h>

#include "report/block_report.h"
#include "report/format.h"
#include "report/json.h"
#include "report/open.h"
#include "report/usage_report.h"

#define NAME_COLUMN 30
#define INDENT 2
/* A circle of sources is damage; nobody stacks arenas deeper. */
#define DEPTH_MAX 16

static void
print_arena(const struct heap *h, const struct heap_arena *arena, int depth)
{
    printf("0x%-12" PRIx64 " %*s%-*s %9s %9s %9s %13s %7s\n", arena->arena_addr, depth * INDENT, "",
           NAME_COLUMN - depth * INDENT, arena->arena_name, format_size(arena->arena_inuse).s,
           format_size(arena->arena_total).s, format_size(arena->arena_imported).s,
           format_count(arena->arena_allocs).s, format_count(arena->arena_fails).s);
    for (size_t i = 0; depth < DEPTH_MAX && i < h->heap_arena_count; i++)
        if (h->heap_arenas[i].arena_source == arena->arena_addr)
            print_arena(h, &h->heap_arenas[i], depth + 1);
}

static int
look_at(const struct look *look, void *arg)
{
    const struct heap *h = look->look_heap;
    bool color = look->look_options->opt_color;

    (void)arg;
    if (look->look_options->opt_format == FORMAT_JSON) {
        json_t *out = json_begin(h);
        json_object_set_new(out, "arenas", usage_arenas_json(h));
        json_finish(out);
        return COMMAND_CLEAN;
    }
    incomplete_print(h, color);
    printf("%s%-14s %-*s %9s %9s %9s %13s %7s%s\n", style_bold(color), "address", NAME_COLUMN,
           "arena", "in use", "total", "imported", "allocations", "failed", style_end(color));
    for (size_t i = 0; i < h->heap_arena_count; i++)
        if (usage_arena_name(h, h->heap_arenas[i].arena_source)[0] == '\0')
            print_arena(h, &h->heap_arenas[i], 0);
    return COMMAND_CLEAN;
}

int
command_arenas(int argc, char **argv)
{
    const struct command_spec spec = {
        .cmd_name = "arenas",
        .cmd_usage = "TARGET",
        .cmd_summary = "List vmem arenas, each below the one that it imports from",
        .cmd_description = "In use: what the arena has handed out. Total: what it has for that.\n"
                           "Imported: what of that came from its source. In units of 1024.\n",
        .cmd_shared = SHARED_FORMAT | SHARED_EXE | SHARED_COLOR | SHARED_SELF,
        .cmd_min_args = 1,
        .cmd_max_args = 1};
    struct command_options options;
    int code = options_parse(&spec, argc, argv, &options);

    return code != OPTIONS_GO
               ? code
               : report_look("arenas", options.opt_argv[0], &options, OPEN_STOPPED, look_at, NULL);
}
