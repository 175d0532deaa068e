/* SPDX-License-Identifier: MIT */
/*
 * deep.c - a malloc + free pair at the end of a call chain: what a recorder of
 * stacks pays for each, by the depth of the stack.
 *
 *   deep DEPTH MS
 *
 * Prints "ns", wall time a pair.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BLOCK 100
#define PAIRS 1000    /* between two looks at the clock */
#define MAIN_FRAMES 4 /* run(), main() and libc's two below it */

static uint64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static __attribute__((noinline)) double
run(uint64_t ms)
{
    uint64_t pairs = 0, start = now_ns(), end;

    do {
        for (int i = 0; i < PAIRS; i++) {
            char *p = malloc(BLOCK);
            if (p == NULL)
                abort();
            *(volatile char *)p = 1;
            free(p);
        }
        pairs += PAIRS;
        end = now_ns();
    } while (end - start < ms * 1000000u);
    return (double)(end - start) / (double)pairs;
}

/* Some call sites, so that frames differ as a program's do; what follows the call keeps the frame.
 */
static __attribute__((noinline)) double
descend(int depth, uint64_t ms)
{
    double ns;

    if (depth <= 0)
        return run(ms);
    if (depth % 3 == 0)
        ns = descend(depth - 1, ms);
    else if (depth % 3 == 1)
        ns = descend(depth - 1, ms);
    else
        ns = descend(depth - 1, ms);
    __asm__ volatile("" ::: "memory");
    return ns;
}

int
main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: deep DEPTH MS\n");
        return 2;
    }
    (void)descend(atoi(argv[1]) - MAIN_FRAMES - 1, 5); /* warm */
    printf("ns %.1f\n", descend(atoi(argv[1]) - MAIN_FRAMES - 1, strtoull(argv[2], NULL, 10)));
    return 0;
}
