/* SPDX-License-Identifier: MIT */
/*
 * whatis.h - what an address belongs to.
 */
#ifndef ANALYSE_LEAKS_WHATIS_H
#define ANALYSE_LEAKS_WHATIS_H

#include "heap/heap.h"

enum what_kind {
    WHAT_UNKNOWN,
    WHAT_BUFFER,
    WHAT_FREE_BUFFER,
    WHAT_STACK,
    WHAT_GUARD,
    WHAT_MAPPING
};

struct what {
    addr_t what_addr;
    enum what_kind what_kind;
    addr_t what_base; /* of the buffer, stack, guard or mapping; 0 unknown */
    uint64_t what_size;
    struct block what_block;
    struct block_info what_info; /* valid where what_has_info */
    bool what_has_info;
    pid_t what_thread;   /* of a stack, 0 none */
    char what_note[300]; /* "text of libc.so.6", "the library's own records", ... */
};

/* The heap is open and sealed. */
void whatis(struct heap *h, addr_t addr, struct what *what);

#endif
