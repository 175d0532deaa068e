/* SPDX-License-Identifier: MIT */
/* Gives an object to another cache than it came from. */
#include "object.h"

int
main(void)
{
    umem_cache_t *anvils = new_cache("anvil_cache", 40);
    umem_cache_t *rockets = new_cache("rocket_cache", 40);
    drop_object(rockets, make_object(anvils));
    return survived();
}
