/* SPDX-License-Identifier: MIT */
/* Overruns a block of calloc. */
#include "death.h"

KEEP void *
make_zeroed(size_t n, size_t size)
{
    return opaque(calloc(n, size));
}

int
main(void)
{
    char *p = make_zeroed(5, 7);
    scribble(p, 35, 1);
    drop_buffer(p);
    return survived();
}
