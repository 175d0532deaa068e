/* SPDX-License-Identifier: MIT */
/* Gives a cache an address inside one of its objects. */
#include "object.h"

int
main(void)
{
    umem_cache_t *cp = new_cache("anvil_cache", 400);
    char *p = make_object(cp);
    drop_object(cp, p + 16);
    return survived();
}
