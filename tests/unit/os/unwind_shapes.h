/* SPDX-License-Identifier: MIT */
/* unwind_shapes.h - what the tests of the unwinder call through, and what they have in common. */
#ifndef UNWIND_SHAPES_H
#define UNWIND_SHAPES_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

struct shapes {
    void (*recurse)(unsigned depth, void (*fn)(void));
    void (*call_all)(void (*fn)(void)); /* calls fn under every shape of frame */
    void (*run_leaves)(void);           /* code to be interrupted anywhere */
    void (*run_realigned)(void);        /* the same, where backtrace() crashes */
};

extern const struct shapes shapes_o0, shapes_o2, shapes_o3, shapes_fp;
#ifdef SHAPES
extern const struct shapes SHAPES;
#else
static const struct shapes *const all_shapes[] = {&shapes_o0, &shapes_o2, &shapes_o3, &shapes_fp};
#define SHAPES_COUNT (sizeof(all_shapes) / sizeof(all_shapes[0]))

static inline void
every_shape(void (*fn)(void))
{
    for (size_t i = 0; i < SHAPES_COUNT; i++)
        all_shapes[i]->call_all(fn);
}

/* The same numbers in every run (xorshift). */
static inline uint64_t
random_next(void)
{
    static uint64_t random_state = 0x1234567;

    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* The two modules that a test's command line names, NULL without: same code, other frames. */
static const char *module_path[2];

static inline void
take_modules(int argc, char **argv)
{
    module_path[0] = argc > 2 ? argv[1] : NULL;
    module_path[1] = argc > 2 ? argv[2] : NULL;
}
#endif

/* Make the processor trap after every instruction, and no more. */
void trap_on(void);
void trap_off(void);

/*
 * Calls fn on another stack.  call_on_stack() has its CFA in rbx, which only
 * the slow walker knows; raw_on_stack() has no tables and passes rbp through.
 */
void call_on_stack(void (*fn)(void), void *top);
void raw_on_stack(void (*fn)(void), void *top, void *bp);

#endif
