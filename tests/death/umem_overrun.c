/* SPDX-License-Identifier: MIT */
/* Overruns a block of umem_alloc() within the round-up. */
#include "object.h"

int
main(void)
{
    char *p = make_sized(75);
    scribble(p, 75, 1);
    drop_sized(p, 75);
    return survived();
}
