/* SPDX-License-Identifier: MIT */
/*
 * folded.h - sites as folded stacks, a line a stack, as flamegraph.pl and its
 * like read them: frames from the outermost in, ";" between them, and a number.
 */
#ifndef ANALYSE_REPORT_FOLDED_H
#define ANALYSE_REPORT_FOLDED_H

#include <stdio.h>

#include "report/sites.h"

enum folded_value { FOLDED_BYTES, FOLDED_OBJECTS, FOLDED_LEAKED_BYTES, FOLDED_LEAKED_OBJECTS };

/* False, with errno set: it could not be written. */
bool folded_write(struct heap *h, struct symboliser *s, const struct sites *sites,
                  enum folded_value value, FILE *out);

#endif
