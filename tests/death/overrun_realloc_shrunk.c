/* SPDX-License-Identifier: MIT */
/* Writes where the block reached before realloc made it smaller. */
#include "death.h"

KEEP void *
resize_buffer(void *p, size_t size)
{
    return opaque(realloc(p, size));
}

int
main(void)
{
    char *p = make_buffer(100);
    p = resize_buffer(p, 97);
    scribble(p, 97, 1);
    drop_buffer(p);
    return survived();
}
