/* SPDX-License-Identifier: MIT */
/*
 * unwind.c - what an audited transaction pays for its stack: nanoseconds per
 * capture and per intern of a known stack, by depth, with glibc's backtrace()
 * beside it.  Captures are hot: the same stack again and again.
 */
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>

#include "debug/stacks.h"
#include "os/os.h"
#include "os/unwind.h"

#define FRAMES_MAX 64
#define ROUNDS 2000
#define ROUNDS_LIBGCC 50
/*
 * The best of so many short runs, each well within a time slice: other work on
 * the machine only ever adds.
 */
#define REPEATS 300

struct result {
    uint32_t depth;
    double unwind_ns;
    double intern_ns;
    double libgcc_ns;
};

static double
best(double a, double b)
{
    return a == 0 || b < a ? b : a;
}

static __attribute__((noinline)) void
measure(struct result *result)
{
    uintptr_t frames[FRAMES_MAX];
    void *plain[FRAMES_MAX];
    uint32_t n = 0;
    uint64_t start;

    for (int repeat = 0; repeat < REPEATS; repeat++) {
        start = os_clock_ns();
        for (int i = 0; i < ROUNDS; i++)
            n = os_unwind(frames, FRAMES_MAX, 0);
        result->unwind_ns = best(result->unwind_ns, (double)(os_clock_ns() - start) / ROUNDS);

        start = os_clock_ns();
        for (int i = 0; i < ROUNDS; i++) {
            if (umem_stacks_intern(frames, n) == 0)
                abort();
        }
        result->intern_ns = best(result->intern_ns, (double)(os_clock_ns() - start) / ROUNDS);

        start = os_clock_ns();
        for (int i = 0; i < ROUNDS_LIBGCC; i++)
            backtrace(plain, FRAMES_MAX);
        result->libgcc_ns =
            best(result->libgcc_ns, (double)(os_clock_ns() - start) / ROUNDS_LIBGCC);
    }
    result->depth = n;
}

/* A few call sites, so that frames differ as in a program; no tail calls. */
static __attribute__((noinline)) void
descend(unsigned depth, struct result *result)
{
    if (depth == 0)
        measure(result);
    else if (depth % 3 == 0)
        descend(depth - 1, result);
    else if (depth % 3 == 1)
        descend(depth - 1, result);
    else
        descend(depth - 1, result);
    __asm__ volatile("" ::: "memory");
}

int
main(void)
{
    static const unsigned depths[] = {1, 16, 21, 60};

    printf("%8s %12s %12s %16s\n", "frames", "capture ns", "intern ns", "backtrace() ns");
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(depths); i++) {
        struct result result = {0};
        descend(depths[i], &result);
        printf("%8u %12.1f %12.1f %16.0f\n", result.depth, result.unwind_ns, result.intern_ns,
               result.libgcc_ns);
    }
    return 0;
}
