/* SPDX-License-Identifier: MIT */
/* Spares the first byte past the requested size and writes a later one of the round-up. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(20);
    scribble(p, 23, 1);
    drop_buffer(p);
    return survived();
}
