/* SPDX-License-Identifier: MIT */
/* Resizes what was freed. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(40);
    drop_buffer(p);
    (void)opaque(realloc(opaque(p), 80));
    return survived();
}
