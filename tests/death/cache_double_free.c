/* SPDX-License-Identifier: MIT */
/* Frees an object twice. */
#include "object.h"

int
main(void)
{
    umem_cache_t *cp = new_cache("anvil_cache", 40);
    char *p = make_object(cp);
    drop_object(cp, p);
    drop_object(cp, p);
    return survived();
}
