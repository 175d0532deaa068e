/* SPDX-License-Identifier: MIT */
/* Writes into a freed object; found when it is handed out again. */
#include "object.h"

int
main(void)
{
    umem_cache_t *cp = new_cache("anvil_cache", 40);
    char *p = make_object(cp);
    drop_object(cp, p);
    scribble(p, 24, 8);
    for (int i = 0; i < 40000; i++) {
        p = make_object(cp);
        if (i % 2 != 0)
            drop_object(cp, p);
    }
    return survived();
}
