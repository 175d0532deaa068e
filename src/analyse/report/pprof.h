/* SPDX-License-Identifier: MIT */
/*
 * pprof.h - sites as a profile in pprof's format: a gzipped protocol buffer
 * with raw addresses, mappings and build ids, symbolised as far as we can.
 *
 * Each sample has four values: objects and bytes in use, objects and bytes
 * leaked; and labels: the cache, the mean size of a block, the kind of leak.
 */
#ifndef ANALYSE_REPORT_PPROF_H
#define ANALYSE_REPORT_PPROF_H

#include <stdio.h>

#include "report/sites.h"

/* False, with errno set: it could not be written. */
bool pprof_write(struct heap *h, struct symboliser *s, const struct sites *sites, FILE *out);

#endif
