/* SPDX-License-Identifier: MIT */
/* Writes past an object that is a multiple of 8. */
#include "object.h"

int
main(void)
{
    umem_cache_t *cp = new_cache("anvil_cache", 40);
    char *p = make_object(cp);
    scribble(p, 40, 1);
    drop_object(cp, p);
    return survived();
}
