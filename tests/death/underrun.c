/* SPDX-License-Identifier: MIT */
/* Writes the byte before a block: into the tag of the one in front, which is freed first. */
#include "death.h"

int
main(void)
{
    char *p[10];
    for (int i = 0; i < 10; i++)
        p[i] = make_buffer(48);
    p[5][-1] ^= 0x5a;
    for (int i = 0; i < 10; i++)
        drop_buffer(p[i]);
    return survived();
}
