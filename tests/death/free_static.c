/* SPDX-License-Identifier: MIT */
/* Frees a static variable. */
#include "death.h"

static long table[64];

int
main(void)
{
    drop_buffer(opaque(table));
    return survived();
}
