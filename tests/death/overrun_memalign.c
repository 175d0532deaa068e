/* SPDX-License-Identifier: MIT */
/* Overruns an aligned block. */
#include "death.h"

KEEP void *
make_aligned(size_t align, size_t size)
{
    void *p = NULL;
    if (posix_memalign(&p, align, size) != 0)
        exit(3);
    return opaque(p);
}

int
main(void)
{
    char *p = make_aligned(256, 100);
    scribble(p, 100, 1);
    drop_buffer(p);
    return survived();
}
