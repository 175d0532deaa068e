/* SPDX-License-Identifier: MIT */
/* Frees an address inside a block. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(200);
    drop_buffer(p + 64);
    return survived();
}
