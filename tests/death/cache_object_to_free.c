/* SPDX-License-Identifier: MIT */
/* Gives an object of a cache to free(). */
#include "object.h"

int
main(void)
{
    umem_cache_t *cp = new_cache("anvil_cache", 40);
    drop_buffer(make_object(cp));
    return survived();
}
