/* SPDX-License-Identifier: MIT */
/* Frees an address inside a large block. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(300000);
    drop_buffer(p + 8192);
    return survived();
}
