/* SPDX-License-Identifier: MIT */
/* Gives a block of malloc to a cache. */
#include "object.h"

int
main(void)
{
    umem_cache_t *cp = new_cache("anvil_cache", 40);
    drop_object(cp, make_buffer(40));
    return survived();
}
