/* SPDX-License-Identifier: MIT */
/* The write is found by calloc, which must not clear it away unseen. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(64);
    drop_buffer(p);
    scribble(p, 16, 8);
    for (int i = 0; i < 20000; i++)
        drop_buffer(calloc(8, 8));
    return survived();
}
