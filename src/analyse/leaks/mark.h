/* SPDX-License-Identifier: MIT */
/*
 * mark.h - conservative marking: which blocks can be reached.
 *
 * An aligned word whose value lies in a live block reaches it.  Blocks that
 * are reached are scanned in turn, by an explicit stack.  Free memory is never
 * scanned.  Large heaps are marked by as many threads as there are processors.
 */
#ifndef ANALYSE_LEAKS_MARK_H
#define ANALYSE_LEAKS_MARK_H

#include "heap/heap.h"
#include "leaks/roots.h"

struct marker {
    struct heap *m_heap;
    uint64_t *m_unreached; /* a bit a block: live, and not reached so far */
    bool m_start_only;     /* only pointers to a block's start count */
    bool m_failed;         /* no memory */
    uint64_t m_scanned;    /* bytes */
    void (*m_progress)(void *arg, uint64_t scanned); /* or NULL */
    void *m_progress_arg;
};

/* -1: no memory. */
int marker_init(struct marker *m, struct heap *h, bool start_only);
void marker_fini(struct marker *m);
/*
 * Marks from all roots: registers, then roots, then what hangs on them.
 * m_progress is called by the calling thread only.
 */
void marker_run(struct marker *m, const struct roots *roots);

/*
 * Calls fn for each aligned word of [start, end) that can be read and may be
 * an address of the heap, until it returns false.
 */
typedef bool scan_fn(void *arg, addr_t at, addr_t value);
void scan_words(struct heap *h, addr_t start, addr_t end, scan_fn *fn, void *arg);

#endif
