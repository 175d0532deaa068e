/* SPDX-License-Identifier: MIT */
/* Destroys a cache while an object is in use: a message, not an abort. */
#include "object.h"

int
main(void)
{
    umem_cache_t *cp = new_cache("anvil_cache", 40);
    (void)make_object(cp);
    umem_cache_destroy(cp);
    return survived();
}
