/* SPDX-License-Identifier: MIT */
/*
 * history.h - every transaction that is known of a buffer: the two in its
 * record, and those that the transaction log still has of its address.
 */
#ifndef ANALYSE_LOOK_HISTORY_H
#define ANALYSE_LOOK_HISTORY_H

#include "heap/heap.h"

struct history {
    addr_t his_base; /* of the buffer, or the address itself where it is in none */
    bool his_has_block;
    struct block his_block;   /* valid if his_has_block */
    struct event *his_events; /* newest first; event_size is UINT64_MAX where it is not known */
    size_t his_count;
    size_t his_room;
};
#define HISTORY_SIZE_UNKNOWN UINT64_MAX

/* -1: no memory.  To be finished in any case. */
int history_find(struct heap *h, addr_t addr, struct history *history);
void history_fini(struct history *history);

#endif
