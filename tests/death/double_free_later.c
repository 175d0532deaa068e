/* SPDX-License-Identifier: MIT */
/* Frees, uses the heap, frees again. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(40);
    drop_buffer(p);
    other_work();
    drop_buffer(p);
    return survived();
}
