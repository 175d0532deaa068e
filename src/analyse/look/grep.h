/* SPDX-License-Identifier: MIT */
/*
 * grep.h - looks for a value in all memory of the target that can be read, and
 * in the registers of its threads: who holds this pointer?
 */
#ifndef ANALYSE_LOOK_GREP_H
#define ANALYSE_LOOK_GREP_H

#include "heap/heap.h"

struct grep_options {
    uint64_t grp_value;
    uint64_t grp_mask;     /* bits that are compared; without a distance */
    uint64_t grp_distance; /* of the values that count, from grp_value on; 0: that one alone */
    unsigned grp_size;     /* bytes of what is looked for, at multiples of it: 1, 2, 4 or 8 */
    addr_t grp_from;       /* memory to look at; registers only where this is all of it */
    addr_t grp_to;
};

struct grep_hit {
    addr_t hit_addr; /* 0: a register */
    uint64_t hit_value;
    pid_t hit_thread; /* of the register */
};

/* Calls fn for each until it returns false. */
typedef bool grep_fn(void *arg, const struct grep_hit *hit);
/* -1: no memory. */
int grep_target(struct heap *h, const struct grep_options *options, grep_fn *fn, void *arg);
/* Has the options look for pointers into the block that addr is in.  False: it is in none. */
bool grep_into_block(struct heap *h, addr_t addr, struct grep_options *options);

#endif
