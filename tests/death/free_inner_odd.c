/* SPDX-License-Identifier: MIT */
/* Frees an odd address inside a block. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(200);
    drop_buffer(p + 1);
    return survived();
}
