/* SPDX-License-Identifier: MIT */
/*
 * page.h - sites as one HTML file that needs nothing else: the page that was
 * put together when umem was built (src/analyse/page), with the data in it.
 *
 * The data is JSON of these keys.  Tables are flat lists of numbers, so that a
 * million blocks from thousands of stacks stay small; names are places in
 * "strings".
 *
 *   target, time, version, audit, complete, incomplete
 *   buffers, bytes, leaked, leaked_bytes      sums
 *   functions   name, module, file; name, module, file; ...
 *   frames      place in functions, line; ...
 *   nodes       number of the calling node, place in frames; ...; node 0, the
 *               root, is not among them: the first pair is node 1
 *   sites       an object of lists: node, cache, buffers, bytes, leaked, leaked_bytes, and
 *               oldest, the age in seconds of the oldest, or -1
 *   caches      lists of name, size of a buffer, in use, cached, total, bytes
 */
#ifndef ANALYSE_REPORT_PAGE_H
#define ANALYSE_REPORT_PAGE_H

#include <stdio.h>

#include "report/sites.h"

/* The page without data, to be freed.  NULL, with why in one line that says what to do. */
char *page_load(char *why, size_t size);

/* False, with errno set: it could not be written. */
bool page_write(const char *page, struct heap *h, struct symboliser *s, const struct sites *sites,
                FILE *out);

#endif
