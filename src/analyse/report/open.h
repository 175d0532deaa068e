/* SPDX-License-Identifier: MIT */
/*
 * open.h - opens a target and its heap for a verb, with the messages that all
 * verbs share.
 */
#ifndef ANALYSE_REPORT_OPEN_H
#define ANALYSE_REPORT_OPEN_H

#include "commands/options.h"
#include "heap/heap.h"

/*
 * HEAP_FAILED: one line was printed on stderr, nothing is open.  Else close
 * with report_close().  HEAP_NONE: the library has not been used yet; *why is
 * a line that says so.  copy: let a live process run on meanwhile.
 */
enum heap_read report_open(const char *verb, const char *name,
                           const struct command_options *options, bool copy, struct heap *h,
                           const char **why);
void report_close(struct heap *h);

#endif
