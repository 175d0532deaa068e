/* SPDX-License-Identifier: MIT */
/* Overruns a block too large for the size classes, within its last page. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(200001);
    scribble(p, 200001, 1);
    drop_buffer(p);
    return survived();
}
