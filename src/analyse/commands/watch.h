/* SPDX-License-Identifier: MIT */
/*
 * watch.h - runs a program as a child, looks for its leaks when it exits, and
 * ends as it did: what umem run --leaks adds to umem run.
 */
#ifndef ANALYSE_COMMANDS_WATCH_H
#define ANALYSE_COMMANDS_WATCH_H

#include "commands/leaks.h"

/* As env(1), nohup(1), timeout(1) have them. */
enum run_exit {
    RUN_TROUBLE = 125,     /* we failed ourselves */
    RUN_NOT_STARTED = 126, /* found, but could not be executed */
    RUN_NOT_FOUND = 127
};

struct watch_options {
    bool watch_fail; /* leaks make the exit code */
    int watch_code;  /* this one */
    const struct leak_options *watch_find;
    struct command_options *watch_common;
};

/* Adds an item to UMEM_OPTIONS, for the program.  False: no memory. */
bool watch_add_option(const char *item);

/* Says why a program was not executed; returns the exit code. */
int watch_not_started(const char *program, int error);

/*
 * argv: the program and its arguments; the environment is set but for what
 * only the child can know.  Returns the exit code, or ends by the program's
 * signal.
 */
int watch_program(const struct watch_options *options, char **argv);

#endif
