/* SPDX-License-Identifier: MIT */
/* Overruns a large block of whole pages. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(50 * 4096);
    scribble(p, 50 * 4096, 1);
    drop_buffer(p);
    return survived();
}
