/* SPDX-License-Identifier: MIT */
/* Writes into a freed object; found when its cache is destroyed. */
#include "object.h"

KEEP void
drop_cache(umem_cache_t *cp)
{
    umem_cache_destroy(opaque(cp));
    __asm__ volatile("" : : : "memory");
}

int
main(void)
{
    umem_cache_t *cp = new_cache("anvil_cache", 40);
    char *p = make_object(cp);
    drop_object(cp, p);
    scribble(p, 24, 8);
    drop_cache(cp);
    return survived();
}
