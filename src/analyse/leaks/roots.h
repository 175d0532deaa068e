/* SPDX-License-Identifier: MIT */
/*
 * roots.h - sorts the target's memory into what the program holds by itself
 * (roots), what must be pointed at to count (nodes), and what is neither.
 *
 * Roots: writable data of every module, and what the loader protected of it,
 * thread-local storage, each thread's stack from its stack pointer less the red
 * zone up, named and shared writable mappings, and constructed objects that lie
 * in magazines, for what their constructor allocated.  (Registers are roots
 * too: see mark.h.)
 * Nodes: blocks of the heap, and unnamed private mappings outside it.
 * Neither: the allocator's own data and memory, what lies below a stack
 * pointer, stacks of threads that are gone and that libc keeps for reuse, free
 * memory.
 */
#ifndef ANALYSE_LEAKS_ROOTS_H
#define ANALYSE_LEAKS_ROOTS_H

#include "heap/heap.h"

enum root_kind { ROOT_DATA, ROOT_STACK, ROOT_TLS, ROOT_MAPPING, ROOT_OBJECT };

struct root {
    addr_t root_start;
    addr_t root_end;
    enum root_kind root_kind;
    pid_t root_thread; /* of a stack or thread-local storage, else 0 */
};

struct roots {
    struct root *list;
    size_t count;
    size_t room;
    /* Blocks of the heap that are a stack in use: held, and scanned only as a root. */
    addr_t *stacks;
    size_t stack_count;
    bool failed; /* no memory */
};

/*
 * Fills roots, and adds the program's own mappings to the heap as regions,
 * which are then to be indexed by heap_seal().
 */
void roots_find(struct heap *h, struct roots *roots);
void roots_fini(struct roots *roots);
/*
 * Calls fn for each word of the library's own variables that may be an address
 * of the heap or of a mapping that is a node: what only these lead to is the
 * library's, not a leak of the program.
 */
void roots_scan_library(struct heap *h, bool (*fn)(void *arg, addr_t at, addr_t value), void *arg);

/* --- stacks.c, shared with roots.c --- */

/* Where a thread's stack lies, by what its thread control block says. */
struct stack_extent {
    addr_t ext_start;
    addr_t ext_end;
    addr_t ext_tcb;
    bool ext_found;
};

/* Reads what libc recorded in the control block at tcb. */
void stack_of_tcb(struct heap *h, addr_t tcb, struct stack_extent *ext);
/*
 * Looks for control blocks of threads that are gone in [start, end) and calls
 * fn with the extent of their stacks.
 */
void stacks_find_dead(struct heap *h, addr_t start, addr_t end,
                      void (*fn)(void *arg, const struct stack_extent *ext), void *arg);
/* Whether the target tells where its threads' control blocks are; gdb's cores of i386 do not. */
bool stacks_know_threads(const struct heap *h);
/* Whether anything in [start, end) looks like a control block. */
bool stacks_any_tcb(struct heap *h, addr_t start, addr_t end);
/* The address that the main thread's stack began at, or 0. */
addr_t stack_main_end(struct heap *h);

#endif
