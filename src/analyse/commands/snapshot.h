/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - what umem snapshot and umem core have in common: both write a
 * core file of a process that runs on.
 */
#ifndef ANALYSE_COMMANDS_SNAPSHOT_H
#define ANALYSE_COMMANDS_SNAPSHOT_H

#include "commands/options.h"

/* verb: "core" or "snapshot"; file: of -o, or NULL.  Returns what the verb exits with. */
int snapshot_take(const char *verb, const struct command_options *options, const char *file);

#endif
