/* SPDX-License-Identifier: MIT */
/* Frees a block too large for the size classes twice. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(300000);
    drop_buffer(p);
    drop_buffer(p);
    return survived();
}
