/* SPDX-License-Identifier: MIT */
/* Writes the byte before a block: found in the tag of the one in front of it. */
#include "death.h"

int
main(void)
{
    char *p[10];
    for (int i = 0; i < 10; i++)
        p[i] = make_buffer(48);
    scribble(p[5], -1, 1);
    for (int i = 0; i < 10; i++)
        drop_buffer(p[i]);
    return survived();
}
