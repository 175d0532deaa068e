/* SPDX-License-Identifier: MIT */
/* Writes into a freed block; found when it has waited, or when it is handed out again. */
#include "death.h"

int
main(void)
{
    char *p = make_buffer(56);
    drop_buffer(p);
    scribble(p, 8, 1);
    reuse_all(56);
    return survived();
}
