/* SPDX-License-Identifier: MIT */
/*
 * core.c - umem core: a core file of a process that runs on, for gdb too.
 */
#include "commands/commands.h"
#include "commands/snapshot.h"

int
command_core(int argc, char **argv)
{
    static const struct snapshot_verb core = {
        .verb_name = "core",
        .verb_output = "where to (./core.PID)",
        .verb_summary = "Write a core file of a process, which runs on",
        .verb_description =
            "As gcore does, and with less of a stop: some milliseconds. Pages that\n"
            "cannot be read, such as guard regions, are left out, and their neighbours are not.\n"
            "gdb opens the file, and it is TARGET for the other verbs.\n",
        .verb_all = true};

    return snapshot_command(&core, argc, argv);
}
