/* SPDX-License-Identifier: MIT */
/* Writes the last byte of a freed block. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(48);
    drop_buffer(p);
    scribble(p, 47, 1);
    reuse_all(48);
    return survived();
}
