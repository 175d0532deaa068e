/* SPDX-License-Identifier: MIT */
/* Writes into the bytes by which the object's size was rounded up. */
#include "object.h"

int
main(void)
{
    umem_cache_t *cp = new_cache("anvil_cache", 42);
    char *p = make_object(cp);
    scribble(p, 43, 1);
    drop_object(cp, p);
    return survived();
}
