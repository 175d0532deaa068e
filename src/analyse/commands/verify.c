/* SPDX-License-Identifier: MIT */
/*
 * verify.c - umem verify: whether the heap of a core or a live process is
 * sound, before the program itself notices that it is not.
 */
#include "commands/commands.h"
#include "look/verify.h"
#include "report/verify_report.h"

static const char description[] =
    "Under guards (UMEM_DEBUG=guards) everything is looked at that the library wrote into and\n"
    "round each buffer: fills of freed ones, bytes before and behind live ones, tags, records.\n"
    "Without, only whether the lists of free buffers agree with each other; a buffer that was\n"
    "freed twice shows in them. Of glibc's own heap: whether chunks follow one another, and\n"
    "whether the lists of free ones hold together. A live process is stopped for some\n"
    "milliseconds, while it is copied.\n"
    "Exit code: 0 clean, 1 there are problems, 2 the target could not be read.\n";

struct arguments {
    const char *cache;
    bool all;
};

static int
look_at(const struct look *look, void *arg)
{
    const struct arguments *args = arg;
    struct verification v = {0};
    int code = COMMAND_CLEAN;

    if (look->look_unused == NULL && !report_has_cache("verify", look->look_heap, args->cache))
        return COMMAND_TROUBLE;
    if (look->look_unused == NULL && verify_heap(look->look_heap, args->cache, &v) != 0)
        code = command_error("verify: not enough memory");
    else if (look->look_options->opt_format == FORMAT_JSON)
        verify_report_json(look, &v);
    else
        verify_report_text(look, &v, args->cache, args->all);
    if (code == COMMAND_CLEAN && v.ver_count > 0)
        code = COMMAND_FOUND;
    verify_fini(&v);
    return code;
}

int
command_verify(int argc, char **argv)
{
    struct arguments args = {0};
    const struct option_row rows[] = {
        {"cache", 0, OPTION_STRING, &args.cache, "NAME", "only this cache, say umem_alloc_64",
         NULL},
        {"all", 'a', OPTION_FLAG, &args.all, NULL, "also list caches without buffers", NULL},
        {0}};
    const struct command_spec spec = {.cmd_name = "verify",
                                      .cmd_usage = "TARGET",
                                      .cmd_summary = "Check that the heap is not corrupt",
                                      .cmd_description = description,
                                      .cmd_rows = rows,
                                      .cmd_shared = SHARED_TARGET,
                                      .cmd_min_args = 1,
                                      .cmd_max_args = 1};
    struct command_options options;
    int code = options_parse(&spec, argc, argv, &options);

    if (code != OPTIONS_GO)
        return code;
    return report_look("verify", options.opt_argv[0], &options, OPEN_COPIED, look_at, &args);
}
