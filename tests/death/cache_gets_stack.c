/* SPDX-License-Identifier: MIT */
/* Gives a variable of the stack to a cache. */
#include "object.h"

int
main(void)
{
    umem_cache_t *cp = new_cache("anvil_cache", 40);
    long variable[8];
    variable[0] = 0;
    drop_object(cp, make_object(cp));
    drop_object(cp, variable);
    return survived();
}
