/* SPDX-License-Identifier: MIT */
/* Frees a variable of the stack. */
#include "death.h"

int
main(void)
{
    long variable[8];
    variable[0] = 0;
    drop_buffer(opaque(variable));
    return survived();
}
