/* SPDX-License-Identifier: MIT */
/* Frees the buffer behind the last one that was handed out. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(40), *q = make_buffer(40);
    drop_buffer(q + (q - p));
    return survived();
}
