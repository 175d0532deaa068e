/* SPDX-License-Identifier: MIT */
/*
 * place.h - an address in words, on one line: "umem_alloc_64 buffer 0x7f..40+0x8",
 * "stack of thread 4711", "data of prog, table+0x10".
 */
#ifndef ANALYSE_REPORT_PLACE_H
#define ANALYSE_REPORT_PLACE_H

#include "leaks/whatis.h"

#define PLACE_TEXT_MAX 400
void place_describe(struct heap *h, addr_t addr, char *out, size_t size);
/* The kinds of whatis.h as JSON has them. */
const char *place_kind_name(enum what_kind kind);

#endif
