/* SPDX-License-Identifier: MIT */
/* Frees what can be no address at all. */
#include "death.h"

int
main(void)
{
    drop_buffer((void *)0xdeadbeefdeadbee0UL);
    return survived();
}
