/* SPDX-License-Identifier: MIT */
/* Writes the word before a block. */
#include "death.h"

int
main(void)
{
    char *p[10];
    for (int i = 0; i < 10; i++)
        p[i] = make_buffer(48);
    scribble(p[5], -8, 8);
    for (int i = 0; i < 10; i++)
        drop_buffer(p[i]);
    return survived();
}
