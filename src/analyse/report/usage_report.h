/* SPDX-License-Identifier: MIT */
/*
 * usage_report.h - tables of caches, arenas and threads, as text and as arrays
 * of JSON: what umem stat prints, and the verbs for one of the three.
 */
#ifndef ANALYSE_REPORT_USAGE_REPORT_H
#define ANALYSE_REPORT_USAGE_REPORT_H

#include <jansson.h>

#include "heap/heap.h"
#include "report/stacks.h"

/* all: also caches that were never used. */
void usage_print_caches(const struct heap *h, bool all, bool color);
void usage_print_arenas(const struct heap *h, bool color);
void usage_print_threads(const struct heap *h, bool color);

json_t *usage_caches_json(const struct heap *h);
json_t *usage_arenas_json(const struct heap *h);
json_t *usage_threads_json(const struct heap *h);

/* The name of an arena by its address; "" where it has none. */
const char *usage_arena_name(const struct heap *h, addr_t arena);

#endif
