/* SPDX-License-Identifier: MIT */
/* Writes past the end of a block that was another one before: its report names that one's free. */
#include "death.h"

int
main(void)
{
    void *before = make_buffer(40);
    char *p;

    drop_buffer(before);
    do
        p = make_buffer(40);
    while (p != before);
    scribble(p, 40, 1);
    free(opaque(p));
    __asm__ volatile("" : : : "memory");
    return survived();
}
