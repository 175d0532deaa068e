/* SPDX-License-Identifier: MIT */
/*
 * path.h - why a block is still reachable: the shortest way of pointers from a
 * root to it.
 *
 * Searched in breadth from all roots at once, by the rules of the leak finder
 * (leaks/roots.h, leaks/mark.h); for each block that is reached it is kept where
 * the pointer lies that led to it.
 */
#ifndef ANALYSE_LOOK_PATH_H
#define ANALYSE_LOOK_PATH_H

#include "heap/heap.h"
#include "leaks/roots.h"

/* A pointer on the way, and the block that it leads to. */
struct path_step {
    addr_t step_at; /* where the pointer lies; 0: in a register */
    addr_t step_value;
    struct block step_block;
};

struct path {
    enum root_kind path_root; /* what the first pointer lies in */
    bool path_register;       /* it lies in a register of path_thread */
    pid_t path_thread;        /* of a register, stack or thread-local storage, else 0 */
    struct path_step *path_steps;
    size_t path_count;
};

enum path_result { PATH_FOUND, PATH_NONE, PATH_FAILED /* no memory */ };

/*
 * Once for several questions: adds segments and mappings to the heap as the
 * leak finder does, and finds all roots.  To be finished.  -1: no memory.
 */
struct path_search {
    struct heap *psr_heap;
    struct roots psr_roots;
};
int path_begin(struct heap *h, struct path_search *search);
void path_end(struct path_search *search);
/* The way to the block that addr is in; PATH_NONE also where it is in none that is live. */
enum path_result path_find(struct path_search *search, addr_t addr, struct path *path);
void path_fini(struct path *path);

#endif
