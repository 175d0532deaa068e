/* SPDX-License-Identifier: MIT */
/* An overrun that the next realloc has to notice. */
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
    scribble(p, 100, 1);
    p = resize_buffer(p, 5000);
    drop_buffer(p);
    return survived();
}
