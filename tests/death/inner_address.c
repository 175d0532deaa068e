/* SPDX-License-Identifier: MIT */
/*
 * Frees a block by an address inside of it.
 *
 *   inner_address KIND OFFSET
 *
 * OFFSET counts from the block's start, or, where negative, from its end.
 */
#include "kinds.h"

int
main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    char *p = make_block(argv[1]);
    long offset = strtol(argv[2], NULL, 10);
    printf("%p\n", (void *)p);
    fflush(stdout);
    drop_block(argv[1], p + offset + (offset < 0 ? (long)size : 0));
    return survived();
}
