/* SPDX-License-Identifier: MIT */
/*
 * open.h - opens a target and its heap for a verb, with the messages that all
 * verbs share.
 */
#ifndef ANALYSE_REPORT_OPEN_H
#define ANALYSE_REPORT_OPEN_H

#include "commands/options.h"
#include "heap/heap.h"
#include "report/stacks.h"

/* How a live process is kept from changing while it is looked at. */
enum open_hold {
    OPEN_STOPPED, /* it stands still until the target is closed or resumed */
    OPEN_COPIED,  /* its memory is taken over, so that it runs on */
    OPEN_FORKED   /* the kernel makes a copy, where it can: for a look at a part of it */
};

/*
 * HEAP_FAILED: one line was printed on stderr, nothing is open.  Else close
 * with report_close().  HEAP_NONE: the library has not been used yet; *why is
 * a line that says so.
 */
enum heap_read report_open(const char *verb, const char *name,
                           const struct command_options *options, enum open_hold hold,
                           struct heap *h, const char **why);
void report_close(struct heap *h);
/*
 * name is NULL, or of a cache.  Else false, after one line on stderr that says
 * how to list those there are.
 */
bool report_has_cache(const char *verb, const struct heap *h, const char *name);

/* What a verb that only looks at a heap works with. */
struct look {
    struct heap *look_heap;
    struct symboliser *look_symbols;
    const struct command_options *look_options;
    const char *look_unused; /* a line that says that the heap was never used, or NULL */
};

/*
 * Opens the target, has fn look at it, and closes it again.  Returns what fn
 * does, COMMAND_TROUBLE where it came to nothing.
 */
int report_look(const char *verb, const char *name, const struct command_options *options,
                enum open_hold hold, int (*fn)(const struct look *look, void *arg), void *arg);

#endif
