/* SPDX-License-Identifier: MIT */
/* Writes 64 bytes past the end, over whatever follows. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(64);
    scribble(p, 64, 64);
    drop_buffer(p);
    return survived();
}
