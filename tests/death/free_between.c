/* SPDX-License-Identifier: MIT */
/* Frees an address of a slab that lies before its first buffer. */
#include "death.h"

#define GRANULE 65536 /* what slabs begin at a multiple of */

int
main(void)
{
    uintptr_t p = (uintptr_t)make_buffer(40);
    drop_buffer((void *)(p & -(uintptr_t)GRANULE));
    return survived();
}
