/* SPDX-License-Identifier: MIT */
/* Frees an aligned block twice. */
#include "death.h"

KEEP void *
make_aligned(size_t align, size_t size)
{
    return opaque(aligned_alloc(align, size));
}

int
main(void)
{
    char *p = make_aligned(1024, 64);
    drop_buffer(p);
    drop_buffer(p);
    return survived();
}
