/* SPDX-License-Identifier: MIT */
/* Writes into a freed block too large for the size classes; found when it has waited. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(200000);
    drop_buffer(p);
    scribble(p, 123456, 1);
    reuse_all(48);
    return survived();
}
