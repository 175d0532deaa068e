/* SPDX-License-Identifier: MIT */
/* Frees the same block by umem_free() twice. */
#include "object.h"

int
main(void)
{
    void *p = make_sized(72);
    drop_sized(p, 72);
    drop_sized(p, 72);
    return survived();
}
