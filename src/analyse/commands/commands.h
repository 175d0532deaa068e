/* SPDX-License-Identifier: MIT */
/*
 * commands.h - the verbs of the umem command, one file each in this folder.
 *
 * A verb is int command_<verb>(argc, argv), argv[0] being the verb itself, and
 * returns the exit code of the process.  It describes its options in a table
 * and calls options_parse (options.h), which also answers --help.  Results go
 * to stdout; errors to stderr by command_error, one line that says what to do.
 */
#ifndef ANALYSE_COMMANDS_H
#define ANALYSE_COMMANDS_H

#include "commands/options.h"

/* What every verb exits with, so that a CI job can tell the cases apart. */
enum command_exit {
    COMMAND_CLEAN = 0,  /* done, nothing found to complain of */
    COMMAND_FOUND = 1,  /* done, and there are leaks, problems, ... */
    COMMAND_TROUBLE = 2 /* wrong usage, or the target could not be read */
};

int command_run(int argc, char **argv);
int command_leaks(int argc, char **argv);
int command_status(int argc, char **argv);
int command_stat(int argc, char **argv);
int command_log(int argc, char **argv);
int command_report(int argc, char **argv);
int command_whatis(int argc, char **argv);
int command_stacks(int argc, char **argv);
int command_caches(int argc, char **argv);
int command_arenas(int argc, char **argv);
int command_threads(int argc, char **argv);
int command_users(int argc, char **argv);
int command_sizes(int argc, char **argv);
int command_history(int argc, char **argv);
int command_snapshot(int argc, char **argv);
int command_core(int argc, char **argv);
int command_diff(int argc, char **argv);
int command_top(int argc, char **argv);
int command_grep(int argc, char **argv);
int command_verify(int argc, char **argv);
int command_shell(int argc, char **argv);

#endif
