/* SPDX-License-Identifier: MIT */
/*
 * line.h - reads the lines of an interactive shell: with history and
 * completion where the command was built with libedit, else as they come.
 */
#ifndef ANALYSE_SHELL_LINE_H
#define ANALYSE_SHELL_LINE_H

#include "shell/shell.h"

struct line_reader;

/* NULL: no memory. */
struct line_reader *line_open(struct shell *sh);
void line_close(struct line_reader *reader);
/*
 * The next line without its end, which holds until the next call; NULL at the
 * end of the input.  An interrupt gives an empty line.
 */
const char *line_next(struct line_reader *reader);

/* --- complete.c --- */

/*
 * What the text can go on with: the names that fit what stands before its end
 * (commands behind "::", walkers behind "::walk ", ...), one a call of fn.
 * Returns how much of the end of the text they all begin with.
 */
size_t complete(struct shell *sh, const char *text, void (*fn)(void *arg, const char *name),
                void *arg);

#endif
