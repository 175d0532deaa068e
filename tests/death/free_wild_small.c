/* SPDX-License-Identifier: MIT */
/* Frees a small number. */
#include "death.h"

int
main(void)
{
    drop_buffer((void *)0x20UL);
    return survived();
}
