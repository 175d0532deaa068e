/* SPDX-License-Identifier: MIT */
/*
 * Writes outside of the middle one of three blocks, frees some of them.
 *
 *   out_of_bounds KIND OFFSET SIZE VALUE FREES
 *
 * OFFSET counts from the end of what was asked for, or, where negative, from
 * the start.  VALUE is a run of bytes in hexadecimal digits, or "flip", what is
 * there with all bits changed.  FREES: "it", "forward" (all three), "backward",
 * "thread", where another thread writes, and then it is freed, or "none".
 */
#include "kinds.h"

#define BLOCKS 3

static char *block[BLOCKS];
static char **args;

static void *
stray(void *arg)
{
    long offset = strtol(args[2], NULL, 10);
    char *p = (char *)opaque(block[1]) + offset + (offset < 0 ? 0 : (long)size);
    size_t digits = strlen(args[4]) / 2;

    for (size_t i = 0; i < strtoul(args[3], NULL, 10); i++) {
        char two[3] = {args[4][i % digits * 2], args[4][i % digits * 2 + 1], 0};
        p[i] = strcmp(args[4], "flip") == 0 ? (char)~p[i] : (char)strtoul(two, NULL, 16);
    }
    __asm__ volatile("" : : : "memory");
    return arg;
}

int
main(int argc, char **argv)
{
    pthread_t thread;

    if (argc != 6)
        return 2;
    args = argv;
    for (int i = 0; i < BLOCKS; i++)
        block[i] = make_block(argv[1]);
    printf("%p\n", (void *)block[1]);
    fflush(stdout);
    if (strcmp(argv[5], "thread") == 0) {
        pthread_create(&thread, NULL, stray, NULL);
        pthread_join(thread, NULL);
    } else {
        stray(NULL);
    }
    for (int i = 0; i < BLOCKS; i++) {
        if (strcmp(argv[5], "forward") == 0)
            drop_block(argv[1], block[i]);
        else if (strcmp(argv[5], "backward") == 0)
            drop_block(argv[1], block[BLOCKS - 1 - i]);
    }
    if (strcmp(argv[5], "none") != 0)
        drop_block(argv[1], block[1]);
    return survived();
}
