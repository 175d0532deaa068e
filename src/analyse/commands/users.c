/* SPDX-License-Identifier: MIT */
/*
 * users.c - umem users: who has the memory.
 */
#include "commands/commands.h"

#include <stdlib.h>

#include "report/users_report.h"

static const char description[] =
    "Live buffers are grouped by the stack that allocated them, the largest groups first. Who\n"
    "allocated is known of programs that run under UMEM_DEBUG=audit; else they are grouped by\n"
    "cache. Groups of less than 4 KiB and less than 100 buffers are left out unless -e is given.\n";

struct arguments {
    struct option_list caches;
    size_t since;
    struct users_view view;
};

static int
look_at(const struct look *look, void *arg)
{
    const struct arguments *args = arg;
    const struct users_options options = {
        .usr_caches = args->caches.list_items,
        .usr_cache_count = args->caches.list_count,
        .usr_addresses = look->look_options->opt_max,
        .usr_after = args->since != 0 ? heap_after(look->look_heap, args->since) : 0};
    struct leaks users;

    for (size_t i = 0; i < args->caches.list_count; i++)
        if (!report_has_cache("users", look->look_heap, args->caches.list_items[i]))
            return COMMAND_TROUBLE;
    if (users_find(look->look_heap, &options, &users) != 0) {
        leaks_fini(&users);
        return command_error("users: not enough memory");
    }
    if (look->look_options->opt_format == FORMAT_JSON)
        users_report_json(look, &users);
    else
        users_report_text(look, &users, &args->view);
    leaks_fini(&users);
    return COMMAND_CLEAN;
}

int
command_users(int argc, char **argv)
{
    struct arguments args = {0};
    const struct option_row rows[] = {
        {"cache", 0, OPTION_LIST, &args.caches, "NAME", "only this cache; may be repeated", NULL},
        SINCE_ROW(&args.since),
        {"small", 'e', OPTION_FLAG, &args.view.usv_small, NULL, "also small groups", NULL},
        {"each", 'f', OPTION_FLAG, &args.view.usv_each, NULL, "also each allocation", NULL},
        {0}};
    const struct command_spec spec = {.cmd_name = "users",
                                      .cmd_usage = "TARGET",
                                      .cmd_summary = "Tell who has the memory, by allocating stack",
                                      .cmd_description = description,
                                      .cmd_rows = rows,
                                      .cmd_shared = SHARED_TARGET,
                                      .cmd_min_args = 1,
                                      .cmd_max_args = 1};
    struct command_options options;
    int code = options_parse(&spec, argc, argv, &options);

    if (code == OPTIONS_GO)
        code = report_look("users", options.opt_argv[0], &options, OPEN_COPIED, look_at, &args);
    free(args.caches.list_items);
    return code;
}
