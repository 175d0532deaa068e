/* SPDX-License-Identifier: MIT */
/* Resizes a variable of the stack. */
#include "death.h"

int
main(void)
{
    long variable[8];
    variable[0] = 0;
    (void)opaque(realloc(opaque(variable), 100));
    return survived();
}
