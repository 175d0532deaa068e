/* SPDX-License-Identifier: MIT */
/*
 * core.c - umem core: a core file of a process that runs on, for gdb too.
 */
#include "commands/commands.h"
#include "commands/snapshot.h"

int
command_core(int argc, char **argv)
{
    const char *file = NULL;
    const struct option_row rows[] = {
        {"output", 'o', OPTION_STRING, &file, "FILE", "where to (./core.PID)", NULL}, {0}};
    const struct command_spec spec = {
        .cmd_name = "core",
        .cmd_usage = "PID",
        .cmd_summary = "Write a core file of a process, which runs on",
        .cmd_description =
            "As gcore does, and with less of a stop: some milliseconds. Pages that\n"
            "cannot be read, such as guard regions, are left out, and their neighbours are not.\n"
            "gdb opens the file, and it is TARGET for the other verbs.\n",
        .cmd_rows = rows,
        .cmd_shared = SHARED_FORMAT | SHARED_SELF,
        .cmd_min_args = 1,
        .cmd_max_args = 1};
    struct command_options options;
    int code = options_parse(&spec, argc, argv, &options);

    return code != OPTIONS_GO ? code : snapshot_take("core", &options, file);
}
