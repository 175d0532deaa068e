/* SPDX-License-Identifier: MIT */
/*
 * text.h - a report's text on its way out: gathered in one static buffer, so
 * that it leaves in few writes and needs neither heap nor much stack.  For
 * the log's owner only.
 */
#ifndef UMEM_TEXT_H
#define UMEM_TEXT_H

#include "base/base.h"

/* Appends; a piece of more than UMEM_TEXT_PIECE characters is cut. */
#define UMEM_TEXT_PIECE 511
void umem_text_add(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Writes what was gathered to the ring and to standard error. */
void umem_text_flush(void);

/* A line a frame, symbolised. */
void umem_text_stack(const uintptr_t *frames, uint32_t depth);
/*
 * The bytes of [from, from + size) in rows of 16, called offset (modulo 2^N: it
 * may be negative) and up, behind a heading line.
 */
void umem_text_bytes(const char *heading, const char *from, size_t offset, size_t size);

#endif
