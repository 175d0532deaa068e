/* SPDX-License-Identifier: MIT */
/* Writes one byte past a block that fills its size class. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(32);
    scribble(p, 32, 1);
    drop_buffer(p);
    return survived();
}
