/* SPDX-License-Identifier: MIT */
/* Frees an address where nothing is mapped. */
#include "death.h"

int
main(void)
{
    drop_buffer((void *)0x123456789a0UL);
    return survived();
}
