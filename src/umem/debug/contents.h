/* SPDX-License-Identifier: MIT */
/*
 * contents.h - the contents log: the first bytes of freed buffers as they
 * were, so that a report of a write after free can show what was overwritten,
 * and an analyser what a freed buffer held.
 */
#ifndef UMEM_CONTENTS_H
#define UMEM_CONTENTS_H

#include "base/base.h"

struct umem_contents_slot {
    _Atomic uint32_t slot_busy; /* 1: somebody reads or writes it */
    uint32_t slot_size;         /* bytes kept */
    uint64_t slot_ticket;       /* rises with every free; 0 never used */
    const void *slot_addr;      /* of the buffer; NULL: no record */
    char slot_bytes[];
};

struct umem_contents {
    char *_Atomic con_log; /* NULL: nothing was freed yet */
    /* Set once, before con_log: slots, and bytes of one. */
    size_t con_slots;
    size_t con_slot_size;
};
extern struct umem_contents umem_contents;

/* Keeps the first opt_contents_bytes of a buffer that is being freed, at most size. */
void umem_contents_log(const void *addr, size_t size);
/*
 * Copies what the log still has of the newest free of addr, from offset on, at
 * most size bytes; returns how many, 0 where nothing is left.  Waits for
 * nothing. (AS)
 */
size_t umem_contents_find(const void *addr, size_t offset, void *to, size_t size);
/* In the child of a fork: slots that another thread was busy with are free. */
void umem_contents_fork_child(void);

#endif
