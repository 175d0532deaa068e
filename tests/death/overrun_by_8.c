/* SPDX-License-Identifier: MIT */
/* Writes a word past the end. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(64);
    scribble(p, 64, 8);
    drop_buffer(p);
    return survived();
}
