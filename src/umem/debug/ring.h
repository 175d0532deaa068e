/* SPDX-License-Identifier: MIT */
/*
 * ring.h - the message ring: the last text of reports and messages, kept in
 * the process so that an analyser finds it in a core.
 *
 * Writers own the log (debug/log.h, UMEM_RANK_LOG); ring_head counts every
 * byte ever written, so the newest byte is ring_text[(ring_head - 1) % size].
 */
#ifndef UMEM_RING_H
#define UMEM_RING_H

#include "base/base.h"

/* Bytes: a report with three stacks of 64 frames, 80 bytes a line, fits. */
#define UMEM_RING_SIZE 16384

struct umem_ring {
    uint64_t ring_head;
    char ring_text[UMEM_RING_SIZE];
};
extern struct umem_ring umem_ring;

/* Appends text; the caller owns the log. (AS) */
void umem_ring_write(const char *text, size_t size);

#endif
