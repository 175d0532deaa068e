/* SPDX-License-Identifier: MIT */
/*
 * number.h - numbers as options and commands spell them.
 */
#ifndef UMEM_NUMBER_H
#define UMEM_NUMBER_H

#include "base/base.h"

/*
 * The number that the whole of text is: base 10, digits only, with one suffix
 * k, m, g or t (powers of 1024) of either case where those are allowed.  False:
 * it is none, or too large.
 */
bool umem_parse_number(const char *text, size_t length, bool suffixes, uint64_t *result);

#endif
