/* SPDX-License-Identifier: MIT */
/* The block is made and freed 100 calls deep, by a function with a very long name. */
#include "death.h"

#define DEEP a_function_whose_name_is_as_long_as_those_that_templates_make_a_function_whose_n

KEEP void
DEEP(int depth)
{
    if (depth > 0) {
        DEEP(depth - 1);
        __asm__ volatile("");
        return;
    }
    char *p = make_buffer(32);
    scribble(p, 32, 1);
    drop_buffer(p);
}

int
main(void)
{
    DEEP(100);
    return survived();
}
