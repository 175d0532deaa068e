/* SPDX-License-Identifier: MIT */
/*
 * nearest.h - the blocks next to an address that lies in none: whose end an
 * access may have run off, where a page that is not there stopped it.
 *
 * Runs in a signal handler: reads the page map and records without a lock.
 * Others may be changing what it reads; whoever is blamed wrongly then lost a
 * race with the thread that faults.
 */
#ifndef UMEM_NEAREST_H
#define UMEM_NEAREST_H

#include "debug/debug.h"

/* A block, live or freed, and the memory that the heap gave for it, which others may share. */
struct umem_nearest {
    struct umem_buffer near_buffer; /* buf_space is what the program asked for */
    uintptr_t near_start;
    uintptr_t near_end;
    bool near_guarded; /* behind a firewall: nobody runs off it unstopped */
};

/* The one that ends nearest below addr, or begins nearest above it.  False: there is none.  (AS) */
bool umem_nearest_below(uintptr_t addr, struct umem_nearest *found);
bool umem_nearest_above(uintptr_t addr, struct umem_nearest *found);
/*
 * Reports an access that no block's own record explains: past the end or before
 * the start of the block that it is next to, or as one of which nothing is
 * known, where the heap is thereabouts.  Says nothing of others, nor where a
 * thread has run off its stack.  (AS)
 */
void umem_nearest_explain(const struct os_fault *fault);

#endif
