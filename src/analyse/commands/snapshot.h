/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - what umem snapshot and umem core have in common: both write a
 * core file of a process that runs on.
 */
#ifndef ANALYSE_COMMANDS_SNAPSHOT_H
#define ANALYSE_COMMANDS_SNAPSHOT_H

#include <stdbool.h>

struct snapshot_verb {
    const char *verb_name; /* "snapshot"; the file is snapshot.PID if no other is named */
    const char *verb_output;
    const char *verb_summary;
    const char *verb_description;
    bool verb_all; /* what the analyser does not need, too */
};

/* Such a verb's command_*(): reads its arguments, does it, returns what it exits with. */
int snapshot_command(const struct snapshot_verb *verb, int argc, char **argv);

#endif
