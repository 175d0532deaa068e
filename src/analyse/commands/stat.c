/* SPDX-License-Identifier: MIT */
/*
 * stat.c - umem stat: usage by cache, by arena and by thread.
 *
 * The tables and their JSON are usage_report.h's.
 */
#include "commands/commands.h"

#include <stdio.h>

#include "report/block_report.h"
#include "report/json.h"
#include "report/metrics.h"
#include "report/open.h"
#include "report/usage_report.h"

static void
print_json(const struct heap *h)
{
    json_t *out = json_begin(h);

    json_object_set_new(out, "caches", usage_caches_json(h));
    json_object_set_new(out, "arenas", usage_arenas_json(h));
    json_object_set_new(out, "threads", usage_threads_json(h));
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
    usage_print_caches(h, all, color);
    putchar('\n');
    usage_print_arenas(h, color);
    if (h->heap_thread_count > 0)
        putchar('\n');
    usage_print_threads(h, color);
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
        .cmd_openmetrics = true,
        .cmd_shared = SHARED_FORMAT | SHARED_EXE | SHARED_COLOR | SHARED_SELF,
        .cmd_min_args = 1,
        .cmd_max_args = 1};
    struct command_options options;
    struct heap h;
    const char *why;
    int code = options_parse(&spec, argc, argv, &options);

    if (code != OPTIONS_GO)
        return code;
    enum heap_read status =
        report_open("stat", options.opt_argv[0], &options, OPEN_STOPPED, &h, &why);
    if (status == HEAP_FAILED)
        return COMMAND_TROUBLE;
    if (options.opt_format == FORMAT_JSON)
        print_json(&h);
    else if (options.opt_format == FORMAT_OPENMETRICS)
        metrics_print(&h);
    else
        print_text(&h, status == HEAP_NONE ? why : NULL, all, options.opt_color);
    report_close(&h);
    return COMMAND_CLEAN;
}
