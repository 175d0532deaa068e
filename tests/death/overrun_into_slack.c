/* SPDX-License-Identifier: MIT */
/* Writes the first byte past the requested size, within the round-up. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(20);
    scribble(p, 20, 1);
    drop_buffer(p);
    return survived();
}
