/* SPDX-License-Identifier: MIT */
/* Frees the address from before a realloc that moved. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(40);
    char *q = realloc(opaque(p), 4000);
    if (q == p)
        return 3;
    drop_buffer(p);
    return survived();
}
