/* SPDX-License-Identifier: MIT */
/* Frees twice in a row. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(40);
    drop_buffer(p);
    drop_buffer(p);
    return survived();
}
