/* SPDX-License-Identifier: MIT */
/*
 * fibers.h - for the stress of stacks: fibers of ucontext that run to a given depth, stop there
 * where asked to, and go on in whichever thread wants them.
 *
 * All that a fiber has lies at the upper end of its stack, below which it runs; the lowest bytes
 * bear a stamp that no fiber reaches.  Who holds an item alone may do anything with it.
 */
#ifndef FIBERS_H
#define FIBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif

/* Of a stack, below the depth that is asked for: frames that are not counted, the stamp. */
#define FIBER_RESERVE ((size_t)(UNDER_TSAN ? 20 : 8) << 10)

/* A stack in use, as who holds it knows it. */
struct item {
    char *stack; /* NULL: none */
    size_t size;
    uint64_t tag;    /* that its stamp is made of */
    bool suspended;  /* a fiber waits in it, deep down */
    void *sanitizer; /* ThreadSanitizer's name of that fiber */
};

/* How a fiber ends. */
enum fiber_end {
    FIBER_RETURNS,
    FIBER_STOPS,         /* at its depth; it returns when it is resumed */
    FIBER_FREES_ITSELF,  /* by stack_free_deferred() */
    FIBER_RUNS_OFF_BELOW /* its stack: whatever depth was asked for */
};

/* Says what is wrong with an item and aborts. */
_Noreturn void item_fail(const struct item *item, const char *what, uint64_t value);

void item_stamp(struct item *item);
void item_check(const struct item *item, const char *when);

/* Runs a fiber to a depth, of which there is room for size - FIBER_RESERVE. */
void fiber_run(struct item *item, size_t depth, enum fiber_end end);
/* Lets a fiber that stopped come to its end. */
void fiber_resume(struct item *item);

/* Goes down on the stack of the caller, which lies in [low, ...), until depth bytes below high. */
void go_down(const char *low, const char *high, size_t depth);

#endif
