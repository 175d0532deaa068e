/* SPDX-License-Identifier: MIT */
/* Overruns a block that realloc made larger. */
#include "death.h"

KEEP void *
resize_buffer(void *p, size_t size)
{
    return opaque(realloc(p, size));
}

int
main(void)
{
    char *p = make_buffer(30);
    p = resize_buffer(p, 300);
    scribble(p, 300, 1);
    drop_buffer(p);
    return survived();
}
